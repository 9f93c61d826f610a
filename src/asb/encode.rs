//! Writing the text: append-style, without an allocation per record.

use base64_simd::AsOut;

use super::escape::{NAME_BYTES_MAX, push_escaped};
use super::number::{push_float, wire_integer};
use super::particle;
use super::types::{Bin, IndexDef, Particle, RecordHead, UdfDef, Version};

/// Why something cannot be written.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EncodeError {
    /// The format has no letter for this particle type (rules.md 3.13).
    #[error("bin '{}' holds particle type {kind}, which the backup format cannot hold", bin.escape_ascii())]
    Unsupported {
        /// Particle type.
        kind: u8,
        /// Name of the bin.
        bin: Vec<u8>,
    },
    /// The format has no letter for a user key of this particle type.
    #[error("the user key has particle type {kind}, which the backup format cannot hold")]
    UnsupportedKey {
        /// Particle type.
        kind: u8,
    },
    /// The wire value is not what its particle type says.
    #[error("bin '{}' of particle type {kind} is malformed: {reason}", bin.escape_ascii())]
    BadValue {
        /// Particle type.
        kind: u8,
        /// Name of the bin.
        bin: Vec<u8>,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// The user key is not what its particle type says.
    #[error("the user key of particle type {kind} is malformed: {reason}")]
    BadKey {
        /// Particle type.
        kind: u8,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// A name that no reader would accept.
    #[error("the {what} takes {length} bytes with its escapes, more than {NAME_BYTES_MAX}")]
    NameTooLong {
        /// Which name.
        what: &'static str,
        /// Its length with escapes, in bytes.
        length: usize,
    },
    /// The record head and the bins disagree.
    #[error("the record has {found} bins where its head says {declared}")]
    BinCount {
        /// What the head says.
        declared: u16,
        /// What came, counted up to one more than declared.
        found: usize,
    },
    /// The index definition cannot be one line.
    #[error("index '{}' cannot be written: {reason}", name.escape_ascii())]
    BadIndex {
        /// Name of the index.
        name: Vec<u8>,
        /// What is wrong with it.
        reason: &'static str,
    },
}

/// What a value lacks; the caller knows whose value it is.
enum Fault {
    Unsupported,
    Malformed(&'static str),
}

/// Bins of a record whose fronts are remembered; those beyond take the places of the first.
const FRONTS: usize = 256;

/// Writes records, remembering what the last one had: the lines of its namespace and set, and how its bin lines began.
/// One per writer.
#[derive(Debug)]
pub struct Encoder {
    compact: bool,
    namespace: CachedLine,
    set: CachedLine,
    counts: CachedCounts,
    /// By the place of the bin in its record: records of one kind have the same bins in the same order.
    fronts: Vec<BinFront>,
}

/// A bin line up to its value: `- I name `.
#[derive(Debug, Default)]
struct BinFront {
    kind: u8,
    name: Vec<u8>,
    text: Vec<u8>,
}

impl BinFront {
    fn is_of(&self, bin: &Bin<'_>) -> bool {
        self.kind == bin.particle.kind && self.name == bin.name && !self.text.is_empty()
    }

    fn set(&mut self, bin: &Bin<'_>, compact: bool) -> Result<(), EncodeError> {
        let kind = bin.particle.kind;
        let unsupported = || EncodeError::Unsupported { kind, bin: bin.name.to_vec() };
        let letter = letter(kind).ok_or_else(unsupported)?;
        let mut text = std::mem::take(&mut self.text); // stays empty after an error
        text.clear();
        text.extend_from_slice(&[b'-', b' ', letter]);
        if is_raw(kind, compact) {
            text.push(b'!');
        }
        text.push(b' ');
        push_name(&mut text, bin.name, "bin name")?;
        if kind != particle::NULL {
            text.push(b' ');
        }
        self.kind = kind;
        self.name.clear();
        self.name.extend_from_slice(bin.name);
        self.text = text;
        Ok(())
    }
}

/// A name and the line it makes.
#[derive(Debug, Default)]
struct CachedLine {
    name: Vec<u8>,
    line: Vec<u8>,
}

impl CachedLine {
    fn push(
        &mut self,
        out: &mut Vec<u8>,
        prefix: &[u8],
        name: &[u8],
        what: &'static str,
    ) -> Result<(), EncodeError> {
        if self.line.is_empty() || self.name != name {
            self.line.clear();
            let mut line = std::mem::take(&mut self.line);
            line.extend_from_slice(prefix);
            push_name(&mut line, name, what)?;
            line.push(b'\n');
            self.line = line;
            self.name.clear();
            self.name.extend_from_slice(name);
        }
        out.extend_from_slice(&self.line);
        Ok(())
    }
}

/// The last three lines of a head: many records have the same.
#[derive(Debug, Default)]
struct CachedCounts {
    generation: u16,
    void_time: u32,
    bin_count: u16,
    lines: Vec<u8>,
}

impl CachedCounts {
    fn push(&mut self, out: &mut Vec<u8>, head: &RecordHead<'_>) {
        let is_same = self.generation == head.generation
            && self.void_time == head.void_time
            && self.bin_count == head.bin_count;
        if !is_same || self.lines.is_empty() {
            let mut number = itoa::Buffer::new();
            self.lines.clear();
            self.lines.extend_from_slice(b"+ g ");
            self.lines.extend_from_slice(number.format(head.generation).as_bytes());
            self.lines.extend_from_slice(b"\n+ t ");
            self.lines.extend_from_slice(number.format(head.void_time).as_bytes());
            self.lines.extend_from_slice(b"\n+ b ");
            self.lines.extend_from_slice(number.format(head.bin_count).as_bytes());
            self.lines.push(b'\n');
            (self.generation, self.void_time, self.bin_count) =
                (head.generation, head.void_time, head.bin_count);
        }
        out.extend_from_slice(&self.lines);
    }
}

impl Encoder {
    /// `compact` writes bytes raw (`B!`) where it would write base64.
    pub fn new(compact: bool) -> Self {
        Self {
            compact,
            namespace: CachedLine::default(),
            set: CachedLine::default(),
            counts: CachedCounts::default(),
            fronts: Vec::new(),
        }
    }

    /// Appends the header of a file. `first_file` goes to exactly one file of a run; the version is 3.1, or 3.2 for a
    /// metadata file with an expression index (asb.md 1.3, 1.4).
    pub fn file_header(out: &mut Vec<u8>, namespace: &[u8], first_file: bool, version: Version) {
        out.extend_from_slice(b"Version ");
        out.extend_from_slice(version.text().as_bytes());
        out.extend_from_slice(b"\n# namespace ");
        push_escaped(out, namespace);
        out.push(b'\n');
        if first_file {
            out.extend_from_slice(b"# first-file\n");
        }
    }

    /// Appends a record, its bins in the order they come. After an error `out` is as it was.
    pub fn record<'a>(
        &mut self,
        out: &mut Vec<u8>,
        head: &RecordHead<'_>,
        bins: impl IntoIterator<Item = Bin<'a>>,
    ) -> Result<(), EncodeError> {
        let start = out.len();
        let result = self.head(out, head).and_then(|()| self.bins(out, head.bin_count, bins));
        if result.is_err() {
            out.truncate(start);
        }
        result
    }

    fn head(&mut self, out: &mut Vec<u8>, head: &RecordHead<'_>) -> Result<(), EncodeError> {
        if let Some(key) = head.key {
            push_key(out, key)?;
        }
        self.namespace.push(out, b"+ n ", head.namespace, "namespace")?;
        push_digest(out, head.digest);
        if !head.set.is_empty() {
            self.set.push(out, b"+ s ", head.set, "set")?;
        }
        self.counts.push(out, head);
        Ok(())
    }

    fn bins<'a>(
        &mut self,
        out: &mut Vec<u8>,
        declared: u16,
        bins: impl IntoIterator<Item = Bin<'a>>,
    ) -> Result<(), EncodeError> {
        let fronts = FRONTS.min(usize::from(declared));
        if self.fronts.len() < fronts {
            self.fronts.resize_with(fronts, BinFront::default);
        }
        let mut found = 0;
        for bin in bins {
            let front = self.fronts.get_mut(found % FRONTS);
            found += 1;
            let Some(front) = front.filter(|_| found <= usize::from(declared)) else { break };
            push_bin(out, &bin, front, self.compact)?;
        }
        if found == usize::from(declared) { Ok(()) } else { Err(EncodeError::BinCount { declared, found }) }
    }

    /// Appends an index: `* e` when it has an expression, else `* i`.
    pub fn index(out: &mut Vec<u8>, index: &IndexDef) -> Result<(), EncodeError> {
        let bad = |reason| Err(EncodeError::BadIndex { name: index.name.clone(), reason });
        let (letter, tail) = match (&index.context, &index.expression) {
            (Some(_), Some(_)) => return bad("it has both a context and an expression"),
            (context, None) => (b'i', context),
            (None, expression) => (b'e', expression),
        };
        if tail.as_ref().is_some_and(|tail| tail.is_empty() || tail.contains(['\n', ' '])) {
            return bad("its context or expression is empty or no single word");
        }
        let mut line = vec![b'*', b' ', letter, b' '];
        push_name(&mut line, &index.namespace, "namespace")?;
        line.push(b' ');
        push_name(&mut line, &index.set, "set")?;
        line.push(b' ');
        push_name(&mut line, &index.name, "index name")?;
        line.extend_from_slice(&[b' ', index.index_type.letter(), b' ', b'1', b' ']);
        push_name(&mut line, &index.bin, "bin name")?;
        line.extend_from_slice(&[b' ', index.data_type.letter()]);
        if let Some(tail) = tail {
            line.push(b' ');
            line.extend_from_slice(tail.as_bytes());
        }
        line.push(b'\n');
        out.append(&mut line);
        Ok(())
    }

    /// Appends a function module.
    pub fn udf(out: &mut Vec<u8>, udf: &UdfDef) -> Result<(), EncodeError> {
        let mut line = b"* u L ".to_vec();
        push_name(&mut line, &udf.name, "function name")?;
        out.append(&mut line);
        out.push(b' ');
        push_sized(out, &udf.content);
        out.push(b'\n');
        Ok(())
    }
}

