//! `storage.<name>` (abs.md 2.5).

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::reader::{Idle, Kind, Read, Section};

/// The kinds of storage, of which one is given.
const TYPES: [&str; 4] = ["local-storage", "s3-storage", "azure-storage", "gcp-storage"];

/// A storage, as written.
#[derive(Debug, Clone, PartialEq, Default, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Storage {
    /// A directory of this machine.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub local_storage: Option<LocalStorage>,
}

/// `local-storage`, as written.
#[derive(Debug, Clone, PartialEq, Default, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct LocalStorage {
    /// The directory under which everything lies.
    pub path: String,
    /// The size of one write, in bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub min_part_size: Option<u64>,
    /// Given, but not built and asking for nothing.
    #[serde(flatten)]
    pub idle: Idle,
}

/// A storage with its defaults.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct StorageConfig {
    /// The configured name; none for a storage that stands in a request.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Where it is.
    #[serde(flatten)]
    pub place: StoragePlace,
}

/// Where a storage is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum StoragePlace {
    /// A directory of this machine.
    Local {
        /// The directory under which everything lies.
        path: PathBuf,
        /// The size of one part; default [`PART_BYTES`].
        part_bytes: u64,
    },
}

/// The size of one part of a file when `min-part-size` does not say (rules.md 8.1).
pub const PART_BYTES: u64 = 8 << 20;

impl StorageConfig {
    /// The place as an opened storage describes it, as far as that is known without asking it: a symbolic link on the way
    /// is not followed.
    pub fn place(&self) -> String {
        let StoragePlace::Local { path, .. } = &self.place;
        let path = std::path::absolute(path).unwrap_or_else(|_| path.clone());
        format!("local storage {}", path.display())
    }
}

impl StorageConfig {
    /// The size of the parts in which the storage takes a file; none: it takes it as it comes.
    pub fn part_bytes(&self) -> Option<u64> {
        match &self.place {
            // Its `part_bytes` has no effect.
            StoragePlace::Local { .. } => None,
        }
    }
}

impl Storage {
    /// A directory of this machine.
    pub fn local(path: impl Into<String>) -> Self {
        Self { local_storage: Some(LocalStorage { path: path.into(), ..LocalStorage::default() }) }
    }

    /// With the defaults, under its configured name; none if no kind of storage is given.
    pub fn resolve(&self, name: Option<&str>) -> Option<StorageConfig> {
        let local = self.local_storage.as_ref()?;
        Some(StorageConfig {
            name: name.map(str::to_owned),
            place: StoragePlace::Local {
                path: PathBuf::from(&local.path),
                part_bytes: local.min_part_size.unwrap_or(PART_BYTES),
            },
        })
    }
}

impl Read for Storage {
    const KIND: Kind = Kind::Storage;

    fn read(section: &mut Section<'_>) -> Self {
        let given = TYPES.into_iter().filter(|kind| section.has(kind)).count();
        match given {
            1 => {}
            0 => section.reject_all("no storage type specified"),
            more => section.reject_all(format!(
                "multiple storage types specified ({more}). Exactly one storage type should be specified"
            )),
        }
        // No value of a kind that is not built asks for nothing, so there is nothing to write back.
        section.idle();
        Self { local_storage: section.child("local-storage") }
    }
}

impl Read for LocalStorage {
    const KIND: Kind = Kind::LocalStorage;

    fn read(section: &mut Section<'_>) -> Self {
        let path = section.filled("path");
        if path.split('/').any(|segment| segment == "..") || path.contains('\0') {
            section.reject("path", "\"path\" must be clean: no \"..\"");
        }
        Self { path, min_part_size: section.int("min-part-size", 1..=PART_BYTES_MAX), idle: section.idle() }
    }
}

/// The largest part of an S3 upload; the memory budget decides long before (rules.md 8.1).
const PART_BYTES_MAX: i64 = 5 << 30;
