//! What goes wrong on the way, done to each operation by a proxy in front of the real servers: a table of faults and operations
//! for each provider, with the end that is expected of each. A share of it is run with each change, all of it by the ignored tests;
//! `HOLDFAST_FAULT_ROWS` names the faults to run, by comma.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use holdfast::error::Result;
use holdfast::storage::retry::Pace;

use crate::Storage;
use crate::proxy::{Aim, Harm, Proxy};
use crate::still::Still;

/// An operation: a column of the table. Of an upload in parts its first request, a part, and the request that publishes it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Operation {
    Put,
    Begin,
    Part,
    Finish,
    Get,
    Head,
    Read,
    List,
    Delete,
}

/// The faults: the rows of the table. Each is done to one request, or to all of them.
const FAULTS: &[(&str, Harm)] = &[
    ("500", Harm::Answer(500, "", "InternalError")),
    ("503-slow-down", Harm::Answer(503, "x-ms-error-code: ServerBusy\r\n", "SlowDown")),
    ("429-retry-after", Harm::Answer(429, "retry-after: 30\r\n", "TooManyRequests")),
    ("403-in-the-middle", Harm::Answer(403, "", "AccessDenied")),
    ("refused", Harm::Refused),
    ("reset-in-body", Harm::Reset),
    ("reset-in-sent-body", Harm::ResetSent),
    ("cut-with-200", Harm::Cut),
    ("short-with-200", Harm::Short),
    ("stall", Harm::Stall),
    ("stall-in-body", Harm::StallBody),
    ("bit-of-sent-body", Harm::FlipSent),
    ("bit-of-body", Harm::Flip),
    ("twice", Harm::Twice),
    ("answer-lost", Harm::Lost),
    ("page-skipped", Harm::SkipPage),
    ("list-ends-early", Harm::LastPage),
    ("page-without-token", Harm::NoToken),
    ("page-again", Harm::SamePage),
];

/// Of the cells of the table, each how manieth is run where not all are: no divisor of the number of columns or rows.
const SHARE: usize = 7;

/// The longest time that an operation may take, of which nobody waits any: below the default of `stall-timeout`.
const LONGEST: Duration = Duration::from_mins(10);

/// How long a cell may take on a clock of the machine: it finds what never ends, and is no measure of speed.
const PATIENCE: Duration = Duration::from_mins(5);

/// What a provider gives to the table.
pub struct Ground<'g> {
    pub name: &'static str,
    pub proxy: Proxy,
    pub pace: Arc<Still>,
    /// Behind the proxy.
    pub storage: &'g dyn Storage,
    /// The same place, without the proxy.
    pub beside: &'g dyn Storage,
    /// Which requests an operation makes; none: it has no such request here.
    pub aim: fn(Operation) -> Option<Aim>,
    /// How many uploads the provider lists as open; none: it lists none.
    pub open_uploads: Option<Box<dyn Fn() -> BoxFuture<'g, usize> + 'g>>,
    /// What no error may show.
    pub secrets: Vec<String>,
    /// The end that is expected of each fault and operation.
    pub table: &'static str,
}

/// The requests of S3's language, which Google's XML interface speaks too, but for a way of its own to delete.
pub fn s3_language(operation: Operation, delete: Aim) -> Aim {
    match operation {
        Operation::Put => Aim("PUT", ""),
        Operation::Begin => Aim("POST", "?uploads"),
        Operation::Part => Aim("PUT", "partNumber="),
        Operation::Finish => Aim("POST", "uploadId="),
        Operation::Get | Operation::Read => Aim("GET", ""),
        Operation::Head => Aim("HEAD", ""),
        Operation::List => Aim("GET", "list-type=2"),
        Operation::Delete => delete,
    }
}

/// The body of a large object: a part of 5 MiB, and some.
fn large() -> &'static [u8] {
    static LARGE: OnceLock<Vec<u8>> = OnceLock::new();
    LARGE.get_or_init(|| (0..5_400_000_u32).map(|at| (at ^ (at >> 9)) as u8).collect())
}

