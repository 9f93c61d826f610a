mod catalog;
mod keeping;

use std::path::Path;
use std::sync::Arc;

use serde_json::json;
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{Connection as _, SqliteConnection};
use tempfile::TempDir;

use super::open::{MIGRATIONS, db_path};
use super::{
    AttemptEnd, AttemptStart, AttemptStatus, Document, JobEnd, JobFilter, JobId, JobInsert, ProgressRow,
    SlotInsert, SlotState, Store, Trigger, WithoutSecrets,
};
use crate::clock::{ManualClock, SharedClock};
use crate::model::{BackupType, JobKind, JobStatus, SlotType, UnixMillis};

/// 2023-11-14T22:13:20Z.
const NOW: UnixMillis = UnixMillis(1_700_000_000_000);

fn clock() -> SharedClock {
    Arc::new(ManualClock::at(NOW))
}

async fn open(dir: &Path) -> Store {
    Store::open(dir, &clock()).await.unwrap()
}

fn backup(routine: &str, status: JobStatus) -> JobInsert {
    JobInsert {
        kind: JobKind::Backup,
        backup_type: Some(BackupType::Full),
        routine: Some(routine.to_owned()),
        trigger: Trigger::Api,
        status,
        reason: status.is_terminal().then(|| ("test", "For the test.".to_owned())),
        slot_id: None,
        cluster: None,
        storage: None,
        concurrent: false,
        namespaces: None,
        due: NOW,
        config: None,
        request: None,
        requested_by: None,
        created: None,
        retry_of: None,
        label: None,
        key: None,
    }
}

async fn insert(store: &Store, jobs: &[JobInsert]) -> Vec<JobId> {
    let mut tx = store.write().await.unwrap();
    let ids = tx.insert_jobs(jobs, NOW).await.unwrap();
    tx.commit().await.unwrap();
    ids
}

async fn pragma(store: &Store, sql: &'static str) -> String {
    let mut tx = store.0.writer.acquire().await.unwrap();
    sqlx::query_scalar::<_, String>(sql).fetch_one(&mut *tx).await.unwrap()
}

/// The kinds of jobs were widened in place: what was there stays, and a copy may come.
#[tokio::test]
async fn a_store_of_before_copies_keeps_its_rows_and_takes_copies() {
    let dir = TempDir::new().unwrap();
    let options = SqliteConnectOptions::new().filename(db_path(dir.path())).create_if_missing(true);
    let mut old = SqliteConnection::connect_with(&options).await.unwrap();
    MIGRATIONS.run_to(21, &mut old).await.unwrap();
    let insert_job = "INSERT INTO jobs (kind, trigger, status, concurrent, admitted_ms, due_ms) \
                      VALUES (?, 'api', 'queued', 0, 1, 1)";
    sqlx::query(insert_job).bind("verify").execute(&mut old).await.unwrap();
    let refused = sqlx::query(insert_job).bind("copy").execute(&mut old).await;
    assert!(refused.unwrap_err().to_string().contains("CHECK"));
    old.close().await.unwrap();

    let store = open(dir.path()).await;
    assert_eq!(pragma(&store, "PRAGMA integrity_check").await, "ok");
    let copy = JobInsert { kind: JobKind::Copy, backup_type: None, ..backup("daily", JobStatus::Queued) };
    let ids = insert(&store, &[copy]).await;
    let kind = async |id| store.job(id).await.unwrap().map(|job| job.kind);
    assert_eq!(kind(JobId(1)).await, Some(JobKind::Verify));
    assert_eq!(kind(ids[0]).await, Some(JobKind::Copy));
}

/// SQLite rolls back by itself when its disk is full; the writer must not be lost with that.
#[tokio::test]
async fn can_be_written_again_once_there_is_room() {
    let dir = TempDir::new().unwrap();
    let store = open(dir.path()).await;
    let mut tx = store.write().await.unwrap();
    // No page more than now: as a full disk, for this connection only.
    sqlx::query("PRAGMA max_page_count = 1").execute(&mut *tx.0).await.unwrap();
    let many = vec![backup("daily", JobStatus::Skipped); 500];
    let error = tx.insert_jobs(&many, NOW).await.unwrap_err();
    assert_eq!((error.code(), error.is_temporary()), ("store-full", true));
    drop(tx);
    assert_eq!(insert(&store, &[backup("daily", JobStatus::Queued)]).await.len(), 1);
    store.close().await.unwrap();
}

