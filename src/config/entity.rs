//! The named things of a configuration, and one of them read, put in its place, or taken out.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::Value as Json;

use super::problem::Problems;
use super::reader::{Read, Reading};
use super::tree::{self, Node, Value};
use super::{Config, FromJson};
use crate::model::UnixMillis;
use crate::secrets::{REDACTED, revealed};

/// What sort of named thing it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EntityKind {
    /// Of `aerospike-clusters`.
    Cluster,
    /// Of `secret-agents`.
    SecretAgent,
    /// Of `storage`.
    Storage,
    /// Of `backup-policies`.
    Policy,
    /// Of `backup-routines`.
    Routine,
}

/// A part of the configuration that has an address of its own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ConfigPart {
    /// The whole document.
    Whole,
    /// All things of one kind, by name.
    All(EntityKind),
    /// One thing.
    One(EntityKind, String),
}

impl EntityKind {
    /// Every kind, in the order of the document.
    pub const ALL: [Self; 5] = [Self::Cluster, Self::SecretAgent, Self::Storage, Self::Policy, Self::Routine];

    /// The key of its section.
    pub const fn section(self) -> &'static str {
        match self {
            Self::Cluster => "aerospike-clusters",
            Self::SecretAgent => "secret-agents",
            Self::Storage => "storage",
            Self::Policy => "backup-policies",
            Self::Routine => "backup-routines",
        }
    }

    /// Its name in `… "x" not found`.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Cluster => "cluster",
            Self::SecretAgent => "secret agent",
            Self::Storage => "storage",
            Self::Policy => "policy",
            Self::Routine => "routine",
        }
    }

    /// Its name in ABS's refusals of a change (abs.md 1.1).
    pub const fn long_word(self) -> &'static str {
        match self {
            Self::Cluster => "Aerospike cluster",
            Self::SecretAgent => "Secret agent",
            Self::Storage => "storage",
            Self::Policy => "backup policy",
            Self::Routine => "backup routine",
        }
    }
}

impl Config {
    /// Reads the body of `PUT /v1/config`; a secret that it gives as `[secret]` is taken from `stored`.
    pub fn from_json_over(body: &[u8], stored: &Self, now: UnixMillis) -> Result<Self, Problems> {
        let config: Self = read_over(body, Some(stored), now)?;
        config.check()?;
        Ok(config)
    }

    /// Whether there is such a thing.
    pub fn has(&self, kind: EntityKind, name: &str) -> bool {
        match kind {
            EntityKind::Cluster => self.aerospike_clusters.contains_key(name),
            EntityKind::SecretAgent => self.secret_agents.contains_key(name),
            EntityKind::Storage => self.storage.contains_key(name),
            EntityKind::Policy => self.backup_policies.contains_key(name),
            EntityKind::Routine => self.backup_routines.contains_key(name),
        }
    }

    /// Reads one thing from the body of a request and puts it in its place; a secret that the body gives as `[secret]` is
    /// kept. Whether all still fits together is [`Config::check`]'s to say.
    pub fn put_json(
        &mut self,
        kind: EntityKind,
        name: &str,
        body: &[u8],
        now: UnixMillis,
    ) -> Result<(), Problems> {
        match kind {
            EntityKind::Cluster => put(&mut self.aerospike_clusters, name, body, now),
            EntityKind::SecretAgent => put(&mut self.secret_agents, name, body, now),
            EntityKind::Storage => put(&mut self.storage, name, body, now),
            EntityKind::Policy => put(&mut self.backup_policies, name, body, now),
            EntityKind::Routine => put(&mut self.backup_routines, name, body, now),
        }
    }

    /// Takes one thing out; whether it was there.
    pub fn take(&mut self, kind: EntityKind, name: &str) -> bool {
        match kind {
            EntityKind::Cluster => self.aerospike_clusters.remove(name).is_some(),
            EntityKind::SecretAgent => self.secret_agents.remove(name).is_some(),
            EntityKind::Storage => self.storage.remove(name).is_some(),
            EntityKind::Policy => self.backup_policies.remove(name).is_some(),
            EntityKind::Routine => self.backup_routines.remove(name).is_some(),
        }
    }

