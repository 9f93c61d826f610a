//! Success answers.

use actix_web::http::{StatusCode, header};
use actix_web::{HttpRequest, HttpResponse, HttpResponseBuilder};
use serde::Serialize;

use super::error::{Answer, ApiError, accepts};
use super::job;
use crate::app::{App, Cached};
use crate::error::Error;
use crate::store::JobRow;

/// 200 with compact JSON and no trailing newline (abs.md 1.1).
pub fn json(value: &impl Serialize) -> Answer {
    body(&mut HttpResponse::Ok(), value)
}

/// Compact JSON as the body of an answer that was begun.
pub fn body(answer: &mut HttpResponseBuilder, value: &impl Serialize) -> Answer {
    let body = serde_json::to_vec(value)
        .map_err(|error| ApiError::from(Error::permanent("api-answer", "render the answer").source(error)))?;
    Ok(answer.insert_header((header::CONTENT_TYPE, "application/json")).body(body))
}

/// When storage was last read for a list, RFC 3339 (ours).
const AS_OF: &str = "holdfast-as-of";

/// Why a list is older than it should be: a code (ours).
const STALE: &str = "holdfast-stale";

/// 200 with the age of what is answered in its header: ABS's bodies have no place for it.
pub fn cached<T>(cached: &Cached<T>) -> HttpResponseBuilder {
    let mut answer = HttpResponse::Ok();
    if let Some(as_of) = cached.as_of {
        answer.insert_header((AS_OF, as_of.to_rfc3339()));
    }
    if let Some(stale) = &cached.stale {
        answer.insert_header((STALE, stale.code.as_str()));
    }
    answer
}

/// 202 with an empty body and `Location`; the job as JSON when it is asked for by name (rules.md 2.3). A refused one is
/// 409 when the request is `strict`.
pub fn admitted(app: &App, request: &HttpRequest, row: &JobRow, strict: bool) -> Answer {
    if strict && row.reason_code.is_some() && row.status.is_terminal() {
        return Err(ApiError::skipped(row));
    }
    let mut answer = HttpResponse::build(StatusCode::ACCEPTED);
    answer.insert_header((header::LOCATION, format!("{}v1/jobs/{}", app.context_path(), row.id)));
    if !accepts(request, "application/json") {
        return Ok(answer.finish());
    }
    body(&mut answer, &job::Summary::of(row.head()))
}

/// 200 with plain text, as it is.
pub fn text(text: &'static str) -> HttpResponse {
    HttpResponse::Ok().insert_header((header::CONTENT_TYPE, "text/plain; charset=utf-8")).body(text)
}

/// A status without a body.
pub fn empty(status: StatusCode) -> HttpResponse {
    HttpResponse::new(status)
}
