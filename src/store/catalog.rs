//! The catalog as a cache: what storage was last seen to hold. Every decision that could lose data asks storage instead
//! (rules.md 3.5, 5.1, 6.1).
//!
//! Readings of storage take time, and meanwhile backups are committed and deleted. Each reading takes a generation when it
//! begins, each deletion one when it ends, and of two that speak of one folder the higher counts.

use std::collections::BTreeSet;

use sqlx::sqlite::SqliteRow;
use sqlx::{FromRow, QueryBuilder, Row, Sqlite};

use super::words::{at, stored, word};
use super::{Store, Tx};
use crate::error::Result;
use crate::model::{BackupType, UnixMillis};

/// The key of the counter of generations.
const GENERATION: &str = "catalog-generation";

/// What is known of a folder.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum CatalogState {
    /// A backup; nothing is known to be missing or damaged.
    Whole,
    /// A backup of which something is missing or damaged.
    Broken,
    /// A backup that was created in the future (rules.md 3.1).
    Void,
    /// Its `metadata.yaml` cannot be understood.
    Corrupt,
    /// It has no `metadata.yaml`: it is being written, or was never finished.
    Incomplete,
    /// Storage did not say what is in it.
    Unreadable,
    /// Not a folder of a backup.
    Foreign,
}

impl CatalogState {
    const ALL: [Self; 7] = [
        Self::Whole,
        Self::Broken,
        Self::Void,
        Self::Corrupt,
        Self::Incomplete,
        Self::Unreadable,
        Self::Foreign,
    ];

    /// The word stored and shown.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Whole => "whole",
            Self::Broken => "broken",
            Self::Void => "void",
            Self::Corrupt => "corrupt",
            Self::Incomplete => "incomplete",
            Self::Unreadable => "unreadable",
            Self::Foreign => "foreign",
        }
    }

    fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.as_str() == word)
    }
}

/// A folder as a reading saw it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CatalogRow {
    /// Full or incremental, by the folder it lies in.
    pub backup_type: BackupType,
    /// Its key.
    pub folder: String,
    /// The instant in the name of its run's folder; zero for a foreign one.
    pub run: UnixMillis,
    /// What it is.
    pub state: CatalogState,
    /// What is wrong with it, if anything is.
    pub reason: Option<String>,
    /// The backup in it, if it can be read.
    pub backup: Option<CatalogBackup>,
}

/// A backup, as far as lists show it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CatalogBackup {
    /// Its namespace.
    pub namespace: String,
    /// The start of its run, by its metadata.
    pub created: UnixMillis,
    /// Its end.
    pub finished: UnixMillis,
    /// What it builds on.
    pub from: Option<UnixMillis>,
    /// Which attempt of its run, from 1.
    pub attempt: u32,
    /// Records, bytes, files, indexes, UDF modules.
    pub counts: [u64; 5],
    /// ABS's word.
    pub compression: String,
    /// The mode's own word.
    pub encryption: String,
}

/// The columns of [`CatalogBackup`], from the sixth of [`ROWS`] on.
impl CatalogBackup {
    fn of(row: &SqliteRow) -> sqlx::Result<Option<Self>> {
        // By place, not by name: thousands are read at once.
        let Some(namespace) = row.try_get::<Option<String>, _>(6)? else { return Ok(None) };
        let count =
            |place: usize| row.try_get::<i64, _>(place).map(|value| u64::try_from(value).unwrap_or(0));
        Ok(Some(Self {
            namespace,
            created: UnixMillis(row.try_get(7)?),
            finished: UnixMillis(row.try_get(8)?),
            from: row.try_get::<Option<i64>, _>(9)?.map(UnixMillis),
            attempt: row.try_get(10)?,
            counts: [count(11)?, count(12)?, count(13)?, count(14)?, count(15)?],
            compression: row.try_get(16)?,
            encryption: row.try_get(17)?,
        }))
    }
}

const ROWS: &str = "SELECT c.routine, c.type, c.folder, c.run_ms, c.state, c.reason, c.namespace, c.created_ms, \
     c.finished_ms, c.from_ms, c.attempt, c.records, c.bytes, c.files, c.indexes, c.udfs, c.compression, c.encryption \
     FROM json_each(?) k CROSS JOIN catalog_backups c ON c.place = k.value ->> 0 AND c.routine = k.value ->> 1 \
     AND c.type = ? AND c.run_ms BETWEEN ? AND ? AND c.state <> 'gone'";

