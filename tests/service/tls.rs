//! HTTPS: versions, certificates of clients as identity, and a new certificate while connections are open.

#[path = "../support/certificates.rs"]
pub mod certificates;

use std::sync::Arc;
use std::time::Duration;

use certificates::Certificates;
use holdfast::clock::SystemClock;
use holdfast::service::{Service, ServiceOptions};
use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore, SupportedProtocolVersion};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::helpers::{Running, one_routine};

fn https(files: &Certificates, more: &str) -> String {
    let path = |file: &str| files.path(file).display().to_string();
    format!(
        "  https: {{address: 127.0.0.1, port: 0, cert-file: {}, key-file: {}{more}}}\n",
        path("server.pem"),
        path("server.key")
    )
}

/// One connection, which stays open.
struct Connection(TlsStream<TcpStream>);

impl Connection {
    /// By a client that trusts the authority as it is in its file now.
    async fn open(service: &Running, files: &Certificates, with_certificate: bool) -> std::io::Result<Self> {
        Self::speaking(service, files, with_certificate, rustls::ALL_VERSIONS).await
    }

    async fn speaking(
        service: &Running,
        files: &Certificates,
        with_certificate: bool,
        versions: &[&'static SupportedProtocolVersion],
    ) -> std::io::Result<Self> {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_file(files.path("ca.pem")).unwrap()).unwrap();
        let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_protocol_versions(versions)
            .unwrap()
            .with_root_certificates(roots);
        let config = if with_certificate {
            let chain = vec![CertificateDer::from_pem_file(files.path("client.pem")).unwrap()];
            builder
                .with_client_auth_cert(chain, PrivateKeyDer::from_pem_file(files.path("client.key")).unwrap())
                .unwrap()
        } else {
            builder.with_no_client_auth()
        };
        let stream = TcpStream::connect(service.service.https_address().unwrap()).await?;
        let name = ServerName::try_from("backup.test").unwrap();
        TlsConnector::from(Arc::new(config)).connect(name, stream).await.map(Self)
    }

    /// Status, and the answer whole.
    async fn get(&mut self, path: &str) -> std::io::Result<(u16, String)> {
        self.0.write_all(format!("GET {path} HTTP/1.1\r\nHost: x\r\n\r\n").as_bytes()).await?;
        let mut answer = Vec::new();
        loop {
            let text = String::from_utf8_lossy(&answer).into_owned();
            let length = |head: &str| {
                let lower = head.to_lowercase();
                lower.split("content-length: ").nth(1)?.split("\r\n").next()?.parse::<usize>().ok()
            };
            if let Some((head, body)) = text.split_once("\r\n\r\n")
                && body.len() >= length(head).unwrap_or(0)
            {
                return Ok((head[9..12].parse().unwrap(), text));
            }
            if self.0.read_buf(&mut answer).await? == 0 {
                return Err(std::io::ErrorKind::UnexpectedEof.into());
            }
        }
    }
}

#[tokio::test]
async fn https_alone_closes_http() {
    let files = Certificates::new("backup.test");
    let service = Running::start(|dir| format!("service:\n{}{}", https(&files, ""), one_routine(dir))).await;
    assert_eq!(service.service.http_address().port(), 0, "plain HTTP is off");
    let mut connection = Connection::open(&service, &files, false).await.unwrap();
    let (status, answer) = connection.get("/v1/config/routines/daily").await.unwrap();
    assert_eq!(status, 200);
    assert!(answer.contains("strict-transport-security: max-age="), "{answer}");
}

#[tokio::test]
async fn both_listeners_serve_and_each_can_be_off() {
    let files = Certificates::new("backup.test");
    let both = Running::start(|_| format!("service:\n  http: {{port: 1}}\n{}", https(&files, ""))).await;
    assert_eq!(both.get("/health").await.body, "Ok");
    assert_eq!(Connection::open(&both, &files, false).await.unwrap().get("/health").await.unwrap().0, 200);

    let off = Running::start(|_| "service: {http: {disabled: true}}".to_owned()).await;
    assert_eq!((off.service.http_address().port(), off.service.https_address()), (0, None));
    off.service.stop().await.unwrap();

    let off = Running::start(|_| "service: {https: {disabled: true}}".to_owned()).await;
    assert_eq!(off.get("/health").await.body, "Ok");
}

