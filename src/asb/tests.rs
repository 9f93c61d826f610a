//! The format as a whole: worked examples, refusals, round trips, damage. Helpers for all of them.

mod bench;
mod damage;
mod refused;
mod roundtrip;
pub(super) mod worked;

use std::io::Read;

use super::{
    Bin, DecodeError, Decoder, EncodeError, Encoder, IndexDef, Item, Particle, RecordHead, SetIndexDef,
    UdfDef,
};

/// A reader that hands out at most `chunk` bytes at a time.
pub(crate) struct Chunked<'a> {
    bytes: &'a [u8],
    chunk: usize,
}

impl<'a> Chunked<'a> {
    pub(crate) fn new(bytes: &'a [u8], chunk: usize) -> Self {
        Self { bytes, chunk }
    }
}

impl Read for Chunked<'_> {
    fn read(&mut self, out: &mut [u8]) -> std::io::Result<usize> {
        let count = self.chunk.min(out.len()).min(self.bytes.len());
        let (part, rest) = self.bytes.split_at(count);
        out[..count].copy_from_slice(part);
        self.bytes = rest;
        Ok(count)
    }
}

type Value = (u8, Vec<u8>);

#[derive(Debug, Clone, PartialEq, Eq)]
struct OwnedRecord {
    namespace: Vec<u8>,
    set: Vec<u8>,
    digest: [u8; 20],
    key: Option<Value>,
    generation: u16,
    void_time: u32,
    bins: Vec<(Vec<u8>, Value)>,
}

impl OwnedRecord {
    fn head(&self) -> RecordHead<'_> {
        RecordHead {
            namespace: &self.namespace,
            set: &self.set,
            digest: &self.digest,
            key: self.key.as_ref().map(|(kind, bytes)| Particle { kind: *kind, bytes }),
            generation: self.generation,
            void_time: self.void_time,
            bin_count: self.bins.len() as u16,
        }
    }

    fn bins(&self) -> impl Iterator<Item = Bin<'_>> {
        self.bins.iter().map(|(name, (kind, bytes))| Bin { name, particle: Particle { kind: *kind, bytes } })
    }

    fn encode(&self, compact: bool) -> Result<Vec<u8>, EncodeError> {
        let mut out = Vec::new();
        Encoder::new(compact).record(&mut out, &self.head(), self.bins())?;
        Ok(out)
    }
}

/// A record with nothing special about it.
fn plain_record(bins: Vec<(&[u8], u8, &[u8])>) -> OwnedRecord {
    OwnedRecord {
        namespace: b"test".to_vec(),
        set: Vec::new(),
        digest: [7; 20],
        key: None,
        generation: 1,
        void_time: 0,
        bins: bins.into_iter().map(|(name, kind, bytes)| (name.to_vec(), (kind, bytes.to_vec()))).collect(),
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum OwnedItem {
    Index(IndexDef),
    SetIndex(SetIndexDef),
    Udf(UdfDef),
    Record(OwnedRecord),
}

impl OwnedItem {
    fn record(self) -> OwnedRecord {
        match self {
            Self::Record(record) => record,
            other => panic!("no record: {other:?}"),
        }
    }
}

fn owned(item: Item<'_>) -> OwnedItem {
    match item {
        Item::Index(index) => OwnedItem::Index(index),
        Item::SetIndex(index) => OwnedItem::SetIndex(index),
        Item::Udf(udf) => OwnedItem::Udf(udf),
        Item::Record(record) => {
            let head = record.head();
            let bins: Vec<_> = record
                .bins()
                .map(|bin| (bin.name.to_vec(), (bin.particle.kind, bin.particle.bytes.to_vec())))
                .collect();
            assert_eq!(usize::from(head.bin_count), bins.len());
            OwnedItem::Record(OwnedRecord {
                namespace: head.namespace.to_vec(),
                set: head.set.to_vec(),
                digest: *head.digest,
                key: head.key.map(|key| (key.kind, key.bytes.to_vec())),
                generation: head.generation,
                void_time: head.void_time,
                bins,
            })
        }
    }
}

/// All items of a whole file, read in chunks.
fn decode_in(bytes: &[u8], chunk: usize) -> Result<Vec<OwnedItem>, DecodeError> {
    let mut decoder = Decoder::open(Chunked::new(bytes, chunk))?;
    let mut items = Vec::new();
    while let Some(item) = decoder.next_item()? {
        items.push(owned(item));
    }
    assert_eq!(decoder.offset(), bytes.len() as u64);
    Ok(items)
}

fn decode(bytes: &[u8]) -> Result<Vec<OwnedItem>, DecodeError> {
    decode_in(bytes, usize::MAX)
}

/// A file with this header version and body.
fn file(version: &str, body: &[u8]) -> Vec<u8> {
    [format!("Version {version}\n# namespace test\n").as_bytes(), body].concat()
}

/// The text of a record without set or key and with these bin lines.
fn with_bins(bins: &[&[u8]]) -> Vec<u8> {
    let head = format!("+ n test\n+ d 7JEZLUt/jONdXXjTS8ply6qqyWA=\n+ g 1\n+ t 0\n+ b {}\n", bins.len());
    [head.as_bytes(), &bins.concat()].concat()
}

/// Encodes items as they came.
fn encode_items(items: &[OwnedItem], compact: bool) -> Vec<u8> {
    let (mut out, mut encoder) = (Vec::new(), Encoder::new(compact));
    for item in items {
        match item {
            OwnedItem::Index(index) => Encoder::index(&mut out, index).unwrap(),
            OwnedItem::Udf(udf) => Encoder::udf(&mut out, udf).unwrap(),
            OwnedItem::Record(record) => encoder.record(&mut out, &record.head(), record.bins()).unwrap(),
            OwnedItem::SetIndex(_) => {}
        }
    }
    out
}
