//! The verdict on one record of one restore: what the chain may have caught of it, what the policy makes of that, and
//! whether a difference to the truth is one of the known limits (rules.md 3.3, 4.3 to 4.5, 9).

use std::collections::{BTreeMap, BTreeSet};

use super::history::{History, State, Version};
use crate::model::restore_order::reference::{self, Bins, Counters, Destination, Fate};
use crate::model::restore_order::{Exists, Order, Plan};

/// More ways than this to read one chain are not followed: the histories of the tests stay far below.
const WAYS_MAX: usize = 20_000;

/// How one backup read one record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Scan {
    /// The earliest instant at which it was read, on the axis of the history.
    pub from: i64,
    /// The latest.
    pub until: i64,
    /// Only versions stamped at or after this; none: a full.
    pub lower: Option<i64>,
    /// Only versions stamped before this (`sealed`).
    pub upper: Option<i64>,
}

/// Why a backup does not have a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Missed {
    /// It was never written.
    Never,
    /// Its stamp is below the lower bound: what the backup builds on must have it.
    Unchanged,
    /// The same, but it came with an old stamp.
    OldStamp,
    /// Its stamp is not below the upper bound.
    Sealed,
    /// It was deleted.
    Deleted,
    /// It had expired.
    Expired,
    /// It has none of the bins in scope.
    OutOfScope,
}

/// What a backup may have of a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Choice {
    /// The version of this event.
    Taken(usize),
    /// Nothing.
    Missed(Missed),
}

/// A known limit (rules.md 9).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Limit {
    /// Incrementals do not see deletes: an older version came back.
    DeleteNotSeen,
    /// The same of a version that expired before an incremental read it.
    ExpiryNotSeen,
    /// Changed between `created` and its scan in a sealed backup.
    SealedHole,
    /// It arrived with an old stamp.
    OldStamp,
    /// Its last listed bin went.
    LeftScope,
}

/// What is said of one record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// It is what the cluster held.
    Exact,
    /// It is not, and this limit is why.
    Limit(Limit),
    /// It is not, and nothing explains it.
    Wrong(String),
}

/// One record of one restore.
pub(crate) struct Case<'a> {
    /// What happened.
    pub history: &'a History,
    /// The record.
    pub record: usize,
    /// How each member of the chain read it, the base first.
    pub scans: &'a [Scan],
    /// How the chain was written.
    pub plan: Plan,
    /// The bins in scope (`bin-list`); none: all.
    pub scope: Option<&'a BTreeSet<Vec<u8>>>,
    /// Only versions that have this bin are backed up (`filter-exp`); none: all.
    pub with_bin: Option<&'a [u8]>,
    /// Generation and bins that the destination had.
    pub before: Option<&'a (u16, Bins)>,
    /// What it has now.
    pub after: Option<&'a Bins>,
    /// What could become of a version when it was restored: one, or two where it expired just then.
    pub fates: &'a dyn Fn(&Version) -> Vec<Fate>,
    /// Whether what was found is what was expected.
    pub same: &'a dyn Fn(Option<&Bins>, Option<&Bins>) -> bool,
}

/// What was found of one record.
#[derive(Debug, Clone)]
pub(crate) struct Finding {
    /// The verdict.
    pub verdict: Verdict,
    /// The least and the most that it can have moved each counter of written or passed over records: inserted, existed,
    /// fresher, expired.
    pub counters: [[u64; 2]; 4],
    /// It is a limit, and which one depends on when within a scan the record was read: it was changed meanwhile.
    pub ambiguous: bool,
    /// An expired version hid an older one (rules.md 4.5).
    pub hid: bool,
    /// The destination's record had to stay as it was.
    pub had_to_stay: bool,
}

/// One way to read a chain: of each member the choice, and what became of what was taken.
type Way = Vec<(Choice, Option<Fate>)>;

