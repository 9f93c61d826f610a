//! What restores found in their destinations before they wrote: it decides their order (rules.md 2.5, 4.3).

use super::{JobId, Store, Tx};
use crate::error::Result;

impl Store {
    /// Whether a restore, or the one that it tries again, found the namespace empty; none: nobody has looked.
    pub async fn found_empty(&self, job: JobId, namespace: &str) -> Result<Option<bool>> {
        Ok(sqlx::query_scalar(
            "SELECT was_empty FROM restore_destinations WHERE job_id = ? AND namespace = ?",
        )
        .bind(job)
        .bind(namespace)
        .fetch_optional(self.reader())
        .await?)
    }
}

impl Tx {
    /// Notes what a restore found; the first answer counts.
    pub async fn note_found_empty(&mut self, job: JobId, namespace: &str, empty: bool) -> Result<()> {
        sqlx::query(
            "INSERT INTO restore_destinations (job_id, namespace, was_empty) VALUES (?, ?, ?) ON CONFLICT DO NOTHING",
        )
        .bind(job)
        .bind(namespace)
        .bind(empty)
        .execute(&mut *self.0)
        .await?;
        Ok(())
    }

    /// A restore that is tried again keeps what its first attempt found.
    pub async fn inherit_destinations(&mut self, from: JobId, to: JobId) -> Result<()> {
        sqlx::query(
            "INSERT INTO restore_destinations (job_id, namespace, was_empty) \
             SELECT ?, namespace, was_empty FROM restore_destinations WHERE job_id = ?",
        )
        .bind(to)
        .bind(from)
        .execute(&mut *self.0)
        .await?;
        Ok(())
    }
}
