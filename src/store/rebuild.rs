//! A damaged store is set aside and a new one made: `holdfast store rebuild` (rules.md 2.7).
//!
//! Storage is the truth of backups, so nothing but the history of jobs is lost. What single values can still be read (the
//! id of this instance, the known storage folders, the last job id) are taken along.

use std::fs::File;
use std::path::{Path, PathBuf};

use super::Store;
use super::check::{examine, read_only};
use super::open::{self, db_path, side_file};
use crate::clock::SharedClock;
use crate::error::{Error, Result};
use crate::tasks::blocking;

/// What became of the store of before.
#[derive(Debug, Clone)]
pub struct Rebuilt {
    /// What was wrong with it.
    pub damage: Vec<String>,
    /// Where its files are now.
    pub set_aside: Vec<PathBuf>,
    /// How many single values were taken along.
    pub taken_along: usize,
}

/// Sets the store of `state_dir` aside under its lock, and opens a new one in its place. Its job ids go on from the
/// present, or from the last one of before, so that none is given twice.
///
/// Errors: `store-missing`; `store-intact` where nothing is damaged, unless `force`; `store-locked`.
pub async fn rebuild(state_dir: &Path, clock: &SharedClock, force: bool) -> Result<(Store, Rebuilt)> {
    let path = db_path(state_dir);
    if !path.exists() {
        return Err(Error::permanent(
            "store-missing",
            format!("there is no job store in {}", state_dir.display()),
        )
        .hint("A start makes a new one."));
    }
    let dir = state_dir.to_owned();
    let lock = blocking(move || open::lock(&dir)).await?;
    let damage = examine(&path).await?.damage;
    if damage.is_empty() && !force {
        return Err(Error::permanent(
            "store-intact",
            format!("the job store {} is not damaged", path.display()),
        )
        .hint(
            "Nothing was changed. --force sets it aside all the same; the history of jobs is lost by it.",
        ));
    }
    let (values, last_job) = salvage(&path).await;
    let stamp = clock.now().to_utc().format("%Y%m%dT%H%M%SZ").to_string();
    let dir = state_dir.to_owned();
    let set_aside = blocking(move || set_aside(&dir, &stamp)).await?;
    let store = Store(std::sync::Arc::new(open::open_locked(state_dir, clock, lock).await?));
    let last_job = last_job.unwrap_or_else(|| clock.now().0 / 1000 + IDS_LEFT_OUT);
    take_along(&store, &values, last_job).await?;
    Ok((store, Rebuilt { damage, set_aside, taken_along: values.len() }))
}

/// Ids begin at the second of a store's creation and may run ahead of the clock, by as many jobs as came faster than one a
/// second: where the last one cannot be read, this many are left out, so that none is given twice (rules.md 2.7).
const IDS_LEFT_OUT: i64 = 86_400;

/// What can still be read: single values, and the last job id.
async fn salvage(path: &Path) -> (Vec<(String, String)>, Option<i64>) {
    let Ok(mut db) = read_only(path).await else { return (Vec::new(), None) };
    // The creation time belongs to the file.
    let values = sqlx::query_as("SELECT key, value FROM meta WHERE key <> 'created-ms'");
    let values = values.fetch_all(&mut db).await.unwrap_or_default();
    let last = sqlx::query_scalar("SELECT seq FROM sqlite_sequence WHERE name = 'jobs'");
    let last = last.fetch_optional(&mut db).await.unwrap_or_default();
    // Whatever it answers, the file is moved next.
    drop(sqlx::Connection::close(db).await);
    (values, last)
}

/// Renames the files so that SQLite still takes them for one database.
fn set_aside(state_dir: &Path, stamp: &str) -> Result<Vec<PathBuf>> {
    let failed =
        |error: std::io::Error| Error::temporary("store-io", "set the damaged store aside").source(error);
    let (from, to) = (db_path(state_dir), state_dir.join(format!("holdfast-set-aside-{stamp}.db")));
    if to.exists() {
        return Err(failed(std::io::ErrorKind::AlreadyExists.into()));
    }
    let mut moved = Vec::new();
    // The log first: were it left behind, the new database would find it.
    for suffix in ["-wal", "-shm", ""] {
        let (from, to) = (side_file(&from, suffix), side_file(&to, suffix));
        match std::fs::rename(&from, &to) {
            Ok(()) => moved.push(to),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            Err(error) => return Err(failed(error)),
        }
    }
    File::open(state_dir).and_then(|dir| dir.sync_all()).map_err(failed)?;
    Ok(moved)
}

async fn take_along(store: &Store, values: &[(String, String)], last_job: i64) -> Result<()> {
    let mut tx = store.write().await?;
    for (key, value) in values {
        tx.set_meta(key, value).await?;
    }
    sqlx::query("UPDATE sqlite_sequence SET seq = max(seq, ?) WHERE name = 'jobs'")
        .bind(last_job)
        .execute(&mut *tx.0)
        .await?;
    tx.commit().await
}
