//! What a job is and where it stands.

use serde::{Deserialize, Serialize};

/// Where a job stands (rules.md 2.1); one enum for every kind of job.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum JobStatus {
    /// A delayed trigger, not due yet.
    Scheduled,
    /// Due, waiting for capacity.
    Queued,
    /// A task works on it.
    Running,
    /// Ended well; may carry warnings.
    Succeeded,
    /// Ended with an error.
    Failed,
    /// Ended because somebody asked.
    Canceled,
    /// Refused at admission, with the reason.
    Skipped,
    /// Slots that passed while nobody could run them.
    Missed,
    /// Ended by the end of its process.
    Interrupted,
}

impl JobStatus {
    /// Every status, in the order of a job's life.
    pub const ALL: [Self; 9] = [
        Self::Scheduled,
        Self::Queued,
        Self::Running,
        Self::Succeeded,
        Self::Failed,
        Self::Canceled,
        Self::Skipped,
        Self::Missed,
        Self::Interrupted,
    ];

    /// Whether nothing follows.
    pub const fn is_terminal(self) -> bool {
        !matches!(self, Self::Scheduled | Self::Queued | Self::Running)
    }

    /// The word stored and shown in our own API.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Scheduled => "scheduled",
            Self::Queued => "queued",
            Self::Running => "running",
            Self::Succeeded => "succeeded",
            Self::Failed => "failed",
            Self::Canceled => "canceled",
            Self::Skipped => "skipped",
            Self::Missed => "missed",
            Self::Interrupted => "interrupted",
        }
    }

    /// The status of a stored or given word; none for an unknown one.
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|status| status.as_str() == word)
    }

    /// The word ABS uses for a restore job that stands here.
    pub const fn abs_word(self, level: AbsLevel) -> &'static str {
        let newer = !matches!(level, AbsLevel::V3_5);
        match self {
            Self::Scheduled | Self::Queued | Self::Running => {
                if newer {
                    "running"
                } else {
                    "Running"
                }
            }
            Self::Succeeded => {
                if newer {
                    "success"
                } else {
                    "Done"
                }
            }
            Self::Canceled => {
                if newer {
                    "canceled"
                } else {
                    "Canceled"
                }
            }
            Self::Failed | Self::Skipped | Self::Missed | Self::Interrupted => {
                if newer {
                    "failure"
                } else {
                    "Failed"
                }
            }
        }
    }
}

/// The release of ABS whose wire is spoken (rules.md 7.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum AbsLevel {
    /// 3.5: `Running`, `Done`, `Failed`, `Canceled`.
    #[default]
    #[serde(rename = "3.5")]
    V3_5,
    /// 3.6: lower-case status words.
    #[serde(rename = "3.6")]
    V3_6,
    /// 3.7: 404, 409 and 503 where 3.6 says 400 and 500.
    #[serde(rename = "3.7")]
    V3_7,
}

/// What kind of work a job does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum JobKind {
    /// Copies a cluster's records to storage.
    Backup,
    /// Writes records of backups to a cluster.
    Restore,
    /// Deletes the backups of a routine that its policy keeps no longer.
    Retention,
    /// Reads backups again and compares them with what they say of themselves.
    Verify,
    /// Copies backups of a routine to another storage.
    Copy,
}

impl JobKind {
    /// Every kind.
    pub const ALL: [Self; 5] = [Self::Backup, Self::Restore, Self::Retention, Self::Verify, Self::Copy];

    /// The word stored and shown.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Backup => "backup",
            Self::Restore => "restore",
            Self::Retention => "retention",
            Self::Verify => "verify",
            Self::Copy => "copy",
        }
    }

    /// The kind of a stored or given word; none for an unknown one.
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == word)
    }
}

/// The type of a backup.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, utoipa::ToSchema,
)]
#[serde(rename_all = "lowercase")]
pub enum BackupType {
    /// Every record in scope.
    Full,
    /// The records changed since the backup it builds on.
    Incremental,
}

impl BackupType {
    /// The word stored and shown.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Full => "full",
            Self::Incremental => "incremental",
        }
    }

    /// The type of a stored or given word; none for an unknown one.
    pub fn parse(word: &str) -> Option<Self> {
        [Self::Full, Self::Incremental].into_iter().find(|kind| kind.as_str() == word)
    }
}

/// What a schedule makes, and so what a slot is of (rules.md 1.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SlotType {
    /// A full backup.
    Full,
    /// An incremental backup.
    Incremental,
    /// A verification of the routine's backups.
    Verify,
}

impl SlotType {
    /// Every type, in the order in which slots of one instant fire.
    pub const ALL: [Self; 3] = [Self::Full, Self::Incremental, Self::Verify];

    /// The word stored and shown.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Full => "full",
            Self::Incremental => "incremental",
            Self::Verify => "verify",
        }
    }

    /// The type of a stored or given word; none for an unknown one.
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == word)
    }

    /// The type of the backup that it makes; none if it makes none.
    pub const fn backup_type(self) -> Option<BackupType> {
        match self {
            Self::Full => Some(BackupType::Full),
            Self::Incremental => Some(BackupType::Incremental),
            Self::Verify => None,
        }
    }
}

impl From<BackupType> for SlotType {
    fn from(backup_type: BackupType) -> Self {
        match backup_type {
            BackupType::Full => Self::Full,
            BackupType::Incremental => Self::Incremental,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{AbsLevel, JobStatus};

    #[test]
    fn every_status_has_one_word_and_one_abs_word() {
        for status in JobStatus::ALL {
            assert_eq!(JobStatus::parse(status.as_str()), Some(status));
            assert!(["Running", "Done", "Failed", "Canceled"].contains(&status.abs_word(AbsLevel::V3_5)));
            assert!(["running", "success", "failure", "canceled"].contains(&status.abs_word(AbsLevel::V3_6)));
        }
        assert_eq!(JobStatus::Interrupted.abs_word(AbsLevel::V3_5), "Failed");
        assert_eq!(JobStatus::Queued.abs_word(AbsLevel::V3_7), "running");
    }
}
