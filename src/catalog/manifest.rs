//! `manifest.json`: our own account of a backup, written before `metadata.yaml` (rules.md 3.2, 3.6, 3.10, 3.11).

pub mod blocks;
mod scope;
mod seal;

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

pub use blocks::{BLOCK_BYTES, BlocksReader, BlocksWriter, block_count, hash_hex};
pub use scope::Scope;
pub use seal::SealProblem;

use super::layout::{BLOCKS, MANIFEST, METADATA, VOID};
use super::metadata::{Compression, Encryption};
use crate::error::{Error, Result};
use crate::model::{BackupType, PartitionSet, UnixMillis};
use crate::storage::key::check_key;
use crate::storage::{Storage, join};

/// The version of the document that is written, and the newest that is read.
pub const SCHEMA_VERSION: u32 = 1;

/// The largest manifest that is read: about 200 bytes for each file, 300,000 files.
pub const MANIFEST_BYTES_MAX: u64 = 64 * 1024 * 1024;

/// What one attempt at one namespace of one run left in storage.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Manifest {
    /// [`SCHEMA_VERSION`] of the writer.
    pub schema_version: u32,
    /// The program that wrote it, with its version.
    pub producer: String,
    /// The engine and the version of the server or the servers.
    pub engine: Engine,
    /// Where the records came from.
    pub cluster: ClusterIdentity,
    /// The routine.
    pub routine: String,
    /// The namespace.
    pub namespace: String,
    /// Full or incremental.
    #[serde(rename = "type")]
    pub backup_type: BackupType,
    /// Which attempt of the run this is, counted from 1 (rules.md 3.9).
    pub attempt: u32,
    /// The start of the run.
    #[serde(rename = "created-ms")]
    pub created: UnixMillis,
    /// The end of this namespace.
    #[serde(rename = "finished-ms")]
    pub finished: UnixMillis,
    /// The `created` that an incremental builds on.
    #[serde(rename = "from-ms", default, skip_serializing_if = "Option::is_none")]
    pub from: Option<UnixMillis>,
    /// The lower bound that the next incremental must use (rules.md 3.2).
    #[serde(rename = "safe-from-ms")]
    pub safe_from: UnixMillis,
    /// The upper bound of the scan, if it was sealed (rules.md 3.3).
    #[serde(rename = "sealed-until-ms", default, skip_serializing_if = "Option::is_none")]
    pub sealed_until: Option<UnixMillis>,
    /// Why this full stands where an incremental was due (rules.md 3.7).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub promoted: Option<Promoted>,
    /// Every namespace of the run, as resolved when it started (rules.md 3.8).
    pub run_namespaces: Vec<String>,
    /// What was asked for.
    pub scope: Scope,
    /// [`Scope::hash`] by the writer: compared, never recomputed, so that later writers may extend the scope.
    pub scope_hash: String,
    /// The format of the data files.
    pub format: String,
    /// How the files are compressed.
    pub compression: Compression,
    /// How the files are encrypted, the true mode (rules.md 3.10).
    pub encryption: Encryption,
    /// Every file, in the order of `blocks.b3`.
    pub files: Vec<ManifestFile>,
    /// The sums.
    pub totals: Totals,
    /// Deletes since the backup this builds on: not written yet (DESIGN.md, "deletes are part of the truth").
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sidecar: Option<ManifestFile>,
    /// The measured clocks, if they were measured (rules.md 3.2).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub clock_skew: Option<ClockSkew>,
    /// Records left out because the format cannot hold them (rules.md 3.13).
    #[serde(default)]
    pub unsupported_skipped: u64,
    /// What the operator should know of this backup.
    #[serde(default)]
    pub warnings: Vec<String>,
    /// Vouches for all of the above, made with the key of the files; the last key of the document, in hex (rules.md
    /// 3.11). None if they are not encrypted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seal: Option<String>,
    /// The hash of what the seal covers, as written or read.
    #[serde(skip)]
    pub sealed_hash: Option<[u8; 32]>,
}

/// The engine that made a backup.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Engine {
    /// The engine's name, as in `aerospike`.
    pub name: String,
    /// The version of the system it read from.
    pub version: String,
}

/// What tells one cluster from another: a shared (node id, address) pair; ids alone are not unique (rules.md 2.4).
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct ClusterIdentity {
    /// The configured name.
    pub name: String,
    /// The nodes of the run.
    pub nodes: Vec<NodeIdentity>,
}

/// One node of a cluster.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct NodeIdentity {
    /// The node's id.
    pub id: String,
    /// The address by which it was reached, `host:port`.
    pub address: String,
}

/// Why a full stands where an incremental was due.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Promoted {
    /// The reason, a stable word such as `no-full`, `scope-changed`, `closed`.
    pub reason: String,
}

/// What a file holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum FileKind {
    /// Records.
    Data,
    /// Indexes and UDF modules.
    Metadata,
    /// Digests of deleted records.
    Sidecar,
}

/// One file beside the manifest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct ManifestFile {
    /// The name, a single path segment.
    pub name: String,
    /// The stored size.
    #[serde(rename = "size-bytes")]
    pub size_bytes: u64,
    /// Records in it.
    pub records: u64,
    /// BLAKE3 of the file's block hashes, in hex (rules.md 3.11).
    pub blake3: String,
    /// What it holds.
    pub kind: FileKind,
}

/// The sums over the files of a backup.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Totals {
    /// Records.
    pub records: u64,
    /// Bytes in storage.
    pub bytes: u64,
    /// Files, metadata files included.
    pub files: u64,
    /// Secondary indexes.
    pub indexes: u64,
    /// UDF modules.
    pub udfs: u64,
}

