//! Damage: 2,000 backups with one damaged file each, plain, compressed and encrypted. Verify and restore tell every one; and it is
//! counted how many the bare format, without manifest and block hashes, could not tell (rules.md 3.11, 4.2).
//!
//! The backups are real ones. Verify jobs and restore jobs are real as well, run by a runner of their own; only the
//! destination of the restores is a double: it reads each file as the engine's does, counts what it would have written,
//! and declares success. `damage.rs` shows the same end to end.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use holdfast::asb::cipher::Unlock;
use holdfast::asb::{FileKey, IndexDef, UdfDef};
use holdfast::clock::{Clock, SharedClock, SystemClock};
use holdfast::config::{
    ClusterConfig, Config, JobConfig, RestoreCare, RestoreConfig, RestorePolicy, RestorePolicyConfig,
    RestoreTarget, VerifyFirst,
};
use holdfast::engine::aerospike::inspect;
use holdfast::engine::{
    ClusterFacts, Connect, Destination, MemberReport, MemberWrite, NamespaceFacts, SharedCounters, Source,
    Watch, keys,
};
use holdfast::error::{Error, Result};
use holdfast::jobs::{Jobs, NewJob, Runner, RunnerOptions, Work, WorkFactory, follow};
use holdfast::model::{JobKind, UnixMillis};
use holdfast::restore::RestoreWork;
use holdfast::sample::mixed;
use holdfast::storage::{LocalStorage, Storage};
use holdfast::store::{DigestTable, Document, JobRow, Store, Trigger};
use holdfast::verify::contents::plain_file;
use holdfast::verify::{VerifyRequest, VerifyWork};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use serde_json::json;
use tokio_util::sync::CancellationToken;

use crate::node::SOURCE;
use crate::service::Bench;

const CASES: usize = 2000;

/// Restores that are under way at once: they are bound by nothing else.
const AT_ONCE: usize = 50;

const FORMS: [&str; 4] = ["plain", "zstd", "aes", "gcm"];

const KINDS: [&str; 7] =
    ["one bit flipped", "cut", "padded", "swapped", "an older copy", "dropped", "doubled"];

/// A backup of which each case damages a copy, and the one before it.
struct Original {
    form: &'static str,
    /// The folder of the namespace, below the storage's root.
    key: String,
    files: Vec<(String, Vec<u8>)>,
    /// Everything else in the folder.
    papers: Vec<(String, Vec<u8>)>,
    older: Vec<(String, Vec<u8>)>,
    /// What `metadata.yaml` counts.
    records: u64,
    bytes: u64,
}

/// One damaged copy.
struct Case {
    form: &'static str,
    /// None: nothing is damaged, so nothing may be found.
    kind: Option<&'static str>,
    key: String,
    storage: Arc<dyn Storage>,
    records: u64,
    bytes: u64,
    files: u64,
}

