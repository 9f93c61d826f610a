//! One restore: find, claim, then every namespace side by side.

use std::path::PathBuf;
use std::sync::Arc;

use async_trait::async_trait;
use futures_util::future::join_all;
use serde_json::{Value, json};
use tokio::sync::Semaphore;

use super::execute::{Done, Restore};
use super::find::check_namespaces;
use super::plan::RestorePlan;
use super::safety::{describe, not_confirmed, save_first};
use super::source::{Chosen, Search, Source, choose};
use crate::backup::safety::SafetyBackup;
use crate::config::RestoreConfig;
use crate::engine::copies::Copies;
use crate::engine::pace::Pace;
use crate::engine::{ClusterFacts, Connect, Destination, ProgressWatch, RestoreCounters};
use crate::error::{Error, Result};
use crate::jobs::{Ended, JobContext, Work};
use crate::storage::Storage;
use crate::storage::paced::{Paced, Take};
use crate::tasks::unless_canceled;

/// Where a job's result names its safety backup.
const SAFETY_BACKUP: &str = "safety-backup";

/// The work of a restore job.
pub struct RestoreWork {
    config: RestoreConfig,
    connect: Arc<dyn Connect>,
    sources: Vec<Source>,
    state_dir: PathBuf,
    safety: Option<SafetyBackup>,
}

/// What was found before the first write.
struct Prepared {
    plan: RestorePlan,
    storage: Arc<dyn Storage>,
    others: Vec<Source>,
    destination: Arc<dyn Destination>,
    facts: ClusterFacts,
    record_bytes: u64,
}

impl RestoreWork {
    /// The work of a job that runs with `config`; `state_dir` holds its tables of digests while it runs.
    pub fn new(
        config: RestoreConfig,
        connect: Arc<dyn Connect>,
        storage: Arc<dyn Storage>,
        state_dir: PathBuf,
    ) -> Self {
        let sources = vec![Source::opened(config.source.clone(), storage)];
        Self::choosing(config, connect, sources, state_dir)
    }

    /// The same with several storages, of which the first is taken that has what is asked for.
    pub fn choosing(
        config: RestoreConfig,
        connect: Arc<dyn Connect>,
        sources: Vec<Source>,
        state_dir: PathBuf,
    ) -> Self {
        Self { config, connect, sources, state_dir, safety: None }
    }

    /// With what takes the backup that the request wants of the destination first.
    #[must_use]
    pub fn saving_first(self, safety: SafetyBackup) -> Self {
        Self { safety: Some(safety), ..self }
    }

    async fn execute(mut self, context: &JobContext) -> Result<()> {
        let prepared = unless_canceled(&context.cancel, self.prepare(context)).await?;
        for warning in &prepared.plan.warnings {
            context.warn("plan", warning.clone());
        }
        unless_canceled(&context.cancel, self.check_confirmed(context, &prepared)).await?;
        let saved = self.save_first(context, &prepared.plan).await?;
        if let Some(saved) = &saved {
            // Also of a restore that does not come to its end.
            context.set_result(json!({ SAFETY_BACKUP: saved }));
        }
        let Prepared { mut plan, storage, others, destination, record_bytes, facts } = prepared;
        context.progress.set_total(
            plan.namespaces.iter().map(super::plan::NamespaceRestore::records).fold(0, u64::saturating_add),
        );
        let policy = &self.config.policy;
        let (memory, namespaces) = (self.config.memory(), plan.namespaces.len());
        let share = context.memory.grow(memory.need_of(namespaces, record_bytes));
        let widths = memory.widths(share, namespaces, record_bytes);
        let records_pace = policy.records_per_second.map(|tps| Arc::new(Pace::new(u64::from(tps))));
        let pace = policy.bytes_per_second.map(|bytes| {
            let pace = Pace::new(bytes);
            Arc::new(move |bytes| pace.take(bytes)) as Take
        });
        let copies = copies_of(context, &self.config, others, pace.as_ref());
        plan.also_in(copies.as_ref());
        let storage = match pace {
            None => storage,
            Some(pace) => Arc::new(Paced::new(storage, pace)),
        };
        let restore = Restore {
            records_pace,
            batches_max: (policy.batches_max as usize / widths.namespaces).max(1),
            turns: Semaphore::new(widths.namespaces),
            widths,
            config: self.config,
            context: context.clone(),
            storage,
            copies,
            destination,
            facts,
            state_dir: self.state_dir,
            watch: Arc::new(ProgressWatch(context.progress.clone())),
        };
        let done = join_all(plan.namespaces.iter().map(|namespace| restore.namespace(namespace))).await;
        report(context, &plan, done, &restore.config, saved)
    }

