//! Tests of the plan, by rule.

use std::collections::BTreeMap;

use super::{Action, RunInput, RunPlan, plan};
use crate::config::WhenNoChain;
use crate::engine::{ClusterFacts, NamespaceFacts};
use crate::model::chain::{Member, Mode};
use crate::model::{BackupType, UnixMillis};

fn facts(names: &[&str]) -> ClusterFacts {
    let namespaces = names
        .iter()
        .map(|name| NamespaceFacts { name: (*name).to_owned(), objects: 10, ..Default::default() })
        .collect();
    ClusterFacts { namespaces, ..Default::default() }
}

fn member(backup_type: BackupType, created: i64, finished: i64, from: Option<i64>) -> Member {
    Member {
        backup_type,
        created: UnixMillis(created),
        finished: UnixMillis(finished),
        from: from.map(UnixMillis),
        safe_from: Some(UnixMillis(created - 5)),
        whole: true,
        void: false,
        marked: false,
        promoted: false,
        record_count: 1,
        scope_hash: Some("scope".to_owned()),
    }
}

fn full(created: i64) -> Member {
    member(BackupType::Full, created, created + 10, None)
}

fn plan_with(
    members: &[(&str, Vec<Member>)],
    facts: &ClusterFacts,
    change: impl FnOnce(&mut RunInput<'_>),
) -> RunPlan {
    plan_for_sets(members, facts, &[], change)
}

fn plan_for_sets(
    members: &[(&str, Vec<Member>)],
    facts: &ClusterFacts,
    sets: &[String],
    change: impl FnOnce(&mut RunInput<'_>),
) -> RunPlan {
    let members: BTreeMap<String, Vec<Member>> =
        members.iter().map(|(name, members)| ((*name).to_owned(), members.clone())).collect();
    let mut input = RunInput {
        asked: BackupType::Incremental,
        created: UnixMillis(10_000),
        now: UnixMillis(11_000),
        namespaces: &[],
        sets,
        mode: Mode::Differential,
        when_no_chain: WhenNoChain::Full,
        scope_hash: "scope",
        skew_excess_ms: 0,
        members: &members,
        full_running: false,
        sealed: false,
    };
    change(&mut input);
    plan(&input, facts).unwrap()
}

fn promoted(plan: &RunPlan) -> Option<&str> {
    match &plan.namespaces[0].action {
        Action::Full { promoted } => promoted.as_ref().map(|(_, reason)| reason.as_str()),
        _ => None,
    }
}

/// abs.md 4.2, rules.md 3.5
#[test]
fn a_cumulative_incremental_starts_at_the_last_full() {
    let incremental = member(BackupType::Incremental, 2_000, 2_010, Some(1_000));
    let members = [("ns", vec![full(500), full(1_000), incremental])];
    let action =
        |mode| plan_with(&members, &facts(&["ns"]), |input| input.mode = mode).namespaces[0].action.clone();
    let on = |created| Action::Incremental {
        builds_on: UnixMillis(created),
        changed_since: UnixMillis(created - 5),
    };
    assert_eq!((action(Mode::Cumulative), action(Mode::Differential)), (on(1_000), on(2_000)));
}

#[test]
fn an_incremental_starts_where_its_own_namespace_left_off() {
    // rules.md 3.5: ns2 failed in the last run, so it goes back further than ns1.
    let newer = member(BackupType::Incremental, 2000, 2010, Some(1000));
    let plan = plan_with(
        &[("ns1", vec![full(1000), newer]), ("ns2", vec![full(1000)])],
        &facts(&["ns1", "ns2"]),
        |_| {},
    );
    let bounds: Vec<_> = plan.namespaces.iter().map(|namespace| namespace.action.clone()).collect();
    let expected = |builds_on: i64| Action::Incremental {
        builds_on: UnixMillis(builds_on),
        changed_since: UnixMillis(builds_on - 5),
    };
    assert_eq!(bounds, [expected(2000), expected(1000)]);
}

#[test]
fn without_a_full_it_becomes_one_or_is_skipped_and_its_siblings_run() {
    // rules.md 3.7
    let members = [("ns2", vec![full(1000)])];
    let plan = plan_with(&members, &facts(&["ns1", "ns2"]), |_| {});
    assert!(promoted(&plan).unwrap().contains("no whole full"));
    assert!(matches!(plan.namespaces[1].action, Action::Incremental { .. }));
    let plan = plan_with(&members, &facts(&["ns1", "ns2"]), |input| input.when_no_chain = WhenNoChain::Skip);
    assert!(matches!(plan.namespaces[0].action, Action::Skip { code: "no-full", .. }));
    assert!(matches!(plan.namespaces[1].action, Action::Incremental { .. }));
}

#[test]
fn it_is_never_promoted_beside_a_full() {
    let plan = plan_with(&[], &facts(&["ns1"]), |input| input.full_running = true);
    assert!(matches!(plan.namespaces[0].action, Action::Skip { code: "full-running", .. }));
}

#[test]
fn another_scope_is_another_chain() {
    let plan = plan_with(&[("ns1", vec![full(1000)])], &facts(&["ns1"]), |input| input.scope_hash = "other");
    assert!(promoted(&plan).unwrap().contains("scope"));
    let mut foreign = full(1000);
    foreign.scope_hash = None;
    let plan = plan_with(&[("ns1", vec![foreign])], &facts(&["ns1"]), |_| {});
    assert!(matches!(plan.namespaces[0].action, Action::Incremental { .. }));
    assert_eq!(plan.namespaces[0].warnings.len(), 1);
}

#[test]
fn a_truncation_after_the_full_closes_the_chain_once() {
    let mut closed = facts(&["ns1"]);
    closed.namespaces[0].truncated_at = Some(UnixMillis(1500));
    let plan = plan_with(&[("ns1", vec![full(1000)])], &closed, |_| {});
    assert!(promoted(&plan).unwrap().contains("truncated"));
    // The promoted full is truncated away again: a warning, not a second full.
    let mut second = full(1200);
    second.promoted = true;
    let plan = plan_with(&[("ns1", vec![full(1000), second])], &closed, |_| {});
    assert!(matches!(plan.namespaces[0].action, Action::Incremental { .. }));
    assert!(plan.namespaces[0].warnings[0].starts_with("closed:"));
    // A truncation before the full says nothing.
    let plan = plan_with(&[("ns1", vec![full(2000)])], &closed, |_| {});
    assert!(matches!(plan.namespaces[0].action, Action::Incremental { .. }));
}

#[test]
fn only_sets_in_scope_close_it() {
    let mut closed = facts(&["ns1"]);
    closed.namespaces[0].truncated_sets = vec![("users".to_owned(), UnixMillis(1500))];
    let members = [("ns1", vec![full(1000)])];
    let orders = ["orders".to_owned()];
    let plan = plan_for_sets(&members, &closed, &orders, |_| {});
    assert!(matches!(plan.namespaces[0].action, Action::Incremental { .. }));
    let plan = plan_with(&members, &closed, |_| {});
    assert!(promoted(&plan).unwrap().contains("set users"));
}

#[test]
fn a_node_that_is_behind_now_lowers_the_bound_of_this_run_too() {
    let plan = plan_with(&[("ns1", vec![full(1000)])], &facts(&["ns1"]), |input| input.skew_excess_ms = 300);
    let expected = Action::Incremental { builds_on: UnixMillis(1000), changed_since: UnixMillis(695) };
    assert_eq!(plan.namespaces[0].action, expected);
}

#[test]
fn sealed_ends_at_created_for_fulls_too() {
    let plan = plan_with(&[], &facts(&["ns1"]), |input| {
        input.asked = BackupType::Full;
        input.sealed = true;
    });
    assert_eq!(plan.namespaces[0].until, Some(UnixMillis(10_000)));
    assert_eq!(promoted(&plan), None);
}

#[test]
fn a_namespace_that_the_cluster_has_not_is_named() {
    let missing = ["ns9".to_owned()];
    let members = BTreeMap::new();
    let input = RunInput {
        asked: BackupType::Full,
        created: UnixMillis(0),
        now: UnixMillis(0),
        namespaces: &missing,
        sets: &[],
        mode: Mode::Differential,
        when_no_chain: WhenNoChain::Full,
        scope_hash: "",
        skew_excess_ms: 0,
        members: &members,
        full_running: false,
        sealed: false,
    };
    let error = plan(&input, &facts(&["ns1"])).unwrap_err();
    assert_eq!(error.code(), "namespace-missing");
    assert!(error.report().contains("ns9") && error.report().contains("ns1"));
}
