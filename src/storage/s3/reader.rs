//! An object as a stream that goes on where it broke off.

use std::time::Duration;

use async_trait::async_trait;
use aws_sdk_s3::operation::get_object::GetObjectOutput;
use aws_sdk_s3::primitives::ByteStream;
use bytes::{Bytes, BytesMut};

use super::{S3Storage, broken};
use crate::error::{Error, Result};
use crate::storage::retry::{RetryPolicy, within};
use crate::storage::{ObjectReader, READ_BLOCK_BYTES};

/// Bodies that may break off one after another before a block.
const FRUITLESS_MAX: u32 = 5;
/// What comes in smaller pieces is put together up to this: each block costs those behind it something.
const BLOCK_BYTES: usize = READ_BLOCK_BYTES / 4;

/// An object being read.
pub(super) struct S3Reader {
    storage: S3Storage,
    key: String,
    size_bytes: u64,
    etag: Option<String>,
    /// Taken from bodies so far.
    taken: u64,
    body: Option<ByteStream>,
    /// Taken, and too little for a block.
    gathered: BytesMut,
    /// A block that is handed out in turn.
    rest: Bytes,
    /// Where the body begins.
    began: u64,
    fruitless: u32,
}

impl S3Reader {
    pub(super) async fn open(storage: S3Storage, key: &str) -> Result<Self> {
        let Some(output) = storage.get_object(&RetryPolicy::DATA, key, None).await? else {
            let text = format!("{}: object {key:?} does not exist", storage.0.place);
            return Err(Error::permanent("storage-not-found", text));
        };
        let size = output.content_length().and_then(|size| u64::try_from(size).ok());
        let size_bytes =
            size.ok_or_else(|| broken("the answer says no size").context(format!("object {key:?}")))?;
        let etag = output.e_tag().map(str::to_owned);
        let (key, body) = (key.to_owned(), Some(output.body));
        let (gathered, rest) = (BytesMut::new(), Bytes::new());
        Ok(Self { storage, key, size_bytes, etag, taken: 0, body, gathered, rest, began: 0, fruitless: 0 })
    }

    /// The next piece of the body, never empty; none at the end of the object.
    async fn piece(&mut self) -> Result<Option<Bytes>> {
        while self.taken < self.size_bytes {
            let Some(body) = &mut self.body else {
                self.go_on().await?;
                continue;
            };
            let why = match within(self.storage.0.pace.as_ref(), RetryPolicy::DATA.answer, body.next()).await
            {
                Some(Some(Ok(piece))) if piece.is_empty() => continue,
                Some(Some(Ok(piece))) => {
                    self.taken += piece.len() as u64;
                    if self.taken >= self.began + BLOCK_BYTES as u64 {
                        self.fruitless = 0;
                    }
                    if self.taken > self.size_bytes {
                        return Err(self.told(broken("the answer is longer than it said")));
                    }
                    return Ok(Some(piece));
                }
                Some(Some(Err(error))) => broken("the answer broke off").source(error),
                Some(None) => broken("the answer was shorter than it said"),
                None => broken("the answer came to a standstill"),
            };
            self.body = None;
            self.fruitless += 1;
            if self.fruitless > FRUITLESS_MAX {
                return Err(self.told(why.context(format!("{} times in a row", self.fruitless))));
            }
            tracing::debug!(key = self.key, at = self.taken, reason = why.report(), "reading on by range");
        }
        Ok(None)
    }

    /// Fills `rest`, unless at the end. A call that is dropped loses nothing.
    async fn gather(&mut self) -> Result<()> {
        while self.gathered.len() < BLOCK_BYTES {
            match self.piece().await? {
                None => break,
                Some(piece) if self.gathered.is_empty() && piece.len() >= BLOCK_BYTES => {
                    self.rest = piece;
                    return Ok(());
                }
                Some(piece) => {
                    if self.gathered.is_empty() {
                        self.gathered.reserve(BLOCK_BYTES + piece.len());
                    }
                    self.gathered.extend_from_slice(&piece);
                }
            }
        }
        self.rest = self.gathered.split().freeze();
        Ok(())
    }

    /// Asks for what is left, of the same object only.
    async fn go_on(&mut self) -> Result<()> {
        let pace = &self.storage.0.pace;
        if let Some(pause) = RetryPolicy::DATA.pause(self.fruitless, Duration::ZERO, None, pace.chance()) {
            pace.pause(pause).await;
        }
        let from = Some((self.taken, self.etag.as_deref()));
        let found = self.storage.get_object(&RetryPolicy::DATA, &self.key, from).await?;
        let Some(output) = found else {
            return Err(self.told(Error::permanent("storage-not-found", "the object is gone")));
        };
        if !starts_at(&output, self.taken, self.size_bytes) {
            return Err(self.told(broken("the server gives another part than it was asked for")));
        }
        // Not every server knows If-Match.
        if output.e_tag() != self.etag.as_deref() {
            return Err(self.told(broken("the object was changed while it was read")));
        }
        self.began = self.taken;
        self.body = Some(output.body);
        Ok(())
    }

    fn told(&self, error: Error) -> Error {
        error.context(format!(
            "{}: object {:?} at byte {} of {}",
            self.storage.0.place, self.key, self.taken, self.size_bytes
        ))
    }
}

/// Whether an answer is what is left of an object from a byte on.
fn starts_at(output: &GetObjectOutput, start: u64, size: u64) -> bool {
    match output.content_range() {
        Some(range) => range.starts_with(&format!("bytes {start}-")) && range.ends_with(&format!("/{size}")),
        // A server that knows no ranges gives the whole.
        None => start == 0 && output.content_length().is_some_and(|length| length as u64 == size),
    }
}

#[async_trait]
impl ObjectReader for S3Reader {
    async fn next(&mut self) -> Result<Option<Bytes>> {
        if self.rest.is_empty() {
            self.gather().await?;
            if self.rest.is_empty() {
                return Ok(None);
            }
        }
        let length = self.rest.len().min(READ_BLOCK_BYTES);
        Ok(Some(self.rest.split_to(length)))
    }

    fn size_bytes(&self) -> u64 {
        self.size_bytes
    }
}
