//! Aerospike: the pipeline scan → encode → compress → write, and back.

mod access;
mod configuration;
pub mod decode;
mod elsewhere;
mod empty;
mod estimate;
mod facts;
mod files;
mod indexes;
pub mod inspect;
mod read;
mod rows;
pub mod snapshot;
mod threads;
mod time;
mod udfs;
mod write;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use super::{
    ClusterFacts, Connect, Destination, MemberReport, MemberWrite, NamespaceRead, ReadReport, SharedCounters,
    SizeEstimate, Source, Watch,
};
use crate::aerospike::{Access, Cluster, ClusterOptions, Seed};
use crate::asb::{IndexDef, UdfDef};
use crate::clock::SharedClock;
use crate::config::ClusterConfig;
use crate::error::Result;
use crate::model::partitions::PartitionSet;
use crate::secrets::Keeper;
use crate::storage::Storage;
use crate::store::DigestTable;
use crate::tasks::unless_canceled;

/// A connected cluster, as a source and as a destination.
#[derive(Debug, Clone)]
pub struct AerospikeEngine {
    cluster: Cluster,
    clock: SharedClock,
    /// One permit for each scan of the cluster that may run at once.
    scans: Option<Arc<Semaphore>>,
    /// From which racks records are read if they have a copy, the best first.
    prefer_racks: Vec<u32>,
}

impl AerospikeEngine {
    /// The engine of a connected cluster.
    pub fn new(cluster: Cluster, clock: SharedClock) -> Self {
        Self { cluster, clock, scans: None, prefer_racks: Vec::new() }
    }
}

/// Connects to Aerospike clusters.
#[derive(Debug, Clone)]
pub struct AerospikeConnect {
    clock: SharedClock,
    keeper: Keeper,
    scans: Arc<ScanPermits>,
}

/// The permits of `max-parallel-scans`, by the cluster's name; all who connect through one [`AerospikeConnect`] share
/// them.
#[derive(Debug, Default)]
struct ScanPermits(Mutex<BTreeMap<String, (u32, Arc<Semaphore>)>>);

impl ScanPermits {
    /// With another number than before there are other permits: those of jobs that run are counted until they end.
    fn of(&self, cluster: &ClusterConfig) -> Option<Arc<Semaphore>> {
        let (name, most) = (cluster.name.clone()?, cluster.scans_max);
        if most == 0 {
            return None;
        }
        let fresh = || (most, Arc::new(Semaphore::new(most as usize)));
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let permits = known.entry(name).or_insert_with(fresh);
        if permits.0 != most {
            *permits = fresh();
        }
        Some(Arc::clone(&permits.1))
    }
}

impl AerospikeConnect {
    /// With the clock that nodes' clocks are compared with.
    pub fn new(clock: SharedClock) -> Self {
        Self { clock, keeper: Keeper::default(), scans: Arc::default() }
    }

    /// With the keeper of what configuration and requests hold in clear.
    #[must_use]
    pub fn with_secrets(self, keeper: Keeper) -> Self {
        Self { keeper, ..self }
    }

    async fn engine(&self, config: &ClusterConfig) -> Result<Arc<AerospikeEngine>> {
        let cluster = config;
        let seeds =
            cluster.seeds.iter().map(|seed| Seed { host: seed.host.clone(), port: seed.port }).collect();
        let label = cluster.label.as_ref().or(cluster.name.as_ref()).cloned().unwrap_or_default();
        let options = ClusterOptions { seeds, connect_timeout_ms: cluster.connect_timeout_ms, label };
        let access: Access = access::of(config, &self.keeper);
        let cluster = Cluster::enter(&options, access).await?;
        Ok(Arc::new(AerospikeEngine {
            scans: self.scans.of(config),
            prefer_racks: config.prefer_racks.clone(),
            ..AerospikeEngine::new(cluster, Arc::clone(&self.clock))
        }))
    }
}

#[async_trait]
impl Connect for AerospikeConnect {
    async fn source(&self, cluster: &ClusterConfig) -> Result<Arc<dyn Source>> {
        Ok(self.engine(cluster).await?)
    }

    async fn destination(&self, cluster: &ClusterConfig) -> Result<Arc<dyn Destination>> {
        Ok(self.engine(cluster).await?)
    }
}

#[async_trait]
impl Source for AerospikeEngine {
    async fn facts(&self) -> Result<ClusterFacts> {
        facts::read(&self.cluster, &self.clock).await
    }

    async fn partitions_of(&self, namespace: &str, nodes: &[String], racks: &[u32]) -> Result<PartitionSet> {
        let mut chosen = self.cluster.nodes_named(nodes).await?;
        if !racks.is_empty() {
            chosen.extend(self.cluster.nodes_in_racks(namespace, racks).await?);
        }
        self.cluster.partitions_of(namespace, &chosen).await
    }

    async fn count(
        &self,
        read: &NamespaceRead,
        objects: u64,
        cancel: &CancellationToken,
    ) -> Result<(u64, &'static str)> {
        estimate::count(&self.cluster, read, objects, cancel).await
    }

    async fn size(
        &self,
        read: &NamespaceRead,
        records: u64,
        cancel: &CancellationToken,
    ) -> Result<SizeEstimate> {
        estimate::size(&self.cluster, read, records, cancel).await
    }

    async fn configuration(&self) -> Result<Vec<String>> {
        configuration::of_nodes(&self.cluster).await
    }

    async fn read(
        &self,
        read: &NamespaceRead,
        storage: Arc<dyn Storage>,
        folder: &str,
        watch: Arc<dyn Watch>,
        cancel: &CancellationToken,
    ) -> Result<ReadReport> {
        read::read_namespace(self, read, storage, folder, watch, cancel).await
    }
}

#[async_trait]
impl Destination for AerospikeEngine {
    async fn facts(&self) -> Result<ClusterFacts> {
        facts::read(&self.cluster, &self.clock).await
    }

    async fn is_empty(&self, namespace: &str, sets: &[String], cancel: &CancellationToken) -> Result<bool> {
        empty::is_empty(&self.cluster, namespace, sets, cancel).await
    }

    async fn write(
        &self,
        write: &MemberWrite,
        storage: Arc<dyn Storage>,
        digests: Option<Arc<DigestTable>>,
        watch: Arc<dyn Watch>,
        counters: &SharedCounters,
        cancel: &CancellationToken,
    ) -> Result<MemberReport> {
        write::write_member(&self.cluster, write, storage, digests, watch, counters, cancel).await
    }

    async fn collect_hidden(
        &self,
        write: &MemberWrite,
        storage: Arc<dyn Storage>,
        digests: Arc<DigestTable>,
        cancel: &CancellationToken,
    ) -> Result<()> {
        write::collect_hidden(&self.cluster, write, storage, digests, cancel).await
    }

    async fn register_udfs(&self, udfs: &[UdfDef], cancel: &CancellationToken) -> Result<(u64, Vec<String>)> {
        unless_canceled(cancel, udfs::register(&self.cluster, udfs)).await
    }

    async fn create_indexes(
        &self,
        indexes: &[IndexDef],
        replace: bool,
        cancel: &CancellationToken,
    ) -> Result<u64> {
        indexes::create(&self.cluster, indexes, replace, cancel).await
    }
}
