//! The configuration file.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use proptest::prelude::*;
use serde_json::{Value as Json, json};

use super::{NOW, lines, parse, refusal, upstream, upstream_config};
use crate::config::{
    Compression, Config, ConfigDiff, EncryptionMode, JobConfig, PolicyConfig, Storage, StoragePlace,
};
use crate::model::PartitionSet;
use crate::model::status::AbsLevel;

/// A document that is right but for one line, which is the last.
fn with(section: &str, line: &str) -> String {
    let head = "\
aerospike-clusters:
  c1:
    seed-nodes:
      - host-name: localhost
        port: 3000
storage:
  s1:
    local-storage:
      path: /backups
backup-routines:
  r1:
    source-cluster: c1
    storage: s1
    interval-cron: '@daily'
    namespaces: []
";
    let own = match section {
        "routine" => "",
        "policy" => "backup-policies:\n  p1:\n    parallel: 1\n",
        "compression" => "backup-policies:\n  p1:\n    compression:\n      mode: ZSTD\n",
        "retry" => "backup-policies:\n  p1:\n    retry-policy:\n      base-timeout: 5\n",
        "service" => "service:\n    state-dir: /s\n",
        "http" => "service:\n  http:\n    timeout: 1\n",
        "logger" => "service:\n  logger:\n    stdout-writer: true\n",
        "backup" => "service:\n  backup:\n    timestamp-format: ISO\n",
        "agent" => "secret-agents:\n  a1:\n    connection-type: TCP\n    address: localhost:3005\n",
        other => panic!("{other}"),
    };
    let indent = if matches!(section, "compression" | "retry") { 6 } else { 4 };
    format!("{head}{own}{}{line}\n", " ".repeat(indent))
}

