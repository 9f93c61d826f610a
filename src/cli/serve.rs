//! `holdfast serve`.

use std::io::IsTerminal;
use std::path::Path;
use std::sync::Arc;

use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;
use tracing_subscriber::EnvFilter;

use crate::clock::SystemClock;
use crate::config::{LogFormat, LogLevel, LoggerConfig};
use crate::error::{Error, Result};
use crate::service::{Service, ServiceOptions};
use crate::tasks::Scope;

/// Runs the service until it is told to stop; SIGHUP reads the configuration again (rules.md 6.4).
pub async fn run(config: &Path) -> Result<()> {
    #[cfg(feature = "fault-injection")]
    crate::fault::announce();
    let options = ServiceOptions::from_file(config, Arc::new(SystemClock))?;
    log_to_stdout(&options.service_config().logger);
    let mut signals = Scope::new(&CancellationToken::new());
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

/// Logs as the configuration says; `RUST_LOG` says it more finely.
fn log_to_stdout(logger: &LoggerConfig) {
    if !logger.stdout_writer {
        return;
    }
    let level = match logger.level {
        LogLevel::Trace => "trace",
        LogLevel::Debug => "debug",
        LogLevel::Info => "info",
        LogLevel::Warn => "warn",
        LogLevel::Error => "error",
    };
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(level));
    let lines = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(std::io::stdout().is_terminal())
        // It would tell of a line that it cannot write by `eprintln!`, which panics where standard error is on the
        // same full disk. Backups go on without a log.
        .log_internal_errors(false);
    let installed = match logger.format {
        LogFormat::Plain => lines.try_init(),
        LogFormat::Json => lines.json().try_init(),
    };
    if let Err(error) = installed {
        super::tell(&format!("note: no log: {error}"));
    }
}
