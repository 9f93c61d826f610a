//! The JSON Schema of the configuration says what the reader says: every document that the reader takes is valid, what it
//! refuses for its form is not, every key has a text, and the file that is checked in is what the program prints.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)] // a test that panics has failed

use std::collections::BTreeSet;

use holdfast::config::schema::{self, SchemaForm, SchemaPart, components, schema};
use holdfast::config::{
    Cluster, Config, EntityKind, Policy, ProblemKind, Problems, Routine, SecretAgent, Storage, from_json,
};
use holdfast::model::UnixMillis;
use serde_json::{Value, json};

const FILE: &str = "docs/config.schema.json";
const NOW: UnixMillis = UnixMillis(1_795_219_200_000);

#[path = "support/json_schema.rs"]
mod json_schema;

fn wrong(schema: &Value, value: &Value) -> Vec<String> {
    let mut found = Vec::new();
    json_schema::errors(schema, schema, value, "", &mut found);
    found
}

/// Every section of every part, with its place.
fn sections() -> Vec<(&'static str, Value)> {
    components("#/").into_iter().collect()
}

#[test]
fn the_file_is_what_the_program_prints() {
    let text = schema::text().unwrap();
    if std::env::var_os("HOLDFAST_WRITE_SCHEMA").is_some() {
        std::fs::write(FILE, &text).unwrap();
    }
    let file = std::fs::read_to_string(FILE).unwrap_or_default();
    assert!(
        file == text,
        "{FILE} is not what `holdfast config schema` prints: run this test with HOLDFAST_WRITE_SCHEMA=1"
    );
}

#[test]
fn every_key_of_every_section_has_a_text() {
    let (mut keys, mut silent) = (0, Vec::new());
    for (name, section) in sections() {
        for (key, property) in section["properties"].as_object().unwrap() {
            keys += 1;
            if property["description"].as_str().is_none_or(|text| text.trim().len() < 3) {
                silent.push(format!("{name}.{key}"));
            }
            assert!(
                property.as_object().unwrap().len() > 1,
                "{name}.{key}: nothing is known of its type: {property}"
            );
        }
        assert_eq!(section["additionalProperties"], false, "{name}");
    }
    assert!(keys > 240, "only {keys} keys");
    assert_eq!(silent, Vec::<String>::new(), "docs/configuration.md and docs/api.md have no row for these");
}

/// Keys that the reader's source names, each found in a schema.
#[test]
fn every_key_that_the_reader_knows_is_in_the_schema() {
    let mut known = BTreeSet::new();
    for (_, section) in sections() {
        known.extend(section["properties"].as_object().unwrap().keys().cloned());
    }
    let mut folders = vec![std::path::PathBuf::from("src/config")];
    let mut asked = 0;
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() && !path.ends_with("tests") {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let text = std::fs::read_to_string(&path).unwrap();
                for reads in [
                    ".filled(\"",
                    ".optional(\"",
                    ".flag(\"",
                    ".int(\"",
                    ".number(\"",
                    ".texts(\"",
                    ".list(\"",
                    ".child(\"",
                    ".children(\"",
                    ".secret(\"",
                    ".has(\"",
                    ".text(\"",
                ] {
                    for (at, _) in text.match_indices(reads) {
                        let key = text[at + reads.len()..].split('"').next().unwrap();
                        asked += 1;
                        assert!(known.contains(key), "{}: {key} is in no schema", path.display());
                    }
                }
            }
        }
    }
    assert!(asked > 120, "only {asked} reads found");
}

