//! BLAKE3 over each 4 MiB block of a stored file, so that damage has an address (rules.md 3.11).

/// Length of a block; the last of a file may be shorter, and an empty file has none.
pub const BLOCK_BYTES: usize = 4 << 20;

/// The hashes of a stored file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BlockHashes {
    /// BLAKE3 of each block, in order; `blocks.b3` holds them raw.
    pub blocks: Vec<[u8; 32]>,
    /// BLAKE3 of the concatenated block hashes: what the manifest names.
    pub root: [u8; 32],
    /// Length of the file in bytes.
    pub size: u64,
}

/// BLAKE3 of concatenated block hashes.
pub fn root_of(blocks: &[[u8; 32]]) -> [u8; 32] {
    *blake3::hash(blocks.as_flattened()).as_bytes()
}

/// Hashes a file as it is written. Holds 32 bytes per 4 MiB.
#[derive(Debug, Default)]
pub struct BlockHasher {
    block: blake3::Hasher,
    in_block: usize,
    blocks: Vec<[u8; 32]>,
    size: u64,
}

impl BlockHasher {
    /// At the start of a file.
    pub fn new() -> Self {
        Self::default()
    }

    /// The next stored bytes.
    pub fn update(&mut self, bytes: &[u8]) {
        let mut rest = bytes;
        while !rest.is_empty() {
            let (part, after) = rest.split_at(rest.len().min(BLOCK_BYTES - self.in_block));
            self.block.update(part);
            self.in_block += part.len();
            self.size += part.len() as u64;
            if self.in_block == BLOCK_BYTES {
                self.end_block();
            }
            rest = after;
        }
    }

    /// The hashes of the blocks that are complete so far.
    pub fn blocks(&self) -> &[[u8; 32]] {
        &self.blocks
    }

    /// How many of the bytes lie in those blocks.
    pub fn in_blocks(&self) -> u64 {
        self.size - self.in_block as u64
    }

    /// As after the first `size` bytes, at which a block ended.
    pub fn back_to(&mut self, size: u64) {
        self.blocks.truncate(usize::try_from(size / BLOCK_BYTES as u64).unwrap_or(usize::MAX));
        self.block.reset();
        self.in_block = 0;
        self.size = size;
    }

    /// The file ends here, with its last block.
    pub fn end(&mut self) {
        if self.in_block > 0 {
            self.end_block();
        }
    }

    /// The hashes of the whole file.
    pub fn finish(mut self) -> BlockHashes {
        self.end();
        BlockHashes { root: root_of(&self.blocks), blocks: self.blocks, size: self.size }
    }

    fn end_block(&mut self) {
        self.blocks.push(*self.block.finalize().as_bytes());
        self.block.reset();
        self.in_block = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::{BLOCK_BYTES, BlockHasher, BlockHashes};

    fn hash(bytes: &[u8], chunk: usize) -> BlockHashes {
        let mut hasher = BlockHasher::new();
        bytes.chunks(chunk).for_each(|part| hasher.update(part));
        hasher.finish()
    }

    fn file() -> Vec<u8> {
        (0..2 * BLOCK_BYTES + 1000).map(|at| (at % 253) as u8).collect()
    }

    #[test]
    fn blocks_and_root_are_plain_blake3() {
        let file = file();
        let hashes = hash(&file, 1_000_003);
        let blocks: Vec<[u8; 32]> =
            file.chunks(4 * 1024 * 1024).map(|block| *blake3::hash(block).as_bytes()).collect();
        assert_eq!(hashes.blocks, blocks);
        assert_eq!(hashes.blocks.len(), 3);
        assert_eq!(hashes.root, *blake3::hash(&blocks.concat()).as_bytes());
        assert_eq!(hashes.size, file.len() as u64);
        assert_eq!(hash(&file, file.len()), hashes);
    }

    #[test]
    fn what_was_read_wrongly_is_hashed_again_from_the_start_of_its_block() {
        let (file, mut hasher) = (file(), BlockHasher::new());
        hasher.update(&file[..BLOCK_BYTES]);
        hasher.update(&[7; 100]);
        hasher.end();
        hasher.back_to(BLOCK_BYTES as u64);
        hasher.update(&file[BLOCK_BYTES..]);
        assert_eq!(hasher.finish(), hash(&file, 4096));
    }

    #[test]
    fn a_file_of_whole_blocks_has_no_empty_one_and_an_empty_file_none() {
        assert_eq!(hash(&file()[..BLOCK_BYTES], 4096).blocks.len(), 1);
        let empty = BlockHasher::new().finish();
        assert_eq!((empty.blocks.len(), empty.size), (0, 0));
        assert_eq!(empty.root, *blake3::hash(b"").as_bytes());
    }
}
