//! This instance as an owner of routine folders (rules.md 5.5): its name, its duty, and `holdfast adopt` without a
//! service.

use std::sync::Arc;

use tokio_util::sync::CancellationToken;

use super::ServiceOptions;
use crate::app::{self, App, Places, RoutineOwner};
use crate::catalog::Ownership;
use crate::error::{Error, Result};
use crate::model::InstanceId;
use crate::store::Store;
use crate::tasks::blocking;

/// Where Linux shows the name of this host.
const HOST_NAME: &str = "/proc/sys/kernel/hostname";

/// This instance, named by `service.instance-id`, else by the store.
pub(super) async fn ownership(options: &ServiceOptions, store: &Store) -> Result<Ownership> {
    let id = match options.service_config().instance_id {
        Some(id) => InstanceId::parse(&id).map_err(|problem| {
            Error::permanent("config-invalid", format!("service.instance-id {id:?} {problem}"))
        })?,
        None => store.instance_id(InstanceId::of_random(rand::random())).await?,
    };
    let host = blocking(|| Ok(std::fs::read_to_string(HOST_NAME).ok())).await?;
    let host = host.map(|host| host.trim().to_owned()).filter(|host| !host.is_empty());
    Ok(Ownership::new(id, host, Arc::clone(&options.clock), options.owner_times))
}

/// Looks at once, then again and again, whose the routines' folders are, and shows that this instance lives.
pub(super) async fn keep_renewing(app: Arc<App>, stop: CancellationToken) -> Result<()> {
    let every = app.owner_times().renew;
    let renewing = async {
        loop {
            let owners = app.renew_ownership().await;
            tracing::debug!(?owners, "owners of the routines' folders");
            tokio::time::sleep(every).await;
        }
    };
    stop.run_until_cancelled(renewing).await;
    Ok(())
}

/// Makes the folder of a routine, in its own storage or in that of a copy, this instance's while its service does not run;
/// whose it was before.
///
/// Errors: `store-locked` while the service runs, `routine-unknown`, `storage-unknown`, those of store and storage.
pub async fn adopt(options: ServiceOptions, routine: &str, storage: Option<&str>) -> Result<RoutineOwner> {
    let job = options.config.routine(routine, options.clock.now())?.job;
    let opened = Store::open(&options.state_dir(), &options.clock).await;
    let store = opened.map_err(|error| match error.code() {
        "store-locked" => error.hint("The service runs: ask it with --url."),
        _ => error,
    })?;
    let adopted = async {
        let ownership = ownership(&options, &store).await?;
        let (place, ownership) = app::there(&job, storage, &ownership)?;
        let storage = Places::new(store.clone(), options.config.keeper()).open(&place).await?;
        app::adopt(&ownership, storage.as_ref(), routine).await
    };
    let adopted = adopted.await;
    store.close().await?;
    adopted
}
