//! The documents say what the code does: error codes, options, paths and metrics are looked for in both.
//!
//! Looks at text, so it finds a code where it is written down: in the constructors of errors and reasons below.

#![allow(clippy::unwrap_used, clippy::panic)] // a test that panics has failed

use std::collections::{BTreeMap, BTreeSet};
use std::fs::read_to_string;
use std::path::{Path, PathBuf};

use holdfast::metrics::MetricName;

/// Where a code is made into an error; its class follows from the name.
const ERRORS: [(&str, &str); 4] = [
    ("Error::permanent(", "permanent"),
    ("Error::temporary(", "temporary"),
    ("Self::permanent(", "permanent"),
    ("Self::temporary(", "temporary"),
];

/// Where a reason, a warning or an answer gets its code, if a literal stands there.
const REASONS: [&str; 9] = [
    "refusal(",
    "no_chain(input, ",
    "because(JobStatus::Skipped, ",
    "because(JobStatus::Interrupted, ",
    "Some((\"",
    "code: \"",
    ".warn(",
    "const CRASHED: &str = ",
    "const SHUTDOWN: &str = ",
];

/// Files that make an error with a code that stands elsewhere in them, and those codes. A constant in capitals needs no
/// entry.
const INDIRECT: [(&str, &[(&str, &str)]); 6] = [
    (
        "src/store.rs",
        &[
            ("store-busy", "temporary"),
            ("store-read-only", "permanent"),
            ("store-io", "temporary"),
            ("store-full", "temporary"),
            ("store-conflict", "permanent"),
            ("store-query", "permanent"),
        ],
    ),
    (
        "src/config/resolve.rs",
        &[
            ("cluster-unknown", "permanent"),
            ("storage-unknown", "permanent"),
            ("policy-unknown", "permanent"),
            ("routine-unknown", "permanent"),
            ("secret-agent-unknown", "permanent"),
        ],
    ),
    // Why a key was not there: the code of that error.
    ("src/verify/report.rs", &[]),
    // The refusal of a claim: a reason, found as one.
    ("src/jobs/context.rs", &[]),
    // An error of ours that went through the SDK.
    ("src/storage/s3/failure.rs", &[]),
    // Fails on demand, with the codes of the seams.
    ("src/fault.rs", &[]),
];

/// Caught in the file that makes it.
const INTERNAL: [&str; 2] = ["found-a-record", "sample-full"];

#[test]
fn every_code_is_in_the_document_of_errors_with_its_class_and_no_other() {
    let mut found: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for (path, text) in sources() {
        for (code, class) in error_codes(&path, &text) {
            found.entry(code).or_default().insert(class);
        }
        for code in reasons(&text) {
            found.entry(code).or_default();
        }
    }
    for code in INTERNAL {
        assert!(found.remove(code).is_some(), "{code} is made nowhere: take it out of INTERNAL");
    }
    let documented: BTreeMap<String, String> = table_rows("docs/errors.md")
        .into_iter()
        .filter_map(|cells| {
            let code = cells.first()?.strip_prefix('`')?.strip_suffix('`').filter(|code| is_code(code))?;
            Some((code.to_owned(), cells.get(1).cloned().unwrap_or_default()))
        })
        .collect();
    for (code, classes) in &found {
        let Some(said) = documented.get(code) else { panic!("docs/errors.md does not know {code}") };
        let is_class = ["permanent", "temporary", "either"].contains(&said.as_str());
        if is_class && !classes.is_empty() {
            let is = if classes.len() > 1 { "either" } else { classes.first().unwrap() };
            assert_eq!(said, is, "docs/errors.md: the class of {code}");
        }
    }
    for code in documented.keys() {
        assert!(found.contains_key(code), "docs/errors.md has {code}, which nothing makes");
    }
}

#[test]
fn every_option_is_documented() {
    const READS: [&str; 11] = [
        ".filled(",
        ".optional(",
        ".flag(",
        ".int(",
        ".number(",
        ".word(",
        ".texts(",
        ".list(",
        ".child(",
        ".children(",
        ".secret(",
    ];
    let text = read_to_string("docs/configuration.md").unwrap() + &read_to_string("docs/api.md").unwrap();
    let mut count = 0;
    for (path, source) in sources() {
        if !path.starts_with("src/config") || path.ends_with("reader.rs") {
            continue;
        }
        for key in READS.iter().flat_map(|read| literals_after(&source, read)) {
            count += 1;
            assert!(text.contains(&format!("`{key}`")), "{path} reads {key}, which no document names");
        }
    }
    assert!(count > 80, "only {count} reads found: has the reader changed?");
}

#[test]
fn every_path_and_metric_is_documented() {
    let text = read_to_string("docs/api.md").unwrap();
    let mut paths: BTreeSet<String> =
        ["/health", "/ready", "/v1/health", "/v1/ready"].map(str::to_owned).into();
    for (path, source) in sources() {
        if path.starts_with("src/api/") {
            paths.extend(literals_after(&source, "at(").into_iter().filter(|path| !path.is_empty()));
        }
    }
    assert!(paths.len() > 30, "only {paths:?} found");
    for path in paths {
        assert!(text.contains(&format!("{path}`")), "docs/api.md does not name {path}");
    }
    for metric in MetricName::ALL {
        let name = metric.as_str().strip_prefix("aerospike_backup_service_").unwrap();
        assert!(text.contains(&format!("`{name}`")), "docs/api.md does not name {name}");
    }
}

