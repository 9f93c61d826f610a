//! What follows a backup that is copied, and a copy.

use crate::app::routine_job;
use crate::config::{CopyOn, JobConfig};
use crate::copy::{CopyJobConfig, CopyRequest, FULL_NAMESPACES, WILL_RETRY, Wanted, copy_job};
use crate::error::Result;
use crate::jobs::NewJob;
use crate::model::{BackupType, JobKind, JobStatus};
use crate::store::{AttemptRow, AttemptStatus, JobRow, Trigger};

/// A copy of what the run has committed, to each storage that wants it.
pub(super) fn after_backup(job: &JobRow, attempts: &[AttemptRow], config: &JobConfig) -> Result<Vec<NewJob>> {
    let mut copies = Vec::new();
    for copy in &config.copies {
        let is_wanted = |attempt: &&AttemptRow| {
            let is_full = job.backup_type == Some(BackupType::Full) || attempt.start.promoted.is_some();
            attempt.status == AttemptStatus::Committed && (is_full || copy.on == CopyOn::All)
        };
        let folders: Vec<String> =
            attempts.iter().filter(is_wanted).map(|attempt| attempt.start.folder.clone()).collect();
        if !folders.is_empty() {
            let request = CopyRequest { wanted: Wanted::Folders(folders), tries: Some(0) };
            copies.push(copy_job(config, copy, &request, Trigger::AfterBackup)?);
        }
    }
    Ok(copies)
}

/// Retention of the copy for the namespaces of which a full was asked for (rules.md 5.2); another attempt where one is to
/// follow by itself. The sources stay pinned meanwhile (5.4).
pub(super) fn after_copy(job: &JobRow) -> Result<Vec<NewJob>> {
    let (Some(config), Some(request)) = (&job.config, &job.request) else { return Ok(Vec::new()) };
    let (config, request): (CopyJobConfig, CopyRequest) = (config.parse()?, request.parse()?);
    let mut next = Vec::new();
    let of_result = |key: &str| job.result.as_ref().and_then(|result| result.get(key)).cloned();
    let namespaces: Vec<String> =
        of_result(FULL_NAMESPACES).and_then(|names| serde_json::from_value(names).ok()).unwrap_or_default();
    if config.copy.retention.is_some() && !namespaces.is_empty() {
        let retention = routine_job(&config.retention_config())?;
        next.push(retention.on_backups(JobKind::Retention, Trigger::AfterBackup, Some(namespaces)));
    }
    // What was ended because nothing moved could not say so itself.
    let stalled = job.error_code.as_deref() == Some("stalled");
    let failed = stalled || of_result(WILL_RETRY) == Some(true.into());
    let again = match job.status {
        JobStatus::Interrupted => Some(Trigger::Recovery),
        JobStatus::Failed if failed => Some(Trigger::Retry),
        _ => None,
    };
    if let (Some(trigger), Some(request)) = (again, request.next_try()) {
        let pause = (trigger == Trigger::Retry).then(|| request.pause_ms());
        next.push(NewJob {
            namespaces: job.namespaces.clone(),
            due: job.finished.zip(pause).map(|(finished, pause)| finished.plus_ms(pause)),
            retry_of: Some(job.id),
            ..copy_job(&config.job, &config.copy, &request, trigger)?
        });
    }
    Ok(next)
}
