//! `metadata.yaml`: ABS's completion marker, with exactly its keys (abs.md 3).
//!
//! ABS refuses unknown keys and a listing in which one document is broken, so writing is exact; reading is lenient.

use std::fmt::Write as _;

use serde::de::{Deserialize, Deserializer, IgnoredAny, MapAccess, Visitor};
use serde::{Deserialize as DeriveDeserialize, Serialize};

use super::time::{GO_ZERO, parse, parse_rounded_up};
use crate::asb::CipherMode;
use crate::model::{BackupType, UnixMillis, check_name};

/// The largest document that is read: ABS's own have about 400 bytes.
pub const METADATA_BYTES_MAX: u64 = 64 * 1024;

/// How the files of a backup are compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, DeriveDeserialize, utoipa::ToSchema)]
#[serde(rename_all = "UPPERCASE")]
#[schema(as = BackupCompression)]
pub enum Compression {
    /// Not at all.
    #[default]
    None,
    /// One zstd stream per file.
    Zstd,
}

impl Compression {
    /// ABS's word.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::None => "NONE",
            Self::Zstd => "ZSTD",
        }
    }

    /// The mode of ABS's word, in any case; none for an unknown one.
    pub fn parse(word: &str) -> Option<Self> {
        [Self::None, Self::Zstd].into_iter().find(|mode| mode.as_str().eq_ignore_ascii_case(word))
    }
}

/// How the files of a backup are encrypted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, DeriveDeserialize)]
pub enum Encryption {
    /// Not at all.
    #[default]
    #[serde(rename = "NONE")]
    None,
    /// AES-128 in counter mode.
    #[serde(rename = "AES128")]
    Aes128,
    /// AES-256 in counter mode.
    #[serde(rename = "AES256")]
    Aes256,
    /// AES-256 in Galois/counter mode: ours; ABS's documents say `AES256` (rules.md 3.10).
    #[serde(rename = "AES256-GCM")]
    Aes256Gcm,
}

impl Encryption {
    /// ABS's word: what `metadata.yaml` and ABS's API say.
    pub const fn abs_word(self) -> &'static str {
        match self {
            Self::None => "NONE",
            Self::Aes128 => "AES128",
            Self::Aes256 | Self::Aes256Gcm => "AES256",
        }
    }

    /// The mode of [`Encryption::word`]; none for an unknown one.
    pub fn of_word(word: &str) -> Option<Self> {
        [Self::None, Self::Aes128, Self::Aes256, Self::Aes256Gcm].into_iter().find(|mode| mode.word() == word)
    }

    /// The mode's own word.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Aes256Gcm => "AES256-GCM",
            other => other.abs_word(),
        }
    }

    /// The cipher; none if the files are not encrypted.
    pub const fn cipher(self) -> Option<CipherMode> {
        match self {
            Self::None => None,
            Self::Aes128 => Some(CipherMode::Aes128),
            Self::Aes256 => Some(CipherMode::Aes256),
            Self::Aes256Gcm => Some(CipherMode::Aes256Gcm),
        }
    }

    /// The word of a cipher.
    pub const fn of_cipher(mode: Option<CipherMode>) -> Self {
        match mode {
            None => Self::None,
            Some(CipherMode::Aes128) => Self::Aes128,
            Some(CipherMode::Aes256) => Self::Aes256,
            Some(CipherMode::Aes256Gcm) => Self::Aes256Gcm,
        }
    }

    fn parse(word: &str) -> Option<Self> {
        [Self::None, Self::Aes128, Self::Aes256]
            .into_iter()
            .find(|mode| mode.abs_word().eq_ignore_ascii_case(word))
    }
}

/// What `metadata.yaml` says of one namespace of one run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Metadata {
    /// The start of the run.
    pub created: UnixMillis,
    /// The end of this namespace; absent in documents of some writers.
    pub finished: Option<UnixMillis>,
    /// The `created` that an incremental builds on; none for a full.
    pub from: Option<UnixMillis>,
    /// The namespace: the folder's name may differ from it.
    pub namespace: String,
    /// Records in the files.
    pub record_count: u64,
    /// Bytes in storage.
    pub byte_count: u64,
    /// Files in storage.
    pub file_count: u64,
    /// Secondary indexes in the files.
    pub secondary_index_count: u64,
    /// UDF modules in the files.
    pub udf_count: u64,
    /// How the files are compressed.
    pub compression: Compression,
    /// How the files are encrypted, as far as ABS's words tell.
    pub encryption: Encryption,
}

