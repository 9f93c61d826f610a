//! Another configuration at run time (abs.md 4.5): a good one takes effect without disturbing what runs; of a bad
//! one nothing does.

use std::sync::{Arc, PoisonError};

use super::App;
use super::config_place::{self, GONE, TextHash};
use crate::config::{Config, ConfigDiff, JobConfig, Problems, RoutineConfig};
use crate::error::{Error, Result};
use crate::jobs::RoutineJob;
use crate::model::{JobKind, JobStatus, UnixMillis};
use crate::scheduler::RoutineSchedule;
use crate::storage::address;
use crate::store::Document;

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

/// Who had the configuration read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, utoipa::ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum ReloadSource {
    /// The start of the service.
    Start,
    /// SIGHUP or `POST /v1/config/apply`.
    Order,
    /// The file was edited, or what is read from elsewhere has changed.
    File,
    /// A change through the API.
    Api,
}

/// What was last seen in the file.
#[derive(Debug)]
pub struct Seen {
    /// What the file held when it was last examined; none: not yet.
    hash: Option<TextHash>,
    status: ConfigStatus,
}

/// Since when the configuration is in force, and what became of the last one that was read.
#[derive(Debug, Clone)]
pub struct ConfigStatus {
    /// Where it is read from.
    pub file: Option<String>,
    /// Since when it is in force.
    pub in_force_since: UnixMillis,
    /// By whom it came.
    pub in_force_by: ReloadSource,
    /// When the last one was read.
    pub last_read: UnixMillis,
    /// Why the last one was refused, one line each; empty: it is in force.
    pub refused: Vec<String>,
}

impl Seen {
    /// At the start.
    pub fn new(now: UnixMillis) -> Self {
        let status = ConfigStatus {
            file: None,
            in_force_since: now,
            in_force_by: ReloadSource::Start,
            last_read: now,
            refused: Vec::new(),
        };
        Self { hash: None, status }
    }
}

impl App {
    /// Reads the configuration's file again and puts it in force; refused, the old one stays, and the log says why.
    pub async fn reload(&self) -> Result<(), ReloadRefusal> {
        let _one_at_a_time = self.reloading.lock().await;
        self.reload_locked(ReloadSource::Order).await
    }

    /// As [`App::reload`], for those who hold the lock.
    pub(super) async fn reload_locked(&self, source: ReloadSource) -> Result<(), ReloadRefusal> {
        let ended = self.try_reload(source).await;
        self.metrics.config_reload(ended.is_ok());
        self.reload_asked.notify_one();
        if let Err(refusal) = &ended {
            tracing::error!(reason = %refusal, "configuration not taken: the old one stays in force");
        }
        ended
    }

    async fn try_reload(&self, source: ReloadSource) -> Result<(), ReloadRefusal> {
        let Some(place) = &self.config_place else { return Ok(()) };
        let read = match place.read().await {
            Ok(read) => read,
            Err(error) => return self.refused(GONE, source, ReloadRefusal::Failed(error)),
        };
        let text = match read {
            Ok(held) => held.text,
            Err(problems) => return self.refused(GONE, source, ReloadRefusal::Invalid(problems)),
        };
        let hash = config_place::hash(&text);
        match self.take_text(&text, &place.to_string()).await {
            Ok(changed) => {
                if changed {
                    self.examined(hash, source, None);
                } else {
                    self.examined_same(hash);
                    if source == ReloadSource::Order {
                        tracing::info!("configuration read again: nothing has changed");
                    }
                }
                Ok(())
            }
            Err(refusal) => self.refused(hash, source, refusal),
        }
    }

    fn refused(
        &self,
        hash: TextHash,
        source: ReloadSource,
        refusal: ReloadRefusal,
    ) -> Result<(), ReloadRefusal> {
        self.examined(hash, source, Some(&refusal));
        Err(refusal)
    }

    /// Puts a document in force; whether that changed anything.
    async fn take_text(&self, text: &str, name: &str) -> Result<bool, ReloadRefusal> {
        let new = Config::parse(text, name, self.now()).map_err(ReloadRefusal::Invalid)?;
        let old = self.config();
        let diff = ConfigDiff::between(&old, &new);
        if let Some(change) = diff.static_change() {
            return Err(ReloadRefusal::Static(change));
        }
        if diff.is_empty() {
            // It may say the same in other words: what is in force must be what the file holds.
            self.config.store(Arc::new(new));
            return Ok(false);
        }
        self.put_in_force(new, &diff).await.map_err(ReloadRefusal::Failed)?;
        tracing::info!(affected = ?diff.affected, removed = ?diff.routines.removed, "configuration taken");
        Ok(true)
    }

    /// Notes what the file held and what became of it.
    pub(super) fn examined(&self, hash: TextHash, source: ReloadSource, refusal: Option<&ReloadRefusal>) {
        let now = self.now();
        let mut seen = self.seen();
        seen.hash = Some(hash);
        seen.status.last_read = now;
        seen.status.refused = refusal
            .map(|refusal| refusal.to_string().lines().map(str::to_owned).collect())
            .unwrap_or_default();
        if refusal.is_none() {
            (seen.status.in_force_since, seen.status.in_force_by) = (now, source);
        }
    }

    fn examined_same(&self, hash: TextHash) {
        let now = self.now();
        let mut seen = self.seen();
        seen.hash = Some(hash);
        seen.status.last_read = now;
        seen.status.refused.clear();
    }

    /// Whether the file with that hash was examined and taken.
    pub(super) fn is_in_force(&self, hash: &TextHash) -> bool {
        let seen = self.seen();
        seen.hash.as_ref() == Some(hash) && seen.status.refused.is_empty()
    }

    /// Whether the file with that hash was examined, whatever became of it.
    pub(super) fn was_examined(&self, hash: &TextHash) -> bool {
        self.seen().hash.as_ref() == Some(hash)
    }

    /// Since when the configuration is in force, and what became of the last one that was read.
    pub fn config_status(&self) -> ConfigStatus {
        let file = self.config_place.as_ref().map(ToString::to_string);
        ConfigStatus { file, ..self.seen().status.clone() }
    }

    fn seen(&self) -> std::sync::MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The schedule first: it is written, and on an error nothing has changed.
    pub(super) async fn put_in_force(&self, new: Config, diff: &ConfigDiff) -> Result<()> {
        self.scheduler.reload(schedules(&new, self.now())?).await?;
        self.keeper.set_configured(new.literal_secrets());
        self.places.forget();
        self.config.store(Arc::new(new));
        self.make_storage_roots(Some(&diff.storage)).await;
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
