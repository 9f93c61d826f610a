//! What an answer that is no success means, of Azure and of Google Cloud.

use std::error::Error as StdError;
use std::time::Duration;

use crate::error::Error;

/// An answer that is no success.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Answer {
    /// Its status.
    pub status: u16,
    /// The provider's own code, as `BlobNotFound`; empty where it gave none.
    pub code: String,
}

/// Codes by which an object, and only that, is not there.
const NO_OBJECT: [&str; 2] = ["BlobNotFound", "NoSuchKey"];
/// Codes by which what should hold it is not there.
const NO_BUCKET: [&str; 4] = ["ContainerNotFound", "NoSuchBucket", "ResourceNotFound", "AccountNotFound"];
/// Codes of objects that have to be brought back before they can be read.
const ARCHIVED: [&str; 3] = ["BlobArchived", "BlobBeingRehydrated", "InvalidObjectState"];

/// The longest code that is shown: it comes from the other end.
const CODE_CHARS_MAX: usize = 80;

impl Answer {
    /// `header` is Azure's; both providers say their code in the body too, if it has one.
    pub(super) fn new(status: u16, header: Option<&str>, body: &[u8]) -> Self {
        let body = String::from_utf8_lossy(body.get(..body.len().min(16 << 10)).unwrap_or_default());
        let code =
            header.map(str::to_owned).or_else(|| between(&body, "<Code>", "</Code>").map(str::to_owned));
        let mut code = code.unwrap_or_default();
        code.retain(|c| c.is_ascii_alphanumeric() || c == '_');
        code.truncate(CODE_CHARS_MAX);
        Self { status, code }
    }

    /// Whether just the object is not there.
    pub(super) fn is_no_object(&self) -> bool {
        self.status == 404 && NO_OBJECT.contains(&self.code.as_str())
    }

    /// Whether it does not say what is not there: an answer to HEAD has no body.
    pub(super) fn is_unclear(&self) -> bool {
        self.status == 404 && !NO_BUCKET.contains(&self.code.as_str())
    }

    /// The error, if the cause may pass by itself.
    pub(super) fn passing(&self, host: &str) -> Option<Error> {
        let passes = matches!(self.status, 408 | 429 | 500 | 502..=504 | 509)
            || (self.status == 409
                && matches!(self.code.as_str(), "OperationTimedOut" | "ContainerBeingDeleted"));
        passes.then(|| {
            Error::temporary("storage-unavailable", format!("{host} answered {self}"))
                .hint("It is busy or out of order: see its provider's status, and requests-per-second.")
        })
    }

    /// The error of somebody who was asked for credentials and gave none.
    pub(super) fn no_credentials(&self, host: &str) -> Error {
        Error::permanent("storage-denied", format!("{host} gave no credentials: it answered {self}"))
            .hint("Check the identity that the storage is configured with: its ids, its secret, whether it has expired.")
    }

    /// The error of an operation that needs what it names.
    pub(super) fn error(&self) -> Error {
        let answered = format!("the answer was {self}");
        if ARCHIVED.contains(&self.code.as_str()) {
            return Error::permanent("storage-archived", format!("it is in an archive tier ({})", self.code)).hint(
                "Bring it back first, in Azure by setting its access tier to Hot or Cool, which takes up to 15 hours; \
                 then try again.",
            );
        }
        match self.status {
            401 | 403 => Error::permanent("storage-denied", answered).hint(
                "Check the account or key, its rights to read, write, list and delete there, and this machine's clock.",
            ),
            404 if NO_BUCKET.contains(&self.code.as_str()) => {
                Error::permanent("storage-bucket-missing", answered)
                    .hint("Make the container or bucket, or correct its name and the endpoint.")
            }
            404 => Error::permanent("storage-not-found", answered),
            412 => Error::temporary("storage-io", "it was replaced while it was read"),
            _ => Error::permanent("storage-refused", answered)
                .hint("Check endpoint, names and storage-class against what the provider allows."),
        }
    }
}

