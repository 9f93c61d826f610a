//! What is asked of the server for an object: class, encryption, lock, tags, checksum.

use std::fmt::Write as _;

use aws_sdk_s3::primitives::{ByteStream, DateTime};
use aws_sdk_s3::types::{ChecksumAlgorithm, ObjectLockMode, ServerSideEncryption, StorageClass};
use bytes::Bytes;

use super::failure::{failure, status};
use super::{ASK, S3Storage};
use crate::config::{S3Checksum, S3Config, S3EncryptionMode, S3LockMode};
use crate::error::Error;
use crate::model::UnixMillis;
use crate::storage::retry::{Failure, RetryPolicy};

const DAY_MS: i64 = 24 * 60 * 60 * 1000;

/// What is asked of the server for one object.
#[derive(Debug, Clone)]
pub(super) struct Dress {
    pub class: Option<StorageClass>,
    pub encryption: Option<ServerSideEncryption>,
    pub kms_key_id: Option<String>,
    pub lock_mode: Option<ObjectLockMode>,
    pub locked_until: Option<DateTime>,
    pub tagging: Option<String>,
    pub checksum: Option<ChecksumAlgorithm>,
}

impl Dress {
    /// Of the object with this key, written at `now`.
    ///
    /// Owner and instance files are written again and again: an infrequent-access class would charge for each, and a lock
    /// would keep them all. Of the rest, data files are what nothing but a restore and a verification reads.
    fn of(config: &S3Config, key: &str, now: UnixMillis) -> Self {
        let is_ours = is_ours(key);
        let class = match key {
            _ if is_ours => None,
            _ if is_data(key) => config.class.data,
            _ => config.class.metadata,
        };
        let lock = config.lock.filter(|_| !is_ours);
        let encryption = config.encryption.as_ref();
        Self {
            class: class.map(|class| StorageClass::from(class.word())),
            encryption: encryption.map(|encryption| match encryption.mode {
                S3EncryptionMode::S3 => ServerSideEncryption::Aes256,
                S3EncryptionMode::Kms => ServerSideEncryption::AwsKms,
                S3EncryptionMode::KmsDsse => ServerSideEncryption::AwsKmsDsse,
            }),
            kms_key_id: encryption.and_then(|encryption| encryption.kms_key_id.clone()),
            lock_mode: lock.map(|lock| match lock.mode {
                S3LockMode::Governance => ObjectLockMode::Governance,
                S3LockMode::Compliance => ObjectLockMode::Compliance,
            }),
            locked_until: lock.map(|lock| DateTime::from_millis(now.0 + i64::from(lock.days) * DAY_MS)),
            tagging: tagging(&config.tags),
            checksum: match config.checksum {
                S3Checksum::Crc32 => Some(ChecksumAlgorithm::Crc32),
                S3Checksum::Crc32c => Some(ChecksumAlgorithm::Crc32C),
                S3Checksum::Crc64nvme => Some(ChecksumAlgorithm::Crc64Nvme),
                S3Checksum::Sha1 => Some(ChecksumAlgorithm::Sha1),
                S3Checksum::Sha256 => Some(ChecksumAlgorithm::Sha256),
                S3Checksum::None => None,
            },
        }
    }
}

/// Owner, instance and void files: `holdfast-owner.json`, `holdfast-instances/<id>.json`, `holdfast-void.json`.
fn is_ours(key: &str) -> bool {
    let name = key.rsplit_once('/').map_or(key, |(_, name)| name);
    key.starts_with("holdfast-instances/")
        || (name.starts_with("holdfast-") && name.strip_suffix(".json").is_some())
}

fn is_data(key: &str) -> bool {
    key.rsplit_once('.').is_some_and(|(_, ending)| ending == "asb")
}

/// Tags as a query.
fn tagging(tags: &[(String, String)]) -> Option<String> {
    let mut text = String::new();
    for (key, value) in tags {
        let _ = write!(text, "{}{}={}", if text.is_empty() { "" } else { "&" }, escaped(key), escaped(value));
    }
    (!text.is_empty()).then_some(text)
}

fn escaped(text: &str) -> String {
    text.bytes().fold(String::new(), |mut escaped, byte| {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            escaped.push(char::from(byte));
        } else {
            let _ = write!(escaped, "%{byte:02X}"); // writing to a String cannot fail
        }
        escaped
    })
}

/// A request with its dress on: the SDK's two builders for it have the same setters and no trait in common.
macro_rules! dressed {
    ($request:expr, $dress:expr) => {
        $request
            .set_storage_class($dress.class)
            .set_server_side_encryption($dress.encryption)
            .set_ssekms_key_id($dress.kms_key_id)
            .set_object_lock_mode($dress.lock_mode)
            .set_object_lock_retain_until_date($dress.locked_until)
            .set_tagging($dress.tagging)
            .set_checksum_algorithm($dress.checksum)
    };
}

impl S3Storage {
    /// What is asked for the object of a key that is written now.
    pub(super) fn dress(&self, key: &str) -> Dress {
        Dress::of(&self.0.config, key, self.0.clock.now())
    }

    /// Writes a whole object; with `over` only while it has that ETag.
    pub(super) async fn try_put(
        &self,
        object: &str,
        dress: &Dress,
        bytes: Bytes,
        over: Option<&str>,
    ) -> Result<(), Failure> {
        let (dress, limit) = (dress.clone(), RetryPolicy::DATA.patience(bytes.len() as u64));
        let request = self.client().put_object().bucket(self.bucket()).key(object);
        let request =
            dressed!(request, dress).set_if_match(over.map(str::to_owned)).body(ByteStream::from(bytes));
        self.answered(limit, request.send()).await?.map(drop).map_err(|error| match status(&error) {
            Some(409 | 412) if over.is_some() => {
                Error::permanent("storage-changed", "the object is not the one that was read any more").into()
            }
            _ => failure(error),
        })
    }

    /// Begins an upload in parts: its id.
    pub(super) async fn try_begin(&self, object: &str, dress: &Dress) -> Result<String, Failure> {
        let dress = dress.clone();
        let request = self.client().create_multipart_upload().bucket(self.bucket()).key(object);
        let request = dressed!(request, dress);
        let begun = self.answered(ASK, request.send()).await?.map_err(failure)?;
        let id = begun.upload_id.filter(|id| !id.is_empty());
        id.ok_or_else(|| super::broken("the server began an upload without a name").into())
    }
}

#[cfg(test)]
mod tests {
    use super::{is_data, is_ours, tagging};

    #[test]
    fn tags_are_a_query() {
        let tags = [("team".to_owned(), "a b&c".to_owned()), ("ü".to_owned(), String::new())];
        assert_eq!(tagging(&tags).as_deref(), Some("team=a%20b%26c&%C3%BC="));
        assert_eq!(tagging(&[]), None);
    }

    #[test]
    fn only_data_files_are_data() {
        assert!(is_data("r/backup/1/data/ns/0_ns_1.asb"));
        for key in ["r/backup/1/data/ns/metadata.yaml", "r/backup/1/data/ns/blocks.b3", "asb"] {
            assert!(!is_data(key), "{key}");
            assert!(!is_ours(key), "{key}");
        }
        for key in
            ["r/holdfast-owner.json", "holdfast-instances/a.json", "r/backup/1/data/ns/holdfast-void.json"]
        {
            assert!(is_ours(key), "{key}");
        }
        assert!(!is_ours("holdfast-daily/backup/1/data/ns/metadata.yaml"));
    }
}
