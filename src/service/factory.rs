//! The work of each kind of job.

use async_trait::async_trait;

use crate::error::{Error, Result};
use crate::jobs::{Ended, JobContext, Work, WorkFactory};
use crate::store::JobRow;

/// Knows the work of backups and restores.
#[derive(Debug, Clone, Copy)]
pub(super) struct Factory;

impl WorkFactory for Factory {
    fn work(&self, _job: &JobRow) -> Result<Box<dyn Work>> {
        Ok(Box::new(NotBuilt))
    }
}

/// Fails: the engine is not built yet.
struct NotBuilt;

#[async_trait]
impl Work for NotBuilt {
    async fn run(self: Box<Self>, ctx: JobContext) -> Ended {
        let kind = ctx.job.kind.as_str();
        Ended::Failed(Error::permanent("not-built", format!("the work of a {kind} is not built yet")))
    }
}
