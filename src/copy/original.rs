//! One backup as its storage has it, with what each of its files must hold.

use std::sync::Arc;

use bytes::Bytes;

use crate::catalog::layout::{DATA_SUFFIX, MANIFEST, METADATA};
use crate::catalog::manifest::{BlocksReader, MANIFEST_BYTES_MAX, hash_hex};
use crate::catalog::metadata::METADATA_BYTES_MAX;
use crate::catalog::wholeness::wrong_folder;
use crate::catalog::{BackupEntry, Manifest};
use crate::error::{Error, Result};
use crate::storage::{Storage, join};
use crate::store::Store;
use crate::verify::contents::damaged;

/// One backup: its documents byte for byte, and its files.
#[derive(Debug)]
pub(super) struct Original {
    /// Its folder, the same in both storages.
    pub key: String,
    pub metadata: Bytes,
    /// None for a backup of another program.
    pub manifest: Option<(Bytes, Manifest)>,
    pub file_count: u64,
    /// In the manifest's order.
    pub files: Vec<OneFile>,
}

/// One of its files.
#[derive(Debug, Clone)]
pub(super) struct OneFile {
    pub key: String,
    pub size: u64,
    pub records: u64,
    /// Its block hashes as its manifest vouches for them; none without a manifest.
    pub blocks: Option<Arc<Vec<[u8; 32]>>>,
}

impl Original {
    /// Reads the documents of a listed backup and looks at its files: all there, with their sizes, and a manifest that is
    /// the one that this store knows (rules.md 4.2).
    ///
    /// Errors: `backup-damaged`, `backup-not-found`, those of storage.
    pub async fn read(
        storage: &dyn Storage,
        entry: &BackupEntry,
        store: &Store,
        storage_name: &str,
    ) -> Result<Self> {
        let key = &entry.key;
        let metadata = storage.get(&join(key, METADATA), METADATA_BYTES_MAX).await?.ok_or_else(|| {
            Error::permanent("backup-not-found", format!("backup {key} was deleted meanwhile"))
                .hint("Copy another backup.")
        })?;
        let manifest = storage.get(&join(key, MANIFEST), MANIFEST_BYTES_MAX).await?;
        let known = store.manifest_hash(storage_name, key).await?;
        let manifest = match manifest {
            None if known.is_some() || entry.manifest.is_some() => {
                return Err(damaged(key, "manifest.json is gone"));
            }
            None => None,
            Some(bytes) => {
                if known.is_some_and(|known| known != hash_hex(*blake3::hash(&bytes).as_bytes())) {
                    return Err(damaged(key, "manifest.json is not the one that was written"));
                }
                let manifest = Manifest::parse(&bytes).map_err(|reason| damaged(key, &reason))?;
                Some((bytes, manifest))
            }
        };
        let file_count = entry.counts.files;
        let wrong = wrong_folder(storage, key, manifest.as_ref().map(|(_, one)| one), file_count).await?;
        if let Some(reason) = wrong {
            return Err(damaged(key, &reason));
        }
        let files = match &manifest {
            Some((_, manifest)) => named(storage, key, manifest).await?,
            None => listed(storage, key).await?,
        };
        Ok(Self { key: key.clone(), metadata, manifest, file_count, files })
    }
}

/// The files that a manifest names, and nothing else in the folder (rules.md 3.10).
async fn named(storage: &dyn Storage, key: &str, manifest: &Manifest) -> Result<Vec<OneFile>> {
    let mut blocks = BlocksReader::open(storage, key, manifest).await?;
    let mut files = Vec::with_capacity(manifest.files.len());
    for file in &manifest.files {
        files.push(OneFile {
            key: join(key, &file.name),
            size: file.size_bytes,
            records: file.records,
            blocks: Some(Arc::new(blocks.next_file(file).await?)),
        });
    }
    Ok(files)
}

/// The data files of a backup without a manifest.
async fn listed(storage: &dyn Storage, key: &str) -> Result<Vec<OneFile>> {
    let objects = storage.list(key).await?.into_iter().filter(|object| object.key.ends_with(DATA_SUFFIX));
    let file = |key, size| OneFile { key, size, records: 0, blocks: None };
    Ok(objects.map(|object| file(object.key, object.size_bytes)).collect())
}
