//! Objects in a bucket of S3, or of a server that speaks its language.
//!
//! - The SDK's own retries are off: [`retrying`] does them, so that tries do not multiply and an error says how many there
//!   were. A request that is answered "not found" is believed only of the exact key, in a bucket that is there
//!   (rules.md 6.1); everything else is an error.
//! - What is streamed goes up in parts and is published by the last request, so nobody sees a part of it.
//!
//! Error codes, beside those of every storage: `storage-archived`, `storage-refused` (permanent); `tls-files`,
//! `tls-refused`, and those of secrets.

mod client;
mod dress;
mod failure;
mod gate;
mod pages;
mod reader;
#[cfg(test)]
#[path = "../../tests/support/s3_server.rs"]
pub(crate) mod test_server;
#[cfg(test)]
mod tests;
mod writer;

use std::future::Future;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use aws_sdk_s3::Client;
use aws_sdk_s3::config::http::HttpResponse;
use aws_sdk_s3::error::SdkError;
use aws_sdk_s3::operation::get_object::GetObjectOutput;
use aws_sdk_s3::primitives::DateTime;
use bytes::{Bytes, BytesMut};
use futures_util::future::BoxFuture;
use tokio_util::sync::CancellationToken;

use self::failure::{archived, failure, is_absent};
use self::gate::Gate;
use super::key::{check_key, check_prefix};
use super::retry::{Failure, MachinePace, Pace, RetryPolicy, retrying, within};
use super::{ObjectInfo, ObjectReader, ObjectWriter, Storage, Version, join};
use crate::clock::SharedClock;
use crate::config::{S3Config, S3LogLevel};
use crate::error::{Error, Result};
use crate::model::UnixMillis;
use crate::secrets::Keeper;
use crate::tasks::Scope;

/// What the SDK makes of an answer.
type Answer<T, E> = Result<T, SdkError<E, HttpResponse>>;

/// How long an answer to a question may take.
const ASK: Duration = RetryPolicy::ASK.answer;

/// Objects in a bucket; clones share the client and its limits.
#[derive(Debug, Clone)]
pub struct S3Storage(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    client: Client,
    config: S3Config,
    place: String,
    clock: SharedClock,
    pace: Arc<dyn Pace>,
    gate: Gate,
    /// The bucket has answered: from then on "not found" is said of a key.
    bucket_is_there: AtomicBool,
    /// Uploads being given up by writers that were dropped.
    leftovers: Mutex<Scope>,
}

impl S3Storage {
    /// The storage that `config` says; nothing is asked of it yet. `keeper` has the keys that configuration and requests
    /// hold in clear.
    ///
    /// Errors: `tls-files`.
    pub async fn open(config: &S3Config, keeper: &Keeper, clock: &SharedClock) -> Result<Self> {
        Self::with_pace(config, keeper, clock, Arc::new(MachinePace::default())).await
    }

    /// As [`S3Storage::open`], with the pace of its retries.
    pub async fn with_pace(
        config: &S3Config,
        keeper: &Keeper,
        clock: &SharedClock,
        pace: Arc<dyn Pace>,
    ) -> Result<Self> {
        Ok(Self(Arc::new(Inner {
            client: client::build(config, keeper, clock).await?,
            config: config.clone(),
            place: config.place(),
            clock: Arc::clone(clock),
            pace,
            gate: Gate::new(config.requests_max, config.requests_per_second),
            bucket_is_there: AtomicBool::new(false),
            leftovers: Mutex::new(Scope::new(&CancellationToken::new())),
        })))
    }

    fn client(&self) -> &Client {
        &self.0.client
    }

    fn bucket(&self) -> &str {
        &self.0.config.bucket
    }

    /// The name of a key's object in the bucket.
    fn object(&self, key: &str) -> String {
        join(&self.0.config.path, key)
    }

    /// Sends a request, again and again if need be, within the limits of the storage.
    async fn call<T, F: Future<Output = Result<T, Failure>> + Send>(
        &self,
        policy: &RetryPolicy,
        what: &str,
        key: &str,
        mut attempt: impl FnMut() -> F + Send,
    ) -> Result<T> {
        let inner = &self.0;
        let name = || format!("{}: {what} {key:?}", inner.place);
        retrying(policy, inner.pace.as_ref(), name, || {
            // What the SDK makes of a request is large, and callers would all be as large.
            let request = Box::pin(attempt());
            async move {
                let _pass = inner.gate.enter().await;
                let begun = inner.pace.now();
                let answer = request.await;
                self.log(what, key, inner.pace.now().saturating_sub(begun), answer.as_ref().err());
                answer
            }
        })
        .await
    }

