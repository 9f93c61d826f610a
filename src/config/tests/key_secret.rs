//! `encryption.key-secret`: whose agent is asked, what is refused without one, and what a job's row has of it.

use serde_json::{Value as Json, json};

use super::{NOW, lines, upstream};
use crate::config::{
    Config, ConfigDiff, DecryptionConfig, EncryptionMode, FromJson, JobConfig, KeyPlace, RestoreConfig,
    RestoreRequest, RestoreTimestampRequest, from_json,
};
use crate::secrets::{AgentPlace, SecretSource};

const KEY: &str = "secrets:backup:key";

fn document() -> Json {
    let mut document = upstream();
    let agent = |port| json!({"connection-type": "tcp", "address": "agent", "port": port});
    document["secret-agents"] = json!({"own": agent(1), "other": agent(2)});
    document["backup-policies"]["p1"] = json!({"encryption": {"mode": "AES256", "key-secret": KEY}});
    document["backup-routines"]["keep"]["secret-agent"] = json!("own");
    document
}

fn config(document: &Json) -> Config {
    Config::from_json(document.to_string().as_bytes(), NOW).unwrap()
}

/// The port of the agent that will be asked.
fn port(place: &KeyPlace) -> u16 {
    let KeyPlace::Secret(source) = place else { panic!("{place:?}") };
    assert_eq!(source.to_string(), KEY);
    let SecretSource::Agent { agent, .. } = source else { panic!("{source:?}") };
    let AgentPlace::Tcp { port, .. } = agent.place else { panic!("{agent:?}") };
    port
}

fn read<T: FromJson>(body: &Json) -> T {
    from_json(body.to_string().as_bytes(), NOW).unwrap()
}

fn by_time(config: &Config, more: &Json) -> Result<RestoreConfig, Vec<String>> {
    let mut body = json!({"routine": "keep", "time": 1_710_671_632_452_i64});
    body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    let request = read::<RestoreTimestampRequest>(&body);
    config.resolve_restore_timestamp(&request).map_err(|problems| lines(&problems))
}

fn by_path(config: &Config, more: &Json) -> Result<RestoreConfig, Vec<String>> {
    let mut body = json!({"backup-data-path": "a/b", "source-name": "s1", "destination-name": "c1"});
    body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    let request = read::<RestoreRequest>(&body);
    config.resolve_restore(&request).map_err(|problems| lines(&problems))
}

fn encryption(restore: Result<RestoreConfig, Vec<String>>) -> DecryptionConfig {
    restore.unwrap().policy.encryption.unwrap()
}

#[test]
fn a_backup_asks_the_routines_agent_and_its_row_has_the_reference() {
    let config = config(&document());
    assert_eq!(serde_json::to_value(&config).unwrap(), document(), "read back as it was given");
    let job = config.routine("keep", NOW).unwrap().job;
    let encryption = job.policy.encryption.clone().unwrap();
    assert_eq!((encryption.mode, port(&encryption.key)), (EncryptionMode::Aes256, 1));
    assert_eq!(encryption.key.to_string(), format!("encryption.key-secret {KEY}"));
    let row = serde_json::to_value(&job).unwrap();
    assert_eq!(serde_json::from_value::<JobConfig>(row.clone()).unwrap(), job);
    assert_eq!(
        row["policy"]["encryption"]["key"]["secret"]["agent"],
        json!({"resource": "backup", "key": "key", "agent": {
            "place": {"tcp": {"host": "agent", "port": 1}}, "timeout-ms": 1000, "is-base64": false,
        }})
    );
}

#[test]
fn a_routine_without_an_agent_is_refused_at_its_field() {
    let mut document = document();
    document["backup-routines"]["keep"].as_object_mut().unwrap().remove("secret-agent");
    let problems = Config::from_json(document.to_string().as_bytes(), NOW).unwrap_err();
    let problems = lines(&problems);
    assert!(problems[0].contains("backup-routines.keep.secret-agent"), "{problems:?}");
    assert!(problems[0].contains("encryption.key-secret of policy \"p1\""), "{problems:?}");
    assert_eq!(problems.len(), 1, "{problems:?}");
    // A policy that no routine uses may wait for one.
    document["backup-routines"]["keep"].as_object_mut().unwrap().remove("backup-policy");
    assert!(config(&document).backup_policies["p1"].resolve(None).is_err());
    assert_eq!(config(&document).routine("keep", NOW).unwrap().job.policy.encryption, None);
}

#[test]
fn a_restore_asks_the_agent_of_its_request_or_else_the_routines() {
    let config = config(&document());
    let inline = json!({"connection-type": "tcp", "address": "agent", "port": 3});
    let given = json!({"encryption": {"mode": "AES128", "key-secret": KEY}});
    for (more, asked, mode) in [
        (json!({}), 1, None),
        (json!({"secret-agent-name": "other"}), 2, None),
        (json!({"policy": given}), 1, Some(EncryptionMode::Aes128)),
        (json!({"policy": given, "secret-agent-name": "other"}), 2, Some(EncryptionMode::Aes128)),
        (json!({"policy": given, "secret-agent": inline}), 3, Some(EncryptionMode::Aes128)),
    ] {
        let found = encryption(by_time(&config, &more));
        assert_eq!((port(&found.key), found.mode), (asked, mode), "{more}");
    }
    for (more, asked) in [
        (json!({"policy": given, "secret-agent-name": "other"}), 2),
        (json!({"policy": given, "secret-agent": inline}), 3),
    ] {
        assert_eq!(port(&encryption(by_path(&config, &more)).key), asked, "{more}");
    }
}

#[test]
fn a_restore_without_an_agent_or_with_an_unknown_one_is_refused_at_its_field() {
    let mut document = document();
    document["backup-routines"]["keep"] = upstream()["backup-routines"]["keep"].clone();
    document["backup-policies"] = json!({"p1": {}});
    let config = config(&document);
    let given = json!({"encryption": {"key-secret": KEY}});
    let missing = "policy.encryption.key-secret: \"key-secret\" needs \"secret-agent\"";
    let unknown = "secret-agent-name: not found validation error: secret agent \"othr\"";
    let named = json!({"policy": given, "secret-agent-name": "othr"});
    let only_key = json!({"policy": given});
    for (refused, says) in [
        (by_time(&config, &only_key), missing),
        (by_path(&config, &only_key), missing),
        (by_time(&config, &named), unknown),
        (by_path(&config, &named), unknown),
        (by_path(&config, &json!({"secret-agent-name": "othr"})), unknown),
    ] {
        let problems = refused.unwrap_err();
        assert!(problems.len() == 1 && problems[0].contains(says), "{problems:?}");
    }
    // Both mistakes at once.
    let mut both = only_key.clone();
    both["source-name"] = json!("s2");
    let problems = by_path(&config, &both).unwrap_err();
    assert_eq!(problems.len(), 2, "{problems:?}");
    let none = json!({"policy": {"encryption": {"mode": "NONE"}}});
    assert_eq!(by_path(&config, &none).unwrap().policy.encryption, None);
}

#[test]
fn a_change_of_the_routines_agent_is_noticed() {
    let mut moved = document();
    moved["secret-agents"]["own"]["port"] = json!(9);
    let (old, new) = (config(&document()), config(&moved));
    assert!(ConfigDiff::between(&old, &new).affected.contains("keep"));
    moved["secret-agents"]["own"]["port"] = json!(1);
    moved["secret-agents"]["other"]["port"] = json!(9);
    assert!(!ConfigDiff::between(&old, &config(&moved)).affected.contains("keep"));
}
