//! What is forgotten, what is damaged, and what replaces it (rules.md 2.7).

use std::path::Path;

use tempfile::TempDir;

use super::{NOW, backup, clock, insert, open};
use crate::model::ledger::NewMark;
use crate::model::{JobStatus, SlotType, UnixMillis};
use crate::store::check::inspect;
use crate::store::rebuild::rebuild;
use crate::store::{
    AttemptEnd, AttemptStart, AttemptStatus, HistoryLimits, JobEnd, JobFilter, JobId, Pruned, ScheduleRow,
    SlotInsert, SlotState, Store,
};

const DAY_MS: i64 = 86_400_000;

/// A job of `routine` that ended as `status` at `at`.
async fn ended(store: &Store, routine: &str, status: JobStatus, at: UnixMillis) -> JobId {
    let [id] = insert(store, &[backup(routine, JobStatus::Queued)]).await[..] else { panic!() };
    let mut tx = store.write().await.unwrap();
    let row = tx.start_job(id, "test", at, at).await.unwrap();
    let failed = Some(("test".to_owned(), "For the test.".to_owned()));
    let end = match status {
        JobStatus::Failed => JobEnd { error: failed, ..JobEnd::plain(status) },
        JobStatus::Interrupted => JobEnd::because(status, "crashed", "For the test."),
        _ => JobEnd::plain(status),
    };
    tx.end_job(&row, &end, at).await.unwrap();
    tx.commit().await.unwrap();
    id
}

/// Prunes to the end; how many batches that took, and what went.
async fn prune(store: &Store, days: i64, rows_max: u32) -> Pruned {
    let limits = HistoryLimits { ended_before: NOW.plus_ms(-days * DAY_MS), rows_max };
    let mut all = Pruned::default();
    loop {
        let pruned = store.prune(limits, NOW).await.unwrap();
        if pruned == Pruned::default() {
            return all;
        }
        assert!(pruned.jobs <= 500, "in batches");
        all.jobs += pruned.jobs;
        all.slots += pruned.slots;
    }
}

async fn ids(store: &Store) -> Vec<JobId> {
    let mut ids: Vec<JobId> =
        store.jobs(&JobFilter::default(), 100_000).await.unwrap().jobs.iter().map(|job| job.id).collect();
    ids.reverse();
    ids
}

#[tokio::test]
async fn old_jobs_go_but_for_the_last_of_each_kind_of_end() {
    let dir = TempDir::new().unwrap();
    let store = open(dir.path()).await;
    let old = NOW.plus_ms(-100 * DAY_MS);
    ended(&store, "r", JobStatus::Succeeded, old).await;
    let success = ended(&store, "r", JobStatus::Succeeded, old).await;
    ended(&store, "r", JobStatus::Failed, old).await;
    let failure = ended(&store, "r", JobStatus::Failed, old).await;
    ended(&store, "r", JobStatus::Canceled, old).await;
    let other = ended(&store, "q", JobStatus::Succeeded, old).await;
    let open_job = insert(&store, &[backup("r", JobStatus::Queued)]).await[0];
    let young = ended(&store, "r", JobStatus::Canceled, NOW.plus_ms(-DAY_MS)).await;
    assert_eq!(prune(&store, 90, 1000).await.jobs, 3);
    assert_eq!(ids(&store).await, [success, failure, other, open_job, young]);
    assert_eq!(prune(&store, 90, 1000).await, Pruned::default(), "a second look finds nothing");
}

#[tokio::test]
async fn the_number_of_ended_jobs_is_bounded_and_the_oldest_go_first() {
    let dir = TempDir::new().unwrap();
    let store = open(dir.path()).await;
    insert(&store, &vec![backup("r", JobStatus::Skipped); 1700]).await;
    let newest = insert(&store, &vec![backup("r", JobStatus::Skipped); 300]).await;
    assert_eq!(prune(&store, 90, 300).await.jobs, 1700, "also of many that ended in one millisecond");
    assert_eq!(ids(&store).await, newest);
}

