//! The bodies of the REST API.

use serde_json::{Value as Json, json};

use super::{NOW, lines, upstream_config};
use crate::config::{
    Cluster, Compression, Config, EncryptionMode, EncryptionPolicy, KeyPlace, Policy, ProblemKind,
    RestoreConfig, RestoreRequest, RestoreTarget, RestoreTimestampRequest, Routine, Storage, VerifyFirst,
    from_json,
};
use crate::config::{FromJson, Problems};
use crate::model::UnixMillis;

fn read<T: FromJson>(body: &Json) -> Result<T, Problems> {
    from_json(body.to_string().as_bytes(), NOW)
}

fn first<T: FromJson + std::fmt::Debug>(body: &Json) -> String {
    read::<T>(body).unwrap_err().first().unwrap().text()
}

fn by_path() -> Json {
    json!({"backup-data-path": "r/backup/1704110400000/data/ns", "source-name": "s1", "destination-name": "c1"})
}

fn by_time() -> Json {
    json!({"routine": "keep", "time": 1_710_671_632_452_i64})
}

#[test]
fn empty_parts_are_refused_in_abs_words() {
    // abs.md 7.1.
    let empty = json!({});
    assert_eq!(first::<Cluster>(&empty), "seed nodes are not specified");
    assert_eq!(first::<Storage>(&empty), "no storage type specified");
    assert_eq!(first::<Routine>(&empty), "empty field validation error: \"source-cluster\" required");
    assert_eq!(
        first::<RestoreRequest>(&empty),
        "empty field validation error: \"backup-data-path\" required"
    );
    assert_eq!(first::<RestoreTimestampRequest>(&empty), "empty field validation error: \"time\" required");
    assert_eq!(read::<Policy>(&empty).unwrap(), Policy::default());
}

#[test]
fn a_body_that_is_no_document_is_refused() {
    for (body, expected) in [
        (" \n", "request body is empty"),
        ("{} {}", "trailing characters at line 1 column 4"),
        ("{\"parallel\": 1, \"parallel\": 2}", "key \"parallel\" is given twice"),
        ("[]", "must be a mapping; an empty one is {}"),
        ("{\"parallel\": \"1\"}", "\"parallel\" must be an integer, not \"1\""),
        ("{\"parallel\": 1.0}", "\"parallel\" must be an integer, not 1.0"),
        ("{\"sealed\": \"yes\"}", "\"sealed\" must be true or false, not \"yes\""),
        ("{\"paralel\": 1}", "unknown field \"paralel\" - did you mean: \"parallel\"?"),
    ] {
        let problems = from_json::<Policy>(body.as_bytes(), NOW).unwrap_err();
        let problem = problems.first().unwrap();
        assert!(problem.text().starts_with(expected), "{body}: {}", problem.text());
        assert_eq!(problem.kind, ProblemKind::Shape, "{body}");
    }
}

#[test]
fn what_is_no_document_comes_before_what_cannot_be() {
    // The API's prefix depends on it: `invalid JSON payload` before `invalid request` (abs.md 1.1).
    let problems = read::<RestoreRequest>(&json!({"backup-path": "x"})).unwrap_err();
    assert_eq!(problems.first().unwrap().kind, ProblemKind::Shape);
    assert_eq!(problems.len(), 4, "{problems}");
}

