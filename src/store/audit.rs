//! The table of requests that change something.

use sqlx::sqlite::SqliteRow;
use sqlx::{FromRow, QueryBuilder, Row, Sqlite};

use super::words::{at, at_or_none};
use super::{JobId, Store};
use crate::error::Result;
use crate::model::UnixMillis;

/// Rows deleted in one transaction.
const BATCH: i64 = 500;

/// A request that is about to act.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuditInsert {
    /// Who it is; none: there is no authentication.
    pub who: Option<String>,
    /// The address that it comes from.
    pub client: Option<String>,
    /// Its id, as in the log.
    pub request_id: String,
    /// `POST` and the like.
    pub method: String,
    /// Path and query, cut where they are long.
    pub path: String,
}

/// What came of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuditEnd {
    /// The status of the answer.
    pub status: u16,
    /// The stable code of a refusal.
    pub code: Option<&'static str>,
    /// The job that it made.
    pub job: Option<JobId>,
}

/// A request as stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuditRow {
    /// Grows with time.
    pub id: i64,
    /// When it came.
    pub at: UnixMillis,
    /// What it was.
    pub request: AuditInsert,
    /// When it was answered; none: it was not, or the process ended before that was written.
    pub ended: Option<UnixMillis>,
    /// The status of the answer.
    pub status: Option<u16>,
    /// The stable code of a refusal.
    pub code: Option<String>,
    /// The job that it made.
    pub job: Option<JobId>,
}

impl FromRow<'_, SqliteRow> for AuditRow {
    fn from_row(row: &SqliteRow) -> sqlx::Result<Self> {
        Ok(Self {
            id: row.try_get("id")?,
            at: at(row, "at_ms")?,
            request: AuditInsert {
                who: row.try_get("who")?,
                client: row.try_get("client")?,
                request_id: row.try_get("request_id")?,
                method: row.try_get("method")?,
                path: row.try_get("path")?,
            },
            ended: at_or_none(row, "ended_ms")?,
            status: row.try_get("status")?,
            code: row.try_get("code")?,
            job: row.try_get("job_id")?,
        })
    }
}

/// Which requests to list; what is not set does not restrict.
#[derive(Debug, Clone, Default)]
pub struct AuditFilter {
    /// Of somebody.
    pub who: Option<String>,
    /// That came at or after this.
    pub from: Option<UnixMillis>,
    /// That came before this.
    pub to: Option<UnixMillis>,
    /// Older than this row: the cursor of the page before.
    pub before: Option<i64>,
}

impl Store {
    /// Writes a request down; the number of its row.
    pub async fn begin_audit(&self, request: &AuditInsert, now: UnixMillis) -> Result<i64> {
        let mut tx = self.write().await?;
        let id = sqlx::query_scalar(
            "INSERT INTO audit (at_ms, who, client, request_id, method, path) VALUES (?, ?, ?, ?, ?, ?) \
             RETURNING id",
        )
        .bind(now.0)
        .bind(&request.who)
        .bind(&request.client)
        .bind(&request.request_id)
        .bind(&request.method)
        .bind(&request.path)
        .fetch_one(&mut *tx.0)
        .await?;
        tx.commit().await?;
        Ok(id)
    }

    /// Adds what came of a request.
    pub async fn end_audit(&self, id: i64, end: &AuditEnd, now: UnixMillis) -> Result<()> {
        let mut tx = self.write().await?;
        sqlx::query("UPDATE audit SET ended_ms = ?, status = ?, code = ?, job_id = ? WHERE id = ?")
            .bind(now.0)
            .bind(end.status)
            .bind(end.code)
            .bind(end.job)
            .bind(id)
            .execute(&mut *tx.0)
            .await?;
        tx.commit().await
    }

    /// One page of requests, newest first, and where the next one begins.
    pub async fn audit(&self, filter: &AuditFilter, limit: u32) -> Result<(Vec<AuditRow>, Option<i64>)> {
        let mut query = QueryBuilder::<Sqlite>::new("SELECT * FROM audit WHERE 1");
        if let Some(who) = &filter.who {
            query.push(" AND who = ").push_bind(who);
        }
        if let Some(from) = filter.from {
            query.push(" AND at_ms >= ").push_bind(from.0);
        }
        if let Some(to) = filter.to {
            query.push(" AND at_ms < ").push_bind(to.0);
        }
        if let Some(before) = filter.before {
            query.push(" AND id < ").push_bind(before);
        }
        query.push(" ORDER BY id DESC LIMIT ").push_bind(i64::from(limit) + 1);
        let mut rows: Vec<AuditRow> = query.build_query_as().fetch_all(self.reader()).await?;
        let more = rows.len() > limit as usize;
        rows.truncate(limit as usize);
        let next = if more { rows.last().map(|row| row.id) } else { None };
        Ok((rows, next))
    }

    /// Removes one batch of the requests that came before an instant; whoever calls goes on until it is 0.
    pub async fn prune_audit(&self, before: UnixMillis) -> Result<u64> {
        let old: Option<i64> = sqlx::query_scalar("SELECT id FROM audit WHERE at_ms < ? LIMIT 1")
            .bind(before.0)
            .fetch_optional(self.reader())
            .await?;
        if old.is_none() {
            return Ok(0);
        }
        let mut tx = self.write().await?;
        let removed =
            sqlx::query("DELETE FROM audit WHERE id IN (SELECT id FROM audit WHERE at_ms < ? LIMIT ?)")
                .bind(before.0)
                .bind(BATCH)
                .execute(&mut *tx.0)
                .await?
                .rows_affected();
        tx.commit().await?;
        Ok(removed)
    }
}
