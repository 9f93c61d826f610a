//! The text of backup files.

use std::io::Read;

use holdfast::aerospike::{Exists, WriteBatch, WritePolicy};
use holdfast::asb::{
    DataType, DecodeError, Decoder, Encoder, IndexDef, IndexType, Item, RecordHead, UdfDef, Version,
};
use holdfast::sample::{self, SampleRecord};

use crate::harness::{Counted, Target, about, said};

const NAMESPACE: &str = "test";
/// The lowest limit that a decoder takes.
const SMALL_ITEM_BYTES: usize = 4 << 10;
/// Valid records with larger values would hide all else.
const RECORD_BYTES_MAX: usize = 8 << 10;

/// Records of every type, none of them large.
pub fn records() -> Vec<SampleRecord> {
    let mut records = sample::every_kind("demo");
    records.retain(|record| record.bins.iter().all(|(_, _, value)| value.len() <= RECORD_BYTES_MAX));
    records.extend((0..4).map(|key| sample::mixed("customers", key, 1)));
    records
}

fn head(record: &SampleRecord, at: usize) -> RecordHead<'_> {
    let void_time = [0, 1, 500_000_000, u32::MAX][at % 4];
    RecordHead { generation: at as u16 + 1, void_time, ..record.head(NAMESPACE) }
}

/// A data file with these records.
pub fn file(records: &[SampleRecord], compact: bool) -> Vec<u8> {
    let mut text = Vec::new();
    Encoder::file_header(&mut text, NAMESPACE.as_bytes(), true, Version::V3_1);
    let mut encoder = Encoder::new(compact);
    for (at, record) in records.iter().enumerate() {
        encoder.record(&mut text, &head(record, at), record.bins()).unwrap();
    }
    text
}

/// A file of indexes and functions.
fn metadata_file() -> Vec<u8> {
    let mut text = Vec::new();
    Encoder::file_header(&mut text, NAMESPACE.as_bytes(), false, Version::V3_2);
    for (index_type, data_type, context, expression) in [
        (IndexType::Bin, DataType::Numeric, None, None),
        (IndexType::List, DataType::String, Some("lhABIg=="), None),
        (IndexType::MapKeys, DataType::Geo, None, None),
        (IndexType::MapValues, DataType::Blob, None, None),
        (IndexType::Bin, DataType::Numeric, None, Some("kwGTUQ==")),
    ] {
        let index = IndexDef {
            namespace: NAMESPACE.into(),
            set: b"a set".to_vec(),
            name: b"by\nage".to_vec(),
            index_type,
            bin: b"age".to_vec(),
            data_type,
            context: context.map(str::to_owned),
            expression: expression.map(str::to_owned),
        };
        Encoder::index(&mut text, &index).unwrap();
    }
    let udf = UdfDef { name: b"a b.lua".to_vec(), content: b"function f()\n  return 1\nend\n".to_vec() };
    Encoder::udf(&mut text, &udf).unwrap();
    text
}

/// Valid files, and lines that only other programs write.
pub fn corpus() -> Vec<Vec<u8>> {
    let records = records();
    let mut corpus: Vec<_> = [false, true].map(|compact| file(&records, compact)).into();
    corpus.extend(records.iter().map(|record| file(std::slice::from_ref(record), false)));
    corpus.push(metadata_file());
    corpus.push(file(&[], false));
    corpus.push(
        b"Version 3.0\n# namespace test\n+ k X 4 YQ==\n+ n test\n+ d AAAAAAAAAAAAAAAAAAAAAAAAAAA=\n+ g 1\n+ t 0\n\
          + b 3\n- S a 3 x\\y\n- X b 4 YQ==\n- D c nan\n"
            .to_vec(),
    );
    corpus.push(b"Version 3.3\n# namespace test\n* s test set index\n".to_vec());
    corpus
}

/// Reads a text to its end or its first error, and does with its records what a restore and a copy do: no record that was
/// read may be too much for them. How it ended, and how many items there were.
pub fn read_text(reader: impl Read, text_bytes_max: usize, item_bytes_max: Option<usize>) -> u64 {
    let opened = match item_bytes_max {
        Some(most) => Decoder::open_with_limit(reader, most),
        None => Decoder::open(reader),
    };
    let mut decoder = match opened {
        Ok(decoder) => decoder,
        Err(error) => return said((0, outcome(&error))),
    };
    let policy = WritePolicy { exists: Exists::Update, generation_greater: true };
    let mut batch = WriteBatch::new(NAMESPACE, policy);
    let mut encoder = Encoder::new(true);
    let mut text = Vec::new();
    let (mut items, mut kinds) = (0, 0_u64);
    loop {
        let before = decoder.offset();
        match decoder.next_item() {
            Ok(None) => return said((1, about(items), kinds)),
            Err(error) => {
                let end = outcome(&error);
                assert!(matches!(decoder.next_item(), Err(DecodeError::Stopped { .. })));
                return said((2, end, about(items), kinds));
            }
            Ok(Some(Item::Record(record))) => {
                assert_eq!(record.bins().count(), usize::from(record.head().bin_count));
                kinds |= record.bins().fold(0, |kinds, bin| kinds | 1 << (bin.particle.kind % 32));
                kinds |= u64::from(record.head().key.is_some()) << 32;
                batch.clear();
                let _ = batch.push(&record.head(), record.bins(), u32::MAX);
                text.clear();
                let _ = encoder.record(&mut text, &record.head(), record.bins());
            }
            Ok(Some(Item::Index(_))) => kinds |= 1 << 33,
            Ok(Some(Item::SetIndex(_))) => kinds |= 1 << 34,
            Ok(Some(Item::Udf(_))) => kinds |= 1 << 35,
        }
        items += 1;
        assert!(decoder.offset() > before, "an item without a byte");
        assert!(decoder.offset() <= text_bytes_max as u64, "more text than there is");
    }
}

/// What kind of an error it is, without its place.
fn outcome(error: &DecodeError) -> (std::mem::Discriminant<DecodeError>, &'static str) {
    let expected = match error {
        DecodeError::Truncated { expected, .. } | DecodeError::Unexpected { expected, .. } => expected,
        DecodeError::TooLong { what, .. } => what,
        _ => "",
    };
    (std::mem::discriminant(error), expected)
}

/// With the limits of the program: 256 KiB of buffer, and what an item takes on top. An item here is the input at most; its
/// bins take 40 bytes of layout for six bytes of text, and a vector that grows is there twice.
pub fn text(long: bool) {
    Target {
        name: "asb_text",
        corpus: corpus(),
        cases: 10_000,
        bytes_max: 64 << 10,
        held_fixed: (256 << 10) + (64 << 10),
        held_per_byte: 40,
    }
    .run(long, |input| read_text(Counted::new(input), input.len(), None));
}

/// With the lowest limit, which most inputs exceed: the bound does not grow with the input.
pub fn text_small(long: bool) {
    Target {
        name: "asb_text_small",
        corpus: corpus(),
        cases: 30_000,
        bytes_max: 64 << 10,
        held_fixed: 40 * SMALL_ITEM_BYTES as u64 + (64 << 10),
        held_per_byte: 0,
    }
    .run(long, |input| read_text(Counted::new(input), input.len(), Some(SMALL_ITEM_BYTES)));
}
