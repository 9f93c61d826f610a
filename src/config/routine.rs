//! `backup-routines.<name>` (abs.md 2.7 and our own additions).

use std::collections::HashSet;

use chrono_tz::Tz;
use serde::{Deserialize, Serialize};

use super::copies::RoutineCopy;
use super::kind::Kind;
use super::reader::{Read, Section};
use super::{MS_MAX, zone};
use crate::model::expression::parse_filter;
use crate::model::ledger::CatchUp;
use crate::model::partitions::{PartitionSet, parse_partition_list};
use crate::model::schedule::Schedule;
use crate::model::{UnixMillis, check_name};

/// A routine, as written.
#[derive(Debug, Clone, PartialEq, Default, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Routine {
    /// The name of a cluster.
    pub source_cluster: String,
    /// The name of a storage.
    pub storage: String,
    /// The name of a policy; none: the defaults.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub backup_policy: Option<String>,
    /// When a full runs.
    pub interval_cron: String,
    /// When an incremental runs; none: never by itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub incr_interval_cron: Option<String>,
    /// When its backups are verified; none: never by itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub verify_cron: Option<String>,
    /// Which namespaces; empty: all that the cluster has when a run starts.
    pub namespaces: Vec<String>,
    /// Which sets; empty: all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub set_list: Option<Vec<String>>,
    /// Which bins; empty: all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bin_list: Option<Vec<String>>,
    /// Which records: an expression in base64.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub filter_exp: Option<String>,
    /// Which partitions; none: all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub partition_list: Option<String>,
    /// Whose partitions, by id or address of their nodes; empty: all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub node_list: Option<Vec<String>>,
    /// Whose partitions, by the racks of their nodes; empty: all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rack_list: Option<Vec<u32>>,
    /// The name of a secret agent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub secret_agent: Option<String>,
    /// Whether the routine rests.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub disabled: Option<bool>,
    /// The zone of its schedules; none: the service's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub schedule_timezone: Option<String>,
    /// What happens to slots that passed while no process ran (rules.md 1.3).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub catch_up: Option<CatchUp>,
    /// How late a missed slot may still fire, in ms (rules.md 1.3).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub catch_up_window: Option<i64>,
    /// The longest start delay, in ms (rules.md 1.8).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub jitter: Option<i64>,
    /// The other storages that its backups are copied to, in the order in which restores choose them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub copies: Option<Vec<RoutineCopy>>,
}

/// When a routine runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RoutineSchedule {
    /// When a full runs.
    pub full: Schedule,
    /// When an incremental runs; none: never by itself.
    pub incremental: Option<Schedule>,
    /// When its backups are verified; none: never by itself.
    pub verify: Option<Schedule>,
    /// The zone of all.
    pub zone: Tz,
    /// What happens to slots that passed while no process ran; default once.
    pub catch_up: CatchUp,
    /// How late a missed slot may still fire; none: half the distance to the following slot.
    pub catch_up_window_ms: Option<i64>,
    /// The longest start delay; default 0.
    pub jitter_ms: i64,
}

/// Which records a routine saves.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Scope {
    /// Which namespaces; empty: all that the cluster has when a run starts (rules.md 3.8).
    pub namespaces: Vec<String>,
    /// Which sets; empty: all.
    pub sets: Vec<String>,
    /// Which bins; empty: all.
    #[serde(default)]
    pub bins: Vec<String>,
    /// Which records: an expression in base64, known to be one.
    #[serde(default)]
    pub filter: Option<String>,
    /// Which partitions.
    pub partitions: PartitionSet,
    /// Whose partitions, by id or address of their nodes; empty: all.
    #[serde(default)]
    pub nodes: Vec<String>,
    /// Whose partitions, by the racks of their nodes; empty: all.
    #[serde(default)]
    pub racks: Vec<u32>,
}

impl Routine {
    /// Which records it saves.
    pub fn scope(&self) -> Result<Scope, String> {
        let partitions = match &self.partition_list {
            Some(list) => parse_partition_list(list).map_err(|error| error.to_string())?,
            None => PartitionSet::all(),
        };
        Ok(Scope {
            namespaces: self.namespaces.clone(),
            sets: self.set_list.clone().unwrap_or_default(),
            bins: self.bin_list.clone().unwrap_or_default(),
            filter: self.filter_exp.clone(),
            partitions,
            nodes: self.node_list.clone().unwrap_or_default(),
            racks: self.rack_list.clone().unwrap_or_default(),
        })
    }

    /// When it runs, by the zone of the service where it names none.
    pub fn schedule(&self, service_zone: &str, now: UnixMillis) -> Result<RoutineSchedule, String> {
        let zone = zone::parse(self.schedule_timezone.as_deref().unwrap_or(service_zone))?;
        let optional =
            |cron: &Option<String>| cron.as_deref().map(|cron| schedule(cron, zone, now)).transpose();
        Ok(RoutineSchedule {
            full: schedule(&self.interval_cron, zone, now)?,
            incremental: optional(&self.incr_interval_cron)?,
            verify: optional(&self.verify_cron)?,
            zone,
            catch_up: self.catch_up.unwrap_or_default(),
            catch_up_window_ms: self.catch_up_window,
            jitter_ms: self.jitter.unwrap_or(0),
        })
    }
}

