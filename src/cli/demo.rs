//! `holdfast demo`: the main job on an embedded sandbox node, from the schedule to a proven restore.

#![allow(clippy::indexing_slicing)] // of JSON values only: what is not there is null

mod setup;
mod writer;

use std::path::Path;
use std::pin::pin;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use self::setup::Setup;
use crate::engine::aerospike::snapshot::Snapshot;
use crate::error::{Error, Result};
use crate::tasks::Scope;

/// Nothing of the demo takes longer unless something is wrong.
const STEP_MAX: Duration = Duration::from_mins(3);

/// Between two looks at the service.
const LOOK_EVERY: Duration = Duration::from_millis(250);

/// Void times are restored for the destination's clock: exact to a second (rules.md 4.7).
const VOID_TOLERANCE_S: u32 = 1;

/// Runs the demo; stays up at its end unless `exit`.
pub async fn run(config: Option<&Path>, dir: &Path, exit: bool) -> Result<()> {
    let mut scope = Scope::new(&CancellationToken::new());
    let stop = super::stop_on_signal(&mut scope)?;
    let demo = Demo { setup: Setup::start(config, dir, &stop).await?, begun: Instant::now() };
    demo.introduce();
    let filled = demo.setup.writer.fill().await?;
    demo.say(&format!(
        "{filled} records written to {}; the application now changes about 200 a second",
        demo.setup.source
    ));
    let writer = demo.setup.writer.clone();
    let mut application =
        pin!(async { writer.run(&stop).await.map_err(|error| error.context("the application of the demo")) });
    let mut story = tokio::select! {
        told = demo.tell() => told,
        ended = &mut application => ended.and(Err(interrupted_error())),
        () = stop.cancelled() => Err(interrupted_error()),
    };
    let interrupted = stop.is_cancelled();
    if story.is_ok() && !exit {
        demo.say("the service stays up; stop it with ctrl-c");
        // The application ends with the stop, or by an error of its own.
        story = application.await;
    }
    stop.cancel();
    demo.setup.stop().await?;
    if interrupted { Ok(()) } else { story }
}

fn interrupted_error() -> Error {
    Error::temporary("canceled", "the demo was interrupted")
}

struct Demo {
    setup: Setup,
    begun: Instant,
}

impl Demo {
    fn say(&self, text: &str) {
        println!("[{:>5.1} s] {text}", self.begun.elapsed().as_secs_f64());
    }

    fn introduce(&self) {
        let Setup { rest, routine, sandbox, source, target, .. } = &self.setup;
        println!("sandbox node  {} (in memory, not a database)", sandbox.address());
        println!("service       {}", rest.base());
        println!("routine       {routine}: {source} is backed up; {target} will receive the restore");
        println!();
    }

    /// The story: full, incrementals, a pause that is scanned, two more incrementals, restore, comparison.
    async fn tell(&self) -> Result<()> {
        let setup = &self.setup;
        self.say("waiting for the first full backup of the schedule");
        let full = self.next_backup("full", 0, 1).await?;
        self.say_backup(&full);
        let first = self.next_backup("incremental", millis(&full, "started"), 1).await?;
        self.say_backup(&first);

        let guard = setup.writer.pause().await;
        let paused_at = setup.clock.now();
        self.say("the application pauses; the next incremental is the point to restore to");
        let chosen = self.next_backup("incremental", paused_at.0, 1).await?;
        self.say_backup(&chosen);
        let point = self.restore_point(&chosen).await?;
        let expected = Snapshot::take(&setup.cluster, &setup.source, &CancellationToken::new()).await?;
        drop(guard);
        self.say(&format!(
            "{} records scanned from the source in the pause and kept; the application goes on",
            expected.0.len()
        ));

        let changes_before = setup.writer.changes();
        let later = self.next_backup("incremental", millis(&chosen, "finished"), 2).await?;
        self.say_backup(&later);
        self.say(&format!(
            "two more incrementals done, {} records changed since the point",
            setup.writer.changes() - changes_before
        ));

        let request = json!({
            "routine": setup.routine, "time": point,
            "policy": {"namespace": {"source": setup.source, "destination": setup.target}}
        });
        self.restore(&request).await?;
        self.compare(&expected).await?;
        self.repeat(&request);
        Ok(())
    }

    /// The succeeded backups of a type that started at or after an instant, oldest first.
    async fn succeeded(&self, backup_type: &str, since_ms: i64) -> Result<Vec<Value>> {
        let Setup { rest, routine, .. } = &self.setup;
        let path =
            format!("/v1/jobs?kind=backup&routine={routine}&status=succeeded&from={since_ms}&limit=100");
        let mut jobs = rest.get(&path).await?["jobs"].as_array().cloned().unwrap_or_default();
        jobs.retain(|job| job["type"] == backup_type);
        jobs.reverse();
        Ok(jobs)
    }

