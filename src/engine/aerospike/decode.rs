//! One file on its way back: storage → hash → decipher → decompress → decode.
//!
//! Where its block hashes are known, no byte goes on before its block is what was written: nothing of a damaged block
//! reaches a cluster.

use std::collections::VecDeque;
use std::io::{self, Read};
use std::sync::Arc;

use bytes::{Buf, Bytes};
use tokio::runtime::Handle;
use tokio_util::sync::CancellationToken;

use super::elsewhere::Reading;
use crate::asb::cipher::{Opened, UnlockError};
use crate::asb::{
    BLOCK_BYTES, BlockHasher, DecodeError, Decoder, Decompressor, FileHeader, Item, StoredForm,
};
use crate::engine::{FileToRead, Watch};
use crate::error::{Error, Result};
use crate::storage::{ObjectReader, Storage};
use crate::tasks::unless_canceled;

const DAMAGED: &str = "file-damaged";

/// Where and how the items of files are read; all readers of one member share it.
#[derive(Clone)]
pub struct FileSource {
    /// The storage.
    pub storage: Arc<dyn Storage>,
    /// Drives the storage from blocking threads.
    pub runtime: Handle,
    /// Ends a read, also one that waits for storage.
    pub cancel: CancellationToken,
    /// Is told of the stored bytes as they are read.
    pub watch: Option<Arc<dyn Watch>>,
}

impl FileSource {
    /// The header of a file. Blocks its thread.
    ///
    /// Errors: `file-damaged`, `wrong-key`, `encryption-key-missing`; `canceled`; those of storage, untouched.
    pub fn header(&self, file: &FileToRead) -> Result<FileHeader> {
        let mut stored = self.open(file, &[])?;
        let header = header(file, &mut stored);
        // What storage said comes first: the decoder knows only that the text went no further.
        stored.take_error().map_or(Ok(()), Err)?;
        header
    }

    /// Hands every item of a file to `visit`; gives the stored bytes read. Blocks its thread.
    ///
    /// Errors: `file-damaged` names the file and where it differs; `wrong-key`; `encryption-key-missing`; `canceled`;
    /// those of storage and of `visit`, untouched.
    pub fn read(&self, file: &FileToRead, visit: &mut dyn FnMut(Item<'_>) -> Result<()>) -> Result<u64> {
        let mut stored = self.open(file, &file.blocks)?;
        let size = stored.reader.size_bytes();
        if size != file.size {
            return Err(damaged(file, &format!("it has {size} bytes, {} were expected", file.size)));
        }
        if file.size == 0 {
            tracing::warn!(file = file.key, "an empty file is passed over");
            return Ok(0);
        }
        let outcome = visit_stored(file, &mut stored, visit);
        stored.take_error().map_or(Ok(()), Err)?;
        match outcome {
            Ok(()) => stored.read_to_end(),
            // Which block differs from its checksum says more than what the decoder stumbled over.
            Err(error) if file.root.is_some() && error.code() == DAMAGED => {
                stored.read_to_end().and(Err(error))
            }
            Err(error) => Err(error),
        }
    }

    /// Reads the stored bytes of a file and compares them, whatever they are; gives their number. Blocks its thread.
    ///
    /// Errors: `file-damaged`; `canceled`; those of storage, untouched.
    pub fn read_stored(&self, file: &FileToRead) -> Result<u64> {
        self.open(file, &file.blocks)?.read_to_end()
    }

    fn open<'a>(&'a self, file: &'a FileToRead, blocks: &'a [[u8; 32]]) -> Result<Stored<'a>> {
        let (from, reader) = Reading::open(self, file)?;
        Ok(Stored {
            reader,
            from,
            source: self,
            file,
            blocks,
            hasher: BlockHasher::new(),
            waiting: VecDeque::new(),
            taken: 0,
            ended: false,
            current: Bytes::new(),
            error: None,
        })
    }
}

fn header(file: &FileToRead, stored: &mut Stored<'_>) -> Result<FileHeader> {
    let opened = unlock(file, stored)?;
    let header = if opened.form == StoredForm::Zstd {
        let text = Decompressor::new(opened.text).map_err(|error| storage_error(file, &error))?;
        Decoder::open(text).map(|decoder| decoder.header().clone())
    } else {
        Decoder::open(opened.text).map(|decoder| decoder.header().clone())
    };
    header.map_err(|error| damaged(file, &with_cause(&error)))
}

