//! Filter expressions, packed as the server takes them in a scan request (asb.md 5.1).
//!
//! Only the terms that a backup needs; a user's own filter arrives packed and is passed through verbatim.

/// Nanoseconds per millisecond: the server stores update times in milliseconds.
const NANOS_PER_MS: u64 = 1_000_000;

/// Expression codes and MessagePack marks of the terms in asb.md 5.1.
const EQUAL: u8 = 1;
const NOT_EQUAL: u8 = 2;
const GREATER_OR_EQUAL: u8 = 4;
const LESS: u8 = 5;
const AND: u8 = 0x10;
const OR: u8 = 0x11;
const LAST_UPDATE: u8 = 0x42;
const SET_NAME: u8 = 0x46;
const ARRAY: u8 = 0x90;
const FIXED_STRING: u8 = 0xA0;
const STRING_8: u8 = 0xD9;
const U64: u8 = 0xCF;
/// A string inside an expression carries its particle type before its bytes.
const STRING_PARTICLE: u8 = 3;

/// Records last updated at or after `unix_ns`, floored to the millisecond, so that no record of that millisecond is
/// missed.
pub fn modified_after(unix_ns: u64) -> Vec<u8> {
    last_update(GREATER_OR_EQUAL, unix_ns)
}

/// Records last updated before `unix_ns`, floored to the millisecond: neighbouring intervals neither overlap nor
/// leave a gap.
pub fn modified_before(unix_ns: u64) -> Vec<u8> {
    last_update(LESS, unix_ns)
}

/// Records outside the set `name`; `None` if the name is longer than a short MessagePack string (30 bytes).
pub fn not_set(name: &[u8]) -> Option<Vec<u8>> {
    let length = u8::try_from(name.len() + 1).ok().filter(|length| *length < 32)?;
    let mut packed = vec![ARRAY | 3, NOT_EQUAL, ARRAY | 1, SET_NAME, FIXED_STRING | length, STRING_PARTICLE];
    packed.extend_from_slice(name);
    Some(packed)
}

/// Records outside the system set of multi-record transactions, which no backup holds (rules.md 3.13).
pub fn not_transaction_monitor() -> Vec<u8> {
    const MONITOR_SET: &[u8] = b"<ERO~MRT";
    not_set(MONITOR_SET).unwrap_or_default()
}

/// Records of any of these sets.
pub fn any_set<'a>(names: impl IntoIterator<Item = &'a [u8]>) -> Vec<u8> {
    let terms: Vec<Vec<u8>> = names.into_iter().map(|name| compare_set(EQUAL, name)).collect();
    if let [only] = terms.as_slice() {
        return only.clone();
    }
    let mut packed = Vec::new();
    array_head(&mut packed, terms.len() + 1);
    packed.push(OR);
    packed.extend(terms.iter().flatten());
    packed
}

/// `set_name <comparison> name`; names go up to 63 bytes, so a long string head may be needed.
fn compare_set(comparison: u8, name: &[u8]) -> Vec<u8> {
    let mut packed = vec![ARRAY | 3, comparison, ARRAY | 1, SET_NAME];
    let length = (name.len() + 1).min(usize::from(u8::MAX)) as u8;
    if length < 32 {
        packed.push(FIXED_STRING | length);
    } else {
        packed.extend_from_slice(&[STRING_8, length]);
    }
    packed.push(STRING_PARTICLE);
    packed.extend_from_slice(name);
    packed
}

/// Records whose void time says that they never expire.
pub fn never_expires() -> Vec<u8> {
    const TTL: u8 = 0x45;
    const MINUS_ONE: u8 = 0xFF;
    vec![ARRAY | 3, EQUAL, ARRAY | 1, TTL, MINUS_ONE]
}

/// All of `terms`; a single one stands alone, as the official tools send it.
pub fn and(terms: &[Vec<u8>]) -> Vec<u8> {
    if let [only] = terms {
        return only.clone();
    }
    let mut packed = Vec::with_capacity(4 + terms.iter().map(Vec::len).sum::<usize>());
    array_head(&mut packed, terms.len() + 1);
    packed.push(AND);
    packed.extend(terms.iter().flatten());
    packed
}

fn last_update(comparison: u8, unix_ns: u64) -> Vec<u8> {
    let floored_ns = unix_ns - unix_ns % NANOS_PER_MS;
    let mut packed = vec![ARRAY | 3, comparison, ARRAY | 1, LAST_UPDATE, U64];
    packed.extend_from_slice(&floored_ns.to_be_bytes());
    packed
}

fn array_head(out: &mut Vec<u8>, length: usize) {
    if length < 16 {
        out.push(ARRAY | length as u8);
    } else {
        const ARRAY_16: u8 = 0xDC;
        out.push(ARRAY_16);
        out.extend_from_slice(&(length.min(usize::from(u16::MAX)) as u16).to_be_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::{and, modified_after, modified_before, never_expires, not_transaction_monitor};

    fn hex(bytes: &[u8]) -> String {
        bytes.iter().fold(String::new(), |text, byte| text + &format!("{byte:02X}"))
    }

    #[test]
    fn terms_are_packed_as_the_official_tools_pack_them() {
        // asb.md 5.1, column "msgpack bytes"
        assert_eq!(hex(&not_transaction_monitor()), "93029146A9033C45524F7E4D5254");
        assert_eq!(hex(&modified_after(0)), "93049142CF0000000000000000");
        assert_eq!(hex(&modified_before(1_000_000)), "93059142CF00000000000F4240");
        assert_eq!(hex(&never_expires()), "93019145FF");
    }

    #[test]
    fn bounds_are_floored_to_whole_milliseconds() {
        assert_eq!(modified_after(5_999_999), modified_after(5_000_000));
        assert_eq!(modified_before(5_999_999), modified_before(5_000_000));
        assert_ne!(modified_after(5_999_999), modified_after(6_000_000));
    }

    #[test]
    fn one_term_stands_alone_and_more_are_joined() {
        let (a, b) = (modified_after(1), modified_before(2));
        assert_eq!(and(std::slice::from_ref(&a)), a);
        let both = and(&[a.clone(), b.clone()]);
        assert_eq!(both[..2], [0x93, 0x10]);
        assert_eq!(both[2..], [a, b].concat());
        let many = and(&vec![never_expires(); 20]);
        assert_eq!(many[..4], [0xDC, 0, 21, 0x10]);
    }

    #[test]
    fn a_set_name_too_long_for_a_short_string_is_refused() {
        assert!(super::not_set(&[b'x'; 30]).is_some());
        assert!(super::not_set(&[b'x'; 31]).is_none());
    }
}
