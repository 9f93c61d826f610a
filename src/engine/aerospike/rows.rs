//! Records of a file that wait to be written together.

use super::time::DestinationTime;
use crate::aerospike::{Exists, WriteBatch, WritePolicy};
use crate::asb::particle::NULL;
use crate::asb::{Bin, Record};
use crate::engine::{MemberWrite, RestoreCounters};
use crate::error::{Error, Result};
use crate::model::restore_order;

/// "Never expires" on the wire (asb.md 1.11); a life over ten years is refused by the server, and it says so.
const NEVER: u32 = u32::MAX;

/// A batch while it is filled, and what was decided of records on the way.
pub(super) struct Rows {
    batch: WriteBatch,
    digests: Vec<[u8; 20]>,
    hiding: Vec<([u8; 20], NotWritten)>,
    counters: RestoreCounters,
    time: DestinationTime,
    extra_ttl_s: u32,
}

/// A filled batch.
pub(super) struct Collected {
    /// The rows.
    pub batch: WriteBatch,
    /// The digest of each row.
    pub digests: Vec<[u8; 20]>,
    /// Digests whose version here is not written but hides older ones; in no counter but `read_records` yet.
    pub hiding: Vec<([u8; 20], NotWritten)>,
    /// What was read, and skipped because it is not wanted.
    pub counters: RestoreCounters,
}

/// Why a version that is wanted is not written; it hides older ones (rules.md 4.5).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum NotWritten {
    /// Its life is over.
    Expired,
    /// It has no bin with a value, or none of those that are wanted.
    Empty,
}

impl Rows {
    pub(super) fn new(write: &MemberWrite, time: DestinationTime) -> Self {
        let exists = match write.exists {
            restore_order::Exists::CreateOnly => Exists::CreateOnly,
            restore_order::Exists::Update => Exists::Update,
            restore_order::Exists::Replace => Exists::Replace,
        };
        let policy = WritePolicy { exists, generation_greater: write.generation_check };
        // No more than the limit lets pass at once: a trickle is not made of gushes.
        let burst = write.records_pace.as_ref().and_then(|pace| usize::try_from(pace.burst()).ok());
        let rows_max = burst.map_or(write.batch_size, |burst| burst.min(write.batch_size));
        Self {
            batch: WriteBatch::new(write.namespace.as_bytes(), policy).with_rows_max(rows_max),
            digests: Vec::new(),
            hiding: Vec::new(),
            counters: RestoreCounters::default(),
            time,
            extra_ttl_s: write.extra_ttl_s,
        }
    }

    /// The next ones behind these of the same file, with room for as many.
    pub(super) fn next(&self, write: &MemberWrite) -> Self {
        let mut next = Self::new(write, self.time);
        next.batch = next.batch.like(&self.batch);
        next.digests.reserve(self.digests.len());
        next
    }

    /// Adds a record, or keeps why it is not written.
    pub(super) fn push(&mut self, write: &MemberWrite, record: &Record<'_>) -> Result<()> {
        let head = record.head();
        self.counters.read_records += 1;
        if head.namespace != write.source_namespace.as_bytes() {
            return Err(Error::permanent(
                "namespace-mismatch",
                format!(
                    "a record belongs to namespace \"{}\", not to \"{}\"",
                    String::from_utf8_lossy(head.namespace),
                    write.source_namespace
                ),
            )
            .hint("Name the namespace that the backup was made of as the source of policy.namespace."));
        }
        if !wanted(write, record) {
            self.counters.skipped_records += 1;
            return Ok(());
        }
        match self.fate(write, record) {
            Ok(ttl_s) => {
                if write.bins.is_empty() {
                    self.batch.push(&head, record.bins(), ttl_s)?;
                } else {
                    self.batch.push(&head, record.bins().filter(|bin| listed(write, bin)), ttl_s)?;
                }
                self.digests.push(*head.digest);
            }
            Err(why) => self.hiding.push((*head.digest, why)),
        }
        Ok(())
    }

    /// Counts a record that is not wanted at all.
    pub(super) fn skip_record(&mut self) {
        self.counters.read_records += 1;
        self.counters.skipped_records += 1;
    }

    /// Notes a record whose version hides older ones, without keeping it.
    pub(super) fn note_hidden(&mut self, write: &MemberWrite, record: &Record<'_>) {
        if wanted(write, record)
            && let Err(why) = self.fate(write, record)
        {
            self.hiding.push((*record.head().digest, why));
        }
    }

    /// The life to write, or why nothing is written: skipped before expired, as the official library does.
    fn fate(&self, write: &MemberWrite, record: &Record<'_>) -> std::result::Result<u32, NotWritten> {
        // Nothing but nulls is nothing to write: the server refuses such a write (wire.md 9).
        let has_value = |bin: &Bin<'_>| bin.particle.kind != NULL;
        let all = write.bins.is_empty();
        if !record.bins().any(|bin| has_value(&bin) && (all || listed(write, &bin))) {
            return Err(NotWritten::Empty);
        }
        self.remaining_life(record.head().void_time).ok_or(NotWritten::Expired)
    }

    /// Digests noted and not taken yet.
    pub(super) fn hiding_len(&self) -> usize {
        self.hiding.len()
    }

    /// Takes the digests noted.
    pub(super) fn take_hiding(&mut self) -> Vec<[u8; 20]> {
        self.hiding.drain(..).map(|(digest, _)| digest).collect()
    }

    /// Whether it is time to write.
    pub(super) fn is_full(&self) -> bool {
        self.batch.is_full() || self.hiding.len() >= 1000 || self.counters.read_records >= 10_000
    }

    /// What it takes of memory while it is written: the rows, and the requests that are made of them.
    pub(super) fn in_flight_bytes(&self) -> u64 {
        let digests = (self.digests.len() + self.hiding.len()) * size_of::<[u8; 20]>();
        (2 * self.batch.byte_len() + digests) as u64
    }

    pub(super) fn finish(self) -> Collected {
        let Self { batch, digests, hiding, counters, .. } = self;
        Collected { batch, digests, hiding, counters }
    }

    /// The life to write, in seconds; none if it is over (rules.md 4.7, asb.md 1.11).
    fn remaining_life(&self, void_time: u32) -> Option<u32> {
        if void_time == 0 {
            return Some(NEVER);
        }
        let ends_s = u64::from(void_time) + u64::from(self.extra_ttl_s);
        let left = ends_s.saturating_sub(self.time.now_s());
        // NEVER and its neighbours have a meaning of their own on the wire.
        u32::try_from(left).ok().filter(|left| *left > 0).map(|left| left.min(NEVER - 3))
    }
}

fn listed(write: &MemberWrite, bin: &Bin<'_>) -> bool {
    write.bins.iter().any(|name| name.as_bytes() == bin.name)
}

fn wanted(write: &MemberWrite, record: &Record<'_>) -> bool {
    write.sets.is_empty() || write.sets.iter().any(|set| set.as_bytes() == record.head().set)
}
