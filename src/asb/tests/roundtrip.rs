//! What was written is read back: every particle type, any names, any chunks.

use proptest::prelude::*;

use super::{OwnedItem, OwnedRecord, Value, decode, decode_in, encode_items, file, plain_record};
use crate::asb::{DataType, IndexDef, IndexType, UdfDef, particle};

fn name(length: std::ops::RangeInclusive<usize>) -> impl Strategy<Value = Vec<u8>> {
    let byte = prop_oneof![
        4 => any::<u8>(),
        2 => proptest::sample::select(&b"\\ \n!+-*#"[..]),
        4 => b'a'..=b'z',
    ];
    proptest::collection::vec(byte, length)
}

/// As most names are, and few enough to come again in the next record.
fn plain_name(_length: std::ops::RangeInclusive<usize>) -> impl Strategy<Value = Vec<u8>> {
    proptest::collection::vec(b'a'..=b'c', 1..=2)
}

fn bytes(max: usize) -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        Just(Vec::new()),
        proptest::collection::vec(any::<u8>(), 0..max),
        // text that looks like the format
        Just(b"\n+ n test\n- I a 1\n".to_vec()),
    ]
}

fn float() -> impl Strategy<Value = Value> {
    any::<f64>().prop_map(|value| {
        let value = if value.is_nan() { f64::NAN } else { value };
        (particle::FLOAT, value.to_be_bytes().to_vec())
    })
}

fn value() -> impl Strategy<Value = Value> {
    use particle as p;
    let family = [
        p::STRING,
        p::BLOB,
        p::JAVA,
        p::CSHARP,
        p::PYTHON,
        p::RUBY,
        p::PHP,
        p::ERLANG,
        p::HLL,
        p::MAP,
        p::LIST,
    ];
    prop_oneof![
        Just((p::NULL, Vec::new())),
        any::<i64>().prop_map(|value| (p::INTEGER, value.to_be_bytes().to_vec())),
        any::<i16>().prop_map(|value| (p::INTEGER, i64::from(value).to_be_bytes().to_vec())),
        float(),
        any::<bool>().prop_map(|value| (p::BOOL, vec![u8::from(value)])),
        bytes(60).prop_map(|text| (p::GEOJSON, [&[0, 0, 0][..], &text].concat())),
        (proptest::sample::select(family.to_vec()), bytes(200)),
    ]
}

fn key() -> impl Strategy<Value = Value> {
    prop_oneof![
        any::<i64>().prop_map(|value| (particle::INTEGER, value.to_be_bytes().to_vec())),
        float(),
        (proptest::sample::select(&[particle::STRING, particle::BLOB][..]), bytes(40)),
    ]
}

fn record() -> impl Strategy<Value = OwnedRecord> {
    prop_oneof![record_with(name), record_with(plain_name)]
}

fn record_with<S: Strategy<Value = Vec<u8>>>(
    name: impl Fn(std::ops::RangeInclusive<usize>) -> S,
) -> impl Strategy<Value = OwnedRecord> {
    let bins = proptest::collection::vec((name(0..=15), value()), 0..12);
    let head = (
        name(1..=31),
        name(0..=63),
        any::<[u8; 20]>(),
        proptest::option::of(key()),
        any::<u16>(),
        any::<u32>(),
    );
    (head, bins).prop_map(|((namespace, set, digest, key, generation, void_time), bins)| OwnedRecord {
        namespace,
        set,
        digest,
        key,
        generation,
        void_time,
        bins,
    })
}

fn index() -> impl Strategy<Value = IndexDef> {
    use {DataType as D, IndexType as T};
    let types = proptest::sample::select(&[T::Bin, T::List, T::MapKeys, T::MapValues][..]);
    let data = proptest::sample::select(&[D::Numeric, D::String, D::Geo, D::Blob][..]);
    let tail = proptest::option::of(("[A-Za-z0-9+/]{1,40}=?", any::<bool>()));
    (name(1..=31), name(0..=63), name(1..=63), types, name(0..=15), data, tail).prop_map(
        |(namespace, set, name, index_type, bin, data_type, tail)| {
            let (mut context, mut expression) = (None, None);
            match tail {
                Some((text, true)) => context = Some(text),
                Some((text, false)) => expression = Some(text),
                None => {}
            }
            IndexDef { namespace, set, name, index_type, bin, data_type, context, expression }
        },
    )
}

