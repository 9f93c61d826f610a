//! The copy in another storage: what is planned stays in its source until it is there, nothing goes twice, and at no moment
//! has the copy an incremental without what it is restored from.

use std::collections::BTreeSet;

use super::World;
use super::promises::chain_of;
use crate::catalog::State;
use crate::copy::Wanted;
use crate::copy::plan::{Candidate, plan as decide};
use crate::model::chain::Member;
use crate::model::retention::{Keep, Policy, Verdict, plan_retention};
use crate::model::{BackupType, UnixMillis};

/// A copy that is being made.
pub(super) struct Copying {
    /// When it will be there.
    until: i64,
    /// In the order of the plan, all of it.
    steps: Vec<Member>,
    /// How many of them come to be.
    done: usize,
}

fn key(member: &Member) -> String {
    member.created.0.to_string()
}

impl World {
    /// `created` of what copies read, and of what they build on in the target.
    pub(super) fn being_copied(&self) -> impl Iterator<Item = UnixMillis> {
        self.copying.iter().flat_map(|one| one.steps.iter().map(|step| step.created))
    }

    fn candidates(&self) -> Vec<Candidate> {
        let there =
            |one: &Member| self.copy.iter().any(|other| other.created == one.created && other.is_usable());
        let of = |one: &Member, source| Candidate {
            key: key(one),
            namespace: "n".to_owned(),
            member: one.clone(),
            source,
            there: there(one),
        };
        let state = |one: &Member| match (one.marked, one.whole) {
            (true, _) => State::Marked,
            (false, false) => State::broken("found so"),
            (false, true) => State::Whole,
        };
        let mut all: Vec<Candidate> = self.members.iter().map(|one| of(one, Some(state(one)))).collect();
        let listed: BTreeSet<UnixMillis> = self.members.iter().map(|one| one.created).collect();
        all.extend(self.copy.iter().filter(|one| !listed.contains(&one.created)).map(|one| of(one, None)));
        all.sort_by_key(|one| one.member.created);
        all
    }

    /// Begins to copy one backup, or everything, for so long; cut off after so many.
    pub(super) fn begin_copy(&mut self, which: usize, everything: bool, ms: i64, cut: Option<usize>) {
        let Some(place) = which.checked_rem(self.members.len()) else { return };
        let asked = self.members[place].clone();
        let wanted = if everything { Wanted::Everything } else { Wanted::Folders(vec![key(&asked)]) };
        let candidates = self.candidates();
        let Ok(plan) = decide(&candidates, &wanted, None) else {
            let whole = asked.is_usable() && chain_of(&self.members, &asked).is_some();
            assert!(!everything && !whole, "{} could be copied", asked.created.0);
            return;
        };
        let steps: Vec<&Candidate> = plan.steps.iter().map(|step| &candidates[step.place]).collect();
        assert!(steps.iter().all(|one| one.there || one.source == Some(State::Whole)));
        let mut after = candidates.clone();
        for step in &plan.steps {
            after[step.place].there = true;
        }
        let again = decide(&after, &wanted, None).expect("it could be copied before");
        assert!(again.steps.iter().all(|step| after[step.place].there), "nothing goes twice");
        let done = cut.map_or(steps.len(), |cut| cut % (steps.len() + 1));
        let steps = steps.into_iter().map(|one| one.member.clone()).collect();
        self.copying.push(Copying { until: self.time + ms, steps, done });
    }

    /// What has come to be there by now.
    pub(super) fn proceed_copies(&mut self) {
        let (ended, copying) =
            std::mem::take(&mut self.copying).into_iter().partition(|one| one.until <= self.time);
        self.copying = copying;
        let ended: Vec<Copying> = ended;
        for Copying { steps, done, .. } in ended {
            for step in steps.iter().take(done) {
                if self.copy.iter().any(|one| one.created == step.created) {
                    continue;
                }
                let source = self.members.iter().find(|one| one.created == step.created);
                let source = source.unwrap_or_else(|| panic!("{} went while it was copied", step.created.0));
                assert!(!source.marked, "{} is marked while it is copied", step.created.0);
                self.copy.push(step.clone());
                self.copy.sort_by_key(|one| one.created);
                // One that was created while a full ran is a point of its own only where another backup makes a hole
                // (rules.md 3.4): without that one, which the copy may not have, it is passed over.
                let beside = |full: &Member| {
                    full.backup_type == BackupType::Full
                        && full.created < step.created
                        && step.created < full.finished
                };
                let whole = chain_of(&self.copy, step).is_some() || self.copy.iter().any(beside);
                assert!(whole, "{} came before what it needs", step.created.0);
            }
            let there = |one: &Member| self.copy.iter().any(|other| other.created == one.created);
            assert!(steps.iter().take(done).all(there));
        }
    }

    /// The copy is pruned by a policy of its own (rules.md 5.1).
    pub(super) fn retain_copy(&mut self, policy: Policy) {
        let pinned: BTreeSet<UnixMillis> = self.being_copied().collect();
        let is_pinned = |place: usize| pinned.contains(&self.copy[place].created);
        let plan = plan_retention(&self.copy, is_pinned, policy, self.now());
        let stays = |place: usize| plan.verdicts[place].stays();
        let fulls = || {
            let all = self.copy.iter().enumerate();
            all.filter(|(_, one)| one.backup_type == BackupType::Full && one.is_usable())
        };
        for last in [
            fulls().max_by_key(|(_, full)| full.created),
            fulls().filter(|(_, full)| full.record_count > 0).max_by_key(|(_, full)| full.created),
        ] {
            assert!(last.is_none_or(|(place, _)| stays(place)), "the last full of the copy goes");
        }
        let kept: Vec<Member> = (0..self.copy.len())
            .filter(|place| stays(*place))
            .map(|place| self.copy[place].clone())
            .collect();
        for (member, verdict) in self.copy.iter().zip(&plan.verdicts) {
            let is_point = verdict.stays() && *verdict != Verdict::Keep(Keep::Needed);
            if is_point && chain_of(&self.copy, member).is_some() {
                let lost = chain_of(&kept, member).is_none();
                assert!(!lost, "the copy of {} lost what it is restored from", member.created.0);
            }
        }
        self.copy = kept;
    }
}
