//! What retention would do with a routine's backups, and why: one value for the job and for the dry run.

use std::collections::BTreeSet;

use serde::Serialize;

use super::copies::CopiesView;
use crate::catalog::wholeness::{Wholeness, wholeness};
use crate::catalog::{BackupEntry, History, ProblemKind, State};
use crate::config::{JobConfig, RetentionConfig};
use crate::error::{Error, Result};
use crate::model::retention::{Keep, Policy, Remove, RetentionPlan, Tier, Verdict, plan_retention};
use crate::model::{BackupType, UnixMillis};
use crate::storage::{Storage, address};
use crate::store::{BuildingOn, DeletionRow, JobId, PinRow, Store, Tx, holds};

/// What storage shows of a routine, and since when jobs must be asked what they have added.
#[derive(Debug)]
pub(super) struct Seen {
    pub history: History,
    pub place: String,
    routine: String,
    since: JobId,
    /// When storage was asked: ages count from here.
    now: UnixMillis,
}

impl Seen {
    /// Asks the store, then storage: what commits meanwhile is of a job that [`Needed`] asks about.
    pub async fn read(store: &Store, storage: &dyn Storage, routine: &str, now: UnixMillis) -> Result<Self> {
        let place = storage.describe();
        let since = store.write().await?.oldest_open_backup(routine).await?;
        let marked = store.marked(&place).await?;
        let mut history = History::read(storage, routine, &marked).await?;
        history.void_future(now);
        Ok(Self { history, place, routine: routine.to_owned(), since, now })
    }

    /// Its routine.
    pub fn routine(&self) -> &str {
        &self.routine
    }

    fn entries(&self) -> impl Iterator<Item = &BackupEntry> {
        self.history.full.all().iter().chain(self.history.incremental.all())
    }

    /// Other attempts at the same: they would take its place were it gone (rules.md 6.1).
    pub fn superseded_by<'a>(
        &'a self,
        entry: &BackupEntry,
    ) -> impl Iterator<Item = &'a BackupEntry> + use<'a> {
        let (backup_type, created, namespace) = (entry.backup_type, entry.created, entry.namespace.clone());
        let others = self.history.full.superseded().chain(self.history.incremental.superseded());
        others.filter(move |one| {
            one.backup_type == backup_type && one.created == created && one.namespace == namespace
        })
    }

    /// Folders of which storage did not say what they hold: nothing may be concluded about what they need.
    pub fn unreadable(&self) -> Option<Problem> {
        let mut all = self.history.full.problems.iter().chain(&self.history.incremental.problems);
        let found = all.find(|problem| problem.kind == ProblemKind::Unreadable)?;
        Some(Problem { code: "backup-unreadable", backup: found.key.clone(), reason: found.reason.clone() })
    }
}

/// What jobs read or build on (rules.md 5.4).
#[derive(Debug)]
pub(super) struct Needed {
    pins: Vec<PinRow>,
    building: Vec<BuildingOn>,
}

impl Needed {
    /// As it is in this transaction.
    pub async fn read(tx: &mut Tx, seen: &Seen) -> Result<Self> {
        let pins = tx.pins().await?;
        let mut building = tx.building_on(&seen.routine, seen.since).await?;
        // What is listed speaks for itself.
        let listed: BTreeSet<&str> = seen.entries().map(|entry| entry.key.as_str()).collect();
        building.retain(|one| !one.committed || !listed.contains(one.folder.as_str()));
        Ok(Self { pins, building })
    }

    /// Whether a job reads a backup or builds on it.
    pub fn holds(&self, place: &str, entry: &BackupEntry) -> bool {
        let at = address(place, &entry.key);
        self.pins.iter().any(|pin| holds(&pin.address, &at))
            || self.building.iter().any(|on| on.namespace == entry.namespace && on.from == entry.created)
    }
}

