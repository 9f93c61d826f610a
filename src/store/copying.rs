//! Folders of copies that are being made, so that after a crash every one that may need cleaning is known (rules.md 6.1).

use sqlx::sqlite::SqliteRow;
use sqlx::{FromRow, Row};

use super::words::at;
use super::{JobId, Store, Tx};
use crate::error::Result;
use crate::model::UnixMillis;

/// A folder in which a copy is being made, or was when the process ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CopyingRow {
    /// The folder with the place of its storage: see [`crate::storage::address`].
    pub address: String,
    /// The job that works in it, or did last.
    pub job_id: JobId,
    /// The routine.
    pub routine: String,
    /// The storage that it lies in, by its configured name.
    pub storage: String,
    /// The folder, below the storage's root.
    pub folder: String,
    /// When that job began with it.
    pub started: UnixMillis,
}

impl FromRow<'_, SqliteRow> for CopyingRow {
    fn from_row(row: &SqliteRow) -> sqlx::Result<Self> {
        Ok(Self {
            address: row.try_get("address")?,
            job_id: row.try_get("job_id")?,
            routine: row.try_get("routine")?,
            storage: row.try_get("storage")?,
            folder: row.try_get("folder")?,
            started: at(row, "started_ms")?,
        })
    }
}

impl Store {
    /// Every folder in which a copy is being made, or was.
    pub async fn copying(&self) -> Result<Vec<CopyingRow>> {
        Ok(sqlx::query_as("SELECT * FROM copying ORDER BY address").fetch_all(self.reader()).await?)
    }
}

impl Tx {
    /// What is noted of a folder.
    pub async fn copying_at(&mut self, address: &str) -> Result<Option<CopyingRow>> {
        Ok(sqlx::query_as("SELECT * FROM copying WHERE address = ?")
            .bind(address)
            .fetch_optional(&mut *self.0)
            .await?)
    }

    /// Notes a folder before its first use; who goes on in one takes its row over.
    pub async fn begin_copying(&mut self, row: &CopyingRow) -> Result<()> {
        sqlx::query(
            "INSERT OR REPLACE INTO copying (address, job_id, routine, storage, folder, started_ms) \
             VALUES (?, ?, ?, ?, ?, ?)",
        )
        .bind(&row.address)
        .bind(row.job_id)
        .bind(&row.routine)
        .bind(&row.storage)
        .bind(&row.folder)
        .bind(row.started.0)
        .execute(&mut *self.0)
        .await?;
        Ok(())
    }

    /// The copy is committed, or its folder removed.
    pub async fn end_copying(&mut self, address: &str) -> Result<()> {
        sqlx::query("DELETE FROM copying WHERE address = ?").bind(address).execute(&mut *self.0).await?;
        Ok(())
    }
}
