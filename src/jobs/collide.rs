//! What a restore would collide with, for whoever asks before there is a job (rules.md 2.4).

use serde::Serialize;

use super::Jobs;
use super::admit::in_the_way;
use crate::error::Result;
use crate::model::JobKind;
use crate::store::{ClaimRow, JobId, RequestKey};

/// A job that waits or runs and excludes a restore into a namespace.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "kebab-case")]
pub struct Collision {
    /// The job.
    pub job: i64,
    /// `backup` or `restore`.
    pub kind: &'static str,
    /// Its routine.
    pub routine: Option<String>,
    /// `queued` or `running`.
    pub status: &'static str,
    /// The namespace of the destination; `*`: that job does not know yet which it needs.
    pub namespace: String,
    /// The code with which the restore would be refused.
    pub code: &'static str,
    /// The sentence.
    pub reason: String,
}

impl Jobs {
    /// What a restore into these namespaces of a cluster, known by these names, would collide with now. Nothing is written,
    /// and nothing is held.
    pub async fn collisions(&self, clusters: &[String], namespaces: &[String]) -> Result<Vec<Collision>> {
        // No job has this id.
        let job_id = JobId(0);
        let names: Vec<&str> = clusters.iter().map(String::as_str).collect();
        let mut tx = self.store().write().await?;
        let others = tx.claims_on(&names, true, true).await?;
        let mut found: Vec<Collision> = Vec::new();
        for (cluster, namespace) in
            clusters.iter().flat_map(|cluster| namespaces.iter().map(move |namespace| (cluster, namespace)))
        {
            let (cluster, namespace) = (cluster.clone(), namespace.clone());
            let mine = ClaimRow { job_id, cluster, namespace, mode: JobKind::Restore };
            for other in others.iter().filter(|other| mine.excludes(other)) {
                // A cluster has several names.
                let is_known =
                    |one: &Collision| one.job == other.job_id.0 && one.namespace == other.namespace;
                if found.iter().any(is_known) {
                    continue;
                }
                let Some(job) = tx.job(other.job_id).await? else { continue };
                let refusal = in_the_way(&mine, other);
                found.push(Collision {
                    job: job.id.0,
                    kind: job.kind.as_str(),
                    routine: job.routine,
                    status: job.status.as_str(),
                    namespace: other.namespace.clone(),
                    code: refusal.code,
                    reason: refusal.reason,
                });
            }
        }
        Ok(found)
    }

    /// Whether a request with this key has made a job before.
    pub async fn is_known_key(&self, key: Option<&RequestKey>) -> Result<bool> {
        let Some(key) = key else { return Ok(false) };
        let mut tx = self.store().write().await?;
        Ok(tx.job_of_key(&key.key).await?.is_some())
    }
}