    /// Every namespace is looked at before the first is written to; each again by itself, right before that.
    async fn check_confirmed(&self, context: &JobContext, prepared: &Prepared) -> Result<()> {
        if !self.config.unconfirmed {
            return Ok(());
        }
        context.progress.doing("", "looking for records in the destination");
        for namespace in prepared.plan.namespaces.iter().map(|namespace| &namespace.destination) {
            // What an earlier attempt of this restore has written needs no other word.
            let empty = if let Some(empty) = context.found_empty(namespace).await? {
                empty
            } else {
                let sets = &self.config.policy.sets;
                prepared.destination.is_empty(namespace, sets, &context.cancel).await?
            };
            if !empty {
                let objects = prepared.facts.namespace(namespace).map_or(0, |known| known.objects);
                return Err(not_confirmed(namespace, objects));
            }
        }
        Ok(())
    }

    async fn save_first(&self, context: &JobContext, plan: &RestorePlan) -> Result<Option<Value>> {
        let Some((place, safety)) = self.config.safety_backup.as_ref().zip(self.safety.as_ref()) else {
            return Ok(None);
        };
        let saved = save_first(safety, &self.config, place, plan, context).await?;
        Ok(Some(describe(&saved, &self.config)))
    }

    /// Everything before the destination is looked at for records: nothing is written here.
    async fn prepare(&mut self, context: &JobContext) -> Result<Prepared> {
        context.progress.doing("", "looking for the backups in storage");
        let search = Search {
            store: &context.store,
            now: context.clock.now(),
            cancel: &context.cancel,
            job: Some(context),
        };
        let sources = std::mem::take(&mut self.sources);
        let Chosen { plan, storage, passed, others } = choose(&mut self.config, sources, &search).await?;
        for reason in passed {
            context.warn("copy-used", reason);
        }
        context.progress.doing("", "asking the nodes of the cluster");
        let destination = self.connect.destination(&self.config.destination).await?;
        let facts = destination.facts().await?;
        check_namespaces(&plan, &facts)?;
        let namespaces: Vec<String> =
            plan.namespaces.iter().map(|namespace| namespace.destination.clone()).collect();
        let record_bytes = facts.record_bytes_max(namespaces.iter().map(String::as_str));
        // Where nothing is written backups of the namespaces may go on beside it (rules.md 2.4).
        if !self.config.care.validate {
            context.claim(&facts.keys(self.config.destination.name.as_deref()), &namespaces).await?;
        }
        Ok(Prepared { plan, storage, others, destination, facts, record_bytes })
    }
}

/// Where what the chosen storage does not give is read; none: nowhere.
fn copies_of(
    context: &JobContext,
    config: &RestoreConfig,
    others: Vec<Source>,
    pace: Option<&Take>,
) -> Option<Arc<Copies>> {
    if others.is_empty() {
        return None;
    }
    let warned = context.clone();
    let others = others.into_iter().map(|source| source.other(pace.cloned())).collect();
    let chosen = config.source.name.clone().unwrap_or_default();
    Some(Arc::new(Copies::new(chosen, others, Box::new(move |text| warned.warn("copy-used", text)))))
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

/// Writes result and counters; fails if a namespace failed, naming those that are whole (rules.md 4.8).
///
/// Where nothing was written, no counter says so: what would have been is in the result.
fn report(
    context: &JobContext,
    plan: &RestorePlan,
    done: Vec<Done>,
    config: &RestoreConfig,
    saved: Option<Value>,
) -> Result<()> {
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
    let mut result = json!({ "namespaces": namespaces, key: whole, "storage": config.source.name });
    if let (Some(saved), Some(result)) = (saved, result.as_object_mut()) {
        result.insert(SAFETY_BACKUP.to_owned(), saved);
    }
    context.set_result(result);
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
