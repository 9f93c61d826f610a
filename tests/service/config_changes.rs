//! A change of the configuration: what it leaves alone, its file, its tags, its secrets (abs.md 4.5).

use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

use crate::helpers::{Running, one_routine};
use crate::s3_server::{ACCESS_KEY, BUCKET, S3Server, SECRET_KEY};
use reqwest::Method;
use serde_json::json;

const POLICY: &str = "/v1/config/policies/once";

async fn put(service: &Running, path: &str, body: &serde_json::Value) -> crate::helpers::Answer {
    let answer = service.send(Method::PUT, path, &[], body.to_string()).await;
    assert_eq!(answer.status.as_u16(), 200, "{path}: {}", answer.body);
    answer
}

fn file(service: &Running) -> String {
    std::fs::read_to_string(service.config_path()).unwrap()
}

#[tokio::test]
async fn a_change_takes_effect_at_once_outlives_a_restart_and_leaves_waiting_jobs_alone() {
    let service = Running::start(one_routine).await;
    let waiting = service.trigger("/v1/backups/full/daily?delay=3600000").await;
    let mut routine = service.get("/v1/config/routines/daily").await.json();
    routine["interval-cron"] = json!("0 0 0 2 2 ?");
    put(&service, "/v1/config/routines/daily", &routine).await;
    let state = service.get("/v1/backups/currentBackup/daily").await.json();
    assert!(state["next-full"].as_str().unwrap().ends_with("-02-02T00:00:00Z"), "{state}");
    assert_eq!(service.job(waiting).await["status"], "scheduled");
    let mode = std::fs::metadata(service.config_path()).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);

    let service = service.restart().await;
    assert_eq!(service.get("/v1/config/routines/daily").await.json(), routine);
    assert_eq!(service.job(waiting).await["status"], "scheduled");
}

#[tokio::test]
async fn a_routine_that_is_removed_or_disabled_takes_its_delayed_jobs_along() {
    let two = |dir: &tempfile::TempDir| one_routine(dir).replace("    disabled: true\n", "");
    let service = Running::start(two).await;
    let stays = service.trigger("/v1/backups/full/daily?delay=3600000").await;
    let goes = service.trigger("/v1/backups/full/resting?delay=3600000").await;
    service.expect(Method::PUT, "/v1/config/routines/resting/disable", "", 204, "").await;
    assert_eq!(service.job(goes).await["status"], "canceled");
    assert!(file(&service).contains("disabled: true"));
    service.expect(Method::PUT, "/v1/config/routines/resting/enable", "", 204, "").await;
    let goes = service.trigger("/v1/backups/full/resting?delay=3600000").await;
    // As the operator does: read, edit, write.
    let mut whole = service.get("/v1/config").await.json();
    whole["backup-routines"].as_object_mut().unwrap().remove("resting");
    put(&service, "/v1/config", &whole).await;
    assert_eq!(service.job(goes).await["status"], "canceled");
    assert_eq!(service.job(stays).await["status"], "scheduled");
}

#[tokio::test]
async fn a_file_keeps_its_comments_or_is_kept_beside_the_new_one() {
    let service = Running::start(|dir| one_routine(dir).replace("storage:\n", "# where\nstorage:\n")).await;
    let answer = put(&service, "/v1/config/policies/once", &json!({"parallel": 3})).await;
    // The policy is one block; that it held a flow mapping does not matter.
    assert_eq!(answer.header("holdfast-config-rewritten"), "");
    assert!(file(&service).contains("# where\n") && file(&service).contains("    parallel: 3\n"));

    let flow = "# all in one\n{backup-policies: {p: {}}}\n";
    std::fs::write(service.config_path(), flow).unwrap();
    service.expect(Method::POST, "/v1/config/apply", "", 200, "").await;
    let answer = put(&service, "/v1/config/policies/p", &json!({"parallel": 3})).await;
    let kept = answer.header("holdfast-config-rewritten");
    assert!(kept.ends_with("holdfast.yaml.bak"), "{kept:?}");
    assert_eq!(std::fs::read_to_string(kept).unwrap(), flow);
    assert!(!file(&service).contains('#'));
}

