//! Info about secondary indexes and UDFs.

use std::fmt::Write as _;

use base64_simd::STANDARD;

use super::{MISSING_NAMESPACE, NO_NAMESPACE, namespace_of, parameter};
use crate::model::hex;
use crate::sandbox::digest::digest_of;
use crate::sandbox::node::Node;
use crate::sandbox::registry::{Added, Index};

/// Longest index name.
const INDEX_NAME_MAX: usize = 63;
/// Longest name of a UDF module, and its largest content.
const UDF_NAME_MAX: usize = 127;
const UDF_BYTES_MAX: usize = 1024 * 1024;

pub(super) fn answer(node: &Node, name: &str, arguments: &str) -> Option<String> {
    Some(match name {
        "sindex-create" => create(node, arguments).err().unwrap_or("ok").to_owned(),
        "sindex-delete" => delete(node, arguments).to_owned(),
        "sindex-list" => list(node, namespace_of(arguments), parameter(arguments, "b64") == Some("true")),
        "sindex" => by_path(node, arguments),
        "sindex-exists" => match named(node, arguments) {
            Ok(found) => found.is_some().to_string(),
            Err(text) => text.to_owned(),
        },
        "sindex-stat" => match named(node, arguments) {
            Ok(Some(_)) => stat(),
            Ok(None) => "ERROR:201:no index".to_owned(),
            Err(text) => text.to_owned(),
        },
        "udf-list" => udf_list(node),
        "udf-get" => udf_get(node, arguments),
        "udf-put" => udf_put(node, arguments).err().unwrap_or("ok").to_owned(),
        "udf-remove" => match parameter(arguments, "filename") {
            Some(file) => {
                node.store.registry.remove_udf(file);
                "ok".to_owned()
            }
            None => "error=invalid_filename".to_owned(),
        },
        _ => return None,
    })
}

/// Reads the spelling of 8.1 (`bin=…;type=…`) and the older one (`indexdata=bin,type`).
fn create(node: &Node, arguments: &str) -> Result<(), &'static str> {
    let namespace = namespace_of(arguments).ok_or(MISSING_NAMESPACE)?;
    let name = parameter(arguments, "indexname").ok_or("ERROR:4:missing 'indexname'")?;
    if name.is_empty() || name.len() > INDEX_NAME_MAX {
        return Err("ERROR:4:bad 'indexname'");
    }
    let (bin, data_type) = match parameter(arguments, "indexdata") {
        Some(data) => {
            let (bin, data_type) = data.split_once(',').ok_or("ERROR:4:bad 'indexdata'")?;
            (Some(bin), Some(data_type))
        }
        None => (parameter(arguments, "bin"), parameter(arguments, "type")),
    };
    let expression = base64(arguments, "exp")?;
    match (bin, &expression) {
        (None, None) => return Err("ERROR:4:both 'bin' and 'exp' are missing"),
        (Some(_), Some(_)) => return Err("ERROR:4:both 'bin' and 'exp' are given"),
        (Some(""), _) => return Err("ERROR:4:bad 'bin'"),
        _ => {}
    }
    let data_type = data_type.ok_or("ERROR:4:missing 'type'")?.to_ascii_lowercase();
    if !["numeric", "string", "blob", "geo2dsphere"].contains(&data_type.as_str()) {
        return Err("ERROR:4:bad 'type' - must be one of 'numeric', 'string', 'blob', 'geo2dsphere'");
    }
    let collection = parameter(arguments, "indextype").unwrap_or("default").to_ascii_lowercase();
    if !["default", "list", "mapkeys", "mapvalues"].contains(&collection.as_str()) {
        return Err("ERROR:4:bad 'indextype' - must be one of 'default', 'list', 'mapkeys', 'mapvalues'");
    }
    let index = Index {
        namespace: namespace.to_owned(),
        name: name.to_owned(),
        set: parameter(arguments, "set").unwrap_or_default().to_owned(),
        bin: bin.map(str::to_owned),
        data_type,
        collection,
        context: base64(arguments, "context")?,
        expression,
    };
    if node.store.namespace(namespace.as_bytes()).is_none() {
        // A server says ok, and nothing comes of it.
        return Ok(());
    }
    match node.store.registry.add_index(index) {
        Added::Yes => Ok(()),
        Added::Conflict => Err("ERROR:200:'indexname' already exists with different definition"),
        Added::Full => Err("ERROR:206:too many indexes"),
    }
}