#[tokio::test]
async fn the_least_version_is_kept() {
    let files = Certificates::new("backup.test");
    let tls12 = [&rustls::version::TLS12];
    let either = Running::start(|_| format!("service:\n{}", https(&files, ""))).await;
    assert!(Connection::speaking(&either, &files, false, &tls12).await.is_ok());
    let new = Running::start(|_| format!("service:\n{}", https(&files, ", min-version: '1.3'"))).await;
    assert!(Connection::speaking(&new, &files, false, &tls12).await.is_err());
    assert!(Connection::open(&new, &files, false).await.is_ok());
    let suite = ", cipher-suites: [TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384]";
    let one = Running::start(|_| format!("service:\n{}", https(&files, suite))).await;
    let connection = Connection::speaking(&one, &files, false, &tls12).await.unwrap();
    let spoken = connection.0.get_ref().1.negotiated_cipher_suite().unwrap().suite();
    assert_eq!(spoken, rustls::CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384);
}

#[tokio::test]
async fn the_subject_of_a_certificate_is_somebody() {
    let files = Certificates::new("backup.test");
    let ca = format!(", client-auth: request, client-ca-file: {}", files.path("ca.pem").display());
    let known = |subject: &str, role: &str| {
        let auth = format!("  auth: {{certificates: [{{subject: \"{subject}\", role: {role}}}]}}\n");
        format!("service:\n{}{auth}", https(&files, &ca))
    };
    // What rcgen gives a certificate that has names only.
    let subject = "CN=rcgen self signed cert";
    let service = Running::start(|dir| known(subject, "viewer") + &one_routine(dir)).await;
    let mut shown = Connection::open(&service, &files, true).await.unwrap();
    assert_eq!(shown.get("/v1/jobs").await.unwrap().0, 200);
    assert_eq!(shown.get("/v1/jobs/0").await.unwrap().0, 404);
    let mut not_shown = Connection::open(&service, &files, false).await.unwrap();
    assert_eq!(not_shown.get("/v1/jobs").await.unwrap().0, 401);
    assert_eq!(not_shown.get("/health").await.unwrap().0, 200);

    let service = Running::start(|_| known("CN=somebody else", "admin")).await;
    let mut shown = Connection::open(&service, &files, true).await.unwrap();
    let (status, answer) = shown.get("/v1/jobs").await.unwrap();
    assert_eq!(status, 401);
    assert!(answer.contains(subject), "the reason has the subject to configure: {answer}");
}

#[tokio::test]
async fn a_certificate_of_another_authority_is_refused_and_none_where_one_is_required() {
    let (files, others) = (Certificates::new("backup.test"), Certificates::new("backup.test"));
    for word in ["request", "require-and-verify"] {
        let ca = format!(", client-auth: {word}, client-ca-file: {}", files.path("ca.pem").display());
        let service = Running::start(|_| format!("service:\n{}", https(&files, &ca))).await;
        let asked =
            async |files: &Certificates, with: bool| match Connection::open(&service, files, with).await {
                // With TLS 1.3 a server looks at the certificate when the client thinks that all is done.
                Ok(mut connection) => connection.get("/health").await.is_ok(),
                Err(_) => false,
            };
        assert!(asked(&files, true).await, "{word}");
        assert_eq!(asked(&files, false).await, word == "request", "{word}");
        std::fs::copy(files.path("ca.pem"), others.path("ca.pem")).unwrap();
        assert!(!asked(&others, true).await, "{word}");
    }
}

