//! What became of attempts that an earlier process left: storage is asked (rules.md 6.1).

use std::time::Duration;

use async_trait::async_trait;

use crate::app::Places;
use crate::backup::safety::safety_folder;
use crate::backup::{end_of_committed, is_same_backup};
use crate::catalog::commit::Commit;
use crate::catalog::{Ownership, committed, remove_attempt};
use crate::config::{Config, JobConfig, RestoreConfig};
use crate::copy::leftovers;
use crate::error::{Error, Result};
use crate::jobs::{Jobs, Settle, Settled};
use crate::model::JobKind;
use crate::store::{AttemptRow, Document, JobRow, Store};

/// A storage that does not answer within this is asked again later: it must not hold up a start.
const PATIENCE: Duration = Duration::from_mins(1);

/// Gives up what was kept of backups that were cut off and that no routine would go on with (rules.md 6.3); how many.
pub(super) async fn give_up_kept(jobs: &Jobs, config: &Config) -> Result<usize> {
    let now = jobs.now();
    let same = |routine: &str, document: &Document| {
        let begun: Result<JobConfig> = document.parse();
        let (Ok(begun), Ok(routine)) = (begun, config.routine(routine, now)) else { return false };
        !routine.disabled && is_same_backup(&begun, &routine.job)
    };
    jobs.give_up_kept(&same).await
}

/// Asks the storage that the job was configured with.
#[derive(Debug, Clone)]
pub(super) struct AskStorage {
    /// What opens storages.
    pub places: Places,
    /// Knows what an attempt has noted of its finished files.
    pub store: Store,
    /// Only an owner prunes (rules.md 5.5).
    pub ownership: Ownership,
}

#[async_trait]
impl Settle for AskStorage {
    async fn settle(&self, job: &JobRow, attempt: &AttemptRow) -> Settled {
        let silent = || Error::temporary("storage-unavailable", "the storage does not answer");
        let answer = tokio::time::timeout(PATIENCE, self.ask(job, attempt)).await;
        match answer.unwrap_or_else(|_| Err(silent())) {
            Ok(settled) => settled,
            Err(error) => {
                let (job, folder, reason) = (job.id.0, &attempt.start.folder, error.report());
                tracing::warn!(
                    job,
                    folder,
                    reason,
                    "storage did not say what became of an attempt; asked again later"
                );
                Settled::Unknown
            }
        }
    }
}

impl AskStorage {
    async fn ask(&self, job: &JobRow, attempt: &AttemptRow) -> Result<Settled> {
        let without =
            || Error::permanent("document-unreadable", format!("job {} has no configuration", job.id));
        let document = job.config.as_ref().ok_or_else(without)?;
        let (place, routine) = if job.kind == JobKind::Restore {
            let config: RestoreConfig = document.parse()?;
            (config.safety_backup.ok_or_else(without)?, safety_folder(self.ownership.id()))
        } else {
            let config: JobConfig = document.parse()?;
            (config.storage, config.routine)
        };
        let storage = self.places.open(&place).await?;
        let folder = &attempt.start.folder;
        match committed(storage.as_ref(), folder).await {
            Commit::Committed(found) => Ok(Settled::Committed(Box::new(end_of_committed(&found)))),
            Commit::Absent
                if job.cancel_requested.is_none() && self.store.has_checkpoint(attempt).await? =>
            {
                Ok(Settled::Kept)
            }
            Commit::Absent => {
                // Another instance may have adopted the folder since: then it is not ours to remove.
                self.ownership.check(storage.as_ref(), &routine).await?;
                remove_attempt(storage.as_ref(), folder).await?;
                Ok(Settled::Absent)
            }
            Commit::Broken { reason } => Err(Error::temporary("attempt-broken", reason)),
            Commit::Unknown(error) => Err(error),
        }
    }
}

