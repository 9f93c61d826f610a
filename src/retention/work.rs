//! The job: finish what was marked before, decide, look at what stays, mark, delete.

use std::collections::BTreeSet;
use std::sync::Arc;

use async_trait::async_trait;
use serde_json::json;

use super::HELD_BACK;
use super::deletion::{self, DeletionRequest};
use super::plan::{Decision, Mark, Needed, Seen, decide, look_at};
use crate::catalog::layout::{CONFIGURATION, DATA};
use crate::catalog::{Ownership, RunFolder, remove_attempt};
use crate::config::JobConfig;
use crate::error::{Error, Result};
use crate::jobs::{Ended, JobContext, Work};
use crate::metrics::DELETED_BACKUPS;
use crate::storage::{Storage, join};
use crate::store::{DeletionRow, holds};
use crate::tasks::unless_canceled;

/// Deleted folders that a job's result names; the log has them all.
const TOLD_MAX: usize = 1000;

/// The work of a retention job: on the namespaces of its row, or on all. With an empty list it only finishes deletions that
/// were marked before.
pub struct RetentionWork {
    config: JobConfig,
    storage: Arc<dyn Storage>,
    ownership: Ownership,
}

/// What was done so far; told also when the job fails.
#[derive(Debug, Default)]
struct Done {
    deleted: Vec<String>,
    objects: u64,
    bytes: u64,
    held_back: usize,
    namespaces: Vec<serde_json::Value>,
}

impl RetentionWork {
    /// The work of a job that runs with `config`; `ownership` says whether it may delete (rules.md 5.5).
    pub fn new(config: JobConfig, storage: Arc<dyn Storage>, ownership: Ownership) -> Self {
        Self { config, storage, ownership }
    }

    async fn execute(&self, context: &JobContext, done: &mut Done) -> Result<Ended> {
        // Before anything is marked: what another instance owns stays in every chain here too.
        let may_hold = self.ownership.may_hold(self.storage.as_ref(), &self.config.routine);
        unless_canceled(&context.cancel, may_hold).await?;
        let before = self.marked_before(context, done).await?;
        if !self.delete(context, &before, done).await? {
            return Ok(Ended::Canceled);
        }
        if context.job.namespaces.as_ref().is_some_and(Vec::is_empty) {
            return Ok(Ended::Succeeded);
        }
        if let Some(request) = &context.job.request {
            let request: DeletionRequest = request.parse()?;
            let marked = unless_canceled(&context.cancel, self.mark_asked(context, done, &request)).await?;
            let deleted = self.delete(context, &marked, done).await?;
            return Ok(if deleted { Ended::Succeeded } else { Ended::Canceled });
        }
        if self.config.policy.retention.is_none() {
            let reason = "The policy keeps everything: it has no retention.".to_owned();
            return Ok(Ended::Skipped { code: "no-retention", reason });
        }
        let marked = unless_canceled(&context.cancel, self.mark(context, done)).await?;
        Ok(if self.delete(context, &marked, done).await? { Ended::Succeeded } else { Ended::Canceled })
    }

    /// What was marked before and nobody reads: a deletion that was cut off (rules.md 5.3).
    async fn marked_before(&self, context: &JobContext, done: &mut Done) -> Result<Vec<DeletionRow>> {
        let mut tx = context.hold().await?;
        let mut marked = tx.deletions_at(&self.storage.describe(), &self.config.routine).await?;
        let pins = tx.pins().await?;
        let all = marked.len();
        marked.retain(|row| !pins.iter().any(|pin| holds(&pin.address, &row.address)));
        done.held_back += all - marked.len();
        Ok(marked)
    }

    /// Decides, and marks what goes in the transaction that has seen that nothing pins it. Before, every full that stays
    /// is looked at (rules.md 5.1).
    ///
    /// Errors: `kept-full-damaged`, `backup-unreadable`, those of storage; then nothing is marked.
    async fn mark(&self, context: &JobContext, done: &mut Done) -> Result<Vec<DeletionRow>> {
        let storage = self.storage.as_ref();
        let seen = Seen::read(&context.store, storage, &self.config.routine, context.clock.now()).await?;
        if let Some(problem) = seen.unreadable() {
            return Err(problem.into());
        }
        let mut looked_at: BTreeSet<String> = BTreeSet::new();
        let namespaces = context.job.namespaces.as_deref();
        loop {
            let mut tx = context.hold().await?;
            let needed = Needed::read(&mut tx, &seen).await?;
            let decisions = decide(&seen, &needed, self.config.policy.retention, namespaces);
            let open: Vec<_> = decisions
                .iter()
                .flat_map(Decision::fulls_to_check)
                .filter(|entry| !looked_at.contains(&entry.key))
                .collect();
            if open.is_empty() {
                let place = storage.describe();
                let (config, job_id) = (&self.config, context.job.id);
                let mark = Mark { place: &place, config, job_id, marked: context.clock.now() };
                let rows: Vec<DeletionRow> =
                    decisions.iter().flat_map(|decision| decision.deletions(&mark)).collect();
                tx.insert_deletions(&rows).await?;
                tx.commit().await?;
                done.decided(&decisions);
                return self.in_order(context, rows).await;
            }
            // Others must not wait for storage; whether it still holds is asked again.
            drop(tx);
            for entry in open {
                if let Some(problem) = look_at(&context.store, storage, entry).await? {
                    return Err(problem.into());
                }
                looked_at.insert(entry.key.clone());
            }
        }
    }

