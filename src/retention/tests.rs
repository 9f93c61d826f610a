//! The job on real storage and a real store, with faults, pins and interruptions.

mod copies;
mod deletion;
mod sequences;

use std::collections::BTreeSet;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;

use super::{DeletionRequest, HELD_BACK, RetentionWork, View, plan_deletion, resume, view};
use crate::catalog::testkit::Backup;
use crate::catalog::{History, OwnerTimes, Ownership};
use crate::clock::{ManualClock, SharedClock, SystemClock};
use crate::config::{Config, JobConfig, KeepTiers, RetentionConfig};
use crate::copy::CopyWork;
use crate::error::Result;
use crate::jobs::{Jobs, NewJob, Runner, RunnerOptions, Settle, Settled, Work, WorkFactory};
use crate::model::{BackupType, InstanceId, JobKind, JobStatus, UnixMillis};
use crate::storage::faulty::{Fault, Faulty, Op};
use crate::storage::{LocalStorage, Storage, address};
use crate::store::{AttemptRow, AttemptStart, Document, JobId, JobRow, Store, Trigger};
use crate::tasks::Scope;

const T: i64 = 1_700_000_000_000;

const CONFIG: &str = r#"
aerospike-clusters: {c: {seed-nodes: [{host-name: 127.0.0.1, port: 1}]}}
storage: {s: {local-storage: {path: /nowhere}}}
backup-policies: {p: {retention: {full: 1}}}
backup-routines: {r: {source-cluster: c, storage: s, backup-policy: p, interval-cron: "@daily", namespaces: []}}
"#;

struct Bench {
    dir: TempDir,
    storage: Faulty,
    /// Where copies go, if the routine has any.
    vault: Faulty,
    clock: ManualClock,
    jobs: Jobs,
    config: JobConfig,
}

struct Factory {
    storage: Faulty,
    vault: Faulty,
    ownership: Ownership,
}

impl WorkFactory for Factory {
    fn work(&self, job: &JobRow) -> Result<Box<dyn Work>> {
        let (own, vault) = (Arc::new(self.storage.clone()), Arc::new(self.vault.clone()));
        let document = job.config.as_ref().unwrap();
        if job.kind == JobKind::Copy {
            let request = job.request.as_ref().unwrap().parse()?;
            return Ok(Box::new(CopyWork::new(document.parse()?, request, own, vault, &self.ownership)));
        }
        let config: JobConfig = document.parse()?;
        let storage = if config.of_copies { vault } else { own };
        Ok(Box::new(RetentionWork::new(config, storage, self.ownership.clone())))
    }
}

struct Unknown;

#[async_trait]
impl Settle for Unknown {
    async fn settle(&self, _: &JobRow, _: &AttemptRow) -> Settled {
        Settled::Unknown
    }
}

async fn open(dir: &TempDir, clock: &ManualClock) -> Jobs {
    let shared: SharedClock = Arc::new(clock.clone());
    let store = Store::open(&dir.path().join("state"), &shared).await.unwrap();
    Jobs::new(store, shared, Vec::new(), Arc::new(crate::jobs::follow::Nothing))
}

fn instance(name: &str) -> Ownership {
    Ownership::new(InstanceId::parse(name).unwrap(), None, Arc::new(SystemClock), OwnerTimes::default())
}

fn keeps(full: u32, incremental: Option<u32>) -> RetentionConfig {
    RetentionConfig::counts(Some(full), incremental)
}

impl Bench {
    async fn new(retention: RetentionConfig) -> Self {
        let dir = TempDir::new().unwrap();
        let clock = ManualClock::at(UnixMillis(T + 10_000_000));
        let create =
            async |name| Faulty::new(Arc::new(LocalStorage::create(dir.path().join(name)).await.unwrap()));
        let (storage, vault) = (create("backups").await, create("vault").await);
        let config = Config::parse(CONFIG, "test.yaml", UnixMillis(T)).unwrap();
        let mut config = config.routine("r", UnixMillis(T)).unwrap().job;
        config.policy.retention = Some(retention);
        let jobs = open(&dir, &clock).await;
        Self { dir, storage, vault, clock, jobs, config }
    }

    fn store(&self) -> &Store {
        self.jobs.store()
    }

    fn runner(&self) -> Runner {
        let options = RunnerOptions {
            owner: "test".to_owned(),
            max_running_jobs: 1,
            memory: crate::memory::Budget::default(),
        };
        let (storage, vault) = (self.storage.clone(), self.vault.clone());
        let factory = Factory { storage, vault, ownership: instance("ours") };
        Runner::new(self.jobs.clone(), Arc::new(factory), options)
    }

