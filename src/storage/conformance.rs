//! What every provider must do alike; each runs this suite against itself.
#![allow(clippy::missing_panics_doc)] // test support: panics are its verdicts

use bytes::Bytes;

use super::{READ_BLOCK_BYTES, Storage};

/// Runs every case below its own folder of an otherwise unused storage.
#[allow(dead_code)] // Each set of tests that has the suite runs it on servers of its own.
pub async fn run(storage: &dyn Storage) {
    suite(storage, true).await;
}

/// As [`run`], for a server that goes on showing folders of which everything was deleted, as [`Storage::list_dirs`] may.
#[allow(dead_code)]
pub async fn run_where_folders_stay(storage: &dyn Storage) {
    suite(storage, false).await;
}

async fn suite(storage: &dyn Storage, folders_go: bool) {
    odd_keys(storage).await;
    overwrite_and_empty(storage).await;
    order_and_folders(storage, folders_go).await;
    prefixes_are_whole_segments(storage, folders_go).await;
    missing_things(storage).await;
    unfinished_writers(storage).await;
    large_object(storage).await;
    bad_keys(storage).await;
    assert!(!storage.describe().is_empty());
}

async fn put(storage: &dyn Storage, key: &str, bytes: impl Into<Bytes>) {
    storage.put(key, bytes.into()).await.unwrap();
}

async fn keys(storage: &dyn Storage, prefix: &str) -> Vec<String> {
    storage.list(prefix).await.unwrap().into_iter().map(|object| object.key).collect()
}

async fn odd_keys(storage: &dyn Storage) {
    let odd = [
        "sp ace", "ü", "per%cent", "%2F", "a&b", "hash#", "plus+", "q?x=1", "'quote\"", "…", ".hidden",
        "a..b", "~",
    ];
    for name in odd {
        let key = format!("odd/{name}/{name}.asb");
        put(storage, &key, name).await;
        assert_eq!(storage.get(&key, 100).await.unwrap().unwrap(), name.as_bytes(), "{key}");
        assert_eq!(keys(storage, &format!("odd/{name}")).await, std::slice::from_ref(&key));
        let head = storage.head(&key).await.unwrap().unwrap();
        assert_eq!((head.key, head.size_bytes), (key, name.len() as u64));
    }
    let mut sorted = odd.map(String::from);
    sorted.sort_unstable();
    assert_eq!(storage.list_dirs("odd").await.unwrap(), sorted);
    assert_eq!(storage.delete_prefix("odd").await.unwrap(), odd.len() as u64);
    assert!(keys(storage, "odd").await.is_empty());
}

async fn overwrite_and_empty(storage: &dyn Storage) {
    put(storage, "over/a", "first").await;
    put(storage, "over/a", "2").await;
    assert_eq!(storage.get("over/a", 1).await.unwrap().unwrap(), "2");
    let mut writer = storage.create("over/a").await.unwrap();
    writer.write("streamed".into()).await.unwrap();
    assert_eq!(storage.get("over/a", 100).await.unwrap().unwrap(), "2", "visible only after finish");
    assert_eq!(writer.finish().await.unwrap(), 8);
    assert_eq!(storage.get("over/a", 100).await.unwrap().unwrap(), "streamed");

    put(storage, "over/empty", "").await;
    assert_eq!(storage.create("over/empty-stream").await.unwrap().finish().await.unwrap(), 0);
    for key in ["over/empty", "over/empty-stream"] {
        assert_eq!(storage.get(key, 0).await.unwrap().unwrap(), "");
        assert_eq!(storage.head(key).await.unwrap().unwrap().size_bytes, 0);
        let mut reader = storage.open(key).await.unwrap();
        assert_eq!(reader.size_bytes(), 0);
        assert!(reader.next().await.unwrap().is_none());
        assert!(reader.next().await.unwrap().is_none(), "the end stays the end");
    }
    storage.delete_prefix("over").await.unwrap();
}

async fn order_and_folders(storage: &dyn Storage, folders_go: bool) {
    // '.' and '-' sort before '/': byte order of whole keys is not the order of a directory walk.
    let all = ["order/a-b/x", "order/a.b", "order/a/x", "order/a/y/z", "order/b", "order/ä/x"];
    for key in all.iter().rev() {
        put(storage, key, *key).await;
    }
    assert_eq!(keys(storage, "order").await, all);
    assert_eq!(keys(storage, "order/").await, all);
    assert_eq!(keys(storage, "order/a").await, ["order/a/x", "order/a/y/z"]);
    assert_eq!(storage.list_dirs("order").await.unwrap(), ["a", "a-b", "ä"]);
    assert_eq!(storage.list_dirs("order/a/").await.unwrap(), ["y"]);
    assert!(storage.list_dirs("").await.unwrap().contains(&"order".to_owned()));
    let listed = storage.list("order").await.unwrap();
    assert!(listed.iter().all(|object| object.size_bytes == object.key.len() as u64));
    assert!(listed.iter().all(|object| object.modified.0 > 1_500_000_000_000), "{listed:?}");
    storage.delete_prefix("order/").await.unwrap();
    let left = storage.list_dirs("").await.unwrap();
    assert!(!folders_go || !left.contains(&"order".to_owned()), "{left:?}");
}

