//! Which backups of one namespace stay (rules.md 5.1).

mod needs;
#[cfg(test)]
mod tests;
mod tiers;

use std::cmp::Reverse;

pub use self::needs::{chain_of, dependents};
use self::tiers::Rules;
pub use self::tiers::{Tier, Tiers};

use super::chain::{Member, Placed, usable_by_created, walk};
use super::status::BackupType;
use super::time::UnixMillis;

/// How much is kept. A full that counts stays if any of these keeps it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Policy {
    /// `full`: the newest so many; with nothing else 0 counts as 1.
    pub full: usize,
    /// `incremental`: of how many fulls the incrementals are kept; absent: of all that stay.
    pub incremental: Option<usize>,
    /// `max-age`: those that were created no longer ago, in ms.
    pub max_age_ms: Option<i64>,
    /// `keep`: the newest of each of so many periods.
    pub keep: Tiers,
    /// `min-fulls`: the newest so many, whatever else is said; 0 counts as 1.
    pub min_fulls: usize,
}

impl Policy {
    /// By numbers alone.
    pub const fn counts(full: usize, incremental: Option<usize>) -> Self {
        Self { full, incremental, max_age_ms: None, keep: Tiers::NONE, min_fulls: 1 }
    }
}

/// Why a backup stays.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Keep {
    /// Within the number that the policy keeps, or with a full that stays.
    Policy,
    /// Young enough.
    Age,
    /// The newest full of a period.
    Tier(Tier),
    /// One of the fulls that always stay.
    Floor,
    /// It is the newest full with records in it.
    LastWithRecords,
    /// A running job reads it or builds on it.
    Pinned,
    /// A backup that stays is restored from it.
    Needed,
}

/// Why a backup goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Remove {
    /// Enough newer fulls stay.
    OldFull,
    /// The full that it hangs on goes.
    WithItsFull,
    /// It hangs on a full older than those whose incrementals are kept.
    OldIncremental,
    /// Its deletion has begun.
    Marked,
}

/// What becomes of one backup.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It stays.
    Keep(Keep),
    /// It goes.
    Remove(Remove),
}

impl Verdict {
    /// Whether it stays.
    pub const fn stays(self) -> bool {
        matches!(self, Self::Keep(_))
    }
}

/// What retention does with one namespace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RetentionPlan {
    /// One for each given backup, in the given order.
    pub verdicts: Vec<Verdict>,
    /// Places of what goes, in the order of deletion: dependents first, newest first, fulls last (rules.md 5.3).
    pub removals: Vec<usize>,
    /// Places of the whole fulls that stay: all are checked in storage before the first deletion.
    pub fulls_to_check: Vec<usize>,
}

/// Decides for every backup of a namespace, at `now`. `pinned` says, by place, what a running job reads or builds on.
pub fn plan_retention(
    members: &[Member],
    pinned: impl Fn(usize) -> bool,
    policy: Policy,
    now: UnixMillis,
) -> RetentionPlan {
    let view = View::of(members);
    let rules = Rules::of(&view.counted, policy, now);
    let full_verdict = |full: Placed<'_>| {
        if full.member.marked {
            Verdict::Remove(Remove::Marked)
        } else if let Some(keep) = rules.keeps(full.member.created) {
            Verdict::Keep(keep)
        } else if view.last_with_records == Some(full.place) {
            Verdict::Keep(Keep::LastWithRecords)
        } else {
            Verdict::Remove(Remove::OldFull)
        }
    };
    let incremental_verdict = |one: Placed<'_>| {
        if one.member.marked {
            return Verdict::Remove(Remove::Marked);
        }
        let home = view.home(one);
        let hangs_on = home.map_or(one.member.created, |home| home.member.created);
        if !home.map_or(rules.keeps(hangs_on).is_some(), |home| full_verdict(home).stays()) {
            Verdict::Remove(Remove::WithItsFull)
        } else if policy.incremental.is_some_and(|kept| view.newer_counted(hangs_on) >= kept) {
            Verdict::Remove(Remove::OldIncremental)
        } else {
            Verdict::Keep(Keep::Policy)
        }
    };
    let mut verdicts: Vec<Verdict> = Vec::with_capacity(members.len());
    for (place, member) in members.iter().enumerate() {
        let placed = Placed { place, member };
        let by_policy = match member.backup_type {
            BackupType::Full => full_verdict(placed),
            BackupType::Incremental => incremental_verdict(placed),
        };
        // A pin also holds back a deletion that has begun (rules.md 5.4).
        verdicts.push(if pinned(place) && !by_policy.stays() {
            Verdict::Keep(Keep::Pinned)
        } else {
            by_policy
        });
    }
    view.keep_what_is_needed(&mut verdicts);
    finish(members, verdicts)
}

/// The usable backups, sorted once.
struct View<'a> {
    /// By `created`.
    fulls: Vec<Placed<'a>>,
    /// By `created`.
    incrementals: Vec<Placed<'a>>,
    /// `created` of the fulls that count, ascending: whole, and not in the place of an incremental.
    counted: Vec<UnixMillis>,
    last_with_records: Option<usize>,
}

