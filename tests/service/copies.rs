//! Copies by request; no cluster is needed for them.

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::helpers::{Running, one_routine};

const ORDER: &str = r#"{"routine": "daily", "storage": "vault"}"#;

/// With a second storage, to which `daily` is copied.
fn with_copies(dir: &TempDir) -> String {
    let vault = dir.path().join("vault");
    let storages = format!("storage:\n  vault:\n    local-storage: {{path: {}}}", vault.display());
    one_routine(dir).replacen("storage:", &storages, 1).replacen(
        "    storage: disk\n",
        "    storage: disk\n    copies: [{storage: vault}]\n",
        1,
    )
}

#[tokio::test]
async fn a_copy_answers_like_a_trigger_and_once_for_one_key() {
    let service = Running::start(with_copies).await;
    let keyed = async || {
        service.send(Method::POST, "/v1/backups/copy?label=mine", &[("idempotency-key", "k")], ORDER).await
    };
    let (first, again) = (keyed().await, keyed().await);
    assert_eq!((first.status, first.body.as_str()), (StatusCode::ACCEPTED, ""));
    assert_eq!(first.header("location"), again.header("location"));
    let id: i64 = first.header("location").strip_prefix("/v1/jobs/").unwrap().parse().unwrap();
    let job = service.job_in(id, &["succeeded"]).await;
    assert_eq!(
        (&job["kind"], &job["label"], &job["storage"]),
        (&json!("copy"), &json!("mine"), &json!("vault"))
    );
    assert_eq!(job["warnings"][0]["code"], "nothing-to-copy", "{job:#}");
    let accept = [("accept", "application/json")];
    let shown = service.send(Method::POST, "/v1/backups/copy?strict=true", &accept, ORDER).await;
    assert_eq!(shown.json()["kind"], "copy");
    assert_eq!(service.get("/v1/jobs?kind=copy").await.json()["jobs"].as_array().unwrap().len(), 2);
    for (path, body, status) in [
        ("/v1/backups/copy?from=1", ORDER, 400),
        ("/v1/backups/copy", "", 400),
        ("/v1/backups/copy", r#"{"routine": "nobody", "storage": "vault"}"#, 404),
        ("/v1/backups/copy", r#"{"routine": "daily", "storage": "nowhere"}"#, 404),
        ("/v1/backups/copy", r#"{"routine": "daily", "storage": "disk"}"#, 400),
    ] {
        let answer = service.post(path, body).await;
        assert_eq!(answer.status.as_u16(), status, "{path} {body}: {answer:?}");
    }
    let get = service.get("/v1/backups/copy").await;
    assert_eq!((get.status.as_u16(), get.header("allow")), (405, "POST"));
}

#[tokio::test]
async fn copies_are_part_of_the_configuration_and_keep_their_storage() {
    let service = Running::start(with_copies).await;
    let path = "/v1/config/routines/daily";
    let mut routine: Value = service.get(path).await.json();
    assert_eq!(routine["copies"], json!([{"storage": "vault"}]));
    let refused = service.send(Method::DELETE, "/v1/config/storage/vault", &[], "").await;
    assert!(refused.status.is_client_error() && refused.body.contains("daily"), "{refused:?}");
    routine["copies"] = json!([{"storage": "vault", "on": "full", "retention": {"full": 2}}]);
    let put = service.send(Method::PUT, path, &[], routine.to_string()).await;
    assert!(put.status.is_success(), "{put:?}");
    assert_eq!(service.get(path).await.json(), routine);
    routine["copies"][0]["storage"] = json!("disk");
    let put = service.send(Method::PUT, path, &[], routine.to_string()).await;
    assert_eq!(put.status.as_u16(), 400, "{put:?}");
    assert!(put.body.contains("the storage of the routine itself"), "{put:?}");
}

/// Each storage has a rule of its own: what would go is told for all, and deleted where somebody says.
#[tokio::test]
async fn retention_of_copies_is_told_beside_the_routines_own_and_asked_for_by_name() {
    let service = Running::start(|dir| {
        with_copies(dir).replacen("{storage: vault}", "{storage: vault, retention: {full: 2}}", 1)
    })
    .await;
    let told = service.get("/v1/retention/daily").await.json();
    assert_eq!((&told["says"], &told["retention"]), (&json!("keeps everything"), &Value::Null));
    let vault = &told["copies"][0];
    assert_eq!(
        (&vault["storage"], &vault["on"], &vault["retention"]["full"]),
        (&json!("vault"), &json!("all"), &json!(2)),
        "{told:#}"
    );
    assert_eq!((&vault["problems"], &vault["totals"]["stays"]), (&json!([]), &json!(0)));
    assert_eq!(service.get("/v1/retention/resting").await.json()["copies"], json!([]));

    for (path, status, says) in [
        ("/v1/retention/daily", 409, "keeps everything"),
        ("/v1/retention/daily?storage=disk", 409, "keeps everything"),
        ("/v1/retention/daily?storage=volt", 404, "no backups in storage"),
        ("/v1/retention/resting?storage=vault", 404, "no backups in storage"),
    ] {
        let answer = service.post(path, "").await;
        assert_eq!(answer.status.as_u16(), status, "{path}: {answer:?}");
        assert!(answer.body.contains(says), "{path}: {answer:?}");
    }
    let id = service.post("/v1/retention/daily?storage=vault", "").await.json()["id"].as_i64().unwrap();
    assert_eq!(service.job_in(id, &["succeeded"]).await["storage"], "vault");
}

/// On the worst day the routine's own storage is gone: what a copy has is still told.
#[tokio::test]
async fn restore_points_are_told_as_long_as_one_storage_answers() {
    let service = Running::start(with_copies).await;
    let path = "/v1/backups/restore-points/daily";
    let points = service.get(path).await.json();
    assert_eq!(
        points["storages"],
        json!([{"storage": "disk", "problem": null}, {"storage": "vault", "problem": null}])
    );
    std::fs::remove_dir_all(service.dir.path().join("backups")).unwrap();
    let points = service.get(path).await.json();
    assert_eq!((&points["storage"], &points["storages"][1]["problem"]), (&json!("disk"), &Value::Null));
    assert!(points["storages"][0]["problem"].as_str().unwrap().contains("backups"), "{points:#}");
    std::fs::remove_dir_all(service.dir.path().join("vault")).unwrap();
    let answer = service.get(path).await;
    assert_eq!(answer.status.as_u16(), 500, "{answer:?}");
}