#[tokio::test(flavor = "multi_thread")]
async fn every_damaged_file_is_told_by_verify_and_by_restore() {
    let began = Instant::now();
    let dir = tempfile::tempdir().unwrap();
    let (_key, key_file) = crate::encryption::key_file();
    let (originals, config) = originals(&key_file).await;
    let key = keys::key(config.policy.encryption.clone().map(Into::into).as_ref()).await.unwrap();
    let mut random = StdRng::seed_from_u64(0x5eed);
    let mut cases = Vec::new();
    for original in &originals {
        cases.push(lay_out(dir.path(), cases.len(), original, None, &original.files).await);
    }
    while cases.len() < CASES + originals.len() {
        let original = &originals[cases.len() % originals.len()];
        let kind = KINDS[(cases.len() / originals.len()) % KINDS.len()];
        let damaged = damage(original, kind, &mut random);
        cases.push(lay_out(dir.path(), cases.len(), original, Some(kind), &damaged).await);
    }
    let cases = Arc::new(cases);
    let told = run_jobs(dir.path(), &cases, config).await;
    let mut table: BTreeMap<(&str, &str), [u64; 6]> = BTreeMap::new();
    let mut missed = Vec::new();
    for (at, case) in cases.iter().enumerate() {
        let (by_verify, by_restore) = (&told.verify[&at], &told.restore[&at]);
        let Some(kind) = case.kind else {
            assert_eq!(
                (by_verify.as_str(), by_restore.as_str()),
                ("succeeded", "succeeded"),
                "{}",
                case.form
            );
            assert_eq!(bare(case, key.as_ref()).await, [false; 3], "{}", case.form);
            continue;
        };
        let bare = bare(case, key.as_ref()).await;
        let row = table.entry((kind, case.form)).or_default();
        row[0] += 1;
        row[1] += u64::from(by_verify == "failed: backup-damaged");
        let restored = ["failed: backup-damaged", "failed: file-damaged"].contains(&by_restore.as_str());
        row[2] += u64::from(restored);
        for (count, told) in row[3..].iter_mut().zip(bare) {
            *count += u64::from(!told);
        }
        if by_verify != "failed: backup-damaged" || !restored {
            missed
                .push(format!("case {at}: {kind}, {}: verify {by_verify}, restore {by_restore}", case.form));
        }
    }
    print_table(&table, &told, began.elapsed());
    assert!(missed.is_empty(), "{} cases: {:#?}", missed.len(), &missed[..missed.len().min(10)]);
    assert_eq!(table.values().map(|row| row[0]).sum::<u64>(), CASES as u64);
    assert_eq!(told.written_after_check, 0, "a file was damaged when all bytes had been checked");
}

fn print_table(table: &BTreeMap<(&str, &str), [u64; 6]>, told: &Told, took: Duration) {
    println!(
        "damage, {CASES} files of real backups, seed 0x5eed; `missed`: the bare format, without manifest and hashes"
    );
    println!(
        "{:<16} {:<6} {:>6} {:>7} {:>8} | missed: {:>8} {:>13} {:>12}",
        "damage", "form", "files", "verify", "restore", "decoding", "and counts", "and bytes"
    );
    let mut sums = [0; 6];
    for ((kind, form), row) in table {
        println!(
            "{kind:<16} {form:<6} {:>6} {:>7} {:>8} | {:>16} {:>13} {:>12}",
            row[0], row[1], row[2], row[3], row[4], row[5]
        );
        for (sum, count) in sums.iter_mut().zip(row) {
            *sum += count;
        }
    }
    println!(
        "{:<23} {:>6} {:>7} {:>8} | {:>16} {:>13} {:>12}",
        "all", sums[0], sums[1], sums[2], sums[3], sums[4], sums[5]
    );
    println!(
        "counts: files and records of metadata.yaml; bytes: its byte-count, which no official tool compares"
    );
    println!("swapped: two files of one backup, so that together they still hold the same records");
    println!("{} restores checked all bytes first; took {} s", told.checked_first, took.as_secs());
}

