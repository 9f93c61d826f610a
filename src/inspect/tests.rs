use std::path::{Path, PathBuf};
use std::sync::Arc;

use tempfile::TempDir;

use super::{Checksum, FileReport, FolderReport};
use crate::asb::cipher::{Encryptor, Unlock};
use crate::asb::{
    Bin, BlockHasher, CipherMode, Compressor, DataType, Encoder, FileCipher, FileKey, IndexDef, IndexType,
    Particle, RecordHead, UdfDef, Version, particle,
};
use crate::catalog::layout::METADATA;
use crate::catalog::testkit::{self, Backup};
use crate::error::Result;
use crate::storage::{LocalStorage, Storage};

fn inspect_file(path: &Path) -> Result<FileReport> {
    super::inspect_file(path, &Unlock::default())
}

fn inspect_path(path: &Path) -> Result<Vec<FolderReport>> {
    super::inspect_path(path, None)
}

/// A text of `records` records: every third in set `s`, every second expires, every fifth has its key.
fn text(records: u32) -> Vec<u8> {
    let mut text = Vec::new();
    Encoder::file_header(&mut text, b"ns", true, Version::V3_1);
    let mut encoder = Encoder::new(false);
    for number in 0..records {
        let mut digest = [0; 20];
        digest[..4].copy_from_slice(&number.to_be_bytes());
        let value = u64::from(number).to_be_bytes();
        let head = RecordHead {
            namespace: b"ns",
            set: if number % 3 == 0 { b"s" } else { b"" },
            digest: &digest,
            key: (number % 5 == 0).then_some(Particle { kind: particle::STRING, bytes: b"key" }),
            generation: 1,
            void_time: if number % 2 == 0 { 1000 + number } else { 0 },
            bin_count: 2,
        };
        let bins = [
            Bin { name: b"n", particle: Particle { kind: particle::INTEGER, bytes: &value } },
            Bin { name: b"b", particle: Particle { kind: particle::BLOB, bytes: &[7; 300] } },
        ];
        encoder.record(&mut text, &head, bins).unwrap();
    }
    text
}

fn globals(text: &mut Vec<u8>) {
    let index = IndexDef {
        namespace: b"ns".into(),
        set: b"s".into(),
        name: b"by-n".into(),
        index_type: IndexType::Bin,
        bin: b"n".into(),
        data_type: DataType::Numeric,
        context: None,
        expression: None,
    };
    Encoder::index(text, &index).unwrap();
    Encoder::udf(text, &UdfDef { name: b"f.lua".into(), content: b"return 1".into() }).unwrap();
}

fn zstd(text: &[u8]) -> Vec<u8> {
    let (mut out, mut compressor) = (Vec::new(), Compressor::new(1).unwrap());
    compressor.push(text, &mut out).unwrap();
    compressor.finish(&mut out).unwrap();
    out
}

fn file(dir: &TempDir, bytes: &[u8]) -> PathBuf {
    let path = dir.path().join("0_ns_1.asb");
    std::fs::write(&path, bytes).unwrap();
    path
}

#[test]
fn a_file_is_counted_plain_and_compressed() {
    let dir = TempDir::new().unwrap();
    let mut plain = text(30);
    globals(&mut plain);
    for (bytes, form) in [(plain.clone(), "plain"), (zstd(&plain), "zstd")] {
        let report = inspect_file(&file(&dir, &bytes)).unwrap();
        assert_eq!((report.form, report.version, report.first_file), (form, Some("3.1"), true));
        assert_eq!((report.stored_bytes, report.namespace.as_deref()), (bytes.len() as u64, Some("ns")));
        assert_eq!((report.encryption, report.locked), (Some("NONE"), false));
        let content = &report.content;
        assert_eq!((content.records, content.with_key, content.expiring), (30, 6, 15));
        assert_eq!(content.expiry_s, Some((1_262_305_000, 1_262_305_028)));
        assert_eq!((content.sets["ns"]["s"], content.sets["ns"][""]), (10, 20));
        assert_eq!((content.bins["integer"], content.bins["blob"]), (30, 30));
        assert_eq!(content.indexes, ["ns.s.by-n on bin n"]);
        assert_eq!(content.udfs, ["f.lua"]);
        assert!(!report.is_damaged() && report.checksum == Checksum::None);
    }
}

#[test]
fn damage_has_an_offset_and_what_came_before_is_counted() {
    let dir = TempDir::new().unwrap();
    let mut bytes = text(30);
    let ten = text(10).len();
    bytes[ten] = b'?';
    let report = inspect_file(&file(&dir, &bytes)).unwrap();
    assert_eq!((report.content.records, report.problem.unwrap().offset), (10, ten as u64));

    let report = inspect_file(&file(&dir, &text(30)[..ten + 7])).unwrap();
    assert_eq!((report.content.records, report.problem.unwrap().offset), (10, ten as u64 + 7));

    let cut = &zstd(&text(30))[..200];
    let problem = inspect_file(&file(&dir, cut)).unwrap().problem.unwrap();
    assert!(problem.what.contains("cut short"), "{problem:?}");

    let report = inspect_file(&file(&dir, &[0x91; 64])).unwrap();
    assert_eq!(report.form, "unknown");
    assert!(report.problem.unwrap().what.contains("encrypted"));

    let report = inspect_file(&file(&dir, b"")).unwrap();
    assert!(report.form == "empty" && !report.is_damaged());
    assert_eq!(inspect_file(Path::new("/nowhere/x.asb")).unwrap_err().code(), "inspect-io");
}

