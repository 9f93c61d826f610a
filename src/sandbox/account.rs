//! What a node says of a scan (`query-show`), as a community edition node of 8.1 says it: measured on one.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use super::proto::FRAME_HEADER;

/// One scan.
#[derive(Debug, Default)]
pub(super) struct ScanAccount {
    pub task_id: u64,
    pub namespace: Vec<u8>,
    pub set: Vec<u8>,
    /// Partitions asked for whole, and those to be continued.
    pub whole: usize,
    pub resumed: usize,
    /// 0 = no limit.
    pub records_per_second: u32,
    pub succeeded: AtomicU64,
    pub filtered: AtomicU64,
    pub bytes: AtomicU64,
    pub complete: AtomicBool,
    pub ended: AtomicBool,
}

impl ScanAccount {
    pub fn succeeded(&self) {
        self.succeeded.fetch_add(1, Ordering::Relaxed);
    }

    pub fn filtered(&self) {
        self.filtered.fetch_add(1, Ordering::Relaxed);
    }

    /// A frame of records of so many bytes. The header of such a frame is counted twice, by the server too.
    pub fn sent(&self, bytes: usize) {
        self.bytes.fetch_add((bytes + FRAME_HEADER) as u64, Ordering::Relaxed);
    }

    /// The last frame, of so many bytes.
    pub fn done(&self, bytes: usize) {
        self.bytes.fetch_add(bytes as u64, Ordering::Relaxed);
        self.complete.store(true, Ordering::Relaxed);
    }

    /// It no longer runs.
    pub fn end(&self) {
        self.ended.store(true, Ordering::Relaxed);
    }

    pub fn describe(&self) -> String {
        let load = |number: &AtomicU64| number.load(Ordering::Relaxed);
        let complete = self.complete.load(Ordering::Relaxed);
        let status = match (self.ended.load(Ordering::Relaxed), complete) {
            (false, _) => "active(ok)",
            (true, true) => "done(ok)",
            (true, false) => "done(abandoned-response-error)",
        };
        let set = if self.set.is_empty() {
            String::new()
        } else {
            format!(":set={}", String::from_utf8_lossy(&self.set))
        };
        let throttled = if self.records_per_second == 0 { 0 } else { load(&self.succeeded) };
        format!(
            "trid={}:ns={}{set}:n-pids-requested={}:n-keyds-requested={}:rps={}:active-threads=0:status={status}:\
             job-progress={}:run-time=0:time-since-done=0:recs-throttled={throttled}:recs-filtered-meta={}:\
             recs-filtered-bins=0:recs-succeeded={}:recs-failed=0:from=sandbox:job-type=basic:net-io-bytes={}:\
             net-io-time=0:socket-timeout=0",
            self.task_id,
            String::from_utf8_lossy(&self.namespace),
            self.whole,
            self.resumed,
            self.records_per_second,
            if complete { "100.00" } else { "50.00" },
            load(&self.filtered),
            load(&self.succeeded),
            load(&self.bytes),
        )
    }
}
