//! What is written down of a request: before it acts, and what came of it.

use actix_web::ResponseError;
use actix_web::body::BoxBody;
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::header;

use super::access::Identity;
use super::error::ApiError;
use super::trace;
use crate::store::{AuditEnd, AuditInsert, JobId};

/// What is kept of path and query.
const PATH_CHARS_MAX: usize = 1024;

/// What is written of a request before it acts.
pub(super) fn entry(request: &ServiceRequest, identity: Option<&Identity>) -> AuditInsert {
    let uri = request.uri().path_and_query().map_or("", |both| both.as_str());
    AuditInsert {
        who: identity.map(|identity| identity.name.clone()),
        client: request.peer_addr().map(|peer| peer.ip().to_string()),
        request_id: trace::request_id(request.request()),
        method: request.method().to_string(),
        path: uri.chars().take(PATH_CHARS_MAX).filter(|c| !c.is_control()).collect(),
    }
}

/// What came of one that was not let through.
pub(super) fn refused(error: &ApiError) -> AuditEnd {
    AuditEnd { status: error.status_code().as_u16(), code: Some(error.code()), job: None }
}

/// What came of it, from the answer.
pub(super) fn end(answer: &ServiceResponse<BoxBody>) -> AuditEnd {
    let error = answer.response().error().and_then(|error| error.as_error::<ApiError>());
    let location = answer.headers().get(header::LOCATION).and_then(|value| value.to_str().ok());
    let job = location.and_then(|path| path.rsplit_once("/v1/jobs/")).and_then(|(_, id)| id.parse().ok());
    AuditEnd { status: answer.status().as_u16(), code: error.map(ApiError::code), job: job.map(JobId) }
}
