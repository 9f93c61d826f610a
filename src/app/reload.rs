//! Another configuration at run time (abs.md 4.5): a good one takes effect without disturbing what runs; of a bad
//! one nothing does.

use std::sync::Arc;

use super::App;
use crate::config::{Config, ConfigDiff, JobConfig, Problems, RoutineConfig};
use crate::error::{Error, Result};
use crate::jobs::RoutineJob;
use crate::model::{JobKind, JobStatus, UnixMillis};
use crate::scheduler::RoutineSchedule;
use crate::storage::address;
use crate::store::Document;
use crate::tasks::blocking;

/// Why a configuration was not taken.
#[derive(Debug)]
pub enum ReloadRefusal {
    /// What is wrong with it.
    Invalid(Problems),
    /// It changes what needs a restart, in ABS's words.
    Static(String),
    /// It could not be read or put in force.
    Failed(Error),
}

impl std::fmt::Display for ReloadRefusal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Invalid(problems) => problems.fmt(f),
            Self::Static(change) => f.write_str(change),
            Self::Failed(error) => f.write_str(&error.report()),
        }
    }
}

impl App {
    /// Reads the configuration's file again and puts it in force; refused, the old one stays, and the log says why.
    pub async fn reload(&self) -> Result<(), ReloadRefusal> {
        let _one_at_a_time = self.reloading.lock().await;
        let ended = self.try_reload().await;
        self.metrics.config_reload(ended.is_ok());
        self.reload_asked.notify_one();
        if let Err(refusal) = &ended {
            tracing::error!(reason = %refusal, "configuration not taken: the old one stays in force");
        }
        ended
    }

    async fn try_reload(&self) -> Result<(), ReloadRefusal> {
        let Some(path) = self.config_path.clone() else { return Ok(()) };
        let now = self.now();
        let read = blocking(move || {
            let unreadable =
                |error| Error::permanent("config-unreadable", "read the configuration").source(error);
            std::fs::File::open(&path).map_err(unreadable)?;
            Ok(Config::load(&path, now))
        });
        let read = read.await.map_err(ReloadRefusal::Failed)?;
        let new = read.map_err(ReloadRefusal::Invalid)?;
        let old = self.config();
        let diff = ConfigDiff::between(&old, &new);
        if let Some(change) = diff.static_change() {
            return Err(ReloadRefusal::Static(change));
        }
        if diff.is_empty() {
            tracing::info!("configuration read again: nothing has changed");
            return Ok(());
        }
        self.put_in_force(new, &diff).await.map_err(ReloadRefusal::Failed)?;
        tracing::info!(affected = ?diff.affected, removed = ?diff.routines.removed, "configuration taken");
        Ok(())
    }

    /// The schedule first: it is written, and on an error nothing has changed.
    async fn put_in_force(&self, new: Config, diff: &ConfigDiff) -> Result<()> {
        self.scheduler.reload(schedules(&new, self.now())?).await?;
        self.keeper.set_configured(new.literal_secrets());
        self.config.store(Arc::new(new));
        self.make_storage_roots().await;
        self.note_routines(&diff.routines.removed);
        let config = self.config();
        let resting = diff.affected.iter().filter(|name| {
            config.backup_routines.get(*name).is_some_and(|routine| routine.disabled == Some(true))
        });
        for routine in diff.routines.removed.iter().chain(resting) {
            self.drop_delayed(routine).await?;
        }
        Ok(())
    }

    /// Ends the delayed triggers of a routine that is gone or rests (abs.md 7.3); what waits or runs goes on.
    async fn drop_delayed(&self, routine: &str) -> Result<()> {
        for job in self.jobs.store().open_jobs(routine).await? {
            let of_routine = job.kind != JobKind::Restore;
            if of_routine && job.status == JobStatus::Scheduled {
                self.cancel_job(job.id).await?;
            }
        }
        Ok(())
    }
}

/// What the scheduler must know of every routine.
pub fn schedules(config: &Config, now: UnixMillis) -> Result<Vec<RoutineSchedule>> {
    config.routines(now)?.into_iter().map(schedule).collect()
}

fn schedule(routine: RoutineConfig) -> Result<RoutineSchedule> {
    let schedule = routine.schedule;
    Ok(RoutineSchedule {
        job: routine_job(&routine.job)?,
        full: Some(schedule.full),
        incremental: schedule.incremental,
        verify: schedule.verify,
        catch_up: schedule.catch_up,
        catch_up_window_ms: schedule.catch_up_window_ms,
        jitter_ms: schedule.jitter_ms,
        disabled: routine.disabled,
    })
}

/// What the jobs of a routine have in common, with the configuration they run with (rules.md 7.4).
pub fn routine_job(config: &JobConfig) -> Result<RoutineJob> {
    Ok(RoutineJob {
        routine: config.routine.clone(),
        cluster: config.cluster.name.clone().unwrap_or_default(),
        storage: config.storage.name.clone().unwrap_or_default(),
        namespaces: (!config.scope.namespaces.is_empty()).then(|| config.scope.namespaces.clone()),
        concurrent_incremental: config.policy.concurrent_incremental,
        config: Some(Document::of(config)?),
        address: address(&config.storage.place(), &config.routine),
    })
}
