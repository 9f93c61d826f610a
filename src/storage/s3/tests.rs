//! Against s3s-fs in this process, and against answers that are told.

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;

use super::S3Storage;
use super::test_server::{ACCESS_KEY, BUCKET, Fault, S3Server, SECRET_KEY, Seen};
use crate::clock::{ManualClock, SharedClock};
use crate::config::{
    S3Checksum, S3Class, S3Config, S3Encryption, S3EncryptionMode, S3LockMode, S3LogLevel, S3ObjectLock,
    S3Role, S3StorageClass,
};
use crate::model::UnixMillis;
use crate::secrets::{Keeper, SecretSource};
use crate::storage::retry::still::Still;
use crate::storage::{Storage, conformance};
use crate::tls::test_certificates::Certificates;

/// 2026-11-21.
const NOW: UnixMillis = UnixMillis(1_795_219_200_000);
const MIB: usize = 1 << 20;

fn config(server: &S3Server) -> S3Config {
    S3Config {
        bucket: BUCKET.to_owned(),
        path: "some/where".to_owned(),
        region: "eu-central-1".to_owned(),
        profile: None,
        endpoint: Some(server.url.clone()),
        keys: Some((SecretSource::Kept("id".to_owned()), SecretSource::Kept("secret".to_owned()))),
        log_level: S3LogLevel::Fatal,
        part_bytes: 5 << 20,
        requests_max: 0,
        class: S3StorageClass::default(),
        path_style: true,
        encryption: None,
        lock: None,
        tags: Vec::new(),
        checksum: S3Checksum::Crc32,
        ca_file: None,
        role: None,
        requests_per_second: 0,
    }
}

async fn open(config: &S3Config) -> S3Storage {
    open_as(config, SECRET_KEY).await
}

async fn open_as(config: &S3Config, secret: &str) -> S3Storage {
    let keeper = Keeper::default();
    keeper.set_configured(
        [("id".to_owned(), ACCESS_KEY.into()), ("secret".to_owned(), secret.to_owned().into())].into(),
    );
    let clock: SharedClock = Arc::new(ManualClock::at(NOW));
    S3Storage::with_pace(config, &keeper, &clock, Arc::new(Still::default())).await.unwrap()
}

async fn bench() -> (S3Server, S3Storage) {
    let server = S3Server::start().await;
    let storage = open(&config(&server)).await;
    (server, storage)
}

async fn write(storage: &S3Storage, key: &str, size: usize) -> Vec<u8> {
    let bytes: Vec<u8> = (0..size).map(|at| (at ^ (at >> 9)) as u8).collect();
    let mut writer = storage.create(key).await.unwrap();
    for block in bytes.chunks(MIB - 1) {
        writer.write(Bytes::copy_from_slice(block)).await.unwrap();
    }
    assert_eq!(writer.finish().await.unwrap(), size as u64);
    bytes
}

async fn read(storage: &S3Storage, key: &str) -> crate::error::Result<Vec<u8>> {
    let mut reader = storage.open(key).await?;
    let mut bytes = Vec::new();
    while let Some(block) = reader.next().await? {
        bytes.extend_from_slice(&block);
    }
    assert_eq!(bytes.len() as u64, reader.size_bytes());
    Ok(bytes)
}

fn count(seen: &[Seen], method: &str, query: &str) -> usize {
    seen.iter().filter(|seen| seen.is(method, query)).count()
}

#[tokio::test]
async fn does_what_every_storage_does() {
    let (server, storage) = bench().await;
    conformance::run(&storage).await;
    assert!(server.bucket_dir().join("some/where").exists() || server.bucket_dir().exists());
}

#[tokio::test]
async fn does_it_in_a_whole_bucket_too_and_with_limits() {
    let server = S3Server::start().await;
    let config =
        S3Config { path: String::new(), requests_max: 1, log_level: S3LogLevel::Trace, ..config(&server) };
    conformance::run(&open(&config).await).await;
}

#[tokio::test]
async fn a_place_in_another_shows_the_same_objects_under_the_same_address() {
    let (server, storage) = bench().await;
    let whole = open(&S3Config { path: String::new(), ..config(&server) }).await;
    let inner = crate::storage::address(&storage.describe(), "r/backup");
    assert_eq!(inner, crate::storage::address(&whole.describe(), "some/where/r/backup"));
    assert_eq!(inner, format!("S3 bucket bucket at {}, path /some/where/r/backup", server.url));
}

