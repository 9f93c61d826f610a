//! Owners of routine folders (rules.md 5.5), asked over HTTP and from the command line.

use std::path::Path;
use std::process::{Command, Output};
use std::time::Duration;

use crate::helpers::{Running, one_routine};
use holdfast::catalog::OwnerTimes;
use holdfast::tasks::blocking;
use reqwest::Method;
use serde_json::{Value, json};

const HOLDFAST: &str = env!("CARGO_BIN_EXE_holdfast");
const ADOPT: &str = "/v1/routines/daily/adopt";
const OWNER: &str = "/v1/routines/daily/owner";

/// Runs `holdfast adopt`; off the async threads, as the service it asks may be this process's.
async fn adopt(arguments: &[&str]) -> Output {
    let mut command = Command::new(HOLDFAST);
    command.arg("adopt").args(arguments).env_remove("STATE_DIRECTORY");
    blocking(move || Ok(command.output().unwrap())).await.unwrap()
}

fn said(output: &Output) -> String {
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    String::from_utf8(output.stdout.clone()).unwrap()
}

/// A service on the storage of another.
async fn copy_of(service: &Running) -> Running {
    let yaml = std::fs::read_to_string(service.config_path()).unwrap();
    Running::start(move |_| yaml.clone()).await
}

/// Whether the metric of the routine has this value.
async fn shows(service: &Running, value: &str) -> bool {
    let metrics = service.get("/metrics").await.body;
    metrics.contains(&format!("aerospike_backup_service_routine_owned{{routine=\"daily\"}} {value}\n"))
}

#[tokio::test]
async fn a_folder_is_nobodys_then_ours_and_another_takes_it_over() {
    let service = Running::start(one_routine).await;
    let fresh = service.get(OWNER).await.json();
    assert_eq!((&fresh["state"], &fresh["owner"]), (&json!("nobody"), &Value::Null));
    assert!(!service.get("/metrics").await.body.contains("routine_owned{"), "nobody's is not shown");
    assert_eq!(service.post(ADOPT, "").await.json()["state"], "nobody");
    let ours = service.get(OWNER).await.json();
    assert_eq!((&ours["state"], &ours["owner"]["instance"]), (&json!("ours"), &ours["this-instance"]));
    assert!(ours["owner"]["renewed-at"].is_string() && ours["owner"]["taken-at"].is_string(), "{ours}");
    assert_eq!(service.post(ADOPT, "").await.json()["state"], "ours", "again is no harm");
    assert!(shows(&service, "1").await);

    let copy = copy_of(&service).await;
    let job = copy.job_in(copy.trigger("/v1/backups/full/daily").await, &["failed"]).await;
    assert_eq!(job["error"]["code"], "routine-owned", "before the cluster is asked: {job}");
    assert!(shows(&copy, "0").await);
    copy.expect(Method::GET, "/v1/backups/full/daily", "", 200, "[]").await;
    assert_eq!(copy.post(ADOPT, "").await.json()["owner"]["instance"], ours["this-instance"]);

    let job = service.job_in(service.trigger("/v1/backups/full/daily").await, &["failed"]).await;
    assert_eq!(job["error"]["code"], "routine-owned", "{job}");
    assert!(shows(&service, "0").await);
    let job = copy.job_in(copy.trigger("/v1/backups/full/daily").await, &["failed"]).await;
    assert_eq!(job["error"]["code"], "cluster-unreachable", "now it may: {job}");
}