#[test]
fn each_mistake_names_its_line_field_and_remedy() {
    let table = [
        (
            "routine",
            "intervall-cron: x",
            "16: backup-routines.r1.intervall-cron: field \"intervall-cron\" not found - did you mean: \"interval-cron\"?",
        ),
        ("routine", "colour: x", "16: backup-routines.r1.colour: field \"colour\" not found"),
        (
            "routine",
            "prefer-racks: [1]",
            "16: backup-routines.r1.prefer-racks: field \"prefer-racks\" is deprecated. Use prefer-racks of the cluster",
        ),
        (
            "routine",
            "backup-policy: nightly",
            "16: backup-routines.r1.backup-policy: not found validation error: policy \"nightly\"",
        ),
        (
            "routine",
            "secret-agent: a",
            "16: backup-routines.r1.secret-agent: not found validation error: secret agent \"a\"",
        ),
        (
            "routine",
            "incr-interval-cron: 0 0 1 1 * MON",
            "16: backup-routines.r1.incr-interval-cron: day field set twice: day-of-month \"1\" and day-of-week \"MON\", one must be ?",
        ),
        (
            "routine",
            "incr-interval-cron: '*/5 * * * *'",
            "16: backup-routines.r1.incr-interval-cron: invalid expression length: 5 fields in \"*/5 * * * *\" instead of 6 or 7",
        ),
        (
            "routine",
            "partition-list: 4095-2",
            "16: backup-routines.r1.partition-list: partition list item \"4095-2\": ",
        ),
        (
            "routine",
            "schedule-timezone: EST",
            "16: backup-routines.r1.schedule-timezone: time zone \"EST\" is a fixed offset, name a place as America/New_York",
        ),
        (
            "routine",
            "schedule-timezone: europe/berlin",
            "16: backup-routines.r1.schedule-timezone: unknown time zone \"europe/berlin\"",
        ),
        (
            "routine",
            "catch-up: twice",
            "16: backup-routines.r1.catch-up: invalid value validation error: \"catch-up\" \"twice\" invalid, should be one of once, skip",
        ),
        (
            "routine",
            "jitter: -1",
            "16: backup-routines.r1.jitter: negative value validation error: \"jitter\" -1 invalid, should not be negative number",
        ),
        (
            "routine",
            "disabled: maybe",
            "16: backup-routines.r1.disabled: \"disabled\" must be true or false, not \"maybe\"",
        ),
        (
            "routine",
            "set-list: demo",
            "16: backup-routines.r1.set-list: \"set-list\" must be a list, not \"demo\"",
        ),
        ("routine", "set-list: [a, [b]]", "16: backup-routines.r1.set-list[1]: must be a text"),
        (
            "routine",
            "storage: s2",
            "16: backup-routines.r1.storage: key \"storage\" is given twice, first in line 13",
        ),
        ("http", "rate: 5", "19: service.http.rate: must be a mapping; an empty one is {}"),
        (
            "policy",
            "parallel-write: 0",
            "19: backup-policies.p1.parallel-write: non-positive value validation error: \"parallel-write\" 0 invalid, should be positive number",
        ),
        (
            "policy",
            "socket-timeout: 99999999999999999999",
            "19: backup-policies.p1.socket-timeout: invalid value validation error: \"socket-timeout\" 99999999999999999999 invalid, should be between 0 and 2147483647",
        ),
        (
            "policy",
            "file-limit: 1.5",
            "19: backup-policies.p1.file-limit: \"file-limit\" must be an integer, not \"1.5\"",
        ),
        (
            "policy",
            "file-limit: 010",
            "19: backup-policies.p1.file-limit: \"file-limit\" must be an integer, not \"010\"",
        ),
        (
            "policy",
            "max-retries: 3",
            "19: backup-policies.p1.max-retries: field \"max-retries\" is deprecated. Use retry-policy",
        ),
        (
            "policy",
            "unsupported-records: skip-and-cuont",
            "19: backup-policies.p1.unsupported-records: invalid value validation error: \"unsupported-records\" \"skip-and-cuont\" invalid, should be one of fail, skip-and-count - did you mean: \"skip-and-count\"?",
        ),
        (
            "compression",
            "level: 23",
            "20: backup-policies.p1.compression.level: invalid value validation error: \"level\" 23 invalid, should be between -1 and 22",
        ),
        (
            "retry",
            "multiplier: 0.5",
            "20: backup-policies.p1.retry-policy.multiplier: invalid value validation error: \"multiplier\" 0.5 invalid, should be between 1 and 1000",
        ),
        (
            "retry",
            "multiplier: .nan",
            "20: backup-policies.p1.retry-policy.multiplier: \"multiplier\" must be a number, not \".nan\"",
        ),
        (
            "http",
            "context-path: abs",
            "19: service.http.context-path: \"context-path\" must start with / and hold plain path segments",
        ),
        (
            "http",
            "port: 65536",
            "19: service.http.port: invalid value validation error: \"port\" 65536 invalid, should be between 0 and 65535",
        ),
        (
            "service",
            "memory-budget: 41943039",
            "18: service.memory-budget: invalid value validation error: \"memory-budget\" 41943039 invalid, should be between 41943040",
        ),
        (
            "service",
            // A restore's 40 MiB are kept, a backup needs 16.
            "memory-budget: 58720255",
            "13: backup-routines.r1.storage: does not fit service.memory-budget of 56.0 MiB, of which 40 MiB are kept for \
             a restore: a backup wishes 72 MiB (8 scans of 3 MiB, 8 files of 6 MiB), needs 16 MiB (10 MiB + 6 MiB)",
        ),
        (
            "service",
            "compatibility: 3.8",
            "18: service.compatibility: invalid value validation error: \"compatibility\" \"3.8\" invalid, should be one of 3.5, 3.6, 3.7",
        ),
        (
            "logger",
            "level: VERBOSE",
            "19: service.logger.level: invalid value validation error: \"level\" \"VERBOSE\" invalid, should be one of TRACE, DEBUG, INFO, WARN, WARNING, ERROR",
        ),
        (
            "backup",
            "max-running-jobs: 0",
            "19: service.backup.max-running-jobs: non-positive value validation error: \"max-running-jobs\" 0 invalid, should be positive number",
        ),
        (
            "agent",
            "port: 70000",
            "20: secret-agents.a1.port: invalid value validation error: \"port\" 70000 invalid, should be between 1 and 65535",
        ),
    ];
    for (section, line, expected) in table {
        let found = refusal(&with(section, line));
        assert_eq!(found.len(), 1, "{line}: {found:#?}");
        assert!(
            found[0].starts_with(&format!("config.yaml:{expected}")),
            "{line}:\n{}\n{expected}",
            found[0]
        );
    }
}

