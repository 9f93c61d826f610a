//! Cancel, stop and crash: nothing half-made is left or listed (rules.md 2.8, 6.1, 6.4).

use std::collections::BTreeSet;
use std::process::{Command, Stdio};

use holdfast::sample::mixed;
use serde_json::{Value, json};

use crate::node::{SOURCE, TARGET};
use crate::service::{Bench, ROUTINE, point};

/// A minute or more, where a test must be over long before.
const FOR_EVER_MS: u64 = 250_000;

fn records(count: i64) -> Vec<holdfast::sample::SampleRecord> {
    (0..count).map(|key| mixed("customers", key, 1)).collect()
}

async fn cancel(bench: &Bench, id: i64) -> Value {
    let (status, body) = bench.post(&format!("/v1/jobs/{id}/cancel"), &json!({})).await;
    assert_eq!(status, 202, "{body}");
    bench.wait_job(id).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_is_canceled_while_it_waits_for_the_clocks() {
    let bench = Bench::with(|config| {
        config["backup-policies"]["quick"]["clock-skew-margin"] = json!(FOR_EVER_MS);
    })
    .await;
    bench.write(&records(10)).await;
    let id = bench.trigger("full", ROUTINE).await;
    bench.wait_until(id, |job| job["created"].is_string()).await;
    // As ABS asks: the routine's backups.
    let (status, _) = bench.post(&format!("/v1/backups/cancel/{ROUTINE}"), &json!({})).await;
    assert_eq!(status, 202);
    let job = bench.wait_job(id).await;
    assert_eq!(job["status"], "canceled", "{job:#}");
    assert_eq!(bench.files(""), Vec::<String>::new());
    assert_eq!(bench.list("full", ROUTINE).await, Vec::<Value>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_is_canceled_while_it_waits_to_try_again() {
    let bench = Bench::with(|config| {
        // Nobody listens on port 1.
        config["aerospike-clusters"]["nowhere"] =
            json!({"seed-nodes": [{"host-name": "127.0.0.1", "port": 1}]});
        config["backup-routines"][ROUTINE]["source-cluster"] = json!("nowhere");
        let retry = json!({"base-timeout": FOR_EVER_MS, "multiplier": 1, "max-retries": 5});
        config["backup-policies"]["quick"]["retry-policy"] = retry;
    })
    .await;
    let id = bench.trigger("full", ROUTINE).await;
    bench.wait_until(id, |job| job["status"] == "running").await;
    let job = cancel(&bench, id).await;
    assert_eq!(job["status"], "canceled", "{job:#}");
}

/// A cluster that takes connections and says nothing.
#[tokio::test(flavor = "multi_thread")]
async fn backup_and_restore_are_canceled_while_a_node_is_silent() {
    let silent = tokio::net::TcpListener::bind("0.0.0.0:0").await.unwrap();
    let port = silent.local_addr().unwrap().port();
    // Each seed is given up after a while: so many that a minute would not do.
    let seeds: Vec<_> =
        (1..=20).map(|n| json!({"host-name": format!("127.0.0.{n}"), "port": port})).collect();
    let bench = Bench::with(|config| {
        config["aerospike-clusters"]["silent"] = json!({"seed-nodes": seeds, "conn-timeout": FOR_EVER_MS});
        config["backup-routines"]["deaf"] = config["backup-routines"][ROUTINE].clone();
        config["backup-routines"]["deaf"]["source-cluster"] = json!("silent");
    })
    .await;
    bench.write(&records(10)).await;
    let at = point(&bench.back_up("full").await);
    let backup = bench.trigger("full", "deaf").await;
    let restore = bench.trigger_restore_to(at, &json!({"destination-name": "silent"})).await;
    for id in [backup, restore] {
        bench.wait_until(id, |job| job["status"] == "running").await;
        // The connection stands, and nobody will ever answer.
        let _connection = silent.accept().await.unwrap();
        let job = cancel(&bench, id).await;
        assert_eq!(job["status"], "canceled", "{job:#}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restore_is_canceled_while_it_writes() {
    let bench = Bench::start().await;
    bench.write(&records(40_000)).await;
    let at = point(&bench.back_up("full").await);
    // One record at a time.
    let slowly = json!({"policy": {"parallel": 1, "batch-size": 1, "max-async-batches": 1}});
    let id = bench.trigger_restore_to(at, &slowly).await;
    bench.wait_until(id, |job| job["progress"]["done-records"].as_u64() > Some(0)).await;
    let (status, _) = bench.post(&format!("/v1/restore/cancel/{id}"), &json!({})).await;
    assert_eq!(status, 202);
    let job = bench.wait_job(id).await;
    assert_eq!(job["status"], "canceled", "{job:#}");
    let status = bench.get(&format!("/v1/restore/status/{id}")).await;
    assert_eq!(status["status"], "Canceled", "{status:#}");
    let written = bench.node.snapshot(TARGET).await.0.len();
    assert!((1..40_000).contains(&written), "{written} records were written");
    // Its tables are gone, and the namespace is free again.
    let left = std::fs::read_dir(bench.dir.path().join("state")).unwrap();
    let left: Vec<_> = left.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    assert!(!left.iter().any(|name| name.starts_with("restore-")), "{left:?}");
    bench.node.empty(TARGET).await;
    assert_eq!(bench.restore_to(at, json!({})).await.ok().records("inserted"), 40_000);
}

/// rules.md 2.8: a cancel that comes after the commit is too late, and said to be.
#[tokio::test(flavor = "multi_thread")]
async fn a_job_that_has_ended_stays_as_it_is() {
    let bench = Bench::start().await;
    bench.write(&records(10)).await;
    let job = bench.back_up("full").await;
    let after = cancel(&bench, job["id"].as_i64().unwrap()).await;
    assert_eq!(after["status"], "succeeded");
    assert_eq!(bench.list("full", ROUTINE).await.len(), 1);
}

/// Every backup that has a folder is committed and listed.
async fn nothing_half_made(bench: &Bench) {
    let files = bench.files("");
    let folders: BTreeSet<&str> =
        files.iter().filter_map(|file| file.rsplit_once('/')).map(|(dir, _)| dir).collect();
    let listed = bench.list("full", ROUTINE).await;
    let listed: BTreeSet<&str> = listed.iter().map(|backup| backup["key"].as_str().unwrap()).collect();
    assert_eq!(folders, listed, "{files:#?}");
    assert!(!files.iter().any(|file| file.contains(".partial") || file.contains(".tmp")), "{files:#?}");
}

/// rules.md 2.5, 6.4, 1.2
#[tokio::test(flavor = "multi_thread")]
async fn a_service_that_stops_and_starts_leaves_nothing_half_made_and_fires_no_slot_twice() {
    let mut bench = Bench::with(|config| {
        config["backup-routines"][ROUTINE]["interval-cron"] = json!("0/2 * * * * ?");
        config["backup-policies"]["quick"]["clock-skew-margin"] = json!(1000);
    })
    .await;
    bench.write(&records(1000)).await;
    let succeeded = async |bench: &Bench, count: usize| {
        loop {
            let jobs = bench.get("/v1/jobs?limit=1000").await["jobs"].as_array().unwrap().clone();
            if jobs.iter().filter(|job| job["status"] == "succeeded").count() >= count {
                return jobs;
            }
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    };
    let patience = std::time::Duration::from_mins(1);
    tokio::time::timeout(patience, succeeded(&bench, 1)).await.unwrap();
    // In the middle of one: after `created` it waits a second.
    let running = async {
        loop {
            let jobs =
                bench.get("/v1/jobs?limit=1000&status=running").await["jobs"].as_array().unwrap().clone();
            if let Some(job) = jobs.first() {
                return job["id"].as_i64().unwrap();
            }
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
    };
    let cut = tokio::time::timeout(patience, running).await.unwrap();
    bench.stop_service().await;
    bench.start_service().await;
    let job = bench.job(cut).await;
    assert_eq!((&job["status"], &job["reason-code"]), (&json!("interrupted"), &json!("shutdown")), "{job:#}");
    tokio::time::timeout(patience, succeeded(&bench, 4)).await.unwrap();
    // No more slots, so that what is on the disk is at rest.
    bench.stop_service().await;
    bench.config["backup-routines"][ROUTINE]["interval-cron"] = json!("0 0 0 29 2 ?");
    bench.start_service().await;
    let jobs = bench.get("/v1/jobs?limit=1000").await["jobs"].as_array().unwrap().clone();
    for job in &jobs {
        let id = job["id"].as_i64().unwrap();
        bench.wait_job(id).await;
    }
    let jobs = bench.get("/v1/jobs?limit=1000").await["jobs"].as_array().unwrap().clone();
    let slots: Vec<&str> = jobs
        .iter()
        .filter(|job| job["trigger"] == "schedule" || job["trigger"] == "catch-up")
        .map(|job| job["due"].as_str().unwrap())
        .collect();
    assert_eq!(slots.iter().collect::<BTreeSet<_>>().len(), slots.len(), "{jobs:#?}");
    // The slot of the one that was cut off got one more attempt, which ended.
    let again = jobs.iter().filter(|job| job["trigger"] == "recovery").count();
    assert!(again >= 1, "{jobs:#?}");
    nothing_half_made(&bench).await;
}

/// The process is killed while it writes files; what storage shows decides (rules.md 6.1).
#[tokio::test(flavor = "multi_thread")]
async fn what_a_killed_process_left_is_settled_by_the_next() {
    let mut bench = Bench::start().await;
    bench.write(&records(60_000)).await;
    bench.stop_service().await;
    let mut config = bench.config.clone();
    config["service"]["logger"] = json!({"format": "JSON"});
    let path = bench.dir.path().join("holdfast.yaml");
    std::fs::write(&path, config.to_string()).unwrap();
    let mut child = Command::new(env!("CARGO_BIN_EXE_holdfast"))
        .args(["serve", "--config"])
        .arg(&path)
        .env("STATE_DIRECTORY", bench.dir.path().join("state"))
        .env_remove("RUST_LOG")
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut log = std::io::BufRead::lines(std::io::BufReader::new(child.stdout.take().unwrap()));
    let line = log.find_map(|line| line.ok().filter(|line| line.contains("serving http"))).unwrap();
    let event: Value = serde_json::from_str(&line).unwrap();
    let address = event["fields"]["address"].as_str().unwrap();
    let url = format!("http://{address}/v1/backups/full/{ROUTINE}");
    let answer = reqwest::Client::new().post(url).send().await.unwrap();
    let id: i64 =
        answer.headers()["location"].to_str().unwrap().strip_prefix("/v1/jobs/").unwrap().parse().unwrap();
    let deadline = std::time::Instant::now() + std::time::Duration::from_mins(1);
    while bench.files("").is_empty() {
        assert!(std::time::Instant::now() < deadline, "no file was begun");
        tokio::time::sleep(std::time::Duration::from_millis(1)).await;
    }
    child.kill().unwrap();
    child.wait().unwrap();
    let left = bench.files("");
    let committed = left.iter().any(|file| file.ends_with("metadata.yaml"));
    bench.start_service().await;
    let job = bench.job(id).await;
    let expected = if committed { "succeeded" } else { "interrupted" };
    assert_eq!(job["status"], expected, "{job:#} {left:?}");
    nothing_half_made(&bench).await;
    // A manual job is not run again by itself; the next one is as good as any.
    assert_eq!(bench.list("full", ROUTINE).await.len(), usize::from(committed));
    let next = bench.back_up("full").await;
    assert_eq!(next["attempts"][SOURCE][0]["record-count"], 60_000);
}
