//! `holdfast catalog rebuild`: has the running service read its storages again, or does it beside a store that no service
//! holds.

#![allow(clippy::indexing_slicing)] // of JSON values only: what is not there is null

use std::fmt::Write as _;
use std::sync::Arc;

use clap::Subcommand;
use futures_util::stream::{self, StreamExt};
use serde_json::{Value, json};

use super::rest::Rest;
use super::source::{MaybeSource, Source};
use crate::app::Places;
use crate::app::catalog::{Depth, catalog_view, refresh};
use crate::clock::{SharedClock, SystemClock};
use crate::error::{Error, Result};
use crate::store::Store;

/// Routines whose storage is read at once.
const AT_ONCE: usize = 4;

/// What is done with the catalog.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Makes the cache that lists of backups are answered from anew, from storage alone. Exit code 1: a storage did not answer.
    Rebuild {
        /// This routine only.
        routine: Option<String>,
        /// The address of the running service.
        #[arg(long, value_name = "URL", conflicts_with = "config", required_unless_present = "config")]
        url: Option<String>,
        // Of a service that does not run.
        #[command(flatten)]
        source: MaybeSource,
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
}

/// Runs a command on the catalog.
pub async fn run(command: Command) -> Result<()> {
    let Command::Rebuild { routine, url, source, json } = command;
    let answer = match (url, source.given()) {
        (Some(url), _) => {
            let query = routine.map(|name| format!("?routine={}", super::adopt::segment(&name)));
            let path = format!("/v1/catalog/refresh{}", query.unwrap_or_default());
            Rest::new(&url).post(&path, &json!({})).await?
        }
        (None, Some(source)) => alone(&source, routine.as_deref()).await?,
        // The command line asks for one of them.
        (None, None) => {
            return Err(Error::permanent("config-invalid", "neither --url nor --config is given"));
        }
    };
    if json {
        println!("{answer:#}");
    } else {
        print!("{}", table(&answer));
    }
    let routines = answer["routines"].as_array().map(Vec::as_slice).unwrap_or_default();
    let unread: Vec<&str> = routines
        .iter()
        .filter(|one| one["refreshed"] != true)
        .filter_map(|one| one["routine"].as_str())
        .collect();
    if unread.is_empty() {
        return Ok(());
    }
    Err(Error::temporary("storage-unread", format!("the storage of {} was not read", unread.join(", ")))
        .hint("What was known of it before stays; mend the storage and run this again."))
}

/// Opens the store under its lock: no service runs meanwhile.
async fn alone(source: &Source, routine: Option<&str>) -> Result<Value> {
    let clock: SharedClock = Arc::new(SystemClock);
    let options = source.options().await?;
    let mut wanted = Vec::new();
    for (name, one) in &options.config.backup_routines {
        if routine.is_none_or(|only| only == name) {
            wanted.push((name.clone(), options.config.storage(&one.storage)?));
        }
    }
    if let (Some(name), true) = (routine, wanted.is_empty()) {
        return Err(Error::permanent("routine-unknown", format!("routine \"{name}\" not found")));
    }
    let store = Store::open(&options.state_dir(), &clock).await.map_err(|error| match error.code() {
        "store-locked" => error.hint("The service runs: give its address with --url."),
        _ => error,
    })?;
    let places = Places::new(store.clone(), options.config.keeper());
    let reads: Vec<_> = wanted
        .iter()
        .map(|(name, storage)| {
            let (store, places, now) = (&store, &places, clock.now());
            async move {
                let refreshed = refresh(places, storage, name, Depth::Whole, now).await;
                let view = catalog_view(store, storage, name).await?;
                let mut shown = json!(view);
                shown["refreshed"] = json!(refreshed.is_ok());
                if let (Err(error), true) = (refreshed, shown["stale"].is_null()) {
                    shown["stale"] = json!({"code": error.code(), "reason": error.report_without_hint()});
                }
                Ok::<Value, Error>(shown)
            }
        })
        .collect();
    let read: Vec<Result<Value>> = stream::iter(reads).buffered(AT_ONCE).collect().await;
    store.close().await?;
    Ok(json!({"routines": read.into_iter().collect::<Result<Vec<Value>>>()?}))
}

/// The answer of `POST /v1/catalog/refresh` for a person.
fn table(answer: &Value) -> String {
    let mut text = String::new();
    let mut line = |line: std::fmt::Arguments<'_>| {
        let _ = writeln!(text, "{line}"); // writing to a String cannot fail
    };
    for one in answer["routines"].as_array().into_iter().flatten() {
        let word = |key: &str| one[key].as_str().unwrap_or("-");
        let (full, incremental) = (&one["full"], &one["incremental"]);
        let (routine, as_of) = (word("routine"), word("as-of"));
        line(format_args!("{routine}: {full} full, {incremental} incremental, as of {as_of}"));
        if one["refreshed"] != true {
            line(format_args!("  not read: {}", one["stale"]["reason"].as_str().unwrap_or("-")));
        }
        for problem in one["problems"].as_array().into_iter().flatten() {
            let word = |key: &str| problem[key].as_str().unwrap_or("-");
            line(format_args!("  {}: {}: {}", word("state"), word("key"), word("reason")));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::table;
    use serde_json::json;

    #[test]
    fn the_table_says_what_was_read_and_what_is_wrong() {
        let text = table(&json!({"routines": [
            {"routine": "a", "full": 2, "incremental": 3, "as-of": "then", "refreshed": true,
             "problems": [{"key": "a/backup/1", "state": "corrupt", "reason": "no yaml"}]},
            {"routine": "b", "full": 0, "incremental": 0, "as-of": null, "refreshed": false,
             "stale": {"code": "x", "reason": "away"}, "problems": []},
        ]}));
        assert_eq!(
            text,
            "a: 2 full, 3 incremental, as of then\n  corrupt: a/backup/1: no yaml\n\
             b: 0 full, 0 incremental, as of -\n  not read: away\n"
        );
    }
}
