use chrono::DateTime;

use super::*;

fn utc(text: &str) -> UnixMillis {
    DateTime::parse_from_rfc3339(&format!("2025-06-01T{text}Z")).expect("an instant").to_utc().into()
}

fn schedule(cron: &str) -> Schedule {
    Schedule::parse(cron, "UTC", utc("00:00:00")).expect("valid")
}

fn table<'a>(schedule: &'a Schedule, mark: &str) -> Timetable<'a> {
    Timetable { schedule, effective_from: UnixMillis(0), mark: Some(utc(mark)), taken: Vec::new() }
}

fn routine<'a>(full: Option<Timetable<'a>>, incremental: Option<Timetable<'a>>) -> RoutineSlots<'a> {
    RoutineSlots {
        routine: "r",
        full,
        incremental,
        verify: None,
        catch_up: CatchUp::Once,
        catch_up_window_ms: None,
        jitter_ms: 0,
        concurrent_incremental: false,
        disabled: false,
    }
}

fn wake(now: &str, last_wake: Option<&str>, routine: &RoutineSlots<'_>) -> WakePlan {
    let routines = std::slice::from_ref(routine);
    plan_wake(&Wake { now: utc(now), last_wake: last_wake.map(utc), store_failed: false, routines })
}

/// `F 10:00:00` for a full, `I` for an incremental, `!` for one caught up.
fn fired(plan: &WakePlan) -> Vec<String> {
    let text = |fire: &Fire| {
        let kind = match fire.key.slot_type {
            SlotType::Full => 'F',
            SlotType::Incremental => 'I',
            SlotType::Verify => 'V',
        };
        let mark = if fire.catch_up { "!" } else { "" };
        format!("{kind}{mark} {}", fire.key.slot.to_utc().format("%H:%M:%S"))
    };
    plan.fires.iter().map(text).collect()
}

fn missed(plan: &WakePlan, slot_type: SlotType) -> Option<(u32, String, String)> {
    let row = plan.missed.iter().find(|row| row.slot_type == slot_type)?;
    let text = |at: UnixMillis| at.to_utc().format("%H:%M:%S").to_string();
    Some((row.slots.count, text(row.slots.first), text(row.slots.last)))
}

fn mark(plan: &WakePlan) -> Option<UnixMillis> {
    plan.marks.first().and_then(|mark| mark.mark)
}

#[test]
fn every_due_slot_fires_while_the_process_runs_however_late() {
    let every_ten = schedule("0/10 * * * * ?");
    let routine = routine(Some(table(&every_ten, "10:00:00")), None);
    let plan = wake("10:00:30.500", Some("09:59:31"), &routine);
    assert_eq!(fired(&plan), ["F 10:00:10", "F 10:00:20", "F 10:00:30"]);
    assert_eq!(mark(&plan), Some(utc("10:00:30")));
    assert!(plan.missed.is_empty());
    // The mark may be older than the last wake-up.
    let plan = wake("10:05:00", Some("10:04:50"), &routine);
    assert_eq!(plan.fires.len(), 30);
}

#[test]
fn nothing_fires_at_or_below_the_mark() {
    let minutely = schedule("0 * * * * ?");
    let plan = wake("10:00:59", Some("10:00:30"), &routine(Some(table(&minutely, "10:00:00")), None));
    assert_eq!((fired(&plan), plan.marks.as_slice()), (Vec::new(), [].as_slice()));
    assert_eq!(plan.next_wake, utc("10:01:00"));
}

#[test]
fn a_version_has_no_slots_before_it_took_effect() {
    let minutely = schedule("0 * * * * ?");
    for (from, expected) in [("10:00:00.001", 0), ("10:00:00", 1), ("09:58:30", 2)] {
        for last_wake in [None, Some("10:00:20")] {
            let mut table = table(&minutely, "10:00:00");
            (table.mark, table.effective_from) = (None, utc(from));
            let plan = wake("10:00:25", last_wake, &routine(Some(table), None));
            let counted =
                plan.missed.iter().map(|row| row.slots.count).sum::<u32>() as usize + plan.fires.len();
            assert_eq!(counted, expected, "{from} {last_wake:?}");
        }
    }
}

#[test]
fn after_a_downtime_the_newest_slot_is_caught_up_inside_its_window_and_the_rest_is_one_row() {
    let hourly = schedule("0 0 * * * ?");
    let routine = routine(Some(table(&hourly, "03:00:00")), None);
    for last_wake in [None, Some("03:00:30")] {
        let plan = wake("09:30:00", last_wake, &routine);
        assert_eq!(fired(&plan), ["F! 09:00:00"]);
        assert_eq!(missed(&plan, SlotType::Full), Some((5, "04:00:00".into(), "08:00:00".into())));
        assert_eq!(mark(&plan), Some(utc("09:00:00")));
        let plan = wake("09:30:01", last_wake, &routine);
        assert_eq!(fired(&plan), [""; 0]);
        assert_eq!(missed(&plan, SlotType::Full), Some((6, "04:00:00".into(), "09:00:00".into())));
    }
}

