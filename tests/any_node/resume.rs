//! A backup that was cut off goes on from its finished files (rules.md 6.3). What is cut off here is stopped in order, or
//! fails; `tests/crash` kills it.

use std::time::Duration;

use holdfast::sample::SampleRecord;
use holdfast::sandbox::{Fault, Harm, Moment};
use serde_json::{Value, json};

use crate::node::{Node, SOURCE};
use crate::service::{Bench, ROUTINE, is_asb, point, warnings};

/// Records of 64 KiB: each file of 1 MiB holds a dozen of them.
const RECORDS: i64 = 240;

/// After so many records of a scan the node says nothing more.
const STOPS_AFTER: u64 = 120;

/// What the policy asks for.
const SCANS: u64 = 4;

/// A routine that resumes, on a sandbox with records.
async fn bench(change: impl FnOnce(&mut Value)) -> Bench {
    let bench = Bench::on(Node::sandbox().await, |config| {
        let policy = &mut config["backup-policies"]["quick"];
        policy["resume"] = json!(true);
        policy["file-limit"] = json!(1);
        policy["parallel"] = json!(SCANS);
        policy["retry-policy"]["max-retries"] = json!(0);
        change(config);
    })
    .await;
    bench.write(&records(0..RECORDS)).await;
    bench
}

fn records(keys: std::ops::Range<i64>) -> Vec<SampleRecord> {
    // Each differs from the others in all its bytes.
    let payload = |key: i64| vec![key as u8; 64 << 10];
    keys.map(|key| SampleRecord::new("blobs", key).bin("payload", 4, payload(key))).collect()
}

/// What the node says of the scans of the source namespace.
async fn scans(bench: &Bench) -> Vec<String> {
    let node = &bench.node.cluster.nodes().await[0];
    let answer = bench.node.cluster.info(node, &["query-show"]).await.unwrap();
    let text = String::from_utf8(answer["query-show"].clone()).unwrap();
    let of_source = text.split(';').filter(|scan| scan.contains(&format!(":ns={SOURCE}:")));
    of_source.map(str::to_owned).collect()
}

/// How many records it has put on the wire for them.
async fn sent(bench: &Bench) -> u64 {
    let succeeded = |scan: &String| {
        scan.split(':').find_map(|pair| pair.strip_prefix("recs-succeeded=")?.parse::<u64>().ok())
    };
    scans(bench).await.iter().filter_map(succeeded).sum()
}

/// The data files of the routine, by name.
fn data_files(bench: &Bench) -> Vec<String> {
    let files = bench.files(ROUTINE).into_iter().filter(|path| is_asb(path) && !path.contains(".partial-"));
    files
        .map(|path| path.rsplit('/').next().unwrap().to_owned())
        .filter(|name| !name.starts_with("metadata_"))
        .collect()
}

