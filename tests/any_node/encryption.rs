//! Encrypted backups, end to end (rules.md 3.10, 3.11): every mode, by time and by path, with the right key, another and
//! none; manifests that were changed, and files without anything beside them.

use std::path::{Path, PathBuf};

use holdfast::clock::{Clock, SystemClock};
use holdfast::sample::mixed;
use serde_json::{Value, json};

use crate::node::{SOURCE, TARGET};
use crate::service::{Bench, ROUTINE, copy_folder, point};

/// Made for these tests.
pub const KEY: &str = include_str!("../data/rsa_pkcs8.pem");

const MODES: [&str; 3] = ["AES128", "AES256", "AES256-GCM"];

/// A full chunk of AES256-GCM with its tag.
const CHUNK: usize = (64 << 10) + 16;

/// A folder with the key in it.
pub fn key_file() -> (tempfile::TempDir, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("key.pem");
    std::fs::write(&path, KEY).unwrap();
    (dir, path)
}

/// A service whose routine encrypts.
async fn bench(mode: &str, zstd: bool, key: &Path) -> Bench {
    Bench::with(|config| {
        let policy = &mut config["backup-policies"]["quick"];
        policy["encryption"] = json!({"mode": mode, "key-file": key});
        if zstd {
            policy["compression"] = json!({"mode": "ZSTD", "level": 1});
        }
    })
    .await
}

fn manifest(bench: &Bench, key: &str) -> Value {
    serde_json::from_slice(&std::fs::read(bench.path(key).join("manifest.json")).unwrap()).unwrap()
}

fn with_key(key: &Path) -> Value {
    json!({"policy": {"encryption": {"key-file": key}}})
}

#[tokio::test(flavor = "multi_thread")]
async fn every_mode_comes_back_by_time_and_by_path() {
    let (_dir, key_file) = key_file();
    for (mode, zstd) in MODES.into_iter().zip([true, false, true]) {
        let bench = bench(mode, zstd, &key_file).await;
        bench.write(&(0..300).map(|key| mixed("customers", key, 1)).collect::<Vec<_>>()).await;
        bench.back_up("full").await;
        bench.write(&(0..30).map(|key| mixed("customers", key * 10, 2)).collect::<Vec<_>>()).await;
        let job = bench.back_up("incremental").await;
        let expected = bench.node.snapshot(SOURCE).await;
        let key = bench.newest_key("full").await;
        let yaml = std::fs::read_to_string(bench.path(&key).join("metadata.yaml")).unwrap();
        let abs_word = mode.trim_end_matches("-GCM");
        assert!(yaml.ends_with(&format!("encryption: {abs_word}\n")), "rules.md 3.10: {yaml}");
        let manifest = manifest(&bench, &key);
        assert_eq!(manifest["encryption"], mode);
        assert!(manifest["seal"].as_str().unwrap().len() == 64 && manifest["scope"]["key-id"].is_string());
        assert_eq!(bench.list("full", ROUTINE).await[0]["encryption"], abs_word);
        for file in bench.data_files(&key) {
            let bytes = std::fs::read(file).unwrap();
            assert!(!bytes.starts_with(b"Version") && !bytes.starts_with(&[0x28, 0xB5, 0x2F, 0xFD]));
            assert!(!bytes.windows(9).any(|part| part == b"customers"), "{mode}: a set's name in clear");
        }
        let verified = bench.run("verify", ROUTINE).await;
        assert_eq!(verified["status"], "succeeded", "{verified:#}");

        bench.node.empty(TARGET).await;
        // The routine's own key, which the request need not name.
        bench.restore_to(point(&job), json!({})).await.ok();
        assert_eq!(bench.differences(&expected).await, Vec::<String>::new(), "{mode}");
        bench.node.empty(TARGET).await;
        bench.restore_of(&key, with_key(&key_file)).await.ok();
        let text = bench.restore_of(&key, json!({})).await.refused("encryption-key-missing");
        assert!(text.contains(&key) && text.contains(mode), "{text}");
        no_key_is_left(bench.dir.path());
    }
}

/// No part of the key in the store, in the backups' papers, anywhere below the service's folder.
pub fn no_key_is_left(dir: &Path) {
    let secrets: Vec<&str> = KEY.lines().filter(|line| !line.starts_with('-')).collect();
    let mut folders = vec![dir.to_owned()];
    let mut files = 0;
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            files += 1;
            let text = String::from_utf8_lossy(&std::fs::read(&path).unwrap()).into_owned();
            assert!(!secrets.iter().any(|secret| text.contains(secret)), "{}", path.display());
        }
    }
    assert!(files > 5);
}

