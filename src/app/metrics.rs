//! The metrics of what is under way: read from the store at each scrape, never kept beside it.

use super::App;
use crate::catalog::owner::Seen;
use crate::config::Routine;
use crate::error::Result;
use crate::metrics::{RoutineVerification, RunningBackup, outcome};
use crate::model::{BackupType, JobKind, JobStatus, SlotType};
use crate::store::JobRow;

const BACKUP_TYPES: [BackupType; 2] = [BackupType::Full, BackupType::Incremental];

impl App {
    /// The text for a scrape of Prometheus.
    pub async fn metrics_text(&self) -> Result<String> {
        let live = self.runner.live_jobs();
        let restores = live.iter().filter(|(job, _)| job.kind == JobKind::Restore).count();
        let running: Vec<RunningBackup> = live
            .iter()
            .filter_map(|(job, live)| {
                let progress_ratio = f64::from(live.percent) / 100.0;
                Some(RunningBackup {
                    routine: job.routine.clone()?,
                    backup_type: job.backup_type?,
                    progress_ratio,
                    stalled_seconds: live.idle_ms as f64 / 1000.0,
                })
            })
            .collect();
        let counts = self.jobs.store().open_counts().await?;
        let queued: u64 = counts
            .iter()
            .filter(|((_, status), _)| *status == JobStatus::Queued.as_str())
            .map(|(_, count)| count)
            .sum();
        for name in self.config().backup_routines.keys() {
            self.metrics.routine_owned(
                name,
                match self.ownership.seen(name) {
                    Some(Seen::Ours) => Some(true),
                    Some(Seen::Other) => Some(false),
                    Some(Seen::Nobody | Seen::Unknown) | None => None,
                },
            );
            for slot_type in SlotType::ALL {
                self.metrics.next_run(name, slot_type, self.scheduler.next_fire(name, slot_type));
            }
        }
        self.metrics.memory(self.runner.memory());
        self.metrics.verifications(&self.routine_verifications().await?);
        self.metrics.render(&running, restores as i64, i64::try_from(queued).unwrap_or(i64::MAX))
    }

    /// What is known of the backups of every configured routine.
    async fn routine_verifications(&self) -> Result<Vec<RoutineVerification>> {
        let (config, store) = (self.config(), self.jobs.store());
        let mut known = Vec::new();
        for (name, routine) in &config.backup_routines {
            let last = async |status| store.last_care_job(JobKind::Verify, name, status).await;
            let (good, bad) = (last(JobStatus::Succeeded).await?, last(JobStatus::Failed).await?);
            let (good_id, bad_id) = (good.as_ref().map(|job| job.id), bad.as_ref().map(|job| job.id));
            known.push(RoutineVerification {
                routine: name.clone(),
                last_successful: (good_id.is_some() || bad_id.is_some()).then_some(good_id > bad_id),
                last_success: good.and_then(|job| job.finished),
                damaged: self.damaged(name, routine).await?,
            });
        }
        Ok(known)
    }

    /// Damaged backups in the routine's own storage, and in each with copies that was ever verified.
    async fn damaged(&self, name: &str, routine: &Routine) -> Result<Vec<(String, u64)>> {
        let store = self.jobs.store();
        let mut damaged = Vec::new();
        for storage in std::iter::once(routine.storage.as_str()).chain(routine.copy_storages()) {
            if storage == routine.storage || store.was_verified(storage, name).await? {
                damaged.push((storage.to_owned(), store.damaged_backups(storage, name).await?));
            }
        }
        Ok(damaged)
    }

    /// Makes the series of every routine visible, with the newest success that is known, and forgets the gauges of
    /// routines that are gone.
    pub fn note_routines<'a>(&self, gone: impl IntoIterator<Item = &'a String>) {
        for routine in gone {
            self.metrics.routine_owned(routine, None);
            for backup_type in BACKUP_TYPES {
                self.metrics.remove_routine(routine, backup_type);
            }
        }
        for (name, routine) in &self.config().backup_routines {
            self.metrics.add_routine(name, BackupType::Full);
            if routine.incr_interval_cron.is_some() {
                self.metrics.add_routine(name, BackupType::Incremental);
            }
            if routine.copy_storages().next().is_some() {
                self.metrics.add_copies(name);
            }
            let policy = self.config().policy_of(routine);
            if policy.is_ok_and(|policy| policy.retention.is_some()) {
                self.metrics.add_retention(name);
            }
        }
    }

    fn note_retentions(&self, ended: &[JobRow]) {
        for job in ended {
            if let (Some(routine), Some(outcome), Some(at)) =
                (&job.routine, outcome(job.status), job.finished)
                && self.config().backup_routines.contains_key(routine)
            {
                self.metrics.retention_ended(routine, outcome, at);
            }
        }
    }

    /// Looks for the newest success of each routine, in the store, else in storage; storage may be slow or away. And for
    /// the newest ends of retention, in the store.
    pub async fn note_last_successes(&self) {
        match self.jobs.store().last_of_kind(JobKind::Retention).await {
            Ok(ended) => self.note_retentions(&ended),
            Err(error) => tracing::warn!(reason = error.report(), "newest retentions not known"),
        }
        for name in self.config().backup_routines.keys() {
            match self.last(name).await {
                Ok(last) => {
                    for (backup_type, created) in BACKUP_TYPES.into_iter().zip(last) {
                        if let Some(created) = created {
                            self.metrics.backup_succeeded(name, backup_type, created);
                        }
                    }
                }
                Err(error) => {
                    let reason = error.report();
                    tracing::warn!(routine = name, reason, "newest backup not known");
                }
            }
        }
    }
}
