//! Whether a value is what a schema says: as much of JSON Schema as our documents use; a keyword that it does not know fails the
//! test.

use serde_json::Value;

/// What is wrong with `value`, if anything is.
pub fn problem(root: &Value, schema: &Value, value: &Value) -> Option<String> {
    let mut found = Vec::new();
    errors(root, schema, value, "", &mut found);
    (!found.is_empty()).then(|| found.join("; "))
}

/// What is wrong with `value`, which stands at `path`; `root` is the document that references lead into.
pub fn errors(root: &Value, schema: &Value, value: &Value, path: &str, found: &mut Vec<String>) {
    if schema == &Value::Bool(true) {
        return;
    }
    let Some(rules) = schema.as_object() else { panic!("a schema of {path} is no object: {schema}") };
    for (rule, wanted) in rules {
        if !is_kept(root, rules, rule, wanted, value, path, found) {
            found
                .push(format!("{path}: {rule} {}", wanted.to_string().chars().take(120).collect::<String>()));
        }
    }
}

fn is_valid(root: &Value, schema: &Value, value: &Value) -> bool {
    let mut found = Vec::new();
    errors(root, schema, value, "", &mut found);
    found.is_empty()
}

fn is_kept(
    root: &Value,
    rules: &serde_json::Map<String, Value>,
    rule: &str,
    wanted: &Value,
    value: &Value,
    path: &str,
    found: &mut Vec<String>,
) -> bool {
    let all = || wanted.as_array().unwrap().iter();
    let object = value.as_object();
    match rule {
        // A format is one of numbers, whose bounds stand beside it.
        "format" | "$schema" | "title" | "description" | "default" | "examples" | "deprecated"
        | "errorMessage" | "deprecationMessage" | "$defs" | "example" => true,
        "$ref" => {
            let target = root.pointer(wanted.as_str().unwrap().strip_prefix('#').unwrap());
            errors(root, target.unwrap_or_else(|| panic!("{wanted} leads nowhere")), value, path, found);
            true
        }
        "type" => match wanted {
            Value::Array(types) => types.iter().any(|one| is_type(one, value)),
            one => is_type(one, value),
        },
        "enum" => all().any(|one| one == value),
        "pattern" => value
            .as_str()
            .is_none_or(|text| regex::Regex::new(wanted.as_str().unwrap()).unwrap().is_match(text)),
        "minimum" => value.as_f64().is_none_or(|number| number >= wanted.as_f64().unwrap()),
        "maximum" => value.as_f64().is_none_or(|number| number <= wanted.as_f64().unwrap()),
        "minLength" => {
            value.as_str().is_none_or(|text| text.chars().count() as u64 >= wanted.as_u64().unwrap())
        }
        "maxLength" => {
            value.as_str().is_none_or(|text| text.chars().count() as u64 <= wanted.as_u64().unwrap())
        }
        "minProperties" => object.is_none_or(|map| map.len() as u64 >= wanted.as_u64().unwrap()),
        "maxProperties" => object.is_none_or(|map| map.len() as u64 <= wanted.as_u64().unwrap()),
        "required" => object.is_none_or(|map| all().all(|key| map.contains_key(key.as_str().unwrap()))),
        "dependentRequired" => object.is_none_or(|map| {
            let needs = wanted.as_object().unwrap().iter();
            let mut given = needs.filter(|(key, _)| map.contains_key(*key));
            given.all(|(_, others)| {
                others.as_array().unwrap().iter().all(|key| map.contains_key(key.as_str().unwrap()))
            })
        }),
        "properties" => {
            for (key, schema) in wanted.as_object().unwrap() {
                if let Some(value) = value.get(key) {
                    errors(root, schema, value, &format!("{path}.{key}"), found);
                }
            }
            true
        }
        "additionalProperties" => {
            let known = rules.get("properties").and_then(Value::as_object);
            for (key, value) in object.into_iter().flatten() {
                if known.is_some_and(|known| known.contains_key(key)) {
                } else if wanted == &Value::Bool(false) {
                    found.push(format!("{path}: unknown key {key}"));
                } else {
                    errors(root, wanted, value, &format!("{path}.{key}"), found);
                }
            }
            true
        }
        "propertyNames" => {
            object.into_iter().flatten().all(|(key, _)| is_valid(root, wanted, &Value::from(key.as_str())))
        }
        "items" => {
            for (at, value) in value.as_array().into_iter().flatten().enumerate() {
                errors(root, wanted, value, &format!("{path}[{at}]"), found);
            }
            true
        }
        "anyOf" => all().any(|one| is_valid(root, one, value)),
        "oneOf" => all().filter(|one| is_valid(root, one, value)).count() == 1,
        "allOf" => all().all(|one| is_valid(root, one, value)),
        "not" => !is_valid(root, wanted, value),
        _ => panic!("{path}: this validator does not know {rule}"),
    }
}

fn is_type(wanted: &Value, value: &Value) -> bool {
    match wanted.as_str().unwrap() {
        "object" => value.is_object(),
        "array" => value.is_array(),
        "string" => value.is_string(),
        "boolean" => value.is_boolean(),
        "null" => value.is_null(),
        "number" => value.is_number(),
        "integer" => value.is_i64() || value.is_u64(),
        other => panic!("no type {other}"),
    }
}

#[test]
fn what_does_not_fit_is_named() {
    use serde_json::json;

    let root = json!({"a": {"type": "object", "required": ["n"], "additionalProperties": false, "properties": {
        "n": {"type": "integer", "minimum": 1}, "l": {"type": ["array", "null"], "items": {"enum": ["x"]}}}}});
    let schema = json!({"$ref": "#/a"});
    let says = |value| problem(&root, &schema, &value);
    assert_eq!(says(json!({"n": 1, "l": null})), None);
    assert_eq!(says(json!({"n": 1, "l": ["x"]})), None);
    for (value, wrong) in [
        (json!({}), ": required [\"n\"]"),
        (json!({"n": 0}), ".n: minimum 1"),
        (json!({"n": 1.5}), ".n: type \"integer\""),
        (json!({"n": 1, "l": ["y"]}), ".l[0]: enum [\"x\"]"),
        (json!({"n": 1, "m": 1}), ": unknown key m"),
    ] {
        assert_eq!(says(value.clone()).as_deref(), Some(wrong), "{value}");
    }
    assert!(says(json!([])).is_some());
    let either = json!({"oneOf": [{"type": "null"}, {"type": "string"}]});
    assert_eq!(problem(&root, &either, &json!("x")), None);
    assert!(problem(&root, &either, &json!(1)).is_some());
}
