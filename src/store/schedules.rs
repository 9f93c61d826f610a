//! The schedule version in force per routine and type, and its high-water mark (rules.md 1.1, 1.2).

use sqlx::sqlite::SqliteRow;
use sqlx::{FromRow, Row};

use super::words::{at, at_or_none, word};
use super::{Store, Tx};
use crate::error::Result;
use crate::model::ledger::NewMark;
use crate::model::{SlotType, UnixMillis};

/// One schedule version and its mark.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ScheduleRow {
    /// The routine.
    pub routine: String,
    /// The type of its backups.
    pub slot_type: SlotType,
    /// The cron text, as configured.
    pub cron: String,
    /// The zone, as configured.
    pub zone: String,
    /// When this version was loaded; it has no slots before.
    pub effective_from: UnixMillis,
    /// The instant at or below which nothing ever fires.
    pub mark: Option<UnixMillis>,
}

impl FromRow<'_, SqliteRow> for ScheduleRow {
    fn from_row(row: &SqliteRow) -> sqlx::Result<Self> {
        Ok(Self {
            routine: row.try_get("routine")?,
            slot_type: word(row, "type", SlotType::parse)?,
            cron: row.try_get("cron")?,
            zone: row.try_get("zone")?,
            effective_from: at(row, "effective_from_ms")?,
            mark: at_or_none(row, "mark_ms")?,
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
            "INSERT OR REPLACE INTO schedules (routine, type, cron, zone, effective_from_ms, mark_ms) \
             VALUES (?, ?, ?, ?, ?, ?)",
        )
        .bind(&row.routine)
        .bind(row.slot_type.as_str())
        .bind(&row.cron)
        .bind(&row.zone)
        .bind(row.effective_from.0)
        .bind(row.mark.map(|mark| mark.0))
        .execute(&mut *self.0)
        .await?;
        Ok(())
    }

    /// Takes a schedule out of force: its routine is gone or disabled, or has no such schedule any more.
    pub async fn drop_schedule(&mut self, routine: &str, slot_type: SlotType) -> Result<()> {
        sqlx::query("DELETE FROM schedules WHERE routine = ? AND type = ?")
            .bind(routine)
            .bind(slot_type.as_str())
            .execute(&mut *self.0)
            .await?;
        Ok(())
    }

    /// Moves marks, and beginnings where one is given; one statement, as a wake-up may move thousands.
    pub async fn move_marks(&mut self, marks: &[NewMark]) -> Result<()> {
        let marks: Vec<_> = marks
            .iter()
            .map(|new| (&new.routine, new.slot_type.as_str(), new.mark, new.effective_from))
            .collect();
        sqlx::query(
            "UPDATE schedules SET mark_ms = coalesce(new.mark_ms, schedules.mark_ms), \
             effective_from_ms = coalesce(new.from_ms, schedules.effective_from_ms) \
             FROM (SELECT value ->> 0 AS routine, value ->> 1 AS type, value ->> 2 AS mark_ms, value ->> 3 AS from_ms \
             FROM json_each(?)) AS new WHERE schedules.routine = new.routine AND schedules.type = new.type",
        )
        .bind(serde_json::json!(marks).to_string())
        .execute(&mut *self.0)
        .await?;
        Ok(())
    }
}
