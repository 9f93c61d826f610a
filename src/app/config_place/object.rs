//! The configuration as an object of a storage.

use std::fmt;
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use tokio::sync::Mutex;
use tokio::time::timeout;

use super::{PATIENCE, silent};
use crate::app::places::{FRESH, open_alone};
use crate::config::{DOCUMENT_BYTES_MAX, StorageConfig, StoragePlace};
use crate::error::{Error, Result};
use crate::secrets::Keeper;
use crate::storage::{Storage, Version, address};

/// An object that is a configuration. Clones share the client.
#[derive(Clone)]
pub struct ConfigObject(Arc<Inner>);

struct Inner {
    place: StoragePlace,
    key: String,
    shown: String,
    keeper: Keeper,
    /// The client, and since when: one that asked for its secrets when it was opened is not used for ever.
    client: Mutex<Option<(Instant, Arc<dyn Storage>)>>,
}

impl ConfigObject {
    pub(super) fn new(place: StoragePlace, key: String, keeper: Keeper) -> Self {
        let config = StorageConfig { name: None, place };
        let shown = address(&config.place(), &key);
        Self(Arc::new(Inner { place: config.place, key, shown, keeper, client: Mutex::default() }))
    }

    async fn client(&self) -> Result<Arc<dyn Storage>> {
        let mut client = self.0.client.lock().await;
        if let Some((_, storage)) = client.as_ref().filter(|(since, _)| since.elapsed() < FRESH) {
            return Ok(Arc::clone(storage));
        }
        let storage = Box::pin(open_alone(&self.0.place, &self.0.keeper)).await?;
        *client = Some((Instant::now(), Arc::clone(&storage)));
        Ok(storage)
    }

    /// Errors: `config-unreadable` where there is no such object, or no answer; those of storage.
    pub(super) async fn read(&self) -> Result<(Bytes, Version)> {
        let read = async {
            self.client().await?.get_version(&self.0.key, DOCUMENT_BYTES_MAX as u64).await?.ok_or_else(|| {
                Error::permanent("config-unreadable", format!("{self} does not exist"))
                    .hint("The pointer's path is the name of the object that is the configuration.")
            })
        };
        timeout(PATIENCE, read).await.unwrap_or_else(|_| Err(silent(self)))
    }

    /// Writes `new` over `old`, as which it was read. After an error storage is asked what it has: an answer may be lost,
    /// and a write that seems to have failed may have been done.
    pub(super) async fn replace(&self, old: (&str, &Version), new: &str, keep_old: bool) -> Result<Version> {
        let (text, version) = old;
        let Err(error) = self.write(text, version, new, keep_old).await else {
            // Only for the version: what was written is written.
            return Ok(self.read().await.map_or_else(|_| Version::default(), |(_, version)| version));
        };
        let refused = |what: String, hint: &'static str| {
            Error::permanent("config-not-persisted", what)
                .source(Cause(error.report_without_hint()))
                .hint(hint)
        };
        match self.read().await {
            Ok((bytes, version)) if bytes == new.as_bytes() => {
                tracing::warn!(reason = error.report(), "the configuration was written all the same");
                Ok(version)
            }
            Ok((bytes, _)) if bytes == text.as_bytes() => {
                Err(refused(format!("write {self}"), "Nothing has changed."))
            }
            Ok(_) => Err(refused(
                format!("{self} was changed by somebody else at the same time"),
                "Look at it with GET /v1/config once it was read again, and repeat the change.",
            )),
            Err(_) => Err(refused(
                format!("write {self}, and it does not say whether it was"),
                "Nothing has changed here; what is found there once it can be read again is then put in force.",
            )),
        }
    }

    async fn write(&self, text: &str, version: &Version, new: &str, keep_old: bool) -> Result<()> {
        let bytes = |text: &str| Bytes::copy_from_slice(text.as_bytes());
        let write = async {
            let storage = self.client().await?;
            if keep_old {
                storage.put(&format!("{}.bak", self.0.key), bytes(text)).await?;
            }
            storage.put_over(&self.0.key, bytes(new), version).await
        };
        timeout(PATIENCE, write).await.unwrap_or_else(|_| Err(silent(self)))
    }
}

impl fmt::Display for ConfigObject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.shown)
    }
}

impl fmt::Debug for ConfigObject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ConfigObject({self})")
    }
}

/// What an error said, as the cause of another.
#[derive(Debug)]
struct Cause(String);

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Cause {}
