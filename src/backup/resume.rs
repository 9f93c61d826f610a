//! Going on with a backup that was cut off, from its finished files (rules.md 6.3).
//!
//! The order that makes it safe to be cut off at any moment: a file is closed and durable, then its row is written
//! (`store::checkpoints`); the folder is removed, then the row. So a row stands for a file that was there whole, and a
//! file without a row is of a try that was cut off between the two: it is removed before the next try reads on, as its
//! records are read again. What a row claims is looked at once more: every byte is compared with its hash.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};

use async_trait::async_trait;
use futures_util::future::try_join_all;
use serde::Serialize;

use super::plan::{Action, NamespacePlan};
use super::run::Run;
use crate::asb::{BlockHasher, BlockHashes, root_of};
use crate::catalog::Scope;
use crate::config::{self, Compression, EncryptionConfig, JobConfig, StorageConfig, UnsupportedRecords};
use crate::engine::WrittenFile;
use crate::engine::checkpoint::{Checkpoint, FinishedFile};
use crate::error::{Error, Result};
use crate::jobs::JobContext;
use crate::model::UnixMillis;
use crate::storage::{Storage, join};
use crate::store::{AttemptRow, CheckpointFile, CheckpointRow};
use crate::tasks::unless_canceled;

/// Kept files that are looked at at once.
const FILES_AT_ONCE: usize = 4;

/// What a configuration says of the bytes of a backup and of where they are: two tries that differ in it do not belong
/// together. How fast it goes, or by how many scans, does not matter.
#[derive(Serialize)]
struct Same<'a> {
    cluster: (&'a Option<String>, Vec<(&'a str, u16)>),
    storage: &'a StorageConfig,
    scope: &'a config::Scope,
    compression: &'a Compression,
    encryption: &'a Option<EncryptionConfig>,
    unsupported: UnsupportedRecords,
    flags: [bool; 6],
}

/// The canonical text of what tries of one backup must not differ in.
fn canonical(config: &JobConfig) -> String {
    let policy = &config.policy;
    let seeds = config.cluster.seeds.iter().map(|seed| (seed.host.as_str(), seed.port)).collect();
    let same = Same {
        cluster: (&config.cluster.name, seeds),
        storage: &config.storage,
        scope: &config.scope,
        compression: &policy.compression,
        encryption: &policy.encryption,
        unsupported: policy.unsupported_records,
        flags: [
            policy.resume,
            policy.sealed,
            policy.compact,
            policy.no_records,
            policy.no_indexes,
            policy.no_udfs,
        ],
    };
    // Plain values: serde_json cannot fail on them. Were it to, nothing would be gone on with.
    serde_json::to_string(&same).unwrap_or_else(|error| error.to_string())
}

/// Whether a backup that was begun with one configuration may be gone on with under another.
pub fn is_same_backup(one: &JobConfig, other: &JobConfig) -> bool {
    one.policy.resume && canonical(one) == canonical(other)
}

/// The hash of what another try of a namespace must not differ in: the configuration, the key, the partitions and the
/// bounds that were planned.
pub(super) fn key(config: &JobConfig, scope: &Scope, plan: &NamespacePlan) -> String {
    let bounds = match plan.action {
        Action::Incremental { builds_on, changed_since } => Some((builds_on, changed_since)),
        Action::Full { .. } | Action::Skip { .. } => None,
    };
    let all = (canonical(config), scope.hash(), scope.partitions.to_string(), bounds, plan.until);
    let text = serde_json::to_vec(&all).unwrap_or_default();
    blake3::hash(&text).to_hex().to_string()
}

/// What a try of a namespace notes, and what it goes on from.
pub(super) struct Resumable {
    context: JobContext,
    attempt: AttemptRow,
    row: CheckpointRow,
    kept: Vec<FinishedFile>,
    series: u32,
    distrusted: AtomicBool,
}

impl std::fmt::Debug for Resumable {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Resumable").field("attempt", &self.attempt).finish_non_exhaustive()
    }
}

impl Resumable {
    pub(super) fn new(run: &Run, attempt: &AttemptRow, row: CheckpointRow) -> Self {
        let (context, attempt) = (run.context.clone(), attempt.clone());
        Self { context, attempt, row, kept: Vec::new(), series: 0, distrusted: AtomicBool::new(false) }
    }

    /// Looks at what is kept, and removes everything else from the folder. Files that are not whole are no basis: then
    /// the try begins anew; so it does where a `metadata.yaml` is there that vouches for what is `broken`.
    pub(super) async fn prepare(&mut self, run: &Run, broken: Option<String>) -> Result<()> {
        let noted = self.context.store.checkpoint_files(&self.row).await?;
        let (storage, folder) = (run.storage.as_ref(), self.row.folder.clone());
        if !noted.is_empty() {
            // Nothing that lands late from an earlier try meets a name of this one.
            self.series = self.attempt.attempt.saturating_sub(1);
            let problem = match broken {
                None => unless_canceled(&self.context.cancel, damage(storage, &folder, &noted)).await?,
                broken => broken,
            };
            if let Some(problem) = problem {
                self.context.warn("resume-damaged", format!("{folder} begins anew: {problem}"));
                self.row.safe_from = run.skew.safe_from;
                self.context.forget_files(&self.attempt, self.row.safe_from).await?;
            } else {
                self.kept = noted.into_iter().map(finished).collect();
            }
        }
        if self.kept.is_empty() {
            if self.attempt.attempt > 1 {
                run.remove_attempt(&folder).await?;
            }
            return Ok(());
        }
        run.check_owner().await?;
        tidy(storage, &folder, &self.kept).await?;
        let (job, files, records) = (self.context.job.id.0, self.kept.len(), self.records());
        tracing::info!(job, folder, files, records, "the backup goes on from its finished files");
        Ok(())
    }