#[tokio::test]
async fn small_objects_take_one_request_and_large_ones_go_up_in_parts_of_the_size_asked_for() {
    let (server, storage) = bench().await;
    server.seen();
    write(&storage, "a/small.asb", 5 * MIB - 1).await;
    assert_eq!(server.seen().len(), 1);
    let bytes = write(&storage, "a/large.asb", 11 * MIB).await;
    let seen = server.seen();
    assert_eq!(count(&seen, "POST", "uploads"), 1);
    let sizes: Vec<_> = seen
        .iter()
        .filter(|seen| seen.is("PUT", "partNumber"))
        .map(|seen| seen.header("content-length").unwrap())
        .collect();
    assert_eq!(sizes, ["5242880", "5242880", "1048576"]);
    assert!(read(&storage, "a/large.asb").await.unwrap() == bytes);
}

/// Nothing is seen before the end, and what is given up leaves no upload behind.
#[tokio::test]
async fn an_upload_that_is_aborted_or_dropped_is_given_up() {
    let (server, storage) = bench().await;
    for drops in [false, true] {
        let mut writer = storage.create("a/b.asb").await.unwrap();
        writer.write(Bytes::from(vec![1; 6 * MIB])).await.unwrap();
        assert!(storage.head("a/b.asb").await.unwrap().is_none());
        server.seen();
        if drops {
            drop(writer);
        } else {
            writer.abort().await.unwrap();
        }
        let mut aborted = 0;
        for _ in 0..500 {
            aborted += count(&server.seen(), "DELETE", "uploadId");
            if aborted > 0 {
                break;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        assert_eq!(aborted, 1, "dropped: {drops}");
        assert!(storage.head("a/b.asb").await.unwrap().is_none());
    }
}

#[tokio::test]
async fn what_can_pass_is_tried_again() {
    let (server, storage) = bench().await;
    let left = Arc::new(AtomicU32::new(0));
    server.on({
        let left = Arc::clone(&left);
        move |seen| {
            let is_head = seen.method == "HEAD"; // its answers have no body, so no code
            let fails = left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1));
            fails.ok().map(|left| match left % 3 {
                0 => Fault::error(503, "SlowDown"),
                1 | 2 if is_head => Fault::error(500, ""),
                1 => Fault::error(500, "InternalError"),
                _ => Fault::error(400, "RequestTimeout"),
            })
        }
    });
    let fail = |times| left.store(times, Ordering::SeqCst);
    fail(3);
    storage.put("a/b", "x".into()).await.unwrap();
    fail(2);
    assert_eq!(storage.get("a/b", 10).await.unwrap().unwrap(), "x");
    fail(2);
    assert_eq!(storage.list("").await.unwrap().len(), 1);
    fail(2);
    assert!(storage.head("a/b").await.unwrap().is_some());
    for at in 1..=4 {
        fail(at);
        let bytes = write(&storage, "a/large", 11 * MIB).await;
        fail(at);
        assert!(read(&storage, "a/large").await.unwrap() == bytes);
    }
    fail(2);
    assert_eq!(storage.delete_prefix("a").await.unwrap(), 2);
}

/// Also where "absent" would be the convenient answer (rules.md 6.1).
#[tokio::test]
async fn what_does_not_pass_is_an_error_of_every_call_and_never_absence() {
    let (server, storage) = bench().await;
    storage.put("a/b", "x".into()).await.unwrap();
    for (status, code, ours, permanent) in [
        (503, "SlowDown", "storage-unavailable", false),
        (403, "AccessDenied", "storage-denied", true),
        (404, "NoSuchBucket", "storage-bucket-missing", true),
        (301, "PermanentRedirect", "storage-refused", true),
        (400, "InvalidRequest", "storage-refused", true),
        (507, "InsufficientStorage", "storage-full", false),
    ] {
        server.on(move |_| Some(Fault::error(status, code)));
        let fresh = open(&config(&server)).await;
        let errors = [
            fresh.put("a/b", "x".into()).await.err(),
            fresh.get("a/b", 10).await.err(),
            fresh.open("a/b").await.err(),
            fresh.list("a").await.err(),
            fresh.list_dirs("a").await.err(),
            fresh.delete("a/b").await.err(),
            fresh.delete_prefix("a").await.err(),
            fresh.head("a/b").await.err(),
        ];
        for (at, error) in errors.into_iter().enumerate() {
            let error = error.unwrap_or_else(|| panic!("call {at} took {code} for an answer"));
            assert_eq!((error.code(), error.is_temporary()), (ours, !permanent), "{at}: {}", error.report());
            let report = error.report();
            assert!(report.contains("S3 bucket bucket at http://127.0.0.1"), "{report}");
            assert!(!report.contains(ACCESS_KEY) && !report.contains(SECRET_KEY), "{report}");
            assert_eq!(report.contains("tries in"), !permanent, "{report}");
        }
    }
    server.heal();
    assert_eq!(storage.get("a/b", 10).await.unwrap().unwrap(), "x");
}

