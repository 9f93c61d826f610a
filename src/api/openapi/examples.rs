//! An answer of each kind: a value of its type, so that it cannot say what no answer says. They are of one small world: the routine
//! `daily` keeps the namespace `source-ns1` of the cluster `prod` on the storage `disk`.

use std::sync::Arc;

use serde::Serialize;
use serde_json::json;

use super::parameters::INSTANT;
use crate::api::{abs, audit, config, job, system};
use crate::app::catalog::{CatalogProblem, CatalogView};
use crate::app::{
    BackupRef, BackupView, FileView, JobView, NamespaceBackup, NamespacePoints, OwnerState, OwnerView,
    Progress, RefreshedRoutine, ReloadSource, RestorePoints, RoutineOwner, RoutineState, Window,
};
use crate::backup::estimate::{Estimate, NamespaceEstimate};
use crate::catalog::details::{BackupDetails, Verification};
use crate::catalog::{Compression, Scope};
use crate::config::{FieldChange, RetentionConfig};
use crate::jobs::Collision;
use crate::model::status::AbsLevel;
use crate::model::{BackupType, JobKind, JobStatus, PartitionSet, UnixMillis};
use crate::restore::{Described, MemberPreview, NamespacePreview, RestorePreview, SafetyPlace};
use crate::retention::{self, DeletedBackup, DeletionPlan};
use crate::store::{
    AttemptEnd, AttemptRow, AttemptStart, AttemptStatus, AuditInsert, AuditRow, JobId, JobRow, Trigger,
};

/// What is answered by a value.
pub(super) trait Example: Serialize {
    /// One as a service may give it.
    fn example() -> Self;
}

/// The begin of the full and of the incremental that everything here is about, and what is done with them later.
const FULL: UnixMillis = UnixMillis(INSTANT);
const INCREMENTAL: UnixMillis = UnixMillis(INSTANT + 3_600_000);
const LATER: UnixMillis = UnixMillis(INSTANT + 5_400_000);

const ROUTINE: &str = "daily";
const NAMESPACE: &str = "source-ns1";
const RECORDS: u64 = 1_200_000;
const BYTES: u64 = 187_654_321;

fn routine() -> String {
    ROUTINE.to_owned()
}

fn disk() -> String {
    "disk".to_owned()
}

fn namespace() -> String {
    NAMESPACE.to_owned()
}

fn after(at: UnixMillis, seconds: i64) -> UnixMillis {
    UnixMillis(at.0 + seconds * 1000)
}

/// The folder of a backup.
fn key(backup_type: BackupType) -> String {
    let (folder, at) = match backup_type {
        BackupType::Full => ("backup", FULL),
        BackupType::Incremental => ("incremental", INCREMENTAL),
    };
    format!("{ROUTINE}/{folder}/{}/data/{NAMESPACE}", at.0)
}

fn backup(backup_type: BackupType) -> BackupRef {
    let at = if backup_type == BackupType::Full { FULL } else { INCREMENTAL };
    BackupRef { backup_type, timestamp: at.0, key: key(backup_type) }
}

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
        Self::of(&job())
    }
}

