//! What must not be read or written, and what the error says (negative cases of asb.md 1.12.3).

use super::worked::FIXTURE;
use super::{Chunked, decode, decode_in, file, plain_record, with_bins};
use crate::asb::{
    Bin, DataType, DecodeError, Decoder, EncodeError, Encoder, IndexDef, IndexType, Particle, RecordHead,
    UdfDef,
};

/// The text is refused at this place, in any chunks.
fn refused(text: &[u8], offset: usize, line: u64) -> DecodeError {
    let error = decode(text).unwrap_err();
    let at = error.position().unwrap();
    assert_eq!((at.offset, at.line), (offset as u64, line), "{error} in\n{}", text.escape_ascii());
    for chunk in [1, 7] {
        assert_eq!(decode_in(text, chunk).unwrap_err().to_string(), error.to_string());
    }
    error
}

const HEADER: &[u8] = b"Version 3.1\n# namespace test\n";

#[test]
fn an_empty_file_is_its_own_kind() {
    assert!(matches!(decode(b""), Err(DecodeError::Empty)));
}

#[test]
fn headers_that_are_none() {
    for (text, offset) in [
        (&b"Versoin 3.1\n"[..], 4),
        (b"\x28\xB5\x2F\xFD", 0),
        (b"Version 3.1 \n", 11),
        (b"Version 3.1\r\n", 11),
        (b"Version 3.4\n", 8),
        (b"Version 2.0\n", 8),
        (b"Version 3.1\n#namespace test\n", 13),
        (b"Version 3.1\n# bad-token\n", 14),
        (b"Version 3.1\n# first-file2\n", 24),
        (b"Version 3.1\n# namespace test\n\n", 29),
        (b"Version 3.1\nnamespace test\n", 12),
    ] {
        let error = decode(text).unwrap_err();
        assert_eq!(error.position().unwrap().offset, offset, "{error}");
        assert!(!matches!(error, DecodeError::Truncated { .. }), "{error}");
    }
    // metadata lines stand only at the top
    refused(&[HEADER, b"* u L a 1 b\n# first-file\n"].concat(), HEADER.len() + 12, 4);
    let error = decode(b"Version 9.9\n").unwrap_err().to_string();
    assert_eq!(
        error,
        "at byte 8 (line 1): version '9.9' of the format is not supported, expected 3.0 to 3.3"
    );
}

#[test]
fn bad_fixture_of_asbackup() {
    let text = [&FIXTURE[..FIXTURE.len() - 10], b"- x baz T\n"].concat();
    let error = refused(&text, 160, 13);
    assert_eq!(
        error.to_string(),
        "at byte 160 (line 13): expected a bin type, one of NZIDSXGBJCPRHEYML, found 'x'"
    );
}

#[test]
fn bins_that_are_none() {
    // offsets are those within the bin line
    for (line, offset) in [
        (&b"- Z x X\n"[..], 6),
        (b"- Z x TT\n", 7),
        (b"- D x notafloat\n", 6),
        (b"- D x 1e999\n", 6),
        (b"- D x \n", 6),
        (b"- D x 1.5 \n", 9),
        (b"- I x notanint\n", 6),
        (b"- I x \n", 6),
        (b"- I x -\n", 7),
        (b"- I x +1\n", 6),
        (b"- I x  1\n", 6),
        (b"- I x 1 \n", 7),
        (b"- I x 1.0\n", 7),
        (b"- I x 9223372036854775808\n", 6),
        (b"- I x -9223372036854775809\n", 6),
        (b"- S s 3 asdf\n", 11),
        (b"- S s -1 asdf\n", 6),
        (b"- S s -0 \n", 6),
        (b"- S s 4294967296 a\n", 6),
        (b"- S s 4\nasdf\n", 7),
        (b"- S s\n", 5),
        (b"- X s 4 as=f\n", 8),
        (b"- X s 3 asd\n", 8),
        (b"- X s 4 \xff\xff\xff\xff\n", 8),
        (b"- B b 4123\n", 10),
        (b"- B b 4 AA\n\n\n", 8),
        (b"- B b 4 AAB=\n", 8), // bits behind the last byte
        (b"- Nnil\n", 3),
        (b"- N nil \n", 7),
        (b"- B!3 b 123\n", 4),
        (b"-N nil\n", 1),
        (b"- U ldt 1 a\n", 2),
        (b"- n nil\n", 2),
        (b"+ n nil\n", 0),
    ] {
        let text = file("3.1", &with_bins(&[line]));
        let error = refused(&text, text.len() - line.len() + offset, 8);
        assert!(!matches!(error, DecodeError::Truncated { .. }), "{error}");
    }
    let error = decode(&file("3.1", &with_bins(&[b"- U ldt 1 a\n"]))).unwrap_err().to_string();
    assert!(error.contains("large data types"), "{error}");
}

