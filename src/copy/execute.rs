//! One backup: its folder is noted, then files, `blocks.b3`, `manifest.json`, and `metadata.yaml` last (rules.md 3.10).

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use futures_util::stream::{self, StreamExt, TryStreamExt};

use super::files::Way;
use super::leftovers;
use super::original::Original;
use crate::catalog::layout::{CONFIGURATION, MANIFEST, METADATA};
use crate::catalog::manifest::{BlocksReader, BlocksWriter, MANIFEST_BYTES_MAX};
use crate::catalog::metadata::METADATA_BYTES_MAX;
use crate::catalog::wholeness::wrong_folder;
use crate::catalog::{BackupEntry, Manifest, Ownership, RunFolder};
use crate::error::{Error, Result};
use crate::jobs::JobContext;
use crate::storage::{Storage, address, join};
use crate::store::{CopyingRow, VerifyOutcome};
use crate::tasks::unless_canceled;

/// The largest file of a node's configuration that is copied; larger ones are not made.
const CONFIGURATION_BYTES_MAX: u64 = 16 * 1024 * 1024;

/// What the backups of one job share.
pub(super) struct Copy {
    pub context: JobContext,
    pub source: Arc<dyn Storage>,
    pub target: Arc<dyn Storage>,
    pub way: Way,
    /// This instance, in the target.
    pub ownership: Ownership,
    pub routine: String,
    pub source_name: String,
    pub target_name: String,
    /// Files at once.
    pub files: usize,
}

/// What became of one backup.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Outcome {
    /// It is in the target now.
    Copied {
        /// Files written; those that an earlier attempt had brought are not among them.
        files: u64,
        /// Bytes written.
        bytes: u64,
    },
    /// The target had it, whole: nothing was written.
    AlreadyThere,
}

/// What the target has of a backup.
enum There {
    Nothing,
    Whole,
    /// It is listed, and something of it is missing or damaged.
    Damaged(String),
}

impl Copy {
    /// Copies one backup, unless the target has it. From the moment `metadata.yaml` is sent a cancel is not heard
    /// (rules.md 2.8).
    ///
    /// Errors: `backup-damaged`, `copy-conflict`, `copy-folder-taken`, `copy-damaged`, `canceled`, those of storages. What
    /// had been written then is noted in the store.
    pub async fn one(&self, entry: &BackupEntry) -> Result<Outcome> {
        let (storage, store) = (self.source.as_ref(), &self.context.store);
        let cancel = &self.context.cancel;
        let read = Original::read(storage, entry, store, &self.source_name);
        let original = unless_canceled(cancel, read).await?;
        let part = &entry.namespace;
        self.context.progress.doing(part, format!("looking for backup {} in the target", entry.key));
        match unless_canceled(cancel, self.look(&original)).await? {
            There::Whole => return Ok(Outcome::AlreadyThere),
            There::Nothing => {}
            There::Damaged(reason) => {
                let text = format!("the copy of backup {} is damaged, it is mended: {reason}", entry.key);
                self.context.warn("copy-mended", text);
                // Not before the original is known to be good: a damaged copy may be the better one of two.
                unless_canceled(cancel, self.check_original(&original)).await?;
            }
        }
        self.begin(&original.key).await?;
        self.context.progress.doing(part, format!("copying backup {}", entry.key));
        let outcome = unless_canceled(cancel, self.write(&original)).await?;
        self.ownership.check(self.target.as_ref(), &self.routine).await?;
        self.publish(&original).await?;
        self.end(&original.key).await?;
        self.context.progress.done_with(part);
        Ok(outcome)
    }

    /// What the target has: the same documents, byte for byte, and every file with its size.
    async fn look(&self, original: &Original) -> Result<There> {
        let (target, key) = (self.target.as_ref(), &original.key);
        match target.get(&join(key, METADATA), METADATA_BYTES_MAX).await? {
            None => return Ok(There::Nothing),
            Some(bytes) if bytes != original.metadata => {
                let text = format!("{} has another backup {key}", target.describe());
                return Err(Error::permanent("copy-conflict", text)
                    .hint("Remove or rename it by hand, or copy to another storage."));
            }
            Some(_) => {}
        }
        let manifest = target.get(&join(key, MANIFEST), MANIFEST_BYTES_MAX).await?;
        if manifest.as_ref() != original.manifest.as_ref().map(|(bytes, _)| bytes) {
            return Ok(There::Damaged(format!("its {MANIFEST} is not the original's")));
        }
        if let Some(reason) = self.wrong(original).await? {
            return Ok(There::Damaged(reason));
        }
        // Without hashes nothing shows that the original is the better one of the two.
        let found = if manifest.is_some() { self.found_damaged(key).await? } else { None };
        Ok(found.map_or(There::Whole, There::Damaged))
    }

    /// What a verification of the target has found wrong with the copy since it was made: sizes do not show it.
    async fn found_damaged(&self, key: &str) -> Result<Option<String>> {
        let known = self.context.store.verification(&self.target_name, key).await?;
        Ok(known.filter(|row| row.outcome == VerifyOutcome::Damaged).and_then(|row| row.reason))
    }

    /// What is wrong with the files that the target has.
    async fn wrong(&self, original: &Original) -> Result<Option<String>> {
        let manifest = original.manifest.as_ref().map(|(_, manifest)| manifest);
        wrong_folder(self.target.as_ref(), &original.key, manifest, original.file_count).await
    }

    async fn check_original(&self, original: &Original) -> Result<()> {
        let checks: Vec<_> = original.files.iter().map(|file| self.way.check(file)).collect();
        stream::iter(checks).buffer_unordered(self.files).try_collect().await
    }