/// The rows of the folder that is listed, and of the one that is deleted.
const ROWS: [&str; 5] = ["row-0", "row-1", "row-2", "row-3", "row-4"];

impl Operation {
    const ALL: [Self; 9] = [
        Self::Put,
        Self::Begin,
        Self::Part,
        Self::Finish,
        Self::Get,
        Self::Head,
        Self::Read,
        Self::List,
        Self::Delete,
    ];

    /// What it is done to.
    fn key(self) -> &'static str {
        match self {
            Self::Put => "t/put",
            Self::Begin | Self::Part | Self::Finish => "t/large.asb",
            Self::Get | Self::Head => "there/small",
            Self::Read => "there/large.asb",
            Self::List => "list",
            Self::Delete => "t/gone",
        }
    }

    /// Whether a fault has anything to happen to.
    fn can_meet(self, harm: Harm) -> bool {
        let sends = matches!(self, Self::Put | Self::Part | Self::Finish | Self::Delete);
        let is_given = matches!(self, Self::Get | Self::Read | Self::List);
        match harm {
            Harm::FlipSent | Harm::ResetSent => sends,
            Harm::Flip | Harm::Short | Harm::StallBody | Harm::Cut => is_given,
            Harm::SkipPage | Harm::LastPage | Harm::NoToken | Harm::SamePage => {
                matches!(self, Self::List | Self::Delete)
            }
            Harm::Twice => !is_given && self != Self::Head,
            _ => true,
        }
    }

    /// Whether what it did, or gave, is what was asked for.
    async fn run(self, harm: Harm, storage: &dyn Storage, beside: &dyn Storage) -> Result<bool> {
        Ok(match self {
            Self::Put => {
                storage.put(self.key(), Bytes::from(small())).await?;
                beside.get(self.key(), 10_000).await?.unwrap() == small()
            }
            Self::Begin | Self::Part | Self::Finish => {
                let mut writer = storage.create(self.key()).await?;
                for block in large().chunks(1 << 20) {
                    if let Err(error) = writer.write(Bytes::copy_from_slice(block)).await {
                        writer.abort().await?;
                        return Err(error);
                    }
                }
                assert_eq!(writer.finish().await?, large().len() as u64);
                beside.head(self.key()).await?.unwrap().size_bytes == large().len() as u64
                    && (harm != Harm::FlipSent || read(beside, self.key()).await? == large())
            }
            Self::Get => storage.get(self.key(), 10_000).await?.unwrap() == small(),
            Self::Head => storage.head(self.key()).await?.unwrap().size_bytes == small().len() as u64,
            Self::Read => read(storage, self.key()).await? == large(),
            Self::List => names(storage, self.key()).await? == ROWS,
            Self::Delete => {
                storage.delete_prefix(self.key()).await?;
                names(beside, self.key()).await?.is_empty()
            }
        })
    }
}

fn small() -> Vec<u8> {
    (0..4000_u32).map(|at| (at * 7) as u8).collect()
}

async fn read(storage: &dyn Storage, key: &str) -> Result<Vec<u8>> {
    let mut reader = storage.open(key).await?;
    let mut read = Vec::new();
    while let Some(block) = reader.next().await? {
        read.extend_from_slice(&block);
    }
    Ok(read)
}

async fn names(storage: &dyn Storage, folder: &str) -> Result<Vec<String>> {
    let found = storage.list(folder).await?;
    Ok(found
        .into_iter()
        .map(|one| one.key.trim_start_matches(folder).trim_start_matches('/').to_owned())
        .collect())
}

/// How often a fault happens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Often {
    /// So many times in a row.
    Times(usize),
    ForGood,
}

