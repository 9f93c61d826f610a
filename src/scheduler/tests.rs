//! Many wake-ups against a real store: each slot once, whatever the clock and the process do.

use std::collections::BTreeMap;
use std::sync::Arc;

use tempfile::TempDir;

use super::{RoutineSchedule, Scheduler, WakeReport, one_slot};
use crate::clock::{ManualClock, SharedClock};
use crate::jobs::{Jobs, RoutineJob};
use crate::model::ledger::{CatchUp, SlotKey};
use crate::model::{JobKind, JobStatus, Schedule, SlotType, UnixMillis};
use crate::store::{JobEnd, JobFilter, JobRow, SlotState, Store, Trigger};

use JobStatus::{Missed, Queued, Scheduled, Skipped, Succeeded};
use SlotType::{Full, Incremental, Verify};

/// 2024-03-01T00:00:00Z.
const START: UnixMillis = UnixMillis(1_709_251_200_000);

const MINUTE: i64 = 60_000;
const DAY: i64 = 24 * 60 * MINUTE;

struct Bench {
    dir: TempDir,
    clock: ManualClock,
    jobs: Jobs,
    scheduler: Scheduler,
    routines: Vec<RoutineSchedule>,
}

impl Bench {
    async fn new(routines: Vec<RoutineSchedule>) -> Self {
        // A moment after midnight: the instant of loading would be a slot itself.
        Self::open(TempDir::new().unwrap(), ManualClock::at(START.plus_ms(1)), routines).await
    }

    async fn open(dir: TempDir, clock: ManualClock, routines: Vec<RoutineSchedule>) -> Self {
        let shared: SharedClock = Arc::new(clock.clone());
        let store = Store::open(dir.path(), &shared).await.unwrap();
        let jobs = Jobs::new(store, shared, Vec::new(), Arc::new(crate::jobs::follow::Nothing));
        let scheduler = Scheduler::new(jobs.clone(), routines.clone()).await.unwrap();
        Self { dir, clock, jobs, scheduler, routines }
    }

    async fn restarted(self) -> Self {
        self.jobs.store().close().await.unwrap();
        Self::open(self.dir, self.clock, self.routines).await
    }

    async fn wake(&self) -> WakeReport {
        self.scheduler.wake().await.unwrap()
    }

    /// Wakes at `START` + `ms`, and ends what that queued, so that nothing is in the way of the next.
    async fn wake_at(&self, ms: i64) -> WakeReport {
        self.clock.set(START.plus_ms(ms));
        let report = self.wake().await;
        self.end_all().await;
        report
    }

    async fn end_all(&self) {
        let open = JobFilter { status: vec![Queued], ..JobFilter::default() };
        for row in self.jobs.store().jobs(&open, 100_000).await.unwrap().jobs {
            self.jobs.end(&row, &JobEnd::plain(Succeeded)).await.unwrap();
        }
    }

    async fn rows(&self) -> Vec<JobRow> {
        let mut rows = self.jobs.store().jobs(&JobFilter::default(), 100_000).await.unwrap().jobs;
        rows.reverse();
        rows
    }

    /// Each fire time (seconds after the start) and how many jobs that ran it has.
    async fn fired(&self, routine: &str, slot_type: SlotType) -> BTreeMap<i64, usize> {
        let mut fired = BTreeMap::new();
        let slots = self.jobs.store().slots(routine, slot_type, 100_000).await.unwrap();
        let rows = self.rows().await;
        for slot in slots.iter().filter(|slot| slot.state == SlotState::Fired) {
            let ran = rows.iter().filter(|row| row.slot_id == Some(slot.id) && row.status != Skipped).count();
            *fired.entry(slot.fire_s - START.secs()).or_default() += ran;
        }
        fired
    }
}

fn schedule(cron: &str) -> Schedule {
    Schedule::parse(cron, "UTC", START).unwrap()
}

fn routine(name: &str, full: &str) -> RoutineSchedule {
    RoutineSchedule {
        job: RoutineJob { routine: name.to_owned(), cluster: "c".to_owned(), ..RoutineJob::default() },
        full: Some(schedule(full)),
        incremental: None,
        verify: None,
        catch_up: CatchUp::Once,
        catch_up_window_ms: None,
        jitter_ms: 0,
        disabled: false,
    }
}

const EVERY_MINUTE: &str = "0 * * * * ?";
const DAILY: &str = "0 0 3 * * ?";

