//! One backup with its files and its chain, and the moments that one can restore to. Both ask storage.

mod copies;

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use futures_util::future::join_all;
use serde::Serialize;

pub use copies::{AskedStorage, PointIn};
use copies::{Shown, points_in};

use super::{App, TimeBounds};
use crate::catalog::details::{CopyVerification, Verification};
use crate::catalog::layout::DATA_SUFFIX;
use crate::catalog::manifest::{Found, ManifestFile, read_manifest};
use crate::catalog::{BackupEntry, History, Problem, RunFolder, Scope, State};
use crate::config::StorageConfig;
use crate::error::{Error, Result};
use crate::model::chain::{ChainError, Member, chain_at};
use crate::model::retention::{chain_of, dependents};
use crate::model::{BackupType, UnixMillis};
use crate::storage::Storage;
use crate::store::VerifyOutcome;
use crate::tasks::blocking;

/// A backup as others speak of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "kebab-case")]
pub struct BackupRef {
    /// Full or incremental.
    #[serde(rename = "type")]
    pub backup_type: BackupType,
    /// `created` of its run, in ms.
    pub timestamp: i64,
    /// Its folder.
    pub key: String,
}

impl BackupRef {
    fn of(entry: &BackupEntry) -> Self {
        Self { backup_type: entry.backup_type, timestamp: entry.created.0, key: entry.key.clone() }
    }
}

/// One run: `GET /v1/backups/{type}/{routine}/{timestamp}`.
#[derive(Debug, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "kebab-case")]
pub struct BackupView {
    /// The routine.
    pub routine: String,
    /// Its storage, by its configured name.
    pub storage: Option<String>,
    /// Full or incremental.
    #[serde(rename = "type")]
    pub backup_type: BackupType,
    /// `created`, in ms.
    pub timestamp: i64,
    /// The same, RFC 3339.
    pub created: String,
    /// Each namespace of it.
    pub namespaces: Vec<NamespaceBackup>,
    /// What else is in its folder.
    pub problems: Vec<LeftOut>,
}

/// One namespace of a run.
#[derive(Debug, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "kebab-case")]
pub struct NamespaceBackup {
    /// Its name.
    pub namespace: String,
    /// The folder.
    pub key: String,
    /// `whole`, `broken`, `void` or `marked` (it is being deleted).
    pub state: &'static str,
    /// What is wrong, if anything is.
    pub reason: Option<String>,
    /// Which attempt of the run, from 1.
    pub attempt: u32,
    /// The end, RFC 3339.
    pub finished: String,
    /// What an incremental builds on: `created` of that run, in ms.
    pub from: Option<i64>,
    /// Every change stamped before this is in it or in what it builds on, in ms; null without our manifest.
    pub safe_from: Option<i64>,
    /// Why this full stands where an incremental was due.
    pub promoted: Option<String>,
    /// Records.
    pub record_count: u64,
    /// Bytes in storage.
    pub byte_count: u64,
    /// `NONE` or `ZSTD`.
    pub compression: &'static str,
    /// The true mode.
    pub encryption: &'static str,
    /// What it was asked to hold; null without our manifest.
    pub scope: Option<Scope>,
    /// The hash that tells scopes apart.
    pub scope_hash: Option<String>,
    /// Its files: as the manifest says, else as they lie there.
    pub files: Vec<FileView>,
    /// What it is restored from, itself last; null where it is no whole point.
    pub chain: Option<Vec<BackupRef>>,
    /// What needs it, the newest first.
    pub dependents: Vec<BackupRef>,
    /// What reading it again has shown last.
    pub verification: Option<Verification>,
    /// The same of its copies that were read again.
    pub copies: Vec<CopyVerification>,
    /// What is odd about it.
    pub warnings: Vec<String>,
}

/// One file of a backup.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "kebab-case")]
#[schema(as = BackupFile)]
pub struct FileView {
    /// Its name.
    pub name: String,
    /// Bytes in storage.
    pub size_bytes: u64,
    /// Records in it; null without our manifest.
    pub records: Option<u64>,
    /// BLAKE3 of the hashes of its blocks, in hex; null without our manifest.
    pub blake3: Option<String>,
}

impl FileView {
    fn of(file: ManifestFile) -> Self {
        let ManifestFile { name, size_bytes, records, blake3, .. } = file;
        Self { name, size_bytes, records: Some(records), blake3: Some(blake3) }
    }
}

