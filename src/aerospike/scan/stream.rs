//! One query on one connection.

use std::sync::atomic::Ordering;
use std::time::Duration;

use crate::error::{Error, Result};
use crate::model::partitions::PartitionSet;

use super::super::conn::{Arrival, CONNECTION_LOST, Connection, lost, malformed};
use super::super::inflate::inflate;
use super::super::node::Node;
use super::super::result_code::ResultCode;
use super::super::wire::{
    self, Entries, Entry, FRAME_BYTES_MAX, FRAME_HEADER_BYTES, FrameKind, Malformed, MessageHeader, field,
    info_bits,
};
use super::account::{Account, Received};
use super::{ScanRequest, Worker};

/// A buffer for frames that is larger is not kept: nodes send about 1 MiB at once.
const FRAME_KEPT_BYTES: usize = 4 << 20;

/// How a stream ended, if the scan can go on.
#[derive(Debug)]
pub(super) enum StreamEnd {
    /// With "last, ok".
    Complete,
    /// Otherwise; another try may do better.
    Broken(Error),
}

impl Worker {
    /// Reads `pids` from `node`. The query id is random: a node refuses one that is active (wire.md 5).
    pub(super) async fn stream(&mut self, node: &Node, pids: &[u16]) -> Result<StreamEnd> {
        let query = rand::random::<u64>().max(1);
        let (whole, resumed) = self.slots.ask(pids);
        let request =
            encode(&self.request, query, self.records_per_second, &whole, &resumed).map_err(|error| {
                Error::permanent("scan-refused", "the scan cannot be asked for").source(error)
            })?;
        let some_bins = !(self.request.bins.is_empty() || self.request.no_bins);
        let mut received = Received { some_bins, ..Received::default() };
        self.sink.query_begins(query);
        let ended = self.read(node, query, &request, &mut received).await;
        self.tally.records.fetch_add(received.records, Ordering::Relaxed);
        match ended {
            Ok(connection) => {
                let vouched = self.vouch(node, query, Some(&received)).await?;
                node.give_back(connection);
                let done = self.slots.stream_complete();
                self.sink.query_ended(query, vouched, &self.slots.done_of(pids));
                self.tally.partitions.fetch_add(done, Ordering::Relaxed);
                Ok(StreamEnd::Complete)
            }
            Err(Break::Retry(error)) => {
                let vouched = received.records > 0 && self.vouch(node, query, None).await?;
                self.sink.query_ended(query, vouched, &PartitionSet::empty());
                self.slots.stream_broken();
                Ok(StreamEnd::Broken(error))
            }
            Err(Break::Stop(error)) => Err(error),
        }
    }

    async fn read(
        &mut self,
        node: &Node,
        query: u64,
        request: &[u8],
        received: &mut Received,
    ) -> Result<Connection, Break> {
        let idle = Duration::from_millis(self.request.idle_timeout_ms.max(1));
        let mut connection = node.connection().await?;
        connection.send(request, idle).await?;
        let mut account = None;
        loop {
            let mut frame = std::mem::take(&mut self.frame);
            let arrival = connection.receive(FrameKind::Message, &mut frame, FRAME_BYTES_MAX, idle).await;
            let last = match arrival {
                Ok(Arrival::Frame) => {
                    received.frames += 1;
                    received.bytes += (frame.len() + FRAME_HEADER_BYTES) as u64;
                    self.take(node, &frame, &mut received.records).map(Some)
                }
                Ok(Arrival::Compressed) => {
                    received.compressed = true;
                    self.tally.compressed.fetch_add(1, Ordering::Relaxed);
                    let mut unpacked = std::mem::take(&mut self.unpacked);
                    let taken = inflate(&frame, &mut unpacked)
                        .map_err(|error| Break::Stop(malformed(node.address, error)))
                        .and_then(|body| self.take(node, body, &mut received.records));
                    self.unpacked = unpacked;
                    taken.map(Some)
                }
                Ok(Arrival::Silence) => still_running(node, query, idle).await.map(|now| {
                    if account.replace(now) != Some(now) {
                        self.sink.alive();
                    }
                    None
                }),
                Err(error) => Err(error.into()),
            };
            // Not one that a huge record has made huge.
            self.frame = if frame.capacity() > FRAME_KEPT_BYTES { Vec::new() } else { frame };
            let Some(ended) = last? else { continue };
            self.sink.end_of_frame().await.map_err(Break::Stop)?;
            if let Some(result) = ended {
                if result.is_session_lost() {
                    return Err(node.session_lost().await.into());
                }
                return self.judge(node, result).map(|()| connection);
            }
        }
    }

