//! The plan as a value.

use super::T;
use crate::catalog::State;
use crate::copy::Wanted;
use crate::copy::plan::{Candidate, Why, plan};
use crate::model::chain::Member;
use crate::model::{BackupType, UnixMillis};

fn candidate(at: i64, from: Option<i64>) -> Candidate {
    let instant = |at: i64| UnixMillis(T + at * 10_000);
    Candidate {
        key: format!("k{at}"),
        namespace: "a".to_owned(),
        member: Member {
            backup_type: if from.is_some() { BackupType::Incremental } else { BackupType::Full },
            created: instant(at),
            finished: instant(at).plus_ms(1000),
            from: from.map(instant),
            safe_from: Some(instant(at)),
            whole: true,
            void: false,
            marked: false,
            promoted: false,
            record_count: 1,
            scope_hash: None,
        },
        source: Some(State::Whole),
        there: false,
    }
}

/// A full, two incrementals; a full with one.
fn two_chains() -> Vec<Candidate> {
    vec![
        candidate(1, None),
        candidate(2, Some(1)),
        candidate(3, Some(2)),
        candidate(4, None),
        candidate(5, Some(4)),
    ]
}

fn run(at: i64, chain: bool) -> Wanted {
    Wanted::Run { timestamp: UnixMillis(T + at * 10_000), backup_type: None, chain }
}

fn keys(all: &[Candidate], wanted: &Wanted) -> Vec<(String, &'static str)> {
    let plan = plan(all, wanted, None).unwrap();
    plan.steps.iter().map(|step| (all[step.place].key.clone(), step.why.as_str())).collect()
}

#[test]
fn what_is_asked_for_comes_after_what_it_builds_on() {
    let all = two_chains();
    let expect = |wanted: &Wanted, expected: &[(&str, &str)]| {
        let found = keys(&all, wanted);
        let found: Vec<(&str, &str)> = found.iter().map(|(key, why)| (key.as_str(), *why)).collect();
        assert_eq!(found, expected, "{wanted:?}");
    };
    expect(&run(1, false), &[("k1", "asked")]);
    expect(&run(3, false), &[("k1", "needed"), ("k2", "needed"), ("k3", "asked")]);
    expect(&run(2, true), &[("k1", "asked"), ("k2", "asked"), ("k3", "asked")]);
    expect(&Wanted::Folders(vec!["k5".to_owned()]), &[("k4", "needed"), ("k5", "asked")]);
    assert_eq!(keys(&all, &Wanted::Everything).len(), 5);
    assert!(plan(&all, &run(3, false), Some(&["b".to_owned()])).is_err());
    assert_eq!(plan(&all, &run(9, false), None).unwrap_err().code(), "backup-not-found");
    assert_eq!(
        plan(&all, &Wanted::Folders(vec!["k9".to_owned()]), None).unwrap_err().code(),
        "backup-not-found"
    );
}

#[test]
fn only_what_is_wanted_by_its_type_is_asked_for() {
    let mut all = two_chains();
    all[1].member.created = all[0].member.created;
    let wanted = |backup_type| Wanted::Run { timestamp: all[0].member.created, backup_type, chain: false };
    let found = plan(&all, &wanted(Some(BackupType::Full)), None).unwrap();
    assert_eq!(found.steps.len(), 1);
    assert_eq!(found.steps[0].why, Why::Asked);
}

#[test]
fn what_is_damaged_deleted_or_void_is_refused_by_name_and_left_out_of_everything() {
    for (state, code) in [
        (State::broken("x"), "backup-damaged"),
        (State::Marked, "backup-marked"),
        (State::Void, "backup-void"),
    ] {
        let mut all = two_chains();
        all[0].source = Some(state);
        assert_eq!(plan(&all, &run(1, false), None).unwrap_err().code(), code);
        assert_eq!(plan(&all, &run(3, false), None).unwrap_err().code(), "chain-gap");
        let everything = plan(&all, &Wanted::Everything, None).unwrap();
        assert_eq!(everything.steps.iter().map(|step| step.place).collect::<Vec<_>>(), [3, 4]);
        assert_eq!(everything.notes.len(), 3, "{:?}", everything.notes);
    }
}

/// What the other storage has counts: retention of the source may be the shorter one.
#[test]
fn an_ancestor_that_only_the_target_has_will_do() {
    let mut all = two_chains();
    (all[0].source, all[0].there) = (None, true);
    assert_eq!(keys(&all, &run(3, false)).len(), 3);
    assert_eq!(keys(&all, &Wanted::Everything).len(), 5);
    all[0].there = false;
    assert_eq!(plan(&all, &run(3, false), None).unwrap_err().code(), "chain-gap");
}
