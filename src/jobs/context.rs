//! What a running job has in hand.

use std::sync::{Arc, Mutex, PoisonError};

use tokio_util::sync::CancellationToken;

use super::admit::exclusion;
use super::{Jobs, NamespaceRetry, Progress, resume};
use crate::clock::SharedClock;
use crate::error::{Error, Result};
use crate::memory::Share;
use crate::model::{JobKind, UnixMillis};
use crate::store::{
    AttemptEnd, AttemptRow, AttemptStart, AttemptStatus, CheckpointFile, CheckpointRow, ClaimRow, JobRow,
    PinRow, Store, Warning,
};

/// `created` may run at most this far ahead of the clock (rules.md 3.1).
const CREATED_AHEAD_MAX_MS: i64 = 1000;

/// What a running job has in hand; cheap to clone into its tasks.
///
/// Each write fails with `stale-generation` once the job belongs to somebody else; the work then stops.
#[derive(Clone)]
pub struct JobContext {
    /// The row as it was when the job started.
    pub job: Arc<JobRow>,
    /// The store.
    pub store: Store,
    /// The clock.
    pub clock: SharedClock,
    /// Ends the work: a cancel, or the end of the grace of a stop (rules.md 2.8, 6.4).
    pub cancel: CancellationToken,
    /// The process is about to stop: reach a checkpoint or an end, and start nothing large.
    pub stopping: CancellationToken,
    /// Where the work counts what it does.
    pub progress: Progress,
    /// What the job may hold; given back when the last clone is gone (rules.md 8.1).
    pub memory: Arc<Share>,
    pub(super) jobs: Jobs,
    pub(super) report: Arc<Mutex<Report>>,
}

/// What the work says of itself; kept apart so that it survives a panic.
#[derive(Debug, Default)]
pub(super) struct Report {
    pub warnings: Vec<Warning>,
    pub result: Option<serde_json::Value>,
    pub counters: Option<serde_json::Value>,
    /// How many of the warnings are in the row.
    pub warnings_written: usize,
    /// The job was ended because nothing moved: its `stall-timeout` in ms, and what it was doing.
    pub stalled: Option<(u64, String)>,
}

impl JobContext {
    /// Adds a warning to the row's; the same one only once.
    pub fn warn(&self, code: &str, text: impl Into<String>) {
        let warning = Warning { code: code.to_owned(), text: text.into() };
        tracing::warn!(job = self.job.id.0, code, "{}", warning.text);
        let mut report = self.report.lock().unwrap_or_else(PoisonError::into_inner);
        if !report.warnings.contains(&warning) {
            report.warnings.push(warning);
        }
    }

    /// The same job in a phase that is not what it is about: see [`Progress::phase`].
    #[must_use]
    pub fn phase(&self, name: &'static str) -> Self {
        Self { progress: self.progress.phase(name), ..self.clone() }
    }

    /// Sets what came of the job; the last value counts.
    pub fn set_result(&self, result: serde_json::Value) {
        self.report.lock().unwrap_or_else(PoisonError::into_inner).result = Some(result);
    }

    /// Sets what was counted; the last value counts.
    pub fn set_counters(&self, counters: serde_json::Value) {
        self.report.lock().unwrap_or_else(PoisonError::into_inner).counters = Some(counters);
    }

    /// Fixes `created` of the run: the job's own if it goes on with a run, else now, later than any earlier `created`
    /// of the routine (rules.md 3.1). `newest` is the latest that storage knows.
    ///
    /// Errors: `clock-behind` when that would be more than 1 s ahead of the clock.
    pub async fn fix_created(&self, newest: Option<UnixMillis>) -> Result<UnixMillis> {
        let mut tx = self.hold().await?;
        if let Some(row) = tx.job(self.job.id).await?
            && let Some(created) = row.created
        {
            return self.not_ahead(created);
        }
        let routine = self.job.routine.as_deref().unwrap_or_default();
        let now = self.clock.now();
        let earlier = tx.latest_created(routine, now).await?.max(newest);
        let created = earlier.map_or(now, |earlier| now.max(earlier.plus_ms(1)));
        let created = self.not_ahead(created)?;
        tx.set_created(self.job.id, created).await?;
        tx.commit().await?;
        Ok(created)
    }

    /// Refuses a `created` that is further ahead of the clock than it may be: `clock-behind`.
    pub fn not_ahead(&self, created: UnixMillis) -> Result<UnixMillis> {
        let now = self.clock.now();
        if created.since(now) <= CREATED_AHEAD_MAX_MS {
            return Ok(created);
        }
        let routine = self.job.routine.as_deref().unwrap_or_default();
        let text = format!("the clock shows {now}, but routine {routine} has come to {created}");
        Err(Error::permanent("clock-behind", text).hint("Set the clock of this machine right."))
    }

