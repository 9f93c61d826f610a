//! Several namespaces of one run (rules.md 2.10, 3.8, 4.8).

use holdfast::sample::mixed;
use serde_json::json;

use crate::node::{SOURCE, TARGET};
use crate::service::{Bench, ROUTINE, ends, point};

async fn filled(namespaces: serde_json::Value, margin_ms: u64) -> Bench {
    let bench = Bench::with(|config| {
        config["backup-routines"][ROUTINE]["namespaces"] = namespaces;
        config["backup-policies"]["quick"]["clock-skew-margin"] = json!(margin_ms);
    })
    .await;
    bench.write(&(0..300).map(|key| mixed("a", key, 1)).collect::<Vec<_>>()).await;
    bench.node.write(TARGET, &(0..200).map(|key| mixed("b", key, 1)).collect::<Vec<_>>()).await;
    bench
}

#[tokio::test(flavor = "multi_thread")]
async fn namespaces_go_side_by_side_and_come_back_together() {
    // None named: all that the cluster has.
    for namespaces in [json!([SOURCE, TARGET]), json!([])] {
        let bench = filled(namespaces, 200).await;
        let job = bench.back_up("full").await;
        assert_eq!(ends(&job), [(SOURCE, "committed"), (TARGET, "committed")]);
        assert_eq!(job["namespaces"], json!([SOURCE, TARGET]));
        let listed = bench.list("full", ROUTINE).await;
        assert_eq!((listed.len(), &listed[0]["created"]), (2, &listed[1]["created"]));
        let expected = [bench.node.snapshot(SOURCE).await, bench.node.snapshot(TARGET).await];
        for namespace in [SOURCE, TARGET] {
            bench.node.empty(namespace).await;
        }
        let request = json!({"routine": ROUTINE, "time": point(&job)});
        let id = bench.trigger_restore("timestamp", &request).await;
        let restored = bench.restored(id).await.ok();
        assert_eq!(restored.records("inserted"), 500);
        assert_eq!(restored.job["result"]["restored-whole"], json!([SOURCE, TARGET]));
        for (namespace, expected) in [SOURCE, TARGET].into_iter().zip(&expected) {
            let differences = expected.differences(&bench.node.snapshot(namespace).await, 1);
            assert_eq!(differences, Vec::<String>::new(), "{namespace}");
        }
    }
}