    async fn admit(&self, namespaces: Option<&[&str]>) -> JobId {
        self.admit_with(&self.config, namespaces).await
    }

    async fn admit_with(&self, config: &JobConfig, namespaces: Option<&[&str]>) -> JobId {
        let job = NewJob {
            routine: Some("r".to_owned()),
            storage: config.storage.name.clone(),
            namespaces: namespaces.map(|names| names.iter().map(|name| (*name).to_owned()).collect()),
            config: Some(Document::of(config).unwrap()),
            ..NewJob::of(JobKind::Retention, Trigger::Api)
        };
        self.jobs.admit(job).await.unwrap().id
    }

    async fn admit_deletion(&self, request: &DeletionRequest) -> JobId {
        let job = NewJob {
            routine: Some("r".to_owned()),
            storage: Some("s".to_owned()),
            request: Some(Document::of(request).unwrap()),
            config: Some(Document::of(&self.config).unwrap()),
            ..NewJob::of(JobKind::Retention, Trigger::Api)
        };
        self.jobs.admit(job).await.unwrap().id
    }

    /// Runs what waits until no retention and no copy is open.
    async fn settle(&self) {
        let runner = self.runner();
        let ended = async {
            while self.retention_open().await {
                tokio::time::sleep(std::time::Duration::from_millis(2)).await;
            }
            runner.stop(std::time::Duration::ZERO).await;
        };
        tokio::join!(runner.run(), ended).0.unwrap();
    }

    async fn retention_open(&self) -> bool {
        let open = self.store().open_jobs("r").await.unwrap();
        open.iter().any(|job| [JobKind::Retention, JobKind::Copy].contains(&job.kind))
    }

    async fn run_on(&self, namespaces: Option<&[&str]>) -> JobRow {
        let id = self.admit(namespaces).await;
        self.settle().await;
        self.store().job(id).await.unwrap().unwrap()
    }

    async fn run(&self) -> JobRow {
        self.run_on(None).await
    }

    /// The process ends without a word, and another one starts.
    async fn restarted(mut self) -> Self {
        self.store().close().await.unwrap();
        self.jobs = open(&self.dir, &self.clock).await;
        self.jobs.recover(&Unknown, &|_| false).await.unwrap();
        self
    }

    async fn view(&self) -> View {
        view(self.store(), &self.storage, &self.config, self.clock.now_ms()).await.unwrap()
    }

    async fn history(&self) -> History {
        let marked = self.store().marked(&self.storage.describe()).await.unwrap();
        History::read(&self.storage, "r", &marked).await.unwrap()
    }

    /// The keys of what storage holds.
    async fn keys(&self) -> BTreeSet<String> {
        keys_in(&self.storage).await
    }

    async fn pin(&self, addresses: &[String]) -> JobId {
        // Not due: it never runs, and holds its pins.
        let job = NewJob {
            routine: Some("other".to_owned()),
            due: Some(self.clock.now_ms().plus_ms(1_000_000_000)),
            pins: addresses.to_vec(),
            ..NewJob::of(JobKind::Verify, Trigger::Api)
        };
        self.jobs.admit(job).await.unwrap().id
    }

    fn at(&self, key: &str) -> String {
        address(&self.storage.describe(), key)
    }
}

async fn keys_in(storage: &Faulty) -> BTreeSet<String> {
    let history = History::read(storage, "r", &BTreeSet::new()).await.unwrap();
    let all = history.full.all().iter().chain(history.incremental.all());
    all.map(|entry| entry.key.clone()).collect()
}

trait NowMs {
    fn now_ms(&self) -> UnixMillis;
}

impl NowMs for ManualClock {
    fn now_ms(&self) -> UnixMillis {
        use crate::clock::Clock;
        self.now()
    }
}

fn full(at: i64) -> Backup {
    Backup::full(T + at * 10_000, "a").files(1)
}

fn incremental(at: i64, from: i64) -> Backup {
    Backup::incremental(T + at * 10_000, T + from * 10_000, "a").files(1)
}

/// Three fulls with one incremental each: 1, 2; 3, 4; 5, 6.
async fn three(storage: &Faulty) -> Vec<Backup> {
    let all = vec![full(1), incremental(2, 1), full(3), incremental(4, 3), full(5), incremental(6, 5)];
    for backup in &all {
        backup.write(storage).await;
    }
    all
}

fn keys_of(backups: &[&Backup]) -> BTreeSet<String> {
    backups.iter().map(|backup| backup.folder()).collect()
}

