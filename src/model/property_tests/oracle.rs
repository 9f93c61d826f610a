//! The oracle on the pure model: everything that can happen to records and to runs, and restores to random points in
//! every row of the table of rules.md 4.3, judged record by record.

use std::cell::RefCell;
use std::collections::BTreeSet;

use proptest::prelude::*;
use proptest::test_runner::{RngSeed, TestCaseError, TestRunner};

use super::backups::{BINS, Event, Put, RECORDS, Run, World, runs};
use crate::model::chain::{Chain, ChainError, chain_at};
use crate::model::restore_order::reference::{self, Bins, Destination, Fate};
use crate::model::restore_order::{Request, plan_order};
use crate::model::retention::Policy;
use crate::model::{BackupType, UnixMillis};
use crate::oracle::history::Version;
use crate::oracle::judge::{Case, Limit, project, row};
use crate::oracle::tally::Tally;

/// What is restored.
#[derive(Debug, Clone, Copy)]
struct Restore {
    /// Which instant, among those at which anything changes and those between.
    point: usize,
    /// The bits of the request.
    request: u8,
    /// What the destination has: a generation for each record, 0 for none.
    destination: [u16; RECORDS + 1],
}

#[derive(Debug, Clone, Copy)]
enum Step {
    World(Event),
    Restore(Restore),
}

/// A world and what happens in it.
#[derive(Debug, Clone)]
struct Sequence {
    nodes: (i64, i64),
    /// Where false, incrementals are differential (`Mode`).
    scope: Option<BTreeSet<Vec<u8>>>,
    steps: Vec<Step>,
}

fn puts() -> impl Strategy<Value = Put> {
    let life_ms = prop_oneof![3 => Just(None), 1 => (1..30_000_i64).prop_map(Some)];
    let old_ms = prop_oneof![12 => Just(0), 1 => 1..40_000_i64];
    (1..8_u8, life_ms, old_ms).prop_map(|(bins, life_ms, old_ms)| Put { bins, life_ms, old_ms })
}

fn any_runs() -> impl Strategy<Value = Run> {
    let (fails, sealed) = (prop::bool::weighted(0.1), prop::bool::weighted(0.25));
    (runs(), fails, sealed).prop_map(|(run, fails, sealed)| Run { fails, sealed, ..run })
}

fn restores() -> impl Strategy<Value = Restore> {
    let generation = prop_oneof![1 => Just(0_u16), 1 => 1..8_u16];
    let filled = prop::array::uniform7(generation);
    let destination = prop_oneof![1 => Just([0; RECORDS + 1]), 2 => filled];
    (any::<usize>(), 0..16_u8, destination).prop_map(|(point, request, destination)| Restore {
        point,
        request,
        destination,
    })
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let event = prop_oneof![
        16 => ((0..RECORDS), puts()).prop_map(|(record, put)| Event::Put(record, put)),
        5 => (0..RECORDS).prop_map(Event::Delete),
        8 => (1..6_000_i64).prop_map(Event::Wait),
        1 => (-90_000..90_000_i64).prop_map(Event::Step),
        2 => (-900..900_i64).prop_map(Event::Step),
        4 => any_runs().prop_map(Event::Full),
        14 => (any_runs(), any::<bool>()).prop_map(|(run, cumulative)| Event::Incremental(run, cumulative)),
        1 => (0..4_usize).prop_map(|full| Event::Retain(Policy::counts(full, None), None)),
        1 => any::<usize>().prop_map(Event::Break),
    ];
    let step = prop_oneof![
        6 => event.prop_map(Step::World),
        1 => restores().prop_map(Step::Restore),
    ];
    prop::collection::vec(step, 1..90)
}