/// A committed backup with one file of 15 records (what the kit's manifest says) and more than one block.
async fn folder() -> (TempDir, PathBuf) {
    let (dir, storage) = testkit::storage().await;
    let mut bytes = text(15);
    // The value of one record is as long as two blocks.
    let long = vec![b'x'; 9 << 20];
    bytes.truncate(text(14).len());
    let head = RecordHead {
        namespace: b"ns",
        set: b"",
        digest: &[9; 20],
        key: None,
        generation: 1,
        void_time: 0,
        bin_count: 1,
    };
    let bin = Bin { name: b"long", particle: Particle { kind: particle::STRING, bytes: &long } };
    Encoder::new(false).record(&mut bytes, &head, [bin]).unwrap();
    let mut hasher = BlockHasher::new();
    hasher.update(&bytes);
    assert_eq!(hasher.finish().blocks.len(), 3);
    let mut backup = Backup::full(1_700_000_000_000, "ns");
    backup.files = vec![("0_ns_1.asb".to_owned(), bytes)];
    backup.write(&storage as &dyn Storage).await;
    let path = dir.path().join(backup.folder());
    (dir, path)
}

#[tokio::test]
async fn a_folder_is_compared_with_its_documents() {
    let (dir, path) = folder().await;
    let reports = inspect_path(dir.path()).unwrap();
    assert_eq!(reports.len(), 1);
    let report = &reports[0];
    assert!(!report.is_damaged(), "{report:?}");
    assert!(report.has_manifest && report.files[0].checksum == Checksum::Matches);
    assert_eq!(report.metadata.as_ref().unwrap()["record-count"], "15");

    // In a storage, by its keys.
    let storage: Arc<dyn Storage> = Arc::new(LocalStorage::open(dir.path()).await.unwrap());
    let key = path.strip_prefix(dir.path()).unwrap();
    for prefix in [Path::new(""), key, &key.join("0_ns_1.asb")] {
        let stored = super::inspect_stored(storage.clone(), prefix.to_owned(), None).await.unwrap();
        assert_eq!((stored.len(), &stored[0].files), (1, &report.files), "{prefix:?}");
        assert_eq!(Path::new(&stored[0].folder), key);
    }
    let none = super::inspect_stored(storage, "elsewhere".into(), None).await.unwrap_err();
    assert_eq!(none.code(), "inspect-nothing");

    std::fs::write(path.join("9_ns_9.asb"), text(1)).unwrap();
    let problems = inspect_path(&path).unwrap().remove(0).problems;
    assert!(
        problems.iter().any(|problem| problem.contains("9_ns_9.asb is not in the manifest")),
        "{problems:?}"
    );
    assert!(problems.iter().any(|problem| problem.contains("metadata.yaml says 15")), "{problems:?}");
    // One file of it is compared with the manifest too, without the sums of the folder.
    let one = inspect_path(&path.join("0_ns_1.asb")).unwrap().remove(0);
    assert!(one.files[0].checksum == Checksum::Matches && one.problems.is_empty());
}

#[tokio::test]
async fn the_damaged_block_is_named() {
    let (_dir, path) = folder().await;
    let file = path.join("0_ns_1.asb");
    let mut bytes = std::fs::read(&file).unwrap();
    bytes[5 << 20] ^= 1;
    std::fs::write(&file, &bytes).unwrap();
    let report = inspect_path(&path).unwrap().remove(0);
    assert_eq!(report.files[0].checksum, Checksum::Differs { block: Some(1) });
    assert!(report.is_damaged() && report.files[0].problem.is_none(), "the text alone does not show it");

    std::fs::remove_file(&file).unwrap();
    let problems = inspect_path(&path).unwrap().remove(0).problems;
    assert!(problems.iter().any(|problem| problem == "0_ns_1.asb is missing"), "{problems:?}");
    std::fs::remove_file(path.join(METADATA)).unwrap();
    assert_eq!(inspect_path(&path).unwrap_err().code(), "inspect-nothing");
}

/// By key, by mode, and whether it is told that there is one.
#[test]
fn encrypted_files_are_read_with_their_key_and_said_to_be_locked_without() {
    let (right, wrong) = (FileKey::of_hash([1; 32]), FileKey::of_hash([2; 32]));
    let unlock = |key: Option<&FileKey>, mode| Unlock { key: key.cloned(), mode };
    let dir = TempDir::new().unwrap();
    for (mode, word) in [
        (CipherMode::Aes128, "AES128"),
        (CipherMode::Aes256, "AES256"),
        (CipherMode::Aes256Gcm, "AES256-GCM"),
    ] {
        for (text, form) in [(text(30), "plain"), (zstd(&text(30)), "zstd")] {
            let mut stored = Vec::new();
            let cipher = FileCipher { mode, key: right.clone() };
            let mut encryptor = Encryptor::start(&cipher, [7; 32], &mut stored);
            let from = stored.len();
            stored.extend_from_slice(&text);
            encryptor.push(&mut stored, from);
            encryptor.finish(&mut stored);
            let path = file(&dir, &stored);
            for stated in [None, Some(mode)] {
                let report = super::inspect_file(&path, &unlock(Some(&right), stated)).unwrap();
                assert_eq!((report.form, report.encryption), (form, Some(word)));
                assert_eq!((report.content.records, report.stored_bytes), (30, stored.len() as u64));
                assert!(!report.is_damaged());
                let report = super::inspect_file(&path, &unlock(Some(&wrong), stated)).unwrap();
                assert!(report.problem.unwrap().what.contains("encrypted with"), "{word}");
            }
            let report = super::inspect_file(&path, &unlock(None, Some(mode))).unwrap();
            assert_eq!((report.locked, report.encryption), (true, Some(word)));
            assert!(!report.is_damaged() && report.stored_bytes == stored.len() as u64);
        }
    }
}
