//! AES256-GCM in chunks: the format of docs/file-encryption.md, version 1.
//!
//! Each file has a key of its own, derived from the key and a random salt; the nonce of a chunk is its number and whether it
//! is the last. So a chunk that was moved, doubled, left out or changed, and a file that was cut or joined, are told.
#![allow(clippy::indexing_slicing)] // positions in the buffer are bounded by what was read into it

use std::io::{self, Read};

use aes_gcm::aead::inout::InOutBuf;
use aes_gcm::{AeadInOut, Aes256Gcm, KeyInit};

/// What a file begins with.
const MAGIC: &[u8; 8] = b"HFASBGCM";
/// The version that is written, and the only one that is read.
const VERSION: u8 = 1;
/// Chunks of 64 KiB, as a power of two.
const CHUNK_LOG: u8 = 16;
/// Chunks that are read: 4 KiB to 1 MiB.
const CHUNK_LOGS: std::ops::RangeInclusive<u8> = 12..=20;
/// Behind each chunk.
const TAG_BYTES: usize = 16;
/// In front of the chunks.
pub(super) const HEADER_BYTES: usize = 64;

const SALT: std::ops::Range<usize> = 16..48;
const KEY_CHECK: std::ops::Range<usize> = 48..64;
/// A checksum of the rest of the header, so that a damaged one is not taken for a wrong key.
const CHECK: std::ops::Range<usize> = 10..16;

/// Domains of what is derived for one file.
const FILE_KEY: &str = "holdfast 2026-11 AES256-GCM v1: key of a file";
const FILE_CHECK: &str = "holdfast 2026-11 AES256-GCM v1: check of a key";

/// A chunk that does not fit its place is compared with this many places to either side, to say what happened.
const PLACES_TRIED: u64 = 64;

/// Whether a file begins as one of these does.
pub(super) fn is_header(first: &[u8]) -> bool {
    first.starts_with(MAGIC)
}

/// Why a header cannot be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum HeaderProblem {
    /// Cut or changed.
    Damaged,
    /// Of a later program.
    Version(u8),
    /// Made with another key.
    WrongKey,
}

/// The key of one file and its check, by the key of files, the fixed part of the header and the salt.
fn derive(key: &[u8; 32], header: &[u8; HEADER_BYTES]) -> (Aes256Gcm, [u8; TAG_BYTES]) {
    let mut material = [0; 32 + 10 + 32];
    material[..32].copy_from_slice(key);
    material[32..42].copy_from_slice(&header[..CHECK.start]);
    material[42..].copy_from_slice(&header[SALT]);
    let mut check = [0; TAG_BYTES];
    check.copy_from_slice(&blake3::derive_key(FILE_CHECK, &material)[..TAG_BYTES]);
    let cipher = Aes256Gcm::new(&blake3::derive_key(FILE_KEY, &material).into());
    secrecy::zeroize::Zeroize::zeroize(&mut material);
    (cipher, check)
}

fn checksum(header: &[u8; HEADER_BYTES]) -> [u8; 6] {
    let mut hasher = blake3::Hasher::new();
    hasher.update(&header[..CHECK.start]).update(&header[CHECK.end..]);
    let mut check = [0; 6];
    check.copy_from_slice(&hasher.finalize().as_bytes()[..6]);
    check
}

fn nonce(number: u64, last: bool) -> [u8; 12] {
    let mut nonce = [0; 12];
    nonce[3..11].copy_from_slice(&number.to_be_bytes());
    nonce[11] = u8::from(last);
    nonce
}

/// Enciphers one file; holds up to one chunk, because only the end says which chunk is the last.
pub(super) struct Sealer {
    cipher: Aes256Gcm,
    held: Vec<u8>,
    number: u64,
}

impl std::fmt::Debug for Sealer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Sealer").field("number", &self.number).finish_non_exhaustive()
    }
}

impl Sealer {
    pub(super) fn start(key: &[u8; 32], salt: [u8; 32], out: &mut Vec<u8>) -> Self {
        let mut header = [0; HEADER_BYTES];
        header[..8].copy_from_slice(MAGIC);
        (header[8], header[9]) = (VERSION, CHUNK_LOG);
        header[SALT].copy_from_slice(&salt);
        let (cipher, check) = derive(key, &header);
        header[KEY_CHECK].copy_from_slice(&check);
        let sum = checksum(&header);
        header[CHECK].copy_from_slice(&sum);
        out.extend_from_slice(&header);
        Self { cipher, held: Vec::with_capacity(1 << CHUNK_LOG), number: 0 }
    }

    pub(super) fn push(&mut self, out: &mut Vec<u8>, from: usize) {
        self.held.extend_from_slice(out.get(from..).unwrap_or_default());
        out.truncate(from);
        let held = std::mem::take(&mut self.held);
        let mut rest = held.as_slice();
        while let Some((chunk, after)) =
            rest.split_at_checked(1 << CHUNK_LOG).filter(|(_, after)| !after.is_empty())
        {
            self.seal(chunk, false, out);
            rest = after;
        }
        self.held = if rest.len() == held.len() { held } else { rest.to_vec() };
    }

    pub(super) fn finish(mut self, out: &mut Vec<u8>) {
        let held = std::mem::take(&mut self.held);
        self.seal(&held, true, out);
    }

