//! How fast a routine reads, and how much of a record.

use std::collections::BTreeMap;
use std::time::Duration;

use holdfast::sample::mixed;
use serde_json::json;

use crate::node::SOURCE;
use crate::service::{Bench, point};

/// The node's own accounts of the scans of the source namespace: the limit that each was asked with, by id.
async fn limits_asked(bench: &Bench) -> BTreeMap<u64, u32> {
    let node = &bench.node.cluster.nodes().await[0];
    let answer = bench.node.cluster.info(node, &["query-show"]).await.unwrap();
    let text = String::from_utf8(answer["query-show"].clone()).unwrap();
    let of_source = text.split(';').filter(|scan| scan.contains(&format!(":ns={SOURCE}:")));
    let value = |scan: &str, key: &str| {
        let found = scan.trim().split(':').find_map(|pair| pair.strip_prefix(key)?.strip_prefix('='));
        found.unwrap().to_owned()
    };
    of_source
        .map(|scan| (value(scan, "trid").parse().unwrap(), value(scan, "rps").parse().unwrap()))
        .collect()
}

/// Runs a full, and says which limits its scans asked for. A real node remembers the scans of others.
async fn limits_of_a_full(bench: &Bench) -> (Vec<u32>, serde_json::Value) {
    let before = limits_asked(bench).await;
    let job = bench.back_up("full").await;
    let after = limits_asked(bench).await.into_iter();
    let mut asked: Vec<u32> =
        after.filter(|(id, rps)| *rps > 0 && !before.contains_key(id)).map(|(_, rps)| rps).collect();
    asked.sort_unstable();
    (asked, job)
}

/// The limit is the nodes' to keep: all scans together ask for no more than it.
#[tokio::test(flavor = "multi_thread")]
async fn the_scans_of_a_run_share_the_records_per_second() {
    let bench = Bench::with(|config| {
        config["backup-policies"]["quick"]["records-per-second"] = json!(100_003);
    })
    .await;
    bench.write(&(0..200).map(|key| mixed("a", key, 1)).collect::<Vec<_>>()).await;
    let (asked, job) = limits_of_a_full(&bench).await;
    assert_eq!(job["attempts"][SOURCE][0]["record-count"], 200);
    assert_eq!(asked, [25_000, 25_001, 25_001, 25_001]);
}

/// A limit below the number of scans is kept by having fewer of them.
#[tokio::test(flavor = "multi_thread")]
async fn fewer_records_per_second_than_scans_are_asked_of_fewer_scans() {
    let bench = Bench::with(|config| {
        let policy = &mut config["backup-policies"]["quick"];
        policy["records-per-second"] = json!(3);
        policy["bandwidth"] = json!(1);
    })
    .await;
    bench.write(&[mixed("a", 1, 1)]).await;
    let (asked, job) = limits_of_a_full(&bench).await;
    assert_eq!(asked, [1, 1, 1]);
    let at = point(&job);
    let source = bench.node.snapshot(SOURCE).await;
    bench.restore_to(at, json!({})).await.ok();
    assert_eq!(bench.differences(&source).await, Vec::<String>::new());
}

/// rules.md 2.8, 2.9: what waits for its turn is neither stalled nor deaf to its cancel.
#[tokio::test(flavor = "multi_thread")]
async fn a_throttled_backup_is_no_standstill_and_ends_when_it_is_canceled() {
    let bench = Bench::with(|config| {
        let policy = &mut config["backup-policies"]["quick"];
        policy["bandwidth"] = json!(1);
        policy["stall-timeout"] = json!(3_000);
        policy["parallel"] = json!(1);
    })
    .await;
    // 40 MiB take 40 s: it is canceled long before.
    let payload = vec![7_u8; 600 << 10];
    let records: Vec<_> = (0..50)
        .map(|key| holdfast::sample::SampleRecord::new("blobs", key).bin("payload", 4, &payload))
        .collect();
    bench.write(&records).await;
    let id = bench.trigger("full", crate::service::ROUTINE).await;
    let triggered = std::time::Instant::now();
    let far = bench
        .wait_until(id, |job| {
            job["status"] != "running" && job["status"] != "queued"
                || job["progress"]["bytes"].as_u64().is_some_and(|bytes| bytes >= 5 << 20)
        })
        .await;
    assert_eq!(far["status"], "running", "{far:#}");
    // Never sooner: 5 MiB at 1 MiB a second, less the block that need not wait. How much later is no matter.
    assert!(triggered.elapsed() >= Duration::from_secs(3), "{far:#}");
    let (status, body) = bench.post(&format!("/v1/jobs/{id}/cancel"), &json!({})).await;
    assert!(status < 300, "{status} {body}");
    assert_eq!(bench.wait_job(id).await["status"], "canceled");
    assert_eq!(bench.files("daily"), Vec::<String>::new());
}

/// The methods are named, and the numbers are near what the backup then holds.
#[tokio::test(flavor = "multi_thread")]
async fn an_estimate_says_what_a_backup_would_hold_and_how_it_knows() {
    let bench = Bench::with(|config| {
        let routines = &mut config["backup-routines"];
        for (name, key, value) in [
            ("of-set", "set-list", json!(["a"])),
            ("of-bin", "bin-list", json!(["version"])),
            ("of-parts", "partition-list", json!("0-1024")),
        ] {
            routines[name] = routines[crate::service::ROUTINE].clone();
            routines[name][key] = value;
        }
        config["backup-policies"]["quick"]["compression"] = json!({"mode": "ZSTD"});
    })
    .await;
    let records: Vec<_> =
        (0..20_000).map(|key| mixed(if key % 4 == 0 { "b" } else { "a" }, key, 1)).collect();
    bench.write(&records).await;
    let estimate = async |routine: &str, backup_type: &str| {
        bench.get(&format!("/v1/backups/estimate/{routine}?type={backup_type}")).await
    };
    let near = |found: &serde_json::Value, expected: f64| {
        let found = found.as_u64().unwrap() as f64;
        assert!((found - expected).abs() <= expected * 0.35 + 1.0, "{found}, expected {expected}");
    };
    for (routine, method, expected) in [
        (crate::service::ROUTINE, "namespace-objects", 20_000.0),
        ("of-set", "set-objects", 15_000.0),
        ("of-bin", "partition-sample", 20_000.0),
        ("of-parts", "namespace-objects", 5_000.0),
    ] {
        let said = estimate(routine, "full").await;
        assert_eq!(said["namespaces"][0]["records-method"], method, "{said:#}");
        assert_eq!((&said["duration-method"], &said["duration-ms"]), (&json!("unknown"), &json!(null)));
        near(&said["records"], expected);
        let job = bench.run("full", routine).await;
        assert_eq!(job["status"], "succeeded", "{job:#}");
        near(&said["bytes"], job["attempts"][SOURCE][0]["byte-count"].as_u64().unwrap() as f64);
        near(&job["progress"]["total-records"], expected);
        let again = estimate(routine, "full").await;
        assert_eq!(again["duration-method"], "last-backup", "{again:#}");
    }
    bench.write(&records[..10_000]).await;
    let said = estimate(crate::service::ROUTINE, "incremental").await;
    assert_eq!(said["namespaces"][0]["type"], "incremental", "{said:#}");
    near(&said["records"], 10_000.0);
    let job = bench.back_up("incremental").await;
    near(&job["progress"]["total-records"], 10_000.0);
    let (status, body) = bench.post("/v1/backups/estimate/daily", &json!({})).await;
    assert_eq!(status, 405, "{body}");
}