impl FromRow<'_, SqliteRow> for CatalogRow {
    fn from_row(row: &SqliteRow) -> sqlx::Result<Self> {
        Ok(Self {
            backup_type: word(row, "type", BackupType::parse)?,
            folder: row.try_get(2)?,
            run: UnixMillis(row.try_get(3)?),
            state: word(row, "state", CatalogState::parse)?,
            reason: row.try_get(5)?,
            backup: CatalogBackup::of(row)?,
        })
    }
}

/// A folder that an attempt committed to and that no reading has looked at since.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnreadFolder {
    /// Ascending.
    pub id: i64,
    /// The storage, by its configured name.
    pub storage: String,
    /// The routine.
    pub routine: String,
    /// The folder.
    pub folder: String,
}

impl FromRow<'_, SqliteRow> for UnreadFolder {
    fn from_row(row: &SqliteRow) -> sqlx::Result<Self> {
        Ok(Self {
            id: row.try_get("id")?,
            storage: row.try_get("storage")?,
            routine: row.try_get("routine")?,
            folder: row.try_get("folder")?,
        })
    }
}

/// What a reading of storage saw.
#[derive(Debug)]
pub struct CatalogReading<'a> {
    /// As [`super::CatalogListing::place`].
    pub place: &'a str,
    /// The routine.
    pub routine: &'a str,
    /// From [`Tx::begin_catalog_reading`].
    pub generation: i64,
    /// What it saw.
    pub rows: &'a [CatalogRow],
    /// Folders in which nothing changes, as storage did not answer about them.
    pub unanswered: &'a [String],
    /// When it began; none if it only looked at some runs.
    pub as_of: Option<UnixMillis>,
    /// Whether it read every document again.
    pub whole: bool,
    /// The unread folders that it has looked at.
    pub was_unread: &'a [i64],
}

impl Store {
    /// The folders of one type of several (place, routine), with the routine of each; runs from and to these instants. Those
    /// of one routine come together, in the order of their keys.
    pub async fn catalog_rows(
        &self,
        of: &[(&str, &str)],
        backup_type: BackupType,
        from: Option<UnixMillis>,
        to: Option<UnixMillis>,
    ) -> Result<Vec<(String, CatalogRow)>> {
        let rows = sqlx::query(ROWS)
            .bind(serde_json::json!(of).to_string())
            .bind(backup_type.as_str())
            .bind(from.map_or(i64::MIN, |from| from.0))
            .bind(to.map_or(i64::MAX, |to| to.0))
            .fetch_all(self.reader())
            .await?;
        let read = |row: &SqliteRow| Ok((row.try_get(0)?, CatalogRow::from_row(row)?));
        Ok(rows.iter().map(read).collect::<sqlx::Result<_>>()?)
    }

    /// What is known to be whole or void of a routine, by type and run; runs with anything else are left out.
    pub async fn catalog_settled_runs(
        &self,
        place: &str,
        routine: &str,
    ) -> Result<BTreeSet<(BackupType, UnixMillis)>> {
        let rows = sqlx::query(
            "SELECT type, run_ms FROM catalog_backups WHERE place = ? AND routine = ? GROUP BY type, run_ms \
             HAVING min(state IN ('whole', 'void')) = 1",
        )
        .bind(place)
        .bind(routine)
        .fetch_all(self.reader())
        .await?;
        let read = |row: &SqliteRow| Ok((word(row, "type", BackupType::parse)?, at(row, "run_ms")?));
        Ok(rows.iter().map(read).collect::<sqlx::Result<_>>()?)
    }

    /// What attempts committed to since it was looked at, oldest first.
    pub async fn catalog_unread(&self) -> Result<Vec<UnreadFolder>> {
        Ok(sqlx::query_as("SELECT * FROM catalog_unread ORDER BY id").fetch_all(self.reader()).await?)
    }
}

/// SQLite binds at most 32,766 values in one statement; a row has 20.
const ROWS_PER_INSERT: usize = 1000;

impl Tx {
    pub(super) async fn next_generation(&mut self) -> Result<i64> {
        let last: i64 = self.meta(GENERATION).await?.and_then(|value| value.parse().ok()).unwrap_or(0);
        self.set_meta(GENERATION, &(last + 1).to_string()).await?;
        Ok(last + 1)
    }

