//! A document as a tree that knows where each field stands; from YAML or JSON, bounded in size, depth and copies.
//!
//! Serde stops at the first mistake and loses the lines. This tree keeps them, and leaves a plain scalar's type
//! to who reads it: `port: 3000` and `label: 3000` are both fine.

mod json;
mod yaml;

pub(crate) use json::parse_json;
pub(crate) use yaml::parse_yaml;

/// The largest document, in bytes: ABS 3.7's bound for a request (abs.md 1.1).
pub const DOCUMENT_BYTES_MAX: usize = 8 << 20;

/// The most nodes, copies by aliases included: some ten thousand routines.
const NODES_MAX: usize = 200_000;

/// The deepest nesting; the deepest known field is seven levels down.
const DEPTH_MAX: usize = 32;

/// A value and where it stands (from 1; 0 in a request).
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Node {
    pub(crate) value: Value,
    pub(crate) line: u32,
    pub(crate) column: u32,
}

/// What stands there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Value {
    Null,
    /// An unquoted YAML scalar: whoever reads it says what it is.
    Plain(String),
    /// A quoted text.
    Text(String),
    /// A JSON number.
    Number(String),
    /// A JSON boolean.
    Bool(bool),
    List(Vec<Node>),
    Map(Vec<Entry>),
}

/// One field of a mapping; keys are unique.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) key: String,
    pub(crate) line: u32,
    pub(crate) column: u32,
    pub(crate) node: Node,
}

impl Node {
    /// An empty mapping, as an empty file is one.
    pub(crate) fn empty() -> Self {
        Self { value: Value::Map(Vec::new()), line: 1, column: 1 }
    }

    /// How many nodes it is.
    fn size(&self) -> usize {
        1 + match &self.value {
            Value::List(items) => items.iter().map(Self::size).sum(),
            Value::Map(entries) => entries.iter().map(|entry| entry.node.size()).sum(),
            _ => 0,
        }
    }

    /// The value as JSON.
    pub(crate) fn to_json(&self) -> serde_json::Value {
        match &self.value {
            Value::Null => serde_json::Value::Null,
            Value::Plain(text) => plain_to_json(text),
            Value::Text(text) => text.as_str().into(),
            Value::Number(text) => serde_json::from_str(text).unwrap_or_else(|_| text.as_str().into()),
            Value::Bool(flag) => (*flag).into(),
            Value::List(items) => items.iter().map(Self::to_json).collect(),
            Value::Map(entries) => {
                entries.iter().map(|entry| (entry.key.clone(), entry.node.to_json())).collect()
            }
        }
    }
}

fn plain_to_json(text: &str) -> serde_json::Value {
    if let Some(flag) = plain_flag(text) {
        return flag.into();
    }
    match plain_int(text) {
        Some(number) => number.into(),
        None => text.into(),
    }
}

/// The boolean that an unquoted scalar says, in the words of YAML 1.1 as Go's reader takes them.
pub(crate) fn plain_flag(text: &str) -> Option<bool> {
    match text {
        "true" | "True" | "TRUE" | "yes" | "Yes" | "YES" | "on" | "On" | "ON" => Some(true),
        "false" | "False" | "FALSE" | "no" | "No" | "NO" | "off" | "Off" | "OFF" => Some(false),
        _ => None,
    }
}

/// The integer that an unquoted scalar says: decimal, with `_` between digits as in YAML 1.1 (abs.md 2.1).
///
/// A leading zero is refused: YAML 1.1 reads it as octal, YAML 1.2 as decimal.
pub(crate) fn plain_int(text: &str) -> Option<i64> {
    let digits = text.strip_prefix(['-', '+']).unwrap_or(text);
    let clear = digits.starts_with(|c: char| c.is_ascii_digit())
        && digits.ends_with(|c: char| c.is_ascii_digit())
        && (digits == "0" || !digits.starts_with('0'));
    if !clear || !digits.chars().all(|c| c.is_ascii_digit() || c == '_') {
        return None;
    }
    text.replace('_', "").parse().ok()
}
