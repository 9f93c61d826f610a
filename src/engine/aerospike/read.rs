//! The way of a backup: scan → encode → compress, encrypt, hash → storage.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use async_trait::async_trait;
use tokio::runtime::Handle;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::files::{Block, Folder};
use super::{AerospikeEngine, threads};
use crate::aerospike::{
    Cluster, Nearness, RecordView, ScanGates, ScanRequest, ScanSink, filter, scan_partitions, unreadable,
};
use crate::asb::{EncodeError, Encoder, RecordHead, Version};
use crate::engine::checkpoint::{Checkpoint, coverage};
use crate::engine::throttle::Throttle;
use crate::engine::{NamespaceRead, ReadReport, Watch, WrittenFile};
use crate::error::{Error, Result};
use crate::model::coverage::{Rest, Touched};
use crate::model::{PartitionSet, UnixMillis, hex};
use crate::storage::Storage;
use crate::tasks::{Scope, unless_canceled};

/// The set in which the server keeps its monitors of multi-record transactions; never backed up (rules.md 3.13).
const TRANSACTION_MONITORS: &[u8] = b"<ERO~MRT";

/// Encoded records are handed to a writer once they fill this much.
const BLOCK_BYTES: usize = 256 << 10;

/// The most room that is made for a block before its records come.
const BLOCK_BYTES_MAX: usize = 2 << 20;

/// Blocks that may wait for one writer; with `BLOCK_BYTES` and a frame of 1 MiB this bounds its memory.
const BLOCKS_WAITING: usize = 2;

/// Reads one namespace into files below `folder`.
pub async fn read_namespace(
    engine: &AerospikeEngine,
    read: &NamespaceRead,
    storage: Arc<dyn Storage>,
    folder: &str,
    watch: Arc<dyn Watch>,
    cancel: &CancellationToken,
) -> Result<ReadReport> {
    let folder = Arc::new(Folder::new(storage, folder, read));
    let mut report = ReadReport::default();
    // Once for each namespace, and large: not part of the future that reads the records.
    let metadata = Box::pin(write_metadata(&engine.cluster, read, &folder, &mut report));
    unless_canceled(cancel, metadata).await?;
    if !read.no_records {
        read_records(engine, read, &folder, watch, cancel, &mut report).await?;
    }
    report.files.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(report)
}

/// Writes indexes and UDFs, if there are any, into a file of their own (asb.md 4.2: UDFs first).
async fn write_metadata(
    cluster: &Cluster,
    read: &NamespaceRead,
    folder: &Folder,
    report: &mut ReadReport,
) -> Result<()> {
    let mut text = Vec::new();
    let mut version = Version::V3_1;
    if read.udfs {
        for module in cluster.list_udfs().await? {
            let module = cluster.get_udf(&module.name).await?;
            Encoder::udf(&mut text, &module).map_err(|error| not_encodable(&module.name, &error))?;
            report.udfs += 1;
        }
    }
    if read.indexes {
        let list = cluster.list_indexes(&read.namespace).await?;
        report.warnings.extend(list.warnings);
        for definition in list.indexes {
            if definition.expression.is_some() {
                version = Version::V3_2;
            }
            Encoder::index(&mut text, &definition)
                .map_err(|error| not_encodable(&definition.name, &error))?;
            report.indexes += 1;
        }
    }
    if !text.is_empty() {
        report.files.push(folder.write_metadata(&text, version).await?);
    }
    Ok(())
}

