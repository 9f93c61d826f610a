//! `holdfast serve`.

use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

use super::source::Source;
use crate::error::{Error, Result};
use crate::service::Service;
use crate::tasks::Scope;

/// Runs the service until it is told to stop; SIGHUP reads the configuration again (rules.md 6.4).
pub async fn run(source: &Source) -> Result<()> {
    #[cfg(feature = "fault-injection")]
    crate::fault::announce();
    let options = source.options().await?;
    let mut signals = Scope::new(&CancellationToken::new());
    super::log::start(&options.service_config().logger, &options.clock, &mut signals)?;
    let stop = super::stop_on_signal(&mut signals)?;
    let mut hangup = signal(SignalKind::hangup())
        .map_err(|error| Error::permanent("signals", "listen for SIGHUP").source(error))?;
    let service = Service::start(options).await?;
    loop {
        tokio::select! {
            () = stop.cancelled() => break,
            // Why a configuration was refused is in the log; the old one goes on.
            _ = hangup.recv() => drop(service.reload().await),
            () = service.failed() => break,
        }
    }
    service.stop().await
}
