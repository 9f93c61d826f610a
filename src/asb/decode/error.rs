//! What can be wrong with a text, and where.

use std::fmt;

/// A place in the decoded text (after decompression).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Position {
    /// Bytes before it.
    pub offset: u64,
    /// Line, from 1; line feeds inside values count, as in an editor.
    pub line: u64,
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "byte {} (line {})", self.offset, self.line)
    }
}

/// Why a text cannot be read. Holds no value of a record, at most one byte of it.
#[derive(Debug, thiserror::Error)]
pub enum DecodeError {
    /// The file has no byte at all; readers skip it with a warning (asb.md 1.1).
    #[error("the file is empty")]
    Empty,
    /// The text ends inside an item.
    #[error("the text ends at {at}, expected {expected}")]
    Truncated {
        /// Where it ends.
        at: Position,
        /// What should follow.
        expected: &'static str,
    },
    /// Something else stands where the format wants `expected`.
    #[error("at {at}: expected {expected}{}", found_text(*.found))]
    Unexpected {
        /// Where.
        at: Position,
        /// What the format wants there.
        expected: &'static str,
        /// The byte that stands there, when a single one says what is wrong.
        found: Option<u8>,
    },
    /// The header names a version that this reader does not know.
    #[error("at {at}: version '{}' of the format is not supported, expected 3.0 to 3.3", found.escape_ascii())]
    Version {
        /// Where.
        at: Position,
        /// The version in the header.
        found: [u8; 3],
    },
    /// A name or item longer than the reader holds.
    #[error("at {at}: the {what} is longer than {limit} bytes")]
    TooLong {
        /// Where.
        at: Position,
        /// What is too long.
        what: &'static str,
        /// Most bytes it may have.
        limit: usize,
    },
    /// The input could not be read.
    #[error("read failed at {at}")]
    Read {
        /// Where.
        at: Position,
        /// The cause.
        source: std::io::Error,
    },
    /// Asked for more after an error.
    #[error("reading stopped at an earlier error, at {at}")]
    Stopped {
        /// Where.
        at: Position,
    },
}

impl DecodeError {
    /// Where in the decoded text; none for an empty file.
    pub fn position(&self) -> Option<Position> {
        match self {
            Self::Empty => None,
            Self::Truncated { at, .. }
            | Self::Unexpected { at, .. }
            | Self::Version { at, .. }
            | Self::TooLong { at, .. }
            | Self::Read { at, .. }
            | Self::Stopped { at } => Some(*at),
        }
    }
}

fn found_text(found: Option<u8>) -> String {
    found.map_or_else(String::new, |byte| format!(", found '{}'", byte.escape_ascii()))
}