#[test]
fn global_lines_that_are_none() {
    for (line, offset) in [
        (&b"* x a\n"[..], 2),
        (b"*i a b c N 1 d N\n", 1),
        (b"* i ns set name Z 1 bin N\n", 16),
        (b"* i ns set name I 1 bin N\n", 16),
        (b"* e ns set name S 1  E x\n", 16),
        (b"* i ns set name S 1 bin E\n", 20),
        (b"* i ns set name S 1  N\n", 21),
        (b"* i ns set name N Z bin N\n", 18),
        (b"* i ns set name N 0 bin N\n", 18),
        (b"* i ns set name N 1 bin Z\n", 24),
        (b"* i ns set name N 1 bin E\n", 24),
        (b"* i ns set name N 1 bin N \n", 26),
        (b"* i ns set name N 1 bin\n", 23),
        (b"* i ns set name N 1\n", 19),
        (b"* i ns set name\n", 15),
        (b"* i ns set\n", 10),
        (b"* i ns\n", 6),
        (b"* i\n", 3),
        (b"* e ns set name N 1 bin N\n", 25),
        (b"* e ns set name N 1 bin N \n", 26),
        (b"* e ns set name N 1 bin N a b\n", 26),
        (b"* u P name 1 a\n", 4),
        (b"* u L name a\n", 11),
        (b"* u L name 1\n", 12),
        (b"* u L name 1 ab\n", 14),
    ] {
        let error = refused(&[HEADER, line].concat(), HEADER.len() + offset, 3);
        assert!(!matches!(error, DecodeError::Truncated { .. }), "{error}");
    }
    // 3.0 has no global section
    refused(b"Version 3.0\n* u L name 1 a\n", 12, 2);
}

#[test]
fn record_lines_missing_or_in_another_order() {
    let lines: [&[u8]; 8] = [
        b"+ k I 1\n",
        b"+ n test\n",
        b"+ d 7JEZLUt/jONdXXjTS8ply6qqyWA=\n",
        b"+ s demo\n",
        b"+ g 1\n",
        b"+ t 0\n",
        b"+ b 1\n",
        b"- I a 1\n",
    ];
    assert!(decode(&file("3.1", &lines.concat())).is_ok());
    for missing in [1, 2, 4, 5, 6, 7] {
        let text: Vec<u8> = (0..8).filter(|at| *at != missing).flat_map(|at| lines[at]).copied().collect();
        assert!(decode(&file("3.1", &text)).is_err(), "without {}", lines[missing].escape_ascii());
    }
    for first in 0..7 {
        let mut swapped = lines;
        swapped.swap(first, first + 1);
        assert!(decode(&file("3.1", &swapped.concat())).is_err(), "swapped {first}");
    }
    let mut twice = lines.to_vec();
    twice.push(b"- I b 2\n");
    assert!(decode(&file("3.1", &twice.concat())).is_err(), "more bins than declared");
}

#[test]
fn record_lines_that_are_none() {
    let good = [b"+ k I 1\n", &with_bins(&[])[..]].concat();
    for (from, to) in [
        ("+ k I 1", "+ k P 1"),
        ("+ k I 1", "+ k Z T"),
        ("+ k I 1", "+ k I x"),
        ("+ k I 1", "+ k B 4 A==="),
        ("+ k I 1", "+ kI 1"),
        ("7JEZLUt/jONdXXjTS8ply6qqyWA=", "7JEZLUt/jONdXXjTS8ply6qqyWAA"),
        ("7JEZLUt/jONdXXjTS8ply6qqyWA=", "7JEZLUt/jONdXXjTS8ply6qqyQ=="),
        ("7JEZLUt/jONdXXjTS8ply6qqyWA=", "7JEZLUt/jONdXXjTS8ply6qqyWA"),
        ("7JEZLUt/jONdXXjTS8ply6qqyWA=", "7JEZLUt-jONdXXjTS8ply6qqyWA="),
        ("+ g 1", "+ g 65536"),
        ("+ g 1", "+ g -1"),
        ("+ g 1", "+ g "),
        ("+ t 0", "+ t -1"),
        ("+ t 0", "+ t 4294967296"),
        ("+ b 0", "+ b 65536"),
        ("+ b 0", "+ b -1"),
        ("+ b 0", "+ b 0 "),
        ("+ n test", "+n test"),
        ("+ g", "+ x"),
    ] {
        let text = String::from_utf8(good.clone()).unwrap();
        assert!(text.contains(from));
        let error = decode(&file("3.1", text.replace(from, to).as_bytes())).unwrap_err();
        assert!(!matches!(error, DecodeError::Truncated { .. }), "{to}: {error}");
    }
}

