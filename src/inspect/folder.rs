//! Folders of backups: what their documents say against what their files hold.

use std::collections::BTreeMap;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tokio::runtime::Handle;

use super::file::{Expected, inspect};
use super::shelf::{Disk, Shelf, Stored, failed};
use super::{Content, FileReport, FolderReport};
use crate::asb::cipher::Unlock;
use crate::asb::{self, FileKey};
use crate::catalog::layout::{BLOCKS, DATA_SUFFIX, MANIFEST, METADATA};
use crate::catalog::manifest::{MANIFEST_BYTES_MAX, block_count};
use crate::catalog::metadata::METADATA_BYTES_MAX;
use crate::catalog::{Encryption, Manifest, Metadata};
use crate::error::{Error, Result};
use crate::storage::Storage;
use crate::tasks::blocking;

/// Reads every backup file at or below a path, folder by folder, in the order of their paths; `key`: of encrypted ones.
/// Blocks.
///
/// Errors: `inspect-io`; `inspect-nothing` if there is no backup file.
pub fn inspect_path(path: &Path, key: Option<&FileKey>) -> Result<Vec<FolderReport>> {
    inspect_on(&Disk, path, key)
}

/// As [`inspect_path`], below a prefix of a storage.
///
/// Errors: besides, those of storage.
pub async fn inspect_stored(
    storage: Arc<dyn Storage>,
    prefix: PathBuf,
    key: Option<FileKey>,
) -> Result<Vec<FolderReport>> {
    let shelf = Stored { storage, runtime: Handle::current() };
    blocking(move || inspect_on(&shelf, &prefix, key.as_ref())).await
}

fn inspect_on(shelf: &dyn Shelf, path: &Path, key: Option<&FileKey>) -> Result<Vec<FolderReport>> {
    let found = shelf.find(path)?;
    let mut folders: BTreeMap<PathBuf, Vec<PathBuf>> = BTreeMap::new();
    for file in found.files {
        let folder = file.parent().unwrap_or(Path::new("")).to_owned();
        let name = file.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if !found.is_folder || name.ends_with(DATA_SUFFIX) {
            folders.entry(folder).or_default().push(file);
        } else if name == METADATA {
            folders.entry(folder).or_default();
        }
    }
    if folders.is_empty() {
        let text =
            format!("there is no backup file (*{DATA_SUFFIX}) and no {METADATA} below {}", path.display());
        return Err(Error::permanent("inspect-nothing", text)
            .hint("Name a backup file, the folder of a backup, or one above it."));
    }
    let reports = folders.into_iter();
    reports.map(|(folder, files)| one_folder(shelf, &folder, files, key, found.is_folder)).collect()
}

/// `whole`: all its files are looked at, so that sums can be compared.
fn one_folder(
    shelf: &dyn Shelf,
    folder: &Path,
    mut paths: Vec<PathBuf>,
    key: Option<&FileKey>,
    whole: bool,
) -> Result<FolderReport> {
    let mut problems = Vec::new();
    let metadata = read_metadata(shelf, folder, &mut problems)?;
    let manifest = read_manifest(shelf, folder, &mut problems)?;
    let expected =
        manifest.as_ref().map(|manifest| expectations(shelf, folder, manifest, &mut problems)).transpose()?;
    if let (Some(manifest), Some(key)) = (&manifest, key)
        && let Err(problem) = manifest.check_seal(key)
    {
        problems.push(problem.to_string());
    }
    let said = manifest.as_ref().map(|one| one.encryption).or(metadata.as_ref().map(|one| one.encryption));
    let unlock = Unlock { key: key.cloned(), mode: said.and_then(Encryption::cipher) };
    paths.sort();
    let mut files = Vec::new();
    let mut content = Content::default();
    for path in paths {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let file = inspect(shelf, &path, &unlock, expected.as_ref().and_then(|all| all.get(&name)))?;
        content.add(&file.content);
        files.push(file);
    }
    // What no key opens cannot be counted.
    let counted = !files.iter().any(|file| file.locked);
    if whole && counted {
        if let Some(manifest) = &manifest {
            against_manifest(manifest, &files, &content, &mut problems);
        }
        match &metadata {
            Some(metadata) => against_metadata(metadata, &files, &content, &mut problems),
            None if manifest.is_some() => {
                problems.push(format!("it has no {METADATA}: it is being written, or was never finished"));
            }
            None => {}
        }
    }
    Ok(FolderReport {
        folder: folder.display().to_string(),
        metadata: metadata.as_ref().map(words),
        has_manifest: manifest.is_some(),
        files,
        content,
        problems,
    })
}

/// The document of a folder, none if it is not there; what is wrong with it is a problem.
fn read_metadata(shelf: &dyn Shelf, folder: &Path, problems: &mut Vec<String>) -> Result<Option<Metadata>> {
    let Some(bytes) = read_capped(shelf, &folder.join(METADATA), METADATA_BYTES_MAX)? else {
        return Ok(None);
    };
    match Metadata::parse(&bytes) {
        Ok((metadata, _)) => Ok(Some(metadata)),
        Err(reason) => {
            problems.push(format!("{METADATA} {reason}"));
            Ok(None)
        }
    }
}

