//! kill -9 in the middle of a backup that resumes: it goes on from its finished files (rules.md 6.3).

use std::time::{Duration, Instant};

use holdfast::sandbox::{Fault as NodeFault, Harm, Moment};
use serde_json::json;
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{ConnectOptions as _, Connection as _};

use crate::kinds::restore_body;
use crate::place::{NEVER, Place, ROUTINE};
use crate::process::{PATIENCE, Process};
use crate::verdict::{Expect, judge};
use crate::world::{SOURCE, World};

/// Of 8 KiB: each file of 1 MiB holds about a hundred.
const RECORDS: i64 = 800;

/// The finished files that the service has noted, which is what a next try goes on from: a file is closed a moment
/// before its row is written, and one without a row is read again.
async fn noted(place: &Place) -> Vec<String> {
    let options = SqliteConnectOptions::new().filename(place.state().join("holdfast.db")).read_only(true);
    let mut store = options.connect().await.unwrap();
    let names = sqlx::query_scalar("SELECT name FROM checkpoint_files").fetch_all(&mut store).await.unwrap();
    store.close().await.unwrap();
    names
}

/// A service whose daily full was missed, with a policy that resumes; a slot that crashed is run again by itself.
async fn place(world: &World) -> Place {
    let mut place = Place::new(world, &[SOURCE]);
    for (key, value) in [("resume", json!(true)), ("file-limit", json!(1)), ("no-indexes", json!(true))] {
        place.set("backup-policies", "quick", key, value);
    }
    place.set("backup-routines", ROUTINE, "interval-cron", json!("0 0 0 * * ?"));
    place.set("backup-routines", ROUTINE, "incr-interval-cron", json!(NEVER));
    Process::start(&place, None).await.unwrap().stop(&place).await;
    place.miss_a_slot().await;
    place
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_that_was_killed_goes_on_from_its_finished_files() {
    let world = World::start(0).await;
    world.write_large(SOURCE, RECORDS).await;
    let place = place(&world).await;
    for (kill, records_sent) in [600, 200].into_iter().enumerate() {
        // Longer than the test: the node is busy and sends nothing.
        let busy = NodeFault::new(Moment::Record, Harm::Delay(Duration::from_mins(10)));
        let busy = world.sandbox.plant(busy.at(records_sent).for_ever());
        let mut service = Process::start(&place, None).await.unwrap();
        let until = Instant::now() + PATIENCE;
        // The second time a file of this process.
        let is_far = |files: &[String]| {
            if kill == 0 { files.len() >= 3 } else { files.iter().any(|name| name.contains("(1)")) }
        };
        while busy.struck() == 0 || !is_far(&noted(&place).await) {
            assert!(Instant::now() < until, "kill {kill}: {:?}\n{}", noted(&place).await, place.log_tail());
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        service.kill();
        world.sandbox.heal();
    }
    let service = Process::start(&place, None).await.unwrap();
    let jobs = service.get("/v1/jobs?limit=10").await;
    let id = jobs["jobs"].as_array().unwrap().iter().map(|job| job["id"].as_i64().unwrap()).max().unwrap();
    let job = service.wait_job(id, PATIENCE).await.unwrap();
    assert_eq!(job["status"], "succeeded", "{job:#}\n{}", place.log_tail());
    let detail = &job["result"]["namespaces"][0]["detail"];
    assert_eq!(detail["records"], RECORDS, "{job:#}");
    let resumed = detail["resumed-records"].as_u64().unwrap_or(0);
    assert!(resumed >= 300, "{job:#}");
    println!(
        "FIGURE | kill -9 twice in a full that resumes | {resumed} of {RECORDS} records not read again | |"
    );
    service.succeed("/v1/restore/timestamp", &restore_body(&job)).await;
    let differences = world.differences().await;
    assert!(differences.is_empty(), "{differences:?}");
    let listed = service.listed().await;
    service.stop(&place).await;
    judge(&place, &listed, Expect { slots_succeed: true, ..Expect::default() }).await.expect_zero();
}