#[tokio::test]
async fn each_slot_fires_once_over_wakes_and_restarts() {
    let mut bench = Bench::new(vec![routine("r", EVERY_MINUTE)]).await;
    // Wakes at every 20 s, each second one after a restart within the same minute.
    for step in 1..=30 {
        bench.wake_at(step * 20_000).await;
        if step % 3 == 2 {
            bench = bench.restarted().await;
            bench.wake().await;
            bench.wake().await;
        }
    }
    let expected: BTreeMap<i64, usize> = (1..=10).map(|minute| (minute * 60, 1)).collect();
    assert_eq!(bench.fired("r", Full).await, expected);
    assert!(bench.rows().await.iter().all(|row| row.status == Succeeded));
    let schedules = bench.jobs.store().schedules().await.unwrap();
    assert_eq!(schedules[0].mark, Some(START.plus_ms(10 * MINUTE)), "the mark is in the store");
}

/// Verifications have slots like backups: unique, marked, caught up, missed (rules.md 1.1 to 1.3).
#[tokio::test]
async fn a_verification_fires_once_for_each_slot_and_makes_a_verify_job() {
    let both = RoutineSchedule { verify: Some(schedule(EVERY_MINUTE)), ..routine("r", DAILY) };
    let mut bench = Bench::new(vec![both]).await;
    for step in 1..=6 {
        bench.wake_at(step * 30_000).await;
        bench.wake().await;
        if step == 3 {
            bench = bench.restarted().await;
            bench.wake().await;
        }
    }
    let expected: BTreeMap<i64, usize> = (1..=3).map(|minute| (minute * 60, 1)).collect();
    assert_eq!(bench.fired("r", Verify).await, expected);
    assert!(bench.rows().await.iter().all(|row| row.kind == JobKind::Verify && row.slot_id.is_some()));
    assert_eq!(bench.scheduler.next_fire("r", Verify), Some(START.plus_ms(4 * MINUTE)));
    let bench = bench.restarted().await;
    bench.wake_at(10 * MINUTE + 10_000).await;
    let last: Vec<_> = bench.rows().await.into_iter().skip(3).map(|row| (row.status, row.trigger)).collect();
    assert_eq!(last, [(Succeeded, Trigger::CatchUp), (Missed, Trigger::Schedule)]);
    // Without the schedule its mark is gone.
    bench.scheduler.reload(vec![routine("r", DAILY)]).await.unwrap();
    let marks = bench.jobs.store().schedules().await.unwrap();
    assert_eq!(marks.iter().map(|row| row.slot_type).collect::<Vec<_>>(), [Full]);
}

/// rules.md 1.3: thirty days without a process.
#[tokio::test]
async fn a_long_downtime_is_one_catch_up_and_one_missed_row() {
    let mut both = routine("both", DAILY);
    both.incremental = Some(schedule("0 0 * * * ?"));
    let mut skips = routine("skips", DAILY);
    skips.catch_up = CatchUp::Skip;
    let mut disabled = routine("disabled", EVERY_MINUTE);
    disabled.disabled = true;
    let bench = Bench::new(vec![both, skips, disabled, routine("minutes", EVERY_MINUTE)]).await;
    bench.wake().await;
    // Thirty days later at 04:10: the full of 03:00 and the hour of 04:00 are both inside their windows.
    bench.clock.set(START.plus_ms(30 * DAY + 250 * MINUTE));
    let bench = bench.restarted().await;
    bench.wake_at(30 * DAY + 250 * MINUTE).await;
    let rows = bench.rows().await;
    let of = |name: &str| -> Vec<(Option<SlotType>, JobStatus, Trigger)> {
        let rows = rows.iter().filter(|row| row.routine.as_deref() == Some(name));
        rows.map(|row| (row.backup_type.map(SlotType::from), row.status, row.trigger)).collect()
    };
    assert_eq!(
        of("both"),
        [
            (Some(Full), Succeeded, Trigger::CatchUp),
            (Some(Full), Missed, Trigger::Schedule),
            (Some(Incremental), Missed, Trigger::Schedule),
        ]
    );
    assert_eq!(of("skips"), [(Some(Full), Missed, Trigger::Schedule)]);
    assert_eq!(of("disabled"), []);
    let missed = async |name, slot_type| {
        let slots = bench.jobs.store().slots(name, slot_type, 9).await.unwrap();
        slots
            .iter()
            .find(|slot| slot.state == SlotState::Missed)
            .map(|slot| (slot.count, slot.first_s, slot.fire_s))
    };
    let at = |day: i64, hour: i64| START.secs() + day * 86_400 + hour * 3600;
    assert_eq!(missed("both", Full).await, Some((30, at(0, 3), at(29, 3))));
    assert_eq!(missed("skips", Full).await, Some((31, at(0, 3), at(30, 3))));
    assert_eq!(missed("both", Incremental).await, Some((30 * 24 + 4, at(0, 1), at(30, 4))));
    assert_eq!(missed("minutes", Full).await.map(|(count, ..)| count), Some(10_000));
    let reason = rows.iter().find(|row| row.status == Missed).unwrap().reason.clone().unwrap();
    assert!(reason.starts_with("30 slots from 2024-03-01T03:00:00Z to "), "{reason}");
    assert!(bench.wake().await.admitted.is_empty(), "the gap is settled");
}

