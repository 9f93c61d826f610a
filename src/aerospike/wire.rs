//! The client protocol: frames, messages, and views into them that copy nothing.
//!
//! All numbers are big-endian except where said otherwise (wire.md 5). Every length is checked before it is used;
//! reading goes through [`Cursor`], which cannot leave its bytes.

use crate::asb::{Bin, Particle, RecordHead};

use super::result_code::ResultCode;

/// Version byte of every frame.
const PROTOCOL_VERSION: u8 = 2;
/// Largest body of a frame: the server's own limit (`PROTO_SIZE_MAX`).
pub const FRAME_BYTES_MAX: usize = 128 << 20;
/// Bytes before the body of a frame: version, type, 48-bit length.
pub const FRAME_HEADER_BYTES: usize = 8;
/// Bytes of a message header.
pub const MESSAGE_HEADER_BYTES: usize = 22;

/// What a frame carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum FrameKind {
    /// Text of an info request or answer.
    Info = 1,
    /// Logging in.
    Security = 2,
    /// Messages.
    Message = 3,
    /// A frame of messages, compressed.
    Compressed = 4,
}

/// Bits of the info bytes of a message header.
pub mod info_bits {
    /// info1: reads.
    pub const READ: u8 = 1;
    /// info1: the batch protocol.
    pub const BATCH: u8 = 1 << 3;
    /// info1: metadata only.
    pub const NO_BINS: u8 = 1 << 5;
    /// info1: the answer may be compressed; nodes of the Community Edition pass over it (measured).
    pub const COMPRESS: u8 = 1 << 7;
    /// info2: writes.
    pub const WRITE: u8 = 1;
    /// info2: only if the given generation is greater than the stored one.
    pub const GENERATION_GREATER: u8 = 1 << 3;
    /// info2: only if the record does not exist.
    pub const CREATE_ONLY: u8 = 1 << 5;
    /// info3: last message of an answer.
    pub const LAST: u8 = 1;
    /// info3: in a request: "I know this bit"; in an answer: the end of one partition.
    pub const PARTITION_DONE: u8 = 1 << 2;
    /// info3: create the record or replace it as a whole.
    pub const CREATE_OR_REPLACE: u8 = 1 << 4;
}

/// Types of message fields.
pub mod field {
    /// Namespace.
    pub const NAMESPACE: u8 = 0;
    /// Set.
    pub const SET: u8 = 1;
    /// Stored user key: particle type, then value.
    pub const KEY: u8 = 2;
    /// Digest, 20 bytes.
    pub const DIGEST: u8 = 4;
    /// Id of a query, u64.
    pub const QUERY_ID: u8 = 7;
    /// How long the server waits for us to take what it sends: u32 ms, 0 for ever.
    pub const SOCKET_TIMEOUT: u8 = 9;
    /// Records per second that a node may send, u32.
    pub const RECORDS_PER_SECOND: u8 = 10;
    /// Whole partitions: u16 each, little-endian.
    pub const PARTITIONS: u8 = 11;
    /// Partitions to go on with: the 20-byte digest after which to start, each.
    pub const DIGESTS: u8 = 12;
    /// Rows of a batch.
    pub const BATCH: u8 = 41;
    /// Packed filter expression.
    pub const FILTER: u8 = 43;
}

/// Operation "read a bin".
const OP_READ: u8 = 1;
/// Operation "write a bin".
const OP_WRITE: u8 = 2;
/// Bytes of an operation that its size counts and that are neither name nor value: op, particle, flags, name length.
const OP_FIXED_BYTES: usize = 4;

/// Bytes that are not what the protocol says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("malformed {what}")]
pub struct Malformed {
    /// What could not be read.
    pub what: &'static str,
}

const fn malformed(what: &'static str) -> Malformed {
    Malformed { what }
}

/// Reads from the front of bytes, never past their end.
#[derive(Debug, Clone, Copy)]
pub struct Cursor<'a>(&'a [u8]);

