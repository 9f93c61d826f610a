//! One run of a routine: facts, `created`, plan, then every namespace side by side.

use std::sync::Arc;

use async_trait::async_trait;
use futures_util::future::join_all;
use serde_json::json;

use super::clocks::{SkewVerdict, judge_skew};
use super::namespace::{NamespaceEnd, NamespaceRun};
use super::plan::{Action, NamespacePlan, RunInput, RunPlan, plan};
use crate::catalog::{History, RunFolder, Scope};
use crate::config::{JobConfig, RetryConfig};
use crate::engine::{ClusterFacts, Connect, Source};
use crate::error::{Error, Result};
use crate::jobs::{Ended, JobContext, Work};
use crate::model::{BackupType, UnixMillis};
use crate::storage::Storage;

/// The work of a backup job.
pub struct BackupWork {
    config: JobConfig,
    asked: BackupType,
    connect: Arc<dyn Connect>,
    storage: Arc<dyn Storage>,
}

/// What every namespace of a run shares.
pub(super) struct Run {
    pub config: JobConfig,
    pub source: Arc<dyn Source>,
    pub storage: Arc<dyn Storage>,
    pub context: JobContext,
    pub created: UnixMillis,
    pub facts: ClusterFacts,
    pub skew: SkewVerdict,
    pub scope: Scope,
    /// Every namespace of the run (rules.md 3.8).
    pub namespaces: Vec<String>,
    /// Scans and files of one namespace: the policy counts them per run (rules.md 7.1).
    pub parallel: usize,
    pub parallel_write: usize,
}

impl BackupWork {
    /// The work of a job that runs with `config`.
    pub fn new(
        config: JobConfig,
        asked: BackupType,
        connect: Arc<dyn Connect>,
        storage: Arc<dyn Storage>,
    ) -> Self {
        Self { config, asked, connect, storage }
    }

    async fn execute(self, context: &JobContext) -> Result<Ended> {
        let retry = self.config.policy.retry;
        let connected =
            retrying(context, retry, "the cluster", || context.unless_canceled(self.connect_and_ask()));
        let (source, facts) = connected.await?;
        let known = self.load(context.clock.now()).await?;
        let newest = known.newest_created();
        let created = context.fix_created(newest).await?;
        let margin_ms = self.config.policy.clock_skew_margin_ms;
        let skew = judge_skew(created, i64::try_from(margin_ms).unwrap_or(i64::MAX), &facts.nodes)?;
        if let Some(warning) = &skew.warning {
            context.warn("clock-skew", warning.clone());
        }
        wait_until(context, created.plus_ms(i64::try_from(margin_ms).unwrap_or(i64::MAX))).await?;
        // Storage is asked again once the scan may start: another run may have committed meanwhile (rules.md 3.5).
        let mut known = self.load(context.clock.now()).await?;
        if self.asked == BackupType::Incremental {
            self.look_for_damage(context, &mut known).await?;
        }
        let scope = scope_of(&self.config);
        let plan = self.plan(context, &facts, created, &known, &scope.hash()).await?;
        let namespaces: Vec<String> =
            plan.namespaces.iter().map(|namespace| namespace.namespace.clone()).collect();
        context.claim(&facts.keys(self.config.cluster.name.as_deref()), &namespaces).await?;
        tracing::info!(job = context.job.id.0, plan = ?plan, "backup planned");
        let active = plan.namespaces.iter().filter(|one| one.action.backup_type().is_some()).count().max(1);
        let policy = &self.config.policy;
        let run = Run {
            parallel: (policy.parallel as usize / active).max(1),
            parallel_write: (policy.parallel_write as usize / active).max(1),
            source,
            storage: self.storage,
            context: context.clone(),
            created,
            facts,
            skew,
            scope,
            namespaces,
            config: self.config,
        };
        Ok(run.execute(plan).await)
    }

    async fn connect_and_ask(&self) -> Result<(Arc<dyn Source>, ClusterFacts)> {
        let source = self.connect.source(&self.config.cluster).await?;
        let facts = source.facts().await?;
        Ok((source, facts))
    }

    async fn load(&self, now: UnixMillis) -> Result<History> {
        let mut history = History::read(self.storage.as_ref(), &self.config.routine).await?;
        history.void_future(self.storage.as_ref(), now).await;
        Ok(history)
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
        known: &History,
        scope_hash: &str,
    ) -> Result<RunPlan> {
        let members =
            known.namespaces().into_iter().map(|name| (name.clone(), known.members(&name).1)).collect();
        let open = context.store.open_jobs(&self.config.routine).await?;
        let full_running =
            open.iter().any(|job| job.id != context.job.id && job.backup_type == Some(BackupType::Full));
        let input = RunInput {
            asked: self.asked,
            created,
            now: context.clock.now(),
            namespaces: &self.config.scope.namespaces,
            sets: &self.config.scope.sets,
            when_no_chain: self.config.policy.when_no_chain,
            scope_hash,
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
            Err(_) if context.cancel.is_cancelled() => Ended::Canceled,
            Err(error) => Ended::Failed(error),
        }
    }
}

