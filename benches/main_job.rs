//! The main job, measured from outside: a full backup of one namespace to local files, then its restore into an empty
//! namespace, by `holdfast serve` in a process of its own, which this program starts anew for each measurement and
//! whose CPU time and peak memory it reads from /proc. README.md says how to run it.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)] // a program that measures: any surprise ends it

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use holdfast::aerospike::{Cluster, ClusterOptions, Seed};
use holdfast::clock::{Clock, SystemClock};
use holdfast::sample::{self, mixed};
use serde_json::{Value, json};

#[path = "support/process.rs"]
#[allow(missing_docs, dead_code)] // others use the rest
mod process;

use process::{Process, ended_children_cpu_us, free_port, wait_for};

const SOURCE: &str = "source-ns1";
const TARGET: &str = "target-ns1";

/// What is measured, each once with every compression.
const COMPRESSIONS: [(&str, &str); 3] =
    [("plain", "{mode: NONE}"), ("zstd-1", "{mode: ZSTD, level: 1}"), ("zstd-3", "{mode: ZSTD, level: 3}")];

/// How it is measured: from the environment, so that `cargo bench` needs no arguments.
struct Options {
    records: u64,
    rounds: usize,
    /// Scans and files of a backup, files read at once by a restore.
    parallel: u64,
    /// The program under test.
    program: PathBuf,
    /// The node; none: a sandbox in a process of its own.
    node: Option<String>,
    /// The official programs to measure beside it: asbackup and asrestore.
    official: Option<(PathBuf, PathBuf)>,
    dir: PathBuf,
}

impl Options {
    fn from_env() -> Self {
        let text = |name: &str| std::env::var(format!("HOLDFAST_BENCH_{name}")).ok();
        let number = |name, or| text(name).map_or(or, |value| value.parse().unwrap());
        Self {
            records: number("RECORDS", 400_000),
            rounds: number("ROUNDS", 3) as usize,
            parallel: number("PARALLEL", 8),
            program: text("PROGRAM").unwrap_or_else(|| env!("CARGO_BIN_EXE_holdfast").to_owned()).into(),
            node: text("AEROSPIKE"),
            official: text("ASBACKUP").zip(text("ASRESTORE")).map(|(a, b)| (a.into(), b.into())),
            dir: Path::new(env!("CARGO_TARGET_TMPDIR")).join("bench-main-job"),
        }
    }

    fn storage(&self) -> PathBuf {
        self.dir.join("backups")
    }

    /// Runs one of the official programs to its end.
    fn run_official(&self, program: &Path, seed: &str, more: &[&str]) -> Cost {
        let (host, port) = seed.rsplit_once(':').unwrap();
        let log = std::fs::File::create(self.dir.join("official.log")).unwrap();
        let (before, started) = (ended_children_cpu_us(), std::time::Instant::now());
        let mut process = Process(
            Command::new(program)
                .args(["-h", host, "-p", port, "-d"])
                .arg(self.storage())
                .args(more)
                .stdout(log.try_clone().unwrap())
                .stderr(log)
                .spawn()
                .unwrap(),
        );
        let mut peak_mib = 0.0;
        let status = loop {
            match process.0.try_wait().unwrap() {
                Some(status) => break status,
                None => peak_mib = process.peak_mib().unwrap_or(peak_mib),
            }
            std::thread::sleep(Duration::from_millis(10));
        };
        assert!(status.success(), "{}: see official.log", program.display());
        let size = |file: std::io::Result<std::fs::DirEntry>| file.unwrap().metadata().unwrap().len();
        Cost {
            seconds: started.elapsed().as_secs_f64(),
            cpu_us: ended_children_cpu_us() - before,
            peak_mib,
            stored_bytes: std::fs::read_dir(self.storage()).unwrap().map(size).sum(),
        }
    }

    /// Starts a subcommand of the program under test.
    fn start(&self, args: &[&str]) -> Process {
        Process::start(&self.program, &self.dir, args, &[])
    }
}

/// What one job cost.
#[derive(Debug, Clone, Copy)]
struct Cost {
    seconds: f64,
    cpu_us: u64,
    peak_mib: f64,
    stored_bytes: u64,
}

