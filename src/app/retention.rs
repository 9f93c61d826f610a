//! What retention would do, and doing it now.

use futures_util::FutureExt;

use super::{App, routine_job};
use crate::config::StorageConfig;
use crate::error::{Error, Result};
use crate::jobs::Asked;
use crate::model::JobKind;
use crate::retention::{View, view_all};
use crate::store::{JobRow, Trigger};

impl App {
    /// What retention would do with a routine's backups now, and with their copies.
    ///
    /// Errors: `routine-unknown`, and those of the routine's own storage.
    pub async fn retention(&self, routine: &str) -> Result<View> {
        let job = self.config().routine(routine, self.now())?.job;
        let open = |config: StorageConfig| async move { self.places.open(&config).await }.boxed();
        view_all(self.jobs.store(), &job, open, self.now()).await
    }

    /// Admits a retention of all namespaces of a routine in its own storage, or in that of a copy.
    ///
    /// Errors: `routine-unknown`, `storage-unknown`, `retention-not-configured`.
    pub async fn trigger_retention(
        &self,
        routine: &str,
        storage: Option<&str>,
        asked: Asked,
    ) -> Result<JobRow> {
        let own = self.config().routine(routine, self.now())?.job;
        let job = storage.map(|storage| own.in_storage(storage)).transpose()?.unwrap_or_else(|| own.clone());
        if job.policy.retention.is_none() {
            let name = job.storage.name.as_deref().unwrap_or_default();
            let (place, rule) = if job.storage == own.storage {
                (String::new(), "its backup policy")
            } else {
                (format!(" in storage \"{name}\""), "that copy")
            };
            return Err(Error::permanent(
                "retention-not-configured",
                format!("routine \"{routine}\" keeps everything{place}"),
            )
            .hint(format!("Give {rule} a retention.")));
        }
        let new = routine_job(&job)?.on_backups(JobKind::Retention, Trigger::Api, None);
        self.admit(new.asked(asked)).await
    }
}
