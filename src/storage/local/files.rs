//! Single files of the local driver: temporary names, syncing, containment, and what an I/O error means.

use std::fs::{File, Metadata};
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

use super::disk;
use crate::error::{Error, Result};
use crate::model::UnixMillis;
use crate::storage::ObjectInfo;
use crate::storage::key::PARTIAL_MARK;

/// How often a file is started again because somebody removed its empty folder meanwhile.
const CREATE_TRIES: usize = 8;

/// The error of an operation on a path.
pub(super) fn io_error(doing: &str, path: &Path, error: io::Error) -> Error {
    let message = format!("{doing} {}", path.display());
    let made = match error.kind() {
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded => Error::temporary("storage-full", message)
            .hint("Free space on the storage, lower the retention, or use a larger one."),
        ErrorKind::PermissionDenied | ErrorKind::ReadOnlyFilesystem => {
            Error::permanent("storage-denied", message)
                .hint("Give the user that Holdfast runs as the right to read and write this folder.")
        }
        ErrorKind::NotFound => Error::permanent("storage-not-found", message),
        ErrorKind::NotADirectory | ErrorKind::IsADirectory | ErrorKind::InvalidFilename => {
            Error::permanent("storage-key-invalid", message)
        }
        _ => Error::temporary("storage-io", message),
    };
    made.source(error)
}

/// Whether `error` proves that `path` does not exist: it says so, and the root is there to say it.
pub(super) fn absent(root: &Path, path: &Path, error: io::Error) -> Result<()> {
    if !matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) {
        return Err(io_error("look at", path, error));
    }
    check_root(root)
}

fn check_root(root: &Path) -> Result<()> {
    if root.is_dir() {
        return Ok(());
    }
    Err(Error::temporary("storage-unavailable", format!("storage folder {} is not there", root.display()))
        .hint("Check that its disk is mounted."))
}

/// The path without symbolic links, `None` if it certainly does not exist; outside of the root is an error.
pub(super) fn resolve(root: &Path, path: &Path) -> Result<Option<PathBuf>> {
    match path.canonicalize() {
        Ok(real) if real.starts_with(root) => Ok(Some(real)),
        Ok(_) => Err(leads_out(path)),
        Err(error) => absent(root, path, error).map(|()| None),
    }
}

fn leads_out(path: &Path) -> Error {
    Error::permanent(
        "storage-denied",
        format!("{} leads out of its storage by a symbolic link", path.display()),
    )
    .hint("Keep backups below the storage's own path, or configure the target as a storage.")
}

/// An object opened for reading with its size; a folder is no object.
pub(super) fn open_object(root: &Path, path: &Path) -> Result<Option<(File, u64)>> {
    let Some(path) = resolve(root, path)? else { return Ok(None) };
    // A FIFO would block for ever: look before opening.
    match path.metadata() {
        Ok(data) if data.is_file() => {}
        Ok(_) => return Ok(None),
        Err(error) => return absent(root, &path, error).map(|()| None),
    }
    match File::open(&path) {
        Ok(file) => {
            let size = file.metadata().map_err(|error| io_error("look at", &path, error))?.len();
            Ok(Some((file, size)))
        }
        Err(error) => absent(root, &path, error).map(|()| None),
    }
}

/// What a listing shows of a file.
pub(super) fn info(key: String, data: &Metadata) -> ObjectInfo {
    let modified = data.modified().ok().and_then(|at| at.duration_since(UNIX_EPOCH).ok());
    let modified = UnixMillis(modified.map_or(0, |since| since.as_millis() as i64));
    ObjectInfo { key, size_bytes: data.len(), modified }
}

/// Makes a folder and its parents, 0700 each, durable.
pub(super) fn make_dirs(path: &Path) -> Result<()> {
    make_dirs_io(path).map_err(|error| io_error("make folder", path, error))
}

fn make_dirs_io(path: &Path) -> io::Result<()> {
    if path.is_dir() {
        return Ok(());
    }
    if let Some(parent) = path.parent() {
        make_dirs_io(parent)?;
    }
    match disk::make_dir(path) {
        Ok(()) => path.parent().map_or(Ok(()), sync_dir),
        Err(error) if error.kind() == ErrorKind::AlreadyExists && path.is_dir() => Ok(()),
        Err(error) => Err(error),
    }
}

/// Makes the names in a folder durable.
pub(super) fn sync_dir(path: &Path) -> io::Result<()> {
    // A relative path of one segment has the empty parent.
    let path = if path.as_os_str().is_empty() { Path::new(".") } else { path };
    disk::sync_dir(path)
}