#[test]
fn each_mistake_of_a_restore_by_path_names_its_field() {
    let table = [
        (
            "/backup-data-path",
            json!("../x"),
            "backup-data-path",
            "validation error: backup-data-path must not contain traversal",
        ),
        (
            "/backup-data-path",
            json!("/etc"),
            "backup-data-path",
            "validation error: backup-data-path must be local, \"/etc\" is not",
        ),
        (
            "/backup-data-path",
            json!("a//b"),
            "backup-data-path",
            "validation error: backup-data-path must be clean, \"a//b\" is not",
        ),
        (
            "/source-name",
            Json::Null,
            "source",
            "required fields validation error: must specify either \"source\" or \"source-name\"",
        ),
        (
            "/source",
            json!({"local-storage": {"path": "/x"}}),
            "source-name",
            "mutually exclusive fields validation error: cannot specify both \"source\" and \"source-name\"",
        ),
        (
            "/destination-name",
            json!(""),
            "destination",
            "required fields validation error: must specify either \"destination\" or \"destination-name\"",
        ),
        (
            "/policy/parallel",
            json!(0),
            "policy.parallel",
            "non-positive value validation error: \"parallel\" 0 invalid, should be positive number",
        ),
        (
            "/policy/batch-size",
            json!(-5),
            "policy.batch-size",
            "non-positive value validation error: \"batch-size\" -5 invalid, should be positive number",
        ),
        (
            "/policy/extra-ttl",
            json!(-1),
            "policy.extra-ttl",
            "negative value validation error: \"extra-ttl\" -1 invalid, should not be negative number",
        ),
        (
            "/policy/extra-ttl",
            json!(u64::MAX),
            "policy.extra-ttl",
            "invalid value validation error: \"extra-ttl\" 18446744073709551615 invalid, should be between 0 and 4294967295",
        ),
        (
            "/policy/namespace",
            json!({"source": "a"}),
            "policy.namespace.destination",
            "empty field validation error: \"destination\" required",
        ),
        (
            "/policy/replace",
            json!(true),
            "policy.replace",
            "mutually exclusive fields validation error: cannot specify both \"replace\" and \"unique\"",
        ),
        (
            "/policy/compression",
            json!({"mode": "GZIP"}),
            "policy.compression.mode",
            "invalid value validation error: \"mode\" \"GZIP\" invalid, should be one of NONE, ZSTD",
        ),
        (
            "/verify-first",
            json!("sometimes"),
            "verify-first",
            "invalid value validation error: \"verify-first\" \"sometimes\" invalid, should be one of auto, always, never",
        ),
        ("/time", json!(5), "time", "unknown field \"time\""),
    ];
    for (pointer, value, path, text) in table {
        let mut body = by_path();
        body["policy"] = json!({"unique": true});
        let (parent, key) = pointer.rsplit_once('/').unwrap();
        body.pointer_mut(parent).unwrap()[key] = value;
        let problems = read::<RestoreRequest>(&body).unwrap_err();
        let found: Vec<_> = problems.iter().map(|one| (one.path.as_str(), one.text())).collect();
        assert_eq!(found, [(path, text.to_owned())], "{pointer}");
    }
}

#[test]
fn each_mistake_of_a_restore_by_time_names_its_field() {
    for (change, path, text) in [
        (json!({"time": 0}), "time", "empty field validation error: \"time\" required"),
        (
            json!({"time": 1_710_671_632}),
            "time",
            "validation error: restore timestamp must be in milliseconds",
        ),
        (
            json!({"time": -1}),
            "time",
            "negative value validation error: \"time\" -1 invalid, should not be negative number",
        ),
        (json!({"time": "now"}), "time", "\"time\" must be an integer, not \"now\""),
        (json!({"routine": ""}), "routine", "empty field validation error: \"routine\" required"),
        (
            json!({"routine": "../x"}),
            "routine",
            "name \"../x\" must be a single path segment: no \"/\", \"\\\" or control characters",
        ),
        (
            json!({"namespaces": ["a;b"]}),
            "namespaces[0]",
            "namespace \"a;b\" must not hold \";\", \":\", \"=\" or \",\"",
        ),
        (
            json!({"policy": {"namespace": {"source": "a", "destination": "b:c"}}}),
            "policy.namespace.destination",
            "namespace \"b:c\" must not hold \";\", \":\", \"=\" or \",\"",
        ),
        (json!({"storage": {}}), "storage", "field \"storage\" is deprecated. Use source"),
        (
            json!({"storage-name": "s"}),
            "storage-name",
            "field \"storage-name\" is deprecated. Use source-name",
        ),
        (json!({"namespaces": ["a", "a"]}), "namespaces[1]", "namespace \"a\" is listed twice"),
        (
            json!({"policy": {"compression": {"mode": "ZSTD"}}}),
            "policy",
            "\"compression\" is known from each backup's metadata, leave it out",
        ),
        (
            json!({"disable-reordering": true, "policy": {"ignore-record-error": true}}),
            "disable-reordering",
            "mutually exclusive fields validation error: cannot specify both \"disable-reordering\" and \"ignore-record-error\"",
        ),
        (
            json!({"policy": {"tps": 0}}),
            "policy.tps",
            "non-positive value validation error: \"tps\" 0 invalid, should be positive number",
        ),
        (
            json!({"policy": {"bandwidth": 7}}),
            "policy.bandwidth",
            "invalid value validation error: \"bandwidth\" 7 invalid, should be between 8 and 1048576",
        ),
        (
            json!({"policy": {"bin-list": ["a", "longer-than-15-b"]}}),
            "policy.bin-list[1]",
            "bin \"longer-than-15-b\" must have 1 to 15 bytes",
        ),
        (
            json!({"disable-reordering": true, "policy": {"unique": true}}),
            "disable-reordering",
            "mutually exclusive fields validation error: cannot specify both \"disable-reordering\" and \"unique\"",
        ),
    ] {
        let mut body = by_time();
        for (key, value) in change.as_object().unwrap() {
            body[key] = value.clone();
        }
        let problems = read::<RestoreTimestampRequest>(&body).unwrap_err();
        let found: Vec<_> = problems.iter().map(|one| (one.path.as_str(), one.text())).collect();
        assert_eq!(found, [(path, text.to_owned())], "{change}");
    }
}

