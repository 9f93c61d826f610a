//! Info about namespaces and sets, and truncation. Set names are bytes.

use std::sync::atomic::Ordering;

use super::{MISSING_NAMESPACE, NO_NAMESPACE};
use crate::model::UnixMillis;
use crate::sandbox::node::Node;
use crate::sandbox::store::{Cut, Namespace, Set, since_2010_ms};

pub(super) fn answer(node: &Node, name: &str, arguments: &[u8]) -> Option<Vec<u8>> {
    Some(match name {
        "namespaces" => {
            let names: Vec<_> = node.store.namespaces.iter().map(|space| space.name.as_str()).collect();
            names.join(";").into_bytes()
        }
        "namespace" => match node.store.namespace(arguments) {
            Some(space) => namespace(node, space).into_bytes(),
            None => b"type=unknown".to_vec(),
        },
        "sets" => sets(node, arguments),
        "truncate" => truncate(node, arguments, true).into(),
        "truncate-namespace" => truncate(node, arguments, false).into(),
        _ => return None,
    })
}

/// The commands in which a set name may be other than UTF-8.
pub(super) fn bytes_command(node: &Node, line: &[u8]) -> Option<Vec<u8>> {
    if let Some(path) = line.strip_prefix(b"sets/") {
        return answer(node, "sets", path);
    }
    answer(node, "truncate", line.strip_prefix(b"truncate:")?)
}

fn namespace(node: &Node, space: &Namespace) -> String {
    let (objects, bytes) = (space.objects_of(node), space.bytes());
    format!(
        "ns_cluster_size={};effective_replication_factor=1;objects={objects};tombstones=0;\
         master_objects={objects};master_tombstones=0;prole_objects=0;prole_tombstones=0;\
         non_replica_objects=0;dead_partitions=0;unavailable_partitions=0;clock_skew_stop_writes=false;\
         stop_writes=false;hwm_breached=false;current_time={};truncate_lut={};truncating=false;\
         data_used_bytes={bytes};migrate_tx_partitions_remaining=0;migrate_rx_partitions_remaining=0;\
         replication-factor=1;default-ttl={};nsup-period=120;max-record-size={};storage-engine=memory",
        node.topology.size(),
        node.now_s(),
        space.truncate_ms.load(Ordering::Relaxed),
        node.default_ttl_s,
        node.max_record_bytes,
    )
}

/// `sets`, `sets/<ns>` and `sets/<ns>/<set>`.
fn sets(node: &Node, path: &[u8]) -> Vec<u8> {
    let mut parts = path.splitn(2, |byte| *byte == b'/');
    let namespace = parts.next().unwrap_or_default();
    let one = parts.next();
    let mut text = Vec::new();
    if namespace.is_empty() {
        node.store.namespaces.iter().for_each(|space| list(space, &mut text));
        return text;
    }
    let Some(space) = node.store.namespace(namespace) else {
        return b"ns_type=unknown".to_vec();
    };
    match one {
        None => list(space, &mut text),
        // A set that is not there has no answer.
        Some(name) => {
            if let Some(set) = space.sets().iter().find(|set| set.name == name) {
                counts(set, &mut text);
                text.push(b';');
            }
        }
    }
    text
}

fn list(space: &Namespace, text: &mut Vec<u8>) {
    for set in space.sets().iter().filter(|set| !set.name.is_empty()) {
        text.extend_from_slice(format!("ns={}:set=", space.name).as_bytes());
        text.extend_from_slice(&set.name);
        text.push(b':');
        counts(set, text);
        text.push(b';');
    }
}

fn counts(set: &Set, text: &mut Vec<u8>) {
    let counts = format!(
        "objects={}:tombstones=0:data_used_bytes={}:truncate_lut={}:sindexes=0:index_populating=false:\
         truncating=false:default-ttl=0:disable-eviction=false:enable-index=false:stop-writes-count=0:\
         stop-writes-size=0",
        set.objects.load(Ordering::Relaxed),
        set.bytes.load(Ordering::Relaxed),
        set.truncate_ms.load(Ordering::Relaxed),
    );
    text.extend_from_slice(counts.as_bytes());
}

/// `truncate:namespace=…;set=…[;lut=…]`, and the same without a set; `lut` in nanoseconds since 1970.
fn truncate(node: &Node, arguments: &[u8], of_set: bool) -> &'static str {
    let find = |key: &[u8]| {
        let mut pairs = arguments.split(|byte| *byte == b';');
        pairs.find_map(|pair| pair.strip_prefix(key)?.strip_prefix(b"="))
    };
    let Some(name) = find(b"namespace").or_else(|| find(b"ns")) else { return MISSING_NAMESPACE };
    let set = match find(b"set") {
        None if of_set => return "ERROR:4:missing 'set'",
        set => set.filter(|_| of_set),
    };
    let now_ms = node.now_ms();
    let cut =
        match find(b"lut").map(|lut| std::str::from_utf8(lut).ok().and_then(|lut| lut.parse::<i64>().ok())) {
            None => Cut::Through(now_ms),
            Some(Some(lut_ns)) => match since_2010_ms(UnixMillis(lut_ns / 1_000_000)) {
                lut_ms if lut_ms <= now_ms => Cut::Before(lut_ms),
                _ => return "ERROR:4:'lut' is in the future",
            },
            Some(None) => return "ERROR:4:bad 'lut'",
        };
    match node.store.namespace(name) {
        Some(space) => {
            space.truncate(set, cut);
            "ok"
        }
        None => NO_NAMESPACE,
    }
}
