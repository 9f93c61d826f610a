//! The table of jobs: what is written to it. Reading is in [`super::query`].
//!
//! Every transition names the status it starts from and, once a task owns the job, the generation: a write of a
//! task that lost its job matches no row and fails with `stale-generation` (rules.md 2.6).

use serde::{Deserialize, Serialize};
use sqlx::sqlite::SqliteRow;
use sqlx::{FromRow, QueryBuilder, Row, Sqlite};

use super::words::{at, at_or_none, json, word, word_or_none};
use super::{Document, SlotId, Tx};
use crate::error::{Error, Result};
use crate::model::ledger::CLOCK_TOLERANCE_MS;
use crate::model::{BackupType, JobKind, JobStatus, UnixMillis};

/// The number of a job: short, ordered, unique over all stores of an instance (rules.md 2.7).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, sqlx::Type)]
#[serde(transparent)]
#[sqlx(transparent)]
pub struct JobId(pub i64);

impl std::fmt::Display for JobId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

/// What made a job.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Trigger {
    /// A slot that was due while the process ran.
    Schedule,
    /// A slot missed in downtime and made up for (rules.md 1.3).
    CatchUp,
    /// A request, at once or with a delay.
    Api,
    /// An ended job is run again: on request, or a retention for what was pinned.
    Retry,
    /// Another attempt of a slot after a crash (rules.md 2.5).
    Recovery,
    /// The end of a backup: retention (rules.md 5.2), `verify-after`.
    AfterBackup,
}

impl Trigger {
    /// Every trigger.
    pub const ALL: [Self; 6] =
        [Self::Schedule, Self::CatchUp, Self::Api, Self::Retry, Self::Recovery, Self::AfterBackup];

    /// The word stored and shown.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Schedule => "schedule",
            Self::CatchUp => "catch-up",
            Self::Api => "api",
            Self::Retry => "retry",
            Self::Recovery => "recovery",
            Self::AfterBackup => "after-backup",
        }
    }

    /// The trigger of a stored word; none for an unknown one.
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|trigger| trigger.as_str() == word)
    }
}

/// Something a job's reader should know although the job went on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Warning {
    /// Stable, kebab-case.
    pub code: String,
    /// One sentence.
    pub text: String,
}

/// A job as stored.
#[derive(Debug, Clone, PartialEq)]
pub struct JobRow {
    /// Its number.
    pub id: JobId,
    /// What kind of work it is.
    pub kind: JobKind,
    /// The type of a backup; none for other kinds.
    pub backup_type: Option<BackupType>,
    /// The routine it belongs to; always there for a backup.
    pub routine: Option<String>,
    /// What made it.
    pub trigger: Trigger,
    /// Where it stands.
    pub status: JobStatus,
    /// Why it stands there, for `skipped`, `missed` and `interrupted`: stable, kebab-case.
    pub reason_code: Option<String>,
    /// The same as a sentence.
    pub reason: Option<String>,
    /// The slot it is an attempt of.
    pub slot_id: Option<SlotId>,
    /// The cluster it reads from or writes to, by its configured name.
    pub cluster: Option<String>,
    /// The storage it writes to or reads from, by its configured name.
    pub storage: Option<String>,
    /// Whether this incremental may run beside other backups of its routine (`concurrent-incremental`).
    pub concurrent: bool,
    /// The namespaces it works on, once the plan has resolved them (rules.md 3.8).
    pub namespaces: Option<Vec<String>>,
    /// When the row was written.
    pub admitted: UnixMillis,
    /// From when on it may be queued.
    pub due: UnixMillis,
    /// When it joined the queue.
    pub queued: Option<UnixMillis>,
    /// When its task started.
    pub started: Option<UnixMillis>,
    /// When it ended.
    pub finished: Option<UnixMillis>,
    /// The process that runs it.
    pub owner: Option<String>,
    /// Until when that process need not be doubted.
    pub lease_until: Option<UnixMillis>,
    /// Grows whenever the row changes hands; see the module.
    pub generation: i64,
    /// When somebody asked to cancel it.
    pub cancel_requested: Option<UnixMillis>,
    /// The configuration it runs with.
    pub config: Option<Document>,
    /// What was asked, for a job made by a request.
    pub request: Option<Document>,
    /// Who asked.
    pub requested_by: Option<String>,
    /// `created` of the backup run (rules.md 3.1): names its folder.
    pub created: Option<UnixMillis>,
    /// The stable code of the error it failed with.
    pub error_code: Option<String>,
    /// The error with its causes.
    pub error: Option<String>,
    /// The job that this one is another attempt of; it may be pruned by now.
    pub retry_of: Option<JobId>,
    /// What the client calls it.
    pub label: Option<String>,
    /// What else its reader should know.
    pub warnings: Vec<Warning>,
    /// What came of it, per kind.
    pub result: Option<serde_json::Value>,
    /// What was counted, per kind.
    pub counters: Option<serde_json::Value>,
}

