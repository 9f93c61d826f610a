//! What somebody may send that no client should: each parameter and each field of a body with what it cannot be, and more.

use std::collections::HashMap;

use serde_json::{Value, json};

use super::Operation;
use super::world::{Call, World, encoded};

/// The level at which everything is sent; at another only what it answers otherwise.
pub const WHOLE: &str = "3.5";

/// Of what many operations take, and of what another level does not answer otherwise, one in so many is sent to each.
const SHARED: usize = 3;
const ELSEWHERE: usize = 8;

/// Parameters that one function reads for all operations that take them.
const COMMON: [&str; 9] =
    ["label", "dry-run", "strict", "from", "to", "limit", "cursor", "refresh", "routine"];

/// What operations share by turns: as many as there are shares have everything between them.
#[derive(Default)]
pub struct Shares(HashMap<String, usize>);

impl Shares {
    /// The next share of what is called `what`: one in so many.
    fn of(&mut self, what: &str, one_in: usize, all: Vec<Call>) -> Vec<Call> {
        let turn = self.0.entry(what.to_owned()).or_default();
        *turn += 1;
        all.into_iter().skip((*turn - 1) % one_in).step_by(one_in).collect()
    }
}

/// Paths that lead nowhere, however they are read.
pub const PATHS: &[&str] = &[
    "/v1/jobs/",
    "//v1//jobs",
    "/v1",
    "/v1/",
    "/V1/jobs",
    "/v1/backups/full/../../../../etc/passwd",
    "/v1/backups/full/..%2f..%2f..%2fetc%2fpasswd",
    "/v1/backups/full/%2e%2e/%2e%2e/jobs",
    "/v1/config/clusters/%2e%2e",
    "/v1/config/clusters/..",
    "/v1/jobs/%00",
    "/v1/jobs/1%0d%0aX:y",
    "/api-docs/..%2fdoc.json",
    "/api-docs/../v1/config/clusters/none",
    "/api-docs/doc.json/",
    "/%ff%fe",
    "/%",
    "/;/v1/jobs",
    "/v1/jobs%3flimit=1",
    "/v1/backups/full/daily/1700000000000/more",
];

/// Texts for parameters that are numbers or words, as they stand in a URL.
const TEXTS: &[&str] = &[
    "x",
    "-1",
    "%2B1",
    "1.5",
    "1e3",
    "0x10",
    "%201",
    "9223372036854775808",
    "-9223372036854775809",
    "99999999999999999999999999999999999999",
    "%D9%A3",
    "NaN",
    "null",
    "TRUE",
    "1%00",
    "%00",
    "%0A",
    "%1B%5B31m",
    "%FF",
    "%C0%AF",
    "..",
    "../../etc/passwd",
    "..%2F..%2Fetc%2Fpasswd",
    "%27%20OR%201=1--",
    "%22%3E%3Cscript%3E",
    "%F0%9F%92%A3",
    "$%7Bjndi:ldap://127.0.0.1%7D",
    "%25s%25n",
];

/// What no parameter that is a number or a flag can be.
const NEVER: usize = 7;

/// The calls that an operation has to bear at a level. What is wrong in a field of a body is sent at one level only: one reader
/// reads it at each, and refuses it by one of two methods.
///
/// Of what is read before any operation, or by the same code for many, each gets a share.
pub fn calls(world: &World, operation: &Operation, shares: &mut Shares, level: &str) -> Vec<Call> {
    let (mut texts, fields) = in_body(world, operation);
    let mut in_path = in_path(world, operation);
    let mut calls = if operation.fields_at() == level { fields } else { Vec::new() };
    if level == WHOLE {
        calls.extend(in_query(world, operation, shares));
        calls.extend(shares.of("headers", SHARED, in_headers(world, operation)));
    } else {
        texts = shares.of("texts", ELSEWHERE, texts);
        in_path = shares.of("path", ELSEWHERE, in_path);
    }
    calls.append(&mut in_path);
    calls.append(&mut texts);
    // Every other one asks for the other form of an error.
    for call in calls.iter_mut().step_by(2) {
        call.headers.push(("Accept".to_owned(), "application/problem+json, application/json".to_owned()));
    }
    calls
}

/// The operation with what it needs, so that what is added decides.
fn base(world: &World, operation: &Operation) -> Call {
    Call { is_least: false, ..world.good(operation) }
}

