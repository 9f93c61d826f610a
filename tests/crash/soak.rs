//! The long run: a routine every 5 s, writes beside it, a restore and a comparison every minute.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::kinds::restore_body;
use crate::place::{NEVER, Place, ROUTINE};
use crate::process::Process;
use crate::verdict::{Expect, judge};
use crate::world::{SOURCE, TARGET, World};

/// What the process holds.
#[derive(Debug, Clone, Copy)]
struct Sample {
    rss_kib: u64,
    descriptors: u64,
    threads: u64,
}

fn sample(pid: u32) -> Sample {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let number = |name: &str| {
        let line = status.lines().find(|line| line.starts_with(name)).unwrap();
        line.split_whitespace().nth(1).unwrap().parse().unwrap()
    };
    let descriptors = std::fs::read_dir(format!("/proc/{pid}/fd")).unwrap().count() as u64;
    Sample { rss_kib: number("VmRSS:"), descriptors, threads: number("Threads:") }
}

fn mean(samples: &[Sample], of: impl Fn(&Sample) -> u64) -> u64 {
    samples.iter().map(of).sum::<u64>() / samples.len().max(1) as u64
}

/// Minutes of the soak: `HOLDFAST_SOAK_MINUTES`, 30 when missing.
fn minutes() -> u64 {
    std::env::var("HOLDFAST_SOAK_MINUTES").ok().and_then(|text| text.parse().ok()).unwrap_or(30)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "half an hour: scripts/test --all"]
async fn memory_descriptors_and_threads_stay_flat() {
    let world = World::start(500).await;
    let mut place = Place::new(&world, &[SOURCE]);
    // A full every minute, an incremental every 5 s; retention, so that there is not more to list in the end than at first.
    place.set("backup-policies", "quick", "retention", json!({"full": 2, "incremental": 1}));
    place.set("backup-routines", ROUTINE, "interval-cron", json!("0 * * * * ?"));
    place.set("backup-routines", ROUTINE, "incr-interval-cron", json!("2/5 * * * * ?"));
    let service = Process::start(&place, None).await.unwrap();
    let started = Instant::now();
    let length = Duration::from_mins(minutes());
    let (mut samples, mut restores, mut version) = (Vec::new(), 0, 1);
    let mut next_restore = Duration::from_mins(1);
    while started.elapsed() < length {
        version += 1;
        world.write(SOURCE, version % 500, 50, version).await;
        if started.elapsed() >= next_restore {
            next_restore += Duration::from_mins(1);
            compare(&world, &service).await;
            restores += 1;
        }
        samples.push(sample(service.id()));
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    let ended = sample(service.id());
    let jobs = service.get("/v1/jobs?limit=1000").await;
    let bad = jobs["jobs"].as_array().unwrap().iter().filter(|job| job["status"] == "failed").count();
    service.stop(&place).await;
    place.set("backup-routines", ROUTINE, "interval-cron", json!(NEVER));
    place.set("backup-routines", ROUTINE, "incr-interval-cron", json!(NEVER));
    let service = Process::start(&place, None).await.unwrap();
    // A retention that met pinned backups comes back a quarter of an hour later.
    while !service.open_jobs().await.unwrap().0.is_empty() {
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    let listed = service.listed().await;
    service.stop(&place).await;
    let counts = judge(&place, &listed, Expect { may_delete: true, ..Expect::default() }).await;
    let third = samples.len() / 3;
    let (first, last) = (&samples[..third], &samples[samples.len() - third..]);
    let row = |of: fn(&Sample) -> u64| (mean(first, of), mean(last, of));
    let (rss, descriptors, threads) =
        (row(|one| one.rss_kib), row(|one| one.descriptors), row(|one| one.threads));
    println!(
        "FIGURE | soak | {} min, {} backups listed, {restores} restores compared, {bad} of the last 1,000 jobs failed; first third → last third: RSS {} → {} KiB, descriptors {} → {}, threads {} → {}; at the end {ended:?} | {counts} |",
        minutes(),
        listed.len(),
        rss.0,
        rss.1,
        descriptors.0,
        descriptors.1,
        threads.0,
        threads.1
    );
    assert_eq!(bad, 0);
    assert!(restores > 0);
    // Generous: allocators keep what they had, thread pools breathe.
    assert!(rss.1 < rss.0 + rss.0 / 4 + 8 * 1024, "memory grows: {rss:?}");
    assert!(descriptors.1 <= descriptors.0 + 8, "descriptors leak: {descriptors:?}");
    assert!(threads.1 <= threads.0 + 8, "threads leak: {threads:?}");
    counts.expect_zero();
}

/// A restore to a point that nobody writes behind, compared record by record.
async fn compare(world: &World, service: &Process) {
    let path = format!("/v1/backups/incremental/{ROUTINE}");
    let job = loop {
        // A scheduled one may be in the way.
        let id = service.trigger(&path, &Value::Null).await.unwrap().unwrap();
        let job = service.wait_job(id, crate::process::PATIENCE).await.unwrap();
        if job["status"] == "succeeded" {
            break job;
        }
        assert_eq!(job["status"], "skipped", "{job:#}");
        tokio::time::sleep(Duration::from_millis(200)).await;
    };
    world.empty(TARGET).await;
    service.succeed("/v1/restore/timestamp", &restore_body(&job)).await;
    let differences = world.differences().await;
    assert!(differences.is_empty(), "{differences:?}");
}
