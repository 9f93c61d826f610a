//! The seam between jobs and the systems they back up: values in, values out, and a progress handle.
//!
//! An engine knows how one namespace is read into files and how files are written back. Chains, attempts, commit and
//! retries of whole namespaces live above, in `backup/` and `restore/`.

pub mod aerospike;
pub mod checkpoint;
pub mod copies;
mod counters;
pub mod keys;
pub mod pace;
pub mod throttle;

use std::sync::Arc;

use async_trait::async_trait;
use checkpoint::Checkpoint;
pub use counters::{RestoreCounters, SharedCounters};
use pace::Pace;
use tokio_util::sync::CancellationToken;

use crate::aerospike::{NodeGate, RetryPolicy};
use crate::asb::cipher::Unlock;
use crate::asb::{BlockHashes, FileCipher, IndexDef, UdfDef};
use crate::config::{ClusterConfig, RetryConfig};
use crate::error::Result;
use crate::jobs::Progress;
use crate::memory::InFlight;
use crate::memory::plan::{RECORD_BYTES, RECORD_BYTES_MAX};
use crate::model::UnixMillis;
use crate::model::partitions::PartitionSet;
use crate::model::restore_order::Exists;
use crate::storage::Storage;
use crate::store::DigestTable;
use throttle::Throttle;

/// What a plan needs to know of a cluster, read in one go.
#[derive(Debug, Clone, Default)]
pub struct ClusterFacts {
    /// The nodes, each with the reading of its clock.
    pub nodes: Vec<NodeFacts>,
    /// The lowest version any node runs.
    pub version: String,
    /// The namespaces, by name.
    pub namespaces: Vec<NamespaceFacts>,
}

impl ClusterFacts {
    /// The facts of one namespace, if the cluster has it.
    pub fn namespace(&self, name: &str) -> Option<&NamespaceFacts> {
        self.namespaces.iter().find(|namespace| namespace.name == name)
    }
}

impl ClusterFacts {
    /// The most bytes that one record of some namespaces may have, as memory is counted by (rules.md 8.1).
    pub fn record_bytes_max<'n>(&self, namespaces: impl IntoIterator<Item = &'n str>) -> u64 {
        let known = namespaces.into_iter().filter_map(|name| self.namespace(name));
        let said = known.map(|namespace| match namespace.record_bytes_max {
            0 => RECORD_BYTES_MAX,
            bytes => bytes,
        });
        said.max().unwrap_or(RECORD_BYTES_MAX).clamp(RECORD_BYTES, RECORD_BYTES_MAX)
    }

    /// The names by which the cluster is claimed: the configured one, and each node by id and address, which tell one
    /// cluster from another (rules.md 2.4).
    pub fn keys(&self, configured: Option<&str>) -> Vec<String> {
        let nodes = self.nodes.iter().map(|node| format!("{}@{}", node.name, node.address));
        configured.map(str::to_owned).into_iter().chain(nodes).collect()
    }
}

/// One node and its clock.
#[derive(Debug, Clone)]
pub struct NodeFacts {
    /// The node's id.
    pub name: String,
    /// Where it serves clients.
    pub address: String,
    /// By how much its clock is ahead of ours, in milliseconds; negative: behind. Known to a second (rules.md 3.2).
    pub clock_ahead_ms: i64,
    /// The largest skew the node itself sees in its cluster.
    pub cluster_skew_ms: i64,
}

/// One namespace of a cluster.
#[derive(Debug, Clone, Default)]
pub struct NamespaceFacts {
    /// Its name.
    pub name: String,
    /// Records in it, replicas not counted.
    pub objects: u64,
    /// The most bytes of one record that its nodes store; 0: they do not say.
    pub record_bytes_max: u64,
    /// When it was last truncated.
    pub truncated_at: Option<UnixMillis>,
    /// The sets that were truncated, and when.
    pub truncated_sets: Vec<(String, UnixMillis)>,
}

