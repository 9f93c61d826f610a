//! Questions about jobs.

use std::collections::BTreeMap;

use sqlx::sqlite::SqliteRow;
use sqlx::{FromRow, QueryBuilder, Row, Sqlite};

use super::words::{count, word, word_or_none};
use super::{JobId, JobRow, SlotId, SlotRow, Store, Trigger, Tx};
use crate::error::Result;
use crate::model::{BackupType, JobKind, JobStatus, UnixMillis};

/// Which jobs to list; what is not set does not restrict.
#[derive(Debug, Clone, Default)]
pub struct JobFilter {
    /// Of this kind.
    pub kind: Option<JobKind>,
    /// Of this routine.
    pub routine: Option<String>,
    /// Of one of these.
    pub routines: Option<Vec<String>>,
    /// Called this by the client.
    pub label: Option<String>,
    /// In one of these; empty = any.
    pub status: Vec<JobStatus>,
    /// The opposite: in none of `status`.
    pub exclude: bool,
    /// Written at or after this.
    pub from: Option<UnixMillis>,
    /// Written before this.
    pub to: Option<UnixMillis>,
    /// Older than this job: the cursor of the page before.
    pub before: Option<JobId>,
}

/// The columns of [`JobRow`], without the long documents.
const IN_SHORT: &str = "id, kind, type, routine, trigger, status, reason_code, reason, slot_id, cluster, storage, concurrent, \
     namespaces, admitted_ms, due_ms, queued_ms, started_ms, finished_ms, owner, lease_until_ms, generation, \
     cancel_requested_ms, NULL AS config, NULL AS request, requested_by, created_ms, error_code, error, retry_of, label, \
     warnings, NULL AS result, counters";

/// One page of jobs, newest first.
#[derive(Debug, Clone)]
pub struct JobPage<T = JobRow> {
    /// The jobs.
    pub jobs: Vec<T>,
    /// Where the next page begins (`JobFilter::before`); none = this is the last.
    pub next: Option<JobId>,
}

impl<T> JobPage<T> {
    /// The page of what a query found that was asked for one more than `limit`.
    pub(super) fn of(mut jobs: Vec<T>, limit: u32, id: impl Fn(&T) -> JobId) -> Self {
        let more = jobs.len() > limit as usize;
        jobs.truncate(limit as usize);
        let next = if more { jobs.last().map(id) } else { None };
        Self { jobs, next }
    }
}

impl JobFilter {
    /// Ends a query of jobs: those that match, newest first, one more than `limit`.
    pub(super) fn push(&self, query: &mut QueryBuilder<Sqlite>, limit: u32) {
        query.push(" WHERE 1");
        if let Some(kind) = self.kind {
            query.push(" AND kind = ").push_bind(kind.as_str());
        }
        if let Some(routine) = &self.routine {
            query.push(" AND routine = ").push_bind(routine);
        }
        if let Some(label) = &self.label {
            query.push(" AND label = ").push_bind(label);
        }
        if let Some(routines) = &self.routines {
            query.push(" AND routine IN (SELECT value FROM json_each(");
            query.push_bind(serde_json::json!(routines).to_string()).push("))");
        }
        if !self.status.is_empty() {
            query.push(if self.exclude { " AND status NOT IN (" } else { " AND status IN (" });
            let mut words = query.separated(", ");
            for status in &self.status {
                words.push_bind(status.as_str());
            }
            query.push(")");
        }
        if let Some(from) = self.from {
            query.push(" AND admitted_ms >= ").push_bind(from.0);
        }
        if let Some(to) = self.to {
            query.push(" AND admitted_ms < ").push_bind(to.0);
        }
        if let Some(before) = self.before {
            query.push(" AND id < ").push_bind(before);
        }
        query.push(" ORDER BY id DESC LIMIT ").push_bind(i64::from(limit) + 1);
    }
}

/// What admission needs to know of a job that waits or runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Active {
    /// Its number.
    pub id: JobId,
    /// Its kind.
    pub kind: JobKind,
    /// Its type, for backups.
    pub backup_type: Option<BackupType>,
    /// Its routine.
    pub routine: Option<String>,
    /// What made it.
    pub trigger: Trigger,
    /// `queued` or `running`.
    pub status: JobStatus,
}

impl FromRow<'_, SqliteRow> for Active {
    fn from_row(row: &SqliteRow) -> sqlx::Result<Self> {
        Ok(Self {
            id: row.try_get("id")?,
            kind: word(row, "kind", JobKind::parse)?,
            backup_type: word_or_none(row, "type", BackupType::parse)?,
            routine: row.try_get("routine")?,
            trigger: word(row, "trigger", Trigger::parse)?,
            status: word(row, "status", JobStatus::parse)?,
        })
    }
}

impl Store {
    /// One job.
    pub async fn job(&self, id: JobId) -> Result<Option<JobRow>> {
        Ok(sqlx::query_as("SELECT * FROM jobs WHERE id = ?").bind(id).fetch_optional(self.reader()).await?)
    }