fn base64(arguments: &str, key: &str) -> Result<Option<String>, &'static str> {
    match parameter(arguments, key) {
        Some(text) if text.is_empty() || STANDARD.check(text.as_bytes()).is_err() => {
            Err(if key == "exp" { "ERROR:4:bad 'exp'" } else { "ERROR:4:bad 'context'" })
        }
        text => Ok(text.map(str::to_owned)),
    }
}

/// An index that is not there is as good as deleted.
fn delete(node: &Node, arguments: &str) -> &'static str {
    let Some(namespace) = namespace_of(arguments) else { return MISSING_NAMESPACE };
    let Some(name) = parameter(arguments, "indexname") else { return "ERROR:4:missing 'indexname'" };
    node.store.registry.remove_index(namespace, name);
    "ok"
}

fn list(node: &Node, namespace: Option<&str>, base64: bool) -> String {
    if namespace.is_some_and(|name| node.store.namespace(name.as_bytes()).is_none()) {
        return NO_NAMESPACE.to_owned();
    }
    let entries = node.store.registry.indexes(namespace);
    entries.iter().map(|index| entry(index, base64)).collect::<Vec<_>>().join(";")
}

/// A server without `b64=true` shows contexts and expressions in words of its own; we only say that there is one.
fn entry(index: &Index, base64: bool) -> String {
    let or_null = |text: &Option<String>| match text {
        None => "null".to_owned(),
        Some(text) if base64 => text.clone(),
        Some(_) => "<see b64=true>".to_owned(),
    };
    format!(
        "ns={}:indexname={}:set={}:bin={}:type={}:indextype={}:context={}:exp={}:state=RW",
        index.namespace,
        index.name,
        if index.set.is_empty() { "null" } else { &index.set },
        index.bin.as_deref().unwrap_or("null"),
        index.data_type,
        index.collection,
        or_null(&index.context),
        or_null(&index.expression),
    )
}

/// `sindex`, `sindex/<ns>` and `sindex/<ns>/<name>`, the older spellings.
fn by_path(node: &Node, path: &str) -> String {
    match path.split_once('/') {
        None => list(node, Some(path).filter(|name| !name.is_empty()), false),
        Some((namespace, name)) => {
            if node.store.registry.indexes(Some(namespace)).iter().any(|index| index.name == name) {
                stat()
            } else {
                "ERROR:201:no index".to_owned()
            }
        }
    }
}

fn named(node: &Node, arguments: &str) -> Result<Option<Index>, &'static str> {
    let namespace = namespace_of(arguments).ok_or(MISSING_NAMESPACE)?;
    let name = parameter(arguments, "indexname").ok_or("ERROR:4:missing 'indexname'")?;
    Ok(node.store.registry.indexes(Some(namespace)).into_iter().find(|index| index.name == name))
}

/// An index is ready at once, because it is never filled.
fn stat() -> String {
    "entries=0;used_bytes=0;entries_per_bval=0;entries_per_rec=0;load_pct=100;load_time=0;stat_gc_recs=0"
        .to_owned()
}

fn udf_list(node: &Node) -> String {
    node.store.registry.udfs().iter().fold(String::new(), |mut text, (name, content)| {
        let _ = write!(text, "filename={name},hash={},type=LUA;", hex(&digest_of(b"", 0, content)));
        text
    })
}

fn udf_get(node: &Node, arguments: &str) -> String {
    let Some(name) = parameter(arguments, "filename") else { return "error=invalid_filename".to_owned() };
    match node.store.registry.udf(name) {
        Some(content) => format!("type=LUA;content={};", STANDARD.encode_to_string(content)),
        None => "error=not_found".to_owned(),
    }
}

fn udf_put(node: &Node, arguments: &str) -> Result<(), &'static str> {
    let name = parameter(arguments, "filename")
        .filter(|name| {
            name.len() <= UDF_NAME_MAX && name.as_bytes().ends_with(b".lua") && !name.contains(['/', ','])
        })
        .ok_or("error=invalid_filename")?;
    let content = parameter(arguments, "content").ok_or("error=invalid_content")?;
    let length = parameter(arguments, "content-len").and_then(|length| length.parse().ok());
    if length != Some(content.len()) {
        return Err("error=invalid_content_len");
    }
    if parameter(arguments, "udf-type") != Some("LUA") {
        return Err("error=invalid_udf_type");
    }
    let content = STANDARD.decode_to_vec(content.as_bytes()).map_err(|_| "error=invalid_base64_content")?;
    if content.len() > UDF_BYTES_MAX || !node.store.registry.put_udf(name, content) {
        return Err("error=resource_allocation");
    }
    Ok(())
}
