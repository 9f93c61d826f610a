//! `POST /v1/jobs/{id}/retry` (rules.md 2.5).

use super::App;
use super::reload::routine_job;
use crate::config::JobConfig;
use crate::error::{Error, Result};
use crate::jobs::{Asked, RetryAs};
use crate::model::JobKind;
use crate::store::{JobId, JobRow};

impl App {
    /// Admits another attempt of a job that ended without success; the row says whether it was refused.
    ///
    /// Errors: those of [`crate::jobs::Jobs::retry`], `routine-unknown` and `routine-disabled` for a backup, `stopping`.
    pub async fn retry_job(&self, id: JobId, asked: Asked) -> Result<JobRow> {
        self.check_takes_jobs()?;
        let job = self.jobs.store().job(id).await?;
        let job = job.ok_or_else(|| Error::permanent("job-not-found", format!("there is no job {id}")))?;
        let mut how = RetryAs { asked, ..RetryAs::default() };
        if let (JobKind::Backup, Some(name)) = (job.kind, &job.routine) {
            let routine = self.enabled_routine(name)?;
            how.same_run = is_same_run(&job, &routine.job);
            how.routine = Some(routine_job(&routine.job)?);
        }
        if job.kind == JobKind::Copy {
            how.pins = super::copies::pins_of(&job);
        }
        let admitted = self.jobs.retry(id, how).await?;
        self.row(admitted.id).await
    }
}

/// Whether what is configured now could go on with the run of a job: one run has one storage and one scope.
fn is_same_run(job: &JobRow, now: &JobConfig) -> bool {
    let then = job.config.as_ref().and_then(|document| document.parse::<JobConfig>().ok());
    then.is_some_and(|then| {
        then.storage == now.storage
            && then.scope == now.scope
            && then.timestamp_format == now.timestamp_format
            && then.policy.no_records == now.policy.no_records
    })
}
