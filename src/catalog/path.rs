//! Restore by path: what lies at a path that somebody named (rules.md 4.10, abs.md 4.7).

use std::collections::BTreeMap;

use futures_util::stream::{self, StreamExt, TryStreamExt};

use super::entry::disagreement;
use super::layout::{DATA, DATA_SUFFIX, INSTANCES, METADATA, RunFolder, parse_attempt_folder};
use super::list::read_metadata;
use super::manifest::{Found, Manifest, read_manifest};
use super::metadata::Metadata;
use super::wholeness::wrong_folder;
use crate::error::{Error, Result};
use crate::model::UnixMillis;
use crate::storage::{ObjectInfo, Storage, check_key, folder_of, join};

/// How many backups are read at once.
const FOLDERS_AT_ONCE: usize = 16;

/// How many paths an error suggests.
const SUGGESTIONS_MAX: usize = 5;

/// What lies at a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AtPath {
    /// Backups of one run, one folder for each namespace.
    Backups {
        /// The `created` that all share.
        created: UnixMillis,
        /// The backups, by namespace.
        folders: Vec<PathFolder>,
        /// What the operator should know.
        warnings: Vec<String>,
    },
    /// Data files without metadata: an asbackup directory, or an unfinished backup that was asked for.
    Plain {
        /// The data files, in order of their keys.
        files: Vec<ObjectInfo>,
        /// What the operator should know: at least that completeness is unknown.
        warnings: Vec<String>,
    },
}

/// A committed backup of one namespace at or below a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PathFolder {
    /// The folder.
    pub key: String,
    /// Its metadata.
    pub metadata: Metadata,
    /// Its manifest; none for a backup of another program.
    pub manifest: Option<Manifest>,
    /// What to read: the files that the manifest names, else every data file below the folder.
    pub files: Vec<ObjectInfo>,
}

/// Finds out what lies at a path, or why it cannot be restored.
///
/// Error codes: `backup-path-empty` (with the nearest paths that exist), `backup-incomplete`, `backup-path-mixed`,
/// `backup-damaged`.
pub async fn at_path(storage: &dyn Storage, path: &str, allow_incomplete: bool) -> Result<AtPath> {
    let path = path.strip_suffix('/').unwrap_or(path);
    check_key(path)?;
    let objects = storage.list(path).await?;
    let marked: Vec<String> = objects
        .iter()
        .filter_map(|object| object.key.strip_suffix(METADATA)?.strip_suffix('/').map(str::to_owned))
        .collect();
    if !marked.is_empty() {
        return backups(storage, path, marked, objects).await;
    }
    let mut files: Vec<ObjectInfo> =
        objects.into_iter().filter(|object| object.key.ends_with(DATA_SUFFIX)).collect();
    if files.is_empty() {
        // asbackup can write all into one file, of any name (asb.md 4.1).
        files.extend(storage.head(path).await?);
    }
    if files.is_empty() {
        return Err(nothing_at(storage, path).await?);
    }
    let mut warnings = vec![format!("{path} has no metadata.yaml: whether it is complete is unknown")];
    if files.iter().any(|file| RunFolder::of_key(&file.key).is_some()) {
        if !allow_incomplete {
            return Err(Error::permanent(
                "backup-incomplete",
                format!("{path} has no metadata.yaml: it is being written, or was never finished"),
            )
            .hint("Choose a finished backup, or set allow-incomplete to restore what there is."));
        }
        warnings.push(format!("{path} is a backup that was not finished: records are missing from it"));
    }
    Ok(AtPath::Plain { files, warnings })
}

async fn backups(
    storage: &dyn Storage,
    path: &str,
    marked: Vec<String>,
    objects: Vec<ObjectInfo>,
) -> Result<AtPath> {
    let mut folders: Vec<PathFolder> = stream::iter(marked)
        .map(|key| async move { read_folder(storage, key).await })
        .buffer_unordered(FOLDERS_AT_ONCE)
        .try_collect()
        .await?;
    folders.sort_unstable_by(|a, b| a.key.cmp(&b.key));
    let created = same_created(path, &folders)?;
    let mut warnings = Vec::new();

    let mut stray = BTreeMap::<String, u64>::new();
    for object in objects.into_iter().filter(|object| object.key.ends_with(DATA_SUFFIX)) {
        match owner(&mut folders, &object.key) {
            Some(folder) => folder.files.push(object),
            None => *stray.entry(folder_of(&object.key).to_owned()).or_default() += 1,
        }
    }
    for (folder, files) in stray {
        warnings.push(format!("{folder} has {files} data files and no metadata.yaml: they are not restored"));
    }
    let mut folders = highest_whole(storage, folders, &mut warnings).await?;
    for folder in &mut folders {
        only_named_files(folder);
    }
    folders.sort_unstable_by(|a, b| a.metadata.namespace.cmp(&b.metadata.namespace));
    Ok(AtPath::Backups { created, folders, warnings })
}

async fn read_folder(storage: &dyn Storage, key: String) -> Result<PathFolder> {
    let damaged = |reason: String| {
        Error::permanent("backup-damaged", format!("backup {key} cannot be restored: {reason}"))
            .hint("Choose another backup.")
    };
    let metadata = match read_metadata(storage, &key).await? {
        Found::Good((metadata, _)) => metadata,
        Found::Broken(reason) => return Err(damaged(reason)),
        Found::Absent => return Err(damaged("it is being deleted".to_owned())),
    };
    let manifest = match read_manifest(storage, &key).await? {
        Found::Good(manifest) => Some(manifest),
        Found::Broken(reason) => return Err(damaged(reason)),
        Found::Absent => None,
    };
    if let Some(reason) = manifest.as_ref().and_then(|manifest| disagreement(manifest, &metadata)) {
        return Err(damaged(reason));
    }
    Ok(PathFolder { key, metadata, manifest, files: Vec::new() })
}

