//! The source cluster and the application that changes it, both told to the history.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use tokio_util::sync::CancellationToken;

use crate::clock::{Clock, SystemClock};
use crate::model::UnixMillis;
use crate::model::restore_order::reference::Bins;
use crate::model::time::AEROSPIKE_EPOCH_S;
use crate::oracle::history::{Event, History, Version};
use crate::oracle::judge::Scan;
use crate::sandbox::{Bin, Sandbox, SandboxOptions, SandboxRecord, digest_of, partition_of};

/// `clock-skew-margin` of the sequences (rules.md 3.2): longer than a run takes from `created` to its scan.
pub(super) const MARGIN_MS: i64 = 80;
/// How far apart the clocks within the margin are: the rest is for a write that takes its time.
const SMALL_SKEW_MS: i64 = 75;

pub(super) const NAMESPACES: [&str; 2] = ["accounts", "sessions"];
const SETS: [&str; 2] = ["old", "new"];
/// Keys of a namespace; each can be in either set, so there are twice as many records.
const KEYS: usize = 8;
pub(super) const RECORDS: usize = KEYS * SETS.len();

/// What must come back with a record beside its bins; no bin can have such a name.
pub(super) const VOID_TIME: &[u8] = b"\0void time";
pub(super) const SET: &[u8] = b"\0set";
pub(super) const USER_KEY: &[u8] = b"\0user key";

/// The machine's clock, set forward now and then.
#[derive(Debug, Clone)]
pub(super) struct Shifted {
    /// All clocks of a sequence share it.
    forward_ms: Arc<AtomicI64>,
    ahead_ms: i64,
}

impl Shifted {
    pub(super) fn new() -> Self {
        Self { forward_ms: Arc::default(), ahead_ms: 0 }
    }

    /// The clock of a machine that is ahead.
    pub(super) fn ahead(&self, ahead_ms: i64) -> Self {
        Self { forward_ms: Arc::clone(&self.forward_ms), ahead_ms }
    }

    pub(super) fn set_forward(&self, ms: i64) {
        self.forward_ms.fetch_add(ms, Ordering::SeqCst);
    }
}

impl Clock for Shifted {
    fn now(&self) -> UnixMillis {
        SystemClock.now().plus_ms(self.forward_ms.load(Ordering::SeqCst) + self.ahead_ms)
    }
}

/// Seconds since 2010.
pub(super) fn seconds(at: UnixMillis) -> i64 {
    at.secs() - AEROSPIKE_EPOCH_S
}

/// How the clocks of the cluster's two nodes differ from ours. (The sandbox is one node: the records of odd partitions
/// are stamped by a second one that is only thought.)
#[derive(Debug, Clone, Copy)]
#[expect(clippy::struct_field_names)] // the unit
struct Skews {
    /// What each node's clock adds to ours.
    stamps_ms: [i64; 2],
    /// The clock that the sandbox shows and expires records by.
    shown_ms: i64,
    /// What the cluster says of itself.
    reported_ms: u64,
    /// A stamp that is older than this when its record can be read was not to be expected.
    lag_max_ms: i64,
}

impl Skews {
    fn random(rng: &mut StdRng) -> Self {
        match rng.random_range(0..4) {
            // Within the margin.
            0 => Self {
                stamps_ms: [
                    -rng.random_range(0..=SMALL_SKEW_MS),
                    rng.random_range(-SMALL_SKEW_MS..=SMALL_SKEW_MS),
                ],
                shown_ms: 0,
                reported_ms: 0,
                lag_max_ms: MARGIN_MS,
            },
            // Ahead, and nobody says so.
            1 => Self {
                stamps_ms: [0, rng.random_range(0..=4000)],
                shown_ms: 0,
                reported_ms: 0,
                lag_max_ms: MARGIN_MS,
            },
            // One is behind by more than the margin, and the cluster reports it.
            2 => Self {
                stamps_ms: [0, -rng.random_range(1000..=3900)],
                shown_ms: 0,
                reported_ms: 4000,
                lag_max_ms: 4000,
            },
            // Both are, and their clocks show it.
            _ => Self {
                stamps_ms: [-2990, -rng.random_range(0..=2990)],
                shown_ms: -3000,
                reported_ms: 0,
                lag_max_ms: 3000,
            },
        }
    }
}

/// A record that there can be.
#[derive(Debug, Clone)]
pub(super) struct Identity {
    pub digest: [u8; 20],
    pub set: Vec<u8>,
    pub key: Vec<u8>,
}

