//! Restore requests (abs.md 1.3, rules.md 4, and our own additions).

use serde::{Deserialize, Serialize};

use super::cluster::Cluster;
use super::encryption::{DecryptionConfig, DecryptionPolicy};
use super::kind::Kind;
use super::policy::{Compression, CompressionPolicy, PARALLEL_MAX, RetryConfig, RetryPolicy};
use super::reader::{Read, Section};
use super::routine::{check_namespace, namespaces};
use super::safety::RestoreSafety;
use super::secret_agent::SecretAgent;
use super::storage::Storage;
use super::{MS_MAX, problem};
use crate::error::Result;
use crate::model::check_name;
use crate::secrets::AgentOptions;

/// `POST /v1/restore/full` and `/incremental`: one folder.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct RestoreRequest {
    /// The folder, below the storage's root, without a slash at its end.
    pub backup_data_path: String,
    /// Where from and where to.
    pub ends: RestoreEnds,
    /// How.
    pub policy: RestorePolicy,
    /// Ours: how things that may be wrong are met.
    pub care: RestoreCare,
    /// Ours: what keeps it from writing over what nobody meant it to.
    pub safety: RestoreSafety,
    /// Ours: a folder of a routine without `metadata.yaml` may be restored (rules.md 4.10).
    pub allow_incomplete: bool,
}

/// `POST /v1/restore/timestamp`: what a routine had saved at an instant.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct RestoreTimestampRequest {
    /// The routine's name.
    pub routine: String,
    /// The instant, in ms since 1970.
    pub time: i64,
    /// Where from and where to; what is missing is the routine's own.
    pub ends: RestoreEnds,
    /// How; without `compression`, which each backup's metadata says.
    pub policy: RestorePolicy,
    /// Whether members are applied in the order of time (rules.md 4.3).
    pub disable_reordering: bool,
    /// Ours: how things that may be wrong are met.
    pub care: RestoreCare,
    /// Ours: what keeps it from writing over what nobody meant it to.
    pub safety: RestoreSafety,
    /// Ours: which namespaces; empty: those of the newest run by then (rules.md 3.8).
    pub namespaces: Vec<String>,
    /// Ours: whether a chain with a gap may be restored (rules.md 3.4).
    pub allow_gap: bool,
    /// Ours: the name of the storage that is read, the routine's own or one of its copies; none: the first that has it.
    pub copy: Option<String>,
}

/// Where a restore reads from and writes to.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct RestoreEnds {
    /// The storage, inline.
    pub source: Option<Storage>,
    /// The storage, by name.
    pub source_name: Option<String>,
    /// The cluster, inline.
    pub destination: Option<Cluster>,
    /// The cluster, by name.
    pub destination_name: Option<String>,
    /// The secret agent that is asked for `policy.encryption.key-secret`, inline; by time default the routine's.
    pub secret_agent: Option<SecretAgent>,
    /// The secret agent, by name.
    pub secret_agent_name: Option<String>,
}

/// How things that may be wrong are met: our own fields, with the defaults of rules.md 4.2 and 4.9.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct RestoreCare {
    /// Whether all bytes are verified before the first write.
    pub verify_first: VerifyFirst,
    /// Whether an index of the same name and another definition is replaced.
    pub replace_metadata: bool,
    /// Whether everything is read and checked, and nothing written.
    #[serde(default)]
    pub validate: bool,
    /// Whether UDF modules too are registered only once every record was written.
    #[serde(default)]
    pub apply_metadata_last: bool,
}

/// Whether all bytes are verified before the first write (rules.md 4.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum VerifyFirst {
    /// When the destination is not empty.
    #[default]
    Auto,
    /// In every case.
    Always,
    /// In no case.
    Never,
}

