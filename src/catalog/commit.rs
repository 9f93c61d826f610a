//! The end of a backup's way into storage, and the question afterwards whether it got there (rules.md 3.10, 6.1).

use bytes::Bytes;

use super::entry::disagreement;
use super::layout::{DATA, MANIFEST, METADATA, RunFolder};
use super::list::read_metadata;
use super::manifest::{BlocksWriter, Found, MANIFEST_BYTES_MAX, Manifest, read_manifest};
use super::metadata::Metadata;
use super::wholeness::wrong_files;
use crate::error::{Error, Result};
use crate::storage::{Storage, join};

/// What storage answers when asked whether an attempt was committed.
#[derive(Debug)]
pub enum Commit {
    /// `metadata.yaml` is there and, where there is a manifest, all its files with their sizes.
    Committed(Box<Committed>),
    /// There certainly is no `metadata.yaml`: the attempt may be removed.
    Absent,
    /// `metadata.yaml` is there, but what it stands for is damaged: neither committed nor to be removed.
    Broken {
        /// What is damaged.
        reason: String,
    },
    /// Storage did not answer: leave the data alone and ask again.
    Unknown(Error),
}

/// What was committed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Committed {
    /// The metadata.
    pub metadata: Metadata,
    /// The manifest; none for a backup of another program.
    pub manifest: Option<Manifest>,
}

/// An attempt whose files, hashes and manifest are durable, and which `metadata.yaml` will make a backup.
#[derive(Debug)]
pub struct Staged<'a> {
    storage: &'a dyn Storage,
    folder: &'a str,
    manifest: &'a Manifest,
    metadata: &'a Metadata,
}

/// Writes `blocks.b3` and `manifest.json` once every data file is finished. Nothing is committed yet.
///
/// Looks at the files in storage before it vouches for them. A job may still be canceled before
/// [`Staged::publish`], not after it was called (rules.md 2.8).
pub async fn stage<'a>(
    storage: &'a dyn Storage,
    folder: &'a str,
    blocks: BlocksWriter,
    manifest: &'a Manifest,
    metadata: &'a Metadata,
) -> Result<Staged<'a>> {
    let refuse = |problem: String| {
        Error::permanent("commit-refused", format!("backup {folder} cannot be committed: {problem}"))
            .hint("This is a defect of Holdfast: please report it with the log.")
    };
    attempt_of(folder)?;
    manifest.check().map_err(|problem| refuse(format!("{MANIFEST} {problem}")))?;
    if let Some(problem) = disagreement(manifest, metadata) {
        return Err(refuse(problem));
    }
    if blocks.blocks() != manifest.block_count() {
        return Err(refuse(format!(
            "{} block hashes for files of {} blocks",
            blocks.blocks(),
            manifest.block_count()
        )));
    }
    let json = manifest.to_json()?;
    if json.len() as u64 > MANIFEST_BYTES_MAX {
        return Err(Error::permanent(
            "backup-too-many-files",
            format!("the manifest of {folder} would have {} bytes, more than can be read back", json.len()),
        )
        .hint("Raise file-limit, so that the backup has fewer files."));
    }
    blocks.finish().await?;
    if let Some(problem) = wrong_files(storage, folder, manifest).await? {
        return Err(Error::temporary(
            "commit-incomplete",
            format!("backup {folder} cannot be committed: {problem}"),
        ));
    }
    storage.put(&join(folder, MANIFEST), Bytes::from(json)).await?;
    Ok(Staged { storage, folder, manifest, metadata })
}

impl Staged<'_> {
    /// Writes `metadata.yaml`; when storage does not say whether it was taken, asks it. Never cancel this.
    pub async fn publish(self) -> Result<Commit> {
        let yaml = Bytes::from(self.metadata.to_yaml());
        match self.storage.put(&join(self.folder, METADATA), yaml).await {
            Ok(()) => Ok(Commit::Committed(Box::new(Committed {
                metadata: self.metadata.clone(),
                manifest: Some(self.manifest.clone()),
            }))),
            Err(error) => match committed(self.storage, self.folder).await {
                Commit::Absent => Err(error),
                answer => Ok(answer),
            },
        }
    }
}

/// [`stage`], then [`Staged::publish`]: an error means that nothing was committed, as far as storage can tell.
pub async fn commit(
    storage: &dyn Storage,
    folder: &str,
    blocks: BlocksWriter,
    manifest: &Manifest,
    metadata: &Metadata,
) -> Result<Commit> {
    stage(storage, folder, blocks, manifest, metadata).await?.publish().await
}

/// Asks storage whether an attempt was committed (rules.md 6.1).
pub async fn committed(storage: &dyn Storage, folder: &str) -> Commit {
    ask(storage, folder).await.unwrap_or_else(Commit::Unknown)
}

async fn ask(storage: &dyn Storage, folder: &str) -> Result<Commit> {
    let metadata = match read_metadata(storage, folder).await? {
        Found::Absent => return Ok(Commit::Absent),
        Found::Broken(reason) => return Ok(Commit::Broken { reason }),
        Found::Good((metadata, _)) => metadata,
    };
    let manifest = match read_manifest(storage, folder).await? {
        Found::Absent => None,
        Found::Broken(reason) => return Ok(Commit::Broken { reason }),
        Found::Good(manifest) => Some(manifest),
    };
    if let Some(manifest) = &manifest {
        let mut problem = disagreement(manifest, &metadata);
        if problem.is_none() {
            problem = wrong_files(storage, folder, manifest).await?;
        }
        if let Some(reason) = problem {
            return Ok(Commit::Broken { reason });
        }
    }
    Ok(Commit::Committed(Box::new(Committed { metadata, manifest })))
}

/// Removes the folder of an attempt, `metadata.yaml` first (rules.md 5.3); how many objects went.
///
/// Refuses what is not the folder of an attempt. Which folders may be removed is the caller's to know (rules.md 6.2).
pub async fn remove_attempt(storage: &dyn Storage, folder: &str) -> Result<u64> {
    attempt_of(folder)?;
    let metadata = join(folder, METADATA);
    let had_metadata = storage.head(&metadata).await?.is_some();
    storage.delete(&metadata).await?;
    Ok(storage.delete_prefix(folder).await? + u64::from(had_metadata))
}

/// `<routine>/<type>/<TS>/data/<folder>` and nothing else.
fn attempt_of(folder: &str) -> Result<()> {
    let is_attempt = RunFolder::of_key(folder).is_some_and(|(run, rest)| {
        let name = rest.strip_prefix(DATA).and_then(|rest| rest.strip_prefix('/'));
        folder.starts_with(&run.key()) && name.is_some_and(|name| !name.is_empty() && !name.contains('/'))
    });
    if is_attempt {
        return Ok(());
    }
    Err(Error::permanent(
        "not-an-attempt",
        format!("{folder:?} is not the folder of a backup of one namespace"),
    ))
}

#[cfg(test)]
mod tests;
