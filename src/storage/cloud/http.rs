//! The way of every request to Azure and Google Cloud: paced by a limit, tried again by one policy, judged once.
//!
//! The client above knows of neither: it gets an answer that will not change by asking again, or no answer at all. Why there is
//! none is kept in the [`Call`] under which it runs, as an error of ours.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use futures_util::StreamExt;
use http_body_util::BodyExt;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector as Tcp;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use object_store::ClientOptions;
use object_store::client::{
    HttpClient, HttpConnector, HttpError, HttpErrorKind, HttpRequest, HttpRequestBody, HttpResponse,
    HttpResponseBody, HttpService,
};
use rustls::ClientConfig;

use super::answer::{self, Answer};
use crate::error::{Error, Result};
use crate::limit::Limit;
use crate::storage::retry::{Failure, Pace, RetryPolicy, retrying, within};

/// How long a connection may take to be made.
const CONNECT: Duration = Duration::from_secs(10);
/// How long the machine's own identity service may take: where there is none, nobody waits for it.
const IDENTITY: Duration = Duration::from_secs(5);
/// The largest answer that is read as a whole: a page of a list has at most 5,000 rows.
const ANSWER_BYTES_MAX: u64 = 64 << 20;

/// One operation on a storage: what its requests are told, and what became of them.
pub(super) struct Call {
    /// The place, the operation and the key, for errors.
    pub what: String,
    /// How its requests are tried again.
    pub policy: RetryPolicy,
    /// What is done with the body of an answer.
    pub body: Body,
    seen: Mutex<Seen>,
}

/// What is done with the body of a success.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Body {
    /// Read as a whole, before the answer is handed on; a larger one, by its own account, is left out.
    Whole { bytes_max: u64 },
    /// Handed on as it comes.
    Streamed,
}

impl Body {
    /// An answer of the provider itself.
    pub(super) const ANSWER: Self = Self::Whole { bytes_max: ANSWER_BYTES_MAX };
}

/// What became of the requests of a [`Call`].
#[derive(Default)]
struct Seen {
    /// The last answer that was no success.
    refused: Option<Answer>,
    /// Why there is no answer, or why it will not do.
    failed: Option<Error>,
}

tokio::task_local! {
    /// The call whose requests this task makes.
    static CALL: Arc<Call>;
}

impl Call {
    pub(super) fn new(what: String, policy: RetryPolicy, body: Body) -> Self {
        Self { what, policy, body, seen: Mutex::default() }
    }

    /// Runs `work`, whose requests belong to this call from now on.
    pub(super) async fn run<T>(self: &Arc<Self>, work: impl Future<Output = T>) -> T {
        CALL.scope(Arc::clone(self), work).await
    }

    /// The last answer that was no success.
    pub(super) fn refused(&self) -> Option<Answer> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).refused.take()
    }

    /// Why there was no answer that will do.
    pub(super) fn failed(&self) -> Option<Error> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).failed.take()
    }

    fn note(&self, note: impl FnOnce(&mut Seen)) {
        note(&mut self.seen.lock().unwrap_or_else(PoisonError::into_inner));
    }
}

/// Makes the client of one storage; clones share connections and the limit.
#[derive(Clone)]
pub struct Connector(Arc<Inner>);

struct Inner {
    client: Client<hyper_rustls::HttpsConnector<Tcp>, HttpRequestBody>,
    limit: Option<Mutex<Limit>>,
    pace: Arc<dyn Pace>,
    /// Where the storage is: an answer of another server is about credentials.
    server: String,
}

impl Connector {
    /// For the storage at `server`; at most so many requests a second, those that are tried again too; 0: no limit.
    pub fn new(
        tls: &Arc<ClientConfig>,
        server: String,
        requests_per_second: u32,
        pace: Arc<dyn Pace>,
    ) -> Self {
        let mut tcp = Tcp::new();
        tcp.enforce_http(false);
        tcp.set_connect_timeout(Some(CONNECT));
        tcp.set_nodelay(true);
        let connector = hyper_rustls::HttpsConnectorBuilder::new()
            .with_tls_config(ClientConfig::clone(tls))
            .https_or_http()
            .enable_http1()
            .wrap_connector(tcp);
        let client = Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(Duration::from_secs(30))
            .build(connector);
        let limit = (requests_per_second > 0).then(|| Mutex::new(Limit::new(requests_per_second.into())));
        Self(Arc::new(Inner { client, limit, pace, server }))
    }
}

impl fmt::Debug for Connector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Connector({})", self.0.server)
    }
}

impl HttpConnector for Connector {
    fn connect(&self, _: &ClientOptions) -> object_store::Result<HttpClient> {
        Ok(HttpClient::new(self.clone()))
    }
}

