//! Cancel and SIGTERM at random moments, also twice, also while committing (rules.md 2.8, 6.4).

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use rand::Rng;
use serde_json::{Value, json};

use crate::kinds::{KINDS, Kind, Ready, What};
use crate::process::{Fault, Process};
use crate::verdict::{Counts, judge};
use crate::world::{SOURCE, World};

/// Finds a hang; the slowest is printed.
const HANG: Duration = Duration::from_secs(30);

const SHARE: usize = 60;
const ALL: usize = 200;

#[derive(Debug, Default)]
struct Tally {
    ends: BTreeMap<String, usize>,
    slowest: Duration,
    counts: Counts,
    moments: usize,
}

impl Tally {
    fn add(&mut self, end: String, took: Duration) {
        *self.ends.entry(end).or_default() += 1;
        self.slowest = self.slowest.max(took);
        self.moments += 1;
    }

    fn print(&self, what: &str) {
        let ends: Vec<String> = self.ends.iter().map(|(end, count)| format!("{count} {end}")).collect();
        println!(
            "FIGURE | {what} | {} moments: {}; slowest {} ms | {} |",
            self.moments,
            ends.join(", "),
            self.slowest.as_millis(),
            self.counts
        );
    }
}

/// Every call waits a little, so that a random moment falls anywhere; or only the commit does, and long.
fn slow(while_committing: bool) -> Fault {
    Fault {
        action: "slow",
        nth: 1,
        always: true,
        seams: "store,effects",
        place: if while_committing { "metadata.yaml" } else { "" },
        ms: if while_committing { 300 } else { 4 },
        ..Fault::default()
    }
}

/// How long the job takes when nobody ends it.
async fn undisturbed(ready: &Ready) -> Duration {
    ready.place.reset();
    let service = Process::start(&ready.place, Some(&slow(false))).await.unwrap();
    let started = Instant::now();
    service.succeed(&ready.path, &ready.body).await;
    let took = started.elapsed();
    service.stop(&ready.place).await;
    took
}

fn moment(rng: &mut impl Rng, took: Duration) -> Duration {
    Duration::from_secs_f64(took.as_secs_f64() * rng.random_range(0.0..0.9))
}

async fn ready(kind: Kind) -> (World, Ready) {
    let world = World::start(200).await;
    let ready = Kind { by_slot: false, ..kind }.prepare(&world).await;
    (world, ready)
}

fn kinds() -> impl Iterator<Item = Kind> {
    let all = [What::Full, What::Incremental, What::Restore];
    KINDS
        .iter()
        .copied()
        .filter(move |kind| all.contains(&kind.what) && kind.namespaces.len() == 1 && !kind.crashed)
}

/// Cancels `count` jobs of a kind on one service.
async fn cancel(rng: &mut impl Rng, kind: Kind, count: usize, tally: &mut Tally) {
    let (world, ready) = ready(kind).await;
    let took = undisturbed(&ready).await;
    let commits = kind.what != What::Restore;
    for while_committing in [false, true] {
        if while_committing && !commits {
            continue;
        }
        let count = match (commits, while_committing) {
            (false, _) => count,
            (true, true) => count / 4,
            (true, false) => count - count / 4,
        };
        ready.place.reset();
        let mut service = Process::start(&ready.place, Some(&slow(while_committing))).await.unwrap();
        for turn in 0..count {
            let before = commits_begun(&ready);
            // An incremental without changes commits nothing.
            world.write(SOURCE, 0, 50, turn as i64 + 10).await;
            let id = service.trigger(&ready.path, &ready.body).await.unwrap().unwrap();
            if while_committing {
                wait_for_commit(&ready, before).await;
            } else {
                tokio::time::sleep(moment(rng, took)).await;
            }
            let asked = Instant::now();
            let path = format!("/v1/jobs/{id}/cancel");
            service.post(&path, &Value::Null).await.unwrap();
            if turn % 2 == 1 {
                service.post(&path, &Value::Null).await.unwrap();
            }
            let job = service.wait_job(id, HANG).await;
            let job = job.unwrap_or_else(|| panic!("it hangs: {}", ready.place.log_tail()));
            let status = job["status"].as_str().unwrap();
            if !["canceled", "succeeded"].contains(&status) {
                tally.counts.jobs_without_end += 1;
                tally.counts.notes.push(format!("a cancel ended it {status}: {job:#}"));
            }
            tally.add(status.to_owned(), asked.elapsed());
        }
        assert!(service.ended().is_none());
        let listed = service.listed().await;
        service.stop(&ready.place).await;
        tally.counts += judge(&ready.place, &listed, ready.kind.expect()).await;
    }
}

