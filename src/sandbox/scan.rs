//! Scans of partitions (asb.md 7.4): the checks of the server in its order, then chunks of at most 1 MiB and a record.

use std::io::Write;
use std::sync::Arc;
use std::time::Duration;

use super::account::ScanAccount;
use super::connection::send;
use super::digest::{Digest, partition_of};
use super::expression::Filter;
use super::fault::{Harm, Moment};
use super::harm;
use super::node::Node;
use super::proto::{
    BIN_NAME_MAX, COMPRESSED, FRAME_HEADER, Frame, Head, MESSAGE, Request, SET_NAME_MAX, bit, field, op, rc,
};
use super::single::passes;
use super::store::{Namespace, PARTITIONS, Record};
use crate::tls::Wire;

/// A frame of records is sent when it is larger than this, as on the server.
const CHUNK: usize = 1024 * 1024;
/// Partitions between two chances for other tasks.
const PARTITIONS_PER_TURN: usize = 64;
/// How long a client may leave a chunk unread when it does not say.
const STALL_DEFAULT: Duration = Duration::from_secs(10);
/// How often a scan with a limit of records per second goes on.
const TURNS_PER_SECOND: u32 = 10;

/// A scan as asked for.
#[derive(Debug)]
struct Scan<'a> {
    set: &'a [u8],
    /// By rising partition; with the digest to continue below.
    partitions: Vec<(u16, Option<Digest>)>,
    no_bins: bool,
    bins: Vec<&'a [u8]>,
    filter: Option<Filter>,
    /// 0 = all.
    max_records: u64,
    /// 0 = no limit.
    records_per_second: u32,
    stall: Option<Duration>,
    /// The end comes in the frame of the last records, and the task id is not looked at.
    short: bool,
    /// 0 = none.
    task_id: u64,
    account: Arc<ScanAccount>,
    /// Frames of records are compressed.
    compressed: bool,
}

/// Answers a scan: a refusal is one message without the LAST bit.
pub(super) async fn run(
    stream: &mut Wire,
    node: &Arc<Node>,
    namespace: &Arc<Namespace>,
    request: &Request<'_>,
) -> std::io::Result<()> {
    let scan = match Scan::parse(request) {
        Ok(scan) => Scan { compressed: scan.compressed && node.compresses, ..scan },
        Err(result) => return send(stream, Head::result(result)).await,
    };
    if let Some(code) = harm::meet(stream, node, Moment::Scan, &mut Frame::new()).await? {
        return send(stream, Head::result(code)).await;
    }
    let named = !scan.short && scan.task_id != 0;
    let running = named.then(|| node.begin_scan(&scan.account));
    if matches!(running, Some(None)) {
        return send(stream, Head::result(rc::PARAMETER)).await;
    }
    let (mut rest, result) = stream_records(stream, node, namespace, &scan).await?;
    if !scan.short {
        scan.flush(stream, &mut rest).await?;
    }
    rest.head(Head::last(result), 0, 0);
    // Before the client can ask for it.
    scan.account.done(rest.body_len() + FRAME_HEADER);
    flush(stream, &mut rest, scan.stall).await
}

/// Sends all chunks but the last, which it returns with the result.
async fn stream_records(
    stream: &mut Wire,
    node: &Arc<Node>,
    namespace: &Namespace,
    scan: &Scan<'_>,
) -> std::io::Result<(Frame, u8)> {
    let mut frame = Frame::new();
    let mut left = if scan.max_records == 0 { u64::MAX } else { scan.max_records };
    let per_turn = match scan.records_per_second {
        0 => u64::MAX,
        limit => u64::from((limit / TURNS_PER_SECOND).max(1)),
    };
    let mut unpaused = 0;
    for (done, (pid, after)) in scan.partitions.iter().enumerate() {
        if !node.owns(*pid) && !node.has_copy(*pid) {
            frame.head(Head::partition_done(*pid, rc::UNAVAILABLE), 0, 0);
            continue;
        }
        let mut after = *after;
        while left > 0 {
            // The partition is locked for one chunk: writes go on between two.
            let turn = left.min(per_turn - unpaused);
            let (found, next, struck) = scan.fill(&mut frame, node, namespace, *pid, after, turn);
            if matches!(struck, Some(Harm::Silence)) {
                // The client is to take the node for gone, not for busy: the node's account agrees.
                scan.account.end();
            }
            if let Some(harm) = struck
                && let Some(code) = harm::suffer(stream, node, harm, &mut frame, MESSAGE).await?
            {
                return Ok((frame, code));
            }
            left -= found;
            unpaused += found;
            if next.is_some() || unpaused >= per_turn {
                scan.flush(stream, &mut frame).await?;
                pause(unpaused, scan.records_per_second).await;
                unpaused = 0;
            }
            if next.is_none() {
                break;
            }
            after = next;
        }
        if done % PARTITIONS_PER_TURN == PARTITIONS_PER_TURN - 1 {
            tokio::task::yield_now().await;
        }
    }
    Ok((frame, rc::OK))
}