/// The status and the code: nothing else of an answer is shown, as it may quote the request.
impl std::fmt::Display for Answer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.code.as_str() {
            "" => write!(f, "{}", self.status),
            code => write!(f, "{} {code}", self.status),
        }
    }
}

/// Of the answers to the parts of one request, the one that asks most for being told: none if all were successes.
///
/// What may pass comes first, as then all of it is asked for again; what is not there comes last.
pub(super) fn worst_of_batch(body: &[u8]) -> Option<Answer> {
    let text = String::from_utf8_lossy(body);
    let parts = text.split("HTTP/1.1 ").skip(1).filter_map(|part| {
        let status: u16 = part.get(..3)?.parse().ok()?;
        let code = part.lines().take_while(|line| !line.is_empty()).find_map(|line| {
            let (name, value) = line.split_once(':')?;
            name.eq_ignore_ascii_case("x-ms-error-code").then(|| value.trim())
        });
        (status >= 300).then(|| Answer::new(status, code, part.as_bytes()))
    });
    parts.max_by_key(|answer| match answer.passing("") {
        Some(_) => 3,
        None if answer.status != 404 => 2,
        None => u8::from(!answer.is_no_object()),
    })
}

/// Whether a page of a list says that there is more, and not how to ask for it. The client would take it for the last one.
pub(super) fn is_half_list(body: &[u8]) -> bool {
    let says = |text: &str| memchr::memmem::find(body, text.as_bytes()).is_some();
    says("<IsTruncated>true</IsTruncated>") && !says("<NextContinuationToken>")
}

/// The error of half a list, which must not look like a whole one (rules.md 6.1).
pub(super) fn half_list(host: &str) -> Error {
    Error::temporary("storage-io", format!("{host} says neither the end of the list nor how it goes on"))
}

/// Whether it is a machine's own service for its identity, which only machines of that cloud have.
pub(super) fn is_identity_service(host: &str) -> bool {
    let name = host.split(':').next().unwrap_or_default();
    matches!(name, "169.254.169.254" | "metadata.google.internal" | "metadata")
}

/// The error of a request that met nobody.
pub(super) fn unreached(host: &str, error: impl StdError + Send + Sync + 'static) -> Error {
    if is_identity_service(host) {
        return no_identity(host);
    }
    let text = format!("cannot reach {host}");
    match tls_cause(&error) {
        Some(cause) => Error::permanent("tls-refused", format!("TLS with {host}: {cause}"))
            .hint("Check ca-file, the name in endpoint, and this machine's clock."),
        None => Error::temporary("storage-unavailable", text)
            .source(error)
            .hint("Check endpoint, name resolution, and the way through firewalls."),
    }
}

/// The error of a request that was not answered in time.
pub(super) fn silent(host: &str, waited: Duration) -> Error {
    if is_identity_service(host) {
        return no_identity(host);
    }
    Error::temporary("storage-unavailable", format!("{host} did not answer for {} s", waited.as_secs()))
}

/// The error of a body that breaks off.
pub(super) fn broken(host: &str, error: impl StdError + Send + Sync + 'static) -> Error {
    Error::temporary("storage-unavailable", format!("the answer of {host} broke off")).source(error)
}

/// Without credentials the identity of the machine is asked for, which most machines do not have.
fn no_identity(host: &str) -> Error {
    Error::permanent(
        "storage-denied",
        format!("no credentials are given, and this machine has none: {host} does not answer"),
    )
    .hint("Give the storage credentials, or run where the cloud gives the machine an identity.")
}

/// Why TLS was refused by us; what may pass, as a connection that ends, is not meant.
fn tls_cause(error: &(dyn StdError + 'static)) -> Option<String> {
    let mut cause = Some(error);
    while let Some(error) = cause {
        if let Some(tls @ (rustls::Error::InvalidCertificate(_) | rustls::Error::InvalidMessage(_))) =
            error.downcast_ref::<rustls::Error>()
        {
            return Some(tls.to_string());
        }
        // An io::Error does not show what it wraps as its source.
        if let Some(io) = error.downcast_ref::<std::io::Error>()
            && let Some(inner) = io.get_ref()
            && let Some(found) = tls_cause(inner)
        {
            return Some(found);
        }
        cause = error.source();
    }
    None
}

/// `Retry-After` in seconds; a date is not used by these providers.
pub(super) fn retry_after(text: &str) -> Option<Duration> {
    text.trim().parse().ok().map(Duration::from_secs)
}

fn between<'a>(text: &'a str, start: &str, end: &str) -> Option<&'a str> {
    let (_, rest) = text.split_once(start)?;
    rest.split_once(end).map(|(found, _)| found)
}

