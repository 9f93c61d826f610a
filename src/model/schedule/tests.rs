use chrono::{DateTime, Datelike, NaiveDate, Offset, TimeZone};
use chrono_tz::Tz;

use super::{COUNT_MAX, Schedule};
use crate::model::UnixMillis;
use crate::model::cron::CronError;

const NOW: UnixMillis = UnixMillis(1_735_689_600_000); // 2025-01-01T00:00:00Z

fn schedule(cron: &str, zone: &str) -> Schedule {
    Schedule::parse(cron, zone, NOW).unwrap_or_else(|error| panic!("{cron} {zone}: {error}"))
}

fn utc(text: &str) -> UnixMillis {
    DateTime::parse_from_rfc3339(text).expect("an instant").to_utc().into()
}

/// The slots of one UTC day, as `HH:MM`.
fn day(cron: &str, zone: &str, date: &str) -> String {
    let schedule = schedule(cron, zone);
    let start = utc(&format!("{date}T00:00:00Z"));
    let slots = schedule.slots_after(start.plus_ms(-1)).take_while(|slot| slot.since(start) < 86_400_000);
    slots.map(|slot| slot.to_utc().format("%H:%M").to_string()).collect::<Vec<_>>().join(" ")
}

/// rules.md 1.5, on Berlin's clock: 01:00 UTC is the change; 02:00 to 03:00 is missing in March, repeated in October.
#[test]
fn fixed_hours_fire_once_on_both_days_of_change() {
    for (cron, spring, autumn) in [
        ("0 30 2 * * ?", "01:00", "00:30"),
        ("0 15,45 2 * * ?", "01:00", "00:15 00:45"),
        ("0 0/30 2 * * ?", "01:00", "00:00 00:30"),
        ("0 0 2,3 * * ?", "01:00", "00:00 02:00"),
        ("0 30 1,2 * * ?", "00:30 01:00 23:30", "00:30"),
        ("0 0 4 * * ?", "02:00", "03:00"),
    ] {
        assert_eq!(day(cron, "Europe/Berlin", "2025-03-30"), spring, "{cron}");
        assert_eq!(day(cron, "Europe/Berlin", "2025-10-26"), autumn, "{cron}");
    }
}

#[test]
fn elastic_hours_count_elapsed_time_on_both_days_of_change() {
    for (cron, spring, autumn) in [
        ("0 30 2-2 * * ?", "", "00:30 01:30"),
        ("0 0 1-3 * * ?", "00:00 01:00 23:00", "00:00 01:00 02:00"),
        (
            "0 0 0/2 ? * SUN",
            "02:00 04:00 06:00 08:00 10:00 12:00 14:00 16:00 18:00 20:00",
            "00:00 01:00 03:00 05:00 07:00 09:00 11:00 13:00 15:00 17:00 19:00 21:00",
        ),
    ] {
        assert_eq!(day(cron, "Europe/Berlin", "2025-03-30"), spring, "{cron}");
        assert_eq!(day(cron, "Europe/Berlin", "2025-10-26"), autumn, "{cron}");
    }
    assert_eq!(schedule("0 0 * * * ?", "Europe/Berlin").next_n(utc("2025-10-26T00:00:00Z"), 3).len(), 3);
}

#[test]
fn a_slot_is_strictly_after_and_in_whole_seconds() {
    let every_second = schedule("* * * * * ?", "");
    assert_eq!(every_second.next_after(UnixMillis(1_000)), Some(UnixMillis(2_000)));
    assert_eq!(every_second.next_after(UnixMillis(1_999)), Some(UnixMillis(2_000)));
    assert_eq!(every_second.prev_at_or_before(UnixMillis(1_999)), Some(UnixMillis(1_000)));
    assert_eq!(every_second.prev_at_or_before(UnixMillis(1_000)), Some(UnixMillis(1_000)));
    assert!(every_second.fires_at(UnixMillis(1_000)) && !every_second.fires_at(UnixMillis(1_001)));
}