/// How one namespace is read: a value that a plan makes and an engine carries out.
#[derive(Debug, Clone)]
pub struct NamespaceRead {
    /// The namespace.
    pub namespace: String,
    /// Only these sets; empty: all.
    pub sets: Vec<String>,
    /// Only these bins, and only records that have one of them; empty: all.
    pub bins: Vec<String>,
    /// Only records that this packed expression selects.
    pub filter: Option<Vec<u8>>,
    /// Only records that never expire.
    pub no_ttl_only: bool,
    /// Only these partitions.
    pub partitions: PartitionSet,
    /// Only records stamped at or after this instant.
    pub modified_from: Option<UnixMillis>,
    /// Only records stamped before this instant (`sealed`).
    pub modified_until: Option<UnixMillis>,
    /// Leave the records out.
    pub no_records: bool,
    /// Include the definitions of secondary indexes.
    pub indexes: bool,
    /// Include the UDF modules.
    pub udfs: bool,
    /// Count and leave out what the format cannot hold, instead of failing (rules.md 3.13).
    pub skip_unsupported: bool,
    /// Concurrent scans.
    pub parallel: usize,
    /// Concurrent files.
    pub parallel_write: usize,
    /// Close a file once it holds this many stored bytes; 0: never.
    pub file_limit_bytes: u64,
    /// Compress with this zstd level; none: not at all.
    pub zstd_level: Option<i32>,
    /// Encrypt with this mode and key; none: not at all.
    pub cipher: Option<FileCipher>,
    /// Write bytes as they are instead of in base64.
    pub compact: bool,
    /// Ask nodes to compress what they send.
    pub scan_compression: bool,
    /// How long a node waits for us to take what it sends before it gives the scan up; 0: for ever.
    pub socket_timeout_ms: u64,
    /// The whole read may take this long; 0: for ever.
    pub total_timeout_ms: u64,
    /// How fast it may go.
    pub limits: ReadLimits,
    /// What need not be read again, and where it is noted what later need not; none: all is read, and nothing noted.
    pub checkpoint: Option<Arc<dyn Checkpoint>>,
}

/// How fast a namespace may be read; by default as fast as it goes.
#[derive(Debug, Clone, Default)]
pub struct ReadLimits {
    /// Records per second over all scans of the namespace; 0: no limit.
    pub records_per_second: u32,
    /// Bytes of records per second, before they are compressed; shared by all namespaces of a run.
    pub bandwidth: Option<Arc<Throttle>>,
    /// How many nodes are read at once; shared by all namespaces of a run.
    pub nodes: Option<Arc<NodeGate>>,
}

/// How many bytes a read would write.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct SizeEstimate {
    /// In storage.
    pub stored_bytes: u64,
    /// Before they are compressed.
    pub text_bytes: u64,
    /// Records that were looked at.
    pub sampled_records: u64,
}

/// A file that was written, closed and is durable.
#[derive(Debug, Clone)]
pub struct WrittenFile {
    /// Its name in the folder.
    pub name: String,
    /// Records in it.
    pub records: u64,
    /// Whether it holds indexes and UDFs rather than records.
    pub metadata: bool,
    /// The hashes of its stored bytes, and their number.
    pub hashes: BlockHashes,
}

/// What a read wrote.
#[derive(Debug, Clone, Default)]
pub struct ReadReport {
    /// The files, in the order of their names.
    pub files: Vec<WrittenFile>,
    /// Records written.
    pub records: u64,
    /// Index definitions written.
    pub indexes: u64,
    /// UDF modules written.
    pub udfs: u64,
    /// Records left out because the format cannot hold them.
    pub unsupported: u64,
    /// Said in the job and the manifest.
    pub warnings: Vec<String>,
}

impl ReadReport {
    /// Stored bytes of all files.
    pub fn bytes(&self) -> u64 {
        self.files.iter().map(|file| file.hashes.size).sum()
    }
}

/// One file to restore from.
#[derive(Debug, Clone)]
pub struct FileToRead {
    /// Its key in storage.
    pub key: String,
    /// Stored bytes.
    pub size: u64,
    /// The BLAKE3 of its block hashes, if a manifest names it.
    pub root: Option<[u8; 32]>,
    /// The hashes of its blocks, if they are known; only to say where damage begins.
    pub blocks: Arc<Vec<[u8; 32]>>,
    /// What it is deciphered with.
    pub unlock: Unlock,
    /// Where else it is, byte for byte; none: nowhere.
    pub copies: Option<Arc<copies::Copies>>,
}

