//! `/v1/jobs`: filters, pages, one job, cancel.

use crate::helpers::{Running, one_routine};
use reqwest::Method;
use serde_json::Value;

const LATER: &str = "delay=3600000";

async fn three(service: &Running) -> Vec<i64> {
    let mut ids = Vec::new();
    for path in ["full", "incremental", "full"] {
        ids.push(service.trigger(&format!("/v1/backups/{path}/daily?{LATER}")).await);
    }
    ids
}

fn ids(page: &Value) -> Vec<i64> {
    page["jobs"].as_array().unwrap().iter().map(|job| job["id"].as_i64().unwrap()).collect()
}

#[tokio::test]
async fn pages_go_from_the_newest_to_the_oldest_without_gap_or_repeat() {
    let service = Running::start(one_routine).await;
    let mut made = three(&service).await;
    made.reverse();
    let mut seen = Vec::new();
    let mut path = "/v1/jobs?limit=1".to_owned();
    loop {
        let page = service.get(&path).await.json();
        seen.extend(ids(&page));
        match page["next"].as_str() {
            Some(cursor) => path = format!("/v1/jobs?limit=1&cursor={cursor}"),
            None => break,
        }
        // What is new meanwhile does not shift the pages.
        service.trigger(&format!("/v1/backups/full/daily?{LATER}")).await;
    }
    assert_eq!(seen, made);
    let keys =
        ["id", "kind", "type", "routine", "trigger", "status", "reason", "queued", "started", "finished"];
    let page = service.get("/v1/jobs").await.json();
    for key in keys {
        assert!(page["jobs"][0].get(key).is_some(), "{key}: {page}");
    }
}

#[tokio::test]
async fn filters_narrow_and_both_ends_of_the_time_count() {
    let service = Running::start(one_routine).await;
    let made = three(&service).await;
    service.expect(Method::POST, &format!("/v1/jobs/{}/cancel", made[1]), "", 202, "").await;
    for (query, expected) in [
        ("kind=backup", vec![made[2], made[1], made[0]]),
        ("kind=restore", vec![]),
        ("routine=daily", vec![made[2], made[1], made[0]]),
        ("routine=nobody", vec![]),
        ("status=canceled", vec![made[1]]),
        ("status=Canceled,failure", vec![made[1]]),
        ("status=!canceled", vec![made[2], made[0]]),
        ("status=scheduled&kind=backup&limit=1", vec![made[2]]),
        ("from=0", vec![made[2], made[1], made[0]]),
        ("to=0", vec![]),
        ("status=", vec![made[2], made[1], made[0]]),
    ] {
        let page = service.get(&format!("/v1/jobs?{query}")).await.json();
        assert_eq!(ids(&page), expected, "{query}");
    }
    let admitted = service.job(made[0]).await["admitted"].as_str().unwrap().to_owned();
    let at = chrono::DateTime::parse_from_rfc3339(&admitted).unwrap().timestamp_millis();
    let page = service.get(&format!("/v1/jobs?from={at}&to={at}")).await.json();
    assert!(ids(&page).contains(&made[0]), "{page}");
}

#[tokio::test]
async fn one_job_shows_everything_and_an_unknown_one_is_404() {
    let service = Running::start(one_routine).await;
    let id = service.trigger("/v1/backups/full/daily").await;
    let job = service.job_in(id, &["failed"]).await;
    for key in ["progress", "rate", "estimated-end-time", "attempts", "counters", "warnings", "error"] {
        assert!(job.get(key).is_some(), "{key}: {job}");
    }
    assert_eq!((&job["cluster"], &job["storage"]), (&Value::from("nowhere"), &Value::from("disk")));
    assert!(job["progress"]["percentage-done"].as_u64().unwrap() < 100, "{job}");
    service.expect(Method::GET, "/v1/jobs/1", "", 404, "job '\\x01' not found\n").await;
    service.expect(Method::POST, "/v1/jobs/1/cancel", "", 404, "job '\\x01' not found\n").await;
    let unknown = format!("/v1/jobs/{}", i64::MAX);
    assert_eq!(service.get(&unknown).await.body, format!("job '{}' not found\n", i64::MAX));
}

#[tokio::test]
async fn cancel_of_an_ended_job_changes_nothing() {
    let service = Running::start(one_routine).await;
    let id = service.trigger("/v1/backups/full/daily").await;
    let before = service.job_in(id, &["failed"]).await;
    service.expect(Method::POST, &format!("/v1/jobs/{id}/cancel"), "", 202, "").await;
    assert_eq!(service.job(id).await, before);
}

#[tokio::test]
async fn job_ids_are_safe_in_javascript_and_grow() {
    let service = Running::start(one_routine).await;
    let made = three(&service).await;
    assert!(made.windows(2).all(|pair| pair[0] < pair[1]), "{made:?}");
    assert!(made.iter().all(|id| *id < 1 << 53), "{made:?}");
    let service = service.restart().await;
    assert!(service.trigger(&format!("/v1/backups/full/daily?{LATER}")).await > made[2]);
}

/// rules.md 2.5.
#[tokio::test]
async fn an_ended_job_is_tried_again_and_what_cannot_be_says_why() {
    let service = Running::start(one_routine).await;
    let id = service.trigger("/v1/backups/full/daily").await;
    service.job_in(id, &["failed"]).await;
    let again = service.trigger(&format!("/v1/jobs/{id}/retry")).await;
    let job = service.job_in(again, &["failed"]).await;
    assert_eq!((&job["trigger"], &job["retry-of"]), (&Value::from("retry"), &Value::from(id)), "{job}");
    assert_eq!(job["created"], service.job(id).await["created"]);

    let problem = [("accept", "application/problem+json")];
    let refused = async |id: i64, query: &str| {
        let path = format!("/v1/jobs/{id}/retry{query}");
        let answer = service.send(Method::POST, &path, &problem, "").await;
        (answer.status.as_u16(), answer.json()["code"].as_str().unwrap_or_default().to_owned())
    };
    assert_eq!(refused(id, "").await, (409, "job-retried".to_owned()));
    let waits = service.trigger(&format!("/v1/backups/full/daily?{LATER}")).await;
    assert_eq!(refused(waits, "").await, (409, "job-not-ended".to_owned()));
    assert_eq!(refused(again, "?stric=true").await.0, 400);
    service.expect(Method::POST, "/v1/jobs/1/retry", "", 404, "job '\\x01' not found\n").await;

    // The routine rests from now on: its backups are not to be had, as by a trigger.
    let yaml = std::fs::read_to_string(service.config_path()).unwrap();
    std::fs::write(
        service.config_path(),
        yaml.replace("[test]\n", "[test]\n    disabled: true\n").replace(
            "    disabled: true\n    interval-cron: \"@daily\"\n    disabled: true\n",
            "    disabled: true\n    interval-cron: \"@daily\"\n",
        ),
    )
    .unwrap();
    service.service.reload().await.unwrap();
    assert_eq!(refused(again, "").await, (404, "routine-disabled".to_owned()));
}
