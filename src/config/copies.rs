//! `backup-routines.<name>.copies`: the other storages that a routine's backups are copied to, and the order of a copy
//! on demand. All of it is ours.

use serde::{Deserialize, Serialize};

use super::Config;
use super::check::{names, not_found};
use super::kind::Kind;
use super::problem::{self, Path, Problem, ProblemKind, Problems};
use super::reader::{Read, Section};
use super::resolve::JobConfig;
use super::retention::{Retention, RetentionConfig};
use super::routine::{Routine, namespaces};
use super::storage::StorageConfig;
use crate::error::{Error, Result};
use crate::memory::{Budget, Class, CopyMemory, mib};
use crate::model::{BackupType, check_name};

/// One entry of `copies`, as written.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct RoutineCopy {
    /// The name of the storage.
    pub storage: String,
    /// How much is kept there; none: everything.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retention: Option<Retention>,
    /// After which backups; none: after all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub on: Option<CopyOn>,
    /// Whether the verifications of the routine read it, too; none: they do.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub verify: Option<bool>,
}

/// Which backups are copied when they have finished.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum CopyOn {
    /// Fulls, also those in the place of an incremental.
    Full,
    /// All.
    #[default]
    All,
}

/// One entry of `copies` with its defaults, as jobs keep it: no part of it can hold a secret (rules.md 7.4).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct CopyConfig {
    /// The storage.
    pub storage: StorageConfig,
    /// How much is kept there; none: everything.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retention: Option<RetentionConfig>,
    /// After which backups.
    #[serde(default)]
    pub on: CopyOn,
    /// Whether the verifications of the routine read it, too.
    #[serde(default = "yes", skip_serializing_if = "is_yes")]
    pub verify: bool,
}

const fn yes() -> bool {
    true
}

#[allow(clippy::trivially_copy_pass_by_ref)] // serde's signature
const fn is_yes(one: &bool) -> bool {
    *one
}

impl JobConfig {
    /// The routine as it is in the storage of a copy: what is kept there is the copy's own rule.
    #[must_use]
    pub fn in_copy(&self, copy: &CopyConfig) -> Self {
        let storage = copy.storage.clone();
        let mut config = Self { storage, copies: Vec::new(), of_copies: true, ..self.clone() };
        config.policy.retention = copy.retention;
        config
    }

    /// The routine in its own storage alone.
    #[must_use]
    pub fn in_own(&self) -> Self {
        Self { copies: Vec::new(), ..self.clone() }
    }

    /// The routine as it is in one of its storages alone, its own or that of a copy.
    ///
    /// Errors: `storage-unknown`.
    pub fn in_storage(&self, storage: &str) -> Result<Self> {
        let is_named = |config: &StorageConfig| config.name.as_deref() == Some(storage);
        if is_named(&self.storage) {
            return Ok(self.in_own());
        }
        if let Some(copy) = self.copies.iter().find(|copy| is_named(&copy.storage)) {
            return Ok(self.in_copy(copy));
        }
        let all = std::iter::once(&self.storage).chain(self.copies.iter().map(|copy| &copy.storage));
        let names: Vec<&str> = all.filter_map(|config| config.name.as_deref()).collect();
        let text = format!("routine \"{}\" has no backups in storage \"{storage}\"", self.routine);
        Err(Error::permanent("storage-unknown", text).hint(format!("Name one of: {}.", names.join(", "))))
    }
}

impl Read for RoutineCopy {
    const KIND: Kind = Kind::Copy;

    fn read(section: &mut Section<'_>) -> Self {
        Self {
            storage: section.filled("storage"),
            retention: section.child("retention"),
            on: section.word("on", &[("full", CopyOn::Full), ("all", CopyOn::All)]),
            verify: section.flag("verify"),
        }
    }
}

impl Routine {
    /// The storages that its backups are copied to, in their order.
    pub fn copy_storages(&self) -> impl Iterator<Item = &str> {
        self.copies.iter().flatten().map(|copy| copy.storage.as_str())
    }
}

impl Config {
    /// Where a routine's backups are copied to, in order; `storage-unknown`.
    pub(super) fn copies_of(&self, routine: &Routine) -> Result<Vec<CopyConfig>> {
        let resolve = |copy: &RoutineCopy| {
            Ok(CopyConfig {
                storage: self.storage(&copy.storage)?,
                retention: copy.retention.as_ref().and_then(Retention::resolve),
                on: copy.on.unwrap_or_default(),
                verify: copy.verify.unwrap_or(true),
            })
        };
        routine.copies.iter().flatten().map(resolve).collect()
    }

