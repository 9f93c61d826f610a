//! One restore of a sequence: to a random point, over a random destination, judged record by record.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::Sequence;
use super::application::{Identity, NAMESPACES, RECORDS, VOID_TIME, seconds, seen, void_time};
use super::bench::{Kept, RestoreOptions};
use crate::catalog::History;
use crate::clock::Clock;
use crate::engine::RestoreCounters;
use crate::model::restore_order::reference::{Bins, Fate};
use crate::model::restore_order::{Request, plan_order};
use crate::model::{BackupType, JobStatus, UnixMillis};
use crate::oracle::history::{self, Version};
use crate::oracle::judge::{Case, Scan, row};
use crate::oracle::tally::Tally;
use crate::sandbox::{Bin, Sandbox};
use crate::store::JobRow;

/// Records of the target by digest: generation and everything that is compared.
type Contents = BTreeMap<[u8; 20], (u16, Bins)>;

/// The least and the most that was counted: inserted, existed, fresher, expired.
type Bounds = [[u64; 2]; 4];

fn add(mut sum: Bounds, more: Bounds) -> Bounds {
    for (sum, more) in sum.iter_mut().flatten().zip(more.iter().flatten()) {
        *sum += more;
    }
    sum
}

/// What is known of one restore.
struct Restored {
    at: UnixMillis,
    options: RestoreOptions,
    named: Vec<String>,
    before: BTreeMap<&'static str, Contents>,
    after: BTreeMap<&'static str, Contents>,
    /// The target's clock in seconds since 2010: before the restore, after it, and when its records had been looked at.
    seconds: [i64; 3],
    row: JobRow,
    /// What storage had.
    listed: History,
}

impl Sequence {
    pub(super) async fn restore(&mut self) -> Result<(), String> {
        let restored = self.restore_somewhere().await;
        let tally = &mut self.tally;
        match restored.row.status {
            JobStatus::Succeeded => {}
            JobStatus::Failed if restored.row.error_code.as_deref() == Some("no-full-backup") => {
                tally.add("restores refused: no full by then", 1);
                return restored.check_refused();
            }
            _ => return Err(format!("the restore to {} ended {:?}", restored.at, restored.row)),
        }
        let histories = self.bench.application.inner().histories.clone();
        let scans = self.bench.application.inner().scans.clone();
        let plans: Vec<Value> = plans(&restored.row)?;
        let kept = self.bench.kept.clone();
        let mut counters = Some(Bounds::default());
        for plan in &plans {
            let namespace = NAMESPACES.into_iter().find(|name| plan["namespace"] == **name);
            let namespace = namespace.ok_or_else(|| format!("a namespace too many: {plan}"))?;
            let counted =
                restored.check_namespace(namespace, plan, (&histories[namespace], &scans), &kept, tally)?;
            counters = counters.zip(counted).map(|(sum, counted)| add(sum, counted));
        }
        restored.check_others(&plans)?;
        let Some(bounds) = counters else { return Ok(()) };
        let exact = bounds.iter().all(|[least, most]| least == most);
        tally.add("restores with their counters compared", 1);
        tally.add("restores with their counters compared exactly", u64::from(exact));
        restored.check_counters(bounds)
    }

    async fn restore_somewhere(&mut self) -> Restored {
        let bench = &self.bench;
        let application = &bench.application;
        let listed = bench.history().await;
        let at = self.choose_point(&listed);
        let named = match application.below(3) {
            0 => Vec::new(),
            one => vec![NAMESPACES[one - 1].to_owned()],
        };
        let mut options = RestoreOptions {
            unique: application.once_in(4),
            replace: application.once_in(2),
            no_generation: application.once_in(2),
            disable_reordering: application.once_in(3),
        };
        // The API refuses what contradicts itself.
        options.disable_reordering &= !options.unique;
        options.replace &= !options.unique;
        self.fill_target();
        let clock = application.clock.ahead(bench.target_ahead_ms);
        let now = || seconds(clock.now());
        let (before, started) = (contents(&bench.target), now());
        let row = bench.desk.restore(at.0, &named, options).await;
        let ended = now();
        let after = contents(&bench.target);
        let seconds = [started, ended, now()];
        application.log(format!("restore to {} of {named:?} with {options:?}: {:?}", at.0, row.result));
        Restored { at, options, named, before, after, seconds, row, listed }
    }