fn sequences() -> impl Strategy<Value = Sequence> {
    let nodes = (-3_000..3_000_i64, -3_000..3_000_i64);
    let listed = prop::sample::subsequence(vec![BINS[0].to_vec(), BINS[1].to_vec()], 1..3);
    let scope = prop_oneof![3 => Just(None), 1 => listed.prop_map(|bins| Some(bins.into_iter().collect()))];
    // A world begins with some records and a full; most restores then have a chain.
    let begun = (prop::collection::vec(puts(), RECORDS), any_runs()).prop_map(|(puts, run)| {
        let full = Run { fails: false, retry_after_ms: None, ..run };
        let puts = puts.into_iter().enumerate().map(|(record, put)| Event::Put(record, put));
        let events = puts.chain([Event::Full(full), Event::Wait(full.scan_ms)]);
        events.map(Step::World).collect::<Vec<_>>()
    });
    let ends = prop::collection::vec(restores().prop_map(Step::Restore), 2..5);
    (nodes, scope, begun, steps(), ends).prop_map(|(nodes, scope, begun, steps, ends)| {
        // What still runs comes to its end before the last restores.
        let quiet = Step::World(Event::Wait(40_000));
        Sequence { nodes, scope, steps: begun.into_iter().chain(steps).chain([quiet]).chain(ends).collect() }
    })
}

fn simulate(sequence: &Sequence, tally: &mut Tally) -> Result<(), String> {
    let mut world = World::new([sequence.nodes.0, sequence.nodes.1]);
    world.scope.clone_from(&sequence.scope);
    for step in &sequence.steps {
        match step {
            Step::World(event) => world.play(*event),
            Step::Restore(restore) => check_restore(&world, *restore, tally)?,
        }
    }
    tally.add("sequences", 1);
    tally.add("runs begun", world.runs);
    tally.add("backups committed", world.commits);
    Ok(())
}

/// The instants at which a restore point may change, and one between each two.
fn points(world: &World) -> Vec<UnixMillis> {
    let mut points: Vec<i64> =
        world.members.iter().flat_map(|one| [one.created.0, one.finished.0]).chain([world.now().0]).collect();
    points.sort_unstable();
    let between: Vec<i64> = points.array_windows().map(|[one, two]| one.midpoint(*two)).collect();
    points.into_iter().chain(between).map(UnixMillis).collect()
}

fn check_restore(world: &World, restore: Restore, tally: &mut Tally) -> Result<(), String> {
    let points = points(world);
    let at = points[restore.point % points.len()];
    let usable_full = world.members.iter().any(|one| {
        one.is_usable() && one.backup_type == BackupType::Full && one.created <= at && one.finished <= at
    });
    let chain = match chain_at(&world.members, at, false) {
        Ok(chain) => chain,
        Err(ChainError::NoFull { .. }) if usable_full => return Err(format!("a full is there at {at}")),
        Err(ChainError::NoFull { .. }) => {
            tally.add("restores refused: no full by then", 1);
            return Ok(());
        }
        Err(ChainError::Gap { .. }) => {
            tally.add("restores refused: a hole in the chain", 1);
            return Ok(());
        }
    };
    check_newest(world, &chain, at)?;
    let empty = restore.destination.iter().all(|generation| *generation == 0);
    let request = Request {
        destination_empty: empty,
        unique: restore.request & 1 != 0,
        disable_reordering: restore.request & 2 != 0,
        replace: restore.request & 4 != 0,
        no_generation: restore.request & 8 != 0,
    };
    // Refused by the API: `unique` with one that contradicts it.
    let Ok(plan) = plan_order(request) else { return Ok(()) };
    let before = destination(&restore);
    let mut after = before.clone();
    let versions = versions(world, &chain);
    reference::apply(&versions, plan, &mut after);
    tally.restore(row(plan, empty), (RECORDS + 1) as u64);
    for record in 0..RECORDS {
        let scans: Vec<_> = chain.members.iter().map(|place| world.contents[*place].scans[record]).collect();
        let after = after.get(&[record as u8; 20]).map(|(_, bins)| bins);
        let case = Case {
            history: &world.history,
            record,
            scans: &scans,
            plan,
            scope: world.scope.as_ref(),
            with_bin: None,
            before: before.get(&[record as u8; 20]),
            after,
            fates: &|version| vec![fate(world, version)],
            same: &|expected, actual| expected == actual,
        };
        tally.record(case.judge()).map_err(|reason| format!("restored to {at}: {reason}"))?;
    }
    // A record that is in no backup.
    let strange = [RECORDS as u8; 20];
    if before.get(&strange) == after.get(&strange) {
        Ok(())
    } else {
        Err("a record of the destination that no backup has was changed".to_owned())
    }
}

