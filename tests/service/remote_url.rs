//! `--config http://…`: the configuration is read from a web server and never written (abs.md 2.1).

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use crate::helpers::{Running, one_routine};

const HOLDFAST: &str = env!("CARGO_BIN_EXE_holdfast");

/// A web server that says what it is told to, and notes what it was asked.
struct Web {
    port: u16,
    /// The status line's rest, headers, and the body.
    says: Arc<Mutex<(String, String, String)>>,
    asked: Arc<Mutex<Vec<String>>>,
}

impl Web {
    #[allow(clippy::disallowed_methods)] // a server of tests, which ends with them
    async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let web = Self { port, says: Arc::default(), asked: Arc::default() };
        let (says, asked) = (Arc::clone(&web.says), Arc::clone(&web.asked));
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let (mut head, mut byte) = (Vec::new(), [0]);
                while !head.ends_with(b"\r\n\r\n") && stream.read(&mut byte).await.is_ok_and(|read| read == 1)
                {
                    head.push(byte[0]);
                }
                let head = String::from_utf8(head).unwrap();
                let (status, headers, body) = says.lock().unwrap().clone();
                let moved = head.starts_with("GET /moved?sig=canary ");
                let (status, headers) = if moved {
                    ("302 Found".to_owned(), "location: /real\r\n".to_owned())
                } else {
                    (status, headers)
                };
                asked.lock().unwrap().push(head);
                let length = body.len();
                let answer = format!(
                    "HTTP/1.1 {status}\r\n{headers}content-length: {length}\r\nconnection: close\r\n\r\n{body}"
                );
                let _ = stream.write_all(answer.as_bytes()).await;
            }
        });
        web
    }

    fn say(&self, status: &str, headers: &str, body: &str) {
        *self.says.lock().unwrap() = (status.to_owned(), headers.to_owned(), body.to_owned());
    }

    fn url(&self, rest: &str) -> PathBuf {
        format!("http://user:canary@127.0.0.1:{}/{rest}", self.port).into()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn it_is_read_and_watched_and_a_change_by_the_api_is_refused() {
    let web = Web::start().await;
    let dir = tempfile::tempdir().unwrap();
    let good = one_routine(&dir);
    web.say("200 OK", "", &good);
    let service = Running::start_at(dir, &web.url("moved?sig=canary"), false).await;
    let status = service.get("/v1/config/status").await;
    assert_eq!(status.json()["file"], format!("http://127.0.0.1:{}/moved", web.port));
    // Basic credentials, as they stand in the address.
    assert!(
        web.asked.lock().unwrap().iter().all(|head| head.contains("authorization: Basic dXNlcjpjYW5hcnk="))
    );

    let refused = service.post("/v1/config/policies/p", "{}").await;
    assert_eq!(refused.status.as_u16(), 500, "{}", refused.body);
    assert!(refused.body.starts_with("failed to write configuration: http://127.0.0.1"), "{}", refused.body);
    assert!(refused.body.contains("can only be read"), "{}", refused.body);
    assert_eq!(service.get("/v1/config/policies/p").await.status.as_u16(), 404);
    let tried = service.post("/v1/config/policies/p?dry-run=true", "{}").await;
    assert_eq!(tried.status.as_u16(), 200, "{}", tried.body);

    web.say("200 OK", "", &good.replace("0 0 0 1 1 ?", "0 0 0 2 2 ?"));
    service.until("/v1/config/routines/daily", "0 0 0 2 2 ?").await;
    web.say("404 Not Found", "", "canary");
    service.until("/v1/config/status", "the server answers 404").await;
    assert!(service.get("/metrics").await.body.contains("config_last_reload_successful 0\n"));
    assert!(service.get("/v1/config/routines/daily").await.body.contains("0 0 0 2 2 ?"));
    for path in ["/v1/config/status", "/metrics"] {
        assert!(!service.get(path).await.body.contains("canary"), "{path}");
    }
    web.say("200 OK", "", &good);
    service.until("/v1/config/routines/daily", "0 0 0 1 1 ?").await;
}

async fn check(config: &Path) -> (Option<i32>, String) {
    let config = config.to_owned();
    let ran = holdfast::tasks::blocking(move || {
        Ok(Command::new(HOLDFAST).args(["check", "-c"]).arg(config).output().unwrap())
    });
    let ran = ran.await.unwrap();
    let said = String::from_utf8(ran.stdout).unwrap() + &String::from_utf8(ran.stderr).unwrap();
    assert!(!said.contains("canary"), "{said}");
    (ran.status.code(), said)
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_will_not_do_is_told_without_the_secret_in_the_address() {
    let web = Web::start().await;
    let config = web.url("c.yaml?sig=canary");
    let large = "#".repeat((8 << 20) + 1);
    for (status, headers, body, code, says) in [
        ("200 OK", "", "", 0, "ok, 0 clusters"),
        ("302 Found", "location: https://127.0.0.1/x\r\n", "", 1, "another kind of address"),
        ("302 Found", "location: file:///etc/passwd\r\n", "", 1, "another kind of address"),
        ("302 Found", "location: /c.yaml\r\n", "", 1, "lead on and on"),
        ("302 Found", "", "", 1, "leads nowhere"),
        ("401 Unauthorized", "", "canary", 1, "answers 401"),
        ("200 OK", "", large.as_str(), 1, "larger than 8 MiB"),
        ("200 OK", "", "servise: {}", 2, "c.yaml:1: servise: field \"servise\" not found"),
    ] {
        web.say(status, headers, body);
        let (ended, said) = check(&config).await;
        assert_eq!(ended, Some(code), "{status} {headers}: {said}");
        assert!(said.contains(says), "{status} {headers}: {said}");
    }
    // Credentials are those of the one server.
    let other = Web::start().await;
    other.say("200 OK", "", "");
    web.say("302 Found", &format!("location: http://localhost:{}/x\r\n", other.port), "");
    assert_eq!(check(&config).await.0, Some(0));
    assert!(other.asked.lock().unwrap().iter().all(|head| !head.contains("authorization")));
    assert_eq!(other.asked.lock().unwrap().len(), 1);
    let (code, said) = check(Path::new("http://127.0.0.1:1/c.yaml?sig=canary")).await;
    assert_eq!(code, Some(1));
    assert!(said.contains("read http://127.0.0.1:1/c.yaml") && said.contains("does not answer"), "{said}");
}
