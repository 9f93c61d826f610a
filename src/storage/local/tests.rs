use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::sync::Arc;

use tempfile::TempDir;

use super::LocalStorage;
use crate::storage::faulty::{Fault, Faulty, Op};
use crate::storage::{Storage, conformance};

async fn storage(dir: &TempDir) -> LocalStorage {
    LocalStorage::create(dir.path().join("root")).await.unwrap()
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

#[tokio::test]
async fn passes_the_conformance_suite() {
    let dir = TempDir::new().unwrap();
    conformance::run(&storage(&dir).await).await;
}

#[tokio::test]
async fn the_fault_double_passes_the_conformance_suite() {
    let dir = TempDir::new().unwrap();
    conformance::run(&Faulty::new(Arc::new(storage(&dir).await))).await;
}

#[tokio::test]
async fn files_are_0600_and_folders_0700() {
    let dir = TempDir::new().unwrap();
    let storage = storage(&dir).await;
    storage.put("a/b/c", "x".into()).await.unwrap();
    storage.create("a/b/d").await.unwrap().finish().await.unwrap();
    let root = dir.path().join("root");
    for folder in ["", "a", "a/b"] {
        assert_eq!(mode(&root.join(folder)), 0o700, "{folder:?}");
    }
    for file in ["a/b/c", "a/b/d"] {
        assert_eq!(mode(&root.join(file)), 0o600, "{file:?}");
    }
}

#[tokio::test]
async fn a_link_out_of_the_root_is_refused_and_never_listed() {
    let dir = TempDir::new().unwrap();
    let storage = storage(&dir).await;
    let outside = dir.path().join("outside");
    fs::create_dir(&outside).unwrap();
    fs::write(outside.join("secret"), "s").unwrap();
    let root = dir.path().join("root");
    symlink(&outside, root.join("out")).unwrap();
    symlink(outside.join("secret"), root.join("file")).unwrap();
    symlink(dir.path().join("nothing"), root.join("dangling")).unwrap();
    symlink(&root, root.join("loop")).unwrap();

    for key in ["out/secret", "file"] {
        assert_eq!(storage.get(key, 10).await.unwrap_err().code(), "storage-denied", "{key}");
        assert_eq!(storage.head(key).await.unwrap_err().code(), "storage-denied", "{key}");
        assert_eq!(storage.open(key).await.err().unwrap().code(), "storage-denied", "{key}");
    }
    assert!(storage.put("out/new", "x".into()).await.is_err());
    assert!(storage.put("dangling/new", "x".into()).await.is_err());
    assert!(storage.create("out/new").await.is_err());
    assert!(storage.delete("out/secret").await.is_err());
    assert!(storage.list("out").await.is_err());
    assert!(storage.delete_prefix("out/below").await.is_err());
    assert_eq!(storage.delete_prefix("out").await.unwrap(), 0);
    assert!(storage.list("").await.unwrap().is_empty());
    assert!(storage.list_dirs("").await.unwrap().is_empty());
    assert!(outside.join("secret").exists());
    assert!(!outside.join("new").exists() && !dir.path().join("nothing").exists());
}

#[tokio::test]
async fn deleting_a_folder_never_follows_a_link_in_it() {
    let dir = TempDir::new().unwrap();
    let storage = storage(&dir).await;
    let outside = dir.path().join("outside");
    fs::create_dir(&outside).unwrap();
    fs::write(outside.join("kept"), "s").unwrap();
    storage.put("a/x", "x".into()).await.unwrap();
    symlink(&outside, dir.path().join("root/a/link")).unwrap();
    assert_eq!(storage.delete_prefix("a").await.unwrap(), 1);
    assert!(!dir.path().join("root/a").exists());
    assert!(outside.join("kept").exists());
}

#[tokio::test]
async fn what_a_crash_left_is_never_listed_and_goes_with_its_folder() {
    let dir = TempDir::new().unwrap();
    let storage = storage(&dir).await;
    let mut writer = storage.create("a/ns/0_ns_1.asb").await.unwrap();
    writer.write("half".into()).await.unwrap();
    std::mem::forget(writer); // the process died
    let folder = dir.path().join("root/a/ns");
    let left: Vec<_> =
        fs::read_dir(&folder).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
    assert!(left.len() == 1 && left[0].starts_with(".0_ns_1.asb.partial-"), "{left:?}");
    assert!(storage.list("a").await.unwrap().is_empty());
    assert_eq!(storage.list_dirs("a").await.unwrap(), ["ns"], "shown, so that it can be reported");
    assert_eq!(storage.delete_prefix("a/ns").await.unwrap(), 0);
    assert!(!folder.exists());
}

/// rules.md 6.3: the finished files of a backup that was cut off stay.
#[tokio::test]
async fn what_was_not_finished_can_go_alone() {
    let dir = TempDir::new().unwrap();
    let storage = storage(&dir).await;
    storage.put("a/ns/0_ns_1.asb", "whole".into()).await.unwrap();
    std::mem::forget(storage.create("a/ns/0_ns_2.asb").await.unwrap()); // the process died
    storage.delete_unfinished("a/ns").await.unwrap();
    storage.delete_unfinished("nothing/here").await.unwrap();
    let left: Vec<_> =
        fs::read_dir(dir.path().join("root/a/ns")).unwrap().map(|e| e.unwrap().file_name()).collect();
    assert_eq!(left, ["0_ns_1.asb"]);
}

/// rules.md 6.1: a disk that is not mounted is no proof of absence.
#[tokio::test]
async fn a_missing_root_is_an_error_and_not_an_empty_storage() {
    let dir = TempDir::new().unwrap();
    let storage = storage(&dir).await;
    storage.put("a/x", "x".into()).await.unwrap();
    fs::rename(dir.path().join("root"), dir.path().join("unmounted")).unwrap();
    let errors = [
        storage.get("a/x", 10).await.unwrap_err(),
        storage.head("a/x").await.unwrap_err(),
        storage.open("a/x").await.err().unwrap(),
        storage.list("a").await.unwrap_err(),
        storage.list_dirs("").await.unwrap_err(),
        storage.put("b", "x".into()).await.unwrap_err(),
        storage.create("b").await.err().unwrap(),
        storage.delete("a/x").await.unwrap_err(),
        storage.delete_prefix("a").await.unwrap_err(),
    ];
    for error in errors {
        assert_eq!(error.code(), "storage-unavailable", "{}", error.report());
        assert!(error.is_temporary());
    }
    assert!(!dir.path().join("root").exists());
    assert_eq!(LocalStorage::open(dir.path().join("root")).await.unwrap_err().code(), "storage-not-found");
}

#[tokio::test]
async fn a_long_name_has_room_for_its_temporary_name() {
    let dir = TempDir::new().unwrap();
    let storage = storage(&dir).await;
    let key = format!("a/{}", "ü".repeat(127));
    storage.put(&key, "x".into()).await.unwrap();
    assert_eq!(storage.list("a").await.unwrap()[0].key, key);
}

#[test]
fn errors_are_told_apart_by_what_helps() {
    use super::io_error;
    use std::io::{Error, ErrorKind};
    let of = |kind: ErrorKind| io_error("write", Path::new("/x"), Error::from(kind));
    assert_eq!(of(ErrorKind::StorageFull).code(), "storage-full");
    assert!(of(ErrorKind::StorageFull).is_temporary());
    assert_eq!(of(ErrorKind::QuotaExceeded).code(), "storage-full");
    assert_eq!(of(ErrorKind::PermissionDenied).code(), "storage-denied");
    assert!(!of(ErrorKind::PermissionDenied).is_temporary());
    assert!(of(ErrorKind::Other).is_temporary());
    assert_eq!(of(ErrorKind::StorageFull).to_string(), "write /x");
}

#[tokio::test]
async fn writers_that_share_and_lose_folders_do_not_disturb_each_other() {
    let dir = TempDir::new().unwrap();
    let storage = storage(&dir).await;
    let work = (0..8).map(|task: u32| {
        let storage = storage.clone();
        async move {
            for round in 0..25 {
                let key = format!("shared/x/{task}-{round}");
                storage.put(&key, "x".into()).await.unwrap();
                storage.delete(&key).await.unwrap();
            }
        }
    });
    futures_util::future::join_all(work).await;
    assert!(storage.list_dirs("").await.unwrap().is_empty());
}

#[tokio::test]
async fn the_double_fails_the_nth_call_before_or_after_its_effect() {
    let dir = TempDir::new().unwrap();
    let storage = Faulty::new(Arc::new(storage(&dir).await));
    storage.fail(Fault::nth(Op::Put, 2));
    storage.fail(Fault { key_contains: "meta", after: true, always: true, ..Fault::nth(Op::Put, 1) });
    storage.put("a", "x".into()).await.unwrap();
    storage.put("b", "x".into()).await.unwrap_err();
    assert!(storage.head("b").await.unwrap().is_none());
    storage.put("b", "x".into()).await.unwrap();
    storage.put("meta", "x".into()).await.unwrap_err();
    assert!(storage.head("meta").await.unwrap().is_some());
    storage.put("meta", "x".into()).await.unwrap_err();
    storage.heal();
    storage.put("meta", "x".into()).await.unwrap();
    assert_eq!(storage.calls(Op::Put), 6);
}
