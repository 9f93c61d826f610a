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

    /// The hashes of the whole file.
    pub fn finish(mut self) -> BlockHashes {
        if self.in_block > 0 {
            self.end_block();
        }
        BlockHashes { root: root_of(&self.blocks), blocks: self.blocks, size: self.size }
    }

    fn end_block(&mut self) {
        self.blocks.push(*self.block.finalize().as_bytes());
        self.block.reset();
        self.in_block = 0;
    }
}

/// Compares a file with its hashes as it is read, block by block.
#[derive(Debug)]
pub struct BlockChecker {
    expected: BlockHashes,
    hasher: BlockHasher,
    checked: usize,
    damaged: Vec<u64>,
}

/// What a comparison found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BlockCheck {
    /// Numbers of the blocks that differ or are missing, from 0, ascending; block `n` starts at byte `n` × 4 MiB.
    pub damaged: Vec<u64>,
    /// Length of the file when it was written, in bytes.
    pub size_expected: u64,
    /// Length of what was read, in bytes.
    pub size_found: u64,
    /// Whether the block hashes themselves match the root of the manifest.
    pub is_root_intact: bool,
}

impl BlockCheck {
    /// Whether the file is, byte for byte, the one that was written.
    pub fn is_whole(&self) -> bool {
        self.is_root_intact && self.damaged.is_empty() && self.size_expected == self.size_found
    }
}

impl BlockChecker {
    /// `expected` is what was kept: the blocks from `blocks.b3`, root and size from the manifest.
    pub fn new(expected: BlockHashes) -> Self {
        Self { expected, hasher: BlockHasher::new(), checked: 0, damaged: Vec::new() }
    }

    /// The next stored bytes. What [`Self::damaged`] says grows at the end of each block.
    pub fn update(&mut self, bytes: &[u8]) {
        // block by block, so that what lies beyond the expected end takes no memory
        let mut rest = bytes;
        while !rest.is_empty() {
            let (part, after) = rest.split_at(rest.len().min(BLOCK_BYTES - self.hasher.in_block));
            self.hasher.update(part);
            if self.hasher.in_block == 0 {
                self.compare();
            }
            rest = after;
        }
    }

    /// Numbers of the damaged blocks so far, from 0.
    pub fn damaged(&self) -> &[u64] {
        &self.damaged
    }

    /// The end of the file: its last block and its length.
    pub fn finish(mut self) -> BlockCheck {
        if self.hasher.in_block > 0 {
            self.hasher.end_block();
            self.compare();
        }
        self.damaged.extend(self.checked as u64..self.expected.blocks.len() as u64);
        BlockCheck {
            damaged: self.damaged,
            size_expected: self.expected.size,
            size_found: self.hasher.size,
            is_root_intact: root_of(&self.expected.blocks) == self.expected.root,
        }
    }

    /// Compares the block that just ended.
    fn compare(&mut self) {
        let found = self.hasher.blocks.pop();
        if let Some(expected) = self.expected.blocks.get(self.checked) {
            if found.as_ref() != Some(expected) {
                self.damaged.push(self.checked as u64);
            }
            self.checked += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{BLOCK_BYTES, BlockChecker, BlockHasher, BlockHashes};

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
    fn a_file_of_whole_blocks_has_no_empty_one_and_an_empty_file_none() {
        assert_eq!(hash(&file()[..BLOCK_BYTES], 4096).blocks.len(), 1);
        let empty = BlockHasher::new().finish();
        assert_eq!((empty.blocks.len(), empty.size), (0, 0));
        assert_eq!(empty.root, *blake3::hash(b"").as_bytes());
        assert!(BlockChecker::new(empty).finish().is_whole());
    }

    #[test]
    fn the_checker_names_the_block() {
        let good = file();
        let hashes = hash(&good, 1 << 20);
        let check = |bytes: &[u8]| {
            let mut checker = BlockChecker::new(hashes.clone());
            bytes.chunks(700_001).for_each(|part| checker.update(part));
            checker.finish()
        };
        assert!(check(&good).is_whole());

        let mut bad = good.clone();
        bad[BLOCK_BYTES] ^= 1;
        assert_eq!(check(&bad).damaged, [1]);
        bad[2 * BLOCK_BYTES + 999] ^= 1;
        assert_eq!(check(&bad).damaged, [1, 2]);

        let cut = check(&good[..BLOCK_BYTES + 5]);
        assert_eq!((cut.damaged, cut.size_found), (vec![1, 2], BLOCK_BYTES as u64 + 5));
        assert_eq!(check(&good[..BLOCK_BYTES]).damaged, [1, 2]);

        let longer = [&good[..], &vec![0; 2 * BLOCK_BYTES]].concat();
        assert_eq!(check(&longer).damaged, [2]);
        assert!(!check(&longer).is_whole());

        let mut forged = hashes.clone();
        forged.blocks[0][0] ^= 1;
        let mut checker = BlockChecker::new(forged);
        checker.update(&good);
        assert_eq!(checker.damaged(), [0]);
        assert!(!checker.finish().is_root_intact);
    }

    #[test]
    fn damage_is_known_when_its_block_ends() {
        let mut bad = file();
        let hashes = hash(&bad, 1 << 20);
        bad[3] ^= 1;
        let mut checker = BlockChecker::new(hashes);
        checker.update(&bad[..BLOCK_BYTES - 1]);
        assert!(checker.damaged().is_empty());
        checker.update(&bad[BLOCK_BYTES - 1..BLOCK_BYTES]);
        assert_eq!(checker.damaged(), [0]);
    }
}
