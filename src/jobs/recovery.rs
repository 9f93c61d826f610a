//! What an earlier process left: every row of it reaches an end that storage confirms (rules.md 6.1, 2.5).
//!
//! Plan and execution are apart: [`end_of_job`] decides from rows alone.

use std::collections::BTreeSet;

use async_trait::async_trait;

use super::Jobs;
use super::admit::{self, NewJob};
use super::stop::SHUTDOWN;
use crate::error::Result;
use crate::model::{JobKind, JobStatus, UnixMillis};
use crate::store::{AttemptEnd, AttemptRow, AttemptStatus, JobEnd, JobRow, SlotRow, Store, Trigger, Tx};

/// The reason of a job that the end of its process ended.
pub const CRASHED: &str = "crashed";

/// The reason of a job that ended before storage had said whether a namespace committed (`backup`).
const COMMIT_UNKNOWN: &str = "commit-unknown";

/// After so many crashes a slot is given up (rules.md 2.5).
const CRASHES_MAX: usize = 3;

/// Asks storage what became of an attempt; removes what did not commit.
#[async_trait]
pub trait Settle: Send + Sync {
    /// The answer for `attempt` of `job`. Whatever keeps storage from answering is [`Settled::Unknown`].
    async fn settle(&self, job: &JobRow, attempt: &AttemptRow) -> Settled;
}

/// What storage says of an attempt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Settled {
    /// Its `metadata.yaml` is there, and its manifest's files with their sizes.
    Committed(Box<AttemptEnd>),
    /// It had not committed; its folder is removed.
    Absent,
    /// It had not committed; what it had finished stays for another attempt to go on from (rules.md 6.3).
    Kept,
    /// Storage did not say; ask again later.
    Unknown,
}

/// What a recovery did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize)]
pub struct Recovered {
    /// Attempts that had committed.
    pub committed: usize,
    /// Attempts that had not, and are cleaned up.
    pub absent: usize,
    /// Attempts that storage has not answered for.
    pub unknown: usize,
    /// Jobs that turned out to have succeeded.
    pub succeeded: usize,
    /// Jobs that ended as interrupted, or as failed after too many crashes.
    pub interrupted: usize,
    /// Slots that get another attempt.
    pub requeued: usize,
}

impl Jobs {
    /// Settles everything that an earlier process left; once, before the runner starts. `allows` says whether a slot
    /// may still be caught up (rules.md 1.3).
    pub async fn recover(
        &self,
        settle: &dyn Settle,
        allows: &(dyn Fn(&SlotRow) -> bool + Sync),
    ) -> Result<Recovered> {
        let mut report = Recovered::default();
        self.settle_ended(settle, &mut report).await?;
        for job in jobs_in(self.store(), JobStatus::Running).await? {
            let attempts = self.store().attempts(job.id).await?;
            self.settle_attempts(settle, &job, attempts, &mut report).await?;
            self.end_crashed(&job, &mut report).await?;
        }
        for status in [JobStatus::Scheduled, JobStatus::Queued] {
            for job in jobs_in(self.store(), status).await? {
                if job.kind == JobKind::Restore {
                    let reason = "The process ended before the restore had started.";
                    self.end(&job, &JobEnd::because(JobStatus::Interrupted, "not-started", reason)).await?;
                    report.interrupted += 1;
                }
            }
        }
        report.requeued = self.requeue_slots(allows).await?;
        Ok(report)
    }

    /// Asks again for every attempt that is still unknown; hourly. Their jobs' rows do not change, but a slot that is now
    /// known not to have committed gets another attempt, if it may still be caught up.
    pub async fn settle_unknown(
        &self,
        settle: &dyn Settle,
        allows: &(dyn Fn(&SlotRow) -> bool + Sync),
    ) -> Result<Recovered> {
        let mut report = Recovered::default();
        self.settle_ended(settle, &mut report).await?;
        if report.committed + report.absent > 0 {
            report.requeued = self.requeue_slots(allows).await?;
        }
        Ok(report)
    }