impl Identity {
    pub(super) fn new(set: &str, key: i64) -> Self {
        let bytes = key.to_be_bytes();
        let stored = [&[1], bytes.as_slice()].concat();
        Self { digest: digest_of(set.as_bytes(), 1, &bytes), set: set.as_bytes().to_vec(), key: stored }
    }

    /// All that there can be in a namespace, by number.
    pub(super) fn all() -> Vec<Self> {
        (0..KEYS).flat_map(|key| SETS.map(|set| Self::new(set, key as i64))).collect()
    }

    /// As a record of the sandbox.
    pub(super) fn record(
        &self,
        bins: Vec<Bin>,
        generation: u16,
        void_time: u32,
        stamp: i64,
    ) -> SandboxRecord {
        SandboxRecord {
            digest: self.digest,
            set: self.set.clone(),
            key: Some(self.key.clone()),
            bins,
            generation,
            void_time,
            last_update: UnixMillis(stamp),
        }
    }
}

/// All that is compared of a record, as bins.
pub(super) fn seen(record: &SandboxRecord) -> Bins {
    let bin = |bin: &Bin| (bin.name.clone(), [&[bin.kind], bin.value.as_slice()].concat());
    let mut bins: Bins = record.bins.iter().map(bin).collect();
    bins.insert(VOID_TIME.to_vec(), record.void_time.to_be_bytes().to_vec());
    bins.insert(SET.to_vec(), record.set.clone());
    bins.insert(USER_KEY.to_vec(), record.key.clone().unwrap_or_default());
    bins
}

/// The void time among what is compared.
pub(super) fn void_time(bins: &Bins) -> i64 {
    let bytes = bins[VOID_TIME].as_slice().try_into().unwrap();
    i64::from(u32::from_be_bytes(bytes))
}

/// What happened, and what will.
pub(super) struct Inner {
    pub rng: StdRng,
    pub histories: BTreeMap<&'static str, History>,
    /// How each folder of a backup was last read.
    pub scans: BTreeMap<String, Scan>,
    /// What was done, for whoever must find out why a sequence failed.
    pub log: Vec<String>,
    pub changes: u64,
    /// Incrementals that ran beside a full.
    pub beside: u64,
    /// The next bin value: each is written once.
    value: i64,
}

/// The source cluster, its application and its history; cheap to clone.
#[derive(Clone)]
pub(super) struct Application {
    pub clock: Shifted,
    pub sandbox: Arc<Sandbox>,
    records: Arc<Vec<Identity>>,
    skews: Skews,
    inner: Arc<Mutex<Inner>>,
}

impl Application {
    pub(super) async fn start(seed: u64) -> Self {
        let mut rng = StdRng::seed_from_u64(seed);
        let clock = Shifted::new();
        let skews = Skews::random(&mut rng);
        let sandbox = sandbox(&clock.ahead(skews.shown_ms), "source").await;
        sandbox.set_clock_skew_ms(skews.reported_ms);
        let histories = NAMESPACES.map(|name| (name, History::new(RECORDS)));
        let inner = Inner {
            rng,
            histories: histories.into_iter().collect(),
            scans: BTreeMap::new(),
            log: vec![format!("seed {seed}, {skews:?}")],
            changes: 0,
            beside: 0,
            value: 0,
        };
        Self {
            clock,
            sandbox: Arc::new(sandbox),
            records: Arc::new(Identity::all()),
            skews,
            inner: Arc::new(Mutex::new(inner)),
        }
    }

