//! Rows to write, encoded once and sent as often as needed (wire.md 5, asb.md 7.5).

use crate::asb::{Bin, RecordHead};
use crate::error::{Error, Result};
use crate::model::hex;
use crate::model::partitions::partition_of;

use super::wire::{self, Cursor, FrameKind, Malformed, MessageHeader, field, info_bits};

/// Most rows in one request where nothing else is asked for (asb.md 6.1: the batch size of the official tools).
const ROWS_MAX: usize = 128;
/// A request is closed once it has this many bytes; a single row may be longer.
pub(super) const REQUEST_BYTES: usize = 1 << 20;
/// Row flags: info bytes, generation and ttl follow.
const ROW_FLAGS: u8 = 0x02 | 0x04 | 0x08;
/// Batch flags: run the rows in the thread that reads them where data is in memory; answer every row, whatever
/// became of the others.
const BATCH_FLAGS: u8 = 0x01 | 0x04;

/// What a write does to a record that exists.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exists {
    /// Nothing: the row ends as existed.
    CreateOnly,
    /// Sets the bins given and keeps the others.
    Update,
    /// Leaves only the bins given.
    Replace,
}

/// How rows are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WritePolicy {
    /// What becomes of a record that exists.
    pub exists: Exists,
    /// Only if the row's generation is greater than the stored one (absent: 0); else the row ends as fresher.
    pub generation_greater: bool,
}

/// Rows for one namespace, in one buffer that is kept from batch to batch.
#[derive(Debug)]
pub struct WriteBatch {
    namespace: Vec<u8>,
    policy: WritePolicy,
    bytes: Vec<u8>,
    rows: Vec<Row>,
    rows_max: usize,
}

#[derive(Debug, Clone, Copy)]
struct Row {
    start: usize,
    pid: u16,
}

impl WriteBatch {
    /// No rows yet; they will go to `namespace`, whatever namespace their heads name (asb.md 6.1, mapping).
    pub fn new(namespace: impl Into<Vec<u8>>, policy: WritePolicy) -> Self {
        Self { namespace: namespace.into(), policy, bytes: Vec::new(), rows: Vec::new(), rows_max: ROWS_MAX }
    }

    /// With room for the rows of a batch like `other`.
    #[must_use]
    pub fn like(mut self, other: &Self) -> Self {
        let bytes = other.bytes.len() + other.bytes.len() / 8;
        self.bytes.reserve(bytes.min(REQUEST_BYTES));
        self.rows.reserve(other.rows.len());
        self
    }

    /// With another number of rows that fill a request; 0 counts as 1. Nodes refuse more than their
    /// `batch-max-requests`.
    #[must_use]
    pub fn with_rows_max(self, rows_max: usize) -> Self {
        Self { rows_max: rows_max.max(1), ..self }
    }

    /// Most rows in one request.
    pub(super) fn rows_max(&self) -> usize {
        self.rows_max
    }

    /// The namespace that the rows go to.
    pub fn namespace(&self) -> &[u8] {
        &self.namespace
    }

    /// Number of rows.
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// Bytes that the rows take.
    pub fn byte_len(&self) -> usize {
        self.bytes.len()
    }

    /// Whether it is time to write: a request to one node would be full.
    pub fn is_full(&self) -> bool {
        self.rows.len() >= self.rows_max || self.bytes.len() >= REQUEST_BYTES
    }

    /// Forgets the rows and keeps the buffer.
    pub fn clear(&mut self) {
        self.bytes.clear();
        self.rows.clear();
    }

