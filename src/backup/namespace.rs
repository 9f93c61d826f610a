//! One namespace of a run: attempt, read, commit, or remove what an attempt left.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

mod papers;

use serde_json::{Value, json};

use super::end::end_of_committed;
use super::plan::{Action, NamespacePlan};
use super::read::plain_read;
use super::resume::{self, Resumable};
use super::run::{Run, Tried, retrying};
use super::watch::{BackupWatch, READING};
use crate::catalog::commit::stage;
use crate::catalog::manifest::{BlocksWriter, blocks::hash_hex};
use crate::catalog::{Commit, Manifest, committed};
use crate::engine::checkpoint::Checkpoint;
use crate::engine::{NamespaceRead, ReadReport};
use crate::error::{Error, Result};
use crate::jobs::JobContext;
use crate::model::{BackupType, UnixMillis};
use crate::store::{AttemptEnd, AttemptRow, AttemptStart, AttemptStatus, CheckpointRow};
use crate::tasks::unless_canceled;

/// How long counting what is expected may take: a backup must not wait long for its own progress.
const COUNT_PATIENCE: Duration = Duration::from_secs(10);

/// How one namespace of a run ended.
#[derive(Debug)]
pub(super) enum NamespaceEnd {
    /// Its `metadata.yaml` is in storage.
    Committed {
        records: u64,
        bytes: u64,
        key: String,
        /// Those of the records that were in finished files of an earlier try (rules.md 6.3).
        resumed: u64,
    },
    /// Nothing had changed; no folder is left (rules.md 3.12).
    Empty,
    /// Left out, and why.
    Skipped { code: &'static str, reason: String },
    /// Ended with an error; what it wrote was removed.
    Failed(Error),
    /// Storage has not said whether it committed (rules.md 6.1).
    Unknown(Error),
}

impl NamespaceEnd {
    /// For the job's result.
    pub(super) fn describe(&self, plan: &NamespacePlan) -> Value {
        let (end, more) = match self {
            Self::Committed { records, bytes, key, resumed } => {
                let detail = match resumed {
                    0 => json!({ "records": records, "bytes": bytes, "key": key }),
                    _ => {
                        json!({ "records": records, "bytes": bytes, "key": key, "resumed-records": resumed })
                    }
                };
                ("committed", detail)
            }
            Self::Empty => ("empty", json!({})),
            Self::Skipped { code, reason } => ("skipped", json!({ "code": code, "reason": reason })),
            Self::Failed(error) => ("failed", json!({ "code": error.code(), "error": error.report() })),
            Self::Unknown(error) => ("unknown", json!({ "code": error.code(), "error": error.report() })),
        };
        json!({ "namespace": plan.namespace, "end": end, "detail": more, "plan": plan.action })
    }
}

/// The tries of one namespace.
pub(super) struct NamespaceRun<'a> {
    run: &'a Arc<Run>,
    plan: &'a NamespacePlan,
    backup_type: BackupType,
    /// This job has tried it before.
    tried: AtomicBool,
}

impl<'a> NamespaceRun<'a> {
    pub(super) fn new(run: &'a Arc<Run>, plan: &'a NamespacePlan) -> Self {
        let backup_type = plan.action.backup_type().unwrap_or(BackupType::Full);
        Self { run, plan, backup_type, tried: AtomicBool::new(false) }
    }

    /// Tries, by the policy's retry-policy, until it is done or cannot be.
    pub(super) async fn try_until_done(self) -> NamespaceEnd {
        let name = &self.plan.namespace;
        self.expect().await;
        let policy = self.run.config.policy.retry;
        let tried = retrying(&self.run.context, policy, Tried::Namespace(name), || self.attempt()).await;
        self.run.context.progress.done_with(name);
        match tried {
            Ok(end) => end,
            Err(error) => {
                self.drop_kept().await;
                NamespaceEnd::Failed(error.context(format!("namespace {name}")))
            }
        }
    }

    /// For whoever asks why nothing moves (rules.md 2.9).
    fn doing(&self, what: &str) {
        self.run.context.progress.doing(&self.plan.namespace, what);
    }

