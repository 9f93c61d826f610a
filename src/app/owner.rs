//! Whose the routines' folders are (rules.md 5.5): the duty that keeps ours, and the questions about it.

use std::collections::BTreeMap;
use std::sync::Arc;

use futures_util::future::join_all;
use serde::Serialize;

use super::App;
use crate::catalog::owner::{Owner, Seen};
use crate::catalog::{OwnerTimes, Ownership};
use crate::config::{JobConfig, StorageConfig};
use crate::error::{Error, Result};
use crate::model::UnixMillis;
use crate::storage::Storage;

/// Whose the folder of a routine is, or was.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "kebab-case")]
pub struct RoutineOwner {
    /// The routine.
    pub routine: String,
    /// The instance that answers.
    pub this_instance: String,
    /// Whose it is.
    pub state: OwnerState,
    /// Who owns it, if that is known.
    pub owner: Option<OwnerView>,
}

/// Whose the folder of a routine is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum OwnerState {
    /// The instance's that answers.
    Ours,
    /// Another instance's.
    Other,
    /// Nobody's: the first backup takes it.
    Nobody,
    /// The owner file is not understood.
    Unreadable,
}

/// An owner, for people.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "kebab-case")]
pub struct OwnerView {
    /// Its instance id.
    pub instance: String,
    /// Where it ran when it took the folder.
    pub host: Option<String>,
    /// When it took the folder, by its own clock.
    pub taken_at: Option<String>,
    /// When it last showed that it lived, by the storage's clock.
    pub renewed_at: Option<String>,
}

/// Makes the folder of a routine this instance's at once; whose it was before (`state`, `owner`).
pub async fn adopt(ownership: &Ownership, storage: &dyn Storage, routine: &str) -> Result<RoutineOwner> {
    let owner = ownership.owner(storage, routine).await?;
    let renewed = last_seen(ownership, storage, &owner).await?;
    let before = ownership.adopt(storage, routine).await?;
    tracing::warn!(routine, ?before, "the routine's folder was adopted");
    Ok(view(ownership, routine, before, renewed))
}

/// The storage of a routine that is meant, and this instance as an owner in it.
///
/// Errors: `storage-unknown`.
pub fn there(
    job: &JobConfig,
    storage: Option<&str>,
    ownership: &Ownership,
) -> Result<(StorageConfig, Ownership)> {
    let Some(named) = storage else { return Ok((job.storage.clone(), ownership.clone())) };
    let there = job.in_storage(named)?;
    let ownership = if there.of_copies { ownership.elsewhere(named) } else { ownership.clone() };
    Ok((there.storage, ownership))
}

impl App {
    /// Whose the folder of a routine is in its own storage, or in that of a copy, asked of storage.
    ///
    /// Errors: `routine-unknown`, `storage-unknown`, those of storage.
    pub async fn routine_owner(&self, routine: &str, storage: Option<&str>) -> Result<RoutineOwner> {
        let (storage, ownership) = self.folder_of(routine, storage).await?;
        let owner = ownership.owner(storage.as_ref(), routine).await?;
        let renewed = last_seen(&ownership, storage.as_ref(), &owner).await?;
        Ok(view(&ownership, routine, owner, renewed))
    }

    /// Makes the folder of a routine this instance's at once; whose it was before (`state`, `owner`).
    ///
    /// Errors: `routine-unknown`, `storage-unknown`, `routine-owned` (another adopted it at the same moment), those of
    /// storage.
    pub async fn adopt(&self, routine: &str, storage: Option<&str>) -> Result<RoutineOwner> {
        let (storage, ownership) = self.folder_of(routine, storage).await?;
        adopt(&ownership, storage.as_ref(), routine).await
    }

    /// How often [`App::renew_ownership`] is due.
    pub fn owner_times(&self) -> OwnerTimes {
        self.ownership.times()
    }

    /// Looks whose every routine's folder is, and shows in each storage with one of ours that this instance lives.
    /// What storage does not answer is logged; a storage that hangs does not hold up the others.
    pub async fn renew_ownership(&self) -> BTreeMap<String, Seen> {
        let config = self.config();
        let mut by_storage: BTreeMap<&str, Vec<&String>> = BTreeMap::new();
        for (name, routine) in &config.backup_routines {
            by_storage.entry(&routine.storage).or_default().push(name);
        }
        let copies = self.renew_copies();
        let looks = by_storage.into_iter().map(|(storage, routines)| async move {
            let looked = async { self.renew_in(&self.config().storage(storage)?, &routines).await };
            let patience = self.ownership.times().renew;
            let looked = tokio::time::timeout(patience, looked).await.unwrap_or_else(|_| {
                self.ownership.lost_sight(&routines);
                Err(Error::temporary("storage-unavailable", "the storage has not answered"))
            });
            if let Err(error) = looked {
                let reason = error.report();
                tracing::warn!(storage, reason, "not shown in this storage that this instance lives");
            }
        });
        futures_util::future::join(join_all(looks), copies).await;
        let names = config.backup_routines.keys();
        names.map(|name| (name.clone(), self.ownership.seen(name).unwrap_or(Seen::Unknown))).collect()
    }

