//! The section `service` (abs.md 2.2 and our own additions): static, a change needs a restart.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::auth::Auth;
use super::kind::Kind;
use super::listener::{Http, HttpConfig, Https, HttpsConfig, PORT};
use super::reader::{Read, Section};
use super::{MS_MAX, zone};
use crate::memory::{BUDGET_BYTES, RestoreMemory};
use crate::model::InstanceId;
use crate::model::status::AbsLevel;

/// `service`, as written.
#[derive(Debug, Clone, PartialEq, Default, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Service {
    /// The HTTP listener.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub http: Option<Http>,
    /// The HTTPS listener.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub https: Option<Https>,
    /// Who may do what.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub auth: Option<Auth>,
    /// What is logged, and how.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub logger: Option<Logger>,
    /// What concerns all backups.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub backup: Option<ServiceBackup>,
    /// Where the job store lies.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub state_dir: Option<String>,
    /// The release of ABS whose wire is spoken (rules.md 7.1).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub compatibility: Option<AbsLevel>,
    /// How long running jobs may go on after SIGTERM, in ms (rules.md 6.4).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub shutdown_grace: Option<u64>,
    /// Directories under which a request's inline `local-storage` must lie.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub local_storage_roots: Option<Vec<String>>,
    /// Whether a restore may name its destination inline.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub allow_inline_destinations: Option<bool>,
    /// Whether a restore into what is not empty must be confirmed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub require_restore_confirmation: Option<bool>,
    /// Names this installation as the owner of routine folders (rules.md 5.5).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub instance_id: Option<String>,
    /// How long ended jobs are remembered (rules.md 2.7).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub job_history: Option<JobHistory>,
    /// What all jobs together may hold of data, in bytes (rules.md 8.1).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory_budget: Option<u64>,
    /// How long it is remembered who changed what.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub audit: Option<Audit>,
}

/// `service.audit`, as written.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Audit {
    /// How long a request is remembered, in ms.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_age: Option<i64>,
}

/// `service.logger`, as written.
#[derive(Debug, Clone, PartialEq, Default, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Logger {
    /// The least level that is logged.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub level: Option<LogLevel>,
    /// Lines for people or for machines.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub format: Option<LogFormat>,
    /// Whether to log to standard output.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stdout_writer: Option<bool>,
    /// The file to log to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub file_writer: Option<FileWriter>,
}

/// `service.logger.file-writer`, as written.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
#[serde(rename_all = "lowercase")]
pub struct FileWriter {
    /// The file.
    pub filename: String,
    /// How large it may become, in MB.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub maxsize: Option<u32>,
    /// How many days what was set aside stays.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub maxage: Option<u32>,
    /// How many of those stay.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub maxbackups: Option<u32>,
    /// Whether they are compressed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub compress: Option<bool>,
}

/// `service.backup`, as written.
#[derive(Debug, Clone, PartialEq, Default, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct ServiceBackup {
    /// A readable suffix of backup folders (abs.md 3).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timestamp_format: Option<TimestampFormat>,
    /// How many backups run at once; more wait (rules.md 2.2).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_running_jobs: Option<u32>,
    /// The zone of every schedule that names none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub schedule_timezone: Option<String>,
}

/// `service.job-history`, as written.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct JobHistory {
    /// How long an ended job is remembered, in ms.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_age: Option<i64>,
    /// How many ended jobs are remembered.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_rows: Option<u32>,
}

/// The least level that is logged, in ABS's words.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum LogLevel {
    /// Everything.
    Trace,
    /// For those who look for a mistake.
    Debug,
    /// What happens: ABS 3.6's default.
    #[default]
    Info,
    /// What somebody should look at; also `WARNING`.
    Warn,
    /// What failed.
    Error,
}

/// How a log line looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum LogFormat {
    /// For people.
    #[default]
    Plain,
    /// One JSON object a line.
    Json,
}

/// The readable suffix of a backup's folder (abs.md 3).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum TimestampFormat {
    /// `2006-01-02T15-04-05`.
    Iso,
    /// `02-Jan-2006-15-04-05`.
    Eu,
    /// `Jan-02-2006-15-04-05`.
    Us,
}

/// `service` with its defaults.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct ServiceConfig {
    /// `service.http`.
    pub http: HttpConfig,
    /// `service.https`; none: there is no such listener.
    pub https: Option<HttpsConfig>,
    /// `service.logger`.
    pub logger: LoggerConfig,
    /// `service.backup`.
    pub backup: ServiceBackupConfig,
    /// Where the job store lies; default [`STATE_DIR`].
    pub state_dir: PathBuf,
    /// The release of ABS whose wire is spoken; default 3.5.
    pub compatibility: AbsLevel,
    /// How long running jobs may go on after SIGTERM, in ms; default 20,000 (rules.md 6.4).
    pub shutdown_grace: u64,
    /// Directories under which a request's inline `local-storage` must lie; default: those of the configured ones.
    pub local_storage_roots: Option<Vec<PathBuf>>,
    /// Whether a restore may name its destination inline; default: everybody without authentication, with it admins.
    pub allow_inline_destinations: Option<bool>,
    /// Whether a restore into what is not empty must be confirmed; default false.
    pub require_restore_confirmation: bool,
    /// Names this installation as the owner of routine folders (rules.md 5.5); default: as the store says.
    pub instance_id: Option<String>,
    /// How long ended jobs are remembered.
    pub job_history: JobHistoryConfig,
    /// What all jobs together may hold of data, in bytes; default 128 MiB (rules.md 8.1).
    pub memory_budget: u64,
    /// How long it is remembered who changed what, in ms; default one year.
    pub audit_max_age_ms: i64,
}

