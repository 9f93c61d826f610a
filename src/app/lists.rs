//! Lists of backups, from the cache of the catalog.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use futures_util::stream::{self, StreamExt};
use serde::Serialize;
use serde_json::Value;

use super::catalog::{CatalogView, Depth, Stale, catalog_view, entry_of, look_at_new, refresh};
use super::remembered::{MadeOf, Shown};
use super::{App, TimeBounds};
use crate::catalog::details::{BackupDetails, Verification};
use crate::catalog::{BackupEntry, Listing, State};
use crate::config::{Config, StorageConfig};
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

/// What the cache knows of a routine, but for the backups.
struct Known {
    routine: String,
    storage: StorageConfig,
    /// As [`CatalogListing::place`].
    place: String,
    /// None: storage was never read.
    listing: Option<CatalogListing>,
    /// Its folders that are being deleted.
    marked: BTreeSet<String>,
}

/// Whether a folder lies in the one of a routine.
fn is_of(folder: &str, routine: &str) -> bool {
    folder.strip_prefix(routine).is_some_and(|rest| rest.starts_with('/'))
}

fn routine_copies(config: &Config, routine: &str) -> Vec<String> {
    let routine = config.backup_routines.get(routine);
    routine.into_iter().flat_map(|one| one.copy_storages().map(str::to_owned)).collect()
}

/// What the list of each routine is made of.
fn made_of(config: &Config, known: &[Known]) -> Vec<MadeOf> {
    let mut definitions: HashMap<&str, Arc<Value>> = HashMap::new();
    let made_of = known.iter().map(|one| {
        let storage = one.storage.name.as_deref().unwrap_or_default();
        let shown = || Arc::new(serde_json::to_value(config.storage.get(storage)).unwrap_or_default());
        MadeOf {
            place: one.place.clone(),
            changed: one.listing.as_ref().map_or(0, |listing| listing.changed),
            storage: storage.to_owned(),
            definition: Arc::clone(definitions.entry(storage).or_insert_with(shown)),
            copies: routine_copies(config, &one.routine),
            level: config.service().compatibility,
        }
    });
    made_of.collect()
}

