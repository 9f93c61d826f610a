use std::sync::Arc;

use rustls::CipherSuite;
use secrecy::SecretString;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;

use super::choice::{cipher_suites, protocols};
use super::test_certificates::Certificates;
use super::{TlsFiles, client, connect, stamp};
use crate::error::{Error, Result};
use crate::tasks::Scope;

/// Says `files` and `name` to a server that echoes one byte.
async fn greet(
    files: TlsFiles,
    password: Option<&str>,
    name: &str,
    server: rustls::ServerConfig,
) -> Result<u8> {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let mut scope = Scope::new(&CancellationToken::new());
    scope.spawn("echo", async move {
        let (stream, _) = listener.accept().await.unwrap();
        if let Ok(mut stream) = tokio_rustls::TlsAcceptor::from(Arc::new(server)).accept(stream).await
            && let Ok(byte) = stream.read_u8().await
        {
            stream.write_u8(byte).await.unwrap();
            stream.flush().await.unwrap();
        }
        Ok(())
    });
    let config = client(files, password.map(SecretString::from)).await?;
    let mut stream = connect(&config, TcpStream::connect(address).await.unwrap(), name).await?;
    let lost = |error: std::io::Error| {
        super::refused(&error, Some(address), name)
            .unwrap_or_else(|| Error::temporary("connection-lost", "test"))
    };
    stream.write_u8(42).await.map_err(lost)?;
    stream.flush().await.map_err(lost)?;
    stream.read_u8().await.map_err(lost)
}

fn trusting(certificates: &Certificates) -> TlsFiles {
    TlsFiles { ca_file: Some(certificates.path("ca.pem")), ..TlsFiles::default() }
}

fn known(certificates: &Certificates) -> TlsFiles {
    TlsFiles {
        cert_file: Some(certificates.path("client.pem")),
        key_file: Some(certificates.path("client.key")),
        ..trusting(certificates)
    }
}

#[tokio::test]
async fn each_end_is_asked_who_it_is() {
    let ours = Certificates::new("node.test");
    let others = Certificates::new("node.test");
    for version in [&rustls::version::TLS12, &rustls::version::TLS13] {
        let server = |asks_back| ours.server_of(asks_back, &[version]);
        let ok = async |files, name: &str, asks| {
            greet(files, None, name, server(asks)).await.map_err(|e| e.code())
        };
        assert_eq!(ok(trusting(&ours), "node.test", false).await, Ok(42));
        assert_eq!(ok(trusting(&ours), "127.0.0.1", false).await, Ok(42));
        assert_eq!(ok(known(&ours), "node.test", true).await, Ok(42));
        let folder = TlsFiles { ca_path: Some(ours.folder().into()), ..TlsFiles::default() };
        assert_eq!(ok(folder, "node.test", false).await, Ok(42), "a folder, with keys in it too");

        assert_eq!(ok(trusting(&ours), "else.test", false).await, Err("tls-refused"), "another name");
        assert_eq!(ok(trusting(&others), "node.test", false).await, Err("tls-refused"), "another authority");
        assert_eq!(ok(TlsFiles::default(), "node.test", false).await, Err("tls-refused"), "the system's");
        assert_eq!(ok(trusting(&ours), "node.test", true).await, Err("tls-refused"), "we show nothing");
        let stranger = TlsFiles { ca_file: Some(ours.path("ca.pem")), ..known(&others) };
        assert_eq!(
            ok(stranger, "node.test", true).await,
            Err("tls-refused"),
            "a certificate of another authority"
        );
    }
}

#[tokio::test]
async fn versions_and_suites_are_kept_to() {
    let ours = Certificates::new("node.test");
    let only_13 = || ours.server_of(false, &[&rustls::version::TLS13]);
    let with = |protocols: &str, suites: Option<&str>| TlsFiles {
        protocols: Some(protocols.into()),
        cipher_suite: suites.map(Into::into),
        ..trusting(&ours)
    };
    assert_eq!(greet(with("TLSv1.3", None), None, "node.test", only_13()).await.unwrap(), 42);
    let error = greet(with("TLSv1.2", None), None, "node.test", only_13()).await.unwrap_err();
    assert_eq!(error.code(), "tls-refused");
    let suite = Some("ECDHE-RSA-AES256-GCM-SHA384");
    let error = greet(with("TLSv1.2", suite), None, "node.test", ours.server(false)).await.unwrap_err();
    assert_eq!(error.code(), "tls-refused", "the server's key is of another kind");
    let suite = Some("ECDHE-ECDSA-AES256-GCM-SHA384");
    assert_eq!(greet(with("TLSv1.2", suite), None, "node.test", ours.server(false)).await.unwrap(), 42);
}

