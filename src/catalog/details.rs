//! `BackupDetails`: a backup in ABS's API (abs.md 1.3).

use std::sync::Arc;

use serde::{Serialize, Serializer};
use serde_json::Value;

use super::entry::BackupEntry;
use super::time::GO_ZERO;
use crate::model::status::AbsLevel;
use crate::model::{BackupType, UnixMillis};

/// One namespace of one run, with ABS's fields.
#[derive(Debug, Clone, PartialEq, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "kebab-case")]
pub struct BackupDetails {
    /// The start of the run, RFC 3339.
    pub created: String,
    /// The same instant in milliseconds.
    pub timestamp: i64,
    /// The end of this namespace, RFC 3339.
    pub finished: String,
    /// The same instant in milliseconds; since 3.6.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub finished_timestamp: Option<i64>,
    /// Whole seconds from `created` to `finished`.
    pub duration: i64,
    /// The lower bound of an incremental; for a full, 3.5 prints Go's zero time and later releases nothing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub from: Option<String>,
    /// The namespace.
    pub namespace: String,
    /// Records.
    pub record_count: u64,
    /// Bytes in storage.
    pub byte_count: u64,
    /// Files in storage.
    pub file_count: u64,
    /// Secondary indexes.
    pub secondary_index_count: u64,
    /// UDF modules.
    pub udf_count: u64,
    /// The folder, usable as `backup-data-path`.
    pub key: String,
    /// The storage's definition, without secrets.
    #[serde(serialize_with = "shared")]
    #[schema(value_type = Value)]
    pub storage: Arc<Value>,
    /// `NONE` or `ZSTD`.
    pub compression: &'static str,
    /// `NONE`, `AES128` or `AES256`.
    pub encryption: &'static str,
    /// What reading it again has shown last; none if nobody did. Ours: ABS's clients ignore it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub verification: Option<Verification>,
    /// The same of its copies that were read again. Ours.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schema(required = false)]
    pub copies: Vec<CopyVerification>,
}

/// What reading a copy again has shown.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "kebab-case")]
pub struct CopyVerification {
    /// Its storage, by its configured name.
    pub storage: String,
    /// What came of it.
    pub verification: Verification,
}

/// A list of thousands shows the same storage: it is kept once.
fn shared<S: Serializer>(value: &Arc<Value>, serializer: S) -> Result<S::Ok, S::Error> {
    value.as_ref().serialize(serializer)
}

/// What reading a backup again has shown.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "kebab-case")]
pub struct Verification {
    /// `verified`, `damaged`, `unreadable` or `chain-broken`.
    pub outcome: &'static str,
    /// Why it is not verified.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// When it was read, RFC 3339.
    pub at: String,
    /// The job that read it.
    pub job: i64,
}

impl BackupDetails {
    /// The details of an entry. `storage` is shown as given: redact it first.
    pub fn new(entry: &BackupEntry, storage: impl Into<Arc<Value>>, level: AbsLevel) -> Self {
        let old = level == AbsLevel::V3_5;
        let from = match entry.backup_type {
            BackupType::Incremental => entry.from.map(UnixMillis::to_rfc3339),
            BackupType::Full => None,
        };
        Self {
            created: entry.created.to_rfc3339(),
            timestamp: entry.created.0,
            finished: entry.finished.to_rfc3339(),
            finished_timestamp: (!old).then_some(entry.finished.0),
            duration: entry.finished.since(entry.created) / 1000,
            from: from.or_else(|| old.then(|| GO_ZERO.to_owned())),
            namespace: entry.namespace.clone(),
            record_count: entry.counts.records,
            byte_count: entry.counts.bytes,
            file_count: entry.counts.files,
            secondary_index_count: entry.counts.indexes,
            udf_count: entry.counts.udfs,
            key: entry.key.clone(),
            storage: storage.into(),
            compression: entry.compression.as_str(),
            encryption: entry.encryption.abs_word(),
            verification: None,
            copies: Vec::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::BackupDetails;
    use crate::catalog::testkit::{Backup, storage};
    use crate::model::status::AbsLevel;

    #[tokio::test]
    async fn prints_abs_fields() {
        let (_dir, storage) = storage().await;
        let inline = json!({"local-storage": {"path": "/var/backups"}});
        let full = Backup::full(1_704_110_400_000, "source-ns1").files(2).foreign().write(&storage).await;
        let shown =
            |entry, level| serde_json::to_value(BackupDetails::new(entry, inline.clone(), level)).unwrap();
        let mut expected = json!({
            "created": "2024-01-01T12:00:00Z", "timestamp": 1_704_110_400_000_i64,
            "finished": "2024-01-01T12:00:01.5Z", "duration": 1, "from": "0001-01-01T00:00:00Z",
            "namespace": "source-ns1", "record-count": 30, "byte-count": full.counts.bytes, "file-count": 2,
            "secondary-index-count": 0, "udf-count": 0, "key": "r/backup/1704110400000/data/source-ns1",
            "storage": {"local-storage": {"path": "/var/backups"}}, "compression": "ZSTD", "encryption": "NONE",
        });
        assert_eq!(shown(&full, AbsLevel::V3_5), expected);
        let newer = expected.as_object_mut().unwrap();
        newer.remove("from");
        newer.insert("finished-timestamp".to_owned(), json!(1_704_110_401_500_i64));
        assert_eq!(shown(&full, AbsLevel::V3_6), expected);

        let incremental =
            Backup::incremental(1_704_110_500_000, 1_704_110_400_000, "source-ns1").write(&storage).await;
        for level in [AbsLevel::V3_5, AbsLevel::V3_7] {
            assert_eq!(shown(&incremental, level)["from"], "2024-01-01T12:00:00Z");
        }
    }
}