    /// What comes back of a request, if it begins to within `limit`.
    fn answered<'a, T: 'a, E: 'a>(
        &'a self,
        limit: Duration,
        sent: impl Future<Output = Answer<T, E>> + Send + 'a,
    ) -> BoxFuture<'a, Result<Answer<T, E>, Failure>> {
        // The SDK's futures are large.
        let answered = async move {
            within(self.0.pace.as_ref(), limit, sent).await.ok_or_else(|| {
                let text = format!("the server has not answered for {} s", limit.as_secs());
                let error = Error::temporary("storage-unavailable", text);
                error.hint("Check the network, \"s3-endpoint-override\" and \"s3-region\".").into()
            })
        };
        Box::pin(answered)
    }

    /// `s3-log-level`.
    fn log(&self, what: &str, key: &str, took: Duration, failed: Option<&Failure>) {
        let (storage, took_ms) = (&self.0.place, took.as_millis() as u64);
        match (self.0.config.log_level, failed) {
            (S3LogLevel::Off | S3LogLevel::Fatal | S3LogLevel::Error, _)
            | (S3LogLevel::Warn | S3LogLevel::Info, None) => {}
            (_, Some(failure)) => {
                tracing::warn!(
                    storage,
                    what,
                    key,
                    took_ms,
                    reason = failure.error.report(),
                    "S3 request failed"
                );
            }
            (_, None) => tracing::info!(storage, what, key, took_ms, "S3 request"),
        }
    }

    /// Begins to read an object, from a byte on if that is given with its ETag; none if it certainly does not exist.
    async fn get_object(
        &self,
        policy: &RetryPolicy,
        key: &str,
        from: Option<(u64, Option<&str>)>,
    ) -> Result<Option<GetObjectOutput>> {
        let object = self.object(key);
        let range = from.map(|(start, _)| format!("bytes={start}-"));
        let etag = from.and_then(|(_, etag)| etag).map(str::to_owned);
        self.call(policy, "read", key, || self.try_get(&object, range.clone(), etag.clone())).await
    }

    async fn try_get(
        &self,
        object: &str,
        range: Option<String>,
        etag: Option<String>,
    ) -> Result<Option<GetObjectOutput>, Failure> {
        let request = self.client().get_object().bucket(self.bucket()).key(object);
        let request = request.set_range(range).set_if_match(etag);
        match self.answered(ASK, request.send()).await? {
            Ok(output) => {
                self.0.bucket_is_there.store(true, Ordering::Relaxed);
                Ok(Some(output))
            }
            Err(error) if is_absent(&error) => {
                self.0.bucket_is_there.store(true, Ordering::Relaxed);
                Ok(None)
            }
            Err(error) => {
                Err(archived(&error, self.bucket(), object).map_or_else(|| failure(error), Failure::from))
            }
        }
    }

    async fn try_get_whole(
        &self,
        object: &str,
        limit_bytes: u64,
    ) -> Result<Option<(Bytes, Version)>, Failure> {
        let Some(mut output) = self.try_get(object, None, None).await? else { return Ok(None) };
        let version = Version { e_tag: output.e_tag.take(), generation: None };
        let size = output.content_length().and_then(|size| u64::try_from(size).ok());
        if size.is_some_and(|size| size > limit_bytes) {
            return Err(too_large(limit_bytes).into());
        }
        let mut bytes = BytesMut::with_capacity(size.unwrap_or(0) as usize);
        let pace = self.0.pace.as_ref();
        loop {
            let next = within(pace, ASK, output.body.next()).await;
            let Some(block) = next.ok_or_else(|| broken("the answer came to a standstill"))? else { break };
            let block = block.map_err(|error| broken("the answer broke off").source(error))?;
            if (bytes.len() + block.len()) as u64 > limit_bytes {
                return Err(too_large(limit_bytes).into());
            }
            bytes.extend_from_slice(&block);
        }
        if size.is_some_and(|size| size != bytes.len() as u64) {
            return Err(broken("the answer was shorter than it said").into());
        }
        Ok(Some((bytes.freeze(), version)))
    }

    async fn try_head(&self, key: &str, object: &str) -> Result<Option<ObjectInfo>, Failure> {
        let request = self.client().head_object().bucket(self.bucket()).key(object);
        match self.answered(ASK, request.send()).await? {
            Ok(output) => {
                self.0.bucket_is_there.store(true, Ordering::Relaxed);
                let size = output.content_length().and_then(|size| u64::try_from(size).ok());
                let size_bytes = size.ok_or_else(|| broken("the answer says no size"))?;
                let modified = modified(output.last_modified());
                Ok(Some(ObjectInfo { key: key.to_owned(), size_bytes, modified }))
            }
            // Without a body, a bucket that is not there looks the same.
            Err(error) if failure::status(&error) == Some(404) => {
                if !self.0.bucket_is_there.load(Ordering::Relaxed)
                    && self.try_get(object, None, None).await?.is_some()
                {
                    return Err(broken("it came into being while it was looked at").into());
                }
                Ok(None)
            }
            Err(error) => Err(failure(error)),
        }
    }

    /// Gives an upload up without anybody waiting for it.
    fn leave(&self, object: String, upload: String) {
        if tokio::runtime::Handle::try_current().is_err() {
            return; // the process ends: the bucket's lifecycle rule removes it
        }
        let storage = self.clone();
        let mut leftovers = self.0.leftovers.lock().unwrap_or_else(PoisonError::into_inner);
        while leftovers.try_join_next().is_some() {}
        leftovers.spawn("abort upload", async move {
            if let Err(error) = storage.abort_upload(&object, &upload).await {
                tracing::warn!(reason = error.report(), "an unfinished upload is left");
            }
            Ok(())
        });
    }
}

