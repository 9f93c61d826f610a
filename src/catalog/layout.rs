//! Where things lie below a storage root (abs.md 3):
//! `<routine>/backup|incremental/<ms>[_suffix]/data/<namespace>[.<attempt>]/…` and `…/configuration/aerospike_<i>.conf`.

use chrono::format::{DelayedFormat, StrftimeItems};

use crate::config::TimestampFormat;
use crate::error::{Error, Result};
pub use crate::model::instance::INSTANCES;
use crate::model::{BackupType, InstanceId, UnixMillis, check_name};

/// The completion marker of a backup, with ABS's keys.
pub const METADATA: &str = "metadata.yaml";
/// Our own account of a backup: files, sizes, hashes, scope.
pub const MANIFEST: &str = "manifest.json";
/// The raw block hashes of a backup's files, in the manifest's order.
pub const BLOCKS: &str = "blocks.b3";
/// Marks a backup as void for good (rules.md 3.1).
pub const VOID: &str = "holdfast-void.json";
/// Names the instance that writes and prunes a routine's folder (rules.md 5.5).
pub const OWNER: &str = "holdfast-owner.json";
/// The folder of a run that holds its namespaces.
pub const DATA: &str = "data";
/// The folder of a full run that holds the nodes' configuration files.
pub const CONFIGURATION: &str = "configuration";
/// The suffix of data files.
pub const DATA_SUFFIX: &str = ".asb";

/// The readable suffix of a run's folder.
fn suffix(format: TimestampFormat, at: UnixMillis) -> DelayedFormat<StrftimeItems<'static>> {
    at.to_utc().format(match format {
        TimestampFormat::Iso => "%Y-%m-%dT%H-%M-%S",
        TimestampFormat::Eu => "%d-%b-%Y-%H-%M-%S",
        TimestampFormat::Us => "%b-%d-%Y-%H-%M-%S",
    })
}

/// The folder of a type below its routine.
pub const fn type_folder(backup_type: BackupType) -> &'static str {
    match backup_type {
        BackupType::Full => "backup",
        BackupType::Incremental => "incremental",
    }
}

/// `<routine>/backup` or `<routine>/incremental`; refuses a routine that is not a single path segment.
pub fn type_root(routine: &str, backup_type: BackupType) -> Result<String> {
    checked("routine", routine)?;
    Ok(format!("{routine}/{}", type_folder(backup_type)))
}

/// The owner file of a routine; refuses a routine that is not a single path segment, or that is [`INSTANCES`].
pub fn owner_file(routine: &str) -> Result<String> {
    checked("routine", routine)?;
    if routine == INSTANCES {
        return Err(Error::permanent(
            "name-invalid",
            format!("routine {routine:?} cannot name a folder: the instances of Holdfast are there"),
        )
        .hint("Give the routine another name."));
    }
    Ok(format!("{routine}/{OWNER}"))
}

/// The file by which an instance shows that it lives.
pub fn instance_file(instance: &InstanceId) -> String {
    format!("{INSTANCES}/{instance}.json")
}

/// The name of a run's folder; refuses an instant that has not 13 digits, which would not sort by time.
pub fn timestamp_folder(created: UnixMillis, format: Option<TimestampFormat>) -> Result<String> {
    if !(1_000_000_000_000..10_000_000_000_000).contains(&created.0) {
        return Err(Error::permanent(
            "clock-wrong",
            format!("a backup cannot be created at {created}: not between 2001 and 2286"),
        )
        .hint("Set the clock of this machine."));
    }
    Ok(match format {
        None => created.0.to_string(),
        Some(format) => format!("{}_{}", created.0, suffix(format, created)),
    })
}

/// The instant in the name of a run's folder, in any form; none for other names.
pub fn parse_timestamp_folder(name: &str) -> Option<UnixMillis> {
    let (digits, rest) = name.split_at_checked(13)?;
    let plain = digits.bytes().all(|byte| byte.is_ascii_digit());
    if !plain || !(rest.is_empty() || rest.starts_with('_')) {
        return None;
    }
    digits.parse().ok().map(UnixMillis)
}

