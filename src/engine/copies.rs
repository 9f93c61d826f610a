//! The other storages that have the backups of a restore byte for byte: what one does not give whole is read from the next.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use futures_util::future::BoxFuture;
use tokio::sync::OnceCell;

use super::FileToRead;
use crate::error::{Error, Result};
use crate::storage::{Storage, folder_of};

/// Files that a job's warnings name; the log has them all.
const TOLD_MAX: usize = 100;

/// Opens a storage.
pub type OpenStorage = Arc<dyn Fn() -> BoxFuture<'static, Result<Arc<dyn Storage>>> + Send + Sync>;

/// A storage with copies, opened when it is first asked.
pub struct Other {
    /// Its configured name.
    pub name: String,
    /// Opens it.
    pub open: OpenStorage,
    /// It, once it is open.
    pub opened: OnceCell<Arc<dyn Storage>>,
}

/// The storage that was chosen and every other one; each is known by its place, the chosen one is at 0.
pub struct Copies {
    chosen: String,
    others: Vec<Other>,
    tell: Box<dyn Fn(String) + Send + Sync>,
    told: AtomicUsize,
    /// The place that is asked first: not one that did not answer.
    first: AtomicUsize,
    /// Backups without hashes that are read from another place, by folder.
    moved: Mutex<BTreeMap<String, usize>>,
}

impl fmt::Debug for Copies {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<&str> = (0..=self.others.len()).map(|place| self.name(place)).collect();
        f.debug_tuple("Copies").field(&names).finish()
    }
}

impl Copies {
    /// With the name of the storage that was chosen; `tell` is told of each file that is read elsewhere.
    pub fn new(chosen: String, others: Vec<Other>, tell: Box<dyn Fn(String) + Send + Sync>) -> Self {
        Self {
            chosen,
            others,
            tell,
            told: AtomicUsize::new(0),
            first: AtomicUsize::new(0),
            moved: Mutex::default(),
        }
    }

    /// The name of the storage at a place.
    pub fn name(&self, place: usize) -> &str {
        let other = place.checked_sub(1).and_then(|place| self.others.get(place));
        other.map_or(self.chosen.as_str(), |other| other.name.as_str())
    }

    /// The names of the others.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.others.iter().map(|other| other.name.as_str())
    }

    /// Where a file is looked for first.
    pub fn first(&self, file: &FileToRead) -> usize {
        let moved = self.moved.lock().unwrap_or_else(PoisonError::into_inner);
        let first = || self.first.load(Ordering::Relaxed);
        moved.get(folder_of(&file.key)).copied().unwrap_or_else(first)
    }

    /// The storage at a place; `chosen` is the one at 0.
    ///
    /// Errors: those of storage.
    pub async fn storage(&self, place: usize, chosen: &Arc<dyn Storage>) -> Result<Arc<dyn Storage>> {
        match place.checked_sub(1).and_then(|place| self.others.get(place)) {
            None => Ok(Arc::clone(chosen)),
            Some(other) => other.opened.get_or_try_init(|| (other.open)()).await.cloned(),
        }
    }

    /// The next place that is not among `asked`.
    pub fn next(&self, asked: impl Fn(usize) -> bool) -> Option<usize> {
        (0..=self.others.len()).find(|place| !asked(*place))
    }

    /// A file is read from `place`, because of what another one said.
    pub fn use_instead(&self, place: usize, failed: usize, error: &Error) {
        if does_not_answer(error) {
            let _ = self.first.compare_exchange(failed, place, Ordering::Relaxed, Ordering::Relaxed);
        }
        let (from, to) = (self.name(failed), self.name(place));
        let text = format!("storage {from}: {}: read from storage {to}", error.report_without_hint());
        match self.told.fetch_add(1, Ordering::Relaxed) {
            told if told < TOLD_MAX => (self.tell)(text),
            told => {
                tracing::warn!("{text}");
                if told == TOLD_MAX {
                    (self.tell)(
                        "more files are read from another storage: the log has each of them".to_owned(),
                    );
                }
            }
        }
    }

    /// A whole backup is read from `place`, because of what another one said.
    pub fn move_to(&self, folder: &str, place: usize, failed: usize, error: &Error) {
        self.moved.lock().unwrap_or_else(PoisonError::into_inner).insert(folder.to_owned(), place);
        self.use_instead(place, failed, error);
    }

    /// Where a backup is read that [`Copies::move_to`] was asked for, else at the place that is asked first.
    pub fn place_of(&self, folder: &str) -> usize {
        let moved = self.moved.lock().unwrap_or_else(PoisonError::into_inner);
        moved.get(folder).copied().unwrap_or_else(|| self.first.load(Ordering::Relaxed))
    }
}

/// Whether an error is about the bytes of a file, or about a storage that does not give them: another one may.
pub fn another_may_have(error: &Error) -> bool {
    ["file-damaged", "backup-damaged"].contains(&error.code()) || error.code().starts_with("storage-")
}

/// Whether it is the storage that does not answer, and not one file of it.
fn does_not_answer(error: &Error) -> bool {
    error.code().starts_with("storage-") && (error.is_temporary() || error.code() == "storage-denied")
}
