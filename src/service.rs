//! The wiring: builds everything from a configuration and runs until it is stopped.

mod catalog;
mod certificates;
mod factory;
mod follow;
mod history;
mod listen;
mod options;
mod owner;
mod settle;

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use actix_web::dev::{Server, ServerHandle};
use tokio_util::sync::CancellationToken;

pub use options::{ServiceOptions, loopback_note};
pub use owner::adopt;

use self::factory::Factory;
use self::follow::AfterBackup;
use self::listen::Listeners;
use self::settle::AskStorage;
use crate::app::{App, Parts, Places, ReloadRefusal, schedules};
use crate::config::ServiceConfig;
use crate::engine::Connect;
use crate::engine::aerospike::AerospikeConnect;
use crate::error::{Error, Result};
use crate::jobs::{Jobs, Observer, Runner, RunnerOptions};
use crate::memory::Budget;
use crate::metrics::Metrics;
use crate::retention::resume;
use crate::scheduler::Scheduler;
use crate::store::{DigestTable, SlotRow, Store};
use crate::tasks::Scope;

/// What storage has not answered is asked again this often (rules.md 6.1).
const ASK_AGAIN: Duration = Duration::from_hours(1);

/// What jobs may take beyond the grace: 8 s for a commit under way (rules.md 2.8), and to write how they ended.
const STOP_EXTRA: Duration = Duration::from_secs(12);

/// A running service.
pub struct Service {
    app: Arc<App>,
    jobs: Jobs,
    runner: Runner,
    http_address: Option<SocketAddr>,
    https_address: Option<SocketAddr>,
    http: Vec<ServerHandle>,
    tasks: Scope,
    /// A part that should live as long as the service has ended by itself.
    broken: CancellationToken,
    grace: Duration,
}

impl Service {
    /// Opens the store, settles what an earlier process left, then starts runner, scheduler and HTTP.
    ///
    /// Errors: `http-listen`, those of [`Store::open`].
    pub async fn start(options: ServiceOptions) -> Result<Self> {
        let service = options.service_config();
        // First what fails at once: a second service on the same port must not touch the store.
        let listeners = Listeners::bind(&options, &service).await?;
        let (http_address, https_address) = (listeners.http_address(), listeners.https_address());
        let store = Store::open(&options.state_dir(), &options.clock).await?;
        DigestTable::remove_leftovers(&options.state_dir());
        let ownership = owner::ownership(&options, &store).await?;
        tracing::info!(instance = %ownership.id(), "this instance");
        let metrics = Arc::new(Metrics::new()?);
        let observers: Vec<Arc<dyn Observer>> = vec![Arc::clone(&metrics) as _];
        let jobs = Jobs::new(store, Arc::clone(&options.clock), observers, Arc::new(AfterBackup));
        let now = options.clock.now();
        let scheduler = Scheduler::new(jobs.clone(), schedules(&options.config, now)?).await?;
        let keeper = options.config.keeper();
        let places = Places::new(jobs.store().clone(), keeper.clone());
        let settle =
            AskStorage { places: places.clone(), store: jobs.store().clone(), ownership: ownership.clone() };
        let recovered = jobs.recover(&settle, &|slot| scheduler.may_catch_up(slot)).await?;
        tracing::info!(?recovered, "what an earlier process left is settled");
        if settle::give_up_kept(&jobs, &options.config).await? > 0 {
            jobs.settle_unknown(&settle, &|slot| scheduler.may_catch_up(slot)).await?;
        }
        settle::settle_copies(&settle).await;
        let resumed = resume(&jobs).await?;
        if resumed > 0 {
            tracing::info!(resumed, "deletions that were cut off will be finished");
        }
        let connect = AerospikeConnect::new(Arc::clone(&options.clock)).with_secrets(keeper.clone());
        let connect: Arc<dyn Connect> = Arc::new(connect);
        let factory = Factory {
            connect: Arc::clone(&connect),
            state_dir: options.state_dir(),
            ownership: ownership.clone(),
            places: places.clone(),
        };
        let runner = Runner::new(jobs.clone(), Arc::new(factory), runner_options(&service));
        let app = Arc::new(App::new(Parts {
            clock: options.clock,
            config: options.config,
            config_place: options.config_place,
            jobs: jobs.clone(),
            runner: runner.clone(),
            scheduler: scheduler.clone(),
            metrics,
            ownership,
            keeper,
            places,
            connect,
        }));
        app.make_storage_roots(None).await;
        app.note_routines(&[]);
        let (servers, certificates) = listeners.serve(&app, &service).await?;
        let http = servers.iter().map(Server::handle).collect();
        let grace = Duration::from_millis(service.shutdown_grace);
        let mut tasks =
            Tasks { scope: Scope::new(&CancellationToken::new()), broken: CancellationToken::new() };
        let stop = tasks.scope.token().clone();
        tasks.vital("jobs", {
            let runner = runner.clone();
            async move { runner.run().await }
        });
        tasks.vital("scheduler", {
            let (scheduler, stop) = (scheduler.clone(), stop.clone());
            async move { scheduler.run(&stop).await }
        });
        for server in servers {
            tasks.vital("http", async move {
                server.await.map_err(|error| Error::temporary("http-server", "serve HTTP").source(error))
            });
        }
        if let Some(certificates) = certificates {
            let watch = certificates::keep_fresh(Arc::clone(&app), certificates, stop.clone());
            tasks.scope.spawn("certificates", watch);
        }
        tasks
            .scope
            .spawn("settle", settle_hourly(jobs.clone(), settle, scheduler, Arc::clone(&app), stop.clone()));
        tasks.scope.spawn("owner", owner::keep_renewing(Arc::clone(&app), stop.clone()));
        tasks.scope.spawn(
            "history",
            history::keep(jobs.clone(), service.job_history, service.audit_max_age_ms, stop.clone()),
        );
        tasks.scope.spawn("catalog", catalog::keep(Arc::clone(&app), stop.clone()));
        tasks.scope.spawn("configuration", {
            let (app, stop) = (Arc::clone(&app), stop.clone());
            async move { app.watch_config(options.watch_times, stop).await }
        });
        tasks.scope.spawn("last successes", {
            let app = Arc::clone(&app);
            async move {
                stop.run_until_cancelled(app.note_last_successes()).await;
                Ok(())
            }
        });
        app.set_ready(true);
        listen::say_where(&app.config(), &service, http_address, https_address);
        let Tasks { scope: tasks, broken } = tasks;
        Ok(Self { app, jobs, runner, http_address, https_address, http, tasks, broken, grace })
    }