    /// What names it, as `routine "daily"`; none if nothing does.
    pub fn user_of(&self, kind: EntityKind, name: &str) -> Option<String> {
        let routine = self.backup_routines.iter().find(|(_, routine)| match kind {
            EntityKind::Cluster => routine.source_cluster == name,
            EntityKind::SecretAgent => routine.secret_agent.as_deref() == Some(name),
            EntityKind::Storage => {
                routine.storage == name || routine.copy_storages().any(|storage| storage == name)
            }
            EntityKind::Policy => routine.backup_policy.as_deref() == Some(name),
            EntityKind::Routine => false,
        });
        routine.map(|(routine, _)| format!("routine \"{routine}\""))
    }

    /// A part as JSON, secrets as `[secret]` (unless inside of [`revealed`]); none if it is not there.
    pub fn part_json(&self, part: &ConfigPart) -> Option<Vec<u8>> {
        match part {
            ConfigPart::Whole => json(self),
            ConfigPart::All(EntityKind::Cluster) => json(&self.aerospike_clusters),
            ConfigPart::All(EntityKind::SecretAgent) => json(&self.secret_agents),
            ConfigPart::All(EntityKind::Storage) => json(&self.storage),
            ConfigPart::All(EntityKind::Policy) => json(&self.backup_policies),
            ConfigPart::All(EntityKind::Routine) => json(&self.backup_routines),
            ConfigPart::One(EntityKind::Cluster, name) => json(self.aerospike_clusters.get(name)?),
            ConfigPart::One(EntityKind::SecretAgent, name) => json(self.secret_agents.get(name)?),
            ConfigPart::One(EntityKind::Storage, name) => json(self.storage.get(name)?),
            ConfigPart::One(EntityKind::Policy, name) => json(self.backup_policies.get(name)?),
            ConfigPart::One(EntityKind::Routine, name) => json(self.backup_routines.get(name)?),
        }
    }

    /// One thing as it stands in the file: YAML, with its secrets.
    pub(super) fn entity_yaml(&self, kind: EntityKind, name: &str) -> Option<String> {
        revealed(|| match kind {
            EntityKind::Cluster => yaml(self.aerospike_clusters.get(name)?),
            EntityKind::SecretAgent => yaml(self.secret_agents.get(name)?),
            EntityKind::Storage => yaml(self.storage.get(name)?),
            EntityKind::Policy => yaml(self.backup_policies.get(name)?),
            EntityKind::Routine => yaml(self.backup_routines.get(name)?),
        })
    }
}

fn json(value: &impl Serialize) -> Option<Vec<u8>> {
    serde_json::to_vec(value).ok()
}

fn yaml(value: &impl Serialize) -> Option<String> {
    serde_saphyr::to_string(value).ok()
}

fn put<T: FromJson + Serialize>(
    all: &mut BTreeMap<String, T>,
    name: &str,
    body: &[u8],
    now: UnixMillis,
) -> Result<(), Problems> {
    let value = read_over(body, all.get(name), now)?;
    all.insert(name.to_owned(), value);
    Ok(())
}

fn read_over<T: Read + Serialize>(body: &[u8], stored: Option<&T>, now: UnixMillis) -> Result<T, Problems> {
    let mut root = tree::parse_json(body)?;
    if let Some(stored) = stored {
        let shown = serde_json::to_value(stored).unwrap_or_default();
        let secret = revealed(|| serde_json::to_value(stored)).unwrap_or_default();
        keep_secrets(&mut root, &shown, &secret);
    }
    let reading = Reading::new(true, now);
    let value = reading.read(&root);
    reading.into_problems().unless_any(value)
}

/// Puts the stored secret wherever the request has `[secret]` and the stored document showed that. Not in lists: their
/// items have no names, so it could be another's.
fn keep_secrets(given: &mut Node, shown: &Json, secret: &Json) {
    match &mut given.value {
        Value::Text(text) if text == REDACTED && shown == REDACTED => {
            if let Some(kept) = secret.as_str() {
                kept.clone_into(text);
            }
        }
        Value::Map(entries) => {
            for entry in entries {
                if let (Some(shown), Some(secret)) = (shown.get(&entry.key), secret.get(&entry.key)) {
                    keep_secrets(&mut entry.node, shown, secret);
                }
            }
        }
        _ => {}
    }
}
