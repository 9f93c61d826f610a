//! The program itself, as a process that may end at any moment, and requests to it.

use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::place::{Place, ROUTINE};

/// How long a test waits for what must happen: it finds a hang, and is no measure of speed.
pub const PATIENCE: Duration = Duration::from_mins(1);

/// What the process does wrong: see `src/fault.rs`.
#[derive(Debug, Clone, Default)]
pub struct Fault {
    pub action: &'static str,
    pub nth: u64,
    pub after: bool,
    pub always: bool,
    pub seams: &'static str,
    pub place: &'static str,
    pub ms: u64,
    /// Counts only while [`Place::armed`] exists.
    pub when_armed: bool,
}

pub struct Process {
    child: Child,
    pub address: String,
    client: reqwest::Client,
}

impl Process {
    /// Starts the service and waits until it serves; `Err` when it ended before.
    pub async fn start(place: &Place, fault: Option<&Fault>) -> Result<Self, ExitStatus> {
        let log = std::fs::File::options().create(true).append(true).open(place.path("log")).unwrap();
        let known = log.metadata().unwrap().len() as usize;
        let errors = log.try_clone().unwrap();
        Self::start_with(place, fault, Stdio::from(log), Stdio::from(errors), |_| {
            let text = std::fs::read(place.path("log")).unwrap();
            let new = String::from_utf8_lossy(&text[known..]).into_owned();
            let (whole, _) = new.rsplit_once('\n')?;
            let line = whole.lines().find(|line| line.contains("serving http"))?;
            let event: Value = serde_json::from_str(line).ok()?;
            Some(event["fields"]["address"].as_str()?.to_owned())
        })
        .await
    }

    /// As [`Process::start`], with other outputs; `address` is asked again and again where it serves.
    pub async fn start_with(
        place: &Place,
        fault: Option<&Fault>,
        out: Stdio,
        err: Stdio,
        address: impl Fn(&mut Child) -> Option<String>,
    ) -> Result<Self, ExitStatus> {
        let mut command = Command::new(env!("CARGO_BIN_EXE_holdfast"));
        command
            .args(["serve", "--config"])
            .arg(place.config_path())
            .env_remove("RUST_LOG")
            // As `deploy/` sets it: the soak looks at memory.
            .env("MALLOC_ARENA_MAX", "2")
            .stdout(out)
            .stderr(err);
        if let Some(fault) = fault {
            command
                .env("HOLDFAST_FAULT", fault.action)
                .env("HOLDFAST_FAULT_NTH", fault.nth.to_string())
                .env("HOLDFAST_FAULT_AFTER", if fault.after { "1" } else { "" })
                .env("HOLDFAST_FAULT_ALWAYS", if fault.always { "1" } else { "" })
                .env("HOLDFAST_FAULT_SEAMS", fault.seams)
                .env("HOLDFAST_FAULT_PLACE", fault.place)
                .env("HOLDFAST_FAULT_MS", fault.ms.to_string())
                .env("HOLDFAST_FAULT_LOG", place.path("calls"));
            if fault.when_armed {
                command.env("HOLDFAST_FAULT_WHILE", place.armed());
            }
        }
        let mut child = command.spawn().unwrap();
        let until = Instant::now() + PATIENCE;
        let address = loop {
            if let Some(ended) = child.try_wait().unwrap() {
                return Err(ended);
            }
            if let Some(address) = address(&mut child) {
                break address;
            }
            assert!(Instant::now() < until, "it does not serve: {}", place.log_tail());
            tokio::time::sleep(Duration::from_millis(5)).await;
        };
        let client = reqwest::Client::builder().timeout(Duration::from_secs(20)).build().unwrap();
        Ok(Self { child, address, client })
    }

