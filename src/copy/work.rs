//! The job: find, pin, copy one backup after the other, tell.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use async_trait::async_trait;
use serde_json::{Value, json};

use super::execute::{Copy, Outcome};
use super::files::Way;
use super::plan::{Candidate, CopyPlan, Why, candidates, plan};
use super::{CopyJobConfig, CopyRequest, FULL_NAMESPACES, WILL_RETRY, leftovers};
use crate::catalog::{BackupEntry, History, Ownership};
use crate::error::{Error, Result};
use crate::jobs::{Ended, JobContext, Work};
use crate::metrics::{COPIED_BACKUPS, COPIED_BYTES};
use crate::model::BackupType;
use crate::storage::{Storage, address};
use crate::tasks::unless_canceled;

/// The work of a copy job.
pub struct CopyWork {
    config: CopyJobConfig,
    request: CopyRequest,
    source: Arc<dyn Storage>,
    target: Arc<dyn Storage>,
    ownership: Ownership,
}

/// What is to be done, with what is read for it.
struct Found {
    candidates: Vec<Candidate>,
    plan: CopyPlan,
    /// What the source lists, by key.
    entries: BTreeMap<String, BackupEntry>,
}

/// What was done so far; told whatever the end.
#[derive(Debug, Default)]
struct Done {
    backups: Vec<Value>,
    copied: u64,
    already_there: u64,
    files: u64,
    bytes: u64,
    /// Of the fulls that were asked for.
    namespaces: BTreeSet<String>,
}

impl CopyWork {
    /// The work of a job that runs with `config`; `ownership` says whether it may write to the target (rules.md 5.5).
    pub fn new(
        config: CopyJobConfig,
        request: CopyRequest,
        source: Arc<dyn Storage>,
        target: Arc<dyn Storage>,
        ownership: &Ownership,
    ) -> Self {
        let name = config.copy.storage.name.clone().unwrap_or_default();
        Self { config, request, source, target, ownership: ownership.elsewhere(&name) }
    }

    /// Whether another attempt follows by itself, for the job's result: said also where no storage could be opened.
    pub fn result_of_failure(request: &CopyRequest, error: &Error) -> Value {
        json!({ WILL_RETRY: request.retries_after(error) })
    }

    async fn execute(&self, context: &JobContext, done: &mut Done) -> Result<Ended> {
        let routine = self.config.job.routine.as_str();
        context.progress.doing("", "looking for the backups in both storages");
        let target = self.target.as_ref();
        unless_canceled(&context.cancel, self.ownership.may_hold(target, routine)).await?;
        let found = unless_canceled(&context.cancel, self.find_and_pin(context)).await?;
        for note in &found.plan.notes {
            context.warn("plan", note.clone());
        }
        if found.plan.steps.is_empty() {
            context.warn("nothing-to-copy", "Storage has no whole backup of what was asked for.");
            return Ok(Ended::Succeeded);
        }
        let held = unless_canceled(&context.cancel, self.ownership.ensure(target, routine)).await?;
        if let Some(text) = held.warning(routine, self.ownership.id()) {
            context.warn("owner-replaced", text);
        }
        self.clean_before(context, &found).await?;
        let copy = self.copy(context);
        for (one, entry, why) in found.steps() {
            if context.cancel.is_cancelled() || context.stopping.is_cancelled() {
                return Ok(Ended::Canceled);
            }
            let Some(entry) = entry else {
                // Only the target has it: what is copied builds on it.
                done.tell(one, why, Outcome::AlreadyThere);
                continue;
            };
            match copy.one(entry).await {
                Ok(outcome) => done.tell(one, why, outcome),
                Err(error) => {
                    self.give_up(context, &copy, &entry.key, &error).await;
                    return Err(error.context(format!("copy backup {}", entry.key)));
                }
            }
        }
        Ok(Ended::Succeeded)
    }

    /// Finds what is wanted, and holds it against retention in both storages (rules.md 5.4).
    async fn find_and_pin(&self, context: &JobContext) -> Result<Found> {
        let (from, to) = (self.source.describe(), self.target.describe());
        if from == to {
            return Err(Error::permanent("copy-of-itself", format!("the backups are in {to} already"))
                .hint("Name another storage."));
        }
        let routine = self.config.job.routine.as_str();
        let mut wide = self.request.wanted.reads(&from, routine);
        wide.push(address(&to, routine));
        context.pin(wide).await?;
        let source = history(context, self.source.as_ref(), routine).await?;
        for listing in [&source.full, &source.incremental] {
            if let Some(problem) = listing.has_unreadable().then(|| listing.problems.first()).flatten() {
                let text = format!("backup {}: {}", problem.key, problem.reason);
                return Err(Error::temporary("backup-unreadable", text)
                    .hint("Check the storage and its permissions, and try again."));
            }
        }
        let target = history(context, self.target.as_ref(), routine).await?;
        let candidates = candidates(&source, &target);
        let plan = plan(&candidates, &self.request.wanted, context.job.namespaces.as_deref())?;
        let all = source.full.all().iter().chain(source.incremental.all());
        let entries: BTreeMap<String, BackupEntry> =
            all.map(|entry| (entry.key.clone(), entry.clone())).collect();
        let found = Found { candidates, plan, entries };
        let pins = found.steps().flat_map(|(one, entry, _)| {
            let source = entry.filter(|_| !one.there).map(|entry| address(&from, &entry.key));
            source.into_iter().chain([address(&to, &one.key)])
        });
        context.pin(pins.collect::<Vec<_>>()).await?;
        let open = || found.steps().filter(|(one, _, _)| !one.there).filter_map(|(_, entry, _)| entry);
        context.progress.set_total(open().map(|entry| entry.counts.records).sum());
        context.progress.set_bytes_total(open().map(|entry| entry.counts.bytes).sum());
        Ok(found)
    }