/// How far the nodes' clocks were from ours (rules.md 3.2).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct ClockSkew {
    /// The largest distance by which a node was behind us; negative: all were ahead.
    pub behind_ms: i64,
    /// The node that was behind the most.
    pub node: String,
    /// The policy's margin.
    pub margin_ms: i64,
}

/// What a listing keeps of a manifest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ManifestSummary {
    /// As in [`Manifest`].
    pub safe_from: UnixMillis,
    /// As in [`Manifest`].
    pub sealed_until: Option<UnixMillis>,
    /// The reason, if promoted.
    pub promoted: Option<String>,
    /// As in [`Manifest`].
    pub scope_hash: String,
    /// The partitions, if they were those of some nodes: an incremental takes the same (rules.md 3.6).
    pub chosen_partitions: Option<Box<PartitionSet>>,
    /// As in [`Manifest`].
    pub run_namespaces: Vec<String>,
    /// The true mode.
    pub encryption: Encryption,
    /// As in [`Manifest`].
    pub warnings: Vec<String>,
}

impl Manifest {
    /// The document.
    pub fn to_json(&self) -> Result<Vec<u8>> {
        serde_json::to_vec_pretty(self).map_err(|error| {
            Error::permanent("manifest-invalid", format!("write the manifest of {:?}", self.namespace))
                .source(error)
        })
    }

    /// Reads a document; the error says what is broken.
    pub fn parse(bytes: &[u8]) -> Result<Self, String> {
        // The version first: a newer document may have another shape.
        #[derive(Deserialize)]
        #[serde(rename_all = "kebab-case")]
        struct Version {
            schema_version: u32,
        }
        let unreadable = |error: serde_json::Error| format!("{MANIFEST} cannot be read: {error}");
        let Version { schema_version } = serde_json::from_slice(bytes).map_err(unreadable)?;
        if schema_version > SCHEMA_VERSION {
            return Err(format!(
                "{MANIFEST} has schema version {schema_version}, this program reads up to {SCHEMA_VERSION}"
            ));
        }
        let mut manifest: Self = serde_json::from_slice(bytes).map_err(unreadable)?;
        if manifest.seal.is_some() {
            manifest.sealed_hash = seal::sealed_hash(bytes);
        }
        manifest.check().map_err(|problem| format!("{MANIFEST} {problem}"))?;
        Ok(manifest)
    }

    /// Whether the document agrees with itself; names in it may not lead anywhere but to files beside it.
    pub fn check(&self) -> Result<(), String> {
        let mut names = BTreeSet::new();
        let mut sums = Totals::default();
        for file in self.files.iter().chain(&self.sidecar) {
            let name = file.name.as_str();
            if name.contains('/')
                || check_key(name).is_err()
                || [METADATA, MANIFEST, BLOCKS, VOID].contains(&name)
            {
                return Err(format!("names a file {name:?} that cannot be one of its own"));
            }
            if !names.insert(name) {
                return Err(format!("names the file {name:?} twice"));
            }
            if parse_hash(&file.blake3).is_none() {
                return Err(format!("has no BLAKE3 hash for the file {name:?}"));
            }
        }
        for file in &self.files {
            sums.files += 1;
            sums.bytes = sums.bytes.saturating_add(file.size_bytes);
            sums.records = sums.records.saturating_add(file.records);
        }
        let totals = &self.totals;
        if (sums.files, sums.bytes, sums.records) != (totals.files, totals.bytes, totals.records) {
            return Err("has totals that are not the sums of its files".to_owned());
        }
        Ok(())
    }

    /// How many block hashes `blocks.b3` must hold.
    pub fn block_count(&self) -> u64 {
        self.files.iter().map(|file| block_count(file.size_bytes)).fold(0, u64::saturating_add)
    }

    /// What a listing keeps.
    pub fn summary(&self) -> ManifestSummary {
        ManifestSummary {
            safe_from: self.safe_from,
            sealed_until: self.sealed_until,
            promoted: self.promoted.as_ref().map(|promoted| promoted.reason.clone()),
            scope_hash: self.scope_hash.clone(),
            chosen_partitions: self.scope.follows_nodes().then(|| Box::new(self.scope.partitions.clone())),
            run_namespaces: self.run_namespaces.clone(),
            encryption: self.encryption,
            warnings: self.warnings.clone(),
        }
    }
}

impl ManifestFile {
    /// The BLAKE3 of the file's block hashes.
    pub fn root(&self) -> Option<[u8; 32]> {
        parse_hash(&self.blake3)
    }
}

fn parse_hash(hex: &str) -> Option<[u8; 32]> {
    blake3::Hash::from_hex(hex).ok().map(Into::into)
}

/// What a document in storage turned out to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Found<T> {
    /// It can be read.
    Good(T),
    /// It is there, but cannot be read: the reason.
    Broken(String),
    /// It certainly does not exist.
    Absent,
}

/// Reads the manifest in a folder; an error is doubt, never absence.
pub async fn read_manifest(storage: &dyn Storage, folder: &str) -> Result<Found<Manifest>> {
    match storage.get(&join(folder, MANIFEST), MANIFEST_BYTES_MAX).await {
        Ok(Some(bytes)) => Ok(match Manifest::parse(&bytes) {
            Ok(manifest) => Found::Good(manifest),
            Err(reason) => Found::Broken(reason),
        }),
        Ok(None) => Ok(Found::Absent),
        Err(error) if error.code() == "storage-object-too-large" => Ok(Found::Broken(error.to_string())),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests;
