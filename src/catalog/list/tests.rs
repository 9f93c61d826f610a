use super::*;
use crate::catalog::testkit::{Backup, storage};
use crate::config::TimestampFormat;
use crate::storage::faulty::{Fault, Faulty, Op};

const T: i64 = 1_700_000_000_000;

async fn list(storage: &Faulty, from: Option<i64>, to: Option<i64>) -> Listing {
    let query = ListQuery {
        routine: "r",
        backup_type: BackupType::Full,
        from: from.map(UnixMillis),
        to: to.map(UnixMillis),
        manifests: true,
    };
    list_backups(storage, &query).await.unwrap()
}

fn keys(listing: &Listing) -> Vec<&str> {
    listing.counted().map(|entry| entry.key.strip_prefix("r/backup/").unwrap()).collect()
}

fn problem(kind: ProblemKind, key: &str, listing: &Listing) -> String {
    let found = listing.problems.iter().find(|problem| problem.key == format!("r/backup/{key}"));
    let found = found.unwrap_or_else(|| panic!("{key} is no problem: {:?}", listing.problems));
    assert_eq!(found.kind, kind, "{key}: {}", found.reason);
    found.reason.clone()
}

#[tokio::test]
async fn entries_are_sorted_and_say_what_was_found() {
    let (_dir, storage) = storage().await;
    assert!(list(&storage, None, None).await.all().is_empty());
    let mut late = Backup::full(T + 5, "a").files(1);
    late.run = RunFolderWith(TimestampFormat::Us).of(T + 5);
    late.write(&storage).await;
    Backup::full(T, "b").files(2).write(&storage).await;
    Backup::full(T, "a").foreign().write(&storage).await;
    Backup::incremental(T + 9, T, "a").write(&storage).await;
    let listing = list(&storage, None, None).await;
    assert_eq!(
        keys(&listing),
        ["1700000000000/data/a", "1700000000000/data/b", "1700000000005_Nov-14-2023-22-13-20/data/a"]
    );
    assert!(listing.problems.is_empty(), "{:?}", listing.problems);
    let [foreign, ours, _] = listing.all() else { panic!() };
    assert_eq!((foreign.manifest.as_ref(), &foreign.state, foreign.warnings.len()), (None, &State::Whole, 0));
    let summary = ours.manifest.as_ref().unwrap();
    assert_eq!(summary.safe_from, UnixMillis(T - 7));
    assert_eq!(summary.run_namespaces, ["b", "gone"]);
    assert_eq!((ours.created, ours.finished, ours.counts.records), (UnixMillis(T), UnixMillis(T + 1500), 30));
}

struct RunFolderWith(TimestampFormat);
impl RunFolderWith {
    fn of(&self, at: i64) -> crate::catalog::RunFolder {
        crate::catalog::RunFolder::new("r", BackupType::Full, UnixMillis(at), Some(self.0)).unwrap()
    }
}

#[tokio::test]
async fn bounds_include_both_ends_and_spare_the_reads() {
    let (_dir, storage) = storage().await;
    for at in [T, T + 1, T + 2, T + 3] {
        Backup::full(at, "ns").foreign().write(&storage).await;
    }
    let before = storage.calls(Op::Get);
    let listing = list(&storage, Some(T + 1), Some(T + 2)).await;
    assert_eq!(keys(&listing), ["1700000000001/data/ns", "1700000000002/data/ns"]);
    assert_eq!(storage.calls(Op::Get) - before, 4, "metadata and manifest of two backups");
    assert_eq!(keys(&list(&storage, Some(T + 3), None).await).len(), 1);
    assert_eq!(keys(&list(&storage, None, Some(T)).await).len(), 1);
}

/// abs.md 6 number 5, 7.8: ABS fails the whole listing.
#[tokio::test]
async fn a_broken_backup_never_hides_a_healthy_one() {
    let (_dir, storage) = storage().await;
    Backup::full(T, "good").write(&storage).await;
    let put = |name: &str, text: &str| {
        let (key, text) = (format!("r/backup/{name}"), text.to_owned());
        let storage = storage.clone();
        async move { storage.put(&key, text.into()).await.unwrap() }
    };
    put("1700000000000/data/empty/metadata.yaml", "").await;
    put("1700000000000/data/cut/metadata.yaml", "created: 2023-11-14T22:13:20Z\nfinished: 2023-").await;
    put("1700000000000/data/huge/metadata.yaml", &"#".repeat(70_000)).await;
    put("1700000000000/data/none/0_none_1.asb", "x").await;
    put("1700000000001/configuration/aerospike_0.conf", "x").await;
    put("data/ns/metadata.yaml", "x").await; // v2's layout
    put("latest/data/ns/metadata.yaml", "x").await;
    put("1700000000002/data/mixed/metadata.yaml", &Backup::full(T + 2, "mixed").metadata().to_yaml()).await;
    put("1700000000002/data/mixed/manifest.json", "{").await;
    let other = Backup::full(T + 3, "other").manifest().to_json().unwrap();
    put("1700000000003/data/stolen/metadata.yaml", &Backup::full(T + 3, "stolen").metadata().to_yaml()).await;
    put("1700000000003/data/stolen/manifest.json", &String::from_utf8(other).unwrap()).await;

    let listing = list(&storage, None, None).await;
    assert_eq!(
        keys(&listing),
        ["1700000000000/data/good", "1700000000002/data/mixed", "1700000000003/data/stolen"]
    );
    let states: Vec<bool> = listing.all().iter().map(|entry| entry.state == State::Whole).collect();
    assert_eq!(states, [true, false, false], "{:?}", listing.all());
    problem(ProblemKind::Broken, "1700000000000/data/empty", &listing);
    problem(ProblemKind::Broken, "1700000000000/data/cut", &listing);
    problem(ProblemKind::Broken, "1700000000000/data/huge", &listing);
    problem(ProblemKind::Incomplete, "1700000000000/data/none", &listing);
    problem(ProblemKind::Incomplete, "1700000000001", &listing);
    problem(ProblemKind::Foreign, "data", &listing);
    problem(ProblemKind::Foreign, "latest", &listing);
    assert_eq!(listing.problems.len(), 7);
    assert!(!listing.has_unreadable());
}

