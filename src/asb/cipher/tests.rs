use std::io::{self, Read};

use proptest::prelude::*;
use sha2::{Digest, Sha256};

use super::{CipherMode, Encryptor, FileCipher, FileKey, KeyError, Unlock, UnlockError};
use crate::asb::tests::Chunked;
use crate::asb::tests::worked::FIXTURE;
use crate::asb::{Compressor, Decompressor, StoredForm};
use crate::model::hex;

/// Made for these tests.
pub(crate) const PKCS1: &str = include_str!("../../../tests/data/rsa_pkcs1.pem");
const PKCS8: &str = include_str!("../../../tests/data/rsa_pkcs8.pem");

const EC: &str = "-----BEGIN EC PRIVATE KEY-----
MHcCAQEEIFmtvQNjCbHbUfISxMqtJtjiHkVGYJcYdi+NyeFZMzGloAoGCCqGSM49
AwEHoUQDQgAEWHCudJ3KcGK0VSToIcBr7N0nDwa+vEY2wKWnKK0mGn3QtQeJLPqp
Y8WvP30tICLJqJSQP0bNmlaOOnxKG75ZOQ==
-----END EC PRIVATE KEY-----
";

const EC_PKCS8: &str = "-----BEGIN PRIVATE KEY-----
MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgWa29A2MJsdtR8hLE
yq0m2OIeRUZglxh2L43J4VkzMaWhRANCAARYcK50ncpwYrRVJOghwGvs3ScPBr68
RjbApacorSYafdC1B4ks+qljxa8/fS0gIsmolJA/Rs2aVo46fEobvlk5
-----END PRIVATE KEY-----
";

/// By OpenSSL: the SHA-256 of the DER of `PKCS1`.
const HASH: &str = "7cfbd8da8c5f5581e7b245414c3bf0ec8fd81dad107b77f1f85fe63bdcb065c2";

const MODES: [CipherMode; 3] = [CipherMode::Aes128, CipherMode::Aes256, CipherMode::Aes256Gcm];

fn unhex<const N: usize>(hex: &str) -> [u8; N] {
    let bytes: Vec<u8> = (0..N).map(|at| u8::from_str_radix(&hex[2 * at..2 * at + 2], 16).unwrap()).collect();
    bytes.try_into().unwrap()
}

fn key(byte: u8) -> FileKey {
    FileKey::of_hash([byte; 32])
}

fn encrypt(mode: CipherMode, key: &FileKey, random: [u8; 32], text: &[u8], step: usize) -> Vec<u8> {
    let mut out = b"before".to_vec();
    let mut encryptor = Encryptor::start(&FileCipher { mode, key: key.clone() }, random, &mut out);
    for part in text.chunks(step) {
        let from = out.len();
        out.extend_from_slice(part);
        encryptor.push(&mut out, from);
    }
    encryptor.finish(&mut out);
    out.split_off(6)
}

fn unlock(key: &FileKey, mode: Option<CipherMode>) -> Unlock {
    Unlock { key: Some(key.clone()), mode }
}

fn decrypt(unlock: &Unlock, stored: &[u8], chunk: usize) -> Result<Vec<u8>, UnlockError> {
    let mut text = Vec::new();
    unlock.open(Chunked::new(stored, chunk))?.text.read_to_end(&mut text)?;
    Ok(text)
}

fn problem(outcome: Result<Vec<u8>, UnlockError>) -> String {
    match outcome.unwrap_err() {
        UnlockError::Read(error) => error.to_string(),
        other => other.to_string(),
    }
}

