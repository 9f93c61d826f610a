//! The configuration of nodes, as they say it, in the form of `aerospike.conf`.
//!
//! It holds every setting, defaults too: a node does not say which of them its file had.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use crate::aerospike::Cluster;
use crate::error::Result;

/// What stands for a setting that has no value.
const UNSET: &str = "null";

/// The contexts that are no list.
const CONTEXTS: [&str; 4] = ["service", "network", "security", "xdr"];

/// One text for each node, by name.
pub async fn of_nodes(cluster: &Cluster) -> Result<Vec<String>> {
    let namespaces = cluster.namespaces().await?;
    let mut texts = Vec::new();
    for node in cluster.nodes().await {
        let contexts = CONTEXTS.map(|context| (format!("get-config:context={context}"), context.to_owned()));
        let of_namespaces = namespaces
            .iter()
            .map(|name| (format!("get-config:context=namespace;id={name}"), format!("namespace {name}")));
        let sections: Vec<(String, String)> = contexts.into_iter().chain(of_namespaces).collect();
        let commands: Vec<&str> = sections.iter().map(|(command, _)| command.as_str()).collect();
        let answers = cluster.info(&node, &commands).await?;
        let mut text =
            format!("# node {node}, version {}: every setting as it was, defaults too\n", node.build);
        for (command, title) in &sections {
            let answer =
                answers.get(command).map(|answer| String::from_utf8_lossy(answer)).unwrap_or_default();
            // A context that the node does not have.
            if answer.starts_with("ERROR") || answer.starts_with("FAIL") {
                continue;
            }
            section(&mut text, title, &answer);
        }
        texts.push(text);
    }
    Ok(texts)
}

/// A setting, and the settings below it.
#[derive(Debug, Default)]
struct Setting {
    values: Vec<String>,
    below: BTreeMap<String, Setting>,
}

/// Appends one section; nothing for one without settings.
fn section(text: &mut String, title: &str, answer: &str) {
    let mut root = Setting::default();
    for (key, value) in answer.trim().split(';').filter_map(|pair| pair.split_once('=')) {
        if value == UNSET {
            continue;
        }
        let mut at = &mut root;
        for part in key.split('.') {
            // `file[0]`, `file[1]`: the same key twice in the file.
            let part = part.split('[').next().unwrap_or(part);
            at = at.below.entry(part.to_owned()).or_default();
        }
        at.values.push(value.to_owned());
    }
    if !root.below.is_empty() {
        block(text, 0, title, &root);
    }
}

fn block(text: &mut String, depth: usize, title: &str, setting: &Setting) {
    let indent = "    ".repeat(depth);
    let _ = writeln!(text, "\n{indent}{title} {{"); // writing to a String cannot fail
    for (key, one) in setting.below.iter().filter(|(_, one)| one.below.is_empty()) {
        for value in &one.values {
            let _ = writeln!(text, "{indent}    {key} {value}");
        }
    }
    for (key, one) in setting.below.iter().filter(|(_, one)| !one.below.is_empty()) {
        let title = one.values.first().map_or_else(|| key.clone(), |value| format!("{key} {value}"));
        block(text, depth + 1, &title, one);
    }
    let _ = writeln!(text, "{indent}}}");
}

#[cfg(test)]
mod tests {
    use super::section;

    #[test]
    fn settings_become_blocks() {
        let mut text = String::new();
        let answer = "default-ttl=0;storage-engine=device;storage-engine.file[0]=/a;storage-engine.file[1]=/b;\
                      storage-engine.post-write-cache=256;rack-id=0;sindex-type=null\n";
        section(&mut text, "namespace ns", answer);
        section(&mut text, "security", "\n");
        assert_eq!(
            text,
            "\nnamespace ns {\n    default-ttl 0\n    rack-id 0\n\n    storage-engine device {\n        file /a\n        \
             file /b\n        post-write-cache 256\n    }\n}\n"
        );
    }
}
