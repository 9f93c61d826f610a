//! The buffered text: bytes, literals, names and numbers, refilled as they are asked for.
#![allow(clippy::indexing_slicing)] // `start <= pos <= end <= buffer.len()` holds throughout, spans lie in the item

use std::io::{ErrorKind, Read};

use super::error::{DecodeError, Position};
use crate::asb::escape::{NAME_BYTES_MAX, push_unescaped};

/// The buffer, while no item needs more: it stays in a processor's own cache.
const BUFFER_BYTES: usize = 256 << 10;
/// A buffer above this goes back to the ordinary size as soon as its item is done.
const BUFFER_KEPT_BYTES: usize = 8 << 20;
/// Bounds of the cap on one item: a few names must fit, and spans are 32 bits.
const ITEM_BYTES: std::ops::RangeInclusive<usize> = 4 << 10..=1 << 30;

/// Where the bytes of a span are.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum Home {
    /// In the text of the item.
    #[default]
    Item,
    /// In the side buffer: bytes that do not stand in the text as they are.
    Scratch,
}

/// Bytes of the current item; valid until the next one begins.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Span {
    pub(super) home: Home,
    pub(super) at: u32,
    pub(super) length: u32,
}

impl Span {
    pub(super) fn length(self) -> usize {
        self.length as usize
    }

    /// The bytes, given both homes.
    #[inline]
    pub(super) fn of<'a>(self, item: &'a [u8], scratch: &'a [u8]) -> &'a [u8] {
        let home = match self.home {
            Home::Item => item,
            Home::Scratch => scratch,
        };
        &home[self.at as usize..][..self.length as usize]
    }
}

/// What ends a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Until {
    /// A space or a line feed.
    Word,
    /// A line feed; spaces need no escape there, as Go reads it (asb.md 1.6).
    Line,
}

/// The text with a window on it.
pub(super) struct Text<R> {
    reader: R,
    buffer: Vec<u8>,
    /// Where the current item starts; what is before may be dropped.
    start: usize,
    /// The next byte.
    pos: usize,
    /// End of what was read.
    end: usize,
    ended: bool,
    /// Bytes and line feeds that were dropped from the front.
    dropped: u64,
    dropped_lines: u64,
    scratch: Vec<u8>,
    /// Whether a backslash escapes: not in version 3.0.
    pub(super) escapes: bool,
    item_bytes_max: usize,
}

impl<R> std::fmt::Debug for Text<R> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Text").field("offset", &(self.dropped + self.pos as u64)).finish_non_exhaustive()
    }
}

impl<R: Read> Text<R> {
    pub(super) fn new(reader: R, item_bytes_max: usize) -> Self {
        let item_bytes_max = item_bytes_max.clamp(*ITEM_BYTES.start(), *ITEM_BYTES.end());
        Self {
            reader,
            buffer: vec![0; BUFFER_BYTES.min(item_bytes_max)],
            start: 0,
            pos: 0,
            end: 0,
            ended: false,
            dropped: 0,
            dropped_lines: 0,
            scratch: Vec::new(),
            escapes: true,
            item_bytes_max,
        }
    }

    /// Lets go of the last item; the next one starts here.
    pub(super) fn begin_item(&mut self) {
        self.start = self.pos;
        self.scratch.clear();
        self.scratch.shrink_to(BUFFER_KEPT_BYTES);
        let unread = self.end - self.pos;
        if self.buffer.len() > BUFFER_KEPT_BYTES && unread <= BUFFER_BYTES {
            self.drop_front();
            self.buffer.truncate(BUFFER_BYTES);
            self.buffer.shrink_to_fit();
        }
    }

    /// The text of the current item so far.
    pub(super) fn item(&self) -> &[u8] {
        &self.buffer[self.start..self.pos]
    }

    /// The side buffer of the current item.
    pub(super) fn scratch(&self) -> &[u8] {
        &self.scratch
    }

