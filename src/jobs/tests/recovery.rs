use std::collections::HashMap;

use async_trait::async_trait;

use super::{Bench, NOW, full, restore};
use crate::jobs::{Recovered, Settle, Settled};
use crate::model::{JobStatus, SlotType};
use crate::store::{
    AttemptEnd, AttemptRow, AttemptStart, AttemptStatus, JobEnd, JobId, JobRow, SlotId, SlotInsert,
    SlotState, Trigger,
};

use JobStatus::{Failed, Interrupted, Queued, Running, Scheduled, Succeeded};

/// Answers by namespace; one that it does not know was asked in error.
struct Storage(HashMap<&'static str, Settled>);

#[async_trait]
impl Settle for Storage {
    async fn settle(&self, _job: &JobRow, attempt: &AttemptRow) -> Settled {
        self.0[attempt.start.namespace.as_str()].clone()
    }
}

fn storage(answers: &[(&'static str, Settled)]) -> Storage {
    Storage(answers.iter().cloned().collect())
}

fn committed() -> Settled {
    Settled::Committed(Box::new(AttemptEnd {
        records: 7,
        ..AttemptEnd::plain(AttemptStatus::Committed, NOW.plus_ms(5))
    }))
}

async fn slot(bench: &Bench) -> SlotId {
    let mut tx = bench.jobs.store().write().await.unwrap();
    let slot = SlotInsert {
        routine: "r".to_owned(),
        slot_type: SlotType::Full,
        state: SlotState::Fired,
        count: 1,
        first_s: NOW.secs(),
        last_s: NOW.secs(),
    };
    let ids = tx.insert_slots(&[slot]).await.unwrap();
    tx.commit().await.unwrap();
    ids[0].unwrap()
}

/// A full of `a` and `b` that runs, with an attempt each.
async fn running(bench: &Bench, slot: Option<SlotId>) -> JobId {
    let mut job = full("r");
    job.namespaces = Some(vec!["a".to_owned(), "b".to_owned()]);
    job.slot = slot;
    let (id, _, _) = bench.admit(job).await;
    crash(bench, id, &["a", "b"]).await;
    id
}

async fn crash(bench: &Bench, id: JobId, namespaces: &[&str]) {
    bench.start(id).await;
    let mut tx = bench.jobs.store().write().await.unwrap();
    if tx.job(id).await.unwrap().unwrap().created.is_none() {
        tx.set_created(id, NOW).await.unwrap();
    }
    for namespace in namespaces {
        let start = AttemptStart {
            namespace: (*namespace).to_owned(),
            folder: (*namespace).to_owned(),
            storage: "s".to_owned(),
            created: NOW,
            from: None,
            promoted: None,
        };
        tx.start_attempt(id, 1, &start, NOW).await.unwrap();
    }
    tx.commit().await.unwrap();
}

async fn recover(bench: &Bench, storage: &Storage, allowed: bool) -> Recovered {
    bench.jobs.recover(storage, &|_| allowed).await.unwrap()
}

#[tokio::test]
async fn what_storage_shows_is_what_happened() {
    let bench = Bench::new().await;
    let id = running(&bench, None).await;
    let bench = bench.restarted().await;
    let report = recover(&bench, &storage(&[("a", committed()), ("b", committed())]), true).await;
    assert_eq!((report.committed, report.succeeded), (2, 1));
    assert_eq!(bench.row(id).await.status, Succeeded);
    let rows = bench.jobs.store().attempts(id).await.unwrap();
    assert!(
        rows.iter()
            .all(|row| row.status == AttemptStatus::Committed && row.end.as_ref().unwrap().records == 7)
    );
    assert_eq!(bench.way(id), [Succeeded], "observers hear it too");
}

#[tokio::test]
async fn one_namespace_that_did_not_commit_interrupts_the_job() {
    let bench = Bench::new().await;
    let id = running(&bench, None).await;
    let bench = bench.restarted().await;
    let report = recover(&bench, &storage(&[("a", committed()), ("b", Settled::Absent)]), true).await;
    assert_eq!((report.committed, report.absent, report.interrupted, report.requeued), (1, 1, 1, 0));
    let row = bench.row(id).await;
    assert_eq!((row.status, row.reason_code.as_deref()), (Interrupted, Some("crashed")));
    let expected = Recovered::default();
    assert_eq!(recover(&bench, &storage(&[]), true).await, expected, "a second recovery finds nothing");
}

/// rules.md 6.1: asked again until it is answered; the attempt changes, the job's row does not.
#[tokio::test]
async fn what_storage_does_not_say_is_asked_again() {
    let bench = Bench::new().await;
    let slot = slot(&bench).await;
    let id = running(&bench, Some(slot)).await;
    let bench = bench.restarted().await;
    let report = recover(&bench, &storage(&[("a", committed()), ("b", Settled::Unknown)]), true).await;
    assert_eq!((report.unknown, report.interrupted), (1, 1));
    assert_eq!(report.requeued, 0, "none while a namespace is unknown (rules.md 2.5)");
    let before = bench.row(id).await;
    let again = storage(&[("b", Settled::Unknown)]);
    assert_eq!(bench.jobs.settle_unknown(&again, &|_| true).await.unwrap().unknown, 1);
    let again = storage(&[("b", committed())]);
    assert_eq!(bench.jobs.settle_unknown(&again, &|_| true).await.unwrap().committed, 1);
    assert_eq!(bench.row(id).await, before);
    assert_eq!(bench.jobs.settle_unknown(&storage(&[]), &|_| true).await.unwrap(), Recovered::default());
}

#[tokio::test]
async fn what_waited_survives_unless_it_is_a_restore() {
    let bench = Bench::new().await;
    let (queued, _, _) = bench.admit(full("r")).await;
    let mut later = full("q");
    later.due = Some(NOW.plus_ms(9));
    let (scheduled, _, _) = bench.admit(later).await;
    let (waits, _, _) = bench.admit(restore("other", None)).await;
    let (begun, _, _) = bench.admit(restore("third", None)).await;
    bench.start(begun).await;
    let bench = bench.restarted().await;
    recover(&bench, &storage(&[]), true).await;
    assert_eq!(bench.row(queued).await.status, Queued);
    assert_eq!(bench.row(scheduled).await.status, Scheduled);
    let end = async |id| (bench.row(id).await.status, bench.row(id).await.reason_code.unwrap());
    assert_eq!(end(waits).await, (Interrupted, "not-started".to_owned()));
    assert_eq!(end(begun).await, (Interrupted, "crashed".to_owned()));
    assert_eq!(bench.admit(restore("third", None)).await.1, Queued, "its claims are gone");
}

/// rules.md 2.5: another attempt for what has not committed, under the same `created`; after three crashes no more.
#[tokio::test]
async fn a_slot_is_tried_three_times() {
    let mut bench = Bench::new().await;
    let slot = slot(&bench).await;
    let mut id = running(&bench, Some(slot)).await;
    for crashes in 1..=3 {
        bench = bench.restarted().await;
        let answers = storage(&[("a", committed()), ("b", Settled::Absent)]);
        let report = recover(&bench, &answers, true).await;
        let row = bench.row(id).await;
        if crashes == 3 {
            assert_eq!((row.status, row.error_code.as_deref()), (Failed, Some("crashed-repeatedly")));
            assert_eq!(report.requeued, 0);
            break;
        }
        assert_eq!((row.status, report.requeued), (Interrupted, 1));
        let again = bench.rows().await.pop().unwrap();
        assert_eq!((again.status, again.trigger, again.slot_id), (Queued, Trigger::Recovery, Some(slot)));
        assert_eq!(again.namespaces.as_deref(), Some(&["b".to_owned()][..]));
        assert_eq!(again.created, Some(NOW));
        id = again.id;
        crash(&bench, id, &["b"]).await;
        assert_eq!(bench.row(id).await.status, Running);
    }
}

#[tokio::test]
async fn a_slot_is_not_tried_again_out_of_its_window_or_against_a_cancel() {
    for (allowed, cancel, expected) in [(true, false, 1), (false, false, 0), (true, true, 0)] {
        let bench = Bench::new().await;
        let slot = slot(&bench).await;
        let id = running(&bench, Some(slot)).await;
        if cancel {
            bench.jobs.cancel(id).await.unwrap();
        }
        let bench = bench.restarted().await;
        let absent = storage(&[("a", Settled::Absent), ("b", Settled::Absent)]);
        assert_eq!(recover(&bench, &absent, allowed).await.requeued, expected);
        let more = recover(&bench, &storage(&[]), true).await.requeued;
        assert_eq!(more, usize::from(!allowed), "an attempt that was made is not made again");
    }
}

#[tokio::test]
async fn an_orderly_stop_does_not_count_as_a_crash() {
    let mut bench = Bench::new().await;
    let slot = slot(&bench).await;
    let mut job = full("r");
    job.slot = Some(slot);
    let (mut id, _, _) = bench.admit(job).await;
    for _ in 0..5 {
        let row = bench.start(id).await;
        let end = JobEnd::because(Interrupted, "shutdown", "Stopped.");
        bench.jobs.end(&row, &end).await.unwrap();
        bench = bench.restarted().await;
        assert_eq!(recover(&bench, &storage(&[]), true).await.requeued, 1);
        id = bench.rows().await.pop().unwrap().id;
    }
    assert_eq!(bench.row(id).await.status, Queued);
}

/// rules.md 2.5: "while no later run of the routine has begun, else as a new run".
#[tokio::test]
async fn after_a_later_run_the_attempt_is_a_new_run() {
    let bench = Bench::new().await;
    let slot = slot(&bench).await;
    let id = running(&bench, Some(slot)).await;
    let mut other = full("r");
    other.decided = Some((Interrupted, crate::jobs::Refusal { code: "test", reason: "Test.".to_owned() }));
    other.created = Some(NOW.plus_ms(1));
    bench.admit(other).await;
    let bench = bench.restarted().await;
    recover(&bench, &storage(&[("a", Settled::Absent), ("b", Settled::Absent)]), true).await;
    assert_eq!(bench.row(id).await.status, Interrupted);
    let again = bench.rows().await.pop().unwrap();
    assert_eq!((again.trigger, again.created), (Trigger::Recovery, None));
}

/// rules.md 6.1: once storage has said that it did not commit, the slot may have its next attempt.
#[tokio::test]
async fn a_slot_is_tried_again_when_storage_has_answered_at_last() {
    for (allowed, expected) in [(true, 1), (false, 0)] {
        let bench = Bench::new().await;
        let slot = slot(&bench).await;
        running(&bench, Some(slot)).await;
        let bench = bench.restarted().await;
        recover(&bench, &storage(&[("a", committed()), ("b", Settled::Unknown)]), true).await;
        let absent = storage(&[("b", Settled::Absent)]);
        let report = bench.jobs.settle_unknown(&absent, &|_| allowed).await.unwrap();
        assert_eq!((report.absent, report.requeued), (1, expected));
        let last = bench.rows().await.pop().unwrap();
        assert_eq!(last.namespaces.as_deref() == Some(&["b".to_owned()][..]), allowed);
        assert_eq!(last.retry_of.is_some(), allowed);
    }
}

/// What was asked to end has been canceled, however it ended.
#[tokio::test]
async fn a_crash_while_a_job_is_canceled_ends_the_cancel() {
    let bench = Bench::new().await;
    let id = running(&bench, None).await;
    bench.jobs.cancel(id).await.unwrap();
    let bench = bench.restarted().await;
    recover(&bench, &storage(&[("a", committed()), ("b", Settled::Absent)]), true).await;
    let row = bench.row(id).await;
    assert_eq!((row.status, row.reason_code.as_deref()), (JobStatus::Canceled, Some("crashed")));
}

/// A full's retention, whatever the time at which the full is known to have committed (rules.md 5.2).
struct Retention;

impl crate::jobs::Follow for Retention {
    fn follow(
        &self,
        job: &JobRow,
        attempts: &[AttemptRow],
    ) -> crate::error::Result<Vec<crate::jobs::NewJob>> {
        let committed = attempts.iter().any(|attempt| attempt.status == AttemptStatus::Committed);
        let wanted = job.kind == crate::model::JobKind::Backup && committed;
        let next =
            super::routine("r").on_backups(crate::model::JobKind::Retention, Trigger::AfterBackup, None);
        Ok(wanted.then_some(next).into_iter().collect())
    }
}

#[tokio::test]
async fn what_follows_a_backup_follows_it_when_its_commit_is_known() {
    let bench = Bench::new().await;
    let id = running(&bench, None).await;
    let bench = bench.restarted().await;
    let jobs = crate::jobs::Jobs::new(
        bench.jobs.store().clone(),
        bench.jobs.clock().clone(),
        Vec::new(),
        std::sync::Arc::new(Retention),
    );
    let answers = storage(&[("a", Settled::Absent), ("b", Settled::Unknown)]);
    jobs.recover(&answers, &|_| true).await.unwrap();
    assert_eq!(bench.rows().await.len(), 1, "nothing has committed yet");
    jobs.settle_unknown(&storage(&[("b", committed())]), &|_| true).await.unwrap();
    let rows = bench.rows().await;
    let kinds: Vec<_> = rows.iter().map(|row| (row.kind, row.status)).collect();
    let expected = [(crate::model::JobKind::Backup, Interrupted), (crate::model::JobKind::Retention, Queued)];
    assert_eq!((rows[0].id, kinds), (id, expected.to_vec()));
}
