//! Names of configured things.

/// Refuses a name that is not a single path segment (abs.md 2.1): names become folder names in storage.
///
/// The error is a phrase that completes "name "x" …".
pub fn check_name(name: &str) -> Result<(), &'static str> {
    if name.is_empty() {
        return Err("must not be empty");
    }
    if name == "." || name == ".." {
        return Err("must not be \".\" or \"..\"");
    }
    if name.starts_with('~') {
        return Err("must not start with \"~\"");
    }
    if name.chars().any(|c| matches!(c, '/' | '\\') || c.is_control()) {
        return Err("must be a single path segment: no \"/\", \"\\\" or control characters");
    }
    if name.len() > 255 {
        return Err("must be at most 255 bytes");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::check_name;

    #[test]
    fn refuses_path_tricks() {
        for bad in ["", ".", "..", "a/b", "a\\b", "~root", "nul\0", "new\nline"] {
            assert!(check_name(bad).is_err(), "{bad:?}");
        }
        for good in ["daily", "daily.1", "Daily-ns1", "...", "ü"] {
            assert!(check_name(good).is_ok(), "{good:?}");
        }
    }
}
