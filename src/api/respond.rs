//! Success answers.

use actix_web::http::{StatusCode, header};
use actix_web::{HttpResponse, HttpResponseBuilder};
use serde::Serialize;

use super::error::{Answer, ApiError};
use crate::error::Error;

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

/// 200 with plain text, as it is.
pub fn text(text: &'static str) -> HttpResponse {
    HttpResponse::Ok().insert_header((header::CONTENT_TYPE, "text/plain; charset=utf-8")).body(text)
}

/// A status without a body.
pub fn empty(status: StatusCode) -> HttpResponse {
    HttpResponse::new(status)
}
