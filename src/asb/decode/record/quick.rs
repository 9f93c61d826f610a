//! The way that nearly every record goes: all of it is in sight, and nothing of it is rare. Nothing is refilled here and
//! nothing refused: what is not as expected is left to the careful reader, which knows how to say what is wrong.

use base64_simd::AsOut;

use super::{DIGEST_TEXT_BYTES, FLOAT_BYTES_MAX, Layout, Slot, Value};
use crate::asb::decode::text::{Home, Span, small_integer};
use crate::asb::escape::NAME_BYTES_MAX;
use crate::asb::number::parse_float;
use crate::asb::particle;

/// Reads the record that `text` begins with, and gives its length; none if the careful reader has to look at it. What
/// `layout` and `scratch` hold then means nothing.
pub(in crate::asb::decode) fn record(
    text: &[u8],
    scratch: &mut Vec<u8>,
    layout: &mut Layout,
) -> Option<usize> {
    let mut sight = Sight { text, rest: text, scratch };
    layout.key = None;
    if sight.literal(b"+ k ").is_some() {
        layout.key = Some(sight.key()?);
    }
    sight.literal(b"+ n ")?;
    layout.namespace = sight.name()?;
    sight.literal(b"\n+ d ")?;
    layout.digest = sight.digest()?;
    layout.set = Span::default();
    if sight.literal(b"\n+ s ").is_some() {
        layout.set = sight.name()?;
    }
    sight.literal(b"\n+ g ")?;
    layout.generation = sight.number()?;
    sight.literal(b"\n+ t ")?;
    layout.void_time = sight.number()?;
    sight.literal(b"\n+ b ")?;
    let count: u16 = sight.number()?;
    sight.literal(b"\n")?;
    layout.bins.clear();
    for _ in 0..count {
        layout.bins.push(sight.bin()?);
    }
    Some(text.len() - sight.rest.len())
}

/// What is in sight of the text.
struct Sight<'t, 's> {
    text: &'t [u8],
    rest: &'t [u8],
    scratch: &'s mut Vec<u8>,
}

impl Sight<'_, '_> {
    #[inline]
    fn literal<const N: usize>(&mut self, wanted: &[u8; N]) -> Option<()> {
        let (found, rest) = self.rest.split_first_chunk::<N>()?;
        (found == wanted).then(|| self.rest = rest)
    }

    /// The next bytes.
    #[inline]
    fn take(&mut self, length: usize) -> Option<Span> {
        let at = (self.text.len() - self.rest.len()) as u32;
        self.rest = self.rest.get(length..)?;
        Some(Span { home: Home::Item, at, length: length as u32 })
    }

    /// A name without escapes, up to a space or a line feed.
    #[inline]
    fn name(&mut self) -> Option<Span> {
        let length = self.rest.iter().position(|byte| matches!(byte, b' ' | b'\n' | b'\\'))?;
        if length > NAME_BYTES_MAX || self.rest.get(length) == Some(&b'\\') {
            return None;
        }
        self.take(length)
    }

    #[inline]
    fn integer(&mut self) -> Option<i64> {
        let (value, length) = small_integer(self.rest)?;
        self.rest = self.rest.get(length..)?;
        Some(value)
    }

    /// A number without a sign.
    #[inline]
    fn number<N: TryFrom<i64>>(&mut self) -> Option<N> {
        if self.rest.first() == Some(&b'-') {
            return None;
        }
        N::try_from(self.integer()?).ok()
    }

    #[inline]
    fn digest(&mut self) -> Option<[u8; 20]> {
        let (text, rest) = self.rest.split_first_chunk::<DIGEST_TEXT_BYTES>()?;
        let mut bytes = [0; DIGEST_TEXT_BYTES / 4 * 3];
        let decoded = base64_simd::STANDARD.decode(text, bytes.as_mut_slice().as_out()).ok()?;
        self.rest = rest;
        <[u8; 20]>::try_from(&*decoded).ok()
    }

    /// The key behind `+ k `.
    fn key(&mut self) -> Option<Value> {
        let (letter, raw) = self.letter()?;
        if !b"IDSXB".contains(&letter) {
            return None;
        }
        self.literal(b" ")?;
        self.value(letter, raw)
    }

    #[inline]
    fn bin(&mut self) -> Option<Slot> {
        self.literal(b"- ")?;
        let (letter, raw) = self.letter()?;
        self.literal(b" ")?;
        let name = self.name()?;
        if letter == b'N' {
            self.literal(b"\n")?;
            return Some(Slot { name, value: Value { kind: particle::NULL, span: Span::default() } });
        }
        self.literal(b" ")?;
        Some(Slot { name, value: self.value(letter, raw)? })
    }

    /// A type, and whether a `!` stands behind it.
    #[inline]
    fn letter(&mut self) -> Option<(u8, bool)> {
        let (letter, rest) = self.rest.split_first()?;
        self.rest = rest;
        Some((*letter, self.literal(b"!").is_some()))
    }

