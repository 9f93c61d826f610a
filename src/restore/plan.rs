//! What a restore will do, as a value that can be printed.

use std::sync::Arc;

use serde::Serialize;

use crate::catalog::{Compression, Encryption};
use crate::config::{RestoreConfig, RestoreTarget, VerifyFirst};
use crate::engine::copies::Copies;
use crate::error::Result;
use crate::model::restore_order::{self, Exists, Order, Remembered, Request};
use crate::model::{BackupType, UnixMillis};
use crate::verify::Contents;

/// What a restore will do.
#[derive(Debug, Clone, Default)]
pub struct RestorePlan {
    /// One entry for each namespace; they go side by side (rules.md 4.8).
    pub namespaces: Vec<NamespaceRestore>,
    /// Said in the job.
    pub warnings: Vec<String>,
}

impl RestorePlan {
    /// Its files are also in the storages of `copies`.
    pub fn also_in(&mut self, copies: Option<&Arc<Copies>>) {
        let members = self.namespaces.iter_mut().flat_map(|namespace| &mut namespace.members);
        for file in members.flat_map(|member| &mut member.contents.files) {
            file.copies = copies.cloned();
        }
    }
}

/// What a restore will do with one namespace.
#[derive(Debug, Clone)]
pub struct NamespaceRestore {
    /// The namespace of the backups.
    pub source: String,
    /// The namespace that is written.
    pub destination: String,
    /// The backups, oldest first.
    pub members: Vec<MemberPlan>,
    /// Every change stamped before this instant is in it (rules.md 3.3); none where it is not known.
    pub complete_before: Option<UnixMillis>,
    /// No change after this instant is in it; none where it is not known.
    pub finished: Option<UnixMillis>,
}

/// One backup of a chain.
#[derive(Debug, Clone)]
pub struct MemberPlan {
    /// Its folder.
    pub key: String,
    /// Full or incremental; plain directories count as full.
    pub backup_type: BackupType,
    /// The start of its run; none for a plain directory.
    pub created: Option<UnixMillis>,
    /// Its files, and what must be found in them.
    pub contents: Contents,
    /// How its files are compressed, for the reader of the plan: the files say it themselves.
    pub compression: Option<Compression>,
    /// How its files are encrypted.
    pub encryption: Encryption,
}

/// How the members of one namespace are written, once the destination was looked at (rules.md 4.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Way {
    /// Whether nothing was found in the destination.
    pub destination_empty: bool,
    /// Order, policy and what is remembered.
    pub order: restore_order::Plan,
    /// Whether all bytes are read and checked before the first write (rules.md 4.2).
    pub verify_first: bool,
}

impl Way {
    /// Decides by the table of rules.md 4.3.
    pub fn choose(config: &RestoreConfig, destination_empty: bool) -> Result<Self> {
        let policy = &config.policy;
        let disable_reordering =
            matches!(config.target, RestoreTarget::Time { disable_reordering: true, .. });
        let order = restore_order::plan_order(Request {
            destination_empty,
            unique: policy.unique,
            disable_reordering,
            replace: policy.replace,
            no_generation: policy.no_generation,
        })?;
        let verify_first = match config.care.verify_first {
            VerifyFirst::Auto => !destination_empty,
            VerifyFirst::Always => true,
            VerifyFirst::Never => false,
        };
        Ok(Self { destination_empty, order, verify_first })
    }

    /// Whether each digest is written once.
    pub fn each_digest_once(&self) -> bool {
        self.order.remembered == Remembered::All
    }

    /// The places of the members in the order in which they are written.
    pub fn places(&self, members: usize) -> Vec<usize> {
        match self.order.order {
            Order::NewestFirst => (0..members).rev().collect(),
            Order::Chronological => (0..members).collect(),
        }
    }
}

impl NamespaceRestore {
    /// Records in all members, as far as they were counted.
    pub fn records(&self) -> u64 {
        self.members.iter().filter_map(|member| member.contents.expected.records).fold(0, u64::saturating_add)
    }

    /// For the job's result, and for whoever asks before there is a job.
    pub fn describe(&self, way: &Way) -> Described {
        let render = |at: Option<UnixMillis>| at.map(UnixMillis::to_rfc3339);
        Described {
            namespace: self.source.clone(),
            destination: self.destination.clone(),
            destination_empty: way.destination_empty,
            order: match way.order.order {
                Order::NewestFirst => "newest-first",
                Order::Chronological => "chronological",
            },
            policy: match way.order.exists {
                Exists::CreateOnly => "create-only",
                Exists::Update => "update",
                Exists::Replace => "replace",
            },
            verify_first: way.verify_first,
            complete_before: render(self.complete_before),
            finished: render(self.finished),
            chain: self.members.iter().map(|member| member.key.clone()).collect(),
            files: self.members.iter().map(|member| member.contents.files.len() as u64).sum(),
            bytes: self.members.iter().map(MemberPlan::bytes).fold(0, u64::saturating_add),
            records: self.records(),
            digest_table_bytes: if way.each_digest_once() { self.records() * DIGEST_ROW_BYTES } else { 0 },
        }
    }
}

/// What a restore will do with one namespace, in the words of the API.
#[derive(Debug, Clone, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "kebab-case")]
pub struct Described {
    /// The namespace of the backups.
    pub namespace: String,
    /// The namespace that is written.
    pub destination: String,
    /// Whether nothing was found in the destination, in the sets concerned.
    pub destination_empty: bool,
    /// `newest-first` or `chronological`.
    pub order: &'static str,
    /// `create-only`, `update` or `replace`.
    pub policy: &'static str,
    /// Whether all bytes are read and checked before the first write.
    pub verify_first: bool,
    /// Every change stamped before this instant is in it; null where it is not known.
    pub complete_before: Option<String>,
    /// No change after this instant is in it; null where it is not known.
    pub finished: Option<String>,
    /// The folders of the backups, oldest first.
    pub chain: Vec<String>,
    /// Files of all of them.
    pub files: u64,
    /// Stored bytes of all of them.
    pub bytes: u64,
    /// Records of all of them, as far as they were counted.
    pub records: u64,
    /// About how large the table of digests on this machine becomes, where each digest is written once.
    pub digest_table_bytes: u64,
}

/// rules.md 4.3.
const DIGEST_ROW_BYTES: u64 = 40;

impl MemberPlan {
    /// Stored bytes of its files.
    pub fn bytes(&self) -> u64 {
        self.contents.files.iter().map(|file| file.size).fold(0, u64::saturating_add)
    }
}