    pub(super) fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap()
    }

    pub(super) fn log(&self, text: impl Into<String>) {
        let line = format!("{} {}", self.now(), text.into());
        self.inner().log.push(line);
    }

    /// On the axis of the histories: our clock, which is never set back here.
    pub(super) fn now(&self) -> i64 {
        self.clock.now().0
    }

    /// A random number below `end`.
    pub(super) fn below(&self, end: usize) -> usize {
        self.inner().rng.random_range(0..end)
    }

    /// Whether something happens that happens once in `times`.
    pub(super) fn once_in(&self, times: usize) -> bool {
        self.below(times) == 0
    }

    /// Changes something in one of the namespaces.
    pub(super) fn change(&self, count: usize) {
        for _ in 0..count {
            let namespace = NAMESPACES[self.below(NAMESPACES.len())];
            let record = self.below(RECORDS);
            match self.below(40) {
                0..10 => self.delete(namespace, record),
                // A record moves to another set: it is deleted here and created there.
                10..15 => {
                    self.delete(namespace, record);
                    self.put(namespace, record ^ 1);
                }
                _ => self.put(namespace, record),
            }
            self.inner().changes += 1;
        }
    }

    /// Writes a record with other bins than before, now and then with a life or with an old stamp.
    fn put(&self, namespace: &'static str, record: usize) {
        let mut inner = self.inner();
        let identity = &self.records[record];
        let bins = inner.random_bins();
        let before = self.now();
        let life_s = match inner.rng.random_range(0..8) {
            0 => Some(inner.rng.random_range(20..90)),
            1 => Some(86_400),
            _ => None,
        };
        let node_now_s = seconds(self.clock.now().plus_ms(self.skews.shown_ms));
        let void_time = life_s.map_or(0, |life| u32::try_from(node_now_s + life).unwrap());
        let old_ms =
            if inner.rng.random_range(0..20) == 0 { inner.rng.random_range(5_000..120_000) } else { 0 };
        let node = usize::from(partition_of(&identity.digest)) % 2;
        let stamp = before + self.skews.stamps_ms[node] - old_ms;
        let history = inner.histories.get_mut(namespace).unwrap();
        let generation = history.next_generation(record, before);
        let written = identity.record(bins, generation, void_time, stamp);
        let version =
            Version { generation, bins: seen(&written), gone_at: gone_at(void_time, self.skews.shown_ms) };
        self.sandbox.put(namespace, written).unwrap();
        let after = self.now();
        // Also a thread that stood still between stamp and write makes a stamp old.
        let old_stamp = after - stamp > self.skews.lag_max_ms;
        history.push(record, Event { at: (before, after), stamp, old_stamp, version: Some(version) });
    }

    fn delete(&self, namespace: &'static str, record: usize) {
        let mut inner = self.inner();
        let before = self.now();
        let history = inner.histories.get_mut(namespace).unwrap();
        if history.live(record, before).is_none() {
            return;
        }
        self.sandbox.remove(namespace, &self.records[record].digest).unwrap();
        let at = (before, self.now());
        history.push(record, Event { at, stamp: before, old_stamp: false, version: None });
    }

    /// Truncates a namespace.
    pub(super) fn truncate(&self, namespace: &'static str) {
        let mut inner = self.inner();
        let before = self.now();
        self.sandbox.truncate(namespace, None).unwrap();
        let at = (before, self.now());
        let history = inner.histories.get_mut(namespace).unwrap();
        for (record, identity) in self.records.iter().enumerate() {
            // What a node that is ahead has stamped with the future stays.
            let is_gone = self.sandbox.get(namespace, &identity.digest).is_none();
            if is_gone && history.live(record, before).is_some() {
                history.push(record, Event { at, stamp: before, old_stamp: false, version: None });
            }
        }
    }
}

impl Inner {
    /// Some of four bins, of random types, each with a value that was never written before.
    fn random_bins(&mut self) -> Vec<Bin> {
        let chosen = self.rng.random_range(1..16_u8);
        let names =
            [b"a", b"b", b"c", b"d"].into_iter().enumerate().filter(|(bit, _)| chosen & (1 << bit) != 0);
        let names: Vec<_> = names.map(|(_, name)| name.to_vec()).collect();
        names
            .into_iter()
            .map(|name| {
                self.value += 1;
                let number = self.value.to_be_bytes();
                let (kind, value) = match self.rng.random_range(0..5) {
                    0 => (1, number.to_vec()),
                    1 => (2, (self.value as f64).to_be_bytes().to_vec()),
                    2 => (3, format!("value\n{} \\ end", self.value).into_bytes()),
                    3 => (4, [&[0, 10, 255], number.as_slice()].concat()),
                    // A list of one 64 bit number.
                    _ => (20, [&[0x91, 0xcf], number.as_slice()].concat()),
                };
                Bin { name, kind, value }
            })
            .collect()
    }
}

/// When a record expires at a node whose clock shows `shown_ms` more than ours: strictly after its void time.
fn gone_at(void_time: u32, shown_ms: i64) -> Option<i64> {
    let ends = (i64::from(void_time) + 1 + AEROSPIKE_EPOCH_S) * 1000 - shown_ms;
    (void_time > 0).then_some(ends)
}

/// A node with both namespaces.
pub(super) async fn sandbox(clock: &Shifted, cluster: &str) -> Sandbox {
    let options = SandboxOptions {
        namespaces: NAMESPACES.map(str::to_owned).to_vec(),
        clock: Arc::new(clock.clone()),
        cluster_name: cluster.to_owned(),
        ..SandboxOptions::default()
    };
    Sandbox::start(options, &CancellationToken::new()).await.unwrap()
}
