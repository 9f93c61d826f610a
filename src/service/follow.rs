//! What follows a job: retention after a full (rules.md 5.2), and again after what held it back.

use serde_json::Value;

use crate::app::routine_job;
use crate::config::JobConfig;
use crate::error::Result;
use crate::jobs::{Follow, NewJob};
use crate::model::{BackupType, JobKind, JobStatus};
use crate::retention::HELD_BACK;
use crate::store::{AttemptRow, AttemptStatus, JobRow, Trigger};

/// Retention comes back to what was pinned after this long (rules.md 5.4).
const COME_BACK_MS: i64 = 15 * 60 * 1000;

/// Knows what the policy of a backup wants done after it.
#[derive(Debug, Clone, Copy)]
pub(super) struct AfterBackup;

impl Follow for AfterBackup {
    fn follow(&self, job: &JobRow, attempts: &[AttemptRow]) -> Result<Vec<NewJob>> {
        Ok(match job.kind {
            JobKind::Backup => retention(job, attempts)?.into_iter().collect(),
            JobKind::Retention => come_back(job).into_iter().collect(),
            JobKind::Restore | JobKind::Verify => Vec::new(),
        })
    }
}

/// Retention for the namespaces of which a full has committed, also one in the place of an incremental.
fn retention(job: &JobRow, attempts: &[AttemptRow]) -> Result<Option<NewJob>> {
    let is_full = |attempt: &&AttemptRow| {
        job.backup_type == Some(BackupType::Full) || attempt.start.promoted.is_some()
    };
    let committed = attempts.iter().filter(|attempt| attempt.status == AttemptStatus::Committed);
    let mut namespaces: Vec<String> =
        committed.filter(is_full).map(|attempt| attempt.start.namespace.clone()).collect();
    namespaces.dedup();
    let Some(document) = job.config.as_ref().filter(|_| !namespaces.is_empty()) else { return Ok(None) };
    let config: JobConfig = document.parse()?;
    if config.policy.retention.is_none() {
        return Ok(None);
    }
    Ok(Some(routine_job(&config)?.on_backups(JobKind::Retention, Trigger::AfterBackup, Some(namespaces))))
}

/// The same once more, later, where pins kept something that should go.
fn come_back(job: &JobRow) -> Option<NewJob> {
    if job.status != JobStatus::Succeeded {
        return None;
    }
    let held_back = job.result.as_ref()?.get(HELD_BACK).and_then(Value::as_u64)?;
    (held_back > 0).then(|| NewJob {
        routine: job.routine.clone(),
        storage: job.storage.clone(),
        namespaces: job.namespaces.clone(),
        due: job.finished.map(|finished| finished.plus_ms(COME_BACK_MS)),
        config: job.config.clone(),
        ..NewJob::of(JobKind::Retention, Trigger::Retry)
    })
}
