//! Jobs and the byte budget (rules.md 8.1, 2.2).

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use tokio_util::sync::CancellationToken;

use super::{Bench, full, restore, routine, until, until_ended, with_runner};
use crate::error::Result;
use crate::jobs::{Ended, JobContext, Runner, RunnerOptions, Work, WorkFactory};
use crate::memory::plan::Need;
use crate::memory::{Budget, RestoreMemory};
use crate::model::JobKind;
use crate::model::JobStatus::{Failed, Queued, Running, Succeeded};
use crate::store::{JobRow, Trigger};

const MIB: u64 = 1 << 20;

/// Jobs that need so many bytes, by routine, and last until they are let go.
#[derive(Default)]
struct Sized {
    needs: BTreeMap<&'static str, u64>,
    shares: Arc<Mutex<BTreeMap<String, u64>>>,
    let_go: Arc<Mutex<BTreeMap<String, CancellationToken>>>,
}

fn name_of(job: &JobRow) -> String {
    job.routine.clone().unwrap_or_else(|| "restore".to_owned())
}

impl WorkFactory for Sized {
    fn work(&self, _job: &JobRow) -> Result<Box<dyn Work>> {
        let (shares, let_go) = (Arc::clone(&self.shares), Arc::clone(&self.let_go));
        Ok(Box::new(Lasting { shares, let_go }))
    }

    fn memory(&self, job: &JobRow) -> Result<Option<Need>> {
        if job.kind == JobKind::Restore {
            return Ok(Some(RestoreMemory { parallel: 1 }.need()));
        }
        let need = self.needs.get(name_of(job).as_str());
        Ok(need.map(|mib| Need { wish: mib * MIB, least: mib * MIB }))
    }
}

struct Lasting {
    shares: Arc<Mutex<BTreeMap<String, u64>>>,
    let_go: Arc<Mutex<BTreeMap<String, CancellationToken>>>,
}

#[async_trait]
impl Work for Lasting {
    async fn run(self: Box<Self>, ctx: JobContext) -> Ended {
        let end = {
            let name = name_of(&ctx.job);
            self.shares.lock().unwrap().insert(name.clone(), ctx.memory.bytes());
            self.let_go.lock().unwrap().entry(name).or_default().clone()
        };
        end.cancelled().await;
        Ended::Succeeded
    }
}

struct Table {
    bench: Bench,
    runner: Runner,
    budget: Budget,
    shares: Arc<Mutex<BTreeMap<String, u64>>>,
    let_go: Arc<Mutex<BTreeMap<String, CancellationToken>>>,
}

