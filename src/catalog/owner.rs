//! One owner per routine folder: who may write and prune there (rules.md 5.5). Reading needs no owner.
//!
//! An instance lives while its file at the storage root was renewed within [`OwnerTimes::expires`], by the storage's
//! own clock: the present is the date of our own file, renewed just before. Doubt is an error, never a take-over.
//!
//! Storage has no conditional writes here, so two instances that take a folder at the same moment may both read
//! themselves back; the last write stays, and the loser's next check (before its scan, each commit and each
//! deletion) refuses. What remains is the time between a check and the one call that it allows.

mod record;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

pub use record::{How, OwnerRecord, owner_document, parse_owner};
use record::{RECORD_BYTES_MAX, instance_document};

use super::layout::{OWNER, instance_file, owner_file};
use crate::clock::SharedClock;
use crate::error::{Error, Result};
use crate::model::{InstanceId, UnixMillis};
use crate::storage::Storage;

/// How often an instance shows that it lives, and when it counts as gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OwnerTimes {
    /// Every instance renews its file this often; default 10 minutes.
    pub renew: Duration,
    /// An instance that was not renewed for so long may be replaced; default 60 minutes.
    pub expires: Duration,
}

impl Default for OwnerTimes {
    fn default() -> Self {
        Self { renew: Duration::from_mins(10), expires: Duration::from_hours(1) }
    }
}

/// What the owner file of a routine says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Owner {
    /// There certainly is none: a folder of ABS, or a new one.
    Nobody,
    /// An instance, perhaps this one.
    Instance(OwnerRecord),
    /// Something that is not understood: not to be written over by itself.
    Unreadable(String),
}

/// How a folder is ours.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Held {
    /// It was before.
    Already,
    /// It had no owner.
    Taken,
    /// Its owner is gone.
    Replaced {
        /// Who owned it.
        previous: OwnerRecord,
        /// When it last showed that it lived, by the storage's clock.
        renewed: UnixMillis,
    },
}

impl Held {
    /// What an operator must hear of it: that `ours` has taken the folder of a routine from an instance that is gone.
    pub fn warning(&self, routine: &str, ours: &InstanceId) -> Option<String> {
        let Self::Replaced { previous, renewed } = self else { return None };
        Some(format!(
            "the folder of routine {routine} belonged to {previous}, last seen {renewed}; now it is this instance's, \
             {ours}"
        ))
    }
}

/// What was last seen of a routine's owner.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Seen {
    /// The folder is ours.
    Ours,
    /// Another instance's, or one that cannot be read.
    Other,
    /// Nobody's yet.
    Nobody,
    /// Storage did not say.
    Unknown,
}

/// This instance as an owner of routine folders; cheap to clone.
#[derive(Debug, Clone)]
pub struct Ownership(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    id: InstanceId,
    host: Option<String>,
    clock: SharedClock,
    times: OwnerTimes,
    /// The storage of copies that it is about; none: the routines' own.
    copies: Option<String>,
    seen: Mutex<BTreeMap<String, Seen>>,
}

/// Whether an owner lives.
enum Life {
    Lives { renewed: UnixMillis },
    Gone { renewed: UnixMillis },
}

impl Ownership {
    /// This instance; `host` and the clock's time are written for people only.
    pub fn new(id: InstanceId, host: Option<String>, clock: SharedClock, times: OwnerTimes) -> Self {
        Self(Arc::new(Inner { id, host, clock, times, copies: None, seen: Mutex::default() }))
    }

    /// The same instance, for a storage with copies, by its name: what it sees there is not noted as seen of the routines'
    /// own.
    #[must_use]
    pub fn elsewhere(&self, storage: &str) -> Self {
        let Inner { id, host, clock, times, copies: _, seen: _ } = self.0.as_ref();
        Self(Arc::new(Inner {
            id: id.clone(),
            host: host.clone(),
            clock: Arc::clone(clock),
            times: *times,
            copies: Some(storage.to_owned()),
            seen: Mutex::default(),
        }))
    }

    /// The command that takes the folder of a routine over.
    fn command(&self, routine: &str) -> String {
        match &self.0.copies {
            None => format!("holdfast adopt {routine}"),
            Some(storage) => format!("holdfast adopt {routine} --storage {storage}"),
        }
    }

    /// Its name.
    pub fn id(&self) -> &InstanceId {
        &self.0.id
    }

    /// Its times.
    pub fn times(&self) -> OwnerTimes {
        self.0.times
    }

