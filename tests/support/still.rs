//! A fake of time and chance: time passes only in pauses, and nobody waits for it.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::watch;

use super::Pace;

/// How long a request may still be answered once another one has come to a standstill; in time of the machine.
const GRACE: Duration = Duration::from_millis(100);

/// Time that passes only in pauses, and in a silence once somebody says that nothing will come.
#[derive(Debug)]
pub(crate) struct Still {
    passed: Mutex<Passed>,
    /// How many requests stand still at this moment.
    stalls: watch::Sender<usize>,
}

#[derive(Debug, Default)]
struct Passed {
    pauses: Vec<Duration>,
    now: Duration,
}

impl Default for Still {
    fn default() -> Self {
        Self { passed: Mutex::default(), stalls: watch::Sender::new(0) }
    }
}

#[allow(dead_code)] // each of those who take it in needs another part
impl Still {
    /// The pauses so far.
    pub(crate) fn pauses(&self) -> Vec<Duration> {
        self.passed().pauses.clone()
    }

    fn passed(&self) -> MutexGuard<'_, Passed> {
        self.passed.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Of pauses side by side, the longest counts.
    fn is(&self, at: Duration) {
        let mut passed = self.passed();
        passed.now = passed.now.max(at);
    }

    /// A request stands still from now on, until the mark is dropped.
    pub(crate) fn stall(&self) -> Stall<'_> {
        self.stalls.send_modify(|stalls| *stalls += 1);
        Stall(self)
    }
}

/// One request that stands still.
#[allow(dead_code)]
pub(crate) struct Stall<'s>(&'s Still);

impl Drop for Stall<'_> {
    fn drop(&mut self) {
        self.0.stalls.send_modify(|stalls| *stalls -= 1);
    }
}

#[async_trait]
impl Pace for Still {
    fn now(&self) -> Duration {
        self.passed().now
    }

    fn chance(&self) -> f64 {
        1.0
    }

    async fn pause(&self, pause: Duration) {
        let until = {
            let mut passed = self.passed();
            passed.pauses.push(pause);
            passed.now + pause
        };
        tokio::task::yield_now().await;
        self.is(until);
    }

    async fn silence(&self, limit: Duration) {
        let until = self.now() + limit;
        let mut stalls = self.stalls.subscribe();
        loop {
            let _ = stalls.wait_for(|stalls| *stalls > 0).await; // its sender is here
            tokio::time::sleep(GRACE).await;
            if *stalls.borrow() > 0 {
                break;
            }
        }
        self.is(until);
    }
}