/// Something that no point is made of, and why.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "kebab-case")]
pub struct LeftOut {
    /// The folder.
    pub key: String,
    /// `broken`, `void`, `marked`, `corrupt`, `incomplete`, `unreadable` or `foreign`.
    pub state: &'static str,
    /// In words.
    pub reason: Option<String>,
}

impl LeftOut {
    fn of_entry(entry: &BackupEntry) -> Option<Self> {
        let (state, reason) = state_of(entry);
        (state != "whole").then(|| Self { key: entry.key.clone(), state, reason })
    }

    fn of_problem(problem: &Problem) -> Self {
        let reason = Some(problem.reason.clone());
        Self { key: problem.key.clone(), state: problem.kind.as_str(), reason }
    }
}

fn state_of(entry: &BackupEntry) -> (&'static str, Option<String>) {
    match &entry.state {
        State::Whole => ("whole", None),
        State::Broken { reason } => ("broken", Some(reason.clone())),
        State::Void => ("void", Some("it was created in the future".to_owned())),
        State::Marked => ("marked", Some("it is being deleted".to_owned())),
    }
}

/// Where one can restore to: `GET /v1/backups/restore-points/{routine}`.
#[derive(Debug, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "kebab-case")]
pub struct RestorePoints {
    /// The routine.
    pub routine: String,
    /// Its storage, by its configured name.
    pub storage: Option<String>,
    /// When storage was asked, RFC 3339.
    pub as_of: String,
    /// Every namespace that has a backup.
    pub namespaces: Vec<NamespacePoints>,
    /// Folders that hold no readable backup.
    pub problems: Vec<LeftOut>,
    /// Every storage that was asked, the routine's own first.
    pub storages: Vec<AskedStorage>,
}

/// Where one namespace can be restored to.
#[derive(Debug, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "kebab-case")]
pub struct NamespacePoints {
    /// Its name.
    pub namespace: String,
    /// Stretches of time, the newest first: any `time` in one restores the same.
    pub windows: Vec<Window>,
    /// Older windows there are that are not shown.
    pub more: usize,
    /// Backups that no window is made of.
    pub left_out: Vec<LeftOut>,
}

/// A stretch of time in which a restore brings back one state, or none.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "kebab-case")]
#[schema(as = RestoreWindow)]
pub struct Window {
    /// The first `time` of it, in ms.
    pub from: i64,
    /// The last `time` of it, in ms; null: until the next backup.
    pub to: Option<i64>,
    /// Whether a restore is possible.
    pub restorable: bool,
    /// Every change stamped before this is restored, RFC 3339 (rules.md 3.3).
    pub complete_before: Option<String>,
    /// No change after this is restored, RFC 3339.
    pub finished: Option<String>,
    /// What is restored from, the full first.
    pub chain: Vec<BackupRef>,
    /// Incrementals that ran beside the full are in it.
    pub overlap: bool,
    /// Members that a verification found damaged.
    pub damaged: Vec<String>,
    /// Why it is not restorable: stable, kebab-case.
    pub code: Option<&'static str>,
    /// The same in words.
    pub reason: Option<String>,
    /// The storage that a restore takes; null where it is not restorable.
    pub storage: Option<String>,
    /// Every storage that has all of the chain, in the order in which a restore asks them.
    pub storages: Vec<PointIn>,
}

impl App {
    /// What the routine's own storage shows of it now, and the storage.
    async fn history(&self, routine: &str) -> Result<(History, Arc<dyn Storage>, Option<String>)> {
        let config = self.config().routine(routine, self.now())?.job.storage;
        self.history_in(&config, routine).await
    }

    async fn history_in(
        &self,
        config: &StorageConfig,
        routine: &str,
    ) -> Result<(History, Arc<dyn Storage>, Option<String>)> {
        let storage = self.places.open(config).await?;
        let marked = self.jobs.store().marked(&storage.describe()).await?;
        let mut history = History::read(storage.as_ref(), routine, &marked).await?;
        history.void_future(self.now());
        Ok((history, storage, config.name.clone()))
    }

    async fn shown(&self, config: &StorageConfig, routine: &str) -> Result<Shown> {
        let (history, _, name) = self.history_in(config, routine).await?;
        let verified = self.verified(name.as_deref(), routine).await?.into_iter();
        let damaged = verified.filter(|(_, found)| found.outcome == VerifyOutcome::Damaged.as_str());
        let damaged = damaged.map(|(folder, _)| folder).collect();
        Ok(Shown { name: name.unwrap_or_default(), history, damaged })
    }

