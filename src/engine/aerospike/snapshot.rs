//! A whole namespace in memory, to compare two of them record for record; for the demo and the tests.

use std::collections::BTreeMap;

use async_trait::async_trait;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::aerospike::{Cluster, RecordView, ScanRequest, ScanSink, scan_partitions};
use crate::error::{Error, Result};
use crate::model::hex;
use crate::model::partitions::PartitionSet;

/// What is compared of a record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    /// The set; empty: none.
    pub set: Vec<u8>,
    /// The stored user key: particle type and value.
    pub key: Option<(u8, Vec<u8>)>,
    /// Seconds since 2010 at which it expires; 0: never.
    pub void_time: u32,
    /// Particle type and value of each bin, by name.
    pub bins: BTreeMap<Vec<u8>, (u8, Vec<u8>)>,
}

/// The records of a namespace by digest.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Snapshot(pub BTreeMap<[u8; 20], Seen>);

impl Snapshot {
    /// Scans a namespace, all of it, into memory.
    pub async fn take(cluster: &Cluster, namespace: &str, cancel: &CancellationToken) -> Result<Self> {
        let (sender, mut records) = mpsc::unbounded_channel();
        let request = ScanRequest::new(namespace);
        let sinks: Vec<Box<dyn ScanSink>> =
            (0..2).map(|_| Box::new(Collect(sender.clone())) as Box<dyn ScanSink>).collect();
        drop(sender);
        scan_partitions(cluster, &request, &PartitionSet::all(), sinks, cancel).await?;
        let mut snapshot = Self::default();
        while let Some((digest, seen)) = records.recv().await {
            if snapshot.0.insert(digest, seen).is_some() {
                return Err(Error::permanent(
                    "duplicate-record",
                    format!("namespace {namespace}: one digest came twice in a scan"),
                ));
            }
        }
        Ok(snapshot)
    }

    /// The differences to another, one sentence each; void times may differ by `void_tolerance_s`.
    pub fn differences(&self, other: &Self, void_tolerance_s: u32) -> Vec<String> {
        let mut found = Vec::new();
        for (digest, seen) in &self.0 {
            match other.0.get(digest) {
                None => found.push(format!("{} is missing", hex(digest))),
                Some(theirs) => {
                    if let Some(what) = difference(seen, theirs, void_tolerance_s) {
                        found.push(format!("{}: {what}", hex(digest)));
                    }
                }
            }
        }
        let extra = other.0.keys().filter(|digest| !self.0.contains_key(*digest));
        found.extend(extra.map(|digest| format!("{} is too many", hex(digest))));
        found
    }
}

fn difference(a: &Seen, b: &Seen, void_tolerance_s: u32) -> Option<String> {
    if a.set != b.set {
        return Some("another set".to_owned());
    }
    if a.key != b.key {
        return Some(format!("another user key: {:?} and {:?}", a.key, b.key));
    }
    let never_differs = (a.void_time == 0) != (b.void_time == 0);
    if never_differs || a.void_time.abs_diff(b.void_time) > void_tolerance_s {
        return Some(format!("another void time: {} and {}", a.void_time, b.void_time));
    }
    if a.bins.keys().ne(b.bins.keys()) {
        return Some("other bins".to_owned());
    }
    a.bins.iter().find_map(|(name, value)| {
        (b.bins.get(name) != Some(value))
            .then(|| format!("another value in bin \"{}\"", String::from_utf8_lossy(name)))
    })
}

struct Collect(mpsc::UnboundedSender<([u8; 20], Seen)>);

#[async_trait]
impl ScanSink for Collect {
    fn record(&mut self, record: &RecordView<'_>) -> Result<()> {
        let head = record.head();
        let seen = Seen {
            set: head.set.to_vec(),
            key: head.key.map(|key| (key.kind, key.bytes.to_vec())),
            void_time: head.void_time,
            bins: record
                .bins()
                .map(|bin| (bin.name.to_vec(), (bin.particle.kind, bin.particle.bytes.to_vec())))
                .collect(),
        };
        self.0.send((*head.digest, seen)).map_err(|_| Error::temporary("canceled", "the snapshot has ended"))
    }

    async fn end_of_frame(&mut self) -> Result<()> {
        Ok(())
    }
}
