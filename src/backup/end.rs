//! How an attempt ended that storage says was committed.

use crate::catalog::commit::Committed;
use crate::store::{AttemptEnd, AttemptStatus};

/// The end of an attempt whose commit was found in storage: by a later try, or by the next process (rules.md 6.1).
pub fn end_of_committed(found: &Committed) -> AttemptEnd {
    let metadata = &found.metadata;
    AttemptEnd {
        safe_from: found.manifest.as_ref().map(|manifest| manifest.safe_from),
        records: metadata.record_count,
        bytes: metadata.byte_count,
        files: metadata.file_count,
        indexes: metadata.secondary_index_count,
        udfs: metadata.udf_count,
        ..AttemptEnd::plain(AttemptStatus::Committed, metadata.finished.unwrap_or(metadata.created))
    }
}