#[test]
fn the_window_is_half_the_distance_to_the_following_slot_unless_given() {
    let uneven = schedule("0 0 8,9,20 * * ?");
    let mut routine = routine(Some(table(&uneven, "08:00:00")), None);
    assert_eq!(fired(&wake("14:30:00", None, &routine)), ["F! 09:00:00"]);
    assert_eq!(fired(&wake("14:30:01", None, &routine)), [""; 0]);
    routine.catch_up_window_ms = Some(60_000);
    assert_eq!(fired(&wake("09:01:00", None, &routine)), ["F! 09:00:00"]);
    assert_eq!(fired(&wake("09:01:01", None, &routine)), [""; 0]);
}

#[test]
fn the_last_slot_of_a_schedule_that_ends_can_be_caught_up() {
    let once = schedule("0 0 9 1 6 ? 2025");
    let routine = routine(Some(table(&once, "08:00:00")), None);
    assert_eq!(fired(&wake("23:00:00", None, &routine)), ["F! 09:00:00"]);
}

#[test]
fn skip_catches_up_nothing() {
    let hourly = schedule("0 0 * * * ?");
    let mut routine = routine(Some(table(&hourly, "03:00:00")), None);
    routine.catch_up = CatchUp::Skip;
    let plan = wake("05:00:01", None, &routine);
    assert_eq!(fired(&plan), [""; 0]);
    assert_eq!(missed(&plan, SlotType::Full), Some((2, "04:00:00".into(), "05:00:00".into())));
}

#[test]
fn sixty_seconds_between_two_wake_ups_are_no_downtime_but_one_more_millisecond_is() {
    let minutely = schedule("0 * * * * ?");
    let mut routine = routine(Some(table(&minutely, "10:00:00")), None);
    routine.catch_up = CatchUp::Skip;
    assert_eq!(fired(&wake("10:01:10", Some("10:00:10"), &routine)), ["F 10:01:00"]);
    let plan = wake("10:01:10.001", Some("10:00:10"), &routine);
    assert_eq!((fired(&plan).len(), plan.missed.len()), (0, 1));
}

#[test]
fn a_store_that_could_not_be_written_is_downtime() {
    let minutely = schedule("0 * * * * ?");
    let routine = routine(Some(table(&minutely, "10:00:00")), None);
    let routines = std::slice::from_ref(&routine);
    let (now, last_wake) = (utc("10:03:10"), Some(utc("10:03:00")));
    let plan = plan_wake(&Wake { now, last_wake, store_failed: true, routines });
    assert_eq!(fired(&plan), ["F! 10:03:00"]);
    assert_eq!(missed(&plan, SlotType::Full), Some((2, "10:01:00".into(), "10:02:00".into())));
}

#[test]
fn of_a_full_and_an_incremental_that_were_both_missed_only_the_full_is_caught_up() {
    let (daily, hourly) = (schedule("0 0 3 * * ?"), schedule("0 30 * * * ?"));
    let mut routine = routine(Some(table(&daily, "02:00:00")), Some(table(&hourly, "02:30:00")));
    let plan = wake("05:40:00", None, &routine);
    assert_eq!(fired(&plan), ["F! 03:00:00"]);
    assert_eq!(missed(&plan, SlotType::Full), None);
    assert_eq!(missed(&plan, SlotType::Incremental), Some((3, "03:30:00".into(), "05:30:00".into())));
    // The full's window has closed: then the incremental.
    routine.catch_up_window_ms = Some(600_000);
    assert_eq!(fired(&wake("05:40:00", None, &routine)), ["I! 05:30:00"]);
}

#[test]
fn missed_slots_are_counted_up_to_ten_thousand() {
    let every_second = schedule("* * * * * ?");
    let mut routine = routine(Some(table(&every_second, "00:00:00")), None);
    routine.catch_up_window_ms = Some(0);
    let plan = wake("20:00:00.500", None, &routine);
    assert_eq!(missed(&plan, SlotType::Full), Some((10_000, "00:00:01".into(), "20:00:00".into())));
    let plan = wake("20:00:00", None, &routine);
    assert_eq!(fired(&plan), ["F! 20:00:00"]);
    assert_eq!(missed(&plan, SlotType::Full), Some((10_000, "00:00:01".into(), "19:59:59".into())));
}