impl Run {
    /// Runs every namespace side by side; one that fails does not stop its siblings.
    async fn execute(self, plan: RunPlan) -> Ended {
        let run = Arc::new(self);
        let ends = join_all(plan.namespaces.iter().map(|namespace| run.namespace(namespace))).await;
        let report: Vec<_> =
            plan.namespaces.iter().zip(&ends).map(|(plan, end)| end.describe(plan)).collect();
        run.context.set_result(json!({ "created": run.created.to_rfc3339(), "namespaces": report }));
        run.judge(&plan, ends)
    }

    async fn namespace(self: &Arc<Self>, plan: &NamespacePlan) -> NamespaceEnd {
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
                NamespaceRun::new(self, plan).to_its_end().await
            }
            _ => NamespaceRun::new(self, plan).to_its_end().await,
        }
    }

    /// How the job ends (rules.md 2.8, 2.10).
    fn judge(&self, plan: &RunPlan, ends: Vec<NamespaceEnd>) -> Ended {
        let is_done =
            |end: &NamespaceEnd| matches!(end, NamespaceEnd::Committed { .. } | NamespaceEnd::Empty);
        if ends.iter().all(is_done) {
            if self.context.cancel.is_cancelled() && !ends.is_empty() {
                self.context.warn("cancel-too-late", "every namespace had committed when it was canceled");
            }
            return Ended::Succeeded;
        }
        if self.context.cancel.is_cancelled() {
            return Ended::Canceled;
        }
        if ends.iter().all(|end| is_done(end) || matches!(end, NamespaceEnd::Skipped { .. })) {
            let skipped = ends.iter().find_map(|end| match end {
                NamespaceEnd::Skipped { code, reason } => Some((*code, reason.clone())),
                _ => None,
            });
            if let (Some((code, reason)), false) = (skipped, ends.iter().any(is_done)) {
                return Ended::Skipped { code, reason };
            }
        }
        if ends.len() == 1
            && let Some(NamespaceEnd::Failed(error)) = ends.into_iter().next()
        {
            return Ended::Failed(error);
        }
        Ended::Failed(self.partial(plan))
    }

    fn partial(&self, plan: &RunPlan) -> Error {
        Error::permanent(
            "partial",
            format!("not every one of the {} namespaces was backed up", plan.namespaces.len()),
        )
        .hint("The job's result says how each ended; what committed is kept, and counts for its own chain.")
    }
}

/// The scope as the manifest records it (rules.md 3.6).
fn scope_of(config: &JobConfig) -> Scope {
    Scope {
        sets: config.scope.sets.clone(),
        partitions: config.scope.partitions.clone(),
        no_records: config.policy.no_records,
        ..Scope::default()
    }
}

async fn wait_until(context: &JobContext, at: UnixMillis) -> Result<()> {
    loop {
        let left_ms = at.since(context.clock.now());
        if left_ms <= 0 {
            return Ok(());
        }
        // The wall clock may be set meanwhile: look again at least every second.
        pause(context, left_ms.min(1000) as u64).await?;
    }
}

async fn pause(context: &JobContext, ms: u64) -> Result<()> {
    context
        .unless_canceled(async {
            tokio::time::sleep(std::time::Duration::from_millis(ms)).await;
            Ok(())
        })
        .await
}

/// Tries again what may pass, by the policy's retry-policy; cancel ends the wait, not the attempt.
pub(super) async fn retrying<T, F, Fut>(
    context: &JobContext,
    policy: RetryConfig,
    what: &str,
    mut attempt: F,
) -> Result<T>
where
    F: FnMut() -> Fut,
    Fut: Future<Output = Result<T>>,
{
    let mut retry = 0;
    loop {
        match attempt().await {
            Err(error)
                if error.is_temporary()
                    && retry < policy.retries_max
                    && !context.cancel.is_cancelled()
                    && !context.stopping.is_cancelled() =>
            {
                let delay_ms = policy.delay_ms(retry);
                let text = format!("{what}: {}; tried again in {delay_ms} ms", error.report());
                context.warn("retry", text);
                context.retrying(what, &error);
                pause(context, delay_ms).await?;
                retry += 1;
            }
            other => return other,
        }
    }
}

/// The folder that a namespace of a run goes to.
pub(super) fn run_folder(run: &Run, backup_type: BackupType) -> Result<RunFolder> {
    RunFolder::new(&run.config.routine, backup_type, run.created, run.config.timestamp_format)
}
