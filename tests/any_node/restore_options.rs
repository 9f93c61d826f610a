//! What the options of a restore do (abs.md 1.3, rules.md 4).

use std::time::Duration;

use holdfast::sample::{SampleRecord, every_kind, mixed};
use holdfast::sandbox::{Fault, Harm, Moment};
use serde_json::{Value, json};

use crate::node::{Node, SOURCE, TARGET};
use crate::service::{Bench, millis, point};

fn record(key: i64) -> SampleRecord {
    SampleRecord::new("customers", key)
}

fn int(value: i64) -> [u8; 8] {
    value.to_be_bytes()
}

fn took(job: &Value) -> Duration {
    Duration::from_millis(u64::try_from(millis(job, "finished") - millis(job, "started")).unwrap())
}

/// The integer bins of the records 1, 2, … of the target, as `a=2 c=9`; empty: it is not there.
async fn target(bench: &Bench, keys: std::ops::Range<i64>) -> Vec<String> {
    let snapshot = bench.node.snapshot(TARGET).await;
    let bins = |key| {
        let Some(found) = snapshot.0.get(&record(key).digest) else { return String::new() };
        let bins = found.bins.iter().map(|(name, (_, value))| {
            let value = i64::from_be_bytes(value.as_slice().try_into().unwrap());
            format!("{}={value}", String::from_utf8_lossy(name))
        });
        bins.collect::<Vec<_>>().join(" ")
    };
    keys.map(bins).collect()
}

