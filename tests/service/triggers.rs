//! Triggers of backups: a row each, whatever becomes of it (rules.md 2.3).

use crate::helpers::{Running, one_routine};
use reqwest::Method;
use serde_json::Value;

/// Long enough that no test waits for it.
const LATER: &str = "delay=3600000";

#[tokio::test]
async fn a_trigger_answers_202_with_the_place_of_its_job() {
    let service = Running::start(one_routine).await;
    for (path, backup_type) in [
        ("/v1/backups/full/daily", "full"),
        ("/v1/backups/schedule/daily", "full"),
        ("/v1/backups/incremental/daily", "incremental"),
    ] {
        let job = service.job(service.trigger(&format!("{path}?{LATER}")).await).await;
        assert_eq!(
            (&job["kind"], &job["type"], &job["routine"], &job["trigger"], &job["status"]),
            (
                &Value::from("backup"),
                &Value::from(backup_type),
                &Value::from("daily"),
                &Value::from("api"),
                &Value::from("scheduled")
            ),
            "{path}"
        );
        assert_eq!(job["started"], Value::Null);
    }
}

#[tokio::test]
async fn a_trigger_without_delay_runs_and_ends_with_a_reason() {
    let service = Running::start(one_routine).await;
    let id = service.trigger("/v1/backups/full/daily").await;
    let job = service.job_in(id, &["failed"]).await;
    assert!(job["error"]["code"].is_string(), "{job}");
    assert!(job["reason"].is_string(), "{job}");
    for key in ["queued", "started", "finished"] {
        assert!(job[key].is_string(), "{key}: {job}");
    }
    let metrics = service.get("/metrics").await.body;
    let failed =
        "aerospike_backup_service_backup_events_total{outcome=\"failure\",routine=\"daily\",type=\"full\"} 1";
    assert!(metrics.contains(failed), "{metrics}");
}

#[tokio::test]
async fn the_job_comes_as_json_only_when_asked_for_by_name() {
    let service = Running::start(one_routine).await;
    let path = format!("/v1/backups/full/daily?{LATER}");
    let asked = service.send(Method::POST, &path, &[("accept", "application/json")], "").await;
    assert_eq!(asked.status.as_u16(), 202);
    let location = format!("/v1/jobs/{}", asked.json()["id"]);
    assert_eq!(asked.header("location"), location);
    // The Kubernetes operator of ABS sends a content type with an empty body (abs.md 7.10).
    let operator = [("content-type", "application/json"), ("accept", "*/*")];
    let plain = service.send(Method::POST, &path, &operator, "").await;
    assert_eq!((plain.status.as_u16(), plain.body.as_str()), (202, ""));
}

#[tokio::test]
async fn an_unknown_or_disabled_routine_is_404_and_leaves_no_job() {
    let service = Running::start(one_routine).await;
    for routine in ["nobody", "resting", "daily%2Fbackup", "..%2F..", "%00"] {
        for path in ["full", "incremental", "schedule"] {
            let answer = service.post(&format!("/v1/backups/{path}/{routine}"), "").await;
            assert_eq!(answer.status.as_u16(), 404, "{path} {routine}");
            assert!(answer.body.contains("not found"), "{}", answer.body);
            assert!(!answer.body.contains('\0'));
        }
    }
    assert_eq!(service.get("/v1/jobs").await.json()["jobs"], Value::Array(vec![]));
}

#[tokio::test]
async fn cancel_ends_what_waits_and_is_202_also_when_nothing_runs() {
    let service = Running::start(one_routine).await;
    service.expect(Method::POST, "/v1/backups/cancel/daily", "", 202, "").await;
    let full = service.trigger(&format!("/v1/backups/full/daily?{LATER}")).await;
    let incremental = service.trigger(&format!("/v1/backups/incremental/daily?{LATER}")).await;
    service.expect(Method::POST, "/v1/backups/cancel/daily", "", 202, "").await;
    for id in [full, incremental] {
        assert_eq!(service.job(id).await["status"], "canceled");
    }
}

#[tokio::test]
async fn current_backup_says_what_comes_next_and_what_runs() {
    let service = Running::start(one_routine).await;
    let state = service.get("/v1/backups/currentBackup/daily").await.json();
    assert!(state["next-full"].as_str().unwrap().ends_with("-01-01T00:00:00Z"), "{state}");
    assert!(state["next-incremental"].as_str().unwrap().ends_with("-01-01T12:00:00Z"), "{state}");
    assert!(state.get("full").is_none() && state.get("last-full").is_none(), "{state}");
    let resting = service.get("/v1/backups/currentBackup/resting").await.json();
    assert_eq!(resting, serde_json::json!({}));
}

#[tokio::test]
async fn a_delayed_trigger_survives_a_restart() {
    let service = Running::start(one_routine).await;
    let id = service.trigger(&format!("/v1/backups/full/daily?{LATER}")).await;
    let service = service.restart().await;
    assert_eq!(service.job(id).await["status"], "scheduled");
}

#[tokio::test]
async fn a_storage_that_is_gone_is_an_error_and_not_an_empty_list() {
    let service = Running::start(one_routine).await;
    service.expect(Method::GET, "/v1/backups/full/daily", "", 200, "[]").await;
    std::fs::remove_dir_all(service.dir.path().join("backups")).unwrap();
    for path in ["/v1/backups/full/daily", "/v1/backups/full", "/v1/backups/currentBackup/daily"] {
        let answer = service.get(path).await;
        assert!(answer.status.is_server_error(), "{path}: {} {}", answer.status, answer.body);
    }
}

#[tokio::test]
async fn the_lists_show_every_routine_and_what_storage_holds() {
    let service = Running::start(one_routine).await;
    let folder = service.dir.path().join("backups/daily/backup/1704110400000/data/test");
    std::fs::create_dir_all(&folder).unwrap();
    std::fs::write(
        folder.join("metadata.yaml"),
        "created: 2024-01-01T12:00:00Z\nfinished: 2024-01-01T12:05:00Z\nfrom: 0001-01-01T00:00:00Z\n\
         namespace: test\nrecord-count: 42\nbyte-count: 480000\nfile-count: 1\nsecondary-index-count: 5\n\
         udf-count: 1\ncompression: ZSTD\nencryption: NONE\n",
    )
    .unwrap();
    let list = service.get("/v1/backups/full/daily").await.json();
    assert_eq!(list.as_array().unwrap().len(), 1);
    assert_eq!(list[0]["key"], "daily/backup/1704110400000/data/test");
    assert_eq!(list[0]["record-count"], 42);
    assert!(list[0]["storage"]["local-storage"]["path"].is_string());
    let all = service.get("/v1/backups/full").await.json();
    assert_eq!((&all["daily"], &all["resting"]), (&list, &Value::Array(vec![])));
    for (query, count) in [
        ("from=1704110400000&to=1704110400000", 1),
        ("from=1704110400001", 0),
        ("to=1704110399999", 0),
        ("from=0", 1),
    ] {
        let list = service.get(&format!("/v1/backups/full/daily?{query}")).await.json();
        assert_eq!(list.as_array().unwrap().len(), count, "{query}");
    }
    service.expect(Method::GET, "/v1/backups/incremental/daily", "", 200, "[]").await;
    let state = service.get("/v1/backups/currentBackup/daily").await.json();
    assert_eq!(state["last-full"], "2024-01-01T12:00:00Z"); // a new store asks storage
}
