//! Who claims which partition, put together from what each node says.

use std::sync::Arc;

use crate::aerospike::node::Node;
use crate::aerospike::wire::Malformed;
use crate::model::partitions::PARTITION_COUNT;

/// Bytes of a bitmap with one bit per partition.
const BITMAP_BYTES: usize = PARTITION_COUNT as usize / 8;

/// Collects who claims what.
pub(super) struct Claims {
    pub(super) owners: Vec<Option<Arc<Node>>>,
    regimes: Vec<u32>,
    pub(super) namespace_seen: bool,
}

impl Claims {
    pub(super) fn new() -> Self {
        let count = usize::from(PARTITION_COUNT);
        Self { owners: vec![None; count], regimes: vec![0; count], namespace_seen: false }
    }

    /// Takes the claims of `node`. If two nodes claim a partition while it moves, the later regime counts.
    pub(super) fn claim(
        &mut self,
        node: &Arc<Node>,
        replicas: &[u8],
        namespace: &[u8],
    ) -> Result<(), Malformed> {
        let Some((regime, bitmap)) = masters(replicas, namespace)? else { return Ok(()) };
        let bits = bitmap.iter().flat_map(|byte| (0..8).map(move |bit| byte & (0x80 >> bit) != 0));
        for ((owned, owner), known) in bits.zip(&mut self.owners).zip(&mut self.regimes) {
            if owned && (owner.is_none() || regime >= *known) {
                *owner = Some(node.clone());
                *known = regime;
            }
        }
        self.namespace_seen = true;
        Ok(())
    }
}

/// The regime and the bitmap of the partitions of which a node says that it is the master: `ns:regime,n,bitmap,…;…`, the
/// first bitmap being the master's. `None`: it says nothing of this namespace.
pub(in crate::aerospike) fn masters(
    replicas: &[u8],
    namespace: &[u8],
) -> Result<Option<(u32, Vec<u8>)>, Malformed> {
    const MALFORMED: Malformed = Malformed { what: "partition map" };
    let entry = replicas
        .split(|byte| *byte == b';')
        .find_map(|entry| entry.strip_prefix(namespace).and_then(|rest| rest.strip_prefix(b":")));
    let Some(entry) = entry else { return Ok(None) };
    let mut words = entry.split(|byte| *byte == b',');
    let regime = words.next().and_then(|word| std::str::from_utf8(word).ok()?.parse::<u32>().ok());
    let regime = regime.ok_or(MALFORMED)?;
    let bitmap = words.nth(1).ok_or(MALFORMED)?;
    let bitmap = base64_simd::STANDARD.decode_to_vec(bitmap).map_err(|_| MALFORMED)?;
    if bitmap.len() == BITMAP_BYTES { Ok(Some((regime, bitmap))) } else { Err(MALFORMED) }
}
