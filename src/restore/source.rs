//! The storage that is read: the first one in which all of what is asked for is found (rules.md 4.2, 5.4).

use std::sync::Arc;

use futures_util::future::FutureExt;
use tokio::sync::OnceCell;
use tokio_util::sync::CancellationToken;

use super::find::{find_now, known_manifests};
use super::plan::RestorePlan;
use crate::config::{RestoreConfig, RestoreTarget, StorageConfig};
use crate::engine::copies::{OpenStorage, Other};
use crate::error::{Error, Result};
use crate::jobs::JobContext;
use crate::model::UnixMillis;
use crate::storage::paced::{Paced, Take};
use crate::storage::{Storage, address};
use crate::store::Store;

/// A storage that may have what is asked for, opened only when it is looked at.
#[derive(Clone)]
pub struct Source {
    /// What it is.
    pub config: StorageConfig,
    /// Opens it.
    pub open: OpenStorage,
}

impl Source {
    /// Every storage that may have what a restore asks for, in the order in which they are looked at.
    pub fn all<O, F>(config: &RestoreConfig, open: O) -> Vec<Self>
    where
        O: Fn(StorageConfig) -> F + Clone + Send + Sync + 'static,
        F: Future<Output = Result<Arc<dyn Storage>>> + Send + 'static,
    {
        let places = std::iter::once(&config.source).chain(&config.copies);
        let source = |place: &StorageConfig| {
            let (open, config) = (open.clone(), place.clone());
            Self { config: place.clone(), open: Arc::new(move || open(config.clone()).boxed()) }
        };
        places.map(source).collect()
    }

    /// A storage that is open already.
    pub fn opened(config: StorageConfig, storage: Arc<dyn Storage>) -> Self {
        Self { config, open: Arc::new(move || std::future::ready(Ok(Arc::clone(&storage))).boxed()) }
    }

    /// Its configured name.
    fn name(&self) -> &str {
        self.config.name.as_deref().unwrap_or_default()
    }

    /// The same for whoever reads what the chosen one does not give; `pace` bounds what it gives in a second.
    pub(super) fn other(self, pace: Option<Take>) -> Other {
        let name = self.name().to_owned();
        let open = self.open;
        let open: OpenStorage = Arc::new(move || {
            let (opened, pace) = (open(), pace.clone());
            async move {
                let storage = opened.await?;
                Ok(match pace {
                    None => storage,
                    Some(pace) => Arc::new(Paced::new(storage, pace)) as Arc<dyn Storage>,
                })
            }
            .boxed()
        });
        Other { name, open, opened: OnceCell::new() }
    }
}

/// Who looks, and with what.
pub struct Search<'a> {
    /// What is known of backups by now.
    pub store: &'a Store,
    /// What counts as expired is as of this instant.
    pub now: UnixMillis,
    /// Ends it.
    pub cancel: &'a CancellationToken,
    /// The job that holds what it finds against retention; none: nobody will read it.
    pub job: Option<&'a JobContext>,
}

/// The storage that is read, and what was found in it.
pub struct Chosen {
    /// What is restored.
    pub plan: RestorePlan,
    /// From where.
    pub storage: Arc<dyn Storage>,
    /// Why those before it will not do.
    pub passed: Vec<String>,
    /// All the other storages, in their order: they may have what it turns out not to give.
    pub others: Vec<Source>,
}

/// Takes the first of `sources` in which all of what is asked for is found, with manifests and sizes; it becomes the
/// source of `config`.
///
/// Errors: what is wrong with the first, and after it with the others; what no other could mend at once.
pub async fn choose(config: &mut RestoreConfig, sources: Vec<Source>, search: &Search<'_>) -> Result<Chosen> {
    let mut passed: Vec<Error> = Vec::new();
    for (place, source) in sources.iter().enumerate() {
        config.source = source.config.clone();
        let found = async {
            let storage = (source.open)().await?;
            let plan = find_and_pin(config, &storage, search).await?;
            known_manifests(search.store, config, &plan).await?;
            Ok((plan, storage))
        };
        let name = source.name();
        match found.await {
            Ok((plan, storage)) => {
                let passed = passed.iter().map(|error| {
                    format!("the copy in storage {name} is restored: {}", error.report_without_hint())
                });
                let others = sources.iter().enumerate().filter(|(other, _)| *other != place);
                let others: Vec<Source> = others.map(|(_, source)| source.clone()).collect();
                if let Some(job) = search.job {
                    pin_others(job, &plan, &storage.describe(), &others).await?;
                }
                return Ok(Chosen { plan, storage, passed: passed.collect(), others });
            }
            Err(error) if !another_may_do(&error) => return Err(error),
            Err(error) => passed.push(error.context(format!("storage {name}"))),
        }
    }
    // The routine's own storage is what people ask about first.
    let others: Vec<String> = passed.iter().skip(1).map(Error::report_without_hint).collect();
    let nothing = || Error::permanent("storage-unknown", "the restore has no source");
    let first = passed.into_iter().next().unwrap_or_else(nothing);
    Err(if others.is_empty() {
        first
    } else {
        first.context(format!("no copy will do ({})", others.join("; ")))
    })
}

/// Finds what is asked for, and holds it against retention (rules.md 5.4).
async fn find_and_pin(
    config: &RestoreConfig,
    storage: &Arc<dyn Storage>,
    search: &Search<'_>,
) -> Result<RestorePlan> {
    let place = storage.describe();
    let wide = match &config.target {
        RestoreTarget::Path { path, .. } => path,
        RestoreTarget::Time { routine, .. } => routine,
    };
    if let Some(job) = search.job {
        job.pin([address(&place, wide)]).await?;
    }
    let plan = find_now(storage, config, search.store, search.now, search.cancel).await?;
    if let Some(job) = search.job {
        job.pin(at(&place, &plan)).await?;
    }
    Ok(plan)
}

/// Where the backups of a plan are in a storage.
fn at(place: &str, plan: &RestorePlan) -> Vec<String> {
    let members = plan.namespaces.iter().flat_map(|namespace| &namespace.members);
    members.map(|member| address(place, &member.key)).collect()
}

/// Holds what may have to be read from the others, too; what is being deleted there is no help any more.
async fn pin_others(job: &JobContext, plan: &RestorePlan, chosen: &str, others: &[Source]) -> Result<()> {
    let mut held = at(chosen, plan);
    for other in others {
        let mut more = [held.clone(), at(&other.config.place(), plan)].concat();
        // Behind a symbolic link it has another name, by which it is marked; only an open one knows that.
        if other.config.is_local()
            && let Ok(storage) = (other.open)().await
        {
            more.extend(at(&storage.describe(), plan));
        }
        match job.pin(more.clone()).await {
            Ok(()) => held = more,
            Err(error) if error.code() == "backup-marked" => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Whether another copy may have what this one does not give: it cannot be reached, or something is missing or damaged.
fn another_may_do(error: &Error) -> bool {
    const MISSING: [&str; 6] = [
        "backup-damaged",
        "file-damaged",
        "backup-marked",
        "backup-unreadable",
        "no-full-backup",
        "chain-gap",
    ];
    error.code().starts_with("storage-") || MISSING.contains(&error.code())
}
