//! Faults on demand, for the crash tests: the nth call of a seam ends the process or fails.
//!
//! Built with the feature `fault-injection` only, which no release profile takes. What happens is read from the
//! environment once:
//!
//! | variable | meaning |
//! | --- | --- |
//! | `HOLDFAST_FAULT` | `abort`: the process ends, the system lives; `cut`: the power goes, see [`journal`]; `fail`: an I/O error; `full`: no space is left, for calls that need any; `slow`: the call waits first. None: calls are only counted |
//! | `HOLDFAST_FAULT_NTH` | which call, from 1 |
//! | `HOLDFAST_FAULT_AFTER` | set: the call takes effect first, and its answer is lost |
//! | `HOLDFAST_FAULT_ALWAYS` | set: every call from the nth on |
//! | `HOLDFAST_FAULT_SEAMS` | which calls count, by comma: `store` (commits), `storage` (every operation), `effects` (those operations that change something), `disk` (the system calls of local storage that change something); `store,storage` when missing |
//! | `HOLDFAST_FAULT_PLACE` | only calls whose key or path contains this count |
//! | `HOLDFAST_FAULT_MS` | how long a slow call waits |
//! | `HOLDFAST_FAULT_WHILE` | calls count, and faults happen, only while this file exists |
//! | `HOLDFAST_FAULT_LOG` | each counted call is a line of this file: number, operation, place |

#[cfg(not(debug_assertions))]
compile_error!("fault-injection is for tests: a program that fails on demand is never released");

pub mod journal;

use std::fs::File;
use std::io::{self, Write};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::Duration;

use crate::error::{Error, Result};

/// One kind of call, as it stands in the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Call {
    seam: Seam,
    name: &'static str,
    /// Whether it changes something.
    effect: bool,
    /// Whether a full disk can refuse it.
    needs_room: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Seam {
    Store,
    Storage,
    Disk,
}

impl Call {
    /// The commit of a store transaction.
    pub const STORE_COMMIT: Self =
        Self { seam: Seam::Store, name: "store-commit", effect: true, needs_room: true };

    /// An operation of a storage.
    pub const fn storage(name: &'static str, effect: bool) -> Self {
        Self { seam: Seam::Storage, name, effect, needs_room: effect }
    }