fn in_query(world: &World, operation: &Operation, shares: &mut Shares) -> Vec<Call> {
    let base = base(world, operation);
    let with = |query: &str, must_fail: bool| Call {
        target: format!("{}?{query}", base.target),
        must_fail,
        ..base.clone()
    };
    let always = [
        with("", false),
        with("&&&===&", false),
        with("unknown=1", false),
        with(&"a=1&".repeat(2_000), false),
        with("%", false),
    ];
    let mut calls = shares.of("query", SHARED, always.into());
    let long = "y".repeat(20_000);
    for parameter in parameters(operation, "query") {
        let name = parameter["name"].as_str().unwrap();
        let is_strict = parameter["schema"]["type"] != "string";
        let mut its = Vec::new();
        for (at, text) in TEXTS.iter().copied().chain([long.as_str()]).enumerate() {
            // A number or a flag is refused as what it is not; what else is in the text makes no difference beyond a few.
            if is_strict && at >= NEVER && at % 3 != 0 {
                continue;
            }
            its.push(with(&format!("{name}={text}"), is_strict && at < NEVER));
        }
        // Two of one name: the first counts.
        its.push(with(&format!("{name}=x&{name}=1"), is_strict));
        its.push(with(name, false));
        its.push(with(&format!("{name}[]=1&{name}[a]=1"), false));
        calls.extend(if COMMON.contains(&name) { shares.of(name, SHARED, its) } else { its });
    }
    calls
}

fn in_path(world: &World, operation: &Operation) -> Vec<Call> {
    let base = base(world, operation);
    let mut calls = Vec::new();
    for parameter in parameters(operation, "path") {
        let place = format!("{{{}}}", parameter["name"].as_str().unwrap());
        let (before, after) = operation.path.split_once(&place).unwrap();
        let is_number = parameter["schema"]["type"] == "integer";
        let long = "z".repeat(4_000);
        for text in TEXTS.iter().copied().chain([long.as_str()]) {
            // A slash or dots of its own make it another path.
            if text.contains('/') || text == ".." {
                continue;
            }
            let target = world.path(before) + text + &world.path(after);
            calls.push(Call { target, must_fail: is_number, ..base.clone() });
        }
    }
    calls
}

fn in_headers(world: &World, operation: &Operation) -> Vec<Call> {
    let base = base(world, operation);
    let with = |name: &str, value: &str| {
        let mut call = base.clone();
        call.headers.push((name.to_owned(), value.to_owned()));
        call
    };
    let mut calls = vec![
        with("Accept", "*/*;q=banana, ,,,"),
        with("Accept", "application/problem+json;q=0.000000000000000000001"),
        with("X-Request-Id", "a b\tc"),
        with("Content-Type", "text/xml; charset=utf-7"),
        with("Authorization", "Bearer \u{e9}\u{e9}"),
        with("Authorization", "Basic !!!!"),
        with("Range", "bytes=0-1,5-2,-1"),
        with("If-None-Match", "*"),
        with("X-Http-Method-Override", "DELETE"),
    ];
    for parameter in parameters(operation, "header") {
        let name = parameter["name"].as_str().unwrap();
        let long = "k".repeat(300);
        for value in ["", " ", "a b", "\u{e9}", "\"unclosed", "W/\"x\", *, ,", long.as_str()] {
            calls.push(with(name, value));
        }
    }
    calls
}

