//! Copies on demand, and what reading copies again has shown.

use std::collections::HashMap;

use super::App;
use super::lists::verification;
use crate::catalog::details::CopyVerification;
use crate::config::{Config, CopyOrder};
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

impl App {
    /// What reading the copies of some routines' backups again has shown, by folder; a folder begins with its routine.
    pub(super) async fn verified_copies(
        &self,
        config: &Config,
        routines: &[&str],
    ) -> Result<HashMap<String, Vec<CopyVerification>>> {
        let known = routines.iter().filter_map(|name| Some((*name, config.backup_routines.get(*name)?)));
        let of: Vec<(&str, &str)> = known
            .flat_map(|(name, routine)| routine.copy_storages().map(move |storage| (storage, name)))
            .collect();
        let mut found: HashMap<String, Vec<CopyVerification>> = HashMap::new();
        if of.is_empty() {
            return Ok(found);
        }
        for row in self.jobs.store().verifications_of(&of).await? {
            let (folder, storage) = (row.folder.clone(), row.storage.clone());
            let one = CopyVerification { storage, verification: verification(row) };
            found.entry(folder).or_default().push(one);
        }
        Ok(found)
    }
}

/// What another attempt of a copy job holds from its admission on; nothing where its row cannot be read.
pub(super) fn pins_of(job: &JobRow) -> Vec<String> {
    let config = job.config.as_ref().and_then(|document| document.parse::<CopyJobConfig>().ok());
    let request = job.request.as_ref().and_then(|document| document.parse::<CopyRequest>().ok());
    config.zip(request).map(|(config, request)| pins(&config, &request)).unwrap_or_default()
}
