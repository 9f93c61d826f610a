//! The configuration as an object of each provider, and the conditional write below it (abs.md 2.1, rules.md 7.1).

use bytes::Bytes;
use holdfast::app::ConfigPlace;
use holdfast::model::UnixMillis;
use holdfast::storage::Storage;
use serde_json::{Value, json};

use crate::azurite::{ACCOUNT, Azurite, CONTAINER};
use crate::google::{BUCKET, Google, NO_KEY};
use crate::seaweed::Seaweed;

/// Writes over what was read; whether a write over something else is refused.
async fn compares(storage: &dyn Storage) -> bool {
    let key = "of/config.yaml";
    assert!(storage.get_version(key, 100).await.unwrap().is_none());
    storage.put(key, Bytes::from_static(b"one")).await.unwrap();
    let (bytes, first) = storage.get_version(key, 100).await.unwrap().unwrap();
    assert_eq!(bytes, "one");
    storage.put_over(key, Bytes::from_static(b"second"), &first).await.unwrap();
    let (bytes, second) = storage.get_version(key, 100).await.unwrap().unwrap();
    assert_eq!(bytes, "second");
    let refused = storage.put_over(key, Bytes::from_static(b"third"), &first).await.is_err();
    let left = storage.get(key, 100).await.unwrap().unwrap();
    assert_eq!(left, if refused { "second" } else { "third" });
    if refused {
        storage.put_over(key, Bytes::from_static(b"third"), &second).await.unwrap();
    }
    storage.delete(key).await.unwrap();
    refused
}

/// By the pointer that says where it is.
async fn found(pointer: &Value) -> ConfigPlace {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("pointer.yaml");
    std::fs::write(&path, pointer.to_string()).unwrap();
    ConfigPlace::find(&path, true, UnixMillis::from_secs(1_800_000_000)).await.unwrap()
}

/// Read, replaced with the old one kept, and not replaced where somebody was faster.
async fn replaced(pointer: &Value, outside: &dyn Storage) {
    outside.put("config.yaml", Bytes::from_static(b"# one\n")).await.unwrap();
    let place = found(pointer).await;
    let held = place.read().await.unwrap().unwrap();
    assert_eq!(held.text, "# one\n");
    let second = place.replace(&held, "# second\n".to_owned(), true).await.unwrap();
    assert_eq!(outside.get("config.yaml", 100).await.unwrap().unwrap(), "# second\n");
    assert_eq!(outside.get("config.yaml.bak", 100).await.unwrap().unwrap(), "# one\n");
    outside.put("config.yaml", Bytes::from_static(b"# theirs\n")).await.unwrap();
    let Err(error) = place.replace(&second, "# third\n".to_owned(), false).await else {
        panic!("it was written over another one");
    };
    assert_eq!(error.code(), "config-not-persisted");
    assert!(error.report().contains("changed by somebody else"), "{}", error.report());
    assert_eq!(outside.get("config.yaml", 100).await.unwrap().unwrap(), "# theirs\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn in_azure_it_is_never_written_over_another_one() {
    let azurite = Azurite::start().await;
    let outside = crate::azure::open(&azurite.config("of/mine")).await;
    assert!(compares(&outside).await);
    let pointer = json!({"azure-storage": {
        "endpoint": azurite.endpoint,
        "container-name": CONTAINER,
        "path": "of/mine/config.yaml",
        "account-name": ACCOUNT,
        "account-key": azurite.key,
    }});
    replaced(&pointer, &outside).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn in_s3_it_is_never_written_over_another_one() {
    let seaweed = Seaweed::start().await;
    let outside = seaweed.storage(&json!({"path": "of/mine"})).await;
    assert!(compares(&outside).await);
    replaced(&seaweed.section(&json!({"path": "of/mine/config.yaml"})), &outside).await;
}

/// What the stand-in compares is not what Google does: it is asked for, and the text is compared in any case.
#[tokio::test(flavor = "multi_thread")]
async fn in_google_cloud_it_is_read_and_replaced() {
    let google = Google::start().await;
    let outside = crate::gcp::open(&google.config("of/mine")).await;
    let compared = compares(&outside).await;
    outside.put("config.yaml", Bytes::from_static(b"# one\n")).await.unwrap();
    let pointer = json!({"gcp-storage": {
        "endpoint": google.endpoint,
        "bucket-name": BUCKET,
        "path": "of/mine/config.yaml",
        "key": NO_KEY,
    }});
    let place = found(&pointer).await;
    let held = place.read().await.unwrap().unwrap();
    place.replace(&held, "# second\n".to_owned(), true).await.unwrap();
    assert_eq!(outside.get("config.yaml", 100).await.unwrap().unwrap(), "# second\n");
    eprintln!("the stand-in compares: {compared}");
}
