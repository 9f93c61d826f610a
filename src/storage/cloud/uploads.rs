//! Unfinished uploads, where the provider lists them.

use std::fmt::Debug;

use async_trait::async_trait;
use object_store::path::Path;

use super::http::Body;
use super::{Inner, Undone, needed};
use crate::error::Result;
use crate::storage::retry::RetryPolicy;

/// One unfinished upload.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OpenUpload {
    /// The object that it is of.
    pub path: String,
    /// Its id.
    pub id: String,
}

/// One page of a list of unfinished uploads.
#[derive(Debug, Default)]
pub struct UploadPage {
    /// What is in it.
    pub uploads: Vec<OpenUpload>,
    /// Where the next one begins: the markers of key and id.
    pub next: Option<(String, String)>,
}

/// What finds and removes unfinished uploads. Its requests go the way of all others.
#[async_trait]
pub trait Uploads: Send + Sync + Debug {
    /// A page of those whose object begins with `prefix`.
    async fn page(&self, prefix: &str, from: Option<&(String, String)>) -> object_store::Result<UploadPage>;

    /// Removes one.
    async fn abort(&self, path: &Path, id: &str) -> object_store::Result<()>;
}

impl Inner {
    /// Removes the unfinished uploads below a folder.
    pub(super) async fn abort_uploads(&self, uploads: &dyn Uploads, folder: &str) -> Result<()> {
        let prefix = self.prefix(folder);
        let mut from = None;
        loop {
            let page = uploads.page(&prefix, from.as_ref());
            let page = self.call("list uploads", folder, RetryPolicy::ASK, Body::ANSWER, page).await;
            let page = page.map_err(needed)?;
            for open in &page.uploads {
                let path = self.full_path(&open.path)?;
                let gone = uploads.abort(&path, &open.id);
                match self.call("abort", &open.path, RetryPolicy::ASK, Body::ANSWER, gone).await {
                    Ok(()) | Err(Undone::Absent) => {}
                    Err(Undone::Failed(error)) => return Err(error),
                }
            }
            // A page that ends where it began would go on for ever.
            if page.next.is_none() || page.next == from {
                return Ok(());
            }
            from = page.next;
        }
    }
}
