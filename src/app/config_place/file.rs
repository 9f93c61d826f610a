//! The configuration's file: read, and replaced whole or not at all.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use crate::config::{Config, Problems};
use crate::error::{Error, Result};

/// The text of the file; blocks. The inner error: it is no text, or too long.
///
/// Errors: `config-unreadable`.
pub(super) fn read(path: &Path) -> Result<Result<String, Problems>> {
    let unreadable = |error| Error::permanent("config-unreadable", "read the configuration").source(error);
    File::open(path).map_err(unreadable)?;
    Ok(Config::read_text(path))
}

/// What changes when a file is written or replaced; none while it cannot be asked. Blocks.
pub fn stamp(path: &Path) -> Option<(i64, i64, u64, u64)> {
    let data = fs::metadata(path).ok()?;
    Some((data.mtime(), data.mtime_nsec(), data.ino(), data.len()))
}

/// The name that the old file is kept under when the new one loses its comments.
pub(super) fn backup_path(path: &Path) -> PathBuf {
    with_suffix(path, ".bak")
}

/// Replaces the file: a new one beside it, mode 0600, made durable, then renamed over it. On an error the old one is as it
/// was. `keep_old`: its text goes to [`backup_path`] first. A symbolic link is followed, not replaced. Blocks.
///
/// Errors: `config-not-persisted`.
pub(super) fn replace(path: &Path, text: &str, keep_old: Option<&str>) -> Result<()> {
    let written = || -> io::Result<()> {
        let path = fs::canonicalize(path)?;
        if let Some(old) = keep_old {
            replace_whole(&backup_path(&path), old)?;
        }
        replace_whole(&path, text)
    };
    written().map_err(|error| {
        Error::permanent("config-not-persisted", format!("replace {}", path.display()))
            .source(error)
            .hint("The file and its folder must be writable by the service. Nothing has changed.")
    })
}

fn replace_whole(path: &Path, text: &str) -> io::Result<()> {
    let temp = with_suffix(path, ".holdfast-new");
    let result = write_new(&temp, text).and_then(|()| fs::rename(&temp, path));
    if result.is_err() {
        // It may not have been made at all.
        let _ = fs::remove_file(&temp);
        return result;
    }
    // The rename itself: without it a power cut could bring the old file back.
    match path.parent() {
        Some(folder) => File::open(folder)?.sync_all(),
        None => Ok(()),
    }
}

fn write_new(temp: &Path, text: &str) -> io::Result<()> {
    match fs::remove_file(temp) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {} // one that a crash left
    }
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(temp)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()
}

fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(suffix);
    path.with_file_name(name)
}

#[cfg(test)]
mod tests {
    use super::{backup_path, replace};
    use std::fs;
    use std::os::unix::fs::{PermissionsExt, symlink};

    #[test]
    fn replaces_behind_a_link_with_mode_0600_and_leaves_nothing_beside() {
        let dir = tempfile::tempdir().unwrap();
        let (file, link) = (dir.path().join("real.yaml"), dir.path().join("link.yaml"));
        fs::write(&file, "old").unwrap();
        fs::write(dir.path().join("real.yaml.holdfast-new"), "left by a crash").unwrap();
        symlink(&file, &link).unwrap();
        replace(&link, "new", None).unwrap();
        assert_eq!(fs::read_to_string(&file).unwrap(), "new");
        assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
        assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
        replace(&file, "newer", Some("new")).unwrap();
        assert_eq!(fs::read_to_string(backup_path(&file)).unwrap(), "new");
        assert_eq!(fs::metadata(backup_path(&file)).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 3);
    }

    #[test]
    fn a_file_that_cannot_be_replaced_stays_as_it_was() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("real.yaml");
        fs::write(&file, "old").unwrap();
        // A folder stands where the new file would be made: also root cannot.
        fs::create_dir(dir.path().join("real.yaml.holdfast-new")).unwrap();
        let error = replace(&file, "new", None).unwrap_err();
        assert_eq!(error.code(), "config-not-persisted");
        assert_eq!(fs::read_to_string(&file).unwrap(), "old");
    }
}
