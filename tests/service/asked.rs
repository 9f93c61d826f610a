//! Labels, and asking twice.

use reqwest::Method;
use serde_json::{Value, json};

use crate::helpers::{Answer, Running, one_routine};

const RESTORE: &str = r#"{"routine": "daily", "time": 1700000000000}"#;

async fn keyed(service: &Running, path: &str, key: &str, body: &'static str) -> Answer {
    service.send(Method::POST, path, &[("idempotency-key", key)], body).await
}

async fn jobs(service: &Running, query: &str) -> Vec<Value> {
    service.get(&format!("/v1/jobs{query}")).await.json()["jobs"].as_array().unwrap().clone()
}

#[tokio::test]
async fn a_label_is_shown_and_found() {
    let service = Running::start(one_routine).await;
    let full = service.trigger("/v1/backups/full/daily?label=before%20release&delay=600000").await;
    service.trigger("/v1/backups/verify/daily?label=other").await;
    service.send(Method::POST, "/v1/restore/timestamp?label=before%20release", &[], RESTORE).await;
    service.trigger("/v1/backups/verify/daily").await;
    assert_eq!(service.job(full).await["label"], "before release");
    let found = jobs(&service, "?label=before%20release").await;
    let kinds: Vec<_> = found.iter().map(|job| job["kind"].as_str().unwrap()).collect();
    assert_eq!(kinds, ["restore", "backup"]);
    assert_eq!(jobs(&service, "?label=before%20release&kind=backup").await.len(), 1);
    assert_eq!(jobs(&service, "?label=nothing").await.len(), 0);
    let long = "x".repeat(129);
    for bad in ["a%0ab", long.as_str()] {
        let answer = service.post(&format!("/v1/backups/full/daily?label={bad}"), "").await;
        assert_eq!(answer.status.as_u16(), 400, "{answer:?}");
        assert!(answer.body.starts_with("invalid query param label: "), "{answer:?}");
    }
}

#[tokio::test]
async fn another_attempt_keeps_the_label() {
    let service = Running::start(one_routine).await;
    let id = service.trigger("/v1/backups/full/daily?label=mine").await;
    service.job_in(id, &["failed"]).await;
    let again = service.trigger(&format!("/v1/jobs/{id}/retry")).await;
    assert_eq!(service.job(again).await["label"], "mine");
}

#[tokio::test]
async fn the_same_key_and_request_is_the_same_job() {
    let service = Running::start(one_routine).await;
    let failed = service.trigger("/v1/backups/full/daily").await;
    service.job_in(failed, &["failed"]).await;
    let retry = format!("/v1/jobs/{failed}/retry");
    for (index, (path, body)) in [
        ("/v1/backups/full/daily?delay=600000", ""),
        ("/v1/backups/incremental/daily?delay=600000", ""),
        ("/v1/backups/verify/daily", ""),
        ("/v1/restore/timestamp", RESTORE),
        (retry.as_str(), ""),
    ]
    .into_iter()
    .enumerate()
    {
        let key = format!("key-{index}");
        let before = jobs(&service, "").await.len();
        let first = keyed(&service, path, &key, body).await;
        assert_eq!(first.status.as_u16(), 202, "{path}: {first:?}");
        let again = keyed(&service, path, &key, body).await;
        assert_eq!(again.status.as_u16(), 202, "{path}: {again:?}");
        assert_eq!(
            (first.header("location"), &first.body),
            (again.header("location"), &again.body),
            "{path}"
        );
        assert_eq!(jobs(&service, "").await.len(), before + 1, "{path}");
    }
    // Another process finds the key in the store.
    let service = service.restart().await;
    let before = jobs(&service, "").await.len();
    assert_eq!(keyed(&service, "/v1/restore/timestamp", "key-3", RESTORE).await.status.as_u16(), 202);
    assert_eq!(jobs(&service, "").await.len(), before);
}

#[tokio::test]
async fn the_same_key_with_another_request_is_422() {
    let service = Running::start(one_routine).await;
    assert_eq!(keyed(&service, "/v1/restore/timestamp", "k", RESTORE).await.status.as_u16(), 202);
    let before = jobs(&service, "").await.len();
    for (path, body) in [
        ("/v1/restore/timestamp", r#"{"routine": "daily", "time": 1700000000001}"#),
        ("/v1/restore/timestamp?label=x", RESTORE),
        ("/v1/backups/full/daily", ""),
        ("/v1/backups/verify/daily", ""),
    ] {
        let headers = [("idempotency-key", "k"), ("accept", "application/problem+json")];
        let answer = service.send(Method::POST, path, &headers, body).await;
        assert_eq!(answer.status.as_u16(), 422, "{path}: {answer:?}");
        assert_eq!(answer.json()["code"], "idempotency-key-reused");
    }
    assert_eq!(jobs(&service, "").await.len(), before);
    let long = "k".repeat(256);
    for bad in ["", "a b", long.as_str()] {
        assert_eq!(keyed(&service, "/v1/backups/full/daily", bad, "").await.status.as_u16(), 400, "{bad:?}");
    }
}

#[tokio::test]
async fn many_at_once_with_one_key_make_one_job() {
    let service = Running::start(one_routine).await;
    let path = "/v1/backups/full/daily?delay=600000";
    let answers = futures_util::future::join_all((0..20).map(|_| keyed(&service, path, "same", ""))).await;
    let places: std::collections::BTreeSet<_> =
        answers.iter().map(|answer| answer.header("location")).collect();
    assert_eq!(places.len(), 1, "{places:?}");
    assert_eq!(jobs(&service, "").await.len(), 1);
    assert_eq!(jobs(&service, "").await[0]["status"], json!("scheduled"));
}
