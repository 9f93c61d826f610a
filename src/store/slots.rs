//! Slots: cron instants that fired, were missed, or became void (rules.md 1).

use std::collections::HashSet;

use serde::{Deserialize, Serialize};
use sqlx::sqlite::SqliteRow;
use sqlx::{FromRow, QueryBuilder, Row, Sqlite};

use super::words::{stored, word};
use super::{Store, Tx};
use crate::error::Result;
use crate::model::SlotType;

/// The number of a slot.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, sqlx::Type)]
#[serde(transparent)]
#[sqlx(transparent)]
pub struct SlotId(pub i64);

/// What became of a slot.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum SlotState {
    /// A job was made of it, be it a refused one.
    Fired,
    /// It passed while nobody could run it.
    Missed,
    /// The clock was set back below it: it may fire again (rules.md 1.4).
    Void,
}

impl SlotState {
    /// The word stored.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Fired => "fired",
            Self::Missed => "missed",
            Self::Void => "void",
        }
    }

    fn parse(word: &str) -> Option<Self> {
        [Self::Fired, Self::Missed, Self::Void].into_iter().find(|state| state.as_str() == word)
    }
}

/// A slot to be written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SlotInsert {
    /// The routine.
    pub routine: String,
    /// The type.
    pub slot_type: SlotType,
    /// `Fired` or `Missed`.
    pub state: SlotState,
    /// How many fire times the row stands for; 1 for a fired one.
    pub count: u64,
    /// The first of them, unix seconds.
    pub first_s: i64,
    /// The last of them, unix seconds: the key of the row.
    pub last_s: i64,
}

/// A slot as stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SlotRow {
    /// Its number.
    pub id: SlotId,
    /// The routine.
    pub routine: String,
    /// The type.
    pub slot_type: SlotType,
    /// The fire time, unix seconds; of a missed row the last.
    pub fire_s: i64,
    /// What became of it.
    pub state: SlotState,
    /// How many fire times the row stands for.
    pub count: i64,
    /// The first of them, unix seconds.
    pub first_s: i64,
}

impl FromRow<'_, SqliteRow> for SlotRow {
    fn from_row(row: &SqliteRow) -> sqlx::Result<Self> {
        Ok(Self {
            id: row.try_get("id")?,
            routine: row.try_get("routine")?,
            slot_type: word(row, "type", SlotType::parse)?,
            fire_s: row.try_get("fire_s")?,
            state: word(row, "state", SlotState::parse)?,
            count: row.try_get("count")?,
            first_s: row.try_get("first_s")?,
        })
    }
}

/// SQLite binds at most 32,766 values in one statement; a slot has 8.
const ROWS_PER_INSERT: usize = 2500;

impl Store {
    /// One slot.
    pub async fn slot(&self, id: SlotId) -> Result<Option<SlotRow>> {
        Ok(sqlx::query_as("SELECT * FROM slots WHERE id = ?").bind(id).fetch_optional(self.reader()).await?)
    }

    /// The slots of a routine and type, newest first, at most `limit`.
    pub async fn slots(&self, routine: &str, slot_type: SlotType, limit: u32) -> Result<Vec<SlotRow>> {
        Ok(sqlx::query_as(
            "SELECT * FROM slots WHERE routine = ? AND type = ? ORDER BY fire_s DESC, id DESC LIMIT ?",
        )
        .bind(routine)
        .bind(slot_type.as_str())
        .bind(limit)
        .fetch_all(self.reader())
        .await?)
    }
}

impl Tx {
    /// Writes slots and returns their ids, in order; none for one whose key is taken: a slot fires once.
    pub async fn insert_slots(&mut self, slots: &[SlotInsert]) -> Result<Vec<Option<SlotId>>> {
        let last: i64 =
            sqlx::query_scalar("SELECT coalesce(max(id), 0) FROM slots").fetch_one(&mut *self.0).await?;
        let ids: Vec<SlotId> = (last + 1..).take(slots.len()).map(SlotId).collect();
        let mut written = HashSet::with_capacity(slots.len());
        for (slots, ids) in slots.chunks(ROWS_PER_INSERT).zip(ids.chunks(ROWS_PER_INSERT)) {
            let mut insert = QueryBuilder::<Sqlite>::new(
                "INSERT INTO slots (id, routine, type, fire_s, state, count, first_s, last_s) ",
            );
            insert.push_values(slots.iter().zip(ids), |mut row, (slot, id)| {
                row.push_bind(id)
                    .push_bind(&slot.routine)
                    .push_bind(slot.slot_type.as_str())
                    .push_bind(slot.last_s)
                    .push_bind(slot.state.as_str())
                    .push_bind(stored(slot.count))
                    .push_bind(slot.first_s)
                    .push_bind(slot.last_s);
            });
            insert.push(" ON CONFLICT DO NOTHING RETURNING id");
            let rows: Vec<SlotId> =
                insert.build_query_scalar().persistent(false).fetch_all(&mut *self.0).await?;
            written.extend(rows);
        }
        Ok(ids.into_iter().map(|id| written.contains(&id).then_some(id)).collect())
    }

    /// The slots above the mark of their schedule: there are some only after the clock was set back (rules.md 1.4).
    pub async fn slots_above_marks(&mut self) -> Result<Vec<SlotRow>> {
        Ok(sqlx::query_as(
            "SELECT s.* FROM schedules c CROSS JOIN slots s ON s.routine = c.routine AND s.type = c.type \
             AND s.state <> 'void' AND s.fire_s > coalesce(c.mark_ms, c.effective_from_ms - 1) / 1000",
        )
        .fetch_all(&mut *self.0)
        .await?)
    }

    /// Makes the slots later than `after_s` void and returns how many (rules.md 1.4).
    pub async fn void_slots_after(&mut self, after_s: i64) -> Result<u64> {
        Ok(sqlx::query("UPDATE slots SET state = 'void' WHERE state <> 'void' AND fire_s > ?")
            .bind(after_s)
            .execute(&mut *self.0)
            .await?
            .rows_affected())
    }
}
