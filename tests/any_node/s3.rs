//! The main job in S3: s3s-fs in this process, which `tests/storage` does again with a server of its own.

use holdfast::sample::mixed;
use serde_json::{Value, json};

use crate::node::{SOURCE, TARGET};
use crate::s3_server::{ACCESS_KEY, BUCKET, Fault, S3Server, SECRET_KEY};
use crate::service::{Bench, ROUTINE, point};

async fn bench(server: &S3Server) -> Bench {
    Bench::with(|config| {
        config["storage"]["disk"] = json!({"s3-storage": {
            "bucket": BUCKET, "path": "of/tests", "s3-region": "eu-central-1", "s3-endpoint-override": server.url,
            "access-key-id": ACCESS_KEY, "secret-access-key": SECRET_KEY,
        }});
        config["backup-policies"]["quick"]["retention"] = json!({"full": 1});
    })
    .await
}

fn asked(server: &S3Server) -> usize {
    server.seen().len()
}

#[tokio::test(flavor = "multi_thread")]
async fn full_incremental_restore_by_time_and_retention() {
    let server = S3Server::start().await;
    let bench = bench(&server).await;
    bench.write(&(0..500).map(|key| mixed("customers", key, 1)).collect::<Vec<_>>()).await;
    bench.back_up("full").await;
    bench.write(&(400..600).map(|key| mixed("customers", key, 2)).collect::<Vec<_>>()).await;
    let at = point(&bench.back_up("incremental").await);
    let then = bench.node.snapshot(SOURCE).await;
    bench.write(&(0..700).map(|key| mixed("customers", key, 3)).collect::<Vec<_>>()).await;

    assert_eq!(
        (bench.list("full", ROUTINE).await.len(), bench.list("incremental", ROUTINE).await.len()),
        (1, 1)
    );
    bench.restore_to(at, json!({})).await.ok();
    assert!(bench.node.snapshot(TARGET).await.0 == then.0, "the restored records are those of the instant");

    // Retention: the full before goes, with the incremental that hangs on it.
    let second = bench.back_up("full").await;
    let jobs = async || bench.get("/v1/jobs?kind=retention").await;
    let mut pruned: Value = jobs().await;
    for _ in 0..1_000 {
        let all = pruned["jobs"].as_array().unwrap();
        if all.len() >= 2 && all.iter().all(|job| job["status"] == "succeeded") {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        pruned = jobs().await;
    }
    let left = bench.list("full", ROUTINE).await;
    assert_eq!(left.len(), 1, "{pruned:#}");
    assert!(bench.list("incremental", ROUTINE).await.is_empty());

    // The cache answers; read anew, a list takes a page of folders of each type, and of each backup its folders, metadata.yaml,
    // manifest.json and the mark of a void one.
    asked(&server);
    bench.list("full", ROUTINE).await;
    assert_eq!(asked(&server), 0);
    bench.get(&format!("/v1/backups/full/{ROUTINE}?refresh=true")).await;
    assert_eq!(asked(&server), 6);

    // A restore by path, of a storage that the request brings along.
    bench.node.empty(TARGET).await;
    let request = json!({
        "backup-data-path": left[0]["key"],
        "source": bench.config["storage"]["disk"],
        "destination-name": "node",
        "policy": {"namespace": {"source": SOURCE, "destination": TARGET}},
    });
    let restored = bench.restored(bench.trigger_restore("full", &request).await).await.ok();
    assert!(!restored.job.to_string().contains(SECRET_KEY), "no key in a row");
    assert!(bench.node.snapshot(TARGET).await.0 == bench.node.snapshot(SOURCE).await.0);
    assert_eq!(second["status"], "succeeded");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bucket_that_cannot_be_reached_is_an_error_and_no_empty_list() {
    let server = S3Server::start().await;
    let bench = bench(&server).await;
    bench.write(&[mixed("customers", 1, 1)]).await;
    bench.back_up("full").await;
    server.on(|_| Some(Fault::error(403, "AccessDenied")));
    let (status, body) = bench.answer(&format!("/v1/backups/full/{ROUTINE}")).await;
    assert!(status >= 500 && body.contains("AccessDenied"), "{status} {body}");
    let failed = bench.run("full", ROUTINE).await;
    assert_eq!((&failed["status"], &failed["error"]["code"]), (&json!("failed"), &json!("storage-denied")));
    server.heal();
    assert_eq!(bench.list("full", ROUTINE).await.len(), 1);
}
