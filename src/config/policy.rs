//! `backup-policies.<name>` (abs.md 2.6 and our own additions).

use serde::{Deserialize, Serialize};

use super::MS_MAX;
use super::encryption::{EncryptionConfig, EncryptionPolicy};
use super::kind::Kind;
use super::reader::{Read, Section};
use super::retention::{Retention, RetentionConfig};
use super::storage::StorageConfig;
use crate::error::Result;
use crate::memory::BackupMemory;
use crate::model::chain::Mode;
use crate::secrets::AgentOptions;

/// More threads than this do nothing but cost memory: there are 4096 partitions.
pub(crate) const PARALLEL_MAX: i64 = 4096;

/// Our clock may be off by at most five minutes (rules.md 3.2), so no longer wait makes sense.
const SKEW_MARGIN_MS_MAX: i64 = 300_000;

const MIB: u64 = 1 << 20;

/// A backup policy, as written; `{}` is one.
#[derive(Debug, Clone, PartialEq, Default, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Policy {
    /// Scan threads of a run, over all its namespaces (rules.md 7.1).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub parallel: Option<u32>,
    /// File writers.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub parallel_write: Option<u32>,
    /// How long a node waits for us to take what it sends, in ms; 0 = for ever.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub socket_timeout: Option<u64>,
    /// How long a scan may take, in ms; 0 = no limit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub total_timeout: Option<u64>,
    /// How long nothing may move, in ms; 0 = for ever (rules.md 2.9).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stall_timeout: Option<u64>,
    /// When a namespace is tried again.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retry_policy: Option<RetryPolicy>,
    /// Whether what changed after the start of the run is left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sealed: Option<bool>,
    /// Leave out records.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub no_records: Option<bool>,
    /// Leave out secondary indexes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub no_indexes: Option<bool>,
    /// Leave out UDFs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub no_udfs: Option<bool>,
    /// The size at which a file is closed, in MiB; 0 = never.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub file_limit: Option<u64>,
    /// How files are compressed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub compression: Option<CompressionPolicy>,
    /// How files are encrypted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub encryption: Option<EncryptionPolicy>,
    /// Whether an incremental may run beside a full.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub concurrent_incremental: Option<bool>,
    /// How long a run waits before it scans, in ms (rules.md 3.2).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub clock_skew_margin: Option<u64>,
    /// What an incremental without a chain becomes (rules.md 3.7).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub when_no_chain: Option<WhenNoChain>,
    /// What a record that the format cannot hold does (rules.md 3.13).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unsupported_records: Option<UnsupportedRecords>,
    /// How much is kept.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retention: Option<Retention>,
    /// Whether each backup is verified after it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub verify_after: Option<bool>,
    /// The limit of a run in MiB of records per second, before they are compressed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bandwidth: Option<u64>,
    /// The limit of a run in records per second.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub records_per_second: Option<u32>,
    /// What an incremental builds on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub incr_mode: Option<IncrMode>,
    /// Whether bytes are written as they are instead of in base64.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub compact: Option<bool>,
    /// Only records that never expire.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub no_ttl_only: Option<bool>,
    /// Whether nodes are asked to compress what they send.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub use_scan_compression: Option<bool>,
    /// How many nodes are read at once; 0 = all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_concurrent_nodes: Option<u32>,
    /// Whether the nodes' configuration is stored with each full.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub with_cluster_configuration: Option<bool>,
    /// Whether a backup that was cut off goes on from its finished files.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub resume: Option<bool>,
}

/// `retry-policy`, as written.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct RetryPolicy {
    /// The first delay, in ms.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub base_timeout: Option<u64>,
    /// What each further delay is multiplied by.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub multiplier: Option<f64>,
    /// How often it is tried again.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_retries: Option<u32>,
}

/// `compression`, as written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct CompressionPolicy {
    /// Which compression.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mode: Option<CompressionMode>,
    /// The level of zstd; 0 = its default.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub level: Option<i32>,
}

