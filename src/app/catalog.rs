//! The cache of the catalog: filled from storage, asked by lists (never by what could lose data, rules.md 3.5, 5.1, 6.1).

use std::collections::BTreeSet;
use std::time::Duration;

use serde::Serialize;

use super::Places;
use crate::catalog::{
    BackupEntry, ListQuery, Listing, ProblemKind, RunFolder, State, list_backups, list_but,
};
use crate::config::StorageConfig;
use crate::error::{Error, Result};
use crate::model::{BackupType, UnixMillis};
use crate::storage::Storage;
use crate::store::{
    CatalogBackup, CatalogFailure, CatalogReading, CatalogRow, CatalogState, Store, UnreadFolder,
};

/// A reading that takes longer than this is given up: the cache stays as it is.
const READING_MAX: Duration = Duration::from_mins(5);

/// Runs as young as this are looked into by every reading: a late attempt may still add a namespace.
const YOUNG_MS: i64 = 86_400_000;

/// How much a reading reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Depth {
    /// Every document.
    Whole,
    /// Which runs there are, and what is in those that are young, new, or not known to be whole.
    New,
}

/// What a reading saw of a routine, or what the cache knows of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "kebab-case")]
pub struct CatalogView {
    /// The routine.
    pub routine: String,
    /// Its storage, by its configured name.
    pub storage: String,
    /// When the last reading began that storage answered, RFC 3339; null: it was never read.
    pub as_of: Option<String>,
    /// The same of the last one that read every document again.
    pub whole_as_of: Option<String>,
    /// Why what is known is stale; null: it is not.
    pub stale: Option<Stale>,
    /// Folders of namespaces that hold a full backup.
    pub full: usize,
    /// Folders of namespaces that hold an incremental backup.
    pub incremental: usize,
    /// What is not whole.
    pub problems: Vec<CatalogProblem>,
}

/// Why a list is older than it should be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "kebab-case")]
pub struct Stale {
    /// Since when, RFC 3339: the newest failed reading.
    pub at: String,
    /// Stable, kebab-case.
    pub code: String,
    /// In words.
    pub reason: String,
}

impl Stale {
    pub(super) fn of(failure: &CatalogFailure) -> Self {
        Self { at: failure.at.to_rfc3339(), code: failure.code.clone(), reason: failure.reason.clone() }
    }
}

/// A folder that is no whole backup.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "kebab-case")]
pub struct CatalogProblem {
    /// The folder.
    pub key: String,
    /// `broken`, `void`, `corrupt`, `incomplete`, `unreadable` or `foreign`.
    pub state: &'static str,
    /// In words.
    pub reason: Option<String>,
}

/// Reads a routine from storage into the cache. What fails is noted there too, and leaves what is known.
///
/// Errors: those of storage; `catalog-timeout`.
pub async fn refresh(
    places: &Places,
    config: &StorageConfig,
    routine: &str,
    depth: Depth,
    now: UnixMillis,
) -> Result<()> {
    let read = tokio::time::timeout(READING_MAX, read(places, config, routine, depth, now));
    let read = read.await.unwrap_or_else(|_| {
        let text = format!("the storage of routine {routine:?} was not read within {READING_MAX:?}");
        Err(Error::temporary("catalog-timeout", text)
            .hint("Look at the storage; lists show what was known before."))
    });
    noted(places.store(), config, routine, now, read).await
}

/// Looks at the runs that backups were committed to since the last reading.
///
/// Errors: as [`refresh`].
pub(super) async fn look_at_new(
    places: &Places,
    config: &StorageConfig,
    routine: &str,
    unread: &[UnreadFolder],
    now: UnixMillis,
) -> Result<()> {
    let read = read_runs(places, config, routine, unread).await;
    noted(places.store(), config, routine, now, read).await
}

async fn noted(
    store: &Store,
    config: &StorageConfig,
    routine: &str,
    now: UnixMillis,
    read: Result<()>,
) -> Result<()> {
    if let Err(error) = &read {
        let failure =
            CatalogFailure { at: now, code: error.code().to_owned(), reason: error.report_without_hint() };
        let mut tx = store.write().await?;
        tx.fail_catalog_reading(&config.place(), routine, &failure).await?;
        tx.commit().await?;
    }
    read
}

