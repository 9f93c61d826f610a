//! The chain of one namespace: which backups make up a restore point, and what the next incremental builds on
//! (rules.md 3.1 to 3.7).

#[cfg(test)]
mod tests;

use super::ledger::CLOCK_TOLERANCE_MS;
use super::status::BackupType;
use super::time::UnixMillis;
use crate::error::Error;

/// How far before its `created` a backup without our manifest may have missed a write (rules.md 3.2).
pub const FOREIGN_MARGIN_MS: i64 = 10_000;

/// One backup of one namespace, as far as chains and retention care.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// Full (also a promoted one) or incremental.
    pub backup_type: BackupType,
    /// When its run began; unique within the routine, names its folder.
    pub created: UnixMillis,
    /// When it was complete.
    pub finished: UnixMillis,
    /// Incrementals: the `created` that it builds on. None is unknown, and builds on nothing.
    pub from: Option<UnixMillis>,
    /// `safe-from` of our manifest; none without one.
    pub safe_from: Option<UnixMillis>,
    /// Committed, and nothing known to be missing or damaged.
    pub whole: bool,
    /// Found with a `created` in the future (rules.md 3.1): void for good.
    pub void: bool,
    /// Marked for deletion (rules.md 5.3).
    pub marked: bool,
    /// A full in the place of an incremental (rules.md 3.7).
    pub promoted: bool,
    /// Records in it.
    pub record_count: u64,
    /// The hash of its scope; none without our manifest.
    pub scope_hash: Option<String>,
}

impl Member {
    /// Whether it can be part of a chain: whole, not void, not marked.
    pub const fn is_usable(&self) -> bool {
        self.whole && !self.void && !self.marked
    }

    /// Every change stamped before this instant is in it or in what it builds on (rules.md 3.2).
    pub fn safe_from(&self) -> UnixMillis {
        self.safe_from.unwrap_or(self.created.plus_ms(-FOREIGN_MARGIN_MS))
    }
}

/// Whether a backup that is found now was created too far in the future to be true (rules.md 3.1).
pub const fn is_void(created: UnixMillis, now: UnixMillis) -> bool {
    created.since(now) > CLOCK_TOLERANCE_MS
}

/// What it takes to restore one namespace to a point in time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Chain {
    /// Places in the given list: the base first, then its incrementals in the order of `created`.
    pub members: Vec<usize>,
    /// Every change stamped before this instant is in it (rules.md 3.3).
    pub complete_before: UnixMillis,
    /// No change after this instant is in it.
    pub finished: UnixMillis,
    /// Incrementals that were created while the base ran had to be taken in (warning `overlap`).
    pub overlap: bool,
    /// The holes that `allow-gap` passed over, newest first.
    pub gaps: Vec<Gap>,
}

/// Two neighbours between which changes are lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Gap {
    /// `created` of the later one.
    pub later: UnixMillis,
    /// The `created` that the later one builds on, if it says so.
    pub from: Option<UnixMillis>,
    /// `created` of the nearest earlier one.
    pub earlier: UnixMillis,
}

/// Why there is no chain.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ChainError {
    /// No whole full that was created and finished by then.
    #[error("no full backups found: none was complete at {at}")]
    NoFull {
        /// The instant asked for.
        at: UnixMillis,
    },
    /// An incremental's predecessor is missing.
    #[error(
        "backup {} builds on {}, which is missing: the nearest earlier backup is {}; the newest whole restore point is {}",
        .gap.later.0,
        .gap.from.map_or_else(|| "an unknown one".to_owned(), |from| from.0.to_string()),
        .gap.earlier.0,
        .newest_whole.map_or_else(|| "none".to_owned(), |at| at.to_string())
    )]
    Gap {
        /// Where.
        gap: Gap,
        /// The latest instant that can be asked for instead, if there is one.
        newest_whole: Option<UnixMillis>,
    },
}

