//! Keys that ABS took back (abs.md 2.1).

use super::kind::Kind;

/// Where each stood, and what to use instead.
pub(crate) const DEPRECATED: &[(Kind, &str, &str)] = &[
    (Kind::Policy, "max-retries", "is deprecated. Use retry-policy"),
    (Kind::Policy, "retry-delay", "is deprecated. Use retry-policy"),
    (Kind::Policy, "remove-files", "is deprecated. Use retention"),
    (Kind::Policy, "namespace", "is not supported. Use namespaces of the routine"),
    (Kind::Storage, "type", "is deprecated. Use nested storage objects, as local-storage"),
    (Kind::Routine, "prefer-racks", "is deprecated. Use prefer-racks of the cluster"),
    (Kind::RestoreTimestamp, "storage", "is deprecated. Use source"),
    (Kind::RestoreTimestamp, "storage-name", "is deprecated. Use source-name"),
];
