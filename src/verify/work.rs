//! One verification: find, read, report.

use std::sync::Arc;

use async_trait::async_trait;

use super::execute::Verify;
use super::plan::{VerifyPlan, VerifyRequest};
use crate::config::JobConfig;
use crate::engine::{Watch, keys};
use crate::error::Result;
use crate::jobs::{Ended, JobContext, Progress, Work};
use crate::storage::{Storage, address};
use crate::store::Trigger;
use crate::tasks::unless_canceled;

/// The work of a verify job.
pub struct VerifyWork {
    config: JobConfig,
    request: VerifyRequest,
    storage: Arc<dyn Storage>,
}

impl VerifyWork {
    /// The work of a job on the backups of `config`'s routine; the job's namespaces narrow it further.
    pub fn new(config: JobConfig, request: VerifyRequest, storage: Arc<dyn Storage>) -> Self {
        Self { config, request, storage }
    }

    async fn execute(self, context: &JobContext) -> Result<()> {
        let (routine, namespaces) = (self.config.routine, context.job.namespaces.as_deref());
        let find = find_and_pin(context, self.storage.as_ref(), &routine, &self.request, namespaces);
        let plan = unless_canceled(&context.cancel, find).await?;
        let encryption = self.config.policy.encryption.clone().map(Into::into);
        let key = keys::key(encryption.as_ref()).await.unwrap_or_else(|error| {
            // What is not encrypted is verified all the same; what is, is told as unreadable.
            context.warn(error.code(), error.report());
            None
        });
        for note in &plan.notes {
            context.warn("plan", note.clone());
        }
        if plan.backups.is_empty() && plan.problems_asked == 0 {
            context.warn("nothing-to-verify", "Storage has no committed backup of what was asked for.");
        }
        context.progress.set_total(plan.records());
        context.progress.set_bytes_total(plan.bytes());
        let verify = Verify {
            context: context.clone(),
            storage: self.storage,
            storage_name: self.config.storage.name.unwrap_or_default(),
            routine,
            watch: Arc::new(Counted(context.progress.clone())),
            key,
        };
        let report = verify.run(&plan).await?;
        context.set_counters(report.counters());
        context.set_result(report.result());
        report.error().map_or(Ok(()), Err)
    }
}

/// Finds what is asked for, and holds it against retention (rules.md 5.4).
async fn find_and_pin(
    context: &JobContext,
    storage: &dyn Storage,
    routine: &str,
    request: &VerifyRequest,
    namespaces: Option<&[String]>,
) -> Result<VerifyPlan> {
    let place = storage.describe();
    // From here on retention marks nothing of the routine: what it has marked is left out. After a backup what is read was
    // pinned in the transaction that ended the backup, and is the last to go.
    if context.job.trigger != Trigger::AfterBackup {
        context.pin([address(&place, routine)]).await?;
    }
    let marked = context.store.marked(&place).await?;
    let now = context.clock.now();
    let plan = VerifyPlan::find(storage, routine, request, namespaces, &marked, now).await?;
    context.pin(plan.backups.iter().map(|entry| address(&place, &entry.key)).collect::<Vec<_>>()).await?;
    Ok(plan)
}

#[async_trait]
impl Work for VerifyWork {
    async fn run(self: Box<Self>, context: JobContext) -> Ended {
        match self.execute(&context).await {
            Ok(()) => Ended::Succeeded,
            Err(_) if context.cancel.is_cancelled() => Ended::Canceled,
            Err(error) => Ended::Failed(error),
        }
    }
}

/// Counts what is read: here reading is all there is, so nothing is ever in between.
struct Counted(Progress);

impl Watch for Counted {
    fn read(&self, _records: u64) {}

    fn done(&self, records: u64, bytes: u64) {
        self.0.add_done(records);
        self.0.add_bytes(bytes);
    }
}
