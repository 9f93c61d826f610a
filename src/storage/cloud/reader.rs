//! Reading an object as a stream: of one version, to its last byte, over broken bodies.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use futures_util::StreamExt;
use futures_util::stream::BoxStream;
use object_store::path::Path;
use object_store::{GetOptions, ObjectMeta};

use super::http::Body;
use super::{Inner, needed};
use crate::error::{Error, Result};
use crate::storage::retry::{RetryPolicy, within};
use crate::storage::{ObjectReader, READ_BLOCK_BYTES};

/// What a body must give so that it was of use.
const LEAST_BYTES: u64 = READ_BLOCK_BYTES as u64 / 4;

/// An object being read.
pub(super) struct CloudReader {
    inner: Arc<Inner>,
    key: String,
    path: Path,
    size: u64,
    /// The version that was opened; another one is an error.
    etag: Option<String>,
    /// How many bytes came, those in `block` too.
    at: u64,
    /// Where the body begins.
    began: u64,
    /// The body being read; none: the next one begins at `at`.
    body: Option<BoxStream<'static, object_store::Result<Bytes>>>,
    /// What came of the next block.
    block: BytesMut,
    /// Since when and how often too little came.
    stuck: Option<(Duration, u32)>,
}

impl CloudReader {
    pub(super) fn new(inner: Arc<Inner>, key: &str, path: Path, found: ObjectMeta) -> Self {
        Self {
            inner,
            key: key.to_owned(),
            path,
            size: found.size,
            etag: found.e_tag,
            at: 0,
            began: 0,
            body: None,
            block: BytesMut::new(),
            stuck: None,
        }
    }

    /// The body from `at` on.
    async fn begin(&mut self) -> Result<()> {
        let options = GetOptions {
            range: Some((self.at..self.size).into()),
            if_match: self.etag.clone(),
            ..GetOptions::default()
        };
        let (client, path) = (Arc::clone(&self.inner.parts.client), self.path.clone());
        let found = async move { client.get_opts(&path, options).await };
        let found = self.inner.call("read", &self.key, RetryPolicy::DATA, Body::Streamed, found).await;
        let found = found.map_err(needed)?;
        if found.meta.size != self.size {
            return Err(self.error(&format!("it had {} bytes, and has {} now", self.size, found.meta.size)));
        }
        self.began = self.at;
        self.body = Some(found.into_stream());
        Ok(())
    }

    /// Lets the body go that broke off; the error if that goes on for too long.
    async fn broke(&mut self, why: &str) -> Result<()> {
        self.body = None;
        let pace = Arc::clone(&self.inner.parts.pace);
        let (since, tries) = self.stuck.unwrap_or_else(|| (pace.now(), 0));
        let tries = tries + 1;
        self.stuck = Some((since, tries));
        let elapsed = pace.now().saturating_sub(since);
        let Some(pause) = RetryPolicy::DATA.pause(tries, elapsed, None, pace.chance()) else {
            return Err(self.error(&format!(
                "{why} at byte {} of {}, {tries} times in {} s",
                self.at,
                self.size,
                elapsed.as_secs()
            )));
        };
        tracing::debug!(key = self.key, at = self.at, why, ?pause, "reading on from there");
        pace.pause(pause).await;
        Ok(())
    }

    fn error(&self, why: &str) -> Error {
        Error::temporary("storage-io", format!("{}: read {:?}: {why}", self.inner.parts.place, self.key))
    }

    /// The next piece of the body; none: it is over, or broke off.
    async fn piece(&mut self) -> Option<Result<Bytes, &'static str>> {
        let body = self.body.as_mut()?;
        match within(self.inner.parts.pace.as_ref(), RetryPolicy::DATA.answer, body.next()).await {
            Some(Some(Ok(piece))) => Some(Ok(piece)),
            Some(Some(Err(_))) => Some(Err("the body broke off")),
            Some(None) => Some(Err("the body ended early")),
            None => Some(Err("nothing more came")),
        }
    }
}

#[async_trait]
impl ObjectReader for CloudReader {
    async fn next(&mut self) -> Result<Option<Bytes>> {
        while self.at < self.size && self.block.len() < READ_BLOCK_BYTES {
            match self.piece().await {
                None => self.begin().await?,
                Some(Err(why)) => self.broke(why).await?,
                Some(Ok(piece)) => {
                    if piece.len() as u64 > self.size - self.at {
                        return Err(self.error("more came than it has"));
                    }
                    self.at += piece.len() as u64;
                    // One that gives a few bytes each time would go on for ever.
                    if self.at >= self.began + LEAST_BYTES {
                        self.stuck = None;
                    }
                    self.block.extend_from_slice(&piece);
                }
            }
        }
        if self.at == self.size {
            self.body = None;
        }
        let size = self.block.len().min(READ_BLOCK_BYTES);
        Ok((size > 0).then(|| self.block.split_to(size).freeze()))
    }

    fn size_bytes(&self) -> u64 {
        self.size
    }
}
