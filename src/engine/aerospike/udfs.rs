//! UDF modules at the end of a member, or of a whole restore (rules.md 4.9).

use crate::aerospike::Cluster;
use crate::asb::UdfDef;
use crate::error::Result;

/// Registers the modules that are not there with the same content; how many were registered, and a sentence about each
/// that had another content.
pub(super) async fn register(cluster: &Cluster, udfs: &[UdfDef]) -> Result<(u64, Vec<String>)> {
    let (mut registered, mut warnings) = (0, Vec::new());
    for udf in udfs {
        if put(cluster, udf, &mut warnings).await? {
            registered += 1;
        }
    }
    Ok((registered, warnings))
}

/// Registers a module unless it is there with the same content; whether it was registered.
async fn put(cluster: &Cluster, udf: &UdfDef, warnings: &mut Vec<String>) -> Result<bool> {
    let registered = cluster.list_udfs().await?.into_iter().any(|known| known.name == udf.name);
    if registered {
        if cluster.get_udf(&udf.name).await?.content == udf.content {
            return Ok(false);
        }
        warnings.push(format!(
            "UDF module {} had another content and was replaced",
            String::from_utf8_lossy(&udf.name)
        ));
    }
    cluster.put_udf(udf).await?;
    Ok(true)
}
