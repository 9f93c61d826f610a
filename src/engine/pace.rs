//! Waits that hold work to its limit per second; shared by all that draw on one limit.

use std::fmt;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::Watch;
use crate::error::Result;
use crate::limit::Limit;
use crate::tasks::unless_canceled;

/// A wait on purpose is no standstill (rules.md 2.9): so often the job hears of it. Far below any sensible
/// `stall-timeout`.
const TOLD_EVERY: Duration = Duration::from_secs(1);

/// A limit per second that many tasks draw on.
pub struct Pace {
    limit: Mutex<Limit>,
    burst: u64,
}

impl Pace {
    /// `per_second` units.
    pub fn new(per_second: u64) -> Self {
        let limit = Limit::new(per_second);
        Self { burst: limit.burst(), limit: Mutex::new(limit) }
    }

    /// The most units that pass without a wait after a rest; at least one.
    pub fn burst(&self) -> u64 {
        self.burst
    }

    /// Takes `units` and waits until they may be used; `canceled` ends the wait.
    pub async fn wait(&self, units: u64, watch: &dyn Watch, cancel: &CancellationToken) -> Result<()> {
        let until = self.take(units);
        while Instant::now() < until {
            let next = until.min(Instant::now() + TOLD_EVERY);
            let slept = async {
                tokio::time::sleep_until(next).await;
                Ok(())
            };
            unless_canceled(cancel, slept).await?;
            watch.alive();
        }
        Ok(())
    }

    /// Takes `units`: the instant from which they may be used.
    pub fn take(&self, units: u64) -> Instant {
        let now = Instant::now();
        let mut limit = self.limit.lock().unwrap_or_else(PoisonError::into_inner);
        now + limit.take(units, now.into_std())
    }
}

impl fmt::Debug for Pace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pace").field("burst", &self.burst).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};

    use super::*;

    #[derive(Default)]
    struct Alive(AtomicU64);

    impl Watch for Alive {
        fn read(&self, _records: u64) {}
        fn done(&self, _records: u64, _bytes: u64) {}
        fn alive(&self) {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }

    #[tokio::test]
    async fn many_tasks_share_one_limit_and_a_wait_is_heard_of() {
        let (pace, watch) = (Pace::new(1000), Alive::default());
        let start = Instant::now();
        let cancel = CancellationToken::new();
        let waits = (0..5).map(|_| pace.wait(50, &watch, &cancel));
        futures_util::future::join_all(waits).await.into_iter().for_each(|ended| ended.unwrap());
        assert!(start.elapsed() >= Duration::from_millis(150), "250 units less the burst of 100");
        assert!(watch.0.load(Ordering::SeqCst) >= 3, "two pass at once, three wait");
    }

    #[tokio::test]
    async fn a_cancel_ends_the_wait() {
        let (pace, cancel) = (Pace::new(1), CancellationToken::new());
        let (watch, ends) = (Alive::default(), cancel.clone());
        let waits = pace.wait(1000, &watch, &cancel);
        let (ended, ()) = tokio::join!(waits, async { ends.cancel() });
        assert_eq!(ended.unwrap_err().code(), "canceled");
    }
}
