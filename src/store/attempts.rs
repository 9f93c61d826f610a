//! Attempts: one try of one namespace of a backup (rules.md 2.5, 3.9).
//!
//! The row is written before the folder is used, so that after a crash every folder that may need cleaning is known
//! (rules.md 6.1).

use sqlx::sqlite::SqliteRow;
use sqlx::{FromRow, Row};

use super::words::{at, at_or_none, count, stored, word};
use super::{JobId, Store, Tx};
use crate::error::{Error, Result};
use crate::model::UnixMillis;

/// Where an attempt stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum AttemptStatus {
    /// A task works on it.
    Running,
    /// Its `metadata.yaml` is in storage.
    Committed,
    /// There was nothing to save; no folder is left (rules.md 3.12).
    Empty,
    /// Ended with an error; its folder is removed, unless it has a checkpoint (rules.md 6.3).
    Failed,
    /// Ended by a cancel, or by a stop; its folder is removed, unless it has a checkpoint.
    Canceled,
    /// Ended by a crash; storage said that it had not committed. Its folder is removed, unless it has a checkpoint.
    Absent,
    /// Ended by a crash, and storage has not answered yet.
    Unknown,
}

impl AttemptStatus {
    /// Every status.
    pub const ALL: [Self; 7] = [
        Self::Running,
        Self::Committed,
        Self::Empty,
        Self::Failed,
        Self::Canceled,
        Self::Absent,
        Self::Unknown,
    ];

    /// The word stored and shown.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Committed => "committed",
            Self::Empty => "empty",
            Self::Failed => "failed",
            Self::Canceled => "canceled",
            Self::Absent => "absent",
            Self::Unknown => "unknown",
        }
    }

    /// The status of a stored word; none for an unknown one.
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|status| status.as_str() == word)
    }

    /// Whether the namespace is done: committed, or nothing to save.
    pub const fn is_done(self) -> bool {
        matches!(self, Self::Committed | Self::Empty)
    }
}

/// What is known when an attempt starts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AttemptStart {
    /// The namespace.
    pub namespace: String,
    /// Where its files go: the key of the folder in storage.
    pub folder: String,
    /// The storage, by its configured name.
    pub storage: String,
    /// `created` of the run.
    pub created: UnixMillis,
    /// `created` of the backup it builds on; none for a full.
    pub from: Option<UnixMillis>,
    /// Why it is a full although an incremental was asked for (rules.md 3.7).
    pub promoted: Option<String>,
}

/// How an attempt ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AttemptEnd {
    /// Anything but `Running`.
    pub status: AttemptStatus,
    /// `finished` of the backup.
    pub finished: UnixMillis,
    /// The lower bound that the next incremental must use (rules.md 3.2).
    pub safe_from: Option<UnixMillis>,
    /// Records written.
    pub records: u64,
    /// Bytes in storage.
    pub bytes: u64,
    /// Data files.
    pub files: u64,
    /// Secondary indexes.
    pub indexes: u64,
    /// UDF modules.
    pub udfs: u64,
    /// Stable code and text of the error.
    pub error: Option<(String, String)>,
    /// The hash of the manifest, in hex.
    pub manifest_hash: Option<String>,
}

impl AttemptEnd {
    /// An end with nothing counted.
    pub fn plain(status: AttemptStatus, finished: UnixMillis) -> Self {
        Self {
            status,
            finished,
            safe_from: None,
            records: 0,
            bytes: 0,
            files: 0,
            indexes: 0,
            udfs: 0,
            error: None,
            manifest_hash: None,
        }
    }
}

/// An attempt as stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AttemptRow {
    /// The job.
    pub job_id: JobId,
    /// Which try of the namespace, from 1.
    pub attempt: u32,
    /// What was known at its start.
    pub start: AttemptStart,
    /// When it started.
    pub started: UnixMillis,
    /// Where it stands.
    pub status: AttemptStatus,
    /// How it ended; none while it runs.
    pub end: Option<AttemptEnd>,
}

