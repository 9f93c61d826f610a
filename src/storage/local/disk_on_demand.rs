//! As `disk.rs`, but each call is counted, may fail on demand, and is undone by a power cut until it is synced
//! (feature `fault-injection`).

use std::fs::File;
use std::io;
use std::path::Path;

use crate::fault::{Call, call_io, journal};

/// Gives room rather than needing any.
const FREES: [&str; 2] = ["disk-unlink", "disk-rmdir"];

fn counted<T>(name: &'static str, path: &Path, work: impl FnOnce() -> io::Result<T>) -> io::Result<T> {
    call_io(Call::disk(name, !FREES.contains(&name)), &path.display().to_string(), work)
}

pub(super) fn make_dir(dir: &Path) -> io::Result<()> {
    counted("disk-mkdir", dir, || journal::make_dir(dir))
}

pub(super) fn create_new(path: &Path) -> io::Result<File> {
    counted("disk-create", path, || journal::create_new(path))
}

pub(super) fn write_all(file: &File, path: &Path, bytes: &[u8]) -> io::Result<()> {
    counted("disk-write", path, || journal::write_all(file, path, bytes))
}

pub(super) fn sync_file(file: &File, path: &Path) -> io::Result<()> {
    counted("disk-sync", path, || journal::sync_file(file, path))
}

pub(super) fn sync_dir(dir: &Path) -> io::Result<()> {
    counted("disk-sync-dir", dir, || journal::sync_dir(dir))
}

pub(super) fn rename(from: &Path, to: &Path) -> io::Result<()> {
    counted("disk-rename", to, || journal::rename(from, to))
}

pub(super) fn remove_file(path: &Path) -> io::Result<()> {
    counted("disk-unlink", path, || journal::remove_file(path))
}

pub(super) fn remove_dir(dir: &Path) -> io::Result<()> {
    counted("disk-rmdir", dir, || journal::remove_dir(dir))
}
