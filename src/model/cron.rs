//! Cron expressions in the Quartz dialect of ABS (abs.md 2.8, rules.md 1.6), over naive local times.
//!
//! Our own, because the crates at hand accept what must be refused and refuse what must be accepted (rules.md
//! 1.6). Zones and daylight saving are not known here: see [`super::schedule`].

mod parse;
#[cfg(test)]
mod tests;

use chrono::{Datelike, Days, NaiveDate, NaiveDateTime, NaiveTime, TimeDelta, Timelike, Weekday};

/// How far ahead a next fire time is searched, in years: longer than the 40 years that the rarest expression
/// (`x#5` in February) can pause.
const SEARCH_YEARS: i32 = 100;

/// The years an expression may name; the end is go-quartz's own (abs.md 2.8).
const YEARS: std::ops::RangeInclusive<i32> = 1970..=3940;

/// What is wrong with a schedule's text.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CronError {
    /// Not six or seven fields; the wording is ABS's.
    #[error("invalid expression length: {found} fields in \"{text}\" instead of 6 or 7")]
    Length {
        /// The whole expression.
        text: String,
        /// How many fields there are.
        found: usize,
    },
    /// An `@name` that does not exist.
    #[error("unknown schedule name \"{text}\"")]
    UnknownName {
        /// The name as given.
        text: String,
    },
    /// Both day fields are restricted; the wording is ABS's.
    #[error("day field set twice: day-of-month \"{of_month}\" and day-of-week \"{of_week}\", one must be ?")]
    DayFieldSetTwice {
        /// The day-of-month field.
        of_month: String,
        /// The day-of-week field.
        of_week: String,
    },
    /// One field is wrong.
    #[error("{field} field \"{text}\": {problem}")]
    Field {
        /// The field's name.
        field: &'static str,
        /// The offending item.
        text: String,
        /// What is wrong with it.
        problem: String,
    },
    /// Nothing would ever run.
    #[error("schedule \"{text}\" has no fire time in the next twenty years")]
    Never {
        /// The whole expression.
        text: String,
    },
    /// The zone is not in the time zone database.
    #[error("unknown time zone \"{text}\"")]
    UnknownZone {
        /// The name as given.
        text: String,
    },
}

/// A parsed cron expression.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cron {
    text: String,
    seconds: u64,
    minutes: u64,
    hours: u64,
    /// Hours are a number or a list of numbers.
    fixed_hours: bool,
    month_days: MonthDays,
    months: u64,
    week_days: WeekDays,
    /// First, last and step of each item.
    years: Vec<(i32, i32, i32)>,
}

/// The day-of-month field.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
struct MonthDays {
    /// Bit n: day n.
    plain: u64,
    special: Vec<MonthDay>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum MonthDay {
    /// `L`, `L-n`: n days before the last.
    Last(u32),
    /// `LW`: the last Monday to Friday.
    LastWeekday,
    /// `nW`: the Monday to Friday nearest to day n, within the month.
    NearestWeekday(u32),
}

/// The day-of-week field; days count from Sunday = 1.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
struct WeekDays {
    /// Bit n: day n of the week.
    plain: u64,
    special: Vec<WeekDay>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum WeekDay {
    /// `xL`: the last such day of the month.
    Last(u32),
    /// `x#n`: the nth such day of the month.
    Nth(u32, u32),
}

impl Cron {
    /// Parses six or seven fields or an `@name` (abs.md 2.8, rules.md 1.6).
    pub fn parse(text: &str) -> Result<Self, CronError> {
        parse::parse(text)
    }

    /// The text it was parsed from.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Whether the hours are a number or a list of numbers; otherwise they contain `*`, a range or a step
    /// (rules.md 1.5).
    pub fn has_fixed_hours(&self) -> bool {
        self.fixed_hours
    }

    /// The first fire time later than `after`, on a clock without daylight saving; none within 100 years.
    pub fn next_local(&self, after: NaiveDateTime) -> Option<NaiveDateTime> {
        let from = after.with_nanosecond(0)?.checked_add_signed(TimeDelta::seconds(1))?;
        if self.fires_on(from.date())
            && let Some(second) = self.next_of_day(from.num_seconds_from_midnight())
        {
            return at(from.date(), second);
        }
        let date = self.next_date(from.date().checked_add_days(Days::new(1))?)?;
        at(date, self.next_of_day(0)?)
    }

    /// The last fire time at or before `until`, on a clock without daylight saving; none within 100 years.
    pub fn prev_local(&self, until: NaiveDateTime) -> Option<NaiveDateTime> {
        if self.fires_on(until.date())
            && let Some(second) = self.prev_of_day(until.num_seconds_from_midnight())
        {
            return at(until.date(), second);
        }
        let date = self.prev_date(until.date().checked_sub_days(Days::new(1))?)?;
        at(date, self.prev_of_day(24 * 3600 - 1)?)
    }

    fn fires_on(&self, date: NaiveDate) -> bool {
        self.has_year(date.year())
            && has(self.months, date.month())
            && has(self.days(date.year(), date.month()), date.day())
    }

    fn has_year(&self, year: i32) -> bool {
        self.years
            .iter()
            .any(|&(first, last, step)| (first..=last).contains(&year) && (year - first) % step == 0)
    }

