//! Jobs, as their readers want them.

use super::{App, Progress};
use crate::error::Result;
use crate::model::UnixMillis;
use crate::store::{AttemptRow, JobFilter, JobId, JobPage, JobRow};

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

    /// One page of rows, newest first.
    pub async fn jobs(&self, filter: &JobFilter, limit: u32) -> Result<JobPage> {
        self.jobs.store().jobs(filter, limit).await
    }

    /// One page of jobs with how far they are, and where the next page begins.
    pub async fn job_views(&self, filter: &JobFilter, limit: u32) -> Result<(Vec<JobView>, Option<JobId>)> {
        let page = self.jobs(filter, limit).await?;
        let mut views = Vec::with_capacity(page.jobs.len());
        for job in page.jobs {
            views.push(self.view(job).await?);
        }
        Ok((views, page.next))
    }

    /// A row with how far it is.
    pub(super) async fn view(&self, job: JobRow) -> Result<JobView> {
        let now = self.now();
        let progress = match self.runner.live(job.id) {
            Some(live) => Progress::live(&live),
            None => Progress::stored(&job, self.jobs.store().progress(job.id).await?.as_ref()),
        };
        let progress = self.floors.raise(job.id, job.status, progress);
        let doing = self.runner.doing(job.id);
        Ok(JobView { job, progress, attempts: Vec::new(), doing, now })
    }
}
