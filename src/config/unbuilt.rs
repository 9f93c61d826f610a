//! What is known but not built yet: it stops the start and is never ignored (rules.md 3.14).
//!
//! The one list: the reader, `holdfast check` and the README go by it.

use serde_json::Value as Json;

use super::reader::Kind;

/// An option that a document may name and that this version does not do.
#[derive(Debug)]
pub struct Unbuilt {
    pub(crate) section: Kind,
    /// The option's key.
    pub key: &'static str,
    /// What it would do.
    pub what: &'static str,
    neutral: Neutral,
}

/// The value that asks for nothing, and so may be given.
#[derive(Debug, Clone, Copy)]
#[allow(dead_code)] // every known option is built today
enum Neutral {
    /// No value does.
    Nothing,
    /// `false`.
    Off,
}

impl Unbuilt {
    /// Where it stands, as `backup-policies.*.retention`.
    pub fn path(&self) -> String {
        format!("{}.{}", self.section.path(), self.key)
    }

    /// Whether `value` asks for nothing.
    pub(crate) fn is_neutral(&self, value: &Json) -> bool {
        match self.neutral {
            Neutral::Nothing => false,
            Neutral::Off => value == &Json::Bool(false),
        }
    }
}

/// Every option that is known but not built, section by section.
pub fn unbuilt() -> &'static [Unbuilt] {
    UNBUILT
}

#[allow(dead_code)] // as above
const fn row(section: Kind, key: &'static str, neutral: Neutral, what: &'static str) -> Unbuilt {
    Unbuilt { section, key, what, neutral }
}

const UNBUILT: &[Unbuilt] = &[];

/// Keys that ABS took back, with what to use instead (abs.md 2.1).
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
