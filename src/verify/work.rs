//! One verification: find, read, report; storage after storage.

use std::sync::Arc;

use async_trait::async_trait;
use futures_util::future::{BoxFuture, FutureExt, ready};

use super::execute::Verify;
use super::plan::{VerifyPlan, VerifyRequest};
use super::report::Report;
use crate::config::{JobConfig, StorageConfig};
use crate::engine::{Watch, keys};
use crate::error::{Error, Result};
use crate::jobs::{Ended, JobContext, Progress, Work};
use crate::storage::{Storage, address};
use crate::store::Trigger;
use crate::tasks::unless_canceled;

/// Opens a storage of the routine.
pub type Open = Box<dyn Fn(StorageConfig) -> BoxFuture<'static, Result<Arc<dyn Storage>>> + Send + Sync>;

/// The work of a verify job.
pub struct VerifyWork {
    config: JobConfig,
    request: VerifyRequest,
    open: Open,
}

/// What is read in one storage.
struct Found {
    name: String,
    of_copies: bool,
    storage: Arc<dyn Storage>,
    plan: VerifyPlan,
}

impl VerifyWork {
    /// The work of a job on the backups of `config`'s routine in its storage, and then in those of its copies; the job's
    /// namespaces narrow it further.
    pub fn new(config: JobConfig, request: VerifyRequest, open: Open) -> Self {
        Self { config, request, open }
    }

    /// The same with every storage being this one, which is open already.
    pub fn opened(config: JobConfig, request: VerifyRequest, storage: Arc<dyn Storage>) -> Self {
        Self::new(config, request, Box::new(move |_| ready(Ok(Arc::clone(&storage))).boxed()))
    }

    async fn execute(self, context: &JobContext) -> Result<()> {
        let mut report = Report::default();
        let found = self.find(context, &mut report).await?;
        let encryption = self.config.policy.encryption.clone().map(Into::into);
        let key = keys::key(encryption.as_ref()).await.unwrap_or_else(|error| {
            // What is not encrypted is verified all the same; what is, is told as unreadable.
            context.warn(error.code(), error.report());
            None
        });
        for note in found.iter().flat_map(|one| &one.plan.notes) {
            context.warn("plan", note.clone());
        }
        if found.iter().all(|one| one.plan.backups.is_empty() && one.plan.problems_asked == 0) {
            context.warn("nothing-to-verify", "Storage has no committed backup of what was asked for.");
        }
        context.progress.set_total(found.iter().map(|one| one.plan.records()).sum());
        context.progress.set_bytes_total(found.iter().map(|one| one.plan.bytes()).sum());
        for one in found {
            let verify = Verify {
                context: context.clone(),
                storage: one.storage,
                of_copies: one.of_copies,
                storage_name: one.name.clone(),
                routine: self.config.routine.clone(),
                watch: Arc::new(Counted(context.progress.clone())),
                key: key.clone(),
            };
            report.add(one.name, verify.run(&one.plan).await?);
        }
        context.set_counters(report.counters());
        context.set_result(report.result());
        report.error().map_or(Ok(()), Err)
    }

    /// The storages that are read, and whether they have copies only: the one that was named, else all but those that were
    /// left out.
    fn places(&self) -> Vec<(&StorageConfig, bool)> {
        let named = self.request.storage.as_ref();
        let is_wanted = |config: &StorageConfig| named.is_none_or(|_| config.name.as_ref() == named);
        let own = Some(&self.config.storage).filter(|config| is_wanted(config));
        let copies = self.config.copies.iter().filter(|copy| named.is_some() || copy.verify);
        let copies = copies.map(|copy| &copy.storage).filter(|config| is_wanted(config));
        own.map(|config| (config, false)).into_iter().chain(copies.map(|config| (config, true))).collect()
    }

    /// Finds what is asked for in every storage; one that does not answer is told in the report, if another does.
    async fn find(&self, context: &JobContext, report: &mut Report) -> Result<Vec<Found>> {
        let places = self.places();
        let (mut found, mut held) = (Vec::new(), Vec::new());
        for (config, of_copies) in &places {
            let name = config.name.clone().unwrap_or_default();
            let find = async {
                let storage = (self.open)((*config).clone()).await?;
                let (routine, namespaces) = (&self.config.routine, context.job.namespaces.as_deref());
                let place = storage.as_ref();
                let plan =
                    find_and_pin(context, place, routine, &self.request, namespaces, &mut held).await?;
                Ok(Found { name: name.clone(), of_copies: *of_copies, storage, plan })
            };
            match unless_canceled(&context.cancel, find).await {
                Ok(one) => found.push(one),
                Err(error) if context.cancel.is_cancelled() || places.len() == 1 => return Err(error),
                Err(error) => report.not_read(name, error),
            }
        }
        if found.is_empty() { Err(report.error().unwrap_or_else(nothing)) } else { Ok(found) }
    }
}

/// One that was named, and is none of the routine's.
fn nothing() -> Error {
    Error::permanent("storage-unknown", "the verification has no storage").hint("Name one of the routine's.")
}

/// Finds what is asked for in one storage, and holds it against retention (rules.md 5.4) with what is `held` already.
async fn find_and_pin(
    context: &JobContext,
    storage: &dyn Storage,
    routine: &str,
    request: &VerifyRequest,
    namespaces: Option<&[String]>,
    held: &mut Vec<String>,
) -> Result<VerifyPlan> {
    let place = storage.describe();
    // From here on retention marks nothing of the routine: what it has marked is left out. After a backup what is read was
    // pinned in the transaction that ended the backup, and is the last to go.
    if context.job.trigger != Trigger::AfterBackup {
        context.pin(held.iter().cloned().chain([address(&place, routine)])).await?;
    }
    let marked = context.store.marked(&place).await?;
    let now = context.clock.now();
    let plan = VerifyPlan::find(storage, routine, request, namespaces, &marked, now).await?;
    held.extend(plan.backups.iter().map(|entry| address(&place, &entry.key)));
    context.pin(held.clone()).await?;
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
