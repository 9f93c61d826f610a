//! What a job runs with: plain values with every default applied and every name followed.

use std::collections::BTreeMap;
use std::path::PathBuf;

use secrecy::SecretString;
use serde::{Deserialize, Serialize};

use super::Config;
use super::check::{names, not_found};
use super::cluster::{Cluster, ClusterConfig};
use super::copies::CopyConfig;
use super::listener::Https;
use super::policy::PolicyConfig;
use super::problem::{Path, Problem, ProblemKind, Problems};
use super::restore::{
    RestoreCare, RestoreEnds, RestorePolicy, RestorePolicyConfig, RestoreRequest, RestoreTimestampRequest,
};
use super::routine::{Routine, RoutineSchedule, Scope};
use super::secret_agent::SecretAgent;
use super::service::{ServiceConfig, TimestampFormat};
use super::storage::{StorageConfig, StoragePlace};
use crate::error::{Error, Result};
use crate::memory::{BackupMemory, RestoreMemory};
use crate::model::UnixMillis;
use crate::secrets::{AgentOptions, Keeper};

/// A routine with everything it names.
#[derive(Debug, Clone, PartialEq)]
pub struct RoutineConfig {
    /// Whether it rests.
    pub disabled: bool,
    /// When it runs.
    pub schedule: RoutineSchedule,
    /// What its jobs run with.
    pub job: JobConfig,
}

/// What a backup job runs with, as kept in its row: no part of it can hold a secret (rules.md 7.4).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct JobConfig {
    /// The routine's name.
    pub routine: String,
    /// Where the records are.
    pub cluster: ClusterConfig,
    /// Where the backup goes.
    pub storage: StorageConfig,
    /// The policy's name; none: the defaults.
    pub policy_name: Option<String>,
    /// How.
    pub policy: PolicyConfig,
    /// Which records.
    pub scope: Scope,
    /// The readable suffix of the backup's folder.
    pub timestamp_format: Option<TimestampFormat>,
    /// Where the backup is copied to once it has finished.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub copies: Vec<CopyConfig>,
    /// Whether `storage` is that of a copy, and not the routine's own.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub of_copies: bool,
}

/// What a restore job runs with, as kept in its row: no part of it can hold a secret (rules.md 7.4).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct RestoreConfig {
    /// What is restored.
    pub target: RestoreTarget,
    /// Where the backups are.
    pub source: StorageConfig,
    /// Where their copies are, which are taken in this order where the source does not have what is asked for.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub copies: Vec<StorageConfig>,
    /// Where the records go.
    pub destination: ClusterConfig,
    /// How.
    pub policy: RestorePolicyConfig,
    /// How things that may be wrong are met.
    pub care: RestoreCare,
    /// Below which of these folders an inline `local-storage` must truly lie, symbolic links followed; empty: the storage
    /// is a configured one.
    #[serde(default)]
    pub fence: Vec<PathBuf>,
    /// The service asks for a confirmation where the destination is not empty, and nobody has given it.
    #[serde(default)]
    pub unconfirmed: bool,
    /// Where a full backup of the destination goes before the first write.
    #[serde(default)]
    pub safety_backup: Option<StorageConfig>,
}

/// What is restored.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RestoreTarget {
    /// One folder.
    #[serde(rename_all = "kebab-case")]
    Path {
        /// The folder, below the storage's root.
        path: String,
        /// Whether a folder of a routine without `metadata.yaml` may be restored (rules.md 4.10).
        allow_incomplete: bool,
    },
    /// What a routine had saved at an instant.
    #[serde(rename_all = "kebab-case")]
    Time {
        /// The routine's name; it may be one that is not configured.
        routine: String,
        /// The instant.
        time: UnixMillis,
        /// Which namespaces; empty: rules.md 3.8.
        namespaces: Vec<String>,
        /// Whether members are applied in the order of time.
        disable_reordering: bool,
        /// Whether a chain with a gap may be restored.
        allow_gap: bool,
    },
}

impl JobConfig {
    /// What a backup with it was asked for, as far as memory goes (rules.md 8.1).
    pub fn memory(&self) -> BackupMemory {
        self.policy.memory(&self.storage)
    }
}

