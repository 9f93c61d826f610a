//! Which fulls a policy keeps: by number, by age, by periods (rules.md 5.1). Days begin at midnight UTC, weeks on Monday.

use chrono::Datelike;

use super::{Keep, Policy};
use crate::model::UnixMillis;

const DAY_MS: i64 = 86_400_000;

/// A kind of period.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Tier {
    /// Days.
    Daily,
    /// Weeks, from Monday.
    Weekly,
    /// Months.
    Monthly,
    /// Years.
    Yearly,
}

impl Tier {
    /// Every tier, the shortest period first.
    pub const ALL: [Self; 4] = [Self::Daily, Self::Weekly, Self::Monthly, Self::Yearly];

    /// The period that an instant lies in; later ones have higher numbers.
    pub fn period(self, at: UnixMillis) -> i64 {
        let day = at.0.div_euclid(DAY_MS);
        match self {
            Self::Daily => day,
            // 1970-01-01 was a Thursday.
            Self::Weekly => (day + 3).div_euclid(7),
            Self::Monthly => {
                let date = at.to_utc();
                i64::from(date.year()) * 12 + i64::from(date.month0())
            }
            Self::Yearly => i64::from(at.to_utc().year()),
        }
    }
}

/// Of how many periods the newest full stays; periods without one do not count.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Tiers {
    /// Days.
    pub daily: u32,
    /// Weeks.
    pub weekly: u32,
    /// Months.
    pub monthly: u32,
    /// Years.
    pub yearly: u32,
}

impl Tiers {
    /// None.
    pub const NONE: Self = Self { daily: 0, weekly: 0, monthly: 0, yearly: 0 };

    /// Of how many periods of a kind.
    pub const fn of(self, tier: Tier) -> u32 {
        match tier {
            Tier::Daily => self.daily,
            Tier::Weekly => self.weekly,
            Tier::Monthly => self.monthly,
            Tier::Yearly => self.yearly,
        }
    }
}

/// What a policy keeps of the fulls that count.
pub(super) struct Rules {
    /// Those that count, ascending, and why each stays.
    fulls: Vec<(UnixMillis, Option<Keep>)>,
    policy: Policy,
    now: UnixMillis,
}

impl Rules {
    /// `counted`: their `created`, ascending.
    pub(super) fn of(counted: &[UnixMillis], policy: Policy, now: UnixMillis) -> Self {
        let mut rules = Self { fulls: Vec::with_capacity(counted.len()), policy, now };
        for (place, created) in counted.iter().enumerate() {
            let newer = counted.len() - 1 - place;
            rules.fulls.push((*created, rules.by_number_or_age(newer, *created)));
        }
        for tier in Tier::ALL {
            rules.keep_newest_of_each(tier);
        }
        let floor = policy.min_fulls.max(1);
        for (_, keep) in rules.fulls.iter_mut().rev().take(floor).filter(|(_, keep)| keep.is_none()) {
            *keep = Some(Keep::Floor);
        }
        rules
    }

    fn by_number_or_age(&self, newer: usize, created: UnixMillis) -> Option<Keep> {
        if newer < self.policy.full {
            return Some(Keep::Policy);
        }
        let young = self.policy.max_age_ms.is_some_and(|most| self.now.since(created) <= most);
        young.then_some(Keep::Age)
    }

    fn keep_newest_of_each(&mut self, tier: Tier) {
        let (mut left, mut last) = (self.policy.keep.of(tier), None);
        for (created, keep) in self.fulls.iter_mut().rev() {
            let period = Some(tier.period(*created));
            if left == 0 {
                return;
            }
            if period != last {
                (last, left) = (period, left - 1);
                keep.get_or_insert(Keep::Tier(tier));
            }
        }
    }

    /// Why what was created then stays. Broken, void and promoted fulls go with the counted full before them.
    pub(super) fn keeps(&self, created: UnixMillis) -> Option<Keep> {
        let before = self.fulls.partition_point(|(one, _)| *one <= created);
        match before.checked_sub(1).and_then(|place| self.fulls.get(place)) {
            Some((_, keep)) => *keep,
            None if self.fulls.len() < self.policy.min_fulls.max(1) => Some(Keep::Floor),
            None => self.by_number_or_age(self.fulls.len(), created),
        }
    }
}
