//! What can be asked of the service: triggers, cancel, lists, state, reload. The API, the signal handlers and the demo
//! translate to these calls and hold no logic of their own.

mod audit;
mod backups;
pub mod catalog;
pub mod config_place;
mod configure;
mod copies;
mod deletion;
mod estimate;
mod fence;
mod jobs;
mod lists;
mod metrics;
mod owner;
pub mod places;
mod points;
mod progress;
mod reload;
mod remembered;
mod restore_plan;
mod retention;
mod retrieve;
mod retry;
pub mod roots;
mod trigger;
mod watch;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex as SyncMutex};

use arc_swap::ArcSwap;
use tokio::sync::{Mutex, Notify, Semaphore};

pub use backups::{RoutineState, TimeBounds};
pub use config_place::ConfigPlace;
pub use configure::{ChangeOptions, ChangeRefusal, Changed, ConfigChange, ThingCause};
pub use fence::check_fence;
pub use jobs::JobView;
pub use lists::{Cached, RefreshedRoutine};
pub use owner::{OwnerState, OwnerView, RoutineOwner, adopt, there};
pub use places::Places;
pub use points::{
    AskedStorage, BackupRef, BackupView, FileView, NamespaceBackup, NamespacePoints, PointIn, RestorePoints,
    Window,
};
pub use progress::Progress;
pub use reload::{ConfigStatus, ReloadRefusal, ReloadSource, routine_job, schedules};
pub use remembered::Shown;
pub use trigger::BackupTrigger;
pub use watch::WatchTimes;

use crate::catalog::Ownership;
use crate::clock::SharedClock;
use crate::config::Config;
use crate::engine::Connect;
use crate::jobs::{Jobs, Runner};
use crate::metrics::Metrics;
use crate::model::UnixMillis;
use crate::scheduler::Scheduler;
use crate::secrets::Keeper;

/// The parts of a running service, as those see them who ask something of it.
pub struct App {
    clock: SharedClock,
    config: ArcSwap<Config>,
    config_place: Option<ConfigPlace>,
    jobs: Jobs,
    runner: Runner,
    scheduler: Scheduler,
    metrics: Arc<Metrics>,
    ownership: Ownership,
    keeper: Keeper,
    places: Places,
    connect: Arc<dyn Connect>,
    floors: progress::Floors,
    remembered: remembered::Remembered,
    ready: AtomicBool,
    /// One change of the configuration at a time.
    reloading: Mutex<()>,
    /// Routines that are read into the cache of the catalog at once.
    readings: Semaphore,
    /// What was last seen in its file, and what became of it.
    seen: SyncMutex<reload::Seen>,
    /// Of the tags of its parts; another in each process.
    etag_key: [u8; 32],
    /// Told of each order to read the configuration again.
    reload_asked: Notify,
}

/// What an [`App`] is made of.
pub struct Parts {
    /// The clock.
    pub clock: SharedClock,
    /// The configuration in force.
    pub config: Config,
    /// Where it is read from again; none: it cannot be.
    pub config_place: Option<ConfigPlace>,
    /// The handle of the jobs.
    pub jobs: Jobs,
    /// What runs them.
    pub runner: Runner,
    /// What fires them.
    pub scheduler: Scheduler,
    /// What counts them.
    pub metrics: Arc<Metrics>,
    /// Who writes and prunes in the routines' folders.
    pub ownership: Ownership,
    /// What keeps the secrets that configuration and requests hold in clear.
    pub keeper: Keeper,
    /// What opens storages.
    pub places: Places,
    /// How clusters are reached.
    pub connect: Arc<dyn Connect>,
}

impl App {
    /// Not ready yet: see [`App::set_ready`].
    pub fn new(parts: Parts) -> Self {
        parts.keeper.set_configured(parts.config.literal_secrets());
        let seen = SyncMutex::new(reload::Seen::new(parts.clock.now()));
        Self {
            seen,
            etag_key: rand::random(),
            clock: parts.clock,
            config: ArcSwap::from_pointee(parts.config),
            config_place: parts.config_place,
            jobs: parts.jobs,
            runner: parts.runner,
            scheduler: parts.scheduler,
            metrics: parts.metrics,
            ownership: parts.ownership,
            keeper: parts.keeper,
            places: parts.places,
            connect: parts.connect,
            floors: progress::Floors::default(),
            remembered: remembered::Remembered::default(),
            ready: AtomicBool::new(false),
            reloading: Mutex::new(()),
            readings: Semaphore::new(lists::READINGS_AT_ONCE),
            reload_asked: Notify::new(),
        }
    }

    /// The configuration in force; what runs goes on with the one it started with.
    pub fn config(&self) -> Arc<Config> {
        self.config.load_full()
    }

    /// The present.
    pub fn now(&self) -> UnixMillis {
        self.clock.now()
    }

    /// The prefix of every path, with a slash at both ends.
    pub fn context_path(&self) -> String {
        self.config().service().context_path().to_owned()
    }

    /// Waits for the next order to read the configuration again: files beside it are then read again too.
    pub async fn reload_asked(&self) {
        self.reload_asked.notified().await;
    }

    /// From now on the schedule is loaded (true), or the service is stopping (false).
    pub fn set_ready(&self, ready: bool) {
        self.ready.store(ready, Ordering::SeqCst);
    }

    /// Whether triggers are taken: neither starting nor stopping (rules.md 6.4).
    fn takes_jobs(&self) -> bool {
        self.ready.load(Ordering::SeqCst)
    }

    /// Whether the store answers and the schedule is loaded.
    pub async fn is_ready(&self) -> bool {
        self.takes_jobs() && self.jobs.store().created().await.is_ok()
    }
}
