//! Copies in another storage: made after each backup and on demand, cut off, pruned, and restored from.

use std::path::{Path, PathBuf};

use holdfast::sample::mixed;
use serde_json::{Value, json};

use crate::node::{SOURCE, TARGET};
use crate::service::{Bench, PATIENCE, ROUTINE, copy_folder, point};

/// A bench whose routine is copied to the storage `copy`.
async fn bench(copy: Value, change: impl FnOnce(&mut Value)) -> Bench {
    let bench = Bench::with(|config| {
        config["storage"]["copy"] = json!({"local-storage": {"path": "/nowhere"}});
        config["backup-routines"][ROUTINE]["copies"] = json!([copy]);
        let disk = config["storage"]["disk"]["local-storage"]["path"].as_str().unwrap().to_owned();
        let path = Path::new(&disk).parent().unwrap().join("copies");
        config["storage"]["copy"]["local-storage"]["path"] = json!(path);
        change(config);
    })
    .await;
    bench.write(&(0..500).map(|key| mixed("set", key, 1)).collect::<Vec<_>>()).await;
    bench
}

fn copies(bench: &Bench) -> PathBuf {
    bench.dir.path().join("copies")
}

fn file_of_copy(bench: &Bench, key: &str, name: &str) -> PathBuf {
    copies(bench).join(key).join(name)
}

/// The newest copy job with this status.
async fn copy_in(bench: &Bench, status: &str, after: i64) -> Value {
    job_in(bench, "copy", status, after).await
}