    /// Marks what was asked for, if nothing else needs it.
    ///
    /// Errors: those of [`deletion::decide`], `backup-unreadable`, those of storage; then nothing is marked.
    async fn mark_asked(
        &self,
        context: &JobContext,
        done: &mut Done,
        request: &DeletionRequest,
    ) -> Result<Vec<DeletionRow>> {
        let storage = self.storage.as_ref();
        let seen = Seen::read(&context.store, storage, &self.config.routine, context.clock.now()).await?;
        let mut tx = context.hold().await?;
        let decided = deletion::decide(&mut tx, &seen, request).await?;
        decided.refusal()?;
        let place = storage.describe();
        let mark =
            Mark { place: &place, config: &self.config, job_id: context.job.id, marked: context.clock.now() };
        let rows: Vec<DeletionRow> = decided.backups().map(|entry| mark.of(entry)).collect();
        tx.insert_deletions(&rows).await?;
        tx.commit().await?;
        for text in decided.warnings() {
            context.warn("no-full-left", text);
        }
        done.namespaces.extend(decided.counts());
        self.in_order(context, rows).await
    }

    /// The marks just made, in the order of deletion.
    async fn in_order(&self, context: &JobContext, rows: Vec<DeletionRow>) -> Result<Vec<DeletionRow>> {
        let mine: BTreeSet<String> = rows.into_iter().map(|row| row.address).collect();
        let mut tx = context.hold().await?;
        let mut all = tx.deletions_at(&self.storage.describe(), &self.config.routine).await?;
        all.retain(|row| mine.contains(&row.address));
        Ok(all)
    }

    /// Deletes marked backups one after the other; false if it was asked to end in between.
    async fn delete(&self, context: &JobContext, rows: &[DeletionRow], done: &mut Done) -> Result<bool> {
        context.progress.add_total(rows.len() as u64);
        let (storage, routine) = (self.storage.as_ref(), self.config.routine.as_str());
        if !rows.is_empty() {
            let held = self.ownership.ensure(storage, routine).await?;
            if let Some(text) = held.warning(routine, self.ownership.id()) {
                context.warn("owner-replaced", text);
            }
        }
        for row in rows {
            if context.cancel.is_cancelled() || context.stopping.is_cancelled() {
                return Ok(false);
            }
            self.ownership.check(storage, routine).await?;
            done.objects += remove_attempt(storage, &row.folder)
                .await
                .map_err(|error| error.context(format!("delete backup {}", row.folder)))?;
            self.clean_run(context, row).await?;
            let mut tx = context.hold().await?;
            tx.end_deletion(&row.address).await?;
            tx.commit().await?;
            let (job, folder, bytes) = (context.job.id.0, &row.folder, row.bytes);
            tracing::info!(job, folder, bytes, "backup deleted");
            done.deleted.push(row.folder.clone());
            done.bytes += row.bytes;
            context.progress.add_done(1);
        }
        Ok(true)
    }

    /// With the last namespace of a run its `configuration/` goes (rules.md 5.3); what else lies there is not ours. A
    /// run that a job still works in is left alone (6.2).
    async fn clean_run(&self, context: &JobContext, row: &DeletionRow) -> Result<()> {
        let Some((run, _)) = RunFolder::of_key(&row.folder) else { return Ok(()) };
        if !self.storage.list_dirs(&join(&run.key(), DATA)).await?.is_empty() {
            return Ok(());
        }
        if context.hold().await?.run_is_open(&self.config.routine, run.created).await? {
            return Ok(());
        }
        self.storage.delete_prefix(&join(&run.key(), CONFIGURATION)).await?;
        Ok(())
    }
}

impl Done {
    fn decided(&mut self, decisions: &[Decision]) {
        for decision in decisions {
            let (stays, held_back) = (decision.staying(), decision.held_back());
            self.held_back += held_back;
            self.namespaces.push(json!({
                "namespace": decision.namespace,
                "stays": stays,
                "goes": decision.entries.len() - stays,
                HELD_BACK: held_back,
            }));
        }
    }

    fn tell(self, context: &JobContext) {
        if self.held_back > 0 {
            let text = format!("{} backups stay for now: a job reads them or builds on them", self.held_back);
            context.warn("pinned", text);
        }
        context.set_counters(json!({
            DELETED_BACKUPS: self.deleted.len(),
            "deleted-objects": self.objects,
            "deleted-bytes": self.bytes,
        }));
        let told: Vec<&String> = self.deleted.iter().take(TOLD_MAX).collect();
        context.set_result(json!({
            "namespaces": self.namespaces,
            HELD_BACK: self.held_back,
            "deleted": told,
        }));
    }
}

#[async_trait]
impl Work for RetentionWork {
    async fn run(self: Box<Self>, context: JobContext) -> Ended {
        let mut done = Done::default();
        let ended = self.execute(&context, &mut done).await;
        done.tell(&context);
        match ended {
            Ok(ended) => ended,
            Err(_) if context.cancel.is_cancelled() => Ended::Canceled,
            Err(error) => Ended::Failed(failed(error)),
        }
    }
}

/// What is marked and not gone yet is said: it is out of every chain, and will go.
fn failed(error: Error) -> Error {
    match error.code() {
        "kept-full-damaged"
        | "backup-unreadable"
        | "backup-not-found"
        | "backup-has-dependents"
        | "backup-in-use"
        | "routine-owned"
        | "owner-unreadable" => error,
        _ => error.hint("What is marked stays out of every chain; the next retention or start deletes it."),
    }
}
