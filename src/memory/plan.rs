//! What a job of each kind wishes to hold and needs at least, and how wide its stages are with what it got. Pure.

use super::mib;
use crate::error::{Error, Result};

const MIB: u64 = 1 << 20;

/// The most that any server stores in one record: `max-record-size` goes no higher.
pub const RECORD_BYTES_MAX: u64 = 8 * MIB;

/// The most that a server stores in one record where it was told nothing; what a wish goes by.
pub const RECORD_BYTES: u64 = MIB;

/// What a server sends of a scan at once (1 MiB), and the text that is made of it.
const SCAN_BYTES: u64 = 2 * MIB;

/// Of each open file: two blocks of text that wait and the one in hand, each about a frame, and two pieces of 1 MiB of
/// stored bytes, of which one is being filled.
const FILE_BYTES: u64 = 5 * MIB;

/// What storage holds of a local file while it is written: one piece.
const PIECE_BYTES: u64 = MIB;

/// Parts of a file that an object store's writer holds at once: one is filled, one is sent.
const PARTS_HELD: u64 = 2;

/// Of each file that is read: a block of 4 MiB until its hash agrees, and what storage gave with its end.
const READ_BYTES: u64 = 5 * MIB;

/// The rows of one batch while they are gathered.
const BATCH_BYTES: u64 = MIB;

/// What a restore wishes for batches on their way.
const IN_FLIGHT_BYTES: u64 = 16 * MIB;

/// Files that a verification reads at once: enough to keep a disk or an object store busy beside backups.
pub const VERIFY_READERS: usize = 4;

/// Files that a copy has on their way at once: enough to hide the latency of an object store.
pub const COPY_FILES: usize = 4;

/// Object stores take at most 10,000 parts of a file; the rest is for what one block may bring at once.
const PARTS_MAX: u64 = 9_900;

/// What a job wishes, and what it cannot do without, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Need {
    /// With this all its stages are as wide as they were asked to be.
    pub wish: u64,
    /// Less than this is of no use.
    pub least: u64,
}

/// What a backup was asked for, as far as memory goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BackupMemory {
    /// `parallel`: scans at once over all namespaces.
    pub parallel: u32,
    /// `parallel-write`: files at once over all namespaces; never more than scans.
    pub parallel_write: u32,
    /// The size of the parts in which storage takes a file; none: it takes it as it comes.
    pub part_bytes: Option<u64>,
}

/// How wide the stages of a backup are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BackupWidths {
    /// Namespaces at once; the others wait for their turn.
    pub namespaces: usize,
    /// Scans of each.
    pub connections: usize,
    /// Files of each.
    pub writers: usize,
}

impl BackupMemory {
    /// One scan: a frame, one record beyond its end, and the text of it.
    pub const fn connection(record_bytes: u64) -> u64 {
        SCAN_BYTES + record_bytes
    }

    /// One file that is written.
    pub const fn writer(&self) -> u64 {
        FILE_BYTES.saturating_add(match self.part_bytes {
            Some(part) => part.saturating_mul(PARTS_HELD),
            None => PIECE_BYTES,
        })
    }

    fn writers(&self) -> u64 {
        u64::from(self.parallel_write.min(self.parallel))
    }

    /// What it wishes and needs before the cluster was asked for anything.
    pub fn need(&self) -> Need {
        self.need_of(1, RECORD_BYTES)
    }

    /// What it wishes and needs for so many namespaces, each with one scan and one file at least.
    pub fn need_of(&self, namespaces: usize, record_bytes: u64) -> Need {
        let namespaces = u64::try_from(namespaces).unwrap_or(u64::MAX);
        let least = Self::connection(RECORD_BYTES_MAX).saturating_add(self.writer());
        let connections =
            u64::from(self.parallel).max(namespaces).saturating_mul(Self::connection(record_bytes));
        let writers = self.writers().max(namespaces).saturating_mul(self.writer());
        Need { wish: connections.saturating_add(writers).max(least), least }
    }

