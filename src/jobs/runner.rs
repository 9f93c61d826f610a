//! The runner: turns queued rows into tasks and writes how they end. It knows no kind of work.
//!
//! Its loop is idempotent and takes no input: each turn looks at rows, so a lost signal costs half a second at most.

mod queue;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::context::Report;
use super::stall::{STALL_TIMEOUT_MS, StallWatch, Verdict};
use super::stop::Stop;
use super::{Ended, JobContext, Jobs, Live, Progress, WorkFactory};
use crate::error::{Error, Result};
use crate::memory::{Budget, Share};
use crate::model::JobStatus;
use crate::store::{JobEnd, JobId, JobRow, Warning};
use crate::tasks::Scope;

/// A cancel is seen within a second (rules.md 2.8), whoever wrote it.
const TURN: Duration = Duration::from_millis(500);

/// Progress is flushed at most this often (rules.md 2.7).
const FLUSH_EVERY_MS: i64 = 5000;

/// How long a lease lasts; renewed with each flush. Nobody takes leases over yet (rules.md 2.6).
const LEASE_MS: i64 = 60_000;

/// What the runner must be told.
#[derive(Debug, Clone)]
pub struct RunnerOptions {
    /// Who we are in job rows: this process.
    pub owner: String,
    /// `service.backup.max-running-jobs` (rules.md 2.2).
    pub max_running_jobs: u32,
    /// What all jobs together may hold (rules.md 8.1).
    pub memory: Budget,
}

/// Runs jobs; cheap to clone.
#[derive(Clone)]
pub struct Runner(Arc<Shared>);

struct Shared {
    jobs: Jobs,
    factory: Arc<dyn WorkFactory>,
    options: RunnerOptions,
    running: Mutex<HashMap<JobId, Running>>,
    /// Shares of jobs whose start may have been written although the store did not say so.
    in_doubt: Mutex<HashMap<JobId, Share>>,
    stop: Stop,
}

/// A job whose task runs here.
#[derive(Clone)]
struct Running {
    row: Arc<JobRow>,
    cancel: CancellationToken,
    /// Ends the work although it does not listen to `cancel`.
    abort: CancellationToken,
    progress: Progress,
    report: Arc<Mutex<Report>>,
    stall: Arc<Mutex<StallWatch>>,
}

impl Runner {
    /// A runner of `jobs`; it does nothing before [`Runner::run`].
    pub fn new(jobs: Jobs, factory: Arc<dyn WorkFactory>, options: RunnerOptions) -> Self {
        Self(Arc::new(Shared {
            jobs,
            factory,
            options,
            running: Mutex::default(),
            in_doubt: Mutex::default(),
            stop: Stop::default(),
        }))
    }

    /// Runs jobs until [`Runner::stop`]; returns when every job has ended and its row says how.
    pub async fn run(&self) -> Result<()> {
        let mut scope = Scope::new(&CancellationToken::new());
        let mut flushed = self.0.jobs.now();
        // Whether a write of the last turn may have been taken although it failed.
        let mut in_doubt = false;
        while !self.0.stop.asked().is_cancelled() {
            reap(&mut scope);
            let turn = async {
                if in_doubt {
                    self.take_up(&mut scope).await?;
                }
                self.dispatch(&mut scope).await?;
                self.see_cancels().await
            };
            self.end_stalled();
            let turned = turn.await;
            in_doubt = turned.is_err();
            if let Err(error) = turned {
                tracing::error!(code = error.code(), "jobs are not started: {}", error.report());
            }
            // `abs`: a clock that was set back must not silence the flush.
            if self.0.jobs.now().since(flushed).abs() >= FLUSH_EVERY_MS {
                flushed = self.0.jobs.now();
                self.flush_logged().await;
            }
            tokio::select! {
                () = self.0.jobs.wake().notified() => {}
                () = tokio::time::sleep(TURN) => {}
                () = self.0.stop.asked().cancelled() => {}
            }
        }
        self.drain(scope).await;
        self.0.stop.set_ended();
        Ok(())
    }

    /// Starts no more jobs, gives those that run `grace` to reach an end or a checkpoint, then ends them as
    /// `interrupted` (rules.md 6.4). A second call stops at once. Returns when [`Runner::run`] has ended.
    pub async fn stop(&self, grace: Duration) {
        self.0.stop.ask(grace);
        self.0.stop.ended().cancelled().await;
    }

