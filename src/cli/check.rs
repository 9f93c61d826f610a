//! `holdfast check`.

use std::fmt::Write as _;
use std::path::Path;
use std::sync::Arc;

use chrono::SecondsFormat;

use super::source::Source;
use crate::app::places::LOOK;
use crate::app::roots::ROOT_MARK;
use crate::clock::{Clock, SharedClock, SystemClock};
use crate::config::{
    Compression, Config, EncryptionMode, Policy, Routine, ServiceConfig, StorageConfig, StoragePlace,
};
use crate::engine::keys;
use crate::error::{Error, Result};
use crate::memory::plan::RECORD_BYTES;
use crate::memory::{Budget, Class, VerifyMemory, mib};
use crate::model::UnixMillis;
use crate::model::schedule::Schedule;
use crate::storage::{S3Storage, Storage as _};

/// How many fire times are shown of each schedule.
const FIRE_TIMES: usize = 5;

/// Prints every problem of a configuration; of a good one, what it will do.
pub async fn run(source: &Source) -> Result<()> {
    let now = SystemClock.now();
    let place = source.place().await?;
    let name = place.to_string();
    let read = match place.read().await {
        Ok(read) => read.and_then(|held| Config::parse(&held.text, &name, now)),
        // A file that cannot be opened is told as a problem of it.
        Err(_) if place.as_file().is_some() => Config::load(Path::new(&name), now),
        Err(error) => return Err(error),
    };
    match read {
        Ok(config) => {
            print!("{}", describe(&name, &config, now).await);
            Ok(())
        }
        Err(problems) => {
            println!("{problems}");
            let (count, noun) = (problems.len(), if problems.len() == 1 { "problem" } else { "problems" });
            Err(Error::permanent("config-invalid", format!("{name} has {count} {noun}")))
        }
    }
}

/// What a good configuration will do, and what it will not.
async fn describe(name: &str, config: &Config, now: UnixMillis) -> String {
    let service = config.service.clone().unwrap_or_default().resolve();
    let mut text = format!(
        "{name}: ok, {} clusters, {} storages, {} policies, {} routines\n",
        config.aerospike_clusters.len(),
        config.storage.len(),
        config.backup_policies.len(),
        config.backup_routines.len(),
    );
    let open = config.service.as_ref().is_some_and(|service| service.auth.is_some());
    let who = if open { "with authentication" } else { "without authentication" };
    let listeners = [
        ("http", (!service.http.disabled).then_some(&service.http)),
        ("https", service.https.as_ref().map(|https| &https.listener)),
    ];
    for (scheme, listener) in listeners {
        let Some(listener) = listener else { continue };
        let port = listener.port;
        match &listener.address {
            None if !open => line(&mut text, format_args!("{}", crate::service::loopback_note(port))),
            None => line(&mut text, format_args!("listens on 0.0.0.0:{port} ({scheme}), {who}")),
            Some(address) => line(&mut text, format_args!("listens on {address}:{port} ({scheme}), {who}")),
        }
    }
    describe_memory(&mut text, &service);
    for (name, cluster) in &config.aerospike_clusters {
        let user = cluster.credentials.as_ref().and_then(|given| given.user.as_ref());
        if user.is_some() && cluster.tls.is_none() {
            line(
                &mut text,
                format_args!(
                    "cluster {name}: without tls the password's hash, which lets anybody in, goes in clear"
                ),
            );
        }
    }
    describe_stores(&mut text, config).await;
    for (name, routine) in &config.backup_routines {
        text.push('\n');
        describe_routine(&mut text, config, name, routine, &service.backup.schedule_timezone, now).await;
    }
    text.push_str("\nlimits of incremental backups (they last until the next full):\n");
    for limit in LIMITS {
        line(&mut text, format_args!("  {limit}"));
    }
    text
}

/// How the byte budget is cut (rules.md 8.1).
fn describe_memory(text: &mut String, service: &ServiceConfig) {
    let budget = Budget::new(service.memory_budget);
    let verify = VerifyMemory::need();
    line(
        text,
        format_args!(
            "memory budget {}: {} are kept for a restore, {} are for backups and verifications",
            mib(budget.total()),
            mib(budget.kept()),
            mib(budget.most(Class::Other))
        ),
    );
    line(text, format_args!("  a verification wishes {}, needs {}", mib(verify.wish), mib(verify.least)));
}

/// What a backup of the routine holds, and how wide it is where nothing else runs.
fn describe_backup_memory(text: &mut String, config: &Config, routine: &Routine) {
    // What cannot be resolved was refused.
    let (Ok(policy), Ok(storage)) = (config.policy_of(routine), config.storage(&routine.storage)) else {
        return;
    };
    let memory = policy.memory(&storage);
    line(text, format_args!("  memory: a backup {}", memory.describe()));
    let budget = Budget::new(config.service().memory_budget);
    let Some(share) = memory.need().of(budget.most(Class::Other)) else { return };
    let widths = memory.widths(share, 1, RECORD_BYTES);
    if let Some(lowered) = memory.lowered(&widths, share, 1) {
        line(text, format_args!("    WARNING: also where nothing else runs, {lowered}"));
    }
}