/// `policy` of a restore, as written.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct RestorePolicy {
    /// How many files are read at once.
    pub parallel: Option<u32>,
    /// Leave out records.
    pub no_records: Option<bool>,
    /// Leave out secondary indexes.
    pub no_indexes: Option<bool>,
    /// Leave out UDFs.
    pub no_udfs: Option<bool>,
    /// The server's time for one batch of writes, in ms; 0 = `total-timeout`.
    pub socket_timeout: Option<u64>,
    /// How long one batch may take with its retries, in ms; 0 = no limit.
    pub total_timeout: Option<u64>,
    /// Most batches on the way at once in the whole restore; at most two are used for each file reader, or eight
    /// where that is more.
    pub max_async_batches: Option<u32>,
    /// Most records in one batch; never more than 1 MiB go into one.
    pub batch_size: Option<u32>,
    /// One namespace is restored under another name.
    pub namespace: Option<Remap>,
    /// Which sets; empty: all.
    pub set_list: Option<Vec<String>>,
    /// Which bins; empty: all.
    pub bin_list: Option<Vec<String>>,
    /// Whether a record in the destination is replaced, not merged.
    pub replace: Option<bool>,
    /// Whether a record in the destination stays as it is.
    pub unique: Option<bool>,
    /// Whether a fresher record in the destination is overwritten.
    pub no_generation: Option<bool>,
    /// How the files are compressed: for a restore by path.
    pub compression: Option<CompressionPolicy>,
    /// The key of encrypted backups.
    pub encryption: Option<DecryptionPolicy>,
    /// When a write is tried again.
    pub retry_policy: Option<RetryPolicy>,
    /// What is added to each record's remaining life, in s.
    pub extra_ttl: Option<u32>,
    /// Whether records that the server refuses for what they are, are counted and passed over.
    pub ignore_record_error: Option<bool>,
    /// Whether each record is written by a request of its own.
    pub disable_batch_writes: Option<bool>,
    /// Most records written in a second.
    pub tps: Option<u32>,
    /// Most MiB read from storage in a second.
    pub bandwidth: Option<u32>,
}

/// One namespace is restored under another name.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Remap {
    /// The name in the backup.
    pub source: String,
    /// The name in the destination.
    pub destination: String,
}

/// The server's time for one batch of writes, where nobody says: what asrestore gives it. ABS gives it ten minutes, and
/// that long a row whose replica dies with its node keeps its whole batch waiting; another try writes it at once.
const SOCKET_TIMEOUT_MS: u64 = 10_000;

/// `policy` of a restore with its defaults.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct RestorePolicyConfig {
    /// How many files are read at once; default 8.
    pub parallel: u32,
    /// Leave out records; default false.
    pub no_records: bool,
    /// Leave out secondary indexes; default false.
    pub no_indexes: bool,
    /// Leave out UDFs; default false.
    pub no_udfs: bool,
    /// The server's time for one batch of writes; default [`SOCKET_TIMEOUT_MS`]; a given 0 became `total_timeout_ms`,
    /// and 0 there is the server's own default.
    pub socket_timeout_ms: u64,
    /// How long one batch may take with its retries; default 0 = no limit.
    pub total_timeout_ms: u64,
    /// Most batches on the way at once; default 128; capped by the number of readers.
    pub batches_max: u32,
    /// Most records in one batch; default 128.
    pub batch_size: u32,
    /// One namespace is restored under another name.
    pub remap: Option<Remap>,
    /// Which sets; empty: all.
    pub sets: Vec<String>,
    /// Whether a record in the destination is replaced, not merged; default false.
    pub replace: bool,
    /// Whether a record in the destination stays as it is; default false.
    pub unique: bool,
    /// Whether a fresher record in the destination is overwritten; default false.
    pub no_generation: bool,
    /// How the files are compressed: for a restore by path; default not at all.
    pub compression: Compression,
    /// The key of encrypted backups; default none, by time the routine's own.
    #[serde(default)]
    pub encryption: Option<DecryptionConfig>,
    /// When a write is tried again; default 2 s, × 2, 5 times.
    pub retry: RetryConfig,
    /// What is added to each record's remaining life; default 0.
    pub extra_ttl_s: u32,
    /// Which bins; empty: all.
    #[serde(default)]
    pub bins: Vec<String>,
    /// Whether records that the server refuses for what they are, are counted and passed over (rules.md 4.6); default
    /// false.
    #[serde(default)]
    pub ignore_record_error: bool,
    /// Whether each record is written by a request of its own; default false.
    #[serde(default)]
    pub disable_batch_writes: bool,
    /// Most records written in a second, over all namespaces; default no limit.
    #[serde(default)]
    pub records_per_second: Option<u32>,
    /// Most bytes read from storage in a second, over all namespaces; default no limit.
    #[serde(default)]
    pub bytes_per_second: Option<u64>,
}

