//! The cache of the catalog: lists without storage, how old they are, and reading storage again.

use crate::helpers::{Running, one_routine};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use std::path::PathBuf;

/// A full of ABS, without any of our own files.
fn abs_full(service: &Running, created: i64, namespace: &str) -> PathBuf {
    abs(service, "backup", created, None, namespace)
}

/// A backup of ABS in the folder of its type, on what it builds.
fn abs(service: &Running, folder: &str, created: i64, from: Option<i64>, namespace: &str) -> PathBuf {
    let folder = service.dir.path().join(format!("backups/daily/{folder}/{created}/data/{namespace}"));
    std::fs::create_dir_all(&folder).unwrap();
    let text = |ms| chrono::DateTime::from_timestamp_millis(ms).unwrap().to_rfc3339();
    let (at, from) = (text(created), from.map_or_else(|| "0001-01-01T00:00:00Z".to_owned(), text));
    let metadata = format!(
        "created: {at}\nfinished: {at}\nfrom: {from}\nnamespace: {namespace}\nrecord-count: 0\n\
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

/// A full with two incrementals, and a full after them.
async fn with_a_chain() -> Running {
    let service = started().await;
    abs_full(&service, T, "test");
    abs(&service, "incremental", T + 1000, Some(T), "test");
    abs(&service, "incremental", T + 2000, Some(T + 1000), "test");
    abs_full(&service, T + 3000, "test");
    service.get("/v1/backups/full?refresh=true").await;
    service
}

#[tokio::test]
async fn one_backup_shows_its_files_its_chain_and_what_needs_it() {
    let service = with_a_chain().await;
    let folder = service.dir.path().join(format!("backups/daily/incremental/{}/data/test", T + 1000));
    std::fs::write(folder.join("0_test_1.asb"), "Version 3.1\n").unwrap();
    let one = service.get(&format!("/v1/backups/incremental/daily/{}", T + 1000)).await.json();
    let namespace = &one["namespaces"][0];
    assert_eq!((&one["timestamp"], &namespace["state"]), (&json!(T + 1000), &json!("whole")), "{one}");
    assert_eq!(
        namespace["files"],
        json!([{"name": "0_test_1.asb", "size-bytes": 12, "records": null, "blake3": null}])
    );
    let timestamps = |list: &Value| -> Vec<i64> {
        list.as_array().unwrap().iter().map(|one| one["timestamp"].as_i64().unwrap()).collect()
    };
    assert_eq!(timestamps(&namespace["chain"]), [T, T + 1000]);
    assert_eq!(timestamps(&namespace["dependents"]), [T + 2000]);
    assert_eq!(namespace["from"], json!(T));

    let points = service.get("/v1/backups/restore-points/daily?limit=3").await.json();
    let namespace = &points["namespaces"][0];
    let windows = namespace["windows"].as_array().unwrap();
    let found: Vec<(i64, usize)> = windows
        .iter()
        .map(|one| (one["from"].as_i64().unwrap(), one["chain"].as_array().unwrap().len()))
        .collect();
    assert_eq!((found, &namespace["more"]), (vec![(T + 3000, 1), (T + 2000, 3), (T + 1000, 2)], &json!(1)));
    assert_eq!(windows[1]["to"], json!(T + 2999));
    for (path, status) in [
        (format!("full/daily/{}", T + 1000), 404),
        (format!("full/nobody/{T}"), 404),
        ("full/daily/yesterday".to_owned(), 400),
        ("restore-points/nobody".to_owned(), 404),
        ("restore-points/daily?limit=0".to_owned(), 400),
    ] {
        assert_eq!(service.get(&format!("/v1/backups/{path}")).await.status.as_u16(), status, "{path}");
    }
}

/// rules.md 5.3
#[tokio::test]
async fn a_backup_that_others_need_goes_only_with_them() {
    let service = with_a_chain().await;
    let full = format!("/v1/backups/full/daily/{T}");
    let delete = async |path: &str| service.send(Method::DELETE, path, &[], "").await;
    let refused = delete(&full).await;
    assert_eq!(refused.status, StatusCode::CONFLICT);
    for dependent in [T + 1000, T + 2000] {
        assert!(
            refused.body.contains(&format!("daily/incremental/{dependent}/data/test")),
            "{}",
            refused.body
        );
    }
    let plan = delete(&format!("{full}?cascade=true&dry-run=true")).await.json();
    let goes: Vec<(&Value, &Value)> =
        plan["backups"].as_array().unwrap().iter().map(|one| (&one["timestamp"], &one["why"])).collect();
    assert_eq!(
        goes,
        [
            (&json!(T + 2000), &json!("dependent")),
            (&json!(T + 1000), &json!("dependent")),
            (&json!(T), &json!("asked"))
        ]
    );
    assert_eq!((&plan["without-full"], &plan["in-use"]), (&json!([]), &json!([])));
    assert_eq!(
        delete(&format!("{full}?dry-run=true")).await.json()["dependents"].as_array().unwrap().len(),
        2
    );
    assert_eq!(service.get("/v1/jobs").await.json()["jobs"], json!([]), "nothing was done");

    let accepted = delete(&format!("{full}?cascade=true")).await;
    assert_eq!(accepted.status, StatusCode::ACCEPTED, "{}", accepted.body);
    let id = accepted.json()["id"].as_i64().unwrap();
    assert_eq!(accepted.header("location"), format!("/v1/jobs/{id}"));
    let job = service.job_in(id, &["succeeded", "failed"]).await;
    assert_eq!(
        (&job["status"], &job["kind"], &job["counters"]["deleted-backups"]),
        (&json!("succeeded"), &json!("retention"), &json!(3)),
        "{job}"
    );
    // Also without storage being asked again.
    assert_eq!(times(&service.get("/v1/backups/full/daily").await.json()), [T + 3000]);
    assert_eq!(service.get("/v1/backups/incremental/daily").await.json(), json!([]));
    assert_eq!(service.get(&full).await.status, StatusCode::NOT_FOUND);
    assert_eq!(delete(&full).await.status, StatusCode::NOT_FOUND);

    let last = delete(&format!("/v1/backups/full/daily/{}", T + 3000)).await.json();
    let job = service.job_in(last["id"].as_i64().unwrap(), &["succeeded", "failed"]).await;
    assert_eq!(
        (&job["status"], &job["warnings"][0]["code"]),
        (&json!("succeeded"), &json!("no-full-left")),
        "{job}"
    );
    for (path, status) in [("?cascade=maybe", 400), ("?dryrun=true", 400)] {
        assert_eq!(delete(&format!("{full}{path}")).await.status.as_u16(), status, "{path}");
    }
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

/// What was shown before is kept in memory: whatever changes it is seen at the next look.
#[tokio::test]
async fn a_list_that_was_shown_before_is_never_an_old_one() {
    let service = with_a_chain().await;
    let full = async || service.get("/v1/backups/full/daily").await.json();
    let all = [T, T + 3000];
    assert_eq!((times(&full().await), times(&full().await)), (all.into(), all.into()));

    // A verification: these backups are empty folders, so it finds them damaged.
    let job = service.trigger("/v1/backups/verify/daily").await;
    service.job_in(job, &["succeeded", "failed"]).await;
    assert_eq!(full().await[0]["verification"]["job"], job);

    // Another definition of the storage at the same place.
    let mut storage = service.get("/v1/config/storage/disk").await.json();
    storage["local-storage"]["min-part-size"] = json!(6 << 20);
    let put = service.send(Method::PUT, "/v1/config/storage/disk", &[], storage.to_string()).await;
    assert!(put.status.is_success(), "{put:?}");
    assert_eq!(full().await[1]["storage"], storage);

    // A bounded list is no whole one, before and after.
    let bounded = service.get(&format!("/v1/backups/full/daily?from={}", T + 1)).await.json();
    assert_eq!((times(&bounded), times(&full().await)), (vec![T + 3000], all.into()));

    // A deletion.
    let gone = service.send(Method::DELETE, &format!("/v1/backups/full/daily/{}", T + 3000), &[], "").await;
    assert_eq!(gone.status, StatusCode::ACCEPTED, "{gone:?}");
    service.job_in(gone.json()["id"].as_i64().unwrap(), &["succeeded"]).await;
    assert_eq!(times(&full().await), [T]);

    // A reading of storage, asked for by somebody else.
    abs_full(&service, T + 4000, "test");
    service.get("/v1/backups/full?refresh=true").await;
    assert_eq!(times(&full().await), [T, T + 4000]);
    let shown = service.get("/v1/backups/currentBackup/daily").await.json();
    let at = |ms| {
        chrono::DateTime::from_timestamp_millis(ms)
            .unwrap()
            .to_rfc3339_opts(chrono::SecondsFormat::Secs, true)
    };
    assert_eq!(shown["last-full"], at(T + 4000), "{shown}");
    assert_eq!(shown["last-incremental"], at(T + 2000), "{shown}");
}
