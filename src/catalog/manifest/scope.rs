//! What a backup was asked to hold: an incremental builds only on a backup of the same scope (rules.md 3.6).

use serde::{Deserialize, Serialize};

use crate::model::PartitionSet;

/// What a backup was asked to hold; names as configured.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Scope {
    /// The sets; empty: all.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub sets: Vec<String>,
    /// The bins; empty: all.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub bins: Vec<String>,
    /// The filter expression, base64.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub filter: Option<String>,
    /// The partitions: the full resolves node and rack lists to them.
    #[serde(default = "PartitionSet::all", skip_serializing_if = "is_all")]
    pub partitions: PartitionSet,
    /// Without records: indexes and UDFs only.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub no_records: bool,
    /// What tells encryption keys apart without revealing them; none without encryption.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key_id: Option<String>,
}

impl Default for Scope {
    /// Everything, not encrypted.
    fn default() -> Self {
        Self {
            sets: Vec::new(),
            bins: Vec::new(),
            filter: None,
            partitions: PartitionSet::all(),
            no_records: false,
            key_id: None,
        }
    }
}

impl Scope {
    /// BLAKE3 of the canonical form, in hex: the order in which sets and bins are named does not matter, and what is
    /// not restricted is not mentioned, so that a field added later leaves the hashes of older scopes alone.
    pub fn hash(&self) -> String {
        let mut canonical = self.clone();
        for names in [&mut canonical.sets, &mut canonical.bins] {
            names.sort_unstable();
            names.dedup();
        }
        // Plain strings and flags: serde_json writes them in the order of the struct, and cannot fail.
        let json = serde_json::to_vec(&canonical).unwrap_or_default();
        blake3::hash(&json).to_hex().to_string()
    }
}

fn is_all(partitions: &PartitionSet) -> bool {
    *partitions == PartitionSet::all()
}