/// Waits as long as `records` take at the limit.
async fn pause(records: u64, per_second: u32) {
    if per_second > 0 {
        tokio::time::sleep(Duration::from_secs_f64(records as f64 / f64::from(per_second))).await;
    }
}

/// Sends a chunk; a client that leaves it unread for too long is cut off, as a server does.
async fn flush(stream: &mut Wire, frame: &mut Frame, stall: Option<Duration>) -> std::io::Result<()> {
    flush_as(stream, frame, MESSAGE, stall).await
}

/// The body of a compressed frame: the size of the frame in it, then that frame (wire.md 5).
fn compress(frame: &[u8]) -> std::io::Result<Vec<u8>> {
    let size = (frame.len() as u64).to_be_bytes().to_vec();
    let mut zlib = flate2::write::ZlibEncoder::new(size, flate2::Compression::fast());
    zlib.write_all(frame)?;
    zlib.finish()
}

async fn flush_as(
    stream: &mut Wire,
    frame: &mut Frame,
    kind: u8,
    stall: Option<Duration>,
) -> std::io::Result<()> {
    if frame.is_empty() {
        return Ok(());
    }
    let bytes = frame.finish(kind);
    match stall {
        None => stream.send(&bytes).await,
        Some(stall) => match tokio::time::timeout(stall, stream.send(&bytes)).await {
            Ok(sent) => sent,
            Err(_) => Err(std::io::ErrorKind::TimedOut.into()),
        },
    }
}

impl<'a> Scan<'a> {
    fn parse(request: &Request<'a>) -> Result<Self, u8> {
        let unsupported = [field::INDEX_RANGE, field::INDEX_NAME, field::BIN_LIST];
        if request.info2 & bit::WRITE != 0
            || request.info3 & bit::PARTITION_DONE == 0
            || unsupported.iter().any(|kind| request.field(*kind).is_some())
        {
            return Err(rc::UNSUPPORTED);
        }
        if request.set().len() > SET_NAME_MAX {
            return Err(rc::PARAMETER);
        }
        let partitions = partitions(request)?;
        let short = request.info1 & bit::SHORT_QUERY != 0;
        if short && request.field(field::RECORDS_PER_SECOND).is_some() {
            return Err(rc::PARAMETER);
        }
        let no_bins = request.info1 & bit::NO_BINS != 0;
        let stall = match number::<4>(request, field::SOCKET_TIMEOUT)?.map(u32::from_be_bytes) {
            None => Some(STALL_DEFAULT),
            Some(0) => None,
            Some(ms) => Some(Duration::from_millis(u64::from(ms))),
        };
        let task_id = number(request, field::TASK_ID)?.map_or(0, u64::from_be_bytes);
        let records_per_second = number(request, field::RECORDS_PER_SECOND)?.map_or(0, u32::from_be_bytes);
        let account = ScanAccount {
            task_id,
            namespace: request.field(field::NAMESPACE).unwrap_or_default().to_vec(),
            set: request.set().to_vec(),
            whole: partitions.iter().filter(|(_, after)| after.is_none()).count(),
            resumed: partitions.iter().filter(|(_, after)| after.is_some()).count(),
            records_per_second,
            ..ScanAccount::default()
        };
        Ok(Self {
            account: Arc::new(account),
            compressed: request.info1 & bit::COMPRESS != 0,
            set: request.set(),
            partitions,
            no_bins,
            bins: if no_bins { Vec::new() } else { bins(request)? },
            filter: match request.field(field::FILTER).map(Filter::parse) {
                Some(None) => return Err(rc::PARAMETER),
                filter => filter.flatten(),
            },
            max_records: number(request, field::MAX_RECORDS)?.map_or(0, u64::from_be_bytes),
            records_per_second,
            stall,
            short,
            task_id,
        })
    }

    /// Sends a chunk of records and counts it.
    async fn flush(&self, stream: &mut Wire, frame: &mut Frame) -> std::io::Result<()> {
        if !frame.is_empty() {
            self.account.sent(frame.body_len() + FRAME_HEADER);
        }
        if self.compressed && !frame.is_empty() {
            let packed = compress(&frame.finish(MESSAGE))?;
            frame.raw(&packed);
            return flush_as(stream, frame, COMPRESSED, self.stall).await;
        }
        flush(stream, frame, self.stall).await
    }

