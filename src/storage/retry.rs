//! Trying a request to an object store again: when, how long to wait before, and when to give up.
//!
//! Only what can pass is tried again ([`Error::is_temporary`]), and never longer than a total: what lasts longer is the
//! matter of the job's own retries. A client's built-in retries must be off, or tries multiply.

#[cfg(test)]
#[path = "../../tests/support/still.rs"]
pub(crate) mod still;

use std::fmt;
use std::future::Future;
use std::time::Duration;

use async_trait::async_trait;
use tokio::time::Instant;

use crate::error::{Error, Result};

/// How long something is tried again, and how the pauses grow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RetryPolicy {
    /// The longest first pause; each further one is twice as long.
    pub base: Duration,
    /// The longest pause that is not asked for by the other end.
    pub cap: Duration,
    /// From the first try to the start of the last one.
    pub total: Duration,
    /// How long an answer may take to begin, and each further piece of it: so short that there is time for another try.
    pub answer: Duration,
}

/// A try that failed, and what the other end said of the next one.
#[derive(Debug)]
pub struct Failure {
    /// What went wrong; permanent: not tried again.
    pub error: Error,
    /// `Retry-After`: not before so long.
    pub retry_after: Option<Duration>,
}

/// Time and chance of the pauses, passed in: a test waits for nothing.
#[async_trait]
pub trait Pace: Send + Sync + fmt::Debug {
    /// The time since any fixed instant.
    fn now(&self) -> Duration;

    /// A random number from 0 to below 1.
    fn chance(&self) -> f64;

    /// Waits.
    async fn pause(&self, pause: Duration);

    /// Ends when nothing has come for `limit`: it runs beside what may come.
    async fn silence(&self, limit: Duration);
}

/// The machine's own time and chance.
#[derive(Debug)]
pub struct MachinePace(Instant);

impl Default for MachinePace {
    fn default() -> Self {
        Self(Instant::now())
    }
}

#[async_trait]
impl Pace for MachinePace {
    fn now(&self) -> Duration {
        self.0.elapsed()
    }

    fn chance(&self) -> f64 {
        rand::random::<f64>()
    }

    async fn pause(&self, pause: Duration) {
        tokio::time::sleep(pause).await;
    }

    async fn silence(&self, limit: Duration) {
        tokio::time::sleep(limit).await;
    }
}

/// What `work` gives; none if it takes longer than `limit`.
pub async fn within<T>(pace: &dyn Pace, limit: Duration, work: impl Future<Output = T>) -> Option<T> {
    tokio::select! {
        biased;
        done = work => Some(done),
        () = pace.silence(limit) => None,
    }
}

impl RetryPolicy {
    /// For questions, which somebody may wait for: look, list, read what is small, delete.
    pub const ASK: Self = Self {
        base: Duration::from_millis(250),
        cap: Duration::from_secs(10),
        total: Duration::from_mins(1),
        answer: Duration::from_secs(20),
    };
    /// For data on the way, of which much would have to be done again. Below `stall-timeout`'s default of 10 minutes.
    pub const DATA: Self = Self {
        base: Duration::from_millis(250),
        cap: Duration::from_secs(30),
        total: Duration::from_mins(5),
        answer: Duration::from_mins(1),
    };

    /// How long a request that carries so many bytes may go without an answer: they may go at 64 KiB a second.
    pub fn patience(&self, bytes: u64) -> Duration {
        self.answer + Duration::from_secs(bytes / (64 << 10))
    }

    /// The pause after so many tries; none: give up. `asked` is the other end's `Retry-After`, `chance` is from 0 to below 1.
    ///
    /// Half of a pause is chance, so that many who failed together do not come back together. A wait that is asked for is
    /// waited in full, or given up at once where it leads past the total.
    pub fn pause(
        &self,
        tries: u32,
        elapsed: Duration,
        asked: Option<Duration>,
        chance: f64,
    ) -> Option<Duration> {
        let doublings = tries.saturating_sub(1).min(20);
        let whole = self.base.saturating_mul(1 << doublings).min(self.cap);
        let own = whole.mul_f64(0.5 + chance.clamp(0.0, 1.0) / 2.0);
        let pause = asked.map_or(own, |asked| asked.max(own));
        (elapsed.saturating_add(pause) <= self.total).then_some(pause)
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self { error, retry_after: None }
    }
}