#[tokio::test]
async fn what_goes_is_what_the_dry_run_said_with_empty_folders_and_configuration() {
    let bench = Bench::new(keeps(1, None)).await;
    let all = three(&bench.storage).await;
    for run in [&all[0], &all[4]] {
        bench.storage.put(&run.run.configuration_file(0), Bytes::from("x")).await.unwrap();
    }
    let said = bench.view().await;
    assert_eq!((said.totals.stays, said.totals.goes), (2, 4));
    let job = bench.run().await;
    assert_eq!(job.status, JobStatus::Succeeded, "{:?}", job.error);
    assert_eq!(bench.keys().await, keys_of(&[&all[4], &all[5]]));
    let order: Vec<String> = serde_json::from_value(job.result.unwrap()["deleted"].clone()).unwrap();
    assert_eq!(order, [&all[3], &all[1], &all[2], &all[0]].map(Backup::folder));
    let counters = job.counters.unwrap();
    assert_eq!(counters["deleted-backups"], 4);
    assert_eq!(counters["deleted-bytes"], said.totals.goes_bytes);
    let runs = bench.storage.list_dirs("r/backup").await.unwrap();
    assert_eq!(runs, [all[4].run.name.clone()], "empty runs go, with their configuration");
    assert!(bench.storage.head(&all[4].run.configuration_file(0)).await.unwrap().is_some());
    assert!(bench.store().deletions().await.unwrap().is_empty());
}

/// rules.md 5.5
#[tokio::test]
async fn what_another_instance_owns_is_neither_marked_nor_deleted() {
    let bench = Bench::new(keeps(1, None)).await;
    let all = three(&bench.storage).await;
    let rival = instance("rival");
    rival.ensure(&bench.storage, "r").await.unwrap();
    let job = bench.run().await;
    assert_eq!(job.error_code.as_deref(), Some("routine-owned"));
    assert_eq!(bench.keys().await.len(), all.len());
    assert!(bench.store().deletions().await.unwrap().is_empty(), "nothing is marked");

    // Asked before each deletion: at the start, before the first write, before the first deletion, before the second.
    instance("ours").adopt(&bench.storage, "r").await.unwrap();
    bench.storage.fail(Fault { key_contains: "holdfast-owner", ..Fault::nth(Op::Get, 4) });
    let job = bench.run().await;
    assert_eq!(job.error_code.as_deref(), Some("storage-io"), "{job:?}");
    assert_eq!(bench.keys().await.len(), all.len() - 1);
    assert_eq!(bench.store().deletions().await.unwrap().len(), 3);

    rival.adopt(&bench.storage, "r").await.unwrap();
    let job = bench.run().await;
    assert_eq!(job.error_code.as_deref(), Some("routine-owned"));
    assert_eq!(
        bench.keys().await.len(),
        all.len() - 1,
        "what was marked before is not ours to delete any more"
    );
}

/// rules.md 5.1
#[tokio::test]
async fn a_damaged_full_that_stays_keeps_everything() {
    let bench = Bench::new(keeps(2, None)).await;
    let all = three(&bench.storage).await;
    let file = format!("{}/0_a_1.asb", all[2].folder());
    bench.storage.put(&file, Bytes::from("short")).await.unwrap();
    let before = bench.keys().await;
    let said = bench.view().await;
    assert_eq!(said.problems.len(), 1);
    assert_eq!((said.problems[0].code, &said.problems[0].backup), ("kept-full-damaged", &all[2].folder()));
    let job = bench.run().await;
    assert_eq!(job.error_code.as_deref(), Some("kept-full-damaged"));
    assert_eq!(bench.keys().await, before);
    assert!(bench.store().deletions().await.unwrap().is_empty(), "nothing is marked");
}

#[tokio::test]
async fn doubt_about_storage_deletes_nothing() {
    let bench = Bench::new(keeps(1, None)).await;
    three(&bench.storage).await;
    let before = bench.keys().await;
    for (op, nth, code) in [
        (Op::ListDirs, 1, "storage-io"),
        (Op::ListDirs, 3, "backup-unreadable"),
        // Whose the folder is.
        (Op::Get, 1, "storage-io"),
        (Op::Get, 2, "backup-unreadable"),
        (Op::Head, 2, "backup-unreadable"),
        // The manifest and the files of the full that stays.
        (Op::Get, 14, "storage-io"),
        (Op::List, 1, "storage-io"),
    ] {
        bench.storage.fail(Fault::nth(op, nth));
        let job = bench.run().await;
        bench.storage.heal();
        assert_eq!(job.error_code.as_deref(), Some(code), "{op:?} {nth}: {:?}", job.error);
        assert_eq!(bench.keys().await, before, "{op:?} {nth}");
        assert!(bench.store().deletions().await.unwrap().is_empty());
    }
}

