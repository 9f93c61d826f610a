//! Reading files without writing anything anywhere.

use std::sync::Arc;

use tokio::runtime::Handle;
use tokio_util::sync::CancellationToken;

use super::decode::FileSource;
use super::threads;
use crate::asb::Item;
use crate::engine::FileToRead;
use crate::error::{Error, Result};
use crate::storage::Storage;
use crate::tasks;

/// Reads a file to its end: sizes, checksums and every item; gives the number of records.
pub async fn check(storage: &Arc<dyn Storage>, file: &FileToRead, cancel: &CancellationToken) -> Result<u64> {
    let source = source(storage, cancel);
    let (file, seat) = (file.clone(), threads::seat(cancel).await?);
    tasks::blocking(move || {
        let _seat = seat;
        let mut records = 0;
        source.read(&file, &mut |item| {
            if matches!(item, Item::Record(_)) {
                records += 1;
            }
            Ok(())
        })?;
        Ok(records)
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
