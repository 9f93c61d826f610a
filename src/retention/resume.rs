//! Deletions that were cut off: by a crash, a stop, a cancel, or a storage that failed (rules.md 5.3).

use crate::error::Result;
use crate::jobs::{Jobs, NewJob};
use crate::model::JobKind;
use crate::store::Trigger;

/// Admits a job for each routine and storage with marked backups and no retention job to come; at each start, and hourly. It runs
/// with the configuration that the backups were marked under, and marks nothing more: that policy may be out of force.
pub async fn resume(jobs: &Jobs) -> Result<usize> {
    let mut new: Vec<NewJob> = Vec::new();
    for row in jobs.store().deletions().await? {
        if new.iter().any(|job| job.routine.as_ref() == Some(&row.routine) && job.storage == row.storage) {
            continue;
        }
        let open = jobs.store().open_jobs(&row.routine).await?;
        if open.iter().any(|job| job.kind == JobKind::Retention && job.storage == row.storage) {
            continue;
        }
        let Some(marked_by) = jobs.store().job(row.job_id).await? else {
            tracing::warn!(
                folder = row.folder,
                "a marked backup is left to the next retention of its routine: the job that marked it is forgotten"
            );
            continue;
        };
        new.push(NewJob {
            routine: Some(row.routine),
            storage: row.storage,
            namespaces: Some(Vec::new()),
            config: marked_by.config,
            ..NewJob::of(JobKind::Retention, Trigger::Recovery)
        });
    }
    Ok(jobs.admit_many(&new).await?.len())
}