#[tokio::test]
async fn tags_tell_who_has_seen_the_latest_state() {
    let service = Running::start(one_routine).await;
    let paths = ["/v1/config", "/v1/config/policies", POLICY, "/v1/config/routines/daily"];
    let mut before = Vec::new();
    for path in paths {
        let answer = service.get(path).await;
        assert_eq!(answer.header("etag"), service.get(path).await.header("etag"), "{path}");
        before.push(answer.header("etag").to_owned());
    }
    let seen = before[2].as_str();
    let put = |tag: String, body: &'static str| {
        let service = &service;
        async move { service.send(Method::PUT, POLICY, &[("if-match", &tag)], body).await }
    };
    let first = put(format!("\"other\", {seen}"), "{\"parallel\":2}").await;
    assert_eq!(first.status.as_u16(), 200, "{}", first.body);
    assert_eq!(first.header("etag"), service.get(POLICY).await.header("etag"));
    for stale in [seen.to_owned(), format!("W/{}", first.header("etag"))] {
        let late = put(stale, "{\"parallel\":3}").await;
        assert_eq!(late.status.as_u16(), 412, "{}", late.body);
    }
    assert_eq!(service.get(POLICY).await.body, "{\"parallel\":2}");
    assert_eq!(put("*".to_owned(), "{\"parallel\":4}").await.status.as_u16(), 200);
    let absent = service.send(Method::PUT, "/v1/config/policies/no", &[("if-match", "*")], "{}").await;
    assert_eq!(absent.status.as_u16(), 412);
    for (path, tag) in paths.iter().zip(&before) {
        let same = service.get(path).await.header("etag") == tag;
        assert_eq!(same, path.ends_with("daily"), "{path}");
    }
    let gone = service.send(Method::DELETE, "/v1/config/routines/daily", &[("if-match", seen)], "").await;
    assert_eq!(gone.status.as_u16(), 412);
}

#[tokio::test]
async fn a_dry_run_shows_the_difference_and_changes_nothing() {
    let service = Running::start(one_routine).await;
    let before = file(&service);
    let body = json!({"retry-policy": {"base-timeout": 2, "multiplier": 1, "max-retries": 0}}).to_string();
    let answer = service.send(Method::PUT, &format!("{POLICY}?dry-run=true"), &[], body).await;
    assert_eq!(answer.status.as_u16(), 200);
    assert_eq!(
        answer.json(),
        json!({
            "changes": [{"path": "backup-policies.once.retry-policy.base-timeout", "from": 1, "to": 2}],
            "affected": ["daily", "resting"],
            "file-rewritten": false,
        })
    );
    for (method, path, status) in [
        (Method::DELETE, "/v1/config/policies/once?dry-run=true", 400),
        (Method::DELETE, "/v1/config/routines/daily?dry-run=true", 200),
        (Method::PUT, "/v1/config/routines/daily/disable?dry-run=true", 200),
        (Method::DELETE, "/v1/config/routines/daily?dry-run=perhaps", 400),
    ] {
        let answer = service.send(method, path, &[], "").await;
        assert_eq!(answer.status.as_u16(), status, "{path}: {}", answer.body);
    }
    assert_eq!(file(&service), before);
    assert_eq!(service.get("/v1/config/routines/daily").await.status.as_u16(), 200);
}

#[tokio::test]
async fn secrets_are_never_shown_and_stay_when_they_come_back_as_they_were_shown() {
    let service = Running::start(one_routine).await;
    let cluster = |password: &str| json!({"seed-nodes": [{"host-name": "127.0.0.1", "port": 1}], "credentials": {"user": "bob", "password": password}});
    let path = "/v1/config/clusters/locked";
    let refused = service.post(path, &cluster("[secret]").to_string()).await;
    assert_eq!(refused.status.as_u16(), 400);
    assert!(refused.body.contains("stands for a stored secret"), "{}", refused.body);
    let made = service.post(path, &cluster("canary-1").to_string()).await;
    assert_eq!(made.status.as_u16(), 201);
    let tag = made.header("etag").to_owned();

    let shown = service.get(path).await.json();
    assert_eq!(shown, cluster("[secret]"));
    let mut edited = shown.clone();
    edited["label"] = json!("edited");
    put(&service, path, &edited).await;
    assert!(file(&service).contains("canary-1"));
    let whole = service.get("/v1/config").await.json();
    put(&service, "/v1/config", &whole).await;
    assert!(file(&service).contains("canary-1"));

    put(&service, path, &cluster("canary-1")).await;
    assert_eq!(service.get(path).await.header("etag"), tag);
    put(&service, path, &cluster("canary-2")).await;
    assert_ne!(service.get(path).await.header("etag"), tag);
    let dry = put(&service, &format!("{path}?dry-run=true"), &cluster("canary-3")).await;
    assert!(dry.body.contains("credentials.password") && !dry.body.contains("canary"), "{}", dry.body);

    for reference in ["${DB_PASSWORD}", "file:/run/secrets/db"] {
        put(&service, path, &cluster(reference)).await;
        assert_eq!(service.get(path).await.json(), cluster(reference));
    }
    for path in ["/v1/config", "/v1/config/clusters", "/v1/config/status", "/metrics"] {
        assert!(!service.get(path).await.body.contains("canary"), "{path}");
    }
}

