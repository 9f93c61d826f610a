//! Particle types as they travel on the wire and their letters in the text (asb.md 1.10, 2.1).

/// No value: writing it deletes the bin.
pub const NULL: u8 = 0;
/// Signed integer, 8 bytes big-endian.
pub const INTEGER: u8 = 1;
/// IEEE 754 double, 8 bytes big-endian.
pub const FLOAT: u8 = 2;
/// String; its bytes are not validated.
pub const STRING: u8 = 3;
/// Plain bytes.
pub const BLOB: u8 = 4;
/// Bytes serialised by a Java client.
pub const JAVA: u8 = 7;
/// Bytes serialised by a C# client.
pub const CSHARP: u8 = 8;
/// Bytes serialised by a Python client.
pub const PYTHON: u8 = 9;
/// Bytes serialised by a Ruby client.
pub const RUBY: u8 = 10;
/// Bytes serialised by a PHP client.
pub const PHP: u8 = 11;
/// Bytes serialised by an Erlang client.
pub const ERLANG: u8 = 12;
/// Vector: the format has no letter for it (rules.md 3.13).
pub const VECTOR: u8 = 16;
/// Boolean, one byte 0 or 1.
pub const BOOL: u8 = 17;
/// HyperLogLog sketch.
pub const HLL: u8 = 18;
/// Map, msgpack as stored.
pub const MAP: u8 = 19;
/// List, msgpack as stored.
pub const LIST: u8 = 20;
/// GeoJSON: flags, cell count, cells, text.
pub const GEOJSON: u8 = 23;

/// What stands before the text of a geo value: no flags, no cells. The server computes them anew.
pub(super) const GEOJSON_NO_CELLS: [u8; 3] = [0; 3];

/// The letters of the bytes family with their particle types: base64 in the text, or raw after a `!`.
const BYTES_FAMILY: [(u8, u8); 10] = [
    (b'B', BLOB),
    (b'J', JAVA),
    (b'C', CSHARP),
    (b'P', PYTHON),
    (b'R', RUBY),
    (b'H', PHP),
    (b'E', ERLANG),
    (b'Y', HLL),
    (b'M', MAP),
    (b'L', LIST),
];

/// The letter of a particle type of the bytes family.
pub(super) fn bytes_letter(kind: u8) -> Option<u8> {
    BYTES_FAMILY.iter().find(|(_, of)| *of == kind).map(|(letter, _)| *letter)
}

/// The particle type of a letter of the bytes family.
#[inline]
pub(super) fn bytes_kind(letter: u8) -> Option<u8> {
    BYTES_FAMILY.iter().find(|(of, _)| *of == letter).map(|(_, kind)| *kind)
}

/// The type in one word, for people.
pub fn name(kind: u8) -> &'static str {
    match kind {
        NULL => "nil",
        INTEGER => "integer",
        FLOAT => "float",
        STRING => "string",
        BLOB => "blob",
        JAVA => "java-blob",
        CSHARP => "csharp-blob",
        PYTHON => "python-blob",
        RUBY => "ruby-blob",
        PHP => "php-blob",
        ERLANG => "erlang-blob",
        VECTOR => "vector",
        BOOL => "boolean",
        HLL => "hll",
        MAP => "map",
        LIST => "list",
        GEOJSON => "geojson",
        _ => "unknown",
    }
}
