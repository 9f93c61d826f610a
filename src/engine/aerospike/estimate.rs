//! How much a backup would hold, without reading all of it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use async_trait::async_trait;
use tokio_util::sync::CancellationToken;

use super::read::scan_request;
use crate::aerospike::{Cluster, RecordView, ScanRequest, ScanSink, scan_partitions};
use crate::asb::{Compressor, Encoder};
use crate::engine::{NamespaceRead, SizeEstimate};
use crate::error::{Error, Result};
use crate::model::partitions::{PARTITION_COUNT, PartitionSet};

/// Partitions that are counted where nothing else tells how many records there are: one in 64.
const PARTITIONS_COUNTED: usize = 64;

/// A sample is at most so many records, as with the official tools (asb.md 5.3), …
const SAMPLE_RECORDS: u64 = 10_000;
/// … and not many more bytes than this.
const SAMPLE_BYTES: usize = 16 << 20;

/// Ends a scan whose sample is full; never seen outside this file.
const FULL: &str = "sample-full";

/// The records of a read, and how they were counted. `objects`: records of the whole namespace.
pub async fn count(
    cluster: &Cluster,
    read: &NamespaceRead,
    objects: u64,
    cancel: &CancellationToken,
) -> Result<(u64, &'static str)> {
    let share = |records: u64| records * read.partitions.len() as u64 / u64::from(PARTITION_COUNT);
    let is_narrowed = !read.bins.is_empty()
        || read.filter.is_some()
        || read.no_ttl_only
        || read.modified_from.is_some()
        || read.modified_until.is_some();
    if read.no_records {
        return Ok((0, "no-records"));
    }
    if !is_narrowed && read.sets.is_empty() {
        return Ok((share(objects), "namespace-objects"));
    }
    if !is_narrowed {
        let stats = cluster.namespace_stats(&read.namespace).await?;
        let copies = stats.iter().map(|stat| stat.replication_factor).max().unwrap_or(1).max(1);
        let sets = cluster.sets(&read.namespace).await?;
        let ours = sets.iter().filter(|set| read.sets.iter().any(|name| name.as_bytes() == set.name));
        return Ok((share(ours.map(|set| set.objects).fold(0, u64::saturating_add) / copies), "set-objects"));
    }
    let sample = spread(&read.partitions, PARTITIONS_COUNTED);
    // With a bin list the server must look at the bins.
    let request = ScanRequest { no_bins: read.bins.is_empty(), ..scan_request(read) };
    let seen = Arc::new(AtomicU64::new(0));
    let sink = Box::new(Counting(Arc::clone(&seen)));
    scan_partitions(cluster, &request, &sample, vec![sink], cancel).await?;
    let counted = seen.load(Ordering::SeqCst);
    Ok((counted * read.partitions.len() as u64 / sample.len().max(1) as u64, "partition-sample"))
}

/// How many bytes `records` records of a read take in storage, by a sample of them.
pub async fn size(
    cluster: &Cluster,
    read: &NamespaceRead,
    records: u64,
    cancel: &CancellationToken,
) -> Result<SizeEstimate> {
    if records == 0 {
        return Ok(SizeEstimate::default());
    }
    let all = read.partitions.len() as u64;
    // So many partitions as should hold the sample twice.
    let wanted = (SAMPLE_RECORDS * 2 * all).div_ceil(records).clamp(1, all);
    let partitions = spread(&read.partitions, usize::try_from(wanted).unwrap_or(usize::MAX));
    let compressor = read.zstd_level.map(Compressor::new).transpose().map_err(failed)?;
    let sample = Arc::new(std::sync::Mutex::new(Sample { compressor, ..Sample::default() }));
    let sink = Sizing { encoder: Encoder::new(read.compact), text: Vec::new(), sample: Arc::clone(&sample) };
    match scan_partitions(cluster, &scan_request(read), &partitions, vec![Box::new(sink)], cancel).await {
        Ok(_) => {}
        Err(error) if error.code() == FULL => {}
        Err(error) => return Err(error),
    }
    let mut sample = sample.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    let mut packed = Vec::new();
    if let Some(compressor) = sample.compressor.take() {
        compressor.finish(&mut packed).map_err(failed)?;
        sample.stored += packed.len() as u64;
    }
    let scaled = |bytes: u64| {
        let bytes = u128::from(bytes) * u128::from(records) / u128::from(sample.records.max(1));
        u64::try_from(bytes).unwrap_or(u64::MAX)
    };
    Ok(SizeEstimate {
        stored_bytes: scaled(sample.stored),
        text_bytes: scaled(sample.text),
        sampled_records: sample.records,
    })
}

/// At most `count` of the partitions, far apart from one another.
fn spread(partitions: &PartitionSet, count: usize) -> PartitionSet {
    let step = partitions.len().div_ceil(count.max(1)).max(1);
    partitions.iter().step_by(step).collect()
}

fn failed(error: std::io::Error) -> Error {
    Error::permanent("compression", "compress a sample").source(error)
}

struct Counting(Arc<AtomicU64>);

#[async_trait]
impl ScanSink for Counting {
    fn record(&mut self, _record: &RecordView<'_>) -> Result<()> {
        self.0.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }

    async fn end_of_frame(&mut self) -> Result<()> {
        Ok(())
    }
}

#[derive(Default)]
struct Sample {
    records: u64,
    text: u64,
    stored: u64,
    compressor: Option<Compressor>,
}

struct Sizing {
    encoder: Encoder,
    text: Vec<u8>,
    sample: Arc<std::sync::Mutex<Sample>>,
}

#[async_trait]
impl ScanSink for Sizing {
    fn record(&mut self, record: &RecordView<'_>) -> Result<()> {
        let mut sample = self.sample.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        self.text.clear();
        // What the format cannot hold is no part of the size.
        let _ = self.encoder.record(&mut self.text, &record.head(), record.bins());
        sample.records += 1;
        sample.text += self.text.len() as u64;
        match &mut sample.compressor {
            None => sample.stored += self.text.len() as u64,
            Some(compressor) => {
                let mut packed = Vec::new();
                compressor.push(&self.text, &mut packed).map_err(failed)?;
                sample.stored += packed.len() as u64;
            }
        }
        if sample.records >= SAMPLE_RECORDS || sample.text >= SAMPLE_BYTES as u64 {
            return Err(Error::permanent(FULL, "the sample is full"));
        }
        Ok(())
    }

    async fn end_of_frame(&mut self) -> Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::spread;
    use crate::model::partitions::PartitionSet;

    #[test]
    fn a_sample_of_partitions_is_spread_and_never_larger_than_asked() {
        let all = PartitionSet::all();
        let some = spread(&all, 64);
        assert_eq!((some.len(), some.iter().next(), some.iter().last()), (64, Some(0), Some(4032)));
        for (of, count, expected) in [(10_u16, 3, 3), (10, 10, 10), (10, 100, 10), (1, 64, 1), (0, 64, 0)] {
            let few: PartitionSet = (0..of).collect();
            assert_eq!(spread(&few, count).len(), expected, "{of} {count}");
        }
    }
}