/// rules.md 5.3
#[tokio::test]
async fn a_deletion_that_was_cut_off_is_out_of_every_chain_and_finished() {
    let mut bench = Bench::new(keeps(1, None)).await;
    let all = three(&bench.storage).await;
    bench.storage.fail(Fault { always: true, ..Fault::nth(Op::DeletePrefix, 2) });
    let job = bench.run().await;
    assert_eq!(job.error_code.as_deref(), Some("storage-io"));
    assert_eq!(job.counters.unwrap()["deleted-backups"], 0, "its configuration folder was not deleted");
    assert!(bench.keys().await.contains(&all[0].folder()), "still there");
    assert_eq!(bench.store().deletions().await.unwrap().len(), 4);
    let history = bench.history().await;
    let (entries, members) = history.members("a");
    let offered: BTreeSet<String> = entries
        .iter()
        .zip(&members)
        .filter(|(_, member)| member.is_usable())
        .map(|(entry, _)| entry.key.clone())
        .collect();
    assert_eq!(offered, keys_of(&[&all[4], &all[5]]));

    bench.storage.heal();
    // The policy has been taken back meanwhile: what is marked goes all the same, and nothing else.
    bench.config.policy.retention = None;
    let bench = bench.restarted().await;
    assert_eq!(resume(&bench.jobs).await.unwrap(), 1);
    assert_eq!(resume(&bench.jobs).await.unwrap(), 0, "one is enough");
    bench.settle().await;
    assert_eq!(bench.keys().await, keys_of(&[&all[4], &all[5]]));
    assert!(bench.store().deletions().await.unwrap().is_empty());
    assert_eq!(resume(&bench.jobs).await.unwrap(), 0);
}

/// rules.md 5.4
#[tokio::test]
async fn what_is_pinned_stays_with_what_it_needs_until_its_job_ends() {
    let bench = Bench::new(keeps(1, None)).await;
    let all = three(&bench.storage).await;
    let reader = bench.pin(&[bench.at(&all[1].folder())]).await;
    let said = bench.view().await;
    assert_eq!((said.totals.goes, said.totals.held_back), (2, 1));
    let job = bench.run().await;
    assert_eq!(bench.keys().await, keys_of(&[&all[0], &all[1], &all[4], &all[5]]));
    assert_eq!(job.result.unwrap()[HELD_BACK], 1);
    assert_eq!(job.warnings[0].code, "pinned");
    bench.jobs.cancel(reader).await.unwrap();
    bench.run().await;
    assert_eq!(bench.keys().await, keys_of(&[&all[4], &all[5]]));
}

/// rules.md 5.4: by the place, not by the name that it is configured under.
#[tokio::test]
async fn a_pin_holds_under_every_name_of_the_place() {
    let bench = Bench::new(keeps(1, None)).await;
    let all = three(&bench.storage).await;
    let before = bench.keys().await;
    let inner = LocalStorage::open(bench.dir.path().join("backups/r")).await.unwrap();
    for pin in [
        address(&bench.storage.describe(), "r"),
        address(&bench.storage.describe(), ""),
        // A storage inside of the other, as a restore by path may name it.
        address(&inner.describe(), ""),
    ] {
        let reader = bench.pin(std::slice::from_ref(&pin)).await;
        bench.run().await;
        assert_eq!(bench.keys().await, before, "{pin}");
        bench.jobs.cancel(reader).await.unwrap();
    }
    bench.pin(&[address(&bench.storage.describe(), "r2")]).await;
    bench.run().await;
    assert_eq!(bench.keys().await, keys_of(&[&all[4], &all[5]]));
}

/// An incremental whose end is not settled, or that committed after storage was listed, holds what it builds on.
#[tokio::test]
async fn what_an_incremental_builds_on_stays_without_a_pin() {
    let bench = Bench::new(keeps(1, None)).await;
    let all = three(&bench.storage).await;
    let job = NewJob {
        backup_type: Some(BackupType::Incremental),
        routine: Some("r".to_owned()),
        ..NewJob::of(JobKind::Backup, Trigger::Api)
    };
    let id = bench.jobs.admit(job).await.unwrap().id;
    let mut tx = bench.store().write().await.unwrap();
    tx.start_job(id, "other", bench.clock.now_ms(), bench.clock.now_ms()).await.unwrap();
    let start = AttemptStart {
        namespace: "a".to_owned(),
        folder: incremental(7, 3).folder(),
        storage: "s".to_owned(),
        created: UnixMillis(T + 70_000),
        from: Some(all[2].run.created),
        promoted: None,
    };
    tx.start_attempt(id, 1, &start, bench.clock.now_ms()).await.unwrap();
    tx.commit().await.unwrap();
    bench.run().await;
    assert_eq!(bench.keys().await, keys_of(&[&all[2], &all[4], &all[5]]));
}