    /// The same in the storages with copies of ours; whose those folders are is noted nowhere.
    async fn renew_copies(&self) {
        let config = self.config();
        let mut by_storage: BTreeMap<&str, Vec<&String>> = BTreeMap::new();
        for (name, routine) in &config.backup_routines {
            for storage in routine.copy_storages() {
                by_storage.entry(storage).or_default().push(name);
            }
        }
        let looks = by_storage.into_iter().map(|(storage, routines)| async move {
            let ownership = self.ownership.elsewhere(storage);
            let looked = async {
                let place = self.places.open(&self.config().storage(storage)?).await?;
                for routine in routines {
                    let owner = ownership.owner(place.as_ref(), routine).await?;
                    if ownership.judge(&owner) == Seen::Ours {
                        return ownership.renew(place.as_ref()).await.map(drop);
                    }
                }
                Ok(())
            };
            let patience = ownership.times().renew;
            let looked = tokio::time::timeout(patience, looked).await.unwrap_or_else(|_| {
                Err(Error::temporary("storage-unavailable", "the storage has not answered"))
            });
            if let Err(error) = looked {
                let reason = error.report();
                tracing::warn!(
                    storage,
                    reason,
                    "not shown in this storage of copies that this instance lives"
                );
            }
        });
        join_all(looks).await;
    }

    /// The first error, once every routine was looked at: one broken folder must not cost the others their owner.
    async fn renew_in(&self, place: &StorageConfig, routines: &[&String]) -> Result<()> {
        let storage = self.places.open(place).await.inspect_err(|_| {
            self.ownership.lost_sight(routines);
        })?;
        let (mut ours, mut failed) = (false, None);
        for routine in routines {
            let before = self.ownership.seen(routine);
            match self.ownership.owner(storage.as_ref(), routine).await {
                Ok(owner) => match self.ownership.judge(&owner) {
                    Seen::Ours => ours = true,
                    Seen::Other if before != Some(Seen::Other) => {
                        let text = "the routine's folder is not ours: it is not backed up here";
                        tracing::warn!(routine, ?owner, "{text}");
                    }
                    Seen::Other | Seen::Nobody | Seen::Unknown => {}
                },
                Err(error) => failed = failed.or(Some(error)),
            }
        }
        if ours {
            self.ownership.renew(storage.as_ref()).await?;
        }
        failed.map_or(Ok(()), Err)
    }

    async fn folder_of(&self, routine: &str, storage: Option<&str>) -> Result<(Arc<dyn Storage>, Ownership)> {
        let job = self.config().routine(routine, self.now())?.job;
        let (place, ownership) = there(&job, storage, &self.ownership)?;
        Ok((self.places.open(&place).await?, ownership))
    }
}

/// When the owner last showed that it lived.
async fn last_seen(
    ownership: &Ownership,
    storage: &dyn Storage,
    owner: &Owner,
) -> Result<Option<UnixMillis>> {
    match owner {
        Owner::Instance(record) => ownership.renewed(storage, &record.instance).await,
        Owner::Nobody | Owner::Unreadable(_) => Ok(None),
    }
}

fn view(ownership: &Ownership, routine: &str, owner: Owner, renewed: Option<UnixMillis>) -> RoutineOwner {
    let state = match &owner {
        Owner::Instance(record) if record.instance == *ownership.id() => OwnerState::Ours,
        Owner::Instance(_) => OwnerState::Other,
        Owner::Nobody => OwnerState::Nobody,
        Owner::Unreadable(_) => OwnerState::Unreadable,
    };
    let owner = match owner {
        Owner::Instance(record) => Some(OwnerView {
            instance: record.instance.to_string(),
            host: record.host,
            taken_at: record.taken_at.map(UnixMillis::to_rfc3339),
            renewed_at: renewed.map(UnixMillis::to_rfc3339),
        }),
        Owner::Nobody | Owner::Unreadable(_) => None,
    };
    let this_instance = ownership.id().to_string();
    RoutineOwner { routine: routine.to_owned(), this_instance, state, owner }
}
