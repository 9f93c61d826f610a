//! A service without configuration: what is beside the table of `conformance`.

use crate::helpers::Running;
use reqwest::Method;

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
