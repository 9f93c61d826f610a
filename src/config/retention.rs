//! `backup-policies.<name>.retention` (abs.md 2.6, 4.3).

use std::fmt;

use serde::{Deserialize, Serialize};

use super::reader::{Kind, Read, Section};
use crate::model::retention::Policy;

/// `retention`, as written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Retention {
    /// How many fulls are kept.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub full: Option<u32>,
    /// Of how many fulls the incrementals are kept.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub incremental: Option<u32>,
}

/// How much is kept, per namespace (rules.md 5.1); at least one of both says something.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct RetentionConfig {
    /// How many fulls are kept, from 1; none = all.
    pub full: Option<u32>,
    /// Of how many fulls the incrementals are kept; none = of all that stay.
    pub incremental: Option<u32>,
}

impl Retention {
    /// None where nothing is asked for: everything is kept.
    pub fn resolve(self) -> Option<RetentionConfig> {
        let Self { full, incremental } = self;
        (full.is_some() || incremental.is_some()).then_some(RetentionConfig { full, incremental })
    }
}

impl RetentionConfig {
    /// What the plan goes by.
    pub fn policy(self) -> Policy {
        let count = |count: u32| usize::try_from(count).unwrap_or(usize::MAX);
        Policy { full: self.full.map_or(usize::MAX, count), incremental: self.incremental.map(count) }
    }
}

/// In words: `keeps the 3 newest fulls of each namespace, with the incrementals of the newest one`.
impl fmt::Display for RetentionConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.full {
            None => f.write_str("keeps every full")?,
            Some(1) => f.write_str("keeps the newest full of each namespace")?,
            Some(full) => write!(f, "keeps the {full} newest fulls of each namespace")?,
        }
        match self.incremental {
            None => f.write_str(", with all their incrementals"),
            Some(0) => f.write_str(", and removes the incrementals after each full"),
            Some(1) => f.write_str(", with the incrementals of the newest one"),
            Some(kept) => write!(f, ", with the incrementals of the {kept} newest"),
        }
    }
}

impl Read for Retention {
    const KIND: Kind = Kind::Retention;

    fn read(section: &mut Section<'_>) -> Self {
        let retention = Self {
            full: section.int("full", 1..=i64::from(i32::MAX)),
            incremental: section.int("incremental", 0..=i64::from(i32::MAX)),
        };
        if let (Some(full), Some(incremental)) = (retention.full, retention.incremental)
            && incremental > full
        {
            section.reject(
                "incremental",
                format!("validation error: incremental {incremental} must not be greater than full {full}"),
            );
        }
        retention
    }
}
