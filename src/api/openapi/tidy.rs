//! What the types cannot say of themselves: their comments speak to whoever reads the code.

use serde_json::{Map, Value, json};

/// The schema of any JSON, which needs no name.
const ANY: &str = "Value";

/// The document with what the types could not say.
pub(super) fn tidied(mut document: Value) -> Value {
    if let Some(schemas) = document.pointer_mut("/components/schemas").and_then(Value::as_object_mut) {
        schemas.remove(ANY);
        join(schemas);
    }
    words(&mut document);
    document
}

/// What a type has in common with another stands in it, field by field.
fn join(schemas: &mut Map<String, Value>) {
    let known = schemas.clone();
    for schema in schemas.values_mut().filter_map(Value::as_object_mut) {
        let Some(Value::Array(parts)) = schema.remove("allOf") else { continue };
        let about = schema.get("description").cloned();
        for part in parts {
            let part = match name_of(&part) {
                Some(name) => known.get(name).cloned().unwrap_or_default(),
                None => part,
            };
            if let Value::Object(part) = part {
                part.into_iter().for_each(|(key, value)| merge(schema, key, value));
            }
        }
        if let Some(about) = about {
            schema.insert("description".to_owned(), about);
        }
    }
}

/// The name of the schema that a reference leads to.
fn name_of(schema: &Value) -> Option<&str> {
    schema.get("$ref").and_then(Value::as_str).and_then(|path| path.rsplit_once('/')).map(|(_, name)| name)
}

fn merge(whole: &mut Map<String, Value>, key: String, value: Value) {
    match (whole.get_mut(&key), value) {
        (Some(Value::Object(there)), Value::Object(more)) => there.extend(more),
        (Some(Value::Array(there)), Value::Array(more)) => there.extend(more),
        (_, value) => {
            whole.insert(key, value);
        }
    }
}

/// Comments name chapters of documents that are not at hand, and link to other code.
fn words(value: &mut Value) {
    match value {
        Value::Object(object) => {
            lift(object);
            for (key, value) in object.iter_mut() {
                match value {
                    Value::String(text) if key == "description" => *text = for_readers(text),
                    value => words(value),
                }
            }
        }
        Value::Array(items) => items.iter_mut().for_each(words),
        _ => {}
    }
}

/// What is said of a field that may be null is said of the field; of one that may be anything nothing else is.
fn lift(schema: &mut Map<String, Value>) {
    let Some(Value::Array(choices)) = schema.get_mut("oneOf") else { return };
    let is_null = |choice: &Value| choice.get("type") == Some(&json!("null"));
    if !choices.iter().any(is_null) {
        return;
    }
    let about = choices.iter_mut().find_map(|choice| choice.as_object_mut()?.remove("description"));
    let any = choices.iter().any(|choice| name_of(choice) == Some(ANY));
    if any {
        schema.remove("oneOf");
    }
    if let Some(about) = about {
        schema.insert("description".to_owned(), about);
    }
}

fn for_readers(text: &str) -> String {
    let mut text = text.replace("[`", "`").replace("`]", "`");
    for source in [" (rules.md", " (abs.md", " (DESIGN.md"] {
        while let Some(start) = text.find(source) {
            let Some(end) = text.get(start..).and_then(|rest| rest.find(')')) else { break };
            text.replace_range(start..=start + end, "");
        }
    }
    text
}
