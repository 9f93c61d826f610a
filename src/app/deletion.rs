//! The deletion of one backup on demand (rules.md 5.3).

use super::{App, routine_job};
use crate::error::Result;
use crate::jobs::NewJob;
use crate::model::JobKind;
use crate::retention::{DeletionPlan, DeletionRequest, plan_deletion};
use crate::store::{Document, JobRow, Trigger};

impl App {
    /// What a deletion would do now.
    ///
    /// Errors: `routine-unknown`, those of [`plan_deletion`].
    pub async fn deletion(&self, routine: &str, request: &DeletionRequest) -> Result<DeletionPlan> {
        let job = self.config().routine(routine, self.now())?.job;
        let storage = self.places.open(&job.storage).await?;
        plan_deletion(self.jobs.store(), storage.as_ref(), routine, request, self.now()).await
    }

    /// Admits the deletion of a backup, after it was seen that nothing else needs it; the job looks again.
    ///
    /// Errors: those of [`App::deletion`], `backup-has-dependents`, `backup-in-use`.
    pub async fn trigger_deletion(
        &self,
        routine: &str,
        request: &DeletionRequest,
        requested_by: Option<String>,
    ) -> Result<JobRow> {
        self.deletion(routine, request).await?.refusal()?;
        let job = self.config().routine(routine, self.now())?.job;
        let new = NewJob {
            request: Some(Document::of(request)?),
            requested_by,
            ..routine_job(&job)?.on_backups(JobKind::Retention, Trigger::Api, None)
        };
        self.admit(new).await
    }
}