/// asb.md 3.3: the vectors of both official tools, by the hash of their keys.
#[test]
fn the_published_vectors_come_out_byte_for_byte() {
    let c = "84a1baf3fe4111b646cf2e688b1585018989ad61973ed302a56be2fe8cadb6a2";
    let go = "8eb5ae0e21dd639146e9e0315b1e7772996884d80488b5f4b2642de845633de8";
    let vectors = [
        (
            c,
            CipherMode::Aes128,
            "51f97769273998f10bfbca7d5ad14f5f",
            "1f9d1bb287364dbc78e1158af93c8034",
            "c18e5d5f60a5dff5f5f71e80ebec92e1044131234bdba0e3129d3df064bb317d",
        ),
        (
            c,
            CipherMode::Aes256,
            "db5c8d23f3b7003128ee2b89f5c35948",
            "544b58d7d71daa114803e06f5b9db427",
            "49c74eeef9b16970375615caf7b35ab991cdd0fadcc9fea3ac092d3cd61bc216",
        ),
        (
            go,
            CipherMode::Aes128,
            "d35a477fa785c7ea69d44867f7c260c8",
            "33eccbfe52249f084ce07d52087b4653",
            "4a2368e430a579ee675de66179bd9c339c634984c4c6f595df578cda9b3ab203",
        ),
        (
            go,
            CipherMode::Aes256,
            "cd81a5074e7957221c6e0fdb28a70424",
            "66ecabb9edcda3cde45c9ba0a90924c7",
            "a47680636272a652ab9f946435e1366427eb857c8dc12a8c7dc9dd904e22bc25",
        ),
    ];
    let mut random = [0; 32];
    random[..16].copy_from_slice(&unhex::<16>("00112233445566778899aabbccddeeff"));
    for (hash, mode, prefix, first, whole) in vectors {
        let key = FileKey::of_hash(unhex(hash));
        for step in [1, 7, 168] {
            let stored = encrypt(mode, &key, random, FIXTURE, step);
            assert_eq!((hex(&stored[..16]), hex(&stored[16..32])), (prefix.to_owned(), first.to_owned()));
            assert_eq!(hex(&Sha256::digest(&stored)), whole, "{mode:?}");
            assert_eq!(decrypt(&unlock(&key, Some(mode)), &stored, step).unwrap(), FIXTURE);
            let found = unlock(&key, None).open(stored.as_slice()).unwrap();
            assert_eq!((found.mode, found.form), (Some(mode), StoredForm::Plain), "the bytes tell the mode");
        }
    }
}

#[test]
fn the_counter_wraps() {
    for (iv, mode) in [([0xFF; 32], CipherMode::Aes128), ([0xFF; 32], CipherMode::Aes256)] {
        let stored = encrypt(mode, &key(1), iv, FIXTURE, 50);
        assert_eq!(decrypt(&unlock(&key(1), None), &stored, 9).unwrap(), FIXTURE);
    }
}

#[test]
fn every_form_of_the_same_key_is_one_key() {
    let base64 = |bytes: &[u8]| base64_simd::STANDARD.encode_to_string(bytes);
    let body: String = PKCS1.lines().filter(|line| !line.starts_with('-')).collect();
    let der = base64_simd::STANDARD.decode_to_vec(body.as_bytes()).unwrap();
    let pkcs8_body: String = PKCS8.lines().filter(|line| !line.starts_with('-')).collect();
    let forms = [
        PKCS1.to_owned(),
        PKCS8.to_owned(),
        PKCS1.replace('\n', "\r\n"),
        PKCS1.replace('\n', " "),
        PKCS8.replace('\n', ""),
        base64(PKCS1.as_bytes()),
        base64(PKCS8.as_bytes()),
        base64(&der),
        body,
        pkcs8_body.clone(),
        base64(base64(&der).as_bytes()),
        base64(pkcs8_body.as_bytes()),
        base64(&der).trim_end_matches('=').to_owned(),
    ];
    for form in &forms {
        let key = FileKey::from_env(form).unwrap();
        assert_eq!(hex(key.material()), HASH, "{form}");
        key.check_writable().unwrap();
    }
    for form in &forms[..5] {
        assert_eq!(hex(FileKey::from_file(form.as_bytes()).unwrap().material()), HASH);
    }
    // asbackup hashes what the variable holds as it is: a file of its own can be read with the same variable.
    let as_is = Sha256::digest(base64_simd::STANDARD.decode_to_vec(pkcs8_body.as_bytes()).unwrap());
    let theirs = FileKey::of_hash(as_is.into());
    let ours = FileKey::from_env(&pkcs8_body).unwrap();
    for mode in MODES {
        let stored = encrypt(mode, &theirs, [3; 32], FIXTURE, 64);
        assert_eq!(decrypt(&unlock(&ours, None), &stored, 64).unwrap(), FIXTURE);
    }
}

