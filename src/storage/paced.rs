//! A storage whose objects are read no faster than a limit: `bandwidth` of a restore.

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use tokio::time::Instant;

use super::{ObjectInfo, ObjectReader, ObjectWriter, Storage};
use crate::error::Result;

/// Takes bytes off a limit: the instant from which they may be used.
pub type Take = Arc<dyn Fn(u64) -> Instant + Send + Sync>;

/// A storage that passes everything on; what is streamed out of it waits for its turn. Reads of small objects as a whole
/// do not.
pub struct Paced {
    inner: Arc<dyn Storage>,
    take: Take,
}

impl Paced {
    /// `inner`, whose readers draw on `take`.
    pub fn new(inner: Arc<dyn Storage>, take: Take) -> Self {
        Self { inner, take }
    }
}

impl fmt::Debug for Paced {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.inner.fmt(f)
    }
}

#[async_trait]
impl Storage for Paced {
    async fn put(&self, key: &str, bytes: Bytes) -> Result<()> {
        self.inner.put(key, bytes).await
    }

    async fn create(&self, key: &str) -> Result<Box<dyn ObjectWriter>> {
        self.inner.create(key).await
    }

    async fn get(&self, key: &str, limit_bytes: u64) -> Result<Option<Bytes>> {
        self.inner.get(key, limit_bytes).await
    }

    async fn open(&self, key: &str) -> Result<Box<dyn ObjectReader>> {
        let inner = self.inner.open(key).await?;
        Ok(Box::new(PacedReader { inner, take: Arc::clone(&self.take), waiting: None }))
    }

    async fn head(&self, key: &str) -> Result<Option<ObjectInfo>> {
        self.inner.head(key).await
    }

    async fn list(&self, prefix: &str) -> Result<Vec<ObjectInfo>> {
        self.inner.list(prefix).await
    }

    async fn list_dirs(&self, prefix: &str) -> Result<Vec<String>> {
        self.inner.list_dirs(prefix).await
    }

    async fn delete(&self, key: &str) -> Result<()> {
        self.inner.delete(key).await
    }

    async fn delete_prefix(&self, prefix: &str) -> Result<u64> {
        self.inner.delete_prefix(prefix).await
    }

    async fn delete_unfinished(&self, prefix: &str) -> Result<()> {
        self.inner.delete_unfinished(prefix).await
    }

    fn writes_may_land_late(&self) -> bool {
        self.inner.writes_may_land_late()
    }

    fn describe(&self) -> String {
        self.inner.describe()
    }
}

struct PacedReader {
    inner: Box<dyn ObjectReader>,
    take: Take,
    /// Read, and waiting for its turn: a call that was dropped in its wait loses nothing.
    waiting: Option<(Bytes, Instant)>,
}

#[async_trait]
impl ObjectReader for PacedReader {
    async fn next(&mut self) -> Result<Option<Bytes>> {
        if self.waiting.is_none() {
            let Some(bytes) = self.inner.next().await? else { return Ok(None) };
            let turn = (self.take)(bytes.len() as u64);
            self.waiting = Some((bytes, turn));
        }
        if let Some((_, turn)) = &self.waiting {
            tokio::time::sleep_until(*turn).await;
        }
        Ok(self.waiting.take().map(|(bytes, _)| bytes))
    }

    fn size_bytes(&self) -> u64 {
        self.inner.size_bytes()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU64, Ordering};
    use std::time::Duration;

    use bytes::Bytes;
    use tokio::time::Instant;

    use super::Paced;
    use crate::storage::{LocalStorage, Storage, conformance};

    /// It changes nothing, and every byte that is streamed out waits for its turn.
    #[tokio::test]
    async fn is_a_storage_like_the_one_behind_it_and_counts_every_byte() {
        let taken = Arc::new(AtomicU64::new(0));
        let count = Arc::clone(&taken);
        let dir = tempfile::tempdir().unwrap();
        let inner: Arc<dyn Storage> = Arc::new(LocalStorage::create(dir.path()).await.unwrap());
        let turn = Duration::from_millis(1);
        let paced = Paced::new(
            inner,
            Arc::new(move |bytes| {
                count.fetch_add(bytes, Ordering::SeqCst);
                Instant::now() + turn
            }),
        );
        conformance::run(&paced).await;
        taken.store(0, Ordering::SeqCst);
        paced.put("a/b", Bytes::from(vec![7; 3_000_000])).await.unwrap();
        let mut reader = paced.open("a/b").await.unwrap();
        let mut read = 0;
        while let Some(bytes) = reader.next().await.unwrap() {
            read += bytes.len() as u64;
            assert_eq!(taken.load(Ordering::SeqCst), read);
        }
        assert_eq!(read, 3_000_000);
    }
}
