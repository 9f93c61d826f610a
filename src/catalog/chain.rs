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
    /// Asks storage for all backups of a routine.
    pub async fn read(storage: &dyn Storage, routine: &str) -> Result<Self> {
        let query = |backup_type| ListQuery { routine, backup_type, from: None, to: None, manifests: true };
        let (full, incremental) = (query(BackupType::Full), query(BackupType::Incremental));
        let (full, incremental) =
            futures_util::future::try_join(list_backups(storage, &full), list_backups(storage, &incremental))
                .await?;
        Ok(Self { full, incremental })
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

    /// The chain of a namespace at `at`, each member looked at in storage (manifest and sizes).
    ///
    /// A member that turns out to be broken is marked so here, and the chain is made anew without it. An error when
    /// storage did not answer about a folder that may belong to the chain: an older state must not pass for this one.
    pub async fn whole_chain(
        &mut self,
        storage: &dyn Storage,
        namespace: &str,
        at: UnixMillis,
        allow_gap: bool,
    ) -> Result<RestoreChain> {
        if let Some(problem) = self.problems().find(|problem| may_hide(problem, namespace, at)) {
            return Err(Error::temporary(
                "backup-unreadable",
                format!(
                    "backup {} may belong to the chain of {namespace:?}: {}",
                    problem.key, problem.reason
                ),
            )
            .hint("Check the storage and its permissions, and try again."));
        }
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
                return Ok(RestoreChain { chain, members });
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

/// Whether an unread folder may hold a backup of the namespace that was created by `at`.
fn may_hide(problem: &Problem, namespace: &str, at: UnixMillis) -> bool {
    if problem.kind != ProblemKind::Unreadable {
        return false;
    }
    let Some((run, rest)) = RunFolder::of_key(&problem.key) else { return true };
    let folder = rest.strip_prefix(DATA).and_then(|rest| rest.strip_prefix('/'));
    run.created <= at && folder.is_none_or(|folder| parse_attempt_folder(folder, namespace).is_some())
}

#[cfg(test)]
mod tests;
