//! What retention would do in the storages that a routine's backups are copied to, each by its own rule.

use futures_util::future::{BoxFuture, join_all};
use serde::Serialize;

use super::plan::{NamespaceView, Problem, Totals, View, view};
use crate::config::{CopyConfig, CopyOn, JobConfig, RetentionConfig, StorageConfig};
use crate::error::Result;
use crate::model::UnixMillis;
use crate::storage::Storage;
use crate::store::Store;

/// What retention would do with the copies of a routine's backups in one storage.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "kebab-case")]
#[schema(as = RetentionOfCopies)]
pub struct CopiesView {
    /// The storage, by its configured name.
    pub storage: Option<String>,
    /// Which backups are copied there.
    pub on: CopyOn,
    /// How much is kept there; none: everything stays.
    pub retention: Option<RetentionConfig>,
    /// The same in words.
    pub says: String,
    /// Every namespace that has a committed backup there.
    pub namespaces: Vec<NamespaceView>,
    /// While there is one of these, nothing is deleted there and the job fails. Also what keeps the storage from being
    /// read: then nothing is known of its backups.
    pub problems: Vec<Problem>,
    /// The sums.
    pub totals: Totals,
}

/// Opens a storage that a configuration names.
pub type Opened<'a> = BoxFuture<'a, Result<std::sync::Arc<dyn Storage>>>;

/// What retention would do now with a routine's backups and with their copies.
///
/// Errors: those of the routine's own storage; what is wrong with another one is among its `problems`.
pub async fn view_all<'a>(
    store: &Store,
    config: &JobConfig,
    open: impl Fn(StorageConfig) -> Opened<'a>,
    now: UnixMillis,
) -> Result<View> {
    let own = open(config.storage.clone()).await?;
    let mut seen = view(store, own.as_ref(), config, now).await?;
    seen.copies = join_all(config.copies.iter().map(|copy| {
        let opened = open(copy.storage.clone());
        view_copy(store, config, copy, opened, now)
    }))
    .await;
    Ok(seen)
}

async fn view_copy(
    store: &Store,
    config: &JobConfig,
    copy: &CopyConfig,
    opened: Opened<'_>,
    now: UnixMillis,
) -> CopiesView {
    let there = config.in_copy(copy);
    let looked = async { view(store, opened.await?.as_ref(), &there, now).await };
    let (storage, on) = (copy.storage.name.clone(), copy.on);
    match looked.await {
        Ok(View { retention, says, namespaces, problems, totals, .. }) => {
            CopiesView { storage, on, retention, says, namespaces, problems, totals }
        }
        Err(error) => CopiesView {
            storage,
            on,
            retention: copy.retention,
            says: RetentionConfig::in_words(copy.retention),
            namespaces: Vec::new(),
            problems: vec![Problem {
                code: error.code(),
                backup: String::new(),
                reason: error.report_without_hint(),
            }],
            totals: Totals::default(),
        },
    }
}
