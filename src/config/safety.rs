//! What keeps a restore from writing over what nobody meant it to, and from reading what is none of its business.

use std::path::{Component, Path as FilePath, PathBuf};

use super::Config;
use super::check::{names, not_found};
use super::kind::Kind;
use super::problem::{Path, Problems};
use super::reader::{Read, Section};
use super::resolve::RestoreConfig;
use super::restore::RestoreCare;
use super::storage::{StorageConfig, StoragePlace};

/// What keeps a restore from writing over what nobody meant it to: our own fields of its request.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct RestoreSafety {
    /// Whether only the plan is asked for: there is no job, and nothing is written.
    pub dry_run: bool,
    /// Whether records in the destination may be there (`service.require-restore-confirmation`).
    pub confirm: bool,
    /// What is saved of the destination first.
    pub backup: Option<SafetyBackup>,
}

/// A full backup of the destination before the first write.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct SafetyBackup {
    /// Where it goes: a configured storage.
    pub storage: String,
}

impl RestoreSafety {
    /// Reads them from a restore's request.
    pub(super) fn read(section: &mut Section<'_>, care: RestoreCare) -> Self {
        let read = Self {
            dry_run: section.flag("dry-run").unwrap_or(false),
            confirm: section.flag("confirm").unwrap_or(false),
            backup: section.child("safety-backup"),
        };
        if read.backup.is_some() && care.validate {
            section.reject(
                "safety-backup",
                "mutually exclusive fields validation error: cannot specify both \"safety-backup\" and \
                 \"validate\", which writes nothing",
            );
        }
        read
    }
}

impl Read for SafetyBackup {
    const KIND: Kind = Kind::SafetyBackup;

    fn read(section: &mut Section<'_>) -> Self {
        Self { storage: section.filled("storage") }
    }
}

impl Config {
    /// The directories under which a request's inline `local-storage` must lie: `service.local-storage-roots`, else those of
    /// the configured local storages.
    pub fn local_roots(&self) -> Vec<PathBuf> {
        let given = self.service.as_ref().and_then(|service| service.local_storage_roots.as_ref());
        if let Some(given) = given {
            return given.iter().map(PathBuf::from).collect();
        }
        let storages = self.storage.values().filter_map(|storage| storage.local_storage.as_ref());
        storages.map(|local| PathBuf::from(&local.path)).collect()
    }

    /// Whoever may call the API must not read every file of this machine (DESIGN.md, secure by default).
    ///
    /// By the names alone; where they truly lead is looked at before the storage is opened: see [`RestoreConfig::fence`].
    pub(super) fn is_under_local_root(&self, path: &FilePath) -> bool {
        let clean = !path.components().any(|part| part == Component::ParentDir);
        let Ok(path) = std::path::absolute(path) else { return false };
        let mut roots = self.local_roots().into_iter().filter_map(|root| std::path::absolute(root).ok());
        clean && roots.any(|root| path.starts_with(root))
    }

    /// The storage of the safety backup.
    pub(super) fn safety_storage(
        &self,
        safety: &RestoreSafety,
        problems: &mut Problems,
    ) -> Option<StorageConfig> {
        let name = &safety.backup.as_ref().filter(|backup| !backup.storage.is_empty())?.storage;
        let found = self.storage(name).ok();
        if found.is_none() {
            let path = Path::from(["safety-backup", "storage"]);
            problems.push(not_found(path, "storage", name, names(&self.storage)));
        }
        found
    }

    /// A restore with what the configuration in force asks of it.
    pub(super) fn fenced(&self, config: RestoreConfig, safety: &RestoreSafety) -> RestoreConfig {
        let is_inline =
            config.source.name.is_none() && matches!(config.source.place, StoragePlace::Local { .. });
        let required = self.service().require_restore_confirmation;
        RestoreConfig {
            fence: if is_inline { self.local_roots() } else { Vec::new() },
            // What writes nothing writes over nothing.
            unconfirmed: required && !safety.confirm && !config.care.validate,
            ..config
        }
    }
}
