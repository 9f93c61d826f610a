//! zstd around the text (asb.md 3.2): one frame when written, any mix of frames when read.
#![allow(clippy::indexing_slicing)] // positions in the input buffer come from zstd's own count of what it consumed

use std::io::{self, Read};

use zstd::stream::raw::{
    CParameter, DParameter, Decoder as RawDecoder, Encoder as RawEncoder, InBuffer, Operation, OutBuffer,
};
use zstd::zstd_safe::CCtx;

/// Level when nothing else is asked for, as in both official tools.
pub const DEFAULT_LEVEL: i32 = 3;
/// Windows up to 128 MiB, the default bound of libzstd and so of asrestore.
const WINDOW_LOG_MAX: u32 = 27;
/// Stored bytes that are read at once.
const INPUT_BYTES: usize = 128 << 10;
/// Compressing goes on in steps of at least this much room.
const OUTPUT_ROOM_BYTES: usize = 16 << 10;

/// What a stored file looks like from its first bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StoredForm {
    /// The text itself.
    Plain,
    /// zstd frames.
    Zstd,
    /// Neither: encrypted, damaged, or no backup file.
    Unknown,
}

impl StoredForm {
    /// Looks at the first bytes of a file, of which it needs 8 (asb.md 3.1).
    pub fn detect(first: &[u8]) -> Self {
        match first {
            [b'V', b'e', b'r', b's', b'i', b'o', b'n', b' ', ..] => Self::Plain,
            // a frame, or a skippable frame in front of one
            [0x28, 0xB5, 0x2F, 0xFD, ..] | [0x50..=0x5F, 0x2A, 0x4D, 0x18, ..] => Self::Zstd,
            _ => Self::Unknown,
        }
    }
}

/// Compresses a file into one frame with a checksum.
pub struct Compressor {
    encoder: RawEncoder<'static>,
}

impl std::fmt::Debug for Compressor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Compressor").finish_non_exhaustive()
    }
}

impl Compressor {
    /// `level` is zstd's own, 1 to 22 (0 means 3, negative is faster); beyond its bounds the nearest one is taken. No
    /// level has a window above 128 MiB.
    pub fn new(level: i32) -> io::Result<Self> {
        let mut encoder = RawEncoder::new(level)?;
        encoder.set_parameter(CParameter::ChecksumFlag(true))?;
        Ok(Self { encoder })
    }

    /// Takes text in, appends what is ready to `out`.
    pub fn push(&mut self, text: &[u8], out: &mut Vec<u8>) -> io::Result<()> {
        let mut input = InBuffer::around(text);
        while input.pos() < text.len() {
            append(out, |output| self.encoder.run(&mut input, output))?;
        }
        Ok(())
    }

    /// Appends the end of the frame. Without any text before, the frame is empty.
    pub fn finish(mut self, out: &mut Vec<u8>) -> io::Result<()> {
        while append(out, |output| self.encoder.finish(output, true))? > 0 {}
        Ok(())
    }
}

/// Runs one step of zstd into the room behind `out`.
fn append<T>(
    out: &mut Vec<u8>,
    step: impl FnOnce(&mut OutBuffer<'_, Vec<u8>>) -> io::Result<T>,
) -> io::Result<T> {
    let length = out.len();
    if out.capacity() - length < OUTPUT_ROOM_BYTES {
        out.reserve(CCtx::out_size());
    }
    step(&mut OutBuffer::around_pos(out, length))
}

/// Reads the text out of any number of frames, with or without checksum, empty and skippable ones too. Anything else
/// behind a frame, a frame cut short and a window above 128 MiB are errors. No bytes at all are an empty text.
pub struct Decompressor<R: Read> {
    reader: R,
    decoder: RawDecoder<'static>,
    input: Vec<u8>,
    pos: usize,
    end: usize,
    ended: bool,
    in_frame: bool,
    consumed: u64,
}

impl<R: Read> std::fmt::Debug for Decompressor<R> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Decompressor").field("consumed", &self.consumed).finish_non_exhaustive()
    }
}

