//! What a power cut leaves of single operations of local storage.

use bytes::Bytes;
use holdfast::fault::journal::lose_what_is_not_synced;
use holdfast::storage::{LocalStorage, Storage};

use crate::verdict::walk;

/// What is below the root, by its path.
fn left(dir: &tempfile::TempDir) -> Vec<String> {
    let mut found = Vec::new();
    walk(dir.path(), &mut found);
    let mut left: Vec<String> =
        found.iter().map(|path| path.strip_prefix(dir.path()).unwrap().display().to_string()).collect();
    left.sort();
    left
}

/// One test: what was not synced is known to the whole process.
#[tokio::test]
async fn what_storage_has_acknowledged_survives_a_power_cut() {
    let dir = tempfile::tempdir().unwrap();
    let storage = LocalStorage::create(dir.path()).await.unwrap();

    storage.put("a/kept", Bytes::from_static(b"whole")).await.unwrap();
    let mut writer = storage.create("a/streamed").await.unwrap();
    writer.write(Bytes::from_static(b"streamed")).await.unwrap();
    writer.finish().await.unwrap();
    let mut unfinished = storage.create("a/unfinished").await.unwrap();
    unfinished.write(Bytes::from_static(b"lost")).await.unwrap();
    drop(lose_what_is_not_synced());
    assert_eq!(left(&dir), ["a", "a/kept", "a/streamed"]);
    assert_eq!(std::fs::read(dir.path().join("a/streamed")).unwrap(), b"streamed");
    drop(unfinished);

    storage.delete("a/kept").await.unwrap();
    drop(lose_what_is_not_synced());
    assert_eq!(left(&dir), ["a", "a/streamed"]);

    storage.delete_prefix("a").await.unwrap();
    drop(lose_what_is_not_synced());
    assert_eq!(left(&dir), [""; 0], "a deleted folder came back");

    // A writer that was given up removes its file and folder without syncing; the deletion of the attempt does.
    drop(storage.create("b/c/given-up").await.unwrap());
    storage.delete_prefix("b/c").await.unwrap();
    drop(lose_what_is_not_synced());
    assert_eq!(left(&dir), [""; 0], "a file that was given up came back");
}
