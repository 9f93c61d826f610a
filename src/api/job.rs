//! How our own API shows a job; keys that are always there are null where nothing is known.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::Value;

use super::abs::RunMetrics;
use crate::app::JobView;
use crate::model::{BackupType, UnixMillis};
use crate::store::{AttemptRow, JobHead, Warning};

/// A job in a list.
#[derive(Debug, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "kebab-case")]
#[schema(as = JobSummary)]
pub struct Summary {
    /// Below 2^53.
    id: i64,
    /// `backup`, `restore`, `retention` or `verify`.
    kind: &'static str,
    /// `full` or `incremental`; null for other kinds.
    #[serde(rename = "type")]
    backup_type: Option<&'static str>,
    /// Null for a restore by path.
    routine: Option<String>,
    /// What made it: `schedule`, `catch-up`, `api`, `retry`, `recovery` or `after-backup`.
    trigger: &'static str,
    /// `scheduled`, `queued`, `running`, `succeeded`, `failed`, `canceled`, `skipped`, `missed` or `interrupted`.
    status: &'static str,
    /// What the client calls it.
    label: Option<String>,
    /// One sentence: why it was refused or cut off, or the error it failed with.
    reason: Option<String>,
    /// The same, stable and kebab-case.
    reason_code: Option<String>,
    /// When it was asked for.
    admitted: String,
    /// From when on it may run.
    due: String,
    /// From when on it waited for its turn.
    queued: Option<String>,
    /// RFC 3339.
    started: Option<String>,
    /// RFC 3339.
    finished: Option<String>,
}

impl Summary {
    /// A row in a list.
    pub fn of(job: JobHead) -> Self {
        let instant = |at: Option<UnixMillis>| at.map(UnixMillis::to_rfc3339);
        Self {
            id: job.id.0,
            kind: job.kind.as_str(),
            backup_type: job.backup_type.map(BackupType::as_str),
            routine: job.routine,
            trigger: job.trigger.as_str(),
            status: job.status.as_str(),
            label: job.label,
            reason: job.reason,
            reason_code: job.reason_code,
            admitted: job.admitted.to_rfc3339(),
            due: job.due.to_rfc3339(),
            queued: instant(job.queued),
            started: instant(job.started),
            finished: instant(job.finished),
        }
    }
}

/// `GET /v1/jobs`.
#[derive(Debug, Serialize, utoipa::ToSchema)]
#[schema(as = JobPage)]
pub struct Page {
    /// The newest first.
    jobs: Vec<Summary>,
    /// What to give as `cursor` for the next page; none: this is the last.
    next: Option<String>,
}

impl Page {
    /// One page.
    pub fn of(page: crate::store::JobPage<JobHead>) -> Self {
        let next = page.next.map(|id| id.to_string());
        Self { jobs: page.jobs.into_iter().map(Summary::of).collect(), next }
    }
}

/// `GET /v1/jobs/{id}`.
#[derive(Debug, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "kebab-case")]
#[schema(as = JobDetail)]
pub struct Detail {
    #[serde(flatten)]
    summary: Summary,
    /// By its configured name.
    cluster: Option<String>,
    /// By its configured name.
    storage: Option<String>,
    /// Of a backup, as resolved when it started.
    namespaces: Option<Vec<String>>,
    /// The start of the backup run: names its folder.
    created: Option<String>,
    /// The caller's name, and its address.
    requested_by: Option<String>,
    /// The job that this one is another attempt of.
    retry_of: Option<i64>,
    /// When that was asked, RFC 3339.
    cancel_requested: Option<String>,
    /// How far it is.
    progress: Shown,
    /// What it is doing, or waits for; while it runs.
    #[serde(skip_serializing_if = "Option::is_none")]
    doing: Option<String>,
    /// How fast it goes.
    rate: RunMetrics,
    /// RFC 3339.
    estimated_end_time: Option<String>,
    /// Per namespace, oldest first.
    attempts: BTreeMap<String, Vec<Attempt>>,
    /// What a restore, a retention or a verification has counted.
    counters: Option<Value>,
    /// What its reader should know although it went on.
    warnings: Vec<Warning>,
    /// What it failed with.
    error: Option<Failure>,
    /// What came of it; by the kind.
    result: Option<Value>,
}

