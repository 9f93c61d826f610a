//! One backup file, read to its end.

use std::io::{self, Read};
use std::path::Path;

use super::shelf::{Disk, Shelf, failed};
use super::{Checksum, Content, FileReport, TextProblem};
use crate::asb::cipher::{Unlock, UnlockError};
use crate::asb::{
    BlockHasher, BlockHashes, CipherMode, DecodeError, Decoder, Decompressor, Item, Record, StoredForm,
    particle,
};
use crate::catalog::Encryption;
use crate::error::Result;
use crate::model::time::AEROSPIKE_EPOCH_S;

/// What a manifest says of a file.
#[derive(Debug, Clone)]
pub(super) struct Expected {
    pub size_bytes: u64,
    pub root: Option<[u8; 32]>,
    /// Empty if `blocks.b3` cannot be read.
    pub blocks: Vec<[u8; 32]>,
}

/// Reads a file without anything to compare it with; `unlock` deciphers it. Blocks; holds one record and 32 bytes per 4 MiB.
///
/// Errors: `inspect-io` if the file cannot be opened or read; what is wrong inside it is in the report.
pub fn inspect_file(path: &Path, unlock: &Unlock) -> Result<FileReport> {
    inspect(&Disk, path, unlock, None)
}

pub(super) fn inspect(
    shelf: &dyn Shelf,
    path: &Path,
    unlock: &Unlock,
    expected: Option<&Expected>,
) -> Result<FileReport> {
    let gone = || failed(path, io::ErrorKind::NotFound.into());
    let file = shelf.open(path)?.ok_or_else(gone)?;
    let mut stored = Stored { file, hasher: BlockHasher::new(), failed: None };
    let mut report = FileReport {
        name: path.file_name().unwrap_or_default().to_string_lossy().into_owned(),
        stored_bytes: 0,
        form: "unknown",
        encryption: None,
        locked: false,
        version: None,
        namespace: None,
        first_file: false,
        content: Content::default(),
        checksum: Checksum::None,
        problem: None,
    };
    read_text(&mut stored, unlock, &mut report);
    // What is left is hashed too: the checksums are of all stored bytes.
    io::copy(&mut stored, &mut io::sink()).map_err(|error| failed(path, error))?;
    if let Some(error) = stored.failed.take() {
        return Err(failed(path, error));
    }
    let hashes = stored.hasher.finish();
    report.stored_bytes = hashes.size;
    report.checksum = expected.map_or(Checksum::None, |expected| compare(&hashes, expected));
    Ok(report)
}

/// Reads as much of the text as makes sense; what does not is in the report.
fn read_text(stored: &mut Stored, unlock: &Unlock, report: &mut FileReport) {
    let opened = match unlock.open(&mut *stored) {
        Ok(opened) => opened,
        Err(UnlockError::NoKey) => {
            report.locked = true;
            report.encryption =
                Some(Encryption::of_cipher(unlock.mode.or(Some(CipherMode::Aes256Gcm))).word());
            return;
        }
        Err(error) => {
            report.encryption = unlock.mode.map(|mode| Encryption::of_cipher(Some(mode)).word());
            let what = match &error {
                UnlockError::Read(cause) => cause.to_string(),
                other => other.to_string(),
            };
            report.problem = Some(TextProblem { offset: 0, what });
            return;
        }
    };
    let form = opened.form;
    report.form = match form {
        _ if opened.is_empty => "empty",
        StoredForm::Plain => "plain",
        StoredForm::Zstd => "zstd",
        StoredForm::Unknown => "unknown",
    };
    if form != StoredForm::Unknown || opened.mode.is_some() || opened.is_empty {
        report.encryption = Some(Encryption::of_cipher(opened.mode).word());
    }
    let read = if form == StoredForm::Zstd {
        match Decompressor::new(opened.text) {
            Ok(text) => read_items(text, report),
            Err(error) => {
                report.problem =
                    Some(TextProblem { offset: 0, what: format!("zstd did not start: {error}") });
                return;
            }
        }
    } else {
        read_items(opened.text, report)
    };
    match read {
        Ok(()) | Err(DecodeError::Empty) => {}
        Err(error) => {
            let offset = error.position().map_or(0, |position| position.offset);
            report.problem = Some(TextProblem { offset, what: describe(&error, form) });
        }
    }
}

