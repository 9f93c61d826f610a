//! Memory: what goes through the service to an object store and back is bounded, however much it is (rules.md 8.1).

use std::process::{Child, Command, Stdio};
use std::time::Duration;

use holdfast::sample::SampleRecord;
use serde_json::{Value, json};

use crate::node::{Node, SOURCE, TARGET};
use crate::seaweed::Seaweed;
use crate::server::free_port;
use crate::service::ROUTINE;

/// The most that the service may hold, in KiB: its memory as the kernel counts it, with the pages of the program itself.
const RESIDENT_KIB_MAX: u64 = 200 << 10;
/// As text, base64 with the names around it, these are 258 MiB of a file.
const RECORDS: i64 = 3_080;
const RECORD_BYTES: usize = 64 << 10;
/// How long the jobs may take: it finds a hang, and is no measure of speed.
const PATIENCE: Duration = Duration::from_mins(4);

/// The program itself, as a process.
struct Service {
    child: Child,
    url: String,
}

impl Drop for Service {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Service {
    async fn start(dir: &std::path::Path, config: &mut Value) -> Self {
        let port = free_port(0);
        config["service"] = json!({"http": {"port": port}, "state-dir": dir.join("state")});
        let file = dir.join("holdfast.yaml");
        std::fs::write(&file, config.to_string()).unwrap();
        let child = Command::new(env!("CARGO_BIN_EXE_holdfast"))
            .args(["serve", "--config"])
            .arg(file)
            .env_remove("RUST_LOG")
            // As `deploy/` sets it.
            .env("MALLOC_ARENA_MAX", "2")
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        let service = Self { child, url: format!("http://127.0.0.1:{port}") };
        let up = async {
            while reqwest::get(format!("{}/health", service.url)).await.is_err() {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        };
        tokio::time::timeout(PATIENCE, up).await.expect("it does not serve");
        service
    }

    /// Runs a job that must succeed.
    async fn run(&self, path: &str, body: &Value) -> Value {
        let answer =
            reqwest::Client::new().post(format!("{}{path}", self.url)).json(body).send().await.unwrap();
        let place = answer.headers().get("location").map(|place| place.to_str().unwrap().to_owned());
        let Some(place) = place else { panic!("{path}: {}", answer.text().await.unwrap()) };
        let ended = async {
            loop {
                let job: Value =
                    reqwest::get(format!("{}{place}", self.url)).await.unwrap().json().await.unwrap();
                if !job["finished"].is_null() {
                    break job;
                }
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        };
        let job = tokio::time::timeout(PATIENCE, ended).await.expect("the job does not end");
        assert_eq!(job["status"], "succeeded", "{job:#}");
        job
    }

    /// The most that it has held so far, in KiB.
    fn peak_kib(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
        line.trim().trim_end_matches(" kB").parse().unwrap()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_quarter_of_a_gibibyte_goes_to_a_bucket_and_back_in_bounded_memory() {
    let (node, seaweed) = (Node::start().await, Seaweed::start().await);
    let keys: Vec<i64> = (0..RECORDS).collect();
    for some in keys.chunks(100) {
        let records = some.iter().map(|key| {
            let bytes = vec![key.to_be_bytes()[7]; RECORD_BYTES];
            SampleRecord::new("large", *key).bin("bytes", 4, bytes)
        });
        node.write(SOURCE, &records.collect::<Vec<_>>()).await;
    }
    let dir = tempfile::tempdir().unwrap();
    let mut config = json!({
        "aerospike-clusters": {
            "node": {"seed-nodes": [{"host-name": node.host, "port": node.port}], "conn-timeout": 5000}
        },
        "storage": {"bucket": seaweed.section(&json!({"path": "of/tests"}))},
        "backup-policies": {"quick": {"parallel": 4, "parallel-write": 4, "clock-skew-margin": 0}},
        "backup-routines": {ROUTINE: {
            "source-cluster": "node",
            "storage": "bucket",
            "backup-policy": "quick",
            "namespaces": [SOURCE],
            "interval-cron": "0 0 0 29 2 ?",
        }},
    });
    let service = Service::start(dir.path(), &mut config).await;
    let job = service.run(&format!("/v1/backups/full/{ROUTINE}"), &Value::Null).await;
    let bytes = job["progress"]["bytes"].as_u64().unwrap();
    assert!(bytes >= 256 << 20, "{bytes} bytes are stored");
    let backed_up_kib = service.peak_kib();
    drop(service);

    let service = Service::start(dir.path(), &mut config).await;
    let finished = chrono::DateTime::parse_from_rfc3339(job["finished"].as_str().unwrap()).unwrap();
    let asked = json!({
        "routine": ROUTINE,
        "time": finished.timestamp_millis() + 1,
        "policy": {"namespace": {"source": SOURCE, "destination": TARGET}},
    });
    let job = service.run("/v1/restore/timestamp", &asked).await;
    assert_eq!(job["counters"]["inserted-records"], RECORDS, "{job:#}");
    let restored_kib = service.peak_kib();
    println!(
        "FIGURE | {} MiB to a bucket and back | most resident: backup {} MiB, restore {} MiB |",
        bytes >> 20,
        backed_up_kib >> 10,
        restored_kib >> 10
    );
    assert!(backed_up_kib.max(restored_kib) < RESIDENT_KIB_MAX, "{backed_up_kib}, {restored_kib} KiB");
}
