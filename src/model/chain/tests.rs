use super::*;

fn full(created: i64, finished: i64) -> Member {
    Member {
        backup_type: BackupType::Full,
        created: UnixMillis(created),
        finished: UnixMillis(finished),
        from: None,
        safe_from: Some(UnixMillis(created)),
        whole: true,
        void: false,
        marked: false,
        promoted: false,
        record_count: 1,
        scope_hash: None,
    }
}

fn incremental(created: i64, finished: i64, from: i64) -> Member {
    Member { backup_type: BackupType::Incremental, from: Some(UnixMillis(from)), ..full(created, finished) }
}

/// The `created` of the chain at `at`.
fn chain(members: &[Member], at: i64) -> Vec<i64> {
    created(members, &chain_at(members, UnixMillis(at), false).unwrap_or_else(|error| panic!("{error}")))
}

fn created(members: &[Member], chain: &Chain) -> Vec<i64> {
    chain.members.iter().map(|place| members[*place].created.0).collect()
}

fn gap(members: &[Member], at: i64) -> (Gap, i64) {
    match chain_at(members, UnixMillis(at), false) {
        Err(ChainError::Gap { gap, newest_whole }) => (gap, newest_whole.expect("a point").0),
        other => panic!("{other:?}"),
    }
}

fn bound(members: &[Member], now: i64, mode: Mode) -> Option<(i64, i64)> {
    lower_bound(members, UnixMillis(now), UnixMillis(now), mode)
        .map(|bound| (bound.builds_on.0, bound.safe_from.0))
}

// abs.md 7.7

#[test]
fn a_full_finished_exactly_at_the_time_is_taken_and_one_finished_after_it_is_not() {
    let members = [full(1000, 1500), full(2000, 2500)];
    assert_eq!(chain(&members, 2500), [2000]);
    assert_eq!(chain(&members, 2499), [1000]);
    assert_eq!(chain_at(&members, UnixMillis(1499), false), Err(ChainError::NoFull { at: UnixMillis(1499) }));
}

#[test]
fn differential_incrementals_follow_their_full_in_order_and_older_ones_do_not() {
    let members = [
        incremental(3000, 3000, 2000),
        full(1000, 1000),
        incremental(2000, 2000, 1000),
        incremental(900, 900, 500),
    ];
    assert_eq!(chain(&members, 5000), [1000, 2000, 3000]);
    assert_eq!(chain(&members, 2999), [1000, 2000]);
}

#[test]
fn of_cumulative_incrementals_only_the_newest_is_read() {
    let members = [full(1000, 1000), incremental(2000, 2000, 1000), incremental(3000, 3000, 1000)];
    assert_eq!(chain(&members, 5000), [1000, 3000]);
}

#[test]
fn an_incremental_created_with_the_full_is_left_out() {
    let members = [full(1000, 1000), incremental(1000, 1000, 500)];
    assert_eq!(chain(&members, 5000), [1000]);
}

// rules.md 3.4

#[test]
fn mixed_modes_pass_over_what_the_newest_covers() {
    let members = [
        full(1000, 1100),
        incremental(2000, 2100, 1000),
        incremental(3000, 3100, 2000),
        incremental(4000, 4100, 1000), // cumulative
        incremental(5000, 5100, 4000),
    ];
    assert_eq!(chain(&members, 6000), [1000, 4000, 5000]);
    assert_eq!(chain(&members, 4000), [1000, 2000, 3000]);
}

#[test]
fn the_predecessor_is_the_earliest_that_reaches_far_enough_back() {
    let members = [
        full(1000, 1100),
        incremental(2000, 2100, 1000),
        incremental(2500, 9000, 2000), // a late retry
        incremental(3000, 3100, 2000),
    ];
    assert_eq!(chain(&members, 9000), [1000, 2000, 3000]);
    // Without the one it built on, another that reaches as far will do.
    let bridged = [full(1000, 1100), incremental(2500, 2600, 1000), incremental(3000, 3100, 2000)];
    assert_eq!(chain(&bridged, 9000), [1000, 2500, 3000]);
}

#[test]
fn a_missing_predecessor_is_an_error_that_names_both_sides_and_the_newest_whole_point() {
    let members = [
        full(1000, 1100),
        incremental(2000, 2100, 1000),
        incremental(4000, 4100, 3000),
        incremental(5000, 5100, 4000),
    ];
    let expected = Gap { later: UnixMillis(4000), from: Some(UnixMillis(3000)), earlier: UnixMillis(2000) };
    assert_eq!(gap(&members, 9000), (expected, 2100));
    assert_eq!(chain(&members, 2100), [1000, 2000]);
    let error = Error::from(chain_at(&members, UnixMillis(9000), false).expect_err("a gap"));
    assert_eq!(error.code(), "chain-gap");
    assert_eq!(
        error.to_string(),
        "backup 4000 builds on 3000, which is missing: the nearest earlier backup is 2000; \
         the newest whole restore point is 1970-01-01T00:00:02.1Z"
    );
}

#[test]
fn allow_gap_takes_both_sides_of_every_hole_and_tells_them() {
    let members = [
        full(1000, 1100),
        incremental(3000, 3100, 2000),
        incremental(5000, 5100, 4000),
        incremental(6000, 6100, 5000),
    ];
    let chain = chain_at(&members, UnixMillis(9000), true).expect("allowed");
    assert_eq!(created(&members, &chain), [1000, 3000, 5000, 6000]);
    let holes: Vec<(i64, i64)> = chain.gaps.iter().map(|gap| (gap.later.0, gap.earlier.0)).collect();
    assert_eq!(holes, [(5000, 3000), (3000, 1000)]);
}