/// rules.md 6.1
#[tokio::test]
async fn the_highest_whole_attempt_counts() {
    let (_dir, storage) = storage().await;
    for attempt in [1, 2, 10] {
        Backup::full(T, "ns").files(1).attempt(attempt).write(&storage).await;
    }
    Backup::full(T, "ns.2").attempt(3).write(&storage).await;
    let mut listing = list(&storage, None, None).await;
    assert_eq!(keys(&listing), ["1700000000000/data/ns.10", "1700000000000/data/ns.2.3"]);
    assert_eq!(listing.superseded().count(), 2);
    let tenth = listing.all_mut().iter_mut().find(|entry| entry.attempt == 10).unwrap();
    tenth.state = State::broken("file missing");
    assert_eq!(keys(&listing), ["1700000000000/data/ns.2", "1700000000000/data/ns.2.3"]);
    for entry in listing.all_mut() {
        entry.state = State::broken("all");
    }
    assert_eq!(keys(&listing), ["1700000000000/data/ns.10", "1700000000000/data/ns.2.3"]);
    assert_eq!(listing.into_counted().len(), 2);
}

/// rules.md 3.1
#[tokio::test]
async fn a_void_backup_is_listed_as_void() {
    let (_dir, storage) = storage().await;
    let entry = Backup::full(T, "ns").write(&storage).await;
    storage.put(&join(&entry.key, VOID), "{}".into()).await.unwrap();
    let listing = list(&storage, None, None).await;
    assert_eq!(listing.all()[0].state, State::Void);
    storage.put(&join(&entry.key, "manifest.json"), "{".into()).await.unwrap();
    assert_eq!(list(&storage, None, None).await.all()[0].state, State::Void, "stays void");
}

#[tokio::test]
async fn doubt_is_told_apart_from_damage() {
    let (_dir, storage) = storage().await;
    Backup::full(T, "ns").write(&storage).await;
    Backup::full(T + 1, "ns").write(&storage).await;
    for name in ["metadata.yaml", "manifest.json", "holdfast-void.json"] {
        let op = if name == VOID { Op::Head } else { Op::Get };
        storage.fail(Fault { key_contains: name, ..Fault::nth(op, 1) });
        let listing = list(&storage, None, None).await;
        assert_eq!((listing.all().len(), listing.has_unreadable()), (1, true), "{name}");
        storage.heal();
    }
    storage.fail(Fault { key_contains: "1700000000001", ..Fault::nth(Op::ListDirs, 1) });
    assert!(list(&storage, None, None).await.has_unreadable());
    storage.fail(Fault::nth(Op::ListDirs, 1));
    let query =
        ListQuery { routine: "r", backup_type: BackupType::Full, from: None, to: None, manifests: false };
    assert!(list_backups(&storage, &query).await.is_err());
    let query = ListQuery { routine: "../r", ..query };
    assert_eq!(list_backups(&storage, &query).await.unwrap_err().code(), "name-invalid");
}

#[tokio::test]
async fn what_does_not_fit_together_is_said() {
    let (_dir, storage) = storage().await;
    let yaml = Backup::incremental(T + 60_000, T, "ns").metadata().to_yaml();
    storage.put("r/backup/1700000000000/data/other/metadata.yaml", yaml.into()).await.unwrap();
    let listing = list(&storage, None, None).await;
    let [entry] = listing.all() else { panic!() };
    assert_eq!((entry.created, entry.from, entry.namespace.as_str()), (UnixMillis(T + 60_000), None, "ns"));
    assert_eq!(entry.warnings.len(), 3, "{:?}", entry.warnings);
}

#[tokio::test]
async fn many_runs_come_back_in_order() {
    let (_dir, storage) = storage().await;
    for at in 0..100 {
        let yaml = Backup::full(T + at, "ns").metadata().to_yaml();
        storage
            .put(&format!("{}/metadata.yaml", Backup::full(T + at, "ns").folder()), yaml.into())
            .await
            .unwrap();
    }
    let listing = list(&storage, None, None).await;
    let created: Vec<i64> = listing.all().iter().map(|entry| entry.created.0 - T).collect();
    assert_eq!(created, (0..100).collect::<Vec<i64>>());
}
