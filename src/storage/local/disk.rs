//! The system calls of the local driver that change a disk. The crash tests put `disk_on_demand.rs` in its place.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::Path;

pub(super) use std::fs::{remove_dir, remove_file, rename};

/// Makes one folder, 0700.
pub(super) fn make_dir(dir: &Path) -> io::Result<()> {
    DirBuilder::new().mode(0o700).create(dir)
}

/// Makes a file that must not exist, 0600.
pub(super) fn create_new(path: &Path) -> io::Result<File> {
    OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)
}

/// Appends to a file; `path` is its name for those who count.
pub(super) fn write_all(mut file: &File, _path: &Path, bytes: &[u8]) -> io::Result<()> {
    file.write_all(bytes)
}

/// Makes the bytes of a file durable.
pub(super) fn sync_file(file: &File, _path: &Path) -> io::Result<()> {
    file.sync_all()
}

/// Makes the names in a folder durable.
pub(super) fn sync_dir(dir: &Path) -> io::Result<()> {
    File::open(dir)?.sync_all()
}