impl<'a> View<'a> {
    fn of(members: &'a [Member]) -> Self {
        let fulls = usable_by_created(members, BackupType::Full);
        let counted =
            fulls.iter().filter(|full| !full.member.promoted).map(|full| full.member.created).collect();
        let last_with_records =
            fulls.iter().rev().find(|full| full.member.record_count > 0).map(|full| full.place);
        Self {
            fulls,
            incrementals: usable_by_created(members, BackupType::Incremental),
            counted,
            last_with_records,
        }
    }

    /// How many counted fulls are newer. Broken, void and promoted fulls go with the counted full before them, which
    /// has as many.
    fn newer_counted(&self, created: UnixMillis) -> usize {
        self.counted.len() - self.counted.partition_point(|one| *one <= created)
    }

    /// The fulls that can be the base of a chain with this incremental, the newest first: once a newer full is complete,
    /// an older one is no base any more (rules.md 3.4).
    fn bases(&self, one: Placed<'_>) -> impl Iterator<Item = Placed<'a>> {
        let before = self.fulls.partition_point(|full| full.member.created < one.member.created);
        let mut superseded = false;
        let finished = one.member.finished;
        self.fulls.iter().take(before).rev().copied().take_while(move |full| {
            let was_superseded = superseded;
            superseded |= full.member.finished <= finished;
            !was_superseded
        })
    }

    /// The full that an incremental hangs on by its chain; where a hole or damage cuts the chain, the newest before it.
    fn home(&self, one: Placed<'_>) -> Option<Placed<'a>> {
        let hangs_on = |full: &Placed<'a>| {
            one.member.created >= full.member.finished && self.chains_to(*full, one).next().is_some()
        };
        let by_chain = if one.member.is_usable() { self.bases(one).find(hangs_on) } else { None };
        by_chain.or_else(|| self.bases(one).next())
    }

    /// The chains from an incremental back to `full` in which nothing is missing (rules.md 3.4): as it is offered from
    /// now on, and as it was when it had just finished, before slower ones that were created earlier.
    fn chains_to<'s>(
        &'s self,
        full: Placed<'a>,
        one: Placed<'s>,
    ) -> impl Iterator<Item = Vec<usize>> + use<'s, 'a> {
        [UnixMillis(i64::MAX), one.member.finished]
            .into_iter()
            .filter_map(move |at| self.chain_to(full, one, at))
    }

    fn chain_to(&self, full: Placed<'a>, one: Placed<'_>, at: UnixMillis) -> Option<Vec<usize>> {
        let end = self.incrementals.partition_point(|other| other.member.created <= one.member.created);
        [false, true].into_iter().find_map(|overlap| {
            let base = full.member;
            let begin = self.incrementals.partition_point(|other| {
                let created = other.member.created;
                created <= base.created || (!overlap && created < base.finished)
            });
            let mut candidates = self.incrementals.get(begin..end)?.to_vec();
            candidates.retain(|other| other.member.finished <= at);
            let walk = walk(full, &candidates);
            let is_whole =
                walk.gaps.is_empty() && walk.steps.first().is_some_and(|step| step.place == one.place);
            is_whole.then(|| walk.steps.iter().map(|step| step.place).collect())
        })
    }

    /// Keeps every backup that one which stays is restored from.
    fn keep_what_is_needed(&self, verdicts: &mut [Verdict]) {
        // Not those kept here: they serve the chains they were found in, not points of their own.
        let stays = |one: &&Placed<'_>| verdicts.get(one.place).is_some_and(|verdict| verdict.stays());
        let points: Vec<Placed<'a>> = self.incrementals.iter().filter(stays).copied().collect();
        for one in points {
            for needed in self.bases(one).flat_map(|full| self.chains_to(full, one)).flatten() {
                if let Some(verdict) = verdicts.get_mut(needed).filter(|verdict| !verdict.stays()) {
                    *verdict = Verdict::Keep(Keep::Needed);
                }
            }
        }
    }
}

fn finish(members: &[Member], verdicts: Vec<Verdict>) -> RetentionPlan {
    let places = |stays: bool| {
        let of = members.iter().zip(&verdicts).enumerate();
        of.filter(move |(_, (_, verdict))| verdict.stays() == stays)
            .map(|(place, (member, _))| (place, member))
    };
    let mut removed: Vec<(usize, &Member)> = places(false).collect();
    removed.sort_by_key(|(_, member)| (member.backup_type == BackupType::Full, Reverse(member.created)));
    let whole_full =
        |(_, member): &(usize, &Member)| member.backup_type == BackupType::Full && member.is_usable();
    let fulls_to_check = places(true).filter(whole_full).map(|(place, _)| place).collect();
    let removals = removed.into_iter().map(|(place, _)| place).collect();
    RetentionPlan { verdicts, removals, fulls_to_check }
}
