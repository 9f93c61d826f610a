//! Records: seven kinds of header lines in a fixed order, then the bins (asb.md 1.9, 1.10).

mod quick;

use std::io::Read;

use base64_simd::AsOut;

use super::error::DecodeError;
use super::text::{Span, Text, Until};
use crate::asb::number::parse_float;
use crate::asb::particle;
use crate::asb::types::{Bin, Particle, RecordHead};

/// Longest spelling of a float, in bytes; Go writes keys with up to 326.
const FLOAT_BYTES_MAX: usize = 999;
/// 20 bytes in base64.
const DIGEST_TEXT_BYTES: usize = 28;

const BIN_TYPE: &str = "a bin type, one of NZIDSXGBJCPRHEYML";
const KEY_TYPE: &str = "a key type, one of IDSXB";
const LINE_END: &str = "a line feed behind the value";

/// Where the parts of the current record are.
#[derive(Debug, Default)]
pub(super) struct Layout {
    namespace: Span,
    set: Span,
    digest: [u8; 20],
    key: Option<Value>,
    generation: u16,
    void_time: u32,
    bins: Vec<Slot>,
}

#[derive(Debug, Clone, Copy)]
struct Value {
    kind: u8,
    span: Span,
}

#[derive(Debug, Clone, Copy)]
struct Slot {
    name: Span,
    value: Value,
}

/// A record, as views into the decoder. Values are in wire form, ready to write: integers and floats are 8 bytes
/// big-endian, geo values have an empty header, the rest is verbatim (asb.md 2.2).
#[derive(Debug, Clone, Copy)]
pub struct Record<'a> {
    layout: &'a Layout,
    item: &'a [u8],
    scratch: &'a [u8],
}

impl<'a> Record<'a> {
    pub(super) fn new(layout: &'a Layout, item: &'a [u8], scratch: &'a [u8]) -> Self {
        Self { layout, item, scratch }
    }

    /// Everything but the bins.
    #[inline]
    pub fn head(&self) -> RecordHead<'a> {
        RecordHead {
            namespace: self.bytes(self.layout.namespace),
            set: self.bytes(self.layout.set),
            digest: &self.layout.digest,
            key: self.layout.key.map(|key| self.particle(key)),
            generation: self.layout.generation,
            void_time: self.layout.void_time,
            // counted from a line that holds at most 65535
            bin_count: self.layout.bins.len() as u16,
        }
    }

    /// The bins in file order; a name may come twice (asb.md 1.10).
    #[inline]
    pub fn bins(&self) -> impl Iterator<Item = Bin<'a>> + Clone + use<'a> {
        let record = *self;
        record
            .layout
            .bins
            .iter()
            .map(move |slot| Bin { name: record.bytes(slot.name), particle: record.particle(slot.value) })
    }

    #[inline]
    fn bytes(&self, span: Span) -> &'a [u8] {
        span.of(self.item, self.scratch)
    }

    #[inline]
    fn particle(&self, value: Value) -> Particle<'a> {
        Particle { kind: value.kind, bytes: self.bytes(value.span) }
    }
}

impl<R: Read> Text<R> {
    /// Reads the record that starts here.
    pub(super) fn record(&mut self, layout: &mut Layout) -> Result<(), DecodeError> {
        let (text, scratch) = self.in_sight();
        let length = quick::record(text, scratch, layout);
        self.seen(length);
        if length.is_some() { Ok(()) } else { self.careful_record(layout) }
    }

    fn careful_record(&mut self, layout: &mut Layout) -> Result<(), DecodeError> {
        layout.bins.clear();
        layout.key = None;
        layout.set = Span::default();
        self.expect(b"+ ", "`+ k` or `+ n`")?;
        if self.accept(b'k')? {
            layout.key = Some(self.key()?);
            self.expect(b"+ ", "`+ n`, the namespace of the record")?;
        }
        self.expect(b"n ", "`+ n`, the namespace of the record")?;
        layout.namespace = self.name(Until::Line, "namespace of the record")?;
        self.expect(b"\n+ d ", "`+ d`, the digest of the record")?;
        layout.digest = self.digest()?;
        self.expect(b"\n+ ", "`+ s` or `+ g`")?;
        if self.accept(b's')? {
            self.expect_byte(b' ', "a space and the set of the record")?;
            layout.set = self.name(Until::Line, "set of the record")?;
            self.expect(b"\n+ ", "`+ g`, the generation of the record")?;
        }
        self.expect(b"g ", "`+ g`, the generation of the record")?;
        layout.generation = self.unsigned(u32::from(u16::MAX), "a generation from 0 to 65535")? as u16;
        self.expect(b"\n+ t ", "`+ t`, the void time of the record")?;
        layout.void_time =
            self.unsigned(u32::MAX, "a void time in seconds since 2010, from 0 to 4294967295")?;
        self.expect(b"\n+ b ", "`+ b`, the number of bins")?;
        let count = self.unsigned(u32::from(u16::MAX), "a number of bins from 0 to 65535")?;
        self.expect_byte(b'\n', "a line feed behind the number of bins")?;
        for _ in 0..count {
            let slot = self.bin()?;
            layout.bins.push(slot);
        }
        Ok(())
    }

