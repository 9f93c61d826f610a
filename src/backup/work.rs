//! One run of a routine: facts, `created`, plan, then every namespace side by side.

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::future::join_all;
use serde_json::json;
use tokio::sync::Semaphore;

use super::clocks::{check_own_clock, judge_skew};
use super::namespace::{NamespaceEnd, NamespaceRun};
use super::plan::{Action, NamespacePlan, RunInput, RunPlan, plan};
use super::run::{Run, Tried, margin_ms, pause, retrying, wait_for_margin};
use crate::aerospike::NodeGate;
use crate::catalog::layout::VOID;
use crate::catalog::{History, Ownership, Scope};
use crate::config::{JobConfig, PolicyConfig};
use crate::engine::throttle::Throttle;
use crate::engine::{ClusterFacts, Connect, ReadLimits, Source, keys};
use crate::error::{Error, Result};
use crate::jobs::{Ended, JobContext, Work};
use crate::memory::BackupWidths;
use crate::model::expression::parse_filter;
use crate::model::{BackupType, JobStatus, PartitionSet, UnixMillis};
use crate::storage::{Storage, address, join};
use crate::tasks::unless_canceled;

/// The work of a backup job.
pub struct BackupWork {
    config: JobConfig,
    asked: BackupType,
    connect: Arc<dyn Connect>,
    storage: Arc<dyn Storage>,
    ownership: Ownership,
}

impl BackupWork {
    /// The work of a job that runs with `config`.
    pub fn new(
        config: JobConfig,
        asked: BackupType,
        connect: Arc<dyn Connect>,
        storage: Arc<dyn Storage>,
        ownership: Ownership,
    ) -> Self {
        Self { config, asked, connect, storage, ownership }
    }

    async fn execute(self, context: &JobContext) -> Result<Ended> {
        let (policy, retry) = (&self.config.policy, self.config.policy.retry);
        // Only a secret agent may be away for a while.
        let loaded = retrying(context, retry, Tried::Key, || {
            unless_canceled(&context.cancel, keys::cipher(policy.encryption.as_ref()))
        });
        let cipher = loaded.await?;
        // Before the cluster is asked for anything: the folder may be another's (rules.md 5.5).
        let (storage, routine) = (self.storage.as_ref(), self.config.routine.as_str());
        unless_canceled(&context.cancel, self.ownership.may_hold(storage, routine)).await?;
        let filter = self.config.scope.filter.as_deref().map(parse_filter).transpose().map_err(|reason| {
            Error::permanent("config-invalid", format!("filter-exp {reason}")).hint("Run holdfast check.")
        })?;
        context.progress.doing("", "asking the nodes of the cluster");
        let connected = retrying(context, retry, Tried::Cluster, || {
            unless_canceled(&context.cancel, self.connect_and_ask())
        });
        let (source, facts) = connected.await?;
        // Before a time in storage is believed or disbelieved.
        check_own_clock(&facts.nodes)?;
        unless_canceled(&context.cancel, self.hold(context)).await?;
        context.progress.doing("", "reading what storage has of the routine");
        let known = unless_canceled(&context.cancel, self.load(context)).await?;
        let created = context.fix_created(known.newest_created()).await?;
        let margin_ms = margin_ms(&self.config);
        let skew = judge_skew(created, margin_ms, &facts.nodes);
        if let Some(warning) = &skew.warning {
            context.warn("clock-skew", warning.clone());
        }
        // By both clocks: a wall clock that is set forward meanwhile must not shorten the margin.
        pause(context, margin_ms.max(0) as u64).await?;
        wait_for_margin(context, created, margin_ms).await?;
        // Storage is asked again once the scan may start: another run may have committed meanwhile (rules.md 3.5).
        if self.asked == BackupType::Incremental {
            // Until the plan knows what it builds on, retention leaves all of it alone (rules.md 5.4).
            context.pin([address(&self.storage.describe(), &self.config.routine)]).await?;
        }
        let mut known = unless_canceled(&context.cancel, self.load(context)).await?;
        if self.asked == BackupType::Incremental {
            unless_canceled(&context.cancel, self.look_for_damage(context, &mut known)).await?;
        }
        let scope = scope_of(&self.config, cipher.as_ref().map(|cipher| cipher.key.id()));
        let skew_excess_ms = created.since(skew.safe_from);
        let plan = self.plan(context, &facts, created, skew_excess_ms, &known, &scope.hash()).await?;
        context.pin(self.built_on(&plan, &known)).await?;
        let planned: Vec<String> = plan.namespaces.iter().map(|one| one.namespace.clone()).collect();
        let chosen = unless_canceled(&context.cancel, self.choose(source.as_ref(), &plan, &known)).await?;
        match context.claim(&facts.keys(self.config.cluster.name.as_deref()), &planned).await {
            // Exclusion refuses: as at admission, the backup is skipped (rules.md 2.2, 2.4).
            Err(error) if error.code() == "restore-running" => {
                return Ok(Ended::Skipped { code: "restore-running", reason: error.to_string() });
            }
            claimed => claimed?,
        }
        tracing::info!(job = context.job.id.0, plan = ?plan, "backup planned");
        let active = plan.namespaces.iter().filter(|one| one.action.backup_type().is_some()).count().max(1);
        let widths =
            widths(context, &self.config, active, facts.record_bytes_max(planned.iter().map(String::as_str)));
        let run = Run {
            turns: Arc::new(Semaphore::new(widths.namespaces)),
            widths,
            limits: limits(&self.config.policy, widths.namespaces),
            filter,
            chosen,
            namespaces: resolved(&self.config, &facts),
            source,
            storage: self.storage,
            ownership: self.ownership,
            context: context.clone(),
            created,
            folder_name: None,
            facts,
            skew,
            scope,
            cipher,
            config: self.config,
        };
        Ok(run.execute(plan).await)
    }

