//! The seam by which a read that may be cut off says what it has finished, and hears what an earlier one had (rules.md 6.3).

use std::fmt::Debug;

use async_trait::async_trait;

use super::WrittenFile;
use crate::error::Result;
use crate::model::coverage::{Advance, Coverage};

/// A file that is closed and durable, and what it covers.
#[derive(Debug, Clone)]
pub struct FinishedFile {
    /// The file.
    pub file: WrittenFile,
    /// Whether it is the one that is marked as the first of the backup (asb.md 1.4).
    pub first: bool,
    /// Records before its end, and behind that of the file before, which the format cannot hold.
    pub unsupported: u64,
    /// What it adds to what is covered.
    pub advance: Advance,
}

/// The checkpoint of one namespace.
#[async_trait]
pub trait Checkpoint: Send + Sync + Debug {
    /// The files of earlier reads, found whole again: they are part of this one.
    fn kept(&self) -> &[FinishedFile];

    /// Tells the files of this read from those of earlier ones in the same folder; 0 if there were none.
    fn series(&self) -> u32;

    /// Notes files, those of one writer in the order in which they were closed. After a temporary error they have to be
    /// noted again, before any later one of that writer.
    async fn note(&self, files: &[FinishedFile]) -> Result<()>;

    /// Whether a file that is not full is worth closing when the read is cut off: another one will go on from it.
    fn is_of_use(&self) -> bool;

    /// Something that was read is not what the cluster had: no other read may go on from it.
    fn distrust(&self);
}

/// What the kept files cover.
pub fn coverage(kept: &[FinishedFile]) -> Coverage {
    let mut coverage = Coverage::default();
    for file in kept {
        coverage.add(&file.advance);
    }
    coverage
}
