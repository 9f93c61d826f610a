//! Opening the store: directory, lock, file, migrations.

use std::fs::{DirBuilder, File, OpenOptions, TryLockError};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use sqlx::migrate::{MigrateError, Migrator};
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous};
use sqlx::{ConnectOptions, Connection, SqliteConnection};

use super::check::damaged_files;
use super::{Inner, Tx, corrupt};
use crate::clock::SharedClock;
use crate::error::{Error, Result};
use crate::tasks::blocking;

pub(super) static MIGRATIONS: Migrator = sqlx::migrate!("./migrations");

/// Readers beside the writer: API requests and metrics; SQLite reads do not wait for the writer in WAL.
const READERS: u32 = 4;

/// What each reader keeps of the file, in KiB: SQLite's own 2 MiB hold a list's indexes, but not a list's rows.
const READER_CACHE_KIB: u32 = 8 << 10;

pub(super) async fn open(state_dir: &Path, clock: &SharedClock) -> Result<Inner> {
    let dir = state_dir.to_owned();
    let lock = blocking(move || lock(&dir)).await?;
    open_locked(state_dir, clock, lock).await
}

/// The database file of a state directory.
pub(super) fn db_path(state_dir: &Path) -> PathBuf {
    state_dir.join("holdfast.db")
}

/// A file that SQLite keeps beside a database: `-wal`, `-shm`.
pub(super) fn side_file(db: &Path, suffix: &str) -> PathBuf {
    let mut name = db.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

/// [`open`] by whoever holds the lock.
pub(super) async fn open_locked(state_dir: &Path, clock: &SharedClock, lock: File) -> Result<Inner> {
    let path = db_path(state_dir);
    let files = path.clone();
    if let Some(damage) = blocking(move || damaged_files(&files)).await? {
        return Err(corrupt(damage));
    }
    let options = SqliteConnectOptions::new()
        .filename(&path)
        .create_if_missing(true)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Full)
        .foreign_keys(true)
        .busy_timeout(Duration::from_secs(5))
        .disable_statement_logging();
    // The writer opens and migrates alone: several fresh connections that switch to WAL at once meet SQLITE_BUSY.
    let writer = SqlitePoolOptions::new()
        .max_connections(1)
        .idle_timeout(None)
        .max_lifetime(None)
        .test_before_acquire(false)
        .after_release(|connection, _| Box::pin(is_usable(connection)))
        .connect_with(options.clone())
        .await?;
    check(&writer).await?;
    MIGRATIONS.run(&writer).await.map_err(migrate_error)?;
    seed(Tx(writer.begin_with("BEGIN IMMEDIATE").await?), clock).await?;
    let reading = options.create_if_missing(false).pragma("query_only", "ON");
    let reading = reading.pragma("cache_size", format!("-{READER_CACHE_KIB}"));
    let reader = SqlitePoolOptions::new()
        .max_connections(READERS)
        .test_before_acquire(false)
        .connect_with(reading)
        .await?;
    Ok(Inner { path, writer, reader, lock })
}

/// Whether a connection can begin another transaction; if not, it is closed and a new one is opened in its place.
///
/// After a write that failed (disk full, I/O error) SQLite has rolled back by itself. The `ROLLBACK` that sqlx then
/// sends fails, and sqlx counts the transaction as open for ever: it would refuse every later `BEGIN`.
async fn is_usable(connection: &mut SqliteConnection) -> sqlx::Result<bool> {
    // Behind a rollback that waits in the queue of the connection.
    connection.ping().await?;
    Ok(!connection.is_in_transaction())
}

/// Creates the directory for its owner only and takes its lock, which the system frees with our process.
pub(super) fn lock(state_dir: &Path) -> Result<File> {
    let refused = |error: std::io::Error| {
        Error::permanent("state-dir", format!("prepare the state directory {}", state_dir.display()))
            .source(error)
            .hint("Name a directory that this user can write with `service.state-dir`.")
    };
    DirBuilder::new().recursive(true).mode(0o700).create(state_dir).map_err(refused)?;
    let file = OpenOptions::new()
        .create(true)
        .write(true)
        .truncate(false)
        .mode(0o600)
        .open(state_dir.join("lock"))
        .map_err(refused)?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(Error::permanent(
            "store-locked",
            format!("another process of Holdfast uses the state directory {}", state_dir.display()),
        )
        .hint("Stop it, or give this one a state directory of its own.")),
        Err(TryLockError::Error(error)) => Err(refused(error)),
    }
}

/// Refuses a damaged file before anything is written to it (rules.md 2.7).
async fn check(writer: &sqlx::SqlitePool) -> Result<()> {
    let found: String = sqlx::query_scalar("PRAGMA quick_check(1)").fetch_one(writer).await?;
    if found == "ok" { Ok(()) } else { Err(corrupt(found)) }
}

fn migrate_error(error: MigrateError) -> Error {
    match error {
        MigrateError::VersionMissing(version) => Error::permanent(
            "store-newer",
            format!("the job store has schema {version}, which this program does not know"),
        )
        .hint("Start the newer release of Holdfast that wrote it; a store cannot be downgraded."),
        MigrateError::Execute(error) => error.into(),
        error => Error::permanent("store-migration", "the job store could not be brought to this release")
            .source(error),
    }
}

/// Notes the creation time of a new store and starts its job ids there (rules.md 2.7).
async fn seed(mut tx: Tx, clock: &SharedClock) -> Result<()> {
    if tx.meta("created-ms").await?.is_none() {
        let now = clock.now();
        tx.set_meta("created-ms", &now.0.to_string()).await?;
        sqlx::query("INSERT INTO sqlite_sequence (name, seq) VALUES ('jobs', ?)")
            .bind(now.secs())
            .execute(&mut *tx.0)
            .await?;
    }
    tx.commit().await
}
