//! The storages that configurations name, opened.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::roots;
use crate::clock::{SharedClock, SystemClock};
use crate::config::{StorageConfig, StoragePlace};
use crate::error::{Error, Result};
use crate::secrets::Keeper;
use crate::storage::{LocalStorage, S3Storage, Storage, azure, gcp};
use crate::store::Store;

/// How long a start waits for an object store to show that it is there; jobs wait longer.
pub const LOOK: Duration = Duration::from_secs(10);
/// Clients that are kept; requests may name any number of storages.
const KEPT: usize = 32;
/// For how long a client is used that asked for its secrets when it was opened (abs.md 2.4).
pub(super) const FRESH: Duration = Duration::from_mins(10);

/// Opens the storages that configurations name. Clones share their clients, so that connections and credentials are not
/// asked for again with each job.
#[derive(Debug, Clone)]
pub struct Places {
    store: Store,
    keeper: Keeper,
    opened: Arc<Mutex<Opened>>,
}

/// Clients of object stores, the oldest first, each by what it was made of.
type Opened = Vec<(StoragePlace, Instant, Arc<dyn Storage>)>;

impl Places {
    /// With the store that knows which folders were there before, and the keeper of what configuration and requests hold
    /// in clear.
    pub fn new(store: Store, keeper: Keeper) -> Self {
        Self { store, keeper, opened: Arc::default() }
    }

    /// The store that knows which folders were there before.
    pub fn store(&self) -> &Store {
        &self.store
    }

    /// The storage that a configuration names, which must be there: a disk that is not mounted must not look like
    /// backups that do not exist (rules.md 6.1). Of an object store, which cannot be taken for another, nothing is asked.
    ///
    /// Errors: `storage-unavailable` where a known folder has lost its mark, and those of storage.
    pub async fn open(&self, config: &StorageConfig) -> Result<Arc<dyn Storage>> {
        match &config.place {
            StoragePlace::Local { path, .. } => {
                roots::check(&self.store, path, self.open_unchecked(config).await).await
            }
            _ => self.open_unchecked(config).await,
        }
    }

    /// As [`Places::open`], for one that nothing is known of yet.
    pub async fn open_unchecked(&self, config: &StorageConfig) -> Result<Arc<dyn Storage>> {
        let storage = match &config.place {
            StoragePlace::Local { .. } => open_alone(&config.place, &self.keeper).await?,
            _ => Box::pin(self.client(&config.place)).await?,
        };
        #[cfg(feature = "fault-injection")]
        let storage: Arc<dyn Storage> = Arc::new(crate::storage::faulty::Faulty::by_environment(storage));
        Ok(storage)
    }

    /// Makes ready what a configuration names: the folder of a local storage that was never used is made and marked.
    ///
    /// A bucket gets no mark, as it needs none: one that is missing, or cannot be reached, answers with an error and
    /// never as an empty one. It is only looked whether it is there, for the log of the start.
    ///
    /// Errors: `storage-unavailable`, and those of storage.
    pub async fn prepare(&self, config: &StorageConfig) -> Result<()> {
        if let StoragePlace::Local { path, .. } = &config.place {
            if roots::is_known(&self.store, path).await? {
                return self.open(config).await.map(drop);
            }
            return roots::make(&self.store, path).await;
        }
        let looked = async { self.open(config).await?.head(roots::ROOT_MARK).await.map(drop) };
        tokio::time::timeout(LOOK, looked).await.unwrap_or_else(|_| {
            let text = format!("{} has not answered within {} s", config.place(), LOOK.as_secs());
            Err(Error::temporary("storage-unavailable", text))
        })
    }

    /// Forgets the clients: keys of a configuration that is not in force any more are used no longer.
    pub fn forget(&self) {
        self.opened.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    /// The client of an object store, the same for the same place.
    async fn client(&self, place: &StoragePlace) -> Result<Arc<dyn Storage>> {
        let known = |opened: &Opened| {
            let found = opened.iter().find(|(known, since, _)| known == place && is_fresh(known, *since));
            found.map(|(_, _, storage)| Arc::clone(storage))
        };
        if let Some(storage) = known(&self.opened.lock().unwrap_or_else(PoisonError::into_inner)) {
            return Ok(storage);
        }
        let storage = open_alone(place, &self.keeper).await?;
        let mut opened = self.opened.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(storage) = known(&opened) {
            return Ok(storage);
        }
        opened.retain(|(known, since, _)| is_fresh(known, *since));
        if opened.len() >= KEPT {
            opened.remove(0);
        }
        opened.push((place.clone(), Instant::now(), Arc::clone(&storage)));
        Ok(storage)
    }
}

/// Opens a storage for this once.
///
/// Errors: those of storage.
pub async fn open_alone(place: &StoragePlace, keeper: &Keeper) -> Result<Arc<dyn Storage>> {
    let clock: SharedClock = Arc::new(SystemClock);
    Ok(match place {
        StoragePlace::S3(s3) => Arc::new(Box::pin(S3Storage::open(s3, keeper, &clock)).await?),
        StoragePlace::Azure(azure) => Arc::new(azure::open(azure, keeper).await?),
        StoragePlace::Gcp(gcp) => Arc::new(gcp::open(gcp, keeper).await?),
        StoragePlace::Local { path, .. } => Arc::new(LocalStorage::open(path).await?),
    })
}

/// Whether a client opened `since` may have secrets that were replaced; that of S3 asks again by itself.
fn is_fresh(place: &StoragePlace, since: Instant) -> bool {
    matches!(place, StoragePlace::S3(_)) || since.elapsed() < FRESH
}