impl From<ChainError> for Error {
    fn from(error: ChainError) -> Self {
        match error {
            ChainError::NoFull { .. } => Self::permanent("no-full-backup", error.to_string())
                .hint("Ask for a later time, or take a full backup first."),
            ChainError::Gap { newest_whole, .. } => {
                Self::permanent("chain-gap", error.to_string()).hint(newest_whole.map_or_else(
                    || "Accept the hole with allow-gap.".to_owned(),
                    |at| format!("Restore to {at} (time {}), or accept the hole with allow-gap.", at.0),
                ))
            }
        }
    }
}

/// The chain of a namespace at `at` (rules.md 3.4). `members` come in any order.
pub fn chain_at(members: &[Member], at: UnixMillis, allow_gap: bool) -> Result<Chain, ChainError> {
    let base = base_at(members, at).ok_or(ChainError::NoFull { at })?;
    match walk_to(members, base, at) {
        Ok(chain) => Ok(chain),
        Err(gap) if !allow_gap => Err(ChainError::Gap { gap, newest_whole: newest_whole(members, at) }),
        Err(_) => Ok(walk(base, &candidates(members, base, at, true)).finish(base)),
    }
}

/// How an incremental finds what to build on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// On the last backup.
    Differential,
    /// On the last full.
    Cumulative,
}

/// What an incremental builds on (rules.md 3.5).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LowerBound {
    /// The place of the full it hangs on, whose scope must be its own (rules.md 3.6).
    pub base: usize,
    /// `from` in `metadata.yaml`: the `created` that it builds on.
    pub builds_on: UnixMillis,
    /// Every change stamped at or after this instant must be scanned.
    pub safe_from: UnixMillis,
}

/// What the incremental that was `created` then builds on, asked when its scan starts, `now`; none if there is no full.
///
/// A hole in the chain is no error: it builds on the newest whole point and so bridges what was lost. Backups created
/// after it (while it waited for another attempt) are left out: it cannot follow them.
pub fn lower_bound(
    members: &[Member],
    created: UnixMillis,
    now: UnixMillis,
    mode: Mode,
) -> Option<LowerBound> {
    let earlier: Vec<Member> = members
        .iter()
        .map(|member| Member { whole: member.whole && member.created < created, ..member.clone() })
        .collect();
    let places = match chain_at(&earlier, now, false) {
        Ok(chain) => chain.members,
        Err(ChainError::Gap { newest_whole: Some(at), .. }) => chain_at(&earlier, at, false).ok()?.members,
        Err(ChainError::Gap { newest_whole: None, .. }) => vec![base_at(&earlier, now)?.place],
        Err(ChainError::NoFull { .. }) => return None,
    };
    let base = *places.first()?;
    let last = match mode {
        Mode::Differential => *places.last()?,
        Mode::Cumulative => base,
    };
    let last = members.get(last)?;
    Some(LowerBound { base, builds_on: last.created, safe_from: last.safe_from() })
}

/// How the scope of a full compares with that of an incremental to come (rules.md 3.6).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// They are the same.
    Same,
    /// The full has no hash: accepted with a warning.
    Unknown,
    /// They differ: there is no chain to build on (rules.md 3.7).
    Changed,
}

/// Compares the scope of `full` with `hash`.
pub fn compare_scope(full: &Member, hash: &str) -> Scope {
    match full.scope_hash.as_deref() {
        None => Scope::Unknown,
        Some(theirs) if theirs == hash => Scope::Same,
        Some(_) => Scope::Changed,
    }
}

/// A member with its place in the caller's list.
#[derive(Debug, Clone, Copy)]
pub(super) struct Placed<'a> {
    pub(super) place: usize,
    pub(super) member: &'a Member,
}

/// The usable backups of a type, by `created`.
pub(super) fn usable_by_created(members: &[Member], backup_type: BackupType) -> Vec<Placed<'_>> {
    let all = members.iter().enumerate().map(|(place, member)| Placed { place, member });
    let mut usable: Vec<Placed<'_>> =
        all.filter(|one| one.member.is_usable() && one.member.backup_type == backup_type).collect();
    usable.sort_by_key(|one| one.member.created);
    usable
}

