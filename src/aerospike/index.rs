//! Secondary indexes: list, create, drop, wait (asb.md 1.5, 7.1, 7.2).

use std::time::Duration;

use crate::asb::{DataType, IndexDef, IndexType};
use crate::error::{Error, Result};

use super::cluster::Cluster;
use super::info::{check_parameter, is_pairs, number_of, refusal, refused, value_of};
use super::node::Build;
use super::result_code::ResultCode;

/// The server's code for "an index of this name or definition exists".
const INDEX_EXISTS: ResultCode = ResultCode(200);
/// The code of older servers for dropping an index that is not there; newer ones say "ok".
const INDEX_MISSING: ResultCode = ResultCode(201);
/// How often the state of an index or a UDF is asked while waiting for it (asb.md 6.1).
pub(super) const POLL_INTERVAL: Duration = Duration::from_millis(500);

/// The indexes of a namespace.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct IndexList {
    /// Those that a backup can hold, in the server's order.
    pub indexes: Vec<IndexDef>,
    /// A sentence for each index that the format has no line for (set indexes).
    pub warnings: Vec<String>,
}

/// How the creation of an index ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Created {
    /// The cluster has it and builds it; server 8.1 also says so if the very same index was there (verified).
    Created,
    /// Another index has this name, or this definition.
    Exists,
}

impl Cluster {
    /// The indexes of `namespace`.
    ///
    /// Errors: `index-unreadable` (permanent) names the entry that could not be understood.
    pub async fn list_indexes(&self, namespace: &str) -> Result<IndexList> {
        let name = check_parameter(namespace.as_bytes(), "namespace")?;
        let build = self.lowest_build();
        let base64: &[u8] = if build >= Build::INDEX_CONTEXT { b";b64=true" } else { b"" };
        let command = [b"sindex-list:", namespace_key(build), b"=", name, base64].concat();
        parse_list(&self.ask_any(&command).await?)
    }

    /// Creates an index; it is built in the background, see [`Cluster::wait_for_index`].
    pub async fn create_index(&self, index: &IndexDef) -> Result<Created> {
        let command = create_command(index, self.lowest_build())?;
        match refusal(&self.ask_any_raw(&command).await?) {
            None => Ok(Created::Created),
            Some(refusal) if refusal.code == Some(INDEX_EXISTS) => Ok(Created::Exists),
            Some(refusal) => Err(refused(&refusal, &command)),
        }
    }

    /// Drops an index; one that is not there is no error, as on the server.
    pub async fn drop_index(&self, namespace: &[u8], name: &[u8]) -> Result<()> {
        let key = namespace_key(self.lowest_build());
        let namespace = check_parameter(namespace, "namespace")?;
        let name = check_parameter(name, "index")?;
        let command = [b"sindex-delete:", key, b"=", namespace, b";indexname=", name].concat();
        match refusal(&self.ask_any_raw(&command).await?) {
            Some(refusal) if refusal.code != Some(INDEX_MISSING) => Err(refused(&refusal, &command)),
            _ => Ok(()),
        }
    }

    /// Waits until every node has built the index, for `limit` at most.
    ///
    /// Errors: `index-not-built` (temporary).
    pub async fn wait_for_index(&self, namespace: &[u8], name: &[u8], limit: Duration) -> Result<()> {
        tokio::time::timeout(limit, self.index_is_built(namespace, name)).await.unwrap_or_else(|_| {
            let (name, seconds) = (String::from_utf8_lossy(name), limit.as_secs());
            Err(Error::temporary("index-not-built", format!("index {name} was not built within {seconds} s"))
                .hint("See the nodes' logs; an index over many records takes its time."))
        })
    }

    async fn index_is_built(&self, namespace: &[u8], name: &[u8]) -> Result<()> {
        let namespace = check_parameter(namespace, "namespace")?;
        let name = check_parameter(name, "index")?;
        let command = if self.lowest_build() >= Build::NAMED_PARAMETERS {
            [b"sindex-stat:namespace=", namespace, b";indexname=", name].concat()
        } else {
            [b"sindex/", namespace, b"/", name].concat()
        };
        for node in self.nodes().await {
            // a node that has not heard of the index yet refuses: 201
            while node
                .ask(&[&command])
                .await?
                .iter()
                .all(|answer| number_of(answer, b';', "load_pct") != Some(100))
            {
                tokio::time::sleep(POLL_INTERVAL).await;
            }
        }
        Ok(())
    }
}

fn namespace_key(build: Build) -> &'static [u8] {
    if build >= Build::NAMED_PARAMETERS { b"namespace" } else { b"ns" }
}

