//! What differs between two configurations: for a change at run time (abs.md 4.5).

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;
use serde_json::Value as Json;

use super::{Auth, Config};
use crate::secrets::revealed;

/// What differs between two configurations.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ConfigDiff {
    /// The fields of `service` whose effect differs, as `service.http.port`: a change needs a restart.
    pub service: Vec<String>,
    /// Whether `service.auth` differs, which takes effect at once.
    pub auth: bool,
    /// The clusters.
    pub clusters: Changes,
    /// The secret agents.
    pub secret_agents: Changes,
    /// The storages.
    pub storage: Changes,
    /// The policies.
    pub policies: Changes,
    /// The routines themselves.
    pub routines: Changes,
    /// The routines whose jobs would run otherwise, also because of what they name; not those removed.
    pub affected: BTreeSet<String>,
}

/// One field, or one whole thing, that differs; secrets are shown as `[secret]`.
#[derive(Debug, Clone, PartialEq, Serialize, utoipa::ToSchema)]
pub struct FieldChange {
    /// Where it stands, as `backup-routines.daily.interval-cron`.
    pub path: String,
    /// What it was; none: it was not there.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub from: Option<Json>,
    /// What it is; none: it is there no more.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub to: Option<Json>,
}

/// What differs between two maps of named things.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct Changes {
    /// Only in the new one.
    pub added: BTreeSet<String>,
    /// Only in the old one.
    pub removed: BTreeSet<String>,
    /// In both, but different.
    pub changed: BTreeSet<String>,
}

impl ConfigDiff {
    /// What must be done to come from `old` to `new`.
    pub fn between(old: &Config, new: &Config) -> Self {
        let mut diff = Self {
            service: Vec::new(),
            auth: auth(old) != auth(new),
            clusters: Changes::between(&old.aerospike_clusters, &new.aerospike_clusters),
            secret_agents: Changes::between(&old.secret_agents, &new.secret_agents),
            storage: Changes::between(&old.storage, &new.storage),
            policies: Changes::between(&old.backup_policies, &new.backup_policies),
            routines: Changes::between(&old.backup_routines, &new.backup_routines),
            affected: BTreeSet::new(),
        };
        // With the defaults: to spell out a default is no change.
        let service = |config: &Config| serde_json::to_value(config.service()).unwrap_or_default();
        differing("service", &service(old), &service(new), &mut diff.service);
        for (name, routine) in &new.backup_routines {
            let by_name = |changes: &Changes, target: &str| changes.changed.contains(target);
            if diff.routines.added.contains(name)
                || diff.routines.changed.contains(name)
                || by_name(&diff.clusters, &routine.source_cluster)
                || new.aerospike_clusters.get(&routine.source_cluster).is_some_and(|cluster| {
                    let agent =
                        cluster.credentials.as_ref().and_then(|given| given.secret_agent_name.as_ref());
                    agent.is_some_and(|agent| by_name(&diff.secret_agents, agent))
                })
                || routine.secret_agent.as_deref().is_some_and(|agent| by_name(&diff.secret_agents, agent))
                || routine.copy_storages().chain([routine.storage.as_str()]).any(|name| {
                    let agent = new.storage.get(name).and_then(|storage| storage.secret_agent_name());
                    by_name(&diff.storage, name)
                        || agent.is_some_and(|agent| by_name(&diff.secret_agents, agent))
                })
                || routine.backup_policy.as_deref().is_some_and(|policy| by_name(&diff.policies, policy))
            {
                diff.affected.insert(name.clone());
            }
        }
        diff
    }

    /// Whether nothing differs.
    pub fn is_empty(&self) -> bool {
        self == &Self::default()
    }

    /// The refusal of a change that needs a restart, in ABS's words; none if there is no such change.
    pub fn static_change(&self) -> Option<String> {
        if self.service.is_empty() {
            return None;
        }
        Some(format!("static configuration has changed: {}", self.service.join(", ")))
    }
}

impl FieldChange {
    /// Every field in which two configurations differ.
    pub fn between(old: &Config, new: &Config) -> Vec<Self> {
        let document = |config: &Config| serde_json::to_value(config).unwrap_or_default();
        let shown = (document(old), document(new));
        let secret = revealed(|| (document(old), document(new)));
        let mut found = Vec::new();
        changed_fields("", (&secret.0, &secret.1), (&shown.0, &shown.1), &mut found);
        found
    }
}

/// Compares what is meant and shows what may be shown.
fn changed_fields(path: &str, secret: (&Json, &Json), shown: (&Json, &Json), found: &mut Vec<FieldChange>) {
    let (Json::Object(old), Json::Object(new)) = secret else { return };
    let keys: BTreeSet<&String> = old.keys().chain(new.keys()).collect();
    for key in keys {
        let (before, after) = (old.get(key), new.get(key));
        if before == after {
            continue;
        }
        let path = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
        let (from, to) = (shown.0.get(key), shown.1.get(key));
        if let (Some(before @ Json::Object(_)), Some(after @ Json::Object(_)), Some(from), Some(to)) =
            (before, after, from, to)
        {
            changed_fields(&path, (before, after), (from, to), found);
        } else {
            found.push(FieldChange { path, from: from.cloned(), to: to.cloned() });
        }
    }
}

impl Changes {
    fn between<T: PartialEq>(old: &BTreeMap<String, T>, new: &BTreeMap<String, T>) -> Self {
        let only = |these: &BTreeMap<String, T>, those: &BTreeMap<String, T>| {
            these.keys().filter(|name| !those.contains_key(*name)).cloned().collect()
        };
        Self {
            added: only(new, old),
            removed: only(old, new),
            changed: new
                .iter()
                .filter(|(name, value)| old.get(*name).is_some_and(|before| before != *value))
                .map(|(name, _)| name.clone())
                .collect(),
        }
    }

    /// Whether nothing differs.
    pub fn is_empty(&self) -> bool {
        self.added.is_empty() && self.removed.is_empty() && self.changed.is_empty()
    }
}

fn auth(config: &Config) -> Option<&Auth> {
    config.service.as_ref().and_then(|service| service.auth.as_ref())
}

/// The paths of the leaves in which two documents differ.
fn differing(path: &str, old: &Json, new: &Json, found: &mut Vec<String>) {
    match (old, new) {
        (Json::Object(old), Json::Object(new)) => {
            let keys: BTreeSet<&String> = old.keys().chain(new.keys()).collect();
            for key in keys {
                let at = |side: &serde_json::Map<String, Json>| side.get(key).cloned().unwrap_or_default();
                differing(&format!("{path}.{key}"), &at(old), &at(new), found);
            }
        }
        (old, new) if old != new => found.push(path.to_owned()),
        _ => {}
    }
}