    /// Adds a row. Set, digest, key and generation are the head's; `bins` are sent as given, also null particles;
    /// `ttl_s` is the remaining life: `u32::MAX` for ever, 0 as the namespace has it. A record needs at least one
    /// bin: the server refuses a write of none.
    ///
    /// Errors: `record-unwritable` (permanent) for a name or value too long for the wire; the batch is as before.
    pub fn push<'a>(
        &mut self,
        head: &RecordHead<'_>,
        bins: impl IntoIterator<Item = Bin<'a>>,
        ttl_s: u32,
    ) -> Result<()> {
        let start = self.bytes.len();
        if let Err(error) = self.encode(head, bins, ttl_s) {
            self.bytes.truncate(start);
            let message = format!("record {} cannot be sent", hex(head.digest));
            return Err(Error::permanent("record-unwritable", message).source(error));
        }
        self.rows.push(Row { start, pid: partition_of(head.digest) });
        Ok(())
    }

    /// The partition of a row.
    pub(super) fn partition(&self, row: usize) -> Option<u16> {
        self.rows.get(row).map(|row| row.pid)
    }

    /// Bytes of a row.
    pub(super) fn row_len(&self, row: usize) -> usize {
        self.row_bytes(row).len()
    }

    /// Everything of a row but its index, which depends on the request that carries it.
    fn encode<'a>(
        &mut self,
        head: &RecordHead<'_>,
        bins: impl IntoIterator<Item = Bin<'a>>,
        ttl_s: u32,
    ) -> Result<(), Malformed> {
        let out = &mut self.bytes;
        let (info2, info3) = self.policy.info_bits();
        let generation = if self.policy.generation_greater { head.generation } else { 0 };
        let fields: u16 = if head.key.is_some() { 3 } else { 2 };
        out.extend_from_slice(head.digest);
        out.extend_from_slice(&[ROW_FLAGS, 0, info2, info3]);
        out.extend_from_slice(&generation.to_be_bytes());
        out.extend_from_slice(&ttl_s.to_be_bytes());
        out.extend_from_slice(&fields.to_be_bytes());
        let ops_at = out.len();
        out.extend_from_slice(&[0, 0]);
        wire::write_field(out, field::NAMESPACE, &[&self.namespace]);
        wire::write_field(out, field::SET, &[head.set]);
        if let Some(key) = head.key {
            wire::write_field(out, field::KEY, &[&[key.kind], key.bytes]);
        }
        let mut ops: u16 = 0;
        for bin in bins {
            wire::write_write_op(out, &bin)?;
            ops = ops.checked_add(1).ok_or(Malformed { what: "record: more than 65535 bins" })?;
        }
        if let Some(slot) = out.get_mut(ops_at..ops_at + 2) {
            slot.copy_from_slice(&ops.to_be_bytes());
        }
        Ok(())
    }

    fn row_bytes(&self, row: usize) -> &[u8] {
        let Some(Row { start, .. }) = self.rows.get(row) else { return &[] };
        let end = self.rows.get(row + 1).map_or(self.bytes.len(), |next| next.start);
        self.bytes.get(*start..end).unwrap_or_default()
    }

    /// The request that writes one row by itself. All of it but the head is as it stands in a batch.
    pub(super) fn single_request(
        &self,
        row: usize,
        timeout_ms: u32,
        frame: &mut Vec<u8>,
    ) -> Result<(), Malformed> {
        const WHAT: &str = "row of a batch";
        frame.clear();
        let mut row = Cursor::new(self.row_bytes(row));
        let digest = row.array::<20>(WHAT)?;
        let [_flags, info1, info2, info3] = *row.array(WHAT)?;
        let generation = u32::from(u16::from_be_bytes(*row.array(WHAT)?));
        let ttl = u32::from_be_bytes(*row.array(WHAT)?);
        let fields = u16::from_be_bytes(*row.array(WHAT)?) + 1;
        let ops = u16::from_be_bytes(*row.array(WHAT)?);
        wire::start_frame(frame, FrameKind::Message);
        let header = MessageHeader {
            info1,
            info2,
            info3,
            result: 0,
            generation,
            ttl,
            transaction_ttl: timeout_ms,
            fields,
            ops,
        };
        header.write(frame);
        wire::write_field(frame, field::DIGEST, &[digest]);
        frame.extend_from_slice(row.rest());
        wire::finish_frame(frame);
        Ok(())
    }

    /// The request that writes `rows`; the index of each in the request is its place in `rows`.
    pub(super) fn request(&self, rows: &[usize], timeout_ms: u32, frame: &mut Vec<u8>) {
        /// Length and type of a field.
        const FIELD_HEADER_BYTES: usize = 5;
        /// Of each row.
        const INDEX_BYTES: usize = size_of::<u32>();
        /// Frame, message and field up to the first row.
        const REQUEST_HEAD_BYTES: usize = 64;
        frame.clear();
        let bytes: usize = rows.iter().map(|row| INDEX_BYTES + self.row_len(*row)).sum();
        frame.reserve(REQUEST_HEAD_BYTES + bytes);
        wire::start_frame(frame, FrameKind::Message);
        let header = MessageHeader {
            info1: info_bits::BATCH,
            transaction_ttl: timeout_ms,
            fields: 1,
            ..MessageHeader::default()
        };
        header.write(frame);
        let field_at = frame.len();
        wire::write_field(frame, field::BATCH, &[&(rows.len() as u32).to_be_bytes(), &[BATCH_FLAGS]]);
        for (index, row) in rows.iter().enumerate() {
            frame.extend_from_slice(&(index as u32).to_be_bytes());
            frame.extend_from_slice(self.row_bytes(*row));
        }
        // the length counts the type but not itself
        let length = (frame.len() - field_at - FIELD_HEADER_BYTES + 1) as u32;
        if let Some(slot) = frame.get_mut(field_at..field_at + 4) {
            slot.copy_from_slice(&length.to_be_bytes());
        }
        wire::finish_frame(frame);
    }
}

impl WritePolicy {
    fn info_bits(self) -> (u8, u8) {
        let generation = if self.generation_greater { info_bits::GENERATION_GREATER } else { 0 };
        match self.exists {
            Exists::CreateOnly => (info_bits::WRITE | generation | info_bits::CREATE_ONLY, 0),
            Exists::Update => (info_bits::WRITE | generation, 0),
            Exists::Replace => (info_bits::WRITE | generation, info_bits::CREATE_OR_REPLACE),
        }
    }
}

