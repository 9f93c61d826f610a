//! abs.md 7.5 to 7.9 as tables: what lies in storage as ABS leaves it, and how each release shows it.
//!
//! Where we differ from ABS on purpose the row says so. Which full and which incrementals a restore takes is decided by rows of
//! `model::chain` too, where instants are plain numbers; which backups go, in `retention`.

use reqwest::Method;
use serde_json::{Value, json};

use crate::helpers::Running;

const LEVELS: [&str; 3] = ["3.5", "3.6", "3.7"];

/// abs.md 7.5.
const T: i64 = 1_700_000_000_000;

/// `metadata.yaml` as ABS writes it (abs.md 3).
const METADATA: &str = "created: CREATED\nfinished: FINISHED\nfrom: FROM\nnamespace: NS\nrecord-count: 3\nbyte-count: 20\n\
                        file-count: 1\nsecondary-index-count: 1\nudf-count: 2\ncompression: ZSTD\nencryption: NONE\n";

/// A routine `r` of which nothing runs by itself.
fn yaml(level: &str, dir: &tempfile::TempDir) -> String {
    format!(
        r#"
service: {{compatibility: "{level}"}}
aerospike-clusters: {{nowhere: {{conn-timeout: 200, seed-nodes: [{{host-name: 127.0.0.1, port: 1}}]}}}}
storage: {{disk: {{local-storage: {{path: {}}}}}}}
backup-policies:
  patient:
    concurrent-incremental: true
    retry-policy: {{base-timeout: 600000, multiplier: 1, max-retries: 1}}
    retention: {{full: 1}}
backup-routines:
  r: {{source-cluster: nowhere, storage: disk, backup-policy: patient, namespaces: [test], interval-cron: "0 0 0 1 1 ?",
       incr-interval-cron: "0 0 12 1 1 ?"}}
"#,
        dir.path().join("backups").display()
    )
}

async fn start(level: &str) -> Running {
    Running::start(|dir| yaml(level, dir)).await
}

fn rfc3339(ms: i64) -> String {
    chrono::DateTime::from_timestamp_millis(ms).unwrap().to_rfc3339_opts(chrono::SecondsFormat::AutoSi, true)
}

/// A namespace of a run with its one file, as ABS leaves it.
fn lay(service: &Running, folder: &str, metadata: &str) {
    let path = service.dir.path().join("backups").join(folder);
    std::fs::create_dir_all(&path).unwrap();
    std::fs::write(path.join("ns_1_1.asb"), "Version 3.1\n# x\n").unwrap();
    std::fs::write(path.join("metadata.yaml"), metadata).unwrap();
}

fn metadata(created: i64, finished: i64, from: Option<i64>, namespace: &str) -> String {
    let from = from.map_or_else(|| "0001-01-01T00:00:00Z".to_owned(), rfc3339);
    METADATA
        .replace("CREATED", &rfc3339(created))
        .replace("FINISHED", &rfc3339(finished))
        .replace("FROM", &from)
        .replace("NS", namespace)
}

async fn list(service: &Running, kind: &str) -> Value {
    let answer = service.get(&format!("/v1/backups/{kind}/r?refresh=true")).await;
    assert_eq!(answer.status.as_u16(), 200, "{}", answer.body);
    answer.json()
}

fn keys(list: &Value) -> Vec<&str> {
    list.as_array().unwrap().iter().map(|one| one["key"].as_str().unwrap()).collect()
}

/// abs.md 7.5: folders of one run, and which of them the lists show.
const PATHS: &[(&[&str], &[&str])] = &[
    (&["1700000000000/data/ns_1"], &["1700000000000/data/ns_1"]),
    (&["1700000000000/data/ns_1.2"], &["1700000000000/data/ns_1.2"]),
    (&["1700000000000/data/ns_1.5"], &["1700000000000/data/ns_1.5"]),
    // On purpose: of two tries of one namespace that both committed ABS shows both; one backup is one (rules.md 6.1).
    (&["1700000000000/data/ns_1", "1700000000000/data/ns_1.2"], &["1700000000000/data/ns_1.2"]),
    // No time, so no backup.
    (&["12345/", "x/data/ns_1", "1700000000000/data/ns_1"], &["1700000000000/data/ns_1"]),
];