fn create_command(index: &IndexDef, build: Build) -> Result<Vec<u8>> {
    let named = build >= Build::NAMED_PARAMETERS;
    let data_type: &[u8] = match index.data_type {
        DataType::Numeric => b"NUMERIC",
        DataType::String => b"STRING",
        DataType::Geo => b"GEO2DSPHERE",
        DataType::Blob => b"BLOB",
    };
    let index_type: &[u8] = match index.index_type {
        IndexType::Bin => b"",
        IndexType::List => b";indextype=LIST",
        IndexType::MapKeys => b";indextype=MAPKEYS",
        IndexType::MapValues => b";indextype=MAPVALUES",
    };
    let mut command = [
        b"sindex-create:",
        namespace_key(build),
        b"=",
        check_parameter(&index.namespace, "namespace")?,
        b";indexname=",
        check_parameter(&index.name, "index")?,
    ]
    .concat();
    if !index.set.is_empty() {
        command.extend([b";set=", check_parameter(&index.set, "set")?].concat());
    }
    if let Some(context) = &index.context {
        command.extend([b";context=", check_base64(context, "context")?].concat());
    }
    command.extend(index_type);
    match &index.expression {
        Some(_) if !named => {
            let name = String::from_utf8_lossy(&index.name);
            return Err(Error::permanent(
                "server-too-old",
                format!(
                    "index \"{name}\" is over an expression, which needs server 8.1; the lowest here is {build}"
                ),
            ));
        }
        // the bin of an expression index is the word "null" in files (asb.md 1.5): it is not sent
        Some(expression) => {
            command
                .extend([b";exp=", check_base64(expression, "expression")?, b";type=", data_type].concat());
        }
        None => {
            let bin = check_parameter(&index.bin, "bin")?;
            command.extend(if named {
                [b";bin=", bin, b";type=", data_type].concat()
            } else {
                [b";indexdata=", bin, b",", data_type].concat()
            });
        }
    }
    Ok(command)
}

fn check_base64<'a>(text: &'a str, what: &str) -> Result<&'a [u8]> {
    base64_simd::STANDARD.check(text.as_bytes()).map_err(|error| {
        Error::permanent("name-unsendable", format!("index {what} is not base64")).source(error)
    })?;
    Ok(text.as_bytes())
}

pub(super) fn parse_list(answer: &[u8]) -> Result<IndexList> {
    let mut list = IndexList::default();
    // with set indexes the list may begin with an empty entry (asb.md 7.2)
    for entry in answer.split(|byte| *byte == b';').filter(|entry| !entry.is_empty()) {
        if !is_pairs(entry, b':') {
            return Err(unreadable(entry));
        }
        if value_of(entry, b':', "indextype").is_some_and(|kind| kind.eq_ignore_ascii_case(b"set")) {
            let text = |key| String::from_utf8_lossy(value_of(entry, b':', key).unwrap_or_default());
            list.warnings.push(format!(
                "set index \"{}\" of set \"{}\" is left out: the backup format has no line for it",
                text("indexname"),
                text("set"),
            ));
            continue;
        }
        list.indexes.push(parse_entry(entry).ok_or_else(|| unreadable(entry))?);
    }
    Ok(list)
}

fn unreadable(entry: &[u8]) -> Error {
    Error::permanent(
        "index-unreadable",
        format!("index entry \"{}\" is not understood", String::from_utf8_lossy(entry)),
    )
    .hint("Report the entry; a backup without its indexes is made with no-indexes.")
}

fn parse_entry(entry: &[u8]) -> Option<IndexDef> {
    let get = |key| value_of(entry, b':', key).filter(|value| !value.is_empty());
    let absent = |value: &&[u8]| !value.eq_ignore_ascii_case(b"null");
    let text = |key| match get(key).filter(absent) {
        Some(value) => {
            base64_simd::STANDARD.check(value).ok()?;
            String::from_utf8(value.to_vec()).ok().map(Some)
        }
        None => Some(None),
    };
    let lower = |key| get(key).map(<[u8]>::to_ascii_lowercase);
    let expression = text("exp")?;
    let data_type = match lower("type")?.as_slice() {
        b"numeric" | b"int signed" | b"integer" => DataType::Numeric,
        b"string" | b"text" => DataType::String,
        b"geo2dsphere" | b"geojson" => DataType::Geo,
        b"blob" => DataType::Blob,
        _ => return None,
    };
    let index_type = match lower("indextype").as_deref() {
        None | Some(b"none" | b"default" | b"bin") => IndexType::Bin,
        Some(b"list") => IndexType::List,
        Some(b"mapkeys") => IndexType::MapKeys,
        Some(b"mapvalues") => IndexType::MapValues,
        Some(_) => return None,
    };
    // a set or bin may really be called "null"; only the server's word for "none" is told by its place
    let bin = get("bin")?;
    Some(IndexDef {
        namespace: get("ns").or_else(|| get("namespace"))?.to_vec(),
        set: get("set").filter(absent).unwrap_or_default().to_vec(),
        name: get("indexname")?.to_vec(),
        index_type,
        bin: bin.to_vec(),
        data_type,
        context: text("context")?,
        expression,
    })
}