impl RestorePolicy {
    /// With the defaults. `agent` is who will be asked for an `encryption.key-secret`.
    ///
    /// Errors: `secret-missing` for a `key-secret` without an agent.
    pub fn resolve(&self, agent: Option<&AgentOptions>) -> Result<RestorePolicyConfig> {
        let total_timeout_ms = self.total_timeout.unwrap_or(0);
        let encryption = self.encryption.as_ref().map(|encryption| encryption.resolve(agent));
        Ok(RestorePolicyConfig {
            parallel: self.parallel.unwrap_or(8),
            no_records: self.no_records.unwrap_or(false),
            no_indexes: self.no_indexes.unwrap_or(false),
            no_udfs: self.no_udfs.unwrap_or(false),
            socket_timeout_ms: match self.socket_timeout {
                None => SOCKET_TIMEOUT_MS,
                Some(0) => total_timeout_ms,
                Some(ms) => ms,
            },
            total_timeout_ms,
            batches_max: self.max_async_batches.unwrap_or(128),
            batch_size: self.batch_size.unwrap_or(128),
            remap: self.namespace.clone(),
            sets: self.set_list.clone().unwrap_or_default(),
            replace: self.replace.unwrap_or(false),
            unique: self.unique.unwrap_or(false),
            no_generation: self.no_generation.unwrap_or(false),
            compression: self.compression.unwrap_or_default().resolve(),
            encryption: encryption.transpose()?.flatten(),
            retry: self.retry_policy.unwrap_or_default().resolve(RetryConfig::RESTORE),
            extra_ttl_s: self.extra_ttl.unwrap_or(0),
            bins: self.bin_list.clone().unwrap_or_default(),
            ignore_record_error: self.ignore_record_error.unwrap_or(false),
            disable_batch_writes: self.disable_batch_writes.unwrap_or(false),
            records_per_second: self.tps,
            bytes_per_second: self.bandwidth.map(|mib| u64::from(mib) << 20),
        })
    }
}

impl Read for RestoreRequest {
    const KIND: Kind = Kind::Restore;

    fn read(section: &mut Section<'_>) -> Self {
        let path = section.filled("backup-data-path");
        if let Err(reason) = check_data_path(&path) {
            section.reject("backup-data-path", reason);
        }
        let ends = RestoreEnds::read(section);
        if !section.has("destination") && ends.destination_name.is_none() {
            section.missing_either("destination", "destination-name");
        }
        if !section.has("source") && ends.source_name.is_none() {
            section.missing_either("source", "source-name");
        }
        let care = RestoreCare::read(section);
        Self {
            backup_data_path: path.trim_end_matches('/').to_owned(),
            ends,
            policy: section.child("policy").unwrap_or_default(),
            care,
            safety: RestoreSafety::read(section, care),
            allow_incomplete: section.flag("allow-incomplete").unwrap_or(false),
        }
    }
}

impl Read for RestoreTimestampRequest {
    const KIND: Kind = Kind::RestoreTimestamp;