    /// Claims the namespaces that the plan has resolved, in place of what was claimed at admission (rules.md 2.4), and
    /// notes them in the row (3.8). `clusters` are the names of one cluster: the configured one, and one key per node
    /// (id and address).
    ///
    /// Errors: `restore-running`, `backup-running`; the job keeps its claims of before.
    pub async fn claim(&self, clusters: &[String], namespaces: &[String]) -> Result<()> {
        let mut tx = self.hold().await?;
        let own: Vec<ClaimRow> = clusters
            .iter()
            .flat_map(|cluster| namespaces.iter().map(move |namespace| (cluster, namespace)))
            .map(|(cluster, namespace)| ClaimRow {
                job_id: self.job.id,
                cluster: cluster.clone(),
                namespace: namespace.clone(),
                mode: self.job.kind,
            })
            .collect();
        let clusters: Vec<&str> = clusters.iter().map(String::as_str).collect();
        // Who waits is decided again when it leaves the queue; only what runs is in the way.
        let others = tx.claims_on(&clusters, false, true).await?;
        if let Some(refusal) = exclusion(&own, &others) {
            return Err(Error::permanent(refusal.code, refusal.reason));
        }
        tx.drop_claims(self.job.id).await?;
        tx.insert_claims(&own).await?;
        tx.set_namespaces(self.job.id, namespaces).await?;
        tx.commit().await
    }

    /// Writes the row of the next attempt of a namespace, before its folder is used (rules.md 6.1). `start` is given
    /// the number of the attempt: 1 is `<namespace>`, 2 is `<namespace>.2` (rules.md 3.9).
    pub async fn start_attempt(
        &self,
        namespace: &str,
        created: UnixMillis,
        start: impl FnOnce(u32) -> AttemptStart,
    ) -> Result<AttemptRow> {
        let mut tx = self.hold().await?;
        let routine = self.job.routine.as_deref().unwrap_or_default();
        let attempt = match self.job.kind {
            // Its safety backup is of no run of a routine.
            JobKind::Restore => tx.next_attempt_of(self.job.id, namespace).await?,
            _ => tx.next_attempt(routine, created, namespace).await?,
        };
        let row = tx.start_attempt(self.job.id, attempt, &start(attempt), self.clock.now()).await?;
        tx.commit().await?;
        Ok(row)
    }

    /// As [`JobContext::start_attempt`], of a try that goes on from what another one of the run has kept, if that fits:
    /// `start` is also given the folder of it (rules.md 6.3). `key` is the hash of what the tries must not differ in,
    /// `safe_from` the lower bound of this one. The checkpoint is then this try's.
    pub async fn start_resumable(
        &self,
        namespace: &str,
        created: UnixMillis,
        key: &str,
        safe_from: UnixMillis,
        start: impl FnOnce(u32, Option<String>) -> AttemptStart,
    ) -> Result<(AttemptRow, CheckpointRow)> {
        let mut tx = self.hold().await?;
        let routine = self.job.routine.as_deref().unwrap_or_default();
        let attempt = tx.next_attempt(routine, created, namespace).await?;
        let kept = tx.checkpoint_of_run(routine, created, namespace).await?;
        let too_old = resume::is_too_old(&tx.schedules().await?, routine, created, self.clock.now());
        let fits = kept.as_ref().filter(|kept| kept.key == key && !too_old);
        let start = start(attempt, fits.map(|kept| kept.folder.clone()));
        let row = tx.start_attempt(self.job.id, attempt, &start, self.clock.now()).await?;
        let mut safe = safe_from;
        match (fits, &kept) {
            (Some(kept), _) => {
                safe = safe.min(kept.safe_from);
                tx.move_checkpoint(kept, &row, safe).await?;
            }
            (None, kept) => {
                if let Some(kept) = kept {
                    tx.replace_checkpoint(kept, &start.folder).await?;
                }
                tx.insert_checkpoint(&row, key, safe).await?;
            }
        }
        tx.commit().await?;
        let checkpoint = CheckpointRow {
            job_id: row.job_id,
            namespace: namespace.to_owned(),
            attempt,
            folder: start.folder,
            key: key.to_owned(),
            safe_from: safe,
            created,
        };
        Ok((row, checkpoint))
    }

