//! What retention would do, and doing it now.

use super::{App, routine_job};
use crate::error::{Error, Result};
use crate::jobs::Asked;
use crate::model::JobKind;
use crate::retention::{View, view};
use crate::store::{JobRow, Trigger};

impl App {
    /// What retention would do with a routine's backups now.
    ///
    /// Errors: `routine-unknown`, and those of storage.
    pub async fn retention(&self, routine: &str) -> Result<View> {
        let job = self.config().routine(routine, self.now())?.job;
        let storage = self.places.open(&job.storage).await?;
        view(self.jobs.store(), storage.as_ref(), &job, self.now()).await
    }

    /// Admits a retention of all namespaces of a routine.
    ///
    /// Errors: `routine-unknown`, `retention-not-configured`.
    pub async fn trigger_retention(&self, routine: &str, asked: Asked) -> Result<JobRow> {
        let job = self.config().routine(routine, self.now())?.job;
        if job.policy.retention.is_none() {
            return Err(Error::permanent(
                "retention-not-configured",
                format!("routine \"{routine}\" keeps everything"),
            )
            .hint("Give its backup policy a retention."));
        }
        let new = routine_job(&job)?.on_backups(JobKind::Retention, Trigger::Api, None);
        self.admit(new.asked(asked)).await
    }
}
