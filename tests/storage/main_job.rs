//! The main job, whatever the storage is.

use std::time::Duration;

use holdfast::sample::mixed;
use serde_json::{Value, json};

use crate::Storage;
use crate::node::{SOURCE, TARGET};
use crate::service::{Bench, ROUTINE, point};

/// A full, two incrementals, a restore to each point and of a storage that stands in the request, and a retention. `outside`
/// looks at the same place; `secret` is in the configuration and must be shown by nothing.
pub async fn main_job(storage: Value, secret: &str, outside: &dyn Storage) {
    let bench = Bench::with(|config| {
        config["storage"] = json!({"cloud": storage});
        config["backup-routines"][ROUTINE]["storage"] = json!("cloud");
        config["backup-policies"]["quick"]["retention"] = json!({"full": 1});
    })
    .await;
    bench.write(&(0..2000).map(|key| mixed("customers", key, 1)).collect::<Vec<_>>()).await;
    let mut points = vec![(point(&bench.back_up("full").await), bench.node.snapshot(SOURCE).await)];
    for version in 2..=3 {
        bench
            .write(&(0..50).map(|key| mixed("customers", key * 7 * version, version)).collect::<Vec<_>>())
            .await;
        let job = bench.back_up("incremental").await;
        points.push((point(&job), bench.node.snapshot(SOURCE).await));
    }
    assert_eq!(bench.list("full", ROUTINE).await.len(), 1);
    assert_eq!(bench.list("incremental", ROUTINE).await.len(), 2);
    for (at, expected) in &points {
        bench.node.empty(TARGET).await;
        bench.restore_to(*at, json!({})).await.ok();
        assert_eq!(bench.differences(expected).await, Vec::<String>::new());
    }
    let verified = bench.wait_job(bench.trigger("verify", ROUTINE).await).await;
    assert_eq!(verified["status"], "succeeded", "{verified:#}");

    // The storage inline, with its secret.
    bench.node.empty(TARGET).await;
    let (_, expected) = points.last().unwrap();
    let asked = json!({
        "routine": ROUTINE,
        "time": points.last().unwrap().0,
        "source": storage,
        "destination-name": "node",
        "policy": {"namespace": {"source": SOURCE, "destination": TARGET}},
    });
    let id = bench.trigger_restore("timestamp", &asked).await;
    bench.restored(id).await.ok();
    assert_eq!(bench.differences(expected).await, Vec::<String>::new());

    // A second full: the first one goes, with what was built on it.
    let first = bench.newest_key("full").await;
    bench.back_up("full").await;
    let built_on_it = format!("{ROUTINE}/incremental");
    let pruned = async {
        while outside.list(&first).await.unwrap().len() + outside.list(&built_on_it).await.unwrap().len() > 0
        {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(crate::service::PATIENCE, pruned).await.expect("retention did not delete");
    assert_eq!(bench.list("full", ROUTINE).await.len(), 1);

    for path in ["/v1/config", "/v1/jobs", "/v1/config/storage"] {
        assert!(!bench.text(path).await.contains(secret), "{path} shows the secret");
    }
}
