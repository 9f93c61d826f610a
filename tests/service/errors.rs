//! Methods, bodies and forms of errors (abs.md 1.1, rules.md 7.1).

use crate::helpers::{Running, one_routine};
use reqwest::Method;

#[tokio::test]
async fn a_wrong_method_is_405_and_names_the_right_ones() {
    let service = Running::unconfigured().await;
    for (method, path, allow) in [
        (Method::PATCH, "/v1/config/clusters/c", "GET, HEAD, POST, PUT, DELETE"),
        (Method::DELETE, "/v1/backups/full/daily", "GET, HEAD, POST"),
        (Method::GET, "/v1/backups/cancel/daily", "POST"),
        (Method::PUT, "/v1/restore/full", "POST"),
        (Method::POST, "/v1/jobs", "GET, HEAD"),
        (Method::GET, "/v1/jobs/1/cancel", "POST"),
        (Method::POST, "/health", "GET, HEAD"),
        (Method::POST, "/no-such-route", "GET, HEAD"),
    ] {
        let answer = service.send(method.clone(), path, &[], "").await;
        assert_eq!(answer.status.as_u16(), 405, "{method} {path}");
        assert_eq!(answer.header("allow"), allow, "{method} {path}");
        assert_eq!(answer.body, "Method Not Allowed\n");
    }
}

#[tokio::test]
async fn head_answers_as_get_without_the_body() {
    let service = Running::unconfigured().await;
    let answer = service.send(Method::HEAD, "/v1/config", &[], "").await;
    assert_eq!((answer.status.as_u16(), answer.body.as_str()), (200, ""));
}

#[tokio::test]
async fn errors_are_plain_text_unless_the_request_asks_for_problem_json() {
    let service = Running::unconfigured().await;
    let plain = service.get("/v1/backups/full/nobody").await;
    assert_eq!(plain.header("content-type"), "text/plain; charset=utf-8");
    assert_eq!(plain.header("x-content-type-options"), "nosniff");
    let asked = [("accept", "application/json, application/problem+json")];
    let problem = service.send(Method::GET, "/v1/backups/full/nobody", &asked, "").await;
    assert_eq!(problem.header("content-type"), "application/problem+json");
    let body = problem.json();
    assert_eq!(body["status"], 404);
    assert_eq!(body["detail"], "routine \"nobody\" not found");
    assert_eq!(body["title"], "Not Found");
    assert!(body["type"].as_str().unwrap().ends_with(body["code"].as_str().unwrap()));
    let refused = service.send(Method::PUT, "/v1/jobs", &asked, "").await;
    assert_eq!((refused.status.as_u16(), refused.header("allow")), (405, "GET, HEAD"));
}

#[tokio::test]
async fn odd_paths_and_queries_are_answered_and_change_nothing() {
    let service = Running::start(one_routine).await;
    for (method, path, status) in [
        (Method::GET, "/v1/backups/full/%FF%FE", 404),
        (Method::GET, "/v1/backups/full/%0A%1B%5B31m", 404),
        (Method::GET, "/v1/backups/full/", 404),
        (Method::GET, "//v1/jobs", 404),
        (Method::GET, "/v1/jobs/", 404),
        (Method::GET, "/V1/jobs", 404),
        (Method::POST, "/v1/backups/full/daily?delay=%FF", 400),
        (Method::POST, "/v1/backups/full/daily?delay=+1", 400),
        (Method::GET, "/v1/backups/full?from=1&from=x", 200), // the first counts, as in Go
        (Method::GET, "/v1/backups/full?unknown=1", 200),     // and what ABS does not know is ignored
        (Method::GET, "/v1/jobs?cursor=0", 200),
    ] {
        let answer = service.send(method.clone(), path, &[], "").await;
        assert_eq!(answer.status.as_u16(), status, "{method} {path}: {}", answer.body);
        assert!(!answer.body.contains(['\x1b', '\0']), "{path}: {:?}", answer.body);
    }
    assert_eq!(service.get("/v1/jobs").await.body, "{\"jobs\":[],\"next\":null}");
}

#[tokio::test]
async fn a_body_over_the_limit_is_413() {
    let service = Running::unconfigured().await;
    let body = vec![b' '; 8 * 1024 * 1024 + 1];
    let answer = service.send(Method::POST, "/v1/restore/full", &[], body).await;
    assert_eq!((answer.status.as_u16(), answer.body.as_str()), (413, "request body too large\n"));
}

#[tokio::test]
async fn a_document_that_cannot_be_read_says_why() {
    let service = Running::start(one_routine).await;
    for (body, text) in [
        ("", "invalid JSON payload: "),
        ("[]", "invalid JSON payload: "),
        ("{\"time\": \"soon\"}", "invalid JSON payload: "),
        ("{\"time\": 1} x", "invalid JSON payload: "),
        (
            "{\"routin\": \"daily\", \"time\": 1700000000000}",
            "invalid JSON payload: unknown field \"routin\" - did you mean: \"routine\"?",
        ),
        ("{\"routine\": \"daily\", \"time\": 1}", "invalid request: "),
        ("{\"routine\": \"nobody\", \"time\": 1700000000000}", "invalid request: "),
    ] {
        let answer = service.post("/v1/restore/timestamp", body).await;
        assert_eq!(answer.status.as_u16(), 400, "{body}");
        assert!(answer.body.starts_with(text), "{body}: {}", answer.body);
    }
}
