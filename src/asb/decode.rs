//! Reading the text: a pull decoder with one buffer; what it hands out are views into it (asb.md 1.2 to 1.13).
//!
//! Reads 3.0 (no escapes, no global section), 3.1, 3.2, and the set index lines of 3.3. Global lines may stand anywhere
//! behind the metadata lines. The end of the input is legal only where a record or a global line would start.

mod error;
mod global;
mod record;
mod text;

use std::io::Read;

pub use error::{DecodeError, Position};
pub use record::Record;

use self::record::Layout;
use self::text::Text;
use super::types::{FileHeader, IndexDef, SetIndexDef, UdfDef, Version};

/// Most bytes of text for one record or function: a message of 128 MiB, the most a server sends, all of it base64, and
/// 5 MiB for the lines around it.
pub const ITEM_BYTES_MAX: usize = 176 << 20;

/// One thing in a backup file.
#[derive(Debug, Clone)]
pub enum Item<'a> {
    /// A secondary or expression index.
    Index(IndexDef),
    /// A set index, which no released tool can restore: it is for the caller to report.
    SetIndex(SetIndexDef),
    /// A function module.
    Udf(UdfDef),
    /// A record.
    Record(Record<'a>),
}

/// Reads one file item by item. Memory: a buffer of 256 KiB, while a larger item is read up to twice its text, and a side
/// buffer for its decoded values; both go back to at most 8 MiB behind it.
#[derive(Debug)]
pub struct Decoder<R: Read> {
    text: Text<R>,
    header: FileHeader,
    layout: Layout,
    failed: bool,
}

impl<R: Read> Decoder<R> {
    /// Reads the header. A file without a byte is [`DecodeError::Empty`], which readers skip with a warning.
    pub fn open(reader: R) -> Result<Self, DecodeError> {
        Self::open_with_limit(reader, ITEM_BYTES_MAX)
    }

    /// Like [`Self::open`], with another cap on the text of one item (at least 4 KiB, at most 1 GiB), in bytes.
    pub fn open_with_limit(reader: R, item_bytes_max: usize) -> Result<Self, DecodeError> {
        let mut text = Text::new(reader, item_bytes_max);
        let header = text.file_header()?;
        Ok(Self { text, header, layout: Layout::default(), failed: false })
    }

    /// The header of the file.
    pub fn header(&self) -> &FileHeader {
        &self.header
    }

    /// The next item, or none at the end of the file. After an error there is nothing more to read.
    pub fn next_item(&mut self) -> Result<Option<Item<'_>>, DecodeError> {
        if self.failed {
            return Err(DecodeError::Stopped { at: self.text.position() });
        }
        self.failed = true; // until this item is read
        self.text.begin_item();
        let item = match self.text.peek()? {
            None => None,
            Some(b'+') => {
                self.text.record(&mut self.layout)?;
                Some(Item::Record(Record::new(&self.layout, self.text.item(), self.text.scratch())))
            }
            Some(b'*') if self.header.version != Version::V3_0 => Some(self.text.global()?),
            Some(found) => {
                return Err(self.text.unexpected("a record (`+`) or a global line (`*`)", Some(found)));
            }
        };
        self.failed = false;
        Ok(item)
    }

    /// How many bytes of the decoded text have been read as items, or up to an error.
    pub fn offset(&self) -> u64 {
        self.text.position_offset()
    }
}