fn commits_begun(ready: &Ready) -> usize {
    ready
        .place
        .calls()
        .iter()
        .filter(|call| call.contains("storage-put") && call.ends_with("metadata.yaml"))
        .count()
}

/// Waits until `metadata.yaml` of one more backup is being written.
async fn wait_for_commit(ready: &Ready, before: usize) {
    let until = Instant::now() + HANG;
    while commits_begun(ready) <= before {
        assert!(Instant::now() < until, "nothing is committed: {}", ready.place.log_tail());
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// Stops the service `count` times while a job of a kind runs.
async fn terminate(rng: &mut impl Rng, kind: Kind, count: usize, tally: &mut Tally) {
    let (_world, mut ready) = ready(kind).await;
    let took = undisturbed(&ready).await;
    for turn in 0..count {
        let while_committing = kind.what != What::Restore && turn % 4 == 3;
        let twice = turn % 2 == 1;
        ready.place.reset();
        // With a grace jobs may come to their end, without one they are cut off.
        ready.place.config["service"]["shutdown-grace"] = json!(if turn % 3 == 0 { 5000 } else { 0 });
        ready.place.write_config();
        let mut service = Process::start(&ready.place, Some(&slow(while_committing))).await.unwrap();
        let id = service.trigger(&ready.path, &ready.body).await.unwrap().unwrap();
        if while_committing {
            wait_for_commit(&ready, 0).await;
        } else {
            tokio::time::sleep(moment(rng, took)).await;
        }
        let asked = Instant::now();
        service.signal("TERM");
        if twice {
            tokio::time::sleep(Duration::from_millis(rng.random_range(0..50))).await;
            if service.ended().is_none() {
                service.signal("TERM");
            }
        }
        let ended =
            service.wait(HANG).await.unwrap_or_else(|| panic!("it hangs: {}", ready.place.log_tail()));
        let took = asked.elapsed();
        let code = ended.code();
        assert!(code == Some(0) || (twice && code == Some(130)), "{ended}: {}", ready.place.log_tail());
        let service = Process::start(&ready.place, None).await.unwrap();
        while !service.open_jobs().await.unwrap().0.is_empty() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        let job = service.job(id).await;
        let end = format!(
            "{} {}",
            job["status"].as_str().unwrap(),
            job["reason-code"].as_str().unwrap_or_default()
        );
        if !["succeeded", "interrupted"].contains(&job["status"].as_str().unwrap()) {
            tally.counts.jobs_without_end += 1;
            tally.counts.notes.push(format!("a stop ended it {end}: {job:#}"));
        }
        let listed = service.listed().await;
        service.stop(&ready.place).await;
        tally.counts += judge(&ready.place, &listed, ready.kind.expect()).await;
        tally.add(end.trim().to_owned(), took);
    }
}

fn share(of: usize) -> usize {
    ((if crate::all() { ALL } else { SHARE }) * of).div_ceil(SHARE)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cancel_at_any_moment_ends_the_job() {
    let mut rng = crate::seeded("cancel");
    let mut tally = Tally::default();
    for kind in kinds() {
        cancel(&mut rng, kind, share(14), &mut tally).await;
    }
    tally.print("cancel at random moments, half of them twice, a quarter while committing");
    tally.counts.expect_zero();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sigterm_at_any_moment_ends_the_process() {
    let mut rng = crate::seeded("sigterm");
    let mut tally = Tally::default();
    for kind in kinds() {
        terminate(&mut rng, kind, share(6), &mut tally).await;
    }
    tally.print("SIGTERM at random moments, half of them twice, a quarter while committing");
    tally.counts.expect_zero();
}
