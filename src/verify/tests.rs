//! Verify jobs over backups in real storage, with faults on demand.

use std::collections::BTreeSet;
use std::sync::Arc;

use async_trait::async_trait;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use serde_json::{Value, json};
use tempfile::TempDir;

use super::chains::{Chains, Look};
use super::execute::Verify;
use super::report::Report;
use super::{VerifyPlan, VerifyRequest, VerifyWork};
use crate::asb::{Encoder, Version};
use crate::catalog::testkit::{Backup, storage};
use crate::clock::{SharedClock, SystemClock};
use crate::config::{Config, CopyConfig, CopyOn, JobConfig, StorageConfig};
use crate::engine::ProgressWatch;
use crate::error::{Error, Result};
use crate::jobs::testkit::run_to_end;
use crate::jobs::{Ended, JobContext, Jobs, NewJob, Work, WorkFactory};
use crate::model::{JobKind, JobStatus, UnixMillis};
use crate::sample::mixed;
use crate::storage::faulty::{Fault, Faulty, Op};
use crate::storage::{Storage, join};
use crate::store::{JobRow, Store, Trigger, VerifyOutcome};

const FULL: i64 = 1_700_000_000_000;
const FIRST: i64 = FULL + 10_000;
const SECOND: i64 = FULL + 20_000;

const CONFIG: &str = r#"
aerospike-clusters: {c: {seed-nodes: [{host-name: 127.0.0.1, port: 1}]}}
storage: {s: {local-storage: {path: /nowhere}}}
backup-routines: {r: {source-cluster: c, storage: s, interval-cron: "@daily", namespaces: []}}
"#;

/// What a job does: the real work, or something around it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum How {
    Plain,
    /// Somebody asks for its end before it has begun.
    Canceled,
    /// The full is deleted once the plan is made.
    FullDeleted,
}

/// Opens the storages of a job.
type Opening = Arc<dyn Fn(StorageConfig) -> BoxFuture<'static, Result<Arc<dyn Storage>>> + Send + Sync>;

struct Bench {
    _dirs: [TempDir; 2],
    storage: Faulty,
    jobs: Jobs,
    config: JobConfig,
}

impl Bench {
    async fn new() -> Self {
        let (dir, storage) = storage().await;
        let state = TempDir::new().unwrap();
        let clock: SharedClock = Arc::new(SystemClock);
        let store = Store::open(state.path(), &clock).await.unwrap();
        let config = Config::parse(CONFIG, "test.yaml", clock.now()).unwrap();
        let config = config.routine("r", clock.now()).unwrap().job;
        let jobs = Jobs::new(store, clock, Vec::new(), Arc::new(crate::jobs::follow::Nothing));
        Self { _dirs: [dir, state], storage, jobs, config }
    }

    /// A full and two incrementals.
    async fn chain(&self) -> [Backup; 3] {
        let all = [
            good(Backup::full(FULL, "ns")),
            good(Backup::incremental(FIRST, FULL, "ns")),
            good(Backup::incremental(SECOND, FIRST, "ns")),
        ];
        for backup in &all {
            backup.write(&self.storage).await;
        }
        all
    }

    async fn run(&self) -> JobRow {
        self.run_as(How::Plain, VerifyRequest::default(), None).await
    }

    /// Runs one job to its end.
    async fn run_as(&self, how: How, request: VerifyRequest, namespaces: Option<&[&str]>) -> JobRow {
        let job = NewJob {
            routine: Some("r".to_owned()),
            namespaces: namespaces.map(|names| names.iter().map(|name| (*name).to_owned()).collect()),
            config: Some(crate::store::Document::of(&self.config).unwrap()),
            ..NewJob::of(JobKind::Verify, Trigger::Api)
        };
        let id = self.jobs.admit(job).await.unwrap().id;
        let storage: Arc<dyn Storage> = Arc::new(self.storage.clone());
        let open = Arc::new(move |_| std::future::ready(Ok(Arc::clone(&storage))).boxed());
        let factory = Factory { how, request, config: self.config.clone(), open };
        run_to_end(&self.jobs, Arc::new(factory), id).await
    }