    /// Bytes before the next one.
    pub(super) fn position_offset(&self) -> u64 {
        self.dropped + self.pos as u64
    }

    /// The place of the next byte.
    pub(super) fn position(&self) -> Position {
        let lines = memchr::memchr_iter(b'\n', &self.buffer[..self.pos]).count() as u64;
        Position { offset: self.position_offset(), line: self.dropped_lines + lines + 1 }
    }

    /// `expected` does not stand at the next byte.
    pub(super) fn unexpected(&self, expected: &'static str, found: Option<u8>) -> DecodeError {
        DecodeError::Unexpected { at: self.position(), expected, found }
    }

    /// The text ended where `expected` should stand.
    fn truncated(&mut self, expected: &'static str) -> DecodeError {
        self.pos = self.end;
        DecodeError::Truncated { at: self.position(), expected }
    }

    /// Goes back to the byte `at` of the item, so that an error points there.
    pub(super) fn back_to(&mut self, at: usize) {
        self.pos = self.start + at;
    }

    /// How many bytes of the item were read.
    pub(super) fn read(&self) -> usize {
        self.pos - self.start
    }

    /// Moves the item to the front of the buffer.
    fn drop_front(&mut self) {
        let front = &self.buffer[..self.start];
        self.dropped_lines += memchr::memchr_iter(b'\n', front).count() as u64;
        self.dropped += self.start as u64;
        self.buffer.copy_within(self.start..self.end, 0);
        self.pos -= self.start;
        self.end -= self.start;
        self.start = 0;
    }

