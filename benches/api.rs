//! Status and list calls at a fixed rate, as dashboards and operators make them, of a service with a long history: 100,000
//! jobs and 10,000 backups. README.md says how to run it.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)] // a program that measures: any surprise ends it

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use holdfast::aerospike::{Cluster, ClusterOptions, Seed};
use holdfast::sample::{self, mixed};
use serde_json::Value;
use sqlx::sqlite::{SqliteConnectOptions, SqlitePool, SqlitePoolOptions};
use tokio::time::Instant;

#[path = "support/process.rs"]
#[allow(missing_docs, dead_code)] // others use the rest
mod process;

use process::{Process, free_port, wait_for};

const ROUTINES: u64 = 100;

/// 2024-01-01: the first backup of each routine; one an hour follows.
const FIRST_MS: i64 = 1_704_067_200_000;
const HOUR_MS: i64 = 3_600_000;

/// How it is measured: from the environment, so that `cargo bench` needs no arguments.
struct Options {
    jobs: u64,
    backups: u64,
    /// Requests begun in a second.
    rate: u64,
    seconds: u64,
    /// Of the node that is backed up meanwhile.
    records: i64,
    program: PathBuf,
    dir: PathBuf,
}

impl Options {
    /// Starts a subcommand of the program under test.
    fn start(&self, arguments: &[&str]) -> Process {
        Process::start(&self.program, &self.dir, arguments, &[])
    }

    fn from_env() -> Self {
        let text = |name: &str| std::env::var(format!("HOLDFAST_BENCH_{name}")).ok();
        let number = |name, or| text(name).map_or(or, |value| value.parse().unwrap());
        Self {
            jobs: number("JOBS", 100_000),
            backups: number("BACKUPS", 10_000),
            rate: number("RATE", 1_000),
            seconds: number("SECONDS", 20),
            records: number("RECORDS", 400_000) as i64,
            program: text("PROGRAM").unwrap_or_else(|| env!("CARGO_BIN_EXE_holdfast").to_owned()).into(),
            dir: Path::new(env!("CARGO_TARGET_TMPDIR")).join("bench-api"),
        }
    }
}

/// The service in its own process.
struct Service {
    process: Process,
    url: String,
}

impl Service {
    async fn start(options: &Options, node_port: u16) -> Self {
        let port = free_port();
        let config = options.dir.join("holdfast.yaml");
        std::fs::write(&config, document(options, node_port, port)).unwrap();
        let process = options.start(&["serve", "--config", config.to_str().unwrap()]);
        wait_for(&format!("127.0.0.1:{port}")).await;
        Self { process, url: format!("http://127.0.0.1:{port}") }
    }

    fn stop(mut self) {
        let told = Command::new("kill").arg("-TERM").arg(self.process.0.id().to_string()).status().unwrap();
        assert!(told.success());
        assert!(self.process.0.wait().unwrap().success());
    }

    async fn json(&self, path: &str) -> Value {
        reqwest::get(format!("{}{path}", self.url)).await.unwrap().json().await.unwrap()
    }

    /// One full backup: its job.
    async fn back_up(&self, routine: &str) -> Value {
        let url = format!("{}/v1/backups/full/{routine}", self.url);
        let answer = reqwest::Client::new().post(url).send().await.unwrap();
        let job = answer.headers()["location"].to_str().unwrap().to_owned();
        loop {
            let view = self.json(&job).await;
            match view["status"].as_str().unwrap() {
                "succeeded" => return view,
                "scheduled" | "queued" | "running" => tokio::time::sleep(Duration::from_millis(50)).await,
                _ => panic!("{view:#}"),
            }
        }
    }
}

fn document(options: &Options, node_port: u16, port: u16) -> String {
    let dir = options.dir.display();
    let mut text = format!(
        r#"
service:
  http: {{port: {port}, rate: {{white-list: [127.0.0.1]}}}}
  logger: {{level: WARN}}
  state-dir: {dir}/state
  job-history: {{max-rows: 10000000}}
aerospike-clusters: {{node: {{seed-nodes: [{{host-name: 127.0.0.1, port: {node_port}}}]}}}}
storage: {{disk: {{local-storage: {{path: {dir}/backups}}}}}}
backup-policies: {{policy: {{clock-skew-margin: 0, retention: {{full: 2}}}}, kept: {{clock-skew-margin: 0}}}}
backup-routines:
  busy: {{source-cluster: node, storage: disk, backup-policy: policy, namespaces: [source-ns1], interval-cron: "@yearly"}}
"#
    );
    for at in 0..ROUTINES {
        writeln!(
            text,
            "  {}: {{source-cluster: node, storage: disk, backup-policy: kept, namespaces: [source-ns1], interval-cron: \"@yearly\"}}",
            routine(at)
        )
        .unwrap();
    }
    text
}

