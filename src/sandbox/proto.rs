//! Frames and messages (wire.md 5, asb.md 2.1): every length is checked against the bytes that are there.

#![allow(clippy::indexing_slicing)] // `Reader::take` has checked what is indexed

/// The version in every frame.
pub(super) const VERSION: u8 = 2;
/// Frame types.
pub(super) const INFO: u8 = 1;
pub(super) const SECURITY: u8 = 2;
pub(super) const MESSAGE: u8 = 3;
pub(super) const COMPRESSED: u8 = 4;
/// Bytes before a body.
pub(super) const FRAME_HEADER: usize = 8;
/// Largest body that a server takes.
pub(super) const BODY_MAX: u64 = 128 * 1024 * 1024;
/// Bytes of a message header; also their number in its first byte.
pub(super) const MESSAGE_HEADER: usize = 22;
/// Longest bin name.
pub(super) const BIN_NAME_MAX: usize = 15;
/// Longest set name.
pub(super) const SET_NAME_MAX: usize = 63;

/// Result codes.
pub(super) mod rc {
    pub const OK: u8 = 0;
    pub const UNKNOWN: u8 = 1;
    pub const NOT_FOUND: u8 = 2;
    pub const GENERATION: u8 = 3;
    pub const PARAMETER: u8 = 4;
    pub const EXISTS: u8 = 5;
    pub const UNAVAILABLE: u8 = 11;
    pub const INCOMPATIBLE_TYPE: u8 = 12;
    pub const TOO_BIG: u8 = 13;
    pub const UNSUPPORTED: u8 = 16;
    pub const KEY_MISMATCH: u8 = 19;
    pub const NAMESPACE: u8 = 20;
    pub const BIN_NAME: u8 = 21;
    pub const ENTERPRISE_ONLY: u8 = 25;
    pub const FILTERED_OUT: u8 = 27;
    pub const NO_SECURITY: u8 = 51;
    pub const INVALID_COMMAND: u8 = 54;
    pub const INVALID_USER: u8 = 60;
    pub const INVALID_CREDENTIAL: u8 = 65;
    pub const EXPIRED_SESSION: u8 = 66;
    pub const NOT_AUTHENTICATED: u8 = 80;
    pub const GEO: u8 = 160;
}

/// Bits of the four info bytes.
pub(super) mod bit {
    pub const READ: u8 = 1;
    pub const GET_ALL: u8 = 2;
    pub const SHORT_QUERY: u8 = 4;
    pub const BATCH: u8 = 8;
    pub const NO_BINS: u8 = 0x20;
    pub const COMPRESS: u8 = 0x80;
    // info2
    pub const WRITE: u8 = 1;
    pub const DELETE: u8 = 2;
    pub const GENERATION: u8 = 4;
    pub const GENERATION_GT: u8 = 8;
    pub const DURABLE_DELETE: u8 = 0x10;
    pub const CREATE_ONLY: u8 = 0x20;
    pub const RESPOND_ALL: u8 = 0x80;
    // info3
    pub const LAST: u8 = 1;
    pub const PARTITION_DONE: u8 = 4;
    pub const UPDATE_ONLY: u8 = 8;
    pub const CREATE_OR_REPLACE: u8 = 0x10;
    pub const REPLACE_ONLY: u8 = 0x20;
}

/// Field types.
pub(super) mod field {
    pub const NAMESPACE: u8 = 0;
    pub const SET: u8 = 1;
    pub const KEY: u8 = 2;
    pub const DIGEST: u8 = 4;
    pub const TRANSACTION: u8 = 5;
    pub const TASK_ID: u8 = 7;
    pub const SOCKET_TIMEOUT: u8 = 9;
    pub const RECORDS_PER_SECOND: u8 = 10;
    pub const PARTITIONS: u8 = 11;
    pub const DIGESTS: u8 = 12;
    pub const MAX_RECORDS: u8 = 13;
    pub const INDEX_NAME: u8 = 21;
    pub const INDEX_RANGE: u8 = 22;
    pub const UDF_FILE: u8 = 30;
    pub const UDF_OP: u8 = 33;
    pub const BIN_LIST: u8 = 40;
    pub const BATCH: u8 = 41;
    pub const FILTER: u8 = 43;
}

