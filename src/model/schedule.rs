//! Schedules: a cron expression on the clock of a zone (rules.md 1.5).

#[cfg(test)]
mod tests;

use chrono::{DateTime, LocalResult, NaiveDateTime, Offset, TimeZone};
use chrono_tz::{GapInfo, Tz};

use super::cron::{Cron, CronError};
use super::time::UnixMillis;

/// How many slots are counted at most (rules.md 1.3).
pub const COUNT_MAX: u32 = 10_000;

const DAY_S: i64 = 86_400;

/// A schedule must fire within this time, in milliseconds (rules.md 1.6: twenty years).
const MUST_FIRE_WITHIN_MS: i64 = (20 * 365 + 5) * DAY_S * 1000;

/// A cron expression and the zone whose clock it reads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Schedule {
    cron: Cron,
    zone: Tz,
}

/// Slots of a stretch of time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SlotCount {
    /// How many, counted up to [`COUNT_MAX`].
    pub count: u32,
    /// The oldest.
    pub first: UnixMillis,
    /// The newest.
    pub last: UnixMillis,
}

impl Schedule {
    /// An expression on the clock of `zone`.
    pub const fn new(cron: Cron, zone: Tz) -> Self {
        Self { cron, zone }
    }

    /// Parses both and refuses what does not fire within twenty years after `now` (rules.md 1.6).
    ///
    /// An empty zone name is UTC; `Local` is the caller's to resolve.
    pub fn parse(cron: &str, zone_name: &str, now: UnixMillis) -> Result<Self, CronError> {
        let zone = parse_zone(zone_name)?;
        let schedule = Self::new(Cron::parse(cron)?, zone);
        match schedule.next_after(now) {
            Some(slot) if slot.since(now) <= MUST_FIRE_WITHIN_MS => Ok(schedule),
            _ => Err(CronError::Never { text: schedule.cron.text().to_owned() }),
        }
    }

    /// The expression.
    pub const fn cron(&self) -> &Cron {
        &self.cron
    }

    /// The zone.
    pub const fn zone(&self) -> Tz {
        self.zone
    }

    /// The first slot strictly after `after`, in whole seconds.
    pub fn next_after(&self, after: UnixMillis) -> Option<UnixMillis> {
        let after = after.secs();
        let next =
            if self.cron.has_fixed_hours() { self.next_fixed(after) } else { self.next_elastic(after) };
        next.map(UnixMillis::from_secs)
    }

    /// The newest slot at or before `until`.
    pub fn prev_at_or_before(&self, until: UnixMillis) -> Option<UnixMillis> {
        let until = until.secs();
        let prev =
            if self.cron.has_fixed_hours() { self.prev_fixed(until) } else { self.prev_elastic(until) };
        prev.map(UnixMillis::from_secs)
    }

    /// Whether `at` is a slot.
    pub fn fires_at(&self, at: UnixMillis) -> bool {
        self.next_after(at.plus_ms(-1)) == Some(at)
    }

