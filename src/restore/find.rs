//! What is to be restored: the chain of each namespace at an instant, or what lies at a path.

use std::collections::BTreeSet;
use std::sync::Arc;

use tokio_util::sync::CancellationToken;

use super::plan::{MemberPlan, NamespaceRestore, RestorePlan};
use crate::asb::FileKey;
use crate::asb::cipher::Unlock;
use crate::catalog::{AtPath, BackupEntry, Encryption, History, PathFolder, at_path};
use crate::config::{RestoreConfig, RestoreTarget};
use crate::engine::aerospike::{decode, inspect};
use crate::engine::{ClusterFacts, FileToRead, keys};
use crate::error::{Error, Result};
use crate::model::chain::Chain;
use crate::model::{BackupType, UnixMillis};
use crate::storage::Storage;
use crate::store::Store;
use crate::verify::contents::{Contents, damaged, plain_file};

/// Finds what a request asks for. `key`: of encrypted backups; `marked`: the folders that are being deleted, as known
/// before.
pub async fn find(
    storage: &Arc<dyn Storage>,
    config: &RestoreConfig,
    key: Option<&FileKey>,
    marked: &BTreeSet<String>,
    now: UnixMillis,
    cancel: &CancellationToken,
) -> Result<RestorePlan> {
    let mut plan = match &config.target {
        RestoreTarget::Path { path, allow_incomplete } => {
            by_path(storage, config, key, path, *allow_incomplete, cancel).await?
        }
        RestoreTarget::Time { routine, time, namespaces, allow_gap, .. } => {
            let mut history = History::read(storage.as_ref(), routine, marked).await?;
            history.void_future(now);
            let asked = Asked { routine, at: *time, named: namespaces, allow_gap: *allow_gap };
            by_time(storage.as_ref(), history, &asked, key).await?
        }
    };
    remap(&mut plan, config)?;
    if key.is_none() {
        refuse_encrypted(&plan)?;
    }
    Ok(plan)
}

/// As [`find`], with the key of the restore and what the store knows by now: a restore's job does it once it holds its pins,
/// and whoever asks for the plan alone without.
pub async fn find_now(
    storage: &Arc<dyn Storage>,
    config: &RestoreConfig,
    store: &Store,
    now: UnixMillis,
    cancel: &CancellationToken,
) -> Result<RestorePlan> {
    let marked = store.marked(&storage.describe()).await?;
    let key = keys::key(config.policy.encryption.as_ref()).await;
    // By time it may be the routine's own, which nobody named and backups that are not encrypted do not need.
    let (key, no_key) = match (key, &config.target) {
        (Err(error), RestoreTarget::Time { .. }) => (None, Some(error)),
        (key, _) => (key?, None),
    };
    let found = find(storage, config, key.as_ref(), &marked, now, cancel).await;
    match (found, no_key) {
        (Err(error), Some(no_key)) if error.code() == "encryption-key-missing" => Err(no_key),
        (found, _) => found,
    }
}

/// A manifest that we wrote and that is gone is damage, not an old format (rules.md 4.2).
pub async fn known_manifests(store: &Store, config: &RestoreConfig, plan: &RestorePlan) -> Result<()> {
    // Somewhere else a folder of the same name may be another instance's.
    if config.source.name.is_none() {
        return Ok(());
    }
    let members = plan.namespaces.iter().flat_map(|namespace| &namespace.members);
    // Of a plain directory nothing is promised, and somebody has accepted that.
    for member in members.filter(|member| !member.contents.has_manifest && member.created.is_some()) {
        if store.had_manifest(&member.key).await? {
            return Err(damaged(&member.key, "manifest.json is gone"));
        }
    }
    Ok(())
}

/// The destination must have every namespace before anything is written (abs.md 4.7).
pub fn check_namespaces(plan: &RestorePlan, facts: &ClusterFacts) -> Result<()> {
    match plan.namespaces.iter().find(|namespace| facts.namespace(&namespace.destination).is_none()) {
        None => Ok(()),
        Some(missing) => Err(Error::permanent(
            "namespace-missing",
            format!("destination cluster does not have required namespace: {}", missing.destination),
        )
        .hint("Configure it on the cluster, or map the namespace to another one with policy.namespace.")),
    }
}

