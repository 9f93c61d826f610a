//! One restore: find, claim, then every namespace side by side.

use std::path::PathBuf;
use std::sync::Arc;

use async_trait::async_trait;
use futures_util::future::{BoxFuture, FutureExt, join_all};
use serde_json::json;
use tokio::sync::Semaphore;

use super::execute::{Done, Restore};
use super::find::find;
use super::plan::RestorePlan;
use crate::config::{RestoreConfig, RestoreTarget, StorageConfig};
use crate::engine::pace::Pace;
use crate::engine::{ClusterFacts, Connect, Destination, ProgressWatch, RestoreCounters, keys};
use crate::error::{Error, Result};
use crate::jobs::{Ended, JobContext, Work};
use crate::storage::paced::Paced;
use crate::storage::{Storage, address};
use crate::tasks::unless_canceled;
use crate::verify::contents::damaged;

/// Opens a storage, once.
pub type Open = Box<dyn FnOnce() -> BoxFuture<'static, Result<Arc<dyn Storage>>> + Send + Sync>;

/// A storage that may have what is asked for, opened only when it is looked at.
pub struct Source {
    /// What it is.
    pub config: StorageConfig,
    /// Opens it.
    pub open: Open,
}

/// The storage that is read, and what was found in it.
struct Chosen {
    plan: RestorePlan,
    storage: Arc<dyn Storage>,
}

/// The work of a restore job.
pub struct RestoreWork {
    config: RestoreConfig,
    connect: Arc<dyn Connect>,
    sources: Vec<Source>,
    state_dir: PathBuf,
}

impl RestoreWork {
    /// The work of a job that runs with `config`; `state_dir` holds its tables of digests while it runs.
    pub fn new(
        config: RestoreConfig,
        connect: Arc<dyn Connect>,
        storage: Arc<dyn Storage>,
        state_dir: PathBuf,
    ) -> Self {
        let open = Box::new(|| std::future::ready(Ok(storage)).boxed());
        let sources = vec![Source { config: config.source.clone(), open }];
        Self::choosing(config, connect, sources, state_dir)
    }

    /// The same with several storages, of which the first is taken that has what is asked for.
    pub fn choosing(
        config: RestoreConfig,
        connect: Arc<dyn Connect>,
        sources: Vec<Source>,
        state_dir: PathBuf,
    ) -> Self {
        Self { config, connect, sources, state_dir }
    }

    /// A manifest that we wrote and that is gone is damage, not an old format (rules.md 4.2).
    async fn known_manifests(&self, context: &JobContext, plan: &RestorePlan) -> Result<()> {
        let Some(storage) = &self.config.source.name else { return Ok(()) };
        let members = plan.namespaces.iter().flat_map(|namespace| &namespace.members);
        // Of a plain directory nothing is promised, and somebody has accepted that.
        for member in members.filter(|member| !member.contents.has_manifest && member.created.is_some()) {
            if context.store.had_manifest(storage, &member.key).await? {
                return Err(damaged(&member.key, "manifest.json is gone"));
            }
        }
        Ok(())
    }

    async fn execute(mut self, context: &JobContext) -> Result<()> {
        let Chosen { plan, storage } = unless_canceled(&context.cancel, self.choose(context)).await?;
        let (destination, record_bytes) =
            unless_canceled(&context.cancel, self.prepare(context, &plan)).await?;
        for warning in &plan.warnings {
            context.warn("plan", warning.clone());
        }
        context.progress.set_total(
            plan.namespaces.iter().map(super::plan::NamespaceRestore::records).fold(0, u64::saturating_add),
        );
        let policy = &self.config.policy;
        let (memory, namespaces) = (self.config.memory(), plan.namespaces.len());
        let share = context.memory.grow(memory.need_of(namespaces, record_bytes));
        let widths = memory.widths(share, namespaces, record_bytes);
        let records_pace = policy.records_per_second.map(|tps| Arc::new(Pace::new(u64::from(tps))));
        let storage = match policy.bytes_per_second {
            None => storage,
            Some(bytes) => {
                let pace = Pace::new(bytes);
                Arc::new(Paced::new(storage, Arc::new(move |bytes| pace.take(bytes))))
            }
        };
        let restore = Restore {
            records_pace,
            batches_max: (policy.batches_max as usize / widths.namespaces).max(1),
            turns: Semaphore::new(widths.namespaces),
            widths,
            config: self.config,
            context: context.clone(),
            storage,
            destination,
            state_dir: self.state_dir,
            watch: Arc::new(ProgressWatch(context.progress.clone())),
        };
        let done = join_all(plan.namespaces.iter().map(|namespace| restore.namespace(namespace))).await;
        report(context, &plan, done, &restore.config)
    }

