//! Copies between providers: a backup of a disk in an object store, and one of an object store on a disk.

use holdfast::sample::mixed;
use serde_json::{Value, json};

use crate::Storage;
use crate::node::{SOURCE, TARGET};
use crate::seaweed::Seaweed;
use crate::service::{Bench, PATIENCE, ROUTINE, point};

/// The newest copy, once it has succeeded and was made after a job.
async fn copy_after(bench: &Bench, job: &Value) -> Value {
    let waited = tokio::time::timeout(PATIENCE, async {
        loop {
            let page = bench.get("/v1/jobs?kind=copy&status=succeeded").await;
            if let Some(id) = page["jobs"][0]["id"].as_i64().filter(|id| *id > job["id"].as_i64().unwrap()) {
                return bench.job(id).await;
            }
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
    });
    waited.await.expect("no copy has succeeded")
}

/// Backs up to `own`, has it copied to `other`, loses all of `own`, and restores each point from the copy.
async fn copied(own: Value, other: Value, lose: impl AsyncFnOnce(&Bench)) {
    let bench = Bench::with(|config| {
        config["storage"] = json!({"own": own, "other": other});
        config["backup-routines"][ROUTINE]["storage"] = json!("own");
        config["backup-routines"][ROUTINE]["copies"] =
            json!([{"storage": "other", "retention": {"full": 1}}]);
    })
    .await;
    bench.write(&(0..2000).map(|key| mixed("customers", key, 1)).collect::<Vec<_>>()).await;
    let mut points = Vec::new();
    for (version, backup_type) in [(1, "full"), (2, "incremental"), (3, "incremental")] {
        let changed = (0..50 * (version - 1)).map(|key| mixed("customers", key * 7, version));
        bench.write(&changed.collect::<Vec<_>>()).await;
        let job = bench.back_up(backup_type).await;
        let copy = copy_after(&bench, &job).await;
        assert_eq!(copy["counters"]["copied-backups"], 1, "{copy:#}");
        points.push((point(&job), bench.node.snapshot(SOURCE).await));
    }
    lose(&bench).await;
    for (at, expected) in &points {
        bench.node.empty(TARGET).await;
        let restored = bench.restore_to(*at, json!({})).await.ok();
        assert_eq!(restored.job["result"]["storage"], "other", "{restored:?}");
        assert_eq!(bench.differences(expected).await, Vec::<String>::new());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_disk_had_is_restored_from_s3() {
    let seaweed = Seaweed::start().await;
    let disk = tempfile::tempdir().unwrap();
    let path = disk.path().join("backups");
    let own = json!({"local-storage": {"path": path}});
    copied(own, seaweed.section(&json!({"path": "copies"})), async |_: &Bench| {
        std::fs::remove_dir_all(&path).unwrap();
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_s3_had_is_restored_from_a_disk() {
    let seaweed = Seaweed::start().await;
    let outside = seaweed.storage(&json!({"path": "own"})).await;
    let disk = tempfile::tempdir().unwrap();
    let other = json!({"local-storage": {"path": disk.path().join("copies")}});
    copied(seaweed.section(&json!({"path": "own"})), other, async |_: &Bench| {
        outside.delete_prefix(ROUTINE).await.unwrap();
    })
    .await;
}