/// The messages of a frame of the answer, handed to `each`; the result of the batch if it ends here.
pub(super) fn read_answer(
    frame: &[u8],
    mut each: impl FnMut(u32, super::ResultCode),
) -> Result<Option<super::ResultCode>, Malformed> {
    let mut cursor = Cursor::new(frame);
    while !cursor.rest().is_empty() {
        match wire::read_batch_entry(&mut cursor)? {
            wire::BatchEntry::Row { index, result } => each(index, result),
            wire::BatchEntry::Last { result } => return Ok(Some(result)),
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::{Exists, WriteBatch, WritePolicy};
    use crate::asb::{Bin, Particle, RecordHead};

    fn head(digest: &[u8; 20]) -> RecordHead<'_> {
        RecordHead {
            namespace: b"elsewhere",
            set: b"s",
            digest,
            key: Some(Particle { kind: 3, bytes: b"k" }),
            generation: 0x0102,
            void_time: 0,
            bin_count: 1,
        }
    }

    #[test]
    fn a_request_is_laid_out_as_the_server_reads_it() {
        let policy = WritePolicy { exists: Exists::Replace, generation_greater: true };
        let mut batch = WriteBatch::new("n", policy);
        let bin = Bin { name: b"b", particle: Particle { kind: 17, bytes: &[1] } };
        batch.push(&head(&[7; 20]), [bin], u32::MAX).unwrap();
        let mut frame = Vec::new();
        batch.request(&[0], 1000, &mut frame);
        // asb.md 7.5
        let mut expected = vec![2, 3, 0, 0, 0, 0, 0, 0]; // length below
        expected.extend([22, 8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 3, 0xE8, 0, 1, 0, 0]);
        let field_at = expected.len();
        expected.extend([0, 0, 0, 0, 41, 0, 0, 0, 1, 0x05]); // length below
        expected.extend([0, 0, 0, 0]);
        expected.extend([7; 20]);
        expected.extend([0x0E, 0, 0x01 | 0x08, 0x10, 1, 2, 0xFF, 0xFF, 0xFF, 0xFF, 0, 3, 0, 1]);
        expected.extend([0, 0, 0, 2, 0, b'n', 0, 0, 0, 2, 1, b's', 0, 0, 0, 3, 2, 3, b'k']);
        expected.extend([0, 0, 0, 6, 2, 17, 0, 1, b'b', 1]);
        let field_length = (expected.len() - field_at - 4) as u8;
        expected[field_at + 3] = field_length;
        let length = (expected.len() - 8) as u8;
        expected[7] = length;
        assert_eq!(frame, expected);
    }

    #[test]
    fn a_row_by_itself_is_laid_out_as_the_server_reads_it() {
        let policy = WritePolicy { exists: Exists::Update, generation_greater: true };
        let mut batch = WriteBatch::new("n", policy);
        let bin = Bin { name: b"b", particle: Particle { kind: 17, bytes: &[1] } };
        batch.push(&head(&[7; 20]), [bin], 5).unwrap();
        let mut frame = Vec::new();
        batch.single_request(0, 1000, &mut frame).unwrap();
        // wire.md 5: generation and ttl are 32 bits here; the digest is a field.
        let mut expected = vec![2, 3, 0, 0, 0, 0, 0, 0]; // length below
        expected.extend([22, 0, 0x01 | 0x08, 0, 0, 0, 0, 0, 1, 2, 0, 0, 0, 5, 0, 0, 3, 0xE8, 0, 4, 0, 1]);
        expected.extend([0, 0, 0, 21, 4]);
        expected.extend([7; 20]);
        expected.extend([0, 0, 0, 2, 0, b'n', 0, 0, 0, 2, 1, b's', 0, 0, 0, 3, 2, 3, b'k']);
        expected.extend([0, 0, 0, 6, 2, 17, 0, 1, b'b', 1]);
        expected[7] = (expected.len() - 8) as u8;
        assert_eq!(frame, expected);
        assert!(batch.single_request(1, 1000, &mut frame).is_err(), "there is no such row");
    }

    #[test]
    fn a_row_that_does_not_fit_the_wire_leaves_the_batch_as_it_was() {
        let policy = WritePolicy { exists: Exists::Update, generation_greater: false };
        let mut batch = WriteBatch::new("n", policy);
        let long = [b'x'; 256];
        let bin = Bin { name: &long, particle: Particle { kind: 1, bytes: &[0; 8] } };
        let error = batch.push(&head(&[7; 20]), [bin], 0).unwrap_err();
        assert_eq!(error.code(), "record-unwritable");
        assert!(batch.is_empty());
        assert_eq!(batch.byte_len(), 0);
    }

    #[test]
    fn it_is_full_by_rows_or_by_bytes() {
        let policy = WritePolicy { exists: Exists::CreateOnly, generation_greater: false };
        let mut batch = WriteBatch::new("n", policy);
        for row in 0..128 {
            assert!(!batch.is_full(), "{row}");
            batch.push(&head(&[7; 20]), [], 0).unwrap();
        }
        assert!(batch.is_full());
        assert!(!batch.with_rows_max(129).is_full());
        let mut batch = WriteBatch::new("n", policy);
        let value = vec![0; 1 << 20];
        let bin = Bin { name: b"b", particle: Particle { kind: 4, bytes: &value } };
        batch.push(&head(&[7; 20]), [bin], 0).unwrap();
        assert!(batch.is_full());
    }
}
