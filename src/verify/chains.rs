//! Whether what a backup builds on is there (rules.md 3.4).

use std::collections::BTreeMap;

use crate::catalog::chain::{may_hide, member};
use crate::catalog::wholeness::{Wholeness, wholeness};
use crate::catalog::{BackupEntry, Problem, State};
use crate::error::Result;
use crate::model::UnixMillis;
use crate::model::chain::{Chain, ChainError, Member, chain_at};
use crate::storage::Storage;
use crate::store::VerifyOutcome;

/// What is known of the backups of a routine while it is verified.
pub(super) struct Chains<'a> {
    storage: &'a dyn Storage,
    problems: &'a [Problem],
    by_namespace: BTreeMap<String, Known>,
}

/// The backups of one namespace; `members` and `looks` by the place in `entries`.
#[derive(Default)]
struct Known {
    entries: Vec<BackupEntry>,
    members: Vec<Member>,
    looks: Vec<Look>,
}

/// What is known of one backup.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Look {
    /// Nothing yet.
    Not,
    /// Nothing is wrong with it.
    Good,
    /// Something is.
    Broken(String),
    /// Storage did not say.
    Doubt(String),
}

impl<'a> Chains<'a> {
    pub(super) fn new(storage: &'a dyn Storage, problems: &'a [Problem]) -> Self {
        Self { storage, problems, by_namespace: BTreeMap::new() }
    }

    /// Takes in a backup with what is known of it.
    pub(super) fn add(&mut self, entry: &BackupEntry, look: Look) {
        let known = self.by_namespace.entry(entry.namespace.clone()).or_default();
        let look = match (&entry.state, look) {
            (State::Broken { reason }, Look::Not) => Look::Broken(reason.clone()),
            (_, look) => look,
        };
        known.members.push(Member { whole: !matches!(look, Look::Broken(_)), ..member(entry) });
        known.entries.push(entry.clone());
        known.looks.push(look);
    }

    /// What keeps a backup from being restored with what it builds on; none if nothing does. Everything that was
    /// created before it must be known.
    pub(super) async fn verdict(&mut self, entry: &BackupEntry) -> Result<Option<(VerifyOutcome, String)>> {
        let Some(known) = self.by_namespace.get_mut(&entry.namespace) else { return Ok(None) };
        loop {
            let chain = match known.chain(entry) {
                Ok(chain) => chain,
                Err(error) => {
                    let hidden =
                        self.problems.iter().find(|one| may_hide(one, Some(&entry.namespace), entry.created));
                    return Ok(Some(match hidden {
                        Some(problem) => (
                            VerifyOutcome::Unreadable,
                            format!("{error}; storage did not answer about {}", problem.key),
                        ),
                        None => (VerifyOutcome::ChainBroken, known.why(&error, entry.created)),
                    }));
                }
            };
            if known.look_at(self.storage, &chain).await {
                continue;
            }
            return Ok(chain.members.iter().find_map(|place| match known.looks.get(*place)? {
                Look::Doubt(reason) => {
                    let key = &known.entries.get(*place)?.key;
                    Some((VerifyOutcome::Unreadable, format!("it builds on {key}: {reason}")))
                }
                _ => None,
            }));
        }
    }
}

impl Known {
    /// The chain that ends with a backup, of what was created by then.
    fn chain(&self, entry: &BackupEntry) -> Result<Chain, ChainError> {
        let by_then: Vec<Member> = self
            .members
            .iter()
            .map(|one| Member { whole: one.whole && one.created <= entry.created, ..one.clone() })
            .collect();
        chain_at(&by_then, entry.finished, false).or_else(|error| {
            // A late attempt at what it builds on may have finished after it.
            let earlier = by_then.iter().filter(|one| one.whole).map(|one| one.finished);
            let latest = earlier.max().filter(|latest| *latest > entry.finished);
            latest.map_or(Err(error), |latest| chain_at(&by_then, latest, false))
        })
    }

    /// Looks at the members of a chain that nobody has looked at; says whether one is broken.
    async fn look_at(&mut self, storage: &dyn Storage, chain: &Chain) -> bool {
        let mut broken = false;
        for place in &chain.members {
            let (Some(entry), Some(look), Some(member)) =
                (self.entries.get(*place), self.looks.get_mut(*place), self.members.get_mut(*place))
            else {
                continue;
            };
            if *look != Look::Not {
                continue;
            }
            *look = match wholeness(storage, entry).await {
                Ok(Wholeness::Whole { .. }) => Look::Good,
                Ok(Wholeness::Broken { reason }) => Look::Broken(reason),
                Err(error) => Look::Doubt(error.report()),
            };
            member.whole = !matches!(look, Look::Broken(_));
            broken |= !member.whole;
        }
        broken
    }

    /// Why there is no chain, with the newest backup before that is no member because it is broken.
    fn why(&self, error: &ChainError, by: UnixMillis) -> String {
        let earlier = self.entries.iter().zip(&self.looks).filter(|(entry, _)| entry.created < by);
        let broken = earlier.filter_map(|(entry, look)| match look {
            Look::Broken(reason) => Some((entry, reason)),
            _ => None,
        });
        match broken.max_by_key(|(entry, _)| entry.created) {
            Some((entry, reason)) => format!("{error}; backup {} is damaged: {reason}", entry.key),
            None => error.to_string(),
        }
    }
}
