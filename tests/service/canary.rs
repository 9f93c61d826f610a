//! Known secrets in every field that may hold one, and then a life of a service with successes, failures and changes of its
//! configuration at the finest log level: nothing that it writes or says has any of them.
//!
//! The cluster, S3, the secret agent and the clouds are doubles in this process, and those of Azure and Google Cloud give a
//! token and refuse everything: what a real server would say of a wrong key is not looked at here.

mod needles;
mod world;

use std::collections::BTreeSet;
use std::process::Command;

use holdfast::api::served;
use holdfast::clock::{Clock, SystemClock};
use holdfast::config::{SecretField, secret_fields};
use serde_json::{Value, json};

use crate::s3_server::{ACCESS_KEY, SECRET_KEY};

use needles::Needles;
pub use world::encrypt;
use world::{ACCOUNT_KEY, GCP_KEY_LINE, PASSWORD, RECORDS, World, has_at, planted};

/// What is given in bodies that are refused or only tried, or is wrong: by a name.
const TRIED: [(&str, &str); 12] = [
    ("a wrong password", "CanaryWrongPassword50"),
    ("a wrong key id", "CanaryWrongKeyId51"),
    ("a wrong secret key", "CanaryWrongSecretKey52"),
    ("a password of a request", "CanaryRequestPassword53"),
    ("a key of a request", "CanaryRequestKey54"),
    ("a password of a dry run", "CanaryDryRunPassword55"),
    ("a password of a refused change", "CanaryRefusedPassword56"),
    ("a password of no document", "CanaryBrokenPassword57"),
    ("a key in the place of its reference", "CanaryLiteralKey58"),
    ("a password in an edited file", "CanaryEditedPassword59"),
    ("a password in a file that is no YAML", "CanaryBrokenFilePassword60"),
    ("a password in the place of its variable", "CanaryVariable61"),
];

/// A field that the list of the configuration has and this does not is a field that no test looks after.
#[test]
fn every_field_that_may_hold_a_secret_has_one_here() {
    let fields: BTreeSet<String> = secret_fields().iter().map(SecretField::path).collect();
    let planted: BTreeSet<String> = planted().into_keys().map(str::to_owned).collect();
    assert_eq!(fields, planted);
}

#[tokio::test(flavor = "multi_thread")]
async fn no_secret_is_in_anything_that_a_service_writes_or_says() {
    let mut world = World::start().await;
    for field in secret_fields().iter().filter(|field| field.literal) {
        let (path, secret) = (field.path(), planted()[field.path().as_str()]);
        assert!(has_at(&world.config, &path, secret), "{path} has no secret in the document");
    }

    let away = trigger(&mut world, "away").await;
    world.give_up().await;
    let mut jobs = back_up(&mut world, "good", "succeeded").await;
    jobs.extend(back_up(&mut world, "by-agent", "succeeded").await);
    for routine in ["wrong-password", "wrong-key", "azure", "principal", "gcp"] {
        jobs.extend(back_up(&mut world, routine, "failed").await);
    }
    change(&mut world).await;
    // What was read back and sent again has not lost a secret: the same once more.
    jobs.extend(back_up(&mut world, "good", "succeeded").await);
    jobs.extend(back_up(&mut world, "by-agent", "succeeded").await);
    jobs.extend(restore(&mut world).await);
    edit(&mut world).await;
    let (status, job) = world.ended(&away).await;
    assert_eq!(status, "failed", "{job:#}");
    assert!(job["error"]["message"].as_str().unwrap().contains("answers 503"), "{job:#}");
    jobs.push(away);
    look_at_everything(&mut world, &jobs).await;
    let mut check = Command::new(env!("CARGO_BIN_EXE_holdfast"));
    let check = check.arg("check").arg("-c").arg(world.config_path()).output().unwrap();
    world.said.add("holdfast check", [check.stdout, check.stderr].concat());
    world.stop_and_collect();

    let all: Vec<(&str, &str)> = planted().into_iter().chain(world::beside()).chain(TRIED).collect();
    let needles = Needles::new(all.iter().copied());
    the_search_can_find(&world, &needles);
    let found = world.said.finds(&needles);
    assert!(found.is_empty(), "{} findings: {found:#?}", found.len());
}

/// The controls: each secret is found where it was planted, and all that was to be looked at is there and is read.
fn the_search_can_find(world: &World, needles: &Needles) {
    let found = needles.found_in(world.config.to_string().as_bytes());
    for field in secret_fields().iter().filter(|field| field.literal) {
        assert!(found.contains(&format!("{}, as it is", field.path())), "{}: {found:?}", field.path());
    }
    for (beginning, text) in [
        ("log of standard output", "\"level\":\"TRACE\""),
        ("log of standard output", "ControlRequestId"),
        ("log of standard output", "onnection refused"),
        ("log file/", "ControlRequestId"),
        ("log file/", "\"level\":\"TRACE\""),
        ("api GET /v1/jobs", "ControlLabel"),
        ("api GET /v1/audit", "ControlLabel"),
        ("api GET /metrics", "aerospike_backup_service"),
        ("state while it ran/holdfast.db-wal", "ControlLabel"),
        ("state/", "ControlLabel"),
        ("storage/backups/good/", "created"),
        ("holdfast check", "principal"),
    ] {
        assert!(!world.said.places_of(beginning, text).is_empty(), "{beginning} has no {text}");
    }
    for file in ["manifest.json", "metadata.yaml"] {
        let places = world.said.places_of("storage/backups/good/", "");
        assert!(places.iter().any(|place| place.ends_with(file)), "{places:?}");
    }
}

