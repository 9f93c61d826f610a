use super::*;
use crate::catalog::testkit::{Backup, storage};
use crate::storage::faulty::Faulty;

const T: i64 = 1_700_000_000_000;

async fn put(storage: &Faulty, key: &str) {
    storage.put(key, "x".into()).await.unwrap();
}

async fn error(storage: &Faulty, path: &str) -> Error {
    at_path(storage, path, false).await.unwrap_err()
}

fn keys(files: &[ObjectInfo]) -> Vec<&str> {
    files.iter().map(|file| file.key.as_str()).collect()
}

#[tokio::test]
async fn a_backup_of_ours_is_what_its_manifest_names() {
    let (_dir, storage) = storage().await;
    let backup = Backup::full(T, "ns").files(2);
    backup.write(&storage).await;
    put(&storage, &join(&backup.folder(), "late_upload.asb")).await;
    for path in ["r/backup/1700000000000/data/ns", "r/backup/1700000000000/data/ns/"] {
        let AtPath::Backups { created, folders, warnings } = at_path(&storage, path, false).await.unwrap()
        else {
            panic!()
        };
        assert_eq!((created, warnings.len()), (UnixMillis(T), 0));
        assert_eq!((folders.len(), &folders[0].metadata), (1, &backup.metadata()));
        assert_eq!(folders[0].manifest.as_ref(), Some(&backup.manifest()));
        let names = ["0_ns_1.asb", "1_ns_2.asb"].map(|name| join(&backup.folder(), name));
        assert_eq!(keys(&folders[0].files), names);
    }
}

/// abs.md 3: every .asb below, recursively, when all metadata share one `created`.
#[tokio::test]
async fn a_whole_run_is_legal() {
    let (_dir, storage) = storage().await;
    Backup::full(T, "b").files(1).write(&storage).await;
    Backup::full(T, "a").files(2).foreign().write(&storage).await;
    put(&storage, "r/backup/1700000000000/data/a/deeper/x.asb").await;
    put(&storage, "r/backup/1700000000000/configuration/aerospike_0.conf").await;
    put(&storage, "r/backup/1700000000000/data/crashed/0_crashed_1.asb").await;
    for path in ["r/backup/1700000000000", "r/backup/1700000000000/data", "r"] {
        let AtPath::Backups { folders, warnings, .. } = at_path(&storage, path, false).await.unwrap() else {
            panic!()
        };
        let namespaces: Vec<&str> = folders.iter().map(|folder| folder.metadata.namespace.as_str()).collect();
        assert_eq!(namespaces, ["a", "b"]);
        assert_eq!((folders[0].files.len(), folders[1].files.len()), (3, 1));
        assert!(warnings.len() == 1 && warnings[0].contains("data/crashed"), "{warnings:?}");
    }
    Backup::full(T + 1, "a").write(&storage).await;
    let error = error(&storage, "r/backup").await;
    assert_eq!(error.code(), "backup-path-mixed");
    assert!(error.hint_text().unwrap().contains("r/backup/1700000000001;"), "{}", error.report());
}

/// rules.md 6.1
#[tokio::test]
async fn of_two_attempts_the_highest_whole_one_is_restored() {
    let (_dir, storage) = storage().await;
    for attempt in [1, 2, 3] {
        Backup::full(T, "ns").files(2).attempt(attempt).write(&storage).await;
    }
    storage.delete("r/backup/1700000000000/data/ns.3/1_ns_2.asb").await.unwrap();
    let AtPath::Backups { folders, warnings, .. } =
        at_path(&storage, "r/backup/1700000000000", false).await.unwrap()
    else {
        panic!()
    };
    assert_eq!((folders.len(), folders[0].key.as_str()), (1, "r/backup/1700000000000/data/ns.2"));
    assert_eq!(warnings.len(), 2, "{warnings:?}");
    for attempt in [1, 2] {
        storage
            .delete(&format!("{}/0_ns_1.asb", Backup::full(T, "ns").attempt(attempt).folder()))
            .await
            .unwrap();
    }
    let AtPath::Backups { folders, .. } = at_path(&storage, "r/backup/1700000000000", false).await.unwrap()
    else {
        panic!()
    };
    assert_eq!(folders[0].key, "r/backup/1700000000000/data/ns.3");
}