impl<'a> Cursor<'a> {
    /// Starts at the first of `bytes`.
    pub const fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    /// What is left.
    pub const fn rest(&self) -> &'a [u8] {
        self.0
    }

    /// The next `length` bytes; `what` names them in the error.
    pub fn take(&mut self, length: usize, what: &'static str) -> Result<&'a [u8], Malformed> {
        let (taken, rest) = self.0.split_at_checked(length).ok_or(malformed(what))?;
        self.0 = rest;
        Ok(taken)
    }

    /// The next `N` bytes.
    pub fn array<const N: usize>(&mut self, what: &'static str) -> Result<&'a [u8; N], Malformed> {
        let (taken, rest) = self.0.split_first_chunk::<N>().ok_or(malformed(what))?;
        self.0 = rest;
        Ok(taken)
    }

    fn u8(&mut self, what: &'static str) -> Result<u8, Malformed> {
        self.array::<1>(what).map(|[byte]| *byte)
    }

    fn u16(&mut self, what: &'static str) -> Result<u16, Malformed> {
        self.array(what).map(|bytes| u16::from_be_bytes(*bytes))
    }

    fn u32(&mut self, what: &'static str) -> Result<u32, Malformed> {
        self.array(what).map(|bytes| u32::from_be_bytes(*bytes))
    }
}

/// The length of the body that `header` announces, which must be of `kind` and at most `bytes_max` long.
pub fn frame_length(
    header: [u8; FRAME_HEADER_BYTES],
    kind: FrameKind,
    bytes_max: usize,
) -> Result<usize, Malformed> {
    let [version, frame_kind, length @ ..] = header;
    if version != PROTOCOL_VERSION {
        return Err(malformed("frame: not protocol version 2"));
    }
    if frame_kind != kind as u8 {
        return Err(malformed("frame: another type than was asked for"));
    }
    let length = length.iter().fold(0, |length: u64, byte| length << 8 | u64::from(*byte));
    usize::try_from(length)
        .ok()
        .filter(|length| *length <= bytes_max)
        .ok_or(malformed("frame: longer than allowed"))
}

/// Starts a frame in `out`, which must be empty; [`finish_frame`] fills in its length.
pub fn start_frame(out: &mut Vec<u8>, kind: FrameKind) {
    out.extend_from_slice(&[PROTOCOL_VERSION, kind as u8, 0, 0, 0, 0, 0, 0]);
}

/// Fills in the length of the frame that `out` consists of.
pub fn finish_frame(out: &mut [u8]) {
    let length = (out.len().saturating_sub(FRAME_HEADER_BYTES) as u64).to_be_bytes();
    if let (Some(slot), Some(length)) = (out.get_mut(2..FRAME_HEADER_BYTES), length.get(2..)) {
        slot.copy_from_slice(length);
    }
}

/// The header of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct MessageHeader {
    /// See [`info_bits`].
    pub info1: u8,
    /// See [`info_bits`].
    pub info2: u8,
    /// See [`info_bits`].
    pub info3: u8,
    /// Result code of an answer.
    pub result: u8,
    /// Generation; the partition id at the end of a partition.
    pub generation: u32,
    /// Void time in an answer, remaining life in a write.
    pub ttl: u32,
    /// Deadline in ms of a request; the row index in the answer to a batch.
    pub transaction_ttl: u32,
    /// Number of fields.
    pub fields: u16,
    /// Number of operations.
    pub ops: u16,
}

impl MessageHeader {
    fn read(cursor: &mut Cursor<'_>) -> Result<Self, Malformed> {
        const WHAT: &str = "message header";
        let [length, info1, info2, info3, _info4, result] = *cursor.array(WHAT)?;
        if usize::from(length) != MESSAGE_HEADER_BYTES {
            return Err(malformed("message header: not 22 bytes"));
        }
        Ok(Self {
            info1,
            info2,
            info3,
            result,
            generation: cursor.u32(WHAT)?,
            ttl: cursor.u32(WHAT)?,
            transaction_ttl: cursor.u32(WHAT)?,
            fields: cursor.u16(WHAT)?,
            ops: cursor.u16(WHAT)?,
        })
    }

    /// Appends the header.
    pub fn write(&self, out: &mut Vec<u8>) {
        let length = MESSAGE_HEADER_BYTES as u8;
        out.extend_from_slice(&[length, self.info1, self.info2, self.info3, 0, self.result]);
        out.extend_from_slice(&self.generation.to_be_bytes());
        out.extend_from_slice(&self.ttl.to_be_bytes());
        out.extend_from_slice(&self.transaction_ttl.to_be_bytes());
        out.extend_from_slice(&self.fields.to_be_bytes());
        out.extend_from_slice(&self.ops.to_be_bytes());
    }
}