async fn prefixes_are_whole_segments(storage: &dyn Storage, folders_go: bool) {
    for key in ["seg/data/ns/1.asb", "seg/data/ns.2/1.asb", "seg/data/ns_1/1.asb", "seg/data/ns"] {
        // The last is an object with the name of a folder: legal in object stores, not on a disk.
        let _ = storage.put(key, "x".into()).await;
    }
    assert_eq!(keys(storage, "seg/data/ns").await, ["seg/data/ns/1.asb"]);
    assert_eq!(storage.delete_prefix("seg/data/ns").await.unwrap(), 1);
    assert_eq!(keys(storage, "seg/data/ns.2").await, ["seg/data/ns.2/1.asb"]);
    storage.delete("seg/data/ns_1/1.asb").await.unwrap();
    let left = storage.list_dirs("seg/data").await.unwrap();
    assert!(left.contains(&"ns.2".to_owned()), "{left:?}");
    assert!(!folders_go || left.len() == 1, "no empty folders: {left:?}");
    storage.delete_prefix("seg").await.unwrap();
}

async fn missing_things(storage: &dyn Storage) {
    put(storage, "miss/here", "x").await;
    // "below an object" and "a folder" are absent objects too.
    for key in ["miss/gone", "nowhere/at/all", "miss/here/below", "miss"] {
        assert!(storage.get(key, 10).await.unwrap().is_none(), "{key}");
        assert!(storage.head(key).await.unwrap().is_none(), "{key}");
        assert_eq!(storage.open(key).await.err().unwrap().code(), "storage-not-found", "{key}");
        storage.delete(key).await.unwrap();
        assert!(storage.list(&format!("{key}/none")).await.unwrap().is_empty());
        assert!(storage.list_dirs(&format!("{key}/none")).await.unwrap().is_empty());
        assert_eq!(storage.delete_prefix(&format!("{key}/none")).await.unwrap(), 0);
    }
    assert_eq!(storage.get("miss/here", 10).await.unwrap().unwrap(), "x");
    storage.delete("miss/here").await.unwrap();
    storage.delete("miss/here").await.unwrap();
    assert!(storage.head("miss/here").await.unwrap().is_none());
}

async fn unfinished_writers(storage: &dyn Storage) {
    for abort in [true, false] {
        let mut writer = storage.create("part/ns/a.asb").await.unwrap();
        writer.write(Bytes::from(vec![7; 100_000])).await.unwrap();
        assert!(keys(storage, "part").await.is_empty());
        assert!(storage.head("part/ns/a.asb").await.unwrap().is_none());
        if abort {
            writer.abort().await.unwrap();
        } else {
            drop(writer);
        }
        assert!(keys(storage, "part").await.is_empty());
        assert!(storage.get("part/ns/a.asb", 1).await.unwrap().is_none());
        assert!(storage.list_dirs("part").await.unwrap().is_empty());
    }
    // Two writers of one key: each whole, the later finish wins.
    let mut first = storage.create("part/both").await.unwrap();
    let mut second = storage.create("part/both").await.unwrap();
    first.write("first".into()).await.unwrap();
    second.write("second".into()).await.unwrap();
    second.finish().await.unwrap();
    first.finish().await.unwrap();
    assert_eq!(storage.get("part/both", 100).await.unwrap().unwrap(), "first");
    storage.delete_prefix("part").await.unwrap();
}

async fn large_object(storage: &dyn Storage) {
    // Odd sizes, more than one block and, for object stores, more than one part of 8 MiB.
    let mut writer = storage.create("large/a.asb").await.unwrap();
    let mut written = Vec::new();
    for size in [1, 999_999, 0, 5 * READ_BLOCK_BYTES, 7, 4 * READ_BLOCK_BYTES + 1] {
        let block: Vec<u8> = (0..size).map(|at| (written.len() + at) as u8 ^ (at >> 9) as u8).collect();
        written.extend_from_slice(&block);
        writer.write(block.into()).await.unwrap();
    }
    assert_eq!(writer.finish().await.unwrap(), written.len() as u64);

    let mut reader = storage.open("large/a.asb").await.unwrap();
    assert_eq!(reader.size_bytes(), written.len() as u64);
    let mut read = Vec::new();
    while let Some(block) = reader.next().await.unwrap() {
        assert!((1..=READ_BLOCK_BYTES).contains(&block.len()));
        read.extend_from_slice(&block);
    }
    assert!(read == written, "the bytes came back changed");

    let size = written.len() as u64;
    assert_eq!(storage.head("large/a.asb").await.unwrap().unwrap().size_bytes, size);
    assert_eq!(storage.get("large/a.asb", size).await.unwrap().unwrap().len() as u64, size);
    let error = storage.get("large/a.asb", size - 1).await.unwrap_err();
    assert_eq!(error.code(), "storage-object-too-large");
    storage.delete_prefix("large").await.unwrap();
}

async fn bad_keys(storage: &dyn Storage) {
    for key in ["", "/etc/passwd", "../up", "a/../../b", "a//b", "a/", "a\\b", "a\0b", ".a.partial-1"] {
        let codes = [
            storage.put(key, "x".into()).await.err(),
            storage.create(key).await.err(),
            storage.get(key, 1).await.err(),
            storage.open(key).await.err(),
            storage.head(key).await.err(),
            storage.delete(key).await.err(),
        ];
        for error in codes {
            assert_eq!(error.expect(key).code(), "storage-key-invalid", "{key:?}");
        }
    }
    for prefix in ["/", "..", "a/../..", "a//"] {
        assert!(storage.list(prefix).await.is_err(), "{prefix:?}");
        assert!(storage.list_dirs(prefix).await.is_err(), "{prefix:?}");
        assert!(storage.delete_prefix(prefix).await.is_err(), "{prefix:?}");
    }
    assert!(storage.delete_prefix("").await.is_err(), "the root is never deleted");
}
