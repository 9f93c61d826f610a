//! The stream of committed transitions, counted.

use super::{Metrics, Outcome};
use crate::jobs::{NamespaceRetry, Observer, Transition};
use crate::model::{JobKind, JobStatus};

/// What the counters of a copy job call the number of backups, and of bytes, that it has copied.
pub const COPIED_BACKUPS: &str = "copied-backups";
/// See [`COPIED_BACKUPS`].
pub const COPIED_BYTES: &str = "copied-bytes";

/// What the counters of a retention job call the number of backups that went.
pub const DELETED_BACKUPS: &str = "deleted-backups";

impl Observer for Metrics {
    fn on_transition(&self, transition: &Transition) {
        let Some(outcome) = outcome(transition.to) else { return };
        match transition.kind {
            JobKind::Backup => {}
            JobKind::Restore => {
                // ABS has no skip of a restore: a refused one has failed (rules.md 2.1).
                self.restore_event(if outcome == Outcome::Skip { Outcome::Failure } else { outcome });
                return;
            }
            JobKind::Retention => {
                self.retention(transition, outcome);
                return;
            }
            JobKind::Copy => {
                self.copy(transition, outcome);
                return;
            }
            JobKind::Verify => return,
        }
        let (Some(routine), Some(backup_type)) = (&transition.routine, transition.backup_type) else {
            return;
        };
        self.backup_event(routine, backup_type, outcome);
        if let (Some(started), Some(finished)) = (transition.started, transition.finished) {
            self.backup_took(routine, backup_type, finished.since(started) as f64 / 1000.0);
        }
        if let (Outcome::Success, Some(created)) = (outcome, transition.created) {
            self.backup_succeeded(routine, backup_type, created);
        }
    }

    fn on_retry(&self, retry: &NamespaceRetry) {
        if let (Some(routine), Some(backup_type)) = (&retry.routine, retry.backup_type) {
            self.backup_event(routine, backup_type, Outcome::Retry);
        }
    }
}

impl Metrics {
    fn copy(&self, transition: &Transition, outcome: Outcome) {
        let Some(routine) = &transition.routine else { return };
        let count = |key: &str| transition.counters.as_ref().and_then(|counters| counters.get(key)?.as_u64());
        let (backups, bytes) = (count(COPIED_BACKUPS).unwrap_or(0), count(COPIED_BYTES).unwrap_or(0));
        self.copy_event(routine, outcome, backups, bytes);
    }

    fn retention(&self, transition: &Transition, outcome: Outcome) {
        let Some(routine) = &transition.routine else { return };
        let deleted =
            transition.counters.as_ref().and_then(|counters| counters.get(DELETED_BACKUPS)?.as_u64());
        self.retention_event(routine, outcome, deleted.unwrap_or(0));
        if let Some(finished) = transition.finished {
            self.retention_ended(routine, outcome, finished);
        }
    }
}

/// ABS's word for an end; none for what is no end.
pub const fn outcome(status: JobStatus) -> Option<Outcome> {
    match status {
        JobStatus::Scheduled | JobStatus::Queued | JobStatus::Running => None,
        JobStatus::Succeeded => Some(Outcome::Success),
        JobStatus::Failed | JobStatus::Interrupted => Some(Outcome::Failure),
        JobStatus::Canceled => Some(Outcome::Canceled),
        JobStatus::Skipped | JobStatus::Missed => Some(Outcome::Skip),
    }
}

#[cfg(test)]
mod tests {
    use super::super::Metrics;
    use crate::jobs::{Observer, Transition};
    use crate::model::{BackupType, JobKind, JobStatus, UnixMillis};
    use crate::store::JobId;

    fn ended(kind: JobKind, to: JobStatus) -> Transition {
        let backup = kind == JobKind::Backup;
        Transition {
            job: JobId(1),
            kind,
            backup_type: backup.then_some(BackupType::Full),
            routine: backup.then(|| "daily".to_owned()),
            from: Some(JobStatus::Running),
            to,
            code: None,
            text: None,
            started: Some(UnixMillis(1000)),
            finished: Some(UnixMillis(91_000)),
            created: Some(UnixMillis(2000)),
            counters: None,
        }
    }

    #[test]
    fn every_end_of_a_backup_is_counted_once_in_abs_words() {
        let metrics = Metrics::new().unwrap();
        for status in JobStatus::ALL {
            metrics.on_transition(&ended(JobKind::Backup, status));
        }
        let text = metrics.render(&[], 0, 0).unwrap();
        for (outcome, count) in [("success", 1), ("failure", 2), ("canceled", 1), ("skip", 2)] {
            let line = format!(
                "backup_events_total{{outcome=\"{outcome}\",routine=\"daily\",type=\"full\"}} {count}"
            );
            assert!(text.contains(&line), "{line}");
        }
        assert!(text.contains("last_successful_backup_timestamp{routine=\"daily\",type=\"full\"} 2\n"));
        assert!(
            text.contains("backup_duration_seconds_bucket{routine=\"daily\",type=\"full\",le=\"60\"} 0\n")
        );
        assert!(
            text.contains("backup_duration_seconds_bucket{routine=\"daily\",type=\"full\",le=\"90\"} 6\n")
        );
    }

    #[test]
    fn what_retention_deletes_is_counted_whatever_its_end() {
        let metrics = Metrics::new().unwrap();
        for (status, deleted) in [(JobStatus::Succeeded, 3), (JobStatus::Failed, 2), (JobStatus::Running, 9)]
        {
            let counters = Some(serde_json::json!({ super::DELETED_BACKUPS: deleted }));
            let routine = Some("daily".to_owned());
            metrics.on_transition(&Transition { routine, counters, ..ended(JobKind::Retention, status) });
        }
        let text = metrics.render(&[], 0, 0).unwrap();
        for line in [
            "retention_deleted_backups_total{routine=\"daily\"} 5\n",
            "retention_events_total{outcome=\"success\",routine=\"daily\"} 1\n",
            "retention_last_run_timestamp_seconds{outcome=\"failure\",routine=\"daily\"} 91\n",
        ] {
            assert!(text.contains(line), "{line} {text}");
        }
        assert!(!text.contains("backup_events_total{outcome"), "{text}");
    }

    #[test]
    fn a_refused_restore_has_failed() {
        let metrics = Metrics::new().unwrap();
        metrics.on_transition(&ended(JobKind::Restore, JobStatus::Skipped));
        metrics.on_transition(&ended(JobKind::Restore, JobStatus::Running));
        let text = metrics.render(&[], 0, 0).unwrap();
        assert!(text.contains("restore_events_total{outcome=\"failure\"} 1\n"), "{text}");
        assert!(!text.contains("restore_events_total{outcome=\"skip\"}"));
    }
}
