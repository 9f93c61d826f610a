//! The job between two storages and a real store, with faults on demand.

mod leaves;
mod plans;

use std::collections::BTreeSet;
use std::sync::Arc;

use tempfile::TempDir;

use super::{CopyJobConfig, CopyRequest, CopyWork, Wanted, copy_job};
use crate::asb::BlockHasher;
use crate::catalog::testkit::Backup;
use crate::catalog::wholeness::{Wholeness, wholeness};
use crate::catalog::{History, OwnerTimes, Ownership};
use crate::clock::{ManualClock, SharedClock, SystemClock};
use crate::config::{Config, JobConfig};
use crate::error::Result;
use crate::jobs::{Jobs, Runner, RunnerOptions, Work, WorkFactory};
use crate::model::{BackupType, InstanceId, JobStatus, UnixMillis};
use crate::storage::faulty::{Fault, Faulty, Op};
use crate::storage::{LocalStorage, Storage, address, join};
use crate::store::{JobId, JobRow, Store, Trigger, VerificationRow, VerifyOutcome};

const T: i64 = 1_700_000_000_000;

const CONFIG: &str = r#"
aerospike-clusters: {c: {seed-nodes: [{host-name: 127.0.0.1, port: 1}]}}
storage: {s: {local-storage: {path: /nowhere}}, other: {local-storage: {path: /elsewhere}}}
backup-routines: {r: {source-cluster: c, storage: s, interval-cron: "@daily", namespaces: [], copies: [{storage: other}]}}
"#;

pub(super) struct Bench {
    _dir: TempDir,
    pub source: Faulty,
    pub target: Faulty,
    pub jobs: Jobs,
    pub config: JobConfig,
}

struct Factory(Faulty, Faulty);

impl WorkFactory for Factory {
    fn work(&self, job: &JobRow) -> Result<Box<dyn Work>> {
        let config: CopyJobConfig = job.config.as_ref().unwrap().parse()?;
        let request: CopyRequest = job.request.as_ref().unwrap().parse()?;
        let (source, target) = (Arc::new(self.0.clone()), Arc::new(self.1.clone()));
        Ok(Box::new(CopyWork::new(config, request, source, target, &instance("ours"))))
    }
}

pub(super) fn instance(name: &str) -> Ownership {
    Ownership::new(InstanceId::parse(name).unwrap(), None, Arc::new(SystemClock), OwnerTimes::default())
}

impl Bench {
    pub(super) async fn new() -> Self {
        let dir = TempDir::new().unwrap();
        let clock: SharedClock = Arc::new(ManualClock::at(UnixMillis(T + 10_000_000)));
        let storage = async |name| {
            let local = LocalStorage::create(dir.path().join(name)).await.unwrap();
            Faulty::new(Arc::new(local))
        };
        let (source, target) = (storage("source").await, storage("target").await);
        let config = Config::parse(CONFIG, "test.yaml", UnixMillis(T)).unwrap();
        let config = config.routine("r", UnixMillis(T)).unwrap().job;
        let store = Store::open(&dir.path().join("state"), &clock).await.unwrap();
        let jobs = Jobs::new(store, clock, Vec::new(), Arc::new(crate::jobs::follow::Nothing));
        Self { _dir: dir, source, target, jobs, config }
    }

    pub(super) fn store(&self) -> &Store {
        self.jobs.store()
    }

    pub(super) async fn admit(&self, request: &CopyRequest) -> JobId {
        let job = copy_job(&self.config, &self.config.copies[0], request, Trigger::Api).unwrap();
        self.jobs.admit(job).await.unwrap().id
    }

    /// Runs the queue until it is empty.
    pub(super) async fn settle(&self) {
        let options = RunnerOptions {
            owner: "test".to_owned(),
            max_running_jobs: 1,
            memory: crate::memory::Budget::default(),
        };
        let factory = Factory(self.source.clone(), self.target.clone());
        let runner = Runner::new(self.jobs.clone(), Arc::new(factory), options);
        let ended = async {
            while !self.store().open_jobs("r").await.unwrap().is_empty() {
                tokio::time::sleep(std::time::Duration::from_millis(2)).await;
            }
            runner.stop(std::time::Duration::ZERO).await;
        };
        tokio::join!(runner.run(), ended).0.unwrap();
    }

