//! Backups and the rest of what is in storage.

use std::sync::Arc;

use serde_json::json;

use super::{
    BYTES, Example, FULL, INCREMENTAL, LATER, NAMESPACE, RECORDS, ROUTINE, after, backup, disk, key,
    namespace, routine,
};
use crate::app::catalog::{CatalogProblem, CatalogView};
use crate::app::{
    AskedStorage, BackupRef, BackupView, FileView, NamespaceBackup, NamespacePoints, OwnerState, OwnerView,
    PointIn, RefreshedRoutine, RestorePoints, RoutineOwner, Window,
};
use crate::backup::estimate::{Estimate, NamespaceEstimate};
use crate::catalog::details::{BackupDetails, Verification};
use crate::catalog::time::GO_ZERO;
use crate::catalog::{Compression, Scope};
use crate::config::RetentionConfig;
use crate::model::{BackupType, PartitionSet, UnixMillis};
use crate::retention::{self, DeletedBackup, DeletionPlan};

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
            from: Some(GO_ZERO.to_owned()),
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
            copies: Vec::new(),
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
            copies: Vec::new(),
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
        let here = PointIn {
            storage: disk(),
            complete_before: INCREMENTAL.to_rfc3339(),
            finished: after(INCREMENTAL, 3).to_rfc3339(),
            damaged: Vec::new(),
        };
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
            storage: Some(disk()),
            storages: vec![here],
        };
        let points =
            NamespacePoints { namespace: namespace(), windows: vec![window], more: 1, left_out: Vec::new() };
        Self {
            routine: routine(),
            storage: Some(disk()),
            as_of: LATER.to_rfc3339(),
            namespaces: vec![points],
            problems: Vec::new(),
            storages: vec![AskedStorage { storage: Some(disk()), problem: None }],
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
            copies: Vec::new(),
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
