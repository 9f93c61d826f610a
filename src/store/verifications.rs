//! What reading each backup again has shown: the latest outcome of each, a cache (rules.md 3.11).

use sqlx::sqlite::SqliteRow;
use sqlx::{FromRow, Row};

use super::words::{at, count, stored, word};
use super::{JobId, Store, Tx};
use crate::error::Result;
use crate::model::{BackupType, UnixMillis};

/// What reading a backup again has shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum VerifyOutcome {
    /// Every byte and every count is as it says of itself, and it can be restored with what it builds on.
    Verified,
    /// It is not what it says of itself.
    Damaged,
    /// Storage did not give all of it: it may be good.
    Unreadable,
    /// It is good, but something that it builds on is missing or damaged (rules.md 3.4).
    ChainBroken,
}

impl VerifyOutcome {
    /// Every outcome.
    pub const ALL: [Self; 4] = [Self::Verified, Self::Damaged, Self::Unreadable, Self::ChainBroken];

    /// The word stored and shown.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Verified => "verified",
            Self::Damaged => "damaged",
            Self::Unreadable => "unreadable",
            Self::ChainBroken => "chain-broken",
        }
    }

    /// The outcome of a stored word; none for an unknown one.
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|outcome| outcome.as_str() == word)
    }
}

/// The latest outcome of one backup.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VerificationRow {
    /// Its storage, by its configured name.
    pub storage: String,
    /// Its folder.
    pub folder: String,
    /// Its routine.
    pub routine: String,
    /// Full or incremental.
    pub backup_type: BackupType,
    /// Its namespace.
    pub namespace: String,
    /// The start of its run.
    pub created: UnixMillis,
    /// When it was read.
    pub at: UnixMillis,
    /// The job that read it.
    pub job_id: JobId,
    /// What came of it.
    pub outcome: VerifyOutcome,
    /// Why it is not verified; none if it is.
    pub reason: Option<String>,
    /// Records read.
    pub records: u64,
    /// Stored bytes read.
    pub bytes: u64,
}

impl FromRow<'_, SqliteRow> for VerificationRow {
    fn from_row(row: &SqliteRow) -> sqlx::Result<Self> {
        Ok(Self {
            storage: row.try_get("storage")?,
            folder: row.try_get("folder")?,
            routine: row.try_get("routine")?,
            backup_type: word(row, "type", BackupType::parse)?,
            namespace: row.try_get("namespace")?,
            created: at(row, "created_ms")?,
            at: at(row, "at_ms")?,
            job_id: row.try_get("job_id")?,
            outcome: word(row, "outcome", VerifyOutcome::parse)?,
            reason: row.try_get("reason")?,
            records: count(row, "records")?,
            bytes: count(row, "bytes")?,
        })
    }
}

impl Store {
    /// The latest outcomes of a routine's backups, by folder.
    pub async fn verifications(&self, storage: &str, routine: &str) -> Result<Vec<VerificationRow>> {
        Ok(sqlx::query_as("SELECT * FROM verifications WHERE storage = ? AND routine = ? ORDER BY folder")
            .bind(storage)
            .bind(routine)
            .fetch_all(self.reader())
            .await?)
    }

    /// The latest outcome of one backup.
    pub async fn verification(&self, storage: &str, folder: &str) -> Result<Option<VerificationRow>> {
        Ok(sqlx::query_as("SELECT * FROM verifications WHERE storage = ? AND folder = ?")
            .bind(storage)
            .bind(folder)
            .fetch_optional(self.reader())
            .await?)
    }

    /// The latest outcomes of the backups of several (storage, routine).
    pub async fn verifications_of(&self, of: &[(&str, &str)]) -> Result<Vec<VerificationRow>> {
        Ok(sqlx::query_as(
            "SELECT v.* FROM json_each(?) k CROSS JOIN verifications v \
             ON v.storage = k.value ->> 0 AND v.routine = k.value ->> 1",
        )
        .bind(serde_json::json!(of).to_string())
        .fetch_all(self.reader())
        .await?)
    }