/// The service in its own process.
struct Service {
    process: Process,
    url: String,
    http: reqwest::Client,
}

impl Service {
    async fn start(options: &Options, seed: &str, compression: &str) -> Self {
        let port = free_port();
        let config = options.dir.join("holdfast.yaml");
        std::fs::write(&config, document(options, seed, compression, port)).unwrap();
        let process = options.start(&["serve", "--config", config.to_str().unwrap()]);
        wait_for(&format!("127.0.0.1:{port}")).await;
        Self { process, url: format!("http://127.0.0.1:{port}"), http: reqwest::Client::new() }
    }

    /// Starts a job and waits until it has succeeded: the job as the service shows it, and its cost.
    async fn run(&self, path: &str, body: &Value) -> (Value, Cost) {
        let before = self.process.cpu_us();
        let answer = self.http.post(format!("{}{path}", self.url)).json(body).send().await.unwrap();
        let job = answer.headers()["location"].to_str().unwrap().to_owned();
        let job = loop {
            tokio::time::sleep(Duration::from_millis(100)).await;
            let job = self.http.get(format!("{}{job}", self.url)).send().await.unwrap();
            let job: Value = job.json().await.unwrap();
            match job["status"].as_str().unwrap() {
                "succeeded" => break job,
                "scheduled" | "queued" | "running" => {}
                _ => panic!("{job:#}"),
            }
        };
        let at = |field: &str| chrono::DateTime::parse_from_rfc3339(job[field].as_str().unwrap()).unwrap();
        let cost = Cost {
            seconds: (at("finished") - at("started")).as_seconds_f64(),
            cpu_us: self.process.cpu_us() - before,
            peak_mib: self.process.peak_mib().unwrap(),
            stored_bytes: job["progress"]["bytes"].as_u64().unwrap(),
        };
        (job, cost)
    }
}

fn document(options: &Options, seed: &str, compression: &str, port: u16) -> String {
    let (host, node_port) = seed.rsplit_once(':').unwrap();
    let (dir, storage) = (options.dir.display(), options.storage());
    let (storage, parallel) = (storage.display(), options.parallel);
    format!(
        r#"
service: {{http: {{port: {port}}}, logger: {{level: WARN}}, state-dir: {dir}/state}}
aerospike-clusters: {{node: {{seed-nodes: [{{host-name: {host}, port: {node_port}}}]}}}}
storage: {{disk: {{local-storage: {{path: {storage}}}}}}}
backup-policies: {{policy: {{parallel: {parallel}, clock-skew-margin: 0, compression: {compression}}}}}
backup-routines:
  bench:
    source-cluster: node
    storage: disk
    backup-policy: policy
    namespaces: [{SOURCE}]
    interval-cron: "0 0 0 1 1 ?"
"#
    )
}

#[tokio::main]
async fn main() {
    // `cargo test --all-targets` runs it too, without this argument.
    if !std::env::args().any(|argument| argument == "--bench") {
        return;
    }
    let options = Options::from_env();
    let _ = std::fs::remove_dir_all(&options.dir);
    std::fs::create_dir_all(&options.dir).unwrap();
    let sandbox_port = free_port();
    let sandbox =
        options.node.is_none().then(|| options.start(&["sandbox", "--port", &sandbox_port.to_string()]));
    let seed = options.node.clone().unwrap_or_else(|| format!("127.0.0.1:{sandbox_port}"));
    let cluster = connect(&seed).await;
    fill(&cluster, options.records).await;
    println!(
        "{} records of {SOURCE} on {}, parallel {}, median of {} rounds\n",
        options.records,
        if sandbox.is_some() { "a sandbox node" } else { "an Aerospike node" },
        options.parallel,
        options.rounds,
    );
    println!("| job | records/s | CPU µs/record | stored MB | MB/s | peak RSS MiB |");
    println!("|---|---|---|---|---|---|");
    for (name, compression) in COMPRESSIONS {
        let (mut backups, mut restores) = (Vec::new(), Vec::new());
        for _ in 0..options.rounds {
            backups.push(back_up(&options, &seed, compression).await);
            empty(&cluster, TARGET).await;
            restores.push(restore(&options, &seed, compression).await);
        }
        print_row(&format!("backup, {name}"), options.records, backups);
        print_row(&format!("restore, {name}"), options.records, restores);
    }
    if let Some((asbackup, asrestore)) = &options.official {
        let (mut backups, mut restores) = (Vec::new(), Vec::new());
        for _ in 0..options.rounds {
            let _ = std::fs::remove_dir_all(options.storage());
            backups.push(options.run_official(asbackup, &seed, &["-n", SOURCE, "-w", "2"]));
            empty(&cluster, TARGET).await;
            restores.push(options.run_official(asrestore, &seed, &["-n", &format!("{SOURCE},{TARGET}")]));
            let stats = cluster.namespace_stats(TARGET).await.unwrap();
            assert_eq!(stats.iter().map(|node| node.objects).sum::<u64>(), options.records);
        }
        print_row("asbackup, plain", options.records, backups);
        print_row("asrestore, plain", options.records, restores);
    }
}

