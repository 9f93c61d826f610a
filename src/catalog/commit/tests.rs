use super::*;
use crate::catalog::testkit::{Backup, storage};
use crate::storage::faulty::{Fault, Faulty, Op};

fn backup() -> Backup {
    Backup::full(1_700_000_000_000, "ns").files(2)
}

async fn try_commit(storage: &Faulty, backup: &Backup) -> Result<Commit> {
    let blocks = backup.write_files(storage).await;
    commit(storage, &backup.folder(), blocks, &backup.manifest(), &backup.metadata()).await
}

/// rules.md 3.10
#[tokio::test]
async fn metadata_comes_last() {
    let (_dir, storage) = storage().await;
    let backup = backup();
    let (manifest, metadata, folder) = (backup.manifest(), backup.metadata(), backup.folder());
    let blocks = backup.write_files(&storage).await;
    let staged = stage(&storage, &folder, blocks, &manifest, &metadata).await.unwrap();
    let names = |objects: Vec<crate::storage::ObjectInfo>| -> Vec<String> {
        objects
            .into_iter()
            .map(|object| object.key.strip_prefix(&format!("{folder}/")).unwrap().into())
            .collect()
    };
    let before = names(storage.list(&folder).await.unwrap());
    assert_eq!(before, ["0_ns_1.asb", "1_ns_2.asb", "blocks.b3", "manifest.json"]);
    assert!(matches!(committed(&storage, &folder).await, Commit::Absent));
    let Commit::Committed(answer) = staged.publish().await.unwrap() else { panic!() };
    let Commit::Committed(asked) = committed(&storage, &folder).await else { panic!() };
    assert_eq!(answer, asked);
    assert_eq!(*asked, Committed { metadata, manifest: Some(manifest) });
}

/// Whatever call fails, storage shows either no backup or a whole one, and the answer says which.
#[tokio::test]
async fn a_failure_anywhere_leaves_nothing_or_all() {
    for after in [false, true] {
        for (op, name) in [
            (Op::Finish, "blocks.b3"),
            (Op::List, "data/ns"),
            (Op::Put, "manifest.json"),
            (Op::Put, "metadata.yaml"),
        ] {
            let (_dir, storage) = storage().await;
            storage.fail(Fault { key_contains: name, after, ..Fault::nth(op, 1) });
            let answer = try_commit(&storage, &backup()).await;
            let landed = after && name == "metadata.yaml";
            assert_eq!(matches!(answer, Ok(Commit::Committed(_))), landed, "{name} {after}: {answer:?}");
            assert_eq!(answer.is_err(), !landed, "{name} {after}");
            let asked = committed(&storage, &backup().folder()).await;
            assert_eq!(matches!(asked, Commit::Committed(_)), landed, "{name} {after}: {asked:?}");
            assert_eq!(matches!(asked, Commit::Absent), !landed, "{name} {after}: {asked:?}");
        }
    }
}

#[tokio::test]
async fn an_unanswered_question_is_unknown() {
    let (_dir, storage) = storage().await;
    storage.fail(Fault { key_contains: "metadata.yaml", after: true, ..Fault::nth(Op::Put, 1) });
    storage.fail(Fault { always: true, ..Fault::nth(Op::Get, 1) });
    assert!(matches!(try_commit(&storage, &backup()).await.unwrap(), Commit::Unknown(_)));
    storage.heal();
    let folder = backup().folder();
    assert!(matches!(committed(&storage, &folder).await, Commit::Committed(_)));
    for op in [Op::Get, Op::List] {
        storage.fail(Fault::nth(op, 1));
        assert!(matches!(committed(&storage, &folder).await, Commit::Unknown(_)), "{op:?}");
    }
}