    /// Whose the folder of a routine is; writes nothing.
    pub async fn owner(&self, storage: &dyn Storage, routine: &str) -> Result<Owner> {
        let read = match storage.get(&owner_file(routine)?, RECORD_BYTES_MAX).await {
            Ok(None) => Ok(Owner::Nobody),
            Ok(Some(bytes)) => Ok(parse_owner(&bytes).map_or_else(Owner::Unreadable, Owner::Instance)),
            Err(error) if error.code() == "storage-object-too-large" => {
                Ok(Owner::Unreadable(error.to_string()))
            }
            Err(error) => Err(error.context(format!("whose the folder of routine {routine} is"))),
        };
        self.note(routine, read.as_ref().map_or(Seen::Unknown, |owner| self.judge(owner)));
        read
    }

    /// At the start of a run, before anything is asked of a cluster: refuses what [`Ownership::ensure`] would refuse,
    /// and takes nothing.
    pub async fn may_hold(&self, storage: &dyn Storage, routine: &str) -> Result<()> {
        match self.owner(storage, routine).await? {
            Owner::Nobody => Ok(()),
            Owner::Instance(record) if record.instance == self.0.id => Ok(()),
            Owner::Instance(record) => match self.life(storage, routine, &record).await? {
                Life::Gone { .. } => Ok(()),
                Life::Lives { renewed } => Err(self.owned(storage, routine, &record, Some(renewed))),
            },
            Owner::Unreadable(reason) => Err(self.unreadable(storage, routine, &reason)),
        }
    }

    /// Before the first write of a run: the folder is ours, or becomes ours if it has no owner or one that is gone;
    /// and we show that we live.
    ///
    /// Errors: `routine-owned` (permanent), `owner-unreadable` (permanent), those of storage.
    pub async fn ensure(&self, storage: &dyn Storage, routine: &str) -> Result<Held> {
        match self.owner(storage, routine).await? {
            Owner::Nobody => {
                self.take(storage, routine, How::FirstWrite, None).await?;
                Ok(Held::Taken)
            }
            Owner::Instance(record) if record.instance == self.0.id => {
                self.renew(storage).await?;
                Ok(Held::Already)
            }
            Owner::Instance(previous) => match self.life(storage, routine, &previous).await? {
                Life::Lives { renewed } => Err(self.owned(storage, routine, &previous, Some(renewed))),
                Life::Gone { renewed } => {
                    self.take(storage, routine, How::Replaced, Some(&previous.instance)).await?;
                    Ok(Held::Replaced { previous, renewed })
                }
            },
            Owner::Unreadable(reason) => Err(self.unreadable(storage, routine, &reason)),
        }
    }

    /// Before each commit and each deletion: the folder is still ours. Unlike [`Ownership::ensure`] it replaces
    /// nobody, alive or gone: who has taken the folder meanwhile had a reason.
    ///
    /// A folder that has lost its owner file is taken again. Errors: as for [`Ownership::ensure`].
    pub async fn check(&self, storage: &dyn Storage, routine: &str) -> Result<()> {
        match self.owner(storage, routine).await? {
            Owner::Nobody => self.take(storage, routine, How::FirstWrite, None).await,
            Owner::Instance(record) if record.instance == self.0.id => Ok(()),
            Owner::Instance(record) => Err(self.owned(storage, routine, &record, None)),
            Owner::Unreadable(reason) => Err(self.unreadable(storage, routine, &reason)),
        }
    }

    /// Takes the folder at once, whoever owns it; whose it was before.
    pub async fn adopt(&self, storage: &dyn Storage, routine: &str) -> Result<Owner> {
        let before = self.owner(storage, routine).await?;
        match &before {
            Owner::Instance(record) if record.instance == self.0.id => {
                self.renew(storage).await?;
            }
            Owner::Instance(record) => {
                self.take(storage, routine, How::Adopted, Some(&record.instance)).await?;
            }
            Owner::Nobody | Owner::Unreadable(_) => self.take(storage, routine, How::Adopted, None).await?,
        }
        Ok(before)
    }

    /// Shows that we live; the present by the storage's clock.
    pub async fn renew(&self, storage: &dyn Storage) -> Result<UnixMillis> {
        let inner = &self.0;
        let key = instance_file(&inner.id);
        let document = instance_document(&inner.id, inner.host.as_deref(), inner.clock.now())?;
        let renewed = async {
            storage.put(&key, document).await?;
            let written = storage.head(&key).await?;
            written.map(|object| object.modified).ok_or_else(|| {
                Error::temporary("instance-not-renewed", format!("{key} is not there after it was written"))
            })
        };
        renewed.await.map_err(|error| error.context("show that this instance lives"))
    }

