//! Objects as files below one folder: written beside their place, synced, renamed, and the folder synced.
//!
//! Files are 0600, folders 0700 (abs.md 3, 3.7's form). No key follows a symbolic link out of the root, and listings
//! follow none at all.

#[cfg_attr(feature = "fault-injection", path = "local/disk_on_demand.rs")]
mod disk;
mod files;
mod walk;

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;

use self::files::{TempFile, io_error};
use super::key::{check_key, check_prefix};
use super::{ObjectInfo, ObjectReader, ObjectWriter, READ_BLOCK_BYTES, Storage};
use crate::error::{Error, Result};
use crate::tasks::blocking;

/// Objects as files below one folder.
#[derive(Debug, Clone)]
pub struct LocalStorage {
    /// The root without symbolic links: what containment is checked against.
    root: Arc<Path>,
}

impl LocalStorage {
    /// The storage at `path`, which must exist: for reading what somebody named.
    pub async fn open(path: impl Into<PathBuf>) -> Result<Self> {
        let path = path.into();
        blocking(move || Self::at(&path)).await
    }

    /// The storage at `path`, whose folder is made if it is missing: for a configured storage.
    ///
    /// A root that is missing later is an error of every call, never an empty storage: a disk that is not mounted
    /// must not look like backups that do not exist (rules.md 6.1).
    pub async fn create(path: impl Into<PathBuf>) -> Result<Self> {
        let path = path.into();
        blocking(move || {
            files::make_dirs(&path)?;
            Self::at(&path)
        })
        .await
    }

    fn at(path: &Path) -> Result<Self> {
        let root = path.canonicalize().map_err(|error| io_error("open storage folder", path, error))?;
        if !root.is_dir() {
            return Err(Error::permanent("storage-not-found", format!("{} is not a folder", root.display())));
        }
        Ok(Self { root: root.into() })
    }

    /// Runs `work` with the root and the path of a key, off the async threads.
    async fn run<T: Send + 'static>(
        &self,
        key: &str,
        work: impl FnOnce(&Path, &Path) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let (root, path) = (self.root.clone(), self.root.join(key));
        blocking(move || work(&root, &path)).await
    }
}

#[async_trait]
impl Storage for LocalStorage {
    async fn put(&self, key: &str, bytes: Bytes) -> Result<()> {
        check_key(key)?;
        self.run(key, move |root, path| {
            let (file, temp) = TempFile::create(root, path)?;
            temp.write_all(&file, &bytes)?;
            temp.finish(&file)
        })
        .await
    }

    async fn create(&self, key: &str) -> Result<Box<dyn ObjectWriter>> {
        check_key(key)?;
        let (file, temp) = self.run(key, TempFile::create).await?;
        Ok(Box::new(LocalWriter { open: Some((file, temp)), written: 0 }))
    }

    async fn get(&self, key: &str, limit_bytes: u64) -> Result<Option<Bytes>> {
        check_key(key)?;
        let key_text = key.to_owned();
        self.run(key, move |root, path| {
            let Some((file, size)) = files::open_object(root, path)? else { return Ok(None) };
            let mut bytes = Vec::with_capacity(size.min(limit_bytes) as usize);
            file.take(limit_bytes.saturating_add(1))
                .read_to_end(&mut bytes)
                .map_err(|error| io_error("read", path, error))?;
            if bytes.len() as u64 > limit_bytes {
                return Err(Error::permanent(
                    "storage-object-too-large",
                    format!("object {key_text:?} is larger than the {limit_bytes} bytes expected of it"),
                ));
            }
            Ok(Some(bytes.into()))
        })
        .await
    }

    async fn open(&self, key: &str) -> Result<Box<dyn ObjectReader>> {
        check_key(key)?;
        let path = self.root.join(key);
        let Some((file, size_bytes)) = self.run(key, files::open_object).await? else {
            return Err(Error::permanent("storage-not-found", format!("object {key:?} does not exist")));
        };
        Ok(Box::new(LocalReader { file: Some(file), size_bytes, path: path.into() }))
    }

