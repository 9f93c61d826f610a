//! One thing changed: its secrets, and the text of the file around it.

use serde_json::json;

use super::NOW;
use crate::config::{Config, ConfigPart, EntityKind, FieldChange};
use crate::secrets::revealed;

const FILE: &str = "\
# our backups
aerospike-clusters:
  # the big one
  prod:  # in the cellar
    seed-nodes: [{host-name: a, port: 3000}]
    credentials:
      user: bob
      password: hunter2 # do not tell

  # the small one
  'test one': {seed-nodes: [{host-name: b, port: 3000}]}

storage: {}
backup-policies:
    p1: {}
    p2:
        parallel: 1_000
# the end
";

fn read(text: &str) -> Config {
    Config::parse(text, "config.yaml", NOW).unwrap()
}

fn after(text: &str, change: impl FnOnce(&mut Config)) -> (String, bool) {
    let old = read(text);
    let mut new = old.clone();
    change(&mut new);
    let written = new.text_over(text, &old, NOW).unwrap();
    assert_eq!(read(&written.text), new, "{}", written.text);
    (written.text, written.rewritten)
}

fn put(config: &mut Config, kind: EntityKind, name: &str, body: &serde_json::Value) {
    config.put_json(kind, name, body.to_string().as_bytes(), NOW).unwrap();
}

#[test]
fn a_changed_block_is_replaced_and_all_else_stays_as_it_was() {
    let (text, rewritten) = after(FILE, |config| {
        put(config, EntityKind::Policy, "p2", &json!({"parallel": 3, "sealed": true}));
    });
    assert!(!rewritten);
    assert_eq!(text, FILE.replace("        parallel: 1_000\n", "      parallel: 3\n      sealed: true\n"));
}

#[test]
fn a_comment_beside_the_key_stays_and_the_secret_with_it() {
    let (text, rewritten) = after(FILE, |config| {
        let body = json!({
            "seed-nodes": [{"host-name": "c", "port": 3100}],
            "credentials": {"user": "bob", "password": "[secret]"},
        });
        put(config, EntityKind::Cluster, "prod", &body);
    });
    assert!(!rewritten, "{text}");
    assert!(
        text.starts_with("# our backups\naerospike-clusters:\n  # the big one\n  prod: # in the cellar\n"),
        "{text}"
    );
    assert!(text.contains("hunter2") && text.contains("\n  # the small one\n  'test one': {"), "{text}");
}

#[test]
fn things_are_added_and_removed_wherever_their_section_is() {
    let storage = json!({"local-storage": {"path": "/backups"}});
    let (text, rewritten) = after(FILE, |config| put(config, EntityKind::Storage, "yes", &storage));
    assert!(!rewritten);
    assert!(
        text.contains("\nstorage:\n  \"yes\":\n    local-storage:\n      path: /backups\nbackup-policies:\n"),
        "{text}"
    );

    let (text, rewritten) = after(FILE, |config| put(config, EntityKind::Policy, "p3", &json!({})));
    assert!(!rewritten);
    assert_eq!(text, FILE.replace("# the end", "    p3: {}\n# the end"));

    let agent = json!({"connection-type": "unix", "address": "/run/agent"});
    let (text, rewritten) = after(FILE, |config| put(config, EntityKind::SecretAgent, "a", &agent));
    assert!(!rewritten);
    assert!(text.starts_with(FILE) && text.contains("# the end\nsecret-agents:\n  a:\n"), "{text}");

    let (text, rewritten) = after(FILE, |config| {
        config.take(EntityKind::Cluster, "test one");
        config.take(EntityKind::Policy, "p1");
        config.take(EntityKind::Policy, "p2");
    });
    assert!(!rewritten);
    assert!(
        text.ends_with("storage: {}\nbackup-policies:\n# the end\n")
            && text.contains("hunter2 # do not tell"),
        "{text}"
    );

    let (text, rewritten) = after("", |config| put(config, EntityKind::Policy, "p", &json!({"parallel": 2})));
    assert!(!rewritten);
    assert_eq!(text, "backup-policies:\n  p:\n    parallel: 2\n");
}