/// rules.md 3.8, 3.12: an incremental with nothing of one namespace leaves no folder of it, and the run still lists it.
#[tokio::test(flavor = "multi_thread")]
async fn a_namespace_without_changes_is_restored_from_its_own_chain() {
    let bench = filled(json!([SOURCE, TARGET]), 200).await;
    bench.back_up("full").await;
    bench.write(&[mixed("a", 1, 2)]).await;
    let job = bench.back_up("incremental").await;
    assert_eq!(ends(&job), [(SOURCE, "committed"), (TARGET, "empty")]);
    let expected = bench.node.snapshot(TARGET).await;
    for namespace in [SOURCE, TARGET] {
        bench.node.empty(namespace).await;
    }
    let request = json!({"routine": ROUTINE, "time": point(&job)});
    let id = bench.trigger_restore("timestamp", &request).await;
    bench.restored(id).await.ok();
    let differences = expected.differences(&bench.node.snapshot(TARGET).await, 1);
    assert_eq!(differences, Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_namespace_that_the_cluster_does_not_have_fails_the_job_and_is_named() {
    let bench = filled(json!([SOURCE, "no-such-ns"]), 200).await;
    let job = bench.run("full", ROUTINE).await;
    assert_eq!((&job["status"], &job["error"]["code"]), (&json!("failed"), &json!("namespace-missing")));
    let error = job["error"]["message"].as_str().unwrap();
    assert!(error.contains("no-such-ns") && error.contains(SOURCE), "{error}");
    assert_eq!(bench.files(""), Vec::<String>::new());
    drop(bench);
    // Into one that it does not have nothing is restored either (abs.md 4.7).
    let bench = filled(json!([SOURCE]), 200).await;
    let at = point(&bench.back_up("full").await);
    let remap = json!({"policy": {"namespace": {"source": SOURCE, "destination": "no-such-ns"}}});
    let error = bench.restore_to(at, remap).await.refused("namespace-missing");
    assert!(error.contains("no-such-ns"), "{error}");
    // A restore of a namespace that no backup has.
    let named = json!({"namespaces": ["no-such-ns"], "policy": {"namespace": {"source": "no-such-ns"}}});
    let error = bench.restore_to(at, named).await.refused("no-full-backup");
    assert!(error.contains("no-such-ns"), "{error}");
}

/// rules.md 2.10: what committed is kept and counts for its own chain.
#[tokio::test(flavor = "multi_thread")]
async fn a_namespace_that_cannot_be_stored_takes_its_sibling_not_with_it() {
    let bench = filled(json!([SOURCE, TARGET]), 2000).await;
    let id = bench.trigger("full", ROUTINE).await;
    let job = bench.wait_until(id, |job| job["created"].is_string()).await;
    // A file where the folder must go; there is time until the scan.
    let created = crate::service::millis(&job, "created");
    let data = bench.path(&format!("{ROUTINE}/backup/{created}/data"));
    std::fs::create_dir_all(&data).unwrap();
    std::fs::write(data.join(TARGET), "in the way").unwrap();
    let job = bench.wait_job(id).await;
    assert_eq!((&job["status"], &job["error"]["code"]), (&json!("failed"), &json!("partial")), "{job:#}");
    assert_eq!(ends(&job), [(SOURCE, "committed"), (TARGET, "failed")]);
    let listed = bench.list("full", ROUTINE).await;
    assert_eq!((listed.len(), &listed[0]["namespace"]), (1, &json!(SOURCE)));
    // The one goes on from its own full, the other gets one.
    bench.write(&[mixed("a", 1, 2)]).await;
    let next = bench.back_up("incremental").await;
    assert_eq!(next["attempts"][SOURCE][0]["promoted"], json!(null));
    assert_eq!(next["attempts"][TARGET][0]["promoted"], "no-full");
    let expected = bench.node.snapshot(SOURCE).await;
    bench.node.empty(SOURCE).await;
    let request = json!({"routine": ROUTINE, "time": point(&next), "namespaces": [SOURCE]});
    let id = bench.trigger_restore("timestamp", &request).await;
    bench.restored(id).await.ok();
    assert_eq!(expected.differences(&bench.node.snapshot(SOURCE).await, 1), Vec::<String>::new());
}

/// rules.md 2.4
#[tokio::test(flavor = "multi_thread")]
async fn backup_and_restore_of_one_namespace_exclude_each_other() {
    let bench = filled(json!([SOURCE]), 200).await;
    let at = point(&bench.back_up("full").await);
    let mut config = bench.config.clone();
    config["backup-policies"]["quick"]["clock-skew-margin"] = json!(200_000);
    let mut bench = bench;
    bench.stop_service().await;
    bench.config = config;
    bench.start_service().await;
    let backup = bench.trigger("full", ROUTINE).await;
    bench.wait_until(backup, |job| job["created"].is_string()).await;
    let request = json!({"routine": ROUTINE, "time": at, "namespaces": [SOURCE]});
    let id = bench.trigger_restore("timestamp", &request).await;
    let job = bench.wait_job(id).await;
    // A refused restore is failed, with the reason (rules.md 2.1).
    let code = &job["reason-code"];
    assert_eq!((&job["status"], code), (&json!("failed"), &json!("backup-running")), "{job:#}");
    assert_eq!(bench.get(&format!("/v1/restore/status/{id}")).await["status"], "Failed");
    // Another namespace is free.
    bench.node.empty(TARGET).await;
    assert_eq!(bench.restore_to(at, json!({})).await.ok().records("inserted"), 300);
    bench.post(&format!("/v1/jobs/{backup}/cancel"), &json!({})).await;
    assert_eq!(bench.wait_job(backup).await["status"], "canceled");
}
