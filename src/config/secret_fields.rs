//! Which fields may hold a secret: the one list, which the reader keeps to and the tests of secrets walk.

use super::kind::Kind;

/// A field of a document or request that may hold a secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SecretField {
    section: Kind,
    /// Its key.
    pub key: &'static str,
    /// Whether the secret itself may stand there; if not, only a reference to one.
    pub literal: bool,
}

impl SecretField {
    /// Where it stands, as `aerospike-clusters.*.credentials.password`.
    pub fn path(&self) -> String {
        format!("{}.{}", self.section.path(), self.key)
    }
}

/// Every field that may hold a secret, section by section.
pub fn secret_fields() -> &'static [SecretField] {
    FIELDS
}

/// Whether the list has it: a field that it has not is in no test of secrets, so the reader asks for it.
pub(super) fn is_secret(section: Kind, key: &str) -> bool {
    FIELDS.iter().any(|field| field.section == section && field.key == key)
}

const fn literal(section: Kind, key: &'static str) -> SecretField {
    SecretField { section, key, literal: true }
}

const fn reference(section: Kind, key: &'static str) -> SecretField {
    SecretField { section, key, literal: false }
}

const FIELDS: &[SecretField] = &[
    literal(Kind::Https, "key-file-password"),
    literal(Kind::Credentials, "password"),
    literal(Kind::ClusterTls, "key-file-password"),
    literal(Kind::S3Storage, "access-key-id"),
    literal(Kind::S3Storage, "secret-access-key"),
    literal(Kind::AzureStorage, "account-key"),
    literal(Kind::AzureStorage, "tenant-id"),
    literal(Kind::AzureStorage, "client-id"),
    literal(Kind::AzureStorage, "client-secret"),
    literal(Kind::GcpStorage, "key"),
    reference(Kind::Encryption, "key-secret"),
    reference(Kind::Decryption, "key-secret"),
];