#[test]
fn the_example_and_documents_of_every_kind_are_valid() {
    let whole = schema(SchemaPart::Whole, SchemaForm::Yaml);
    let example = &whole["examples"][0];
    assert!(example["backup-routines"].is_object(), "{example}");
    let documents = [
        example.clone(),
        json!({}),
        json!({"service": null, "storage": {}}),
        // What YAML 1.2 makes of plain words that the reader takes.
        json!({"service": {"compatibility": 3.6, "http": {"port": 8080, "disabled": "no"}, "memory-budget": "134_217_728",
                           "logger": {"level": "info", "format": ""}, "shutdown-grace": null}}),
        json!({"aerospike-clusters": {"c": {"label": 3000, "seed-nodes": [{"host-name": "h", "port": 3000}],
                "tls": {}, "credentials": {"user": "u", "password": "secrets:a:b", "secret-agent-name": "a"}}},
               "secret-agents": {"a": {"connection-type": "TCP", "address": "h", "port": 5}},
               "storage": {
                   "s": {"s3-storage": {"bucket": "b", "s3-region": "r", "storage-class": {"data": "glacier_ir"},
                         "object-lock": {"mode": "COMPLIANCE", "days": 3}, "assume-role": {"role-arn": "arn:aws:iam::123456789012:role/backup"},
                         "server-side-encryption": {"mode": "aws:kms"}, "access-key-id": "x", "secret-access-key": "y"}},
                   "z": {"azure-storage": {"endpoint": "https://a.example", "container-name": "c", "storage-class": {"data": "Hot"}}},
                   "g": {"gcp-storage": {"bucket-name": "bbb", "key": "file:/k", "storage-class": {"data": "NEARLINE"}}},
                   "d": {"local-storage": {"path": "/b"}}},
               "backup-policies": {"p": {"retry-policy": {"multiplier": 1.5}, "retention": {"full": 2, "max-age": "30d", "keep": {"daily": 3}},
                   "encryption": {"mode": "AES256-GCM", "key-file": "/k"}, "compression": {"mode": "zstd", "level": -1}}},
               "backup-routines": {"r": {"source-cluster": "c", "storage": "d", "backup-policy": "p", "interval-cron": "@daily",
                   "namespaces": [], "rack-list": [0], "catch-up": "skip"}}}),
    ];
    for document in &documents {
        assert_eq!(wrong(&whole, document), Vec::<String>::new(), "{document}");
        let read = Config::parse(&document.to_string(), "test", NOW);
        // The quotes of JSON are not there in YAML.
        let read = read.map_err(|problems| problems.to_string());
        assert!(read.is_ok() || document["service"]["compatibility"] == 3.6, "{document}: {read:?}");
    }
    for (part, body) in [
        (SchemaPart::One(EntityKind::Cluster), json!({"seed-nodes": [{"host-name": "h", "port": 1}]})),
        (SchemaPart::One(EntityKind::Policy), json!({"parallel": 3, "sealed": true})),
        (
            SchemaPart::Restore,
            json!({"destination-name": "c", "source-name": "s", "backup-data-path": "r/backup/1/data/ns"}),
        ),
        (
            SchemaPart::RestoreTimestamp,
            json!({"routine": "r", "time": 1_710_671_632_452_i64, "policy": {"no-generation": true}}),
        ),
    ] {
        assert_eq!(wrong(&schema(part, SchemaForm::Json), &body), Vec::<String>::new(), "{body}");
    }
}

#[test]
fn what_has_another_form_is_not_valid() {
    let whole = schema(SchemaPart::Whole, SchemaForm::Yaml);
    let good = &whole["examples"][0];
    let with = |pointer: &str, value: Value| {
        let mut document = good.clone();
        let (parent, key) = pointer.rsplit_once('/').unwrap();
        let parent = if parent.is_empty() { &mut document } else { document.pointer_mut(parent).unwrap() };
        parent.as_object_mut().unwrap().insert(key.to_owned(), value);
        document
    };
    let cluster = json!({"seed-nodes": [{"host-name": "h", "port": 1}]});
    let mut both = cluster.clone();
    both["credentials"] = json!({"user": "u", "password": "x", "password-path": "y"});
    for document in [
        json!([]),
        with("/servise", json!({})),
        with("/service", json!({"http": {"prot": 1}})),
        with("/service", json!({"http": {"port": "many"}})),
        with("/service", json!({"http": {"port": 65536}})),
        with("/service", json!({"logger": {"level": "LOUD"}})),
        with("/storage/other", json!({})),
        with(
            "/storage/other",
            json!({"local-storage": {"path": "/a"}, "s3-storage": {"bucket": "b", "s3-region": "r"}}),
        ),
        with(
            "/storage/other",
            json!({"s3-storage": {"bucket": "b", "s3-region": "r", "access-key-id": "x"}}),
        ),
        with("/storage/other", json!({"s3-storage": {"bucket": "b"}})),
        with("/aerospike-clusters/other", json!({})),
        with("/aerospike-clusters/other", both),
        with("/backup-policies/other", json!({"parallel": [8]})),
        with("/backup-policies/other", json!({"sealed": "perhaps"})),
        with("/backup-policies/other", json!({"max-retries": 3})),
        with("/backup-policies/other", json!({"compression": {}})),
        with("/backup-policies", json!({"a/b": {}})),
        with("/backup-policies", json!({"..": {}})),
        with(
            "/backup-routines/other",
            json!({"source-cluster": "c", "storage": "s", "interval-cron": "@daily"}),
        ),
        with("/backup-routines", json!([])),
    ] {
        assert_ne!(wrong(&whole, &document), Vec::<String>::new(), "{document}");
        assert!(Config::parse(&document.to_string(), "test", NOW).is_err(), "{document}");
    }
}

