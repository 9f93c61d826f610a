//! A service that backs up and restores the node under test, and requests to it.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use holdfast::clock::{Clock, SystemClock};
use holdfast::config::Config;
use holdfast::sample::SampleRecord;
use holdfast::service::{Service, ServiceOptions};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::node::{Node, SOURCE, TARGET};

/// How long a test waits for what must happen: it finds a hang, and is no measure of speed.
pub const PATIENCE: Duration = Duration::from_mins(1);

/// The routine that every configuration here has.
pub const ROUTINE: &str = "daily";

/// A service with one routine, [`ROUTINE`], of the source namespace, on a node of its own.
pub struct Bench {
    pub node: Node,
    pub dir: TempDir,
    pub config: Value,
    service: Option<Service>,
    client: reqwest::Client,
}

impl Bench {
    pub async fn start() -> Self {
        Self::with(|_| {}).await
    }

    /// With a configuration that `change` has changed.
    pub async fn with(change: impl FnOnce(&mut Value)) -> Self {
        Self::on(Node::start().await, change).await
    }

    pub async fn on(node: Node, change: impl FnOnce(&mut Value)) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let mut config = json!({
            "service": {"http": {"port": 0}, "shutdown-grace": 0},
            "aerospike-clusters": {
                "node": {"seed-nodes": [{"host-name": node.host, "port": node.port}], "conn-timeout": 5000}
            },
            "storage": {"disk": {"local-storage": {"path": dir.path().join("backups")}}},
            "backup-policies": {"quick": {
                "parallel": 4,
                "parallel-write": 2,
                "clock-skew-margin": 200,
                "retry-policy": {"base-timeout": 1, "multiplier": 1, "max-retries": 1},
            }},
            "backup-routines": {ROUTINE: {
                "source-cluster": "node",
                "storage": "disk",
                "backup-policy": "quick",
                "namespaces": [SOURCE],
                // Triggers only: nothing fires by itself while a test runs.
                "interval-cron": "0 0 0 29 2 ?",
            }},
        });
        change(&mut config);
        let mut bench = Self { node, dir, config, service: None, client: reqwest::Client::new() };
        bench.start_service().await;
        bench
    }

    /// Starts a service on what is in the directory.
    pub async fn start_service(&mut self) {
        self.service = Some(self.service_in("state").await);
    }

    /// Starts another service with the same configuration and a state directory of its own, and talks to that one from
    /// now on; the one before, which goes on.
    pub async fn start_copy(&mut self, state: &str) -> Service {
        let copy = self.service_in(state).await;
        self.talk_to(copy)
    }

    /// Talks to another service; the one before, which goes on.
    pub fn talk_to(&mut self, other: Service) -> Service {
        self.service.replace(other).unwrap()
    }

    async fn service_in(&self, state: &str) -> Service {
        let clock = Arc::new(SystemClock);
        let config = Config::parse(&self.config.to_string(), "test", clock.now());
        let config = config.unwrap_or_else(|problems| panic!("{problems}"));
        let options = ServiceOptions {
            state_dir: Some(self.dir.path().join(state)),
            ..ServiceOptions::new(config, clock)
        };
        Service::start(options).await.unwrap()
    }

    /// Stops the service in order.
    pub async fn stop_service(&mut self) {
        self.service.take().unwrap().stop().await.unwrap();
    }

    /// Where a key of the storage lies.
    pub fn path(&self, key: &str) -> PathBuf {
        self.dir.path().join("backups").join(key)
    }

    /// The files below a key, by their paths below it, sorted; without those that say whose the storage is.
    pub fn files(&self, key: &str) -> Vec<String> {
        let root = self.path(key);
        let mut found = Vec::new();
        walk(&root, &mut |path| found.push(path.strip_prefix(&root).unwrap().display().to_string()));
        found.retain(|path| {
            // Also what a killed process had begun to write under a temporary name.
            !["holdfast-instances/", "holdfast-owner.json", "holdfast-root"]
                .iter()
                .any(|own| path.contains(own))
        });
        found.sort();
        found
    }

    /// The `.asb` files with records below a key.
    pub fn data_files(&self, key: &str) -> Vec<PathBuf> {
        let names = self.files(key).into_iter();
        let names = names.filter(|name| is_asb(name) && !name.contains("metadata_"));
        names.map(|name| self.path(key).join(name)).collect()
    }

    pub async fn write(&self, records: &[SampleRecord]) {
        self.node.write(SOURCE, records).await;
    }

    pub async fn get(&self, path: &str) -> Value {
        let answer = self.client.get(self.url(path)).send().await.unwrap();
        let (status, body) = (answer.status(), answer.text().await.unwrap());
        assert!(status.is_success(), "GET {path}: {status} {body}");
        serde_json::from_str(&body).unwrap()
    }

    /// Status and text of what may be refused.
    pub async fn answer(&self, path: &str) -> (u16, String) {
        let answer = self.client.get(self.url(path)).send().await.unwrap();
        (answer.status().as_u16(), answer.text().await.unwrap())
    }

    /// Posts and gives status and text.
    pub async fn post(&self, path: &str, body: &Value) -> (u16, String) {
        let answer = self.client.post(self.url(path)).json(body).send().await.unwrap();
        (answer.status().as_u16(), answer.text().await.unwrap())
    }

    fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.service.as_ref().unwrap().http_address())
    }

    /// A body that is no JSON.
    pub async fn text(&self, path: &str) -> String {
        self.client.get(self.url(path)).send().await.unwrap().text().await.unwrap()
    }

    /// Triggers a backup, or a verification (`verify`): the id of its job.
    pub async fn trigger(&self, backup_type: &str, routine: &str) -> i64 {
        self.trigger_path(&format!("/v1/backups/{backup_type}/{routine}")).await
    }

    /// Posts to a trigger: the id of its job.
    pub async fn trigger_path(&self, path: &str) -> i64 {
        let answer = self.client.post(self.url(path)).send().await.unwrap();
        assert_eq!(answer.status(), 202, "{path}");
        let location = answer.headers()["location"].to_str().unwrap();
        location.strip_prefix("/v1/jobs/").unwrap().parse().unwrap()
    }

    pub async fn job(&self, id: i64) -> Value {
        self.get(&format!("/v1/jobs/{id}")).await
    }

    /// The job once it has ended.
    pub async fn wait_job(&self, id: i64) -> Value {
        let ended = ["succeeded", "failed", "canceled", "skipped", "missed", "interrupted"];
        self.wait_until(id, |job| ended.contains(&job["status"].as_str().unwrap())).await
    }

    /// The job once `is_so`.
    pub async fn wait_until(&self, id: i64, is_so: impl Fn(&Value) -> bool) -> Value {
        let waited = tokio::time::timeout(PATIENCE, async {
            loop {
                let job = self.job(id).await;
                if is_so(&job) {
                    return job;
                }
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        });
        if let Ok(job) = waited.await {
            return job;
        }
        panic!("job {id} is still {:#}", self.job(id).await)
    }

    /// Runs a backup of a routine to its end, whatever that is.
    pub async fn run(&self, backup_type: &str, routine: &str) -> Value {
        self.wait_job(self.trigger(backup_type, routine).await).await
    }

    /// Runs a backup of [`ROUTINE`] that must succeed.
    pub async fn back_up(&self, backup_type: &str) -> Value {
        let job = self.run(backup_type, ROUTINE).await;
        assert_eq!(job["status"], "succeeded", "{job:#}");
        job
    }

    /// The list of backups of a type.
    pub async fn list(&self, backup_type: &str, routine: &str) -> Vec<Value> {
        let list = self.get(&format!("/v1/backups/{backup_type}/{routine}")).await;
        list.as_array().unwrap().clone()
    }

    /// The key of the newest backup of a type of [`ROUTINE`].
    pub async fn newest_key(&self, backup_type: &str) -> String {
        self.list(backup_type, ROUTINE).await.last().unwrap()["key"].as_str().unwrap().to_owned()
    }

    /// Asks for a restore of [`ROUTINE`] into the target namespace at an instant; `more` is laid over the request.
    pub async fn trigger_restore_to(&self, at: i64, more: &Value) -> i64 {
        let mut request = json!({
            "routine": ROUTINE,
            "time": at,
            "policy": {"namespace": {"source": SOURCE, "destination": TARGET}, "retry-policy": quick_retries()},
        });
        lay_over(&mut request, more);
        self.trigger_restore("timestamp", &request).await
    }

    /// Asks for a restore of a path of the disk into the target namespace; `more` is laid over the request.
    pub async fn trigger_restore_of(&self, path: &str, more: &Value) -> i64 {
        let mut request = json!({
            "backup-data-path": path,
            "source-name": "disk",
            "destination-name": "node",
            "policy": {"namespace": {"source": SOURCE, "destination": TARGET}, "retry-policy": quick_retries()},
        });
        lay_over(&mut request, more);
        self.trigger_restore("full", &request).await
    }

    pub async fn trigger_restore(&self, kind: &str, request: &Value) -> i64 {
        let (status, body) = self.post(&format!("/v1/restore/{kind}"), request).await;
        assert_eq!(status, 202, "{body}");
        body.parse().unwrap()
    }

    /// Restores to an instant, to the job's end.
    pub async fn restore_to(&self, at: i64, more: Value) -> Restored {
        let id = self.trigger_restore_to(at, &more).await;
        self.restored(id).await
    }

    /// Restores a path, to the job's end.
    pub async fn restore_of(&self, path: &str, more: Value) -> Restored {
        let id = self.trigger_restore_of(path, &more).await;
        self.restored(id).await
    }

    /// The end of a restore: every record that was read is in exactly one counter if it succeeded (rules.md 4.6).
    pub async fn restored(&self, id: i64) -> Restored {
        let job = self.wait_job(id).await;
        let status = self.get(&format!("/v1/restore/status/{id}")).await;
        let restored = Restored { job, status };
        if restored.job["status"] == "succeeded" {
            let ends = ["inserted", "existed", "fresher", "expired", "skipped", "ignored"];
            let sum: u64 = ends.iter().map(|end| restored.records(end)).sum();
            assert_eq!(restored.records("read"), sum, "{:#}", restored.status);
        }
        restored
    }

    /// The differences of the target namespace to what is expected there; void times within a second (rules.md 4.7).
    pub async fn differences(
        &self,
        expected: &holdfast::engine::aerospike::snapshot::Snapshot,
    ) -> Vec<String> {
        expected.differences(&self.node.snapshot(TARGET).await, 1)
    }
}

