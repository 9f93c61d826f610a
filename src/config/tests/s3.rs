//! `s3-storage` (abs.md 2.5).

use secrecy::ExposeSecret;
use serde_json::{Value, json};

use super::{NOW, lines, upstream};
use crate::config::{
    Config, Problems, RestoreRequest, S3Class, S3Config, S3EncryptionMode, S3LockMode, S3LogLevel,
    StoragePlace, from_json,
};
use crate::secrets::{Keeper, SecretSource};

fn config(s3: &Value) -> Result<Config, Problems> {
    let mut document = upstream();
    document["secret-agents"] = json!({"a1": {"connection-type": "tcp", "address": "h", "port": 3005}});
    document["storage"]["s1"] = json!({"s3-storage": s3});
    Config::from_json(document.to_string().as_bytes(), NOW)
}

fn resolved(s3: &Value) -> S3Config {
    let config = config(s3).unwrap_or_else(|problems| panic!("{problems}"));
    match config.storage("s1").unwrap().place {
        StoragePlace::S3(s3) => *s3,
        _ => panic!("not S3"),
    }
}

fn s3(more: &Value) -> Value {
    let mut s3 = json!({"bucket": "as-backup-bucket", "s3-region": "eu-central-1"});
    for (key, value) in more.as_object().unwrap() {
        s3[key] = value.clone();
    }
    s3
}

#[test]
fn the_defaults_are_those_of_the_documents() {
    let plain = resolved(&s3(&json!({})));
    assert_eq!((plain.part_bytes, plain.requests_max, plain.requests_per_second), (8 << 20, 0, 0));
    assert_eq!((plain.path.as_str(), plain.path_style, plain.log_level), ("", false, S3LogLevel::Fatal));
    assert_eq!(plain.place(), "S3 bucket as-backup-bucket, path /");
    let own = resolved(&s3(&json!({"s3-endpoint-override": "http://minio:9000/", "path": "/a/b/"})));
    assert_eq!((own.path.as_str(), own.path_style), ("a/b", true));
    assert_eq!(own.place(), "S3 bucket as-backup-bucket at http://minio:9000, path /a/b");
}

#[test]
fn every_field_is_read_and_a_job_may_keep_what_comes_of_it() {
    let given = s3(&json!({
        "path": "p", "s3-profile": "backup", "s3-log-level": "debug", "min-part-size": 5_242_880,
        "max-async-connections": 16, "storage-class": {"data": "DEEP_ARCHIVE", "metadata": "STANDARD_IA"},
        "secret-agent-name": "a1", "access-key-id": "secrets:s3:id", "secret-access-key": "hunter2", "path-style": true,
        "server-side-encryption": {"mode": "aws:kms", "kms-key-id": "k"},
        "object-lock": {"mode": "COMPLIANCE", "days": 7}, "object-tags": ["team=db"], "checksum-algorithm": "SHA256",
        "assume-role": {"role-arn": "arn:aws:iam::1:role/r", "external-id": "e"}, "requests-per-second": 100,
    }));
    let got = resolved(&given);
    assert_eq!(
        (got.profile.as_deref(), got.log_level, got.part_bytes),
        (Some("backup"), S3LogLevel::Debug, 5 << 20)
    );
    assert_eq!(got.class.data, Some(S3Class::DeepArchive));
    assert_eq!(got.encryption.as_ref().unwrap().mode, S3EncryptionMode::Kms);
    assert_eq!((got.lock.unwrap().mode, got.lock.unwrap().days), (S3LockMode::Compliance, 7));
    assert_eq!(got.tags, [("team".to_owned(), "db".to_owned())]);
    assert_eq!((got.requests_max, got.requests_per_second), (16, 100));
    let (id, secret) = got.keys.as_ref().unwrap();
    assert!(matches!(id, SecretSource::Agent { .. }), "{id:?}");
    assert_eq!(secret, &SecretSource::Kept("storage/s1/s3-storage/secret-access-key".into()));

    let row = serde_json::to_string(&got).unwrap();
    assert!(!row.contains("hunter2"), "rules.md 7.4: {row}");
    assert_eq!(serde_json::from_str::<S3Config>(&row).unwrap(), got);

    let config = config(&given).unwrap();
    let kept = config.literal_secrets();
    assert_eq!(kept["storage/s1/s3-storage/secret-access-key"].expose_secret(), "hunter2");
    let shown = serde_json::to_value(&config).unwrap();
    let shown = &shown["storage"]["s1"]["s3-storage"];
    assert_eq!(shown["secret-access-key"], "[secret]");
    for (key, value) in given.as_object().unwrap() {
        if !["secret-access-key", "s3-log-level"].contains(&key.as_str()) {
            assert_eq!(&shown[key], value, "{key}");
        }
    }
}