    /// The slots after `after`, ascending.
    pub fn slots_after(&self, after: UnixMillis) -> impl Iterator<Item = UnixMillis> + '_ {
        std::iter::successors(self.next_after(after), |slot| self.next_after(*slot))
    }

    /// The next `count` slots after `after`; fewer if the schedule ends.
    pub fn next_n(&self, after: UnixMillis, count: usize) -> Vec<UnixMillis> {
        self.slots_after(after).take(count).collect()
    }

    /// The slots in (`after`, `until`]; none if there is no slot.
    pub fn count_between(&self, after: UnixMillis, until: UnixMillis) -> Option<SlotCount> {
        let mut slots = self.slots_after(after).take_while(|slot| *slot <= until);
        let first = slots.next()?;
        let count = 1 + slots.take(COUNT_MAX as usize - 1).count() as u32;
        Some(SlotCount { count, first, last: self.prev_at_or_before(until).unwrap_or(first) })
    }

    /// Fixed hours: each local time has one instant, and the later the local time, the later the instant.
    fn next_fixed(&self, after: i64) -> Option<i64> {
        let mut local = naive(after + self.offset_at(after))?;
        // Turns more than once only in the second pass of a repeated hour.
        loop {
            local = self.cron.next_local(local)?;
            let instant = self.first_instant(local);
            if instant > after {
                return Some(instant);
            }
        }
    }

    fn prev_fixed(&self, until: i64) -> Option<i64> {
        let local = until + self.offset_at(until);
        // In the second pass of a repeated hour its first pass is over as a whole: look from its end backwards.
        let behind = until - self.first_instant(naive(local)?);
        let mut from = naive(local + behind)?;
        loop {
            let local = self.cron.prev_local(from)?;
            let instant = self.first_instant(local);
            if instant <= until {
                return Some(instant);
            }
            from = local - chrono::TimeDelta::seconds(1);
        }
    }

    /// The first instant whose clock shows `local`, or the first after the gap that swallowed it.
    fn first_instant(&self, local: NaiveDateTime) -> i64 {
        match self.zone.from_local_datetime(&local) {
            LocalResult::Single(instant) | LocalResult::Ambiguous(instant, _) => instant.timestamp(),
            LocalResult::None => GapInfo::new(&local, &self.zone)
                .and_then(|gap| gap.end)
                .map_or_else(|| local.and_utc().timestamp(), |end| end.timestamp()),
        }
    }

    /// Elastic hours: every instant whose clock shows a fire time, stretch by stretch of constant offset.
    fn next_elastic(&self, after: i64) -> Option<i64> {
        let mut from = after;
        let mut offset = self.offset_at(after);
        loop {
            let next =
                self.cron.next_local(naive(from + offset)?).map(|next| next.and_utc().timestamp() - offset);
            // An expression that has ended can still be repeated by a clock that is set back soon.
            match self.shift_after(from, next.unwrap_or(from + 2 * DAY_S), offset) {
                None => return next,
                Some(shift) => {
                    from = shift - 1;
                    offset = self.offset_at(shift);
                }
            }
        }
    }

    fn prev_elastic(&self, until: i64) -> Option<i64> {
        let mut from = until;
        let mut offset = self.offset_at(until);
        loop {
            let prev =
                self.cron.prev_local(naive(from + offset)?).map(|prev| prev.and_utc().timestamp() - offset);
            match self.shift_before(from, prev.unwrap_or(from - 2 * DAY_S), offset) {
                None => return prev,
                Some(shift) => {
                    from = shift - 1;
                    offset = self.offset_at(from);
                }
            }
        }
    }

    /// The first instant in (`from`, `until`] with another offset. No zone shifts twice within a day.
    fn shift_after(&self, from: i64, until: i64, offset: i64) -> Option<i64> {
        let mut same = from;
        while same < until {
            let mut other = until.min(same + DAY_S);
            if self.offset_at(other) == offset {
                same = other;
                continue;
            }
            while other - same > 1 {
                let middle = same + (other - same) / 2;
                if self.offset_at(middle) == offset { same = middle } else { other = middle }
            }
            return Some(other);
        }
        None
    }

    /// The last instant in (`until`, `from`] at which `offset` began.
    fn shift_before(&self, from: i64, until: i64, offset: i64) -> Option<i64> {
        let mut same = from;
        while same > until {
            let mut other = until.max(same - DAY_S);
            if self.offset_at(other) == offset {
                same = other;
                continue;
            }
            while same - other > 1 {
                let middle = other + (same - other) / 2;
                if self.offset_at(middle) == offset { same = middle } else { other = middle }
            }
            return Some(same);
        }
        None
    }

    /// Seconds that the zone's clock is ahead of UTC at an instant.
    fn offset_at(&self, secs: i64) -> i64 {
        naive(secs)
            .map_or(0, |utc| i64::from(self.zone.offset_from_utc_datetime(&utc).fix().local_minus_utc()))
    }
}

/// The zone of that name in the time zone database; the empty name is UTC.
pub fn parse_zone(name: &str) -> Result<Tz, CronError> {
    if name.is_empty() {
        return Ok(Tz::UTC);
    }
    name.parse().map_err(|_| CronError::UnknownZone { text: name.to_owned() })
}

fn naive(secs: i64) -> Option<NaiveDateTime> {
    DateTime::from_timestamp(secs, 0).map(|at| at.naive_utc())
}