#[test]
fn a_missing_line_feed_is_no_end() {
    for text in [FIXTURE, super::worked::SAMPLE] {
        let error = decode(&text[..text.len() - 1]).unwrap_err();
        let DecodeError::Truncated { at, .. } = error else { panic!("{error}") };
        assert_eq!(at.offset, text.len() as u64 - 1);
    }
}

#[test]
fn names_of_1000_bytes_are_too_long() {
    let line = |length: usize| [b"- N ", &vec![b'a'; length][..], b"\n"].concat();
    assert!(decode(&file("3.1", &with_bins(&[&line(999)]))).is_ok());
    let error = decode(&file("3.1", &with_bins(&[&line(1000)]))).unwrap_err();
    assert!(matches!(error, DecodeError::TooLong { limit: 999, .. }), "{error}");
    // and are refused before the rest of a runaway line is read
    let endless = file("3.1", &with_bins(&[&line(3 << 20)]));
    assert!(matches!(decode(&endless), Err(DecodeError::TooLong { .. })));
    assert!(matches!(decode_in(&endless, 1), Err(DecodeError::TooLong { .. })));
}

#[test]
fn an_item_has_a_cap() {
    let value = vec![b'v'; 8000];
    let line = [b"- S s 8000 ", &value[..], b"\n"].concat();
    let text = file("3.1", &[with_bins(&[&line]), with_bins(&[b"- I i 1\n"])].concat());
    let read = |limit: usize, chunk: usize| {
        let mut decoder = Decoder::open_with_limit(Chunked::new(&text, chunk), limit)?;
        let mut count = 0;
        while decoder.next_item()?.is_some() {
            count += 1;
        }
        Ok::<_, DecodeError>(count)
    };
    for chunk in [1, 7, 100_000] {
        assert_eq!(read(10_000, chunk).unwrap(), 2);
        assert!(matches!(read(8000, chunk), Err(DecodeError::TooLong { limit: 8000, .. })));
        // many small lines do not get around it
        let lines: Vec<&[u8]> = vec![b"- N a\n"; 2000];
        let many = file("3.1", &with_bins(&lines));
        let mut decoder = Decoder::open_with_limit(Chunked::new(&many, chunk), 8000).unwrap();
        assert!(matches!(decoder.next_item(), Err(DecodeError::TooLong { .. })));
    }
}

#[test]
fn a_length_beyond_the_cap_is_refused_without_reading_on() {
    let text = file("3.1", &with_bins(&[b"- S s 4294967295 x"]));
    let error = decode(&text).unwrap_err();
    assert!(matches!(error, DecodeError::TooLong { .. }), "{error}");
}

#[test]
fn after_an_error_there_is_no_end() {
    let text = file("3.1", b"* x\n+ n test\n");
    let mut decoder = Decoder::open(&text[..]).unwrap();
    assert!(decoder.next_item().is_err());
    assert!(matches!(decoder.next_item(), Err(DecodeError::Stopped { .. })));
}

#[test]
fn a_failing_reader_is_named_with_its_place() {
    struct Failing<'a>(&'a [u8]);
    impl std::io::Read for Failing<'_> {
        fn read(&mut self, out: &mut [u8]) -> std::io::Result<usize> {
            match self.0.read(out)? {
                0 => Err(std::io::Error::other("connection lost")),
                count => Ok(count),
            }
        }
    }
    let mut decoder = Decoder::open(Failing(FIXTURE)).unwrap();
    assert!(decoder.next_item().is_ok());
    let error = decoder.next_item().unwrap_err();
    assert_eq!(error.to_string(), "read failed at byte 168 (line 14)");
    assert_eq!(std::error::Error::source(&error).unwrap().to_string(), "connection lost");
}

#[test]
fn places_behind_many_buffers_are_right() {
    // over 4 MiB of records, the last one bad; line feeds inside values count
    let record = with_bins(&[b"- S s 5 a\nb\nc\n"]);
    let count = 60_000;
    let text = file("3.1", &[record.repeat(count), b"+ n test\n+ x\n".to_vec()].concat());
    let error = decode(&text).unwrap_err();
    let at = error.position().unwrap();
    assert_eq!(at.offset, text.len() as u64 - 2);
    assert_eq!(at.line, memchr::memchr_iter(b'\n', &text).count() as u64);
}