/// rules.md 5.1, 5.2
#[tokio::test]
async fn it_goes_by_namespace() {
    let bench = Bench::new(keeps(1, None)).await;
    let all = three(&bench.storage).await;
    let of_b = |backup: &Backup| Backup { namespace: "b".to_owned(), ..backup.clone() }.files(1);
    let (old_b, new_b) = (of_b(&all[0]), of_b(&all[2]));
    for backup in [&old_b, &new_b] {
        backup.write(&bench.storage).await;
    }
    bench.run_on(Some(&["b"])).await;
    let mut expected: BTreeSet<String> = all.iter().map(Backup::folder).collect();
    expected.insert(new_b.folder());
    assert_eq!(bench.keys().await, expected);
    bench.run().await;
    assert_eq!(bench.keys().await, keys_of(&[&all[4], &all[5], &new_b]), "each has its own last full");
}

/// rules.md 5.1: a promoted full goes with the counted one before it.
#[tokio::test]
async fn promoted_fulls_do_not_count() {
    let bench = Bench::new(keeps(1, None)).await;
    let promoted = |at| Backup { promoted: true, ..full(at) };
    let all = [full(1), promoted(2), full(3), incremental(4, 3), promoted(5), incremental(6, 5)];
    for backup in &all {
        backup.write(&bench.storage).await;
    }
    bench.run().await;
    assert_eq!(bench.keys().await, keys_of(&[&all[2], &all[3], &all[4], &all[5]]));
}

#[tokio::test]
async fn incrementals_of_fewer_fulls_may_stay_or_none() {
    for (kept, stay) in [(1, vec![0, 2, 4, 5]), (0, vec![0, 2, 4]), (2, vec![0, 2, 3, 4, 5])] {
        let bench = Bench::new(keeps(3, Some(kept))).await;
        let all = three(&bench.storage).await;
        bench.run().await;
        let stay: Vec<&Backup> = stay.into_iter().map(|place| &all[place]).collect();
        assert_eq!(bench.keys().await, keys_of(&stay), "{kept}");
    }
}

/// The last full with records stays although newer, empty ones are enough.
#[tokio::test]
async fn the_newest_full_with_records_stays() {
    let bench = Bench::new(keeps(1, None)).await;
    let all = [full(1), full(2), full(3).files(0), full(4).files(0)];
    for backup in &all {
        backup.write(&bench.storage).await;
    }
    bench.run().await;
    assert_eq!(bench.keys().await, keys_of(&[&all[1], &all[3]]));
}

/// rules.md 6.1, 6.2: another attempt at what goes must not take its place; what never committed is not ours to remove.
#[tokio::test]
async fn superseded_attempts_go_too_and_uncommitted_folders_stay() {
    let bench = Bench::new(keeps(1, None)).await;
    let all = [full(1), full(1).attempt(2), full(2), full(2).attempt(2)];
    for backup in &all {
        backup.write(&bench.storage).await;
    }
    let unfinished = Backup { namespace: "c".to_owned(), ..full(1) }.files(1);
    unfinished.write_files(&bench.storage).await.finish().await.unwrap();
    bench.storage.put(&all[0].run.configuration_file(0), Bytes::from("x")).await.unwrap();
    bench.run().await;
    assert_eq!(bench.keys().await, keys_of(&[&all[2], &all[3]]));
    assert!(!bench.storage.list(&unfinished.folder()).await.unwrap().is_empty());
    assert!(
        bench.storage.head(&all[0].run.configuration_file(0)).await.unwrap().is_some(),
        "the run is not empty"
    );
}

#[tokio::test]
async fn a_cancel_is_seen_between_deletions() {
    let bench = Bench::new(keeps(1, None)).await;
    three(&bench.storage).await;
    let id = bench.admit(None).await;
    let mut tx = bench.store().write().await.unwrap();
    tx.request_cancel(id, bench.clock.now_ms()).await.unwrap();
    tx.commit().await.unwrap();
    bench.settle().await;
    let job = bench.store().job(id).await.unwrap().unwrap();
    assert!(matches!(job.status, JobStatus::Canceled | JobStatus::Succeeded), "{job:?}");
    // Whenever it was seen, no backup is half gone.
    let deleted = job.counters.unwrap()["deleted-backups"].as_u64().unwrap() as usize;
    assert_eq!(bench.keys().await.len(), 6 - deleted);
}
