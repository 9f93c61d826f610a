//! Copies on demand.

use super::App;
use crate::config::CopyOrder;
use crate::copy::{CopyJobConfig, CopyRequest, Wanted, copy_job, pins};
use crate::error::Result;
use crate::jobs::{Asked, NewJob};
use crate::model::UnixMillis;
use crate::store::{JobRow, Trigger};

impl App {
    /// Admits a copy, also of a disabled routine's backups.
    ///
    /// Errors: `routine-unknown`, `storage-unknown`, `copy-of-itself`.
    pub async fn trigger_copy(&self, order: &CopyOrder, asked: Asked) -> Result<JobRow> {
        let config = self.config();
        let job = config.routine(&order.routine, self.now())?.job;
        let copy = config.copy_target(&order.routine, &order.storage)?;
        let wanted = match order.timestamp {
            None => Wanted::Everything,
            Some(timestamp) => Wanted::Run {
                timestamp: UnixMillis(timestamp),
                backup_type: order.backup_type,
                chain: order.chain,
            },
        };
        let request = CopyRequest { wanted, tries: None };
        let new = NewJob {
            namespaces: (!order.namespaces.is_empty()).then(|| order.namespaces.clone()),
            ..copy_job(&job, &copy, &request, Trigger::Api)?
        };
        self.admit(new.asked(asked)).await
    }
}

/// What another attempt of a copy job holds from its admission on; nothing where its row cannot be read.
pub(super) fn pins_of(job: &JobRow) -> Vec<String> {
    let config = job.config.as_ref().and_then(|document| document.parse::<CopyJobConfig>().ok());
    let request = job.request.as_ref().and_then(|document| document.parse::<CopyRequest>().ok());
    config.zip(request).map(|(config, request)| pins(&config, &request)).unwrap_or_default()
}