#[tokio::test]
async fn folders_are_read_as_abs_names_them() {
    for level in LEVELS {
        for (folders, shown) in PATHS {
            let service = start(level).await;
            for folder in *folders {
                lay(&service, &format!("r/backup/{folder}"), &metadata(T, T + 60_000, None, "ns_1"));
            }
            let expected: Vec<String> = shown.iter().map(|folder| format!("r/backup/{folder}")).collect();
            assert_eq!(keys(&list(&service, "full").await), expected, "{level}: {folders:?}");
        }
    }
}

/// abs.md 7.6: two fulls of two namespaces, of which one is kept; asked once more, nothing is left to do.
#[tokio::test]
async fn retention_keeps_the_newest_full_of_each_namespace_and_can_be_asked_again() {
    for level in LEVELS {
        let service = start(level).await;
        for created in [T, T + 3_600_000] {
            for namespace in ["ns1", "ns2"] {
                let text = metadata(created, created + 60_000, None, namespace);
                lay(&service, &format!("r/backup/{created}/data/{namespace}"), &text);
            }
        }
        for _ in 0..2 {
            let id = service.post("/v1/retention/r", "").await.json()["id"].as_i64().unwrap();
            let job = service.job_in(id, &["succeeded", "failed", "skipped"]).await;
            assert_eq!(job["status"], "succeeded", "{level}: {job:#}");
            let kept = ["ns1", "ns2"].map(|name| format!("r/backup/{}/data/{name}", T + 3_600_000));
            assert_eq!(keys(&list(&service, "full").await), kept, "{level}");
            assert!(!service.dir.path().join(format!("backups/r/backup/{T}")).exists(), "{level}");
        }
    }
}

/// Incrementals, as (created, from), and the chain of the newest.
type Chain = (&'static [(i64, i64)], &'static [i64]);

/// abs.md 7.7, in minutes: incrementals as (created, from) upon a full of minute 1,000, and what the newest is restored from.
const CHAINS: &[Chain] = &[
    (&[(3000, 2000), (2000, 1000), (900, 500)], &[1000, 2000, 3000]),
    (&[(3000, 1000), (2000, 1000)], &[1000, 3000]),
    // Created with the full: not upon it.
    (&[(1000, 500), (2000, 1000)], &[1000, 2000]),
];

#[tokio::test]
async fn chains_are_made_as_abs_makes_them() {
    for level in LEVELS {
        for (incrementals, chain) in CHAINS {
            let service = start(level).await;
            let at = |minute: i64| T + minute * 60_000;
            lay(
                &service,
                &format!("r/backup/{}/data/test", at(1000)),
                &metadata(at(1000), at(1000), None, "test"),
            );
            for (created, from) in *incrementals {
                let text = metadata(at(*created), at(*created), Some(at(*from)), "test");
                lay(&service, &format!("r/incremental/{}/data/test", at(*created)), &text);
            }
            list(&service, "incremental").await;
            let newest = incrementals.iter().map(|(created, _)| *created).max().unwrap();
            let run = service.get(&format!("/v1/backups/incremental/r/{}", at(newest))).await.json();
            let members: Vec<String> = chain
                .iter()
                .map(|minute| {
                    let folder = if *minute == 1000 { "backup" } else { "incremental" };
                    format!("r/{folder}/{}/data/test", at(*minute))
                })
                .collect();
            assert_eq!(keys(&run["namespaces"][0]["chain"]), members, "{level}: {run:#}");
        }
    }
}

/// abs.md 7.8: a `metadata.yaml`, and what the list says of it; none: it is not shown, and hides nothing.
const READABLE: &[(&str, Option<(&str, &str)>)] = &[
    ("created: 2023-11-14T22:13:20Z\nnamespace: test\n", Some(("NONE", "NONE"))),
    ("created: 2023-11-14T22:13:20Z\nnamespace: test\ncompression: ZSTD\n", Some(("ZSTD", "NONE"))),
    ("created: 2023-11-14T22:13:20Z\nnamespace: test\nencryption: AES128\n", Some(("NONE", "AES128"))),
    ("created: 2023-11-1", None),
    ("", None),
];

