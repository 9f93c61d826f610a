//! Stored files: encrypted, compressed, both or neither.

use std::io::Read;
use std::path::Path;

use holdfast::asb::cipher::{Encryptor, RANDOM_BYTES, Unlock, UnlockError};
use holdfast::asb::{CipherMode, Compressor, Decompressor, FileCipher, FileKey, StoredForm};

use crate::asb::{file, read_text, records};
use crate::harness::{Counted, Target, about, said};

/// zstd makes at most one block of 128 KiB of three bytes.
const BLOCK_BYTES_MAX: usize = 128 << 10;

fn key() -> FileKey {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/rsa_pkcs8.pem");
    FileKey::from_file(&std::fs::read(path).unwrap()).unwrap()
}

fn compressed(text: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    let mut compressor = Compressor::new(3).unwrap();
    compressor.push(text, &mut out).unwrap();
    compressor.finish(&mut out).unwrap();
    out
}

fn sealed(mode: CipherMode, text: &[u8], random: u8) -> Vec<u8> {
    let mut out = Vec::new();
    let cipher = FileCipher { mode, key: key() };
    let mut encryptor = Encryptor::start(&cipher, [random; RANDOM_BYTES], &mut out);
    for part in text.chunks(50_000) {
        let from = out.len();
        out.extend_from_slice(part);
        encryptor.push(&mut out, from);
    }
    encryptor.finish(&mut out);
    out
}

/// A short file, and one of three chunks.
fn texts() -> Vec<Vec<u8>> {
    let few = records();
    let many: Vec<_> = (0..40).flat_map(|_| few.clone()).collect();
    let long = file(&many, false);
    assert!(long.len() > 130 << 10 && long.len() < 256 << 10, "{}", long.len());
    vec![file(&few[..3], false), long]
}

/// Reads a file as a restore does, with a key and without knowing how it was stored.
fn read_stored(stored: &[u8], unlock: &Unlock) -> u64 {
    let opened = match unlock.open(Counted::new(stored)) {
        Ok(opened) => opened,
        Err(error) => return said((0, kind(&error))),
    };
    let mode = opened.mode.map(|mode| mode as u8);
    let read = match opened.form {
        StoredForm::Zstd => {
            let text_bytes_max = (stored.len() / 3 + 1).saturating_mul(BLOCK_BYTES_MAX);
            read_text(Decompressor::new(opened.text).unwrap(), text_bytes_max, None)
        }
        StoredForm::Plain | StoredForm::Unknown => read_text(opened.text, stored.len(), None),
    };
    said((1, mode, read))
}

fn kind(error: &UnlockError) -> std::mem::Discriminant<UnlockError> {
    std::mem::discriminant(error)
}

/// All modes over both forms. Held: a chunk of 1 MiB at most, which is what a header may claim, the decoder's buffer of
/// 256 KiB, zstd's input, and what an item takes; zstd's own memory is not counted.
pub fn stored(long: bool) {
    let modes = [CipherMode::Aes128, CipherMode::Aes256, CipherMode::Aes256Gcm];
    let mut corpus = Vec::new();
    for text in texts() {
        let zstd = compressed(&text);
        corpus.extend(modes.iter().map(|mode| sealed(*mode, &zstd, 1)));
        corpus.extend(modes.iter().map(|mode| sealed(*mode, &text, 2)));
        corpus.extend([text, zstd]);
    }
    corpus.extend(modes.iter().map(|mode| sealed(*mode, b"", 3)));
    let with_key = Unlock::with_key(Some(key()));
    let target = Target {
        name: "stored_file",
        corpus,
        cases: 3_000,
        bytes_max: 256 << 10,
        held_fixed: (4 << 20) + (768 << 10),
        held_per_byte: 40,
    };
    target.run(long, |input| {
        read_stored(input, &with_key) ^ read_stored(input, &Unlock::default()).rotate_left(1)
    });
}

/// Few cases: a chunk that does not fit is compared with 64 places to either side, to say what happened.
///
/// What comes out of a file of mode AES256-GCM without an error is what was put in, all of it, whatever was changed.
pub fn gcm(long: bool) {
    let texts = [texts(), vec![Vec::new(), vec![b'a'; 64 << 10]]].concat();
    let corpus: Vec<_> =
        texts.iter().zip(1..).map(|(text, random)| sealed(CipherMode::Aes256Gcm, text, random)).collect();
    let unlock = Unlock { key: Some(key()), mode: Some(CipherMode::Aes256Gcm) };
    let target = Target {
        name: "gcm_file",
        corpus,
        cases: 80,
        bytes_max: 300 << 10,
        held_fixed: 4 << 20,
        held_per_byte: 3,
    };
    target.run(long, |input| {
        let mut opened = match unlock.open(Counted::new(input)) {
            Ok(opened) => opened,
            Err(error) => return said(kind(&error)),
        };
        let mut text = Vec::new();
        match opened.text.read_to_end(&mut text) {
            Ok(_) => {
                assert!(texts.contains(&text), "{} bytes that nobody wrote were taken for whole", text.len());
                said((1, about(text.len())))
            }
            Err(error) => said((2, error.kind(), about(text.len()))),
        }
    });
}

/// zstd alone, with frames of other programs: no more comes out than the stored bytes can hold, and it holds nothing of it.
pub fn zstd(long: bool) {
    let mut corpus: Vec<_> = texts().iter().map(|text| compressed(text)).collect();
    corpus.push([compressed(b"one"), b"\x50\x2a\x4d\x18\x03\0\0\0abc".to_vec(), compressed(b"")].concat());
    // one block that repeats a byte 128 Ki times, in a window of 128 KiB
    corpus.push(b"\x28\xb5\x2f\xfd\x00\x38\x03\x00\x10a".to_vec());
    let target = Target {
        name: "zstd_file",
        corpus,
        cases: 5_000,
        bytes_max: 64 << 10,
        held_fixed: 256 << 10,
        held_per_byte: 0,
    };
    target.run(long, |input| {
        let mut text = Decompressor::new(Counted::new(input)).unwrap();
        let mut part = [0; 16 << 10];
        let mut length = 0;
        let most = (input.len() / 3 + 1) * BLOCK_BYTES_MAX;
        loop {
            match text.read(&mut part) {
                Ok(0) => return said((0, about(length))),
                Ok(count) => length += count,
                Err(error) => return said((1, error.kind(), about(length))),
            }
            assert!(length <= most, "more text than can be in it");
        }
    });
}
