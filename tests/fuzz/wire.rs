//! What nodes answer to scans, writes and logins.

use holdfast::aerospike::untrusted;
use holdfast::aerospike::wire::{
    self, Entries, Entry, FRAME_BYTES_MAX, FRAME_HEADER_BYTES, FrameKind, MESSAGE_HEADER_BYTES,
    MessageHeader, info_bits,
};
use holdfast::asb::Encoder;

use crate::asb::records;
use crate::harness::{Target, about, said};
use crate::nodes::ask;

/// Bodies of the frames of a scan of the sandbox, and of each record by itself.
pub fn scan_frames() -> Vec<Vec<u8>> {
    let records = records();
    let all = ask(&records, false, async |talk| talk.scan().await);
    let mut frames: Vec<_> = all.into_iter().map(|(_, body)| body).collect();
    for few in records.chunks(7) {
        frames.extend(ask(few, false, async |talk| talk.scan().await).into_iter().map(|(_, body)| body));
    }
    frames
}

/// Reads a frame as a scan does, and writes what it holds as a backup does.
fn read_scan(frame: &[u8]) -> u64 {
    let mut encoder = Encoder::new(false);
    let mut text = Vec::new();
    let (mut records, mut written, mut others) = (0, 0, 0);
    let mut failed = "";
    for entry in Entries::new(frame) {
        match entry {
            Ok(Entry::Record(record)) => {
                records += 1;
                assert_eq!(record.bins().count(), usize::from(record.head().bin_count));
                text.clear();
                written += usize::from(encoder.record(&mut text, &record.head(), record.bins()).is_ok());
            }
            Ok(Entry::PartitionDone { pid, .. }) => {
                assert!(pid < 4096);
                others |= 1;
            }
            Ok(Entry::Last { .. }) => others |= 2,
            Err(error) => failed = error.what,
        }
    }
    assert!(records <= frame.len() / MESSAGE_HEADER_BYTES, "more records than headers");
    said((about(records), about(written), others, failed))
}

/// One record's text is held at a time: less than six bytes for one of its frame, in a vector that grows.
pub fn scan_frame(long: bool) {
    let corpus = scan_frames();
    let target = Target {
        name: "scan_frame",
        corpus,
        cases: 50_000,
        bytes_max: 64 << 10,
        held_fixed: 16 << 10,
        held_per_byte: 18,
    };
    target.run(long, read_scan);
}

/// The first eight bytes say how much follows; no length above the limit may come out.
pub fn frame_header(long: bool) {
    let corpus = [1_u8, 2, 3, 4].map(|kind| vec![2, kind, 0, 0, 0, 0, 1, 0]).into();
    let target = Target {
        name: "frame_header",
        corpus,
        cases: 100_000,
        bytes_max: 8,
        held_fixed: 0,
        held_per_byte: 0,
    };
    target.run(long, |input| {
        let mut header = [0; FRAME_HEADER_BYTES];
        header[..input.len()].copy_from_slice(input);
        let lengths =
            [FrameKind::Info, FrameKind::Security, FrameKind::Message, FrameKind::Compressed].map(|kind| {
                let length = wire::frame_length(header, kind, FRAME_BYTES_MAX);
                assert!(length.is_ok_and(|length| length <= FRAME_BYTES_MAX) || length.is_err());
                length.map_or_else(|error| (0, error.what), |length| (about(length), ""))
            });
        said(lengths)
    });
}

pub fn batch_answer(long: bool) {
    let corpus = records().chunks(9).map(|few| ask(&[], false, async |talk| talk.batch(few).await)).collect();
    let target = Target {
        name: "batch_answer",
        corpus,
        cases: 100_000,
        bytes_max: 16 << 10,
        held_fixed: 0,
        held_per_byte: 0,
    };
    target.run(long, |input| {
        let mut rows = 0;
        let end = untrusted::batch_answer(input, |_, _| rows += 1);
        assert!(rows <= input.len() / MESSAGE_HEADER_BYTES, "more rows than headers");
        let end = match end {
            Ok(result) => (result.is_some(), ""),
            Err(error) => (false, error.what),
        };
        said((about(rows), end))
    });
}

pub fn single_answer(long: bool) {
    let answer = |result, fields, body: &[u8]| {
        let mut bytes = Vec::new();
        MessageHeader { result, fields, info3: info_bits::LAST, ..MessageHeader::default() }
            .write(&mut bytes);
        bytes.extend_from_slice(body);
        bytes
    };
    let corpus = vec![answer(0, 0, b""), answer(5, 0, b""), answer(0, 2, b"\0\0\0\x02\x0bx\0\0\0\x01\0")];
    let target = Target {
        name: "single_answer",
        corpus,
        cases: 100_000,
        bytes_max: 4 << 10,
        held_fixed: 0,
        held_per_byte: 0,
    };
    target.run(long, |input| match wire::read_single_answer(input) {
        Ok(result) => said(result.0),
        Err(error) => said(error.what),
    });
}

pub fn login_answer(long: bool) {
    let answer = |fields: &[(u8, &[u8])]| {
        let mut body = vec![0; 16];
        body[3] = fields.len() as u8;
        for (id, data) in fields {
            wire::write_field(&mut body, *id, &[data]);
        }
        body
    };
    let corpus = vec![
        answer(&[]),
        answer(&[(5, b"a token of a session")]),
        answer(&[(5, &[7; 300]), (6, &86_400_u32.to_be_bytes())]),
        answer(&[(9, b"of a later server"), (6, &[0; 4]), (5, b"token")]),
    ];
    // A token is copied, and there may be one for every five bytes, the last of which counts.
    let target = Target {
        name: "login_answer",
        corpus,
        cases: 100_000,
        bytes_max: 4 << 10,
        held_fixed: 256,
        held_per_byte: 4,
    };
    target.run(long, |input| said(untrusted::login_answer(input)));
}

/// zlib makes 1032 bytes of one at most, and a claim beyond 1040 is refused: so much may be taken, never what is claimed.
pub fn compressed_frame(long: bool) {
    let records = records();
    let corpus: Vec<_> = [&records[..], &records[..5], &records[5..6], &[]]
        .into_iter()
        .flat_map(|few| ask(few, true, async |talk| talk.scan().await))
        .filter(|(compressed, _)| *compressed)
        .map(|(_, body)| body)
        .collect();
    assert!(!corpus.is_empty());
    let target = Target {
        name: "compressed_frame",
        corpus,
        cases: 20_000,
        bytes_max: 32 << 10,
        held_fixed: 64 << 10,
        held_per_byte: 1040 + 18,
    };
    target.run(long, |input| {
        let mut out = Vec::new();
        match untrusted::compressed_frame(input, &mut out) {
            Ok(body) => said((1, read_scan(body))),
            Err(error) => said(error.what),
        }
    });
}
