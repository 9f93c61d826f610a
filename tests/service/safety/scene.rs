//! A service, a cluster in memory, and what is asked of them.

use std::path::{Path, PathBuf};

use holdfast::aerospike::{Cluster, ClusterOptions, Seed};
use holdfast::engine::aerospike::snapshot::Snapshot;
use holdfast::sample::{self, SampleRecord, mixed};
use holdfast::sandbox::{Sandbox, SandboxOptions};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use crate::helpers::{Answer, Running};

pub const ENDED: [&str; 6] = ["succeeded", "failed", "canceled", "skipped", "missed", "interrupted"];

/// A routine `daily` of the namespace `source`; restores go to `target` of the same cluster.
pub struct Scene {
    pub service: Running,
    pub sandbox: Sandbox,
    pub cluster: Cluster,
}

pub fn records(set: &str, keys: std::ops::Range<i64>, version: i64) -> Vec<SampleRecord> {
    keys.map(|key| mixed(set, key, version)).collect()
}

impl Scene {
    /// With these fields in the section `service`.
    pub async fn with(service: &str) -> Self {
        let namespaces = vec!["source".to_owned(), "target".to_owned()];
        let options = SandboxOptions { namespaces, ..SandboxOptions::default() };
        let sandbox = Sandbox::start(options, &CancellationToken::new()).await.unwrap();
        let port = sandbox.address().port();
        let seeds = vec![Seed { host: "127.0.0.1".to_owned(), port }];
        let options = ClusterOptions { seeds, connect_timeout_ms: 20_000, label: "test".to_owned() };
        let cluster = Cluster::connect(&options).await.unwrap();
        let yaml = |dir: &tempfile::TempDir| {
            let at = |name: &str| dir.path().join(name).display().to_string();
            format!(
                r#"
service: {{shutdown-grace: 0, {service}}}
aerospike-clusters:
  near:
    seed-nodes: [{{host-name: 127.0.0.1, port: {port}}}]
storage:
  disk: {{local-storage: {{path: {}}}}}
  spare: {{local-storage: {{path: {}}}}}
backup-policies:
  quick: {{clock-skew-margin: 0, parallel: 2}}
backup-routines:
  daily:
    source-cluster: near
    storage: disk
    backup-policy: quick
    namespaces: [source]
    interval-cron: "0 0 0 29 2 ?"
"#,
                at("backups"),
                at("spare")
            )
        };
        Self { service: Running::start(yaml).await, sandbox, cluster }
    }

    pub async fn write(&self, namespace: &str, records: &[SampleRecord]) {
        sample::write(&self.cluster, namespace, records).await.unwrap();
    }

    pub async fn seen(&self, namespace: &str) -> Snapshot {
        Snapshot::take(&self.cluster, namespace, &CancellationToken::new()).await.unwrap()
    }

    /// Backs up `source`: an instant at which that is done.
    pub async fn back_up(&self, backup_type: &str) -> i64 {
        let id = self.service.trigger(&format!("/v1/backups/{backup_type}/daily")).await;
        let job = self.service.job_in(id, &ENDED).await;
        assert_eq!(job["status"], "succeeded", "{job:#}");
        let finished = chrono::DateTime::parse_from_rfc3339(job["finished"].as_str().unwrap()).unwrap();
        finished.timestamp_millis() + 1
    }

    /// 100 records of version 1 in `source`, and a backup of them.
    pub async fn saved(&self) -> i64 {
        self.write("source", &records("a", 0..100, 1)).await;
        self.back_up("full").await
    }

    pub async fn ask(&self, path: &str, body: &Value) -> Answer {
        self.service.post(path, &body.to_string()).await
    }

    /// Asks for a restore: the id of its job.
    pub async fn start(&self, path: &str, body: &Value) -> i64 {
        let answer = self.ask(path, body).await;
        assert_eq!(answer.status.as_u16(), 202, "{answer:?}");
        answer.body.parse().unwrap()
    }

    pub async fn restore(&self, path: &str, body: &Value) -> Value {
        self.service.job_in(self.start(path, body).await, &ENDED).await
    }

    pub async fn plan(&self, path: &str, body: &Value) -> Value {
        let answer = self.ask(path, &with(body, &json!({"dry-run": true}))).await;
        assert_eq!(answer.status.as_u16(), 200, "{answer:?}");
        answer.json()
    }

    pub async fn jobs(&self) -> usize {
        self.service.get("/v1/jobs").await.json()["jobs"].as_array().unwrap().len()
    }

    pub fn spare(&self) -> PathBuf {
        self.service.dir.path().join("spare")
    }
}

/// A result code that nobody tries again.
pub const PARAMETER_ERROR: u8 = 4;

pub const BY_TIME: &str = "/v1/restore/timestamp";
pub const BY_PATH: &str = "/v1/restore/full";

/// Into `target`, over whatever is there.
pub fn over(at: i64) -> Value {
    let policy = json!({"namespace": {"source": "source", "destination": "target"}, "replace": true,
        "no-generation": true, "retry-policy": {"base-timeout": 1, "multiplier": 1, "max-retries": 0}});
    json!({"routine": "daily", "time": at, "policy": policy})
}

pub fn with(body: &Value, more: &Value) -> Value {
    let mut body = body.clone();
    body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    body
}

pub fn safely(at: i64) -> Value {
    with(&over(at), &json!({"safety-backup": {"storage": "spare"}}))
}

/// The files of backups below a folder.
pub fn files(root: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let Ok(entries) = std::fs::read_dir(root) else { return found };
    for path in entries.map(|entry| entry.unwrap().path()) {
        if path.is_dir() {
            found.extend(files(&path));
        } else if !path.file_name().unwrap().to_str().unwrap().starts_with("holdfast-")
            && !path.display().to_string().contains("holdfast-instances")
        {
            found.push(path);
        }
    }
    found
}
