//! What is kept where the backups are copied to.

use futures_util::FutureExt;

use super::*;
use crate::config::{CopyConfig, CopyOn, StorageConfig, StoragePlace};
use crate::error::Error;
use crate::retention::{CopiesView, view_all};

/// The configuration of another storage.
pub(super) fn place(bench: &Bench, name: &str) -> StorageConfig {
    let path = bench.dir.path().join(name);
    let place = StoragePlace::Local { path, part_bytes: 8 << 20 };
    StorageConfig { name: Some(name.to_owned()), place }
}

impl Bench {
    /// As the service looks: the storages by their names, of which `absent` does not answer.
    async fn view_all(&self, vault: &Faulty) -> View {
        let open = |config: StorageConfig| {
            let storage = match config.name.as_deref() {
                Some("s") => Ok(Arc::new(self.storage.clone()) as Arc<dyn Storage>),
                Some("vault") => Ok(Arc::new(vault.clone()) as Arc<dyn Storage>),
                _ => Err(Error::temporary("storage-unavailable", "not mounted").hint("Mount it.")),
            };
            async move { storage }.boxed()
        };
        view_all(self.store(), &self.config, open, self.clock.now_ms()).await.unwrap()
    }
}

fn stays(view: &CopiesView) -> BTreeSet<String> {
    let backups = view.namespaces.iter().flat_map(|one| &one.backups);
    backups.filter(|one| one.stays).map(|one| one.key.clone()).collect()
}

#[tokio::test]
async fn each_copy_is_told_by_its_own_rule_and_its_job_does_what_was_said() {
    let mut bench = Bench::new(keeps(2, None)).await;
    let vault = bench.vault.clone();
    let all = three(&bench.storage).await;
    three(&vault).await;
    let copy = |name: &str, retention| CopyConfig {
        storage: place(&bench, name),
        retention,
        on: CopyOn::All,
        verify: true,
    };
    bench.config.copies =
        vec![copy("vault", Some(keeps(1, Some(0)))), copy("absent", None), copy("vault", None)];
    let alone = bench.view().await;
    let said = bench.view_all(&vault).await;
    assert_eq!(
        View { copies: Vec::new(), ..said.clone() },
        alone,
        "the routine's own storage is told as before"
    );
    assert_eq!((said.totals.stays, said.totals.goes), (4, 2));

    let [pruned, absent, kept] = said.copies.as_slice() else { panic!("{:?}", said.copies) };
    assert_eq!(
        pruned.says,
        "keeps the newest full of each namespace, and removes the incrementals after each full"
    );
    assert_eq!((pruned.totals.stays, pruned.totals.goes), (1, 5), "{pruned:?}");
    assert_eq!(stays(pruned), keys_of(&[&all[4]]));
    let last = &pruned.namespaces[0].backups[5];
    assert_eq!((last.stays, last.why), (false, "old-incremental"));
    assert_eq!((absent.problems[0].code, absent.problems[0].backup.as_str()), ("storage-unavailable", ""));
    assert_eq!((kept.says.as_str(), kept.totals.stays, kept.totals.goes), ("keeps everything", 6, 0));

    // What is pinned in one storage is free in the other, and a job there deletes what was said and nothing else.
    let said = stays(pruned);
    bench.pin(&[bench.at(&all[0].folder())]).await;
    let job = bench.admit_with(&bench.config.in_storage("vault").unwrap(), None).await;
    bench.settle().await;
    let job = bench.store().job(job).await.unwrap().unwrap();
    assert_eq!(job.status, JobStatus::Succeeded, "{:?}", job.error);
    assert_eq!((keys_in(&vault).await, bench.keys().await.len()), (said, all.len()));
}
