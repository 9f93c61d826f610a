//! `copies` of a routine, and the order of a copy.

use serde_json::json;

use super::{NOW, parse, refusal};
use crate::config::{Config, ConfigDiff, CopyOn, CopyOrder, EntityKind, RetentionConfig, from_json};

fn with(copies: &str) -> String {
    format!(
        "aerospike-clusters: {{c: {{seed-nodes: [{{host-name: h, port: 1}}]}}}}\n\
         storage:\n\
         \x20 s: {{local-storage: {{path: /a}}}}\n\
         \x20 same: {{local-storage: {{path: /a}}}}\n\
         \x20 t: {{local-storage: {{path: /b}}}}\n\
         \x20 u: {{local-storage: {{path: /c}}}}\n\
         backup-routines: {{r: {{source-cluster: c, storage: s, interval-cron: \"@daily\", namespaces: [], copies: {copies}}}}}\n"
    )
}

#[test]
fn copies_are_resolved_in_their_order() {
    let config = parse(&with("[{storage: u, on: full, retention: {full: 3}}, {storage: t}]")).unwrap();
    let copies = config.routine("r", NOW).unwrap().job.copies;
    let told: Vec<_> =
        copies.iter().map(|copy| (copy.storage.name.as_deref(), copy.on, copy.retention)).collect();
    let three = RetentionConfig::counts(Some(3), None);
    assert_eq!(told, [(Some("u"), CopyOn::Full, Some(three)), (Some("t"), CopyOn::All, None)]);
    assert!(parse(&with("[]")).unwrap().routine("r", NOW).unwrap().job.copies.is_empty());
    // Written back as it was given.
    let again = Config::parse(&config.to_yaml().unwrap(), "again.yaml", NOW).unwrap();
    assert_eq!(again, config);
}

#[test]
fn what_cannot_be_a_copy_is_refused_by_its_field() {
    for (copies, at, words) in [
        ("[{storage: w}]", "copies[0].storage", "not found"),
        ("[{storage: s}]", "copies[0].storage", "is the storage of the routine itself"),
        ("[{storage: same}]", "copies[0].storage", "is at the place of the storage of the routine itself"),
        ("[{storage: t}, {storage: t}]", "copies[1].storage", "is the storage of another copy"),
        ("[{retention: {full: 1}}]", "copies[0].storage", "required"),
        ("[{storage: t, on: incremental}]", "copies[0].on", "full, all"),
        ("[{storage: t, keep: 3}]", "copies[0].keep", "not found"),
        ("[{storage: t, retention: {full: 0}}]", "copies[0].retention.full", "should be positive"),
        ("{storage: t}", "copies", "must be a list"),
    ] {
        let lines = refusal(&with(copies));
        assert_eq!(lines.len(), 1, "{copies}: {lines:?}");
        assert!(lines[0].contains(at) && lines[0].contains(words), "{copies}: {}", lines[0]);
    }
}

#[test]
fn a_storage_of_copies_is_in_use_and_a_change_of_it_concerns_the_routine() {
    let old = parse(&with("[{storage: t}]")).unwrap();
    assert_eq!(old.user_of(EntityKind::Storage, "t").as_deref(), Some("routine \"r\""));
    assert_eq!(old.user_of(EntityKind::Storage, "u"), None);
    let mut new = old.clone();
    new.put_json(EntityKind::Storage, "t", br#"{"local-storage": {"path": "/d"}}"#, NOW).unwrap();
    assert!(ConfigDiff::between(&old, &new).affected.contains("r"));
    new.take(EntityKind::Storage, "t");
    assert!(new.check().is_err());
}

#[test]
fn an_order_names_what_goes_where() {
    let read = |body: serde_json::Value| from_json::<CopyOrder>(body.to_string().as_bytes(), NOW);
    let order =
        read(json!({"routine": "r", "storage": "t", "timestamp": 1_700_000_000_000_i64, "chain": true}));
    let order = order.unwrap();
    assert_eq!((order.timestamp, order.chain, order.backup_type), (Some(1_700_000_000_000), true, None));
    for bad in [
        json!({"routine": "r"}),
        json!({"storage": "t"}),
        json!({"routine": "../r", "storage": "t"}),
        json!({"routine": "r", "storage": "t", "chain": true}),
        json!({"routine": "r", "storage": "t", "type": "full"}),
        json!({"routine": "r", "storage": "t", "timestamp": 0}),
        json!({"routine": "r", "storage": "t", "timestamp": 1, "type": "half"}),
        json!({"routine": "r", "storage": "t", "to": "u"}),
    ] {
        assert!(read(bad.clone()).is_err(), "{bad}");
    }
    let config = parse(&with("[{storage: t, retention: {full: 2}}]")).unwrap();
    assert_eq!(config.copy_target("r", "t").unwrap().retention, Some(RetentionConfig::counts(Some(2), None)));
    assert_eq!(config.copy_target("r", "u").unwrap().retention, None);
    for (routine, storage, code) in [
        ("q", "t", "routine-unknown"),
        ("r", "v", "storage-unknown"),
        ("r", "s", "copy-of-itself"),
        ("r", "same", "copy-of-itself"),
    ] {
        assert_eq!(config.copy_target(routine, storage).unwrap_err().code(), code);
    }
}