    /// The lower bound of the next incremental: the lowest that a try has found which read some of it (rules.md 3.2).
    pub(super) fn safe_from(&self) -> UnixMillis {
        self.row.safe_from
    }

    /// Records in the kept files.
    pub(super) fn records(&self) -> u64 {
        self.kept.iter().map(|finished| finished.file.records).sum()
    }

    /// Stored bytes of the kept files.
    pub(super) fn bytes(&self) -> u64 {
        self.kept.iter().map(|finished| finished.file.hashes.size).sum()
    }

    /// Whether the folder is worth keeping once the try has failed with an error.
    pub(super) async fn keeps(&self, error: &Error) -> bool {
        if self.distrusted.load(Ordering::SeqCst) || !self.is_of_use() || !error.is_temporary() {
            return false;
        }
        // Where the store does not answer, the folder stays: it is settled later.
        !self.context.is_cancel_requested().await.unwrap_or(false)
            && self.context.store.has_checkpoint(&self.attempt).await.unwrap_or(true)
    }
}

#[async_trait]
impl Checkpoint for Resumable {
    fn kept(&self) -> &[FinishedFile] {
        &self.kept
    }

    fn series(&self) -> u32 {
        self.series
    }

    async fn note(&self, files: &[FinishedFile]) -> Result<()> {
        let rows: Vec<CheckpointFile> = files.iter().map(noted).collect();
        self.context.note_files(&self.attempt, &rows).await
    }

    fn is_of_use(&self) -> bool {
        !self.context.cancel.is_cancelled() || self.context.stopping.is_cancelled()
    }

    fn distrust(&self) {
        self.distrusted.store(true, Ordering::SeqCst);
    }
}

fn noted(finished: &FinishedFile) -> CheckpointFile {
    let file = &finished.file;
    CheckpointFile {
        name: file.name.clone(),
        size_bytes: file.hashes.size,
        records: file.records,
        unsupported: finished.unsupported,
        first: finished.first,
        blocks: file.hashes.blocks.clone(),
        advance: finished.advance.clone(),
    }
}

fn finished(noted: CheckpointFile) -> FinishedFile {
    let hashes = BlockHashes { root: root_of(&noted.blocks), blocks: noted.blocks, size: noted.size_bytes };
    FinishedFile {
        file: WrittenFile { name: noted.name, records: noted.records, metadata: false, hashes },
        first: noted.first,
        unsupported: noted.unsupported,
        advance: noted.advance,
    }
}

/// What is wrong with the first of the files that are not as they were closed; none if all are. An error is doubt.
async fn damage(storage: &dyn Storage, folder: &str, files: &[CheckpointFile]) -> Result<Option<String>> {
    for some in files.chunks(FILES_AT_ONCE) {
        let mut looks = Vec::with_capacity(some.len());
        for file in some {
            looks.push(damage_of(storage, folder, file));
        }
        if let Some(problem) = try_join_all(looks).await?.into_iter().flatten().next() {
            return Ok(Some(problem));
        }
    }
    Ok(None)
}

async fn damage_of(storage: &dyn Storage, folder: &str, file: &CheckpointFile) -> Result<Option<String>> {
    let key = join(folder, &file.name);
    match storage.head(&key).await? {
        None => return Ok(Some(format!("{} is gone", file.name))),
        Some(found) if found.size_bytes != file.size_bytes => {
            let (name, size, noted) = (&file.name, found.size_bytes, file.size_bytes);
            return Ok(Some(format!("{name} has {size} bytes instead of {noted}")));
        }
        Some(_) => {}
    }
    let mut reader = storage.open(&key).await?;
    let mut hasher = BlockHasher::new();
    while let Some(bytes) = reader.next().await? {
        hasher.update(&bytes);
    }
    let same = hasher.finish().blocks == file.blocks;
    Ok((!same).then(|| format!("{} does not have the hash that it was closed with", file.name)))
}

/// Removes what is in the folder and is not kept: files that were not noted, indexes and UDFs, which are read again, and
/// what was never finished.
async fn tidy(storage: &dyn Storage, folder: &str, kept: &[FinishedFile]) -> Result<()> {
    let kept: BTreeSet<String> = kept.iter().map(|finished| join(folder, &finished.file.name)).collect();
    for object in storage.list(folder).await? {
        if !kept.contains(&object.key) {
            storage.delete(&object.key).await?;
        }
    }
    storage.delete_unfinished(folder).await
}
