//! Who asks for a job, and how: the caller, the `label`, the `Idempotency-Key`.

use actix_web::dev::ServiceRequest;
use actix_web::{HttpMessage, HttpRequest};

use super::access;
use super::error::ApiError;
use super::query::Query;
use crate::jobs::Asked;
use crate::store::RequestKey;

/// The longest label, in characters, and the longest key.
const LABEL_CHARS_MAX: usize = 128;
const KEY_BYTES_MAX: usize = 255;

const KEY_HEADER: &str = "Idempotency-Key";

/// Of everything that decides what a request does.
#[derive(Debug, Clone)]
pub(super) struct RequestHash(String);

/// The hash of method, path, query and body; the label counts too, as it is part of the query.
pub(super) fn hash(request: &ServiceRequest, body: &[u8]) -> RequestHash {
    let mut hasher = blake3::Hasher::new();
    for part in [request.method().as_str(), request.path(), request.query_string()] {
        // No part can have a line end.
        hasher.update(part.as_bytes()).update(b"\n");
    }
    RequestHash(hasher.update(body).finalize().to_hex().to_string())
}

impl Asked {
    /// Of a request.
    ///
    /// Errors: 400 for a label or a key that cannot be one.
    pub(super) fn of(request: &HttpRequest) -> Result<Self, ApiError> {
        let label = Query::of(request)?.text("label").map(str::to_owned);
        if label.as_ref().is_some_and(|label| !is_label(label)) {
            let bounds =
                format!("should be at most {LABEL_CHARS_MAX} characters, none of them a control character");
            return Err(ApiError::parameter("label", bounds));
        }
        Ok(Self { by: access::requested_by(request), label, key: key(request)? })
    }
}

fn is_label(text: &str) -> bool {
    text.chars().count() <= LABEL_CHARS_MAX && !text.chars().any(char::is_control)
}

/// Keys of two callers are two keys; without authentication all are one caller.
fn key(request: &HttpRequest) -> Result<Option<RequestKey>, ApiError> {
    let Some(given) = request.headers().get(KEY_HEADER) else { return Ok(None) };
    let given = given.to_str().unwrap_or_default();
    if !(1..=KEY_BYTES_MAX).contains(&given.len()) || !given.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(ApiError::request(format!(
            "{KEY_HEADER} should be 1 to {KEY_BYTES_MAX} visible characters of ASCII"
        )));
    }
    let caller = access::caller(request).map(|caller| caller.name).unwrap_or_default();
    let hash = request.extensions().get::<RequestHash>().cloned();
    Ok(hash.map(|RequestHash(hash)| RequestKey { key: format!("{caller}\n{given}"), hash }))
}