    /// The storage that a copy of a routine's backups goes to on demand: any one but its own. If it is one of its
    /// `copies`, with what those say of it.
    ///
    /// Errors: `routine-unknown`, `storage-unknown`, `copy-of-itself`.
    pub fn copy_target(&self, routine: &str, storage: &str) -> Result<CopyConfig> {
        let found = self
            .backup_routines
            .get(routine)
            .ok_or_else(|| Error::permanent("routine-unknown", format!("routine \"{routine}\" not found")))?;
        let target = self.storage(storage)?;
        if target.place() == self.storage(&found.storage)?.place() {
            let text = format!("storage \"{storage}\" is where the backups of routine \"{routine}\" are");
            return Err(Error::permanent("copy-of-itself", text).hint("Name another storage."));
        }
        let copies = self.copies_of(found)?;
        let named = copies.into_iter().find(|copy| copy.storage.name.as_deref() == Some(storage));
        Ok(named.unwrap_or(CopyConfig { storage: target, retention: None, on: CopyOn::All, verify: true }))
    }

    /// Each copy lies in a known storage of its own, and fits the budget. What cannot be resolved was told.
    pub(super) fn check_copies(&self, problems: &mut Problems) {
        let budget = Budget::new(self.service().memory_budget);
        for (name, routine) in &self.backup_routines {
            let mut taken = vec![(routine.storage.as_str(), "the storage of the routine itself")];
            for (index, storage) in routine.copy_storages().enumerate() {
                let at = || Path::from(["backup-routines", name, "copies"]).item(index).then("storage");
                if storage.is_empty() {
                    continue;
                }
                if !self.storage.contains_key(storage) {
                    problems.push(not_found(at(), "storage", storage, names(&self.storage)));
                    continue;
                }
                let place = |name: &str| self.storage(name).ok().map(|storage| storage.place());
                let twice = taken.iter().find(|(other, _)| {
                    *other == storage || place(other).is_some_and(|at| Some(at) == place(storage))
                });
                if let Some((other, what)) = twice {
                    let shown = problem::clip(storage);
                    let same = if *other == storage { "is" } else { "is at the place of" };
                    let message = format!("storage \"{shown}\" {same} {what}: a copy needs another one");
                    problems.push(Problem::new(ProblemKind::Value, at(), message));
                    continue;
                }
                taken.push((storage, "the storage of another copy"));
                let Ok(storage) = self.storage(storage) else { continue };
                let need = CopyMemory { part_bytes: storage.part_bytes() }.need();
                if need.check(budget.most(Class::Other)).is_err() {
                    let message = format!(
                        "does not fit service.memory-budget of {}, of which {} are kept for a restore: a copy needs {}",
                        mib(budget.total()),
                        mib(budget.kept()),
                        mib(need.least)
                    );
                    problems.push(Problem::new(ProblemKind::Value, at(), message));
                }
            }
        }
    }
}

/// `POST /v1/backups/copy`: what is to be copied where.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct CopyOrder {
    /// The routine.
    pub routine: String,
    /// The storage that it goes to.
    pub storage: String,
    /// `created` of the run, in ms; none: every backup of the routine.
    pub timestamp: Option<i64>,
    /// Full or incremental; none: whichever the run at `timestamp` is.
    pub backup_type: Option<BackupType>,
    /// Whether the whole chain that it belongs to goes.
    pub chain: bool,
    /// Which namespaces; empty: all.
    pub namespaces: Vec<String>,
}

/// The last instant with 13 digits, as folder names have (abs.md 3).
const TIME_MS_MAX: i64 = 9_999_999_999_999;

impl Read for CopyOrder {
    const KIND: Kind = Kind::CopyOrder;

    fn read(section: &mut Section<'_>) -> Self {
        let order = Self {
            routine: section.filled("routine"),
            storage: section.filled("storage"),
            timestamp: section.int("timestamp", 1..=TIME_MS_MAX),
            backup_type: section
                .word("type", &[("full", BackupType::Full), ("incremental", BackupType::Incremental)]),
            chain: section.flag("chain").unwrap_or(false),
            namespaces: namespaces(section),
        };
        if let Some(reason) = check_name(&order.routine).err().filter(|_| !order.routine.is_empty()) {
            section.reject("routine", format!("name \"{}\" {reason}", problem::clip(&order.routine)));
        }
        if order.timestamp.is_none() {
            for (key, given) in [("type", order.backup_type.is_some()), ("chain", order.chain)] {
                if given {
                    section.reject(
                        key,
                        format!("\"{key}\" needs \"timestamp\": without it all backups are copied"),
                    );
                }
            }
        }
        order
    }
}