    /// The first date with a fire time, at or after `from`.
    fn next_date(&self, from: NaiveDate) -> Option<NaiveDate> {
        for year in from.year()..=from.year().saturating_add(SEARCH_YEARS).min(*YEARS.end()) {
            if !self.has_year(year) {
                continue;
            }
            let first_month = if year == from.year() { from.month() } else { 1 };
            for month in (first_month..=12).filter(|month| has(self.months, *month)) {
                let first_day = if (year, month) == (from.year(), from.month()) { from.day() } else { 1 };
                if let Some(day) = at_or_above(self.days(year, month), first_day) {
                    return NaiveDate::from_ymd_opt(year, month, day);
                }
            }
        }
        None
    }

    /// The last date with a fire time, at or before `until`.
    fn prev_date(&self, until: NaiveDate) -> Option<NaiveDate> {
        for year in (until.year().saturating_sub(SEARCH_YEARS).max(*YEARS.start())..=until.year()).rev() {
            if !self.has_year(year) {
                continue;
            }
            let last_month = if year == until.year() { until.month() } else { 12 };
            for month in (1..=last_month).rev().filter(|month| has(self.months, *month)) {
                let last_day = if (year, month) == (until.year(), until.month()) { until.day() } else { 31 };
                if let Some(day) = at_or_below(self.days(year, month), last_day) {
                    return NaiveDate::from_ymd_opt(year, month, day);
                }
            }
        }
        None
    }

    /// The days of one month that both day fields allow: bit n is day n.
    fn days(&self, year: i32, month: u32) -> u64 {
        let Some(first) = NaiveDate::from_ymd_opt(year, month, 1) else { return 0 };
        let length = u32::from(first.num_days_in_month());
        let first_weekday = first.weekday().number_from_sunday();
        let weekday = |day: u32| (first_weekday + day - 2) % 7 + 1;
        let mut by_week = 0;
        for day in 1..=length {
            let special = |rule: &WeekDay| match *rule {
                WeekDay::Last(which) => which == weekday(day) && day + 7 > length,
                WeekDay::Nth(which, nth) => which == weekday(day) && (day - 1) / 7 + 1 == nth,
            };
            if has(self.week_days.plain, weekday(day)) || self.week_days.special.iter().any(special) {
                by_week |= 1 << day;
            }
        }
        let mut by_month = self.month_days.plain;
        for rule in &self.month_days.special {
            by_month |= match *rule {
                MonthDay::Last(back) if back < length => 1 << (length - back),
                MonthDay::LastWeekday => 1 << nearest_weekday(length, length, weekday(length)),
                MonthDay::NearestWeekday(day) if day <= length => {
                    1 << nearest_weekday(day, length, weekday(day))
                }
                MonthDay::Last(_) | MonthDay::NearestWeekday(_) => 0,
            };
        }
        by_month & by_week & ((1 << (length + 1)) - 2)
    }

    /// The first second of a day that fires, at or after `from`; both count from midnight.
    fn next_of_day(&self, from: u32) -> Option<u32> {
        let (hour, minute, second) = (from / 3600, from / 60 % 60, from % 60);
        let (first_minute, first_second) = (self.minutes.trailing_zeros(), self.seconds.trailing_zeros());
        if has(self.hours, hour) {
            if has(self.minutes, minute)
                && let Some(second) = at_or_above(self.seconds, second)
            {
                return Some(hour * 3600 + minute * 60 + second);
            }
            if let Some(minute) = at_or_above(self.minutes, minute + 1) {
                return Some(hour * 3600 + minute * 60 + first_second);
            }
        }
        let hour = at_or_above(self.hours, hour + 1)?;
        Some(hour * 3600 + first_minute * 60 + first_second)
    }

    /// The last second of a day that fires, at or before `until`; both count from midnight.
    fn prev_of_day(&self, until: u32) -> Option<u32> {
        let (hour, minute, second) = (until / 3600, until / 60 % 60, until % 60);
        let (last_minute, last_second) = (self.minutes.checked_ilog2()?, self.seconds.checked_ilog2()?);
        if has(self.hours, hour) {
            if has(self.minutes, minute)
                && let Some(second) = at_or_below(self.seconds, second)
            {
                return Some(hour * 3600 + minute * 60 + second);
            }
            if let Some(minute) = minute.checked_sub(1).and_then(|below| at_or_below(self.minutes, below)) {
                return Some(hour * 3600 + minute * 60 + last_second);
            }
        }
        let hour = hour.checked_sub(1).and_then(|below| at_or_below(self.hours, below))?;
        Some(hour * 3600 + last_minute * 60 + last_second)
    }
}

impl std::fmt::Display for Cron {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.text)
    }
}

fn at(date: NaiveDate, second: u32) -> Option<NaiveDateTime> {
    NaiveTime::from_num_seconds_from_midnight_opt(second, 0).map(|time| date.and_time(time))
}

/// The Monday to Friday nearest to `day` that lies in the same month.
fn nearest_weekday(day: u32, length: u32, weekday: u32) -> u32 {
    if weekday == Weekday::Sat.number_from_sunday() {
        if day == 1 { 3 } else { day - 1 }
    } else if weekday == Weekday::Sun.number_from_sunday() {
        if day == length { day - 2 } else { day + 1 }
    } else {
        day
    }
}

fn has(mask: u64, bit: u32) -> bool {
    mask >> bit & 1 == 1
}

/// The lowest bit that is set, at or above `bit` (below 64).
fn at_or_above(mask: u64, bit: u32) -> Option<u32> {
    let above = mask >> bit << bit;
    (above != 0).then(|| above.trailing_zeros())
}

/// The highest bit that is set, at or below `bit` (below 63).
fn at_or_below(mask: u64, bit: u32) -> Option<u32> {
    (mask & ((1 << (bit + 1)) - 1)).checked_ilog2()
}