    /// A system call that changes a disk.
    pub const fn disk(name: &'static str, needs_room: bool) -> Self {
        Self { seam: Seam::Disk, name, effect: true, needs_room }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Action {
    Count,
    Abort,
    Cut,
    Fail,
    Full,
    Slow(Duration),
}

#[derive(Debug)]
struct Plan {
    action: Action,
    nth: u64,
    after: bool,
    always: bool,
    seams: Vec<String>,
    place: String,
    only_while: Option<PathBuf>,
    log: Option<File>,
    calls: u64,
}

static PLAN: OnceLock<Mutex<Plan>> = OnceLock::new();

/// Set when the process is ending: nothing begins any more.
static ENDING: AtomicBool = AtomicBool::new(false);

/// Says on standard error that this program may fail on demand.
pub fn announce() {
    // Standard error may be what is full.
    let _ = writeln!(
        io::stderr(),
        "WARNING: built with fault-injection: this program fails on demand and is for tests only"
    );
}

/// Does `work`, unless this is the call that fails.
pub async fn call<T>(call: Call, place: &str, work: impl Future<Output = Result<T>>) -> Result<T> {
    let Some(fault) = hit(call, place) else { return work.await };
    if let Action::Slow(wait) = fault.action {
        tokio::time::sleep(wait).await;
        return work.await;
    }
    let done = if fault.after { work.await.map(drop) } else { Ok(()) };
    let fault = fault.happen(call);
    Err(done.err().unwrap_or_else(|| fault.as_error(call, place)))
}

/// As [`call`], for a system call.
pub(crate) fn call_io<T>(call: Call, place: &str, work: impl FnOnce() -> io::Result<T>) -> io::Result<T> {
    let Some(fault) = hit(call, place) else { return work() };
    if let Action::Slow(wait) = fault.action {
        std::thread::sleep(wait);
        return work();
    }
    let done = if fault.after { work().map(drop) } else { Ok(()) };
    let fault = fault.happen(call);
    Err(done.err().unwrap_or_else(|| fault.as_io()))
}

#[derive(Debug, Clone, Copy)]
struct Fault {
    action: Action,
    after: bool,
}

impl Fault {
    /// Ends the process, if that is what is asked.
    fn happen(self, call: Call) -> Self {
        if matches!(self.action, Action::Abort | Action::Cut) {
            ENDING.store(true, Ordering::SeqCst);
        }
        match self.action {
            Action::Abort => end(call, "aborted"),
            Action::Cut => {
                let _dark = journal::lose_what_is_not_synced();
                end(call, "power cut")
            }
            Action::Count | Action::Fail | Action::Full | Action::Slow(_) => self,
        }
    }

    fn as_error(self, call: Call, place: &str) -> Error {
        let text = format!("{} of {place:?} failed on demand", call.name);
        let code = match (call.seam, self.action) {
            (Seam::Store, Action::Full) => "store-full",
            (Seam::Store, _) => "store-io",
            (_, Action::Full) => "storage-full",
            _ => "storage-io",
        };
        Error::temporary(code, text)
    }

    fn as_io(self) -> io::Error {
        match self.action {
            Action::Full => io::Error::new(io::ErrorKind::StorageFull, "no space left, on demand"),
            _ => io::Error::other("failed on demand"),
        }
    }
}

fn end(call: Call, how: &str) -> ! {
    let _ = writeln!(io::stderr(), "fault-injection: {how} at {}", call.name);
    std::process::abort()
}

/// Counts a call; gives the fault if it is this call's turn.
fn hit(call: Call, place: &str) -> Option<Fault> {
    let mut plan =
        PLAN.get_or_init(|| Mutex::new(Plan::read())).lock().unwrap_or_else(PoisonError::into_inner);
    while ENDING.load(Ordering::SeqCst) {
        // Another call ends the process: as with a real end, this one never happens. The lock is kept.
        std::thread::park();
    }
    if !plan.counts(call, place) {
        return None;
    }
    plan.calls += 1;
    let calls = plan.calls;
    if let Some(log) = &mut plan.log {
        // One write of one line: whole also when the process ends right after.
        let _ = log.write_all(format!("{calls} {} {place}\n", call.name).as_bytes());
    }
    let is_turn = calls == plan.nth || (plan.always && calls > plan.nth);
    if plan.action == Action::Count || !is_turn {
        return None;
    }
    let fault = Fault { action: plan.action, after: plan.after };
    if matches!(fault.action, Action::Abort | Action::Cut) && !fault.after {
        ENDING.store(true, Ordering::SeqCst);
    }
    Some(fault)
}

impl Plan {
    fn read() -> Self {
        let var =
            |name: &str| std::env::var(format!("HOLDFAST_FAULT{name}")).ok().filter(|text| !text.is_empty());
        let action = match var("").as_deref() {
            None => Action::Count,
            Some("abort") => Action::Abort,
            Some("cut") => Action::Cut,
            Some("fail") => Action::Fail,
            Some("full") => Action::Full,
            Some("slow") => {
                let ms = var("_MS").and_then(|ms| ms.parse().ok()).unwrap_or(1);
                Action::Slow(Duration::from_millis(ms))
            }
            Some(other) => {
                eprintln!("fault-injection: HOLDFAST_FAULT={other} is not known");
                std::process::exit(2)
            }
        };
        let seams = var("_SEAMS").unwrap_or_else(|| "store,storage".to_owned());
        Self {
            action,
            nth: var("_NTH").and_then(|nth| nth.parse().ok()).unwrap_or(u64::MAX),
            after: var("_AFTER").is_some(),
            always: var("_ALWAYS").is_some(),
            seams: seams.split(',').map(|seam| seam.trim().to_owned()).collect(),
            place: var("_PLACE").unwrap_or_default(),
            only_while: var("_WHILE").map(PathBuf::from),
            log: var("_LOG").and_then(|path| File::options().create(true).append(true).open(path).ok()),
            calls: 0,
        }
    }

    fn counts(&self, call: Call, place: &str) -> bool {
        let named = self.seams.iter().any(|seam| match (seam.as_str(), call.seam) {
            ("store", Seam::Store) | ("storage", Seam::Storage) | ("disk", Seam::Disk) => true,
            ("effects", Seam::Storage) => call.effect,
            _ => false,
        });
        named && place.contains(&self.place) && self.only_while.as_ref().is_none_or(|path| path.exists())
    }
}
