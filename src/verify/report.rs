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

/// What came of one storage.
#[derive(Debug, Clone, Default)]
pub(super) struct Part {
    pub backups: Vec<Checked>,
    /// Backups that were deleted while they were read.
    pub left_out: Vec<String>,
}

/// What came of all of them.
#[derive(Debug, Default)]
pub(super) struct Report {
    parts: Vec<(String, Part)>,
    /// Storages that did not say what they hold.
    not_read: Vec<(String, Error)>,
}

impl Part {
    fn count(&self, outcome: VerifyOutcome) -> usize {
        self.backups.iter().filter(|one| one.outcome == outcome).count()
    }
}

impl Report {
    /// What came of a storage, by its configured name.
    pub(super) fn add(&mut self, storage: String, part: Part) {
        self.parts.push((storage, part));
    }

    /// A storage that did not say what it holds.
    pub(super) fn not_read(&mut self, storage: String, error: Error) {
        self.not_read.push((storage, error));
    }

    fn backups(&self) -> impl Iterator<Item = (&str, &Checked)> {
        self.parts.iter().flat_map(|(name, part)| part.backups.iter().map(move |one| (name.as_str(), one)))
    }

    fn count(&self, outcome: VerifyOutcome) -> usize {
        self.parts.iter().map(|(_, part)| part.count(outcome)).sum()
    }

    /// For the job's result: each backup, and each storage.
    pub(super) fn result(&self) -> Value {
        let backups: Vec<Value> = self
            .backups()
            .map(|(storage, one)| {
                json!({
                    "storage": storage,
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
        let left_out: Vec<&String> = self.parts.iter().flat_map(|(_, part)| &part.left_out).collect();
        json!({ "backups": backups, "left-out": left_out, "storages": self.storages() })
    }

    fn storages(&self) -> Vec<Value> {
        let read = self.parts.iter().map(|(name, part)| {
            let mut storage = json!({ "storage": name, "backups": part.backups.len(), "error": null });
            for outcome in VerifyOutcome::ALL {
                if let Some(storage) = storage.as_object_mut() {
                    storage.insert(outcome.as_str().to_owned(), json!(part.count(outcome)));
                }
            }
            storage
        });
        let error = |error: &Error| json!({"code": error.code(), "message": error.report_without_hint()});
        let not_read =
            self.not_read.iter().map(|(name, why)| json!({ "storage": name, "error": error(why) }));
        read.chain(not_read).collect()
    }

    /// For the job's counters.
    pub(super) fn counters(&self) -> Value {
        let mut held = Held::default();
        for (_, one) in self.backups() {
            held.add(&one.held);
        }
        let mut counters = json!({
            "backups": self.backups().count(),
            "left-out": self.parts.iter().map(|(_, part)| part.left_out.len()).sum::<usize>(),
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
            self.backups().find(|(_, one)| (one.outcome, one.locked.is_some()) == (outcome, locked))
        };
        let worst = [(Damaged, false), (ChainBroken, false), (Unreadable, false), (Unreadable, true)]
            .into_iter()
            .find_map(|(outcome, locked)| first(outcome, locked));
        let away = self.not_read.iter().map(|(name, error)| {
            let text = format!("storage {name} was not verified: {}", error.report_without_hint());
            let hint = error.hint_text().unwrap_or("Check the storage, and verify again.").to_owned();
            Error::temporary(error.code(), text).hint(hint)
        });
        let mut away = away.into_iter();
        let Some((storage, worst)) = worst else { return away.next() };
        let all = self.backups().count();
        let bad = all - self.count(VerifyOutcome::Verified);
        let unread: Vec<String> = away.map(|error| format!("; {error}")).collect();
        let unread = unread.concat();
        let several = self.parts.len() + self.not_read.len() > 1;
        let text = format!(
            "{}backup {}: {} ({bad} of {all} backups are not verified: {} damaged, {} chain-broken, {} unreadable{})",
            if several { format!("storage {storage}: ") } else { String::new() },
            worst.key,
            worst.reason.as_deref().unwrap_or_default(),
            self.count(Damaged),
            self.count(ChainBroken),
            self.count(Unreadable),
            unread,
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
