//! A node: who it is, which partitions it owns, its clock and its running scans.

use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use tokio_util::sync::CancellationToken;

use super::SandboxOptions;
use super::account::ScanAccount;
use super::fault::Faults;
use super::security::Security;
use super::store::{Store, since_2010_ms};
use super::topology::Topology;
use crate::clock::SharedClock;

/// Finished scans whose task ids are remembered: a server's `query-max-done`.
const FINISHED_SCANS: usize = 100;

/// The accounts of scans, by task id.
#[derive(Debug, Default)]
struct Scans {
    running: BTreeMap<u64, Arc<ScanAccount>>,
    finished: VecDeque<Arc<ScanAccount>>,
}

/// A node of the sandbox.
#[derive(Debug)]
pub(super) struct Node {
    pub name: String,
    pub cluster_name: String,
    pub build: String,
    pub address: SocketAddr,
    pub default_ttl_s: u32,
    pub max_record_bytes: usize,
    pub rack: Option<u32>,
    pub compresses: bool,
    pub store: Arc<Store>,
    pub topology: Arc<Topology>,
    pub faults: Faults,
    pub security: Security,
    /// Whether only its alternate addresses lead anywhere.
    pub behind_alternate: bool,
    /// Its place in the cluster.
    index: usize,
    /// Cancelled when the node is gone; a node that comes back gets another.
    power: Mutex<CancellationToken>,
    clock: SharedClock,
    started_s: u32,
    clock_skew_ms: AtomicU64,
    scans: Mutex<Scans>,
}

impl Node {
    pub fn new(
        options: SandboxOptions,
        address: SocketAddr,
        store: Arc<Store>,
        (topology, index): (Arc<Topology>, usize),
    ) -> Self {
        let mut node = Self {
            name: options.node_name,
            cluster_name: options.cluster_name,
            build: options.build,
            address,
            default_ttl_s: options.default_ttl_s,
            max_record_bytes: options.max_record_bytes,
            rack: options.rack,
            compresses: options.compresses,
            store,
            topology,
            faults: Faults::default(),
            security: Security::new(options.security, options.tls),
            behind_alternate: options.behind_alternate,
            index,
            power: Mutex::default(),
            clock: options.clock,
            started_s: 0,
            clock_skew_ms: AtomicU64::new(0),
            scans: Mutex::default(),
        };
        node.started_s = node.now_s();
        node
    }

    /// Milliseconds since 2010, by the node's clock.
    pub fn now_ms(&self) -> u64 {
        since_2010_ms(self.clock.now())
    }

    /// Seconds since 2010, by the node's clock.
    pub fn now_s(&self) -> u32 {
        u32::try_from(self.now_ms() / 1000).unwrap_or(u32::MAX)
    }

    pub fn uptime_s(&self) -> u32 {
        self.now_s().saturating_sub(self.started_s)
    }

    pub fn owns(&self, pid: u16) -> bool {
        self.topology.owns(self.index, pid)
    }

    /// Whether it has a copy of what another owns.
    pub fn has_copy(&self, pid: u16) -> bool {
        self.topology.copies && !self.owns(pid)
    }

    /// Takes a partition for itself, or gives it to nobody.
    pub fn set_owned(&self, pid: u16, owned: bool) {
        self.topology.give(pid, owned.then_some(self.index));
    }

    /// Joins the cluster: what is cancelled when it leaves.
    pub fn join(&self, parent: &CancellationToken) -> CancellationToken {
        let power = parent.child_token();
        *self.power.lock().unwrap_or_else(PoisonError::into_inner) = power.clone();
        self.topology.set_present(self.index, true);
        power
    }

    /// Leaves the cluster, with all its connections.
    pub fn leave(&self) {
        self.topology.set_present(self.index, false);
        self.power.lock().unwrap_or_else(PoisonError::into_inner).cancel();
    }

    pub fn clock_skew_ms(&self) -> u64 {
        self.clock_skew_ms.load(Ordering::Relaxed)
    }

    pub fn set_clock_skew_ms(&self, skew_ms: u64) {
        self.clock_skew_ms.store(skew_ms, Ordering::Relaxed);
    }

    /// Notes a scan as running until the guard is dropped. Nothing when its id is that of a scan that runs or is
    /// among the last to finish, as on the server: every attempt needs an id of its own.
    pub fn begin_scan(self: &Arc<Self>, account: &Arc<ScanAccount>) -> Option<RunningScan> {
        let mut scans = self.scans.lock().unwrap_or_else(PoisonError::into_inner);
        let task_id = account.task_id;
        let known = scans.running.contains_key(&task_id)
            || scans.finished.iter().any(|finished| finished.task_id == task_id);
        if known {
            return None;
        }
        scans.running.insert(task_id, Arc::clone(account));
        Some(RunningScan { node: Arc::clone(self), task_id })
    }

    /// The accounts of the scans that run and of the last to finish.
    pub fn scan_accounts(&self) -> Vec<Arc<ScanAccount>> {
        let scans = self.scans.lock().unwrap_or_else(PoisonError::into_inner);
        scans.running.values().chain(&scans.finished).cloned().collect()
    }
}

/// A scan that is running.
#[derive(Debug)]
pub(super) struct RunningScan {
    node: Arc<Node>,
    task_id: u64,
}

impl Drop for RunningScan {
    fn drop(&mut self) {
        let mut scans = self.node.scans.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(account) = scans.running.remove(&self.task_id) else { return };
        account.end();
        if scans.finished.len() == FINISHED_SCANS {
            scans.finished.pop_front();
        }
        scans.finished.push_back(account);
    }
}