    /// The newest `limit` jobs that match (rules.md 7.3), whole.
    pub async fn jobs(&self, filter: &JobFilter, limit: u32) -> Result<JobPage> {
        self.page("*", filter, limit).await
    }

    /// The same without configuration, request and result, which are long.
    pub async fn jobs_in_short(&self, filter: &JobFilter, limit: u32) -> Result<JobPage> {
        self.page(IN_SHORT, filter, limit).await
    }

    async fn page(&self, columns: &str, filter: &JobFilter, limit: u32) -> Result<JobPage> {
        let mut query = QueryBuilder::<Sqlite>::new(format!("SELECT {columns} FROM jobs"));
        filter.push(&mut query, limit);
        let jobs = query.build_query_as().fetch_all(self.reader()).await?;
        Ok(JobPage::of(jobs, limit, |job: &JobRow| job.id))
    }

    /// The newest job of a routine and type that ended as `status`.
    pub async fn last_job(
        &self,
        routine: &str,
        backup_type: BackupType,
        status: JobStatus,
    ) -> Result<Option<JobRow>> {
        Ok(sqlx::query_as(
            "SELECT * FROM jobs WHERE routine = ? AND type = ? AND status = ? ORDER BY id DESC LIMIT 1",
        )
        .bind(routine)
        .bind(backup_type.as_str())
        .bind(status.as_str())
        .fetch_optional(self.reader())
        .await?)
    }

    /// The newest job of a kind that makes no backups, of a routine, that ended as `status`.
    pub async fn last_care_job(
        &self,
        kind: JobKind,
        routine: &str,
        status: JobStatus,
    ) -> Result<Option<JobRow>> {
        Ok(sqlx::query_as(
            "SELECT * FROM jobs WHERE routine = ? AND type IS NULL AND status = ? AND kind = ? \
             ORDER BY id DESC LIMIT 1",
        )
        .bind(routine)
        .bind(status.as_str())
        .bind(kind.as_str())
        .fetch_optional(self.reader())
        .await?)
    }

    /// The newest job that ended as `status`, of every routine and type.
    pub async fn last_jobs(&self, status: JobStatus) -> Result<Vec<JobRow>> {
        Ok(sqlx::query_as(
            "SELECT * FROM jobs WHERE id IN (SELECT max(id) FROM jobs INDEXED BY jobs_by_routine WHERE status = ? \
             AND type IS NOT NULL GROUP BY routine, type) ORDER BY routine, type",
        )
        .bind(status.as_str())
        .fetch_all(self.reader())
        .await?)
    }

    /// The newest job of a kind of each routine and status that has ended.
    pub async fn last_of_kind(&self, kind: JobKind) -> Result<Vec<JobRow>> {
        Ok(sqlx::query_as(
            "SELECT * FROM jobs WHERE id IN (SELECT max(id) FROM jobs WHERE kind = ? AND finished_ms IS NOT NULL \
             GROUP BY routine, status) ORDER BY id",
        )
        .bind(kind.as_str())
        .fetch_all(self.reader())
        .await?)
    }

    /// The jobs of a routine that are delayed, wait or run, oldest first.
    pub async fn open_jobs(&self, routine: &str) -> Result<Vec<JobRow>> {
        // Without statistics SQLite would take the index of lists, which has the whole history.
        Ok(sqlx::query_as(
            "SELECT * FROM jobs INDEXED BY jobs_open_by_routine WHERE routine = ? AND finished_ms IS NULL ORDER BY id",
        )
        .bind(routine)
        .fetch_all(self.reader())
        .await?)
    }

    /// How many jobs have not ended, by kind and status; only what there is.
    pub async fn open_counts(&self) -> Result<BTreeMap<(&'static str, &'static str), u64>> {
        let rows = sqlx::query(
            "SELECT kind, status, count(*) AS n FROM jobs WHERE finished_ms IS NULL GROUP BY kind, status",
        )
        .fetch_all(self.reader())
        .await?;
        let mut counts = BTreeMap::new();
        for row in rows {
            let kind = word(&row, "kind", JobKind::parse)?;
            let status = word(&row, "status", JobStatus::parse)?;
            counts.insert((kind.as_str(), status.as_str()), count(&row, "n")?);
        }
        Ok(counts)
    }

    /// The running jobs that somebody wants to end.
    pub async fn cancel_requests(&self) -> Result<Vec<JobId>> {
        Ok(sqlx::query_scalar(
            "SELECT id FROM jobs WHERE status = 'running' AND finished_ms IS NULL \
             AND cancel_requested_ms IS NOT NULL",
        )
        .fetch_all(self.reader())
        .await?)
    }

    /// Whether a job waits for its start: in the queue, or delayed until `now` or before.
    pub async fn has_waiting(&self, now: UnixMillis) -> Result<bool> {
        Ok(sqlx::query_scalar(
            "SELECT EXISTS (SELECT 1 FROM jobs WHERE status = 'queued' AND finished_ms IS NULL) \
             OR EXISTS (SELECT 1 FROM jobs WHERE status = 'scheduled' AND finished_ms IS NULL AND due_ms <= ?)",
        )
        .bind(now.0)
        .fetch_one(self.reader())
        .await?)
    }
}