    /// A reading of a routine begins: its generation.
    pub async fn begin_catalog_reading(
        &mut self,
        place: &str,
        true_place: &str,
        routine: &str,
    ) -> Result<i64> {
        let generation = self.next_generation().await?;
        sqlx::query(
            "INSERT INTO catalog_listings (place, routine, true_place, changed) VALUES (?, ?, ?, ?) \
             ON CONFLICT DO UPDATE SET true_place = excluded.true_place",
        )
        .bind(place)
        .bind(routine)
        .bind(true_place)
        .bind(generation)
        .execute(&mut *self.0)
        .await?;
        Ok(generation)
    }

    /// Takes in what a reading saw. `looked_at`: the runs that it looked at; what was known of them and was not seen any more
    /// goes, unless something newer is known.
    pub async fn end_catalog_reading(
        &mut self,
        reading: &CatalogReading<'_>,
        looked_at: impl Fn(BackupType, UnixMillis) -> bool,
    ) -> Result<()> {
        let known = sqlx::query(
            "SELECT type, folder, run_ms FROM catalog_backups WHERE place = ? AND routine = ? AND generation < ?",
        )
        .bind(reading.place)
        .bind(reading.routine)
        .bind(reading.generation)
        .fetch_all(&mut *self.0)
        .await?;
        let seen: BTreeSet<&str> = reading.rows.iter().map(|row| row.folder.as_str()).collect();
        let mut gone: Vec<String> = Vec::new();
        for row in &known {
            let folder: String = row.try_get("folder")?;
            let unanswered = reading.unanswered.iter().any(|outer| super::pins::is_in(&folder, outer));
            if !unanswered
                && !seen.contains(folder.as_str())
                && looked_at(word(row, "type", BackupType::parse)?, at(row, "run_ms")?)
            {
                gone.push(folder);
            }
        }
        sqlx::query(
            "DELETE FROM catalog_backups WHERE place = ? AND routine = ? \
             AND folder IN (SELECT value FROM json_each(?))",
        )
        .bind(reading.place)
        .bind(reading.routine)
        .bind(serde_json::json!(gone).to_string())
        .execute(&mut *self.0)
        .await?;
        for rows in reading.rows.chunks(ROWS_PER_INSERT) {
            self.put_catalog_rows(reading, rows).await?;
        }
        self.note_changed(reading.routine).await?;
        sqlx::query("DELETE FROM catalog_unread WHERE id IN (SELECT value FROM json_each(?))")
            .bind(serde_json::json!(reading.was_unread).to_string())
            .execute(&mut *self.0)
            .await?;
        let Some(as_of) = reading.as_of else { return Ok(()) };
        sqlx::query(
            "UPDATE catalog_listings SET as_of_ms = max(ifnull(as_of_ms, 0), ?), \
             whole_ms = CASE WHEN ? THEN max(ifnull(whole_ms, 0), ?) ELSE whole_ms END, \
             failed_ms = NULL, failed_code = NULL, failed = NULL WHERE place = ? AND routine = ?",
        )
        .bind(as_of.0)
        .bind(reading.whole)
        .bind(as_of.0)
        .bind(reading.place)
        .bind(reading.routine)
        .execute(&mut *self.0)
        .await?;
        Ok(())
    }

