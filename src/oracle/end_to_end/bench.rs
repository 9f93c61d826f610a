//! The real work of backups and restores on a real store and a real disk; what is scripted is when reading fails and
//! what the application does meanwhile.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use futures_util::future::BoxFuture;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use super::application::{Application, MARGIN_MS, NAMESPACES, SET, USER_KEY, VOID_TIME, sandbox};
use crate::backup::BackupWork;
use crate::catalog::{History, OwnerTimes, Ownership};
use crate::clock::{SharedClock, SystemClock};
use crate::config::{
    ClusterConfig, Config, IncrMode, JobConfig, RestoreConfig, RestoreTimestampRequest, from_json,
};
use crate::engine::aerospike::AerospikeConnect;
use crate::engine::{ClusterFacts, Connect, Destination, NamespaceRead, ReadReport, Source, Watch};
use crate::error::{Error, Result};
use crate::jobs::{Jobs, NewJob, Observer, Runner, RunnerOptions, Transition, Work, WorkFactory};
use crate::model::{BackupType, InstanceId, JobKind, UnixMillis};
use crate::oracle::judge::Scan;
use crate::restore::RestoreWork;
use crate::sandbox::Sandbox;
use crate::storage::{LocalStorage, Storage};
use crate::store::{Document, JobId, JobRow, Store, Trigger};
use crate::tasks::Scope;

pub(super) const ROUTINE: &str = "hourly";

/// How long a job may take: it finds a hang, and is no measure of speed.
const PATIENCE: Duration = Duration::from_mins(2);

/// What happens while one namespace is read.
#[derive(Debug, Clone, Default)]
pub(super) struct ReadScript {
    /// Changes before the scan, while it goes on, and between its end and the commit.
    pub changes: [usize; 3],
    /// An incremental of the routine runs beside it, before the scan.
    pub incremental_beside: bool,
    /// It fails: before the scan, or after it.
    pub fails: Option<When>,
    /// What fails may pass: it is tried again at once.
    pub may_pass: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum When {
    Before,
    After,
}

/// What happens at the next reads of each namespace.
type Script = Arc<Mutex<BTreeMap<String, Vec<ReadScript>>>>;

/// Wakes who waits for the end of a job.
#[derive(Default)]
struct Ear {
    ended: Mutex<BTreeSet<JobId>>,
    heard: Notify,
}

impl Observer for Ear {
    fn on_transition(&self, transition: &Transition) {
        if transition.to.is_terminal() {
            self.ended.lock().unwrap().insert(transition.job);
            self.heard.notify_waiters();
        }
    }
}

/// Admits jobs and waits for their ends; cheap to clone.
#[derive(Clone)]
pub(super) struct Desk {
    jobs: Jobs,
    ear: Arc<Ear>,
    config: Arc<Config>,
    job_config: Arc<JobConfig>,
    /// Changes the mode of incrementals from one to the next.
    modes: Arc<AtomicU64>,
}

impl Desk {
    /// Runs a job to its end.
    async fn run(&self, job: NewJob) -> JobRow {
        let id = self.jobs.admit(job).await.unwrap().id;
        let ended = async {
            loop {
                let heard = self.ear.heard.notified();
                if self.ear.ended.lock().unwrap().contains(&id) {
                    return;
                }
                heard.await;
            }
        };
        tokio::time::timeout(PATIENCE, ended).await.expect("the job ends");
        self.jobs.store().job(id).await.unwrap().unwrap()
    }

