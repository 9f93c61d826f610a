//! A job in which nothing moves is ended (rules.md 2.9), and one that does not listen to its cancel too (2.8).
//!
//! Time is counted turn by turn of the runner, never as a difference of two instants far apart: a clock that was set
//! forward, or a machine that slept, must not look like a job that stands still.

use super::Progress;
use crate::model::UnixMillis;

/// `stall-timeout` where nothing says otherwise: 15 min (rules.md 2.9).
pub const STALL_TIMEOUT_MS: u64 = 15 * 60 * 1000;

/// The most that one turn adds: turns are half a second apart, or a little more when the store is slow.
const TURN_MS_MAX: i64 = 5_000;

/// After its cancel, work in which nothing moves for this long is aborted: 8 s are a commit's (rules.md 2.8), the rest is
/// for writing down how it ended.
const DEAF_MS_MAX: u64 = 10_000;

/// What is to be done about a job.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It moves, it waits on purpose, or not enough time has passed.
    Fine,
    /// Nothing has moved for its `stall-timeout`: cancel it.
    Stalled,
    /// It was canceled and nothing moves: abort it.
    Deaf,
}

/// Watches one job.
#[derive(Debug)]
pub(super) struct StallWatch {
    timeout_ms: u64,
    moves: u64,
    idle_ms: u64,
    last: UnixMillis,
    canceled: bool,
}

impl StallWatch {
    /// `timeout_ms` 0: nothing is ever called stalled.
    pub(super) fn new(timeout_ms: u64, progress: &Progress, now: UnixMillis) -> Self {
        Self { timeout_ms, moves: progress.moves(), idle_ms: 0, last: now, canceled: false }
    }

    /// How long nothing may move.
    pub(super) const fn timeout_ms(&self) -> u64 {
        self.timeout_ms
    }

    /// One turn of the runner; `canceled`: the job was asked to end.
    pub(super) fn turn(&mut self, progress: &Progress, canceled: bool, now: UnixMillis) -> Verdict {
        let step_ms = now.since(self.last).clamp(0, TURN_MS_MAX) as u64;
        self.last = now;
        let moves = progress.moves();
        if moves != self.moves || progress.is_waiting() || canceled != self.canceled {
            (self.moves, self.canceled, self.idle_ms) = (moves, canceled, 0);
        } else {
            self.idle_ms += step_ms;
        }
        progress.set_idle_ms(self.idle_ms);
        if canceled && self.idle_ms >= DEAF_MS_MAX {
            return Verdict::Deaf;
        }
        if !canceled && self.timeout_ms > 0 && self.idle_ms >= self.timeout_ms {
            return Verdict::Stalled;
        }
        Verdict::Fine
    }
}

#[cfg(test)]
mod tests {
    use super::{DEAF_MS_MAX, StallWatch, Verdict};
    use crate::jobs::Progress;
    use crate::model::UnixMillis;

    /// Turns a second apart until the verdict is another one; how many.
    fn turns(watch: &mut StallWatch, progress: &Progress, canceled: bool, from: i64) -> (u64, Verdict) {
        for turn in 1..100 {
            let verdict = watch.turn(progress, canceled, UnixMillis(from + turn * 1000));
            if verdict != Verdict::Fine {
                return (turn as u64, verdict);
            }
        }
        (100, Verdict::Fine)
    }

    #[test]
    fn only_what_neither_moves_nor_waits_is_stalled() {
        let progress = Progress::default();
        let mut watch = StallWatch::new(20_000, &progress, UnixMillis(0));
        assert_eq!(turns(&mut watch, &progress, false, 0), (20, Verdict::Stalled));
        progress.moved();
        assert_eq!(watch.turn(&progress, false, UnixMillis(21_000)), Verdict::Fine);
        let waiting = progress.wait();
        assert_eq!(turns(&mut watch, &progress, false, 21_000), (100, Verdict::Fine));
        drop(waiting);
        watch.turn(&progress, false, UnixMillis(121_000));
        assert_eq!(turns(&mut watch, &progress, false, 121_000).0, 20, "a wait does not count afterwards");
        let mut never = StallWatch::new(0, &progress, UnixMillis(0));
        assert_eq!(turns(&mut never, &progress, false, 0).1, Verdict::Fine);
    }

    #[test]
    fn a_clock_that_jumps_does_not_stall_anything() {
        let progress = Progress::default();
        let mut watch = StallWatch::new(60_000, &progress, UnixMillis(0));
        assert_eq!(watch.turn(&progress, false, UnixMillis(86_400_000)), Verdict::Fine);
        assert_eq!(watch.turn(&progress, false, UnixMillis(0)), Verdict::Fine);
        assert_eq!(watch.turn(&progress, false, UnixMillis(86_400_000)), Verdict::Fine);
    }

    #[test]
    fn what_does_not_listen_to_its_cancel_is_aborted() {
        let progress = Progress::default();
        let mut watch = StallWatch::new(0, &progress, UnixMillis(0));
        assert_eq!(turns(&mut watch, &progress, true, 0), (DEAF_MS_MAX / 1000 + 1, Verdict::Deaf));
    }
}
