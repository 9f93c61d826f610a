//! The configuration's file is looked at again and again: an edited one takes effect by itself.

use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::config_file::{self, GONE, TextHash};
use super::{App, ReloadSource};
use crate::error::Result;
use crate::tasks::blocking;

impl App {
    /// Looks every `interval`, until `stop`. A file is taken once it holds the same at two looks: one that is just being
    /// written is left alone. One that was refused is not tried again until it changes.
    pub async fn watch_config(&self, interval: Duration, stop: CancellationToken) -> Result<()> {
        let (mut stamp, mut pending) = (None, None);
        while stop.run_until_cancelled(tokio::time::sleep(interval)).await.is_some() {
            let Some(path) = self.config_path.clone() else { break };
            let (before, waits) = (stamp, pending.is_some());
            let looked = blocking(move || {
                let now = config_file::stamp(&path);
                let look = waits || now.is_none() || now != before;
                Ok((now, look.then(|| hash_of(&path))))
            });
            let (now, hash) = looked.await?;
            stamp = now;
            let Some(hash) = hash else { continue };
            if !self.is_new(&hash) {
                pending = None;
            } else if pending == Some(hash) {
                pending = None;
                self.take_edited(&hash).await;
            } else {
                pending = Some(hash);
            }
        }
        Ok(())
    }

    fn is_new(&self, hash: &TextHash) -> bool {
        !self.was_examined(hash)
    }

    async fn take_edited(&self, hash: &TextHash) {
        let _one_at_a_time = self.reloading.lock().await;
        if self.is_new(hash) {
            // Why it was refused is in the log, in the metrics and in the status.
            drop(self.reload_locked(ReloadSource::File).await);
        }
    }
}

fn hash_of(path: &std::path::Path) -> TextHash {
    match config_file::read(path) {
        Ok(Ok(text)) => config_file::hash(&text),
        _ => GONE,
    }
}
