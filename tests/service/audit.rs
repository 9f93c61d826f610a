//! Who has changed what.

use holdfast::api::token_hash;
use reqwest::Method;
use serde_json::{Value, json};

use crate::helpers::{Running, one_routine};

fn with_two(dir: &tempfile::TempDir) -> String {
    let token =
        |name: &str, role: &str| format!("{{name: {name}, hash: \"{}\", role: {role}}}", token_hash(name));
    format!(
        "service: {{auth: {{tokens: [{}, {}]}}, http: {{address: 127.0.0.1}}}}\n{}",
        token("boss", "admin"),
        token("eye", "viewer"),
        one_routine(dir)
    )
}

async fn audit(service: &Running, headers: &[(&str, &str)], query: &str) -> Vec<Value> {
    let answer = service.send(Method::GET, &format!("/v1/audit{query}"), headers, "").await;
    answer.json()["requests"].as_array().unwrap_or_else(|| panic!("{answer:?}")).clone()
}

#[tokio::test]
async fn every_request_that_may_change_something_is_listed_with_its_outcome() {
    let service = Running::start(with_two).await;
    let (boss, eye) = ([("authorization", "Bearer boss")], [("authorization", "Bearer eye")]);
    let made = [("authorization", "Bearer boss"), ("x-request-id", "mine")];
    let made = service.send(Method::POST, "/v1/backups/full/daily?label=x", &made, "").await;
    let job: i64 = made.header("location").strip_prefix("/v1/jobs/").unwrap().parse().unwrap();
    service.send(Method::POST, "/v1/backups/full/nothing", &boss, "").await;
    service.send(Method::POST, "/v1/backups/full/daily", &eye, "").await;
    service.send(Method::POST, "/v1/backups/full/daily", &[], "").await;
    service.send(Method::PUT, "/v1/backups/full/daily", &boss, "").await;
    service.send(Method::GET, "/v1/jobs", &boss, "").await;

    let rows = audit(&service, &boss, "").await;
    let seen: Vec<Value> = rows
        .iter()
        .map(|row| json!([row["who"], row["method"], row["path"], row["status"], row["code"], row["job"]]))
        .collect();
    assert_eq!(
        seen,
        [
            json!(["boss", "PUT", "/v1/backups/full/daily", 405, "method-not-allowed", null]),
            // A stranger could fill the table: who is not known is in the log only.
            json!(["eye", "POST", "/v1/backups/full/daily", 403, "forbidden", null]),
            json!(["boss", "POST", "/v1/backups/full/nothing", 404, "not-found", null]),
            json!(["boss", "POST", "/v1/backups/full/daily?label=x", 202, null, job]),
        ]
    );
    let first = rows.last().unwrap();
    assert_eq!((first["request-id"].as_str(), first["client"].as_str()), (Some("mine"), Some("127.0.0.1")));
    let at = |field: &str| chrono::DateTime::parse_from_rfc3339(first[field].as_str().unwrap()).unwrap();
    assert!(at("at") <= at("ended"));

    let page = service.send(Method::GET, "/v1/audit?limit=3", &boss, "").await.json();
    let cursor = page["next"].as_str().unwrap();
    assert_eq!(audit(&service, &boss, &format!("?limit=3&cursor={cursor}")).await, &rows[3..]);
    assert_eq!(audit(&service, &boss, "?who=eye").await, &rows[1..2]);
    assert_eq!(audit(&service, &boss, "?to=1").await, [] as [Value; 0]);
    assert_eq!(service.send(Method::GET, "/v1/audit", &eye, "").await.status.as_u16(), 403);

    let service = service.restart().await;
    assert_eq!(audit(&service, &boss, "").await, rows, "it outlives the process");
}

#[tokio::test]
async fn without_authentication_it_tells_the_address() {
    let service = Running::start(one_routine).await;
    service.trigger("/v1/backups/full/daily").await;
    let rows = audit(&service, &[], "").await;
    assert_eq!((&rows[0]["who"], &rows[0]["client"]), (&Value::Null, &json!("127.0.0.1")));
}

/// The store is told to refuse the row, by whoever else may open its file.
#[tokio::test]
async fn what_cannot_be_written_down_does_not_act() {
    use sqlx::Connection;
    let service = Running::start(one_routine).await;
    let file = format!("sqlite://{}", service.dir.path().join("state/holdfast.db").display());
    let mut other = sqlx::SqliteConnection::connect(&file).await.unwrap();
    let refuse = "CREATE TRIGGER refuse BEFORE INSERT ON audit BEGIN SELECT raise(ABORT, 'no'); END";
    sqlx::query(refuse).execute(&mut other).await.unwrap();
    let refused = service.post("/v1/backups/full/daily", "").await;
    assert_eq!(refused.status.as_u16(), 500, "{refused:?}");
    assert_eq!(service.get("/v1/jobs").await.json()["jobs"], json!([]));
    sqlx::query("DROP TRIGGER refuse").execute(&mut other).await.unwrap();
    service.trigger("/v1/backups/full/daily").await;
}
