//! What a run will do, as a value that can be printed: bounds, promotions and skips of every namespace.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::config::WhenNoChain;
use crate::engine::{ClusterFacts, NamespaceFacts};
use crate::error::{Error, Result};
use crate::model::chain::{self, Member, Mode, Scope};
use crate::model::{BackupType, UnixMillis};

/// What the plan of a run is made of, besides the cluster and storage.
#[derive(Debug, Clone)]
pub struct RunInput<'a> {
    /// What the schedule or the caller asked for.
    pub asked: BackupType,
    /// Names the folder, and is the upper bound where `sealed`.
    pub created: UnixMillis,
    /// Now.
    pub now: UnixMillis,
    /// The namespaces of the routine; empty: all of the cluster (rules.md 3.8).
    pub namespaces: &'a [String],
    /// The sets of the routine; empty: all.
    pub sets: &'a [String],
    /// What an incremental builds on.
    pub mode: Mode,
    /// See [`WhenNoChain`].
    pub when_no_chain: WhenNoChain,
    /// The hash of sets, partitions and whatever else decides what is in a backup (rules.md 3.6).
    pub scope_hash: &'a str,
    /// By how much a node's clock is behind by more than the margin now: it may have been set back since the backup
    /// that this run builds on.
    pub skew_excess_ms: i64,
    /// The members of each namespace in storage.
    pub members: &'a BTreeMap<String, Vec<Member>>,
    /// Namespaces of which a full is queued or running (rules.md 3.7).
    pub full_running: bool,
    /// Leave out what was changed since `created`.
    pub sealed: bool,
}

/// What a run will do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct RunPlan {
    /// See [`RunInput::created`].
    pub created: UnixMillis,
    /// What was asked for.
    pub asked: BackupType,
    /// One entry for each namespace.
    pub namespaces: Vec<NamespacePlan>,
}

/// What a run will do with one namespace.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct NamespacePlan {
    /// Its name.
    pub namespace: String,
    /// What will be made of it.
    pub action: Action,
    /// Records in it now, all sets and partitions.
    pub objects: u64,
    /// Only records changed before this instant.
    pub until: Option<UnixMillis>,
    /// Said in the job and the manifest.
    pub warnings: Vec<String>,
}

/// What will be made of a namespace.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case", tag = "do")]
pub enum Action {
    /// Every record in scope.
    Full {
        /// Code and sentence, if an incremental was asked for (rules.md 3.7).
        promoted: Option<(&'static str, String)>,
    },
    /// The records changed since the backup it builds on.
    Incremental {
        /// `created` of the backup it builds on: `from` in its metadata.
        builds_on: UnixMillis,
        /// The lower bound of the scan (rules.md 3.5).
        changed_since: UnixMillis,
    },
    /// Nothing, and why.
    Skip {
        /// A stable code.
        code: &'static str,
        /// A sentence.
        reason: String,
    },
}

impl Action {
    /// The type of the backup that comes out; none if nothing does.
    pub fn backup_type(&self) -> Option<BackupType> {
        match self {
            Self::Full { .. } => Some(BackupType::Full),
            Self::Incremental { .. } => Some(BackupType::Incremental),
            Self::Skip { .. } => None,
        }
    }
}

/// Plans a run.
///
/// Errors: `namespace-missing` if the routine names a namespace that the cluster has not.
pub fn plan(input: &RunInput<'_>, facts: &ClusterFacts) -> Result<RunPlan> {
    let names: Vec<&String> = if input.namespaces.is_empty() {
        facts.namespaces.iter().map(|namespace| &namespace.name).collect()
    } else {
        input.namespaces.iter().collect()
    };
    let mut namespaces = Vec::with_capacity(names.len());
    for name in names {
        let namespace = facts.namespace(name).ok_or_else(|| {
            Error::permanent("namespace-missing", format!("the cluster has no namespace \"{name}\"")).hint(
                format!(
                    "It has {}. Correct the routine's namespaces.",
                    facts.namespaces.iter().map(|known| known.name.as_str()).collect::<Vec<_>>().join(", ")
                ),
            )
        })?;
        namespaces.push(plan_namespace(input, namespace));
    }
    Ok(RunPlan { created: input.created, asked: input.asked, namespaces })
}

fn plan_namespace(input: &RunInput<'_>, namespace: &NamespaceFacts) -> NamespacePlan {
    let mut warnings = Vec::new();
    let action = match input.asked {
        BackupType::Full => Action::Full { promoted: None },
        BackupType::Incremental => plan_incremental(input, namespace, &mut warnings),
    };
    NamespacePlan {
        namespace: namespace.name.clone(),
        action,
        objects: namespace.objects,
        until: input.sealed.then_some(input.created),
        warnings,
    }
}

fn plan_incremental(input: &RunInput<'_>, namespace: &NamespaceFacts, warnings: &mut Vec<String>) -> Action {
    let none = Vec::new();
    let members = input.members.get(&namespace.name).unwrap_or(&none);
    let bound = chain::lower_bound(members, input.created, input.now, input.mode);
    let Some((bound, base)) = bound.and_then(|bound| members.get(bound.base).map(|base| (bound, base)))
    else {
        return no_chain(input, "no-full", "there is no whole full backup to build on".to_owned());
    };
    match chain::compare_scope(base, input.scope_hash) {
        Scope::Same => {}
        Scope::Unknown => warnings.push(format!(
            "the full of {} has no manifest: whether it has the same sets and partitions is not known",
            base.created
        )),
        Scope::Changed => {
            let reason = format!("the scope has changed since the full of {}", base.created);
            return no_chain(input, "scope-changed", reason);
        }
    }
    if let Some(closed) = closed_since(input, namespace, base.safe_from()) {
        // Once between two scheduled fulls; after that it would be a full every time (rules.md 3.7).
        if base.promoted {
            warnings.push(format!("closed: {closed}"));
        } else {
            return no_chain(input, "closed", closed);
        }
    }
    Action::Incremental {
        builds_on: bound.builds_on,
        changed_since: bound.safe_from.plus_ms(-input.skew_excess_ms),
    }
}

/// Whether the namespace or a set in scope was truncated after the full (rules.md 3.7).
fn closed_since(input: &RunInput<'_>, namespace: &NamespaceFacts, full: UnixMillis) -> Option<String> {
    if let Some(at) = namespace.truncated_at.filter(|at| *at > full) {
        return Some(format!("the namespace was truncated at {at}, after the full of {full}"));
    }
    let in_scope = |set: &String| input.sets.is_empty() || input.sets.contains(set);
    namespace
        .truncated_sets
        .iter()
        .find(|(set, at)| in_scope(set) && *at > full)
        .map(|(set, at)| format!("set {set} was truncated at {at}, after the full of {full}"))
}

fn no_chain(input: &RunInput<'_>, code: &'static str, reason: String) -> Action {
    if input.full_running {
        let reason = format!("{reason}, and a full of this routine is queued or running");
        return Action::Skip { code: "full-running", reason };
    }
    match input.when_no_chain {
        WhenNoChain::Full => Action::Full { promoted: Some((code, reason)) },
        WhenNoChain::Skip => Action::Skip { code, reason },
    }
}

#[cfg(test)]
#[path = "plan_tests.rs"]
mod tests;
