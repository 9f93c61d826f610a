//! The documents beside the data.

use holdfast::catalog::layout::BLOCKS;
use holdfast::catalog::manifest::{
    BlocksReader, ClusterIdentity, Engine, FileKind, Manifest, ManifestFile, NodeIdentity, Totals,
};
use holdfast::catalog::metadata::METADATA_BYTES_MAX;
use holdfast::catalog::owner::{How, owner_document, parse_owner};
use holdfast::catalog::{Compression, Encryption, Metadata, Scope};
use holdfast::model::{BackupType, InstanceId, UnixMillis};
use holdfast::storage::LocalStorage;

use crate::harness::{Target, about, said};

const CREATED: UnixMillis = UnixMillis(1_767_225_600_123);

/// An error without what it quotes: its first plain words. Holds nothing.
fn outcome(error: &str) -> u64 {
    let is_plain = |word: &&str| !word.is_empty() && word.bytes().all(|byte| byte.is_ascii_lowercase());
    error.split([' ', ':', '"']).filter(is_plain).take(8).fold(0, |all, word| said((all, word)))
}

pub fn metadata(long: bool) {
    let full = Metadata {
        created: CREATED,
        finished: Some(CREATED.plus_ms(5000)),
        from: None,
        namespace: "source-ns1".to_owned(),
        record_count: 20_000,
        byte_count: 12_345_678,
        file_count: 5,
        secondary_index_count: 2,
        udf_count: 1,
        compression: Compression::Zstd,
        encryption: Encryption::Aes256,
    };
    let incremental = Metadata {
        from: Some(CREATED.plus_ms(-60_000)),
        namespace: "no: \"plain\" name".into(),
        ..full.clone()
    };
    let mut corpus: Vec<_> = [full, incremental].iter().map(|one| one.to_yaml().into_bytes()).collect();
    corpus.push(
        b"created: 2025-01-01T00:00:00Z\nfinished: \"0001-01-01T00:00:00Z\"\nnamespace: &a test\nmore: [*a, *a, {b: *a}]\n"
            .to_vec(),
    );
    let target = Target {
        name: "metadata_yaml",
        corpus,
        cases: 10_000,
        bytes_max: METADATA_BYTES_MAX as usize,
        held_fixed: 256 << 10,
        held_per_byte: 256,
    };
    target.run(long, |input| match Metadata::parse(input) {
        Ok((metadata, warnings)) => {
            assert!(warnings.len() <= input.len());
            // what was read can be written, and read again
            let again = Metadata::parse(metadata.to_yaml().as_bytes()).map(|(again, _)| again.namespace);
            assert_eq!(again.as_deref(), Ok(metadata.namespace.as_str()));
            said((1, about(warnings.len()), metadata.from.is_some(), metadata.encryption.word()))
        }
        Err(error) => outcome(&error),
    });
}

fn root(blocks: u64) -> String {
    let hashes: Vec<_> = (0..blocks).map(|block| *blake3::hash(&block.to_be_bytes()).as_bytes()).collect();
    blake3::Hash::from(holdfast::asb::root_of(&hashes)).to_hex().to_string()
}

fn manifest_of(sizes: &[u64]) -> Manifest {
    let block = holdfast::asb::BLOCK_BYTES as u64;
    let file = |(at, size): (usize, &u64)| ManifestFile {
        name: format!("{at}_test_1.asb.zst"),
        size_bytes: *size,
        records: 3,
        blake3: root(size.div_ceil(block).min(9)),
        kind: FileKind::Data,
    };
    let files: Vec<_> = sizes.iter().enumerate().map(file).collect();
    let count = files.len() as u64;
    let totals = Totals { records: 3 * count, bytes: sizes.iter().sum(), files: count, ..Totals::default() };
    let scope = Scope { sets: vec!["demo".to_owned()], racks: vec![1], ..Scope::default() };
    Manifest {
        schema_version: 1,
        producer: "holdfast 0.1.0".to_owned(),
        engine: Engine { name: "aerospike".to_owned(), version: "8.1.2".to_owned() },
        cluster: ClusterIdentity {
            name: "c".to_owned(),
            nodes: vec![NodeIdentity { id: "A1".to_owned(), address: "127.0.0.1:3000".to_owned() }],
        },
        routine: "daily".to_owned(),
        namespace: "test".to_owned(),
        backup_type: BackupType::Full,
        attempt: 1,
        created: CREATED,
        finished: CREATED.plus_ms(5000),
        from: None,
        safe_from: CREATED,
        sealed_until: Some(CREATED),
        promoted: None,
        run_namespaces: vec!["test".to_owned(), "other".to_owned()],
        scope_hash: scope.hash(),
        scope,
        format: "asb".to_owned(),
        compression: Compression::Zstd,
        encryption: Encryption::Aes256Gcm,
        files,
        totals,
        sidecar: None,
        clock_skew: None,
        unsupported_skipped: 0,
        warnings: vec!["a warning".to_owned()],
        seal: Some("00".repeat(32)),
        sealed_hash: None,
    }
}