    /// A value and the line feed behind it.
    #[inline]
    fn value(&mut self, letter: u8, raw: bool) -> Option<Value> {
        let (kind, span) = match letter {
            b'I' => {
                let value = self.integer()?;
                (particle::INTEGER, self.keep(&value.to_be_bytes()))
            }
            b'D' => {
                let length = self.rest.iter().position(|byte| *byte == b'\n')?;
                let text = self.take(length.min(FLOAT_BYTES_MAX))?.of(self.text, &[]);
                (particle::FLOAT, self.keep(&parse_float(text)?.to_be_bytes()))
            }
            b'Z' if self.literal(b"T").is_some() => (particle::BOOL, self.keep(&[1])),
            b'Z' if self.literal(b"F").is_some() => (particle::BOOL, self.keep(&[0])),
            b'S' => (particle::STRING, self.sized()?),
            b'X' => (particle::STRING, self.base64()?),
            b'G' => {
                let text = self.sized()?.of(self.text, &[]);
                let at = self.scratch.len();
                self.scratch.extend_from_slice(&particle::GEOJSON_NO_CELLS);
                self.scratch.extend_from_slice(text);
                (particle::GEOJSON, self.kept_from(at))
            }
            _ => (particle::bytes_kind(letter)?, if raw { self.sized()? } else { self.base64()? }),
        };
        self.literal(b"\n")?;
        Some(Value { kind, span })
    }

    /// A length, a space, and as many bytes.
    #[inline]
    fn sized(&mut self) -> Option<Span> {
        let length: u32 = self.number()?;
        self.literal(b" ")?;
        self.take(length as usize)
    }

    #[inline]
    fn base64(&mut self) -> Option<Span> {
        let text = self.sized()?.of(self.text, &[]);
        let at = self.scratch.len();
        base64_simd::STANDARD.decode_append(text, self.scratch).ok()?;
        Some(self.kept_from(at))
    }

    /// Puts bytes into the side buffer.
    #[inline]
    fn keep(&mut self, bytes: &[u8]) -> Span {
        let at = self.scratch.len();
        self.scratch.extend_from_slice(bytes);
        self.kept_from(at)
    }

    #[inline]
    fn kept_from(&self, at: usize) -> Span {
        Span { home: Home::Scratch, at: at as u32, length: (self.scratch.len() - at) as u32 }
    }
}

#[cfg(test)]
mod tests {
    use super::{Layout, record};
    use crate::asb::decode::text::Span;

    const HEAD: &str = "+ n test\n+ d 7JEZLUt/jONdXXjTS8ply6qqyWA=\n";

    /// How long the record is that is read here, if it is.
    fn length(text: &str) -> Option<usize> {
        record(text.as_bytes(), &mut Vec::new(), &mut Layout::default())
    }

    #[test]
    fn what_is_ordinary_is_read_here_and_what_is_cut_is_not() {
        let bins = "- I i -12\n- D d 1.5\n- D d -nan\n- Z t T\n- Z f F\n- N n\n- S s 3 a\nb\n- X x 4 YWJj\n\
                    - G g 2 {}\n- B b 4 AAEC\n- B! b 3 abc\n- M m 0 \n- L l 4 kQE=\n";
        for head in ["", "+ k I 7\n", "+ k S 2 ab\n", "+ k B 4 AAEC\n", "+ k D 0.5\n"] {
            for set in ["", "+ s set\n"] {
                let text = format!("{head}{HEAD}{set}+ g 65535\n+ t 4294967295\n+ b 13\n{bins}");
                assert_eq!(length(&format!("{text}+ n next")), Some(text.len()), "{text}");
                for cut in 0..text.len() {
                    assert_eq!(length(&text[..cut]), None, "{cut} of {text}");
                }
            }
        }
    }

    #[test]
    fn what_is_rare_is_left_to_the_careful_reader() {
        let with = |bin: &str| format!("{HEAD}+ g 1\n+ t 0\n+ b 1\n{bin}");
        assert!(length(&with("- I a 1\n")).is_some());
        for bin in [
            "- I a\\ b 1\n",
            "- I a 1234567890123456789\n",
            "- I a 1 \n",
            "- S a -0 \n",
            "- D a 1.5 \n",
            "- U a 1 a\n",
            "- B a 4 AAB=\n",
        ] {
            assert_eq!(length(&with(bin)), None, "{bin}");
        }
        assert_eq!(length(&with("- I a 1\n").replace("+ n test", "+ n a test")), None);
    }

    /// What a record before it left there means nothing.
    #[test]
    fn the_next_record_has_nothing_of_the_last_one() {
        let (mut scratch, mut layout) = (Vec::new(), Layout::default());
        let rich = format!("+ k I 7\n{HEAD}+ s set\n+ g 1\n+ t 0\n+ b 1\n- I a 1\n");
        let bare = format!("{HEAD}+ g 1\n+ t 0\n+ b 0\n");
        record(rich.as_bytes(), &mut scratch, &mut layout).unwrap();
        record(bare.as_bytes(), &mut scratch, &mut layout).unwrap();
        assert!(layout.key.is_none() && layout.bins.is_empty());
        assert_eq!(layout.set, Span::default());
    }
}
