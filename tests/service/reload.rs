//! `POST /v1/config/apply`: a good file takes effect, a bad one changes nothing (abs.md 4.5).

use crate::helpers::{Running, one_routine};
use reqwest::Method;

#[tokio::test]
async fn a_good_file_takes_effect_and_leaves_waiting_jobs_alone() {
    let service = Running::start(one_routine).await;
    let waiting = service.trigger("/v1/backups/full/daily?delay=3600000").await;
    let edited =
        one_routine(&service.dir).replace("  resting:", "  added:").replace("0 0 0 1 1 ?", "0 0 0 2 2 ?");
    std::fs::write(service.config_path(), edited).unwrap();
    service.expect(Method::POST, "/v1/config/apply", "", 200, "").await;
    assert_eq!(service.get("/v1/config/routines/added").await.status.as_u16(), 200);
    assert_eq!(service.get("/v1/config/routines/resting").await.status.as_u16(), 404);
    let state = service.get("/v1/backups/currentBackup/daily").await.json();
    assert!(state["next-full"].as_str().unwrap().ends_with("-02-02T00:00:00Z"), "{state}");
    assert_eq!(service.job(waiting).await["status"], "scheduled");
    assert!(service.get("/metrics").await.body.contains("config_last_reload_successful 1\n"));
}

#[tokio::test]
async fn a_removed_routine_takes_its_delayed_jobs_along_and_no_others() {
    let two = |dir: &tempfile::TempDir| one_routine(dir).replace("    disabled: true\n", "");
    let service = Running::start(two).await;
    let stays = service.trigger("/v1/backups/full/daily?delay=3600000").await;
    let goes = service.trigger("/v1/backups/full/resting?delay=3600000").await;
    let edited = one_routine(&service.dir);
    let (kept, _) = edited.split_once("  resting:").unwrap();
    std::fs::write(service.config_path(), kept).unwrap();
    service.expect(Method::POST, "/v1/config/apply", "", 200, "").await;
    assert_eq!(service.job(stays).await["status"], "scheduled");
    assert_eq!(service.job(goes).await["status"], "canceled");
}

#[tokio::test]
async fn a_bad_file_is_refused_with_its_problems_and_the_old_one_stays() {
    let service = Running::start(one_routine).await;
    let good = one_routine(&service.dir);
    for (bad, says) in [
        (good.replace("source-cluster: nowhere", "source-cluster: elsewhere"), "elsewhere"),
        (good.replace("@daily", "* * * * *"), "invalid expression length"),
        (good.replace("namespaces", "namespace"), "did you mean: \"namespaces\"?"),
        (format!("service: {{http: {{port: 1}}}}\n{good}"), "static configuration has changed"),
        (format!("service: {{auth: {{}}}}\n{good}"), "auth"),
    ] {
        std::fs::write(service.config_path(), &bad).unwrap();
        let answer = service.post("/v1/config/apply", "").await;
        assert_eq!(answer.status.as_u16(), 400, "{says}: {}", answer.body);
        assert!(
            answer.body.starts_with("invalid request: ") && answer.body.contains(says),
            "{}",
            answer.body
        );
        let routine = service.get("/v1/config/routines/daily").await.json();
        assert_eq!(routine["source-cluster"], "nowhere");
        assert!(service.get("/metrics").await.body.contains("config_last_reload_successful 0\n"));
    }
    std::fs::write(service.config_path(), &good).unwrap();
    service.expect(Method::POST, "/v1/config/apply", "", 200, "").await;
    assert!(service.get("/metrics").await.body.contains("config_last_reload_successful 1\n"));
}

#[tokio::test]
async fn a_file_that_is_gone_changes_nothing() {
    let service = Running::start(one_routine).await;
    std::fs::remove_file(service.config_path()).unwrap();
    let answer = service.post("/v1/config/apply", "").await;
    assert_eq!(answer.status.as_u16(), 500, "{}", answer.body); // abs.md 1.2: a read failure
    assert_eq!(service.get("/v1/config/routines/daily").await.status.as_u16(), 200);
}