/// rules.md 1.4: by up to 5 minutes nothing fires twice; by more, what lies ahead is void and fires again.
#[tokio::test]
async fn a_clock_set_back_fires_nothing_twice_or_frees_what_lies_ahead() {
    let bench = Bench::new(vec![routine("r", EVERY_MINUTE)]).await;
    for minute in 1..=20 {
        bench.wake_at(minute * MINUTE).await;
    }
    assert_eq!(bench.rows().await.len(), 20);
    for minute in 16..=20 {
        assert!(bench.wake_at(minute * MINUTE).await.admitted.is_empty(), "back by 4 minutes: {minute}");
    }
    let report = bench.wake_at(10 * MINUTE).await;
    assert_eq!(report.voided, 5, "16 to 20 lie more than 5 minutes ahead");
    let bench = bench.restarted().await;
    for minute in 10..=22 {
        bench.wake_at(minute * MINUTE).await;
    }
    let expected: BTreeMap<i64, usize> = (1..=22).map(|minute| (minute * 60, 1)).collect();
    assert_eq!(bench.fired("r", Full).await, expected);
    let slots = bench.jobs.store().slots("r", Full, 100).await.unwrap();
    assert_eq!(slots.iter().filter(|slot| slot.state == SlotState::Void).count(), 5);
}

/// What fired before the clock was set back, and is not void, is neither missed nor caught up afterwards.
#[tokio::test]
async fn a_downtime_after_a_clock_set_back_misses_only_what_is_free() {
    let bench = Bench::new(vec![routine("r", EVERY_MINUTE)]).await;
    for minute in 1..=20 {
        bench.wake_at(minute * MINUTE).await;
    }
    bench.wake_at(10 * MINUTE).await;
    let bench = bench.restarted().await;
    bench.wake_at(17 * MINUTE + 30_000).await;
    let slots = bench.jobs.store().slots("r", Full, 100).await.unwrap();
    let missed: Vec<_> = slots.iter().filter(|slot| slot.state == SlotState::Missed).collect();
    assert_eq!(missed.len(), 1);
    assert_eq!((missed[0].count, missed[0].fire_s), (1, START.secs() + 16 * 60));
    assert_eq!(bench.fired("r", Full).await.into_keys().max(), Some(17 * 60));
}

/// The unique key has the last word, whatever the ledger was told.
#[tokio::test]
async fn a_slot_whose_key_is_taken_makes_no_job() {
    let bench = Bench::new(vec![routine("r", EVERY_MINUTE)]).await;
    bench.wake().await;
    let mut tx = bench.jobs.store().write().await.unwrap();
    let key = SlotKey { routine: "r".to_owned(), slot_type: Full, slot: START.plus_ms(MINUTE) };
    assert!(tx.insert_slots(&[one_slot(key)]).await.unwrap()[0].is_some());
    tx.commit().await.unwrap();
    assert!(bench.wake_at(MINUTE).await.admitted.is_empty());
    assert_eq!(bench.wake_at(2 * MINUTE).await.admitted.len(), 1);
}

#[tokio::test]
async fn a_clock_set_forward_is_a_downtime() {
    let bench = Bench::new(vec![routine("r", EVERY_MINUTE)]).await;
    bench.wake().await;
    bench.wake_at(MINUTE).await;
    bench.wake_at(DAY).await;
    let rows: Vec<_> = bench.rows().await.iter().map(|row| (row.status, row.trigger)).collect();
    assert_eq!(
        rows,
        [(Succeeded, Trigger::Schedule), (Succeeded, Trigger::CatchUp), (Missed, Trigger::Schedule)]
    );
}

