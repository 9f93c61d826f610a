//! Admission: whether a trigger becomes a job that waits, or a row that says why not (rules.md 2.2 to 2.4).

use std::collections::HashMap;

use super::Transition;
use crate::error::{Error, Result};
use crate::model::{BackupType, JobKind, JobStatus, UnixMillis};
use crate::store::{
    Active, ClaimRow, Document, EVERY_NAMESPACE, JobEnd, JobId, JobInsert, JobRow, PinRow, RequestKey,
    SlotId, Trigger, Tx,
};

/// Why a trigger is refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// Stable, kebab-case.
    pub code: &'static str,
    /// One sentence.
    pub reason: String,
}

/// What every backup job of a routine has in common.
#[derive(Debug, Clone, Default)]
pub struct RoutineJob {
    /// The routine.
    pub routine: String,
    /// Its cluster, by its configured name.
    pub cluster: String,
    /// Its storage, by its configured name.
    pub storage: String,
    /// Its namespaces; none = whatever the cluster has (rules.md 3.8).
    pub namespaces: Option<Vec<String>>,
    /// `concurrent-incremental`.
    pub concurrent_incremental: bool,
    /// The configuration to run with.
    pub config: Option<Document>,
    /// Where its backups lie: the address of its folder.
    pub address: String,
}

impl RoutineJob {
    /// A trigger of a backup.
    pub fn job(&self, backup_type: BackupType, trigger: Trigger) -> NewJob {
        NewJob {
            backup_type: Some(backup_type),
            routine: Some(self.routine.clone()),
            cluster: Some(self.cluster.clone()),
            storage: Some(self.storage.clone()),
            namespaces: self.namespaces.clone(),
            concurrent: self.concurrent_incremental && backup_type == BackupType::Incremental,
            config: self.config.clone(),
            ..NewJob::of(JobKind::Backup, trigger)
        }
    }

    /// A trigger of work on the routine's backups that touches no cluster: retention, verification, which pins them.
    /// `namespaces`: none = all that storage has.
    pub fn on_backups(&self, kind: JobKind, trigger: Trigger, namespaces: Option<Vec<String>>) -> NewJob {
        NewJob {
            routine: Some(self.routine.clone()),
            storage: Some(self.storage.clone()),
            namespaces,
            config: self.config.clone(),
            pins: if kind == JobKind::Verify { vec![self.address.clone()] } else { Vec::new() },
            ..NewJob::of(kind, trigger)
        }
    }
}

/// A trigger.
#[derive(Debug, Clone)]
pub struct NewJob {
    /// What kind of work.
    pub kind: JobKind,
    /// The type of a backup; none for other kinds.
    pub backup_type: Option<BackupType>,
    /// The routine; always there for a backup.
    pub routine: Option<String>,
    /// What made it.
    pub trigger: Trigger,
    /// The cluster that is read, or written by a restore; none = claims nothing.
    pub cluster: Option<String>,
    /// The storage.
    pub storage: Option<String>,
    /// The namespaces that are read, or written by a restore; none = not known yet, so all are claimed.
    pub namespaces: Option<Vec<String>>,
    /// An incremental that may run beside other backups of its routine.
    pub concurrent: bool,
    /// From when on it may be queued; none = at once.
    pub due: Option<UnixMillis>,
    /// The slot it is an attempt of.
    pub slot: Option<SlotId>,
    /// `created` of the run that it goes on with.
    pub created: Option<UnixMillis>,
    /// The job that it is another attempt of.
    pub retry_of: Option<JobId>,
    /// The configuration to run with.
    pub config: Option<Document>,
    /// What was asked.
    pub request: Option<Document>,
    /// Who asked.
    pub requested_by: Option<String>,
    /// What the client calls it.
    pub label: Option<String>,
    /// Under which the client may ask again.
    pub key: Option<RequestKey>,
    /// What the ledger has decided already: `skipped: full-due` or `missed`.
    pub decided: Option<(JobStatus, Refusal)>,
    /// Addresses of folders that retention leaves alone until the job ends (rules.md 5.4).
    pub pins: Vec<String>,
}

impl NewJob {
    /// A trigger that says nothing yet of what it works on.
    pub const fn of(kind: JobKind, trigger: Trigger) -> Self {
        Self {
            kind,
            backup_type: None,
            routine: None,
            trigger,
            cluster: None,
            storage: None,
            namespaces: None,
            concurrent: false,
            due: None,
            slot: None,
            created: None,
            retry_of: None,
            config: None,
            request: None,
            requested_by: None,
            label: None,
            key: None,
            decided: None,
            pins: Vec::new(),
        }
    }

