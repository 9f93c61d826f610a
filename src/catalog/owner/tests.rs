//! Owners on a real folder with faults on demand.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use tempfile::TempDir;

use super::record::{How, owner_document};
use super::{Held, Owner, OwnerTimes, Ownership, Seen};
use crate::catalog::layout::{instance_file, owner_file};
use crate::catalog::testkit::storage;
use crate::clock::SystemClock;
use crate::error::Result;
use crate::model::{InstanceId, UnixMillis};
use crate::storage::faulty::{Fault, Faulty, Op};
use crate::storage::{ObjectInfo, ObjectReader, ObjectWriter, Storage};

const HOUR: Duration = Duration::from_hours(1);

fn id(name: &str) -> InstanceId {
    InstanceId::parse(name).unwrap()
}

fn instance(name: &str) -> Ownership {
    Ownership::new(id(name), Some(format!("host-{name}")), Arc::new(SystemClock), OwnerTimes::default())
}

/// Sets the date of an object back, as if it had not been written since.
fn age(dir: &TempDir, key: &str, by: Duration) {
    let file = std::fs::File::options().write(true).open(dir.path().join(key)).unwrap();
    let now = file.metadata().unwrap().modified().unwrap();
    file.set_modified(now.checked_sub(by).unwrap()).unwrap();
}

async fn owner_of(storage: &Faulty) -> String {
    match instance("reader").owner(storage, "r").await.unwrap() {
        Owner::Instance(record) => record.instance.to_string(),
        other => format!("{other:?}"),
    }
}

#[tokio::test]
async fn a_folder_without_an_owner_is_taken_and_stays_ours() {
    let (_dir, storage) = storage().await;
    let a = instance("a");
    assert_eq!(a.owner(&storage, "r").await.unwrap(), Owner::Nobody);
    a.may_hold(&storage, "r").await.unwrap();
    assert_eq!(owner_of(&storage).await, "Nobody", "asking takes nothing");
    assert_eq!(a.ensure(&storage, "r").await.unwrap(), Held::Taken);
    assert_eq!(a.ensure(&storage, "r").await.unwrap(), Held::Already);
    a.check(&storage, "r").await.unwrap();
    assert!(storage.head(&instance_file(&id("a"))).await.unwrap().is_some(), "an owner lives");
    assert_eq!(a.seen("r"), Some(Seen::Ours));
    assert_eq!(a.ensure(&storage, "other").await.unwrap(), Held::Taken, "each routine has its own");
}

#[tokio::test]
async fn an_owner_that_lives_keeps_its_folder() {
    let (dir, storage) = storage().await;
    let (a, b) = (instance("a"), instance("b"));
    a.ensure(&storage, "r").await.unwrap();
    // Just inside of the hour: "not renewed for 60 minutes" has not come yet.
    age(&dir, &instance_file(&id("a")), Duration::from_mins(59));
    for refused in [
        b.may_hold(&storage, "r").await.unwrap_err(),
        b.ensure(&storage, "r").await.unwrap_err(),
        b.check(&storage, "r").await.unwrap_err(),
    ] {
        assert_eq!((refused.code(), refused.is_temporary()), ("routine-owned", false));
        let text = refused.report();
        for part in ["instance a on host host-a", "this is instance b", "holdfast adopt r"] {
            assert!(text.contains(part), "{part}: {text}");
        }
    }
    assert_eq!(owner_of(&storage).await, "a");
    assert_eq!(b.seen("r"), Some(Seen::Other));
    a.check(&storage, "r").await.unwrap();
}

#[tokio::test]
async fn an_owner_that_is_gone_is_replaced_and_may_not_come_back() {
    let (dir, storage) = storage().await;
    let (a, b) = (instance("a"), instance("b"));
    a.ensure(&storage, "r").await.unwrap();
    age(&dir, &instance_file(&id("a")), HOUR + Duration::from_mins(1));
    assert_eq!(b.check(&storage, "r").await.unwrap_err().code(), "routine-owned", "a check replaces nobody");
    b.may_hold(&storage, "r").await.unwrap();
    match b.ensure(&storage, "r").await.unwrap() {
        Held::Replaced { previous, .. } => assert_eq!(previous.instance, id("a")),
        other => panic!("{other:?}"),
    }
    assert_eq!(owner_of(&storage).await, "b");
    // It was only slow: its run must not commit any more, nor take the folder back.
    assert_eq!(a.check(&storage, "r").await.unwrap_err().code(), "routine-owned");
    assert_eq!(a.ensure(&storage, "r").await.unwrap_err().code(), "routine-owned");
}

