//! The configuration file.

use std::path::{Path, PathBuf};

use proptest::prelude::*;

use super::{NOW, lines, parse, refusal, upstream, upstream_config};
use crate::config::{Compression, Config, ConfigDiff, JobConfig, Storage, StoragePlace};
use crate::model::PartitionSet;
use crate::model::status::AbsLevel;

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
