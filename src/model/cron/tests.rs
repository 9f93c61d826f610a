use chrono::{Datelike, NaiveDate, NaiveDateTime, TimeDelta, Timelike};

use super::{Cron, CronError};

fn local(text: &str) -> NaiveDateTime {
    NaiveDateTime::parse_from_str(text, "%Y-%m-%d %H:%M:%S").expect("a local time")
}

/// The first `count` fire times after `after`, as text.
fn fires(expression: &str, after: &str, count: usize) -> Vec<String> {
    let cron = Cron::parse(expression).unwrap_or_else(|error| panic!("{error}"));
    let mut at = local(after);
    let mut found = Vec::new();
    while found.len() < count {
        match cron.next_local(at) {
            Some(next) => {
                found.push(next.to_string());
                at = next;
            }
            None => break,
        }
    }
    found
}

fn refused(expression: &str) -> String {
    match Cron::parse(expression) {
        Err(error) => error.to_string(),
        Ok(_) => panic!("accepted {expression}"),
    }
}

/// abs.md 7.4 and 2.8: (expression, start, the following fire times).
#[test]
fn every_operator_fires_when_quartz_says() {
    let cases: &[(&str, &str, &[&str])] = &[
        ("0 0 0 * * ? *", "2025-01-01 00:00:00", &["2025-01-02 00:00:00", "2025-01-03 00:00:00"]),
        ("0 0 0/2 * * ? *", "2025-01-01 21:30:00", &["2025-01-01 22:00:00", "2025-01-02 00:00:00"]),
        ("0 0/30 * * * ? *", "2025-01-01 23:15:00", &["2025-01-01 23:30:00", "2025-01-02 00:00:00"]),
        ("0 0 3 ? * MON-FRI *", "2025-01-03 03:00:00", &["2025-01-06 03:00:00"]),
        ("0 0 1 1 * ? *", "2025-01-31 00:00:00", &["2025-02-01 01:00:00", "2025-03-01 01:00:00"]),
        ("0 0 2 ? * SUN *", "2025-01-01 00:00:00", &["2025-01-05 02:00:00", "2025-01-12 02:00:00"]),
        ("0 0 1,13 * * ? *", "2025-01-01 00:00:00", &["2025-01-01 01:00:00", "2025-01-01 13:00:00"]),
        ("@daily", "2025-01-01 12:00:00", &["2025-01-02 00:00:00"]),
        ("@midnight", "2025-01-01 12:00:00", &["2025-01-02 00:00:00"]),
        ("@hourly", "2025-01-01 12:00:00", &["2025-01-01 13:00:00"]),
        ("@weekly", "2025-01-01 00:00:00", &["2025-01-05 00:00:00"]),
        ("@monthly", "2025-01-01 00:00:00", &["2025-02-01 00:00:00"]),
        ("@yearly", "2025-01-01 00:00:00", &["2026-01-01 00:00:00"]),
        // 1..7 is Sunday to Saturday; names in any case
        ("0 0 3 ? * 2", "2025-01-01 00:00:00", &["2025-01-06 03:00:00"]),
        ("0 0 3 ? * sat", "2025-01-01 00:00:00", &["2025-01-04 03:00:00"]),
        ("0 0 3 ? jAn,DEC MoN#1", "2025-01-07 00:00:00", &["2025-12-01 03:00:00", "2026-01-05 03:00:00"]),
        // steps: from a to the end, within a range, over all
        (
            "15/20 0 0 * * ?",
            "2025-01-01 00:00:00",
            &["2025-01-01 00:00:15", "2025-01-01 00:00:35", "2025-01-01 00:00:55", "2025-01-02 00:00:15"],
        ),
        (
            "0 10-30/10 5 * * ?",
            "2025-01-01 05:10:00",
            &["2025-01-01 05:20:00", "2025-01-01 05:30:00", "2025-01-02 05:10:00"],
        ),
        (
            "0 0 0 */10 * ?",
            "2025-01-30 00:00:00",
            &["2025-01-31 00:00:00", "2025-02-01 00:00:00", "2025-02-11 00:00:00"],
        ),
        (
            "0 0 0 ? * MON/2",
            "2025-01-01 00:00:00",
            &["2025-01-03 00:00:00", "2025-01-06 00:00:00", "2025-01-08 00:00:00"],
        ),
        // last days
        (
            "0 0 0 L * ?",
            "2024-02-01 00:00:00",
            &["2024-02-29 00:00:00", "2024-03-31 00:00:00", "2024-04-30 00:00:00"],
        ),
        ("0 0 0 L-3 * ?", "2025-02-01 00:00:00", &["2025-02-25 00:00:00", "2025-03-28 00:00:00"]),
        ("0 0 0 L-30 * ?", "2025-01-02 00:00:00", &["2025-03-01 00:00:00", "2025-05-01 00:00:00"]),
        (
            "0 0 0 LW * ?",
            "2025-05-01 00:00:00",
            &["2025-05-30 00:00:00", "2025-06-30 00:00:00", "2025-07-31 00:00:00", "2025-08-29 00:00:00"],
        ),
        // nearest weekday, never across the month's ends: 2025-02-01 and 2025-03-01 are Saturdays, 2025-08-31 a Sunday
        (
            "0 0 0 1W * ?",
            "2025-01-02 00:00:00",
            &["2025-02-03 00:00:00", "2025-03-03 00:00:00", "2025-04-01 00:00:00"],
        ),
        (
            "0 0 0 15W * ?",
            "2025-02-01 00:00:00",
            &[
                "2025-02-14 00:00:00",
                "2025-03-14 00:00:00",
                "2025-04-15 00:00:00",
                "2025-05-15 00:00:00",
                "2025-06-16 00:00:00",
            ],
        ),
        ("0 0 0 31W * ?", "2025-08-01 00:00:00", &["2025-08-29 00:00:00", "2025-10-31 00:00:00"]),
        // week days of the month
        ("0 0 0 ? * L", "2025-01-01 00:00:00", &["2025-01-04 00:00:00", "2025-01-11 00:00:00"]),
        ("0 0 0 ? * 6L", "2025-01-01 00:00:00", &["2025-01-31 00:00:00", "2025-02-28 00:00:00"]),
        ("0 0 0 ? * FRIL", "2025-01-01 00:00:00", &["2025-01-31 00:00:00"]),
        ("0 0 0 ? * FRI#3", "2025-01-01 00:00:00", &["2025-01-17 00:00:00", "2025-02-21 00:00:00"]),
        ("0 0 0 ? * 1#5", "2025-01-01 00:00:00", &["2025-03-30 00:00:00", "2025-06-29 00:00:00"]),
        ("0 0 0 ? * MON#1,WED#3", "2025-01-01 00:00:00", &["2025-01-06 00:00:00", "2025-01-15 00:00:00"]),
        ("0 0 0 15,L * ?", "2025-01-01 00:00:00", &["2025-01-15 00:00:00", "2025-01-31 00:00:00"]),
        // years and leap days
        ("0 0 0 1 1 ? 2027-2030/2", "2025-01-01 00:00:00", &["2027-01-01 00:00:00", "2029-01-01 00:00:00"]),
        ("0 0 0 29 2 ?", "2096-03-01 00:00:00", &["2104-02-29 00:00:00"]),
        ("* * * * * *", "2025-12-31 23:59:58", &["2025-12-31 23:59:59", "2026-01-01 00:00:00"]),
    ];
    for (expression, after, expected) in cases {
        assert_eq!(fires(expression, after, expected.len()), *expected, "{expression}");
    }
}

