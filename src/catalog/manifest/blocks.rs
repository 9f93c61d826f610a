//! `blocks.b3`: the raw 32-byte BLAKE3 hashes of each 4 MiB block of every file, in the manifest's order, streamed
//! (rules.md 3.11).

use bytes::{Bytes, BytesMut};

use super::{Manifest, ManifestFile};
use crate::asb;
use crate::catalog::layout::BLOCKS;
use crate::error::{Error, Result};
use crate::model::hex;
use crate::storage::{ObjectReader, ObjectWriter, Storage, join};

/// What one hash covers.
pub const BLOCK_BYTES: u64 = asb::BLOCK_BYTES as u64;

const HASH_BYTES: usize = 32;

/// How many hashes a file of this size has.
pub const fn block_count(size_bytes: u64) -> u64 {
    size_bytes.div_ceil(BLOCK_BYTES)
}

/// A hash as the manifest prints it.
pub fn hash_hex(hash: [u8; 32]) -> String {
    hex(&hash)
}

/// Writes `blocks.b3` while files are finished: the order of the calls must be the manifest's order of files.
pub struct BlocksWriter {
    writer: Box<dyn ObjectWriter>,
    blocks: u64,
}

impl BlocksWriter {
    /// Starts the file in a backup's folder.
    pub async fn create(storage: &dyn Storage, folder: &str) -> Result<Self> {
        Ok(Self { writer: storage.create(&join(folder, BLOCKS)).await?, blocks: 0 })
    }

    /// Appends the block hashes of the next file.
    pub async fn push(&mut self, hashes: &[[u8; 32]]) -> Result<()> {
        self.blocks += hashes.len() as u64;
        self.writer.write(Bytes::copy_from_slice(hashes.as_flattened())).await
    }

    /// How many hashes were appended.
    pub fn blocks(&self) -> u64 {
        self.blocks
    }

    /// Makes the file durable.
    pub async fn finish(self) -> Result<()> {
        self.writer.finish().await.map(|_| ())
    }

    /// Gives the file up.
    pub async fn abort(self) -> Result<()> {
        self.writer.abort().await
    }
}

/// Reads `blocks.b3` from its start, one hash at a time.
pub struct BlocksReader {
    reader: Box<dyn ObjectReader>,
    held: BytesMut,
    folder: String,
}

impl BlocksReader {
    /// Opens the file in a backup's folder; a size that the manifest does not ask for is an error.
    pub async fn open(storage: &dyn Storage, folder: &str, manifest: &Manifest) -> Result<Self> {
        let reader = storage.open(&join(folder, BLOCKS)).await?;
        let expected = manifest.block_count().saturating_mul(HASH_BYTES as u64);
        if reader.size_bytes() != expected {
            let size = reader.size_bytes();
            return Err(damaged(folder, &format!("has {size} bytes, its manifest asks for {expected}")));
        }
        Ok(Self { reader, held: BytesMut::new(), folder: folder.to_owned() })
    }

    /// The block hashes of the next file, which must be asked for in the manifest's order: 32 bytes for each 4 MiB.
    /// Hashes that do not make up the root in the manifest are an error.
    pub async fn next_file(&mut self, file: &ManifestFile) -> Result<Vec<[u8; 32]>> {
        let mut hashes = Vec::new();
        for _ in 0..block_count(file.size_bytes) {
            hashes.push(self.next_hash().await?);
        }
        if file.root() != Some(asb::root_of(&hashes)) {
            return Err(damaged(&self.folder, &format!("does not match the manifest for {:?}", file.name)));
        }
        Ok(hashes)
    }

    async fn next_hash(&mut self) -> Result<[u8; 32]> {
        while self.held.len() < HASH_BYTES {
            match self.reader.next().await? {
                Some(block) => self.held.extend_from_slice(&block),
                None => return Err(damaged(&self.folder, "ends too early")),
            }
        }
        let mut hash = [0; HASH_BYTES];
        hash.copy_from_slice(&self.held.split_to(HASH_BYTES));
        Ok(hash)
    }
}

fn damaged(folder: &str, problem: &str) -> Error {
    Error::permanent("backup-damaged", format!("{} {problem}", join(folder, BLOCKS)))
}