#[tokio::test]
async fn short_and_damaged_metadata_hides_no_other_backup() {
    for level in LEVELS {
        for (text, shown) in READABLE {
            let service = start(level).await;
            lay(&service, &format!("r/backup/{T}/data/test"), text);
            let healthy = format!("r/backup/{}/data/test", T + 1000);
            lay(&service, &healthy, &metadata(T + 1000, T + 2000, None, "test"));
            let list = list(&service, "full").await;
            let of = |key: &str| list.as_array().unwrap().iter().find(|one| one["key"] == key).cloned();
            assert!(of(&healthy).is_some(), "{level}: {text}: {list:#}");
            let found = of(&format!("r/backup/{T}/data/test"));
            let words = found
                .as_ref()
                .map(|one| (one["compression"].as_str().unwrap(), one["encryption"].as_str().unwrap()));
            assert_eq!(words, *shown, "{level}: {text}");
        }
    }
}

/// abs.md 7.9 and 1.3: every key of a full and of an incremental, in each release.
#[tokio::test]
async fn the_lists_have_the_fields_of_each_release() {
    for level in LEVELS {
        let service = start(level).await;
        lay(&service, &format!("r/backup/{T}/data/test"), &metadata(T, T + 60_000, None, "test"));
        let (at, key) = (T + 3_600_000, format!("r/incremental/{}/data/test", T + 3_600_000));
        lay(&service, &key, &metadata(at, at + 1_500, Some(T), "test"));
        let mut full = json!({
            "created": "2023-11-14T22:13:20Z", "timestamp": T, "finished": "2023-11-14T22:14:20Z", "duration": 60,
            "namespace": "test", "record-count": 3, "byte-count": 20, "file-count": 1, "secondary-index-count": 1, "udf-count": 2,
            "key": format!("r/backup/{T}/data/test"), "compression": "ZSTD", "encryption": "NONE",
            "storage": {"local-storage": {"path": service.dir.path().join("backups")}},
        });
        if level == "3.5" {
            full["from"] = json!("0001-01-01T00:00:00Z");
        } else {
            full["finished-timestamp"] = json!(T + 60_000);
        }
        assert_eq!(list(&service, "full").await, json!([full]), "{level}");
        let every = service.get("/v1/backups/full").await.json();
        assert_eq!(every, json!({"r": [full]}), "{level}");
        let mut incremental = full;
        for (key, value) in [
            ("created", json!("2023-11-14T23:13:20Z")),
            ("timestamp", json!(at)),
            ("finished", json!("2023-11-14T23:13:21.5Z")),
            ("duration", json!(1)),
            ("from", json!("2023-11-14T22:13:20Z")),
            ("key", json!(key)),
        ] {
            incremental[key] = value;
        }
        if level != "3.5" {
            incremental["finished-timestamp"] = json!(at + 1_500);
        }
        assert_eq!(list(&service, "incremental").await, json!([incremental]), "{level}");
    }
}