#[tokio::test]
async fn opens_durable_and_for_the_owner_only() {
    use std::os::unix::fs::PermissionsExt;
    let dir = TempDir::new().unwrap();
    let state = dir.path().join("a/state");
    let store = open(&state).await;
    assert_eq!(std::fs::metadata(&state).unwrap().permissions().mode() & 0o777, 0o700);
    assert_eq!(pragma(&store, "SELECT journal_mode FROM pragma_journal_mode").await, "wal");
    // 2 = FULL (rules.md 2.7).
    let settings = "SELECT synchronous || ' ' || foreign_keys || ' ' || timeout \
                    FROM pragma_synchronous, pragma_foreign_keys, pragma_busy_timeout";
    assert_eq!(pragma(&store, settings).await, "2 1 5000");
    assert_eq!(store.created().await.unwrap(), NOW);
}

#[tokio::test]
async fn a_second_process_is_refused_until_the_first_has_closed() {
    let dir = TempDir::new().unwrap();
    let store = open(dir.path()).await;
    let refused = Store::open(dir.path(), &clock()).await.unwrap_err();
    assert_eq!(refused.code(), "store-locked");
    assert!(refused.to_string().contains(&dir.path().display().to_string()), "{refused}");
    store.close().await.unwrap();
    open(dir.path()).await;
}

#[tokio::test]
async fn job_ids_start_at_the_creation_time_and_go_on_after_a_restart() {
    let dir = TempDir::new().unwrap();
    let store = open(dir.path()).await;
    let ids = insert(&store, &[backup("r", JobStatus::Skipped), backup("r", JobStatus::Queued)]).await;
    assert_eq!(ids, [JobId(NOW.secs() + 1), JobId(NOW.secs() + 2)]);
    let mut tx = store.write().await.unwrap();
    sqlx::query("DELETE FROM jobs").execute(&mut *tx.0).await.unwrap();
    tx.commit().await.unwrap();
    store.close().await.unwrap();
    let store = open(dir.path()).await;
    assert_eq!(insert(&store, &[backup("r", JobStatus::Queued)]).await, [JobId(NOW.secs() + 3)]);
}

#[tokio::test]
async fn a_newer_store_is_refused() {
    let dir = TempDir::new().unwrap();
    let store = open(dir.path()).await;
    let mut tx = store.write().await.unwrap();
    sqlx::query(
        "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time) \
         VALUES (9999, 'of a later release', 1, x'00', 0)",
    )
    .execute(&mut *tx.0)
    .await
    .unwrap();
    tx.commit().await.unwrap();
    store.close().await.unwrap();
    let refused = Store::open(dir.path(), &clock()).await.unwrap_err();
    assert_eq!(refused.code(), "store-newer");
    assert!(refused.to_string().contains("9999"), "{refused}");
}

#[tokio::test]
async fn a_damaged_store_is_refused_and_left_as_it_is() {
    let dir = TempDir::new().unwrap();
    let store = open(dir.path()).await;
    insert(&store, &vec![backup("r", JobStatus::Skipped); 500]).await;
    store.close().await.unwrap();
    let path = dir.path().join("holdfast.db");
    let whole = std::fs::read(&path).unwrap();
    // A page of rows, which nothing but a check reads at the start; the schema; everything.
    let damage = |from: usize| {
        let mut damaged = whole.clone();
        damaged[from..from + 4096].fill(0x5a);
        damaged
    };
    for bytes in [damage(whole.len() - 4096), damage(4096), vec![0x5a; 4096]] {
        std::fs::write(&path, &bytes).unwrap();
        let refused = Store::open(dir.path(), &clock()).await.unwrap_err();
        assert_eq!(refused.code(), "store-corrupt");
        assert!(refused.report().contains("holdfast store rebuild"), "{}", refused.report());
        assert!(std::fs::read(&path).unwrap() == bytes, "a damaged file is evidence");
    }
    std::fs::write(&path, whole).unwrap();
    open(dir.path()).await;
}