impl FromRow<'_, SqliteRow> for JobRow {
    fn from_row(row: &SqliteRow) -> sqlx::Result<Self> {
        Ok(Self {
            id: row.try_get("id")?,
            kind: word(row, "kind", JobKind::parse)?,
            backup_type: word_or_none(row, "type", BackupType::parse)?,
            routine: row.try_get("routine")?,
            trigger: word(row, "trigger", Trigger::parse)?,
            status: word(row, "status", JobStatus::parse)?,
            reason_code: row.try_get("reason_code")?,
            reason: row.try_get("reason")?,
            slot_id: row.try_get("slot_id")?,
            cluster: row.try_get("cluster")?,
            storage: row.try_get("storage")?,
            concurrent: row.try_get("concurrent")?,
            namespaces: json(row, "namespaces")?,
            admitted: at(row, "admitted_ms")?,
            due: at(row, "due_ms")?,
            queued: at_or_none(row, "queued_ms")?,
            started: at_or_none(row, "started_ms")?,
            finished: at_or_none(row, "finished_ms")?,
            owner: row.try_get("owner")?,
            lease_until: at_or_none(row, "lease_until_ms")?,
            generation: row.try_get("generation")?,
            cancel_requested: at_or_none(row, "cancel_requested_ms")?,
            config: row.try_get::<Option<String>, _>("config")?.map(Document::stored),
            request: row.try_get::<Option<String>, _>("request")?.map(Document::stored),
            requested_by: row.try_get("requested_by")?,
            created: at_or_none(row, "created_ms")?,
            error_code: row.try_get("error_code")?,
            error: row.try_get("error")?,
            retry_of: row.try_get("retry_of")?,
            label: row.try_get("label")?,
            warnings: json(row, "warnings")?.unwrap_or_default(),
            result: json(row, "result")?,
            counters: json(row, "counters")?,
        })
    }
}

/// A job row to be written.
#[derive(Debug, Clone)]
pub struct JobInsert {
    /// What kind of work it is.
    pub kind: JobKind,
    /// The type of a backup; none for other kinds.
    pub backup_type: Option<BackupType>,
    /// The routine it belongs to.
    pub routine: Option<String>,
    /// What made it.
    pub trigger: Trigger,
    /// `scheduled`, `queued`, `skipped`, `missed`, or `failed` for a refused restore.
    pub status: JobStatus,
    /// Stable code and sentence of a refusal; also those of the error where the status is `failed`.
    pub reason: Option<(&'static str, String)>,
    /// The slot it is an attempt of.
    pub slot_id: Option<SlotId>,
    /// The cluster concerned.
    pub cluster: Option<String>,
    /// The storage concerned.
    pub storage: Option<String>,
    /// `concurrent-incremental` of the routine.
    pub concurrent: bool,
    /// The namespaces, where they are known.
    pub namespaces: Option<Vec<String>>,
    /// From when on it may be queued.
    pub due: UnixMillis,
    /// The configuration it runs with.
    pub config: Option<Document>,
    /// What was asked.
    pub request: Option<Document>,
    /// Who asked.
    pub requested_by: Option<String>,
    /// `created` of the run that this job goes on with (rules.md 2.5).
    pub created: Option<UnixMillis>,
    /// The job that this one is another attempt of.
    pub retry_of: Option<JobId>,
    /// What the client calls it.
    pub label: Option<String>,
    /// Under which the client may ask again.
    pub key: Option<RequestKey>,
}

/// Under which a client may send a request again without a second job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RequestKey {
    /// The client's key, with who it is.
    pub key: String,
    /// Of all that was asked: the same key with another one is a mistake.
    pub hash: String,
}