/// The codes of errors that a file makes, with their classes.
fn error_codes(path: &str, text: &str) -> Vec<(String, String)> {
    let indirect = INDIRECT.iter().find(|(file, _)| *file == path).map(|(_, codes)| *codes);
    let mut found = Vec::new();
    for (opener, class) in ERRORS {
        for argument in arguments_after(text, opener) {
            if let Some(code) = literal(argument) {
                found.push((code.to_owned(), class.to_owned()));
                continue;
            }
            let name: String =
                argument.chars().take_while(|c| c.is_ascii_alphanumeric() || *c == '_').collect();
            let constant = literals_after(text, &format!("const {name}: &str = "));
            match constant.into_iter().next() {
                Some(code) => found.push((code, class.to_owned())),
                None => assert!(indirect.is_some(), "{path}: where does the code {name:?} come from?"),
            }
        }
    }
    for (code, class) in indirect.into_iter().flatten() {
        assert!(text.contains(&format!("\"{code}\"")), "{path} does not name {code} any more");
        found.push(((*code).to_owned(), (*class).to_owned()));
    }
    found
}

/// The codes of reasons, warnings and answers that a file makes.
fn reasons(text: &str) -> Vec<String> {
    let mut found: Vec<String> = REASONS
        .iter()
        .flat_map(|opener| match opener.strip_suffix('"') {
            Some(before) => literals_after(text, before),
            None => literals_after(text, opener),
        })
        .filter(|code| is_code(code))
        .collect();
    // ApiError::new(StatusCode::NOT_FOUND, "not-found", …)
    for rest in text.split("StatusCode::").skip(1) {
        let after = rest.split_once(',').map(|(_, after)| after.trim_start());
        found.extend(after.and_then(literal).filter(|code| is_code(code)).map(str::to_owned));
    }
    // let (code, what) = match … { JobKind::Backup => ("backup-running", "A backup"), … }
    found.extend(
        literals_after(text, "JobKind::Backup => (")
            .into_iter()
            .chain(literals_after(text, "JobKind::Restore => (")),
    );
    found
}

fn is_code(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_lowercase())
        && text.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-')
}

/// What stands behind each `opener`, without leading blanks.
fn arguments_after<'t>(text: &'t str, opener: &str) -> Vec<&'t str> {
    text.match_indices(opener)
        .filter_map(|(at, _)| text.get(at + opener.len()..))
        .map(str::trim_start)
        .collect()
}

fn literals_after(text: &str, opener: &str) -> Vec<String> {
    arguments_after(text, opener).into_iter().filter_map(literal).map(str::to_owned).collect()
}

/// The string literal that a text begins with.
fn literal(text: &str) -> Option<&str> {
    text.strip_prefix('"')?.split('"').next()
}

/// The cells of each row of each table of a document.
fn table_rows(path: &str) -> Vec<Vec<String>> {
    rows_of(&read_to_string(path).unwrap())
}

fn rows_of(text: &str) -> Vec<Vec<String>> {
    text.lines()
        .filter_map(|line| line.trim().strip_prefix('|')?.strip_suffix('|'))
        .map(|row| row.split('|').map(|cell| cell.trim().to_owned()).collect())
        .collect()
}

/// Every source file with its text, without tests.
fn sources() -> Vec<(String, String)> {
    let mut paths = Vec::new();
    walk(Path::new("src"), &mut paths);
    let texts: Vec<(String, String)> =
        paths.iter().map(|path| (path.display().to_string(), read_to_string(path).unwrap())).collect();
    let mut of_tests: Vec<String> = Vec::new();
    for (path, text) in &texts {
        let folder = if path == "src/lib.rs" { "src" } else { path.trim_end_matches(".rs") };
        for declared in text.split("#[cfg(test)]\n").skip(1).filter_map(|rest| rest.lines().next()) {
            let name =
                declared.trim_start_matches("pub ").strip_prefix("mod ").and_then(|m| m.strip_suffix(';'));
            of_tests.extend(name.map(|name| format!("{folder}/{name}")));
        }
    }
    let is_test = |path: &str| {
        path.ends_with("_tests.rs")
            || of_tests.iter().any(|stem| {
                path.strip_prefix(stem.as_str()).is_some_and(|rest| rest == ".rs" || rest.starts_with('/'))
            })
    };
    texts
        .into_iter()
        .filter(|(path, _)| !is_test(path))
        .map(|(path, text)| {
            let code = text.split("#[cfg(test)]\nmod tests {").next().unwrap_or_default().to_owned();
            (path, code)
        })
        .collect()
}

fn walk(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            walk(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
    found.sort();
}
