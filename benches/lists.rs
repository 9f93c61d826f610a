//! How long the lists of 10,000 backups of 100 routines take, from the cache of the catalog: as HTTP, and what of that are the
//! reading of the store and the JSON. README.md says how to run it and what is aimed at.

#![allow(clippy::unwrap_used, clippy::panic)] // a program that measures: any surprise ends it

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use holdfast::app::TimeBounds;
use holdfast::catalog::details::BackupDetails;
use holdfast::clock::SystemClock;
use holdfast::config::Config;
use holdfast::model::{BackupType, UnixMillis};
use holdfast::service::{Service, ServiceOptions};

const ROUTINES: usize = 100;
const BACKUPS: i64 = 100;
/// The first backup of each routine.
const FIRST_MS: i64 = 1_704_110_400_000;
const ROUNDS: usize = 51;

fn main() {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    runtime.block_on(measure());
}

async fn measure() {
    let dir = tempfile::tempdir().unwrap();
    for routine in 0..ROUTINES {
        for backup in 0..BACKUPS {
            write_backup(dir.path(), routine, FIRST_MS + backup * 3_600_000);
        }
    }
    let config = Config::parse(&document(dir.path()), "bench", UnixMillis(FIRST_MS)).unwrap();
    let options = ServiceOptions {
        http_port: Some(0),
        state_dir: Some(dir.path().join("state")),
        ..ServiceOptions::new(config, Arc::new(SystemClock))
    };
    let service = Service::start(options).await.unwrap();
    let client = reqwest::Client::new();
    let url = |path: &str| format!("http://{}{path}", service.http_address());
    let began = Instant::now();
    client.post(url("/v1/catalog/refresh")).send().await.unwrap().error_for_status().unwrap();
    println!("read from local disk once: {:.0} ms\n", began.elapsed().as_secs_f64() * 1e3);
    println!("| what | median ms | fastest | slowest | bytes |\n|---|---|---|---|---|");
    for (path, names) in [
        ("/v1/backups/full", (0..ROUTINES).map(|n| format!("r{n}")).collect()),
        ("/v1/backups/full/r7", vec!["r7".to_owned()]),
    ] {
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let (mut whole, mut read, mut written, mut bytes) = (Vec::new(), Vec::new(), Vec::new(), 0);
        for _ in 0..ROUNDS {
            let began = Instant::now();
            let answer = client.get(url(path)).send().await.unwrap();
            bytes = answer.bytes().await.unwrap().len();
            whole.push(began.elapsed());
            let began = Instant::now();
            let bounds = TimeBounds { from: None, to: None };
            let listed = service.app().backups(&names, BackupType::Full, bounds, false).await.unwrap();
            read.push(began.elapsed());
            let began = Instant::now();
            let shown: BTreeMap<&str, &[BackupDetails]> =
                listed.routines.iter().map(|(name, shown)| (name.as_str(), shown.as_ref())).collect();
            let text = serde_json::to_vec(&shown).unwrap();
            written.push(began.elapsed());
            let count: usize = listed.routines.values().map(|shown| shown.len()).sum();
            assert_eq!(count, names.len() * BACKUPS as usize);
            assert!(text.len() >= bytes);
        }
        for (what, times) in [("GET", whole), ("of it the store", read), ("of it the JSON", written)] {
            row(&format!("{what} {path}"), times, bytes);
        }
    }
    service.stop().await.unwrap();
}

fn row(what: &str, mut times: Vec<Duration>, bytes: usize) {
    times.sort();
    let ms = |at: usize| times.get(at).map_or(0.0, |time| time.as_secs_f64() * 1e3);
    println!("| {what} | {:.2} | {:.2} | {:.2} | {bytes} |", ms(ROUNDS / 2), ms(0), ms(ROUNDS - 1));
}

/// Routines on a cluster where nobody listens.
fn document(dir: &Path) -> String {
    let mut text = format!(
        "aerospike-clusters: {{nowhere: {{seed-nodes: [{{host-name: 127.0.0.1, port: 1}}]}}}}\n\
         storage: {{disk: {{local-storage: {{path: {}/backups}}}}}}\nbackup-routines:\n",
        dir.display()
    );
    for routine in 0..ROUTINES {
        writeln!(
            text,
            "  r{routine}: {{source-cluster: nowhere, storage: disk, namespaces: [test], interval-cron: '@yearly'}}"
        )
        .unwrap();
    }
    text
}

/// A backup as ABS writes one.
fn write_backup(dir: &Path, routine: usize, created: i64) {
    let folder = dir.join(format!("backups/r{routine}/backup/{created}/data/test"));
    std::fs::create_dir_all(&folder).unwrap();
    let at = UnixMillis(created).to_rfc3339();
    let metadata = format!(
        "created: {at}\nfinished: {at}\nfrom: 0001-01-01T00:00:00Z\nnamespace: test\nrecord-count: 0\n\
         byte-count: 0\nfile-count: 0\nsecondary-index-count: 0\nudf-count: 0\ncompression: NONE\nencryption: NONE\n"
    );
    std::fs::write(folder.join("metadata.yaml"), metadata).unwrap();
}