async fn back_up(options: &Options, seed: &str, compression: &str) -> Cost {
    let _ = std::fs::remove_dir_all(options.storage());
    // The store would miss the storage's mark.
    let _ = std::fs::remove_dir_all(options.dir.join("state"));
    let service = Service::start(options, seed, compression).await;
    let (job, cost) = service.run("/v1/backups/full/bench", &Value::Null).await;
    assert_eq!(job["progress"]["done-records"], options.records, "{job:#}");
    cost
}

async fn restore(options: &Options, seed: &str, compression: &str) -> Cost {
    let service = Service::start(options, seed, compression).await;
    let request = json!({
        "routine": "bench", "time": SystemClock.now().0,
        "policy": {"parallel": options.parallel, "namespace": {"source": SOURCE, "destination": TARGET}},
    });
    let (job, cost) = service.run("/v1/restore/timestamp", &request).await;
    assert_eq!(job["counters"]["inserted-records"], options.records, "{job:#}");
    // Its own count is of what it sent; what it read is what the backup stored.
    Cost { stored_bytes: job["counters"]["total-bytes"].as_u64().unwrap(), ..cost }
}

fn print_row(name: &str, records: u64, mut costs: Vec<Cost>) {
    let median = |of: fn(&Cost) -> f64, costs: &mut Vec<Cost>| {
        costs.sort_by(|a, b| of(a).total_cmp(&of(b)));
        of(&costs[costs.len() / 2])
    };
    let seconds = median(|cost| cost.seconds, &mut costs);
    let cpu_us = median(|cost| cost.cpu_us as f64, &mut costs) / records as f64;
    let peak_mib = median(|cost| cost.peak_mib, &mut costs);
    let megabytes = costs[0].stored_bytes as f64 / 1e6;
    println!(
        "| {name} | {:.0} | {cpu_us:.2} | {megabytes:.1} | {:.0} | {peak_mib:.0} |",
        records as f64 / seconds,
        megabytes / seconds,
    );
}

/// Makes the source hold exactly the sample.
async fn fill(cluster: &Cluster, records: u64) {
    const CHUNK: usize = 10_000;
    empty(cluster, SOURCE).await;
    let keys: Vec<i64> = (0..records as i64).collect();
    for chunk in keys.chunks(CHUNK) {
        let chunk: Vec<_> = chunk.iter().map(|key| mixed("customers", *key, 1)).collect();
        sample::write(cluster, SOURCE, &chunk).await.unwrap();
    }
}

async fn empty(cluster: &Cluster, namespace: &str) {
    cluster.truncate(namespace, None).await.unwrap();
    loop {
        let stats = cluster.namespace_stats(namespace).await.unwrap();
        if stats.iter().all(|node| node.objects == 0) {
            // Writes must be stamped later than the truncation.
            return tokio::time::sleep(Duration::from_millis(100)).await;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

async fn connect(seed: &str) -> Cluster {
    wait_for(seed).await;
    let (host, port) = seed.rsplit_once(':').unwrap();
    let seeds = vec![Seed { host: host.to_owned(), port: port.parse().unwrap() }];
    let options = ClusterOptions { seeds, connect_timeout_ms: 5000, label: "bench".to_owned() };
    Cluster::connect(&options).await.unwrap()
}