/// Requests: method and path, body, status, and the body of an answer that is an error (by release, where they differ); the
/// rows follow one another. `ID`: the job of the restore before.
const REQUESTS: &[(&str, &str, u16, &str)] = &[
    // abs.md 7.7.
    ("POST /v1/restore/timestamp", r#"{"routine":"r","time":1710671632452}"#, 202, ""),
    (
        "POST /v1/restore/timestamp",
        r#"{"routine":"r","time":999999999999}"#,
        400,
        "invalid request: validation error: restore timestamp must be in milliseconds\n",
    ),
    (
        "POST /v1/restore/timestamp",
        r#"{"routine":"x","time":1710671632452}"#,
        400,
        "invalid request: not found validation error: routine \"x\"\n",
    ),
    // abs.md 7.9: with the whole destination and policy.
    (
        "POST /v1/restore/full",
        r#"{"destination":{"seed-nodes":[{"host-name":"localhost","port":3000}],"credentials":{"user":"user","password":"password"}},"policy":{"no-generation":true},"source":{"s3-storage":{"bucket":"as-backup-bucket","path":"backups","s3-region":"eu-central-1","s3-endpoint-override":"http://127.0.0.1:1"}},"backup-data-path":"routine1/backup/1704110400000/data/source-ns1"}"#,
        202,
        "",
    ),
    // Across regions: a routine that is not configured, with both ends. On purpose also in 3.5, which refuses a source.
    (
        "POST /v1/restore/timestamp",
        r#"{"routine":"elsewhere","time":1710671632452,"source":{"s3-storage":{"bucket":"b","s3-region":"eu-central-1","s3-endpoint-override":"http://127.0.0.1:1"}},"destination":{"seed-nodes":[{"host-name":"localhost","port":3000}]}}"#,
        202,
        "",
    ),
    (
        "POST /v1/config/routines/grown-up",
        r#"{"source-cluster":"nowhere","storage":"disk","namespaces":["test"],"interval-cron":"@daily","filter-exp":"kwOTUQKjYWdlGQ=="}"#,
        201,
        "",
    ),
    (
        "PUT /v1/config/routines/grown-up",
        r#"{"source-cluster":"nowhere","storage":"disk","namespaces":["test"],"interval-cron":"@daily","filter-exp":"kwGTUQOnY291bnRyeaMDVVM="}"#,
        200,
        "",
    ),
    (
        "POST /v1/backups/full/r?delay=-1",
        "",
        400,
        "invalid query param delay: should be a positive integer\n",
    ),
    ("GET /v1/restore/status/x", "", 400, "invalid query param jobId: "),
    ("GET /v1/backups/full/r?from=2&to=1", "", 400, "invalid query param time bounds: "),
];

#[tokio::test]
async fn documented_requests_are_answered_in_each_release() {
    for level in LEVELS {
        let service = start(level).await;
        for (request, body, status, text) in REQUESTS {
            let (method, path) = request.split_once(' ').unwrap();
            let answer = service.send(Method::from_bytes(method.as_bytes()).unwrap(), path, &[], *body).await;
            let of = format!("{level}: {request} {body}: {}", answer.body);
            assert_eq!(answer.status.as_u16(), *status, "{of}");
            match status {
                202 => assert!(answer.body.parse::<i64>().is_ok(), "{of}"),
                400 if text.ends_with('\n') => assert_eq!(answer.body, *text, "{of}"),
                _ => assert!(answer.body.starts_with(text), "{of}"),
            }
        }
        let version = service.get("/version").await.json();
        assert_eq!(version["version"], format!("{level}.0"));
    }
}

/// abs.md 7.9 and 1.3: both jobs of a routine at once, and a restore, in the words of each release.
#[tokio::test]
async fn what_runs_is_shown_in_each_release() {
    for (level, running, canceled) in
        [("3.5", "Running", "Canceled"), ("3.6", "running", "canceled"), ("3.7", "running", "canceled")]
    {
        let service = start(level).await;
        for kind in ["full", "incremental"] {
            let id = service.trigger(&format!("/v1/backups/{kind}/r")).await;
            service.job_in(id, &["running"]).await;
        }
        let state = service.get("/v1/backups/currentBackup/r").await.json();
        let mut fields = vec!["done-records", "metrics", "percentage-done", "start-time", "total-records"];
        if level != "3.5" {
            fields.insert(1, "duration");
        }
        for kind in ["full", "incremental"] {
            let shown: Vec<&String> = state[kind].as_object().unwrap().keys().collect();
            assert_eq!(shown, fields, "{level}: {state:#}");
            assert_eq!(
                state[kind]["metrics"],
                json!({"records-per-second": 0, "kilobytes-per-second": 0, "pipeline": 0}),
            );
        }
        let shown: Vec<&String> = state.as_object().unwrap().keys().collect();
        assert_eq!(shown, ["full", "incremental", "next-full", "next-incremental"], "{level}");

        let body = r#"{"routine":"r","time":1710671632452}"#;
        let id = service.post("/v1/restore/timestamp", body).await.body;
        service.expect(Method::POST, &format!("/v1/restore/cancel/{id}"), "", 202, "").await;
        service.job_in(id.parse().unwrap(), &["canceled", "failed"]).await;
        let all = service.get("/v1/restore/jobs").await.json();
        let word = all[&id]["status"].as_str().unwrap();
        let failed = if level == "3.5" { "Failed" } else { "failure" };
        assert!([canceled, failed].contains(&word), "{level}: {all:#}");
        let filter = format!("/v1/restore/jobs?status={running}");
        assert_eq!(service.get(&filter).await.body, "{}", "{level}");
    }
}
