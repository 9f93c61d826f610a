//! The folders of local storages: a disk that is not mounted must not look like backups that do not exist
//! (rules.md 6.1).
//!
//! A folder is made, and marked with a file, only while the store has never seen it. From then on it must be there with its
//! mark: the empty place where a disk is to be mounted has none.

use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;

use crate::error::{Error, Result};
use crate::storage::{LocalStorage, Storage};
use crate::store::{KnownRoot, Store};

/// Lies in the folder of each local storage.
pub const ROOT_MARK: &str = "holdfast-root";

const MARK_TEXT: &[u8] =
    b"Holdfast keeps backups in this folder. Without this file it takes the disk for not mounted.\n";

/// Whether the store has seen the folder of a local storage.
pub(super) async fn is_known(store: &Store, path: &Path) -> Result<bool> {
    Ok(store.known_root(&key(path)).await?.is_some())
}

/// Makes the folder of a storage that was never used, and marks it.
pub(super) async fn make(store: &Store, path: &Path) -> Result<()> {
    let storage = LocalStorage::create(path).await?;
    let marked = match storage.head(ROOT_MARK).await? {
        Some(_) => Ok(()),
        None => storage.put(ROOT_MARK, Bytes::from_static(MARK_TEXT)).await,
    };
    let known = match marked {
        Ok(()) => KnownRoot::Marked,
        Err(error) => {
            // A disk to read from only is of use for restores.
            tracing::warn!(path = %path.display(), reason = error.report(), "the storage cannot be marked");
            KnownRoot::Seen
        }
    };
    store.know_root(&key(path), known).await
}

/// The storage as it was `opened`; one that was used before must be the same.
///
/// Errors: `storage-unavailable` where its mark is gone, and those of opening.
pub(super) async fn check(
    store: &Store,
    path: &Path,
    opened: Result<Arc<dyn Storage>>,
) -> Result<Arc<dyn Storage>> {
    let known = store.known_root(&key(path)).await?;
    let storage = match opened {
        Err(error) if known.is_some() && error.code() == "storage-not-found" => {
            return Err(unmounted(path, "is gone").source(error));
        }
        opened => opened?,
    };
    if known == Some(KnownRoot::Marked) && storage.head(ROOT_MARK).await?.is_none() {
        return Err(unmounted(path, "has lost its mark"));
    }
    Ok(storage)
}

fn unmounted(path: &Path, what: &str) -> Error {
    let text = format!("the storage folder {} {what}: its disk may not be mounted", path.display());
    Error::temporary("storage-unavailable", text).hint(format!(
        "Mount it. If it is to begin empty, make the folder and the file {ROOT_MARK} in it by hand."
    ))
}

fn key(path: &Path) -> String {
    std::path::absolute(path).unwrap_or_else(|_| path.to_owned()).to_string_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::ROOT_MARK;
    use crate::app::Places;
    use crate::clock::{ManualClock, SharedClock};
    use crate::config::{StorageConfig, StoragePlace};
    use crate::model::UnixMillis;
    use crate::secrets::Keeper;
    use crate::store::Store;

    #[tokio::test]
    async fn a_folder_is_made_once_and_then_must_be_the_same() {
        let dir = tempfile::tempdir().unwrap();
        let clock: SharedClock = Arc::new(ManualClock::at(UnixMillis(1_700_000_000_000)));
        let store = Store::open(&dir.path().join("state"), &clock).await.unwrap();
        let places = Places::new(store, Keeper::default());
        let path = dir.path().join("disk/backups");
        let place = StoragePlace::Local { path: path.clone(), part_bytes: 0 };
        let config = StorageConfig { name: Some("disk".to_owned()), place };

        assert_eq!(places.open(&config).await.unwrap_err().code(), "storage-not-found");
        places.prepare(&config).await.unwrap();
        places.open(&config).await.unwrap();

        // The disk is not mounted, and its place was made by somebody.
        std::fs::rename(&path, dir.path().join("unmounted")).unwrap();
        std::fs::create_dir(&path).unwrap();
        assert_eq!(places.open(&config).await.unwrap_err().code(), "storage-unavailable");
        assert_eq!(places.prepare(&config).await.unwrap_err().code(), "storage-unavailable");

        // Not even its place is there: it is not made anew.
        std::fs::remove_dir(&path).unwrap();
        assert_eq!(places.prepare(&config).await.unwrap_err().code(), "storage-unavailable");
        assert!(!path.exists());

        std::fs::rename(dir.path().join("unmounted"), &path).unwrap();
        places.prepare(&config).await.unwrap();
        assert!(path.join(ROOT_MARK).exists());
    }
}
