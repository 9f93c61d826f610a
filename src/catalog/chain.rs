//! Chains over what storage shows: the rules are [`crate::model::chain`]'s, the evidence is storage's (rules.md 3.4 to
//! 3.8, 4.1).

use std::collections::BTreeSet;

use super::entry::{BackupEntry, State};
use super::layout::{DATA, RunFolder, parse_attempt_folder};
use super::list::{ListQuery, Listing, Problem, ProblemKind, list_backups};
use super::wholeness::{Wholeness, wholeness};
use crate::error::{Error, Result};
use crate::model::chain::{Chain, Member, chain_at, is_void};
use crate::model::{BackupType, UnixMillis};
use crate::storage::Storage;

/// Everything that storage shows of a routine, with manifests.
#[derive(Debug, Clone, Default)]
pub struct History {
    /// The full backups.
    pub full: Listing,
    /// The incremental backups.
    pub incremental: Listing,
}

/// What it takes to restore one namespace to a point in time, with the backups it is made of.
#[derive(Debug, Clone)]
pub struct RestoreChain {
    /// The chain; its places are those of `members`.
    pub chain: Chain,
    /// Every backup of the namespace that counts.
    pub members: Vec<BackupEntry>,
    /// The damaged backups that `allow-gap` passed over: their folders, and what is wrong.
    pub damaged: Vec<(String, String)>,
}

impl RestoreChain {
    /// The backups of the chain: the base first.
    pub fn entries(&self) -> impl Iterator<Item = &BackupEntry> {
        self.chain.members.iter().filter_map(|place| self.members.get(*place))
    }
}

/// A backup as chains and retention see it.
pub fn member(entry: &BackupEntry) -> Member {
    let manifest = entry.manifest.as_ref();
    Member {
        backup_type: entry.backup_type,
        created: entry.created,
        finished: entry.finished,
        from: entry.from,
        safe_from: manifest.map(|manifest| manifest.safe_from),
        whole: !matches!(entry.state, State::Broken { .. }),
        void: entry.state == State::Void,
        marked: entry.state == State::Marked,
        promoted: manifest.is_some_and(|manifest| manifest.promoted.is_some()),
        record_count: entry.counts.records,
        scope_hash: manifest.map(|manifest| manifest.scope_hash.clone()),
    }
}

impl History {
    /// Asks storage for all backups of a routine. `marked`: the folders that are being deleted, by key, as they were
    /// known before storage is asked; they are in no chain (rules.md 5.3).
    pub async fn read(storage: &dyn Storage, routine: &str, marked: &BTreeSet<String>) -> Result<Self> {
        let query = |backup_type| ListQuery { routine, backup_type, from: None, to: None, manifests: true };
        let (full, incremental) = (query(BackupType::Full), query(BackupType::Incremental));
        let (full, incremental) =
            futures_util::future::try_join(list_backups(storage, &full), list_backups(storage, &incremental))
                .await?;
        let mut history = Self { full, incremental };
        history.full.mark(marked);
        history.incremental.mark(marked);
        Ok(history)
    }

    /// Takes the backups that were created in the future for void from here on, and returns their keys; the writer
    /// of the routine marks them for good (rules.md 3.1).
    pub fn void_future(&mut self, now: UnixMillis) -> Vec<String> {
        let entries = self.full.all_mut().iter_mut().chain(self.incremental.all_mut());
        let future = entries.filter(|entry| entry.state != State::Void && is_void(entry.created, now));
        future
            .map(|entry| {
                entry.state = State::Void;
                entry.key.clone()
            })
            .collect()
    }

    /// The backups of a namespace that count, one for each `created` and type, fulls first; and the same as members.
    pub fn members(&self, namespace: &str) -> (Vec<&BackupEntry>, Vec<Member>) {
        let entries: Vec<&BackupEntry> =
            self.counted().filter(|entry| entry.namespace == namespace).collect();
        let members = entries.iter().map(|entry| member(entry)).collect();
        (entries, members)
    }

    /// Which namespaces a restore to `at` brings back when none is named (rules.md 3.8): those that the newest run
    /// with a namespace finished by then had resolved; where that run has no manifest, every namespace that has a full
    /// by then.
    pub fn namespaces_at(&self, at: UnixMillis) -> BTreeSet<String> {
        let finished = || self.counted().filter(|entry| entry.state == State::Whole && entry.finished <= at);
        let Some(newest) = finished().map(|entry| entry.created).max() else { return BTreeSet::new() };
        let manifests =
            finished().filter(|entry| entry.created == newest).filter_map(|e| e.manifest.as_ref());
        let resolved: BTreeSet<String> =
            manifests.flat_map(|manifest| manifest.run_namespaces.iter().cloned()).collect();
        if !resolved.is_empty() {
            return resolved;
        }
        finished()
            .filter(|entry| entry.backup_type == BackupType::Full && entry.created <= at)
            .map(|entry| entry.namespace.clone())
            .collect()
    }

    /// The latest `created` of any backup that is not void.
    pub fn newest_created(&self) -> Option<UnixMillis> {
        let all = self.full.all().iter().chain(self.incremental.all());
        all.filter(|entry| entry.state != State::Void).map(|entry| entry.created).max()
    }

    /// Every namespace that storage has a committed backup of.
    pub fn namespaces(&self) -> BTreeSet<String> {
        self.counted().map(|entry| entry.namespace.clone()).collect()
    }

