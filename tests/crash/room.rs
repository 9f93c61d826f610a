//! A full disk: at the data, at the store, at the log (practices.md C2, 10).
//!
//! On a small tmpfs where mounting is allowed. Elsewhere the calls of local storage and the commits of the store are
//! told on demand that no space is left, and the figure says so.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use serde_json::{Value, json};

use crate::place::{Place, ROUTINE};
use crate::process::{Fault, PATIENCE, Process};
use crate::verdict::{Expect, judge};
use crate::world::{SOURCE, World};

/// A small file system of its own.
struct Tmpfs(PathBuf);

impl Tmpfs {
    /// None where mounting is not allowed.
    fn mount(at: &Path, kib: u32) -> Option<Self> {
        std::fs::create_dir_all(at).unwrap();
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", &format!("size={kib}k"), "tmpfs"])
            .arg(at)
            .stderr(Stdio::null())
            .status();
        mounted.is_ok_and(|status| status.success()).then(|| Self(at.to_owned()))
    }

    fn grow(&self, kib: u32) {
        let options = format!("remount,size={kib}k");
        assert!(Command::new("mount").args(["-o", &options]).arg(&self.0).status().unwrap().success());
    }

    /// Fills what is left, in a file that [`Tmpfs::grow`] is not needed to get rid of.
    fn fill(&self) -> PathBuf {
        let path = self.0.join("filler");
        let _ = std::fs::write(&path, vec![1; 1 << 20]);
        let mut file = std::fs::File::options().append(true).create(true).open(&path).unwrap();
        while std::io::Write::write_all(&mut file, &[1; 512]).is_ok() {}
        path
    }
}

