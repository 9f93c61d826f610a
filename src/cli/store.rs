//! `holdfast store check` and `holdfast store rebuild` (rules.md 2.7).

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::{Args, Subcommand};

use super::source::{MaybeSource, Source};
use crate::app::Places;
use crate::catalog::History;
use crate::clock::{SharedClock, SystemClock};
use crate::config::RoutineConfig;
use crate::error::{Error, Result};
use crate::model::{BackupType, UnixMillis};
use crate::service::ServiceOptions;
use crate::storage::Storage;
use crate::store::check::{StoreReport, inspect};
use crate::store::corrupt;
use crate::store::rebuild::{Rebuilt, rebuild};

/// What is done with the store.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Reads the whole store and says whether it is sound; also beside a running service. Exit code 1: it is damaged.
    Check {
        #[command(flatten)]
        place: Place,
    },
    /// Sets a damaged store aside, makes a new one, and lists what storage has of each routine.
    ///
    /// The history of jobs is lost; backups are not, they are read from storage.
    Rebuild {
        // Names the state directory and the storages.
        #[command(flatten)]
        source: Source,
        /// The state directory, where it is not the configuration's.
        #[arg(long, value_name = "DIR")]
        state_dir: Option<PathBuf>,
        /// Set a store aside that is not damaged.
        #[arg(long)]
        force: bool,
    },
}

/// Where the store lies.
#[derive(Debug, Args)]
pub struct Place {
    // Names the state directory.
    #[command(flatten)]
    source: MaybeSource,
    /// The state directory.
    #[arg(long, value_name = "DIR", required_unless_present = "config")]
    state_dir: Option<PathBuf>,
}

/// Runs a command on the store.
pub async fn run(command: Command) -> Result<()> {
    let clock: SharedClock = Arc::new(SystemClock);
    match command {
        Command::Check { place } => {
            let dir = match (place.state_dir, place.source.given()) {
                (Some(dir), _) => dir,
                (None, Some(source)) => source.options().await?.state_dir(),
                (None, None) => PathBuf::from("."),
            };
            check(&dir).await
        }
        Command::Rebuild { source, state_dir, force } => {
            let options = ServiceOptions { state_dir, ..source.options().await? };
            run_rebuild(&options, &clock, force).await
        }
    }
}

async fn check(dir: &Path) -> Result<()> {
    let report = inspect(dir).await?;
    println!("{}", describe(&report));
    if report.damage.is_empty() { Ok(()) } else { Err(corrupt(report.damage.join("; "))) }
}

fn describe(report: &StoreReport) -> String {
    let known = |value: Option<String>| value.unwrap_or_else(|| "unknown".to_owned());
    let jobs: Vec<String> = report.jobs.iter().map(|(status, count)| format!("{count} {status}")).collect();
    let lines = [
        format!("store: {}, {} bytes", report.path.display(), report.bytes),
        format!("in use by a service: {}", if report.in_use { "yes" } else { "no" }),
        format!("created: {}", known(report.created.map(UnixMillis::to_rfc3339))),
        format!("schema: {}", known(report.schema.map(|version| version.to_string()))),
        format!("jobs: {}", if jobs.is_empty() { "none".to_owned() } else { jobs.join(", ") }),
        format!("tries that storage has not settled: {}", report.unsettled),
        match report.damage.len() {
            0 => "integrity: ok".to_owned(),
            count => format!("integrity: {count} problems\n  {}", report.damage.join("\n  ")),
        },
    ];
    lines.join("\n")
}

async fn run_rebuild(options: &ServiceOptions, clock: &SharedClock, force: bool) -> Result<()> {
    let (store, rebuilt) = rebuild(&options.state_dir(), clock, force).await?;
    say(&rebuilt);
    println!("new store: {}", store.path().display());
    let places = Places::new(store.clone(), options.config.keeper());
    let mut unread = Vec::new();
    for routine in options.config.routines(clock.now())? {
        let name = routine.job.routine.clone();
        if let Err(error) = list(&places, &routine, clock.now()).await {
            println!("routine {name}: its storage cannot be read: {}", error.report());
            unread.push(name);
        }
    }
    store.close().await?;
    if unread.is_empty() {
        return Ok(());
    }
    Err(Error::temporary("storage-unread", format!("the storage of {} was not read", unread.join(", ")))
        .hint("The new store is in place; mend the storage before the service starts."))
}

fn say(rebuilt: &Rebuilt) {
    for damage in &rebuilt.damage {
        println!("damaged: {damage}");
    }
    for path in &rebuilt.set_aside {
        println!("set aside: {}", path.display());
    }
    println!("single values taken along: {}", rebuilt.taken_along);
}

/// What storage has of a routine. Nothing of it goes into the store: every list and every chain is read from storage.
async fn list(places: &Places, routine: &RoutineConfig, now: UnixMillis) -> Result<()> {
    let name = &routine.job.routine;
    // Not opened before it is known to be the right one: a new store knows no folder.
    let storage = places.open_unchecked(&routine.job.storage).await?;
    places.prepare(&routine.job.storage).await?;
    // What a deletion had begun on is not known any more: it shows as what it is in storage.
    let mut history = History::read(storage.as_ref(), name, &BTreeSet::new()).await?;
    let namespaces = history.namespaces();
    println!("routine {name}: {} namespaces in {}", namespaces.len(), storage.describe());
    for namespace in namespaces {
        let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
        for entry in history.members(&namespace).0 {
            *counts.entry(entry.backup_type.as_str()).or_default() += 1;
        }
        let count = |backup_type: BackupType| counts.get(backup_type.as_str()).copied().unwrap_or(0);
        let (fulls, incrementals) = (count(BackupType::Full), count(BackupType::Incremental));
        let newest = newest_point(&mut history, storage.as_ref(), &namespace, now).await;
        println!("  {namespace}: {fulls} full, {incrementals} incremental, newest restore point {newest}");
    }
    for problem in history.full.problems.iter().chain(&history.incremental.problems) {
        println!("  not a backup: {}: {}", problem.key, problem.reason);
    }
    Ok(())
}

async fn newest_point(
    history: &mut History,
    storage: &dyn Storage,
    namespace: &str,
    now: UnixMillis,
) -> String {
    match history.whole_chain(storage, namespace, now, false).await {
        Ok(chain) => {
            let last = chain.entries().last().map(|entry| entry.finished.to_rfc3339());
            last.unwrap_or_else(|| "none".to_owned())
        }
        Err(error) => format!("none: {}", error.report_without_hint()),
    }
}
