//! Objects in a container of Azure or a bucket of Google Cloud, by `object_store`.
//!
//! Each request is tried again by [`retry`](super::retry), not by the client (`cloud/http.rs`). Objects are made by one
//! request, or by parts that show only when all of them are put together. What a writer that was dropped, or a process
//! that died, has left of an upload: Azure removes it by itself after a week and lists it nowhere; of Google Cloud it is
//! listed and removed with its folder.
//!
//! Codes beside those of [`super`]: `storage-bucket-missing`, `storage-archived`, `storage-refused`, `tls-refused`
//! (permanent).

mod answer;
mod http;
mod reader;
mod uploads;
mod writer;

use std::collections::BTreeSet;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::{StreamExt, TryStreamExt};
use object_store::list::{PaginatedListOptions, PaginatedListStore};
use object_store::path::Path;
use object_store::{
    Attribute, Attributes, GetOptions, ListResult, ObjectMeta, ObjectStore, ObjectStoreExt, PutMode,
    PutOptions, RetryConfig, UpdateVersion,
};
use tokio_util::sync::CancellationToken;

use self::http::{Body, Call};
use self::reader::CloudReader;
use self::writer::CloudWriter;
use super::key::{check_key, check_prefix};
use super::retry::{Pace, RetryPolicy};
use super::{ObjectInfo, ObjectReader, ObjectWriter, Storage, Version, join};
use crate::error::{Error, Result};
use crate::model::UnixMillis;
use crate::tasks::Scope;

pub(super) use self::http::Connector;
pub(super) use self::uploads::{OpenUpload, UploadPage, Uploads};

/// How many objects are deleted side by side.
const DELETIONS: usize = 16;

/// What a provider's client can do.
pub(super) trait Client: ObjectStore + PaginatedListStore {}

impl<T: ObjectStore + PaginatedListStore> Client for T {}

/// A container or bucket, and how it is used.
#[derive(Debug)]
pub(super) struct Parts {
    /// The provider's client, whose own retries are off.
    pub client: Arc<dyn Client>,
    /// The place in words, see [`Storage::describe`].
    pub place: String,
    /// The folder in it below which everything lies, without slashes at its ends; empty: all of it.
    pub root: String,
    /// The size of one part of an upload.
    pub part_bytes: u64,
    /// The class of data files; none: the container's default.
    pub data_class: Option<String>,
    /// The class of everything else.
    pub metadata_class: Option<String>,
    /// How unfinished uploads are found and removed, where that can be.
    pub uploads: Option<Arc<dyn Uploads>>,
    /// Whether many objects are deleted by one request.
    pub batches: bool,
    /// Whether a conditional write goes by the generation, not by the ETag.
    pub by_generation: bool,
    /// Time and chance of retries.
    pub pace: Arc<dyn Pace>,
}

/// Objects in a container of Azure or a bucket of Google Cloud. Clones share the client.
#[derive(Clone)]
pub struct CloudStorage(Arc<Inner>);

struct Inner {
    parts: Parts,
    /// Removes uploads whose writer was dropped; what it does not get to is removed with the folder.
    janitor: Mutex<Scope>,
}

/// An operation that is not done: why, or that the object is not there.
enum Undone {
    Absent,
    Failed(Error),
}

/// What is off in the client: [`http`] does it.
pub(super) fn no_retries() -> RetryConfig {
    RetryConfig { max_retries: 0, ..RetryConfig::default() }
}

/// The server in an address: its name, and its port if it is an unusual one.
pub(super) fn server_of(endpoint: &str) -> String {
    let (scheme, rest) = endpoint.split_once("://").unwrap_or(("", endpoint));
    let server = rest.split('/').next().unwrap_or_default();
    let usual = if scheme == "http" { ":80" } else { ":443" };
    server.strip_suffix(usual).unwrap_or(server).to_owned()
}

/// The client cannot be made of what it is told. Its own text is not shown: it may quote a key.
pub(super) fn unbuildable(place: &str) -> Error {
    Error::permanent("storage-refused", format!("{place}: the client cannot use what it is configured with"))
        .hint("Check endpoint, names and keys: an account key is in base64, a Google key is the whole JSON file.")
}

impl CloudStorage {
    pub(super) fn new(parts: Parts) -> Self {
        let janitor = Mutex::new(Scope::new(&CancellationToken::new()));
        Self(Arc::new(Inner { parts, janitor }))
    }
}

impl Inner {
    /// The provider's name of a key.
    fn path(&self, key: &str) -> Result<Path> {
        check_key(key)?;
        self.full_path(&join(&self.parts.root, key))
    }