    /// A restore asked for by a request.
    pub fn restore(cluster: Option<String>, namespaces: Option<Vec<String>>) -> Self {
        Self { cluster, namespaces, ..Self::of(JobKind::Restore, Trigger::Api) }
    }

    fn claims(&self, job_id: JobId) -> Vec<ClaimRow> {
        let every = [EVERY_NAMESPACE.to_owned()];
        let namespaces = self.namespaces.as_deref().unwrap_or(&every);
        let Some(cluster) = &self.cluster else { return Vec::new() };
        namespaces
            .iter()
            .map(|namespace| ClaimRow {
                job_id,
                cluster: cluster.clone(),
                namespace: namespace.clone(),
                mode: self.kind,
            })
            .collect()
    }
}

/// What became of a trigger.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Admitted {
    /// The row it left.
    pub id: JobId,
    /// `queued`, `scheduled`, `skipped` or `missed`.
    pub status: JobStatus,
    /// Why not, if refused.
    pub reason: Option<Refusal>,
}

/// What a transaction has admitted, to be announced once it is committed.
pub(crate) struct Admission {
    pub admitted: Vec<Admitted>,
    pub transitions: Vec<Transition>,
}

/// Decides triggers in their order and writes their rows; from rows only.
pub(crate) async fn admit(tx: &mut Tx, jobs: &[NewJob], now: UnixMillis) -> Result<Admission> {
    let mut board = Board::read(tx, jobs).await?;
    let JobId(first) = tx.next_job_id().await?;
    let mut rows = Vec::with_capacity(jobs.len());
    let (mut claims, mut pins) = (Vec::new(), Vec::new());
    let mut admission = Admission { admitted: Vec::new(), transitions: Vec::new() };
    for (job, id) in jobs.iter().zip((first..).map(JobId)) {
        let wish = Wish {
            kind: job.kind,
            backup_type: job.backup_type,
            concurrent: job.concurrent,
            trigger: job.trigger,
        };
        let own = job.claims(id);
        let (status, refusal) = if let Some((status, refusal)) = &job.decided {
            (*status, Some(refusal.clone()))
        } else if job.due.is_some_and(|due| due > now) {
            (JobStatus::Scheduled, None)
        } else {
            match board.refuse(&wish, job.routine.as_deref(), &own) {
                Some(refusal) => (refused_status(job.kind), Some(refusal)),
                None => (JobStatus::Queued, None),
            }
        };
        if status == JobStatus::Queued {
            board.add(
                Active {
                    id,
                    kind: job.kind,
                    backup_type: job.backup_type,
                    routine: job.routine.clone(),
                    trigger: job.trigger,
                    status,
                },
                &own,
            );
        }
        if !status.is_terminal() {
            claims.extend(own);
            pins.extend(job.pins.iter().map(|address| PinRow { job_id: id, address: address.clone() }));
        }
        let row = insert(job, status, refusal.as_ref(), now);
        admission.transitions.push(transition(id, &row, now));
        admission.admitted.push(Admitted { id, status, reason: refusal });
        rows.push(row);
    }
    tx.insert_jobs(&rows, now).await?;
    tx.insert_claims(&claims).await?;
    tx.insert_pins(&pins).await?;
    Ok(admission)
}

/// Who asks for a job, and how.
#[derive(Debug, Clone, Default)]
pub struct Asked {
    /// Who.
    pub by: Option<String>,
    /// What they call it.
    pub label: Option<String>,
    /// Under which they may ask again.
    pub key: Option<RequestKey>,
}

impl NewJob {
    /// Asked for by somebody.
    #[must_use]
    pub fn asked(self, asked: Asked) -> Self {
        Self { requested_by: asked.by, label: asked.label.or(self.label), key: asked.key, ..self }
    }
}

/// The job that the same request has made before (`Idempotency-Key`).
///
/// Errors: `idempotency-key-reused` where it was another request.
pub(super) async fn made_before(tx: &mut Tx, key: Option<&RequestKey>) -> Result<Option<Admitted>> {
    let Some(key) = key else { return Ok(None) };
    let Some((id, hash)) = tx.job_of_key(&key.key).await? else { return Ok(None) };
    if hash != key.hash {
        return Err(Error::permanent(
            "idempotency-key-reused",
            format!("the Idempotency-Key was sent before with another request: it made job {id}"),
        )
        .hint("Take a new key for each new request."));
    }
    let row = tx.job(id).await?.ok_or_else(|| super::not_found(id))?;
    Ok(Some(Admitted { id, status: row.status, reason: None }))
}

