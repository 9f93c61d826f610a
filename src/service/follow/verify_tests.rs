//! `verify-after`.

use std::sync::Arc;

use super::*;
use crate::clock::{SharedClock, SystemClock};
use crate::config::Config;
use crate::jobs::{Jobs, RoutineJob};
use crate::model::{BackupType, JobStatus, UnixMillis};
use crate::store::{AttemptEnd, AttemptStart, JobEnd, JobFilter, Store};

const CONFIG: &str = r#"
aerospike-clusters: {c: {seed-nodes: [{host-name: 127.0.0.1, port: 1}]}}
storage: {s: {local-storage: {path: /nowhere}}}
backup-policies: {p: {verify-after: true}, q: {}}
backup-routines:
  r: {source-cluster: c, storage: s, backup-policy: p, interval-cron: "@daily", namespaces: [a, b]}
  q: {source-cluster: c, storage: s, backup-policy: q, interval-cron: "@daily", namespaces: [a, b]}
"#;

/// Ends a backup of which `ends` says how each namespace ended; gives the verifications that there are then.
async fn after(routine: &str, end: JobStatus, ends: &[(&str, AttemptStatus)]) -> Vec<JobRow> {
    let dir = tempfile::tempdir().unwrap();
    let clock: SharedClock = Arc::new(SystemClock);
    let store = Store::open(dir.path(), &clock).await.unwrap();
    let now = clock.now();
    let config = Config::parse(CONFIG, "test.yaml", now).unwrap().routine(routine, now).unwrap().job;
    let jobs = Jobs::new(store, clock, Vec::new(), Arc::new(AfterBackup));
    let common = RoutineJob {
        routine: routine.to_owned(),
        storage: "s".to_owned(),
        config: Some(Document::of(&config).unwrap()),
        ..RoutineJob::default()
    };
    let id = jobs.admit(common.job(BackupType::Full, Trigger::Api)).await.unwrap().id;
    let mut tx = jobs.store().write().await.unwrap();
    tx.start_job(id, "test", now, now).await.unwrap();
    tx.set_created(id, UnixMillis(1_700_000_000_000)).await.unwrap();
    for (namespace, status) in ends {
        let start = AttemptStart {
            namespace: (*namespace).to_owned(),
            folder: format!("f/{namespace}"),
            storage: "s".to_owned(),
            created: UnixMillis(1_700_000_000_000),
            from: None,
            promoted: None,
        };
        let row = tx.start_attempt(id, 1, &start, now).await.unwrap();
        tx.end_attempt(&row, &AttemptEnd::plain(*status, now)).await.unwrap();
    }
    tx.commit().await.unwrap();
    let row = jobs.store().job(id).await.unwrap().unwrap();
    let error = (end == JobStatus::Failed).then(|| ("partial".to_owned(), "one failed".to_owned()));
    jobs.end(&row, &JobEnd { error, ..JobEnd::plain(end) }).await.unwrap();
    let filter = JobFilter { kind: Some(JobKind::Verify), ..JobFilter::default() };
    let found = jobs.store().jobs(&filter, 10).await.unwrap().jobs;
    let pins = jobs.store().write().await.unwrap().pins().await.unwrap();
    let pinned: Vec<_> = pins.iter().map(|pin| pin.address.as_str()).collect();
    let committed = ends.iter().filter(|(_, status)| *status == AttemptStatus::Committed);
    let expected: Vec<_> =
        committed.map(|(namespace, _)| format!("local storage /nowhere/f/{namespace}")).collect();
    assert_eq!(pinned, if found.is_empty() { Vec::new() } else { expected }, "what it reads, and no more");
    found
}

#[tokio::test]
async fn what_a_run_committed_is_verified_after_it_also_when_it_failed() {
    use AttemptStatus::{Committed, Empty, Failed};
    let [verify] =
        after("r", JobStatus::Failed, &[("a", Committed), ("b", Failed)]).await.try_into().unwrap();
    assert_eq!((verify.status, verify.trigger), (JobStatus::Queued, Trigger::AfterBackup));
    assert_eq!(verify.namespaces.as_deref(), Some(&["a".to_owned()][..]));
    let request: VerifyRequest = verify.request.unwrap().parse().unwrap();
    assert_eq!(request, VerifyRequest::of_run(UnixMillis(1_700_000_000_000)));
    assert!(after("r", JobStatus::Failed, &[("a", Empty), ("b", Failed)]).await.is_empty());
    assert!(after("q", JobStatus::Succeeded, &[("a", Committed)]).await.is_empty(), "nobody asked for it");
}