    async fn put_catalog_rows(&mut self, reading: &CatalogReading<'_>, rows: &[CatalogRow]) -> Result<()> {
        let mut insert = QueryBuilder::<Sqlite>::new(
            "INSERT INTO catalog_backups (place, routine, type, folder, run_ms, generation, state, reason, namespace, \
             created_ms, finished_ms, from_ms, attempt, records, bytes, files, indexes, udfs, compression, encryption) ",
        );
        insert.push_values(rows, |mut values, row| {
            let backup = row.backup.as_ref();
            values
                .push_bind(reading.place)
                .push_bind(reading.routine)
                .push_bind(row.backup_type.as_str())
                .push_bind(&row.folder)
                .push_bind(row.run.0)
                .push_bind(reading.generation)
                .push_bind(row.state.as_str())
                .push_bind(&row.reason)
                .push_bind(backup.map(|one| one.namespace.as_str()))
                .push_bind(backup.map(|one| one.created.0))
                .push_bind(backup.map(|one| one.finished.0))
                .push_bind(backup.and_then(|one| one.from).map(|from| from.0))
                .push_bind(backup.map(|one| one.attempt));
            for place in 0..5 {
                values.push_bind(backup.and_then(|one| one.counts.get(place)).map(|count| stored(*count)));
            }
            values
                .push_bind(backup.map(|one| one.compression.as_str()))
                .push_bind(backup.map(|one| one.encryption.as_str()));
        });
        insert.push(
            " ON CONFLICT DO UPDATE SET run_ms = excluded.run_ms, generation = excluded.generation, \
             state = excluded.state, reason = excluded.reason, namespace = excluded.namespace, \
             created_ms = excluded.created_ms, finished_ms = excluded.finished_ms, from_ms = excluded.from_ms, \
             attempt = excluded.attempt, records = excluded.records, bytes = excluded.bytes, files = excluded.files, \
             indexes = excluded.indexes, udfs = excluded.udfs, compression = excluded.compression, \
             encryption = excluded.encryption WHERE catalog_backups.generation < excluded.generation \
             AND excluded.state <> 'unreadable'",
        );
        insert.build().persistent(false).execute(&mut *self.0).await?;
        Ok(())
    }

    /// Forgets the routines that are not among these (place, routine).
    pub async fn keep_catalog(&mut self, configured: &[(String, String)]) -> Result<()> {
        let kept = serde_json::json!(configured).to_string();
        for sql in [
            "DELETE FROM catalog_backups WHERE (place, routine) NOT IN \
             (SELECT value ->> 0, value ->> 1 FROM json_each(?))",
            "DELETE FROM catalog_listings WHERE (place, routine) NOT IN \
             (SELECT value ->> 0, value ->> 1 FROM json_each(?))",
            "DELETE FROM catalog_unread WHERE routine NOT IN (SELECT value ->> 1 FROM json_each(?))",
        ] {
            sqlx::query(sql).bind(&kept).execute(&mut *self.0).await?;
        }
        Ok(())
    }

    /// A backup has been committed to a folder: the next list looks at it first. The safety backup of a restore is in no
    /// routine's list.
    pub(super) async fn note_committed(
        &mut self,
        job: super::JobId,
        storage: &str,
        folder: &str,
    ) -> Result<()> {
        sqlx::query(
            "INSERT INTO catalog_unread (storage, routine, folder) \
             SELECT ?, routine, ? FROM jobs WHERE id = ? AND routine IS NOT NULL AND kind = 'backup'",
        )
        .bind(storage)
        .bind(folder)
        .bind(job)
        .execute(&mut *self.0)
        .await?;
        Ok(())
    }

    /// A job has met a backup: where no reading saw it, the next list looks at it first.
    pub(super) async fn note_seen(&mut self, storage: &str, routine: &str, folder: &str) -> Result<()> {
        sqlx::query(
            "INSERT INTO catalog_unread (storage, routine, folder) SELECT ?1, ?2, ?3 \
             WHERE NOT EXISTS (SELECT 1 FROM catalog_backups WHERE routine = ?2 AND folder = ?3 \
             AND place IN (SELECT place FROM catalog_listings WHERE routine = ?2))",
        )
        .bind(storage)
        .bind(routine)
        .bind(folder)
        .execute(&mut *self.0)
        .await?;
        Ok(())
    }

    /// The backup of a deletion is gone: a reading that began before must not bring it back.
    pub(super) async fn note_deleted(&mut self, address: &str) -> Result<()> {
        let generation = self.next_generation().await?;
        sqlx::query(
            "INSERT INTO catalog_backups (place, routine, type, folder, run_ms, generation, state) \
             SELECT l.place, l.routine, d.type, d.folder, d.created_ms, ?, 'gone' FROM deletions d \
             JOIN catalog_listings l ON l.true_place = d.place AND l.routine = d.routine WHERE d.address = ? \
             ON CONFLICT DO UPDATE SET generation = excluded.generation, state = 'gone'",
        )
        .bind(generation)
        .bind(address)
        .execute(&mut *self.0)
        .await?;
        sqlx::query(
            "UPDATE catalog_listings SET changed = ? WHERE routine = (SELECT routine FROM deletions WHERE address = ?)",
        )
        .bind(generation)
        .bind(address)
        .execute(&mut *self.0)
        .await?;
        Ok(())
    }
}
