//! Routines that save a part of their records, or of each record; and incrementals since the last full.

use holdfast::engine::aerospike::snapshot::Snapshot;
use holdfast::sample::{SampleRecord, every_kind, mixed};
use serde_json::{Value, json};

use crate::node::{Node, SOURCE, TARGET};
use crate::service::{Bench, ROUTINE, ends, point, warnings};

fn number(key: i64, bin: &str, value: i64) -> SampleRecord {
    SampleRecord::new("a", key).bin(bin, 1, value.to_be_bytes())
}

async fn routine_with(change: impl FnOnce(&mut Value)) -> Bench {
    Bench::with(|config| change(&mut config["backup-routines"][ROUTINE])).await
}

fn saved(job: &Value) -> u64 {
    assert_eq!(job["status"], "succeeded", "{job:#}");
    job["attempts"][SOURCE][0]["record-count"].as_u64().unwrap_or_default()
}

/// wire.md 9: only records with one of the bins, and of those only these bins; the node's own account still agrees.
#[tokio::test(flavor = "multi_thread")]
async fn only_the_listed_bins_are_saved() {
    let bench = routine_with(|routine| routine["bin-list"] = json!(["a", "b"])).await;
    let both = number(1, "a", 1).bin("b", 3, "text").bin("c", 4, [0, 10, 255]);
    let records: Vec<_> =
        (10..300).map(|key| number(key, if key % 3 == 0 { "a" } else { "c" }, key)).collect();
    bench.write(&[&[both], &records[..]].concat()).await;
    let full = bench.back_up("full").await;
    assert_eq!(saved(&full), 1 + records.iter().filter(|one| one.bins[0].0 == b"a").count() as u64);
    assert!(!warnings(&full).contains("could not confirm"), "{full:#}");

    // It left what is saved, and no incremental can see that (rules.md 4.5): what was saved of it comes back.
    bench.write(&[number(12, "c", 0), number(13, "b", 0)]).await;
    let incremental = bench.back_up("incremental").await;
    assert_eq!(saved(&incremental), 1);
    let source = bench.node.snapshot(SOURCE).await;
    bench.restore_to(point(&incremental), json!({})).await.ok();
    let restored = bench.node.snapshot(TARGET).await;
    let expected = |digest: &[u8; 20]| {
        let mut seen = source.0[digest].clone();
        seen.bins.retain(|name, _| *name != b"c");
        seen
    };
    let left = number(12, "a", 12).digest;
    for (digest, seen) in &restored.0 {
        if *digest != left {
            assert_eq!(*seen, expected(digest));
        }
    }
    assert!(restored.0[&left].bins.contains_key(&b"a"[..]));
    assert_eq!(restored.0.len() as u64, saved(&full) + 1);
}

/// abs.md 7.9: the published example `age > 25`, sent as it is; with a set, and in an incremental.
#[tokio::test(flavor = "multi_thread")]
async fn only_what_the_expression_selects_is_saved() {
    let bench = routine_with(|routine| {
        routine["filter-exp"] = json!("kwOTUQKjYWdlGQ==");
        routine["set-list"] = json!(["a"]);
    })
    .await;
    let other_set = SampleRecord::new("b", 1).bin("age", 1, 70_i64.to_be_bytes());
    let records: Vec<_> = (0..100).map(|key| number(key, "age", key)).collect();
    bench.write(&[&[other_set], &records[..]].concat()).await;
    assert_eq!(saved(&bench.back_up("full").await), 74);
    bench.write(&[number(3, "age", 26), number(99, "age", 1), number(98, "age", 2)]).await;
    let incremental = bench.back_up("incremental").await;
    assert_eq!((saved(&incremental), &incremental["attempts"][SOURCE][0]["promoted"]), (1, &Value::Null));
    bench.restore_to(point(&incremental), json!({})).await.ok();
    assert_eq!(bench.node.snapshot(TARGET).await.0.len(), 75);
}