    fn seal(&mut self, chunk: &[u8], last: bool, out: &mut Vec<u8>) {
        let from = out.len();
        out.extend_from_slice(chunk);
        let nonce = nonce(self.number, last).into();
        // It fails for chunks above 64 GiB only.
        if let Ok(tag) = self.cipher.encrypt_inout_detached(&nonce, &[], InOutBuf::from(&mut out[from..])) {
            out.extend_from_slice(&tag);
        }
        self.number += 1;
    }
}

/// What a header and the right key give.
pub(super) struct HeaderKey {
    cipher: Aes256Gcm,
    chunk_bytes: usize,
}

/// Reads the header among the first bytes of a file, and compares the key with it.
pub(super) fn open_header(key: &[u8; 32], first: &[u8]) -> Result<HeaderKey, HeaderProblem> {
    let header: &[u8; HEADER_BYTES] = first.first_chunk().ok_or(HeaderProblem::Damaged)?;
    if checksum(header) != header[CHECK] {
        return Err(HeaderProblem::Damaged);
    }
    if header[8] != VERSION {
        return Err(HeaderProblem::Version(header[8]));
    }
    if !CHUNK_LOGS.contains(&header[9]) {
        return Err(HeaderProblem::Damaged);
    }
    let (cipher, check) = derive(key, header);
    if check != header[KEY_CHECK] {
        return Err(HeaderProblem::WrongKey);
    }
    Ok(HeaderKey { cipher, chunk_bytes: 1 << header[9] })
}

/// Deciphers one file behind its header; gives nothing of a chunk out before all of it was verified.
pub(super) struct Unsealer<R> {
    stored: R,
    cipher: Aes256Gcm,
    chunk_bytes: usize,
    buffer: Vec<u8>,
    /// Plain bytes in the buffer that were not given out yet.
    plain: std::ops::Range<usize>,
    /// Read to see whether there is another chunk.
    ahead: Option<u8>,
    number: u64,
    ended: bool,
}

impl<R> std::fmt::Debug for Unsealer<R> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Unsealer").field("number", &self.number).finish_non_exhaustive()
    }
}

impl<R: Read> Unsealer<R> {
    /// Behind the header of a file.
    pub(super) fn new(opened: HeaderKey, stored: R) -> Self {
        let HeaderKey { cipher, chunk_bytes } = opened;
        Self {
            stored,
            cipher,
            chunk_bytes,
            buffer: vec![0; chunk_bytes + TAG_BYTES + 1],
            plain: 0..0,
            ahead: None,
            number: 0,
            ended: false,
        }
    }

    /// Reads and verifies the next chunk.
    fn next_chunk(&mut self) -> io::Result<()> {
        let mut have = 0;
        if let Some(byte) = self.ahead.take() {
            self.buffer[0] = byte;
            have = 1;
        }
        while have < self.buffer.len() {
            match self.stored.read(&mut self.buffer[have..]) {
                Ok(0) => break,
                Ok(count) => have += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        let last = have < self.buffer.len();
        if !last {
            self.ahead = self.buffer.last().copied();
            have -= 1;
        }
        self.ended = last;
        let Some(length) = have.checked_sub(TAG_BYTES) else {
            return Err(cut(&format!("inside chunk {}", self.number)));
        };
        if !self.verify(self.number, last, length) {
            return Err(self.diagnose(last, length));
        }
        self.plain = 0..length;
        self.number += 1;
        Ok(())
    }

    /// Deciphers the chunk in the buffer if it is the one of this place; else it stays as it is.
    fn verify(&mut self, number: u64, last: bool, length: usize) -> bool {
        let (chunk, tag) = self.buffer.split_at_mut(length);
        let Some(tag) = tag.first_chunk::<TAG_BYTES>() else { return false };
        let nonce = nonce(number, last).into();
        self.cipher.decrypt_inout_detached(&nonce, &[], InOutBuf::from(chunk), &(*tag).into()).is_ok()
    }

    /// What is wrong with the chunk in the buffer.
    fn diagnose(&mut self, last: bool, length: usize) -> io::Error {
        let number = self.number;
        if self.verify(number, !last, length) {
            return if last {
                cut(&format!("behind chunk {number}, which was not the last"))
            } else {
                invalid(&format!("there are bytes behind chunk {number}, which was the last"))
            };
        }
        let places = number.saturating_sub(PLACES_TRIED)..number.saturating_add(PLACES_TRIED);
        for place in places.filter(|place| *place != number) {
            if self.verify(place, false, length) || self.verify(place, true, length) {
                let text = format!(
                    "chunk {place} stands where chunk {number} belongs: chunks were moved, doubled or left out"
                );
                return invalid(&text);
            }
        }
        let from = HEADER_BYTES as u64 + number * (self.chunk_bytes + TAG_BYTES) as u64;
        let what = if last { "is damaged or cut" } else { "is damaged" };
        invalid(&format!("chunk {number}, from stored byte {from} on, {what}"))
    }
}

fn cut(place: &str) -> io::Error {
    io::Error::new(io::ErrorKind::UnexpectedEof, format!("AES256-GCM data is cut {place}"))
}

fn invalid(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("AES256-GCM: {what}"))
}

impl<R: Read> Read for Unsealer<R> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        while self.plain.is_empty() {
            if self.ended || out.is_empty() {
                return Ok(0);
            }
            self.next_chunk()?;
        }
        let length = out.len().min(self.plain.len());
        out[..length].copy_from_slice(&self.buffer[self.plain.start..self.plain.start + length]);
        self.plain.start += length;
        Ok(length)
    }
}