    /// What earlier jobs have left half-made, and this one does not go on with.
    async fn clean_before(&self, context: &JobContext, found: &Found) -> Result<()> {
        let to = self.target.describe();
        let mine: BTreeSet<String> = found.steps().map(|(one, _, _)| address(&to, &one.key)).collect();
        for row in leftovers::left(&context.store, Some(context.job.id)).await? {
            let is_here = row.routine == self.config.job.routine && row.address == address(&to, &row.folder);
            if is_here && !mine.contains(&row.address) {
                leftovers::settle(&context.store, self.target.as_ref(), &self.ownership, &row).await?;
            }
        }
        Ok(())
    }

    fn copy(&self, context: &JobContext) -> Copy {
        let memory = self.config.memory();
        Copy {
            context: context.clone(),
            source: Arc::clone(&self.source),
            target: Arc::clone(&self.target),
            way: Way {
                source: Arc::clone(&self.source),
                target: Arc::clone(&self.target),
                part_bytes: memory.part_bytes,
                progress: context.progress.clone(),
            },
            ownership: self.ownership.clone(),
            routine: self.config.job.routine.clone(),
            source_name: self.config.job.storage.name.clone().unwrap_or_default(),
            target_name: self.config.copy.storage.name.clone().unwrap_or_default(),
            files: memory.files(context.memory.bytes()),
        }
    }

    /// Removes what was written of a backup, unless another attempt goes on with it.
    async fn give_up(&self, context: &JobContext, copy: &Copy, folder: &str, error: &Error) {
        let stops = context.stopping.is_cancelled() && !context.is_cancel_requested().await.unwrap_or(false);
        // Once the process stops it is the next start that knows.
        if stops || (!context.cancel.is_cancelled() && self.request.retries_after(error)) {
            return;
        }
        if let Err(error) = copy.give_up(folder).await {
            tracing::warn!(folder, reason = error.report(), "a half-made copy is left to the next start");
        }
    }
}

impl Found {
    fn steps(&self) -> impl Iterator<Item = (&Candidate, Option<&BackupEntry>, Why)> {
        self.plan.steps.iter().filter_map(|step| {
            let one = self.candidates.get(step.place)?;
            Some((one, self.entries.get(&one.key), step.why))
        })
    }
}

/// What a storage lists of a routine; what is being deleted there is marked.
async fn history(context: &JobContext, storage: &dyn Storage, routine: &str) -> Result<History> {
    let marked = context.store.marked(&storage.describe()).await?;
    let mut history = History::read(storage, routine, &marked).await?;
    history.void_future(context.clock.now());
    Ok(history)
}

impl Done {
    fn tell(&mut self, one: &Candidate, why: Why, outcome: Outcome) {
        let (word, files, bytes) = match outcome {
            Outcome::Copied { files, bytes } => ("copied", files, bytes),
            Outcome::AlreadyThere => ("already-there", 0, 0),
        };
        if outcome == Outcome::AlreadyThere {
            self.already_there += 1;
        } else {
            self.copied += 1;
        }
        self.files += files;
        self.bytes += bytes;
        if why == Why::Asked && one.member.backup_type == BackupType::Full {
            self.namespaces.insert(one.namespace.clone());
        }
        self.backups.push(json!({
            "key": one.key,
            "namespace": one.namespace,
            "type": one.member.backup_type,
            "created": one.member.created.to_rfc3339(),
            "outcome": word,
            "why": why.as_str(),
            "byte-count": bytes,
        }));
    }

    fn report(self, context: &JobContext, work: &CopyWork, will_retry: bool) {
        context.set_counters(json!({
            COPIED_BACKUPS: self.copied,
            "already-there": self.already_there,
            "copied-files": self.files,
            COPIED_BYTES: self.bytes,
        }));
        context.set_result(json!({
            "from": work.config.job.storage.name,
            "to": work.config.copy.storage.name,
            "backups": self.backups,
            FULL_NAMESPACES: self.namespaces,
            WILL_RETRY: will_retry,
        }));
    }
}

#[async_trait]
impl Work for CopyWork {
    async fn run(self: Box<Self>, context: JobContext) -> Ended {
        let mut done = Done::default();
        let ended = match self.execute(&context, &mut done).await {
            Ok(ended) => ended,
            Err(_) if context.cancel.is_cancelled() => Ended::Canceled,
            Err(error) => Ended::Failed(error),
        };
        let will_retry = matches!(&ended, Ended::Failed(error) if self.request.retries_after(error));
        done.report(&context, &self, will_retry);
        ended
    }
}
