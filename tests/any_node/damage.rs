//! A damaged backup is named and never restored as if it were whole (rules.md 3.11, 4.2).

use std::path::PathBuf;

use holdfast::sample::{SampleRecord, mixed};
use serde_json::{Value, json};

use crate::node::{SOURCE, TARGET};
use crate::service::{Bench, ROUTINE, point, warnings};

/// Records of which every version has the same size in a file.
fn version(version: i64) -> Vec<SampleRecord> {
    (0..2000)
        .map(|key| SampleRecord::new("customers", key).bin("version", 1, version.to_be_bytes()))
        .collect()
}

/// One writer, so that each full has its records in the same one file.
fn one_writer(config: &mut Value) {
    config["backup-policies"]["quick"]["parallel-write"] = json!(1);
}

/// A full, damaged by `damage`, which is given its data files: by time and by path, into an empty destination and into
/// one that is not, the restore fails and its error holds all of `says`.
async fn is_refused(damage: impl FnOnce(&Bench, &[PathBuf]), says: &[&str]) {
    let bench = Bench::with(one_writer).await;
    bench.write(&version(1)).await;
    bench.back_up("full").await;
    bench.write(&version(2)).await;
    let at = point(&bench.back_up("full").await);
    let fulls = bench.list("full", ROUTINE).await;
    let [older, newest] = [&fulls[0]["key"], &fulls[1]["key"]].map(|key| key.as_str().unwrap());
    damage(&bench, &bench.data_files(newest));
    for destination in [Vec::new(), vec![mixed("customers", 1_000_000, 7)]] {
        for by_path in [true, false] {
            bench.node.empty(TARGET).await;
            bench.node.write(TARGET, &destination).await;
            let before = bench.node.snapshot(TARGET).await;
            let restored = if by_path {
                bench.restore_of(newest, json!({})).await
            } else {
                bench.restore_to(at, json!({})).await
            };
            assert_eq!(
                (&restored.job["status"], &restored.status["status"]),
                (&json!("failed"), &json!("Failed")),
                "{restored:#?}"
            );
            let error = restored.status["error"].as_str().unwrap();
            for says in says {
                assert!(error.contains(says), "by path: {by_path}, {says} is not in: {error}");
            }
            if !destination.is_empty() {
                assert_eq!(before, bench.node.snapshot(TARGET).await, "nothing is written");
            }
        }
    }
    // Verify says the same, and keeps it.
    let job = bench.run("verify", ROUTINE).await;
    assert_eq!(
        (&job["status"], &job["error"]["code"]),
        (&json!("failed"), &json!("backup-damaged")),
        "{job:#}"
    );
    let error = job["error"]["message"].as_str().unwrap();
    for says in says {
        assert!(error.contains(says), "verify: {says} is not in: {error}");
    }
    let fulls = bench.list("full", ROUTINE).await;
    let kept = [&fulls[0], &fulls[1]].map(|full| &full["verification"]["outcome"]);
    assert_eq!(kept, [&json!("verified"), &json!("damaged")]);
    // The older full is as good as ever.
    bench.node.empty(TARGET).await;
    bench.restore_of(older, json!({})).await.ok();
}