    async fn settle_ended(&self, settle: &dyn Settle, report: &mut Recovered) -> Result<()> {
        for attempt in self.store().unsettled_attempts().await? {
            if let Some(job) = self.store().job(attempt.job_id).await? {
                self.settle_attempts(settle, &job, vec![attempt], report).await?;
            }
        }
        Ok(())
    }

    async fn settle_attempts(
        &self,
        settle: &dyn Settle,
        job: &JobRow,
        attempts: Vec<AttemptRow>,
        report: &mut Recovered,
    ) -> Result<()> {
        for attempt in attempts {
            if !matches!(attempt.status, AttemptStatus::Running | AttemptStatus::Unknown) {
                continue;
            }
            if let Err(error) = self.settle_attempt(settle, job, &attempt, report).await {
                // One row that cannot be settled must keep neither the others nor the service from starting.
                let (job, namespace) = (job.id.0, &attempt.start.namespace);
                tracing::error!(job, namespace, reason = error.report(), "an attempt cannot be settled yet");
            }
        }
        Ok(())
    }

    async fn settle_attempt(
        &self,
        settle: &dyn Settle,
        job: &JobRow,
        attempt: &AttemptRow,
        report: &mut Recovered,
    ) -> Result<()> {
        let now = self.now();
        let settled = if self.store().folder_was_reused(attempt).await? {
            Settled::Absent
        } else {
            settle.settle(job, attempt).await
        };
        let forget = matches!(settled, Settled::Committed(_) | Settled::Absent);
        let end = match settled {
            Settled::Committed(end) => {
                report.committed += 1;
                AttemptEnd { status: AttemptStatus::Committed, ..*end }
            }
            Settled::Absent | Settled::Kept => {
                report.absent += 1;
                AttemptEnd::plain(AttemptStatus::Absent, now)
            }
            Settled::Unknown => {
                report.unknown += 1;
                AttemptEnd::plain(AttemptStatus::Unknown, now)
            }
        };
        let mut tx = self.store().write().await?;
        tx.end_attempt(attempt, &end).await?;
        if forget {
            tx.forget_checkpoint(attempt).await?;
        }
        // What follows the end of the job has been decided without it.
        let transitions = if job.status.is_terminal() && end.status == AttemptStatus::Committed {
            let committed = AttemptRow { status: end.status, end: Some(end), ..attempt.clone() };
            self.follow_in(&mut tx, job, &[committed]).await?
        } else {
            Vec::new()
        };
        self.commit(tx, &transitions).await
    }

    /// Ends a job that an earlier process ran, by what its attempts have become.
    async fn end_crashed(&self, job: &JobRow, report: &mut Recovered) -> Result<()> {
        let mut tx = self.store().write().await?;
        let attempts = tx.attempts(job.id).await?;
        let crashes = match job.slot_id {
            Some(slot) => tx.jobs_of_slot(slot).await?.iter().filter(|job| has_crashed(job)).count(),
            None => 0,
        };
        let end = end_of_job(job, &attempts, crashes);
        if end.status == JobStatus::Succeeded {
            report.succeeded += 1;
        } else {
            report.interrupted += 1;
        }
        let (_, transitions) = self.end_in(&mut tx, job, &end).await?;
        self.commit(tx, &transitions).await
    }

    /// Gives slots whose last attempt was interrupted another one, for the namespaces that have not committed.
    async fn requeue_slots(&self, allows: &(dyn Fn(&SlotRow) -> bool + Sync)) -> Result<usize> {
        let now = self.now();
        let mut tx = self.store().write().await?;
        let mut again = Vec::new();
        for job in tx.interrupted_slots(&[CRASHED, SHUTDOWN, COMMIT_UNKNOWN]).await? {
            if let Some(new) = attempt_again(&mut tx, &job, allows, self.now()).await? {
                again.push(new);
            }
        }
        let admission = admit::admit(&mut tx, &again, now).await?;
        self.commit(tx, &admission.transitions).await?;
        Ok(again.len())
    }
}

