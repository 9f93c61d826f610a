//! What a restore does before its first write: it sees that somebody has agreed to it, and saves what is there.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::plan::RestorePlan;
use crate::backup::safety::{SafetyBackup, Saved, SavedNamespace};
use crate::catalog::layout::RunFolder;
use crate::catalog::{Commit, committed};
use crate::config::{KeyPlace, RestoreConfig, StorageConfig};
use crate::error::{Error, Result};
use crate::jobs::JobContext;
use crate::store::{AttemptRow, AttemptStatus};

/// Nobody has agreed to a restore into a namespace that is not empty. `records`: as its nodes count them.
pub(super) fn not_confirmed(namespace: &str, records: u64) -> Error {
    // The nodes' counts may lag behind what was just found.
    let text = format!(
        "namespace \"{namespace}\" of the destination is not empty: it holds about {} records",
        records.max(1)
    );
    Error::permanent("confirmation-required", text).hint(
        "Send it with dry-run: true to see what would be written over, then with confirm: true; \
         service.require-restore-confirmation asks for that.",
    )
}

/// Saves what is in the destination. What an earlier attempt of the restore had saved before it wrote stays what undoes both.
pub(super) async fn save_first(
    safety: &SafetyBackup,
    config: &RestoreConfig,
    place: &StorageConfig,
    plan: &RestorePlan,
    context: &JobContext,
) -> Result<Saved> {
    let namespaces: Vec<String> = plan.namespaces.iter().map(|one| one.destination.clone()).collect();
    let mut has_written = false;
    for namespace in &namespaces {
        has_written |= context.found_empty(namespace).await?.is_some();
    }
    if has_written {
        if let Some(saved) = saved_before(safety, place, &namespaces, context).await? {
            return Ok(saved);
        }
        context.warn(
            "safety-backup-late",
            "an earlier attempt of this restore had begun to write, and its safety backup is gone: this one has what that \
             attempt wrote",
        );
    }
    safety.save(config, place, &namespaces, context).await
}

/// The safety backup of the nearest attempt before that has one of every namespace, if it still is in storage.
async fn saved_before(
    safety: &SafetyBackup,
    place: &StorageConfig,
    namespaces: &[String],
    context: &JobContext,
) -> Result<Option<Saved>> {
    let mut before = context.job.retry_of;
    while let Some(id) = before {
        let Some(job) = context.store.job(id).await? else { return Ok(None) };
        before = job.retry_of;
        let attempts = context.store.attempts(id).await?;
        let done: Vec<&AttemptRow> =
            attempts.iter().filter(|one| one.status == AttemptStatus::Committed).collect();
        let names: BTreeSet<&str> = done.iter().map(|one| one.start.namespace.as_str()).collect();
        if !namespaces.iter().all(|namespace| names.contains(namespace.as_str())) {
            continue;
        }
        for attempt in &done {
            match committed(safety.storage.as_ref(), &attempt.start.folder).await {
                Commit::Committed(_) => {}
                Commit::Absent | Commit::Broken { .. } => return Ok(None),
                Commit::Unknown(error) => return Err(error),
            }
        }
        let Some((run, _)) = done.first().and_then(|one| RunFolder::of_key(&one.start.folder)) else {
            return Ok(None);
        };
        return Ok(Some(Saved {
            storage: place.name.clone(),
            timestamp: run.created.0,
            path: run.key(),
            routine: run.routine,
            job: id.0,
            namespaces: done.into_iter().map(saved_namespace).collect(),
        }));
    }
    Ok(None)
}

fn saved_namespace(attempt: &AttemptRow) -> SavedNamespace {
    let end = attempt.end.as_ref();
    SavedNamespace {
        namespace: attempt.start.namespace.clone(),
        key: attempt.start.folder.clone(),
        records: end.map_or(0, |end| end.records),
        bytes: end.map_or(0, |end| end.bytes),
    }
}

/// What the job says of its safety backup: what it is, and the one call that puts everything in it back as it was.
pub(super) fn describe(saved: &Saved, config: &RestoreConfig) -> Value {
    // Whom to ask for a secret is known to whoever asked for the restore.
    let key = config.policy.encryption.as_ref().and_then(|encryption| match &encryption.key {
        KeyPlace::File(path) => Some(json!({ encryption.key.field(): path.display().to_string() })),
        KeyPlace::Env(name) => Some(json!({ encryption.key.field(): name })),
        KeyPlace::Secret(_) => None,
    });
    let mut policy = json!({ "replace": true, "no-generation": true });
    put(&mut policy, "encryption", key);
    let mut body = json!({
        "source-name": saved.storage,
        "backup-data-path": saved.path,
        "policy": policy,
    });
    put(&mut body, "destination-name", config.destination.name.as_ref().map(|name| json!(name)));
    let mut described = json!(saved);
    put(&mut described, "undo", Some(json!({ "path": "/v1/restore/full", "body": body })));
    described
}

fn put(object: &mut Value, field: &str, value: Option<Value>) {
    if let (Some(object), Some(value)) = (object.as_object_mut(), value) {
        object.insert(field.to_owned(), value);
    }
}
