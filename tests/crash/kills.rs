//! kill -9 at random moments during scheduled backups (practices.md C2, 1).

use std::time::{Duration, Instant};

use rand::Rng;
use serde_json::{Value, json};
use sqlx::Row;

use crate::kinds::restore_body;
use crate::place::{Place, ROUTINE};
use crate::process::Process;
use crate::verdict::{Counts, Expect, judge};
use crate::world::{SECOND, SOURCE, World};

/// Kills on one store; then a fresh one, so that listing stays as quick as in a store that is pruned.
const KILLS: usize = 50;

/// What a row without an end may take after the last start.
const LIMIT: Duration = Duration::from_mins(1);

#[derive(Default)]
struct Round {
    counts: Counts,
    slots: i64,
    ends: Vec<String>,
    slowest: Duration,
}

async fn round(rng: &mut impl Rng, kills: usize) -> Round {
    let world = World::start(40).await;
    let mut place = Place::new(&world, &[SOURCE, SECOND]);
    place.set("backup-routines", ROUTINE, "interval-cron", json!("0/2 * * * * ?"));
    place.set("backup-routines", ROUTINE, "incr-interval-cron", json!("1/2 * * * * ?"));
    place.set("backup-routines", ROUTINE, "catch-up-window", json!(60_000));
    let mut round = Round::default();
    for kill in 0..kills {
        let mut service = Process::start(&place, None).await.unwrap();
        world.write(SOURCE, 0, 5, kill as i64 + 2).await;
        tokio::time::sleep(Duration::from_millis(rng.random_range(0..1500))).await;
        service.kill();
        let integrity = place.integrity().await;
        if integrity != "ok" {
            round.counts.store_damaged += 1;
            round.counts.notes.push(format!("after kill {kill}: {integrity}"));
        }
    }
    let service = Process::start(&place, None).await.unwrap();
    let started = Instant::now();
    // The schedule goes on: what was there before the start is what must end.
    let newest = newest(&place).await;
    loop {
        let (open, _) = service.open_jobs().await.unwrap();
        if open.iter().all(|id| *id > newest) {
            break;
        }
        assert!(started.elapsed() < LIMIT, "jobs without an end: {open:?}\n{}", place.log_tail());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    round.slowest = started.elapsed();
    service.stop(&place).await;
    // At rest: what the stop interrupted is run again, then nothing more fires.
    place.set("backup-routines", ROUTINE, "interval-cron", json!(crate::place::NEVER));
    place.set("backup-routines", ROUTINE, "incr-interval-cron", json!(crate::place::NEVER));
    let service = Process::start(&place, None).await.unwrap();
    while !service.open_jobs().await.unwrap().0.is_empty() {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let job = service.back_up("incremental").await;
    service.succeed("/v1/restore/timestamp", &body_of(&job)).await;
    let differences = world.differences().await;
    assert!(differences.is_empty(), "{differences:?}");
    let listed = service.listed().await;
    service.stop(&place).await;
    round.counts += judge(&place, &listed, Expect::default()).await;
    gaps(&place, &mut round).await;
    round
}

fn body_of(job: &Value) -> Value {
    let mut body = restore_body(job);
    body["namespaces"] = json!([SOURCE]);
    body
}

async fn newest(place: &Place) -> i64 {
    let (_dir, pool) = place.store_copy().await;
    let newest: i64 =
        sqlx::query_scalar("SELECT ifnull(max(id), 0) FROM jobs").fetch_one(&pool).await.unwrap();
    pool.close().await;
    newest
}

/// Every instant of the schedules, from the first slot to the last, is in exactly one row (rules.md 1.1, 1.3).
async fn gaps(place: &Place, round: &mut Round) {
    let (_dir, pool) = place.store_copy().await;
    let sums =
        "SELECT type, sum(count), min(first_s), max(last_s) FROM slots WHERE state <> 'void' GROUP BY type";
    for row in sqlx::query(sums).fetch_all(&pool).await.unwrap() {
        let (of, count, first, last): (String, i64, i64, i64) =
            (row.get(0), row.get(1), row.get(2), row.get(3));
        let due = (last - first) / 2 + 1;
        round.slots += due;
        if count < due {
            round.counts.slots_lost += (due - count) as usize;
        } else {
            round.counts.slots_doubled += (count - due) as usize;
        }
        if count != due {
            round.counts.notes.push(format!("{of}: {due} slots were due, {count} are in rows"));
        }
    }
    let ends = "SELECT status || ifnull(': ' || ifnull(reason_code, error_code), ''), count(*) FROM jobs GROUP BY 1 ORDER BY 2 DESC";
    for row in sqlx::query(ends).fetch_all(&pool).await.unwrap() {
        round.ends.push(format!("{} {}", row.get::<i64, _>(1), row.get::<String, _>(0)));
    }
    pool.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn scheduled_backups_survive_kills_at_random_moments() {
    let mut rng = crate::seeded("kills");
    let rounds = if crate::all() { 20 } else { 1 };
    let (mut counts, mut slots, mut slowest) = (Counts::default(), 0, Duration::ZERO);
    for _ in 0..rounds {
        let round = round(&mut rng, KILLS).await;
        println!("  {} slots; {}", round.slots, round.ends.join(", "));
        counts += round.counts;
        slots += round.slots;
        slowest = slowest.max(round.slowest);
    }
    println!(
        "FIGURE | kill -9 at random moments of scheduled backups | {} kills, {slots} slots, slowest to settle {} ms | {counts} |",
        rounds * KILLS,
        slowest.as_millis()
    );
    counts.expect_zero();
}
