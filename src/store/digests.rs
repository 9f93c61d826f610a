//! The digests that hide older versions of their records, for the time of one restore (rules.md 4.3, 4.5).
//!
//! A SQLite file of its own, about 40 bytes a digest, deleted with the restore: it may be lost at any moment, so it is
//! written without journal and sync.

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::str::FromStr;

use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqliteLockingMode, SqliteSynchronous};
use sqlx::{Connection, QueryBuilder, Row, Sqlite, SqliteConnection};
use tokio::sync::Mutex;

use crate::error::{Error, Result};

/// Digests in one statement; each is one or two of SQLite's 32,766 bound values.
const DIGESTS_PER_STATEMENT: usize = 1000;

/// What the names of the files begin and end with.
const NAME_PREFIX: &str = "restore-";
const NAME_SUFFIX: &str = ".db";

/// A record's digest.
pub type Digest = [u8; 20];

/// A table of digest → the newest chain position at which it was met.
#[derive(Debug)]
pub struct DigestTable {
    connection: Mutex<SqliteConnection>,
    path: PathBuf,
}

impl DigestTable {
    /// An empty table in a file of `dir` that is called after `what`; a leftover of that name is removed.
    pub async fn create(dir: &Path, what: &str) -> Result<Self> {
        let path = dir.join(format!("{NAME_PREFIX}{what}{NAME_SUFFIX}"));
        if let Err(error) = std::fs::remove_file(&path)
            && error.kind() != std::io::ErrorKind::NotFound
        {
            return Err(Error::temporary("store", format!("remove {}", path.display())).source(error));
        }
        let options = SqliteConnectOptions::from_str("sqlite::memory:")
            .map_err(broken)?
            .filename(&path)
            .in_memory(false)
            .shared_cache(false)
            .create_if_missing(true)
            .journal_mode(SqliteJournalMode::Off)
            .synchronous(SqliteSynchronous::Off)
            .locking_mode(SqliteLockingMode::Exclusive)
            .pragma("cache_size", "-8192");
        let mut connection = SqliteConnection::connect_with(&options).await.map_err(broken)?;
        sqlx::query("CREATE TABLE seen (digest BLOB PRIMARY KEY, position INTEGER NOT NULL) WITHOUT ROWID")
            .execute(&mut connection)
            .await
            .map_err(broken)?;
        sqlx::query("BEGIN").execute(&mut connection).await.map_err(broken)?;
        Ok(Self { connection: Mutex::new(connection), path })
    }

    /// Removes the files that a process which did not end in order has left in `dir`.
    pub fn remove_leftovers(dir: &Path) {
        let ours = |name: &str| name.starts_with(NAME_PREFIX) && name.ends_with(NAME_SUFFIX);
        let files = std::fs::read_dir(dir).into_iter().flatten().flatten();
        for file in files.filter(|file| file.file_name().to_str().is_some_and(ours)) {
            if let Err(error) = std::fs::remove_file(file.path()) {
                tracing::warn!(file = %file.path().display(), %error, "a table of digests could not be removed");
            }
        }
    }

    /// The position at which each digest was met, in the order asked.
    pub async fn find(&self, digests: &[Digest]) -> Result<Vec<Option<u32>>> {
        let mut connection = self.connection.lock().await;
        let mut met = HashMap::new();
        for chunk in digests.chunks(DIGESTS_PER_STATEMENT) {
            let mut query =
                QueryBuilder::<Sqlite>::new("SELECT digest, position FROM seen WHERE digest IN (");
            let mut list = query.separated(", ");
            for digest in chunk {
                list.push_bind(digest.to_vec());
            }
            query.push(")");
            for row in query.build().fetch_all(&mut *connection).await.map_err(broken)? {
                met.insert(
                    row.try_get::<Vec<u8>, _>(0).map_err(broken)?,
                    row.try_get::<u32, _>(1).map_err(broken)?,
                );
            }
        }
        Ok(digests.iter().map(|digest| met.get(digest.as_slice()).copied()).collect())
    }

    /// Notes that these digests were met at `position`; one that was met before keeps its position.
    pub async fn note(&self, digests: &[Digest], position: u32) -> Result<()> {
        self.claim(digests, position).await.map(|_| ())
    }

    /// Notes digests as [`Self::note`] does; says of each whether it was met here for the first time. In one step:
    /// of several callers with one digest, and of several places in one call, exactly one is told so.
    pub async fn claim(&self, digests: &[Digest], position: u32) -> Result<Vec<bool>> {
        let mut connection = self.connection.lock().await;
        let mut new = HashSet::new();
        for chunk in digests.chunks(DIGESTS_PER_STATEMENT) {
            let mut query = QueryBuilder::<Sqlite>::new("INSERT OR IGNORE INTO seen (digest, position) ");
            query.push_values(chunk, |mut row, digest| {
                row.push_bind(digest.to_vec()).push_bind(position);
            });
            query.push(" RETURNING digest");
            for row in query.build().fetch_all(&mut *connection).await.map_err(broken)? {
                new.insert(row.try_get::<Vec<u8>, _>(0).map_err(broken)?);
            }
        }
        Ok(digests.iter().map(|digest| new.remove(digest.as_slice())).collect())
    }
}

impl Drop for DigestTable {
    fn drop(&mut self) {
        // Unlinking an open file is safe; a leftover is removed at the next start.
        let _ = std::fs::remove_file(&self.path);
    }
}

fn broken(error: sqlx::Error) -> Error {
    Error::temporary("digest-table", "the restore's table of digests")
        .source(error)
        .hint("Check the free space of the state directory.")
}

#[cfg(test)]
mod tests {
    use super::DigestTable;

    #[tokio::test]
    async fn a_digest_keeps_the_position_at_which_it_was_first_met() {
        let dir = tempfile::tempdir().unwrap();
        let table = DigestTable::create(dir.path(), "1").await.unwrap();
        let many: Vec<[u8; 20]> = (0..3000_u32)
            .map(|n| {
                let mut digest = [7; 20];
                digest[..4].copy_from_slice(&n.to_be_bytes());
                digest
            })
            .collect();
        table.note(&many[..1500], 3).await.unwrap();
        table.note(&many, 1).await.unwrap();
        let found = table.find(&many).await.unwrap();
        assert_eq!(found[0], Some(3));
        assert_eq!(found[1499], Some(3));
        assert_eq!(found[1500], Some(1));
        assert_eq!(table.find(&[[9; 20]]).await.unwrap(), [None]);
        drop(table);
        assert!(!dir.path().join("restore-1.db").exists());
    }

    #[tokio::test]
    async fn a_digest_is_claimed_once() {
        let dir = tempfile::tempdir().unwrap();
        let table = DigestTable::create(dir.path(), "1").await.unwrap();
        let [a, b, c] = [[1; 20], [2; 20], [3; 20]];
        assert_eq!(table.claim(&[a, b, a], 2).await.unwrap(), [true, true, false]);
        assert_eq!(table.claim(&[c, a], 1).await.unwrap(), [true, false]);
        assert_eq!(table.find(&[a, c]).await.unwrap(), [Some(2), Some(1)]);
    }

    #[test]
    fn what_a_crash_left_is_removed_and_nothing_else() {
        let dir = tempfile::tempdir().unwrap();
        for name in ["restore-7-6e73.db", "holdfast.db", "restore-notes.txt"] {
            std::fs::write(dir.path().join(name), "x").unwrap();
        }
        DigestTable::remove_leftovers(dir.path());
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 2);
        assert!(!dir.path().join("restore-7-6e73.db").exists());
        DigestTable::remove_leftovers(&dir.path().join("missing"));
    }
}
