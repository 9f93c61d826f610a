//! The schedules in force, in memory and in the store.

use std::collections::{BTreeMap, HashMap};

use crate::error::Result;
use crate::jobs::RoutineJob;
use crate::model::ledger::{CatchUp, NewMark, RoutineSlots, Timetable};
use crate::model::{Schedule, SlotType, UnixMillis};
use crate::store::{ScheduleRow, Tx};

/// What the scheduler must know of one routine; plain values, made from the configuration.
#[derive(Debug, Clone)]
pub struct RoutineSchedule {
    /// The name, and what every job of the routine has in common.
    pub job: RoutineJob,
    /// When fulls are due.
    pub full: Option<Schedule>,
    /// When incrementals are due.
    pub incremental: Option<Schedule>,
    /// When verifications are due.
    pub verify: Option<Schedule>,
    /// `catch-up`.
    pub catch_up: CatchUp,
    /// `catch-up-window`; by default half the distance to the following slot.
    pub catch_up_window_ms: Option<i64>,
    /// `jitter`: the longest start delay.
    pub jitter_ms: i64,
    /// Fires, misses and catches up nothing.
    pub disabled: bool,
}

impl RoutineSchedule {
    /// The schedule of one type.
    pub fn schedule(&self, slot_type: SlotType) -> Option<&Schedule> {
        match slot_type {
            SlotType::Full => self.full.as_ref(),
            SlotType::Incremental => self.incremental.as_ref(),
            SlotType::Verify => self.verify.as_ref(),
        }
    }
}

/// The routines, by name.
#[derive(Debug, Default)]
pub(super) struct Table(BTreeMap<String, RoutineSchedule>);

impl Table {
    pub(super) fn new(routines: Vec<RoutineSchedule>) -> Self {
        Self(routines.into_iter().map(|routine| (routine.job.routine.clone(), routine)).collect())
    }

    pub(super) fn get(&self, routine: &str) -> Option<&RoutineSchedule> {
        self.0.get(routine)
    }

    /// Writes the versions that are new and takes away those that are gone or disabled (rules.md 1.1).
    pub(super) async fn put_in_force(&self, tx: &mut Tx, now: UnixMillis) -> Result<()> {
        let mut old: HashMap<(String, SlotType), ScheduleRow> = HashMap::new();
        for row in tx.schedules().await? {
            old.insert((row.routine.clone(), row.slot_type), row);
        }
        for (name, routine) in self.0.iter().filter(|(_, routine)| !routine.disabled) {
            for slot_type in SlotType::ALL {
                let Some(schedule) = routine.schedule(slot_type) else { continue };
                let (cron, zone) = (schedule.cron().text(), schedule.zone().name());
                let before = old.remove(&(name.clone(), slot_type));
                if before.as_ref().is_some_and(|row| row.cron == cron && row.zone == zone) {
                    continue;
                }
                tx.set_schedule(&ScheduleRow {
                    routine: name.clone(),
                    slot_type,
                    cron: cron.to_owned(),
                    zone: zone.to_owned(),
                    effective_from: now,
                    mark: before.and_then(|row| row.mark),
                })
                .await?;
            }
        }
        for (routine, slot_type) in old.into_keys() {
            tx.drop_schedule(&routine, slot_type).await?;
        }
        Ok(())
    }

    /// The routines as the ledger sees them.
    pub(super) fn ledger_view<'a>(&'a self, versions: &Versions) -> Vec<RoutineSlots<'a>> {
        self.0
            .iter()
            .map(|(name, routine)| {
                let timetable = |slot_type| {
                    let schedule = routine.schedule(slot_type)?;
                    versions.timetable(name, slot_type, schedule)
                };
                RoutineSlots {
                    routine: name,
                    full: timetable(SlotType::Full),
                    incremental: timetable(SlotType::Incremental),
                    verify: timetable(SlotType::Verify),
                    catch_up: routine.catch_up,
                    catch_up_window_ms: routine.catch_up_window_ms,
                    jitter_ms: routine.jitter_ms,
                    concurrent_incremental: routine.job.concurrent_incremental,
                    disabled: routine.disabled,
                }
            })
            .collect()
    }
}

/// Beginnings, marks and taken slots as the store has them. We hold the store alone, so what we wrote is what it has.
#[derive(Debug, Default)]
pub(super) struct Versions {
    by_routine: HashMap<String, Types>,
}

#[derive(Debug, Default)]
struct Types {
    full: Option<Version>,
    incremental: Option<Version>,
    verify: Option<Version>,
}

#[derive(Debug, Clone, Default)]
struct Version {
    effective_from: UnixMillis,
    mark: Option<UnixMillis>,
    taken: Vec<UnixMillis>,
}

impl Versions {
    pub(super) async fn read(tx: &mut Tx) -> Result<Self> {
        let mut versions = Self::default();
        for row in tx.schedules().await? {
            let version = Version { effective_from: row.effective_from, mark: row.mark, taken: Vec::new() };
            let types = versions.by_routine.entry(row.routine).or_default();
            match row.slot_type {
                SlotType::Full => types.full = Some(version),
                SlotType::Incremental => types.incremental = Some(version),
                SlotType::Verify => types.verify = Some(version),
            }
        }
        for slot in tx.slots_above_marks().await? {
            if let Some(version) = versions.get_mut(&slot.routine, slot.slot_type) {
                version.taken.push(UnixMillis::from_secs(slot.fire_s));
            }
        }
        Ok(versions)
    }

    /// Follows marks that were written.
    pub(super) fn moved(&mut self, marks: &[NewMark]) {
        for new in marks {
            if let Some(version) = self.get_mut(&new.routine, new.slot_type) {
                version.mark = new.mark.or(version.mark);
                version.effective_from = new.effective_from.unwrap_or(version.effective_from);
                let mark = version.mark;
                version.taken.retain(|slot| mark.is_none_or(|mark| *slot > mark));
            }
        }
    }

    fn timetable<'a>(
        &self,
        routine: &str,
        slot_type: SlotType,
        schedule: &'a Schedule,
    ) -> Option<Timetable<'a>> {
        let types = self.by_routine.get(routine)?;
        let version = match slot_type {
            SlotType::Full => types.full.as_ref()?,
            SlotType::Incremental => types.incremental.as_ref()?,
            SlotType::Verify => types.verify.as_ref()?,
        };
        Some(Timetable {
            schedule,
            effective_from: version.effective_from,
            mark: version.mark,
            taken: version.taken.clone(),
        })
    }

    fn get_mut(&mut self, routine: &str, slot_type: SlotType) -> Option<&mut Version> {
        let types = self.by_routine.get_mut(routine)?;
        match slot_type {
            SlotType::Full => types.full.as_mut(),
            SlotType::Incremental => types.incremental.as_mut(),
            SlotType::Verify => types.verify.as_mut(),
        }
    }
}
