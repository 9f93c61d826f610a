//! What came of a verification.

use serde_json::{Value, json};

use crate::engine::aerospike::inspect::Held;
use crate::error::Error;
use crate::model::{BackupType, UnixMillis};
use crate::store::VerifyOutcome;

/// What reading one backup has shown.
#[derive(Debug, Clone)]
pub(super) struct Checked {
    pub key: String,
    pub namespace: String,
    pub backup_type: BackupType,
    pub created: UnixMillis,
    pub outcome: VerifyOutcome,
    pub reason: Option<String>,
    /// `encryption-key-missing` or `wrong-key`, if it is unreadable for that and nothing else.
    pub locked: Option<&'static str>,
    pub held: Held,
}

/// What came of all of them.
#[derive(Debug, Clone, Default)]
pub(super) struct Report {
    pub backups: Vec<Checked>,
    /// Backups that were deleted while they were read.
    pub left_out: Vec<String>,
}

impl Report {
    fn count(&self, outcome: VerifyOutcome) -> usize {
        self.backups.iter().filter(|one| one.outcome == outcome).count()
    }

    /// For the job's result: each backup.
    pub(super) fn result(&self) -> Value {
        let backups: Vec<Value> = self
            .backups
            .iter()
            .map(|one| {
                json!({
                    "key": one.key,
                    "namespace": one.namespace,
                    "type": one.backup_type,
                    "created": one.created.to_rfc3339(),
                    "outcome": one.outcome.as_str(),
                    "reason": one.reason,
                    "record-count": one.held.records,
                    "byte-count": one.held.bytes,
                })
            })
            .collect();
        json!({ "backups": backups, "left-out": self.left_out })
    }

    /// For the job's counters.
    pub(super) fn counters(&self) -> Value {
        let mut held = Held::default();
        for one in &self.backups {
            held.add(&one.held);
        }
        let mut counters = json!({
            "backups": self.backups.len(),
            "left-out": self.left_out.len(),
            "read-records": held.records,
            "total-bytes": held.bytes,
        });
        for outcome in VerifyOutcome::ALL {
            if let Some(counters) = counters.as_object_mut() {
                counters.insert(outcome.as_str().to_owned(), json!(self.count(outcome)));
            }
        }
        counters
    }

    /// Why the job has failed: the first of the worst, and how many there are; none if all are verified.
    pub(super) fn error(&self) -> Option<Error> {
        use VerifyOutcome::{ChainBroken, Damaged, Unreadable};
        let first = |outcome, locked| {
            self.backups.iter().find(|one| (one.outcome, one.locked.is_some()) == (outcome, locked))
        };
        let worst = [(Damaged, false), (ChainBroken, false), (Unreadable, false), (Unreadable, true)]
            .into_iter()
            .find_map(|(outcome, locked)| first(outcome, locked))?;
        let bad = self.backups.len() - self.count(VerifyOutcome::Verified);
        let text = format!(
            "backup {}: {} ({bad} of {} backups are not verified: {} damaged, {} chain-broken, {} unreadable)",
            worst.key,
            worst.reason.as_deref().unwrap_or_default(),
            self.backups.len(),
            self.count(Damaged),
            self.count(ChainBroken),
            self.count(Unreadable),
        );
        Some(match (worst.outcome, worst.locked) {
            (Damaged, _) => Error::permanent("backup-damaged", text)
                .hint("Put it back from a copy, or take a new full backup; the result lists each backup."),
            (ChainBroken, _) => Error::permanent("chain-gap", text)
                .hint("Put the missing backup back from a copy, or take a new full backup."),
            (_, Some(code)) => Error::permanent(code, text)
                .hint("Name the key that it was made with in the encryption of the routine's policy, and verify again."),
            _ => Error::temporary("backup-unreadable", text)
                .hint("Check the storage and its permissions, and verify again."),
        })
    }
}
