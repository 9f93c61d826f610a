//! From text to fields.

use super::{Cron, CronError, MonthDay, MonthDays, WeekDay, WeekDays, YEARS};

/// The `@` names of abs.md 2.8 and `@midnight` (rules.md 1.6); `@weekly` is Sunday, which is 1.
const NAMED: [(&str, &str); 6] = [
    ("@yearly", "0 0 0 1 1 *"),
    ("@monthly", "0 0 0 1 * *"),
    ("@weekly", "0 0 0 * * 1"),
    ("@daily", "0 0 0 * * *"),
    ("@midnight", "0 0 0 * * *"),
    ("@hourly", "0 0 * * * *"),
];

const MONTHS: [&str; 12] =
    ["JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC"];
const WEEK_DAYS: [&str; 7] = ["SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT"];

/// What one field may hold.
struct Field {
    name: &'static str,
    first: u32,
    last: u32,
    /// The names of the values from `first` on.
    names: &'static [&'static str],
}

const SECOND: Field = Field { name: "seconds", first: 0, last: 59, names: &[] };
const MINUTE: Field = Field { name: "minutes", first: 0, last: 59, names: &[] };
const HOUR: Field = Field { name: "hours", first: 0, last: 23, names: &[] };
const MONTH_DAY: Field = Field { name: "day-of-month", first: 1, last: 31, names: &[] };
const MONTH: Field = Field { name: "month", first: 1, last: 12, names: &MONTHS };
const WEEK_DAY: Field = Field { name: "day-of-week", first: 1, last: 7, names: &WEEK_DAYS };
const YEAR: Field =
    Field { name: "year", first: *YEARS.start() as u32, last: *YEARS.end() as u32, names: &[] };

/// First, last and step of an item.
type Span = (u32, u32, u32);

pub(super) fn parse(text: &str) -> Result<Cron, CronError> {
    let text = text.trim();
    let expanded = if text.starts_with('@') {
        NAMED
            .iter()
            .find(|(name, _)| name.eq_ignore_ascii_case(text))
            .map(|(_, fields)| *fields)
            .ok_or_else(|| CronError::UnknownName { text: text.to_owned() })?
    } else {
        text
    };
    let fields: Vec<&str> = expanded.split_whitespace().collect();
    let (seconds, minutes, hours, month_days, months, week_days, years) = match fields.as_slice() {
        &[s, m, h, dom, mon, dow] => (s, m, h, dom, mon, dow, "*"),
        &[s, m, h, dom, mon, dow, year] => (s, m, h, dom, mon, dow, year),
        other => return Err(CronError::Length { text: text.to_owned(), found: other.len() }),
    };
    if !is_any(month_days) && !is_any(week_days) {
        return Err(CronError::DayFieldSetTwice { of_month: month_days.into(), of_week: week_days.into() });
    }
    Ok(Cron {
        text: text.to_owned(),
        seconds: mask(&SECOND, seconds)?,
        minutes: mask(&MINUTE, minutes)?,
        hours: mask(&HOUR, hours)?,
        fixed_hours: !hours.contains(['*', '?', '-', '/']),
        month_days: parse_month_days(month_days)?,
        months: mask(&MONTH, months)?,
        week_days: parse_week_days(week_days)?,
        years: years
            .split(',')
            .map(|item| YEAR.span(item).map(|(first, last, step)| (first as i32, last as i32, step as i32)))
            .collect::<Result<_, _>>()?,
    })
}

fn is_any(text: &str) -> bool {
    text == "*" || text == "?"
}

fn mask(field: &Field, text: &str) -> Result<u64, CronError> {
    text.split(',').try_fold(0, |mask, item| Ok(mask | bits(field.span(item)?)))
}

fn bits((first, last, step): Span) -> u64 {
    (first..=last).step_by(step as usize).fold(0, |mask, bit| mask | 1 << bit)
}