#[test]
fn every_problem_is_reported_at_once_in_the_order_of_lines() {
    let found = refusal(
        "\
aerospike-clusters:
  c1:
    seed-nodes: []
  c2:
    seed-nodes:
      - host-name: ''
        port: 70000
      - prot: 3000
storage:
  s1: {}
  s2:
    local-storage: {path: ''}
  ../s3:
    local-storage: {path: /a/../b}
  s4:
    local-storage: {path: /b}
    s3-storage: {bucket: b}
backup-policies:
  p1:
backup-routines:
  r1: {}
  r2:
    source-cluster: c3
    storage: s9
    interval-cron: '@dayly'
    namespaces: [test, a/b, test]
serivce: {}
",
    );
    assert_eq!(
        found,
        [
            "config.yaml:3: aerospike-clusters.c1.seed-nodes: seed nodes are not specified",
            "config.yaml:6: aerospike-clusters.c2.seed-nodes[0].host-name: empty hostname is not allowed",
            "config.yaml:7: aerospike-clusters.c2.seed-nodes[0].port: invalid port number",
            "config.yaml:8: aerospike-clusters.c2.seed-nodes[1].host-name: empty hostname is not allowed",
            "config.yaml:8: aerospike-clusters.c2.seed-nodes[1].port: invalid port number",
            "config.yaml:8: aerospike-clusters.c2.seed-nodes[1].prot: field \"prot\" not found - did you mean: \"port\"?",
            "config.yaml:10: storage.s1: no storage type specified",
            "config.yaml:12: storage.s2.local-storage.path: empty field validation error: \"path\" required",
            "config.yaml:13: storage.../s3: name \"../s3\" must be a single path segment: no \"/\", \"\\\" or control characters",
            "config.yaml:14: storage.../s3.local-storage.path: \"path\" must be clean: no \"..\"",
            "config.yaml:15: storage.s4: multiple storage types specified (2). Exactly one storage type should be specified",
            "config.yaml:17: storage.s4.s3-storage.s3-region: empty field validation error: \"s3-region\" required",
            "config.yaml:19: backup-policies.p1: must be a mapping; an empty one is {}",
            "config.yaml:21: backup-routines.r1.source-cluster: empty field validation error: \"source-cluster\" required",
            "config.yaml:21: backup-routines.r1.storage: empty field validation error: \"storage\" required",
            "config.yaml:21: backup-routines.r1.interval-cron: empty field validation error: \"interval-cron\" required",
            "config.yaml:21: backup-routines.r1.namespaces: empty field validation error: \"namespaces\" required",
            "config.yaml:23: backup-routines.r2.source-cluster: not found validation error: cluster \"c3\" - did you mean: \"c1\"?",
            "config.yaml:24: backup-routines.r2.storage: not found validation error: storage \"s9\" - did you mean: \"s1\"?",
            "config.yaml:25: backup-routines.r2.interval-cron: unknown schedule name \"@dayly\"",
            "config.yaml:26: backup-routines.r2.namespaces[1]: namespace \"a/b\" must be a single path segment: no \"/\", \"\\\" or control characters",
            "config.yaml:26: backup-routines.r2.namespaces[2]: namespace \"test\" is listed twice",
            "config.yaml:27: serivce: field \"serivce\" not found - did you mean: \"service\"?",
        ]
    );
}