/// How a job ends.
#[derive(Debug, Clone)]
pub struct JobEnd {
    /// A terminal status.
    pub status: JobStatus,
    /// Stable code and sentence, for `skipped` and `interrupted`.
    pub reason: Option<(String, String)>,
    /// Stable code and text, for `failed`.
    pub error: Option<(String, String)>,
    /// What its reader should know; added to what the row has.
    pub warnings: Vec<Warning>,
    /// What came of it.
    pub result: Option<serde_json::Value>,
    /// What was counted.
    pub counters: Option<serde_json::Value>,
}

impl JobEnd {
    /// An end without reason, error or result.
    pub fn plain(status: JobStatus) -> Self {
        Self { status, reason: None, error: None, warnings: Vec::new(), result: None, counters: None }
    }

    /// An end that says why.
    pub fn because(status: JobStatus, code: impl Into<String>, reason: impl Into<String>) -> Self {
        Self { reason: Some((code.into(), reason.into())), ..Self::plain(status) }
    }
}

/// SQLite binds at most 32,766 values in one statement; a job row has 27.
const ROWS_PER_INSERT: usize = 1000;

impl Tx {
    /// The id of the next row of [`Tx::insert_jobs`].
    pub async fn next_job_id(&mut self) -> Result<JobId> {
        let last: i64 = sqlx::query_scalar("SELECT seq FROM sqlite_sequence WHERE name = 'jobs'")
            .fetch_one(&mut *self.0)
            .await?;
        Ok(JobId(last + 1))
    }

    /// The job that a key has made, and of what was asked then.
    pub async fn job_of_key(&mut self, key: &str) -> Result<Option<(JobId, String)>> {
        Ok(sqlx::query_as("SELECT id, request_hash FROM jobs WHERE request_key = ?")
            .bind(key)
            .fetch_optional(&mut *self.0)
            .await?)
    }

    /// Writes job rows and returns their ids, in order. All have the same age, so one statement writes many.
    pub async fn insert_jobs(&mut self, jobs: &[JobInsert], now: UnixMillis) -> Result<Vec<JobId>> {
        let JobId(first) = self.next_job_id().await?;
        let ids: Vec<JobId> = (first..).take(jobs.len()).map(JobId).collect();
        for (jobs, ids) in jobs.chunks(ROWS_PER_INSERT).zip(ids.chunks(ROWS_PER_INSERT)) {
            let mut insert = QueryBuilder::<Sqlite>::new(
                "INSERT INTO jobs (id, kind, type, routine, trigger, status, reason_code, reason, slot_id, cluster, \
                 storage, concurrent, namespaces, admitted_ms, due_ms, queued_ms, finished_ms, config, request, \
                 requested_by, created_ms, error_code, error, retry_of, label, request_key, request_hash) ",
            );
            insert.push_values(jobs.iter().zip(ids), |mut row, (job, id)| {
                let why = job.reason.as_ref().map(|(code, reason)| (*code, reason.as_str()));
                let (code, reason) = why.unzip();
                let (error_code, error) = why.filter(|_| job.status == JobStatus::Failed).unzip();
                row.push_bind(id)
                    .push_bind(job.kind.as_str())
                    .push_bind(job.backup_type.map(BackupType::as_str))
                    .push_bind(&job.routine)
                    .push_bind(job.trigger.as_str())
                    .push_bind(job.status.as_str())
                    .push_bind(code)
                    .push_bind(reason)
                    .push_bind(job.slot_id)
                    .push_bind(&job.cluster)
                    .push_bind(&job.storage)
                    .push_bind(job.concurrent)
                    .push_bind(job.namespaces.as_ref().map(|names| serde_json::json!(names).to_string()))
                    .push_bind(now.0)
                    .push_bind(job.due.0)
                    .push_bind((job.status == JobStatus::Queued).then_some(now.0))
                    .push_bind(job.status.is_terminal().then_some(now.0))
                    .push_bind(job.config.as_ref().map(Document::as_str))
                    .push_bind(job.request.as_ref().map(Document::as_str))
                    .push_bind(&job.requested_by)
                    .push_bind(job.created.map(|created| created.0))
                    .push_bind(error_code)
                    .push_bind(error)
                    .push_bind(job.retry_of)
                    .push_bind(&job.label)
                    .push_bind(job.key.as_ref().map(|key| &key.key))
                    .push_bind(job.key.as_ref().map(|key| &key.hash));
            });
            insert.build().persistent(false).execute(&mut *self.0).await?;
        }
        Ok(ids)
    }

