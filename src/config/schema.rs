//! The JSON Schema of the documents (draft 2020-12): keys, types, bounds and words as the reader asks for them, texts from
//! `docs/configuration.md`, those of requests from `docs/api.md`.
//!
//! It refuses nothing that the reader takes. The reader refuses more: names that nothing has, cron texts, what depends on
//! other keys.

mod component;
mod words;

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value as Json, json};

use self::words::Words;
use super::deprecated::DEPRECATED;
use super::describe::{Asked, Described};
use super::kind::Kind;
use super::reader::Reading;
use super::{Config, CopyOrder, EntityKind, RestoreRequest, RestoreTimestampRequest, tree};
use crate::error::{Error, Result};
use crate::model::UnixMillis;

/// The configuration that stands in the schema as its example.
const EXAMPLE: &str = include_str!("../../config.yaml");

/// A document, or the part of one, that has a schema.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SchemaPart {
    /// The whole configuration.
    Whole,
    /// One thing of it.
    One(EntityKind),
    /// The body of a restore by path.
    Restore,
    /// The body of a restore by time.
    RestoreTimestamp,
    /// The body of an order to copy.
    CopyOrder,
}

/// How a document is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SchemaForm {
    /// As a YAML file, where a text, a number and a flag may all be a plain word.
    Yaml,
    /// As the JSON body of a request.
    Json,
    /// As the JSON that the service itself writes: no nulls, and words as they are listed. A client that does the same is
    /// always understood.
    Exact,
}

impl SchemaPart {
    const fn kind(self) -> Kind {
        match self {
            Self::Whole => Kind::Document,
            Self::One(EntityKind::Cluster) => Kind::Cluster,
            Self::One(EntityKind::SecretAgent) => Kind::SecretAgent,
            Self::One(EntityKind::Storage) => Kind::Storage,
            Self::One(EntityKind::Policy) => Kind::Policy,
            Self::One(EntityKind::Routine) => Kind::Routine,
            Self::Restore => Kind::Restore,
            Self::RestoreTimestamp => Kind::RestoreTimestamp,
            Self::CopyOrder => Kind::CopyOrder,
        }
    }

    /// How its schema is called among the [`components`].
    pub const fn component(self) -> &'static str {
        component::name(self.kind())
    }
}

/// The schema of one part, whole in itself: what it refers to is in its `$defs`.
pub fn schema(part: SchemaPart, form: SchemaForm) -> Json {
    let maker = Maker::new(form, "#/$defs/", name);
    let mut root = maker.section(part.kind());
    let defs: Map<String, Json> = maker
        .reachable(part.kind())
        .into_iter()
        .map(|kind| (name(kind), Json::Object(maker.section(kind))))
        .collect();
    let mut document = Map::new();
    document.insert("$schema".to_owned(), json!("https://json-schema.org/draft/2020-12/schema"));
    if part == SchemaPart::Whole {
        document.insert("title".to_owned(), json!("Configuration of Holdfast"));
        document.insert("examples".to_owned(), json!([example()]));
    }
    document.append(&mut root);
    if !defs.is_empty() {
        document.insert("$defs".to_owned(), Json::Object(defs));
    }
    Json::Object(document)
}

/// The schemas of all sections, by the names that they have in OpenAPI (`Cluster`, `Policy`, `RetryPolicy` …): each reference is
/// `prefix` and a name, as `#/components/schemas/Cluster`. A reference to `Secret` leads to what the secret's type says of itself.
pub fn components(prefix: &str) -> BTreeMap<&'static str, Json> {
    let maker = Maker::new(SchemaForm::Exact, prefix, |kind| component::name(kind).to_owned());
    let all = maker.described.0.keys();
    all.map(|kind| (component::name(*kind), Json::Object(maker.section(*kind)))).collect()
}

/// The schema of the configuration's file, as it is checked in.
///
/// Errors: `config-unwritable`.
pub fn text() -> Result<String> {
    let text = serde_json::to_string_pretty(&schema(SchemaPart::Whole, SchemaForm::Yaml));
    text.map(|text| text + "\n")
        .map_err(|error| Error::permanent("config-unwritable", "write the schema").source(error))
}

