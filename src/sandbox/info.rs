//! Info commands (wire.md 7, asb.md 7.1), answered as a community edition node answers them.
//!
//! About the node: `build` `cluster-name` `cluster-stable` `edition` `features` `get-config` `name` `node`
//! `partition-generation` `peers-clear-std` `peers-clear-alt` `peers-generation` `rebalance-generation` `replicas`
//! `service` `service-clear-std` `service-clear-alt` `services` `statistics` `status` `user-agent-set` `version`.
//! About data: `namespaces` `namespace/<ns>` `sets` `sets/<ns>` `sets/<ns>/<set>` `truncate` `truncate-namespace`.
//! About scans: `query-show`.
//! About indexes and UDFs: `sindex` `sindex-create` `sindex-delete` `sindex-exists` `sindex-list` `sindex-stat`
//! `udf-get` `udf-list` `udf-put` `udf-remove`.
//! Refused as enterprise features: `rack-ids` (unless the node has a rack) `racks` `peers-tls-std` `peers-tls-alt` `service-tls-std`
//! `service-tls-alt`. All else is an unrecognized command.

mod data;
mod metadata;

use base64_simd::STANDARD;

use super::node::Node;
use super::proto::Frame;
use super::store::PARTITIONS;
use super::topology::Member;

const UNRECOGNIZED: &str = "ERROR:4:unrecognized command";
const ENTERPRISE_ONLY: &str = "ERROR:25:enterprise only";
const NO_NAMESPACE: &str = "ERROR:20:namespace not found on node";
const MISSING_NAMESPACE: &str = "ERROR:20:missing 'namespace'";

/// What the sandbox can do, of the words that a server lists.
const FEATURES: &str = "batch-any;batch-index;cluster-stable;peers;pipelining;pquery;pscans;replicas;\
                        replicas-max;truncate-namespace";

/// Answers each line of a request with `line TAB answer`. What follows the last newline is no line.
pub(super) fn answer(node: &Node, body: &[u8], frame: &mut Frame) {
    let mut lines: Vec<_> = body.split(|byte| *byte == b'\n').collect();
    lines.pop();
    for line in lines {
        let value = std::str::from_utf8(line).map_or_else(
            // Of commands only set names can be other than UTF-8, and only `sets/…` and `truncate` carry them.
            |_| data::bytes_command(node, line).unwrap_or_else(|| UNRECOGNIZED.into()),
            |text| command(node, text),
        );
        frame.raw(line);
        frame.raw(b"\t");
        frame.raw(&value);
        frame.raw(b"\n");
    }
}

/// Answers each line with a refusal.
pub(super) fn refuse(body: &[u8], code: u8, frame: &mut Frame) {
    let mut lines: Vec<_> = body.split(|byte| *byte == b'\n').collect();
    lines.pop();
    for line in lines {
        frame.raw(line);
        frame.raw(format!("\tERROR:{code}:not authenticated\n").as_bytes());
    }
}

fn command(node: &Node, line: &str) -> Vec<u8> {
    // `name`, `name/path` or `name:parameters`.
    let end = line.find([':', '/']).unwrap_or(line.len());
    let (name, rest) = line.split_at(end);
    let arguments = rest.get(1..).unwrap_or_default();
    let of_node = of_node(node, name, arguments).map(String::into_bytes);
    of_node
        .or_else(|| data::answer(node, name, arguments.as_bytes()))
        .or_else(|| metadata::answer(node, name, arguments).map(String::into_bytes))
        .unwrap_or_else(|| UNRECOGNIZED.into())
}

/// The value of a parameter in `key=value;key=value`.
fn parameter<'a>(arguments: &'a str, key: &str) -> Option<&'a str> {
    arguments
        .split(';')
        .filter_map(|pair| pair.split_once('='))
        .find(|(found, _)| *found == key)
        .map(|(_, value)| value)
}

/// The namespace in its new or its old spelling.
fn namespace_of(arguments: &str) -> Option<&str> {
    parameter(arguments, "namespace").or_else(|| parameter(arguments, "ns"))
}

fn of_node(node: &Node, name: &str, arguments: &str) -> Option<String> {
    Some(match name {
        "node" | "name" => node.name.clone(),
        "cluster-name" if node.cluster_name.is_empty() => "null".to_owned(),
        "cluster-name" => node.cluster_name.clone(),
        "build" => node.build.clone(),
        "edition" => "Holdfast sandbox".to_owned(),
        "version" => format!("Holdfast sandbox build {}", node.build),
        "status" | "user-agent-set" => "ok".to_owned(),
        "features" => FEATURES.to_owned(),
        "partition-generation" => node.topology.partition_generation().to_string(),
        "peers-generation" => node.topology.peers_generation().to_string(),
        "rebalance-generation" => "1".to_owned(),
        "peers-clear-std" | "peers-clear-alt" if node.security.tls().is_none() => {
            peers(node, "", name.ends_with("alt"))
        }
        // A node that listens with TLS only has no address in clear.
        "peers-clear-std" | "peers-clear-alt" => format!("{},,[]", node.topology.peers_generation()),
        "peers-tls-std" | "peers-tls-alt" if node.security.tls().is_some() => {
            peers(node, node.security.tls_name(), name.ends_with("alt"))
        }
        "service" | "service-clear-std" => node.address.to_string(),
        "services" => {
            let others = others(node).into_iter().map(|other| other.address.to_string());
            others.collect::<Vec<_>>().join(";")
        }
        "service-clear-alt" => String::new(),
        "rack-ids" if node.rack.is_some() => {
            let rack = node.rack.unwrap_or_default();
            let names = node.store.namespaces.iter().map(|space| format!("{}:{rack}", space.name));
            names.collect::<Vec<_>>().join(";")
        }
        "peers-tls-std" | "peers-tls-alt" | "service-tls-std" | "service-tls-alt" | "rack-ids" | "racks" => {
            ENTERPRISE_ONLY.to_owned()
        }
        "replicas" => replicas(node),
        "statistics" => statistics(node),
        "cluster-stable" => cluster_stable(node, arguments),
        "get-config" => get_config(node, arguments),
        "query-show" => query_show(node, arguments),
        _ => return None,
    })
}