/// The line of a digest, 28 bytes of base64 in it.
fn push_digest(out: &mut Vec<u8>, digest: &[u8; 20]) {
    let mut line = *b"+ d ----------------------------\n";
    if let Some(text) = line.get_mut(4..32) {
        let _ = base64_simd::STANDARD.encode(digest, text.as_out());
    }
    out.extend_from_slice(&line);
}

fn push_bin(
    out: &mut Vec<u8>,
    bin: &Bin<'_>,
    front: &mut BinFront,
    compact: bool,
) -> Result<(), EncodeError> {
    if !front.is_of(bin) {
        front.set(bin, compact)?;
    }
    out.extend_from_slice(&front.text);
    let Particle { kind, bytes } = bin.particle;
    push_value(out, kind, bytes, is_raw(kind, compact)).map_err(|fault| match fault {
        Fault::Unsupported => EncodeError::Unsupported { kind, bin: bin.name.to_vec() },
        Fault::Malformed(reason) => EncodeError::BadValue { kind, bin: bin.name.to_vec(), reason },
    })?;
    out.push(b'\n');
    Ok(())
}

/// Whether a bin of this type is written without base64 where it otherwise would be with it.
fn is_raw(kind: u8, compact: bool) -> bool {
    compact && particle::bytes_letter(kind).is_some()
}