impl Table {
    /// With so much for backups, beside what is kept for a restore.
    async fn new<const N: usize>(mib: u64, needs: [(&'static str, u64); N]) -> Self {
        let budget = Budget::new(RestoreMemory::LEAST + mib * MIB);
        let factory = Sized { needs: needs.into(), ..Sized::default() };
        let (shares, let_go) = (Arc::clone(&factory.shares), Arc::clone(&factory.let_go));
        let bench = Bench::new().await;
        let options = RunnerOptions { owner: "test".to_owned(), max_running_jobs: 8, memory: budget.clone() };
        let runner = Runner::new(bench.jobs.clone(), Arc::new(factory), options);
        Self { bench, runner, budget, shares, let_go }
    }

    fn end(&self, name: &str) {
        self.let_go.lock().unwrap().entry(name.to_owned()).or_default().cancel();
    }

    fn share(&self, name: &str) -> Option<u64> {
        self.shares.lock().unwrap().get(name).copied()
    }
}

#[tokio::test]
async fn what_does_not_fit_now_waits_in_the_queue_and_nobody_overtakes_it() {
    let table = Table::new(10, [("a", 7), ("b", 6), ("c", 1)]).await;
    let bench = &table.bench;
    let (a, _, _) = bench.admit(full("a")).await;
    let (b, _, _) = bench.admit(full("b")).await;
    let (c, _, _) = bench.admit(full("c")).await;
    // It holds no data: memory is nothing to it.
    let retention = routine("d").on_backups(JobKind::Retention, Trigger::Api, None);
    let (d, _, _) = bench.admit(retention).await;
    with_runner(&table.runner, async {
        until(|| async { bench.row(d).await.status == Running }).await;
        let status = async |id| bench.row(id).await.status;
        assert_eq!((status(a).await, status(b).await, status(c).await), (Running, Queued, Queued));
        assert_eq!(table.budget.held(), 7 * MIB);
        assert_eq!(bench.way(b), [Queued]);
        table.end("a");
        until(|| async { bench.row(c).await.status == Running }).await;
        assert_eq!((status(a).await, status(b).await), (Succeeded, Running));
        assert_eq!(table.budget.held(), 7 * MIB);
        for name in ["b", "c", "d"] {
            table.end(name);
        }
        for id in [b, c, d] {
            assert_eq!(until_ended(bench, id).await.status, Succeeded);
        }
    })
    .await;
    assert_eq!((table.share("b"), table.share("d")), (Some(6 * MIB), Some(u64::MAX)));
    assert_eq!(table.budget.held(), 0);
}

#[tokio::test]
async fn a_restore_starts_while_backups_hold_all_the_rest() {
    let table = Table::new(10, [("a", 10), ("b", 1)]).await;
    let bench = &table.bench;
    let (a, _, _) = bench.admit(full("a")).await;
    let (b, _, _) = bench.admit(full("b")).await;
    with_runner(&table.runner, async {
        until(|| async { bench.row(a).await.status == Running }).await;
        let (first, _, _) = bench.admit(restore("other", Some(&["x"]))).await;
        let (second, _, _) = bench.admit(restore("other", Some(&["y"]))).await;
        until(|| async { table.share("restore").is_some() }).await;
        assert_eq!(table.share("restore"), Some(RestoreMemory::LEAST));
        assert_eq!(table.budget.held(), table.budget.total());
        assert_eq!((bench.row(second).await.status, bench.row(b).await.status), (Queued, Queued));
        table.end("restore");
        for id in [first, second] {
            assert_eq!(until_ended(bench, id).await.status, Succeeded);
        }
        assert_eq!(bench.row(b).await.status, Queued, "what is kept for restores is not for backups");
        table.end("a");
        table.end("b");
        assert_eq!(until_ended(bench, b).await.status, Succeeded);
    })
    .await;
}

#[tokio::test]
async fn nobody_overtakes_a_restore_that_waits() {
    let table = Table::new(10, [("a", 5), ("b", 5)]).await;
    let bench = &table.bench;
    let (a, _, _) = bench.admit(full("a")).await;
    let (first, _, _) = bench.admit(restore("other", Some(&["x"]))).await;
    with_runner(&table.runner, async {
        until(|| async { table.budget.held() == RestoreMemory::LEAST + 5 * MIB }).await;
        let (second, _, _) = bench.admit(restore("other", Some(&["y"]))).await;
        let (b, _, _) = bench.admit(full("b")).await;
        table.end("a");
        assert_eq!(until_ended(bench, a).await.status, Succeeded);
        // There would be room for it twice.
        let retention = routine("d").on_backups(JobKind::Retention, Trigger::Api, None);
        let (d, _, _) = bench.admit(retention).await;
        until(|| async { bench.row(d).await.status == Running }).await;
        assert_eq!((bench.row(second).await.status, bench.row(b).await.status), (Queued, Queued));
        for name in ["restore", "b", "d"] {
            table.end(name);
        }
        for id in [first, second, b, d] {
            assert_eq!(until_ended(bench, id).await.status, Succeeded);
        }
    })
    .await;
}

#[tokio::test]
async fn what_never_fits_fails_and_is_in_nobodys_way() {
    let table = Table::new(10, [("a", 11), ("b", 10)]).await;
    let bench = &table.bench;
    let (a, _, _) = bench.admit(full("a")).await;
    let (b, _, _) = bench.admit(full("b")).await;
    table.end("b");
    with_runner(&table.runner, async {
        let (a, b) = (until_ended(bench, a).await, until_ended(bench, b).await);
        assert_eq!((a.status, a.error_code.as_deref()), (Failed, Some("memory-budget")));
        assert!(a.error.unwrap().contains("needs 11 MiB"), "the sum is named");
        assert_eq!(b.status, Succeeded);
    })
    .await;
    assert_eq!(bench.way(a), [Queued, Failed]);
}