pub fn manifest(long: bool) {
    let corpus =
        [&[][..], &[1], &[1000, 5 << 20, u64::MAX >> 8]].map(|sizes| manifest_of(sizes).to_json().unwrap());
    let target = Target {
        name: "manifest_json",
        corpus: corpus.into(),
        cases: 20_000,
        bytes_max: 64 << 10,
        held_fixed: 16 << 10,
        held_per_byte: 64,
    };
    target.run(long, |input| match Manifest::parse(input) {
        Ok(manifest) => {
            let _ = (manifest.block_count(), manifest.summary());
            assert!(manifest.files.iter().all(|file| file.root().is_some()));
            // what was read can be written, and read again as the same
            let again = Manifest::parse(&manifest.to_json().unwrap()).unwrap();
            assert_eq!(again, Manifest { sealed_hash: again.sealed_hash, ..manifest.clone() });
            said((1, about(manifest.files.len()), manifest.scope.follows_nodes(), manifest.from.is_some()))
        }
        Err(error) => outcome(&error),
    });
}

/// The hashes against manifests whose sizes were changed: only the true ones are taken, and no more is held than is there.
pub fn blocks(long: bool) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let storage = runtime.block_on(LocalStorage::open(folder.path())).unwrap();
    std::fs::create_dir(folder.path().join("b")).unwrap();
    let sizes: Vec<u64> = [1, 3, 9].map(|blocks| blocks * holdfast::asb::BLOCK_BYTES as u64 - 5).into();
    let hashes = |blocks: u64| (0..blocks).flat_map(|block| *blake3::hash(&block.to_be_bytes()).as_bytes());
    let whole: Vec<u8> = [1, 3, 9].into_iter().flat_map(hashes).collect();
    // The first byte changes the manifest, the rest is the file.
    let corpus = vec![[&[0][..], &whole].concat(), [&[1][..], &whole[..32]].concat(), vec![2]];
    let manifests =
        [sizes.clone(), sizes[..1].to_vec(), vec![], vec![u64::MAX; 9], vec![1; 40]].map(|sizes| {
            let mut manifest = manifest_of(&[]);
            manifest.files = sizes
                .iter()
                .map(|size| ManifestFile {
                    size_bytes: *size,
                    blake3: root(size.div_ceil(holdfast::asb::BLOCK_BYTES as u64).min(9)),
                    name: "f".to_owned(),
                    records: 0,
                    kind: FileKind::Data,
                })
                .collect();
            manifest
        });
    let target = Target {
        name: "blocks_b3",
        corpus,
        cases: 1_500,
        bytes_max: 64 << 10,
        held_fixed: 64 << 10,
        held_per_byte: 8,
    };
    target.run(long, |input| {
        let (choice, stored) = input.split_first().unwrap_or((&0, &[]));
        let manifest = &manifests[usize::from(*choice) % manifests.len()];
        std::fs::write(folder.path().join("b").join(BLOCKS), stored).unwrap();
        runtime.block_on(async {
            let mut reader = match BlocksReader::open(&storage, "b", manifest).await {
                Ok(reader) => reader,
                Err(error) => return said((0, error.code())),
            };
            let mut taken = Vec::new();
            for file in &manifest.files {
                match reader.next_file(file).await {
                    Ok(hashes) => taken.extend_from_slice(hashes.as_flattened()),
                    Err(error) => return said((1, error.code(), taken.len())),
                }
            }
            assert_eq!(taken, stored, "other hashes than are in the file");
            said((2, taken.len()))
        })
    });
}

/// An error quotes what it refuses, and escapes it: up to six bytes for one, in a string that grows.
pub fn owner(long: bool) {
    let id = |text| InstanceId::parse(text).unwrap();
    let write =
        |host, how, previous| owner_document(&id("a-1"), host, CREATED, how, previous).unwrap().to_vec();
    let corpus = vec![
        write(Some("db-1.example"), How::FirstWrite, None),
        write(None, How::Replaced, Some(&id("b-2"))),
        br#"{"version": 1, "instance": "a", "host": "x\u001b[2J", "taken-at": "?", "more": [[1]]}"#.to_vec(),
    ];
    let target = Target {
        name: "owner_file",
        corpus,
        cases: 50_000,
        bytes_max: 64 << 10,
        held_fixed: 4 << 10,
        held_per_byte: 32,
    };
    target.run(long, |input| match parse_owner(input) {
        Ok(owner) => {
            assert!(owner.host.as_ref().is_none_or(|host| host.chars().all(|c| !c.is_control())));
            assert!(InstanceId::parse(owner.instance.as_str()).is_ok());
            said((1, owner.host.is_some(), owner.taken_at.is_some()))
        }
        Err(error) => outcome(&error),
    });
}