#[test]
fn keys_for_reading_only_and_texts_that_are_no_key() {
    let ec = FileKey::from_file(EC.as_bytes()).unwrap();
    assert_eq!(ec.check_writable(), Err(KeyError::ReadOnly));
    let any = FileKey::from_env(&base64_simd::STANDARD.encode_to_string([7; 32])).unwrap();
    assert_eq!(hex(any.material()), hex(&Sha256::digest([7; 32])));
    assert_eq!(any.check_writable(), Err(KeyError::ReadOnly));

    let public = PKCS1.replace("RSA PRIVATE", "PUBLIC");
    let clayton = PKCS1.replace("RSA", "CLAYTON");
    let locked = PKCS1.replacen('\n', "\nProc-Type: 4,ENCRYPTED\n\n", 1);
    let other_lock = PKCS8.replace(" PRIVATE", " ENCRYPTED PRIVATE");
    let changed = PKCS1.replacen("MIIC", "AIIC", 1);
    let cut = PKCS1.replacen("GuXmcFQ==\n", "", 1);
    let garbage = PKCS1.replacen("MIIC", "M!!C", 1);
    for (text, error) in [
        ("", KeyError::Empty),
        (" \n", KeyError::Empty),
        ("hunter2", KeyError::NotPem),
        ("-----BEGIN RSA PRIVATE KEY-----\nMIIC", KeyError::NotPem),
        (&public, KeyError::NotPrivateRsa),
        (&clayton, KeyError::NotPrivateRsa),
        (&locked, KeyError::Locked),
        (&other_lock, KeyError::Locked),
        (&changed, KeyError::Damaged),
        (&cut, KeyError::Damaged),
        (&garbage, KeyError::Damaged),
        (EC_PKCS8, KeyError::NotPrivateRsa),
    ] {
        assert_eq!(FileKey::from_file(text.as_bytes()).unwrap_err(), error, "{text}");
    }
    assert_eq!(FileKey::from_file(b"\xFF\xFE").unwrap_err(), KeyError::NotPem);
    for text in ["not base64!", "aHVudGVyMg=="] {
        let error = FileKey::from_env(text).unwrap_err();
        assert!(!error.to_string().contains("hunter2"), "{error}");
    }
}

#[test]
fn a_key_shows_itself_to_nobody() {
    let key = FileKey::from_file(PKCS1.as_bytes()).unwrap();
    let shown =
        format!("{key:?} {:?} {:?}", unlock(&key, None), FileCipher { mode: MODES[0], key: key.clone() });
    assert!(shown.contains("[secret]"));
    for secret in [HASH, "7cfb", "MIIC", "124"] {
        assert!(!shown.contains(secret), "{shown}");
    }
    assert_eq!(key.id().len(), 32);
    assert!(!HASH.contains(&key.id()[..8]));
    assert_ne!(key.id(), self::key(1).id());
    assert_ne!(key.seal(&[1; 32]), key.seal(&[2; 32]));
    assert_ne!(key.seal(&[1; 32]), self::key(1).seal(&[1; 32]));
}

#[test]
fn a_wrong_key_is_told_from_damage() {
    let zstd = compressed(&[b'x'; 5000]);
    for mode in MODES {
        for text in [FIXTURE, &zstd] {
            let stored = encrypt(mode, &key(1), [9; 32], text, 100);
            for stated in [None, Some(mode)] {
                let error = decrypt(&unlock(&key(2), stated), &stored, 64).unwrap_err();
                assert!(matches!(error, UnlockError::WrongKey | UnlockError::NoText), "{error}");
            }
            let error = decrypt(&Unlock { key: None, mode: Some(mode) }, &stored, 64).unwrap_err();
            assert!(matches!(error, UnlockError::NoKey), "{error}");
        }
    }
    // Galois/counter mode knows its key by itself, also in a file without text, and knows a damaged header from it.
    let stored = encrypt(CipherMode::Aes256Gcm, &key(1), [9; 32], b"", 1);
    assert_eq!(stored.len(), 80);
    assert!(matches!(decrypt(&unlock(&key(2), None), &stored, 64), Err(UnlockError::WrongKey)));
    assert_eq!(decrypt(&unlock(&key(1), None), &stored, 64).unwrap(), b"");
    for at in 8..64 {
        let mut bad = stored.clone();
        bad[at] ^= 1;
        assert!(problem(decrypt(&unlock(&key(1), None), &bad, 64)).contains("header is damaged"), "{at}");
    }
    // Without a key and a word of anybody, the bytes come out as they are.
    let stored = encrypt(CipherMode::Aes256, &key(1), [9; 32], FIXTURE, 100);
    let opened = Unlock::default().open(stored.as_slice()).unwrap();
    assert_eq!((opened.mode, opened.form), (None, StoredForm::Unknown));
}

#[test]
fn plain_and_compressed_files_are_read_with_a_key_too() {
    let zstd = compressed(FIXTURE);
    for (stored, form) in
        [(FIXTURE, StoredForm::Plain), (&zstd, StoredForm::Zstd), (b"", StoredForm::Unknown)]
    {
        let opened = unlock(&key(1), None).open(stored).unwrap();
        assert_eq!((opened.mode, opened.form, opened.is_empty), (None, form, stored.is_empty()));
        assert_eq!(decrypt(&unlock(&key(1), None), stored, 3).unwrap(), stored);
    }
    let error = decrypt(&unlock(&key(1), Some(CipherMode::Aes256Gcm)), FIXTURE, 64);
    assert!(problem(error).contains("does not begin"));
    // An encrypted file of the official tools without any text.
    let stored = encrypt(CipherMode::Aes128, &key(1), [9; 32], b"", 1);
    assert_eq!(stored.len(), 16);
    assert!(unlock(&key(1), None).open(stored.as_slice()).unwrap().is_empty);
    assert!(
        problem(decrypt(&unlock(&key(1), Some(CipherMode::Aes128)), &stored[..9], 64)).contains("9 bytes")
    );
}