/// Less time than the limit asks for is impossible; more is nobody's promise.
#[tokio::test(flavor = "multi_thread")]
async fn records_are_written_and_bytes_read_no_faster_than_asked() {
    let bench = Bench::start().await;
    let records: Vec<_> = (0..50).map(|key| record(key).bin("blob", 4, vec![7; 60_000])).collect();
    bench.write(&records).await;
    let at = point(&bench.back_up("full").await);
    let expected = bench.node.snapshot(SOURCE).await;
    // 50 records less the burst of 10, 100 a second; 4 MB in base64 less the burst of 0.8 MiB, 8 MiB a second.
    for (policy, least_ms) in [(json!({"tps": 100}), 400), (json!({"bandwidth": 8}), 370)] {
        bench.node.empty(TARGET).await;
        let restored = bench.restore_to(at, json!({"policy": policy})).await.ok();
        assert_eq!(restored.records("inserted"), 50);
        assert!(
            took(&restored.job) >= Duration::from_millis(least_ms),
            "{policy}: {:?}",
            took(&restored.job)
        );
        assert_eq!(bench.differences(&expected).await, Vec::<String>::new());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restore_is_canceled_while_it_waits_for_its_turn() {
    let bench = Bench::start().await;
    bench.write(&(0..1000).map(|key| mixed("customers", key, 1)).collect::<Vec<_>>()).await;
    let at = point(&bench.back_up("full").await);
    bench.node.empty(TARGET).await;
    let id = bench.trigger_restore_to(at, &json!({"policy": {"tps": 1}})).await;
    bench.wait_until(id, |job| job["status"] == "running").await;
    while bench.node.snapshot(TARGET).await.0.is_empty() {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let (status, _) = bench.post(&format!("/v1/jobs/{id}/cancel"), &json!({})).await;
    assert_eq!(status, 202);
    assert_eq!(bench.wait_job(id).await["status"], "canceled");
    assert!(bench.node.snapshot(TARGET).await.0.len() < 1000);
}

/// rules.md 4.5: a version that has none of the bins hides the older ones that have.
#[tokio::test(flavor = "multi_thread")]
async fn only_the_bins_of_the_list_come_back_and_no_older_version_of_a_record_that_lost_them() {
    let bench = Bench::start().await;
    bench
        .write(&[
            record(1).bin("a", 1, int(1)).bin("b", 1, int(1)),
            record(2).bin("a", 1, int(1)).bin("b", 1, int(1)),
            record(3).bin("b", 1, int(1)),
        ])
        .await;
    bench.back_up("full").await;
    bench.write(&[record(1).bin("b", 1, int(2)), record(3).bin("a", 1, int(2)).bin("b", 1, int(2))]).await;
    let at = point(&bench.back_up("incremental").await);
    for (more, there) in [
        (json!({}), false),
        (json!({}), true),
        (json!({"policy": {"replace": true}}), true),
        (json!({"disable-reordering": true}), false),
    ] {
        bench.node.empty(TARGET).await;
        if there {
            bench.node.write(TARGET, &[record(2).bin("c", 1, int(9))]).await;
        }
        let mut request = json!({"policy": {"bin-list": ["a", "none"], "no-generation": true}});
        for (key, value) in more.as_object().unwrap() {
            match value.as_object() {
                Some(inner) => inner.iter().for_each(|(key, value)| request["policy"][key] = value.clone()),
                None => request[key] = value.clone(),
            }
        }
        let restored = bench.restore_to(at, request).await.ok();
        let merged = if there && more == json!({}) { "a=1 c=9" } else { "a=1" };
        assert_eq!(target(&bench, 1..4).await, ["", merged, "a=2"], "{more} {there}");
        assert_eq!((restored.records("read"), restored.records("inserted")), (5, 2), "{more} {there}");
    }
}

/// rules.md 4.5, 4.6
#[tokio::test(flavor = "multi_thread")]
async fn records_that_the_server_refuses_are_passed_over_only_where_that_is_asked_for() {
    let bench = Bench::on(Node::sandbox().await, |_| {}).await;
    let sandbox = bench.node.sandbox.as_ref().unwrap();
    bench.write(&[record(1).bin("a", 1, int(1)), record(2).bin("a", 1, int(1))]).await;
    bench.back_up("full").await;
    bench.write(&[record(1).bin("a", 1, int(2))]).await;
    let at = point(&bench.back_up("incremental").await);
    for there in [false, true] {
        for code in [13, 8] {
            for ignore in [false, true] {
                bench.node.empty(TARGET).await;
                if there {
                    bench.node.write(TARGET, &[record(3).bin("c", 1, int(9))]).await;
                }
                // The first row is the newest version of record 1.
                sandbox.plant(Fault::new(Moment::Row, Harm::Refuse(code)));
                let policy = json!({"policy": {"ignore-record-error": ignore, "no-generation": true}});
                let restored = bench.restore_to(at, policy).await;
                sandbox.heal();
                if !ignore || code == 8 {
                    let error = restored.refused("records-refused");
                    assert!(error.contains(&format!("({code})")), "{error}");
                    continue;
                }
                let restored = restored.ok();
                let counted = ["ignored", "inserted", "existed"].map(|end| restored.records(end));
                assert_eq!(counted, [1, 1, 1]);
                assert!(restored.warnings().contains("1 × record too big (13)"), "{}", restored.warnings());
                assert_eq!(target(&bench, 1..3).await, ["", "a=1"], "the older version must not come back");
            }
        }
    }
}

/// On a sandbox that refuses every batch, and on one of a version that knows none (asb.md 7.3).
#[tokio::test(flavor = "multi_thread")]
async fn records_are_written_singly_where_asked_for_or_where_there_are_no_batches() {
    for old in [false, true] {
        let node = if old { Node::sandbox_of("5.7.0.8").await } else { Node::start().await };
        let bench = Bench::on(node, |_| {}).await;
        let mut records = every_kind("kinds");
        records.extend((0..300).map(|key| mixed("customers", key, 1)));
        let source: &[SampleRecord] = &records;
        if old {
            bench.node.write_singly(SOURCE, source).await;
        } else {
            bench.write(source).await;
        }
        let at = point(&bench.back_up("full").await);
        let expected = bench.node.snapshot(SOURCE).await;
        if let Some(sandbox) = &bench.node.sandbox {
            sandbox.plant(Fault::new(Moment::Batch, Harm::Refuse(150)).for_ever());
        }
        let policy = if old { json!({}) } else { json!({"disable-batch-writes": true}) };
        let restored = bench.restore_to(at, json!({"policy": policy})).await.ok();
        assert_eq!(restored.records("inserted"), records.len() as u64);
        assert_eq!(bench.differences(&expected).await, Vec::<String>::new());
        let again = json!({"policy": {"disable-batch-writes": true, "unique": true}});
        let restored = bench.restore_to(at, again).await.ok();
        assert_eq!(restored.records("existed"), records.len() as u64);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_validation_reads_everything_says_what_would_be_written_and_writes_nothing() {
    let bench = Bench::start().await;
    bench.write(&(0..40).map(|key| mixed("customers", key, 1)).collect::<Vec<_>>()).await;
    bench.write(&(0..20).map(|key| mixed("orders", key, 1)).collect::<Vec<_>>()).await;
    bench.back_up("full").await;
    bench.write(&[mixed("customers", 1, 2), mixed("customers", 99, 2)]).await;
    let at = point(&bench.back_up("incremental").await);
    let key = bench.newest_key("full").await;
    let request = json!({"validate": true, "policy": {"set-list": ["customers"]}});
    for there in [false, true] {
        bench.node.empty(TARGET).await;
        if there {
            bench.node.write(TARGET, &[mixed("customers", 1, 7)]).await;
        }
        let before = bench.node.snapshot(TARGET).await;
        let job = bench.wait_job(bench.trigger_restore_to(at, &request).await).await;
        assert_eq!(job["status"], "succeeded", "{job:#}");
        // Each version of record 1 where nothing is in the way; else each record once.
        let would = if there { 41 } else { 42 };
        let entry = &job["result"]["namespaces"][0];
        assert_eq!(entry["would-write"], json!({"records": would, "indexes": 0, "udfs": 0}), "{job:#}");
        let counted = (&job["counters"]["read-records"], &job["counters"]["skipped-records"]);
        assert_eq!(counted, (&json!(62), &json!(20)), "{job:#}");
        assert_eq!(job["counters"]["inserted-records"], 0);
        assert_eq!(job["result"]["valid"], json!([TARGET]));
        assert_eq!(before.differences(&bench.node.snapshot(TARGET).await, 0), Vec::<String>::new());
    }
    // A damaged file is found.
    let file = &bench.data_files(&key)[0];
    let mut bytes = std::fs::read(file).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(file, bytes).unwrap();
    let job = bench.wait_job(bench.trigger_restore_of(&key, &json!({"validate": true})).await).await;
    assert_eq!(
        (&job["status"], &job["error"]["code"]),
        (&json!("failed"), &json!("file-damaged")),
        "{job:#}"
    );
}

/// A restore in the order of time that fails in its second member has registered the UDFs of the first, unless metadata
/// comes last.
#[tokio::test(flavor = "multi_thread")]
async fn udfs_are_registered_after_their_member_or_after_the_last_record() {
    let bench = Bench::on(Node::sandbox().await, |_| {}).await;
    let sandbox = bench.node.sandbox.as_ref().unwrap();
    let udf =
        holdfast::asb::UdfDef { name: b"totals.lua".to_vec(), content: b"-- \xff\0 any bytes\n".to_vec() };
    bench.node.cluster.put_udf(&udf).await.unwrap();
    bench.write(&[record(1).bin("a", 1, int(1))]).await;
    bench.back_up("full").await;
    bench.write(&[record(1).bin("a", 1, int(2))]).await;
    let at = point(&bench.back_up("incremental").await);
    let node = bench.node.cluster.nodes().await[0].clone();
    for (last, fails) in [(false, true), (true, true), (true, false)] {
        bench.node.empty(TARGET).await;
        bench.node.cluster.info(&node, &["udf-remove:filename=totals.lua"]).await.unwrap();
        if fails {
            sandbox.plant(Fault::new(Moment::Row, Harm::Refuse(8)).at(2));
        }
        let request = json!({
            "disable-reordering": true, "apply-metadata-last": last, "policy": {"no-generation": true},
        });
        let restored = bench.restore_to(at, request).await;
        sandbox.heal();
        if fails {
            restored.refused("records-refused");
        } else {
            restored.ok();
        }
        let registered = bench.node.cluster.list_udfs().await.unwrap().len();
        assert_eq!(registered, usize::from(!last || !fails), "{last} {fails}");
    }
}

/// rules.md 4.2: two files, of which one is damaged. Verified first, not even the good one is written.
#[tokio::test(flavor = "multi_thread")]
async fn bytes_are_verified_before_the_first_write_always_or_never_as_asked() {
    let bench = Bench::start().await;
    bench.write(&(0..2000).map(|key| mixed("customers", key, 1)).collect::<Vec<_>>()).await;
    let at = point(&bench.back_up("full").await);
    let key = bench.newest_key("full").await;
    let files = bench.data_files(&key);
    assert!(files.len() > 1, "{files:?}");
    let mut bytes = std::fs::read(&files[1]).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(&files[1], bytes).unwrap();
    for (word, there, verified) in
        [("auto", false, false), ("auto", true, true), ("always", false, true), ("never", true, false)]
    {
        bench.node.empty(TARGET).await;
        if there {
            bench.node.write(TARGET, &[mixed("orders", 1, 1)]).await;
        }
        // One file after the other, the good one first; most of it is written before the reader can go on.
        let policy = json!({"parallel": 1, "max-async-batches": 1, "no-generation": true});
        let request = json!({"verify-first": word, "policy": policy});
        let restored = bench.restore_to(at, request).await;
        let plan = restored.job["result"]["namespaces"][0]["plan"].clone();
        assert_eq!(plan["verify-first"], verified, "{word} {there}");
        restored.refused("file-damaged");
        let written = bench.node.snapshot(TARGET).await.0.len() - usize::from(there);
        assert_eq!(written == 0, verified, "{word} {there}: {written}");
    }
}