fn parse_month_days(text: &str) -> Result<MonthDays, CronError> {
    let mut days = MonthDays::default();
    for item in text.split(',') {
        let upper = item.to_ascii_uppercase();
        if upper == "L" {
            days.special.push(MonthDay::Last(0));
        } else if upper == "LW" {
            days.special.push(MonthDay::LastWeekday);
        } else if let Some(back) = upper.strip_prefix("L-") {
            let back = number(back)
                .filter(|back| (1..=30).contains(back))
                .ok_or_else(|| MONTH_DAY.error(item, "after L- comes a number from 1 to 30"))?;
            days.special.push(MonthDay::Last(back));
        } else if let Some(day) = upper.strip_suffix('W') {
            days.special.push(MonthDay::NearestWeekday(MONTH_DAY.value(item, day)?));
        } else {
            days.plain |= bits(MONTH_DAY.span(item)?);
        }
    }
    Ok(days)
}

fn parse_week_days(text: &str) -> Result<WeekDays, CronError> {
    let mut days = WeekDays::default();
    for item in text.split(',') {
        let upper = item.to_ascii_uppercase();
        if upper == "L" {
            days.plain |= 1 << WEEK_DAY.last; // Saturday, the last day of the week
        } else if let Some((day, nth)) = upper.split_once('#') {
            let nth = number(nth)
                .filter(|nth| (1..=5).contains(nth))
                .ok_or_else(|| WEEK_DAY.error(item, "after # comes a number from 1 to 5"))?;
            days.special.push(WeekDay::Nth(WEEK_DAY.value(item, day)?, nth));
        } else if let Some(day) = upper.strip_suffix('L') {
            days.special.push(WeekDay::Last(WEEK_DAY.value(item, day)?));
        } else {
            days.plain |= bits(WEEK_DAY.span(item)?);
        }
    }
    Ok(days)
}

/// Digits only: no sign, no spaces.
fn number(text: &str) -> Option<u32> {
    if text.bytes().all(|byte| byte.is_ascii_digit()) { text.parse().ok() } else { None }
}

impl Field {
    fn error(&self, item: &str, problem: impl Into<String>) -> CronError {
        CronError::Field { field: self.name, text: item.to_owned(), problem: problem.into() }
    }

    /// One value, a number or a name, of the item.
    fn value(&self, item: &str, text: &str) -> Result<u32, CronError> {
        let named = self.names.iter().position(|name| name.eq_ignore_ascii_case(text));
        let value = match named {
            Some(position) => Some(self.first + position as u32),
            None => number(text),
        };
        match value {
            Some(value) if (self.first..=self.last).contains(&value) => Ok(value),
            Some(_) => Err(self.error(item, format!("must be from {} to {}", self.first, self.last))),
            None if self.names.is_empty() => Err(self.error(item, "is not a number")),
            None => Err(self.error(item, "is neither a number nor a name")),
        }
    }

    /// `*`, `?`, `a`, `a-b`, each with `/n` or without.
    fn span(&self, item: &str) -> Result<Span, CronError> {
        let (range, step) = match item.split_once('/') {
            None => (item, None),
            Some((range, step)) => {
                let step = number(step).filter(|step| *step > 0);
                (range, Some(step.ok_or_else(|| self.error(item, "after / comes a number above 0"))?))
            }
        };
        if step.is_some_and(|step| step > self.last) {
            return Err(
                self.error(item, format!("the step is larger than the field, which ends at {}", self.last))
            );
        }
        let (first, last) = if is_any(range) {
            (self.first, self.last)
        } else if let Some((first, last)) = range.split_once('-') {
            (self.value(item, first)?, self.value(item, last)?)
        } else {
            let first = self.value(item, range)?;
            (first, if step.is_some() { self.last } else { first })
        };
        if last < first {
            return Err(self.error(item, "the range runs backwards"));
        }
        Ok((first, last, step.unwrap_or(1)))
    }
}