/// What is asked of a routine's backups.
struct Asked<'a> {
    routine: &'a str,
    at: UnixMillis,
    named: &'a [String],
    allow_gap: bool,
}

async fn by_time(
    storage: &dyn Storage,
    mut history: History,
    asked: &Asked<'_>,
    key: Option<&FileKey>,
) -> Result<RestorePlan> {
    let Asked { routine, at, named, allow_gap } = *asked;
    let mut plan = RestorePlan::default();
    let wanted: Vec<String> = if named.is_empty() {
        history.refuse_unread(None, at)?;
        let listed = history.namespaces_at(at);
        for stale in history.namespaces().difference(&listed) {
            plan.warnings.push(format!(
                "namespace {stale} is in storage, but the newest run did not list it: name it to restore it"
            ));
        }
        listed.into_iter().collect()
    } else {
        named.to_vec()
    };
    if wanted.is_empty() {
        return Err(Error::permanent(
            "no-full-backup",
            format!("no full backups found: routine {routine} has none that was complete at {at}"),
        )
        .hint("Ask for a later time; GET /v1/backups/full lists what there is."));
    }
    for namespace in wanted {
        let found = history.whole_chain(storage, &namespace, at, allow_gap).await?;
        plan.warnings.extend(chain_warnings(&namespace, &found.chain));
        for (key, reason) in &found.damaged {
            plan.warnings.push(format!(
                "namespace {namespace}: backup {key} is damaged and left out (allow-gap): {reason}"
            ));
        }
        let mut members = Vec::new();
        for entry in found.entries() {
            members.push(entry_member(storage, entry, key).await?);
        }
        plan.namespaces.push(NamespaceRestore {
            destination: namespace.clone(),
            source: namespace,
            members,
            complete_before: Some(found.chain.complete_before),
            finished: Some(found.chain.finished),
        });
    }
    Ok(plan)
}

fn chain_warnings(namespace: &str, chain: &Chain) -> Vec<String> {
    let mut warnings = Vec::new();
    if chain.overlap {
        warnings
            .push(format!("namespace {namespace}: overlap: incrementals that ran beside the full are used"));
    }
    for gap in &chain.gaps {
        warnings.push(format!(
            "namespace {namespace}: changes between {} and {} may be missing (allow-gap)",
            gap.earlier, gap.later
        ));
    }
    warnings
}

/// A listed backup with its files: manifest and sizes are always looked at (rules.md 4.2).
async fn entry_member(
    storage: &dyn Storage,
    entry: &BackupEntry,
    key: Option<&FileKey>,
) -> Result<MemberPlan> {
    Ok(MemberPlan {
        key: entry.key.clone(),
        backup_type: entry.backup_type,
        created: Some(entry.created),
        contents: Contents::of_entry(storage, entry, key).await?,
        compression: Some(entry.compression),
        encryption: entry.encryption,
    })
}

async fn by_path(
    storage: &Arc<dyn Storage>,
    config: &RestoreConfig,
    key: Option<&FileKey>,
    path: &str,
    allow_incomplete: bool,
    cancel: &CancellationToken,
) -> Result<RestorePlan> {
    match at_path(storage.as_ref(), path, allow_incomplete).await? {
        AtPath::Backups { folders, warnings, .. } => {
            let mut plan = RestorePlan { warnings, ..RestorePlan::default() };
            for folder in folders {
                plan.namespaces.push(folder_restore(storage.as_ref(), folder, key).await?);
            }
            Ok(plan)
        }
        AtPath::Plain { files, warnings } => {
            let stated = config.policy.encryption.as_ref().and_then(|one| one.mode).and_then(keys::mode);
            let unlock = Unlock { key: key.cloned(), mode: stated };
            let files: Vec<FileToRead> = files.into_iter().map(|file| plain_file(file, &unlock)).collect();
            let namespace = plain_namespace(storage, config, &files, cancel).await?;
            let member = MemberPlan {
                key: path.to_owned(),
                backup_type: BackupType::Full,
                created: None,
                contents: Contents { files, ..Contents::default() },
                compression: None,
                encryption: Encryption::of_cipher(stated),
            };
            let restore = NamespaceRestore {
                destination: namespace.clone(),
                source: namespace,
                members: vec![member],
                complete_before: None,
                finished: None,
            };
            Ok(RestorePlan { namespaces: vec![restore], warnings })
        }
    }
}

