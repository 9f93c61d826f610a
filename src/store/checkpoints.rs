//! Checkpoints: what a try of a namespace has finished, for another try to go on from (rules.md 6.3).
//!
//! A row belongs to one try, is written with it, and moves to the try that goes on. A file is noted only once it is closed
//! and durable. A try that has ended, has a row here and did not commit, has its folder kept.

use sqlx::sqlite::SqliteRow;
use sqlx::{FromRow, Row};

use super::words::{at, count, stored};
use super::{AttemptRow, JobId, Store, Tx};
use crate::error::Result;
use crate::model::coverage::Advance;
use crate::model::{PartitionSet, UnixMillis};

/// The checkpoint of one try.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CheckpointRow {
    /// The job.
    pub job_id: JobId,
    /// The namespace.
    pub namespace: String,
    /// Which try of the namespace.
    pub attempt: u32,
    /// The folder of that try.
    pub folder: String,
    /// The hash of everything that a try must not differ in to go on with it.
    pub key: String,
    /// The lower bound that the next incremental must use, as the first try found it (rules.md 3.2).
    pub safe_from: UnixMillis,
    /// `created` of the run.
    pub created: UnixMillis,
}

impl FromRow<'_, SqliteRow> for CheckpointRow {
    fn from_row(row: &SqliteRow) -> sqlx::Result<Self> {
        Ok(Self {
            job_id: row.try_get("job_id")?,
            namespace: row.try_get("namespace")?,
            attempt: row.try_get("attempt")?,
            folder: row.try_get("folder")?,
            key: row.try_get("key")?,
            safe_from: at(row, "safe_from_ms")?,
            created: at(row, "created_ms")?,
        })
    }
}

/// A file that was closed and is durable, and what it covers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CheckpointFile {
    /// Its name in the folder.
    pub name: String,
    /// Stored bytes.
    pub size_bytes: u64,
    /// Records in it.
    pub records: u64,
    /// Records left out because the format cannot hold them (rules.md 3.13).
    pub unsupported: u64,
    /// Whether it is the one that is marked as the first of the backup.
    pub first: bool,
    /// The hash of each of its blocks (rules.md 3.11).
    pub blocks: Vec<[u8; 32]>,
    /// What it adds to what is covered.
    pub advance: Advance,
}

impl FromRow<'_, SqliteRow> for CheckpointFile {
    fn from_row(row: &SqliteRow) -> sqlx::Result<Self> {
        let queries = |column| chunks::<8>(row, column).map(|all| all.into_iter().map(u64::from_be_bytes));
        let done: PartitionSet = row.try_get::<&str, _>("done")?.parse().map_err(|error| {
            sqlx::Error::ColumnDecode { index: "done".to_owned(), source: Box::new(error) }
        })?;
        Ok(Self {
            name: row.try_get("name")?,
            size_bytes: count(row, "size_bytes")?,
            records: count(row, "records")?,
            unsupported: count(row, "unsupported")?,
            first: row.try_get("first")?,
            blocks: chunks::<32>(row, "blocks")?,
            advance: Advance::new(
                chunks::<20>(row, "cursors")?,
                done,
                queries("opened")?,
                queries("vouched")?,
            ),
        })
    }
}

fn chunks<const N: usize>(row: &SqliteRow, column: &str) -> sqlx::Result<Vec<[u8; N]>> {
    let bytes: &[u8] = row.try_get(column)?;
    Ok(bytes.as_chunks::<N>().0.to_vec())
}

impl Store {
    /// The files that a try has noted, in the order in which they were closed.
    pub async fn checkpoint_files(&self, row: &CheckpointRow) -> Result<Vec<CheckpointFile>> {
        Ok(sqlx::query_as(
            "SELECT * FROM checkpoint_files WHERE job_id = ? AND namespace = ? AND attempt = ? ORDER BY id",
        )
        .bind(row.job_id)
        .bind(&row.namespace)
        .bind(row.attempt)
        .fetch_all(self.reader())
        .await?)
    }