fn compressed(text: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    let mut compressor = Compressor::new(3).unwrap();
    compressor.push(text, &mut out).unwrap();
    compressor.finish(&mut out).unwrap();
    out
}

const CHUNK: usize = (64 << 10) + 16;

fn sample(length: usize) -> Vec<u8> {
    let mut text = b"Version 3.1\n".to_vec();
    text.extend((text.len()..length).map(|at| (at * at / 7 % 251) as u8));
    text.truncate(length);
    text
}

/// Header, then the chunks one by one.
fn chunks(stored: &[u8]) -> (Vec<u8>, Vec<Vec<u8>>) {
    (stored[..64].to_vec(), stored[64..].chunks(CHUNK).map(<[u8]>::to_vec).collect())
}

fn join(header: &[u8], chunks: &[&[u8]]) -> Vec<u8> {
    [&[header], chunks].concat().concat()
}

#[test]
fn chunks_that_were_moved_doubled_left_out_or_cut_are_told_apart() {
    let text = sample(4 * (64 << 10) + 777);
    let stored = encrypt(CipherMode::Aes256Gcm, &key(1), [5; 32], &text, 100_000);
    let other = encrypt(CipherMode::Aes256Gcm, &key(1), [6; 32], &text, 100_000);
    assert_eq!(decrypt(&unlock(&key(1), None), &stored, 10_007).unwrap(), text);
    let (header, parts) = chunks(&stored);
    let part = |at: usize| parts[at].as_slice();
    assert_eq!(parts.len(), 5);
    let (_, foreign) = chunks(&other);
    let mut flipped = parts[2].clone();
    flipped[40_000] ^= 4;
    let mut tag = parts[4].clone();
    *tag.last_mut().unwrap() ^= 1;
    let cases: [(&str, Vec<u8>, &str); 12] = [
        (
            "swapped",
            join(&header, &[part(0), part(2), part(1), part(3), part(4)]),
            "chunk 2 stands where chunk 1",
        ),
        (
            "doubled",
            join(&header, &[part(0), part(0), part(1), part(2), part(3), part(4)]),
            "chunk 0 stands where chunk 1",
        ),
        ("left out", join(&header, &[part(0), part(2), part(3), part(4)]), "chunk 2 stands where chunk 1"),
        (
            "first left out",
            join(&header, &[part(1), part(2), part(3), part(4)]),
            "chunk 1 stands where chunk 0",
        ),
        ("cut at a chunk", join(&header, &[part(0), part(1), part(2)]), "cut behind chunk 2"),
        (
            "cut in a chunk",
            stored[..stored.len() - 300].to_vec(),
            "chunk 4, from stored byte 262272 on, is damaged or cut",
        ),
        ("cut in a tag", stored[..64 + CHUNK + 7].to_vec(), "cut inside chunk 1"),
        ("only the header", header.clone(), "cut inside chunk 0"),
        ("more behind", [stored.clone(), vec![0; 70_000]].concat(), "chunk 4"),
        (
            "a bit flipped",
            join(&header, &[part(0), part(1), &flipped, part(3), part(4)]),
            "chunk 2, from stored byte 131168 on, is damaged",
        ),
        ("a tag changed", join(&header, &[part(0), part(1), part(2), part(3), &tag]), "chunk 4, from"),
        (
            "of another file",
            join(&header, &[part(0), &foreign[1], part(2), part(3), part(4)]),
            "chunk 1, from stored byte 65616 on, is damaged",
        ),
    ];
    for (what, bytes, says) in cases {
        let found = problem(decrypt(&unlock(&key(1), None), &bytes, 10_007));
        assert!(found.contains(says), "{what}: {found}");
    }
    // Whole chunks behind a last chunk that is whole itself.
    let text = sample(2 * (64 << 10));
    let stored = encrypt(CipherMode::Aes256Gcm, &key(1), [5; 32], &text, 999);
    assert_eq!(decrypt(&unlock(&key(1), None), &stored, 10_007).unwrap(), text);
    let more = [stored.as_slice(), &stored[64..]].concat();
    assert!(
        problem(decrypt(&unlock(&key(1), None), &more, 10_007))
            .contains("bytes behind chunk 1, which was the last")
    );
}

