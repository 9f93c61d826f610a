//! Whether a value is what a schema says: the part of JSON Schema that `docs/openapi.json` uses, and no other.

use serde_json::Value;

/// Words that say nothing of what is valid. Formats are of numbers, whose bounds stand beside them.
const WORDS: [&str; 6] = ["description", "example", "examples", "default", "title", "format"];

/// What is wrong with `value`, if anything is; `root` is the document that references lead into.
pub fn problem(root: &Value, schema: &Value, value: &Value) -> Option<String> {
    let schema = schema.as_object()?;
    for (keyword, says) in schema {
        let wrong = match keyword.as_str() {
            "$ref" => {
                let target = root.pointer(says.as_str().unwrap().strip_prefix('#').unwrap()).unwrap();
                problem(root, target, value)
            }
            "type" => match says {
                Value::Array(types) if types.iter().any(|one| is(one, value)) => None,
                one if is(one, value) => None,
                _ => Some(format!("should be of type {says}")),
            },
            "enum" if says.as_array().unwrap().contains(value) => None,
            "enum" => Some(format!("should be one of {says}")),
            "properties" => says
                .as_object()
                .unwrap()
                .iter()
                .filter_map(|(name, schema)| Some((name, schema, value.get(name)?)))
                .find_map(|(name, schema, value)| Some(format!("{name}: {}", problem(root, schema, value)?))),
            "required" => says
                .as_array()
                .unwrap()
                .iter()
                .filter_map(Value::as_str)
                .find(|name| value.is_object() && value.get(*name).is_none())
                .map(|name| format!("{name} is missing")),
            "additionalProperties" => value.as_object().and_then(|object| {
                let known = schema.get("properties").and_then(Value::as_object);
                let mut more =
                    object.iter().filter(|(name, _)| known.is_none_or(|known| !known.contains_key(*name)));
                more.find_map(|(name, value)| match says {
                    Value::Bool(true) => None,
                    Value::Bool(false) => Some(format!("{name} is not known")),
                    says => Some(format!("{name}: {}", problem(root, says, value)?)),
                })
            }),
            "items" => value.as_array().and_then(|items| {
                let wrong = |(at, item)| Some(format!("{at}: {}", problem(root, says, item)?));
                items.iter().enumerate().find_map(wrong)
            }),
            "allOf" => says.as_array().unwrap().iter().find_map(|one| problem(root, one, value)),
            "oneOf" => {
                let fits =
                    says.as_array().unwrap().iter().filter(|one| problem(root, one, value).is_none()).count();
                (fits != 1).then(|| format!("{fits} choices fit, not one"))
            }
            "minimum" => value
                .as_f64()
                .filter(|number| *number < says.as_f64().unwrap())
                .map(|number| format!("{number} is below {says}")),
            "maximum" => value
                .as_f64()
                .filter(|number| *number > says.as_f64().unwrap())
                .map(|number| format!("{number} is above {says}")),
            "propertyNames" => value.as_object().and_then(|object| {
                object.keys().find_map(|name| problem(root, says, &Value::String(name.clone())))
            }),
            word if WORDS.contains(&word) => None,
            other => panic!("{other}: this does not know what it means"),
        };
        if let Some(wrong) = wrong {
            return Some(wrong);
        }
    }
    None
}

fn is(name: &Value, value: &Value) -> bool {
    match name.as_str().unwrap() {
        "object" => value.is_object(),
        "array" => value.is_array(),
        "string" => value.is_string(),
        "integer" => value.is_i64() || value.is_u64(),
        "number" => value.is_number(),
        "boolean" => value.is_boolean(),
        "null" => value.is_null(),
        other => panic!("{other} is no type"),
    }
}

#[cfg(test)]
mod tests {
    use super::problem;
    use serde_json::json;

    #[test]
    fn what_does_not_fit_is_named() {
        let root = json!({"a": {"type": "object", "required": ["n"], "additionalProperties": false, "properties": {
            "n": {"type": "integer", "minimum": 1}, "l": {"type": ["array", "null"], "items": {"enum": ["x"]}}}}});
        let schema = json!({"$ref": "#/a"});
        let says = |value| problem(&root, &schema, &value);
        assert_eq!(says(json!({"n": 1, "l": null})), None);
        assert_eq!(says(json!({"n": 1, "l": ["x"]})), None);
        for (value, wrong) in [
            (json!({}), "n is missing"),
            (json!({"n": 0}), "n: 0 is below 1"),
            (json!({"n": 1.5}), "n: should be of type \"integer\""),
            (json!({"n": 1, "l": ["y"]}), "l: 0: should be one of [\"x\"]"),
            (json!({"n": 1, "m": 1}), "m is not known"),
            (json!([]), "should be of type \"object\""),
        ] {
            assert_eq!(says(value.clone()).as_deref(), Some(wrong), "{value}");
        }
        let either = json!({"oneOf": [{"type": "null"}, {"type": "string"}]});
        assert_eq!(problem(&root, &either, &json!("x")), None);
        assert!(problem(&root, &either, &json!(1)).is_some());
    }
}