/// Bin operations.
pub(super) mod op {
    pub const READ: u8 = 1;
    pub const WRITE: u8 = 2;
    pub const INCREMENT: u8 = 5;
    pub const APPEND: u8 = 9;
    pub const PREPEND: u8 = 10;
    pub const TOUCH: u8 = 11;
    pub const DELETE_ALL: u8 = 14;
    /// The highest number that a server knows.
    pub const KNOWN_MAX: u8 = 16;
}

/// Particle types (asb.md 2.1).
pub(super) mod kind {
    pub const NULL: u8 = 0;
    pub const INTEGER: u8 = 1;
    pub const FLOAT: u8 = 2;
    pub const STRING: u8 = 3;
    pub const BLOB: u8 = 4;
    pub const JAVA: u8 = 7;
    pub const ERLANG: u8 = 12;
    pub const VECTOR: u8 = 16;
    pub const BOOL: u8 = 17;
    pub const HLL: u8 = 18;
    pub const MAP: u8 = 19;
    pub const LIST: u8 = 20;
    pub const GEOJSON: u8 = 23;
}

/// The version, type and body size of a frame.
pub(super) fn frame_header(bytes: [u8; FRAME_HEADER]) -> (u8, u8, u64) {
    let word = u64::from_be_bytes(bytes);
    ((word >> 56) as u8, (word >> 48) as u8, word & 0xffff_ffff_ffff)
}

/// Reads from the front of bytes; `None` when there are too few.
#[derive(Debug, Clone, Copy)]
pub(super) struct Reader<'a>(pub &'a [u8]);

impl<'a> Reader<'a> {
    pub fn take(&mut self, len: usize) -> Option<&'a [u8]> {
        let (head, tail) = self.0.split_at_checked(len)?;
        self.0 = tail;
        Some(head)
    }

    pub fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        self.take(N)?.try_into().ok()
    }

    pub fn u8(&mut self) -> Option<u8> {
        Some(self.take(1)?[0])
    }

    pub fn u16(&mut self) -> Option<u16> {
        self.array().map(u16::from_be_bytes)
    }

    pub fn u32(&mut self) -> Option<u32> {
        self.array().map(u32::from_be_bytes)
    }

    pub fn u64(&mut self) -> Option<u64> {
        self.array().map(u64::from_be_bytes)
    }

    /// The fields that follow. At most `u16::MAX`, each of five bytes at least.
    pub fn fields(&mut self, count: u16) -> Option<Vec<(u8, &'a [u8])>> {
        let mut fields = Vec::with_capacity(usize::from(count).min(self.0.len() / 5));
        for _ in 0..count {
            let size = self.u32()?;
            let kind = self.u8()?;
            fields.push((kind, self.take(size.checked_sub(1)? as usize)?));
        }
        Some(fields)
    }

    /// The bin operations that follow.
    pub fn ops(&mut self, count: u16) -> Option<Vec<Op<'a>>> {
        let mut ops = Vec::with_capacity(usize::from(count).min(self.0.len() / 8));
        for _ in 0..count {
            let size = self.u32()? as usize;
            let [code, kind, flags, name_len] = self.array()?;
            let name = self.take(usize::from(name_len))?;
            let value = self.take(size.checked_sub(4 + name.len())?)?;
            // Bit 0 announces a stamp of XDR before the value, which only servers send each other.
            if flags != 0 {
                return None;
            }
            ops.push(Op { code, kind, name, value });
        }
        Some(ops)
    }
}

/// A bin operation of a request.
#[derive(Debug, Clone, Copy)]
pub(super) struct Op<'a> {
    pub code: u8,
    pub kind: u8,
    pub name: &'a [u8],
    pub value: &'a [u8],
}

/// A request: one message, or one row of a batch.
#[derive(Debug, Clone, Default)]
pub(super) struct Request<'a> {
    pub info1: u8,
    pub info2: u8,
    pub info3: u8,
    pub generation: u32,
    pub ttl: u32,
    fields: Vec<(u8, &'a [u8])>,
    pub ops: Vec<Op<'a>>,
}