/// Which compression.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum CompressionMode {
    /// None.
    None,
    /// Zstandard.
    Zstd,
}

/// What an incremental without a chain to build on becomes (rules.md 3.7).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum WhenNoChain {
    /// A full of that namespace.
    #[default]
    Full,
    /// Nothing, with the reason.
    Skip,
}

/// What an incremental builds on (abs.md 4.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum IncrMode {
    /// On the last backup.
    #[default]
    Differential,
    /// On the last full: a restore needs just that and the newest incremental.
    Cumulative,
}

impl From<IncrMode> for Mode {
    fn from(mode: IncrMode) -> Self {
        match mode {
            IncrMode::Differential => Self::Differential,
            IncrMode::Cumulative => Self::Cumulative,
        }
    }
}

/// What a record that the format cannot hold does (rules.md 3.13).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum UnsupportedRecords {
    /// It fails the namespace.
    #[default]
    Fail,
    /// It is left out and counted.
    SkipAndCount,
}

/// A backup policy with its defaults.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct PolicyConfig {
    /// Scan threads of a run, over all its namespaces; default 8.
    pub parallel: u32,
    /// File writers; default `parallel`.
    pub parallel_write: u32,
    /// How long a node waits for us to take what it sends; default 600,000, 0 = for ever.
    pub socket_timeout_ms: u64,
    /// How long a scan may take; default 0 = no limit.
    pub total_timeout_ms: u64,
    /// How long nothing may move; default 900,000, 0 = for ever (rules.md 2.9).
    pub stall_timeout_ms: u64,
    /// When a namespace is tried again; default 60 s, × 1.5, 5 times.
    pub retry: RetryConfig,
    /// Whether what changed after the start of the run is left out; default false.
    pub sealed: bool,
    /// Leave out records; default false.
    pub no_records: bool,
    /// Leave out secondary indexes; default false.
    pub no_indexes: bool,
    /// Leave out UDFs; default false.
    pub no_udfs: bool,
    /// The size at which a file is closed; default 250 MiB, 0 = never.
    pub file_limit_bytes: u64,
    /// How files are compressed; default not at all.
    pub compression: Compression,
    /// How files are encrypted; default not at all.
    #[serde(default)]
    pub encryption: Option<EncryptionConfig>,
    /// Whether an incremental may run beside a full; default false.
    pub concurrent_incremental: bool,
    /// How long a run waits before it scans; default 1,000 (rules.md 3.2).
    pub clock_skew_margin_ms: u64,
    /// What an incremental without a chain becomes; default a full.
    pub when_no_chain: WhenNoChain,
    /// What a record that the format cannot hold does; default fail.
    pub unsupported_records: UnsupportedRecords,
    /// How much is kept; none = everything.
    #[serde(default)]
    pub retention: Option<RetentionConfig>,
    /// Whether each backup is verified after it; default false.
    pub verify_after: bool,
    /// Bytes of records per second of a run, before they are compressed; none: no limit.
    #[serde(default)]
    pub bandwidth_bytes: Option<u64>,
    /// Records per second of a run; none: no limit.
    #[serde(default)]
    pub records_per_second: Option<u32>,
    /// What an incremental builds on; default the last backup.
    #[serde(default)]
    pub incr_mode: IncrMode,
    /// Whether bytes are written as they are instead of in base64; default false.
    #[serde(default)]
    pub compact: bool,
    /// Only records that never expire; default false.
    #[serde(default)]
    pub no_ttl_only: bool,
    /// Whether nodes are asked to compress what they send; default false.
    #[serde(default)]
    pub scan_compression: bool,
    /// How many nodes are read at once; default 0 = all.
    #[serde(default)]
    pub nodes_max: u32,
    /// Whether the nodes' configuration is stored with each full; default false.
    #[serde(default)]
    pub with_cluster_configuration: bool,
    /// Whether a backup that was cut off goes on from its finished files; default false (rules.md 6.3).
    #[serde(default)]
    pub resume: bool,
}

