//! What a backup was asked to hold: an incremental builds only on a backup of the same scope (rules.md 3.6).

use serde::{Deserialize, Serialize};

/// What a backup was asked to hold; names as configured.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
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
    /// The partitions, in order; empty: all 4096. Node and rack lists are resolved to partitions by the full.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub partitions: Vec<PartitionRange>,
    /// Without records: indexes and UDFs only.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub no_records: bool,
    /// What tells encryption keys apart without revealing them; none without encryption.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key_id: Option<String>,
}

/// Neighbouring partitions, both ends included.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct PartitionRange {
    /// The first partition.
    pub first: u16,
    /// The last partition.
    pub last: u16,
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
        canonical.partitions = merged(canonical.partitions);
        // Plain strings, numbers and flags: serde_json writes them in the order of the struct, and cannot fail.
        let json = serde_json::to_vec(&canonical).unwrap_or_default();
        blake3::hash(&json).to_hex().to_string()
    }
}

/// Sorted, touching ranges joined, and all of them left out.
fn merged(mut ranges: Vec<PartitionRange>) -> Vec<PartitionRange> {
    ranges.sort_unstable();
    let mut merged: Vec<PartitionRange> = Vec::new();
    for range in ranges {
        match merged.last_mut() {
            Some(last) if range.first <= last.last.saturating_add(1) => last.last = last.last.max(range.last),
            _ => merged.push(range),
        }
    }
    if merged == [PartitionRange { first: 0, last: 4095 }] {
        merged.clear();
    }
    merged
}