    /// A job as this transaction sees it.
    pub async fn job(&mut self, id: JobId) -> Result<Option<JobRow>> {
        Ok(sqlx::query_as("SELECT * FROM jobs WHERE id = ?").bind(id).fetch_optional(&mut *self.0).await?)
    }

    /// A delayed job joins the queue.
    pub async fn queue_job(&mut self, id: JobId, now: UnixMillis) -> Result<JobRow> {
        sqlx::query_as(
            "UPDATE jobs SET status = 'queued', queued_ms = ? WHERE id = ? AND status = 'scheduled' RETURNING *",
        )
        .bind(now.0)
        .bind(id)
        .fetch_optional(&mut *self.0)
        .await?
        .ok_or_else(|| stale(id))
    }

    /// A queued job becomes the task of `owner`.
    pub async fn start_job(
        &mut self,
        id: JobId,
        owner: &str,
        lease_until: UnixMillis,
        now: UnixMillis,
    ) -> Result<JobRow> {
        sqlx::query_as(
            "UPDATE jobs SET status = 'running', started_ms = ?, owner = ?, lease_until_ms = ?, \
             generation = generation + 1 WHERE id = ? AND status = 'queued' RETURNING *",
        )
        .bind(now.0)
        .bind(owner)
        .bind(lease_until.0)
        .bind(id)
        .fetch_optional(&mut *self.0)
        .await?
        .ok_or_else(|| stale(id))
    }

    /// A job ends; it must still be what `row` says: same status, same generation.
    pub async fn end_job(&mut self, row: &JobRow, end: &JobEnd, now: UnixMillis) -> Result<JobRow> {
        debug_assert!(end.status.is_terminal(), "invariant: a job ends in a terminal status");
        let warnings: Vec<&Warning> = row.warnings.iter().chain(&end.warnings).collect();
        let (code, reason) = end.reason.as_ref().map(|(code, text)| (code, text)).unzip();
        let (error_code, error) = end.error.as_ref().map(|(code, text)| (code, text)).unzip();
        let ended = sqlx::query_as(
            "UPDATE jobs SET status = ?, reason_code = ?, reason = ?, error_code = ?, error = ?, warnings = ?, \
             result = ?, counters = ?, finished_ms = max(?, coalesce(started_ms, 0)), lease_until_ms = NULL, \
             generation = generation + 1 WHERE id = ? AND status = ? AND generation = ? RETURNING *",
        )
        .bind(end.status.as_str())
        .bind(code)
        .bind(reason)
        .bind(error_code)
        .bind(error)
        .bind(serde_json::json!(warnings).to_string())
        .bind(end.result.as_ref().map(serde_json::Value::to_string))
        .bind(end.counters.as_ref().map(serde_json::Value::to_string))
        .bind(now.0)
        .bind(row.id)
        .bind(row.status.as_str())
        .bind(row.generation)
        .fetch_optional(&mut *self.0)
        .await?
        .ok_or_else(|| stale(row.id))?;
        sqlx::query("DELETE FROM claims WHERE job_id = ?").bind(row.id).execute(&mut *self.0).await?;
        self.drop_pins(row.id).await?;
        Ok(ended)
    }

