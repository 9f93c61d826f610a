//! Lists of backups, from the cache of the catalog.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use futures_util::stream::{self, StreamExt};
use serde::Serialize;

use super::catalog::{CatalogView, Depth, Stale, catalog_view, entry_of, look_at_new, refresh};
use super::{App, TimeBounds};
use crate::catalog::details::{BackupDetails, Verification};
use crate::catalog::{BackupEntry, Listing, State};
use crate::config::StorageConfig;
use crate::error::{Error, Result};
use crate::model::{BackupType, UnixMillis};
use crate::store::{CatalogListing, VerificationRow};

/// Routines whose storage is read at once; each reads 32 runs at once.
pub(super) const READINGS_AT_ONCE: usize = 4;

/// Every document is read again when it was last read this long ago.
const WHOLE_EVERY_MS: i64 = 86_400_000;

/// Something that was known at an instant.
#[derive(Debug, Clone)]
pub struct Cached<T> {
    /// It.
    pub routines: T,
    /// When storage was last read for it, the oldest of several; none if nothing was asked for.
    pub as_of: Option<UnixMillis>,
    /// Why it is older than it should be.
    pub stale: Option<Stale>,
}

/// What came of reading one routine.
#[derive(Debug, Clone, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "kebab-case")]
pub struct RefreshedRoutine {
    /// What is known now.
    #[serde(flatten)]
    pub view: CatalogView,
    /// Whether storage answered everything; if not, `stale` says why.
    pub refreshed: bool,
}

/// A routine and the storage it backs up to.
type Wanted = (String, StorageConfig);

impl App {
    /// The backups of routines by the cache, oldest first; what is being deleted is left out. `refresh`: storage is read first.
    ///
    /// Errors: `routine-unknown`; those of storage where it was never read, or where `refresh` asks for it.
    pub async fn backups(
        &self,
        routines: &[&str],
        backup_type: BackupType,
        bounds: TimeBounds,
        refresh: bool,
    ) -> Result<Cached<BTreeMap<String, Vec<BackupDetails>>>> {
        let cached = self.cached(routines, backup_type, bounds, refresh).await?;
        let config = self.config();
        let level = config.service().compatibility;
        let named: Vec<(&str, &str)> = routines
            .iter()
            .filter_map(|name| Some((config.backup_routines.get(*name)?.storage.as_str(), *name)))
            .collect();
        // A backup's folder begins with its routine.
        let verified = self.jobs.store().verifications_of(&named).await?.into_iter();
        let mut verified: HashMap<String, VerificationRow> =
            verified.map(|row| (row.folder.clone(), row)).collect();
        let mut copies = self.verified_copies(routines).await?;
        let mut all = BTreeMap::new();
        for (routine, entries) in cached.routines {
            let storage =
                config.backup_routines.get(&routine).and_then(|one| config.storage.get(&one.storage));
            let shown = Arc::new(serde_json::to_value(storage).unwrap_or_default());
            let details =
                entries.iter().filter(|entry| entry.state != State::Marked).map(|entry| BackupDetails {
                    verification: verified.remove(&entry.key).map(verification),
                    copies: copies.remove(&entry.key).unwrap_or_default(),
                    ..BackupDetails::new(entry, Arc::clone(&shown), level)
                });
            all.insert(routine, details.collect());
        }
        Ok(Cached { routines: all, as_of: cached.as_of, stale: cached.stale })
    }

