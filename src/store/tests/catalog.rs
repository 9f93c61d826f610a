//! The cache of the catalog: readings that overlap with commits, deletions and each other.

use super::*;
use crate::store::{
    CatalogBackup, CatalogFailure, CatalogReading, CatalogRow, CatalogState, DeletionRow, VerificationRow,
    VerifyOutcome,
};

const PLACE: &str = "local storage /b";

fn row(ms: i64) -> CatalogRow {
    CatalogRow {
        backup_type: BackupType::Full,
        folder: format!("r/backup/{ms}/data/n"),
        run: UnixMillis(ms),
        state: CatalogState::Whole,
        reason: None,
        backup: Some(CatalogBackup {
            namespace: "n".to_owned(),
            created: UnixMillis(ms),
            finished: UnixMillis(ms + 1),
            from: None,
            attempt: 1,
            counts: [1, 2, 3, 4, 5],
            compression: "ZSTD".to_owned(),
            encryption: "AES256-GCM".to_owned(),
        }),
    }
}

async fn begin(store: &Store) -> i64 {
    let mut tx = store.write().await.unwrap();
    let generation = tx.begin_catalog_reading(PLACE, PLACE, "r").await.unwrap();
    tx.commit().await.unwrap();
    generation
}

/// Ends a reading that looked at these runs, or at all.
async fn end(store: &Store, generation: i64, rows: &[CatalogRow], runs: Option<&[i64]>, unanswered: &[&str]) {
    let unanswered: Vec<String> = unanswered.iter().map(|key| (*key).to_owned()).collect();
    let unread: Vec<i64> = store.catalog_unread().await.unwrap().iter().map(|one| one.id).collect();
    let reading = CatalogReading {
        place: PLACE,
        routine: "r",
        generation,
        rows,
        unanswered: &unanswered,
        as_of: runs.is_none().then_some(UnixMillis(generation)),
        whole: true,
        was_unread: &unread,
    };
    let mut tx = store.write().await.unwrap();
    tx.end_catalog_reading(&reading, |_, run| runs.is_none_or(|runs| runs.contains(&run.0))).await.unwrap();
    tx.commit().await.unwrap();
}

/// A deletion of this run, from its mark to its end.
async fn delete(store: &Store, ms: i64) {
    let deletion = DeletionRow {
        address: format!("{PLACE}/{}", row(ms).folder),
        place: PLACE.to_owned(),
        storage: Some("s".to_owned()),
        routine: "r".to_owned(),
        backup_type: BackupType::Full,
        folder: row(ms).folder,
        namespace: "n".to_owned(),
        created: UnixMillis(ms),
        bytes: 0,
        marked: NOW,
        job_id: JobId(1),
    };
    let mut tx = store.write().await.unwrap();
    tx.insert_deletions(std::slice::from_ref(&deletion)).await.unwrap();
    tx.end_deletion(&deletion.address).await.unwrap();
    tx.commit().await.unwrap();
}

async fn known(store: &Store) -> Vec<i64> {
    let rows = store.catalog_rows(&[(PLACE, "r")], BackupType::Full, None, None).await.unwrap();
    rows.iter().map(|(_, row)| row.run.0).collect()
}

#[tokio::test]
async fn a_row_comes_back_as_it_went_in() {
    let dir = TempDir::new().unwrap();
    let store = open(dir.path()).await;
    let corrupt = CatalogRow {
        folder: "r/backup/2/data/n".to_owned(),
        state: CatalogState::Corrupt,
        reason: Some("why".to_owned()),
        backup: None,
        ..row(2)
    };
    let generation = begin(&store).await;
    end(&store, generation, &[row(1), corrupt.clone()], None, &[]).await;
    let rows = store.catalog_rows(&[(PLACE, "r"), (PLACE, "q")], BackupType::Full, None, None).await.unwrap();
    assert_eq!(rows, [("r".to_owned(), row(1)), ("r".to_owned(), corrupt)]);
    let bounded =
        store.catalog_rows(&[(PLACE, "r")], BackupType::Full, Some(UnixMillis(2)), Some(UnixMillis(2))).await;
    assert_eq!(bounded.unwrap().len(), 1);
    assert!(
        store.catalog_rows(&[(PLACE, "r")], BackupType::Incremental, None, None).await.unwrap().is_empty()
    );
    let settled = store.catalog_settled_runs(PLACE, "r").await.unwrap();
    assert_eq!(settled.into_iter().collect::<Vec<_>>(), [(BackupType::Full, UnixMillis(1))]);
}