#[tokio::test]
async fn the_storages_clock_decides_and_not_ours() {
    let (dir, storage) = storage().await;
    let (a, b) = (instance("a"), instance("b"));
    a.ensure(&storage, "r").await.unwrap();
    // What storage dates now is two hours behind this machine, or ahead of it.
    let two_hours_ms = 2 * 3_600_000;
    let behind = OtherClock { inner: storage.clone(), ahead_ms: -two_hours_ms };
    let ahead = OtherClock { inner: storage.clone(), ahead_ms: two_hours_ms };
    age(&dir, &instance_file(&id("a")), Duration::from_mins(5));
    for storage in [&behind, &ahead] {
        assert_eq!(b.ensure(storage, "r").await.unwrap_err().code(), "routine-owned");
    }
    age(&dir, &instance_file(&id("a")), HOUR);
    assert!(matches!(b.ensure(&ahead, "r").await.unwrap(), Held::Replaced { .. }));
}

#[tokio::test]
async fn an_owner_without_an_instance_file_lives_as_long_as_its_claim_is_young() {
    // Somebody copied the routine's folder to another storage, or removed the instances.
    let (dir, storage) = storage().await;
    let (a, b) = (instance("a"), instance("b"));
    a.ensure(&storage, "r").await.unwrap();
    storage.delete(&instance_file(&id("a"))).await.unwrap();
    assert_eq!(b.ensure(&storage, "r").await.unwrap_err().code(), "routine-owned");
    age(&dir, &owner_file("r").unwrap(), HOUR * 2);
    assert!(matches!(b.ensure(&storage, "r").await.unwrap(), Held::Replaced { .. }));
}

#[tokio::test]
async fn doubt_is_an_error_and_never_a_take_over() {
    let (dir, storage) = storage().await;
    let (a, b) = (instance("a"), instance("b"));
    a.ensure(&storage, "r").await.unwrap();
    age(&dir, &instance_file(&id("a")), HOUR * 2);
    for (op, key) in [
        (Op::Get, "holdfast-owner"),
        (Op::Put, "holdfast-instances/b"),
        (Op::Head, "holdfast-instances/b"),
        (Op::Head, "holdfast-instances/a"),
    ] {
        storage.fail(Fault { key_contains: key, always: true, ..Fault::nth(op, 1) });
        let refused = b.ensure(&storage, "r").await.unwrap_err();
        assert_eq!(refused.code(), "storage-io", "{op:?} {key}");
        storage.heal();
        assert_eq!(owner_of(&storage).await, "a", "{op:?} {key}");
    }
    // Nor does a check believe what it cannot read.
    storage.fail(Fault { key_contains: "holdfast-owner", ..Fault::nth(Op::Get, 1) });
    assert_eq!(a.check(&storage, "r").await.unwrap_err().code(), "storage-io");
    assert_eq!(a.seen("r"), Some(Seen::Unknown));
    a.check(&storage, "r").await.unwrap();
}

#[tokio::test]
async fn a_write_whose_answer_was_lost_is_found_by_the_next_try() {
    let (_dir, storage) = storage().await;
    let a = instance("a");
    storage.fail(Fault { key_contains: "holdfast-owner", after: true, ..Fault::nth(Op::Put, 1) });
    assert_eq!(a.ensure(&storage, "r").await.unwrap_err().code(), "storage-io");
    assert_eq!(a.ensure(&storage, "r").await.unwrap(), Held::Already);
}

#[tokio::test]
async fn what_is_not_understood_is_not_written_over_but_can_be_adopted() {
    let (_dir, storage) = storage().await;
    let a = instance("a");
    for text in ["{", r#"{"version": 2, "instance": "later"}"#] {
        storage.put(&owner_file("r").unwrap(), Bytes::from_static(text.as_bytes())).await.unwrap();
        for refused in [a.may_hold(&storage, "r").await, a.check(&storage, "r").await] {
            assert_eq!(refused.unwrap_err().code(), "owner-unreadable");
        }
        assert_eq!(a.ensure(&storage, "r").await.unwrap_err().code(), "owner-unreadable");
        assert!(matches!(a.adopt(&storage, "r").await.unwrap(), Owner::Unreadable(_)));
        a.check(&storage, "r").await.unwrap();
    }
}

