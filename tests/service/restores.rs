//! Restores: the request, its answer, status and list in ABS's words.

use crate::helpers::{Running, one_routine};
use reqwest::Method;
use serde_json::Value;

const BY_TIME: &str = r#"{"routine": "daily", "time": 1710671632452}"#;

async fn restore(service: &Running, path: &str, body: &str) -> i64 {
    let answer = service.post(path, body).await;
    assert_eq!(answer.status.as_u16(), 202, "{path} {body}: {}", answer.body);
    let id: i64 = answer.body.parse().unwrap(); // a bare number and nothing else
    assert_eq!(answer.header("location"), format!("/v1/jobs/{id}"));
    id
}

#[tokio::test]
async fn the_minimal_requests_become_jobs_with_a_status_in_abs_words() {
    let service = Running::start(one_routine).await;
    let by_path = r#"{"backup-data-path": "daily/backup/1704110400000/data/test", "source-name": "disk",
        "destination-name": "nowhere", "policy": {"no-generation": true}}"#;
    for (path, body) in [
        ("/v1/restore/timestamp", BY_TIME),
        ("/v1/restore/full", by_path),
        ("/v1/restore/incremental", by_path),
    ] {
        let id = restore(&service, path, body).await;
        service.job_in(id, &["failed", "skipped"]).await;
        let status = service.get(&format!("/v1/restore/status/{id}")).await.json();
        assert_eq!(status["status"], "Failed", "{status}");
        assert!(status["error"].is_string(), "{status}");
        for counter in [
            "read-records",
            "total-bytes",
            "expired-records",
            "skipped-records",
            "ignored-records",
            "inserted-records",
            "existed-records",
            "fresher-records",
            "index-count",
            "udf-count",
            "errors-in-doubt",
        ] {
            assert!(status[counter].is_u64(), "{counter}: {status}"); // zeros are printed
        }
        assert!(status["current-job"]["start-time"].is_string(), "{status}");
        assert_eq!(status["current-job"].get("duration"), None, "since 3.6");
        service.expect(Method::POST, &format!("/v1/restore/cancel/{id}"), "", 202, "").await;
    }
}

#[tokio::test]
async fn the_list_filters_by_status_in_both_spellings_and_pages() {
    let service = Running::start(one_routine).await;
    let mut made = Vec::new();
    for _ in 0..3 {
        let id = restore(&service, "/v1/restore/timestamp", BY_TIME).await;
        service.job_in(id, &["failed", "skipped"]).await;
        made.push(id.to_string());
    }
    for (query, count) in [
        ("", 3),
        ("?status=failure", 3),
        ("?status=Failed,Done", 3),
        ("?status=!failed", 0),
        ("?status=success,running", 0),
        ("?from=0&to=1", 0),
    ] {
        let list = service.get(&format!("/v1/restore/jobs{query}")).await.json();
        assert_eq!(list.as_object().unwrap().len(), count, "{query}: {list}");
    }
    let first = service.get("/v1/restore/jobs?limit=2").await;
    let shown: Vec<String> = first.json().as_object().unwrap().keys().cloned().collect();
    assert_eq!(shown, made[1..]); // the newest
    let cursor = first.header("holdfast-next-cursor");
    let rest = service.get(&format!("/v1/restore/jobs?limit=2&cursor={cursor}")).await;
    assert_eq!(rest.json().as_object().unwrap().keys().collect::<Vec<_>>(), [&made[0]]);
    assert_eq!(rest.header("holdfast-next-cursor"), "");
}

#[tokio::test]
async fn a_backup_is_no_restore_job() {
    let service = Running::start(one_routine).await;
    let id = service.trigger("/v1/backups/full/daily?delay=3600000").await;
    assert_eq!(service.get(&format!("/v1/restore/status/{id}")).await.status.as_u16(), 404);
    assert_eq!(service.post(&format!("/v1/restore/cancel/{id}"), "").await.status.as_u16(), 404);
    assert_eq!(service.job(id).await["status"], "scheduled");
}

#[tokio::test]
async fn an_inline_folder_outside_the_configured_roots_is_refused() {
    let service = Running::start(one_routine).await;
    let body = r#"{"backup-data-path": "x", "source": {"local-storage": {"path": "/etc"}},
        "destination-name": "nowhere"}"#;
    let answer = service.post("/v1/restore/full", body).await;
    assert_eq!(answer.status.as_u16(), 400);
    assert!(answer.body.starts_with("invalid request: "), "{}", answer.body);
}

#[tokio::test]
async fn newer_releases_of_abs_are_spoken_when_asked_for() {
    let service = Running::start(|dir| {
        let (head, level) = (one_routine(dir), "service: {compatibility: \"3.6\"}\n");
        format!("{level}{head}")
    })
    .await;
    assert_eq!(service.get("/version").await.json()["version"], "3.6.0");
    let id = restore(&service, "/v1/restore/timestamp", BY_TIME).await;
    service.job_in(id, &["failed", "skipped"]).await;
    let status = service.get(&format!("/v1/restore/status/{id}")).await.json();
    assert_eq!(status["status"], Value::from("failure"));
    assert!(status["current-job"]["duration"].is_i64());
}