/// How a restore ended.
pub struct Restored {
    /// As `GET /v1/jobs/{id}` shows it.
    pub job: Value,
    /// As `GET /v1/restore/status/{id}` shows it.
    pub status: Value,
}

impl std::fmt::Debug for Restored {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "job {:#}\nstatus {:#}", self.job, self.status)
    }
}

impl Restored {
    /// A counter of records, such as `inserted`.
    pub fn records(&self, end: &str) -> u64 {
        self.status[format!("{end}-records")].as_u64().unwrap()
    }

    /// Succeeded, or the test fails.
    #[track_caller]
    pub fn ok(self) -> Self {
        assert_eq!(
            (&self.job["status"], &self.status["status"]),
            (&json!("succeeded"), &json!("Done")),
            "{self:#?}"
        );
        self
    }

    /// Failed, with this code; the text of the error.
    #[track_caller]
    pub fn refused(&self, code: &str) -> String {
        let ended = (&self.job["status"], &self.status["status"], &self.job["error"]["code"]);
        assert_eq!(ended, (&json!("failed"), &json!("Failed"), &json!(code)), "{self:#?}");
        self.job["error"]["message"].as_str().unwrap().to_owned()
    }

    pub fn warnings(&self) -> String {
        warnings(&self.job)
    }
}