#[tokio::test]
async fn a_transaction_that_is_not_committed_leaves_nothing() {
    let dir = TempDir::new().unwrap();
    let store = open(dir.path()).await;
    let mut tx = store.write().await.unwrap();
    tx.insert_jobs(&[backup("r", JobStatus::Queued)], NOW).await.unwrap();
    drop(tx);
    assert!(store.jobs(&JobFilter::default(), 10).await.unwrap().jobs.is_empty());
    insert(&store, &[backup("r", JobStatus::Queued)]).await;
}

#[tokio::test]
async fn what_the_program_does_not_know_is_refused_by_the_schema() {
    let dir = TempDir::new().unwrap();
    let store = open(dir.path()).await;
    let [id] = insert(&store, &[backup("r", JobStatus::Queued)]).await[..] else { panic!() };
    for set in [
        "status = 'done'",
        "kind = 'copy'",
        "trigger = 'cron'",
        "type = 'differential'",
        "type = NULL",
        "routine = NULL",
        "status = 'running'",
        "status = 'failed', finished_ms = 1",
        "status = 'skipped', finished_ms = 1",
        "status = 'succeeded'",
        "finished_ms = 1",
        "slot_id = 7",
    ] {
        let mut tx = store.write().await.unwrap();
        let sql = sqlx::AssertSqlSafe(format!("UPDATE jobs SET {set} WHERE id = {id}"));
        let refused: crate::error::Error = sqlx::query(sql).execute(&mut *tx.0).await.unwrap_err().into();
        assert_eq!(refused.code(), "store-conflict", "{set}");
    }
}

#[tokio::test]
async fn a_job_row_comes_back_as_it_was_written() {
    #[derive(serde::Serialize, serde::Deserialize, PartialEq, Debug)]
    struct Config {
        secret: String,
    }
    impl WithoutSecrets for Config {}
    let config = Config { secret: "secrets:vault:key".to_owned() };

    let dir = TempDir::new().unwrap();
    let store = open(dir.path()).await;
    let mut job = backup("r", JobStatus::Queued);
    job.cluster = Some("c".to_owned());
    job.storage = Some("s".to_owned());
    job.concurrent = true;
    job.namespaces = Some(vec!["a\"b".to_owned(), "ü".to_owned()]);
    job.config = Some(Document::of(&config).unwrap());
    job.requested_by = Some("somebody".to_owned());
    let [id] = insert(&store, &[job]).await[..] else { panic!() };
    let row = store.job(id).await.unwrap().unwrap();
    assert_eq!(row.config.as_ref().unwrap().parse::<Config>().unwrap(), config);
    assert_eq!(row.namespaces, Some(vec!["a\"b".to_owned(), "ü".to_owned()]));
    assert_eq!((row.queued, row.generation, row.concurrent), (Some(NOW), 0, true));

    let mut tx = store.write().await.unwrap();
    let row = tx.start_job(id, "me", NOW.plus_ms(5), NOW).await.unwrap();
    assert_eq!((row.status, row.generation, row.owner.as_deref()), (JobStatus::Running, 1, Some("me")));
    let warning = super::Warning { code: "overlap".to_owned(), text: "Two ran.".to_owned() };
    let end = JobEnd {
        error: Some(("code".to_owned(), "text".to_owned())),
        warnings: vec![warning.clone()],
        result: Some(json!({"a": 1})),
        counters: Some(json!({"b": [2]})),
        ..JobEnd::plain(JobStatus::Failed)
    };
    tx.end_job(&row, &end, NOW.plus_ms(7)).await.unwrap();
    tx.commit().await.unwrap();
    let row = store.job(id).await.unwrap().unwrap();
    assert_eq!((row.error_code.as_deref(), row.error.as_deref()), (Some("code"), Some("text")));
    assert_eq!((row.result, row.counters), (end.result, end.counters));
    assert_eq!((row.warnings, row.finished), (vec![warning], Some(NOW.plus_ms(7))));
}

