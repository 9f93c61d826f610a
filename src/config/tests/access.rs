//! Credentials, TLS and secret agents: what is refused, and that no secret is shown or kept in a row.

use secrecy::ExposeSecret;
use serde_json::{Value as Json, json};

use super::{NOW, lines, upstream};
use crate::config::{AuthMode, Config, ConfigDiff, RestoreRequest, from_json};
use crate::secrets::{AgentPlace, Keeper, SecretSource};

fn with(cluster: &Json) -> Result<Config, Vec<String>> {
    let mut document = upstream();
    let mut whole = json!({"seed-nodes": [{"host-name": "localhost", "port": 3000}]});
    whole.as_object_mut().unwrap().extend(cluster.as_object().unwrap().clone());
    document["aerospike-clusters"]["c1"] = whole;
    document["secret-agents"] = json!({"a1": {"connection-type": "TCP", "address": "agent:3005"}});
    Config::from_json(document.to_string().as_bytes(), NOW).map_err(|problems| lines(&problems))
}

fn tls() -> Json {
    json!({"ca-file": "/ca.pem", "cert-file": "/c.pem", "key-file": "/k.pem"})
}

#[test]
fn each_mistake_is_refused_at_its_field() {
    let bad_tls = |more: Json| {
        let mut tls = tls();
        tls.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        json!({"tls": tls})
    };
    let table = [
        (
            json!({"credentials": {"password": "p"}}),
            "credentials.user: username is required when using authentication",
        ),
        (
            json!({"credentials": {"auth-mode": "EXTERNAL"}, "tls": {}}),
            "credentials.user: username is required",
        ),
        (
            json!({"credentials": {"user": "u"}}),
            "credentials.password: required fields validation error: must specify",
        ),
        (
            json!({"credentials": {"user": "u", "password": "p", "password-path": "/p"}}),
            "credentials.password-path: mutually exclusive fields validation error",
        ),
        (
            json!({"credentials": {"user": "u", "password": "secrets:r:k"}}),
            "credentials.password: a secret of an agent needs \"secret-agent\" or \"secret-agent-name\"",
        ),
        (
            json!({"credentials": {"user": "u", "password": "secrets:r"}}),
            "credentials.password: a secret of an agent must",
        ),
        (
            json!({"credentials": {"user": "u", "password": "[secret]"}}),
            "credentials.password: \"[secret]\" stands for",
        ),
        (
            json!({"credentials": {"user": "u", "password": ["p4ssw0rd"]}}),
            "credentials.password: \"password\" must be a text",
        ),
        (
            json!({"credentials": {"user": "u", "password": "p", "auth-mode": "LDAP"}}),
            "credentials.auth-mode: invalid value validation error",
        ),
        (
            json!({"credentials": {"user": "u", "password": "p", "auth-mode": "EXTERNAL"}}),
            "credentials: auth-mode EXTERNAL sends the password itself: it needs \"tls\"",
        ),
        (
            json!({"credentials": {"auth-mode": "PKI"}, "tls": {}}),
            "credentials: auth-mode PKI needs \"tls\" with",
        ),
        (
            json!({"credentials": {"auth-mode": "PKI", "user": "u"}, "tls": tls()}),
            "credentials.user: \"user\" says nothing with auth-mode PKI",
        ),
        (
            json!({"credentials": {"user": "u", "password": "secrets:r:k", "secret-agent-name": "a2"}}),
            "credentials.secret-agent-name: not found validation error: secret agent \"a2\" - did you mean: \"a1\"?",
        ),
        (
            json!({"credentials": {"user": "u", "password": "p", "secret-agent-name": "a1",
                "secret-agent": {"connection-type": "unix", "address": "/s"}}}),
            "credentials.secret-agent-name: mutually exclusive fields validation error",
        ),
        (
            json!({"tls": {"cert-file": "/c.pem"}}),
            "tls.key-file: empty field validation error: \"key-file\" required",
        ),
        (json!({"tls": {"key-file-password": "p"}}), "tls.key-file: empty field validation error"),
        (bad_tls(json!({"protocols": "TLSv1.1"})), "tls.protocols: TLSv1.1 is not spoken"),
        (
            bad_tls(json!({"cipher-suite": "RC4-MD5"})),
            "tls.cipher-suite: no cipher suite is called \"RC4-MD5\"; known are",
        ),
        (
            bad_tls(json!({"key-file-password": "secrets:r:k"})),
            "tls: key-file-password: a secret of an agent needs",
        ),
        (
            json!({"seed-nodes": [{"host-name": "h", "port": 1, "tls-name": "n"}]}),
            "seed-nodes[0]: \"tls-name\" needs \"tls\" at the cluster",
        ),
    ];
    for (cluster, expected) in table {
        let found = with(&cluster).expect_err(&cluster.to_string());
        assert_eq!(found.len(), 1, "{cluster}: {found:#?}");
        assert!(
            found[0].starts_with(&format!("aerospike-clusters.c1.{expected}")),
            "{cluster}:\n{}",
            found[0]
        );
        assert!(!found[0].contains("p4ssw0rd"));
    }
    let agent = |agent: Json| {
        let document = json!({"secret-agents": {"a1": agent}}).to_string();
        lines(&Config::from_json(document.as_bytes(), NOW).unwrap_err())
    };
    for (given, expected) in [
        (json!({"connection-type": "tcp", "address": "h"}), "port: empty field"),
        (
            json!({"connection-type": "unix", "address": "/s", "port": 1}),
            "port: \"port\" says nothing of a socket",
        ),
        (json!({"connection-type": "tcp", "address": "h:1", "key-file": "/k"}), "cert-file: empty field"),
    ] {
        let found = agent(given);
        assert!(
            found.len() == 1 && found[0].starts_with(&format!("secret-agents.a1.{expected}")),
            "{found:?}"
        );
    }
}

