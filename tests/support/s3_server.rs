//! An S3 server in this process: s3s-fs behind real HTTP. It notes every request, and fails on demand.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use futures_util::stream::{self, StreamExt};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::service::{Service, service_fn};
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use s3s::auth::SimpleAuth;
use s3s::service::{S3Service, S3ServiceBuilder};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

pub(crate) const ACCESS_KEY: &str = "AKIDOFTESTS";
pub(crate) const SECRET_KEY: &str = "secret-of-tests";
pub(crate) const BUCKET: &str = "bucket";

type BoxError = Box<dyn std::error::Error + Send + Sync>;
type Body = UnsyncBoxBody<Bytes, BoxError>;
type Hook = Box<dyn FnMut(&Seen) -> Option<Fault> + Send>;

/// A request, as it came.
#[derive(Debug, Clone)]
pub(crate) struct Seen {
    pub method: String,
    pub path: String,
    pub query: String,
    pub headers: BTreeMap<String, String>,
}

impl Seen {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(String::as_str)
    }

    pub(crate) fn is(&self, method: &str, query: &str) -> bool {
        self.method == method && self.query.contains(query)
    }
}

/// What is done instead of an answer.
#[derive(Debug, Clone)]
pub(crate) enum Fault {
    /// This answer, and the request has no effect.
    Answer(u16, Vec<(&'static str, String)>, String),
    /// The request has its effect, and this answer hides it.
    Hidden(u16),
    /// The body ends with the connection after so many bytes.
    Cut(usize),
}

impl Fault {
    /// An error as S3 says it.
    pub(crate) fn error(status: u16, code: &str) -> Self {
        let body =
            format!("<?xml version=\"1.0\"?><Error><Code>{code}</Code><Message>told to</Message></Error>");
        Self::Answer(status, vec![("content-type", "application/xml".to_owned())], body)
    }
}

const NO_SUCH_KEY: &str =
    "<?xml version=\"1.0\"?><Error><Code>NoSuchKey</Code><Message>no such key</Message></Error>";

struct Shared {
    root: PathBuf,
    seen: Mutex<Vec<Seen>>,
    hook: Mutex<Option<Hook>>,
}

impl Shared {
    /// s3s-fs keeps objects as files, and answers 500 for a folder and for what would be below a file. In S3 these are keys
    /// without an object like any other.
    fn is_no_object(&self, seen: &Seen) -> bool {
        let is_object = ["GET", "HEAD", "DELETE"].contains(&seen.method.as_str())
            && (seen.query.is_empty() || seen.query == "x-id=GetObject" || seen.query == "x-id=DeleteObject");
        let key = decoded(seen.path.trim_start_matches('/'));
        let path = self.root.join(&key);
        let below_a_file = path.ancestors().skip(1).any(std::path::Path::is_file);
        is_object && key.contains('/') && (path.is_dir() || below_a_file)
    }
}

fn decoded(path: &str) -> String {
    let (mut bytes, mut rest) = (Vec::new(), path.as_bytes());
    while let Some((first, more)) = rest.split_first() {
        let hex = (*first == b'%').then(|| std::str::from_utf8(&more[..2]).unwrap());
        bytes.push(hex.map_or(*first, |hex| u8::from_str_radix(hex, 16).unwrap()));
        rest = if hex.is_some() { &more[2..] } else { more };
    }
    String::from_utf8(bytes).unwrap()
}

/// The server, which lives as long as this value.
pub(crate) struct S3Server {
    pub url: String,
    /// Of its own, unless it was given one.
    dir: Option<tempfile::TempDir>,
    shared: Arc<Shared>,
    serving: JoinHandle<()>,
}

impl Drop for S3Server {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

impl S3Server {
    /// With one empty bucket.
    pub(crate) async fn start() -> Self {
        Self::start_with(None).await
    }

    /// As [`S3Server::start`], perhaps with TLS.
    pub(crate) async fn start_with(tls: Option<rustls::ServerConfig>) -> Self {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join(BUCKET)).unwrap();
        let mut server = Self::start_at(dir.path(), tls).await;
        server.dir = Some(dir);
        server
    }

    /// Whose buckets are the folders in `root`.
    #[allow(clippy::disallowed_methods)] // a server of tests, which ends with its value
    pub(crate) async fn start_at(root: &std::path::Path, tls: Option<rustls::ServerConfig>) -> Self {
        let tls = tls.map(|config| tokio_rustls::TlsAcceptor::from(Arc::new(config)));
        let mut builder = S3ServiceBuilder::new(s3s_fs::FileSystem::new(root).unwrap());
        builder.set_auth(SimpleAuth::from_single(ACCESS_KEY, SECRET_KEY));
        let service = builder.build();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let scheme = if tls.is_some() { "https" } else { "http" };
        let url = format!("{scheme}://{}", listener.local_addr().unwrap());
        let root = root.to_owned();
        let shared = Arc::new(Shared { root, seen: Mutex::default(), hook: Mutex::default() });
        let serving = tokio::spawn({
            let shared = Arc::clone(&shared);
            async move {
                loop {
                    let (stream, _) = listener.accept().await.unwrap();
                    let (service, shared, tls) = (service.clone(), Arc::clone(&shared), tls.clone());
                    tokio::spawn(async move {
                        let answer = service_fn(|request| answer(&service, &shared, request));
                        let serving = hyper::server::conn::http1::Builder::new();
                        let _ = match tls {
                            None => serving.serve_connection(TokioIo::new(stream), answer).await,
                            Some(tls) => match tls.accept(stream).await {
                                Ok(stream) => serving.serve_connection(TokioIo::new(stream), answer).await,
                                Err(_) => return,
                            },
                        };
                    });
                }
            }
        });
        Self { url, dir: None, shared, serving }
    }

    /// Where the bucket's objects lie.
    pub(crate) fn bucket_dir(&self) -> PathBuf {
        self.shared.root.join(BUCKET)
    }

    /// What is done with each request from now on.
    pub(crate) fn on(&self, hook: impl FnMut(&Seen) -> Option<Fault> + Send + 'static) {
        *self.shared.hook.lock().unwrap() = Some(Box::new(hook));
    }

    /// No faults from now on.
    pub(crate) fn heal(&self) {
        *self.shared.hook.lock().unwrap() = None;
    }

    /// The requests since it was asked last.
    pub(crate) fn seen(&self) -> Vec<Seen> {
        std::mem::take(&mut *self.shared.seen.lock().unwrap())
    }
}

async fn answer(
    service: &S3Service,
    shared: &Shared,
    request: Request<Incoming>,
) -> Result<Response<Body>, Infallible> {
    let seen = Seen {
        method: request.method().to_string(),
        path: request.uri().path().to_owned(),
        query: request.uri().query().unwrap_or_default().to_owned(),
        headers: request
            .headers()
            .iter()
            .map(|(name, value)| (name.to_string(), String::from_utf8_lossy(value.as_bytes()).into_owned()))
            .collect(),
    };
    shared.seen.lock().unwrap().push(seen.clone());
    let fault = shared.hook.lock().unwrap().as_mut().and_then(|hook| hook(&seen));
    if let Some(Fault::Answer(status, headers, body)) = fault {
        let _ = request.into_body().collect().await;
        let mut answer = Response::builder().status(status);
        for (name, value) in headers {
            answer = answer.header(name, value);
        }
        let body = if seen.method == "HEAD" { Bytes::new() } else { Bytes::from(body) };
        return Ok(answer.body(boxed(Full::new(body))).unwrap());
    }
    if shared.is_no_object(&seen) {
        return Ok(Response::builder()
            .status(404)
            .header("content-type", "application/xml")
            .body(boxed(Full::from(if seen.method == "HEAD" { "" } else { NO_SUCH_KEY })))
            .unwrap());
    }
    let answered = Service::call(service, request).await.unwrap();
    match fault {
        Some(Fault::Hidden(status)) => {
            let _ = BodyExt::collect(answered.into_body()).await;
            Ok(Response::builder().status(status).body(boxed(Full::default())).unwrap())
        }
        Some(Fault::Cut(length)) => {
            let (head, body) = answered.into_parts();
            let mut bytes = BodyExt::collect(body).await.unwrap().to_bytes();
            bytes.truncate(length);
            let frames = stream::once(async { Ok(Frame::data(bytes)) }).chain(stream::once(async {
                // What came before goes out only while the body has nothing to give.
                tokio::time::sleep(Duration::from_millis(5)).await;
                Err(BoxError::from("cut off on demand"))
            }));
            Ok(Response::from_parts(head, BodyExt::boxed_unsync(StreamBody::new(frames))))
        }
        _ => Ok(answered.map(|body| BodyExt::boxed_unsync(body.map_err(Into::into)))),
    }
}

fn boxed(body: Full<Bytes>) -> Body {
    BodyExt::boxed_unsync(body.map_err(|never: Infallible| match never {}))
}
