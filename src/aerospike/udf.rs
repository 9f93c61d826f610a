//! UDF modules: list, get, put (asb.md 7.1). They belong to the cluster, not to a namespace.

use std::time::Duration;

use crate::asb::UdfDef;
use crate::error::{Error, Result};

use super::cluster::Cluster;
use super::index::POLL_INTERVAL;
use super::info::{check_parameter, is_pairs, value_of};

/// A cluster that takes longer than this to hand something on to all its nodes has a problem.
const SPREAD_DEADLINE: Duration = Duration::from_mins(1);

/// A registered module.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UdfName {
    /// File name.
    pub name: Vec<u8>,
    /// The server's hash of it; equal on all nodes once it has spread.
    pub hash: Vec<u8>,
}

impl Cluster {
    /// The registered modules, sorted by name.
    ///
    /// Errors: `udf-unreadable` (permanent) for an entry that is not understood or is not Lua.
    pub async fn list_udfs(&self) -> Result<Vec<UdfName>> {
        parse_list(&self.ask_any(b"udf-list").await?)
    }

    /// The source text of a module.
    pub async fn get_udf(&self, name: &[u8]) -> Result<UdfDef> {
        let command = [b"udf-get:filename=", check_parameter(name, "udf")?].concat();
        let answer = self.ask_any(&command).await?;
        let content = value_of(&answer, b';', "content")
            .and_then(|text| base64_simd::STANDARD.decode_to_vec(text).ok());
        Ok(UdfDef { name: name.to_vec(), content: content.ok_or_else(|| unreadable(&answer))? })
    }

    /// Registers a module, in place of one of the same name, and waits until every node has it.
    ///
    /// Errors: `udf-not-spread` (temporary) if that takes more than a minute.
    pub async fn put_udf(&self, udf: &UdfDef) -> Result<()> {
        let name = check_parameter(&udf.name, "udf")?;
        let content = base64_simd::STANDARD.encode_to_string(&udf.content);
        let length = content.len().to_string();
        let command = [
            b"udf-put:filename=",
            name,
            b";content=",
            content.as_bytes(),
            b";content-len=",
            length.as_bytes(),
            b";udf-type=LUA;",
        ]
        .concat();
        self.ask_any(&command).await?;
        let spread = tokio::time::timeout(SPREAD_DEADLINE, self.wait_for_udf(udf)).await;
        spread.unwrap_or_else(|_| Err(late(&udf.name)))
    }

    /// The hash is over more than the content, so equality of content is asked for itself.
    async fn wait_for_udf(&self, udf: &UdfDef) -> Result<()> {
        let command = [b"udf-get:filename=", udf.name.as_slice()].concat();
        for node in self.nodes().await {
            loop {
                let answer = node.ask(&[&command]).await?.pop().unwrap_or_default();
                let content = value_of(&answer, b';', "content");
                if content.and_then(|text| base64_simd::STANDARD.decode_to_vec(text).ok()).as_ref()
                    == Some(&udf.content)
                {
                    break;
                }
                tokio::time::sleep(POLL_INTERVAL).await;
            }
        }
        Ok(())
    }
}

fn late(name: &[u8]) -> Error {
    let (name, seconds) = (String::from_utf8_lossy(name), SPREAD_DEADLINE.as_secs());
    Error::temporary(
        "udf-not-spread",
        format!("UDF module {name} did not reach every node within {seconds} s"),
    )
    .hint("See the nodes' logs. The records of this backup are restored.")
}

pub(super) fn parse_list(answer: &[u8]) -> Result<Vec<UdfName>> {
    let entries = answer.split(|byte| *byte == b';').filter(|entry| !entry.is_empty());
    let mut udfs = entries.map(parse_entry).collect::<Result<Vec<_>>>()?;
    udfs.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(udfs)
}

fn parse_entry(entry: &[u8]) -> Result<UdfName> {
    let get = |key| value_of(entry, b',', key).filter(|value| !value.is_empty());
    if !is_pairs(entry, b',') || !get("type").is_some_and(|kind| kind.eq_ignore_ascii_case(b"LUA")) {
        return Err(unreadable(entry)); // the format has a letter for Lua only (asb.md 1.5)
    }
    let name = get("filename").ok_or_else(|| unreadable(entry))?.to_vec();
    Ok(UdfName { name, hash: get("hash").unwrap_or_default().to_vec() })
}

fn unreadable(entry: &[u8]) -> Error {
    let shown: String = String::from_utf8_lossy(entry).chars().take(120).collect();
    Error::permanent("udf-unreadable", format!("udf entry \"{shown}\" is not understood"))
}

#[cfg(test)]
mod tests {
    use super::parse_list;

    #[test]
    fn the_list_is_sorted_and_strict() {
        let list = parse_list(b"filename=b.lua,hash=22,type=LUA;filename=a.lua,hash=11,type=LUA;").unwrap();
        assert_eq!(list.iter().map(|udf| udf.name.as_slice()).collect::<Vec<_>>(), [b"a.lua", b"b.lua"]);
        assert!(parse_list(b"").unwrap().is_empty());
        for bad in [
            &b"hash=1,type=LUA;"[..],
            b"filename=a,b.lua,hash=1,type=LUA;",
            b"filename=x.py,hash=1,type=PYTHON;",
            b"nonsense;",
        ] {
            assert_eq!(parse_list(bad).unwrap_err().code(), "udf-unreadable");
        }
    }
}
