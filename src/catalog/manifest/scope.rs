//! What a backup was asked to hold: an incremental builds only on a backup of the same scope (rules.md 3.6).

use serde::{Deserialize, Serialize};

use crate::model::PartitionSet;

/// What a backup was asked to hold; names as configured.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "kebab-case")]
#[schema(as = BackupScope)]
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
    #[schema(value_type = String)]
    pub partitions: PartitionSet,
    /// The nodes, as configured, whose partitions the full took.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub nodes: Vec<String>,
    /// The racks whose nodes' partitions the full took.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub racks: Vec<u32>,
    /// Only records that never expire.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub no_ttl_only: bool,
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
            nodes: Vec::new(),
            racks: Vec::new(),
            no_ttl_only: false,
            no_records: false,
            key_id: None,
        }
    }
}

impl Scope {
    /// Whether the partitions are those that some nodes had when the full began.
    pub fn follows_nodes(&self) -> bool {
        !self.nodes.is_empty() || !self.racks.is_empty()
    }

    /// BLAKE3 of the canonical form, in hex: the order in which sets and bins are named does not matter, and what is
    /// not restricted is not mentioned, so that a field added later leaves the hashes of older scopes alone.
    pub fn hash(&self) -> String {
        let mut canonical = self.clone();
        for names in [&mut canonical.sets, &mut canonical.bins, &mut canonical.nodes] {
            names.sort_unstable();
            names.dedup();
        }
        canonical.racks.sort_unstable();
        canonical.racks.dedup();
        if self.follows_nodes() {
            // An incremental takes those of its full, wherever they are by then (rules.md 3.6).
            canonical.partitions = PartitionSet::all();
        }
        // Plain strings and flags: serde_json writes them in the order of the struct, and cannot fail.
        let json = serde_json::to_vec(&canonical).unwrap_or_default();
        blake3::hash(&json).to_hex().to_string()
    }
}

fn is_all(partitions: &PartitionSet) -> bool {
    *partitions == PartitionSet::all()
}
