//! The byte budget (rules.md 8.1): what does not fit goes in turn, waits, or fails; a restore always starts.

use holdfast::memory::RestoreMemory;
use holdfast::sample::{SampleRecord, mixed};
use serde_json::{Value, json};

use crate::node::{Node, SOURCE, TARGET};
use crate::service::{Bench, ROUTINE, millis, point, warnings};

const MIB: u64 = 1 << 20;

/// A budget with so much for backups, beside what is kept for a restore.
fn for_backups(mib: u64) -> Value {
    json!(RestoreMemory::LEAST + mib * MIB)
}

fn few() -> Vec<SampleRecord> {
    (0..500).map(|key| mixed("a", key, 1)).collect()
}

/// A gauge of the byte budget.
async fn gauge(bench: &Bench, state: &str) -> u64 {
    let name = format!("aerospike_backup_service_memory_budget_bytes{{state=\"{state}\"}} ");
    let text = bench.text("/metrics").await;
    text.lines().find_map(|line| line.strip_prefix(&name)).unwrap().parse().unwrap()
}

/// Whether the second began when the first had ended.
fn in_turn(first: &Value, second: &Value) -> bool {
    millis(first, "finished") <= millis(second, "started")
}

/// The nodes of these tests store records of up to 8 MiB, so that a namespace needs 16 MiB.
#[tokio::test(flavor = "multi_thread")]
async fn what_has_no_room_side_by_side_goes_in_turn() {
    let bench = Bench::with(|config| {
        config["service"]["memory-budget"] = for_backups(20);
        let routines = &mut config["backup-routines"];
        routines[ROUTINE]["namespaces"] = json!([SOURCE, TARGET]);
        routines["other"] = routines[ROUTINE].clone();
    })
    .await;
    bench.write(&few()).await;
    bench.node.write(TARGET, &few()).await;
    assert_eq!(gauge(&bench, "total").await, RestoreMemory::LEAST + 20 * MIB);
    assert_eq!(gauge(&bench, "kept").await, RestoreMemory::LEAST);
    let (first, second) = (bench.trigger("full", ROUTINE).await, bench.trigger("full", "other").await);
    let (first, second) = (bench.wait_job(first).await, bench.wait_job(second).await);
    for job in [&first, &second] {
        assert_eq!(job["status"], "succeeded", "{job:#}");
        let told = warnings(job);
        assert!(
            told.contains("\"memory-budget\" \"with 20 MiB of the memory budget: 1 of 2 namespaces"),
            "{told}"
        );
        let (one, two) = (&job["attempts"][SOURCE][0], &job["attempts"][TARGET][0]);
        assert_eq!((&one["record-count"], &two["record-count"]), (&json!(500), &json!(500)));
        assert!(in_turn(one, two) || in_turn(two, one), "{job:#}");
    }
    assert!(in_turn(&first, &second), "{first:#} {second:#}");
    assert_eq!(gauge(&bench, "held").await, 0);
}

/// With the default budget nothing is lowered, and both namespaces have room.
#[tokio::test(flavor = "multi_thread")]
async fn with_the_default_nothing_is_lowered() {
    let bench = Bench::with(|config| {
        config["backup-routines"][ROUTINE]["namespaces"] = json!([SOURCE, TARGET]);
        // Two namespaces with one scan and one file each, of records of up to 8 MiB.
        config["backup-policies"]["quick"]["parallel"] = json!(2);
    })
    .await;
    bench.write(&few()).await;
    let job = bench.back_up("full").await;
    assert!(!warnings(&job).contains("memory-budget"), "{job:#}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restore_starts_while_a_backup_holds_all_the_rest() {
    let bench = Bench::with(|config| {
        config["service"]["memory-budget"] = for_backups(16);
        config["backup-policies"]["slow"] = json!({"bandwidth": 1, "parallel": 1, "clock-skew-margin": 1});
        let routines = &mut config["backup-routines"];
        routines["slow"] = routines[ROUTINE].clone();
        routines["slow"]["backup-policy"] = json!("slow");
    })
    .await;
    bench.write(&few()).await;
    let at = point(&bench.back_up("full").await);
    let source = bench.node.snapshot(SOURCE).await;
    // 40 MiB at 1 MiB a second: it runs until it is canceled.
    let payload = vec![7_u8; 600 << 10];
    let blobs: Vec<_> =
        (0..50).map(|key| SampleRecord::new("blobs", key).bin("payload", 4, &payload)).collect();
    bench.write(&blobs).await;
    let slow = bench.trigger("full", "slow").await;
    bench.wait_until(slow, |job| job["status"] == "running").await;
    assert_eq!(gauge(&bench, "held").await, 16 * MIB);
    let waits = bench.trigger("full", ROUTINE).await;
    let verification = bench.trigger("verify", ROUTINE).await;
    bench.restore_to(at, json!({})).await.ok();
    assert_eq!(bench.differences(&source).await, Vec::<String>::new());
    assert_eq!(bench.job(slow).await["status"], "running");
    for id in [waits, verification] {
        assert_eq!(bench.job(id).await["status"], "queued");
    }
    assert_eq!(gauge(&bench, "in-flight").await, 0);
    let (status, body) = bench.post(&format!("/v1/jobs/{slow}/cancel"), &json!({})).await;
    assert!(status < 300, "{status} {body}");
    for (id, end) in [(slow, "canceled"), (waits, "succeeded"), (verification, "succeeded")] {
        assert_eq!(bench.wait_job(id).await["status"], end);
    }
}

/// A job that waited while the budget was made smaller: nothing it waits for would ever come.
#[tokio::test(flavor = "multi_thread")]
async fn a_job_that_cannot_fit_any_more_fails_by_name() {
    let mut bench = Bench::on(Node::sandbox().await, |_| {}).await;
    bench.write(&few()).await;
    let id = bench.trigger_path(&format!("/v1/backups/full/{ROUTINE}?delay=3000")).await;
    bench.stop_service().await;
    bench.config["service"]["memory-budget"] = for_backups(15);
    let routine = bench.config["backup-routines"].take();
    bench.config["backup-routines"] = json!({});
    bench.start_service().await;
    let job = bench.wait_job(id).await;
    assert_eq!(
        (&job["status"], &job["error"]["code"]),
        (&json!("failed"), &json!("memory-budget")),
        "{job:#}"
    );
    assert!(job["error"]["message"].as_str().unwrap().contains("needs 16 MiB"), "{job:#}");
    // Such a routine is refused.
    bench.config["backup-routines"] = routine;
    let refused = holdfast::config::Config::parse(
        &bench.config.to_string(),
        "test",
        holdfast::model::UnixMillis::from_secs(1_800_000_000),
    );
    let refused = refused.unwrap_err().to_string();
    assert!(refused.contains("does not fit service.memory-budget of 55 MiB"), "{refused}");
}