#[tokio::test]
async fn of_two_readings_the_one_that_began_later_counts() {
    let dir = TempDir::new().unwrap();
    let store = open(dir.path()).await;
    let slow = begin(&store).await;
    // Meanwhile a run commits and is looked at.
    let quick = begin(&store).await;
    end(&store, quick, &[row(2)], Some(&[2]), &[]).await;
    end(&store, slow, &[row(1)], None, &[]).await;
    assert_eq!(known(&store).await, [1, 2]);
    let whole = begin(&store).await;
    end(&store, whole, &[row(2)], None, &[]).await;
    assert_eq!(known(&store).await, [2]);
    let again = begin(&store).await;
    end(&store, again, &[], None, &["r/backup/2"]).await;
    assert_eq!(known(&store).await, [2], "storage did not answer about it");
}

#[tokio::test]
async fn what_is_deleted_while_a_reading_is_under_way_does_not_come_back() {
    let dir = TempDir::new().unwrap();
    let store = open(dir.path()).await;
    let first = begin(&store).await;
    end(&store, first, &[row(1), row(2)], None, &[]).await;
    let under_way = begin(&store).await;
    delete(&store, 1).await;
    assert_eq!(known(&store).await, [2]);
    end(&store, under_way, &[row(1), row(2)], None, &[]).await;
    assert_eq!(known(&store).await, [2]);
    let later = begin(&store).await;
    end(&store, later, &[row(2)], None, &[]).await;
    assert_eq!(known(&store).await, [2]);
}

#[tokio::test]
async fn a_commit_and_a_verification_of_something_new_wait_to_be_looked_at() {
    let dir = TempDir::new().unwrap();
    let store = open(dir.path()).await;
    let [id] = insert(&store, &[backup("r", JobStatus::Queued)]).await[..] else { panic!() };
    let start = AttemptStart {
        namespace: "n".to_owned(),
        folder: row(1).folder,
        storage: "s".to_owned(),
        created: UnixMillis(1),
        from: None,
        promoted: None,
    };
    let mut tx = store.write().await.unwrap();
    let attempt = tx.start_attempt(id, 1, &start, NOW).await.unwrap();
    tx.end_attempt(&attempt, &AttemptEnd::plain(AttemptStatus::Committed, NOW)).await.unwrap();
    tx.commit().await.unwrap();
    let unread = store.catalog_unread().await.unwrap();
    let waits: Vec<_> =
        unread.iter().map(|one| (one.storage.as_str(), one.routine.as_str(), &one.folder)).collect();
    assert_eq!(waits, [("s", "r", &row(1).folder)]);
    let generation = begin(&store).await;
    end(&store, generation, &[row(1)], None, &[]).await;
    assert!(store.catalog_unread().await.unwrap().is_empty());

    for (ms, waits) in [(1, 0), (2, 1)] {
        let seen = VerificationRow {
            storage: "s".to_owned(),
            folder: row(ms).folder,
            routine: "r".to_owned(),
            backup_type: BackupType::Full,
            namespace: "n".to_owned(),
            created: UnixMillis(ms),
            at: NOW,
            job_id: id,
            outcome: VerifyOutcome::Verified,
            reason: None,
            records: 0,
            bytes: 0,
        };
        let mut tx = store.write().await.unwrap();
        tx.set_verification(&seen).await.unwrap();
        tx.commit().await.unwrap();
        assert_eq!(store.catalog_unread().await.unwrap().len(), waits, "{ms}");
    }
}

