//! What a restore would do if it began now: the plan of a job that there is not (rules.md 4.3). Nothing is written.

use serde::Serialize;
use tokio_util::sync::CancellationToken;

use super::find::check_namespaces;
use super::plan::{Described, MemberPlan, NamespaceRestore, RestorePlan, Way};
use super::safety::not_confirmed;
use super::source::{Chosen, Search, Source, choose};
use crate::backup::safety::safety_folder;
use crate::catalog::{Compression, Encryption};
use crate::config::RestoreConfig;
use crate::engine::{ClusterFacts, Connect};
use crate::error::{Error, Result};
use crate::jobs::{Collision, Jobs};
use crate::model::{InstanceId, UnixMillis};

/// What was seen of storage and destination: what a restore's job would begin with.
pub struct Looked {
    plan: RestorePlan,
    /// One for each namespace of the plan.
    ways: Vec<Way>,
    facts: ClusterFacts,
}

/// The answer to `dry-run: true`.
#[derive(Debug, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "kebab-case")]
pub struct RestorePreview {
    /// One for each namespace; they go side by side.
    pub namespaces: Vec<NamespacePreview>,
    /// Files of all of them.
    pub files: u64,
    /// Stored bytes of all of them.
    pub bytes: u64,
    /// Records of all of them, as far as they were counted.
    pub records: u64,
    /// Jobs that wait or run and because of which the restore would be refused now.
    pub conflicts: Vec<Collision>,
    /// Whether it would be refused without `confirm: true`.
    pub confirmation_required: bool,
    /// Where the destination would be saved first; null: nowhere.
    pub safety_backup: Option<SafetyPlace>,
    /// What the job would warn of.
    pub warnings: Vec<String>,
}

/// One namespace.
#[derive(Debug, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "kebab-case")]
pub struct NamespacePreview {
    /// What will be done with it.
    #[serde(flatten)]
    pub plan: Described,
    /// Records that are in the destination's namespace, all its sets, as its nodes count them: an estimate of what may be
    /// written over.
    pub destination_records_estimate: u64,
    /// The backups of the chain, oldest first.
    pub members: Vec<MemberPreview>,
}

/// One backup of a chain.
#[derive(Debug, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "kebab-case")]
pub struct MemberPreview {
    /// Its folder.
    pub key: String,
    /// `full` or `incremental`.
    #[serde(rename = "type")]
    pub backup_type: &'static str,
    /// When it began; none: nothing says it.
    pub created: Option<String>,
    /// Its files.
    pub files: u64,
    /// Stored bytes of all of them.
    pub bytes: u64,
    /// Records of all of them; none: nothing says it.
    pub records: Option<u64>,
    /// How they are compressed; none: nothing says it.
    pub compression: Option<Compression>,
    /// How they are encrypted, or `NONE`.
    pub encryption: &'static str,
}

/// Where a safety backup would go.
#[derive(Debug, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "kebab-case")]
pub struct SafetyPlace {
    /// The storage, by name.
    pub storage: Option<String>,
    /// The folder that stands in the place of a routine's.
    pub routine: String,
}

/// Looks at storage and destination as the job would.
///
/// Errors: those that the job would end with before it writes.
pub async fn look(
    config: &RestoreConfig,
    connect: &dyn Connect,
    sources: Vec<Source>,
    jobs: &Jobs,
    cancel: &CancellationToken,
) -> Result<Looked> {
    let search = Search { store: jobs.store(), now: jobs.now(), cancel, job: None };
    let mut config = config.clone();
    let Chosen { mut plan, passed, .. } = choose(&mut config, sources, &search).await?;
    plan.warnings.extend(passed);
    let destination = connect.destination(&config.destination).await?;
    let facts = destination.facts().await?;
    check_namespaces(&plan, &facts)?;
    let mut ways = Vec::with_capacity(plan.namespaces.len());
    for namespace in &plan.namespaces {
        let empty = destination.is_empty(&namespace.destination, &config.policy.sets, cancel).await?;
        ways.push(Way::choose(&config, empty)?);
    }
    Ok(Looked { plan, ways, facts })
}

impl Looked {
    /// Why the restore needs a confirmation that it has not; none: it does not.
    pub fn not_confirmed(&self, config: &RestoreConfig) -> Option<Error> {
        let mut seen = self.plan.namespaces.iter().zip(&self.ways);
        let (full, _) = seen.find(|(_, way)| !way.destination_empty).filter(|_| config.unconfirmed)?;
        Some(not_confirmed(&full.destination, self.objects(full)))
    }

    /// As the API shows it.
    pub async fn preview(
        &self,
        config: &RestoreConfig,
        jobs: &Jobs,
        instance: &InstanceId,
    ) -> Result<RestorePreview> {
        let namespaces: Vec<NamespacePreview> = (self.plan.namespaces.iter().zip(&self.ways))
            .map(|(namespace, way)| NamespacePreview {
                plan: namespace.describe(way),
                destination_records_estimate: self.objects(namespace),
                members: namespace.members.iter().map(MemberPreview::of).collect(),
            })
            .collect();
        let sum = |of: fn(&Described) -> u64| namespaces.iter().map(|one| of(&one.plan)).sum();
        let conflicts = if config.care.validate {
            // It claims nothing, as it writes nothing.
            Vec::new()
        } else {
            let written: Vec<String> =
                self.plan.namespaces.iter().map(|one| one.destination.clone()).collect();
            jobs.collisions(&self.facts.keys(config.destination.name.as_deref()), &written).await?
        };
        Ok(RestorePreview {
            files: sum(|one| one.files),
            bytes: sum(|one| one.bytes),
            records: sum(|one| one.records),
            namespaces,
            conflicts,
            confirmation_required: self.not_confirmed(config).is_some(),
            safety_backup: config
                .safety_backup
                .as_ref()
                .map(|place| SafetyPlace { storage: place.name.clone(), routine: safety_folder(instance) }),
            warnings: self.plan.warnings.clone(),
        })
    }

    fn objects(&self, namespace: &NamespaceRestore) -> u64 {
        self.facts.namespace(&namespace.destination).map_or(0, |known| known.objects)
    }
}

impl MemberPreview {
    fn of(member: &MemberPlan) -> Self {
        Self {
            key: member.key.clone(),
            backup_type: member.backup_type.as_str(),
            created: member.created.map(UnixMillis::to_rfc3339),
            files: member.contents.files.len() as u64,
            bytes: member.bytes(),
            records: member.contents.expected.records,
            compression: member.compression,
            encryption: Encryption::word(member.encryption),
        }
    }
}