/// The other nodes that are there.
fn others(node: &Node) -> Vec<Member> {
    let members = node.topology.members().into_iter();
    members.filter(|member| member.present && member.name != node.name).collect()
}

/// `generation,port,[[name,tls-name,[address]],…]`.
fn peers(node: &Node, tls_name: &str, alternate: bool) -> String {
    /// Where nobody listens: what those see who do not ask for alternate addresses.
    const ELSEWHERE: &str = "127.0.0.1:1";
    let hidden = node.behind_alternate && !alternate;
    let others = others(node).into_iter().map(|other| {
        let address = if hidden { ELSEWHERE.to_owned() } else { other.address.to_string() };
        format!("[{},{tls_name},[{address}]]", other.name)
    });
    let others = others.collect::<Vec<_>>().join(",");
    format!("{},{},[{others}]", node.topology.peers_generation(), node.address.port())
}

/// `ns:regime,replicas,bitmap;…`: the first bit of the first byte is partition 0.
fn replicas(node: &Node) -> String {
    let bitmap = |has: &dyn Fn(u16) -> bool| {
        let mut bitmap = [0_u8; PARTITIONS as usize / 8];
        for (index, byte) in bitmap.iter_mut().enumerate() {
            for bit in 0..8 {
                if has((index * 8 + bit) as u16) {
                    *byte |= 0x80 >> bit;
                }
            }
        }
        STANDARD.encode_to_string(bitmap)
    };
    let owned = bitmap(&|pid| node.owns(pid));
    let claim = if node.topology.copies {
        format!("2,{owned},{}", bitmap(&|pid| node.has_copy(pid)))
    } else {
        format!("1,{owned}")
    };
    let names = node.store.namespaces.iter().map(|space| format!("{}:0,{claim}", space.name));
    names.collect::<Vec<_>>().join(";")
}

fn statistics(node: &Node) -> String {
    let objects: u64 = node.store.namespaces.iter().map(|space| space.objects_of(node)).sum();
    format!(
        "cluster_size={};cluster_key={};cluster_integrity=true;cluster_is_member=true;\
         cluster_clock_skew_stop_writes_sec=0;cluster_clock_skew_ms={};cluster_clock_skew_outliers=null;\
         uptime={};objects={objects};tombstones=0;migrate_partitions_remaining=0",
        node.topology.size(),
        node.topology.cluster_key(&node.cluster_name),
        node.clock_skew_ms(),
        node.uptime_s(),
    )
}

fn cluster_stable(node: &Node, arguments: &str) -> String {
    if parameter(arguments, "size").is_some_and(|size| size != node.topology.size().to_string()) {
        return "ERROR:7:cluster not specified size".to_owned();
    }
    match namespace_of(arguments) {
        Some(name) if node.store.namespace(name.as_bytes()).is_none() => NO_NAMESPACE.to_owned(),
        _ => node.topology.cluster_key(&node.cluster_name),
    }
}

/// The node's accounts of scans: of one, or of all that it remembers.
fn query_show(node: &Node, arguments: &str) -> String {
    let accounts = node.scan_accounts();
    let asked = ["id", "trid"].iter().find_map(|key| parameter(arguments, key));
    if asked.is_none() {
        return accounts.iter().map(|account| account.describe()).collect::<Vec<_>>().join(";");
    }
    let asked = asked.and_then(|id| id.parse::<u64>().ok());
    let found = accounts.iter().find(|account| Some(account.task_id) == asked);
    found.map_or_else(|| "ERROR:2:job not found".to_owned(), |account| account.describe())
}

/// The settings that others look at.
fn get_config(node: &Node, arguments: &str) -> String {
    let namespace = namespace_of(arguments).or_else(|| parameter(arguments, "id"));
    match (parameter(arguments, "context"), namespace) {
        (Some("service") | None, _) => format!(
            "batch-index-threads=2;batch-max-requests=0;cluster-name={};min-cluster-size=1;node-id={};\
             query-threads-limit=128",
            node.cluster_name, node.name
        ),
        (Some("namespace"), Some(name)) if node.store.namespace(name.as_bytes()).is_some() => format!(
            "allow-ttl-without-nsup=true;default-ttl={};max-record-size={};nsup-period=120;\
             replication-factor=1;strong-consistency=false;storage-engine=memory",
            node.default_ttl_s, node.max_record_bytes
        ),
        (Some("namespace"), Some(_)) => NO_NAMESPACE.to_owned(),
        (Some("namespace"), None) => MISSING_NAMESPACE.to_owned(),
        _ => "ERROR:4:invalid context".to_owned(),
    }
}
