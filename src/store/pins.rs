//! Pins: what jobs read or build on, which retention leaves alone (rules.md 5.4).
//!
//! A pin is the address of a folder ([`crate::storage::address`]): by the place, not by the name that a storage is
//! configured under, so that two names of one place meet.

use sqlx::sqlite::SqliteRow;
use sqlx::{FromRow, QueryBuilder, Row, Sqlite};

use super::words::at;
use super::{JobId, Tx};
use crate::error::Result;
use crate::model::UnixMillis;

/// One folder that one job needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PinRow {
    /// The job.
    pub job_id: JobId,
    /// The folder: it, what lies in it, and what it lies in.
    pub address: String,
}

impl FromRow<'_, SqliteRow> for PinRow {
    fn from_row(row: &SqliteRow) -> sqlx::Result<Self> {
        Ok(Self { job_id: row.try_get("job_id")?, address: row.try_get("address")? })
    }
}

/// What an incremental builds on that is not settled, or that a listing may not show yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BuildingOn {
    /// The namespace.
    pub namespace: String,
    /// `created` of the backup that it builds on.
    pub from: UnixMillis,
    /// Its own folder.
    pub folder: String,
    /// Whether it is known to have committed.
    pub committed: bool,
}

impl FromRow<'_, SqliteRow> for BuildingOn {
    fn from_row(row: &SqliteRow) -> sqlx::Result<Self> {
        Ok(Self {
            namespace: row.try_get("namespace")?,
            from: at(row, "from_ms")?,
            folder: row.try_get("folder")?,
            committed: row.try_get("committed")?,
        })
    }
}

/// Whether a pin holds the folder at an address: one of both lies in the other, or they are the same.
pub fn holds(pin: &str, address: &str) -> bool {
    is_in(address, pin) || is_in(pin, address)
}

/// Whether `inner` is `outer` or lies in it.
pub(super) fn is_in(inner: &str, outer: &str) -> bool {
    inner.strip_prefix(outer).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// SQLite binds at most 32,766 values in one statement; a pin has 2.
const ROWS_PER_INSERT: usize = 10_000;

impl Tx {
    /// Every pin of a job that has not ended.
    pub async fn pins(&mut self) -> Result<Vec<PinRow>> {
        Ok(sqlx::query_as(
            "SELECT p.job_id, p.address FROM pins p JOIN jobs j ON j.id = p.job_id WHERE j.finished_ms IS NULL \
             ORDER BY p.job_id, p.address",
        )
        .fetch_all(&mut *self.0)
        .await?)
    }

    /// Writes pins; one that is there already stays.
    pub async fn insert_pins(&mut self, pins: &[PinRow]) -> Result<()> {
        for pins in pins.chunks(ROWS_PER_INSERT) {
            let mut insert = QueryBuilder::<Sqlite>::new("INSERT OR IGNORE INTO pins (job_id, address) ");
            insert.push_values(pins, |mut row, pin| {
                row.push_bind(pin.job_id).push_bind(&pin.address);
            });
            insert.build().persistent(false).execute(&mut *self.0).await?;
        }
        Ok(())
    }

    /// Drops every pin of a job.
    pub async fn drop_pins(&mut self, job: JobId) -> Result<()> {
        sqlx::query("DELETE FROM pins WHERE job_id = ?").bind(job).execute(&mut *self.0).await?;
        Ok(())
    }

    /// The oldest backup of a routine that has not ended; none running, the next job. What commits after this was asked
    /// is of a job at or after it.
    pub async fn oldest_open_backup(&mut self, routine: &str) -> Result<JobId> {
        let oldest: Option<JobId> = sqlx::query_scalar(
            "SELECT min(id) FROM jobs WHERE routine = ? AND kind = 'backup' AND finished_ms IS NULL",
        )
        .bind(routine)
        .fetch_one(&mut *self.0)
        .await?;
        match oldest {
            Some(oldest) => Ok(oldest),
            None => self.next_job_id().await,
        }
    }

    /// What incrementals of a routine build on whose end storage has not settled (rules.md 6.1), or that have committed
    /// in a job at or after `since`.
    pub async fn building_on(&mut self, routine: &str, since: JobId) -> Result<Vec<BuildingOn>> {
        Ok(sqlx::query_as(
            "SELECT a.namespace, a.from_ms, a.folder, a.status = 'committed' AS committed \
             FROM jobs j JOIN attempts a ON a.job_id = j.id WHERE j.routine = ? AND a.from_ms IS NOT NULL \
             AND (a.status IN ('running', 'unknown') OR (a.status = 'committed' AND j.id >= ?))",
        )
        .bind(routine)
        .bind(since)
        .fetch_all(&mut *self.0)
        .await?)
    }

    /// Whether a job or an attempt that is not settled works in a run's folder.
    pub async fn run_is_open(&mut self, routine: &str, created: UnixMillis) -> Result<bool> {
        Ok(sqlx::query_scalar(
            "SELECT EXISTS (SELECT 1 FROM jobs j WHERE j.routine = ? AND j.created_ms = ? AND (j.finished_ms IS NULL \
             OR EXISTS (SELECT 1 FROM attempts a WHERE a.job_id = j.id AND a.status IN ('running', 'unknown'))))",
        )
        .bind(routine)
        .bind(created.0)
        .fetch_one(&mut *self.0)
        .await?)
    }
}

#[cfg(test)]
mod tests {
    use super::holds;

    /// rules.md 5.4
    #[test]
    fn a_pin_holds_what_lies_in_it_and_what_it_lies_in() {
        let backup = "local storage /b/r/backup/1/data/ns";
        for pin in ["local storage /b", "local storage /b/r", backup, "local storage /b/r/backup/1/data/ns/x"]
        {
            assert!(holds(pin, backup), "{pin}");
        }
        for other in
            ["local storage /c/r", "local storage /b/r2", "local storage /b/r/backup/1/data/ns.2", "x"]
        {
            assert!(!holds(other, backup), "{other}");
        }
    }
}