/// Its row is what the question to storage hangs on (rules.md 6.1).
#[tokio::test]
async fn a_job_with_an_unsettled_try_stays() {
    let dir = TempDir::new().unwrap();
    let store = open(dir.path()).await;
    let old = NOW.plus_ms(-100 * DAY_MS);
    let id = ended(&store, "r", JobStatus::Canceled, old).await;
    let start = AttemptStart {
        namespace: "n".to_owned(),
        folder: "f".to_owned(),
        storage: "s".to_owned(),
        created: old,
        from: None,
        promoted: None,
    };
    let mut tx = store.write().await.unwrap();
    let attempt = tx.start_attempt(id, 1, &start, old).await.unwrap();
    tx.commit().await.unwrap();
    for status in [AttemptStatus::Unknown, AttemptStatus::Absent] {
        let mut tx = store.write().await.unwrap();
        tx.end_attempt(&attempt, &AttemptEnd::plain(status, old)).await.unwrap();
        tx.commit().await.unwrap();
        let stays = status == AttemptStatus::Unknown;
        assert_eq!(prune(&store, 90, 1000).await.jobs, u64::from(!stays));
        assert_eq!(ids(&store).await.is_empty(), !stays);
    }
}

/// rules.md 3.1: no later run may get an earlier `created`.
#[tokio::test]
async fn the_latest_start_of_a_routine_stays() {
    let dir = TempDir::new().unwrap();
    let store = open(dir.path()).await;
    let old = NOW.plus_ms(-100 * DAY_MS);
    let mut last = None;
    for ms in [0, 1] {
        let id = ended(&store, "r", JobStatus::Canceled, old).await;
        let mut tx = store.write().await.unwrap();
        tx.set_created(id, old.plus_ms(ms)).await.unwrap();
        tx.commit().await.unwrap();
        last = Some(id);
    }
    assert_eq!(prune(&store, 90, 1000).await.jobs, 1);
    assert_eq!(ids(&store).await, [last.unwrap()]);
}

#[tokio::test]
async fn slots_go_with_their_jobs_but_never_above_the_mark_or_on_their_day() {
    let dir = TempDir::new().unwrap();
    let store = open(dir.path()).await;
    let old = NOW.plus_ms(-100 * DAY_MS);
    let mark = old.plus_ms(2000);
    let mut tx = store.write().await.unwrap();
    let row = ScheduleRow {
        routine: "r".to_owned(),
        slot_type: SlotType::Full,
        cron: "@daily".to_owned(),
        zone: "UTC".to_owned(),
        effective_from: old,
        mark: None,
    };
    tx.set_schedule(&row).await.unwrap();
    let mark = NewMark {
        routine: "r".to_owned(),
        slot_type: SlotType::Full,
        mark: Some(mark),
        effective_from: None,
    };
    tx.move_marks(&[mark]).await.unwrap();
    let slot = |routine: &str, at: UnixMillis| SlotInsert {
        routine: routine.to_owned(),
        slot_type: SlotType::Full,
        state: SlotState::Fired,
        count: 1,
        first_s: at.secs(),
        last_s: at.secs(),
    };
    let slots = [
        slot("r", old),
        slot("r", old.plus_ms(2000)),
        slot("r", old.plus_ms(3000)),
        slot("gone", old),
        slot("gone", NOW.plus_ms(-DAY_MS / 2)),
    ];
    let slots: Vec<_> = tx.insert_slots(&slots).await.unwrap().into_iter().flatten().collect();
    tx.commit().await.unwrap();
    let with_slot = |slot| {
        let mut job = backup("r", JobStatus::Skipped);
        job.slot_id = Some(slot);
        job
    };
    let jobs: Vec<_> = slots.iter().copied().map(with_slot).collect();
    insert(&store, &jobs).await;
    assert_eq!(prune(&store, 90, 1000).await, Pruned::default(), "their jobs ended just now");
    let pruned = prune(&store, 90, 1).await;
    assert_eq!((pruned.jobs, pruned.slots), (4, 3), "the last job, and its slot, stay");
    let mut left = Vec::new();
    for slot in &slots {
        left.push(store.slot(*slot).await.unwrap().is_some());
    }
    assert_eq!(left, [false, false, true, false, true]);
}

