//! What a power cut would lose: the changes of local storage that were not synced, undone before the process ends.
//!
//! # What it models
//!
//! - The bytes of a file are lost unless the file was synced after they were written (all of them: the file is then
//!   empty).
//! - A name that was made, changed or removed is as it was before, unless its folder was synced afterwards. With a
//!   folder whose own name is lost, everything in it is.
//!
//! That is the least that POSIX promises, and the worst case of what may be lost: nothing unsynced survives. A process
//! that is killed while the system lives on is the other end (everything survives). What lies between them (some of
//! the unsynced changes survive) is not modelled, and neither are torn sectors, reordered writes, or a disk that lies.
//! The pages of SQLite are not in it: in WAL mode with `synchronous=FULL` each commit syncs before it returns.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// A change that a power cut would undo.
#[derive(Debug)]
enum Change {
    Made { file: PathBuf },
    MadeDir { dir: PathBuf },
    Written { file: PathBuf },
    Renamed { from: PathBuf, to: PathBuf, replaced: Option<Vec<u8>> },
    Removed { file: PathBuf, bytes: Vec<u8> },
    RemovedDir { dir: PathBuf },
}

impl Change {
    /// The folder whose sync makes it durable; none for bytes.
    fn folder(&self) -> Option<&Path> {
        match self {
            Self::Made { file: path }
            | Self::MadeDir { dir: path }
            | Self::Renamed { to: path, .. }
            | Self::Removed { file: path, .. }
            | Self::RemovedDir { dir: path } => path.parent(),
            Self::Written { .. } => None,
        }
    }
}

/// Numbered, in the order in which they were made.
#[derive(Debug, Default)]
struct Journal {
    next: u64,
    changes: Vec<(u64, Change)>,
}

static JOURNAL: Mutex<Journal> = Mutex::new(Journal { next: 0, changes: Vec::new() });

fn journal() -> MutexGuard<'static, Journal> {
    JOURNAL.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Journal {
    fn note(&mut self, change: Change) {
        self.next += 1;
        self.changes.push((self.next, change));
    }

    fn forget(&mut self, is_durable: impl Fn(u64, &Change) -> bool) {
        self.changes.retain(|(number, change)| !is_durable(*number, change));
    }
}

// Each change and its note are one step under the lock, so that a cut falls before or after both.

pub(crate) fn make_dir(dir: &Path) -> io::Result<()> {
    let mut journal = journal();
    DirBuilder::new().mode(0o700).create(dir)?;
    journal.note(Change::MadeDir { dir: dir.to_owned() });
    Ok(())
}

pub(crate) fn create_new(path: &Path) -> io::Result<File> {
    let mut journal = journal();
    let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    journal.note(Change::Made { file: path.to_owned() });
    Ok(file)
}

pub(crate) fn write_all(mut file: &File, path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut journal = journal();
    journal.note(Change::Written { file: path.to_owned() });
    file.write_all(bytes)
}

pub(crate) fn sync_file(file: &File, path: &Path) -> io::Result<()> {
    let before = journal().next;
    file.sync_all()?;
    journal().forget(|number, change| {
        number <= before && matches!(change, Change::Written { file } if file == path)
    });
    Ok(())
}

pub(crate) fn sync_dir(dir: &Path) -> io::Result<()> {
    let before = journal().next;
    File::open(dir)?.sync_all()?;
    journal().forget(|number, change| number <= before && change.folder() == Some(dir));
    Ok(())
}

pub(crate) fn rename(from: &Path, to: &Path) -> io::Result<()> {
    let mut journal = journal();
    let replaced = std::fs::read(to).ok();
    std::fs::rename(from, to)?;
    for (_, change) in &mut journal.changes {
        if let Change::Written { file } = change
            && file == from
        {
            to.clone_into(file);
        }
    }
    journal.note(Change::Renamed { from: from.to_owned(), to: to.to_owned(), replaced });
    Ok(())
}

pub(crate) fn remove_file(path: &Path) -> io::Result<()> {
    let mut journal = journal();
    let bytes = std::fs::read(path)?;
    std::fs::remove_file(path)?;
    journal.note(Change::Removed { file: path.to_owned(), bytes });
    Ok(())
}

pub(crate) fn remove_dir(dir: &Path) -> io::Result<()> {
    let mut journal = journal();
    std::fs::remove_dir(dir)?;
    journal.note(Change::RemovedDir { dir: dir.to_owned() });
    Ok(())
}

/// Keeps other threads from changing the disk until it is dropped.
#[must_use]
pub struct Dark(#[allow(dead_code)] MutexGuard<'static, Journal>);

/// The power cut: bytes first, then names, the latest first.
pub fn lose_what_is_not_synced() -> Dark {
    let mut journal = journal();
    for (_, change) in &journal.changes {
        if let Change::Written { file } = change {
            // A file that is gone meanwhile has nothing to lose.
            let _ = OpenOptions::new().write(true).truncate(true).open(file);
        }
    }
    while let Some((_, change)) = journal.changes.pop() {
        // What fails was in a folder that is gone.
        let _ = undo(change);
    }
    Dark(journal)
}

fn undo(change: Change) -> io::Result<()> {
    match change {
        Change::Written { .. } => Ok(()),
        Change::Made { file } => std::fs::remove_file(file),
        Change::MadeDir { dir } => std::fs::remove_dir_all(dir),
        Change::Renamed { from, to, replaced } => {
            std::fs::rename(&to, from)?;
            replaced.map_or(Ok(()), |bytes| std::fs::write(to, bytes))
        }
        Change::Removed { file, bytes } => std::fs::write(file, bytes),
        Change::RemovedDir { dir } => std::fs::create_dir(dir),
    }
}