    async fn connect_and_ask(&self) -> Result<(Arc<dyn Source>, ClusterFacts)> {
        let source = self.connect.source(&self.config.cluster).await?;
        let facts = source.facts().await?;
        Ok((source, facts))
    }

    /// Makes sure that the routine's folder is ours, before the first write (rules.md 5.5).
    async fn hold(&self, context: &JobContext) -> Result<()> {
        let (storage, routine) = (self.storage.as_ref(), self.config.routine.as_str());
        let held = self.ownership.ensure(storage, routine).await?;
        if let Some(text) = held.warning(routine, self.ownership.id()) {
            context.warn("owner-replaced", text);
        }
        Ok(())
    }

    /// What storage has of the routine; backups from the future are marked as void for good (rules.md 3.1).
    async fn load(&self, context: &JobContext) -> Result<History> {
        let marked = context.store.marked(&self.storage.describe()).await?;
        let mut history = History::read(self.storage.as_ref(), &self.config.routine, &marked).await?;
        let now = context.clock.now();
        for key in history.void_future(now) {
            context.warn("void", format!("backup {key} was created in the future, and is void"));
            let mark = Bytes::from(format!("{{\"found-at\":\"{now}\"}}"));
            self.storage.put(&join(&key, VOID), mark).await?;
        }
        Ok(history)
    }

    /// The partitions of each namespace, where they are those of some nodes: a full takes those that the nodes have now, an
    /// incremental those of what it builds on, wherever they are by now (rules.md 3.6).
    async fn choose(
        &self,
        source: &dyn Source,
        plan: &RunPlan,
        known: &History,
    ) -> Result<BTreeMap<String, PartitionSet>> {
        let (nodes, racks) = (&self.config.scope.nodes, &self.config.scope.racks);
        let mut chosen = BTreeMap::new();
        if nodes.is_empty() && racks.is_empty() {
            return Ok(chosen);
        }
        for one in &plan.namespaces {
            let partitions = match one.action {
                Action::Skip { .. } => continue,
                Action::Full { .. } => source.partitions_of(&one.namespace, nodes, racks).await?,
                Action::Incremental { builds_on, .. } => {
                    let (entries, _) = known.members(&one.namespace);
                    let mut of = entries.iter().filter(|entry| entry.created == builds_on);
                    let partitions =
                        of.find_map(|entry| entry.manifest.as_ref()?.chosen_partitions.as_deref());
                    partitions.cloned().ok_or_else(|| {
                        let text = format!("the backup of {builds_on} does not say whose partitions it has");
                        Error::permanent("partitions-unknown", text).hint("Take a full backup.")
                    })?
                }
            };
            chosen.insert(one.namespace.clone(), partitions);
        }
        Ok(chosen)
    }

