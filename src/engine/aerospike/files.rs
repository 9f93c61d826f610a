//! Files of a backup while they are written: compress, encrypt, hash, split, hand over to storage.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use tokio::runtime::Handle;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::asb::cipher::Encryptor;
use crate::asb::{self, BlockHasher, Compressor, Encoder, FileCipher, Version};
use crate::engine::checkpoint::{Checkpoint, FinishedFile};
use crate::engine::{NamespaceRead, Watch, WrittenFile};
use crate::error::{Error, Result};
use crate::model::coverage::Advance;
use crate::storage::{ObjectWriter, Storage};
use crate::tasks::unless_canceled;

/// Stored bytes are handed to storage in pieces of at least this size: what a block is that was made of a whole frame, so
/// that it can go as it is.
const PIECE_BYTES: usize = 512 << 10;

/// Room for what is to become a piece: the last block may make it larger than it has to be.
const PENDING_BYTES: usize = 1 << 20;

/// What a canceled backup waits for storage to end a file (rules.md 2.8: a canceled job ends within 8 s).
const GIVE_UP_AFTER: Duration = Duration::from_secs(5);

/// Whole encoded records on their way to a file.
#[derive(Debug)]
pub struct Block {
    /// The text.
    pub bytes: Vec<u8>,
    /// Records in it.
    pub records: u64,
    /// Records that came before its end and that the format cannot hold.
    pub left_out: u64,
    /// What it adds to what is covered; nothing where nobody notes it. A block without text may have one.
    pub advance: Advance,
}

/// The folder of one namespace while its files are written; shared by all writers.
#[derive(Debug)]
pub struct Folder {
    storage: Arc<dyn Storage>,
    path: String,
    namespace: String,
    file_limit_bytes: u64,
    zstd_level: Option<i32>,
    cipher: Option<FileCipher>,
    /// Counts the files of this folder, whoever writes them (asb.md 4.2).
    counter: AtomicU64,
    /// Whether `# first-file` is still to be given away (asb.md 1.4).
    first: AtomicBool,
    checkpoint: Option<Arc<dyn Checkpoint>>,
}

impl Folder {
    /// A folder of `storage` without files, but those that are kept.
    pub fn new(storage: Arc<dyn Storage>, path: &str, read: &NamespaceRead) -> Self {
        let checkpoint = read.checkpoint.clone();
        let kept = checkpoint.as_ref().map(|checkpoint| checkpoint.kept()).unwrap_or_default();
        Self {
            storage,
            path: path.to_owned(),
            namespace: read.namespace.clone(),
            file_limit_bytes: read.file_limit_bytes,
            zstd_level: read.zstd_level,
            cipher: read.cipher.clone(),
            counter: AtomicU64::new(kept.len() as u64),
            first: AtomicBool::new(!kept.iter().any(|finished| finished.first)),
            checkpoint,
        }
    }

    /// No file of an earlier read in this folder has the name, also none that lands late (rules.md 3.9).
    fn named(&self, name: &str) -> String {
        asb::in_series(name, self.checkpoint.as_ref().map_or(0, |checkpoint| checkpoint.series()))
    }

    fn next_number(&self) -> u64 {
        self.counter.fetch_add(1, Ordering::SeqCst) + 1
    }

    async fn open(&self, name: String, metadata: bool, version: Version) -> Result<OpenFile> {
        let object = self.storage.create(&format!("{}/{name}", self.path)).await?;
        let compressor = self.zstd_level.map(Compressor::new).transpose().map_err(compression)?;
        let mut pending = Vec::new();
        // ThreadRng is a cryptographic generator, seeded by the system.
        let encryptor =
            self.cipher.as_ref().map(|cipher| Encryptor::start(cipher, rand::random(), &mut pending));
        let mut file = OpenFile {
            name,
            metadata,
            object,
            compressor,
            encryptor,
            hasher: BlockHasher::new(),
            pending,
            stored: 0,
            records: 0,
            first: self.first.swap(false, Ordering::SeqCst),
        };
        file.hash_from(0);
        let mut header = Vec::new();
        let first = file.first;
        Encoder::file_header(&mut header, self.namespace.as_bytes(), first, version);
        file.append(&header)?;
        Ok(file)
    }