#[test]
fn an_incremental_that_does_not_say_what_it_builds_on_is_a_gap() {
    let members = [full(1000, 1100), Member { from: None, ..incremental(2000, 2100, 1000) }];
    assert_eq!(gap(&members, 9000).0.from, None);
}

#[test]
fn an_incremental_created_while_the_base_ran_is_taken_only_to_close_a_gap() {
    let beside = incremental(1500, 1600, 500);
    let members = [full(1000, 2000), beside.clone(), incremental(3000, 3100, 1000)];
    assert_eq!(chain(&members, 9000), [1000, 3000]);
    assert_eq!(chain(&members, 2000), [1000]);
    // ABS builds on the newest of both, so what follows needs it.
    let members = [full(1000, 2000), beside, incremental(3000, 3100, 1500)];
    let chain = chain_at(&members, UnixMillis(9000), false).expect("whole with overlap");
    assert_eq!((created(&members, &chain), chain.overlap), (vec![1000, 1500, 3000], true));
}

#[test]
fn the_older_chain_is_offered_while_the_next_full_runs() {
    let members =
        [full(1000, 1100), incremental(2000, 2100, 1000), full(3000, 9000), incremental(4000, 4100, 2000)];
    assert_eq!(chain(&members, 5000), [1000, 2000, 4000]);
    assert_eq!(chain(&members, 9000), [3000]);
}

#[test]
fn broken_void_and_marked_backups_are_no_members() {
    let spoils: [fn(&mut Member); 3] =
        [|one| one.whole = false, |one| one.void = true, |one| one.marked = true];
    for spoil in spoils {
        let mut members = [full(1000, 1100), full(2000, 2100), incremental(3000, 3100, 1000)];
        spoil(&mut members[1]);
        assert_eq!(chain(&members, 9000), [1000, 3000]);
        spoil(&mut members[2]);
        assert_eq!(chain(&members, 9000), [1000]);
        spoil(&mut members[0]);
        assert_eq!(
            chain_at(&members, UnixMillis(9000), true),
            Err(ChainError::NoFull { at: UnixMillis(9000) })
        );
    }
}

#[test]
fn a_promoted_full_is_a_base() {
    let members =
        [full(1000, 1100), Member { promoted: true, ..full(2000, 2100) }, incremental(3000, 3100, 2000)];
    assert_eq!(chain(&members, 9000), [2000, 3000]);
}

#[test]
fn a_backup_more_than_five_minutes_in_the_future_is_void() {
    let now = UnixMillis(1_000_000);
    assert!(!is_void(now.plus_ms(300_000), now));
    assert!(is_void(now.plus_ms(300_001), now));
}

#[test]
fn a_chain_tells_what_it_holds_for_certain_and_at_most() {
    let members =
        [full(100_000, 101_000), Member { safe_from: None, ..incremental(200_000, 201_000, 100_000) }];
    let whole = chain_at(&members, UnixMillis(300_000), false).expect("whole");
    assert_eq!((whole.complete_before.0, whole.finished.0), (190_000, 201_000));
    let late = [full(1000, 1100), incremental(2000, 9000, 1000), incremental(3000, 3100, 2000)];
    let whole = chain_at(&late, UnixMillis(9000), false).expect("whole");
    assert_eq!((whole.complete_before.0, whole.finished.0), (3000, 9000));
}

// rules.md 3.5

#[test]
fn an_incremental_builds_on_the_last_backup_or_on_the_full() {
    let members = [
        Member { safe_from: Some(UnixMillis(950)), ..full(1000, 1100) },
        Member { safe_from: Some(UnixMillis(1990)), ..incremental(2000, 2100, 1000) },
    ];
    assert_eq!(bound(&members, 3000, Mode::Differential), Some((2000, 1990)));
    assert_eq!(bound(&members, 3000, Mode::Cumulative), Some((1000, 950)));
    assert_eq!(bound(&members, 2050, Mode::Differential), Some((1000, 950)));
    assert_eq!(bound(&members, 1050, Mode::Differential), None);
}

#[test]
fn without_a_manifest_the_bound_lies_ten_seconds_before_created() {
    let members = [Member { safe_from: None, ..full(100_000, 100_001) }];
    assert_eq!(bound(&members, 200_000, Mode::Differential), Some((100_000, 90_000)));
}

#[test]
fn an_incremental_bridges_what_was_lost() {
    let lost = Member { whole: false, ..incremental(2000, 2100, 1000) };
    let members = [full(1000, 1100), lost, incremental(3000, 3100, 2000)];
    assert_eq!(bound(&members, 4000, Mode::Differential), Some((1000, 1000)));
    let bridged: Vec<Member> = members.iter().cloned().chain([incremental(4000, 4100, 1000)]).collect();
    assert_eq!(chain(&bridged, 5000), [1000, 4000]);
}

#[test]
fn a_late_retry_does_not_build_on_what_began_after_it() {
    let members =
        [full(1000, 1100), incremental(2000, 2100, 1000), incremental(4000, 4100, 2000), full(5000, 5100)];
    let retried = lower_bound(&members, UnixMillis(3000), UnixMillis(9000), Mode::Differential);
    assert_eq!(retried.map(|bound| (bound.base, bound.builds_on.0)), Some((0, 2000)));
}

#[test]
fn a_changed_scope_is_told_from_an_unknown_one() {
    let known = Member { scope_hash: Some("a".into()), ..full(1, 2) };
    assert_eq!(compare_scope(&known, "a"), Scope::Same);
    assert_eq!(compare_scope(&known, "b"), Scope::Changed);
    assert_eq!(compare_scope(&full(1, 2), "b"), Scope::Unknown);
}
