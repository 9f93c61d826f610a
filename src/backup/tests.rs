//! Runs of a routine over a source that is scripted, on real storage and a real store.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use tokio_util::sync::CancellationToken;

use super::BackupWork;
use crate::asb::BlockHasher;
use crate::catalog::layout::DATA_SUFFIX;
use crate::catalog::{History, OwnerTimes, Ownership};
use crate::clock::{SharedClock, SystemClock};
use crate::config::{Config, JobConfig};
use crate::engine::{
    ClusterFacts, Connect, Destination, NamespaceFacts, NamespaceRead, NodeFacts, ReadReport, Source, Watch,
    WrittenFile,
};
use crate::error::{Error, Result};
use crate::jobs::testkit::run_to_end;
use crate::jobs::{Jobs, NewJob, Work, WorkFactory};
use crate::model::{BackupType, InstanceId, JobKind, JobStatus};
use crate::storage::{LocalStorage, Storage, join};
use crate::store::{AttemptStatus, Document, JobRow, Store, Trigger};

/// What reading each namespace does, by name; a namespace without an entry is read well.
type Script = Arc<Mutex<BTreeMap<String, Vec<Error>>>>;

/// Another instance, which adopts the routine's folder while this namespace is read.
type Rival = Arc<Mutex<Option<(&'static str, Ownership)>>>;

struct Scripted {
    script: Script,
    rival: Rival,
    clock_ahead_ms: i64,
}

#[async_trait]
impl Connect for Scripted {
    async fn source(&self, _cluster: &crate::config::ClusterConfig) -> Result<Arc<dyn Source>> {
        Ok(Arc::new(Self {
            script: Arc::clone(&self.script),
            rival: Arc::clone(&self.rival),
            clock_ahead_ms: self.clock_ahead_ms,
        }))
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
        let rival = self.rival.lock().unwrap().take_if(|(name, _)| *name == read.namespace);
        if let Some((_, rival)) = rival {
            rival.adopt(storage.as_ref(), "r").await?;
        }
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
    ownership: Ownership,
    script: Script,
    rival: Rival,
    clock_ahead_ms: i64,
}

impl WorkFactory for Factory {
    fn work(&self, job: &JobRow) -> Result<Box<dyn Work>> {
        let config: JobConfig = job.config.as_ref().unwrap().parse()?;
        let connect = Scripted {
            script: Arc::clone(&self.script),
            rival: Arc::clone(&self.rival),
            clock_ahead_ms: self.clock_ahead_ms,
        };
        let (storage, ownership) = (Arc::clone(&self.storage), self.ownership.clone());
        let asked = job.backup_type.unwrap();
        Ok(Box::new(BackupWork::new(config, asked, Arc::new(connect), storage, ownership)))
    }
}

const CONFIG: &str = r#"
aerospike-clusters: {c: {seed-nodes: [{host-name: 127.0.0.1, port: 1}]}}
storage: {s: {local-storage: {path: /nowhere}}}
backup-policies: {p: {clock-skew-margin: 1, retry-policy: {base-timeout: 1, multiplier: 1, max-retries: 2}}}
backup-routines: {r: {source-cluster: c, storage: s, backup-policy: p, interval-cron: "@daily", namespaces: []}}
"#;

fn instance(name: &str) -> Ownership {
    let id = InstanceId::parse(name).unwrap();
    Ownership::new(id, None, Arc::new(SystemClock), OwnerTimes::default())
}

struct Bench {
    _dir: tempfile::TempDir,
    storage: Arc<dyn Storage>,
    ownership: Ownership,
    script: Script,
    rival: Rival,
    jobs: Jobs,
    config: JobConfig,
}

impl Bench {
    async fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let clock: SharedClock = Arc::new(SystemClock);
        let storage: Arc<dyn Storage> = Arc::new(LocalStorage::create(dir.path().join("b")).await.unwrap());
        let ownership = instance("this");
        let store = Store::open(Path::new(&dir.path().join("state")), &clock).await.unwrap();
        let config = Config::parse(CONFIG, "test.yaml", clock.now()).unwrap();
        let config = config.routine("r", clock.now()).unwrap().job;
        let jobs = Jobs::new(store, clock, Vec::new(), Arc::new(crate::jobs::follow::Nothing));
        Self {
            _dir: dir,
            storage,
            ownership,
            script: Script::default(),
            rival: Rival::default(),
            jobs,
            config,
        }
    }

    fn fails(&self, namespace: &str, errors: Vec<Error>) {
        self.script.lock().unwrap().insert(namespace.to_owned(), errors);
    }

    /// Runs one job to its end.
    async fn run(&self, clock_ahead_ms: i64, change: impl FnOnce(&mut NewJob)) -> JobRow {
        let mut job = NewJob {
            backup_type: Some(BackupType::Full),
            routine: Some("r".to_owned()),
            cluster: Some("c".to_owned()),
            storage: Some("s".to_owned()),
            config: Some(Document::of(&self.config).unwrap()),
            ..NewJob::of(JobKind::Backup, Trigger::Api)
        };
        change(&mut job);
        let id = self.jobs.admit(job).await.unwrap().id;
        let factory = Factory {
            storage: Arc::clone(&self.storage),
            ownership: self.ownership.clone(),
            script: Arc::clone(&self.script),
            rival: Arc::clone(&self.rival),
            clock_ahead_ms,
        };
        run_to_end(&self.jobs, Arc::new(factory), id).await
    }

    async fn history(&self) -> History {
        History::read(self.storage.as_ref(), "r", &BTreeSet::new()).await.unwrap()
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

/// The `.asb` files of the routine.
async fn data_files(bench: &Bench) -> usize {
    let listed = bench.storage.list("r").await.unwrap();
    listed.iter().filter(|object| object.key.ends_with(DATA_SUFFIX)).count()
}

#[tokio::test]
async fn another_instance_may_not_write_until_it_has_adopted_the_folder() {
    // rules.md 5.5
    let mut bench = Bench::new().await;
    assert_eq!(bench.run(0, |_| {}).await.status, JobStatus::Succeeded);
    let files = data_files(&bench).await;
    bench.ownership = instance("copy");
    let job = bench.run(0, |_| {}).await;
    assert_eq!((job.status, job.error_code.as_deref()), (JobStatus::Failed, Some("routine-owned")));
    let text = job.error.unwrap();
    assert!(text.contains("instance this") && text.contains("instance copy"), "{text}");
    assert!(bench.jobs.store().attempts(job.id).await.unwrap().is_empty(), "nothing was begun");
    assert_eq!(data_files(&bench).await, files);
    assert_eq!(bench.history().await.namespaces().len(), 2, "reading needs no owner");

    bench.ownership.adopt(bench.storage.as_ref(), "r").await.unwrap();
    assert_eq!(bench.run(0, |_| {}).await.status, JobStatus::Succeeded);
    bench.ownership = instance("this");
    assert_eq!(bench.run(0, |_| {}).await.error_code.as_deref(), Some("routine-owned"));
}

#[tokio::test]
async fn a_folder_adopted_during_a_run_gets_no_commit_and_loses_nothing() {
    // rules.md 5.5: checked before each commit and each deletion.
    let bench = Bench::new().await;
    for failing in [false, true] {
        bench.ownership.adopt(bench.storage.as_ref(), "r").await.unwrap();
        let (files, committed) = (data_files(&bench).await, bench.history().await.members("ns1").0.len());
        *bench.rival.lock().unwrap() = Some(("ns1", instance("rival")));
        if failing {
            bench.fails("ns1", vec![Error::temporary("test", "broken after the folder was adopted")]);
        }
        let job = bench.run(0, |job| job.namespaces = Some(vec!["ns1".to_owned()])).await;
        assert_eq!((job.status, job.error_code.as_deref()), (JobStatus::Failed, Some("routine-owned")));
        let attempts = bench.jobs.store().attempts(job.id).await.unwrap();
        assert_eq!(attempts.len(), 1, "it is not tried again");
        assert_eq!(attempts[0].status, AttemptStatus::Unknown, "left for whoever owns the folder");
        assert!(job.warnings.iter().any(|warning| warning.code == "leftover"), "{:?}", job.warnings);
        assert_eq!(bench.history().await.members("ns1").0.len(), committed, "nothing was committed");
        assert_eq!(data_files(&bench).await, files + 1, "nothing was removed");
    }
}
