//! Reading files without writing anything anywhere.

use std::sync::Arc;

use tokio::runtime::Handle;
use tokio_util::sync::CancellationToken;

use super::decode::FileSource;
use super::threads;
use crate::asb::Item;
use crate::engine::{FileToRead, Watch};
use crate::error::{Error, Result};
use crate::storage::Storage;
use crate::tasks;

/// What a file turned out to hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Held {
    /// Records.
    pub records: u64,
    /// Secondary indexes.
    pub indexes: u64,
    /// UDF modules.
    pub udfs: u64,
    /// Stored bytes.
    pub bytes: u64,
}

impl Held {
    /// Adds another's numbers.
    pub fn add(&mut self, other: &Self) {
        self.records += other.records;
        self.indexes += other.indexes;
        self.udfs += other.udfs;
        self.bytes += other.bytes;
    }
}

/// `watch` is told of records at least this often while a file is read.
const RECORDS_PER_REPORT: u64 = 4096;

/// Reads a file to its end: sizes, checksums and every item.
///
/// Of a file whose key nobody gave, only the stored bytes are compared; nothing in it is counted.
///
/// Errors: `file-damaged` names the file and where it differs; `wrong-key`; `canceled`; those of storage, untouched.
pub async fn check(
    storage: &Arc<dyn Storage>,
    file: &FileToRead,
    watch: Option<Arc<dyn Watch>>,
    cancel: &CancellationToken,
) -> Result<Held> {
    let source = FileSource { watch: watch.clone(), ..source(storage, cancel) };
    let (file, seat) = (file.clone(), threads::seat(cancel).await?);
    tasks::blocking(move || {
        let _seat = seat;
        let mut held = Held::default();
        if file.unlock.is_locked() {
            held.bytes = source.read_stored(&file)?;
            return Ok(held);
        }
        let mut reported = 0;
        let tell = |records: u64| {
            if let Some(watch) = &watch {
                watch.read(records);
                watch.done(records, 0);
            }
        };
        held.bytes = source.read(&file, &mut |item| {
            match item {
                Item::Record(_) => held.records += 1,
                Item::Index(_) | Item::SetIndex(_) => held.indexes += 1,
                Item::Udf(_) => held.udfs += 1,
            }
            if held.records - reported >= RECORDS_PER_REPORT {
                tell(held.records - reported);
                reported = held.records;
            }
            Ok(())
        })?;
        tell(held.records - reported);
        Ok(held)
    })
    .await
}

/// The namespace that a file's header names.
///
/// Errors: `namespace-unknown` if it names none.
pub async fn namespace_of(
    storage: &Arc<dyn Storage>,
    file: &FileToRead,
    cancel: &CancellationToken,
) -> Result<String> {
    let source = source(storage, cancel);
    let (file, seat) = (file.clone(), threads::seat(cancel).await?);
    tasks::blocking(move || {
        let _seat = seat;
        let namespace = source.header(&file)?.namespace;
        match String::from_utf8(namespace) {
            Ok(namespace) if !namespace.is_empty() => Ok(namespace),
            _ => Err(Error::permanent("namespace-unknown", format!("file {} names no namespace", file.key))
                .hint("Name it as the source of policy.namespace.")),
        }
    })
    .await
}

fn source(storage: &Arc<dyn Storage>, cancel: &CancellationToken) -> FileSource {
    FileSource {
        storage: Arc::clone(storage),
        runtime: Handle::current(),
        cancel: cancel.clone(),
        watch: None,
    }
}
