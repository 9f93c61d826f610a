//! ABS's shapes of what runs (abs.md 1.3).

use serde::Serialize;
use serde_json::Value;

use crate::app::{JobView, Progress, RoutineState as State};
use crate::model::status::AbsLevel;
use crate::model::{JobStatus, UnixMillis};

/// `GET /v1/backups/currentBackup/{name}`.
#[derive(Debug, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "kebab-case")]
pub struct RoutineState {
    /// The full that runs.
    #[serde(skip_serializing_if = "Option::is_none")]
    full: Option<RunningJob>,
    /// The incremental that runs.
    #[serde(skip_serializing_if = "Option::is_none")]
    incremental: Option<RunningJob>,
    /// When the newest that succeeded began, RFC 3339.
    #[serde(skip_serializing_if = "Option::is_none")]
    last_full: Option<String>,
    /// The same of incrementals.
    #[serde(skip_serializing_if = "Option::is_none")]
    last_incremental: Option<String>,
    /// When the next is due, RFC 3339.
    #[serde(skip_serializing_if = "Option::is_none")]
    next_full: Option<String>,
    /// The same of incrementals.
    #[serde(skip_serializing_if = "Option::is_none")]
    next_incremental: Option<String>,
}

impl RoutineState {
    /// The state in ABS's shape.
    pub fn of(state: &State, level: AbsLevel) -> Self {
        let running = |view: &Option<JobView>| view.as_ref().map(|view| RunningJob::of(view, level));
        let instant = |at: Option<UnixMillis>| at.map(UnixMillis::to_rfc3339);
        Self {
            full: running(&state.full),
            incremental: running(&state.incremental),
            last_full: instant(state.last_full),
            last_incremental: instant(state.last_incremental),
            next_full: instant(state.next_full),
            next_incremental: instant(state.next_incremental),
        }
    }
}

/// What runs, or ran: numbers only.
#[derive(Debug, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "kebab-case")]
pub struct RunningJob {
    /// An estimate.
    total_records: u64,
    /// Read, or of a restore settled.
    done_records: u64,
    /// RFC 3339.
    start_time: String,
    /// 0 to 100; never falls.
    percentage_done: u64,
    /// RFC 3339; from 1 % on.
    #[serde(skip_serializing_if = "Option::is_none")]
    estimated_end_time: Option<String>,
    /// RFC 3339; absent while it runs.
    #[serde(skip_serializing_if = "Option::is_none")]
    finish_time: Option<String>,
    /// Seconds; since 3.6.
    #[serde(skip_serializing_if = "Option::is_none")]
    duration: Option<i64>,
    /// How fast it goes.
    metrics: RunMetrics,
}

/// How fast it goes.
#[derive(Debug, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "kebab-case")]
pub struct RunMetrics {
    /// Lately.
    records_per_second: u64,
    /// Lately.
    kilobytes_per_second: u64,
    /// Records read and not yet written.
    pipeline: u64,
}

impl RunMetrics {
    /// The rates of a job.
    pub fn of(progress: &Progress) -> Self {
        Self {
            records_per_second: progress.records_per_second,
            kilobytes_per_second: progress.kilobytes_per_second,
            pipeline: progress.in_pipeline,
        }
    }
}

impl RunningJob {
    /// A job in ABS's shape; one that waits starts when it was asked for.
    pub fn of(view: &JobView, level: AbsLevel) -> Self {
        let (job, progress) = (&view.job, &view.progress);
        let start = job.started.unwrap_or(job.admitted);
        let end = job.finished.unwrap_or(view.now);
        Self {
            total_records: progress.total,
            done_records: progress.done,
            start_time: start.to_rfc3339(),
            percentage_done: progress.percent,
            estimated_end_time: progress.estimated_end.map(UnixMillis::to_rfc3339),
            finish_time: job.finished.map(UnixMillis::to_rfc3339),
            duration: (level != AbsLevel::V3_5).then(|| end.since(start).max(0) / 1000),
            metrics: RunMetrics::of(progress),
        }
    }
}

/// `GET /v1/restore/status/{jobId}`.
#[derive(Debug, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "kebab-case")]
pub struct RestoreStatus {
    /// Records read from the backup; when it has ended each is in one counter below.
    read_records: u64,
    /// Bytes read from storage.
    total_bytes: u64,
    /// Past their life.
    expired_records: u64,
    /// Not asked for.
    skipped_records: u64,
    /// Refused by the server for what they are.
    ignored_records: u64,
    /// Written.
    inserted_records: u64,
    /// There already, with `unique`.
    existed_records: u64,
    /// Fresher in the destination.
    fresher_records: u64,
    /// Secondary indexes.
    index_count: u64,
    /// UDF modules.
    udf_count: u64,
    /// Writes that may or may not have happened.
    errors_in_doubt: u64,
    /// How far it is.
    current_job: RunningJob,
    /// In the words of the release that is spoken.
    status: &'static str,
    /// Why it failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
}

impl RestoreStatus {
    /// A restore in ABS's shape and words.
    pub fn of(view: &JobView, level: AbsLevel) -> Self {
        let counters = view.job.counters.as_ref();
        let count = |key: &str| counters.and_then(|counters| counters.get(key)).and_then(Value::as_u64);
        let counted = |key: &str| count(key).unwrap_or(0);
        Self {
            // While it runs only these two are known.
            read_records: count("read-records").unwrap_or(view.progress.done),
            total_bytes: count("total-bytes").unwrap_or(view.progress.bytes),
            expired_records: counted("expired-records"),
            skipped_records: counted("skipped-records"),
            ignored_records: counted("ignored-records"),
            inserted_records: counted("inserted-records"),
            existed_records: counted("existed-records"),
            fresher_records: counted("fresher-records"),
            index_count: counted("index-count"),
            udf_count: counted("udf-count"),
            errors_in_doubt: counted("errors-in-doubt"),
            current_job: RunningJob::of(view, level),
            status: view.job.status.abs_word(level),
            error: failed(view),
        }
    }
}

/// Why it failed: the error, else the reason of what ABS knows only as a failure.
fn failed(view: &JobView) -> Option<String> {
    let job = &view.job;
    match job.status {
        JobStatus::Failed | JobStatus::Skipped | JobStatus::Missed | JobStatus::Interrupted => {
            job.error.clone().or_else(|| job.reason.clone()).or_else(|| job.error_code.clone())
        }
        _ => None,
    }
}