    /// Notes the folder before its first use (rules.md 6.1). One that holds something, and that nobody has noted, is left
    /// alone (6.2); a copy that was listed is taken out of the lists first.
    async fn begin(&self, folder: &str) -> Result<()> {
        let target = self.target.as_ref();
        let at = address(&target.describe(), folder);
        let job = &self.context.job;
        let listed = target.head(&join(folder, METADATA)).await?.is_some();
        let known = self.context.hold().await?.copying_at(&at).await?.is_some();
        if !known && !listed && !target.list(folder).await?.is_empty() {
            let text = format!(
                "{} has files below {folder}, and no backup there that is finished",
                target.describe()
            );
            return Err(Error::permanent("copy-folder-taken", text).hint(
                "Another program or another store has begun it: remove the folder if nobody needs it.",
            ));
        }
        let row = CopyingRow {
            address: at,
            job_id: job.id,
            routine: self.routine.clone(),
            storage: self.target_name.clone(),
            folder: folder.to_owned(),
            started: self.context.clock.now(),
        };
        let mut tx = self.context.hold().await?;
        tx.begin_copying(&row).await?;
        tx.commit().await?;
        if listed {
            self.ownership.check(target, &self.routine).await?;
            target.delete(&join(folder, METADATA)).await?;
        }
        Ok(())
    }

    /// The copy is committed: what was found of an earlier one holds no more.
    async fn end(&self, folder: &str) -> Result<()> {
        let mut tx = self.context.hold().await?;
        tx.forget_verification(&self.target_name, &self.routine, folder).await?;
        tx.end_copying(&address(&self.target.describe(), folder)).await?;
        tx.commit().await
    }

    /// Writes everything but `metadata.yaml`, and has all of it read back.
    async fn write(&self, original: &Original) -> Result<Outcome> {
        let target = self.target.as_ref();
        target.delete_unfinished(&original.key).await?;
        let kept = self.keep(original).await?;
        let brought: Vec<_> =
            original.files.iter().map(|file| self.way.bring(file, kept.contains(&file.key))).collect();
        let written: Vec<u64> = stream::iter(brought).buffer_unordered(self.files).try_collect().await?;
        if let Some((json, manifest)) = &original.manifest {
            self.write_blocks(original, manifest).await?;
            target.put(&join(&original.key, MANIFEST), json.clone()).await?;
            let back = target.get(&join(&original.key, MANIFEST), MANIFEST_BYTES_MAX).await?;
            if back.as_ref() != Some(json) {
                return Err(not_as_written(&original.key, MANIFEST));
            }
        }
        if let Some(reason) = self.wrong(original).await? {
            return Err(not_as_written(&original.key, &reason));
        }
        self.configuration(&original.key).await?;
        let files = written.iter().filter(|bytes| **bytes > 0).count() as u64;
        Ok(Outcome::Copied { files, bytes: written.iter().sum() })
    }

    /// What an earlier attempt has brought, as far as its size tells; what does not belong to the backup is removed.
    async fn keep(&self, original: &Original) -> Result<BTreeSet<String>> {
        let sizes: BTreeMap<&str, u64> =
            original.files.iter().map(|file| (file.key.as_str(), file.size)).collect();
        let mut kept = BTreeSet::new();
        for object in self.target.list(&original.key).await? {
            if sizes.get(object.key.as_str()) == Some(&object.size_bytes) {
                kept.insert(object.key);
            } else {
                self.target.delete(&object.key).await?;
            }
        }
        Ok(kept)
    }

    /// `blocks.b3`, read back against the manifest.
    async fn write_blocks(&self, original: &Original, manifest: &Manifest) -> Result<()> {
        let target = self.target.as_ref();
        let mut writer = BlocksWriter::create(target, &original.key).await?;
        for file in &original.files {
            writer.push(file.blocks.as_ref().map_or(&[][..], |blocks| blocks.as_slice())).await?;
        }
        writer.finish().await?;
        let mut reader = BlocksReader::open(target, &original.key, manifest).await?;
        for file in &manifest.files {
            reader.next_file(file).await?;
        }
        Ok(())
    }

    /// What the nodes had said of their configuration lies beside the namespaces of a run, and goes with any of them.
    async fn configuration(&self, folder: &str) -> Result<()> {
        let Some((run, _)) = RunFolder::of_key(folder) else { return Ok(()) };
        for object in self.source.list(&join(&run.key(), CONFIGURATION)).await? {
            let there = self.target.head(&object.key).await?;
            if there.is_some_and(|there| there.size_bytes == object.size_bytes) {
                continue;
            }
            if let Some(bytes) = self.source.get(&object.key, CONFIGURATION_BYTES_MAX).await? {
                self.target.put(&object.key, bytes).await?;
            }
        }
        Ok(())
    }

    /// Writes `metadata.yaml`; when the target does not say whether it was taken, asks it.
    async fn publish(&self, original: &Original) -> Result<()> {
        let (target, key) = (self.target.as_ref(), join(&original.key, METADATA));
        let Err(error) = target.put(&key, original.metadata.clone()).await else { return Ok(()) };
        match target.get(&key, METADATA_BYTES_MAX).await {
            Ok(Some(bytes)) if bytes == original.metadata => Ok(()),
            _ => Err(error),
        }
    }

    /// Removes what was written of a backup that is given up.
    pub async fn give_up(&self, folder: &str) -> Result<()> {
        let at = address(&self.target.describe(), folder);
        if self.context.hold().await?.copying_at(&at).await?.is_none() {
            return Ok(());
        }
        leftovers::remove(self.target.as_ref(), &self.ownership, &self.routine, folder).await?;
        self.end(folder).await
    }
}

fn not_as_written(folder: &str, what: &str) -> Error {
    let text = format!("the copy of backup {folder} is not as it was written: {what}");
    Error::temporary("copy-damaged", text).hint("Check the disk or the network of the target, and try again.")
}
