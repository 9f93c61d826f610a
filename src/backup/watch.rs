//! What a backup tells of the reading of one namespace.

use std::sync::atomic::{AtomicUsize, Ordering};

use crate::engine::{ProgressWatch, Watch};
use crate::jobs::Progress;

/// What is said while nothing else is.
pub(super) const READING: &str = "reading from the cluster, writing to storage";

/// Counts for the job's progress, and says what the scans of the namespace wait for.
pub(super) struct BackupWatch {
    inner: ProgressWatch,
    namespace: String,
    /// Scans that wait.
    waiting: AtomicUsize,
}

impl BackupWatch {
    pub(super) fn new(progress: Progress, namespace: &str) -> Self {
        Self { inner: ProgressWatch(progress), namespace: namespace.to_owned(), waiting: AtomicUsize::new(0) }
    }
}

impl Watch for BackupWatch {
    fn read(&self, records: u64) {
        self.inner.read(records);
    }

    fn done(&self, records: u64, bytes: u64) {
        self.inner.done(records, bytes);
    }

    fn alive(&self) {
        self.inner.alive();
    }

    fn waiting(&self, for_what: Option<&'static str>) {
        let progress = &self.inner.0;
        match for_what {
            Some(what) => {
                let scans = self.waiting.fetch_add(1, Ordering::SeqCst) + 1;
                progress.doing(&self.namespace, format!("{READING}; {scans} scans wait for {what}"));
            }
            None if self.waiting.fetch_sub(1, Ordering::SeqCst) == 1 => {
                progress.doing(&self.namespace, READING);
            }
            None => {}
        }
    }
}
