//! Against a double of an agent (`tests/support/agent.rs`).

use std::sync::Arc;

use secrecy::ExposeSecret;

use super::{AgentOptions, AgentPlace, AgentTls};
use crate::secrets::test_agent::TestAgent;
use crate::secrets::{SecretRef, fetch};
use crate::tls::TlsFiles;
use crate::tls::test_certificates::Certificates;

async fn ask(agent: &AgentOptions, key: &str) -> Result<String, crate::error::Error> {
    let reference = SecretRef::Agent { resource: "res".into(), key: key.into() };
    let secret = fetch(&reference, Some(agent)).await?;
    Ok(String::from_utf8(secret.expose_secret().to_vec()).unwrap())
}

#[tokio::test]
async fn a_secret_comes_by_tcp_and_by_a_socket() {
    let dir = tempfile::tempdir().unwrap();
    for agent in [TestAgent::tcp().await, TestAgent::unix(&dir.path().join("agent.sock"))] {
        agent.put("res", "key", "s3cret\n");
        assert_eq!(ask(&agent.options, "key").await.unwrap(), "s3cret\n");
        agent.put("res", "key", "changed");
        assert_eq!(ask(&agent.options, "key").await.unwrap(), "changed", "it is asked each time");
        agent.put("res", "b64", "aHVudGVyMg==");
        let base64 = AgentOptions { is_base64: true, ..agent.options.clone() };
        assert_eq!(ask(&base64, "b64").await.unwrap(), "hunter2");
        assert_eq!(ask(&base64, "key").await.unwrap_err().code(), "secret-malformed");
    }
}

#[tokio::test]
async fn what_goes_wrong_is_told_apart_and_no_error_shows_a_value() {
    let agent = TestAgent::tcp().await;
    let error = ask(&agent.options, "unknown").await.unwrap_err();
    assert_eq!((error.code(), error.is_temporary()), ("secret-agent-refused", true));
    assert!(error.to_string().ends_with("refuses secrets:res:unknown: no such secret"), "{error}");

    for (answer, code) in [
        (r#"{"SecretValue":"hunter2","#, "secret-malformed"),
        (r#"{"Value":"hunter2"}"#, "secret-malformed"),
        (r#"{"SecretValue":"hunter2","Error":"denied"}"#, "secret-agent-refused"),
        ("!HTTP/1.1 400 Bad Request", "secret-malformed"),
        ("!ab", "secret-agent-unreachable"),
    ] {
        agent.say("res", "key", answer);
        let error = ask(&agent.options, "key").await.unwrap_err();
        assert_eq!(error.code(), code, "{answer}: {}", error.report());
        assert!(!error.report().contains("hunter2"), "{}", error.report());
    }

    agent.say("res", "key", "!\0\0\0\0\0\0\0\u{2}{}");
    let error = ask(&agent.options, "key").await.unwrap_err();
    assert!(error.to_string().contains("no secret agent"), "an answer but for the first bytes: {error}");

    agent.say("res", "key", "HANG");
    let hasty = AgentOptions { timeout_ms: 50, ..agent.options.clone() };
    let error = ask(&hasty, "key").await.unwrap_err();
    assert_eq!((error.code(), error.is_temporary()), ("secret-agent-unreachable", true));
    assert!(error.to_string().contains("within 50 ms"), "{error}");

    let nowhere = AgentPlace::Unix("/nonexistent/agent.sock".into());
    let error = ask(&AgentOptions { place: nowhere, ..hasty }, "key").await.unwrap_err();
    assert_eq!(error.code(), "secret-agent-unreachable");
}

#[tokio::test]
async fn tls_shows_who_we_are_and_asks_who_the_agent_is() {
    let certificates = Certificates::new("agent.test");
    let files = TlsFiles {
        ca_file: Some(certificates.path("ca.pem")),
        cert_file: Some(certificates.path("client.pem")),
        key_file: Some(certificates.path("client.key")),
        ..TlsFiles::default()
    };
    let tls = AgentTls { files: files.clone(), name: Some("agent.test".into()) };
    let agent = TestAgent::tls(Arc::new(certificates.server(true)), tls).await;
    agent.put("res", "key", "s3cret");
    assert_eq!(ask(&agent.options, "key").await.unwrap(), "s3cret");

    let with = |tls: AgentTls| {
        let AgentPlace::Tcp { host, port, .. } = agent.options.place.clone() else { panic!("tcp") };
        AgentOptions { place: AgentPlace::Tcp { host, port, tls: Some(tls) }, ..agent.options.clone() }
    };
    let other_name = with(AgentTls { files: files.clone(), name: Some("else.test".into()) });
    assert_eq!(ask(&other_name, "key").await.unwrap_err().code(), "tls-refused");
    let nobody = TlsFiles { cert_file: None, key_file: None, ..files };
    let nobody = with(AgentTls { files: nobody, name: Some("agent.test".into()) });
    assert!(ask(&nobody, "key").await.is_err(), "the agent wants to know who asks");
}