async fn read(
    places: &Places,
    config: &StorageConfig,
    routine: &str,
    depth: Depth,
    now: UnixMillis,
) -> Result<()> {
    let (store, storage) = (places.store(), places.open(config).await?);
    let place = config.place();
    let generation = begin(store, &place, storage.as_ref(), routine).await?;
    let name = config.name.as_deref().unwrap_or_default();
    let unread = store.catalog_unread().await?.into_iter();
    let was_unread: Vec<i64> =
        unread.filter(|one| one.storage == name && one.routine == routine).map(|one| one.id).collect();
    let mut known = match depth {
        Depth::Whole => BTreeSet::new(),
        Depth::New => store.catalog_settled_runs(&place, routine).await?,
    };
    known.retain(|(_, run)| run.plus_ms(YOUNG_MS) < now);
    let list = |backup_type| {
        let of_type = known.iter().filter(|(one, _)| *one == backup_type).map(|(_, run)| *run);
        let of_type: BTreeSet<UnixMillis> = of_type.collect();
        let query = ListQuery { routine, backup_type, from: None, to: None, manifests: true };
        let storage = storage.as_ref();
        async move { list_but(storage, &query, &of_type).await }
    };
    let ((full, full_left), (incremental, incremental_left)) =
        futures_util::future::try_join(list(BackupType::Full), list(BackupType::Incremental)).await?;
    let mut rows = rows_of(BackupType::Full, &full);
    rows.extend(rows_of(BackupType::Incremental, &incremental));
    let unanswered = unanswered(&[&full, &incremental]);
    let reading = CatalogReading {
        place: &place,
        routine,
        generation,
        rows: &rows,
        unanswered: &unanswered,
        as_of: Some(now),
        whole: depth == Depth::Whole || known.is_empty(),
        was_unread: &was_unread,
    };
    let mut tx = store.write().await?;
    tx.end_catalog_reading(&reading, |backup_type, run| match backup_type {
        BackupType::Full => !full_left.contains(&run),
        BackupType::Incremental => !incremental_left.contains(&run),
    })
    .await?;
    tx.commit().await?;
    say(routine, &rows);
    refuse_unanswered(&unanswered)
}

async fn read_runs(
    places: &Places,
    config: &StorageConfig,
    routine: &str,
    unread: &[UnreadFolder],
) -> Result<()> {
    let (store, storage) = (places.store(), places.open(config).await?);
    let place = config.place();
    let generation = begin(store, &place, storage.as_ref(), routine).await?;
    let run_of =
        |one: &UnreadFolder| RunFolder::of_key(&one.folder).map(|(run, _)| (run.backup_type, run.created));
    let runs: BTreeSet<(BackupType, UnixMillis)> = unread.iter().filter_map(run_of).collect();
    let (mut rows, mut listings) = (Vec::new(), Vec::new());
    for (backup_type, run) in &runs {
        let query = ListQuery {
            routine,
            backup_type: *backup_type,
            from: Some(*run),
            to: Some(*run),
            manifests: true,
        };
        let mut listing = list_backups(storage.as_ref(), &query).await?;
        listing.problems.retain(|problem| problem.kind != ProblemKind::Foreign);
        rows.extend(rows_of(*backup_type, &listing));
        listings.push(listing);
    }
    let unanswered = unanswered(&listings.iter().collect::<Vec<_>>());
    refuse_unanswered(&unanswered)?;
    let reading = CatalogReading {
        place: &place,
        routine,
        generation,
        rows: &rows,
        unanswered: &unanswered,
        as_of: None,
        whole: false,
        was_unread: &unread.iter().map(|one| one.id).collect::<Vec<_>>(),
    };
    let mut tx = store.write().await?;
    tx.end_catalog_reading(&reading, |backup_type, run| runs.contains(&(backup_type, run))).await?;
    tx.commit().await
}

async fn begin(store: &Store, place: &str, storage: &dyn Storage, routine: &str) -> Result<i64> {
    let mut tx = store.write().await?;
    let generation = tx.begin_catalog_reading(place, &storage.describe(), routine).await?;
    tx.commit().await?;
    Ok(generation)
}

/// The folders that storage did not answer about.
fn unanswered(listings: &[&Listing]) -> Vec<String> {
    let problems = listings.iter().flat_map(|listing| &listing.problems);
    problems
        .filter(|problem| problem.kind == ProblemKind::Unreadable)
        .map(|problem| problem.key.clone())
        .collect()
}

fn refuse_unanswered(unanswered: &[String]) -> Result<()> {
    let Some(first) = unanswered.first() else { return Ok(()) };
    let count = unanswered.len();
    Err(Error::temporary(
        "backup-unreadable",
        format!("storage did not say what is in {count} folders, of which the first is {first}"),
    )
    .hint("Check the storage and its permissions, and try again."))
}

