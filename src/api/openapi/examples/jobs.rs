//! Jobs, and what ABS's clients see of them.

use serde_json::json;

use super::{BYTES, Example, FULL, INCREMENTAL, LATER, RECORDS, after, disk, key, namespace, routine};
use crate::api::{abs, job};
use crate::app::{JobView, Progress, RoutineState};
use crate::model::status::AbsLevel;
use crate::model::{BackupType, JobKind, JobStatus};
use crate::store::{AttemptEnd, AttemptRow, AttemptStart, AttemptStatus, JobId, JobRow, Trigger};

/// A full backup that has succeeded.
fn job() -> JobRow {
    JobRow {
        id: JobId(FULL.0),
        kind: JobKind::Backup,
        backup_type: Some(BackupType::Full),
        routine: Some(routine()),
        trigger: Trigger::Schedule,
        status: JobStatus::Succeeded,
        reason_code: None,
        reason: None,
        slot_id: None,
        cluster: Some("prod".to_owned()),
        storage: Some(disk()),
        concurrent: false,
        namespaces: Some(vec![namespace()]),
        admitted: FULL,
        due: FULL,
        queued: Some(FULL),
        started: Some(FULL),
        finished: Some(after(FULL, 42)),
        owner: None,
        lease_until: None,
        generation: 1,
        cancel_requested: None,
        config: None,
        request: None,
        requested_by: None,
        created: Some(FULL),
        error_code: None,
        error: None,
        retry_of: None,
        label: None,
        warnings: Vec::new(),
        result: None,
        counters: None,
    }
}

/// A full backup that runs.
fn running() -> JobView {
    let job = JobRow {
        id: JobId(LATER.0),
        trigger: Trigger::Api,
        status: JobStatus::Running,
        admitted: LATER,
        due: LATER,
        queued: Some(LATER),
        started: Some(LATER),
        finished: None,
        requested_by: Some("ci 192.0.2.7".to_owned()),
        created: Some(LATER),
        label: Some("before the upgrade".to_owned()),
        ..job()
    };
    let progress = Progress {
        done: 480_000,
        total: RECORDS,
        bytes: BYTES * 2 / 5,
        in_pipeline: 512,
        percent: 40,
        records_per_second: 30_000,
        kilobytes_per_second: 4_580,
        estimated_end: Some(after(LATER, 40)),
    };
    JobView { job, progress, attempts: Vec::new(), doing: None, now: after(LATER, 16) }
}

/// A restore that has succeeded.
fn restored() -> JobView {
    let counters = json!({
        "read-records": RECORDS, "total-bytes": BYTES, "inserted-records": RECORDS, "existed-records": 0,
        "fresher-records": 0, "expired-records": 0, "skipped-records": 0, "ignored-records": 0,
        "index-count": 2, "udf-count": 1, "errors-in-doubt": 0,
    });
    let job = JobRow {
        id: JobId(LATER.0),
        kind: JobKind::Restore,
        backup_type: None,
        trigger: Trigger::Api,
        admitted: LATER,
        due: LATER,
        queued: Some(LATER),
        started: Some(LATER),
        finished: Some(after(LATER, 61)),
        created: None,
        counters: Some(counters),
        ..job()
    };
    let progress = Progress {
        done: RECORDS,
        total: RECORDS,
        bytes: BYTES,
        percent: 100,
        records_per_second: 19_672,
        kilobytes_per_second: 3_004,
        ..Progress::default()
    };
    JobView { job, progress, attempts: Vec::new(), doing: None, now: after(LATER, 61) }
}

impl Example for job::Summary {
    fn example() -> Self {
        Self::of(job().head())
    }
}

impl Example for job::Page {
    fn example() -> Self {
        let (jobs, next) = (vec![running().job.head(), job().head()], Some(job().id));
        Self::of(crate::store::JobPage { jobs, next })
    }
}

impl Example for job::Detail {
    fn example() -> Self {
        let start = AttemptStart {
            namespace: namespace(),
            folder: key(BackupType::Full),
            storage: disk(),
            created: FULL,
            from: None,
            promoted: None,
        };
        let end = AttemptEnd {
            status: AttemptStatus::Committed,
            finished: after(FULL, 42),
            safe_from: Some(FULL),
            records: RECORDS,
            bytes: BYTES,
            files: 4,
            indexes: 2,
            udfs: 1,
            error: None,
            manifest_hash: None,
        };
        let attempt = AttemptRow {
            job_id: job().id,
            attempt: 1,
            start,
            started: FULL,
            status: AttemptStatus::Committed,
            end: Some(end),
        };
        let progress = Progress {
            done: RECORDS,
            total: RECORDS,
            bytes: BYTES,
            percent: 100,
            records_per_second: 28_571,
            kilobytes_per_second: 4_363,
            ..Progress::default()
        };
        let now = after(FULL, 60);
        Self::of(JobView { job: job(), progress, attempts: vec![attempt], doing: None, now })
    }
}

impl Example for abs::RoutineState {
    fn example() -> Self {
        let state = RoutineState {
            full: Some(running()),
            incremental: None,
            last_full: Some(FULL),
            last_incremental: Some(INCREMENTAL),
            next_full: Some(after(FULL, 86_400)),
            next_incremental: Some(after(INCREMENTAL, 3_600)),
        };
        Self::of(&state, AbsLevel::default())
    }
}

impl Example for abs::RestoreStatus {
    fn example() -> Self {
        Self::of(&restored(), AbsLevel::default())
    }
}
