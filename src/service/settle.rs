//! What became of attempts that an earlier process left: storage is asked (rules.md 6.1).

use std::time::Duration;

use async_trait::async_trait;

use crate::app::roots::open_known;
use crate::catalog::commit::Commit;
use crate::catalog::{committed, remove_attempt};
use crate::config::JobConfig;
use crate::error::{Error, Result};
use crate::jobs::{Settle, Settled};
use crate::store::{AttemptEnd, AttemptRow, AttemptStatus, JobRow, Store};

/// A storage that does not answer within this is asked again later: it must not hold up a start.
const PATIENCE: Duration = Duration::from_mins(1);

/// Asks the storage that the job was configured with.
#[derive(Debug, Clone)]
pub(super) struct AskStorage(pub Store);

#[async_trait]
impl Settle for AskStorage {
    async fn settle(&self, job: &JobRow, attempt: &AttemptRow) -> Settled {
        let silent = || Error::temporary("storage-unavailable", "the storage does not answer");
        let answer = tokio::time::timeout(PATIENCE, ask(&self.0, job, attempt)).await;
        match answer.unwrap_or_else(|_| Err(silent())) {
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

async fn ask(store: &Store, job: &JobRow, attempt: &AttemptRow) -> Result<Settled> {
    let without = || Error::permanent("document-unreadable", format!("job {} has no configuration", job.id));
    let config: JobConfig = job.config.as_ref().ok_or_else(without)?.parse()?;
    let storage = open_known(store, &config.storage).await?;
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
                ..AttemptEnd::plain(AttemptStatus::Committed, metadata.finished.unwrap_or(metadata.created))
            })))
        }
        Commit::Absent => {
            remove_attempt(storage.as_ref(), folder).await?;
            Ok(Settled::Absent)
        }
        Commit::Broken { reason } => Err(Error::temporary("attempt-broken", reason)),
        Commit::Unknown(error) => Err(error),
    }
}