    /// The backups of routines that count, by the cache; what is being deleted is marked.
    pub(super) async fn cached(
        &self,
        routines: &[&str],
        backup_type: BackupType,
        bounds: TimeBounds,
        refresh: bool,
    ) -> Result<Cached<BTreeMap<String, Vec<BackupEntry>>>> {
        let config = self.config();
        let mut wanted: Vec<Wanted> = Vec::new();
        for name in routines {
            let Some(routine) = config.backup_routines.get(*name) else {
                return Err(Error::permanent("routine-unknown", format!("routine \"{name}\" not found")));
            };
            wanted.push(((*name).to_owned(), config.storage(&routine.storage)?));
        }
        let listings = self.up_to_date(&wanted, refresh).await?;
        let places: Vec<(String, &str)> =
            wanted.iter().map(|(name, storage)| (storage.place(), name.as_str())).collect();
        let of: Vec<(&str, &str)> = places.iter().map(|(place, name)| (place.as_str(), *name)).collect();
        let store = self.jobs.store();
        let mut marked: BTreeMap<&str, BTreeSet<String>> = BTreeMap::new();
        for listing in &listings {
            if !marked.contains_key(listing.true_place.as_str()) {
                marked.insert(&listing.true_place, store.marked(&listing.true_place).await?);
            }
        }
        let marked: HashMap<&str, &BTreeSet<String>> = listings
            .iter()
            .filter_map(|one| Some((one.routine.as_str(), marked.get(one.true_place.as_str())?)))
            .collect();
        let mut entries: BTreeMap<String, Vec<BackupEntry>> =
            wanted.iter().map(|(name, _)| (name.clone(), Vec::new())).collect();
        for (routine, row) in store.catalog_rows(&of, backup_type, bounds.from, bounds.to).await? {
            let is_marked = marked.get(routine.as_str()).is_some_and(|marked| marked.contains(&row.folder));
            if let Some(all) = entries.get_mut(&routine) {
                all.extend(entry_of(&routine, row, is_marked));
            }
        }
        let counted = entries.into_iter().map(|(name, all)| (name, Listing::of(all).into_counted()));
        Ok(Cached {
            routines: counted.collect(),
            as_of: listings.iter().filter_map(|one| one.as_of).min(),
            stale: listings.iter().find_map(|one| one.failed.as_ref()).map(Stale::of),
        })
    }

    /// What is known of each routine, after what must be read first was read.
    async fn up_to_date(&self, wanted: &[Wanted], refresh: bool) -> Result<Vec<CatalogListing>> {
        let since = self.now();
        let known = self.listings_of(wanted).await?;
        let mut reads = Vec::new();
        for (name, storage) in wanted {
            let one = known.iter().find(|one| one.routine == *name && one.as_of.is_some());
            // An empty list is asked of storage: one that is away must not look like backups that do not exist.
            let again = refresh || one.is_some_and(|one| !one.has_backups);
            if again || one.is_none() {
                reads.push(self.read_in(name.clone(), storage.clone(), Depth::Whole, again));
            }
        }
        let read_again = !reads.is_empty();
        let reads: Vec<_> = stream::iter(reads).buffer_unordered(READINGS_AT_ONCE).collect().await;
        let mut failed: Vec<(String, Error)> = Vec::new();
        for read in reads {
            failed.extend(read?);
        }
        let looked_at = self.look_at_committed(wanted).await?;
        if !read_again && !looked_at {
            return Ok(known);
        }
        let known = self.listings_of(wanted).await?;
        for (name, error) in failed {
            // Storage may have answered but for some folders: that is no reason to show nothing.
            let answered =
                known.iter().any(|one| one.routine == name && one.as_of.is_some_and(|at| at >= since));
            if !answered {
                return Err(error);
            }
        }
        Ok(known)
    }

    /// Reads a routine in; gives how it failed. With `again` also if another request has done so meanwhile.
    async fn read_in(
        &self,
        name: String,
        storage: StorageConfig,
        depth: Depth,
        again: bool,
    ) -> Result<Option<(String, Error)>> {
        let Ok(_permit) = self.readings.acquire().await else {
            return Err(Error::temporary("stopping", "the service is stopping"));
        };
        let store = self.jobs.store();
        if !again {
            let place = storage.place();
            let known = store.catalog_listings().await?;
            if known.iter().any(|one| one.routine == name && one.place == place && one.as_of.is_some()) {
                return Ok(None);
            }
        }
        let read = refresh(&self.places, &storage, &name, depth, self.now()).await;
        Ok(read.err().map(|error| (name, error)))
    }

    /// Looks at what was committed since storage was read, so that a backup that has ended is in the next list; whether there
    /// was any.
    async fn look_at_committed(&self, wanted: &[Wanted]) -> Result<bool> {
        let unread = self.jobs.store().catalog_unread().await?;
        let mut any = false;
        for (name, storage) in wanted {
            let mut mine = unread.clone();
            mine.retain(|one| one.routine == *name && Some(&one.storage) == storage.name.as_ref());
            if mine.is_empty() {
                continue;
            }
            any = true;
            // Noted in the cache: the list is stale then.
            if let Err(error) = look_at_new(&self.places, storage, name, &mine, self.now()).await {
                tracing::warn!(
                    routine = name,
                    reason = error.report(),
                    "what was committed is not in the list"
                );
            }
        }
        Ok(any)
    }