#[test]
fn what_is_no_document_says_where() {
    for (text, expected) in [
        ("service: [", "config.yaml:1: "),
        ("a: 1\n---\nb: 2\n", "config.yaml:3: a second document; one file holds one"),
        ("- a\n", "config.yaml:1: must be a mapping; an empty one is {}"),
        ("service: &a\n  http: *a\n", "config.yaml:2: an alias inside the node that it names"),
        ("service: !!binary x\n", "config.yaml:1: the tag "),
        ("[a]: b\n", "config.yaml:1: a key must be a text"),
    ] {
        let found = refusal(text);
        assert!(found.len() == 1 && found[0].starts_with(expected), "{text}: {found:?}");
    }
    let deep = format!("service: {}{}", "[".repeat(200), "]".repeat(200));
    assert_eq!(refusal(&deep).len(), 1);
}

#[test]
fn a_bomb_of_aliases_is_refused() {
    let mut text = String::from("a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n");
    for level in 1..12 {
        let copies = vec![format!("*a{}", level - 1); 10].join(", ");
        writeln!(text, "a{level}: &a{level} [{copies}]").unwrap();
    }
    assert_eq!(refusal(&text), ["config.yaml:5: the document has more than 200000 values"]);
}

#[test]
fn aliases_and_merge_keys_are_read() {
    let text = "\
backup-policies:
  base: &base {parallel: 2, sealed: true}
  more:
    <<: *base
    parallel: 50_00
";
    let found = refusal(text);
    assert!(found[0].starts_with("config.yaml:5: backup-policies.more.parallel: invalid value"), "{found:?}");
    let config = parse(&text.replace("50_00", "1_6")).unwrap();
    let more = &config.backup_policies["more"];
    assert_eq!((more.parallel, more.sealed), (Some(16), Some(true)));
}

#[test]
fn many_problems_are_counted_not_kept() {
    let text: String = (0..2_000).fold(String::new(), |text, at| text + &at.to_string() + "k: 1\n");
    let problems = parse(&text).unwrap_err();
    assert_eq!(problems.len(), 2_000);
    assert!(problems.to_string().ends_with("and 1500 more"), "{problems}");
}

/// The problems of the document with one more key in a policy (`p`), a routine (`r`) or a cluster (`c`).
fn problems_with(place: &str, key: &str, value: Json) -> Vec<(String, String)> {
    let mut document = upstream();
    let section = match place {
        "p" => &mut document["backup-policies"]["p1"],
        "r" => &mut document["backup-routines"]["keep"],
        _ => &mut document["aerospike-clusters"]["c1"],
    };
    section[key] = value;
    match Config::from_json(document.to_string().as_bytes(), NOW) {
        Ok(_) => Vec::new(),
        Err(problems) => problems.iter().map(|one| (one.path.clone(), one.message.clone())).collect(),
    }
}

/// abs.md 2.3, 2.6, 2.7
#[test]
fn what_shapes_the_data_is_checked_and_named() {
    for (place, key, good, bad) in [
        ("p", "bandwidth", json!(1), json!(0)),
        ("p", "records-per-second", json!(1), json!(-1)),
        ("p", "incr-mode", json!("CUMULATIVE"), json!("both")),
        ("p", "max-concurrent-nodes", json!(0), json!(-1)),
        ("p", "compact", json!(true), json!("perhaps")),
        ("p", "use-scan-compression", json!(true), json!(1)),
        ("p", "with-cluster-configuration", json!(true), json!([])),
        ("p", "no-ttl-only", json!(true), json!({})),
        ("r", "bin-list", json!(["a", "fifteen-bytes-15"[..15].to_owned()]), json!(["sixteen-bytes-16"])),
        ("r", "bin-list", json!([]), json!(["a", "a"])),
        ("r", "bin-list", json!(["b"]), json!([""])),
        ("r", "filter-exp", json!("kwOTUQKjYWdlGQ=="), json!("age > 25")),
        ("r", "filter-exp", json!(""), json!("o2FnZQ==")),
        ("r", "node-list", json!(["10.0.0.1:3000"]), json!([" "])),
        ("r", "rack-list", json!([0, 1_000_000]), json!([-1])),
        ("r", "rack-list", json!([]), json!(["one"])),
        ("c", "max-parallel-scans", json!(0), json!(-1)),
        ("c", "prefer-racks", json!([2, 1]), json!([1_000_001])),
    ] {
        assert_eq!(problems_with(place, key, good), [], "{key}");
        let found = problems_with(place, key, bad.clone());
        assert!(found.len() == 1 && found[0].0.contains(key), "{key} {bad}: {found:?}");
    }
}