/// Does something until it is done, cannot be mended by another try, or the policy gives up. The error begins with `what`
/// (the place, the operation, the key), and says how often and how long it was tried.
///
/// Dropping the future is a fine way to cancel.
pub async fn retrying<T, F: Future<Output = Result<T, Failure>>>(
    policy: &RetryPolicy,
    pace: &dyn Pace,
    what: impl Fn() -> String,
    mut attempt: impl FnMut() -> F,
) -> Result<T> {
    let start = pace.now();
    let mut tries = 0;
    loop {
        let failure = match attempt().await {
            Ok(done) => return Ok(done),
            Err(failure) => failure,
        };
        tries += 1;
        let elapsed = pace.now().saturating_sub(start);
        let pause = policy.pause(tries, elapsed, failure.retry_after, pace.chance());
        let Some(pause) = pause.filter(|_| failure.error.is_temporary()) else {
            let is_told = tries > 1 || failure.error.is_temporary();
            return Err(failure.error.context(if is_told { told(&what(), tries, elapsed) } else { what() }));
        };
        tracing::debug!(what = what(), tries, ?pause, reason = failure.error.report(), "trying again");
        pace.pause(pause).await;
    }
}

fn told(what: &str, tries: u32, elapsed: Duration) -> String {
    let tries = if tries == 1 { "1 try".to_owned() } else { format!("{tries} tries") };
    format!("{what} ({tries} in {:.1} s)", elapsed.as_secs_f64())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::still::Still;
    use super::{Failure, RetryPolicy, retrying};
    use crate::error::Error;

    const fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    const POLICY: RetryPolicy =
        RetryPolicy { base: ms(100), cap: ms(1_000), total: ms(5_000), answer: ms(1_000) };

    async fn run(failures: Vec<Failure>) -> (Result<u32, Error>, Vec<u128>) {
        let (pace, mut failures) = (Still::default(), failures.into_iter());
        let done = retrying(
            &POLICY,
            &pace,
            || "put \"a/b\"".to_owned(),
            || std::future::ready(failures.next().map_or(Ok(7), Err)),
        )
        .await;
        (done, pace.pauses().iter().map(Duration::as_millis).collect())
    }

    fn busy() -> Failure {
        Error::temporary("storage-unavailable", "503").into()
    }

    #[test]
    fn pauses_double_up_to_the_cap_and_half_of_each_is_chance() {
        let pauses = |chance| -> Vec<_> {
            (1..=6).map(|tries| POLICY.pause(tries, ms(0), None, chance).unwrap().as_millis()).collect()
        };
        assert_eq!(pauses(1.0), [100, 200, 400, 800, 1_000, 1_000]);
        assert_eq!(pauses(0.0), [50, 100, 200, 400, 500, 500]);
        assert_eq!(POLICY.pause(u32::MAX, ms(0), None, 1.0), Some(ms(1_000)), "no exponent overflows");
    }

    #[test]
    fn no_pause_leads_past_the_total_and_one_that_is_asked_for_is_not_cut() {
        assert_eq!(POLICY.pause(9, ms(4_000), None, 1.0), Some(ms(1_000)));
        assert_eq!(POLICY.pause(9, ms(4_001), None, 1.0), None);
        assert_eq!(POLICY.pause(1, ms(0), Some(ms(3_000)), 0.0), Some(ms(3_000)), "beyond the cap");
        assert_eq!(POLICY.pause(1, ms(0), Some(ms(1)), 1.0), Some(ms(100)), "never sooner than ours");
        assert_eq!(POLICY.pause(1, ms(0), Some(ms(5_001)), 0.0), None);
    }

    #[tokio::test]
    async fn what_can_pass_is_tried_again_and_what_cannot_is_not() {
        let (done, pauses) = run(vec![busy(), busy()]).await;
        assert_eq!((done.unwrap(), pauses), (7, vec![100, 200]));

        let slow = Failure { retry_after: Some(ms(2_500)), ..busy() };
        let (done, pauses) = run(vec![slow]).await;
        assert_eq!((done.unwrap(), pauses), (7, vec![2_500]));

        let (done, pauses) = run(vec![busy(), Error::permanent("storage-denied", "403").into()]).await;
        let error = done.unwrap_err();
        assert_eq!((error.code(), pauses), ("storage-denied", vec![100]));
        assert_eq!(error.to_string(), "put \"a/b\" (2 tries in 0.1 s): 403");
    }

    #[tokio::test]
    async fn the_total_ends_it_and_the_error_says_how_often_it_was_tried() {
        let (done, pauses) = run((0..100).map(|_| busy()).collect()).await;
        let error = done.unwrap_err();
        assert_eq!(error.to_string(), "put \"a/b\" (8 tries in 4.5 s): 503");
        assert!(error.is_temporary());
        assert_eq!(pauses, [100, 200, 400, 800, 1_000, 1_000, 1_000]);

        let late = Failure { retry_after: Some(ms(9_000)), ..busy() };
        assert_eq!(run(vec![late]).await.0.unwrap_err().to_string(), "put \"a/b\" (1 try in 0.0 s): 503");

        let (done, _) = run(vec![Error::permanent("storage-denied", "403").into()]).await;
        assert_eq!(done.unwrap_err().to_string(), "put \"a/b\": 403");
    }
}
