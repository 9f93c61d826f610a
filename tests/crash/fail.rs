//! Fail the Nth call instead of ending the process: the job ends with a typed reason, and nothing half-made is seen.

use std::collections::BTreeMap;
use std::time::Duration;

use rand::seq::IndexedRandom;
use serde_json::Value;

use crate::kinds::{KINDS, Kind, Ready, What};
use crate::nth::settled;
use crate::process::{Fault, Process};
use crate::verdict::{Counts, is_typed, judge};
use crate::world::{TARGET, World};

/// Failures of each kind in the run of a change.
const SHARE: usize = 12;

/// How long calls fail that fail from the Nth on: then the disk is well again.
const FOR_GOOD: Duration = Duration::from_millis(1500);

#[derive(Debug, Clone, Copy)]
struct How {
    action: &'static str,
    after: bool,
    always: bool,
    seams: &'static str,
}

const HOW: &[How] = &[
    How { action: "fail", after: false, always: false, seams: "store,storage" },
    How { action: "fail", after: true, always: false, seams: "store,storage" },
    How { action: "full", after: false, always: false, seams: "disk" },
    How { action: "fail", after: false, always: true, seams: "storage" },
    How { action: "full", after: false, always: true, seams: "store,disk" },
];

/// Waits until no job is open.
async fn quiet(service: &Process) {
    while !service.open_jobs().await.expect("it lives").0.is_empty() {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// What fails while a job runs, and how that is switched.
pub struct Trouble<'t> {
    /// In the process.
    pub fault: Option<Fault>,
    /// It lasts, until it is switched off.
    pub always: bool,
    /// Calls count, and fail, only while it is on.
    pub switch: &'t (dyn Fn(bool) + Send + Sync),
    /// How many calls were counted.
    pub counted: &'t (dyn Fn() -> usize + Send + Sync),
}

/// Runs the job in trouble on a service that lives on; its end in words, the counted calls, and what is wrong.
pub async fn run(ready: &Ready, world: &World, trouble: &Trouble<'_>) -> (String, usize, Counts) {
    ready.place.reset();
    if ready.kind.what == What::Restore {
        world.empty(TARGET).await;
    }
    let mut service = Process::start(&ready.place, trouble.fault.as_ref()).await.unwrap();
    // Fails only from here on, and only until the job has ended.
    (trouble.switch)(true);
    let triggered = service.trigger(&ready.path, &ready.body).await.expect("it lives");
    let mut counts = Counts::default();
    let end = match triggered {
        Err(refused) => refused.split(' ').next().unwrap_or_default().to_owned(),
        Ok(id) => {
            if trouble.always {
                tokio::time::sleep(FOR_GOOD).await;
                (trouble.switch)(false);
            }
            settled(ready, &mut service).await.expect("it lives");
            end_of(&service.job(id).await, &mut counts)
        }
    };
    let calls = (trouble.counted)();
    (trouble.switch)(false);
    // Also where the trigger was answered with an error: its row may be there all the same.
    quiet(&service).await;
    service.succeed(&ready.path, &ready.body).await;
    if ready.kind.what == What::Restore {
        let differences = world.differences().await;
        assert!(differences.is_empty(), "{differences:?}");
    }
    quiet(&service).await;
    let listed = service.listed().await;
    service.stop(&ready.place).await;
    // What could not be removed while the disk failed is removed at the next start (rules.md 6.1).
    Process::start(&ready.place, None).await.unwrap().stop(&ready.place).await;
    let mut expect = ready.kind.expect();
    expect.slots_succeed = false;
    counts += judge(&ready.place, &listed, expect).await;
    (end, calls, counts)
}

/// Runs the job under a fault in its process.
pub async fn run_by(ready: &Ready, world: &World, fault: Fault) -> (String, usize, Counts) {
    let place = &ready.place;
    let trouble = Trouble {
        always: fault.always,
        fault: Some(fault),
        switch: &|on| if on { place.arm() } else { place.disarm() },
        counted: &|| place.calls().len(),
    };
    run(ready, world, &trouble).await
}

/// `succeeded`, or `failed` with a reason that the documentation knows. Storage that did not answer a commit leaves
/// `interrupted: commit-unknown` until it is asked again (rules.md 6.1).
fn end_of(job: &Value, counts: &mut Counts) -> String {
    let status = job["status"].as_str().unwrap();
    let code = job["error"]["code"].as_str().or(job["reason-code"].as_str()).unwrap_or_default();
    let is_end = match status {
        "succeeded" => true,
        "failed" => is_typed(code),
        "interrupted" => code == "commit-unknown",
        _ => false,
    };
    if !is_end {
        counts.jobs_without_end += 1;
        counts.notes.push(format!("the job ended {status} {code}: {job:#}"));
    }
    format!("{status} {code}").trim().to_owned()
}

async fn fail_at(kind: Kind) {
    let world = World::start(60).await;
    // By request: the end of that very job is looked at.
    let kind = Kind { by_slot: false, ..kind };
    let ready = kind.prepare(&world).await;
    fail_each_nth("fail the Nth call", &ready, HOW, async |how, nth| {
        let fault = Fault {
            action: if nth.is_some() { how.action } else { "" },
            nth: nth.unwrap_or(0) as u64,
            after: how.after,
            always: how.always && nth.is_some(),
            seams: how.seams,
            when_armed: true,
            ..Fault::default()
        };
        run_by(&ready, &world, fault).await
    })
    .await;
}

/// In each way first counts the calls, then lets the Nth of them fail: every N, or in the run of a change some by chance.
/// `run` runs the job, with no N only to count.
pub async fn fail_each_nth<H: Copy + std::fmt::Debug>(
    what: &str,
    ready: &Ready,
    ways: &[H],
    run: impl AsyncFn(H, Option<usize>) -> (String, usize, Counts),
) {
    let name = ready.kind.name;
    let mut rng = crate::seeded(&format!("{what}, {name}"));
    let (mut ends, mut counts, mut tried) = (BTreeMap::<String, usize>::new(), Counts::default(), 0);
    let mut totals = Vec::new();
    for how in ways {
        let (end, total, _) = run(*how, None).await;
        assert_eq!(end, "succeeded", "{}", ready.place.log_tail());
        totals.push(total.to_string());
        let every: Vec<usize> = (1..=total).collect();
        let share = SHARE.div_ceil(ways.len());
        let chosen: Vec<usize> =
            if crate::all() { every } else { every.choose_multiple(&mut rng, share).copied().collect() };
        for nth in chosen {
            let (end, _, found) = run(*how, Some(nth)).await;
            if !found.all_zero() {
                println!("{name} {how:?} at N = {nth}: {end}, {found}\n{}", found.notes.join("\n"));
                println!("{}", ready.place.log_tail());
            }
            *ends.entry(end).or_default() += 1;
            tried += 1;
            counts += found;
        }
    }
    let ends: Vec<String> = ends.iter().map(|(end, count)| format!("{count} {end}")).collect();
    println!(
        "FIGURE | {what}, {name} | {tried} failures (calls: {}): {} | {counts} |",
        totals.join(", "),
        ends.join(", ")
    );
    counts.expect_zero();
}

pub fn kind(name: &str) -> Kind {
    *KINDS.iter().find(|kind| kind.name == name).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_ends_with_a_reason_when_the_nth_call_fails() {
    fail_at(kind("full")).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_incremental_ends_with_a_reason_when_the_nth_call_fails() {
    fail_at(kind("incremental")).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restore_ends_with_a_reason_when_the_nth_call_fails() {
    fail_at(kind("restore")).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn retention_ends_with_a_reason_when_the_nth_call_fails() {
    fail_at(kind("retention")).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_verification_ends_with_a_reason_when_the_nth_call_fails() {
    fail_at(kind("verify")).await;
}