#[test]
fn what_the_format_cannot_hold_is_not_written() {
    let cases: [(u8, &[u8], bool); 16] = [
        (16, b"vector", false),
        (5, b"", false),
        (21, b"", false),
        (255, b"", false),
        (0, b"x", true),
        (1, b"", true),
        (1, &[0; 3], true),
        (1, &[0; 9], true),
        (2, &[0; 4], true),
        (2, &[0; 9], true),
        (17, b"", true),
        (17, &[2], true),
        (17, &[0, 0], true),
        (23, &[0, 0], true),
        (23, &[0, 0, 1], true),
        (23, &[0, 0, 2, 0, 0, 0, 0, 0, 0, 0, 0, b'{'], true),
    ];
    for (kind, value, is_malformed) in cases {
        let record = plain_record(vec![(b"first", 1, &[1]), (b"bad\xff", kind, value)]);
        let mut out = b"before".to_vec();
        let error = Encoder::new(false).record(&mut out, &record.head(), record.bins()).unwrap_err();
        assert_eq!(out, b"before");
        match &error {
            EncodeError::Unsupported { kind: found, bin } if !is_malformed => {
                assert_eq!((*found, &bin[..]), (kind, &b"bad\xff"[..]));
            }
            EncodeError::BadValue { kind: found, bin, .. } if is_malformed => {
                assert_eq!((*found, &bin[..]), (kind, &b"bad\xff"[..]));
            }
            _ => panic!("{kind}: {error:?}"),
        }
        assert!(error.to_string().contains("'bad\\xff'"), "{error}");
    }
}

#[test]
fn keys_names_and_counts_that_cannot_be_written() {
    let mut record = plain_record(vec![(b"a", 1, &[1])]);
    record.key = Some((20, vec![0x90]));
    assert_eq!(record.encode(false), Err(EncodeError::UnsupportedKey { kind: 20 }));
    record.key = Some((1, vec![0; 3]));
    assert!(matches!(record.encode(false), Err(EncodeError::BadKey { kind: 1, .. })));
    record.key = None;
    record.set = vec![b' '; 500];
    assert_eq!(record.encode(false), Err(EncodeError::NameTooLong { what: "set", length: 1000 }));

    let bin = Bin { name: b"a", particle: Particle { kind: 1, bytes: &[1] } };
    let head = RecordHead { bin_count: 2, set: b"", ..record.head() };
    for (bins, found) in [(vec![], 0), (vec![bin], 1), (vec![bin; 4], 3)] {
        let mut out = Vec::new();
        let error = Encoder::new(false).record(&mut out, &head, bins).unwrap_err();
        assert_eq!(error, EncodeError::BinCount { declared: 2, found });
        assert!(out.is_empty());
    }
}

#[test]
fn a_refused_namespace_leaves_the_encoder_usable() {
    let good = plain_record(vec![]);
    let bad = super::OwnedRecord { namespace: vec![b'\\'; 600], ..good.clone() };
    let (mut out, mut encoder) = (Vec::new(), Encoder::new(false));
    for record in [&good, &bad, &good, &bad] {
        let _ = encoder.record(&mut out, &record.head(), record.bins());
    }
    assert_eq!(out, good.encode(false).unwrap().repeat(2));
}

#[test]
fn a_refused_bin_leaves_the_encoder_usable() {
    let good = plain_record(vec![(b"a", 1, &[1]), (b"b", 3, b"text")]);
    let long = [b' '; 500];
    let bad = [
        plain_record(vec![(b"a", 1, &[1]), (b"b", 16, b"vector")]),
        plain_record(vec![(b"a", 1, &[1]), (&long, 3, b"text")]),
        plain_record(vec![(b"a", 1, &[1]), (b"b", 1, b"not an integer")]),
    ];
    let (mut out, mut encoder) = (Vec::new(), Encoder::new(false));
    for bad in &bad {
        for record in [&good, bad, bad, &good] {
            let result = encoder.record(&mut out, &record.head(), record.bins());
            assert_eq!(result.is_ok(), record == &good);
        }
    }
    assert_eq!(out, good.encode(false).unwrap().repeat(6));
}

#[test]
fn indexes_and_functions_that_cannot_be_one_line() {
    let index = IndexDef {
        namespace: b"ns".to_vec(),
        set: Vec::new(),
        name: b"name".to_vec(),
        index_type: IndexType::Bin,
        bin: b"bin".to_vec(),
        data_type: DataType::Numeric,
        context: Some("abc=".into()),
        expression: None,
    };
    let bad = [
        IndexDef { expression: Some("abc=".into()), ..index.clone() },
        IndexDef { context: Some("a\nb".into()), ..index.clone() },
        IndexDef { context: Some(String::new()), ..index.clone() },
        IndexDef { name: vec![b'a'; 1000], ..index },
    ];
    let mut out = b"before".to_vec();
    for index in bad {
        assert!(Encoder::index(&mut out, &index).is_err());
    }
    assert!(Encoder::udf(&mut out, &UdfDef { name: vec![b'\n'; 500], content: Vec::new() }).is_err());
    assert_eq!(out, b"before");
}
