//! Jobs in which nothing moves, and those that do not listen (rules.md 2.8, 2.9). The clock is moved by hand.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_trait::async_trait;

use super::{Bench, full, until_ended, with_runner};
use crate::error::Result;
use crate::jobs::{Ended, JobContext, Runner, RunnerOptions, Work, WorkFactory};
use crate::model::JobStatus;
use crate::store::{AttemptStart, AttemptStatus, JobId, JobRow};

/// What work does that stands still.
#[derive(Clone, Copy, PartialEq)]
enum Way {
    /// Waits until it is canceled.
    Listens,
    /// Hangs in a call that never comes back.
    Hangs,
    /// Waits on purpose, and then succeeds.
    Waits,
}

struct Still(Way, Arc<AtomicBool>);

impl WorkFactory for Still {
    fn work(&self, _job: &JobRow) -> Result<Box<dyn Work>> {
        Ok(Box::new(Self(self.0, Arc::clone(&self.1))))
    }
}

#[async_trait]
impl Work for Still {
    async fn run(self: Box<Self>, ctx: JobContext) -> Ended {
        ctx.progress.doing("", "opening the storage");
        ctx.progress.doing("n", "reading from the cluster");
        let start = AttemptStart {
            namespace: "n".to_owned(),
            folder: "f".to_owned(),
            storage: "s".to_owned(),
            created: super::NOW,
            from: None,
            promoted: None,
        };
        ctx.start_attempt("n", super::NOW, |_| start).await.unwrap();
        match self.0 {
            Way::Hangs => std::future::pending().await,
            Way::Listens => ctx.cancel.cancelled().await,
            Way::Waits => {
                let _waiting = ctx.progress.wait();
                while !self.1.load(Ordering::SeqCst) {
                    tokio::time::sleep(Duration::from_millis(5)).await;
                }
                return Ended::Succeeded;
            }
        }
        Ended::Canceled
    }

    fn stall_timeout_ms(&self) -> u64 {
        20_000
    }
}

/// Moves the clock on until `is_so`.
async fn pass_time(bench: &Bench, is_so: impl AsyncFn() -> bool) {
    while !is_so().await {
        bench.clock.advance_ms(2_000);
        bench.jobs.wake().notify_one();
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

async fn run(bench: &Bench, way: Way, cancel: bool) -> JobId {
    let (id, _, _) = bench.admit(full("r")).await;
    let over = Arc::new(AtomicBool::new(false));
    let options = RunnerOptions {
        owner: "test".to_owned(),
        max_running_jobs: 1,
        memory: crate::memory::Budget::default(),
    };
    let runner = Runner::new(bench.jobs.clone(), Arc::new(Still(way, Arc::clone(&over))), options);
    with_runner(&runner, async {
        let at = bench.clock.clone();
        let begin = crate::clock::Clock::now(&at);
        pass_time(bench, async || !bench.jobs.store().attempts(id).await.unwrap().is_empty()).await;
        if cancel {
            bench.jobs.cancel(id).await.unwrap();
        }
        if way == Way::Waits {
            pass_time(bench, async || crate::clock::Clock::now(&at).since(begin) > 200_000).await;
            assert_eq!(bench.row(id).await.status, JobStatus::Running);
            over.store(true, Ordering::SeqCst);
        }
        pass_time(bench, async || bench.row(id).await.status.is_terminal()).await;
    })
    .await;
    id
}

#[tokio::test]
async fn a_job_in_which_nothing_moves_fails_and_says_what_it_was_doing() {
    for way in [Way::Listens, Way::Hangs] {
        let bench = Bench::new().await;
        let id = run(&bench, way, false).await;
        let row = until_ended(&bench, id).await;
        assert_eq!((row.status, row.error_code.as_deref()), (JobStatus::Failed, Some("stalled")));
        let text = row.error.unwrap();
        assert!(text.contains("n: reading from the cluster") && text.contains("20 s"), "{text}");
        let attempt = &bench.jobs.store().attempts(id).await.unwrap()[0];
        assert_eq!(attempt.status, AttemptStatus::Unknown, "storage will say what became of it");
        let unsettled = bench.jobs.store().unsettled_attempts().await.unwrap();
        assert_eq!(unsettled.len(), 1);
    }
}

#[tokio::test]
async fn a_canceled_job_that_does_not_listen_is_aborted() {
    let bench = Bench::new().await;
    let id = run(&bench, Way::Hangs, true).await;
    assert_eq!(bench.row(id).await.status, JobStatus::Canceled);
}

#[tokio::test]
async fn a_wait_on_purpose_is_no_standstill() {
    let bench = Bench::new().await;
    let id = run(&bench, Way::Waits, false).await;
    assert_eq!(bench.row(id).await.status, JobStatus::Succeeded);
}

/// They are worth most while the job still runs, and to whoever finds the row after a crash.
#[tokio::test]
async fn warnings_reach_the_row_of_a_job_that_runs() {
    let bench = Bench::new().await;
    let (id, _, _) = bench.admit(full("r")).await;
    let runner = bench.runner(
        1,
        super::script(|ctx| async move {
            ctx.warn("closed", "It is closed.");
            ctx.cancel.cancelled().await;
            ctx.warn("late", "It is late.");
            Ended::Canceled
        }),
    );
    with_runner(&runner, async {
        pass_time(&bench, async || bench.row(id).await.warnings.len() == 1).await;
        assert_eq!(bench.row(id).await.status, JobStatus::Running);
        bench.jobs.cancel(id).await.unwrap();
        let row = until_ended(&bench, id).await;
        let codes: Vec<&str> = row.warnings.iter().map(|warning| warning.code.as_str()).collect();
        assert_eq!(codes, ["closed", "late"], "each once");
    })
    .await;
}
