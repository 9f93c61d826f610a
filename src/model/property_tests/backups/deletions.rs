//! What goes: by retention, on demand, cut off at any point. Nothing that stays loses what it is restored from.

use std::collections::BTreeSet;

use super::promises::chain_of;
use super::{FOREVER, World};
use crate::model::chain::{Member, chain_at};
use crate::model::retention::{Keep, Policy, Verdict, dependents, plan_retention};
use crate::model::{BackupType, UnixMillis};

impl World {
    /// `created` of what running jobs read or build on.
    pub(super) fn pinned(&self) -> BTreeSet<UnixMillis> {
        let building = self.active.iter().filter_map(|active| active.builds_on);
        let reading =
            self.readers.iter().filter(|(end, _)| *end > self.time).flat_map(|(_, read)| read.clone());
        building.chain(reading).chain(self.being_copied()).collect()
    }

    pub(super) fn retain(&mut self, policy: Policy, cut: Option<usize>) {
        let pinned = self.pinned();
        let is_pinned = |place: usize| pinned.contains(&self.members[place].created);
        let plan = plan_retention(&self.members, is_pinned, policy, self.now());
        let stays = |place: usize| plan.verdicts[place].stays();
        for (place, member) in self.members.iter().enumerate() {
            assert!(stays(place) || !is_pinned(place), "a running job needs {}", member.created.0);
        }
        let usable_full =
            |(_, one): &(usize, &Member)| one.backup_type == BackupType::Full && one.is_usable();
        let fulls = || self.members.iter().enumerate().filter(usable_full);
        for last in [
            fulls().max_by_key(|(_, full)| full.created),
            fulls().filter(|(_, full)| full.record_count > 0).max_by_key(|(_, full)| full.created),
        ] {
            assert!(last.is_none_or(|(place, _)| stays(place)), "the last full goes");
        }
        assert_eq!(plan.removals.len(), (0..self.members.len()).filter(|place| !stays(*place)).count());
        let kept: Vec<Member> = self
            .members
            .iter()
            .enumerate()
            .filter(|(place, _)| stays(*place))
            .map(|(_, one)| one.clone())
            .collect();
        let newest = chain_at(&self.members, FOREVER, false);
        for (member, verdict) in self.members.iter().zip(&plan.verdicts) {
            // What is kept because others need it serves their chains, not points of its own.
            let is_point = verdict.stays() && *verdict != Verdict::Keep(Keep::Needed);
            if is_point && chain_of(&self.members, member).is_some() {
                assert!(
                    chain_of(&kept, member).is_some(),
                    "{} lost what it is restored from",
                    member.created.0
                );
            }
        }
        self.delete_backups(&plan.removals, cut);
        // Cut off or not, what is offered is what would be without the rest; finishing it deletes nothing else.
        let offered = |members: &[Member]| -> Vec<UnixMillis> {
            members.iter().filter(|one| !one.marked).map(|one| one.created).collect()
        };
        assert_eq!(offered(&self.members), offered(&kept));
        let again = |place: usize| pinned.contains(&self.members[place].created);
        for (member, verdict) in
            self.members.iter().zip(plan_retention(&self.members, again, policy, self.now()).verdicts)
        {
            assert_eq!(verdict.stays(), !member.marked, "{} when finished", member.created.0);
        }
        // Where incrementals are kept, the newest point loses nothing.
        if let Ok(newest) = newest
            && policy.incremental.is_none_or(|kept| kept > 0)
        {
            let after = chain_at(&self.members, FOREVER, false).expect("still whole");
            assert_eq!(newest.complete_before, after.complete_before);
        }
    }

    /// A backup is deleted on demand, unless a job needs it or what goes with it; no other loses what it is restored from.
    pub(super) fn drop_backup(&mut self, which: usize, cut: Option<usize>) {
        let Some(place) = which.checked_rem(self.members.len()) else { return };
        let mut goes = dependents(&self.members, &[place]);
        goes.push(place);
        let pinned = self.pinned();
        if goes.iter().any(|place| pinned.contains(&self.members[*place].created)) {
            return;
        }
        assert!(
            goes.iter()
                .all(|one| dependents(&self.members, &[*one]).iter().all(|other| goes.contains(other))),
            "what needs a dependent is a dependent"
        );
        let stays = |place: &usize| !goes.contains(place);
        let kept: Vec<Member> =
            (0..self.members.len()).filter(stays).map(|one| self.members[one].clone()).collect();
        for member in &kept {
            assert!(
                chain_of(&self.members, member).is_none() || chain_of(&kept, member).is_some(),
                "{} lost what it is restored from",
                member.created.0
            );
        }
        self.delete_backups(&goes, cut);
    }

    /// Marks all, then deletes in order (rules.md 5.3); each step leaves only whole chains behind.
    fn delete_backups(&mut self, removals: &[usize], cut: Option<usize>) {
        for place in removals {
            self.members[*place].marked = true;
        }
        let done = cut.map_or(removals.len(), |cut| cut % (removals.len() + 1));
        let gone: BTreeSet<usize> = removals[..done].iter().copied().collect();
        for place in gone.iter().rev() {
            self.members.remove(*place);
            self.contents.remove(*place);
        }
    }
}