/// What becomes of the backups of one namespace.
#[derive(Debug)]
pub(super) struct Decision {
    pub namespace: String,
    /// One for each `created` and type.
    pub entries: Vec<BackupEntry>,
    /// Its places are those of `entries`.
    pub plan: RetentionPlan,
    /// Other attempts at what goes: they would take its place (rules.md 6.1), so they go too.
    superseded: Vec<BackupEntry>,
}

/// Decides for every namespace, or for those that are named.
pub(super) fn decide(
    seen: &Seen,
    needed: &Needed,
    retention: Option<RetentionConfig>,
    namespaces: Option<&[String]>,
) -> Vec<Decision> {
    let everything = Policy::counts(usize::MAX, None);
    let policy = retention.map_or(everything, RetentionConfig::policy);
    let all = seen.history.namespaces().into_iter();
    let wanted = all.filter(|name| namespaces.is_none_or(|named| named.contains(name)));
    wanted.map(|namespace| decide_one(seen, needed, policy, namespace)).collect()
}

fn decide_one(seen: &Seen, needed: &Needed, policy: Policy, namespace: String) -> Decision {
    let (entries, members) = seen.history.members(&namespace);
    let attempts_at = |entry: &BackupEntry| seen.superseded_by(entry);
    let pinned = |place: usize| {
        entries.get(place).is_some_and(|entry| {
            needed.holds(&seen.place, entry)
                || attempts_at(entry).any(|other| needed.holds(&seen.place, other))
        })
    };
    let plan = plan_retention(&members, pinned, policy, seen.now);
    let going = plan.removals.iter().filter_map(|place| entries.get(*place));
    let superseded = going.flat_map(|entry| attempts_at(entry).cloned().collect::<Vec<_>>()).collect();
    let entries = entries.into_iter().cloned().collect();
    Decision { namespace, entries, plan, superseded }
}

impl Decision {
    fn with_verdicts(&self) -> impl Iterator<Item = (&BackupEntry, Verdict)> {
        self.entries.iter().zip(self.plan.verdicts.iter().copied())
    }

    /// How many backups would go, were they not pinned.
    pub fn held_back(&self) -> usize {
        self.plan.verdicts.iter().filter(|verdict| **verdict == Verdict::Keep(Keep::Pinned)).count()
    }

    /// How many backups stay.
    pub fn staying(&self) -> usize {
        self.plan.verdicts.iter().filter(|verdict| verdict.stays()).count()
    }

    /// The whole fulls that stay, if anything goes: they are looked at before the first deletion.
    pub fn fulls_to_check(&self) -> impl Iterator<Item = &BackupEntry> {
        let places = if self.goes().next().is_some() { self.plan.fulls_to_check.as_slice() } else { &[] };
        places.iter().filter_map(|place| self.entries.get(*place))
    }

    /// The backups that are yet to be marked; the order of deletion is the store's.
    fn goes(&self) -> impl Iterator<Item = &BackupEntry> {
        let going = self.plan.removals.iter().filter_map(|place| self.entries.get(*place));
        going.chain(&self.superseded).filter(|entry| entry.state != State::Marked)
    }

    /// The marks of what goes.
    pub fn deletions(&self, mark: &Mark<'_>) -> Vec<DeletionRow> {
        self.goes().map(|entry| mark.of(entry)).collect()
    }
}

/// What all marks of one job have in common.
#[derive(Debug)]
pub(super) struct Mark<'a> {
    pub place: &'a str,
    pub config: &'a JobConfig,
    pub job_id: JobId,
    pub marked: UnixMillis,
}

impl Mark<'_> {
    pub fn of(&self, entry: &BackupEntry) -> DeletionRow {
        DeletionRow {
            address: address(self.place, &entry.key),
            place: self.place.to_owned(),
            storage: self.config.storage.name.clone(),
            routine: self.config.routine.clone(),
            backup_type: entry.backup_type,
            folder: entry.key.clone(),
            namespace: entry.namespace.clone(),
            created: entry.created,
            bytes: entry.counts.bytes,
            marked: self.marked,
            job_id: self.job_id,
        }
    }
}