/// A full backup, as its job's number.
async fn trigger(world: &mut World, routine: &str) -> String {
    let path = format!("/v1/backups/full/{routine}?label=ControlLabel");
    let (status, text) = world.ask("POST", &path, "").await;
    assert_eq!(status, 202, "{routine}: {text}");
    let (_, page) = world.ask("GET", &format!("/v1/jobs?routine={routine}&limit=1"), "").await;
    let page: Value = serde_json::from_str(&page).unwrap();
    page["jobs"][0]["id"].to_string()
}

/// One full backup and its end.
async fn back_up(world: &mut World, routine: &str, ends: &str) -> Vec<String> {
    let id = trigger(world, routine).await;
    let (status, job) = world.ended(&id).await;
    assert_eq!(status, ends, "{routine}: {job:#}");
    vec![id]
}

/// The configuration is read back and sent again, and changed well and badly.
async fn change(world: &mut World) {
    let (_, text) = world.ask("GET", "/v1/config", "").await;
    assert!(text.contains("[secret]"), "{text}");
    let (status, said) = world.ask("PUT", "/v1/config", text).await;
    assert_eq!(status, 200, "{said}");
    let (_, cluster) = world.ask("GET", "/v1/config/clusters/node", "").await;
    let (status, said) = world.ask("PUT", "/v1/config/clusters/node", cluster).await;
    assert_eq!(status, 200, "{said}");

    let with = |world: &World, password: Value| {
        let mut cluster = world.cluster(&World::credentials(""));
        cluster["credentials"]["password"] = password;
        cluster
    };
    let good = with(world, json!("CanaryDryRunPassword55"));
    let (status, text) = world.ask("PUT", "/v1/config/clusters/node?dry-run=true", good.to_string()).await;
    assert_eq!(status, 200, "{text}");
    assert!(text.contains("password"), "the change is shown: {text}");

    let mut unknown = with(world, json!("CanaryRefusedPassword56"));
    unknown["pasword"] = json!("CanaryRefusedPassword56");
    let mut variable = json!({"encryption": {"mode": "AES256", "key-env": "CanaryVariable61=x"}});
    variable["parallel"] = json!(0);
    let bad = [
        ("clusters/node", unknown.to_string()),
        ("clusters/node", with(world, json!(["CanaryRefusedPassword56"])).to_string()),
        ("clusters/node", with(world, json!({"is": "CanaryRefusedPassword56"})).to_string()),
        ("clusters/node", with(world, json!("secrets:CanaryRefusedPassword56")).to_string()),
        ("clusters/node", with(world, json!("${CanaryRefusedPassword56")).to_string()),
        ("clusters/node", r#"{"credentials": {"password": "CanaryBrokenPassword57}}"#.to_owned()),
        ("clusters/node", r#"{"credentials": {"password": CanaryBrokenPassword57}}"#.to_owned()),
        ("clusters/node", r#""CanaryBrokenPassword57""#.to_owned()),
        (
            "storage/gcp",
            json!({"gcp-storage": {"bucket-name": "b", "key": GCP_KEY_LINE, "x": 1}}).to_string(),
        ),
        ("storage/azure", json!({"azure-storage": {"account-key": ACCOUNT_KEY}}).to_string()),
        (
            "policies/quick",
            json!({"encryption": {"mode": "AES256", "key-secret": "CanaryLiteralKey58"}}).to_string(),
        ),
        ("policies/quick", variable.to_string()),
    ];
    for (path, body) in bad {
        let (status, text) = world.ask("PUT", &format!("/v1/config/{path}"), body.clone()).await;
        assert_eq!(status, 400, "{body}: {text}");
    }
    // A change that cannot be written.
    let blocked = world.dir.path().join("holdfast.yaml.holdfast-new");
    std::fs::create_dir(&blocked).unwrap();
    let body = with(world, json!("CanaryRefusedPassword56")).to_string();
    let (status, text) = world.ask("PUT", "/v1/config/clusters/node", body).await;
    assert_eq!(status, 500, "{text}");
    std::fs::remove_dir(&blocked).unwrap();
}

/// By time and by path, with the configured ends and with others that the request brings along, right and wrong.
async fn restore(world: &mut World) -> Vec<String> {
    let now = SystemClock.now().0;
    let mut policy = json!({"namespace": {"source": "source", "destination": "target"}});
    let by_time = json!({"routine": "good", "time": now, "policy": policy});
    let mut jobs = restored(world, "timestamp", &by_time, "succeeded").await;
    assert_eq!(world.node.len("target"), RECORDS as usize);

    let (_, list) = world.ask("GET", "/v1/backups/full/good", "").await;
    let list: Value = serde_json::from_str(&list).unwrap();
    let key = list[0]["key"].as_str().unwrap().to_owned();
    policy["encryption"] = json!({"mode": "AES256", "key-secret": "secrets:r:file-key"});
    let right =
        (World::bucket(ACCESS_KEY, SECRET_KEY, &world.s3.url), world.cluster(&World::credentials(PASSWORD)));
    let wrong_cluster = world.cluster(&World::credentials("CanaryRequestPassword53"));
    let wrong_bucket = World::bucket("CanaryRequestKey54", "CanaryRequestKey54", &world.s3.url);
    let ends = [
        (right.0.clone(), right.1.clone(), "succeeded"),
        (right.0, wrong_cluster, "failed"),
        (wrong_bucket, right.1.clone(), "failed"),
        (world.azure(), right.1.clone(), "failed"),
        (world.principal(), right.1.clone(), "failed"),
        (world.gcp(), right.1, "failed"),
    ];
    for (source, destination, end) in ends {
        let request = json!({
            "backup-data-path": key, "source": source, "destination": destination, "policy": policy,
            "secret-agent": world.agent(),
        });
        jobs.extend(restored(world, "full", &request, end).await);
    }
    let mut request = by_time;
    request["policy"]["encryption"] = json!({"key-secret": "CanaryLiteralKey58"});
    let (status, text) = world.ask("POST", "/v1/restore/timestamp", request.to_string()).await;
    assert_eq!(status, 400, "{text}");
    jobs
}

async fn restored(world: &mut World, kind: &str, request: &Value, ends: &str) -> Vec<String> {
    let path = format!("/v1/restore/{kind}?label=ControlLabel");
    let (status, id) = world.ask("POST", &path, request.to_string()).await;
    assert_eq!(status, 202, "{id}");
    let (status, job) = world.ended(&id).await;
    assert_eq!(status, ends, "{job:#}");
    vec![id]
}

/// The file is edited, so that it is refused, and put back.
async fn edit(world: &mut World) {
    let good = std::fs::read_to_string(world.config_path()).unwrap();
    let wrong = good.replacen(PASSWORD, "CanaryEditedPassword59", 1).replacen("\"quick\"", "\"quik\"", 1);
    assert!(wrong.contains("CanaryEditedPassword59") && wrong != good);
    let broken = good.replacen(&format!("\"{PASSWORD}\""), "\"CanaryBrokenFilePassword60: [", 1);
    for bad in [wrong, broken] {
        std::fs::write(world.config_path(), bad).unwrap();
        let (status, text) = world.ask("POST", "/v1/config/apply", "").await;
        assert_eq!(status, 400, "{text}");
        world.ask("GET", "/v1/config/status", "").await;
        world.ask("GET", "/metrics", "").await;
    }
    std::fs::write(world.config_path(), good).unwrap();
    let (status, text) = world.ask("POST", "/v1/config/apply", "").await;
    assert_eq!(status, 200, "{text}");
}

/// Every path that can be read, with every name that is there.
async fn look_at_everything(world: &mut World, jobs: &[String]) {
    let sections = ["aerospike-clusters", "secret-agents", "storage", "backup-policies", "backup-routines"];
    let paths = ["clusters", "secret-agents", "storage", "policies", "routines"];
    // What a path names: things of its own kind, else routines; and something that is not there.
    let names = |world: &World, pattern: &str| -> Vec<String> {
        if !pattern.contains("{name}") && !pattern.contains("{routine}") {
            return vec![String::new()];
        }
        let kind = paths.iter().position(|kind| pattern.starts_with(&format!("/v1/config/{kind}/")));
        let section = sections[kind.unwrap_or(4)];
        let there = world.config[section].as_object().unwrap().keys().cloned();
        there.chain(["no-such-thing".to_owned()]).collect()
    };
    let mut looked_at = 0;
    for (method, pattern) in served() {
        if method != "GET" {
            continue;
        }
        let names = names(world, &pattern);
        let ids = if pattern.contains("{id}") { jobs } else { &[String::new()] };
        for (name, id) in names.iter().flat_map(|name| ids.iter().map(move |id| (name, id))) {
            let path = pattern.replace("{name}", name).replace("{routine}", name).replace("{id}", id);
            let path = path.replace("{timestamp}", &SystemClock.now().0.to_string());
            let (status, _) = world.ask("GET", &path, "").await;
            looked_at += u32::from(status == 200);
        }
    }
    assert!(looked_at > 60, "{looked_at}");
}
