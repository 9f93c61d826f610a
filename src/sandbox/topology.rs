//! The nodes of a cluster, and which of them serves which partition.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{PoisonError, RwLock};

use super::digest::digest_of;
use super::store::PARTITIONS;
use crate::model::hex;

/// Marks a partition that no node serves.
const NOBODY: usize = usize::MAX;

/// A node as the others know it.
#[derive(Debug, Clone)]
pub(super) struct Member {
    pub name: String,
    pub address: SocketAddr,
    pub present: bool,
}

/// What the nodes of a cluster share besides records.
#[derive(Debug)]
pub(super) struct Topology {
    members: RwLock<Vec<Member>>,
    owners: Vec<AtomicUsize>,
    /// Whether another node serves the partitions of one that is gone, as with two copies of each record.
    inherits: bool,
    /// Whether each node has a copy of every partition.
    pub copies: bool,
    partition_generation: AtomicU64,
    peers_generation: AtomicU64,
}

impl Topology {
    /// All nodes are present, and the partitions go round them in turn.
    pub fn new(members: Vec<Member>, inherits: bool, copies: bool) -> Self {
        let count = members.len().max(1);
        Self {
            members: RwLock::new(members),
            owners: (0..usize::from(PARTITIONS)).map(|pid| AtomicUsize::new(pid % count)).collect(),
            inherits,
            copies,
            partition_generation: AtomicU64::new(1),
            peers_generation: AtomicU64::new(0),
        }
    }

    pub fn members(&self) -> Vec<Member> {
        self.members.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// How many nodes are present.
    pub fn size(&self) -> usize {
        self.members().iter().filter(|member| member.present).count()
    }

    /// Whether the node serves the partition now.
    pub fn owns(&self, node: usize, pid: u16) -> bool {
        self.owners.get(usize::from(pid)).is_some_and(|owner| owner.load(Ordering::SeqCst) == node)
    }

    /// Gives a partition to a node, or to nobody.
    pub fn give(&self, pid: u16, to: Option<usize>) {
        let to = to.unwrap_or(NOBODY);
        if let Some(owner) = self.owners.get(usize::from(pid))
            && owner.swap(to, Ordering::SeqCst) != to
        {
            self.partition_generation.fetch_add(1, Ordering::SeqCst);
        }
    }

    /// Notes that a node left or came back; the partitions are dealt anew.
    pub fn set_present(&self, node: usize, present: bool) {
        let mut members = self.members.write().unwrap_or_else(PoisonError::into_inner);
        let Some(member) = members.get_mut(node) else { return };
        if member.present == present {
            return;
        }
        member.present = present;
        self.peers_generation.fetch_add(1, Ordering::SeqCst);
        let count = members.len();
        for pid in 0..PARTITIONS {
            let home = usize::from(pid) % count;
            let mut heirs = (0..count).map(|step| (home + step) % count);
            let heir = heirs.find(|heir| members.get(*heir).is_some_and(|member| member.present));
            self.give(pid, heir.filter(|heir| *heir == home || self.inherits));
        }
    }

    pub fn partition_generation(&self) -> u64 {
        self.partition_generation.load(Ordering::SeqCst)
    }

    pub fn peers_generation(&self) -> u64 {
        self.peers_generation.load(Ordering::SeqCst)
    }

    /// Twelve hexadecimal digits, the same on all nodes as long as the cluster is the same.
    pub fn cluster_key(&self, cluster_name: &str) -> String {
        let present = self.members().into_iter().filter(|member| member.present);
        let names: Vec<String> = present.map(|member| member.name).collect();
        let digest = digest_of(cluster_name.as_bytes(), 0, names.join(",").as_bytes());
        hex(digest.split_at(6).0).to_uppercase()
    }
}