    /// Writes the one file that holds indexes and UDFs; `text` is their encoded form.
    pub async fn write_metadata(&self, text: &[u8], version: Version) -> Result<WrittenFile> {
        let name = self.named(&asb::metadata_file_name(&self.namespace, self.next_number()));
        let mut file = self.open(name, true, version).await?;
        file.append(text)?;
        file.flush().await?;
        file.finish().await
    }

    /// Writes the blocks of one channel into files, one after the other, until the channel closes.
    ///
    /// Blocks its thread; `cancel` ends it with the open file thrown away.
    pub fn write_blocks(
        &self,
        writer: usize,
        mut blocks: mpsc::Receiver<Block>,
        watch: &dyn Watch,
        cancel: &CancellationToken,
        runtime: &Handle,
    ) -> Result<Vec<WrittenFile>> {
        let mut writing = Writing { folder: self, cancel, runtime, noting: Noting::default() };
        let mut open: Option<OpenFile> = None;
        while let Some(block) = blocks.blocking_recv() {
            if block.bytes.is_empty() {
                writing.noting.add(&block);
                continue;
            }
            let mut file = if let Some(file) = open.take() {
                file
            } else {
                let name = self.named(&asb::data_file_name(writer, &self.namespace, self.next_number()));
                runtime.block_on(unless_canceled(cancel, self.open(name, false, Version::V3_1)))?
            };
            if cancel.is_cancelled() {
                return Err(writing.cut_off(file));
            }
            let (before, records) = (file.stored, block.records);
            if let Err(error) = writing.write(&mut file, block) {
                runtime.block_on(file.abort());
                return Err(error);
            }
            watch.done(records, file.stored - before);
            if self.file_limit_bytes > 0 && file.stored >= self.file_limit_bytes {
                writing.close(file)?;
            } else {
                open = Some(file);
            }
        }
        if let Some(file) = open {
            if cancel.is_cancelled() {
                return Err(writing.cut_off(file));
            }
            writing.close(file)?;
        }
        Ok(writing.noting.files)
    }
}

/// What one writer has closed, and what it has to say of that.
#[derive(Default)]
struct Noting {
    files: Vec<WrittenFile>,
    /// Since the last file that was closed.
    advance: Advance,
    left_out: u64,
    /// Closed, but the store could not be written: noted with the next one.
    late: Vec<FinishedFile>,
}

impl Noting {
    fn add(&mut self, block: &Block) {
        self.advance.add(&block.advance);
        self.left_out += block.left_out;
    }
}

/// One writer at its files.
struct Writing<'a> {
    folder: &'a Folder,
    cancel: &'a CancellationToken,
    runtime: &'a Handle,
    noting: Noting,
}

impl Writing<'_> {
    fn write(&mut self, file: &mut OpenFile, block: Block) -> Result<()> {
        self.noting.add(&block);
        let patient = self.folder.checkpoint.as_ref().is_some_and(|checkpoint| checkpoint.is_of_use());
        file.write_block(block, self.cancel, patient, self.runtime)
    }

    /// Closes a file, and notes it where that is asked for.
    fn close(&mut self, file: OpenFile) -> Result<()> {
        let first = file.first;
        let file = self.runtime.block_on(file.close(self.cancel))?;
        let Some(checkpoint) = &self.folder.checkpoint else {
            self.noting.files.push(file);
            return Ok(());
        };
        self.noting.files.push(file.clone());
        let advance = std::mem::take(&mut self.noting.advance);
        let unsupported = std::mem::take(&mut self.noting.left_out);
        self.noting.late.push(FinishedFile { file, first, unsupported, advance });
        match self.runtime.block_on(checkpoint.note(&self.noting.late)) {
            Ok(()) => self.noting.late.clear(),
            // It is only about what another read could leave out; those after it wait for it.
            Err(error) if error.is_temporary() => {
                tracing::warn!(
                    folder = self.folder.path,
                    reason = error.report(),
                    "finished files are not noted yet"
                );
            }
            Err(error) => return Err(error),
        }
        Ok(())
    }

    /// The read has ended early: the open file is thrown away, or closed for another read to go on from.
    fn cut_off(&mut self, file: OpenFile) -> Error {
        let of_use = self.folder.checkpoint.as_ref().is_some_and(|checkpoint| checkpoint.is_of_use());
        if !of_use || file.records == 0 {
            self.runtime.block_on(file.abort());
        } else if let Err(error) = self.close(file) {
            tracing::warn!(
                folder = self.folder.path,
                reason = error.report(),
                "a file could not be closed in time"
            );
        }
        canceled()
    }
}

