//! Lists, which come in pages, and deleting by them.

use std::collections::BTreeSet;

use aws_sdk_s3::operation::list_objects_v2::ListObjectsV2Output;
use aws_sdk_s3::types::{Delete, ObjectIdentifier};

use super::failure::failure;
use super::{ASK, S3Storage, modified};
use crate::error::{Error, Result};
use crate::storage::retry::{Failure, RetryPolicy};
use crate::storage::{ObjectInfo, check_key};

/// Most keys that one request deletes.
const BATCH: usize = 1000;

impl S3Storage {
    /// The prefix of all objects in a folder of the storage; empty for a whole bucket.
    fn prefix(&self, folder: &str) -> String {
        let object = self.object(folder);
        let object = object.trim_end_matches('/');
        if object.is_empty() { String::new() } else { format!("{object}/") }
    }

    /// The key of an object of the bucket; none for one that is no key of ours: the mark of a folder, or what another
    /// program wrote.
    fn key_of<'o>(&self, object: &'o str) -> Option<&'o str> {
        let root = self.prefix("");
        object.strip_prefix(&root).filter(|key| check_key(key).is_ok())
    }

    async fn page(
        &self,
        folder: &str,
        delimiter: Option<&str>,
        after: Option<String>,
    ) -> Result<ListObjectsV2Output> {
        let prefix = self.prefix(folder);
        let prefix = Some(prefix).filter(|prefix| !prefix.is_empty());
        self.call(&RetryPolicy::ASK, "list", folder, || {
            let request = self
                .client()
                .list_objects_v2()
                .bucket(self.bucket())
                .set_prefix(prefix.clone())
                .set_delimiter(delimiter.map(str::to_owned))
                .set_continuation_token(after.clone());
            async move { self.answered(ASK, request.send()).await?.map_err(failure) }
        })
        .await
    }

    /// Every page of a list.
    async fn pages(
        &self,
        folder: &str,
        delimiter: Option<&str>,
        mut each: impl FnMut(ListObjectsV2Output) + Send,
    ) -> Result<()> {
        let mut after = None;
        loop {
            let page = self.page(folder, delimiter, after.clone()).await?;
            let next = page.next_continuation_token().map(str::to_owned);
            let has_more = page.is_truncated() == Some(true);
            each(page);
            if !has_more {
                return Ok(());
            }
            if next.is_none() || next == after {
                // Half a list must not look like a whole one.
                let text = format!(
                    "{}: list {folder:?}: the server says neither its end nor how it goes on",
                    self.0.place
                );
                return Err(Error::temporary("storage-io", text));
            }
            after = next;
        }
    }

    pub(super) async fn list_objects(&self, folder: &str) -> Result<Vec<ObjectInfo>> {
        let mut found = Vec::new();
        let prefix = self.prefix(folder);
        self.pages(folder, None, |page| {
            found.extend(page.contents().iter().filter_map(|object| {
                let name = object.key().filter(|name| name.starts_with(&prefix))?;
                Some(ObjectInfo {
                    key: self.key_of(name)?.to_owned(),
                    size_bytes: object.size().and_then(|size| u64::try_from(size).ok()).unwrap_or(0),
                    modified: modified(object.last_modified()),
                })
            }));
        })
        .await?;
        // Directory buckets and some other servers have an order of their own.
        found.sort_by(|a, b| a.key.cmp(&b.key));
        Ok(found)
    }

    pub(super) async fn list_folders(&self, folder: &str) -> Result<Vec<String>> {
        let mut found = Vec::new();
        let prefix = self.prefix(folder);
        self.pages(folder, Some("/"), |page| {
            found.extend(page.common_prefixes().iter().filter_map(|common| {
                let name = common.prefix()?.strip_prefix(&prefix)?.strip_suffix('/')?;
                check_key(name).ok().map(|()| name.to_owned())
            }));
        })
        .await?;
        found.sort();
        found.dedup();
        Ok(found)
    }

    /// Deletes what lies in a folder and gives its open uploads up.
    pub(super) async fn delete_folder(&self, folder: &str) -> Result<u64> {
        // First the uploads: one that is finished in between is in the list.
        self.abort_uploads(folder).await?;
        let objects = self.objects_in(folder).await?;
        self.delete_objects(folder, &objects).await?;
        let mut gone: BTreeSet<String> = objects.into_iter().collect();
        if !gone.is_empty() {
            // Storage says what is gone: a list may leave something out.
            let left = self.objects_in(folder).await?;
            self.delete_objects(folder, &left).await?;
            gone.extend(left);
        }
        Ok(gone.iter().filter(|object| self.key_of(object).is_some()).count() as u64)
    }

    /// The names of all objects in a folder, by the bucket's own names.
    async fn objects_in(&self, folder: &str) -> Result<Vec<String>> {
        let mut objects = Vec::new();
        let prefix = self.prefix(folder);
        self.pages(folder, None, |page| {
            let keys = page.contents().iter().filter_map(|object| object.key());
            objects.extend(keys.filter(|key| key.starts_with(&prefix)).map(str::to_owned));
        })
        .await?;
        Ok(objects)
    }

    async fn delete_objects(&self, folder: &str, objects: &[String]) -> Result<()> {
        for batch in objects.chunks(BATCH) {
            self.call(&RetryPolicy::ASK, "delete", folder, || self.try_delete(batch)).await?;
        }
        Ok(())
    }

    async fn try_delete(&self, objects: &[String]) -> Result<(), Failure> {
        let unnamed =
            |error| Failure::from(Error::permanent("storage-refused", "a key is missing").source(error));
        let keys = objects.iter().map(|key| ObjectIdentifier::builder().key(key).build());
        let keys: Vec<_> = keys.collect::<Result<_, _>>().map_err(unnamed)?;
        let delete = Delete::builder().set_objects(Some(keys)).quiet(true).build().map_err(unnamed)?;
        let request = self.client().delete_objects().bucket(self.bucket()).delete(delete);
        let output = self.answered(ASK, request.send()).await?.map_err(failure)?;
        let Some(first) = output.errors().iter().find(|error| error.code() != Some("NoSuchKey")) else {
            return Ok(());
        };
        let code = first.code().unwrap_or_default();
        let text = format!(
            "{} objects are not deleted, the first {:?}: {code}: {}",
            output.errors().len(),
            first.key().unwrap_or_default(),
            first.message().unwrap_or_default()
        );
        Err(match code {
            "AccessDenied" => Error::permanent("storage-denied", text)
                .hint("Check the right s3:DeleteObject, and whether the objects are locked."),
            _ => Error::temporary("storage-unavailable", text),
        }
        .into())
    }

    /// Not every server lists its open uploads; the bucket's lifecycle rule must then remove them.
    async fn abort_uploads(&self, folder: &str) -> Result<()> {
        let prefix = self.prefix(folder);
        let (mut key_marker, mut id_marker) = (None::<String>, None::<String>);
        loop {
            let listed = self
                .call(&RetryPolicy::ASK, "list uploads", folder, || {
                    let request = self
                        .client()
                        .list_multipart_uploads()
                        .bucket(self.bucket())
                        .prefix(&prefix)
                        .set_key_marker(key_marker.clone())
                        .set_upload_id_marker(id_marker.clone());
                    async move { self.answered(ASK, request.send()).await?.map_err(failure) }
                })
                .await;
            let listed = match listed {
                Ok(listed) => listed,
                Err(error) if !error.is_temporary() || error.to_string().contains("501 NotImplemented") => {
                    tracing::warn!(folder, reason = error.report(), "open uploads cannot be listed");
                    return Ok(());
                }
                Err(error) => return Err(error),
            };
            for upload in listed.uploads() {
                let (Some(object), Some(id)) = (upload.key(), upload.upload_id()) else { continue };
                if object.starts_with(&prefix) {
                    self.abort_upload(object, id).await?;
                }
            }
            if listed.is_truncated() != Some(true) || listed.next_key_marker().is_none() {
                return Ok(());
            }
            key_marker = listed.next_key_marker().map(str::to_owned);
            id_marker = listed.next_upload_id_marker().map(str::to_owned);
        }
    }

    /// Gives an upload up; one that is gone is no error.
    pub(super) async fn abort_upload(&self, object: &str, id: &str) -> Result<()> {
        self.call(&RetryPolicy::ASK, "abort the upload of", object, || {
            let request = self.client().abort_multipart_upload().bucket(self.bucket());
            let request = request.key(object).upload_id(id);
            async move {
                match self.answered(ASK, request.send()).await? {
                    Ok(_) => Ok(()),
                    Err(error) if super::failure::status(&error) == Some(404) => Ok(()),
                    Err(error) => Err(failure(error)),
                }
            }
        })
        .await
    }
}
