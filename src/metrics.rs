//! What Prometheus sees; every name is one value of [`MetricName`].

mod name;
mod observer;

pub use name::MetricName;
pub use observer::{COPIED_BACKUPS, COPIED_BYTES, DELETED_BACKUPS, outcome};

use prometheus::{
    GaugeVec, HistogramOpts, HistogramVec, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry, TextEncoder,
};

use crate::error::{Error, Result};
use crate::memory::Budget;
use crate::model::{BackupType, SlotType, UnixMillis};

/// Buckets of ABS: 60 s × 1.5^k, k = 0..15 (abs.md 5.1).
fn duration_buckets() -> Vec<f64> {
    (0..16).map(|k| 60.0 * 1.5_f64.powi(k)).collect()
}

/// How a backup ended, in ABS's words (abs.md 5.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// Every namespace committed or had nothing to save.
    Success,
    /// Ended with an error, or was interrupted.
    Failure,
    /// Somebody asked for its end.
    Canceled,
    /// A namespace is tried again.
    Retry,
    /// It was not started, or its slots were missed.
    Skip,
}

impl Outcome {
    const ALL: [Self; 5] = [Self::Success, Self::Failure, Self::Canceled, Self::Retry, Self::Skip];

    const fn as_str(self) -> &'static str {
        match self {
            Self::Success => "success",
            Self::Failure => "failure",
            Self::Canceled => "canceled",
            Self::Retry => "retry",
            Self::Skip => "skip",
        }
    }
}

/// A running backup, as the gauges show it.
#[derive(Debug, Clone, PartialEq)]
pub struct RunningBackup {
    /// Its routine.
    pub routine: String,
    /// Its type.
    pub backup_type: BackupType,
    /// 0 to 1.
    pub progress_ratio: f64,
    /// How long nothing has moved in it (rules.md 2.9).
    pub stalled_seconds: f64,
}

/// What is known of the backups of one routine, as the gauges show it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct RoutineVerification {
    /// The routine.
    pub routine: String,
    /// The end of the newest verification that found nothing wrong.
    pub last_success: Option<UnixMillis>,
    /// Whether the newest verification found nothing wrong; none: there was none.
    pub last_successful: Option<bool>,
    /// Backups that were found damaged, or that cannot be restored because of another one, by storage: the routine's own,
    /// and those with copies that were ever verified.
    pub damaged: Vec<(String, u64)>,
}

/// The series of this service.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    backup_events: IntCounterVec,
    backup_duration: HistogramVec,
    last_success: IntGaugeVec,
    last_success_alias: IntGaugeVec,
    backups_running: IntGaugeVec,
    backups_active: IntGaugeVec,
    progress_pct: GaugeVec,
    progress_ratio: GaugeVec,
    stalled: GaugeVec,
    restores_running: IntGauge,
    restore_events: IntCounterVec,
    retention_events: IntCounterVec,
    retention_last_run: IntGaugeVec,
    retention_deleted: IntCounterVec,
    copies: CopyCounters,
    jobs_queued: IntGauge,
    memory: IntGaugeVec,
    next_run: IntGaugeVec,
    routine_owned: IntGaugeVec,
    verify_last_success: IntGaugeVec,
    verify_last_successful: IntGaugeVec,
    verify_damaged: IntGaugeVec,
    reload_successful: IntGauge,
}

/// What is counted of copy jobs.
#[derive(Debug)]
struct CopyCounters {
    events: IntCounterVec,
    backups: IntCounterVec,
    bytes: IntCounterVec,
}

impl CopyCounters {
    fn new(registry: &Registry) -> Result<Self> {
        let by_routine = |name| register(registry, IntCounterVec::new(opts(name), &["routine"]));
        Ok(Self {
            events: register(
                registry,
                IntCounterVec::new(opts(MetricName::CopyEvents), &["routine", "outcome"]),
            )?,
            backups: by_routine(MetricName::CopiedBackups)?,
            bytes: by_routine(MetricName::CopiedBytes)?,
        })
    }
}

