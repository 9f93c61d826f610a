//! How far a running job has come.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicI64, AtomicU8, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use crate::model::UnixMillis;
use crate::store::{JobId, ProgressRow};

/// Where a running job's tasks count what they do; cheap to clone and to call. Nothing ever goes backwards.
#[derive(Debug, Clone, Default)]
pub struct Progress {
    counts: Arc<Counts>,
    signs: Arc<Signs>,
    /// What the words of a phase begin with.
    phase: Option<&'static str>,
}

#[derive(Debug, Default)]
struct Counts {
    done: AtomicU64,
    total: AtomicU64,
    bytes: AtomicU64,
    bytes_total: AtomicU64,
    in_pipeline: AtomicI64,
    percent: AtomicU8,
}

#[derive(Debug, Default)]
struct Signs {
    /// Grows with every sign of life: a count, or a call that came back.
    moves: AtomicU64,
    /// How many parts of the job wait on purpose now.
    waits: AtomicU64,
    /// What each part of the job is doing; the part without a name is the job itself.
    doing: Mutex<BTreeMap<String, String>>,
    /// How long nothing has moved, in ms, as the runner has seen it.
    idle_ms: AtomicU64,
}

/// A wait on purpose, until it is dropped: between two tries, or for the clock (rules.md 2.9).
#[derive(Debug)]
pub struct Waiting(Progress);

impl Drop for Waiting {
    fn drop(&mut self) {
        self.0.moved();
        self.0.signs.waits.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Progress {
    /// Of a phase that is not what the job is about: its signs of life and words are the job's, its counts are not.
    #[must_use]
    pub fn phase(&self, name: &'static str) -> Self {
        Self { counts: Arc::default(), signs: Arc::clone(&self.signs), phase: Some(name) }
    }

    /// More records are done.
    pub fn add_done(&self, records: u64) {
        self.counts.done.fetch_add(records, Ordering::Relaxed);
        self.moved();
    }

    /// More bytes are written to storage, or read from it.
    pub fn add_bytes(&self, bytes: u64) {
        self.counts.bytes.fetch_add(bytes, Ordering::Relaxed);
        self.moved();
    }

    /// How many records are expected in all; an estimate, of which the largest counts.
    pub fn set_total(&self, records: u64) {
        self.counts.total.fetch_max(records, Ordering::Relaxed);
    }

    /// More records are expected: another namespace has made its estimate.
    pub fn add_total(&self, records: u64) {
        self.counts.total.fetch_add(records, Ordering::Relaxed);
    }

    /// How many bytes will be read in all, where that is known: then they say how far the job is, not the records.
    pub fn set_bytes_total(&self, bytes: u64) {
        self.counts.bytes_total.fetch_max(bytes, Ordering::Relaxed);
    }

    /// Records were read and not written yet (positive), or have been written (negative).
    pub fn add_pipeline(&self, records: i64) {
        self.counts.in_pipeline.fetch_add(records, Ordering::Relaxed);
        self.moved();
    }

    /// Something has moved that no counter shows: storage answered, or a node said that it is still at work.
    pub fn moved(&self) {
        self.signs.moves.fetch_add(1, Ordering::Relaxed);
    }

    /// Until the answer is dropped, nothing moves on purpose (rules.md 2.9).
    pub fn wait(&self) -> Waiting {
        self.signs.waits.fetch_add(1, Ordering::Relaxed);
        Waiting(self.clone())
    }

    /// Notes what a part of the job (a namespace; empty: the job itself) is doing, for whoever asks why nothing moves.
    pub fn doing(&self, part: &str, what: impl Into<String>) {
        self.moved();
        let what = match self.phase {
            Some(phase) => format!("{phase}: {}", what.into()),
            None => what.into(),
        };
        self.signs.doing.lock().unwrap_or_else(PoisonError::into_inner).insert(part.to_owned(), what);
    }

    /// A part of the job has ended.
    pub fn done_with(&self, part: &str) {
        self.moved();
        self.signs.doing.lock().unwrap_or_else(PoisonError::into_inner).remove(part);
    }

    /// What the job is doing, in words.
    pub(super) fn describe(&self) -> String {
        let doing = self.signs.doing.lock().unwrap_or_else(PoisonError::into_inner);
        let parts: Vec<String> = doing
            .iter()
            .filter(|(part, _)| !part.is_empty() || doing.len() == 1)
            .map(|(part, what)| if part.is_empty() { what.clone() } else { format!("{part}: {what}") })
            .collect();
        if parts.is_empty() { "starting".to_owned() } else { parts.join("; ") }
    }

    pub(super) fn moves(&self) -> u64 {
        self.signs.moves.load(Ordering::Relaxed)
    }

    pub(super) fn is_waiting(&self) -> bool {
        self.signs.waits.load(Ordering::Relaxed) > 0
    }

    pub(super) fn set_idle_ms(&self, ms: u64) {
        self.signs.idle_ms.store(ms, Ordering::Relaxed);
    }

    pub(super) fn row(&self, job_id: JobId, updated: UnixMillis) -> ProgressRow {
        ProgressRow {
            job_id,
            done: self.counts.done.load(Ordering::Relaxed),
            total: self.counts.total.load(Ordering::Relaxed),
            bytes: self.counts.bytes.load(Ordering::Relaxed),
            in_pipeline: self.counts.in_pipeline.load(Ordering::Relaxed).max(0) as u64,
            updated,
        }
    }

    pub(super) fn live(&self, job: JobId, started: UnixMillis, now: UnixMillis) -> Live {
        let row = self.row(job, now);
        let elapsed_ms = now.since(started).max(1) as u64;
        let per_second = |count: u64| (u128::from(count) * 1000 / u128::from(elapsed_ms)) as u64;
        let (done, total) = match self.counts.bytes_total.load(Ordering::Relaxed) {
            0 => (row.done, row.total),
            bytes_total => (row.bytes, bytes_total),
        };
        let percent = (u128::from(done) * 100).checked_div(u128::from(total)).unwrap_or(0).min(100) as u8;
        let percent = percent.max(self.counts.percent.fetch_max(percent, Ordering::Relaxed));
        // abs.md 1.3: an estimate needs at least 1 %.
        let estimated_end = (percent >= 1 && done > 0).then(|| {
            let whole_ms = u128::from(elapsed_ms) * u128::from(total.max(done)) / u128::from(done);
            started.plus_ms(i64::try_from(whole_ms).unwrap_or(i64::MAX)).max(now)
        });
        Live {
            started,
            done: row.done,
            total: row.total,
            bytes: row.bytes,
            in_pipeline: row.in_pipeline,
            percent,
            estimated_end,
            records_per_second: per_second(row.done),
            kilobytes_per_second: per_second(row.bytes) / 1024,
            idle_ms: self.signs.idle_ms.load(Ordering::Relaxed),
        }
    }
}

/// How far a running job is now (abs.md 1.3, RunningJob).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Live {
    /// When its task started.
    pub started: UnixMillis,
    /// Records done.
    pub done: u64,
    /// Records expected; an estimate, 0 = not known yet.
    pub total: u64,
    /// Bytes written to storage, or read from it.
    pub bytes: u64,
    /// Records read and not yet written.
    pub in_pipeline: u64,
    /// 0 to 100; never falls.
    pub percent: u8,
    /// When it will end at the rate so far; none below 1 %.
    pub estimated_end: Option<UnixMillis>,
    /// Since its start.
    pub records_per_second: u64,
    /// Since its start, 1024 bytes each.
    pub kilobytes_per_second: u64,
    /// How long nothing has moved, waits on purpose excluded (rules.md 2.9).
    pub idle_ms: u64,
}

#[cfg(test)]
mod tests {
    use super::Progress;
    use crate::model::UnixMillis;
    use crate::store::JobId;

