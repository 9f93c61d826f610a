//! How the runner is stopped (rules.md 6.4).

use std::sync::OnceLock;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::model::JobStatus;
use crate::store::JobEnd;

/// After the grace, a namespace that is being committed may still ask storage this long (rules.md 2.8).
pub(super) const SETTLE: Duration = Duration::from_secs(8);

/// The reason of a job that an orderly stop ended; it does not count as a crash (rules.md 2.5).
pub(super) const SHUTDOWN: &str = "shutdown";

#[derive(Debug, Default)]
pub(super) struct Stop {
    asked: CancellationToken,
    at_once: CancellationToken,
    ended: CancellationToken,
    grace: OnceLock<Duration>,
}

impl Stop {
    /// The first call asks for a stop after `grace`, a second one for a stop at once.
    pub(super) fn ask(&self, grace: Duration) {
        if self.grace.set(grace).is_err() {
            self.at_once.cancel();
        }
        self.asked.cancel();
    }

    /// Somebody has asked for a stop.
    pub(super) fn asked(&self) -> &CancellationToken {
        &self.asked
    }

    pub(super) fn at_once(&self) -> &CancellationToken {
        &self.at_once
    }

    pub(super) fn ended(&self) -> &CancellationToken {
        &self.ended
    }

    pub(super) fn set_ended(&self) {
        self.ended.cancel();
    }

    pub(super) fn grace(&self) -> Duration {
        self.grace.get().copied().unwrap_or_default()
    }

    /// How a job ends that the stop has ended.
    pub(super) fn end() -> JobEnd {
        JobEnd::because(JobStatus::Interrupted, SHUTDOWN, "The service was stopped while the job ran.")
    }
}