    /// The latest outcomes of a routine's backups, by folder.
    async fn verified(&self, storage: Option<&str>, routine: &str) -> Result<HashMap<String, Verification>> {
        let Some(storage) = storage else { return Ok(HashMap::new()) };
        let rows = self.jobs.store().verifications(storage, routine).await?;
        Ok(rows.into_iter().map(|row| (row.folder.clone(), super::lists::verification(row))).collect())
    }

    /// One run of a routine.
    ///
    /// Errors: `routine-unknown`, `backup-not-found`, those of storage.
    pub async fn backup_view(
        &self,
        routine: &str,
        backup_type: BackupType,
        timestamp: UnixMillis,
    ) -> Result<BackupView> {
        let (history, storage, storage_name) = self.history(routine).await?;
        let verified = self.verified(storage_name.as_deref(), routine).await?;
        let mut copies = self.verified_copies(&self.config(), &[routine]).await?;
        let mut view = BackupView {
            routine: routine.to_owned(),
            storage: storage_name,
            backup_type,
            timestamp: timestamp.0,
            created: timestamp.to_rfc3339(),
            namespaces: Vec::new(),
            problems: Vec::new(),
        };
        for namespace in history.namespaces() {
            let (entries, members) = history.members(&namespace);
            let place = entries
                .iter()
                .position(|entry| entry.backup_type == backup_type && entry.created == timestamp);
            let Some((place, entry)) = place.and_then(|place| Some((place, *entries.get(place)?))) else {
                continue;
            };
            let mut one = namespace_backup(storage.as_ref(), entry).await?;
            let refs = |places: Vec<usize>| -> Vec<BackupRef> {
                places
                    .into_iter()
                    .filter_map(|place| entries.get(place))
                    .map(|one| BackupRef::of(one))
                    .collect()
            };
            one.chain = chain_of(&members, place).map(refs);
            one.dependents = refs(dependents(&members, &[place]));
            one.verification = verified.get(&entry.key).cloned();
            one.copies = copies.remove(&entry.key).unwrap_or_default();
            view.namespaces.push(one);
        }
        let listing = match backup_type {
            BackupType::Full => &history.full,
            BackupType::Incremental => &history.incremental,
        };
        let of_run = |problem: &&Problem| {
            RunFolder::of_key(&problem.key).is_some_and(|(run, _)| run.created == timestamp)
        };
        view.problems = listing.problems.iter().filter(of_run).map(LeftOut::of_problem).collect();
        if view.namespaces.is_empty() && view.problems.is_empty() {
            let what = backup_type.as_str();
            return Err(Error::permanent(
                "backup-not-found",
                format!("there is no {what} backup {} of routine \"{routine}\"", timestamp.0),
            )
            .hint("GET /v1/backups lists what there is."));
        }
        Ok(view)
    }

    /// The moments that a routine can be restored to, from its own storage or a copy: of each namespace the newest `limit`
    /// windows within `bounds`.
    ///
    /// Errors: `routine-unknown`; those of the routine's own storage, unless one with copies has answered.
    pub async fn restore_points(
        &self,
        routine: &str,
        bounds: TimeBounds,
        limit: usize,
    ) -> Result<RestorePoints> {
        let as_of = self.now().to_rfc3339();
        let job = self.config().routine(routine, self.now())?.job;
        let places = std::iter::once(&job.storage).chain(job.copies.iter().map(|copy| &copy.storage));
        let places: Vec<&StorageConfig> = places.collect();
        let answers = join_all(places.iter().map(|place| self.shown(place, routine))).await;
        let (mut storages, mut shown, mut failed) = (Vec::new(), Vec::new(), None);
        for (place, answer) in places.into_iter().zip(answers) {
            let problem = answer.as_ref().err().map(Error::report_without_hint);
            storages.push(AskedStorage { storage: place.name.clone(), problem });
            match answer {
                Ok(found) => shown.push(found),
                Err(error) => failed = failed.or(Some(error)),
            }
        }
        if let Some(error) = failed.filter(|_| shown.is_empty()) {
            return Err(error);
        }
        let own = shown.iter().find(|one| Some(&one.name) == job.storage.name.as_ref());
        let problems = own
            .into_iter()
            .flat_map(|one| one.history.full.problems.iter().chain(&one.history.incremental.problems));
        let problems = problems.map(LeftOut::of_problem).collect();
        // With thousands of backups the chains take a while.
        let namespaces = blocking(move || {
            let names: BTreeSet<String> = shown.iter().flat_map(|one| one.history.namespaces()).collect();
            Ok(names.into_iter().map(|name| points_in(&shown, name, bounds, limit)).collect())
        });
        Ok(RestorePoints {
            routine: routine.to_owned(),
            storage: job.storage.name,
            as_of,
            namespaces: namespaces.await?,
            problems,
            storages,
        })
    }
}