/// rules.md 1.1: the same text and zone is no new version; another one has no past.
#[tokio::test]
async fn a_reload_fires_nothing_of_the_past() {
    let bench = Bench::new(vec![routine("r", EVERY_MINUTE)]).await;
    bench.clock.set(START.plus_ms(3 * MINUTE));
    bench.scheduler.reload(vec![routine("r", EVERY_MINUTE), routine("new", EVERY_MINUTE)]).await.unwrap();
    let versions = bench.jobs.store().schedules().await.unwrap();
    let from: Vec<_> = versions.iter().map(|row| (row.routine.as_str(), row.effective_from)).collect();
    assert_eq!(from, [("new", START.plus_ms(3 * MINUTE)), ("r", START.plus_ms(1))]);

    bench.wake_at(3 * MINUTE).await;
    // The instant of loading is a slot of the new version; nothing before it is.
    assert_eq!(bench.fired("new", Full).await.into_keys().collect::<Vec<_>>(), [180]);

    let mut off = routine("r", EVERY_MINUTE);
    off.disabled = true;
    bench.scheduler.reload(vec![off]).await.unwrap();
    assert_eq!(bench.scheduler.next_fire("r", Full), None);
    bench.wake_at(10 * MINUTE).await;
    bench.clock.set(START.plus_ms(10 * MINUTE + 1));
    bench.scheduler.reload(vec![routine("r", EVERY_MINUTE)]).await.unwrap();
    assert_eq!(bench.scheduler.next_fire("r", Full), Some(START.plus_ms(11 * MINUTE)));
    bench.wake_at(11 * MINUTE).await;
    assert_eq!(bench.fired("r", Full).await.into_keys().collect::<Vec<_>>(), [180, 660]);
    assert_eq!(bench.fired("new", Full).await.len(), 1, "a routine that is gone fires no more");
}

/// rules.md 1.2: the timer may be late for a slot whose schedule is replaced, or whose routine goes, just then.
#[tokio::test]
async fn what_was_due_when_schedules_were_replaced_has_fired_once() {
    let bench = Bench::new(vec![routine("r", EVERY_MINUTE), routine("goes", EVERY_MINUTE)]).await;
    bench.wake_at(MINUTE).await;
    bench.clock.set(START.plus_ms(2 * MINUTE + 5));
    // The same instants in other words.
    bench.scheduler.reload(vec![routine("r", "0 0/1 * * * ?")]).await.unwrap();
    bench.wake_at(2 * MINUTE + 10).await;
    bench.wake_at(3 * MINUTE).await;
    assert_eq!(bench.fired("r", Full).await, BTreeMap::from([(60, 1), (120, 1), (180, 1)]));
    assert_eq!(bench.fired("goes", Full).await, BTreeMap::from([(60, 1), (120, 1)]));
    let version = &bench.jobs.store().schedules().await.unwrap()[0];
    assert_eq!(version.effective_from, START.plus_ms(2 * MINUTE + 5));
}

/// rules.md 1.7, abs.md 4.1.
#[tokio::test]
async fn a_full_and_an_incremental_of_one_instant() {
    let mut alone = routine("alone", DAILY);
    alone.incremental = Some(schedule("0 0 * * * ?"));
    let mut beside = alone.clone();
    beside.job.routine = "beside".to_owned();
    beside.job.concurrent_incremental = true;
    let bench = Bench::new(vec![alone, beside]).await;
    bench.wake_at(3 * 60 * MINUTE - 30_000).await;
    let before = bench.rows().await.len();
    bench.clock.set(START.plus_ms(3 * 60 * MINUTE));
    bench.wake().await;
    let rows: Vec<_> = bench.rows().await.split_off(before);
    let mut rows: Vec<_> = rows
        .iter()
        .map(|row| {
            (
                row.routine.as_deref().unwrap(),
                SlotType::from(row.backup_type.unwrap()),
                row.status,
                row.reason_code.as_deref(),
            )
        })
        .collect();
    rows.sort_by_key(|row| (row.0, row.1));
    assert_eq!(
        rows,
        [
            ("alone", Full, Queued, None),
            ("alone", Incremental, Skipped, Some("full-due")),
            ("beside", Full, Queued, None),
            ("beside", Incremental, Queued, None),
        ]
    );
}