#[test]
fn what_never_fires_within_twenty_years_is_refused() {
    for cron in ["0 0 0 30 2 ?", "0 0 0 1 1 ? 2024", "0 0 0 1 1 ? 2046", "0 30 2-2 30 3 ? 2025"] {
        let refused = Schedule::parse(cron, "Europe/Berlin", NOW);
        assert!(matches!(refused, Err(CronError::Never { .. })), "{cron}: {refused:?}");
    }
    assert!(Schedule::parse("0 0 0 29 2 ? 2044", "UTC", NOW).is_ok());
    assert!(Schedule::parse("0 30 2 30 3 ? 2025", "Europe/Berlin", NOW).is_ok());
    let unknown = Schedule::parse("@daily", "Europe/Bonn", NOW).expect_err("no such zone");
    assert_eq!(unknown.to_string(), "unknown time zone \"Europe/Bonn\"");
}

#[test]
fn a_count_stops_at_its_cap_but_knows_the_newest_slot() {
    let month_ms = 30 * 86_400_000;
    for zone in ["UTC", "Europe/Berlin"] {
        let counted = schedule("* * * * * ?", zone).count_between(NOW, NOW.plus_ms(month_ms)).expect("slots");
        assert_eq!((counted.count, counted.first), (COUNT_MAX, NOW.plus_ms(1_000)));
        assert_eq!(counted.last, NOW.plus_ms(month_ms));
    }
    let daily = schedule("0 0 3 * * ?", "UTC");
    let counted = daily.count_between(NOW, NOW.plus_ms(month_ms)).expect("slots");
    assert_eq!(
        (counted.count, counted.first, counted.last),
        (30, utc("2025-01-01T03:00:00Z"), utc("2025-01-30T03:00:00Z"))
    );
    assert_eq!(daily.count_between(NOW, NOW.plus_ms(3_600_000)), None);
}

// The oracle of rules.md 1.5: a wall clock that ticks. It shares nothing with the code but chrono-tz's offsets.

const ZONES: [&str; 12] = [
    "UTC",
    "Europe/Berlin",
    "America/New_York",
    "Australia/Lord_Howe", // half an hour
    "Antarctica/Troll",    // two hours
    "Australia/Adelaide",
    "America/Sao_Paulo",
    "Africa/Casablanca", // four shifts in some years
    "Asia/Kolkata",
    "Africa/Cairo",   // the gap begins at midnight
    "America/Havana", // gap at midnight, fold back to midnight
    "Pacific/Chatham",
];

/// An expression, and what it says written out by hand.
struct Case {
    cron: &'static str,
    seconds: &'static [u32],
    minutes: fn(u32) -> bool,
    hours: fn(u32) -> bool,
    day: fn(NaiveDate) -> bool,
    fixed: bool,
}

