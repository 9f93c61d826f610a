//! Backups for tests, written the way a run writes them.

use std::sync::Arc;

use tempfile::TempDir;

use super::commit::{Commit, commit};
use super::entry::BackupEntry;
use super::layout::{METADATA, RunFolder};
use super::list::{ListQuery, list_backups};
use super::manifest::{
    BLOCK_BYTES, BlocksWriter, ClusterIdentity, Engine, FileKind, Manifest, ManifestFile, NodeIdentity,
    Promoted, SCHEMA_VERSION, Scope, Totals, hash_hex,
};
use super::metadata::{Compression, Encryption, Metadata};
use crate::model::{BackupType, UnixMillis};
use crate::storage::faulty::Faulty;
use crate::storage::{LocalStorage, Storage, join};

/// An empty storage with faults on demand.
pub async fn storage() -> (TempDir, Faulty) {
    let dir = TempDir::new().unwrap();
    let storage = LocalStorage::create(dir.path()).await.unwrap();
    (dir, Faulty::new(Arc::new(storage)))
}

/// A backup of one namespace to be written.
#[derive(Debug, Clone)]
pub struct Backup {
    pub run: RunFolder,
    pub namespace: String,
    pub attempt: u32,
    pub from: Option<UnixMillis>,
    pub files: Vec<(String, Vec<u8>)>,
    pub foreign: bool,
    pub promoted: bool,
}

impl Backup {
    pub fn full(created: i64, namespace: &str) -> Self {
        let run = RunFolder::new("r", BackupType::Full, UnixMillis(created), None).unwrap();
        Self {
            run,
            namespace: namespace.into(),
            attempt: 1,
            from: None,
            files: vec![],
            foreign: false,
            promoted: false,
        }
    }

    pub fn incremental(created: i64, from: i64, namespace: &str) -> Self {
        let full = Self::full(created, namespace);
        let run = RunFolder { backup_type: BackupType::Incremental, ..full.run };
        Self { run, from: Some(UnixMillis(from)), ..full }
    }

    pub fn attempt(mut self, attempt: u32) -> Self {
        self.attempt = attempt;
        self
    }

    /// So many files of different sizes, the first with more than one block.
    pub fn files(mut self, count: usize) -> Self {
        self.files = (0..count)
            .map(|at| {
                let size = if at == 0 { BLOCK_BYTES as usize + 1 } else { at * 1000 };
                (format!("{at}_{}_{}.asb", self.namespace, at + 1), vec![at as u8; size])
            })
            .collect();
        self
    }

    /// Without manifest, as ABS writes it.
    pub fn foreign(mut self) -> Self {
        self.foreign = true;
        self
    }

    pub fn folder(&self) -> String {
        self.run.namespace_folder(&self.namespace, self.attempt).unwrap()
    }

    pub fn manifest(&self) -> Manifest {
        let file = |(name, bytes): &(String, Vec<u8>)| ManifestFile {
            name: name.clone(),
            size_bytes: bytes.len() as u64,
            records: 15,
            blake3: hash_hex(*blake3::hash(hashes(bytes).as_flattened()).as_bytes()),
            kind: FileKind::Data,
        };
        let files: Vec<ManifestFile> = self.files.iter().map(file).collect();
        let scope = Scope::default();
        Manifest {
            schema_version: SCHEMA_VERSION,
            producer: "holdfast test".into(),
            engine: Engine { name: "aerospike".into(), version: "8.1.0.0".into() },
            cluster: ClusterIdentity {
                name: "c".into(),
                nodes: vec![NodeIdentity { id: "A1".into(), address: "10.0.0.1:3000".into() }],
            },
            routine: "r".into(),
            namespace: self.namespace.clone(),
            backup_type: self.run.backup_type,
            attempt: self.attempt,
            created: self.run.created,
            finished: self.run.created.plus_ms(1500),
            from: self.from,
            safe_from: self.run.created.plus_ms(-7),
            sealed_until: None,
            promoted: self.promoted.then(|| Promoted { reason: "closed".into() }),
            run_namespaces: vec![self.namespace.clone(), "gone".into()],
            scope_hash: scope.hash(),
            scope,
            format: "asb-3.1".into(),
            compression: Compression::Zstd,
            encryption: Encryption::None,
            totals: Totals {
                records: files.iter().map(|file| file.records).sum(),
                bytes: files.iter().map(|file| file.size_bytes).sum(),
                files: files.len() as u64,
                indexes: 0,
                udfs: 0,
            },
            files,
            sidecar: None,
            clock_skew: None,
            unsupported_skipped: 0,
            warnings: vec![],
            seal: None,
            sealed_hash: None,
        }
    }

    pub fn metadata(&self) -> Metadata {
        let manifest = self.manifest();
        Metadata {
            created: manifest.created,
            finished: Some(manifest.finished),
            from: manifest.from,
            namespace: manifest.namespace,
            record_count: manifest.totals.records,
            byte_count: manifest.totals.bytes,
            file_count: manifest.totals.files,
            secondary_index_count: 0,
            udf_count: 0,
            compression: manifest.compression,
            encryption: manifest.encryption,
        }
    }

    /// Writes the data files, and nothing that commits them.
    pub async fn write_files(&self, storage: &dyn Storage) -> BlocksWriter {
        let mut blocks = BlocksWriter::create(storage, &self.folder()).await.unwrap();
        for (name, bytes) in &self.files {
            let mut writer = storage.create(&join(&self.folder(), name)).await.unwrap();
            writer.write(bytes.clone().into()).await.unwrap();
            writer.finish().await.unwrap();
            blocks.push(&hashes(bytes)).await.unwrap();
        }
        blocks
    }

    /// Writes all of it, and reads it back from the listing.
    pub async fn write(&self, storage: &dyn Storage) -> BackupEntry {
        let blocks = self.write_files(storage).await;
        if self.foreign {
            blocks.abort().await.unwrap();
            let yaml = self.metadata().to_yaml();
            storage.put(&join(&self.folder(), METADATA), yaml.into()).await.unwrap();
        } else {
            let answer = commit(storage, &self.folder(), blocks, &self.manifest(), &self.metadata()).await;
            assert!(matches!(answer.unwrap(), Commit::Committed(_)));
        }
        let query = ListQuery {
            routine: "r",
            backup_type: self.run.backup_type,
            from: Some(self.run.created),
            to: Some(self.run.created),
            manifests: true,
        };
        let listing = list_backups(storage, &query).await.unwrap();
        let mine = listing.all().iter().find(|entry| entry.key == self.folder());
        mine.unwrap_or_else(|| panic!("not listed: {listing:?}")).clone()
    }
}

/// The block hashes of a file.
pub fn hashes(bytes: &[u8]) -> Vec<[u8; 32]> {
    bytes.chunks(BLOCK_BYTES as usize).map(|block| *blake3::hash(block).as_bytes()).collect()
}
