//! Indexes and UDF modules on their way through a backup (asb.md 1.5, rules.md 4.9).

use holdfast::asb::{DataType, IndexDef, IndexType, UdfDef};
use serde_json::json;

use crate::node::{Node, SOURCE, TARGET};
use crate::service::{Bench, point};

/// `ctx` of a list index 0, and an integer bin as an expression; of the server's own making.
const CONTEXT: &str = "khAA";
const EXPRESSION: &str = "k1ECo2FnZQ==";

fn index(name: &str, set: &str) -> IndexDef {
    IndexDef {
        namespace: SOURCE.into(),
        set: set.into(),
        name: name.into(),
        index_type: IndexType::Bin,
        bin: b"age".to_vec(),
        data_type: DataType::Numeric,
        context: None,
        expression: None,
    }
}

fn all() -> Vec<IndexDef> {
    vec![
        index("plain", "customers"),
        index("of-all-sets", ""),
        IndexDef { bin: b"a \\ b".to_vec(), ..index("odd name \\ \u{fc}", "a set\\ with \u{fc}") },
        IndexDef {
            index_type: IndexType::List,
            data_type: DataType::String,
            context: Some(CONTEXT.into()),
            ..index("list", "s")
        },
        IndexDef { index_type: IndexType::MapKeys, data_type: DataType::Blob, ..index("keys", "s") },
        IndexDef { index_type: IndexType::MapValues, data_type: DataType::Geo, ..index("values", "s") },
        IndexDef { bin: b"null".to_vec(), expression: Some(EXPRESSION.into()), ..index("expression", "s") },
    ]
}

fn sorted(mut indexes: Vec<IndexDef>, namespace: &str) -> Vec<IndexDef> {
    indexes.sort_by(|a, b| a.name.cmp(&b.name));
    indexes.into_iter().map(|index| IndexDef { namespace: namespace.into(), ..index }).collect()
}

/// A name with a space or a byte beyond ASCII is more than a server takes; the sandbox takes it.
#[tokio::test(flavor = "multi_thread")]
async fn indexes_of_every_kind_and_name_come_back_and_modules_of_any_bytes() {
    let bench = Bench::on(Node::sandbox().await, |_| {}).await;
    for index in all() {
        bench.node.cluster.create_index(&index).await.unwrap();
    }
    let content: Vec<u8> = (0..=255).collect();
    let modules: Vec<UdfDef> =
        [("any bytes.lua", content), ("empty.lua", Vec::new()), ("lf.lua", b"\n".to_vec())]
            .map(|(name, content)| UdfDef { name: name.into(), content })
            .into();
    for module in &modules {
        bench.node.cluster.put_udf(module).await.unwrap();
    }
    let expected = sorted(bench.node.cluster.list_indexes(SOURCE).await.unwrap().indexes, TARGET);
    assert_eq!(expected.len(), all().len());
    let at = point(&bench.back_up("full").await);
    let node = bench.node.cluster.nodes().await[0].clone();
    for module in &modules {
        let remove = format!("udf-remove:filename={}", String::from_utf8_lossy(&module.name));
        bench.node.cluster.info(&node, &[&remove]).await.unwrap();
    }
    let restored = bench.restore_to(at, json!({})).await.ok();
    assert_eq!(restored.status["index-count"], json!(all().len()));
    assert_eq!(restored.status["udf-count"], json!(3));
    assert_eq!(sorted(bench.node.cluster.list_indexes(TARGET).await.unwrap().indexes, TARGET), expected);
    for module in &modules {
        assert_eq!(bench.node.cluster.get_udf(&module.name).await.unwrap(), *module);
    }
}
