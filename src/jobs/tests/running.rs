use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::sync::{Notify, Semaphore};

use super::{Bench, NOW, full, incremental, restore, script, until, until_ended, with_runner};
use crate::error::Error;
use crate::jobs::{Ended, JobContext, NewJob};
use crate::model::{BackupType, JobStatus, UnixMillis};
use crate::store::{AttemptEnd, AttemptStart, AttemptStatus, DeletionRow, JobId};

use JobStatus::{Canceled, Failed, Interrupted, Queued, Running, Scheduled, Skipped, Succeeded};

/// Work that lasts until it is cancelled.
async fn wait_for_cancel(ctx: JobContext) -> Ended {
    ctx.cancel.cancelled().await;
    Ended::Canceled
}

#[tokio::test]
async fn a_job_goes_its_way_and_its_report_is_in_the_row() {
    let bench = Bench::new().await;
    let (id, _, _) = bench.admit(full("r")).await;
    let runner = bench.runner(
        1,
        script(|ctx| async move {
            ctx.progress.add_total(10);
            ctx.progress.add_done(7);
            ctx.warn("closed", "It is closed.");
            ctx.warn("closed", "It is closed.");
            ctx.retrying("n", &Error::temporary("cluster-unreachable", "connect"));
            ctx.set_result(serde_json::json!({"promoted": false}));
            ctx.set_counters(serde_json::json!({"records": 7}));
            Ended::Succeeded
        }),
    );
    with_runner(&runner, async {
        let row = until_ended(&bench, id).await;
        assert_eq!((row.status, row.owner.as_deref(), row.started), (Succeeded, Some("test"), Some(NOW)));
        assert_eq!(row.warnings.iter().map(|one| one.code.as_str()).collect::<Vec<_>>(), ["closed"]);
        assert_eq!(row.result, Some(serde_json::json!({"promoted": false})));
        assert_eq!(row.counters, Some(serde_json::json!({"records": 7})));
    })
    .await;
    assert_eq!(bench.way(id), [Queued, Running, Succeeded]);
    assert_eq!(
        bench.jobs.store().progress(id).await.unwrap().unwrap().done,
        7,
        "the last progress is written"
    );
    assert_eq!(bench.heard.retries.lock().unwrap()[0].code, "cluster-unreachable");
    assert!(runner.live(id).is_none());
}

#[tokio::test]
async fn each_end_is_told_apart() {
    let bench = Bench::new().await;
    let mut ids = Vec::new();
    for name in ["skips", "fails", "panics", "interrupts"] {
        ids.push(bench.admit(full(name)).await.0);
    }
    let runner = bench.runner(
        8,
        script(|ctx| async move {
            match ctx.job.routine.as_deref() {
                Some("skips") => Ended::Skipped { code: "no-chain", reason: "No full.".to_owned() },
                Some("fails") => {
                    Ended::Failed(Error::permanent("bad-filter", "parse the filter").hint("Mend it."))
                }
                Some("interrupts") => Ended::Interrupted { code: "checkpoint", reason: "Later.".to_owned() },
                _ => panic!("a defect"),
            }
        }),
    );
    with_runner(&runner, async {
        let mut ends = Vec::new();
        for id in ids {
            let row = until_ended(&bench, id).await;
            ends.push((row.status, row.reason_code.or(row.error_code).unwrap_or_default()));
        }
        let expected = [
            (Skipped, "no-chain"),
            (Failed, "bad-filter"),
            (Failed, "task-panicked"),
            (Interrupted, "checkpoint"),
        ];
        assert_eq!(ends, expected.map(|(status, code)| (status, code.to_owned())));
    })
    .await;
}

