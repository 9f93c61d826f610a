//! Throughput of an object store: a full backup by `holdfast serve` into a bucket and its verification, which reads all of it, beside a
//! well-known command line that copies a file of the same size to the same kind of server and back, in the same run. README.md
//! says how to run it.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)] // a program that measures: any surprise ends it
#![allow(missing_docs, dead_code)] // what it takes from the tests says it there

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use holdfast::aerospike::{Cluster, ClusterOptions, Seed};
use holdfast::sample::{self, SampleRecord};
use serde_json::{Value, json};

#[path = "support/process.rs"]
mod process;
#[path = "../tests/storage/seaweed.rs"]
mod seaweed;
#[path = "../tests/storage/server.rs"]
mod server;

use process::{Process, ended_children_cpu_us, free_port, wait_for};
use seaweed::{ACCESS_KEY, BUCKET, SECRET_KEY, Seaweed};

const SOURCE: &str = "source-ns1";
const RECORD_BYTES: u64 = 64 << 10;
fn row(what: &str, bytes: u64, seconds: f64, cpu_us: u64, peak: Option<f64>) {
    let (megabytes, cpu) = (bytes as f64 / 1e6, cpu_us as f64 / 1e6);
    let peak = peak.map_or_else(|| "?".to_owned(), |peak| format!("{peak:.0}"));
    println!("| {what} | {:.0} | {:.2} | {peak} |", megabytes / seconds, cpu / (megabytes / 1e3));
}

/// The service, on a sandbox node that holds so many MiB.
struct Ours<'a> {
    program: &'a Path,
    dir: &'a Path,
    mib: u64,
    parallel: u64,
}

impl Ours<'_> {
    fn start(&self, arguments: &[&str]) -> Process {
        // As `deploy/` sets it.
        Process::start(self.program, self.dir, arguments, &[("MALLOC_ARENA_MAX", "2")])
    }

    /// Backs up and verifies; how many bytes were stored.
    async fn run(&self) -> u64 {
        let node_port = free_port();
        let _node = self.start(&["sandbox", "--port", &node_port.to_string()]);
        wait_for(&format!("127.0.0.1:{node_port}")).await;
        fill(node_port, self.mib).await;
        let seaweed = Seaweed::start_with(1024).await;
        let port = free_port();
        let config = json!({
            "service": {"http": {"port": port}, "logger": {"level": "WARN"}, "state-dir": self.dir.join("state")},
            "aerospike-clusters": {"node": {"seed-nodes": [{"host-name": "127.0.0.1", "port": node_port}]}},
            "storage": {"bucket": seaweed.section(&json!({}))},
            "backup-policies": {"policy": {"parallel": self.parallel, "clock-skew-margin": 0}},
            "backup-routines": {"bench": {
                "source-cluster": "node", "storage": "bucket", "backup-policy": "policy",
                "namespaces": [SOURCE], "interval-cron": "0 0 0 1 1 ?",
            }},
        });
        let file = self.dir.join("holdfast.yaml");
        std::fs::write(&file, config.to_string()).unwrap();
        let mut bytes = 0;
        for (what, kind) in [("backup", "full"), ("verification", "verify")] {
            let service = self.start(&["serve", "--config", file.to_str().unwrap()]);
            wait_for(&format!("127.0.0.1:{port}")).await;
            let cpu_us = service.cpu_us();
            let job =
                run_job(&format!("http://127.0.0.1:{port}"), &format!("/v1/backups/{kind}/bench")).await;
            bytes = bytes.max(job["progress"]["bytes"].as_u64().unwrap_or(0));
            let at = |key: &str| chrono::DateTime::parse_from_rfc3339(job[key].as_str().unwrap()).unwrap();
            let seconds = (at("finished") - at("started")).as_seconds_f64();
            let cpu_us = service.cpu_us() - cpu_us;
            let name = format!("Holdfast, {what}, parallel {}", self.parallel);
            row(&name, bytes, seconds, cpu_us, service.peak_mib());
        }
        let _ = std::fs::remove_dir_all(self.dir.join("state"));
        bytes
    }
}

