//! Where the service logs to: standard output, a rotated file, both or neither (abs.md 2.2).

mod file;

use std::io::IsTerminal;

use tokio_util::sync::CancellationToken;
use tracing_subscriber::fmt::writer::{BoxMakeWriter, MakeWriterExt};
use tracing_subscriber::{EnvFilter, Layer, Registry, layer::SubscriberExt, util::SubscriberInitExt};

use self::file::LogFile;
use crate::clock::SharedClock;
use crate::config::{LogFormat, LogLevel, LoggerConfig};
use crate::error::Result;
use crate::tasks::Scope;

/// Logs as the configuration says; `RUST_LOG` says it more finely. What is rotated is cleared up in `scope`.
///
/// Errors: `log-file` where the file cannot be opened.
pub(super) fn start(logger: &LoggerConfig, clock: &SharedClock, scope: &mut Scope) -> Result<()> {
    let stdout = logger.stdout_writer.then(|| {
        let colours = std::io::stdout().is_terminal();
        lines(logger.format, BoxMakeWriter::new(std::io::stdout), colours)
    });
    let file = match &logger.file_writer {
        None => None,
        Some(config) => {
            let file = LogFile::open(config.clone(), clock.clone())?;
            let (keeper, stop): (LogFile, CancellationToken) = (file.clone(), scope.token().clone());
            scope.spawn("log", async move { keeper.keep_tidy(&stop).await });
            Some(lines(logger.format, BoxMakeWriter::new(file.with_max_level(tracing::Level::TRACE)), false))
        }
    };
    let level = match logger.level {
        LogLevel::Trace => "trace",
        LogLevel::Debug => "debug",
        LogLevel::Info => "info",
        LogLevel::Warn => "warn",
        LogLevel::Error => "error",
    };
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(level));
    let writers: Vec<Lines> = stdout.into_iter().chain(file).collect();
    if writers.is_empty() {
        return Ok(());
    }
    let quiet = tracing_subscriber::filter::filter_fn(|event| !shows_keys(event.target(), *event.level()));
    if let Err(error) = tracing_subscriber::registry().with(writers).with(filter).with(quiet).try_init() {
        super::tell(&format!("note: no log: {error}"));
    }
    Ok(())
}

/// Whether such events have keys in them: the AWS SDK shows the id of its key where it debugs, and answers that are credentials
/// where it traces. No level and no `RUST_LOG` brings them into a log; our own lines say what is asked of S3 and how it ended.
fn shows_keys(target: &str, level: tracing::Level) -> bool {
    level > tracing::Level::INFO && target.starts_with("aws_")
}

type Lines = Box<dyn Layer<Registry> + Send + Sync>;

fn lines(format: LogFormat, writer: BoxMakeWriter, colours: bool) -> Lines {
    let layer = tracing_subscriber::fmt::layer()
        .with_ansi(colours)
        // It would tell of a line that it cannot write by `eprintln!`, which panics where standard error is on the
        // same full disk. Backups go on without a log.
        .log_internal_errors(false)
        .with_writer(writer);
    match format {
        LogFormat::Plain => layer.boxed(),
        LogFormat::Json => layer.json().boxed(),
    }
}
