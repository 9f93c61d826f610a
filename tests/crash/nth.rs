//! Crash at the Nth call: N = 1, 2, 3… until the job completes (rules.md 2.5, 6.1).

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use rand::Rng as _;

use crate::kinds::{KINDS, Kind, Ready, What};
use crate::place::Place;
use crate::process::{Fault, PATIENCE, Process};
use crate::verdict::{Counts, judge};
use crate::world::{TARGET, World};

/// Waits until every job has ended and there are more rows than the preparation left; `Err` when the process ended.
pub async fn settled(ready: &Ready, service: &mut Process) -> Result<(), std::process::ExitStatus> {
    let until = Instant::now() + PATIENCE;
    loop {
        if let Some(ended) = service.ended() {
            return Err(ended);
        }
        if let Some((open, rows)) = service.open_jobs().await
            && open.is_empty()
            && rows > ready.jobs_before
        {
            return Ok(());
        }
        assert!(Instant::now() < until, "{} does not settle: {}", ready.kind.name, ready.place.log_tail());
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// Starts over and runs the job under a fault. The counted calls; and whether the process died of it.
async fn run(ready: &Ready, world: &World, fault: &Fault) -> (Vec<String>, bool) {
    ready.place.reset();
    if ready.kind.what == What::Restore {
        world.empty(TARGET).await;
    }
    let Ok(mut service) = Process::start(&ready.place, Some(fault)).await else {
        return (ready.place.calls(), true);
    };
    if !ready.kind.by_slot {
        ready.place.arm();
        // No answer: it died of the trigger.
        let _ = service.post(&ready.path, &ready.body).await;
    }
    if settled(ready, &mut service).await.is_err() {
        return (ready.place.calls(), true);
    }
    let calls = ready.place.calls();
    // What follows a job in the background may still meet the fault.
    service.signal("TERM");
    let died = service.wait(PATIENCE).await.unwrap().code() != Some(0);
    (calls, died)
}

/// Starts again without faults, lets it settle, and counts what is wrong.
async fn recover(ready: &Ready, world: &World) -> Counts {
    let mut counts = Counts::default();
    let integrity = ready.place.integrity().await;
    if integrity != "ok" {
        counts.store_damaged += 1;
        counts.notes.push(format!("after the crash: integrity_check: {integrity}"));
    }
    let mut service = Process::start(&ready.place, None).await.unwrap();
    if ready.kind.by_slot {
        settled(ready, &mut service).await.unwrap();
    } else {
        // A trigger whose row was not committed left nothing to wait for.
        while !service.open_jobs().await.unwrap().0.is_empty() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
    if ready.kind.what == What::Restore {
        service.succeed(&ready.path, &ready.body).await;
        let differences = world.differences().await;
        assert!(differences.is_empty(), "{differences:?}");
    }
    let listed = service.listed().await;
    service.stop(&ready.place).await;
    counts += judge(&ready.place, &listed, ready.kind.expect()).await;
    counts
}

fn fault(ready: &Ready, how: How, nth: u64) -> Fault {
    Fault {
        action: if how.cut { "cut" } else { "abort" },
        nth,
        after: how.after,
        seams: how.seams,
        when_armed: !ready.kind.by_slot,
        ..Fault::default()
    }
}

/// How the process ends at the Nth call.
#[derive(Debug, Clone, Copy)]
struct How {
    name: &'static str,
    cut: bool,
    after: bool,
    seams: &'static str,
}

const HOW: &[How] = &[
    How { name: "abort before", cut: false, after: false, seams: "store,effects" },
    How { name: "abort after", cut: false, after: true, seams: "store,effects" },
    How { name: "power cut before", cut: true, after: false, seams: "store,disk" },
    How { name: "power cut after", cut: true, after: true, seams: "store,disk" },
];

#[derive(Debug, Default)]
struct Histogram {
    at: BTreeMap<String, usize>,
    crashes: usize,
    counts: Counts,
}

async fn crash_at(kind: Kind) {
    let mut rng = crate::seeded(&format!("crash {}", kind.name));
    let world = World::start(60).await;
    let ready = kind.prepare(&world).await;
    let mut found = Histogram::default();
    let mut totals = Vec::new();
    for how in HOW {
        let counting = Fault { action: "", ..fault(&ready, *how, 0) };
        let total = run(&ready, &world, &counting).await.0.len();
        totals.push(format!("{}: {total}", how.name));
        for next in 1.. {
            // After a call it is nearly as before the next one: a share will do, another one in each run.
            if how.after && !crate::all() && next <= total as u64 && !rng.random_ratio(1, 3) {
                continue;
            }
            let (calls, died) = run(&ready, &world, &fault(&ready, *how, next)).await;
            if !died {
                // No two runs have quite the same calls: one that has fewer is not the end of the count.
                println!("  {} {}: completes at N = {next}", kind.name, how.name);
                if next > total as u64 {
                    break;
                }
                continue;
            }
            let last = calls.last().cloned().unwrap_or_default();
            let counts = recover(&ready, &world).await;
            if !counts.all_zero() {
                println!(
                    "{} {} at N = {next}, {last}: {counts}\n{}",
                    kind.name,
                    how.name,
                    counts.notes.join("\n")
                );
            }
            found.count(&last, counts);
        }
    }
    println!(
        "FIGURE | crash at the Nth call, {} | {} crashes (calls: {}) | {} |",
        kind.name,
        found.crashes,
        totals.join(", "),
        found.counts
    );
    for (at, count) in &found.at {
        println!("  {count:>5} × {at}");
    }
    keep_for_a_look(&ready.place, &found.counts);
    found.counts.expect_zero();
}

impl Histogram {
    fn count(&mut self, call: &str, counts: Counts) {
        let name = call.split(' ').nth(1).unwrap_or("?");
        let place = call.split(' ').nth(2).unwrap_or("");
        let file = place.rsplit('/').next().unwrap_or("");
        let file = match file {
            "metadata.yaml" | "manifest.json" | "blocks.b3" => format!(" {file}"),
            _ if file.contains(".partial-") => " temporary file".to_owned(),
            _ if file.contains(".asb") => " data file".to_owned(),
            _ => String::new(),
        };
        *self.at.entry(format!("{name}{file}")).or_default() += 1;
        self.crashes += 1;
        self.counts += counts;
    }
}

/// The end of the log of a test that fails.
fn keep_for_a_look(place: &Place, counts: &Counts) {
    if !counts.all_zero() {
        println!("{}", place.log_tail());
    }
}

fn kind(name: &str) -> Kind {
    *KINDS.iter().find(|kind| kind.name == name).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_survives_a_crash_at_the_nth_call() {
    crash_at(kind("full")).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_of_two_namespaces_survives_a_crash_at_the_nth_call() {
    crash_at(kind("full of two")).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_recovery_survives_a_crash_at_the_nth_call() {
    crash_at(kind("recovery of a full")).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_resumed_full_survives_a_crash_at_the_nth_call() {
    crash_at(kind("resumed full")).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_incremental_survives_a_crash_at_the_nth_call() {
    crash_at(kind("incremental")).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restore_survives_a_crash_at_the_nth_call() {
    crash_at(kind("restore")).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn retention_survives_a_crash_at_the_nth_call() {
    crash_at(kind("retention")).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_verification_survives_a_crash_at_the_nth_call() {
    crash_at(kind("verify")).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_copy_survives_a_crash_at_the_nth_call() {
    crash_at(kind("copy")).await;
}