    pub(super) async fn run_request(&self, request: &CopyRequest) -> JobRow {
        let id = self.admit(request).await;
        self.settle().await;
        self.store().job(id).await.unwrap().unwrap()
    }

    pub(super) async fn copy(&self, wanted: Wanted) -> JobRow {
        self.run_request(&CopyRequest { wanted, tries: None }).await
    }

    pub(super) async fn copy_run(&self, backup: &Backup, chain: bool) -> JobRow {
        let timestamp = backup.run.created;
        self.copy(Wanted::Run { timestamp, backup_type: None, chain }).await
    }

    /// The keys of what the target lists; each is whole, and every byte of it is the original's.
    pub(super) async fn copied(&self) -> BTreeSet<String> {
        let history = History::read(&self.target, "r", &BTreeSet::new()).await.unwrap();
        let mut keys = BTreeSet::new();
        for entry in history.full.all().iter().chain(history.incremental.all()) {
            let found = wholeness(&self.target, entry).await.unwrap();
            assert!(matches!(found, Wholeness::Whole { .. }), "{} is listed: {found:?}", entry.key);
            for object in self.target.list(&entry.key).await.unwrap() {
                let hash = async |storage: &Faulty| {
                    let bytes = storage.get(&object.key, 1 << 30).await.unwrap();
                    let mut hasher = BlockHasher::new();
                    hasher.update(&bytes.unwrap_or_default());
                    hasher.finish()
                };
                assert_eq!(hash(&self.target).await, hash(&self.source).await, "{}", object.key);
            }
            keys.insert(entry.key.clone());
        }
        keys
    }
}

pub(super) fn keys_of(backups: &[&Backup]) -> BTreeSet<String> {
    backups.iter().map(|backup| backup.folder()).collect()
}

pub(super) fn full(at: i64) -> Backup {
    Backup::full(T + at * 10_000, "a").files(2)
}

pub(super) fn incremental(at: i64, from: i64) -> Backup {
    Backup::incremental(T + at * 10_000, T + from * 10_000, "a").files(2)
}

/// With one file of a few bytes.
fn small(backup: Backup) -> Backup {
    Backup { files: vec![("0_a_1.asb".to_owned(), vec![7; 1000])], ..backup }
}

fn succeeded(job: &JobRow) -> &serde_json::Value {
    assert_eq!(job.status, JobStatus::Succeeded, "{:?} {:?}", job.error, job.warnings);
    job.counters.as_ref().unwrap()
}

/// An incremental goes with what it builds on, the oldest first, and nothing goes twice.
#[tokio::test]
async fn an_incremental_brings_its_missing_ancestors_and_nothing_is_copied_twice() {
    let bench = Bench::new().await;
    let all = [full(1), incremental(2, 1), incremental(3, 2), full(4)];
    for backup in &all {
        backup.write(&bench.source).await;
    }
    bench.source.put(&all[0].run.configuration_file(0), "x".into()).await.unwrap();
    let job = bench.copy_run(&all[0], false).await;
    assert_eq!(succeeded(&job)["copied-backups"], 1);
    assert_eq!(bench.copied().await, keys_of(&[&all[0]]));
    assert!(bench.target.head(&all[0].run.configuration_file(0)).await.unwrap().is_some());

    let job = bench.copy_run(&all[2], false).await;
    let counters = succeeded(&job);
    assert_eq!((&counters["copied-backups"], &counters["already-there"]), (&2.into(), &1.into()));
    let told = job.result.as_ref().unwrap()["backups"].as_array().unwrap().clone();
    let told: Vec<(&str, &str)> =
        told.iter().map(|one| (one["why"].as_str().unwrap(), one["outcome"].as_str().unwrap())).collect();
    assert_eq!(told, [("needed", "already-there"), ("needed", "copied"), ("asked", "copied")]);

    let written = bench.target.calls(Op::Create);
    let job = bench.copy_run(&all[2], true).await;
    assert_eq!(succeeded(&job)["copied-bytes"], 0);
    assert_eq!(bench.target.calls(Op::Create), written, "nothing is written again");
    let job = bench.copy(Wanted::Everything).await;
    assert_eq!(succeeded(&job)["copied-backups"], 1);
    assert_eq!(bench.copied().await, keys_of(&[&all[0], &all[1], &all[2], &all[3]]));
    assert!(bench.store().copying().await.unwrap().is_empty());
}

