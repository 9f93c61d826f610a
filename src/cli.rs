//! The command line: one file per subcommand.

mod adopt;
mod catalog;
mod check;
mod config;
mod demo;
mod estimate;
mod inspect;
mod log;
mod rest;
mod retention;
mod sandbox;
mod serve;
mod source;
mod store;
mod token;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use tokio_util::sync::CancellationToken;

use crate::config::KeyPlace;
use crate::error::{Error, Result};

/// Scheduled full and incremental backups of database clusters, and restore to a point in time.
#[derive(Debug, Parser)]
#[command(name = "holdfast", version, about)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Runs the service until it is told to stop.
    Serve {
        #[command(flatten)]
        source: source::Source,
    },
    /// Prints every problem of a configuration, or the next fire times of each routine.
    Check {
        #[command(flatten)]
        source: source::Source,
    },
    /// Makes the folder of a routine in storage this installation's at once, whoever owns it.
    Adopt {
        /// The routine.
        routine: String,
        /// In this storage, the routine's own or that of a copy; without it: in its own.
        #[arg(long, value_name = "NAME")]
        storage: Option<String>,
        /// The running service to ask, as http://127.0.0.1:8080.
        #[arg(long, value_name = "URL", conflicts_with = "config", required_unless_present = "config")]
        url: Option<String>,
        // While its service does not run.
        #[command(flatten)]
        source: source::MaybeSource,
    },
    /// Makes the cache that lists of backups are answered from anew.
    #[command(subcommand)]
    Catalog(catalog::Command),
    /// Shows the form of a configuration.
    #[command(subcommand)]
    Config(config::Command),
    /// Shows the main job on an embedded sandbox node: scheduled backups, then a restore to a point in time.
    Demo {
        /// The configuration; without it, and without ./config.yaml, the one built in.
        #[arg(short, long, value_name = "FILE")]
        config: Option<PathBuf>,
        /// The folder for backups and state; emptied at the start.
        #[arg(long, value_name = "DIR", default_value = "holdfast-demo")]
        dir: PathBuf,
        /// End after the comparison instead of staying up.
        #[arg(long)]
        exit: bool,
    },
    /// Prints what backup files hold and the first thing that is wrong with them.
    Inspect {
        /// A backup file, the folder of a backup, or one above it; in an object store `s3://BUCKET/PATH`, `gs://BUCKET/PATH` or
        /// `az://CONTAINER/PATH`.
        #[arg(value_name = "PATH|URL")]
        path: PathBuf,
        // With the storage of a URL; without it the provider's default credentials are used.
        #[command(flatten)]
        source: source::MaybeSource,
        /// The private key of encrypted files: a PEM file.
        #[arg(long, value_name = "FILE")]
        key_file: Option<PathBuf>,
        /// The private key of encrypted files: a variable with PEM, or base64 of its DER.
        #[arg(long, value_name = "NAME", conflicts_with = "key_file")]
        key_env: Option<String>,
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
    /// Asks the running service how much a backup would hold and how long it would take.
    Estimate(estimate::Options),
    /// Prints the description of the API: OpenAPI 3.1, as `/api-docs/doc.json` of a running service.
    Openapi,
    /// Shows which backups of a routine stay, which would go, and why; or has the service delete them.
    Retention(retention::Options),
    /// Looks at the job store, or sets a damaged one aside and makes a new one.
    #[command(subcommand)]
    Store(store::Command),
    /// Makes a token for a client of the API, and prints the line for service.auth.tokens; the file gets the hash only.
    Token(token::Options),
    /// Starts a node in memory that speaks the Aerospike client protocol; not a database.
    Sandbox {
        /// The port on 127.0.0.1; 0 takes a free one.
        #[arg(short, long, default_value_t = 3000)]
        port: u16,
        /// The namespaces.
        #[arg(short, long, value_delimiter = ',', default_value = "source-ns1,target-ns1")]
        namespaces: Vec<String>,
    },
}

/// Exit code for a failed command.
const FAILURE: u8 = 1;

/// Exit code for a configuration with problems.
const BAD_CONFIGURATION: u8 = 2;

/// Runs a command to its end.
pub fn run(cli: Cli) -> ExitCode {
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            tell(&format!("error: start the runtime: {error}"));
            return ExitCode::from(FAILURE);
        }
    };
    let ended = runtime.block_on(async {
        match cli.command {
            Command::Serve { source } => serve::run(&source).await,
            Command::Check { source } => check::run(&source).await,
            Command::Adopt { routine, storage, url, source } => {
                adopt::run(&routine, storage.as_deref(), url.as_deref(), source.given().as_ref()).await
            }
            Command::Catalog(command) => catalog::run(command).await,
            Command::Config(command) => config::run(&command),
            Command::Demo { config, dir, exit } => Box::pin(demo::run(config.as_deref(), &dir, exit)).await,
            Command::Inspect { path, source, key_file, key_env, json } => {
                let key = key_file.map(KeyPlace::File).or(key_env.map(KeyPlace::Env));
                inspect::run(&path, source.given().as_ref(), key.as_ref(), json).await
            }
            Command::Estimate(options) => estimate::run(&options).await,
            Command::Openapi => {
                print!("{}", crate::api::document_text());
                Ok(())
            }
            Command::Retention(options) => retention::run(&options).await,
            Command::Store(command) => store::run(command).await,
            Command::Token(options) => token::run(&options),
            Command::Sandbox { port, namespaces } => sandbox::run(port, namespaces).await,
        }
    });
    // What still runs in the background (a blocked read of a dead disk) must not keep the process.
    runtime.shutdown_timeout(std::time::Duration::from_secs(2));
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tell(&format!("error: {}", error.report()));
            ExitCode::from(if error.code() == "config-invalid" { BAD_CONFIGURATION } else { FAILURE })
        }
    }
}

/// A line on standard error, as far as it takes any: `eprintln!` would panic where its disk is full.
fn tell(line: &str) {
    use std::io::Write;
    // There is nowhere left to complain.
    let _ = writeln!(std::io::stderr(), "{line}");
}

/// A token that SIGTERM, SIGINT or SIGQUIT cancels; a second signal ends the process at once (rules.md 6.4).
fn stop_on_signal(scope: &mut crate::tasks::Scope) -> Result<CancellationToken> {
    use tokio::signal::unix::{SignalKind, signal};
    let stop = CancellationToken::new();
    let listen = |kind| signal(kind).map_err(|error| Error::permanent("signals", "listen").source(error));
    let mut terminate = listen(SignalKind::terminate())?;
    let mut interrupt = listen(SignalKind::interrupt())?;
    let mut quit = listen(SignalKind::quit())?;
    let (token, ended) = (stop.clone(), scope.token().clone());
    scope.spawn("signals", async move {
        loop {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
                _ = quit.recv() => {}
                () = ended.cancelled() => return Ok(()),
            }
            if token.is_cancelled() {
                tell("second signal: stopping at once");
                std::process::exit(130);
            }
            token.cancel();
        }
    });
    Ok(stop)
}
