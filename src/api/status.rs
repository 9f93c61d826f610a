//! The `status` filter: a comma list in our words or ABS's; a leading `!` excludes the whole list (abs.md 1.2).

use super::error::ApiError;
use crate::model::JobStatus;

/// Which statuses to show, or which not to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Wanted {
    /// The statuses named.
    pub statuses: Vec<JobStatus>,
    /// Show all but these.
    pub exclude: bool,
}

/// A filter of restores: ABS's words mean all that it calls by them.
pub fn restores(text: &str) -> Result<Wanted, ApiError> {
    parse(text, |word| match word {
        "running" => vec![JobStatus::Scheduled, JobStatus::Queued, JobStatus::Running],
        "success" | "done" => vec![JobStatus::Succeeded],
        "failure" | "failed" => {
            vec![JobStatus::Failed, JobStatus::Skipped, JobStatus::Missed, JobStatus::Interrupted]
        }
        other => JobStatus::parse(other).into_iter().collect(),
    })
}

/// A filter of jobs of every kind: our words mean just themselves.
pub fn jobs(text: &str) -> Result<Wanted, ApiError> {
    parse(text, |word| match word {
        "success" | "done" => vec![JobStatus::Succeeded],
        "failure" => vec![JobStatus::Failed],
        other => JobStatus::parse(other).into_iter().collect(),
    })
}

fn parse(text: &str, meaning: impl Fn(&str) -> Vec<JobStatus>) -> Result<Wanted, ApiError> {
    let (exclude, list) = text.strip_prefix('!').map_or((false, text), |list| (true, list));
    let mut statuses = Vec::new();
    for word in list.split(',').map(str::trim) {
        let named = meaning(&word.to_ascii_lowercase());
        if named.is_empty() {
            let word = super::error::printable(word);
            let known: Vec<&str> = JobStatus::ALL.iter().map(|status| status.as_str()).collect();
            return Err(ApiError::parameter(
                "status",
                format!("unknown status \"{word}\"; known are success, failure, {}", known.join(", ")),
            ));
        }
        statuses.extend(named);
    }
    Ok(Wanted { statuses, exclude })
}

#[cfg(test)]
mod tests {
    use super::{jobs, restores};
    use crate::model::JobStatus::{
        Canceled, Failed, Interrupted, Missed, Queued, Running, Scheduled, Skipped, Succeeded,
    };

    #[test]
    fn both_spellings_and_both_releases_are_understood() {
        assert_eq!(restores("Running").unwrap().statuses, [Scheduled, Queued, Running]);
        assert_eq!(restores("done,Canceled").unwrap().statuses, [Succeeded, Canceled]);
        assert_eq!(restores("failed").unwrap().statuses, [Failed, Skipped, Missed, Interrupted]);
        let excluded = restores("!success, failure").unwrap();
        assert!(excluded.exclude && excluded.statuses.contains(&Succeeded));
    }

    #[test]
    fn our_own_list_takes_our_words_literally() {
        assert_eq!(jobs("running").unwrap().statuses, [Running]);
        assert_eq!(jobs("failed,success").unwrap().statuses, [Failed, Succeeded]);
    }

    #[test]
    fn an_unknown_word_is_refused_also_an_empty_one() {
        for bad in ["sleeping", "!", "success,", "success,,failure"] {
            assert!(restores(bad).is_err(), "{bad}");
        }
    }
}
