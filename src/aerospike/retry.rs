//! When to try again, and how long to wait before.

use std::time::Duration;

/// How often and after which delays something is tried again (asb.md 6.2: `base * multiplier ^ n`).
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct RetryPolicy {
    /// Delay before the first retry.
    pub base_timeout_ms: u64,
    /// What each further delay is multiplied by.
    pub multiplier: f64,
    /// Further tries after the first one; 0: a single try.
    pub max_retries: u32,
}

impl RetryPolicy {
    /// For scans: the retries of a scan that makes no progress last about a minute, which a rebalance survives.
    pub const SCAN: Self = Self { base_timeout_ms: 500, multiplier: 1.5, max_retries: 10 };
    /// For batch rows: the library default of the official tools (asb.md 6.2).
    pub const WRITE: Self = Self { base_timeout_ms: 1000, multiplier: 2.0, max_retries: 3 };

    /// The delay before retry `n`, counted from 0. At most one hour, so that no exponent overflows.
    pub fn delay(&self, n: u32) -> Duration {
        const HOUR_S: f64 = 3600.0;
        let base_s = Duration::from_millis(self.base_timeout_ms).as_secs_f64();
        let delay_s = base_s * self.multiplier.max(0.0).powf(f64::from(n));
        Duration::from_secs_f64(if delay_s.is_finite() { delay_s.clamp(0.0, HOUR_S) } else { HOUR_S })
    }
}

#[cfg(test)]
mod tests {
    use super::RetryPolicy;
    use std::time::Duration;

    #[test]
    fn delays_grow_by_the_multiplier_and_never_overflow() {
        let policy = RetryPolicy { base_timeout_ms: 100, multiplier: 2.0, max_retries: 3 };
        let delays: Vec<_> = (0..4).map(|n| policy.delay(n).as_millis()).collect();
        assert_eq!(delays, [100, 200, 400, 800]);
        assert_eq!(policy.delay(u32::MAX), Duration::from_hours(1));
        assert_eq!(RetryPolicy { multiplier: f64::NAN, ..policy }.delay(3), Duration::ZERO);
    }
}
