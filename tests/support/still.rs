//! A fake of time and chance: time passes only in pauses, and nobody waits for it.

use std::sync::{Mutex, PoisonError};
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
    chance: f64,
}

#[derive(Debug, Default)]
struct Passed {
    pauses: Vec<Duration>,
    silent: Duration,
}

impl Default for Still {
    fn default() -> Self {
        Self { passed: Mutex::default(), stalls: watch::Sender::new(0), chance: 1.0 }
    }
}

#[allow(dead_code)] // each of those who take it in needs another part
impl Still {
    /// The pauses so far.
    pub(crate) fn pauses(&self) -> Vec<Duration> {
        self.passed.lock().unwrap_or_else(PoisonError::into_inner).pauses.clone()
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
        let passed = self.passed.lock().unwrap_or_else(PoisonError::into_inner);
        passed.pauses.iter().sum::<Duration>() + passed.silent
    }

    fn chance(&self) -> f64 {
        self.chance
    }

    async fn pause(&self, pause: Duration) {
        self.passed.lock().unwrap_or_else(PoisonError::into_inner).pauses.push(pause);
        tokio::task::yield_now().await;
    }

    async fn silence(&self, limit: Duration) {
        let mut stalls = self.stalls.subscribe();
        loop {
            let _ = stalls.wait_for(|stalls| *stalls > 0).await; // its sender is here
            tokio::time::sleep(GRACE).await;
            if *stalls.borrow() > 0 {
                break;
            }
        }
        self.passed.lock().unwrap_or_else(PoisonError::into_inner).silent += limit;
    }
}
