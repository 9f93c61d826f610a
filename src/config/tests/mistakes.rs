//! What is wrong with a configuration file: everything at once, each with its line, field and remedy.

use std::fmt::Write as _;

use super::{parse, refusal};

/// A document that is right but for one line, which is the last.
fn with(section: &str, line: &str) -> String {
    let head = "\
aerospike-clusters:
  c1:
    seed-nodes:
      - host-name: localhost
        port: 3000
storage:
  s1:
    local-storage:
      path: /backups
backup-routines:
  r1:
    source-cluster: c1
    storage: s1
    interval-cron: '@daily'
    namespaces: []
";
    let own = match section {
        "routine" => "",
        "policy" => "backup-policies:\n  p1:\n    parallel: 1\n",
        "compression" => "backup-policies:\n  p1:\n    compression:\n      mode: ZSTD\n",
        "retry" => "backup-policies:\n  p1:\n    retry-policy:\n      base-timeout: 5\n",
        "service" => "service:\n    state-dir: /s\n",
        "http" => "service:\n  http:\n    timeout: 1\n",
        "logger" => "service:\n  logger:\n    stdout-writer: true\n",
        "backup" => "service:\n  backup:\n    timestamp-format: ISO\n",
        "agent" => "secret-agents:\n  a1:\n    connection-type: TCP\n    address: localhost:3005\n",
        other => panic!("{other}"),
    };
    let indent = if matches!(section, "compression" | "retry") { 6 } else { 4 };
    format!("{head}{own}{}{line}\n", " ".repeat(indent))
}