    /// Takes the first storage in which all of what is asked for is found, with manifests and sizes (rules.md 4.2). What is
    /// wrong with one that is passed over is said.
    async fn choose(&mut self, context: &JobContext) -> Result<Chosen> {
        context.progress.doing("", "looking for the backups in storage");
        let mut passed: Vec<Error> = Vec::new();
        for source in std::mem::take(&mut self.sources) {
            self.config.source = source.config;
            let found = async {
                let storage = (source.open)().await?;
                let plan = self.find_and_pin(context, &storage).await?;
                self.known_manifests(context, &plan).await?;
                Ok(Chosen { plan, storage })
            };
            match found.await {
                Ok(chosen) => {
                    let name = self.config.source.name.as_deref().unwrap_or_default();
                    for error in passed {
                        let reason = error.report_without_hint();
                        context
                            .warn("copy-used", format!("the copy in storage {name} is restored: {reason}"));
                    }
                    return Ok(chosen);
                }
                Err(error) if !another_may_do(&error) => return Err(error),
                Err(error) => {
                    let storage = self.config.source.name.as_deref().unwrap_or_default();
                    passed.push(error.context(format!("storage {storage}")));
                }
            }
        }
        // The routine's own storage is what people ask about first.
        let others: Vec<String> = passed.iter().skip(1).map(Error::report_without_hint).collect();
        let nothing = || Error::permanent("storage-unknown", "the restore has no source");
        let first = passed.into_iter().next().unwrap_or_else(nothing);
        Err(if others.is_empty() {
            first
        } else {
            first.context(format!("no copy will do ({})", others.join("; ")))
        })
    }

    /// Finds what is asked for, and holds it against retention (rules.md 5.4).
    async fn find_and_pin(&self, context: &JobContext, storage: &Arc<dyn Storage>) -> Result<RestorePlan> {
        let place = storage.describe();
        let wide = match &self.config.target {
            RestoreTarget::Path { path, .. } => path,
            RestoreTarget::Time { routine, .. } => routine,
        };
        context.pin([address(&place, wide)]).await?;
        let marked = context.store.marked(&place).await?;
        let key = keys::key(self.config.policy.encryption.as_ref()).await;
        // By time it may be the routine's own, which nobody named and backups that are not encrypted do not need.
        let (key, no_key) = match (key, &self.config.target) {
            (Err(error), RestoreTarget::Time { .. }) => (None, Some(error)),
            (key, _) => (key?, None),
        };
        let now = context.clock.now();
        let found = find(storage, &self.config, key.as_ref(), &marked, now, &context.cancel).await;
        let plan = match (found, no_key) {
            (Err(error), Some(no_key)) if error.code() == "encryption-key-missing" => return Err(no_key),
            (found, _) => found?,
        };
        let members = plan.namespaces.iter().flat_map(|namespace| &namespace.members);
        context.pin(members.map(|member| address(&place, &member.key)).collect::<Vec<_>>()).await?;
        Ok(plan)
    }

