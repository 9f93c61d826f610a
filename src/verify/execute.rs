//! Reading one backup after another.

use std::sync::Arc;

use super::chains::{Chains, Look};
use super::contents::{Contents, Expected, check, damaged};
use super::plan::{VerifyPlan, folder_in_run};
use super::report::{Checked, Part};
use crate::asb::FileKey;
use crate::catalog::layout::MANIFEST;
use crate::catalog::list::read_metadata;
use crate::catalog::manifest::{Found, MANIFEST_BYTES_MAX, hash_hex};
use crate::catalog::{BackupEntry, Problem, ProblemKind, RunFolder, State};
use crate::engine::Watch;
use crate::engine::aerospike::decode::no_key;
use crate::engine::aerospike::inspect::Held;
use crate::error::{Error, Result};
use crate::jobs::JobContext;
use crate::memory::VerifyMemory;
use crate::storage::{Storage, join};
use crate::store::{VerificationRow, VerifyOutcome};
use crate::tasks::unless_canceled;

/// What is wrong when storage gave all of a backup and its key is not ours.
const KEY_CODES: [&str; 2] = ["encryption-key-missing", "wrong-key"];

/// What the reading of every backup shares.
pub(super) struct Verify {
    pub context: JobContext,
    pub storage: Arc<dyn Storage>,
    /// The storage's configured name, by which outcomes are kept.
    pub storage_name: String,
    /// Whether it has copies only.
    pub of_copies: bool,
    pub routine: String,
    pub watch: Arc<dyn Watch>,
    /// Of encrypted backups, as the routine's policy names it.
    pub key: Option<FileKey>,
}

impl Verify {
    /// Reads every backup of a plan; what is wrong with one is in the report. An error ends the job: a cancel, the store.
    pub(super) async fn run(&self, plan: &VerifyPlan) -> Result<Part> {
        let mut report = Part::default();
        let mut chains = Chains::new(self.storage.as_ref(), &plan.problems);
        let known = self.context.store.verifications(&self.storage_name, &self.routine).await?;
        for entry in &plan.others {
            let damage =
                known.iter().find(|row| row.folder == entry.key && row.outcome == VerifyOutcome::Damaged);
            let look = damage.map_or(Look::Not, |row| {
                let reason = row.reason.as_deref().unwrap_or_default();
                Look::Broken(format!("{reason} (found at {})", row.at))
            });
            chains.add(entry, look);
        }
        for problem in plan.problems.iter().take(plan.problems_asked) {
            if let Some(checked) = unlisted(problem) {
                report.backups.push(checked);
            }
        }
        for entry in &plan.backups {
            let Some(checked) = unless_canceled(&self.context.cancel, self.one(entry, &mut chains)).await?
            else {
                self.left_out(entry, &mut report).await?;
                continue;
            };
            self.note(&checked).await?;
            report.backups.push(checked);
        }
        self.forget_gone(plan, &report).await?;
        Ok(report)
    }

    /// Reads one backup; none if it is gone.
    async fn one(&self, entry: &BackupEntry, chains: &mut Chains<'_>) -> Result<Option<Checked>> {
        let mut checked = Checked {
            key: entry.key.clone(),
            namespace: entry.namespace.clone(),
            backup_type: entry.backup_type,
            created: entry.created,
            outcome: VerifyOutcome::Verified,
            reason: None,
            locked: None,
            held: Held::default(),
        };
        let look = match self.read(entry).await {
            Ok(held) => {
                checked.held = held;
                Look::Good
            }
            Err(error) if error.code() == "canceled" => return Err(error),
            Err(_) if self.is_gone(entry).await => return Ok(None),
            Err(error) => {
                let is_damage =
                    ["backup-damaged", "file-damaged", "storage-not-found", "storage-object-too-large"]
                        .contains(&error.code());
                let reason = reason_of(entry, &error);
                checked.outcome = if is_damage { VerifyOutcome::Damaged } else { VerifyOutcome::Unreadable };
                checked.reason = Some(reason.clone());
                checked.locked = KEY_CODES.into_iter().find(|code| *code == error.code());
                if is_damage { Look::Broken(reason) } else { Look::Doubt(reason) }
            }
        };
        let is_good = look == Look::Good;
        chains.add(entry, look);
        if is_good && let Some((outcome, reason)) = chains.verdict(entry).await? {
            checked.outcome = outcome;
            checked.reason = Some(reason);
        }
        Ok(Some(checked))
    }

