//! `holdfast estimate`: asks the running service how much a backup would hold and how long it would take.

#![allow(clippy::indexing_slicing)] // of JSON values only: what is not there is null

use std::fmt::Write as _;

use serde_json::Value;

use super::rest::Rest;
use crate::error::Result;

/// What was asked.
#[derive(Debug, clap::Args)]
pub struct Options {
    /// The routine.
    routine: String,
    /// Of an incremental that would begin now.
    #[arg(long)]
    incremental: bool,
    /// The address of the running service.
    #[arg(long, value_name = "URL")]
    url: String,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

/// Prints the estimate.
pub async fn run(options: &Options) -> Result<()> {
    let backup_type = if options.incremental { "incremental" } else { "full" };
    let path = format!("/v1/backups/estimate/{}?type={backup_type}", options.routine);
    let answer = Rest::new(&options.url).get(&path).await?;
    if options.json {
        println!("{answer:#}");
    } else {
        print!("{}", table(&answer));
    }
    Ok(())
}

/// One line for each namespace, and one for all.
fn table(answer: &Value) -> String {
    let mut text = String::new();
    let line = |text: &mut String, name: &str, one: &Value, how: &str| {
        let megabytes = one["bytes"].as_u64().unwrap_or(0) / (1 << 20);
        let _ = writeln!(text, "{name:<32} {:>14} records {megabytes:>9} MiB  {how}", one["records"]);
    };
    for one in answer["namespaces"].as_array().into_iter().flatten() {
        let how = format!(
            "{}, records by {}, bytes by {} of them",
            one["type"].as_str().unwrap_or_default(),
            one["records-method"].as_str().unwrap_or_default(),
            one["sampled-records"]
        );
        line(&mut text, one["namespace"].as_str().unwrap_or_default(), one, &how);
    }
    let how = match answer["duration-ms"].as_u64() {
        Some(ms) => {
            let method = answer["duration-method"].as_str().unwrap_or_default();
            format!("{} s by {method}", ms.div_ceil(1000))
        }
        None => "nothing tells how long".to_owned(),
    };
    line(&mut text, "all", answer, &how);
    text
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    #[test]
    fn the_table_names_every_method() {
        let one = json!({"namespace": "ns", "type": "full", "records": 7, "bytes": 3 << 20,
            "records-method": "set-objects", "sampled-records": 7});
        let text = super::table(&json!({"namespaces": [one], "records": 7, "bytes": 3 << 20,
            "duration-ms": 1500, "duration-method": "last-backup"}));
        for part in ["ns ", "7 records", "3 MiB", "set-objects", "2 s by last-backup"] {
            assert!(text.contains(part), "{part}: {text}");
        }
        assert!(super::table(&json!({})).contains("nothing tells"));
    }
}
