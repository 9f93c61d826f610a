//! Where backup files lie: on this machine, or in a storage.

use std::fs;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::{Buf, Bytes};
use tokio::runtime::Handle;

use crate::error::{Error, Result};
use crate::storage::{ObjectReader, Storage};

/// What lies at a path.
#[derive(Debug, Default)]
pub(super) struct Found {
    /// Every file at or below it, in no order.
    pub files: Vec<PathBuf>,
    /// Whether it is a folder.
    pub is_folder: bool,
}

/// A place with files. Its calls block.
pub(super) trait Shelf {
    /// What lies at a path.
    fn find(&self, at: &Path) -> Result<Found>;

    /// Reads a file from its start; none if there is none.
    fn open(&self, path: &Path) -> Result<Option<Box<dyn Read>>>;
}

/// That a file or folder cannot be read.
pub(super) fn failed(path: &Path, error: io::Error) -> Error {
    Error::permanent("inspect-io", format!("read {}", path.display()))
        .source(error)
        .hint("Check the path and that this user may read it.")
}

/// This machine.
#[derive(Debug)]
pub(super) struct Disk;

impl Shelf for Disk {
    fn find(&self, at: &Path) -> Result<Found> {
        let is_folder = at.is_dir();
        let mut files = Vec::new();
        if is_folder {
            collect(at, &mut files)?;
        } else {
            files.push(at.to_owned());
        }
        Ok(Found { files, is_folder })
    }

    fn open(&self, path: &Path) -> Result<Option<Box<dyn Read>>> {
        match fs::File::open(path) {
            Ok(file) => Ok(Some(Box::new(file))),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(failed(path, error)),
        }
    }
}

fn collect(folder: &Path, files: &mut Vec<PathBuf>) -> Result<()> {
    for entry in fs::read_dir(folder).map_err(|error| failed(folder, error))? {
        let entry = entry.map_err(|error| failed(folder, error))?;
        let kind = entry.file_type().map_err(|error| failed(folder, error))?;
        if kind.is_dir() {
            collect(&entry.path(), files)?;
        } else {
            files.push(entry.path());
        }
    }
    Ok(())
}

/// A storage, by its keys; only off the async threads.
#[derive(Debug)]
pub(super) struct Stored {
    pub storage: Arc<dyn Storage>,
    pub runtime: Handle,
}

impl Shelf for Stored {
    fn find(&self, at: &Path) -> Result<Found> {
        let key = key(at)?.trim_matches('/');
        if !key.is_empty() && self.runtime.block_on(self.storage.head(key))?.is_some() {
            return Ok(Found { files: vec![PathBuf::from(key)], is_folder: false });
        }
        let listed = self.runtime.block_on(self.storage.list(key))?;
        Ok(Found { files: listed.into_iter().map(|one| one.key.into()).collect(), is_folder: true })
    }

    fn open(&self, path: &Path) -> Result<Option<Box<dyn Read>>> {
        match self.runtime.block_on(self.storage.open(key(path)?)) {
            Ok(reader) => {
                Ok(Some(Box::new(Blocks { reader, runtime: self.runtime.clone(), block: Bytes::new() })))
            }
            Err(error) if error.code() == "storage-not-found" => Ok(None),
            Err(error) => Err(error),
        }
    }
}

fn key(path: &Path) -> Result<&str> {
    path.to_str().ok_or_else(|| {
        Error::permanent("storage-key-invalid", format!("{} is no name of an object", path.display()))
    })
}

/// An object, read block by block.
struct Blocks {
    reader: Box<dyn ObjectReader>,
    runtime: Handle,
    block: Bytes,
}

impl Read for Blocks {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.block.is_empty() {
            let next = self.runtime.block_on(self.reader.next());
            self.block =
                next.map_err(|error| io::Error::other(error.report_without_hint()))?.unwrap_or_default();
        }
        let count = self.block.as_ref().read(buffer)?;
        self.block.advance(count);
        Ok(count)
    }
}
