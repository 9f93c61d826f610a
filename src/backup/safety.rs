//! A full backup of what a restore is about to write over, as the first phase of the restore's own job.
//!
//! It lies in a folder of this instance alone, `holdfast-safety-<instance>/backup/<created>_job-<id>`, so that it belongs to no
//! routine's chain, no retention finds it, and no other one is ever written over: ids of jobs are not used twice. Its
//! attempts are rows of the restore's job, so that what a crash leaves is settled like that of any backup (rules.md 6.1).

use std::collections::BTreeMap;
use std::sync::Arc;

use futures_util::future::join_all;
use serde::Serialize;
use tokio::sync::Semaphore;

use super::clocks::judge_skew;
use super::namespace::NamespaceEnd;
use super::plan::{RunInput, plan};
use super::run::{Run, Tried, retrying};
use super::work::{scope_of, widths};
use crate::catalog::Ownership;
use crate::catalog::layout::{RunFolder, timestamp_folder};
use crate::config::{
    EncryptionConfig, EncryptionMode, JobConfig, Policy, PolicyConfig, RestoreConfig, Scope, StorageConfig,
    WhenNoChain,
};
use crate::engine::{Connect, ReadLimits, keys};
use crate::error::{Error, Result};
use crate::jobs::{Ended, JobContext};
use crate::memory::BackupMemory;
use crate::model::chain::Mode;
use crate::model::instance::SAFETY;
use crate::model::{BackupType, InstanceId, PartitionSet, UnixMillis};
use crate::storage::Storage;
use crate::store::JobId;
use crate::tasks::unless_canceled;

/// What a safety backup is taken with.
#[derive(Clone)]
pub struct SafetyBackup {
    /// How the cluster is reached.
    pub connect: Arc<dyn Connect>,
    /// Where it goes.
    pub storage: Arc<dyn Storage>,
    /// Who may write there.
    pub ownership: Ownership,
}

/// What has been saved, as the restore's job names it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Saved {
    /// The storage, by its configured name.
    pub storage: Option<String>,
    /// The folder that stands in the place of a routine's.
    pub routine: String,
    /// The start of it, in ms since 1970.
    pub timestamp: i64,
    /// The folder of all its namespaces: a `backup-data-path`.
    pub path: String,
    /// The job that has taken it: this one, or the attempt before that had begun to write.
    pub job: i64,
    /// What is in it.
    pub namespaces: Vec<SavedNamespace>,
}

/// One namespace of a safety backup.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct SavedNamespace {
    /// Its name in the destination.
    pub namespace: String,
    /// Its folder: a `backup-data-path`.
    pub key: String,
    /// Records in it.
    pub records: u64,
    /// Stored bytes.
    pub bytes: u64,
}

/// The folder that holds the safety backups of an instance, in the place of a routine's.
pub fn safety_folder(instance: &InstanceId) -> String {
    format!("{SAFETY}{instance}")
}

/// The folder of one, named by when it began and by its job.
///
/// Errors: `clock-wrong`.
pub fn safety_run(instance: &InstanceId, created: UnixMillis, job: JobId) -> Result<RunFolder> {
    let name = format!("{}_job-{job}", timestamp_folder(created, None)?);
    Ok(RunFolder { routine: safety_folder(instance), backup_type: BackupType::Full, created, name })
}

/// What the phase wishes to hold of memory (rules.md 8.1).
pub fn safety_memory(place: &StorageConfig) -> Result<BackupMemory> {
    Ok(Policy::default().resolve(None)?.memory(place))
}

impl SafetyBackup {
    /// Saves namespaces of the destination of a restore whole, before it writes anything. What had committed of one that
    /// fails stays where it is.
    ///
    /// Errors: `safety-backup-failed`, which says why; `canceled`.
    pub async fn save(
        &self,
        config: &RestoreConfig,
        place: &StorageConfig,
        namespaces: &[String],
        context: &JobContext,
    ) -> Result<Saved> {
        let context = context.phase("safety backup");
        let saved = self.try_save(config, place, namespaces, &context).await;
        context.progress.done_with("");
        saved.map_err(|error| {
            if context.cancel.is_cancelled() {
                return error;
            }
            let text = format!("the safety backup failed, so the restore has not begun: {}", error.report());
            let failed = if error.is_temporary() {
                Error::temporary("safety-backup-failed", text)
            } else {
                Error::permanent("safety-backup-failed", text)
            };
            failed.hint("Mend what it says, or send the restore again without safety-backup.")
        })
    }