fn example() -> Json {
    tree::parse_yaml(EXAMPLE).map_or(Json::Null, |(root, _)| root.to_json())
}

/// How a kind of section is called.
fn name(kind: Kind) -> String {
    match kind {
        Kind::Document => "configuration".to_owned(),
        Kind::RestoreTimestamp => "restore-timestamp".to_owned(),
        Kind::Rate => "rate".to_owned(),
        _ => {
            let path = kind.path();
            let renamed = [
                ("aerospike-clusters.*", "cluster"),
                ("secret-agents.*", "secret-agent"),
                ("backup-policies.*", "policy"),
                ("backup-routines.*", "routine"),
                ("storage.*", "storage"),
            ];
            let found = renamed.iter().find_map(|(section, word)| Some((word, path.strip_prefix(section)?)));
            let name = found.map_or_else(|| path.to_owned(), |(word, rest)| format!("{word}{rest}"));
            name.replace("[*]", "").replace('.', "-")
        }
    }
}

/// Makes schemas of what the reader asks for.
struct Maker {
    form: SchemaForm,
    prefix: String,
    /// How the schema of a section is called.
    name: fn(Kind) -> String,
    described: Described,
    words: Words,
}

impl Maker {
    fn new(form: SchemaForm, prefix: &str, name: fn(Kind) -> String) -> Self {
        let reading = Reading::describing(UnixMillis(0));
        reading.describe::<Config>();
        reading.describe::<RestoreRequest>();
        reading.describe::<RestoreTimestampRequest>();
        reading.describe::<CopyOrder>();
        let described = reading.described.map(std::cell::RefCell::into_inner).unwrap_or_default();
        Self { form, prefix: prefix.to_owned(), name, described, words: Words::read() }
    }