/// What no incremental can see (rules.md 9).
const LIMITS: [&str; 3] = [
    "deleted records are not seen: a restore of the chain brings them back",
    "records that arrive with old stamps (cross-datacenter replication, a healed split) wait for the next full",
    "the persisted-index flag of maps is not on the wire and is lost",
];

async fn describe_routine(
    text: &mut String,
    config: &Config,
    name: &str,
    routine: &Routine,
    service_zone: &str,
    now: UnixMillis,
) {
    let disabled = routine.disabled == Some(true);
    line(text, format_args!("routine {name}{}", if disabled { " (disabled: nothing fires)" } else { "" }));
    match routine.schedule(service_zone, now) {
        Ok(schedule) => {
            fire_times(text, "full", &schedule.full, now);
            match &schedule.incremental {
                Some(incremental) => fire_times(text, "incremental", incremental, now),
                None => line(text, format_args!("  incremental: only on demand")),
            }
            match &schedule.verify {
                Some(verify) => fire_times(text, "verify", verify, now),
                None => line(text, format_args!("  verify: only on demand")),
            }
        }
        Err(error) => line(text, format_args!("  no schedule: {error}")),
    }
    let policy = routine.backup_policy.as_ref().and_then(|name| config.backup_policies.get(name));
    if let Some(policy) = policy {
        describe_files(text, policy, config, routine).await;
    }
    describe_backup_memory(text, config, routine);
    if policy.is_some_and(|policy| policy.verify_after == Some(true)) {
        line(text, format_args!("  each backup is verified after it"));
    }
    if policy.is_some_and(|policy| policy.sealed == Some(true)) {
        line(
            text,
            format_args!(
                "  sealed: a record written while a backup scans is missing from it, its old version too, and one \
                 that is written more often than a scan takes is in no backup at all"
            ),
        );
    }
    let some = [
        ("bin-list", routine.bin_list.as_ref().is_some_and(|bins| !bins.is_empty())),
        ("filter-exp", routine.filter_exp.is_some()),
        ("no-ttl-only", policy.is_some_and(|policy| policy.no_ttl_only == Some(true))),
    ];
    for (key, _) in some.into_iter().filter(|(_, given)| *given) {
        line(
            text,
            format_args!(
                "  {key}: no incremental sees that a record left what is saved; what was saved of it comes back from a \
                 restore until the next full"
            ),
        );
    }
    let retention =
        policy.and_then(|policy| policy.retention.as_ref()).and_then(crate::config::Retention::resolve);
    match retention {
        Some(retention) => {
            line(text, format_args!("  retention: {retention}; what is needed to restore them stays"));
        }
        None => line(text, format_args!("  retention: none, nothing is ever deleted")),
    }
    let local = config.storage.get(&routine.storage).and_then(|storage| storage.local_storage.as_ref());
    if let Some(local) = local.filter(|local| !Path::new(&local.path).is_absolute()) {
        line(
            text,
            format_args!(
                "  storage {}: {} is relative to where the service starts",
                routine.storage, local.path
            ),
        );
    }
}

/// Whether the object stores answer here and now, and what of their options has a price later.
async fn describe_stores(text: &mut String, config: &Config) {
    for name in config.storage.keys() {
        let Ok(StorageConfig { place: StoragePlace::S3(s3), .. }) = config.storage(name) else { continue };
        line(text, format_args!("storage {name}: {}", s3.place()));
        let clock: SharedClock = Arc::new(SystemClock);
        let looked = async { S3Storage::open(&s3, &config.keeper(), &clock).await?.head(ROOT_MARK).await };
        match tokio::time::timeout(LOOK, looked).await {
            Ok(Ok(_)) => line(text, format_args!("  it answers")),
            Ok(Err(error)) => line(text, format_args!("  WRONG, as seen from here: {}", error.report())),
            Err(_) => line(
                text,
                format_args!("  it does not answer within {} s, as seen from here", LOOK.as_secs()),
            ),
        }
        if let Some(class) = s3.class.data.filter(|class| class.is_archive()) {
            line(
                text,
                format_args!(
                    "  data files go to {}: they must be thawed before a restore or a verification",
                    class.word()
                ),
            );
        }
        if let Some(lock) = s3.lock {
            line(
                text,
                format_args!(
                    "  objects are locked for {} days: what retention deletes takes room until then, and until a \
                     lifecycle rule removes it",
                    lock.days
                ),
            );
        }
    }
}