const CASES: [Case; 9] = [
    Case {
        cron: "0 30 2 * * ?",
        seconds: &[0],
        minutes: |m| m == 30,
        hours: |h| h == 2,
        day: |_| true,
        fixed: true,
    },
    Case {
        cron: "0 15,45 1,2,3 * * ?",
        seconds: &[0],
        minutes: |m| m == 15 || m == 45,
        hours: |h| (1..=3).contains(&h),
        day: |_| true,
        fixed: true,
    },
    Case {
        cron: "0 0/20 0,1,2 ? * SUN,FRI",
        seconds: &[0],
        minutes: |m| m % 20 == 0,
        hours: |h| h <= 2,
        day: |d| [1, 6].contains(&d.weekday().number_from_sunday()),
        fixed: true,
    },
    Case {
        cron: "@daily",
        seconds: &[0],
        minutes: |m| m == 0,
        hours: |h| h == 0,
        day: |_| true,
        fixed: true,
    },
    Case {
        cron: "*/20 * 1,2 * * ?",
        seconds: &[0, 20, 40],
        minutes: |_| true,
        hours: |h| h == 1 || h == 2,
        day: |_| true,
        fixed: true,
    },
    Case {
        cron: "0 0/15 * * * ?",
        seconds: &[0],
        minutes: |m| m % 15 == 0,
        hours: |_| true,
        day: |_| true,
        fixed: false,
    },
    Case {
        cron: "0 0 0/2 * * ?",
        seconds: &[0],
        minutes: |m| m == 0,
        hours: |h| h % 2 == 0,
        day: |_| true,
        fixed: false,
    },
    Case {
        cron: "5,50 10/25 0-2 L * ?",
        seconds: &[5, 50],
        minutes: |m| m == 10 || m == 35,
        hours: |h| h <= 2,
        day: |d| d.succ_opt().is_some_and(|next| next.day() == 1),
        fixed: false,
    },
    Case {
        cron: "59 59 */23 ? * SUN",
        seconds: &[59],
        minutes: |m| m == 59,
        hours: |h| h == 0 || h == 23,
        day: |d| d.weekday().number_from_sunday() == 1,
        fixed: false,
    },
];

impl Case {
    fn matches(&self, local: i64) -> bool {
        let second = local.rem_euclid(86_400) as u32;
        self.seconds.contains(&(second % 60))
            && (self.minutes)(second / 60 % 60)
            && (self.hours)(second / 3600)
            && DateTime::from_timestamp(local, 0).is_some_and(|at| (self.day)(at.date_naive()))
    }
}

fn offset(zone: Tz, at: i64) -> i64 {
    let utc = DateTime::from_timestamp(at, 0).expect("an instant").naive_utc();
    i64::from(zone.offset_from_utc_datetime(&utc).fix().local_minus_utc())
}

/// The ticks of `zone`'s clock in [`start`, `end`), `step` seconds apart: each instant with what the clock shows and
/// the latest that it has ever shown before. The offset is asked anew every `ask` seconds.
fn ticks(zone: Tz, start: i64, end: i64, step: i64, ask: i64, mut tick: impl FnMut(i64, i64, i64)) {
    // A day ahead, so that the latest time shown is known when it begins within a repeated hour.
    let mut latest = (start - 86_400..start).step_by(60).map(|at| at + offset(zone, at)).max().unwrap_or(0);
    latest = latest.max(start - step + offset(zone, start - step));
    let mut shift = offset(zone, start);
    for at in (start..end).step_by(step as usize) {
        if at % ask == 0 {
            shift = offset(zone, at);
        }
        tick(at, at + shift, latest);
        latest = latest.max(at + shift);
    }
}

/// All slots of [`start`, `end`) by brute force.
fn brute(case: &Case, zone: Tz, start: i64, end: i64, step: i64, ask: i64) -> Vec<i64> {
    let mut found = Vec::new();
    ticks(zone, start, end, step, ask, |at, local, latest| {
        let fires = if case.fixed {
            // The first time that the clock reaches or jumps over a matching local time.
            (local > latest && case.matches(local))
                || (local > latest + step && (latest + 1..local).any(|skipped| case.matches(skipped)))
        } else {
            case.matches(local)
        };
        if fires {
            found.push(at);
        }
    });
    found
}

/// The instants of [`start`, `end`) at which the zone's offset changes.
fn shifts(zone: Tz, start: i64, end: i64) -> Vec<i64> {
    let hours = (start..end).step_by(3600).filter(|hour| offset(zone, *hour) != offset(zone, hour + 3600));
    let minutes = hours.filter_map(|hour| {
        (hour..=hour + 3600).step_by(60).find(|minute| offset(zone, *minute) != offset(zone, hour))
    });
    minutes.collect()
}

