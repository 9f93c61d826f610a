//! `service.auth`, `https`, `rate` and `audit`: what is refused, and what stands where nothing is given.

use super::parse;
use crate::config::{ClientAuth, ConfigDiff, Role, TlsVersion};

const HASH: &str = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

fn problem(text: &str) -> String {
    parse(text).unwrap_err().to_string()
}

#[test]
fn who_may_do_what_is_read() {
    let text = format!(
        "service: {{auth: {{open-metrics: true, tokens: [{{name: a.b@c-d_1, hash: '{HASH}', role: operator, routines: [r]}}], \
         certificates: [{{subject: 'CN=x,O=y', role: admin}}]}}}}"
    );
    let config = parse(&text).unwrap();
    assert_eq!(parse(&config.to_yaml().unwrap()).unwrap(), config);
    let auth = config.service.unwrap().auth.unwrap();
    assert_eq!((auth.tokens[0].role, auth.certificates[0].role), (Role::Operator, Role::Admin));
    assert!(Role::Viewer < Role::Operator && Role::Operator < Role::Admin);
}

#[test]
fn credentials_that_cannot_be_are_refused_and_not_shown() {
    let with = |token: &str| format!("service: {{auth: {{tokens: [{token}]}}}}");
    for (text, says) in [
        ("service: {auth: {}}".to_owned(), "names nobody"),
        (with("{name: a, role: admin}"), "\"hash\" required"),
        (with(&format!("{{hash: '{HASH}', role: admin}}")), "\"name\" required"),
        (with(&format!("{{name: a, hash: '{HASH}'}}")), "\"role\" required"),
        (with(&format!("{{name: a, hash: '{HASH}', role: root}}")), "viewer, operator, admin"),
        (with(&format!("{{name: 'a:b', hash: '{HASH}', role: admin}}")), "letters, digits"),
        (with(&format!("{{name: a, hash: '{HASH}', role: admin, routines: []}}")), "names none"),
        (
            with(&format!("{{name: a, hash: '{HASH}', role: admin, routines: [../x]}}")),
            "no name of a routine",
        ),
        (
            with(&format!(
                "{{name: a, hash: '{HASH}', role: admin}}, {{name: a, hash: '{HASH}', role: viewer}}"
            )),
            "same \"name\"",
        ),
        ("service: {auth: {certificates: [{role: admin}]}}".to_owned(), "\"subject\" required"),
        (
            "service: {auth: {certificates: [{subject: CN=a, role: admin}, {subject: CN=a, role: viewer}]}}"
                .to_owned(),
            "same \"subject\"",
        ),
    ] {
        assert!(problem(&text).contains(says), "{text}: {}", problem(&text));
    }
    // Somebody put the token itself there.
    let shown = problem(&with("{name: a, hash: hft_abcdef, role: admin}"));
    assert!(shown.contains("holdfast token") && !shown.contains("hft_abcdef"), "{shown}");
}

#[test]
fn a_change_of_who_may_do_what_needs_no_restart() {
    let of = |role: &str| {
        parse(&format!("service: {{auth: {{certificates: [{{subject: CN=a, role: {role}}}]}}}}")).unwrap()
    };
    let diff = ConfigDiff::between(&of("viewer"), &of("admin"));
    assert!(!diff.is_empty() && diff.auth, "{diff:?}");
    assert_eq!(diff.static_change(), None);
    assert!(ConfigDiff::between(&of("viewer"), &of("viewer")).is_empty());
    let open = parse("").unwrap();
    assert!(ConfigDiff::between(&of("viewer"), &open).auth);
}

#[test]
fn https_has_the_defaults_of_abs_but_closes_http() {
    let config = parse("service: {https: {cert-file: /c, key-file: /k}}").unwrap().service();
    let https = config.https.as_ref().unwrap();
    assert!(config.http.disabled);
    assert_eq!(
        (https.listener.port, https.min_version, https.client_auth),
        (8443, TlsVersion::V1_2, ClientAuth::None)
    );
    let listener = &https.listener;
    assert_eq!((listener.timeout, listener.read_timeout), (5_000, 30_000));
    assert_eq!((listener.write_timeout, listener.idle_timeout), (60_000, 120_000));
    assert_eq!((listener.rate.tps, listener.rate.size), (1024, 1024));

    let both =
        parse("service: {http: {context-path: /a}, https: {cert-file: /c, key-file: /k}}").unwrap().service();
    assert!(!both.http.disabled);
    assert_eq!(both.https.as_ref().unwrap().listener.context_path, "/a/");
    let alone = parse("service: {https: {cert-file: /c, key-file: /k, context-path: /b}}").unwrap().service();
    assert_eq!(alone.context_path(), "/b/");
    let off = parse("service: {https: {disabled: true}}").unwrap().service();
    assert!(off.https.is_none() && !off.http.disabled);
}

#[test]
fn listeners_that_cannot_be_are_refused() {
    for (text, says) in [
        ("{https: {}}", "\"cert-file\" required"),
        ("{https: {cert-file: /c}}", "\"key-file\" required"),
        ("{https: {cert-file: /c, key-file: /k, client-auth: request}}", "\"client-ca-file\" required"),
        ("{https: {cert-file: /c, key-file: /k, min-version: '1.1'}}", "min-version"),
        (
            "{https: {cert-file: /c, key-file: /k, cipher-suites: [TLS_RSA_WITH_RC4_128_SHA]}}",
            "no cipher suite",
        ),
        ("{http: {}, https: {cert-file: /c, key-file: /k, context-path: /b}}", "context-path"),
        ("{http: {rate: {tps: 0}}}", "tps"),
        ("{http: {rate: {white-list: [10.0.0.0/33]}}}", "must be an address"),
        ("{http: {read-timeout: -1}}", "read-timeout"),
        ("{audit: {max-age: 0}}", "max-age"),
        ("{logger: {file-writer: {}}}", "\"filename\" required"),
        ("{logger: {file-writer: {filename: /l, maxsize: -1}}}", "maxsize"),
    ] {
        let text = format!("service: {text}");
        assert!(problem(&text).contains(says), "{text}: {}", problem(&text));
    }
}
