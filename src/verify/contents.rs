//! The files of one backup, what they must hold, and whether they do.

use std::sync::Arc;

use futures_util::stream::{self, StreamExt, TryStreamExt};
use tokio_util::sync::CancellationToken;

use crate::asb::FileKey;
use crate::asb::cipher::Unlock;
use crate::catalog::layout::DATA_SUFFIX;
use crate::catalog::manifest::BlocksReader;
use crate::catalog::manifest::SealProblem;
use crate::catalog::wholeness::{Wholeness, wholeness, wrong_folder};
use crate::catalog::{BackupEntry, Encryption, Manifest, PathFolder};
use crate::engine::aerospike::decode::WRONG_KEY_HINT;
use crate::engine::aerospike::inspect::{self, Held};
use crate::engine::{FileToRead, Watch};
use crate::error::{Error, Result};
use crate::storage::{ObjectInfo, Storage, join};

/// The files of one backup and what they must hold.
#[derive(Debug, Clone, Default)]
pub struct Contents {
    /// Its files.
    pub files: Vec<FileToRead>,
    /// Whether a manifest vouches for the files.
    pub has_manifest: bool,
    /// What must be found in them.
    pub expected: Expected,
}

/// What must be found in the files of a backup; none where nobody counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Expected {
    /// Records.
    pub records: Option<u64>,
    /// Secondary indexes; counted by our manifests only.
    pub indexes: Option<u64>,
    /// UDF modules; counted by our manifests only.
    pub udfs: Option<u64>,
}

impl Expected {
    /// What a backup counted: with a manifest all of it, else the records of `metadata.yaml` (rules.md 4.2).
    fn of(records: u64, manifest: Option<&Manifest>) -> Self {
        Self {
            records: Some(records),
            indexes: manifest.map(|manifest| manifest.totals.indexes),
            udfs: manifest.map(|manifest| manifest.totals.udfs),
        }
    }

    /// Compares it with what was found; `backup-damaged`.
    pub fn check(&self, key: &str, held: &Held) -> Result<()> {
        let counts = [
            ("records", self.records, held.records),
            ("indexes", self.indexes, held.indexes),
            ("UDF modules", self.udfs, held.udfs),
        ];
        for (what, expected, found) in counts {
            if let Some(expected) = expected.filter(|expected| *expected != found) {
                let said = if self.indexes.is_some() { "manifest" } else { "metadata" };
                return Err(damaged(key, &format!("{found} {what} were read, its {said} counts {expected}")));
            }
        }
        Ok(())
    }
}

impl Contents {
    /// Those of a listed backup: manifest and sizes are always looked at (rules.md 4.2).
    ///
    /// With a key, the manifest of an encrypted backup is compared with its seal (rules.md 3.11).
    ///
    /// Errors: `backup-damaged`; `wrong-key`; those of storage, which are doubt.
    pub async fn of_entry(storage: &dyn Storage, entry: &BackupEntry, key: Option<&FileKey>) -> Result<Self> {
        match wholeness(storage, entry).await? {
            Wholeness::Broken { reason } => Err(damaged(&entry.key, &reason)),
            Wholeness::Whole { manifest: Some(manifest) } => {
                Self::of_manifest(storage, &entry.key, entry.counts.records, &manifest, key).await
            }
            Wholeness::Whole { manifest: None } => {
                let listed = storage.list(&entry.key).await?;
                let files = listed.into_iter().filter(|object| object.key.ends_with(DATA_SUFFIX));
                Ok(Self::plain(files, entry.counts.records, &unlock(entry.encryption, key)))
            }
        }
    }

    /// Those of a folder that somebody named: looked at before the first write, as for one found by its time.
    pub async fn of_folder(
        storage: &dyn Storage,
        folder: &PathFolder,
        key: Option<&FileKey>,
    ) -> Result<Self> {
        let (metadata, manifest) = (&folder.metadata, folder.manifest.as_ref());
        if let Some(reason) = wrong_folder(storage, &folder.key, manifest, metadata.file_count).await? {
            return Err(damaged(&folder.key, &reason));
        }
        let Some(manifest) = manifest else {
            let unlock = unlock(metadata.encryption, key);
            return Ok(Self::plain(folder.files.iter().cloned(), metadata.record_count, &unlock));
        };
        Self::of_manifest(storage, &folder.key, metadata.record_count, manifest, key).await
    }

