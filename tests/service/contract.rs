//! The service keeps what `docs/openapi.json` promises: every operation of it is called with good, missing, malformed and hostile
//! input. No answer is an error of ours, none has a status or a body that is not described, and each comes.

mod fuzzer;
mod hostile;
mod world;

use futures_util::{StreamExt, stream};
use reqwest::Method;
use serde_json::Value;

use crate::json_schema;
use world::{Answer, Call, World};

/// Calls of one operation on their way: each that changes something waits for the disk.
const AT_ONCE: usize = 8;

/// What is wrong with the answer to a call of an operation, if anything is.
fn judge(document: &Value, operation: &Operation, call: &Call, answer: &Answer) -> Option<String> {
    let wrong = |what: String| Some(format!("{call}: {} {:.300?}: {what}", answer.status, answer.text()));
    if answer.status >= 500 && answer.status != 503 {
        return wrong("an error of the service".to_owned());
    }
    let described = &operation.entry["responses"][answer.status.to_string()];
    if described.is_null() {
        return wrong("this status is not described".to_owned());
    }
    let described = described["$ref"].as_str().map_or(described, |to| document.pointer(&to[1..]).unwrap());
    let Some(contents) = described["content"].as_object() else {
        return if answer.body.is_empty() { None } else { wrong("a body is not described".to_owned()) };
    };
    if answer.body.is_empty() {
        let may_be = described["description"].as_str().unwrap().contains("mpty");
        return if may_be { None } else { wrong("it has no body".to_owned()) };
    }
    let plain = |text: &str| text.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    let media_type = plain(&answer.content_type);
    let fits = |described: &str| described == "*/*" || plain(described) == media_type;
    let Some((_, content)) = contents.iter().find(|(described, _)| fits(described)) else {
        return wrong(format!("{media_type:?} is not described"));
    };
    if !media_type.ends_with("json") || content["schema"].is_null() {
        return None;
    }
    match serde_json::from_slice(&answer.body) {
        Err(error) => wrong(error.to_string()),
        Ok(value) => json_schema::problem(document, &content["schema"], &value).and_then(wrong),
    }
}

/// One operation of the document.
pub struct Operation {
    pub method: Method,
    pub path: String,
    pub entry: Value,
}

impl Operation {
    /// All, in an order in which what one does leaves the others something to do.
    fn all(document: &Value) -> Vec<Self> {
        let mut all = Vec::new();
        for (path, item) in document["paths"].as_object().unwrap() {
            for (method, entry) in item.as_object().unwrap() {
                let method = Method::from_bytes(method.to_uppercase().as_bytes()).unwrap();
                all.push(Self { method, path: path.clone(), entry: entry.clone() });
            }
        }
        // Incrementals are deleted before the fulls that they need.
        all.sort_by(|a, b| a.rank().cmp(&b.rank()).then_with(|| b.path.cmp(&a.path)));
        all
    }

    /// Whether `service.compatibility` decides how it refuses, or in which words it answers (`docs/api.md`).
    fn differs_by_level(&self) -> bool {
        let of_config = self.path.starts_with("/v1/config") && self.method != Method::GET;
        of_config || self.path.starts_with("/v1/restore/")
    }

    /// The level at which what is wrong in a field of its body is sent: of two that have the same body at one each.
    fn fields_at(&self) -> &'static str {
        let of_config = self.path.starts_with("/v1/config") && self.method == Method::POST;
        if of_config || self.path == "/v1/restore/incremental" { "3.7" } else { hostile::WHOLE }
    }

    /// First what only looks, then what makes jobs, then what deletes, last what changes the configuration.
    fn rank(&self) -> u8 {
        let changes = self.path.starts_with("/v1/config") && !self.path.ends_with("/apply");
        match (self.method.as_str(), changes) {
            ("GET", _) => 0,
            ("POST", false) => 1,
            ("DELETE", false) => 2,
            ("POST", true) => 3,
            ("PUT", true) if self.path != "/v1/config" => 4,
            ("DELETE", true) => 5,
            _ => 6,
        }
    }
}

fn document() -> Value {
    serde_json::from_str(&std::fs::read_to_string("docs/openapi.json").unwrap()).unwrap()
}

