//! The two documents of ownership, `holdfast-owner.json` and `holdfast-instances/<id>.json`: see docs/storage-layout.md.

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::catalog::time;
use crate::error::{Error, Result};
use crate::model::{InstanceId, UnixMillis};

/// The version of both documents that this release writes, and the only one that it reads.
pub const VERSION: u32 = 1;

/// Both documents are far below this; what is larger is not ours.
pub const RECORD_BYTES_MAX: u64 = 64 * 1024;

/// Longer host names are cut: they are shown to people only.
const HOST_CHARS_MAX: usize = 255;

/// Who owns a routine's folder, as its owner file says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OwnerRecord {
    /// The instance that writes and prunes there.
    pub instance: InstanceId,
    /// Where it ran when it took the folder; for people.
    pub host: Option<String>,
    /// When it took the folder, by its own clock; for people.
    pub taken_at: Option<UnixMillis>,
}

impl std::fmt::Display for OwnerRecord {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "instance {}", self.instance)?;
        match &self.host {
            Some(host) => write!(f, " on host {host}"),
            None => Ok(()),
        }
    }
}

/// How a folder came to its owner.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum How {
    /// It had none.
    FirstWrite,
    /// Its owner was not renewed for long.
    Replaced,
    /// Somebody asked for it.
    Adopted,
}

#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
struct OwnerDocument<'a> {
    version: u32,
    instance: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    host: Option<&'a str>,
    taken_at: String,
    how: How,
    #[serde(skip_serializing_if = "Option::is_none")]
    previous: Option<&'a str>,
}

#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
struct InstanceDocument<'a> {
    version: u32,
    instance: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    host: Option<&'a str>,
    renewed_at: String,
}

/// What is read of an owner file; fields that a later release adds to this version are passed over.
#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Read {
    version: u32,
    instance: String,
    host: Option<String>,
    taken_at: Option<String>,
}

/// The owner file by which `instance` takes a folder.
pub fn owner_document(
    instance: &InstanceId,
    host: Option<&str>,
    at: UnixMillis,
    how: How,
    previous: Option<&InstanceId>,
) -> Result<Bytes> {
    let (instance, previous) = (instance.as_str(), previous.map(InstanceId::as_str));
    render(&OwnerDocument { version: VERSION, instance, host, taken_at: at.to_rfc3339(), how, previous })
}

/// The file by which `instance` shows that it lives.
pub fn instance_document(instance: &InstanceId, host: Option<&str>, at: UnixMillis) -> Result<Bytes> {
    let instance = instance.as_str();
    render(&InstanceDocument { version: VERSION, instance, host, renewed_at: at.to_rfc3339() })
}

fn render(document: &impl Serialize) -> Result<Bytes> {
    let text = serde_json::to_vec_pretty(document);
    text.map(Bytes::from)
        .map_err(|error| Error::permanent("owner-unwritable", "render an owner's document").source(error))
}

/// Reads an owner file, which is untrusted; the error says what is wrong with it.
pub fn parse_owner(bytes: &[u8]) -> Result<OwnerRecord, String> {
    let read: Read = serde_json::from_slice(bytes).map_err(|error| error.to_string())?;
    if read.version != VERSION {
        return Err(format!("it has version {}, this release reads version {VERSION}", read.version));
    }
    let instance =
        InstanceId::parse(&read.instance).map_err(|problem| format!("its instance id {problem}"))?;
    let host = read.host.map(|host| host.chars().filter(|c| !c.is_control()).take(HOST_CHARS_MAX).collect());
    let taken_at = read.taken_at.and_then(|at| time::parse(&at).ok());
    Ok(OwnerRecord { instance, host, taken_at })
}

#[cfg(test)]
mod tests {
    use super::{How, instance_document, owner_document, parse_owner};
    use crate::model::{InstanceId, UnixMillis};

    #[test]
    fn an_owner_file_is_read_as_it_was_written() {
        let (a, b) = (InstanceId::parse("a").unwrap(), InstanceId::parse("b").unwrap());
        let at = UnixMillis(1_700_000_000_000);
        let bytes = owner_document(&a, Some("db-1"), at, How::Replaced, Some(&b)).unwrap();
        let text = std::str::from_utf8(&bytes).unwrap();
        for part in ["\"version\": 1", "\"how\": \"replaced\"", "\"previous\": \"b\"", "2023-11-14T22:13:20Z"]
        {
            assert!(text.contains(part), "{part}: {text}");
        }
        let read = parse_owner(&bytes).unwrap();
        assert_eq!((read.instance, read.host.as_deref(), read.taken_at), (a.clone(), Some("db-1"), Some(at)));
        let bytes = instance_document(&a, None, at).unwrap();
        assert!(std::str::from_utf8(&bytes).unwrap().contains("\"renewed-at\": \"2023-11-14T22:13:20Z\""));
    }

    #[test]
    fn an_owner_file_is_not_trusted() {
        for bad in [
            "",
            "{}",
            "[]",
            r#"{"version": 2, "instance": "a"}"#,
            r#"{"version": 1, "instance": "../../etc/passwd"}"#,
            r#"{"version": 1, "instance": ""}"#,
            r#"{"version": 1}"#,
        ] {
            assert!(parse_owner(bad.as_bytes()).is_err(), "{bad}");
        }
        let odd = r#"{"version": 1, "instance": "a", "host": "x\u001b[2J", "taken-at": "?", "more": 1}"#;
        let read = parse_owner(odd.as_bytes()).unwrap();
        assert_eq!((read.host.as_deref(), read.taken_at), (Some("x[2J"), None));
    }
}
