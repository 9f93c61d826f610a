//! As much of msgpack as filters and well-formedness need.

use super::proto::Reader;

/// What the next element is.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Element<'a> {
    Nil,
    Bool(bool),
    Int(i64),
    Float(f64),
    /// Strings and binaries alike: the first byte tells which it is (a particle type), save in bin names.
    Bytes(&'a [u8]),
    /// The elements follow.
    List(u32),
    /// The keys and values follow, each pair in turn.
    Map(u32),
    /// An extension: order flags of lists and maps.
    Extension,
}

/// Reads one element; of a list or a map only the header. `None` when it is malformed.
pub(super) fn next<'a>(reader: &mut Reader<'a>) -> Option<Element<'a>> {
    let lead = reader.u8()?;
    let low = |bits: u8| u32::from(lead & bits);
    Some(match lead {
        0x00..=0x7f => Element::Int(i64::from(lead)),
        0x80..=0x8f => Element::Map(low(0x0f)),
        0x90..=0x9f => Element::List(low(0x0f)),
        0xa0..=0xbf => Element::Bytes(reader.take(low(0x1f) as usize)?),
        0xc0 => Element::Nil,
        0xc1 => return None,
        0xc2 | 0xc3 => Element::Bool(lead == 0xc3),
        0xc4 | 0xd9 => Element::Bytes(bytes(reader, 1)?),
        0xc5 | 0xda => Element::Bytes(bytes(reader, 2)?),
        0xc6 | 0xdb => Element::Bytes(bytes(reader, 4)?),
        0xc7..=0xc9 => {
            let len = size(reader, 1 << (lead - 0xc7))?;
            reader.take(len.checked_add(1)?)?;
            Element::Extension
        }
        0xca => Element::Float(f64::from(f32::from_bits(reader.u32()?))),
        0xcb => Element::Float(f64::from_bits(reader.u64()?)),
        0xcc => Element::Int(i64::from(reader.u8()?)),
        0xcd => Element::Int(i64::from(reader.u16()?)),
        0xce => Element::Int(i64::from(reader.u32()?)),
        // Unsigned ones wrap above `i64::MAX`, as on the server.
        0xcf | 0xd3 => Element::Int(reader.u64()? as i64),
        0xd0 => Element::Int(i64::from(reader.u8()? as i8)),
        0xd1 => Element::Int(i64::from(reader.u16()? as i16)),
        0xd2 => Element::Int(i64::from(reader.u32()? as i32)),
        0xd4..=0xd8 => {
            reader.take((1 << (lead - 0xd4)) + 1)?;
            Element::Extension
        }
        0xdc => Element::List(u32::from(reader.u16()?)),
        0xdd => Element::List(reader.u32()?),
        0xde => Element::Map(u32::from(reader.u16()?)),
        0xdf => Element::Map(reader.u32()?),
        0xe0..=0xff => Element::Int(i64::from(lead as i8)),
    })
}

fn bytes<'a>(reader: &mut Reader<'a>, width: usize) -> Option<&'a [u8]> {
    let len = size(reader, width)?;
    reader.take(len)
}

fn size(reader: &mut Reader<'_>, width: usize) -> Option<usize> {
    Some(match width {
        1 => usize::from(reader.u8()?),
        2 => usize::from(reader.u16()?),
        _ => reader.u32()? as usize,
    })
}

/// Whether the bytes are exactly one whole list (or map); no recursion, every element takes a byte.
pub(super) fn is_whole(value: &[u8], map: bool) -> bool {
    let mut reader = Reader(value);
    let mut open: u64 = match next(&mut reader) {
        Some(Element::List(count)) if !map => u64::from(count),
        Some(Element::Map(count)) if map => u64::from(count) * 2,
        _ => return false,
    };
    while open > 0 {
        open -= 1;
        open += match next(&mut reader) {
            Some(Element::List(count)) => u64::from(count),
            Some(Element::Map(count)) => u64::from(count) * 2,
            Some(_) => 0,
            None => return false,
        };
    }
    reader.0.is_empty()
}

#[cfg(test)]
mod tests {
    use super::is_whole;

    #[test]
    fn lists_and_maps_are_whole_or_not() {
        assert!(is_whole(&[0x94, 0xc7, 0x00, 0x01, 0x01, 0x02, 0x03], false), "ordered list");
        assert!(is_whole(&[0x82, 0xc7, 0x00, 0x01, 0xc0, 0xa1, 0x61, 0x90], true), "ordered map");
        assert!(!is_whole(&[0x90], true), "a list is no map");
        assert!(!is_whole(&[0x92, 0x01], false), "one element is missing");
        assert!(!is_whole(&[0x91, 0x01, 0x02], false), "one byte too many");
        assert!(!is_whole(&[0xdd, 0xff, 0xff, 0xff, 0xff, 0xc1], false), "hostile count");
        assert!(!is_whole(&[], false));
    }
}
