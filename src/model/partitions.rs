//! Stand-in for the partition set.

/// Number of partitions of a namespace.
pub const PARTITIONS: u16 = 4096;

/// A set of partitions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PartitionSet([u64; 64]);

impl PartitionSet {
    /// All 4096.
    pub fn all() -> Self {
        Self([u64::MAX; 64])
    }
    /// None.
    pub fn empty() -> Self {
        Self([0; 64])
    }
    /// Adds one.
    pub fn insert(&mut self, pid: u16) {
        if let Some(word) = self.0.get_mut(usize::from(pid / 64)) {
            *word |= 1 << (pid % 64);
        }
    }
    /// In order.
    pub fn iter(&self) -> impl Iterator<Item = u16> + '_ {
        (0..PARTITIONS)
            .filter(|pid| self.0.get(usize::from(pid / 64)).is_some_and(|w| w >> (pid % 64) & 1 == 1))
    }
}

/// The partition of a digest (asb.md 4.5).
pub fn partition_of(digest: &[u8; 20]) -> u16 {
    let [a, b, ..] = *digest;
    u16::from_le_bytes([a, b]) & 0x0FFF
}