/// Removes the half-made copies that no job goes on with. What storage does not answer is left to the next copy of the
/// routine, or the next start: it must not hold up this one.
pub(super) async fn settle_copies(ask: &AskStorage) {
    let left = match leftovers::left(&ask.store, None).await {
        Ok(left) => left,
        Err(error) => {
            tracing::warn!(reason = error.report(), "half-made copies are not looked at");
            return;
        }
    };
    for row in left {
        let settled = async {
            let Some(config) = leftovers::config_of(&ask.store, &row).await? else {
                let text = format!("the job {} that made it is forgotten", row.job_id);
                return Err(Error::permanent("job-not-found", text));
            };
            let storage = ask.places.open(&config.copy.storage).await?;
            let ownership = ask.ownership.elsewhere(&row.storage);
            leftovers::settle(&ask.store, storage.as_ref(), &ownership, &row).await
        };
        let silent = || Error::temporary("storage-unavailable", "the storage does not answer");
        let settled = tokio::time::timeout(PATIENCE, settled).await.unwrap_or_else(|_| Err(silent()));
        if let Err(error) = settled {
            let (folder, reason) = (&row.folder, error.report());
            tracing::warn!(folder, reason, "what became of a copy is not known; asked again later");
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::AskStorage;
    use crate::app::Places;
    use crate::catalog::{OwnerTimes, Ownership};
    use crate::clock::{SharedClock, SystemClock};
    use crate::config::{Config, JobConfig, RestoreRequest};
    use crate::jobs::{Jobs, NewJob, RoutineJob, Settle, Settled};
    use crate::model::{BackupType, InstanceId, UnixMillis};
    use crate::secrets::Keeper;
    use crate::storage::{LocalStorage, Storage};
    use crate::store::{AttemptRow, AttemptStart, Document, JobRow, Store, Trigger};

    const FOLDER: &str = "r/backup/1700000000000/data/ns";

    fn instance(name: &str) -> Ownership {
        let id = InstanceId::parse(name).unwrap();
        Ownership::new(id, None, Arc::new(SystemClock), OwnerTimes::default())
    }

    async fn crashed(dir: &tempfile::TempDir) -> (Store, JobRow, AttemptRow) {
        let clock: SharedClock = Arc::new(SystemClock);
        let yaml = format!(
            "aerospike-clusters: {{c: {{seed-nodes: [{{host-name: h, port: 1}}]}}}}\n\
             storage: {{s: {{local-storage: {{path: {}}}}}}}\n\
             backup-routines: {{r: {{source-cluster: c, storage: s, interval-cron: \"@daily\", namespaces: []}}}}\n",
            dir.path().join("b").display()
        );
        let config = Config::parse(&yaml, "test.yaml", clock.now()).unwrap();
        let config: JobConfig = config.routine("r", clock.now()).unwrap().job;
        let store = Store::open(&dir.path().join("state"), &clock).await.unwrap();
        let jobs = Jobs::new(store, clock, Vec::new(), Arc::new(crate::jobs::follow::Nothing));
        let job = RoutineJob {
            routine: "r".to_owned(),
            cluster: "c".to_owned(),
            storage: "s".to_owned(),
            address: "s/r".to_owned(),
            namespaces: None,
            concurrent_incremental: false,
            config: Some(Document::of(&config).unwrap()),
        };
        let id = jobs.admit(job.job(BackupType::Full, Trigger::Api)).await.unwrap().id;
        let start = AttemptStart {
            namespace: "ns".to_owned(),
            folder: FOLDER.to_owned(),
            storage: "s".to_owned(),
            created: UnixMillis(1_700_000_000_000),
            from: None,
            promoted: None,
        };
        let mut tx = jobs.store().write().await.unwrap();
        let attempt = tx.start_attempt(id, 1, &start, UnixMillis(1_700_000_000_000)).await.unwrap();
        tx.commit().await.unwrap();
        let job = jobs.store().job(id).await.unwrap().unwrap();
        (jobs.store().clone(), job, attempt)
    }

    /// rules.md 6.1: a restore that crashed in its safety backup.
    #[tokio::test]
    async fn what_a_crashed_safety_backup_left_is_removed_and_what_had_committed_stays() {
        let dir = tempfile::tempdir().unwrap();
        let source = LocalStorage::create(dir.path().join("b")).await.unwrap();
        let spare = LocalStorage::create(dir.path().join("spare")).await.unwrap();
        let yaml = format!(
            "aerospike-clusters: {{c: {{seed-nodes: [{{host-name: h, port: 1}}]}}}}\n\
             storage: {{s: {{local-storage: {{path: {0}/b}}}}, spare: {{local-storage: {{path: {0}/spare}}}}}}\n",
            dir.path().display()
        );
        let clock: SharedClock = Arc::new(SystemClock);
        let config = Config::parse(&yaml, "test.yaml", clock.now()).unwrap();
        let body = r#"{"backup-data-path": "x", "source-name": "s", "destination-name": "c",
            "safety-backup": {"storage": "spare"}}"#;
        let request: RestoreRequest = crate::config::from_json(body.as_bytes(), clock.now()).unwrap();
        let config = config.resolve_restore(&request).unwrap();
        let store = Store::open(&dir.path().join("state"), &clock).await.unwrap();
        let jobs = Jobs::new(store, clock, Vec::new(), Arc::new(crate::jobs::follow::Nothing));
        let job = NewJob {
            config: Some(Document::of(&config).unwrap()),
            ..NewJob::restore(Some("c".to_owned()), None)
        };
        let id = jobs.admit(job).await.unwrap().id;
        let ours = instance("ours");
        let created = UnixMillis(1_700_000_000_000);
        let run = crate::backup::safety::safety_run(ours.id(), created, id).unwrap();
        ours.ensure(&spare, &run.routine).await.unwrap();
        let settle = AskStorage {
            places: Places::new(jobs.store().clone(), Keeper::default()),
            store: jobs.store().clone(),
            ownership: ours,
        };
        let mut settled = Vec::new();
        for namespace in ["half", "whole"] {
            let folder = run.namespace_folder(namespace, 1).unwrap();
            let start = AttemptStart {
                namespace: namespace.to_owned(),
                folder: folder.clone(),
                storage: "spare".to_owned(),
                created,
                from: None,
                promoted: None,
            };
            let mut tx = jobs.store().write().await.unwrap();
            let attempt = tx.start_attempt(id, 1, &start, created).await.unwrap();
            tx.commit().await.unwrap();
            for storage in [&source, &spare] {
                storage.put(&format!("{folder}/0_{namespace}_1.asb"), "half".into()).await.unwrap();
            }
            if namespace == "whole" {
                let metadata =
                    format!("created: 2023-11-14T22:13:20Z\nnamespace: {namespace}\nfile-count: 1\n");
                spare.put(&format!("{folder}/metadata.yaml"), metadata.into()).await.unwrap();
            }
            let job = jobs.store().job(id).await.unwrap().unwrap();
            settled.push(settle.settle(&job, &attempt).await);
        }
        assert_eq!(settled[0], Settled::Absent);
        assert!(matches!(settled[1], Settled::Committed(_)), "{settled:?}");
        let left: Vec<String> =
            spare.list(&run.key()).await.unwrap().into_iter().map(|one| one.key).collect();
        assert_eq!(left.len(), 2, "{left:?}");
        assert!(left.iter().all(|key| key.contains("/whole/")), "{left:?}");
        // And it is the storage of the backup that was looked at, not that of the restore.
        assert_eq!(source.list(&run.key()).await.unwrap().len(), 2);
    }

    /// rules.md 5.5 and 6.1: what a crash left is removed, but not where another instance writes by now.
    #[tokio::test]
    async fn a_folder_that_another_instance_has_adopted_is_not_cleaned_up() {
        let dir = tempfile::tempdir().unwrap();
        let storage = LocalStorage::create(dir.path().join("b")).await.unwrap();
        let (store, job, attempt) = crashed(&dir).await;
        let file = format!("{FOLDER}/0_ns_1.asb");
        storage.put(&file, "half".into()).await.unwrap();
        let (ours, rival) = (instance("ours"), instance("rival"));
        ours.ensure(&storage, "r").await.unwrap();
        rival.adopt(&storage, "r").await.unwrap();
        let settle = AskStorage {
            places: Places::new(store.clone(), Keeper::default()),
            store,
            ownership: ours.clone(),
        };
        assert_eq!(settle.settle(&job, &attempt).await, Settled::Unknown);
        assert!(storage.head(&file).await.unwrap().is_some());
        ours.adopt(&storage, "r").await.unwrap();
        assert_eq!(settle.settle(&job, &attempt).await, Settled::Absent);
        assert!(storage.head(&file).await.unwrap().is_none());
    }
}
