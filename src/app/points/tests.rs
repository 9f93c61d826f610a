use super::copies::{Shown, points_in};
use crate::app::TimeBounds;
use crate::catalog::History;
use crate::catalog::testkit::{Backup, storage};
use crate::model::UnixMillis;
use crate::storage::Storage;
use std::collections::BTreeSet;

const T: i64 = 1_700_000_000_000;

/// rules.md 3.4: what a restore to any moment of a window would do.
#[tokio::test]
async fn windows_lie_between_the_ends_of_backups_and_a_hole_says_why() {
    let (_dir, storage) = storage().await;
    let chain = [
        Backup::full(T, "a"),
        Backup::incremental(T + 10_000, T, "a"),
        Backup::incremental(T + 30_000, T + 20_000, "a"), // builds on what is not there
        Backup::full(T + 40_000, "a"),
    ];
    let mut ends = Vec::new();
    for backup in &chain {
        ends.push(backup.clone().files(1).write(&storage).await.finished.0);
    }
    let history = History::read(&storage, "r", &BTreeSet::new()).await.unwrap();
    let damaged = BTreeSet::from([chain[1].folder()]);
    let shown = [Shown { name: "disk".to_owned(), history, damaged }];
    let points = |bounds, limit| points_in(&shown, "a".to_owned(), bounds, limit);
    let all = points(TimeBounds::default(), 10);
    let found: Vec<_> = all.windows.iter().map(|one| (one.from, one.to, one.chain.len(), one.code)).collect();
    assert_eq!(
        found,
        [
            (ends[3], None, 1, None),
            (ends[2], Some(ends[3] - 1), 0, Some("chain-gap")),
            (ends[1], Some(ends[2] - 1), 2, None),
            (ends[0], Some(ends[1] - 1), 1, None),
        ]
    );
    assert!(all.windows[1].reason.as_ref().unwrap().contains("newest whole restore point"), "{all:?}");
    assert_eq!(all.windows[2].damaged, [chain[1].folder()]);
    assert_eq!(
        (points(TimeBounds::default(), 1).windows.len(), points(TimeBounds::default(), 1).more),
        (1, 3)
    );
    let bounded = TimeBounds { from: Some(UnixMillis(ends[1])), to: Some(UnixMillis(ends[1])) };
    assert_eq!(points(bounded, 10).windows.iter().map(|one| one.from).collect::<Vec<_>>(), [ends[1]]);
}

/// What storage lost after it was copied.
enum Lost<'a> {
    Nothing,
    /// Its folder.
    Gone(&'a Backup),
    /// A file of it, by its manifest.
    Broken(&'a Backup),
}

async fn shown(name: &str, backups: &[Backup], lost: Lost<'_>) -> (tempfile::TempDir, Shown) {
    let (dir, storage) = storage().await;
    for backup in backups {
        backup.clone().files(1).write(&storage).await;
    }
    match lost {
        Lost::Nothing => {}
        Lost::Gone(backup) => drop(storage.delete_prefix(&backup.folder()).await.unwrap()),
        Lost::Broken(backup) => storage
            .put(&format!("{}/manifest.json", backup.folder()), bytes::Bytes::from("{}"))
            .await
            .unwrap(),
    }
    let history = History::read(&storage, "r", &BTreeSet::new()).await.unwrap();
    (dir, Shown { name: name.to_owned(), history, damaged: BTreeSet::new() })
}

/// The windows, the newest first: when they begin and end, from where, and how many backups it takes.
fn told(all: &[Shown]) -> Vec<(i64, Option<i64>, Option<String>, usize)> {
    let points = points_in(all, "a".to_owned(), TimeBounds::default(), 10);
    assert_eq!(points.more, 0);
    points.windows.into_iter().map(|one| (one.from, one.to, one.storage, one.chain.len())).collect()
}

#[tokio::test]
async fn a_moment_that_the_own_storage_lost_is_one_of_the_copy() {
    let chain = [
        Backup::full(T, "a"),
        Backup::incremental(T + 10_000, T, "a"),
        Backup::incremental(T + 20_000, T + 10_000, "a"),
    ];
    let ends = [0, 1, 2].map(|place: i64| T + 1500 + place * 10_000);
    let (disk, vault) = (Some("disk".to_owned()), Some("vault".to_owned()));
    let of = |last: &Option<String>| {
        vec![
            (ends[2], None, last.clone(), 3),
            (ends[1], Some(ends[2] - 1), disk.clone(), 2),
            (ends[0], Some(ends[1] - 1), disk.clone(), 1),
        ]
    };
    let (_far, copy) = shown("vault", &chain, Lost::Nothing).await;
    let (_near, whole) = shown("disk", &chain, Lost::Nothing).await;
    let all = [whole, copy];
    assert_eq!(told(&all), of(&disk));
    let points = points_in(&all, "a".to_owned(), TimeBounds::default(), 10);
    let names: Vec<_> = points.windows[0].storages.iter().map(|one| one.storage.as_str()).collect();
    assert_eq!(names, ["disk", "vault"]);
    let [_, copy] = all;

    let (_near, broken) = shown("disk", &chain, Lost::Broken(&chain[2])).await;
    let all = [broken, copy];
    assert_eq!(told(&all), of(&vault), "it is restored from the copy");
    let points = points_in(&all, "a".to_owned(), TimeBounds::default(), 10);
    assert_eq!(points.left_out.len(), 1, "{points:?}");
    let [broken, copy] = all;
    assert_eq!(points_in(&[broken], "a".to_owned(), TimeBounds::default(), 1).windows[0].chain.len(), 2);

    // Nothing in the own storage tells of what is gone: the older state is what a restore takes, and the newer one is named.
    let (_near, gone) = shown("disk", &chain, Lost::Gone(&chain[2])).await;
    let all = [gone, copy];
    assert_eq!(told(&all)[0], (ends[2], None, disk.clone(), 2));
    let points = points_in(&all, "a".to_owned(), TimeBounds::default(), 10);
    let of: Vec<_> = points.windows[0].storages.iter().map(|one| (&*one.storage, &*one.finished)).collect();
    let at = |place: usize| UnixMillis(ends[place]).to_rfc3339();
    assert_eq!(of, [("disk", &*at(1)), ("vault", &*at(2))]);
    let [_, copy] = all;

    // The base is gone, and with it every moment; older ones that only the copy keeps are there too.
    let (_near, gone) = shown("disk", &chain, Lost::Gone(&chain[0])).await;
    assert!(told(std::slice::from_ref(&gone)).is_empty());
    let all = [gone, copy];
    assert_eq!(told(&all).iter().map(|one| one.2.clone()).collect::<Vec<_>>(), vec![vault; 3]);
    assert_eq!(told(&all).len(), 3, "stretches of several storages are told once");
}

/// A verification has found a member damaged: a restore reads what it can there, and the rest from the copy.
#[tokio::test]
async fn damage_that_a_verification_found_is_told_of_each_storage() {
    let full = [Backup::full(T, "a")];
    let (_near, mut own) = shown("disk", &full, Lost::Nothing).await;
    let (_far, copy) = shown("vault", &full, Lost::Nothing).await;
    own.damaged.insert(full[0].folder());
    let points = points_in(&[own, copy], "a".to_owned(), TimeBounds::default(), 10);
    let window = &points.windows[0];
    assert_eq!((window.storage.as_deref(), window.damaged.len()), (Some("disk"), 1));
    let damaged: Vec<usize> = window.storages.iter().map(|one| one.damaged.len()).collect();
    assert_eq!(damaged, [1, 0]);
}
