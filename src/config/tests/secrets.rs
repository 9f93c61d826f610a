//! Every literal secret of a document is one that the keeper gets.

use std::collections::BTreeSet;

use secrecy::ExposeSecret;
use serde_json::{Value as Json, json};

use super::{NOW, upstream};
use crate::config::{Config, secret_fields};

/// Puts `value` at a path of keys, where `*` is `one`.
fn put(document: &mut Json, path: &str, value: &str) {
    match path.split_once('.') {
        None => document[path] = json!(value),
        Some((key, rest)) => put(&mut document[if key == "*" { "one" } else { key }], rest, value),
    }
}

#[test]
fn every_field_that_may_hold_one_is_kept_under_its_place() {
    for field in secret_fields().iter().filter(|field| field.literal) {
        let mut document = upstream();
        let (path, secret) = (field.path(), format!("secret of {}", field.key));
        document["service"] = json!({"https": {"cert-file": "/c", "key-file": "/k"}});
        document["aerospike-clusters"]["one"] =
            json!({"seed-nodes": [{"host-name": "localhost", "port": 3000}]});
        let storage = match path.split('.').nth(2) {
            Some("s3-storage") => json!({"s3-storage": {
                "bucket": "b", "s3-region": "eu-central-1", "access-key-id": "i", "secret-access-key": "s",
            }}),
            Some("azure-storage") if field.key == "account-key" => json!({"azure-storage": {
                "endpoint": "https://a.test", "container-name": "c", "account-name": "a",
            }}),
            Some("azure-storage") => json!({"azure-storage": {
                "endpoint": "https://a.test", "container-name": "c", "tenant-id": "t", "client-id": "c",
                "client-secret": "s",
            }}),
            Some("gcp-storage") => json!({"gcp-storage": {"bucket-name": "b"}}),
            _ => json!({"local-storage": {"path": "/tmp/x"}}),
        };
        document["storage"]["one"] = storage;
        put(&mut document, &path, &secret);
        match field.key {
            "password" => document["aerospike-clusters"]["one"]["credentials"]["user"] = json!("u"),
            "key-file-password" if path.starts_with("aerospike") => {
                let tls = &mut document["aerospike-clusters"]["one"]["tls"];
                tls["cert-file"] = json!("/c.pem");
                tls["key-file"] = json!("/k.pem");
            }
            _ => {}
        }
        let config = Config::from_json(document.to_string().as_bytes(), NOW)
            .unwrap_or_else(|error| panic!("{path}: {error}"));
        let kept: BTreeSet<String> =
            config.literal_secrets().values().map(|one| one.expose_secret().to_owned()).collect();
        assert!(kept.contains(&secret), "{path}: {kept:?}");
        assert!(!format!("{config:?}").contains(&secret), "{path}");
    }
}