    /// When an instance last showed that it lives, by the storage's clock.
    pub async fn renewed(&self, storage: &dyn Storage, instance: &InstanceId) -> Result<Option<UnixMillis>> {
        Ok(storage.head(&instance_file(instance)).await?.map(|object| object.modified))
    }

    /// What was last seen of a routine's owner; none before the first look.
    pub fn seen(&self, routine: &str) -> Option<Seen> {
        self.0.seen.lock().unwrap_or_else(PoisonError::into_inner).get(routine).copied()
    }

    /// Notes that storage does not say any more whose these routines' folders are.
    pub fn lost_sight(&self, routines: &[&String]) {
        for routine in routines {
            self.note(routine, Seen::Unknown);
        }
    }

    /// Whose a folder is, seen from here.
    pub fn judge(&self, owner: &Owner) -> Seen {
        match owner {
            Owner::Nobody => Seen::Nobody,
            Owner::Instance(record) if record.instance == self.0.id => Seen::Ours,
            Owner::Instance(_) | Owner::Unreadable(_) => Seen::Other,
        }
    }

    fn note(&self, routine: &str, seen: Seen) {
        self.0.seen.lock().unwrap_or_else(PoisonError::into_inner).insert(routine.to_owned(), seen);
    }

    /// Writes the owner file, then asks storage who won.
    async fn take(
        &self,
        storage: &dyn Storage,
        routine: &str,
        how: How,
        previous: Option<&InstanceId>,
    ) -> Result<()> {
        // First that we live: an owner without a file of its own could be replaced at once.
        self.renew(storage).await?;
        let inner = &self.0;
        let document = owner_document(&inner.id, inner.host.as_deref(), inner.clock.now(), how, previous)?;
        storage.put(&owner_file(routine)?, document).await?;
        match self.owner(storage, routine).await? {
            Owner::Instance(record) if record.instance == inner.id => {
                let (place, previous) = (storage.describe(), previous.map(InstanceId::as_str));
                tracing::info!(routine, place, ?how, previous, "the routine's folder is ours");
                Ok(())
            }
            Owner::Instance(record) => Err(self.owned(storage, routine, &record, None)),
            Owner::Unreadable(reason) => Err(self.unreadable(storage, routine, &reason)),
            Owner::Nobody => Err(lost(routine, "is not there after it was written")),
        }
    }

    /// Whether another owner lives, by the storage's clock.
    async fn life(&self, storage: &dyn Storage, routine: &str, other: &OwnerRecord) -> Result<Life> {
        let now = self.renew(storage).await?;
        let renewed = match self.renewed(storage, &other.instance).await? {
            Some(renewed) => renewed,
            // Its file is gone, or the folder was copied here: its claim is as old as the owner file.
            None => match storage.head(&owner_file(routine)?).await? {
                Some(object) => object.modified,
                None => return Err(lost(routine, "was removed while it was looked at")),
            },
        };
        let idle_ms = now.since(renewed);
        let expires_ms = i64::try_from(self.0.times.expires.as_millis()).unwrap_or(i64::MAX);
        Ok(if idle_ms > expires_ms { Life::Gone { renewed } } else { Life::Lives { renewed } })
    }

    fn unreadable(&self, storage: &dyn Storage, routine: &str, reason: &str) -> Error {
        Error::permanent(
            "owner-unreadable",
            format!("{routine}/{OWNER} in {} does not say whose the folder is: {reason}", storage.describe()),
        )
        .hint(format!("Look at the file; {} writes it anew.", self.command(routine)))
    }

    fn owned(
        &self,
        storage: &dyn Storage,
        routine: &str,
        other: &OwnerRecord,
        renewed: Option<UnixMillis>,
    ) -> Error {
        let shown = renewed.map(|at| format!(", last seen {at}")).unwrap_or_default();
        Error::permanent(
            "routine-owned",
            format!(
                "the folder of routine {routine} in {} belongs to {other}{shown}; this is instance {}",
                storage.describe(),
                self.0.id
            ),
        )
        .hint(format!(
            "Only its owner writes and prunes there. Use another storage or routine name here, or take the folder \
             over: {}.",
            self.command(routine)
        ))
    }
}

fn lost(routine: &str, what: &str) -> Error {
    Error::temporary("owner-lost", format!("{routine}/{OWNER} {what}"))
}

#[cfg(test)]
mod tests;