#[test]
fn what_cannot_be_is_refused_at_its_field() {
    for (more, problem) in [
        (json!({"bucket": ""}), "bucket: empty field validation error: \"bucket\" required"),
        (json!({"bucket": "a b"}), "bucket: \"bucket\" must be the name of a bucket or an ARN"),
        (json!({"s3-region": ""}), "s3-region: empty field validation error: \"s3-region\" required"),
        (json!({"path": "a/../b"}), "path: \"path\" must be clean: no \"..\", no empty part"),
        (
            json!({"access-key-id": "a"}),
            "secret-access-key: empty field validation error: \"secret-access-key\" required",
        ),
        (
            json!({"min-part-size": 5_242_879}),
            "min-part-size: invalid value validation error: \"min-part-size\" 5242879",
        ),
        (
            json!({"s3-log-level": "LOUD"}),
            "s3-log-level: invalid value validation error: \"s3-log-level\" \"LOUD\"",
        ),
        (json!({"storage-class": {"data": "COLD"}}), "storage-class.data: invalid value"),
        (json!({"storage-class": {"metadata": "GLACIER"}}), "storage-class.metadata: invalid value"),
        (
            json!({"s3-endpoint-override": "minio:9000"}),
            "s3-endpoint-override: \"s3-endpoint-override\" must be",
        ),
        (
            json!({"s3-endpoint-override": "http://u:p@minio"}),
            "s3-endpoint-override: \"s3-endpoint-override\" must be",
        ),
        (json!({"server-side-encryption": {}}), "server-side-encryption.mode: empty field"),
        (
            json!({"server-side-encryption": {"mode": "AES256", "kms-key-id": "k"}}),
            "server-side-encryption.kms-key-id: \"kms-key-id\" says nothing",
        ),
        (json!({"object-lock": {"mode": "GOVERNANCE"}}), "object-lock.days: empty field"),
        (json!({"object-lock": {"mode": "GOVERNANCE", "days": 0}}), "object-lock.days: non-positive value"),
        (
            json!({"object-lock": {"mode": "GOVERNANCE", "days": 1}, "checksum-algorithm": "NONE"}),
            "checksum-algorithm: S3 locks no object",
        ),
        (json!({"object-tags": ["team"]}), "object-tags[0]: must be key=value"),
        (json!({"assume-role": {"role-arn": "backup"}}), "assume-role.role-arn: \"role-arn\" must be an ARN"),
        (
            json!({"access-key-id": "secrets:a:b", "secret-access-key": "secrets:a:c"}),
            "access-key-id: a secret of an agent needs",
        ),
        (
            json!({"secret-agent-name": "a9"}),
            "secret-agent-name: not found validation error: secret agent \"a9\"",
        ),
        (json!({"buckett": "b"}), "buckett: unknown field \"buckett\""),
    ] {
        let found = lines(&config(&s3(&more)).expect_err(&more.to_string()));
        let found = found.first().unwrap();
        assert!(found.contains(&format!("storage.s1.s3-storage.{problem}")), "{more}:\n{found}\n{problem}");
    }
}

/// A request's storage is asked with what the request has: nothing of this machine is sent where it says.
#[test]
fn a_request_may_name_a_bucket_but_no_variable_or_file_of_the_service() {
    let config = config(&s3(&json!({}))).unwrap();
    let resolve = |id: &str| {
        let request = json!({
            "backup-data-path": "r/backup/1700000000000", "destination-name": "c1",
            "source": {"s3-storage": s3(&json!({"access-key-id": id, "secret-access-key": "s"}))},
        });
        let mut request = from_json::<RestoreRequest>(request.to_string().as_bytes(), NOW).unwrap();
        request.ends.source.as_mut().unwrap().keep_secrets(&Keeper::default());
        config.resolve_restore(&request)
    };
    let kept = resolve("literal").unwrap();
    let StoragePlace::S3(s3) = &kept.source.place else { panic!() };
    assert!(matches!(s3.keys, Some((SecretSource::Kept(_), SecretSource::Kept(_)))));
    for reference in ["env:HOME", "${HOME}", "file:/etc/hostname"] {
        let refused = lines(&resolve(reference).unwrap_err());
        assert!(refused[0].contains("may not be a variable or a file"), "{refused:?}");
    }
}
