//! Where backups are kept: one trait, one file per provider, one conformance suite that all pass.
//!
//! A key is a relative slash path (`daily/backup/1700000000000/data/ns/0_ns_1.asb`). A prefix names a folder: it
//! matches whole segments (`data/ns` never matches `data/ns.2/…`), may end in `/`, and is empty for the root.
//!
//! Error codes: `storage-key-invalid`, `storage-not-found`, `storage-object-too-large`, `storage-denied`,
//! `storage-archived`, `storage-bucket-missing`, `storage-refused`, `storage-changed` (permanent);
//! `storage-full`, `storage-unavailable`, `storage-io` (temporary).

pub mod azure;
mod cloud;
#[cfg(test)]
pub mod conformance;
#[cfg(any(test, feature = "fault-injection"))]
pub mod faulty;
pub mod gcp;
pub mod key;
pub mod local;
pub mod paced;
pub mod retry;
pub mod s3;
pub mod watched;

use std::fmt::Debug;

use async_trait::async_trait;
use bytes::Bytes;

pub use key::{check_key, folder_of, join};
pub use local::LocalStorage;
pub use s3::S3Storage;

use crate::error::Result;
use crate::model::UnixMillis;

/// The largest block that an [`ObjectReader`] hands out.
pub const READ_BLOCK_BYTES: usize = 1024 * 1024;

/// One object as a listing shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ObjectInfo {
    /// The key, relative to the storage root.
    pub key: String,
    /// The stored size.
    pub size_bytes: u64,
    /// When the object was last written, by the storage's own clock.
    pub modified: UnixMillis,
}

/// Which writing of an object it is, in the provider's words.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Version {
    /// Its ETag.
    pub e_tag: Option<String>,
    /// Its generation, where that is another thing.
    pub generation: Option<String>,
}

/// A place that keeps objects under keys.
#[async_trait]
pub trait Storage: Send + Sync + Debug {
    /// Writes a small object; atomic, and durable when it returns. Replaces what was there.
    async fn put(&self, key: &str, bytes: Bytes) -> Result<()>;

    /// Starts a streamed object, which nobody sees before [`ObjectWriter::finish`].
    async fn create(&self, key: &str) -> Result<Box<dyn ObjectWriter>>;

    /// Reads a whole small object; larger than `limit_bytes` is the error `storage-object-too-large`.
    ///
    /// `None` only when the object certainly does not exist (rules.md 6.1); every doubt is an error.
    async fn get(&self, key: &str, limit_bytes: u64) -> Result<Option<Bytes>>;

    /// As [`Storage::get`], with what [`Storage::put_over`] compares; an empty version where the provider has none.
    async fn get_version(&self, key: &str, limit_bytes: u64) -> Result<Option<(Bytes, Version)>> {
        Ok(self.get(key, limit_bytes).await?.map(|bytes| (bytes, Version::default())))
    }

    /// As [`Storage::put`], but only over this very version, where the provider compares. An error says nothing sure of
    /// what is stored now: look.
    async fn put_over(&self, key: &str, bytes: Bytes, version: &Version) -> Result<()> {
        let _ = version;
        self.put(key, bytes).await
    }

    /// Starts a streamed read; a missing object is the error `storage-not-found`.
    async fn open(&self, key: &str) -> Result<Box<dyn ObjectReader>>;

    /// Size and date of one object; `None` as for [`Storage::get`].
    async fn head(&self, key: &str) -> Result<Option<ObjectInfo>>;

    /// Every object below a prefix, in byte order of the keys.
    async fn list(&self, prefix: &str) -> Result<Vec<ObjectInfo>>;

    /// The names of the folders directly below a prefix, in byte order. A folder that holds no finished object may
    /// be shown (local) or not (object stores).
    async fn list_dirs(&self, prefix: &str) -> Result<Vec<String>>;

    /// Deletes one object; a missing one is no error.
    async fn delete(&self, key: &str) -> Result<()>;

    /// Deletes everything below a prefix, unfinished uploads too where the provider can find them; how many objects
    /// went. The root is refused.
    async fn delete_prefix(&self, prefix: &str) -> Result<u64>;

    /// Deletes what was begun below a prefix and never finished, as far as the provider can find it; finished objects
    /// stay. By default nothing can be found.
    async fn delete_unfinished(&self, prefix: &str) -> Result<()> {
        let _ = prefix;
        Ok(())
    }

    /// Whether a write that seemed to fail may still appear later, so that another attempt needs another folder
    /// (rules.md 3.9).
    fn writes_may_land_late(&self) -> bool {
        true
    }

    /// The place in words, for logs and errors; never a secret. The same place says the same, whatever name it is
    /// configured under: pins and deletions go by it ([`address`]).
    fn describe(&self) -> String;
}

/// The address of a key: the place of its storage, and the key. Of two storages of which one lies in the other, both
/// give the same address to one object.
pub fn address(place: &str, key: &str) -> String {
    let (place, key) = (place.trim_end_matches('/'), key.trim_matches('/'));
    if key.is_empty() { place.to_owned() } else { format!("{place}/{key}") }
}

/// An object being written; dropped before its end, it leaves nothing visible.
#[async_trait]
pub trait ObjectWriter: Send {
    /// Appends a block; after an error only [`ObjectWriter::abort`] is of use.
    async fn write(&mut self, block: Bytes) -> Result<()>;

    /// Makes the object durable and visible; how many bytes it has.
    async fn finish(self: Box<Self>) -> Result<u64>;

    /// Gives the object up and removes what was written.
    async fn abort(self: Box<Self>) -> Result<()>;
}

/// An object being read from its start.
#[async_trait]
pub trait ObjectReader: Send {
    /// The next block of at most [`READ_BLOCK_BYTES`], never empty; `None` at the end.
    async fn next(&mut self) -> Result<Option<Bytes>>;

    /// The size of the object when it was opened.
    fn size_bytes(&self) -> u64;
}
