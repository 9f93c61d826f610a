//! The backups of a routine, as storage shows them now.

use std::collections::BTreeSet;

use futures_util::stream::{self, StreamExt};

use super::entry::{BackupEntry, Place, State};
use super::layout::{DATA, METADATA, VOID, parse_timestamp_folder, type_root};
use super::manifest::{Found, read_manifest};
use super::metadata::{METADATA_BYTES_MAX, Metadata};
use crate::error::{Error, Result};
use crate::model::{BackupType, UnixMillis};
use crate::storage::{Storage, join};

/// How many runs are read at once: hides the latency of an object store, far below any provider's limits.
const RUNS_AT_ONCE: usize = 16;

/// What to list.
#[derive(Debug, Clone, Copy)]
pub struct ListQuery<'a> {
    /// The routine.
    pub routine: &'a str,
    /// Full or incremental.
    pub backup_type: BackupType,
    /// Runs before this are not read; compared with the folder's name, as ABS does.
    pub from: Option<UnixMillis>,
    /// Runs after this are not read.
    pub to: Option<UnixMillis>,
    /// Whether manifests are read too: needed for chains and retention, one more read for each backup.
    pub manifests: bool,
}

/// The backups found, and what was found that is none.
#[derive(Debug, Clone, Default)]
pub struct Listing {
    entries: Vec<BackupEntry>,
    /// Folders that hold no readable backup, by key.
    pub problems: Vec<Problem>,
}

/// A folder that holds no readable backup.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// The folder.
    pub key: String,
    /// What kind of trouble it is.
    pub kind: ProblemKind,
    /// What is the matter, in words.
    pub reason: String,
}

/// What keeps a folder from being a backup.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ProblemKind {
    /// No `metadata.yaml`: running, or what a crash left.
    Incomplete,
    /// A `metadata.yaml` that cannot be understood.
    Broken,
    /// Storage did not answer: there may be a good backup, so nothing may be concluded from its absence.
    Unreadable,
    /// Not a folder of this layout.
    Foreign,
}

impl ProblemKind {
    /// The word shown.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Incomplete => "incomplete",
            Self::Broken => "corrupt",
            Self::Unreadable => "unreadable",
            Self::Foreign => "foreign",
        }
    }
}

impl Listing {
    /// Every committed attempt, sorted by `created`, then key.
    pub fn all(&self) -> &[BackupEntry] {
        &self.entries
    }

    /// Every committed attempt, to change its state: what [`Listing::counted`] gives follows.
    pub fn all_mut(&mut self) -> &mut [BackupEntry] {
        &mut self.entries
    }

    /// One entry for each (`created`, namespace): the highest whole attempt, else the highest (rules.md 6.1).
    pub fn counted(&self) -> impl Iterator<Item = &BackupEntry> {
        self.entries
            .iter()
            .filter(|entry| self.winner(entry).is_some_and(|winner| std::ptr::eq(winner, *entry)))
    }

    /// The attempts that [`Listing::counted`] passes over: theirs to delete (rules.md 6.1).
    pub fn superseded(&self) -> impl Iterator<Item = &BackupEntry> {
        self.entries
            .iter()
            .filter(|entry| self.winner(entry).is_none_or(|winner| !std::ptr::eq(winner, *entry)))
    }

    /// [`Listing::counted`], owned.
    pub fn into_counted(self) -> Vec<BackupEntry> {
        self.counted().cloned().collect()
    }

    /// Takes the folders with these keys for marked for deletion (rules.md 5.3).
    pub fn mark(&mut self, marked: &BTreeSet<String>) {
        for entry in self.entries.iter_mut().filter(|entry| marked.contains(&entry.key)) {
            entry.state = State::Marked;
        }
    }

    /// Whether storage left something unanswered.
    pub fn has_unreadable(&self) -> bool {
        self.problems.iter().any(|problem| problem.kind == ProblemKind::Unreadable)
    }

    fn winner(&self, of: &BackupEntry) -> Option<&BackupEntry> {
        let start = self.entries.partition_point(|entry| entry.created < of.created);
        self.entries
            .get(start..)?
            .iter()
            .take_while(|entry| entry.created == of.created)
            .filter(|entry| entry.namespace == of.namespace)
            .max_by_key(|entry| (entry.state == State::Whole, entry.attempt))
    }
}

/// Lists the backups of a routine and type.
///
/// An error only when the routine's folder itself cannot be listed; what is wrong with one backup is a problem in
/// the listing. Only what has a `metadata.yaml` is a backup (abs.md 3). Whether its files are all there is not
/// looked at here: see [`super::wholeness`].
pub async fn list_backups(storage: &dyn Storage, query: &ListQuery<'_>) -> Result<Listing> {
    Ok(list_but(storage, query, &BTreeSet::new()).await?.0)
}