impl Drop for Tmpfs {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

fn full(seams: &'static str) -> Fault {
    Fault { action: "full", nth: 1, always: true, seams, when_armed: true, ..Fault::default() }
}

async fn healthy(service: &mut Process, place: &Place) {
    assert!(service.ended().is_none(), "{}", place.log_tail());
    assert_eq!(service.try_get("/health").await.unwrap().0, 200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_disk_at_the_data_fails_the_job_and_nothing_else() {
    let world = World::start(10).await;
    world.write_large(SOURCE, 200).await;
    let place = Place::new(&world, &[SOURCE]);
    let tmpfs = Tmpfs::mount(&place.storage(), 512);
    let mut service = Process::start(&place, Some(&full("disk"))).await.unwrap();
    if tmpfs.is_none() {
        place.arm();
    }
    let id = service.trigger(&format!("/v1/backups/full/{ROUTINE}"), &Value::Null).await.unwrap().unwrap();
    let job = service.wait_job(id, PATIENCE).await.expect("it ends");
    assert_eq!(
        (&job["status"], &job["error"]["code"]),
        (&json!("failed"), &json!("storage-full")),
        "{job:#}"
    );
    healthy(&mut service, &place).await;
    match &tmpfs {
        Some(tmpfs) => tmpfs.grow(64 * 1024),
        None => place.disarm(),
    }
    service.back_up("full").await;
    let listed = service.listed().await;
    service.stop(&place).await;
    let counts = judge(&place, &listed, Expect::default()).await;
    println!(
        "FIGURE | disk full at the data ({}) | job `failed: storage-full`, service up, next run `succeeded` | {counts} |",
        how(tmpfs.as_ref())
    );
    counts.expect_zero();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_disk_at_the_store_is_named_and_passes() {
    let world = World::start(10).await;
    let place = Place::new(&world, &[SOURCE]);
    let tmpfs = Tmpfs::mount(&place.state(), 2048);
    let fault = full("store");
    let mut service = Process::start(&place, Some(&fault)).await.unwrap();
    service.back_up("full").await;
    let filler = tmpfs.as_ref().map(Tmpfs::fill);
    place.arm_if(tmpfs.is_none());
    let path = format!("/v1/backups/full/{ROUTINE}");
    let mut refused = String::new();
    // The write-ahead log may have room for a few rows yet.
    for _ in 0..50 {
        if let Err(answer) = service.trigger(&path, &Value::Null).await.unwrap() {
            refused = answer;
            break;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert!(
        refused.contains("no space is left for the job store") || refused.contains("store-full"),
        "{refused}"
    );
    healthy(&mut service, &place).await;
    if let Some(filler) = filler {
        std::fs::remove_file(filler).unwrap();
    }
    place.disarm();
    // A job that was under way can write its end now.
    while !service.open_jobs().await.unwrap().0.is_empty() {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    service.back_up("full").await;
    let listed = service.listed().await;
    service.stop(&place).await;
    let counts = judge(&place, &listed, Expect::default()).await;
    println!(
        "FIGURE | disk full at the store ({}) | trigger refused with the reason, service up, next run `succeeded` | {counts} |",
        how(tmpfs.as_ref())
    );
    counts.expect_zero();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_disk_at_the_store_while_a_job_runs_loses_no_end() {
    let world = World::start(10).await;
    world.write_large(SOURCE, 50).await;
    let place = Place::new(&world, &[SOURCE]);
    let tmpfs = Tmpfs::mount(&place.state(), 2048);
    // The second file waits, so that the store is full before the job can write its end.
    let slow = Fault {
        action: "slow",
        nth: 1,
        always: true,
        seams: "effects",
        place: "manifest.json",
        ms: 1500,
        ..Fault::default()
    };
    let fault = if tmpfs.is_some() { slow } else { full("store") };
    let mut service = Process::start(&place, Some(&fault)).await.unwrap();
    let id = service.trigger(&format!("/v1/backups/full/{ROUTINE}"), &Value::Null).await.unwrap().unwrap();
    if tmpfs.is_some() {
        while !place.calls().iter().any(|call| call.contains("manifest.json")) {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
    let filler = tmpfs.as_ref().map(Tmpfs::fill);
    place.arm_if(tmpfs.is_none());
    tokio::time::sleep(Duration::from_secs(3)).await;
    healthy(&mut service, &place).await;
    if let Some(filler) = filler {
        std::fs::remove_file(filler).unwrap();
    }
    place.disarm();
    let job = service.wait_job(id, PATIENCE).await.expect("it ends");
    let end = format!("{} {}", job["status"], job["error"]["code"]);
    assert!(end.contains("succeeded") || end.contains("store-full"), "{job:#}");
    service.back_up("full").await;
    let listed = service.listed().await;
    service.stop(&place).await;
    let counts = judge(&place, &listed, Expect::default()).await;
    println!(
        "FIGURE | disk full at the store while a job runs ({}) | the job ended {end} once there was room, next run `succeeded` | {counts} |",
        how(tmpfs.as_ref())
    );
    counts.expect_zero();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_log_that_cannot_be_written_stops_nothing() {
    let world = World::start(10).await;
    let mut place = Place::new(&world, &[SOURCE]);
    // The log cannot say where it serves: a port that was free a moment ago.
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    place.config["service"]["http"]["port"] = json!(port);
    place.write_config();
    let full = || Stdio::from(std::fs::File::options().write(true).open("/dev/full").unwrap());
    let address = format!("127.0.0.1:{port}");
    let mut service = Process::start_with(&place, None, full(), full(), |_| {
        std::net::TcpStream::connect(&address).is_ok().then(|| address.clone())
    })
    .await
    .unwrap();
    service.back_up("full").await;
    service.back_up("full").await;
    healthy(&mut service, &place).await;
    let listed = service.listed().await;
    service.stop(&place).await;
    let counts = judge(&place, &listed, Expect::default()).await;
    println!("FIGURE | disk full at the log (/dev/full) | jobs `succeeded`, service up | {counts} |");
    counts.expect_zero();
}

fn how(tmpfs: Option<&Tmpfs>) -> &'static str {
    if tmpfs.is_some() { "tmpfs" } else { "no space left on demand, mounting is not allowed" }
}