impl RestoreConfig {
    /// What a restore with it was asked for, as far as memory goes (rules.md 8.1).
    pub const fn memory(&self) -> RestoreMemory {
        RestoreMemory { parallel: self.policy.parallel }
    }
}

impl Config {
    /// `service` with its defaults.
    pub fn service(&self) -> ServiceConfig {
        self.service.clone().unwrap_or_default().resolve()
    }

    /// A cluster with its defaults; `cluster-unknown`.
    pub fn cluster(&self, name: &str) -> Result<ClusterConfig> {
        let cluster = self.aerospike_clusters.get(name).ok_or_else(|| unknown("cluster", name))?;
        cluster.resolve(Some(name), &self.secret_agents)
    }

    /// A secret agent, to be asked; `secret-agent-unknown`.
    pub fn secret_agent(&self, name: &str) -> Result<AgentOptions> {
        let agent = self.secret_agents.get(name).ok_or_else(|| unknown("secret agent", name))?;
        Ok(agent.resolve())
    }

    /// The secrets that stand in the document itself, for the [`Keeper`](crate::secrets::Keeper): by the names by which
    /// jobs know them.
    pub fn literal_secrets(&self) -> BTreeMap<String, SecretString> {
        let https = self.service.as_ref().and_then(|service| service.https.as_ref());
        let clusters = self.aerospike_clusters.iter().flat_map(|(name, cluster)| cluster.literals(name));
        let storages = self.storage.iter().flat_map(|(name, storage)| storage.literals(name));
        https.and_then(Https::literal).into_iter().chain(clusters).chain(storages).collect()
    }

    /// A keeper that has them, for what runs without a service.
    pub fn keeper(&self) -> Keeper {
        let keeper = Keeper::default();
        keeper.set_configured(self.literal_secrets());
        keeper
    }

    /// A storage with its defaults; `storage-unknown`.
    pub fn storage(&self, name: &str) -> Result<StorageConfig> {
        let storage = self.storage.get(name).ok_or_else(|| unknown("storage", name))?;
        storage.resolve(Some(name), &self.secret_agents)?.ok_or_else(|| unknown("storage", name))
    }

    /// What a routine backs up by: its policy with the defaults, and its secret agent in it; a routine without one has all
    /// defaults. Errors: `policy-unknown`, `secret-agent-unknown`, `secret-missing`.
    pub fn policy_of(&self, routine: &Routine) -> Result<PolicyConfig> {
        let agent = routine.secret_agent.as_deref().map(|name| self.secret_agent(name)).transpose()?;
        match routine.backup_policy.as_deref() {
            None => super::Policy::default().resolve(agent.as_ref()),
            Some(name) => {
                let policy = self.backup_policies.get(name).ok_or_else(|| unknown("policy", name))?;
                policy.resolve(agent.as_ref())
            }
        }
    }

    /// A routine with everything it names; `routine-unknown`.
    pub fn routine(&self, name: &str, now: UnixMillis) -> Result<RoutineConfig> {
        let routine = self.backup_routines.get(name).ok_or_else(|| unknown("routine", name))?;
        let broken = |reason: String| {
            Error::permanent("config-invalid", format!("routine \"{name}\": {reason}"))
                .hint("Run holdfast check.")
        };
        let backup = self.service().backup;
        Ok(RoutineConfig {
            disabled: routine.disabled.unwrap_or(false),
            schedule: routine.schedule(&backup.schedule_timezone, now).map_err(broken)?,
            job: JobConfig {
                routine: name.to_owned(),
                cluster: self.cluster(&routine.source_cluster)?,
                storage: self.storage(&routine.storage)?,
                policy_name: routine.backup_policy.clone(),
                policy: self.policy_of(routine)?,
                scope: routine.scope().map_err(broken)?,
                timestamp_format: backup.timestamp_format,
                copies: self.copies_of(routine)?,
                of_copies: false,
            },
        })
    }

    /// Every routine, by name.
    pub fn routines(&self, now: UnixMillis) -> Result<Vec<RoutineConfig>> {
        self.backup_routines.keys().map(|name| self.routine(name, now)).collect()
    }