/// How a refused job stands: a restore has failed, all else is skipped (rules.md 2.1).
const fn refused_status(kind: JobKind) -> JobStatus {
    match kind {
        JobKind::Restore => JobStatus::Failed,
        JobKind::Backup | JobKind::Retention | JobKind::Verify | JobKind::Copy => JobStatus::Skipped,
    }
}

/// How a job ends that is refused after it had been admitted.
pub(super) fn refused(kind: JobKind, refusal: Refusal) -> JobEnd {
    let status = refused_status(kind);
    let error = (refusal.code.to_owned(), refusal.reason.clone());
    JobEnd {
        error: (status == JobStatus::Failed).then_some(error),
        ..JobEnd::because(status, refusal.code, refusal.reason)
    }
}

fn insert(job: &NewJob, status: JobStatus, refusal: Option<&Refusal>, now: UnixMillis) -> JobInsert {
    JobInsert {
        kind: job.kind,
        backup_type: job.backup_type,
        routine: job.routine.clone(),
        trigger: job.trigger,
        status,
        reason: refusal.map(|refusal| (refusal.code, refusal.reason.clone())),
        slot_id: job.slot,
        cluster: job.cluster.clone(),
        storage: job.storage.clone(),
        concurrent: job.concurrent,
        namespaces: job.namespaces.clone(),
        due: job.due.unwrap_or(now),
        config: job.config.clone(),
        request: job.request.clone(),
        requested_by: job.requested_by.clone(),
        created: job.created,
        retry_of: job.retry_of,
        label: job.label.clone(),
        key: job.key.clone(),
    }
}

fn transition(job: JobId, row: &JobInsert, now: UnixMillis) -> Transition {
    let (code, text) = row.reason.clone().unzip();
    Transition {
        job,
        kind: row.kind,
        backup_type: row.backup_type,
        routine: row.routine.clone(),
        from: None,
        to: row.status,
        code: code.map(str::to_owned),
        text,
        started: None,
        finished: row.status.is_terminal().then_some(now),
        created: row.created,
        counters: None,
    }
}

/// Decides again for a job that leaves the queue (against what runs), or joins it late (against what waits too).
pub(super) async fn refuse_again(tx: &mut Tx, job: &JobRow) -> Result<Option<Refusal>> {
    let joining = job.status == JobStatus::Scheduled;
    let own = tx.claims_of(job.id).await?;
    let clusters: Vec<&str> = own.iter().map(|claim| claim.cluster.as_str()).collect();
    let claims = tx.claims_on(&clusters, joining, job.kind == JobKind::Restore).await?;
    let routines: Vec<&str> = job.routine.as_deref().into_iter().collect();
    let mut active = tx.active(&routines).await?;
    active.retain(|other| other.id != job.id && (joining || other.status == JobStatus::Running));
    let wish = Wish {
        kind: job.kind,
        backup_type: job.backup_type,
        concurrent: job.concurrent,
        trigger: job.trigger,
    };
    Ok(overlap(&wish, &active).or_else(|| exclusion(&own, &claims)))
}

/// What a decision looks at.
struct Wish {
    kind: JobKind,
    backup_type: Option<BackupType>,
    concurrent: bool,
    trigger: Trigger,
}

/// The rows that decide, kept up to date while one transaction admits many.
struct Board {
    by_routine: HashMap<String, Vec<Active>>,
    claims: Vec<ClaimRow>,
}

impl Board {
    async fn read(tx: &mut Tx, jobs: &[NewJob]) -> Result<Self> {
        let routines: Vec<&str> = jobs.iter().filter_map(|job| job.routine.as_deref()).collect();
        let mut clusters: Vec<&str> = jobs.iter().filter_map(|job| job.cluster.as_deref()).collect();
        clusters.sort_unstable();
        clusters.dedup();
        let restores = jobs.iter().any(|job| job.kind == JobKind::Restore);
        let claims = tx.claims_on(&clusters, true, restores).await?;
        let mut board = Self { by_routine: HashMap::new(), claims };
        for active in tx.active(&routines).await? {
            board.add(active, &[]);
        }
        Ok(board)
    }