#[tokio::test]
async fn a_server_that_is_not_there_or_does_not_know_us_is_said_so() {
    let server = S3Server::start().await;
    let error = open_as(&config(&server), "wrong").await.list("").await.unwrap_err();
    assert_eq!(error.code(), "storage-denied", "{}", error.report());
    assert!(!error.report().contains("wrong"), "{}", error.report());
    let storage = open(&config(&server)).await;
    let keyless = {
        let clock: SharedClock = Arc::new(ManualClock::at(NOW));
        S3Storage::open(&config(&server), &Keeper::default(), &clock).await.unwrap()
    };
    assert_eq!(keyless.list("").await.unwrap_err().code(), "secret-missing");
    drop(server);
    let error = storage.list("").await.unwrap_err();
    assert_eq!(error.code(), "storage-unavailable", "{}", error.report());
}

#[tokio::test]
async fn a_read_that_breaks_off_goes_on_where_it_was() {
    let (server, storage) = bench().await;
    let bytes = write(&storage, "a/b.asb", 3 * MIB).await;
    let cuts = Arc::new(Mutex::new(vec![0, 1, 999_999, MIB]));
    server.on({
        let cuts = Arc::clone(&cuts);
        move |seen| (seen.method == "GET").then(|| cuts.lock().unwrap().pop().map(Fault::Cut)).flatten()
    });
    server.seen();
    assert!(read(&storage, "a/b.asb").await.unwrap() == bytes);
    let seen = server.seen();
    let ranges: Vec<_> = seen.iter().filter_map(|seen| seen.header("range")).collect();
    assert_eq!(ranges.len(), 4, "{ranges:?}");
    assert_eq!(ranges[0], format!("bytes={MIB}-"));
    assert!(seen.iter().skip(1).all(|seen| seen.header("if-match").is_some()), "the same object, or none");

    // One that breaks off at the same place for ever ends.
    server.on(|seen| (seen.method == "GET").then_some(Fault::Cut(100_000)));
    assert_eq!(read(&storage, "a/b.asb").await.unwrap_err().code(), "storage-io");
    assert_eq!(storage.get("a/b.asb", 1 << 30).await.unwrap_err().code(), "storage-io");
}

#[tokio::test]
async fn an_object_that_changes_while_it_is_read_is_not_mixed() {
    let (server, storage) = bench().await;
    write(&storage, "a/b.asb", 2 * MIB).await;
    server.on(|seen| (seen.method == "GET" && seen.header("range").is_none()).then_some(Fault::Cut(MIB)));
    let mut reader = storage.open("a/b.asb").await.unwrap();
    reader.next().await.unwrap().unwrap();
    storage.put("a/b.asb", Bytes::from(vec![9; 2 * MIB])).await.unwrap();
    let error = loop {
        match reader.next().await {
            Ok(block) => assert!(block.is_some(), "a mix was given"),
            Err(error) => break error,
        }
    };
    assert_eq!(error.code(), "storage-io", "{}", error.report());
}

/// The server did what it was asked for, and its answer was lost.
#[tokio::test]
async fn an_upload_whose_last_answer_is_lost_is_found_finished() {
    let (server, storage) = bench().await;
    let mut faults = vec![Fault::error(404, "NoSuchUpload"), Fault::Hidden(503)];
    server.on(move |seen| seen.is("POST", "uploadId").then(|| faults.pop()).flatten());
    let bytes = write(&storage, "a/b.asb", 6 * MIB).await;
    server.heal();
    assert!(read(&storage, "a/b.asb").await.unwrap() == bytes);
}

/// Not tried again as it is: only another upload can do.
#[tokio::test]
async fn an_upload_that_somebody_gave_up_is_a_temporary_error_at_once() {
    let (server, storage) = bench().await;
    for part in [true, false] {
        let mut writer = storage.create("a/b.asb").await.unwrap();
        writer.write(Bytes::from(vec![1; 5 * MIB])).await.unwrap();
        writer.write(Bytes::from(vec![2; 9])).await.unwrap();
        server.on(move |seen| {
            let hit = if part { seen.is("PUT", "partNumber=2") } else { seen.is("POST", "uploadId") };
            hit.then(|| Fault::error(404, "NoSuchUpload"))
        });
        let error = writer.finish().await.unwrap_err();
        assert_eq!((error.code(), error.is_temporary()), ("storage-io", true), "{}", error.report());
        assert!(!error.report().contains("tries in"), "{}", error.report());
        server.heal();
    }
}

