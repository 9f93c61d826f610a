//! The worked examples of asb.md 1.12: each is read, and written back to the same bytes where it is canonical.

use ripemd::{Digest, Ripemd160};

use super::{OwnedItem, OwnedRecord, decode, decode_in, encode_items, file, plain_record, with_bins};
use crate::asb::{DataType, Decoder, Encoder, IndexDef, IndexType, SetIndexDef, UdfDef, Version};

pub(in crate::asb) const FIXTURE: &[u8] = b"Version 3.1\n# namespace test\n# first-file\n+ k S 4 key1\n+ n test\n\
+ d 7JEZLUt/jONdXXjTS8ply6qqyWA=\n+ s demo\n+ g 1\n+ t 428179113\n+ b 3\n- I foo 123\n- S bar 3 abc\n- Z baz T\n";

pub(super) const SAMPLE: &[u8] = b"Version 3.1\n# namespace test\n# first-file\n\
* i test test-set int-index N 1 int-bin N\n* i test test-set string-index N 1 string-bin S\n\
* u L test.lua 27 -- just an empty Lua file\n\n\n+ n test\n+ d q+LsiGs1gD9duJDbzQSXytajtCY=\n+ s test-set\n\
+ g 1\n+ t 0\n+ b 2\n- I int-bin 12345\n- S string-bin 5 abcde\n";

/// Header and items, written anew.
fn written_anew(text: &[u8]) -> Vec<u8> {
    let decoder = Decoder::open(text).unwrap();
    let header = decoder.header().clone();
    let mut out = Vec::new();
    Encoder::file_header(&mut out, &header.namespace, header.first_file, header.version);
    out.extend(encode_items(&decode(text).unwrap(), false));
    out
}

#[test]
fn fixture_of_asbackup() {
    assert_eq!(FIXTURE.len(), 168); // asb.md 1.12.1
    let digest: [u8; 20] = Ripemd160::digest(b"demo\x03key1").into();
    let record = OwnedRecord {
        namespace: b"test".to_vec(),
        set: b"demo".to_vec(),
        digest,
        key: Some((3, b"key1".to_vec())),
        generation: 1,
        void_time: 428_179_113,
        bins: vec![
            (b"foo".to_vec(), (1, 123i64.to_be_bytes().to_vec())),
            (b"bar".to_vec(), (3, b"abc".to_vec())),
            (b"baz".to_vec(), (17, vec![1])),
        ],
    };
    for chunk in [1, 7, 1 << 20] {
        assert_eq!(decode_in(FIXTURE, chunk).unwrap(), [OwnedItem::Record(record.clone())]);
    }
    assert_eq!(written_anew(FIXTURE), FIXTURE);
    let decoder = Decoder::open(FIXTURE).unwrap();
    let header = decoder.header();
    assert_eq!((header.version, header.first_file), (Version::V3_1, true));
    assert_eq!(header.namespace, b"test");
    assert_eq!(decoder.offset(), 42); // the header alone is read
}

#[test]
fn sample_of_the_documentation() {
    assert_eq!(SAMPLE.len(), 292); // asb.md 1.12.2
    let items = decode(SAMPLE).unwrap();
    let udf = UdfDef { name: b"test.lua".to_vec(), content: b"-- just an empty Lua file\n\n".to_vec() };
    assert_eq!(items[2], OwnedItem::Udf(udf));
    assert_eq!(items.len(), 4);
    assert_eq!(written_anew(SAMPLE), SAMPLE);
    for chunk in [1, 7] {
        assert_eq!(decode_in(SAMPLE, chunk).unwrap(), items);
    }
}

fn index(set: &str, index_type: IndexType, data_type: DataType) -> IndexDef {
    IndexDef {
        namespace: b"userdata1".to_vec(),
        set: set.into(),
        name: b"sindex1".to_vec(),
        index_type,
        bin: b"bin1".to_vec(),
        data_type,
        context: None,
        expression: None,
    }
}

