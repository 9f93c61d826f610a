//! What jobs leave that did not end well, and who goes on with it (rules.md 6.1 to 6.3).

use super::super::leftovers;
use super::*;
use crate::store::CopyingRow;

/// Another attempt that follows by itself keeps what was brought; one that somebody has to ask for begins anew.
#[tokio::test]
async fn an_attempt_that_is_to_follow_goes_on_with_finished_files() {
    for tries in [Some(0), None] {
        let bench = Bench::new().await;
        let backup = full(1).files(3);
        backup.write(&bench.source).await;
        let request = CopyRequest { wanted: Wanted::Folders(vec![backup.folder()]), tries };
        bench.target.fail(Fault { key_contains: "manifest.json", ..Fault::nth(Op::Put, 1) });
        let job = bench.run_request(&request).await;
        assert_eq!((job.status, job.error_code.as_deref()), (JobStatus::Failed, Some("storage-io")));
        assert_eq!(job.result.unwrap()["will-retry"], tries.is_some());
        let left = bench.target.list(&backup.folder()).await.unwrap();
        assert_eq!(left.is_empty(), tries.is_none(), "{left:?}");
        assert_eq!(bench.store().copying().await.unwrap().len(), usize::from(tries.is_some()));
        assert!(bench.copied().await.is_empty());

        let job = bench.run_request(&request.next_try().unwrap_or(request)).await;
        let files = if tries.is_some() { 0 } else { 3 };
        assert_eq!(succeeded(&job)["copied-files"], files, "finished files are kept");
        assert_eq!(bench.copied().await, keys_of(&[&backup]));
        assert!(bench.store().copying().await.unwrap().is_empty());
    }
}

/// A file that has its size and not its bytes is copied again.
#[tokio::test]
async fn what_an_earlier_attempt_brought_is_read_before_it_is_kept() {
    let bench = Bench::new().await;
    let backup = full(1);
    backup.write(&bench.source).await;
    let request = CopyRequest { wanted: Wanted::Folders(vec![backup.folder()]), tries: Some(0) };
    bench.target.fail(Fault { key_contains: "manifest.json", ..Fault::nth(Op::Put, 1) });
    bench.run_request(&request).await;
    let (name, bytes) = &backup.files[1];
    let wrong = vec![99_u8; bytes.len()];
    bench.target.put(&join(&backup.folder(), name), wrong.into()).await.unwrap();
    let job = bench.run_request(&request).await;
    assert_eq!(succeeded(&job)["copied-files"], 1);
    assert_eq!(bench.copied().await, keys_of(&[&backup]));
}

/// rules.md 6.2
#[tokio::test]
async fn what_nobody_has_noted_is_not_removed() {
    let bench = Bench::new().await;
    let backup = full(1);
    backup.write(&bench.source).await;
    let file = join(&backup.folder(), "of_somebody.asb");
    bench.target.put(&file, "theirs".into()).await.unwrap();
    let job = bench.copy_run(&backup, false).await;
    assert_eq!(job.error_code.as_deref(), Some("copy-folder-taken"));
    assert!(bench.target.head(&file).await.unwrap().is_some());
}

async fn noted(bench: &Bench, backup: &Backup, job: JobId) -> CopyingRow {
    let row = CopyingRow {
        address: address(&bench.target.describe(), &backup.folder()),
        job_id: job,
        routine: "r".to_owned(),
        storage: "other".to_owned(),
        folder: backup.folder(),
        started: UnixMillis(T),
    };
    let mut tx = bench.store().write().await.unwrap();
    tx.begin_copying(&row).await.unwrap();
    tx.commit().await.unwrap();
    row
}

/// rules.md 6.1: what had committed stays, what had not goes, doubt leaves both; and nothing goes that a job is to go on with.
#[tokio::test]
async fn storage_is_asked_about_what_a_process_left() {
    let bench = Bench::new().await;
    let (done, half) = (full(1), full(2));
    done.write(&bench.target).await;
    half.write_files(&bench.target).await.finish().await.unwrap();
    bench.target.put(&half.run.configuration_file(0), "x".into()).await.unwrap();
    let request = CopyRequest { wanted: Wanted::Folders(vec![half.folder()]), tries: Some(0) };
    let job = bench.admit(&request).await;
    let rows = [noted(&bench, &done, job).await, noted(&bench, &half, job).await];
    assert!(leftovers::left(bench.store(), None).await.unwrap().is_empty(), "a job is to come");
    assert_eq!(leftovers::left(bench.store(), Some(job)).await.unwrap().len(), 2);
    bench.jobs.cancel(job).await.unwrap();
    assert_eq!(leftovers::left(bench.store(), None).await.unwrap().len(), 2);

    let ours = instance("ours");
    bench.target.fail(Fault { key_contains: "metadata", ..Fault::nth(Op::Get, 1) });
    assert!(leftovers::settle(bench.store(), &bench.target, &ours, &rows[1]).await.is_err());
    assert_eq!(bench.store().copying().await.unwrap().len(), 2);
    for row in &rows {
        leftovers::settle(bench.store(), &bench.target, &ours, row).await.unwrap();
    }
    assert!(bench.store().copying().await.unwrap().is_empty());
    assert!(bench.target.list(&half.run.key()).await.unwrap().is_empty(), "with its configuration");
    assert!(!bench.target.list(&done.folder()).await.unwrap().is_empty());
}

#[test]
fn attempts_by_itself_come_to_an_end_and_wait_longer_each_time() {
    let mut request = CopyRequest { wanted: Wanted::Everything, tries: Some(0) };
    let mut pauses = Vec::new();
    while let Some(next) = request.next_try() {
        pauses.push(next.pause_ms() / 60_000);
        request = next;
    }
    assert_eq!(pauses[..8], [1, 2, 4, 8, 16, 32, 60, 60]);
    assert_eq!(pauses.len(), 30);
    assert!(CopyRequest { wanted: Wanted::Everything, tries: None }.next_try().is_none());
}
