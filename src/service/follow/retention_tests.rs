//! Retention after a full (rules.md 5.2), and again after what held it back.

use std::sync::Arc;

use async_trait::async_trait;

use super::*;
use crate::clock::{ManualClock, SharedClock};
use crate::config::{Config, Retention};
use crate::jobs::{Jobs, Settle, Settled};
use crate::model::UnixMillis;
use crate::store::{AttemptEnd, AttemptStart, Document, JobEnd, JobFilter, JobId, Store};

const NOW: UnixMillis = UnixMillis(1_700_000_000_000);

const CONFIG: &str = r#"
aerospike-clusters: {c: {seed-nodes: [{host-name: 127.0.0.1, port: 1}]}}
storage: {s: {local-storage: {path: /nowhere}}}
backup-policies: {p: {}}
backup-routines: {r: {source-cluster: c, storage: s, backup-policy: p, interval-cron: "@daily", namespaces: []}}
"#;

struct Bench {
    _dir: tempfile::TempDir,
    jobs: Jobs,
    config: JobConfig,
}

struct Committed;

#[async_trait]
impl Settle for Committed {
    async fn settle(&self, _: &JobRow, _: &AttemptRow) -> Settled {
        Settled::Committed(Box::new(AttemptEnd::plain(AttemptStatus::Committed, NOW)))
    }
}

impl Bench {
    async fn new(retention: Retention) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let clock: SharedClock = Arc::new(ManualClock::at(NOW));
        let store = Store::open(dir.path(), &clock).await.unwrap();
        let mut config = Config::parse(CONFIG, "test.yaml", NOW).unwrap().routine("r", NOW).unwrap().job;
        config.policy.retention = retention.resolve();
        let jobs = Jobs::new(store, clock, Vec::new(), Arc::new(AfterBackup));
        Self { _dir: dir, jobs, config }
    }

    /// A backup whose namespaces ended so; a promoted one says why.
    async fn backup(
        &self,
        backup_type: BackupType,
        ends: &[(&str, Option<&str>, AttemptStatus)],
        end: JobEnd,
    ) {
        let job = routine_job(&self.config).unwrap().job(backup_type, Trigger::Api);
        let id = self.jobs.admit(job).await.unwrap().id;
        let mut tx = self.jobs.store().write().await.unwrap();
        let row = tx.start_job(id, "test", NOW, NOW).await.unwrap();
        for (namespace, promoted, status) in ends {
            let start = AttemptStart {
                namespace: (*namespace).to_owned(),
                folder: format!("r/{}/1/data/{namespace}", backup_type.as_str()),
                storage: "s".to_owned(),
                created: NOW,
                from: None,
                promoted: promoted.map(str::to_owned),
            };
            let attempt = tx.start_attempt(id, 1, &start, NOW).await.unwrap();
            tx.end_attempt(&attempt, &AttemptEnd::plain(*status, NOW)).await.unwrap();
        }
        tx.commit().await.unwrap();
        self.jobs.end(&row, &end).await.unwrap();
    }

    /// The namespaces of each retention, oldest first.
    async fn retentions(&self) -> Vec<(Option<Vec<String>>, JobId)> {
        let filter = JobFilter { kind: Some(JobKind::Retention), ..JobFilter::default() };
        let mut jobs = self.jobs.store().jobs(&filter, 100).await.unwrap().jobs;
        jobs.reverse();
        jobs.into_iter().map(|job| (job.namespaces, job.id)).collect()
    }
}

fn names(names: &[&str]) -> Vec<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

const ONE: Retention =
    Retention { full: Some(1), incremental: None, max_age: None, keep: None, min_fulls: None };

/// rules.md 5.2
#[tokio::test]
async fn retention_follows_a_full_for_the_namespaces_that_committed() {
    use AttemptStatus::{Committed, Empty, Failed};
    let bench = Bench::new(ONE).await;
    let partial = JobEnd {
        error: Some(("partial".to_owned(), "one failed".to_owned())),
        ..JobEnd::plain(JobStatus::Failed)
    };
    let ends = [("a", None, Committed), ("b", None, Failed), ("c", None, Committed)];
    bench.backup(BackupType::Full, &ends, partial).await;
    let done = || JobEnd::plain(JobStatus::Succeeded);
    let ends = [("a", None, Committed), ("b", Some("no-full"), Committed), ("c", None, Empty)];
    bench.backup(BackupType::Incremental, &ends, done()).await;
    bench.backup(BackupType::Incremental, &[("a", None, Committed)], done()).await;
    let follow: Vec<_> = bench.retentions().await.into_iter().map(|(namespaces, _)| namespaces).collect();
    assert_eq!(follow, [Some(names(&["a", "c"])), Some(names(&["b"]))]);

    let keeps_all = Bench::new(Retention::default()).await;
    keeps_all.backup(BackupType::Full, &[("a", None, Committed)], done()).await;
    assert!(keeps_all.retentions().await.is_empty());
}

/// rules.md 6.1
#[tokio::test]
async fn retention_follows_an_attempt_that_turns_out_to_have_committed() {
    let bench = Bench::new(ONE).await;
    let ended = JobEnd::because(JobStatus::Interrupted, "commit-unknown", "not said");
    bench.backup(BackupType::Full, &[("a", None, AttemptStatus::Unknown)], ended).await;
    assert!(bench.retentions().await.is_empty());
    bench.jobs.settle_unknown(&Committed, &|_| false).await.unwrap();
    bench.jobs.settle_unknown(&Committed, &|_| false).await.unwrap();
    let follow = bench.retentions().await;
    assert_eq!(follow.len(), 1);
    assert_eq!(follow[0].0, Some(names(&["a"])));
}

/// rules.md 5.4
#[tokio::test]
async fn what_was_held_back_is_tried_again_later() {
    let bench = Bench::new(ONE).await;
    let done = JobEnd::plain(JobStatus::Succeeded);
    bench.backup(BackupType::Full, &[("a", None, AttemptStatus::Committed)], done).await;
    let (_, id) = bench.retentions().await.remove(0);
    for (held_back, jobs) in [(2, 2), (0, 2)] {
        let id = bench.retentions().await.last().map_or(id, |(_, id)| *id);
        let row = bench.jobs.store().job(id).await.unwrap().unwrap();
        let result = Some(serde_json::json!({ HELD_BACK: held_back }));
        let end = JobEnd { result, ..JobEnd::plain(JobStatus::Succeeded) };
        bench.jobs.end(&row, &end).await.unwrap();
        assert_eq!(bench.retentions().await.len(), jobs);
    }
    let (namespaces, id) = bench.retentions().await.remove(1);
    let row = bench.jobs.store().job(id).await.unwrap().unwrap();
    assert_eq!((namespaces, row.due), (Some(names(&["a"])), NOW.plus_ms(COME_BACK_MS)));
    assert!(Document::as_str(&row.config.unwrap()).contains("retention"));
}
