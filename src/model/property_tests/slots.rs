//! Every slot is accounted for exactly once, whatever the clock and the process do (rules.md 1.1 to 1.7).

use std::collections::BTreeMap;

use proptest::prelude::*;
use proptest::test_runner::RngSeed;

use crate::model::ledger::{CLOCK_TOLERANCE_MS, CatchUp, RoutineSlots, Timetable, Wake, WakePlan, plan_wake};
use crate::model::schedule::COUNT_MAX;
use crate::model::{Schedule, SlotType, UnixMillis};

const START: UnixMillis = UnixMillis(1_761_436_800_000); // 2025-10-26T00:00:00Z, the night of a change

#[derive(Debug, Clone, Copy)]
enum Event {
    /// Time passes, and the timer wakes.
    Sleep(i64),
    /// No process runs for this long.
    Restart(i64),
    /// The wall clock moves by this much.
    Step(i64),
    /// The plan is lost: the process dies before its transaction.
    CrashBeforeCommit(i64),
    /// The transaction fails, and the process goes on.
    StoreFails(i64),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Outcome {
    Fired,
    FullDue,
    Missed,
}

/// The rows and marks that a store would hold.
struct Table {
    schedule: Schedule,
    effective_from: UnixMillis,
    mark: Option<UnixMillis>,
    rows: BTreeMap<UnixMillis, Outcome>,
}

impl Table {
    fn view(&self) -> Timetable<'_> {
        let above = |(slot, outcome): (&UnixMillis, &Outcome)| {
            (self.mark.is_none_or(|mark| *slot > mark) && *outcome != Outcome::Missed).then_some(*slot)
        };
        let (schedule, effective_from, mark) = (&self.schedule, self.effective_from, self.mark);
        Timetable { schedule, effective_from, mark, taken: self.rows.iter().filter_map(above).collect() }
    }

    fn insert(&mut self, slot: UnixMillis, outcome: Outcome) {
        assert!(self.schedule.fires_at(slot), "{slot} is no slot");
        let before = self.rows.insert(slot, outcome);
        assert_eq!(before, None, "slot {slot} is {outcome:?} and was {before:?} already");
    }

    fn commit(&mut self, plan: &WakePlan, slot_type: SlotType, now: UnixMillis) {
        for voided in plan.voided.iter().filter(|voided| voided.slot_type == slot_type) {
            assert_eq!(voided.later_than, now.plus_ms(CLOCK_TOLERANCE_MS));
            // A row of missed slots holds no keys: what of it lies ahead is to come.
            self.rows.retain(|slot, outcome| {
                *slot <= now || (*slot <= voided.later_than && *outcome != Outcome::Missed)
            });
        }
        for row in plan.missed.iter().filter(|row| row.slot_type == slot_type) {
            let slots: Vec<UnixMillis> = self
                .schedule
                .slots_after(row.slots.first.plus_ms(-1))
                .take_while(|slot| *slot <= row.slots.last)
                .filter(|slot| !self.rows.contains_key(slot))
                .filter(|slot| {
                    !plan.fires.iter().any(|fire| fire.key.slot == *slot && fire.key.slot_type == slot_type)
                })
                .collect();
            assert_eq!(slots.len().min(COUNT_MAX as usize), row.slots.count as usize);
            for slot in slots {
                self.insert(slot, Outcome::Missed);
            }
        }
        for fire in plan.fires.iter().filter(|fire| fire.key.slot_type == slot_type) {
            assert!(fire.key.slot <= now && fire.start_at >= now);
            self.insert(fire.key.slot, Outcome::Fired);
        }
        for key in plan.full_due.iter().filter(|key| key.slot_type == slot_type) {
            self.insert(key.slot, Outcome::FullDue);
        }
        for moved in plan.marks.iter().filter(|moved| moved.slot_type == slot_type) {
            self.mark = moved.mark.or(self.mark);
            self.effective_from = moved.effective_from.unwrap_or(self.effective_from);
        }
    }

    /// Every slot that the clock has reached has its row.
    fn check_complete(&self, now: UnixMillis) {
        for slot in self.schedule.slots_after(START.plus_ms(-1)).take_while(|slot| *slot <= now) {
            assert!(self.rows.contains_key(&slot), "slot {slot} was passed over, it is now {now}");
        }
        assert!(self.mark.is_none_or(|mark| mark <= now.plus_ms(CLOCK_TOLERANCE_MS)));
    }
}

