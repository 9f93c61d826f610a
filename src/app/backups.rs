//! What storage holds of a routine, and what runs of it.

use futures_util::future::join_all;

use super::{App, JobView};
use crate::config::Changes;
use crate::error::{Error, Result};
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
    /// is settled, which must not take a new folder for an answer. Whether a bucket is there is for the log only, so a change of
    /// the configuration asks just those that are new in it (`changed`; none: all), and nobody waits for more than one that is away.
    pub async fn make_storage_roots(&self, changed: Option<&Changes>) {
        let config = self.config();
        let is_new = |name: &String| {
            changed.is_none_or(|changed| changed.added.contains(name) || changed.changed.contains(name))
        };
        let prepare = async |name: &String| {
            let made = async { self.places.prepare(&config.storage(name)?).await };
            if let Err(error) = made.await {
                tracing::error!(storage = name, reason = error.report(), "the storage cannot be used");
            }
        };
        let (local, remote): (Vec<_>, Vec<_>) =
            config.storage.iter().partition(|(_, storage)| storage.local_storage.is_some());
        for (name, _) in local {
            prepare(name).await;
        }
        join_all(remote.into_iter().map(|(name, _)| name).filter(|name| is_new(name)).map(prepare)).await;
    }

    /// What runs of a routine, what ran last, what comes next.
    pub async fn routine_state(&self, routine: &str) -> Result<RoutineState> {
        let [last_full, last_incremental] = self.last(routine).await?;
        let mut state = RoutineState {
            last_full,
            last_incremental,
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

    /// `created` of the newest successful full and incremental in the store; where it knows none (a new store, ABS's
    /// backups), of the newest one that lists show.
    pub(super) async fn last(&self, routine: &str) -> Result<[Option<UnixMillis>; 2]> {
        let store = self.jobs.store();
        let done = async |backup_type| {
            let job = store.last_job(routine, backup_type, JobStatus::Succeeded).await?;
            Ok::<_, Error>(job.and_then(|job| job.created))
        };
        let done = [done(BackupType::Full).await?, done(BackupType::Incremental).await?];
        if done.iter().all(Option::is_some) {
            return Ok(done);
        }
        let [full, incremental] = self.newest(routine).await?;
        Ok([done[0].or(full), done[1].or(incremental)])
    }
}
