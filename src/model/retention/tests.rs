use super::*;

const FULL_MS: i64 = 100;

fn full(created: i64) -> Member {
    Member {
        backup_type: BackupType::Full,
        created: UnixMillis(created),
        finished: UnixMillis(created + FULL_MS),
        from: None,
        safe_from: None,
        whole: true,
        void: false,
        marked: false,
        promoted: false,
        record_count: 1,
        scope_hash: None,
    }
}

fn incremental(created: i64, from: i64) -> Member {
    Member {
        backup_type: BackupType::Incremental,
        from: Some(UnixMillis(from)),
        finished: UnixMillis(created + 10),
        ..full(created)
    }
}

/// `created` of what goes, in the order of deletion.
fn removed_but(members: &[Member], pinned: &[i64], full: usize, incremental: Option<usize>) -> Vec<i64> {
    let is_pinned = |place: usize| pinned.contains(&members[place].created.0);
    let plan = plan_retention(members, is_pinned, Policy { full, incremental });
    for (place, verdict) in plan.verdicts.iter().enumerate() {
        assert_eq!(plan.removals.contains(&place), !verdict.stays());
    }
    plan.removals.iter().map(|place| members[*place].created.0).collect()
}

fn removed(members: &[Member], full: usize, incremental: Option<usize>) -> Vec<i64> {
    removed_but(members, &[], full, incremental)
}

/// Three fulls with two incrementals each.
fn three() -> Vec<Member> {
    (1..=3)
        .flat_map(|n| {
            [
                full(n * 1000),
                incremental(n * 1000 + 300, n * 1000),
                incremental(n * 1000 + 600, n * 1000 + 300),
            ]
        })
        .collect()
}

#[test]
fn the_newest_fulls_stay_with_their_incrementals() {
    assert_eq!(removed(&three(), 2, None), [1600, 1300, 1000]);
    assert_eq!(removed(&three(), 1, None), [2600, 2300, 1600, 1300, 2000, 1000]);
    assert!(removed(&three(), 3, None).is_empty());
}

#[test]
fn incrementals_of_fewer_fulls_may_be_kept() {
    assert_eq!(removed(&three(), 3, Some(1)), [2600, 2300, 1600, 1300]);
    assert_eq!(removed(&three(), 2, Some(1)), [2600, 2300, 1600, 1300, 1000]);
    assert_eq!(removed(&three(), 2, Some(9)), [1600, 1300, 1000]);
    assert_eq!(removed(&three(), 3, Some(0)), [3600, 3300, 2600, 2300, 1600, 1300]);
}

#[test]
fn what_a_running_job_reads_or_builds_on_stays_with_all_that_it_needs() {
    assert_eq!(removed_but(&three(), &[3600], 3, Some(0)), [2600, 2300, 1600, 1300]);
    assert_eq!(removed_but(&three(), &[1300], 1, Some(0)), [3600, 3300, 2600, 2300, 1600, 2000]);
    let plan = plan_retention(&three(), |place| place == 2, Policy { full: 1, incremental: None });
    let expected = [Keep::Needed, Keep::Needed, Keep::Pinned].map(Verdict::Keep);
    assert_eq!(plan.verdicts.get(..3), Some(expected.as_slice()));
}

#[test]
fn broken_and_void_fulls_never_count() {
    let spoils: [fn(&mut Member); 2] = [|one| one.whole = false, |one| one.void = true];
    for spoil in spoils {
        let mut members = vec![full(1000), full(2000), full(3000), full(4000)];
        spoil(&mut members[2]);
        assert_eq!(removed(&members, 2, None), [1000]);
        assert_eq!(removed(&members, 1, None), [3000, 2000, 1000]);
    }
}

#[test]
fn a_void_full_in_the_future_is_no_floor() {
    let members = [full(1000), full(2000), Member { void: true, ..full(9_000_000) }];
    assert_eq!(removed(&members, 1, None), [1000]);
}

#[test]
fn a_promoted_full_does_not_count_and_goes_with_the_counted_full_before_it() {
    let promoted = Member { promoted: true, ..full(1500) };
    let members = [full(1000), promoted, incremental(1700, 1500), full(2000), full(3000)];
    assert_eq!(removed(&members, 3, None), [0; 0]);
    assert_eq!(removed(&members, 2, None), [1700, 1500, 1000]);
    assert_eq!(removed(&members, 2, Some(0)), [1700, 1500, 1000]);
    let last = [full(1000), full(2000), Member { promoted: true, ..full(3000) }];
    assert_eq!(removed(&last, 1, None), [1000]);
}

#[test]
fn the_last_full_stays_whatever_the_policy_says() {
    assert_eq!(removed(&[full(1000)], 0, Some(0)), [0; 0]);
    let only_promoted = [Member { promoted: true, ..full(1000) }, Member { promoted: true, ..full(2000) }];
    assert_eq!(removed(&only_promoted, 1, None), [0; 0]);
}

#[test]
fn the_newest_full_with_records_stays_and_so_do_its_incrementals() {
    let empty = |created| Member { record_count: 0, ..full(created) };
    let members = [full(500), full(1000), incremental(1300, 1000), empty(2000), empty(3000)];
    assert_eq!(removed(&members, 1, None), [2000, 500]);
    let plan = plan_retention(&members, |_| false, Policy { full: 1, incremental: None });
    assert_eq!(plan.verdicts.get(1), Some(&Verdict::Keep(Keep::LastWithRecords)));
    assert_eq!(removed(&members, 1, Some(1)), [1300, 2000, 500]);
}

#[test]
fn an_incremental_belongs_to_its_full_by_chain_not_by_time() {
    // Created while the second full ran, so it hangs on the first, though it is newer than the second.
    let members = [full(1000), full(2000), incremental(2050, 1000), incremental(2300, 2000)];
    assert_eq!(removed(&members, 1, None), [2050, 1000]);
    // ABS lets the next one build on it: then it is needed, and by the second full alone.
    let members = [full(1000), full(2000), incremental(2050, 1000), incremental(2300, 2050)];
    assert_eq!(removed(&members, 1, None), [1000]);
}

#[test]
fn an_incremental_behind_a_hole_goes_with_the_full_before_it() {
    let members = [full(1000), incremental(1600, 1300), full(2000), incremental(2600, 2300)];
    assert_eq!(removed(&members, 1, None), [1600, 1000]);
    assert_eq!(removed(&members, 2, None), [0; 0]);
    let orphans = [incremental(500, 100), full(1000), full(2000)];
    assert_eq!(removed(&orphans, 2, None), [500]);
    assert_eq!(removed(&orphans, 3, None), [0; 0]);
}

#[test]
fn a_deletion_that_has_begun_goes_on_unless_it_is_pinned() {
    let members = [
        full(1000),
        Member { marked: true, ..incremental(1300, 1000) },
        Member { marked: true, ..full(2000) },
    ];
    assert_eq!(removed(&members, 5, None), [1300, 2000]);
    assert_eq!(removed_but(&members, &[1300], 5, None), [2000]);
}

#[test]
fn every_whole_full_that_stays_is_to_be_checked() {
    let members = [full(1000), Member { whole: false, ..full(2000) }, full(3000), incremental(3300, 3000)];
    let plan = plan_retention(&members, |_| false, Policy { full: 2, incremental: None });
    assert_eq!((plan.removals, plan.fulls_to_check), (vec![], vec![0, 2]));
}

#[test]
fn abs_7_6_of_two_fulls_only_the_newest_stays() {
    assert_eq!(removed(&[full(1000), full(2000)], 1, None), [1000]);
}
