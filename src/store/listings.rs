//! What is known of each routine at each place as a whole: how old it is, and whether lists of it have changed.

use sqlx::sqlite::SqliteRow;
use sqlx::{FromRow, Row};

use super::words::at_or_none;
use super::{Store, Tx};
use crate::error::Result;
use crate::model::UnixMillis;

/// What is known of one routine at one place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CatalogListing {
    /// The storage as configured: see [`crate::config::StorageConfig::place`].
    pub place: String,
    /// The routine.
    pub routine: String,
    /// The storage as its driver names it: see [`crate::storage::Storage::describe`].
    pub true_place: String,
    /// When the last reading began that storage answered; none yet.
    pub as_of: Option<UnixMillis>,
    /// The same of the last one that read every document again.
    pub whole: Option<UnixMillis>,
    /// Whether any backup is known.
    pub has_backups: bool,
    /// That the newest reading failed, and why.
    pub failed: Option<CatalogFailure>,
    /// Another number whenever [`super::CatalogRow`]s of the routine or the outcomes of its verifications have changed.
    pub changed: i64,
}

/// Why a reading failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CatalogFailure {
    /// When.
    pub at: UnixMillis,
    /// Stable, kebab-case.
    pub code: String,
    /// In words.
    pub reason: String,
}

impl FromRow<'_, SqliteRow> for CatalogListing {
    fn from_row(row: &SqliteRow) -> sqlx::Result<Self> {
        let failed = match at_or_none(row, "failed_ms")? {
            None => None,
            Some(at) => {
                Some(CatalogFailure { at, code: row.try_get("failed_code")?, reason: row.try_get("failed")? })
            }
        };
        Ok(Self {
            place: row.try_get("place")?,
            routine: row.try_get("routine")?,
            true_place: row.try_get("true_place")?,
            as_of: at_or_none(row, "as_of_ms")?,
            whole: at_or_none(row, "whole_ms")?,
            has_backups: row.try_get("has_backups")?,
            failed,
            changed: row.try_get("changed")?,
        })
    }
}

impl Store {
    /// What is known of several (place, routine).
    pub async fn catalog_listings(&self, of: &[(&str, &str)]) -> Result<Vec<CatalogListing>> {
        Ok(sqlx::query_as(
            "SELECT l.*, EXISTS (SELECT 1 FROM catalog_backups c WHERE c.place = l.place AND c.routine = l.routine \
             AND c.namespace IS NOT NULL AND c.state <> 'gone') AS has_backups \
             FROM json_each(?) k CROSS JOIN catalog_listings l \
             ON l.place = k.value ->> 0 AND l.routine = k.value ->> 1 ORDER BY l.place, l.routine",
        )
        .bind(serde_json::json!(of).to_string())
        .fetch_all(self.reader())
        .await?)
    }
}

impl Tx {
    /// What lists show of a routine has changed, wherever it is.
    pub(super) async fn note_changed(&mut self, routine: &str) -> Result<()> {
        let generation = self.next_generation().await?;
        sqlx::query("UPDATE catalog_listings SET changed = ? WHERE routine = ?")
            .bind(generation)
            .bind(routine)
            .execute(&mut *self.0)
            .await?;
        Ok(())
    }

    /// The newest reading failed: what is known stays, and is stale.
    pub async fn fail_catalog_reading(
        &mut self,
        place: &str,
        routine: &str,
        failure: &CatalogFailure,
    ) -> Result<()> {
        sqlx::query(
            "UPDATE catalog_listings SET failed_ms = ?, failed_code = ?, failed = ? WHERE place = ? AND routine = ?",
        )
        .bind(failure.at.0)
        .bind(&failure.code)
        .bind(&failure.reason)
        .bind(place)
        .bind(routine)
        .execute(&mut *self.0)
        .await?;
        Ok(())
    }
}
