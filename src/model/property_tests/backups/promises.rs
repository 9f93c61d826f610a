//! What a chain promises of each record, compared with the writes that really happened.

use super::{FOREVER, RECORDS, World};
use crate::model::chain::{Chain, ChainError, Member, chain_at};
use crate::model::{BackupType, UnixMillis};

impl World {
    /// rules.md 3.3, 3.4 at every instant at which anything changes.
    pub(in crate::model::property_tests) fn check(&self) {
        let instants =
            self.members.iter().flat_map(|one| [one.created, one.finished]).chain([FOREVER, self.now()]);
        for at in instants {
            match chain_at(&self.members, at, false) {
                Ok(chain) => self.check_chain(&chain, at),
                Err(ChainError::NoFull { .. }) => {}
                Err(ChainError::Gap { newest_whole, .. }) => {
                    let whole = newest_whole.expect("the full's own point, at least");
                    assert!(whole <= at && chain_at(&self.members, whole, false).is_ok());
                    assert!(self.damaged || at != FOREVER, "nothing was damaged, yet there is a hole");
                    let with_gap = chain_at(&self.members, at, true).expect("allowed");
                    assert!(!with_gap.gaps.is_empty());
                }
            }
        }
    }

    fn check_chain(&self, chain: &Chain, at: UnixMillis) {
        let members: Vec<&Member> = chain.members.iter().map(|place| &self.members[*place]).collect();
        assert!(members.iter().all(|one| one.is_usable() && one.created <= at && one.finished <= at));
        assert_eq!(members[0].backup_type, BackupType::Full);
        for pair in members.windows(2) {
            assert!(pair[0].created < pair[1].created);
            assert!(
                pair[1].from.is_some_and(|from| from <= pair[0].created),
                "a hole before {}",
                pair[1].created.0
            );
        }
        for record in 0..RECORDS {
            // Newest first, each record once (rules.md 4.3).
            let restored = chain.members.iter().rev().find_map(|place| self.contents[*place].found[record]);
            let changes = self.history.events(record);
            let promised = changes.iter().rposition(|change| change.stamp < chain.complete_before.0);
            assert!(
                restored >= promised,
                "record {record} at {at}: version {restored:?} restored, {promised:?} promised before {}",
                chain.complete_before.0
            );
        }
    }
}

/// The chain of one member, when it has just finished or from now on.
pub(super) fn chain_of(members: &[Member], member: &Member) -> Option<Chain> {
    let up_to: Vec<Member> = members
        .iter()
        .map(|one| Member { whole: one.whole && one.created <= member.created, ..one.clone() })
        .collect();
    [member.finished, FOREVER].into_iter().find_map(|at| {
        let chain = chain_at(&up_to, at, false).ok()?;
        chain.members.last().is_some_and(|place| members[*place].created == member.created).then_some(chain)
    })
}