/// The same without looking into the runs in `known`; gives those of them that are still there too.
pub async fn list_but(
    storage: &dyn Storage,
    query: &ListQuery<'_>,
    known: &BTreeSet<UnixMillis>,
) -> Result<(Listing, BTreeSet<UnixMillis>)> {
    let root = type_root(query.routine, query.backup_type)?;
    let mut listing = Listing::default();
    let (mut runs, mut passed_over) = (Vec::new(), BTreeSet::new());
    for name in storage.list_dirs(&root).await? {
        let key = join(&root, &name);
        match parse_timestamp_folder(&name) {
            None => listing.problem(key, ProblemKind::Foreign, "its name is not a time in milliseconds"),
            Some(created) if known.contains(&created) => {
                passed_over.insert(created);
            }
            Some(created) => {
                if query.from.is_none_or(|from| from <= created) && query.to.is_none_or(|to| created <= to) {
                    runs.push((key, created));
                }
            }
        }
    }
    let mut reads = stream::iter(runs)
        .map(|(key, created)| async move { read_run(storage, query, &key, created).await })
        .buffer_unordered(RUNS_AT_ONCE);
    while let Some(run) = reads.next().await {
        listing.entries.extend(run.entries);
        listing.problems.extend(run.problems);
    }
    drop(reads);
    listing.entries.sort_unstable_by(|a, b| (a.created, &a.key).cmp(&(b.created, &b.key)));
    listing.problems.sort_unstable_by(|a, b| a.key.cmp(&b.key));
    Ok((listing, passed_over))
}

impl Listing {
    /// A listing of entries that were read before.
    pub fn of(mut entries: Vec<BackupEntry>) -> Self {
        entries.sort_unstable_by(|a, b| (a.created, &a.key).cmp(&(b.created, &b.key)));
        Self { entries, problems: Vec::new() }
    }

    fn problem(&mut self, key: String, kind: ProblemKind, reason: impl Into<String>) {
        self.problems.push(Problem { key, kind, reason: reason.into() });
    }
}

async fn read_run(storage: &dyn Storage, query: &ListQuery<'_>, run: &str, created: UnixMillis) -> Listing {
    let mut listing = Listing::default();
    let data = join(run, DATA);
    match storage.list_dirs(&data).await {
        Err(error) => listing.problem(data, ProblemKind::Unreadable, error.report()),
        Ok(names) if names.is_empty() => {
            listing.problem(run.to_owned(), ProblemKind::Incomplete, "it holds no namespace");
        }
        Ok(names) => {
            for name in names {
                let key = join(&data, &name);
                let place =
                    Place { key: &key, routine: query.routine, backup_type: query.backup_type, created };
                match read_entry(storage, place, query.manifests).await {
                    Ok(entry) => listing.entries.push(entry),
                    Err((kind, reason)) => listing.problem(key, kind, reason),
                }
            }
        }
    }
    listing
}

async fn read_entry(
    storage: &dyn Storage,
    place: Place<'_>,
    manifests: bool,
) -> Result<BackupEntry, (ProblemKind, String)> {
    let unreadable = |error: Error| (ProblemKind::Unreadable, error.report());
    let (metadata, warnings) = match read_metadata(storage, place.key).await.map_err(unreadable)? {
        Found::Good(found) => found,
        Found::Broken(reason) => return Err((ProblemKind::Broken, reason)),
        Found::Absent => {
            return Err((
                ProblemKind::Incomplete,
                "it has no metadata.yaml: it is being written, or was never finished".to_owned(),
            ));
        }
    };
    let mut entry = BackupEntry::new(place, metadata.clone(), warnings);
    if storage.head(&join(place.key, VOID)).await.map_err(unreadable)?.is_some() {
        entry.state = State::Void;
    }
    if manifests {
        let found = read_manifest(storage, place.key).await.map_err(unreadable)?;
        entry.take_manifest(found, &metadata);
    }
    Ok(entry)
}

/// Reads the metadata in a folder, with what is odd about it; an error is doubt, never absence.
pub async fn read_metadata(storage: &dyn Storage, folder: &str) -> Result<Found<(Metadata, Vec<String>)>> {
    match storage.get(&join(folder, METADATA), METADATA_BYTES_MAX).await {
        Ok(Some(bytes)) => Ok(match Metadata::parse(&bytes) {
            Ok(found) => Found::Good(found),
            Err(reason) => Found::Broken(reason),
        }),
        Ok(None) => Ok(Found::Absent),
        Err(error) if error.code() == "storage-object-too-large" => Ok(Found::Broken(error.to_string())),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests;