    /// What `POST /v1/restore/full` runs with.
    pub fn resolve_restore(&self, request: &RestoreRequest) -> std::result::Result<RestoreConfig, Problems> {
        let mut problems = Problems::default();
        let source = self.source(&request.ends, &mut problems);
        let destination = self.destination(&request.ends, &mut problems);
        let target = RestoreTarget::Path {
            path: request.backup_data_path.clone(),
            allow_incomplete: request.allow_incomplete,
        };
        let agent = self.agent(&request.ends, &mut problems);
        let policy = restore_policy(&request.policy, &request.ends, agent.as_ref(), &mut problems);
        let safety_backup = self.safety_storage(&request.safety, &mut problems);
        let config = restore_config(problems, target, source, destination, policy, request.care)?;
        Ok(self.fenced(RestoreConfig { safety_backup, ..config }, &request.safety))
    }

    /// What `POST /v1/restore/timestamp` runs with: what the request leaves out is the routine's own.
    pub fn resolve_restore_timestamp(
        &self,
        request: &RestoreTimestampRequest,
    ) -> std::result::Result<RestoreConfig, Problems> {
        let mut problems = Problems::default();
        let routine = self.backup_routines.get(&request.routine);
        let mut source = self.source(&request.ends, &mut problems);
        let mut copies = Vec::new();
        let mut destination = self.destination(&request.ends, &mut problems);
        if problems.is_empty() && (source.is_none() || destination.is_none()) {
            match routine {
                Some(routine) => {
                    if source.is_none() {
                        (source, copies) = self.sources_of(routine, request.copy.as_deref(), &mut problems);
                    }
                    destination = destination.or_else(|| self.cluster(&routine.source_cluster).ok());
                }
                None => problems.push(not_found(
                    Path::from(["routine"]),
                    "routine",
                    &request.routine,
                    names(&self.backup_routines),
                )),
            }
        }
        let target = RestoreTarget::Time {
            routine: request.routine.clone(),
            time: UnixMillis(request.time),
            namespaces: request.namespaces.clone(),
            disable_reordering: request.disable_reordering,
            allow_gap: request.allow_gap,
        };
        let named = routine.and_then(|routine| routine.secret_agent.as_deref());
        let agent = self.agent(&request.ends, &mut problems).or_else(|| self.secret_agent(named?).ok());
        let mut policy = restore_policy(&request.policy, &request.ends, agent.as_ref(), &mut problems);
        if let (Some(policy), None) = (&mut policy, &request.policy.encryption) {
            // Who asks for a routine's backups by its name need not know where its key is.
            let own = routine.and_then(|routine| self.backup_policies.get(routine.backup_policy.as_ref()?));
            let own = own.and_then(|own| own.encryption.as_ref());
            // A key that cannot be asked for is missed once an encrypted backup is found.
            let own = own.and_then(|own| own.resolve(agent.as_ref()).ok().flatten());
            policy.encryption = own.map(Into::into);
        }
        let safety_backup = self.safety_storage(&request.safety, &mut problems);
        let config = restore_config(problems, target, source, destination, policy, request.care)?;
        Ok(self.fenced(RestoreConfig { copies, safety_backup, ..config }, &request.safety))
    }

    /// Where the backups of a routine are, and where their copies; the one that is named alone.
    fn sources_of(
        &self,
        routine: &Routine,
        named: Option<&str>,
        problems: &mut Problems,
    ) -> (Option<StorageConfig>, Vec<StorageConfig>) {
        let all: Vec<&str> =
            std::iter::once(routine.storage.as_str()).chain(routine.copy_storages()).collect();
        let open = |name: &str| self.storage(name).ok();
        match named {
            None => (open(&routine.storage), routine.copy_storages().filter_map(open).collect()),
            Some(name) if all.contains(&name) => (open(name), Vec::new()),
            Some(name) => {
                problems.push(not_found(Path::from(["copy"]), "storage of the routine", name, all));
                (None, Vec::new())
            }
        }
    }

