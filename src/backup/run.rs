//! What the namespaces of one run share, and how they wait and try again.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Semaphore, SemaphorePermit};

use super::clocks::SkewVerdict;
use crate::asb::FileCipher;
use crate::catalog::{Ownership, RunFolder, Scope, remove_attempt};
use crate::config::{JobConfig, RetryConfig};
use crate::engine::{ClusterFacts, ReadLimits, Source};
use crate::error::Result;
use crate::jobs::JobContext;
use crate::memory::BackupWidths;
use crate::model::{BackupType, PartitionSet, UnixMillis};
use crate::storage::Storage;
use crate::tasks::unless_canceled;

/// Retries that are told in the job's row; the log has them all.
const RETRIES_TOLD: u32 = 10;

/// What every namespace of a run shares.
pub struct Run {
    /// What the job runs with.
    pub config: JobConfig,
    /// The cluster.
    pub source: Arc<dyn Source>,
    /// Where the backup goes.
    pub storage: Arc<dyn Storage>,
    /// Who may write there.
    pub ownership: Ownership,
    /// The job.
    pub context: JobContext,
    /// Names the folder.
    pub created: UnixMillis,
    /// The name of the run's folder; none: that of `created`.
    pub folder_name: Option<String>,
    /// What the cluster said of itself.
    pub facts: ClusterFacts,
    /// What its clocks mean.
    pub skew: SkewVerdict,
    /// Which records; of the partitions see [`Run::scope_of`].
    pub scope: Scope,
    /// Mode and key of its files; none if they are not encrypted.
    pub cipher: Option<FileCipher>,
    /// Every namespace of the run, also those that another job of it has committed (rules.md 3.8).
    pub namespaces: Vec<String>,
    /// How many namespaces go side by side, and scans and files of each: the policy counts them per run (rules.md 7.1),
    /// and the job's share of memory bounds them (8.1).
    pub widths: BackupWidths,
    /// One permit for each namespace that may hold data at once.
    pub turns: Arc<Semaphore>,
    /// The packed expression of `filter-exp`.
    pub filter: Option<Vec<u8>>,
    /// The partitions of each namespace, where they are those of some nodes (rules.md 3.6).
    pub chosen: BTreeMap<String, PartitionSet>,
    /// How fast one namespace may be read: its part of what the policy allows the run.
    pub limits: ReadLimits,
}

impl Run {
    /// The folder that backups of a type go to in this run.
    pub fn folder(&self, backup_type: BackupType) -> Result<RunFolder> {
        let folder =
            RunFolder::new(&self.config.routine, backup_type, self.created, self.config.timestamp_format)?;
        let name = self.folder_name.clone().unwrap_or_else(|| folder.name.clone());
        Ok(RunFolder { name, ..folder })
    }

    /// Refuses once the routine's folder is no longer ours (rules.md 5.5).
    pub async fn check_owner(&self) -> Result<()> {
        self.ownership.check(self.storage.as_ref(), &self.config.routine).await
    }

