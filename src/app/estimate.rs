//! How much a backup would hold and how long it would take.

use super::App;
use crate::backup::estimate::{Estimate, Pace, estimate};
use crate::error::Result;
use crate::memory::{Class, Need};
use crate::model::{BackupType, JobStatus};

impl App {
    /// Asks the cluster; it reads a sample of the records.
    ///
    /// Errors: `routine-unknown`, `memory-budget` while jobs hold all memory, and those of the cluster and of storage.
    pub async fn estimate(&self, routine: &str, backup_type: BackupType) -> Result<Estimate> {
        let job = self.config().routine(routine, self.now())?.job;
        let _share = self.runner.memory().take_now(Class::Other, Need::ESTIMATE)?;
        let store = self.jobs.store();
        let storage = self.places.open(&job.storage).await?;
        let last = store.last_job(routine, backup_type, JobStatus::Succeeded).await?;
        let mut pace = None;
        if let Some(last) = last
            && let Some((started, finished)) = last.started.zip(last.finished)
            && let Some(progress) = store.progress(last.id).await?
        {
            let took_ms = u64::try_from(finished.since(started)).unwrap_or(0);
            pace = Some(Pace { records: progress.done, took_ms });
        }
        estimate(&job, backup_type, self.connect.as_ref(), storage, pace, self.now()).await
    }
}
