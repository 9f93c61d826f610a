//! How many requests may be on the way, and how many may begin in a second.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::Instant;

/// The limits of one storage. A body that is being read does not count as a request: whoever reads one may have to ask
/// for something else before it goes on.
#[derive(Debug)]
pub(super) struct Gate {
    permits: Option<Semaphore>,
    turns: Option<Mutex<Turns>>,
}

/// When the next request may begin. Idle time is not saved up.
#[derive(Debug)]
struct Turns {
    every: Duration,
    next: Instant,
}

impl Turns {
    fn take(&mut self, now: Instant) -> Instant {
        let turn = self.next.max(now);
        self.next = turn + self.every;
        turn
    }
}

impl Gate {
    /// 0 is no limit, of both.
    pub(super) fn new(requests_max: u32, per_second: u32) -> Self {
        let most = (requests_max as usize).min(Semaphore::MAX_PERMITS);
        let turns = (per_second > 0)
            .then(|| Turns { every: Duration::from_secs(1) / per_second, next: Instant::now() });
        Self { permits: (most > 0).then(|| Semaphore::new(most)), turns: turns.map(Mutex::new) }
    }

    /// Waits until a request may begin; it is on the way until the pass is dropped.
    pub(super) async fn enter(&self) -> Option<SemaphorePermit<'_>> {
        let pass = match &self.permits {
            Some(permits) => permits.acquire().await.ok(), // it is never closed
            None => None,
        };
        if let Some(turns) = &self.turns {
            let turn = turns.lock().unwrap_or_else(PoisonError::into_inner).take(Instant::now());
            tokio::time::sleep_until(turn).await;
        }
        pass
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::time::Instant;

    use super::{Gate, Turns};

    #[test]
    fn turns_are_evenly_spread_and_idle_time_is_not_saved_up() {
        let start = Instant::now();
        let mut turns = Turns { every: Duration::from_millis(100), next: start };
        let mut turn = |ms| turns.take(start + Duration::from_millis(ms)).duration_since(start).as_millis();
        assert_eq!([turn(0), turn(0), turn(0), turn(5_000), turn(5_000)], [0, 100, 200, 5_000, 5_100]);
    }

    #[tokio::test]
    async fn no_more_requests_than_allowed_are_on_the_way() {
        let gate = Gate::new(2, 0);
        let first = gate.enter().await;
        let _second = gate.enter().await;
        assert_eq!(gate.permits.as_ref().unwrap().available_permits(), 0);
        drop(first);
        assert!(gate.enter().await.is_some());
        assert!(Gate::new(0, 0).enter().await.is_none());
    }
}