#[async_trait]
impl HttpService for Connector {
    async fn call(&self, request: HttpRequest) -> Result<HttpResponse, HttpError> {
        let call = CALL.try_with(Arc::clone).unwrap_or_else(|_| {
            Arc::new(Call::new(format!("ask {}", self.0.server), RetryPolicy::ASK, Body::ANSWER))
        });
        let host = request.uri().authority().map_or("", |server| server.as_str());
        let what = if host.eq_ignore_ascii_case(&self.0.server) {
            call.what.clone()
        } else {
            format!("{}: ask {host} for credentials", call.what)
        };
        let done =
            retrying(&call.policy, self.0.pace.as_ref(), || what.clone(), || self.attempt(&call, &request));
        done.await.map_err(|error| {
            call.note(|seen| seen.failed = Some(error));
            HttpError::new(HttpErrorKind::Unknown, std::io::Error::other("no answer that will do"))
        })
    }
}

impl Connector {
    /// One try: an answer that asking again would not change, or why there is none.
    async fn attempt(&self, call: &Call, request: &HttpRequest) -> Result<HttpResponse, Failure> {
        self.turn().await;
        let host = request.uri().authority().map(ToString::to_string).unwrap_or_default();
        let own = host.eq_ignore_ascii_case(&self.0.server);
        let sent = request.body().content_length() as u64;
        let wait = if answer::is_identity_service(&host) { IDENTITY } else { call.policy.patience(sent) };
        let head = request.method().as_str() == "HEAD";
        let pace = self.0.pace.as_ref();
        let response = match within(pace, wait, self.0.client.request(request.clone())).await {
            Some(Ok(response)) => response,
            Some(Err(error)) => return Err(answer::unreached(&host, error).into()),
            None => return Err(answer::silent(&host, wait).into()),
        };
        let (parts, body) = response.into_parts();
        let status = parts.status.as_u16();
        let body =
            HttpResponseBody::new(body.map_err(|error| HttpError::new(HttpErrorKind::Interrupted, error)));
        let length = parts.headers.get("content-length").and_then(|value| value.to_str().ok()?.parse().ok());
        let body = match call.body {
            Body::Streamed if parts.status.is_success() && own => {
                return Ok(HttpResponse::from_parts(parts, body));
            }
            Body::Whole { bytes_max }
                if own
                    && parts.status.is_success()
                    && length.is_some_and(|length: u64| length > bytes_max) =>
            {
                Bytes::new()
            }
            _ if head => Bytes::new(),
            _ => collect(pace, call.policy.answer, &host, body).await?,
        };
        let asks = |what: &str| request.uri().query().is_some_and(|query| query.contains(what));
        if parts.status.is_success() {
            if own && asks("list-type=2") && answer::is_half_list(&body) {
                return Err(answer::half_list(&host).into());
            }
            if own
                && asks("comp=batch")
                && let Some(given) = answer::worst_of_batch(&body)
            {
                if let Some(error) = given.passing(&host) {
                    return Err(error.into());
                }
                call.note(|seen| seen.refused = Some(given));
            }
        } else {
            let header = |name: &str| parts.headers.get(name).and_then(|value| value.to_str().ok());
            let given = Answer::new(status, header("x-ms-error-code"), &body);
            let retry_after = header("retry-after").and_then(answer::retry_after);
            if let Some(error) = given.passing(&host) {
                return Err(Failure { error, retry_after });
            }
            if own {
                call.note(|seen| seen.refused = Some(given));
            } else {
                return Err(given.no_credentials(&host).into());
            }
        }
        Ok(HttpResponse::from_parts(parts, body.into()))
    }

    /// Waits until the limit lets one more request pass.
    async fn turn(&self) {
        let wait = self
            .0
            .limit
            .as_ref()
            .map(|limit| limit.lock().unwrap_or_else(PoisonError::into_inner).take(1, Instant::now()));
        if let Some(wait) = wait.filter(|wait| !wait.is_zero()) {
            self.0.pace.pause(wait).await;
        }
    }
}

/// The whole body; one that breaks off is asked for again.
async fn collect(
    pace: &dyn Pace,
    limit: Duration,
    host: &str,
    body: HttpResponseBody,
) -> Result<Bytes, Failure> {
    let mut pieces = body.bytes_stream();
    let mut whole = BytesMut::new();
    loop {
        match within(pace, limit, pieces.next()).await {
            Some(Some(Ok(piece))) => whole.extend_from_slice(&piece),
            Some(Some(Err(error))) => return Err(answer::broken(host, error).into()),
            Some(None) => return Ok(whole.freeze()),
            None => return Err(answer::silent(host, limit).into()),
        }
        if whole.len() as u64 > ANSWER_BYTES_MAX {
            let text = format!("{host} answered with more than {} MiB", ANSWER_BYTES_MAX >> 20);
            return Err(Error::permanent("storage-object-too-large", text).into());
        }
    }
}
