//! The configuration at an address of the web: read only.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::header::{AUTHORIZATION, HOST, HeaderValue, InvalidHeaderValue, LOCATION, RETRY_AFTER, USER_AGENT};
use http_body_util::Empty;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::{Connect, HttpConnector};
use hyper_util::rt::TokioExecutor;
use reqwest::Url;
use tokio::time::timeout;

use super::{PATIENCE, silent};
use crate::config::DOCUMENT_BYTES_MAX;
use crate::error::{Error, Result};
use crate::storage::retry::{Failure, MachinePace, RetryPolicy, retrying};
use crate::tls::{self, TlsFiles};

/// How long a connection may take to be made.
const CONNECT: Duration = Duration::from_secs(10);
/// How long one try may take.
const TRY: Duration = Duration::from_secs(10);
/// How often an answer may lead elsewhere.
const REDIRECTS_MAX: usize = 5;
/// Somebody waits: a few tries.
const RETRIES: RetryPolicy = RetryPolicy {
    base: Duration::from_millis(250),
    cap: Duration::from_secs(2),
    total: Duration::from_secs(5),
    answer: TRY,
};

/// An address; what it shows of itself has no credentials and no query, which may be a signature.
#[derive(Clone)]
pub struct ConfigUrl(Arc<Inner>);

struct Inner {
    url: Url,
    /// Of the user and the password in the address.
    credentials: Option<HeaderValue>,
    shown: String,
}

/// Whether it is an address, and no path of a file.
pub(super) fn is_url(text: &str) -> bool {
    let scheme = text.split_once("://").map_or("", |(scheme, _)| scheme);
    scheme.eq_ignore_ascii_case("http") || scheme.eq_ignore_ascii_case("https")
}

impl ConfigUrl {
    /// Errors: `config-url`.
    pub(super) fn parse(text: &str) -> Result<Self> {
        // The text itself may hold a password.
        let wrong = |what: &str| {
            Error::permanent("config-url", format!("the address of the configuration {what}"))
                .hint("Write https://HOST/PATH, or https://USER:PASSWORD@HOST/PATH.")
        };
        let mut url = Url::parse(text).map_err(|_| wrong("cannot be read"))?;
        let credentials = credentials(&url).map_err(|_| wrong("has a user that cannot be sent"))?;
        if url.set_username("").is_err() || url.set_password(None).is_err() || !url.has_host() {
            return Err(wrong("names no host"));
        }
        url.set_fragment(None);
        let mut shown = url.clone();
        shown.set_query(None);
        Ok(Self(Arc::new(Inner { url, credentials, shown: shown.to_string() })))
    }

    /// Errors: `config-unreadable`, `tls-refused`, `tls-files`.
    pub(super) async fn read(&self) -> Result<Vec<u8>> {
        let mut tcp = HttpConnector::new();
        tcp.enforce_http(false);
        tcp.set_connect_timeout(Some(CONNECT));
        let read = async {
            if self.0.url.scheme() == "http" {
                return self.read_by(tcp).await;
            }
            let tls = tls::client(TlsFiles::default(), None).await?;
            let connector = hyper_rustls::HttpsConnectorBuilder::new()
                .with_tls_config(rustls::ClientConfig::clone(&tls))
                .https_only()
                .enable_http1()
                .wrap_connector(tcp);
            self.read_by(connector).await
        };
        timeout(PATIENCE, read).await.unwrap_or_else(|_| Err(silent(self)))
    }

    async fn read_by<C>(&self, connector: C) -> Result<Vec<u8>>
    where
        C: Connect + Clone + Send + Sync + 'static,
    {
        let client: Client<C, Empty<Bytes>> = Client::builder(TokioExecutor::new()).build(connector);
        let name = || format!("read {self}");
        retrying(&RETRIES, &MachinePace::default(), name, || async {
            let late =
                || Error::temporary("config-unreadable", format!("no answer within {} s", TRY.as_secs()));
            timeout(TRY, self.attempt(&client)).await.unwrap_or_else(|_| Err(late().into()))
        })
        .await
    }

    async fn attempt<C>(&self, client: &Client<C, Empty<Bytes>>) -> Result<Vec<u8>, Failure>
    where
        C: Connect + Clone + Send + Sync + 'static,
    {
        let mut url = self.0.url.clone();
        for _ in 0..=REDIRECTS_MAX {
            let answer = client.request(self.request(&url)?).await.map_err(|error| unread(error, &url))?;
            let status = answer.status();
            if status.is_success() {
                return collect(answer.into_body(), &url).await;
            }
            let header =
                |name| answer.headers().get(name).and_then(|value: &HeaderValue| value.to_str().ok());
            if ![301, 302, 303, 307, 308].contains(&status.as_u16()) {
                let error = refused(status.as_u16());
                let retry_after = header(RETRY_AFTER).and_then(|text| text.trim().parse().ok());
                return Err(Failure { error, retry_after: retry_after.map(Duration::from_secs) });
            }
            let next = header(LOCATION).and_then(|place| url.join(place).ok());
            url = next.ok_or_else(|| nowhere("the answer leads nowhere"))?;
            if url.scheme() != self.0.url.scheme() {
                return Err(
                    nowhere("the answer leads to another kind of address, which is not followed").into()
                );
            }
        }
        Err(nowhere("the answers lead on and on").into())
    }