/// Every cell of the table, or a share of them: what it came to, beside what is expected.
pub async fn table(ground: &Ground<'_>, all: bool) {
    ground.prepare().await;
    let expected = parsed(ground.table);
    let (mut met, mut wrong, mut cells, mut runs) = (String::new(), String::new(), 0, 0);
    let mut ends = BTreeMap::<String, usize>::new();
    let only = std::env::var("HOLDFAST_FAULT_ROWS").ok();
    for (name, harm) in FAULTS.iter().filter(|(name, _)| only.as_ref().is_none_or(|rows| rows.contains(name)))
    {
        let _ = write!(met, "{name:<20}");
        for operation in Operation::ALL {
            let wanted = expected.get(&(*name, operation)).copied().unwrap_or_default();
            let aim = (ground.aim)(operation).filter(|_| operation.can_meet(*harm) && wanted != "-");
            let Some(aim) = aim else {
                assert!(
                    ground.table.is_empty() || wanted == "-",
                    "{name} has nothing to do to {operation:?}"
                );
                let _ = write!(met, " {:<14}", "-");
                continue;
            };
            cells += 1;
            if !all && cells % SHARE != 0 {
                let _ = write!(met, " {wanted:<14}");
                continue;
            }
            let mut found = Vec::new();
            let times: &[usize] = if all { &[1, 3] } else { &[1] };
            for often in times.iter().map(|times| Often::Times(*times)).chain([Often::ForGood]) {
                let end = ground.cell(operation, *harm, aim, often).await;
                *ends.entry(end.clone()).or_default() += 1;
                runs += 1;
                if found.last() != Some(&end) || often == Often::ForGood {
                    found.push(end);
                }
            }
            let found = found.join("|");
            let _ = write!(met, " {found:<14}");
            if found != if all { wanted.to_owned() } else { ends_of(wanted) } {
                let _ = writeln!(wrong, "{name}, {operation:?}: {found}, and not {wanted}");
            }
        }
        met.push('\n');
    }
    let ends: Vec<String> = ends.iter().map(|(end, count)| format!("{count} {end}")).collect();
    println!("FIGURE | faults, {} | {runs} runs: {} |", ground.name, ends.join(", "));
    println!("{met}");
    assert!(wrong.is_empty(), "{wrong}");
}

/// What a cell says of a fault that happens once, and of one that happens for good.
fn ends_of(cell: &str) -> String {
    let ends: Vec<&str> = cell.split('|').collect();
    [ends[0], ends[ends.len() - 1]].join("|")
}

/// The cells of a table by fault and operation.
fn parsed(table: &'static str) -> BTreeMap<(&'static str, Operation), &'static str> {
    let mut cells = BTreeMap::new();
    for line in table.lines() {
        let mut words = line.split_whitespace();
        let Some(name) = words.next() else { continue };
        cells.extend(words.zip(Operation::ALL).map(|(cell, operation)| ((name, operation), cell)));
    }
    cells
}

