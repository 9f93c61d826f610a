//! The one stream of committed transitions: what metrics, notifications, live events and audit read.

use crate::error::Error;
use crate::model::{BackupType, JobKind, JobStatus, UnixMillis};
use crate::store::{JobId, JobRow};

/// Hears of what happened to jobs.
///
/// Called inline, after the commit and in the order of commits: it must neither block nor fail. What takes time goes
/// through a bounded channel of the observer's own.
pub trait Observer: Send + Sync {
    /// A job has reached another status.
    fn on_transition(&self, transition: &Transition);

    /// A namespace is tried again (ABS counts these as outcome `retry`).
    fn on_retry(&self, retry: &NamespaceRetry) {
        let _ = retry;
    }
}

/// A job has reached another status; its row says so.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Transition {
    /// The job.
    pub job: JobId,
    /// Its kind.
    pub kind: JobKind,
    /// Its type, for backups.
    pub backup_type: Option<BackupType>,
    /// Its routine.
    pub routine: Option<String>,
    /// Where it stood; none for a row that is new.
    pub from: Option<JobStatus>,
    /// Where it stands.
    pub to: JobStatus,
    /// Why, where there is a reason or an error: stable, kebab-case.
    pub code: Option<String>,
    /// The same as a sentence.
    pub text: Option<String>,
    /// When its task started.
    pub started: Option<UnixMillis>,
    /// When it ended.
    pub finished: Option<UnixMillis>,
    /// `created` of the backup run.
    pub created: Option<UnixMillis>,
    /// What was counted, per kind; once it has ended.
    pub counters: Option<serde_json::Value>,
}

impl Transition {
    /// The step that made `row` what it is.
    pub fn of(from: Option<JobStatus>, row: &JobRow) -> Self {
        Self {
            job: row.id,
            kind: row.kind,
            backup_type: row.backup_type,
            routine: row.routine.clone(),
            from,
            to: row.status,
            code: row.error_code.clone().or_else(|| row.reason_code.clone()),
            text: row.error.clone().or_else(|| row.reason.clone()),
            started: row.started,
            finished: row.finished,
            created: row.created,
            counters: row.counters.clone(),
        }
    }

    pub(super) fn log(&self) {
        let (job, kind, to) = (self.job.0, self.kind.as_str(), self.to.as_str());
        let backup_type = self.backup_type.map(BackupType::as_str);
        let (routine, code, text) = (self.routine.as_deref(), self.code.as_deref(), self.text.as_deref());
        match self.to {
            JobStatus::Failed | JobStatus::Missed | JobStatus::Interrupted => {
                tracing::warn!(job, kind, backup_type, routine, code, text, "job {to}");
            }
            _ => tracing::info!(job, kind, backup_type, routine, code, text, "job {to}"),
        }
    }
}

/// A namespace is tried again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NamespaceRetry {
    /// The job.
    pub job: JobId,
    /// Its kind.
    pub kind: JobKind,
    /// Its type, for backups.
    pub backup_type: Option<BackupType>,
    /// Its routine.
    pub routine: Option<String>,
    /// The namespace.
    pub namespace: String,
    /// The stable code of the error that ended the try before.
    pub code: &'static str,
    /// That error.
    pub text: String,
}

impl NamespaceRetry {
    pub(super) fn of(job: &JobRow, namespace: &str, error: &Error) -> Self {
        Self {
            job: job.id,
            kind: job.kind,
            backup_type: job.backup_type,
            routine: job.routine.clone(),
            namespace: namespace.to_owned(),
            code: error.code(),
            text: error.report(),
        }
    }
}
