//! What a committed namespace says of itself: `metadata.yaml` and `manifest.json`.

use super::NamespaceRun;
use crate::catalog::manifest::{
    ClockSkew, ClusterIdentity, Engine, FileKind, ManifestFile, NodeIdentity, Promoted, SCHEMA_VERSION,
    Totals, blocks::hash_hex,
};
use crate::catalog::{Compression, Encryption, Manifest, Metadata, Scope};
use crate::config;
use crate::engine::ReadReport;
use crate::model::UnixMillis;

impl NamespaceRun<'_> {
    /// Its `metadata.yaml`.
    pub(super) fn metadata(&self, report: &ReadReport, finished: UnixMillis) -> Metadata {
        Metadata {
            created: self.run.created,
            finished: Some(finished),
            from: self.builds_on(),
            namespace: self.plan.namespace.clone(),
            record_count: report.records,
            byte_count: report.bytes(),
            file_count: report.files.len() as u64,
            secondary_index_count: report.indexes,
            udf_count: report.udfs,
            compression: self.compression(),
            encryption: self.encryption(),
        }
    }

    pub(super) fn encryption(&self) -> Encryption {
        Encryption::of_cipher(self.run.cipher.as_ref().map(|cipher| cipher.mode))
    }

    pub(super) fn compression(&self) -> Compression {
        match self.run.config.policy.compression {
            config::Compression::None => Compression::None,
            config::Compression::Zstd { .. } => Compression::Zstd,
        }
    }

    /// Its `manifest.json`, not sealed yet.
    pub(super) fn manifest(
        &self,
        report: &ReadReport,
        scope: Scope,
        attempt: u32,
        finished: UnixMillis,
    ) -> Manifest {
        let run = self.run;
        let files: Vec<ManifestFile> = report
            .files
            .iter()
            .map(|file| ManifestFile {
                name: file.name.clone(),
                size_bytes: file.hashes.size,
                records: file.records,
                blake3: hash_hex(file.hashes.root),
                kind: if file.metadata { FileKind::Metadata } else { FileKind::Data },
            })
            .collect();
        let nodes = run
            .facts
            .nodes
            .iter()
            .map(|node| NodeIdentity { id: node.name.clone(), address: node.address.clone() })
            .collect();
        Manifest {
            schema_version: SCHEMA_VERSION,
            producer: format!("holdfast {}", env!("CARGO_PKG_VERSION")),
            engine: Engine { name: "aerospike".to_owned(), version: run.facts.version.clone() },
            cluster: ClusterIdentity { name: run.config.cluster.name.clone().unwrap_or_default(), nodes },
            routine: run.config.routine.clone(),
            namespace: self.plan.namespace.clone(),
            backup_type: self.backup_type,
            attempt,
            created: run.created,
            finished,
            from: self.builds_on(),
            safe_from: run.skew.safe_from,
            sealed_until: self.plan.until,
            promoted: self.promoted().map(|(code, _)| Promoted { reason: (*code).to_owned() }),
            run_namespaces: run.namespaces.clone(),
            scope_hash: scope.hash(),
            scope,
            format: "asb-3.1".to_owned(),
            compression: self.compression(),
            encryption: self.encryption(),
            totals: Totals {
                records: report.records,
                bytes: report.bytes(),
                files: files.len() as u64,
                indexes: report.indexes,
                udfs: report.udfs,
            },
            files,
            sidecar: None,
            clock_skew: Some(ClockSkew {
                behind_ms: run.skew.behind_ms,
                node: run.skew.node.clone(),
                margin_ms: run.margin_ms(),
            }),
            unsupported_skipped: report.unsupported,
            warnings: self
                .plan
                .warnings
                .iter()
                .chain(&report.warnings)
                .chain(&run.skew.warning)
                .cloned()
                .collect(),
            seal: None,
            sealed_hash: None,
        }
    }
}