    fn add(&mut self, active: Active, claims: &[ClaimRow]) {
        // Backups do not exclude each other: their claims matter to restores only.
        self.claims.extend_from_slice(claims);
        if let Some(routine) = &active.routine {
            self.by_routine.entry(routine.clone()).or_default().push(active);
        }
    }

    fn refuse(&self, wish: &Wish, routine: Option<&str>, own: &[ClaimRow]) -> Option<Refusal> {
        let active = routine.and_then(|routine| self.by_routine.get(routine)).map_or(&[][..], Vec::as_slice);
        overlap(wish, active).or_else(|| exclusion(own, &self.claims))
    }
}

/// The table of abs.md 4.1; what waits counts like what runs (rules.md 2.2).
fn overlap(wish: &Wish, active: &[Active]) -> Option<Refusal> {
    match wish.kind {
        JobKind::Backup => {}
        JobKind::Verify => return verify_overlap(wish, active),
        // Copies of a routine run one after the other; each gets in.
        JobKind::Restore | JobKind::Retention | JobKind::Copy => return None,
    }
    let find = |backup_type, status| {
        active.iter().find(|other| {
            other.kind == JobKind::Backup && other.backup_type == Some(backup_type) && other.status == status
        })
    };
    let full_counts = wish.backup_type == Some(BackupType::Full) || !wish.concurrent;
    let same_type = wish.backup_type?;
    if full_counts {
        if let Some(full) = find(BackupType::Full, JobStatus::Running) {
            return Some(refusal(
                "full-running",
                format!("A full backup of the routine runs: job {}.", full.id),
            ));
        }
        let incremental = find(BackupType::Incremental, JobStatus::Running);
        if let Some(other) = incremental.filter(|_| same_type == BackupType::Incremental) {
            let reason = format!("An incremental backup of the routine runs: job {}.", other.id);
            return Some(refusal("incremental-running", reason));
        }
    }
    if let Some(other) = find(same_type, JobStatus::Queued) {
        let reason = format!("A backup of this routine and type waits already: job {}.", other.id);
        return Some(refusal("already-queued", reason));
    }
    let full = find(BackupType::Full, JobStatus::Queued).filter(|_| full_counts)?;
    Some(refusal("full-running", format!("A full backup of the routine waits to run: job {}.", full.id)))
}

/// One verification of a routine waits, which reads whatever is there when it starts; that of one run, after its backup,
/// always gets in and is in nobody's way.
fn verify_overlap(wish: &Wish, active: &[Active]) -> Option<Refusal> {
    if wish.trigger == Trigger::AfterBackup {
        return None;
    }
    let waits = active.iter().find(|other| {
        other.kind == JobKind::Verify
            && other.status == JobStatus::Queued
            && other.trigger != Trigger::AfterBackup
    })?;
    let reason = format!("A verification of this routine waits already: job {}.", waits.id);
    Some(refusal("already-queued", reason))
}

/// A restore excludes backups of its namespaces and other restores into them, both ways (rules.md 2.4).
pub(super) fn exclusion(own: &[ClaimRow], others: &[ClaimRow]) -> Option<Refusal> {
    let (mine, other) = own
        .iter()
        .find_map(|mine| others.iter().find(|other| mine.excludes(other)).map(|other| (mine, other)))?;
    Some(in_the_way(mine, other))
}

/// Why `other`, which excludes `mine`, is in the way: it names the job.
pub(super) fn in_the_way(mine: &ClaimRow, other: &ClaimRow) -> Refusal {
    let (code, what) = match other.mode {
        JobKind::Restore => ("restore-running", "A restore"),
        JobKind::Backup => ("backup-running", "A backup"),
        // They touch no cluster, so they claim nothing; one that did would be in the way all the same.
        JobKind::Retention | JobKind::Verify | JobKind::Copy => ("backup-running", "A job"),
    };
    let namespace = if mine.namespace == EVERY_NAMESPACE { &other.namespace } else { &mine.namespace };
    let scope = if namespace == EVERY_NAMESPACE {
        format!("cluster \"{}\"", mine.cluster)
    } else {
        format!("namespace \"{namespace}\" of cluster \"{}\"", mine.cluster)
    };
    refusal(code, format!("{what} uses {scope}: job {}.", other.job_id))
}

fn refusal(code: &'static str, reason: String) -> Refusal {
    Refusal { code, reason }
}