    /// Runs one job with a configuration whose storages are opened so.
    async fn run_opening(&self, config: &JobConfig, alone: Option<&str>, open: Opening) -> JobRow {
        let job = NewJob {
            routine: Some("r".to_owned()),
            config: Some(crate::store::Document::of(config).unwrap()),
            ..NewJob::of(JobKind::Verify, Trigger::Api)
        };
        let id = self.jobs.admit(job).await.unwrap().id;
        let request = VerifyRequest { storage: alone.map(str::to_owned), ..VerifyRequest::default() };
        let factory = Factory { how: How::Plain, request, config: config.clone(), open };
        run_to_end(&self.jobs, Arc::new(factory), id).await
    }

    /// The latest outcomes by `created`, as the store has them.
    async fn kept(&self) -> Vec<(i64, VerifyOutcome)> {
        let mut rows = self.jobs.store().verifications("s", "r").await.unwrap();
        rows.sort_by_key(|row| row.created);
        rows.into_iter().map(|row| (row.created.0, row.outcome)).collect()
    }
}

#[derive(Clone)]
struct Factory {
    how: How,
    request: VerifyRequest,
    config: JobConfig,
    open: Opening,
}

impl WorkFactory for Factory {
    fn work(&self, _: &JobRow) -> Result<Box<dyn Work>> {
        Ok(Box::new(self.clone()))
    }
}

#[async_trait]
impl Work for Factory {
    async fn run(self: Box<Self>, context: JobContext) -> Ended {
        if self.how == How::FullDeleted {
            return self.delete_meanwhile(context).await;
        }
        if self.how == How::Canceled {
            context.cancel.cancel();
        }
        let open = self.open;
        Box::new(VerifyWork::new(self.config, self.request, Box::new(move |config| open(config))))
            .run(context)
            .await
    }
}

impl Factory {
    async fn delete_meanwhile(self, context: JobContext) -> Ended {
        let now = context.clock.now();
        let storage = (self.open)(self.config.storage.clone()).await.unwrap();
        let plan = VerifyPlan::find(storage.as_ref(), "r", &self.request, None, &BTreeSet::new(), now)
            .await
            .unwrap();
        storage.delete_prefix(&good(Backup::full(FULL, "ns")).folder()).await.unwrap();
        let verify = Verify {
            watch: Arc::new(ProgressWatch(context.progress.clone())),
            context: context.clone(),
            storage,
            storage_name: "s".to_owned(),
            of_copies: false,
            routine: "r".to_owned(),
            key: None,
        };
        let mut report = Report::default();
        report.add("s".to_owned(), verify.run(&plan).await.unwrap());
        context.set_result(report.result());
        report.error().map_or(Ended::Succeeded, Ended::Failed)
    }
}

/// One file with this many records.
fn file(records: i64) -> Vec<u8> {
    let (mut text, mut encoder) = (Vec::new(), Encoder::new(false));
    Encoder::file_header(&mut text, b"ns", true, Version::V3_1);
    for key in 0..records {
        let record = mixed("set", key, 1);
        encoder.record(&mut text, &record.head("ns"), record.bins()).unwrap();
    }
    text
}

/// With the 15 records in each file that its papers count.
fn good(backup: Backup) -> Backup {
    with(backup, 15)
}

fn with(backup: Backup, records: i64) -> Backup {
    Backup { files: vec![("0_ns_1.asb".to_owned(), file(records))], ..backup }
}

fn code(job: &JobRow) -> Option<&str> {
    job.error_code.as_deref()
}

