//! The tree of a JSON request body.

use std::cell::Cell;
use std::collections::HashSet;
use std::fmt;

use serde::de::{DeserializeSeed, Error as _, MapAccess, SeqAccess, Visitor};

use super::{DOCUMENT_BYTES_MAX, Entry, NODES_MAX, Node, Value};
use crate::config::problem::{Path, Problem, ProblemKind, Problems, clip};

/// Parses one JSON document (abs.md 1.1 [3.7]: empty bodies and trailing data are refused).
///
/// Nesting is bounded by serde_json itself (128 levels).
pub(crate) fn parse_json(body: &[u8]) -> Result<Node, Problems> {
    if body.len() > DOCUMENT_BYTES_MAX {
        return Err(shape("request body too large"));
    }
    if body.iter().all(u8::is_ascii_whitespace) {
        return Err(shape("request body is empty"));
    }
    let nodes = Cell::new(0);
    let mut json = serde_json::Deserializer::from_slice(body);
    let root = Seed { nodes: &nodes }.deserialize(&mut json).map_err(|error| json_error(&error))?;
    json.end().map_err(|error| json_error(&error))?;
    Ok(root)
}

fn json_error(error: &serde_json::Error) -> Problems {
    shape(clip(&error.to_string()))
}

fn shape(message: impl Into<String>) -> Problems {
    Problem::new(ProblemKind::Shape, Path::default(), message).into()
}

/// Reads one value, counting nodes.
struct Seed<'a> {
    nodes: &'a Cell<usize>,
}

impl<'de> DeserializeSeed<'de> for Seed<'_> {
    type Value = Node;

    fn deserialize<D: serde::Deserializer<'de>>(self, deserializer: D) -> Result<Node, D::Error> {
        self.nodes.set(self.nodes.get() + 1);
        if self.nodes.get() > NODES_MAX {
            return Err(D::Error::custom("too many values"));
        }
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Seed<'_> {
    type Value = Node;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<Node, E> {
        Ok(node(Value::Null))
    }

    fn visit_bool<E>(self, flag: bool) -> Result<Node, E> {
        Ok(node(Value::Bool(flag)))
    }

    fn visit_i64<E>(self, number: i64) -> Result<Node, E> {
        Ok(node(Value::Number(number.to_string())))
    }

    fn visit_u64<E>(self, number: u64) -> Result<Node, E> {
        Ok(node(Value::Number(number.to_string())))
    }

    fn visit_f64<E>(self, number: f64) -> Result<Node, E> {
        Ok(node(Value::Number(
            serde_json::Number::from_f64(number).map_or_else(String::new, |n| n.to_string()),
        )))
    }

    fn visit_str<E>(self, text: &str) -> Result<Node, E> {
        Ok(node(Value::Text(text.to_owned())))
    }

    fn visit_string<E>(self, text: String) -> Result<Node, E> {
        Ok(node(Value::Text(text)))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Node, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = seq.next_element_seed(Seed { nodes: self.nodes })? {
            items.push(item);
        }
        Ok(node(Value::List(items)))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Node, A::Error> {
        let mut entries = Vec::new();
        let mut seen = HashSet::new();
        while let Some(key) = map.next_key::<String>()? {
            let value = map.next_value_seed(Seed { nodes: self.nodes })?;
            if !seen.insert(key.clone()) {
                return Err(A::Error::custom(format_args!("key \"{}\" is given twice", clip(&key))));
            }
            entries.push(Entry { key, line: 0, column: 0, node: value });
        }
        Ok(node(Value::Map(entries)))
    }
}

fn node(value: Value) -> Node {
    Node { value, line: 0, column: 0 }
}
