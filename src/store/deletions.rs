//! Deletions: backups that are marked, and so out of every chain, until they are gone (rules.md 5.3).

use std::collections::BTreeSet;

use sqlx::sqlite::SqliteRow;
use sqlx::{FromRow, QueryBuilder, Row, Sqlite};

use super::pins::is_in;
use super::words::{at, count, stored, word};
use super::{JobId, Store, Tx};
use crate::error::Result;
use crate::model::{BackupType, UnixMillis};

/// A backup that is being deleted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeletionRow {
    /// Its folder with its place: see [`crate::storage::address`].
    pub address: String,
    /// Its storage: see [`crate::storage::Storage::describe`].
    pub place: String,
    /// Its storage, by its configured name.
    pub storage: Option<String>,
    /// Its routine.
    pub routine: String,
    /// Full or incremental.
    pub backup_type: BackupType,
    /// Its folder, below the storage's root.
    pub folder: String,
    /// Its namespace.
    pub namespace: String,
    /// `created` of its run.
    pub created: UnixMillis,
    /// Bytes in storage.
    pub bytes: u64,
    /// When it was marked.
    pub marked: UnixMillis,
    /// The job that marked it.
    pub job_id: JobId,
}

impl FromRow<'_, SqliteRow> for DeletionRow {
    fn from_row(row: &SqliteRow) -> sqlx::Result<Self> {
        Ok(Self {
            address: row.try_get("address")?,
            place: row.try_get("place")?,
            storage: row.try_get("storage")?,
            routine: row.try_get("routine")?,
            backup_type: word(row, "type", BackupType::parse)?,
            folder: row.try_get("folder")?,
            namespace: row.try_get("namespace")?,
            created: at(row, "created_ms")?,
            bytes: count(row, "bytes")?,
            marked: at(row, "marked_ms")?,
            job_id: row.try_get("job_id")?,
        })
    }
}

/// SQLite binds at most 32,766 values in one statement; a deletion has 11.
const ROWS_PER_INSERT: usize = 2000;

impl Store {
    /// Every backup that is being deleted, by routine.
    pub async fn deletions(&self) -> Result<Vec<DeletionRow>> {
        Ok(sqlx::query_as("SELECT * FROM deletions ORDER BY routine, job_id, address")
            .fetch_all(self.reader())
            .await?)
    }

    /// The folders of a storage that are being deleted, by key. Ask before storage is listed: then a folder that is
    /// listed and not marked was not being deleted.
    pub async fn marked(&self, place: &str) -> Result<BTreeSet<String>> {
        let all: Vec<String> =
            sqlx::query_scalar("SELECT address FROM deletions").fetch_all(self.reader()).await?;
        let place = place.trim_end_matches('/');
        let key = |address: &String| {
            Some(address.strip_prefix(place)?.strip_prefix('/')?.to_owned()).filter(|key| !key.is_empty())
        };
        Ok(all.iter().filter_map(key).collect())
    }
}

impl Tx {
    /// The deletion that a folder is, or lies in.
    pub async fn deletion_of(&mut self, address: &str) -> Result<Option<DeletionRow>> {
        let all: Vec<DeletionRow> = sqlx::query_as("SELECT * FROM deletions").fetch_all(&mut *self.0).await?;
        Ok(all.into_iter().find(|row| is_in(address, &row.address)))
    }

    /// What is being deleted of a routine at a place, in the order of deletion: dependents first, newest first, fulls
    /// last (rules.md 5.3); of several attempts of a run the one that counts last.
    pub async fn deletions_at(&mut self, place: &str, routine: &str) -> Result<Vec<DeletionRow>> {
        Ok(sqlx::query_as(
            "SELECT * FROM deletions WHERE place = ? AND routine = ? \
             ORDER BY type = 'full', created_ms DESC, address",
        )
        .bind(place)
        .bind(routine)
        .fetch_all(&mut *self.0)
        .await?)
    }

    /// Marks backups; the caller has checked, in this transaction, that nothing pins them.
    pub async fn insert_deletions(&mut self, rows: &[DeletionRow]) -> Result<()> {
        for rows in rows.chunks(ROWS_PER_INSERT) {
            let mut insert = QueryBuilder::<Sqlite>::new(
                "INSERT OR IGNORE INTO deletions (address, place, storage, routine, type, folder, namespace, created_ms, \
                 bytes, marked_ms, job_id) ",
            );
            insert.push_values(rows, |mut values, row| {
                values
                    .push_bind(&row.address)
                    .push_bind(&row.place)
                    .push_bind(&row.storage)
                    .push_bind(&row.routine)
                    .push_bind(row.backup_type.as_str())
                    .push_bind(&row.folder)
                    .push_bind(&row.namespace)
                    .push_bind(row.created.0)
                    .push_bind(stored(row.bytes))
                    .push_bind(row.marked.0)
                    .push_bind(row.job_id);
            });
            insert.build().persistent(false).execute(&mut *self.0).await?;
        }
        Ok(())
    }

    /// The backup at an address is gone.
    pub async fn end_deletion(&mut self, address: &str) -> Result<()> {
        self.note_deleted(address).await?;
        sqlx::query("DELETE FROM deletions WHERE address = ?").bind(address).execute(&mut *self.0).await?;
        Ok(())
    }
}