/// Whether a file's name is that of a data file.
pub fn is_asb(name: &str) -> bool {
    Path::new(name).extension().is_some_and(|extension| extension == "asb")
}

/// The warnings of a job, one to a line: code and text.
pub fn warnings(job: &Value) -> String {
    let all = job["warnings"].as_array().unwrap().iter();
    all.map(|warning| format!("{} {}", warning["code"], warning["text"])).collect::<Vec<_>>().join("\n")
}

/// How each namespace of a backup ended, from the job's result.
pub fn ends(job: &Value) -> Vec<(&str, &str)> {
    let namespaces = job["result"]["namespaces"].as_array().unwrap().iter();
    namespaces.map(|one| (one["namespace"].as_str().unwrap(), one["end"].as_str().unwrap())).collect()
}

/// An instant at which all that a job did is done, in unix milliseconds.
pub fn point(job: &Value) -> i64 {
    millis(job, "finished") + 1
}

/// An RFC 3339 field as unix milliseconds.
pub fn millis(value: &Value, field: &str) -> i64 {
    let text = value[field].as_str().unwrap_or_else(|| panic!("no {field} in {value:#}"));
    chrono::DateTime::parse_from_rfc3339(text).unwrap().timestamp_millis()
}

fn quick_retries() -> Value {
    json!({"base-timeout": 10, "multiplier": 1, "max-retries": 1})
}

fn lay_over(value: &mut Value, more: &Value) {
    match (value, more) {
        (Value::Object(value), Value::Object(more)) => {
            for (key, more) in more {
                lay_over(value.entry(key).or_insert(Value::Null), more);
            }
        }
        (value, more) => value.clone_from(more),
    }
}

fn walk(dir: &Path, visit: &mut impl FnMut(&Path)) {
    let Ok(entries) = std::fs::read_dir(dir) else { return };
    for entry in entries {
        let path = entry.unwrap().path();
        if path.is_dir() { walk(&path, visit) } else { visit(&path) }
    }
}

/// Copies a folder with what is in it.
pub fn copy_folder(from: &Path, to: &Path) {
    walk(from, &mut |path| {
        let target = to.join(path.strip_prefix(from).unwrap());
        std::fs::create_dir_all(target.parent().unwrap()).unwrap();
        std::fs::copy(path, target).unwrap();
    });
}