fn push_name(out: &mut Vec<u8>, name: &[u8], what: &'static str) -> Result<(), EncodeError> {
    let start = out.len();
    push_escaped(out, name);
    let length = out.len() - start;
    if length > NAME_BYTES_MAX { Err(EncodeError::NameTooLong { what, length }) } else { Ok(()) }
}

/// The line of a stored user key. Blobs are base64 in compact files too, as Go writes them (asb.md 1.9).
fn push_key(out: &mut Vec<u8>, key: Particle<'_>) -> Result<(), EncodeError> {
    let Particle { kind, bytes } = key;
    let letter = match kind {
        particle::INTEGER => b'I',
        particle::FLOAT => b'D',
        particle::STRING => b'S',
        particle::BLOB => b'B',
        _ => return Err(EncodeError::UnsupportedKey { kind }),
    };
    out.extend_from_slice(&[b'+', b' ', b'k', b' ', letter, b' ']);
    push_value(out, kind, bytes, false).map_err(|fault| match fault {
        Fault::Unsupported => EncodeError::UnsupportedKey { kind },
        Fault::Malformed(reason) => EncodeError::BadKey { kind, reason },
    })?;
    out.push(b'\n');
    Ok(())
}

fn letter(kind: u8) -> Option<u8> {
    Some(match kind {
        particle::NULL => b'N',
        particle::INTEGER => b'I',
        particle::FLOAT => b'D',
        particle::STRING => b'S',
        particle::BOOL => b'Z',
        particle::GEOJSON => b'G',
        _ => return particle::bytes_letter(kind),
    })
}

