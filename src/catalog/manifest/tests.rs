use serde_json::{Value, json};

use super::*;
use crate::catalog::testkit::{Backup, storage};
use crate::model::parse_partition_list;
use crate::storage::READ_BLOCK_BYTES;

fn manifest() -> Manifest {
    Backup::incremental(1_700_000_000_123, 1_700_000_000_000, "ns").files(2).manifest()
}

fn changed(pointer: &str, value: Value) -> Result<Manifest, String> {
    let mut json: Value = serde_json::from_slice(&manifest().to_json().unwrap()).unwrap();
    *json.pointer_mut(pointer).unwrap_or_else(|| panic!("no {pointer}")) = value;
    Manifest::parse(json.to_string().as_bytes())
}

#[test]
fn writing_and_reading_agree() {
    let mut full = manifest();
    full.promoted = Some(Promoted { reason: "closed".into() });
    full.sealed_until = Some(full.created);
    full.clock_skew = Some(ClockSkew { behind_ms: 1500, node: "A1".into(), margin_ms: 1000 });
    full.sidecar =
        Some(ManifestFile { name: "digests.b3".into(), kind: FileKind::Sidecar, ..full.files[0].clone() });
    full.encryption = Encryption::Aes256Gcm;
    for manifest in [manifest(), full] {
        assert_eq!(Manifest::parse(&manifest.to_json().unwrap()), Ok(manifest));
    }
}

/// The document is a contract between versions: its keys do not change by accident.
#[test]
fn the_document_has_these_keys() {
    let json: Value = serde_json::from_slice(&manifest().to_json().unwrap()).unwrap();
    let keys: Vec<&str> = json.as_object().unwrap().keys().map(String::as_str).collect();
    assert_eq!(
        keys,
        [
            "attempt",
            "cluster",
            "compression",
            "created-ms",
            "encryption",
            "engine",
            "files",
            "finished-ms",
            "format",
            "from-ms",
            "namespace",
            "producer",
            "routine",
            "run-namespaces",
            "safe-from-ms",
            "schema-version",
            "scope",
            "scope-hash",
            "totals",
            "type",
            "unsupported-skipped",
            "warnings",
        ]
    );
    assert_eq!(
        json["files"][1],
        json!({
            "name": "1_ns_2.asb", "size-bytes": 1000, "records": 15, "kind": "data",
            "blake3": manifest().files[1].blake3,
        })
    );
    assert_eq!(json["type"], "incremental");
}

#[test]
fn later_keys_are_tolerated_and_later_schemas_are_not() {
    let mut json: Value = serde_json::from_slice(&manifest().to_json().unwrap()).unwrap();
    json["new"] = json!({"a": 1});
    json["scope"]["new"] = json!(true);
    assert_eq!(Manifest::parse(json.to_string().as_bytes()), Ok(manifest()));
    assert!(changed("/schema-version", json!(2)).unwrap_err().contains("schema version 2"));
    assert!(Manifest::parse(b"{\"schema-version\": 2}").unwrap_err().contains("schema version 2"));
}

#[test]
fn names_cannot_lead_out_of_the_folder() {
    for bad in [
        "../0.asb",
        "/etc/passwd",
        "a/b.asb",
        "",
        ".",
        "metadata.yaml",
        "manifest.json",
        "blocks.b3",
        "1_ns_2.asb",
    ] {
        assert!(changed("/files/0/name", json!(bad)).is_err(), "{bad:?}");
    }
}

#[test]
fn a_manifest_must_agree_with_itself() {
    for (pointer, value) in [
        ("/totals/records", json!(31)),
        ("/totals/bytes", json!(0)),
        ("/totals/files", json!(1)),
        ("/files/0/blake3", json!("abc")),
        ("/files/0/size-bytes", json!(-1)),
        ("/files/0/size-bytes", json!(u64::MAX)),
        ("/created-ms", json!("2024")),
    ] {
        assert!(changed(pointer, value).is_err(), "{pointer}");
    }
    for cut in [0, 1, 100, 700] {
        assert!(Manifest::parse(&manifest().to_json().unwrap()[..cut]).is_err());
    }
}