    /// Runs a backup; `again` is `created` and namespaces of a run that goes on.
    pub(super) async fn back_up(
        &self,
        backup_type: BackupType,
        sealed: bool,
        beside: bool,
        again: Option<(UnixMillis, Vec<String>)>,
    ) -> JobRow {
        let mut config = JobConfig::clone(&self.job_config);
        config.policy.sealed = sealed;
        if self.modes.fetch_add(1, Ordering::SeqCst).is_multiple_of(3) {
            config.policy.incr_mode = IncrMode::Cumulative;
        }
        let (created, namespaces) = again.map_or((None, None), |(at, names)| (Some(at), Some(names)));
        let trigger = if created.is_some() { Trigger::Recovery } else { Trigger::Api };
        self.run(NewJob {
            backup_type: Some(backup_type),
            routine: Some(ROUTINE.to_owned()),
            cluster: Some("source".to_owned()),
            storage: Some("disk".to_owned()),
            namespaces,
            concurrent: beside,
            created,
            config: Some(Document::of(&config).unwrap()),
            ..NewJob::of(JobKind::Backup, trigger)
        })
        .await
    }

    /// Runs a restore; `more` is laid over the request.
    pub(super) async fn restore(&self, at: i64, namespaces: &[String], request: RestoreOptions) -> JobRow {
        let mut body = json!({
            "routine": ROUTINE,
            "time": at,
            "destination-name": "target",
            "namespaces": namespaces,
            "disable-reordering": request.disable_reordering,
            "policy": {"parallel": 2},
        });
        if request.unique {
            body["policy"]["unique"] = json!(true);
        }
        if request.replace {
            body["policy"]["replace"] = json!(true);
        }
        body["policy"]["no-generation"] = json!(request.no_generation);
        let now = self.jobs.clock().now();
        let parsed: RestoreTimestampRequest =
            from_json(body.to_string().as_bytes(), now).unwrap_or_else(|problems| panic!("{problems}"));
        let config = self.config.resolve_restore_timestamp(&parsed);
        let config = config.unwrap_or_else(|problems| panic!("{problems}"));
        let named = (!namespaces.is_empty()).then(|| namespaces.to_vec());
        self.run(NewJob {
            routine: Some(ROUTINE.to_owned()),
            storage: config.source.name.clone(),
            config: Some(Document::of(&config).unwrap()),
            ..NewJob::restore(config.destination.name.clone(), named)
        })
        .await
    }
}

/// What a restore is asked for.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct RestoreOptions {
    pub unique: bool,
    pub replace: bool,
    pub no_generation: bool,
    pub disable_reordering: bool,
}

/// What a routine keeps of the records; the same for all of a sequence.
#[derive(Debug, Clone, Default)]
pub(super) struct Kept {
    /// `bin-list`, and what is compared beside bins; none: all.
    pub bins: Option<BTreeSet<Vec<u8>>>,
    /// `filter-exp`: only records that have this bin.
    pub with_bin: Option<Vec<u8>>,
}

impl Kept {
    fn of(seed: u64) -> Self {
        let names = |list: &[&[u8]]| list.iter().map(|name| name.to_vec()).collect();
        match seed % 6 {
            1 => Self { bins: Some(names(&[b"a", b"b", VOID_TIME, SET, USER_KEY])), with_bin: None },
            3 => Self { bins: None, with_bin: Some(b"a".to_vec()) },
            5 => Self {
                bins: Some(names(&[b"b", b"c", VOID_TIME, SET, USER_KEY])),
                with_bin: Some(b"a".to_vec()),
            },
            _ => Self::default(),
        }
    }

    /// As options of the routine.
    fn write_into(&self, routine: &mut Value) {
        if let Some(bins) = &self.bins {
            let listed = bins.iter().filter(|name| !name.starts_with(b"\0"));
            let listed: Vec<_> = listed.map(|name| String::from_utf8_lossy(name)).collect();
            routine["bin-list"] = json!(listed);
        }
        if let Some(bin) = &self.with_bin {
            // bin_type(bin) != 0
            let name = [&[0xA0 | bin.len() as u8], bin.as_slice()].concat();
            let packed = [&[0x93, 2, 0x92, 82], name.as_slice(), &[0]].concat();
            routine["filter-exp"] = json!(base64_simd::STANDARD.encode_to_string(packed));
        }
    }
}

