//! What is wrong between the parts of a configuration.

use super::Config;
use super::encryption::EncryptionPolicy;
use super::problem::{Path, Problem, ProblemKind, Problems, clip};
use super::suggest::did_you_mean;
use crate::memory::{Budget, Class, mib};
use crate::model::check_name;
use crate::model::instance::{INSTANCES, SAFETY};

impl Config {
    pub(super) fn check_into(&self, problems: &mut Problems) {
        self.check_names(problems);
        for (name, cluster) in &self.aerospike_clusters {
            let path = Path::from(["aerospike-clusters", name, "credentials", "secret-agent-name"]);
            let agent = cluster.credentials.as_ref().and_then(|given| given.secret_agent_name.as_deref());
            problems_of_reference(problems, path, "secret agent", agent, names(&self.secret_agents));
        }
        for (name, storage) in &self.storage {
            let path = Path::from(["storage", name, storage.kind(), "secret-agent-name"]);
            let agent = storage.secret_agent_name();
            problems_of_reference(problems, path, "secret agent", agent, names(&self.secret_agents));
        }
        self.check_racks(problems);
        self.check_key_agents(problems);
        self.check_memory(problems);
        self.check_copies(problems);
        for (name, routine) in &self.backup_routines {
            let mut refer = |key, kind, target: Option<&str>, known: Vec<&str>| {
                let path = Path::from(["backup-routines", name, key]);
                problems_of_reference(problems, path, kind, target, known);
            };
            refer(
                "source-cluster",
                "cluster",
                Some(&routine.source_cluster),
                names(&self.aerospike_clusters),
            );
            refer("storage", "storage", Some(&routine.storage), names(&self.storage));
            refer("backup-policy", "policy", routine.backup_policy.as_deref(), names(&self.backup_policies));
            refer(
                "secret-agent",
                "secret agent",
                routine.secret_agent.as_deref(),
                names(&self.secret_agents),
            );
        }
    }

    /// A policy's `key-secret` is asked of the routine's agent (abs.md 2.6).
    fn check_key_agents(&self, problems: &mut Problems) {
        for (name, routine) in
            self.backup_routines.iter().filter(|(_, routine)| routine.secret_agent.is_none())
        {
            let Some(policy) = &routine.backup_policy else { continue };
            let encryption = self.backup_policies.get(policy).and_then(|policy| policy.encryption.as_ref());
            if encryption.is_some_and(EncryptionPolicy::wants_agent) {
                let message = format!(
                    "empty field validation error: \"secret-agent\" required: encryption.key-secret of policy \"{}\" is \
                     asked of it",
                    clip(policy)
                );
                let path = Path::from(["backup-routines", name, "secret-agent"]);
                problems.push(Problem::new(ProblemKind::Value, path, message));
            }
        }
    }

    /// Every routine must fit the budget with one scan and one file (rules.md 8.1). What cannot be resolved was told.
    fn check_memory(&self, problems: &mut Problems) {
        let budget = Budget::new(self.service().memory_budget);
        for (name, routine) in &self.backup_routines {
            let (Ok(policy), Ok(storage)) = (self.policy_of(routine), self.storage(&routine.storage)) else {
                continue;
            };
            let memory = policy.memory(&storage);
            if memory.need().check(budget.most(Class::Other)).is_err() {
                let message = format!(
                    "does not fit service.memory-budget of {}, of which {} are kept for a restore: a backup {}",
                    mib(budget.total()),
                    mib(budget.kept()),
                    memory.describe()
                );
                let path = Path::from(["backup-routines", name, "storage"]);
                problems.push(Problem::new(ProblemKind::Value, path, message));
            }
        }
    }

    /// A near copy may be read of everything, or masters of a part (abs.md 2.7).
    fn check_racks(&self, problems: &mut Problems) {
        for (name, routine) in &self.backup_routines {
            let cluster = self.aerospike_clusters.get(&routine.source_cluster);
            if cluster.and_then(|cluster| cluster.prefer_racks.as_ref()).is_none_or(Vec::is_empty) {
                continue;
            }
            let narrowed = [
                ("partition-list", routine.partition_list.is_some()),
                ("node-list", routine.node_list.as_ref().is_some_and(|nodes| !nodes.is_empty())),
                ("rack-list", routine.rack_list.as_ref().is_some_and(|racks| !racks.is_empty())),
            ];
            for (key, _) in narrowed.into_iter().filter(|(_, given)| *given) {
                let message = format!(
                    "mutually exclusive fields validation error: cannot specify both \"{key}\" and \"prefer-racks\" \
                     of cluster \"{}\"",
                    clip(&routine.source_cluster)
                );
                let path = Path::from(["backup-routines", name, key]);
                problems.push(Problem::new(ProblemKind::Value, path, message));
            }
        }
    }

    /// Every name must be a single path segment (abs.md 2.1 [3.7]); a routine's is a folder in storage.
    fn check_names(&self, problems: &mut Problems) {
        let sections = [
            ("aerospike-clusters", names(&self.aerospike_clusters)),
            ("secret-agents", names(&self.secret_agents)),
            ("storage", names(&self.storage)),
            ("backup-policies", names(&self.backup_policies)),
            ("backup-routines", names(&self.backup_routines)),
        ];
        for (section, names) in sections {
            for name in names {
                if let Err(reason) = check_name(name) {
                    let message = format!("name \"{}\" {reason}", clip(name));
                    problems.push(Problem::new(ProblemKind::Value, Path::from([section, name]), message));
                }
            }
        }
        if self.backup_routines.contains_key(INSTANCES) {
            let path = Path::from(["backup-routines", INSTANCES]);
            let message =
                format!("name \"{INSTANCES}\" is taken: instances of Holdfast show there that they live");
            problems.push(Problem::new(ProblemKind::Value, path, message));
        }
        for name in self.backup_routines.keys().filter(|name| name.starts_with(SAFETY)) {
            let path = Path::from(["backup-routines", name]);
            let message = format!(
                "name \"{}\" is taken: backups before restores are kept under \"{SAFETY}…\"",
                clip(name)
            );
            problems.push(Problem::new(ProblemKind::Value, path, message));
        }
    }
}

/// An empty name was refused where it stands.
fn problems_of_reference(
    problems: &mut Problems,
    path: Path,
    kind: &str,
    target: Option<&str>,
    known: Vec<&str>,
) {
    let Some(target) = target.filter(|target| !target.is_empty()) else { return };
    if !known.contains(&target) {
        problems.push(not_found(path, kind, target, known));
    }
}

/// A name that nothing has, in ABS's words.
pub(super) fn not_found<'a>(
    path: Path,
    kind: &str,
    target: &str,
    known: impl IntoIterator<Item = &'a str>,
) -> Problem {
    let message = format!("not found validation error: {kind} \"{}\"", clip(target));
    Problem::new(ProblemKind::Value, path, message).hint(did_you_mean(target, known))
}

pub(super) fn names<T>(entities: &std::collections::BTreeMap<String, T>) -> Vec<&str> {
    entities.keys().map(String::as_str).collect()
}
