//! The promises of the documents: strict, all at once, each with its line, field and words.

mod access;
mod change;
mod cloud;
mod copies;
mod documents;
mod door;
mod key_secret;
mod mistakes;
mod options;
mod requests;
mod s3;
mod secrets;

use serde_json::json;

use super::{Config, Problems};
use crate::model::UnixMillis;

/// 2026-11-21.
const NOW: UnixMillis = UnixMillis(1_795_219_200_000);

fn parse(text: &str) -> Result<Config, Problems> {
    Config::parse(text, "config.yaml", NOW)
}

/// What is wrong, one line each, as a user sees it.
fn lines(problems: &Problems) -> Vec<String> {
    problems.iter().map(ToString::to_string).collect()
}

fn refusal(text: &str) -> Vec<String> {
    lines(&parse(text).expect_err(text))
}

/// abs.md 7.3.
fn upstream() -> serde_json::Value {
    json!({
        "aerospike-clusters": {"c1": {"seed-nodes": [{"host-name": "localhost", "port": 3000}]}},
        "storage": {"s1": {"local-storage": {"path": "/tmp/backups"}}},
        "backup-policies": {"p1": {}},
        "backup-routines": {"keep": {
            "backup-policy": "p1", "source-cluster": "c1", "storage": "s1",
            "interval-cron": "@daily", "namespaces": ["test"],
        }},
    })
}

fn upstream_config() -> Config {
    Config::from_json(upstream().to_string().as_bytes(), NOW).unwrap()
}