/// When something is tried again.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct RetryConfig {
    /// The first delay.
    pub base_ms: u64,
    /// What each further delay is multiplied by; at least 1.
    pub multiplier: f64,
    /// How often it is tried again.
    pub retries_max: u32,
}

/// How files are compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Compression {
    /// Not at all.
    None,
    /// By zstd at this level, -1 to 22.
    Zstd {
        /// The level.
        level: i32,
    },
}

/// The level of zstd where none, or 0, is given: its own default.
const ZSTD_LEVEL: i32 = 3;

impl Policy {
    /// With the defaults. `agent` is who will be asked for an `encryption.key-secret`.
    ///
    /// Errors: `secret-missing` for a `key-secret` without an agent.
    pub fn resolve(&self, agent: Option<&AgentOptions>) -> Result<PolicyConfig> {
        let parallel = self.parallel.unwrap_or(8);
        let encryption = self.encryption.as_ref().map(|encryption| encryption.resolve(agent));
        Ok(PolicyConfig {
            parallel,
            parallel_write: self.parallel_write.unwrap_or(parallel),
            socket_timeout_ms: self.socket_timeout.unwrap_or(600_000),
            total_timeout_ms: self.total_timeout.unwrap_or(0),
            stall_timeout_ms: self.stall_timeout.unwrap_or(900_000),
            retry: self.retry_policy.unwrap_or_default().resolve(RetryConfig::BACKUP),
            sealed: self.sealed.unwrap_or(false),
            no_records: self.no_records.unwrap_or(false),
            no_indexes: self.no_indexes.unwrap_or(false),
            no_udfs: self.no_udfs.unwrap_or(false),
            file_limit_bytes: self.file_limit.unwrap_or(250).saturating_mul(MIB),
            compression: self.compression.unwrap_or_default().resolve(),
            encryption: encryption.transpose()?.flatten(),
            concurrent_incremental: self.concurrent_incremental.unwrap_or(false),
            clock_skew_margin_ms: self.clock_skew_margin.unwrap_or(1_000),
            when_no_chain: self.when_no_chain.unwrap_or_default(),
            unsupported_records: self.unsupported_records.unwrap_or_default(),
            retention: self.retention.as_ref().and_then(super::retention::Retention::resolve),
            verify_after: self.verify_after.unwrap_or(false),
            bandwidth_bytes: self.bandwidth.map(|mib| mib.saturating_mul(MIB)),
            records_per_second: self.records_per_second,
            incr_mode: self.incr_mode.unwrap_or_default(),
            compact: self.compact.unwrap_or(false),
            no_ttl_only: self.no_ttl_only.unwrap_or(false),
            scan_compression: self.use_scan_compression.unwrap_or(false),
            nodes_max: self.max_concurrent_nodes.unwrap_or(0),
            with_cluster_configuration: self.with_cluster_configuration.unwrap_or(false),
            resume: self.resume.unwrap_or(false),
        })
    }
}

impl PolicyConfig {
    /// What a backup into `storage` was asked for, as far as memory goes (rules.md 8.1).
    pub fn memory(&self, storage: &StorageConfig) -> BackupMemory {
        let (parallel, parallel_write) = (self.parallel, self.parallel_write);
        BackupMemory { parallel, parallel_write, part_bytes: storage.part_bytes() }
    }
}

impl RetryConfig {
    /// A whole namespace of a backup (abs.md 2.6).
    pub const BACKUP: Self = Self { base_ms: 60_000, multiplier: 1.5, retries_max: 5 };
    /// A write of a restore (abs.md 1.3).
    pub const RESTORE: Self = Self { base_ms: 2_000, multiplier: 2.0, retries_max: 5 };

    /// The delay before retry `retry` (from 0): `base × multiplier ^ retry`, at most a day.
    pub fn delay_ms(&self, retry: u32) -> u64 {
        const DAY_MS: f64 = 86_400_000.0;
        let factor = self.multiplier.powi(i32::try_from(retry).unwrap_or(i32::MAX));
        (self.base_ms as f64 * factor).min(DAY_MS) as u64
    }
}

