//! Keys of files, read when a job starts: they live in memory only, as long as the job (DESIGN.md 9).

use std::io::Read as _;
use std::path::Path;

use secrecy::ExposeSecret;

use crate::asb::cipher::KeyError;
use crate::asb::{CipherMode, FileCipher, FileKey};
use crate::config::{DecryptionConfig, EncryptionConfig, EncryptionMode, KeyPlace};
use crate::error::{Error, Result};
use crate::secrets::{Keeper, StoredSecret};
use crate::tasks;

/// No private key is longer: what is, was named by mistake.
const KEY_BYTES_MAX: u64 = 64 << 10;

/// What files are written with; none if they are not encrypted.
///
/// Errors: those of [`load`]; `encryption-key` for a key that is good for reading only.
pub async fn cipher(config: Option<&EncryptionConfig>) -> Result<Option<FileCipher>> {
    let Some(config) = config else { return Ok(None) };
    let Some(mode) = mode(config.mode) else { return Ok(None) };
    let key = writable(load(&config.key).await?, &config.key)?;
    Ok(Some(FileCipher { mode, key }))
}

/// A key with which files may be written. Errors: `encryption-key`.
pub fn writable(key: FileKey, place: &KeyPlace) -> Result<FileKey> {
    key.check_writable().map_err(|problem| no_key(place, &problem.to_string()))?;
    Ok(key)
}

/// What files are read with; none if no key was given. Errors: those of [`load`].
pub async fn key(config: Option<&DecryptionConfig>) -> Result<Option<FileKey>> {
    match config {
        Some(config) => load(&config.key).await.map(Some),
        None => Ok(None),
    }
}

/// Reads the key of a place; a secret agent is asked now.
///
/// Errors: `encryption-key`, which names the field and never shows what it holds; those of [`StoredSecret::fetch`].
pub async fn load(place: &KeyPlace) -> Result<FileKey> {
    let parsed: std::result::Result<FileKey, KeyError> = match place {
        KeyPlace::File(path) => {
            let path = path.clone();
            let text = tasks::blocking(move || Ok(read_file(&path))).await?;
            FileKey::from_file(&text.map_err(|problem| no_key(place, &problem))?)
        }
        KeyPlace::Secret(source) => {
            // Nothing is kept for it in memory: it can only be a reference.
            let secret = StoredSecret::new(source.clone(), Keeper::default()).fetch().await;
            let secret = secret.map_err(|error| error.context("encryption.key-secret"))?;
            FileKey::from_secret(secret.expose_secret())
        }
        KeyPlace::Env(name) => match std::env::var(name) {
            Ok(text) => FileKey::from_env(&text),
            Err(std::env::VarError::NotPresent) => return Err(no_key(place, "the variable is not set")),
            // Its own text would show what the variable holds.
            Err(std::env::VarError::NotUnicode(_)) => Err(KeyError::NotBase64),
        },
    };
    parsed.map_err(|problem| no_key(place, &problem.to_string()))
}

fn read_file(path: &Path) -> std::result::Result<Vec<u8>, String> {
    let failed = |error: std::io::Error| format!("it cannot be read: {error}");
    let file = std::fs::File::open(path).map_err(failed)?;
    let mut text = Vec::new();
    file.take(KEY_BYTES_MAX + 1).read_to_end(&mut text).map_err(failed)?;
    if text.len() as u64 > KEY_BYTES_MAX {
        return Err(format!("it has more than {KEY_BYTES_MAX} bytes, which no private key has"));
    }
    Ok(text)
}

fn no_key(place: &KeyPlace, problem: &str) -> Error {
    Error::permanent("encryption-key", format!("{place}: {problem}")).hint(
        "It must hold an RSA private key, in a file as PEM, in a variable or a secret as PEM or base64 of its DER.",
    )
}