/// Scans the records into as many files as there are writers, or more where the limit says so.
async fn read_records(
    engine: &AerospikeEngine,
    read: &NamespaceRead,
    folder: &Arc<Folder>,
    watch: Arc<dyn Watch>,
    cancel: &CancellationToken,
    report: &mut ReadReport,
) -> Result<()> {
    let mut request = scan_request(read);
    request.gates = ScanGates { nodes: read.limits.nodes.clone(), scans: engine.scans.clone() };
    request.near = unless_canceled(cancel, near(engine, &read.namespace, report)).await?;
    let (rest, unknown) = go_on(engine, read, cancel, report).await?;
    request.after = rest.after;
    let mut scans = read.parallel.clamp(1, rest.partitions.len().max(1));
    if read.limits.records_per_second > 0 {
        // Each scan gets at least one record per second.
        scans = scans.min(read.limits.records_per_second as usize);
    }
    let seats = threads::seats(read.parallel_write.clamp(1, scans), watch.as_ref(), cancel).await?;
    let writers = seats.len();
    let unsupported = Arc::new(AtomicU64::new(0));
    let (written, mut collected) = mpsc::channel::<Vec<WrittenFile>>(writers);
    let mut scope = Scope::new(cancel);
    let stop = scope.token().clone();
    let mut channels = Vec::with_capacity(writers);
    for (writer, seat) in seats.into_iter().enumerate() {
        let (blocks, incoming) = mpsc::channel::<Block>(BLOCKS_WAITING);
        channels.push(blocks);
        let (folder, watch, stop, written) =
            (Arc::clone(folder), Arc::clone(&watch), stop.clone(), written.clone());
        let runtime = Handle::current();
        scope.spawn_blocking("file-writer", move || {
            let _seat = seat;
            let files = folder.write_blocks(writer, incoming, watch.as_ref(), &stop, &runtime)?;
            // The receiver is gone only when the whole read has failed already.
            let _ = written.blocking_send(files);
            Ok(())
        });
    }
    drop(written);
    let sinks = (0..scans)
        .zip(channels.iter().cycle())
        .map(|(_, blocks)| encode_sink(read, blocks, &unsupported, &watch))
        .collect();
    drop(channels);
    let (cluster, partitions) = (engine.cluster.clone(), rest.partitions);
    let (unvouched, compressed) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
    let counts = (Arc::clone(&unvouched), Arc::clone(&compressed));
    scope.spawn("scan", async move {
        let scanned = scan_partitions(&cluster, &request, &partitions, sinks, &stop).await?;
        counts.0.store(scanned.unvouched_streams, Ordering::SeqCst);
        counts.1.store(scanned.compressed_frames, Ordering::SeqCst);
        Ok(())
    });
    let ended = scope.join().await;
    if cancel.is_cancelled() {
        return Err(Error::temporary("canceled", "the backup was canceled"));
    }
    ended?;
    while let Some(files) = collected.recv().await {
        report.files.extend(files);
    }
    report.records = report.files.iter().map(|file| file.records).sum();
    report.unsupported += unsupported.load(Ordering::SeqCst);
    let unvouched = unknown + unvouched.load(Ordering::SeqCst);
    doubts(read, report, unvouched, compressed.load(Ordering::SeqCst));
    Ok(())
}

/// What is left to be read, and how many queries of earlier reads no node vouches for; puts the files of those reads into
/// the report (rules.md 6.3).
async fn go_on(
    engine: &AerospikeEngine,
    read: &NamespaceRead,
    cancel: &CancellationToken,
    report: &mut ReadReport,
) -> Result<(Rest, u64)> {
    let kept = read.checkpoint.as_ref().map(|checkpoint| checkpoint.kept()).unwrap_or_default();
    if kept.is_empty() {
        return Ok((Rest { partitions: read.partitions.clone(), after: Vec::new() }, 0));
    }
    let covered = coverage(kept);
    let unknown = unless_canceled(cancel, unreadable(&engine.cluster, &covered.not_vouched())).await;
    if let (Err(error), Some(checkpoint)) = (&unknown, &read.checkpoint)
        && error.code() != "canceled"
    {
        checkpoint.distrust();
    }
    let unknown = unknown?;
    report.files.extend(kept.iter().map(|finished| finished.file.clone()));
    report.unsupported += kept.iter().map(|finished| finished.unsupported).sum::<u64>();
    Ok((covered.rest(&read.partitions), unknown))
}

/// Where one scan puts its records: as text, into the blocks of a writer.
fn encode_sink(
    read: &NamespaceRead,
    blocks: &mpsc::Sender<Block>,
    unsupported: &Arc<AtomicU64>,
    watch: &Arc<dyn Watch>,
) -> Box<dyn ScanSink> {
    Box::new(EncodeSink {
        encoder: Encoder::new(read.compact),
        out: Vec::with_capacity(BLOCK_BYTES * 2),
        records: 0,
        left_out: 0,
        blocks: blocks.clone(),
        skip_unsupported: read.skip_unsupported,
        unsupported: Arc::clone(unsupported),
        checkpoint: read.checkpoint.clone(),
        touched: read.checkpoint.as_ref().map(|_| Box::default()),
        watch: Arc::clone(watch),
        bandwidth: read.limits.bandwidth.clone(),
    })
}

