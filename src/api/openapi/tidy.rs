//! What the types cannot say of themselves: documents that are read have no nulls and no unknown keys, and their comments
//! speak to whoever reads the code.

use serde_json::{Map, Value, json};

/// Where the types of documents begin: they and all that they name are read, and refuse what they do not know.
const READ: [&str; 3] = ["Config", "RestoreRequest", "RestoreTimestampRequest"];

/// Types whose fields stand among those of a request.
const FLATTENED: [&str; 2] = ["RestoreEnds", "RestoreCare"];

/// The document with what the types could not say.
pub(super) fn tidied(mut document: Value) -> Value {
    if let Some(schemas) = document.pointer_mut("/components/schemas").and_then(Value::as_object_mut) {
        flatten(schemas);
        let mut read: Vec<String> = READ.map(str::to_owned).into();
        let mut next = 0;
        while let Some(name) = read.get(next).cloned() {
            next += 1;
            let Some(schema) = schemas.get_mut(&name) else { continue };
            without_null(schema);
            close(schema);
            names(schema, &mut |found| {
                if !read.iter().any(|known| known == found) {
                    read.push(found.to_owned());
                }
            });
        }
    }
    words(&mut document);
    document
}

/// The fields of [`FLATTENED`] into the requests, in whose documents they stand.
fn flatten(schemas: &mut Map<String, Value>) {
    let fields: Vec<(String, Value)> = FLATTENED
        .iter()
        .filter_map(|name| schemas.remove(*name))
        .filter_map(|schema| schema.get("properties").and_then(Value::as_object).cloned())
        .flatten()
        .collect();
    for request in ["RestoreRequest", "RestoreTimestampRequest"] {
        let properties = schemas.get_mut(request).and_then(|schema| schema.get_mut("properties"));
        if let Some(properties) = properties.and_then(Value::as_object_mut) {
            properties.extend(fields.clone());
        }
    }
}

/// `null` is not a value of a document: who wants nothing leaves the key out.
fn without_null(schema: &mut Value) {
    match schema {
        Value::Object(object) => {
            if let Some(Value::Array(types)) = object.get_mut("type") {
                types.retain(|word| word != "null");
                if let [one] = types.as_slice() {
                    let one = one.clone();
                    object.insert("type".to_owned(), one);
                }
            }
            if let Some(Value::Array(choices)) = object.get_mut("oneOf") {
                choices.retain(|choice| choice.get("type") != Some(&json!("null")));
                if let [one] = choices.as_mut_slice() {
                    let one = one.take();
                    object.remove("oneOf");
                    if let Value::Object(one) = one {
                        object.extend(one);
                    }
                }
            }
            object.values_mut().for_each(without_null);
        }
        Value::Array(items) => items.iter_mut().for_each(without_null),
        _ => {}
    }
}

/// Unknown keys are refused.
fn close(schema: &mut Value) {
    if let Value::Object(object) = schema {
        if object.contains_key("properties") {
            object.insert("additionalProperties".to_owned(), json!(false));
        }
        if let Some(parts) = object.get_mut("allOf").and_then(Value::as_array_mut) {
            // Each part would refuse the fields of the others.
            let mut whole = Map::new();
            for part in parts.iter_mut().filter_map(Value::as_object_mut) {
                for (key, value) in std::mem::take(part) {
                    merge(&mut whole, key, value);
                }
            }
            object.remove("allOf");
            object.extend(whole);
            if object.contains_key("properties") {
                object.insert("additionalProperties".to_owned(), json!(false));
            }
        }
    }
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

/// The schemas that a schema names.
fn names(schema: &Value, found: &mut impl FnMut(&str)) {
    match schema {
        Value::Object(object) => {
            if let Some(name) = object
                .get("$ref")
                .and_then(Value::as_str)
                .and_then(|path| path.rsplit_once('/'))
                .map(|(_, name)| name)
            {
                found(name);
            }
            for value in object.values() {
                names(value, found);
            }
        }
        Value::Array(items) => items.iter().for_each(|item| names(item, found)),
        _ => {}
    }
}

/// Comments name chapters of documents that are not at hand, and link to other code.
fn words(value: &mut Value) {
    match value {
        Value::Object(object) => {
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