#[test]
fn limits_and_lists_of_a_restore_resolve() {
    let mut body = by_path();
    body["validate"] = json!(true);
    body["apply-metadata-last"] = json!(true);
    body["policy"] = json!({
        "tps": 5, "bandwidth": 8, "bin-list": ["a"], "ignore-record-error": true, "disable-batch-writes": true,
        "batch-size": 1000,
    });
    let restore = upstream_config().resolve_restore(&read(&body).unwrap()).unwrap();
    let policy = &restore.policy;
    assert_eq!((policy.records_per_second, policy.bytes_per_second), (Some(5), Some(8 << 20)));
    assert_eq!((policy.bins.as_slice(), policy.batch_size), (&["a".to_owned()][..], 1000));
    assert!(policy.ignore_record_error && policy.disable_batch_writes);
    assert!(restore.care.validate && restore.care.apply_metadata_last);
}

#[test]
fn a_restore_names_the_key_or_takes_the_routines_own() {
    let mut config = upstream_config();
    let place = |path: &str| Some(KeyPlace::File(path.into()));
    let own = EncryptionPolicy {
        mode: Some(EncryptionMode::Aes256Gcm),
        key_file: Some("/own".to_owned()),
        ..EncryptionPolicy::default()
    };
    config.backup_policies.get_mut("p1").unwrap().encryption = Some(own);
    let resolve =
        |body: &Json| config.resolve_restore_timestamp(&read(body).unwrap()).unwrap().policy.encryption;
    let mut body = by_time();
    let found = resolve(&body).unwrap();
    assert_eq!((found.mode, Some(found.key)), (None, place("/own")));
    body["policy"] = json!({"encryption": {"mode": "AES128", "key-file": "/given"}});
    let found = resolve(&body).unwrap();
    assert_eq!((found.mode, Some(found.key)), (Some(EncryptionMode::Aes128), place("/given")));
    body["policy"] = json!({"encryption": {"mode": "NONE"}});
    assert_eq!(resolve(&body), None);
    // By path nothing but the request names it; the mode may be left out.
    let mut body = by_path();
    let by_path = |body: &Json| config.resolve_restore(&read(body).unwrap()).unwrap().policy.encryption;
    assert_eq!(by_path(&body), None);
    body["policy"] = json!({"encryption": {"key-env": "KEY"}});
    assert_eq!(by_path(&body).unwrap().key, KeyPlace::Env("KEY".to_owned()));
}