/// Waits until a path says what it must.
async fn until(service: &Running, path: &str, says: &str) {
    for _ in 0..3000 {
        if service.get(path).await.body.contains(says) {
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("{path} does not say {says:?}: {}", service.get(path).await.body);
}

#[tokio::test]
async fn an_edited_file_is_taken_by_itself_and_a_bad_one_is_told_of() {
    let service = Running::start(one_routine).await;
    let good = one_routine(&service.dir);
    std::fs::write(service.config_path(), good.replace("0 0 0 1 1 ?", "0 0 0 2 2 ?")).unwrap();
    until(&service, "/v1/config/routines/daily", "0 0 0 2 2 ?").await;
    until(&service, "/v1/config/status", "\"in-force-by\":\"file\"").await;

    std::fs::write(service.config_path(), good.replace("source-cluster: nowhere", "source-cluster: x"))
        .unwrap();
    until(&service, "/v1/config/status", "\"last-read-taken\":false").await;
    let status = service.get("/v1/config/status").await.json();
    assert!(
        status["problems"][0].as_str().unwrap().contains("cluster \\\"x\\\"")
            || status["problems"][0].as_str().unwrap().contains("cluster \"x\""),
        "{status}"
    );
    assert!(service.get("/metrics").await.body.contains("config_last_reload_successful 0\n"));
    assert!(service.get("/v1/config/routines/daily").await.body.contains("0 0 0 2 2 ?"));
    // What stands in the file is somebody's work: a change does not write over it.
    let refused = service.post("/v1/config/policies/p", "{}").await;
    assert_eq!(refused.status.as_u16(), 409, "{}", refused.body);

    std::fs::write(service.config_path(), &good).unwrap();
    // A change takes an edited file first, whether it was looked at or not.
    assert_eq!(service.post("/v1/config/policies/p", "{}").await.status.as_u16(), 201);
    assert!(service.get("/v1/config/routines/daily").await.body.contains("0 0 0 1 1 ?"));
    until(&service, "/v1/config/status", "\"last-read-taken\":true").await;
}

#[tokio::test]
async fn many_changes_at_once_are_all_there_in_the_end() {
    let service = Running::start(one_routine).await;
    let names: Vec<String> = (0..30).map(|at| format!("/v1/config/policies/p{at}")).collect();
    let made = futures_util::future::join_all(names.iter().map(|path| service.post(path, "{}"))).await;
    assert!(made.iter().all(|answer| answer.status.as_u16() == 201));
    let service = service.restart().await;
    assert_eq!(service.get("/v1/config/policies").await.json().as_object().unwrap().len(), 31);
}

/// Whether a bucket is there is looked at for the log: once for each that is new, not again with every change.
#[tokio::test(flavor = "multi_thread")]
async fn a_change_asks_only_the_storages_that_it_is_about() {
    let (old, new) = (S3Server::start().await, S3Server::start().await);
    let bucket = |server: &S3Server| {
        json!({"s3-storage": {"bucket": BUCKET, "s3-region": "eu-central-1", "s3-endpoint-override": server.url,
            "access-key-id": ACCESS_KEY, "secret-access-key": SECRET_KEY}})
    };
    let (yaml, more) = (format!("storage: {}\n", json!({"cloud": bucket(&old)})), bucket(&new).to_string());
    let service = Running::start(|_| yaml.clone()).await;
    assert!(!old.seen().is_empty(), "the start asks it");
    service.expect(Method::POST, "/v1/config/policies/one", "{}", 201, "").await;
    service.expect(Method::PUT, "/v1/config/policies/one", r#"{"parallel": 2}"#, 200, "").await;
    service.expect(Method::POST, "/v1/config/storage/more", &more, 201, "").await;
    assert!(!new.seen().is_empty(), "it is new");
    assert!(old.seen().is_empty(), "nothing was said of it");
    service.expect(Method::PUT, "/v1/config/storage/cloud", &more, 200, "").await;
    assert!(old.seen().is_empty(), "it is elsewhere now");
    assert!(!new.seen().is_empty(), "it is another one");
}
