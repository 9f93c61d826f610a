//! What storage holds of a routine, and what runs of it.

use std::collections::HashMap;
use std::sync::Arc;

use super::roots::{open_known, prepare_root};
use super::{App, JobView};
use crate::catalog::details::{BackupDetails, Verification};
use crate::catalog::{ListQuery, Listing, ProblemKind, State, list_backups};
use crate::config::{StorageConfig, StoragePlace};
use crate::error::Result;
use crate::model::{BackupType, JobKind, JobStatus, UnixMillis};
use crate::storage::{LocalStorage, Storage};
use crate::store::VerificationRow;

/// A stretch of time, both ends inclusive; a missing end is open.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct TimeBounds {
    /// Not before.
    pub from: Option<UnixMillis>,
    /// Not after.
    pub to: Option<UnixMillis>,
}

impl TimeBounds {
    /// The first instant after the stretch.
    pub fn before(&self) -> Option<UnixMillis> {
        self.to.map(|to| to.plus_ms(1))
    }
}

/// What runs of a routine, what ran last, what comes next (abs.md 1.3).
#[derive(Debug, Clone, Default)]
pub struct RoutineState {
    /// The full that runs.
    pub full: Option<JobView>,
    /// The incremental that runs.
    pub incremental: Option<JobView>,
    /// `created` of the newest full.
    pub last_full: Option<UnixMillis>,
    /// `created` of the newest incremental.
    pub last_incremental: Option<UnixMillis>,
    /// When the next full is due.
    pub next_full: Option<UnixMillis>,
    /// When the next incremental is due.
    pub next_incremental: Option<UnixMillis>,
}

/// The storage that a configuration names. One that is not there is an error, never empty: a disk that is not
/// mounted must not look like backups that do not exist (rules.md 6.1).
pub async fn open_storage(config: &StorageConfig) -> Result<Arc<dyn Storage>> {
    let StoragePlace::Local { path, .. } = &config.place;
    let storage = LocalStorage::open(path).await?;
    #[cfg(feature = "fault-injection")]
    let storage = crate::storage::faulty::Faulty::by_environment(Arc::new(storage));
    Ok(Arc::new(storage))
}

impl App {
    /// Makes the folders of the configured local storages that were never used; only after what an earlier process left
    /// is settled, which must not take a new folder for an answer.
    pub async fn make_storage_roots(&self) {
        for name in self.config().storage.keys() {
            let made = async { prepare_root(self.jobs.store(), &self.config().storage(name)?).await };
            if let Err(error) = made.await {
                tracing::error!(storage = name, reason = error.report(), "the storage cannot be used");
            }
        }
    }

    /// The backups of a routine in storage, oldest first; what is broken is logged and left out.
    ///
    /// Errors: `routine-unknown`, and those of storage.
    pub async fn backups(
        &self,
        routine: &str,
        backup_type: BackupType,
        bounds: TimeBounds,
    ) -> Result<Vec<BackupDetails>> {
        let config = self.config();
        let named = config.routine(routine, self.now())?.job.storage;
        let shown = named.name.as_ref().and_then(|name| config.storage.get(name));
        let shown = serde_json::to_value(shown).unwrap_or_default();
        let level = config.service().compatibility;
        let listing = self.list(&named, routine, backup_type, bounds).await?;
        let verified = match &named.name {
            Some(storage) => self.jobs.store().verifications(storage, routine).await?,
            None => Vec::new(),
        };
        let mut verified: HashMap<String, VerificationRow> =
            verified.into_iter().map(|row| (row.folder.clone(), row)).collect();
        let shown_entries = listing.counted().filter(|entry| entry.state != State::Marked);
        let details = shown_entries.map(|entry| BackupDetails {
            verification: verified.remove(&entry.key).map(verification),
            ..BackupDetails::new(entry, shown.clone(), level)
        });
        Ok(details.collect())
    }

    /// What runs of a routine, what ran last, what comes next.
    pub async fn routine_state(&self, routine: &str) -> Result<RoutineState> {
        let mut state = RoutineState {
            last_full: self.last(routine, BackupType::Full).await?,
            last_incremental: self.last(routine, BackupType::Incremental).await?,
            next_full: self.scheduler.next_fire(routine, BackupType::Full),
            next_incremental: self.scheduler.next_fire(routine, BackupType::Incremental),
            ..RoutineState::default()
        };
        for job in self.jobs.store().open_jobs(routine).await? {
            if job.kind != JobKind::Backup || job.status != JobStatus::Running {
                continue;
            }
            let place = match job.backup_type {
                Some(BackupType::Incremental) => &mut state.incremental,
                _ => &mut state.full,
            };
            *place = Some(self.view(job).await?);
        }
        Ok(state)
    }

    /// `created` of the newest successful backup in the store; where it knows none (a new store, ABS's backups), of
    /// the newest one in storage.
    pub(super) async fn last(&self, routine: &str, backup_type: BackupType) -> Result<Option<UnixMillis>> {
        let job = self.jobs.store().last_job(routine, backup_type, JobStatus::Succeeded).await?;
        if let Some(created) = job.and_then(|job| job.created) {
            return Ok(Some(created));
        }
        let storage = self.config().routine(routine, self.now())?.job.storage;
        let listing = self.list(&storage, routine, backup_type, TimeBounds::default()).await?;
        Ok(listing.counted().filter(|entry| entry.state != State::Marked).map(|entry| entry.created).max())
    }

    /// What storage has; what is being deleted is marked.
    pub(super) async fn list(
        &self,
        storage: &StorageConfig,
        routine: &str,
        backup_type: BackupType,
        bounds: TimeBounds,
    ) -> Result<Listing> {
        let storage = open_known(self.jobs.store(), storage).await?;
        let marked = self.jobs.store().marked(&storage.describe()).await?;
        let query = ListQuery { routine, backup_type, from: bounds.from, to: bounds.to, manifests: false };
        let mut listing = list_backups(storage.as_ref(), &query).await?;
        listing.mark(&marked);
        for problem in &listing.problems {
            // A run under way looks like what a crash left: only the rest is worth a line.
            if problem.kind != ProblemKind::Incomplete {
                tracing::warn!(
                    routine,
                    folder = problem.key,
                    reason = problem.reason,
                    "not a readable backup"
                );
            }
        }
        Ok(listing)
    }
}

fn verification(row: VerificationRow) -> Verification {
    Verification {
        outcome: row.outcome.as_str(),
        reason: row.reason,
        at: row.at.to_rfc3339(),
        job: row.job_id.0,
    }
}