    /// The files that a manifest names, and nothing else in the folder (rules.md 3.10).
    async fn of_manifest(
        storage: &dyn Storage,
        key: &str,
        records: u64,
        manifest: &Manifest,
        file_key: Option<&FileKey>,
    ) -> Result<Self> {
        if let Some(file_key) = file_key {
            check_seal(key, manifest, file_key)?;
        }
        let unlock = unlock(manifest.encryption, file_key);
        let mut blocks = BlocksReader::open(storage, key, manifest).await?;
        let mut files = Vec::with_capacity(manifest.files.len());
        for file in &manifest.files {
            files.push(FileToRead {
                key: join(key, &file.name),
                size: file.size_bytes,
                root: file.root(),
                blocks: Arc::new(blocks.next_file(file).await?),
                unlock: unlock.clone(),
                copies: None,
            });
        }
        Ok(Self { files, has_manifest: true, expected: Expected::of(records, Some(manifest)) })
    }

    fn plain(files: impl Iterator<Item = ObjectInfo>, records: u64, unlock: &Unlock) -> Self {
        let expected = Expected::of(records, None);
        let files = files.map(|object| plain_file(object, unlock)).collect();
        Self { files, has_manifest: false, expected }
    }
}

/// A file of which only the size is known.
pub fn plain_file(object: ObjectInfo, unlock: &Unlock) -> FileToRead {
    FileToRead {
        key: object.key,
        size: object.size_bytes,
        root: None,
        blocks: Arc::default(),
        unlock: unlock.clone(),
        copies: None,
    }
}

/// What files are deciphered with of which manifest or metadata says the mode. Where those say NONE the bytes decide:
/// documents of old writers do not say it at all (abs.md 3).
fn unlock(encryption: Encryption, key: Option<&FileKey>) -> Unlock {
    Unlock { key: key.cloned(), mode: encryption.cipher() }
}

fn check_seal(folder: &str, manifest: &Manifest, key: &FileKey) -> Result<()> {
    match manifest.check_seal(key) {
        Ok(()) => Ok(()),
        Err(problem @ SealProblem::WrongKey) => {
            Err(Error::permanent("wrong-key", format!("backup {folder}: {problem}")).hint(WRONG_KEY_HINT))
        }
        Err(problem) => Err(damaged(folder, &problem.to_string())),
    }
}

/// Reads the files of one backup to their ends, `parallel` at once, and compares all of it: sizes, checksums, every
/// item, and the counts (rules.md 3.11).
///
/// Errors: `file-damaged` and `backup-damaged`, of which the first file by name; `canceled`; those of storage.
pub async fn check(
    storage: &Arc<dyn Storage>,
    key: &str,
    files: &[FileToRead],
    expected: &Expected,
    parallel: usize,
    watch: Option<&Arc<dyn Watch>>,
    cancel: &CancellationToken,
) -> Result<Held> {
    // The others end with the first that is damaged: dropped alone, their threads would read on.
    let others = cancel.child_token();
    let _ends = others.clone().drop_guard();
    let reads: Vec<_> = files
        .iter()
        .cloned()
        .map(|file| {
            let (storage, watch, cancel) = (Arc::clone(storage), watch.cloned(), others.clone());
            async move { inspect::check(&storage, &file, watch, &cancel).await }
        })
        .collect();
    let mut reads = stream::iter(reads).buffered(parallel.max(1));
    let mut held = Held::default();
    while let Some(one) = reads.try_next().await? {
        held.add(&one);
    }
    expected.check(key, &held)?;
    Ok(held)
}

/// What a damaged backup is told with.
pub fn damaged(key: &str, reason: &str) -> Error {
    Error::permanent("backup-damaged", format!("backup {key}: {reason}"))
        .hint("Restore to an earlier time, or from another copy.")
}
