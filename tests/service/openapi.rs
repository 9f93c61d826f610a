//! The document against the table of routes, and against itself.

use std::collections::BTreeSet;

use holdfast::api::{ROUTES, document, document_text};
use serde_json::Value;

use crate::helpers::Running;
use crate::json_schema;

/// Every operation: method, path, entry.
fn entries() -> Vec<(String, String, &'static Value)> {
    let paths = document()["paths"].as_object().unwrap();
    let of_path = |(path, item): (&String, &'static Value)| -> Vec<_> {
        let methods = item.as_object().unwrap().iter();
        methods.map(|(method, entry)| (method.to_uppercase(), path.clone(), entry)).collect()
    };
    paths.iter().flat_map(of_path).collect()
}

#[test]
fn every_route_is_described_and_nothing_else_is() {
    // The context path without its slash: OpenAPI has no empty path, and it answers what "/" does.
    let routes: BTreeSet<(String, String)> = ROUTES
        .iter()
        .filter(|route| !route.path.is_empty())
        .map(|route| (route.method.to_owned(), route.path.to_owned()))
        .collect();
    let described: BTreeSet<_> = entries().into_iter().map(|(method, path, _)| (method, path)).collect();
    let missing: Vec<_> = routes.difference(&described).collect();
    let stale: Vec<_> = described.difference(&routes).collect();
    assert!(
        missing.is_empty() && stale.is_empty(),
        "no entry in src/api/openapi/ for {missing:?}; no route for {stale:?}"
    );
}

#[test]
fn every_entry_is_complete() {
    let mut ids = BTreeSet::new();
    for (method, path, entry) in entries() {
        let what = format!("{method} {path}");
        assert!(ids.insert(entry["operationId"].as_str().unwrap()), "{what}: its operationId is not its own");
        let summary = entry["summary"].as_str().unwrap();
        assert!(summary.ends_with('.'), "{what}: {summary}");
        for parameter in entry["parameters"].as_array().into_iter().flatten() {
            for key in ["description", "schema", "example"] {
                assert!(!parameter[key].is_null(), "{what}: {key} of {parameter}");
            }
        }
        let answers = entry["responses"].as_object().unwrap();
        assert!(answers.keys().any(|status| status.starts_with(['2', '3'])), "{what}: no success");
        assert!(answers.contains_key("429"), "{what}");
        if let Some(body) = entry.get("requestBody") {
            let content = &body["content"]["application/json"];
            assert!(!content["schema"].is_null() && !content["example"].is_null(), "{what}: {body}");
            assert!(answers.contains_key("400") && answers.contains_key("413"), "{what}");
        }
    }
}

/// The examples are values of the types, so they cannot be stale; that the schemas say the same of the types is seen here.
#[test]
fn every_answer_has_an_example_that_is_what_its_schema_says() {
    let mut compared = 0;
    let mut answers: Vec<(String, &Value)> = Vec::new();
    for (method, path, entry) in entries() {
        let own = entry["responses"].as_object().unwrap().iter();
        answers.extend(own.map(|(status, answer)| (format!("{method} {path} {status}"), answer)));
    }
    let refusals = document()["components"]["responses"].as_object().unwrap().iter();
    answers.extend(refusals.map(|(name, answer)| (name.clone(), answer)));
    for (what, answer) in answers {
        for (media_type, content) in answer["content"].as_object().into_iter().flatten() {
            // Files have neither.
            let schema = &content["schema"];
            if schema.is_null() {
                assert!(!media_type.contains("json"), "{what}: no schema");
                continue;
            }
            let example = &content["example"];
            assert!(!example.is_null(), "{what}: no example of {media_type}");
            assert_eq!(json_schema::problem(document(), schema, example), None, "{what}: {example:#}");
            compared += 1;
        }
    }
    assert!(compared > 60, "only {compared}");
}