/// Removes the empty folders from `folder` upwards, below the root: object stores have no empty folders.
pub(super) fn prune(root: &Path, folder: &Path) {
    let mut folder = folder;
    while folder != root && folder.starts_with(root) && disk::remove_dir(folder).is_ok() {
        let Some(parent) = folder.parent() else { return };
        folder = parent;
    }
}

/// A file under its temporary name, removed on drop unless it was finished.
#[derive(Debug)]
pub(super) struct TempFile {
    temp: PathBuf,
    target: PathBuf,
    root: PathBuf,
    finished: bool,
}

impl TempFile {
    /// Starts a file that will be `target`, making its folders.
    pub(super) fn create(root: &Path, target: &Path) -> Result<(File, Self)> {
        check_root(root)?;
        let folder = target.parent().unwrap_or(root);
        check_contained(root, folder)?;
        let mut tries = 1;
        loop {
            let temp = temp_path(folder, target);
            match make_dirs_io(folder).and_then(|()| disk::create_new(&temp)) {
                Ok(file) => {
                    let guard =
                        Self { temp, target: target.to_owned(), root: root.to_owned(), finished: false };
                    return Ok((file, guard));
                }
                Err(error) if error.kind() == ErrorKind::NotFound && tries < CREATE_TRIES => tries += 1,
                Err(error) => return Err(io_error("create", &temp, error)),
            }
        }
    }

    pub(super) fn write_all(&self, file: &File, bytes: &[u8]) -> Result<()> {
        disk::write_all(file, &self.temp, bytes).map_err(|error| io_error("write", &self.target, error))
    }

    /// Makes the file durable, gives it its name, and makes the name durable.
    pub(super) fn finish(mut self, file: &File) -> Result<()> {
        let folder = self.target.parent().unwrap_or(&self.root);
        disk::sync_file(file, &self.temp).map_err(|error| io_error("sync", &self.target, error))?;
        disk::rename(&self.temp, &self.target).map_err(|error| io_error("rename to", &self.target, error))?;
        sync_dir(folder).map_err(|error| io_error("sync folder of", &self.target, error))?;
        self.finished = true;
        Ok(())
    }

    /// Removes the file and the folders made for it, as far as they are empty.
    pub(super) fn remove(mut self) -> Result<()> {
        self.finished = true;
        let removed = disk::remove_file(&self.temp);
        self.prune();
        match removed {
            Err(error) if error.kind() != ErrorKind::NotFound => Err(io_error("remove", &self.temp, error)),
            _ => Ok(()),
        }
    }

    fn prune(&self) {
        if let Some(folder) = self.target.parent() {
            prune(&self.root, folder);
        }
    }
}

impl Drop for TempFile {
    /// Two short system calls, on whatever thread drops it: nothing may be left visible, also when a job is aborted.
    fn drop(&mut self) {
        if !self.finished && disk::remove_file(&self.temp).is_ok() {
            self.prune();
        }
    }
}

/// Refuses a folder whose existing part leads out of the root.
fn check_contained(root: &Path, folder: &Path) -> Result<()> {
    loop {
        let existing = folder.ancestors().find(|path| path.symlink_metadata().is_ok()).unwrap_or(root);
        return match existing.canonicalize() {
            Ok(real) if real.starts_with(root) => Ok(()),
            Ok(_) => Err(leads_out(folder)),
            Err(error) if error.kind() == ErrorKind::NotFound => match existing.symlink_metadata() {
                // A link to nothing: following it would make folders elsewhere.
                Ok(_) => Err(leads_out(folder)),
                // Pruned by somebody since we looked: look again, one folder further up.
                Err(_) if existing != root => continue,
                Err(error) => Err(io_error("look at", root, error)),
            },
            Err(error) => Err(io_error("look at", existing, error)),
        };
    }
}

/// `.<name>.partial-<random>`, the name cut so that the whole stays below 255 bytes.
fn temp_path(folder: &Path, target: &Path) -> PathBuf {
    let name = target.file_name().map(|name| name.to_string_lossy()).unwrap_or_default();
    let cut = (0..=name.len().min(200)).rev().find(|&at| name.is_char_boundary(at)).unwrap_or(0);
    let name = name.get(..cut).unwrap_or_default();
    folder.join(format!(".{name}{PARTIAL_MARK}{:016x}", rand::random::<u64>()))
}
