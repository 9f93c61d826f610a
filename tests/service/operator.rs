//! abs.md 7.10: the calls that the Kubernetes operator of ABS makes, in the order of a backup service's life. They
//! were written down from its client's contract, with `Content-Type: application/json` and empty bodies on triggers.

use crate::helpers::{Running, one_routine};
use reqwest::Method;
use serde_json::json;

const JSON: &[(&str, &str)] = &[("content-type", "application/json")];

#[tokio::test]
async fn the_operators_calls_are_answered_as_it_expects() {
    let service = Running::start(one_routine).await;
    let dir = service.dir.path().join("operator").display().to_string();
    let cluster =
        json!({"seed-nodes": [{"host-name": "127.0.0.1", "port": 1}], "conn-timeout": 500}).to_string();
    let storage = json!({"local-storage": {"path": dir}}).to_string();
    let policy =
        json!({"parallel": 2, "retry-policy": {"base-timeout": 1, "multiplier": 1, "max-retries": 0}})
            .to_string();
    let routine = json!({"source-cluster": "k", "storage": "k", "backup-policy": "k", "interval-cron": "@daily", "namespaces": ["test"]}).to_string();
    let calls: &[(&str, &str, u16)] = &[
        ("GET /v1/health", "", 200),
        ("GET /v1/config", "", 200),
        ("POST /v1/config/apply", "", 200),
        ("GET /v1/config/clusters", "", 200),
        ("POST /v1/config/clusters/k", &cluster, 201),
        ("PUT /v1/config/clusters/k", &cluster, 200),
        ("GET /v1/config/policies", "", 200),
        ("POST /v1/config/policies/k", &policy, 201),
        ("PUT /v1/config/policies/k", &policy, 200),
        ("GET /v1/config/storage", "", 200),
        ("POST /v1/config/storage/k", &storage, 201),
        ("PUT /v1/config/storage/k", &storage, 200),
        ("GET /v1/config/routines", "", 200),
        ("POST /v1/config/routines/k", &routine, 201),
        ("PUT /v1/config/routines/k", &routine, 200),
        ("GET /version", "", 200),
        ("POST /v1/backups/schedule/k", "", 202),
        ("POST /v1/backups/full/k", "", 202),
        ("POST /v1/backups/incremental/k", "", 202),
        ("GET /v1/backups/full", "", 200),
        ("GET /v1/backups/full/k", "", 200),
        ("GET /v1/backups/incremental/k", "", 200),
        ("POST /v1/config/apply", "", 200),
        ("DELETE /v1/config/routines/k", "", 204),
        ("DELETE /v1/config/clusters/k", "", 204),
    ];
    for (request, body, status) in calls {
        let (method, path) = request.split_once(' ').unwrap();
        let method = Method::from_bytes(method.as_bytes()).unwrap();
        let answer = service.send(method, path, JSON, (*body).to_owned()).await;
        assert_eq!(answer.status.as_u16(), *status, "{request}: {}", answer.body);
    }
    let missing = service.send(Method::DELETE, "/v1/config/clusters/k", JSON, "").await;
    assert!(!missing.status.is_success() && !missing.body.is_empty());
}

#[tokio::test]
async fn the_operators_restores_give_a_number_and_a_status() {
    let service = Running::start(one_routine).await;
    let by_path = json!({"source-name": "disk", "destination-name": "nowhere", "backup-data-path": "daily/backup/1700000000000/data/test"});
    let by_time = json!({"routine": "daily", "time": 1_710_671_632_452_i64});
    for (path, body) in [
        ("/v1/restore/full", &by_path),
        ("/v1/restore/incremental", &by_path),
        ("/v1/restore/timestamp", &by_time),
    ] {
        let answer = service.send(Method::POST, path, JSON, body.to_string()).await;
        assert_eq!(answer.status.as_u16(), 202, "{path}: {}", answer.body);
        let id: i64 = answer.body.parse().unwrap();
        let status = service.get(&format!("/v1/restore/status/{id}")).await;
        assert_eq!(status.status.as_u16(), 200);
        assert!(status.json()["status"].is_string());
        let canceled = service.send(Method::POST, &format!("/v1/restore/cancel/{id}"), JSON, "").await;
        assert!([200, 202].contains(&canceled.status.as_u16()));
    }
}