#[tokio::test]
async fn a_role_is_taken_and_one_that_is_not_ours_is_said_so() {
    let server = S3Server::start().await;
    let role = S3Role {
        role_arn: "arn:aws:iam::123456789012:role/backup".to_owned(),
        external_id: Some("e".to_owned()),
        sts_endpoint: Some(server.url.clone()),
        ..S3Role::default()
    };
    let config = S3Config { role: Some(role), ..config(&server) };
    let refuses = Arc::new(AtomicBool::new(false));
    server.on({
        let refuses = Arc::clone(&refuses);
        move |seen| {
            let answer = STS_ANSWER.replace("ACCESS", ACCESS_KEY).replace("SECRET", SECRET_KEY);
            let refused = refuses.load(Ordering::SeqCst);
            let (status, body) = if refused { (403, STS_REFUSAL.to_owned()) } else { (200, answer) };
            (seen.method == "POST" && seen.path == "/").then(|| Fault::Answer(status, Vec::new(), body))
        }
    });
    let storage = open(&config).await;
    storage.put("a/b", "x".into()).await.unwrap();
    let seen = server.seen();
    assert_eq!((seen.len(), seen[0].path.as_str()), (2, "/"));
    assert_eq!(seen[1].header("x-amz-security-token"), Some("a-token"));
    refuses.store(true, Ordering::SeqCst);
    let error = open(&config).await.list("").await.unwrap_err();
    assert_eq!((error.code(), error.is_temporary()), ("storage-denied", false), "{}", error.report());
}

const STS_ANSWER: &str = "<AssumeRoleResponse xmlns=\"https://sts.amazonaws.com/doc/2011-06-15/\"><AssumeRoleResult>\
    <AssumedRoleUser><AssumedRoleId>r:s</AssumedRoleId><Arn>arn:aws:sts::123456789012:assumed-role/backup/s</Arn>\
    </AssumedRoleUser><Credentials><AccessKeyId>ACCESS</AccessKeyId><SecretAccessKey>SECRET</SecretAccessKey>\
    <SessionToken>a-token</SessionToken><Expiration>2099-01-01T00:00:00Z</Expiration></Credentials>\
    </AssumeRoleResult></AssumeRoleResponse>";
const STS_REFUSAL: &str = "<ErrorResponse xmlns=\"https://sts.amazonaws.com/doc/2011-06-15/\"><Error><Type>Sender</Type>\
    <Code>AccessDenied</Code><Message>not authorized to perform sts:AssumeRole</Message></Error></ErrorResponse>";

/// A server with a certificate of an authority of one's own.
#[tokio::test]
async fn authorities_are_those_of_the_configuration() {
    let certificates = Certificates::new("s3.test");
    let server = S3Server::start_with(Some(certificates.server(false))).await;
    let trusting = |file: &str| S3Config { ca_file: Some(certificates.path(file)), ..config(&server) };
    let storage = open(&trusting("ca.pem")).await;
    storage.put("a/b", "x".into()).await.unwrap();
    assert_eq!(storage.get("a/b", 9).await.unwrap().unwrap(), "x");

    let other = Certificates::new("s3.test");
    let foreign = S3Config { ca_file: Some(other.path("ca.pem")), ..config(&server) };
    let error = open(&foreign).await.list("").await.unwrap_err();
    assert_eq!((error.code(), error.is_temporary()), ("tls-refused", false), "{}", error.report());

    let clock: SharedClock = Arc::new(ManualClock::at(NOW));
    for file in ["no-such-file", "server.key"] {
        let error = S3Storage::open(&trusting(file), &Keeper::default(), &clock).await.unwrap_err();
        assert_eq!(error.code(), "tls-files", "{}", error.report());
    }
}

#[tokio::test]
async fn an_archived_object_is_named_as_such_with_what_to_do() {
    let (server, storage) = bench().await;
    server.on(|seen| {
        (seen.method == "GET").then(|| {
            Fault::Answer(
                403,
                vec![("content-type", "application/xml".to_owned())],
                "<Error><Code>InvalidObjectState</Code><Message>The operation is not valid for the object's storage \
                 class</Message><StorageClass>DEEP_ARCHIVE</StorageClass></Error>"
                    .to_owned(),
            )
        })
    });
    let error = storage.open("r/backup/1/data/ns/0_ns_1.asb").await.err().unwrap();
    assert_eq!((error.code(), error.is_temporary()), ("storage-archived", false));
    let report = error.report();
    assert!(report.contains("DEEP_ARCHIVE"), "{report}");
    assert!(
        report.contains("restore-object --bucket bucket --key 'some/where/r/backup/1/data/ns/0_ns_1.asb'"),
        "{report}"
    );
}