const BY_ROUTINE: &[&str] = &["routine", "type"];

impl Metrics {
    /// Every series, without routines yet.
    pub fn new() -> Result<Self> {
        let registry = Registry::new();
        let build = register(&registry, IntGaugeVec::new(opts(MetricName::BuildInfo), &["version"]))?;
        build.with_label_values(&[env!("CARGO_PKG_VERSION")]).set(1);
        let metrics = Self {
            backup_events: register(
                &registry,
                IntCounterVec::new(opts(MetricName::BackupEvents), &["routine", "type", "outcome"]),
            )?,
            backup_duration: register(
                &registry,
                HistogramVec::new(
                    HistogramOpts::from(opts(MetricName::BackupDuration)).buckets(duration_buckets()),
                    BY_ROUTINE,
                ),
            )?,
            last_success: gauge_by_routine(&registry, MetricName::LastSuccess)?,
            last_success_alias: gauge_by_routine(&registry, MetricName::LastSuccessSeconds)?,
            backups_running: gauge_by_routine(&registry, MetricName::BackupInProgress)?,
            backups_active: gauge_by_routine(&registry, MetricName::BackupActive)?,
            progress_pct: register(
                &registry,
                GaugeVec::new(opts(MetricName::BackupProgressPct), BY_ROUTINE),
            )?,
            progress_ratio: register(
                &registry,
                GaugeVec::new(opts(MetricName::BackupProgressRatio), BY_ROUTINE),
            )?,
            stalled: register(&registry, GaugeVec::new(opts(MetricName::BackupStalled), BY_ROUTINE))?,
            restores_running: register(&registry, IntGauge::with_opts(opts(MetricName::RestoreInProgress)))?,
            restore_events: register(
                &registry,
                IntCounterVec::new(opts(MetricName::RestoreEvents), &["outcome"]),
            )?,
            retention_events: register(
                &registry,
                IntCounterVec::new(opts(MetricName::RetentionEvents), &["routine", "outcome"]),
            )?,
            retention_last_run: register(
                &registry,
                IntGaugeVec::new(opts(MetricName::RetentionLastRun), &["routine", "outcome"]),
            )?,
            retention_deleted: register(
                &registry,
                IntCounterVec::new(opts(MetricName::RetentionDeleted), &["routine"]),
            )?,
            copies: CopyCounters::new(&registry)?,
            jobs_queued: register(&registry, IntGauge::with_opts(opts(MetricName::JobQueueDepth)))?,
            memory: register(&registry, IntGaugeVec::new(opts(MetricName::MemoryBudget), &["state"]))?,
            next_run: gauge_by_routine(&registry, MetricName::NextRun)?,
            routine_owned: register(
                &registry,
                IntGaugeVec::new(opts(MetricName::RoutineOwned), &["routine"]),
            )?,
            verify_last_success: verify_gauge(&registry, MetricName::VerifyLastSuccess)?,
            verify_last_successful: verify_gauge(&registry, MetricName::VerifyLastSuccessful)?,
            verify_damaged: register(
                &registry,
                IntGaugeVec::new(opts(MetricName::VerifyDamagedBackups), &["routine", "storage"]),
            )?,
            reload_successful: register(
                &registry,
                IntGauge::with_opts(opts(MetricName::ConfigReloadSuccessful)),
            )?,
            registry,
        };
        metrics.reload_successful.set(1);
        for outcome in [Outcome::Success, Outcome::Failure, Outcome::Canceled] {
            metrics.restore_events.with_label_values(&[outcome.as_str()]);
        }
        Ok(metrics)
    }

    /// Makes the series of a routine visible with 0: `rate` sees the first event, and an alert on the age of the
    /// newest success sees a routine that never had one.
    pub fn add_routine(&self, routine: &str, backup_type: BackupType) {
        for outcome in Outcome::ALL {
            self.backup_events.with_label_values(&[routine, backup_type.as_str(), outcome.as_str()]);
        }
        let labels = [routine, backup_type.as_str()];
        self.backup_duration.with_label_values(&labels);
        for gauge in [&self.last_success, &self.last_success_alias] {
            gauge.with_label_values(&labels);
        }
    }