fn compare(case: &Case, zone: Tz, start: i64, end: i64, step: i64, ask: i64) {
    let expected = brute(case, zone, start, end, step, ask);
    let schedule = schedule(case.cron, zone.name());
    let forward: Vec<i64> = schedule
        .slots_after(UnixMillis::from_secs(start - 1))
        .map(UnixMillis::secs)
        .take_while(|slot| *slot < end)
        .collect();
    assert_eq!(forward, expected, "{} {zone} forward from {start}", case.cron);
    let before = |until: i64| schedule.prev_at_or_before(UnixMillis::from_secs(until)).map(UnixMillis::secs);
    let mut backward: Vec<i64> = std::iter::successors(before(end - 1), |slot| before(slot - 1))
        .take_while(|slot| *slot >= start)
        .collect();
    backward.reverse();
    assert_eq!(backward, expected, "{} {zone} backward from {end}", case.cron);
}

fn year(year: i32) -> i64 {
    NaiveDate::from_ymd_opt(year, 1, 1)
        .and_then(|day| day.and_hms_opt(0, 0, 0))
        .expect("a year")
        .and_utc()
        .timestamp()
}

fn zones() -> impl Iterator<Item = Tz> {
    ZONES.iter().map(|name| name.parse().expect("a zone"))
}

/// The steps are as wide as the expression's finest field allows, so that no slot lies between two ticks.
fn step_of(case: &Case) -> i64 {
    match case.seconds {
        [0] => 60,
        [0, 20, 40] => 20,
        [5, 50] => 5,
        _ => 1,
    }
}

#[test]
fn rule_1_5_holds_around_every_change_of_every_zone() {
    for zone in zones() {
        for shift in shifts(zone, year(2020), year(2036)) {
            for case in &CASES {
                // The long test has two days for all.
                let reach = if step_of(case) < 20 { 4 * 3600 } else { 2 * 86_400 };
                compare(case, zone, shift - reach, shift + reach, step_of(case), 60);
                // By second, with the offset asked at every second.
                compare(case, zone, shift - 900, shift + 900, 1, 1);
            }
        }
    }
}

#[test]
fn from_any_instant_near_a_change_the_same_slots_follow_and_precede() {
    for zone in zones() {
        for shift in shifts(zone, year(2024), year(2026)) {
            for case in &CASES {
                let (start, end) = (shift - 5 * 3600, shift + 5 * 3600);
                let slots = brute(case, zone, start, end, 1, 60);
                let schedule = schedule(case.cron, zone.name());
                for at in (start..end).step_by(97) {
                    let next = schedule.next_after(UnixMillis::from_secs(at)).map(UnixMillis::secs);
                    let prev = schedule.prev_at_or_before(UnixMillis::from_secs(at)).map(UnixMillis::secs);
                    if let Some(expected) = slots.iter().find(|slot| **slot > at) {
                        assert_eq!(next, Some(*expected), "{} {zone} after {at}", case.cron);
                    }
                    if let Some(expected) = slots.iter().rfind(|slot| **slot <= at) {
                        assert_eq!(prev, Some(*expected), "{} {zone} before {at}", case.cron);
                    }
                }
            }
        }
    }
}

#[test]
fn rule_1_5_holds_through_a_whole_year() {
    for zone in ["America/New_York", "Australia/Lord_Howe"] {
        let zone = zone.parse().expect("a zone");
        for case in CASES.iter().filter(|case| case.seconds == [0]) {
            compare(case, zone, year(2024), year(2025), 60, 60);
        }
    }
}

#[test]
#[ignore = "long: run by the script with --all"]
fn rule_1_5_holds_by_second_near_changes_and_by_minute_elsewhere_for_sixteen_years() {
    for zone in zones() {
        for case in &CASES {
            for shift in shifts(zone, year(2020), year(2036)) {
                compare(case, zone, shift - 2 * 86_400, shift + 2 * 86_400, 1, 1);
            }
            if case.seconds == [0] {
                compare(case, zone, year(2020), year(2036), 60, 60);
            }
        }
    }
}