fn events() -> impl Strategy<Value = Vec<Event>> {
    let minutes = |range: std::ops::Range<i64>| range.prop_map(|seconds| seconds * 1_000 + seconds % 7);
    prop::collection::vec(
        prop_oneof![
            10 => minutes(1..59).prop_map(Event::Sleep),
            2 => minutes(1..20_000).prop_map(Event::Restart),
            1 => minutes(-300..300).prop_map(Event::Step),
            1 => minutes(-9_000..9_000).prop_map(Event::Step),
            1 => minutes(1..59).prop_map(Event::CrashBeforeCommit),
            1 => minutes(1..59).prop_map(Event::StoreFails),
        ],
        1..60,
    )
}

fn schedules() -> impl Strategy<Value = &'static str> {
    prop::sample::select(vec![
        "0 * * * * ?",
        "0/20 * * * * ?",
        "0 0/5 * * * ?",
        "0 30 2 * * ?",
        "0 0/15 2,3 * * ?",
        "0 0 * * * ?",
        "0 7/10 1-4 * * ?",
    ])
}

proptest! {
    // The same cases in every run.
    #![proptest_config(ProptestConfig { rng_seed: RngSeed::Fixed(1), ..ProptestConfig::default() })]

    #[test]
    fn every_slot_fires_or_is_written_off_exactly_once(
        crons in (schedules(), schedules()),
        zone in prop::sample::select(vec!["UTC", "Europe/Berlin", "Australia/Lord_Howe"]),
        (skip, beside, jitter_ms) in (any::<bool>(), any::<bool>(), 0..60_000_i64),
        events in events(),
    ) {
        let table = |cron: &str| Table {
            schedule: Schedule::parse(cron, zone, START).expect("valid"),
            effective_from: START,
            mark: None,
            rows: BTreeMap::new(),
        };
        let (mut full, mut incremental) = (table(crons.0), table(crons.1));
        let (mut now, mut last_wake, mut store_failed) = (START, None, false);
        for event in events {
            let wakes = match event {
                Event::Sleep(ms) | Event::CrashBeforeCommit(ms) | Event::StoreFails(ms) => {
                    now = now.plus_ms(ms);
                    true
                }
                Event::Restart(ms) => {
                    (now, last_wake, store_failed) = (now.plus_ms(ms), None, false);
                    true
                }
                Event::Step(ms) => {
                    now = now.plus_ms(ms).max(START);
                    false
                }
            };
            if !wakes {
                continue;
            }
            let routines = [RoutineSlots {
                routine: "r",
                full: Some(full.view()),
                incremental: Some(incremental.view()),
                verify: None,
                catch_up: if skip { CatchUp::Skip } else { CatchUp::Once },
                catch_up_window_ms: None,
                jitter_ms,
                concurrent_incremental: beside,
                disabled: false,
            }];
            let plan = plan_wake(&Wake { now, last_wake, store_failed, routines: &routines });
            prop_assert!(plan.next_wake > now && plan.next_wake.since(now) <= 30_000);
            let caught_up = plan.fires.iter().filter(|fire| fire.catch_up).count();
            prop_assert!(caught_up <= usize::from(!skip));
            match event {
                Event::CrashBeforeCommit(_) => (last_wake, store_failed) = (None, false),
                Event::StoreFails(_) => store_failed = true,
                _ => {
                    full.commit(&plan, SlotType::Full, now);
                    incremental.commit(&plan, SlotType::Incremental, now);
                    (last_wake, store_failed) = (Some(now), false);
                    full.check_complete(now);
                    incremental.check_complete(now);
                    // rules.md 1.7; a clock set back can bring one of the two alone a second time.
                    let fires = |slot_type, slot| {
                        plan.fires.iter().any(|one| (one.key.slot_type, one.key.slot) == (slot_type, slot))
                    };
                    let twice = plan.fires.iter().any(|one| {
                        fires(SlotType::Full, one.key.slot) && fires(SlotType::Incremental, one.key.slot)
                    });
                    prop_assert!(beside || !twice, "a full and an incremental of one instant");
                }
            }
        }
    }
}
