//! A running service, and requests to it.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use holdfast::app::{ConfigPlace, WatchTimes};
use holdfast::catalog::OwnerTimes;
use holdfast::clock::{SharedClock, SystemClock};
use holdfast::service::{Service, ServiceOptions};
use reqwest::{Method, StatusCode};
use serde_json::Value;
use tempfile::TempDir;

/// How long a test waits for what must happen; only a test that fails waits that long.
const PATIENCE: Duration = Duration::from_mins(1);

/// A service with a state directory of its own.
pub struct Running {
    pub service: Service,
    pub dir: TempDir,
    client: reqwest::Client,
}

/// An answer, read whole.
#[derive(Debug)]
pub struct Answer {
    pub status: StatusCode,
    pub headers: reqwest::header::HeaderMap,
    pub body: String,
}

impl Answer {
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {:?}", self.body))
    }

    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }
}

/// A routine `daily` on a cluster where nobody listens, and a routine `resting` that is disabled.
pub fn one_routine(dir: &TempDir) -> String {
    format!(
        r#"
aerospike-clusters:
  nowhere:
    conn-timeout: 500
    seed-nodes: [{{host-name: 127.0.0.1, port: 1}}]
storage:
  disk:
    local-storage: {{path: {}}}
backup-policies:
  once:
    retry-policy: {{base-timeout: 1, multiplier: 1, max-retries: 0}}
backup-routines:
  daily:
    source-cluster: nowhere
    storage: disk
    backup-policy: once
    namespaces: [test]
    interval-cron: "0 0 0 1 1 ?"
    incr-interval-cron: "0 0 12 1 1 ?"
  resting:
    source-cluster: nowhere
    storage: disk
    backup-policy: once
    namespaces: [test]
    interval-cron: "@daily"
    disabled: true
"#,
        dir.path().join("backups").display()
    )
}

impl Running {
    /// Starts with the configuration that `yaml` makes of a new directory.
    pub async fn start(yaml: impl Fn(&TempDir) -> String) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let text = yaml(&dir);
        Self::start_in(dir, &text).await
    }

    /// Starts without any configuration.
    pub async fn unconfigured() -> Self {
        Self::start(|_| String::new()).await
    }

    /// Starts on what an earlier service left in `dir`.
    pub async fn start_in(dir: TempDir, yaml: &str) -> Self {
        Self::start_with(dir, yaml, OwnerTimes::default()).await
    }

    /// As [`Running::start_in`], with other times of owners.
    pub async fn start_with(dir: TempDir, yaml: &str, owner_times: OwnerTimes) -> Self {
        let path = dir.path().join("holdfast.yaml");
        std::fs::write(&path, yaml).unwrap();
        let options = ServiceOptions {
            http_port: Some(0),
            state_dir: Some(dir.path().join("state")),
            owner_times,
            ..ServiceOptions::from_file(&path, Arc::new(SystemClock)).unwrap()
        };
        let service = Service::start(options).await.unwrap();
        Self { service, dir, client: reqwest::Client::new() }
    }

    /// Starts with the configuration that `--config` and perhaps `--remote` find, looked at often.
    pub async fn start_at(dir: TempDir, config: &Path, remote: bool) -> Self {
        let clock: SharedClock = Arc::new(SystemClock);
        let place = ConfigPlace::find(config, remote, clock.now()).await.unwrap();
        let often = Duration::from_millis(50);
        let options = ServiceOptions {
            http_port: Some(0),
            state_dir: Some(dir.path().join("state")),
            watch_times: WatchTimes { near: often, far: often },
            ..ServiceOptions::from_place(place, clock).await.unwrap()
        };
        let service = Service::start(options).await.unwrap();
        Self { service, dir, client: reqwest::Client::new() }
    }

    /// Waits until a path says what it must.
    pub async fn until(&self, path: &str, says: &str) {
        let waited = tokio::time::timeout(PATIENCE, async {
            while !self.get(path).await.body.contains(says) {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        });
        assert!(waited.await.is_ok(), "{path} does not say {says:?}: {}", self.get(path).await.body);
    }

    /// Stops the service and starts another on the same directory.
    pub async fn restart(self) -> Self {
        let yaml = std::fs::read_to_string(self.config_path()).unwrap();
        self.service.stop().await.unwrap();
        Self::start_in(self.dir, &yaml).await
    }

    pub fn config_path(&self) -> PathBuf {
        self.dir.path().join("holdfast.yaml")
    }

    pub async fn send(
        &self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: impl Into<reqwest::Body>,
    ) -> Answer {
        let url = format!("http://{}{path}", self.service.http_address());
        let mut request = self.client.request(method, url).body(body);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let answer = request.send().await.unwrap();
        Answer {
            status: answer.status(),
            headers: answer.headers().clone(),
            body: answer.text().await.unwrap(),
        }
    }

    pub async fn get(&self, path: &str) -> Answer {
        self.send(Method::GET, path, &[], "").await
    }

    pub async fn post(&self, path: &str, body: &str) -> Answer {
        self.send(Method::POST, path, &[], body.to_owned()).await
    }

    /// Triggers and gives the id in `Location`.
    pub async fn trigger(&self, path: &str) -> i64 {
        let answer = self.post(path, "").await;
        assert_eq!((answer.status, answer.body.as_str()), (StatusCode::ACCEPTED, ""), "{path}");
        answer.header("location").strip_prefix("/v1/jobs/").unwrap().parse().unwrap()
    }

    /// A job as `GET /v1/jobs/{id}` shows it.
    pub async fn job(&self, id: i64) -> Value {
        self.get(&format!("/v1/jobs/{id}")).await.json()
    }

    /// A job as somebody with this token sees it.
    pub async fn job_as(&self, id: i64, token: &str) -> Value {
        let bearer = format!("Bearer {token}");
        let headers = [("authorization", bearer.as_str())];
        self.send(Method::GET, &format!("/v1/jobs/{id}"), &headers, "").await.json()
    }

    /// Waits until a job has one of these statuses.
    pub async fn job_in(&self, id: i64, statuses: &[&str]) -> Value {
        let waited = tokio::time::timeout(PATIENCE, async {
            loop {
                let job = self.job(id).await;
                if statuses.contains(&job["status"].as_str().unwrap()) {
                    return job;
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        });
        if let Ok(job) = waited.await {
            return job;
        }
        panic!("job {id} is still {}", self.job(id).await)
    }

    /// Checks status and exact body.
    pub async fn expect(&self, method: Method, path: &str, body: &str, status: u16, answer: &str) {
        let got = self.send(method.clone(), path, &[], body.to_owned()).await;
        assert_eq!((got.status.as_u16(), got.body.as_str()), (status, answer), "{method} {path} {body}");
    }
}