/// How the files of one backup of one namespace are written to a cluster.
#[derive(Debug, Clone)]
pub struct MemberWrite {
    /// The files.
    pub files: Vec<FileToRead>,
    /// Its place in the chain: a greater number is newer (rules.md 4.5).
    pub position: u32,
    /// Every record must belong to this namespace.
    pub source_namespace: String,
    /// Where the records go.
    pub namespace: String,
    /// Only these sets; empty: all.
    pub sets: Vec<String>,
    /// Only these bins; empty: all. A version that has none of them is not written and hides older ones (rules.md 4.5).
    pub bins: Vec<String>,
    /// What to do with records that exist.
    pub exists: Exists,
    /// Write only over an older generation.
    pub generation_check: bool,
    /// Write each digest once: the newest version (rules.md 4.3).
    pub each_digest_once: bool,
    /// Whether no other member was applied before it (rules.md 4.4).
    pub first_applied: bool,
    /// Leave the records out.
    pub no_records: bool,
    /// Leave the indexes out.
    pub no_indexes: bool,
    /// Leave the UDFs out.
    pub no_udfs: bool,
    /// Added to the life of records that expire, in seconds.
    pub extra_ttl_s: u32,
    /// Count and pass over records that the destination refuses for what they are (rules.md 4.6).
    pub ignore_record_error: bool,
    /// Write each record by a request of its own.
    pub singly: bool,
    /// Do everything but write: what would be written counts as inserted, indexes and UDF modules as created.
    pub validate: bool,
    /// Most records written in a second, shared by all that is written at once; none: no limit.
    pub records_pace: Option<Arc<Pace>>,
    /// Concurrent file readers.
    pub parallel: usize,
    /// Most records in one batch; an engine may make them smaller.
    pub batch_size: usize,
    /// Most batches under way at once; they stay within `in_flight` too.
    pub max_async_batches: usize,
    /// Room for the bytes of batches on their way; shared by all that is written of one namespace.
    pub in_flight: Arc<InFlight>,
    /// How rows that failed are tried again.
    pub retry: RetryPolicy,
    /// The server's time for one request; 0: its own default.
    pub socket_timeout_ms: u64,
    /// One batch may take this long, its retries included; 0: for ever.
    pub total_timeout_ms: u64,
}

impl From<RetryConfig> for RetryPolicy {
    fn from(config: RetryConfig) -> Self {
        Self {
            base_timeout_ms: config.base_ms,
            multiplier: config.multiplier,
            max_retries: config.retries_max,
        }
    }
}

/// What an engine tells while it works; called often, must be cheap.
pub trait Watch: Send + Sync {
    /// `records` more were read from the source and encoded, or read from files.
    fn read(&self, records: u64);
    /// `records` more reached their end, a file or the cluster; `bytes` more of storage were written or read.
    fn done(&self, records: u64, bytes: u64);
    /// Something moves that no counter shows.
    fn alive(&self) {}
    /// A scan has to wait for this before it goes on; `None`: it goes on.
    fn waiting(&self, _for_what: Option<&'static str>) {}
}

/// A watch that counts for a job's progress.
pub struct ProgressWatch(pub Progress);

impl Watch for ProgressWatch {
    fn read(&self, records: u64) {
        self.0.add_pipeline(i64::try_from(records).unwrap_or(i64::MAX));
    }

    fn done(&self, records: u64, bytes: u64) {
        self.0.add_pipeline(-i64::try_from(records).unwrap_or(i64::MAX));
        self.0.add_done(records);
        self.0.add_bytes(bytes);
    }

    fn alive(&self) {
        self.0.moved();
    }
}

/// Reaches clusters.
#[async_trait]
pub trait Connect: Send + Sync {
    /// Connects to read.
    async fn source(&self, cluster: &ClusterConfig) -> Result<Arc<dyn Source>>;

