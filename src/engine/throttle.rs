//! The limit of bytes per second that all files of a job share.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use super::Watch;

/// Far below any sensible `stall-timeout`.
const WAIT_TOLD_EVERY: Duration = Duration::from_secs(1);

/// A rate, and up to when it is used up. Pure: the time is a parameter, counted from any fixed instant.
///
/// Idle time is not saved up, so that no second carries more than the rate and one block.
#[derive(Debug)]
struct Bucket {
    per_second: u64,
    /// When all that was let through is paid for.
    paid_at: Duration,
}

impl Bucket {
    /// Lets `amount` through: how long to wait first, for those before it.
    fn take(&mut self, amount: u64, now: Duration) -> Duration {
        let begin = self.paid_at.max(now);
        let nanos = u128::from(amount) * 1_000_000_000 / u128::from(self.per_second.max(1));
        self.paid_at = begin.saturating_add(Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX)));
        begin.saturating_sub(now)
    }
}

/// A limit per second; whoever takes from it waits for those before.
#[derive(Debug)]
pub struct Throttle {
    since: Instant,
    bucket: Mutex<Bucket>,
}

impl Throttle {
    /// So many per second; 0 counts as 1.
    pub fn new(per_second: u64) -> Self {
        Self { since: Instant::now(), bucket: Mutex::new(Bucket { per_second, paid_at: Duration::ZERO }) }
    }

    /// Waits until `amount` may go. It is no standstill (rules.md 2.9): `watch` hears of it. Dropping the future is a
    /// fine way to cancel.
    pub async fn take(&self, amount: u64, watch: &dyn Watch) {
        let mut left =
            self.bucket.lock().unwrap_or_else(PoisonError::into_inner).take(amount, self.since.elapsed());
        while !left.is_zero() {
            let step = left.min(WAIT_TOLD_EVERY);
            tokio::time::sleep(step).await;
            watch.alive();
            left = left.saturating_sub(step);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::Bucket;

    const fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    #[test]
    fn over_any_time_no_more_than_the_rate_and_one_block_go_through() {
        let mut bucket = Bucket { per_second: 1000, paid_at: Duration::ZERO };
        let (mut now, mut sent) = (ms(0), Vec::new());
        for block in [300_u64, 10, 700, 1, 2_000, 50, 50] {
            now += bucket.take(block, now);
            sent.push((now, block));
        }
        for (from, first) in sent.iter().enumerate() {
            for (to, last) in sent.iter().enumerate().skip(from) {
                let between: u64 = sent[from..to].iter().map(|(_, block)| block).sum();
                let may = last.0.saturating_sub(first.0).as_millis() as u64;
                assert!(between <= may, "{between} went in {may} ms");
                assert_eq!(between, may, "and it is not slower than asked for");
            }
        }
    }

    #[test]
    fn idle_time_is_not_saved_up_and_those_who_ask_at_once_go_in_turn() {
        let mut bucket = Bucket { per_second: 1000, paid_at: Duration::ZERO };
        assert_eq!(bucket.take(500, ms(60_000)), ms(0));
        assert_eq!(bucket.take(500, ms(60_000)), ms(500));
        assert_eq!(bucket.take(500, ms(60_250)), ms(750));
        assert_eq!(bucket.take(1, ms(70_000)), ms(0));
        let mut none = Bucket { per_second: 0, paid_at: Duration::ZERO };
        assert_eq!((none.take(1, ms(0)), none.take(1, ms(0))), (ms(0), ms(1000)));
    }
}
