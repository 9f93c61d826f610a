//! Claims: which namespaces of which cluster a job holds while it waits or runs (rules.md 2.4).

use sqlx::sqlite::SqliteRow;
use sqlx::{FromRow, QueryBuilder, Row, Sqlite};

use super::words::word;
use super::{JobId, Tx};
use crate::error::Result;
use crate::model::JobKind;

/// The namespace of a claim on all of them, before the plan knows which.
pub const EVERY_NAMESPACE: &str = "*";

/// One namespace held by one job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClaimRow {
    /// The job.
    pub job_id: JobId,
    /// The cluster: its configured name, or a key of one of its nodes.
    pub cluster: String,
    /// The namespace, or [`EVERY_NAMESPACE`].
    pub namespace: String,
    /// What the job does with it.
    pub mode: JobKind,
}

impl ClaimRow {
    /// Whether both cannot be held at once: a restore excludes backups and other restores (rules.md 2.4).
    pub fn excludes(&self, other: &Self) -> bool {
        self.job_id != other.job_id
            && self.cluster == other.cluster
            && (self.mode == JobKind::Restore || other.mode == JobKind::Restore)
            && (self.namespace == other.namespace
                || self.namespace == EVERY_NAMESPACE
                || other.namespace == EVERY_NAMESPACE)
    }
}

impl FromRow<'_, SqliteRow> for ClaimRow {
    fn from_row(row: &SqliteRow) -> sqlx::Result<Self> {
        Ok(Self {
            job_id: row.try_get("job_id")?,
            cluster: row.try_get("cluster")?,
            namespace: row.try_get("namespace")?,
            mode: word(row, "mode", JobKind::parse)?,
        })
    }
}

/// SQLite binds at most 32,766 values in one statement; a claim has 4.
const ROWS_PER_INSERT: usize = 5000;

impl Tx {
    /// The claims on `clusters` of jobs that run, and of jobs that wait when `waiting`; backups' claims only when
    /// `backups`, as backups do not exclude each other.
    pub async fn claims_on(
        &mut self,
        clusters: &[&str],
        waiting: bool,
        backups: bool,
    ) -> Result<Vec<ClaimRow>> {
        Ok(sqlx::query_as(
            "SELECT c.* FROM claims c JOIN jobs j ON j.id = c.job_id \
             WHERE c.cluster IN (SELECT value FROM json_each(?)) AND (c.mode = 'restore' OR ?) \
             AND (j.status = 'running' OR (? AND j.status = 'queued')) ORDER BY c.job_id",
        )
        .bind(serde_json::json!(clusters).to_string())
        .bind(backups)
        .bind(waiting)
        .fetch_all(&mut *self.0)
        .await?)
    }

    /// The claims of a job.
    pub async fn claims_of(&mut self, job: JobId) -> Result<Vec<ClaimRow>> {
        Ok(sqlx::query_as("SELECT * FROM claims WHERE job_id = ?").bind(job).fetch_all(&mut *self.0).await?)
    }

    /// Writes claims; the caller has checked that nothing excludes them.
    pub async fn insert_claims(&mut self, claims: &[ClaimRow]) -> Result<()> {
        for claims in claims.chunks(ROWS_PER_INSERT) {
            let mut insert =
                QueryBuilder::<Sqlite>::new("INSERT INTO claims (job_id, cluster, namespace, mode) ");
            insert.push_values(claims, |mut row, claim| {
                row.push_bind(claim.job_id)
                    .push_bind(&claim.cluster)
                    .push_bind(&claim.namespace)
                    .push_bind(claim.mode.as_str());
            });
            insert.build().persistent(false).execute(&mut *self.0).await?;
        }
        Ok(())
    }

    /// Drops every claim of a job.
    pub async fn drop_claims(&mut self, job: JobId) -> Result<()> {
        sqlx::query("DELETE FROM claims WHERE job_id = ?").bind(job).execute(&mut *self.0).await?;
        Ok(())
    }
}