    /// The backups that the incrementals of a plan build on; what those need stays with them (rules.md 5.1).
    fn built_on(&self, plan: &RunPlan, known: &History) -> Vec<String> {
        let mut addresses = Vec::new();
        for one in &plan.namespaces {
            let Action::Incremental { builds_on, .. } = one.action else { continue };
            let (entries, _) = known.members(&one.namespace);
            let on = entries.into_iter().filter(|entry| entry.created == builds_on);
            addresses.extend(on.map(|entry| address(&self.storage.describe(), &entry.key)));
        }
        addresses
    }

    /// What is damaged is nothing to build on: the incremental bridges it (rules.md 3.5).
    async fn look_for_damage(&self, context: &JobContext, known: &mut History) -> Result<()> {
        for namespace in known.namespaces() {
            let damaged = known.mark_damaged(self.storage.as_ref(), &namespace, context.clock.now()).await?;
            for (key, reason) in damaged {
                context.warn("backup-damaged", format!("backup {key} is not built on: {reason}"));
            }
        }
        Ok(())
    }

    async fn plan(
        &self,
        context: &JobContext,
        facts: &ClusterFacts,
        created: UnixMillis,
        skew_excess_ms: i64,
        known: &History,
        scope_hash: &str,
    ) -> Result<RunPlan> {
        let members =
            known.namespaces().into_iter().map(|name| (name.clone(), known.members(&name).1)).collect();
        let open = context.store.open_jobs(&self.config.routine).await?;
        let full_running = open
            .iter()
            .filter(|job| job.status != JobStatus::Scheduled)
            .any(|job| job.id != context.job.id && job.backup_type == Some(BackupType::Full));
        let input = RunInput {
            asked: self.asked,
            created,
            now: context.clock.now(),
            // Another attempt of a run goes on with what the first has not committed (rules.md 2.5).
            namespaces: context.job.namespaces.as_ref().unwrap_or(&self.config.scope.namespaces),
            sets: &self.config.scope.sets,
            mode: self.config.policy.incr_mode.into(),
            when_no_chain: self.config.policy.when_no_chain,
            scope_hash,
            skew_excess_ms,
            members: &members,
            full_running,
            sealed: self.config.policy.sealed,
        };
        plan(&input, facts)
    }
}

#[async_trait]
impl Work for BackupWork {
    async fn run(self: Box<Self>, context: JobContext) -> Ended {
        match self.execute(&context).await {
            Ok(ended) => ended,
            Err(error) => ended_by(&context, error),
        }
    }
}

/// How an error ends the job: not as a failure if somebody asked for the end, or if the process stops (rules.md 6.4).
fn ended_by(context: &JobContext, error: Error) -> Ended {
    if context.cancel.is_cancelled() {
        return Ended::Canceled;
    }
    if error.is_temporary() && context.stopping.is_cancelled() {
        return Ended::Interrupted { code: "shutdown", reason: error.report() };
    }
    Ended::Failed(error)
}

impl Run {
    /// Runs every namespace side by side; one that fails does not stop its siblings.
    async fn execute(self, plan: RunPlan) -> Ended {
        let run = Arc::new(self);
        let ends: Vec<NamespaceEnd> =
            join_all(plan.namespaces.iter().map(|namespace| run.namespace(namespace))).await;
        let report: Vec<_> =
            plan.namespaces.iter().zip(&ends).map(|(plan, end)| end.describe(plan)).collect();
        run.store_configuration(&plan, &ends).await;
        run.context.set_result(json!({ "created": run.created.to_rfc3339(), "namespaces": report }));
        run.judge(&plan, ends)
    }

    pub(super) async fn namespace(self: &Arc<Self>, plan: &NamespacePlan) -> NamespaceEnd {
        for warning in &plan.warnings {
            self.context.warn("namespace", format!("{}: {warning}", plan.namespace));
        }
        match &plan.action {
            Action::Skip { code, reason } => {
                self.context.warn(code, format!("namespace {} is skipped: {reason}", plan.namespace));
                NamespaceEnd::Skipped { code, reason: reason.clone() }
            }
            Action::Full { promoted: Some((code, reason)) } => {
                let text = format!("namespace {} gets a full instead: {reason}", plan.namespace);
                self.context.warn(&format!("promoted-{code}"), text);
                NamespaceRun::new(self, plan).try_until_done().await
            }
            _ => NamespaceRun::new(self, plan).try_until_done().await,
        }
    }