    /// Everything before the destination is looked at for records: nothing is written here.
    async fn prepare(&self, context: &JobContext, plan: &RestorePlan) -> Result<(Arc<dyn Destination>, u64)> {
        context.progress.doing("", "asking the nodes of the cluster");
        let destination = self.connect.destination(&self.config.destination).await?;
        let facts = destination.facts().await?;
        check_namespaces(plan, &facts)?;
        let namespaces: Vec<String> =
            plan.namespaces.iter().map(|namespace| namespace.destination.clone()).collect();
        let record_bytes = facts.record_bytes_max(namespaces.iter().map(String::as_str));
        if self.config.care.validate {
            // Nothing is written: backups of the namespaces may go on beside it (rules.md 2.4).
            return Ok((destination, record_bytes));
        }
        context.claim(&facts.keys(self.config.destination.name.as_deref()), &namespaces).await?;
        Ok((destination, record_bytes))
    }
}

/// Whether another copy may have what this one does not give: it cannot be reached, or something is missing or damaged.
fn another_may_do(error: &Error) -> bool {
    const MISSING: [&str; 6] = [
        "backup-damaged",
        "file-damaged",
        "backup-marked",
        "backup-unreadable",
        "no-full-backup",
        "chain-gap",
    ];
    error.code().starts_with("storage-") || MISSING.contains(&error.code())
}

#[async_trait]
impl Work for RestoreWork {
    async fn run(self: Box<Self>, context: JobContext) -> Ended {
        let cancel = context.cancel.clone();
        let worked = self.execute(&context).await;
        match worked {
            Ok(()) => Ended::Succeeded,
            Err(_) if cancel.is_cancelled() => Ended::Canceled,
            Err(error) => Ended::Failed(error),
        }
    }
}

/// The destination must have every namespace before anything is written (abs.md 4.7).
fn check_namespaces(plan: &RestorePlan, facts: &ClusterFacts) -> Result<()> {
    match plan.namespaces.iter().find(|namespace| facts.namespace(&namespace.destination).is_none()) {
        None => Ok(()),
        Some(missing) => Err(Error::permanent(
            "namespace-missing",
            format!("destination cluster does not have required namespace: {}", missing.destination),
        )
        .hint("Configure it on the cluster, or map the namespace to another one with policy.namespace.")),
    }
}

/// Writes result and counters; fails if a namespace failed, naming those that are whole (rules.md 4.8).
///
/// Where nothing was written, no counter says so: what would have been is in the result.
fn report(context: &JobContext, plan: &RestorePlan, done: Vec<Done>, config: &RestoreConfig) -> Result<()> {
    let validate = config.care.validate;
    let mut counters = RestoreCounters::default();
    let mut namespaces = Vec::new();
    let (mut whole, mut errors) = (Vec::new(), Vec::new());
    for (namespace, mut done) in plan.namespaces.iter().zip(done) {
        let would = validate.then(|| done.counters.nothing_written());
        counters.add(&done.counters);
        let mut entry = json!({
            "namespace": namespace.source,
            "plan": done.way.map(|way| json!(namespace.describe(&way))),
            "counters": done.counters,
            "error": done.error.as_ref().map(Error::report),
        });
        if let (Some(would), Some(entry)) = (would, entry.as_object_mut()) {
            entry.insert("would-write".to_owned(), would);
        }
        namespaces.push(entry);
        match done.error {
            None => whole.push(namespace.destination.clone()),
            Some(error) => errors.push(error),
        }
    }
    context.set_counters(json!(counters));
    let key = if validate { "valid" } else { "restored-whole" };
    let source = config.source.name.as_ref();
    context.set_result(json!({ "namespaces": namespaces, key: whole, "storage": source }));
    let more = errors.len().saturating_sub(1);
    match errors.into_iter().next() {
        None => Ok(()),
        Some(error) if plan.namespaces.len() == 1 => Err(error),
        Some(error) => {
            let whole = if whole.is_empty() { "none".to_owned() } else { whole.join(", ") };
            let what = if validate { "valid" } else { "restored whole" };
            Err(error.context(format!("{more} more namespaces failed, {what}: {whole}")))
        }
    }
}