async fn run_job(url: &str, path: &str) -> Value {
    let answer = reqwest::Client::new().post(format!("{url}{path}")).send().await.unwrap();
    let job = answer.headers()["location"].to_str().unwrap().to_owned();
    loop {
        tokio::time::sleep(Duration::from_millis(50)).await;
        let job: Value = reqwest::get(format!("{url}{job}")).await.unwrap().json().await.unwrap();
        match job["status"].as_str().unwrap() {
            "succeeded" => return job,
            "scheduled" | "queued" | "running" => {}
            _ => panic!("{job:#}"),
        }
    }
}

/// Records of 64 KiB, whose text is a third longer.
async fn fill(port: u16, mib: u64) {
    let seeds = vec![Seed { host: "127.0.0.1".to_owned(), port }];
    let options = ClusterOptions { seeds, connect_timeout_ms: 5000, label: "bench".to_owned() };
    let cluster = Cluster::connect(&options).await.unwrap();
    let keys: Vec<i64> = (0..(mib << 20) as i64 * 3 / 4 / RECORD_BYTES as i64).collect();
    for some in keys.chunks(100) {
        let records = some.iter().map(|key| {
            let bytes = vec![key.to_be_bytes()[7]; RECORD_BYTES as usize];
            SampleRecord::new("large", *key).bin("bytes", 4, bytes)
        });
        sample::write(&cluster, SOURCE, &records.collect::<Vec<_>>()).await.unwrap();
    }
}

/// The command line of Amazon: `aws s3 cp` to the server and back.
async fn theirs(program: &Path, dir: &Path, bytes: u64) {
    let seaweed = Seaweed::start_with(1024).await;
    let file = dir.join("data");
    let mut out = std::io::BufWriter::new(std::fs::File::create(&file).unwrap());
    let block: Vec<u8> = (0..1_u32 << 20).map(|at| (at ^ (at >> 9)) as u8).collect();
    for start in (0..bytes).step_by(block.len()) {
        out.write_all(&block[..block.len().min((bytes - start) as usize)]).unwrap();
    }
    out.into_inner().unwrap().sync_all().unwrap();
    let url = format!("s3://{BUCKET}/bench/data");
    let file = file.to_str().unwrap();
    for (what, from, to) in [("to the bucket", file, url.as_str()), ("back", url.as_str(), file)] {
        let (begun, cpu_us) = (Instant::now(), ended_children_cpu_us());
        let child = Command::new(program)
            .args(["--endpoint-url", &seaweed.url, "--region", "us-east-1"])
            .args(["s3", "cp", "--only-show-errors", from, to])
            .env("AWS_ACCESS_KEY_ID", ACCESS_KEY)
            .env("AWS_SECRET_ACCESS_KEY", SECRET_KEY)
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        let (mut process, mut peak) = (Process(child), None);
        let status = loop {
            if let Some(status) = process.0.try_wait().unwrap() {
                break status;
            }
            peak = process.peak_mib().or(peak);
            tokio::time::sleep(Duration::from_millis(20)).await;
        };
        assert!(status.success());
        let seconds = begun.elapsed().as_secs_f64();
        row(&format!("aws s3 cp, {what}"), bytes, seconds, ended_children_cpu_us() - cpu_us, peak);
    }
}

#[tokio::main]
async fn main() {
    // `cargo test --all-targets` runs it too, without this argument.
    if !std::env::args().any(|argument| argument == "--bench") {
        return;
    }
    let text = |name: &str| std::env::var(format!("HOLDFAST_BENCH_{name}")).ok();
    let mib = text("MIB").map_or(5 << 10, |mib| mib.parse().unwrap());
    let program = PathBuf::from(text("PROGRAM").unwrap_or_else(|| env!("CARGO_BIN_EXE_holdfast").to_owned()));
    let dir = Path::new(env!("CARGO_TARGET_TMPDIR")).join("bench-object-store");
    let _ = std::fs::remove_dir_all(&dir);
    std::fs::create_dir_all(&dir).unwrap();
    println!("{mib} MiB, to a SeaweedFS server in a process of its own and back\n");
    println!("| who, and what | MB/s | CPU s/GB | peak RSS MiB |");
    println!("|---|---|---|---|");
    let mut bytes = mib << 20;
    for parallel in [1, 8] {
        bytes = Ours { program: &program, dir: &dir, mib, parallel }.run().await;
    }
    if let Some(program) = text("AWS") {
        theirs(&PathBuf::from(program), &dir, bytes).await;
    }
    let _ = std::fs::remove_dir_all(&dir);
}