    /// Writes how an attempt ended; what it has noted for another one is forgotten.
    pub async fn end_attempt(&self, attempt: &AttemptRow, end: &AttemptEnd) -> Result<()> {
        let mut tx = self.hold().await?;
        tx.end_attempt(attempt, end).await?;
        if end.status != AttemptStatus::Unknown {
            tx.forget_checkpoint(attempt).await?;
        }
        tx.commit().await
    }

    /// Writes how an attempt ended whose folder is kept for another one to go on from (rules.md 6.3).
    pub async fn end_attempt_kept(&self, attempt: &AttemptRow, end: &AttemptEnd) -> Result<()> {
        let mut tx = self.hold().await?;
        tx.end_attempt(attempt, end).await?;
        tx.commit().await
    }

    /// Notes files of an attempt that are closed and durable.
    pub async fn note_files(&self, attempt: &AttemptRow, files: &[CheckpointFile]) -> Result<()> {
        let mut tx = self.hold().await?;
        tx.note_files(attempt, files).await?;
        tx.commit().await
    }

    /// Forgets the files of a checkpoint, which are not whole: the attempt begins anew.
    pub async fn forget_files(&self, attempt: &AttemptRow, safe_from: UnixMillis) -> Result<()> {
        let mut tx = self.hold().await?;
        tx.forget_files(attempt, safe_from).await?;
        tx.commit().await
    }

    /// Takes the checkpoint from the try of this job that has one; that try, which is then unknown until its folder is
    /// removed.
    pub async fn give_up_kept(&self, namespace: &str, created: UnixMillis) -> Result<Option<AttemptRow>> {
        let mut tx = self.hold().await?;
        let routine = self.job.routine.as_deref().unwrap_or_default();
        let kept = tx.checkpoint_of_run(routine, created, namespace).await?;
        let Some(kept) = kept.filter(|kept| kept.job_id == self.job.id) else { return Ok(None) };
        tx.drop_checkpoint(&kept).await?;
        let attempts = tx.attempts(self.job.id).await?;
        tx.commit().await?;
        let is_its = |row: &AttemptRow| row.start.namespace == namespace && row.attempt == kept.attempt;
        Ok(attempts.into_iter().find(is_its))
    }

    /// Whether somebody has asked for the end of the job, rather than the process stopping.
    pub async fn is_cancel_requested(&self) -> Result<bool> {
        Ok(self.store.job(self.job.id).await?.is_some_and(|job| job.cancel_requested.is_some()))
    }

    /// Whether the first attempt of this restore found the namespace of the destination empty; none: this is the first
    /// to look (rules.md 2.5).
    pub async fn found_empty(&self, namespace: &str) -> Result<Option<bool>> {
        self.store.found_empty(self.job.id, namespace).await
    }

    /// Notes what the order of a restore is decided by, before the first write (rules.md 2.5, 4.3).
    pub async fn note_found_empty(&self, namespace: &str, empty: bool) -> Result<()> {
        let mut tx = self.hold().await?;
        tx.note_found_empty(self.job.id, namespace, empty).await?;
        tx.commit().await
    }

    /// Tells everybody that a namespace is tried again.
    pub fn retrying(&self, namespace: &str, error: &Error) {
        self.jobs.announce_retry(&NamespaceRetry::of(&self.job, namespace, error));
    }

    /// Pins the folders at `addresses` (see [`crate::storage::address`]) in place of what the job pinned before: from here
    /// on retention leaves them alone until the job ends (rules.md 5.4).
    ///
    /// First pin what is wide, then ask the store what is marked, then list storage, then narrow the pin to what the plan
    /// has found: so nothing of it can go in between. Errors: `backup-marked` for what is being deleted already.
    pub async fn pin(&self, addresses: impl IntoIterator<Item = String> + Send) -> Result<()> {
        let pins: Vec<PinRow> =
            addresses.into_iter().map(|address| PinRow { job_id: self.job.id, address }).collect();
        let mut tx = self.hold().await?;
        for pin in &pins {
            if let Some(marked) = tx.deletion_of(&pin.address).await? {
                let text =
                    format!("backup {} is being deleted by retention: job {}", marked.folder, marked.job_id);
                return Err(Error::permanent("backup-marked", text).hint("Use another backup."));
            }
        }
        tx.drop_pins(self.job.id).await?;
        tx.insert_pins(&pins).await?;
        tx.commit().await
    }

    /// A transaction in which the job is known to be ours.
    ///
    /// Errors: `stale-generation` once it is not.
    pub async fn hold(&self) -> Result<crate::store::Tx> {
        let mut tx = self.store.write().await?;
        tx.hold(self.job.id, self.job.generation).await?;
        Ok(tx)
    }
}