#[test]
fn what_contradicts_itself_is_refused() {
    let refused = |change: &dyn Fn(&mut Json)| {
        let mut document = upstream();
        change(&mut document);
        Config::from_json(document.to_string().as_bytes(), NOW).unwrap_err().to_string()
    };
    let problems = refused(&|document| {
        document["backup-routines"]["keep"]["set-list"] = json!(["a", "b"]);
        document["backup-routines"]["keep"]["filter-exp"] = json!("kwOTUQKjYWdlGQ==");
    });
    assert!(problems.contains("more than one set"), "{problems}");
    let problems = refused(&|document| {
        document["backup-routines"]["keep"]["node-list"] = json!(["a"]);
        document["backup-routines"]["keep"]["rack-list"] = json!([1]);
    });
    assert!(problems.contains("cannot specify both"), "{problems}");
    for (key, value) in
        [("node-list", json!(["a"])), ("rack-list", json!([1])), ("partition-list", json!("1"))]
    {
        let problems = refused(&|document| {
            let routine = &mut document["backup-routines"]["keep"];
            routine[key] = value.clone();
            let cluster = routine["source-cluster"].as_str().unwrap().to_owned();
            document["aerospike-clusters"][cluster.as_str()]["prefer-racks"] = json!([1]);
        });
        assert!(problems.contains(key) && problems.contains("prefer-racks"), "{problems}");
    }
}

#[test]
fn an_option_that_asks_for_nothing_is_kept() {
    let mut document = upstream();
    document["service"] = json!({"https": {"disabled": true}, "http": {"disabled": false}});
    document["backup-policies"]["p1"] = json!({
        "encryption": {"mode": "NONE"}, "resume": false,
    });
    document["aerospike-clusters"]["c1"]["use-services-alternate"] = json!(false);
    document["aerospike-clusters"]["c1"]["tls"] = Json::Null;
    let config = Config::from_json(document.to_string().as_bytes(), NOW).unwrap();
    document["aerospike-clusters"]["c1"].as_object_mut().unwrap().remove("tls");
    assert_eq!(serde_json::to_value(&config).unwrap(), document);

    document["backup-policies"]["p1"]["encryption"] = json!({"mode": "NONE", "key-file": "/key"});
    let problems = Config::from_json(document.to_string().as_bytes(), NOW).unwrap_err();
    assert_eq!(problems.first().unwrap().path, "backup-policies.p1.encryption");

    let config = parse("service: {https: {disabled: true, key-file-password: hunter2}}").unwrap();
    assert!(!format!("{config:?}{}", config.to_yaml().unwrap()).contains("hunter2"), "{config:?}");
}

#[test]
fn what_was_given_is_written_back() {
    let empty = parse("").unwrap();
    assert_eq!(serde_json::to_string(&empty).unwrap(), "{}");
    assert_eq!(parse("# nothing\n").unwrap(), empty);
    assert_eq!(serde_json::to_value(upstream_config()).unwrap(), upstream());
    assert_eq!(parse(&upstream_config().to_yaml().unwrap()).unwrap(), upstream_config());
}

