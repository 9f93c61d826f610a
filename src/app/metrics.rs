//! The metrics of what is under way: read from the store at each scrape, never kept beside it.

use super::App;
use crate::error::Result;
use crate::metrics::RunningBackup;
use crate::model::{BackupType, JobKind, JobStatus};

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
            for backup_type in BACKUP_TYPES {
                self.metrics.next_run(name, backup_type, self.scheduler.next_fire(name, backup_type));
            }
        }
        self.metrics.render(&running, restores as i64, i64::try_from(queued).unwrap_or(i64::MAX))
    }

    /// Makes the series of every routine visible, with the newest success that is known, and forgets the gauges of
    /// routines that are gone.
    pub fn note_routines<'a>(&self, gone: impl IntoIterator<Item = &'a String>) {
        for routine in gone {
            for backup_type in BACKUP_TYPES {
                self.metrics.remove_routine(routine, backup_type);
            }
        }
        for (name, routine) in &self.config().backup_routines {
            self.metrics.add_routine(name, BackupType::Full);
            if routine.incr_interval_cron.is_some() {
                self.metrics.add_routine(name, BackupType::Incremental);
            }
        }
    }

    /// Looks for the newest success of each routine, in the store, else in storage; storage may be slow or away.
    pub async fn note_last_successes(&self) {
        for name in self.config().backup_routines.keys() {
            for backup_type in BACKUP_TYPES {
                match self.last(name, backup_type).await {
                    Ok(Some(created)) => self.metrics.backup_succeeded(name, backup_type, created),
                    Ok(None) => {}
                    Err(error) => {
                        let reason = error.report();
                        tracing::warn!(routine = name, reason, "newest backup not known");
                    }
                }
            }
        }
    }
}