impl FromRow<'_, SqliteRow> for AttemptRow {
    fn from_row(row: &SqliteRow) -> sqlx::Result<Self> {
        let status = word(row, "status", AttemptStatus::parse)?;
        let error_code: Option<String> = row.try_get("error_code")?;
        let error: Option<String> = row.try_get("error")?;
        let end = match at_or_none(row, "finished_ms")? {
            None => None,
            Some(finished) => Some(AttemptEnd {
                status,
                finished,
                safe_from: at_or_none(row, "safe_from_ms")?,
                records: count(row, "records")?,
                bytes: count(row, "bytes")?,
                files: count(row, "files")?,
                indexes: count(row, "indexes")?,
                udfs: count(row, "udfs")?,
                error: error_code.zip(error),
                manifest_hash: row.try_get("manifest_hash")?,
            }),
        };
        Ok(Self {
            job_id: row.try_get("job_id")?,
            attempt: row.try_get("attempt")?,
            start: AttemptStart {
                namespace: row.try_get("namespace")?,
                folder: row.try_get("folder")?,
                storage: row.try_get("storage")?,
                created: at(row, "created_ms")?,
                from: at_or_none(row, "from_ms")?,
                promoted: row.try_get("promoted")?,
            },
            started: at(row, "started_ms")?,
            status,
            end,
        })
    }
}

impl Store {
    /// The attempts of a job, by namespace and number.
    pub async fn attempts(&self, job: JobId) -> Result<Vec<AttemptRow>> {
        Ok(sqlx::query_as("SELECT * FROM attempts WHERE job_id = ? ORDER BY namespace, attempt")
            .bind(job)
            .fetch_all(self.reader())
            .await?)
    }

    /// Whether a later attempt has used the folder of this one, as on local disks (rules.md 3.9): what is in it now
    /// is the later one's.
    pub async fn folder_was_reused(&self, attempt: &AttemptRow) -> Result<bool> {
        Ok(sqlx::query_scalar(
            "SELECT EXISTS (SELECT 1 FROM attempts WHERE folder = ? AND storage = ? AND namespace = ? \
             AND (job_id > ? OR (job_id = ? AND attempt > ?)))",
        )
        .bind(&attempt.start.folder)
        .bind(&attempt.start.storage)
        .bind(&attempt.start.namespace)
        .bind(attempt.job_id)
        .bind(attempt.job_id)
        .bind(attempt.attempt)
        .fetch_one(self.reader())
        .await?)
    }

    /// The attempts of ended jobs that storage has not settled yet (rules.md 6.1).
    pub async fn unsettled_attempts(&self) -> Result<Vec<AttemptRow>> {
        Ok(sqlx::query_as(
            "SELECT a.* FROM attempts a JOIN jobs j ON j.id = a.job_id \
             WHERE a.status IN ('running', 'unknown') AND j.status NOT IN ('scheduled', 'queued', 'running') \
             ORDER BY a.job_id, a.namespace, a.attempt",
        )
        .fetch_all(self.reader())
        .await?)
    }
}

impl Store {
    /// Whether an attempt that committed to this folder had a manifest (rules.md 4.2), and with it every copy of the folder;
    /// false also where no such attempt is known any more.
    pub async fn had_manifest(&self, folder: &str) -> Result<bool> {
        let known: Option<i64> = sqlx::query_scalar(
            "SELECT 1 FROM attempts WHERE folder = ? AND manifest_hash IS NOT NULL \
             AND status = 'committed' LIMIT 1",
        )
        .bind(folder)
        .fetch_optional(self.reader())
        .await?;
        Ok(known.is_some())
    }
}

impl Tx {
    /// The attempts of a job, by namespace and number.
    pub async fn attempts(&mut self, job: JobId) -> Result<Vec<AttemptRow>> {
        Ok(sqlx::query_as("SELECT * FROM attempts WHERE job_id = ? ORDER BY namespace, attempt")
            .bind(job)
            .fetch_all(&mut *self.0)
            .await?)
    }