impl Example for job::Page {
    fn example() -> Self {
        let (jobs, next) = (vec![running().job, job()], Some(job().id));
        Self::of(&crate::store::JobPage { jobs, next })
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

impl Example for BackupDetails {
    fn example() -> Self {
        let verification =
            Verification { outcome: "verified", reason: None, at: LATER.to_rfc3339(), job: LATER.0 };
        Self {
            created: FULL.to_rfc3339(),
            timestamp: FULL.0,
            finished: after(FULL, 42).to_rfc3339(),
            finished_timestamp: None,
            duration: 42,
            from: Some(crate::catalog::time::GO_ZERO.to_owned()),
            namespace: namespace(),
            record_count: RECORDS,
            byte_count: BYTES,
            file_count: 4,
            secondary_index_count: 2,
            udf_count: 1,
            key: key(BackupType::Full),
            storage: Arc::new(json!({"local-storage": {"path": "/var/lib/holdfast/backups"}})),
            compression: Compression::Zstd.as_str(),
            encryption: "NONE",
            verification: Some(verification),
        }
    }
}

impl Example for BackupView {
    fn example() -> Self {
        let scope = Scope {
            sets: Vec::new(),
            bins: Vec::new(),
            filter: None,
            partitions: PartitionSet::all(),
            nodes: Vec::new(),
            racks: Vec::new(),
            no_ttl_only: false,
            no_records: false,
            key_id: None,
        };
        let file = FileView {
            name: "source-ns1_1.asb.zst".to_owned(),
            size_bytes: BYTES,
            records: Some(RECORDS),
            blake3: Some("c1f0e2b57a0a4f0c8d1f7f6d53a0b1de6c1c9a3f1f0f5f1d2f8f0e7c6b5a4938".to_owned()),
        };
        let namespace = NamespaceBackup {
            namespace: namespace(),
            key: key(BackupType::Full),
            state: "whole",
            reason: None,
            attempt: 1,
            finished: after(FULL, 42).to_rfc3339(),
            from: None,
            safe_from: Some(FULL.0),
            promoted: None,
            record_count: RECORDS,
            byte_count: BYTES,
            compression: Compression::Zstd.as_str(),
            encryption: "NONE",
            scope_hash: Some(scope.hash()),
            scope: Some(scope),
            files: vec![file],
            chain: Some(vec![backup(BackupType::Full)]),
            dependents: vec![backup(BackupType::Incremental)],
            verification: None,
            warnings: Vec::new(),
        };
        Self {
            routine: routine(),
            storage: Some(disk()),
            backup_type: BackupType::Full,
            timestamp: FULL.0,
            created: FULL.to_rfc3339(),
            namespaces: vec![namespace],
            problems: Vec::new(),
        }
    }
}

impl Example for RestorePoints {
    fn example() -> Self {
        let window = Window {
            from: after(INCREMENTAL, 3).0,
            to: None,
            restorable: true,
            complete_before: Some(INCREMENTAL.to_rfc3339()),
            finished: Some(after(INCREMENTAL, 3).to_rfc3339()),
            chain: vec![backup(BackupType::Full), backup(BackupType::Incremental)],
            overlap: false,
            damaged: Vec::new(),
            code: None,
            reason: None,
        };
        let points =
            NamespacePoints { namespace: namespace(), windows: vec![window], more: 1, left_out: Vec::new() };
        Self {
            routine: routine(),
            storage: Some(disk()),
            as_of: LATER.to_rfc3339(),
            namespaces: vec![points],
            problems: Vec::new(),
        }
    }
}

impl Example for Estimate {
    fn example() -> Self {
        let namespace = NamespaceEstimate {
            namespace: namespace(),
            backup_type: BackupType::Full,
            records: RECORDS,
            records_method: "namespace-objects",
            bytes: BYTES,
            text_bytes: 3 * BYTES,
            sampled_records: 10_000,
        };
        Self {
            routine: routine(),
            backup_type: BackupType::Full,
            namespaces: vec![namespace],
            records: RECORDS,
            bytes: BYTES,
            duration_ms: Some(42_000),
            duration_method: "last-backup",
        }
    }
}

impl Example for DeletionPlan {
    fn example() -> Self {
        let deleted = |backup_type, why, bytes| {
            let BackupRef { timestamp, key, .. } = backup(backup_type);
            DeletedBackup { key, namespace: namespace(), backup_type, timestamp, bytes, why }
        };
        let backups = vec![
            deleted(BackupType::Incremental, "dependent", 65_536),
            deleted(BackupType::Full, "asked", BYTES),
        ];
        Self {
            routine: routine(),
            backup_type: BackupType::Full,
            timestamp: FULL.0,
            cascade: true,
            bytes: backups.iter().map(|backup| backup.bytes).sum(),
            backups,
            dependents: Vec::new(),
            in_use: Vec::new(),
            without_full: vec![namespace()],
        }
    }
}

impl Example for CatalogView {
    fn example() -> Self {
        let problem = CatalogProblem {
            key: format!("{ROUTINE}/backup/{}/data/{NAMESPACE}", FULL.0 - 86_400_000),
            state: "incomplete",
            reason: Some("there is no metadata.yaml".to_owned()),
        };
        Self {
            routine: routine(),
            storage: disk(),
            as_of: Some(LATER.to_rfc3339()),
            whole_as_of: Some(FULL.to_rfc3339()),
            stale: None,
            full: 1,
            incremental: 1,
            problems: vec![problem],
        }
    }
}

impl Example for RefreshedRoutine {
    fn example() -> Self {
        Self { view: CatalogView::example(), refreshed: true }
    }
}

impl Example for retention::View {
    fn example() -> Self {
        let config = RetentionConfig {
            full: Some(10),
            incremental: Some(2),
            max_age_hours: None,
            keep: None,
            min_fulls: 1,
        };
        let view = |backup_type, at: UnixMillis, records, bytes| retention::BackupView {
            key: key(backup_type),
            backup_type,
            created: at.to_rfc3339(),
            records,
            bytes,
            promoted: false,
            state: "whole",
            stays: true,
            why: "policy",
        };
        let backups = vec![
            view(BackupType::Full, FULL, RECORDS, BYTES),
            view(BackupType::Incremental, INCREMENTAL, 400, 65_536),
        ];
        let totals = retention::Totals {
            stays: 2,
            stays_bytes: backups.iter().map(|backup| backup.bytes).sum(),
            ..retention::Totals::default()
        };
        Self {
            routine: routine(),
            storage: Some(disk()),
            says: config.to_string(),
            retention: Some(config),
            namespaces: vec![retention::NamespaceView { namespace: namespace(), backups }],
            problems: Vec::new(),
            totals,
        }
    }
}

impl Example for RoutineOwner {
    fn example() -> Self {
        let owner = OwnerView {
            instance: "8f14e45fceea167a".to_owned(),
            host: Some("backup-1.example.org".to_owned()),
            taken_at: Some(FULL.to_rfc3339()),
            renewed_at: Some(LATER.to_rfc3339()),
        };
        Self {
            routine: routine(),
            this_instance: owner.instance.clone(),
            state: OwnerState::Ours,
            owner: Some(owner),
        }
    }
}

impl Example for RestorePreview {
    fn example() -> Self {
        let plan = Described {
            namespace: namespace(),
            destination: "target-ns1".to_owned(),
            destination_empty: false,
            order: "newest-first",
            policy: "update",
            verify_first: true,
            complete_before: Some(FULL.to_rfc3339()),
            finished: Some(after(FULL, 42).to_rfc3339()),
            chain: vec![key(BackupType::Full)],
            files: 4,
            bytes: BYTES,
            records: RECORDS,
            digest_table_bytes: 40 * RECORDS,
        };
        let member = MemberPreview {
            key: key(BackupType::Full),
            backup_type: BackupType::Full.as_str(),
            created: Some(FULL.to_rfc3339()),
            files: 4,
            bytes: BYTES,
            records: Some(RECORDS),
            compression: Some(Compression::Zstd),
            encryption: "NONE",
        };
        let collision = Collision {
            job: LATER.0,
            kind: JobKind::Backup.as_str(),
            routine: Some("hourly".to_owned()),
            status: JobStatus::Running.as_str(),
            namespace: "target-ns1".to_owned(),
            code: "backup-running",
            reason: format!("job {} backs up target-ns1", LATER.0),
        };
        Self {
            namespaces: vec![NamespacePreview {
                plan,
                destination_records_estimate: 1_500,
                members: vec![member],
            }],
            files: 4,
            bytes: BYTES,
            records: RECORDS,
            conflicts: vec![collision],
            confirmation_required: true,
            safety_backup: Some(SafetyPlace { storage: Some(disk()), routine: "safety-backup".to_owned() }),
            warnings: Vec::new(),
        }
    }
}

impl Example for audit::Page {
    fn example() -> Self {
        let row = AuditRow {
            id: 7,
            at: LATER,
            request: AuditInsert {
                who: Some("ci".to_owned()),
                client: Some("192.0.2.7".to_owned()),
                request_id: "4f2a9c".to_owned(),
                method: "POST".to_owned(),
                path: "/v1/backups/full/daily?label=before+the+upgrade".to_owned(),
            },
            ended: Some(LATER),
            status: Some(202),
            code: None,
            job: Some(JobId(LATER.0)),
        };
        Self::of(vec![row], None)
    }
}

impl Example for config::DryRun {
    fn example() -> Self {
        let change = FieldChange {
            path: "backup-routines.daily.interval-cron".to_owned(),
            from: Some(json!("@daily")),
            to: Some(json!("0 0 2 * * ?")),
        };
        Self { changes: vec![change], affected: vec![routine()], file_rewritten: false }
    }
}

impl Example for config::Status {
    fn example() -> Self {
        Self {
            file: Some("/etc/holdfast/holdfast.yaml".to_owned()),
            etag: Some("\"5d41402abc4b2a76\"".to_owned()),
            in_force_since: FULL.to_rfc3339(),
            in_force_by: ReloadSource::File,
            last_read: LATER.to_rfc3339(),
            last_read_taken: false,
            problems: vec![
                "holdfast.yaml:12: backup-routines.daily.interval-cron: day field set twice".to_owned(),
            ],
        }
    }
}

impl Example for system::Version {
    fn example() -> Self {
        Self::of(AbsLevel::default())
    }
}