/// The cipher of a configured mode.
pub const fn mode(mode: EncryptionMode) -> Option<CipherMode> {
    match mode {
        EncryptionMode::None => None,
        EncryptionMode::Aes128 => Some(CipherMode::Aes128),
        EncryptionMode::Aes256 => Some(CipherMode::Aes256),
        EncryptionMode::Aes256Gcm => Some(CipherMode::Aes256Gcm),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::asb::cipher::tests::PKCS1;
    use crate::secrets::test_agent::TestAgent;
    use crate::secrets::{AgentOptions, SecretSource};

    fn config(key: KeyPlace) -> EncryptionConfig {
        EncryptionConfig { mode: EncryptionMode::Aes256, key }
    }

    #[tokio::test]
    async fn a_key_file_is_read_and_what_is_wrong_with_one_names_the_field_and_shows_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("key.pem");
        let place = KeyPlace::File(path.clone());
        let missing = cipher(Some(&config(place.clone()))).await.unwrap_err();
        assert!(missing.to_string().contains("key-file") && missing.to_string().contains("cannot be read"));
        std::fs::write(&path, PKCS1).unwrap();
        let found = cipher(Some(&config(place.clone()))).await.unwrap().unwrap();
        assert_eq!(found.mode, CipherMode::Aes256);
        for text in ["hunter2".to_owned(), PKCS1.replace("MIIC", "hunter2"), "hunter2".repeat(10_000)] {
            std::fs::write(&path, text).unwrap();
            let error = cipher(Some(&config(place.clone()))).await.unwrap_err();
            assert_eq!(error.code(), "encryption-key");
            assert!(error.to_string().contains("key-file"), "{error}");
            assert!(!format!("{error:?} {}", error.report()).contains("hunter2"), "{error:?}");
        }
        assert!(cipher(None).await.unwrap().is_none());
    }

    #[tokio::test]
    async fn a_variable_that_is_not_set_is_named() {
        let error = load(&KeyPlace::Env("HOLDFAST_TEST_NO_SUCH_KEY".to_owned())).await.unwrap_err();
        assert!(error.to_string().contains("key-env HOLDFAST_TEST_NO_SUCH_KEY"), "{error}");
        // A variable that every process has, and that holds no key.
        let error = load(&KeyPlace::Env("PATH".to_owned())).await.unwrap_err();
        assert!(!error.report().contains("/bin"), "{error:?}");
    }

    fn at(agent: &TestAgent, key: &str, is_base64: bool) -> KeyPlace {
        let agent = Box::new(AgentOptions { is_base64, ..agent.options.clone() });
        KeyPlace::Secret(SecretSource::Agent { resource: "backup".into(), key: key.into(), agent })
    }

    #[tokio::test]
    async fn an_agents_key_may_be_pem_or_base64_or_der_and_is_the_same_key() {
        let agent = TestAgent::tcp().await;
        let body: String = PKCS1.lines().filter(|line| !line.starts_with('-')).collect();
        agent.put("backup", "pem", PKCS1);
        agent.put("backup", "body", &body);
        agent.put("backup", "base64", &base64_simd::STANDARD.encode_to_string(PKCS1));
        let expected = FileKey::from_file(PKCS1.as_bytes()).unwrap().id();
        // Base64 that the agent's options take off leaves PEM, or DER as it is.
        for (key, is_base64) in
            [("pem", false), ("body", false), ("base64", false), ("base64", true), ("body", true)]
        {
            let found = cipher(Some(&config(at(&agent, key, is_base64)))).await.unwrap().unwrap();
            assert_eq!(found.key.id(), expected, "{key}, is-base64 {is_base64}");
        }
        assert_eq!(agent.asked(), 5, "nothing is kept");
    }

    #[tokio::test]
    async fn an_agent_without_a_key_is_told_by_the_field_and_the_reference_and_shows_nothing() {
        let agent = TestAgent::tcp().await;
        let damaged = PKCS1.replace("MIIC", "hunter2");
        let not_der = base64_simd::STANDARD.encode_to_string([0xFF; 40]);
        for (value, is_base64) in [
            ("", false),
            ("hunter2!", false),
            (damaged.as_str(), false),
            (not_der.as_str(), false),
            (not_der.as_str(), true),
        ] {
            agent.put("backup", "key", value);
            let error = cipher(Some(&config(at(&agent, "key", is_base64)))).await.unwrap_err();
            assert_eq!((error.code(), error.is_temporary()), ("encryption-key", false), "{value}");
            assert!(error.to_string().starts_with("encryption.key-secret secrets:backup:key: "), "{error}");
            let shown = format!("{error:?} {}", error.report());
            assert!(!shown.contains("hunter2") && !shown.contains("////"), "{shown}");
        }
        agent.say("backup", "key", r#"{"Error":"sealed"}"#);
        let error = load(&at(&agent, "key", false)).await.unwrap_err();
        assert_eq!((error.code(), error.is_temporary()), ("secret-agent-refused", true));
        assert!(error.to_string().starts_with("encryption.key-secret: "), "{error}");
        let away = at(&agent, "key", false);
        drop(agent);
        let error = load(&away).await.unwrap_err();
        assert_eq!((error.code(), error.is_temporary()), ("secret-agent-unreachable", true), "{error}");
    }
}