/// Says what the nodes did not do, or did not confirm.
fn doubts(read: &NamespaceRead, report: &mut ReadReport, unvouched: u64, compressed: u64) {
    if read.scan_compression && report.records > 0 && compressed == 0 {
        report.warnings.push(
            "no node compressed what it sent: use-scan-compression works with the Enterprise Edition only"
                .to_owned(),
        );
    }
    if unvouched > 0 {
        report.warnings.push(format!(
            "{unvouched} scans ended well, but their node could not confirm that it had read every record"
        ));
    }
}

/// How near the nodes are by `prefer-racks`; nodes that know no racks are all as near.
async fn near(engine: &AerospikeEngine, namespace: &str, report: &mut ReadReport) -> Result<Nearness> {
    if engine.prefer_racks.is_empty() {
        return Ok(Nearness::new());
    }
    let racks = match engine.cluster.racks(namespace).await {
        Err(error) if error.code() == "racks-unsupported" => {
            report.warnings.push(format!("prefer-racks has no effect: {error}"));
            return Ok(Nearness::new());
        }
        racks => racks?,
    };
    let place = |rack: u32| engine.prefer_racks.iter().position(|preferred| *preferred == rack);
    Ok(racks.into_iter().filter_map(|(node, rack)| Some((node, place(rack)?))).collect())
}

pub(super) fn scan_request(read: &NamespaceRead) -> ScanRequest {
    let mut terms = Vec::new();
    // The user's own as it came, alone where it is alone (asb.md 5.1).
    terms.extend(read.filter.clone());
    if read.sets.len() > 1 {
        terms.push(filter::any_set(read.sets.iter().map(String::as_bytes)));
    }
    if let Some(from) = read.modified_from {
        terms.push(filter::modified_after(nanoseconds(from)));
    }
    if let Some(until) = read.modified_until {
        terms.push(filter::modified_before(nanoseconds(until)));
    }
    if read.no_ttl_only {
        terms.push(filter::never_expires());
    }
    let set = match read.sets.as_slice() {
        [only] => Some(only.clone().into_bytes()),
        _ => None,
    };
    ScanRequest {
        set,
        bins: read.bins.iter().map(|name| name.clone().into_bytes()).collect(),
        filter: (!terms.is_empty()).then(|| filter::and(&terms)),
        compressed: read.scan_compression,
        socket_timeout_ms: u32::try_from(read.socket_timeout_ms).unwrap_or(u32::MAX),
        total_timeout_ms: read.total_timeout_ms,
        records_per_second: read.limits.records_per_second,
        ..ScanRequest::new(read.namespace.clone())
    }
}

fn nanoseconds(at: UnixMillis) -> u64 {
    u64::try_from(at.0).unwrap_or(0).saturating_mul(1_000_000)
}

/// Encodes the records of one scan and hands them to its writer.
struct EncodeSink {
    encoder: Encoder,
    out: Vec<u8>,
    records: u64,
    /// Records since the last block that the format cannot hold.
    left_out: u64,
    blocks: mpsc::Sender<Block>,
    skip_unsupported: bool,
    unsupported: Arc<AtomicU64>,
    checkpoint: Option<Arc<dyn Checkpoint>>,
    /// Where each partition is, if there is a checkpoint to be noted.
    touched: Option<Box<Touched>>,
    watch: Arc<dyn Watch>,
    bandwidth: Option<Arc<Throttle>>,
}

impl EncodeSink {
    async fn hand_over(&mut self) -> Result<()> {
        let advance = self.touched.as_mut().map(|touched| touched.take()).unwrap_or_default();
        if self.out.is_empty() && advance.is_empty() {
            return Ok(());
        }
        // As much as the old one needed, and some more: frames are much alike. After one huge record it does not stay huge.
        let needed = self.out.len() + self.out.len() / 8;
        let next = Vec::with_capacity(needed.clamp(BLOCK_BYTES * 2, BLOCK_BYTES_MAX));
        let block = Block {
            bytes: std::mem::replace(&mut self.out, next),
            records: std::mem::take(&mut self.records),
            left_out: std::mem::take(&mut self.left_out),
            advance,
        };
        self.watch.read(block.records);
        if let Some(bandwidth) = &self.bandwidth {
            bandwidth.take(block.bytes.len() as u64, self.watch.as_ref()).await;
        }
        self.blocks.send(block).await.map_err(|_| Error::temporary("canceled", "the file writer has ended"))
    }
}

