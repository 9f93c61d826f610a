//! The seal of a manifest: made with the key of the backup's files, so that whoever has the key sees every change of it, and
//! by its block hashes of every file (rules.md 3.11). A copy can still be compared with its hashes without the key.

use super::Manifest;
use crate::asb::FileKey;
use crate::catalog::Encryption;
use crate::error::Result;
use crate::model::hex;

/// What the sealed part of a document ends with; the seal and the last brace follow.
const BEFORE: &[u8] = b",\n  \"seal\": \"";
const BEHIND: &[u8] = b"\"\n}";
const HEX_BYTES: usize = 64;

/// Why a manifest is not vouched for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SealProblem {
    /// The files were encrypted with another key.
    #[error("it was encrypted with another key")]
    WrongKey,
    /// An encrypted backup of ours always has a seal.
    #[error("manifest.json has no seal, although its files are encrypted: it was changed")]
    Missing,
    /// Not what was sealed.
    #[error("manifest.json does not fit its seal: it was changed")]
    Broken,
}

impl Manifest {
    /// With a seal by this key, as it is about to be written.
    pub fn sealed(mut self, key: &FileKey) -> Result<Self> {
        self.seal = None;
        let json = self.to_json()?;
        let body = json.strip_suffix(b"\n}").unwrap_or(&json);
        let hash = *blake3::hash(body).as_bytes();
        self.seal = Some(hex(&key.seal(&hash)));
        self.sealed_hash = Some(hash);
        Ok(self)
    }

    /// Whether it is what was sealed with this key. A manifest of files that are not encrypted needs no seal.
    pub fn check_seal(&self, key: &FileKey) -> Result<(), SealProblem> {
        if self.encryption == Encryption::None && self.seal.is_none() {
            return Ok(());
        }
        if self.scope.key_id.as_ref().is_some_and(|id| *id != key.id()) {
            return Err(SealProblem::WrongKey);
        }
        let seal = self.seal.as_ref().ok_or(SealProblem::Missing)?;
        let hash = self.sealed_hash.ok_or(SealProblem::Broken)?;
        let given = blake3::Hash::from_hex(seal).map_err(|_| SealProblem::Broken)?;
        // Compared in constant time.
        if given == blake3::Hash::from(key.seal(&hash)) { Ok(()) } else { Err(SealProblem::Broken) }
    }
}

/// The hash of what a document's seal covers: the bytes before it. None if it does not end with a seal.
pub(super) fn sealed_hash(document: &[u8]) -> Option<[u8; 32]> {
    let rest = document.strip_suffix(BEHIND)?;
    let (rest, _) = rest.split_at_checked(rest.len().checked_sub(HEX_BYTES)?)?;
    Some(*blake3::hash(rest.strip_suffix(BEFORE)?).as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalog::testkit::Backup;

    fn key(byte: u8) -> FileKey {
        FileKey::of_hash([byte; 32])
    }

    fn manifest() -> Manifest {
        let mut manifest = Backup::full(1_700_000_000_000, "ns").manifest();
        manifest.encryption = Encryption::Aes256;
        manifest.scope.key_id = Some(key(1).id());
        manifest
    }

    #[test]
    fn a_sealed_manifest_comes_back_and_every_changed_byte_is_seen() {
        let sealed = manifest().sealed(&key(1)).unwrap();
        let json = sealed.to_json().unwrap();
        let read = Manifest::parse(&json).unwrap();
        assert_eq!(read, sealed);
        assert_eq!(read.check_seal(&key(1)), Ok(()));
        assert_eq!(read.check_seal(&key(2)), Err(SealProblem::WrongKey));
        let mut told = 0;
        for at in 0..json.len() {
            let mut changed = json.clone();
            changed[at] ^= 1;
            if let Ok(read) = Manifest::parse(&changed) {
                assert!(read.check_seal(&key(1)).is_err(), "byte {at}");
                told += 1;
            }
        }
        assert!(told > 100, "most changes leave a document that can be read: {told}");
    }

    #[test]
    fn a_seal_that_was_taken_away_is_missed_and_old_manifests_need_none() {
        let unsealed = manifest();
        let read = Manifest::parse(&unsealed.to_json().unwrap()).unwrap();
        assert_eq!(read.check_seal(&key(1)), Err(SealProblem::Missing));
        let plain = Backup::full(1_700_000_000_000, "ns").manifest();
        assert_eq!(plain.check_seal(&key(1)), Ok(()));
        assert!(!String::from_utf8(plain.to_json().unwrap()).unwrap().contains("seal\""));
        // A document that was rendered anew says the same, and is not what was sealed.
        let sealed = manifest().sealed(&key(1)).unwrap();
        let compact = serde_json::to_vec(&sealed).unwrap();
        assert_eq!(Manifest::parse(&compact).unwrap().check_seal(&key(1)), Err(SealProblem::Broken));
    }
}