    /// Reads more; false at the end of the input.
    #[cold]
    fn fill(&mut self) -> Result<bool, DecodeError> {
        if self.ended {
            return Ok(false);
        }
        if self.end == self.buffer.len() {
            // growing when the item holds over half of the buffer keeps the moves linear in the text
            let grows = self.end - self.start > self.buffer.len() / 2;
            self.drop_front();
            if grows && self.buffer.len() < self.item_bytes_max {
                self.buffer.resize((self.buffer.len() * 2).min(self.item_bytes_max), 0);
            } else if self.end == self.buffer.len() {
                return Err(self.too_long("item", self.item_bytes_max));
            }
        }
        loop {
            match self.reader.read(&mut self.buffer[self.end..]) {
                Ok(0) => {
                    self.ended = true;
                    return Ok(false);
                }
                Ok(count) => {
                    // a reader that claims more than it was given would break the invariant of this file
                    self.end = (self.end + count).min(self.buffer.len());
                    return Ok(true);
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(source) => return Err(DecodeError::Read { at: self.position(), source }),
            }
        }
    }

    pub(super) fn too_long(&self, what: &'static str, limit: usize) -> DecodeError {
        DecodeError::TooLong { at: self.position(), what, limit }
    }

    /// The next byte without taking it; none at the end.
    #[inline]
    pub(super) fn peek(&mut self) -> Result<Option<u8>, DecodeError> {
        if self.pos == self.end && !self.fill()? {
            return Ok(None);
        }
        Ok(Some(self.buffer[self.pos]))
    }

    /// Takes the next byte.
    #[inline]
    pub(super) fn byte(&mut self, expected: &'static str) -> Result<u8, DecodeError> {
        match self.peek()? {
            Some(byte) => {
                self.pos += 1;
                Ok(byte)
            }
            None => Err(self.truncated(expected)),
        }
    }

    /// Takes this byte.
    #[inline]
    pub(super) fn expect_byte(&mut self, wanted: u8, expected: &'static str) -> Result<(), DecodeError> {
        let byte = self.byte(expected)?;
        if byte == wanted {
            return Ok(());
        }
        self.pos -= 1;
        Err(self.unexpected(expected, Some(byte)))
    }

    /// Takes these bytes.
    #[inline]
    pub(super) fn expect<const N: usize>(
        &mut self,
        wanted: &[u8; N],
        expected: &'static str,
    ) -> Result<(), DecodeError> {
        if self.buffer[self.pos..self.end].first_chunk() == Some(wanted) {
            self.pos += N;
            return Ok(());
        }
        wanted.iter().try_for_each(|byte| self.expect_byte(*byte, expected))
    }

    /// Takes this byte if it is next.
    #[inline]
    pub(super) fn accept(&mut self, wanted: u8) -> Result<bool, DecodeError> {
        let is_next = self.peek()? == Some(wanted);
        self.pos += usize::from(is_next);
        Ok(is_next)
    }

    /// Makes sure that `count` bytes are there; they are not taken.
    fn need(&mut self, count: usize, expected: &'static str) -> Result<(), DecodeError> {
        while self.end - self.pos < count {
            if !self.fill()? {
                return Err(self.truncated(expected));
            }
        }
        Ok(())
    }

    /// Takes `count` bytes.
    pub(super) fn take(&mut self, count: usize, expected: &'static str) -> Result<Span, DecodeError> {
        if count > self.item_bytes_max - self.read().min(self.item_bytes_max) {
            return Err(self.too_long("value", self.item_bytes_max));
        }
        self.need(count, expected)?;
        let at = self.read() as u32;
        self.pos += count;
        Ok(Span { home: Home::Item, at, length: count as u32 })
    }

    /// Takes up to `limit` bytes before the end that `until` names, which is not taken. Escapes stay as they are.
    /// The second value says whether there are any.
    pub(super) fn raw_token(
        &mut self,
        until: Until,
        limit: usize,
        what: &'static str,
    ) -> Result<(Span, bool), DecodeError> {
        let at = self.read();
        let ends = |byte: u8| byte == b'\n' || byte == b' ' && until == Until::Word;
        let in_sight = &self.buffer[self.pos..self.end];
        if let Some(length) = in_sight.iter().position(|byte| ends(*byte) || *byte == b'\\')
            && ends(in_sight[length])
        {
            return self.token_done(at, length, limit, what, false);
        }
        let (mut length, mut escaped) = (0, false);
        loop {
            let begin = self.start + at;
            while let Some(&byte) = self.buffer[..self.end].get(begin + length) {
                match byte {
                    b'\\' if self.escapes => {
                        escaped = true;
                        length += 2;
                    }
                    byte if ends(byte) => return self.token_done(at, length, limit, what, escaped),
                    _ => length += 1,
                }
            }
            if length > limit {
                return Err(self.too_long(what, limit));
            }
            if !self.fill()? {
                return Err(self.truncated(what));
            }
        }
    }

    fn token_done(
        &mut self,
        at: usize,
        length: usize,
        limit: usize,
        what: &'static str,
        escaped: bool,
    ) -> Result<(Span, bool), DecodeError> {
        if length > limit {
            return Err(self.too_long(what, limit));
        }
        self.pos = self.start + at + length;
        Ok((Span { home: Home::Item, at: at as u32, length: length as u32 }, escaped))
    }

    /// Takes a name and resolves its escapes.
    pub(super) fn name(&mut self, until: Until, what: &'static str) -> Result<Span, DecodeError> {
        let (span, escaped) = self.raw_token(until, NAME_BYTES_MAX, what)?;
        if !escaped {
            return Ok(span);
        }
        let at = self.scratch.len();
        push_unescaped(&mut self.scratch, span.of(&self.buffer[self.start..self.pos], &[]));
        Ok(self.scratch_from(at))
    }

    /// Takes a decimal number: an optional minus and digits. Overflow is an error (asb.md 1.7).
    #[inline]
    pub(super) fn integer(&mut self, expected: &'static str) -> Result<i64, DecodeError> {
        match small_integer(&self.buffer[self.pos..self.end]) {
            Some((value, length)) => {
                self.pos += length;
                Ok(value)
            }
            None => self.any_integer(expected),
        }
    }

    fn any_integer(&mut self, expected: &'static str) -> Result<i64, DecodeError> {
        let at = self.read();
        let negative = self.accept(b'-')?;
        let first_digit = self.read();
        let mut value = 0i64;
        while let Some(byte @ b'0'..=b'9') = self.peek()? {
            let digit = i64::from(byte - b'0');
            let next = value
                .checked_mul(10)
                .and_then(|tens| if negative { tens.checked_sub(digit) } else { tens.checked_add(digit) });
            let Some(next) = next.filter(|_| self.read() - at < NAME_BYTES_MAX) else {
                self.back_to(at);
                return Err(self.unexpected(expected, None));
            };
            value = next;
            self.pos += 1;
        }
        if self.read() > first_digit {
            return Ok(value);
        }
        match self.peek()? {
            Some(found) => Err(self.unexpected(expected, Some(found))),
            None => Err(self.truncated(expected)),
        }
    }

    /// Takes a number from 0 to `max`.
    pub(super) fn unsigned(&mut self, max: u32, expected: &'static str) -> Result<u32, DecodeError> {
        let at = self.read();
        let value = self.integer(expected)?;
        // `-0` is as little a count as `-1`
        let signed = self.item().get(at) == Some(&b'-');
        u32::try_from(value).ok().filter(|value| *value <= max && !signed).ok_or_else(|| {
            self.back_to(at);
            self.unexpected(expected, None)
        })
    }

    /// The text of the current item as far as it is in sight, and the empty side buffer.
    pub(super) fn in_sight(&mut self) -> (&[u8], &mut Vec<u8>) {
        (&self.buffer[self.start..self.end], &mut self.scratch)
    }

    /// Takes `count` bytes of the item that were in sight; none: begins with it anew.
    pub(super) fn seen(&mut self, count: Option<usize>) {
        self.pos = self.start + count.unwrap_or(0);
        if count.is_none() {
            self.scratch.clear();
        }
    }

    /// The bytes of a span of the current item.
    pub(super) fn bytes(&self, span: Span) -> &[u8] {
        span.of(self.item(), &self.scratch)
    }

    /// Puts bytes into the side buffer.
    pub(super) fn keep(&mut self, bytes: &[u8]) -> Span {
        let at = self.scratch.len();
        self.scratch.extend_from_slice(bytes);
        self.scratch_from(at)
    }

    /// Puts bytes, then those of a span of the item's text, into the side buffer.
    pub(super) fn keep_with(&mut self, front: &[u8], span: Span) -> Span {
        let at = self.scratch.len();
        self.scratch.extend_from_slice(front);
        self.scratch.extend_from_slice(span.of(&self.buffer[self.start..self.pos], &[]));
        self.scratch_from(at)
    }

    /// Decodes base64 in the item's text into the side buffer; none when it is malformed.
    pub(super) fn keep_base64(&mut self, span: Span) -> Option<Span> {
        let at = self.scratch.len();
        let text = span.of(&self.buffer[self.start..self.pos], &[]);
        base64_simd::STANDARD.decode_append(text, &mut self.scratch).ok()?;
        Some(self.scratch_from(at))
    }

    fn scratch_from(&self, at: usize) -> Span {
        Span { home: Home::Scratch, at: at as u32, length: (self.scratch.len() - at) as u32 }
    }
}

/// A decimal number at the front and how long it is, if it is all there and has at most 18 digits.
#[inline]
pub(super) fn small_integer(text: &[u8]) -> Option<(i64, usize)> {
    const DIGITS_MAX: usize = 18;
    let sign = usize::from(text.first() == Some(&b'-'));
    let mut value = 0;
    for (index, byte) in text[sign..].iter().take(DIGITS_MAX + 1).enumerate() {
        let digit = byte.wrapping_sub(b'0');
        if digit > 9 {
            let signed = if sign == 0 { value } else { -value };
            return (index > 0).then_some((signed, sign + index));
        }
        if index == DIGITS_MAX {
            break;
        }
        value = value * 10 + i64::from(digit);
    }
    None
}