    /// An instant at which something changes, or any other; mostly after the first full.
    fn choose_point(&self, listed: &History) -> UnixMillis {
        let application = &self.bench.application;
        let now = UnixMillis(application.now());
        let entries: Vec<_> = NAMESPACES.iter().flat_map(|name| listed.members(name).1).collect();
        if entries.is_empty() || application.once_in(4) {
            return now;
        }
        let one = &entries[application.below(entries.len())];
        match application.below(8) {
            0 => one.created,
            1 => one.finished.plus_ms(-1),
            2 => one.finished.plus_ms(application.below(20_000) as i64).min(now),
            _ => one.finished,
        }
    }

    /// Empties the target, then fills it, or not.
    fn fill_target(&self) {
        let (application, target) = (&self.bench.application, &self.bench.target);
        for (namespace, contents) in contents(target) {
            for digest in contents.keys() {
                target.remove(namespace, digest).unwrap();
            }
        }
        let stamp = application.now();
        for namespace in NAMESPACES {
            if application.once_in(3) {
                continue;
            }
            // The last one is in no backup.
            for identity in Identity::all().into_iter().chain([Identity::new("new", 99)]) {
                if application.once_in(2) {
                    let bin = |name: &[u8]| Bin { name: name.to_vec(), kind: 3, value: b"theirs".to_vec() };
                    let generation = 1 + application.below(6) as u16;
                    let record = identity.record(vec![bin(b"b"), bin(b"z")], generation, 0, stamp);
                    target.put(namespace, record).unwrap();
                }
            }
        }
    }
}

impl Restored {
    /// What was refused has changed nothing, and had to be refused (rules.md 4.1).
    fn check_refused(&self) -> Result<(), String> {
        if self.before != self.after {
            return Err("a restore that was refused has written".to_owned());
        }
        let has_full = |name: &str| {
            let members = self.listed.members(name).1;
            let mut fulls = members.iter().filter(|one| one.backup_type == BackupType::Full);
            fulls.any(|one| one.is_usable() && one.created <= self.at && one.finished <= self.at)
        };
        let wanted =
            if self.named.is_empty() { NAMESPACES.map(str::to_owned).to_vec() } else { self.named.clone() };
        if wanted.iter().all(|name| has_full(name)) {
            return Err(format!("refused, yet every namespace has a full by {}", self.at));
        }
        Ok(())
    }

    /// Compares one namespace; gives what must have been counted, where that is certain.
    fn check_namespace(
        &self,
        namespace: &'static str,
        described: &Value,
        (history, scans): (&history::History, &BTreeMap<String, Scan>),
        kept: &Kept,
        tally: &mut Tally,
    ) -> Result<Option<Bounds>, String> {
        let chain = self.check_chain(namespace, described, scans)?;
        let (before, after) = (&self.before[namespace], &self.after[namespace]);
        if described["destination-empty"] != before.is_empty() {
            return Err(format!("{namespace}: empty was {}, {described}", before.is_empty()));
        }
        let plan = plan_order(Request {
            destination_empty: before.is_empty(),
            unique: self.options.unique,
            disable_reordering: self.options.disable_reordering,
            replace: self.options.replace,
            no_generation: self.options.no_generation,
        })
        .map_err(|error| error.to_string())?;
        tally.restore(row(plan, before.is_empty()), RECORDS as u64);
        let mut counters = Some(Bounds::default());
        let identities = Identity::all();
        for (record, identity) in identities.iter().enumerate() {
            if self.expires_just_now(history, record) {
                tally.add("records too close to their expiry to tell", 1);
                counters = None;
                continue;
            }
            let finding = Case {
                history,
                record,
                scans: &chain,
                plan,
                scope: kept.bins.as_ref(),
                with_bin: kept.with_bin.as_deref(),
                before: before.get(&identity.digest),
                after: after.get(&identity.digest).map(|(_, bins)| bins),
                fates: &|version| vec![self.fate(version)],
                same: &|expected, actual| self.same(expected, actual),
            }
            .judge();
            counters = counters.map(|sum| add(sum, finding.counters));
            tally.record(finding).map_err(|reason| format!("{namespace}, {:?}: {reason}", identity.set))?;
        }
        let known: BTreeSet<_> = identities.iter().map(|identity| identity.digest).collect();
        let strange = |contents: &Contents| -> Contents {
            contents
                .iter()
                .filter(|(digest, _)| !known.contains(*digest))
                .map(|(a, b)| (*a, b.clone()))
                .collect()
        };
        if strange(before) != strange(after) {
            return Err(format!("{namespace}: a record that is in no backup was changed"));
        }
        Ok(counters)
    }