#[tokio::test]
async fn an_instance_keeps_its_name_over_a_restart_and_goes_on_showing_that_it_lives() {
    let service = Running::start(one_routine).await;
    let name = service.post(ADOPT, "").await.json()["this-instance"].clone();
    let instances = service.dir.path().join("backups/holdfast-instances");
    let shown = instances.join(format!("{}.json", name.as_str().unwrap()));
    let yaml = std::fs::read_to_string(service.config_path()).unwrap();
    let Running { service, dir, .. } = service;
    service.stop().await.unwrap();
    std::fs::remove_dir_all(&instances).unwrap();
    let times = OwnerTimes { renew: Duration::from_millis(50), ..OwnerTimes::default() };
    let service = Running::start_with(dir, &yaml, times).await;
    assert_eq!(service.get(OWNER).await.json()["this-instance"], name);
    // At the start, and again and again; also after storage was away.
    for _ in 0..3 {
        until_it_exists(&shown).await;
        std::fs::remove_file(&shown).unwrap();
    }
    let (backups, away) = (service.dir.path().join("backups"), service.dir.path().join("away"));
    std::fs::rename(&backups, &away).unwrap();
    while shows(&service, "1").await {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    std::fs::rename(&away, &backups).unwrap();
    drop(std::fs::remove_file(&shown)); // there or not
    until_it_exists(&shown).await;
    assert!(shows(&service, "1").await);
}

async fn until_it_exists(path: &Path) {
    let found = tokio::time::timeout(Duration::from_mins(1), async {
        while !path.exists() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    });
    found.await.expect("an owner shows that it lives");
}

#[tokio::test]
async fn an_instance_can_be_named_by_the_configuration() {
    let named = |dir: &tempfile::TempDir| format!("service: {{instance-id: prod-1}}\n{}", one_routine(dir));
    let service = Running::start(named).await;
    assert_eq!(service.post(ADOPT, "").await.json()["this-instance"], "prod-1");
    assert!(service.dir.path().join("backups/holdfast-instances/prod-1.json").exists());
    let bad = |dir: &tempfile::TempDir| format!("service: {{instance-id: a/b}}\n{}", one_routine(dir));
    std::fs::write(service.config_path(), bad(&service.dir)).unwrap();
    let answer = service.post("/v1/config/apply", "").await;
    assert!(answer.status.as_u16() == 400 && answer.body.contains("instance-id"), "{}", answer.body);
}

#[tokio::test]
async fn adopt_asks_the_running_service_or_opens_its_store() {
    let place = |dir: &Path| format!("service: {{state-dir: {}}}\n", dir.join("state").display());
    let service = Running::start(|dir| place(dir.path()) + &one_routine(dir)).await;
    let config = service.config_path().display().to_string();
    let url = format!("http://{}", service.service.http_address());
    let line = said(&adopt(&["daily", "--url", &url]).await);
    let name = service.get(OWNER).await.json()["this-instance"].as_str().unwrap().to_owned();
    assert_eq!(line, format!("daily had no owner; it belongs to instance {name} now\n"));

    // The service holds its store.
    let locked = adopt(&["daily", "-c", &config]).await;
    let text = String::from_utf8(locked.stderr).unwrap();
    assert!(locked.status.code() == Some(1) && text.contains("--url"), "{text}");
    let unknown = adopt(&["nobody", "--url", &url]).await;
    assert!(unknown.status.code() == Some(1) && !unknown.stderr.is_empty());
    assert_eq!(adopt(&["daily"]).await.status.code(), Some(2), "one of both is needed");

    let copy = copy_of(&service).await;
    assert_eq!(copy.post(ADOPT, "").await.status.as_u16(), 200);
    let Running { service, dir, .. } = service;
    service.stop().await.unwrap();
    let line = said(&adopt(&["daily", "-c", &config]).await);
    let other = copy.get(OWNER).await.json()["this-instance"].as_str().unwrap().to_owned();
    assert!(line.starts_with(&format!("daily belonged to instance {other}")), "{line}");
    assert!(line.ends_with(&format!("it belongs to instance {name} now\n")), "{line}");
    assert_eq!(copy.get(OWNER).await.json()["owner"]["instance"], name.as_str());
    drop(dir);
}

#[tokio::test]
async fn an_unknown_routine_has_no_owner() {
    let service = Running::start(one_routine).await;
    for (method, path) in
        [(Method::GET, "/v1/routines/nobody/owner"), (Method::POST, "/v1/routines/nobody/adopt")]
    {
        service.expect(method, path, "", 404, "routine \"nobody\" not found\n").await;
    }
    std::fs::remove_dir_all(service.dir.path().join("backups")).unwrap();
    assert_eq!(service.post(ADOPT, "").await.status.as_u16(), 500, "storage that is gone is no answer");
}
