//! How much may pass in a second: a token bucket that knows no clock.

use std::time::{Duration, Instant};

/// What may pass at once after a rest: a tenth of a second's worth, so that a limit is felt within any second.
const BURST: Duration = Duration::from_millis(100);

/// So far ahead nothing is planned: keeps instants from overflowing.
const AHEAD_MAX: Duration = Duration::from_hours(24);

/// A bound of units per second. What is taken is always granted, and tells how long to wait before it is used: one
/// piece may be larger than a second's worth.
#[derive(Debug)]
pub struct Limit {
    per_second: u64,
    /// When all that was taken is paid for; none: nothing was.
    paid_at: Option<Instant>,
}

impl Limit {
    /// `per_second` units; 0 counts as 1.
    pub fn new(per_second: u64) -> Self {
        Self { per_second: per_second.max(1), paid_at: None }
    }

    /// Takes `units` at the instant `now`; the answer is how long to wait before they are used.
    ///
    /// Until any instant at most (time since the first take + a tenth of a second) × rate units are used. A clock that
    /// goes back is met by waiting longer, never by letting more through.
    pub fn take(&mut self, units: u64, now: Instant) -> Duration {
        let earliest = now.checked_sub(BURST).unwrap_or(now);
        let from = self.paid_at.map_or(earliest, |paid_at| paid_at.max(earliest));
        let paid_at = (from + self.cost(units)).min(now + AHEAD_MAX);
        self.paid_at = Some(paid_at);
        paid_at.saturating_duration_since(now)
    }

    /// The most units that pass without a wait after a rest; at least one.
    pub fn burst(&self) -> u64 {
        (self.per_second / 10).max(1)
    }

    fn cost(&self, units: u64) -> Duration {
        let nanos = u128::from(units) * 1_000_000_000 / u128::from(self.per_second);
        u64::try_from(nanos).map_or(AHEAD_MAX, Duration::from_nanos).min(AHEAD_MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: fn(u64) -> Duration = Duration::from_millis;

    #[test]
    fn over_any_stretch_no_more_than_the_rate_and_one_burst_passes() {
        let (mut now, mut limit) = (Instant::now(), Limit::new(1000));
        for rest in [0, 1, 50, 100, 60_000] {
            now += MS(rest);
            let (start, mut passed) = (now, 0_u64);
            for units in [1, 7, 99, 100, 1000, 1, 3000, 5].into_iter().cycle().take(40) {
                now += limit.take(units, now);
                passed += units;
                let allowed = (now - start + BURST).as_millis();
                assert!(u128::from(passed) <= allowed, "{passed} passed, {allowed} are allowed");
            }
        }
    }

    #[test]
    fn the_rate_is_reached() {
        let (start, mut limit) = (Instant::now(), Limit::new(500));
        let mut now = start;
        for _ in 0..5000 {
            now += limit.take(1, now);
        }
        assert_eq!((now - start).as_secs(), 9, "5000 units less the burst, 500 a second");
    }

    #[test]
    fn a_rest_lets_one_burst_pass_and_no_more() {
        let (mut now, mut limit) = (Instant::now(), Limit::new(100));
        for _ in 0..2 {
            assert_eq!(limit.burst(), 10);
            assert_eq!(limit.take(10, now), Duration::ZERO);
            assert_eq!(limit.take(1, now), MS(10));
            assert_eq!(limit.take(1, now), MS(20));
            now += MS(60_000);
        }
    }

    #[test]
    fn odd_numbers_and_odd_clocks_do_no_harm() {
        let now = Instant::now() + MS(1_000_000);
        let mut limit = Limit::new(0);
        assert_eq!(limit.take(1, now), MS(900), "0 counts as 1");
        assert_eq!(limit.take(u64::MAX, now), AHEAD_MAX);
        assert_eq!(limit.take(u64::MAX, now), AHEAD_MAX);
        let mut limit = Limit::new(u64::MAX);
        assert_eq!(limit.take(u64::MAX / 100, now), Duration::ZERO);
        let mut limit = Limit::new(10);
        limit.take(1, now);
        assert!(limit.take(10, now.checked_sub(MS(500)).unwrap()) >= MS(1000), "the clock went back");
    }
}
