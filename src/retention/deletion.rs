//! The deletion of one backup on demand, with what needs it (rules.md 5.3): what would go, and why it may not.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::plan::{Needed, Seen};
use crate::catalog::{BackupEntry, State};
use crate::error::{Error, Result};
use crate::model::retention::dependents;
use crate::model::{BackupType, UnixMillis};
use crate::storage::Storage;
use crate::store::{Store, Tx, WithoutSecrets};

/// Dependents that a refusal names.
const NAMED_MAX: usize = 20;

/// What is to be deleted; in the row of its job.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct DeletionRequest {
    /// Full or incremental.
    #[serde(rename = "type")]
    pub backup_type: BackupType,
    /// `created` of the run, in ms.
    pub timestamp: UnixMillis,
    /// Whether what needs it goes too.
    pub cascade: bool,
}

impl WithoutSecrets for DeletionRequest {}

/// What a deletion would do, as `?dry-run=true` shows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "kebab-case")]
pub struct DeletionPlan {
    /// The routine.
    pub routine: String,
    /// Full or incremental.
    #[serde(rename = "type")]
    pub backup_type: BackupType,
    /// `created` of the run, in ms.
    pub timestamp: i64,
    /// Whether what needs it goes too.
    pub cascade: bool,
    /// What goes, in the order of deletion.
    pub backups: Vec<DeletedBackup>,
    /// What needs it and would not go: while there is any, nothing is deleted.
    pub dependents: Vec<DeletedBackup>,
    /// What a job reads or builds on: while there is any, nothing is deleted.
    pub in_use: Vec<String>,
    /// Namespaces of which no full is left.
    pub without_full: Vec<String>,
    /// Bytes that are freed.
    pub bytes: u64,
}

/// A backup in a [`DeletionPlan`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "kebab-case")]
pub struct DeletedBackup {
    /// Its folder.
    pub key: String,
    /// Its namespace.
    pub namespace: String,
    /// Full or incremental.
    #[serde(rename = "type")]
    pub backup_type: BackupType,
    /// `created` of its run, in ms.
    pub timestamp: i64,
    /// Bytes in storage.
    pub bytes: u64,
    /// `asked`, `dependent`, or `superseded`: another attempt at one of those.
    pub why: &'static str,
}

/// What storage and jobs say of a deletion.
#[derive(Debug)]
pub(super) struct Decided {
    request: DeletionRequest,
    /// What goes, and why: dependents first, the newest first.
    goes: Vec<(BackupEntry, &'static str)>,
    /// What needs it and does not go.
    dependents: Vec<BackupEntry>,
    in_use: Vec<String>,
    without_full: Vec<String>,
}

/// What a deletion would do now; nothing is deleted.
///
/// Errors: `backup-not-found`, `backup-unreadable`, those of storage.
pub async fn plan_deletion(
    store: &Store,
    storage: &dyn Storage,
    routine: &str,
    request: &DeletionRequest,
    now: UnixMillis,
) -> Result<DeletionPlan> {
    let seen = Seen::read(store, storage, routine, now).await?;
    let decided = decide(&mut store.write().await?, &seen, request).await?;
    Ok(decided.plan(routine))
}

/// Decides, in the transaction that may then mark.
///
/// Errors: `backup-not-found`; `backup-unreadable` where storage did not say what may need it.
pub(super) async fn decide(tx: &mut Tx, seen: &Seen, request: &DeletionRequest) -> Result<Decided> {
    if let Some(problem) = seen.unreadable() {
        return Err(problem.into());
    }
    let needed = Needed::read(tx, seen).await?;
    let mut decided = Decided {
        request: request.clone(),
        goes: Vec::new(),
        dependents: Vec::new(),
        in_use: Vec::new(),
        without_full: Vec::new(),
    };
    for namespace in seen.history.namespaces() {
        decided.look_at(seen, &needed, &namespace);
    }
    if decided.goes.is_empty() {
        let (what, at) = (request.backup_type.as_str(), request.timestamp.0);
        return Err(Error::permanent("backup-not-found", format!("there is no {what} backup {at}")).hint(
            "GET /v1/backups lists what there is; what has no readable metadata.yaml is removed by hand.",
        ));
    }
    let created: BTreeSet<UnixMillis> = decided.goes.iter().map(|(entry, _)| entry.created).collect();
    for created in created {
        if tx.run_is_open(seen.routine(), created).await? {
            decided.in_use.push(format!("the run {}", created.0));
        }
    }
    decided.goes.sort_by(|(a, _), (b, _)| {
        let order = |one: &BackupEntry| (one.backup_type == BackupType::Full, std::cmp::Reverse(one.created));
        order(a).cmp(&order(b)).then_with(|| a.key.cmp(&b.key))
    });
    Ok(decided)
}

impl Decided {
    fn look_at(&mut self, seen: &Seen, needed: &Needed, namespace: &str) {
        let (entries, members) = seen.history.members(namespace);
        let asked = |entry: &BackupEntry| {
            entry.backup_type == self.request.backup_type
                && entry.created == self.request.timestamp
                && entry.state != State::Marked
        };
        let Some(place) = entries.iter().position(|entry| asked(entry)) else { return };
        let mut going = vec![(place, "asked")];
        let dependents = dependents(&members, &[place]);
        if self.request.cascade {
            going.extend(dependents.iter().map(|place| (*place, "dependent")));
        } else {
            self.dependents
                .extend(dependents.iter().filter_map(|place| entries.get(*place)).map(|one| (*one).clone()));
        }
        let stays = |place: &usize| !going.iter().any(|(gone, _)| gone == place);
        let left = members.iter().enumerate().filter(|(place, one)| stays(place) && one.is_usable());
        if !left.into_iter().any(|(_, one)| one.backup_type == BackupType::Full) {
            self.without_full.push(namespace.to_owned());
        }
        for (place, why) in going {
            let Some(entry) = entries.get(place) else { continue };
            let others = seen.superseded_by(entry).map(|other| (other, "superseded"));
            for (one, why) in std::iter::once((*entry, why)).chain(others) {
                if needed.holds(&seen.place, one) {
                    self.in_use.push(one.key.clone());
                }
                if one.state != State::Marked {
                    self.goes.push((one.clone(), why));
                }
            }
        }
    }

