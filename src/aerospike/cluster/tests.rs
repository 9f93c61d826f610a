use super::{Cluster, Peer, Seed, parse_peers};
use crate::aerospike::ClusterOptions;
use crate::aerospike::peer::{Peer as ScriptedPeer, replicas};

fn peer(name: &str, places: &[(&str, u16)]) -> Peer {
    let places = places.iter().map(|(host, port)| Seed { host: (*host).into(), port: *port }).collect();
    let tls_name = if name == "B2" { "tls" } else { "" };
    Peer { name: name.into(), tls_name: tls_name.into(), places }
}

/// A port that nobody listens at, and that stays so while the socket lives.
fn deaf_port() -> (tokio::net::TcpSocket, u16) {
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let port = socket.local_addr().unwrap().port();
    (socket, port)
}

#[test]
fn peers_are_read_in_each_spelling_of_an_address() {
    assert_eq!(parse_peers("0,3000,[]").unwrap(), []);
    assert_eq!(
        parse_peers("7,3100,[[A1,,[10.0.0.1:3200,10.0.0.2]],[B2,tls,[[::1]:3300,[fe80::1]]],[C3,,[host]]]")
            .unwrap(),
        [
            peer("A1", &[("10.0.0.1", 3200), ("10.0.0.2", 3100)]),
            peer("B2", &[("::1", 3300), ("fe80::1", 3100)]),
            peer("C3", &[("host", 3100)]),
        ]
    );
    for bad in ["", "0", "0,3000,", "0,x,[]", "0,3000,[A1]", "0,3000,[[A1,,[h:x]]]", "0,3000,[[A1,,[h]"] {
        assert_eq!(parse_peers(bad), None, "{bad}");
    }
}

#[tokio::test]
async fn an_unreachable_cluster_is_named_seed_by_seed() {
    let (_held, free) = deaf_port();
    let seed = |host: &str| Seed { host: host.into(), port: free };
    let options = ClusterOptions {
        seeds: vec![seed("127.0.0.1"), seed("no such host")],
        connect_timeout_ms: 5000,
        label: "prod".into(),
    };
    let error = Cluster::connect(&options).await.unwrap_err();
    assert_eq!(error.code(), "cluster-unreachable");
    assert!(error.is_temporary());
    for part in ["\"prod\"", &format!("127.0.0.1:{free}: "), &format!("no such host:{free}: ")] {
        assert!(error.to_string().contains(part), "{error}");
    }
}

#[tokio::test]
async fn the_next_seed_is_tried_and_peers_are_followed() {
    let first = ScriptedPeer::start("A", vec![]).await;
    let second = ScriptedPeer::start("B", vec![]).await;
    first.info("peers-clear-std", &format!("1,3000,[[B,,[127.0.0.1:{}]]]", second.address.port()));
    second.info("peers-clear-std", &format!("1,3000,[[A,,[127.0.0.1:{}]]]", first.address.port()));
    first.info("replicas", &replicas(|pid| pid < 100));
    second.info("replicas", &replicas(|pid| (100..4095).contains(&pid)));
    second.info("build", "7.0.0.1");
    let (_held, dead) = deaf_port();
    let mut options = first.options();
    options.seeds.insert(0, Seed { host: "127.0.0.1".into(), port: dead });
    let cluster = Cluster::connect(&options).await.unwrap();
    let names: Vec<_> = cluster.nodes().await.iter().map(|node| node.name.clone()).collect();
    assert_eq!(names, ["A", "B"]);
    assert_eq!(cluster.lowest_build().to_string(), "7.0.0.1");
    let map = cluster.partition_owners("test").await.unwrap();
    let owner = |pid| map.owner(pid).map(|node| node.name.as_str());
    assert_eq!((owner(99), owner(100), owner(4095)), (Some("A"), Some("B"), None));
}

#[tokio::test]
async fn somebody_else_at_a_peers_address_is_not_that_peer() {
    let first = ScriptedPeer::start("A", vec![]).await;
    let stranger = ScriptedPeer::start("X", vec![]).await;
    first.info("peers-clear-std", &format!("1,3000,[[B,,[127.0.0.1:{}]]]", stranger.address.port()));
    assert_eq!(first.cluster().await.nodes().await.len(), 1);
}

#[tokio::test]
async fn a_refresh_keeps_the_nodes_that_stay() {
    let peer = ScriptedPeer::start("A", vec![]).await;
    let cluster = peer.cluster().await;
    let before = cluster.nodes().await;
    cluster.refresh().await.unwrap();
    assert!(std::sync::Arc::ptr_eq(&before[0], &cluster.nodes().await[0]));
}

#[tokio::test]
async fn clocks_and_truncations_are_read() {
    let peer = ScriptedPeer::start("A", vec![]).await;
    let stats = "objects=12;current_time=532944808;truncate_lut=99;effective_replication_factor=2;x=y";
    peer.info("namespace/test", stats);
    peer.info("statistics", "cluster_size=1;cluster_clock_skew_ms=7");
    peer.info("sets/test", "ns=test:set=b:objects=3:truncate_lut=5;ns=test:set=a:objects=1:truncate_lut=0;");
    let cluster = peer.cluster().await;
    let [node] = cluster.namespace_stats("test").await.unwrap().try_into().unwrap();
    assert_eq!((node.objects, node.replication_factor, node.current_time_s), (12, 2, 532_944_808));
    assert_eq!((node.truncate_lut_ms, node.clock_skew_ms), (99, 7));
    let sets = cluster.sets("test").await.unwrap();
    let sets: Vec<_> =
        sets.iter().map(|set| (set.name.as_slice(), set.objects, set.truncate_lut_ms)).collect();
    assert_eq!(sets, [(&b"a"[..], 1, 0), (b"b", 3, 5)]);

    peer.info("namespace/gone", "ns_type=unknown");
    assert_eq!(cluster.namespace_stats("gone").await.unwrap_err().code(), "namespace-missing");
    assert_eq!(cluster.truncate("gone", None).await.unwrap_err().code(), "namespace-missing");
}