/// Version 1 of docs/file-encryption.md, byte for byte: what was written once must stay readable.
#[test]
fn the_format_of_chunks_does_not_change() {
    let random: [u8; 32] = std::array::from_fn(|at| at as u8);
    let stored = encrypt(CipherMode::Aes256Gcm, &key(0x42), random, FIXTURE, 50);
    assert_eq!(&stored[..10], b"HFASBGCM\x01\x10");
    assert_eq!(stored[16..48], random);
    assert_eq!(stored.len(), 64 + 168 + 16);
    assert_eq!(
        hex(&Sha256::digest(&stored)),
        "f24f3c70b0fa5f80a1e1ee601ab0a60ce8c220d92ce4d2e0e93d4fccbe8f06ec"
    );
}

#[test]
fn a_later_version_is_named() {
    let mut stored = encrypt(CipherMode::Aes256Gcm, &key(1), [5; 32], FIXTURE, 50);
    stored[8] = 2;
    let mut hasher = blake3::Hasher::new();
    hasher.update(&stored[..10]).update(&stored[16..64]);
    let check = hasher.finalize();
    stored[10..16].copy_from_slice(&check.as_bytes()[..6]);
    assert!(problem(decrypt(&unlock(&key(1), None), &stored, 64)).contains("version 2"));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn text_comes_back(length in 0usize..300_000, step in 1usize..200_000, chunk in 1usize..100_000, at in 0usize..3, level in prop::option::of(-1..4)) {
        let mode = MODES[at];
        let text = sample(length);
        let below = level.map_or(text.clone(), |level| {
            let mut out = Vec::new();
            let mut compressor = Compressor::new(level).unwrap();
            compressor.push(&text, &mut out).unwrap();
            compressor.finish(&mut out).unwrap();
            out
        });
        let stored = encrypt(mode, &key(7), [at as u8; 32], &below, step);
        let unlock = Unlock { key: Some(key(7)), mode: (length < 8).then_some(mode) };
        // A text that is shorter than its mark is none.
        prop_assume!(level.is_some() || length == 0 || length >= 8 || mode == CipherMode::Aes256Gcm);
        let opened = unlock.open(Chunked::new(&stored, chunk)).unwrap();
        prop_assert_eq!(opened.mode, Some(mode));
        let mut found = Vec::new();
        if opened.form == StoredForm::Zstd {
            Decompressor::new(opened.text).unwrap().read_to_end(&mut found).unwrap();
        } else {
            let mut reader = opened.text;
            reader.read_to_end(&mut found).unwrap();
        }
        prop_assert!(found == text);
    }

}

proptest! {
    // Each damaged chunk is compared with many places, which takes long where nothing is optimised.
    #![proptest_config(ProptestConfig::with_cases(12))]
    #[test]
    fn every_change_of_a_chunked_file_is_told(at in any::<prop::sample::Index>(), bit in 0u8..8, cut in any::<bool>()) {
        let mut stored = encrypt(CipherMode::Aes256Gcm, &key(7), [1; 32], &sample(70_000), 70_000);
        let at = at.index(stored.len());
        if cut { stored.truncate(at) } else { stored[at] ^= 1 << bit }
        let outcome = decrypt(&unlock(&key(7), Some(CipherMode::Aes256Gcm)), &stored, 9_000);
        prop_assert!(outcome.is_err());
    }
}

#[test]
#[ignore = "measures"]
fn how_fast() {
    let text = vec![7; 8 << 20];
    for mode in MODES {
        let mut out = Vec::with_capacity(9 << 20);
        let began = std::time::Instant::now();
        let mut encryptor = Encryptor::start(&FileCipher { mode, key: key(1) }, [1; 32], &mut out);
        for part in text.chunks(256 << 10) {
            let from = out.len();
            out.extend_from_slice(part);
            encryptor.push(&mut out, from);
        }
        encryptor.finish(&mut out);
        let wrote = began.elapsed();
        let began = std::time::Instant::now();
        let plain = unlock(&key(1), Some(mode));
        let outcome =
            plain.open(out.as_slice()).map(|mut opened| io::copy(&mut opened.text, &mut io::sink()));
        let per_byte = |took: std::time::Duration| took.as_secs_f64() * 1e9 / text.len() as f64;
        println!(
            "{mode:?}: write {:.3} ns/byte, read {:.3} ns/byte ({})",
            per_byte(wrote),
            per_byte(began.elapsed()),
            outcome.is_ok()
        );
    }
}