#[test]
fn what_abs_accepts_is_accepted() {
    for cluster in [
        json!({"credentials": {}}),
        json!({"credentials": {"auth-mode": "internal"}}),
        json!({"credentials": {"user": "u", "password": "p"}, "tls": {}}),
        json!({"credentials": {"user": "u", "password-path": "/p", "auth-mode": "external"}, "tls": tls()}),
        json!({"credentials": {"auth-mode": "PKI"}, "tls": tls(), "use-services-alternate": true}),
    ] {
        let config = with(&cluster).unwrap_or_else(|problems| panic!("{cluster}: {problems:#?}"));
        config.cluster("c1").unwrap();
    }
    let none = with(&json!({"credentials": {}})).unwrap().cluster("c1").unwrap();
    assert_eq!((none.credentials, none.tls), (None, None));
}

#[test]
fn a_row_holds_where_a_secret_is_and_the_keeper_has_it() {
    let config = with(&json!({
        "credentials": {"user": "u", "password": "p4ssw0rd"},
        "tls": {"ca-file": "/ca.pem", "cert-file": "/c.pem", "key-file": "/k.pem", "key-file-password": "k3y"},
        "cluster-name": "blue", "use-services-alternate": true,
    }))
    .unwrap();
    let job = config.routine("keep", NOW).unwrap().job;
    let row = serde_json::to_string(&job).unwrap();
    assert!(!row.contains("p4ssw0rd") && !row.contains("k3y"), "{row}");
    assert_eq!(serde_json::from_str::<crate::config::JobConfig>(&row).unwrap(), job);
    let credentials = job.cluster.credentials.unwrap();
    assert_eq!((credentials.mode, credentials.user.as_str()), (AuthMode::Internal, "u"));
    let Some(SecretSource::Kept(place)) = credentials.password else { panic!("{row}") };
    assert_eq!(config.literal_secrets()[&place].expose_secret(), "p4ssw0rd");
    assert_eq!(config.literal_secrets().len(), 2);
    assert_eq!((job.cluster.cluster_name.as_deref(), job.cluster.services_alternate), (Some("blue"), true));

    let shown = serde_json::to_string(&config).unwrap() + &config.to_yaml().unwrap() + &format!("{config:?}");
    assert!(!shown.contains("p4ssw0rd") && !shown.contains("k3y"), "{shown}");
    assert!(shown.contains("[secret]"));
}

#[test]
fn a_change_of_a_password_or_of_its_agent_is_noticed() {
    let of = |password: &str, port: u16| {
        let mut config =
            with(&json!({"credentials": {"user": "u", "password": password, "secret-agent-name": "a1"}}))
                .unwrap();
        config.secret_agents.get_mut("a1").unwrap().address = format!("agent:{port}");
        config
    };
    assert!(ConfigDiff::between(&of("one", 1), &of("one", 1)).is_empty());
    assert!(ConfigDiff::between(&of("one", 1), &of("two", 1)).affected.contains("keep"));
    assert!(ConfigDiff::between(&of("secrets:r:k", 1), &of("secrets:r:k", 2)).affected.contains("keep"));
    let job = of("secrets:r:k", 2).routine("keep", NOW).unwrap().job;
    let Some(SecretSource::Agent { agent, .. }) = job.cluster.credentials.unwrap().password else { panic!() };
    assert_eq!(agent.place, AgentPlace::Tcp { host: "agent".into(), port: 2, tls: None });
}

#[test]
fn the_secrets_of_a_request_stay_in_memory() {
    // abs.md 7.9.
    let body = json!({
        "destination": {"seed-nodes": [{"host-name": "localhost", "port": 3000}],
                        "credentials": {"user": "user", "password": "p4ssw0rd"}},
        "source-name": "s1", "backup-data-path": "r/backup/1/data/ns",
    });
    let config = with(&json!({})).unwrap();
    let mut request: RestoreRequest = from_json(body.to_string().as_bytes(), NOW).unwrap();
    assert!(config.resolve_restore(&request).is_err(), "nobody has kept it");
    request.ends.destination.as_mut().unwrap().keep_secrets(&Keeper::default());
    let restore = config.resolve_restore(&request).unwrap();
    let row = serde_json::to_string(&restore).unwrap();
    assert!(!row.contains("p4ssw0rd") && row.contains("kept"), "{row}");
}