    /// Where HTTP is served; without such a listener port 0 of no address.
    pub fn http_address(&self) -> SocketAddr {
        self.http_address.unwrap_or_else(|| (Ipv4Addr::UNSPECIFIED, 0).into())
    }

    /// Where HTTPS is served.
    pub const fn https_address(&self) -> Option<SocketAddr> {
        self.https_address
    }

    /// What can be asked of it.
    pub const fn app(&self) -> &Arc<App> {
        &self.app
    }

    /// Reads the configuration again; refused, the old one stays in force and the log says why.
    pub async fn reload(&self) -> Result<(), ReloadRefusal> {
        self.app.reload().await
    }

    /// Waits until a part that should live as long as the service has ended by itself; [`Service::stop`] says why.
    pub async fn failed(&self) {
        self.broken.cancelled().await;
    }

    /// Takes no more jobs, gives those that run `service.shutdown-grace`, then ends them as `interrupted`, and closes
    /// the store (rules.md 6.4).
    pub async fn stop(self) -> Result<()> {
        tracing::info!(grace_ms = self.grace.as_millis() as u64, "stopping");
        self.app.set_ready(false);
        self.tasks.token().cancel();
        let jobs_ended = tokio::time::timeout(self.grace + STOP_EXTRA, self.runner.stop(self.grace)).await;
        // Until here it answers: how the last jobs end can be watched.
        for server in &self.http {
            server.stop(true).await;
        }
        let ended = if jobs_ended.is_ok() {
            self.tasks.join().await
        } else {
            drop(self.tasks);
            Err(Error::temporary("jobs-not-ended", "jobs have not ended in time")
                .hint("The next start settles them."))
        };
        self.jobs.store().close().await?;
        tracing::info!("stopped");
        ended
    }
}

/// The tasks of a service.
struct Tasks {
    scope: Scope,
    broken: CancellationToken,
}

impl Tasks {
    /// Starts a task whose end is the end of the service.
    fn vital(&mut self, name: &'static str, task: impl Future<Output = Result<()>> + Send + 'static) {
        let (broken, stop) = (self.broken.clone(), self.scope.token().clone());
        self.scope.spawn(name, async move {
            let ended = task.await;
            if !stop.is_cancelled() {
                let reason = ended.as_ref().err().map(Error::report);
                tracing::error!(name, reason, "a part of the service has ended: stopping");
            }
            broken.cancel();
            ended
        });
    }
}

async fn settle_hourly(
    jobs: Jobs,
    settle: AskStorage,
    scheduler: Scheduler,
    app: Arc<App>,
    stop: CancellationToken,
) -> Result<()> {
    let allows = |slot: &SlotRow| scheduler.may_catch_up(slot);
    while stop.run_until_cancelled(tokio::time::sleep(ASK_AGAIN)).await.is_some() {
        if let Err(error) = settle::give_up_kept(&jobs, &app.config()).await {
            tracing::warn!(
                reason = error.report(),
                "what was kept of backups that were cut off is not looked at"
            );
        }
        match stop.run_until_cancelled(jobs.settle_unknown(&settle, &allows)).await {
            None => {}
            Some(Ok(settled)) => tracing::debug!(?settled, "storage asked again"),
            Some(Err(error)) => tracing::warn!(reason = error.report(), "storage not asked again"),
        }
        if let Err(error) = resume(&jobs).await {
            tracing::warn!(reason = error.report(), "deletions not resumed");
        }
    }
    Ok(())
}

/// This process in job rows: the state directory is ours alone, so its number tells it from earlier ones.
fn runner_options(service: &ServiceConfig) -> RunnerOptions {
    RunnerOptions {
        owner: format!("pid-{}", std::process::id()),
        max_running_jobs: service.backup.max_running_jobs,
        memory: Budget::new(service.memory_budget),
    }
}