#[cfg(test)]
mod tests {
    use super::{create_command, parse_list};
    use crate::aerospike::Build;
    use crate::asb::{DataType, IndexDef, IndexType};

    fn index() -> IndexDef {
        IndexDef {
            namespace: b"test".to_vec(),
            set: b"demo".to_vec(),
            name: b"idx".to_vec(),
            index_type: IndexType::Bin,
            bin: b"age".to_vec(),
            data_type: DataType::Numeric,
            context: None,
            expression: None,
        }
    }

    fn command(index: &IndexDef, build: &str) -> String {
        String::from_utf8(create_command(index, Build::parse(build).unwrap()).unwrap()).unwrap()
    }

    #[test]
    fn an_index_is_created_in_the_spelling_of_the_version() {
        // asb.md 7.1
        let list = IndexDef { index_type: IndexType::List, context: Some("lhABIg==".into()), ..index() };
        assert_eq!(
            command(&list, "8.0.9"),
            "sindex-create:ns=test;indexname=idx;set=demo;context=lhABIg==;indextype=LIST;indexdata=age,NUMERIC"
        );
        assert_eq!(
            command(&IndexDef { set: Vec::new(), ..index() }, "8.1.0"),
            "sindex-create:namespace=test;indexname=idx;bin=age;type=NUMERIC"
        );
    }

    #[test]
    fn an_expression_index_is_sent_without_its_bin_and_refused_by_old_servers() {
        let by_expression =
            IndexDef { expression: Some("kwGTUQ==".into()), bin: b"null".to_vec(), ..index() };
        assert_eq!(
            command(&by_expression, "8.1.0"),
            "sindex-create:namespace=test;indexname=idx;set=demo;exp=kwGTUQ==;type=NUMERIC"
        );
        let error = create_command(&by_expression, Build::parse("8.0.0").unwrap()).unwrap_err();
        assert_eq!(error.code(), "server-too-old");
    }

    #[test]
    fn the_list_is_read_in_old_and_new_spellings() {
        // asb.md 7.2
        let list = parse_list(
            b";ns=test_ns:indexname=test_id:set=testset:bin=test_list:type=numeric:indextype=list:\
              context=lhABI8zIIqMDaWQ=:state=RW;ns=test:indexname=e:set=null:bin=null:type=STRING:indextype=default:\
              context=null:exp=kwGTUQ==:state=WO",
        )
        .unwrap();
        let [by_list, by_expression] = list.indexes.as_slice() else { panic!("{list:?}") };
        assert_eq!(by_list.context.as_deref(), Some("lhABI8zIIqMDaWQ="));
        assert_eq!((by_list.index_type, by_list.set.as_slice()), (IndexType::List, &b"testset"[..]));
        assert_eq!(by_expression.expression.as_deref(), Some("kwGTUQ=="));
        assert!(by_expression.set.is_empty());
        assert_eq!(by_expression.bin, b"null");
        assert!(list.warnings.is_empty());
    }

    #[test]
    fn names_keep_every_byte_that_is_no_separator() {
        let list =
            parse_list(b"ns=t:indexname=i n:set=a= \\\xff\xc3\xbc:bin=b\x01,c:type=string:indextype=mapkeys")
                .unwrap();
        let [index] = list.indexes.as_slice() else { panic!("{list:?}") };
        assert_eq!(
            (index.set.as_slice(), index.bin.as_slice()),
            (&b"a= \\\xff\xc3\xbc"[..], &b"b\x01,c"[..])
        );
        assert_eq!((index.name.as_slice(), index.index_type), (&b"i n"[..], IndexType::MapKeys));
    }

    #[test]
    fn set_indexes_are_left_out_with_a_warning() {
        let list = parse_list(b";ns=test:indexname=si:set=demo:indextype=set").unwrap();
        assert!(list.indexes.is_empty());
        assert!(list.warnings[0].contains("\"si\""), "{:?}", list.warnings);
    }

    #[test]
    fn an_entry_that_is_not_understood_is_an_error_that_names_it() {
        for bad in [
            "ns=t:indexname=i:set=s:bin=b:type=vector:indextype=default",
            "ns=t:indexname=i:set=s:bin=b:type=numeric:indextype=hash",
            "ns=t:set=s:bin=b:type=numeric",
            "ns=t:indexname=i:set=a:b:bin=b:type=numeric",
            "ns=t:indexname=i:set=a:b:indextype=set",
            "ns=t:indexname=i:set=s:bin=b:type=numeric:context=!!",
        ] {
            let error = parse_list(bad.as_bytes()).unwrap_err();
            assert_eq!(error.code(), "index-unreadable");
            assert!(error.to_string().contains(bad), "{error}");
        }
    }

    #[test]
    fn a_name_that_would_change_the_command_is_refused() {
        let evil = IndexDef { name: b"a;set=other".to_vec(), ..index() };
        assert_eq!(create_command(&evil, Build::NAMED_PARAMETERS).unwrap_err().code(), "name-unsendable");
    }
}