fn routine(at: u64) -> String {
    format!("routine-{:03}", at % ROUTINES)
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
    let node_port = free_port();
    let _node = options.start(&["sandbox", "--port", &node_port.to_string()]);
    fill_node(node_port, options.records).await;
    fill_storage(&options);

    // A row to copy, and the store's own tables.
    let service = Service::start(&options, node_port).await;
    let job = service.back_up("busy").await["id"].as_i64().unwrap();
    service.stop();
    let first = fill_store(&options, job).await;
    let service = Service::start(&options, node_port).await;
    let listed = service.json("/v1/backups/full").await;
    let listed: usize = listed.as_object().unwrap().values().map(|list| list.as_array().unwrap().len()).sum();
    assert_eq!(listed as u64, options.backups + 1);

    println!(
        "{} jobs, {} backups of {ROUTINES} routines; {} requests/s for {} s\n",
        options.jobs, options.backups, options.rate, options.seconds
    );
    println!(
        "| call | nothing runs: p50 ms | p99 ms | a backup runs: p50 ms | p99 ms |\n|---|---|---|---|---|"
    );
    let alone = load(&options, &service, first).await;
    let running = Arc::new(AtomicBool::new(true));
    let backups = async {
        let mut count = 0;
        while running.load(Ordering::SeqCst) {
            service.back_up("busy").await;
            count += 1;
        }
        count
    };
    let loaded = async {
        let loaded = load(&options, &service, first).await;
        running.store(false, Ordering::SeqCst);
        loaded
    };
    let (beside, count) = tokio::join!(loaded, backups);
    for ((name, alone), (_, beside)) in alone.times.iter().zip(&beside.times) {
        println!("| {name} | {} | {} |", figures(alone), figures(beside));
    }
    println!(
        "\nCPU of the service: {:.0} % of one processor, then {:.0} % with {count} backups of {} records; peak RSS {:.0} MiB",
        alone.cpu * 100.0,
        beside.cpu * 100.0,
        options.records,
        service.process.peak_mib().unwrap(),
    );
}

/// The calls, in turn; `N` is the number of the request.
const CALLS: [(&str, &str); 10] = [
    ("a job", "/v1/jobs/JOB"),
    ("the state of a routine", "/v1/backups/currentBackup/ROUTINE"),
    ("jobs, the newest 100", "/v1/jobs"),
    ("jobs of a routine", "/v1/jobs?routine=ROUTINE&limit=50"),
    ("jobs that failed", "/v1/jobs?status=failed&limit=50"),
    ("jobs of a routine that failed", "/v1/jobs?routine=ROUTINE&status=failed&limit=50"),
    ("restore jobs", "/v1/restore/jobs"),
    ("backups of a routine", "/v1/backups/full/ROUTINE"),
    ("a routine", "/v1/config/routines/ROUTINE"),
    ("ready", "/ready"),
];

