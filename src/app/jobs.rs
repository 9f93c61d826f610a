//! Jobs, as their readers want them.

use super::{App, Progress};
use crate::error::Result;
use crate::model::UnixMillis;
use crate::store::{AttemptRow, JobFilter, JobHead, JobId, JobPage, JobRow, ProgressRow};

/// A job with how far it is.
#[derive(Debug, Clone)]
pub struct JobView {
    /// The row.
    pub job: JobRow,
    /// How far it is.
    pub progress: Progress,
    /// The tries of each namespace; only where one job was asked for.
    pub attempts: Vec<AttemptRow>,
    /// What it is doing, in words; only of a job that runs here.
    pub doing: Option<String>,
    /// When this was so.
    pub now: UnixMillis,
}

impl App {
    /// One job with its attempts.
    pub async fn job(&self, id: JobId) -> Result<Option<JobView>> {
        let Some(job) = self.jobs.store().job(id).await? else { return Ok(None) };
        let attempts = self.jobs.store().attempts(id).await?;
        Ok(Some(JobView { attempts, ..self.view(job).await? }))
    }

    /// One page of jobs as lists show them, newest first.
    pub async fn jobs(&self, filter: &JobFilter, limit: u32) -> Result<JobPage<JobHead>> {
        self.jobs.store().job_heads(filter, limit).await
    }

    /// One page of jobs in short with how far they are, and where the next page begins.
    pub async fn job_views(&self, filter: &JobFilter, limit: u32) -> Result<(Vec<JobView>, Option<JobId>)> {
        let store = self.jobs.store();
        let page = store.jobs_in_short(filter, limit).await?;
        let ids: Vec<JobId> = page.jobs.iter().map(|job| job.id).collect();
        let stored = store.progress_of(&ids).await?;
        let view = |job: JobRow| {
            let stored = stored.get(&job.id);
            self.view_of(job, stored)
        };
        Ok((page.jobs.into_iter().map(view).collect(), page.next))
    }

    /// A row with how far it is.
    pub(super) async fn view(&self, job: JobRow) -> Result<JobView> {
        let stored = self.jobs.store().progress(job.id).await?;
        Ok(self.view_of(job, stored.as_ref()))
    }

    fn view_of(&self, job: JobRow, stored: Option<&ProgressRow>) -> JobView {
        let now = self.now();
        let progress = self
            .runner
            .live(job.id)
            .map_or_else(|| Progress::stored(&job, stored), |live| Progress::live(&live));
        let progress = self.floors.raise(job.id, job.status, progress);
        let doing = self.runner.doing(job.id);
        JobView { job, progress, attempts: Vec::new(), doing, now }
    }
}