    /// Fills the frame from one partition, with at most `max` records: how many they were, where to go on unless the
    /// partition is done, and what the last of them met.
    fn fill(
        &self,
        frame: &mut Frame,
        node: &Node,
        namespace: &Namespace,
        pid: u16,
        after: Option<Digest>,
        max: u64,
    ) -> (u64, Option<Digest>, Option<Harm>) {
        let now_s = node.now_s();
        let mut partition = namespace.partition(pid);
        if after.is_none() {
            // Instead of the sweeps that a server makes in the background.
            partition.sweep(now_s);
        }
        let mut found = 0;
        for (digest, record) in partition.falling(after.as_ref()) {
            if !(self.set.is_empty() || self.set == record.set.name) || record.expired(now_s) {
                continue;
            }
            if !passes(self.filter.as_ref(), node, digest, record) {
                self.account.filtered();
                continue;
            }
            // Also one that has none of the bins asked for, as on the server (wire.md 9).
            self.account.succeeded();
            if self.put(frame, &namespace.name, digest, record) {
                found += 1;
                let struck = node.faults.meet(Moment::Record);
                if found == max || frame.body_len() > CHUNK || struck.is_some() {
                    return (found, Some(*digest), struck);
                }
            }
        }
        (found, None, None)
    }

    /// Writes a record; none when it has no bin of those asked for.
    fn put(&self, frame: &mut Frame, namespace: &str, digest: &Digest, record: &Record) -> bool {
        let bins: Vec<_> = if self.no_bins {
            Vec::new()
        } else if self.bins.is_empty() {
            record.bins.iter().collect()
        } else {
            let found: Vec<_> = self.bins.iter().filter_map(|name| record.bin(name)).collect();
            if found.is_empty() {
                return false;
            }
            found
        };
        let head = Head {
            info1: if self.no_bins { bit::NO_BINS } else { 0 },
            generation: u32::from(record.generation),
            void_time: record.void_time,
            ..Head::default()
        };
        let has_set = !record.set.name.is_empty();
        let fields = 2 + u16::from(has_set) + u16::from(record.key.is_some());
        frame.head(head, fields, bins.len() as u16);
        frame.field(field::NAMESPACE, namespace.as_bytes());
        frame.field(field::DIGEST, digest);
        if has_set {
            frame.field(field::SET, &record.set.name);
        }
        if let Some(key) = &record.key {
            frame.field(field::KEY, key);
        }
        for bin in bins {
            frame.op(op::READ, bin.kind, &bin.name, &bin.value);
        }
        true
    }
}

/// A field that, if present, has exactly this size.
fn number<const N: usize>(request: &Request<'_>, kind: u8) -> Result<Option<[u8; N]>, u8> {
    match request.field(kind).map(<[u8; N]>::try_from) {
        None => Ok(None),
        Some(Ok(bytes)) => Ok(Some(bytes)),
        Some(Err(_)) => Err(rc::PARAMETER),
    }
}

/// Whole partitions, and those to be continued below a digest; each at most once.
fn partitions(request: &Request<'_>) -> Result<Vec<(u16, Option<Digest>)>, u8> {
    let whole = request.field(field::PARTITIONS);
    let resumed = request.field(field::DIGESTS);
    if whole.is_none() && resumed.is_none() {
        return Err(rc::UNSUPPORTED);
    }
    // An odd byte at the end is passed over, as on the server.
    let (pids, _) = whole.unwrap_or_default().as_chunks::<2>();
    let (digests, _) = resumed.unwrap_or_default().as_chunks::<20>();
    let empty = (whole.is_some() && pids.is_empty()) || (resumed.is_some() && digests.is_empty());
    if empty || pids.len().max(digests.len()) > usize::from(PARTITIONS) {
        return Err(rc::PARAMETER);
    }
    let mut asked: Vec<_> = pids.iter().map(|pid| (u16::from_le_bytes(*pid), None)).collect();
    asked.extend(digests.iter().map(|digest| (partition_of(digest), Some(*digest))));
    asked.sort_unstable_by_key(|(pid, _)| *pid);
    let twice = asked.array_windows().any(|[(one, _), (two, _)]| one == two);
    let outside = asked.last().is_some_and(|(pid, _)| *pid >= PARTITIONS);
    if twice || outside { Err(rc::PARAMETER) } else { Ok(asked) }
}

fn bins<'a>(request: &Request<'a>) -> Result<Vec<&'a [u8]>, u8> {
    for wanted in &request.ops {
        if wanted.name.len() > BIN_NAME_MAX || wanted.code == op::WRITE || wanted.code > op::KNOWN_MAX {
            return Err(rc::PARAMETER);
        }
        if wanted.code != op::READ {
            return Err(rc::UNSUPPORTED);
        }
    }
    Ok(request.ops.iter().map(|wanted| wanted.name).collect())
}