    async fn head(&self, key: &str) -> Result<Option<ObjectInfo>> {
        check_key(key)?;
        let key_text = key.to_owned();
        self.run(key, move |root, path| {
            let Some(path) = files::resolve(root, path)? else { return Ok(None) };
            match path.metadata() {
                Ok(data) if data.is_file() => Ok(Some(files::info(key_text, &data))),
                Ok(_) => Ok(None),
                Err(error) => files::absent(root, &path, error).map(|()| None),
            }
        })
        .await
    }

    async fn list(&self, prefix: &str) -> Result<Vec<ObjectInfo>> {
        let folder = check_prefix(prefix)?;
        let key = folder.to_owned();
        self.run(folder, move |root, path| walk::list(root, path, &key)).await
    }

    async fn list_dirs(&self, prefix: &str) -> Result<Vec<String>> {
        self.run(check_prefix(prefix)?, walk::list_dirs).await
    }

    async fn delete(&self, key: &str) -> Result<()> {
        check_key(key)?;
        self.run(key, walk::delete).await
    }

    async fn delete_prefix(&self, prefix: &str) -> Result<u64> {
        let folder = check_prefix(prefix)?;
        check_key(folder)?;
        self.run(folder, walk::delete_tree).await
    }

    async fn delete_unfinished(&self, prefix: &str) -> Result<()> {
        self.run(check_prefix(prefix)?, walk::delete_unfinished).await
    }

    fn writes_may_land_late(&self) -> bool {
        false
    }

    fn describe(&self) -> String {
        format!("local storage {}", self.root.display())
    }
}

/// A file under its temporary name; dropping it removes the file.
#[derive(Debug)]
struct LocalWriter {
    /// None once a write failed or was abandoned half-way.
    open: Option<(File, TempFile)>,
    written: u64,
}

impl LocalWriter {
    fn take(&mut self) -> Result<(File, TempFile)> {
        self.open.take().ok_or_else(|| {
            Error::temporary("storage-io", "the object was given up after an earlier write failed")
        })
    }
}

#[async_trait]
impl ObjectWriter for LocalWriter {
    async fn write(&mut self, block: Bytes) -> Result<()> {
        let (file, temp) = self.take()?;
        let size = block.len() as u64;
        let open = blocking(move || {
            temp.write_all(&file, &block)?;
            Ok((file, temp))
        })
        .await?;
        self.open = Some(open);
        self.written += size;
        Ok(())
    }

    async fn finish(mut self: Box<Self>) -> Result<u64> {
        let (file, temp) = self.take()?;
        blocking(move || temp.finish(&file)).await?;
        Ok(self.written)
    }

    async fn abort(mut self: Box<Self>) -> Result<()> {
        let Some((file, temp)) = self.open.take() else { return Ok(()) };
        blocking(move || {
            drop(file);
            temp.remove()
        })
        .await
    }
}

/// A file being read.
#[derive(Debug)]
struct LocalReader {
    file: Option<File>,
    size_bytes: u64,
    path: Arc<Path>,
}

#[async_trait]
impl ObjectReader for LocalReader {
    async fn next(&mut self) -> Result<Option<Bytes>> {
        let Some(mut file) = self.file.take() else { return Ok(None) };
        let path = self.path.clone();
        let (file, block) = blocking(move || {
            let mut block = Vec::with_capacity(READ_BLOCK_BYTES);
            (&mut file)
                .take(READ_BLOCK_BYTES as u64)
                .read_to_end(&mut block)
                .map_err(|error| io_error("read", &path, error))?;
            Ok((file, block))
        })
        .await?;
        if block.is_empty() {
            return Ok(None);
        }
        self.file = Some(file);
        Ok(Some(block.into()))
    }

    fn size_bytes(&self) -> u64 {
        self.size_bytes
    }
}

#[cfg(test)]
mod tests;