/// The whole full with the latest `created` that was created and finished by then.
fn base_at(members: &[Member], at: UnixMillis) -> Option<Placed<'_>> {
    let fulls = usable_by_created(members, BackupType::Full);
    fulls.into_iter().rfind(|full| full.member.created <= at && full.member.finished <= at)
}

/// The incrementals that may follow `base` at `at`, by `created`; with `overlap` also those created while it ran.
fn candidates<'a>(members: &'a [Member], base: Placed<'_>, at: UnixMillis, overlap: bool) -> Vec<Placed<'a>> {
    let mut found = usable_by_created(members, BackupType::Incremental);
    found.retain(|one| {
        one.member.created > base.member.created
            && one.member.finished <= at
            && (overlap || one.member.created >= base.member.finished)
    });
    found
}

/// The chain from the latest candidate to `base`: strictly, then with overlap.
fn walk_to(members: &[Member], base: Placed<'_>, at: UnixMillis) -> Result<Chain, Gap> {
    let strict = walk(base, &candidates(members, base, at, false));
    if strict.gaps.is_empty() {
        return Ok(strict.finish(base));
    }
    let wide = walk(base, &candidates(members, base, at, true));
    match wide.gaps.first() {
        None => Ok(wide.finish(base)),
        Some(gap) => Err(*gap),
    }
}

/// A walk from the last of the candidates back to the base.
pub(super) struct Walk<'a> {
    /// The newest first, the base last.
    pub(super) steps: Vec<Placed<'a>>,
    pub(super) gaps: Vec<Gap>,
}

/// Walks back from the last candidate, over holes to the nearest earlier member. `candidates` are sorted.
pub(super) fn walk<'a>(base: Placed<'a>, candidates: &[Placed<'a>]) -> Walk<'a> {
    let mut walk = Walk { steps: Vec::new(), gaps: Vec::new() };
    let mut rest = candidates;
    while let Some((step, earlier)) = rest.split_last() {
        walk.steps.push(*step);
        let from = step.member.from;
        if from.is_some_and(|from| base.member.created >= from) {
            break;
        }
        // The earliest one created at or after `from`; those between it and the step are passed over.
        let first =
            from.map_or(earlier.len(), |from| earlier.partition_point(|one| one.member.created < from));
        rest = if let Some(up_to_first) = earlier.get(..=first) {
            up_to_first
        } else {
            let nearest = earlier.last().map_or(base.member.created, |one| one.member.created);
            walk.gaps.push(Gap { later: step.member.created, from, earlier: nearest });
            earlier
        };
    }
    walk.steps.push(base);
    walk
}

impl Walk<'_> {
    fn finish(self, base: Placed<'_>) -> Chain {
        let last = self.steps.first().copied().unwrap_or(base);
        let complete_before = last.member.safe_from();
        // A late attempt of an earlier member may have scanned after the last one.
        let finished =
            self.steps.iter().map(|step| step.member.finished).max().unwrap_or(last.member.finished);
        let ran_beside =
            |step: &Placed<'_>| step.place != base.place && step.member.created < base.member.finished;
        let overlap = self.steps.iter().any(ran_beside);
        let members = self.steps.iter().rev().map(|step| step.place).collect();
        Chain { members, complete_before, finished, overlap, gaps: self.gaps }
    }
}

/// The latest instant, at most `at`, that has a whole chain.
fn newest_whole(members: &[Member], at: UnixMillis) -> Option<UnixMillis> {
    let mut instants: Vec<UnixMillis> =
        members.iter().filter(|member| member.is_usable()).map(|member| member.finished).collect();
    instants.retain(|finished| *finished <= at);
    instants.sort_unstable();
    instants.dedup();
    let is_whole =
        |at: &UnixMillis| base_at(members, *at).is_some_and(|base| walk_to(members, base, *at).is_ok());
    instants.into_iter().rev().find(is_whole)
}
