//! A restore in memory: the yardstick that tests measure the real one against (rules.md 4.3 to 4.6).

use std::collections::{BTreeMap, BTreeSet};

use super::{Exists, Order, Plan, Remembered};

/// A record's digest.
pub type Digest = [u8; 20];

/// Name and value of each bin.
pub type Bins = BTreeMap<Vec<u8>, Vec<u8>>;

/// What becomes of a version that is not hidden.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// It is written.
    Write,
    /// It is expired, after `extra-ttl`.
    Expired,
    /// It has none of the listed bins.
    Skipped,
    /// Its write fails, and `ignore-record-error` passes it over.
    Ignored,
}

/// One version of a record, in a backup or in the destination.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Version {
    /// Which record.
    pub digest: Digest,
    /// Its generation.
    pub generation: u16,
    /// Its bins.
    pub bins: Bins,
    /// What becomes of it.
    pub fate: Fate,
}

/// The records of a destination: generation and bins.
pub type Destination = BTreeMap<Digest, (u16, Bins)>;

/// Where every record that was read ended (rules.md 4.6).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counters {
    /// Written.
    pub inserted: u64,
    /// Not written because the record existed, or because a newer version in the chain stands for it.
    pub existed: u64,
    /// Not written because the destination's record is fresher.
    pub fresher: u64,
    /// Not written because it is expired.
    pub expired: u64,
    /// Not written because it has none of the listed bins.
    pub skipped: u64,
    /// Not written because the error was to be ignored.
    pub ignored: u64,
}

/// Restores a chain, given oldest member first, each with at most one version of a record.
pub fn apply(chain: &[Vec<Version>], plan: Plan, destination: &mut Destination) -> Counters {
    let mut counters = Counters::default();
    let places: Vec<usize> = match plan.order {
        Order::Chronological => (0..chain.len()).collect(),
        Order::NewestFirst => (0..chain.len()).rev().collect(),
    };
    let hiding = if plan.collecting_pass { collect(chain) } else { BTreeMap::new() };
    let mut remembered = BTreeSet::new();
    for place in places {
        for version in chain.get(place).into_iter().flatten() {
            let hidden_by_later = hiding.get(&version.digest).is_some_and(|newest| *newest > place);
            if hidden_by_later || remembered.contains(&version.digest) {
                counters.existed += 1;
                continue;
            }
            // In the order of time only newer versions follow, and these nothing older hides.
            let hides = plan.remembered == Remembered::All || version.fate != Fate::Write;
            if hides && plan.order == Order::NewestFirst {
                remembered.insert(version.digest);
            }
            match version.fate {
                Fate::Write => write(version, plan, destination, &mut counters),
                Fate::Expired => counters.expired += 1,
                Fate::Skipped => counters.skipped += 1,
                Fate::Ignored => counters.ignored += 1,
            }
        }
    }
    counters
}

/// The place of the newest version of each record that hides older ones.
fn collect(chain: &[Vec<Version>]) -> BTreeMap<Digest, usize> {
    let versions =
        chain.iter().enumerate().flat_map(|(place, member)| member.iter().map(move |one| (place, one)));
    versions.filter(|(_, one)| one.fate != Fate::Write).map(|(place, one)| (one.digest, place)).collect()
}