#[tokio::test]
async fn a_stale_generation_matches_no_row() {
    let dir = TempDir::new().unwrap();
    let store = open(dir.path()).await;
    let [id] = insert(&store, &[backup("r", JobStatus::Queued)]).await[..] else { panic!() };
    let mut tx = store.write().await.unwrap();
    let row = tx.start_job(id, "me", NOW, NOW).await.unwrap();
    tx.hold(id, row.generation).await.unwrap();
    assert_eq!(tx.start_job(id, "you", NOW, NOW).await.unwrap_err().code(), "stale-generation");
    let done = |done| ProgressRow { job_id: id, done, total: 9, bytes: 8, in_pipeline: 1, updated: NOW };
    tx.set_progress(row.generation, &done(5)).await.unwrap();
    tx.set_progress(row.generation, &done(3)).await.unwrap();
    tx.set_progress(row.generation - 1, &done(7)).await.unwrap();
    let taken_over = super::JobRow { generation: row.generation - 1, ..row.clone() };
    let late = tx.end_job(&taken_over, &JobEnd::plain(JobStatus::Failed), NOW).await;
    assert_eq!(late.unwrap_err().code(), "stale-generation");
    tx.end_job(&row, &JobEnd::plain(JobStatus::Succeeded), NOW).await.unwrap();
    tx.set_progress(row.generation, &done(8)).await.unwrap();
    for late in [tx.hold(id, row.generation).await, tx.hold(id, row.generation + 1).await] {
        assert_eq!(late.unwrap_err().code(), "stale-generation");
    }
    let again = tx.end_job(&row, &JobEnd::plain(JobStatus::Canceled), NOW).await;
    assert_eq!(again.unwrap_err().code(), "stale-generation");
    tx.commit().await.unwrap();
    assert_eq!(store.progress(id).await.unwrap(), Some(done(5)), "never backwards, never by a stranger");
    assert_eq!(store.job(id).await.unwrap().unwrap().status, JobStatus::Succeeded);
}

#[tokio::test]
async fn lists_newest_first_by_page_and_filter() {
    let dir = TempDir::new().unwrap();
    let store = open(dir.path()).await;
    let restore = JobInsert { kind: JobKind::Restore, backup_type: None, ..backup("r", JobStatus::Skipped) };
    let ids = insert(
        &store,
        &[
            backup("r", JobStatus::Skipped),
            backup("q", JobStatus::Queued),
            backup("r", JobStatus::Missed),
            restore,
            backup("r", JobStatus::Skipped),
        ],
    )
    .await;
    let all = JobFilter::default();
    let first = store.jobs(&all, 3).await.unwrap();
    assert_eq!(first.jobs.iter().map(|job| job.id).collect::<Vec<_>>(), [ids[4], ids[3], ids[2]]);
    let rest = store.jobs(&JobFilter { before: first.next, ..all.clone() }, 3).await.unwrap();
    assert_eq!(rest.jobs.iter().map(|job| job.id).collect::<Vec<_>>(), [ids[1], ids[0]]);
    assert_eq!(rest.next, None);

    let of = async |filter: JobFilter| -> Vec<usize> {
        let page = store.jobs(&filter, 10).await.unwrap();
        page.jobs.iter().map(|job| ids.iter().position(|id| *id == job.id).unwrap()).collect()
    };
    let skipped = vec![JobStatus::Skipped, JobStatus::Missed];
    assert_eq!(of(JobFilter { kind: Some(JobKind::Restore), ..all.clone() }).await, [3]);
    assert_eq!(of(JobFilter { routine: Some("q".to_owned()), ..all.clone() }).await, [1]);
    assert_eq!(of(JobFilter { status: skipped.clone(), ..all.clone() }).await, [4, 3, 2, 0]);
    assert_eq!(of(JobFilter { status: skipped, exclude: true, ..all.clone() }).await, [1]);
    assert_eq!(of(JobFilter { from: Some(NOW.plus_ms(1)), ..all.clone() }).await, [0_usize; 0]);
    assert_eq!(of(JobFilter { from: Some(NOW), to: Some(NOW.plus_ms(1)), ..all.clone() }).await.len(), 5);
    assert_eq!(of(JobFilter { to: Some(NOW), ..all }).await, [0_usize; 0]);

    let last = store.last_job("r", BackupType::Full, JobStatus::Skipped).await.unwrap().unwrap();
    assert_eq!(last.id, ids[4]);
    let last: Vec<_> = store.last_jobs(JobStatus::Skipped).await.unwrap().iter().map(|job| job.id).collect();
    assert_eq!(last, [ids[4]]);
    assert_eq!(store.open_jobs("q").await.unwrap()[0].id, ids[1]);
    let counts = store.open_counts().await.unwrap();
    assert_eq!(counts.into_iter().collect::<Vec<_>>(), [(("backup", "queued"), 1)]);
}

