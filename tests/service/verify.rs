//! Verification by request and on a schedule; no cluster is needed for it.

use crate::helpers::{Running, one_routine};
use reqwest::{Method, StatusCode};
use serde_json::Value;
use tempfile::TempDir;

/// A full of ABS, without any of our own files.
fn abs_backup(service: &Running, files: usize) -> std::path::PathBuf {
    let folder = service.dir.path().join("backups/daily/backup/1704110400000/data/test");
    std::fs::create_dir_all(&folder).unwrap();
    let text = "Version 3.1\n# namespace test\n# first-file\n";
    std::fs::write(folder.join("0_test_1.asb"), text).unwrap();
    let bytes = text.len();
    let metadata = format!(
        "created: 2024-01-01T12:00:00Z\nfinished: 2024-01-01T12:05:00Z\nfrom: 0001-01-01T00:00:00Z\nnamespace: test\n\
         record-count: 0\nbyte-count: {bytes}\nfile-count: {files}\nsecondary-index-count: 0\nudf-count: 0\n\
         compression: NONE\nencryption: NONE\n"
    );
    std::fs::write(folder.join("metadata.yaml"), metadata).unwrap();
    folder
}

#[tokio::test]
async fn a_verification_answers_like_a_trigger_and_its_outcome_is_in_the_list() {
    let service = Running::start(one_routine).await;
    let folder = abs_backup(&service, 1);
    let before = service.get("/v1/backups/full/daily").await.json();
    let id = service.trigger("/v1/backups/verify/daily").await;
    let job = service.job_in(id, &["succeeded"]).await;
    assert_eq!((&job["kind"], &job["trigger"]), (&Value::from("verify"), &Value::from("api")));
    let mut after = service.get("/v1/backups/full/daily").await.json();
    let verification = after[0].as_object_mut().unwrap().remove("verification").unwrap();
    assert_eq!(after, before, "beside ABS's fields, which stay as they are");
    assert_eq!(
        (&verification["outcome"], &verification["job"]),
        (&Value::from("verified"), &Value::from(id))
    );

    std::fs::remove_file(folder.join("0_test_1.asb")).unwrap();
    let id = service.trigger("/v1/backups/verify/daily").await;
    let job = service.job_in(id, &["failed"]).await;
    assert_eq!(job["error"]["code"], "backup-damaged", "{job}");
    let list = service.get("/v1/backups/full").await.json();
    assert_eq!(list["daily"][0]["verification"]["outcome"], "damaged");
    // A time before all backups has none.
    let id = service.trigger("/v1/backups/verify/daily?to=1704110399999").await;
    let job = service.job_in(id, &["succeeded"]).await;
    assert_eq!(job["warnings"][0]["code"], "nothing-to-verify");
    // A disabled routine makes no backups, but those it has can be read.
    service.job_in(service.trigger("/v1/backups/verify/resting").await, &["succeeded"]).await;
}

#[tokio::test]
async fn a_wrong_request_is_refused_and_leaves_no_job() {
    let service = Running::start(one_routine).await;
    for (path, status) in [
        ("/v1/backups/verify/nobody", StatusCode::NOT_FOUND),
        ("/v1/backups/verify/daily?from=2&to=1", StatusCode::BAD_REQUEST),
        ("/v1/backups/verify/daily?from=yesterday", StatusCode::BAD_REQUEST),
        ("/v1/backups/verify/daily?form=1", StatusCode::BAD_REQUEST),
        ("/v1/backups/verify/daily?storage=volt", StatusCode::NOT_FOUND),
    ] {
        assert_eq!(service.post(path, "").await.status, status, "{path}");
    }
    let get = service.send(Method::GET, "/v1/backups/verify/daily", &[], "").await;
    assert_eq!((get.status.as_u16(), get.header("allow")), (405, "POST"));
    assert_eq!(service.get("/v1/jobs").await.json()["jobs"], Value::Array(vec![]));
}

#[tokio::test]
async fn a_verify_cron_fires_by_itself() {
    let every_second = |dir: &TempDir| {
        one_routine(dir).replace(
            "    incr-interval-cron: \"0 0 12 1 1 ?\"",
            "    incr-interval-cron: \"0 0 12 1 1 ?\"\n    verify-cron: \"* * * * * ?\"",
        )
    };
    let service = Running::start(every_second).await;
    let waited = tokio::time::timeout(std::time::Duration::from_mins(1), async {
        loop {
            let page = service.get("/v1/jobs?kind=verify&status=succeeded").await.json();
            if let Some(job) = page["jobs"].get(0) {
                return job.clone();
            }
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
    });
    let job = waited.await.unwrap();
    assert_eq!((&job["trigger"], &job["type"]), (&Value::from("schedule"), &Value::Null), "{job}");
    let metrics = service.get("/metrics").await.body;
    for line in [
        "schedule_next_run_timestamp_seconds{routine=\"daily\",type=\"verify\"}",
        "verify_last_successful{routine=\"daily\"} 1",
        "verify_damaged_backups{routine=\"daily\",storage=\"disk\"} 0",
    ] {
        assert!(metrics.contains(line), "{line} is not in {metrics}");
    }
}