fn schedule(cron: &str, zone: Tz, now: UnixMillis) -> Result<Schedule, String> {
    Schedule::parse(cron, zone.name(), now).map_err(|error| error.to_string())
}

impl Read for Routine {
    const KIND: Kind = Kind::Routine;

    fn read(section: &mut Section<'_>) -> Self {
        let source_cluster = section.filled("source-cluster");
        let storage = section.filled("storage");
        let interval_cron = section.filled("interval-cron");
        if !section.has("namespaces") {
            section.missing("namespaces");
        }
        for (one, other) in
            [("partition-list", "node-list"), ("partition-list", "rack-list"), ("node-list", "rack-list")]
        {
            section.exclusive(one, other);
        }
        let routine = Self {
            source_cluster,
            storage,
            backup_policy: section.optional("backup-policy"),
            interval_cron,
            incr_interval_cron: section.optional("incr-interval-cron"),
            verify_cron: section.optional("verify-cron"),
            namespaces: namespaces(section),
            set_list: section.texts("set-list"),
            bin_list: bins(section),
            filter_exp: section.optional("filter-exp"),
            partition_list: section.optional("partition-list"),
            node_list: nodes(section),
            rack_list: section.ints("rack-list", 0..=RACK_MAX),
            secret_agent: section.optional("secret-agent"),
            disabled: section.flag("disabled"),
            schedule_timezone: section.optional("schedule-timezone"),
            catch_up: section.word("catch-up", &[("once", CatchUp::Once), ("skip", CatchUp::Skip)]),
            catch_up_window: section.int("catch-up-window", 0..=MS_MAX),
            jitter: section.int("jitter", 0..=JITTER_MS_MAX),
            copies: section.list("copies"),
        };
        routine.check(section);
        routine
    }
}

/// A start delay of more than a day would pass the following slot of most schedules.
const JITTER_MS_MAX: i64 = 86_400_000;

impl Routine {
    fn check(&self, section: &Section<'_>) {
        let own_zone = self.schedule_timezone.as_deref().map(zone::parse);
        if let Some(Err(error)) = &own_zone {
            section.reject("schedule-timezone", error);
        }
        // A cron text is right or wrong whatever the zone.
        let zone = own_zone.and_then(Result::ok).unwrap_or(Tz::UTC);
        let crons = [
            ("interval-cron", Some(&self.interval_cron)),
            ("incr-interval-cron", self.incr_interval_cron.as_ref()),
            ("verify-cron", self.verify_cron.as_ref()),
        ];
        for (key, cron) in crons {
            if let Some(Err(error)) =
                cron.filter(|cron| !cron.is_empty()).map(|cron| schedule(cron, zone, section.now()))
            {
                section.reject(key, super::problem::clip(&error));
            }
        }
        if let Some(Err(error)) = self.partition_list.as_deref().map(parse_partition_list) {
            section.reject("partition-list", super::problem::clip(&error.to_string()));
        }
        if let Some(filter) = &self.filter_exp {
            if let Err(reason) = parse_filter(filter) {
                section.reject("filter-exp", format!("\"filter-exp\" {reason}"));
            }
            if self.set_list.as_ref().is_some_and(|sets| sets.len() > 1) {
                section.reject("filter-exp", "\"filter-exp\" cannot be combined with more than one set");
            }
        }
    }
}

/// The longest bin name of a server.
const BIN_NAME_BYTES_MAX: usize = 15;

/// Racks of a server are numbered up to here.
pub(super) const RACK_MAX: i64 = 1_000_000;

fn bins(section: &mut Section<'_>) -> Option<Vec<String>> {
    let names = section.texts("bin-list")?;
    let mut seen = HashSet::new();
    for (index, name) in names.iter().enumerate() {
        let shown = super::problem::clip(name);
        if name.is_empty() || name.len() > BIN_NAME_BYTES_MAX {
            let message = format!("bin \"{shown}\" must have 1 to {BIN_NAME_BYTES_MAX} bytes");
            section.reject_item("bin-list", index, message);
        } else if !seen.insert(name) {
            section.reject_item("bin-list", index, format!("bin \"{shown}\" is listed twice"));
        }
    }
    Some(names)
}

fn nodes(section: &mut Section<'_>) -> Option<Vec<String>> {
    let names = section.texts("node-list")?;
    for (index, name) in names.iter().enumerate() {
        if name.trim().is_empty() {
            section.reject_item("node-list", index, "must be a node's id, or host:port");
        }
    }
    Some(names)
}

/// The names of namespaces: folders in storage, so single path segments, each once.
pub(crate) fn namespaces(section: &mut Section<'_>) -> Vec<String> {
    let names = section.texts("namespaces").unwrap_or_default();
    let mut seen = HashSet::new();
    for (index, name) in names.iter().enumerate() {
        let shown = super::problem::clip(name);
        if let Err(reason) = check_namespace(name) {
            section.reject_item("namespaces", index, format!("namespace \"{shown}\" {reason}"));
        } else if !seen.insert(name) {
            section.reject_item("namespaces", index, format!("namespace \"{shown}\" is listed twice"));
        }
    }
    names
}

/// Refuses a name that is no folder, or that would break out of an info command (`namespace/<name>`).
pub(crate) fn check_namespace(name: &str) -> Result<(), &'static str> {
    check_name(name)?;
    if name.contains([';', ':', '=', ',']) {
        return Err("must not hold \";\", \":\", \"=\" or \",\"");
    }
    Ok(())
}
