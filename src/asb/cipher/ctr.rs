//! The official construction: `E(K, IV)`, then the text under a 128-bit big-endian counter that starts at `IV + 1`.

use aes::cipher::{BlockCipherDecrypt, BlockCipherEncrypt, KeyInit, KeyIvInit, StreamCipher};
use aes::{Aes128, Aes256};
use ctr::Ctr128BE;

use super::CipherMode;

/// What stands in front of the text.
pub(super) const PREFIX_BYTES: usize = 16;

/// The key stream of one file.
pub(super) enum CtrStream {
    Aes128(Box<Ctr128BE<Aes128>>),
    Aes256(Box<Ctr128BE<Aes256>>),
}

impl std::fmt::Debug for CtrStream {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Aes128(_) => "CtrStream(AES-128)",
            Self::Aes256(_) => "CtrStream(AES-256)",
        })
    }
}

impl CtrStream {
    /// At the start of a file that is written: its prefix, and the stream behind it.
    pub(super) fn start(mode: CipherMode, key: &[u8; 32], iv: [u8; 16]) -> ([u8; PREFIX_BYTES], Self) {
        let mut prefix = iv.into();
        match mode {
            CipherMode::Aes128 => Aes128::new(&half(key).into()).encrypt_block(&mut prefix),
            _ => Aes256::new(&(*key).into()).encrypt_block(&mut prefix),
        }
        (prefix.into(), Self::behind(mode, key, iv))
    }

    /// At the start of a file that is read: the stream behind its prefix.
    pub(super) fn resume(mode: CipherMode, key: &[u8; 32], prefix: [u8; PREFIX_BYTES]) -> Self {
        let mut iv = prefix.into();
        match mode {
            CipherMode::Aes128 => Aes128::new(&half(key).into()).decrypt_block(&mut iv),
            _ => Aes256::new(&(*key).into()).decrypt_block(&mut iv),
        }
        Self::behind(mode, key, iv.into())
    }

    fn behind(mode: CipherMode, key: &[u8; 32], iv: [u8; 16]) -> Self {
        let first = u128::from_be_bytes(iv).wrapping_add(1).to_be_bytes();
        match mode {
            CipherMode::Aes128 => Self::Aes128(Box::new(Ctr128BE::new(&half(key).into(), &first.into()))),
            _ => Self::Aes256(Box::new(Ctr128BE::new(&(*key).into(), &first.into()))),
        }
    }

    /// Enciphers or deciphers the next bytes.
    pub(super) fn apply(&mut self, bytes: &mut [u8]) {
        match self {
            Self::Aes128(stream) => stream.apply_keystream(bytes),
            Self::Aes256(stream) => stream.apply_keystream(bytes),
        }
    }
}

/// The first half: AES-128 takes that of the hash.
pub(super) fn half(key: &[u8; 32]) -> [u8; 16] {
    let mut half = [0; 16];
    half.copy_from_slice(key.split_at(16).0);
    half
}
