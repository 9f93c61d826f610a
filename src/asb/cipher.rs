//! Encryption of backup files (asb.md 3.3, rules.md 3.10): the official AES-CTR construction, and our own
//! AES256-GCM in chunks (docs/file-encryption.md).
//!
//! Compressed first, then enciphered, then hashed as stored. CTR has no integrity: hashes and a sealed manifest stand in for
//! it. Randomness is passed in.

mod ctr;
mod der;
mod gcm;
mod key;
mod open;

#[cfg(test)]
pub(crate) mod tests;

pub use self::key::{FileKey, KeyError};
pub use self::open::{Opened, Plaintext, Unlock, UnlockError};

use self::ctr::CtrStream;
use self::gcm::Sealer;

/// How files are enciphered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CipherMode {
    /// AES-128 in counter mode, as the official tools do it.
    Aes128,
    /// AES-256 in counter mode, as the official tools do it.
    Aes256,
    /// AES-256 in Galois/counter mode, in chunks: ours, not readable by the official tools.
    Aes256Gcm,
}

/// Mode and key by which files are written.
#[derive(Debug, Clone)]
pub struct FileCipher {
    /// The mode.
    pub mode: CipherMode,
    /// The key.
    pub key: FileKey,
}

/// Bytes of randomness that a file takes.
pub const RANDOM_BYTES: usize = 32;

/// Enciphers one file as it is written. A counter mode works in place; Galois/counter mode holds one chunk.
#[derive(Debug)]
pub struct Encryptor(Kind);

#[derive(Debug)]
enum Kind {
    Ctr(CtrStream),
    Gcm(Box<Sealer>),
}

impl Encryptor {
    /// Starts a file: appends what stands in front of its text. `random` must never come twice.
    pub fn start(cipher: &FileCipher, random: [u8; RANDOM_BYTES], out: &mut Vec<u8>) -> Self {
        let key = cipher.key.material();
        if cipher.mode == CipherMode::Aes256Gcm {
            return Self(Kind::Gcm(Box::new(Sealer::start(key, random, out))));
        }
        let (prefix, stream) = CtrStream::start(cipher.mode, key, ctr::half(&random));
        out.extend_from_slice(&prefix);
        Self(Kind::Ctr(stream))
    }

    /// Enciphers what stands in `out` from `from` on; some of it may be held back.
    pub fn push(&mut self, out: &mut Vec<u8>, from: usize) {
        match &mut self.0 {
            Kind::Ctr(stream) => stream.apply(out.get_mut(from..).unwrap_or_default()),
            Kind::Gcm(sealer) => sealer.push(out, from),
        }
    }

    /// Appends what was held back, and the mark of the end.
    pub fn finish(self, out: &mut Vec<u8>) {
        if let Kind::Gcm(sealer) = self.0 {
            sealer.finish(out);
        }
    }
}