/// Starts a full that comes to a halt after some files, and stops the service: the id of its job.
async fn cut_off(bench: &mut Bench) -> i64 {
    let sandbox = bench.node.sandbox.as_ref().unwrap();
    // Longer than the test: the node is busy and sends nothing.
    let busy = Fault::new(Moment::Record, Harm::Delay(Duration::from_mins(10))).at(STOPS_AFTER).for_ever();
    let busy = sandbox.plant(busy);
    let id = bench.trigger("full", ROUTINE).await;
    // Each scan has come to a halt, or to its end.
    let ended =
        async || scans(bench).await.iter().filter(|scan| scan.contains(":status=done")).count() as u64;
    while busy.struck() == 0 || busy.struck() + ended().await < SCANS || data_files(bench).len() < 3 {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    bench.stop_service().await;
    bench.node.sandbox.as_ref().unwrap().heal();
    id
}

/// Starts the service again and has the job tried again: how it ended.
async fn go_on(bench: &mut Bench, id: i64) -> Value {
    bench.start_service().await;
    let job = bench.job(id).await;
    assert_eq!((&job["status"], &job["reason-code"]), (&json!("interrupted"), &json!("shutdown")), "{job:#}");
    bench.wait_job(bench.trigger_path(&format!("/v1/jobs/{id}/retry")).await).await
}

fn resumed_records(job: &Value) -> u64 {
    job["result"]["namespaces"][0]["detail"]["resumed-records"].as_u64().unwrap_or(0)
}

/// What the manifest of the only backup says.
fn manifest(bench: &Bench) -> Value {
    let found = bench.files(ROUTINE).into_iter().find(|path| path.ends_with("manifest.json")).unwrap();
    serde_json::from_slice(&std::fs::read(bench.path(ROUTINE).join(found)).unwrap()).unwrap()
}

/// What a restore of the newest backup brings back is what the source has; the backup's own account is whole.
async fn restores_exactly(bench: &Bench, job: &Value) {
    let verified = bench.run("verify", ROUTINE).await;
    assert_eq!(verified["status"], "succeeded", "{verified:#}");
    let source = bench.node.snapshot(SOURCE).await;
    let restored = bench.restore_to(point(job), json!({})).await.ok();
    assert_eq!(restored.records("inserted"), source.0.len() as u64, "{restored:?}");
    assert_eq!(bench.differences(&source).await, Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_that_was_stopped_goes_on_from_its_finished_files() {
    let mut bench = bench(|_| {}).await;
    let id = cut_off(&mut bench).await;
    let kept = data_files(&bench);
    assert!(kept.len() >= 3, "{kept:?}");
    let before = sent(&bench).await;
    let created = {
        let job = go_on(&mut bench, id).await;
        assert_eq!(job["status"], "succeeded", "{job:#}");
        // The open files were closed at the stop: what was sent and written is not sent again.
        let again = sent(&bench).await - before;
        let resumed = resumed_records(&job);
        assert!(resumed >= 36, "{resumed} records in {kept:?}");
        assert_eq!(again + resumed, RECORDS as u64);
        assert_eq!(job["attempts"][SOURCE][0]["record-count"], RECORDS, "{job:#}");
        assert_eq!(
            job["progress"]["done-records"].as_u64().unwrap_or(RECORDS as u64),
            RECORDS as u64,
            "{job:#}"
        );
        // The node remembers the scans that were cut off: nothing is in doubt.
        let manifest = manifest(&bench);
        assert_eq!(manifest["warnings"], json!([]), "{manifest:#}");
        assert_eq!(manifest["attempt"], 1, "the folder of the first try");
        restores_exactly(&bench, &job).await;
        job["created"].clone()
    };
    assert_eq!(created, bench.job(id).await["created"], "it is the same run");
    let files = data_files(&bench);
    assert!(kept.iter().all(|name| files.contains(name)), "{kept:?} {files:?}");
    assert!(files.iter().any(|name| name.contains("(1)")), "{files:?}");
    // What changed since the run began is in the next incremental.
    bench.write(&records(0..5)).await;
    let job = bench.back_up("incremental").await;
    assert!(job["attempts"][SOURCE][0]["record-count"].as_u64().unwrap() >= 5, "{job:#}");
    assert_eq!(bench.list("full", ROUTINE).await.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_try_that_failed_leaves_its_finished_files_to_the_next() {
    let bench = bench(|config| {
        let policy = &mut config["backup-policies"]["quick"];
        policy["retry-policy"]["max-retries"] = json!(1);
        policy["compression"] = json!({"mode": "ZSTD", "level": 1});
        policy["parallel"] = json!(1);
    })
    .await;
    // What does not compress; of the other records a megabyte holds thousands.
    let noise = |key: i64| -> Vec<u8> {
        let hash = |at: i64| blake3::hash(&[key, at].map(i64::to_le_bytes).concat());
        (0..2048).flat_map(|at| *hash(at).as_bytes()).collect()
    };
    bench.node.empty(SOURCE).await;
    let records: Vec<_> =
        (0..RECORDS).map(|key| SampleRecord::new("noise", key).bin("payload", 4, noise(key))).collect();
    bench.write(&records).await;
    let before = sent(&bench).await;
    let sandbox = bench.node.sandbox.as_ref().unwrap();
    // The query is aborted: that ends a scan, and the try.
    sandbox.plant(Fault::new(Moment::Record, Harm::Refuse(15)).at(STOPS_AFTER));
    let job = bench.run("full", ROUTINE).await;
    assert_eq!(job["status"], "succeeded", "{job:#}");
    let tries = job["attempts"][SOURCE].as_array().unwrap();
    assert_eq!((tries.len(), &tries[0]["status"]), (2, &json!("failed")), "{job:#}");
    assert!(resumed_records(&job) > 0, "{job:#}");
    assert_eq!(sent(&bench).await - before - STOPS_AFTER + resumed_records(&job), RECORDS as u64, "{job:#}");
    restores_exactly(&bench, &job).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_finished_file_that_is_damaged_since_is_no_basis() {
    let mut bench = bench(|_| {}).await;
    let id = cut_off(&mut bench).await;
    let file = bench.data_files(ROUTINE)[1].clone();
    let mut bytes = std::fs::read(&file).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(&file, bytes).unwrap();
    let before = sent(&bench).await;
    let job = go_on(&mut bench, id).await;
    assert_eq!(job["status"], "succeeded", "{job:#}");
    assert!(warnings(&job).contains("resume-damaged"), "{job:#}");
    assert_eq!(
        (sent(&bench).await - before, resumed_records(&job)),
        (RECORDS as u64, 0),
        "all is read again"
    );
    restores_exactly(&bench, &job).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_resume_nothing_is_left_of_a_backup_that_was_stopped() {
    let mut bench = bench(|config| config["backup-policies"]["quick"]["resume"] = json!(false)).await;
    let id = cut_off(&mut bench).await;
    assert_eq!(bench.files(ROUTINE), Vec::<String>::new());
    let before = sent(&bench).await;
    let job = go_on(&mut bench, id).await;
    assert_eq!(job["status"], "succeeded", "{job:#}");
    assert_eq!((sent(&bench).await - before, resumed_records(&job)), (RECORDS as u64, 0));
}

/// rules.md 6.1: what nothing will go on with is removed by the next start.
#[tokio::test(flavor = "multi_thread")]
async fn finished_files_are_removed_once_the_policy_asks_for_others() {
    let mut bench = bench(|_| {}).await;
    let id = cut_off(&mut bench).await;
    bench.start_service().await;
    assert!(data_files(&bench).len() >= 3, "a start leaves them alone");
    bench.stop_service().await;
    bench.config["backup-policies"]["quick"]["compact"] = json!(true);
    let before = sent(&bench).await;
    bench.start_service().await;
    assert_eq!(bench.files(ROUTINE), Vec::<String>::new());
    let job = bench.wait_job(bench.trigger_path(&format!("/v1/jobs/{id}/retry")).await).await;
    assert_eq!((&job["status"], resumed_records(&job)), (&json!("succeeded"), 0), "{job:#}");
    assert_eq!(sent(&bench).await - before, RECORDS as u64);
}

/// rules.md 2.5: then another try would be a new run.
#[tokio::test(flavor = "multi_thread")]
async fn finished_files_are_removed_once_a_later_run_has_begun() {
    let mut bench = bench(|_| {}).await;
    let id = cut_off(&mut bench).await;
    bench.start_service().await;
    let later = bench.back_up("full").await;
    assert_eq!(resumed_records(&later), 0);
    let created = bench.job(id).await["created"].clone();
    assert_ne!(created, later["created"]);
    bench.stop_service().await;
    bench.start_service().await;
    assert_eq!(bench.job(id).await["attempts"][SOURCE][0]["status"], "absent");
    let mut folders: Vec<String> =
        bench.files(ROUTINE).iter().map(|path| path.split('/').nth(1).unwrap().to_owned()).collect();
    folders.dedup();
    assert_eq!(folders.len(), 1, "{folders:?}");
}

/// rules.md 2.8: somebody does not want it.
#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_left_of_a_backup_that_was_canceled() {
    let bench = bench(|_| {}).await;
    let sandbox = bench.node.sandbox.as_ref().unwrap();
    let busy = Fault::new(Moment::Record, Harm::Delay(Duration::from_mins(10))).at(STOPS_AFTER).for_ever();
    sandbox.plant(busy);
    let id = bench.trigger("full", ROUTINE).await;
    while data_files(&bench).len() < 3 {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    bench.post(&format!("/v1/jobs/{id}/cancel"), &json!({})).await;
    assert_eq!(bench.wait_job(id).await["status"], "canceled");
    assert_eq!(bench.files(ROUTINE), Vec::<String>::new());
}

/// The same between two tries, of which the first has left finished files.
#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_left_of_a_backup_that_was_canceled_between_two_tries() {
    let bench = bench(|config| {
        let policy = &mut config["backup-policies"]["quick"];
        policy["retry-policy"] = json!({"base-timeout": 600_000, "multiplier": 1, "max-retries": 1});
        // So that not all that was sent waits for a writer.
        policy["parallel"] = json!(1);
    })
    .await;
    let sandbox = bench.node.sandbox.as_ref().unwrap();
    sandbox.plant(Fault::new(Moment::Record, Harm::Refuse(15)).at(STOPS_AFTER));
    let id = bench.trigger("full", ROUTINE).await;
    bench.wait_until(id, |job| job["attempts"][SOURCE][0]["status"] == "failed").await;
    assert!(!data_files(&bench).is_empty(), "the first try has left its files");
    bench.post(&format!("/v1/jobs/{id}/cancel"), &json!({})).await;
    let job = bench.wait_job(id).await;
    assert_eq!(
        (&job["status"], &job["attempts"][SOURCE][0]["status"]),
        (&json!("canceled"), &json!("canceled"))
    );
    assert_eq!(bench.files(ROUTINE), Vec::<String>::new());
}