/// The folder name of an attempt at a namespace; the first is 1 (rules.md 3.9).
pub fn attempt_folder(namespace: &str, attempt: u32) -> String {
    if attempt <= 1 { namespace.to_owned() } else { format!("{namespace}.{attempt}") }
}

/// Which attempt at `namespace` a folder is; none for a folder of something else.
///
/// The namespace comes from the metadata: a name with a dot is not to be guessed apart.
pub fn parse_attempt_folder(folder: &str, namespace: &str) -> Option<u32> {
    let rest = folder.strip_prefix(namespace)?;
    if rest.is_empty() {
        return Some(1);
    }
    let attempt: u32 = rest.strip_prefix('.')?.parse().ok()?;
    (attempt >= 2 && attempt_folder(namespace, attempt) == folder).then_some(attempt)
}

/// The folder of one run of a routine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunFolder {
    /// The routine, a single path segment.
    pub routine: String,
    /// Full or incremental.
    pub backup_type: BackupType,
    /// The instant in the folder's name.
    pub created: UnixMillis,
    /// The folder's name.
    pub name: String,
}

impl RunFolder {
    /// The folder that a new run writes to.
    pub fn new(
        routine: &str,
        backup_type: BackupType,
        created: UnixMillis,
        format: Option<TimestampFormat>,
    ) -> Result<Self> {
        checked("routine", routine)?;
        let name = timestamp_folder(created, format)?;
        Ok(Self { routine: routine.to_owned(), backup_type, created, name })
    }

    /// The run that a key lies in, and the rest of the key below its folder (empty for the folder itself); none for a
    /// key outside of any routine's layout.
    ///
    /// The layout may lie below other folders, as when a whole storage was copied into a subfolder: the routine is
    /// then the segment before `backup` or `incremental`, and the run is only good for looking at.
    pub fn of_key(key: &str) -> Option<(Self, &str)> {
        let mut start = 0;
        let mut segments = Vec::new();
        for segment in key.split('/') {
            segments.push((segment, start));
            start += segment.len() + 1;
        }
        segments.windows(3).find_map(|window| {
            let [(routine, _), (kind, _), (name, at)] = window else { return None };
            let backup_type = [BackupType::Full, BackupType::Incremental]
                .into_iter()
                .find(|backup_type| type_folder(*backup_type) == *kind)?;
            let created = parse_timestamp_folder(name)?;
            let rest = key.get(at + name.len() + 1..).unwrap_or_default();
            let run = Self { routine: (*routine).to_owned(), backup_type, created, name: (*name).to_owned() };
            Some((run, rest))
        })
    }

    /// `<routine>/backup/<TS>`
    pub fn key(&self) -> String {
        format!("{}/{}/{}", self.routine, type_folder(self.backup_type), self.name)
    }

    /// The folder of an attempt at a namespace; refuses a namespace that is not a single path segment.
    pub fn namespace_folder(&self, namespace: &str, attempt: u32) -> Result<String> {
        checked("namespace", namespace)?;
        Ok(format!("{}/{DATA}/{}", self.key(), attempt_folder(namespace, attempt)))
    }

    /// The configuration file of the i-th node, counted from 0.
    pub fn configuration_file(&self, node: usize) -> String {
        format!("{}/{CONFIGURATION}/aerospike_{node}.conf", self.key())
    }
}