#[tokio::test(flavor = "multi_thread")]
async fn another_key_is_told_as_that_and_not_as_damage() {
    let (dir, key_file) = key_file();
    let mut bench = bench("AES256", true, &key_file).await;
    bench.write(&(0..100).map(|key| mixed("customers", key, 1)).collect::<Vec<_>>()).await;
    let job = bench.back_up("full").await;
    let key = bench.newest_key("full").await;
    let foreign = key.replace(ROUTINE, "abs");
    copy_folder(&bench.path(&key), &bench.path(&foreign));
    for ours in ["manifest.json", "blocks.b3"] {
        std::fs::remove_file(bench.path(&foreign).join(ours)).unwrap();
    }
    // The same file, with another key in it.
    let other = dir.path().join("other.pem");
    std::fs::write(&other, OTHER_PEM).unwrap();
    for path in [&key, &foreign] {
        let text = bench.restore_of(path, with_key(&other)).await.refused("wrong-key");
        assert!(text.contains("encrypted with"), "{text}");
    }
    bench.config["backup-policies"]["quick"]["encryption"]["key-file"] = json!(other);
    bench.stop_service().await;
    bench.start_service().await;
    let verified = bench.run("verify", ROUTINE).await;
    assert_eq!(verified["error"]["code"], "wrong-key", "{verified:#}");
    bench.restore_to(point(&job), json!({})).await.refused("wrong-key");
    // With the new key an incremental has nothing to build on (rules.md 3.6, 3.7).
    bench.write(&[mixed("customers", 1, 2)]).await;
    let job = bench.back_up("incremental").await;
    assert!(crate::service::warnings(&job).contains("promoted-scope-changed"), "{job:#}");

    std::fs::write(&other, "no key").unwrap();
    let job = bench.run("full", ROUTINE).await;
    assert_eq!(job["error"]["code"], "encryption-key", "{job:#}");
    let text = job["error"]["message"].as_str().unwrap();
    assert!(text.contains("key-file") && !text.contains("no key"), "{text}");
}

/// An RSA key of 512 bits, made for these tests.
const OTHER_PEM: &str = include_str!("../data/rsa_other.pem");

#[tokio::test(flavor = "multi_thread")]
async fn a_changed_manifest_is_damage_by_its_seal() {
    let (_dir, key_file) = key_file();
    let bench = bench("AES256-GCM", false, &key_file).await;
    bench.write(&(0..100).map(|key| mixed("customers", key, 1)).collect::<Vec<_>>()).await;
    bench.back_up("full").await;
    let key = bench.newest_key("full").await;
    let path = bench.path(&key).join("manifest.json");
    let good = std::fs::read_to_string(&path).unwrap();
    let seal = manifest(&bench, &key)["seal"].as_str().unwrap().to_owned();
    let changed = [
        ("another producer", good.replacen("holdfast ", "holdfest ", 1)),
        ("no seal", good.replacen(&format!(",\n  \"seal\": \"{seal}\""), "", 1)),
        ("another seal", good.replacen(&seal, &"0".repeat(64), 1)),
        (
            "a key more behind the seal",
            good.replacen(&format!("\"{seal}\""), &format!("\"{seal}\",\n  \"more\": 1"), 1),
        ),
    ];
    for (what, text) in changed {
        assert_ne!(text, good, "{what}");
        std::fs::write(&path, text).unwrap();
        let refused = bench.restore_of(&key, with_key(&key_file)).await.refused("backup-damaged");
        assert!(refused.contains("seal"), "{what}: {refused}");
        let verified = bench.run("verify", ROUTINE).await;
        assert_eq!(verified["error"]["code"], "backup-damaged", "{what}: {verified:#}");
    }
    std::fs::write(&path, good).unwrap();
    bench.restore_of(&key, with_key(&key_file)).await.ok();
}

