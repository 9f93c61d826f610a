//! Options whose values have bounds, exclude one another, or ask for nothing.

use serde_json::{Value as Json, json};

use super::{NOW, parse, refusal, upstream};
use crate::config::{Compression, Config, EncryptionMode, PolicyConfig};

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