    /// How far a job that runs here has come.
    pub fn live(&self, job: JobId) -> Option<Live> {
        let running = self.running().get(&job).cloned()?;
        Some(running.progress.live(job, running.row.started.unwrap_or_default(), self.0.jobs.now()))
    }

    /// What a job that runs here is doing, in words.
    pub fn doing(&self, job: JobId) -> Option<String> {
        let running = self.running().get(&job).cloned()?;
        Some(running.progress.describe())
    }

    /// Every job that runs here and how far it has come, oldest first.
    pub fn live_jobs(&self) -> Vec<(Arc<JobRow>, Live)> {
        let now = self.0.jobs.now();
        let mut live: Vec<_> = self
            .running()
            .values()
            .map(|running| {
                let started = running.row.started.unwrap_or_default();
                (Arc::clone(&running.row), running.progress.live(running.row.id, started, now))
            })
            .collect();
        live.sort_by_key(|(row, _)| row.id);
        live
    }

    fn start_task(&self, scope: &mut Scope, row: JobRow, share: Share) {
        let progress = Progress::default();
        // What its own policy says is known once its work is made.
        let stall = StallWatch::new(STALL_TIMEOUT_MS, &progress, self.0.jobs.now());
        let running = Running {
            row: Arc::new(row),
            cancel: CancellationToken::new(),
            abort: CancellationToken::new(),
            progress,
            report: Arc::default(),
            stall: Arc::new(Mutex::new(stall)),
        };
        self.running().insert(running.row.id, running.clone());
        let runner = self.clone();
        scope.spawn("job", async move {
            let share = Arc::new(share);
            let ended = runner.work(&running, Arc::clone(&share)).await;
            runner.finish(&running, ended).await;
            // Not before the row says so: what has memory is what runs.
            drop(share);
            runner.running().remove(&running.row.id);
            runner.0.jobs.wake().notify_one();
            Ok(())
        });
    }

    /// Does the work in a scope of its own, so that a panic is an error.
    async fn work(&self, running: &Running, memory: Arc<Share>) -> Ended {
        let work = match self.0.factory.work(&running.row) {
            Ok(work) => work,
            Err(error) => return Ended::Failed(error),
        };
        let stall = StallWatch::new(work.stall_timeout_ms(), &running.progress, self.0.jobs.now());
        *running.stall.lock().unwrap_or_else(PoisonError::into_inner) = stall;
        let ctx = JobContext {
            job: Arc::clone(&running.row),
            store: self.0.jobs.store().clone(),
            clock: self.0.jobs.clock().clone(),
            cancel: running.cancel.clone(),
            stopping: self.0.stop.asked().clone(),
            progress: running.progress.clone(),
            jobs: self.0.jobs.clone(),
            report: Arc::clone(&running.report),
            memory,
        };
        let (sender, mut receiver) = tokio::sync::oneshot::channel();
        let mut scope = Scope::new(&running.cancel);
        scope.spawn("job work", async move {
            // The receiver lives in this function, which awaits us: it cannot be gone.
            let _ = sender.send(work.run(ctx).await);
            Ok(())
        });
        // Dropping the scope aborts the work; a thread that hangs in the system stays behind, and writes nothing more.
        let joined = tokio::select! {
            joined = scope.join() => joined,
            () = running.abort.cancelled() => return Ended::Canceled,
        };
        match (joined, receiver.try_recv()) {
            (Ok(()), Ok(ended)) => ended,
            (Err(error), _) => Ended::Failed(error),
            (Ok(()), Err(_)) => Ended::Failed(Error::temporary("task-aborted", "the job's task was aborted")),
        }
    }

    /// Writes how a job ended; tries until the store takes it or says that the job is no longer ours.
    async fn finish(&self, running: &Running, ended: Ended) {
        let mut pause = Duration::from_millis(100);
        let end = loop {
            match self.end_of(running, &ended).await {
                Ok(end) => break end,
                Err(error) => pause = wait_for_store(&error, pause).await,
            }
        };
        loop {
            self.flush_one(running).await;
            match self.0.jobs.end(&running.row, &end).await {
                Ok(_) => return,
                Err(error) if error.code() == "stale-generation" => {
                    tracing::warn!(job = running.row.id.0, "the end of a job came late: {error}");
                    return;
                }
                Err(error) => pause = wait_for_store(&error, pause).await,
            }
        }
    }

