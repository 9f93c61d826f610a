//! Single values: the store's creation time, the last wake-up of the scheduler.

use super::{Store, Tx};
use crate::error::Result;
use crate::model::UnixMillis;

impl Store {
    /// When this store was created.
    pub async fn created(&self) -> Result<UnixMillis> {
        let value: Option<String> = sqlx::query_scalar("SELECT value FROM meta WHERE key = 'created-ms'")
            .fetch_optional(self.reader())
            .await?;
        Ok(UnixMillis(value.and_then(|ms| ms.parse().ok()).unwrap_or_default()))
    }
}

impl Tx {
    /// The value of `key`, if it was ever set.
    pub async fn meta(&mut self, key: &str) -> Result<Option<String>> {
        Ok(sqlx::query_scalar("SELECT value FROM meta WHERE key = ?")
            .bind(key)
            .fetch_optional(&mut *self.0)
            .await?)
    }

    /// Sets the value of `key`.
    pub async fn set_meta(&mut self, key: &str, value: &str) -> Result<()> {
        sqlx::query(
            "INSERT INTO meta (key, value) VALUES (?, ?) ON CONFLICT DO UPDATE SET value = excluded.value",
        )
        .bind(key)
        .bind(value)
        .execute(&mut *self.0)
        .await?;
        Ok(())
    }
}
