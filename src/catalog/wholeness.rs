//! Whether a committed backup still has all its files, with their sizes (rules.md 4.2, 5.1, 6.1).

use std::collections::BTreeMap;

use super::entry::BackupEntry;
use super::layout::{BLOCKS, DATA_SUFFIX};
use super::manifest::{Found, Manifest, read_manifest};
use crate::error::Result;
use crate::storage::{Storage, join};

/// What a look at a backup's files gave.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Wholeness {
    /// Every file is there with its size.
    Whole {
        /// Its manifest; none for a backup that has none, of which only the number of files is known.
        manifest: Option<Box<Manifest>>,
    },
    /// Something is missing or damaged.
    Broken {
        /// What.
        reason: String,
    },
}

/// Looks at the files of a listed backup. An error is doubt: the backup may be whole.
///
/// A manifest that the entry has and storage has no more is damage, not an old format (rules.md 4.2).
pub async fn wholeness(storage: &dyn Storage, entry: &BackupEntry) -> Result<Wholeness> {
    let manifest = match read_manifest(storage, &entry.key).await? {
        Found::Broken(reason) => return Ok(Wholeness::Broken { reason }),
        Found::Absent if entry.manifest.is_some() => {
            return Ok(Wholeness::Broken { reason: "manifest.json is gone".to_owned() });
        }
        Found::Absent => None,
        Found::Good(manifest) => Some(Box::new(manifest)),
    };
    let problem = wrong_folder(storage, &entry.key, manifest.as_deref(), entry.counts.files).await?;
    Ok(problem.map_or(Wholeness::Whole { manifest }, |reason| Wholeness::Broken { reason }))
}

/// What is wrong with the files of a committed backup's folder; none if all are there (rules.md 4.2).
///
/// `file_count` is that of `metadata.yaml`: without a manifest it is all that tells.
pub async fn wrong_folder(
    storage: &dyn Storage,
    folder: &str,
    manifest: Option<&Manifest>,
    file_count: u64,
) -> Result<Option<String>> {
    match manifest {
        Some(manifest) => wrong_files(storage, folder, manifest).await,
        None => wrong_file_count(storage, folder, file_count).await,
    }
}

/// What is wrong with the files that a manifest names; none if each is there with its size.
pub(super) async fn wrong_files(
    storage: &dyn Storage,
    folder: &str,
    manifest: &Manifest,
) -> Result<Option<String>> {
    let listed: BTreeMap<String, u64> =
        storage.list(folder).await?.into_iter().map(|object| (object.key, object.size_bytes)).collect();
    let blocks_size = manifest.block_count() * 32;
    let named = manifest.files.iter().chain(&manifest.sidecar);
    let expected = named.map(|file| (file.name.as_str(), file.size_bytes)).chain([(BLOCKS, blocks_size)]);
    let mut wrong = 0_usize;
    let mut first = None;
    for (name, expected) in expected {
        let key = join(folder, name);
        let size = match listed.get(&key) {
            Some(size) => Some(*size),
            // A listing is no proof of absence (rules.md 6.1).
            None => storage.head(&key).await?.map(|object| object.size_bytes),
        };
        let problem = match size {
            Some(size) if size == expected => continue,
            Some(size) => format!("{name} has {size} bytes instead of {expected}"),
            None => format!("{name} is missing"),
        };
        wrong += 1;
        first.get_or_insert(problem);
    }
    Ok(first.map(|first| match wrong {
        1 => first,
        more => format!("{first}, and {} more files are wrong", more - 1),
    }))
}

/// What is wrong with the number of data files of a backup without a manifest.
async fn wrong_file_count(storage: &dyn Storage, folder: &str, expected: u64) -> Result<Option<String>> {
    let objects = storage.list(folder).await?;
    let blocks = join(folder, BLOCKS);
    if objects.iter().any(|object| object.key == blocks) {
        return Ok(Some(format!("manifest.json is gone, {BLOCKS} is still there")));
    }
    let found = objects.iter().filter(|object| object.key.ends_with(DATA_SUFFIX)).count() as u64;
    Ok((found != expected).then(|| wrong_count(found, expected)))
}