#[test]
fn lists_of_versions_are_read_as_apache_reads_them() {
    let read = |text| {
        protocols(text)
            .map(|all| all.iter().map(|one| format!("{:?}", one.version)).collect::<Vec<_>>().join(" "))
    };
    for (text, versions) in [
        ("TLSv1.2", "TLSv1_2"),
        ("tlsv1.3", "TLSv1_3"),
        ("all", "TLSv1_2 TLSv1_3"),
        ("all -SSLv3 -TLSv1 -TLSv1.1", "TLSv1_2 TLSv1_3"),
        ("-all +TLSv1.2", "TLSv1_2"),
        ("all -TLSv1.2", "TLSv1_3"),
        ("TLSv1.2 TLSv1.3", "TLSv1_2 TLSv1_3"),
        ("+TLSv1.3 TLSv1.2", "TLSv1_2"),
    ] {
        assert_eq!(read(text).as_deref(), Ok(versions), "{text}");
    }
    for bad in ["TLSv1.1", "+TLSv1", "all -TLSv1.2 -TLSv1.3", "", "TLSv2", "-", "é", "\u{c508e}1"] {
        assert!(read(bad).is_err(), "{bad:?}");
    }
}

#[test]
fn lists_of_suites_are_read_in_either_spelling() {
    let read = |text| {
        cipher_suites(text).map(|all| all.iter().map(rustls::SupportedCipherSuite::suite).collect::<Vec<_>>())
    };
    let openssl = read("ECDHE-ECDSA-AES256-GCM-SHA384").unwrap();
    assert_eq!(openssl, read("TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384").unwrap());
    assert_eq!(openssl[0], CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384);
    assert_eq!(openssl.len(), 4, "those of TLS 1.3 are not chosen by such a list");
    assert_eq!(read("TLS_AES_128_GCM_SHA256").unwrap(), [CipherSuite::TLS13_AES_128_GCM_SHA256]);
    assert_eq!(read("ALL:!aNULL:!eNULL:!RC4").unwrap().len(), 9);
    assert_eq!(read("HIGH,!ECDHE-RSA-CHACHA20-POLY1305").unwrap().len(), 8);
    for bad in ["AES256-SHA", "!ECDHE-X", "", "ECDHE-RSA-AES128-GCM-SHA256:!ECDHE-RSA-AES128-GCM-SHA256"] {
        assert!(read(bad).is_err(), "{bad:?}");
    }
}

#[tokio::test]
async fn a_key_may_be_encrypted_and_no_error_shows_its_password() {
    let ours = Certificates::new("node.test");
    let (_, key) = pkcs8::SecretDocument::read_pem_file(ours.path("client.key")).unwrap();
    let key = pkcs8::PrivateKeyInfoRef::try_from(key.as_bytes()).unwrap();
    let salt = [7; 16];
    let scheme =
        pkcs8::pkcs5::pbes2::Parameters::generate_pbkdf2_sha256_aes256cbc(1000, &salt, [9; 16]).unwrap();
    let encrypted = key.encrypt_with_params(scheme, "hunter2").unwrap();
    let pem = encrypted.to_pem("ENCRYPTED PRIVATE KEY", pkcs8::LineEnding::LF).unwrap();
    ours.write("client.key", &pem);
    let greet = async |password| greet(known(&ours), password, "node.test", ours.server(true)).await;
    assert_eq!(greet(Some("hunter2")).await.unwrap(), 42);
    for (password, says) in [(None, "key-file-password"), (Some("hunter3"), "cannot be decrypted")] {
        let error = greet(password).await.unwrap_err();
        assert_eq!(error.code(), "tls-files");
        assert!(error.report().contains(says) && !error.report().contains("hunter"), "{}", error.report());
    }
    ours.write("client.key", "-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\n");
    assert!(greet(Some("x")).await.unwrap_err().report().contains("openssl pkcs8"));
}

#[tokio::test]
async fn files_that_cannot_be_used_are_named() {
    let ours = Certificates::new("node.test");
    ours.write("empty.pem", "");
    let file = |name: &str| Some(ours.path(name));
    for (files, named) in [
        (TlsFiles { ca_file: file("none.pem"), ..known(&ours) }, "none.pem"),
        (TlsFiles { ca_file: file("empty.pem"), ..known(&ours) }, "empty.pem"),
        (TlsFiles { cert_file: file("empty.pem"), ..known(&ours) }, "empty.pem"),
        (TlsFiles { key_file: file("ca.pem"), ..known(&ours) }, "ca.pem"),
        (TlsFiles { key_file: file("server.key"), ..known(&ours) }, "server.key"),
        (TlsFiles { ca_path: file("none"), ..known(&ours) }, "none"),
    ] {
        let error = client(files, None).await.unwrap_err();
        assert_eq!(error.code(), "tls-files");
        assert!(error.to_string().contains(named), "{error}");
    }
}

#[tokio::test]
async fn a_replaced_file_is_noticed() {
    let ours = Certificates::new("node.test");
    let before = stamp(known(&ours)).await.unwrap();
    assert_eq!(stamp(known(&ours)).await.unwrap(), before);
    std::fs::remove_file(ours.path("client.key")).unwrap();
    assert_ne!(stamp(known(&ours)).await.unwrap(), before);
}