fn visit_stored(
    file: &FileToRead,
    stored: &mut Stored<'_>,
    visit: &mut dyn FnMut(Item<'_>) -> Result<()>,
) -> Result<()> {
    let opened = unlock(file, stored)?;
    if opened.form == StoredForm::Zstd {
        let text = Decompressor::new(opened.text).map_err(|error| storage_error(file, &error))?;
        return visit_items(file, text, visit);
    }
    visit_items(file, opened.text, visit)
}

/// Reads the first bytes, and deciphers from there on.
fn unlock<'s, 'f>(file: &FileToRead, stored: &'s mut Stored<'f>) -> Result<Opened<&'s mut Stored<'f>>> {
    file.unlock.open(stored).map_err(|error| match error {
        UnlockError::NoKey => no_key(&format!("file {}", file.key)),
        // Its first block was compared: what comes out is wrong because of the key alone.
        UnlockError::NoText if file.root.is_some() && !file.blocks.is_empty() => {
            wrong_key(file, &UnlockError::WrongKey)
        }
        UnlockError::WrongKey | UnlockError::NoText => wrong_key(file, &error),
        UnlockError::Read(error) => storage_error(file, &error),
        UnlockError::Damaged(what) => damaged(file, &what),
    })
}

/// Something is encrypted, and nobody said where the key is.
pub fn no_key(what: &str) -> Error {
    Error::permanent("encryption-key-missing", format!("{what} is encrypted, and no key was given")).hint(
        "Name the key with encryption.key-file, key-env or key-secret: in a restore's policy, or in the policy of the \
         routine.",
    )
}

fn wrong_key(file: &FileToRead, why: &UnlockError) -> Error {
    Error::permanent("wrong-key", format!("file {}: {why}", file.key)).hint(WRONG_KEY_HINT)
}

/// What to do about a wrong key.
pub const WRONG_KEY_HINT: &str = "Name the key that the backup was made with; the data may be whole.";

fn visit_items(
    file: &FileToRead,
    text: impl Read,
    visit: &mut dyn FnMut(Item<'_>) -> Result<()>,
) -> Result<()> {
    let mut decoder = match Decoder::open(text) {
        Ok(decoder) => decoder,
        // Compressed or not, a file of nothing is one that nothing was written to (asb.md 1.1).
        Err(DecodeError::Empty) => {
            tracing::warn!(file = file.key, "a file without text is passed over");
            return Ok(());
        }
        Err(error) => return Err(damaged(file, &with_cause(&error))),
    };
    while let Some(item) = decoder.next_item().map_err(|error| damaged(file, &with_cause(&error)))? {
        visit(item)?;
    }
    Ok(())
}

/// With what zstd or the cipher said below.
fn with_cause(error: &DecodeError) -> String {
    match std::error::Error::source(error) {
        Some(cause) => format!("{error}: {cause}"),
        None => error.to_string(),
    }
}

/// The stored bytes of a file, hashed as they pass, and held back until their block is whole and compared.
struct Stored<'a> {
    reader: Box<dyn ObjectReader>,
    from: Reading<'a>,
    source: &'a FileSource,
    file: &'a FileToRead,
    /// What each block is to hash to; empty where that is not known, and then nothing is held back.
    blocks: &'a [[u8; 32]],
    hasher: BlockHasher,
    /// Read and hashed: at most one block, and what came with its end.
    waiting: VecDeque<Bytes>,
    /// How many bytes went on.
    taken: u64,
    ended: bool,
    current: Bytes,
    /// What storage said, kept whole: `Read` can only carry an `io::Error`.
    error: Option<Error>,
}

impl Stored<'_> {
    fn fill(&mut self) -> io::Result<()> {
        while self.current.is_empty() {
            if let Some(bytes) = self.take_compared() {
                self.current = bytes;
            } else if self.ended {
                break;
            } else if let Err(error) = self.read_on().or_else(|error| self.read_elsewhere(error)) {
                let text = error.to_string();
                self.error = Some(error);
                return Err(io::Error::other(text));
            }
        }
        Ok(())
    }

    /// The next bytes that may go on.
    fn take_compared(&mut self) -> Option<Bytes> {
        let whole = if self.blocks.is_empty() { u64::MAX } else { self.hasher.in_blocks() };
        let first = self.waiting.front_mut()?;
        let length = usize::try_from(whole - self.taken).map_or(first.len(), |free| free.min(first.len()));
        let bytes = first.split_to(length);
        if first.is_empty() {
            self.waiting.pop_front();
        }
        self.taken += length as u64;
        (length > 0).then_some(bytes)
    }

    /// Reads the next bytes from storage, and compares the blocks that they complete.
    fn read_on(&mut self) -> Result<()> {
        let compared = self.hasher.blocks().len();
        let (reader, cancel) = (&mut self.reader, &self.source.cancel);
        if let Some(bytes) = self.source.runtime.block_on(unless_canceled(cancel, reader.next()))? {
            if let Some(watch) = &self.source.watch {
                watch.done(0, bytes.len() as u64);
            }
            self.hasher.update(&bytes);
            self.waiting.push_back(bytes);
        } else {
            self.ended = true;
            self.hasher.end();
        }
        let expected = self.blocks.iter().skip(compared);
        match expected.zip(self.hasher.blocks().iter().skip(compared)).position(|(a, b)| a != b) {
            Some(block) => Err(damaged(self.file, &differing_block(compared + block))),
            None if self.ended && self.hasher.blocks().len() < self.blocks.len() => {
                let (size, expected) = (self.hasher.in_blocks(), self.file.size);
                Err(damaged(self.file, &format!("it ends after {size} of {expected} bytes")))
            }
            None => Ok(()),
        }
    }

    /// Goes on in another storage at the first byte that was not compared.
    fn read_elsewhere(&mut self, error: Error) -> Result<()> {
        if self.blocks.is_empty() {
            return Err(error);
        }
        // What was compared has gone on before more was read.
        let (reader, more) = self.from.go_on(error, self.taken)?;
        self.reader = reader;
        self.ended = false;
        self.hasher.back_to(self.taken);
        self.waiting.clear();
        if !more.is_empty() {
            self.hasher.update(&more);
            self.waiting.push_back(more);
        }
        Ok(())
    }

    fn take_error(&mut self) -> Option<Error> {
        self.error.take()
    }

    /// Reads what is left and compares all of it; gives the bytes read.
    fn read_to_end(mut self) -> Result<u64> {
        let copied = io::copy(&mut self, &mut io::sink());
        self.take_error().map_or(Ok(()), Err)?;
        copied.map_err(|error| storage_error(self.file, &error))?;
        self.verify()
    }

    /// Compares what was read with what the manifest names; gives the bytes read.
    fn verify(self) -> Result<u64> {
        let file = self.file;
        let hashes = self.hasher.finish();
        if hashes.size != file.size {
            return Err(damaged(file, &format!("it ends after {} of {} bytes", hashes.size, file.size)));
        }
        if file.root.is_some_and(|root| root != hashes.root) {
            return Err(damaged(file, "its checksum is not that of its manifest"));
        }
        Ok(hashes.size)
    }
}

