//! An object that goes up in parts while it is written.
//!
//! At most two parts are held: one that is filled, one on its way. What stays below one part goes up as a whole.

use std::time::Duration;

use async_trait::async_trait;
use aws_sdk_s3::config::http::HttpResponse;
use aws_sdk_s3::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_s3::operation::upload_part::UploadPartOutput;
use aws_sdk_s3::primitives::ByteStream;
use aws_sdk_s3::types::{CompletedMultipartUpload, CompletedPart};
use bytes::{Bytes, BytesMut};
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;

use super::dress::Dress;
use super::failure::failure;
use super::{S3Storage, broken};
use crate::error::{Error, Result};
use crate::storage::retry::{Failure, RetryPolicy};
use crate::storage::{ObjectWriter, Storage};
use crate::tasks::Scope;

/// How long the server may take to put the parts together; below the total of the tries, so that there can be another one.
const FINISH: Duration = Duration::from_mins(4);
/// The most parts of an object.
const PARTS_MAX: i32 = 10_000;

/// An object being written.
pub(super) struct S3Writer {
    storage: S3Storage,
    key: String,
    dress: Dress,
    filling: BytesMut,
    written: u64,
    upload: Option<Upload>,
    /// A request failed: nothing more can come of it.
    is_broken: bool,
}

/// An upload in parts; dropped before it is done with, it is given up.
struct Upload {
    storage: S3Storage,
    object: String,
    id: String,
    parts: Vec<CompletedPart>,
    on_its_way: Option<(Scope, oneshot::Receiver<Result<CompletedPart>>)>,
    is_done: bool,
}

impl S3Writer {
    pub(super) fn new(storage: S3Storage, key: &str) -> Self {
        Self {
            dress: storage.dress(key),
            storage,
            key: key.to_owned(),
            filling: BytesMut::new(),
            written: 0,
            upload: None,
            is_broken: false,
        }
    }

    fn part_bytes(&self) -> usize {
        usize::try_from(self.storage.0.config.part_bytes).unwrap_or(usize::MAX)
    }

    async fn take(&mut self, mut block: Bytes) -> Result<()> {
        self.written += block.len() as u64;
        while !block.is_empty() {
            let room = self.part_bytes().saturating_sub(self.filling.len());
            let taken = block.split_to(room.min(block.len()));
            if self.upload.is_some() && self.filling.is_empty() {
                self.filling.reserve(self.part_bytes());
            }
            self.filling.extend_from_slice(&taken);
            if self.filling.len() >= self.part_bytes() {
                self.send().await?;
            }
        }
        Ok(())
    }

    /// Sends what is filled on its way, once the part before it has arrived.
    async fn send(&mut self) -> Result<()> {
        if self.upload.is_none() {
            self.upload = Some(Upload::begin(&self.storage, &self.key, &self.dress).await?);
        }
        let Some(upload) = &mut self.upload else { return Ok(()) };
        upload.arrived().await?;
        upload.send(&self.key, &self.dress, self.filling.split().freeze())
    }

    fn check(&self) -> Result<()> {
        if self.is_broken {
            return Err(broken("the object was given up after an earlier write failed"));
        }
        Ok(())
    }

    async fn end(&mut self) -> Result<()> {
        let Some(upload) = &mut self.upload else {
            let bytes = self.filling.split().freeze();
            return self.storage.put(&self.key, bytes).await;
        };
        upload.arrived().await?;
        if !self.filling.is_empty() {
            upload.send(&self.key, &self.dress, self.filling.split().freeze())?;
            upload.arrived().await?;
        }
        upload.complete(&self.key, self.written).await
    }
}

impl Upload {
    async fn begin(storage: &S3Storage, key: &str, dress: &Dress) -> Result<Self> {
        let object = storage.object(key);
        let id = storage
            .call(&RetryPolicy::DATA, "begin the upload of", key, || storage.try_begin(&object, dress))
            .await?;
        let storage = storage.clone();
        Ok(Self { storage, object, id, parts: Vec::new(), on_its_way: None, is_done: false })
    }