    async fn end_of(&self, running: &Running, ended: &Ended) -> Result<JobEnd> {
        let row = self.0.jobs.store().job(running.row.id).await?;
        let canceled = row.is_some_and(|row| row.cancel_requested.is_some());
        let stopping = self.0.stop.asked().is_cancelled();
        let mut end = match ended {
            Ended::Succeeded => JobEnd::plain(JobStatus::Succeeded),
            Ended::Skipped { code, reason } => JobEnd::because(JobStatus::Skipped, *code, reason),
            Ended::Failed(error) => JobEnd {
                error: Some((error.code().to_owned(), error.report())),
                ..JobEnd::plain(JobStatus::Failed)
            },
            Ended::Canceled if stopping && !canceled => Stop::end(),
            Ended::Canceled => JobEnd::plain(JobStatus::Canceled),
            Ended::Interrupted { code, reason } => JobEnd::because(JobStatus::Interrupted, *code, reason),
        };
        running.report_into(&mut end);
        if let Some(error) = running.stalled().filter(|_| !canceled && end.status != JobStatus::Succeeded) {
            end.status = JobStatus::Failed;
            end.reason = None;
            end.error = Some((error.code().to_owned(), error.report()));
        }
        if canceled && matches!(ended, Ended::Succeeded) {
            // rules.md 2.8
            end.warnings.push(Warning {
                code: "cancel-too-late".to_owned(),
                text: "It was asked to end when everything was committed already.".to_owned(),
            });
        }
        Ok(end)
    }

    /// Passes cancel requests of rows on to their tasks.
    async fn see_cancels(&self) -> Result<()> {
        if self.running().is_empty() {
            return Ok(());
        }
        for id in self.0.jobs.store().cancel_requests().await? {
            if let Some(running) = self.running().get(&id) {
                running.cancel.cancel();
            }
        }
        Ok(())
    }

    /// Cancels jobs in which nothing moves, and aborts those that do not listen (rules.md 2.8, 2.9).
    fn end_stalled(&self) {
        let now = self.0.jobs.now();
        for running in self.running().values() {
            let mut stall = running.stall.lock().unwrap_or_else(PoisonError::into_inner);
            let canceled = running.cancel.is_cancelled();
            match stall.turn(&running.progress, canceled, now) {
                Verdict::Fine => {}
                Verdict::Stalled => {
                    let doing = running.progress.describe();
                    tracing::warn!(job = running.row.id.0, doing, "nothing moves: the job is canceled");
                    let mut report = running.report.lock().unwrap_or_else(PoisonError::into_inner);
                    report.stalled.get_or_insert((stall.timeout_ms(), doing));
                    running.cancel.cancel();
                }
                Verdict::Deaf => {
                    let doing = running.progress.describe();
                    tracing::warn!(job = running.row.id.0, doing, "the job does not end: it is aborted");
                    running.abort.cancel();
                }
            }
        }
    }

    async fn flush_logged(&self) {
        if let Err(error) = self.flush().await {
            tracing::warn!(code = error.code(), "progress is not written: {}", error.report());
        }
    }

    /// Renews leases and writes the progress of every running job, in one transaction.
    async fn flush(&self) -> Result<()> {
        let all: Vec<Running> = self.running().values().cloned().collect();
        if all.is_empty() {
            return Ok(());
        }
        let now = self.0.jobs.now();
        let mut tx = self.0.jobs.store().write().await?;
        tx.renew_leases(&self.0.options.owner, now.plus_ms(LEASE_MS)).await?;
        for running in all {
            tx.set_progress(running.row.generation, &running.progress.row(running.row.id, now)).await?;
            if let Some(warnings) = running.new_warnings() {
                tx.set_warnings(running.row.id, running.row.generation, &warnings).await?;
            }
        }
        tx.commit().await
    }