/// A full of each form with several files, with the full before each; `aes` and `gcm` are compressed, too.
async fn originals(key_file: &Path) -> (Vec<Original>, JobConfig) {
    let bench = Bench::with(|config| {
        let plain = config["backup-policies"]["quick"].clone();
        config["backup-policies"]["zstd"] = plain.clone();
        config["backup-policies"]["zstd"]["compression"] = json!({"mode": "ZSTD"});
        for (form, mode) in [("aes", "AES256"), ("gcm", "AES256-GCM")] {
            config["backup-policies"][form] = config["backup-policies"]["zstd"].clone();
            config["backup-policies"][form]["encryption"] = json!({"mode": mode, "key-file": key_file});
        }
        config["backup-policies"]["plain"] = plain;
        let mut routine = config["backup-routines"]["daily"].clone();
        for form in FORMS {
            config["backup-policies"][form]["parallel-write"] = json!(3);
            routine["backup-policy"] = json!(form);
            config["backup-routines"][form] = routine.clone();
        }
    })
    .await;
    for version in [1, 2] {
        let records: Vec<_> = (0..150 + version).map(|key| mixed("customers", key, version)).collect();
        bench.write(&records).await;
        for form in FORMS {
            let job = bench.run("full", form).await;
            assert_eq!(job["status"], "succeeded", "{job:#}");
        }
    }
    let mut originals = Vec::new();
    for form in FORMS {
        let list = bench.list("full", form).await;
        let [older, newest] = [&list[0], &list[1]].map(|one| one["key"].as_str().unwrap().to_owned());
        let read = |key: &str| -> Vec<(String, Vec<u8>)> {
            let names = bench.files(key).into_iter();
            names.map(|name| (name.clone(), std::fs::read(bench.path(key).join(&name)).unwrap())).collect()
        };
        let (files, papers) = read(&newest).into_iter().partition(|(name, _)| crate::service::is_asb(name));
        originals.push(Original {
            form,
            files,
            papers,
            older: read(&older).into_iter().filter(|(name, _)| crate::service::is_asb(name)).collect(),
            records: list[1]["record-count"].as_u64().unwrap(),
            bytes: list[1]["byte-count"].as_u64().unwrap(),
            key: newest,
        });
        assert!(originals.last().unwrap().files.len() >= 2, "there must be something to swap");
    }
    let config = Config::parse(&bench.config.to_string(), "test", SystemClock.now()).unwrap();
    // With the key of the encrypted ones, which changes nothing for the others.
    (originals, config.routine("aes", SystemClock.now()).unwrap().job)
}

/// The files of a copy, one of which is damaged.
fn damage(original: &Original, kind: &str, random: &mut StdRng) -> Vec<(String, Vec<u8>)> {
    let mut files = original.files.clone();
    let at = random.random_range(0..files.len());
    let (name, bytes) = &mut files[at];
    match kind {
        "one bit flipped" => {
            let bit = random.random_range(0..bytes.len() * 8);
            bytes[bit / 8] ^= 1 << (bit % 8);
        }
        "cut" => bytes.truncate(random.random_range(0..bytes.len())),
        "padded" => {
            let more = random.random_range(1..=64);
            // Zeros, as of a block that was never written, or anything.
            let zeros: bool = random.random();
            bytes.extend((0..more).map(|_| if zeros { 0 } else { random.random::<u8>() }));
        }
        "swapped" => {
            let other = (at + random.random_range(1..files.len())) % files.len();
            let taken = std::mem::take(&mut files[at].1);
            files[at].1 = std::mem::replace(&mut files[other].1, taken);
            assert_ne!(files[at].1, files[other].1);
        }
        "an older copy" => {
            let older = original.older.iter().find(|(older, _)| older == name);
            let older = older.unwrap_or_else(|| &original.older[at % original.older.len()]);
            assert_ne!(*bytes, older.1);
            bytes.clone_from(&older.1);
        }
        "dropped" => {
            files.remove(at);
        }
        "doubled" => bytes.extend(bytes.clone()),
        other => panic!("{other}"),
    }
    files
}

async fn lay_out(
    dir: &Path,
    at: usize,
    original: &Original,
    kind: Option<&'static str>,
    files: &[(String, Vec<u8>)],
) -> Case {
    let root: PathBuf = dir.join("cases").join(at.to_string());
    // Every copy under one routine: a manifest names its own for the reader only.
    let key = original.key.replacen(original.form, "plain", 1);
    let folder = root.join(&key);
    std::fs::create_dir_all(&folder).unwrap();
    for (name, bytes) in files.iter().chain(&original.papers) {
        std::fs::write(folder.join(name), bytes).unwrap();
    }
    Case {
        form: original.form,
        kind,
        key,
        storage: Arc::new(LocalStorage::open(root).await.unwrap()),
        records: original.records,
        bytes: original.bytes,
        files: original.files.len() as u64,
    }
}