#[test]
fn each_mistake_names_its_line_field_and_remedy() {
    let table = [
        (
            "routine",
            "intervall-cron: x",
            "16: backup-routines.r1.intervall-cron: field \"intervall-cron\" not found - did you mean: \"interval-cron\"?",
        ),
        ("routine", "colour: x", "16: backup-routines.r1.colour: field \"colour\" not found"),
        (
            "routine",
            "prefer-racks: [1]",
            "16: backup-routines.r1.prefer-racks: field \"prefer-racks\" is deprecated. Use prefer-racks of the cluster",
        ),
        (
            "routine",
            "backup-policy: nightly",
            "16: backup-routines.r1.backup-policy: not found validation error: policy \"nightly\"",
        ),
        (
            "routine",
            "secret-agent: a",
            "16: backup-routines.r1.secret-agent: not found validation error: secret agent \"a\"",
        ),
        (
            "routine",
            "incr-interval-cron: 0 0 1 1 * MON",
            "16: backup-routines.r1.incr-interval-cron: day field set twice: day-of-month \"1\" and day-of-week \"MON\", one must be ?",
        ),
        (
            "routine",
            "incr-interval-cron: '*/5 * * * *'",
            "16: backup-routines.r1.incr-interval-cron: invalid expression length: 5 fields in \"*/5 * * * *\" instead of 6 or 7",
        ),
        (
            "routine",
            "partition-list: 4095-2",
            "16: backup-routines.r1.partition-list: partition list item \"4095-2\": ",
        ),
        (
            "routine",
            "schedule-timezone: EST",
            "16: backup-routines.r1.schedule-timezone: time zone \"EST\" is a fixed offset, name a place as America/New_York",
        ),
        (
            "routine",
            "schedule-timezone: europe/berlin",
            "16: backup-routines.r1.schedule-timezone: unknown time zone \"europe/berlin\"",
        ),
        (
            "routine",
            "catch-up: twice",
            "16: backup-routines.r1.catch-up: invalid value validation error: \"catch-up\" \"twice\" invalid, should be one of once, skip",
        ),
        (
            "routine",
            "jitter: -1",
            "16: backup-routines.r1.jitter: negative value validation error: \"jitter\" -1 invalid, should not be negative number",
        ),
        (
            "routine",
            "disabled: maybe",
            "16: backup-routines.r1.disabled: \"disabled\" must be true or false, not \"maybe\"",
        ),
        (
            "routine",
            "set-list: demo",
            "16: backup-routines.r1.set-list: \"set-list\" must be a list, not \"demo\"",
        ),
        ("routine", "set-list: [a, [b]]", "16: backup-routines.r1.set-list[1]: must be a text"),
        (
            "routine",
            "storage: s2",
            "16: backup-routines.r1.storage: key \"storage\" is given twice, first in line 13",
        ),
        ("http", "rate: 5", "19: service.http.rate: must be a mapping; an empty one is {}"),
        (
            "policy",
            "parallel-write: 0",
            "19: backup-policies.p1.parallel-write: non-positive value validation error: \"parallel-write\" 0 invalid, should be positive number",
        ),
        (
            "policy",
            "socket-timeout: 99999999999999999999",
            "19: backup-policies.p1.socket-timeout: invalid value validation error: \"socket-timeout\" 99999999999999999999 invalid, should be between 0 and 2147483647",
        ),
        (
            "policy",
            "file-limit: 1.5",
            "19: backup-policies.p1.file-limit: \"file-limit\" must be an integer, not \"1.5\"",
        ),
        (
            "policy",
            "file-limit: 010",
            "19: backup-policies.p1.file-limit: \"file-limit\" must be an integer, not \"010\"",
        ),
        (
            "policy",
            "max-retries: 3",
            "19: backup-policies.p1.max-retries: field \"max-retries\" is deprecated. Use retry-policy",
        ),
        (
            "policy",
            "unsupported-records: skip-and-cuont",
            "19: backup-policies.p1.unsupported-records: invalid value validation error: \"unsupported-records\" \"skip-and-cuont\" invalid, should be one of fail, skip-and-count - did you mean: \"skip-and-count\"?",
        ),
        (
            "compression",
            "level: 23",
            "20: backup-policies.p1.compression.level: invalid value validation error: \"level\" 23 invalid, should be between -1 and 22",
        ),
        (
            "retry",
            "multiplier: 0.5",
            "20: backup-policies.p1.retry-policy.multiplier: invalid value validation error: \"multiplier\" 0.5 invalid, should be between 1 and 1000",
        ),
        (
            "retry",
            "multiplier: .nan",
            "20: backup-policies.p1.retry-policy.multiplier: \"multiplier\" must be a number, not \".nan\"",
        ),
        (
            "http",
            "context-path: abs",
            "19: service.http.context-path: \"context-path\" must start with / and hold plain path segments",
        ),
        (
            "http",
            "port: 65536",
            "19: service.http.port: invalid value validation error: \"port\" 65536 invalid, should be between 0 and 65535",
        ),
        (
            "service",
            "memory-budget: 41943039",
            "18: service.memory-budget: invalid value validation error: \"memory-budget\" 41943039 invalid, should be between 41943040",
        ),
        (
            "service",
            // A restore's 40 MiB are kept, a backup needs 16.
            "memory-budget: 58720255",
            "13: backup-routines.r1.storage: does not fit service.memory-budget of 56.0 MiB, of which 40 MiB are kept for \
             a restore: a backup wishes 72 MiB (8 scans of 3 MiB, 8 files of 6 MiB), needs 16 MiB (10 MiB + 6 MiB)",
        ),
        (
            "service",
            "compatibility: 3.8",
            "18: service.compatibility: invalid value validation error: \"compatibility\" \"3.8\" invalid, should be one of 3.5, 3.6, 3.7",
        ),
        (
            "logger",
            "level: VERBOSE",
            "19: service.logger.level: invalid value validation error: \"level\" \"VERBOSE\" invalid, should be one of TRACE, DEBUG, INFO, WARN, WARNING, ERROR",
        ),
        (
            "backup",
            "max-running-jobs: 0",
            "19: service.backup.max-running-jobs: non-positive value validation error: \"max-running-jobs\" 0 invalid, should be positive number",
        ),
        (
            "agent",
            "port: 70000",
            "20: secret-agents.a1.port: invalid value validation error: \"port\" 70000 invalid, should be between 1 and 65535",
        ),
    ];
    for (section, line, expected) in table {
        let found = refusal(&with(section, line));
        assert_eq!(found.len(), 1, "{line}: {found:#?}");
        assert!(
            found[0].starts_with(&format!("config.yaml:{expected}")),
            "{line}:\n{}\n{expected}",
            found[0]
        );
    }
}

