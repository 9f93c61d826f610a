//! What follows a job: rows written in the transaction that ends it, so that no crash lies between (rules.md 5.2).

use super::{Jobs, NewJob, Transition, admit};
use crate::error::Result;
use crate::store::{AttemptRow, JobEnd, JobRow, Tx};

/// Knows what follows a job that has ended: retention after a full, `verify-after`.
pub trait Follow: Send + Sync {
    /// The triggers that `job`, as it has ended, makes; `attempts` are its tries of namespaces. Asked again, with that one
    /// alone, for an attempt of which storage says later that it had committed (rules.md 6.1).
    ///
    /// Decides from rows alone. An error is logged and nothing follows: it must not keep the job from ending.
    fn follow(&self, job: &JobRow, attempts: &[AttemptRow]) -> Result<Vec<NewJob>>;
}

/// Nothing follows.
#[derive(Debug, Clone, Copy)]
pub struct Nothing;

impl Follow for Nothing {
    fn follow(&self, _: &JobRow, _: &[AttemptRow]) -> Result<Vec<NewJob>> {
        Ok(Vec::new())
    }
}

impl Jobs {
    /// Ends a job that is still what `row` says and admits what follows it; gives the row as it then is, and what is to
    /// be announced.
    pub(super) async fn end_in(
        &self,
        tx: &mut Tx,
        row: &JobRow,
        end: &JobEnd,
    ) -> Result<(JobRow, Vec<Transition>)> {
        let now = self.now();
        let ended = tx.end_job(row, end, now).await?;
        // A task that was aborted could not say what became of its tries: storage will (rules.md 6.1).
        tx.leave_attempts(ended.id, now).await?;
        let mut transitions = vec![Transition::of(Some(row.status), &ended)];
        let attempts = tx.attempts(ended.id).await?;
        transitions.extend(self.follow_in(tx, &ended, &attempts).await?);
        Ok((ended, transitions))
    }

    /// Admits what follows a job that has ended, or an attempt of it that turned out to have committed since.
    pub(super) async fn follow_in(
        &self,
        tx: &mut Tx,
        job: &JobRow,
        attempts: &[AttemptRow],
    ) -> Result<Vec<Transition>> {
        match self.0.follow.follow(job, attempts) {
            Ok(next) if next.is_empty() => Ok(Vec::new()),
            Ok(next) => Ok(admit::admit(tx, &next, self.now()).await?.transitions),
            Err(error) => {
                tracing::error!(job = job.id.0, "nothing follows the job: {}", error.report());
                Ok(Vec::new())
            }
        }
    }
}