    fn asked(&self, kind: Kind) -> &[(&'static str, Asked)] {
        self.described.0.get(&kind).map_or(&[], Vec::as_slice)
    }

    /// Every kind below one, that one only if it is below itself.
    fn reachable(&self, from: Kind) -> BTreeSet<Kind> {
        let (mut found, mut todo) = (BTreeSet::new(), vec![from]);
        while let Some(kind) = todo.pop() {
            for (_, asked) in self.asked(kind) {
                if let Asked::List(kind) | Asked::Section(kind) | Asked::Named(kind) = asked
                    && found.insert(*kind)
                {
                    todo.push(*kind);
                }
            }
        }
        found
    }

    fn section(&self, kind: Kind) -> Map<String, Json> {
        let (mut properties, mut required, mut rules) = (Map::new(), Vec::new(), Vec::new());
        let mut needs = Map::new();
        for (key, asked) in self.asked(kind) {
            match asked {
                Asked::Required if !required.contains(key) => required.push(*key),
                Asked::Required => {}
                Asked::Or(other) => {
                    rules.push(json!({"anyOf": [{"required": [key]}, {"required": [other]}]}));
                }
                Asked::NotWith(other) if self.form == SchemaForm::Exact => {
                    rules.push(json!({"not": {"required": [key, other]}}));
                }
                Asked::NotWith(other) => rules.push(not_both(key, other)),
                Asked::With(other) => {
                    needs.insert((*key).to_owned(), json!([other]));
                    needs.insert((*other).to_owned(), json!([key]));
                }
                _ => {
                    properties.entry(*key).or_insert_with(|| self.property(kind, key, asked));
                }
            }
        }
        if self.form != SchemaForm::Exact {
            known_and_refused(kind, &mut properties);
        }
        for key in &required {
            if let Some(property) = properties.get_mut(*key) {
                not_null(property);
            }
        }
        let mut section = Map::new();
        section.insert("description".to_owned(), json!(words::about(kind)));
        section.insert("type".to_owned(), json!("object"));
        section.insert("additionalProperties".to_owned(), json!(false));
        if kind == Kind::Storage {
            section.insert("minProperties".to_owned(), json!(1));
            section.insert("maxProperties".to_owned(), json!(1));
        }
        if !required.is_empty() {
            section.insert("required".to_owned(), json!(required));
        }
        section.insert("properties".to_owned(), Json::Object(properties));
        if !needs.is_empty() {
            section.insert("dependentRequired".to_owned(), Json::Object(needs));
        }
        if !rules.is_empty() {
            section.insert("allOf".to_owned(), Json::Array(rules));
        }
        section
    }

    /// A key of a section: what it takes, what it means, what it is without being given.
    fn property(&self, kind: Kind, key: &str, asked: &Asked) -> Json {
        let mut property = self.shape(asked);
        let Some(words) = self.words.of_key(kind, key) else { return property };
        let Some(fields) = property.as_object_mut() else { return property };
        fields.insert("description".to_owned(), json!(words.text));
        if let Some(default) = words.default.and_then(|text| default(asked, &text)) {
            fields.insert("default".to_owned(), default);
        }
        if let Some(example) = words::example(kind, key) {
            fields.insert("examples".to_owned(), json!([example]));
        }
        property
    }

    /// What a key takes.
    fn shape(&self, asked: &Asked) -> Json {
        match self.form {
            SchemaForm::Yaml => self.lenient(asked, true),
            SchemaForm::Json => self.lenient(asked, false),
            SchemaForm::Exact => self.exact(asked),
        }
    }

    fn reference(&self, kind: Kind) -> Json {
        json!({"$ref": format!("{}{}", self.prefix, (self.name)(kind))})
    }

    /// Everything that the reader takes.
    fn lenient(&self, asked: &Asked, yaml: bool) -> Json {
        // What YAML has without quotes is a text where one is asked for.
        let text = if yaml { json!(["string", "number", "boolean"]) } else { json!(["string"]) };
        let or_null = |types: &Json| {
            let mut types = types.as_array().cloned().unwrap_or_default();
            types.push(json!("null"));
            json!({"type": types})
        };
        match asked {
            Asked::Text | Asked::Secret => or_null(&text),
            Asked::Flag if yaml => json!({"anyOf": [
                {"type": ["boolean", "null"]}, {"enum": ["yes", "Yes", "YES", "on", "On", "ON", "no", "No", "NO", "off", "Off", "OFF"]},
            ]}),
            Asked::Flag => json!({"type": ["boolean", "null"]}),
            Asked::Int(least, most) if yaml => json!({"anyOf": [
                {"type": "integer", "minimum": least, "maximum": most},
                {"type": "string", "pattern": "^[-+]?[0-9]+(_+[0-9]+)+$"},
                {"type": "null"},
            ]}),
            Asked::Int(least, most) => {
                json!({"type": ["integer", "null"], "minimum": least, "maximum": most})
            }
            Asked::Number(least, most) => {
                json!({"type": ["number", "null"], "minimum": least, "maximum": most})
            }
            Asked::Word(words) => word(words, yaml),
            Asked::Texts => json!({"type": ["array", "null"], "items": {"type": text}}),
            Asked::Ints(least, most) => json!({
                "type": ["array", "null"], "items": {"type": "integer", "minimum": least, "maximum": most},
            }),
            Asked::List(kind) => json!({"type": ["array", "null"], "items": self.reference(*kind)}),
            Asked::Section(kind) => json!({"anyOf": [self.reference(*kind), {"type": "null"}]}),
            Asked::Named(kind) => json!({
                "type": ["object", "null"], "additionalProperties": self.reference(*kind), "propertyNames": names(),
            }),
            Asked::Required | Asked::Or(_) | Asked::NotWith(_) | Asked::With(_) => json!({}),
        }
    }

    /// What the service writes of it.
    fn exact(&self, asked: &Asked) -> Json {
        let int = |least: &i64, most: &i64| {
            let format =
                if i32::try_from(*least).is_ok() && i32::try_from(*most).is_ok() { "int32" } else { "int64" };
            json!({"type": "integer", "format": format, "minimum": least, "maximum": most})
        };
        match asked {
            Asked::Text => json!({"type": "string"}),
            Asked::Secret => json!({"$ref": format!("{}Secret", self.prefix)}),
            Asked::Flag => json!({"type": "boolean"}),
            Asked::Int(least, most) => int(least, most),
            Asked::Number(least, most) => json!({"type": "number", "minimum": least, "maximum": most}),
            Asked::Word(words) => json!({"type": "string", "enum": words}),
            Asked::Texts => json!({"type": "array", "items": {"type": "string"}}),
            Asked::Ints(least, most) => json!({"type": "array", "items": int(least, most)}),
            Asked::List(kind) => json!({"type": "array", "items": self.reference(*kind)}),
            Asked::Section(kind) => self.reference(*kind),
            Asked::Named(kind) => json!({
                "type": "object", "additionalProperties": self.reference(*kind), "propertyNames": names(),
            }),
            Asked::Required | Asked::Or(_) | Asked::NotWith(_) | Asked::With(_) => json!({}),
        }
    }
}

/// What a thing may be called.
fn names() -> Json {
    json!({"minLength": 1, "maxLength": 255, "pattern": "^[^~/\\\\][^/\\\\]*$", "not": {"enum": [".", ".."]}})
}

/// Keys that stop the start whatever they say: an editor can tell why.
fn known_and_refused(kind: Kind, properties: &mut Map<String, Json>) {
    let deprecated = DEPRECATED.iter().filter(|(of, _, _)| *of == kind);
    let refused = deprecated.map(|(_, key, instead)| (*key, format!("field \"{key}\" {instead}")));
    for (key, why) in refused {
        let property = json!({
            "not": {}, "deprecated": true, "description": why, "errorMessage": why, "deprecationMessage": why,
        });
        properties.insert(key.to_owned(), property);
    }
}

/// A few words in any case; an empty text is as good as none.
fn word(words: &[&'static str], yaml: bool) -> Json {
    let any_case = |word: &str| -> String {
        let letter = |c: char| match c {
            c if c.is_ascii_alphabetic() => format!("[{}{}]", c.to_ascii_uppercase(), c.to_ascii_lowercase()),
            c if c.is_ascii_alphanumeric() || c == '_' || c == '-' || c == ':' => c.to_string(),
            c => format!("\\{c}"),
        };
        word.chars().map(letter).collect()
    };
    let pattern: Vec<String> = words.iter().map(|word| any_case(word)).collect();
    let mut ways = vec![
        json!({"enum": words}),
        json!({"type": "string", "pattern": format!("^({}|)$", pattern.join("|"))}),
        json!({"type": "null"}),
    ];
    let numbers: Vec<f64> = words.iter().filter_map(|word| word.parse().ok()).collect();
    if yaml && !numbers.is_empty() {
        ways.push(json!({"enum": numbers}));
    }
    json!({"anyOf": ways})
}

fn not_both(one: &str, other: &str) -> Json {
    let given = json!({"not": {"type": "null"}});
    json!({"not": {"required": [one, other], "properties": {one: given, other: given}}})
}

/// What must be there is not null.
fn not_null(property: &mut Json) {
    if let Some(types) = property.get_mut("type").and_then(Json::as_array_mut) {
        types.retain(|kind| kind != "null");
    }
    if let Some(ways) = property.get_mut("anyOf").and_then(Json::as_array_mut) {
        ways.retain(|way| way != &json!({"type": "null"}));
    }
}

/// What stands as the default in the document, where it is a value of the key.
fn default(asked: &Asked, text: &str) -> Option<Json> {
    let first = text.split_whitespace().next()?.trim_matches(['`', '"', ',', ';']);
    match asked {
        Asked::Int(least, most) => {
            let number: i64 = first.parse().ok()?;
            (*least..=*most).contains(&number).then(|| json!(number))
        }
        Asked::Number(..) => first.parse::<f64>().ok().map(|number| json!(number)),
        Asked::Flag => first.trim_end_matches(';').parse::<bool>().ok().map(|flag| json!(flag)),
        Asked::Word(words) if text.starts_with('`') => {
            words.iter().find(|word| **word == first).map(|word| json!(word))
        }
        _ => None,
    }
}