impl<R: Read> Decompressor<R> {
    /// Wraps the stored bytes.
    pub fn new(reader: R) -> io::Result<Self> {
        let mut decoder = RawDecoder::new()?;
        decoder.set_parameter(DParameter::WindowLogMax(WINDOW_LOG_MAX))?;
        let input = vec![0; INPUT_BYTES];
        Ok(Self { reader, decoder, input, pos: 0, end: 0, ended: false, in_frame: false, consumed: 0 })
    }

    fn refill(&mut self) -> io::Result<()> {
        (self.pos, self.end) = (0, 0);
        loop {
            match self.reader.read(&mut self.input) {
                Ok(count) => {
                    self.end = count.min(self.input.len());
                    self.ended = count == 0;
                    return Ok(());
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// One step of zstd: how many bytes came out, and whether anything moved.
    fn step(&mut self, out: &mut [u8]) -> io::Result<(usize, bool)> {
        let mut input = InBuffer::around(&self.input[self.pos..self.end]);
        let mut output = OutBuffer::around(out);
        let hint = self.decoder.run(&mut input, &mut output).map_err(|error| {
            let message = format!("zstd data is damaged behind stored byte {}: {error}", self.consumed);
            io::Error::new(io::ErrorKind::InvalidData, message)
        })?;
        let (taken, produced) = (input.pos(), output.pos());
        self.pos += taken;
        self.consumed += taken as u64;
        // zstd says 0 exactly when a frame is over and all of it was handed out
        self.in_frame = hint != 0;
        Ok((produced, taken > 0 || produced > 0 || hint == 0))
    }
}

impl<R: Read> Read for Decompressor<R> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        if out.is_empty() {
            return Ok(0);
        }
        loop {
            if self.pos == self.end && !self.ended {
                self.refill()?;
            }
            let has_input = self.pos < self.end;
            if !has_input && !self.in_frame {
                return Ok(0);
            }
            let (produced, moved) = self.step(out)?;
            if produced > 0 {
                return Ok(produced);
            }
            if !has_input && !moved {
                let message = format!("zstd data is cut short at stored byte {}", self.consumed);
                return Err(io::Error::new(io::ErrorKind::UnexpectedEof, message));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::{self, Read};

    use proptest::prelude::*;

    use super::{Compressor, DEFAULT_LEVEL, Decompressor, StoredForm};
    use crate::asb::tests::Chunked;

    fn frame(text: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        let mut compressor = Compressor::new(DEFAULT_LEVEL).unwrap();
        for part in text.chunks(70_000) {
            compressor.push(part, &mut out).unwrap();
        }
        compressor.finish(&mut out).unwrap();
        out
    }

    fn read(stored: &[u8], chunk: usize) -> io::Result<Vec<u8>> {
        let mut text = Vec::new();
        Decompressor::new(Chunked::new(stored, chunk))?.read_to_end(&mut text)?;
        Ok(text)
    }

    fn sample(length: usize) -> Vec<u8> {
        (0..length).map(|at| (at * at / 7 % 251) as u8).collect()
    }

    #[test]
    fn form_is_told_by_the_magic() {
        assert_eq!(StoredForm::detect(b"Version 3.1\n"), StoredForm::Plain);
        assert_eq!(StoredForm::detect(&frame(b"x")), StoredForm::Zstd);
        assert_eq!(StoredForm::detect(&[0x53, 0x2A, 0x4D, 0x18, 0, 0, 0, 0]), StoredForm::Zstd);
        assert_eq!(StoredForm::detect(b"Versio"), StoredForm::Unknown);
        assert_eq!(StoredForm::detect(b""), StoredForm::Unknown);
    }

    #[test]
    fn one_frame_with_a_checksum() {
        let stored = frame(&sample(300_000));
        // frame header descriptor: bit 2 is the checksum flag (RFC 8878, 3.1.1.1.1)
        assert_eq!(stored[4] & 4, 4);
        assert_eq!(zstd::zstd_safe::find_frame_compressed_size(&stored).unwrap(), stored.len());
    }

    #[test]
    fn appends_behind_what_is_there() {
        let mut out = b"front".to_vec();
        let mut compressor = Compressor::new(1).unwrap();
        compressor.push(b"text", &mut out).unwrap();
        compressor.finish(&mut out).unwrap();
        assert_eq!(&out[..5], b"front");
        assert_eq!(read(&out[5..], 64).unwrap(), b"text");
    }

    #[test]
    fn several_empty_and_skippable_frames_are_one_text() {
        let (one, two) = (sample(200_000), sample(31));
        let no_checksum = zstd::bulk::compress(b"without checksum", 1).unwrap();
        let skippable = [&[0x5A, 0x2A, 0x4D, 0x18, 3, 0, 0, 0][..], b"abc"].concat();
        let stored =
            [frame(b""), frame(&one), skippable.clone(), frame(b""), no_checksum, frame(&two), skippable]
                .concat();
        let expected = [&one[..], b"without checksum", &two].concat();
        for chunk in [1, 7, 1 << 20] {
            assert!(read(&stored, chunk).unwrap() == expected, "chunk {chunk}");
        }
        assert_eq!(read(b"", 1).unwrap(), b"");
    }

    #[test]
    fn every_cut_is_an_error() {
        let stored = frame(&sample(500));
        for length in 1..stored.len() {
            let error = read(&stored[..length], 64).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof, "{length}");
        }
        // the second frame too
        let two = [stored.clone(), stored.clone()].concat();
        assert!(read(&two[..two.len() - 1], 64).is_err());
        assert!(read(&two[..=stored.len()], 64).is_err());
    }

    #[test]
    fn garbage_behind_a_frame_is_an_error() {
        let stored = frame(b"text");
        for garbage in [&b"x"[..], b"\0", b"Version 3.1\n", b"\0\0\0\0\0\0\0\0", &[0x28, 0xB5, 0x2F]] {
            assert!(read(&[&stored, garbage].concat(), 64).is_err(), "{garbage:?}");
        }
    }

    #[test]
    fn a_damaged_frame_fails_its_checksum() {
        let mut stored = frame(&sample(5_000));
        let last = stored.len() - 1;
        stored[last] ^= 1;
        assert_eq!(read(&stored, 4096).unwrap_err().kind(), io::ErrorKind::InvalidData);
    }

    #[test]
    fn a_window_above_128_mib_is_refused() {
        // a frame header by hand: magic, no single segment, window descriptor; exponent 18 is 2^28, 17 is 2^27
        let with_window = |exponent: u8| {
            let stored = [&[0x28, 0xB5, 0x2F, 0xFD, 0x00, exponent << 3][..], &[0x01, 0x00, 0x00]].concat();
            read(&stored, 64)
        };
        assert_eq!(with_window(17).unwrap(), b"");
        assert!(with_window(18).is_err());
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn text_comes_back(text in proptest::collection::vec(any::<u8>(), 0..20_000), chunk in 1usize..3000, level in -3..9) {
            let mut stored = Vec::new();
            let mut compressor = Compressor::new(level).unwrap();
            for part in text.chunks(chunk) {
                compressor.push(part, &mut stored).unwrap();
            }
            compressor.finish(&mut stored).unwrap();
            prop_assert_eq!(read(&stored, chunk).unwrap(), text);
        }

        #[test]
        fn damaged_bytes_never_panic(at in any::<prop::sample::Index>(), byte in any::<u8>(), chunk in 1usize..200) {
            let mut stored = frame(&sample(3_000));
            *at.get_mut(&mut stored[..]) = byte;
            let _ = read(&stored, chunk);
        }
    }
}
