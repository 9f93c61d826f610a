//! The names.

macro_rules! metric_names {
    ($($variant:ident = $name:literal, $help:literal;)+) => {
        /// Every metric of the service: ABS's names where ABS has one (abs.md 5.1), ours beside them.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum MetricName {
            $(#[doc = $help] $variant,)+
        }

        impl MetricName {
            /// Every name.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)+];

            /// The name that is scraped.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => concat!("aerospike_backup_service_", $name),)+ }
            }

            /// The help text.
            pub const fn help(self) -> &'static str {
                match self { $(Self::$variant => $help,)+ }
            }
        }
    };
}

metric_names! {
    BackupEvents = "backup_events_total", "Ends and retries of backups, by outcome: success, failure, canceled, retry, skip.";
    BackupDuration = "backup_duration_seconds", "How long backups took, whatever their end.";
    LastSuccess = "last_successful_backup_timestamp", "Start of the newest successful backup, unix seconds.";
    LastSuccessSeconds = "last_successful_backup_timestamp_seconds", "Start of the newest successful backup, unix seconds.";
    BackupInProgress = "backup_in_progress", "Backups that run now.";
    BackupActive = "backup_active", "Backups that run now.";
    BackupProgressPct = "backup_progress_pct", "How far a running backup is, 0 to 100.";
    BackupProgressRatio = "backup_progress_ratio", "How far a running backup is, 0 to 1.";
    BackupStalled = "backup_stalled_seconds", "How long nothing has moved in a running backup, waits on purpose excluded.";
    RestoreInProgress = "restore_in_progress", "Restores that run now.";
    RestoreEvents = "restore_events_total", "Ends of restores, by outcome: success, failure, canceled.";
    RetentionEvents = "retention_events_total", "Ends of retention jobs, by outcome: success, failure, canceled, skip.";
    RetentionLastRun = "retention_last_run_timestamp_seconds", "End of the newest retention job with that outcome, unix seconds.";
    RetentionDeleted = "retention_deleted_backups_total", "Backups that retention jobs have deleted.";
    CopyEvents = "copy_events_total", "Ends of copy jobs, by outcome: success, failure, canceled, skip.";
    CopiedBackups = "copied_backups_total", "Backups that copy jobs have brought to another storage.";
    CopiedBytes = "copied_bytes_total", "Bytes that copy jobs have written to another storage.";
    MemoryBudget = "memory_budget_bytes", "The byte budget, by state: total, kept for a restore, held by jobs, in-flight to clusters.";
    JobQueueDepth = "job_queue_depth", "Jobs that wait for capacity.";
    NextRun = "schedule_next_run_timestamp_seconds", "When a routine fires next, unix seconds.";
    RoutineOwned = "routine_owned", "1 if the routine's folder in storage belongs to this instance, 0 if to another.";
    VerifyLastSuccess = "verify_last_success_timestamp_seconds", "End of the newest verification of a routine that found nothing wrong, unix seconds.";
    VerifyLastSuccessful = "verify_last_successful", "1 if the newest verification of a routine found nothing wrong, 0 if it failed.";
    VerifyDamagedBackups = "verify_damaged_backups", "Backups of a routine in a storage, its own or that of a copy, that were found damaged, or that cannot be restored because of another one.";
    ConfigReloadSuccessful = "config_last_reload_successful", "1 if the last reload of the configuration was taken.";
    BuildInfo = "build_info", "1, with the version as a label.";
}
