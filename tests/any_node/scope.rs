//! What a routine saves, and into which files.

use holdfast::model::partitions::partition_of;
use holdfast::sample::{SampleRecord, mixed};
use serde_json::{Value, json};

use crate::node::{SOURCE, TARGET};
use crate::service::{Bench, ROUTINE, is_asb, point};

fn of_set(set: &str, count: i64) -> Vec<SampleRecord> {
    (0..count).map(|key| mixed(set, key, 1)).collect()
}

/// rules.md 3.6: what a routine leaves out, its backups do not have, full and incremental.
#[tokio::test(flavor = "multi_thread")]
async fn only_the_sets_and_partitions_of_the_routine_are_saved() {
    let bench = Bench::with(|config| {
        let routines = &mut config["backup-routines"];
        for (name, key, value) in [
            ("parts", "partition-list", json!("0-1024,4095")),
            ("one-set", "set-list", json!(["a"])),
            ("two-sets", "set-list", json!(["a", "c"])),
        ] {
            routines[name] = routines[ROUTINE].clone();
            routines[name][key] = value;
        }
    })
    .await;
    let records = [of_set("a", 300), of_set("b", 200), of_set("c", 100)].concat();
    let in_parts = |record: &&SampleRecord| {
        let partition = partition_of(&record.digest);
        partition < 1024 || partition == 4095
    };
    let expected = [("parts", records.iter().filter(in_parts).count()), ("one-set", 300), ("two-sets", 400)];
    for backup_type in ["full", "incremental"] {
        bench.write(&records).await;
        for (routine, expected) in expected {
            let job = bench.run(backup_type, routine).await;
            assert_eq!(job["status"], "succeeded", "{job:#}");
            let attempt = &job["attempts"][SOURCE][0];
            assert_eq!((&attempt["record-count"], &attempt["promoted"]), (&json!(expected), &json!(null)));
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_routine_without_records_saves_indexes_and_udfs_only() {
    let bench = Bench::with(|config| config["backup-policies"]["quick"]["no-records"] = json!(true)).await;
    bench.write(&of_set("a", 50)).await;
    let udf = holdfast::asb::UdfDef { name: b"one.lua".to_vec(), content: b"-- one\n".to_vec() };
    bench.node.cluster.put_udf(&udf).await.unwrap();
    let job = bench.back_up("full").await;
    let attempt = &job["attempts"][SOURCE][0];
    assert_eq!(
        (&attempt["record-count"], &attempt["udf-count"], &attempt["file-count"]),
        (&json!(0), &json!(1), &json!(1))
    );
    let key = bench.newest_key("full").await;
    assert_eq!(bench.data_files(&key), Vec::<std::path::PathBuf>::new());
    let restored = bench.restore_to(point(&job), json!({})).await.ok();
    assert_eq!((restored.records("read"), bench.node.snapshot(TARGET).await.0.len()), (0, 0));
}

/// rules.md 3.3: sealed leaves out what is changed after `created`, and the next incremental has it.
#[tokio::test(flavor = "multi_thread")]
async fn a_sealed_backup_leaves_out_what_is_changed_after_its_start() {
    for sealed in [false, true] {
        let bench = Bench::with(|config| {
            let policy = &mut config["backup-policies"]["quick"];
            policy["sealed"] = json!(sealed);
            // Time to write after `created` and before the scan.
            policy["clock-skew-margin"] = json!(3000);
        })
        .await;
        bench.write(&of_set("a", 10)).await;
        let id = bench.trigger("full", ROUTINE).await;
        bench.wait_until(id, |job| job["created"].is_string()).await;
        bench.write(&[mixed("a", 1, 2), mixed("a", 1000, 1)]).await;
        let full = bench.wait_job(id).await;
        // One was changed and one is new.
        let expected = if sealed { 9 } else { 11 };
        assert_eq!(full["attempts"][SOURCE][0]["record-count"], expected, "{full:#}");
        let incremental = bench.back_up("incremental").await;
        assert_eq!(incremental["attempts"][SOURCE][0]["record-count"], 2);
        let source = bench.node.snapshot(SOURCE).await;
        bench.restore_to(point(&incremental), json!({})).await.ok();
        assert_eq!(bench.differences(&source).await, Vec::<String>::new());
    }
}

/// One full of 4 MiB with a changed policy: the names of its data files, after they were restored and compared.
async fn files_with(change: impl FnOnce(&mut Value)) -> (Bench, Vec<String>) {
    let bench = Bench::with(|config| change(&mut config["backup-policies"]["quick"])).await;
    let payload: Vec<u8> = (0..4096_u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
    let records: Vec<_> =
        (0..1000).map(|key| SampleRecord::new("blobs", key).bin("payload", 4, &payload)).collect();
    bench.write(&records).await;
    let at = point(&bench.back_up("full").await);
    let source = bench.node.snapshot(SOURCE).await;
    bench.restore_to(at, json!({})).await.ok();
    assert_eq!(bench.differences(&source).await, Vec::<String>::new());
    let key = bench.newest_key("full").await;
    let names = bench.files(&key).into_iter().filter(|name| is_asb(name)).collect();
    (bench, names)
}

fn writers(names: &[String]) -> Vec<&str> {
    let mut writers: Vec<_> = names.iter().map(|name| name.split('_').next().unwrap()).collect();
    writers.sort_unstable();
    writers.dedup();
    writers
}

#[tokio::test(flavor = "multi_thread")]
async fn there_are_as_many_files_as_writers_unless_a_limit_closes_them_earlier() {
    let (_, names) = files_with(|policy| policy["parallel-write"] = json!(1)).await;
    assert_eq!(names, [format!("0_{SOURCE}_1.asb")]);
    let (_, names) = files_with(|policy| {
        policy["parallel"] = json!(8);
        policy["parallel-write"] = json!(3);
    })
    .await;
    assert_eq!((names.len(), writers(&names)), (3, vec!["0", "1", "2"]));
    let (bench, names) = files_with(|policy| {
        policy["parallel-write"] = json!(1);
        policy["file-limit"] = json!(1);
    })
    .await;
    // 1000 blobs in base64 are 5.4 MiB; a block of 256 KiB may be the last of a file.
    assert!((4..=6).contains(&names.len()), "{names:?}");
    assert_eq!(writers(&names), ["0"]);
    let key = bench.newest_key("full").await;
    let sizes = names.iter().map(|name| bench.path(&key).join(name).metadata().unwrap().len());
    let largest = sizes.max().unwrap();
    assert!((1 << 20..3 << 20).contains(&largest), "{largest}");
}

#[tokio::test(flavor = "multi_thread")]
async fn compressed_files_are_smaller_and_say_so() {
    for (mode, word) in [("NONE", "NONE"), ("ZSTD", "ZSTD")] {
        let (bench, names) =
            files_with(|policy| policy["compression"] = json!({"mode": mode, "level": 3})).await;
        let listed = &bench.list("full", ROUTINE).await[0];
        assert_eq!(listed["compression"], word);
        let bytes = listed["byte-count"].as_u64().unwrap();
        assert_eq!(bytes < 4 << 20, mode == "ZSTD", "{bytes} bytes");
        let key = listed["key"].as_str().unwrap();
        let head = std::fs::read(bench.path(key).join(&names[0])).unwrap();
        // The magic number of zstd, or the text.
        assert!(head.starts_with(if mode == "ZSTD" { b"\x28\xb5\x2f\xfd" } else { b"Vers" }));
        // By path the request may say it too; what the files are decides.
        for compression in [json!({"mode": "NONE"}), json!({"mode": "ZSTD"})] {
            bench.node.empty(TARGET).await;
            let more = json!({"policy": {"compression": compression}});
            assert_eq!(bench.restore_of(key, more).await.ok().records("inserted"), 1000);
        }
    }
}