/// rules.md 2.2: restores go first and do not count; backups run up to the capacity, first come first served.
#[tokio::test]
async fn capacity_holds_backups_and_not_restores() {
    let bench = Bench::new().await;
    let order = Arc::new(std::sync::Mutex::new(Vec::new()));
    let (most, now) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let gate = Arc::new(Semaphore::new(0));
    let work = {
        let (order, most, now, gate) = (order.clone(), most.clone(), now.clone(), gate.clone());
        script(move |ctx| {
            let (order, most, now, gate) = (order.clone(), most.clone(), now.clone(), gate.clone());
            async move {
                order.lock().unwrap().push(ctx.job.id);
                if ctx.job.routine.is_some() {
                    most.fetch_max(now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                }
                gate.acquire().await.unwrap().forget();
                now.fetch_sub(usize::from(ctx.job.routine.is_some()), Ordering::SeqCst);
                Ended::Succeeded
            }
        })
    };
    let mut backups = Vec::new();
    for name in ["a", "b", "c", "d", "e"] {
        backups.push(bench.admit(full(name)).await.0);
    }
    let last = bench.admit(restore("elsewhere", None)).await.0;
    let runner = bench.runner(2, work);
    with_runner(&runner, async {
        until(|| async { order.lock().unwrap().len() == 3 }).await;
        assert_eq!(bench.row(backups[2]).await.status, Queued);
        assert_eq!(
            runner.live_jobs().iter().map(|(row, _)| row.id).collect::<Vec<_>>(),
            [backups[0], backups[1], last]
        );
        gate.add_permits(6);
        for id in &backups {
            until_ended(&bench, *id).await;
        }
    })
    .await;
    assert_eq!(most.load(Ordering::SeqCst), 2);
    let order = order.lock().unwrap().clone();
    let started = |id: JobId| order.iter().position(|one| *one == id).unwrap();
    assert!(backups[2..].is_sorted_by_key(|id| started(*id)), "{order:?}");
    let way: Vec<JobId> = bench
        .heard
        .transitions
        .lock()
        .unwrap()
        .iter()
        .filter(|transition| transition.to == Running)
        .map(|transition| transition.job)
        .collect();
    assert_eq!(way[0], last, "the restore leaves the queue first");
}

/// rules.md 2.2: overlap and exclusion are decided again when a job leaves the queue.
#[tokio::test]
async fn what_changed_while_a_job_waited_refuses_it() {
    let bench = Bench::new().await;
    let (incr, _, _) = bench.admit(incremental("r")).await;
    let (full_id, _, _) = bench.admit(full("r")).await;
    bench.start(full_id).await;
    let mut job = full("q");
    job.namespaces = Some(vec!["m".to_owned()]);
    let (excluded, _, _) = bench.admit(job).await;
    let (restore_id, _, _) = bench.admit(restore("c", Some(&["o"]))).await;
    let row = bench.start(restore_id).await;
    // The plan of the restore finds that it writes "m" too.
    let mut tx = bench.jobs.store().write().await.unwrap();
    let mut claims = tx.claims_of(row.id).await.unwrap();
    claims[0].namespace = "m".to_owned();
    tx.insert_claims(&claims).await.unwrap();
    tx.commit().await.unwrap();
    let runner = bench.runner(8, script(wait_for_cancel));
    with_runner(&runner, async {
        let ends = [until_ended(&bench, incr).await, until_ended(&bench, excluded).await];
        let codes = ends.map(|row| (row.status, row.reason_code.unwrap()));
        assert_eq!(codes, [(Skipped, "full-running".to_owned()), (Skipped, "restore-running".to_owned())]);
    })
    .await;
    assert_eq!(bench.way(incr), [Queued, Skipped]);
}

#[tokio::test]
async fn a_delayed_job_is_decided_when_it_is_due() {
    let bench = Bench::new().await;
    let due = |name| {
        let mut job = full(name);
        job.due = Some(NOW.plus_ms(60_000));
        job
    };
    let (free, _, _) = bench.admit(due("r")).await;
    let (taken, _, _) = bench.admit(due("q")).await;
    let (running, _, _) = bench.admit(full("q")).await;
    let runner = bench.runner(8, script(wait_for_cancel));
    with_runner(&runner, async {
        until(|| async { bench.row(running).await.status == Running }).await;
        assert_eq!(bench.row(free).await.status, Scheduled);
        bench.clock.advance_ms(60_000);
        until(|| async { bench.row(free).await.status == Running }).await;
        assert_eq!(until_ended(&bench, taken).await.reason_code.as_deref(), Some("full-running"));
        assert_eq!(bench.row(free).await.queued, Some(NOW.plus_ms(60_000)));
    })
    .await;
    assert_eq!(bench.way(free)[..3], [Scheduled, Queued, Running]);
}

#[tokio::test]
async fn cancel_ends_what_waits_at_once_and_what_runs_by_its_token() {
    let bench = Bench::new().await;
    let (runs, _, _) = bench.admit(full("r")).await;
    let runner = bench.runner(1, script(wait_for_cancel));
    with_runner(&runner, async {
        until(|| async { bench.row(runs).await.status == Running }).await;
        let (waits, _, _) = bench.admit(full("q")).await;
        assert_eq!(bench.jobs.cancel(waits).await.unwrap().status, Canceled);
        assert_eq!(bench.jobs.cancel_routine("r").await.unwrap(), 1);
        assert_eq!(until_ended(&bench, runs).await.status, Canceled);
        assert_eq!(bench.jobs.cancel(runs).await.unwrap_err().code(), "job-ended");
        assert_eq!(bench.jobs.cancel(JobId(1)).await.unwrap_err().code(), "job-not-found");
        assert_eq!(bench.way(waits), [Queued, Canceled]);
    })
    .await;
}

/// rules.md 2.8: the row is enough, whoever wrote it.
#[tokio::test]
async fn a_cancel_that_stands_in_the_row_only_is_seen() {
    let bench = Bench::new().await;
    let (id, _, _) = bench.admit(full("r")).await;
    let runner = bench.runner(1, script(wait_for_cancel));
    with_runner(&runner, async {
        until(|| async { bench.row(id).await.status == Running }).await;
        let mut tx = bench.jobs.store().write().await.unwrap();
        tx.request_cancel(id, NOW).await.unwrap();
        tx.commit().await.unwrap();
        assert_eq!(until_ended(&bench, id).await.status, Canceled);
    })
    .await;
}

#[tokio::test]
async fn a_cancel_that_came_too_late_is_a_warning() {
    let bench = Bench::new().await;
    let (id, _, _) = bench.admit(full("r")).await;
    let runner = bench.runner(
        1,
        script(|ctx| async move {
            ctx.cancel.cancelled().await;
            Ended::Succeeded
        }),
    );
    with_runner(&runner, async {
        until(|| async { bench.row(id).await.status == Running }).await;
        bench.jobs.cancel(id).await.unwrap();
        let row = until_ended(&bench, id).await;
        assert_eq!((row.status, row.warnings[0].code.as_str()), (Succeeded, "cancel-too-late"));
    })
    .await;
}

/// rules.md 6.4: no new jobs, the grace is given, then `interrupted`; a job that ends in its grace ends as it says.
#[tokio::test]
async fn a_stop_gives_its_grace_and_leaves_no_row_running() {
    let bench = Bench::new().await;
    let (ends, _, _) = bench.admit(full("ends")).await;
    let (stays, _, _) = bench.admit(full("stays")).await;
    let (waits, _, _) = bench.admit(full("waits")).await;
    let runner = bench.runner(
        2,
        script(|ctx| async move {
            if ctx.job.routine.as_deref() == Some("ends") {
                ctx.stopping.cancelled().await;
                return Ended::Succeeded;
            }
            wait_for_cancel(ctx).await
        }),
    );
    with_runner(&runner, async {
        until(|| async { runner.live_jobs().len() == 2 }).await;
        runner.stop(Duration::from_millis(200)).await;
    })
    .await;
    assert_eq!(bench.row(ends).await.status, Succeeded);
    let row = bench.row(stays).await;
    assert_eq!((row.status, row.reason_code.as_deref()), (Interrupted, Some("shutdown")));
    assert_eq!(bench.row(waits).await.status, Queued, "what waits survives");
}

#[tokio::test]
async fn a_second_stop_aborts_what_does_not_listen() {
    let bench = Bench::new().await;
    let (id, _, _) = bench.admit(full("r")).await;
    let runner = bench.runner(1, script(|_| std::future::pending()));
    with_runner(&runner, async {
        until(|| async { bench.row(id).await.status == Running }).await;
        let hour = Duration::from_hours(1);
        tokio::join!(runner.stop(hour), runner.stop(hour));
    })
    .await;
    let row = bench.row(id).await;
    assert_eq!((row.status, row.reason_code.as_deref()), (Interrupted, Some("shutdown")));
    assert_eq!(bench.way(id), [Queued, Running, Interrupted]);
}

#[tokio::test]
async fn a_task_that_lost_its_job_can_write_nothing() {
    let bench = Bench::new().await;
    let (id, _, _) = bench.admit(full("r")).await;
    let (lost, tried) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let codes = Arc::new(std::sync::Mutex::new(Vec::new()));
    let work = {
        let (lost, tried, codes) = (lost.clone(), tried.clone(), codes.clone());
        script(move |ctx| {
            let (lost, tried, codes) = (lost.clone(), tried.clone(), codes.clone());
            async move {
                lost.notified().await;
                let start = ctx.start_attempt("n", NOW, |_| attempt("n")).await.map(|_| ());
                let claim = ctx.claim(&["c".to_owned()], &["n".to_owned()]).await;
                let created = ctx.fix_created(None).await.map(|_| ());
                for result in [start, claim, created] {
                    codes.lock().unwrap().push(result.unwrap_err().code());
                }
                tried.notify_one();
                Ended::Succeeded
            }
        })
    };
    let runner = bench.runner(1, work);
    with_runner(&runner, async {
        until(|| async { bench.row(id).await.status == Running }).await;
        let row = bench.row(id).await;
        let end = crate::store::JobEnd::because(Interrupted, "taken-over", "By another instance.");
        bench.jobs.end(&row, &end).await.unwrap();
        lost.notify_one();
        tried.notified().await;
        until(|| async { runner.live(id).is_none() }).await;
    })
    .await;
    assert_eq!(*codes.lock().unwrap(), ["stale-generation"; 3]);
    assert_eq!(bench.row(id).await.reason_code.as_deref(), Some("taken-over"));
}

#[tokio::test]
async fn created_is_later_than_any_before_and_hardly_ahead_of_the_clock() {
    let bench = Bench::new().await;
    let seen = Arc::new(std::sync::Mutex::new(Vec::new()));
    let work = {
        let seen = seen.clone();
        script(move |ctx| {
            let seen = seen.clone();
            async move {
                let first = ctx.fix_created(None).await.map_err(|error| error.code());
                let again = ctx.fix_created(None).await.map_err(|error| error.code());
                assert_eq!(first, again, "fixed once");
                seen.lock().unwrap().push(first);
                Ended::Succeeded
            }
        })
    };
    let runner = bench.runner(1, work);
    with_runner(&runner, async {
        for back_ms in [0, 0, 998, 60_000, 1_000_000] {
            bench.clock.set(NOW.plus_ms(-back_ms));
            let (id, _, _) = bench.admit(full("r")).await;
            assert_eq!(until_ended(&bench, id).await.status, Succeeded);
        }
    })
    .await;
    let seen = seen.lock().unwrap();
    // What is over five minutes in the future is void, and no floor.
    let beyond = Ok(NOW.plus_ms(-1_000_000));
    assert_eq!(*seen, [Ok(NOW), Ok(NOW.plus_ms(1)), Ok(NOW.plus_ms(2)), Err("clock-behind"), beyond]);
}

/// rules.md 2.6, 2.7: progress and leases are written every 5 s.
#[tokio::test]
async fn progress_and_lease_are_written_while_a_job_runs() {
    let bench = Bench::new().await;
    let (id, _, _) = bench.admit(full("r")).await;
    let work = script(|ctx| async move {
        ctx.progress.add_total(100);
        ctx.progress.add_done(40);
        wait_for_cancel(ctx).await
    });
    let runner = bench.runner(1, work);
    with_runner(&runner, async {
        until(|| async { runner.live(id).is_some_and(|live| live.percent == 40) }).await;
        let lease = bench.row(id).await.lease_until.unwrap();
        assert_eq!(bench.jobs.store().progress(id).await.unwrap(), None);
        bench.clock.advance_ms(5000);
        until(|| async { bench.jobs.store().progress(id).await.unwrap().is_some() }).await;
        assert_eq!(bench.jobs.store().progress(id).await.unwrap().unwrap().done, 40);
        assert_eq!(bench.row(id).await.lease_until, Some(lease.plus_ms(5000)));
    })
    .await;
}

/// rules.md 2.4: claimed again by the plan, once the namespaces are known.
#[tokio::test]
async fn the_plan_narrows_its_claim_and_is_refused_where_a_restore_is() {
    let bench = Bench::new().await;
    let (writes, _, _) = bench.admit(restore("c", Some(&["taken"]))).await;
    bench.start(writes).await;
    let mut job = full("r");
    job.cluster = Some("alias-of-c".to_owned());
    job.namespaces = None;
    let (id, _, _) = bench.admit(job).await;
    let work = script(|ctx| async move {
        let names = ["alias-of-c".to_owned(), "c".to_owned()];
        let refused = ctx.claim(&names, &["free".to_owned(), "taken".to_owned()]).await.unwrap_err();
        assert_eq!(refused.code(), "restore-running");
        ctx.claim(&names, &["free".to_owned()]).await.unwrap();
        wait_for_cancel(ctx).await
    });
    let runner = bench.runner(1, work);
    with_runner(&runner, async {
        until(|| async { bench.row(id).await.namespaces.is_some() }).await;
        assert_eq!(bench.row(id).await.namespaces.unwrap(), ["free"]);
        assert_eq!(bench.admit(restore("c", Some(&["free"]))).await.2, Some("backup-running"));
        assert_eq!(bench.admit(restore("c", Some(&["other"]))).await.1, Queued);
    })
    .await;
}

#[tokio::test]
async fn attempts_are_numbered_and_kept() {
    let bench = Bench::new().await;
    let (id, _, _) = bench.admit(full("r")).await;
    let runner = bench.runner(
        1,
        script(|ctx| async move {
            let created = ctx.fix_created(None).await.unwrap();
            for (folder, status) in [("n", AttemptStatus::Failed), ("n.2", AttemptStatus::Committed)] {
                let row = ctx
                    .start_attempt("n", created, |attempt_number| {
                        assert_eq!(folder == "n.2", attempt_number == 2);
                        attempt(folder)
                    })
                    .await
                    .unwrap();
                ctx.end_attempt(&row, &AttemptEnd::plain(status, NOW)).await.unwrap();
            }
            Ended::Succeeded
        }),
    );
    with_runner(&runner, async {
        assert_eq!(until_ended(&bench, id).await.status, Succeeded);
    })
    .await;
    let rows = bench.jobs.store().attempts(id).await.unwrap();
    let kept: Vec<_> = rows.iter().map(|row| (row.attempt, row.start.folder.as_str(), row.status)).collect();
    assert_eq!(kept, [(1, "n", AttemptStatus::Failed), (2, "n.2", AttemptStatus::Committed)]);
}

fn attempt(folder: &str) -> AttemptStart {
    AttemptStart {
        namespace: "n".to_owned(),
        folder: folder.to_owned(),
        storage: "s".to_owned(),
        created: NOW,
        from: None::<UnixMillis>,
        promoted: None,
    }
}

/// rules.md 5.3, 5.4: who pins something is told if it is being deleted; what lies around it may be.
#[tokio::test]
async fn a_pin_on_what_is_being_deleted_is_refused_and_pins_end_with_their_job() {
    let bench = Bench::new().await;
    let marked = DeletionRow {
        address: "p/r/backup/1/data/n".to_owned(),
        place: "p".to_owned(),
        storage: None,
        routine: "r".to_owned(),
        backup_type: BackupType::Full,
        folder: "r/backup/1/data/n".to_owned(),
        namespace: "n".to_owned(),
        created: NOW,
        bytes: 1,
        marked: NOW,
        job_id: JobId(1),
    };
    let mut tx = bench.jobs.store().write().await.unwrap();
    tx.insert_deletions(&[marked]).await.unwrap();
    tx.commit().await.unwrap();
    let pins = |bench: &Bench| {
        let store = bench.jobs.store().clone();
        async move { store.write().await.unwrap().pins().await.unwrap() }
    };
    let job = NewJob { pins: vec!["q/r".to_owned()], ..restore("c", None) };
    let (id, ..) = bench.admit(job).await;
    assert_eq!(pins(&bench).await.len(), 1, "from its admission on");
    let runner = bench.runner(
        1,
        script(|ctx| async move {
            for wide in ["p", "p/r", "p/r/backup/1/data/n2"] {
                ctx.pin([wide.to_owned()]).await.unwrap();
            }
            let pins = ctx.store.write().await.unwrap().pins().await.unwrap();
            let held: Vec<&str> = pins.iter().map(|pin| pin.address.as_str()).collect();
            assert_eq!(held, ["p/r/backup/1/data/n2"], "in place of those before");
            for gone in ["p/r/backup/1/data/n", "p/r/backup/1/data/n/0_n_1.asb"] {
                assert_eq!(ctx.pin([gone.to_owned()]).await.unwrap_err().code(), "backup-marked");
            }
            Ended::Succeeded
        }),
    );
    with_runner(&runner, async {
        assert_eq!(until_ended(&bench, id).await.status, JobStatus::Succeeded);
    })
    .await;
    assert!(pins(&bench).await.is_empty());
}