impl<'a> Request<'a> {
    /// Parses the body of a message; nothing may be left over, except in a batch (as on the server).
    pub fn parse(body: &'a [u8]) -> Option<Self> {
        let mut reader = Reader(body);
        // The size byte of the header is not looked at by the server either.
        let [_, info1, info2, info3, _info4, _result] = reader.array()?;
        let generation = reader.u32()?;
        let ttl = reader.u32()?;
        let _timeout_ms = reader.u32()?;
        let (field_count, op_count) = (reader.u16()?, reader.u16()?);
        let fields = reader.fields(field_count)?;
        let ops = reader.ops(op_count)?;
        let whole = reader.0.is_empty() || info1 & bit::BATCH != 0;
        whole.then_some(Self { info1, info2, info3, generation, ttl, fields, ops })
    }

    /// A row of a batch.
    pub fn row(
        [info1, info2, info3]: [u8; 3],
        generation: u16,
        ttl: u32,
        fields: Vec<(u8, &'a [u8])>,
        ops: Vec<Op<'a>>,
    ) -> Self {
        Self { info1, info2, info3, generation: u32::from(generation), ttl, fields, ops }
    }

    /// The first field of a type.
    pub fn field(&self, kind: u8) -> Option<&'a [u8]> {
        self.fields.iter().find(|(found, _)| *found == kind).map(|(_, data)| *data)
    }

    /// The set; an empty name means none was given.
    pub fn set(&self) -> &'a [u8] {
        self.field(field::SET).unwrap_or_default()
    }
}

/// The header of an answer.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Head {
    pub info1: u8,
    pub info3: u8,
    pub result: u8,
    /// Or the partition of a PARTITION_DONE row.
    pub generation: u32,
    pub void_time: u32,
    /// The index of a batch row; else 0.
    pub index: u32,
}

impl Head {
    /// Only a result.
    pub fn result(result: u8) -> Self {
        Self { result, ..Self::default() }
    }

    /// What became of a partition in a scan.
    pub fn partition_done(pid: u16, result: u8) -> Self {
        Self { info3: bit::PARTITION_DONE, result, generation: u32::from(pid), ..Self::default() }
    }

    /// The end of a scan or a batch.
    pub fn last(result: u8) -> Self {
        Self { info3: bit::LAST, result, ..Self::default() }
    }
}

/// A frame that is being written.
#[derive(Debug)]
pub(super) struct Frame(Vec<u8>);

impl Frame {
    pub fn new() -> Self {
        Self(vec![0; FRAME_HEADER])
    }

    /// A message frame with nothing but a header.
    pub fn of(head: Head) -> Self {
        let mut frame = Self::new();
        frame.head(head, 0, 0);
        frame
    }

    /// Bytes of the body so far.
    pub fn body_len(&self) -> usize {
        self.0.len() - FRAME_HEADER
    }

    pub fn is_empty(&self) -> bool {
        self.body_len() == 0
    }

    pub fn clear(&mut self) {
        self.0.truncate(FRAME_HEADER);
    }

    pub fn raw(&mut self, bytes: &[u8]) {
        self.0.extend_from_slice(bytes);
    }

    pub fn head(&mut self, head: Head, fields: u16, ops: u16) {
        self.raw(&[MESSAGE_HEADER as u8, head.info1, 0, head.info3, 0, head.result]);
        for word in [head.generation, head.void_time, head.index] {
            self.raw(&word.to_be_bytes());
        }
        self.raw(&fields.to_be_bytes());
        self.raw(&ops.to_be_bytes());
    }

    pub fn field(&mut self, kind: u8, data: &[u8]) {
        self.raw(&(data.len() as u32 + 1).to_be_bytes());
        self.raw(&[kind]);
        self.raw(data);
    }

    pub fn op(&mut self, op: u8, kind: u8, name: &[u8], value: &[u8]) {
        self.raw(&((4 + name.len() + value.len()) as u32).to_be_bytes());
        self.raw(&[op, kind, 0, name.len() as u8]);
        self.raw(name);
        self.raw(value);
    }

    /// The bytes to send; the frame is empty again.
    pub fn finish(&mut self, kind: u8) -> Vec<u8> {
        let mut bytes = std::mem::replace(&mut self.0, vec![0; FRAME_HEADER]);
        let word = (u64::from(VERSION) << 56) | (u64::from(kind) << 48) | (bytes.len() - FRAME_HEADER) as u64;
        bytes[..FRAME_HEADER].copy_from_slice(&word.to_be_bytes());
        bytes
    }
}
