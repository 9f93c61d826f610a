//! Records that the format cannot hold (rules.md 3.13). Only the sandbox lets a test put one.

use holdfast::clock::{Clock, SystemClock};
use holdfast::sample::mixed;
use holdfast::sandbox::{Bin, SandboxRecord, digest_of};
use serde_json::{Value, json};

use crate::node::{Node, SOURCE, TARGET};
use crate::service::{Bench, ROUTINE, point, warnings};

/// A particle type that the format has no letter for.
const VECTOR: u8 = 16;

async fn with_a_vector(change: impl FnOnce(&mut Value)) -> Bench {
    let bench = Bench::on(Node::sandbox().await, change).await;
    bench.write(&(0..20).map(|key| mixed("a", key, 1)).collect::<Vec<_>>()).await;
    let record = |set: &[u8]| SandboxRecord {
        digest: digest_of(set, 3, b"v"),
        set: set.to_vec(),
        key: None,
        bins: vec![Bin { name: b"embedding".to_vec(), kind: VECTOR, value: vec![0; 16] }],
        generation: 1,
        void_time: 0,
        last_update: SystemClock.now(),
    };
    bench.node.sandbox.as_ref().unwrap().put(SOURCE, record(b"vectors")).unwrap();
    bench
}

#[tokio::test(flavor = "multi_thread")]
async fn such_a_record_fails_the_backup_and_is_named() {
    let bench = with_a_vector(|_| {}).await;
    let job = bench.run("full", ROUTINE).await;
    assert_eq!(
        (&job["status"], &job["error"]["code"]),
        (&json!("failed"), &json!("unsupported-record")),
        "{job:#}"
    );
    let error = job["error"]["message"].as_str().unwrap();
    assert!(error.contains("vectors") && error.contains("embedding"), "{error}");
    assert!(error.contains("skip-and-count"), "{error}");
    assert_eq!(bench.files(""), Vec::<String>::new());
    assert_eq!(job["attempts"][SOURCE].as_array().unwrap().len(), 1, "no retry helps (rules.md 3.9)");
}

#[tokio::test(flavor = "multi_thread")]
async fn such_a_record_is_left_out_and_counted_where_that_is_wanted() {
    let bench = with_a_vector(|config| {
        config["backup-policies"]["quick"]["unsupported-records"] = json!("skip-and-count");
    })
    .await;
    let job = bench.back_up("full").await;
    assert_eq!(job["attempts"][SOURCE][0]["record-count"], 20);
    assert!(warnings(&job).contains("1 records left out"), "{job:#}");
    let key = bench.newest_key("full").await;
    let manifest = std::fs::read(bench.path(&key).join("manifest.json")).unwrap();
    let manifest: Value = serde_json::from_slice(&manifest).unwrap();
    assert_eq!(manifest["unsupported-skipped"], 1);
    bench.restore_to(point(&job), json!({})).await.ok();
    assert_eq!(bench.node.snapshot(TARGET).await.0.len(), 20);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_monitors_of_transactions_are_left_out() {
    let bench = Bench::on(Node::sandbox().await, |_| {}).await;
    let set = b"<ERO~MRT";
    let record = SandboxRecord {
        digest: digest_of(set, 3, b"m"),
        set: set.to_vec(),
        key: None,
        bins: vec![Bin { name: b"id".to_vec(), kind: 1, value: vec![0; 8] }],
        generation: 1,
        void_time: 0,
        last_update: SystemClock.now(),
    };
    bench.node.sandbox.as_ref().unwrap().put(SOURCE, record).unwrap();
    bench.write(&[mixed("a", 1, 1)]).await;
    let job = bench.back_up("full").await;
    assert_eq!(job["attempts"][SOURCE][0]["record-count"], 1);
}