struct Load {
    /// By call, in ms; the last are all.
    times: Vec<(&'static str, Vec<f64>)>,
    /// The processors that the service took.
    cpu: f64,
}

/// Begins requests at a fixed rate, whatever those before are doing. Each one's time counts from when it was due, so that
/// waiting behind a slow one is part of it.
async fn load(options: &Options, service: &Service, first_job: i64) -> Load {
    const CONNECTIONS: u64 = 64;
    let total = options.rate * options.seconds;
    let (cpu_us, start) = (service.process.cpu_us(), Instant::now() + Duration::from_millis(100));
    let next = Arc::new(AtomicU64::new(0));
    let client = reqwest::Client::builder().pool_max_idle_per_host(CONNECTIONS as usize).build().unwrap();
    let workers = (0..CONNECTIONS).map(|_| {
        let (next, client, url) = (Arc::clone(&next), client.clone(), service.url.clone());
        let (rate, jobs) = (options.rate, options.jobs);
        async move {
            let mut times = Vec::new();
            loop {
                let n = next.fetch_add(1, Ordering::Relaxed);
                if n >= total {
                    return times;
                }
                let due = start + Duration::from_nanos(n * 1_000_000_000 / rate);
                tokio::time::sleep_until(due).await;
                let call = (n % CALLS.len() as u64) as usize;
                // Spread over all: a step that shares no factor with the counts.
                let spread = n.wrapping_mul(7919);
                let path = CALLS[call].1.replace("ROUTINE", &routine(spread));
                let path = path.replace("JOB", &(first_job + (spread % jobs) as i64).to_string());
                let answer = client.get(format!("{url}{path}")).send().await.unwrap();
                assert!(answer.status().is_success(), "{path}: {}", answer.status());
                answer.bytes().await.unwrap();
                times.push((call, due.elapsed().as_secs_f64() * 1000.0));
            }
        }
    });
    let mut times: Vec<(&str, Vec<f64>)> =
        CALLS.iter().map(|(name, _)| *name).chain(["**all**"]).map(|name| (name, Vec::new())).collect();
    for (call, ms) in futures_util::future::join_all(workers).await.into_iter().flatten() {
        times[call].1.push(ms);
        times[CALLS.len()].1.push(ms);
    }
    let cpu = (service.process.cpu_us() - cpu_us) as f64 / 1e6 / start.elapsed().as_secs_f64();
    Load { times, cpu }
}

fn figures(times: &[f64]) -> String {
    let mut times = times.to_vec();
    times.sort_by(f64::total_cmp);
    let at = |share: f64| times[((times.len() - 1) as f64 * share) as usize];
    format!("{:.1} | {:.1}", at(0.5), at(0.99))
}

/// Backups as ABS leaves them.
fn fill_storage(options: &Options) {
    for at in 0..options.backups {
        let created = FIRST_MS + (at / ROUTINES) as i64 * HOUR_MS;
        let folder = options.dir.join(format!("backups/{}/backup/{created}/data/source-ns1", routine(at)));
        std::fs::create_dir_all(&folder).unwrap();
        let time = |ms| chrono::DateTime::from_timestamp_millis(ms).unwrap().to_rfc3339();
        let metadata = format!(
            "created: {}\nfinished: {}\nfrom: 0001-01-01T00:00:00Z\nnamespace: source-ns1\nrecord-count: 1000\nbyte-count: 26\n\
             file-count: 1\nsecondary-index-count: 0\nudf-count: 0\ncompression: NONE\nencryption: NONE\n",
            time(created),
            time(created + 60_000)
        );
        std::fs::write(folder.join("source-ns1_1.asb"), "Version 3.1\n# namespace x\n").unwrap();
        std::fs::write(folder.join("metadata.yaml"), metadata).unwrap();
    }
}

/// Copies a job's row until there are enough, one of fifty as a failed one and one of a thousand as a restore; the number of
/// the first.
async fn fill_store(options: &Options, job: i64) -> i64 {
    let pool = open(options).await;
    let columns: Vec<String> =
        sqlx::query_scalar("SELECT name FROM pragma_table_info('jobs')").fetch_all(&pool).await.unwrap();
    let value = |column: &str| match column {
        "id" => "?3 + n.value".to_owned(),
        "routine" => format!("printf('routine-%03d', n.value % {ROUTINES})"),
        "kind" => "iif(n.value % 1000 = 0, 'restore', 'backup')".to_owned(),
        "type" => "iif(n.value % 1000 = 0, NULL, 'full')".to_owned(),
        "status" => "iif(n.value % 50 = 1, 'failed', 'succeeded')".to_owned(),
        "error_code" => "iif(n.value % 50 = 1, 'bench', NULL)".to_owned(),
        "created_ms" | "slot_id" => "NULL".to_owned(),
        other => format!("j.\"{other}\""),
    };
    let values: Vec<String> = columns.iter().map(|column| value(column)).collect();
    let names: Vec<String> = columns.iter().map(|column| format!("\"{column}\"")).collect();
    let copy = format!(
        "INSERT INTO jobs ({}) WITH RECURSIVE n(value) AS (SELECT 1 UNION ALL SELECT value + 1 FROM n WHERE value < ?2) \
         SELECT {} FROM n, jobs j WHERE j.id = ?1",
        names.join(", "),
        values.join(", ")
    );
    // Others came after it: its retention.
    let last: i64 = sqlx::query_scalar("SELECT max(id) FROM jobs").fetch_one(&pool).await.unwrap();
    let copied = sqlx::query(sqlx::AssertSqlSafe(copy)).bind(job).bind(options.jobs as i64).bind(last);
    assert_eq!(copied.execute(&pool).await.unwrap().rows_affected(), options.jobs);
    pool.close().await;
    last + 1
}

async fn open(options: &Options) -> SqlitePool {
    let connect = SqliteConnectOptions::new().filename(options.dir.join("state/holdfast.db"));
    SqlitePoolOptions::new().max_connections(1).connect_with(connect).await.unwrap()
}

async fn fill_node(port: u16, records: i64) {
    wait_for(&format!("127.0.0.1:{port}")).await;
    let seeds = vec![Seed { host: "127.0.0.1".to_owned(), port }];
    let options = ClusterOptions { seeds, connect_timeout_ms: 5000, label: "bench".to_owned() };
    let cluster = Cluster::connect(&options).await.unwrap();
    for chunk in (0..records).collect::<Vec<_>>().chunks(10_000) {
        let chunk: Vec<_> = chunk.iter().map(|key| mixed("customers", *key, 1)).collect();
        sample::write(&cluster, "source-ns1", &chunk).await.unwrap();
    }
}
