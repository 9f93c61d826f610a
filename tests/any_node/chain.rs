//! The chain: fulls, incrementals, and the restore of each point of it.

use holdfast::sample::{every_kind, mixed};
use serde_json::json;

use crate::node::{SOURCE, TARGET};
use crate::service::{Bench, ROUTINE, ends, is_asb, millis, point};

/// The keys of ABS's `metadata.yaml`, in its order; it refuses any other.
const ABS_KEYS: [&str; 11] = [
    "created",
    "finished",
    "from",
    "namespace",
    "record-count",
    "byte-count",
    "file-count",
    "secondary-index-count",
    "udf-count",
    "compression",
    "encryption",
];

/// rules.md 3.4, 4.3, 4.7
#[tokio::test(flavor = "multi_thread")]
async fn every_point_of_a_chain_comes_back_record_for_record() {
    let bench = Bench::start().await;
    let mut records = every_kind("kinds");
    records.extend((0..2000).map(|key| mixed("customers", key, 1)));
    records.extend((0..100).map(|key| mixed("sessions", key, 1).living_s(86_400)));
    bench.write(&records).await;
    let mut points = vec![(point(&bench.back_up("full").await), bench.node.snapshot(SOURCE).await)];
    for version in 2..=3 {
        // Changed: bins go and come; new: beyond the keys so far.
        let changed = (0..50).map(|key| mixed("customers", key * 7 * version, version));
        let mut changes: Vec<_> = changed.collect();
        changes.extend((0..20).map(|key| mixed("customers", version * 10_000 + key, version)));
        changes.extend((0..10).map(|key| mixed("sessions", key, version).living_s(3600).bin("more", 3, "x")));
        bench.write(&changes).await;
        let job = bench.back_up("incremental").await;
        points.push((point(&job), bench.node.snapshot(SOURCE).await));
    }
    assert_eq!(bench.list("full", ROUTINE).await.len(), 1);
    assert_eq!(bench.list("incremental", ROUTINE).await.len(), 2);
    for (members, (at, expected)) in (1..).zip(&points) {
        bench.node.empty(TARGET).await;
        let restored = bench.restore_to(*at, json!({})).await.ok();
        assert_eq!(bench.differences(expected).await, Vec::<String>::new(), "{members} members");
        let plan = &restored.job["result"]["namespaces"][0]["plan"];
        assert_eq!(plan["chain"].as_array().unwrap().len(), members);
        assert_eq!((&plan["order"], &plan["policy"]), (&json!("newest-first"), &json!("create-only")));
        assert_eq!(restored.records("inserted"), expected.0.len() as u64);
    }
    // Before the first full was complete there is nothing (rules.md 4.1).
    let early = millis(&bench.list("full", ROUTINE).await[0], "created");
    bench.restore_to(early, json!({})).await.refused("no-full-backup");
}

/// abs.md 3, rules.md 3.10
#[tokio::test(flavor = "multi_thread")]
async fn a_backup_lies_where_abs_puts_it_with_the_keys_of_abs_and_our_evidence_beside() {
    let bench = Bench::start().await;
    bench.write(&(0..200).map(|key| mixed("customers", key, 1)).collect::<Vec<_>>()).await;
    let full = bench.back_up("full").await;
    bench.write(&[mixed("customers", 1, 2)]).await;
    bench.back_up("incremental").await;
    for (backup_type, folder, records) in [("full", "backup", 200), ("incremental", "incremental", 1)] {
        let listed = &bench.list(backup_type, ROUTINE).await[0];
        let created = listed["timestamp"].as_i64().unwrap();
        let key = format!("{ROUTINE}/{folder}/{created}/data/{SOURCE}");
        assert_eq!((&listed["key"], &listed["record-count"]), (&json!(key), &json!(records)));
        let files = bench.files(&key);
        let (data, ours): (Vec<_>, Vec<_>) = files.iter().partition(|name| is_asb(name));
        assert_eq!(ours, ["blocks.b3", "manifest.json", "metadata.yaml"]);
        assert!(data.iter().all(|name| name.contains(&format!("_{SOURCE}_"))), "{data:?}");
        let yaml = std::fs::read_to_string(bench.path(&key).join("metadata.yaml")).unwrap();
        let keys: Vec<&str> = yaml.lines().map(|line| line.split(':').next().unwrap()).collect();
        assert_eq!(keys, ABS_KEYS, "{yaml}");
        let bytes: u64 = data.iter().map(|name| bench.path(&key).join(name).metadata().unwrap().len()).sum();
        assert_eq!((&listed["byte-count"], &listed["file-count"]), (&json!(bytes), &json!(data.len())));
        let manifest = std::fs::read_to_string(bench.path(&key).join("manifest.json")).unwrap();
        let manifest: serde_json::Value = serde_json::from_str(&manifest).unwrap();
        assert_eq!(manifest["files"].as_array().unwrap().len(), data.len());
        assert_eq!(manifest["run-namespaces"], json!([SOURCE]));
    }
    assert_eq!(millis(&bench.list("incremental", ROUTINE).await[0], "from"), millis(&full, "created"));
}

/// rules.md 3.12, 3.5
#[tokio::test(flavor = "multi_thread")]
async fn an_incremental_without_changes_leaves_no_folder_and_its_job_says_so() {
    let bench = Bench::start().await;
    bench.write(&[mixed("customers", 1, 1)]).await;
    let full = bench.back_up("full").await;
    let empty = bench.back_up("incremental").await;
    assert_eq!(ends(&empty), [(SOURCE, "empty")]);
    assert_eq!(empty["attempts"][SOURCE][0]["status"], "empty");
    assert_eq!(bench.files(&format!("{ROUTINE}/incremental")), Vec::<String>::new());
    assert_eq!(bench.list("incremental", ROUTINE).await, Vec::<serde_json::Value>::new());
    // What comes next builds on the full, and the point in between is the full's.
    bench.write(&[mixed("customers", 2, 1)]).await;
    bench.back_up("incremental").await;
    assert_eq!(millis(&bench.list("incremental", ROUTINE).await[0], "from"), millis(&full, "created"));
    let restored = bench.restore_to(point(&empty), json!({})).await.ok();
    assert_eq!(restored.records("inserted"), 1);
}

/// rules.md 3.3, 3.5: what is written while a run waits and scans is in the next incremental, wherever it fell.
#[tokio::test(flavor = "multi_thread")]
async fn a_chain_taken_while_an_application_writes_loses_nothing() {
    let bench = Bench::start().await;
    bench.write(&(0..1000).map(|key| mixed("customers", key, 1)).collect::<Vec<_>>()).await;
    let mut last = serde_json::Value::Null;
    let mut version = 1;
    for backup_type in ["full", "incremental", "incremental", "incremental"] {
        let id = bench.trigger(backup_type, ROUTINE).await;
        loop {
            version += 1;
            let changes = (0..40).map(|n| mixed("customers", (version * 37 + n * 13) % 1200, version));
            bench.write(&changes.collect::<Vec<_>>()).await;
            last = bench.job(id).await;
            if last["status"] == "succeeded" {
                break;
            }
            assert!(["queued", "running"].contains(&last["status"].as_str().unwrap()), "{last:#}");
        }
    }
    let rest = bench.node.snapshot(SOURCE).await;
    let end = bench.back_up("incremental").await;
    assert!(point(&end) > point(&last));
    bench.restore_to(point(&end), json!({})).await.ok();
    assert_eq!(bench.differences(&rest).await, Vec::<String>::new());
}
