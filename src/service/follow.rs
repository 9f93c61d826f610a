//! What follows a job: retention after a full (rules.md 5.2), and again after what held it back; `verify-after`; copies,
//! and their retention.

mod copies;

use serde_json::Value;

use crate::app::routine_job;
use crate::config::JobConfig;
use crate::error::Result;
use crate::jobs::{Follow, NewJob};
use crate::model::{BackupType, JobKind, JobStatus};
use crate::retention::HELD_BACK;
use crate::storage::address;
use crate::store::{AttemptRow, AttemptStatus, Document, JobRow, Trigger};
use crate::verify::VerifyRequest;

/// Retention comes back to what was pinned after this long (rules.md 5.4).
const COME_BACK_MS: i64 = 15 * 60 * 1000;

/// Knows what the policy of a backup wants done after it.
#[derive(Debug, Clone, Copy)]
pub(super) struct AfterBackup;

impl Follow for AfterBackup {
    fn follow(&self, job: &JobRow, attempts: &[AttemptRow]) -> Result<Vec<NewJob>> {
        Ok(match job.kind {
            JobKind::Backup => after_backup(job, attempts)?,
            JobKind::Retention => come_back(job).into_iter().collect(),
            JobKind::Copy => copies::after_copy(job)?,
            JobKind::Restore | JobKind::Verify => Vec::new(),
        })
    }
}

fn after_backup(job: &JobRow, attempts: &[AttemptRow]) -> Result<Vec<NewJob>> {
    let Some(document) = &job.config else { return Ok(Vec::new()) };
    let config: JobConfig = document.parse()?;
    let retention = retention(job, attempts, &config)?;
    let copies = copies::after_backup(job, attempts, &config)?;
    Ok(retention.into_iter().chain(verify_after(job, attempts, &config)?).chain(copies).collect())
}

/// Retention for the namespaces of which a full has committed, also one in the place of an incremental.
fn retention(job: &JobRow, attempts: &[AttemptRow], config: &JobConfig) -> Result<Option<NewJob>> {
    let is_full =
        |attempt: &AttemptRow| job.backup_type == Some(BackupType::Full) || attempt.start.promoted.is_some();
    let namespaces = committed(attempts, is_full);
    if namespaces.is_empty() || config.policy.retention.is_none() {
        return Ok(None);
    }
    Ok(Some(routine_job(config)?.on_backups(JobKind::Retention, Trigger::AfterBackup, Some(namespaces))))
}

/// The same once more, later, where pins kept something that should go.
fn come_back(job: &JobRow) -> Option<NewJob> {
    // A deletion on demand is not done twice: what its job found pinned was marked by another one, which comes back.
    if job.status != JobStatus::Succeeded || job.request.is_some() {
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

/// The namespaces of which such an attempt has committed.
fn committed(attempts: &[AttemptRow], such: impl Fn(&AttemptRow) -> bool) -> Vec<String> {
    let committed = attempts.iter().filter(|attempt| attempt.status == AttemptStatus::Committed);
    let mut namespaces: Vec<String> =
        committed.filter(|attempt| such(attempt)).map(|attempt| attempt.start.namespace.clone()).collect();
    namespaces.dedup();
    namespaces
}

/// With `verify-after`: the verification of what the run has committed, if it has committed anything.
fn verify_after(job: &JobRow, attempts: &[AttemptRow], config: &JobConfig) -> Result<Option<NewJob>> {
    let namespaces = committed(attempts, |_| true);
    let Some(created) = job.created.filter(|_| config.policy.verify_after && !namespaces.is_empty()) else {
        return Ok(None);
    };
    let place = config.storage.place();
    let done = attempts.iter().filter(|attempt| attempt.status == AttemptStatus::Committed);
    Ok(Some(NewJob {
        request: Some(Document::of(&VerifyRequest::of_run(created))?),
        // Not the whole routine: the retention beside it would find everything held.
        pins: done.map(|attempt| address(&place, &attempt.start.folder)).collect(),
        // Its copies are yet to be made, and are read back then.
        ..routine_job(&config.in_own())?.on_backups(JobKind::Verify, Trigger::AfterBackup, Some(namespaces))
    }))
}

#[cfg(test)]
mod retention_tests;
#[cfg(test)]
mod verify_tests;