#[test]
fn the_shipped_document_is_right() {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("config.yaml");
    let config = Config::load(&path, NOW).unwrap_or_else(|problems| panic!("{problems}"));
    assert_eq!(parse(&config.to_yaml().unwrap()).unwrap(), config);
    let service = config.service();
    assert_eq!(service.http.address, None);
    assert_eq!(service.http.context_path, "/");
    assert_eq!(service.compatibility, AbsLevel::V3_5);
    let routine = config.routine("demo-routine", NOW).unwrap();
    assert!(routine.schedule.incremental.is_some());
    assert_eq!(routine.job.policy.compression, Compression::Zstd { level: 3 });
    assert_eq!(routine.job.policy.retry.delay_ms(2), 40_000);
}

#[test]
fn a_file_that_cannot_be_read_names_itself() {
    let problems = Config::load(Path::new("/no/such/file.yaml"), NOW).unwrap_err();
    assert!(problems.to_string().starts_with("/no/such/file.yaml: open the file: "), "{problems}");
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("latin.yaml");
    std::fs::write(&path, b"service: \xe9").unwrap();
    let problems = Config::load(&path, NOW).unwrap_err();
    assert!(problems.to_string().ends_with("the file is not UTF-8 after byte 9"), "{problems}");
}

#[test]
fn a_routine_resolves_to_plain_values_with_abs_defaults() {
    let config = upstream_config();
    let routine = config.routine("keep", NOW).unwrap();
    let policy = &routine.job.policy;
    // abs.md 2.6.
    assert_eq!((policy.parallel, policy.parallel_write), (8, 8));
    assert_eq!((policy.socket_timeout_ms, policy.total_timeout_ms), (600_000, 0));
    assert_eq!(policy.file_limit_bytes, 250 * 1_048_576);
    assert_eq!((policy.retry.base_ms, policy.retry.retries_max), (60_000, 5));
    assert_eq!(policy.retry.delay_ms(1), 90_000);
    assert_eq!(policy.retry.delay_ms(u32::MAX), 86_400_000);
    assert_eq!(policy.clock_skew_margin_ms, 1_000);
    assert_eq!(policy.compression, Compression::None);
    assert_eq!(routine.job.cluster.connect_timeout_ms, 30_000);
    assert_eq!(routine.job.scope.partitions, PartitionSet::all());
    assert_eq!(routine.schedule.jitter_ms, 0);
    assert_eq!(config.service().backup.max_running_jobs, 8);
    assert_eq!(config.service().shutdown_grace, 20_000);
    assert_eq!(config.routine("x", NOW).unwrap_err().to_string(), "routine \"x\" not found");

    let row = serde_json::to_string(&routine.job).unwrap();
    assert_eq!(serde_json::from_str::<JobConfig>(&row).unwrap(), routine.job);
}

#[test]
fn the_zone_of_the_service_is_the_default() {
    let mut config = upstream_config();
    config.service = parse("service: {backup: {schedule-timezone: Europe/Berlin}}").unwrap().service;
    assert_eq!(config.routine("keep", NOW).unwrap().schedule.zone, chrono_tz::Europe::Berlin);
    let routine = config.backup_routines.get_mut("keep").unwrap();
    routine.schedule_timezone = Some("utc".into());
    assert_eq!(config.routine("keep", NOW).unwrap().schedule.zone, chrono_tz::Tz::UTC);
}

#[test]
fn a_change_is_checked_as_a_document_is() {
    let mut config = upstream_config();
    config.storage.remove("s1");
    config.storage.insert("s2".into(), Storage::local("/backups"));
    let problems = config.check().unwrap_err();
    assert_eq!(
        lines(&problems),
        ["backup-routines.keep.storage: not found validation error: storage \"s1\" - did you mean: \"s2\"?"]
    );
}