#[tokio::test]
async fn whole_chains_are_verified_also_without_manifests() {
    let bench = Bench::new().await;
    bench.chain().await;
    good(Backup::full(SECOND + 10_000, "ns")).foreign().write(&bench.storage).await;
    let job = bench.run().await;
    assert_eq!((job.status, job.warnings.len()), (JobStatus::Succeeded, 0), "{job:?}");
    assert!(bench.kept().await.iter().all(|(_, outcome)| *outcome == VerifyOutcome::Verified));
    let counters = job.counters.unwrap();
    assert_eq!((&counters["backups"], &counters["read-records"]), (&Value::from(4), &Value::from(60)));
}

#[tokio::test]
async fn counts_must_agree_with_the_manifest_else_with_the_metadata() {
    for (foreign, says) in
        [(false, "14 records were read, its manifest counts 15"), (true, "its metadata counts 15")]
    {
        let bench = Bench::new().await;
        let mut backup = with(Backup::full(FULL, "ns"), 14);
        backup.foreign = foreign;
        backup.write(&bench.storage).await;
        let job = bench.run().await;
        assert_eq!(code(&job), Some("backup-damaged"));
        assert!(job.error.as_ref().unwrap().contains(says), "{job:?}");
    }
    // One file more is told by their number, one byte more by their bytes.
    let bench = Bench::new().await;
    let backup = good(Backup::full(FULL, "ns")).foreign();
    backup.write(&bench.storage).await;
    let yaml = backup.metadata().to_yaml();
    let counted = format!("byte-count: {}", backup.metadata().byte_count);
    let yaml = yaml.replace(&counted, &format!("{counted}1"));
    bench.storage.put(&join(&backup.folder(), "metadata.yaml"), yaml.into()).await.unwrap();
    let job = bench.run().await;
    assert!(job.error.as_ref().unwrap().contains("bytes, metadata.yaml counted"), "{job:?}");
}

/// rules.md 3.4: nothing that builds on what is damaged or missing can be restored.
#[tokio::test]
async fn what_builds_on_a_damaged_or_missing_backup_is_chain_broken() {
    use VerifyOutcome::{ChainBroken, Damaged, Verified};
    let bench = Bench::new().await;
    let [_, first, _] = bench.chain().await;
    let data = join(&first.folder(), "0_ns_1.asb");
    let mut bytes = file(15);
    let last = bytes.len() - 2;
    bytes[last] ^= 1;
    bench.storage.put(&data, bytes.into()).await.unwrap();
    let job = bench.run().await;
    assert_eq!(code(&job), Some("backup-damaged"));
    let error = job.error.unwrap();
    assert!(error.contains(&first.folder()) && error.contains("2 of 3 backups"), "{error}");
    assert_eq!(bench.kept().await, [(FULL, Verified), (FIRST, Damaged), (SECOND, ChainBroken)]);
    // The last alone: that its predecessor is damaged is known from before, though its sizes are right.
    let job = bench.run_as(How::Plain, VerifyRequest::of_run(UnixMillis(SECOND)), Some(&["ns"])).await;
    assert_eq!(code(&job), Some("chain-gap"));
    assert!(job.error.unwrap().contains(&first.folder()));

    bench.storage.delete_prefix(&first.folder()).await.unwrap();
    let job = bench.run().await;
    assert_eq!(code(&job), Some("chain-gap"));
    assert_eq!(bench.kept().await, [(FULL, Verified), (SECOND, ChainBroken)], "what is gone is forgotten");
}

#[tokio::test]
async fn doubt_about_storage_is_no_damage_and_passes_on_to_what_builds_on_it() {
    use VerifyOutcome::{Unreadable, Verified};
    let bench = Bench::new().await;
    bench.chain().await;
    let fault = Fault { key_contains: "1700000000000/data/ns/0_ns_1.asb", ..Fault::nth(Op::Next, 1) };
    bench.storage.fail(fault);
    let job = bench.run().await;
    assert_eq!((job.status, code(&job)), (JobStatus::Failed, Some("backup-unreadable")));
    assert_eq!(bench.kept().await, [(FULL, Unreadable), (FIRST, Unreadable), (SECOND, Unreadable)]);
    bench.storage.heal();
    assert_eq!(bench.run().await.status, JobStatus::Succeeded);
    assert!(bench.kept().await.iter().all(|(_, outcome)| *outcome == Verified));
}