/// Looks at manifest and sizes of a full that stays (rules.md 5.1); what is wrong with it, if anything is.
pub(super) async fn look_at(
    store: &Store,
    storage: &dyn Storage,
    entry: &BackupEntry,
) -> Result<Option<Problem>> {
    let reason = match wholeness(storage, entry).await? {
        Wholeness::Broken { reason } => reason,
        Wholeness::Whole { manifest: Some(_) } => return Ok(None),
        Wholeness::Whole { manifest: None } => {
            if !store.had_manifest(&entry.key).await? {
                return Ok(None);
            }
            "manifest.json is gone".to_owned()
        }
    };
    Ok(Some(Problem { code: KEPT_FULL_DAMAGED, backup: entry.key.clone(), reason }))
}

/// A full that stays is damaged.
const KEPT_FULL_DAMAGED: &str = "kept-full-damaged";

/// Something because of which nothing is deleted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "kebab-case")]
#[schema(as = RetentionProblem)]
pub struct Problem {
    /// Stable, kebab-case.
    pub code: &'static str,
    /// The folder concerned; empty where it is the storage.
    pub backup: String,
    /// In words.
    pub reason: String,
}

impl From<Problem> for Error {
    fn from(problem: Problem) -> Self {
        let Problem { code, backup, reason } = problem;
        if code == KEPT_FULL_DAMAGED {
            return Self::permanent(
                KEPT_FULL_DAMAGED,
                format!("nothing is deleted: backup {backup}, which stays, is damaged: {reason}"),
            )
            .hint("Bring it back from a copy, or remove its folder: then the full before it stays in its place.");
        }
        Self::temporary("backup-unreadable", format!("nothing is deleted: backup {backup}: {reason}"))
            .hint("Check the storage and its permissions, and try again.")
    }
}

/// What retention would do with a routine's backups now: `GET /v1/retention/{routine}`, `holdfast retention --dry-run`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "kebab-case")]
#[schema(as = RetentionView)]
pub struct View {
    /// The routine.
    pub routine: String,
    /// Its storage, by its configured name.
    pub storage: Option<String>,
    /// What its policy says; none: everything stays.
    pub retention: Option<RetentionConfig>,
    /// The same in words.
    pub says: String,
    /// Every namespace that has a committed backup.
    pub namespaces: Vec<NamespaceView>,
    /// While there is one of these, nothing is deleted and the job fails.
    pub problems: Vec<Problem>,
    /// The sums.
    pub totals: Totals,
    /// The same in each storage that the backups are copied to.
    pub copies: Vec<CopiesView>,
}

/// One namespace in a [`View`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "kebab-case")]
#[schema(as = RetentionNamespace)]
pub struct NamespaceView {
    /// Its name.
    pub namespace: String,
    /// Its backups, oldest first.
    pub backups: Vec<BackupView>,
}

/// One backup in a [`View`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "kebab-case")]
#[schema(as = RetentionBackup)]
pub struct BackupView {
    /// Its folder.
    pub key: String,
    /// Full or incremental.
    #[serde(rename = "type")]
    pub backup_type: BackupType,
    /// When its run began.
    pub created: String,
    /// Records in it.
    pub records: u64,
    /// Bytes in storage.
    pub bytes: u64,
    /// Whether it is a full in the place of an incremental (rules.md 3.7).
    pub promoted: bool,
    /// `whole`, `broken`, `void` or `marked`.
    pub state: &'static str,
    /// Whether it stays.
    pub stays: bool,
    /// Why: see [`why`].
    pub why: &'static str,
}

/// The sums of a [`View`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "kebab-case")]
#[schema(as = RetentionTotals)]
pub struct Totals {
    /// Backups that stay.
    pub stays: u64,
    /// Their bytes.
    pub stays_bytes: u64,
    /// Backups that go.
    pub goes: u64,
    /// Their bytes.
    pub goes_bytes: u64,
    /// Backups that stay for no other reason than that a job reads them or builds on them.
    pub held_back: u64,
}

