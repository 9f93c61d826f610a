//! One backup on demand.

use super::*;

/// rules.md 5.3, 5.4: also when the process ends in between, and never what a job reads.
#[tokio::test]
async fn a_backup_is_deleted_on_demand_with_what_needs_it_unless_a_job_reads_any_of_it() {
    let mut bench = Bench::new(keeps(9, None)).await;
    let all = three(&bench.storage).await;
    let request =
        |cascade| DeletionRequest { backup_type: BackupType::Full, timestamp: all[2].run.created, cascade };
    let delete = async |bench: &Bench, cascade: bool| {
        let id = bench.admit_deletion(&request(cascade)).await;
        bench.settle().await;
        bench.store().job(id).await.unwrap().unwrap()
    };
    let job = delete(&bench, false).await;
    assert_eq!(job.error_code.unwrap(), "backup-has-dependents");
    let reader = bench.pin(&[bench.at(&all[3].folder())]).await;
    let job = delete(&bench, true).await;
    assert_eq!(job.error_code.unwrap(), "backup-in-use");
    assert_eq!(bench.keys().await.len(), 6);
    bench.jobs.cancel(reader).await.unwrap();

    // The second deletion fails: what is marked is out of every chain, and goes at the next start.
    bench.storage.fail(Fault::nth(Op::DeletePrefix, 2));
    let job = delete(&bench, true).await;
    assert_eq!(job.status, JobStatus::Failed);
    bench = bench.restarted().await;
    resume(&bench.jobs).await.unwrap();
    bench.settle().await;
    assert_eq!(bench.keys().await, keys_of(&[&all[0], &all[1], &all[4], &all[5]]));
    assert!(bench.store().deletions().await.unwrap().is_empty());
    let job = delete(&bench, true).await;
    assert_eq!(job.error_code.unwrap(), "backup-not-found");
}