#[tokio::test]
async fn damage_is_neither_committed_nor_absent() {
    let (_dir, storage) = storage().await;
    let folder = backup().folder();
    for (name, text) in [("0_ns_1.asb", "short"), ("manifest.json", "{"), ("metadata.yaml", "")] {
        try_commit(&storage, &backup()).await.unwrap();
        storage.put(&join(&folder, name), text.into()).await.unwrap();
        let answer = committed(&storage, &folder).await;
        assert!(matches!(answer, Commit::Broken { .. }), "{name}: {answer:?}");
        storage.delete_prefix(&folder).await.unwrap();
    }
    try_commit(&storage, &backup()).await.unwrap();
    storage.delete(&join(&folder, "1_ns_2.asb")).await.unwrap();
    assert!(matches!(committed(&storage, &folder).await, Commit::Broken { .. }));
    // ABS's own backups have no manifest to hold them to.
    storage.delete(&join(&folder, "manifest.json")).await.unwrap();
    let Commit::Committed(found) = committed(&storage, &folder).await else { panic!() };
    assert_eq!(found.manifest, None);
}

#[tokio::test]
async fn what_does_not_agree_is_not_committed() {
    let (_dir, storage) = storage().await;
    let backup = backup();
    let folder = backup.folder();
    let refused = |change: fn(&mut Manifest, &mut Metadata), code: &'static str| {
        let (storage, backup) = (storage.clone(), backup.clone());
        async move {
            let (mut manifest, mut metadata) = (backup.manifest(), backup.metadata());
            change(&mut manifest, &mut metadata);
            let blocks = backup.write_files(&storage).await;
            let error = commit(&storage, &backup.folder(), blocks, &manifest, &metadata).await.unwrap_err();
            assert_eq!(error.code(), code, "{}", error.report());
            assert!(matches!(committed(&storage, &backup.folder()).await, Commit::Absent));
        }
    };
    refused(|_, metadata| metadata.record_count += 1, "commit-refused").await;
    refused(|_, metadata| metadata.namespace = "other".into(), "commit-refused").await;
    refused(|manifest, _| manifest.totals.bytes += 1, "commit-refused").await;
    refused(
        |manifest, metadata| {
            manifest.files.pop();
            manifest.totals.files -= 1;
            manifest.totals.records -= 15;
            manifest.totals.bytes -= 1000;
            metadata.file_count -= 1;
            metadata.record_count -= 15;
        },
        "commit-refused", // a hash too many
    )
    .await;
    refused(|manifest, _| manifest.files[1].name = "9_ns_9.asb".into(), "commit-incomplete").await;
    let blocks = backup.write_files(&storage).await;
    let error = commit(&storage, "elsewhere", blocks, &backup.manifest(), &backup.metadata()).await;
    assert_eq!(error.unwrap_err().code(), "not-an-attempt");
    assert!(storage.list("elsewhere").await.unwrap().is_empty() && !folder.is_empty());
}

#[tokio::test]
async fn removing_takes_metadata_first_and_only_one_attempt() {
    let (_dir, storage) = storage().await;
    for attempt in [1, 2] {
        try_commit(&storage, &backup().attempt(attempt)).await.unwrap();
    }
    let folder = backup().folder();
    storage.fail(Fault::nth(Op::DeletePrefix, 1));
    remove_attempt(&storage, &folder).await.unwrap_err();
    assert!(matches!(committed(&storage, &folder).await, Commit::Absent));
    assert_eq!(remove_attempt(&storage, &folder).await.unwrap(), 4);
    assert_eq!(remove_attempt(&storage, &folder).await.unwrap(), 0, "abs.md 7.6: again is no error");
    assert!(matches!(committed(&storage, &backup().attempt(2).folder()).await, Commit::Committed(_)));
    assert_eq!(remove_attempt(&storage, &backup().attempt(2).folder()).await.unwrap(), 5);

    for folder in [
        "r",
        "r/backup",
        "r/backup/1700000000000",
        "r/backup/1700000000000/data",
        "x/y/z",
        "copy/r/backup/1700000000000/data/ns",
        "r/backup/1700000000000/data/ns/deeper",
        "r/backup/1700000000000/configuration/ns",
    ] {
        assert_eq!(remove_attempt(&storage, folder).await.unwrap_err().code(), "not-an-attempt", "{folder}");
    }
}
