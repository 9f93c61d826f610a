//! Secondary indexes at the end of a restore (rules.md 4.9).

use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::aerospike::{Cluster, Created};
use crate::asb::IndexDef;
use crate::error::{Error, Result};
use crate::tasks::unless_canceled;

/// How often a dropped index is looked for until it is gone; a second lies between two looks.
const GONE_LOOKS: u32 = 10;

/// Creates the indexes that do not exist; gives how many were created.
///
/// Errors: `index-differs` if one of that name has another definition and `replace` is not given; `index-not-gone`.
pub async fn create(
    cluster: &Cluster,
    indexes: &[IndexDef],
    replace: bool,
    cancel: &CancellationToken,
) -> Result<u64> {
    unless_canceled(cancel, create_all(cluster, indexes, replace)).await
}

async fn create_all(cluster: &Cluster, indexes: &[IndexDef], replace: bool) -> Result<u64> {
    let mut created = 0;
    for index in indexes {
        match known(cluster, index).await? {
            Some(known) if same_definition(&known, index) => continue,
            Some(_) if replace => drop_whole(cluster, index).await?,
            Some(_) => return Err(differs(index)),
            None => {}
        }
        match cluster.create_index(index).await? {
            Created::Created => created += 1,
            // Somebody else was faster, or it has another name there.
            Created::Exists => match known(cluster, index).await? {
                Some(known) if same_definition(&known, index) => {}
                _ => return Err(differs(index)),
            },
        }
    }
    Ok(created)
}

/// What the cluster has under the name of an index.
async fn known(cluster: &Cluster, index: &IndexDef) -> Result<Option<IndexDef>> {
    let indexes = cluster.list_indexes(&String::from_utf8_lossy(&index.namespace)).await?.indexes;
    Ok(indexes.into_iter().find(|known| known.name == index.name))
}

/// Drops an index and waits until it is gone: until then the cluster refuses another one of its name.
async fn drop_whole(cluster: &Cluster, index: &IndexDef) -> Result<()> {
    cluster.drop_index(&index.namespace, &index.name).await?;
    for _ in 0..GONE_LOOKS {
        if known(cluster, index).await?.is_none() {
            return Ok(());
        }
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    let name = String::from_utf8_lossy(&index.name);
    Err(Error::temporary("index-not-gone", format!("index {name} was dropped and is still there"))
        .hint("Restore the indexes again later. The records are restored."))
}

fn differs(index: &IndexDef) -> Error {
    let (namespace, name) = (String::from_utf8_lossy(&index.namespace), String::from_utf8_lossy(&index.name));
    Error::permanent(
        "index-differs",
        format!(
            "namespace {namespace} has an index {name} with another definition, or its definition by another name"
        ),
    )
    .hint("Drop it, or restore with replace-metadata: true. The records are restored.")
}

/// Whether two indexes are the same; the bin of an expression index says nothing (asb.md 1.5).
fn same_definition(a: &IndexDef, b: &IndexDef) -> bool {
    let bins = a.bin == b.bin || a.expression.is_some();
    let target = (&a.set, a.index_type, a.data_type) == (&b.set, b.index_type, b.data_type);
    target && bins && a.context == b.context && a.expression == b.expression
}