#[test]
fn a_disabled_routine_misses_nothing_and_its_past_is_over_when_it_is_enabled() {
    let hourly = schedule("0 0 * * * ?");
    let mut routine = routine(Some(table(&hourly, "03:00:00")), None);
    routine.disabled = true;
    for last_wake in [None, Some("09:00:00")] {
        let plan = wake("09:00:10", last_wake, &routine);
        assert!(plan.fires.is_empty() && plan.missed.is_empty() && plan.full_due.is_empty());
        assert_eq!(mark(&plan), Some(utc("09:00:00")));
        assert_eq!(plan.next_wake, utc("09:00:40"));
    }
}

#[test]
fn an_incremental_due_with_its_full_is_skipped_unless_it_may_run_beside_it() {
    let (six_hourly, hourly) = (schedule("0 0 0/6 * * ?"), schedule("0 0 * * * ?"));
    let mut routine = routine(Some(table(&six_hourly, "00:00:00")), Some(table(&hourly, "05:00:00")));
    let plan = wake("06:00:00", Some("05:59:50"), &routine);
    assert_eq!(fired(&plan), ["F 06:00:00"]);
    let key = SlotKey { routine: "r".into(), slot_type: SlotType::Incremental, slot: utc("06:00:00") };
    assert_eq!(plan.full_due, [key]);
    assert_eq!(plan.marks.len(), 2);
    routine.concurrent_incremental = true;
    let plan = wake("06:00:00", Some("05:59:50"), &routine);
    assert_eq!(
        (fired(&plan), plan.full_due.len()),
        (vec!["F 06:00:00".to_owned(), "I 06:00:00".to_owned()], 0)
    );
    // A full that takes effect only later is not due.
    routine.concurrent_incremental = false;
    routine.full.as_mut().expect("full").effective_from = utc("06:00:01");
    assert_eq!(fired(&wake("06:00:02", Some("05:59:50"), &routine)), ["I 06:00:00"]);
}

#[test]
fn a_clock_set_back_by_five_minutes_fires_nothing_twice() {
    let minutely = schedule("0 * * * * ?");
    let routine = routine(Some(table(&minutely, "10:00:00")), None);
    for now in ["09:55:00", "09:57:30", "10:00:00"] {
        let plan = wake(now, Some("10:00:00"), &routine);
        assert!(
            plan.fires.is_empty()
                && plan.missed.is_empty()
                && plan.voided.is_empty()
                && plan.marks.is_empty()
        );
    }
    // It sleeps no longer than usual, and the slot after the mark is still waited for.
    assert_eq!(wake("09:55:00", Some("10:00:00"), &routine).next_wake, utc("09:55:30"));
    assert_eq!(wake("10:00:40", Some("10:00:10"), &routine).next_wake, utc("10:01:00"));
}

#[test]
fn a_clock_set_back_further_frees_the_slots_that_are_over_five_minutes_ahead() {
    let minutely = schedule("0 * * * * ?");
    let mut routine = routine(Some(table(&minutely, "12:00:00")), None);
    routine.full.as_mut().expect("full").taken = vec![utc("10:02:00"), utc("12:00:00")];
    let plan = wake("10:00:45", Some("12:00:10"), &routine);
    let later_than = utc("10:05:45");
    assert_eq!(plan.voided, [Voided { routine: "r".into(), slot_type: SlotType::Full, later_than }]);
    assert_eq!((mark(&plan), fired(&plan).len()), (Some(utc("10:00:45")), 0));
    assert_eq!(plan.next_wake, utc("10:01:00"));
    // The caller has taken that over: freed slots fire when the clock reaches them, taken ones do not fire again.
    let table = routine.full.as_mut().expect("full");
    (table.mark, table.taken) = (Some(utc("10:00:45")), vec![utc("10:02:00")]);
    let plan = wake("10:03:00", Some("10:02:30"), &routine);
    assert_eq!(fired(&plan), ["F 10:01:00", "F 10:03:00"]);
    let plan = wake("10:03:00", None, &routine);
    assert_eq!(fired(&plan), ["F! 10:03:00"]);
    assert_eq!(missed(&plan, SlotType::Full), Some((1, "10:01:00".into(), "10:01:00".into())));
    let plan = wake("10:02:10", None, &routine);
    assert_eq!(fired(&plan), [""; 0], "10:01 is out of its window and 10:02 has a row");
}