#[test]
fn global_lines_of_the_go_tests() {
    use {DataType as D, IndexType as T};
    let context = IndexDef { context: Some("context".into()), ..index("", T::Bin, D::Numeric) };
    let expression =
        IndexDef { expression: Some("expression".into()), ..index("testSet1", T::Bin, D::Numeric) };
    for (line, expected) in [
        (&b"* i userdata1  sindex1 N 1 bin1 N\n"[..], index("", T::Bin, D::Numeric)),
        (b"* i userdata1  sindex1 N 1 bin1 N context\n", context),
        (b"* i userdata1 testSet1 sindex1 L 1 bin1 S\n", index("testSet1", T::List, D::String)),
        (b"* i userdata1 testSet1 sindex1 K 1 bin1 G\n", index("testSet1", T::MapKeys, D::Geo)),
        (b"* i userdata1 testSet1 sindex1 V 1 bin1 B\n", index("testSet1", T::MapValues, D::Blob)),
        (b"* e userdata1 testSet1 sindex1 N 1 bin1 N expression\n", expression),
    ] {
        // `* e` is taken under any header (asb.md 1.3)
        let items = [OwnedItem::Index(expected)];
        assert_eq!(decode(&file("3.1", line)).unwrap(), items);
        assert_eq!(encode_items(&items, false), line);
    }
    for (line, name, content) in [
        (&b"* u L lua-udf 11 lua-content\n"[..], &b"lua-udf"[..], &b"lua-content"[..]),
        (b"* u L lua-udf\\\n1 14 lua-content\\\n1\n", b"lua-udf\n1", b"lua-content\\\n1"),
        (b"* u L empty 0 \n", b"empty", b""),
    ] {
        let items = [OwnedItem::Udf(UdfDef { name: name.to_vec(), content: content.to_vec() })];
        assert_eq!(decode(&file("3.2", line)).unwrap(), items);
        assert_eq!(encode_items(&items, false), line);
    }
}

#[test]
fn a_path_count_above_one_is_one_path() {
    let items = decode(&file("3.1", b"* i userdata1  sindex1 N 2 bin1 N\n")).unwrap();
    assert_eq!(items, [OwnedItem::Index(index("", IndexType::Bin, DataType::Numeric))]);
}

#[test]
fn a_set_index_of_the_unreleased_branch_is_its_own_item() {
    let expected = SetIndexDef { namespace: b"ns".to_vec(), set: b"set".to_vec(), name: b"name".to_vec() };
    for version in ["3.1", "3.3"] {
        let items = decode(&file(version, b"* i ns set name S 1  E\n")).unwrap();
        assert_eq!(items, [OwnedItem::SetIndex(expected.clone())]);
    }
}

#[test]
fn global_lines_may_stand_behind_records() {
    let body = [&with_bins(&[])[..], b"* u L a 1 b\n", &with_bins(&[]), b"* i ns  i N 1 b S\n"].concat();
    assert_eq!(decode(&file("3.1", &body)).unwrap().len(), 4);
}

#[test]
fn a_file_may_end_behind_any_header_line() {
    for text in [
        &b"Version 3.1\n"[..],
        b"Version 3.1\n# namespace t\n",
        b"Version 3.2\n# namespace t\n# first-file\n",
    ] {
        assert_eq!(decode(text).unwrap(), []);
    }
    let decoder = Decoder::open(&b"Version 3.1\n# namespace ns\\\n1\n"[..]).unwrap();
    assert_eq!(decoder.header().namespace, b"ns\n1");
}

#[test]
fn key_lines_of_the_go_tests() {
    let float = 123.456_789f64.to_be_bytes();
    for (line, kind, value, is_canonical) in [
        (&b"+ k I 10\n"[..], 1, &10i64.to_be_bytes()[..], true),
        (b"+ k I -9223372036854775808\n", 1, &i64::MIN.to_be_bytes(), true),
        (b"+ k S 4 1234\n", 3, b"1234", true),
        (b"+ k S 0 \n", 3, b"", true),
        (b"+ k D 123.456789\n", 2, &float, true),
        (b"+ k X 8 c3RyaW5n\n", 3, b"string", false),
        (b"+ k B 4 AAEC\n", 4, &[0, 1, 2], true),
        (b"+ k B! 3 123\n", 4, b"123", false),
    ] {
        let text = [line, &with_bins(&[])].concat();
        let record = decode(&file("3.1", &text)).unwrap().remove(0).record();
        assert_eq!(record.key, Some((kind, value.to_vec())));
        // compact files have base64 keys too, as Go writes them (asb.md 1.9)
        assert_eq!(record.encode(true).unwrap() == text, is_canonical, "{}", line.escape_ascii());
    }
}