    /// What goes.
    pub fn backups(&self) -> impl Iterator<Item = &BackupEntry> {
        self.goes.iter().map(|(entry, _)| entry)
    }

    /// Why nothing is deleted.
    ///
    /// Errors: `backup-has-dependents`, `backup-in-use`.
    pub fn refusal(&self) -> Result<()> {
        let dependents: Vec<&str> = self.dependents.iter().map(|one| one.key.as_str()).collect();
        refusal(&self.request, &dependents, &self.in_use)
    }

    /// That a namespace has no full any more.
    pub fn warnings(&self) -> impl Iterator<Item = String> {
        let text =
            |name: &String| format!("namespace {name:?} has no full backup any more: nothing restores it");
        self.without_full.iter().map(text)
    }

    /// How many backups of each namespace go.
    pub fn counts(&self) -> Vec<Value> {
        let namespaces: BTreeSet<&str> = self.backups().map(|entry| entry.namespace.as_str()).collect();
        let goes = |name: &str| self.backups().filter(|entry| entry.namespace == name).count();
        namespaces.into_iter().map(|name| json!({"namespace": name, "goes": goes(name)})).collect()
    }

    fn plan(self, routine: &str) -> DeletionPlan {
        DeletionPlan {
            routine: routine.to_owned(),
            backup_type: self.request.backup_type,
            timestamp: self.request.timestamp.0,
            cascade: self.request.cascade,
            bytes: self.backups().map(|entry| entry.counts.bytes).sum(),
            backups: self.goes.iter().map(|(entry, why)| DeletedBackup::of(entry, why)).collect(),
            dependents: self.dependents.iter().map(|entry| DeletedBackup::of(entry, "dependent")).collect(),
            in_use: self.in_use,
            without_full: self.without_full,
        }
    }
}

impl DeletedBackup {
    fn of(entry: &BackupEntry, why: &'static str) -> Self {
        Self {
            key: entry.key.clone(),
            namespace: entry.namespace.clone(),
            backup_type: entry.backup_type,
            timestamp: entry.created.0,
            bytes: entry.counts.bytes,
            why,
        }
    }
}

impl DeletionPlan {
    /// Why nothing would be deleted.
    ///
    /// Errors: `backup-has-dependents`, `backup-in-use`.
    pub fn refusal(&self) -> Result<()> {
        let request = DeletionRequest {
            backup_type: self.backup_type,
            timestamp: UnixMillis(self.timestamp),
            cascade: self.cascade,
        };
        let dependents: Vec<&str> = self.dependents.iter().map(|one| one.key.as_str()).collect();
        refusal(&request, &dependents, &self.in_use)
    }
}

fn refusal(request: &DeletionRequest, dependents: &[&str], in_use: &[String]) -> Result<()> {
    let what = format!("nothing is deleted: {} backup {}", request.backup_type.as_str(), request.timestamp.0);
    if !dependents.is_empty() {
        return Err(Error::permanent(
            "backup-has-dependents",
            format!("{what} is needed by {}", named(dependents)),
        )
        .hint("Delete those first, or all together with cascade=true."));
    }
    if !in_use.is_empty() {
        let in_use: Vec<&str> = in_use.iter().map(String::as_str).collect();
        return Err(Error::temporary(
            "backup-in-use",
            format!("{what}: a job reads or builds on {}", named(&in_use)),
        )
        .hint("Wait for the job to end, or cancel it."));
    }
    Ok(())
}

/// The first of many.
fn named(all: &[&str]) -> String {
    let first = all.iter().take(NAMED_MAX).copied().collect::<Vec<_>>().join(", ");
    match all.len().saturating_sub(NAMED_MAX) {
        0 => first,
        more => format!("{first} and {more} more"),
    }
}
