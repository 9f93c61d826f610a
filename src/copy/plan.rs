//! What is copied, in which order, and what is there already: decided from what both storages list, without asking anybody.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::catalog::chain::member;
use crate::catalog::{BackupEntry, History, State};
use crate::error::{Error, Result};
use crate::model::chain::Member;
use crate::model::{BackupType, UnixMillis, retention};

/// Which backups of a routine are wanted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Wanted {
    /// These folders: what a run has committed.
    Folders(Vec<String>),
    /// Those of one run.
    #[serde(rename_all = "kebab-case")]
    Run {
        /// Its `created`.
        timestamp: UnixMillis,
        /// Full or incremental; none: whichever it is.
        #[serde(rename = "type")]
        backup_type: Option<BackupType>,
        /// With the whole chain that each belongs to.
        chain: bool,
    },
    /// Every one that is whole.
    Everything,
}

/// One backup, as both storages list it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Candidate {
    /// Its folder, the same in both.
    pub key: String,
    /// Its namespace.
    pub namespace: String,
    /// What it is.
    pub member: Member,
    /// What its own storage says of it; none: it is not there any more.
    pub source: Option<State>,
    /// Whether the other storage lists it as whole.
    pub there: bool,
}

impl Candidate {
    /// Whether something may build on it in the copy.
    fn is_usable(&self) -> bool {
        self.there || self.source == Some(State::Whole)
    }
}

/// Why a backup is part of the plan.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Why {
    /// It was asked for.
    Asked,
    /// What was asked for builds on it.
    Needed,
}

impl Why {
    /// The word shown.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Asked => "asked",
            Self::Needed => "needed",
        }
    }
}

/// One backup of a plan.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Step {
    /// Its place among the candidates.
    pub place: usize,
    /// Why it is here.
    pub why: Why,
}

/// What is copied.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct CopyPlan {
    /// Namespace by namespace, the oldest first: so what a backup builds on is there before it.
    pub steps: Vec<Step>,
    /// Said in the job.
    pub notes: Vec<String>,
}

/// Joins what two storages list; one candidate for each type, `created` and namespace.
pub fn candidates(source: &History, target: &History) -> Vec<Candidate> {
    let whole = |history: &History| -> BTreeSet<String> {
        let all = history.full.all().iter().chain(history.incremental.all());
        all.filter(|entry| entry.state == State::Whole).map(|entry| entry.key.clone()).collect()
    };
    let there = whole(target);
    let of = |entry: &BackupEntry, source: Option<State>| Candidate {
        key: entry.key.clone(),
        namespace: entry.namespace.clone(),
        member: member(entry),
        source,
        there: there.contains(&entry.key),
    };
    let counted = |history: &History| -> Vec<BackupEntry> {
        history.full.counted().chain(history.incremental.counted()).cloned().collect()
    };
    let mut found: Vec<Candidate> =
        counted(source).iter().map(|entry| of(entry, Some(entry.state.clone()))).collect();
    let same = |one: &Candidate, entry: &BackupEntry| {
        one.namespace == entry.namespace
            && one.member.backup_type == entry.backup_type
            && one.member.created == entry.created
    };
    for entry in counted(target) {
        if there.contains(&entry.key) && !found.iter().any(|one| same(one, &entry)) {
            found.push(of(&entry, None));
        }
    }
    found.sort_by(|a, b| {
        (&a.namespace, a.member.created, &a.key).cmp(&(&b.namespace, b.member.created, &b.key))
    });
    found
}

/// Decides. `namespaces`: none = all.
///
/// Errors: `backup-not-found`; `backup-damaged`, `backup-marked` and `backup-void` for what was asked for by name and
/// cannot be copied; `chain-gap` where something that it builds on is in neither storage.
pub fn plan(candidates: &[Candidate], wanted: &Wanted, namespaces: Option<&[String]>) -> Result<CopyPlan> {
    let mut plan = CopyPlan::default();
    let named = |one: &Candidate| namespaces.is_none_or(|names| names.contains(&one.namespace));
    let mut wholes: BTreeSet<usize> = BTreeSet::new();
    let mut asked: BTreeSet<usize> = BTreeSet::new();
    for (place, one) in candidates.iter().enumerate().filter(|(_, one)| named(one)) {
        match wanted {
            Wanted::Folders(folders) if folders.contains(&one.key) => {
                asked.insert(place);
            }
            Wanted::Run { timestamp, backup_type, chain }
                if one.member.created == *timestamp
                    && backup_type.is_none_or(|wanted| wanted == one.member.backup_type) =>
            {
                asked.insert(place);
                if *chain {
                    wholes.insert(place);
                }
            }
            Wanted::Everything if one.source.is_some() => {
                match may_be_copied(one).and_then(|()| chain_of(candidates, place)) {
                    Ok(_) => drop(asked.insert(place)),
                    Err(error) => plan.notes.push(format!("{error}: it is left out")),
                }
            }
            _ => {}
        }
    }
    all_found(candidates, wanted, &asked)?;
    for place in &wholes {
        asked.extend(whole_chain(candidates, *place)?);
    }
    let mut needed: BTreeSet<usize> = BTreeSet::new();
    for place in &asked {
        if let Some(one) = candidates.get(*place).filter(|one| !one.there) {
            may_be_copied(one)?;
        }
        needed.extend(chain_of(candidates, *place)?);
    }
    // The candidates are in the order of the plan.
    plan.steps = needed
        .union(&asked)
        .map(|place| Step {
            place: *place,
            why: if asked.contains(place) { Why::Asked } else { Why::Needed },
        })
        .collect();
    Ok(plan)
}