/// The error with its cause, and what an unknown form may mean.
fn describe(error: &DecodeError, form: StoredForm) -> String {
    let cause = std::error::Error::source(error).map_or(String::new(), |cause| format!(": {cause}"));
    let hint = if form == StoredForm::Unknown { " (encrypted, or no backup file)" } else { "" };
    format!("{error}{cause}{hint}")
}

fn compare(found: &BlockHashes, expected: &Expected) -> Checksum {
    if found.size != expected.size_bytes {
        return Checksum::Size { expected_bytes: expected.size_bytes };
    }
    match expected.root {
        None => Checksum::None,
        Some(root) if root == found.root => Checksum::Matches,
        Some(_) => {
            let block = expected.blocks.iter().zip(&found.blocks).position(|(one, other)| one != other);
            Checksum::Differs { block: block.map(|block| block as u64) }
        }
    }
}

fn read_items(text: impl Read, report: &mut FileReport) -> std::result::Result<(), DecodeError> {
    let mut decoder = Decoder::open(text)?;
    let header = decoder.header();
    report.version = Some(header.version.text());
    report.namespace = Some(readable(&header.namespace));
    report.first_file = header.first_file;
    let content = &mut report.content;
    while let Some(item) = decoder.next_item()? {
        match item {
            Item::Record(record) => count(content, record),
            Item::Index(index) => {
                let (namespace, set) = (readable(&index.namespace), readable(&index.set));
                let on = match &index.expression {
                    Some(_) => "an expression".to_owned(),
                    None => format!("bin {}", readable(&index.bin)),
                };
                content.indexes.push(format!("{namespace}.{set}.{} on {on}", readable(&index.name)));
            }
            Item::SetIndex(index) => {
                let (namespace, set) = (readable(&index.namespace), readable(&index.set));
                content.indexes.push(format!("{namespace}.{set}.{} on the set", readable(&index.name)));
            }
            Item::Udf(udf) => content.udfs.push(readable(&udf.name)),
        }
    }
    Ok(())
}

fn count(content: &mut Content, record: Record<'_>) {
    let head = record.head();
    content.records += 1;
    content.count_set(&readable(head.namespace), &readable(head.set), 1);
    content.with_key += u64::from(head.key.is_some());
    if head.void_time != 0 {
        content.expiring += 1;
        let at = AEROSPIKE_EPOCH_S + i64::from(head.void_time);
        let (first, last) = content.expiry_s.unwrap_or((at, at));
        content.expiry_s = Some((first.min(at), last.max(at)));
    }
    for bin in record.bins() {
        *content.bins.entry(particle::name(bin.particle.kind)).or_default() += 1;
    }
}

/// Bytes for the eye: what is not UTF-8 is escaped.
pub(super) fn readable(bytes: &[u8]) -> String {
    match std::str::from_utf8(bytes) {
        Ok(text) if !text.chars().any(char::is_control) => text.to_owned(),
        _ => bytes.escape_ascii().to_string(),
    }
}

/// The stored bytes, hashed as they pass.
struct Stored {
    file: Box<dyn Read>,
    hasher: BlockHasher,
    /// A read that failed: damage of the disk or storage is not damage of the text.
    failed: Option<io::Error>,
}

impl Read for Stored {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.file.read(buffer).inspect_err(|error| {
            let copy = error.raw_os_error().map_or_else(
                || io::Error::new(error.kind(), error.to_string()),
                io::Error::from_raw_os_error,
            );
            self.failed = Some(copy);
        })?;
        self.hasher.update(buffer.get(..count).unwrap_or_default());
        Ok(count)
    }
}
