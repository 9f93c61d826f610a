//! One namespace of a restore: look at the destination, verify, write member after member, create the indexes.

use std::path::PathBuf;
use std::sync::Arc;

use tokio::sync::Semaphore;

use super::elsewhere;
use super::plan::{MemberPlan, NamespaceRestore, Way};
use super::safety::not_confirmed;
use crate::asb::{IndexDef, UdfDef};
use crate::config::{RestoreConfig, VerifyFirst};
use crate::engine::aerospike::inspect::Held;
use crate::engine::copies::Copies;
use crate::engine::pace::Pace;
use crate::engine::{
    ClusterFacts, Destination, MemberReport, MemberWrite, RestoreCounters, SharedCounters, Watch,
};
use crate::error::{Error, Result};
use crate::jobs::JobContext;
use crate::memory::{InFlight, RestoreWidths};
use crate::model::hex;
use crate::model::restore_order::Remembered;
use crate::storage::Storage;
use crate::store::DigestTable;
use crate::tasks::unless_canceled;
use crate::verify::contents::{Contents, Expected, check};

/// What every namespace of a restore shares.
pub(super) struct Restore {
    pub config: RestoreConfig,
    pub context: JobContext,
    pub storage: Arc<dyn Storage>,
    /// The other storages that have the same backups.
    pub copies: Option<Arc<Copies>>,
    pub destination: Arc<dyn Destination>,
    /// What its nodes said of themselves.
    pub facts: ClusterFacts,
    /// Where tables of digests may be made.
    pub state_dir: PathBuf,
    /// How many namespaces go side by side, and what each may read at once and have on its way: the policy counts files per
    /// restore, and the job's share of memory bounds them (rules.md 8.1).
    pub widths: RestoreWidths,
    /// One permit for each namespace that may hold data at once.
    pub turns: Semaphore,
    /// Most batches under way at once in one namespace: the policy counts them per restore.
    pub batches_max: usize,
    /// Most records written in a second, over all namespaces.
    pub records_pace: Option<Arc<Pace>>,
    pub watch: Arc<dyn Watch>,
}

/// What was done to one namespace, also when it failed.
#[derive(Debug, Default)]
pub(super) struct Done {
    pub counters: RestoreCounters,
    pub way: Option<Way>,
    pub error: Option<Error>,
}

impl Restore {
    /// Restores one namespace; an error is in the answer, beside what had been done by then.
    pub(super) async fn namespace(&self, plan: &NamespaceRestore) -> Done {
        let mut done = Done::default();
        if let Err(error) = self.try_namespace(plan, &mut done).await {
            done.error = Some(error.context(format!("namespace {}", plan.source)));
        }
        self.context.progress.done_with(&plan.destination);
        done
    }

    async fn try_namespace(&self, plan: &NamespaceRestore, done: &mut Done) -> Result<()> {
        let cancel = &self.context.cancel;
        let doing = |what: &str| self.context.progress.doing(&plan.destination, what);
        doing("waiting until the memory of another namespace is free");
        let turn =
            async { Ok(self.turns.acquire().await.expect("invariant: the semaphore is never closed")) };
        let _turn = unless_canceled(cancel, turn).await?;
        let in_flight = self.context.memory.room_in_flight(self.widths.in_flight);
        doing("looking for records in the destination");
        let mut way = unless_canceled(cancel, self.choose_way(plan)).await?;
        // Where nothing is written, one reading is as good as two.
        way.verify_first &= !self.config.care.validate;
        done.way = Some(way);
        if way.verify_first {
            doing("verifying the backups");
            unless_canceled(cancel, self.verify(plan)).await?;
        }
        let digests = unless_canceled(cancel, self.digest_table(plan, &way)).await?;
        if let (true, Some(table)) = (way.order.collecting_pass, &digests) {
            for place in (0..plan.members.len()).rev() {
                let write = self.member_write(plan, place, way, false, &in_flight);
                let (storage, table) = (Arc::clone(&self.storage), Arc::clone(table));
                let collected = self.destination.collect_hidden(&write, storage, table, cancel);
                unless_canceled(cancel, collected).await?;
            }
        }
        let (mut indexes, mut udfs): (Vec<IndexDef>, Vec<UdfDef>) = (Vec::new(), Vec::new());
        for (applied, place) in way.places(plan.members.len()).into_iter().enumerate() {
            let Some(member) = plan.members.get(place) else { continue };
            doing(&format!(
                "{} backup {}",
                if self.config.care.validate { "checking" } else { "writing" },
                member.key
            ));
            let write = self.member_write(plan, place, way, applied == 0, &in_flight);
            let report = self.write(&write, digests.clone(), done).await;
            let report = report.and_then(|report| {
                check_count(member, report.counters.read_records)?;
                Ok(report)
            });
            let report = report.map_err(|error| {
                elsewhere::name_copies(self.copies.as_deref(), member, error)
                    .context(format!("backup {}", member.key))
            })?;
            for warning in report.warnings {
                self.context.warn("metadata", warning);
            }
            indexes.extend(report.indexes);
            udfs.extend(report.udfs);
            if !self.config.care.apply_metadata_last {
                self.register_udfs(&std::mem::take(&mut udfs), done).await?;
            }
        }
        self.register_udfs(&udfs, done).await?;
        self.create_indexes(plan, &indexes, done).await?;
        if done.counters.fresher_records > 0 {
            self.context.warn(
                "fresher",
                format!(
                    "namespace {}: {} records are fresher in the destination and stay; no-generation overwrites them",
                    plan.destination, done.counters.fresher_records
                ),
            );
        }
        Ok(())
    }

