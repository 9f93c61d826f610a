//! A storage that tells of every call that came back: a job in which storage answers does not stand still (rules.md 2.9).

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;

use super::{ObjectInfo, ObjectReader, ObjectWriter, Storage};
use crate::error::Result;

/// Called after each call that came back, whatever its answer; must be cheap.
pub type Heard = Arc<dyn Fn() + Send + Sync>;

/// A storage that passes everything on, and tells of every call that came back.
pub struct Watched {
    inner: Arc<dyn Storage>,
    heard: Heard,
}

impl Watched {
    /// `inner`, telling `heard`.
    pub fn new(inner: Arc<dyn Storage>, heard: Heard) -> Self {
        Self { inner, heard }
    }

    async fn tell<T>(&self, call: impl Future<Output = Result<T>> + Send) -> Result<T> {
        let answer = call.await;
        (self.heard)();
        answer
    }
}

impl fmt::Debug for Watched {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.inner.fmt(f)
    }
}

#[async_trait]
impl Storage for Watched {
    async fn put(&self, key: &str, bytes: Bytes) -> Result<()> {
        self.tell(self.inner.put(key, bytes)).await
    }

    async fn create(&self, key: &str) -> Result<Box<dyn ObjectWriter>> {
        let inner = self.tell(self.inner.create(key)).await?;
        Ok(Box::new(WatchedWriter { inner, heard: Arc::clone(&self.heard) }))
    }

    async fn get(&self, key: &str, limit_bytes: u64) -> Result<Option<Bytes>> {
        self.tell(self.inner.get(key, limit_bytes)).await
    }

    async fn open(&self, key: &str) -> Result<Box<dyn ObjectReader>> {
        let inner = self.tell(self.inner.open(key)).await?;
        Ok(Box::new(WatchedReader { inner, heard: Arc::clone(&self.heard) }))
    }

    async fn head(&self, key: &str) -> Result<Option<ObjectInfo>> {
        self.tell(self.inner.head(key)).await
    }

    async fn list(&self, prefix: &str) -> Result<Vec<ObjectInfo>> {
        self.tell(self.inner.list(prefix)).await
    }

    async fn list_dirs(&self, prefix: &str) -> Result<Vec<String>> {
        self.tell(self.inner.list_dirs(prefix)).await
    }

    async fn delete(&self, key: &str) -> Result<()> {
        self.tell(self.inner.delete(key)).await
    }

    async fn delete_prefix(&self, prefix: &str) -> Result<u64> {
        self.tell(self.inner.delete_prefix(prefix)).await
    }

    async fn delete_unfinished(&self, prefix: &str) -> Result<()> {
        self.tell(self.inner.delete_unfinished(prefix)).await
    }

    fn writes_may_land_late(&self) -> bool {
        self.inner.writes_may_land_late()
    }

    fn describe(&self) -> String {
        self.inner.describe()
    }
}

struct WatchedWriter {
    inner: Box<dyn ObjectWriter>,
    heard: Heard,
}

#[async_trait]
impl ObjectWriter for WatchedWriter {
    async fn write(&mut self, block: Bytes) -> Result<()> {
        let answer = self.inner.write(block).await;
        (self.heard)();
        answer
    }

    async fn finish(self: Box<Self>) -> Result<u64> {
        let answer = self.inner.finish().await;
        (self.heard)();
        answer
    }

    async fn abort(self: Box<Self>) -> Result<()> {
        let answer = self.inner.abort().await;
        (self.heard)();
        answer
    }
}

struct WatchedReader {
    inner: Box<dyn ObjectReader>,
    heard: Heard,
}

#[async_trait]
impl ObjectReader for WatchedReader {
    async fn next(&mut self) -> Result<Option<Bytes>> {
        let answer = self.inner.next().await;
        (self.heard)();
        answer
    }

    fn size_bytes(&self) -> u64 {
        self.inner.size_bytes()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU64, Ordering};

    use super::Watched;
    use crate::storage::{LocalStorage, Storage, conformance};

    /// It changes nothing, and each call is heard.
    #[tokio::test]
    async fn is_a_storage_like_the_one_behind_it() {
        let heard = Arc::new(AtomicU64::new(0));
        let count = Arc::clone(&heard);
        let dir = tempfile::tempdir().unwrap();
        let inner: Arc<dyn Storage> = Arc::new(LocalStorage::create(dir.path()).await.unwrap());
        let watched = Watched::new(
            inner,
            Arc::new(move || {
                count.fetch_add(1, Ordering::Relaxed);
            }),
        );
        watched.head("a/b").await.unwrap();
        let before = heard.load(Ordering::Relaxed);
        assert_eq!(before, 1);
        conformance::run(&watched).await;
        assert!(heard.load(Ordering::Relaxed) > 10);
    }
}
