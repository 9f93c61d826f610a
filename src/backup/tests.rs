//! Runs of a routine over a source that is scripted, on real storage and a real store.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use tokio_util::sync::CancellationToken;

use super::BackupWork;
use crate::asb::BlockHasher;
use crate::catalog::History;
use crate::clock::{SharedClock, SystemClock};
use crate::config::{Config, JobConfig};
use crate::engine::{
    ClusterFacts, Connect, Destination, NamespaceFacts, NamespaceRead, NodeFacts, ReadReport, Source, Watch,
    WrittenFile,
};
use crate::error::{Error, Result};
use crate::jobs::{Jobs, NewJob, Runner, RunnerOptions, Work, WorkFactory};
use crate::model::{BackupType, JobKind, JobStatus};
use crate::storage::{LocalStorage, Storage, join};
use crate::store::{Document, JobRow, Store, Trigger};

/// What reading each namespace does, by name; a namespace without an entry is read well.
type Script = Arc<Mutex<BTreeMap<String, Vec<Error>>>>;

struct Scripted {
    script: Script,
    clock_ahead_ms: i64,
}

#[async_trait]
impl Connect for Scripted {
    async fn source(&self, _cluster: &crate::config::ClusterConfig) -> Result<Arc<dyn Source>> {
        Ok(Arc::new(Self { script: Arc::clone(&self.script), clock_ahead_ms: self.clock_ahead_ms }))
    }

    async fn destination(&self, _cluster: &crate::config::ClusterConfig) -> Result<Arc<dyn Destination>> {
        Err(Error::permanent("test", "nothing is restored here"))
    }
}

#[async_trait]
impl Source for Scripted {
    async fn facts(&self) -> Result<ClusterFacts> {
        let namespace =
            |name: &str| NamespaceFacts { name: name.to_owned(), objects: 1, ..Default::default() };
        Ok(ClusterFacts {
            nodes: vec![NodeFacts {
                name: "A1".to_owned(),
                address: "127.0.0.1:1".to_owned(),
                clock_ahead_ms: self.clock_ahead_ms,
                cluster_skew_ms: 0,
            }],
            version: "8.1.0.0".to_owned(),
            namespaces: vec![namespace("ns1"), namespace("ns2")],
        })
    }

    async fn read(
        &self,
        read: &NamespaceRead,
        storage: Arc<dyn Storage>,
        folder: &str,
        _watch: Arc<dyn Watch>,
        _cancel: &CancellationToken,
    ) -> Result<ReadReport> {
        let name = format!("0_{}_1.asb", read.namespace);
        let mut object = storage.create(&join(folder, &name)).await?;
        let text = format!("read {}", read.namespace);
        object.write(text.clone().into()).await?;
        object.finish().await?;
        let failing = self.script.lock().unwrap().get_mut(&read.namespace).and_then(Vec::pop);
        if let Some(error) = failing {
            return Err(error);
        }
        let mut hasher = BlockHasher::new();
        hasher.update(text.as_bytes());
        let file = WrittenFile { name, records: 1, metadata: false, hashes: hasher.finish() };
        Ok(ReadReport { files: vec![file], records: 1, ..ReadReport::default() })
    }
}

struct Factory {
    storage: Arc<dyn Storage>,
    script: Script,
    clock_ahead_ms: i64,
}

impl WorkFactory for Factory {
    fn work(&self, job: &JobRow) -> Result<Box<dyn Work>> {
        let config: JobConfig = job.config.as_ref().unwrap().parse()?;
        let connect = Scripted { script: Arc::clone(&self.script), clock_ahead_ms: self.clock_ahead_ms };
        let storage = Arc::clone(&self.storage);
        Ok(Box::new(BackupWork::new(config, job.backup_type.unwrap(), Arc::new(connect), storage)))
    }
}

const CONFIG: &str = r#"
aerospike-clusters: {c: {seed-nodes: [{host-name: 127.0.0.1, port: 1}]}}
storage: {s: {local-storage: {path: /nowhere}}}
backup-policies: {p: {clock-skew-margin: 1, retry-policy: {base-timeout: 1, multiplier: 1, max-retries: 2}}}
backup-routines: {r: {source-cluster: c, storage: s, backup-policy: p, interval-cron: "@daily", namespaces: []}}
"#;

struct Bench {
    _dir: tempfile::TempDir,
    storage: Arc<dyn Storage>,
    script: Script,
    jobs: Jobs,
    config: JobConfig,
}

