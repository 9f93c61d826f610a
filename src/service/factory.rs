//! The work of each kind of job.

use std::path::PathBuf;
use std::sync::Arc;

use async_trait::async_trait;
use futures_util::FutureExt;

use crate::app::{Places, check_fence};
use crate::backup::BackupWork;
use crate::backup::safety::{SafetyBackup, safety_memory};
use crate::catalog::Ownership;
use crate::config::{JobConfig, RestoreConfig, StorageConfig};
use crate::copy::{CopyJobConfig, CopyRequest, CopyWork};
use crate::engine::Connect;
use crate::error::{Error, Result};
use crate::jobs::stall::STALL_TIMEOUT_MS;
use crate::jobs::{Ended, JobContext, Work, WorkFactory};
use crate::memory::{Need, VerifyMemory};
use crate::model::{BackupType, JobKind};
use crate::restore::{RestoreWork, Source};
use crate::retention::RetentionWork;
use crate::storage::Storage;
use crate::storage::watched::Watched;
use crate::store::{Document, JobRow};
use crate::verify::{VerifyRequest, VerifyWork};

/// Knows the work of each kind of job.
pub(super) struct Factory {
    /// How clusters are reached.
    pub connect: Arc<dyn Connect>,
    /// Where restores keep their tables of digests.
    pub state_dir: PathBuf,
    /// Who may write to storage.
    pub ownership: Ownership,
    /// What opens storages.
    pub places: Places,
}

impl WorkFactory for Factory {
    fn memory(&self, job: &JobRow) -> Result<Option<Need>> {
        // A row that cannot be read ends with its work.
        let Some(document) = &job.config else { return Ok(None) };
        Ok(match job.kind {
            JobKind::Backup => Some(document.parse::<JobConfig>()?.memory().need()),
            JobKind::Restore => Some(need_of_restore(&document.parse()?)?),
            JobKind::Verify => Some(VerifyMemory::need()),
            JobKind::Copy => Some(document.parse::<CopyJobConfig>()?.memory().need()),
            JobKind::Retention => None,
        })
    }

    fn work(&self, job: &JobRow) -> Result<Box<dyn Work>> {
        let document = job.config.as_ref().ok_or_else(|| {
            Error::permanent("document-unreadable", format!("job {} has no configuration", job.id))
        })?;
        let (connect, places) = (Arc::clone(&self.connect), self.places.clone());
        Ok(match job.kind {
            JobKind::Backup => Box::new(Backup {
                config: document.parse()?,
                asked: job.backup_type.unwrap_or(BackupType::Full),
                connect,
                ownership: self.ownership.clone(),
                places,
            }),
            JobKind::Restore => Box::new(Restore {
                config: document.parse()?,
                connect,
                state_dir: self.state_dir.clone(),
                ownership: self.ownership.clone(),
                places,
            }),
            JobKind::Retention => {
                let config: JobConfig = document.parse()?;
                let ownership = match &config.storage.name {
                    // Whose a copy's folder is says nothing of the routine's own.
                    Some(name) if config.of_copies => self.ownership.elsewhere(name),
                    _ => self.ownership.clone(),
                };
                Box::new(Retention { config, ownership, places })
            }
            JobKind::Verify => {
                let request = job.request.as_ref().map(Document::parse).transpose()?.unwrap_or_default();
                Box::new(Verify { config: document.parse()?, request, places })
            }
            JobKind::Copy => {
                let request = job.request.as_ref().map(Document::parse).transpose()?.ok_or_else(|| {
                    Error::permanent("document-unreadable", format!("job {} has no request", job.id))
                })?;
                Box::new(Copy {
                    config: document.parse()?,
                    request,
                    ownership: self.ownership.clone(),
                    places,
                })
            }
        })
    }
}

/// The storage of a job; each call of it that comes back counts as progress (rules.md 2.9).
async fn storage_of(
    places: &Places,
    context: &JobContext,
    config: &StorageConfig,
) -> Result<Arc<dyn Storage>> {
    context.progress.doing("", "opening the storage");
    let storage = places.open(config).await?;
    let progress = context.progress.clone();
    Ok(Arc::new(Watched::new(storage, Arc::new(move || progress.moved()))))
}

/// A backup that has yet to open its storage.
struct Backup {
    config: JobConfig,
    asked: BackupType,
    connect: Arc<dyn Connect>,
    ownership: Ownership,
    places: Places,
}

#[async_trait]
impl Work for Backup {
    fn stall_timeout_ms(&self) -> u64 {
        self.config.policy.stall_timeout_ms
    }

