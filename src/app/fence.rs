//! Where an inline `local-storage` truly lies: a symbolic link must not lead out of the folders that requests may read.
//!
//! Names were compared when the request was read (`config::safety`). Links are followed here, before the storage is opened:
//! when the restore is asked for, and again when its job starts, which may be later.

use std::path::{Path, PathBuf};

use crate::config::{RestoreConfig, StoragePlace};
use crate::error::{Error, Result};
use crate::tasks;

/// Refuses a restore from an inline `local-storage` that a symbolic link leads out of its fence. One that is not there is
/// left to whoever opens it.
///
/// Errors: `storage-outside-roots`.
pub async fn check_fence(config: &RestoreConfig) -> Result<()> {
    let StoragePlace::Local { path, .. } = &config.source.place else { return Ok(()) };
    if config.fence.is_empty() {
        return Ok(());
    }
    let (path, fence) = (path.clone(), config.fence.clone());
    tasks::blocking(move || check(&path, &fence)).await
}

fn check(path: &Path, fence: &[PathBuf]) -> Result<()> {
    let Ok(real) = path.canonicalize() else { return Ok(()) };
    // A root may itself be named by a link; one that is not there holds nothing.
    let mut roots = fence.iter().filter_map(|root| root.canonicalize().ok());
    if roots.any(|root| real.starts_with(root)) {
        return Ok(());
    }
    // Where the link leads is not told: it is none of the caller's business.
    let text = format!("{} leads out of the folders that requests may read", path.display());
    Err(Error::permanent("storage-outside-roots", text)
        .hint("Name the folder itself, below one of service.local-storage-roots."))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::check;

    #[test]
    fn links_are_followed_before_roots_are_compared() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        for folder in ["disk/backups/daily", "secret"] {
            std::fs::create_dir_all(at(folder)).unwrap();
        }
        symlink(at("disk/backups"), at("root")).unwrap();
        symlink(at("secret"), at("disk/backups/out")).unwrap();
        symlink("../../secret", at("disk/backups/up")).unwrap();
        symlink("daily", at("disk/backups/in")).unwrap();
        let fence = [at("root"), at("not-mounted")];
        for good in ["root", "root/daily", "root/in", "disk/backups/daily", "root/not-there"] {
            check(&at(good), &fence).unwrap();
        }
        for bad in ["root/out", "root/up", "secret", "root/in/../up", "disk"] {
            let error = check(&at(bad), &fence).unwrap_err();
            assert_eq!(error.code(), "storage-outside-roots", "{bad}");
        }
    }
}