    /// Says how many records are expected. Only for whoever watches: what cannot be counted is not known.
    async fn expect(&self) {
        let run = self.run;
        self.doing("counting what is to be read");
        let Ok(_turn) = run.turn(&self.plan.namespace).await else { return };
        let read = self.how_to_read();
        let counted = run.source.count(&read, self.plan.objects, &run.context.cancel);
        match tokio::time::timeout(COUNT_PATIENCE, unless_canceled(&run.context.cancel, counted)).await {
            Ok(Ok((records, _))) => run.context.progress.add_total(records),
            Ok(Err(error)) => {
                tracing::debug!(job = run.context.job.id.0, error = error.report(), "not counted");
            }
            Err(_) => tracing::debug!(job = run.context.job.id.0, "not counted in time"),
        }
    }

    async fn attempt(&self) -> Result<NamespaceEnd> {
        let run = self.run;
        let _turn = run.turn(&self.plan.namespace).await?;
        run.wait_for_margin().await?;
        run.check_owner().await?;
        let (attempt, checkpoint) = self.start().await?;
        let key = attempt.start.folder.clone();
        self.doing("looking at what an earlier try left");
        let mut resumable = checkpoint.map(|row| Resumable::new(run, &attempt, row));
        let looked = self.committed_before(&attempt, &key, resumable.as_mut()).await;
        let resumable = resumable.map(Arc::new);
        let worked = match looked {
            Ok(Some(done)) => Ok(done),
            Ok(None) => self.read_and_commit(&attempt, &key, resumable.as_ref()).await,
            Err(error) => Err(error),
        };
        match worked {
            Ok((end, row)) => {
                self.write_end(&attempt, &row).await;
                Ok(end)
            }
            Err(error) => {
                self.give_up(&attempt, &key, resumable.as_deref(), &error).await;
                Err(error)
            }
        }
    }

    /// Writes the row of the next try; with its checkpoint, if it is one that another could go on from.
    async fn start(&self) -> Result<(AttemptRow, Option<CheckpointRow>)> {
        let (run, namespace) = (self.run, &self.plan.namespace);
        let folder = run.folder(self.backup_type)?;
        // On a local disk nothing of an earlier attempt can land late: the folder is used again (rules.md 3.9).
        let reuse = !run.storage.writes_may_land_late();
        let first = folder.namespace_folder(namespace, 1)?;
        let start = |number: u32, kept: Option<String>| AttemptStart {
            namespace: namespace.clone(),
            folder: kept.unwrap_or_else(|| {
                folder
                    .namespace_folder(namespace, if reuse { 1 } else { number })
                    .unwrap_or_else(|_| first.clone())
            }),
            storage: run.config.storage.name.clone().unwrap_or_default(),
            created: run.created,
            from: self.builds_on(),
            promoted: self.promoted().map(|(code, _)| (*code).to_owned()),
        };
        let (context, policy) = (&run.context, &run.config.policy);
        if !policy.resume || policy.no_records {
            let row = context.start_attempt(namespace, run.created, |number| start(number, None)).await?;
            return Ok((row, None));
        }
        let key = resume::key(&run.config, &run.scope_of(namespace), self.plan);
        let safe_from = run.skew.safe_from;
        let started = context.start_resumable(namespace, run.created, &key, safe_from, start).await?;
        Ok((started.0, Some(started.1)))
    }

    /// What an earlier attempt left in the folder: a backup that storage has taken is kept, anything else removed, but for
    /// files that this one goes on from.
    async fn committed_before(
        &self,
        attempt: &AttemptRow,
        key: &str,
        resumable: Option<&mut Resumable>,
    ) -> Result<Option<(NamespaceEnd, AttemptEnd)>> {
        if attempt.attempt == 1 {
            return Ok(None);
        }
        let storage = self.run.storage.as_ref();
        match committed(storage, key).await {
            Commit::Committed(found) => {
                let (end, key) = (end_of_committed(&found), key.to_owned());
                let (records, bytes) = (end.records, end.bytes);
                Ok(Some((NamespaceEnd::Committed { records, bytes, key, resumed: 0 }, end)))
            }
            Commit::Unknown(error) => Err(error),
            left @ (Commit::Absent | Commit::Broken { .. }) => {
                let Some(resumable) = resumable else {
                    self.run.remove_attempt(key).await?;
                    return Ok(None);
                };
                let broken = if let Commit::Broken { reason } = left { Some(reason) } else { None };
                resumable.prepare(self.run, broken).await?;
                if !self.tried.swap(true, Ordering::SeqCst) {
                    // Of another job: this one has not counted them.
                    self.run.context.progress.add_done(resumable.records());
                    self.run.context.progress.add_bytes(resumable.bytes());
                }
                Ok(None)
            }
        }
    }