    /// Hands the records of a whole frame to the sink. Returns the result if the stream ends here.
    fn take(&mut self, node: &Node, frame: &[u8], received: &mut u64) -> Result<Option<ResultCode>, Break> {
        let bad = |error: Malformed| Break::Stop(malformed(node.address, error));
        for entry in Entries::new(frame) {
            match entry.map_err(bad)? {
                Entry::Record(record) => {
                    let digest = record.head().digest;
                    self.slots.expects(digest).map_err(bad)?;
                    self.sink.record(&record).map_err(Break::Stop)?;
                    self.slots.accepted(digest);
                    *received += 1;
                }
                // "ok" comes only from older servers, and says no more than the end of the stream will
                Entry::PartitionDone { result, .. } if result.is_ok() => {}
                Entry::PartitionDone { pid, result } => {
                    tracing::debug!(node = %node, pid, %result, "partition not served");
                    self.slots.not_served(pid);
                }
                Entry::Last { result } => return Ok(Some(result)),
            }
        }
        Ok(None)
    }

    /// What the end of a stream means.
    fn judge(&self, node: &Node, result: ResultCode) -> Result<(), Break> {
        // older servers answer a scan of a set that they do not have so
        let nothing_there = result == ResultCode::NOT_FOUND && self.request.set.is_some();
        if result.is_ok() || nothing_there {
            return Ok(());
        }
        let message = format!("node {node} ended the scan of \"{}\": {result}", self.request.namespace);
        Err(if result.is_request_retryable() {
            Break::Retry(Error::temporary("scan-refused", message))
        } else if result == ResultCode::QUERY_ABORT {
            Break::Stop(
                Error::temporary("scan-refused", message).hint("Somebody aborted the query on the node."),
            )
        } else {
            Break::Stop(Error::permanent("scan-refused", message))
        })
    }

    /// Asks the node whether it could read every record; false if it does not say.
    async fn vouch(&mut self, node: &Node, query: u64, received: Option<&Received>) -> Result<bool> {
        if let Ok(Some(account)) = Account::of(node, query).await {
            let checked = account.check(node, received);
            if checked.is_err() {
                self.sink.query_refuted();
            }
            return checked.map(|()| true);
        }
        self.tally.unvouched.fetch_add(1, Ordering::Relaxed);
        Ok(false)
    }
}

/// Why a stream ended early.
#[derive(Debug)]
enum Break {
    /// Try again.
    Retry(Error),
    /// The scan ends with this error.
    Stop(Error),
}

impl From<Error> for Break {
    fn from(error: Error) -> Self {
        if error.code() == CONNECTION_LOST { Self::Retry(error) } else { Self::Stop(error) }
    }
}

/// Tells a node that is busy from one that is gone, after a silence.
async fn still_running(node: &Node, query: u64, idle: Duration) -> Result<Account, Break> {
    match Account::of(node, query).await {
        Ok(Some(account)) if account.active => {
            tracing::debug!(node = %node, "node is silent, but the query runs");
            Ok(account)
        }
        Ok(_) => {
            let what = format!("silent for {} ms, and the node does not run the query", idle.as_millis());
            Err(Break::Retry(lost(node.address, what)))
        }
        Err(error) => Err(error.into()),
    }
}

/// The request for a partition scan (wire.md 5, asb.md 7.4).
fn encode(
    request: &ScanRequest,
    query: u64,
    records_per_second: u32,
    whole: &[u16],
    resumed: &[[u8; 20]],
) -> Result<Vec<u8>, Malformed> {
    let bins: &[Vec<u8>] = if request.no_bins { &[] } else { &request.bins };
    let mut fields = Vec::new();
    let mut count = 0;
    let mut add = |kind, parts: &[&[u8]]| {
        wire::write_field(&mut fields, kind, parts);
        count += 1;
    };
    add(field::NAMESPACE, &[request.namespace.as_bytes()]);
    if let Some(set) = &request.set {
        add(field::SET, &[set]);
    }
    add(field::QUERY_ID, &[&query.to_be_bytes()]);
    add(field::SOCKET_TIMEOUT, &[&request.socket_timeout_ms.to_be_bytes()]);
    if records_per_second > 0 {
        add(field::RECORDS_PER_SECOND, &[&records_per_second.to_be_bytes()]);
    }
    if !whole.is_empty() {
        let little_endian: Vec<u8> = whole.iter().flat_map(|pid| pid.to_le_bytes()).collect();
        add(field::PARTITIONS, &[&little_endian]);
    }
    if !resumed.is_empty() {
        add(field::DIGESTS, &[resumed.as_flattened()]);
    }
    if let Some(filter) = &request.filter {
        add(field::FILTER, &[filter]);
    }
    let header = MessageHeader {
        info1: info_bits::READ
            | if request.no_bins { info_bits::NO_BINS } else { 0 }
            | if request.compressed { info_bits::COMPRESS } else { 0 },
        info3: info_bits::PARTITION_DONE,
        fields: count,
        ops: u16::try_from(bins.len()).map_err(|_| Malformed { what: "bin list: too long" })?,
        ..MessageHeader::default()
    };
    let mut frame = Vec::with_capacity(64 + fields.len());
    wire::start_frame(&mut frame, FrameKind::Message);
    header.write(&mut frame);
    frame.extend_from_slice(&fields);
    for bin in bins {
        wire::write_read_op(&mut frame, bin)?;
    }
    wire::finish_frame(&mut frame);
    Ok(frame)
}