    fn full_path(&self, full: &str) -> Result<Path> {
        Path::parse(full).map_err(|error| {
            Error::permanent(
                "storage-key-invalid",
                format!("{}: {full:?} can be no object", self.parts.place),
            )
            .source(error)
        })
    }

    /// The provider's prefix of everything below a folder.
    fn prefix(&self, folder: &str) -> String {
        match join(&self.parts.root, folder).trim_end_matches('/') {
            "" => String::new(),
            full => format!("{full}/"),
        }
    }

    /// Runs one operation. `subject` is what it is done to.
    async fn call<T>(
        &self,
        verb: &str,
        subject: &str,
        policy: RetryPolicy,
        body: Body,
        work: impl Future<Output = object_store::Result<T>>,
    ) -> Result<T, Undone> {
        let what = format!("{}: {verb} {subject:?}", self.parts.place);
        let call = Arc::new(Call::new(what, policy, body));
        self.judged(&call, work).await
    }

    /// Runs an operation as `call` and says why it is not done.
    async fn judged<T>(
        &self,
        call: &Arc<Call>,
        work: impl Future<Output = object_store::Result<T>>,
    ) -> Result<T, Undone> {
        let error = match call.run(work).await {
            Ok(done) => return Ok(done),
            Err(error) => error,
        };
        if let Some(failed) = call.failed() {
            return Err(Undone::Failed(failed));
        }
        match call.refused() {
            Some(refused) if refused.is_no_object() => Err(Undone::Absent),
            Some(refused) if refused.is_unclear() => match Box::pin(self.ask_bucket()).await {
                Ok(()) => Err(Undone::Absent),
                Err(error) => Err(Undone::Failed(error.context(&call.what))),
            },
            Some(refused) => Err(Undone::Failed(refused.error().context(&call.what))),
            // The client's own text may show a URL or an answer: only what it holds on to is told.
            None => Err(Undone::Failed(unusable(&error).context(&call.what))),
        }
    }

    /// Whether the container or bucket is there: an error if not.
    async fn ask_bucket(&self) -> Result<()> {
        let options = PaginatedListOptions { max_keys: Some(1), ..PaginatedListOptions::default() };
        let listed = self.parts.client.list_paginated(None, options);
        self.call("look at", &self.parts.root, RetryPolicy::ASK, Body::ANSWER, listed)
            .await
            .map(drop)
            .map_err(needed)
    }

    /// Every page of a list.
    async fn pages(
        &self,
        folder: &str,
        delimiter: bool,
        mut page: impl FnMut(&str, ListResult),
    ) -> Result<()> {
        let prefix = self.prefix(folder);
        let mut page_token: Option<String> = None;
        loop {
            let options = PaginatedListOptions {
                delimiter: delimiter.then(|| "/".into()),
                page_token: page_token.clone(),
                ..PaginatedListOptions::default()
            };
            let asked = Some(prefix.as_str()).filter(|prefix| !prefix.is_empty());
            let listed = self.parts.client.list_paginated(asked, options);
            let listed =
                self.call("list", folder, RetryPolicy::ASK, Body::ANSWER, listed).await.map_err(needed)?;
            page(&prefix, listed.result);
            if listed.page_token.is_none() {
                return Ok(());
            }
            if listed.page_token == page_token {
                let text = format!(
                    "{}: list {folder:?}: the server gives one page again and again",
                    self.parts.place
                );
                return Err(Error::temporary("storage-io", text));
            }
            page_token = listed.page_token;
        }
    }

    async fn list(&self, folder: &str) -> Result<Vec<ObjectInfo>> {
        let mut found = Vec::new();
        self.pages(folder, false, |prefix, page| {
            for object in page.objects {
                // An object with the folder's own name, as consoles make them, is not below it.
                let Some(name) =
                    object.location.as_ref().strip_prefix(prefix).filter(|name| !name.is_empty())
                else {
                    continue;
                };
                found.push(info(join(folder, name), &object));
            }
        })
        .await?;
        found.sort_unstable_by(|one, other| one.key.cmp(&other.key));
        Ok(found)
    }

    async fn delete(&self, key: &str) -> Result<()> {
        let path = self.path(key)?;
        let deleted = self.parts.client.delete(&path);
        match self.call("delete", key, RetryPolicy::ASK, Body::ANSWER, deleted).await {
            Ok(()) | Err(Undone::Absent) => Ok(()),
            Err(Undone::Failed(error)) => Err(error),
        }
    }