fn cached<T>(known: &[Known], routines: T) -> Cached<T> {
    let listings = || known.iter().filter_map(|one| one.listing.as_ref());
    Cached {
        routines,
        as_of: listings().filter_map(|one| one.as_of).min(),
        stale: listings().find_map(|one| one.failed.as_ref()).map(Stale::of),
    }
}

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
    ) -> Result<Cached<BTreeMap<String, Shown>>> {
        let config = self.config();
        let known = self.known(&config, routines, refresh).await?;
        let lists = self.lists(&config, &known, backup_type, bounds).await?;
        Ok(cached(&known, lists))
    }

    /// `created` of the newest full and of the newest incremental that lists show.
    pub(super) async fn newest(&self, routine: &str) -> Result<[Option<UnixMillis>; 2]> {
        let config = self.config();
        let known = self.known(&config, &[routine], false).await?;
        let mut newest = [None; 2];
        for (newest, backup_type) in newest.iter_mut().zip([BackupType::Full, BackupType::Incremental]) {
            let lists = self.lists(&config, &known, backup_type, TimeBounds::default()).await?;
            let all = lists.values().flat_map(|shown| shown.iter());
            *newest = all.map(|backup| UnixMillis(backup.timestamp)).max();
        }
        Ok(newest)
    }

    /// The list of each routine, as it was made before or made now.
    async fn lists(
        &self,
        config: &Config,
        known: &[Known],
        backup_type: BackupType,
        bounds: TimeBounds,
    ) -> Result<BTreeMap<String, Shown>> {
        let (mut all, mut others) = (BTreeMap::new(), Vec::new());
        for (one, of) in known.iter().zip(made_of(config, known)) {
            // What is bounded or marked is another list each time.
            let is_plain = bounds == TimeBounds::default() && one.marked.is_empty();
            match self.remembered.get(&one.routine, backup_type, &of).filter(|_| is_plain) {
                Some(shown) => drop(all.insert(one.routine.clone(), shown)),
                None => others.push((one, of, is_plain)),
            }
        }
        if !others.is_empty() {
            let of: Vec<(&Known, &MadeOf)> = others.iter().map(|(one, of, _)| (*one, of)).collect();
            let lists = self.made(config, &of, backup_type, bounds).await?;
            for ((one, of, is_plain), shown) in others.into_iter().zip(lists) {
                if is_plain {
                    self.remembered.put(&one.routine, backup_type, of, &shown);
                }
                all.insert(one.routine.clone(), shown);
            }
        }
        Ok(all)
    }

    /// The lists of routines, by the rows of the cache.
    async fn made(
        &self,
        config: &Config,
        of: &[(&Known, &MadeOf)],
        backup_type: BackupType,
        bounds: TimeBounds,
    ) -> Result<Vec<Shown>> {
        let read: Vec<&Known> = of.iter().map(|(one, _)| *one).collect();
        let mut entries = self.entries(&read, backup_type, bounds).await?;
        let named: Vec<(&str, &str)> =
            of.iter().map(|(one, of)| (of.storage.as_str(), one.routine.as_str())).collect();
        // A backup's folder begins with its routine.
        let verified = self.jobs.store().verifications_of(&named).await?.into_iter();
        let mut verified: HashMap<String, VerificationRow> =
            verified.map(|row| (row.folder.clone(), row)).collect();
        let read: Vec<&str> = of.iter().map(|(one, _)| one.routine.as_str()).collect();
        let mut copies = self.verified_copies(config, &read).await?;
        let lists = of.iter().map(|(one, of)| {
            let entries = entries.remove(&one.routine).unwrap_or_default();
            let kept = entries.iter().filter(|entry| entry.state != State::Marked);
            kept.map(|entry| BackupDetails {
                verification: verified.remove(&entry.key).map(verification),
                copies: copies.remove(&entry.key).unwrap_or_default(),
                ..BackupDetails::new(entry, Arc::clone(&of.definition), of.level)
            })
            .collect()
        });
        Ok(lists.collect())
    }

    /// The backups of routines that count, by the cache; what is being deleted is marked.
    pub(super) async fn cached(
        &self,
        routines: &[&str],
        backup_type: BackupType,
        bounds: TimeBounds,
        refresh: bool,
    ) -> Result<Cached<BTreeMap<String, Vec<BackupEntry>>>> {
        let known = self.known(&self.config(), routines, refresh).await?;
        let entries = self.entries(&known.iter().collect::<Vec<_>>(), backup_type, bounds).await?;
        Ok(cached(&known, entries))
    }

    /// What the cache knows of routines, after what must be read first was read.
    async fn known(&self, config: &Config, routines: &[&str], refresh: bool) -> Result<Vec<Known>> {
        let mut wanted: Vec<Wanted> = Vec::new();
        for name in routines {
            let Some(routine) = config.backup_routines.get(*name) else {
                return Err(Error::permanent("routine-unknown", format!("routine \"{name}\" not found")));
            };
            wanted.push(((*name).to_owned(), config.storage(&routine.storage)?));
        }
        let listings = self.up_to_date(&wanted, refresh).await?;
        let mut listings: HashMap<String, CatalogListing> =
            listings.into_iter().map(|one| (one.routine.clone(), one)).collect();
        let mut marked: HashMap<String, BTreeSet<String>> = HashMap::new();
        for listing in listings.values() {
            if !marked.contains_key(&listing.true_place) {
                let found = self.jobs.store().marked(&listing.true_place).await?;
                marked.insert(listing.true_place.clone(), found);
            }
        }
        // Once more: the number that a list is remembered by must be newer than what was looked at meanwhile, or a backup that
        // was committed or deleted just now would be missing, or there again.
        let again = self.listings_of(&wanted).await?;
        listings.extend(again.into_iter().map(|one| (one.routine.clone(), one)));
        let known = wanted.into_iter().map(|(routine, storage)| {
            let listing = listings.remove(&routine);
            let marked = listing.as_ref().and_then(|listing| marked.get(&listing.true_place));
            let mine = marked.into_iter().flatten().filter(|folder| is_of(folder, &routine));
            Known { marked: mine.cloned().collect(), place: storage.place(), listing, storage, routine }
        });
        Ok(known.collect())
    }

    /// The backups of routines that count, by the rows of the cache.
    async fn entries(
        &self,
        known: &[&Known],
        backup_type: BackupType,
        bounds: TimeBounds,
    ) -> Result<BTreeMap<String, Vec<BackupEntry>>> {
        let of: Vec<(&str, &str)> =
            known.iter().map(|one| (one.place.as_str(), one.routine.as_str())).collect();
        let marked: HashMap<&str, &BTreeSet<String>> =
            known.iter().map(|one| (one.routine.as_str(), &one.marked)).collect();
        let mut entries: BTreeMap<String, Vec<BackupEntry>> =
            known.iter().map(|one| (one.routine.clone(), Vec::new())).collect();
        let rows = self.jobs.store().catalog_rows(&of, backup_type, bounds.from, bounds.to).await?;
        for (routine, row) in rows {
            let is_marked = marked.get(routine.as_str()).is_some_and(|marked| marked.contains(&row.folder));
            if let Some(all) = entries.get_mut(&routine) {
                all.extend(entry_of(&routine, row, is_marked));
            }
        }
        Ok(entries.into_iter().map(|(name, all)| (name, Listing::of(all).into_counted())).collect())
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
            let known = store.catalog_listings(&[(&storage.place(), &name)]).await?;
            if known.iter().any(|one| one.as_of.is_some()) {
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
        let places: Vec<(String, &str)> =
            wanted.iter().map(|(name, storage)| (storage.place(), name.as_str())).collect();
        let of: Vec<(&str, &str)> = places.iter().map(|(place, name)| (place.as_str(), *name)).collect();
        self.jobs.store().catalog_listings(&of).await
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
        let of: Vec<(&str, &str)> =
            places.iter().map(|(place, name)| (place.as_str(), name.as_str())).collect();
        let known = self.jobs.store().catalog_listings(&of).await?;
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