#[tokio::test]
async fn a_document_that_cannot_be_understood_is_damage_and_one_that_cannot_be_read_is_doubt() {
    let bench = Bench::new().await;
    let [full, ..] = bench.chain().await;
    let document = join(&full.folder(), "metadata.yaml");
    bench.storage.fail(Fault { key_contains: "1700000000000/data/ns/metadata", ..Fault::nth(Op::Get, 1) });
    let job = bench.run().await;
    assert_eq!(code(&job), Some("backup-unreadable"), "{job:?}");
    bench.storage.heal();
    bench.storage.put(&document, "nonsense".into()).await.unwrap();
    let job = bench.run().await;
    assert_eq!(code(&job), Some("backup-damaged"), "{job:?}");
    let result = job.result.unwrap();
    let outcomes: Vec<&str> =
        result["backups"].as_array().unwrap().iter().map(|one| one["outcome"].as_str().unwrap()).collect();
    assert_eq!(outcomes, ["damaged", "chain-broken", "chain-broken"]);
}

#[tokio::test]
async fn a_backup_that_is_deleted_meanwhile_is_left_out_and_not_damaged() {
    let bench = Bench::new().await;
    good(Backup::full(FULL, "ns")).write(&bench.storage).await;
    good(Backup::full(SECOND, "ns")).write(&bench.storage).await;
    let job = bench.run_as(How::FullDeleted, VerifyRequest::default(), None).await;
    assert_eq!(job.status, JobStatus::Succeeded, "{job:?}");
    assert_eq!(job.warnings.iter().map(|warning| warning.code.as_str()).collect::<Vec<_>>(), ["backup-gone"]);
    assert_eq!(job.result.unwrap()["left-out"].as_array().unwrap().len(), 1);
    assert_eq!(bench.kept().await, [(SECOND, VerifyOutcome::Verified)]);
}

#[tokio::test]
async fn a_cancel_ends_it_at_once_and_nothing_to_read_is_said() {
    let bench = Bench::new().await;
    let job = bench.run().await;
    assert_eq!((job.status, job.warnings[0].code.as_str()), (JobStatus::Succeeded, "nothing-to-verify"));
    bench.chain().await;
    let job = bench.run_as(How::Canceled, VerifyRequest::default(), None).await;
    assert_eq!(job.status, JobStatus::Canceled);
    assert!(bench.kept().await.is_empty());
}

/// A late attempt at what it builds on may have finished after it: there is still an instant at which both are restored.
#[tokio::test]
async fn a_predecessor_that_finished_later_is_no_hole() {
    let (_dir, storage) = storage().await;
    let full = good(Backup::full(FULL, "ns")).write(&storage).await;
    let mut first = good(Backup::incremental(FIRST, FULL, "ns")).write(&storage).await;
    let second = good(Backup::incremental(SECOND, FIRST, "ns")).write(&storage).await;
    first.finished = UnixMillis(SECOND + 60_000);
    let mut chains = Chains::new(&storage, &[]);
    chains.add(&full, Look::Good);
    chains.add(&first, Look::Good);
    chains.add(&second, Look::Good);
    assert_eq!(chains.verdict(&second).await.unwrap(), None);
    // Members that nobody has read are looked at.
    let mut chains = Chains::new(&storage, &[]);
    for entry in [&full, &first] {
        chains.add(entry, Look::Not);
    }
    storage.delete(&join(&full.key, "0_ns_1.asb")).await.unwrap();
    chains.add(&second, Look::Good);
    let (outcome, reason) = chains.verdict(&second).await.unwrap().unwrap();
    assert_eq!(outcome, VerifyOutcome::ChainBroken);
    assert!(reason.contains(&full.key) && reason.contains("missing"), "{reason}");
}

