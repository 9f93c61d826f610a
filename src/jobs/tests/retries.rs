//! Ended jobs that somebody tries again (rules.md 2.5).

use super::{Bench, NOW, full, restore, routine};
use crate::error::Result;
use crate::jobs::{Admitted, NewJob, RetryAs};
use crate::model::{JobKind, JobStatus};
use crate::store::{AttemptEnd, AttemptStart, AttemptStatus, JobEnd, JobId, Trigger};

use JobStatus::{Failed, Queued, Skipped, Succeeded};

fn as_now(same_run: bool) -> RetryAs {
    RetryAs { routine: Some(routine_of(&["a", "b"])), same_run, ..RetryAs::default() }
}

fn routine_of(namespaces: &[&str]) -> crate::jobs::RoutineJob {
    let namespaces = namespaces.iter().map(|name| (*name).to_owned()).collect();
    crate::jobs::RoutineJob { namespaces: Some(namespaces), ..routine("r") }
}

/// A full of `a` and `b` that has ended, its two tries as given.
async fn ended(bench: &Bench, tries: [AttemptStatus; 2], status: JobStatus) -> JobId {
    let mut job = full("r");
    job.namespaces = Some(vec!["a".to_owned(), "b".to_owned()]);
    let (id, _, _) = bench.admit(job).await;
    let row = bench.start(id).await;
    let mut tx = bench.jobs.store().write().await.unwrap();
    tx.set_created(id, NOW).await.unwrap();
    for (namespace, status) in ["a", "b"].into_iter().zip(tries) {
        let start = AttemptStart {
            namespace: namespace.to_owned(),
            folder: namespace.to_owned(),
            storage: "s".to_owned(),
            created: NOW,
            from: None,
            promoted: None,
        };
        let attempt = tx.start_attempt(id, 1, &start, NOW).await.unwrap();
        tx.end_attempt(&attempt, &AttemptEnd::plain(status, NOW)).await.unwrap();
    }
    tx.commit().await.unwrap();
    let error = (status == Failed).then(|| ("partial".to_owned(), "One failed.".to_owned()));
    bench.jobs.end(&row, &JobEnd { error, ..JobEnd::plain(status) }).await.unwrap();
    id
}

fn code(refused: Result<Admitted>) -> &'static str {
    refused.unwrap_err().code()
}

#[tokio::test]
async fn a_backup_goes_on_with_what_has_not_committed() {
    for same_run in [true, false] {
        let bench = Bench::new().await;
        let id = ended(&bench, [AttemptStatus::Committed, AttemptStatus::Failed], Failed).await;
        let again = bench.jobs.retry(id, as_now(same_run)).await.unwrap();
        let row = bench.row(again.id).await;
        assert_eq!((row.status, row.trigger, row.retry_of), (Queued, Trigger::Retry, Some(id)));
        assert_eq!(row.namespaces.as_deref(), Some(&["b".to_owned()][..]));
        assert_eq!(row.created, same_run.then_some(NOW));
        // Whoever wants more retries the later one, once it has ended.
        assert_eq!(code(bench.jobs.retry(id, as_now(true)).await), "job-retried");
        assert_eq!(code(bench.jobs.retry(again.id, as_now(true)).await), "job-not-ended");
    }
}

/// rules.md 2.5: "while no later run of the routine has begun, else as a new run".
#[tokio::test]
async fn after_a_later_run_it_is_a_new_run() {
    let bench = Bench::new().await;
    let id = ended(&bench, [AttemptStatus::Failed, AttemptStatus::Failed], Failed).await;
    let (later, _, _) = bench.admit(full("r")).await;
    let row = bench.start(later).await;
    let mut tx = bench.jobs.store().write().await.unwrap();
    tx.set_created(later, NOW.plus_ms(1)).await.unwrap();
    tx.commit().await.unwrap();
    let refused = bench.jobs.retry(id, as_now(true)).await.unwrap();
    assert_eq!((refused.status, refused.reason.unwrap().code), (Skipped, "full-running"), "as any trigger");
    bench.jobs.end(&row, &JobEnd::plain(Succeeded)).await.unwrap();
    let again = bench.jobs.retry(refused.id, as_now(true)).await.unwrap();
    let row = bench.row(again.id).await;
    assert_eq!((row.status, row.created, row.retry_of), (Queued, None, Some(refused.id)));
}

