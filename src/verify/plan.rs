//! What a verification reads, as a value.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::catalog::{BackupEntry, History, Problem, ProblemKind, RunFolder, State};
use crate::error::Result;
use crate::model::UnixMillis;
use crate::storage::Storage;
use crate::store::WithoutSecrets;

/// Which backups of a routine are asked for: those whose run was `created` in this stretch, both ends inclusive; a
/// missing end is open.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct VerifyRequest {
    /// Not before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<UnixMillis>,
    /// Not after.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to: Option<UnixMillis>,
    /// In this storage alone; none: in the routine's own, and in those of its copies.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub storage: Option<String>,
}

impl WithoutSecrets for VerifyRequest {}

impl VerifyRequest {
    /// The backups of one run.
    pub const fn of_run(created: UnixMillis) -> Self {
        Self { from: Some(created), to: Some(created), storage: None }
    }

    fn covers(&self, created: UnixMillis) -> bool {
        self.from.is_none_or(|from| from <= created) && self.to.is_none_or(|to| created <= to)
    }
}

/// What a verification reads.
#[derive(Debug, Clone, Default)]
pub struct VerifyPlan {
    /// The backups to read, namespace by namespace, oldest first: what a backup builds on comes before it.
    pub backups: Vec<BackupEntry>,
    /// Backups that are not read, but may be what others build on.
    pub others: Vec<BackupEntry>,
    /// Folders in which there may be, or was, a backup.
    pub problems: Vec<Problem>,
    /// How many of `problems`, the first ones, were asked for; the rest may be what others build on.
    pub problems_asked: usize,
    /// Said in the job.
    pub notes: Vec<String>,
    /// Whether every backup of the routine was asked for.
    pub everything: bool,
}

impl VerifyPlan {
    /// Asks storage what there is. `namespaces`: none = all; `marked`: folders whose deletion has begun.
    pub async fn find(
        storage: &dyn Storage,
        routine: &str,
        request: &VerifyRequest,
        namespaces: Option<&[String]>,
        marked: &BTreeSet<String>,
        now: UnixMillis,
    ) -> Result<Self> {
        let mut history = History::read(storage, routine, marked).await?;
        history.void_future(now);
        let everything = request.from.is_none() && request.to.is_none() && namespaces.is_none();
        let mut plan = Self { everything, ..Self::default() };
        for entry in history.full.counted().chain(history.incremental.counted()) {
            let named = namespaces.is_none_or(|names| names.contains(&entry.namespace));
            if !named || !request.covers(entry.created) {
                plan.others.push(entry.clone());
            } else if entry.state == State::Marked {
                plan.notes.push(format!("backup {} is being deleted: it is not read", entry.key));
            } else if entry.state == State::Void {
                plan.notes
                    .push(format!("backup {} is void: it counts for nothing, and is not read", entry.key));
            } else {
                plan.backups.push(entry.clone());
            }
        }
        let by_age = |entry: &BackupEntry| (entry.namespace.clone(), entry.created, entry.backup_type);
        plan.backups.sort_by_cached_key(by_age);
        let troubles = history.full.problems.into_iter().chain(history.incremental.problems);
        let (asked, rest): (Vec<Problem>, Vec<Problem>) = troubles
            .filter(|one| matches!(one.kind, ProblemKind::Broken | ProblemKind::Unreadable))
            .partition(|one| may_be_asked(one, request, namespaces));
        plan.problems_asked = asked.len();
        plan.problems = asked.into_iter().chain(rest).collect();
        Ok(plan)
    }

    /// Stored bytes of what is read, as far as it was counted.
    pub fn bytes(&self) -> u64 {
        self.backups.iter().map(|entry| entry.counts.bytes).fold(0, u64::saturating_add)
    }

    /// Records of what is read, as far as they were counted.
    pub fn records(&self) -> u64 {
        self.backups.iter().map(|entry| entry.counts.records).fold(0, u64::saturating_add)
    }
}

/// Whether a folder without a readable backup may hold one that was asked for.
fn may_be_asked(problem: &Problem, request: &VerifyRequest, namespaces: Option<&[String]>) -> bool {
    let Some((run, rest)) = RunFolder::of_key(&problem.key) else { return true };
    let Some(folder) = folder_in_run(rest) else { return request.covers(run.created) };
    let named = namespaces.is_none_or(|names| {
        names.iter().any(|name| crate::catalog::layout::parse_attempt_folder(folder, name).is_some())
    });
    named && request.covers(run.created)
}

/// The folder of a namespace in what `RunFolder::of_key` leaves of a key; none for the run as a whole.
pub(super) fn folder_in_run(rest: &str) -> Option<&str> {
    rest.strip_prefix(crate::catalog::layout::DATA)?.strip_prefix('/')
}