async fn jobs_in(store: &Store, status: JobStatus) -> Result<Vec<JobRow>> {
    let mut tx = store.write().await?;
    tx.open_jobs_in(status).await
}

fn has_crashed(job: &JobRow) -> bool {
    job.status == JobStatus::Interrupted && job.reason_code.as_deref() == Some(CRASHED)
}

/// How a job ends whose process ended, from its settled attempts; `crashes` of its slot lie before.
fn end_of_job(job: &JobRow, attempts: &[AttemptRow], crashes: usize) -> JobEnd {
    if job.kind == JobKind::Backup && job.namespaces.is_some() && open_namespaces(job, attempts).is_empty() {
        return JobEnd::plain(JobStatus::Succeeded);
    }
    if job.cancel_requested.is_some() {
        let reason = "The process ended while the job was being canceled.";
        return JobEnd::because(JobStatus::Canceled, CRASHED, reason);
    }
    if job.slot_id.is_some() && crashes + 1 >= CRASHES_MAX {
        let text = format!("{CRASHES_MAX} attempts of this slot were ended by the end of the process");
        return JobEnd {
            error: Some(("crashed-repeatedly".to_owned(), text)),
            ..JobEnd::plain(JobStatus::Failed)
        };
    }
    JobEnd::because(JobStatus::Interrupted, CRASHED, "The process ended while the job ran.")
}

/// The resolved namespaces that have neither committed nor had nothing to save.
pub(super) fn open_namespaces(job: &JobRow, attempts: &[AttemptRow]) -> Vec<String> {
    let done: BTreeSet<&str> = attempts
        .iter()
        .filter(|attempt| attempt.status.is_done())
        .map(|attempt| attempt.start.namespace.as_str())
        .collect();
    let all = job.namespaces.iter().flatten();
    all.filter(|namespace| !done.contains(namespace.as_str())).cloned().collect()
}

/// The next attempt of an interrupted job's slot, if there may be one (rules.md 2.5).
async fn attempt_again(
    tx: &mut Tx,
    job: &JobRow,
    allows: &(dyn Fn(&SlotRow) -> bool + Sync),
    now: UnixMillis,
) -> Result<Option<NewJob>> {
    let Some(slot_id) = job.slot_id.filter(|_| job.cancel_requested.is_none()) else { return Ok(None) };
    let Some(slot) = tx.slot(slot_id).await? else { return Ok(None) };
    let attempts = tx.attempts(job.id).await?;
    if !allows(&slot) || attempts.iter().any(|attempt| attempt.status == AttemptStatus::Unknown) {
        return Ok(None);
    }
    let namespaces = job.namespaces.as_ref().map(|_| open_namespaces(job, &attempts));
    if namespaces.as_ref().is_some_and(Vec::is_empty) {
        return Ok(None);
    }
    let latest = tx.latest_created(&slot.routine, now).await?;
    Ok(Some(again(job, namespaces, latest)))
}

/// The same trigger once more: under the same `created` while no later run has begun, else as a new run.
fn again(job: &JobRow, namespaces: Option<Vec<String>>, latest: Option<UnixMillis>) -> NewJob {
    NewJob {
        kind: job.kind,
        backup_type: job.backup_type,
        routine: job.routine.clone(),
        trigger: Trigger::Recovery,
        cluster: job.cluster.clone(),
        storage: job.storage.clone(),
        namespaces,
        concurrent: job.concurrent,
        due: None,
        slot: job.slot_id,
        retry_of: Some(job.id),
        created: job.created.filter(|created| latest.is_none_or(|latest| latest <= *created)),
        config: job.config.clone(),
        request: job.request.clone(),
        requested_by: job.requested_by.clone(),
        label: job.label.clone(),
        key: None,
        decided: None,
        pins: Vec::new(),
    }
}