    /// Whether a try has noted a file: another one could go on from it.
    pub async fn has_checkpoint(&self, attempt: &AttemptRow) -> Result<bool> {
        Ok(sqlx::query_scalar(
            "SELECT EXISTS (SELECT 1 FROM checkpoint_files WHERE job_id = ? AND namespace = ? AND attempt = ?)",
        )
        .bind(attempt.job_id)
        .bind(&attempt.start.namespace)
        .bind(attempt.attempt)
        .fetch_one(self.reader())
        .await?)
    }

    /// The checkpoints of tries that have ended without a commit, and whose run no open job goes on with.
    pub async fn kept_checkpoints(&self) -> Result<Vec<CheckpointRow>> {
        Ok(sqlx::query_as(
            "SELECT c.*, a.folder, a.created_ms FROM checkpoints c JOIN jobs j ON j.id = c.job_id \
             JOIN attempts a ON a.job_id = c.job_id AND a.namespace = c.namespace AND a.attempt = c.attempt \
             WHERE a.status NOT IN ('running', 'unknown') AND NOT EXISTS (SELECT 1 FROM jobs o \
             WHERE o.routine = j.routine AND o.created_ms = j.created_ms AND o.finished_ms IS NULL)",
        )
        .fetch_all(self.reader())
        .await?)
    }
}

impl Tx {
    /// What a try of a namespace of a run that has ended has kept; none if nothing is, or storage has not said yet.
    pub async fn checkpoint_of_run(
        &mut self,
        routine: &str,
        created: UnixMillis,
        namespace: &str,
    ) -> Result<Option<CheckpointRow>> {
        Ok(sqlx::query_as(
            "SELECT c.*, a.folder, a.created_ms FROM checkpoints c JOIN jobs j ON j.id = c.job_id \
             JOIN attempts a ON a.job_id = c.job_id AND a.namespace = c.namespace AND a.attempt = c.attempt \
             WHERE j.routine = ? AND a.created_ms = ? AND c.namespace = ? \
             AND a.status NOT IN ('running', 'unknown') ORDER BY c.job_id DESC, c.attempt DESC LIMIT 1",
        )
        .bind(routine)
        .bind(created.0)
        .bind(namespace)
        .fetch_optional(&mut *self.0)
        .await?)
    }

    /// Writes the checkpoint of a try that begins anew; it has no files yet.
    pub async fn insert_checkpoint(
        &mut self,
        attempt: &AttemptRow,
        key: &str,
        safe_from: UnixMillis,
    ) -> Result<()> {
        sqlx::query(
            "INSERT INTO checkpoints (job_id, namespace, attempt, key, safe_from_ms) VALUES (?, ?, ?, ?, ?)",
        )
        .bind(attempt.job_id)
        .bind(&attempt.start.namespace)
        .bind(attempt.attempt)
        .bind(key)
        .bind(safe_from.0)
        .execute(&mut *self.0)
        .await?;
        Ok(())
    }

    /// Gives a checkpoint with its files to the try that goes on. The lower bound only ever falls: the records of the
    /// first try were read under its clocks.
    pub async fn move_checkpoint(
        &mut self,
        row: &CheckpointRow,
        attempt: &AttemptRow,
        safe_from: UnixMillis,
    ) -> Result<()> {
        sqlx::query(
            "UPDATE checkpoints SET job_id = ?, attempt = ?, safe_from_ms = min(safe_from_ms, ?) \
             WHERE job_id = ? AND namespace = ? AND attempt = ?",
        )
        .bind(attempt.job_id)
        .bind(attempt.attempt)
        .bind(safe_from.0)
        .bind(row.job_id)
        .bind(&row.namespace)
        .bind(row.attempt)
        .execute(&mut *self.0)
        .await?;
        Ok(())
    }