#[test]
fn every_problem_is_reported_at_once_in_the_order_of_lines() {
    let found = refusal(
        "\
aerospike-clusters:
  c1:
    seed-nodes: []
  c2:
    seed-nodes:
      - host-name: ''
        port: 70000
      - prot: 3000
storage:
  s1: {}
  s2:
    local-storage: {path: ''}
  ../s3:
    local-storage: {path: /a/../b}
  s4:
    local-storage: {path: /b}
    s3-storage: {bucket: b}
backup-policies:
  p1:
backup-routines:
  r1: {}
  r2:
    source-cluster: c3
    storage: s9
    interval-cron: '@dayly'
    namespaces: [test, a/b, test]
serivce: {}
",
    );
    assert_eq!(
        found,
        [
            "config.yaml:3: aerospike-clusters.c1.seed-nodes: seed nodes are not specified",
            "config.yaml:6: aerospike-clusters.c2.seed-nodes[0].host-name: empty hostname is not allowed",
            "config.yaml:7: aerospike-clusters.c2.seed-nodes[0].port: invalid port number",
            "config.yaml:8: aerospike-clusters.c2.seed-nodes[1].host-name: empty hostname is not allowed",
            "config.yaml:8: aerospike-clusters.c2.seed-nodes[1].port: invalid port number",
            "config.yaml:8: aerospike-clusters.c2.seed-nodes[1].prot: field \"prot\" not found - did you mean: \"port\"?",
            "config.yaml:10: storage.s1: no storage type specified",
            "config.yaml:12: storage.s2.local-storage.path: empty field validation error: \"path\" required",
            "config.yaml:13: storage.../s3: name \"../s3\" must be a single path segment: no \"/\", \"\\\" or control characters",
            "config.yaml:14: storage.../s3.local-storage.path: \"path\" must be clean: no \"..\"",
            "config.yaml:15: storage.s4: multiple storage types specified (2). Exactly one storage type should be specified",
            "config.yaml:17: storage.s4.s3-storage.s3-region: empty field validation error: \"s3-region\" required",
            "config.yaml:19: backup-policies.p1: must be a mapping; an empty one is {}",
            "config.yaml:21: backup-routines.r1.source-cluster: empty field validation error: \"source-cluster\" required",
            "config.yaml:21: backup-routines.r1.storage: empty field validation error: \"storage\" required",
            "config.yaml:21: backup-routines.r1.interval-cron: empty field validation error: \"interval-cron\" required",
            "config.yaml:21: backup-routines.r1.namespaces: empty field validation error: \"namespaces\" required",
            "config.yaml:23: backup-routines.r2.source-cluster: not found validation error: cluster \"c3\" - did you mean: \"c1\"?",
            "config.yaml:24: backup-routines.r2.storage: not found validation error: storage \"s9\" - did you mean: \"s1\"?",
            "config.yaml:25: backup-routines.r2.interval-cron: unknown schedule name \"@dayly\"",
            "config.yaml:26: backup-routines.r2.namespaces[1]: namespace \"a/b\" must be a single path segment: no \"/\", \"\\\" or control characters",
            "config.yaml:26: backup-routines.r2.namespaces[2]: namespace \"test\" is listed twice",
            "config.yaml:27: serivce: field \"serivce\" not found - did you mean: \"service\"?",
        ]
    );
}

#[test]
fn what_is_no_document_says_where() {
    for (text, expected) in [
        ("service: [", "config.yaml:1: "),
        ("a: 1\n---\nb: 2\n", "config.yaml:3: a second document; one file holds one"),
        ("- a\n", "config.yaml:1: must be a mapping; an empty one is {}"),
        ("service: &a\n  http: *a\n", "config.yaml:2: an alias inside the node that it names"),
        ("service: !!binary x\n", "config.yaml:1: the tag "),
        ("[a]: b\n", "config.yaml:1: a key must be a text"),
    ] {
        let found = refusal(text);
        assert!(found.len() == 1 && found[0].starts_with(expected), "{text}: {found:?}");
    }
    let deep = format!("service: {}{}", "[".repeat(200), "]".repeat(200));
    assert_eq!(refusal(&deep).len(), 1);
}

#[test]
fn a_bomb_of_aliases_is_refused() {
    let mut text = String::from("a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n");
    for level in 1..12 {
        let copies = vec![format!("*a{}", level - 1); 10].join(", ");
        writeln!(text, "a{level}: &a{level} [{copies}]").unwrap();
    }
    assert_eq!(refusal(&text), ["config.yaml:5: the document has more than 200000 values"]);
}

#[test]
fn many_problems_are_counted_not_kept() {
    let text: String = (0..2_000).fold(String::new(), |text, at| text + &at.to_string() + "k: 1\n");
    let problems = parse(&text).unwrap_err();
    assert_eq!(problems.len(), 2_000);
    assert!(problems.to_string().ends_with("and 1500 more"), "{problems}");
}