/// Why a backup stays or goes, in one word.
pub const fn why(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Keep(Keep::Policy) => "policy",
        Verdict::Keep(Keep::Age) => "max-age",
        Verdict::Keep(Keep::Tier(Tier::Daily)) => "keep-daily",
        Verdict::Keep(Keep::Tier(Tier::Weekly)) => "keep-weekly",
        Verdict::Keep(Keep::Tier(Tier::Monthly)) => "keep-monthly",
        Verdict::Keep(Keep::Tier(Tier::Yearly)) => "keep-yearly",
        Verdict::Keep(Keep::Floor) => "min-fulls",
        Verdict::Keep(Keep::LastWithRecords) => "last-with-records",
        Verdict::Keep(Keep::Pinned) => "pinned",
        Verdict::Keep(Keep::Needed) => "needed",
        Verdict::Remove(Remove::OldFull) => "old-full",
        Verdict::Remove(Remove::WithItsFull) => "with-its-full",
        Verdict::Remove(Remove::OldIncremental) => "old-incremental",
        Verdict::Remove(Remove::Marked) => "being-deleted",
    }
}

/// What retention would do now in one storage, without doing it: the same code as the job's.
pub async fn view(store: &Store, storage: &dyn Storage, config: &JobConfig, now: UnixMillis) -> Result<View> {
    let seen = Seen::read(store, storage, &config.routine, now).await?;
    let needed = Needed::read(&mut store.write().await?, &seen).await?;
    let retention = config.policy.retention;
    let decisions = decide(&seen, &needed, retention, None);
    let mut problems: Vec<Problem> = seen.unreadable().into_iter().collect();
    for entry in decisions.iter().flat_map(Decision::fulls_to_check) {
        match look_at(store, storage, entry).await {
            Ok(found) => problems.extend(found),
            Err(error) => {
                problems.push(Problem {
                    code: error.code(),
                    backup: entry.key.clone(),
                    reason: error.report(),
                });
            }
        }
    }
    let namespaces: Vec<NamespaceView> = decisions.iter().map(NamespaceView::of).collect();
    Ok(View {
        routine: config.routine.clone(),
        storage: config.storage.name.clone(),
        retention,
        says: RetentionConfig::in_words(retention),
        totals: Totals::of(&namespaces),
        namespaces,
        problems,
        copies: Vec::new(),
    })
}

impl NamespaceView {
    fn of(decision: &Decision) -> Self {
        let mut backups: Vec<BackupView> =
            decision.with_verdicts().map(|(entry, verdict)| BackupView::of(entry, verdict)).collect();
        backups.sort_by(|a, b| a.created.cmp(&b.created).then_with(|| a.key.cmp(&b.key)));
        Self { namespace: decision.namespace.clone(), backups }
    }
}

impl BackupView {
    fn of(entry: &BackupEntry, verdict: Verdict) -> Self {
        Self {
            key: entry.key.clone(),
            backup_type: entry.backup_type,
            created: entry.created.to_rfc3339(),
            records: entry.counts.records,
            bytes: entry.counts.bytes,
            promoted: entry.manifest.as_ref().is_some_and(|manifest| manifest.promoted.is_some()),
            state: match entry.state {
                State::Whole => "whole",
                State::Broken { .. } => "broken",
                State::Void => "void",
                State::Marked => "marked",
            },
            stays: verdict.stays(),
            why: why(verdict),
        }
    }
}

impl Totals {
    fn of(namespaces: &[NamespaceView]) -> Self {
        let mut totals = Self::default();
        for backup in namespaces.iter().flat_map(|one| &one.backups) {
            let (count, bytes) = if backup.stays {
                (&mut totals.stays, &mut totals.stays_bytes)
            } else {
                (&mut totals.goes, &mut totals.goes_bytes)
            };
            *count += 1;
            *bytes = bytes.saturating_add(backup.bytes);
            totals.held_back += u64::from(backup.why == "pinned");
        }
        totals
    }
}