#[test]
fn a_difference_names_what_changed_and_who_is_affected() {
    let old = upstream_config();
    let mut new = old.clone();
    new.service = parse("service: {http: {port: 8080}}").unwrap().service;
    assert!(ConfigDiff::between(&old, &new).is_empty(), "to spell out a default is no change");

    new.service = parse("service: {http: {port: 8081}, compatibility: '3.6'}").unwrap().service;
    new.backup_policies.get_mut("p1").unwrap().parallel = Some(3);
    new.storage.insert("s2".into(), Storage::local("/b"));
    let diff = ConfigDiff::between(&old, &new);
    assert_eq!(
        diff.static_change().as_deref(),
        Some("static configuration has changed: service.compatibility, service.http.port")
    );
    assert!(diff.policies.changed.contains("p1") && diff.storage.added.contains("s2"));
    assert!(diff.routines.is_empty() && diff.affected.contains("keep"));

    new = old.clone();
    new.backup_routines.clear();
    let diff = ConfigDiff::between(&old, &new);
    assert!(diff.routines.removed.contains("keep") && diff.affected.is_empty());
    assert_eq!(diff.static_change(), None);
}

#[test]
fn inline_storage_lies_under_a_configured_root() {
    let mut config = upstream_config();
    assert_eq!(config.local_roots(), [PathBuf::from("/tmp/backups")]);
    config.service = parse("service: {local-storage-roots: [/mnt/old]}").unwrap().service;
    assert_eq!(config.local_roots(), [PathBuf::from("/mnt/old")]);
    config.service = parse("service: {local-storage-roots: []}").unwrap().service;
    assert_eq!(config.local_roots(), [] as [PathBuf; 0]);
    let StoragePlace::Local { path, .. } = config.storage("s1").unwrap().place else { panic!() };
    assert_eq!(path, PathBuf::from("/tmp/backups"));
}

fn yaml_like() -> impl Strategy<Value = String> {
    let word = prop_oneof![
        Just("backup-routines"),
        Just("backup-policies"),
        Just("storage"),
        Just("service"),
        Just("http"),
        Just("aerospike-clusters"),
        Just("seed-nodes"),
        Just("local-storage"),
        Just("path"),
        Just("parallel"),
        Just("interval-cron"),
        Just("partition-list"),
        Just("<<"),
        Just("&a"),
        Just("*a"),
        Just("~"),
        Just("!!str"),
        Just("["),
        Just("]"),
        Just("{"),
        Just("}"),
        Just(":"),
        Just("- "),
        Just("\n  "),
        Just("\n"),
        Just(", "),
        Just("'"),
        Just("\""),
        Just("|"),
        Just(">"),
        Just("0 0 0 * * ?"),
        Just("99999999999999999999"),
        Just("-1"),
        Just("\u{feff}"),
        Just("é"),
        Just("---\n"),
        Just("..."),
        Just("#"),
        Just("%"),
        Just("\t"),
        Just(": "),
    ];
    proptest::collection::vec(word, 0..60).prop_map(|words| words.concat())
}

proptest! {
    #[test]
    fn no_text_panics(text in prop_oneof![any::<String>(), yaml_like()]) {
        if let Err(problems) = parse(&text) {
            prop_assert!(!problems.is_empty());
            for problem in &problems {
                prop_assert!(problem.line.is_some_and(|line| line >= 1), "{problem}");
                prop_assert!(!problem.to_string().contains('\n'), "{problem}");
            }
        }
        let _ = Config::from_json(text.as_bytes(), NOW);
    }
}

#[test]
fn no_routine_takes_the_folder_of_the_instances() {
    let text = "aerospike-clusters: {c: {seed-nodes: [{host-name: h, port: 1}]}}\nstorage: {s: {local-storage: {path: /b}}}\n\
        backup-routines: {holdfast-instances: {source-cluster: c, storage: s, interval-cron: \"@daily\", namespaces: []}}\n\
        service: {instance-id: -a}\n";
    let problems = Config::parse(text, "config.yaml", NOW).unwrap_err().to_string();
    assert!(problems.contains("config.yaml:3: backup-routines.holdfast-instances: name"), "{problems}");
    assert!(
        problems.contains("4: service.instance-id: \"instance-id\" must start with a letter or digit"),
        "{problems}"
    );
}