    /// Forgets the gauges of a routine that is no longer configured; counters stay.
    pub fn remove_routine(&self, routine: &str, backup_type: BackupType) {
        let labels = [routine, backup_type.as_str()];
        for gauge in [&self.last_success, &self.last_success_alias, &self.next_run] {
            // An error only says that there was no such series.
            let _ = gauge.remove_label_values(&labels);
        }
        for outcome in Outcome::ALL {
            let _ = self.retention_last_run.remove_label_values(&[routine, outcome.as_str()]);
        }
        self.next_run(routine, SlotType::Verify, None);
    }

    /// Counts the end, or a retry, of a backup.
    pub fn backup_event(&self, routine: &str, backup_type: BackupType, outcome: Outcome) {
        self.backup_events.with_label_values(&[routine, backup_type.as_str(), outcome.as_str()]).inc();
    }

    /// Notes how long a backup took, whatever its end (as ABS does).
    pub fn backup_took(&self, routine: &str, backup_type: BackupType, seconds: f64) {
        if seconds > 0.0 {
            self.backup_duration.with_label_values(&[routine, backup_type.as_str()]).observe(seconds);
        }
    }

    /// Notes the `created` of the newest successful backup.
    pub fn backup_succeeded(&self, routine: &str, backup_type: BackupType, created: UnixMillis) {
        let labels = [routine, backup_type.as_str()];
        for gauge in [&self.last_success, &self.last_success_alias] {
            let gauge = gauge.with_label_values(&labels);
            gauge.set(gauge.get().max(created.secs()));
        }
    }

    /// Counts the end of a restore.
    pub fn restore_event(&self, outcome: Outcome) {
        self.restore_events.with_label_values(&[outcome.as_str()]).inc();
    }

    /// Makes the series of a routine with retention visible with 0.
    pub fn add_retention(&self, routine: &str) {
        for outcome in [Outcome::Success, Outcome::Failure] {
            self.retention_events.with_label_values(&[routine, outcome.as_str()]);
        }
        self.retention_deleted.with_label_values(&[routine]);
    }

    /// Counts the end of a retention job, and what it has deleted whatever its end.
    pub fn retention_event(&self, routine: &str, outcome: Outcome, deleted: u64) {
        self.retention_events.with_label_values(&[routine, outcome.as_str()]).inc();
        self.retention_deleted.with_label_values(&[routine]).inc_by(deleted);
    }

    /// Notes when a retention job ended so; the latest counts.
    pub fn retention_ended(&self, routine: &str, outcome: Outcome, at: UnixMillis) {
        let gauge = self.retention_last_run.with_label_values(&[routine, outcome.as_str()]);
        gauge.set(gauge.get().max(at.secs()));
    }

    /// Makes the series of a routine with copies visible with 0.
    pub fn add_copies(&self, routine: &str) {
        for outcome in [Outcome::Success, Outcome::Failure] {
            self.copies.events.with_label_values(&[routine, outcome.as_str()]);
        }
        self.copies.backups.with_label_values(&[routine]);
        self.copies.bytes.with_label_values(&[routine]);
    }

    /// Counts the end of a copy job, and what it has brought over whatever its end.
    pub fn copy_event(&self, routine: &str, outcome: Outcome, backups: u64, bytes: u64) {
        self.copies.events.with_label_values(&[routine, outcome.as_str()]).inc();
        self.copies.backups.with_label_values(&[routine]).inc_by(backups);
        self.copies.bytes.with_label_values(&[routine]).inc_by(bytes);
    }

    /// Notes whether the last reload of the configuration was taken.
    pub fn config_reload(&self, taken: bool) {
        self.reload_successful.set(i64::from(taken));
    }