    fn read(section: &mut Section<'_>) -> Self {
        let time: Option<i64> = section.int("time", 0..=TIME_MS_MAX);
        if !section.has("time") || time == Some(0) {
            section.missing("time");
        } else if time.is_some_and(|time| time < TIME_MS_MIN) {
            section.reject("time", "validation error: restore timestamp must be in milliseconds");
        }
        let routine = section.filled("routine");
        // It need not be configured: paths are built from it all the same.
        if let Some(reason) = check_name(&routine).err().filter(|_| !routine.is_empty()) {
            section.reject("routine", format!("name \"{}\" {reason}", problem::clip(&routine)));
        }
        for other in ["source", "source-name"] {
            section.exclusive(other, "copy");
        }
        let ends = RestoreEnds::read(section);
        let policy: RestorePolicy = section.child("policy").unwrap_or_default();
        if policy.compression.is_some() {
            section.reject("policy", "\"compression\" is known from each backup's metadata, leave it out");
        }
        let disable_reordering = section.flag("disable-reordering").unwrap_or(false);
        if disable_reordering && policy.unique == Some(true) {
            // In the order of time, create-only would keep the oldest version (rules.md 4.3).
            section.reject("disable-reordering", exclusive("disable-reordering", "unique"));
        }
        if disable_reordering && policy.ignore_record_error == Some(true) {
            // In the order of time, the older version is there before the newer one is refused (rules.md 4.5).
            section.reject("disable-reordering", exclusive("disable-reordering", "ignore-record-error"));
        }
        let care = RestoreCare::read(section);
        Self {
            routine,
            time: time.unwrap_or(0),
            ends,
            policy,
            disable_reordering,
            care,
            safety: RestoreSafety::read(section, care),
            namespaces: namespaces(section),
            allow_gap: section.flag("allow-gap").unwrap_or(false),
            copy: section.optional("copy"),
        }
    }
}

impl RestoreEnds {
    fn read(section: &mut Section<'_>) -> Self {
        for (inline, name) in [
            ("destination", "destination-name"),
            ("source", "source-name"),
            ("secret-agent", "secret-agent-name"),
        ] {
            // An empty name is as good as none.
            if section.optional(name).is_some() {
                section.exclusive(inline, name);
            }
        }
        Self {
            source: section.child("source"),
            source_name: section.optional("source-name"),
            destination: section.child("destination"),
            destination_name: section.optional("destination-name"),
            secret_agent: section.child("secret-agent"),
            secret_agent_name: section.optional("secret-agent-name"),
        }
    }
}

impl RestoreCare {
    fn read(section: &mut Section<'_>) -> Self {
        let words =
            [("auto", VerifyFirst::Auto), ("always", VerifyFirst::Always), ("never", VerifyFirst::Never)];
        Self {
            verify_first: section.word("verify-first", &words).unwrap_or_default(),
            replace_metadata: section.flag("replace-metadata").unwrap_or(false),
            validate: section.flag("validate").unwrap_or(false),
            apply_metadata_last: section.flag("apply-metadata-last").unwrap_or(false),
        }
    }
}

impl Read for RestorePolicy {
    const KIND: Kind = Kind::RestorePolicy;

    fn read(section: &mut Section<'_>) -> Self {
        let (replace, unique) = (section.flag("replace"), section.flag("unique"));
        if replace == Some(true) && unique == Some(true) {
            section.reject("replace", exclusive("replace", "unique"));
        }
        Self {
            parallel: section.int("parallel", 1..=PARALLEL_MAX),
            no_records: section.flag("no-records"),
            no_indexes: section.flag("no-indexes"),
            no_udfs: section.flag("no-udfs"),
            socket_timeout: section.int("socket-timeout", 0..=MS_MAX),
            total_timeout: section.int("total-timeout", 0..=MS_MAX),
            max_async_batches: section.int("max-async-batches", 1..=BATCHES_MAX),
            batch_size: section.int("batch-size", 1..=BATCH_SIZE_MAX),
            namespace: section.child("namespace"),
            set_list: section.texts("set-list"),
            bin_list: bin_list(section),
            replace,
            unique,
            no_generation: section.flag("no-generation"),
            compression: section.child("compression"),
            encryption: section.child("encryption"),
            retry_policy: section.child("retry-policy"),
            extra_ttl: section.int("extra-ttl", 0..=i64::from(u32::MAX)),
            ignore_record_error: section.flag("ignore-record-error"),
            disable_batch_writes: section.flag("disable-batch-writes"),
            tps: section.int("tps", 1..=i64::from(u32::MAX)),
            bandwidth: section.int("bandwidth", BANDWIDTH_MIN_MIB..=BANDWIDTH_MAX_MIB),
        }
    }
}