    /// Registers UDF modules; where nothing is written they are only counted.
    async fn register_udfs(&self, udfs: &[UdfDef], done: &mut Done) -> Result<()> {
        if self.config.care.validate {
            done.counters.udf_count += udfs.len() as u64;
            return Ok(());
        }
        if udfs.is_empty() {
            return Ok(());
        }
        let (registered, warnings) = self.destination.register_udfs(udfs, &self.context.cancel).await?;
        done.counters.udf_count += registered;
        for warning in warnings {
            self.context.warn("metadata", warning);
        }
        Ok(())
    }

    /// Creates the indexes; where nothing is written they are only counted.
    async fn create_indexes(
        &self,
        plan: &NamespaceRestore,
        indexes: &[IndexDef],
        done: &mut Done,
    ) -> Result<()> {
        if self.config.care.validate {
            done.counters.index_count += indexes.len() as u64;
            return Ok(());
        }
        let cancel = &self.context.cancel;
        self.context.progress.doing(&plan.destination, "creating the indexes");
        let created = self.destination.create_indexes(indexes, self.config.care.replace_metadata, cancel);
        done.counters.index_count += unless_canceled(cancel, created).await?;
        Ok(())
    }

    /// Writes one member; what it did is counted also when it fails.
    async fn write(
        &self,
        write: &MemberWrite,
        digests: Option<Arc<DigestTable>>,
        done: &mut Done,
    ) -> Result<MemberReport> {
        let counters = SharedCounters::default();
        let (storage, watch) = (Arc::clone(&self.storage), Arc::clone(&self.watch));
        let cancel = &self.context.cancel;
        let report = self.destination.write(write, storage, digests, watch, &counters, cancel).await;
        done.counters.add(&counters.get());
        report
    }

    async fn choose_way(&self, plan: &NamespaceRestore) -> Result<Way> {
        let sets = &self.config.policy.sets;
        let choose = |empty| Way::choose(&self.config, empty);
        // What the first attempt wrote must not make another order of this one (rules.md 2.5).
        if let Some(empty) = self.context.found_empty(&plan.destination).await? {
            let way = choose(empty)?;
            // By now something may be there, so that damage must be known before more is written (4.2).
            let verify_first = way.verify_first || self.config.care.verify_first == VerifyFirst::Auto;
            return Ok(Way { verify_first, ..way });
        }
        let empty = self.destination.is_empty(&plan.destination, sets, &self.context.cancel).await?;
        if self.config.unconfirmed && !empty {
            // Since all were looked at, somebody has written to it.
            let objects = self.facts.namespace(&plan.destination).map_or(0, |known| known.objects);
            return Err(not_confirmed(&plan.destination, objects));
        }
        self.context.note_found_empty(&plan.destination, empty).await?;
        choose(empty)
    }

    /// Reads everything before the first write (rules.md 4.2).
    async fn verify(&self, plan: &NamespaceRestore) -> Result<()> {
        for member in &plan.members {
            let Contents { files, expected, .. } = &member.contents;
            let (cancel, readers) = (&self.context.cancel, self.widths.readers);
            let mut asked = Vec::new();
            while let Err(error) =
                check(&self.storage, &member.key, files, expected, readers, None, cancel).await
            {
                elsewhere::next(self.copies.as_deref(), &self.storage, member, &mut asked, error).await?;
            }
        }
        Ok(())
    }

    async fn digest_table(&self, plan: &NamespaceRestore, way: &Way) -> Result<Option<Arc<DigestTable>>> {
        // One member has nothing older to hide, and its digests come once.
        let needed = way.order.remembered == Remembered::All || plan.members.len() > 1;
        if !needed {
            return Ok(None);
        }
        let name = format!("{}-{}", self.context.job.id, hex(plan.destination.as_bytes()));
        Ok(Some(Arc::new(DigestTable::create(&self.state_dir, &name).await?)))
    }

    fn member_write(
        &self,
        plan: &NamespaceRestore,
        place: usize,
        way: Way,
        first_applied: bool,
        in_flight: &Arc<InFlight>,
    ) -> MemberWrite {
        let policy = &self.config.policy;
        MemberWrite {
            files: plan.members.get(place).map(|member| member.contents.files.clone()).unwrap_or_default(),
            position: u32::try_from(place).unwrap_or(u32::MAX),
            source_namespace: plan.source.clone(),
            namespace: plan.destination.clone(),
            sets: policy.sets.clone(),
            bins: policy.bins.clone(),
            exists: way.order.exists,
            generation_check: way.order.check_generation,
            each_digest_once: way.each_digest_once(),
            first_applied,
            no_records: policy.no_records,
            no_indexes: policy.no_indexes,
            no_udfs: policy.no_udfs,
            extra_ttl_s: policy.extra_ttl_s,
            ignore_record_error: policy.ignore_record_error,
            singly: policy.disable_batch_writes,
            validate: self.config.care.validate,
            records_pace: self.records_pace.clone(),
            parallel: self.widths.readers,
            batch_size: policy.batch_size as usize,
            max_async_batches: self.batches_max,
            in_flight: Arc::clone(in_flight),
            retry: policy.retry.into(),
            socket_timeout_ms: policy.socket_timeout_ms,
            total_timeout_ms: policy.total_timeout_ms,
        }
    }
}

/// Without a manifest, the number of records is all that tells whether a backup is complete (rules.md 4.2).
fn check_count(member: &MemberPlan, records: u64) -> Result<()> {
    let expected = Expected { records: member.contents.expected.records, ..Expected::default() };
    expected.check(&member.key, &Held { records, ..Held::default() })
}