    /// Deletes by one request for many. What of it is not done is not told here: the caller looks again.
    async fn delete_batch(&self, folder: &str, paths: Vec<Path>) {
        let paths = futures_util::stream::iter(paths.into_iter().map(Ok)).boxed();
        let mut deleted = self.parts.client.delete_stream(paths);
        let done = async {
            while let Some(one) = deleted.next().await {
                if let Err(error) = one {
                    tracing::debug!(folder, reason = %unusable(&error), "not deleted in a batch");
                }
            }
            Ok(())
        };
        if let Err(Undone::Failed(error)) =
            self.call("delete", folder, RetryPolicy::ASK, Body::ANSWER, done).await
        {
            tracing::debug!(folder, reason = error.report(), "not deleted in a batch");
        }
    }

    async fn delete_each(&self, objects: Vec<ObjectInfo>) -> Result<()> {
        futures_util::stream::iter(objects)
            .map(async |object| self.delete(&object.key).await)
            .buffer_unordered(DELETIONS)
            .try_collect::<()>()
            .await
    }

    /// The class of an object: data files are the largest and the least looked at.
    #[allow(clippy::case_sensitive_file_extension_comparisons)] // Their names are ours.
    fn attributes(&self, key: &str) -> Attributes {
        let class = if key.ends_with(".asb") { &self.parts.data_class } else { &self.parts.metadata_class };
        class.iter().map(|class| (Attribute::StorageClass, class.clone())).collect()
    }

    async fn put(&self, key: &str, pieces: Vec<Bytes>) -> Result<()> {
        self.put_as(key, pieces, PutMode::Overwrite).await
    }

    async fn put_as(&self, key: &str, pieces: Vec<Bytes>, mode: PutMode) -> Result<()> {
        let path = self.path(key)?;
        let options = PutOptions { mode, attributes: self.attributes(key), ..PutOptions::default() };
        let put = self.parts.client.put_opts(&path, pieces.into_iter().collect(), options);
        self.call("write", key, RetryPolicy::DATA, Body::ANSWER, put).await.map(drop).map_err(needed)
    }

    async fn look(&self, key: &str) -> Result<Option<ObjectMeta>> {
        let path = self.path(key)?;
        absent_is_none(
            self.call("look at", key, RetryPolicy::ASK, Body::ANSWER, self.parts.client.head(&path)).await,
        )
    }

    /// Runs `work` after its caller is gone.
    fn later(&self, work: impl Future<Output = Result<()>> + Send + 'static) {
        if tokio::runtime::Handle::try_current().is_ok() {
            let mut janitor = self.janitor.lock().unwrap_or_else(PoisonError::into_inner);
            while janitor.try_join_next().is_some() {}
            janitor.spawn("upload-abort", work);
        }
    }
}

#[async_trait]
impl Storage for CloudStorage {
    async fn put(&self, key: &str, bytes: Bytes) -> Result<()> {
        self.0.put(key, vec![bytes]).await
    }

    async fn create(&self, key: &str) -> Result<Box<dyn ObjectWriter>> {
        let path = self.0.path(key)?;
        Ok(Box::new(CloudWriter::new(Arc::clone(&self.0), key, path)))
    }

    async fn put_over(&self, key: &str, bytes: Bytes, version: &Version) -> Result<()> {
        let Version { e_tag, generation } = version.clone();
        let compares = e_tag.is_some() && (generation.is_some() || !self.0.parts.by_generation);
        let mode = if compares {
            PutMode::Update(UpdateVersion { e_tag, version: generation })
        } else {
            PutMode::Overwrite
        };
        self.0.put_as(key, vec![bytes], mode).await
    }

    async fn get(&self, key: &str, limit_bytes: u64) -> Result<Option<Bytes>> {
        Ok(self.get_version(key, limit_bytes).await?.map(|(bytes, _)| bytes))
    }

    async fn get_version(&self, key: &str, limit_bytes: u64) -> Result<Option<(Bytes, Version)>> {
        let path = self.0.path(key)?;
        let read = async {
            let found = self.0.parts.client.get_opts(&path, GetOptions::default()).await?;
            // A larger one was not read: its body is empty.
            let size = found.meta.size;
            let version = Version { e_tag: found.meta.e_tag.clone(), generation: found.meta.version.clone() };
            Ok(if size > limit_bytes { Err(size) } else { Ok((size, found.bytes().await?, version)) })
        };
        let whole = Body::Whole { bytes_max: limit_bytes };
        let read = self.0.call("read", key, RetryPolicy::ASK, whole, read).await;
        match absent_is_none(read)? {
            None => Ok(None),
            Some(Ok((size, bytes, version))) if bytes.len() as u64 == size => Ok(Some((bytes, version))),
            Some(Ok((size, bytes, _))) => Err(Error::temporary(
                "storage-io",
                format!("{}: read {key:?}: {} of {size} bytes came", self.0.parts.place, bytes.len()),
            )),
            Some(Err(_)) => Err(Error::permanent(
                "storage-object-too-large",
                format!("object {key:?} is larger than the {limit_bytes} bytes expected of it"),
            )),
        }
    }