    async fn listings_of(&self, wanted: &[Wanted]) -> Result<Vec<CatalogListing>> {
        let places: BTreeSet<(String, &str)> =
            wanted.iter().map(|(name, storage)| (storage.place(), name.as_str())).collect();
        let mut all = self.jobs.store().catalog_listings().await?;
        all.retain(|one| places.contains(&(one.place.clone(), one.routine.as_str())));
        Ok(all)
    }

    /// What the cache knows of routines; nothing is read.
    pub async fn catalog(&self, routines: &[&str]) -> Result<Vec<CatalogView>> {
        let config = self.config();
        let mut views = Vec::new();
        for (name, routine) in &config.backup_routines {
            if routines.contains(&name.as_str()) {
                views.push(catalog_view(self.jobs.store(), &config.storage(&routine.storage)?, name).await?);
            }
        }
        Ok(views)
    }

    /// Reads routines into the cache, some at once; one that fails keeps what is known of it.
    pub async fn refresh_catalog(
        &self,
        routines: &[&str],
        depth: Option<Depth>,
    ) -> Result<Vec<RefreshedRoutine>> {
        let config = self.config();
        let mut wanted: Vec<Wanted> = Vec::new();
        for (name, routine) in &config.backup_routines {
            if routines.contains(&name.as_str()) {
                wanted.push((name.clone(), config.storage(&routine.storage)?));
            }
        }
        let known = self.listings_of(&wanted).await?;
        let old = self.now().plus_ms(-WHOLE_EVERY_MS);
        let depth_of = |name: &str| {
            let is_new = known.iter().any(|one| one.routine == name && one.whole.is_some_and(|at| at > old));
            depth.unwrap_or(if is_new { Depth::New } else { Depth::Whole })
        };
        let reads = wanted
            .iter()
            .map(|(name, storage)| self.read_in(name.clone(), storage.clone(), depth_of(name), true));
        let reads: Vec<_> = reads.collect();
        let reads: Vec<_> = stream::iter(reads).buffer_unordered(READINGS_AT_ONCE).collect().await;
        let mut failed: BTreeSet<String> = BTreeSet::new();
        for one in reads {
            failed.extend(one?.map(|(name, _)| name));
        }
        let mut read: Vec<RefreshedRoutine> = Vec::new();
        for (name, storage) in &wanted {
            let view = catalog_view(self.jobs.store(), storage, name).await?;
            read.push(RefreshedRoutine { view, refreshed: !failed.contains(name) });
        }
        read.sort_by(|a, b| a.view.routine.cmp(&b.view.routine));
        Ok(read)
    }

    /// Brings the cache up to date for every routine (`only_known`: of which it has something; the others are read when they
    /// are asked for), and forgets those that are not configured any more.
    pub async fn keep_catalog(&self, only_known: bool) -> Result<()> {
        let config = self.config();
        let mut places: Vec<(String, String)> = Vec::new();
        for (name, routine) in &config.backup_routines {
            places.push((config.storage(&routine.storage)?.place(), name.clone()));
        }
        let mut tx = self.jobs.store().write().await?;
        tx.keep_catalog(&places).await?;
        tx.commit().await?;
        let known = self.jobs.store().catalog_listings().await?;
        let is_known = |name: &str| known.iter().any(|one| one.routine == name && one.as_of.is_some());
        let mut names: Vec<&str> = config.backup_routines.keys().map(String::as_str).collect();
        names.retain(|name| !only_known || is_known(name));
        for routine in self.refresh_catalog(&names, None).await? {
            if let Some(stale) = routine.view.stale {
                let (routine, reason) = (routine.view.routine, stale.reason);
                tracing::warn!(routine, reason, "the list of backups is stale: storage was not read");
            }
        }
        Ok(())
    }
}

/// As lists show it.
pub(super) fn verification(row: VerificationRow) -> Verification {
    Verification {
        outcome: row.outcome.as_str(),
        reason: row.reason,
        at: row.at.to_rfc3339(),
        job: row.job_id.0,
    }
}
