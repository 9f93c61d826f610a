//! What a restore would do, and whether it needs a confirmation, before there is a job.

use tokio_util::sync::CancellationToken;

use super::App;
use super::fence::check_fence;
use super::places::LOOK;
use crate::config::RestoreConfig;
use crate::error::{Error, Result};
use crate::memory::{Class, Need};
use crate::restore::{Looked, RestorePreview, Source, look};
use crate::store::RequestKey;

impl App {
    /// The plan of a restore that is not made; nothing is written, in storage, in the cluster or in the store.
    ///
    /// Errors: those that the restore would end with before it writes; `memory-budget` while jobs hold all memory.
    pub async fn preview_restore(&self, config: &RestoreConfig) -> Result<RestorePreview> {
        self.look(config).await?.preview(config, &self.jobs, self.ownership.id()).await
    }

    /// Refuses a restore into what is not empty that nobody has confirmed. The job looks again before it writes: what
    /// cannot be told now is its matter.
    ///
    /// Errors: `confirmation-required`.
    pub(super) async fn check_confirmed(
        &self,
        config: &RestoreConfig,
        key: Option<&RequestKey>,
    ) -> Result<()> {
        // Who asks again is told of the job that was made, although that has written by now.
        if !config.unconfirmed || self.jobs.is_known_key(key).await? {
            return Ok(());
        }
        let silent = || Error::temporary("storage-unavailable", "storage or destination have not answered");
        let looked = tokio::time::timeout(LOOK, self.look(config)).await;
        match looked.unwrap_or_else(|_| Err(silent())) {
            Ok(looked) => looked.not_confirmed(config).map_or(Ok(()), Err),
            Err(error) => {
                let reason = error.report();
                tracing::info!(reason, "whether a restore needs a confirmation is left to its job");
                Ok(())
            }
        }
    }

    async fn look(&self, config: &RestoreConfig) -> Result<Looked> {
        check_fence(config).await?;
        let _share = self.runner.memory().take_now(Class::Other, Need::ESTIMATE)?;
        let places = self.places.clone();
        let sources = Source::all(config, move |place| {
            let places = places.clone();
            async move { places.open(&place).await }
        });
        look(config, self.connect.as_ref(), sources, &self.jobs, &CancellationToken::new()).await
    }
}
