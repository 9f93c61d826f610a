//! Packed filter expressions: one MessagePack array, of which nothing is understood but where it ends.

/// Decodes base64 and checks that it is an expression as the server packs one; the error says what it is instead.
pub fn parse_filter(base64: &str) -> Result<Vec<u8>, &'static str> {
    let packed = base64_simd::STANDARD.decode_to_vec(base64.as_bytes()).map_err(|_| "is not base64")?;
    check(&packed)?;
    Ok(packed)
}

/// Whether `packed` is one MessagePack array with nothing behind it.
fn check(packed: &[u8]) -> Result<(), &'static str> {
    const SHORT: &str = "is no filter expression: it ends too early";
    if !matches!(packed.first(), Some(0x91..=0x9F | 0xDC | 0xDD)) {
        return Err("is no filter expression: it is not a MessagePack list");
    }
    let mut rest = packed;
    // Elements still to come. Each takes a byte at least, so more than are left is an error at once.
    let mut wanted: u64 = 1;
    while wanted > 0 {
        let (lead, behind) = rest.split_first().ok_or(SHORT)?;
        rest = behind;
        wanted -= 1;
        let (skipped, elements) = match *lead {
            0x00..=0x7F | 0xC0 | 0xC2 | 0xC3 | 0xE0..=0xFF => (0, 0),
            0x80..=0x8F => (0, u64::from(lead & 0x0F) * 2),
            0x90..=0x9F => (0, u64::from(lead & 0x0F)),
            0xA0..=0xBF => (u64::from(lead & 0x1F), 0),
            0xC1 => return Err("is no filter expression: it holds a byte that MessagePack never has"),
            0xC4 | 0xD9 => (number(&mut rest, 1).ok_or(SHORT)?, 0),
            0xC5 | 0xDA => (number(&mut rest, 2).ok_or(SHORT)?, 0),
            0xC6 | 0xDB => (number(&mut rest, 4).ok_or(SHORT)?, 0),
            0xC7 => (number(&mut rest, 1).ok_or(SHORT)? + 1, 0),
            0xC8 => (number(&mut rest, 2).ok_or(SHORT)? + 1, 0),
            0xC9 => (number(&mut rest, 4).ok_or(SHORT)? + 1, 0),
            0xCA | 0xCE | 0xD2 => (4, 0),
            0xCB | 0xCF | 0xD3 => (8, 0),
            0xCC | 0xD0 => (1, 0),
            0xCD | 0xD1 => (2, 0),
            0xD4..=0xD8 => (1 + (1 << (lead - 0xD4)), 0),
            0xDC => (0, number(&mut rest, 2).ok_or(SHORT)?),
            0xDD => (0, number(&mut rest, 4).ok_or(SHORT)?),
            0xDE => (0, number(&mut rest, 2).ok_or(SHORT)? * 2),
            0xDF => (0, number(&mut rest, 4).ok_or(SHORT)? * 2),
        };
        rest = usize::try_from(skipped).ok().and_then(|skipped| rest.get(skipped..)).ok_or(SHORT)?;
        wanted += elements;
        if wanted > rest.len() as u64 {
            return Err(SHORT);
        }
    }
    if rest.is_empty() { Ok(()) } else { Err("is no filter expression: something stands behind it") }
}

/// A big-endian number of so many bytes.
fn number(rest: &mut &[u8], bytes: usize) -> Option<u64> {
    let (number, behind) = rest.split_at_checked(bytes)?;
    *rest = behind;
    Some(number.iter().fold(0, |number, byte| number << 8 | u64::from(*byte)))
}

#[cfg(test)]
mod tests {
    use super::{check, parse_filter};

    #[test]
    fn what_the_official_clients_pack_is_taken_as_it_is() {
        // abs.md 7.9: age > 25, country = "US"
        assert_eq!(parse_filter("kwOTUQKjYWdlGQ==").unwrap()[..3], [0x93, 3, 0x93]);
        assert!(parse_filter("kwGTUQOnY291bnRyeaMDVVM=").is_ok());
        // asb.md 5.1: with a 64 bit number
        assert_eq!(check(&[0x93, 4, 0x91, 0x42, 0xCF, 0, 0, 0, 0, 0, 0, 0, 0]), Ok(()));
        assert_eq!(check(&[0x92, 0xC7, 1, 5, 9, 0xD6, 1, 2, 3, 4, 5]), Ok(()));
    }

    #[test]
    fn anything_else_is_refused_with_what_it_is() {
        let reason = |text: &str| parse_filter(text).unwrap_err();
        assert_eq!(reason("age > 25"), "is not base64");
        assert_eq!(reason("kwOTUQKjYWdlGQ"), "is not base64");
        assert!(reason("o2FnZQ==").contains("not a MessagePack list"));
        assert!(reason("").contains("not a MessagePack list"));
        assert!(check(&[0x90]).is_err());
        let whole = [0x93, 3, 0x93, 0x51, 2, 0xA3, b'a', b'g', b'e', 25];
        assert_eq!(check(&whole), Ok(()));
        for length in 0..whole.len() {
            assert!(check(&whole[..length]).is_err(), "{length}");
        }
        assert!(check(&[&whole[..], &[0]].concat()).unwrap_err().contains("behind it"));
        // Claims of what is not there cost nothing.
        assert!(check(&[0xDD, 0xFF, 0xFF, 0xFF, 0xFF, 1]).is_err());
        assert!(check(&[0x91, 0xDF, 0xFF, 0xFF, 0xFF, 0xFF, 1]).is_err());
        assert!(check(&[0x91, 0xC1]).is_err());
    }
}
