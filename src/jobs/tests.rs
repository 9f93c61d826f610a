//! Admission, running and recovery against a real store in a temporary directory.

mod admission;
mod memory;
mod recovery;
mod retries;
mod running;
mod stalls;

use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use tempfile::TempDir;

use super::{
    Ended, JobContext, Jobs, NamespaceRetry, NewJob, Observer, RoutineJob, Runner, RunnerOptions, Transition,
    Work, WorkFactory,
};
use crate::clock::{ManualClock, SharedClock};
use crate::error::Result;
use crate::model::{BackupType, JobStatus, UnixMillis};
use crate::store::{JobFilter, JobId, JobRow, Store, Trigger};
use crate::tasks::Scope;

/// 2023-11-14T22:13:20Z.
const NOW: UnixMillis = UnixMillis(1_700_000_000_000);

type Step = Pin<Box<dyn Future<Output = Ended> + Send>>;
type Script = Arc<dyn Fn(JobContext) -> Step + Send + Sync>;

/// A service in small: a store, a clock, an ear.
struct Bench {
    dir: TempDir,
    clock: ManualClock,
    jobs: Jobs,
    heard: Arc<Heard>,
}

#[derive(Default)]
struct Heard {
    transitions: Mutex<Vec<Transition>>,
    retries: Mutex<Vec<NamespaceRetry>>,
}

impl Observer for Heard {
    fn on_transition(&self, transition: &Transition) {
        self.transitions.lock().unwrap().push(transition.clone());
    }

    fn on_retry(&self, retry: &NamespaceRetry) {
        self.retries.lock().unwrap().push(retry.clone());
    }
}

impl Bench {
    async fn new() -> Self {
        Self::in_dir(TempDir::new().unwrap(), ManualClock::at(NOW)).await
    }

    async fn in_dir(dir: TempDir, clock: ManualClock) -> Self {
        let shared: SharedClock = Arc::new(clock.clone());
        let store = Store::open(dir.path(), &shared).await.unwrap();
        let heard = Arc::new(Heard::default());
        Self {
            dir,
            clock,
            jobs: Jobs::new(store, shared, vec![heard.clone()], Arc::new(crate::jobs::follow::Nothing)),
            heard,
        }
    }

    /// The same state after the end of the process.
    async fn restarted(self) -> Self {
        self.jobs.store().close().await.unwrap();
        Self::in_dir(self.dir, self.clock).await
    }

    async fn admit(&self, job: NewJob) -> (JobId, JobStatus, Option<&'static str>) {
        let admitted = self.jobs.admit(job).await.unwrap();
        let code = admitted.reason.map(|reason| reason.code);
        // A runner may have taken the row further by now; what was announced first is what was stored.
        assert_eq!(self.way(admitted.id)[0], admitted.status);
        if admitted.status.is_terminal() {
            let row = self.row(admitted.id).await;
            assert_eq!((row.status, row.reason_code.as_deref()), (admitted.status, code));
        }
        (admitted.id, admitted.status, code)
    }

    async fn row(&self, id: JobId) -> JobRow {
        self.jobs.store().job(id).await.unwrap().unwrap()
    }

    async fn rows(&self) -> Vec<JobRow> {
        let mut rows = self.jobs.store().jobs(&JobFilter::default(), 100_000).await.unwrap().jobs;
        rows.reverse();
        rows
    }

    /// Makes a queued job a running one, as the runner would.
    async fn start(&self, id: JobId) -> JobRow {
        let mut tx = self.jobs.store().write().await.unwrap();
        let row = tx.start_job(id, "test", self.jobs.now(), self.jobs.now()).await.unwrap();
        tx.commit().await.unwrap();
        row
    }

    fn runner(&self, capacity: u32, script: Script) -> Runner {
        let options = RunnerOptions {
            owner: "test".to_owned(),
            max_running_jobs: capacity,
            memory: crate::memory::Budget::default(),
        };
        Runner::new(self.jobs.clone(), Arc::new(Scripted(script)), options)
    }

    /// The way of a job as its observers heard it.
    fn way(&self, id: JobId) -> Vec<JobStatus> {
        let heard = self.heard.transitions.lock().unwrap();
        heard.iter().filter(|transition| transition.job == id).map(|transition| transition.to).collect()
    }
}

struct Scripted(Script);

struct ScriptedWork(Script);

impl WorkFactory for Scripted {
    fn work(&self, _job: &JobRow) -> Result<Box<dyn Work>> {
        Ok(Box::new(ScriptedWork(Arc::clone(&self.0))))
    }
}

#[async_trait]
impl Work for ScriptedWork {
    async fn run(self: Box<Self>, ctx: JobContext) -> Ended {
        (self.0)(ctx).await
    }
}

fn script<F, S>(step: F) -> Script
where
    F: Fn(JobContext) -> S + Send + Sync + 'static,
    S: Future<Output = Ended> + Send + 'static,
{
    Arc::new(move |ctx| Box::pin(step(ctx)))
}

fn routine(name: &str) -> RoutineJob {
    RoutineJob {
        routine: name.to_owned(),
        cluster: "c".to_owned(),
        storage: "s".to_owned(),
        namespaces: Some(vec!["n".to_owned()]),
        concurrent_incremental: false,
        config: None,
        address: format!("local storage /s/{name}"),
    }
}

fn full(name: &str) -> NewJob {
    routine(name).job(BackupType::Full, Trigger::Api)
}

fn incremental(name: &str) -> NewJob {
    routine(name).job(BackupType::Incremental, Trigger::Api)
}

fn concurrent(name: &str) -> NewJob {
    RoutineJob { concurrent_incremental: true, ..routine(name) }.job(BackupType::Incremental, Trigger::Api)
}

fn restore(cluster: &str, namespaces: Option<&[&str]>) -> NewJob {
    let namespaces = namespaces.map(|names| names.iter().map(|name| (*name).to_owned()).collect());
    NewJob::restore(Some(cluster.to_owned()), namespaces)
}

/// Runs the runner until its test says so.
async fn with_runner<F: Future<Output = ()>>(runner: &Runner, test: F) {
    let mut scope = Scope::new(&tokio_util::sync::CancellationToken::new());
    let task = runner.clone();
    scope.spawn("runner", async move { task.run().await });
    test.await;
    runner.stop(std::time::Duration::ZERO).await;
    scope.join().await.unwrap();
}

/// Waits until `condition` holds; a test that waits in vain hangs and is ended by its harness.
async fn until<F: Future<Output = bool>>(condition: impl Fn() -> F) {
    while !condition().await {
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
}

async fn until_ended(bench: &Bench, id: JobId) -> JobRow {
    until(|| async { bench.row(id).await.status.is_terminal() }).await;
    bench.row(id).await
}