#[tokio::test]
async fn a_failed_reading_leaves_what_is_known_and_says_why_until_one_succeeds() {
    let dir = TempDir::new().unwrap();
    let store = open(dir.path()).await;
    let generation = begin(&store).await;
    end(&store, generation, &[row(1)], None, &[]).await;
    let failure = CatalogFailure { at: NOW, code: "storage-io".to_owned(), reason: "why".to_owned() };
    let mut tx = store.write().await.unwrap();
    tx.fail_catalog_reading(PLACE, "r", &failure).await.unwrap();
    tx.commit().await.unwrap();
    let listing = store.catalog_listings(&[(PLACE, "r")]).await.unwrap().remove(0);
    assert_eq!((listing.as_of, listing.failed), (Some(UnixMillis(generation)), Some(failure)));
    assert_eq!(known(&store).await, [1]);
    let generation = begin(&store).await;
    end(&store, generation, &[row(1)], None, &[]).await;
    assert_eq!(store.catalog_listings(&[(PLACE, "r")]).await.unwrap()[0].failed, None);

    let mut tx = store.write().await.unwrap();
    tx.keep_catalog(&[("elsewhere".to_owned(), "r".to_owned())]).await.unwrap();
    tx.commit().await.unwrap();
    assert!(
        known(&store).await.is_empty() && store.catalog_listings(&[(PLACE, "r")]).await.unwrap().is_empty()
    );
}

#[tokio::test]
async fn whatever_changes_a_list_changes_its_number() {
    let dir = TempDir::new().unwrap();
    let store = open(dir.path()).await;
    let mut numbers = Vec::new();
    let number = async || store.catalog_listings(&[(PLACE, "r")]).await.unwrap()[0].changed;
    let generation = begin(&store).await;
    numbers.push(number().await);
    end(&store, generation, &[row(1), row(2)], None, &[]).await;
    numbers.push(number().await);
    let verified = VerificationRow {
        storage: "disk".to_owned(),
        folder: row(1).folder,
        routine: "r".to_owned(),
        backup_type: BackupType::Full,
        namespace: "n".to_owned(),
        created: UnixMillis(1),
        at: NOW,
        job_id: JobId(1),
        outcome: VerifyOutcome::Verified,
        reason: None,
        records: 1,
        bytes: 1,
    };
    for step in 0..4 {
        let mut tx = store.write().await.unwrap();
        match step {
            0 | 2 => tx.set_verification(&verified).await.unwrap(),
            1 => tx.forget_verification("disk", "r", &verified.folder).await.unwrap(),
            _ => assert_eq!(tx.keep_verifications("disk", "r", &[]).await.unwrap(), 1),
        }
        tx.commit().await.unwrap();
        numbers.push(number().await);
    }
    delete(&store, 1).await;
    numbers.push(number().await);
    let (_, slower) = (begin(&store).await, begin(&store).await);
    end(&store, slower, &[row(2)], None, &[]).await;
    numbers.push(number().await);
    // Forgotten and known anew, with no row: not what was remembered of it before.
    let mut tx = store.write().await.unwrap();
    tx.keep_catalog(&[]).await.unwrap();
    tx.commit().await.unwrap();
    begin(&store).await;
    numbers.push(number().await);
    assert!(numbers.is_sorted_by(|a, b| a < b), "{numbers:?}");
    // What says nothing else leaves it.
    let failure = CatalogFailure { at: NOW, code: "storage-io".to_owned(), reason: "why".to_owned() };
    let mut tx = store.write().await.unwrap();
    tx.fail_catalog_reading(PLACE, "r", &failure).await.unwrap();
    assert_eq!(tx.keep_verifications("disk", "r", &[]).await.unwrap(), 0);
    tx.commit().await.unwrap();
    assert_eq!(Some(&number().await), numbers.last());
}