/// `service.job-history` with its defaults: whichever cuts first (rules.md 2.7).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct JobHistoryConfig {
    /// How long an ended job is remembered, in ms; default 90 days.
    pub max_age_ms: i64,
    /// How many ended jobs are remembered; default 100,000.
    pub max_rows: u32,
}

/// `service.logger` with its defaults.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct LoggerConfig {
    /// The least level that is logged; default INFO.
    pub level: LogLevel,
    /// Lines for people or for machines; default PLAIN.
    pub format: LogFormat,
    /// Whether to log to standard output; default true.
    pub stdout_writer: bool,
    /// The file to log to; default none.
    pub file_writer: Option<FileWriterConfig>,
}

/// `service.logger.file-writer` with its defaults.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct FileWriterConfig {
    /// The file.
    pub filename: PathBuf,
    /// How large it may become; default 100 MiB.
    pub size_bytes_max: u64,
    /// How many days what was set aside stays; 0: for ever; default 7.
    pub age_days_max: u32,
    /// How many of those stay; 0: all; default 3.
    pub backups_max: u32,
    /// Whether they are compressed; default not.
    pub compress: bool,
}

/// `service.backup` with its defaults.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct ServiceBackupConfig {
    /// A readable suffix of backup folders; default none.
    pub timestamp_format: Option<TimestampFormat>,
    /// How many backups run at once; default 8 (rules.md 2.2).
    pub max_running_jobs: u32,
    /// The zone of every schedule that names none; default `UTC`.
    pub schedule_timezone: String,
}

/// Where the job store lies when `service.state-dir` does not say.
pub const STATE_DIR: &str = "/var/lib/holdfast";

impl Service {
    /// With the defaults.
    pub fn resolve(&self) -> ServiceConfig {
        let https = self.https.as_ref().and_then(Https::resolve);
        let mut http = self.http.clone().unwrap_or_default().resolve(PORT);
        let https = https.map(|mut https| {
            let own = self.https.as_ref().is_some_and(|given| given.listener.context_path.is_some());
            if !own {
                https.listener.context_path.clone_from(&http.context_path);
            }
            https
        });
        // Who configures only HTTPS does not mean to be open in clear beside it.
        http.disabled |= self.http.is_none() && https.is_some();
        let logger = self.logger.clone().unwrap_or_default();
        let backup = self.backup.clone().unwrap_or_default();
        ServiceConfig {
            http,
            https,
            logger: LoggerConfig {
                level: logger.level.unwrap_or_default(),
                format: logger.format.unwrap_or_default(),
                stdout_writer: logger.stdout_writer.unwrap_or(true),
                file_writer: logger.file_writer.as_ref().map(FileWriter::resolve),
            },
            backup: ServiceBackupConfig {
                timestamp_format: backup.timestamp_format,
                max_running_jobs: backup.max_running_jobs.unwrap_or(8),
                schedule_timezone: backup.schedule_timezone.unwrap_or_else(|| "UTC".into()),
            },
            state_dir: self.state_dir.as_deref().unwrap_or(STATE_DIR).into(),
            compatibility: self.compatibility.unwrap_or_default(),
            shutdown_grace: self.shutdown_grace.unwrap_or(20_000),
            local_storage_roots: (self.local_storage_roots.as_ref())
                .map(|roots| roots.iter().map(PathBuf::from).collect()),
            allow_inline_destinations: self.allow_inline_destinations,
            require_restore_confirmation: self.require_restore_confirmation.unwrap_or(false),
            instance_id: self.instance_id.clone(),
            job_history: self.job_history.as_ref().map(JobHistory::resolve).unwrap_or_default(),
            memory_budget: self.memory_budget.unwrap_or(BUDGET_BYTES),
            audit_max_age_ms: self.audit.as_ref().and_then(|audit| audit.max_age).unwrap_or(365 * DAY_MS),
        }
    }
}

/// Less than one restore needs is of no use.
const MEMORY_BUDGET_MIN: i64 = RestoreMemory::LEAST as i64;

/// 1 TiB: no bound that anybody would feel.
const MEMORY_BUDGET_MAX: i64 = 1 << 40;

impl ServiceConfig {
    /// The prefix of every path, with `/` at both ends.
    pub fn context_path(&self) -> &str {
        let https = self.https.as_ref().filter(|_| self.http.disabled);
        https.map_or(&self.http.context_path, |https| &https.listener.context_path)
    }
}

const DAY_MS: i64 = 24 * 60 * 60 * 1000;