#[async_trait]
impl Storage for S3Storage {
    async fn put(&self, key: &str, bytes: Bytes) -> Result<()> {
        check_key(key)?;
        let (object, dress) = (self.object(key), self.dress(key));
        self.call(&RetryPolicy::DATA, "write", key, || self.try_put(&object, &dress, bytes.clone(), None))
            .await
    }

    async fn put_over(&self, key: &str, bytes: Bytes, version: &Version) -> Result<()> {
        check_key(key)?;
        let (object, dress) = (self.object(key), self.dress(key));
        let over = version.e_tag.as_deref();
        self.call(&RetryPolicy::ASK, "write", key, || self.try_put(&object, &dress, bytes.clone(), over))
            .await
    }

    async fn create(&self, key: &str) -> Result<Box<dyn ObjectWriter>> {
        check_key(key)?;
        Ok(Box::new(writer::S3Writer::new(self.clone(), key)))
    }

    async fn get(&self, key: &str, limit_bytes: u64) -> Result<Option<Bytes>> {
        Ok(self.get_version(key, limit_bytes).await?.map(|(bytes, _)| bytes))
    }

    async fn get_version(&self, key: &str, limit_bytes: u64) -> Result<Option<(Bytes, Version)>> {
        check_key(key)?;
        let object = self.object(key);
        self.call(&RetryPolicy::ASK, "read", key, || self.try_get_whole(&object, limit_bytes)).await
    }

    async fn open(&self, key: &str) -> Result<Box<dyn ObjectReader>> {
        check_key(key)?;
        Ok(Box::new(reader::S3Reader::open(self.clone(), key).await?))
    }

    async fn head(&self, key: &str) -> Result<Option<ObjectInfo>> {
        check_key(key)?;
        let object = self.object(key);
        self.call(&RetryPolicy::ASK, "look at", key, || self.try_head(key, &object)).await
    }

    async fn list(&self, prefix: &str) -> Result<Vec<ObjectInfo>> {
        self.list_objects(check_prefix(prefix)?).await
    }

    async fn list_dirs(&self, prefix: &str) -> Result<Vec<String>> {
        self.list_folders(check_prefix(prefix)?).await
    }

    async fn delete(&self, key: &str) -> Result<()> {
        check_key(key)?;
        let object = self.object(key);
        self.call(&RetryPolicy::ASK, "delete", key, || async {
            let request = self.client().delete_object().bucket(self.bucket()).key(&object);
            match self.answered(ASK, request.send()).await? {
                Err(error) if !is_absent(&error) => Err(failure(error)),
                _ => Ok(()), // some servers say that it was not there
            }
        })
        .await
    }

    async fn delete_prefix(&self, prefix: &str) -> Result<u64> {
        let folder = check_prefix(prefix)?;
        check_key(folder)?;
        self.delete_folder(folder).await
    }

    fn describe(&self) -> String {
        self.0.place.clone()
    }
}

fn modified(at: Option<&DateTime>) -> UnixMillis {
    UnixMillis(at.and_then(|at| at.to_millis().ok()).unwrap_or(0))
}

fn too_large(limit_bytes: u64) -> Error {
    let text = format!("the object is larger than the {limit_bytes} bytes expected of it");
    Error::permanent("storage-object-too-large", text)
}

fn broken(what: &str) -> Error {
    Error::temporary("storage-io", what)
}