    /// Writes how the attempt ended. What storage has taken stays taken: a store that cannot be written now is
    /// corrected by asking storage later (rules.md 6.1).
    async fn write_end(&self, attempt: &AttemptRow, end: &AttemptEnd) {
        let context = &self.run.context;
        for wait_ms in [100, 1000, 5000, 0] {
            match context.end_attempt(attempt, end).await {
                Ok(()) => return,
                Err(error) if wait_ms == 0 || !error.is_temporary() => {
                    let text = format!("namespace {}: {}", self.plan.namespace, error.report());
                    context.warn("attempt-not-written", text);
                    return;
                }
                Err(_) => tokio::time::sleep(Duration::from_millis(wait_ms)).await,
            }
        }
    }

    fn builds_on(&self) -> Option<UnixMillis> {
        match self.plan.action {
            Action::Incremental { builds_on, .. } => Some(builds_on),
            _ => None,
        }
    }

    fn promoted(&self) -> Option<&(&'static str, String)> {
        match &self.plan.action {
            Action::Full { promoted } => promoted.as_ref(),
            _ => None,
        }
    }

    async fn read_and_commit(
        &self,
        attempt: &AttemptRow,
        key: &str,
        resumable: Option<&Arc<Resumable>>,
    ) -> Result<(NamespaceEnd, AttemptEnd)> {
        let run = self.run;
        self.tried.store(true, Ordering::SeqCst);
        let watch = Arc::new(BackupWatch::new(run.context.progress.clone(), &self.plan.namespace));
        let checkpoint = resumable.map(|resumable| Arc::clone(resumable) as Arc<dyn Checkpoint>);
        let read = NamespaceRead { checkpoint, ..self.how_to_read() };
        let storage = Arc::clone(&run.storage);
        self.doing(READING);
        let report = run.source.read(&read, storage, key, watch, &run.context.cancel).await?;
        for warning in &report.warnings {
            run.context.warn("metadata", format!("{}: {warning}", self.plan.namespace));
        }
        if report.unsupported > 0 {
            run.context.warn(
                "unsupported-records",
                format!("{}: {} records left out", self.plan.namespace, report.unsupported),
            );
        }
        // Rounded up: the clock tells whole milliseconds (rules.md 3.1). It may also have been set back meanwhile.
        let finished = run.context.clock.now().max(run.created).plus_ms(1);
        if self.backup_type == BackupType::Incremental && report.files.is_empty() {
            run.remove_attempt(key).await?;
            return Ok((NamespaceEnd::Empty, AttemptEnd::plain(AttemptStatus::Empty, finished)));
        }
        self.commit(attempt, key, resumable, &report, finished).await
    }

    async fn commit(
        &self,
        attempt: &AttemptRow,
        key: &str,
        resumable: Option<&Arc<Resumable>>,
        report: &ReadReport,
        finished: UnixMillis,
    ) -> Result<(NamespaceEnd, AttemptEnd)> {
        let run = self.run;
        self.doing("committing");
        let name = &self.plan.namespace;
        let number = run.folder_number(self.backup_type, name, attempt.attempt, key);
        let safe_from = resumable.map_or(run.skew.safe_from, |resumable| resumable.safe_from());
        let mut manifest =
            Manifest { safe_from, ..self.manifest(report, run.scope_of(name), number, finished) };
        if let Some(cipher) = &run.cipher {
            manifest = manifest.sealed(&cipher.key)?;
        }
        let metadata = self.metadata(report, finished);
        let mut blocks = BlocksWriter::create(run.storage.as_ref(), key).await?;
        for file in &report.files {
            blocks.push(&file.hashes.blocks).await?;
        }
        let staged = stage(run.storage.as_ref(), key, blocks, &manifest, &metadata).await?;
        if run.context.cancel.is_cancelled() {
            return Err(Error::temporary("canceled", "the backup was canceled"));
        }
        run.check_owner().await?;
        // From here on nothing but storage decides (rules.md 2.8); what it may still take is no place to go on from.
        if let Some(resumable) = resumable {
            resumable.distrust();
        }
        let end = AttemptEnd {
            status: AttemptStatus::Committed,
            finished,
            safe_from: Some(safe_from),
            records: report.records,
            bytes: report.bytes(),
            files: report.files.len() as u64,
            indexes: report.indexes,
            udfs: report.udfs,
            error: None,
            manifest_hash: Some(hash_hex(*blake3::hash(&manifest.to_json()?).as_bytes())),
        };
        let published = tokio::select! {
            published = staged.publish() => published?,
            () = patience_after_end(&run.context) => {
                Commit::Unknown(Error::temporary("commit-unknown", "storage has not answered the commit"))
            }
        };
        match published {
            Commit::Committed(_) => Ok((
                NamespaceEnd::Committed {
                    records: report.records,
                    bytes: report.bytes(),
                    key: key.to_owned(),
                    resumed: resumable.map_or(0, |resumable| resumable.records()),
                },
                end,
            )),
            Commit::Unknown(error) => {
                let end = AttemptEnd {
                    status: AttemptStatus::Unknown,
                    error: Some((error.code().to_owned(), error.report())),
                    ..end
                };
                Ok((NamespaceEnd::Unknown(error), end))
            }
            Commit::Broken { reason } => Err(Error::temporary("commit-damaged", reason)),
            Commit::Absent => Err(Error::temporary("commit-refused", "storage did not take metadata.yaml")),
        }
    }