impl Metadata {
    /// The document, in ABS's order and form.
    pub fn to_yaml(&self) -> String {
        let instant = |at: Option<UnixMillis>| at.map_or(GO_ZERO.to_owned(), UnixMillis::to_rfc3339);
        let mut yaml = String::with_capacity(400);
        let lines: [(&str, &dyn std::fmt::Display); 11] = [
            ("created", &self.created.to_rfc3339()),
            ("finished", &instant(self.finished.or(Some(self.created)))),
            ("from", &instant(self.from)),
            ("namespace", &yaml_scalar(&self.namespace)),
            ("record-count", &self.record_count),
            ("byte-count", &self.byte_count),
            ("file-count", &self.file_count),
            ("secondary-index-count", &self.secondary_index_count),
            ("udf-count", &self.udf_count),
            ("compression", &self.compression.as_str()),
            ("encryption", &self.encryption.abs_word()),
        ];
        for (key, value) in lines {
            let _ = writeln!(yaml, "{key}: {value}"); // writing to a String cannot fail
        }
        yaml
    }

    /// Reads a document and what is odd about it; the error says what is broken.
    pub fn parse(bytes: &[u8]) -> Result<(Self, Vec<String>), String> {
        let text = std::str::from_utf8(bytes).map_err(|_| "metadata.yaml is not UTF-8".to_owned())?;
        if text.trim().is_empty() {
            return Err("metadata.yaml is empty".to_owned());
        }
        let options = serde_saphyr::options! { with_snippet: false };
        let raw: Raw = serde_saphyr::from_str_with_options(text, options)
            .map_err(|error| format!("metadata.yaml cannot be read: {error}"))?;
        if !text.ends_with('\n') && raw.looks_cut() {
            return Err("metadata.yaml is truncated".to_owned());
        }
        raw.check().map_err(|problem| format!("metadata.yaml {problem}"))
    }

    /// The type that a document of this `from` belongs to.
    pub fn backup_type(&self) -> BackupType {
        if self.from.is_some() { BackupType::Incremental } else { BackupType::Full }
    }
}

/// A YAML scalar that reads back as this string: plain where no reader could take it for something else.
fn yaml_scalar(text: &str) -> String {
    const RESERVED: [&str; 9] = ["y", "n", "yes", "no", "on", "off", "true", "false", "null"];
    let plain = text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && text.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.'))
        && !RESERVED.contains(&text.to_ascii_lowercase().as_str());
    // A JSON string is a YAML double-quoted scalar.
    if plain { text.to_owned() } else { serde_json::Value::from(text).to_string() }
}

/// The document as written: every key optional, unknown ones remembered.
#[derive(Default)]
struct Raw {
    created: Option<String>,
    finished: Option<String>,
    from: Option<String>,
    namespace: Option<String>,
    counts: [Option<u64>; 5],
    compression: Option<String>,
    encryption: Option<String>,
    unknown: Vec<String>,
}

impl<'de> Deserialize<'de> for Raw {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct RawVisitor;
        impl<'de> Visitor<'de> for RawVisitor {
            type Value = Raw;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("a mapping with ABS's keys")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Raw, A::Error> {
                let mut raw = Raw::default();
                while let Some(key) = map.next_key::<String>()? {
                    match key.as_str() {
                        "created" => raw.created = map.next_value()?,
                        "finished" => raw.finished = map.next_value()?,
                        "from" => raw.from = map.next_value()?,
                        "namespace" => raw.namespace = map.next_value()?,
                        "compression" => raw.compression = map.next_value()?,
                        "encryption" => raw.encryption = map.next_value()?,
                        other => {
                            let at = COUNT_KEYS.iter().position(|key| *key == other);
                            if let Some(count) = at.and_then(|at| raw.counts.get_mut(at)) {
                                *count = map.next_value()?;
                            } else {
                                map.next_value::<IgnoredAny>()?;
                                raw.unknown.push(key);
                            }
                        }
                    }
                }
                Ok(raw)
            }
        }
        deserializer.deserialize_map(RawVisitor)
    }
}

const COUNT_KEYS: [&str; 5] =
    ["record-count", "byte-count", "file-count", "secondary-index-count", "udf-count"];

impl Raw {
    /// Whether a document without a final line end lost its last keys: every writer that gives more than the two
    /// required keys gives `encryption` last.
    fn looks_cut(&self) -> bool {
        let more = self.finished.is_some() || self.from.is_some() || self.counts.iter().any(Option::is_some);
        more && self.encryption.as_deref().is_none_or(str::is_empty)
    }