/// A run under way looks like what a crash left: only the rest is worth a line.
fn say(routine: &str, rows: &[CatalogRow]) {
    for row in rows.iter().filter(|row| row.backup.is_none() && row.state != CatalogState::Incomplete) {
        tracing::warn!(routine, folder = row.folder, reason = row.reason, "not a readable backup");
    }
}

fn rows_of(backup_type: BackupType, listing: &Listing) -> Vec<CatalogRow> {
    let entries = listing.all().iter().map(row_of);
    let problems = listing.problems.iter().map(|problem| CatalogRow {
        backup_type,
        folder: problem.key.clone(),
        run: RunFolder::of_key(&problem.key).map_or(UnixMillis(0), |(run, _)| run.created),
        state: match problem.kind {
            ProblemKind::Incomplete => CatalogState::Incomplete,
            ProblemKind::Broken => CatalogState::Corrupt,
            ProblemKind::Unreadable => CatalogState::Unreadable,
            ProblemKind::Foreign => CatalogState::Foreign,
        },
        reason: Some(problem.reason.clone()),
        backup: None,
    });
    entries.chain(problems).collect()
}

fn row_of(entry: &BackupEntry) -> CatalogRow {
    let (state, reason) = match &entry.state {
        // A mark is the store's, and is asked for when a list is made.
        State::Whole | State::Marked => (CatalogState::Whole, None),
        State::Broken { reason } => (CatalogState::Broken, Some(reason.clone())),
        State::Void => (CatalogState::Void, None),
    };
    let counts = entry.counts;
    CatalogRow {
        backup_type: entry.backup_type,
        folder: entry.key.clone(),
        run: RunFolder::of_key(&entry.key).map_or(entry.created, |(run, _)| run.created),
        state,
        reason,
        backup: Some(CatalogBackup {
            namespace: entry.namespace.clone(),
            created: entry.created,
            finished: entry.finished,
            from: entry.from,
            attempt: entry.attempt,
            counts: [counts.records, counts.bytes, counts.files, counts.indexes, counts.udfs],
            compression: entry.compression.as_str().to_owned(),
            encryption: entry.encryption.word().to_owned(),
        }),
    }
}

/// The backup of a row as a list shows it; its manifest is not known.
pub(super) fn entry_of(routine: &str, row: CatalogRow, marked: bool) -> Option<BackupEntry> {
    let backup = row.backup?;
    let [records, bytes, files, indexes, udfs] = backup.counts;
    Some(BackupEntry {
        key: row.folder,
        routine: routine.to_owned(),
        backup_type: row.backup_type,
        created: backup.created,
        finished: backup.finished,
        from: backup.from,
        namespace: backup.namespace,
        attempt: backup.attempt,
        counts: crate::catalog::Counts { records, bytes, files, indexes, udfs },
        compression: crate::catalog::Compression::parse(&backup.compression).unwrap_or_default(),
        encryption: crate::catalog::Encryption::of_word(&backup.encryption).unwrap_or_default(),
        manifest: None,
        state: match row.state {
            _ if marked => State::Marked,
            CatalogState::Broken => State::Broken { reason: row.reason.unwrap_or_default() },
            CatalogState::Void => State::Void,
            _ => State::Whole,
        },
        warnings: Vec::new(),
    })
}

/// What the cache knows of a routine.
pub async fn catalog_view(store: &Store, config: &StorageConfig, routine: &str) -> Result<CatalogView> {
    let place = config.place();
    let listing = store.catalog_listings(&[(&place, routine)]).await?.into_iter().next();
    let mut view = CatalogView {
        routine: routine.to_owned(),
        storage: config.name.clone().unwrap_or_default(),
        as_of: listing.as_ref().and_then(|one| one.as_of).map(UnixMillis::to_rfc3339),
        whole_as_of: listing.as_ref().and_then(|one| one.whole).map(UnixMillis::to_rfc3339),
        stale: listing.as_ref().and_then(|one| one.failed.as_ref()).map(Stale::of),
        full: 0,
        incremental: 0,
        problems: Vec::new(),
    };
    for backup_type in [BackupType::Full, BackupType::Incremental] {
        for (_, row) in store.catalog_rows(&[(&place, routine)], backup_type, None, None).await? {
            if row.backup.is_some() {
                match backup_type {
                    BackupType::Full => view.full += 1,
                    BackupType::Incremental => view.incremental += 1,
                }
            }
            if row.state != CatalogState::Whole {
                let (key, state) = (row.folder, row.state.as_str());
                view.problems.push(CatalogProblem { key, state, reason: row.reason });
            }
        }
    }
    Ok(view)
}
