use proptest::prelude::*;

use super::{Cursor, Entries, Entry, FrameKind, MessageHeader, frame_length, read_batch_entry};
use crate::aerospike::peer::{digest, last, partition_done, record, row};

fn entries(messages: &[Vec<u8>]) -> Vec<String> {
    let bytes = messages.concat();
    let name = |entry| match entry {
        Ok(Entry::Record(_)) => "record".to_owned(),
        Ok(Entry::PartitionDone { pid, result }) => format!("done {pid} {}", result.0),
        Ok(Entry::Last { result }) => format!("last {}", result.0),
        Err(error) => format!("{error}"),
    };
    Entries::new(&bytes).map(name).collect()
}

#[test]
fn a_frame_is_read_message_by_message() {
    let messages = [record(1, 1), partition_done(4095, 11), record(2, 1), last(0)];
    assert_eq!(entries(&messages), ["record", "done 4095 11", "record", "last 0"]);
    // a refusal does not carry the bit for "last" (wire.md 5)
    assert_eq!(entries(&[row(0, 20)]), ["last 20"]);
    assert_eq!(entries(&[partition_done(4096, 0)]), ["malformed partition id"]);
}

#[test]
fn a_record_is_a_view_into_its_frame() {
    let bytes = record(5, 9);
    let Some(Ok(Entry::Record(view))) = Entries::new(&bytes).next() else { panic!("not a record") };
    let head = view.head();
    assert_eq!((head.namespace, head.set, head.digest), (&b"test"[..], &b"demo"[..], &digest(5, 9)));
    assert_eq!((head.generation, head.void_time, head.bin_count, head.key), (3, 77, 1, None));
    let bins: Vec<_> = view.bins().collect();
    assert_eq!((bins[0].name, bins[0].particle.kind), (&b"n"[..], 1));
    assert_eq!(bins[0].particle.bytes, [0, 0, 0, 0, 0, 0, 0, 9]);
}

#[test]
fn each_cut_of_a_record_is_malformed() {
    let bytes = record(5, 9);
    for length in 1..bytes.len() {
        let ended: Vec<_> = Entries::new(&bytes[..length]).collect();
        assert!(matches!(ended.as_slice(), [Err(_)]), "{length}");
    }
}

#[test]
fn flags_of_a_bin_that_would_shift_its_value_are_malformed() {
    let mut bytes = record(5, 9);
    let flags_at = bytes.len() - 8 - 1 - 2;
    bytes[flags_at] = 1;
    assert_eq!(entries(&[bytes]), ["malformed bin: unknown flags"]);
}

#[test]
fn a_frame_longer_than_allowed_is_refused_before_it_is_read() {
    let header = |length: u64| {
        let mut header = length.to_be_bytes();
        header[..2].copy_from_slice(&[2, 3]);
        header
    };
    assert_eq!(frame_length(header(1 << 27), FrameKind::Message, 1 << 27).unwrap(), 1 << 27);
    assert!(frame_length(header((1 << 27) + 1), FrameKind::Message, 1 << 27).is_err());
    assert!(frame_length(header(5), FrameKind::Info, 1 << 27).is_err());
}

proptest! {
    #[test]
    fn no_bytes_make_a_reader_panic_or_run_on(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        prop_assert!(Entries::new(&bytes).count() <= bytes.len());
    }

    #[test]
    fn no_damage_makes_a_reader_panic(at in 0_usize..150, value in any::<u8>()) {
        let mut bytes = [record(1, 1), last(0)].concat();
        let count = bytes.len();
        bytes[at % count] = value;
        for entry in Entries::new(&bytes) {
            if let Ok(Entry::Record(view)) = entry {
                prop_assert_eq!(view.bins().count(), usize::from(view.head().bin_count));
            }
        }
        let mut cursor = Cursor::new(&bytes);
        while read_batch_entry(&mut cursor).is_ok() {}
    }

    #[test]
    fn headers_come_back_as_they_went(info1: u8, generation: u32, ttl: u32, transaction_ttl: u32, fields: u16) {
        let header = MessageHeader { info1, generation, ttl, transaction_ttl, fields, ..MessageHeader::default() };
        let mut bytes = Vec::new();
        header.write(&mut bytes);
        prop_assert_eq!(MessageHeader::read(&mut Cursor::new(&bytes)), Ok(header));
    }
}
