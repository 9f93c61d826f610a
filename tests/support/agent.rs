//! A double of a secret agent for tests: an own reading of its protocol, with secrets in memory. It is not the
//! vendor's agent.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, UnixListener};
use tokio_util::sync::CancellationToken;

use crate::secrets::{AgentOptions, AgentPlace, AgentTls};
use crate::tasks::Scope;

/// A double of a secret agent; it lives as long as this value.
pub(crate) struct TestAgent {
    pub options: AgentOptions,
    answers: Arc<Answers>,
    _scope: Scope,
}

#[derive(Default)]
struct Answers {
    /// Whole answers by `resource:key`.
    by_name: Mutex<BTreeMap<String, String>>,
    asked: AtomicUsize,
}

impl TestAgent {
    /// In clear, at a port.
    pub(crate) async fn tcp() -> Self {
        Self::at_port(None).await
    }

    /// With TLS, at a port.
    pub(crate) async fn tls(server: Arc<rustls::ServerConfig>, tls: AgentTls) -> Self {
        Self::at_port(Some((server, tls))).await
    }

    async fn at_port(with_tls: Option<(Arc<rustls::ServerConfig>, AgentTls)>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let answers = Arc::<Answers>::default();
        let mut scope = Scope::new(&CancellationToken::new());
        let (server, tls) = with_tls.unzip();
        let shared = answers.clone();
        scope.spawn("test agent", async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let _ = match &server {
                    None => serve(stream, &shared).await,
                    Some(config) => {
                        match tokio_rustls::TlsAcceptor::from(Arc::clone(config)).accept(stream).await {
                            Ok(stream) => serve(stream, &shared).await,
                            Err(error) => Err(error),
                        }
                    }
                };
            }
        });
        let place = AgentPlace::Tcp { host: "127.0.0.1".into(), port, tls };
        Self { options: options(place), answers, _scope: scope }
    }

    /// At a socket.
    pub(crate) fn unix(path: &Path) -> Self {
        let listener = UnixListener::bind(path).unwrap();
        let answers = Arc::<Answers>::default();
        let shared = answers.clone();
        let mut scope = Scope::new(&CancellationToken::new());
        scope.spawn("test agent", async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let _ = serve(stream, &shared).await;
            }
        });
        Self { options: options(AgentPlace::Unix(path.to_owned())), answers, _scope: scope }
    }

    /// From now on it has this secret.
    pub(crate) fn put(&self, resource: &str, key: &str, value: &str) {
        self.say(resource, key, &serde_json::json!({"SecretValue": value}).to_string());
    }

    /// From now on it answers with these bytes; `HANG` is silence, and a first `!` is sent without a frame.
    pub(crate) fn say(&self, resource: &str, key: &str, answer: &str) {
        self.answers.by_name.lock().unwrap().insert(format!("{resource}:{key}"), answer.to_owned());
    }

    /// How many questions it has looked up.
    pub(crate) fn asked(&self) -> usize {
        self.answers.asked.load(Ordering::SeqCst)
    }
}

fn options(place: AgentPlace) -> AgentOptions {
    AgentOptions { place, timeout_ms: 5000, is_base64: false }
}

async fn serve(mut stream: impl AsyncRead + AsyncWrite + Unpin, answers: &Answers) -> std::io::Result<()> {
    assert_eq!(stream.read_u32().await?, 0x51de_c1cc);
    let mut body = vec![0; stream.read_u32().await? as usize];
    stream.read_exact(&mut body).await?;
    let question: serde_json::Value = serde_json::from_slice(&body).unwrap();
    let key = |name: &str| question[name].as_str().unwrap().to_owned();
    let name = format!("{}:{}", key("Resource"), key("SecretKey"));
    let answer = answers.by_name.lock().unwrap().get(&name).cloned();
    answers.asked.fetch_add(1, Ordering::SeqCst);
    let answer = answer.unwrap_or_else(|| r#"{"Error":"no such\nsecret"}"#.to_owned());
    if answer == "HANG" {
        let _ = stream.read_u8().await; // until the client has enough
        return Ok(());
    }
    if let Some(bytes) = answer.strip_prefix('!') {
        stream.write_all(bytes.as_bytes()).await?;
        return stream.flush().await;
    }
    stream.write_u32(0x51de_c1cc).await?;
    stream.write_u32(answer.len() as u32).await?;
    stream.write_all(answer.as_bytes()).await?;
    stream.flush().await
}
