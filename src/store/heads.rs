//! Jobs as lists show them: a page of whole rows, with their documents, costs many times as much.

use serde::Deserialize;
use sqlx::{QueryBuilder, Sqlite};

use super::words::decode;
use super::{JobFilter, JobId, JobPage, JobRow, Store, Trigger};
use crate::error::Result;
use crate::model::{BackupType, JobKind, JobStatus, UnixMillis};

/// What a list shows of a job; see [`JobRow`].
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct JobHead {
    /// Its number.
    pub id: JobId,
    /// What kind of work it is.
    pub kind: JobKind,
    /// The type of a backup.
    pub backup_type: Option<BackupType>,
    /// The routine it belongs to.
    pub routine: Option<String>,
    /// What made it.
    pub trigger: Trigger,
    /// Where it stands.
    pub status: JobStatus,
    /// What the client calls it.
    pub label: Option<String>,
    /// Stable code and sentence: why it was refused or cut off, else the error it failed with.
    pub reason_code: Option<String>,
    /// The sentence of it.
    pub reason: Option<String>,
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
}

/// The fields of [`JobHead`], in its order.
const COLUMNS: &str = "id, kind, type, routine, trigger, status, label, ifnull(reason_code, error_code), \
     ifnull(reason, error), admitted_ms, due_ms, queued_ms, started_ms, finished_ms";

impl JobRow {
    /// What a list shows of it.
    pub fn head(&self) -> JobHead {
        JobHead {
            id: self.id,
            kind: self.kind,
            backup_type: self.backup_type,
            routine: self.routine.clone(),
            trigger: self.trigger,
            status: self.status,
            label: self.label.clone(),
            reason_code: self.reason_code.clone().or_else(|| self.error_code.clone()),
            reason: self.reason.clone().or_else(|| self.error.clone()),
            admitted: self.admitted,
            due: self.due,
            queued: self.queued,
            started: self.started,
            finished: self.finished,
        }
    }
}

impl Store {
    /// The newest `limit` jobs that match (rules.md 7.3), as lists show them.
    pub async fn job_heads(&self, filter: &JobFilter, limit: u32) -> Result<JobPage<JobHead>> {
        // The page as one value: each row wakes the thread that waits for it, which costs more than to read the row.
        let mut query = QueryBuilder::<Sqlite>::new(format!(
            "SELECT json_group_array(json_array({COLUMNS}) ORDER BY id DESC) FROM (SELECT * FROM jobs"
        ));
        filter.push(&mut query, limit);
        let page: String = query.push(")").build_query_scalar().fetch_one(self.reader()).await?;
        let jobs: Vec<JobHead> = serde_json::from_str(&page).map_err(|error| decode("jobs", error))?;
        Ok(JobPage::of(jobs, limit, |job| job.id))
    }
}