async fn folder_restore(
    storage: &dyn Storage,
    folder: PathFolder,
    key: Option<&FileKey>,
) -> Result<NamespaceRestore> {
    let metadata = &folder.metadata;
    let member = MemberPlan {
        key: folder.key.clone(),
        backup_type: metadata.backup_type(),
        created: Some(metadata.created),
        contents: Contents::of_folder(storage, &folder, key).await?,
        compression: Some(metadata.compression),
        encryption: folder.manifest.as_ref().map_or(metadata.encryption, |manifest| manifest.encryption),
    };
    Ok(NamespaceRestore {
        source: metadata.namespace.clone(),
        destination: metadata.namespace.clone(),
        members: vec![member],
        complete_before: folder.manifest.as_ref().map(|manifest| manifest.safe_from),
        finished: metadata.finished,
    })
}

/// The namespace of a directory without metadata: the one that the request maps, else the one its first file names.
async fn plain_namespace(
    storage: &Arc<dyn Storage>,
    config: &RestoreConfig,
    files: &[FileToRead],
    cancel: &CancellationToken,
) -> Result<String> {
    if let Some(remap) = &config.policy.remap {
        return Ok(remap.source.clone());
    }
    let first = files.iter().find(|file| file.size > 0).ok_or_else(|| {
        Error::permanent("backup-empty", "every file at the path is empty").hint("Check the path.")
    })?;
    inspect::namespace_of(storage, first, cancel).await
}

/// Renames the one namespace that the policy names.
fn remap(plan: &mut RestorePlan, config: &RestoreConfig) -> Result<()> {
    let Some(remap) = &config.policy.remap else { return Ok(()) };
    match plan.namespaces.as_mut_slice() {
        [only] if only.source == remap.source => {
            only.destination.clone_from(&remap.destination);
            Ok(())
        }
        found => {
            let names: Vec<&str> = found.iter().map(|one| one.source.as_str()).collect();
            Err(Error::permanent(
                "bad-remap",
                format!(
                    "policy.namespace maps {}, but the restore covers {}",
                    remap.source,
                    names.join(", ")
                ),
            )
            .hint("Name the one namespace to restore in \"namespaces\", or restore by its path."))
        }
    }
}

/// Said before anything is read.
fn refuse_encrypted(plan: &RestorePlan) -> Result<()> {
    let members = plan.namespaces.iter().flat_map(|namespace| &namespace.members);
    match members.into_iter().find(|member| member.encryption != Encryption::None) {
        None => Ok(()),
        Some(member) => Err(decode::no_key(&format!("backup {} ({})", member.key, member.encryption.word()))),
    }
}

#[cfg(test)]
mod tests {
    use super::{AtPath, Storage, at_path, folder_restore};
    use crate::catalog::testkit::{Backup, storage};

    /// rules.md 4.2: sizes and the number of files are looked at before anything is written.
    #[tokio::test]
    async fn a_folder_found_by_path_must_have_all_its_files() {
        for foreign in [false, true] {
            let (_dir, storage) = storage().await;
            let mut backup = Backup::full(1_700_000_000_000, "ns").files(2);
            backup.foreign = foreign;
            backup.write(&storage).await;
            let folder = || async {
                match at_path(&storage, &backup.folder(), false).await.unwrap() {
                    AtPath::Backups { mut folders, .. } => folders.remove(0),
                    AtPath::Plain { .. } => panic!("plain"),
                }
            };
            let whole = folder_restore(&storage, folder().await, None).await.unwrap();
            assert_eq!(whole.members[0].contents.files.len(), 2);
            storage.delete(&format!("{}/1_ns_2.asb", backup.folder())).await.unwrap();
            let error = folder_restore(&storage, folder().await, None).await.unwrap_err();
            assert_eq!(error.code(), "backup-damaged", "{foreign}");
        }
    }
}