    fn check(self) -> Result<(Metadata, Vec<String>), String> {
        let mut warnings: Vec<String> =
            self.unknown.iter().map(|key| format!("metadata.yaml has the unknown key {key:?}")).collect();
        let created = self.created.ok_or("has no created")?;
        let created = parse(&created).map_err(|problem| format!("has a wrong created: {problem}"))?;
        if created.0 <= 0 {
            return Err("has a created that is no instant".to_owned());
        }
        let namespace = self.namespace.ok_or("has no namespace")?;
        check_name(&namespace).map_err(|problem| format!("names a namespace that {problem}"))?;
        let finished = self.finished.as_deref().map(parse_rounded_up).transpose();
        let mut finished = finished.map_err(|problem| format!("has a wrong finished: {problem}"))?;
        finished = finished.filter(|at| at.0 > 0);
        match finished {
            Some(at) if at < created => {
                warnings.push(format!("metadata.yaml has a finished ({at}) before its created ({created})"));
                finished = Some(created);
            }
            Some(_) => {}
            None => warnings.push("metadata.yaml has no finished: its created counts".to_owned()),
        }
        let from = self.from.as_deref().map(parse).transpose();
        let from = from.map_err(|problem| format!("has a wrong from: {problem}"))?.filter(|at| at.0 > 0);
        let word = self.compression.as_deref().filter(|word| !word.is_empty()).unwrap_or("NONE");
        let compression =
            Compression::parse(word).ok_or_else(|| format!("has the unknown compression {word:?}"))?;
        let word = self.encryption.as_deref().filter(|word| !word.is_empty()).unwrap_or("NONE");
        let encryption =
            Encryption::parse(word).ok_or_else(|| format!("has the unknown encryption {word:?}"))?;
        let [record_count, byte_count, file_count, secondary_index_count, udf_count] =
            self.counts.map(Option::unwrap_or_default);
        let metadata = Metadata {
            created,
            finished,
            from,
            namespace,
            record_count,
            byte_count,
            file_count,
            secondary_index_count,
            udf_count,
            compression,
            encryption,
        };
        Ok((metadata, warnings))
    }
}

#[cfg(test)]
mod tests {
    use super::{Compression, Encryption, METADATA_BYTES_MAX, Metadata};
    use crate::model::UnixMillis;

    /// The document of abs.md 3, byte for byte.
    const DOCUMENTED: &str = "\
created: 2024-01-01T12:00:00Z
finished: 2024-01-01T12:05:00Z
from: 0001-01-01T00:00:00Z
namespace: source-ns1
record-count: 42
byte-count: 480000
file-count: 1
secondary-index-count: 5
udf-count: 1
compression: ZSTD
encryption: NONE
";

    fn documented() -> Metadata {
        Metadata {
            created: UnixMillis(1_704_110_400_000),
            finished: Some(UnixMillis(1_704_110_700_000)),
            from: None,
            namespace: "source-ns1".to_owned(),
            record_count: 42,
            byte_count: 480_000,
            file_count: 1,
            secondary_index_count: 5,
            udf_count: 1,
            compression: Compression::Zstd,
            encryption: Encryption::None,
        }
    }

    #[test]
    fn writes_and_reads_the_documented_form() {
        assert_eq!(documented().to_yaml(), DOCUMENTED);
        assert_eq!(Metadata::parse(DOCUMENTED.as_bytes()), Ok((documented(), vec![])));
    }

    #[test]
    fn writing_and_reading_agree() {
        for namespace in
            ["a", "0", "1e3", "true", "No", "null", "a b", "ü", "-x", "a: b", "#", "'", "\"q\"", "~x~"]
        {
            let metadata = Metadata {
                created: UnixMillis(1_704_110_400_123),
                from: Some(UnixMillis(1_704_110_300_010)),
                namespace: namespace.to_owned(),
                record_count: u64::MAX,
                compression: Compression::None,
                encryption: Encryption::Aes128,
                ..documented()
            };
            let yaml = metadata.to_yaml();
            if namespace.starts_with('~') {
                assert!(Metadata::parse(yaml.as_bytes()).is_err());
            } else {
                assert_eq!(Metadata::parse(yaml.as_bytes()), Ok((metadata, vec![])), "{yaml}");
            }
        }
        // rules.md 3.10: the true mode is in the manifest only.
        let gcm = Metadata { encryption: Encryption::Aes256Gcm, ..documented() };
        assert!(gcm.to_yaml().ends_with("encryption: AES256\n"));
        assert!(
            Metadata { finished: None, ..documented() }.to_yaml().contains("finished: 2024-01-01T12:00:00Z")
        );
    }

