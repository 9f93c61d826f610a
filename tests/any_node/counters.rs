//! Where records end, and indexes and UDFs (rules.md 4.6, 4.9).

use holdfast::asb::{DataType, IndexDef, IndexType, UdfDef};
use holdfast::sample::mixed;
use serde_json::json;

use crate::node::{SOURCE, TARGET};
use crate::service::{Bench, point};

fn index(namespace: &str, bin: &str) -> IndexDef {
    IndexDef {
        namespace: namespace.into(),
        set: b"customers".to_vec(),
        name: b"by_version".to_vec(),
        index_type: IndexType::Bin,
        bin: bin.into(),
        data_type: DataType::Numeric,
        context: None,
        expression: None,
    }
}

fn module(content: &str) -> UdfDef {
    UdfDef { name: b"totals.lua".to_vec(), content: content.into() }
}

const LUA: &str = "function one(record)\n  return 1\nend\n";

async fn indexes(bench: &Bench, namespace: &str) -> Vec<IndexDef> {
    bench.node.cluster.list_indexes(namespace).await.unwrap().indexes
}

async fn content(bench: &Bench) -> String {
    String::from_utf8(bench.node.cluster.get_udf(b"totals.lua").await.unwrap().content).unwrap()
}

/// A full of 30 customers and 20 orders, an index and a UDF module. The point after it.
async fn with_metadata() -> (Bench, i64) {
    let bench = Bench::start().await;
    let mut records: Vec<_> = (0..30).map(|key| mixed("customers", key, 1)).collect();
    records.extend((0..20).map(|key| mixed("orders", key, 1)));
    bench.write(&records).await;
    bench.node.cluster.create_index(&index(SOURCE, "version")).await.unwrap();
    bench.node.cluster.put_udf(&module(LUA)).await.unwrap();
    let job = bench.back_up("full").await;
    let attempt = &job["attempts"][SOURCE][0];
    let counted = (&attempt["record-count"], &attempt["secondary-index-count"], &attempt["udf-count"]);
    assert_eq!(counted, (&json!(50), &json!(1), &json!(1)));
    (bench, point(&job))
}

#[tokio::test(flavor = "multi_thread")]
async fn every_record_read_ends_in_exactly_one_counter() {
    let bench = Bench::start().await;
    let mut records: Vec<_> = (0..40).map(|key| mixed("customers", key, 1)).collect();
    records.extend((0..30).map(|key| mixed("orders", key, 1)));
    records.extend((100..105).map(|key| mixed("customers", key, 1).living_s(5)));
    bench.write(&records).await;
    let soon = mixed("customers", 100, 1).digest;
    let void_time = bench.node.snapshot(SOURCE).await.0[&soon].void_time + 1;
    bench.back_up("full").await;
    // Twenty of them once more: their older version is hidden.
    bench.write(&(0..20).map(|key| mixed("customers", key, 2)).collect::<Vec<_>>()).await;
    let job = bench.back_up("incremental").await;
    assert_eq!(
        bench.list("full", "daily").await[0]["record-count"],
        75,
        "all lived while they were backed up"
    );
    bench.node.wait_past(void_time).await;
    // Seven that are fresher in the destination.
    for _ in 0..3 {
        bench.node.write(TARGET, &(30..37).map(|key| mixed("customers", key, 9)).collect::<Vec<_>>()).await;
    }
    let restored = bench.restore_to(point(&job), json!({"policy": {"set-list": ["customers"]}})).await.ok();
    let counted = ["read", "inserted", "existed", "fresher", "expired", "skipped", "ignored"]
        .map(|end| restored.records(end));
    assert_eq!(counted, [95, 33, 20, 7, 5, 30, 0], "{:#}", restored.status);
    assert!(restored.status["total-bytes"].as_u64().unwrap() > 0);
    assert_eq!(restored.status["current-job"]["percentage-done"], 100);
    assert_eq!(restored.job["result"]["restored-whole"], json!([TARGET]));
}

#[tokio::test(flavor = "multi_thread")]
async fn sets_records_indexes_and_udfs_can_be_left_out() {
    let (bench, at) = with_metadata().await;
    for (policy, inserted, skipped, index_count) in [
        (json!({"set-list": ["customers"]}), 30, 20, 1),
        (json!({"set-list": ["orders", "nobody"]}), 20, 30, 1),
        (json!({"no-records": true}), 0, 50, 1),
        (json!({"no-indexes": true}), 50, 0, 0),
        (json!({"no-udfs": true, "no-indexes": true, "no-records": true}), 0, 50, 0),
    ] {
        bench.node.empty(TARGET).await;
        bench.node.cluster.drop_index(TARGET.as_bytes(), b"by_version").await.unwrap();
        // The module belongs to the whole cluster: changed, it shows whether it was restored.
        bench.node.cluster.put_udf(&module("-- another\n")).await.unwrap();
        let restored = bench.restore_to(at, json!({"policy": policy})).await.ok();
        assert_eq!(
            (restored.records("inserted"), restored.records("skipped")),
            (inserted, skipped),
            "{policy}"
        );
        assert_eq!(bench.node.snapshot(TARGET).await.0.len() as u64, inserted, "{policy}");
        let udf_count = u64::from(policy.get("no-udfs").is_none());
        let counted = (&restored.status["index-count"], &restored.status["udf-count"]);
        assert_eq!(counted, (&json!(index_count), &json!(udf_count)), "{policy}");
        assert_eq!(indexes(&bench, TARGET).await.len() as u64, index_count, "{policy}");
        assert_eq!(content(&bench).await == LUA, udf_count == 1, "{policy}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_index_moves_with_its_namespace_and_another_definition_is_replaced_only_when_asked() {
    let (bench, at) = with_metadata().await;
    let restored = bench.restore_to(at, json!({})).await.ok();
    assert_eq!(restored.status["index-count"], 1);
    assert_eq!(indexes(&bench, TARGET).await, [index(TARGET, "version")]);
    // The same definition: skipped.
    let again = bench.restore_to(at, json!({})).await.ok();
    assert_eq!((&again.status["index-count"], &again.status["udf-count"]), (&json!(0), &json!(0)));

    let cluster = &bench.node.cluster;
    cluster.drop_index(TARGET.as_bytes(), b"by_version").await.unwrap();
    cluster.create_index(&index(TARGET, "id")).await.unwrap();
    let error = bench.restore_to(at, json!({})).await.refused("index-differs");
    assert!(error.contains("by_version") && error.contains("replace-metadata"), "{error}");
    assert_eq!(indexes(&bench, TARGET).await, [index(TARGET, "id")]);
    let replaced = bench.restore_to(at, json!({"replace-metadata": true})).await.ok();
    assert_eq!(replaced.status["index-count"], 1);
    assert_eq!(indexes(&bench, TARGET).await, [index(TARGET, "version")]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_udf_with_other_content_is_replaced_with_a_warning_that_names_it() {
    let (bench, at) = with_metadata().await;
    bench.node.cluster.put_udf(&module("-- another\n")).await.unwrap();
    let restored = bench.restore_to(at, json!({})).await.ok();
    assert_eq!(restored.status["udf-count"], 1);
    assert!(restored.warnings().contains("totals.lua"), "{}", restored.warnings());
    assert_eq!(content(&bench).await, LUA);
    let again = bench.restore_to(at, json!({})).await.ok();
    assert_eq!(again.status["udf-count"], 0);
    assert!(!again.warnings().contains("totals.lua"), "{}", again.warnings());
}