#[tokio::test]
async fn adopting_takes_the_folder_of_one_that_lives() {
    let (_dir, storage) = storage().await;
    let (a, b) = (instance("a"), instance("b"));
    a.ensure(&storage, "r").await.unwrap();
    match b.adopt(&storage, "r").await.unwrap() {
        Owner::Instance(record) => assert_eq!(record.instance, id("a")),
        other => panic!("{other:?}"),
    }
    b.check(&storage, "r").await.unwrap();
    assert_eq!(a.check(&storage, "r").await.unwrap_err().code(), "routine-owned");
    assert!(matches!(b.adopt(&storage, "r").await.unwrap(), Owner::Instance(of) if of.instance == id("b")));
}

#[tokio::test]
async fn of_two_that_take_a_folder_at_once_the_loser_hears_of_it() {
    let (_dir, storage) = storage().await;
    let a = instance("a");
    // The other writes between our write and our look.
    let raced = Raced { inner: storage.clone(), rival: "b" };
    let refused = a.ensure(&raced, "r").await.unwrap_err();
    assert_eq!(refused.code(), "routine-owned");
    assert!(refused.to_string().contains("instance b"), "{refused}");

    // Both read themselves back, one after the other: the earlier one's next check refuses.
    let (c, d) = (instance("c"), instance("d"));
    c.ensure(&storage, "race").await.unwrap();
    let document = owner_document(&id("d"), None, UnixMillis(0), How::FirstWrite, None).unwrap();
    storage.put(&owner_file("race").unwrap(), document).await.unwrap();
    d.check(&storage, "race").await.unwrap();
    assert_eq!(c.check(&storage, "race").await.unwrap_err().code(), "routine-owned");
}

/// A storage in which a rival takes each folder right after it was taken.
#[derive(Debug)]
struct Raced {
    inner: Faulty,
    rival: &'static str,
}

/// A storage whose clock is not this machine's.
#[derive(Debug)]
struct OtherClock {
    inner: Faulty,
    ahead_ms: i64,
}

macro_rules! pass_on {
    ($name:ident, { $($special:tt)* }) => {
        #[async_trait]
        impl Storage for $name {
            $($special)*
            async fn create(&self, key: &str) -> Result<Box<dyn ObjectWriter>> { self.inner.create(key).await }
            async fn get(&self, key: &str, limit: u64) -> Result<Option<Bytes>> { self.inner.get(key, limit).await }
            async fn open(&self, key: &str) -> Result<Box<dyn ObjectReader>> { self.inner.open(key).await }
            async fn list(&self, prefix: &str) -> Result<Vec<ObjectInfo>> { self.inner.list(prefix).await }
            async fn list_dirs(&self, prefix: &str) -> Result<Vec<String>> { self.inner.list_dirs(prefix).await }
            async fn delete(&self, key: &str) -> Result<()> { self.inner.delete(key).await }
            async fn delete_prefix(&self, prefix: &str) -> Result<u64> { self.inner.delete_prefix(prefix).await }
            fn describe(&self) -> String { self.inner.describe() }
        }
    };
}

pass_on!(Raced, {
    async fn put(&self, key: &str, bytes: Bytes) -> Result<()> {
        self.inner.put(key, bytes).await?;
        if key.ends_with("holdfast-owner.json") {
            let rival = owner_document(&id(self.rival), None, UnixMillis(0), How::FirstWrite, None)?;
            self.inner.put(key, rival).await?;
        }
        Ok(())
    }
    async fn head(&self, key: &str) -> Result<Option<ObjectInfo>> {
        self.inner.head(key).await
    }
});

pass_on!(OtherClock, {
    async fn put(&self, key: &str, bytes: Bytes) -> Result<()> {
        self.inner.put(key, bytes).await
    }
    async fn head(&self, key: &str) -> Result<Option<ObjectInfo>> {
        let found = self.inner.head(key).await?;
        Ok(found.map(|object| ObjectInfo { modified: object.modified.plus_ms(self.ahead_ms), ..object }))
    }
});
