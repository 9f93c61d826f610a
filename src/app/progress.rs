//! How far a job is, and how fast.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use crate::jobs::Live;
use crate::model::{JobStatus, UnixMillis};
use crate::store::{JobId, JobRow, ProgressRow};

/// How far a job has come.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Progress {
    /// Records done.
    pub done: u64,
    /// Records expected; an estimate, never below `done`.
    pub total: u64,
    /// Bytes written to storage, or read from it.
    pub bytes: u64,
    /// Records read and not yet written.
    pub in_pipeline: u64,
    /// 0 to 100; 100 for a job that succeeded, and for no other.
    pub percent: u64,
    /// Records per second since the start.
    pub records_per_second: u64,
    /// 1024 bytes per second since the start.
    pub kilobytes_per_second: u64,
    /// When it should end; while it runs.
    pub estimated_end: Option<UnixMillis>,
}

/// The most that is shown before the end: the last step is the commit.
const UNFINISHED_MAX: u64 = 99;

impl Progress {
    /// Of a job that runs in this process.
    pub fn live(live: &Live) -> Self {
        Self {
            done: live.done,
            total: live.total.max(live.done),
            bytes: live.bytes,
            in_pipeline: live.in_pipeline,
            percent: u64::from(live.percent),
            records_per_second: live.records_per_second,
            kilobytes_per_second: live.kilobytes_per_second,
            estimated_end: live.estimated_end,
        }
    }

    /// Of a job that does not run, from its last report.
    pub fn stored(job: &JobRow, last: Option<&ProgressRow>) -> Self {
        let Some(last) = last else { return Self::default() };
        let elapsed_ms =
            job.started.zip(job.finished).map_or(0, |(started, finished)| finished.since(started));
        let per_second = |count: u64| {
            u64::try_from(elapsed_ms)
                .ok()
                .and_then(|ms| count.saturating_mul(1000).checked_div(ms))
                .unwrap_or(0)
        };
        Self {
            done: last.done,
            total: last.total.max(last.done),
            bytes: last.bytes,
            in_pipeline: 0,
            percent: last.done.saturating_mul(100).checked_div(last.total).unwrap_or(0).min(100),
            records_per_second: per_second(last.done),
            kilobytes_per_second: per_second(last.bytes) / 1024,
            estimated_end: None,
        }
    }
}

/// How many jobs are remembered, the newest: those that somebody can have looked at while they ran.
const FLOORS_MAX: usize = 10_000;

/// The highest percentage shown of each job: neither an estimate that grows nor the end of the job moves it back.
#[derive(Debug, Default)]
pub(super) struct Floors(Mutex<BTreeMap<JobId, u64>>);

impl Floors {
    /// The progress with at least the percentage that was shown before.
    pub(super) fn raise(&self, job: JobId, status: JobStatus, progress: Progress) -> Progress {
        if status == JobStatus::Succeeded {
            return Progress { percent: 100, ..progress };
        }
        let mut floors = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let measured = progress.percent.min(UNFINISHED_MAX);
        let percent = measured.max(floors.get(&job).copied().unwrap_or(0));
        if percent > 0 {
            floors.insert(job, percent);
        }
        if floors.len() > FLOORS_MAX {
            floors.pop_first();
        }
        Progress { percent, ..progress }
    }
}

#[cfg(test)]
mod tests {
    use super::{Floors, Progress};
    use crate::model::JobStatus;
    use crate::store::JobId;

    #[test]
    fn what_was_shown_is_never_taken_back_and_only_success_is_whole() {
        let floors = Floors::default();
        let shown = |status, percent| {
            floors.raise(JobId(1), status, Progress { percent, ..Progress::default() }).percent
        };
        assert_eq!(shown(JobStatus::Running, 40), 40);
        assert_eq!(shown(JobStatus::Running, 30), 40);
        assert_eq!(shown(JobStatus::Running, 100), 99);
        assert_eq!(shown(JobStatus::Failed, 10), 99);
        assert_eq!(shown(JobStatus::Succeeded, 0), 100);
    }
}
