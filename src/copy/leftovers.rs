//! Half-made copies that nobody goes on with: storage is asked, and what is no backup is removed (rules.md 6.1, 6.2).

use super::CopyJobConfig;
use crate::catalog::layout::{CONFIGURATION, DATA};
use crate::catalog::{Commit, Ownership, RunFolder, committed, remove_attempt};
use crate::error::Result;
use crate::model::JobKind;
use crate::storage::{Storage, join};
use crate::store::{CopyingRow, JobId, Store};

/// The noted folders of which no copy job of that routine and storage is to come, but for `but`: with one to come they are
/// its to go on with. Copies of a routine run one after the other, so none of these is in use.
pub async fn left(store: &Store, but: Option<JobId>) -> Result<Vec<CopyingRow>> {
    let mut left = Vec::new();
    for row in store.copying().await? {
        let open = store.open_jobs(&row.routine).await?;
        let is_to_come = open.iter().any(|job| {
            job.kind == JobKind::Copy && job.storage.as_ref() == Some(&row.storage) && Some(job.id) != but
        });
        if !is_to_come {
            left.push(row);
        }
    }
    Ok(left)
}

/// What the job that noted a folder ran with; none if it is forgotten.
pub async fn config_of(store: &Store, row: &CopyingRow) -> Result<Option<CopyJobConfig>> {
    let job = store.job(row.job_id).await?;
    job.and_then(|job| job.config).map(|document| document.parse()).transpose()
}

/// Asks storage about one noted folder: what has committed stays, what certainly has not is removed, and the note goes. In
/// doubt both stay, for the next start or the next copy of the routine.
pub async fn settle(
    store: &Store,
    storage: &dyn Storage,
    ownership: &Ownership,
    row: &CopyingRow,
) -> Result<()> {
    match committed(storage, &row.folder).await {
        Commit::Committed(_) => {}
        Commit::Absent => remove(storage, ownership, &row.routine, &row.folder).await?,
        Commit::Broken { reason } => {
            tracing::warn!(folder = row.folder, reason, "a copy is damaged: the next copy of it mends it");
        }
        Commit::Unknown(error) => return Err(error),
    }
    let mut tx = store.write().await?;
    tx.end_copying(&row.address).await?;
    tx.commit().await
}

/// Removes the folder of a copy, and with the last namespace of its run what lies beside those.
pub(super) async fn remove(
    storage: &dyn Storage,
    ownership: &Ownership,
    routine: &str,
    folder: &str,
) -> Result<()> {
    // Another instance may have adopted the folder since: then it is not ours to remove.
    ownership.check(storage, routine).await?;
    remove_attempt(storage, folder).await?;
    let Some((run, _)) = RunFolder::of_key(folder) else { return Ok(()) };
    if storage.list_dirs(&join(&run.key(), DATA)).await?.is_empty() {
        storage.delete_prefix(&join(&run.key(), CONFIGURATION)).await?;
    }
    Ok(())
}
