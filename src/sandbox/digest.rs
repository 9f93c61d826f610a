//! Digests of keys and their partitions.

#![allow(clippy::indexing_slicing)] // constant indices into a 20-byte array

use ripemd::{Digest as _, Ripemd160};

use super::store::PARTITIONS;

/// The digest by which a record is addressed.
pub type Digest = [u8; 20];

/// RIPEMD-160 over the set name, the particle type of the key and the key's bytes.
pub fn digest_of(set: &[u8], key_kind: u8, key: &[u8]) -> Digest {
    let mut hasher = Ripemd160::new();
    hasher.update(set);
    hasher.update([key_kind]);
    hasher.update(key);
    hasher.finalize().into()
}

/// The partition of a digest: the low 12 bits of its first two bytes, little-endian.
pub fn partition_of(digest: &Digest) -> u16 {
    u16::from_le_bytes([digest[0], digest[1]]) & (PARTITIONS - 1)
}

#[cfg(test)]
mod tests {
    use super::{digest_of, partition_of};

    #[test]
    fn the_digest_is_that_of_the_official_client() {
        let key = aerospike::Key::new("test", "demo", aerospike::Value::Int(42)).unwrap();
        assert_eq!(digest_of(b"demo", 1, &42_i64.to_be_bytes()), key.digest());
        let key = aerospike::Key::new("test", "", aerospike::Value::from("k")).unwrap();
        assert_eq!(digest_of(b"", 3, b"k"), key.digest());
    }

    #[test]
    fn the_partition_has_twelve_bits() {
        let mut digest = [0xff; 20];
        assert_eq!(partition_of(&digest), 4095);
        digest[..2].copy_from_slice(&[0x01, 0xf0]);
        assert_eq!(partition_of(&digest), 1);
    }
}
