//! Secondary indexes at the end of a restore (rules.md 4.9).

use tokio_util::sync::CancellationToken;

use crate::aerospike::Cluster;
use crate::asb::IndexDef;
use crate::error::{Error, Result};

/// Creates the indexes that do not exist; gives how many were created.
///
/// Errors: `index-differs` if one of that name has another definition and `replace` is not given.
pub async fn create(
    cluster: &Cluster,
    indexes: &[IndexDef],
    replace: bool,
    cancel: &CancellationToken,
) -> Result<u64> {
    let mut created = 0;
    for index in indexes {
        if cancel.is_cancelled() {
            return Err(Error::temporary("canceled", "the restore was canceled"));
        }
        let namespace = String::from_utf8_lossy(&index.namespace).into_owned();
        let known = cluster.list_indexes(&namespace).await?.indexes;
        match known.iter().find(|known| known.name == index.name) {
            Some(known) if same_definition(known, index) => continue,
            Some(_) if replace => cluster.drop_index(&index.namespace, &index.name).await?,
            Some(_) => {
                let name = String::from_utf8_lossy(&index.name);
                return Err(Error::permanent(
                    "index-differs",
                    format!("namespace {namespace} has an index {name} with another definition"),
                )
                .hint("Drop it, or restore with replace-metadata: true. The records are restored."));
            }
            None => {}
        }
        cluster.create_index(index).await?;
        created += 1;
    }
    Ok(created)
}

/// Whether two indexes are the same; the bin of an expression index says nothing (asb.md 1.5).
fn same_definition(a: &IndexDef, b: &IndexDef) -> bool {
    let bins = a.bin == b.bin || a.expression.is_some();
    let target = (&a.set, a.index_type, a.data_type) == (&b.set, b.index_type, b.data_type);
    target && bins && a.context == b.context && a.expression == b.expression
}
