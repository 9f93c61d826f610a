//! The partition scan: every record of the requested partitions into the sinks, once each, or an error.
//!
//! What proves that a partition is complete (docs/decisions/0003-proof-of-a-complete-scan.md): the stream that
//! asked for it ended with the message "last, ok", the node did not report the partition as not served, and the
//! node's own account of the query says that it could read every record. A lost connection is resumed after the last
//! digest that each partition handed to the sink.

pub(super) mod account;
mod gate;
mod slots;
mod stream;

#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::OwnedSemaphorePermit;
use tokio_util::sync::CancellationToken;

use crate::error::{Error, Result};
use crate::model::partitions::PartitionSet;
use crate::tasks::Scope;

use super::choose::Nearness;
use super::cluster::{Cluster, PartitionMap};
use super::node::Node;
use super::retry::RetryPolicy;
use super::wire::RecordView;
pub use account::unreadable;
pub use gate::{NodeGate, ScanGates};

use gate::NodePass;
use slots::Slots;
use stream::StreamEnd;

/// What to scan, and how patiently.
#[derive(Debug, Clone)]
pub struct ScanRequest {
    /// Namespace.
    pub namespace: String,
    /// Only this set; `None`: all records, also those without a set.
    pub set: Option<Vec<u8>>,
    /// Metadata only; `bins` then says nothing.
    pub no_bins: bool,
    /// Only these bins, and only records that have one of them; empty: all (wire.md 9).
    pub bins: Vec<Vec<u8>>,
    /// Packed filter expression, see [`super::filter`].
    pub filter: Option<Vec<u8>>,
    /// How long a node waits for us to take what it sends before it gives the query up; 0: for ever. It must be
    /// longer than a sink may ever stall (wire.md 1).
    pub socket_timeout_ms: u32,
    /// Deadline of the whole scan; 0: none.
    pub total_timeout_ms: u64,
    /// After this silence the node is asked whether the query still runs: a filter that matches little makes a
    /// healthy node silent. Also the longest gap inside a frame.
    pub idle_timeout_ms: u64,
    /// Partitions go on after these digests; the others are read whole.
    pub after: Vec<[u8; 20]>,
    /// Records per second over all sinks, kept by the nodes; 0: no limit. At most as many sinks are used.
    pub records_per_second: u32,
    /// Ask the nodes to compress what they send.
    pub compressed: bool,
    /// Read a copy on a near node where there is one; after a try without progress the masters. Empty: the masters.
    pub near: Nearness,
    /// What each stream passes first.
    pub gates: ScanGates,
    /// Tries without any progress before the scan gives up; progress starts the count anew.
    pub retry: RetryPolicy,
}

impl ScanRequest {
    /// All records of `namespace`, with all bins, patient with slow sinks.
    pub fn new(namespace: impl Into<String>) -> Self {
        Self {
            namespace: namespace.into(),
            set: None,
            no_bins: false,
            bins: Vec::new(),
            filter: None,
            socket_timeout_ms: 0,
            total_timeout_ms: 0,
            idle_timeout_ms: 10_000,
            after: Vec::new(),
            records_per_second: 0,
            compressed: false,
            near: Nearness::new(),
            gates: ScanGates::default(),
            retry: RetryPolicy::SCAN,
        }
    }
}