/// How a policy's files are compressed and encrypted, and whether their key can be read here and now.
async fn describe_files(text: &mut String, policy: &Policy, config: &Config, routine: &Routine) {
    if let Compression::Zstd { level } = policy.compression.unwrap_or_default().resolve() {
        line(text, format_args!("  compression: ZSTD, level {level}"));
    }
    // What cannot be resolved was refused.
    let resolved = config.policy_of(routine).ok();
    let Some(encryption) = resolved.and_then(|policy| policy.encryption) else { return };
    let (mode, field) = (encryption.mode.word(), encryption.key.field());
    line(text, format_args!("  encryption: {mode}, by {field}; the manifest is sealed with the key"));
    if encryption.mode == EncryptionMode::Aes256Gcm {
        line(text, format_args!("    {mode} is not readable by the official tools: docs/file-encryption.md"));
    }
    match keys::load(&encryption.key).await.and_then(|key| keys::writable(key, &encryption.key)) {
        Ok(key) => line(text, format_args!("    key {}", key.id())),
        Err(error) => line(text, format_args!("    WRONG, as seen from here: {}", error.report())),
    }
}

fn fire_times(text: &mut String, kind: &str, schedule: &Schedule, now: UnixMillis) {
    line(text, format_args!("  {kind}: {} ({})", schedule.cron().text(), schedule.zone()));
    for at in schedule.next_n(now, FIRE_TIMES) {
        let local = at.to_utc().with_timezone(&schedule.zone());
        line(text, format_args!("    {}", local.to_rfc3339_opts(SecondsFormat::Secs, true)));
    }
}

fn line(text: &mut String, line: std::fmt::Arguments<'_>) {
    let _ = writeln!(text, "{line}"); // writing to a String cannot fail
}

#[cfg(test)]
mod tests {
    use super::describe;
    use crate::config::Config;
    use crate::model::UnixMillis;

    /// rules.md 8.1
    #[tokio::test]
    async fn the_sums_of_memory_are_printed_and_what_they_lower() {
        let now = UnixMillis::from_secs(1_800_000_000);
        let told = async |service: &str, policy: &str| {
            let text = format!(
                "{{service: {{{service}}}, aerospike-clusters: {{c: {{seed-nodes: [{{host-name: h, port: 1}}]}}}},
                  storage: {{s: {{local-storage: {{path: /b}}}}}}, backup-policies: {{p: {{{policy}}}}},
                  backup-routines: {{r: {{source-cluster: c, storage: s, interval-cron: '@daily', namespaces: [],
                    backup-policy: p}}}}}}"
            );
            describe("f", &Config::parse(&text, "test", now).unwrap(), now).await
        };
        let default = told("", "").await;
        for line in [
            "memory budget 128 MiB: 40 MiB are kept for a restore, 88 MiB are for backups and verifications\n",
            "  a verification wishes 24 MiB, needs 13 MiB\n",
            "  memory: a backup wishes 72 MiB (8 scans of 3 MiB, 8 files of 6 MiB), needs 16 MiB (10 MiB + 6 MiB)\n",
        ] {
            assert!(default.contains(line), "{default}");
        }
        assert!(!default.contains("WARNING"), "{default}");
        let lowered = told("memory-budget: 67108864", "parallel-write: 4").await;
        for line in [
            "memory budget 64 MiB: 40 MiB are kept for a restore, 24 MiB are for backups and verifications\n",
            "wishes 48 MiB (8 scans of 3 MiB, 4 files of 6 MiB), needs 16 MiB",
            "    WARNING: also where nothing else runs, with 24 MiB of the memory budget: 2 files instead of 4 \
             (parallel-write), 4 scans instead of 8 (parallel)\n",
        ] {
            assert!(lowered.contains(line), "{lowered}");
        }
    }

    /// rules.md 4.5
    #[tokio::test]
    async fn what_no_incremental_can_see_is_said_of_each_filter() {
        let now = UnixMillis::from_secs(1_800_000_000);
        let told = async |more: &str| {
            let text = format!(
                "{{aerospike-clusters: {{c: {{seed-nodes: [{{host-name: h, port: 1}}]}}}},
                  storage: {{s: {{local-storage: {{path: /b}}}}}},
                  backup-policies: {{p: {{no-ttl-only: {}}}}},
                  backup-routines: {{r: {{source-cluster: c, storage: s, interval-cron: '@daily', namespaces: [],
                    backup-policy: p {more}}}}}}}",
                more.is_empty()
            );
            describe("f", &Config::parse(&text, "test", now).unwrap(), now).await
        };
        for (more, key) in [
            (", bin-list: [a]", "bin-list"),
            (", filter-exp: kwOTUQKjYWdlGQ==", "filter-exp"),
            ("", "no-ttl-only"),
        ] {
            let told = told(more).await;
            assert!(told.contains(&format!("  {key}: no incremental sees")), "{told}");
            assert_eq!(told.matches("no incremental sees").count(), 1);
        }
    }
}