    /// The widths that fit a share, if no record is larger than `record_bytes`: as many namespaces side by side as have
    /// room; of files and scans those are lowered that weigh more.
    pub fn widths(&self, share: u64, namespaces: usize, record_bytes: u64) -> BackupWidths {
        let (connection, writer) = (Self::connection(record_bytes), self.writer());
        let lanes = lanes(share, connection.saturating_add(writer), namespaces);
        let lane = share / lanes;
        let wished = u64::from(self.parallel).div_euclid(lanes).max(1);
        let writers_wished = u64::from(self.parallel_write).div_euclid(lanes).clamp(1, wished);
        let (mut connections, mut writers) = (wished, writers_wished);
        while connections * connection + writers.saturating_mul(writer) > lane && connections > 1 {
            // One of those that weigh more: large parts cost files, large records cost scans.
            if writers > 1 && writers.saturating_mul(writer) >= connections * connection {
                writers -= 1;
            } else {
                connections -= 1;
                writers = writers.min(connections);
            }
        }
        BackupWidths {
            namespaces: to_usize(lanes),
            connections: to_usize(connections),
            writers: to_usize(writers),
        }
    }

    /// What is said where a share made the stages narrower than the policy asks; none: it did not.
    pub fn lowered(&self, widths: &BackupWidths, share: u64, namespaces: usize) -> Option<String> {
        let asked = self.widths(u64::MAX, namespaces, RECORD_BYTES);
        let mut parts = Vec::new();
        if widths.namespaces < asked.namespaces {
            parts.push(format!("{} of {} namespaces at once", widths.namespaces, asked.namespaces));
        }
        let all = |widths: &BackupWidths, each: usize| widths.namespaces * each;
        let (files, files_asked) = (all(widths, widths.writers), all(&asked, asked.writers));
        if files < files_asked {
            parts.push(format!("{files} files instead of {files_asked} (parallel-write)"));
        }
        let (scans, scans_asked) = (all(widths, widths.connections), all(&asked, asked.connections));
        if scans < scans_asked {
            parts.push(format!("{scans} scans instead of {scans_asked} (parallel)"));
        }
        (!parts.is_empty()).then(|| format!("with {} of the memory budget: {}", mib(share), parts.join(", ")))
    }

    /// How the sums come about, for people.
    pub fn describe(&self) -> String {
        let need = self.need();
        let (connection, least) = (Self::connection(RECORD_BYTES), Self::connection(RECORD_BYTES_MAX));
        format!(
            "wishes {} ({} scans of {}, {} files of {}), needs {} ({} + {})",
            mib(need.wish),
            self.parallel,
            mib(connection),
            self.writers(),
            mib(self.writer()),
            mib(need.least),
            mib(least),
            mib(self.writer())
        )
    }
}

/// What a restore was asked for, as far as memory goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RestoreMemory {
    /// `parallel`: files at once over all namespaces.
    pub parallel: u32,
}

/// How wide the stages of a restore are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RestoreWidths {
    /// Namespaces at once; the others wait for their turn.
    pub namespaces: usize,
    /// Files of each.
    pub readers: usize,
    /// Bytes of batches on their way, of each.
    pub in_flight: u64,
}

impl RestoreMemory {
    /// The least of any restore; this much is kept free of all other jobs.
    pub const LEAST: u64 = Self::reader(RECORD_BYTES_MAX) + Self::batch(RECORD_BYTES_MAX);

    /// One file that is read: its block, a record of it, and the batch that is being filled.
    pub const fn reader(record_bytes: u64) -> u64 {
        READ_BYTES + record_bytes + BATCH_BYTES + record_bytes
    }

    /// One batch on its way: its rows, and the request made of them.
    pub const fn batch(record_bytes: u64) -> u64 {
        2 * (BATCH_BYTES + record_bytes)
    }

    /// What it wishes and needs before storage and the cluster were asked for anything.
    pub fn need(&self) -> Need {
        self.need_of(1, RECORD_BYTES)
    }

    /// What it wishes and needs for so many namespaces, each with one file and one batch at least.
    pub fn need_of(&self, namespaces: usize, record_bytes: u64) -> Need {
        let namespaces = u64::try_from(namespaces).unwrap_or(u64::MAX);
        let readers = u64::from(self.parallel).max(namespaces).saturating_mul(Self::reader(record_bytes));
        let in_flight = namespaces.saturating_mul(Self::batch(record_bytes)).max(IN_FLIGHT_BYTES);
        Need { wish: readers.saturating_add(in_flight).max(Self::LEAST), least: Self::LEAST }
    }