impl Bench {
    async fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let clock: SharedClock = Arc::new(SystemClock);
        let storage: Arc<dyn Storage> = Arc::new(LocalStorage::create(dir.path().join("b")).await.unwrap());
        let store = Store::open(Path::new(&dir.path().join("state")), &clock).await.unwrap();
        let config = Config::parse(CONFIG, "test.yaml", clock.now()).unwrap();
        let config = config.routine("r", clock.now()).unwrap().job;
        let jobs = Jobs::new(store, clock, Vec::new(), Arc::new(crate::jobs::follow::Nothing));
        Self { _dir: dir, storage, script: Script::default(), jobs, config }
    }

    fn fails(&self, namespace: &str, errors: Vec<Error>) {
        self.script.lock().unwrap().insert(namespace.to_owned(), errors);
    }

    /// Runs one job to its end.
    async fn run(&self, clock_ahead_ms: i64, change: impl FnOnce(&mut NewJob)) -> JobRow {
        let mut job = NewJob {
            kind: JobKind::Backup,
            backup_type: Some(BackupType::Full),
            routine: Some("r".to_owned()),
            trigger: Trigger::Api,
            cluster: Some("c".to_owned()),
            storage: Some("s".to_owned()),
            namespaces: None,
            concurrent: false,
            due: None,
            slot: None,
            created: None,
            retry_of: None,
            config: Some(Document::of(&self.config).unwrap()),
            request: None,
            requested_by: None,
            decided: None,
        };
        change(&mut job);
        let id = self.jobs.admit(job).await.unwrap().id;
        let factory =
            Factory { storage: Arc::clone(&self.storage), script: Arc::clone(&self.script), clock_ahead_ms };
        let options = RunnerOptions { owner: "test".to_owned(), max_running_jobs: 1 };
        let runner = Runner::new(self.jobs.clone(), Arc::new(factory), options);
        let ended = async {
            loop {
                let row = self.jobs.store().job(id).await.unwrap().unwrap();
                if row.status.is_terminal() {
                    runner.stop(std::time::Duration::ZERO).await;
                    return row;
                }
                tokio::time::sleep(std::time::Duration::from_millis(10)).await;
            }
        };
        let (ran, row) = tokio::join!(runner.run(), ended);
        ran.unwrap();
        row
    }

    async fn history(&self) -> History {
        History::read(self.storage.as_ref(), "r").await.unwrap()
    }
}

#[tokio::test]
async fn another_attempt_of_a_run_leaves_what_committed_alone() {
    // rules.md 2.5: ns1 committed, ns2 did not; the recovery job goes on under the same created.
    let bench = Bench::new().await;
    bench.fails("ns2", vec![Error::permanent("test", "broken")]);
    let first = bench.run(0, |_| {}).await;
    assert_eq!((first.status, first.error_code.as_deref()), (JobStatus::Failed, Some("partial")));
    assert!(first.error.unwrap().contains("ns2"));
    let history = bench.history().await;
    let (committed, _) = history.members("ns1");
    let finished = committed[0].finished;
    assert!(history.members("ns2").0.is_empty(), "what failed is removed");

    bench.fails("ns1", vec![Error::permanent("test", "must not be read again")]);
    let again = bench
        .run(0, |job| {
            job.trigger = Trigger::Recovery;
            job.created = first.created;
            job.namespaces = Some(vec!["ns2".to_owned()]);
        })
        .await;
    assert_eq!(again.status, JobStatus::Succeeded, "{:?}", again.error);
    let history = bench.history().await;
    assert_eq!(history.members("ns1").0[0].finished, finished, "untouched");
    let ns2 = history.members("ns2").0[0].clone();
    assert_eq!(Some(ns2.created), first.created);
    assert_eq!(ns2.manifest.unwrap().run_namespaces, ["ns1", "ns2"], "the whole run (rules.md 3.8)");
}

#[tokio::test]
async fn a_namespace_that_storage_has_already_is_kept_not_read_again() {
    let bench = Bench::new().await;
    let first = bench.run(0, |_| {}).await;
    assert_eq!(first.status, JobStatus::Succeeded);
    let finished = bench.history().await.members("ns1").0[0].finished;
    let must_not = || vec![Error::permanent("test", "must not be read again")];
    bench.fails("ns1", must_not());
    bench.fails("ns2", must_not());
    let again = bench.run(0, |job| job.created = first.created).await;
    assert_eq!(again.status, JobStatus::Succeeded, "{:?}", again.error);
    assert_eq!(bench.history().await.members("ns1").0[0].finished, finished);
}

#[tokio::test]
async fn what_may_pass_is_tried_again_and_what_may_not_is_not() {
    // rules.md 3.9
    let bench = Bench::new().await;
    let passing = || Error::temporary("test", "may pass");
    bench.fails("ns1", vec![passing(), passing()]);
    let job = bench.run(0, |_| {}).await;
    assert_eq!(job.status, JobStatus::Succeeded, "{:?}", job.error);
    assert!(job.warnings.iter().any(|warning| warning.code == "retry"), "{:?}", job.warnings);
    let attempts = bench.jobs.store().attempts(job.id).await.unwrap();
    assert_eq!(attempts.iter().filter(|attempt| attempt.start.namespace == "ns1").count(), 3);

    bench.fails("ns1", vec![passing(), passing(), passing()]);
    assert_eq!(bench.run(0, |_| {}).await.status, JobStatus::Failed, "two retries are allowed");
    bench.fails("ns1", vec![Error::permanent("test", "will not pass")]);
    let job = bench.run(0, |_| {}).await;
    let attempts = bench.jobs.store().attempts(job.id).await.unwrap();
    assert_eq!(attempts.iter().filter(|attempt| attempt.start.namespace == "ns1").count(), 1);
}

#[tokio::test]
async fn a_clock_that_is_wrong_itself_makes_nothing_void() {
    // rules.md 3.1, 3.2: by the nodes, our clock is an hour behind; what it takes for the future is the present.
    let bench = Bench::new().await;
    let first = bench.run(0, |_| {}).await;
    assert_eq!(first.status, JobStatus::Succeeded);
    let job = bench.run(3_600_000, |_| {}).await;
    assert_eq!(job.error_code.as_deref(), Some("clock-skew"));
    let listed = bench.storage.list("r").await.unwrap();
    assert!(!listed.iter().any(|object| object.key.ends_with("holdfast-void.json")));
}