/// rules.md 3.6
#[test]
fn the_scope_hash_is_of_the_meaning() {
    let partitions = |list: &str| parse_partition_list(list).unwrap();
    let scope = Scope {
        sets: vec!["b".into(), "a".into()],
        partitions: partitions("200-101,0-100,100-51"),
        ..Scope::default()
    };
    let same = Scope {
        sets: vec!["a".into(), "b".into(), "a".into()],
        partitions: partitions("0-151,200-101"),
        ..Scope::default()
    };
    assert_eq!(scope.hash(), same.hash());
    let all = Scope { partitions: partitions("0-2048,2048-2048"), ..Scope::default() };
    assert_eq!(all.hash(), Scope::default().hash());
    // Pinned: another hash would end every chain there is.
    assert_eq!(Scope::default().hash(), blake3::hash(b"{}").to_hex().to_string());
    let pinned = blake3::hash(br#"{"sets":["a","b"],"partitions":"0-151,200-101"}"#).to_hex().to_string();
    assert_eq!(same.hash(), pinned);
    let others = [
        Scope::default(),
        Scope { sets: vec!["a".into()], ..same.clone() },
        Scope { bins: vec!["a".into()], ..same.clone() },
        Scope { filter: Some("kw==".into()), ..same.clone() },
        Scope { partitions: partitions("0-151"), ..same.clone() },
        Scope { no_records: true, ..same.clone() },
        Scope { no_ttl_only: true, ..same.clone() },
        Scope { nodes: vec!["A1".into()], ..same.clone() },
        Scope { racks: vec![1], ..same.clone() },
        Scope { key_id: Some("k".into()), ..same.clone() },
        same,
    ];
    // Where the partitions follow nodes, those that an incremental reads are its full's, wherever they are by then.
    let here = Scope { racks: vec![2, 1], partitions: partitions("0-10"), ..Scope::default() };
    let there = Scope { racks: vec![1, 2], partitions: partitions("99"), ..Scope::default() };
    assert_eq!(here.hash(), there.hash());
    let hashes: std::collections::BTreeSet<String> = others.iter().map(Scope::hash).collect();
    assert_eq!(hashes.len(), others.len());
}

/// rules.md 3.11
#[tokio::test]
async fn block_hashes_come_back_file_by_file() {
    let (_dir, storage) = storage().await;
    let mut backup = Backup::full(1_700_000_000_000, "ns").files(3);
    backup.files.insert(1, ("1_ns_9.asb".into(), vec![]));
    backup.write(&storage).await;
    let manifest = backup.manifest();
    assert_eq!(manifest.block_count(), 4);
    let mut reader = BlocksReader::open(&storage, &backup.folder(), &manifest).await.unwrap();
    for (file, (_, bytes)) in manifest.files.iter().zip(&backup.files) {
        assert_eq!(reader.next_file(file).await.unwrap(), crate::catalog::testkit::hashes(bytes));
    }

    let mut reader = BlocksReader::open(&storage, &backup.folder(), &manifest).await.unwrap();
    assert_eq!(reader.next_file(&manifest.files[2]).await.unwrap_err().code(), "backup-damaged");

    let mut other = manifest;
    other.files[0].size_bytes = 1;
    let error = BlocksReader::open(&storage, &backup.folder(), &other).await.err().unwrap();
    assert_eq!(error.code(), "backup-damaged");
}

#[tokio::test]
async fn more_hashes_than_one_read_block_are_streamed() {
    let (_dir, storage) = storage().await;
    let folder = "r/backup/1700000000000/data/ns";
    let count = READ_BLOCK_BYTES / 32 + 5;
    let hashes: Vec<[u8; 32]> = (0..count).map(|at| *blake3::hash(&at.to_le_bytes()).as_bytes()).collect();
    let mut writer = BlocksWriter::create(&storage, folder).await.unwrap();
    writer.push(&hashes).await.unwrap();
    assert_eq!(writer.blocks(), count as u64);
    writer.finish().await.unwrap();
    let mut manifest = manifest();
    let root = hash_hex(*blake3::hash(hashes.as_flattened()).as_bytes());
    manifest.files.truncate(1);
    manifest.files[0].size_bytes = count as u64 * BLOCK_BYTES;
    manifest.files[0].blake3 = root;
    let mut reader = BlocksReader::open(&storage, folder, &manifest).await.unwrap();
    assert_eq!(reader.next_file(&manifest.files[0]).await.unwrap(), hashes);
}

#[test]
fn blocks_are_counted() {
    for (size, blocks) in
        [(0, 0), (1, 1), (BLOCK_BYTES, 1), (BLOCK_BYTES + 1, 2), (u64::MAX, 4_398_046_511_104)]
    {
        assert_eq!(block_count(size), blocks);
    }
}