#[tokio::test]
async fn every_operation_succeeds_with_good_input_and_answers_as_described() {
    good_input("3.5").await;
}

#[tokio::test]
async fn every_operation_succeeds_with_good_input_at_3_6() {
    good_input("3.6").await;
}

#[tokio::test]
async fn every_operation_succeeds_with_good_input_at_3_7() {
    good_input("3.7").await;
}

/// Nothing but what each operation needs: each succeeds. So the examples of the document are such that they can be sent.
async fn good_input(level: &'static str) {
    let (world, document) = (World::start(level).await, document());
    assert_eq!(world.send(&Call::new("GET", "/version")).await.text().get(12..15), Some(level));
    let mut wrong = Vec::new();
    for operation in Operation::all(&document) {
        if operation.method == Method::DELETE && operation.rank() == 2 {
            world.wait_for_jobs().await;
        }
        for call in [world.good(&operation), world.full(&operation)] {
            let answer = world.send(&call).await;
            wrong.extend(judge(&document, &operation, &call, &answer));
            if call.is_least && !(200..400).contains(&answer.status) {
                wrong.push(format!("{call}: {} {}: no success", answer.status, answer.text()));
            }
        }
    }
    assert!(wrong.is_empty(), "{} wrong:\n{}", wrong.len(), wrong.join("\n"));
}

#[tokio::test]
async fn no_operation_breaks_whatever_it_is_sent() {
    hostile_input(hostile::WHOLE, 2_000).await;
}

/// 3.6 answers in other words only; 3.7 refuses otherwise, too.
#[tokio::test]
async fn no_operation_that_answers_otherwise_at_3_7_breaks_whatever_it_is_sent() {
    hostile_input("3.7", 500).await;
}

/// The same operations with everything else that somebody may send.
async fn hostile_input(level: &'static str, calls_min: usize) {
    let (world, document) = (World::start(level).await, document());
    let (mut wrong, mut count) = (Vec::new(), 0);
    let mut shares = hostile::Shares::default();
    let asked = Operation::all(&document).into_iter();
    for operation in asked.filter(|one| level == hostile::WHOLE || one.differs_by_level()) {
        let calls = hostile::calls(&world, &operation, &mut shares, level);
        let answers =
            stream::iter(&calls).map(|call| world.send(call)).buffered(AT_ONCE).collect::<Vec<_>>().await;
        for (call, answer) in calls.iter().zip(&answers) {
            count += 1;
            wrong.extend(judge(&document, &operation, call, answer));
            if call.must_fail && answer.status < 400 {
                wrong.push(format!("{call}: {} was taken", answer.status));
            }
        }
    }
    assert!(
        wrong.is_empty(),
        "{} of {count} wrong:\n{}",
        wrong.len(),
        wrong[..wrong.len().min(40)].join("\n")
    );
    assert!(count > calls_min, "only {count} calls");
    println!("{count} calls at {level}");
    // It is as well as before.
    assert_eq!(world.send(&Call::new("GET", "/ready")).await.status, 200);
}

/// Methods that a path does not have, and paths that there are not.
#[tokio::test]
async fn what_is_not_described_is_404_or_405() {
    let (world, document) = (World::start("3.5").await, document());
    for (path, item) in document["paths"].as_object().unwrap() {
        let path = world.path(path);
        for method in ["GET", "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "PROPFIND"] {
            let described = item.get(method.to_lowercase()).is_some();
            if described {
                continue;
            }
            let answer = world.send(&Call::new(method, &path)).await;
            assert_eq!(answer.status, 405, "{method} {path}");
            assert!(
                !answer.allow.is_empty() && !answer.allow.contains(method),
                "{method} {path}: {}",
                answer.allow
            );
        }
        if item.get("get").is_some() {
            let (head, get) =
                (world.send(&Call::new("HEAD", &path)).await, world.send(&Call::new("GET", &path)).await);
            assert_eq!((head.status, head.body.len()), (get.status, 0), "HEAD {path}");
        }
    }
    for path in hostile::PATHS {
        let answer = world.send(&Call::new("GET", path)).await;
        assert!((400..500).contains(&answer.status), "{path}: {} {}", answer.status, answer.text());
    }
}
