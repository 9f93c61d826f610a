//! `azure-storage` and `gcp-storage`: what is refused, what a job's row has of them, what is written back.

use serde_json::{Value as Json, json};

use super::{NOW, lines, upstream};
use crate::config::{
    AzureIdentity, AzureTier, Config, GOOGLE, GcpClass, GcpIdentity, PART_BYTES, StorageConfig, StoragePlace,
};
use crate::secrets::SecretSource;

fn with(storage: &Json) -> Result<Config, Vec<String>> {
    let mut document = upstream();
    document["storage"]["s1"] = storage.clone();
    Config::from_json(document.to_string().as_bytes(), NOW).map_err(|problems| lines(&problems))
}

fn azure(more: &Json) -> Json {
    let mut storage = json!({"endpoint": "https://ACME.blob.core.windows.net/", "container-name": "backups"});
    storage.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    json!({"azure-storage": storage})
}

fn gcp(more: &Json) -> Json {
    let mut storage = json!({"bucket-name": "backups"});
    storage.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    json!({"gcp-storage": storage})
}

#[test]
fn defaults_are_those_of_the_documents() {
    let config = with(&azure(&json!({}))).unwrap();
    let StoragePlace::Azure(azure) = config.storage("s1").unwrap().place else { panic!("azure") };
    assert_eq!(
        (azure.place().as_str(), azure.part_bytes, azure.requests_per_second),
        ("Azure container backups at https://acme.blob.core.windows.net, path /", PART_BYTES, 0)
    );
    assert_eq!((azure.identity, azure.tiers.data, azure.ca_file), (AzureIdentity::Default, None, None));

    let config = with(&gcp(&json!({"min-part-size": 262_144}))).unwrap();
    let StoragePlace::Gcp(gcp) = config.storage("s1").unwrap().place else { panic!("gcp") };
    assert_eq!(gcp.place(), "Google Cloud bucket backups, path /");
    assert_eq!((gcp.endpoint.as_str(), gcp.part_bytes), (GOOGLE, 5 << 20), "the server takes no less");
    assert_eq!((gcp.identity, gcp.class), (GcpIdentity::Default, None));
}

#[test]
fn everything_that_may_be_given_is_taken() {
    let config = with(&azure(&json!({
        "path": "/of/mine/", "tenant-id": "file:/t", "client-id": "env:C", "client-secret": "${S}",
        "min-part-size": 1_048_576, "storage-class": {"data": "archive", "metadata": "Cool"},
        "ca-file": "/ca.pem", "requests-per-second": 10,
    })))
    .unwrap();
    let StoragePlace::Azure(azure) = config.storage("s1").unwrap().place else { panic!("azure") };
    let AzureIdentity::Principal { tenant, client, secret } = &azure.identity else { panic!("{azure:?}") };
    assert_eq!(
        (tenant, client, secret),
        (&SecretSource::File("/t".into()), &SecretSource::Env("C".into()), &SecretSource::Env("S".into()))
    );
    assert_eq!((azure.tiers.data, azure.tiers.metadata), (Some(AzureTier::Archive), Some(AzureTier::Cool)));
    assert_eq!((azure.path.as_str(), azure.part_bytes, azure.requests_per_second), ("of/mine", 1 << 20, 10));

    let config = with(&gcp(&json!({
        "key-file-path": "/key.json", "endpoint": "http://127.0.0.1:4443/storage/v1/",
        "storage-class": {"data": "NEARLINE"}, "path": "p", "requests-per-second": 3,
    })))
    .unwrap();
    let StoragePlace::Gcp(gcp) = config.storage("s1").unwrap().place else { panic!("gcp") };
    assert_eq!(gcp.identity, GcpIdentity::KeyFile("/key.json".into()));
    assert_eq!((gcp.endpoint.as_str(), gcp.class), ("http://127.0.0.1:4443", Some(GcpClass::Nearline)));
    assert_eq!(gcp.place(), "Google Cloud bucket backups at http://127.0.0.1:4443, path /p");
}

#[test]
fn what_cannot_be_is_refused_by_name() {
    for (storage, key) in [
        (json!({"azure-storage": {"container-name": "c"}}), "endpoint"),
        (json!({"azure-storage": {"endpoint": "https://a"}}), "container-name"),
        (azure(&json!({"endpoint": "acme"})), "endpoint"),
        (azure(&json!({"endpoint": "https://user:hunter2@acme"})), "endpoint"),
        (azure(&json!({"container-name": "a/b"})), "container-name"),
        (azure(&json!({"path": "a/../b"})), "path"),
        (azure(&json!({"account-name": "a"})), "account-key"),
        (azure(&json!({"tenant-id": "t", "client-id": "c"})), "client-secret"),
        (
            azure(&json!({
                "account-name": "a", "account-key": "k", "tenant-id": "t", "client-id": "c", "client-secret": "s",
            })),
            "client-secret",
        ),
        (azure(&json!({"min-part-size": 1000})), "min-part-size"),
        (azure(&json!({"storage-class": {"metadata": "Archive"}})), "metadata"),
        (azure(&json!({"storage-class": {"data": "GLACIER"}})), "data"),
        (azure(&json!({"account-name": "a", "account-key": "secrets:r:k"})), "account-key"),
        (azure(&json!({"secret-agent-name": "nobody"})), "secret-agent-name"),
        (json!({"gcp-storage": {}}), "bucket-name"),
        (gcp(&json!({"key": "{}", "key-file-path": "/k"})), "key"),
        (gcp(&json!({"storage-class": {"metadata": "STANDARD"}})), "metadata"),
        (gcp(&json!({"min-part-size": 1000})), "min-part-size"),
        (gcp(&json!({"bucket-name": "a b"})), "bucket-name"),
    ] {
        let problems = with(&storage).expect_err(&storage.to_string());
        assert!(problems.iter().all(|line| line.contains(key)), "{storage}: {problems:?}");
        assert!(problems.iter().all(|line| !line.contains("hunter2")), "{problems:?}");
    }
}

/// rules.md 7.4
#[test]
fn a_literal_goes_neither_into_a_row_nor_back_out() {
    for (storage, place) in [
        (
            azure(&json!({"account-name": "a", "account-key": "hunter2"})),
            "storage/s1/azure-storage/account-key",
        ),
        (gcp(&json!({"key": "hunter2"})), "storage/s1/gcp-storage/key"),
    ] {
        let config = with(&storage).unwrap();
        assert_eq!(config.literal_secrets().keys().collect::<Vec<_>>(), [place]);
        let resolved = config.storage("s1").unwrap();
        let row = serde_json::to_string(&resolved).unwrap();
        assert!(row.contains(place) && !row.contains("hunter2"), "{row}");
        assert_eq!(serde_json::from_str::<StorageConfig>(&row).unwrap(), resolved);
        let shown = serde_json::to_string(&config.storage["s1"]).unwrap();
        assert!(shown.contains("[secret]") && !shown.contains("hunter2"), "{shown}");
        assert!(!format!("{config:?} {resolved:?}").contains("hunter2"));
    }
}
