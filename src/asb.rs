//! Stand-in for the room of the backup format: the types that the wire room shares with it.

/// A value as the wire has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Particle<'a> {
    /// Particle type (asb.md 2.1).
    pub kind: u8,
    /// Wire value.
    pub bytes: &'a [u8],
}

/// A named value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bin<'a> {
    /// Name.
    pub name: &'a [u8],
    /// Value.
    pub particle: Particle<'a>,
}

/// What a record has besides its bins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RecordHead<'a> {
    /// Namespace.
    pub namespace: &'a [u8],
    /// Set; empty: none.
    pub set: &'a [u8],
    /// Digest.
    pub digest: &'a [u8; 20],
    /// Stored user key.
    pub key: Option<Particle<'a>>,
    /// Generation.
    pub generation: u16,
    /// Seconds since 2010; 0: never expires.
    pub void_time: u32,
    /// Number of bins.
    pub bin_count: u16,
}

/// What of a bin is indexed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum IndexType {
    /// The value.
    Bin,
    /// List elements.
    List,
    /// Map keys.
    MapKeys,
    /// Map values.
    MapValues,
}

/// The type of indexed values.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DataType {
    /// Integers.
    Numeric,
    /// Strings.
    String,
    /// GeoJSON.
    Geo,
    /// Blobs.
    Blob,
}

/// A secondary index.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IndexDef {
    /// Namespace.
    pub namespace: Vec<u8>,
    /// Set; empty: none.
    pub set: Vec<u8>,
    /// Name.
    pub name: Vec<u8>,
    /// Index type.
    pub index_type: IndexType,
    /// Bin.
    pub bin: Vec<u8>,
    /// Data type.
    pub data_type: DataType,
    /// CDT context in base64.
    pub context: Option<String>,
    /// Expression in base64.
    pub expression: Option<String>,
}

/// A UDF module.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UdfDef {
    /// File name.
    pub name: Vec<u8>,
    /// Source text.
    pub content: Vec<u8>,
}