/// How far a job is.
#[derive(Debug, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "kebab-case")]
#[schema(as = JobProgress)]
struct Shown {
    /// An estimate.
    total_records: u64,
    /// Read, or of a restore settled.
    done_records: u64,
    /// The same in bytes.
    bytes: u64,
    /// 0 to 100; 99 at most before the end.
    percentage_done: u64,
}

/// What failed.
#[derive(Debug, Serialize, utoipa::ToSchema)]
#[schema(as = JobFailure)]
struct Failure {
    /// Stable, kebab-case: see docs/errors.md.
    code: String,
    /// In words.
    message: Option<String>,
}

/// One try at one namespace.
#[derive(Debug, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "kebab-case")]
#[schema(as = JobAttempt)]
struct Attempt {
    /// From 1.
    #[serde(rename = "attempt")]
    number: u32,
    /// `running`, `committed`, `empty`, `failed`, `canceled`, `absent` or `unknown`.
    status: &'static str,
    /// Below the storage's root.
    folder: String,
    /// What an incremental builds on.
    from: Option<String>,
    /// Why it is a full although an incremental was asked for.
    promoted: Option<String>,
    /// RFC 3339.
    started: String,
    /// RFC 3339.
    finished: Option<String>,
    /// Records.
    record_count: u64,
    /// Bytes in storage.
    byte_count: u64,
    /// Files.
    file_count: u64,
    /// Secondary indexes.
    secondary_index_count: u64,
    /// UDF modules.
    udf_count: u64,
    /// What it failed with.
    error: Option<Failure>,
}

impl Attempt {
    fn of(row: AttemptRow) -> Self {
        let counted = |count: fn(&crate::store::AttemptEnd) -> u64| row.end.as_ref().map_or(0, count);
        Self {
            number: row.attempt,
            status: row.status.as_str(),
            record_count: counted(|end| end.records),
            byte_count: counted(|end| end.bytes),
            file_count: counted(|end| end.files),
            secondary_index_count: counted(|end| end.indexes),
            udf_count: counted(|end| end.udfs),
            finished: row.end.as_ref().map(|end| end.finished.to_rfc3339()),
            error: row
                .end
                .and_then(|end| end.error)
                .map(|(code, text)| Failure { code, message: Some(text) }),
            started: row.started.to_rfc3339(),
            folder: row.start.folder,
            from: row.start.from.map(UnixMillis::to_rfc3339),
            promoted: row.start.promoted,
        }
    }
}

impl Detail {
    /// Everything known of a job.
    pub fn of(view: JobView) -> Self {
        let (job, progress) = (view.job, view.progress);
        let mut attempts: BTreeMap<String, Vec<Attempt>> = BTreeMap::new();
        for row in view.attempts {
            attempts.entry(row.start.namespace.clone()).or_default().push(Attempt::of(row));
        }
        Self {
            summary: Summary::of(job.head()),
            cluster: job.cluster,
            storage: job.storage,
            namespaces: job.namespaces,
            created: job.created.map(UnixMillis::to_rfc3339),
            requested_by: job.requested_by,
            retry_of: job.retry_of.map(|id| id.0),
            cancel_requested: job.cancel_requested.map(UnixMillis::to_rfc3339),
            progress: Shown {
                total_records: progress.total,
                done_records: progress.done,
                bytes: progress.bytes,
                percentage_done: progress.percent,
            },
            doing: view.doing,
            rate: RunMetrics::of(&progress),
            estimated_end_time: progress.estimated_end.map(UnixMillis::to_rfc3339),
            attempts,
            counters: job.counters,
            warnings: job.warnings,
            error: job.error_code.map(|code| Failure { code, message: job.error }),
            result: job.result,
        }
    }
}
