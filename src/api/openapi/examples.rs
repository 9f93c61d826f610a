//! An answer of each kind: a value of its type, so that it cannot say what no answer says. They are of one small world: the routine
//! `daily` keeps the namespace `source-ns1` of the cluster `prod` on the storage `disk`.

mod jobs;
mod storage;

use serde::Serialize;
use serde_json::json;

use super::parameters::INSTANT;
use crate::api::{audit, config, system};
use crate::app::{BackupRef, ReloadSource};
use crate::catalog::Compression;
use crate::config::FieldChange;
use crate::jobs::Collision;
use crate::model::status::AbsLevel;
use crate::model::{BackupType, JobKind, JobStatus, UnixMillis};
use crate::restore::{Described, MemberPreview, NamespacePreview, RestorePreview, SafetyPlace};
use crate::store::{AuditInsert, AuditRow, JobId};

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