/// What the server does not understand is the server's to refuse, at once and without another try (rules.md 3.9).
#[tokio::test(flavor = "multi_thread")]
async fn an_expression_that_the_server_refuses_fails_the_backup_at_once() {
    // A list of one number that is no operation.
    let bench = routine_with(|routine| routine["filter-exp"] = json!("kc0D5w==")).await;
    bench.write(&[number(1, "a", 1)]).await;
    let job = bench.run("full", ROUTINE).await;
    assert_eq!(
        (&job["status"], &job["error"]["code"]),
        (&json!("failed"), &json!("scan-refused")),
        "{job:#}"
    );
    assert_eq!(job["attempts"][SOURCE].as_array().unwrap().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn only_records_that_never_expire_are_saved() {
    let bench = Bench::with(|config| config["backup-policies"]["quick"]["no-ttl-only"] = json!(true)).await;
    let records: Vec<_> = (0..40).map(|key| number(key, "a", 1)).collect();
    let expiring: Vec<_> = (40..60).map(|key| number(key, "a", 1).living_s(10_000)).collect();
    bench.write(&[records, expiring].concat()).await;
    assert_eq!(saved(&bench.back_up("full").await), 40);
}

/// rules.md 3.5, 3.4: each incremental is since the last full, and a restore reads just that and the newest.
#[tokio::test(flavor = "multi_thread")]
async fn cumulative_incrementals_build_on_the_full() {
    let bench =
        Bench::with(|config| config["backup-policies"]["quick"]["incr-mode"] = json!("cumulative")).await;
    bench.write(&(0..100).map(|key| mixed("a", key, 1)).collect::<Vec<_>>()).await;
    let full = bench.back_up("full").await;
    bench.write(&(0..10).map(|key| mixed("a", key, 2)).collect::<Vec<_>>()).await;
    assert_eq!(saved(&bench.back_up("incremental").await), 10);
    bench.write(&(5..20).map(|key| mixed("a", key, 3)).collect::<Vec<_>>()).await;
    let second = bench.back_up("incremental").await;
    assert_eq!(saved(&second), 20);
    let listed = bench.list("incremental", ROUTINE).await;
    assert!(listed.iter().all(|one| one["from"] == full["created"]), "{listed:#?}");
    let source = bench.node.snapshot(SOURCE).await;
    let restored = bench.restore_to(point(&second), json!({})).await.ok();
    assert_eq!(bench.differences(&source).await, Vec::<String>::new());
    let chain = restored.job["result"]["namespaces"][0]["plan"]["chain"].as_array().unwrap();
    assert_eq!(chain.len(), 2, "{restored:#?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn compact_files_hold_bytes_as_they_are_and_restore_the_same() {
    let bench = Bench::with(|config| config["backup-policies"]["quick"]["compact"] = json!(true)).await;
    let blob = SampleRecord::new("a", 1).bin("raw", 4, b"\x00\n marked \xff");
    let format_has = |one: &SampleRecord| one.bins.iter().all(|bin| bin.1 != 16);
    let kinds: Vec<_> = every_kind("kinds").into_iter().filter(format_has).collect();
    bench.write(&[&[blob], &kinds[..]].concat()).await;
    let full = bench.back_up("full").await;
    let key = bench.newest_key("full").await;
    let texts: Vec<u8> =
        bench.data_files(&key).iter().flat_map(|path| std::fs::read(path).unwrap()).collect();
    assert!(texts.windows(21).any(|text| text == b"- B! raw 11 \x00\n marked"), "not raw");
    let source = bench.node.snapshot(SOURCE).await;
    bench.restore_to(point(&full), json!({})).await.ok();
    assert_eq!(bench.differences(&source).await, Vec::<String>::new());
}

/// A node that cannot compress says nothing: the job does.
#[tokio::test(flavor = "multi_thread")]
async fn scans_are_compressed_by_nodes_that_can() {
    for compresses in [false, true] {
        let node = if compresses { Node::compressing().await } else { Node::start().await };
        let bench = Bench::on(node, |config| {
            config["backup-policies"]["quick"]["use-scan-compression"] = json!(true);
        })
        .await;
        bench.write(&(0..500).map(|key| mixed("a", key, 1)).collect::<Vec<_>>()).await;
        let full = bench.back_up("full").await;
        assert_eq!(saved(&full), 500);
        assert_eq!(warnings(&full).contains("no node compressed"), !compresses, "{full:#}");
        let source: Snapshot = bench.node.snapshot(SOURCE).await;
        bench.restore_to(point(&full), json!({})).await.ok();
        assert_eq!(bench.differences(&source).await, Vec::<String>::new());
    }
}

/// abs.md 3: one file for each node beside the data of a full.
#[tokio::test(flavor = "multi_thread")]
async fn the_configuration_of_the_nodes_is_stored_with_each_full() {
    let bench = Bench::with(|config| {
        config["backup-policies"]["quick"]["with-cluster-configuration"] = json!(true);
    })
    .await;
    bench.write(&[number(1, "a", 1)]).await;
    let full = bench.back_up("full").await;
    assert!(warnings(&full).is_empty() || !warnings(&full).contains("configuration"), "{full:#}");
    let of_full = bench.files(ROUTINE).into_iter().filter(|path| path.ends_with(".conf")).count();
    assert_eq!(of_full, 1);
    bench.write(&[number(1, "a", 2)]).await;
    assert_eq!(ends(&bench.back_up("incremental").await), [(SOURCE, "committed")]);
    let files = bench.files(ROUTINE);
    let stored: Vec<_> = files.iter().filter(|path| path.ends_with(".conf")).collect();
    assert_eq!(stored.len(), 1, "{files:?}");
    assert!(stored[0].starts_with("backup/") && stored[0].ends_with("/configuration/aerospike_0.conf"));
    let text = std::fs::read_to_string(bench.path(ROUTINE).join(stored[0])).unwrap();
    assert!(text.contains("\nservice {\n") && text.contains(&format!("\nnamespace {SOURCE} {{\n")), "{text}");
    assert!(text.contains("    replication-factor 1\n"), "{text}");
}

/// A change of what is saved closes the chain (rules.md 3.6, 3.7).
#[tokio::test(flavor = "multi_thread")]
async fn a_change_of_bins_or_filter_makes_the_next_incremental_a_full() {
    let bench = Bench::with(|config| {
        let routines = &mut config["backup-routines"];
        routines[ROUTINE]["bin-list"] = json!(["a"]);
    })
    .await;
    bench.write(&[number(1, "a", 1)]).await;
    bench.back_up("full").await;
    let mut bench = bench;
    bench.stop_service().await;
    bench.config["backup-routines"][ROUTINE]["bin-list"] = json!(["a", "b"]);
    bench.start_service().await;
    let job = bench.back_up("incremental").await;
    assert_eq!(job["attempts"][SOURCE][0]["promoted"], "scope-changed", "{job:#}");
}
