//! Incrementals that have no chain to build on (rules.md 3.7).

use holdfast::sample::mixed;
use serde_json::{Value, json};

use crate::node::{SOURCE, TARGET};
use crate::service::{Bench, ROUTINE, ends, point, warnings};

async fn filled(change: impl FnOnce(&mut Value)) -> Bench {
    let bench = Bench::with(change).await;
    bench.write(&(0..50).map(|key| mixed("a", key, 1)).collect::<Vec<_>>()).await;
    bench.write(&(0..50).map(|key| mixed("b", key, 1)).collect::<Vec<_>>()).await;
    bench
}

fn promoted(job: &Value) -> (&str, &Value) {
    let attempt = &job["attempts"][SOURCE][0];
    (job["status"].as_str().unwrap(), &attempt["promoted"])
}

#[tokio::test(flavor = "multi_thread")]
async fn the_first_incremental_becomes_a_full_and_says_so() {
    let bench = filled(|_| {}).await;
    let job = bench.run("incremental", ROUTINE).await;
    assert_eq!(promoted(&job), ("succeeded", &json!("no-full")));
    assert!(warnings(&job).contains("promoted-no-full"), "{job:#}");
    assert_eq!(
        (bench.list("full", ROUTINE).await.len(), bench.list("incremental", ROUTINE).await.len()),
        (1, 0)
    );
    let manifest = std::fs::read(bench.path(&bench.newest_key("full").await).join("manifest.json")).unwrap();
    let manifest: Value = serde_json::from_slice(&manifest).unwrap();
    assert_eq!(manifest["promoted"]["reason"], "no-full");
    // The next one builds on it.
    bench.write(&[mixed("a", 1, 2)]).await;
    let next = bench.run("incremental", ROUTINE).await;
    assert_eq!(
        (promoted(&next), bench.list("incremental", ROUTINE).await.len()),
        (("succeeded", &Value::Null), 1)
    );
    let source = bench.node.snapshot(SOURCE).await;
    bench.restore_to(point(&next), json!({})).await.ok();
    assert_eq!(bench.differences(&source).await, Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn without_promotion_it_is_skipped_with_the_reason() {
    let bench = filled(|config| config["backup-policies"]["quick"]["when-no-chain"] = json!("skip")).await;
    let job = bench.run("incremental", ROUTINE).await;
    assert_eq!((&job["status"], &job["reason-code"]), (&json!("skipped"), &json!("no-full")), "{job:#}");
    assert_eq!(ends(&job), [(SOURCE, "skipped")]);
    assert_eq!(bench.files(""), Vec::<String>::new());
    bench.back_up("full").await;
    bench.write(&[mixed("a", 1, 2)]).await;
    assert_eq!(ends(&bench.back_up("incremental").await), [(SOURCE, "committed")]);
}

/// A truncation removes records that no incremental can see.
#[tokio::test(flavor = "multi_thread")]
async fn a_truncation_closes_the_chain_once_until_the_next_full() {
    for set in [Some(b"b".as_slice()), None] {
        let bench = filled(|_| {}).await;
        bench.back_up("full").await;
        let truncate = async || {
            bench.node.cluster.truncate(SOURCE, set).await.unwrap();
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
            bench.write(&[mixed("a", 7, 3)]).await;
        };
        truncate().await;
        let job = bench.run("incremental", ROUTINE).await;
        assert_eq!(promoted(&job), ("succeeded", &json!("closed")), "{job:#}");
        let source = bench.node.snapshot(SOURCE).await;
        bench.restore_to(point(&job), json!({})).await.ok();
        assert_eq!(bench.differences(&source).await, Vec::<String>::new());
        // At most once between two fulls: then it is an incremental with a warning.
        truncate().await;
        let next = bench.run("incremental", ROUTINE).await;
        assert_eq!(promoted(&next), ("succeeded", &Value::Null), "{next:#}");
        assert!(warnings(&next).contains("closed"), "{next:#}");
        // A full, and it may be promoted again.
        bench.back_up("full").await;
        truncate().await;
        assert_eq!(promoted(&bench.run("incremental", ROUTINE).await), ("succeeded", &json!("closed")));
    }
}

/// A set out of scope does not close the chain, and another scope needs a full of its own (rules.md 3.6).
#[tokio::test(flavor = "multi_thread")]
async fn only_the_scope_of_the_routine_counts() {
    let mut bench = filled(|config| config["backup-routines"][ROUTINE]["set-list"] = json!(["a"])).await;
    bench.back_up("full").await;
    bench.node.cluster.truncate(SOURCE, Some(b"b")).await.unwrap();
    bench.write(&[mixed("a", 1, 2)]).await;
    assert_eq!(promoted(&bench.run("incremental", ROUTINE).await), ("succeeded", &Value::Null));
    bench.stop_service().await;
    bench.config["backup-routines"][ROUTINE]["set-list"] = json!(["a", "c"]);
    bench.start_service().await;
    let job = bench.run("incremental", ROUTINE).await;
    assert_eq!(promoted(&job), ("succeeded", &json!("scope-changed")));
    bench.node.empty(TARGET).await;
    assert_eq!(bench.restore_to(point(&job), json!({})).await.ok().records("inserted"), 50);
}