    async fn try_save(
        &self,
        config: &RestoreConfig,
        place: &StorageConfig,
        namespaces: &[String],
        context: &JobContext,
    ) -> Result<Saved> {
        let job = self.job_config(config, place, namespaces)?;
        let retry = job.policy.retry;
        let cipher = unless_canceled(&context.cancel, keys::cipher(job.policy.encryption.as_ref())).await?;
        context.progress.doing("", "asking the nodes of the cluster");
        let connected = retrying(context, retry, Tried::Cluster, || {
            unless_canceled(&context.cancel, async {
                let source = self.connect.source(&job.cluster).await?;
                let facts = source.facts().await?;
                Ok((source, facts))
            })
        });
        let (source, facts) = connected.await?;
        let held = self.ownership.ensure(self.storage.as_ref(), &job.routine);
        unless_canceled(&context.cancel, held).await?;
        let created = context.clock.now();
        let folder = safety_run(self.ownership.id(), created, context.job.id)?;
        let input = RunInput {
            asked: BackupType::Full,
            created,
            now: created,
            namespaces,
            sets: &[],
            mode: Mode::Differential,
            when_no_chain: WhenNoChain::Full,
            scope_hash: "",
            skew_excess_ms: 0,
            members: &BTreeMap::new(),
            full_running: false,
            sealed: false,
        };
        let plan = plan(&input, &facts)?;
        let record_bytes = facts.record_bytes_max(namespaces.iter().map(String::as_str));
        let widths = widths(context, &job, namespaces.len().max(1), record_bytes);
        let run = Arc::new(Run {
            turns: Arc::new(Semaphore::new(widths.namespaces)),
            widths,
            limits: ReadLimits::default(),
            filter: None,
            chosen: BTreeMap::new(),
            namespaces: namespaces.to_vec(),
            source,
            storage: Arc::clone(&self.storage),
            ownership: self.ownership.clone(),
            context: context.clone(),
            created,
            skew: judge_skew(created, 0, &facts.nodes),
            scope: scope_of(&job, cipher.as_ref().map(|cipher| cipher.key.id())),
            facts,
            cipher,
            folder_name: Some(folder.name.clone()),
            config: job,
        });
        let ends = join_all(plan.namespaces.iter().map(|namespace| run.namespace(namespace))).await;
        let saved = Saved {
            storage: place.name.clone(),
            routine: folder.routine.clone(),
            timestamp: created.0,
            path: folder.key(),
            job: context.job.id.0,
            namespaces: namespaces.iter().zip(&ends).filter_map(|(name, end)| saved(name, end)).collect(),
        };
        match run.judge(&plan, ends) {
            Ended::Succeeded => Ok(saved),
            Ended::Failed(error) => Err(error),
            Ended::Canceled => Err(Error::temporary("canceled", "the restore was canceled")),
            Ended::Interrupted { reason, .. } | Ended::Skipped { reason, .. } => {
                Err(Error::temporary("storage-unavailable", reason))
            }
        }
    }

    /// Everything of the namespaces, with the key of the restore if it has one: what lies encrypted must not come to lie in
    /// clear beside it.
    fn job_config(
        &self,
        config: &RestoreConfig,
        place: &StorageConfig,
        namespaces: &[String],
    ) -> Result<JobConfig> {
        let key = config.policy.encryption.as_ref();
        let encryption = key.map(|key| EncryptionConfig {
            mode: key.mode.unwrap_or(EncryptionMode::Aes256),
            key: key.key.clone(),
        });
        let policy = PolicyConfig {
            encryption,
            retry: config.policy.retry,
            // No incremental builds on it.
            clock_skew_margin_ms: 0,
            ..Policy::default().resolve(None)?
        };
        Ok(JobConfig {
            routine: safety_folder(self.ownership.id()),
            cluster: config.destination.clone(),
            storage: place.clone(),
            policy_name: None,
            policy,
            scope: Scope {
                namespaces: namespaces.to_vec(),
                sets: Vec::new(),
                bins: Vec::new(),
                filter: None,
                partitions: PartitionSet::all(),
                nodes: Vec::new(),
                racks: Vec::new(),
            },
            timestamp_format: None,
            copies: Vec::new(),
            of_copies: false,
        })
    }
}

fn saved(namespace: &str, end: &NamespaceEnd) -> Option<SavedNamespace> {
    match end {
        NamespaceEnd::Committed { records, bytes, key, .. } => Some(SavedNamespace {
            namespace: namespace.to_owned(),
            key: key.clone(),
            records: *records,
            bytes: *bytes,
        }),
        _ => None,
    }
}
