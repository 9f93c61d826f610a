use super::*;

const FULL_MS: i64 = 100;

/// Counts do not ask for it.
const NOW: UnixMillis = UnixMillis(0);

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
    let plan = plan_retention(members, is_pinned, Policy::counts(full, incremental), NOW);
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
    let plan = plan_retention(&three(), |place| place == 2, Policy::counts(1, None), NOW);
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
    let plan = plan_retention(&members, |_| false, Policy::counts(1, None), NOW);
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
    let plan = plan_retention(&members, |_| false, Policy::counts(2, None), NOW);
    assert_eq!((plan.removals, plan.fulls_to_check), (vec![], vec![0, 2]));
}

#[test]
fn abs_7_6_of_two_fulls_only_the_newest_stays() {
    assert_eq!(removed(&[full(1000), full(2000)], 1, None), [1000]);
}

const HOUR_MS: i64 = 3_600_000;
const DAY_MS: i64 = 24 * HOUR_MS;
/// 2024-01-01, a Monday.
const MONDAY: i64 = 1_704_067_200_000;

/// `created` of the fulls that stay, and why, of one at noon of each of these days from [`MONDAY`].
fn kept(days: &[i64], policy: Policy, now_day: i64) -> Vec<(i64, Keep)> {
    let members: Vec<Member> = days.iter().map(|day| full(MONDAY + day * DAY_MS + 12 * HOUR_MS)).collect();
    let now = UnixMillis(MONDAY + now_day * DAY_MS);
    let plan = plan_retention(&members, |_| false, policy, now);
    let stays = days.iter().zip(&plan.verdicts).filter_map(|(day, verdict)| match verdict {
        Verdict::Keep(keep) => Some((*day, *keep)),
        Verdict::Remove(_) => None,
    });
    stays.collect()
}

fn by_age(days: i64) -> Policy {
    Policy { max_age_ms: Some(days * DAY_MS), ..Policy::counts(0, None) }
}

#[test]
fn young_fulls_stay_and_always_so_many() {
    assert_eq!(kept(&[0, 1, 2, 3], by_age(2), 4), [(2, Keep::Age), (3, Keep::Age)]);
    assert_eq!(kept(&[0, 1, 2, 3], by_age(2), 400), [(3, Keep::Floor)], "the last one, however old");
    let two = Policy { min_fulls: 2, ..by_age(2) };
    assert_eq!(kept(&[0, 1, 2, 3], two, 5), [(2, Keep::Floor), (3, Keep::Age)]);
    let count_too = Policy { full: 3, ..by_age(2) };
    assert_eq!(
        kept(&[0, 1, 2, 3], count_too, 400),
        [(1, Keep::Policy), (2, Keep::Policy), (3, Keep::Policy)],
        "each rule keeps what it keeps"
    );
    assert_eq!(
        kept(&[0, 1], by_age(1), -400),
        [(0, Keep::Age), (1, Keep::Age)],
        "a clock that is behind removes nothing"
    );
}

#[test]
fn the_newest_full_of_each_period_stays() {
    let keep = |daily, weekly, monthly, yearly| Policy {
        keep: Tiers { daily, weekly, monthly, yearly },
        ..Policy::counts(0, None)
    };
    let days: Vec<i64> = (0..60).collect();
    let found = kept(&days, keep(2, 3, 2, 1), 60);
    let expected = [
        (30, Keep::Tier(Tier::Monthly)), // 2024-01-31
        (48, Keep::Tier(Tier::Weekly)),  // Sunday
        (55, Keep::Tier(Tier::Weekly)),
        (58, Keep::Tier(Tier::Daily)),
        (59, Keep::Tier(Tier::Daily)), // also the newest of its week, month and year
    ];
    assert_eq!(found, expected);
    // Periods without a backup do not count, and the first day of a year is in it.
    assert_eq!(
        kept(&[-1, 0, 300], keep(0, 0, 0, 2), 900),
        [(-1, Keep::Tier(Tier::Yearly)), (300, Keep::Tier(Tier::Yearly))]
    );
}

#[test]
fn what_does_not_count_goes_with_the_full_before_it() {
    let day = |n: i64| MONDAY + n * DAY_MS;
    let promoted = Member { promoted: true, ..full(day(1)) };
    let members = [full(day(0)), promoted, incremental(day(1) + HOUR_MS, day(1)), full(day(9))];
    let plan = |policy| plan_retention(&members, |_| false, policy, UnixMillis(day(10))).removals;
    assert_eq!(plan(by_age(2)), [2, 1, 0]);
    // Kept by its week, with what hangs on it.
    let weekly = Policy { keep: Tiers { weekly: 2, ..Tiers::NONE }, ..Policy::counts(0, None) };
    assert_eq!(plan(weekly), [0; 0]);
    assert_eq!(plan(Policy { incremental: Some(1), ..weekly }), [2]);
}

#[test]
fn dependents_are_what_a_backup_is_needed_for_in_the_order_of_deletion() {
    let members = three();
    let created =
        |places: Vec<usize>| -> Vec<i64> { places.iter().map(|place| members[*place].created.0).collect() };
    assert_eq!(created(dependents(&members, &[3])), [2600, 2300]);
    assert_eq!(created(dependents(&members, &[4])), [2600]);
    assert_eq!(created(dependents(&members, &[5])), [0; 0]);
    assert_eq!(created(chain_of(&members, 5).unwrap()), [2000, 2300, 2600]);
    assert_eq!(created(chain_of(&members, 3).unwrap()), [2000]);
    // What a hole cuts off hangs on the full before it, and is no point of its own.
    let cut = [full(1000), incremental(1600, 1300)];
    assert_eq!((dependents(&cut, &[0]), chain_of(&cut, 1)), (vec![1], None));
}

proptest::proptest! {
    /// Against the rules one by one.
    #[test]
    fn a_full_stays_if_a_rule_keeps_it(
        hours in proptest::collection::btree_set(0..50_000_i64, 1..40),
        (number, floor, age_days) in (0..5_usize, 0..4_usize, proptest::option::of(0..900_i64)),
        keep in (0..4_u32, 0..4_u32, 0..4_u32, 0..4_u32),
    ) {
        let created: Vec<i64> = hours.iter().map(|hour| MONDAY + hour * HOUR_MS).collect();
        let members: Vec<Member> = created.iter().map(|at| full(*at)).collect();
        let keep = Tiers { daily: keep.0, weekly: keep.1, monthly: keep.2, yearly: keep.3 };
        let max_age_ms = age_days.map(|days| days * DAY_MS);
        let policy = Policy { full: number, incremental: None, max_age_ms, keep, min_fulls: floor };
        let now = UnixMillis(created[created.len() - 1] + HOUR_MS);
        let plan = plan_retention(&members, |_| false, policy, now);
        for (place, at) in created.iter().enumerate() {
            let newer = &created[place + 1..];
            let tier = |tier: Tier| {
                let of = |at: &i64| tier.period(UnixMillis(*at));
                let later: std::collections::BTreeSet<i64> = newer.iter().map(of).collect();
                !later.contains(&of(at)) && later.len() < tier_count(keep, tier)
            };
            let stays = newer.len() < number.max(floor).max(1)
                || max_age_ms.is_some_and(|most| now.0 - at <= most)
                || Tier::ALL.into_iter().any(tier);
            proptest::prop_assert_eq!(plan.verdicts[place].stays(), stays, "{}", at);
        }
    }
}

fn tier_count(keep: Tiers, tier: Tier) -> usize {
    keep.of(tier) as usize
}