#[test]
fn bin_lines_of_the_go_tests() {
    let geo = br#"{"type":"Point","coordinates":[1,2]}"#;
    let wire_geo = [&[0, 0, 0][..], geo].concat();
    let geo_line = [b"- G geojson-bin 36 ", &geo[..], b"\n"].concat();
    for (line, name, kind, value, is_canonical) in [
        (&b"- N nil-bin\n"[..], &b"nil-bin"[..], 0, &b""[..], true),
        (b"- Z bool-bin T\n", b"bool-bin", 17, &[1], true),
        (b"- Z bool-bin F\n", b"bool-bin", 17, &[0], true),
        (b"- D float-bin 1.1\n", b"float-bin", 2, &1.1f64.to_be_bytes(), true),
        (b"- D float-bin inf\n", b"float-bin", 2, &f64::INFINITY.to_be_bytes(), true),
        (b"- D float-bin +Inf\n", b"float-bin", 2, &f64::INFINITY.to_be_bytes(), false),
        (b"- D float-bin -Infinity\n", b"float-bin", 2, &f64::NEG_INFINITY.to_be_bytes(), false),
        (b"- D float-bin -nan\n", b"float-bin", 2, &(-f64::NAN).to_be_bytes(), false),
        (b"- I int-bin -1\n", b"int-bin", 1, &[0xff; 8], true),
        (b"- I int-bin 007\n", b"int-bin", 1, &7i64.to_be_bytes(), false),
        (b"- S string-bin 7 str\ning\n", b"string-bin", 3, b"str\ning", true),
        (b"- S escaped-bin\\\n 6 string\n", b"escaped-bin\n", 3, b"string", true),
        (b"- S! odd 1 x\n", b"odd", 3, b"x", false),
        (b"- S  0 \n", b"", 3, b"", true),
        (b"- X base64-str 12 c3RyCmluZw==\n", b"base64-str", 3, b"str\ning", false),
        (&geo_line, b"geojson-bin", 23, &wire_geo, true),
        (b"- B blob-bin 8 AAECCg==\n", b"blob-bin", 4, &[0, 1, 2, 10], true),
        (b"- B blob-bin 0 \n", b"blob-bin", 4, b"", true),
        (b"- B! blob-bin 5 123\n4\n", b"blob-bin", 4, b"123\n4", false),
        (b"- Y hll-bin 8 AAECCg==\n", b"hll-bin", 18, &[0, 1, 2, 10], true),
        // asb.md 1.12.4
        (b"- L l 8 kwECAw==\n", b"l", 20, &[0x93, 1, 2, 3], true),
        (b"- M m 8 gaIDYQE=\n", b"m", 19, &[0x81, 0xA2, 3, 0x61, 1], true),
        // language blobs keep their type (asb.md 2.3)
        (b"- J j 4 AAEC\n", b"j", 7, &[0, 1, 2], true),
        (b"- C c 4 AAEC\n", b"c", 8, &[0, 1, 2], true),
        (b"- H h 4 AAEC\n", b"h", 11, &[0, 1, 2], true),
        (b"- E e 4 AAEC\n", b"e", 12, &[0, 1, 2], true),
    ] {
        let text = with_bins(&[line]);
        let record = decode(&file("3.1", &text)).unwrap().remove(0).record();
        assert_eq!(record.bins, [(name.to_vec(), (kind, value.to_vec()))], "{}", line.escape_ascii());
        assert_eq!(record.encode(false).unwrap() == text, is_canonical, "{}", line.escape_ascii());
    }
}

#[test]
fn compact_bytes_are_raw() {
    for (letter, kind) in [
        ("B", 4),
        ("J", 7),
        ("C", 8),
        ("P", 9),
        ("R", 10),
        ("H", 11),
        ("E", 12),
        ("Y", 18),
        ("M", 19),
        ("L", 20),
    ] {
        let record = plain_record(vec![(b"l", kind, &[0x93, 1, 10, 3])]);
        let text = record.encode(true).unwrap();
        let expected = [format!("- {letter}! l 4 ").as_bytes(), &[0x93, 1, 10, 3], b"\n"].concat();
        assert!(text.ends_with(&expected), "{letter}");
        assert_eq!(decode(&file("3.1", &text)).unwrap(), [OwnedItem::Record(record)]);
    }
}

#[test]
fn names_of_namespace_and_set_may_have_bare_spaces() {
    // Go reads these up to the line feed (asb.md 1.6)
    let text =
        b"+ n my ns\n+ d 7JEZLUt/jONdXXjTS8ply6qqyWA=\n+ s a b\\ c\n+ g 65535\n+ t 4294967295\n+ b 0\n";
    let record = decode(&file("3.1", text)).unwrap().remove(0).record();
    assert_eq!(record.namespace, b"my ns");
    assert_eq!(record.set, b"a b c");
    assert_eq!((record.generation, record.void_time), (65535, u32::MAX));
}

#[test]
fn version_3_0_has_no_escapes() {
    let record =
        decode(&file("3.0", &with_bins(&[b"- I a\\b 1\n", b"- N c\\\n"]))).unwrap().remove(0).record();
    assert_eq!(record.bins[0].0, b"a\\b");
    assert_eq!(record.bins[1].0, b"c\\");
}