    /// The `count`th backup of a type that started at or after an instant, once it has succeeded.
    async fn next_backup(&self, backup_type: &str, since_ms: i64, count: usize) -> Result<Value> {
        let mut shown = 0;
        let look = async {
            loop {
                let done = self.succeeded(backup_type, since_ms).await?;
                if let Some(job) = done.get(count - 1) {
                    return Ok(job.clone());
                }
                self.show_progress(&mut shown).await?;
                tokio::time::sleep(LOOK_EVERY).await;
            }
        };
        within(look, &format!("a succeeded {backup_type} backup")).await
    }

    async fn show_progress(&self, shown: &mut u64) -> Result<()> {
        let path = format!("/v1/backups/currentBackup/{}", self.setup.routine);
        let state = self.setup.rest.get(&path).await?;
        for backup_type in ["full", "incremental"] {
            let Some(percent) = state[backup_type]["percentage-done"].as_u64() else { continue };
            if percent != *shown {
                let records = state[backup_type]["done-records"].as_u64().unwrap_or(0);
                self.say(&format!("  {backup_type}: {percent} %, {records} records"));
                *shown = percent;
            }
        }
        Ok(())
    }

    fn say_backup(&self, job: &Value) {
        let took = millis(job, "finished") - millis(job, "started");
        let kind = job["type"].as_str().unwrap_or_default();
        self.say(&format!("{kind} backup done: job {}, {took} ms", job["id"]));
    }

    /// The moment to restore to: the end of a backup as storage lists it.
    async fn restore_point(&self, job: &Value) -> Result<i64> {
        let path =
            format!("/v1/backups/incremental/{}?from={}", self.setup.routine, millis(job, "started") - 2000);
        let listed = self.setup.rest.get(&path).await?;
        let newest = listed.as_array().and_then(|backups| backups.last());
        let finished = newest.map_or(0, |backup| millis(backup, "finished"));
        // An incremental without changes leaves nothing in storage: then the end of its job is as good.
        Ok(finished.max(millis(job, "finished")))
    }

    async fn restore(&self, request: &Value) -> Result<()> {
        let rest = &self.setup.rest;
        let id = rest.post("/v1/restore/timestamp", request).await?;
        self.say(&format!("restore job {id} started, to {}", request["time"]));
        let path = format!("/v1/restore/status/{id}");
        let mut shown = 0;
        let finished = async {
            loop {
                let status = rest.get(&path).await?;
                let percent = status["current-job"]["percentage-done"].as_u64().unwrap_or(0);
                if percent != shown {
                    self.say(&format!("  restore: {percent} %"));
                    shown = percent;
                }
                match status["status"].as_str() {
                    Some("Running" | "running") => tokio::time::sleep(LOOK_EVERY).await,
                    Some("Done" | "success") => return Ok(status),
                    _ => {
                        let text = format!("restore job {id} ended: {status}");
                        return Err(Error::permanent("demo-restore", text));
                    }
                }
            }
        };
        let status = within(finished, "the restore").await?;
        self.say(&format!(
            "restore done: {} records read, {} inserted, {} hidden by newer versions",
            status["read-records"], status["inserted-records"], status["existed-records"]
        ));
        Ok(())
    }

    async fn compare(&self, expected: &Snapshot) -> Result<()> {
        let setup = &self.setup;
        let restored = Snapshot::take(&setup.cluster, &setup.target, &CancellationToken::new()).await?;
        let differences = expected.differences(&restored, VOID_TOLERANCE_S);
        if let Some(first) = differences.first() {
            return Err(Error::permanent(
                "demo-different",
                format!(
                    "{} of {} records differ from the source at the point; first: {first}",
                    differences.len(),
                    expected.0.len()
                ),
            ));
        }
        self.say(&format!(
            "compared record for record (digest, set, key, type and bytes of every bin, void time): {} records, \
             0 differences",
            restored.0.len()
        ));
        Ok(())
    }

    fn repeat(&self, request: &Value) {
        let Setup { rest, routine, .. } = &self.setup;
        let base = rest.base();
        println!("\nTo repeat it by hand:");
        println!("  curl {base}/v1/jobs?limit=10");
        println!("  curl {base}/v1/backups/full/{routine}");
        println!("  curl {base}/v1/backups/incremental/{routine}");
        println!("  curl -X POST {base}/v1/backups/incremental/{routine} -H 'Accept: application/json'");
        println!("  curl {base}/v1/backups/currentBackup/{routine}");
        println!("  curl -X POST {base}/v1/restore/timestamp -d '{request}'");
        println!("  curl {base}/v1/restore/jobs");
        println!("  curl {base}/metrics\n");
    }
}

async fn within<T>(work: impl Future<Output = Result<T>>, what: &str) -> Result<T> {
    match tokio::time::timeout(STEP_MAX, work).await {
        Ok(result) => result,
        Err(_) => Err(Error::temporary("demo-slow", format!("waited {} s for {what}", STEP_MAX.as_secs()))
            .hint("Look at /v1/jobs of the service and at its log above.")),
    }
}

/// An RFC 3339 field as unix milliseconds; 0 where there is none.
fn millis(value: &Value, field: &str) -> i64 {
    value[field]
        .as_str()
        .and_then(|text| chrono::DateTime::parse_from_rfc3339(text).ok())
        .map_or(0, |at| at.timestamp_millis())
}