    fn send(&mut self, key: &str, dress: &Dress, bytes: Bytes) -> Result<()> {
        let number = i32::try_from(self.parts.len()).unwrap_or(i32::MAX).saturating_add(1);
        if number > PARTS_MAX {
            let text = format!("{}: {key:?} has more than {PARTS_MAX} parts", self.storage.0.place);
            return Err(Error::permanent("storage-object-too-large", text)
                .hint("Set \"file-limit\" of the policy, or a larger \"min-part-size\" of the storage."));
        }
        let (storage, key, checksum) = (self.storage.clone(), key.to_owned(), dress.checksum.clone());
        let (object, id) = (self.object.clone(), self.id.clone());
        let (done, arrives) = oneshot::channel();
        let mut scope = Scope::new(&CancellationToken::new());
        scope.spawn("upload part", async move {
            let sent = storage.call(&RetryPolicy::DATA, "upload a part of", &key, || {
                let request = storage
                    .client()
                    .upload_part()
                    .bucket(storage.bucket())
                    .key(&object)
                    .upload_id(&id)
                    .part_number(number)
                    .set_checksum_algorithm(checksum.clone())
                    .body(ByteStream::from(bytes.clone()));
                let (storage, limit) = (&storage, RetryPolicy::DATA.patience(bytes.len() as u64));
                async move {
                    match storage.answered(limit, request.send()).await? {
                        Ok(sent) => completed(number, sent).map(Ok).map_err(Failure::from),
                        Err(error) if is_gone(&error) => Ok(Err(gone())),
                        Err(error) => Err(failure(error)),
                    }
                }
            });
            let _ = done.send(sent.await.and_then(|part| part)); // nobody listens once the writer is dropped
            Ok(())
        });
        self.on_its_way = Some((scope, arrives));
        Ok(())
    }

    /// Waits for the part on its way.
    async fn arrived(&mut self) -> Result<()> {
        let Some((_, arrives)) = &mut self.on_its_way else { return Ok(()) };
        let part = arrives.await.unwrap_or_else(|_| Err(broken("the upload of a part was dropped")));
        self.on_its_way = None;
        self.parts.push(part?);
        Ok(())
    }

    /// Publishes the object. An answer that was lost, or a request that was delivered twice, leaves the doubt whether it is:
    /// storage says.
    async fn complete(&mut self, key: &str, size_bytes: u64) -> Result<()> {
        let storage = &self.storage;
        if let Err(error) = self.try_complete(key).await {
            match storage.head(key).await {
                Ok(Some(found)) if found.size_bytes == size_bytes => {}
                _ => return Err(error),
            }
        }
        self.is_done = true;
        Ok(())
    }

    async fn try_complete(&self, key: &str) -> Result<()> {
        let parts = CompletedMultipartUpload::builder().set_parts(Some(self.parts.clone())).build();
        let storage = &self.storage;
        let done = storage.call(&RetryPolicy::DATA, "finish the upload of", key, || {
            let request = storage
                .client()
                .complete_multipart_upload()
                .bucket(storage.bucket())
                .key(&self.object)
                .upload_id(&self.id)
                .multipart_upload(parts.clone());
            async move {
                match storage.answered(FINISH, request.send()).await? {
                    Ok(_) => Ok(Ok(())),
                    Err(error) if is_gone(&error) => Ok(Err(gone())),
                    Err(error) => Err(failure(error)),
                }
            }
        });
        done.await?.map_err(|error| error.context(format!("{}: {key:?}", storage.0.place)))
    }

    async fn abort(mut self) -> Result<()> {
        self.on_its_way = None;
        self.storage.abort_upload(&self.object, &self.id).await?;
        self.is_done = true;
        Ok(())
    }
}

impl Drop for Upload {
    fn drop(&mut self) {
        if !self.is_done {
            self.on_its_way = None;
            self.storage.leave(std::mem::take(&mut self.object), std::mem::take(&mut self.id));
        }
    }
}

fn is_gone<E: ProvideErrorMetadata>(error: &SdkError<E, HttpResponse>) -> bool {
    error.code() == Some("NoSuchUpload")
}

/// The same request does not bring an upload back, but another upload may do.
fn gone() -> Error {
    broken("the upload is gone: somebody gave it up, or a lifecycle rule did")
}

/// What finishing says of a part.
fn completed(number: i32, sent: UploadPartOutput) -> Result<CompletedPart> {
    let etag = sent.e_tag.ok_or_else(|| broken("the server says no ETag of a part"))?;
    Ok(CompletedPart::builder()
        .part_number(number)
        .e_tag(etag)
        .set_checksum_crc32(sent.checksum_crc32)
        .set_checksum_crc32_c(sent.checksum_crc32_c)
        .set_checksum_crc64_nvme(sent.checksum_crc64_nvme)
        .set_checksum_sha1(sent.checksum_sha1)
        .set_checksum_sha256(sent.checksum_sha256)
        .build())
}

#[async_trait]
impl ObjectWriter for S3Writer {
    async fn write(&mut self, block: Bytes) -> Result<()> {
        self.check()?;
        self.is_broken = true; // also when this call is dropped half-way
        self.take(block).await?;
        self.is_broken = false;
        Ok(())
    }

    async fn finish(mut self: Box<Self>) -> Result<u64> {
        self.check()?;
        self.end().await?;
        Ok(self.written)
    }

    async fn abort(mut self: Box<Self>) -> Result<()> {
        match self.upload.take() {
            Some(upload) => upload.abort().await,
            None => Ok(()),
        }
    }
}