    fn digest(&mut self) -> Result<[u8; 20], DecodeError> {
        const EXPECTED: &str = "a digest of 20 bytes in base64";
        let at = self.read();
        let span = self.take(DIGEST_TEXT_BYTES, EXPECTED)?;
        let mut bytes = [0u8; DIGEST_TEXT_BYTES / 4 * 3];
        let decoded = base64_simd::STANDARD.decode(self.bytes(span), bytes.as_mut_slice().as_out());
        let digest = decoded.ok().and_then(|decoded| <[u8; 20]>::try_from(&*decoded).ok());
        digest.ok_or_else(|| {
            self.back_to(at);
            self.unexpected(EXPECTED, None)
        })
    }

    /// The rest of `+ k`, behind the `k`.
    fn key(&mut self) -> Result<Value, DecodeError> {
        self.expect_byte(b' ', KEY_TYPE)?;
        let letter = self.byte(KEY_TYPE)?;
        if !b"IDSXB".contains(&letter) {
            self.back_to(self.read() - 1);
            return Err(self.unexpected(KEY_TYPE, Some(letter)));
        }
        let raw = self.accept(b'!')?;
        self.expect_byte(b' ', "a space and the key")?;
        self.value(letter, raw, KEY_TYPE)
    }

    fn bin(&mut self) -> Result<Slot, DecodeError> {
        self.expect(b"- ", "a bin (`- `)")?;
        let letter = self.byte(BIN_TYPE)?;
        if !is_bin_letter(letter) {
            self.back_to(self.read() - 1);
            let expected = match letter {
                b'U' => "a bin type other than U: large data types are no longer supported by servers",
                _ => BIN_TYPE,
            };
            return Err(self.unexpected(expected, Some(letter)));
        }
        // readers take a `!` behind any letter, it only means something for bytes (asb.md 1.10)
        let raw = self.accept(b'!')?;
        self.expect_byte(b' ', "a space and the name of the bin")?;
        let name = self.name(Until::Word, "name of the bin")?;
        if letter == b'N' {
            self.expect_byte(b'\n', "a line feed behind the name of a null bin")?;
            return Ok(Slot { name, value: Value { kind: particle::NULL, span: Span::default() } });
        }
        self.expect_byte(b' ', "a space and the value of the bin")?;
        Ok(Slot { name, value: self.value(letter, raw, BIN_TYPE)? })
    }

    /// A value and the line feed behind it.
    fn value(&mut self, letter: u8, raw: bool, types: &'static str) -> Result<Value, DecodeError> {
        let (kind, span) = match letter {
            b'I' => {
                let value = self.integer("an integer of 64 bits")?;
                (particle::INTEGER, self.keep(&value.to_be_bytes()))
            }
            b'D' => (particle::FLOAT, self.float()?),
            b'Z' => (particle::BOOL, self.boolean()?),
            b'S' => (particle::STRING, self.sized()?),
            b'X' => (particle::STRING, self.base64()?),
            b'G' => {
                let text = self.sized()?;
                (particle::GEOJSON, self.keep_with(&particle::GEOJSON_NO_CELLS, text))
            }
            _ => {
                let kind = particle::bytes_kind(letter).ok_or_else(|| self.unexpected(types, None))?;
                (kind, if raw { self.sized()? } else { self.base64()? })
            }
        };
        self.expect_byte(b'\n', LINE_END)?;
        Ok(Value { kind, span })
    }

    fn float(&mut self) -> Result<Span, DecodeError> {
        let at = self.read();
        let (span, _) = self.raw_token(Until::Word, FLOAT_BYTES_MAX, "float")?;
        if let Some(value) = parse_float(self.bytes(span)) {
            return Ok(self.keep(&value.to_be_bytes()));
        }
        self.back_to(at);
        Err(self.unexpected("a float of 64 bits", None))
    }

    fn boolean(&mut self) -> Result<Span, DecodeError> {
        const EXPECTED: &str = "a boolean, T or F";
        match self.byte(EXPECTED)? {
            b'T' => Ok(self.keep(&[1])),
            b'F' => Ok(self.keep(&[0])),
            found => {
                self.back_to(self.read() - 1);
                Err(self.unexpected(EXPECTED, Some(found)))
            }
        }
    }

    /// A length, a space, and as many bytes.
    fn sized(&mut self) -> Result<Span, DecodeError> {
        let length = self.unsigned(u32::MAX, "the length of the value")?;
        self.expect_byte(b' ', "a space between length and value")?;
        self.take(length as usize, "as many bytes as the length of the value says")
    }

    fn base64(&mut self) -> Result<Span, DecodeError> {
        let text = self.sized()?;
        let end = self.read();
        self.keep_base64(text).ok_or_else(|| {
            self.back_to(end - text.length());
            self.unexpected("a value in base64", None)
        })
    }
}

fn is_bin_letter(letter: u8) -> bool {
    matches!(letter, b'N' | b'Z' | b'I' | b'D' | b'S' | b'X' | b'G') || particle::bytes_kind(letter).is_some()
}