impl Read for Stored<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.fill()?;
        let length = buffer.len().min(self.current.len());
        if let Some(target) = buffer.get_mut(..length) {
            self.current.copy_to_slice(target);
        }
        Ok(length)
    }
}

fn differing_block(block: usize) -> String {
    let from = block as u64 * BLOCK_BYTES as u64;
    format!("block {block}, from byte {from} on, does not have the checksum of its manifest")
}

pub(super) fn damaged(file: &FileToRead, what: &str) -> Error {
    Error::permanent(DAMAGED, format!("file {}: {what}", file.key))
        .hint("Restore from another backup, or from a copy of this one.")
}

fn storage_error(file: &FileToRead, error: &io::Error) -> Error {
    damaged(file, &error.to_string())
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::asb::cipher::Unlock;
    use crate::asb::{Encoder, Version};
    use crate::storage::LocalStorage;
    use crate::storage::faulty::{Fault, Faulty, Op};

    struct Bench {
        _dir: tempfile::TempDir,
        storage: Arc<Faulty>,
        source: FileSource,
    }

    async fn bench() -> Bench {
        let dir = tempfile::tempdir().unwrap();
        let local = LocalStorage::create(dir.path()).await.unwrap();
        let storage = Arc::new(Faulty::new(Arc::new(local)));
        let source = FileSource {
            storage: Arc::clone(&storage) as _,
            runtime: Handle::current(),
            cancel: CancellationToken::new(),
            watch: None,
        };
        Bench { _dir: dir, storage, source }
    }

    impl Bench {
        async fn put(&self, bytes: &[u8], hashed: &[u8]) -> FileToRead {
            self.storage.put("f.asb", Bytes::copy_from_slice(bytes)).await.unwrap();
            let mut hasher = BlockHasher::new();
            hasher.update(hashed);
            let hashes = hasher.finish();
            let (root, blocks) = (Some(hashes.root), Arc::new(hashes.blocks));
            let unlock = Unlock::default();
            let key = "f.asb".to_owned();
            FileToRead { key, size: bytes.len() as u64, root, blocks, unlock, copies: None }
        }

        async fn read(&self, file: &FileToRead) -> Result<u64> {
            let (source, file) = (self.source.clone(), file.clone());
            crate::tasks::blocking(move || source.read(&file, &mut |_| Ok(()))).await
        }

        async fn header(&self, file: &FileToRead) -> Result<FileHeader> {
            let (source, file) = (self.source.clone(), file.clone());
            crate::tasks::blocking(move || source.header(&file)).await
        }
    }

    fn text() -> Vec<u8> {
        let mut text = Vec::new();
        Encoder::file_header(&mut text, b"ns", true, Version::V3_1);
        text
    }

    #[tokio::test]
    async fn the_damaged_block_is_named_before_what_the_decoder_stumbled_over() {
        let bench = bench().await;
        let good = text();
        let mut bad = good.clone();
        bad.extend_from_slice(b"nonsense");
        let file = bench.put(&bad, &[good.as_slice(), b"not this"].concat()).await;
        let error = bench.read(&file).await.unwrap_err();
        assert_eq!(error.code(), DAMAGED);
        assert!(error.to_string().contains("block 0"), "{error}");
        // What was written is what is there: then only the decoder knows what is wrong with it.
        let file = bench.put(&bad, &bad).await;
        let error = bench.read(&file).await.unwrap_err();
        assert!(error.code() == DAMAGED && !error.to_string().contains("checksum"), "{error}");
        let file = bench.put(&good, &good).await;
        assert_eq!(bench.read(&file).await.unwrap(), good.len() as u64);
    }

    /// The number of items that came out, and how it ended.
    async fn items(bench: &Bench, file: &FileToRead) -> (usize, Result<u64>) {
        let (source, file) = (bench.source.clone(), file.clone());
        let counted = crate::tasks::blocking(move || {
            let mut items = 0;
            let ended = source.read(&file, &mut |_| {
                items += 1;
                Ok(())
            });
            Ok((items, ended))
        });
        counted.await.unwrap()
    }

    #[tokio::test]
    async fn nothing_of_a_damaged_block_comes_out() {
        const LINE: &[u8] = b"* i ns set name N 1 bin N\n";
        let bench = bench().await;
        let mut good = text();
        while good.len() < 2 * BLOCK_BYTES {
            good.extend_from_slice(LINE);
        }
        let file = bench.put(&good, &good).await;
        let (all, ended) = items(&bench, &file).await;
        assert_eq!(ended.unwrap(), good.len() as u64);
        assert_eq!(all, (good.len() - text().len()) / LINE.len());

        for (block, at) in [(0, 100), (1, 2 * BLOCK_BYTES - 100), (2, good.len() - 1)] {
            let mut bad = good.clone();
            bad[at] ^= 1;
            let (found, ended) = items(&bench, &bench.put(&bad, &good).await).await;
            let error = ended.unwrap_err();
            assert!(error.to_string().contains(&format!("block {block},")), "{error}");
            let before = (block * BLOCK_BYTES).saturating_sub(text().len()) / LINE.len();
            assert!(found == before, "{found} items, {before} lie before block {block}");
        }
    }

    #[tokio::test]
    async fn what_storage_says_and_a_cancel_are_not_damage() {
        let bench = bench().await;
        let good = text();
        let file = bench.put(&good, &good).await;
        assert_eq!(bench.header(&file).await.unwrap().namespace, b"ns");
        for op in [Op::Open, Op::Next] {
            bench.storage.fail(Fault::nth(op, 1));
            assert!(bench.header(&file).await.unwrap_err().is_temporary());
            bench.storage.fail(Fault::nth(op, 1));
            assert!(bench.read(&file).await.unwrap_err().is_temporary());
        }
        bench.source.cancel.cancel();
        assert_eq!(bench.header(&file).await.unwrap_err().code(), "canceled");
        assert_eq!(bench.read(&file).await.unwrap_err().code(), "canceled");
    }
}
