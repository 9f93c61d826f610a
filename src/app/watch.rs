//! The place of the configuration is looked at again and again: what was edited takes effect by itself.

use std::path::Path;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::config_place::{self, GONE, TextHash};
use super::{App, ConfigPlace, ReloadSource};
use crate::error::Result;
use crate::tasks::blocking;

/// How often a place is looked at.
#[derive(Debug, Clone, Copy)]
pub struct WatchTimes {
    /// A file, and any place that looked different: what looks the same twice is taken.
    pub near: Duration,
    /// What is read over the network.
    pub far: Duration,
}

impl Default for WatchTimes {
    fn default() -> Self {
        Self { near: Duration::from_secs(2), far: Duration::from_secs(30) }
    }
}

/// What was seen at the last looks.
#[derive(Default)]
struct Watch {
    /// When a file was last written, and as which.
    stamp: Option<(i64, i64, u64, u64)>,
    /// What is new and will be taken if it is there at the next look, too.
    pending: Option<TextHash>,
}

impl App {
    /// Looks again and again, until `stop`. A text is taken once it is the same at two looks: one that is just being
    /// written is left alone, and so is a server that is away for a moment. One that was refused is not tried again
    /// until it changes.
    pub async fn watch_config(&self, times: WatchTimes, stop: CancellationToken) -> Result<()> {
        let Some(place) = &self.config_place else { return Ok(()) };
        let mut watch = Watch::default();
        loop {
            let soon = place.as_file().is_some() || watch.pending.is_some();
            let pause = tokio::time::sleep(if soon { times.near } else { times.far });
            if stop.run_until_cancelled(pause).await.is_none() {
                return Ok(());
            }
            let looked = stop.run_until_cancelled(watch.look(place)).await;
            let Some(hash) = looked.transpose()?.flatten() else { continue };
            if self.was_examined(&hash) {
                watch.pending = None;
            } else if watch.pending == Some(hash) {
                watch.pending = None;
                self.take_edited(&hash).await;
            } else {
                watch.pending = Some(hash);
            }
        }
    }

    async fn take_edited(&self, hash: &TextHash) {
        let _one_at_a_time = self.reloading.lock().await;
        if !self.was_examined(hash) {
            // Why it was refused is in the log, in the metrics and in the status.
            drop(self.reload_locked(ReloadSource::File).await);
        }
    }
}

impl Watch {
    /// What is there now; none: a file that was not written since the last look.
    async fn look(&mut self, place: &ConfigPlace) -> Result<Option<TextHash>> {
        if let Some(path) = place.as_file() {
            let path = path.to_owned();
            let now = blocking(move || Ok(stamp(&path))).await?;
            let (before, waits) = (std::mem::replace(&mut self.stamp, now), self.pending.is_some());
            if !waits && now.is_some() && now == before {
                return Ok(None);
            }
        }
        Ok(Some(match place.read().await {
            Ok(Ok(held)) => config_place::hash(&held.text),
            _ => GONE,
        }))
    }
}

fn stamp(path: &Path) -> Option<(i64, i64, u64, u64)> {
    config_place::stamp(path)
}
