use super::*;
use crate::catalog::testkit::{Backup, storage};
use crate::model::chain::{Mode, lower_bound};
use crate::storage::faulty::{Fault, Faulty, Op};
use crate::storage::join;

const T: i64 = 1_700_000_000_000;
/// After everything in these tests.
const END: UnixMillis = UnixMillis(T + 1_000_000);

/// A full and two incrementals of "ns", 10 s apart, one file each.
async fn three(storage: &Faulty) {
    Backup::full(T, "ns").files(1).write(storage).await;
    Backup::incremental(T + 10_000, T, "ns").files(1).write(storage).await;
    Backup::incremental(T + 20_000, T + 10_000, "ns").files(1).write(storage).await;
}

async fn chain(storage: &Faulty, at: UnixMillis) -> Result<Vec<i64>> {
    let mut history = History::read(storage, "r", &BTreeSet::new()).await?;
    let chain = history.whole_chain(storage, "ns", at, false).await?;
    Ok(chain.entries().map(|entry| entry.created.0 - T).collect())
}

#[tokio::test]
async fn a_chain_is_found_in_storage() {
    let (_dir, storage) = storage().await;
    assert_eq!(chain(&storage, END).await.unwrap_err().code(), "no-full-backup");
    three(&storage).await;
    Backup::full(T + 15_000, "other").write(&storage).await;
    assert_eq!(chain(&storage, END).await.unwrap(), [0, 10_000, 20_000]);
    assert_eq!(chain(&storage, UnixMillis(T + 20_000)).await.unwrap(), [0, 10_000]);
    assert_eq!(
        chain(&storage, UnixMillis(T + 1_500)).await.unwrap(),
        [0],
        "finished exactly then: abs.md 7.7"
    );
    assert!(chain(&storage, UnixMillis(T + 1_499)).await.is_err());
}

#[tokio::test]
async fn the_next_lower_bound_is_of_the_manifest_or_ten_seconds_back() {
    let (_dir, storage) = storage().await;
    three(&storage).await;
    let bound = |history: &History| {
        let (_, members) = history.members("ns");
        lower_bound(&members, END, END, Mode::Differential).unwrap()
    };
    let found = bound(&History::read(&storage, "r", &BTreeSet::new()).await.unwrap());
    assert_eq!((found.builds_on, found.safe_from), (UnixMillis(T + 20_000), UnixMillis(T + 20_000 - 7)));
    // rules.md 3.2
    Backup::full(T + 30_000, "ns").foreign().write(&storage).await;
    let found = bound(&History::read(&storage, "r", &BTreeSet::new()).await.unwrap());
    assert_eq!((found.builds_on, found.safe_from), (UnixMillis(T + 30_000), UnixMillis(T + 20_000)));
}

#[tokio::test]
async fn a_broken_member_is_found_out_and_named() {
    let (_dir, storage) = storage().await;
    three(&storage).await;
    Backup::full(T + 30_000, "ns").files(1).write(&storage).await;
    assert_eq!(chain(&storage, END).await.unwrap(), [30_000]);
    let newest = Backup::full(T + 30_000, "ns").folder();
    storage.delete(&join(&newest, "0_ns_1.asb")).await.unwrap();
    // An older state is not given for the one that was asked for, unless that is accepted.
    let error = chain(&storage, END).await.unwrap_err();
    assert_eq!(error.code(), "backup-damaged");
    assert!(error.report().contains("data/ns: 0_ns_1.asb is missing"), "{}", error.report());
    assert!(error.report().contains(&format!("(time {})", T + 21_500)), "{}", error.report());
    assert_eq!(chain(&storage, UnixMillis(T + 21_500)).await.unwrap(), [0, 10_000, 20_000]);
    let mut history = History::read(&storage, "r", &BTreeSet::new()).await.unwrap();
    let older = history.whole_chain(&storage, "ns", END, true).await.unwrap();
    assert_eq!((older.entries().count(), older.damaged[0].0.as_str()), (3, newest.as_str()));

    let middle = Backup::incremental(T + 10_000, T, "ns").folder();
    storage.put(&join(&middle, "0_ns_1.asb"), "short".into()).await.unwrap();
    let error = chain(&storage, UnixMillis(T + 25_000)).await.unwrap_err();
    assert_eq!(error.code(), "backup-damaged");
    assert!(error.to_string().contains(&middle), "{error}");
    let mut history = History::read(&storage, "r", &BTreeSet::new()).await.unwrap();
    let gap = history.whole_chain(&storage, "ns", END, true).await.unwrap();
    assert_eq!((gap.entries().count(), gap.chain.gaps.len()), (2, 1));
    let states: Vec<bool> =
        history.incremental.all().iter().map(|entry| entry.state == State::Whole).collect();
    assert_eq!(states, [false, true], "the reason stays with the entry");
}