    /// How it ended, if it has.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().unwrap()
    }

    pub fn id(&self) -> u32 {
        self.child.id()
    }

    pub fn signal(&self, name: &str) {
        let done =
            Command::new("kill").args([format!("-{name}"), self.child.id().to_string()]).status().unwrap();
        assert!(done.success());
    }

    /// kill -9.
    pub fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Waits for its end; none after `limit`.
    pub async fn wait(&mut self, limit: Duration) -> Option<ExitStatus> {
        let until = Instant::now() + limit;
        loop {
            if let Some(ended) = self.ended() {
                return Some(ended);
            }
            if Instant::now() >= until {
                return None;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// Stops it in order.
    pub async fn stop(mut self, place: &Place) {
        self.signal("TERM");
        let ended = self.wait(PATIENCE).await;
        assert_eq!(ended.and_then(|ended| ended.code()), Some(0), "{}", place.log_tail());
    }

    /// An answer with its status; none when the process is gone.
    pub async fn try_get(&self, path: &str) -> Option<(u16, Value)> {
        let answer = self.client.get(format!("http://{}{path}", self.address)).send().await.ok()?;
        let status = answer.status().as_u16();
        let text = answer.text().await.ok()?;
        Some((status, serde_json::from_str(&text).unwrap_or(Value::String(text))))
    }

    pub async fn get(&self, path: &str) -> Value {
        let (status, body) = self.try_get(path).await.unwrap_or_else(|| panic!("GET {path}: no answer"));
        assert_eq!(status, 200, "GET {path}: {body}");
        body
    }

    /// Status, `Location` and text of a POST; none when the process is gone.
    pub async fn post(&self, path: &str, body: &Value) -> Option<(u16, String, String)> {
        let request = self.client.post(format!("http://{}{path}", self.address));
        let request = if body.is_null() { request } else { request.json(body) };
        let answer = request.send().await.ok()?;
        let status = answer.status().as_u16();
        let location = answer.headers().get("location").map(|text| text.to_str().unwrap().to_owned());
        Some((status, location.unwrap_or_default(), answer.text().await.ok()?))
    }

    /// Triggers; the job's id, or what was answered instead. None when the process is gone.
    pub async fn trigger(&self, path: &str, body: &Value) -> Option<Result<i64, String>> {
        let (status, location, text) = self.post(path, body).await?;
        if status != 202 {
            return Some(Err(format!("{status} {text}")));
        }
        let id = location.strip_prefix("/v1/jobs/").unwrap_or(&text);
        Some(id.parse().map_err(|_| format!("no id in {location:?} {text:?}")))
    }

    pub async fn job(&self, id: i64) -> Value {
        self.get(&format!("/v1/jobs/{id}")).await
    }

    /// The job once it has ended; with it how long that took.
    pub async fn wait_job(&self, id: i64, limit: Duration) -> Option<Value> {
        let until = Instant::now() + limit;
        loop {
            let job = self.job(id).await;
            if !job["finished"].is_null() {
                return Some(job);
            }
            if Instant::now() >= until {
                return None;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// Runs a job that must succeed.
    pub async fn succeed(&self, path: &str, body: &Value) -> Value {
        let id = self
            .trigger(path, body)
            .await
            .expect("it lives")
            .unwrap_or_else(|answer| panic!("{path}: {answer}"));
        let job = self.wait_job(id, PATIENCE).await.unwrap_or_else(|| panic!("job {id} does not end"));
        assert_eq!(job["status"], "succeeded", "{job:#}");
        job
    }

    /// Runs a backup that must succeed.
    pub async fn back_up(&self, backup_type: &str) -> Value {
        self.succeed(&format!("/v1/backups/{backup_type}/{ROUTINE}"), &Value::Null).await
    }

    /// The jobs that have not ended, and how many rows there are; none when the process is gone.
    pub async fn open_jobs(&self) -> Option<(Vec<i64>, usize)> {
        let (status, page) = self.try_get("/v1/jobs?limit=1000").await?;
        if status != 200 {
            return None;
        }
        let jobs = page["jobs"].as_array().unwrap();
        let open = jobs.iter().filter(|job| job["finished"].is_null());
        Some((open.map(|job| job["id"].as_i64().unwrap()).collect(), jobs.len()))
    }

    /// The keys of all backups that are listed.
    pub async fn listed(&self) -> Vec<String> {
        let mut keys = Vec::new();
        for backup_type in ["full", "incremental"] {
            let lists = self.get(&format!("/v1/backups/{backup_type}")).await;
            for list in lists.as_object().unwrap().values() {
                keys.extend(
                    list.as_array().unwrap().iter().map(|one| one["key"].as_str().unwrap().to_owned()),
                );
            }
        }
        keys
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Both fail when it has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
