//! Throughput of an object store: one large object, and four side by side, written and read by the storage of Holdfast, beside a
//! well-known command line that copies the same file to the same kind of server in the same run. README.md says how to run it.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)] // a program that measures: any surprise ends it
#![allow(missing_docs, dead_code)] // what it takes from the tests says it there

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use holdfast::storage::Storage;
use serde_json::json;

#[path = "../tests/storage/seaweed.rs"]
mod seaweed;
#[path = "../tests/storage/server.rs"]
mod server;

use seaweed::{ACCESS_KEY, BUCKET, SECRET_KEY, Seaweed};

const MIB: u64 = 1 << 20;
/// The unit of CPU times in /proc/<pid>/stat: `USER_HZ`, 100 on every Linux we know.
const TICKS_PER_SECOND: f64 = 100.0;

/// User and system time of this process, or with `skip` 2 of those that it has waited for, in seconds.
fn cpu_seconds(skip: usize) -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap();
    // The fields behind the name, which is in brackets and may hold anything: proc(5), utime is field 14.
    let fields = stat.rsplit_once(')').unwrap().1.split_whitespace().skip(11 + skip);
    fields.take(2).map(|field| field.parse::<f64>().unwrap()).sum::<f64>() / TICKS_PER_SECOND
}

/// The most that a process has held, in MiB.
fn peak_mib(process: &str) -> Option<f64> {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    Some(line.trim().strip_suffix(" kB")?.parse::<f64>().ok()? / 1024.0)
}

/// A block that is not the same as the one before.
fn block(at: u64) -> Bytes {
    let mut bytes = vec![at as u8; MIB as usize];
    bytes[..8].copy_from_slice(&at.to_le_bytes());
    Bytes::from(bytes)
}

async fn write(storage: Arc<dyn Storage>, key: String, mib: u64) {
    let mut writer = storage.create(&key).await.unwrap();
    for at in 0..mib {
        writer.write(block(at)).await.unwrap();
    }
    assert_eq!(writer.finish().await.unwrap(), mib * MIB);
}

async fn read(storage: Arc<dyn Storage>, key: String, mib: u64) {
    let (mut reader, mut bytes) = (storage.open(&key).await.unwrap(), 0);
    while let Some(block) = reader.next().await.unwrap() {
        bytes += block.len() as u64;
    }
    assert_eq!(bytes, mib * MIB);
}

fn row(what: &str, mib: u64, begun: Instant, cpu: f64, peak: Option<f64>) {
    let megabytes = (mib * MIB) as f64 / 1e6;
    let peak = peak.map_or_else(|| "?".to_owned(), |peak| format!("{peak:.0}"));
    println!(
        "| {what} | {:.0} | {:.2} | {peak} |",
        megabytes / begun.elapsed().as_secs_f64(),
        cpu / (megabytes / 1e3),
    );
}

/// Ours: `objects` side by side, of `mib` all together.
async fn ours(objects: u64, mib: u64) {
    let seaweed = Seaweed::start_with(1024).await;
    let storage: Arc<dyn Storage> = Arc::new(seaweed.storage(&json!({"path": "bench"})).await);
    let each = mib / objects;
    let key = |at: u64| format!("a/{at}.asb");
    let (begun, cpu) = (Instant::now(), cpu_seconds(0));
    let writes = (0..objects).map(|at| write(Arc::clone(&storage), key(at), each));
    futures_util::future::join_all(writes).await;
    row(
        &format!("Holdfast, write, {objects} at once"),
        each * objects,
        begun,
        cpu_seconds(0) - cpu,
        peak_mib("self"),
    );
    let (begun, cpu) = (Instant::now(), cpu_seconds(0));
    futures_util::future::join_all((0..objects).map(|at| read(Arc::clone(&storage), key(at), each))).await;
    row(
        &format!("Holdfast, read, {objects} at once"),
        each * objects,
        begun,
        cpu_seconds(0) - cpu,
        peak_mib("self"),
    );
}

/// The command line of Amazon: `aws s3 cp` to the server and back.
async fn theirs(program: &Path, dir: &Path, mib: u64) {
    let seaweed = Seaweed::start_with(1024).await;
    let file = dir.join("data");
    let mut out = std::io::BufWriter::new(std::fs::File::create(&file).unwrap());
    (0..mib).for_each(|at| out.write_all(&block(at)).unwrap());
    out.into_inner().unwrap().sync_all().unwrap();
    let url = format!("s3://{BUCKET}/bench/data");
    let file = file.to_str().unwrap();
    for (what, from, to) in [("write", file, url.as_str()), ("read", url.as_str(), file)] {
        let (begun, cpu) = (Instant::now(), cpu_seconds(2));
        let mut child = Command::new(program)
            .args([
                "--endpoint-url",
                &seaweed.url,
                "--region",
                "us-east-1",
                "s3",
                "cp",
                "--only-show-errors",
                from,
                to,
            ])
            .env("AWS_ACCESS_KEY_ID", ACCESS_KEY)
            .env("AWS_SECRET_ACCESS_KEY", SECRET_KEY)
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        let mut peak = None;
        let status = loop {
            if let Some(status) = child.try_wait().unwrap() {
                break status;
            }
            peak = peak_mib(&child.id().to_string()).or(peak);
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        };
        assert!(status.success());
        row(&format!("aws s3 cp, {what}"), mib, begun, cpu_seconds(2) - cpu, peak);
    }
}

#[tokio::main]
async fn main() {
    // `cargo test --all-targets` runs it too, without this argument.
    if !std::env::args().any(|argument| argument == "--bench") {
        return;
    }
    let text = |name: &str| std::env::var(format!("HOLDFAST_BENCH_{name}")).ok();
    let mib = text("MIB").map_or(5 << 10, |mib| mib.parse().unwrap());
    let dir = Path::new(env!("CARGO_TARGET_TMPDIR")).join("bench-object-store");
    let _ = std::fs::remove_dir_all(&dir);
    std::fs::create_dir_all(&dir).unwrap();
    println!("{mib} MiB, to a SeaweedFS server in a process of its own and back\n");
    println!("| who, and what | MB/s | CPU s/GB | peak RSS MiB so far |");
    println!("|---|---|---|---|");
    for objects in [1, 4] {
        ours(objects, mib).await;
    }
    if let Some(program) = text("AWS") {
        theirs(&PathBuf::from(program), &dir, mib).await;
    }
    let _ = std::fs::remove_dir_all(&dir);
}