    /// The number of the next try of a namespace under one `created`, over all jobs of the run (rules.md 2.5, 3.9).
    pub async fn next_attempt(&mut self, routine: &str, created: UnixMillis, namespace: &str) -> Result<u32> {
        Ok(sqlx::query_scalar(
            "SELECT coalesce(max(a.attempt), 0) + 1 FROM jobs j JOIN attempts a ON a.job_id = j.id \
             WHERE j.routine = ? AND j.created_ms = ? AND a.namespace = ?",
        )
        .bind(routine)
        .bind(created.0)
        .bind(namespace)
        .fetch_one(&mut *self.0)
        .await?)
    }

    /// The number of the next try of a namespace in one job.
    pub async fn next_attempt_of(&mut self, job: JobId, namespace: &str) -> Result<u32> {
        Ok(sqlx::query_scalar(
            "SELECT coalesce(max(attempt), 0) + 1 FROM attempts WHERE job_id = ? AND namespace = ?",
        )
        .bind(job)
        .bind(namespace)
        .fetch_one(&mut *self.0)
        .await?)
    }

    /// Writes the row of an attempt that starts.
    pub async fn start_attempt(
        &mut self,
        job: JobId,
        attempt: u32,
        start: &AttemptStart,
        now: UnixMillis,
    ) -> Result<AttemptRow> {
        Ok(sqlx::query_as(
            "INSERT INTO attempts (job_id, namespace, attempt, folder, storage, status, created_ms, started_ms, \
             from_ms, promoted) VALUES (?, ?, ?, ?, ?, 'running', ?, ?, ?, ?) RETURNING *",
        )
        .bind(job)
        .bind(&start.namespace)
        .bind(attempt)
        .bind(&start.folder)
        .bind(&start.storage)
        .bind(start.created.0)
        .bind(now.0)
        .bind(start.from.map(|from| from.0))
        .bind(&start.promoted)
        .fetch_one(&mut *self.0)
        .await?)
    }

    /// The tries that nobody has ended of a job that has: storage is asked about them.
    pub async fn leave_attempts(&mut self, job: JobId, now: UnixMillis) -> Result<()> {
        sqlx::query(
            "UPDATE attempts SET status = 'unknown', finished_ms = ? WHERE job_id = ? AND status = 'running'",
        )
        .bind(now.0)
        .bind(job)
        .execute(&mut *self.0)
        .await?;
        Ok(())
    }

    /// Ends an attempt that runs or is unknown.
    pub async fn end_attempt(&mut self, row: &AttemptRow, end: &AttemptEnd) -> Result<()> {
        let (code, text) = end.error.as_ref().map(|(code, text)| (code, text)).unzip();
        let done = sqlx::query(
            "UPDATE attempts SET status = ?, finished_ms = ?, safe_from_ms = ?, records = ?, bytes = ?, files = ?, \
             indexes = ?, udfs = ?, error_code = ?, error = ?, manifest_hash = ? \
             WHERE job_id = ? AND namespace = ? AND attempt = ? AND status IN ('running', 'unknown')",
        )
        .bind(end.status.as_str())
        .bind(end.finished.0)
        .bind(end.safe_from.map(|from| from.0))
        .bind(stored(end.records))
        .bind(stored(end.bytes))
        .bind(stored(end.files))
        .bind(stored(end.indexes))
        .bind(stored(end.udfs))
        .bind(code)
        .bind(text)
        .bind(&end.manifest_hash)
        .bind(row.job_id)
        .bind(&row.start.namespace)
        .bind(row.attempt)
        .execute(&mut *self.0)
        .await?;
        if done.rows_affected() == 1 {
            if end.status == AttemptStatus::Committed {
                self.note_committed(row.job_id, &row.start.storage, &row.start.folder).await?;
            }
            return Ok(());
        }
        Err(Error::permanent(
            "attempt-ended",
            format!(
                "attempt {} of namespace {} of job {} has ended",
                row.attempt, row.start.namespace, row.job_id
            ),
        ))
    }
}