fn checked(what: &str, name: &str) -> Result<()> {
    check_name(name).map_err(|problem| {
        Error::permanent("name-invalid", format!("{what} {name:?} cannot name a folder: it {problem}"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const AT: UnixMillis = UnixMillis(1_700_000_000_000);

    fn run(format: Option<TimestampFormat>) -> RunFolder {
        RunFolder::new("r", BackupType::Full, AT, format).unwrap()
    }

    /// abs.md 7.5
    #[test]
    fn paths_are_abs_own() {
        let run = run(None);
        assert_eq!(run.namespace_folder("ns_1", 1).unwrap(), "r/backup/1700000000000/data/ns_1");
        assert_eq!(run.namespace_folder("ns_1", 2).unwrap(), "r/backup/1700000000000/data/ns_1.2");
        assert_eq!(run.namespace_folder("ns_1", 5).unwrap(), "r/backup/1700000000000/data/ns_1.5");
        assert_eq!(run.configuration_file(1), "r/backup/1700000000000/configuration/aerospike_1.conf");
        assert_eq!(RunFolder::of_key("routine/backup/12345/"), None);
        let incremental = RunFolder { backup_type: BackupType::Incremental, ..run };
        assert_eq!(incremental.key(), "r/incremental/1700000000000");
    }

    /// abs.md 3
    #[test]
    fn suffixes_follow_the_three_formats() {
        use TimestampFormat::{Eu, Iso, Us};
        for (format, name) in [
            (Iso, "1700000000000_2023-11-14T22-13-20"),
            (Eu, "1700000000000_14-Nov-2023-22-13-20"),
            (Us, "1700000000000_Nov-14-2023-22-13-20"),
        ] {
            assert_eq!(run(Some(format)).name, name);
            assert_eq!(parse_timestamp_folder(name), Some(AT));
        }
        assert_eq!(parse_timestamp_folder("1700000000000"), Some(AT));
        assert_eq!(parse_timestamp_folder("1700000000000_"), Some(AT));
        for bad in
            ["", "170000000000", "17000000000000", "1700000000000x", "170000000000ü", "+700000000000", "data"]
        {
            assert_eq!(parse_timestamp_folder(bad), None, "{bad:?}");
        }
        assert!(timestamp_folder(UnixMillis(12_345), None).is_err());
        assert!(timestamp_folder(UnixMillis(10_000_000_000_000), None).is_err());
    }

    #[test]
    fn attempts_are_read_against_the_namespace_of_the_metadata() {
        assert_eq!(parse_attempt_folder("ns", "ns"), Some(1));
        assert_eq!(parse_attempt_folder("ns.2", "ns"), Some(2));
        assert_eq!(parse_attempt_folder("ns.2", "ns.2"), Some(1));
        assert_eq!(parse_attempt_folder("ns.2.3", "ns.2"), Some(3));
        for other in ["ns.1", "ns.0", "ns.02", "ns.+2", "ns.", "ns_2", "nsx", "other"] {
            assert_eq!(parse_attempt_folder(other, "ns"), None, "{other}");
        }
    }

    #[test]
    fn names_cannot_leave_their_folder() {
        assert!(RunFolder::new("../r", BackupType::Full, AT, None).is_err());
        assert!(run(None).namespace_folder("a/b", 1).is_err());
        assert!(type_root("", BackupType::Full).is_err());
        assert_eq!(owner_file("r").unwrap(), "r/holdfast-owner.json");
        for bad in ["", "..", "a/b", INSTANCES] {
            assert!(owner_file(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn a_key_knows_its_run() {
        let (found, rest) = RunFolder::of_key("r/backup/1700000000000/data/ns/0_ns_1.asb").unwrap();
        assert_eq!((found, rest), (run(None), "data/ns/0_ns_1.asb"));
        assert_eq!(RunFolder::of_key("r/backup/1700000000000").unwrap().1, "");
        let (found, rest) = RunFolder::of_key("copy/of/r/incremental/1700000000000_x/data").unwrap();
        assert_eq!((found.routine.as_str(), found.name.as_str(), rest), ("r", "1700000000000_x", "data"));
        for outside in
            ["", "r", "r/backup", "backup/1700000000000/data", "r/other/1700000000000", "dir/x.asb"]
        {
            assert_eq!(RunFolder::of_key(outside), None, "{outside:?}");
        }
    }
}
