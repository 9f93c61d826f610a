//! How a routine's configuration says one namespace is read.

use crate::config::{Compression, JobConfig, UnsupportedRecords};
use crate::engine::{NamespaceRead, ReadLimits};
use crate::memory::file_limit;
use crate::model::PartitionSet;

/// All records in scope, without indexes and UDFs, one scan into one file at a time.
pub(super) fn plain_read(
    config: &JobConfig,
    namespace: &str,
    filter: Option<Vec<u8>>,
    partitions: PartitionSet,
) -> NamespaceRead {
    let policy = &config.policy;
    NamespaceRead {
        namespace: namespace.to_owned(),
        sets: config.scope.sets.clone(),
        bins: config.scope.bins.clone(),
        filter,
        no_ttl_only: policy.no_ttl_only,
        partitions,
        modified_from: None,
        modified_until: None,
        no_records: policy.no_records,
        indexes: false,
        udfs: false,
        skip_unsupported: policy.unsupported_records == UnsupportedRecords::SkipAndCount,
        parallel: 1,
        parallel_write: 1,
        file_limit_bytes: file_limit(policy.file_limit_bytes, config.storage.part_bytes()),
        zstd_level: match policy.compression {
            Compression::None => None,
            Compression::Zstd { level } => Some(level),
        },
        cipher: None,
        compact: policy.compact,
        scan_compression: policy.scan_compression,
        socket_timeout_ms: policy.socket_timeout_ms,
        total_timeout_ms: policy.total_timeout_ms,
        limits: ReadLimits::default(),
        checkpoint: None,
    }
}