impl RetryPolicy {
    /// With the defaults of its place.
    pub fn resolve(&self, default: RetryConfig) -> RetryConfig {
        RetryConfig {
            base_ms: self.base_timeout.unwrap_or(default.base_ms),
            multiplier: self.multiplier.unwrap_or(default.multiplier),
            retries_max: self.max_retries.unwrap_or(default.retries_max),
        }
    }
}

impl CompressionPolicy {
    /// With the defaults.
    pub fn resolve(&self) -> Compression {
        match self.mode {
            None | Some(CompressionMode::None) => Compression::None,
            Some(CompressionMode::Zstd) => {
                Compression::Zstd { level: self.level.filter(|level| *level != 0).unwrap_or(ZSTD_LEVEL) }
            }
        }
    }
}

impl Read for Policy {
    const KIND: Kind = Kind::Policy;

    fn read(section: &mut Section<'_>) -> Self {
        Self {
            parallel: section.int("parallel", 1..=PARALLEL_MAX),
            parallel_write: section.int("parallel-write", 1..=PARALLEL_MAX),
            socket_timeout: section.int("socket-timeout", 0..=MS_MAX),
            total_timeout: section.int("total-timeout", 0..=MS_MAX),
            stall_timeout: section.int("stall-timeout", 0..=MS_MAX),
            retry_policy: section.child("retry-policy"),
            sealed: section.flag("sealed"),
            no_records: section.flag("no-records"),
            no_indexes: section.flag("no-indexes"),
            no_udfs: section.flag("no-udfs"),
            file_limit: section.int("file-limit", 0..=i64::from(i32::MAX)),
            compression: section.child("compression"),
            encryption: section.child("encryption"),
            concurrent_incremental: section.flag("concurrent-incremental"),
            clock_skew_margin: section.int("clock-skew-margin", 0..=SKEW_MARGIN_MS_MAX),
            when_no_chain: section
                .word("when-no-chain", &[("full", WhenNoChain::Full), ("skip", WhenNoChain::Skip)]),
            unsupported_records: section.word(
                "unsupported-records",
                &[("fail", UnsupportedRecords::Fail), ("skip-and-count", UnsupportedRecords::SkipAndCount)],
            ),
            retention: section.child("retention"),
            verify_after: section.flag("verify-after"),
            bandwidth: section.int("bandwidth", 1..=i64::from(i32::MAX)),
            records_per_second: section.int("records-per-second", 1..=i64::from(i32::MAX)),
            incr_mode: section.word(
                "incr-mode",
                &[("differential", IncrMode::Differential), ("cumulative", IncrMode::Cumulative)],
            ),
            compact: section.flag("compact"),
            no_ttl_only: section.flag("no-ttl-only"),
            use_scan_compression: section.flag("use-scan-compression"),
            max_concurrent_nodes: section.int("max-concurrent-nodes", 0..=i64::from(i32::MAX)),
            with_cluster_configuration: section.flag("with-cluster-configuration"),
            resume: section.flag("resume"),
        }
    }
}

impl Read for RetryPolicy {
    const KIND: Kind = Kind::Retry;

    fn read(section: &mut Section<'_>) -> Self {
        Self {
            base_timeout: section.int("base-timeout", 1..=MS_MAX),
            multiplier: section.number("multiplier", 1.0..=1_000.0),
            max_retries: section.int("max-retries", 0..=i64::from(i32::MAX)),
        }
    }
}

impl Read for CompressionPolicy {
    const KIND: Kind = Kind::Compression;

    fn read(section: &mut Section<'_>) -> Self {
        if !section.has("mode") {
            section.missing("mode");
        }
        Self {
            mode: section.word("mode", &[("NONE", CompressionMode::None), ("ZSTD", CompressionMode::Zstd)]),
            level: section.int("level", -1..=22),
        }
    }
}