/// rules.md 6.1: a lower whole attempt takes the place of a broken higher one.
#[tokio::test]
async fn a_broken_attempt_gives_way_to_a_whole_one() {
    let (_dir, storage) = storage().await;
    Backup::full(T, "ns").files(1).write(&storage).await;
    let second = Backup::full(T, "ns").files(1).attempt(2);
    second.write(&storage).await;
    let keys =
        |chain: &RestoreChain| -> Vec<String> { chain.entries().map(|entry| entry.key.clone()).collect() };
    let mut history = History::read(&storage, "r", &BTreeSet::new()).await.unwrap();
    let found = history.whole_chain(&storage, "ns", END, false).await.unwrap();
    assert_eq!(keys(&found), [second.folder()]);
    storage.delete(&join(&second.folder(), "blocks.b3")).await.unwrap();
    let found = history.whole_chain(&storage, "ns", END, false).await.unwrap();
    assert_eq!(keys(&found), [Backup::full(T, "ns").folder()]);
}

#[tokio::test]
async fn doubt_ends_the_search_only_where_it_matters() {
    let (_dir, storage) = storage().await;
    three(&storage).await;
    Backup::full(T + 30_000, "ns").write(&storage).await;
    Backup::full(T + 30_000, "ns2").write(&storage).await;
    let unread = |key: &'static str| storage.fail(Fault { key_contains: key, ..Fault::nth(Op::Get, 1) });
    unread("1700000030000/data/ns/");
    assert_eq!(chain(&storage, END).await.unwrap_err().code(), "backup-unreadable");
    unread("1700000030000/data/ns/");
    assert_eq!(chain(&storage, UnixMillis(T + 29_999)).await.unwrap().len(), 3, "created after that time");
    unread("1700000030000/data/ns2/");
    assert_eq!(chain(&storage, END).await.unwrap(), [30_000], "another namespace");
    unread("1700000030000/data/ns2/");
    let history = History::read(&storage, "r", &BTreeSet::new()).await.unwrap();
    assert!(history.refuse_unread(Some("ns"), END).is_ok());
    assert_eq!(history.refuse_unread(None, END).unwrap_err().code(), "backup-unreadable", "any namespace");
    assert!(history.refuse_unread(None, UnixMillis(T + 29_999)).is_ok());
    storage.fail(Fault { key_contains: "1700000030000", ..Fault::nth(Op::ListDirs, 1) });
    assert!(chain(&storage, END).await.unwrap_err().is_temporary());
}

#[tokio::test]
async fn void_and_marked_backups_are_no_members() {
    let (_dir, storage) = storage().await;
    three(&storage).await;
    storage
        .put(&join(&Backup::incremental(T + 20_000, 0, "ns").folder(), "holdfast-void.json"), "{}".into())
        .await
        .unwrap();
    assert_eq!(chain(&storage, END).await.unwrap(), [0, 10_000]);
    let mut history = History::read(&storage, "r", &BTreeSet::new()).await.unwrap();
    history.incremental.all_mut()[0].state = State::Marked;
    let found = history.whole_chain(&storage, "ns", END, false).await.unwrap();
    assert_eq!(found.entries().count(), 1);
}

/// rules.md 3.8
#[tokio::test]
async fn the_newest_run_decides_which_namespaces() {
    let (_dir, storage) = storage().await;
    let names = |set: BTreeSet<String>| set.into_iter().collect::<Vec<_>>().join(" ");
    assert!(History::read(&storage, "r", &BTreeSet::new()).await.unwrap().namespaces_at(END).is_empty());
    Backup::full(T, "old").foreign().write(&storage).await;
    Backup::full(T + 5_000, "ns").foreign().write(&storage).await;
    Backup::incremental(T + 10_000, T + 5_000, "ns").write(&storage).await;
    let history = History::read(&storage, "r", &BTreeSet::new()).await.unwrap();
    assert_eq!(
        names(history.namespaces_at(END)),
        "gone ns",
        "as the run resolved them, also with nothing to save"
    );
    assert_eq!(
        names(history.namespaces_at(UnixMillis(T + 11_499))),
        "ns old",
        "no manifest: all that have a full"
    );
    assert_eq!(names(history.namespaces_at(UnixMillis(T + 1_500))), "old");
    assert_eq!(names(history.namespaces()), "ns old");
}
