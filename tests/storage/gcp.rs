//! `gcp-storage` on a server that speaks Google's XML interface.

use std::sync::Arc;

use bytes::Bytes;
use holdfast::config::GcpConfig;
use holdfast::secrets::Keeper;
use holdfast::storage::gcp;
use serde_json::json;

use crate::Storage;
use crate::conformance;
use crate::faults::{Operation, every_fault};
use crate::google::{BUCKET, Google, NO_KEY};
use crate::main_job::{Moment, main_job};
use crate::proxy::Proxy;

pub async fn open(config: &GcpConfig) -> impl Storage + use<> {
    gcp::open_paced(config, &Keeper::default(), Arc::new(Moment::default())).await.unwrap()
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

/// rules.md 6.1: only a certain "not there" of the object is absence.
#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_asked_is_no_absence() {
    let google = Google::start().await;
    let elsewhere = GcpConfig { bucket: "elsewhere".to_owned(), ..google.config("") };
    let nobody = GcpConfig { endpoint: "http://127.0.0.1:9".to_owned(), ..google.config("") };
    for (config, code) in [(elsewhere, "storage-bucket-missing"), (nobody, "storage-unavailable")] {
        let storage = open(&config).await;
        let errors = [
            storage.get("a/b", 10).await.err(),
            storage.head("a/b").await.err(),
            storage.open("a/b").await.err(),
            storage.list("a").await.err(),
            storage.list_dirs("a").await.err(),
            storage.delete_prefix("a").await.err(),
        ];
        for (index, error) in errors.into_iter().enumerate() {
            let error = error.unwrap_or_else(|| panic!("{code} {index}"));
            assert_eq!(error.code(), code, "{index}: {}", error.report());
            assert!(error.report().contains(&config.place()), "{}", error.report());
        }
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
    faults(&[2]).await;
}

/// How often it happens matters to where it happens.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "long: every fault once, twice and three times"]
async fn every_fault_on_the_way_ends_well_or_in_one_clear_error() {
    faults(&[1, 2, 3]).await;
}

async fn faults(times: &[u32]) {
    let google = Google::start().await;
    let proxy = Proxy::start(google.port).await;
    let endpoint = format!("http://127.0.0.1:{}", proxy.port);
    let beside = open(&google.config("r")).await;
    let storage = open(&GcpConfig { endpoint, ..google.config("r") }).await;
    every_fault(&proxy, &storage, &beside, times, |operation| match operation {
        Operation::Put => "PUT",
        Operation::Part => "partNumber=",
        Operation::Finish => "POST",
        Operation::Get | Operation::Read => "GET",
        Operation::Head => "HEAD",
        Operation::List => "list-type=2",
        Operation::Delete => "DELETE",
    })
    .await;
    // An upload of which the start was answered twice is open still: it goes with the folder.
    beside.delete_prefix("t").await.unwrap();
    assert_eq!(uploads(&google).await, 0);
}