#[test]
fn encryption_takes_a_mode_and_exactly_one_key() {
    let policy = |block: &str| format!("backup-policies: {{p: {{encryption: {block}}}}}");
    for (block, says) in [
        ("{key-file: /k}", "\"mode\" required"),
        ("{mode: AES256}", "must specify one of \"key-file\", \"key-env\" and \"key-secret\""),
        ("{mode: AES256, key-file: ''}", "must specify one of"),
        ("{mode: AES128, key-file: /k, key-env: K}", "specify only one of"),
        ("{mode: AES128, key-env: K, key-secret: 'secrets:a:b'}", "specify only one of"),
        ("{mode: NONE, key-env: K}", "encrypts nothing"),
        ("{mode: AES512, key-file: /k}", "should be one of NONE, AES128, AES256, AES256-GCM"),
        ("{mode: AES256, key-env: 'MIICWwIBAAKBgQCl='}", "must be the name of a variable"),
        ("{mode: NONE, key-secret: 'secrets:a:b'}", "encrypts nothing"),
        ("{mode: AES256, key-secret: ''}", "must specify one of"),
        ("{mode: AES256, key-secret: 'secrets:a'}", "a secret of an agent must be secrets:<resource>:<key>"),
        ("{mode: AES256, key-secret: 'MIICWwIBAAKBgQCl='}", "a key at a secret agent"),
        ("{mode: AES256, key-secret: 'file:/MIIC'}", "others are named by \"key-file\""),
        ("{mode: AES256, key-secret: '[secret]'}", "there is none yet"),
        ("{mode: AES256, key-secret: [1]}", "must be a text"),
    ] {
        let found = refusal(&policy(block));
        assert!(found.len() == 1 && found[0].contains(says), "{block}: {found:?}");
        assert!(!found[0].contains("MIIC") && !found[0].contains("secrets:a"), "{found:?}");
    }
    for (block, mode) in [
        ("{mode: aes128, key-env: K}", EncryptionMode::Aes128),
        ("{mode: AES256, key-file: /k}", EncryptionMode::Aes256),
        ("{mode: aes256-gcm, key-file: /k}", EncryptionMode::Aes256Gcm),
    ] {
        let config = parse(&policy(block)).unwrap();
        let resolved = config.backup_policies["p"].resolve(None).unwrap();
        assert_eq!(resolved.encryption.as_ref().unwrap().mode, mode);
        // As a job keeps it in its row, and as one of an earlier release did.
        let mut row = serde_json::to_value(&resolved).unwrap();
        assert_eq!(serde_json::from_value::<PolicyConfig>(row.clone()).unwrap(), resolved);
        row.as_object_mut().unwrap().remove("encryption");
        assert_eq!(serde_json::from_value::<PolicyConfig>(row).unwrap().encryption, None);
    }
}

#[test]
fn levels_of_compression_have_bounds() {
    let policy = |block: &str| format!("backup-policies: {{p: {{compression: {block}}}}}");
    for level in [-1, 1, 22] {
        let config = parse(&policy(&format!("{{mode: ZSTD, level: {level}}}"))).unwrap();
        assert_eq!(
            config.backup_policies["p"].resolve(None).unwrap().compression,
            Compression::Zstd { level }
        );
    }
    for (block, level) in [("{mode: ZSTD}", 3), ("{mode: zstd, level: 0}", 3)] {
        let config = parse(&policy(block)).unwrap();
        assert_eq!(
            config.backup_policies["p"].resolve(None).unwrap().compression,
            Compression::Zstd { level }
        );
    }
    for (block, says) in [
        ("{mode: ZSTD, level: 23}", "should be between -1 and 22"),
        ("{mode: ZSTD, level: -2}", "should be between -1 and 22"),
        ("{mode: ZSTD, level: 1.5}", "must be an integer"),
        ("{mode: LZ4}", "should be one of NONE, ZSTD"),
        ("{level: 3}", "\"mode\" required"),
    ] {
        let found = refusal(&policy(block));
        assert!(found.iter().any(|one| one.contains(says)), "{block}: {found:?}");
    }
}
