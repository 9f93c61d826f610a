//! What lists, one backup and the restore points say of real backups, and the deletion of one of them.

use serde_json::{Value, json};

use crate::node::SOURCE;
use crate::service::{Bench, ROUTINE};
use holdfast::sample::mixed;

fn timestamps(list: &Value) -> Vec<i64> {
    list.as_array().unwrap().iter().map(|one| one["timestamp"].as_i64().unwrap()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_has_ended_is_in_the_next_list_and_shown_with_all_that_belongs_to_it() {
    let bench = Bench::start().await;
    assert!(bench.list("full", ROUTINE).await.is_empty());
    let mut made = Vec::new();
    for (version, backup_type) in [(1, "full"), (2, "incremental"), (3, "incremental")] {
        bench.write(&(0..50).map(|key| mixed("customers", key, version)).collect::<Vec<_>>()).await;
        bench.back_up(backup_type).await;
        // Nothing but the store knows yet.
        let list = bench.list(backup_type, ROUTINE).await;
        made.push(list.last().unwrap()["timestamp"].as_i64().unwrap());
    }
    assert!(made.is_sorted() && made[0] < made[1] && made[1] < made[2], "{made:?}");

    let one = bench.get(&format!("/v1/backups/full/{ROUTINE}/{}", made[0])).await;
    let namespace = &one["namespaces"][0];
    assert_eq!(
        (&namespace["namespace"], &namespace["record-count"]),
        (&json!(SOURCE), &json!(50)),
        "{one:#}"
    );
    let files = namespace["files"].as_array().unwrap();
    assert!(files.iter().all(|file| file["blake3"].as_str().unwrap().len() == 64), "{one:#}");
    assert_eq!(files.iter().map(|file| file["records"].as_u64().unwrap()).sum::<u64>(), 50);
    assert_eq!(timestamps(&namespace["dependents"]), [made[2], made[1]]);
    assert!(namespace["scope"].is_object() && namespace["scope-hash"].is_string());

    let points = bench.get(&format!("/v1/backups/restore-points/{ROUTINE}")).await;
    let windows = points["namespaces"][0]["windows"].as_array().unwrap();
    let chains: Vec<Vec<i64>> = windows.iter().map(|one| timestamps(&one["chain"])).collect();
    assert_eq!(chains, [made.clone(), made[..2].to_vec(), made[..1].to_vec()]);
    // What a window promises is what a restore to it brings.
    let at = windows[1]["from"].as_i64().unwrap();
    let restored = bench.restore_to(at, json!({})).await.ok();
    assert!(restored.records("inserted") > 0);
}
