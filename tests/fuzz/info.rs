//! What nodes say in words: peers, partitions, racks, sets, indexes, functions, statistics, accounts of queries.

use holdfast::aerospike::untrusted;

use crate::asb::records;
use crate::harness::{Target, about, said};
use crate::nodes::{NAMESPACE, ask};

/// All that the client asks, with this namespace.
const COMMANDS: [&str; 18] = [
    "node",
    "build",
    "cluster-name",
    "peers-clear-std",
    "peers-clear-alt",
    "peers-tls-std",
    "partition-generation",
    "replicas",
    "racks:",
    "rack-ids",
    "namespaces",
    "namespace/test",
    "statistics",
    "sets/test",
    "sindex-list:namespace=test;b64=true",
    "udf-list",
    "query-show:id=7",
    "no-such-command",
];

/// What real nodes say that the sandbox does not.
const OTHERS: [&str; 8] = [
    "3,4333,[[A1,name.of.tls,[10.0.0.1:3000,[2001:db8::1]:4333,host]],[B2,,[[::1]]],[C3,,[]]]",
    "0,,[]",
    "test:0;other:30",
    "ns=test:indexname=i:set=null:bin=age:type=numeric:indextype=default:context=null:exp=kwGTUQ==:state=RW",
    ";ns=test:set=s:indextype=set:indexname=x",
    "filename=a.lua,hash=11,type=LUA;filename=b.lua,hash=22,type=LUA;",
    "ERROR:4:bad param",
    "trid=7:job-type=basic:ns=test:set=:status=done(ok):job-progress=99.87:recs-succeeded=12:recs-failed=0:net-io-bytes=99",
];

pub fn answer(long: bool) {
    let commands: Vec<&[u8]> = COMMANDS.iter().map(|command| command.as_bytes()).collect();
    let corpus = vec![ask(&records(), false, async |talk| talk.info(&COMMANDS).await)];
    assert!(untrusted::info_values(&corpus[0], &commands).is_ok(), "the corpus is not valid");
    // Each value is copied once.
    let target = Target {
        name: "info_answer",
        corpus,
        cases: 50_000,
        bytes_max: 64 << 10,
        held_fixed: 4 << 10,
        held_per_byte: 1,
    };
    target.run(long, |input| match untrusted::info_values(input, &commands) {
        Ok(values) => said(values.iter().map(|value| about(value.len())).collect::<Vec<_>>()),
        Err(error) => said(error.what),
    });
}

/// Every parser reads every value: what one is for, another must refuse.
pub fn value(long: bool) {
    let commands: Vec<&[u8]> = COMMANDS.iter().map(|command| command.as_bytes()).collect();
    let answers = ask(&records(), false, async |talk| talk.info(&COMMANDS).await);
    let mut corpus = untrusted::info_values(&answers, &commands).unwrap();
    corpus.extend(OTHERS.iter().map(|value| value.as_bytes().to_vec()));
    corpus.retain(|value| !value.is_empty());
    let understood = corpus.iter().filter(|value| untrusted::info_value(value, NAMESPACE.as_bytes()) > 0);
    assert!(understood.count() > 14, "the corpus is not valid");
    let target = Target {
        name: "info_value",
        corpus,
        cases: 20_000,
        bytes_max: 16 << 10,
        held_fixed: 8 << 10,
        held_per_byte: 64,
    };
    target.run(long, |input| {
        let found = untrusted::info_value(input, NAMESPACE.as_bytes());
        assert!(found <= input.len() + 4096 + 16, "more came out than can be in it");
        said(found.min(200))
    });
}