    /// Notes how the byte budget stands.
    pub fn memory(&self, budget: &Budget) {
        let states = [
            ("total", budget.total()),
            ("kept", budget.kept()),
            ("held", budget.held()),
            ("in-flight", budget.in_flight()),
        ];
        for (state, bytes) in states {
            self.memory.with_label_values(&[state]).set(i64::try_from(bytes).unwrap_or(i64::MAX));
        }
    }

    /// Notes when a routine fires next.
    pub fn next_run(&self, routine: &str, slot_type: SlotType, at: Option<UnixMillis>) {
        let labels = [routine, slot_type.as_str()];
        match at {
            Some(at) => self.next_run.with_label_values(&labels).set(at.secs()),
            None => {
                let _ = self.next_run.remove_label_values(&labels);
            }
        }
    }

    /// Notes whether a routine's folder belongs to this instance; none: not known, or nobody's.
    pub fn routine_owned(&self, routine: &str, ours: Option<bool>) {
        match ours {
            Some(ours) => self.routine_owned.with_label_values(&[routine]).set(i64::from(ours)),
            None => {
                let _ = self.routine_owned.remove_label_values(&[routine]);
            }
        }
    }

    /// Notes what is known of the backups of every routine, in place of what was noted before.
    pub fn verifications(&self, routines: &[RoutineVerification]) {
        for gauge in [&self.verify_last_success, &self.verify_last_successful, &self.verify_damaged] {
            gauge.reset();
        }
        for known in routines {
            let labels = [known.routine.as_str()];
            if let Some(at) = known.last_success {
                self.verify_last_success.with_label_values(&labels).set(at.secs());
            }
            if let Some(successful) = known.last_successful {
                self.verify_last_successful.with_label_values(&labels).set(i64::from(successful));
            }
            for (storage, damaged) in &known.damaged {
                if known.last_successful.is_some() || *damaged > 0 {
                    let damaged = i64::try_from(*damaged).unwrap_or(i64::MAX);
                    self.verify_damaged.with_label_values(&[known.routine.as_str(), storage]).set(damaged);
                }
            }
        }
    }

    /// The text for a scrape; `running`, `restores` and `queued` are what is under way now.
    pub fn render(&self, running: &[RunningBackup], restores: i64, queued: i64) -> Result<String> {
        for gauge in [&self.backups_running, &self.backups_active] {
            gauge.reset();
        }
        self.progress_pct.reset();
        self.progress_ratio.reset();
        self.stalled.reset();
        for backup in running {
            let labels = [backup.routine.as_str(), backup.backup_type.as_str()];
            self.backups_running.with_label_values(&labels).inc();
            self.backups_active.with_label_values(&labels).inc();
            self.progress_pct.with_label_values(&labels).set(backup.progress_ratio * 100.0);
            self.progress_ratio.with_label_values(&labels).set(backup.progress_ratio);
            self.stalled.with_label_values(&labels).set(backup.stalled_seconds);
        }
        self.restores_running.set(restores);
        self.jobs_queued.set(queued);
        TextEncoder::new()
            .encode_to_string(&self.registry.gather())
            .map_err(|error| Error::temporary("metrics", "render the metrics").source(error))
    }
}

fn opts(name: MetricName) -> Opts {
    Opts::new(name.as_str(), name.help())
}

fn register<C>(registry: &Registry, collector: prometheus::Result<C>) -> Result<C>
where
    C: prometheus::core::Collector + Clone + 'static,
{
    let broken = |error| Error::permanent("metrics", "register a metric").source(error);
    let collector = collector.map_err(broken)?;
    registry.register(Box::new(collector.clone())).map_err(broken)?;
    Ok(collector)
}

fn verify_gauge(registry: &Registry, name: MetricName) -> Result<IntGaugeVec> {
    register(registry, IntGaugeVec::new(opts(name), &["routine"]))
}

fn gauge_by_routine(registry: &Registry, name: MetricName) -> Result<IntGaugeVec> {
    register(registry, IntGaugeVec::new(opts(name), BY_ROUTINE))
}

#[cfg(test)]
mod tests {
    use super::{MetricName, Metrics, Outcome, RoutineVerification, RunningBackup};
    use crate::model::{BackupType, UnixMillis};

