//! Writing an object as a stream: by one request if it is small, else by parts, of which two are held: one on its way,
//! one being filled.

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use object_store::path::Path;
use object_store::{MultipartUpload, PutMultipartOptions};
use tokio_util::sync::CancellationToken;

use super::http::{Body, Call};
use super::{Inner, Undone, needed};
use crate::error::{Error, Result};
use crate::storage::ObjectWriter;
use crate::storage::retry::RetryPolicy;
use crate::tasks::Scope;

/// The most parts of one object that both providers take (rules.md 8.1).
const PARTS_MAX: u32 = 10_000;

/// An object being written.
pub(super) struct CloudWriter {
    inner: Arc<Inner>,
    key: String,
    path: Path,
    /// What is not sent yet: at most a part and a block.
    pieces: Vec<Bytes>,
    held: u64,
    /// None while it all fits into one request.
    upload: Option<Box<dyn MultipartUpload>>,
    /// The part on its way.
    sending: Option<Scope>,
    parts: u32,
    written: u64,
    /// A write is under way, or failed.
    broken: bool,
}

impl CloudWriter {
    pub(super) fn new(inner: Arc<Inner>, key: &str, path: Path) -> Self {
        Self {
            inner,
            key: key.to_owned(),
            path,
            pieces: Vec::new(),
            held: 0,
            upload: None,
            sending: None,
            parts: 0,
            written: 0,
            broken: false,
        }
    }

    fn begin_step(&mut self) -> Result<()> {
        if std::mem::replace(&mut self.broken, true) {
            return Err(Error::temporary(
                "storage-io",
                "the object was given up after an earlier write failed",
            ));
        }
        Ok(())
    }

    /// Takes exactly `size` bytes off what is held.
    fn take(&mut self, size: u64) -> Vec<Bytes> {
        let mut left = size as usize;
        let mut taken = Vec::new();
        let mut kept = Vec::new();
        for mut piece in self.pieces.drain(..) {
            if left >= piece.len() {
                left -= piece.len();
                taken.push(piece);
            } else {
                if left > 0 {
                    taken.push(piece.split_to(left));
                    left = 0;
                }
                kept.push(piece);
            }
        }
        self.pieces = kept;
        self.held -= size;
        taken
    }

    /// Starts a part on its way, once the one before has arrived.
    async fn send(&mut self, size: u64) -> Result<()> {
        self.arrived().await?;
        self.parts += 1;
        if self.parts >= PARTS_MAX {
            return Err(Error::permanent(
                "storage-object-too-large",
                format!(
                    "{}: write {:?}: more than {PARTS_MAX} parts of {} bytes",
                    self.inner.parts.place, self.key, self.inner.parts.part_bytes
                ),
            )
            .hint("Raise min-part-size of the storage, or set file-limit of the policy."));
        }
        let pieces = self.take(size);
        let upload = if let Some(upload) = &mut self.upload {
            upload
        } else {
            let attributes = self.inner.attributes(&self.key);
            let options = PutMultipartOptions { attributes, ..PutMultipartOptions::default() };
            let begun = self.inner.parts.client.put_multipart_opts(&self.path, options);
            let begun = self.inner.call("write", &self.key, RetryPolicy::DATA, Body::ANSWER, begun).await;
            self.upload.insert(begun.map_err(needed)?)
        };
        let part = upload.put_part(pieces.into_iter().collect());
        let (inner, key) = (Arc::clone(&self.inner), self.key.clone());
        let mut sending = Scope::new(&CancellationToken::new());
        sending.spawn("upload", async move {
            inner.call("write", &key, RetryPolicy::DATA, Body::ANSWER, part).await.map_err(needed)
        });
        self.sending = Some(sending);
        Ok(())
    }

    /// Waits for the part on its way.
    async fn arrived(&mut self) -> Result<()> {
        match self.sending.take() {
            Some(sending) => sending.join().await,
            None => Ok(()),
        }
    }
}

/// Puts the parts together. An answer that was lost, or a request that was delivered twice, leaves the doubt whether they
/// are: storage says.
async fn complete(
    inner: &Inner,
    key: &str,
    written: u64,
    mut upload: Box<dyn MultipartUpload>,
) -> Result<()> {
    let what = format!("{}: finish {key:?}", inner.parts.place);
    let call = Arc::new(Call::new(what, RetryPolicy::DATA, Body::ANSWER));
    let done = inner.judged(&call, upload.complete()).await.map(drop);
    let Err(undone) = done else { return Ok(()) };
    let refused = match undone {
        Undone::Absent => {
            Error::temporary("storage-io", "the upload is not there any more").context(&call.what)
        }
        Undone::Failed(error) => error,
    };
    if let Ok(Some(found)) = inner.look(key).await
        && found.size == written
    {
        return Ok(());
    }
    // What is given up must not be put together by an earlier request that arrives late.
    give_up(inner, key, upload.as_mut()).await?;
    Err(refused)
}

/// Has the provider forget an upload.
async fn give_up(inner: &Inner, key: &str, upload: &mut dyn MultipartUpload) -> Result<()> {
    match inner.call("abort", key, RetryPolicy::ASK, Body::ANSWER, upload.abort()).await {
        Ok(()) | Err(Undone::Absent) => Ok(()),
        Err(Undone::Failed(error)) => Err(error),
    }
}

#[async_trait]
impl ObjectWriter for CloudWriter {
    async fn write(&mut self, block: Bytes) -> Result<()> {
        self.begin_step()?;
        self.written += block.len() as u64;
        self.held += block.len() as u64;
        self.pieces.push(block);
        // One that just fits is left for the end, which may be a single request.
        while self.held > self.inner.parts.part_bytes {
            self.send(self.inner.parts.part_bytes).await?;
        }
        self.broken = false;
        Ok(())
    }

    async fn finish(mut self: Box<Self>) -> Result<u64> {
        self.begin_step()?;
        if self.upload.is_none() {
            let pieces = std::mem::take(&mut self.pieces);
            self.inner.put(&self.key, pieces).await?;
            return Ok(self.written);
        }
        self.send(self.held).await?;
        self.arrived().await?;
        let (inner, written) = (Arc::clone(&self.inner), self.written);
        if let Some(upload) = self.upload.take() {
            complete(&inner, &self.key.clone(), written, upload).await?;
        }
        Ok(written)
    }

    async fn abort(mut self: Box<Self>) -> Result<()> {
        // Not joined: the part on its way is of no use any more.
        self.sending = None;
        let (inner, key) = (Arc::clone(&self.inner), self.key.clone());
        match self.upload.take() {
            Some(mut upload) => give_up(&inner, &key, upload.as_mut()).await,
            None => Ok(()),
        }
    }
}

impl Drop for CloudWriter {
    fn drop(&mut self) {
        self.sending = None;
        let Some(mut upload) = self.upload.take() else { return };
        let (inner, key) = (Arc::clone(&self.inner), self.key.clone());
        self.inner.later(async move {
            if let Err(error) = give_up(&inner, &key, upload.as_mut()).await {
                tracing::warn!(key, reason = error.report(), "an upload is left unfinished");
            }
            Ok(())
        });
    }
}