/// Where the records of one range of partitions go.
#[async_trait]
pub trait ScanSink: Send {
    /// Takes a record. An error ends the scan with that error, untouched.
    fn record(&mut self, record: &RecordView<'_>) -> Result<()>;

    /// Called after each frame; while it waits, nothing is read from the node (the back-pressure).
    async fn end_of_frame(&mut self) -> Result<()>;

    /// The node is silent, but its own account of the query has moved: it is at work and finds nothing to send.
    fn alive(&mut self) {}
    /// The scan has to wait for this before it goes on; `None`: it goes on.
    fn waiting(&mut self, _for_what: Option<&'static str>) {}

    /// The records that come now are those of this query.
    fn query_begins(&mut self, _query: u64) {}
    /// The query has ended: whether its node says that it could read every record, and the partitions that are done.
    fn query_ended(&mut self, _query: u64, _vouched: bool, _done: &PartitionSet) {}

    /// The node's account of a query shows that what came is not all.
    fn query_refuted(&mut self) {}

    /// Called once, when the whole range was read; not after an error.
    async fn end(&mut self) -> Result<()> {
        Ok(())
    }
}

/// What a complete scan did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ScanReport {
    /// Records handed to the sinks.
    pub records: u64,
    /// Partitions read to their end: all that were requested.
    pub partitions_done: u32,
    /// Streams and rounds that had to be made again.
    pub retries: u64,
    /// Streams whose node could not be asked afterwards whether it had read every record (an old version, or the
    /// node was gone).
    pub unvouched_streams: u64,
    /// Frames that came compressed.
    pub compressed_frames: u64,
}

#[derive(Debug, Default)]
struct Tally {
    records: AtomicU64,
    partitions: AtomicU32,
    retries: AtomicU64,
    unvouched: AtomicU64,
    compressed: AtomicU64,
}

/// Scans `partitions` into `sinks`. They are cut into as many contiguous ranges as there are sinks, which run side
/// by side; a range goes over the nodes in turn, so that no node has more of our connections than there are sinks.
///
/// Errors: those of a sink, untouched; `canceled`; `scan-timeout`; `scan-incomplete` (temporary) with the partitions
/// that are missing; `scan-refused`; `records-unreadable`; `wire-malformed`; `namespace-missing`.
pub async fn scan_partitions(
    cluster: &Cluster,
    request: &ScanRequest,
    partitions: &PartitionSet,
    sinks: Vec<Box<dyn ScanSink>>,
    cancel: &CancellationToken,
) -> Result<ScanReport> {
    if sinks.is_empty() && !partitions.is_empty() {
        return Err(Error::permanent("scan-refused", "a scan needs at least one sink"));
    }
    let limit = request.records_per_second;
    let width = if limit == 0 { sinks.len() } else { sinks.len().min(limit as usize) };
    let ranges = partitions.split(width); // sinks beyond the number of ranges are dropped
    let request = Arc::new(request.clone());
    let tally = Arc::new(Tally::default());
    let mut scope = Scope::new(cancel);
    for (index, (sink, range)) in sinks.into_iter().zip(&ranges).enumerate() {
        let mut worker = Worker {
            cluster: cluster.clone(),
            request: request.clone(),
            tally: tally.clone(),
            slots: Slots::new(range, &request.after),
            records_per_second: share(limit, ranges.len(), index),
            first_node: index,
            sink,
            frame: Vec::new(),
            unpacked: Vec::new(),
        };
        let token = scope.token().clone();
        scope.spawn("scan", async move {
            let limit_ms = worker.request.total_timeout_ms;
            let limit = if limit_ms == 0 { Duration::MAX } else { Duration::from_millis(limit_ms) };
            tokio::select! {
                biased;
                () = token.cancelled() => Err(canceled("scan")),
                ended = tokio::time::timeout(limit, worker.run()) => ended.unwrap_or_else(|_| {
                    Err(Error::temporary("scan-timeout", format!("scan not done within {limit_ms} ms"))
                        .hint("Raise the policy's total-timeout, or set it to 0."))
                }),
            }
        });
    }
    scope.join().await?;
    Ok(ScanReport {
        records: tally.records.load(Ordering::Relaxed),
        partitions_done: tally.partitions.load(Ordering::Relaxed),
        retries: tally.retries.load(Ordering::Relaxed),
        unvouched_streams: tally.unvouched.load(Ordering::Relaxed),
        compressed_frames: tally.compressed.load(Ordering::Relaxed),
    })
}

/// What one of `parts` gets of `all`: they sum up to `all`.
fn share(all: u32, parts: usize, index: usize) -> u32 {
    let parts = u32::try_from(parts).unwrap_or(u32::MAX).max(1);
    all / parts + u32::from(index < (all % parts) as usize)
}

/// The error of work that was canceled.
pub(super) fn canceled(what: &str) -> Error {
    Error::temporary("canceled", format!("{what} canceled"))
}

/// Reads one range of partitions into one sink.
struct Worker {
    cluster: Cluster,
    request: Arc<ScanRequest>,
    tally: Arc<Tally>,
    slots: Slots,
    /// Its part of the limit: it asks one node at a time. 0: no limit.
    records_per_second: u32,
    /// Ranges start at different nodes.
    first_node: usize,
    sink: Box<dyn ScanSink>,
    frame: Vec<u8>,
    /// What a compressed frame held.
    unpacked: Vec<u8>,
}

/// How often a wait is told.
const WAIT_TOLD_EVERY: Duration = Duration::from_secs(1);

impl Worker {
    async fn run(&mut self) -> Result<()> {
        let mut fruitless = 0;
        loop {
            let before = self.slots.progress();
            let trouble = self.round(fruitless > 0).await?;
            if self.slots.is_complete() {
                return self.sink.end().await;
            }
            fruitless = if self.slots.progress() > before { 0 } else { fruitless + 1 };
            let trouble = trouble.unwrap_or_else(|| "not served by the node that owns them".to_owned());
            if fruitless > self.request.retry.max_retries {
                return Err(incomplete(&self.request.namespace, &self.slots, &trouble));
            }
            self.tally.retries.fetch_add(1, Ordering::Relaxed);
            let cluster = self.cluster.label();
            tracing::warn!(cluster, fruitless, trouble, "scan goes on with what is missing");
            tokio::time::sleep(self.request.retry.delay(fruitless.saturating_sub(1))).await;
            if let Err(error) = self.cluster.refresh().await {
                if !error.is_temporary() {
                    return Err(error); // as refused credentials
                }
                tracing::warn!(cluster, error = %error.report(), "cluster not found again yet");
            }
        }
    }