#[cfg(test)]
mod tests {
    use super::{Answer, worst_of_batch};

    fn answer(status: u16, header: Option<&str>, body: &str) -> Answer {
        Answer::new(status, header, body.as_bytes())
    }

    #[test]
    fn only_what_names_the_object_is_its_absence() {
        assert!(answer(404, Some("BlobNotFound"), "").is_no_object());
        assert!(answer(404, None, "<Error><Code>NoSuchKey</Code></Error>").is_no_object());
        for other in [
            answer(404, Some("ContainerNotFound"), ""),
            answer(404, None, "<Error><Code>NoSuchBucket</Code></Error>"),
            answer(404, None, ""),
            answer(404, None, "<html>a proxy's page</html>"),
            answer(403, None, "<Error><Code>NoSuchKey</Code></Error>"),
        ] {
            assert!(!other.is_no_object(), "{other}");
        }
        assert_eq!(answer(404, Some("ContainerNotFound"), "").error().code(), "storage-bucket-missing");
        assert!(answer(404, None, "").is_unclear(), "HEAD has no body");
        assert!(!answer(404, Some("ContainerNotFound"), "").is_unclear());
    }

    #[test]
    fn what_may_pass_is_told_from_what_may_not() {
        for status in [408, 429, 500, 502, 503, 504] {
            assert!(answer(status, None, "").passing("host").unwrap().is_temporary(), "{status}");
        }
        for (status, code, error) in [
            (403, "AuthenticationFailed", "storage-denied"),
            (401, "", "storage-denied"),
            (409, "BlobArchived", "storage-archived"),
            (400, "InvalidResourceName", "storage-refused"),
        ] {
            let answer = answer(status, Some(code), "");
            assert!(answer.passing("host").is_none());
            assert_eq!((answer.error().code(), answer.error().is_temporary()), (error, false));
        }
        assert!(answer(412, None, "").error().is_temporary());
    }

    #[test]
    fn of_many_answers_in_one_the_worst_counts() {
        let part = |status: &str, code: &str| {
            format!(
                "--b\r\nContent-ID: 0\r\n\r\nHTTP/1.1 {status}\r\nx-ms-error-code: {code}\r\nServer: x\r\n\r\n"
            )
        };
        let gone = part("404 The specified blob does not exist.", "BlobNotFound");
        let done = "--b\r\n\r\nHTTP/1.1 202 Accepted\r\nx-ms-version: 1\r\n\r\n";
        let worst =
            |parts: &[&str]| worst_of_batch(parts.concat().as_bytes()).map(|answer| answer.to_string());
        assert_eq!(worst(&[done, done]), None);
        assert_eq!(worst(&[done, &gone]).unwrap(), "404 BlobNotFound");
        let denied = part("403 Forbidden", "AuthorizationFailure");
        assert_eq!(worst(&[&gone, &denied, &gone]).unwrap(), "403 AuthorizationFailure");
        let busy = part("503 Busy", "ServerBusy");
        assert_eq!(worst(&[&busy, &denied]).unwrap(), "503 ServerBusy");
    }

    /// The other end may quote what it was sent.
    #[test]
    fn nothing_of_an_answer_is_shown_but_its_status_and_code() {
        let quoted = answer(403, None, "<Code>SignatureDoesNotMatch</Code><Message>key=hunter2</Message>");
        assert_eq!(quoted.to_string(), "403 SignatureDoesNotMatch");
        let long = answer(403, None, &format!("<Code>{} hunter2\n</Code>", "x".repeat(200)));
        assert_eq!(long.code.len(), 80);
    }
}