/// A service in small.
pub(super) struct Bench {
    pub kept: Kept,
    pub application: Application,
    pub target: Arc<Sandbox>,
    /// What the target's clock adds to ours.
    pub target_ahead_ms: i64,
    pub storage: Arc<dyn Storage>,
    pub desk: Desk,
    script: Script,
    runner: Runner,
    tasks: Scope,
    _dir: TempDir,
}

impl Bench {
    pub(super) async fn start(seed: u64) -> Self {
        let application = Application::start(seed).await;
        let target_ahead_ms = [0, 2_000, -2_500][application.below(3)];
        let target = Arc::new(sandbox(&application.clock.ahead(target_ahead_ms), "target").await);
        let dir = tempfile::tempdir().unwrap();
        let clock: SharedClock = Arc::new(application.clock.clone());
        let backups = dir.path().join("backups");
        let storage: Arc<dyn Storage> = Arc::new(LocalStorage::create(&backups).await.unwrap());
        let state_dir = dir.path().join("state");
        let store = Store::open(&state_dir, &clock).await.unwrap();
        let seed_of =
            |sandbox: &Sandbox| json!([{"host-name": "127.0.0.1", "port": sandbox.address().port()}]);
        let kept = Kept::of(seed);
        let mut config = json!({
            "aerospike-clusters": {
                "source": {"seed-nodes": seed_of(&application.sandbox)},
                "target": {"seed-nodes": seed_of(&target)},
            },
            "storage": {"disk": {"local-storage": {"path": backups}}},
            "backup-policies": {"quick": {
                "parallel": 4, "parallel-write": 2, "clock-skew-margin": MARGIN_MS,
                "retry-policy": {"base-timeout": 1, "multiplier": 1, "max-retries": 1},
                "compression": {"mode": if seed.is_multiple_of(2) { "ZSTD" } else { "NONE" }},
            }},
            "backup-routines": {ROUTINE: {
                "source-cluster": "source", "storage": "disk", "backup-policy": "quick",
                "namespaces": NAMESPACES, "interval-cron": "0 0 0 29 2 ?",
            }},
        });
        kept.write_into(&mut config["backup-routines"][ROUTINE]);
        let config = Config::parse(&config.to_string(), "test", clock.now());
        let config = config.unwrap_or_else(|problems| panic!("{problems}"));
        let job_config = config.routine(ROUTINE, clock.now()).unwrap().job;
        let ear = Arc::new(Ear::default());
        let follow = Arc::new(crate::jobs::follow::Nothing);
        let jobs = Jobs::new(store, Arc::clone(&clock), vec![Arc::clone(&ear) as _], follow);
        let desk = Desk {
            jobs: jobs.clone(),
            ear,
            config: Arc::new(config),
            job_config: Arc::new(job_config),
            modes: Arc::new(AtomicU64::new(seed)),
        };
        let script = Script::default();
        let factory = Factory {
            connect: Arc::new(Scripted {
                real: AerospikeConnect::new(clock),
                application: application.clone(),
                script: Arc::clone(&script),
                desk: desk.clone(),
            }),
            storage: Arc::clone(&storage),
            state_dir,
        };
        let options = RunnerOptions {
            owner: "test".to_owned(),
            max_running_jobs: 8,
            memory: crate::memory::Budget::default(),
        };
        let runner = Runner::new(jobs, Arc::new(factory), options);
        let mut tasks = Scope::new(&CancellationToken::new());
        tasks.spawn("runner", {
            let runner = runner.clone();
            async move { runner.run().await }
        });
        Self { kept, application, target, target_ahead_ms, storage, desk, script, runner, tasks, _dir: dir }
    }

    /// What happens at the next reads of a namespace, the next one first.
    pub(super) fn script(&self, namespace: &str, mut reads: Vec<ReadScript>) {
        reads.reverse();
        self.script.lock().unwrap().insert(namespace.to_owned(), reads);
    }

    /// What storage has.
    pub(super) async fn history(&self) -> History {
        History::read(self.storage.as_ref(), ROUTINE, &BTreeSet::new()).await.unwrap()
    }

