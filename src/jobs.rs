//! Jobs: a row before they are a task (rules.md 2).
//!
//! [`Jobs`] is the handle by which everybody triggers, cancels and hears of jobs; [`runner::Runner`] turns queued
//! rows into tasks; [`recovery`] settles what an earlier process left.

pub mod admit;
pub mod collide;
pub mod context;
pub mod events;
pub mod follow;
pub mod progress;
pub mod recovery;
pub mod resume;
pub mod retry;
pub mod runner;
pub mod stall;
mod stop;
pub mod work;

#[cfg(test)]
pub(crate) mod testkit;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use tokio::sync::{Mutex, Notify};

pub use admit::{Admitted, Asked, NewJob, Refusal, RoutineJob};
pub use collide::Collision;
pub use context::JobContext;
pub use events::{NamespaceRetry, Observer, Transition};
pub use follow::Follow;
pub use progress::{Live, Progress, Waiting};
pub use recovery::{Recovered, Settle, Settled};
pub use retry::RetryAs;
pub use runner::{Runner, RunnerOptions};
pub use work::{Ended, Work, WorkFactory};

use crate::clock::SharedClock;
use crate::error::{Error, Result};
use crate::model::{JobStatus, UnixMillis};
use crate::store::{JobEnd, JobId, JobRow, Store, Tx};

/// The handle of the room; cheap to clone.
#[derive(Clone)]
pub struct Jobs(Arc<Shared>);

struct Shared {
    store: Store,
    clock: SharedClock,
    observers: Vec<Arc<dyn Observer>>,
    follow: Arc<dyn Follow>,
    /// Held from a commit to the end of its announcement, so that transitions are heard in the order of commits.
    order: Mutex<()>,
    /// A job may be waiting for its start, or has been asked to end.
    wake: Notify,
}

impl Jobs {
    /// A handle on the jobs of `store`; `observers` hear of every committed transition, `follow` says what comes after a
    /// job.
    pub fn new(
        store: Store,
        clock: SharedClock,
        observers: Vec<Arc<dyn Observer>>,
        follow: Arc<dyn Follow>,
    ) -> Self {
        let (order, wake) = (Mutex::new(()), Notify::new());
        Self(Arc::new(Shared { store, clock, observers, follow, order, wake }))
    }

    /// The store behind.
    pub fn store(&self) -> &Store {
        &self.0.store
    }

    /// The clock that jobs are stamped with.
    pub fn clock(&self) -> &SharedClock {
        &self.0.clock
    }

    /// Decides one trigger and leaves its row, also when refused (rules.md 2.2, 2.3).
    pub async fn admit(&self, job: NewJob) -> Result<Admitted> {
        let mut tx = self.0.store.write().await?;
        if let Some(before) = admit::made_before(&mut tx, job.key.as_ref()).await? {
            return Ok(before);
        }
        let admission = admit::admit(&mut tx, std::slice::from_ref(&job), self.now()).await?;
        self.commit(tx, &admission.transitions).await?;
        let one = admission.admitted.into_iter().next();
        one.ok_or_else(|| Error::permanent("store-query", "a trigger left no row"))
    }

    /// Decides triggers in their order, in one transaction; those before count for those behind.
    pub async fn admit_many(&self, jobs: &[NewJob]) -> Result<Vec<Admitted>> {
        let mut tx = self.0.store.write().await?;
        let admission = admit::admit(&mut tx, jobs, self.now()).await?;
        self.commit(tx, &admission.transitions).await?;
        Ok(admission.admitted)
    }

    /// Asks a job to end (rules.md 2.8): one that waits ends at once, one that runs sees it within a second.
    ///
    /// Returns the row as it then is. Errors: `job-not-found`, `job-ended`.
    pub async fn cancel(&self, id: JobId) -> Result<JobRow> {
        let mut tx = self.0.store.write().await?;
        let row = tx.job(id).await?.ok_or_else(|| not_found(id))?;
        if row.status.is_terminal() {
            return Err(Error::permanent(
                "job-ended",
                format!("job {id} has ended: {}", row.status.as_str()),
            ));
        }
        tx.request_cancel(id, self.now()).await?;
        if row.status == JobStatus::Running {
            let row = tx.job(id).await?.ok_or_else(|| not_found(id))?;
            tx.commit().await?;
            self.0.wake.notify_one();
            return Ok(row);
        }
        let (ended, transitions) = self.end_in(&mut tx, &row, &JobEnd::plain(JobStatus::Canceled)).await?;
        self.commit(tx, &transitions).await?;
        Ok(ended)
    }

    /// Asks every job of a routine that has not ended to end, and returns how many there were.
    pub async fn cancel_routine(&self, routine: &str) -> Result<usize> {
        let mut count = 0;
        for job in self.0.store.open_jobs(routine).await? {
            match self.cancel(job.id).await {
                Ok(_) => count += 1,
                Err(error) if error.code() == "job-ended" => {}
                Err(error) => return Err(error),
            }
        }
        Ok(count)
    }

    /// Commits, announces the transitions in the order of commits, and wakes the runner.
    pub(crate) async fn commit(&self, tx: Tx, transitions: &[Transition]) -> Result<()> {
        let order = self.0.order.lock().await;
        tx.commit().await?;
        for transition in transitions {
            transition.log();
            for observer in &self.0.observers {
                observer.on_transition(transition);
            }
        }
        drop(order);
        self.0.wake.notify_one();
        Ok(())
    }

    /// Ends a job that is still what `row` says, and tells everybody.
    pub(crate) async fn end(&self, row: &JobRow, end: &JobEnd) -> Result<JobRow> {
        let mut tx = self.0.store.write().await?;
        let (ended, transitions) = self.end_in(&mut tx, row, end).await?;
        self.commit(tx, &transitions).await?;
        Ok(ended)
    }

    /// Tells everybody of a retry.
    pub(crate) fn announce_retry(&self, retry: &NamespaceRetry) {
        for observer in &self.0.observers {
            observer.on_retry(retry);
        }
    }

    pub(crate) fn now(&self) -> UnixMillis {
        self.0.clock.now()
    }

    fn wake(&self) -> &Notify {
        &self.0.wake
    }
}

fn not_found(id: JobId) -> Error {
    Error::permanent("job-not-found", format!("there is no job {id}"))
}