    #[test]
    fn a_routine_shows_zeroes_before_its_first_run_and_its_success_after() {
        let metrics = Metrics::new().unwrap();
        metrics.add_routine("daily", BackupType::Full);
        let text = metrics.render(&[], 0, 0).unwrap();
        assert!(text.contains(
            "aerospike_backup_service_backup_events_total{outcome=\"success\",routine=\"daily\",type=\"full\"} 0"
        ));
        metrics.backup_event("daily", BackupType::Full, Outcome::Success);
        metrics.backup_succeeded("daily", BackupType::Full, UnixMillis(2_000_000));
        metrics.backup_succeeded("daily", BackupType::Full, UnixMillis(1_000_000));
        let text = metrics.render(&[], 0, 0).unwrap();
        assert!(text.contains(
            "aerospike_backup_service_last_successful_backup_timestamp{routine=\"daily\",type=\"full\"} 2000"
        ));
    }

    #[test]
    fn what_no_longer_runs_is_no_longer_shown() {
        let metrics = Metrics::new().unwrap();
        let running = RunningBackup {
            routine: "daily".to_owned(),
            backup_type: BackupType::Incremental,
            progress_ratio: 0.5,
            stalled_seconds: 7.0,
        };
        let text = metrics.render(&[running], 1, 2).unwrap();
        assert!(text.contains(
            "aerospike_backup_service_backup_progress_pct{routine=\"daily\",type=\"incremental\"} 50"
        ));
        assert!(text.contains("backup_stalled_seconds{routine=\"daily\",type=\"incremental\"} 7"));
        let text = metrics.render(&[], 0, 0).unwrap();
        assert!(!text.contains("backup_progress_pct{"), "{text}");
    }

    #[test]
    fn a_routine_that_was_never_verified_shows_nothing_of_it() {
        let metrics = Metrics::new().unwrap();
        let known = |damaged, last_successful: Option<bool>| RoutineVerification {
            routine: "daily".to_owned(),
            last_success: last_successful.map(|_| UnixMillis(3_000_000)),
            last_successful,
            damaged: vec![("disk".to_owned(), damaged), ("vault".to_owned(), 0)],
        };
        metrics.verifications(&[known(0, None)]);
        assert!(!metrics.render(&[], 0, 0).unwrap().contains("verify_"));
        metrics.verifications(&[known(2, Some(false))]);
        let text = metrics.render(&[], 0, 0).unwrap();
        for line in [
            "verify_last_success_timestamp_seconds{routine=\"daily\"} 3000",
            "verify_last_successful{routine=\"daily\"} 0",
            "verify_damaged_backups{routine=\"daily\",storage=\"disk\"} 2",
            "verify_damaged_backups{routine=\"daily\",storage=\"vault\"} 0",
        ] {
            assert!(text.contains(line), "{line} is not in {text}");
        }
        metrics.verifications(&[]);
        assert!(!metrics.render(&[], 0, 0).unwrap().contains("verify_"), "the routine is gone");
    }

    #[test]
    fn dashboards_and_alerts_use_only_names_that_exist() {
        let known: Vec<&str> = MetricName::ALL.iter().map(|name| name.as_str()).collect();
        for file in ["deploy/grafana/dashboards/holdfast.json", "deploy/prometheus/alerts.yml"] {
            let text = std::fs::read_to_string(file).unwrap();
            let used: Vec<&str> = text
                .split(|c: char| !(c.is_ascii_alphanumeric() || c == '_'))
                .filter(|word| word.starts_with("aerospike_backup_service_"))
                .collect();
            assert!(!used.is_empty(), "{file} uses no metric of ours");
            for name in used {
                let base = ["_bucket", "_sum", "_count"]
                    .iter()
                    .find_map(|suffix| name.strip_suffix(suffix))
                    .unwrap_or(name);
                assert!(known.contains(&name) || known.contains(&base), "{file}: {name}");
            }
        }
    }
}