/// All metadata below one path must be of one run (abs.md 4.7).
fn same_created(path: &str, folders: &[PathFolder]) -> Result<UnixMillis> {
    let mut created: Vec<UnixMillis> = folders.iter().map(|folder| folder.metadata.created).collect();
    created.sort_unstable();
    created.dedup();
    match created.as_slice() {
        [one] => Ok(*one),
        several => Err(Error::permanent(
            "backup-path-mixed",
            format!("{path} holds backups of {} runs", several.len()),
        )
        .hint(format!(
            "Name the folder of one run, such as {}; to restore a chain, restore by timestamp.",
            folders.last().map_or(path, |folder| folder_of(folder_of(&folder.key)))
        ))),
    }
}

/// The folder that a data file belongs to: the deepest one above it.
fn owner<'a>(folders: &'a mut [PathFolder], key: &str) -> Option<&'a mut PathFolder> {
    folders
        .iter_mut()
        .filter(|folder| key.strip_prefix(&folder.key).is_some_and(|rest| rest.starts_with('/')))
        .max_by_key(|folder| folder.key.len())
}

/// Of several committed attempts at one namespace the highest whole one (rules.md 6.1).
async fn highest_whole(
    storage: &dyn Storage,
    folders: Vec<PathFolder>,
    warnings: &mut Vec<String>,
) -> Result<Vec<PathFolder>> {
    let mut by_namespace = BTreeMap::<String, Vec<PathFolder>>::new();
    for folder in folders {
        by_namespace.entry(folder.metadata.namespace.clone()).or_default().push(folder);
    }
    let mut chosen = Vec::new();
    for (namespace, mut attempts) in by_namespace {
        attempts.sort_by_key(|folder| std::cmp::Reverse(attempt(folder)));
        let mut passed = Vec::new();
        let mut found = None;
        let several = attempts.len() > 1;
        for folder in attempts {
            if found.is_none() && (!several || is_whole(storage, &folder).await?) {
                found = Some(folder);
            } else {
                passed.push(folder);
            }
        }
        // None is whole: the highest, whose restore will say what is missing.
        let folder = match found {
            Some(folder) => folder,
            None => passed.remove(0),
        };
        for other in passed {
            warnings.push(format!(
                "{} is another attempt at {namespace:?}: {} is restored",
                other.key, folder.key
            ));
        }
        chosen.push(folder);
    }
    Ok(chosen)
}

fn attempt(folder: &PathFolder) -> u32 {
    let name = folder.key.rsplit('/').next().unwrap_or_default();
    parse_attempt_folder(name, &folder.metadata.namespace).unwrap_or(0)
}

async fn is_whole(storage: &dyn Storage, folder: &PathFolder) -> Result<bool> {
    let (manifest, files) = (folder.manifest.as_ref(), folder.metadata.file_count);
    Ok(wrong_folder(storage, &folder.key, manifest, files).await?.is_none())
}

/// A restore of ours reads the files that the manifest names and nothing else in the folder (rules.md 3.10).
fn only_named_files(folder: &mut PathFolder) {
    let Some(manifest) = &folder.manifest else { return };
    let mut found: BTreeMap<String, ObjectInfo> =
        folder.files.drain(..).map(|object| (object.key.clone(), object)).collect();
    // What is missing is left out here; the check of manifest and sizes before a restore tells (rules.md 4.2).
    folder.files =
        manifest.files.iter().filter_map(|file| found.remove(&join(&folder.key, &file.name))).collect();
}

/// The error for a path with nothing to restore: names the nearest paths that exist.
async fn nothing_at(storage: &dyn Storage, path: &str) -> Result<Error> {
    let error = Error::permanent("backup-path-empty", format!("there is no backup at {path:?}"));
    let near = nearest(storage, path).await?;
    Ok(match near.as_slice() {
        [] => error.hint("The storage has nothing near this path: check the path and the storage."),
        near => error.hint(format!("The nearest paths that exist: {}.", near.join(", "))),
    })
}

/// Folders that exist near a path: with the `data` segment that examples leave out, else the best matching
/// neighbours at the deepest level that exists.
async fn nearest(storage: &dyn Storage, path: &str) -> Result<Vec<String>> {
    // The path itself may be a folder, of configuration files for instance.
    let mut level = path;
    let mut wanted = "";
    loop {
        let mut names = storage.list_dirs(level).await?;
        if level.is_empty() {
            names.retain(|name| name != INSTANCES);
        }
        if !names.is_empty() {
            if !wanted.is_empty() && names.iter().any(|name| name == DATA) {
                let with_data = join(&join(level, DATA), wanted);
                if !storage.list(&with_data).await?.is_empty() {
                    return Ok(vec![with_data]);
                }
            }
            let first = wanted.split('/').next().unwrap_or_default();
            let mut names: Vec<(bool, f64, String)> = names
                .into_iter()
                .map(|name| (name.starts_with(first), strsim::jaro_winkler(first, &name), name))
                .collect();
            names.sort_by(|a, b| b.0.cmp(&a.0).then(b.1.total_cmp(&a.1)).then(a.2.cmp(&b.2)));
            return Ok(names
                .into_iter()
                .take(SUGGESTIONS_MAX)
                .map(|(.., name)| join(level, &name))
                .collect());
        }
        if level.is_empty() {
            return Ok(Vec::new());
        }
        level = folder_of(level);
        wanted = path.get(level.len()..).unwrap_or_default().trim_start_matches('/');
    }
}

#[cfg(test)]
mod tests;
