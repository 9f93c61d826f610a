//! Who we say we are, and in which class we ask objects to be kept: by the shape of the requests, to a fake.

use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;
use holdfast::config::{
    AzureConfig, AzureIdentity, AzureStorageTiers, AzureTier, GcpClass, GcpConfig, GcpIdentity,
};
use holdfast::secrets::{Keeper, SecretSource};
use holdfast::storage::{azure, gcp};
use serde_json::{Value, json};

use crate::Storage;
use crate::fake::Fake;
use crate::still::Still;

const TENANT: &str = "tenant-1";
const CLIENT: &str = "client-1";
const SECRET: &str = "hunter2-of-the-principal";

fn kept(dir: &tempfile::TempDir, name: &str, secret: &str) -> SecretSource {
    let path = dir.path().join(name);
    std::fs::write(&path, secret).unwrap();
    SecretSource::File(path)
}

async fn principal(fake: &Fake, dir: &tempfile::TempDir) -> impl Storage + use<> {
    let config = AzureConfig {
        endpoint: format!("{}/account", fake.address),
        container: "backups".to_owned(),
        path: String::new(),
        identity: AzureIdentity::Principal {
            tenant: kept(dir, "tenant", TENANT),
            client: kept(dir, "client", CLIENT),
            secret: kept(dir, "secret", SECRET),
        },
        part_bytes: 1 << 20,
        tiers: AzureStorageTiers { data: Some(AzureTier::Cold), metadata: Some(AzureTier::Hot) },
        ca_file: None,
        requests_per_second: 0,
    };
    // Another server, by its name.
    let authority = Some(format!("{}/", fake.address.replace("127.0.0.1", "localhost")));
    azure::open_paced(&config, &Keeper::default(), Arc::new(Still::default()), authority).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_principal_gets_a_token_once_and_shows_it_and_asks_for_tiers() {
    let fake = Fake::start(|request| {
        if request.starts_with("POST /tenant-1/oauth2/v2.0/token ") {
            return (200, "", r#"{"token_type": "Bearer", "access_token": "token-1", "expires_in": 3600}"#);
        }
        if request.starts_with("PUT ") {
            return (201, "etag: \"1\"\r\n", "");
        }
        (404, "x-ms-error-code: BlobNotFound\r\n", "")
    })
    .await;
    let dir = tempfile::tempdir().unwrap();
    let storage = principal(&fake, &dir).await;
    assert!(storage.get("a/b", 10).await.unwrap().is_none());
    assert!(storage.head("a/b").await.unwrap().is_none());
    storage.put("r/x.asb", Bytes::from_static(b"1")).await.unwrap();
    storage.put("r/metadata.yaml", Bytes::from_static(b"1")).await.unwrap();
    let mut writer = storage.create("r/y.asb").await.unwrap();
    writer.write(Bytes::from(vec![0; 3 << 20])).await.unwrap();
    writer.finish().await.unwrap();

    let asked = fake.asked();
    let (tokens, rest): (Vec<_>, Vec<_>) = asked.iter().partition(|request| request.starts_with("POST"));
    assert_eq!(tokens.len(), 1, "{asked:#?}");
    let form = tokens[0].rsplit("\r\n").next().unwrap();
    let mut fields: Vec<&str> = form.split('&').collect();
    fields.sort_unstable();
    assert_eq!(
        fields,
        [
            "client_id=client-1",
            "client_secret=hunter2-of-the-principal",
            "grant_type=client_credentials",
            "scope=https%3A%2F%2Fstorage.azure.com%2F.default",
        ]
    );
    assert!(rest.iter().all(|request| request.contains("authorization: Bearer token-1\r\n")), "{rest:#?}");
    let tier = |name: &str| {
        let request =
            rest.iter().find(|request| request.starts_with(&format!("PUT /account/backups/r/{name} ")));
        let lines = request.unwrap().lines();
        lines.filter_map(|line| line.strip_prefix("x-ms-access-tier: ")).map(str::to_owned).next()
    };
    assert_eq!(tier("x.asb").as_deref(), Some("Cold"));
    assert_eq!(tier("metadata.yaml").as_deref(), Some("Hot"));
    assert_eq!(tier("y.asb?comp=blocklist").as_deref(), Some("Cold"));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_identity_that_is_refused_is_said_so_and_its_secret_is_not_shown() {
    // Such a server may quote what it was sent.
    let fake = Fake::start(|_| {
        (401, "", r#"{"error": "invalid_client", "error_description": "hunter2-of-the-principal"}"#)
    })
    .await;
    let dir = tempfile::tempdir().unwrap();
    let storage = principal(&fake, &dir).await;
    for error in
        [storage.get("a", 1).await.err(), storage.list("a").await.err(), storage.head("a").await.err()]
    {
        let error = error.unwrap();
        assert_eq!(error.code(), "storage-denied", "{}", error.report());
        assert!(error.report().contains("for credentials"), "{}", error.report());
        assert!(!format!("{error:?} {}", error.report()).contains("hunter2"), "{error:?}");
    }
    assert!(!format!("{storage:?}").contains("hunter2"));
    assert_eq!(fake.asked().len(), 3, "it is not asked again what it will not answer otherwise");
}

fn google(fake: &Fake, identity: GcpIdentity) -> GcpConfig {
    GcpConfig {
        bucket: "backups".to_owned(),
        path: String::new(),
        identity,
        endpoint: fake.address.clone(),
        part_bytes: 5 << 20,
        class: Some(GcpClass::Coldline),
        ca_file: None,
        requests_per_second: 0,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_account_signs_for_itself_and_asks_for_a_class() {
    let fake = Fake::start(|request| {
        if request.starts_with("PUT ") || request.starts_with("DELETE ") {
            return (200, "etag: \"1\"\r\nx-goog-generation: 1\r\n", "");
        }
        if request.starts_with("POST ") && request.contains("?uploads") {
            return (
                200,
                "",
                "<InitiateMultipartUploadResult><UploadId>u1</UploadId></InitiateMultipartUploadResult>",
            );
        }
        if request.starts_with("POST ") {
            return (
                200,
                "",
                "<CompleteMultipartUploadResult><ETag>1</ETag></CompleteMultipartUploadResult>",
            );
        }
        (404, "", "<Error><Code>NoSuchKey</Code></Error>")
    })
    .await;
    let dir = tempfile::tempdir().unwrap();
    let pem = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/service_account.pem");
    let key = json!({
        "type": "service_account",
        "client_email": "backup@project.example",
        "private_key": std::fs::read_to_string(pem).unwrap(),
        "private_key_id": "key-1",
        // Where backups go is said by the document alone.
        "gcs_base_url": "http://127.0.0.1:9",
    });
    let source = kept(&dir, "key.json", &key.to_string());
    let SecretSource::File(path) = source.clone() else { panic!("a file") };
    for identity in [GcpIdentity::Key(source), GcpIdentity::KeyFile(path)] {
        let config = google(&fake, identity);
        let storage = gcp::open_paced(&config, &Keeper::default(), Arc::new(Still::default())).await.unwrap();
        assert!(storage.get("a/b", 10).await.unwrap().is_none());
        storage.put("r/x.asb", Bytes::from_static(b"1")).await.unwrap();
        storage.put("r/metadata.yaml", Bytes::from_static(b"1")).await.unwrap();
        let mut writer = storage.create("r/y.asb").await.unwrap();
        writer.write(Bytes::from(vec![0; 6 << 20])).await.unwrap();
        writer.finish().await.unwrap();
    }
    let asked = fake.asked();
    for request in &asked {
        let bearer = request.lines().find_map(|line| line.strip_prefix("authorization: Bearer ")).unwrap();
        let parts: Vec<Value> = bearer.split('.').take(2).map(decoded).collect();
        assert_eq!((&parts[0]["alg"], &parts[0]["kid"]), (&json!("RS256"), &json!("key-1")));
        assert_eq!(parts[1]["iss"], "backup@project.example");
        assert!(
            parts[1]["scope"].as_str().unwrap().contains("devstorage")
                || parts[1]["scope"].as_str().unwrap().contains("cloud-platform"),
            "{parts:?}"
        );
        let class = request.lines().any(|line| line == "x-goog-storage-class: COLDLINE");
        let begins = request.starts_with("POST ") && request.contains("?uploads");
        let is_data = begins || request.starts_with("PUT /backups/r%2Fx%2Easb ");
        assert_eq!(class, is_data, "{request}");
    }
}

fn decoded(part: &str) -> Value {
    serde_json::from_slice(&base64_simd::URL_SAFE_NO_PAD.decode_to_vec(part).unwrap()).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_is_none_is_refused_and_not_shown() {
    let fake = Fake::start(|_| (500, "", "")).await;
    let dir = tempfile::tempdir().unwrap();
    for key in
        ["hunter2", r#"{"type": "hunter2"}"#, r#"{"type": "service_account", "private_key": "hunter2"}"#]
    {
        let identity = GcpIdentity::Key(kept(&dir, "key.json", key));
        let opened =
            gcp::open_paced(&google(&fake, identity), &Keeper::default(), Arc::new(Still::default())).await;
        let error = opened.unwrap_err();
        assert!(["secret-malformed", "storage-refused"].contains(&error.code()), "{error:?}");
        assert!(!format!("{error:?} {}", error.report()).contains("hunter2"), "{error:?}");
    }
    let missing = GcpIdentity::KeyFile(PathBuf::from("/nowhere/key.json"));
    let opened =
        gcp::open_paced(&google(&fake, missing), &Keeper::default(), Arc::new(Still::default())).await;
    assert_eq!(opened.unwrap_err().code(), "secret-missing");
}