    /// Asks each owner once for what is missing. Returns what went wrong, if another round may mend it.
    async fn round(&mut self, masters: bool) -> Result<Option<String>> {
        let (namespace, near) = (&self.request.namespace, &self.request.near);
        let found = if masters || near.is_empty() {
            self.cluster.partition_owners(namespace).await
        } else {
            self.cluster.near_owners(namespace, near).await
        };
        let map = match found {
            Ok(map) => map,
            Err(error) if error.is_temporary() => return Ok(Some(error.report())),
            Err(error) => return Err(error),
        };
        let mut trouble = None;
        let mut groups = self.by_owner(&map);
        while !groups.is_empty() {
            let (place, _pass) = self.enter(&groups).await;
            let (node, pids) = groups.remove(place);
            let _permit = self.permit().await;
            match self.stream(&node, &pids).await? {
                StreamEnd::Complete => {}
                StreamEnd::Broken(error) => trouble = Some(error.report()),
            }
        }
        Ok(trouble)
    }

    /// Waits until one of the nodes may be read.
    async fn enter(&mut self, groups: &[(Arc<Node>, Vec<u16>)]) -> (usize, Option<NodePass>) {
        let Some(gate) = self.request.gates.nodes.clone() else { return (0, None) };
        loop {
            let left = gate.left.notified();
            tokio::pin!(left);
            // From here on it hears of those who leave.
            left.as_mut().enable();
            let mut places = groups.iter().enumerate();
            let entered =
                places.find_map(|(place, (node, _))| gate.enter(&node.name).map(|pass| (place, pass)));
            if let Some((place, pass)) = entered {
                return (place, Some(pass));
            }
            self.wait("the nodes that are read at once (max-concurrent-nodes)", left).await;
        }
    }

    /// Waits until one more scan of the cluster may run.
    async fn permit(&mut self) -> Option<OwnedSemaphorePermit> {
        let scans = self.request.gates.scans.clone()?;
        match Arc::clone(&scans).try_acquire_owned() {
            Ok(permit) => Some(permit),
            Err(_) => self.wait("one of the cluster's max-parallel-scans", scans.acquire_owned()).await.ok(),
        }
    }

    /// Waits and says so.
    async fn wait<T>(&mut self, for_what: &'static str, until: impl Future<Output = T>) -> T {
        tokio::pin!(until);
        self.sink.waiting(Some(for_what));
        loop {
            tokio::select! {
                done = &mut until => {
                    self.sink.waiting(None);
                    return done;
                }
                () = tokio::time::sleep(WAIT_TOLD_EVERY) => self.sink.alive(),
            }
        }
    }

    /// The open partitions by owner; those without one wait for the next round.
    fn by_owner(&self, map: &PartitionMap) -> Vec<(Arc<Node>, Vec<u16>)> {
        let mut groups: Vec<(Arc<Node>, Vec<u16>)> = Vec::new();
        for pid in self.slots.open() {
            let Some(owner) = map.owner(pid) else { continue };
            match groups.iter_mut().find(|(node, _)| Arc::ptr_eq(node, owner)) {
                Some((_, pids)) => pids.push(pid),
                None => groups.push((owner.clone(), vec![pid])),
            }
        }
        groups.sort_by(|(a, _), (b, _)| a.name.cmp(&b.name));
        let count = groups.len().max(1);
        groups.rotate_left(self.first_node % count);
        groups
    }
}

fn incomplete(namespace: &str, slots: &Slots, trouble: &str) -> Error {
    Error::temporary(
        "scan-incomplete",
        format!("scan of namespace \"{namespace}\" lacks partitions {}: {trouble}", slots.describe_open()),
    )
    .hint("Check that all nodes are up and that no partition is unavailable.")
}