#[test]
fn a_restore_by_path_resolves_with_abs_defaults() {
    let config = upstream_config();
    let mut body = by_path();
    body["backup-data-path"] = json!("r/backup/1704110400000/data/ns/");
    body["policy"] = json!({"socket-timeout": 0, "total-timeout": 7, "compression": {"mode": "zstd"}});
    let restore = config.resolve_restore(&read(&body).unwrap()).unwrap();
    let path = "r/backup/1704110400000/data/ns".to_owned();
    assert_eq!(restore.target, RestoreTarget::Path { path, allow_incomplete: false });
    // abs.md 1.3.
    let policy = &restore.policy;
    assert_eq!((policy.parallel, policy.batches_max, policy.batch_size), (8, 128, 128));
    assert_eq!((policy.socket_timeout_ms, policy.total_timeout_ms), (7, 7));
    assert_eq!(policy.retry.delay_ms(1), 4_000);
    assert_eq!(policy.compression, Compression::Zstd { level: 3 });
    assert_eq!(restore.care.verify_first, VerifyFirst::Auto);
    let row = serde_json::to_string(&restore).unwrap();
    assert_eq!(serde_json::from_str::<RestoreConfig>(&row).unwrap(), restore);
}

#[test]
fn a_restore_by_time_takes_what_is_missing_from_the_routine() {
    let config = upstream_config();
    let request: RestoreTimestampRequest = read(&by_time()).unwrap();
    let restore = config.resolve_restore_timestamp(&request).unwrap();
    assert_eq!(restore.source.name.as_deref(), Some("s1"));
    assert_eq!(restore.destination.name.as_deref(), Some("c1"));
    assert_eq!(
        restore.target,
        RestoreTarget::Time {
            routine: "keep".into(),
            time: UnixMillis(1_710_671_632_452),
            namespaces: vec![],
            disable_reordering: false,
            allow_gap: false,
        }
    );
}

#[test]
fn a_routine_that_is_not_configured_needs_both_ends() {
    // abs.md 7.9, cross-region.
    let config = upstream_config();
    let mut body = by_time();
    body["routine"] = json!("kepp");
    body["source"] = json!({"local-storage": {"path": "/tmp/backups/copy"}});
    let problems = config.resolve_restore_timestamp(&read(&body).unwrap()).unwrap_err();
    assert_eq!(
        lines(&problems),
        ["routine: not found validation error: routine \"kepp\" - did you mean: \"keep\"?"]
    );
    body["destination"] = json!({"seed-nodes": [{"host-name": "h", "port": 3000}]});
    let restore = config.resolve_restore_timestamp(&read(&body).unwrap()).unwrap();
    assert_eq!((restore.source.name, restore.destination.name), (None, None));
}

#[test]
fn names_that_nothing_has_are_all_reported() {
    let mut body = by_path();
    body["source-name"] = json!("s2");
    body["destination-name"] = json!("zzz");
    let problems = upstream_config().resolve_restore(&read(&body).unwrap()).unwrap_err();
    assert_eq!(
        lines(&problems),
        [
            "source-name: not found validation error: storage \"s2\" - did you mean: \"s1\"?",
            "destination-name: not found validation error: cluster \"zzz\"",
        ]
    );
}

#[test]
fn an_inline_directory_must_lie_under_a_configured_one() {
    let config = upstream_config();
    let restore = |path: &str| {
        let mut body = by_path();
        body.as_object_mut().unwrap().remove("source-name");
        body["source"] = json!({"local-storage": {"path": path}});
        config.resolve_restore(&read(&body)?)
    };
    assert!(restore("/tmp/backups").is_ok());
    assert!(restore("/tmp/backups/deeper").is_ok());
    for outside in ["/etc", "/tmp/backups-other", "/tmp", "/", "backups", "/tmp/backups/../../etc"] {
        let problems = restore(outside).unwrap_err();
        assert_eq!(problems.first().unwrap().path, "source.local-storage.path", "{outside}: {problems}");
    }
}

#[test]
fn a_whole_configuration_can_be_put() {
    assert_eq!(Config::from_json(b"{}", NOW).unwrap(), Config::default());
    let problems = Config::from_json(br#"{"backup-policies": {"p": null}}"#, NOW).unwrap_err();
    assert_eq!(lines(&problems), ["backup-policies.p: must be a mapping; an empty one is {}"]);
}