#[test]
fn every_reference_leads_somewhere_and_every_field_says_what_it_is() {
    fn walk(value: &Value, at: &str) {
        match value {
            Value::Object(object) => {
                if let Some(to) = object.get("$ref").and_then(Value::as_str) {
                    let pointer = to.strip_prefix('#').unwrap();
                    assert!(document().pointer(pointer).is_some(), "{at}: {to} is nothing");
                }
                for (key, value) in object {
                    walk(value, &format!("{at}/{key}"));
                }
            }
            Value::Array(items) => items.iter().for_each(|item| walk(item, at)),
            _ => {}
        }
    }
    walk(document(), "");
    for (name, schema) in document()["components"]["schemas"].as_object().unwrap() {
        assert!(!schema["description"].is_null(), "{name} does not say what it is");
        for (field, schema) in schema["properties"].as_object().into_iter().flatten() {
            let says = ["description", "$ref"].iter().any(|key| !schema[*key].is_null());
            assert!(says, "{name}.{field} does not say what it is: {schema}");
        }
    }
}

#[test]
fn what_is_read_takes_no_null_and_no_unknown_key() {
    for name in ["Config", "Routine", "Policy", "S3Storage", "RestoreTimestampRequest", "Cluster", "Https"] {
        let schema = &document()["components"]["schemas"][name];
        assert_eq!(schema["additionalProperties"], Value::Bool(false), "{name}: {schema:#}");
        assert!(!schema.to_string().contains("\"null\""), "{name}: {schema:#}");
    }
    let restore = &document()["components"]["schemas"]["RestoreTimestampRequest"];
    assert_eq!(restore["required"], serde_json::json!(["time", "routine"]));
    for field in ["source-name", "verify-first", "policy", "allow-gap"] {
        assert!(restore["properties"][field].is_object(), "{field}: {restore:#}");
    }
}

#[test]
fn nothing_speaks_of_documents_that_are_not_there() {
    let text = document().to_string();
    for word in ["rules.md", "abs.md", "DESIGN.md"] {
        let at = text.find(word).map(|at| text[at.saturating_sub(100)..at + 20].to_owned());
        assert_eq!(at, None);
    }
}

#[test]
fn the_checked_in_document_is_this_one() {
    let path = "docs/openapi.json";
    if std::env::var_os("HOLDFAST_WRITE_OPENAPI").is_some() {
        std::fs::write(path, document_text()).unwrap();
    }
    let stored: Value =
        serde_json::from_str(&std::fs::read_to_string(path).unwrap_or_default()).unwrap_or_default();
    assert!(stored == *document(), "{path} is not what the code says: holdfast openapi > {path}");
}

/// Below the context path, and with nothing that comes from elsewhere.
#[tokio::test]
async fn the_page_and_the_document_are_served_from_the_program_itself() {
    let service = Running::start(|_| "service: {http: {context-path: /backup}}\n".to_owned()).await;
    // A redirect leads there.
    let page = service.get("/backup/api-docs").await;
    assert_eq!((page.status.as_u16(), page.header("content-type")), (200, "text/html; charset=utf-8"));
    assert!(page.header("content-security-policy").contains("script-src 'self';"), "{page:?}");
    let mut files = 0;
    for named in page.body.split(['"', '\'']).filter(|text| text.contains('.') && !text.contains(' ')) {
        assert!(!named.contains("//"), "{named}");
        let file = service.get(&format!("/backup/api-docs/{}", named.trim_start_matches("./"))).await;
        assert_eq!(file.status.as_u16(), 200, "{named}");
        files += 1;
    }
    assert!(files > 4, "{}", page.body);
    assert!(service.get("/backup/api-docs/swagger-initializer.js").await.body.contains("\"doc.json\""));
    let mut served = service.get("/backup/api-docs/doc.json").await.json();
    assert_eq!(served["servers"][0]["url"], "/backup/");
    served["servers"][0]["url"] = "/".into();
    assert!(served == *document());
}
