//! What a backup file or folder holds, on this machine or in a storage, and the first thing that is wrong with it. Reads
//! only; needs neither service nor cluster.

mod file;
mod folder;
mod shelf;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use serde::Serialize;

pub use file::inspect_file;
pub use folder::{inspect_path, inspect_stored};

/// One backup file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct FileReport {
    /// The file's name.
    pub name: String,
    /// Its size in storage.
    pub stored_bytes: u64,
    /// `plain`, `zstd`, `empty` or `unknown` (encrypted, damaged, or no backup file); below the encryption.
    pub form: &'static str,
    /// `NONE`, `AES128`, `AES256` or `AES256-GCM`; none where neither the bytes nor a document beside them tell.
    pub encryption: Option<&'static str>,
    /// Whether only its checksums could be looked at, because no key was given.
    pub locked: bool,
    /// Version of the text format; none if the header cannot be read.
    pub version: Option<&'static str>,
    /// The namespace that its header names.
    pub namespace: Option<String>,
    /// Whether it carries `# first-file`.
    pub first_file: bool,
    /// What is in it, up to the first problem.
    pub content: Content,
    /// What its checksums say.
    pub checksum: Checksum,
    /// The first thing that is wrong with its text.
    pub problem: Option<TextProblem>,
}

impl FileReport {
    /// Whether something is wrong with it.
    pub fn is_damaged(&self) -> bool {
        self.problem.is_some() || matches!(self.checksum, Checksum::Differs { .. } | Checksum::Size { .. })
    }
}

/// What is in one file, or in all files of a folder.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Content {
    /// Records.
    pub records: u64,
    /// Records by namespace and set; an empty set is none.
    pub sets: BTreeMap<String, BTreeMap<String, u64>>,
    /// Bins by type.
    pub bins: BTreeMap<&'static str, u64>,
    /// Records that carry their user key.
    pub with_key: u64,
    /// Records that expire.
    pub expiring: u64,
    /// The first and the last expiry of those, in seconds since 1970.
    pub expiry_s: Option<(i64, i64)>,
    /// Indexes, as `namespace.set.name on bin`.
    pub indexes: Vec<String>,
    /// Function modules, by name.
    pub udfs: Vec<String>,
}

/// What the checksums of a file say.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case", tag = "state")]
pub enum Checksum {
    /// Nothing names one: a backup of another program, or a file that the manifest does not name.
    None,
    /// Every block has the checksum of the manifest.
    Matches,
    /// The size is not that of the manifest.
    Size {
        /// What the manifest says.
        expected_bytes: u64,
    },
    /// A block has another checksum.
    #[serde(rename_all = "kebab-case")]
    Differs {
        /// The first such block, of 4 MiB; none where `blocks.b3` does not say which.
        block: Option<u64>,
    },
}

/// Where the text of a file stops making sense.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct TextProblem {
    /// Bytes of the text, after decompression, before it.
    pub offset: u64,
    /// What is wrong, in words.
    pub what: String,
}

/// One folder with backup files.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct FolderReport {
    /// The folder.
    pub folder: String,
    /// `metadata.yaml`, in its own words; none if it is not there or cannot be understood.
    pub metadata: Option<BTreeMap<&'static str, String>>,
    /// Whether `manifest.json` is there and can be understood.
    pub has_manifest: bool,
    /// Its files, by name.
    pub files: Vec<FileReport>,
    /// The sum over the files.
    pub content: Content,
    /// What is wrong with the folder as a whole, or worth knowing.
    pub problems: Vec<String>,
}

impl FolderReport {
    /// Whether something is wrong with it or with one of its files.
    pub fn is_damaged(&self) -> bool {
        !self.problems.is_empty() || self.files.iter().any(FileReport::is_damaged)
    }
}

impl Content {
    /// More set names than a namespace can have (4095) come from damage: beyond this they are counted together.
    const SETS_MAX: usize = 10_000;

    fn count_set(&mut self, namespace: &str, set: &str, records: u64) {
        if !self.sets.contains_key(namespace) && self.sets.len() >= Self::SETS_MAX {
            *self.sets.entry("…".to_owned()).or_default().entry(String::new()).or_default() += records;
            return;
        }
        let sets = self.sets.entry(namespace.to_owned()).or_default();
        let set = if sets.len() < Self::SETS_MAX || sets.contains_key(set) { set } else { "…" };
        *sets.entry(set.to_owned()).or_default() += records;
    }

    /// Adds another file's content.
    fn add(&mut self, other: &Self) {
        self.records += other.records;
        for (namespace, sets) in &other.sets {
            for (set, records) in sets {
                self.count_set(namespace, set, *records);
            }
        }
        for (kind, bins) in &other.bins {
            *self.bins.entry(kind).or_default() += bins;
        }
        self.with_key += other.with_key;
        self.expiring += other.expiring;
        self.expiry_s = match (self.expiry_s, other.expiry_s) {
            (Some((a, b)), Some((c, d))) => Some((a.min(c), b.max(d))),
            (one, other) => one.or(other),
        };
        self.indexes.extend_from_slice(&other.indexes);
        self.udfs.extend_from_slice(&other.udfs);
    }
}
