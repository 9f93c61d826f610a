//! Restore by path: one backup of ours, of ABS, of asbackup (rules.md 4.10).

use holdfast::clock::{Clock, SystemClock};
use holdfast::model::chain::FOREIGN_MARGIN_MS;
use holdfast::sample::mixed;
use serde_json::json;

use crate::node::{SOURCE, TARGET};
use crate::service::{Bench, ROUTINE, copy_folder, point};

/// The fixture of the C tools (asb.md 1.12.1), 168 bytes; its record expired in July 2023.
const ASBACKUP: &str = "Version 3.1\n# namespace test\n# first-file\n+ k S 4 key1\n+ n test\n\
    + d 7JEZLUt/jONdXXjTS8ply6qqyWA=\n+ s demo\n+ g 1\n+ t 428179113\n+ b 3\n- I foo 123\n- S bar 3 abc\n- Z baz T\n";

async fn with_a_full() -> (Bench, String) {
    let bench = Bench::start().await;
    bench.write(&(0..500).map(|key| mixed("customers", key, 1)).collect::<Vec<_>>()).await;
    bench.back_up("full").await;
    let key = bench.newest_key("full").await;
    (bench, key)
}

#[tokio::test(flavor = "multi_thread")]
async fn one_full_comes_back_by_its_key_and_by_the_folder_of_its_run() {
    let (bench, key) = with_a_full().await;
    let expected = bench.node.snapshot(SOURCE).await;
    let run = key.strip_suffix(&format!("/data/{SOURCE}")).unwrap();
    for path in [key.as_str(), run] {
        bench.node.empty(TARGET).await;
        let restored = bench.restore_of(path, json!({})).await.ok();
        assert_eq!(restored.records("inserted"), 500);
        assert_eq!(bench.differences(&expected).await, Vec::<String>::new());
    }
}

/// A backup of ABS has no manifest: it is listed, restored by path and by time, and its counts are checked
/// (rules.md 4.2).
#[tokio::test(flavor = "multi_thread")]
async fn a_backup_of_abs_comes_back_and_its_counts_must_match() {
    let (bench, key) = with_a_full().await;
    let expected = bench.node.snapshot(SOURCE).await;
    let foreign = key.replace(ROUTINE, "abs");
    copy_folder(&bench.path(&key), &bench.path(&foreign));
    for ours in ["manifest.json", "blocks.b3"] {
        std::fs::remove_file(bench.path(&foreign).join(ours)).unwrap();
    }
    let by_time = json!({"routine": "abs", "source-name": "disk", "destination-name": "node"});
    let at = SystemClock.now().0;
    for by_path in [true, false] {
        bench.node.empty(TARGET).await;
        let restored = if by_path {
            bench.restore_of(&foreign, json!({})).await.ok()
        } else {
            bench.restore_to(at, by_time.clone()).await.ok()
        };
        assert_eq!(restored.records("inserted"), 500);
        assert_eq!(bench.differences(&expected).await, Vec::<String>::new());
    }
    // A file less is noticed before anything is written.
    bench.node.empty(TARGET).await;
    std::fs::remove_file(&bench.data_files(&foreign)[0]).unwrap();
    bench.restore_of(&foreign, json!({})).await.refused("backup-damaged");
    let error = bench.restore_to(at, by_time).await.refused("backup-damaged");
    assert!(error.contains(&foreign), "{error}");
    assert!(bench.node.snapshot(TARGET).await.0.is_empty());
}