    #[test]
    fn where_the_bytes_are_known_they_say_how_far_it_is() {
        let progress = Progress::default();
        progress.set_total(10);
        progress.add_done(10);
        progress.set_bytes_total(1000);
        progress.add_bytes(250);
        let live = progress.live(JobId(1), UnixMillis(0), UnixMillis::from_secs(10));
        assert_eq!((live.percent, live.estimated_end), (25, Some(UnixMillis::from_secs(40))));
    }

    #[test]
    fn estimates_from_one_percent_on_and_never_falls() {
        let progress = Progress::default();
        let at = |seconds| progress.live(JobId(1), UnixMillis(0), UnixMillis::from_secs(seconds));
        progress.add_total(1000);
        progress.add_done(9);
        assert_eq!((at(10).percent, at(10).estimated_end), (0, None));
        progress.add_done(91);
        let live = at(10);
        assert_eq!((live.percent, live.records_per_second), (10, 10));
        assert_eq!(live.estimated_end, Some(UnixMillis::from_secs(100)));
        progress.add_total(9000);
        assert_eq!(at(11).percent, 10, "a better estimate does not set it back");
        progress.set_total(5);
        assert_eq!(at(11).total, 10_000);
        progress.add_done(20_000);
        assert_eq!(at(12).percent, 100);
        assert_eq!(at(12).estimated_end, Some(UnixMillis::from_secs(12)));
    }
}
