//! `azure-storage` on Azurite.

use std::sync::Arc;

use bytes::Bytes;
use holdfast::config::{AzureConfig, AzureIdentity, AzureStorageTiers, AzureTier};
use holdfast::secrets::Keeper;
use holdfast::storage::azure;

use crate::Storage;
use crate::absent::{no_change_is_done, no_question_is_absence};
use crate::azurite::{ACCOUNT, Azurite};
use crate::conformance;
use crate::faults::{Ground, Operation, table};
use crate::main_job::main_job;
use crate::proxy::{Aim, Proxy};
use crate::still::Still;
use serde_json::json;

pub async fn open(config: &AzureConfig) -> impl Storage + use<> {
    azure::open_paced(config, &Keeper::default(), Arc::new(Still::default()), None).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn does_what_every_storage_must_in_a_folder_and_in_a_whole_container() {
    let azurite = Azurite::start().await;
    conformance::run(&open(&azurite.config("")).await).await;
    // The container holds objects of others by now.
    let whole = open(&azurite.config("")).await;
    whole.put("backups/here", Bytes::from_static(b"1")).await.unwrap();
    conformance::run(&open(&azurite.config("fol der/ü")).await).await;
    assert_eq!(whole.list("").await.unwrap().len(), 1, "nothing of the folder is left, nothing else is gone");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_asked_is_no_absence() {
    let azurite = Azurite::start().await;
    let elsewhere = AzureConfig { container: "elsewhere".to_owned(), ..azurite.config("") };
    let mut raw = [7_u8; 64];
    raw[0] = 1;
    let wrong = base64_simd::STANDARD.encode_to_string(raw);
    let denied = AzureConfig {
        identity: AzureIdentity::Key { account: ACCOUNT.to_owned(), key: azurite.key_file(&wrong) },
        ..azurite.config("")
    };
    let nobody = AzureConfig { endpoint: "http://127.0.0.1:9/nobody".to_owned(), ..azurite.config("") };
    for (config, code) in
        [(elsewhere, "storage-bucket-missing"), (denied, "storage-denied"), (nobody, "storage-unavailable")]
    {
        let storage = open(&config).await;
        no_question_is_absence(&storage, code, &[&azurite.key, &wrong]).await;
        no_change_is_done(&storage, code, &[&azurite.key, &wrong]).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_large_object_shows_only_once_it_is_finished_and_in_the_tier_that_is_asked_for() {
    let azurite = Azurite::start().await;
    let tiers = AzureStorageTiers { data: Some(AzureTier::Archive), metadata: Some(AzureTier::Cool) };
    let storage = open(&AzureConfig { tiers, ..azurite.config("r") }).await;
    let part = azurite.config("").part_bytes as usize;
    for abort in [true, false] {
        let mut writer = storage.create("big/a.asb").await.unwrap();
        for _ in 0..3 {
            writer.write(Bytes::from(vec![7; part])).await.unwrap();
        }
        assert!(storage.list("big").await.unwrap().is_empty());
        if abort {
            writer.abort().await.unwrap();
        } else {
            drop(writer);
        }
        assert!(storage.head("big/a.asb").await.unwrap().is_none());
    }
    let mut writer = storage.create("big/a.asb").await.unwrap();
    for _ in 0..3 {
        writer.write(Bytes::from(vec![7; part])).await.unwrap();
    }
    assert_eq!(writer.finish().await.unwrap(), 3 * part as u64);
    assert_eq!(storage.head("big/a.asb").await.unwrap().unwrap().size_bytes, 3 * part as u64);

    storage.put("big/metadata.yaml", Bytes::from_static(b"1")).await.unwrap();
    assert_eq!(storage.get("big/metadata.yaml", 10).await.unwrap().unwrap(), "1");
    // Archived data is named as such, by both ways to read it.
    let mut reader = storage.open("big/a.asb").await.unwrap();
    for error in [reader.next().await.unwrap_err(), storage.get("big/a.asb", 1 << 30).await.unwrap_err()] {
        assert_eq!(error.code(), "storage-archived", "{}", error.report());
        assert!(error.report().contains("access tier"), "{}", error.report());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn backs_up_restores_to_each_point_and_prunes() {
    let azurite = Azurite::start().await;
    let storage = json!({"azure-storage": {
        "endpoint": azurite.endpoint,
        "container-name": "backups",
        "path": "of/mine",
        "account-name": ACCOUNT,
        "account-key": azurite.key,
    }});
    let outside = open(&azurite.config("of/mine")).await;
    main_job(storage, &azurite.key, &outside).await;
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
    let azurite = Azurite::start().await;
    let pace = Arc::new(Still::default());
    let proxy = Proxy::start(azurite.port, Arc::clone(&pace)).await;
    let endpoint = format!("http://127.0.0.1:{}/{ACCOUNT}", proxy.port);
    let config = AzureConfig { part_bytes: 5 << 20, ..azurite.config("r") };
    let beside = open(&config).await;
    let config = AzureConfig { endpoint, ..config };
    let storage = azure::open_paced(&config, &Keeper::default(), Arc::clone(&pace) as _, None).await.unwrap();
    let ground = Ground {
        name: "Azure",
        proxy,
        pace,
        storage: &storage,
        beside: &beside,
        aim: |operation| match operation {
            Operation::Put => Some(Aim("PUT", "")),
            Operation::Begin => None,
            Operation::Part => Some(Aim("PUT", "comp=block&")),
            Operation::Finish => Some(Aim("PUT", "comp=blocklist")),
            Operation::Get | Operation::Read => Some(Aim("GET", "")),
            Operation::Head => Some(Aim("HEAD", "")),
            Operation::List => Some(Aim("GET", "comp=list")),
            Operation::Delete => Some(Aim("POST", "comp=batch")),
        },
        open_uploads: None,
        secrets: vec![azurite.key.clone()],
        table: FAULTS,
    };
    table(&ground, all).await;
}

/// The end of each, see [`crate::faults`]; the columns are put, begin, part, finish, get, head, read, list, delete.
const FAULTS: &str = "
500                 ok|away       -     ok|away       ok|away         ok|away       ok|away       ok|away       ok|away       ok|away
503-slow-down       ok|away       -     ok|away       ok|away         ok|away       ok|away       ok|away       ok|away       ok|away
429-retry-after     ok|away       -     ok|away       ok|away         ok|away|away  ok|away|away  ok|away       ok|away|away  ok|away
403-in-the-middle   denied|denied -     denied|denied denied|denied   denied|denied denied|denied denied|denied denied|denied ok|denied|denied
refused             ok|away       -     ok|away       ok|away         ok|away       ok|away       ok|away       ok|away       ok|away
reset-in-body       ok|away       -     ok|away       ok|ok           ok|away       ok|away       ok|io         ok|away       ok|ok
reset-in-sent-body  ok|away       -     ok|away       ok|away         -             -             -             -             ok|away
cut-with-200        -             -     -             -               ok|away       -             ok|io         ok|away       -
short-with-200      -             -     -             -               ?|?           -             ok|io         io|io         -
stall               ok|away       -     ok|away|away  ok|away         ok|away|away  ok|away|away  ok|away       ok|away|away  ok|away
stall-in-body       -             -     -             -               ok|away|away  -             ok|io         ok|away|away  -
bit-of-sent-body    ?|?           -     ?|?           refused|refused -             -             -             -             ok|denied|denied
bit-of-body         -             -     -             -               ?|?           -             ?|?           ?|?           -
twice               ok|ok         -     ok|ok         ok|ok           -             -             -             -             ok|ok
answer-lost         ok|away       -     ok|away       ok|ok           ok|away       ok|away       ok|away       ok|away       ok|ok
page-skipped        -             -     -             -               -             -             -             ?|?           ok|?|?
list-ends-early     -             -     -             -               -             -             -             ?|?           ok|?|?
page-without-token  -             -     -             -               -             -             -             ?|?           ok|?|?
page-again          -             -     -             -               -             -             -             io|io         io|io
";