    /// The widths that fit a share, if no record is larger than `record_bytes`; what readers leave is for batches.
    pub fn widths(&self, share: u64, namespaces: usize, record_bytes: u64) -> RestoreWidths {
        let (reader, batch) = (Self::reader(record_bytes), Self::batch(record_bytes));
        let lanes = lanes(share, reader + batch, namespaces);
        let lane = share / lanes;
        let wished = u64::from(self.parallel).div_euclid(lanes).max(1);
        let readers = room(lane, batch, reader, wished);
        RestoreWidths {
            namespaces: to_usize(lanes),
            readers: to_usize(readers),
            in_flight: lane.saturating_sub(readers * reader).max(batch),
        }
    }
}

/// What a verification was asked for, as far as memory goes: nothing, it is always the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct VerifyMemory;

impl VerifyMemory {
    /// One file that is read: its block, and a record of it.
    const fn reader(record_bytes: u64) -> u64 {
        READ_BYTES + record_bytes
    }

    /// What it wishes and needs.
    pub const fn need() -> Need {
        Need {
            wish: VERIFY_READERS as u64 * Self::reader(RECORD_BYTES),
            least: Self::reader(RECORD_BYTES_MAX),
        }
    }

    /// Files at once that fit a share.
    pub fn readers(share: u64) -> usize {
        to_usize(room(share, 0, Self::reader(RECORD_BYTES), VERIFY_READERS as u64))
    }
}

/// What a copy was asked for, as far as memory goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CopyMemory {
    /// The size of the parts in which the target takes a file; none: it takes it as it comes.
    pub part_bytes: Option<u64>,
}

impl CopyMemory {
    /// One file on its way: the piece that was read and the next one, and what the target's writer holds.
    pub const fn file(&self) -> u64 {
        (2 * MIB).saturating_add(match self.part_bytes {
            Some(part) => part.saturating_mul(PARTS_HELD),
            None => PIECE_BYTES,
        })
    }

    /// What it wishes and needs.
    pub const fn need(&self) -> Need {
        Need { wish: self.file().saturating_mul(COPY_FILES as u64), least: self.file() }
    }

    /// Files at once that fit a share.
    pub fn files(&self, share: u64) -> usize {
        to_usize(room(share, 0, self.file(), COPY_FILES as u64))
    }
}

impl Need {
    /// An estimate, which scans a sample of the records by one connection.
    pub const ESTIMATE: Self = {
        let bytes = BackupMemory::connection(RECORD_BYTES_MAX);
        Self { wish: bytes, least: bytes }
    };

    /// What a job gets of `free` bytes: its wish if that is free, else all but what one more like it needs, or all where
    /// there is no room for two; none if not even its least is free.
    pub fn of(&self, free: u64) -> Option<u64> {
        if self.wish <= free {
            return Some(self.wish);
        }
        let left = free.checked_sub(self.least)?;
        Some(if left < self.least { free } else { left })
    }

    /// Refuses what would not fit `most` bytes even if all of them were free: `memory-budget`.
    pub fn check(&self, most: u64) -> Result<()> {
        if self.least <= most {
            return Ok(());
        }
        let text = format!(
            "it needs {} of memory, and service.memory-budget leaves {} for jobs of its kind",
            mib(self.least),
            mib(most)
        );
        Err(Error::permanent("memory-budget", text)
            .hint("Raise service.memory-budget, or lower min-part-size of the storage."))
    }
}

/// The size at which a file is closed, in bytes (0: never), so that it has fewer than 10,000 parts (rules.md 8.1).
pub const fn file_limit(asked: u64, part_bytes: Option<u64>) -> u64 {
    let Some(part) = part_bytes else { return asked };
    let most = part.saturating_mul(PARTS_MAX);
    if asked == 0 || asked > most { most } else { asked }
}

/// How many namespaces fit side by side.
fn lanes(share: u64, least: u64, namespaces: usize) -> u64 {
    let namespaces = u64::try_from(namespaces).unwrap_or(u64::MAX).max(1);
    (share / least.max(1)).clamp(1, namespaces)
}

/// How many of `each` fit beside `taken`, up to `wished`; at least one.
fn room(lane: u64, taken: u64, each: u64, wished: u64) -> u64 {
    (lane.saturating_sub(taken) / each.max(1)).clamp(1, wished.max(1))
}

fn to_usize(number: u64) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests;