/// What asbackup leaves: files, and nothing that says what they are.
#[tokio::test(flavor = "multi_thread")]
async fn a_plain_directory_tells_its_mode_by_its_bytes() {
    let (_dir, key_file) = key_file();
    for (mode, zstd) in MODES.into_iter().zip([false, true, false]) {
        let bench = bench(mode, zstd, &key_file).await;
        bench.write(&(0..2000).map(|key| mixed("customers", key, 1)).collect::<Vec<_>>()).await;
        bench.back_up("full").await;
        let key = bench.newest_key("full").await;
        let plain = bench.path("theirs");
        std::fs::create_dir_all(&plain).unwrap();
        let files = bench.data_files(&key);
        for file in &files {
            std::fs::copy(file, plain.join(file.file_name().unwrap())).unwrap();
        }
        let ask = |more: Value| {
            let mut policy = json!({"key-file": key_file});
            policy.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            json!({"policy": {"namespace": null, "encryption": policy}, "destination-name": "node"})
        };
        for stated in [json!({}), json!({"mode": mode})] {
            bench.node.empty(TARGET).await;
            let mut request = ask(stated);
            request["policy"]["namespace"] = json!({"source": SOURCE, "destination": TARGET});
            let restored = bench.restore_of("theirs", request).await.ok();
            assert_eq!(restored.records("inserted"), 2000, "{mode}");
        }
        if mode != "AES256-GCM" {
            continue;
        }
        // Without anything beside it, a chunk still knows its place.
        let file = plain.join(files[0].file_name().unwrap());
        let good = std::fs::read(&file).unwrap();
        assert!(good.len() > 64 + 2 * CHUNK, "there must be chunks to swap: {}", good.len());
        let mut moved = good.clone();
        moved[64..64 + CHUNK].copy_from_slice(&good[64 + CHUNK..64 + 2 * CHUNK]);
        moved[64 + CHUNK..64 + 2 * CHUNK].copy_from_slice(&good[64..64 + CHUNK]);
        let mut flipped = good.clone();
        flipped[64 + CHUNK + 5] ^= 1;
        for (bytes, says) in [
            (moved, "chunk 1 stands where chunk 0 belongs"),
            (good[..64 + CHUNK].to_vec(), "cut behind chunk 0"),
            (flipped, "chunk 1, from stored byte 65616 on, is damaged"),
        ] {
            std::fs::write(&file, bytes).unwrap();
            let mut request = ask(json!({}));
            request["policy"]["namespace"] = json!({"source": SOURCE, "destination": TARGET});
            let text = bench.restore_of("theirs", request).await.refused("file-damaged");
            assert!(text.contains(says), "{text}");
        }
    }
}

/// A routine that began without encryption: its older fulls need no key, and a request by time reads both.
#[tokio::test(flavor = "multi_thread")]
async fn what_was_not_encrypted_stays_readable_beside_it() {
    let (_dir, key_file) = key_file();
    let mut bench = Bench::start().await;
    bench.write(&[mixed("customers", 1, 1)]).await;
    let plain = bench.back_up("full").await;
    bench.config["backup-policies"]["quick"]["encryption"] = json!({"mode": "aes128", "key-file": key_file});
    bench.stop_service().await;
    bench.start_service().await;
    bench.write(&[mixed("customers", 2, 1)]).await;
    bench.back_up("full").await;
    for (at, records) in [(point(&plain), 1), (SystemClock.now().0, 2)] {
        bench.node.empty(TARGET).await;
        assert_eq!(bench.restore_to(at, json!({})).await.ok().records("inserted"), records);
    }
    let verified = bench.run("verify", ROUTINE).await;
    assert_eq!(verified["status"], "succeeded", "{verified:#}");
}

/// Who has no key can still compare the stored bytes (rules.md 3.11).
#[tokio::test(flavor = "multi_thread")]
async fn without_the_key_a_verification_tells_damage_of_the_stored_bytes() {
    let (_dir, key_file) = key_file();
    let mut bench = bench("AES256", true, &key_file).await;
    bench.write(&(0..100).map(|key| mixed("customers", key, 1)).collect::<Vec<_>>()).await;
    bench.back_up("full").await;
    bench.config["backup-policies"]["quick"].as_object_mut().unwrap().remove("encryption");
    bench.stop_service().await;
    bench.start_service().await;
    let verified = bench.run("verify", ROUTINE).await;
    assert_eq!(verified["error"]["code"], "encryption-key-missing", "{verified:#}");
    let text = verified["error"]["message"].as_str().unwrap();
    assert!(text.contains("as they were written") && text.contains("no key was given"), "{text}");
    let file = bench.data_files(&bench.newest_key("full").await).pop().unwrap();
    let mut bytes = std::fs::read(&file).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    std::fs::write(&file, bytes).unwrap();
    let verified = bench.run("verify", ROUTINE).await;
    assert_eq!(verified["error"]["code"], "backup-damaged", "{verified:#}");
}