/// rules.md 1.8: the delay is drawn from the slot, so that it is the same after a restart.
#[tokio::test]
async fn jitter_delays_the_job_and_not_the_slot() {
    let mut late = routine("late", EVERY_MINUTE);
    late.jitter_ms = 30_000;
    let bench = Bench::new(vec![late]).await;
    bench.clock.set(START.plus_ms(MINUTE));
    bench.wake().await;
    let row = bench.rows().await.remove(0);
    assert_eq!(row.status, Scheduled);
    assert!((1..=30_000).contains(&row.due.since(START.plus_ms(MINUTE))), "{}", row.due);
    assert_eq!(bench.fired("late", Full).await.into_keys().collect::<Vec<_>>(), [60]);
}

#[tokio::test]
async fn a_wake_that_cannot_be_written_did_not_happen() {
    let bench = Bench::new(vec![routine("r", EVERY_MINUTE)]).await;
    bench.wake().await;
    bench.clock.set(START.plus_ms(MINUTE));
    bench.jobs.store().close().await.unwrap();
    assert_eq!(bench.scheduler.wake().await.unwrap_err().code(), "store-busy");
    let bench = bench.restarted().await;
    bench.wake().await;
    assert_eq!(bench.fired("r", Full).await, BTreeMap::from([(60, 1)]));
}

#[tokio::test]
async fn only_a_slot_in_its_window_may_be_tried_again() {
    let mut skips = routine("skips", DAILY);
    skips.catch_up = CatchUp::Skip;
    let mut short = routine("short", DAILY);
    short.catch_up_window_ms = Some(MINUTE);
    let bench = Bench::new(vec![routine("r", DAILY), skips, short]).await;
    bench.wake_at(3 * 60 * MINUTE - 30_000).await;
    bench.wake_at(3 * 60 * MINUTE).await;
    let may = async |name| {
        let slot = bench.jobs.store().slots(name, Full, 1).await.unwrap().remove(0);
        bench.scheduler.may_catch_up(&slot)
    };
    assert_eq!((may("r").await, may("skips").await, may("short").await), (true, false, true));
    bench.clock.set(START.plus_ms(3 * 60 * MINUTE + 2 * MINUTE));
    assert_eq!((may("r").await, may("short").await), (true, false));
    // Half the distance to the following slot: twelve hours.
    bench.clock.set(START.plus_ms(15 * 60 * MINUTE + 1));
    assert!(!may("r").await);
}

/// The loop itself, on the machine's timer: a reload wakes it.
#[tokio::test]
async fn the_loop_fires_after_a_reload() {
    let bench = Bench::new(Vec::new()).await;
    let token = tokio_util::sync::CancellationToken::new();
    let mut scope = crate::tasks::Scope::new(&token);
    let (scheduler, stop) = (bench.scheduler.clone(), token.clone());
    scope.spawn("scheduler", async move { scheduler.run(&stop).await });
    // The instant of loading is a slot.
    bench.clock.set(START.plus_ms(MINUTE));
    bench.scheduler.reload(vec![routine("r", EVERY_MINUTE)]).await.unwrap();
    while bench.rows().await.is_empty() {
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
    token.cancel();
    scope.join().await.unwrap();
}

#[tokio::test]
async fn five_thousand_routines_in_one_second() {
    let routines: Vec<_> = (0..5000)
        .map(|n| RoutineSchedule {
            incremental: Some(schedule("0 30 * * * ?")),
            ..routine(&format!("r{n}"), DAILY)
        })
        .collect();
    let begin = std::time::Instant::now();
    let bench = Bench::new(routines).await;
    println!("5,000 routines put in force in {:?}", begin.elapsed());
    bench.clock.set(START.plus_ms(3 * 60 * MINUTE - 1));
    bench.wake().await;
    bench.end_all_at_once().await;
    bench.clock.set(START.plus_ms(3 * 60 * MINUTE));
    let begin = std::time::Instant::now();
    let report = bench.wake().await;
    println!("5,000 slots fired in {:?}", begin.elapsed());
    assert_eq!(report.admitted.iter().filter(|one| one.status == Queued).count(), 5000);
    let begin = std::time::Instant::now();
    assert!(bench.wake().await.admitted.is_empty());
    println!("a wake-up with nothing due in {:?}", begin.elapsed());
}

impl Bench {
    /// Ends every open job in one transaction.
    async fn end_all_at_once(&self) {
        let mut tx = self.jobs.store().write().await.unwrap();
        for row in tx.open_jobs_in(Queued).await.unwrap() {
            tx.end_job(&row, &JobEnd::plain(Succeeded), self.clock_now()).await.unwrap();
        }
        tx.commit().await.unwrap();
    }

    fn clock_now(&self) -> UnixMillis {
        self.jobs.clock().now()
    }
}