#[tokio::test]
async fn what_cannot_be_tried_again_says_why() {
    let bench = Bench::new().await;
    let done = [AttemptStatus::Committed, AttemptStatus::Empty];
    let id = ended(&bench, done, Succeeded).await;
    assert_eq!(code(bench.jobs.retry(id, as_now(true)).await), "job-succeeded");
    let id = ended(&bench, done, Failed).await;
    assert_eq!(code(bench.jobs.retry(id, as_now(true)).await), "nothing-to-retry");
    let id = ended(&bench, [AttemptStatus::Committed, AttemptStatus::Unknown], Failed).await;
    assert_eq!(code(bench.jobs.retry(id, as_now(true)).await), "attempt-unsettled");
    assert_eq!(code(bench.jobs.retry(JobId(1), as_now(true)).await), "job-not-found");
    let id = ended(&bench, [AttemptStatus::Committed, AttemptStatus::Failed], Failed).await;
    let gone = RetryAs { routine: Some(routine_of(&["a"])), ..as_now(true) };
    assert_eq!(code(bench.jobs.retry(id, gone).await), "nothing-to-retry", "b is configured no more");
}

#[tokio::test]
async fn a_restore_keeps_what_its_order_was_decided_by() {
    let bench = Bench::new().await;
    let (id, _, _) = bench.admit(restore("c", Some(&["n"]))).await;
    let row = bench.start(id).await;
    let mut tx = bench.jobs.store().write().await.unwrap();
    tx.note_found_empty(id, "n", true).await.unwrap();
    tx.note_found_empty(id, "n", false).await.unwrap();
    tx.commit().await.unwrap();
    let error = Some(("connection-lost".to_owned(), "Lost.".to_owned()));
    bench.jobs.end(&row, &JobEnd { error, ..JobEnd::plain(Failed) }).await.unwrap();
    let again = bench.jobs.retry(id, RetryAs::default()).await.unwrap();
    let found = |namespace| bench.jobs.store().found_empty(again.id, namespace);
    assert_eq!(found("n").await.unwrap(), Some(true), "the first answer counts");
    assert_eq!(found("other").await.unwrap(), None);
    let row = bench.row(again.id).await;
    assert_eq!((row.kind, row.trigger, row.retry_of), (JobKind::Restore, Trigger::Retry, Some(id)));
    assert_eq!((row.cluster.as_deref(), row.namespaces.as_deref()), (Some("c"), Some(&["n".to_owned()][..])));
}

#[tokio::test]
async fn retention_and_verification_ask_the_same_again() {
    let bench = Bench::new().await;
    for kind in [JobKind::Retention, JobKind::Verify] {
        let job = routine("r").on_backups(kind, Trigger::Api, Some(vec!["a".to_owned()]));
        let (id, _, _) = bench.admit(NewJob { requested_by: Some("me".to_owned()), ..job }).await;
        let row = bench.start(id).await;
        bench.jobs.end(&row, &JobEnd::plain(JobStatus::Canceled)).await.unwrap();
        let again = bench.jobs.retry(id, RetryAs::default()).await.unwrap();
        let (first, again) = (bench.row(id).await, bench.row(again.id).await);
        assert_eq!((again.kind, again.trigger, again.retry_of), (kind, Trigger::Retry, Some(id)));
        assert_eq!((&again.namespaces, &again.storage), (&first.namespaces, &first.storage));
        assert_eq!(again.requested_by, None, "who asks now");
    }
}
