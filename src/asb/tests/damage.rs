//! Damaged and random input: never a panic, never a silent end, the same answer in any chunks.

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::roundtrip::items;
use super::worked::{FIXTURE, SAMPLE};
use super::{Chunked, OwnedItem, decode, decode_in, encode_items, file};
use crate::asb::{DecodeError, Decoder};

/// Offsets at which a text may end: behind the header lines and behind each item.
fn ends(text: &[u8]) -> BTreeSet<usize> {
    let mut decoder = Decoder::open(text).unwrap();
    let body = decoder.offset() as usize;
    let header_lines =
        text[..body].iter().enumerate().filter(|(_, byte)| **byte == b'\n').map(|(at, _)| at + 1);
    let mut ends: BTreeSet<usize> = header_lines.collect();
    while decoder.next_item().unwrap().is_some() {
        ends.insert(decoder.offset() as usize);
    }
    ends
}

/// A text cut anywhere is refused at the cut, unless an item ends there.
fn check_cuts(text: &[u8]) {
    let ends = ends(text);
    for length in 1..text.len() {
        let result = decode(&text[..length]);
        if ends.contains(&length) {
            assert!(result.is_ok(), "cut at {length}: {result:?}");
            continue;
        }
        match result {
            Err(DecodeError::Truncated { at, .. }) => assert_eq!(at.offset, length as u64),
            other => panic!("cut at {length}: {other:?}"),
        }
    }
}

#[test]
fn a_text_cut_anywhere_is_never_whole() {
    check_cuts(FIXTURE);
    check_cuts(SAMPLE);
}

/// What a decoder says of any input: its items and how it ended.
fn verdict(text: &[u8], chunk: usize) -> (Vec<OwnedItem>, String) {
    let mut decoder = match Decoder::open_with_limit(Chunked::new(text, chunk), 1 << 16) {
        Ok(decoder) => decoder,
        Err(error) => return (Vec::new(), error.to_string()),
    };
    let mut items = Vec::new();
    loop {
        match decoder.next_item() {
            Ok(Some(item)) => items.push(super::owned(item)),
            Ok(None) => return (items, "end".into()),
            Err(error) => {
                let at = error.position().unwrap().offset;
                assert!(at <= text.len() as u64, "{error}");
                return (items, error.to_string());
            }
        }
    }
}

fn check_any(text: &[u8], chunk: usize) {
    let (items, end) = verdict(text, usize::MAX);
    assert_eq!(verdict(text, chunk), (items.clone(), end.clone()));
    if end == "end" {
        // what was read can be written, and then reads the same
        let items: Vec<_> =
            items.into_iter().filter(|item| !matches!(item, OwnedItem::SetIndex(_))).collect();
        let again = decode_in(&file("3.1", &encode_items(&items, true)), chunk).unwrap();
        assert_eq!(format!("{again:?}"), format!("{:?}", without_nan_signs(items)));
    }
}

/// The sign of a NaN is not kept (asb.md 1.7).
fn without_nan_signs(mut items: Vec<OwnedItem>) -> Vec<OwnedItem> {
    for item in &mut items {
        let OwnedItem::Record(record) = item else { continue };
        let values = record.bins.iter_mut().map(|(_, value)| value).chain(&mut record.key);
        for (kind, bytes) in values {
            if *kind == 2 && f64::from_be_bytes(bytes.clone().try_into().unwrap()).is_nan() {
                *bytes = f64::NAN.to_be_bytes().to_vec();
            }
        }
    }
    items
}

#[derive(Debug, Clone)]
enum Change {
    Set(prop::sample::Index, u8),
    Insert(prop::sample::Index, Vec<u8>),
    Remove(prop::sample::Index, usize),
    Repeat(prop::sample::Index, usize),
}

fn change() -> impl Strategy<Value = Change> {
    let at = any::<prop::sample::Index>;
    let byte = || {
        prop_oneof![any::<u8>(), proptest::sample::select(&b"\\ \n!+-*#0123456789.eNZIDSXGBMLUknfiu="[..])]
    };
    prop_oneof![
        4 => (at(), byte()).prop_map(|(at, byte)| Change::Set(at, byte)),
        2 => (at(), proptest::collection::vec(byte(), 1..5)).prop_map(|(at, bytes)| Change::Insert(at, bytes)),
        2 => (at(), 1usize..6).prop_map(|(at, count)| Change::Remove(at, count)),
        1 => (at(), 1usize..60).prop_map(|(at, count)| Change::Repeat(at, count)),
    ]
}

fn apply(text: &mut Vec<u8>, change: Change) {
    if text.is_empty() {
        return;
    }
    let end = |at: usize, count: usize, text: &[u8]| (at + count).min(text.len());
    match change {
        Change::Set(at, byte) => *at.get_mut(&mut text[..]) = byte,
        Change::Insert(at, bytes) => {
            let at = at.index(text.len());
            text.splice(at..at, bytes);
        }
        Change::Remove(at, count) => {
            let at = at.index(text.len());
            text.drain(at..end(at, count, text));
        }
        Change::Repeat(at, count) => {
            let at = at.index(text.len());
            let part = text[at..end(at, count, text)].to_vec();
            text.splice(at..at, part);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]
    #[test]
    fn mutated_files(items in items(), changes in proptest::collection::vec(change(), 1..5), chunk in 1usize..100) {
        let mut text = file("3.1", &encode_items(&items, chunk % 2 == 0));
        for change in changes {
            apply(&mut text, change);
        }
        check_any(&text, chunk);
    }

    #[test]
    fn mutated_examples(which in any::<bool>(), changes in proptest::collection::vec(change(), 1..3), chunk in 1usize..100) {
        let mut text = if which { FIXTURE } else { SAMPLE }.to_vec();
        for change in changes {
            apply(&mut text, change);
        }
        check_any(&text, chunk);
    }

    #[test]
    fn random_bytes(bytes in proptest::collection::vec(any::<u8>(), 0..400), front in 0usize..4, chunk in 1usize..50) {
        let fronts: [&[u8]; 4] = [b"", b"Version 3.1\n", b"Version 3.3\n# ", b"Version 3.0\n+ n test\n"];
        check_any(&[fronts[front], &bytes].concat(), chunk);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]
    #[test]
    fn files_cut_anywhere(items in items()) {
        check_cuts(&file("3.1", &encode_items(&items, false)));
    }
}