#[tokio::test]
async fn objects_are_asked_for_as_configured_in_one_request_and_in_parts() {
    let server = S3Server::start().await;
    let config = S3Config {
        class: S3StorageClass { data: Some(S3Class::GlacierIr), metadata: Some(S3Class::StandardIa) },
        encryption: Some(S3Encryption {
            mode: S3EncryptionMode::Kms,
            kms_key_id: Some("arn:aws:kms:eu-central-1:1:key/k".to_owned()),
        }),
        lock: Some(S3ObjectLock { mode: S3LockMode::Compliance, days: 30 }),
        tags: vec![("team".to_owned(), "a b".to_owned())],
        checksum: S3Checksum::Sha256,
        ..config(&server)
    };
    let storage = open(&config).await;
    server.on(|_| Some(Fault::error(403, "AccessDenied")));
    let _ = storage.put("r/backup/1/data/ns/metadata.yaml", "x".into()).await;
    let _ = storage.put("r/backup/1/data/ns/a.asb", "x".into()).await;
    let mut writer = storage.create("r/backup/1/data/ns/b.asb").await.unwrap();
    let _ = writer.write(Bytes::from(vec![0; 5 * MIB])).await;
    drop(writer);
    let _ = storage.put("r/holdfast-owner.json", "x".into()).await;
    let seen = server.seen();
    let sent: Vec<_> = seen.iter().filter(|seen| seen.method != "DELETE").collect();
    assert_eq!(sent.len(), 4);
    for (seen, class) in sent.iter().zip([Some("STANDARD_IA"), Some("GLACIER_IR"), Some("GLACIER_IR"), None])
    {
        assert_eq!(seen.header("x-amz-storage-class"), class, "{}", seen.path);
        assert_eq!(seen.header("x-amz-server-side-encryption"), Some("aws:kms"));
        let key = seen.header("x-amz-server-side-encryption-aws-kms-key-id");
        assert_eq!(key, Some("arn:aws:kms:eu-central-1:1:key/k"));
        assert_eq!(seen.header("x-amz-tagging"), Some("team=a%20b"));
        // What is written again and again is not locked.
        assert_eq!(seen.header("x-amz-object-lock-mode"), class.map(|_| "COMPLIANCE"));
        let until = seen.header("x-amz-object-lock-retain-until-date");
        assert_eq!(until.map(|until| &until[..19]), class.map(|_| "2026-12-21T00:00:00"));
        let algorithm =
            if seen.method == "POST" { "x-amz-checksum-algorithm" } else { "x-amz-checksum-sha256" };
        assert!(seen.header(algorithm).is_some(), "{:?}", seen.headers);
    }
}

#[tokio::test]
async fn nothing_is_asked_for_that_is_not_configured() {
    let server = S3Server::start().await;
    let storage = open(&S3Config { checksum: S3Checksum::None, ..config(&server) }).await;
    server.seen();
    storage.put("a.asb", "x".into()).await.unwrap();
    write(&storage, "b.asb", 6 * MIB).await;
    for seen in server.seen() {
        for name in
            ["x-amz-storage-class", "x-amz-server-side-encryption", "x-amz-tagging", "x-amz-object-lock-mode"]
        {
            assert_eq!(seen.header(name), None);
        }
        let checksums: Vec<_> = seen.headers.keys().filter(|name| name.contains("checksum")).collect();
        assert!(checksums.is_empty(), "{checksums:?}");
    }
    assert_eq!(storage.list("").await.unwrap().len(), 2);
}

#[tokio::test]
async fn a_server_that_says_when_to_come_back_is_believed() {
    let server = S3Server::start().await;
    let pace = Arc::new(Still::default());
    let keeper = Keeper::default();
    keeper.set_configured(
        [("id".to_owned(), ACCESS_KEY.into()), ("secret".to_owned(), SECRET_KEY.into())].into(),
    );
    let clock: SharedClock = Arc::new(ManualClock::at(NOW));
    let storage =
        S3Storage::with_pace(&config(&server), &keeper, &clock, Arc::clone(&pace) as _).await.unwrap();
    let mut first = true;
    server.on(move |_| {
        std::mem::take(&mut first)
            .then(|| Fault::Answer(429, vec![("retry-after", "17".to_owned())], String::new()))
    });
    storage.put("a", "x".into()).await.unwrap();
    assert_eq!(pace.pauses(), [Duration::from_secs(17)]);
}
