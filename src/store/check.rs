//! Looking at a store without changing it: `holdfast store check`.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use sqlx::{ConnectOptions, Connection, Row};

use super::open::{self, db_path, side_file};
use crate::error::{Error, Result};
use crate::model::UnixMillis;
use crate::tasks::blocking;

/// What a look at a store has found.
#[derive(Debug, Clone, Default)]
pub struct StoreReport {
    /// The database file.
    pub path: PathBuf,
    /// Its size.
    pub bytes: u64,
    /// A service uses it at this moment.
    pub in_use: bool,
    /// What is damaged; empty: nothing.
    pub damage: Vec<String>,
    /// The newest migration that was applied.
    pub schema: Option<i64>,
    /// When the store was created.
    pub created: Option<UnixMillis>,
    /// How many jobs there are, by status.
    pub jobs: BTreeMap<String, u64>,
    /// Tries of ended jobs that storage has not settled (rules.md 6.1).
    pub unsettled: u64,
}

/// Looks at the store of `state_dir` as a whole (`PRAGMA integrity_check`), also beside a running service.
///
/// Damage is in the report. Errors: `store-missing`, and what keeps the file from being read.
pub async fn inspect(state_dir: &Path) -> Result<StoreReport> {
    let dir = state_dir.to_owned();
    let (path, bytes) = blocking(move || {
        let path = db_path(&dir);
        let found = path.metadata().map_err(|error| missing(&dir, error))?;
        Ok((path, found.len()))
    })
    .await?;
    let dir = state_dir.to_owned();
    // Held meanwhile where it is free: nobody starts on a store that is being looked at.
    let lock = match blocking(move || open::lock(&dir)).await {
        Ok(lock) => Some(lock),
        Err(error) if error.code() == "store-locked" => None,
        Err(error) => return Err(error),
    };
    let mut report = StoreReport { in_use: lock.is_none(), bytes, ..examine(&path).await? };
    report.path = path;
    Ok(report)
}

fn missing(state_dir: &Path, error: std::io::Error) -> Error {
    let text = format!("there is no job store in {}", state_dir.display());
    Error::permanent("store-missing", text)
        .source(error)
        .hint("Name its directory with --state-dir, or the configuration that does with --config.")
}

/// Everything but the place; whoever calls knows that nobody writes, or that it does not matter.
pub(super) async fn examine(path: &Path) -> Result<StoreReport> {
    let mut report = StoreReport::default();
    let files = path.to_owned();
    report.damage.extend(blocking(move || damaged_files(&files)).await?);
    if let Err(error) = query(path, &mut report).await {
        // A statement that fails is as bad: whatever this file is, it is no store of ours.
        if error.is_temporary() {
            return Err(error);
        }
        report.damage.push(error.report_without_hint());
    }
    Ok(report)
}

async fn query(path: &Path, report: &mut StoreReport) -> Result<()> {
    let mut db = read_only(path).await?;
    let found: Vec<String> = sqlx::query_scalar("PRAGMA integrity_check").fetch_all(&mut db).await?;
    report.damage.extend(found.into_iter().filter(|line| line != "ok"));
    for row in sqlx::query("PRAGMA foreign_key_check").fetch_all(&mut db).await? {
        let (table, parent): (String, String) = (row.try_get("table")?, row.try_get("parent")?);
        report.damage.push(format!("a row of {table} points to no row of {parent}"));
    }
    report.schema =
        sqlx::query_scalar("SELECT max(version) FROM _sqlx_migrations").fetch_one(&mut db).await?;
    let created: Option<String> =
        sqlx::query_scalar("SELECT value FROM meta WHERE key = 'created-ms'").fetch_optional(&mut db).await?;
    report.created = created.and_then(|ms| ms.parse().ok()).map(UnixMillis);
    for row in
        sqlx::query("SELECT status, count(*) AS n FROM jobs GROUP BY status").fetch_all(&mut db).await?
    {
        report.jobs.insert(row.try_get("status")?, super::words::count(&row, "n")?);
    }
    let unsettled: i64 = sqlx::query_scalar(
        "SELECT count(*) FROM attempts a JOIN jobs j ON j.id = a.job_id \
         WHERE a.status IN ('running', 'unknown') AND j.finished_ms IS NOT NULL",
    )
    .fetch_one(&mut db)
    .await?;
    report.unsettled = u64::try_from(unsettled).unwrap_or(0);
    db.close().await?;
    Ok(())
}

pub(super) async fn read_only(path: &Path) -> Result<SqliteConnection> {
    let options = SqliteConnectOptions::new().filename(path).read_only(true).disable_statement_logging();
    Ok(options.connect().await?)
}

/// What is wrong with the files that SQLite itself would pass over in silence, taking what was committed last for never
/// written.
pub(super) fn damaged_files(db: &Path) -> Result<Option<String>> {
    let io = |error: std::io::Error| {
        Error::temporary("store-io", format!("look at {}", db.display())).source(error)
    };
    let log = side_file(db, "-wal");
    let mut head = [0; WAL_HEADER_BYTES];
    match File::open(&log).and_then(|mut file| file.read_exact(&mut head)) {
        Ok(()) => {}
        // None, or one that was not begun.
        Err(error)
            if matches!(error.kind(), std::io::ErrorKind::NotFound | std::io::ErrorKind::UnexpectedEof) =>
        {
            return Ok(None);
        }
        Err(error) => return Err(io(error)),
    }
    if db.metadata().map_err(io)?.len() == 0 {
        return Ok(Some("the database is empty, but its write-ahead log is not".to_owned()));
    }
    // What a power failure leaves of a log that was just begun: nothing was committed to it.
    if head == [0; WAL_HEADER_BYTES] || is_wal_header(&head) {
        return Ok(None);
    }
    Ok(Some("the head of the write-ahead log is damaged: what was committed last is lost".to_owned()))
}

/// <https://www.sqlite.org/fileformat2.html#the_write_ahead_log>
const WAL_HEADER_BYTES: usize = 32;

/// Magic number and checksum over the first 24 bytes.
fn is_wal_header(head: &[u8; WAL_HEADER_BYTES]) -> bool {
    let words: Vec<[u8; 4]> = head.chunks_exact(4).filter_map(|word| word.try_into().ok()).collect();
    let Some(magic) = words.first().map(|word| u32::from_be_bytes(*word)) else { return false };
    let read = match magic {
        0x377f_0682 => u32::from_le_bytes,
        0x377f_0683 => u32::from_be_bytes,
        _ => return false,
    };
    let (mut one, mut two) = (0_u32, 0_u32);
    for pair in words.iter().take(6).collect::<Vec<_>>().chunks_exact(2) {
        if let [first, second] = pair {
            one = one.wrapping_add(read(**first)).wrapping_add(two);
            two = two.wrapping_add(read(**second)).wrapping_add(one);
        }
    }
    let sums: Vec<u32> = words.iter().skip(6).map(|word| u32::from_be_bytes(*word)).collect();
    sums == [one, two]
}