    /// Refuses while storage did not say what a folder holds that may be a backup of the namespace, or of any, created by
    /// `at`: what is missing from the list must not pass for what never was.
    ///
    /// Errors: `backup-unreadable` (temporary).
    pub fn refuse_unread(&self, namespace: Option<&str>, at: UnixMillis) -> Result<()> {
        let Some(problem) = self.problems().find(|problem| may_hide(problem, namespace, at)) else {
            return Ok(());
        };
        let whose = namespace.map_or_else(|| "wanted".to_owned(), |name| format!("of the chain of {name:?}"));
        let text = format!("backup {} may be {whose}: {}", problem.key, problem.reason);
        Err(Error::temporary("backup-unreadable", text)
            .hint("Check the storage and its permissions, and try again."))
    }

    /// The chain of a namespace at `at`, each member looked at in storage (manifest and sizes).
    ///
    /// Errors: `backup-damaged` when the chain would have another member if that were not damaged, unless `allow_gap`;
    /// and when storage did not answer about a folder that may belong to the chain: an older state must not pass for
    /// the one that was asked for.
    pub async fn whole_chain(
        &mut self,
        storage: &dyn Storage,
        namespace: &str,
        at: UnixMillis,
        allow_gap: bool,
    ) -> Result<RestoreChain> {
        self.refuse_unread(Some(namespace), at)?;
        let damaged = self.mark_damaged(storage, namespace, at).await?;
        let found = self.chain_without_broken(storage, namespace, at, allow_gap).await;
        match (damaged.first(), found) {
            (Some(first), Ok(found)) if !allow_gap => Err(damaged_member(first, Some(found.chain.finished))),
            (Some(first), Err(error)) if !error.is_temporary() => Err(damaged_member(first, None)),
            (_, found) => found.map(|found| RestoreChain { damaged, ..found }),
        }
    }

    /// Looks at each member that the chain of a namespace at `at` would have if nothing were damaged, and marks those
    /// that are; gives their folders and what is wrong, the oldest first.
    pub async fn mark_damaged(
        &mut self,
        storage: &dyn Storage,
        namespace: &str,
        at: UnixMillis,
    ) -> Result<Vec<(String, String)>> {
        loop {
            let (entries, mut members) = self.members(namespace);
            for member in &mut members {
                member.whole = true;
            }
            let Ok(chain) = chain_at(&members, at, true) else { return Ok(Vec::new()) };
            let (mut known, mut fresh) = (Vec::new(), Vec::new());
            for entry in chain.members.iter().filter_map(|place| entries.get(*place)) {
                if let State::Broken { reason } = &entry.state {
                    known.push((entry.key.clone(), reason.clone()));
                } else if let Wholeness::Broken { reason } = wholeness(storage, entry).await? {
                    fresh.push((entry.key.clone(), reason));
                }
            }
            if fresh.is_empty() {
                return Ok(known);
            }
            // Another attempt at the same may be whole: look again.
            for (key, reason) in fresh {
                self.mark_broken(&key, reason);
            }
        }
    }

    /// The chain of what is whole, each member looked at; a member that turns out to be broken is marked so.
    async fn chain_without_broken(
        &mut self,
        storage: &dyn Storage,
        namespace: &str,
        at: UnixMillis,
        allow_gap: bool,
    ) -> Result<RestoreChain> {
        loop {
            let (entries, members) = self.members(namespace);
            let chain = chain_at(&members, at, allow_gap)
                .map_err(|error| Error::from(error).context(format!("namespace {namespace:?}")))?;
            let mut broken = Vec::new();
            for entry in chain.members.iter().filter_map(|place| entries.get(*place)) {
                if let Wholeness::Broken { reason } = wholeness(storage, entry).await? {
                    broken.push((entry.key.clone(), reason));
                }
            }
            if broken.is_empty() {
                let members = entries.into_iter().cloned().collect();
                return Ok(RestoreChain { chain, members, damaged: Vec::new() });
            }
            for (key, reason) in broken {
                self.mark_broken(&key, reason);
            }
        }
    }

    fn counted(&self) -> impl Iterator<Item = &BackupEntry> {
        self.full.counted().chain(self.incremental.counted())
    }

    fn problems(&self) -> impl Iterator<Item = &Problem> {
        self.full.problems.iter().chain(&self.incremental.problems)
    }

    fn mark_broken(&mut self, key: &str, reason: String) {
        let mut entries = self.full.all_mut().iter_mut().chain(self.incremental.all_mut());
        if let Some(entry) = entries.find(|entry| entry.key == key) {
            entry.state = State::Broken { reason };
        }
    }
}

/// The error of a damaged member; `whole_at`: the latest instant that can be asked for instead.
fn damaged_member((key, reason): &(String, String), whole_at: Option<UnixMillis>) -> Error {
    Error::permanent("backup-damaged", format!("backup {key}: {reason}")).hint(whole_at.map_or_else(
        || "Restore from a copy of it.".to_owned(),
        |at| {
            format!(
                "Restore from a copy of it, or to {at} (time {}), before it, or accept the older state with allow-gap.",
                at.0
            )
        },
    ))
}

/// Whether an unread folder may hold a backup of the namespace, or of any, that was created by `at`.
pub(crate) fn may_hide(problem: &Problem, namespace: Option<&str>, at: UnixMillis) -> bool {
    if problem.kind != ProblemKind::Unreadable {
        return false;
    }
    let Some((run, rest)) = RunFolder::of_key(&problem.key) else { return true };
    let folder = rest.strip_prefix(DATA).and_then(|rest| rest.strip_prefix('/'));
    let may_be = |folder, namespace| parse_attempt_folder(folder, namespace).is_some();
    run.created <= at && folder.zip(namespace).is_none_or(|(folder, namespace)| may_be(folder, namespace))
}

#[cfg(test)]
mod tests;