    /// How the job ends (rules.md 2.8, 2.10).
    pub(super) fn judge(&self, plan: &RunPlan, ends: Vec<NamespaceEnd>) -> Ended {
        let is_done =
            |end: &NamespaceEnd| matches!(end, NamespaceEnd::Committed { .. } | NamespaceEnd::Empty);
        if ends.iter().all(is_done) {
            return Ended::Succeeded;
        }
        if self.context.cancel.is_cancelled() {
            return Ended::Canceled;
        }
        let mut failed: Vec<(&str, Error)> = Vec::new();
        let mut skipped = None;
        let mut done = 0;
        for (plan, end) in plan.namespaces.iter().zip(ends) {
            match end {
                NamespaceEnd::Committed { .. } | NamespaceEnd::Empty => done += 1,
                NamespaceEnd::Skipped { code, reason } => skipped = Some((code, reason)),
                NamespaceEnd::Unknown(error) => {
                    let reason = format!("storage has not said whether {} committed", plan.namespace);
                    tracing::warn!(job = self.context.job.id.0, reason, error = error.report());
                    return Ended::Interrupted { code: "commit-unknown", reason };
                }
                NamespaceEnd::Failed(error) => failed.push((&plan.namespace, error)),
            }
        }
        if failed.is_empty()
            && done == 0
            && let Some((code, reason)) = skipped
        {
            return Ended::Skipped { code, reason };
        }
        if plan.namespaces.len() == 1
            && let Some((_, error)) = failed.pop()
        {
            return ended_by(&self.context, error);
        }
        if !failed.is_empty()
            && failed.iter().all(|(_, error)| error.is_temporary())
            && self.context.stopping.is_cancelled()
        {
            let reason = "the process stopped before every namespace was done".to_owned();
            return Ended::Interrupted { code: "shutdown", reason };
        }
        Ended::Failed(partial(plan.namespaces.len(), done, &failed))
    }
}

/// Some namespaces are done, some are not (rules.md 2.10).
fn partial(all: usize, done: usize, failed: &[(&str, Error)]) -> Error {
    let causes: Vec<String> = failed.iter().take(3).map(|(_, error)| error.report()).collect();
    let names: Vec<&str> = failed.iter().map(|(name, _)| *name).collect();
    let text = if failed.is_empty() {
        format!("{done} of {all} namespaces were backed up, the others were skipped")
    } else {
        format!("{done} of {all} namespaces were backed up, not {}: {}", names.join(", "), causes.join("; "))
    };
    Error::permanent("partial", text)
        .hint("The job's result says how each ended; what committed is kept, and counts for its own chain.")
}

/// How wide the stages are with the job's share of memory (rules.md 8.1); says where that is less than was asked for.
pub(super) fn widths(
    context: &JobContext,
    config: &JobConfig,
    active: usize,
    record_bytes: u64,
) -> BackupWidths {
    let memory = config.memory();
    let share = context.memory.grow(memory.need_of(active, record_bytes));
    let widths = memory.widths(share, active, record_bytes);
    if let Some(text) = memory.lowered(&widths, share, active) {
        context.warn("memory-budget", text);
    }
    widths
}

/// What each of `active` namespaces may take of what the policy allows the run: at least one record per second.
fn limits(policy: &PolicyConfig, active: usize) -> ReadLimits {
    let share = |all: u32| (all / u32::try_from(active).unwrap_or(u32::MAX).max(1)).max(1);
    ReadLimits {
        records_per_second: policy.records_per_second.map_or(0, share),
        bandwidth: policy.bandwidth_bytes.map(|rate| Arc::new(Throttle::new(rate))),
        nodes: (policy.nodes_max > 0).then(|| Arc::new(NodeGate::new(policy.nodes_max as usize))),
    }
}

/// Every namespace of the routine, as the cluster has them now (rules.md 3.8).
fn resolved(config: &JobConfig, facts: &ClusterFacts) -> Vec<String> {
    if config.scope.namespaces.is_empty() {
        facts.namespaces.iter().map(|namespace| namespace.name.clone()).collect()
    } else {
        config.scope.namespaces.clone()
    }
}

/// The scope as the manifest records it (rules.md 3.6).
pub(super) fn scope_of(config: &JobConfig, key_id: Option<String>) -> Scope {
    Scope {
        sets: config.scope.sets.clone(),
        bins: config.scope.bins.clone(),
        filter: config.scope.filter.clone(),
        partitions: config.scope.partitions.clone(),
        nodes: config.scope.nodes.clone(),
        racks: config.scope.racks.clone(),
        no_ttl_only: config.policy.no_ttl_only,
        no_records: config.policy.no_records,
        key_id,
    }
}