    /// Writes the last progress of a job; its loss does not keep the job from ending.
    async fn flush_one(&self, running: &Running) {
        let written = async {
            let mut tx = self.0.jobs.store().write().await?;
            let row = running.progress.row(running.row.id, self.0.jobs.now());
            tx.set_progress(running.row.generation, &row).await?;
            tx.commit().await
        };
        if let Err(error) = written.await {
            tracing::warn!(job = running.row.id.0, "its last progress is not written: {}", error.report());
        }
    }

    /// The end of the runner: grace, cancel, abort; then every row that is still open is ended.
    async fn drain(&self, mut scope: Scope) {
        self.wait_until(&mut scope, self.0.stop.grace()).await;
        for running in self.running().values() {
            running.cancel.cancel();
        }
        self.wait_until(&mut scope, super::stop::SETTLE).await;
        // Dropping the scope aborts what has not ended.
        drop(scope);
        let left: Vec<Running> = self.running().drain().map(|(_, running)| running).collect();
        for running in left {
            self.flush_one(&running).await;
            let mut end = Stop::end();
            running.report_into(&mut end);
            match self.0.jobs.end(&running.row, &end).await {
                Err(error) if error.code() != "stale-generation" => {
                    // The next start finds the row and settles it (rules.md 6.1).
                    tracing::error!(job = running.row.id.0, "its end is not written: {}", error.report());
                }
                _ => {}
            }
        }
    }

    /// Waits until every task has ended, for `limit` at most, or until the second call of stop.
    async fn wait_until(&self, scope: &mut Scope, limit: Duration) {
        let all_ended = async {
            loop {
                reap(scope);
                if scope.is_empty() {
                    break;
                }
                if let Err(error) = self.see_cancels().await {
                    tracing::warn!("cancels are not seen: {}", error.report());
                }
                self.end_stalled();
                tokio::select! {
                    () = self.0.jobs.wake().notified() => {}
                    () = tokio::time::sleep(TURN) => {}
                }
            }
        };
        tokio::select! {
            () = all_ended => {}
            () = tokio::time::sleep(limit) => {}
            () = self.0.stop.at_once().cancelled() => {}
        }
    }

    /// What all jobs together may hold.
    pub fn memory(&self) -> &Budget {
        &self.0.options.memory
    }

    fn in_doubt(&self) -> std::sync::MutexGuard<'_, HashMap<JobId, Share>> {
        self.0.in_doubt.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn running(&self) -> std::sync::MutexGuard<'_, HashMap<JobId, Running>> {
        self.0.running.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Running {
    /// What the work has said of itself, for the row.
    fn report_into(&self, end: &mut JobEnd) {
        let report = self.report.lock().unwrap_or_else(PoisonError::into_inner);
        end.warnings.clone_from(&report.warnings);
        end.result.clone_from(&report.result);
        end.counters.clone_from(&report.counters);
    }

    /// Every warning, if there is one that the row does not have.
    fn new_warnings(&self) -> Option<Vec<Warning>> {
        let mut report = self.report.lock().unwrap_or_else(PoisonError::into_inner);
        if report.warnings.len() == report.warnings_written {
            return None;
        }
        // Should the transaction fail, the end of the job writes them.
        report.warnings_written = report.warnings.len();
        Some(report.warnings.clone())
    }

    /// Why the job was ended, if nothing moved any more.
    fn stalled(&self) -> Option<Error> {
        let report = self.report.lock().unwrap_or_else(PoisonError::into_inner);
        let (timeout_ms, doing) = report.stalled.as_ref()?;
        let text = format!("nothing has moved for {} s; it was {doing}", timeout_ms / 1000);
        Some(Error::temporary("stalled", text).hint(
            "See the log of the node or the storage that did not answer; stall-timeout of the policy says how long \
             a backup waits.",
        ))
    }
}

/// Lets go of tasks that have ended.
fn reap(scope: &mut Scope) {
    while let Some(ended) = scope.try_join_next() {
        if let Err(error) = ended {
            tracing::error!(code = error.code(), "{}", error.report());
        }
    }
}

/// Says that the store did not take a write, waits, and returns the next pause (at most 5 s).
async fn wait_for_store(error: &Error, pause: Duration) -> Duration {
    tracing::error!(code = error.code(), "the end of a job is not written yet: {}", error.report());
    tokio::time::sleep(pause).await;
    (pause * 2).min(Duration::from_secs(5))
}