#[tokio::test]
async fn one_attempt_of_a_namespace_commits() {
    let dir = TempDir::new().unwrap();
    let store = open(dir.path()).await;
    let [id] = insert(&store, &[backup("r", JobStatus::Queued)]).await[..] else { panic!() };
    let start = |folder: &str| AttemptStart {
        namespace: "n".to_owned(),
        folder: folder.to_owned(),
        storage: "s".to_owned(),
        created: NOW,
        from: Some(UnixMillis(5)),
        promoted: Some("no full".to_owned()),
    };
    let mut tx = store.write().await.unwrap();
    tx.set_created(id, NOW).await.unwrap();
    assert_eq!(tx.next_attempt("r", NOW, "n").await.unwrap(), 1);
    let first = tx.start_attempt(id, 1, &start("n"), NOW).await.unwrap();
    assert_eq!(tx.next_attempt("r", NOW, "n").await.unwrap(), 2);
    assert_eq!(tx.next_attempt("r", NOW, "m").await.unwrap(), 1);
    let second = tx.start_attempt(id, 2, &start("n.2"), NOW).await.unwrap();
    let end = AttemptEnd {
        records: 3,
        safe_from: Some(UnixMillis(4)),
        manifest_hash: Some("ab".to_owned()),
        error: Some(("c".to_owned(), "t".to_owned())),
        ..AttemptEnd::plain(AttemptStatus::Committed, NOW.plus_ms(9))
    };
    tx.end_attempt(&second, &end).await.unwrap();
    assert_eq!(tx.end_attempt(&second, &end).await.unwrap_err().code(), "attempt-ended");
    assert_eq!(tx.end_attempt(&first, &end).await.unwrap_err().code(), "store-conflict");
    tx.commit().await.unwrap();
    let rows = store.attempts(id).await.unwrap();
    assert_eq!((rows[0].status, rows[0].end.as_ref()), (AttemptStatus::Running, None));
    assert_eq!((rows[1].end.as_ref(), &rows[1].start), (Some(&end), &start("n.2")));
    assert!(store.had_manifest("n.2").await.unwrap(), "here and in every copy");
    assert!(!store.had_manifest("n").await.unwrap());
}

#[tokio::test]
async fn a_slot_key_is_taken_once_until_it_is_void() {
    let dir = TempDir::new().unwrap();
    let store = open(dir.path()).await;
    let slot = |at| SlotInsert {
        routine: "r".to_owned(),
        slot_type: SlotType::Full,
        state: SlotState::Fired,
        count: 1,
        first_s: at,
        last_s: at,
    };
    let mut tx = store.write().await.unwrap();
    let ids = tx.insert_slots(&[slot(10), slot(10), slot(20)]).await.unwrap();
    assert_eq!(ids.iter().map(Option::is_some).collect::<Vec<_>>(), [true, false, true]);
    assert_eq!(tx.insert_slots(&[slot(20)]).await.unwrap(), [None]);
    assert_eq!(tx.void_slots_after(10).await.unwrap(), 1);
    assert!(tx.insert_slots(&[slot(20)]).await.unwrap()[0].is_some());
    tx.commit().await.unwrap();
    let states: Vec<_> = store
        .slots("r", SlotType::Full, 9)
        .await
        .unwrap()
        .iter()
        .map(|row| (row.fire_s, row.state))
        .collect();
    assert_eq!(states, [(20, SlotState::Fired), (20, SlotState::Void), (10, SlotState::Fired)]);
}
