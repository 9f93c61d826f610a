//! An ended job is tried again because somebody asks for it (rules.md 2.5).
//!
//! A job is tried again once: who wants a third attempt retries the second. So at most one attempt at a time goes on with
//! a run, and what one of them committed is never made twice.

use super::admit::{self, Admitted, Asked, NewJob, RoutineJob};
use super::recovery::open_namespaces;
use super::{Jobs, not_found};
use crate::error::{Error, Result};
use crate::model::{JobKind, JobStatus};
use crate::store::{AttemptStatus, JobId, JobRow, Trigger, Tx};

/// How a job is tried again.
#[derive(Debug, Clone, Default)]
pub struct RetryAs {
    /// The routine as it is configured now; needed for a backup.
    ///
    /// A backup runs with the configuration in force, not with its own: what made it fail (a host, a timeout, a full
    /// disk) is mostly corrected there.
    pub routine: Option<RoutineJob>,
    /// Storage and scope are those of the job: its run may be gone on with.
    pub same_run: bool,
    /// What it will read, held from its admission on (rules.md 5.4); for a backup nothing.
    pub pins: Vec<String>,
    /// Who asks.
    pub asked: Asked,
}

impl Jobs {
    /// Admits another attempt of a job that has ended without success, in one transaction; the answer is that of any
    /// trigger. A restore keeps its request and what its order was decided by.
    ///
    /// Errors: `job-not-found`, `job-not-ended`, `job-succeeded`, `job-retried`, `attempt-unsettled`, `nothing-to-retry`.
    pub async fn retry(&self, id: JobId, how: RetryAs) -> Result<Admitted> {
        let now = self.now();
        let mut tx = self.store().write().await?;
        if let Some(before) = admit::made_before(&mut tx, how.asked.key.as_ref()).await? {
            return Ok(before);
        }
        let job = tx.job(id).await?.ok_or_else(|| not_found(id))?;
        check(&mut tx, &job).await?;
        let new = match job.kind {
            JobKind::Backup => self.backup_again(&mut tx, &job, how).await?,
            JobKind::Restore | JobKind::Retention | JobKind::Verify | JobKind::Copy => {
                NewJob { namespaces: job.namespaces.clone(), pins: how.pins, ..same(&job) }.asked(how.asked)
            }
        };
        let admission = admit::admit(&mut tx, std::slice::from_ref(&new), now).await?;
        let admitted = admission.admitted.first().cloned();
        let admitted = admitted.ok_or_else(|| Error::permanent("store-query", "a trigger left no row"))?;
        tx.inherit_destinations(id, admitted.id).await?;
        self.commit(tx, &admission.transitions).await?;
        Ok(admitted)
    }

    async fn backup_again(&self, tx: &mut Tx, job: &JobRow, how: RetryAs) -> Result<NewJob> {
        let nothing = || {
            Error::permanent("nothing-to-retry", format!("every namespace of job {} is done by now", job.id))
        };
        let routine =
            how.routine.ok_or_else(|| Error::permanent("routine-unknown", "the job has no routine"))?;
        let attempts = tx.attempts(job.id).await?;
        // Where the job did not come to know its namespaces, none is done either.
        let mut open = job.namespaces.as_ref().map(|_| open_namespaces(job, &attempts));
        if let (Some(open), Some(configured)) = (&mut open, &routine.namespaces) {
            open.retain(|namespace| configured.contains(namespace));
        }
        if open.as_ref().is_some_and(Vec::is_empty) {
            return Err(nothing());
        }
        let latest = tx.latest_created(&routine.routine, self.now()).await?;
        let created =
            job.created.filter(|created| how.same_run && latest.is_none_or(|latest| latest <= *created));
        let Some(backup_type) = job.backup_type else { return Err(nothing()) };
        Ok(NewJob {
            namespaces: open.or_else(|| routine.namespaces.clone()),
            created,
            // The row of missed slots stands for many of them: this is none of them.
            slot: job.slot_id.filter(|_| job.status != JobStatus::Missed),
            retry_of: Some(job.id),
            label: job.label.clone(),
            ..routine.job(backup_type, Trigger::Retry)
        }
        .asked(how.asked))
    }
}

async fn check(tx: &mut Tx, job: &JobRow) -> Result<()> {
    let (id, status) = (job.id, job.status.as_str());
    if !job.status.is_terminal() {
        return Err(Error::permanent("job-not-ended", format!("job {id} has not ended: it is {status}"))
            .hint("Cancel it first, or wait for its end."));
    }
    if job.status == JobStatus::Succeeded {
        return Err(Error::permanent(
            "job-succeeded",
            format!("job {id} has succeeded: nothing is left to do"),
        ));
    }
    if let Some(later) = tx.retry_of(id).await? {
        return Err(Error::permanent("job-retried", format!("job {id} was tried again by job {later}"))
            .hint(format!("Retry job {later} if that has failed too.")));
    }
    let unsettled = |status| matches!(status, AttemptStatus::Running | AttemptStatus::Unknown);
    if tx.attempts(id).await?.iter().any(|attempt| unsettled(attempt.status)) {
        let text = format!("storage has not said yet what became of a namespace of job {id}");
        return Err(Error::temporary("attempt-unsettled", text)
            .hint("It is asked again every hour and at each start; see the job's attempts."));
    }
    Ok(())
}

/// The same trigger once more.
fn same(job: &JobRow) -> NewJob {
    NewJob {
        routine: job.routine.clone(),
        cluster: job.cluster.clone(),
        storage: job.storage.clone(),
        concurrent: job.concurrent,
        config: job.config.clone(),
        request: job.request.clone(),
        retry_of: Some(job.id),
        label: job.label.clone(),
        ..NewJob::of(job.kind, Trigger::Retry)
    }
}