/// Says that the number of data files is wrong.
pub(super) fn wrong_count(found: u64, expected: u64) -> String {
    format!("there are {found} {DATA_SUFFIX} files, metadata.yaml counted {expected}")
}

#[cfg(test)]
mod tests {
    use super::{Wholeness, wholeness};
    use crate::catalog::testkit::{Backup, storage};
    use crate::storage::Storage;
    use crate::storage::faulty::{Fault, Op};

    #[tokio::test]
    async fn every_file_is_looked_at() {
        let (_dir, storage) = storage().await;
        let backup = Backup::full(1_700_000_000_000, "ns").files(3);
        let entry = backup.write(&storage).await;
        let Wholeness::Whole { manifest: Some(manifest) } = wholeness(&storage, &entry).await.unwrap() else {
            panic!("not whole")
        };
        assert_eq!(*manifest, backup.manifest());

        let file = format!("{}/1_ns_2.asb", entry.key);
        storage.put(&file, "short".into()).await.unwrap();
        let broken = |reason: &str| Wholeness::Broken { reason: reason.to_owned() };
        let size = backup.manifest().files[1].size_bytes;
        let found = wholeness(&storage, &entry).await.unwrap();
        assert_eq!(found, broken(&format!("1_ns_2.asb has 5 bytes instead of {size}")));
        storage.delete(&format!("{}/blocks.b3", entry.key)).await.unwrap();
        let Wholeness::Broken { reason } = wholeness(&storage, &entry).await.unwrap() else {
            panic!("whole")
        };
        assert!(reason.ends_with("and 1 more files are wrong"), "{reason}");
        storage.delete(&format!("{}/manifest.json", entry.key)).await.unwrap();
        assert_eq!(wholeness(&storage, &entry).await.unwrap(), broken("manifest.json is gone"));
    }

    #[tokio::test]
    async fn without_a_manifest_the_number_of_files_decides() {
        let (_dir, storage) = storage().await;
        let entry = Backup::full(1_700_000_000_000, "ns").files(2).foreign().write(&storage).await;
        assert_eq!(wholeness(&storage, &entry).await.unwrap(), Wholeness::Whole { manifest: None });
        storage.delete(&format!("{}/1_ns_2.asb", entry.key)).await.unwrap();
        assert!(matches!(wholeness(&storage, &entry).await.unwrap(), Wholeness::Broken { .. }));
    }

    /// rules.md 4.2: where our own hashes lie, there was a manifest, whether the catalog knew it or not.
    #[tokio::test]
    async fn hashes_without_a_manifest_are_damage() {
        let (_dir, storage) = storage().await;
        let mut entry = Backup::full(1_700_000_000_000, "ns").files(2).write(&storage).await;
        storage.delete(&format!("{}/manifest.json", entry.key)).await.unwrap();
        entry.manifest = None;
        let Wholeness::Broken { reason } = wholeness(&storage, &entry).await.unwrap() else {
            panic!("whole")
        };
        assert!(reason.contains("manifest.json is gone"), "{reason}");
    }

    /// rules.md 6.1: only a certain answer breaks a backup.
    #[tokio::test]
    async fn doubt_is_an_error() {
        let (_dir, storage) = storage().await;
        let entry = Backup::full(1_700_000_000_000, "ns").files(1).write(&storage).await;
        for op in [Op::Get, Op::List] {
            storage.fail(Fault::nth(op, 1));
            assert!(wholeness(&storage, &entry).await.unwrap_err().is_temporary());
        }
        storage.delete(&format!("{}/0_ns_1.asb", entry.key)).await.unwrap();
        storage.fail(Fault::nth(Op::Head, 1));
        assert!(wholeness(&storage, &entry).await.is_err());
        assert!(matches!(wholeness(&storage, &entry).await.unwrap(), Wholeness::Broken { .. }));
    }
}
