use super::{Bench, NOW, concurrent, full, incremental, restore, routine};
use crate::jobs::Refusal;
use crate::model::{BackupType, JobKind, JobStatus};
use crate::store::Trigger;

use JobStatus::{Missed, Queued, Scheduled, Skipped};

#[tokio::test]
async fn one_job_of_a_routine_and_type_waits() {
    let bench = Bench::new().await;
    bench.admit(full("r")).await;
    let (id, status, code) = bench.admit(full("r")).await;
    assert_eq!((status, code), (Skipped, Some("already-queued")));
    let row = bench.row(id).await;
    assert!(row.reason.unwrap().starts_with("A backup of this routine and type waits already"));
    assert_eq!(row.finished, Some(NOW), "a refusal is the end of its row");
    assert_eq!(bench.admit(full("other")).await.1, Queued, "routines do not hinder each other");
}

#[tokio::test]
async fn one_verification_of_a_routine_waits_and_those_after_backups_always_get_in() {
    let bench = Bench::new().await;
    let verify = |name: &str, trigger| routine(name).on_backups(JobKind::Verify, trigger, None);
    assert_eq!(bench.admit(verify("r", Trigger::AfterBackup)).await.1, Queued);
    assert_eq!(bench.admit(verify("r", Trigger::AfterBackup)).await.1, Queued);
    let (id, status, _) = bench.admit(verify("r", Trigger::Schedule)).await;
    assert_eq!(status, Queued, "what reads one run is not in the way of what reads all");
    for trigger in [Trigger::Api, Trigger::Schedule, Trigger::CatchUp, Trigger::Recovery] {
        let (_, status, code) = bench.admit(verify("r", trigger)).await;
        assert_eq!((status, code), (Skipped, Some("already-queued")), "{trigger:?}");
    }
    assert_eq!(bench.admit(verify("r", Trigger::AfterBackup)).await.1, Queued);
    assert_eq!(bench.admit(verify("other", Trigger::Api)).await.1, Queued);
    assert_eq!(bench.admit(full("r")).await.1, Queued, "backups and verifications do not hinder each other");
    bench.start(id).await;
    assert_eq!(
        bench.admit(verify("r", Trigger::Api)).await.1,
        Queued,
        "the one that runs may be past what is new"
    );
}

/// abs.md 4.1, with rules.md 2.2: what waits counts like what runs.
#[tokio::test]
async fn overlap_follows_the_table() {
    for running in [false, true] {
        let bench = Bench::new().await;
        let begin = async |job| {
            let (id, status, _) = bench.admit(job).await;
            assert_eq!(status, Queued);
            if running {
                bench.start(id).await;
            }
        };
        begin(full("full")).await;
        let same = if running { "full-running" } else { "already-queued" };
        assert_eq!(bench.admit(full("full")).await.2, Some(same));
        assert_eq!(bench.admit(incremental("full")).await.2, Some("full-running"));
        assert_eq!(bench.admit(concurrent("full")).await.1, Queued);

        begin(incremental("incr")).await;
        let same = if running { "incremental-running" } else { "already-queued" };
        assert_eq!(bench.admit(incremental("incr")).await.2, Some(same));
        let beside = bench.admit(concurrent("incr")).await;
        assert_eq!(beside.2, if running { None } else { Some("already-queued") });
        assert_eq!(bench.admit(full("incr")).await.1, Queued, "a full may start while an incremental runs");
    }
}

#[tokio::test]
async fn triggers_of_one_transaction_count_for_those_behind() {
    let bench = Bench::new().await;
    let jobs = [full("r"), incremental("r"), full("r"), incremental("q"), restore("c", Some(&["n"]))];
    let admitted = bench.jobs.admit_many(&jobs).await.unwrap();
    let codes: Vec<_> = admitted.iter().map(|one| one.reason.as_ref().map(|reason| reason.code)).collect();
    assert_eq!(codes, [None, Some("full-running"), Some("already-queued"), None, Some("backup-running")]);
    let reason = &admitted[4].reason.as_ref().unwrap().reason;
    assert!(reason.contains("namespace \"n\" of cluster \"c\""), "{reason}");
    assert!(reason.contains(&format!("job {}", admitted[0].id)), "{reason}");
}

