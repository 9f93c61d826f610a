//! A service with one of everything that the examples of the document name, and a client that sends just what it is told.

use std::fmt::{self, Write as _};
use std::time::Duration;

use holdfast::aerospike::{Cluster, ClusterOptions, Seed};
use holdfast::sample;
use holdfast::sandbox::{Sandbox, SandboxOptions};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_util::sync::CancellationToken;

use super::Operation;
use crate::helpers::Running;

/// An answer takes milliseconds; only one that hangs takes this long.
const PATIENCE: Duration = Duration::from_mins(1);

pub struct World {
    service: Running,
    level: &'static str,
    _sandbox: Sandbox,
    /// A full and an incremental backup of `daily`, in ms.
    runs: [i64; 2],
    /// The folder of the full.
    key: String,
    /// A restore that has ended, and a job that can be tried again.
    restore: i64,
    canceled: i64,
}

/// One request.
#[derive(Clone)]
pub struct Call {
    pub method: String,
    pub target: String,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
    /// It has what the operation needs and nothing else: it must succeed.
    pub is_least: bool,
    /// It has what the operation cannot take.
    pub must_fail: bool,
}

impl Call {
    pub fn new(method: &str, target: &str) -> Self {
        let (method, target) = (method.to_owned(), target.to_owned());
        Self { method, target, headers: Vec::new(), body: Vec::new(), is_least: false, must_fail: false }
    }
}

impl fmt::Display for Call {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} {:.300} {:?} {:.300?}",
            self.method,
            self.target,
            self.headers,
            String::from_utf8_lossy(&self.body)
        )
    }
}

/// An answer, read whole.
pub struct Answer {
    pub status: u16,
    pub content_type: String,
    pub allow: String,
    pub body: Vec<u8>,
}

impl Answer {
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

impl World {
    /// At a level of `service.compatibility`.
    pub async fn start(level: &'static str) -> Self {
        let options = SandboxOptions {
            namespaces: vec!["source-ns1".to_owned(), "target-ns1".to_owned()],
            ..SandboxOptions::default()
        };
        let sandbox = Sandbox::start(options, &CancellationToken::new()).await.unwrap();
        let port = sandbox.address().port();
        let service = Running::start(|dir| configuration(dir, port, level)).await;
        let seeds = vec![Seed { host: "127.0.0.1".to_owned(), port }];
        let options = ClusterOptions { seeds, connect_timeout_ms: 20_000, label: "test".to_owned() };
        let cluster = Cluster::connect(&options).await.unwrap();
        let mut runs = [0; 2];
        for (run, backup_type) in runs.iter_mut().zip(["full", "incremental"]) {
            let records: Vec<_> = (0..20).map(|key| sample::mixed("set", key, 1)).collect();
            sample::write(&cluster, "source-ns1", &records).await.unwrap();
            let id = service.trigger(&format!("/v1/backups/{backup_type}/daily")).await;
            let job = service.job_in(id, &["succeeded", "failed", "skipped"]).await;
            assert_eq!(job["status"], "succeeded", "{job:#}");
            let list = service.get(&format!("/v1/backups/{backup_type}/daily")).await.json();
            *run = list[0]["timestamp"].as_i64().unwrap();
        }
        let key = service.get("/v1/backups/full/daily").await.json()[0]["key"].as_str().unwrap().to_owned();
        let canceled = service.trigger("/v1/backups/verify/daily").await;
        service.job_in(canceled, &["succeeded"]).await;
        let canceled = service.trigger("/v1/backups/full/daily?delay=3600000").await;
        service.post(&format!("/v1/jobs/{canceled}/cancel"), "").await;
        service.job_in(canceled, &["canceled"]).await;
        let body = json!({"routine": "daily", "time": runs[1] + 60_000, "policy": {
            "namespace": {"source": "source-ns1", "destination": "target-ns1"}}});
        let restore: i64 =
            service.post("/v1/restore/timestamp", &body.to_string()).await.body.parse().unwrap();
        let ended = service.job_in(restore, &["succeeded", "failed"]).await;
        assert_eq!(ended["status"], "succeeded", "{ended:#}");
        Self { service, level, _sandbox: sandbox, runs, key, restore, canceled }
    }

    /// Where it listens.
    pub fn url(&self) -> String {
        format!("http://{}", self.service.service.http_address())
    }

    /// Until nothing waits and nothing runs.
    pub async fn wait_for_jobs(&self) {
        let jobs = self.service.get("/v1/jobs?status=queued,running").await.json();
        for job in jobs["jobs"].as_array().unwrap() {
            let id = job["id"].as_i64().unwrap();
            self.service.job_in(id, &["succeeded", "failed", "skipped", "canceled", "interrupted"]).await;
        }
    }

    /// A path of the document with what there is.
    pub fn path(&self, path: &str) -> String {
        let [full, incremental] = self.runs;
        let run = if path.contains("/incremental/") { incremental } else { full };
        let job = if path.ends_with("/retry") { self.canceled } else { self.restore };
        let name = match path.strip_prefix("/v1/config/").and_then(|rest| rest.split('/').next()) {
            Some("clusters") => "prod",
            Some("policies") => "keep-ten",
            Some("storage") => "disk",
            Some("secret-agents") => "vault",
            _ => "daily",
        };
        path.replace("{name}", name)
            .replace("{routine}", name)
            .replace("{timestamp}", &run.to_string())
            .replace("{id}", &job.to_string())
            .replace("{file}", "doc.json")
    }