/// How many jobs of one kind that look after backups (retention, verification, copies) run at once: they wait for storage most
/// of the time and must not crowd out backups.
const CARE_MAX: u32 = 2;

/// For whom there may be memory (rules.md 8.1); retention needs none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Room {
    /// For restores.
    pub restores: bool,
    /// For backups, verifications and copies.
    pub others: bool,
}

impl Tx {
    /// The jobs of `routines` that wait or run, oldest first.
    pub async fn active(&mut self, routines: &[&str]) -> Result<Vec<Active>> {
        Ok(sqlx::query_as(
            "SELECT id, kind, type, routine, trigger, status FROM jobs WHERE finished_ms IS NULL \
             AND status IN ('queued', 'running') AND routine IN (SELECT value FROM json_each(?)) ORDER BY id",
        )
        .bind(serde_json::json!(routines).to_string())
        .fetch_all(&mut *self.0)
        .await?)
    }

    /// Delayed jobs that are due, oldest first, at most `limit`.
    pub async fn due_jobs(&mut self, now: UnixMillis, limit: u32) -> Result<Vec<JobRow>> {
        Ok(sqlx::query_as(
            "SELECT * FROM jobs WHERE status = 'scheduled' AND finished_ms IS NULL AND due_ms <= ? \
             ORDER BY due_ms, id LIMIT ?",
        )
        .bind(now.0)
        .bind(limit)
        .fetch_all(&mut *self.0)
        .await?)
    }

    /// Who leaves the queue next: restores first, then first come first served (rules.md 2.2); backups only below
    /// `capacity` running ones, retention, verification and copies one at a time for each routine and [`CARE_MAX`] of a kind. Those
    /// for which there is no `room` are passed over.
    pub async fn next_queued(&mut self, capacity: u32, room: Room) -> Result<Option<JobRow>> {
        Ok(sqlx::query_as(
            "WITH running AS (SELECT kind, routine FROM jobs WHERE status = 'running' AND finished_ms IS NULL) \
             SELECT * FROM jobs WHERE status = 'queued' AND finished_ms IS NULL AND CASE kind \
             WHEN 'restore' THEN ? \
             WHEN 'backup' THEN ? AND (SELECT count(*) FROM running r WHERE r.kind = 'backup') < ? \
             ELSE (kind = 'retention' OR ?) AND (SELECT count(*) FROM running r WHERE r.kind = jobs.kind) < ? AND NOT EXISTS \
             (SELECT 1 FROM running r WHERE r.kind = jobs.kind AND r.routine = jobs.routine) END \
             ORDER BY kind = 'restore' DESC, queued_ms, id LIMIT 1",
        )
        .bind(room.restores)
        .bind(room.others)
        .bind(capacity)
        .bind(room.others)
        .bind(CARE_MAX)
        .fetch_optional(&mut *self.0)
        .await?)
    }

    /// Every job in `status`, one that does not end it, oldest first.
    pub async fn open_jobs_in(&mut self, status: JobStatus) -> Result<Vec<JobRow>> {
        Ok(sqlx::query_as("SELECT * FROM jobs WHERE status = ? AND finished_ms IS NULL ORDER BY id")
            .bind(status.as_str())
            .fetch_all(&mut *self.0)
            .await?)
    }

    /// The scheduled backups that the end of a process interrupted and that nobody has tried again (rules.md 2.5).
    pub async fn interrupted_slots(&mut self, codes: &[&str]) -> Result<Vec<JobRow>> {
        Ok(sqlx::query_as(
            "SELECT * FROM jobs j WHERE status = 'interrupted' AND slot_id IS NOT NULL \
             AND reason_code IN (SELECT value FROM json_each(?)) \
             AND NOT EXISTS (SELECT 1 FROM jobs l WHERE l.slot_id = j.slot_id AND l.id > j.id) ORDER BY id",
        )
        .bind(serde_json::json!(codes).to_string())
        .fetch_all(&mut *self.0)
        .await?)
    }

    /// The job that is another attempt of this one, if there is one.
    pub async fn retry_of(&mut self, job: JobId) -> Result<Option<JobId>> {
        Ok(sqlx::query_scalar("SELECT max(id) FROM jobs WHERE retry_of = ?")
            .bind(job)
            .fetch_one(&mut *self.0)
            .await?)
    }

    /// A slot as this transaction sees it.
    pub async fn slot(&mut self, id: SlotId) -> Result<Option<SlotRow>> {
        Ok(sqlx::query_as("SELECT * FROM slots WHERE id = ?").bind(id).fetch_optional(&mut *self.0).await?)
    }

    /// Every attempt (job) of a slot, oldest first.
    pub async fn jobs_of_slot(&mut self, slot: SlotId) -> Result<Vec<JobRow>> {
        Ok(sqlx::query_as("SELECT * FROM jobs WHERE slot_id = ? ORDER BY id")
            .bind(slot)
            .fetch_all(&mut *self.0)
            .await?)
    }
}
