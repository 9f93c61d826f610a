//! `GET /v1/retrieve/configuration/{name}/{timestamp}`. The cluster is a sandbox.

use holdfast::sandbox::{Sandbox, SandboxOptions};
use tokio_util::sync::CancellationToken;

use crate::helpers::{Running, one_routine};

#[tokio::test]
async fn the_nodes_configuration_comes_as_a_zip_of_the_newest_full_by_then() {
    let sandbox = Sandbox::start(SandboxOptions::default(), &CancellationToken::new()).await.unwrap();
    let port = sandbox.address().port();
    let yaml = |dir: &tempfile::TempDir| {
        one_routine(dir)
            .replace("conn-timeout: 500", "conn-timeout: 20000")
            .replace("port: 1}", &format!("port: {port}}}"))
            .replace("  once:\n", "  once:\n    with-cluster-configuration: true\n")
    };
    let service = Running::start(yaml).await;
    let path = |at: i64| format!("/v1/retrieve/configuration/daily/{at}");
    let none = service.get(&path(1_000)).await;
    assert_eq!(none.status.as_u16(), 404, "{}", none.body);

    let id = service.trigger("/v1/backups/full/daily").await;
    let job = service.job_in(id, &["failed", "succeeded"]).await;
    assert_eq!(job["status"], "succeeded", "{job:#}");
    let backups = service.get("/v1/backups/full/daily").await.json();
    let created = backups[0]["timestamp"].as_i64().unwrap();

    let zip = service.get(&path(created)).await;
    assert_eq!(zip.status.as_u16(), 200, "{}", zip.body);
    assert_eq!(zip.header("content-type"), "application/zip");
    assert_eq!(zip.header("content-disposition"), "attachment; filename=\"archive.zip\"");
    assert!(zip.body.starts_with("PK\u{3}\u{4}") && zip.body.contains("aerospike_0.conf"), "{:?}", zip.body);
    assert_eq!(service.get(&path(created - 1)).await.status.as_u16(), 404);
}