#[test]
fn a_verification_has_nothing_to_do_with_when_backups_are_due() {
    let (six_hourly, hourly) = (schedule("0 0 0/6 * * ?"), schedule("0 0 * * * ?"));
    let mut routine = routine(Some(table(&six_hourly, "00:00:00")), Some(table(&hourly, "05:00:00")));
    routine.verify = Some(table(&hourly, "05:00:00"));
    let plan = wake("06:00:00", Some("05:59:50"), &routine);
    assert_eq!(fired(&plan), ["F 06:00:00", "V 06:00:00"]);
    assert_eq!((plan.full_due.len(), plan.marks.len()), (1, 3), "only the incremental is full-due");
    // After a downtime the full is caught up instead of the incremental, and the verification beside it.
    let plan = wake("06:00:10", None, &routine);
    assert_eq!(fired(&plan), ["F! 06:00:00", "V! 06:00:00"]);
    assert_eq!(missed(&plan, SlotType::Incremental), Some((1, "06:00:00".into(), "06:00:00".into())));
    // What is out of its window is missed, and counted on its own.
    let plan = wake("09:40:00", None, &routine);
    assert_eq!(missed(&plan, SlotType::Verify), Some((4, "06:00:00".into(), "09:00:00".into())));
    // The clock set back voids its rows as those of backups.
    let plan = wake(
        "05:10:00",
        Some("06:00:00"),
        &RoutineSlots { verify: Some(table(&hourly, "06:00:00")), full: None, incremental: None, ..routine },
    );
    assert_eq!(plan.voided.first().map(|voided| voided.slot_type), Some(SlotType::Verify));
}

#[test]
fn a_slot_exactly_five_minutes_ahead_is_not_void() {
    let minutely = schedule("0 * * * * ?");
    let plan = wake("11:55:00", Some("12:30:00"), &routine(Some(table(&minutely, "12:00:00")), None));
    assert!(plan.voided.is_empty());
    let plan = wake("11:54:59.999", Some("12:30:00"), &routine(Some(table(&minutely, "12:00:00")), None));
    assert_eq!(plan.voided.len(), 1);
}

#[test]
fn a_version_loaded_under_a_wrong_clock_takes_effect_now() {
    let minutely = schedule("0 * * * * ?");
    let mut table = table(&minutely, "10:00:00");
    (table.mark, table.effective_from) = (None, utc("23:00:00"));
    let plan = wake("10:00:30", Some("23:00:10"), &routine(Some(table), None));
    assert_eq!(plan.marks.first().and_then(|mark| mark.effective_from), Some(utc("10:00:30")));
    assert_eq!(plan.next_wake, utc("10:01:00"));
}

#[test]
fn jitter_is_drawn_from_the_key_and_never_changes() {
    let key = |routine: &str, secs: i64| SlotKey {
        routine: routine.into(),
        slot_type: SlotType::Full,
        slot: UnixMillis::from_secs(secs),
    };
    // A pinned value: another program version must draw the same.
    assert_eq!(jitter_of(&key("daily", 1_750_000_000), 600_000), 349_887);
    assert_eq!(jitter_of(&key("daily", 1), 0), 0);
    let delays: Vec<i64> = (0..1_000).map(|index| jitter_of(&key(&format!("r{index}"), 7), 999)).collect();
    assert!(delays.iter().all(|delay| (0..=999).contains(delay)));
    let buckets: std::collections::BTreeSet<i64> = delays.iter().map(|delay| delay / 100).collect();
    assert_eq!(buckets.len(), 10, "spread over the whole range");
}

#[test]
fn a_start_is_delayed_by_jitter_but_never_into_the_past() {
    let minutely = schedule("0 * * * * ?");
    let mut routine = routine(Some(table(&minutely, "10:00:00")), None);
    routine.jitter_ms = 30_000;
    let plan = wake("10:01:00", Some("10:00:30"), &routine);
    let fire = plan.fires.first().expect("a slot");
    assert_eq!(fire.start_at, utc("10:01:00").plus_ms(jitter_of(&fire.key, 30_000)));
    assert!(fire.start_at > utc("10:01:00"));
    let plan = wake("10:01:30.001", Some("10:01:00"), &routine);
    assert_eq!(plan.fires.first().map(|fire| fire.start_at), Some(utc("10:01:30.001")));
}

#[test]
fn the_next_wake_up_is_the_next_slot_but_at_most_half_a_minute_away() {
    let daily = schedule("0 0 3 * * ?");
    let routine = routine(Some(table(&daily, "03:00:00")), None);
    assert_eq!(wake("10:00:00", Some("09:59:40"), &routine).next_wake, utc("10:00:30"));
    let early = RoutineSlots {
        full: Some(Timetable { mark: None, effective_from: utc("02:59:00"), ..table(&daily, "03:00:00") }),
        ..routine
    };
    assert_eq!(wake("02:59:45", Some("02:59:40"), &early).next_wake, utc("03:00:00"));
}