/// rules.md 4.10, abs.md 6 number 6
#[tokio::test]
async fn an_unfinished_backup_is_refused_unless_allowed() {
    let (_dir, storage) = storage().await;
    put(&storage, "r/incremental/1700000000000/data/ns/0_ns_1.asb").await;
    for path in ["r/incremental/1700000000000/data/ns", "r/incremental/1700000000000", "r"] {
        assert_eq!(error(&storage, path).await.code(), "backup-incomplete", "{path}");
        let AtPath::Plain { files, warnings } = at_path(&storage, path, true).await.unwrap() else {
            panic!()
        };
        assert_eq!((files.len(), warnings.len()), (1, 2));
    }
}

/// rules.md 4.10: whatever lies before it in the order of keys.
#[tokio::test]
async fn any_file_of_a_routine_makes_it_an_unfinished_backup() {
    let (_dir, storage) = storage().await;
    put(&storage, "r/a.asb").await;
    put(&storage, "r/incremental/1700000000000/data/ns/0_ns_1.asb").await;
    assert_eq!(error(&storage, "r").await.code(), "backup-incomplete");
}

#[tokio::test]
async fn a_plain_asbackup_directory_is_accepted_with_a_warning() {
    let (_dir, storage) = storage().await;
    for key in ["dump/ns/b.asb", "dump/ns/a.asb", "dump/ns/readme.txt", "dump/ns/sub/c.asb"] {
        put(&storage, key).await;
    }
    let AtPath::Plain { files, warnings } = at_path(&storage, "dump/ns", false).await.unwrap() else {
        panic!()
    };
    assert_eq!(keys(&files), ["dump/ns/a.asb", "dump/ns/b.asb", "dump/ns/sub/c.asb"]);
    assert_eq!(warnings.len(), 1);
}

#[tokio::test]
async fn damage_is_an_error_and_never_a_smaller_restore() {
    let (_dir, storage) = storage().await;
    Backup::full(T, "a").write(&storage).await;
    let path = "r/backup/1700000000000";
    storage.put(&format!("{path}/data/b/metadata.yaml"), "".into()).await.unwrap();
    assert_eq!(error(&storage, path).await.code(), "backup-damaged");
    storage.delete_prefix(&format!("{path}/data/b")).await.unwrap();
    storage.put(&format!("{path}/data/a/manifest.json"), "{".into()).await.unwrap();
    assert_eq!(error(&storage, path).await.code(), "backup-damaged");
}

/// rules.md 4.10: the founding examples leave out `/data/`.
#[tokio::test]
async fn nothing_there_names_the_nearest_paths() {
    let (_dir, storage) = storage().await;
    let hint = |error: Error| {
        assert_eq!(error.code(), "backup-path-empty");
        error.hint_text().unwrap().to_owned()
    };
    assert!(hint(error(&storage, "daily").await).contains("nothing near"));
    Backup::full(T, "source-ns1").files(1).write(&storage).await;
    Backup::full(T + 9, "source-ns1").files(1).write(&storage).await;
    put(&storage, "r/backup/1700000000009/configuration/aerospike_0.conf").await;
    put(&storage, "weekly/backup/1700000000000_2023-11-14T22-13-20/data/ns/metadata.yaml").await;
    for (path, nearest) in [
        ("r/backup/1700000000000/source-ns1", "r/backup/1700000000000/data/source-ns1."),
        ("r/backup/1700000000000/data/source-ns2", "r/backup/1700000000000/data/source-ns1."),
        ("r/backup/1700000000008/data/ns", "r/backup/1700000000000, r/backup/1700000000009."),
        ("weekly/backup/1700000000000/data/ns", "weekly/backup/1700000000000_2023-11-14T22-13-20."),
        ("R/backup", "r, weekly."),
        ("r/full/x", "r/backup."),
    ] {
        let hint = hint(error(&storage, path).await);
        assert_eq!(hint, format!("The nearest paths that exist: {nearest}"), "{path}");
    }
    assert_eq!(error(&storage, "r/backup/1700000000009/configuration").await.code(), "backup-path-empty");
    for bad in ["", "/", "../x", "/etc"] {
        assert_eq!(error(&storage, bad).await.code(), "storage-key-invalid", "{bad:?}");
    }
}