    /// Notes files that are closed and durable.
    pub async fn note_files(&mut self, attempt: &AttemptRow, files: &[CheckpointFile]) -> Result<()> {
        for file in files {
            let advance = &file.advance;
            let queries =
                |all: &mut dyn Iterator<Item = u64>| -> Vec<u8> { all.flat_map(u64::to_be_bytes).collect() };
            sqlx::query(
                "INSERT INTO checkpoint_files (job_id, namespace, attempt, name, size_bytes, records, unsupported, \
                 first, blocks, cursors, done, opened, vouched) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            )
            .bind(attempt.job_id)
            .bind(&attempt.start.namespace)
            .bind(attempt.attempt)
            .bind(&file.name)
            .bind(stored(file.size_bytes))
            .bind(stored(file.records))
            .bind(stored(file.unsupported))
            .bind(file.first)
            .bind(file.blocks.as_flattened())
            .bind(advance.cursors().flatten().copied().collect::<Vec<u8>>())
            .bind(advance.done().to_string())
            .bind(queries(&mut advance.opened()))
            .bind(queries(&mut advance.vouched()))
            .execute(&mut *self.0)
            .await?;
        }
        Ok(())
    }

    /// Forgets the files of a try: they are damaged, or gone.
    pub async fn forget_files(&mut self, attempt: &AttemptRow, safe_from: UnixMillis) -> Result<()> {
        sqlx::query("DELETE FROM checkpoint_files WHERE job_id = ? AND namespace = ? AND attempt = ?")
            .bind(attempt.job_id)
            .bind(&attempt.start.namespace)
            .bind(attempt.attempt)
            .execute(&mut *self.0)
            .await?;
        sqlx::query(
            "UPDATE checkpoints SET safe_from_ms = ? WHERE job_id = ? AND namespace = ? AND attempt = ?",
        )
        .bind(safe_from.0)
        .bind(attempt.job_id)
        .bind(&attempt.start.namespace)
        .bind(attempt.attempt)
        .execute(&mut *self.0)
        .await?;
        Ok(())
    }

    /// Forgets the checkpoint of a try: it has committed, or its folder is removed.
    pub async fn forget_checkpoint(&mut self, attempt: &AttemptRow) -> Result<()> {
        self.delete_checkpoint(attempt.job_id, &attempt.start.namespace, attempt.attempt).await
    }

    async fn delete_checkpoint(&mut self, job: JobId, namespace: &str, attempt: u32) -> Result<()> {
        sqlx::query("DELETE FROM checkpoints WHERE job_id = ? AND namespace = ? AND attempt = ?")
            .bind(job)
            .bind(namespace)
            .bind(attempt)
            .execute(&mut *self.0)
            .await?;
        Ok(())
    }

    /// Gives a kept folder up: its checkpoint is forgotten and its try becomes unknown, so that it is settled like any
    /// other that did not commit (rules.md 6.1). False if somebody goes on with its run.
    pub async fn give_up_checkpoint(&mut self, row: &CheckpointRow) -> Result<bool> {
        let done = sqlx::query(
            "UPDATE attempts SET status = 'unknown' WHERE job_id = ? AND namespace = ? AND attempt = ? \
             AND status IN ('failed', 'canceled', 'absent') \
             AND NOT EXISTS (SELECT 1 FROM jobs j JOIN jobs o ON o.routine = j.routine \
             AND o.created_ms = j.created_ms WHERE j.id = attempts.job_id AND o.finished_ms IS NULL)",
        )
        .bind(row.job_id)
        .bind(&row.namespace)
        .bind(row.attempt)
        .execute(&mut *self.0)
        .await?;
        if done.rows_affected() != 1 {
            return Ok(false);
        }
        self.delete_checkpoint(row.job_id, &row.namespace, row.attempt).await?;
        Ok(true)
    }

    /// Forgets a checkpoint that the run's next try does not go on from. Where that try has a folder of its own, the
    /// kept one is settled later.
    pub async fn replace_checkpoint(&mut self, row: &CheckpointRow, folder: &str) -> Result<()> {
        if row.folder == folder {
            return self.delete_checkpoint(row.job_id, &row.namespace, row.attempt).await;
        }
        self.drop_checkpoint(row).await
    }

    /// Forgets a checkpoint; its try becomes unknown until its folder is removed.
    pub async fn drop_checkpoint(&mut self, row: &CheckpointRow) -> Result<()> {
        sqlx::query(
            "UPDATE attempts SET status = 'unknown' WHERE job_id = ? AND namespace = ? AND attempt = ? \
             AND status IN ('failed', 'canceled', 'absent')",
        )
        .bind(row.job_id)
        .bind(&row.namespace)
        .bind(row.attempt)
        .execute(&mut *self.0)
        .await?;
        self.delete_checkpoint(row.job_id, &row.namespace, row.attempt).await
    }
}