impl Case<'_> {
    /// Judges.
    pub(crate) fn judge(&self) -> Finding {
        let ways = match self.ways() {
            Ok(ways) => ways,
            Err(reason) => return self.finding(Verdict::Wrong(reason)),
        };
        let mut fitting = Vec::new();
        let mut expected = Vec::new();
        let mut counters = [[u64::MAX, 0]; 4];
        for way in &ways {
            let (after, counted) = self.apply(way);
            if (self.same)(after.as_ref(), self.after) {
                fitting.push((self.explain(way), way));
                for ([least, most], one) in counters.iter_mut().zip(ends(counted)) {
                    (*least, *most) = ((*least).min(one), (*most).max(one));
                }
            } else {
                expected.push((way, after));
            }
        }
        fitting.sort_by_key(|(verdict, _)| match verdict {
            Verdict::Exact => (0, None),
            Verdict::Limit(limit) => (1, Some(*limit)),
            Verdict::Wrong(_) => (2, None),
        });
        let limits: BTreeSet<Limit> = fitting
            .iter()
            .filter_map(|(verdict, _)| if let Verdict::Limit(limit) = verdict { Some(*limit) } else { None })
            .collect();
        let Some((verdict, way)) = fitting.first().cloned() else {
            let reason =
                format!("found {:?}, before {:?}, the policy allows {expected:?}", self.after, self.before);
            return self.finding(Verdict::Wrong(reason));
        };
        if let Err(reason) = self.check_policy(&ways) {
            return self.finding(Verdict::Wrong(reason));
        }
        let hid = newest(way).is_some_and(|(place, fate)| {
            fate == Fate::Expired && way[..place].iter().any(|(_, fate)| *fate == Some(Fate::Write))
        });
        let ambiguous = matches!(verdict, Verdict::Limit(_)) && limits.len() > 1;
        let had_to_stay = self.must_stay(&ways);
        Finding { counters, ambiguous, hid, had_to_stay, ..self.finding(verdict) }
    }

    fn finding(&self, verdict: Verdict) -> Finding {
        let verdict = match verdict {
            Verdict::Wrong(reason) => Verdict::Wrong(format!(
                "record {}: {reason}\nscans {:?}\nplan {:?}\nhistory {:#?}",
                self.record,
                self.scans,
                self.plan,
                self.history.events(self.record)
            )),
            fine => fine,
        };
        Finding { verdict, counters: [[0; 2]; 4], ambiguous: false, hid: false, had_to_stay: false }
    }

    /// The bins of a version that are in scope; none: it has none of them, or is filtered out.
    fn bins(&self, version: &Version) -> Option<Bins> {
        if self.with_bin.is_some_and(|name| !version.bins.contains_key(name)) {
            return None;
        }
        project(&version.bins, self.scope)
    }

    fn version(&self, place: usize) -> &Version {
        let version = self.history.events(self.record)[place].version.as_ref();
        version.expect("invariant: only versions are live")
    }

    /// What one backup may have.
    pub(crate) fn choices(&self, scan: &Scan) -> BTreeSet<Choice> {
        let states = self.history.states(self.record, scan.from, scan.until);
        let choice = |state: State| match state {
            State::Never => Choice::Missed(Missed::Never),
            State::Deleted => Choice::Missed(Missed::Deleted),
            State::Expired(_) => Choice::Missed(Missed::Expired),
            State::Live(place) => {
                let event = &self.history.events(self.record)[place];
                if scan.lower.is_some_and(|lower| event.stamp < lower) {
                    Choice::Missed(if event.old_stamp { Missed::OldStamp } else { Missed::Unchanged })
                } else if scan.upper.is_some_and(|upper| event.stamp >= upper) {
                    Choice::Missed(Missed::Sealed)
                } else if self.bins(self.version(place)).is_none() {
                    Choice::Missed(Missed::OutOfScope)
                } else {
                    Choice::Taken(place)
                }
            }
        };
        states.into_iter().map(choice).collect()
    }

    fn ways(&self) -> Result<Vec<Way>, String> {
        let mut ways: Vec<Way> = vec![Vec::new()];
        for scan in self.scans {
            let mut steps = Vec::new();
            for choice in self.choices(scan) {
                match choice {
                    Choice::Taken(place) => {
                        let fates = (self.fates)(self.version(place));
                        steps.extend(fates.into_iter().map(|fate| (choice, Some(fate))));
                    }
                    Choice::Missed(_) => steps.push((choice, None)),
                }
            }
            let longer = ways.iter().flat_map(|way| {
                steps.iter().map(move |step| way.iter().copied().chain([*step]).collect::<Way>())
            });
            ways = longer.collect();
            if ways.len() > WAYS_MAX {
                return Err("there are too many ways to read this chain".to_owned());
            }
        }
        Ok(ways)
    }

    /// What the policy makes of one reading of the chain.
    fn apply(&self, way: &Way) -> (Option<Bins>, Counters) {
        let digest = [0; 20];
        let chain: Vec<Vec<reference::Version>> = way
            .iter()
            .map(|(choice, fate)| match (choice, fate) {
                (Choice::Taken(place), Some(fate)) => {
                    let version = self.version(*place);
                    let bins = self.bins(version).unwrap_or_default();
                    vec![reference::Version { digest, generation: version.generation, bins, fate: *fate }]
                }
                _ => Vec::new(),
            })
            .collect();
        let before = self.before.cloned().map(|before| (digest, before));
        let mut destination: Destination = before.into_iter().collect();
        let counters = reference::apply(&chain, self.plan, &mut destination);
        (destination.remove(&digest).map(|(_, bins)| bins), counters)
    }

    /// What must hold whatever the reference thinks: nothing hidden comes back, and what must stay is unchanged.
    fn check_policy(&self, ways: &[Way]) -> Result<(), String> {
        let untouched = (self.same)(self.before.map(|(_, bins)| bins), self.after);
        let hidden = |way: &Way| newest(way).is_some_and(|(_, fate)| fate == Fate::Expired);
        if !untouched && ways.iter().all(hidden) {
            return Err(format!("a hidden version came back: {:?}", self.after));
        }
        if !untouched && self.must_stay(ways) {
            return Err(format!("it had to stay {:?} and is {:?}", self.before, self.after));
        }
        Ok(())
    }

    /// Whether the destination has a record that no reading of the chain may change (rules.md 4.3).
    fn must_stay(&self, ways: &[Way]) -> bool {
        let Some((generation, _)) = self.before else { return false };
        let taken = || {
            let all = ways.iter().flatten().filter(|(_, fate)| *fate == Some(Fate::Write));
            all.filter_map(|(choice, _)| if let Choice::Taken(place) = choice { Some(*place) } else { None })
        };
        self.plan.exists == Exists::CreateOnly
            || (self.plan.check_generation
                && taken().all(|place| self.version(place).generation <= *generation))
            || taken().next().is_none()
    }

    /// Whether what a reading of the chain delivers is what the cluster held, or which limit says why not.
    fn explain(&self, way: &Way) -> Verdict {
        let delivered = newest(way).filter(|(_, fate)| *fate == Fate::Write).map(|(place, _)| way[place].0);
        if self.truth().iter().any(|state| self.is_truth(*state, delivered)) {
            return Verdict::Exact;
        }
        for (choice, _) in way.iter().rev() {
            match choice {
                // Whatever it builds on must have it.
                Choice::Missed(Missed::Unchanged | Missed::Never) => {}
                Choice::Missed(Missed::OldStamp) => return Verdict::Limit(Limit::OldStamp),
                Choice::Missed(Missed::Sealed) => return Verdict::Limit(Limit::SealedHole),
                Choice::Missed(Missed::Deleted) => return Verdict::Limit(Limit::DeleteNotSeen),
                Choice::Missed(Missed::Expired) => return Verdict::Limit(Limit::ExpiryNotSeen),
                Choice::Missed(Missed::OutOfScope) => return Verdict::Limit(Limit::LeftScope),
                Choice::Taken(_) => break,
            }
        }
        Verdict::Wrong(format!("lost: {way:?} was read, the cluster held {:?}", self.truth()))
    }

    /// What the cluster held at the restore point: at some instant from the last member's scan to the end of the
    /// chain's scans; where that member is sealed, also what was stamped last before its `created` (rules.md 3.3).
    fn truth(&self) -> Vec<State> {
        let Some(last) = self.scans.last() else { return Vec::new() };
        let until = self.scans.iter().map(|scan| scan.until).max().unwrap_or(last.until);
        let mut states = self.history.states(self.record, last.from, until);
        if let Some(upper) = last.upper {
            let events = self.history.events(self.record);
            let before = events.iter().rposition(|event| event.stamp < upper && event.at.0 <= last.until);
            states.push(match before {
                None => State::Never,
                Some(place) if events[place].version.is_some() => State::Live(place),
                Some(_) => State::Deleted,
            });
        }
        states
    }

    fn is_truth(&self, state: State, delivered: Option<Choice>) -> bool {
        match state {
            State::Live(place) => {
                let version = self.version(place);
                match delivered {
                    Some(choice) => choice == Choice::Taken(place),
                    // It has expired since, or nothing of it was to be saved.
                    None => self.bins(version).is_none() || (self.fates)(version).contains(&Fate::Expired),
                }
            }
            State::Never | State::Deleted | State::Expired(_) => delivered.is_none(),
        }
    }
}

