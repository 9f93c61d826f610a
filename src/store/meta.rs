//! Single values: the store's creation time, the last wake-up of the scheduler.

use super::{Store, Tx, corrupt};
use crate::error::Result;
use crate::model::{InstanceId, UnixMillis};

/// The key of the instance id.
const INSTANCE: &str = "instance-id";

impl Store {
    /// When this store was created.
    pub async fn created(&self) -> Result<UnixMillis> {
        let value: Option<String> = sqlx::query_scalar("SELECT value FROM meta WHERE key = 'created-ms'")
            .fetch_optional(self.reader())
            .await?;
        Ok(UnixMillis(value.and_then(|ms| ms.parse().ok()).unwrap_or_default()))
    }

    /// The instance that this store belongs to (rules.md 5.5); at the first call it becomes `new`.
    ///
    /// Errors: `store-corrupt` where the store holds something else.
    pub async fn instance_id(&self, new: InstanceId) -> Result<InstanceId> {
        let mut tx = self.write().await?;
        if let Some(known) = tx.meta(INSTANCE).await? {
            return InstanceId::parse(&known)
                .map_err(|problem| corrupt(format!("instance id {known:?} {problem}")));
        }
        tx.set_meta(INSTANCE, new.as_str()).await?;
        tx.commit().await?;
        Ok(new)
    }
}

/// What the store knows of a storage's folder on a local disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KnownRoot {
    /// It was there, and our mark lies in it.
    Marked,
    /// It was there, but could not be marked.
    Seen,
}

impl KnownRoot {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Marked => "marked",
            Self::Seen => "seen",
        }
    }
}

impl Store {
    /// What is known of the folder `root`; none: it was never used.
    pub async fn known_root(&self, root: &str) -> Result<Option<KnownRoot>> {
        let value: Option<String> = sqlx::query_scalar("SELECT value FROM meta WHERE key = ?")
            .bind(root_key(root))
            .fetch_optional(self.reader())
            .await?;
        let known = |word: &str| match word {
            "marked" => KnownRoot::Marked,
            _ => KnownRoot::Seen,
        };
        Ok(value.as_deref().map(known))
    }

    /// Notes that the folder `root` was there.
    pub async fn know_root(&self, root: &str, known: KnownRoot) -> Result<()> {
        let mut tx = self.write().await?;
        tx.set_meta(&root_key(root), known.as_str()).await?;
        tx.commit().await
    }
}

fn root_key(root: &str) -> String {
    format!("storage-root:{root}")
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
