//! No allocation per record where every record passes: from a frame of a scan to text, and from text to a batch.

use holdfast::aerospike::wire::{Entries, Entry};
use holdfast::aerospike::{Exists, WriteBatch, WritePolicy};
use holdfast::asb::{Decoder, Encoder, Item};
use holdfast::sample::{self, SampleRecord};

use crate::asb::{file, records};
use crate::nodes::ask;

/// Records of every type, and many of one shape.
fn many() -> Vec<SampleRecord> {
    let mut many = records();
    many.extend((0..3_000).map(|key| sample::mixed("customers", key, 1)));
    many
}

#[test]
fn a_record_of_a_scan_becomes_text_without_an_allocation() {
    let frames = ask(&many(), false, async |talk| talk.scan().await);
    let mut encoder = Encoder::new(false);
    let mut text = Vec::new();
    let mut encode = || {
        let mut records = 0;
        for (_, frame) in &frames {
            text.clear();
            for entry in Entries::new(frame) {
                if let Ok(Entry::Record(record)) = entry {
                    encoder.record(&mut text, &record.head(), record.bins()).unwrap();
                    records += 1;
                }
            }
        }
        records
    };
    let first = encode(); // the buffers grow once
    let mut again = 0;
    let counted = allocation_counter::measure(|| again = encode());
    assert!(again > 1_000 && again == first, "{again}");
    assert_eq!(counted.count_total, 0, "allocations for {again} records");
}

#[test]
fn text_becomes_rows_of_a_batch_without_an_allocation() {
    let many = many();
    let half = file(&many, false);
    // the records twice: in the first half the buffers grow
    let text = [half.clone(), file(&many, false).split_off(file(&[], false).len())].concat();
    let policy = WritePolicy { exists: Exists::Update, generation_greater: true };
    let mut batch = WriteBatch::new("test", policy);
    let mut decoder = Decoder::open(&text[..]).unwrap();
    let mut push = |most: usize| {
        let mut records = 0;
        while records < most {
            let Some(Item::Record(record)) = decoder.next_item().unwrap() else { break };
            if batch.is_full() {
                batch.clear();
            }
            batch.push(&record.head(), record.bins(), u32::MAX).unwrap();
            records += 1;
        }
        records
    };
    assert_eq!(push(many.len()), many.len());
    let mut again = 0;
    let counted = allocation_counter::measure(|| again = push(usize::MAX));
    assert_eq!(again, many.len());
    assert_eq!(counted.count_total, 0, "allocations for {again} records");
}
