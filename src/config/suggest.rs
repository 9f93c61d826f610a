//! "Did you mean": the known word that is nearest to an unknown one.

/// Longer words are not compared: the cost is the product of both lengths.
const COMPARED_LEN_MAX: usize = 64;

/// The hint `did you mean: "…"?`, if a known word is near enough.
pub(crate) fn did_you_mean<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<String> {
    nearest(word, known).map(|known| format!("did you mean: \"{known}\"?"))
}

/// Near enough: a third of the letters may be wrong, but at least two; case and `_` for `-` do not count.
fn nearest<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    if word.len() > COMPARED_LEN_MAX {
        return None;
    }
    let normal = normalized(word);
    known
        .into_iter()
        .filter(|known| known.len() <= COMPARED_LEN_MAX)
        .map(|known| (strsim::damerau_levenshtein(&normal, &normalized(known)), known))
        .filter(|(distance, known)| *distance <= (known.len() / 3).max(2) && *distance < normal.len().max(1))
        .min_by_key(|(distance, known)| (*distance, known.len()))
        .map(|(_, known)| known)
}

fn normalized(word: &str) -> String {
    word.to_lowercase().replace('_', "-")
}

#[cfg(test)]
mod tests {
    use super::nearest;

    #[test]
    fn finds_typing_errors_and_nothing_far() {
        let known = ["parallel", "parallel-write", "interval-cron", "port"];
        assert_eq!(nearest("paralel", known), Some("parallel"));
        assert_eq!(nearest("Interval_Cron", known), Some("interval-cron"));
        assert_eq!(nearest("prot", known), Some("port"));
        assert_eq!(nearest("colour", known), None);
        assert_eq!(nearest("x", known), None);
        assert_eq!(nearest("", known), None);
        assert_eq!(nearest(&"a".repeat(1_000_000), known), None);
    }
}