#[tokio::test]
async fn the_whole_chain_of_a_full_goes_when_it_is_asked_for() {
    let bench = Bench::new().await;
    let all = [full(1), incremental(2, 1), incremental(3, 2), full(4), incremental(5, 4)];
    for backup in &all {
        backup.write(&bench.source).await;
    }
    succeeded(&bench.copy_run(&all[1], true).await);
    assert_eq!(bench.copied().await, keys_of(&[&all[0], &all[1], &all[2]]));
}

/// rules.md 3.11: of a damaged original nothing is published, and nothing stays.
#[tokio::test]
async fn a_damaged_original_is_not_copied() {
    let bench = Bench::new().await;
    let backup = full(1);
    backup.write(&bench.source).await;
    let (name, bytes) = &backup.files[0];
    let mut flipped = bytes.clone();
    flipped[4_200_000 % bytes.len()] ^= 1;
    bench.source.put(&join(&backup.folder(), name), flipped.into()).await.unwrap();
    let job = bench.copy_run(&backup, false).await;
    assert_eq!((job.status, job.error_code.as_deref()), (JobStatus::Failed, Some("backup-damaged")));
    assert!(bench.target.list(&backup.folder()).await.unwrap().is_empty());
    assert!(bench.store().copying().await.unwrap().is_empty());
    // With another size, it is told before anything is written.
    bench.source.put(&join(&backup.folder(), name), "short".into()).await.unwrap();
    let job = bench.copy_run(&backup, false).await;
    assert_eq!(job.error_code.as_deref(), Some("backup-damaged"));
}

/// What the target does not give back as it was written is no copy.
#[tokio::test]
async fn a_copy_that_is_damaged_later_is_mended() {
    let bench = Bench::new().await;
    let backup = full(1);
    backup.write(&bench.source).await;
    succeeded(&bench.copy_run(&backup, false).await);
    bench.target.delete(&join(&backup.folder(), &backup.files[1].0)).await.unwrap();
    let job = bench.copy_run(&backup, false).await;
    assert_eq!(succeeded(&job)["copied-files"], 1, "what is good stays");
    assert!(job.warnings.iter().any(|warning| warning.code == "copy-mended"));
    assert_eq!(bench.copied().await, keys_of(&[&backup]));
}

#[tokio::test]
async fn another_backup_under_the_same_key_is_left_alone() {
    let bench = Bench::new().await;
    let (ours, other) = (full(1), full(1).files(1));
    ours.write(&bench.source).await;
    other.write(&bench.target).await;
    let job = bench.copy_run(&ours, false).await;
    assert_eq!(job.error_code.as_deref(), Some("copy-conflict"));
    let there = bench.target.list(&other.folder()).await.unwrap();
    assert_eq!(there.len(), 4, "{there:?}");
}

