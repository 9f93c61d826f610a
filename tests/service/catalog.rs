//! The cache of the catalog: lists without storage, how old they are, and reading storage again.

use crate::helpers::{Running, one_routine};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

/// A full of ABS, without any of our own files.
fn abs_full(service: &Running, created: i64, namespace: &str) -> std::path::PathBuf {
    let folder = service.dir.path().join(format!("backups/daily/backup/{created}/data/{namespace}"));
    std::fs::create_dir_all(&folder).unwrap();
    let at = chrono::DateTime::from_timestamp_millis(created).unwrap().to_rfc3339();
    let metadata = format!(
        "created: {at}\nfinished: {at}\nfrom: 0001-01-01T00:00:00Z\nnamespace: {namespace}\nrecord-count: 0\n\
         byte-count: 0\nfile-count: 0\nsecondary-index-count: 0\nudf-count: 0\ncompression: NONE\nencryption: NONE\n"
    );
    std::fs::write(folder.join("metadata.yaml"), metadata).unwrap();
    folder
}

const T: i64 = 1_704_110_400_000;

/// A service that has looked at storage once, as it does at its start.
async fn started() -> Running {
    let service = Running::start(one_routine).await;
    loop {
        let known = service.get("/v1/catalog").await.json();
        if known["routines"].as_array().unwrap().iter().all(|one| one["as-of"].is_string()) {
            return service;
        }
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
}

/// `timestamp` of each backup in a list.
fn times(list: &Value) -> Vec<i64> {
    list.as_array().unwrap().iter().map(|one| one["timestamp"].as_i64().unwrap()).collect()
}

#[tokio::test]
async fn a_list_is_as_old_as_it_says_until_storage_is_asked() {
    let service = started().await;
    abs_full(&service, T, "test");
    let first = service.get("/v1/backups/full/daily?refresh=true").await;
    assert_eq!(times(&first.json()), [T]);
    assert!(chrono::DateTime::parse_from_rfc3339(first.header("holdfast-as-of")).is_ok(), "{first:?}");
    assert_eq!(first.header("holdfast-stale"), "");

    // Another instance writes; this one does not know yet.
    abs_full(&service, T + 1000, "test");
    let cached = service.get("/v1/backups/full/daily").await;
    assert_eq!(
        (times(&cached.json()), cached.header("holdfast-as-of")),
        (vec![T], first.header("holdfast-as-of"))
    );
    let asked = service.get("/v1/backups/full?refresh=true").await;
    assert_eq!(times(&asked.json()["daily"]), [T, T + 1000]);
    assert_eq!(asked.json()["resting"], json!([]));
    let bounded = service.get(&format!("/v1/backups/full/daily?from={}", T + 1)).await.json();
    assert_eq!(times(&bounded), [T + 1000]);
    let wrong = service.get("/v1/backups/full/daily?refresh=yes").await;
    assert_eq!(
        (wrong.status, wrong.body.as_str()),
        (StatusCode::BAD_REQUEST, "invalid query param refresh: should be true or false\n")
    );

    // What is gone from storage is gone from the next reading, and the cache outlives the process.
    std::fs::remove_dir_all(service.dir.path().join(format!("backups/daily/backup/{T}"))).unwrap();
    let read = service.post("/v1/catalog/refresh?routine=daily", "").await.json();
    assert_eq!((&read["routines"][0]["refreshed"], &read["routines"][0]["full"]), (&json!(true), &json!(1)));
    let service = service.restart().await;
    assert_eq!(times(&service.get("/v1/backups/full/daily").await.json()), [T + 1000]);
}

/// rules.md 6.1: one that cannot be understood, and a storage that is away, hide nothing.
#[tokio::test]
async fn damage_and_an_unreachable_storage_hide_nothing() {
    let service = started().await;
    abs_full(&service, T, "test");
    let corrupt = abs_full(&service, T + 1000, "test");
    std::fs::write(corrupt.join("metadata.yaml"), "created: [").unwrap();
    let read = service.post("/v1/catalog/refresh", "").await.json();
    let daily = &read["routines"][0];
    assert_eq!(
        (&daily["routine"], &daily["full"], &daily["stale"]),
        (&json!("daily"), &json!(1), &Value::Null),
        "{read}"
    );
    assert_eq!(daily["problems"][0]["state"], "corrupt");
    assert_eq!(daily["problems"][0]["key"], format!("daily/backup/{}/data/test", T + 1000));
    let before = service.get("/v1/backups/full/daily").await;
    assert_eq!(times(&before.json()), [T]);

    let (there, away) = (service.dir.path().join("backups"), service.dir.path().join("away"));
    std::fs::rename(&there, &away).unwrap();
    let read = service.post("/v1/catalog/refresh", "").await.json();
    assert_eq!(read["routines"][0]["refreshed"], false);
    assert_eq!(read["routines"][0]["stale"]["code"], "storage-unavailable", "{read}");
    let stale = service.get("/v1/backups/full/daily").await;
    assert_eq!((stale.status, &stale.body), (StatusCode::OK, &before.body));
    assert_eq!(stale.header("holdfast-stale"), "storage-unavailable");
    assert_eq!(stale.header("holdfast-as-of"), before.header("holdfast-as-of"));
    // Who asks for storage is told that it is away.
    assert_eq!(
        service.get("/v1/backups/full/daily?refresh=true").await.status,
        StatusCode::INTERNAL_SERVER_ERROR
    );
    assert_eq!(service.get("/v1/catalog").await.json()["routines"][0]["full"], 1);

    std::fs::rename(&away, &there).unwrap();
    let again = service.get("/v1/backups/full/daily?refresh=true").await;
    assert_eq!((&again.body, again.header("holdfast-stale")), (&before.body, ""));
}

#[tokio::test]
async fn a_wrong_request_is_refused() {
    let service = Running::start(one_routine).await;
    for (method, path, status) in [
        (Method::POST, "/v1/catalog/refresh?routine=nobody", 404),
        (Method::POST, "/v1/catalog/refresh?rutine=daily", 400),
        (Method::GET, "/v1/catalog?routine=nobody", 404),
        (Method::GET, "/v1/catalog/refresh", 405),
    ] {
        assert_eq!(service.send(method, path, &[], "").await.status.as_u16(), status, "{path}");
    }
}

/// Prints how long the lists of 10,000 backups of 100 routines take; asserts no time.
#[tokio::test]
#[ignore = "a measurement: run with --run-ignored=only --no-capture, and --release for the figure"]
async fn ten_thousand_backups_of_a_hundred_routines() {
    let routines: String = (0..100)
        .map(|n| {
            format!(
                "  r{n}: {{source-cluster: nowhere, storage: disk, namespaces: [test], interval-cron: \"@yearly\"}}\n"
            )
        })
        .collect();
    let service = Running::start(|dir| format!("{}{routines}", one_routine(dir))).await;
    for n in 0..100 {
        for created in 0..100 {
            let folder = abs_full(&service, T + created, "test");
            let run = service.dir.path().join(format!("backups/r{n}/backup/{}", T + created));
            std::fs::create_dir_all(run.parent().unwrap()).unwrap();
            std::fs::rename(folder.parent().unwrap().parent().unwrap(), run).unwrap();
        }
    }
    let began = std::time::Instant::now();
    service.post("/v1/catalog/refresh", "").await.json();
    println!("read from local disk: {:?}", began.elapsed());
    for path in ["/v1/backups/full", "/v1/backups/full/r7"] {
        let mut times: Vec<std::time::Duration> = Vec::new();
        for _ in 0..15 {
            let began = std::time::Instant::now();
            let answer = service.get(path).await;
            times.push(began.elapsed());
            assert!(answer.body.matches("\"timestamp\"").count() >= 100);
        }
        times.sort();
        println!("GET {path}: median {:?}, fastest {:?}, slowest {:?}", times[7], times[0], times[14]);
    }
}