/// rules.md 2.4: both ways, per namespace, siblings run.
#[tokio::test]
async fn a_restore_excludes_backups_and_restores_of_its_namespaces() {
    let every = None;
    let (n, m) = (Some(&["n"][..]), Some(&["m"][..]));
    for (first, second, refused) in [
        (restore("c", n), full("r"), Some("restore-running")),
        (restore("c", every), full("r"), Some("restore-running")),
        (restore("c", m), full("r"), None),
        (restore("d", n), full("r"), None),
        (full("r"), restore("c", n), Some("backup-running")),
        (full("r"), restore("c", every), Some("backup-running")),
        (full("r"), restore("c", m), None),
        (full("r"), restore("d", n), None),
        (restore("c", n), restore("c", n), Some("restore-running")),
        (restore("c", n), restore("c", every), Some("restore-running")),
        (restore("c", n), restore("c", m), None),
        (full("q"), full("r"), None),
    ] {
        let bench = Bench::new().await;
        let (id, _, _) = bench.admit(first.clone()).await;
        assert_eq!(bench.admit(second.clone()).await.2, refused, "{first:?} then {second:?}");
        bench.jobs.cancel(id).await.unwrap();
        let after = bench.admit(second.clone()).await.2;
        assert_ne!(after, Some("backup-running"), "an ended job claims nothing: {first:?}");
        assert_ne!(after, Some("restore-running").filter(|_| refused.is_some()), "{first:?}");
    }
}

#[tokio::test]
async fn rows_not_yet_due_do_not_count() {
    let bench = Bench::new().await;
    let later = |mut job: crate::jobs::NewJob| {
        job.due = Some(NOW.plus_ms(1));
        job
    };
    assert_eq!(bench.admit(later(full("r"))).await.1, Scheduled);
    assert_eq!(bench.admit(later(full("r"))).await.1, Scheduled);
    assert_eq!(bench.admit(full("r")).await.1, Queued);
    assert_eq!(bench.admit(restore("c", Some(&["n"]))).await.2, Some("backup-running"));
    let mut due = full("q");
    due.due = Some(NOW);
    assert_eq!(bench.admit(due).await.1, Queued);
}

#[tokio::test]
async fn what_the_ledger_decided_stands() {
    let bench = Bench::new().await;
    let mut job = full("r");
    job.decided = Some((Missed, Refusal { code: "downtime", reason: "Gone.".to_owned() }));
    let (id, status, code) = bench.admit(job).await;
    assert_eq!((status, code), (Missed, Some("downtime")));
    assert_eq!(bench.way(id), [Missed]);
    assert_eq!(bench.admit(full("r")).await.1, Queued, "a missed slot is in nobody's way");
}

/// rules.md 2.7 and the scheduler's burden: every routine due in the same second, one transaction.
#[tokio::test]
async fn five_thousand_triggers_are_one_transaction() {
    let bench = Bench::new().await;
    let names: Vec<String> = (0..5000).map(|n| format!("routine-{n}")).collect();
    let triggers: Vec<_> = names.iter().map(|name| full(name)).collect();
    let begin = std::time::Instant::now();
    let admitted = bench.jobs.admit_many(&triggers).await.unwrap();
    println!("5,000 triggers admitted in {:?}", begin.elapsed());
    assert!(admitted.iter().all(|one| one.status == Queued));
    let rows = bench.rows().await;
    assert_eq!(rows.len(), 5000);
    for ((row, one), name) in rows.iter().zip(&admitted).zip(&names) {
        assert_eq!((row.id, row.routine.as_ref()), (one.id, Some(name)));
        assert_eq!(row.backup_type, Some(BackupType::Full));
    }
    let begin = std::time::Instant::now();
    let again = bench.jobs.admit_many(&triggers).await.unwrap();
    println!("5,000 triggers refused in {:?}", begin.elapsed());
    assert!(again.iter().all(|one| one.status == Skipped));
}
