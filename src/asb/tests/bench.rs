//! How fast it is. Not a test: `cargo test --lib asb::tests::bench -- --ignored --nocapture`.

use std::hint::black_box;
use std::time::Instant;

use super::{OwnedRecord, file, plain_record};
use crate::asb::{Decoder, Encoder, Item, particle};

const RECORDS: u32 = 100_000;
const ROUNDS: usize = 5;

fn mixed() -> OwnedRecord {
    let digest = *b"\x01\x9f23456789abcdef\xffij\x80";
    let record = plain_record(vec![
        (b"id", particle::INTEGER, &1_234_567_890i64.to_be_bytes()),
        (b"visits", particle::INTEGER, &42i64.to_be_bytes()),
        (b"score", particle::FLOAT, &0.123_456_789f64.to_be_bytes()),
        (b"name", particle::STRING, &[b'n'; 40]),
        (b"payload", particle::BLOB, &[0xA5; 60]),
        (b"tags", particle::LIST, &[0x93; 40]),
        (b"active", particle::BOOL, &[1]),
    ]);
    OwnedRecord { set: b"customers".to_vec(), key: Some((3, b"customer-000017".to_vec())), digest, ..record }
}

/// 50 entries of a short string and an integer, as msgpack.
fn map() -> OwnedRecord {
    let mut value = vec![0xDE, 0, 50];
    for at in 0..50u8 {
        value.extend_from_slice(&[0xA6, 3, b'k', b'e', b'y', b'0' + at / 10, b'0' + at % 10]);
        value.extend_from_slice(&[0xCE, 1, 2, 3, at]);
    }
    OwnedRecord { set: b"maps".to_vec(), ..plain_record(vec![(b"map", particle::MAP, &value)]) }
}

/// The best of some rounds, in nanoseconds per record.
fn best(mut run: impl FnMut()) -> f64 {
    let rounds = (0..ROUNDS).map(|_| {
        let start = Instant::now();
        run();
        start.elapsed().as_secs_f64() * 1e9 / f64::from(RECORDS)
    });
    rounds.fold(f64::INFINITY, f64::min)
}

fn measure(name: &str, record: &OwnedRecord, compact: bool) {
    let mut text = file("3.1", b"");
    let header = text.len();
    let encode = best(|| {
        text.truncate(header);
        let mut encoder = Encoder::new(compact);
        for _ in 0..RECORDS {
            encoder.record(&mut text, black_box(&record.head()), record.bins()).unwrap();
        }
    });
    let decode = best(|| {
        let mut decoder = Decoder::open(&text[..]).unwrap();
        let mut seen = 0usize;
        while let Some(Item::Record(record)) = decoder.next_item().unwrap() {
            seen += record.bins().map(|bin| bin.particle.bytes.len()).sum::<usize>();
        }
        black_box(seen);
    });
    let wire: usize = record.bins().map(|bin| bin.particle.bytes.len()).sum();
    let size = (text.len() - header) as f64 / f64::from(RECORDS);
    println!(
        "{name}: {wire} bytes of values, {size:.0} of text; encode {encode:.0} ns/record {:.0} MB/s; decode {decode:.0} \
         ns/record {:.0} MB/s",
        size * 1e3 / encode,
        size * 1e3 / decode
    );
}

#[test]
#[ignore = "a measurement"]
fn records_per_second() {
    measure("mixed", &mixed(), false);
    measure("mixed, compact", &mixed(), true);
    measure("map of 50", &map(), false);
    measure("map of 50, compact", &map(), true);
}