    /// Fails unless the task with `generation` still owns the job; first thing in each write of a task.
    pub async fn hold(&mut self, id: JobId, generation: i64) -> Result<()> {
        let held: Option<i64> =
            sqlx::query_scalar("SELECT 1 FROM jobs WHERE id = ? AND generation = ? AND status = 'running'")
                .bind(id)
                .bind(generation)
                .fetch_optional(&mut *self.0)
                .await?;
        held.map(|_| ()).ok_or_else(|| stale(id))
    }

    /// Notes that somebody wants the job to end; the first wish counts.
    pub async fn request_cancel(&mut self, id: JobId, now: UnixMillis) -> Result<()> {
        sqlx::query("UPDATE jobs SET cancel_requested_ms = coalesce(cancel_requested_ms, ?) WHERE id = ?")
            .bind(now.0)
            .bind(id)
            .execute(&mut *self.0)
            .await?;
        Ok(())
    }

    /// Renews the leases of every job that `owner` runs.
    pub async fn renew_leases(&mut self, owner: &str, until: UnixMillis) -> Result<()> {
        sqlx::query("UPDATE jobs SET lease_until_ms = ? WHERE status = 'running' AND finished_ms IS NULL AND owner = ?")
            .bind(until.0)
            .bind(owner)
            .execute(&mut *self.0)
            .await?;
        Ok(())
    }

    /// Notes the warnings of a job that still runs under `generation`, in place of those of before; of another it
    /// writes nothing.
    pub async fn set_warnings(&mut self, id: JobId, generation: i64, warnings: &[Warning]) -> Result<()> {
        sqlx::query("UPDATE jobs SET warnings = ? WHERE id = ? AND generation = ? AND status = 'running'")
            .bind(serde_json::json!(warnings).to_string())
            .bind(id)
            .bind(generation)
            .execute(&mut *self.0)
            .await?;
        Ok(())
    }

    /// Notes the namespaces that the plan of a job resolved.
    pub async fn set_namespaces(&mut self, id: JobId, namespaces: &[String]) -> Result<()> {
        sqlx::query("UPDATE jobs SET namespaces = ? WHERE id = ?")
            .bind(serde_json::json!(namespaces).to_string())
            .bind(id)
            .execute(&mut *self.0)
            .await?;
        Ok(())
    }

    /// Fixes `created` of a run.
    pub async fn set_created(&mut self, id: JobId, created: UnixMillis) -> Result<()> {
        sqlx::query("UPDATE jobs SET created_ms = ? WHERE id = ?")
            .bind(created.0)
            .bind(id)
            .execute(&mut *self.0)
            .await?;
        Ok(())
    }

    /// The latest `created` of any run of the routine that is not in the future: those are void, and no floor
    /// (rules.md 3.1).
    pub async fn latest_created(&mut self, routine: &str, now: UnixMillis) -> Result<Option<UnixMillis>> {
        let latest: Option<i64> = sqlx::query_scalar(
            "SELECT max(created_ms) FROM jobs WHERE routine = ? AND created_ms IS NOT NULL AND created_ms <= ?",
        )
        .bind(routine)
        .bind(now.plus_ms(CLOCK_TOLERANCE_MS).0)
        .fetch_one(&mut *self.0)
        .await?;
        Ok(latest.map(UnixMillis))
    }
}

/// The job is no longer what the writer took it for; nothing was written.
fn stale(id: JobId) -> Error {
    Error::permanent("stale-generation", format!("job {id} has changed hands or ended"))
}
