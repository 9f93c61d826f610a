//! `holdfast retention`: asks the running service, or computes the same beside a store that no service holds.

#![allow(clippy::indexing_slicing)] // of JSON values only: what is not there is null

use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use serde_json::{Value, json};

use super::adopt::segment;
use super::rest::Rest;
use super::source::{MaybeSource, Source};
use crate::app::Places;
use crate::clock::SystemClock;
use crate::config::StorageConfig;
use crate::error::{Error, Result};
use crate::retention::view_all;
use crate::store::Store;

/// What was asked.
#[derive(Debug, clap::Args)]
pub struct Options {
    /// The routine.
    routine: String,
    /// Show what stays, what would go, and why, also in the storages of its copies; delete nothing.
    #[arg(long)]
    dry_run: bool,
    /// Delete in this storage, the routine's own or that of a copy; without it: in the routine's own.
    #[arg(long, value_name = "NAME", conflicts_with = "dry_run")]
    storage: Option<String>,
    /// The address of the running service.
    #[arg(long, value_name = "URL", conflicts_with = "config", required_unless_present = "config")]
    url: Option<String>,
    // Of a service that does not run; with --dry-run only.
    #[command(flatten)]
    source: MaybeSource,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

/// Shows what retention would do, or does it.
pub async fn run(options: &Options) -> Result<()> {
    let answer = match (&options.url, options.source.given()) {
        (Some(url), _) if options.dry_run => {
            Rest::new(url).get(&format!("/v1/retention/{}", options.routine)).await?
        }
        (Some(url), _) => return delete(&Rest::new(url), options).await,
        (None, Some(source)) if options.dry_run => alone(&source, &options.routine).await?,
        (None, _) => {
            return Err(Error::permanent(
                "needs-service",
                "only the service deletes: here it can be looked at with --dry-run",
            )
            .hint("Start the service and give its address with --url."));
        }
    };
    print!("{}", if options.json { pretty(&answer) } else { table(&answer) });
    Ok(())
}

/// Opens the store under its lock: no service runs meanwhile.
async fn alone(source: &Source, routine: &str) -> Result<Value> {
    let clock: crate::clock::SharedClock = Arc::new(SystemClock);
    let options = source.options().await?;
    let job = options.config.routine(routine, clock.now())?.job;
    let store = Store::open(&options.state_dir(), &clock).await.map_err(|error| match error.code() {
        "store-locked" => error.hint("The service runs: give its address with --url."),
        _ => error,
    })?;
    let places = Places::new(store.clone(), options.config.keeper());
    let open = |config: StorageConfig| {
        let places = places.clone();
        async move { places.open(&config).await }.boxed()
    };
    let seen = view_all(&store, &job, open, clock.now()).await;
    store.close().await?;
    Ok(json!(seen?))
}

/// Has the service do it, and waits for the end.
async fn delete(service: &Rest, options: &Options) -> Result<()> {
    let storage = options.storage.as_deref().map(|name| format!("?storage={}", segment(name)));
    let storage = storage.unwrap_or_default();
    let path = format!("/v1/retention/{}{storage}", options.routine);
    let job = service.post(&path, &json!({})).await?;
    let path = format!("/v1/jobs/{}", job["id"]);
    let job = loop {
        let job = service.get(&path).await?;
        if !matches!(job["status"].as_str(), Some("scheduled" | "queued" | "running")) {
            break job;
        }
        tokio::time::sleep(Duration::from_millis(250)).await;
    };
    let status = job["status"].as_str().unwrap_or_default();
    if options.json {
        print!("{}", pretty(&job));
    } else {
        let counted = |key: &str| job["counters"][key].as_u64().unwrap_or(0);
        let (deleted, bytes) = (counted("deleted-backups"), size(counted("deleted-bytes")));
        println!("job {} {status}: {deleted} backups deleted, {bytes}", job["id"]);
        for warning in job["warnings"].as_array().into_iter().flatten() {
            println!("  {}", word(&warning["text"]));
        }
    }
    if status == "succeeded" {
        return Ok(());
    }
    let why = word(&job["reason"]);
    Err(Error::permanent("job-not-succeeded", format!("job {} is {status}: {why}", job["id"])))
}

fn pretty(value: &Value) -> String {
    format!("{value:#}\n")
}

/// The answer of `GET /v1/retention/{routine}` for a person.
fn table(answer: &Value) -> String {
    let mut text = String::new();
    let _ = writeln!(text, "routine {}: {}", word(&answer["routine"]), word(&answer["says"])); // into a String
    in_storage(&mut text, answer);
    for copies in answer["copies"].as_array().into_iter().flatten() {
        let _ = writeln!(text, "\ncopies in storage {}: {}", word(&copies["storage"]), word(&copies["says"]));
        in_storage(&mut text, copies);
    }
    text
}

/// What stays and goes in one storage.
fn in_storage(text: &mut String, answer: &Value) {
    let mut line = |line: std::fmt::Arguments<'_>| {
        let _ = writeln!(text, "{line}"); // writing to a String cannot fail
    };
    for namespace in answer["namespaces"].as_array().into_iter().flatten() {
        line(format_args!("\nnamespace {}", word(&namespace["namespace"])));
        for backup in namespace["backups"].as_array().into_iter().flatten() {
            let stays = if backup["stays"] == true { "stays" } else { "goes " };
            let promoted = if backup["promoted"] == true { ", promoted" } else { "" };
            line(format_args!(
                "  {stays}  {:<11}  {}  {:>10}  {}{promoted}  {}",
                word(&backup["type"]),
                word(&backup["created"]),
                size(backup["bytes"].as_u64().unwrap_or(0)),
                in_words(word(&backup["why"])),
                word(&backup["key"]),
            ));
        }
    }
    let totals = &answer["totals"];
    let total = |key: &str| totals[key].as_u64().unwrap_or(0);
    line(format_args!(
        "\n{} backups stay ({}), {} would go ({})",
        total("stays"),
        size(total("stays-bytes")),
        total("goes"),
        size(total("goes-bytes")),
    ));
    for problem in answer["problems"].as_array().into_iter().flatten() {
        let said = ["code", "backup", "reason"].map(|key| word(&problem[key]));
        let said: Vec<&str> = said.into_iter().filter(|word| !word.is_empty()).collect();
        line(format_args!("nothing would be deleted: {}", said.join(": ")));
    }
}