/// What was asked for by its name must be somewhere.
fn all_found(candidates: &[Candidate], wanted: &Wanted, asked: &BTreeSet<usize>) -> Result<()> {
    let missing = |what: String| {
        Err(Error::permanent("backup-not-found", format!("there is no backup {what}"))
            .hint("GET /v1/backups lists what there is."))
    };
    match wanted {
        Wanted::Folders(folders) => {
            let is_asked = |key: &String| {
                asked.iter().any(|place| candidates.get(*place).is_some_and(|one| one.key == *key))
            };
            match folders.iter().find(|key| !is_asked(key)) {
                Some(key) => missing(key.clone()),
                None => Ok(()),
            }
        }
        Wanted::Run { timestamp, .. } if asked.is_empty() => missing(timestamp.0.to_string()),
        Wanted::Run { .. } | Wanted::Everything => Ok(()),
    }
}

/// What keeps a backup from being copied.
fn may_be_copied(one: &Candidate) -> Result<()> {
    let key = &one.key;
    Err(match &one.source {
        Some(State::Whole) => return Ok(()),
        Some(State::Broken { reason }) => {
            Error::permanent("backup-damaged", format!("backup {key}: {reason}"))
                .hint("Take a new full backup, and copy that.")
        }
        Some(State::Marked) => Error::permanent("backup-marked", format!("backup {key} is being deleted"))
            .hint("Copy another backup."),
        Some(State::Void) => {
            Error::permanent("backup-void", format!("backup {key} is void: it counts for nothing"))
                .hint("Copy another backup.")
        }
        None => {
            let text = format!("backup {key} is not in its own storage any more");
            Error::permanent("backup-not-found", text).hint("Copy another backup.")
        }
    })
}

/// What a backup is restored from, itself the last; by place.
fn chain_of(candidates: &[Candidate], place: usize) -> Result<Vec<usize>> {
    let Some(one) = candidates.get(place) else { return Ok(Vec::new()) };
    if one.member.backup_type == BackupType::Full {
        return Ok(vec![place]);
    }
    let (places, members) = of_namespace(candidates, &one.namespace);
    let at = places.iter().position(|other| *other == place);
    let chain = at.and_then(|at| retention::chain_of(&members, at)).ok_or_else(|| {
        let text = format!("backup {} cannot be copied: something that it builds on is missing", one.key);
        Error::permanent("chain-gap", text)
            .hint("Put the missing backup back, or copy the full before it and take a new one.")
    })?;
    Ok(chain.iter().filter_map(|member| places.get(*member).copied()).collect())
}

/// Everything that hangs on the full that a backup hangs on.
fn whole_chain(candidates: &[Candidate], place: usize) -> Result<Vec<usize>> {
    let mut found = chain_of(candidates, place)?;
    let (Some(base), Some(one)) = (found.first().copied(), candidates.get(place)) else { return Ok(found) };
    let (places, members) = of_namespace(candidates, &one.namespace);
    let Some(at) = places.iter().position(|other| *other == base) else { return Ok(found) };
    let hanging = retention::dependents(&members, &[at]);
    found.extend(
        hanging
            .iter()
            .filter_map(|member| places.get(*member))
            .filter(|place| candidates.get(**place).is_some_and(Candidate::is_usable)),
    );
    Ok(found)
}

/// The backups of a namespace, by place and as members; what is in neither storage is not whole.
fn of_namespace(candidates: &[Candidate], namespace: &str) -> (Vec<usize>, Vec<Member>) {
    let all = candidates.iter().enumerate().filter(|(_, one)| one.namespace == namespace);
    let member =
        |one: &Candidate| Member { whole: one.is_usable(), void: false, marked: false, ..one.member.clone() };
    all.map(|(place, one)| (place, member(one))).unzip()
}
