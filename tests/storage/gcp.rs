//! `gcp-storage` on a server that speaks Google's XML interface.

use std::sync::Arc;

use bytes::Bytes;
use holdfast::config::GcpConfig;
use holdfast::secrets::Keeper;
use holdfast::storage::gcp;
use serde_json::json;

use crate::Storage;
use crate::absent::no_question_is_absence;
use crate::conformance;
use crate::faults::{Ground, s3_language, table};
use crate::google::{BUCKET, Google, NO_KEY};
use crate::main_job::main_job;
use crate::proxy::{Aim, Proxy};
use crate::still::Still;

pub async fn open(config: &GcpConfig) -> impl Storage + use<> {
    gcp::open_paced(config, &Keeper::default(), Arc::new(Still::default())).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn does_what_every_storage_must_in_a_folder_and_in_a_whole_bucket() {
    let google = Google::start().await;
    // A bucket of Google's has no folders; this server keeps them for a while.
    conformance::run_where_folders_stay(&open(&google.config("")).await).await;
    let whole = open(&google.config("")).await;
    whole.put("backups/here", Bytes::from_static(b"1")).await.unwrap();
    conformance::run_where_folders_stay(&open(&google.config("fol der/ü")).await).await;
    assert_eq!(whole.list("").await.unwrap().len(), 1, "nothing of the folder is left, nothing else is gone");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_asked_is_no_absence() {
    let google = Google::start().await;
    let elsewhere = GcpConfig { bucket: "elsewhere".to_owned(), ..google.config("") };
    let nobody = GcpConfig { endpoint: "http://127.0.0.1:9".to_owned(), ..google.config("") };
    for (config, code) in [(elsewhere, "storage-bucket-missing"), (nobody, "storage-unavailable")] {
        no_question_is_absence(&open(&config).await, code, &[]).await;
    }
}

/// The unfinished uploads of the bucket, as the server lists them.
async fn uploads(google: &Google) -> usize {
    let list = reqwest::get(format!("{}/{BUCKET}?uploads", google.endpoint)).await.unwrap();
    list.text().await.unwrap().matches("<UploadId>").count()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_large_object_shows_only_once_it_is_finished_and_no_upload_stays_open() {
    let google = Google::start().await;
    let storage = open(&google.config("r")).await;
    let part = google.config("").part_bytes as usize;
    let started = async || {
        let mut writer = storage.create("big/a.asb").await.unwrap();
        for _ in 0..3 {
            writer.write(Bytes::from(vec![7; part])).await.unwrap();
        }
        assert!(storage.list("big").await.unwrap().is_empty());
        assert_eq!(uploads(&google).await, 1);
        writer
    };
    started().await.abort().await.unwrap();
    assert_eq!(uploads(&google).await, 0, "an abort removes it");

    drop(started().await);
    while uploads(&google).await > 0 {
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }

    // What a process that died has left goes with the folder, and nothing beside it does.
    std::mem::forget(started().await);
    assert_eq!(storage.delete_prefix("bi").await.unwrap(), 0);
    assert_eq!(uploads(&google).await, 1);
    assert_eq!(storage.delete_prefix("big").await.unwrap(), 0);
    assert_eq!(uploads(&google).await, 0);

    assert_eq!(started().await.finish().await.unwrap(), 3 * part as u64);
    assert_eq!(uploads(&google).await, 0);
    assert_eq!(storage.head("big/a.asb").await.unwrap().unwrap().size_bytes, 3 * part as u64);
}

#[tokio::test(flavor = "multi_thread")]
async fn backs_up_restores_to_each_point_and_prunes() {
    let google = Google::start().await;
    let storage = json!({"gcp-storage": {
        "endpoint": google.endpoint,
        "bucket-name": BUCKET,
        "path": "of/mine",
        "key": NO_KEY,
    }});
    let outside = open(&google.config("of/mine")).await;
    main_job(storage, NO_KEY, &outside).await;
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
    let google = Google::start().await;
    let pace = Arc::new(Still::default());
    let proxy = Proxy::start(google.port, Arc::clone(&pace)).await;
    let endpoint = format!("http://127.0.0.1:{}", proxy.port);
    let beside = open(&google.config("r")).await;
    let config = GcpConfig { endpoint, ..google.config("r") };
    let storage = gcp::open_paced(&config, &Keeper::default(), Arc::clone(&pace) as _).await.unwrap();
    let ground = Ground {
        name: "Google",
        proxy,
        pace,
        storage: &storage,
        beside: &beside,
        aim: |operation| Some(s3_language(operation, Aim("DELETE", ""))),
        open_uploads: Some(Box::new(|| Box::pin(uploads(&google)))),
        secrets: Vec::new(),
        table: FAULTS,
    };
    table(&ground, all).await;
}

/// The end of each, see [`crate::faults`]; the columns are put, begin, part, finish, get, head, read, list, delete.
const FAULTS: &str = "
500                 ok|away       ok|away       ok|away       ok|away         ok|away       ok|away       ok|away       ok|away       ok|away
503-slow-down       ok|away       ok|away       ok|away       ok|away         ok|away       ok|away       ok|away       ok|away       ok|away
429-retry-after     ok|away       ok|away       ok|away       ok|away         ok|away|away  ok|away|away  ok|away       ok|away|away  ok|away
403-in-the-middle   denied|denied denied|denied denied|denied denied|denied   denied|denied denied|denied denied|denied denied|denied denied|denied
refused             ok|away       ok|away       ok|away       ok|away         ok|away       ok|away       ok|away       ok|away       ok|away
reset-in-body       ok|away       ok|away       ok|away       ok|ok           ok|away       ok|away       ok|io         ok|away       ok|away
reset-in-sent-body  ok|away       -             ok|away       ok|away         -             -             -             -             ok|away
cut-with-200        -             -             -             -               ok|away       -             ok|io         ok|away       -
short-with-200      -             -             -             -               ?|?           -             ok|io         io|io         -
stall               ok|away       ok|away       ok|away|away  ok|away         ok|away|away  ok|away|away  ok|away       ok|away|away  ok|away
stall-in-body       -             -             -             -               ok|away|away  -             ok|io         ok|away|away  -
bit-of-sent-body    ?|?           -             ?|?           refused|refused -             -             -             -             -
bit-of-body         -             -             -             -               ?|?           -             ?|?           ?|?           -
twice               ok|ok         ok|ok         ok|ok         ok|ok           -             -             -             -             ok|ok
answer-lost         ok|away       ok|away       ok|away       ok|ok           ok|away       ok|away       ok|away       ok|away       ok|away
page-skipped        -             -             -             -               -             -             -             ?|?           ok|?|?
list-ends-early     -             -             -             -               -             -             -             ?|?           ok|?|?
page-without-token  -             -             -             -               -             -             -             ok|io         ok|io
page-again          -             -             -             -               -             -             -             io|io         io|io
";
