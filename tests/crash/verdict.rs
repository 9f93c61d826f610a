//! What must be true once a service has settled, counted: every number is to be zero.
//!
//! Read from the store's rows and from the files themselves, not by the code under test.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::ops::AddAssign;
use std::path::{Path, PathBuf};

use serde_json::Value;
use sqlx::Row;
use sqlx::sqlite::SqlitePool;

use crate::place::{Place, ROUTINE};

/// The stored bytes of one block hash (rules.md 3.11).
const BLOCK: usize = 4 * 1024 * 1024;

/// What went wrong; every number is to be zero.
#[derive(Debug, Default, Clone)]
pub struct Counts {
    /// `integrity_check` did not say ok.
    pub store_damaged: usize,
    /// A slot without a job, or one that fired and nobody answers for (rules.md 2.5).
    pub slots_lost: usize,
    /// A slot of which a namespace was committed twice.
    pub slots_doubled: usize,
    /// Jobs without an end, or that ended without a reason that `docs/errors.md` knows.
    pub jobs_without_end: usize,
    /// Backups that are listed, or have a `metadata.yaml`, and are not whole.
    pub half_made: usize,
    /// Backups that are gone and should not be.
    pub needed_gone: usize,
    /// Files and folders that belong to no committed backup (rules.md 6.1).
    pub leftovers: usize,
    /// What it was, in words.
    pub notes: Vec<String>,
}

impl AddAssign for Counts {
    fn add_assign(&mut self, other: Self) {
        self.store_damaged += other.store_damaged;
        self.slots_lost += other.slots_lost;
        self.slots_doubled += other.slots_doubled;
        self.jobs_without_end += other.jobs_without_end;
        self.half_made += other.half_made;
        self.needed_gone += other.needed_gone;
        self.leftovers += other.leftovers;
        self.notes.extend(other.notes);
    }
}

impl fmt::Display for Counts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "slots lost {}, slots doubled {}, jobs without an end {}, half-made backups listed {}, needed files deleted {}, leftovers {}, stores damaged {}",
            self.slots_lost,
            self.slots_doubled,
            self.jobs_without_end,
            self.half_made,
            self.needed_gone,
            self.leftovers,
            self.store_damaged
        )
    }
}

impl Counts {
    pub fn all_zero(&self) -> bool {
        self.store_damaged
            + self.slots_lost
            + self.slots_doubled
            + self.jobs_without_end
            + self.half_made
            + self.needed_gone
            + self.leftovers
            == 0
    }

    /// Fails the test if something is not zero.
    #[track_caller]
    pub fn expect_zero(&self) {
        assert!(self.all_zero(), "{self}\n{}", self.notes.join("\n"));
    }
}

/// What a test expects beyond what always holds.
#[derive(Debug, Clone, Copy, Default)]
pub struct Expect {
    /// Each slot that fired has a job that succeeded.
    pub slots_succeed: bool,
    /// Retention runs: older fulls may be gone.
    pub may_delete: bool,
}

/// Looks at the store and the storage of a service that was stopped; `listed` is what it listed last.
pub async fn judge(place: &Place, listed: &[String], expect: Expect) -> Counts {
    let mut judge = Judge { counts: Counts::default(), expect };
    let integrity = place.integrity().await;
    if integrity != "ok" {
        judge.counts.store_damaged += 1;
        judge.note(format!("integrity_check: {integrity}"));
    }
    let (_dir, pool) = place.store_copy().await;
    judge.jobs(&pool).await;
    judge.deletions(&pool).await;
    judge.slots(&pool).await;
    let whole = judge.files(&place.storage(), place.is_bucket, listed);
    judge.committed(&pool, &whole).await;
    // A copy is judged like any backup: what is listed is whole, and nothing else lies there.
    judge.files(&place.copies(), false, &[]);
    pool.close().await;
    judge.counts
}

struct Judge {
    counts: Counts,
    expect: Expect,
}

impl Judge {
    fn note(&mut self, text: String) {
        self.counts.notes.push(text);
    }

