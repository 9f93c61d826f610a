//! What else happens to a namespace while it is backed up or restored (rules.md 2.4, 3.5).

use holdfast::sample::mixed;
use serde_json::{Value, json};

use crate::node::{SOURCE, TARGET};
use crate::service::{Bench, ROUTINE, point};

/// A service that knows the cluster by two names.
async fn under_two_names() -> Bench {
    Bench::with(|config| {
        let mut alias = config["aerospike-clusters"]["node"].clone();
        // Not even the host is spelled alike.
        alias["seed-nodes"][0]["host-name"] = json!("localhost");
        config["aerospike-clusters"]["alias"] = alias;
        config["backup-routines"]["other"] = config["backup-routines"][ROUTINE].clone();
        config["backup-routines"]["other"]["source-cluster"] = json!("alias");
        config["backup-routines"]["other"]["namespaces"] = json!([TARGET]);
    })
    .await
}

/// rules.md 2.4: names differ, node and address do not.
#[tokio::test(flavor = "multi_thread")]
async fn one_cluster_under_two_names_is_one() {
    let bench = under_two_names().await;
    let records: Vec<_> = (0..20_000).map(|key| mixed("a", key, 1)).collect();
    bench.write(&records).await;
    let at = point(&bench.back_up("full").await);
    // One record at a time, for as long as we look.
    let slowly = json!({"policy": {"parallel": 1, "batch-size": 1, "max-async-batches": 1}});
    let restore = bench.trigger_restore_to(at, &slowly).await;
    bench.wait_until(restore, |job| job["progress"]["done-records"].as_u64() > Some(0)).await;
    let backup = bench.run("full", "other").await;
    let ended = (&backup["status"], &backup["reason-code"]);
    assert_eq!(ended, (&json!("skipped"), &json!("restore-running")), "{backup:#}");
    let second = json!({"destination-name": "alias"});
    bench.restore_to(at, second).await.refused("restore-running");
    assert_eq!(bench.job(restore).await["status"], "running");
    bench.post(&format!("/v1/jobs/{restore}/cancel"), &json!({})).await;
    assert_eq!(bench.wait_job(restore).await["status"], "canceled");
    assert_eq!(bench.list("full", "other").await, Vec::<Value>::new());
    // And nothing is in the way any more.
    let backup = bench.run("full", "other").await;
    assert_eq!(backup["status"], "succeeded", "{backup:#}");
}

/// What a restore writes into a source is new to it.
#[tokio::test(flavor = "multi_thread")]
async fn a_restore_into_the_source_is_in_the_next_incremental() {
    let bench = Bench::start().await;
    bench.write(&(0..50).map(|key| mixed("a", key, 1)).collect::<Vec<_>>()).await;
    let before = bench.node.snapshot(SOURCE).await;
    let at = point(&bench.back_up("full").await);
    bench.write(&(0..10).map(|key| mixed("a", key, 2)).collect::<Vec<_>>()).await;
    bench.back_up("incremental").await;
    let request = json!({"policy": {
        "namespace": {"source": SOURCE, "destination": SOURCE},
        "no-generation": true,
        "replace": true,
    }});
    let restored = bench.restore_to(at, request).await.ok();
    assert_eq!(restored.records("inserted"), 50, "{restored:#?}");
    let after = bench.node.snapshot(SOURCE).await;
    assert_eq!(after.0.len(), before.0.len());
    let next = bench.back_up("incremental").await;
    assert_eq!(next["attempts"][SOURCE][0]["record-count"], 50, "{next:#}");
    bench.restore_to(point(&next), json!({})).await.ok();
    assert_eq!(bench.differences(&after).await, Vec::<String>::new());
}