fn name(file: &std::path::Path) -> String {
    file.file_name().unwrap().to_str().unwrap().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flipped_byte_is_named_with_its_block() {
    let flip = |_: &Bench, files: &[PathBuf]| {
        let mut bytes = std::fs::read(&files[0]).unwrap();
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
        std::fs::write(&files[0], bytes).unwrap();
    };
    is_refused(flip, &[&format!("_{SOURCE}_"), "block 0"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_truncated_file_is_named() {
    let cut = |_: &Bench, files: &[PathBuf]| {
        let bytes = std::fs::read(&files[0]).unwrap();
        std::fs::write(&files[0], &bytes[..bytes.len() - 1]).unwrap();
    };
    is_refused(cut, &[&format!("_{SOURCE}_"), "bytes"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_file_is_named() {
    is_refused(|_, files| std::fs::remove_file(&files[0]).unwrap(), &[&format!("_{SOURCE}_"), "missing"])
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_older_copy_of_a_file_with_the_same_size_is_named() {
    let swap = |bench: &Bench, files: &[PathBuf]| {
        let older = bench.data_files(ROUTINE).into_iter().find(|file| !files.contains(file)).unwrap();
        assert_eq!(older.metadata().unwrap().len(), files[0].metadata().unwrap().len());
        std::fs::copy(older, &files[0]).unwrap();
    };
    is_refused(swap, &[&format!("_{SOURCE}_"), "block 0"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_manifest_that_was_there_and_is_gone_is_damage_and_no_old_format() {
    let remove = |_: &Bench, files: &[PathBuf]| {
        std::fs::remove_file(files[0].with_file_name("manifest.json")).unwrap();
    };
    is_refused(remove, &["manifest.json"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_manifest_that_is_cut_is_damage() {
    let cut = |_: &Bench, files: &[PathBuf]| {
        let manifest = files[0].with_file_name("manifest.json");
        let text = std::fs::read(&manifest).unwrap();
        std::fs::write(&manifest, &text[..text.len() / 2]).unwrap();
    };
    is_refused(cut, &["manifest.json"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn missing_block_hashes_are_damage() {
    let remove =
        |_: &Bench, files: &[PathBuf]| std::fs::remove_file(files[0].with_file_name("blocks.b3")).unwrap();
    is_refused(remove, &["blocks.b3"]).await;
}

/// rules.md 3.4, 4.1: an older state does not pass for the one that was asked for.
#[tokio::test(flavor = "multi_thread")]
async fn a_chain_whose_last_member_is_damaged_is_not_quietly_shorter() {
    let bench = Bench::start().await;
    bench.write(&version(1)).await;
    let full = bench.back_up("full").await;
    let expected = bench.node.snapshot(SOURCE).await;
    bench.write(&version(2)).await;
    let at = point(&bench.back_up("incremental").await);
    let key = bench.newest_key("incremental").await;
    let file = &bench.data_files(&key)[0];
    std::fs::remove_file(file).unwrap();
    let error = bench.restore_to(at, json!({})).await.refused("backup-damaged");
    assert!(error.contains(&key) && error.contains(&name(file)), "{error}");
    assert!(bench.node.snapshot(TARGET).await.0.is_empty());
    // Whoever accepts the hole gets what is whole, and is told so (rules.md 3.4).
    let restored = bench.restore_to(at, json!({"allow-gap": true})).await.ok();
    assert!(restored.warnings().contains(&key), "{}", restored.warnings());
    assert_eq!(bench.differences(&expected).await, Vec::<String>::new());
    // And before the damage the chain is whole.
    bench.node.empty(TARGET).await;
    bench.restore_to(point(&full), json!({})).await.ok();
    // The next incremental bridges what was lost (rules.md 3.5).
    let next = bench.back_up("incremental").await;
    assert_eq!(next["attempts"][SOURCE][0]["record-count"], 2000);
    assert!(warnings(&next).contains(&key), "{next:#}");
    let source = bench.node.snapshot(SOURCE).await;
    bench.node.empty(TARGET).await;
    bench.restore_to(point(&next), json!({})).await.ok();
    assert_eq!(bench.differences(&source).await, Vec::<String>::new());
}

/// rules.md 2.5: a restore that is tried again keeps the order that its first attempt chose, although the destination is
/// no longer empty; what is there by then is passed over.
#[tokio::test]
async fn a_restore_that_was_cut_off_is_tried_again_in_the_same_order() {
    let bench = Bench::start().await;
    bench.write(&version(1)).await;
    let at = point(&bench.back_up("full").await);
    let expected = bench.node.snapshot(SOURCE).await;
    let key = bench.newest_key("full").await;
    let files = bench.data_files(&key);
    assert!(files.len() > 1, "one file is whole: it is restored by the first attempt");
    let whole = std::fs::read(&files[0]).unwrap();
    let mut damaged = whole.clone();
    let middle = damaged.len() / 2;
    damaged[middle] ^= 1;
    std::fs::write(&files[0], damaged).unwrap();
    let id = bench.trigger_restore_to(at, &json!({})).await;
    assert_eq!(bench.restored(id).await.job["status"], "failed");

    std::fs::write(&files[0], whole).unwrap();
    let (status, body) = bench.post(&format!("/v1/jobs/{id}/retry"), &json!({})).await;
    assert_eq!((status, body.as_str()), (202, ""));
    let newest = bench.get("/v1/jobs?limit=1").await["jobs"][0]["id"].as_i64().unwrap();
    let again = bench.restored(newest).await.ok();
    let plan = &again.job["result"]["namespaces"][0]["plan"];
    assert_eq!((&again.job["retry-of"], &plan["policy"]), (&json!(id), &json!("create-only")), "{again:#?}");
    assert_eq!(
        (&plan["destination-empty"], &plan["verify-first"]),
        (&json!(true), &json!(true)),
        "{again:#?}"
    );
    assert_eq!(bench.differences(&expected).await, Vec::<String>::new());
}