/// One file that is not closed yet.
struct OpenFile {
    name: String,
    metadata: bool,
    object: Box<dyn ObjectWriter>,
    compressor: Option<Compressor>,
    encryptor: Option<Encryptor>,
    hasher: BlockHasher,
    /// Stored bytes not handed over yet.
    pending: Vec<u8>,
    stored: u64,
    records: u64,
    /// Whether it is marked as the first of the backup.
    first: bool,
}

impl OpenFile {
    /// `patient`: a cancel leaves storage a while to take the bytes, so that the file can still be closed.
    fn write_block(
        &mut self,
        block: Block,
        cancel: &CancellationToken,
        patient: bool,
        runtime: &Handle,
    ) -> Result<()> {
        self.records += block.records;
        let is_piece = self.pending.is_empty() && block.bytes.len() >= PIECE_BYTES;
        if is_piece && self.compressor.is_none() && self.encryptor.is_none() {
            self.pending = block.bytes;
            self.hash_from(0);
        } else {
            self.append(&block.bytes)?;
        }
        if self.pending.len() >= PIECE_BYTES {
            if patient {
                runtime.block_on(with_patience(cancel, self.flush()))?;
            } else {
                runtime.block_on(unless_canceled(cancel, self.flush()))?;
            }
        }
        Ok(())
    }

    /// Adds text; it becomes stored bytes here.
    fn append(&mut self, text: &[u8]) -> Result<()> {
        let before = self.pending.len();
        if self.pending.capacity() == 0 {
            self.pending.reserve(PENDING_BYTES);
        }
        match &mut self.compressor {
            Some(compressor) => compressor.push(text, &mut self.pending).map_err(compression)?,
            None => self.pending.extend_from_slice(text),
        }
        if let Some(encryptor) = &mut self.encryptor {
            encryptor.push(&mut self.pending, before);
        }
        self.hash_from(before);
        Ok(())
    }

    fn hash_from(&mut self, start: usize) {
        let added = self.pending.get(start..).unwrap_or_default();
        self.hasher.update(added);
        self.stored += added.len() as u64;
    }

    async fn flush(&mut self) -> Result<()> {
        if self.pending.is_empty() {
            return Ok(());
        }
        let piece = std::mem::take(&mut self.pending);
        self.object.write(Bytes::from(piece)).await
    }

    /// Once canceled it still gets `GIVE_UP_AFTER`: a file that lands after its folder was removed would stay.
    async fn close(self, cancel: &CancellationToken) -> Result<WrittenFile> {
        with_patience(cancel, self.finish()).await
    }

    async fn finish(mut self) -> Result<WrittenFile> {
        let before = self.pending.len();
        if let Some(compressor) = self.compressor.take() {
            compressor.finish(&mut self.pending).map_err(compression)?;
        }
        if let Some(mut encryptor) = self.encryptor.take() {
            encryptor.push(&mut self.pending, before);
            encryptor.finish(&mut self.pending);
        }
        self.hash_from(before);
        self.flush().await?;
        let bytes = self.object.finish().await?;
        let hashes = self.hasher.finish();
        if bytes != hashes.size {
            return Err(Error::temporary(
                "storage-short-write",
                format!("{}: storage holds {bytes} bytes of {}", self.name, hashes.size),
            ));
        }
        Ok(WrittenFile { name: self.name, records: self.records, metadata: self.metadata, hashes })
    }

    async fn abort(self) {
        let problem = match tokio::time::timeout(GIVE_UP_AFTER, self.object.abort()).await {
            Ok(Ok(())) => return,
            Ok(Err(error)) => error.report(),
            Err(_) => "storage did not answer".to_owned(),
        };
        tracing::warn!(file = self.name, problem, "could not discard an unfinished file");
    }
}

/// Waits for `work`, once canceled for [`GIVE_UP_AFTER`] at most.
async fn with_patience<T>(cancel: &CancellationToken, work: impl Future<Output = Result<T>>) -> Result<T> {
    let too_late = async {
        cancel.cancelled().await;
        tokio::time::sleep(GIVE_UP_AFTER).await;
    };
    tokio::select! {
        done = work => done,
        () = too_late => Err(canceled()),
    }
}

fn canceled() -> Error {
    Error::temporary("canceled", "the backup was canceled")
}

fn compression(error: std::io::Error) -> Error {
    Error::permanent("compression", "compress a file").source(error)
}