#[test]
fn a_year_that_has_passed_ends_the_schedule() {
    assert_eq!(fires("0 0 0 1 1 ? 2026", "2025-06-01 00:00:00", 5), ["2026-01-01 00:00:00"]);
    assert!(fires("0 0 0 30 2 ?", "2025-06-01 00:00:00", 1).is_empty());
}

#[test]
fn only_six_or_seven_fields_are_an_expression() {
    for text in ["", "0 0 * * *", "* * * *", "0 0 0 * * ? * *"] {
        assert!(refused(text).starts_with("invalid expression length"), "{text}");
    }
    assert_eq!(refused("@every 5m"), "unknown schedule name \"@every 5m\"");
    assert!(Cron::parse("  0  0 0\t* * ?  ").is_ok());
}

#[test]
fn two_restricted_day_fields_are_refused() {
    for text in ["0 0 0 1 * MON", "0 0 0 L * 6L", "0 0 0 */2 * 2", "0 0 0 1 1 1 2025"] {
        assert!(refused(text).starts_with("day field set twice"), "{text}");
    }
    for text in ["0 0 0 ? * ?", "0 0 0 * * *", "0 0 0 ? * MON", "0 0 0 * * MON", "0 0 0 1 * *"] {
        assert!(Cron::parse(text).is_ok(), "{text}");
    }
}

