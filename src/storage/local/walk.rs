//! Folders of the local driver: listings and deletions, which follow no symbolic links.

use std::fs::{DirEntry, FileType, read_dir};
use std::io::ErrorKind;
use std::path::Path;

use super::disk;
use super::files::{absent, info, io_error, prune, resolve, sync_dir};
use crate::error::Result;
use crate::storage::ObjectInfo;
use crate::storage::key::{is_partial, join, segment_problem};

/// One folder's entries, whatever they are called; none if the folder does not exist.
fn entries(root: &Path, folder: &Path) -> Result<Vec<(DirEntry, FileType)>> {
    let Some(folder) = resolve(root, folder)? else { return Ok(Vec::new()) };
    let entries = match read_dir(&folder) {
        Ok(entries) => entries,
        Err(error) => return absent(root, &folder, error).map(|()| Vec::new()),
    };
    let mut found = Vec::new();
    for entry in entries {
        let entry = entry.map_err(|error| io_error("list", &folder, error))?;
        match entry.file_type() {
            Ok(kind) => found.push((entry, kind)),
            Err(error) => absent(root, &entry.path(), error)?,
        }
    }
    Ok(found)
}

/// The entry's name, if it can be part of a key: no temporary file, nothing that is not UTF-8.
fn visible_name(entry: &DirEntry) -> Option<String> {
    entry.file_name().into_string().ok().filter(|name| segment_problem(name).is_none())
}

/// Every file below a folder, in byte order of the keys.
pub(super) fn list(root: &Path, folder: &Path, key: &str) -> Result<Vec<ObjectInfo>> {
    let mut found = Vec::new();
    let mut open = vec![(folder.to_owned(), key.to_owned())];
    while let Some((folder, key)) = open.pop() {
        for (entry, kind) in entries(root, &folder)? {
            let Some(name) = visible_name(&entry) else { continue };
            let key = join(&key, &name);
            if kind.is_dir() {
                open.push((entry.path(), key));
            } else if kind.is_file() {
                match entry.metadata() {
                    Ok(data) => found.push(info(key, &data)),
                    Err(error) => absent(root, &entry.path(), error)?,
                }
            }
        }
    }
    found.sort_unstable_by(|a, b| a.key.cmp(&b.key));
    Ok(found)
}

/// The names of the folders directly below a folder, in byte order.
pub(super) fn list_dirs(root: &Path, folder: &Path) -> Result<Vec<String>> {
    let mut names: Vec<String> = entries(root, folder)?
        .iter()
        .filter(|(_, kind)| kind.is_dir())
        .filter_map(|(entry, _)| visible_name(entry))
        .collect();
    names.sort_unstable();
    Ok(names)
}

/// Deletes one file, durably; a folder is no object and stays.
pub(super) fn delete(root: &Path, path: &Path) -> Result<()> {
    let Some(folder) = path.parent() else { return Ok(()) };
    if resolve(root, folder)?.is_none() || path.symlink_metadata().is_ok_and(|data| data.is_dir()) {
        return Ok(());
    }
    match disk::remove_file(path) {
        Ok(()) => {}
        Err(error) => return absent(root, path, error),
    }
    // Durable before the next step: metadata.yaml must not come back after its data went (rules.md 5.3).
    match sync_dir(folder) {
        Err(error) if error.kind() != ErrorKind::NotFound => return Err(io_error("sync", folder, error)),
        _ => {}
    }
    prune(root, folder);
    Ok(())
}

/// Deletes a folder with all it holds, temporary files too, durably; how many objects went.
pub(super) fn delete_tree(root: &Path, folder: &Path) -> Result<u64> {
    let Some(parent) = folder.parent() else { return Ok(0) };
    let mut deleted = 0;
    if resolve(root, parent)?.is_some() {
        match folder.symlink_metadata() {
            Ok(data) if data.is_dir() => deleted = empty(root, folder)?,
            Ok(_) => return Ok(0),
            Err(error) => absent(root, folder, error)?,
        }
    }
    sync_absence(root, folder)?;
    Ok(deleted)
}

/// Deletes the temporary files of a folder and of those in it, durably.
pub(super) fn delete_unfinished(root: &Path, folder: &Path) -> Result<()> {
    let mut open = vec![folder.to_owned()];
    while let Some(folder) = open.pop() {
        let mut deleted = false;
        for (entry, kind) in entries(root, &folder)? {
            let path = entry.path();
            if kind.is_dir() {
                open.push(path);
            } else if entry.file_name().to_str().is_some_and(is_partial) {
                match disk::remove_file(&path) {
                    Ok(()) => deleted = true,
                    Err(error) => absent(root, &path, error)?,
                }
            }
        }
        if deleted {
            sync_dir(&folder).map_err(|error| io_error("sync", &folder, error))?;
        }
    }
    Ok(())
}

/// Makes it durable that a folder is gone, whoever removed it: syncs the nearest folder above it that is there and not
/// empty.
///
/// Nobody asks again for an attempt whose end is in the store: its files must not come back after a power cut.
fn sync_absence(root: &Path, folder: &Path) -> Result<()> {
    let mut at = folder;
    // Also where the folder was never made, as the disk was full after its parents.
    while at != root
        && let Some(parent) = at.parent()
    {
        match disk::remove_dir(at) {
            Err(error) if stays(&error) => break,
            Err(error) if !is_nothing(&error) => return Err(io_error("remove", at, error)),
            _ => at = parent,
        }
    }
    loop {
        match (sync_dir(at), at.parent()) {
            // Somebody else removed it meanwhile.
            (Err(error), Some(parent)) if at != root && is_nothing(&error) => at = parent,
            (synced, _) => return synced.map_err(|error| io_error("sync", at, error)),
        }
    }
}

/// Whether a folder is there for others: it holds something, it is not ours to remove, or a disk is mounted on it.
fn stays(error: &std::io::Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::DirectoryNotEmpty | ErrorKind::PermissionDenied | ErrorKind::ResourceBusy
    )
}

/// Whether a path leads nowhere, or on from a file.
fn is_nothing(error: &std::io::Error) -> bool {
    matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory)
}

/// Deletes what a folder holds and the folders in it; how many objects went.
fn empty(root: &Path, folder: &Path) -> Result<u64> {
    let mut deleted = 0;
    for (entry, kind) in entries(root, folder)? {
        let path = entry.path();
        let removed = if kind.is_dir() {
            // As deep as the path is long: keys have at most 512 segments.
            deleted += empty(root, &path)?;
            disk::remove_dir(&path)
        } else {
            let object = kind.is_file() && visible_name(&entry).is_some();
            disk::remove_file(&path).inspect(|()| deleted += u64::from(object))
        };
        match removed {
            // Somebody started another file in it meanwhile: it stays.
            Err(error) if error.kind() == ErrorKind::DirectoryNotEmpty => {}
            Err(error) => absent(root, &path, error)?,
            Ok(()) => {}
        }
    }
    Ok(deleted)
}
