//! What needs a backup that is to be deleted on demand (rules.md 5.3).

use std::cmp::Reverse;
use std::collections::BTreeSet;

use super::View;
use crate::model::chain::{Member, Placed, chain_at};
use crate::model::{BackupType, UnixMillis};

/// What needs one of `of`: incrementals that can be restored to with it and not without it, what needs those, and incrementals
/// that no whole chain ends in and that come after a full among them. In the order of deletion (rules.md 5.3).
pub fn dependents(members: &[Member], of: &[usize]) -> Vec<usize> {
    let view = View::of(members);
    let points = Points::of(members, &BTreeSet::new());
    let mut gone: BTreeSet<usize> = of.iter().copied().collect();
    let mut found: Vec<usize> = Vec::new();
    loop {
        let without = Points::of(members, &gone);
        let needs = |one: &Placed<'_>| match points.chain(one.place) {
            Some(_) => without.chain(one.place).is_none(),
            None => view.home(*one).is_some_and(|home| gone.contains(&home.place)),
        };
        let all = members.iter().enumerate().map(|(place, member)| Placed { place, member });
        let open = all.filter(|one| one.member.backup_type == BackupType::Incremental && !one.member.marked);
        let more: Vec<usize> =
            open.filter(|one| !gone.contains(&one.place) && needs(one)).map(|one| one.place).collect();
        if more.is_empty() {
            break;
        }
        gone.extend(&more);
        found.extend(more);
    }
    found.sort_by_key(|place| Reverse(members.get(*place).map(|one| one.created)));
    found
}

/// The backups that the one at `place` is restored from, itself last; none if it is no whole point.
pub fn chain_of(members: &[Member], place: usize) -> Option<Vec<usize>> {
    Points::of(members, &BTreeSet::new()).chain(place)
}

/// The backups that are there, by `created`.
struct Points {
    members: Vec<Member>,
    /// Their places in the caller's list.
    places: Vec<usize>,
}

impl Points {
    fn of(members: &[Member], gone: &BTreeSet<usize>) -> Self {
        let mut there: Vec<(usize, &Member)> =
            members.iter().enumerate().filter(|(place, _)| !gone.contains(place)).collect();
        there.sort_by_key(|(_, one)| one.created);
        let places = there.iter().map(|(place, _)| *place).collect();
        Self { members: there.into_iter().map(|(_, one)| one.clone()).collect(), places }
    }

    /// The whole chain that ends in the backup at a place of the caller's: as it was when that one had just finished, else as
    /// it is offered from now on (rules.md 3.4).
    fn chain(&self, place: usize) -> Option<Vec<usize>> {
        let last = self.places.iter().position(|one| *one == place)?;
        let (member, up_to) = (self.members.get(last)?, self.members.get(..=last)?);
        [member.finished, UnixMillis(i64::MAX)].into_iter().find_map(|at| {
            let chain = chain_at(up_to, at, false).ok()?;
            let places: Vec<usize> =
                chain.members.iter().filter_map(|one| self.places.get(*one).copied()).collect();
            (places.last() == Some(&place)).then_some(places)
        })
    }
}
