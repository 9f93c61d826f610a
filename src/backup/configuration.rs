//! The configuration of the source's nodes beside a full (`with-cluster-configuration`).

use bytes::Bytes;

use super::namespace::NamespaceEnd;
use super::plan::RunPlan;
use super::run::Run;
use crate::error::Result;
use crate::model::BackupType;

impl Run {
    /// Stores what each node says of its configuration, once a full has committed: `configuration/aerospike_<i>.conf`
    /// (abs.md 3). The records do not depend on it, so a failure is a warning.
    pub(super) async fn store_configuration(&self, plan: &RunPlan, ends: &[NamespaceEnd]) {
        let mut all = plan.namespaces.iter().zip(ends);
        let full_committed = all.any(|(plan, end)| {
            plan.action.backup_type() == Some(BackupType::Full)
                && matches!(end, NamespaceEnd::Committed { .. })
        });
        if !self.config.policy.with_cluster_configuration || !full_committed {
            return;
        }
        self.context.progress.doing("", "storing the configuration of the nodes");
        if let Err(error) = self.write_configuration().await {
            let text = format!("the configuration of the cluster was not stored: {}", error.report());
            self.context.warn("configuration", text);
        }
    }

    async fn write_configuration(&self) -> Result<()> {
        let texts = self.source.configuration().await?;
        self.check_owner().await?;
        let folder = self.folder(BackupType::Full)?;
        for (place, text) in texts.into_iter().enumerate() {
            self.storage.put(&folder.configuration_file(place), Bytes::from(text)).await?;
        }
        Ok(())
    }
}