    /// Connects to write.
    async fn destination(&self, cluster: &ClusterConfig) -> Result<Arc<dyn Destination>>;
}

/// Reads namespaces of a cluster into files.
#[async_trait]
pub trait Source: Send + Sync {
    /// Reads what a plan needs to know.
    async fn facts(&self) -> Result<ClusterFacts>;

    /// The partitions of a namespace that the nodes of a list (ids or addresses), or of some racks, are masters of now.
    async fn partitions_of(&self, namespace: &str, nodes: &[String], racks: &[u32]) -> Result<PartitionSet> {
        let _ = (namespace, nodes, racks);
        Ok(PartitionSet::all())
    }

    /// How many records a read would find, and how they were counted; `objects`: records of the whole namespace.
    async fn count(
        &self,
        read: &NamespaceRead,
        objects: u64,
        cancel: &CancellationToken,
    ) -> Result<(u64, &'static str)> {
        let _ = (read, cancel);
        Ok((objects, "namespace-objects"))
    }

    /// How many bytes so many records of a read would take, by a sample of them.
    async fn size(
        &self,
        read: &NamespaceRead,
        records: u64,
        cancel: &CancellationToken,
    ) -> Result<SizeEstimate> {
        let _ = (read, records, cancel);
        Ok(SizeEstimate::default())
    }

    /// The configuration of each node, as text; by default there is none.
    async fn configuration(&self) -> Result<Vec<String>> {
        Ok(Vec::new())
    }

    /// Reads one namespace into files below `folder`; on an error some may have been written.
    async fn read(
        &self,
        read: &NamespaceRead,
        storage: Arc<dyn Storage>,
        folder: &str,
        watch: Arc<dyn Watch>,
        cancel: &CancellationToken,
    ) -> Result<ReadReport>;
}

/// What writing one member did.
#[derive(Debug, Clone, Default)]
pub struct MemberReport {
    /// Where its records ended.
    pub counters: RestoreCounters,
    /// The indexes that its files define, in the destination's namespace; not created yet.
    pub indexes: Vec<IndexDef>,
    /// The UDF modules that its files hold; not registered yet.
    pub udfs: Vec<UdfDef>,
    /// Said in the job.
    pub warnings: Vec<String>,
}

/// Writes files into namespaces of a cluster.
#[async_trait]
pub trait Destination: Send + Sync {
    /// Reads what a plan needs to know.
    async fn facts(&self) -> Result<ClusterFacts>;

    /// Whether none of the sets (no sets: the whole namespace) holds a record, found by looking (rules.md 4.3).
    async fn is_empty(&self, namespace: &str, sets: &[String], cancel: &CancellationToken) -> Result<bool>;

    /// Writes the files of one member and waits until every write is settled.
    ///
    /// `digests` holds what hides older versions (rules.md 4.3, 4.5); the versions of this member that hide others
    /// are added to it. `counters`, new for each member, hold what was done also after an error.
    async fn write(
        &self,
        write: &MemberWrite,
        storage: Arc<dyn Storage>,
        digests: Option<Arc<DigestTable>>,
        watch: Arc<dyn Watch>,
        counters: &SharedCounters,
        cancel: &CancellationToken,
    ) -> Result<MemberReport>;

    /// Reads the files of one member and notes which of its versions hide older ones; writes nothing.
    async fn collect_hidden(
        &self,
        write: &MemberWrite,
        storage: Arc<dyn Storage>,
        digests: Arc<DigestTable>,
        cancel: &CancellationToken,
    ) -> Result<()>;

    /// Registers the UDF modules that are not there with the same content (rules.md 4.9); gives how many were
    /// registered, and a sentence about each that had another content.
    async fn register_udfs(&self, udfs: &[UdfDef], cancel: &CancellationToken) -> Result<(u64, Vec<String>)>;

    /// Creates the indexes that do not exist; gives how many were created.
    async fn create_indexes(
        &self,
        indexes: &[IndexDef],
        replace: bool,
        cancel: &CancellationToken,
    ) -> Result<u64>;
}