/// Without chain and dependents.
async fn namespace_backup(storage: &dyn Storage, entry: &BackupEntry) -> Result<NamespaceBackup> {
    let manifest = match read_manifest(storage, &entry.key).await? {
        Found::Good(manifest) => Some(manifest),
        Found::Absent | Found::Broken(_) => None,
    };
    let files = match &manifest {
        Some(manifest) => manifest.files.iter().cloned().map(FileView::of).collect(),
        None => lying(storage, &entry.key).await?,
    };
    let (state, reason) = state_of(entry);
    Ok(NamespaceBackup {
        namespace: entry.namespace.clone(),
        key: entry.key.clone(),
        state,
        reason,
        attempt: entry.attempt,
        finished: entry.finished.to_rfc3339(),
        from: entry.from.map(|from| from.0),
        safe_from: entry.manifest.as_ref().map(|manifest| manifest.safe_from.0),
        promoted: entry.manifest.as_ref().and_then(|manifest| manifest.promoted.clone()),
        record_count: entry.counts.records,
        byte_count: entry.counts.bytes,
        compression: entry.compression.as_str(),
        encryption: entry.encryption.word(),
        scope_hash: manifest.as_ref().map(|manifest| manifest.scope_hash.clone()),
        scope: manifest.map(|manifest| manifest.scope),
        files,
        chain: None,
        dependents: Vec::new(),
        verification: None,
        copies: Vec::new(),
        warnings: entry.warnings.clone(),
    })
}

/// The data files of a folder without our manifest.
async fn lying(storage: &dyn Storage, folder: &str) -> Result<Vec<FileView>> {
    let objects = storage.list(folder).await?.into_iter();
    let files = objects.filter(|object| object.key.ends_with(DATA_SUFFIX)).map(|object| FileView {
        name: object.key.rsplit('/').next().unwrap_or_default().to_owned(),
        size_bytes: object.size_bytes,
        records: None,
        blake3: None,
    });
    Ok(files.collect())
}

/// The stretches between the ends of backups, the oldest first: within one the chain is the same.
fn stretches(members: &[Member]) -> Vec<(UnixMillis, Option<UnixMillis>)> {
    let usable = members.iter().filter(|one| one.is_usable());
    let first_full = usable.clone().filter(|one| one.backup_type == BackupType::Full);
    let Some(first_full) = first_full.map(|one| one.finished.max(one.created)).min() else {
        return Vec::new();
    };
    let ends: BTreeSet<UnixMillis> =
        usable.map(|one| one.finished.max(one.created)).filter(|at| *at >= first_full).collect();
    let next = ends.iter().skip(1).map(|next| Some(next.plus_ms(-1))).chain([None]);
    ends.iter().copied().zip(next).collect()
}

fn window(
    entries: &[&BackupEntry],
    members: &[Member],
    from: UnixMillis,
    to: Option<UnixMillis>,
    damaged: &BTreeSet<String>,
) -> Window {
    let mut window = Window {
        from: from.0,
        to: to.map(|to| to.0),
        restorable: false,
        complete_before: None,
        finished: None,
        chain: Vec::new(),
        overlap: false,
        damaged: Vec::new(),
        code: None,
        reason: None,
        storage: None,
        storages: Vec::new(),
    };
    match chain_at(members, from, false) {
        Ok(chain) => {
            let of_chain = chain.members.iter().filter_map(|place| entries.get(*place));
            window.chain = of_chain.map(|entry| BackupRef::of(entry)).collect();
            window.damaged =
                window.chain.iter().map(|one| one.key.clone()).filter(|key| damaged.contains(key)).collect();
            window.restorable = true;
            window.complete_before = Some(chain.complete_before.to_rfc3339());
            window.finished = Some(chain.finished.to_rfc3339());
            window.overlap = chain.overlap;
        }
        Err(error) => {
            window.code = Some(match error {
                ChainError::NoFull { .. } => "no-full-backup",
                ChainError::Gap { .. } => "chain-gap",
            });
            window.reason = Some(error.to_string());
        }
    }
    window
}

#[cfg(test)]
mod tests;
