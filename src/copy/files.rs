//! One file on its way: hashed while it is read, read back from the target and hashed again (rules.md 3.11).

use std::sync::Arc;

use super::original::OneFile;
use crate::asb::BlockHasher;
use crate::error::{Error, Result};
use crate::jobs::Progress;
use crate::memory::file_limit;
use crate::storage::{ObjectReader, ObjectWriter, Storage};
use crate::verify::contents::damaged;

/// The way of files from one storage to another.
#[derive(Clone)]
pub(super) struct Way {
    pub source: Arc<dyn Storage>,
    pub target: Arc<dyn Storage>,
    /// The size of the parts in which the target takes a file.
    pub part_bytes: Option<u64>,
    pub progress: Progress,
}

type Hashes = Vec<[u8; 32]>;

impl Way {
    /// Brings one file over, unless `kept`: then the target has one of its size, which an earlier attempt wrote. In either
    /// case what the target has is read back to its end and compared. How many bytes were written.
    ///
    /// Errors: `backup-damaged` for a block of the original that is not what its hash says (nothing of the file is then
    /// published), `copy-file-too-large`, `copy-damaged` (temporary), those of both storages.
    pub async fn bring(&self, file: &OneFile, kept: bool) -> Result<u64> {
        if kept && let Some(blocks) = &file.blocks {
            if self.read_back(file, blocks, true).await? {
                self.progress.add_done(file.records);
                return Ok(0);
            }
            tracing::warn!(
                file = file.key,
                "what an earlier attempt had copied is not whole: it is copied again"
            );
        }
        let hashes = self.send(file).await?;
        if !self.read_back(file, &hashes, false).await? {
            let text = format!(
                "file {} in {} does not hold what was written to it",
                file.key,
                self.target.describe()
            );
            return Err(Error::temporary("copy-damaged", text)
                .hint("Check the disk or the network of the target, and try again."));
        }
        self.progress.add_done(file.records);
        Ok(file.size)
    }

    /// Compares every block of a file of the original with its hash; writes nothing.
    pub async fn check(&self, file: &OneFile) -> Result<()> {
        let mut reader = self.open(file).await?;
        let mut hashed = Hashed::new(file);
        while let Some(block) = reader.next().await? {
            hashed.update(&block)?;
        }
        hashed.finish().map(drop)
    }

    async fn open(&self, file: &OneFile) -> Result<Box<dyn ObjectReader>> {
        let reader = self.source.open(&file.key).await?;
        if reader.size_bytes() == file.size {
            return Ok(reader);
        }
        let text = format!("it has {} bytes instead of {}", reader.size_bytes(), file.size);
        Err(damaged(&file.key, &text))
    }

    /// Writes a file; the hashes of what was read and written.
    async fn send(&self, file: &OneFile) -> Result<Hashes> {
        let most = file_limit(0, self.part_bytes);
        if most > 0 && file.size > most {
            let text = format!("file {} has {} bytes, the target takes at most {most}", file.key, file.size);
            return Err(Error::permanent("copy-file-too-large", text)
                .hint("Raise min-part-size of the target's storage: a file has at most 10,000 parts."));
        }
        let mut reader = self.open(file).await?;
        let mut writer = self.target.create(&file.key).await?;
        match self.stream(file, reader.as_mut(), writer.as_mut()).await {
            Ok(hashes) => {
                writer.finish().await?;
                Ok(hashes)
            }
            Err(error) => {
                if let Err(abort) = writer.abort().await {
                    tracing::debug!(
                        file = file.key,
                        reason = abort.report(),
                        "the file is not given up cleanly"
                    );
                }
                Err(error)
            }
        }
    }

    async fn stream(
        &self,
        file: &OneFile,
        reader: &mut dyn ObjectReader,
        writer: &mut dyn ObjectWriter,
    ) -> Result<Hashes> {
        let mut hashed = Hashed::new(file);
        while let Some(block) = reader.next().await? {
            hashed.update(&block)?;
            let bytes = block.len() as u64;
            writer.write(block).await?;
            self.progress.add_bytes(bytes);
        }
        hashed.finish()
    }

    /// Whether the target's file holds these blocks. What was not written in this job counts as done when it is read.
    async fn read_back(&self, file: &OneFile, expected: &[[u8; 32]], count: bool) -> Result<bool> {
        let mut reader = self.target.open(&file.key).await?;
        let mut hasher = BlockHasher::new();
        while let Some(block) = reader.next().await? {
            hasher.update(&block);
        }
        let found = hasher.finish();
        let same = found.size == file.size && found.blocks == expected;
        if same && count {
            self.progress.add_bytes(file.size);
        }
        Ok(same)
    }
}

/// A file of the original as it is read: the first block that is not what its hash says ends the reading.
struct Hashed<'a> {
    file: &'a OneFile,
    hasher: BlockHasher,
    checked: usize,
}

impl<'a> Hashed<'a> {
    fn new(file: &'a OneFile) -> Self {
        Self { file, hasher: BlockHasher::new(), checked: 0 }
    }

    fn update(&mut self, bytes: &[u8]) -> Result<()> {
        self.hasher.update(bytes);
        self.compare()
    }

    fn compare(&mut self) -> Result<()> {
        let Some(expected) = &self.file.blocks else { return Ok(()) };
        for (at, found) in self.hasher.blocks().iter().enumerate().skip(self.checked) {
            if expected.get(at) != Some(found) {
                let text = format!("block {at} (of 4 MiB each) does not have its hash");
                return Err(damaged(&self.file.key, &text));
            }
        }
        self.checked = self.hasher.blocks().len();
        Ok(())
    }

    fn finish(mut self) -> Result<Hashes> {
        self.hasher.end();
        self.compare()?;
        let found = self.hasher.finish();
        if found.size != self.file.size {
            let text = format!("it ended after {} of {} bytes", found.size, self.file.size);
            return Err(damaged(&self.file.key, &text));
        }
        Ok(found.blocks)
    }
}