/// One job reads every storage; one that does not answer, and damage in one, keep none of the others from being read.
#[tokio::test]
async fn copies_are_read_too_and_each_storage_has_outcomes_of_its_own() {
    let mut bench = Bench::new().await;
    let all = bench.chain().await;
    let (_dir, vault) = storage().await;
    for backup in &all {
        backup.write(&vault).await;
    }
    let copy = |name: &str, verify| {
        let storage = StorageConfig { name: Some(name.to_owned()), ..bench.config.storage.clone() };
        CopyConfig { storage, retention: None, on: CopyOn::All, verify }
    };
    let copies = vec![copy("away", true), copy("vault", true), copy("unread", false)];
    bench.config.copies = copies;
    let run_in = async |config: &JobConfig, alone: Option<&str>| {
        let (own, vault) = (bench.storage.clone(), vault.clone());
        let open = move |config: StorageConfig| {
            let storage: Result<Arc<dyn Storage>> = match config.name.as_deref() {
                Some("s") => Ok(Arc::new(own.clone())),
                Some("vault") => Ok(Arc::new(vault.clone())),
                Some("away") => Err(Error::temporary("storage-unavailable", "not mounted")),
                other => panic!("{other:?} is opened"),
            };
            std::future::ready(storage).boxed()
        };
        bench.run_opening(config, alone, Arc::new(open)).await
    };
    let run = async |config: &JobConfig| run_in(config, None).await;
    let job = run(&bench.config).await;
    assert_eq!(job.error_code.as_deref(), Some("storage-unavailable"), "{job:?}");
    assert!(job.error.as_ref().unwrap().contains("storage away was not verified: not mounted"), "{job:?}");
    assert_eq!(job.counters.as_ref().unwrap()["verified"], 6);
    let result = job.result.unwrap();
    let of: Vec<_> = result["storages"].as_array().unwrap().iter().collect();
    assert_eq!(
        (&of[0]["storage"], &of[0]["verified"], &of[0]["error"]),
        (&json!("s"), &json!(3), &Value::Null)
    );
    assert_eq!((&of[1]["storage"], &of[1]["verified"]), (&json!("vault"), &json!(3)));
    assert_eq!((&of[2]["storage"], &of[2]["error"]["code"]), (&json!("away"), &json!("storage-unavailable")));

    let file = join(&all[1].folder(), &all[1].files[0].0);
    let mut bytes = all[1].files[0].1.clone();
    *bytes.last_mut().unwrap() ^= 1;
    vault.put(&file, bytes.into()).await.unwrap();
    let mut config = bench.config.clone();
    config.copies.remove(0);
    let job = run(&config).await;
    let text = job.error.unwrap();
    assert_eq!(job.error_code.as_deref(), Some("backup-damaged"));
    assert!(text.starts_with("storage vault: backup r/") && text.contains("(2 of 6 backups"), "{text}");
    let counts = async |storage: &str| {
        let rows = bench.jobs.store().verifications(storage, "r").await.unwrap();
        let of = |outcome| rows.iter().filter(|row| row.outcome == outcome).count();
        [VerifyOutcome::Verified, VerifyOutcome::Damaged, VerifyOutcome::ChainBroken].map(of)
    };
    assert_eq!((counts("s").await, counts("vault").await), ([3, 0, 0], [1, 1, 1]));

    // One storage alone; and where none answers the job says so at once.
    let job = run_in(&config, Some("s")).await;
    assert_eq!((job.status, &job.counters.unwrap()["backups"]), (JobStatus::Succeeded, &json!(3)));
    let job = run_in(&bench.config, Some("vault")).await;
    assert!(job.error.unwrap().starts_with("backup r/"), "one storage needs no name");
    let job = run_in(&bench.config, Some("away")).await;
    assert_eq!((job.error_code.as_deref(), job.result), (Some("storage-unavailable"), None));
    // The list, which is the own storage's, is told of nothing else.
    let unread = bench.jobs.store().catalog_unread().await.unwrap();
    assert!(!unread.is_empty() && unread.iter().all(|one| one.storage == "s"), "{unread:?}");
}
