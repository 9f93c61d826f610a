//! What the nodes had said of their configuration when a full was made (abs.md 1.2, `retrieve/configuration`).

use bytes::Bytes;

use super::{App, TimeBounds};
use crate::catalog::layout::CONFIGURATION;
use crate::catalog::{RunFolder, State};
use crate::error::{Error, Result};
use crate::model::{BackupType, UnixMillis};

/// No node's configuration comes near it.
const FILE_BYTES_MAX: u64 = 8 << 20;

/// No cluster has so many nodes.
const FILES_MAX: usize = 1024;

impl App {
    /// The files that were stored beside the newest full of a routine whose run began at or before `at`.
    ///
    /// Errors: `routine-unknown`, `configuration-not-stored`, those of storage.
    pub async fn cluster_configuration(&self, routine: &str, at: UnixMillis) -> Result<Vec<(String, Bytes)>> {
        let none = |what: String| {
            Error::permanent("configuration-not-stored", what)
                .hint("Set with-cluster-configuration in the policy; it is stored beside each full.")
        };
        let config = self.config().routine(routine, self.now())?.job.storage;
        let bounds = TimeBounds { from: None, to: Some(at) };
        let known = self.cached(&[routine], BackupType::Full, bounds, true).await?;
        let fulls = known.routines.into_values().flatten();
        let newest = fulls.filter(|entry| entry.state != State::Marked);
        let newest = newest.max_by_key(|entry| entry.created);
        let Some((run, _)) = newest.as_ref().and_then(|entry| RunFolder::of_key(&entry.key)) else {
            return Err(none(format!("routine \"{routine}\" has no full backup at or before {}", at.0)));
        };
        let storage = self.places.open(&config).await?;
        let folder = format!("{}/{CONFIGURATION}/", run.key());
        let mut files = Vec::new();
        for found in storage.list(&folder).await?.into_iter().take(FILES_MAX) {
            let Some(name) = found.key.strip_prefix(&folder) else { continue };
            if let Some(content) = storage.get(&found.key, FILE_BYTES_MAX).await? {
                files.push((name.to_owned(), content));
            }
        }
        if files.is_empty() {
            return Err(none(format!("backup {} has no configuration beside it", run.key())));
        }
        Ok(files)
    }
}
