//! S3 on SeaweedFS.

use std::sync::Arc;

use bytes::Bytes;
use holdfast::sample::mixed;
use holdfast::storage::Storage;
use serde_json::{Value, json};

use crate::absent::no_question_is_absence;
use crate::conformance;
use crate::faults::{Ground, s3_language, table};
use crate::node::{SOURCE, TARGET};
use crate::proxy::{Aim, Proxy};
use crate::seaweed::{ACCESS_KEY, SECRET_KEY, Seaweed};
use crate::service::{Bench, ROUTINE, point};
use crate::still::Still;

/// A bucket has no folders; this server keeps them for a while. In a folder and in the whole bucket, with each checksum that it may be asked for.
#[tokio::test(flavor = "multi_thread")]
async fn does_what_every_storage_does() {
    let seaweed = Seaweed::start().await;
    for more in [
        json!({"path": "a/b"}),
        json!({"checksum-algorithm": "SHA256"}),
        json!({"checksum-algorithm": "NONE"}),
    ] {
        conformance::run_where_folders_stay(&seaweed.storage(&more).await).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn many_objects_come_in_pages_and_go_in_batches() {
    let seaweed = Seaweed::start().await;
    let storage = seaweed.storage(&json!({"path": "pages"})).await;
    let mut keys: Vec<String> = (0..1_203).map(|at| format!("all/{}/{at}", at % 7)).collect();
    for batch in keys.chunks(50) {
        let puts = batch.iter().map(|key| storage.put(key, Bytes::from_static(b"x")));
        futures_util::future::try_join_all(puts).await.unwrap();
    }
    keys.sort();
    let listed: Vec<String> =
        storage.list("all").await.unwrap().into_iter().map(|object| object.key).collect();
    assert!(listed == keys, "{} of {}", listed.len(), keys.len());
    assert_eq!(storage.list_dirs("all").await.unwrap(), ["0", "1", "2", "3", "4", "5", "6"]);
    assert_eq!(storage.delete_prefix("all").await.unwrap(), 1_203);
    assert!(storage.list("").await.unwrap().is_empty());
}

/// rules.md 6.1: what a crash left of an upload is given up with its folder.
#[tokio::test(flavor = "multi_thread")]
async fn open_uploads_go_with_their_folder_and_not_with_another() {
    let seaweed = Seaweed::start().await;
    let storage = seaweed.storage(&json!({"min-part-size": 5_242_880})).await;
    let part = || Bytes::from(vec![7; 6 << 20]);
    let mut ours = storage.create("r/ns/a.asb").await.unwrap();
    let mut other = storage.create("r/ns.2/a.asb").await.unwrap();
    ours.write(part()).await.unwrap();
    other.write(part()).await.unwrap();
    assert_eq!(storage.delete_prefix("r/ns").await.unwrap(), 0);
    assert!(ours.finish().await.is_err(), "its upload is gone");
    assert_eq!(other.finish().await.unwrap(), 6 << 20);
    let listed: Vec<String> = storage.list("r").await.unwrap().into_iter().map(|object| object.key).collect();
    assert_eq!(listed, ["r/ns.2/a.asb"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_missing_or_refused_is_no_empty_storage() {
    let seaweed = Seaweed::start().await;
    for (more, code) in [
        (json!({"bucket": "no-such-bucket"}), "storage-bucket-missing"),
        (json!({"secret-access-key": "wrong"}), "storage-denied"),
        (json!({"access-key-id": "nobody"}), "storage-denied"),
    ] {
        no_question_is_absence(&seaweed.storage(&more).await, code, &[SECRET_KEY]).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn full_incremental_restore_by_time_and_retention() {
    let seaweed = Seaweed::start().await;
    let bench = Bench::with(|config| {
        config["storage"]["disk"] = seaweed.section(&json!({"path": "of/tests"}));
        config["backup-policies"]["quick"]["retention"] = json!({"full": 1});
        config["backup-policies"]["quick"]["verify-after"] = json!(true);
    })
    .await;
    bench.write(&(0..5_000).map(|key| mixed("customers", key, 1)).collect::<Vec<_>>()).await;
    bench.back_up("full").await;
    bench.write(&(4_000..6_000).map(|key| mixed("customers", key, 2)).collect::<Vec<_>>()).await;
    let at = point(&bench.back_up("incremental").await);
    let then = bench.node.snapshot(SOURCE).await;
    bench.write(&(0..7_000).map(|key| mixed("customers", key, 3)).collect::<Vec<_>>()).await;
    bench.restore_to(at, json!({})).await.ok();
    assert!(bench.node.snapshot(TARGET).await.0 == then.0, "the restored records are those of the instant");

    bench.back_up("full").await;
    for kind in ["verify", "retention"] {
        let page = bench.get(&format!("/v1/jobs?kind={kind}")).await;
        for job in page["jobs"].as_array().unwrap() {
            let ended = bench.wait_job(job["id"].as_i64().unwrap()).await;
            assert_eq!(ended["status"], "succeeded", "{ended:#}");
        }
    }
    assert_eq!(bench.list("full", ROUTINE).await.len(), 1);
    assert!(bench.list("incremental", ROUTINE).await.is_empty());

    // From outside: by its URL, with the configuration that has its keys.
    let file = bench.dir.path().join("inspect.yaml");
    std::fs::write(&file, bench.config.to_string()).unwrap();
    let inspect = |url: &str| {
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_holdfast"));
        command.args(["inspect", "--json", "--config"]).arg(&file).arg(url);
        tokio::task::block_in_place(|| command.output()).unwrap()
    };
    let seen = inspect(&format!("s3://backups/of/tests/{ROUTINE}"));
    let said = String::from_utf8_lossy(&seen.stderr);
    let report: Value = serde_json::from_slice(&seen.stdout).unwrap_or_else(|_| panic!("{said}"));
    assert_eq!(report[0]["content"]["records"], 7_000, "{report:#}");
    assert!(seen.status.success(), "{said}");
    for (url, text) in
        [("s3://another/x", "has no storage in s3://another"), ("ftp://a/b", "no URL of a bucket")]
    {
        let refused = inspect(url);
        let said = String::from_utf8_lossy(&refused.stderr);
        assert!(!refused.status.success() && said.contains(text), "{said}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fault_on_the_way_ends_well_or_in_one_clear_error() {
    faults(false).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "long: every fault to every operation, once, three times and for good"]
async fn every_fault_on_the_way_ends_well_or_in_one_clear_error() {
    faults(true).await;
}

async fn faults(all: bool) {
    let seaweed = Seaweed::start().await;
    let pace = Arc::new(Still::default());
    let proxy = Proxy::start(seaweed.port, Arc::clone(&pace)).await;
    let path = json!({"path": "r", "min-part-size": 5 << 20});
    let beside = seaweed.storage(&path).await;
    let storage = seaweed.storage_by(&path, Some(proxy.port), Arc::clone(&pace) as _).await;
    let ground = Ground {
        name: "S3",
        proxy,
        pace,
        storage: &storage,
        beside: &beside,
        aim: |operation| Some(s3_language(operation, Aim("POST", "?delete"))),
        open_uploads: Some(Box::new(|| Box::pin(seaweed.open_uploads()))),
        secrets: vec![SECRET_KEY.to_owned(), ACCESS_KEY.to_owned()],
        table: FAULTS,
    };
    table(&ground, all).await;
}

/// The end of each, see [`crate::faults`]; the columns are put, begin, part, finish, get, head, read, list, delete.
const FAULTS: &str = "
500                 ok|away       ok|away       ok|away       ok|away         ok|away       ok|away       ok|away       ok|away       ok|away
503-slow-down       ok|away       ok|away       ok|away       ok|away         ok|away       ok|away       ok|away       ok|away       ok|away
429-retry-after     ok|away       ok|away       ok|away       ok|away         ok|away|away  ok|away|away  ok|away       ok|away|away  ok|away|away
403-in-the-middle   denied|denied denied|denied denied|denied denied|denied   denied|denied denied|denied denied|denied denied|denied denied|denied
refused             ok|away       ok|away       ok|away       ok|away         ok|away       ok|away       ok|away       ok|away       ok|away
reset-in-body       ok|away       ok|away       ok|away       ok|ok           ok|io         ok|away       ok|io         ok|away       ok|away
reset-in-sent-body  ok|away       -             ok|away       ok|away         -             -             -             -             ok|away
cut-with-200        -             -             -             -               ok|io         -             ok|io         ok|away       -
short-with-200      -             -             -             -               ok|io         -             ?|?           ok|away           -
stall               ok|away       ok|away       ok|away|away  ok|away|away    ok|away|away  ok|away|away  ok|away       ok|away|away  ok|away|away
stall-in-body       -             -             -             -               ok|io|io      -             ok|io         ok|away|away  -
bit-of-sent-body    ok|away       -             ok|away       refused|refused -             -             -             -             ok|?|?
bit-of-body         -             -             -             -               ok|io         -             ?|?           ?|?           -
twice               ok|ok         ok|ok         ok|ok         ok|ok           -             -             -             -             ok|ok
answer-lost         ok|away       ok|away       ok|away       ok|ok           ok|away       ok|away       ok|away       ok|away       ok|away
page-skipped        -             -             -             -               -             -             -             ?|?           ok|?|?
list-ends-early     -             -             -             -               -             -             -             ?|?           ok|?|?
page-without-token  -             -             -             -               -             -             -             io|io         io|io
page-again          -             -             -             -               -             -             -             io|io         io|io
";
