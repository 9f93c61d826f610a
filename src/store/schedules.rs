//! The schedule version in force per routine and type, and its high-water mark (rules.md 1.1, 1.2).

use sqlx::sqlite::SqliteRow;
use sqlx::{FromRow, Row};

use super::words::{at, word};
use super::{Store, Tx};
use crate::error::Result;
use crate::model::{BackupType, UnixMillis};

/// One schedule version and its mark.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ScheduleRow {
    /// The routine.
    pub routine: String,
    /// The type of its backups.
    pub backup_type: BackupType,
    /// The cron text, as configured.
    pub cron: String,
    /// The zone, as configured.
    pub zone: String,
    /// When this version was loaded; it has no slots before.
    pub effective_from: UnixMillis,
    /// Unix seconds at or below which nothing ever fires.
    pub mark_s: i64,
}

impl FromRow<'_, SqliteRow> for ScheduleRow {
    fn from_row(row: &SqliteRow) -> sqlx::Result<Self> {
        Ok(Self {
            routine: row.try_get("routine")?,
            backup_type: word(row, "type", BackupType::parse)?,
            cron: row.try_get("cron")?,
            zone: row.try_get("zone")?,
            effective_from: at(row, "effective_from_ms")?,
            mark_s: row.try_get("mark_s")?,
        })
    }
}

const ALL: &str = "SELECT * FROM schedules ORDER BY routine, type";

impl Store {
    /// Every schedule in force.
    pub async fn schedules(&self) -> Result<Vec<ScheduleRow>> {
        Ok(sqlx::query_as(ALL).fetch_all(self.reader()).await?)
    }
}

impl Tx {
    /// Every schedule in force, as this transaction sees it.
    pub async fn schedules(&mut self) -> Result<Vec<ScheduleRow>> {
        Ok(sqlx::query_as(ALL).fetch_all(&mut *self.0).await?)
    }

    /// Puts a schedule version in force in place of the one before.
    pub async fn set_schedule(&mut self, row: &ScheduleRow) -> Result<()> {
        sqlx::query(
            "INSERT OR REPLACE INTO schedules (routine, type, cron, zone, effective_from_ms, mark_s) \
             VALUES (?, ?, ?, ?, ?, ?)",
        )
        .bind(&row.routine)
        .bind(row.backup_type.as_str())
        .bind(&row.cron)
        .bind(&row.zone)
        .bind(row.effective_from.0)
        .bind(row.mark_s)
        .execute(&mut *self.0)
        .await?;
        Ok(())
    }

    /// Takes a schedule out of force: its routine is gone or disabled, or has no such schedule any more.
    pub async fn drop_schedule(&mut self, routine: &str, backup_type: BackupType) -> Result<()> {
        sqlx::query("DELETE FROM schedules WHERE routine = ? AND type = ?")
            .bind(routine)
            .bind(backup_type.as_str())
            .execute(&mut *self.0)
            .await?;
        Ok(())
    }

    /// Sets marks: `(routine, type, unix seconds)`; one statement, as a wake-up may move thousands.
    pub async fn set_marks(&mut self, marks: &[(&str, BackupType, i64)]) -> Result<()> {
        let marks: Vec<_> =
            marks.iter().map(|(routine, backup_type, at)| (routine, backup_type.as_str(), at)).collect();
        sqlx::query(
            "UPDATE schedules SET mark_s = new.mark_s FROM (SELECT value ->> 0 AS routine, value ->> 1 AS type, \
             value ->> 2 AS mark_s FROM json_each(?)) AS new \
             WHERE schedules.routine = new.routine AND schedules.type = new.type",
        )
        .bind(serde_json::json!(marks).to_string())
        .execute(&mut *self.0)
        .await?;
        Ok(())
    }
}