impl Read for Remap {
    const KIND: Kind = Kind::Remap;

    fn read(section: &mut Section<'_>) -> Self {
        let remap = Self { source: section.filled("source"), destination: section.filled("destination") };
        for (key, name) in [("source", &remap.source), ("destination", &remap.destination)] {
            if let Some(reason) = check_namespace(name).err().filter(|_| !name.is_empty()) {
                section.reject(key, format!("namespace \"{}\" {reason}", problem::clip(name)));
            }
        }
        remap
    }
}

/// Below this an instant is surely in seconds (abs.md 1.3).
const TIME_MS_MIN: i64 = 1_000_000_000_000;

/// The last instant with 13 digits, as folder names have (abs.md 3).
const TIME_MS_MAX: i64 = 9_999_999_999_999;

/// Batches wait in memory; the memory budget decides long before (rules.md 8.1).
const BATCHES_MAX: i64 = 65_536;

/// The row count of a batch is 32 bits on the wire, and a server refuses far less than this.
const BATCH_SIZE_MAX: i64 = 65_536;

/// abs.md 1.3: less was bytes per second in older versions of ABS, and is surely not meant.
const BANDWIDTH_MIN_MIB: i64 = 8;

/// 1 TiB per second: no limit that anybody would feel.
const BANDWIDTH_MAX_MIB: i64 = 1 << 20;

/// The longest key that every storage takes.
const KEY_BYTES_MAX: usize = 1024;

/// The longest name of a bin that a server takes.
const BIN_NAME_BYTES_MAX: usize = 15;

fn bin_list(section: &mut Section<'_>) -> Option<Vec<String>> {
    let bins = section.texts("bin-list")?;
    for (index, bin) in bins.iter().enumerate() {
        if bin.is_empty() || bin.len() > BIN_NAME_BYTES_MAX {
            let shown = problem::clip(bin);
            section.reject_item(
                "bin-list",
                index,
                format!("bin \"{shown}\" must have 1 to {BIN_NAME_BYTES_MAX} bytes"),
            );
        }
    }
    Some(bins)
}

fn exclusive(one: &str, other: &str) -> String {
    format!("mutually exclusive fields validation error: cannot specify both \"{one}\" and \"{other}\"")
}

/// Refuses a path that leads out of the storage (abs.md 1.3 [3.7]).
fn check_data_path(path: &str) -> Result<(), String> {
    let shown = problem::clip(path);
    if path.starts_with('/') || path.starts_with('~') {
        return Err(format!("validation error: backup-data-path must be local, \"{shown}\" is not"));
    }
    if path.split(['/', '\\']).any(|segment| segment == "..") || path.contains('\0') {
        return Err("validation error: backup-data-path must not contain traversal".into());
    }
    if path.contains('\\') || path.len() > KEY_BYTES_MAX {
        return Err(format!("validation error: \"{shown}\" cannot be the key of an object"));
    }
    let clean = path.strip_suffix('/').unwrap_or(path);
    if !clean.is_empty() && clean.split('/').any(|segment| segment.is_empty() || segment == ".") {
        return Err(format!("validation error: backup-data-path must be clean, \"{shown}\" is not"));
    }
    Ok(())
}