impl Ground<'_> {
    async fn prepare(&self) {
        self.beside.put("there/small", Bytes::from(small())).await.unwrap();
        let mut writer = self.beside.create("there/large.asb").await.unwrap();
        writer.write(Bytes::from_static(large())).await.unwrap();
        writer.finish().await.unwrap();
        for row in ROWS {
            self.beside.put(&format!("list/{row}"), Bytes::from_static(b"1")).await.unwrap();
        }
        self.proxy.page_by(2);
    }

    /// Does harm to an operation; its end: `ok`, `?` for a success that is none (nothing of the storage can tell, block hashes and
    /// manifests must), or the code of its error without `storage-`; `away` is `storage-unavailable`.
    async fn cell(&self, operation: Operation, harm: Harm, aim: Aim, often: Often) -> String {
        let context = format!("{}, {operation:?}, {harm:?} {often:?}", self.name);
        self.beside.delete_prefix("t").await.unwrap();
        if operation == Operation::Delete {
            for row in ROWS {
                self.beside.put(&format!("t/gone/{row}"), Bytes::from_static(b"1")).await.unwrap();
            }
        }
        let (aim, steps) = self.steps(operation, harm, aim, often);
        self.proxy.harm(aim, &steps, (often == Often::ForGood).then_some(harm));
        let begun = self.pace.now();
        let run = tokio::time::timeout(PATIENCE, operation.run(harm, self.storage, self.beside)).await;
        let done = run.unwrap_or_else(|_| panic!("{context}: it does not end"));
        let took = self.pace.now().saturating_sub(begun);
        assert!(self.proxy.heal() > 0, "{context}: no request met it");
        assert!(took <= LONGEST, "{context}: it took {took:?}");
        let end = match &done {
            Ok(true) => "ok".to_owned(),
            Ok(false) => "?".to_owned(),
            Err(error) => {
                self.check(operation, error, &context);
                error.code().trim_start_matches("storage-").replace("unavailable", "away")
            }
        };
        self.nothing_half_made(operation, &context).await;
        let makes_two =
            operation == Operation::Begin && matches!(harm, Harm::Twice | Harm::Lost | Harm::Reset);
        if !makes_two {
            self.no_open_upload(&context).await;
        }
        self.beside.delete_prefix("t").await.unwrap();
        self.no_open_upload(&context).await;
        end
    }

    /// In the middle is where something was done before.
    fn steps(&self, operation: Operation, harm: Harm, aim: Aim, often: Often) -> (Aim, Vec<Harm>) {
        let times = match often {
            Often::Times(times) => times,
            Often::ForGood => 0,
        };
        let mut steps = vec![harm; times];
        let in_the_middle = matches!(harm, Harm::Answer(403, ..));
        match (operation, harm) {
            (Operation::Part | Operation::List, _) if in_the_middle => steps.insert(0, Harm::None),
            (Operation::Read, _) if in_the_middle => steps.insert(0, Harm::Cut),
            (Operation::List, Harm::SkipPage | Harm::SamePage) => steps.insert(0, Harm::None),
            (Operation::Delete, Harm::SkipPage | Harm::LastPage | Harm::NoToken | Harm::SamePage) => {
                if matches!(harm, Harm::SkipPage | Harm::SamePage) {
                    steps.insert(0, Harm::None);
                }
                return ((self.aim)(Operation::List).unwrap(), steps);
            }
            _ => {}
        }
        (aim, steps)
    }

    /// The error says where, what, and how long; and nothing that is secret.
    fn check(&self, operation: Operation, error: &holdfast::error::Error, context: &str) {
        let report = error.report();
        assert!(report.contains(&self.storage.describe()), "{context}: {report}");
        assert!(report.contains(operation.key()), "{context}: {report}");
        let says_how_long = ["tries in ", "try in ", "times in "];
        let is_told = says_how_long.iter().any(|text| report.contains(text));
        assert!(is_told || !error.is_temporary() || error.code() == "storage-io", "{context}: {report}");
        let all = format!("{report} {error:?}");
        assert!(!self.secrets.iter().any(|secret| all.contains(secret)), "{context} shows a secret: {all}");
    }

    /// What is seen of a writing operation is whole.
    async fn nothing_half_made(&self, operation: Operation, context: &str) {
        if operation == Operation::Delete {
            return;
        }
        let sizes = [("t/put", small().len() as u64), ("t/large.asb", large().len() as u64)];
        for object in self.beside.list("t").await.unwrap() {
            assert!(sizes.contains(&(&object.key, object.size_bytes)), "{context}: {object:?}");
        }
    }

    /// What is given up by nobody who waits for it takes a moment.
    async fn no_open_upload(&self, context: &str) {
        let Some(open) = &self.open_uploads else { return };
        let none = async {
            while open().await > 0 {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        let waited = tokio::time::timeout(Duration::from_secs(20), none).await;
        assert!(waited.is_ok(), "{context}: an upload is left open");
    }
}
