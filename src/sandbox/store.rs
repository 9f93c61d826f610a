//! The records: apart from the node, so that several nodes can share them.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

use super::digest::{Digest, partition_of};
use super::node::Node;
use super::registry::Registry;
use crate::model::UnixMillis;
use crate::model::time::AEROSPIKE_EPOCH_S;

/// Partitions of a namespace.
pub const PARTITIONS: u16 = 4096;
/// Largest record of a server that is not configured otherwise.
pub(super) const RECORD_BYTES_DEFAULT: usize = 1024 * 1024;
/// Largest record that a server can be configured for.
pub(super) const RECORD_BYTES_MAX: usize = 8 * 1024 * 1024;
/// What we count for a record beside its names and values.
const RECORD_OVERHEAD_BYTES: usize = 64;

/// A bin: name, particle type and the value as on the wire (integers have eight bytes).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bin {
    /// The name, at most 15 bytes.
    pub name: Vec<u8>,
    /// The particle type (asb.md 2.1).
    pub kind: u8,
    /// The value.
    pub value: Vec<u8>,
}

/// A record as tests put it and look at it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SandboxRecord {
    /// The digest.
    pub digest: [u8; 20],
    /// The set; empty = none.
    pub set: Vec<u8>,
    /// The stored user key: particle type, then the key's bytes.
    pub key: Option<Vec<u8>>,
    /// The bins, in order of creation.
    pub bins: Vec<Bin>,
    /// The generation, from 1.
    pub generation: u16,
    /// Seconds since 2010-01-01 UTC after which it is expired; 0 = never.
    pub void_time: u32,
    /// When it was last written.
    pub last_update: UnixMillis,
}

/// A set of a namespace, with its counts; the set without a name holds the records without a set.
#[derive(Debug, Default)]
pub(super) struct Set {
    pub name: Vec<u8>,
    pub objects: AtomicU64,
    pub bytes: AtomicU64,
    pub truncate_ms: AtomicU64,
}

/// A record.
#[derive(Debug, Clone)]
pub(super) struct Record {
    pub set: Arc<Set>,
    pub key: Option<Vec<u8>>,
    pub bins: Vec<Bin>,
    pub generation: u16,
    /// Seconds since 2010; 0 = never.
    pub void_time: u32,
    /// Milliseconds since 2010.
    pub last_update_ms: u64,
}

impl Record {
    /// Bytes, as we count them.
    pub fn size(&self) -> usize {
        let key = self.key.as_ref().map_or(0, Vec::len);
        RECORD_OVERHEAD_BYTES + self.set.name.len() + key + size_of_bins(&self.bins)
    }

    /// Whether its void time has passed: strictly, as on the server.
    pub fn expired(&self, now_s: u32) -> bool {
        self.void_time != 0 && self.void_time < now_s
    }

    pub fn bin(&self, name: &[u8]) -> Option<&Bin> {
        self.bins.iter().find(|bin| bin.name == name)
    }
}

/// Bytes of names and values.
pub(super) fn size_of_bins(bins: &[Bin]) -> usize {
    bins.iter().map(|bin| bin.name.len() + bin.value.len()).sum()
}

/// The records of one partition.
#[derive(Debug, Default)]
pub(super) struct Partition {
    records: BTreeMap<Digest, Record>,
}

impl Partition {
    /// The live record; one that is expired is removed on the way.
    pub fn live(&mut self, digest: &Digest, now_s: u32) -> Option<&Record> {
        if self.records.get(digest).is_some_and(|record| record.expired(now_s)) {
            self.remove(digest);
        }
        self.records.get(digest)
    }

    /// Puts a record in the place of what was there.
    pub fn insert(&mut self, digest: Digest, record: Record) {
        record.set.objects.fetch_add(1, Ordering::Relaxed);
        record.set.bytes.fetch_add(record.size() as u64, Ordering::Relaxed);
        if let Some(old) = self.records.insert(digest, record) {
            forget(&old);
        }
    }

    pub fn remove(&mut self, digest: &Digest) {
        if let Some(old) = self.records.remove(digest) {
            forget(&old);
        }
    }

    /// The records below `after` (or all), by falling digest: the server's order of scan.
    pub fn falling(&self, after: Option<&Digest>) -> impl Iterator<Item = (&Digest, &Record)> {
        let end = after.map_or(Bound::Unbounded, Bound::Excluded);
        self.records.range::<Digest, _>((Bound::Unbounded, end)).rev()
    }

    /// Removes what has expired.
    pub fn sweep(&mut self, now_s: u32) {
        self.retain(|record| !record.expired(now_s));
    }

    fn retain(&mut self, keep: impl Fn(&Record) -> bool) {
        self.records.retain(|_, record| {
            let kept = keep(record);
            if !kept {
                forget(record);
            }
            kept
        });
    }
}

fn forget(record: &Record) {
    record.set.objects.fetch_sub(1, Ordering::Relaxed);
    record.set.bytes.fetch_sub(record.size() as u64, Ordering::Relaxed);
}

/// Which records a truncation removes, in milliseconds since 2010.
#[derive(Debug, Clone, Copy)]
pub(super) enum Cut {
    /// Those that are there now.
    Through(u64),
    /// Those last written before an instant that the client named.
    Before(u64),
}

/// A namespace.
#[derive(Debug)]
pub(super) struct Namespace {
    pub name: String,
    partitions: Vec<Mutex<Partition>>,
    sets: RwLock<BTreeMap<Vec<u8>, Arc<Set>>>,
    pub truncate_ms: AtomicU64,
}

