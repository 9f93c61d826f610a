//! Parameters that several routes take.

use serde_json::{Value, json};
use utoipa::openapi::path::{Parameter, ParameterBuilder, ParameterIn};
use utoipa::openapi::schema::{KnownFormat, SchemaFormat, Type};
use utoipa::openapi::{ObjectBuilder, Required};

/// An instant of the examples, in ms.
pub(super) const INSTANT: i64 = 1_795_253_891_047;

/// Those in a path, by their names and by what the path is about.
pub(super) fn of_path(path: &'static str) -> Vec<Parameter> {
    path.split('/')
        .filter_map(|segment| segment.strip_prefix('{')?.strip_suffix('}'))
        .map(|name| one(path, name))
        .collect()
}

/// What a path has by a name is called like that in the examples.
pub(super) fn name_in(path: &str) -> &'static str {
    match path.strip_prefix("/v1/config/").and_then(|rest| rest.split('/').next()) {
        Some("clusters") => "prod",
        Some("policies") => "keep-ten",
        Some("storage") => "disk",
        Some("secret-agents") => "vault",
        _ => "daily",
    }
}

fn one(path: &str, name: &'static str) -> Parameter {
    let kind = path.strip_prefix("/v1/config/").and_then(|rest| rest.split('/').next());
    let (says, schema, example) = match (name, kind) {
        ("id", _) => ("The job's id.", whole(None, None), json!(INSTANT)),
        ("timestamp", None) if path.starts_with("/v1/retrieve") => {
            ("The newest full that began by then, in ms since 1970.", whole(None, None), json!(INSTANT))
        }
        ("timestamp", _) => (
            "`timestamp` of the list: when the run began, in ms since 1970.",
            whole(None, None),
            json!(INSTANT),
        ),
        ("file", _) => ("A file of the page, or `doc.json`.", text(), json!("doc.json")),
        (_, Some("clusters")) => ("The cluster's name.", text(), json!(name_in(path))),
        (_, Some("policies")) => ("The policy's name.", text(), json!(name_in(path))),
        (_, Some("storage")) => ("The storage's name.", text(), json!(name_in(path))),
        (_, Some("secret-agents")) => ("The secret agent's name.", text(), json!(name_in(path))),
        _ => ("The routine's name.", text(), json!(name_in(path))),
    };
    let parameter =
        ParameterBuilder::new().name(name).parameter_in(ParameterIn::Path).required(Required::True);
    parameter.description(Some(says)).schema(Some(schema.build())).example(Some(example)).build()
}

fn query(name: &str, says: &str, schema: ObjectBuilder, example: Value) -> Parameter {
    let parameter =
        ParameterBuilder::new().name(name).parameter_in(ParameterIn::Query).required(Required::False);
    parameter.description(Some(says)).schema(Some(schema.build())).example(Some(example)).build()
}

fn text() -> ObjectBuilder {
    ObjectBuilder::new().schema_type(Type::String)
}

/// A whole number from 0, or within bounds; 63 bits.
fn whole(least: Option<i64>, most: Option<i64>) -> ObjectBuilder {
    let schema = ObjectBuilder::new()
        .schema_type(Type::Integer)
        .format(Some(SchemaFormat::KnownFormat(KnownFormat::Int64)));
    schema.minimum(Some(least.unwrap_or(0))).maximum(Some(most.unwrap_or(i64::MAX)))
}

/// A parameter that is `true` or `false`; absent is false.
pub(super) fn flag(name: &str, says: &str) -> Parameter {
    query(
        name,
        says,
        ObjectBuilder::new().schema_type(Type::Boolean).default(Some(json!(false))),
        json!(false),
    )
}

/// A parameter that is a text.
pub(super) fn word(name: &str, says: &str, example: &str) -> Parameter {
    query(name, says, text(), json!(example))
}

/// A parameter that is one of a few words.
pub(super) fn choice(name: &str, says: &str, words: &[&str]) -> Parameter {
    query(name, says, text().enum_values(Some(words.iter().copied())), json!(words.first()))
}

/// A parameter that is a whole number.
pub(super) fn number(name: &str, says: &str, most: i64, example: i64) -> Parameter {
    query(name, says, whole(None, Some(most)), json!(example))
}

/// `from` and `to`, both inclusive.
pub(super) fn bounds(of: &str) -> [Parameter; 2] {
    [
        query(
            "from",
            &format!("The earliest {of}, in ms since 1970, inclusive; not after `to`."),
            whole(None, None),
            json!(0),
        ),
        query(
            "to",
            &format!("The latest {of}, in ms since 1970, inclusive."),
            whole(None, None),
            json!(INSTANT),
        ),
    ]
}

/// `limit`.
pub(super) fn limit(default: i64) -> Parameter {
    let schema = whole(Some(1), Some(1000)).default(Some(json!(default)));
    query("limit", &format!("How many at most; default {default}."), schema, json!(10))
}

/// `cursor`.
pub(super) fn cursor(says: &str) -> Parameter {
    query("cursor", says, whole(None, None), json!(INSTANT))
}

/// `label` and `Idempotency-Key`: what every request takes that makes a job.
pub(super) fn asked() -> [Parameter; 2] {
    let label = "What the client calls the job: at most 128 characters, shown in it and a filter of `/v1/jobs`. Holdfast's own.";
    let key = "1 to 255 visible characters: the same key with the same request answers with the job that it made. Holdfast's own.";
    let key_schema = text().min_length(Some(1)).max_length(Some(255));
    [
        query("label", label, text().max_length(Some(128)), json!("before the upgrade")),
        header("Idempotency-Key", key, key_schema, json!("upgrade-7")),
    ]
}

/// `strict`.
pub(super) fn strict() -> Parameter {
    flag("strict", "A refused job is 409; else it is 202, and its row says why. Holdfast's own.")
}

/// `If-Match` and `dry-run`: what every change of the configuration takes.
pub(super) fn change() -> [Parameter; 2] {
    let matches = "Tags of the state that may be changed, or `*`: it must be there. Holdfast's own.";
    [
        flag(
            "dry-run",
            "Check everything, change nothing, and answer 200 with what would change. Holdfast's own.",
        ),
        header("If-Match", matches, text(), json!("*")),
    ]
}

fn header(name: &str, says: &str, schema: ObjectBuilder, example: Value) -> Parameter {
    let parameter =
        ParameterBuilder::new().name(name).parameter_in(ParameterIn::Header).required(Required::False);
    parameter.description(Some(says)).schema(Some(schema.build())).example(Some(example)).build()
}
