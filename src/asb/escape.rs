//! Escapes of names: a backslash before backslash, space and line feed, nothing else (asb.md 1.6).
#![allow(clippy::indexing_slicing)] // positions come from a search in the same slice

use memchr::memchr3;

/// Longest name with its escapes, in bytes: both official readers stop at 1000 (asb.md 1.6).
pub(super) const NAME_BYTES_MAX: usize = 999;

/// Appends `name` with its escapes.
pub(super) fn push_escaped(out: &mut Vec<u8>, name: &[u8]) {
    let mut rest = name;
    while let Some(at) = memchr3(b'\\', b' ', b'\n', rest) {
        out.extend_from_slice(&rest[..at]);
        out.extend_from_slice(&[b'\\', rest[at]]);
        rest = &rest[at + 1..];
    }
    out.extend_from_slice(rest);
}

/// Appends what `text` means: a backslash makes the next byte literal, whatever it is.
pub(super) fn push_unescaped(out: &mut Vec<u8>, text: &[u8]) {
    let mut rest = text;
    while let Some(at) = memchr::memchr(b'\\', rest) {
        out.extend_from_slice(&rest[..at]);
        let Some(literal) = rest.get(at + 1) else { return };
        out.push(*literal);
        rest = &rest[at + 2..];
    }
    out.extend_from_slice(rest);
}

#[cfg(test)]
mod tests {
    use super::{push_escaped, push_unescaped};

    #[test]
    fn vectors_of_both_tools() {
        // asb.md 1.6
        for (plain, text) in [
            (&b"  "[..], &b"\\ \\ "[..]),
            (b"\\", b"\\\\"),
            (b"b\nin Nam\\e", b"b\\\nin\\ Nam\\\\e"),
            (b"", b""),
            (b"clean-\t\r\0\xff", b"clean-\t\r\0\xff"),
        ] {
            let (mut escaped, mut unescaped) = (Vec::new(), Vec::new());
            push_escaped(&mut escaped, plain);
            push_unescaped(&mut unescaped, text);
            assert_eq!(escaped, text);
            assert_eq!(unescaped, plain);
        }
    }

    #[test]
    fn a_backslash_makes_any_byte_literal() {
        let mut out = Vec::new();
        push_unescaped(&mut out, b"\\a\\bc\\\\d");
        assert_eq!(out, b"abc\\d");
    }
}
