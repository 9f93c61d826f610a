//! The last progress that a job reported; for readers after a restart. Live figures are in memory (`jobs::runner`).

use std::collections::BTreeMap;

use sqlx::sqlite::SqliteRow;
use sqlx::{FromRow, Row};

use super::words::{at, count, stored};
use super::{JobId, Store, Tx};
use crate::error::Result;
use crate::model::UnixMillis;

/// How far a job has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ProgressRow {
    /// The job.
    pub job_id: JobId,
    /// Records done.
    pub done: u64,
    /// Records expected; an estimate.
    pub total: u64,
    /// Bytes written to storage, or read from it.
    pub bytes: u64,
    /// Records read and not yet written.
    pub in_pipeline: u64,
    /// When this was so.
    pub updated: UnixMillis,
}

impl FromRow<'_, SqliteRow> for ProgressRow {
    fn from_row(row: &SqliteRow) -> sqlx::Result<Self> {
        Ok(Self {
            job_id: row.try_get("job_id")?,
            done: count(row, "done")?,
            total: count(row, "total")?,
            bytes: count(row, "bytes")?,
            in_pipeline: count(row, "in_pipeline")?,
            updated: at(row, "updated_ms")?,
        })
    }
}

impl Store {
    /// The last progress of a job.
    pub async fn progress(&self, job: JobId) -> Result<Option<ProgressRow>> {
        Ok(sqlx::query_as("SELECT * FROM progress WHERE job_id = ?")
            .bind(job)
            .fetch_optional(self.reader())
            .await?)
    }

    /// The last progress of some jobs.
    pub async fn progress_of(&self, jobs: &[JobId]) -> Result<BTreeMap<JobId, ProgressRow>> {
        let rows: Vec<ProgressRow> =
            sqlx::query_as("SELECT p.* FROM json_each(?) k CROSS JOIN progress p ON p.job_id = k.value")
                .bind(serde_json::json!(jobs).to_string())
                .fetch_all(self.reader())
                .await?;
        Ok(rows.into_iter().map(|row| (row.job_id, row)).collect())
    }
}

impl Tx {
    /// Notes the progress of a job that still runs under `generation`; of another it writes nothing. What was done
    /// stays done, whatever comes late.
    pub async fn set_progress(&mut self, generation: i64, row: &ProgressRow) -> Result<()> {
        sqlx::query(
            "INSERT INTO progress (job_id, done, total, bytes, in_pipeline, updated_ms) \
             SELECT ?1, ?2, ?3, ?4, ?5, ?6 FROM jobs WHERE id = ?1 AND generation = ?7 AND status = 'running' \
             ON CONFLICT DO UPDATE SET done = max(done, excluded.done), total = max(total, excluded.total), \
             bytes = max(bytes, excluded.bytes), in_pipeline = excluded.in_pipeline, \
             updated_ms = max(updated_ms, excluded.updated_ms)",
        )
        .bind(row.job_id)
        .bind(stored(row.done))
        .bind(stored(row.total))
        .bind(stored(row.bytes))
        .bind(stored(row.in_pipeline))
        .bind(row.updated.0)
        .bind(generation)
        .execute(&mut *self.0)
        .await?;
        Ok(())
    }
}