    /// How many backups of a routine are damaged, or cannot be restored because of another one.
    pub async fn damaged_backups(&self, storage: &str, routine: &str) -> Result<u64> {
        let found: i64 = sqlx::query_scalar(
            "SELECT count(*) FROM verifications WHERE storage = ? AND routine = ? \
             AND outcome IN ('damaged', 'chain-broken')",
        )
        .bind(storage)
        .bind(routine)
        .fetch_one(self.reader())
        .await?;
        Ok(u64::try_from(found).unwrap_or_default())
    }

    /// Whether any backup of a routine was read again in a storage.
    pub async fn was_verified(&self, storage: &str, routine: &str) -> Result<bool> {
        let found: bool = sqlx::query_scalar(
            "SELECT EXISTS (SELECT 1 FROM verifications WHERE storage = ? AND routine = ?)",
        )
        .bind(storage)
        .bind(routine)
        .fetch_one(self.reader())
        .await?;
        Ok(found)
    }

    /// The BLAKE3 of the manifest that this store committed into a folder, in hex; none if it did not, or does not know. A
    /// folder that was committed in another storage is a copy of that one: no two runs of a routine have one name.
    pub async fn manifest_hash(&self, storage: &str, folder: &str) -> Result<Option<String>> {
        let known: Option<Option<String>> = sqlx::query_scalar(
            "SELECT manifest_hash FROM attempts WHERE folder = ? AND status = 'committed' \
             ORDER BY storage = ? DESC, job_id DESC LIMIT 1",
        )
        .bind(folder)
        .bind(storage)
        .fetch_optional(self.reader())
        .await?;
        Ok(known.flatten())
    }
}

impl Tx {
    /// Writes the outcome of a backup in place of an earlier one; the next list looks at what it did not know.
    pub async fn set_verification(&mut self, row: &VerificationRow) -> Result<()> {
        self.set_verification_of_copy(row).await?;
        self.note_seen(&row.storage, &row.routine, &row.folder).await
    }

    /// The same of a copy, which is in no list.
    pub async fn set_verification_of_copy(&mut self, row: &VerificationRow) -> Result<()> {
        sqlx::query(
            "INSERT OR REPLACE INTO verifications (storage, folder, routine, type, namespace, created_ms, at_ms, \
             job_id, outcome, reason, records, bytes) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        )
        .bind(&row.storage)
        .bind(&row.folder)
        .bind(&row.routine)
        .bind(row.backup_type.as_str())
        .bind(&row.namespace)
        .bind(row.created.0)
        .bind(row.at.0)
        .bind(row.job_id)
        .bind(row.outcome.as_str())
        .bind(&row.reason)
        .bind(stored(row.records))
        .bind(stored(row.bytes))
        .execute(&mut *self.0)
        .await?;
        self.note_changed(&row.routine).await
    }

    /// Forgets the outcomes of backups that are gone: those of a routine whose folder is not among `there`.
    pub async fn keep_verifications(&mut self, storage: &str, routine: &str, there: &[&str]) -> Result<u64> {
        let forgotten = sqlx::query(
            "DELETE FROM verifications WHERE storage = ? AND routine = ? \
             AND folder NOT IN (SELECT value FROM json_each(?))",
        )
        .bind(storage)
        .bind(routine)
        .bind(serde_json::json!(there).to_string())
        .execute(&mut *self.0)
        .await?
        .rows_affected();
        if forgotten > 0 {
            self.note_changed(routine).await?;
        }
        Ok(forgotten)
    }

    /// Forgets the outcome of one backup, which is being deleted.
    pub async fn forget_verification(&mut self, storage: &str, routine: &str, folder: &str) -> Result<()> {
        sqlx::query("DELETE FROM verifications WHERE storage = ? AND folder = ?")
            .bind(storage)
            .bind(folder)
            .execute(&mut *self.0)
            .await?;
        self.note_changed(routine).await
    }
}