    async fn jobs(&mut self, pool: &SqlitePool) {
        let rows =
            sqlx::query("SELECT id, kind, status, reason_code, error_code, error, finished_ms FROM jobs");
        for row in rows.fetch_all(pool).await.unwrap() {
            let (id, kind, status): (i64, String, String) = (row.get(0), row.get(1), row.get(2));
            let code: Option<String> = row.get::<Option<String>, _>(4).or(row.get(3));
            let ended = row.get::<Option<i64>, _>(6).is_some();
            let needs_code = !["succeeded", "canceled"].contains(&status.as_str());
            let known = code.as_deref().is_some_and(is_typed);
            if !ended || (needs_code && !known) {
                self.counts.jobs_without_end += 1;
                let error: Option<String> = row.get(5);
                self.note(format!("job {id} ({kind}) is {status}, {code:?} {error:?}"));
            }
        }
        let open = "SELECT job_id, folder, status FROM attempts WHERE status IN ('running', 'unknown')";
        for row in sqlx::query(open).fetch_all(pool).await.unwrap() {
            self.counts.jobs_without_end += 1;
            let (job, folder, status): (i64, String, String) = (row.get(0), row.get(1), row.get(2));
            self.note(format!("an attempt of job {job} in {folder} is {status}"));
        }
    }

    /// A deletion that was cut off is finished (rules.md 5.3).
    async fn deletions(&mut self, pool: &SqlitePool) {
        for row in sqlx::query("SELECT folder FROM deletions").fetch_all(pool).await.unwrap() {
            self.counts.leftovers += 1;
            self.note(format!("marked, and not deleted: {}", row.get::<String, _>(0)));
        }
        for row in sqlx::query("SELECT folder FROM copying").fetch_all(pool).await.unwrap() {
            self.counts.leftovers += 1;
            self.note(format!("a copy that nobody has settled: {}", row.get::<String, _>(0)));
        }
    }

    async fn slots(&mut self, pool: &SqlitePool) {
        let doubled = "SELECT j.slot_id, a.namespace, count(*) FROM attempts a JOIN jobs j ON j.id = a.job_id \
                       WHERE j.slot_id IS NOT NULL AND a.status = 'committed' GROUP BY 1, 2 HAVING count(*) > 1";
        for row in sqlx::query(doubled).fetch_all(pool).await.unwrap() {
            self.counts.slots_doubled += 1;
            let (slot, namespace, count): (i64, String, i64) = (row.get(0), row.get(1), row.get(2));
            self.note(format!("slot {slot} committed {namespace} {count} times"));
        }
        let lost = if self.expect.slots_succeed {
            "SELECT s.id, (SELECT group_concat(status || ' ' || ifnull(reason_code, ifnull(error_code, ''))) FROM jobs \
             WHERE slot_id = s.id) FROM slots s WHERE s.state = 'fired' \
             AND NOT EXISTS (SELECT 1 FROM jobs WHERE slot_id = s.id AND status = 'succeeded')"
        } else {
            "SELECT s.id, '' FROM slots s WHERE s.state <> 'void' AND NOT EXISTS (SELECT 1 FROM jobs WHERE slot_id = s.id)"
        };
        for row in sqlx::query(lost).fetch_all(pool).await.unwrap() {
            self.counts.slots_lost += 1;
            let (slot, jobs): (i64, Option<String>) = (row.get(0), row.get(1));
            self.note(format!("slot {slot} is lost: {jobs:?}"));
        }
    }

    /// Every file below a storage; the keys of the backups that are whole.
    fn files(&mut self, storage: &Path, is_bucket: bool, listed: &[String]) -> BTreeMap<String, Value> {
        let mut whole = BTreeMap::new();
        // The routine's own folder is made before the first file in it, and stays.
        let mut owned = BTreeSet::from([storage.join(ROUTINE)]);
        let mut all = Vec::new();
        walk(storage, &mut all);
        all.retain(|path| !is_bucket || path.is_file());
        for path in all.iter().filter(|path| path.ends_with("metadata.yaml")) {
            let folder = path.parent().unwrap();
            let key = folder.strip_prefix(storage).unwrap().to_str().unwrap().to_owned();
            match check_backup(folder) {
                Ok((manifest, files)) => {
                    owned.extend(files);
                    owned.extend(folder.ancestors().map(Path::to_owned));
                    whole.insert(key, manifest);
                }
                Err(problem) => {
                    self.counts.half_made += 1;
                    self.note(format!("backup {key} is not whole: {problem}"));
                }
            }
        }
        for key in listed.iter().filter(|key| !whole.contains_key(*key)) {
            self.counts.half_made += 1;
            self.note(format!("backup {key} is listed and not whole"));
        }
        for path in all.iter().filter(|path| !owned.contains(*path) && !is_ours(path)) {
            self.counts.leftovers += 1;
            self.note(format!("left over: {}", path.display()));
        }
        whole
    }

