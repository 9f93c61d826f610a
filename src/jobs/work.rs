//! What a job does, as the runner sees it: something that runs and ends.

use async_trait::async_trait;

use super::JobContext;
use super::stall::STALL_TIMEOUT_MS;
use crate::error::{Error, Result};
use crate::memory::Need;
use crate::store::JobRow;

/// One job's work: plans, executes and reports.
#[async_trait]
pub trait Work: Send {
    /// Does it. A panic ends the job as `failed: task-panicked`.
    async fn run(self: Box<Self>, ctx: JobContext) -> Ended;

    /// How long nothing may move before the job is ended as `failed: stalled` (rules.md 2.9), in ms; 0: for ever.
    fn stall_timeout_ms(&self) -> u64 {
        STALL_TIMEOUT_MS
    }
}

/// Knows the work of each kind of job.
pub trait WorkFactory: Send + Sync {
    /// The work of `job`; an error fails the job with it.
    fn work(&self, job: &JobRow) -> Result<Box<dyn Work>>;

    /// What `job` wishes to hold and needs at least; none: it holds no data, or nothing bounds it.
    fn memory(&self, job: &JobRow) -> Result<Option<Need>> {
        let _ = job;
        Ok(None)
    }
}

/// How work ended.
#[derive(Debug)]
pub enum Ended {
    /// Everything that was asked is done.
    Succeeded,
    /// The plan found that there is nothing to do, or nothing may be done (rules.md 3.7).
    Skipped {
        /// Stable, kebab-case.
        code: &'static str,
        /// One sentence.
        reason: String,
    },
    /// It could not be done.
    Failed(Error),
    /// The cancel token ended it. Becomes `interrupted: shutdown` where the process stops and nobody asked to cancel.
    Canceled,
    /// It stopped at a point from which another attempt can go on.
    Interrupted {
        /// Stable, kebab-case.
        code: &'static str,
        /// One sentence.
        reason: String,
    },
}
