//! Whether a namespace holds no record, found by looking (rules.md 4.3).

use async_trait::async_trait;
use tokio_util::sync::CancellationToken;

use crate::aerospike::{Cluster, RecordView, ScanRequest, ScanSink, scan_partitions};
use crate::error::{Error, Result};
use crate::model::partitions::PartitionSet;

/// Ends the scan at the first record; never seen outside this file.
const FOUND: &str = "found-a-record";

/// Whether none of the sets (no sets: the whole namespace) holds a record, by a scan without bins.
pub async fn is_empty(
    cluster: &Cluster,
    namespace: &str,
    sets: &[String],
    cancel: &CancellationToken,
) -> Result<bool> {
    let mut requests = Vec::new();
    if sets.is_empty() {
        requests.push(ScanRequest { no_bins: true, ..ScanRequest::new(namespace) });
    }
    requests.extend(sets.iter().map(|set| ScanRequest {
        no_bins: true,
        set: Some(set.clone().into_bytes()),
        ..ScanRequest::new(namespace)
    }));
    for request in requests {
        match scan_partitions(cluster, &request, &PartitionSet::all(), vec![Box::new(StopAtFirst)], cancel)
            .await
        {
            Ok(_) => {}
            Err(error) if error.code() == FOUND => return Ok(false),
            Err(error) => return Err(error),
        }
    }
    Ok(true)
}

struct StopAtFirst;

#[async_trait]
impl ScanSink for StopAtFirst {
    fn record(&mut self, _record: &RecordView<'_>) -> Result<()> {
        Err(Error::permanent(FOUND, "the namespace is not empty"))
    }

    async fn end_of_frame(&mut self) -> Result<()> {
        Ok(())
    }
}
