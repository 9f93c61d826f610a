//! One file on its way back: storage → hash → decompress → decode.

use std::io::{self, Read};
use std::sync::Arc;

use bytes::{Buf, Bytes};
use tokio::runtime::Handle;
use tokio_util::sync::CancellationToken;

use crate::asb::{BlockHasher, Decoder, Decompressor, FileHeader, Item, StoredForm};
use crate::engine::FileToRead;
use crate::error::{Error, Result};
use crate::storage::{ObjectReader, Storage};

/// Where and how the items of files are read; all readers of one member share it.
#[derive(Clone)]
pub struct FileSource {
    /// The storage.
    pub storage: Arc<dyn Storage>,
    /// Drives the storage from blocking threads.
    pub runtime: Handle,
    /// Ends a read, also one that waits for storage.
    pub cancel: CancellationToken,
}

impl FileSource {
    /// The header of a file. Blocks its thread.
    pub fn header(&self, file: &FileToRead) -> Result<FileHeader> {
        let reader = self.runtime.block_on(self.storage.open(&file.key))?;
        let mut stored = Stored::new(reader, self);
        let broken = |error: &dyn std::fmt::Display| damaged(file, &error.to_string());
        let header = match stored.peek().map_err(|error| broken(&error))? {
            StoredForm::Zstd => {
                let text = Decompressor::new(&mut stored).map_err(|error| broken(&error))?;
                Decoder::open(text).map_err(|error| broken(&error))?.header().clone()
            }
            _ => Decoder::open(&mut stored).map_err(|error| broken(&error))?.header().clone(),
        };
        stored.take_error().map_or(Ok(header), Err)
    }

    /// Hands every item of a file to `visit`; gives the stored bytes read. Blocks its thread.
    ///
    /// Errors: `file-damaged` names the file and where it differs; those of `visit`, untouched.
    pub fn read(&self, file: &FileToRead, visit: &mut dyn FnMut(Item<'_>) -> Result<()>) -> Result<u64> {
        let reader = self.runtime.block_on(self.storage.open(&file.key))?;
        if reader.size_bytes() != file.size {
            return Err(damaged(
                file,
                &format!("it has {} bytes, {} were expected", reader.size_bytes(), file.size),
            ));
        }
        if file.size == 0 {
            tracing::warn!(file = file.key, "an empty file is passed over");
            return Ok(0);
        }
        let mut stored = Stored::new(reader, self);
        let outcome = stored.peek().map_err(|error| storage_error(file, error)).and_then(|form| match form {
            StoredForm::Zstd => {
                let text = Decompressor::new(&mut stored).map_err(|error| storage_error(file, error))?;
                visit_items(file, text, visit)
            }
            _ => visit_items(file, &mut stored, visit),
        });
        let undecodable = outcome.as_ref().is_err_and(|error| error.code() == "file-damaged");
        if stored.error.is_none() && undecodable && file.root.is_some() && !self.cancel.is_cancelled() {
            // A checksum that differs says more than what the decoder stumbled over: read on to know it.
            let _ = io::copy(&mut stored, &mut io::sink());
            if stored.error.is_none() {
                stored.verify(file)?;
                return outcome.map(|()| 0);
            }
        }
        if let Some(error) = stored.take_error() {
            return Err(error);
        }
        outcome?;
        io::copy(&mut stored, &mut io::sink()).map_err(|error| storage_error(file, error))?;
        stored.verify(file)
    }
}

fn visit_items(
    file: &FileToRead,
    text: impl Read,
    visit: &mut dyn FnMut(Item<'_>) -> Result<()>,
) -> Result<()> {
    let mut decoder = Decoder::open(text).map_err(|error| damaged(file, &error.to_string()))?;
    while let Some(item) = decoder.next_item().map_err(|error| damaged(file, &error.to_string()))? {
        visit(item)?;
    }
    Ok(())
}

/// The stored bytes of a file, hashed as they pass.
struct Stored<'a> {
    reader: Box<dyn ObjectReader>,
    source: &'a FileSource,
    current: Bytes,
    hasher: Option<BlockHasher>,
    read: u64,
    /// What storage said, kept whole: `Read` can only carry an `io::Error`.
    error: Option<Error>,
}

impl<'a> Stored<'a> {
    fn new(reader: Box<dyn ObjectReader>, source: &'a FileSource) -> Self {
        Self { reader, source, current: Bytes::new(), hasher: Some(BlockHasher::new()), read: 0, error: None }
    }

    /// What the first bytes say of the file.
    fn peek(&mut self) -> io::Result<StoredForm> {
        self.fill()?;
        Ok(StoredForm::detect(&self.current))
    }

    fn fill(&mut self) -> io::Result<()> {
        if !self.current.is_empty() {
            return Ok(());
        }
        let (reader, cancel) = (&mut self.reader, &self.source.cancel);
        let next = self.source.runtime.block_on(async {
            tokio::select! {
                biased;
                () = cancel.cancelled() => Err(Error::temporary("canceled", "the restore was canceled")),
                next = reader.next() => next,
            }
        });
        match next {
            Ok(Some(block)) => {
                self.read += block.len() as u64;
                if let Some(hasher) = &mut self.hasher {
                    hasher.update(&block);
                }
                self.current = block;
            }
            Ok(None) => {}
            Err(error) => {
                let text = error.to_string();
                self.error = Some(error);
                return Err(io::Error::other(text));
            }
        }
        Ok(())
    }

    fn take_error(&mut self) -> Option<Error> {
        self.error.take()
    }

    /// Compares what was read with what the manifest names; gives the bytes read.
    fn verify(mut self, file: &FileToRead) -> Result<u64> {
        if self.read != file.size {
            return Err(damaged(file, &format!("it ends after {} of {} bytes", self.read, file.size)));
        }
        if let (Some(hasher), Some(root)) = (self.hasher.take(), file.root) {
            let hashes = hasher.finish();
            if hashes.root != root {
                return Err(damaged(file, &differing_block(&hashes.blocks, file)));
            }
        }
        Ok(self.read)
    }
}

impl Read for Stored<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.fill()?;
        let length = buffer.len().min(self.current.len());
        if let Some(target) = buffer.get_mut(..length) {
            self.current.copy_to_slice(target);
        }
        Ok(length)
    }
}

/// Which block differs from the manifest's, if its block hashes are known.
fn differing_block(found: &[[u8; 32]], file: &FileToRead) -> String {
    let differs = file.blocks.iter().zip(found).position(|(expected, found)| expected != found);
    match differs {
        Some(block) => {
            let from = block as u64 * crate::asb::BLOCK_BYTES as u64;
            format!("block {block}, from byte {from} on, does not have the checksum of its manifest")
        }
        None => "its checksum is not that of its manifest".to_owned(),
    }
}

fn damaged(file: &FileToRead, what: &str) -> Error {
    Error::permanent("file-damaged", format!("file {}: {what}", file.key))
        .hint("Restore from another backup, or from a copy of this one.")
}

fn storage_error(file: &FileToRead, error: io::Error) -> Error {
    damaged(file, &error.to_string())
}