/// Whether the bare format tells the damage: decoding every file; the counts of files and records too; the bytes too.
async fn bare(case: &Case, key: Option<&FileKey>) -> [bool; 3] {
    let cancel = CancellationToken::new();
    let (mut records, mut bytes, mut files, mut fails) = (0, 0, 0, false);
    for object in case.storage.list(&case.key).await.unwrap() {
        if !crate::service::is_asb(&object.key) {
            continue;
        }
        files += 1;
        bytes += object.size_bytes;
        let file = plain_file(object, &Unlock::with_key(key.cloned()));
        match inspect::check(&case.storage, &file, None, &cancel).await {
            Ok(held) => records += held.records,
            Err(_) => fails = true,
        }
    }
    let counts = fails || records != case.records || files != case.files;
    [fails, counts, counts || bytes != case.bytes]
}

/// How each job ended, by the place of its case: `succeeded`, or `failed: <code>`.
struct Told {
    verify: BTreeMap<usize, String>,
    restore: BTreeMap<usize, String>,
    checked_first: u64,
    written_after_check: u64,
}

async fn run_jobs(dir: &Path, cases: &Arc<Vec<Case>>, config: JobConfig) -> Told {
    let clock: SharedClock = Arc::new(SystemClock);
    let state = dir.join("state");
    let store = Store::open(&state, &clock).await.unwrap();
    let jobs = Jobs::new(store, clock, Vec::new(), Arc::new(follow::Nothing));
    let double = Arc::new(Double::default());
    let factory = Factory {
        cases: Arc::clone(cases),
        config: JobConfig { routine: "plain".to_owned(), ..config },
        double: Arc::clone(&double),
        state,
    };
    let options = RunnerOptions {
        owner: "test".to_owned(),
        max_running_jobs: 1,
        memory: holdfast::memory::Budget::default(),
    };
    let runner = Runner::new(jobs.clone(), Arc::new(factory), options);
    let all = async {
        let verify = all_of(&jobs, JobKind::Verify, cases.len()).await;
        let restore = all_of(&jobs, JobKind::Restore, cases.len()).await;
        runner.stop(Duration::ZERO).await;
        (verify, restore)
    };
    let (ran, (verify, restore)) = tokio::join!(runner.run(), all);
    ran.unwrap();
    Told {
        verify,
        restore,
        checked_first: double.checked_first.load(Ordering::SeqCst),
        written_after_check: double.damaged_after_check.load(Ordering::SeqCst),
    }
}

async fn all_of(jobs: &Jobs, kind: JobKind, cases: usize) -> BTreeMap<usize, String> {
    let mut ends = BTreeMap::new();
    let places: Vec<usize> = (0..cases).collect();
    for places in places.chunks(AT_ONCE) {
        let document = Document::of(&VerifyRequest::default()).unwrap();
        let triggers: Vec<NewJob> = places
            .iter()
            .map(|at| NewJob {
                requested_by: Some(at.to_string()),
                config: Some(document.clone()),
                ..NewJob::of(kind, Trigger::AfterBackup)
            })
            .collect();
        let admitted = jobs.admit_many(&triggers).await.unwrap();
        while jobs.store().open_counts().await.unwrap().values().sum::<u64>() > 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        for (at, admitted) in places.iter().zip(admitted) {
            let row = jobs.store().job(admitted.id).await.unwrap().unwrap();
            let code = row.error_code.map(|code| format!(": {code}")).unwrap_or_default();
            ends.insert(*at, format!("{}{code}", row.status.as_str()));
        }
    }
    ends
}

struct Factory {
    cases: Arc<Vec<Case>>,
    config: JobConfig,
    double: Arc<Double>,
    state: PathBuf,
}