    /// abs.md 7.8
    #[test]
    fn created_and_namespace_are_enough() {
        let (metadata, warnings) =
            Metadata::parse(b"created: 2024-01-01T12:00:00.123456789Z\nnamespace: ns1\n").unwrap();
        assert_eq!(metadata.created, UnixMillis(1_704_110_400_123));
        assert_eq!((metadata.finished, metadata.from), (None, None));
        assert_eq!((metadata.compression, metadata.encryption), (Compression::None, Encryption::None));
        assert_eq!(warnings.len(), 1, "{warnings:?}");
    }

    #[test]
    fn oddities_are_read_with_a_warning() {
        let text =
            format!("{DOCUMENTED}new-key: {{a: [1, 2]}}\n").replace("NONE", "aes256").replace("ZSTD", "''");
        let (metadata, warnings) = Metadata::parse(text.as_bytes()).unwrap();
        assert_eq!((metadata.compression, metadata.encryption), (Compression::None, Encryption::Aes256));
        assert!(warnings.len() == 1 && warnings[0].contains("new-key"), "{warnings:?}");
        let text = DOCUMENTED.replace("finished: 2024", "finished: 2023");
        let (metadata, warnings) = Metadata::parse(text.as_bytes()).unwrap();
        assert_eq!((metadata.finished, warnings.len()), (Some(metadata.created), 1));
        // What other YAML writers make of the same document.
        let text = DOCUMENTED
            .replace("source-ns1", "123")
            .replace("2024-01-01T12:00:00Z", "\"2024-01-01T12:00:00Z\"");
        assert_eq!(Metadata::parse(format!("---\n{text}").as_bytes()).unwrap().0.namespace, "123");
        // The end is rounded up, the start is not (rules.md 3.1).
        let text = DOCUMENTED.replace("12:05:00Z", "12:05:00.0000001Z");
        assert_eq!(Metadata::parse(text.as_bytes()).unwrap().0.finished, Some(UnixMillis(1_704_110_700_001)));
    }

    #[test]
    fn broken_documents_say_what_is_broken() {
        let cases = [
            (String::new(), "empty"),
            (" \n\n".to_owned(), "empty"),
            ("null\n".to_owned(), "metadata.yaml"),
            ("[1, 2]\n".to_owned(), "metadata.yaml"),
            ("created: 2024-01-01T12:00:00Z\n".to_owned(), "no namespace"),
            ("namespace: ns1\n".to_owned(), "no created"),
            (DOCUMENTED.replace("2024-01-01T12:00:00Z", "0001-01-01T00:00:00Z"), "no instant"),
            (DOCUMENTED.replace("source-ns1", "../x"), "single path segment"),
            (DOCUMENTED.replace("ZSTD", "LZ4"), "LZ4"),
            (DOCUMENTED.replace("NONE", "ROT13"), "ROT13"),
            (DOCUMENTED.replace("42", "-1"), "cannot be read"),
            (DOCUMENTED.replace("42", "many"), "cannot be read"),
            (format!("{DOCUMENTED}namespace: other\n"), "cannot be read"),
        ];
        for (text, says) in cases {
            let error = Metadata::parse(text.as_bytes()).unwrap_err();
            assert!(error.contains(says), "{text}: {error}");
        }
        assert!(Metadata::parse(b"created: \xff\n").unwrap_err().contains("UTF-8"));
    }

    #[test]
    fn a_truncated_document_is_broken() {
        let whole = DOCUMENTED.trim_end();
        for end in 0..whole.len() {
            let cut = &whole[..end];
            assert!(cut.ends_with('\n') || Metadata::parse(cut.as_bytes()).is_err(), "{cut}");
        }
        assert_eq!(Metadata::parse(whole.as_bytes()), Ok((documented(), vec![])));
        assert!(Metadata::parse(b"created: 2024-01-01T12:00:00Z\nnamespace: ns1").is_ok(), "abs.md 7.8");
    }

    #[test]
    fn an_alias_bomb_is_refused() {
        let mut bomb = "k0: &a0 [x,x,x,x,x,x,x,x]\n".to_owned();
        for at in 1..20 {
            let below = format!("*a{},", at - 1).repeat(8);
            bomb = format!("{bomb}k{at}: &a{at} [{below}]\n");
        }
        assert!((bomb.len() as u64) < METADATA_BYTES_MAX);
        bomb.push_str(DOCUMENTED);
        assert!(Metadata::parse(bomb.as_bytes()).unwrap_err().contains("cannot be read"));
    }
}
