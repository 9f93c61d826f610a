//! Frames that a node has compressed (wire.md 5): eight bytes of size, then a whole frame in zlib's format.

use flate2::{Decompress, FlushDecompress, Status};

use super::wire::{FRAME_BYTES_MAX, FRAME_HEADER_BYTES, FrameKind, Malformed, frame_length};

const SIZE_BYTES: usize = 8;
/// zlib makes at most so many bytes of one (its own limit is 1032): a size beyond that is a lie.
const RATIO_MAX: usize = 1_040;

const MALFORMED: Malformed = Malformed { what: "compressed frame" };

/// Unpacks the body of a compressed frame into `out`, which it clears first: a whole frame, header and body. Gives its
/// body.
pub(super) fn inflate<'o>(packed: &[u8], out: &'o mut Vec<u8>) -> Result<&'o [u8], Malformed> {
    let (size, packed) = packed.split_first_chunk::<SIZE_BYTES>().ok_or(MALFORMED)?;
    let size = usize::try_from(u64::from_be_bytes(*size)).map_err(|_| MALFORMED)?;
    let most = (FRAME_BYTES_MAX + FRAME_HEADER_BYTES).min(packed.len().saturating_mul(RATIO_MAX));
    if size < FRAME_HEADER_BYTES || size > most {
        return Err(MALFORMED);
    }
    out.clear();
    out.reserve_exact(size);
    let mut zlib = Decompress::new(true);
    match zlib.decompress_vec(packed, out, FlushDecompress::Finish) {
        Ok(Status::StreamEnd) if out.len() == size && zlib.total_in() == packed.len() as u64 => {}
        _ => return Err(MALFORMED),
    }
    let (header, body) = out.split_first_chunk::<FRAME_HEADER_BYTES>().ok_or(MALFORMED)?;
    if frame_length(*header, FrameKind::Message, FRAME_BYTES_MAX)? != body.len() {
        return Err(MALFORMED);
    }
    Ok(body)
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::inflate;

    fn packed(frame: &[u8], size: u64) -> Vec<u8> {
        let mut zlib =
            flate2::write::ZlibEncoder::new(size.to_be_bytes().to_vec(), flate2::Compression::fast());
        zlib.write_all(frame).unwrap();
        zlib.finish().unwrap()
    }

    #[test]
    fn a_frame_comes_out_as_it_went_in() {
        let body = vec![7; 100_000];
        let frame = [&[2, 3, 0, 0, 0, 1, 0x86, 0xA0][..], &body].concat();
        let mut out = vec![1; 5];
        assert_eq!(inflate(&packed(&frame, 100_008), &mut out).unwrap(), body);
    }

    #[test]
    fn what_is_not_what_it_claims_is_malformed() {
        let frame = [2, 3, 0, 0, 0, 0, 0, 3, 9, 9, 9];
        let good = packed(&frame, 11);
        let mut out = Vec::new();
        assert_eq!(inflate(&good, &mut out).unwrap(), [9, 9, 9]);
        for size in [0, 7, 10, 12, 1 << 20, u64::MAX] {
            assert!(inflate(&packed(&frame, size), &mut out).is_err(), "{size}");
        }
        for length in 0..good.len() {
            assert!(inflate(&good[..length], &mut out).is_err(), "cut after {length}");
        }
        assert!(inflate(&[&good[..], &[0]].concat(), &mut out).is_err(), "bytes behind it");
        // Not a frame of messages, or one of another length.
        for (at, byte) in [(0, 1), (1, 1), (1, 4), (7, 4)] {
            let mut other = frame;
            other[at] = byte;
            assert!(inflate(&packed(&other, 11), &mut out).is_err());
        }
    }
}