#[test]
fn an_error_names_the_field_and_the_text() {
    for (text, expected) in [
        ("60 0 0 * * ?", "seconds field \"60\": must be from 0 to 59"),
        ("0 5,x 0 * * ?", "minutes field \"x\": is not a number"),
        ("0 0 24 * * ?", "hours field \"24\": must be from 0 to 23"),
        ("0 0 0 0 * ?", "day-of-month field \"0\": must be from 1 to 31"),
        ("0 0 0 32W * ?", "day-of-month field \"32W\": must be from 1 to 31"),
        ("0 0 0 L-31 * ?", "day-of-month field \"L-31\": after L- comes a number from 1 to 30"),
        ("0 0 0 * 13 ?", "month field \"13\": must be from 1 to 12"),
        ("0 0 0 * FEV ?", "month field \"FEV\": is neither a number nor a name"),
        ("0 0 0 ? * 0", "day-of-week field \"0\": must be from 1 to 7"),
        ("0 0 0 ? * MON#6", "day-of-week field \"MON#6\": after # comes a number from 1 to 5"),
        ("0 0 0 ? * 8L", "day-of-week field \"8L\": must be from 1 to 7"),
        ("0 0 0 * * ? 1969", "year field \"1969\": must be from 1970 to 3940"),
        ("0 30-10 0 * * ?", "minutes field \"30-10\": the range runs backwards"),
        ("0 */0 0 * * ?", "minutes field \"*/0\": after / comes a number above 0"),
        ("0 */90 * * * ?", "minutes field \"*/90\": the step is larger than the field, which ends at 59"),
        ("0 0 0/24 * * ?", "hours field \"0/24\": the step is larger than the field, which ends at 23"),
        ("0 +5 0 * * ?", "minutes field \"+5\": is not a number"),
        ("0 5, 0 * * ?", "minutes field \"\": is not a number"),
        ("0 1-2-3 0 * * ?", "minutes field \"1-2-3\": is not a number"),
        ("0 99999999999 0 * * ?", "minutes field \"99999999999\": is not a number"),
    ] {
        assert_eq!(refused(text), expected, "{text}");
    }
    assert!(matches!(Cron::parse("H 0 0 * * ?"), Err(CronError::Field { field: "seconds", .. })));
}

#[test]
fn hours_are_fixed_only_as_numbers() {
    for (hours, fixed) in [
        ("3", true),
        ("1,13", true),
        ("*", false),
        ("?", false),
        ("0/2", false),
        ("1-3", false),
        ("2,4-6", false),
    ] {
        let cron = Cron::parse(&format!("0 0 {hours} * * ?")).expect("valid");
        assert_eq!(cron.has_fixed_hours(), fixed, "{hours}");
    }
}

/// The expressions written out as closures, tick by tick, against both directions of the iterator.
#[test]
fn both_directions_agree_with_a_clock_that_ticks() {
    type Oracle = fn(NaiveDateTime) -> bool;
    let cases: [(&str, Oracle); 5] = [
        ("0 */7 3-5 * * ?", |t| t.second() == 0 && t.minute() % 7 == 0 && (3..=5).contains(&t.hour())),
        ("30 59 23 L * ?", |t| {
            (t.second(), t.minute(), t.hour()) == (30, 59, 23) && (t + TimeDelta::days(1)).day() == 1
        }),
        ("0 0 12 ? * TUE#2", |t| {
            (t.second(), t.minute(), t.hour()) == (0, 0, 12)
                && t.weekday() == chrono::Weekday::Tue
                && (8..=14).contains(&t.day())
        }),
        ("0 30 */5 ? 2,6-7 MON-FRI", |t| {
            t.second() == 0
                && t.minute() == 30
                && t.hour() % 5 == 0
                && [2, 6, 7].contains(&t.month())
                && t.weekday().number_from_monday() <= 5
        }),
        ("30 0 0 10/10 * ? 2024", |t| {
            (t.second(), t.minute(), t.hour()) == (30, 0, 0)
                && [10, 20, 30].contains(&t.day())
                && t.year() == 2024
        }),
    ];
    let start = local("2024-01-01 00:00:00");
    for (expression, oracle) in cases {
        let cron = Cron::parse(expression).expect("valid");
        let ticks = (0..400 * 24 * 120).map(|half_minute| start + TimeDelta::seconds(half_minute * 30));
        let expected: Vec<_> = ticks.filter(|tick| oracle(*tick)).collect();
        let end = start + TimeDelta::days(400) - TimeDelta::seconds(1);
        let mut forward = Vec::new();
        let mut at = start - TimeDelta::seconds(1);
        while let Some(next) = cron.next_local(at).filter(|next| *next <= end) {
            forward.push(next);
            at = next;
        }
        assert_eq!(forward, expected, "{expression} forward");
        let mut backward = Vec::new();
        let mut at = end;
        while let Some(prev) = cron.prev_local(at).filter(|prev| *prev >= start) {
            backward.push(prev);
            at = prev - TimeDelta::seconds(1);
        }
        backward.reverse();
        assert_eq!(backward, expected, "{expression} backward");
    }
}

#[test]
fn fractions_of_a_second_do_not_hide_a_fire_time() {
    let cron = Cron::parse("* * * * * ?").expect("valid");
    let half = NaiveDate::from_ymd_opt(2025, 1, 1).and_then(|day| day.and_hms_milli_opt(0, 0, 0, 500));
    assert_eq!(cron.next_local(half.expect("valid")), Some(local("2025-01-01 00:00:01")));
    assert_eq!(cron.prev_local(half.expect("valid")), Some(local("2025-01-01 00:00:00")));
}

proptest::proptest! {
    #[test]
    fn no_text_breaks_the_parser(text in "[-0-9*?/,#LWA-Z@ ]{0,40}") {
        if let Ok(cron) = Cron::parse(&text) {
            let from = local("2025-01-01 00:00:00");
            if let Some(next) = cron.next_local(from) {
                proptest::prop_assert_eq!(cron.prev_local(next), Some(next));
            }
        }
    }
}