    /// Just what an operation needs.
    pub fn good(&self, operation: &Operation) -> Call {
        let mut call = Call::new(operation.method.as_str(), &self.path(&operation.path));
        // What is added is not there yet, and goes again.
        if [3, 5].contains(&operation.rank()) {
            let (kind, _) = operation.path.rsplit_once('/').unwrap();
            call.target = format!("{kind}/another");
        }
        call.body =
            self.example(operation).map(|example| example.to_string().into_bytes()).unwrap_or_default();
        call.is_least = true;
        call
    }

    /// The same with every parameter as in the example.
    pub fn full(&self, operation: &Operation) -> Call {
        let mut call = self.good(operation);
        call.is_least = false;
        let mut query = Vec::new();
        for parameter in operation.entry["parameters"].as_array().into_iter().flatten() {
            let text = match &parameter["example"] {
                Value::String(text) => text.clone(),
                other => other.to_string(),
            };
            let name = parameter["name"].as_str().unwrap();
            match parameter["in"].as_str().unwrap() {
                "query" => query.push(format!("{name}={}", encoded(&text))),
                "header" => call.headers.push((name.to_owned(), text)),
                _ => {}
            }
        }
        if !query.is_empty() {
            call.target = format!("{}?{}", call.target, query.join("&"));
        }
        call
    }

    /// The example of the body, with what there is.
    pub fn example(&self, operation: &Operation) -> Option<Value> {
        let mut example = operation.entry["requestBody"]["content"]["application/json"]["example"].clone();
        if example.is_null() {
            return None;
        }
        if let Some(time) = example.get_mut("time") {
            *time = json!(self.runs[1] + 60_000);
        }
        if let Some(key) = example.get_mut("backup-data-path") {
            *key = json!(self.key);
        }
        for pointer in ["/local-storage/path", "/storage/disk/local-storage/path"] {
            if let Some(path) = example.pointer_mut(pointer) {
                *path = json!(self.service.dir.path().join("backups"));
            }
        }
        if operation.path == "/v1/config" {
            // It must say what the file does.
            example["service"] = json!({"compatibility": self.level});
        }
        Some(example)
    }

    /// Sends a call as it is, on a connection of its own.
    pub async fn send(&self, call: &Call) -> Answer {
        tokio::time::timeout(PATIENCE, self.exchange(call))
            .await
            .unwrap_or_else(|_| panic!("{call}: no answer"))
    }

    async fn exchange(&self, call: &Call) -> Answer {
        let mut stream = TcpStream::connect(self.service.service.http_address()).await.unwrap();
        let mut head =
            format!("{} {} HTTP/1.1\r\nHost: test\r\nConnection: close\r\n", call.method, call.target);
        for (name, value) in &call.headers {
            write!(head, "{name}: {value}\r\n").unwrap();
        }
        write!(head, "Content-Length: {}\r\n\r\n", call.body.len()).unwrap();
        // A body over the bound is refused by its length: what is sent after the answer could only lose it.
        let body = if call.body.len() > 8 << 20 { &[] } else { call.body.as_slice() };
        let _ = stream.write_all(&[head.as_bytes(), body].concat()).await;
        let mut bytes = Vec::new();
        let _ = stream.read_to_end(&mut bytes).await;
        let end = bytes.windows(4).position(|four| four == b"\r\n\r\n");
        let end = end.unwrap_or_else(|| panic!("{call}: {:?}", String::from_utf8_lossy(&bytes)));
        let head = String::from_utf8_lossy(&bytes[..end]).into_owned();
        let header = |name: &str| {
            let mut lines = head.lines().filter_map(|line| line.split_once(": "));
            lines
                .find(|(key, _)| key.eq_ignore_ascii_case(name))
                .map(|(_, value)| value.to_owned())
                .unwrap_or_default()
        };
        Answer {
            status: head.split(' ').nth(1).unwrap().parse().unwrap(),
            content_type: header("content-type"),
            allow: header("allow"),
            body: bytes[end + 4..].to_vec(),
        }
    }
}

/// What a query or a path may hold of a text.
pub fn encoded(text: &str) -> String {
    let mut encoded = String::new();
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            write!(encoded, "%{byte:02X}").unwrap();
        }
    }
    encoded
}

fn configuration(dir: &tempfile::TempDir, port: u16, level: &str) -> String {
    format!(
        r#"
service: {{compatibility: "{level}"}}
aerospike-clusters:
  prod:
    conn-timeout: 20000
    seed-nodes: [{{host-name: 127.0.0.1, port: {port}}}]
secret-agents:
  vault: {{connection-type: tcp, address: 127.0.0.1, port: 1}}
storage:
  disk:
    local-storage: {{path: {}}}
  offsite:
    local-storage: {{path: {}}}
backup-policies:
  keep-ten:
    with-cluster-configuration: true
    clock-skew-margin: 1
    retry-policy: {{base-timeout: 1, multiplier: 1, max-retries: 0}}
    retention: {{full: 10, incremental: 2}}
backup-routines:
  daily:
    source-cluster: prod
    storage: disk
    backup-policy: keep-ten
    namespaces: [source-ns1]
    interval-cron: "0 0 0 1 1 ?"
    incr-interval-cron: "0 0 12 1 1 ?"
"#,
        dir.path().join("backups").display(),
        dir.path().join("offsite").display()
    )
}