/// The newest job of a kind with this status.
async fn job_in(bench: &Bench, kind: &str, status: &str, after: i64) -> Value {
    let waited = tokio::time::timeout(PATIENCE, async {
        loop {
            let page = bench.get(&format!("/v1/jobs?kind={kind}&status={status}")).await;
            if let Some(id) = page["jobs"][0]["id"].as_i64().filter(|id| *id > after) {
                return bench.job(id).await;
            }
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    });
    waited.await.unwrap_or_else(|_| panic!("no {kind} is {status}"))
}

fn id(job: &Value) -> i64 {
    job["id"].as_i64().unwrap()
}

/// A backup, and its copy.
async fn back_up(bench: &Bench, backup_type: &str) -> (Value, Value) {
    let backup = bench.back_up(backup_type).await;
    let copy = copy_in(bench, "succeeded", id(&backup)).await;
    (backup, copy)
}

async fn order(bench: &Bench, body: Value) -> i64 {
    let mut all = json!({"routine": ROUTINE, "storage": "copy"});
    for (key, value) in body.as_object().unwrap() {
        all[key] = value.clone();
    }
    let (status, text) = bench.post("/v1/backups/copy", &all).await;
    assert_eq!((status, text.as_str()), (202, ""), "{all}");
    id(&bench.get("/v1/jobs?kind=copy&limit=1").await["jobs"][0])
}

#[tokio::test(flavor = "multi_thread")]
async fn each_backup_is_copied_and_a_restore_takes_the_copy_when_the_source_is_gone() {
    let mut bench = bench(json!({"storage": "copy"}), |_| {}).await;
    let (first, copy) = back_up(&bench, "full").await;
    assert_eq!(copy["counters"]["copied-backups"], 1, "{copy:#}");
    assert_eq!((&copy["trigger"], &copy["storage"]), (&json!("after-backup"), &json!("copy")));
    let early = (point(&first), bench.node.snapshot(SOURCE).await);
    bench.write(&(0..50).map(|key| mixed("set", key, 2)).collect::<Vec<_>>()).await;
    let (second, copy) = back_up(&bench, "incremental").await;
    assert_eq!(copy["counters"]["already-there"], 1, "{copy:#}");
    let late = (point(&second), bench.node.snapshot(SOURCE).await);
    for key in [bench.newest_key("full").await, bench.newest_key("incremental").await] {
        for name in bench.files(&key) {
            let copied = std::fs::read(file_of_copy(&bench, &key, &name)).unwrap();
            assert_eq!(copied, std::fs::read(bench.path(&key).join(&name)).unwrap(), "{key}/{name}");
        }
    }

    // Both are there: the routine's own is read.
    let restored = bench.restore_to(late.0, json!({})).await.ok();
    assert_eq!(restored.job["result"]["storage"], "disk");
    let restored = bench.restore_to(late.0, json!({"copy": "copy"})).await.ok();
    assert_eq!(
        (&restored.job["result"]["storage"], restored.warnings().contains("copy-used")),
        (&json!("copy"), false)
    );
    let refused = bench
        .post("/v1/restore/timestamp", &json!({"routine": ROUTINE, "time": late.0, "copy": "disc"}))
        .await;
    assert_eq!(refused.0, 400, "{}", refused.1);

    // One file of the incremental is gone, then the whole storage is.
    let broken = bench.data_files(&bench.newest_key("incremental").await)[0].clone();
    std::fs::remove_file(&broken).unwrap();
    for _ in 0..2 {
        for (at, expected) in [&early, &late] {
            bench.node.empty(TARGET).await;
            let restored = bench.restore_to(*at, json!({})).await.ok();
            assert_eq!(bench.differences(expected).await, Vec::<String>::new());
            let needs_copy = *at == late.0 || !bench.path("").exists();
            let storage = if needs_copy { "copy" } else { "disk" };
            assert_eq!(restored.job["result"]["storage"], storage, "{restored:?}");
            assert_eq!(restored.warnings().contains("copy-used"), needs_copy, "{}", restored.warnings());
        }
        let gone = bench.dir.path().join("gone");
        if bench.path("").exists() {
            std::fs::rename(bench.path(""), gone).unwrap();
        }
    }
    let refused = bench.restore_to(late.0, json!({"copy": "disk"})).await;
    refused.refused("storage-unavailable");
    let points = bench.get(&format!("/v1/backups/restore-points/{ROUTINE}")).await;
    let windows = points["namespaces"][0]["windows"].as_array().unwrap();
    let of = |at: usize| (&windows[at]["storage"], windows[at]["chain"].as_array().unwrap().len());
    assert_eq!((windows.len(), of(0), of(1)), (2, (&json!("copy"), 2), (&json!("copy"), 1)), "{points:#}");
    bench.stop_service().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_copy_on_demand_brings_one_backup_or_its_whole_chain_and_nothing_twice() {
    let bench = bench(json!({"storage": "copy", "on": "full"}), |config| {
        config["backup-routines"][ROUTINE]["copies"] = json!([]);
    })
    .await;
    let full = bench.back_up("full").await;
    for version in 2..4 {
        bench.write(&(0..50).map(|key| mixed("set", key, version)).collect::<Vec<_>>()).await;
        bench.back_up("incremental").await;
    }
    let created = crate::service::millis(&full, "created");
    let job = bench.wait_job(order(&bench, json!({"timestamp": created})).await).await;
    assert_eq!(
        (&job["status"], &job["counters"]["copied-backups"]),
        (&json!("succeeded"), &json!(1)),
        "{job:#}"
    );
    let job = bench
        .wait_job(order(&bench, json!({"timestamp": created, "type": "full", "chain": true})).await)
        .await;
    assert_eq!(
        (&job["counters"]["copied-backups"], &job["counters"]["already-there"]),
        (&json!(2), &json!(1))
    );
    let job = bench.wait_job(order(&bench, json!({})).await).await;
    assert_eq!(job["counters"]["copied-bytes"], 0, "{job:#}");
    let job = bench.wait_job(order(&bench, json!({"timestamp": created, "type": "incremental"})).await).await;
    assert_eq!(job["error"]["code"], "backup-not-found");
    for (body, status) in [
        (json!({"routine": ROUTINE, "storage": "disk"}), 400),
        (json!({"routine": ROUTINE, "storage": "elsewhere"}), 404),
        (json!({"routine": "nobody", "storage": "copy"}), 404),
        (json!({"routine": ROUTINE}), 400),
        (json!({"routine": ROUTINE, "storage": "copy", "chain": true}), 400),
        (json!({"routine": ROUTINE, "storage": "copy", "chian": true}), 400),
    ] {
        let (answered, text) = bench.post("/v1/backups/copy", &body).await;
        assert_eq!(answered, status, "{body}: {text}");
    }
    let metrics = bench.text("/metrics").await;
    for line in [
        "copy_events_total{outcome=\"success\",routine=\"daily\"} 3",
        "copied_backups_total{routine=\"daily\"} 3",
    ] {
        assert!(metrics.contains(line), "{line} is not in {metrics}");
    }
}

/// rules.md 3.11: nothing of a damaged original is published; a retry by request after it was put back succeeds.
#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_source_is_not_published_and_a_retry_finishes() {
    let bench = bench(json!({"storage": "copy"}), |config| {
        config["backup-routines"][ROUTINE]["copies"] = json!([]);
    })
    .await;
    bench.back_up("full").await;
    let key = bench.newest_key("full").await;
    let file = bench.data_files(&key)[0].clone();
    let good = std::fs::read(&file).unwrap();
    let mut bad = good.clone();
    let middle = bad.len() / 2;
    bad[middle] ^= 1;
    std::fs::write(&file, &bad).unwrap();
    let job = bench.wait_job(order(&bench, json!({})).await).await;
    assert_eq!(
        (&job["status"], &job["error"]["code"]),
        (&json!("failed"), &json!("backup-damaged")),
        "{job:#}"
    );
    assert!(!copies(&bench).join(&key).exists());
    std::fs::write(&file, &good).unwrap();
    let again = bench.trigger_path(&format!("/v1/jobs/{}/retry", id(&job))).await;
    let again = bench.wait_job(again).await;
    assert_eq!((&again["status"], &again["retry-of"]), (&json!("succeeded"), &job["id"]), "{again:#}");
    assert!(file_of_copy(&bench, &key, "metadata.yaml").exists());
}

/// A target that cannot be used: the copy waits for its next attempt, and its source stays although retention would remove
/// it (rules.md 5.4).
#[tokio::test(flavor = "multi_thread")]
async fn what_waits_to_be_copied_is_kept_and_a_cancel_lets_it_go() {
    let mut bench = bench(json!({"storage": "copy"}), |config| {
        config["backup-policies"]["quick"]["retention"] = json!({"full": 1});
    })
    .await;
    let moved = bench.dir.path().join("moved");
    std::fs::rename(copies(&bench), &moved).unwrap();
    bench.back_up("full").await;
    let first = bench.newest_key("full").await;
    let waiting = copy_in(&bench, "scheduled", 0).await;
    assert_eq!(waiting["trigger"], "retry", "{waiting:#}");
    let failed = copy_in(&bench, "failed", 0).await;
    assert_eq!(
        (&failed["error"]["code"], &waiting["retry-of"]),
        (&json!("storage-unavailable"), &failed["id"])
    );
    let second = bench.back_up("full").await;
    let retention = job_in(&bench, "retention", "succeeded", id(&second)).await;
    let pinned = retention["warnings"].to_string().contains("pinned");
    assert!(pinned && bench.path(&first).join("metadata.yaml").exists(), "{retention:#}");

    // A restart does not lose it; the storage is back, and both are copied when somebody asks.
    bench.stop_service().await;
    std::fs::rename(&moved, copies(&bench)).unwrap();
    bench.start_service().await;
    assert_eq!(copy_in(&bench, "scheduled", 0).await["status"], "scheduled");
    let job = bench.wait_job(order(&bench, json!({})).await).await;
    assert_eq!(
        (&job["status"], &job["counters"]["copied-backups"]),
        (&json!("succeeded"), &json!(2)),
        "{job:#}"
    );
    for job in bench.get("/v1/jobs?kind=copy&status=scheduled").await["jobs"].as_array().unwrap() {
        bench.post(&format!("/v1/jobs/{}/cancel", id(job)), &Value::Null).await;
    }
    let retention = bench.wait_job(bench.trigger_path(&format!("/v1/retention/{ROUTINE}")).await).await;
    assert_eq!(retention["status"], "succeeded", "{retention:#}");
    assert!(!bench.path(&first).exists() && copies(&bench).join(&first).exists());
}

/// The copy has a retention of its own; the last full stays (rules.md 5.1).
#[tokio::test(flavor = "multi_thread")]
async fn a_copy_is_pruned_by_its_own_retention() {
    let bench = bench(json!({"storage": "copy", "on": "full", "retention": {"full": 1}}), |_| {}).await;
    back_up(&bench, "full").await;
    let first = bench.newest_key("full").await;
    bench.write(&(0..50).map(|key| mixed("set", key, 2)).collect::<Vec<_>>()).await;
    bench.back_up("incremental").await;
    back_up(&bench, "full").await;
    let second = bench.newest_key("full").await;
    let pruned = async {
        while copies(&bench).join(&first).exists() {
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(PATIENCE, pruned).await.expect("the copy is not pruned");
    assert!(file_of_copy(&bench, &second, "metadata.yaml").exists());
    assert!(bench.path(&first).exists(), "the policy keeps everything in the routine's own storage");
    assert!(!copies(&bench).join(ROUTINE).join("incremental").exists(), "fulls only");
    let jobs = bench.get("/v1/jobs?kind=retention").await;
    let retention = bench.wait_job(id(&jobs["jobs"][0])).await;
    assert_eq!((&retention["status"], &retention["storage"]), (&json!("succeeded"), &json!("copy")));
}

/// A copy that is canceled leaves nothing; one that a stop ends is followed by another attempt at the next start.
#[tokio::test(flavor = "multi_thread")]
async fn a_copy_that_is_cut_off_leaves_nothing_half_made() {
    let mut bench = bench(json!({"storage": "copy"}), |config| {
        config["backup-routines"][ROUTINE]["copies"] = json!([]);
    })
    .await;
    bench.back_up("full").await;
    let key = bench.newest_key("full").await;
    // Many runs, so that there is time: the same backup under other instants.
    for at in 1..60 {
        foreign(&bench, &key, at);
    }
    let first = order(&bench, json!({})).await;
    bench.wait_until(first, |job| job["status"] == "running" && job["progress"]["bytes"] != 0).await;
    bench.post(&format!("/v1/jobs/{first}/cancel"), &Value::Null).await;
    let job = bench.wait_job(first).await;
    assert!(["canceled", "succeeded"].contains(&job["status"].as_str().unwrap()), "{job:#}");
    listed_are_whole(&bench, &job);

    let second = order(&bench, json!({})).await;
    bench.wait_until(second, |job| job["status"] != "queued").await;
    bench.stop_service().await;
    bench.start_service().await;
    let job = bench.job(second).await;
    assert!(["interrupted", "succeeded"].contains(&job["status"].as_str().unwrap()), "{job:#}");
    listed_are_whole(&bench, &job);
    let job = bench.wait_job(order(&bench, json!({})).await).await;
    assert_eq!(job["status"], "succeeded", "{job:#}");
    assert_eq!(listed_are_whole(&bench, &job), 60);
}

/// The same backup as another program would have written it, so many seconds before: without our manifest. When it
/// had finished, and its key.
fn foreign(bench: &Bench, key: &str, seconds: i64) -> (i64, String) {
    let run = bench.path(key).parent().unwrap().parent().unwrap().to_owned();
    let created = run.file_name().unwrap().to_str().unwrap()[..13].parse::<i64>().unwrap() - seconds * 1000;
    let other = run.parent().unwrap().join(created.to_string());
    copy_folder(&run, &other);
    let folder = other.join("data").join(SOURCE);
    for name in ["manifest.json", "blocks.b3"] {
        std::fs::remove_file(folder.join(name)).unwrap();
    }
    let instant = |ms: i64| chrono::DateTime::from_timestamp_millis(ms).unwrap().to_rfc3339();
    let text = std::fs::read_to_string(folder.join("metadata.yaml")).unwrap();
    let lines = text.lines().map(|line| match line.split(':').next() {
        Some("created") => format!("created: {}\n", instant(created)),
        Some("finished") => format!("finished: {}\n", instant(created + 500)),
        _ => format!("{line}\n"),
    });
    std::fs::write(folder.join("metadata.yaml"), lines.collect::<Vec<_>>().concat()).unwrap();
    (created + 500, folder.strip_prefix(bench.path("")).unwrap().display().to_string())
}

fn flip(file: &Path) {
    let mut bytes = std::fs::read(file).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(file, bytes).unwrap();
}

/// rules.md 4.2: damage that shows only while files are read is read from another storage, block by block, whether something
/// was written already or not.
#[tokio::test(flavor = "multi_thread")]
async fn what_turns_out_damaged_while_it_is_read_comes_from_the_copy() {
    let bench = bench(json!({"storage": "copy"}), |_| {}).await;
    back_up(&bench, "full").await;
    bench.write(&(0..50).map(|key| mixed("set", key, 2)).collect::<Vec<_>>()).await;
    let (second, _) = back_up(&bench, "incremental").await;
    let (at, expected) = (point(&second), bench.node.snapshot(SOURCE).await);
    let (full, incremental) = (bench.newest_key("full").await, bench.newest_key("incremental").await);
    // Each storage has a damaged file: none has the whole chain.
    let own = bench.data_files(&full)[0].clone();
    flip(&own);
    let names = |key: &str| {
        bench
            .data_files(key)
            .into_iter()
            .map(|file| copies(&bench).join(file.strip_prefix(bench.path("")).unwrap()))
    };
    let copied = names(&incremental).next().unwrap();
    flip(&copied);
    for (empty, request) in [
        (true, json!({})),
        (true, json!({"verify-first": "always"})),
        (false, json!({"policy": {"no-generation": true}})),
        (true, json!({"disable-reordering": true})),
        (true, json!({"copy": "copy", "validate": true})),
    ] {
        if empty {
            bench.node.empty(TARGET).await;
        }
        let restored = bench.restore_to(at, request.clone()).await;
        if request.get("copy").is_some() {
            // Whoever names one gets that one, or nothing.
            assert!(restored.refused("file-damaged").contains("block 0"), "{restored:?}");
            continue;
        }
        let restored = restored.ok();
        assert_eq!(bench.differences(&expected).await, Vec::<String>::new(), "{request}");
        assert_eq!(restored.job["result"]["storage"], "disk");
        let warnings = restored.warnings();
        let name = own.file_name().unwrap().to_str().unwrap();
        for word in ["copy-used", "storage disk: ", name, "block 0", "read from storage copy"] {
            assert!(warnings.contains(word), "{request}: {word} is not in {warnings}");
        }
        assert_eq!(restored.records("read"), 550, "{request}: nothing is read twice");
    }
    // The same block of the same file in both: nothing has it.
    flip(&names(&full).next().unwrap());
    bench.node.empty(TARGET).await;
    let text = bench.restore_to(at, json!({})).await.refused("file-damaged");
    assert!(text.contains("no copy has it (storage copy: ") && text.contains("block 0"), "{text}");
}

/// Copies are verified with the routine's own backups, and told apart wherever outcomes are told.
#[tokio::test(flavor = "multi_thread")]
async fn a_verification_reads_the_copies_too_and_tells_them_apart() {
    let bench = bench(json!({"storage": "copy"}), |_| {}).await;
    back_up(&bench, "full").await;
    let key = bench.newest_key("full").await;
    let verify = async |query: &str| {
        let path = format!("/v1/backups/verify/{ROUTINE}{query}");
        bench.wait_job(bench.trigger_path(&path).await).await
    };
    let job = verify("").await;
    assert_eq!((&job["status"], &job["counters"]["verified"]), (&json!("succeeded"), &json!(2)), "{job:#}");
    // The manifest of a copy is the original's, which this store knows.
    let manifest = file_of_copy(&bench, &key, "manifest.json");
    let good = std::fs::read_to_string(&manifest).unwrap();
    std::fs::write(&manifest, good.replacen('{', "{ ", 1)).unwrap();
    let job = verify("?storage=copy").await;
    assert!(job["error"]["message"].as_str().unwrap().contains("not the one that was written"), "{job:#}");
    std::fs::write(&manifest, good).unwrap();

    flip(&file_of_copy(&bench, &key, bench.data_files(&key)[0].file_name().unwrap().to_str().unwrap()));
    let job = verify("").await;
    assert_eq!(job["error"]["code"], "backup-damaged", "{job:#}");
    assert!(job["error"]["message"].as_str().unwrap().contains("storage copy: backup "), "{job:#}");
    let outcomes: Vec<_> = job["result"]["backups"].as_array().unwrap().iter().collect();
    let of = |place: usize| (&outcomes[place]["storage"], &outcomes[place]["outcome"]);
    assert_eq!(of(0), (&json!("disk"), &json!("verified")));
    assert_eq!(of(1), (&json!("copy"), &json!("damaged")));
    let listed = bench.list("full", ROUTINE).await;
    let timestamp = &listed[0]["timestamp"];
    let one = bench.get(&format!("/v1/backups/full/{ROUTINE}/{timestamp}")).await;
    for shown in [&listed[0], &one["namespaces"][0]] {
        assert_eq!(shown["verification"]["outcome"], "verified", "{shown:#}");
        let copies = shown["copies"].as_array().unwrap();
        assert_eq!((copies.len(), &copies[0]["storage"]), (1, &json!("copy")), "{shown:#}");
        assert_eq!(copies[0]["verification"]["outcome"], "damaged", "{shown:#}");
    }
    let metrics = bench.text("/metrics").await;
    for (storage, damaged) in [("disk", 0), ("copy", 1)] {
        let line = format!("verify_damaged_backups{{routine=\"daily\",storage=\"{storage}\"}} {damaged}");
        assert!(metrics.contains(&line), "{line} is not in {metrics}");
    }
    let points = bench.get(&format!("/v1/backups/restore-points/{ROUTINE}")).await;
    assert_eq!(points["namespaces"][0]["windows"][0]["storages"][1]["damaged"], json!([key]), "{points:#}");
    assert_eq!(verify("?storage=disk").await["status"], "succeeded");
    // Sizes do not show it: the next copy goes by what the verification found.
    let job = bench.wait_job(order(&bench, json!({})).await).await;
    assert_eq!(job["counters"]["copied-backups"], 1, "{job:#}");
    assert!(crate::service::warnings(&job).contains("copy-mended"), "{job:#}");
    assert_eq!(verify("").await["counters"]["verified"], 2);
    assert_eq!(bench.wait_job(order(&bench, json!({})).await).await["counters"]["already-there"], 1);
}

/// Without hashes a backup is good or bad as a whole: before the first write the next copy is taken, after it named.
#[tokio::test(flavor = "multi_thread")]
async fn a_backup_without_hashes_is_read_from_the_copy_before_the_first_write_or_the_copy_is_named() {
    let bench = bench(json!({"storage": "copy"}), |_| {}).await;
    back_up(&bench, "full").await;
    let expected = bench.node.snapshot(SOURCE).await;
    let (at, key) = foreign(&bench, &bench.newest_key("full").await, 100);
    let job = bench.wait_job(order(&bench, json!({})).await).await;
    assert_eq!(job["counters"]["copied-backups"], 1, "{job:#}");
    // What is read of it breaks off, and its size is right.
    let own = bench.data_files(&key)[0].clone();
    let mut bytes = std::fs::read(&own).unwrap();
    let half = bytes.len() / 2;
    bytes[half..].fill(b'#');
    std::fs::write(&own, bytes).unwrap();

    bench.node.empty(TARGET).await;
    let failed = bench.restore_to(at, json!({})).await;
    failed.refused("file-damaged");
    let error = failed.job["error"].to_string();
    assert!(error.contains(r#"\"copy\": \"copy\""#), "{error}");
    let restored = bench.restore_to(at, json!({"copy": "copy"})).await.ok();
    assert_eq!(restored.job["result"]["storage"], "copy");
    // Something is there now, so all is verified first.
    for request in [json!({}), json!({"verify-first": "always"})] {
        let restored = bench.restore_to(at, request).await.ok();
        assert_eq!(bench.differences(&expected).await, Vec::<String>::new());
        let warnings = restored.warnings();
        for word in ["copy-used", "storage disk: ", own.file_name().unwrap().to_str().unwrap()] {
            assert!(warnings.contains(word), "{word} is not in {warnings}");
        }
        bench.node.empty(TARGET).await;
    }
    // Another backup under the same key is none of it.
    let metadata = file_of_copy(&bench, &key, "metadata.yaml");
    let text = std::fs::read_to_string(&metadata).unwrap();
    std::fs::write(&metadata, format!("{text}\n")).unwrap();
    let text = bench.restore_to(at, json!({"verify-first": "always"})).await.refused("file-damaged");
    assert!(text.contains("is not the same one there"), "{text}");
}

/// Every folder of the copy has its `metadata.yaml` and all its files; how many there are.
#[track_caller]
fn listed_are_whole(bench: &Bench, job: &Value) -> usize {
    let mut count = 0;
    let runs = copies(bench).join(ROUTINE).join("backup");
    for run in std::fs::read_dir(runs).into_iter().flatten() {
        let folder = run.unwrap().path().join("data").join(SOURCE);
        if !folder.exists() {
            continue;
        }
        count += 1;
        let original = bench.path("").join(folder.strip_prefix(copies(bench)).unwrap());
        for file in std::fs::read_dir(&original).unwrap() {
            let name = file.unwrap().file_name();
            let (copied, source) = (std::fs::read(folder.join(&name)), std::fs::read(original.join(&name)));
            assert_eq!(copied.ok(), source.ok(), "{} {job:#}", folder.join(&name).display());
        }
    }
    count
}