    /// Waits for the turn of a namespace (rules.md 8.1). Its siblings end theirs with each try, so the wait ends; that they
    /// move is what keeps it from being a standstill.
    pub async fn turn(&self, namespace: &str) -> Result<SemaphorePermit<'_>> {
        if let Ok(turn) = self.turns.try_acquire() {
            return Ok(turn);
        }
        self.context.progress.doing(namespace, "waiting until the memory of another namespace is free");
        unless_canceled(&self.context.cancel, async {
            Ok(self.turns.acquire().await.expect("invariant: the semaphore is never closed"))
        })
        .await
    }

    /// The scope of one namespace.
    pub fn scope_of(&self, namespace: &str) -> Scope {
        let partitions = self.chosen.get(namespace).unwrap_or(&self.scope.partitions).clone();
        Scope { partitions, ..self.scope.clone() }
    }

    /// Which attempt of the run the folder of one was made for (rules.md 3.9): one that goes on with another's files uses
    /// that one's folder.
    pub fn folder_number(&self, backup_type: BackupType, namespace: &str, attempt: u32, folder: &str) -> u32 {
        let made_for = |number: &u32| {
            let named = self.folder(backup_type).and_then(|run| run.namespace_folder(namespace, *number));
            named.is_ok_and(|named| named == folder)
        };
        (1..=attempt).find(made_for).unwrap_or(attempt)
    }

    /// Removes the folder of one of our attempts, while the routine's folder is ours (rules.md 5.5).
    pub async fn remove_attempt(&self, folder: &str) -> Result<u64> {
        self.check_owner().await?;
        remove_attempt(self.storage.as_ref(), folder).await
    }

    /// Waits until the clock reads `created` and the margin, so that a write which the scan misses carries a stamp of
    /// at least `created` even on a node that is behind by the margin (rules.md 3.2).
    ///
    /// Asked for before every attempt: the clock may have been set back since the last one.
    pub async fn wait_for_margin(&self) -> Result<()> {
        wait_for_margin(&self.context, self.created, self.margin_ms()).await
    }

    /// `clock-skew-margin` of the policy.
    pub fn margin_ms(&self) -> i64 {
        margin_ms(&self.config)
    }
}

/// `clock-skew-margin` of the policy.
pub fn margin_ms(config: &JobConfig) -> i64 {
    i64::try_from(config.policy.clock_skew_margin_ms).unwrap_or(i64::MAX)
}

/// Waits until the wall clock reads `created` and the margin; `clock-behind` if it was set back far.
pub async fn wait_for_margin(context: &JobContext, created: UnixMillis, margin_ms: i64) -> Result<()> {
    loop {
        context.not_ahead(created)?;
        let left_ms = created.plus_ms(margin_ms).since(context.clock.now());
        if left_ms <= 0 {
            return Ok(());
        }
        // The wall clock may be set meanwhile: look again at least every second.
        pause(context, left_ms.min(1000) as u64).await?;
    }
}

/// Waits, on purpose: that is no standstill (rules.md 2.9).
pub async fn pause(context: &JobContext, ms: u64) -> Result<()> {
    let _waiting = context.progress.wait();
    unless_canceled(&context.cancel, async {
        tokio::time::sleep(Duration::from_millis(ms)).await;
        Ok(())
    })
    .await
}

/// What is tried again.
#[derive(Debug, Clone, Copy)]
pub enum Tried<'a> {
    /// To read the key of the files.
    Key,
    /// To reach the cluster.
    Cluster,
    /// To back up a namespace.
    Namespace(&'a str),
}

impl fmt::Display for Tried<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Key => f.write_str("the key of the files"),
            Self::Cluster => f.write_str("the cluster"),
            Self::Namespace(name) => write!(f, "namespace {name}"),
        }
    }
}

/// Tries again what may pass, by the policy's retry-policy; cancel ends the wait, not the attempt.
///
pub async fn retrying<T, F, Fut>(
    context: &JobContext,
    policy: RetryConfig,
    what: Tried<'_>,
    mut attempt: F,
) -> Result<T>
where
    F: FnMut() -> Fut,
    Fut: Future<Output = Result<T>>,
{
    let mut retry = 0;
    loop {
        let ending = || context.cancel.is_cancelled() || context.stopping.is_cancelled();
        match attempt().await {
            Err(error) if error.is_temporary() && retry < policy.retries_max && !ending() => {
                let delay_ms = policy.delay_ms(retry);
                let text = format!("{what}: {}; tried again in {delay_ms} ms", error.report());
                if retry < RETRIES_TOLD {
                    context.warn("retry", text);
                } else {
                    tracing::warn!(job = context.job.id.0, retry, "{text}");
                }
                if let Tried::Namespace(namespace) = what {
                    context.retrying(namespace, &error);
                }
                pause(context, delay_ms).await?;
                retry += 1;
            }
            other => return other,
        }
    }
}