#[async_trait]
impl ScanSink for EncodeSink {
    fn record(&mut self, record: &RecordView<'_>) -> Result<()> {
        let head = record.head();
        if let Some(touched) = &mut self.touched {
            touched.record(head.digest);
        }
        if head.set == TRANSACTION_MONITORS {
            return Ok(());
        }
        match self.encoder.record(&mut self.out, &head, record.bins()) {
            Ok(()) => self.records += 1,
            Err(error) if self.skip_unsupported && is_unsupported(&error) => {
                self.unsupported.fetch_add(1, Ordering::SeqCst);
                self.left_out += 1;
            }
            Err(error) => return Err(cannot_encode(&head, &error)),
        }
        Ok(())
    }

    async fn end_of_frame(&mut self) -> Result<()> {
        self.watch.alive();
        if self.out.len() >= BLOCK_BYTES { self.hand_over().await } else { Ok(()) }
    }

    fn alive(&mut self) {
        self.watch.alive();
    }

    fn waiting(&mut self, for_what: Option<&'static str>) {
        self.watch.waiting(for_what);
    }

    fn query_begins(&mut self, query: u64) {
        if let Some(touched) = &mut self.touched {
            touched.begin(query);
        }
    }

    fn query_ended(&mut self, query: u64, vouched: bool, done: &PartitionSet) {
        if let Some(touched) = &mut self.touched {
            touched.end(query, vouched, done);
        }
    }

    fn query_refuted(&mut self) {
        if let Some(checkpoint) = &self.checkpoint {
            checkpoint.distrust();
        }
    }

    async fn end(&mut self) -> Result<()> {
        self.hand_over().await
    }
}

fn not_encodable(name: &[u8], error: &EncodeError) -> Error {
    let name = String::from_utf8_lossy(name);
    Error::permanent("unsupported-metadata", format!("index or UDF module {name}: {error}"))
        .hint("Set no-indexes or no-udfs in the policy to leave them out.")
}

/// Whether the format has no place for it (rules.md 3.13); anything else would be damage or a defect.
fn is_unsupported(error: &EncodeError) -> bool {
    matches!(error, EncodeError::Unsupported { .. } | EncodeError::UnsupportedKey { .. })
}

fn cannot_encode(head: &RecordHead<'_>, error: &EncodeError) -> Error {
    let text =
        format!("record {} of set \"{}\": {error}", hex(head.digest), String::from_utf8_lossy(head.set));
    let failed = Error::permanent("unsupported-record", text);
    if !is_unsupported(error) {
        return failed.hint("See the record on the server; exclude its set to back up the rest.");
    }
    failed.hint(
        "The backup format cannot hold it: set unsupported-records: skip-and-count in the policy to leave such \
         records out, or exclude their set.",
    )
}

#[cfg(test)]
mod tests {
    use super::{EncodeError, RecordHead, cannot_encode, is_unsupported};

    /// rules.md 3.13: the option is recommended only where it helps.
    #[test]
    fn a_key_that_the_format_cannot_hold_may_be_skipped_and_damage_may_not() {
        let head = RecordHead {
            namespace: b"ns",
            set: b"s",
            digest: &[0xAB; 20],
            key: None,
            generation: 1,
            void_time: 0,
            bin_count: 0,
        };
        let bad = EncodeError::BadKey { kind: 1, reason: "short" };
        for (error, skipped) in [(EncodeError::UnsupportedKey { kind: 20 }, true), (bad, false)] {
            assert_eq!(is_unsupported(&error), skipped);
            let error = cannot_encode(&head, &error);
            assert_eq!(error.hint_text().unwrap().contains("skip-and-count"), skipped);
            assert!(error.to_string().contains(&"ab".repeat(20)), "{error}");
        }
    }
}
