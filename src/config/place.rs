//! Where each kind of section stands.

use super::reader::Kind;

impl Kind {
    /// Where such a section stands in a document or request.
    pub(super) const fn path(self) -> &'static str {
        match self {
            Self::Document => "",
            Self::Service => "service",
            Self::Http => "service.http",
            Self::Https => "service.https",
            Self::Rate => "service.http.rate",
            Self::Audit => "service.audit",
            Self::Auth => "service.auth",
            Self::AuthToken => "service.auth.tokens[*]",
            Self::AuthCertificate => "service.auth.certificates[*]",
            Self::Logger => "service.logger",
            Self::FileWriter => "service.logger.file-writer",
            Self::ServiceBackup => "service.backup",
            Self::JobHistory => "service.job-history",
            Self::Cluster => "aerospike-clusters.*",
            Self::Credentials => "aerospike-clusters.*.credentials",
            Self::ClusterTls => "aerospike-clusters.*.tls",
            Self::Seed => "aerospike-clusters.*.seed-nodes[*]",
            Self::SecretAgent => "secret-agents.*",
            Self::Storage => "storage.*",
            Self::LocalStorage => "storage.*.local-storage",
            Self::AzureStorage => "storage.*.azure-storage",
            Self::AzureTiers => "storage.*.azure-storage.storage-class",
            Self::GcpStorage => "storage.*.gcp-storage",
            Self::GcpClass => "storage.*.gcp-storage.storage-class",
            Self::S3Storage => "storage.*.s3-storage",
            Self::S3Class => "storage.*.s3-storage.storage-class",
            Self::S3Encryption => "storage.*.s3-storage.server-side-encryption",
            Self::S3ObjectLock => "storage.*.s3-storage.object-lock",
            Self::S3Role => "storage.*.s3-storage.assume-role",
            Self::Policy => "backup-policies.*",
            Self::Retry => "backup-policies.*.retry-policy",
            Self::Compression => "backup-policies.*.compression",
            Self::Encryption => "backup-policies.*.encryption",
            Self::Decryption => "restore.policy.encryption",
            Self::Retention => "backup-policies.*.retention",
            Self::Keep => "backup-policies.*.retention.keep",
            Self::Routine => "backup-routines.*",
            Self::Copy => "backup-routines.*.copies[*]",
            Self::CopyOrder => "copy",
            Self::Restore | Self::RestoreTimestamp => "restore",
            Self::RestorePolicy => "restore.policy",
            Self::Remap => "restore.policy.namespace",
            Self::SafetyBackup => "restore.safety-backup",
        }
    }
}
