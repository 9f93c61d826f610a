//! Restore points of a routine that is copied: a moment that one storage does not give any more, and another one does, is
//! still one.

use std::collections::BTreeSet;

use serde::Serialize;

use super::{BackupRef, LeftOut, NamespacePoints, Window, stretches, window};
use crate::app::TimeBounds;
use crate::catalog::{BackupEntry, History};
use crate::model::UnixMillis;
use crate::model::chain::{Chain, Member, chain_at};

/// A storage that was asked for restore points.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "kebab-case")]
pub struct AskedStorage {
    /// Its configured name.
    pub storage: Option<String>,
    /// Why it did not answer; null: it did.
    pub problem: Option<String>,
}

/// A storage from which a moment can be restored.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "kebab-case")]
#[schema(as = RestorePointIn)]
pub struct PointIn {
    /// Its configured name, as `copy` of a restore takes it.
    pub storage: String,
    /// Every change stamped before this would be restored, RFC 3339.
    pub complete_before: String,
    /// No change after this would be, RFC 3339.
    pub finished: String,
    /// Members that a verification found damaged there.
    pub damaged: Vec<String>,
}

/// What one storage shows of a routine.
#[derive(Debug)]
pub(super) struct Shown {
    pub name: String,
    pub history: History,
    /// Backups that a verification found damaged.
    pub damaged: BTreeSet<String>,
}

/// One namespace in one storage.
struct Side<'a> {
    shown: &'a Shown,
    entries: Vec<&'a BackupEntry>,
    members: Vec<Member>,
    /// The same, as if nothing were damaged.
    undamaged: Vec<Member>,
}

impl<'a> Side<'a> {
    fn of(shown: &'a Shown, namespace: &str) -> Self {
        let (entries, members) = shown.history.members(namespace);
        let undamaged = members.iter().map(|one| Member { whole: true, ..one.clone() }).collect();
        Self { shown, entries, members, undamaged }
    }

    /// The chain that a restore to `at` takes here; none where it would go on to the next storage
    /// (`docs/decisions/0004`).
    fn chain(&self, namespace: &str, at: UnixMillis) -> Option<Chain> {
        self.shown.history.refuse_unread(Some(namespace), at).ok()?;
        let chain = chain_at(&self.members, at, false).ok()?;
        let undamaged = chain_at(&self.undamaged, at, true).ok()?;
        (chain.members == undamaged.members).then_some(chain)
    }

    fn keys<'s>(&'s self, chain: &'s Chain) -> impl Iterator<Item = BackupRef> + 's {
        chain.members.iter().filter_map(|place| self.entries.get(*place)).map(|entry| BackupRef::of(entry))
    }

    fn point(&self, chain: &Chain) -> PointIn {
        let damaged = self.keys(chain).map(|one| one.key).filter(|key| self.shown.damaged.contains(key));
        PointIn {
            storage: self.shown.name.clone(),
            complete_before: chain.complete_before.to_rfc3339(),
            finished: chain.finished.to_rfc3339(),
            damaged: damaged.collect(),
        }
    }

    fn window(&self, from: UnixMillis, to: Option<UnixMillis>) -> Window {
        window(&self.entries, &self.members, from, to, &self.shown.damaged)
    }
}

/// The windows of one namespace over all the storages that answered, of which the first is asked first.
pub(super) fn points_in(
    all: &[Shown],
    namespace: String,
    bounds: TimeBounds,
    limit: usize,
) -> NamespacePoints {
    let sides: Vec<Side<'_>> = all.iter().map(|shown| Side::of(shown, &namespace)).collect();
    let starts: BTreeSet<UnixMillis> =
        sides.iter().flat_map(|side| stretches(&side.members)).map(|(from, _)| from).collect();
    let (mut windows, mut more): (Vec<Window>, usize) = (Vec::new(), 0);
    let mut to = None;
    for from in starts.into_iter().rev() {
        let stretch = (from, to.replace(from.plus_ms(-1)));
        if bounds.leaves_out(stretch) {
            continue;
        }
        // One more than is shown: an older stretch of another storage may belong to the last of them.
        if windows.len() > limit {
            more += 1;
            continue;
        }
        let found = window_in(&sides, &namespace, stretch);
        match windows.last_mut() {
            Some(later) if sides.len() > 1 && is_same(later, &found) => later.from = found.from,
            _ => windows.push(found),
        }
    }
    more += windows.len().saturating_sub(limit);
    windows.truncate(limit);
    let own = sides.first().into_iter().flat_map(|side| &side.entries);
    let left_out = own.filter_map(|entry| LeftOut::of_entry(entry)).collect();
    NamespacePoints { namespace, windows, more, left_out }
}

/// What a restore to any moment of a stretch takes: the first storage that has all of it.
fn window_in(sides: &[Side<'_>], namespace: &str, (from, to): (UnixMillis, Option<UnixMillis>)) -> Window {
    let chains = sides.iter().filter_map(|side| Some((side, side.chain(namespace, from)?)));
    let able: Vec<(&Side<'_>, PointIn)> = chains.map(|(side, chain)| (side, side.point(&chain))).collect();
    let taken = able.first().map(|(side, _)| *side).or(sides.first());
    let Some(taken) = taken else { return window(&[], &[], from, to, &BTreeSet::new()) };
    let found = taken.window(from, to);
    let storage = found.restorable.then(|| taken.shown.name.clone());
    Window { storage, storages: able.into_iter().map(|(_, point)| point).collect(), ..found }
}

/// Of several storages each ends stretches: whether a restore to a moment of the one does what one to a moment of the other does.
fn is_same(later: &Window, earlier: &Window) -> bool {
    let moved = Window { from: later.from, to: later.to, ..earlier.clone() };
    *later == moved && later.restorable
}
