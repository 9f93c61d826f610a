//! Nodes whose clocks differ (rules.md 3.2).

use holdfast::model::partitions::partition_of;
use holdfast::sample::mixed;
use serde_json::{Value, json};

use crate::bench::{Faulty, RECORDS};
use crate::node::SOURCE;
use crate::service::{ROUTINE, point, warnings};

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_is_behind_is_named_and_loses_nothing() {
    let faulty = Faulty::with(&[0, 0, -30_000], true, |_| {}).await;
    let full = faulty.bench.back_up("full").await;
    let text = warnings(&full);
    assert!(text.contains("clock-skew") && text.contains("HF00000000000002"), "{text}");
    let manifest = faulty.bench.path(&faulty.bench.newest_key("full").await).join("manifest.json");
    let manifest: Value = serde_json::from_slice(&std::fs::read(manifest).unwrap()).unwrap();
    let lowered = manifest["created-ms"].as_i64().unwrap() - manifest["safe-from-ms"].as_i64().unwrap();
    // Clocks are told in whole seconds; 200 ms of it are the margin.
    assert!((28_800..=31_000).contains(&lowered), "{lowered} ms");
    // Stamped by the node that is behind: half a minute before the backup.
    let late: Vec<_> = (RECORDS..RECORDS + 60).map(|key| mixed("customers", key, 1)).collect();
    assert!(late.iter().any(|record| partition_of(&record.digest) % 3 == 2));
    faulty.bench.write(&late).await;
    let next = faulty.bench.back_up("incremental").await;
    let source = faulty.bench.node.snapshot(SOURCE).await;
    faulty.bench.restore_to(point(&next), json!({})).await.ok();
    assert_eq!(faulty.bench.differences(&source).await, Vec::<String>::new());
}

/// Where most nodes are far from us it is us, or nobody knows.
#[tokio::test(flavor = "multi_thread")]
async fn our_clock_far_from_the_median_is_refused() {
    let faulty = Faulty::with(&[-360_000, -360_000, 0], true, |_| {}).await;
    let job = faulty.bench.run("full", ROUTINE).await;
    assert_eq!((&job["status"], &job["error"]["code"]), (&json!("failed"), &json!("clock-skew")), "{job:#}");
    assert_eq!(faulty.bench.files(""), Vec::<String>::new());
    // One node of three is far off: the median is ours, and that node is named.
    let faulty = Faulty::with(&[0, -360_000, 0], true, |_| {}).await;
    let text = warnings(&faulty.bench.back_up("full").await);
    assert!(text.contains("clock-skew") && text.contains("HF00000000000001"), "{text}");
}