fn read_manifest(shelf: &dyn Shelf, folder: &Path, problems: &mut Vec<String>) -> Result<Option<Manifest>> {
    let Some(bytes) = read_capped(shelf, &folder.join(MANIFEST), MANIFEST_BYTES_MAX)? else {
        return Ok(None);
    };
    match Manifest::parse(&bytes) {
        Ok(manifest) => Ok(Some(manifest)),
        Err(reason) => {
            problems.push(format!("{MANIFEST}: {reason}"));
            Ok(None)
        }
    }
}

/// A whole small file, none if it is not there; longer than `limit` is cut, which its parser then refuses.
fn read_capped(shelf: &dyn Shelf, path: &Path, limit: u64) -> Result<Option<Vec<u8>>> {
    let Some(file) = shelf.open(path)? else { return Ok(None) };
    let mut bytes = Vec::new();
    file.take(limit).read_to_end(&mut bytes).map_err(|error| failed(path, error))?;
    Ok(Some(bytes))
}

/// What the manifest and `blocks.b3` say of each file.
fn expectations(
    shelf: &dyn Shelf,
    folder: &Path,
    manifest: &Manifest,
    problems: &mut Vec<String>,
) -> Result<BTreeMap<String, Expected>> {
    let blocks = read_capped(shelf, &folder.join(BLOCKS), manifest.block_count() * 32)?;
    if blocks.as_ref().is_none_or(|blocks| blocks.len() as u64 != manifest.block_count() * 32) {
        problems
            .push(format!("{BLOCKS} is missing or cut short: damage can be seen, but not in which block"));
    }
    let (blocks, _) = blocks.as_deref().unwrap_or_default().as_chunks::<32>();
    let mut rest = blocks.iter();
    let mut all = BTreeMap::new();
    for file in &manifest.files {
        let count = block_count(file.size_bytes) as usize;
        let own: Vec<[u8; 32]> = rest.by_ref().take(count).copied().collect();
        if own.len() == count && file.root() != Some(asb::root_of(&own)) {
            problems.push(format!("{BLOCKS} does not match the manifest for {}", file.name));
        }
        let expected = Expected { size_bytes: file.size_bytes, root: file.root(), blocks: own };
        all.insert(file.name.clone(), expected);
    }
    Ok(all)
}

fn against_manifest(
    manifest: &Manifest,
    files: &[FileReport],
    content: &Content,
    problems: &mut Vec<String>,
) {
    for file in &manifest.files {
        match files.iter().find(|found| found.name == file.name) {
            None => problems.push(format!("{} is missing", file.name)),
            Some(found) if found.content.records != file.records => problems.push(format!(
                "{} has {} records, its manifest says {}",
                file.name, found.content.records, file.records
            )),
            Some(_) => {}
        }
    }
    for found in files {
        if !manifest.files.iter().any(|file| file.name == found.name) {
            problems.push(format!("{} is not in the manifest: no restore reads it", found.name));
        }
    }
    let totals = manifest.totals;
    sums("manifest", content, (totals.records, totals.indexes, totals.udfs), problems);
}

fn against_metadata(
    metadata: &Metadata,
    files: &[FileReport],
    content: &Content,
    problems: &mut Vec<String>,
) {
    if metadata.file_count != files.len() as u64 {
        problems.push(format!("it has {} files, {METADATA} says {}", files.len(), metadata.file_count));
    }
    let said = (metadata.record_count, metadata.secondary_index_count, metadata.udf_count);
    sums(METADATA, content, said, problems);
}

fn sums(who: &str, content: &Content, said: (u64, u64, u64), problems: &mut Vec<String>) {
    let found = (content.records, content.indexes.len() as u64, content.udfs.len() as u64);
    for (what, found, said) in
        [("records", found.0, said.0), ("indexes", found.1, said.1), ("UDFs", found.2, said.2)]
    {
        if found != said {
            problems.push(format!("it has {found} {what}, {who} says {said}"));
        }
    }
}

/// `metadata.yaml` in its own words.
fn words(metadata: &Metadata) -> BTreeMap<&'static str, String> {
    let mut words = BTreeMap::from([
        ("created", metadata.created.to_rfc3339()),
        ("namespace", metadata.namespace.clone()),
        ("record-count", metadata.record_count.to_string()),
        ("byte-count", metadata.byte_count.to_string()),
        ("file-count", metadata.file_count.to_string()),
        ("compression", metadata.compression.as_str().to_owned()),
        ("encryption", metadata.encryption.abs_word().to_owned()),
    ]);
    if let Some(finished) = metadata.finished {
        words.insert("finished", finished.to_rfc3339());
    }
    if let Some(from) = metadata.from {
        words.insert("from", from.to_rfc3339());
    }
    words
}