/// Nothing that counts is newer than the last member (rules.md 3.4).
fn check_newest(world: &World, chain: &Chain, at: UnixMillis) -> Result<(), String> {
    let base = &world.members[chain.members[0]];
    let last = &world.members[chain.members[chain.members.len() - 1]];
    let newer = world.members.iter().find(|one| {
        let follows = one.backup_type == BackupType::Full || one.created >= base.finished;
        one.is_usable() && follows && one.created <= at && one.finished <= at && one.created > last.created
    });
    match newer {
        None => Ok(()),
        Some(newer) => Err(format!("the chain at {at} ends before {}", newer.created)),
    }
}

fn fate(world: &World, version: &Version) -> Fate {
    if version.gone_at.is_some_and(|gone_at| gone_at <= world.time) { Fate::Expired } else { Fate::Write }
}

fn destination(restore: &Restore) -> Destination {
    let filled = restore.destination.iter().enumerate().filter(|(_, generation)| **generation > 0);
    filled
        .map(|(record, generation)| {
            let bins = Bins::from([(b"b".to_vec(), b"theirs".to_vec()), (b"z".to_vec(), b"theirs".to_vec())]);
            ([record as u8; 20], (*generation, bins))
        })
        .collect()
}

/// What the members of a chain really have.
fn versions(world: &World, chain: &Chain) -> Vec<Vec<reference::Version>> {
    let member = |place: &usize| {
        let found = world.contents[*place].found.iter().enumerate();
        let found = found.filter_map(|(record, found)| Some((record, (*found)?)));
        found
            .filter_map(|(record, found)| {
                let version = world.history.events(record)[found].version.as_ref()?;
                Some(reference::Version {
                    digest: [record as u8; 20],
                    generation: version.generation,
                    bins: project(&version.bins, world.scope.as_ref())?,
                    fate: fate(world, version),
                })
            })
            .collect()
    };
    chain.members.iter().map(member).collect()
}

fn drive(config: ProptestConfig) {
    let tally = RefCell::new(Tally::default());
    let ended = TestRunner::new(config).run(&sequences(), |sequence| {
        let mut seen = Tally::default();
        simulate(&sequence, &mut seen).map_err(TestCaseError::fail)?;
        tally.borrow_mut().join(&seen);
        Ok(())
    });
    let tally = tally.into_inner();
    tally.print("oracle, pure model");
    if let Err(error) = ended {
        panic!("{error}");
    }
    // A generator that stopped meeting what it is for would pass everything.
    assert_eq!(tally.rows(), 10, "rows of rules.md 4.3");
    for limit in
        [Limit::DeleteNotSeen, Limit::ExpiryNotSeen, Limit::SealedHole, Limit::OldStamp, Limit::LeftScope]
    {
        assert!(tally.limit(limit) > 0, "{limit:?} was never met");
    }
    assert!(tally.count("expired versions that hid older ones") > 0);
    assert!(tally.count("records of the destination that had to stay") > 0);
}

/// rules.md 3.3 to 3.5, 4.3, 4.5, 9: 10,000 sequences, the same in every run.
#[test]
fn every_restored_record_is_a_version_of_its_time_or_a_known_limit() {
    let config = ProptestConfig { rng_seed: RngSeed::Fixed(1), cases: 10_000, ..ProptestConfig::default() };
    drive(config);
}

#[test]
#[ignore = "long: run by the script with --all"]
fn every_restored_record_is_a_version_of_its_time_in_many_worlds() {
    drive(ProptestConfig::with_cases(100_000));
}