    /// Reads every byte of a backup and compares it with what the backup says of itself.
    async fn read(&self, entry: &BackupEntry) -> Result<Held> {
        if let State::Broken { reason } = &entry.state {
            return Err(damaged(&entry.key, reason));
        }
        let contents = Contents::of_entry(self.storage.as_ref(), entry, self.key.as_ref()).await?;
        self.check_manifest(entry, &contents).await?;
        let stored: u64 = contents.files.iter().map(|file| file.size).sum();
        // A manifest names each size; without one the sum is all there is.
        if !contents.has_manifest && stored != entry.counts.bytes {
            let counted = entry.counts.bytes;
            return Err(damaged(
                &entry.key,
                &format!("its files have {stored} bytes, metadata.yaml counted {counted}"),
            ));
        }
        let (files, cancel) = (&contents.files, &self.context.cancel);
        let parallel = VerifyMemory::readers(self.context.memory.bytes());
        let watch = Some(&self.watch);
        // Without the key the stored bytes can be compared, and nothing in them (rules.md 3.11).
        let locked = files.iter().any(|file| file.unlock.is_locked());
        let expected = if locked { Expected::default() } else { contents.expected };
        let held = check(&self.storage, &entry.key, files, &expected, parallel, watch, cancel).await?;
        if locked {
            let stored = if contents.has_manifest {
                "its stored bytes are as they were written, but it"
            } else {
                "it"
            };
            return Err(no_key(stored));
        }
        Ok(held)
    }

    /// A manifest that this store committed, here or where this is a copy of, must be there as it was (rules.md 4.2): nothing
    /// in storage vouches for it.
    async fn check_manifest(&self, entry: &BackupEntry, contents: &Contents) -> Result<()> {
        let known = self.context.store.manifest_hash(&self.storage_name, &entry.key).await?;
        let Some(known) = known else { return Ok(()) };
        if !contents.has_manifest {
            return Err(damaged(&entry.key, "manifest.json is gone"));
        }
        let bytes = self.storage.get(&join(&entry.key, MANIFEST), MANIFEST_BYTES_MAX).await?;
        match bytes {
            Some(bytes) if hash_hex(*blake3::hash(&bytes).as_bytes()) == known => Ok(()),
            Some(_) => Err(damaged(&entry.key, "manifest.json is not the one that was written")),
            None => Err(damaged(&entry.key, "manifest.json is gone")),
        }
    }

    /// Whether a backup was deleted meanwhile: retention removes `metadata.yaml` first (rules.md 5.3).
    async fn is_gone(&self, entry: &BackupEntry) -> bool {
        matches!(read_metadata(self.storage.as_ref(), &entry.key).await, Ok(Found::Absent))
    }

    async fn left_out(&self, entry: &BackupEntry, report: &mut Part) -> Result<()> {
        let text = format!("backup {} was deleted while it was read: it is left out", entry.key);
        self.context.warn("backup-gone", text);
        report.left_out.push(entry.key.clone());
        let mut tx = self.context.store.write().await?;
        tx.forget_verification(&self.storage_name, &self.routine, &entry.key).await?;
        tx.commit().await
    }

    /// Keeps the outcome of a backup.
    async fn note(&self, checked: &Checked) -> Result<()> {
        let job = &self.context.job;
        let row = VerificationRow {
            storage: self.storage_name.clone(),
            folder: checked.key.clone(),
            routine: self.routine.clone(),
            backup_type: checked.backup_type,
            namespace: checked.namespace.clone(),
            created: checked.created,
            at: self.context.clock.now(),
            job_id: job.id,
            outcome: checked.outcome,
            reason: checked.reason.clone(),
            records: checked.held.records,
            bytes: checked.held.bytes,
        };
        let mut tx = self.context.store.write().await?;
        tx.hold(job.id, job.generation).await?;
        if self.of_copies {
            tx.set_verification_of_copy(&row).await?;
        } else {
            tx.set_verification(&row).await?;
        }
        tx.commit().await
    }

    /// Forgets the outcomes of backups that storage has no more; only where it has answered about all of them.
    async fn forget_gone(&self, plan: &VerifyPlan, report: &Part) -> Result<()> {
        let doubt = plan.problems.iter().any(|problem| problem.kind == ProblemKind::Unreadable);
        if !plan.everything || doubt {
            return Ok(());
        }
        let there: Vec<&str> = report.backups.iter().map(|one| one.key.as_str()).collect();
        let (job, mut tx) = (&self.context.job, self.context.store.write().await?);
        tx.hold(job.id, job.generation).await?;
        tx.keep_verifications(&self.storage_name, &self.routine, &there).await?;
        tx.commit().await
    }
}

/// What the report says of a folder without a readable `metadata.yaml`; none for one outside of any run.
fn unlisted(problem: &Problem) -> Option<Checked> {
    let (run, rest) = RunFolder::of_key(&problem.key)?;
    let damaged = problem.kind == ProblemKind::Broken;
    Some(Checked {
        key: problem.key.clone(),
        namespace: folder_in_run(rest).unwrap_or_default().to_owned(),
        backup_type: run.backup_type,
        created: run.created,
        outcome: if damaged { VerifyOutcome::Damaged } else { VerifyOutcome::Unreadable },
        reason: Some(problem.reason.clone()),
        locked: None,
        held: Held::default(),
    })
}

/// The text of an error without the folder that the report names anyway.
fn reason_of(entry: &BackupEntry, error: &Error) -> String {
    let text = error.to_string();
    let prefix = format!("backup {}: ", entry.key);
    text.strip_prefix(&prefix).map_or(text.clone(), str::to_owned)
}
