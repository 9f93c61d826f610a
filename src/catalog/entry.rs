//! One backup as found in storage: one namespace of one run.

use super::manifest::{Found, Manifest, ManifestSummary};
use super::metadata::{Compression, Encryption, Metadata};
use crate::model::{BackupType, UnixMillis};

/// One namespace of one run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BackupEntry {
    /// Its folder, relative to the storage root; usable as `backup-data-path`.
    pub key: String,
    /// The routine.
    pub routine: String,
    /// Full or incremental, by the folder it lies in.
    pub backup_type: BackupType,
    /// The start of the run, by the metadata.
    pub created: UnixMillis,
    /// The end of this namespace; where the metadata has none, its `created`.
    pub finished: UnixMillis,
    /// The `created` that an incremental builds on.
    pub from: Option<UnixMillis>,
    /// The namespace, by the metadata.
    pub namespace: String,
    /// Which attempt of the run, counted from 1.
    pub attempt: u32,
    /// How much it holds.
    pub counts: Counts,
    /// How its files are compressed.
    pub compression: Compression,
    /// How its files are encrypted: the manifest's word, else the metadata's.
    pub encryption: Encryption,
    /// What its manifest says; none if it has none, or if manifests were not read.
    pub manifest: Option<ManifestSummary>,
    /// Whether it counts.
    pub state: State,
    /// What is odd about it, yet no reason to leave it out.
    pub warnings: Vec<String>,
}

/// How much a backup holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counts {
    /// Records.
    pub records: u64,
    /// Bytes in storage.
    pub bytes: u64,
    /// Files in storage.
    pub files: u64,
    /// Secondary indexes.
    pub indexes: u64,
    /// UDF modules.
    pub udfs: u64,
}

/// Whether a backup counts for chains and retention.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum State {
    /// Nothing is known to be missing or damaged.
    Whole,
    /// Committed, but something is missing or damaged.
    Broken {
        /// What.
        reason: String,
    },
    /// Found with a `created` in the future: void for good (rules.md 3.1).
    Void,
    /// Marked for deletion in the store (rules.md 5.3); a listing never says so.
    Marked,
}

impl State {
    /// Broken, for a reason.
    pub fn broken(reason: impl Into<String>) -> Self {
        Self::Broken { reason: reason.into() }
    }
}

/// Where an entry was found.
#[derive(Debug, Clone, Copy)]
pub(super) struct Place<'a> {
    pub(super) key: &'a str,
    pub(super) routine: &'a str,
    pub(super) backup_type: BackupType,
    /// The instant in the name of the run's folder.
    pub(super) created: UnixMillis,
}

impl BackupEntry {
    pub(super) fn new(place: Place<'_>, metadata: Metadata, mut warnings: Vec<String>) -> Self {
        let folder = place.key.rsplit('/').next().unwrap_or_default();
        let attempt = super::layout::parse_attempt_folder(folder, &metadata.namespace);
        if attempt.is_none() {
            warnings.push(format!("the folder {folder:?} holds the namespace {:?}", metadata.namespace));
        }
        if metadata.created != place.created {
            warnings.push(format!(
                "metadata.yaml says it was created at {}, its folder says {}",
                metadata.created, place.created
            ));
        }
        let from = metadata.from.filter(|_| place.backup_type == BackupType::Incremental);
        match place.backup_type {
            BackupType::Incremental if from.is_none() => {
                warnings.push("metadata.yaml does not say what this incremental builds on".to_owned());
            }
            BackupType::Full if metadata.from.is_some() => {
                warnings.push("metadata.yaml gives a full backup a lower bound, which is ignored".to_owned());
            }
            _ => {}
        }
        Self {
            key: place.key.to_owned(),
            routine: place.routine.to_owned(),
            backup_type: place.backup_type,
            created: metadata.created,
            finished: metadata.finished.unwrap_or(metadata.created),
            from,
            attempt: attempt.unwrap_or(1),
            counts: Counts {
                records: metadata.record_count,
                bytes: metadata.byte_count,
                files: metadata.file_count,
                indexes: metadata.secondary_index_count,
                udfs: metadata.udf_count,
            },
            compression: metadata.compression,
            encryption: metadata.encryption,
            namespace: metadata.namespace,
            manifest: None,
            state: State::Whole,
            warnings,
        }
    }

    /// Takes in what was found of the manifest: a void backup stays void, a manifest that does not fit breaks it.
    pub(super) fn take_manifest(&mut self, found: Found<Manifest>, metadata_of: &Metadata) {
        let problem = match found {
            Found::Absent => None,
            Found::Broken(reason) => Some(reason),
            Found::Good(manifest) => {
                let problem = disagreement(&manifest, metadata_of);
                self.encryption = manifest.encryption;
                self.manifest = Some(manifest.summary());
                problem
            }
        };
        if let (Some(reason), State::Whole) = (problem, &self.state) {
            self.state = State::Broken { reason };
        }
    }
}

/// Where a manifest and the metadata beside it do not speak of the same backup.
pub(super) fn disagreement(manifest: &Manifest, metadata: &Metadata) -> Option<String> {
    let differs = if manifest.created != metadata.created {
        "created"
    } else if manifest.namespace != metadata.namespace {
        "namespace"
    } else if manifest.from != metadata.from {
        "from"
    } else if manifest.totals.records != metadata.record_count {
        "record-count"
    } else if manifest.totals.files != metadata.file_count {
        "file-count"
    } else if manifest.compression != metadata.compression {
        "compression"
    } else if manifest.encryption.abs_word() != metadata.encryption.abs_word() {
        "encryption"
    } else {
        return None;
    };
    Some(format!("manifest.json and metadata.yaml differ in {differs}"))
}