impl WorkFactory for Factory {
    fn work(&self, job: &JobRow) -> Result<Box<dyn Work>> {
        let at: usize = job.requested_by.as_ref().unwrap().parse().unwrap();
        let case = &self.cases[at];
        let storage = Arc::clone(&case.storage);
        if job.kind == JobKind::Verify {
            return Ok(Box::new(VerifyWork::opened(self.config.clone(), VerifyRequest::default(), storage)));
        }
        // Half of them by path, half by time; of each half, half check all bytes before the first write.
        let target = if (at / 2).is_multiple_of(2) {
            RestoreTarget::Path { path: case.key.clone(), allow_incomplete: false }
        } else {
            RestoreTarget::Time {
                routine: "plain".to_owned(),
                time: UnixMillis(SystemClock.now().0),
                namespaces: Vec::new(),
                disable_reordering: false,
                allow_gap: false,
            }
        };
        let first = (at / 4).is_multiple_of(2);
        let config = RestoreConfig {
            copies: Vec::new(),
            target,
            source: self.config.storage.clone(),
            destination: ClusterConfig { name: None, ..self.config.cluster.clone() },
            policy: RestorePolicyConfig {
                encryption: self.config.policy.encryption.clone().map(Into::into),
                ..RestorePolicy::default().resolve(None).unwrap()
            },
            care: RestoreCare {
                verify_first: if first { VerifyFirst::Always } else { VerifyFirst::Never },
                ..RestoreCare::default()
            },
            fence: Vec::new(),
            unconfirmed: false,
            safety_backup: None,
        };
        let connect = Connected { double: Arc::clone(&self.double), checked_first: first };
        Ok(Box::new(RestoreWork::new(config, Arc::new(connect), storage, self.state.clone())))
    }
}

/// A destination that is no cluster: it reads as the engine's does, and writes nothing.
#[derive(Default)]
struct Double {
    checked_first: AtomicU64,
    damaged_after_check: AtomicU64,
}

struct Connected {
    double: Arc<Double>,
    checked_first: bool,
}

#[async_trait]
impl Connect for Connected {
    async fn source(&self, _: &ClusterConfig) -> Result<Arc<dyn Source>> {
        Err(Error::permanent("test", "nothing is backed up here"))
    }

    async fn destination(&self, _: &ClusterConfig) -> Result<Arc<dyn Destination>> {
        if self.checked_first {
            self.double.checked_first.fetch_add(1, Ordering::SeqCst);
        }
        Ok(Arc::new(Self { double: Arc::clone(&self.double), checked_first: self.checked_first }))
    }
}

#[async_trait]
impl Destination for Connected {
    async fn facts(&self) -> Result<ClusterFacts> {
        let namespaces = vec![NamespaceFacts { name: SOURCE.to_owned(), ..NamespaceFacts::default() }];
        Ok(ClusterFacts { namespaces, ..ClusterFacts::default() })
    }

    async fn is_empty(&self, _: &str, _: &[String], _: &CancellationToken) -> Result<bool> {
        Ok(true)
    }

    async fn write(
        &self,
        write: &MemberWrite,
        storage: Arc<dyn Storage>,
        _: Option<Arc<DigestTable>>,
        watch: Arc<dyn Watch>,
        counters: &SharedCounters,
        cancel: &CancellationToken,
    ) -> Result<MemberReport> {
        let mut report = MemberReport::default();
        for file in &write.files {
            let read = inspect::check(&storage, file, Some(Arc::clone(&watch)), cancel).await;
            if read.is_err() && self.checked_first {
                self.double.damaged_after_check.fetch_add(1, Ordering::SeqCst);
            }
            let records = read?.records;
            report.counters.read_records += records;
            report.counters.inserted_records += records;
        }
        counters.add(&report.counters);
        Ok(report)
    }

    async fn collect_hidden(
        &self,
        _: &MemberWrite,
        _: Arc<dyn Storage>,
        _: Arc<DigestTable>,
        _: &CancellationToken,
    ) -> Result<()> {
        Ok(())
    }

    async fn register_udfs(&self, _: &[UdfDef], _: &CancellationToken) -> Result<(u64, Vec<String>)> {
        Ok((0, Vec::new()))
    }

    async fn create_indexes(&self, _: &[IndexDef], _: bool, _: &CancellationToken) -> Result<u64> {
        Ok(0)
    }
}