/// The place and fate of the newest version in a reading of the chain.
fn newest(way: &Way) -> Option<(usize, Fate)> {
    way.iter().enumerate().rev().find_map(|(place, (_, fate))| fate.map(|fate| (place, fate)))
}

/// The bins in scope; none: not one of those that are listed is there.
pub(crate) fn project(bins: &Bins, scope: Option<&BTreeSet<Vec<u8>>>) -> Option<Bins> {
    let Some(scope) = scope else { return Some(bins.clone()) };
    let found: BTreeMap<_, _> =
        bins.iter().filter(|(name, _)| scope.contains(*name)).map(|(a, b)| (a.clone(), b.clone())).collect();
    // What is compared beside bins is in every record.
    found.keys().any(|name| !name.starts_with(b"\0")).then_some(found)
}

fn ends(counters: Counters) -> [u64; 4] {
    [counters.inserted, counters.existed, counters.fresher, counters.expired]
}

/// The row of the table of rules.md 4.3 that a restore falls into.
pub(crate) fn row(plan: Plan, destination_empty: bool) -> String {
    let generation = if plan.check_generation { ", generation checked" } else { ", no-generation" };
    let how = match plan.exists {
        Exists::CreateOnly => "create-only",
        Exists::Update => "update",
        Exists::Replace => "replace",
    };
    match (plan.order, plan.exists) {
        (Order::Chronological, _) => format!("any, disable-reordering: {how}{generation}"),
        (_, Exists::CreateOnly) if destination_empty => "empty: create-only".to_owned(),
        (_, Exists::CreateOnly) => "not empty, unique: create-only".to_owned(),
        _ => format!("not empty: {how}{generation}"),
    }
}
