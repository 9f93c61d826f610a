//! abs.md 7.1: exact status and body of a service without configuration, for what is built.

use crate::helpers::Running;
use reqwest::Method;

#[tokio::test]
async fn answers_as_abs_does_without_configuration() {
    let service = Running::unconfigured().await;
    let no_routine = "routine \"routine1\" not found\n";
    let table = [
        ("GET /", "", 200, ""),
        ("GET /health", "", 200, "Ok"),
        ("GET /ready", "", 200, "Ok"),
        ("GET /v1/config", "", 200, "{}"),
        ("POST /v1/config/apply", "", 200, ""),
        ("GET /v1/config/clusters", "", 200, "{}"),
        ("GET /v1/config/storage", "", 200, "{}"),
        ("GET /v1/config/policies", "", 200, "{}"),
        ("GET /v1/config/routines", "", 200, "{}"),
        ("GET /v1/config/clusters/cluster1", "", 404, "cluster \"cluster1\" not found\n"),
        ("GET /v1/config/storage/storage1", "", 404, "storage \"storage1\" not found\n"),
        ("GET /v1/config/policies/policy1", "", 404, "policy \"policy1\" not found\n"),
        ("GET /v1/config/routines/routine1", "", 404, no_routine),
        ("GET /v1/backups/full", "", 200, "{}"),
        ("GET /v1/backups/incremental", "", 200, "{}"),
        ("GET /v1/backups/full/routine1", "", 404, no_routine),
        ("GET /v1/backups/incremental/routine1", "", 404, no_routine),
        ("POST /v1/backups/full/routine1", "", 404, no_routine),
        ("POST /v1/backups/incremental/routine1", "", 404, no_routine),
        ("POST /v1/backups/schedule/routine1", "", 404, no_routine),
        ("POST /v1/backups/cancel/routine1", "", 404, no_routine),
        ("GET /v1/backups/currentBackup/routine1", "", 404, no_routine),
        (
            "POST /v1/restore/full",
            "{}",
            400,
            "invalid request: empty field validation error: \"backup-data-path\" required\n",
        ),
        (
            "POST /v1/restore/incremental",
            "{}",
            400,
            "invalid request: empty field validation error: \"backup-data-path\" required\n",
        ),
        (
            "POST /v1/restore/timestamp",
            "{}",
            400,
            "invalid request: empty field validation error: \"time\" required\n",
        ),
        ("GET /v1/restore/jobs", "", 200, "{}"),
        ("GET /v1/restore/status/1", "", 404, "job '\\x01' not found\n"),
        ("POST /v1/restore/cancel/1", "", 404, "job '\\x01' not found\n"),
        ("GET /v1/retrieve/configuration/routine1/1000", "", 404, no_routine),
        ("GET /no-such-route", "", 404, ""),
        ("GET /v1/jobs", "", 200, "{\"jobs\":[],\"next\":null}"),
    ];
    for (request, body, status, answer) in table {
        let (method, path) = request.split_once(' ').unwrap();
        service.expect(Method::from_bytes(method.as_bytes()).unwrap(), path, body, status, answer).await;
    }
}

#[tokio::test]
async fn says_the_abs_level_and_its_own_version() {
    let service = Running::unconfigured().await;
    let answer = service.get("/version").await;
    let version = answer.json();
    assert_eq!(version["version"], "3.5.0");
    let keys: Vec<&str> = version.as_object().unwrap().keys().map(String::as_str).collect();
    assert_eq!(keys, ["build-time", "commit", "version"]);
    assert_eq!(answer.header("server"), concat!("holdfast/", env!("CARGO_PKG_VERSION")));
    assert_eq!(answer.header("content-type"), "application/json");
}

#[tokio::test]
async fn shows_its_metrics_in_the_text_format() {
    let service = Running::unconfigured().await;
    let answer = service.get("/metrics").await;
    assert!(answer.header("content-type").starts_with("text/plain; version=0.0.4"));
    assert!(answer.body.contains("\naerospike_backup_service_restore_in_progress 0\n"), "{}", answer.body);
}

#[tokio::test]
async fn listens_on_loopback_only_without_an_address() {
    let service = Running::unconfigured().await;
    assert!(service.service.http_address().ip().is_loopback()); // rules.md 7.2
}

#[tokio::test]
async fn serves_below_the_context_path() {
    let service = Running::start(|_| "service: {http: {context-path: /abs}}".to_owned()).await;
    service.expect(Method::GET, "/abs/v1/backups/full", "", 200, "{}").await;
    service.expect(Method::GET, "/abs/health", "", 200, "Ok").await;
    service.expect(Method::GET, "/v1/backups/full", "", 404, "").await;
}