    /// Removes what a failed attempt left; recovery does it later where this fails (rules.md 6.1). Finished files that
    /// another one can go on from stay (6.3).
    async fn give_up(&self, attempt: &AttemptRow, key: &str, resumable: Option<&Resumable>, error: &Error) {
        let run = self.run;
        let status =
            if run.context.cancel.is_cancelled() { AttemptStatus::Canceled } else { AttemptStatus::Failed };
        if let Some(resumable) = resumable
            && resumable.keeps(error).await
        {
            let end = AttemptEnd::plain(status, run.context.clock.now());
            let end = AttemptEnd { error: Some((error.code().to_owned(), error.report())), ..end };
            if let Err(error) = run.context.end_attempt_kept(attempt, &end).await {
                tracing::warn!(job = run.context.job.id.0, error = error.report(), "attempt not written");
            }
            return;
        }
        self.doing("removing what a try left");
        let removed = run.remove_attempt(key).await;
        let end = match &removed {
            Ok(_) => AttemptEnd::plain(status, run.context.clock.now()),
            Err(_) => AttemptEnd::plain(AttemptStatus::Unknown, run.context.clock.now()),
        };
        let end = AttemptEnd { error: Some((error.code().to_owned(), error.report())), ..end };
        if let Err(error) = removed {
            run.context.warn("leftover", format!("{key} could not be removed yet: {}", error.report()));
        }
        if let Err(error) = run.context.end_attempt(attempt, &end).await {
            tracing::warn!(job = run.context.job.id.0, error = error.report(), "attempt not written");
        }
    }

    /// Somebody canceled the job between two tries: what the one before has kept goes too (rules.md 2.8).
    async fn drop_kept(&self) {
        let (run, name) = (self.run, &self.plan.namespace);
        if !run.config.policy.resume || !run.context.is_cancel_requested().await.unwrap_or(false) {
            return;
        }
        let dropped = async {
            let Some(attempt) = run.context.give_up_kept(name, run.created).await? else { return Ok(()) };
            run.remove_attempt(&attempt.start.folder).await?;
            let end = AttemptEnd::plain(AttemptStatus::Canceled, run.context.clock.now());
            run.context.end_attempt(&attempt, &end).await
        };
        if let Err(error) = dropped.await {
            run.context.warn("leftover", format!("namespace {name}: {}", error.report()));
        }
    }

    fn how_to_read(&self) -> NamespaceRead {
        let run = self.run;
        let policy = &run.config.policy;
        let is_full = self.backup_type == BackupType::Full;
        let partitions = run.scope_of(&self.plan.namespace).partitions;
        NamespaceRead {
            modified_from: match self.plan.action {
                Action::Incremental { changed_since, .. } => Some(changed_since),
                _ => None,
            },
            modified_until: self.plan.until,
            indexes: is_full && !policy.no_indexes,
            udfs: is_full && !policy.no_udfs,
            parallel: run.widths.connections,
            parallel_write: run.widths.writers,
            cipher: run.cipher.clone(),
            limits: run.limits.clone(),
            ..plain_read(&run.config, &self.plan.namespace, run.filter.clone(), partitions)
        }
    }
}

/// A commit under way is waited for 8 s once the job was canceled or the process stops (rules.md 2.8).
async fn patience_after_end(context: &JobContext) {
    tokio::select! {
        () = context.cancel.cancelled() => {}
        () = context.stopping.cancelled() => {}
    }
    tokio::time::sleep(Duration::from_secs(8)).await;
}