impl FileWriter {
    fn resolve(&self) -> FileWriterConfig {
        FileWriterConfig {
            filename: PathBuf::from(&self.filename),
            // As ABS: 0 is the default too.
            size_bytes_max: u64::from(self.maxsize.filter(|size| *size > 0).unwrap_or(100)) << 20,
            age_days_max: self.maxage.unwrap_or(7),
            backups_max: self.maxbackups.unwrap_or(3),
            compress: self.compress.unwrap_or(false),
        }
    }
}

impl JobHistory {
    fn resolve(&self) -> JobHistoryConfig {
        let default = JobHistoryConfig::default();
        JobHistoryConfig {
            max_age_ms: self.max_age.unwrap_or(default.max_age_ms),
            max_rows: self.max_rows.unwrap_or(default.max_rows),
        }
    }
}

impl Default for JobHistoryConfig {
    fn default() -> Self {
        Self { max_age_ms: 90 * DAY_MS, max_rows: 100_000 }
    }
}

impl Read for Service {
    const KIND: Kind = Kind::Service;

    fn read(section: &mut Section<'_>) -> Self {
        let instance_id: Option<String> = section.optional("instance-id");
        if let Some(Err(problem)) = instance_id.as_deref().map(InstanceId::parse) {
            section.reject("instance-id", format!("\"instance-id\" {problem}"));
        }
        let (http, https): (Option<Http>, Option<Https>) = (section.child("http"), section.child("https"));
        let path = |listener: &Http| {
            listener.context_path.as_deref().unwrap_or_default().trim_matches('/').to_owned()
        };
        let own = https.as_ref().filter(|https| https.listener.context_path.is_some());
        if let (Some(http), Some(https)) = (&http, own)
            && path(http) != path(&https.listener)
        {
            section.reject("https", "\"context-path\" must be that of \"http\": links name one path");
        }
        Self {
            http,
            https,
            auth: section.child("auth"),
            logger: section.child("logger"),
            backup: section.child("backup"),
            state_dir: section.optional("state-dir"),
            compatibility: section.word(
                "compatibility",
                &[("3.5", AbsLevel::V3_5), ("3.6", AbsLevel::V3_6), ("3.7", AbsLevel::V3_7)],
            ),
            shutdown_grace: section.int("shutdown-grace", 0..=MS_MAX),
            local_storage_roots: section.texts("local-storage-roots"),
            allow_inline_destinations: section.flag("allow-inline-destinations"),
            require_restore_confirmation: section.flag("require-restore-confirmation"),
            instance_id,
            job_history: section.child("job-history"),
            memory_budget: section.int("memory-budget", MEMORY_BUDGET_MIN..=MEMORY_BUDGET_MAX),
            audit: section.child("audit"),
        }
    }
}

impl Read for Audit {
    const KIND: Kind = Kind::Audit;

    fn read(section: &mut Section<'_>) -> Self {
        Self { max_age: section.int("max-age", 1..=3650 * DAY_MS) }
    }
}

impl Read for JobHistory {
    const KIND: Kind = Kind::JobHistory;

    fn read(section: &mut Section<'_>) -> Self {
        Self {
            // Longer than other times may be: 90 days do not fit into 31 bits.
            max_age: section.int("max-age", 1..=3650 * DAY_MS),
            max_rows: section.int("max-rows", 1..=10_000_000),
        }
    }
}

impl Read for Logger {
    const KIND: Kind = Kind::Logger;

    fn read(section: &mut Section<'_>) -> Self {
        Self {
            level: section.word(
                "level",
                &[
                    ("TRACE", LogLevel::Trace),
                    ("DEBUG", LogLevel::Debug),
                    ("INFO", LogLevel::Info),
                    ("WARN", LogLevel::Warn),
                    ("WARNING", LogLevel::Warn),
                    ("ERROR", LogLevel::Error),
                ],
            ),
            format: section.word("format", &[("PLAIN", LogFormat::Plain), ("JSON", LogFormat::Json)]),
            stdout_writer: section.flag("stdout-writer"),
            file_writer: section.child("file-writer"),
        }
    }
}

impl Read for FileWriter {
    const KIND: Kind = Kind::FileWriter;

    fn read(section: &mut Section<'_>) -> Self {
        Self {
            filename: section.filled("filename"),
            maxsize: section.int("maxsize", 0..=1_000_000),
            maxage: section.int("maxage", 0..=36_500),
            maxbackups: section.int("maxbackups", 0..=100_000),
            compress: section.flag("compress"),
        }
    }
}

impl Read for ServiceBackup {
    const KIND: Kind = Kind::ServiceBackup;

    fn read(section: &mut Section<'_>) -> Self {
        let schedule_timezone = section.optional("schedule-timezone");
        if let Some(Err(error)) = schedule_timezone.as_deref().map(zone::parse) {
            section.reject("schedule-timezone", error);
        }
        Self {
            timestamp_format: section.word(
                "timestamp-format",
                &[("ISO", TimestampFormat::Iso), ("EU", TimestampFormat::Eu), ("US", TimestampFormat::Us)],
            ),
            max_running_jobs: section.int("max-running-jobs", 1..=1_000),
            schedule_timezone,
        }
    }
}