/// As the server does it: what is created has generation 1, each further write adds one; the backup's own generation is
/// only compared.
fn write(version: &Version, plan: Plan, destination: &mut Destination, counters: &mut Counters) {
    let Some((generation, bins)) = destination.get_mut(&version.digest) else {
        destination.insert(version.digest, (1, version.bins.clone()));
        counters.inserted += 1;
        return;
    };
    match plan.exists {
        Exists::CreateOnly => {
            counters.existed += 1;
            return;
        }
        _ if plan.check_generation && version.generation <= *generation => {
            counters.fresher += 1;
            return;
        }
        Exists::Update => bins.extend(version.bins.clone()),
        Exists::Replace => bins.clone_from(&version.bins),
    }
    *generation = generation.checked_add(1).unwrap_or(1);
    counters.inserted += 1;
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::tests::requests;
    use super::super::{Request, plan_order};
    use super::*;

    fn version(record: u8, generation: u16, bins: &[(&str, u8)], fate: Fate) -> Version {
        let bins = bins.iter().map(|(name, value)| (name.as_bytes().to_vec(), vec![*value])).collect();
        Version { digest: [record; 20], generation, bins, fate }
    }

    fn restore(chain: &[Vec<Version>], request: Request, before: &Destination) -> (Destination, Counters) {
        let mut destination = before.clone();
        let counters = apply(chain, plan_order(request).expect("valid"), &mut destination);
        (destination, counters)
    }

    /// A destination with one record, written so often.
    fn only(version: &Version, generation: u16) -> Destination {
        BTreeMap::from([(version.digest, (generation, version.bins.clone()))])
    }

    #[test]
    fn a_bin_removed_between_two_backups_does_not_come_back() {
        let (old, new) =
            (version(1, 1, &[("a", 1), ("b", 1)], Fate::Write), version(1, 2, &[("a", 2)], Fate::Write));
        let chain = [vec![old], vec![new.clone()]];
        let empty = Request { destination_empty: true, ..Request::default() };
        assert_eq!(restore(&chain, empty, &Destination::new()).0, only(&new, 1));
        let replace = Request { replace: true, ..Request::default() };
        let other = only(&version(2, 1, &[("x", 1)], Fate::Write), 1);
        let (after, counters) = restore(&chain, replace, &other);
        assert_eq!(after.get(&new.digest), Some(&(1, new.bins)));
        assert_eq!((counters.inserted, counters.existed), (1, 1));
    }

    #[test]
    fn a_record_deleted_and_created_again_is_restored_as_created_again() {
        let (old, new) = (version(1, 9, &[("a", 1)], Fate::Write), version(1, 1, &[("b", 2)], Fate::Write));
        for request in [Request { destination_empty: true, ..Request::default() }, Request::default()] {
            let (after, _) = restore(&[vec![old.clone()], vec![new.clone()]], request, &Destination::new());
            assert_eq!(after, only(&new, 1), "{request:?}");
        }
    }

    #[test]
    fn what_is_fresher_in_the_destination_stays_unless_generations_do_not_count() {
        let backup = version(1, 3, &[("a", 1)], Fate::Write);
        let fresher = only(&version(1, 5, &[("a", 9)], Fate::Write), 5);
        let chain = [vec![backup.clone()]];
        let (after, counters) = restore(&chain, Request::default(), &fresher);
        assert_eq!((after, counters.fresher), (fresher.clone(), 1));
        let no_generation = Request { no_generation: true, ..Request::default() };
        assert_eq!(restore(&chain, no_generation, &fresher).0, only(&backup, 6));
        let unique = Request { unique: true, ..Request::default() };
        let (after, counters) = restore(&chain, unique, &fresher);
        assert_eq!((after, counters.existed), (fresher, 1));
    }

    /// rules.md 4.5, for every order.
    #[test]
    fn an_expired_skipped_or_ignored_version_hides_older_ones() {
        let old = version(1, 1, &[("a", 1)], Fate::Write);
        for fate in [Fate::Expired, Fate::Skipped, Fate::Ignored] {
            let chain = [vec![old.clone()], vec![version(1, 2, &[("a", 2)], fate)]];
            for (request, _) in requests() {
                let (after, counters) = restore(&chain, request, &Destination::new());
                assert!(after.is_empty(), "{fate:?} {request:?}");
                let ended = [counters.expired, counters.skipped, counters.ignored];
                assert_eq!((counters.existed, ended.iter().sum::<u64>()), (1, 1), "{fate:?} {request:?}");
            }
        }
    }

    #[test]
    fn a_hidden_version_that_was_written_again_later_is_restored() {
        let newest = version(1, 3, &[("a", 3)], Fate::Write);
        let chain = [
            vec![version(1, 1, &[("a", 1)], Fate::Write)],
            vec![version(1, 2, &[("a", 2)], Fate::Expired)],
            vec![newest.clone()],
        ];
        for (request, _) in requests() {
            assert_eq!(restore(&chain, request, &Destination::new()).0, only(&newest, 1), "{request:?}");
        }
    }

    fn chains() -> impl Strategy<Value = Vec<Vec<Version>>> {
        let fate = prop_oneof![
            3 => Just(Fate::Write), 1 => Just(Fate::Expired), 1 => Just(Fate::Skipped), 1 => Just(Fate::Ignored)
        ];
        let one = (prop::collection::btree_map("[ab]", 0..3_u8, 1..3), 1..6_u16, fate);
        let member = prop::collection::btree_map(0..4_u8, one, 0..4);
        prop::collection::vec(member, 1..5).prop_map(|chain| {
            let version = |(record, (bins, generation, fate)): (u8, (BTreeMap<String, u8>, u16, Fate))| {
                let bins = bins.into_iter().map(|(name, value)| (name.into_bytes(), vec![value]));
                Version { digest: [record; 20], generation, bins: bins.collect(), fate }
            };
            chain.into_iter().map(|member| member.into_iter().map(version).collect()).collect()
        })
    }

    proptest! {
        #[test]
        fn every_record_read_ends_in_exactly_one_counter(chain in chains(), filled in any::<bool>()) {
            let full = Destination::from([([0; 20], (3, Bins::new())), ([9; 20], (1, Bins::new()))]);
            for (request, _) in requests() {
                let before = if filled && !request.destination_empty { full.clone() } else { Destination::new() };
                let (_, c) = restore(&chain, request, &before);
                let read: usize = chain.iter().map(Vec::len).sum();
                let ended = c.inserted + c.existed + c.fresher + c.expired + c.skipped + c.ignored;
                prop_assert_eq!(ended, read as u64, "{:?}", request);
            }
        }

        /// Into an empty destination the newest version of each record decides, in whatever order newest-first writes.
        #[test]
        fn an_empty_destination_ends_with_the_newest_version_of_each_record(chain in chains()) {
            let mut newest: BTreeMap<Digest, &Version> = BTreeMap::new();
            for version in chain.iter().flatten() {
                newest.insert(version.digest, version);
            }
            let expected: BTreeMap<Digest, Bins> = newest
                .into_iter()
                .filter(|(_, version)| version.fate == Fate::Write)
                .map(|(digest, version)| (digest, version.bins.clone()))
                .collect();
            for (request, plan) in requests() {
                let in_time = Request { replace: true, no_generation: true, ..request } == request;
                if plan.order == Order::NewestFirst || in_time {
                    let (after, _) = restore(&chain, request, &Destination::new());
                    let after: BTreeMap<Digest, Bins> =
                        after.into_iter().map(|(digest, (_, bins))| (digest, bins)).collect();
                    prop_assert_eq!(&after, &expected, "{:?}", request);
                }
            }
        }
    }
}