#[tokio::test]
async fn a_new_certificate_is_shown_and_no_connection_is_dropped() {
    let files = Certificates::new("backup.test");
    let service = Running::start(|_| format!("service:\n{}", https(&files, ""))).await;
    let mut old = Connection::open(&service, &files, false).await.unwrap();
    assert_eq!(old.get("/health").await.unwrap().0, 200);

    // A bad pair changes nothing.
    let good = std::fs::read(files.path("server.key")).unwrap();
    files.write("server.key", "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n");
    service.service.reload().await.unwrap();
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert!(Connection::open(&service, &files, false).await.is_ok());
    std::fs::write(files.path("server.key"), good).unwrap();

    files.renew("backup.test");
    service.service.reload().await.unwrap();
    let shown = tokio::time::timeout(Duration::from_mins(1), async {
        while Connection::open(&service, &files, false).await.is_err() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    });
    shown.await.expect("the new certificate is shown");
    assert_eq!(old.get("/health").await.unwrap().0, 200, "the connection from before goes on");

    // Without being told, when the files change.
    files.renew("backup.test");
    let shown = tokio::time::timeout(Duration::from_mins(1), async {
        while Connection::open(&service, &files, false).await.is_err() {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    });
    shown.await.expect("the watcher shows the new certificate");
    assert_eq!(old.get("/health").await.unwrap().0, 200);
}

#[tokio::test]
async fn a_certificate_that_was_taken_back_is_refused_and_others_of_its_authority_are_not() {
    let files = Certificates::new("backup.test");
    let yaml = |files: &Certificates| {
        let [ca, list] = ["ca.pem", "crl.pem"].map(|file| files.path(file).display().to_string());
        let asks =
            format!(", client-auth: require-and-verify, client-ca-file: {ca}, client-crl-file: {list}");
        format!("service:\n{}", https(files, &asks))
    };
    for taken_back in [false, true] {
        files.take_back(taken_back);
        let service = Running::start(|_| yaml(&files)).await;
        let asked = match Connection::open(&service, &files, true).await {
            // With TLS 1.3 a server looks at the certificate when the client thinks that all is done.
            Ok(mut connection) => connection.get("/health").await.is_ok(),
            Err(_) => false,
        };
        assert_eq!(asked, !taken_back);
    }
    // Without a list that can be read it would let in who was shut out: it does not start.
    files.write("crl.pem", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n");
    let error = refused(&yaml(&files)).await;
    assert!(error.contains("crl.pem") && error.contains("no X509 CRL"), "{error}");
}

#[tokio::test]
async fn the_key_may_be_encrypted_and_its_password_may_be_kept_elsewhere() {
    let files = Certificates::new("backup.test");
    crate::canary::encrypt(&files, "server.key", "PasswordOfTheKey");
    files.write("password", "PasswordOfTheKey\n");
    let reference = format!("'file:{}'", files.path("password").display());
    for password in ["PasswordOfTheKey", reference.as_str()] {
        let more = format!(", key-file-password: {password}");
        let service = Running::start(|_| format!("service:\n{}", https(&files, &more))).await;
        let mut connection = Connection::open(&service, &files, false).await.unwrap();
        assert_eq!(connection.get("/health").await.unwrap().0, 200);
        // It is asked for again when the files are read again.
        files.renew("backup.test");
        crate::canary::encrypt(&files, "server.key", "PasswordOfTheKey");
        service.service.reload().await.unwrap();
        let shown = tokio::time::timeout(Duration::from_mins(1), async {
            while Connection::open(&service, &files, false).await.is_err() {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        });
        shown.await.expect("the new certificate is shown");
    }
    for (more, says) in [
        (", key-file-password: WrongPassword", "cannot be decrypted"),
        ("", "the key is encrypted"),
        (", key-file-password: 'file:/no/such/file'", "/no/such/file"),
    ] {
        let error = refused(&format!("service:\n{}", https(&files, more))).await;
        assert!(error.contains(says) && !error.contains("WrongPassword"), "{error}");
    }
}

/// Why a service with this configuration does not start.
async fn refused(yaml: &str) -> String {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("holdfast.yaml");
    std::fs::write(&path, yaml).unwrap();
    let options = ServiceOptions {
        http_port: Some(0),
        state_dir: Some(dir.path().join("state")),
        ..ServiceOptions::from_file(&path, Arc::new(SystemClock)).unwrap()
    };
    Service::start(options).await.err().expect("it must not start").report()
}