#[test]
fn a_block_ends_where_the_next_thing_begins_whatever_comments_stand_in_it() {
    let text =
        "backup-policies:\n  p:\n    parallel: 1\n# in between\n    sealed: true\n\n  # of q\n  q: {}\n";
    let (text, rewritten) =
        after(text, |config| put(config, EntityKind::Policy, "p", &json!({"parallel": 2})));
    assert!(!rewritten);
    assert_eq!(text, "backup-policies:\n  p:\n    parallel: 2\n\n  # of q\n  q: {}\n");
}

#[test]
fn a_secret_that_is_given_anew_replaces_the_stored_one() {
    let mut config = read(FILE);
    let body = json!({
        "seed-nodes": [{"host-name": "a", "port": 3000}],
        "credentials": {"user": "bob", "password": "other"},
    });
    put(&mut config, EntityKind::Cluster, "prod", &body);
    let stored = config.aerospike_clusters["prod"].credentials.as_ref().unwrap();
    assert_eq!(stored.password.as_ref().unwrap().expose(), Some("other"));
}

#[test]
fn what_is_not_plain_block_yaml_is_written_anew() {
    for text in [
        "{backup-policies: {p1: {}, p2: {}}} # flow\n",
        "backup-policies: {p1: {}, p2: {}}\n",
        "backup-policies:\n  p1: &one {parallel: 2}\n  p2: *one\n",
        "backup-policies:\n  p1: &one\n    parallel: 2\n  p2:\n    <<: *one\n",
    ] {
        let (text, rewritten) =
            after(text, |config| put(config, EntityKind::Policy, "p1", &json!({"parallel": 7})));
        assert!(rewritten, "{text}");
    }
}

#[test]
fn odd_names_and_values_come_back_as_they_are() {
    for name in
        ["null", "1e3", "a: b", "#x", "- y", "ü", "\"q\"", "a'b", "true", "~x".trim_start_matches('~')]
    {
        for label in [
            "null",
            "3000",
            "yes",
            "a: b # c",
            " blank ",
            "two\nlines\n",
            "tab\there",
            "0x1f",
            "1_000",
            "[secret",
        ] {
            let body = json!({"label": label, "seed-nodes": [{"host-name": "h", "port": 1}]});
            let (_, rewritten) = after(FILE, |config| put(config, EntityKind::Cluster, name, &body));
            assert!(!rewritten, "{name:?} {label:?}");
        }
    }
}

#[test]
fn a_secret_is_kept_for_what_is_stored_and_refused_for_what_is_new() {
    let mut config = read(FILE);
    let body = json!({
        "label": "[secret]",
        "seed-nodes": [{"host-name": "a", "port": 3000}],
        "credentials": {"user": "bob", "password": "[secret]"},
    });
    put(&mut config, EntityKind::Cluster, "prod", &body);
    let stored = config.aerospike_clusters["prod"].credentials.as_ref().unwrap();
    assert_eq!(stored.password.as_ref().unwrap().expose(), Some("hunter2"));
    assert_eq!(config.aerospike_clusters["prod"].label.as_deref(), Some("[secret]"));
    let problems = config.put_json(EntityKind::Cluster, "new", body.to_string().as_bytes(), NOW).unwrap_err();
    assert!(problems.to_string().contains("stands for a stored secret"), "{problems}");

    let whole = |config: &Config| serde_json::to_vec(config).unwrap();
    let again = Config::from_json_over(&whole(&config), &config, NOW).unwrap();
    assert_eq!(again, config);
    assert!(Config::from_json(&whole(&config), NOW).is_err());
    assert!(!String::from_utf8(config.part_json(&ConfigPart::Whole).unwrap()).unwrap().contains("hunter2"));
}

#[test]
fn a_difference_shows_that_a_secret_changed_and_not_to_what() {
    let old = read(FILE);
    let new = read(&FILE.replace("hunter2", "other").replace("    p1: {}\n", ""));
    let fields = FieldChange::between(&old, &new);
    let shown = serde_json::to_value(&fields).unwrap();
    assert_eq!(
        shown,
        json!([
            {"path": "aerospike-clusters.prod.credentials.password", "from": "[secret]", "to": "[secret]"},
            {"path": "backup-policies.p1", "from": {}},
        ])
    );
    assert_ne!(revealed(|| serde_json::to_string(&old).unwrap()), serde_json::to_string(&old).unwrap());
}
