//! The job store: one SQLite file in the state directory (rules.md 2.7). All SQL of the program lives in this room,
//! one file per table.
//!
//! Reads go through a small pool and see committed rows only. Writes go through [`Tx`], one `BEGIN IMMEDIATE`
//! transaction on the one writer connection; nothing of it exists before [`Tx::commit`].

pub mod attempts;
pub mod audit;
pub mod catalog;
pub mod check;
pub mod checkpoints;
pub mod claims;
pub mod copying;
pub mod deletions;
pub mod destinations;
pub mod digests;
pub mod document;
mod heads;
pub mod jobs;
mod listings;
pub mod meta;
mod open;
pub mod pins;
pub mod progress;
mod prune;
pub mod query;
pub mod rebuild;
pub mod schedules;
pub mod slots;
pub mod verifications;
mod words;

#[cfg(test)]
mod tests;

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use sqlx::{Sqlite, SqlitePool, Transaction};

pub use attempts::{AttemptEnd, AttemptRow, AttemptStart, AttemptStatus};
pub use audit::{AuditEnd, AuditFilter, AuditInsert, AuditRow};
pub use catalog::{CatalogBackup, CatalogReading, CatalogRow, CatalogState, UnreadFolder};
pub use checkpoints::{CheckpointFile, CheckpointRow};
pub use claims::{ClaimRow, EVERY_NAMESPACE};
pub use copying::CopyingRow;
pub use deletions::DeletionRow;
pub use digests::DigestTable;
pub use document::{Document, WithoutSecrets};
pub use heads::JobHead;
pub use jobs::{JobEnd, JobId, JobInsert, JobRow, RequestKey, Trigger, Warning};
pub use listings::{CatalogFailure, CatalogListing};
pub use meta::KnownRoot;
pub use pins::{BuildingOn, PinRow, holds};
pub use progress::ProgressRow;
pub use prune::{HistoryLimits, Pruned};
pub use query::{Active, JobFilter, JobPage, Room};
pub use schedules::ScheduleRow;
pub use slots::{SlotId, SlotInsert, SlotRow, SlotState};
pub use verifications::{VerificationRow, VerifyOutcome};

use crate::clock::SharedClock;
use crate::error::{Error, Result};

/// The job store; cheap to clone.
#[derive(Debug, Clone)]
pub struct Store(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    path: PathBuf,
    writer: SqlitePool,
    reader: SqlitePool,
    /// Held until the store is closed: the proof that we are alone (rules.md 2.6).
    lock: File,
}

impl Store {
    /// Opens the store in `state_dir`, creating and migrating it where needed, and locks it against every other
    /// process until [`Store::close`] or the end of this one.
    ///
    /// Errors: `state-dir` (not creatable), `store-locked`, `store-newer`, `store-corrupt`.
    pub async fn open(state_dir: &Path, clock: &SharedClock) -> Result<Self> {
        open::open(state_dir, clock).await.map(|inner| Self(Arc::new(inner)))
    }

    /// Closes every connection, then frees the lock; clones of this store fail from here on.
    pub async fn close(&self) -> Result<()> {
        self.0.reader.close().await;
        self.0.writer.close().await;
        self.0.lock.unlock().map_err(|error| {
            Error::temporary("store-io", "free the lock of the state directory").source(error)
        })
    }

    /// The database file.
    pub fn path(&self) -> &Path {
        &self.0.path
    }

    /// Begins a transaction that may write; it waits for the writer before it.
    pub async fn write(&self) -> Result<Tx> {
        Ok(Tx(self.0.writer.begin_with("BEGIN IMMEDIATE").await?))
    }

    fn reader(&self) -> &SqlitePool {
        &self.0.reader
    }
}

/// One write transaction; dropped without [`Tx::commit`] it leaves nothing.
#[derive(Debug)]
pub struct Tx(Transaction<'static, Sqlite>);

impl Tx {
    /// Makes everything of this transaction durable.
    pub async fn commit(self) -> Result<()> {
        let commit = async { Ok(self.0.commit().await?) };
        #[cfg(feature = "fault-injection")]
        let commit = crate::fault::call(crate::fault::Call::STORE_COMMIT, "", commit);
        commit.await
    }
}

impl From<sqlx::Error> for Error {
    fn from(error: sqlx::Error) -> Self {
        // Primary result codes: https://www.sqlite.org/rescode.html; extended ones carry them in the low byte.
        let primary = error
            .as_database_error()
            .and_then(sqlx::error::DatabaseError::code)
            .and_then(|code| code.parse::<i32>().ok())
            .map(|code| code & 0xff);
        let (code, temporary, message) = match primary {
            Some(5 | 6) => ("store-busy", true, "the job store is busy"),
            Some(8) => ("store-read-only", false, "the job store cannot be written"),
            Some(10) => ("store-io", true, "the job store could not be read or written"),
            Some(11 | 26) => return corrupt(error),
            Some(13) => ("store-full", true, "no space is left for the job store"),
            Some(14) => ("store-io", true, "the job store could not be opened"),
            Some(19) => ("store-conflict", false, "the job store refused a row"),
            _ if matches!(error, sqlx::Error::PoolTimedOut | sqlx::Error::PoolClosed) => {
                ("store-busy", true, "the job store is busy or closed")
            }
            _ => ("store-query", false, "a statement of the job store failed"),
        };
        if temporary { Self::temporary(code, message) } else { Self::permanent(code, message) }.source(error)
    }
}

/// What is said of a store whose file is damaged.
pub(crate) fn corrupt(cause: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Error {
    Error::permanent("store-corrupt", "the job store is damaged").source(cause).hint(
        "Run `holdfast store rebuild --config FILE`: it sets the damaged files aside, makes a new store and lists what \
         storage has; no backup is lost by it.",
    )
}