pub(super) fn items() -> impl Strategy<Value = Vec<OwnedItem>> {
    let item = prop_oneof![
        8 => record().prop_map(OwnedItem::Record),
        1 => index().prop_map(OwnedItem::Index),
        1 => (name(1..=40), bytes(300)).prop_map(|(name, content)| OwnedItem::Udf(UdfDef { name, content })),
    ];
    proptest::collection::vec(item, 0..6)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]
    #[test]
    fn what_is_written_is_read(items in items(), compact in any::<bool>(), chunk in 1usize..400) {
        let text = file("3.1", &encode_items(&items, compact));
        prop_assert_eq!(&decode(&text).unwrap(), &items);
        prop_assert_eq!(&decode_in(&text, chunk).unwrap(), &items);
        prop_assert_eq!(&decode_in(&text, 1).unwrap(), &items);
    }
}

#[test]
fn large_and_empty_values() {
    // several buffers long, so that values straddle every refill
    let large: Vec<u8> =
        (0..(1 << 20) + 3).map(|at: u32| (at.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    let geo = [&[0, 0, 0], &large[..]].concat();
    let record = plain_record(vec![
        (b"string", particle::STRING, &large),
        (b"blob", particle::BLOB, &large),
        (b"map", particle::MAP, b""),
        (b"geo", particle::GEOJSON, &geo),
        (b"empty", particle::STRING, b""),
        (b"fifteen bytes\n\\", particle::LIST, &large),
    ]);
    let small = plain_record(vec![(b"i", particle::INTEGER, &[0, 0, 0, 0, 0, 0, 0, 9])]);
    let items: Vec<_> =
        [&small, &record, &small, &record, &small].map(|record| OwnedItem::Record(record.clone())).into();
    for compact in [false, true] {
        let text = file("3.1", &encode_items(&items, compact));
        for chunk in [4096, 1 << 16, usize::MAX] {
            assert!(decode_in(&text, chunk).unwrap() == items);
        }
    }
}

#[test]
fn buffers_go_back_to_their_size_after_a_giant() {
    let giant = vec![b'g'; 20 << 20];
    let record = plain_record(vec![(b"s", particle::STRING, &giant), (b"b", particle::BLOB, &giant)]);
    let small = plain_record(vec![(b"i", particle::INTEGER, &[0, 0, 0, 0, 0, 0, 0, 9])]);
    let items = [small.clone(), record, small.clone(), small].map(OwnedItem::Record);
    let text = file("3.1", &encode_items(&items, false));
    for chunk in [1 << 18, usize::MAX] {
        assert!(decode_in(&text, chunk).unwrap() == items);
    }
}

#[test]
fn wire_forms_that_are_not_kept_are_made_plain() {
    // short integers are widened, geo cells and flags dropped: the server computes them anew (asb.md 2.2)
    let cells = [&[7, 0, 2][..], &[0xAA; 16], b"{}"].concat();
    let record = plain_record(vec![
        (b"i", 1, &[0xfe]),
        (b"j", 1, &[1, 0, 0, 0]),
        (b"g", 23, &cells),
        (b"n", 2, &[0xff; 8]),
    ]);
    let read = decode(&file("3.1", &record.encode(false).unwrap())).unwrap().remove(0).record();
    let values: Vec<_> = read.bins.iter().map(|(_, (_, bytes))| bytes.clone()).collect();
    assert_eq!(values[0], (-2i64).to_be_bytes());
    assert_eq!(values[1], (1i64 << 24).to_be_bytes());
    assert_eq!(values[2], b"\0\0\0{}");
    assert!(f64::from_be_bytes(values[3].clone().try_into().unwrap()).is_nan());
}

#[test]
fn as_many_bins_as_a_record_can_have() {
    let bins: Vec<(Vec<u8>, Value)> =
        (0..u16::MAX).map(|at| (at.to_string().into_bytes(), (particle::BOOL, vec![1]))).collect();
    let record = OwnedRecord { bins, ..plain_record(vec![]) };
    let text = file("3.1", &record.encode(false).unwrap());
    assert!(decode(&text).unwrap() == [OwnedItem::Record(record)]);
}

#[test]
fn a_name_may_come_twice() {
    // asbackup writes both (asb.md 1.10); what that means is for the writer to say
    let record = plain_record(vec![(b"a", particle::STRING, b"1"), (b"a", particle::STRING, b"2")]);
    assert_eq!(decode(&file("3.1", &record.encode(false).unwrap())).unwrap(), [OwnedItem::Record(record)]);
}
