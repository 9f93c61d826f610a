//! What became of attempts that an earlier process left: storage is asked (rules.md 6.1).

use async_trait::async_trait;

use crate::app::open_storage;
use crate::catalog::commit::Commit;
use crate::catalog::{Ownership, committed, remove_attempt};
use crate::config::JobConfig;
use crate::error::{Error, Result};
use crate::jobs::{Settle, Settled};
use crate::store::{AttemptEnd, AttemptRow, AttemptStatus, JobRow};

/// Asks the storage that the job was configured with.
#[derive(Debug, Clone)]
pub(super) struct AskStorage {
    /// Only an owner prunes (rules.md 5.5).
    pub ownership: Ownership,
}

#[async_trait]
impl Settle for AskStorage {
    async fn settle(&self, job: &JobRow, attempt: &AttemptRow) -> Settled {
        match self.ask(job, attempt).await {
            Ok(settled) => settled,
            Err(error) => {
                let (job, folder, reason) = (job.id.0, &attempt.start.folder, error.report());
                tracing::warn!(
                    job,
                    folder,
                    reason,
                    "storage did not say what became of an attempt; asked again later"
                );
                Settled::Unknown
            }
        }
    }
}

impl AskStorage {
    async fn ask(&self, job: &JobRow, attempt: &AttemptRow) -> Result<Settled> {
        let without =
            || Error::permanent("document-unreadable", format!("job {} has no configuration", job.id));
        let config: JobConfig = job.config.as_ref().ok_or_else(without)?.parse()?;
        let storage = open_storage(&config.storage).await?;
        let folder = &attempt.start.folder;
        match committed(storage.as_ref(), folder).await {
            Commit::Committed(found) => {
                let metadata = &found.metadata;
                Ok(Settled::Committed(Box::new(AttemptEnd {
                    safe_from: found.manifest.as_ref().map(|manifest| manifest.safe_from),
                    records: metadata.record_count,
                    bytes: metadata.byte_count,
                    files: metadata.file_count,
                    indexes: metadata.secondary_index_count,
                    udfs: metadata.udf_count,
                    ..AttemptEnd::plain(
                        AttemptStatus::Committed,
                        metadata.finished.unwrap_or(metadata.created),
                    )
                })))
            }
            Commit::Absent => {
                // Another instance may have adopted the folder since: then it is not ours to remove.
                self.ownership.check(storage.as_ref(), &config.routine).await?;
                remove_attempt(storage.as_ref(), folder).await?;
                Ok(Settled::Absent)
            }
            Commit::Broken { reason } => Err(Error::temporary("attempt-broken", reason)),
            Commit::Unknown(error) => Err(error),
        }
    }
}
