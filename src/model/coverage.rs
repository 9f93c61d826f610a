//! Which parts of a scan need not be read again: those of which every record lies in a closed file (rules.md 6.3).
//!
//! A [`Coverage`] is made of the [`Advance`]s of closed files and nothing else. Why it never claims a record that is in no
//! closed file:
//!
//! 1. A partition is read by one scan at a time, which hands its records to one writer, in blocks, in the order in which
//!    they came. A node sends the records of a partition in one order and, asked to go on after a digest, sends what comes
//!    after that digest in the same order (falling digests on a real server: docs/decisions/0003). So "after digest D" says
//!    of every record of the partition whether it was sent.
//! 2. What a block says of its partitions ([`Touched::take`]) is taken together with the block's records: the last digest
//!    of each partition of which the block, or one before it, holds records. "Done" is said after the last record.
//! 3. A writer puts its blocks into files in the order in which they came, and closes a file before it opens the next. The
//!    advance of a file is the sum of those of the blocks in it, and of blocks without records behind them.
//! 4. An advance is added once its file is closed and durable, and those of the files of one writer in their order. So if
//!    the coverage says "after D", the block with D and all before it of this partition are in closed files.
//!
//! The other way round, a closed file holds no record that is not covered: what is read next begins right behind it, and no
//! record is in two files. Partitions of other writers do not matter: no two writers share one during a read, and the next
//! read begins where the coverage ends, however it spreads the partitions.

use std::collections::{BTreeMap, BTreeSet};

use super::partitions::{PARTITION_COUNT, PartitionSet, partition_of};

/// The digest of a record; it tells the partition.
pub type Digest = [u8; 20];

/// What one block, or one file, adds to what is covered.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Advance {
    /// The last record of each partition.
    cursors: BTreeMap<u16, Digest>,
    /// Partitions that were read to their end.
    done: PartitionSet,
    /// Queries of which records may be among these.
    opened: BTreeSet<u64>,
    /// Queries of which the node has said since that it could read every record.
    vouched: BTreeSet<u64>,
}

impl Advance {
    /// As it was stored.
    pub fn new(
        cursors: impl IntoIterator<Item = Digest>,
        done: PartitionSet,
        opened: impl IntoIterator<Item = u64>,
        vouched: impl IntoIterator<Item = u64>,
    ) -> Self {
        Self {
            cursors: cursors.into_iter().map(|digest| (partition_of(&digest), digest)).collect(),
            done,
            opened: opened.into_iter().collect(),
            vouched: vouched.into_iter().collect(),
        }
    }

    /// Adds what comes right after it, of the same writer.
    pub fn add(&mut self, next: &Self) {
        self.cursors.extend(next.cursors.iter().map(|(pid, digest)| (*pid, *digest)));
        self.done.extend(next.done.iter());
        self.opened.extend(&next.opened);
        self.vouched.extend(&next.vouched);
    }

    /// Whether it says nothing.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// The last record of each partition.
    pub fn cursors(&self) -> impl Iterator<Item = &Digest> {
        self.cursors.values()
    }

    /// Partitions that were read to their end.
    pub const fn done(&self) -> &PartitionSet {
        &self.done
    }

    /// Queries of which records may be among these.
    pub fn opened(&self) -> impl Iterator<Item = u64> {
        self.opened.iter().copied()
    }

    /// Queries that a node has vouched for.
    pub fn vouched(&self) -> impl Iterator<Item = u64> {
        self.vouched.iter().copied()
    }
}

/// What one scan has read since its last block: told of each record, asked once for each block.
#[derive(Debug)]
pub struct Touched {
    /// By partition; says something only of those below.
    last: Vec<Digest>,
    /// Those that were touched.
    partitions: PartitionSet,
    /// The query whose records come now.
    query: Option<u64>,
    news: Advance,
}

impl Default for Touched {
    fn default() -> Self {
        Self {
            last: vec![[0; 20]; usize::from(PARTITION_COUNT)],
            partitions: PartitionSet::empty(),
            query: None,
            news: Advance::default(),
        }
    }
}

impl Touched {
    /// The next record, also one that is left out of the files on purpose.
    pub fn record(&mut self, digest: &Digest) {
        let pid = partition_of(digest);
        if let Some(last) = self.last.get_mut(usize::from(pid)) {
            *last = *digest;
        }
        self.partitions.insert(pid);
    }

    /// From here on the records are those of this query.
    pub fn begin(&mut self, query: u64) {
        self.query = Some(query);
    }

    /// The query has ended: whether its node vouched for it, and the partitions that are read to their end.
    pub fn end(&mut self, query: u64, vouched: bool, done: &PartitionSet) {
        if !self.partitions.is_empty() || !done.is_empty() {
            self.news.opened.insert(query);
        }
        self.news.done.extend(done.iter());
        self.query = None;
        if vouched {
            self.news.vouched.insert(query);
        }
    }

    /// What there is to say of the records up to here, which are handed over with it.
    pub fn take(&mut self) -> Advance {
        let mut advance = std::mem::take(&mut self.news);
        if !self.partitions.is_empty() {
            advance.opened.extend(self.query);
            let last = |pid: u16| self.last.get(usize::from(pid)).map(|digest| (pid, *digest));
            advance.cursors.extend(self.partitions.iter().filter_map(last));
            self.partitions = PartitionSet::empty();
        }
        advance
    }
}

/// What is covered by closed files.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Coverage(Advance);

/// What is left to be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rest {
    /// The partitions that are not covered to their end.
    pub partitions: PartitionSet,
    /// Where some of them go on: after this digest.
    pub after: Vec<Digest>,
}

impl Coverage {
    /// Adds a closed file; those of one writer in the order in which they were closed.
    pub fn add(&mut self, file: &Advance) {
        self.0.add(file);
    }

    /// What is left of `wanted`.
    pub fn rest(&self, wanted: &PartitionSet) -> Rest {
        let partitions: PartitionSet = wanted.iter().filter(|pid| !self.0.done.contains(*pid)).collect();
        let left = |pid: u16| partitions.contains(pid);
        let after = self.0.cursors.iter().filter(|(pid, _)| left(**pid)).map(|(_, digest)| *digest).collect();
        Rest { partitions, after }
    }

    /// The queries of which records are covered, and whose node has not said yet that it could read every record.
    pub fn not_vouched(&self) -> Vec<u64> {
        self.0.opened.difference(&self.0.vouched).copied().collect()
    }
}

#[cfg(test)]
mod tests;