/// A backup of another program has no hashes: what was written is compared with what was read.
#[tokio::test]
async fn a_backup_without_a_manifest_is_copied_too() {
    let bench = Bench::new().await;
    let backup = full(1).foreign();
    backup.write(&bench.source).await;
    succeeded(&bench.copy_run(&backup, false).await);
    assert_eq!(bench.copied().await, keys_of(&[&backup]));
    assert_eq!(succeeded(&bench.copy_run(&backup, false).await)["already-there"], 1);
    // Nothing shows that the original is the better one: what a verification found is no reason to write over the copy.
    let mut tx = bench.store().write().await.unwrap();
    tx.set_verification_of_copy(&VerificationRow {
        storage: "other".to_owned(),
        folder: backup.folder(),
        routine: "r".to_owned(),
        backup_type: BackupType::Full,
        namespace: "n".to_owned(),
        created: UnixMillis(1),
        at: UnixMillis(2),
        job_id: JobId(1),
        outcome: VerifyOutcome::Damaged,
        reason: Some("a record is not one".to_owned()),
        records: 0,
        bytes: 0,
    })
    .await
    .unwrap();
    tx.commit().await.unwrap();
    assert_eq!(succeeded(&bench.copy_run(&backup, false).await)["already-there"], 1);
}

/// rules.md 5.5
#[tokio::test]
async fn a_folder_of_another_instance_is_not_written() {
    let bench = Bench::new().await;
    let backup = full(1);
    backup.write(&bench.source).await;
    instance("rival").ensure(&bench.target, "r").await.unwrap();
    let job = bench.copy_run(&backup, false).await;
    assert_eq!(job.error_code.as_deref(), Some("routine-owned"));
    assert!(bench.target.list("r/backup").await.unwrap().is_empty());
}

/// rules.md 5.4: from its admission on what is read is pinned, and while it runs the chain in the target too.
#[tokio::test]
async fn what_is_copied_is_pinned_from_the_admission_on() {
    let bench = Bench::new().await;
    let backup = full(1);
    backup.write(&bench.source).await;
    let request = CopyRequest { wanted: Wanted::Folders(vec![backup.folder()]), tries: Some(0) };
    bench.admit(&request).await;
    let pins = bench.store().write().await.unwrap().pins().await.unwrap();
    let place = bench.config.storage.place();
    assert_eq!(pins.len(), 1);
    assert_eq!(pins[0].address, address(&place, &backup.folder()));
    bench.settle().await;
    assert!(bench.store().write().await.unwrap().pins().await.unwrap().is_empty());
}

/// "Fail the Nth storage call", on either side, before and after its effect: what is listed is whole, and the next job
/// finishes.
#[tokio::test]
async fn whatever_call_fails_nothing_half_made_is_listed() {
    const OPS: [Op; 11] = [
        Op::Put,
        Op::Create,
        Op::Write,
        Op::Finish,
        Op::Get,
        Op::Open,
        Op::Next,
        Op::Head,
        Op::List,
        Op::ListDirs,
        Op::Delete,
    ];
    let mut failed = 0;
    for on_source in [false, true] {
        // What only reads is not asked to write.
        let reads = [Op::Get, Op::Open, Op::Next, Op::List, Op::ListDirs];
        for op in OPS.into_iter().filter(|op| !on_source || reads.contains(op)) {
            // Not each one: the calls between are of the same code.
            for nth in [1, 2, 4, 8, 16] {
                let bench = Bench::new().await;
                let all = [small(full(1)), small(incremental(2, 1))];
                for backup in &all {
                    backup.write(&bench.source).await;
                }
                let storage = if on_source { &bench.source } else { &bench.target };
                let before = storage.calls(op);
                storage.fail(Fault { after: nth % 2 == 0, ..Fault::nth(op, nth) });
                let job = bench.copy_run(&all[1], false).await;
                let made = storage.calls(op) - before;
                storage.heal();
                bench.copied().await;
                if job.status == JobStatus::Failed {
                    failed += 1;
                    let code = job.error_code.as_deref().unwrap();
                    assert!(["storage-io", "backup-unreadable"].contains(&code), "{op:?} {nth}: {code}");
                }
                succeeded(&bench.copy_run(&all[1], false).await);
                assert_eq!(bench.copied().await, keys_of(&[&all[0], &all[1]]), "{op:?} {nth}");
                assert!(bench.store().copying().await.unwrap().is_empty(), "{op:?} {nth}");
                if made < nth {
                    break;
                }
            }
        }
    }
    assert!(failed > 15, "{failed}");
}