    pub(super) async fn stop(self) {
        self.runner.stop(Duration::ZERO).await;
        self.tasks.join().await.unwrap();
        self.desk.jobs.store().close().await.unwrap();
    }
}

struct Factory {
    connect: Arc<dyn Connect>,
    storage: Arc<dyn Storage>,
    state_dir: PathBuf,
}

impl WorkFactory for Factory {
    fn work(&self, job: &JobRow) -> Result<Box<dyn Work>> {
        let (document, connect) = (job.config.as_ref().unwrap(), Arc::clone(&self.connect));
        let storage = Arc::clone(&self.storage);
        if job.kind == JobKind::Backup {
            let id = InstanceId::parse("oracle").unwrap();
            let ownership = Ownership::new(id, None, Arc::new(SystemClock), OwnerTimes::default());
            let asked = job.backup_type.unwrap();
            return Ok(Box::new(BackupWork::new(document.parse()?, asked, connect, storage, ownership)));
        }
        let config: RestoreConfig = document.parse()?;
        Ok(Box::new(RestoreWork::new(config, connect, storage, self.state_dir.clone())))
    }
}

/// The real connection; reads of namespaces go by the script.
#[derive(Clone)]
struct Scripted {
    real: AerospikeConnect,
    application: Application,
    script: Script,
    desk: Desk,
}

#[async_trait]
impl Connect for Scripted {
    async fn source(&self, cluster: &ClusterConfig) -> Result<Arc<dyn Source>> {
        Ok(Arc::new(ScriptedSource { real: self.real.source(cluster).await?, with: self.clone() }))
    }

    async fn destination(&self, cluster: &ClusterConfig) -> Result<Arc<dyn Destination>> {
        self.real.destination(cluster).await
    }
}

struct ScriptedSource {
    real: Arc<dyn Source>,
    with: Scripted,
}

#[async_trait]
impl Source for ScriptedSource {
    async fn facts(&self) -> Result<ClusterFacts> {
        self.real.facts().await
    }

    async fn read(
        &self,
        read: &NamespaceRead,
        storage: Arc<dyn Storage>,
        folder: &str,
        watch: Arc<dyn Watch>,
        cancel: &CancellationToken,
    ) -> Result<ReadReport> {
        let application = &self.with.application;
        let next = self.with.script.lock().unwrap().get_mut(&read.namespace).and_then(Vec::pop);
        let script = next.unwrap_or_default();
        let [before, during, after] = script.changes;
        application.change(before);
        if script.incremental_beside {
            let desk = self.with.desk.clone();
            // Boxed: a read that runs a job that reads.
            let beside: BoxFuture<'_, JobRow> =
                Box::pin(async move { desk.back_up(BackupType::Incremental, false, true, None).await });
            let row = beside.await;
            application.inner().beside += 1;
            application.log(format!("beside: {:?} {:?} {:?}", row.status, row.reason_code, row.result));
        }
        fail(&script, When::Before)?;
        let from = application.now();
        let work = async {
            let report = self.real.read(read, storage, folder, watch, cancel).await;
            (report, application.now())
        };
        let writes = async {
            for _ in 0..during {
                tokio::time::sleep(Duration::from_millis(application.below(6) as u64)).await;
                application.change(1);
            }
        };
        let ((report, until), ()) = tokio::join!(work, writes);
        let (lower, upper) = (read.modified_from.map(|at| at.0), read.modified_until.map(|at| at.0));
        application.inner().scans.insert(folder.to_owned(), Scan { from, until, lower, upper });
        application.log(format!("read {folder} {:?}", Scan { from, until, lower, upper }));
        application.change(after);
        fail(&script, When::After)?;
        report
    }
}

fn fail(script: &ReadScript, when: When) -> Result<()> {
    match script.fails {
        Some(fails) if fails == when && script.may_pass => {
            Err(Error::temporary("test", "scripted, may pass"))
        }
        Some(fails) if fails == when => Err(Error::permanent("test", "scripted")),
        _ => Ok(()),
    }
}