    async fn run(self: Box<Self>, context: JobContext) -> Ended {
        match storage_of(&self.places, &context, &self.config.storage).await {
            Ok(storage) => {
                let work = BackupWork::new(self.config, self.asked, self.connect, storage, self.ownership);
                Box::new(work).run(context).await
            }
            Err(error) => Ended::Failed(error),
        }
    }
}

/// A retention that has yet to open its storage.
struct Retention {
    config: JobConfig,
    ownership: Ownership,
    places: Places,
}

#[async_trait]
impl Work for Retention {
    async fn run(self: Box<Self>, context: JobContext) -> Ended {
        match storage_of(&self.places, &context, &self.config.storage).await {
            Ok(storage) => {
                Box::new(RetentionWork::new(self.config, storage, self.ownership)).run(context).await
            }
            Err(error) => Ended::Failed(error),
        }
    }
}

/// A restore that has yet to open its storage.
struct Restore {
    config: RestoreConfig,
    connect: Arc<dyn Connect>,
    state_dir: PathBuf,
    ownership: Ownership,
    places: Places,
}

/// Its safety backup comes before it, and holds nothing any more when it begins.
fn need_of_restore(config: &RestoreConfig) -> Result<Need> {
    let need = config.memory().need();
    let Some(place) = &config.safety_backup else { return Ok(need) };
    let first = safety_memory(place)?.need();
    Ok(Need { wish: need.wish.max(first.wish), least: need.least.max(first.least) })
}

impl Restore {
    async fn open(self, context: &JobContext) -> Result<RestoreWork> {
        check_fence(&self.config).await?;
        let safety = match &self.config.safety_backup {
            None => None,
            Some(place) => Some(SafetyBackup {
                connect: Arc::clone(&self.connect),
                storage: storage_of(&self.places, context, place).await?,
                ownership: self.ownership,
            }),
        };
        let (places, opening) = (self.places, context.clone());
        let sources = Source::all(&self.config, move |place| {
            let (places, context) = (places.clone(), opening.clone());
            async move { storage_of(&places, &context, &place).await }
        });
        let work = RestoreWork::choosing(self.config, self.connect, sources, self.state_dir);
        Ok(match safety {
            Some(safety) => work.saving_first(safety),
            None => work,
        })
    }
}

#[async_trait]
impl Work for Restore {
    /// Writes wait between their tries inside the client, unseen: the longest such wait is added.
    fn stall_timeout_ms(&self) -> u64 {
        let retry = self.config.policy.retry;
        STALL_TIMEOUT_MS
            .saturating_add(retry.retries_max.checked_sub(1).map_or(0, |last| retry.delay_ms(last)))
    }

    async fn run(self: Box<Self>, context: JobContext) -> Ended {
        match self.open(&context).await {
            Ok(work) => Box::new(work).run(context).await,
            Err(error) => Ended::Failed(error),
        }
    }
}

/// A verification that has yet to open its storages.
struct Verify {
    config: JobConfig,
    request: VerifyRequest,
    places: Places,
}

#[async_trait]
impl Work for Verify {
    async fn run(self: Box<Self>, context: JobContext) -> Ended {
        let (places, opening) = (self.places, context.clone());
        let open = move |config: StorageConfig| {
            let (places, context) = (places.clone(), opening.clone());
            async move { storage_of(&places, &context, &config).await }.boxed()
        };
        Box::new(VerifyWork::new(self.config, self.request, Box::new(open))).run(context).await
    }
}

/// A copy that has yet to open its storages.
struct Copy {
    config: CopyJobConfig,
    request: CopyRequest,
    ownership: Ownership,
    places: Places,
}

impl Copy {
    async fn storages(&self, context: &JobContext) -> Result<(Arc<dyn Storage>, Arc<dyn Storage>)> {
        let source = storage_of(&self.places, context, &self.config.job.storage).await?;
        Ok((source, storage_of(&self.places, context, &self.config.copy.storage).await?))
    }
}

#[async_trait]
impl Work for Copy {
    async fn run(self: Box<Self>, context: JobContext) -> Ended {
        match self.storages(&context).await {
            Ok((source, target)) => {
                let work = CopyWork::new(self.config, self.request, source, target, &self.ownership);
                Box::new(work).run(context).await
            }
            Err(error) => {
                context.set_result(CopyWork::result_of_failure(&self.request, &error));
                Ended::Failed(error)
            }
        }
    }
}