impl Namespace {
    fn new(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            partitions: (0..PARTITIONS).map(|_| Mutex::default()).collect(),
            sets: RwLock::default(),
            truncate_ms: AtomicU64::new(0),
        }
    }

    /// The partition of a digest, locked.
    pub fn partition_of(&self, digest: &Digest) -> MutexGuard<'_, Partition> {
        self.partition(partition_of(digest))
    }

    /// A partition, locked. Never hold two.
    pub fn partition(&self, pid: u16) -> MutexGuard<'_, Partition> {
        self.partitions
            .get(usize::from(pid))
            .expect("invariant: partition ids are checked to be below 4096")
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// The set of this name, made if need be.
    pub fn set(&self, name: &[u8]) -> Arc<Set> {
        if let Some(set) = self.sets.read().unwrap_or_else(PoisonError::into_inner).get(name) {
            return Arc::clone(set);
        }
        let mut sets = self.sets.write().unwrap_or_else(PoisonError::into_inner);
        let set = sets
            .entry(name.to_vec())
            .or_insert_with(|| Arc::new(Set { name: name.to_vec(), ..Set::default() }));
        Arc::clone(set)
    }

    /// All sets that ever had a record; the first may be the one without a name.
    pub fn sets(&self) -> Vec<Arc<Set>> {
        self.sets.read().unwrap_or_else(PoisonError::into_inner).values().cloned().collect()
    }

    /// Records in the partitions that a node serves, counting those that are expired and not yet removed, as a server
    /// does.
    pub fn objects_of(&self, node: &Node) -> u64 {
        let owned = (0..PARTITIONS).filter(|pid| node.owns(*pid));
        owned.map(|pid| self.partition(pid).records.len() as u64).sum()
    }

    /// Bytes, as we count them.
    pub fn bytes(&self) -> u64 {
        self.sets().iter().map(|set| set.bytes.load(Ordering::Relaxed)).sum()
    }

    /// Removes records and notes the truncation.
    pub fn truncate(&self, set: Option<&[u8]>, cut: Cut) {
        let (Cut::Through(at) | Cut::Before(at)) = cut;
        match set {
            None => self.truncate_ms.store(at, Ordering::Relaxed),
            // A set that never was is noted nowhere, as on the server.
            Some(name) => {
                let sets = self.sets.read().unwrap_or_else(PoisonError::into_inner);
                let Some(set) = sets.get(name) else { return };
                set.truncate_ms.store(at, Ordering::Relaxed);
            }
        }
        for pid in 0..PARTITIONS {
            self.partition(pid).retain(|record| {
                let other = set.is_some_and(|name| record.set.name != name);
                let later = match cut {
                    Cut::Through(at) => record.last_update_ms > at,
                    Cut::Before(at) => record.last_update_ms >= at,
                };
                other || later
            });
        }
    }

    pub fn put(&self, record: SandboxRecord) {
        let kept = Record {
            set: self.set(&record.set),
            key: record.key,
            bins: record.bins,
            generation: record.generation,
            void_time: record.void_time,
            last_update_ms: since_2010_ms(record.last_update),
        };
        self.partition_of(&record.digest).insert(record.digest, kept);
    }

    pub fn get(&self, digest: &Digest, now_s: u32) -> Option<SandboxRecord> {
        self.partition_of(digest).live(digest, now_s).map(|record| seen(digest, record))
    }

    pub fn live(&self, now_s: u32) -> usize {
        let live =
            |pid| self.partition(pid).falling(None).filter(|(_, record)| !record.expired(now_s)).count();
        (0..PARTITIONS).map(live).sum()
    }

    pub fn for_each(&self, now_s: u32, mut visit: impl FnMut(SandboxRecord)) {
        for pid in 0..PARTITIONS {
            // Copied first, so that `visit` may call the sandbox.
            let records: Vec<_> = self
                .partition(pid)
                .falling(None)
                .filter(|(_, record)| !record.expired(now_s))
                .map(|(digest, record)| seen(digest, record))
                .collect();
            records.into_iter().for_each(&mut visit);
        }
    }
}

fn seen(digest: &Digest, record: &Record) -> SandboxRecord {
    SandboxRecord {
        digest: *digest,
        set: record.set.name.clone(),
        key: record.key.clone(),
        bins: record.bins.clone(),
        generation: record.generation,
        void_time: record.void_time,
        last_update: UnixMillis(unix_ms(record.last_update_ms)),
    }
}

/// Milliseconds since 2010, the unit of record stamps; 0 for what is earlier.
pub(super) fn since_2010_ms(at: UnixMillis) -> u64 {
    u64::try_from(at.since(UnixMillis::from_secs(AEROSPIKE_EPOCH_S))).unwrap_or(0)
}

/// Unix milliseconds from milliseconds since 2010.
pub(super) fn unix_ms(since_2010_ms: u64) -> i64 {
    i64::try_from(since_2010_ms).unwrap_or(i64::MAX).saturating_add(AEROSPIKE_EPOCH_S * 1000)
}

/// The namespaces, and what the cluster has besides records.
#[derive(Debug)]
pub(super) struct Store {
    pub namespaces: Vec<Arc<Namespace>>,
    pub registry: Registry,
}

impl Store {
    pub fn new(namespaces: &[String]) -> Self {
        Self {
            namespaces: namespaces.iter().map(|name| Arc::new(Namespace::new(name))).collect(),
            registry: Registry::default(),
        }
    }

    pub fn namespace(&self, name: &[u8]) -> Option<&Arc<Namespace>> {
        self.namespaces.iter().find(|space| space.name.as_bytes() == name)
    }
}
