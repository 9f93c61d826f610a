//! Bad parameters are refused by name (abs.md 1.1).

use crate::helpers::{Running, one_routine};
use reqwest::Method;

#[tokio::test]
async fn a_bad_parameter_is_400_and_named() {
    let service = Running::start(one_routine).await;
    let table = [
        ("POST /v1/backups/full/daily?delay=-1", "delay: should be a positive integer"),
        ("POST /v1/backups/full/daily?delay=1.5", "delay: should be a positive integer"),
        ("POST /v1/backups/incremental/daily?delay=soon", "delay: should be a positive integer"),
        ("POST /v1/backups/schedule/daily?delay=9223372036854775808", "delay: should be a positive integer"),
        ("POST /v1/backups/full/daily?delay=9223372036854775807", "delay: "),
        ("POST /v1/backups/full/daily?strict=maybe", "strict: should be true or false"),
        ("GET /v1/backups/full?from=-1", "time bounds: from"),
        ("GET /v1/backups/full?to=x", "time bounds: to"),
        ("GET /v1/backups/full/daily?from=2&to=1", "time bounds: from"),
        ("GET /v1/backups/incremental?from=99999999999999999999", "time bounds: from"),
        ("GET /v1/restore/jobs?from=x", "time bounds: from"),
        ("GET /v1/restore/jobs?status=sleeping", "status: "),
        ("GET /v1/restore/jobs?status=!", "status: "),
        ("GET /v1/restore/status/x", "jobId: should be a positive integer"),
        ("GET /v1/restore/status/-1", "jobId: should be a positive integer"),
        ("POST /v1/restore/cancel/1e3", "jobId: should be a positive integer"),
        ("GET /v1/retrieve/configuration/daily/x", "timestamp: should be a positive integer"),
        ("GET /v1/jobs?limit=0", "limit: "),
        ("GET /v1/jobs?limit=1001", "limit: "),
        ("GET /v1/jobs?limit=-5", "limit: "),
        ("GET /v1/jobs?cursor=x", "cursor: "),
        ("GET /v1/jobs?kind=backups", "kind: "),
        ("GET /v1/jobs?status=succeeded,lost", "status: "),
        ("GET /v1/jobs?from=1&to=0", "time bounds: from"),
        ("GET /v1/jobs?stats=failed", "stats: "),
        ("GET /v1/jobs/abc", "jobId: should be a positive integer"),
        ("POST /v1/jobs/99999999999999999999/cancel", "jobId: should be a positive integer"),
    ];
    for (request, named) in table {
        let (method, path) = request.split_once(' ').unwrap();
        let answer = service.send(Method::from_bytes(method.as_bytes()).unwrap(), path, &[], "").await;
        assert_eq!(answer.status.as_u16(), 400, "{request}: {}", answer.body);
        assert!(
            answer.body.starts_with(&format!("invalid query param {named}")),
            "{request}: {}",
            answer.body
        );
    }
    // Nothing of that became a job.
    assert_eq!(service.get("/v1/jobs").await.body, "{\"jobs\":[],\"next\":null}");
}