/// The wire value as text, from behind the name up to the line feed (asb.md 2.2).
fn push_value(out: &mut Vec<u8>, kind: u8, bytes: &[u8], raw: bool) -> Result<(), Fault> {
    match kind {
        particle::NULL if bytes.is_empty() => {}
        particle::NULL => return Err(Fault::Malformed("a null with a value")),
        particle::INTEGER => {
            let value = wire_integer(bytes).ok_or(Fault::Malformed("an integer has 1, 2, 4 or 8 bytes"))?;
            out.extend_from_slice(itoa::Buffer::new().format(value).as_bytes());
        }
        particle::FLOAT => {
            let bytes = bytes.try_into().map_err(|_| Fault::Malformed("a float has 8 bytes"))?;
            push_float(out, f64::from_be_bytes(bytes));
        }
        particle::BOOL => out.push(match bytes {
            [0] => b'F',
            [1] => b'T',
            _ => return Err(Fault::Malformed("a boolean is one byte, 0 or 1")),
        }),
        particle::STRING => push_sized(out, bytes),
        particle::GEOJSON => push_sized(out, geo_text(bytes)?),
        _ if particle::bytes_letter(kind).is_none() => return Err(Fault::Unsupported),
        _ if raw => push_sized(out, bytes),
        _ => {
            push_length(out, base64_simd::STANDARD.encoded_length(bytes.len()));
            base64_simd::STANDARD.encode_append(bytes, out);
        }
    }
    Ok(())
}

/// The text of a geo particle: behind one byte of flags, the number of cells and the cells of 8 bytes.
fn geo_text(bytes: &[u8]) -> Result<&[u8], Fault> {
    let short = Fault::Malformed("the geo header reaches beyond the value");
    let [_flags, high, low, rest @ ..] = bytes else { return Err(short) };
    rest.get(usize::from(u16::from_be_bytes([*high, *low])) * 8..).ok_or(short)
}

fn push_length(out: &mut Vec<u8>, length: usize) {
    out.extend_from_slice(itoa::Buffer::new().format(length).as_bytes());
    out.push(b' ');
}

fn push_sized(out: &mut Vec<u8>, bytes: &[u8]) {
    push_length(out, bytes.len());
    out.extend_from_slice(bytes);
}