    async fn open(&self, key: &str) -> Result<Box<dyn ObjectReader>> {
        let path = self.0.path(key)?;
        let Some(found) = self.0.look(key).await? else {
            return Err(Error::permanent(
                "storage-not-found",
                format!("{}: object {key:?} does not exist", self.0.parts.place),
            ));
        };
        Ok(Box::new(CloudReader::new(Arc::clone(&self.0), key, path, found)))
    }

    async fn head(&self, key: &str) -> Result<Option<ObjectInfo>> {
        Ok(self.0.look(key).await?.map(|found| info(key.to_owned(), &found)))
    }

    async fn list(&self, prefix: &str) -> Result<Vec<ObjectInfo>> {
        self.0.list(check_prefix(prefix)?).await
    }

    async fn list_dirs(&self, prefix: &str) -> Result<Vec<String>> {
        let mut names = Vec::new();
        self.0
            .pages(check_prefix(prefix)?, true, |prefix, page| {
                let folders =
                    page.common_prefixes.iter().filter_map(|path| path.as_ref().strip_prefix(prefix));
                names.extend(folders.filter(|name| !name.is_empty()).map(str::to_owned));
            })
            .await?;
        names.sort_unstable();
        names.dedup();
        Ok(names)
    }

    async fn delete(&self, key: &str) -> Result<()> {
        self.0.delete(key).await
    }

    async fn delete_prefix(&self, prefix: &str) -> Result<u64> {
        let folder = check_prefix(prefix)?;
        check_key(folder)?;
        let found = self.0.list(folder).await?;
        let mut gone: BTreeSet<String> = found.iter().map(|object| object.key.clone()).collect();
        if self.0.parts.batches && found.len() > 1 {
            let paths = found.iter().map(|object| self.0.path(&object.key)).collect::<Result<Vec<_>>>()?;
            self.0.delete_batch(folder, paths).await;
        } else {
            self.0.delete_each(found).await?;
        }
        if !gone.is_empty() {
            // Storage says what is gone: an answer to a batch may leave one out, and so may a list.
            let left = self.0.list(folder).await?;
            gone.extend(left.iter().map(|object| object.key.clone()));
            self.0.delete_each(left).await?;
        }
        if let Some(uploads) = &self.0.parts.uploads {
            self.0.abort_uploads(uploads.as_ref(), folder).await?;
        }
        Ok(gone.len() as u64)
    }

    fn writes_may_land_late(&self) -> bool {
        true
    }

    fn describe(&self) -> String {
        self.0.parts.place.clone()
    }
}

impl fmt::Debug for CloudStorage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "CloudStorage({})", self.0.parts.place)
    }
}

fn info(key: String, found: &ObjectMeta) -> ObjectInfo {
    ObjectInfo { key, size_bytes: found.size, modified: UnixMillis(found.last_modified.timestamp_millis()) }
}

fn absent_is_none<T>(done: Result<T, Undone>) -> Result<Option<T>> {
    match done {
        Ok(done) => Ok(Some(done)),
        Err(Undone::Absent) => Ok(None),
        Err(Undone::Failed(error)) => Err(error),
    }
}

/// Of an operation to which absence is an error.
fn needed(undone: Undone) -> Error {
    match undone {
        Undone::Absent => Error::permanent("storage-not-found", "it does not exist"),
        Undone::Failed(error) => error,
    }
}

/// An error of the client that no answer explains. Its own text is not shown: it may quote a URL or an answer.
fn unusable(error: &object_store::Error) -> Error {
    let what = match error {
        object_store::Error::NotFound { .. } => "a part of it is not there any more",
        object_store::Error::NotImplemented { .. } | object_store::Error::NotSupported { .. } => {
            "the client cannot do that"
        }
        _ => "the answer cannot be read, or is not one of this provider",
    };
    Error::temporary("storage-io", what).hint("Check that endpoint is one of this provider.")
}

#[cfg(test)]
mod tests {
    use super::server_of;

    #[test]
    fn the_server_stands_in_the_address() {
        assert_eq!(server_of("https://acme.blob.core.windows.net"), "acme.blob.core.windows.net");
        assert_eq!(server_of("https://storage.example:443/x"), "storage.example");
        assert_eq!(server_of("http://storage.example:443"), "storage.example:443");
        assert_eq!(server_of("http://[::1]:9000/x"), "[::1]:9000");
    }
}