/// An incremental of ours builds on a full of ABS, with a warning that its scope is not known (rules.md 3.6).
#[tokio::test(flavor = "multi_thread")]
async fn an_incremental_builds_on_a_full_of_abs() {
    let bench = Bench::start().await;
    // What was truncated in the ten seconds before a full of ABS counts as truncated after it (rules.md 3.2, 3.7).
    tokio::time::sleep(std::time::Duration::from_millis(FOREIGN_MARGIN_MS as u64 + 1000)).await;
    bench.write(&(0..500).map(|key| mixed("customers", key, 1)).collect::<Vec<_>>()).await;
    // Taken by another routine, and then made to look like one that ABS left here before we came.
    bench.back_up("full").await;
    let key = bench.newest_key("full").await;
    for ours in ["manifest.json", "blocks.b3"] {
        std::fs::remove_file(bench.path(&key).join(ours)).unwrap();
    }
    let foreign = key.replace(ROUTINE, "taken-over");
    copy_folder(&bench.path(&key), &bench.path(&foreign));
    let mut config = bench.config.clone();
    config["backup-routines"]["taken-over"] = config["backup-routines"][ROUTINE].clone();
    let mut bench = bench;
    bench.stop_service().await;
    bench.config = config;
    bench.start_service().await;
    bench.write(&[mixed("customers", 1, 2), mixed("customers", 1000, 2)]).await;
    let job = bench.run("incremental", "taken-over").await;
    assert_eq!(job["status"], "succeeded", "{job:#}");
    assert!(crate::service::warnings(&job).contains("has no manifest"), "{job:#}");
    assert_eq!(job["attempts"][SOURCE][0]["promoted"], json!(null));
    // What changed in the ten seconds before the full is in it again: harmless (rules.md 3.2).
    assert_eq!(bench.list("incremental", "taken-over").await.len(), 1);
    let expected = bench.node.snapshot(SOURCE).await;
    bench.restore_to(point(&job), json!({"routine": "taken-over"})).await.ok();
    assert_eq!(bench.differences(&expected).await, Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_directory_of_asbackup_comes_back_under_another_namespace_with_a_warning() {
    let bench = Bench::start().await;
    let folder = bench.path("from-asbackup");
    std::fs::create_dir(&folder).unwrap();
    assert_eq!(ASBACKUP.len(), 168);
    std::fs::write(folder.join("test_00000.asb"), ASBACKUP).unwrap();
    let remap = |extra_ttl: i64| json!({"policy": {"namespace": {"source": "test", "destination": TARGET}, "extra-ttl": extra_ttl}});
    let restored = bench.restore_of("from-asbackup", remap(0)).await.ok();
    assert_eq!((restored.records("expired"), restored.records("inserted")), (1, 0));
    assert!(restored.warnings().contains("whether it is complete is unknown"), "{restored:#?}");
    // A day to live from now.
    let extra_ttl = SystemClock.now().0 / 1000 - 1_690_483_113 + 86_400;
    let restored = bench.restore_of("from-asbackup", remap(extra_ttl)).await.ok();
    assert_eq!(restored.records("inserted"), 1);
    let target = bench.node.snapshot(TARGET).await;
    let (digest, record) = target.0.first_key_value().unwrap();
    assert_eq!(*digest, holdfast::sandbox::digest_of(b"demo", 3, b"key1"));
    assert_eq!((record.set.as_slice(), record.key.as_ref()), (&b"demo"[..], Some(&(3, b"key1".to_vec()))));
    let bins: Vec<_> = record.bins.iter().map(|(name, value)| (name.as_slice(), value.clone())).collect();
    let expected = [
        (&b"bar"[..], (3, b"abc".to_vec())),
        (&b"baz"[..], (17, vec![1])),
        (&b"foo"[..], (1, 123_i64.to_be_bytes().to_vec())),
    ];
    assert_eq!(bins, expected);
    // Without a remap the namespace is the file's own, which this cluster does not have (abs.md 4.7).
    let request =
        json!({"backup-data-path": "from-asbackup", "source-name": "disk", "destination-name": "node"});
    let id = bench.trigger_restore("full", &request).await;
    let error = bench.restored(id).await.refused("namespace-missing");
    assert!(error.contains("test"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_folder_without_metadata_is_restored_only_if_incomplete_is_allowed() {
    let (bench, key) = with_a_full().await;
    for marker in ["metadata.yaml", "manifest.json", "blocks.b3"] {
        std::fs::remove_file(bench.path(&key).join(marker)).unwrap();
    }
    let listed = bench.get(&format!("/v1/backups/full/{ROUTINE}?refresh=true")).await;
    assert_eq!(listed, json!([]));
    let error = bench.restore_of(&key, json!({})).await.refused("backup-incomplete");
    assert!(error.contains("allow-incomplete"), "{error}");
    assert!(bench.node.snapshot(TARGET).await.0.is_empty());
    let restored = bench.restore_of(&key, json!({"allow-incomplete": true})).await.ok();
    assert_eq!(restored.records("inserted"), 500);
    assert!(restored.warnings().contains("not finished"), "{restored:#?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_path_with_nothing_names_the_nearest_that_exist() {
    let (bench, key) = with_a_full().await;
    // As the founding examples have it: without /data/.
    let error = bench.restore_of(&key.replace("/data/", "/"), json!({})).await.refused("backup-path-empty");
    assert!(error.contains(&key), "{error}");
    let error = bench.restore_of("dailly/backup", json!({})).await.refused("backup-path-empty");
    assert!(error.contains("daily"), "{error}");
}