fn word(value: &Value) -> &str {
    value.as_str().unwrap_or("-")
}

/// The word of [`crate::retention::plan::why`] as a sentence.
fn in_words(why: &str) -> &str {
    match why {
        "policy" => "the policy keeps it",
        "max-age" => "it is young enough",
        "keep-daily" => "the last full of its day",
        "keep-weekly" => "the last full of its week",
        "keep-monthly" => "the last full of its month",
        "keep-yearly" => "the last full of its year",
        "min-fulls" => "so many fulls always stay",
        "last-with-records" => "the newest full with records in it",
        "pinned" => "a job reads it or builds on it",
        "needed" => "a backup that stays needs it",
        "old-full" => "no rule keeps it",
        "with-its-full" => "its full goes",
        "old-incremental" => "incrementals of so old a full are not kept",
        "being-deleted" => "its deletion has begun",
        other => other,
    }
}

fn size(bytes: u64) -> String {
    const UNITS: [&str; 4] = ["KiB", "MiB", "GiB", "TiB"];
    let (mut value, mut unit) = (bytes as f64, "B");
    for larger in UNITS {
        if value < 1024.0 {
            break;
        }
        (value, unit) = (value / 1024.0, larger);
    }
    if unit == "B" { format!("{bytes} B") } else { format!("{value:.1} {unit}") }
}

#[cfg(test)]
mod tests {
    use super::{size, table};
    use serde_json::json;

    #[test]
    fn the_table_says_what_goes_and_why() {
        let text = table(&json!({
            "routine": "daily", "says": "keeps the newest full of each namespace",
            "namespaces": [{"namespace": "ns", "backups": [
                {"key": "daily/backup/1/data/ns", "type": "full", "created": "then", "bytes": 2048, "promoted": false,
                 "stays": false, "why": "old-full"},
            ]}],
            "totals": {"stays": 0, "stays-bytes": 0, "goes": 1, "goes-bytes": 2048},
            "problems": [{"code": "kept-full-damaged", "backup": "x", "reason": "y"}],
            "copies": [{
                "storage": "vault", "says": "keeps everything", "namespaces": [],
                "totals": {"stays": 0, "stays-bytes": 0, "goes": 0, "goes-bytes": 0},
                "problems": [{"code": "storage-unavailable", "backup": "", "reason": "not mounted"}],
            }],
        }));
        assert!(
            text.contains("goes   full         then     2.0 KiB  no rule keeps it  daily/backup/1/data/ns\n")
        );
        assert!(
            text.contains(
                "1 would go (2.0 KiB)\nnothing would be deleted: kept-full-damaged: x: y\n\ncopies"
            ),
            "{text}"
        );
        assert!(
            text.contains("copies in storage vault: keeps everything\n")
                && text.ends_with("nothing would be deleted: storage-unavailable: not mounted\n"),
            "{text}"
        );
    }

    #[test]
    fn sizes_are_for_people() {
        assert_eq!([0, 1023, 1024, 5 << 30].map(size), ["0 B", "1023 B", "1.0 KiB", "5.0 GiB"]);
    }
}