/// Appends a field. Fields are bounded by their callers far below 4 GiB.
#[inline]
pub fn write_field(out: &mut Vec<u8>, kind: u8, parts: &[&[u8]]) {
    let length: usize = parts.iter().map(|part| part.len()).sum();
    out.extend_from_slice(&(length as u32 + 1).to_be_bytes());
    out.push(kind);
    for part in parts {
        out.extend_from_slice(part);
    }
}

/// Appends "read the bin `name`"; a name longer than 255 bytes is malformed.
pub fn write_read_op(out: &mut Vec<u8>, name: &[u8]) -> Result<(), Malformed> {
    const NO_PARTICLE: u8 = 0;
    write_op(out, OP_READ, name, Particle { kind: NO_PARTICLE, bytes: b"" })
}

/// Appends "write `bin`"; a name longer than 255 bytes or a value of 4 GiB is malformed.
#[inline]
pub fn write_write_op(out: &mut Vec<u8>, bin: &Bin<'_>) -> Result<(), Malformed> {
    write_op(out, OP_WRITE, bin.name, bin.particle)
}

#[inline]
fn write_op(out: &mut Vec<u8>, op: u8, name: &[u8], value: Particle<'_>) -> Result<(), Malformed> {
    let name_length = u8::try_from(name.len()).map_err(|_| malformed("bin name: longer than 255 bytes"))?;
    let length = u32::try_from(OP_FIXED_BYTES + name.len() + value.bytes.len())
        .map_err(|_| malformed("bin value: longer than 4 GiB"))?;
    let [a, b, c, d] = length.to_be_bytes();
    out.extend_from_slice(&[a, b, c, d, op, value.kind, 0, name_length]);
    out.extend_from_slice(name);
    out.extend_from_slice(value.bytes);
    Ok(())
}

/// One message of the answer to a scan.
#[derive(Debug, Clone, Copy)]
pub enum Entry<'a> {
    /// A record.
    Record(RecordView<'a>),
    /// The node says something about one partition: mostly that it does not serve it.
    PartitionDone {
        /// The partition.
        pid: u16,
        /// 0: read to its end; else not served here now.
        result: ResultCode,
    },
    /// The answer ends; also the way in which a request is refused as a whole (then without the bit for "last":
    /// wire.md 5).
    Last {
        /// How.
        result: ResultCode,
    },
}

/// The messages of a frame, in order; the first malformed one ends them.
#[derive(Debug, Clone)]
pub struct Entries<'a>(Cursor<'a>);

impl<'a> Entries<'a> {
    /// The messages in the body of a frame.
    pub fn new(frame: &'a [u8]) -> Self {
        Self(Cursor::new(frame))
    }

    fn read(&mut self) -> Result<Entry<'a>, Malformed> {
        let header = MessageHeader::read(&mut self.0)?;
        let result = ResultCode(header.result);
        if header.info3 & info_bits::PARTITION_DONE != 0 {
            let pid = u16::try_from(header.generation).ok().filter(|pid| *pid < 4096);
            skip_body(&mut self.0, &header)?;
            return Ok(Entry::PartitionDone { pid: pid.ok_or(malformed("partition id"))?, result });
        }
        if header.info3 & info_bits::LAST != 0 || !result.is_ok() {
            skip_body(&mut self.0, &header)?;
            return Ok(Entry::Last { result });
        }
        RecordView::read(&mut self.0, &header).map(Entry::Record)
    }
}

impl<'a> Iterator for Entries<'a> {
    type Item = Result<Entry<'a>, Malformed>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.0.rest().is_empty() {
            return None;
        }
        let entry = self.read();
        if entry.is_err() {
            self.0 = Cursor::new(&[]);
        }
        Some(entry)
    }
}

/// One message of the answer to a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BatchEntry {
    /// How one row ended.
    Row {
        /// Its index in the request.
        index: u32,
        /// How.
        result: ResultCode,
    },
    /// The answer ends.
    Last {
        /// How the batch as a whole ended.
        result: ResultCode,
    },
}

/// Reads the next message of the answer to a batch.
pub fn read_batch_entry(cursor: &mut Cursor<'_>) -> Result<BatchEntry, Malformed> {
    let header = MessageHeader::read(cursor)?;
    skip_body(cursor, &header)?;
    let result = ResultCode(header.result);
    Ok(if header.info3 & info_bits::LAST != 0 {
        BatchEntry::Last { result }
    } else {
        BatchEntry::Row { index: header.transaction_ttl, result }
    })
}