/// Texts that are no body, and bodies with something wrong in a field.
fn in_body(world: &World, operation: &Operation) -> (Vec<Call>, Vec<Call>) {
    let base = base(world, operation);
    let Some(example) = world.example(operation) else {
        // It takes none: what comes is read and ignored.
        let deep = "[".repeat(70_000);
        let bodies: [&[u8]; 3] = [b"not json", b"\xff\xfe\x00", deep.as_bytes()];
        let texts = bodies.map(|body| Call { body: body.to_vec(), ..base.clone() });
        return (texts.into(), Vec::new());
    };
    let text = example.to_string();
    let cut = &text[..text.len() / 2];
    let twice = text.replacen('{', &format!("{{\"unknown-key\":1,\"unknown-key\":{text},"), 1);
    let texts: Vec<Vec<u8>> = [
        "",
        " \n\t",
        "null",
        "true",
        "1",
        "\"text\"",
        "[]",
        "[{}]",
        "{",
        "}",
        "{]",
        "{\"a\"}",
        "{\"a\":}",
        "{a:1}",
        "NaN",
        "\u{feff}{}",
        cut,
        &twice,
        &format!("{text}{text}"),
        &format!("{text},"),
        &format!("/* */{text}"),
        "{\"\":1}",
        "{\"__proto__\":{\"a\":1}}",
        "{\"routine\":1e999999999}",
        "{\"time\":-1e400,\"routine\":\"daily\"}",
        "{\"a\":\"\\ud800\"}",
        "{\"a\":\"\\u0000\"}",
        "{\"a\":\"\u{0}\"}",
        "key: value",
        "<xml/>",
        &"[".repeat(100_000),
        &"{\"a\":".repeat(100_000),
        &format!("{}1{}", "[".repeat(60), "]".repeat(60)),
        &format!("{{\"a\":\"{}\"}}", "x".repeat(200_000)),
        &format!("{{{}}}", "\"a\":1,".repeat(1_000)),
    ]
    .iter()
    .map(|text| text.as_bytes().to_vec())
    .chain([b"{\"a\":\"\xff\"}".to_vec(), b"\xff\xfe{\x00}\x00".to_vec(), vec![0; 1_000]])
    .collect();
    let mut texts: Vec<Call> =
        texts.into_iter().map(|body| Call { body, must_fail: true, ..base.clone() }).collect();
    // Over the bound, of which the beginning is good.
    texts.push(Call {
        body: [text.as_bytes(), &vec![b' '; 9 << 20]].concat(),
        must_fail: true,
        ..base.clone()
    });
    let mut fields = Vec::new();
    for (pointer, of_text) in leaves(&example, String::new()) {
        for wrong in wrongs(of_text) {
            let mut changed = example.clone();
            *changed.pointer_mut(&pointer).unwrap() = wrong;
            fields.push(Call { body: changed.to_string().into_bytes(), ..base.clone() });
        }
        let mut more = example.clone();
        if let Some(object) =
            more.pointer_mut(pointer.rsplit_once('/').unwrap().0).and_then(Value::as_object_mut)
        {
            object.insert("unknown-key".to_owned(), json!(1));
            // Names of things are the caller's; there the value is what is wrong.
            fields.push(Call { body: more.to_string().into_bytes(), must_fail: true, ..base.clone() });
        }
    }
    (texts, fields)
}

/// What a field that is a text, or something else, can hardly be.
fn wrongs(of_text: bool) -> Vec<Value> {
    let mut wrongs = vec![
        json!(null),
        json!([]),
        json!({}),
        json!([[[[1]]]]),
        json!(-1),
        json!(1.5),
        json!(u64::MAX),
        json!(1e300),
        json!(true),
        json!(""),
        json!("x".repeat(10_000)),
    ];
    if of_text {
        let texts = [
            "..",
            "../../etc/passwd",
            "/etc/passwd",
            "a\u{0}b",
            "a\nb",
            "\u{1b}[31m",
            "\u{202e}txt",
            "${HOME}",
            "%2e%2e%2f",
            "💣",
        ];
        wrongs.extend(texts.map(|text| json!(text)));
    }
    wrongs
}

/// Where the values of a document stand that hold no others, and whether each is a text.
fn leaves(value: &Value, at: String) -> Vec<(String, bool)> {
    match value {
        Value::Object(object) => object
            .iter()
            .flat_map(|(key, value)| {
                leaves(value, format!("{at}/{}", key.replace('~', "~0").replace('/', "~1")))
            })
            .collect(),
        Value::Array(items) => {
            items.iter().enumerate().flat_map(|(index, item)| leaves(item, format!("{at}/{index}"))).collect()
        }
        value => vec![(at, value.is_string())],
    }
}

fn parameters<'o>(operation: &'o Operation, place: &str) -> Vec<&'o Value> {
    let all = operation.entry["parameters"].as_array().into_iter().flatten();
    all.filter(|parameter| parameter["in"] == place).collect()
}

#[test]
fn a_text_is_encoded_so_that_it_arrives_as_it_is() {
    assert_eq!(encoded("a b/ü"), "a%20b%2F%C3%BC");
}