/// Whatever is overwritten or cut: the start is refused with the command that mends it, `check` says so too, and a
/// rebuilt store takes the place of the damaged one, which is kept.
#[tokio::test]
async fn a_damaged_store_is_refused_and_set_aside() {
    type Damage = fn(&Path);
    let cases: [(&str, Damage); 6] = [
        ("the header", |db| overwrite(db, 0, 100)),
        ("a page in the middle", |db| overwrite(db, size(db) / 2 / 4096 * 4096, 4096)),
        ("the schema", |db| overwrite(db, 100, 3000)),
        ("the last half", |db| cut(db, size(db) / 2)),
        ("all but a page", |db| cut(db, 4096)),
        ("the log", |db| {
            std::fs::write(db.with_file_name("holdfast.db-wal"), vec![0x5a; 100_000]).unwrap();
        }),
    ];
    for (what, damage) in cases {
        let dir = TempDir::new().unwrap();
        let store = open(dir.path()).await;
        let last = *insert(&store, &vec![backup("r", JobStatus::Skipped); 2000]).await.last().unwrap();
        store.know_root("/disk", crate::store::KnownRoot::Marked).await.unwrap();
        store.close().await.unwrap();
        let path = dir.path().join("holdfast.db");
        assert!(inspect(dir.path()).await.unwrap().damage.is_empty());
        assert_eq!(rebuild(dir.path(), &clock(), false).await.unwrap_err().code(), "store-intact");
        damage(&path);
        let damaged = std::fs::read(&path).unwrap();

        let refused = Store::open(dir.path(), &clock()).await.unwrap_err();
        assert_eq!(refused.code(), "store-corrupt", "{what}: {}", refused.report());
        assert!(refused.report().contains("`holdfast store rebuild --config FILE`"), "{}", refused.report());
        let report = inspect(dir.path()).await.unwrap();
        assert!(!report.damage.is_empty(), "{what}");

        let (store, rebuilt) = rebuild(dir.path(), &clock(), false).await.unwrap();
        assert!(!rebuilt.damage.is_empty(), "{what}");
        let kept = rebuilt.set_aside.iter().find(|path| path.extension().unwrap() == "db").unwrap();
        assert!(std::fs::read(kept).unwrap() == damaged, "{what}: it is evidence");
        let next = insert(&store, &[backup("r", JobStatus::Queued)]).await[0];
        // Although the clock stood still, and whether or not the file still told the last one.
        assert!(next > last, "{what}: {next} after {last}");
        let told = rebuilt.taken_along > 0;
        assert_eq!(store.known_root("/disk").await.unwrap().is_some(), told, "{what}");
        store.close().await.unwrap();
        assert!(inspect(dir.path()).await.unwrap().damage.is_empty(), "{what}");
        open(dir.path()).await;
    }
}

#[tokio::test]
async fn check_counts_what_is_there_also_beside_a_service() {
    let dir = TempDir::new().unwrap();
    let store = open(dir.path()).await;
    insert(&store, &[backup("r", JobStatus::Skipped), backup("r", JobStatus::Queued)]).await;
    let report = inspect(dir.path()).await.unwrap();
    assert!(report.in_use && report.damage.is_empty(), "{report:?}");
    let counted: Vec<(&str, u64)> = report.jobs.iter().map(|(status, n)| (status.as_str(), *n)).collect();
    assert_eq!(counted, [("queued", 1), ("skipped", 1)]);
    assert_eq!((report.created, report.unsettled), (Some(NOW), 0));
    assert_eq!(rebuild(dir.path(), &clock(), true).await.unwrap_err().code(), "store-locked");
    let empty = TempDir::new().unwrap();
    assert_eq!(inspect(empty.path()).await.unwrap_err().code(), "store-missing");
    assert_eq!(std::fs::read_dir(empty.path()).unwrap().count(), 0, "nothing is made");
}

fn size(path: &Path) -> usize {
    usize::try_from(path.metadata().unwrap().len()).unwrap()
}

fn overwrite(path: &Path, from: usize, len: usize) {
    let mut bytes = std::fs::read(path).unwrap();
    bytes[from..from + len].fill(0x5a);
    std::fs::write(path, bytes).unwrap();
}

fn cut(path: &Path, len: usize) {
    let file = std::fs::OpenOptions::new().write(true).open(path).unwrap();
    file.set_len(len as u64).unwrap();
}