/// Reads the answer to a write of one record: how it ended.
pub fn read_single_answer(frame: &[u8]) -> Result<ResultCode, Malformed> {
    let mut cursor = Cursor::new(frame);
    let header = MessageHeader::read(&mut cursor)?;
    skip_body(&mut cursor, &header)?;
    Ok(ResultCode(header.result))
}

fn skip_body(cursor: &mut Cursor<'_>, header: &MessageHeader) -> Result<(), Malformed> {
    for _ in 0..u32::from(header.fields) + u32::from(header.ops) {
        let length = cursor.u32("length")? as usize;
        cursor.take(length, "field or operation")?;
    }
    Ok(())
}

/// A record inside a frame, checked to its end; it copies nothing.
#[derive(Debug, Clone, Copy)]
pub struct RecordView<'a> {
    head: RecordHead<'a>,
    ops: Cursor<'a>,
}

impl<'a> RecordView<'a> {
    /// Namespace, set, digest, key and metadata.
    pub fn head(&self) -> RecordHead<'a> {
        self.head
    }

    /// The bins in the server's order.
    pub fn bins(&self) -> impl Iterator<Item = Bin<'a>> + Clone + use<'a> {
        Bins { ops: self.ops, left: self.head.bin_count }
    }

    fn read(cursor: &mut Cursor<'a>, header: &MessageHeader) -> Result<Self, Malformed> {
        let mut head = RecordFields::default();
        for _ in 0..header.fields {
            head.read(cursor)?;
        }
        let before_ops = *cursor;
        for _ in 0..header.ops {
            read_bin(cursor)?;
        }
        let ops_bytes = before_ops.rest().len() - cursor.rest().len();
        let ops = Cursor::new(before_ops.rest().get(..ops_bytes).unwrap_or_default());
        let head = RecordHead {
            namespace: head.namespace.ok_or(malformed("record: no namespace"))?,
            set: head.set,
            digest: head.digest.ok_or(malformed("record: no digest"))?,
            key: head.key,
            generation: u16::try_from(header.generation)
                .map_err(|_| malformed("record: generation over 65535"))?,
            void_time: header.ttl,
            bin_count: header.ops,
        };
        Ok(Self { head, ops })
    }
}

#[derive(Default)]
struct RecordFields<'a> {
    namespace: Option<&'a [u8]>,
    set: &'a [u8],
    digest: Option<&'a [u8; 20]>,
    key: Option<Particle<'a>>,
}

impl<'a> RecordFields<'a> {
    fn read(&mut self, cursor: &mut Cursor<'a>) -> Result<(), Malformed> {
        let length = cursor.u32("field length")? as usize;
        let mut data = Cursor::new(cursor.take(length, "field")?);
        match data.u8("field type")? {
            field::NAMESPACE => self.namespace = Some(data.rest()),
            field::SET => self.set = data.rest(),
            field::DIGEST => {
                self.digest = Some(data.rest().try_into().map_err(|_| malformed("digest: not 20 bytes"))?);
            }
            field::KEY => {
                let kind = data.u8("user key")?;
                self.key = Some(Particle { kind, bytes: data.rest() });
            }
            _ => {} // fields that newer servers may add
        }
        Ok(())
    }
}

fn read_bin<'a>(cursor: &mut Cursor<'a>) -> Result<Bin<'a>, Malformed> {
    let length = cursor.u32("bin length")? as usize;
    let mut op = Cursor::new(cursor.take(length, "bin")?);
    let [_op, kind, flags, name_length] = *op.array("bin header")?;
    if flags != 0 {
        // bit 0 says that an update time stands before the value; only cross-datacenter writes have it
        return Err(malformed("bin: unknown flags"));
    }
    let name = op.take(usize::from(name_length), "bin name")?;
    Ok(Bin { name, particle: Particle { kind, bytes: op.rest() } })
}

#[derive(Debug, Clone)]
struct Bins<'a> {
    ops: Cursor<'a>,
    left: u16,
}

impl<'a> Iterator for Bins<'a> {
    type Item = Bin<'a>;

    fn next(&mut self) -> Option<Bin<'a>> {
        self.left = self.left.checked_sub(1)?;
        read_bin(&mut self.ops).ok() // `RecordView::read` has read each of them once
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (usize::from(self.left), Some(usize::from(self.left)))
    }
}

#[cfg(test)]
mod tests;