    /// The scans of a chain's members; each lies within [created, finished], and nothing that counts is newer.
    fn check_chain(
        &self,
        namespace: &str,
        described: &Value,
        scans: &BTreeMap<String, Scan>,
    ) -> Result<Vec<Scan>, String> {
        let (entries, members) = self.listed.members(namespace);
        let keys = described["chain"].as_array().ok_or("a plan without a chain")?;
        let mut chain = Vec::new();
        let mut places = Vec::new();
        for key in keys {
            let place = entries.iter().position(|entry| *key == entry.key);
            let place = place.ok_or_else(|| format!("{key} is not listed"))?;
            let scan = scans.get(&entries[place].key).ok_or_else(|| format!("{key} was never read"))?;
            let entry = entries[place];
            if scan.from < entry.created.0 || scan.until > entry.finished.0 || entry.finished > self.at {
                return Err(format!("{scan:?} is not within {} and {}", entry.created, entry.finished));
            }
            chain.push(*scan);
            places.push(place);
        }
        let (Some(first), Some(last)) = (places.first(), places.last()) else {
            return Err("an empty chain".to_owned());
        };
        let newer = members.iter().find(|one| {
            let follows = one.backup_type == BackupType::Full || one.created >= members[*first].finished;
            let counts = one.is_usable() && one.created <= self.at && one.finished <= self.at;
            follows && counts && one.created > members[*last].created
        });
        newer.map_or(Ok(chain), |newer| Err(format!("the chain ends before {}", newer.created)))
    }

    /// Namespaces that were not restored are as they were; without names, all are (rules.md 3.8).
    fn check_others(&self, plans: &[Value]) -> Result<(), String> {
        for namespace in NAMESPACES {
            let wanted = self.named.is_empty() || self.named.iter().any(|name| name == namespace);
            if plans.iter().any(|plan| plan["namespace"] == namespace) != wanted {
                return Err(format!("{namespace} was restored: {}", !wanted));
            }
            if !wanted && self.before[namespace] != self.after[namespace] {
                return Err(format!("{namespace} was changed and not restored"));
            }
        }
        Ok(())
    }

    /// rules.md 4.6
    fn check_counters(&self, bounds: Bounds) -> Result<(), String> {
        let counters = self.row.counters.clone().unwrap_or_default();
        let found: RestoreCounters = serde_json::from_value(counters).map_err(|error| error.to_string())?;
        let ends =
            [found.inserted_records, found.existed_records, found.fresher_records, found.expired_records];
        let within = |(one, [least, most]): (&u64, &[u64; 2])| (least..=most).contains(&one);
        if found.balanced() && found.skipped_records == 0 && ends.iter().zip(&bounds).all(within) {
            return Ok(());
        }
        Err(format!("counted {found:?}, expected from and to {bounds:?}"))
    }

    fn expires_just_now(&self, history: &history::History, record: usize) -> bool {
        let [started, _, looked] = self.seconds;
        let mut versions = history.events(record).iter().filter_map(|event| event.version.as_ref());
        versions.any(|version| (started - 1..=looked + 1).contains(&void_time(&version.bins)))
    }

    fn fate(&self, version: &Version) -> Fate {
        let ends = void_time(&version.bins);
        if ends != 0 && ends < self.seconds[0] { Fate::Expired } else { Fate::Write }
    }

    /// Void times are exact to a second, and a write that had to wait lets the record live so much longer
    /// (rules.md 4.7).
    fn same(&self, expected: Option<&Bins>, actual: Option<&Bins>) -> bool {
        let (Some(expected), Some(actual)) = (expected, actual) else {
            return expected.is_none() && actual.is_none();
        };
        let (wanted, found) = (void_time(expected), void_time(actual));
        let late_s = self.seconds[1] - self.seconds[0];
        let in_time = (wanted == 0) == (found == 0) && (wanted - 1..=wanted + 1 + late_s).contains(&found);
        let rest = |bins: &Bins| -> Bins {
            bins.iter().filter(|(name, _)| *name != VOID_TIME).map(|(a, b)| (a.clone(), b.clone())).collect()
        };
        in_time && rest(expected) == rest(actual)
    }
}

/// The plan of each namespace, from the job's result.
fn plans(row: &JobRow) -> Result<Vec<Value>, String> {
    let namespaces = row.result.as_ref().and_then(|result| result["namespaces"].as_array());
    let namespaces = namespaces.ok_or("a restore without a result")?;
    Ok(namespaces.iter().map(|one| one["plan"].clone()).collect())
}

fn contents(target: &Sandbox) -> BTreeMap<&'static str, Contents> {
    let of = |namespace| {
        let mut contents = Contents::new();
        let visit = |record: crate::sandbox::SandboxRecord| {
            contents.insert(record.digest, (record.generation, seen(&record)));
        };
        target.for_each(namespace, visit).unwrap();
        (namespace, contents)
    };
    NAMESPACES.into_iter().map(of).collect()
}
