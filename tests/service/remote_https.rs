//! `--config https://…`: whom the service believes that it is the server of its configuration.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Mutex};

use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

use crate::helpers::one_routine;
use crate::process::serve_at;
use crate::tls::certificates::Certificates;

const HOLDFAST: &str = env!("CARGO_BIN_EXE_holdfast");

/// A web server with a certificate for 127.0.0.1 and `node.test`, which gives one document to whoever asks with the password.
struct Web {
    port: u16,
    files: Certificates,
    /// Who it is from the next connection on.
    identity: Arc<Mutex<TlsAcceptor>>,
    document: Arc<Mutex<String>>,
}

impl Web {
    #[allow(clippy::disallowed_methods)] // a server of tests, which ends with them
    async fn start() -> Self {
        let files = Certificates::new("node.test");
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let identity = Arc::new(Mutex::new(TlsAcceptor::from(Arc::new(files.server(false)))));
        let document = Arc::<Mutex<String>>::default();
        let (as_whom, says) = (Arc::clone(&identity), Arc::clone(&document));
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let acceptor = as_whom.lock().unwrap().clone();
                // Whoever does not believe it goes away.
                let Ok(mut stream) = acceptor.accept(stream).await else { continue };
                let (mut head, mut byte) = (Vec::new(), [0]);
                while !head.ends_with(b"\r\n\r\n") && stream.read(&mut byte).await.is_ok_and(|read| read == 1)
                {
                    head.push(byte[0]);
                }
                let head = String::from_utf8(head).unwrap();
                let (status, more, body) = if head.starts_with("GET /moved ") {
                    ("302 Found", format!("location: http://127.0.0.1:{port}/c.yaml\r\n"), String::new())
                } else if head.contains("authorization: Basic dXNlcjpjYW5hcnk=") {
                    ("200 OK", String::new(), says.lock().unwrap().clone())
                } else {
                    ("401 Unauthorized", String::new(), String::new())
                };
                let length = body.len();
                let answer = format!(
                    "HTTP/1.1 {status}\r\n{more}content-length: {length}\r\nconnection: close\r\n\r\n{body}"
                );
                let _ = stream.write_all(answer.as_bytes()).await;
                let _ = stream.shutdown().await;
            }
        });
        Self { port, files, identity, document }
    }

    fn url(&self, host: &str, path: &str) -> PathBuf {
        format!("https://user:canary@{host}:{}/{path}", self.port).into()
    }

    /// The file of its authority.
    fn authority(&self) -> PathBuf {
        self.files.path("ca.pem")
    }
}

/// `holdfast check` with these authorities: its exit code, and what it says.
async fn check(config: &Path, authorities: &Path) -> (Option<i32>, String) {
    let (config, authorities) = (config.to_owned(), authorities.to_owned());
    let ran = holdfast::tasks::blocking(move || {
        let mut command = Command::new(HOLDFAST);
        command
            .args(["check", "-c"])
            .arg(config)
            .env("SSL_CERT_FILE", authorities)
            .env_remove("SSL_CERT_DIR");
        Ok(command.output().unwrap())
    });
    let ran = ran.await.unwrap();
    let said = String::from_utf8(ran.stdout).unwrap() + &String::from_utf8(ran.stderr).unwrap();
    assert!(!said.contains("canary"), "{said}");
    (ran.status.code(), said)
}

#[tokio::test(flavor = "multi_thread")]
async fn only_a_server_with_a_certificate_for_its_name_of_a_trusted_authority_is_believed() {
    let web = Web::start().await;
    let stranger = Certificates::new("node.test");
    let plain = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let talks_plainly = answering_plainly(plain);
    let authority = web.authority();
    let own = |path| web.url("127.0.0.1", path);
    for (what, url, authorities, code, says) in [
        ("a trusted server", own("c.yaml"), &authority, 0, vec!["ok, 0 clusters"]),
        (
            "of another authority",
            own("c.yaml"),
            &stranger.path("ca.pem"),
            1,
            vec!["TLS with 127.0.0.1: invalid peer certificate: UnknownIssuer", "SSL_CERT_FILE"],
        ),
        (
            "of another name",
            web.url("localhost", "c.yaml"),
            &authority,
            1,
            vec![
                "TLS with localhost: invalid peer certificate: certificate not valid for name",
                "SSL_CERT_FILE",
            ],
        ),
        ("in clear", talks_plainly, &authority, 1, vec!["Check that HTTPS is spoken there"]),
        ("that leads to one in clear", own("moved"), &authority, 1, vec!["another kind of address"]),
    ] {
        let (ended, said) = check(&url, authorities).await;
        assert_eq!(ended, Some(code), "{what}: {said}");
        for text in says {
            assert!(said.contains(text), "{what}: {said}");
        }
        // Nobody waits for what another try would not change.
        assert!(!said.contains("tries in"), "{what}: {said}");
    }
}

/// An `https` address of a server that speaks no TLS.
#[allow(clippy::disallowed_methods)] // a server of tests, which ends with them
fn answering_plainly(listener: TcpListener) -> PathBuf {
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let _ = stream.write_all(b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n").await;
            // Until the other end has read it and goes.
            let _ = stream.read_to_end(&mut Vec::new()).await;
        }
    });
    format!("https://127.0.0.1:{port}/c.yaml").into()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_that_no_longer_believes_the_server_keeps_the_configuration_that_it_has() {
    let web = Web::start().await;
    let dir = tempfile::tempdir().unwrap();
    let good = format!("service: {{http: {{port: 0}}, logger: {{format: JSON}}}}\n{}", one_routine(&dir));
    *web.document.lock().unwrap() = good.clone();
    let (url, authority) = (web.url("127.0.0.1", "c.yaml"), web.authority());
    let (_served, address, mut log) = serve_at(&dir, &url, &[("SSL_CERT_FILE", &authority)]);
    let base = format!("http://{address}/v1/config");
    let client = reqwest::Client::new();
    let cron = async || {
        let routine: Value =
            client.get(format!("{base}/routines/daily")).send().await.unwrap().json().await.unwrap();
        routine["interval-cron"].clone()
    };
    let apply = async || {
        let answer = client.post(format!("{base}/apply")).send().await.unwrap();
        (answer.status().as_u16(), answer.text().await.unwrap())
    };
    assert_eq!(cron().await, "0 0 0 1 1 ?");
    *web.document.lock().unwrap() = good.replace("0 0 0 1 1 ?", "0 0 0 2 2 ?");
    assert_eq!(apply().await.0, 200);
    assert_eq!(cron().await, "0 0 0 2 2 ?");

    // Somebody else answers at that address, with another document.
    let stranger = Certificates::new("node.test");
    *web.identity.lock().unwrap() = TlsAcceptor::from(Arc::new(stranger.server(false)));
    *web.document.lock().unwrap() = good.replace("0 0 0 1 1 ?", "0 0 0 3 3 ?");
    let (status, text) = apply().await;
    assert_eq!(status, 500, "{text}");
    assert!(text.contains("UnknownIssuer") && !text.contains("canary"), "{text}");
    assert_eq!(cron().await, "0 0 0 2 2 ?");
    let noted = log.find(|line| line.contains("UnknownIssuer")).unwrap();
    assert!(!noted.contains("canary"), "{noted}");

    // It is back.
    *web.identity.lock().unwrap() = TlsAcceptor::from(Arc::new(web.files.server(false)));
    assert_eq!(apply().await.0, 200);
    assert_eq!(cron().await, "0 0 0 3 3 ?");
}
