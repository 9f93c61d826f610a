//! What a backup file is made of: header, records, indexes, functions.

/// A value as it travels on the wire (asb.md 2.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Particle<'a> {
    /// Particle type, see [`crate::asb::particle`].
    pub kind: u8,
    /// The wire value.
    pub bytes: &'a [u8],
}

/// A bin: name and value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bin<'a> {
    /// Name, up to 15 bytes on a server; any bytes.
    pub name: &'a [u8],
    /// Value.
    pub particle: Particle<'a>,
}

/// A record without its bins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RecordHead<'a> {
    /// Namespace.
    pub namespace: &'a [u8],
    /// Set; empty means none.
    pub set: &'a [u8],
    /// Digest: it alone says which record this is.
    pub digest: &'a [u8; 20],
    /// User key, if the server stores one.
    pub key: Option<Particle<'a>>,
    /// Generation as the scan returned it.
    pub generation: u16,
    /// Void time in seconds since 2010-01-01T00:00:00Z; 0 means never (asb.md 1.11).
    pub void_time: u32,
    /// Number of bins that follow.
    pub bin_count: u16,
}

/// Version of the text format (asb.md 1.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Version {
    /// Legacy: no escapes, no global section. Read only.
    V3_0,
    /// What every data file carries.
    V3_1,
    /// Metadata files with an expression index.
    V3_2,
    /// An unreleased branch with set indexes. Read only.
    V3_3,
}

impl Version {
    /// The three bytes in the first line.
    pub fn text(self) -> &'static str {
        match self {
            Self::V3_0 => "3.0",
            Self::V3_1 => "3.1",
            Self::V3_2 => "3.2",
            Self::V3_3 => "3.3",
        }
    }

    /// The version that these three bytes name.
    pub(super) fn parse(text: &[u8]) -> Option<Self> {
        [Self::V3_0, Self::V3_1, Self::V3_2, Self::V3_3]
            .into_iter()
            .find(|version| version.text().as_bytes() == text)
    }
}

/// The header of a file: its version and metadata lines (asb.md 1.4).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileHeader {
    /// Version of the format.
    pub version: Version,
    /// Namespace, for information (each record names its own); empty when the file does not say.
    pub namespace: Vec<u8>,
    /// Whether the file carries `# first-file`.
    pub first_file: bool,
}

/// What an index looks at (asb.md 1.5).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum IndexType {
    /// The bin itself.
    Bin,
    /// The elements of a list.
    List,
    /// The keys of a map.
    MapKeys,
    /// The values of a map.
    MapValues,
}

impl IndexType {
    pub(super) fn letter(self) -> u8 {
        match self {
            Self::Bin => b'N',
            Self::List => b'L',
            Self::MapKeys => b'K',
            Self::MapValues => b'V',
        }
    }

    pub(super) fn from_letter(letter: u8) -> Option<Self> {
        [Self::Bin, Self::List, Self::MapKeys, Self::MapValues].into_iter().find(|of| of.letter() == letter)
    }
}

/// What an index holds (asb.md 1.5).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum DataType {
    /// Integers.
    Numeric,
    /// Strings.
    String,
    /// Regions and points.
    Geo,
    /// Bytes.
    Blob,
}

impl DataType {
    pub(super) fn letter(self) -> u8 {
        match self {
            Self::Numeric => b'N',
            Self::String => b'S',
            Self::Geo => b'G',
            Self::Blob => b'B',
        }
    }

    pub(super) fn from_letter(letter: u8) -> Option<Self> {
        [Self::Numeric, Self::String, Self::Geo, Self::Blob].into_iter().find(|of| of.letter() == letter)
    }
}

/// A secondary index (`* i`), or an expression index (`* e`) when `expression` is there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IndexDef {
    /// Namespace.
    pub namespace: Vec<u8>,
    /// Set; empty means none.
    pub set: Vec<u8>,
    /// Name of the index.
    pub name: Vec<u8>,
    /// What it looks at.
    pub index_type: IndexType,
    /// Bin; servers say `null` for an expression index, and it is ignored there.
    pub bin: Vec<u8>,
    /// What it holds.
    pub data_type: DataType,
    /// CDT context, the server's base64 verbatim.
    pub context: Option<String>,
    /// Expression, the server's base64 verbatim.
    pub expression: Option<String>,
}

/// A set index, as an unreleased branch writes it (`* i ns set name S 1  E`, asb.md 1.5). Read only.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SetIndexDef {
    /// Namespace.
    pub namespace: Vec<u8>,
    /// Set.
    pub set: Vec<u8>,
    /// Name of the index.
    pub name: Vec<u8>,
}

/// A user-defined function module, in Lua, the only language of the format.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UdfDef {
    /// File name on the server.
    pub name: Vec<u8>,
    /// Source, verbatim.
    pub content: Vec<u8>,
}