/// What the service writes of any document is what OpenAPI promises of its answers; and that is narrower than what is read.
#[test]
fn what_is_written_has_the_exact_form() {
    let mut root = json!({"components": {"schemas": components("#/components/schemas/")}});
    root["components"]["schemas"]["Secret"] = json!({"type": "string"});
    let exact = json!({"$ref": "#/components/schemas/Config"});
    let lenient = schema(SchemaPart::Whole, SchemaForm::Json);
    // Other spellings of words, nulls, references to secrets.
    let loose = json!({
        "service": {"logger": {"level": "info", "format": "json"}, "http": {"port": 8080, "rate": null}, "compatibility": "3.6"},
        "aerospike-clusters": {"c": {"label": null, "seed-nodes": [{"host-name": "h", "port": 3000}],
            "credentials": {"user": "u", "password": "${PASSWORD}", "auth-mode": "internal"}}},
        "secret-agents": {"a": {"connection-type": "TCP", "address": "h", "port": 5}},
        "storage": {"d": {"local-storage": {"path": "/b"}},
            "s": {"s3-storage": {"bucket": "b", "s3-region": "r", "access-key-id": "x", "secret-access-key": "in clear",
                "storage-class": {"data": "glacier_ir"}, "object-lock": {"mode": "governance", "days": 3}}}},
        "backup-policies": {"p": {"compression": {"mode": "zstd", "level": -1}, "retry-policy": {"multiplier": 1.5},
            "retention": {"full": 2, "keep": {"daily": 3}}, "incr-mode": "DIFFERENTIAL"}},
        "backup-routines": {"r": {"source-cluster": "c", "storage": "d", "backup-policy": "p", "interval-cron": "@daily",
            "namespaces": [], "copies": [{"storage": "s"}], "catch-up": "SKIP"}},
    });
    assert_eq!(json_schema::problem(&lenient, &lenient, &loose), None);
    assert!(json_schema::problem(&root, &exact, &loose).is_some(), "nulls and other spellings");
    let example = std::fs::read_to_string("config.yaml").unwrap();
    for text in [example, loose.to_string()] {
        let read = Config::parse(&text, "test", NOW).unwrap_or_else(|problems| panic!("{problems}"));
        let written = serde_json::to_value(&read).unwrap();
        assert_eq!(json_schema::problem(&root, &exact, &written), None, "{written:#}");
        assert_eq!(json_schema::problem(&lenient, &lenient, &written), None, "{written:#}");
    }
    // Bounds, defaults and words are those of the reader.
    let parallel = &root["components"]["schemas"]["Policy"]["properties"]["parallel"];
    assert_eq!((&parallel["minimum"], &parallel["maximum"]), (&json!(1), &json!(4096)), "{parallel}");
    assert_eq!(parallel["format"], "int32");
    let mode = &root["components"]["schemas"]["Policy"]["properties"]["incr-mode"];
    assert_eq!(mode["enum"].as_array().map(Vec::len), Some(2), "{mode}");
    assert_eq!(mode["default"], "differential", "{mode}");
}

/// A value of another form in every key of what the API takes: the schema refuses what the reader refuses for its form, and
/// nothing that the reader takes.
#[test]
fn schema_and_reader_say_the_same_of_every_form_of_value_in_every_key() {
    fn problems<T: holdfast::config::FromJson>(body: &str) -> Vec<(ProblemKind, String)> {
        let read: Result<T, Problems> = from_json(body.as_bytes(), NOW);
        let problems = read.err();
        problems.iter().flat_map(Problems::iter).map(|problem| (problem.kind, problem.path.clone())).collect()
    }
    let values = [
        json!("text"),
        json!(true),
        json!([]),
        json!({}),
        json!([{}]),
        json!(["text"]),
        json!(1),
        json!(-7),
        json!(0.5),
        json!(null),
        json!({"no-such-key": 1}),
    ];
    let mut compared = 0;
    for kind in EntityKind::ALL {
        let whole = schema(SchemaPart::One(kind), SchemaForm::Json);
        for (key, property) in whole["properties"].as_object().unwrap() {
            if property.get("deprecated").is_some() {
                continue;
            }
            for value in &values {
                let mut errors = Vec::new();
                json_schema::errors(&whole, property, value, key, &mut errors);
                let body = json!({key: value}).to_string();
                let problems = match kind {
                    EntityKind::Cluster => problems::<Cluster>(&body),
                    EntityKind::Storage => problems::<Storage>(&body),
                    EntityKind::Policy => problems::<Policy>(&body),
                    EntityKind::Routine => problems::<Routine>(&body),
                    EntityKind::SecretAgent => problems::<SecretAgent>(&body),
                };
                let is_its = |path: &str| {
                    path.strip_prefix(key.as_str())
                        .is_some_and(|rest| ["", "[", "."].contains(&rest.get(..1).unwrap_or("")))
                };
                let its: Vec<_> = problems.iter().filter(|(_, path)| is_its(path)).collect();
                compared += 1;
                if its.iter().any(|(kind, _)| *kind == ProblemKind::Shape) {
                    assert_ne!(errors, Vec::<String>::new(), "{kind:?} {body}: the schema takes it");
                }
                if !errors.is_empty() {
                    assert!(
                        !its.is_empty(),
                        "{kind:?} {body}: the reader takes it, and the schema says {errors:?}"
                    );
                }
            }
        }
    }
    assert!(compared > 600, "only {compared}");
}