    /// What the store says was committed is there, and so is what it builds on.
    async fn committed(&mut self, pool: &SqlitePool, whole: &BTreeMap<String, Value>) {
        let rows =
            sqlx::query("SELECT folder, namespace, created_ms FROM attempts WHERE status = 'committed'");
        let rows = rows.fetch_all(pool).await.unwrap();
        let known: BTreeSet<String> = rows.iter().map(|row| row.get(0)).collect();
        let last_full =
            rows.iter().map(|row| row.get::<String, _>(0)).filter(|key| key.contains("/backup/")).max();
        for key in known.iter().filter(|key| !whole.contains_key(*key)) {
            if !self.expect.may_delete || Some(key) == last_full.as_ref() {
                self.counts.needed_gone += 1;
                self.note(format!("backup {key} was committed and is gone"));
            }
        }
        for key in whole.keys().filter(|key| !known.contains(*key)) {
            self.counts.leftovers += 1;
            self.note(format!("backup {key} is in storage, and no attempt of the store committed it"));
        }
        let members: BTreeSet<(String, i64)> = whole
            .values()
            .map(|manifest| (text(manifest, "namespace"), number(manifest, "created-ms")))
            .collect();
        for (key, manifest) in whole {
            let Some(from) = manifest["from-ms"].as_i64() else { continue };
            if !members.contains(&(text(manifest, "namespace"), from)) {
                self.counts.needed_gone += 1;
                self.note(format!("backup {key} builds on {from}, which is gone"));
            }
        }
    }
}

/// Whether a code is in `docs/errors.md`; a panic is no reason.
pub fn is_typed(code: &str) -> bool {
    let known = include_str!("../../docs/errors.md");
    code != "task-panicked" && known.contains(&format!("| `{code}` |"))
}

/// The manifest of a backup whose files all verify, and the files that belong to it.
fn check_backup(folder: &Path) -> Result<(Value, Vec<PathBuf>), String> {
    let read = |name: &str| std::fs::read(folder.join(name)).map_err(|error| format!("{name}: {error}"));
    let manifest: Value =
        serde_json::from_slice(&read("manifest.json")?).map_err(|error| format!("manifest.json: {error}"))?;
    let mut files: Vec<PathBuf> =
        ["metadata.yaml", "manifest.json", "blocks.b3"].iter().map(|name| folder.join(name)).collect();
    let mut all_blocks = Vec::new();
    for file in manifest["files"].as_array().ok_or("no files")? {
        let name = text(file, "name");
        let bytes = read(&name)?;
        if bytes.len() as u64 != file["size-bytes"].as_u64().unwrap_or(u64::MAX) {
            return Err(format!("{name} has {} bytes", bytes.len()));
        }
        let blocks: Vec<u8> = bytes.chunks(BLOCK).flat_map(|block| *blake3::hash(block).as_bytes()).collect();
        if blake3::hash(&blocks).to_hex().as_str() != text(file, "blake3") {
            return Err(format!("{name} does not have its hash"));
        }
        all_blocks.extend(blocks);
        files.push(folder.join(name));
    }
    if read("blocks.b3")? != all_blocks {
        return Err("blocks.b3 differs".to_owned());
    }
    let metadata = String::from_utf8_lossy(&read("metadata.yaml")?).into_owned();
    if !metadata.contains("record-count") {
        return Err(format!("metadata.yaml holds {} bytes", metadata.len()));
    }
    Ok((manifest, files))
}

/// What a storage may hold beside backups (rules.md 5.5, 6.1), also under the temporary name that a killed process left.
fn is_ours(path: &Path) -> bool {
    const OURS: [&str; 3] = ["holdfast-owner.json", "holdfast-instances", "holdfast-root"];
    let path = path.to_string_lossy();
    OURS.iter().any(|ours| path.contains(ours))
}

/// Every file and folder below.
pub fn walk(folder: &Path, found: &mut Vec<PathBuf>) {
    let Ok(entries) = std::fs::read_dir(folder) else { return };
    for entry in entries {
        let path = entry.unwrap().path();
        if path.is_dir() {
            walk(&path, found);
        }
        found.push(path);
    }
}

fn text(value: &Value, key: &str) -> String {
    value[key].as_str().unwrap_or_default().to_owned()
}

fn number(value: &Value, key: &str) -> i64 {
    value[key].as_i64().unwrap_or_default()
}