    fn request(&self, url: &Url) -> Result<http::Request<Empty<Bytes>>> {
        let mut bare = url.clone();
        // Of a redirect: credentials are those of the configured address only.
        if bare.set_username("").is_err() || bare.set_password(None).is_err() {
            return Err(nowhere("the answer leads to no host"));
        }
        bare.set_fragment(None);
        let host = bare.host_str().map(|host| match bare.port() {
            Some(port) => format!("{host}:{port}"),
            None => host.to_owned(),
        });
        let mut request = http::Request::get(bare.as_str())
            .header(HOST, host.unwrap_or_default())
            .header(USER_AGENT, concat!("holdfast/", env!("CARGO_PKG_VERSION")));
        if let Some(credentials) = self.0.credentials.as_ref().filter(|_| url.origin() == self.0.url.origin())
        {
            request = request.header(AUTHORIZATION, credentials);
        }
        request.body(Empty::new()).map_err(|_| nowhere("the address cannot be asked"))
    }
}

/// `Authorization` of the user and password in an address, as they are written there; none: there is none.
fn credentials(url: &Url) -> Result<Option<HeaderValue>, InvalidHeaderValue> {
    if url.username().is_empty() && url.password().is_none() {
        return Ok(None);
    }
    let mut both = percent_decoded(url.username());
    both.push(b':');
    both.extend(percent_decoded(url.password().unwrap_or_default()));
    let text = format!("Basic {}", base64_simd::STANDARD.encode_to_string(both));
    let mut value = HeaderValue::from_str(&text)?;
    value.set_sensitive(true);
    Ok(Some(value))
}

fn percent_decoded(text: &str) -> Vec<u8> {
    let (mut bytes, mut rest) = (Vec::with_capacity(text.len()), text.as_bytes());
    while let [first, more @ ..] = rest {
        let hex = (*first == b'%').then(|| more.get(..2)).flatten();
        let byte = hex.and_then(|hex| u8::from_str_radix(std::str::from_utf8(hex).ok()?, 16).ok());
        bytes.push(byte.unwrap_or(*first));
        rest = if byte.is_some() { more.get(2..).unwrap_or_default() } else { more };
    }
    bytes
}

async fn collect<B>(mut body: B, url: &Url) -> Result<Vec<u8>, Failure>
where
    B: http_body_util::BodyExt<Data = Bytes> + Unpin,
    B::Error: std::error::Error + Send + Sync + 'static,
{
    let mut whole = BytesMut::new();
    while let Some(frame) = body.frame().await {
        if let Ok(data) = frame.map_err(|error| unread(error, url))?.into_data() {
            whole.extend_from_slice(&data);
        }
        if whole.len() > DOCUMENT_BYTES_MAX {
            let text = format!("it is larger than {} MiB", DOCUMENT_BYTES_MAX >> 20);
            return Err(Error::permanent("config-unreadable", text).into());
        }
    }
    Ok(whole.to_vec())
}

fn unread(error: impl std::error::Error + Send + Sync + 'static, url: &Url) -> Failure {
    let host = url.host_str().unwrap_or_default();
    if let Some(refused) = untrusted(&error, host) {
        return refused.into();
    }
    Error::temporary("config-unreadable", format!("{host} does not answer")).source(error).into()
}

/// Whether `error` means that the server is not the one that the address names: another try would change nothing.
fn untrusted(error: &(dyn std::error::Error + 'static), host: &str) -> Option<Error> {
    let cause = tls_error(error)?;
    let hint = match cause {
        rustls::Error::InvalidCertificate(_) => {
            "Its certificate must be for this host and of an authority that this system trusts; the variable SSL_CERT_FILE \
             names a file (PEM) of others."
        }
        rustls::Error::InvalidMessage(_) => "Check that HTTPS is spoken there.",
        _ => return None,
    };
    Some(Error::permanent("tls-refused", format!("TLS with {host}: {cause}")).hint(hint))
}

/// An error of I/O shows what it holds as itself, not as its cause.
fn tls_error<'e>(error: &'e (dyn std::error::Error + 'static)) -> Option<&'e rustls::Error> {
    if let Some(found) = error.downcast_ref() {
        return Some(found);
    }
    tls_error(match error.downcast_ref::<std::io::Error>() {
        Some(error) => error.get_ref()?,
        None => error.source()?,
    })
}

/// The answer's own text is not shown: it may quote the request.
fn refused(status: u16) -> Error {
    let what = format!("the server answers {status}");
    match status {
        408 | 429 | 500..=599 => Error::temporary("config-unreadable", what),
        401 | 403 => Error::permanent("config-unreadable", what)
            .hint("Check the user and the password in the address."),
        _ => Error::permanent("config-unreadable", what),
    }
}

fn nowhere(what: &str) -> Error {
    Error::permanent("config-unreadable", what)
        .hint("Give the address that it is to be read from in the end.")
}

impl fmt::Display for ConfigUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.shown)
    }
}

impl fmt::Debug for ConfigUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ConfigUrl({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::{ConfigUrl, is_url, percent_decoded};

    #[test]
    fn an_address_shows_no_secret() {
        let url = ConfigUrl::parse("https://user:canary%21@host:8443/a/b.yaml?sig=canary#canary").unwrap();
        assert_eq!(url.to_string(), "https://host:8443/a/b.yaml");
        assert_eq!(format!("{url:?}"), "ConfigUrl(https://host:8443/a/b.yaml)");
        assert_eq!(url.0.url.query(), Some("sig=canary"));
        // user:canary!
        assert_eq!(url.0.credentials.as_ref().unwrap(), "Basic dXNlcjpjYW5hcnkh");
        assert_eq!(percent_decoded("a%2Fb%zz%4"), b"a/b%zz%4");
    }

    #[test]
    fn a_path_is_no_address() {
        for (text, expected) in [
            ("http://h/c", true),
            ("HTTPS://h", true),
            ("a.yaml", false),
            ("/http://x", false),
            ("s3://b/c", false),
        ] {
            assert_eq!(is_url(text), expected, "{text}");
        }
        let refused = ConfigUrl::parse("https://user:canary@/x y").unwrap_err();
        assert!(!refused.report().contains("canary"), "{}", refused.report());
    }
}
