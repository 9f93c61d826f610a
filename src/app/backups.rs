//! What storage holds of a routine, and what runs of it.

use super::{App, JobView};
use crate::catalog::State;
use crate::error::Result;
use crate::model::{BackupType, JobKind, JobStatus, UnixMillis};

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

    /// Whether no instant from `from` to `to` (none: open) is within.
    pub fn leaves_out(&self, (from, to): (UnixMillis, Option<UnixMillis>)) -> bool {
        self.to.is_some_and(|last| from > last)
            || self.from.is_some_and(|first| to.is_some_and(|to| to < first))
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

impl App {
    /// Makes the folders of the configured local storages that were never used; only after what an earlier process left
    /// is settled, which must not take a new folder for an answer.
    pub async fn make_storage_roots(&self) {
        for name in self.config().storage.keys() {
            let made = async { self.places.prepare(&self.config().storage(name)?).await };
            if let Err(error) = made.await {
                tracing::error!(storage = name, reason = error.report(), "the storage cannot be used");
            }
        }
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
    /// the newest one that lists show.
    pub(super) async fn last(&self, routine: &str, backup_type: BackupType) -> Result<Option<UnixMillis>> {
        let job = self.jobs.store().last_job(routine, backup_type, JobStatus::Succeeded).await?;
        if let Some(created) = job.and_then(|job| job.created) {
            return Ok(Some(created));
        }
        let known = self.cached(&[routine], backup_type, TimeBounds::default(), false).await?;
        let all = known.routines.into_values().flatten();
        Ok(all.filter(|entry| entry.state != State::Marked).map(|entry| entry.created).max())
    }
}