    /// The agent that a request names.
    fn agent(&self, ends: &RestoreEnds, problems: &mut Problems) -> Option<AgentOptions> {
        if let Some(name) = &ends.secret_agent_name {
            let found = self.secret_agent(name).ok();
            if found.is_none() {
                let path = Path::from(["secret-agent-name"]);
                problems.push(not_found(path, "secret agent", name, names(&self.secret_agents)));
            }
            return found;
        }
        ends.secret_agent.as_ref().map(SecretAgent::resolve)
    }

    fn source(&self, ends: &RestoreEnds, problems: &mut Problems) -> Option<StorageConfig> {
        if let Some(name) = &ends.source_name {
            let found = self.storage(name).ok();
            if found.is_none() {
                problems.push(not_found(Path::from(["source-name"]), "storage", name, names(&self.storage)));
            }
            return found;
        }
        let storage = match ends.source.as_ref()?.resolve(None, &self.secret_agents) {
            Ok(storage) => storage?,
            Err(error) => {
                problems.push(Problem::new(ProblemKind::Value, Path::from(["source"]), error.report()));
                return None;
            }
        };
        if let StoragePlace::Local { path, .. } = &storage.place
            && !self.is_under_local_root(path)
        {
            problems.push(Problem::new(
                ProblemKind::Value,
                Path::from(["source", "local-storage", "path"]),
                "\"path\" lies under no folder that requests may read: those of service.local-storage-roots, else of the \
                 configured local storages",
            ));
        }
        Some(storage)
    }

    fn destination(&self, ends: &RestoreEnds, problems: &mut Problems) -> Option<ClusterConfig> {
        if let Some(name) = &ends.destination_name {
            let found = self.cluster(name).ok();
            if found.is_none() {
                let known = names(&self.aerospike_clusters);
                problems.push(not_found(Path::from(["destination-name"]), "cluster", name, known));
            }
            return found;
        }
        let cluster: &Cluster = ends.destination.as_ref()?;
        match cluster.resolve(None, &self.secret_agents) {
            Ok(cluster) => Some(cluster),
            Err(error) => {
                let path = Path::from(["destination", "credentials"]);
                problems.push(Problem::new(ProblemKind::Value, path, error.report()));
                None
            }
        }
    }
}

/// None if it needs an agent that is not named, which the problems then say.
fn restore_policy(
    policy: &RestorePolicy,
    ends: &RestoreEnds,
    agent: Option<&AgentOptions>,
    problems: &mut Problems,
) -> Option<RestorePolicyConfig> {
    let resolved = policy.resolve(agent).ok();
    // One that is named but unknown was told.
    if resolved.is_none() && ends.secret_agent_name.is_none() {
        problems.push(Problem::new(
            ProblemKind::Value,
            Path::from(["policy", "encryption", "key-secret"]),
            "\"key-secret\" needs \"secret-agent\" or \"secret-agent-name\" in the request, or the routine's \
             \"secret-agent\"",
        ));
    }
    resolved
}

fn restore_config(
    mut problems: Problems,
    target: RestoreTarget,
    source: Option<StorageConfig>,
    destination: Option<ClusterConfig>,
    policy: Option<RestorePolicyConfig>,
    care: RestoreCare,
) -> std::result::Result<RestoreConfig, Problems> {
    if let (Some(source), Some(destination), Some(policy)) = (source, destination, policy) {
        let (fence, unconfirmed, safety_backup) = (Vec::new(), false, None);
        return problems.unless_any(RestoreConfig {
            target,
            source,
            copies: Vec::new(),
            destination,
            policy,
            care,
            fence,
            unconfirmed,
            safety_backup,
        });
    }
    if problems.is_empty() {
        let message = "the request names no source or no destination";
        problems.push(Problem::new(ProblemKind::Value, Path::default(), message));
    }
    Err(problems)
}

fn unknown(kind: &'static str, name: &str) -> Error {
    let code = match kind {
        "cluster" => "cluster-unknown",
        "storage" => "storage-unknown",
        "policy" => "policy-unknown",
        "secret agent" => "secret-agent-unknown",
        _ => "routine-unknown",
    };
    // The wording is ABS's (abs.md 1.1).
    Error::permanent(code, format!("{kind} \"{name}\" not found"))
}
