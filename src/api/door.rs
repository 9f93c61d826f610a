//! What stands before every resource: who may pass, and how large and slow a body may be.

use std::time::Duration;

use actix_web::body::{BoxBody, MessageBody};
use actix_web::dev::{Payload, ServiceRequest, ServiceResponse};
use actix_web::http::{Method, header};
use actix_web::middleware::Next;
use actix_web::{HttpMessage, web};
use bytes::{Bytes, BytesMut};
use futures_util::{StreamExt, stream};
use tokio::sync::Semaphore;

use super::access::{self, Identity, Need, Reach};
use super::error::ApiError;
use super::listener::Listener;
use super::query;
use super::{asked, record};
use crate::app::App;
use crate::config::DOCUMENT_BYTES_MAX;
use crate::store::JobId;

/// Bodies beyond this wait for one of [`LARGE_AT_ONCE`] places, so that slow clients cannot fill the memory.
const SMALL_BODY: usize = 64 << 10;

/// Large bodies that are read at once: 64 MiB.
const LARGE_AT_ONCE: usize = 8;

static LARGE: Semaphore = Semaphore::const_new(LARGE_AT_ONCE);

/// Lets a request through to the handlers of `path`, which answer to the methods `allow`.
pub async fn guard(
    path: &str,
    allow: &[&'static str],
    mut request: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> Result<ServiceResponse<BoxBody>, actix_web::Error> {
    if *request.method() == Method::GET || *request.method() == Method::HEAD {
        if let Err(refused) = enter(path, allow, &request).await {
            return Ok(request.error_response(refused));
        }
        return next.call(request).await.map(ServiceResponse::map_into_boxed_body);
    }
    let written = match enter(path, allow, &request).await {
        Ok(()) => write_down(&mut request).await,
        Err(refused) => {
            note_refusal(&request, &refused).await;
            Err(refused)
        }
    };
    let (app, row) = match written {
        Ok(written) => written,
        Err(refused) => return Ok(request.error_response(refused)),
    };
    // What panics or is cut off leaves its row without an outcome.
    let answer = next.call(request).await.map(ServiceResponse::map_into_boxed_body)?;
    app.audit_ends(row, &record::end(&answer)).await;
    Ok(answer)
}

/// Whoever is known and tried what it may not is in the audit too; strangers are only in the log, as they could fill it.
async fn note_refusal(request: &ServiceRequest, refused: &ApiError) {
    let Some(app) = request.app_data::<web::Data<App>>() else { return };
    let config = app.config();
    let auth = config.service.as_ref().and_then(|service| service.auth.as_ref());
    let Some(identity) = auth.and_then(|auth| access::identify(auth, request.request()).ok()) else { return };
    match app.audit_begins(&record::entry(request, Some(&identity))).await {
        Ok(row) => app.audit_ends(row, &record::refused(refused)).await,
        Err(error) => tracing::warn!(reason = error.report(), "a refused request is not in the audit"),
    }
}

/// Reads the body, then writes the request down: only then it may act.
async fn write_down(request: &mut ServiceRequest) -> Result<(web::Data<App>, i64), ApiError> {
    let Some(app) = request.app_data::<web::Data<App>>().cloned() else {
        return Err(ApiError::no_such_path());
    };
    take_body(request).await?;
    let identity = access::caller(request.request());
    let row = app.audit_begins(&record::entry(request, identity.as_ref())).await?;
    Ok((app, row))
}

async fn enter(path: &str, allow: &[&'static str], request: &ServiceRequest) -> Result<(), ApiError> {
    let Some(app) = request.app_data::<web::Data<App>>().cloned() else { return Ok(()) };
    let identity = recognise(&app, path, allow, request)?;
    if let Some(identity) = identity {
        if identity.routines.is_some() {
            check_reach(&app, &identity, path, request).await?;
        }
        request.extensions_mut().insert(identity);
    }
    Ok(())
}

/// Who it is, if that must be known; refused where the role is too low.
fn recognise(
    app: &App,
    path: &str,
    allow: &[&'static str],
    request: &ServiceRequest,
) -> Result<Option<Identity>, ApiError> {
    let config = app.config();
    let Some(auth) = config.service.as_ref().and_then(|service| service.auth.as_ref()) else {
        return Ok(None);
    };
    let route = access::route(request.method(), path);
    let need = match route.map(|route| route.need) {
        Some(Need::Nothing) => return Ok(None),
        Some(Need::Metrics) if auth.open_metrics == Some(true) => return Ok(None),
        Some(Need::Metrics) => crate::config::Role::Viewer,
        Some(Need::Role(role)) => role,
        // No such method: whoever is known may hear that.
        None if !allow.contains(&request.method().as_str()) => crate::config::Role::Viewer,
        None => crate::config::Role::Admin,
    };
    let identity = access::identify(auth, request.request()).inspect_err(|refused| {
        tracing::warn!(client = ?request.peer_addr().map(|peer| peer.ip()), reason = %refused, "not let in");
    })?;
    if identity.role < need {
        let reason = format!("{} is {}: this needs {}", identity.name, identity.role.as_str(), need.as_str());
        tracing::warn!(client = ?request.peer_addr().map(|peer| peer.ip()), reason, "not allowed");
        return Err(ApiError::forbidden(reason));
    }
    Ok(Some(identity))
}

/// What somebody who is limited to routines may reach.
async fn check_reach(
    app: &App,
    identity: &Identity,
    path: &str,
    request: &ServiceRequest,
) -> Result<(), ApiError> {
    let reach = access::route(request.method(), path).map_or(Reach::Whole, |route| route.reach);
    let reached = match reach {
        Reach::Any | Reach::List | Reach::Body => true,
        Reach::Whole => false,
        Reach::Routine => ["name", "routine"]
            .iter()
            .find_map(|key| request.match_info().get(key))
            .is_some_and(|routine| identity.reaches(routine)),
        Reach::Job => {
            let id = request.match_info().get("id").and_then(query::whole_number);
            match id {
                None => true, // refused as no number
                Some(id) => match app.job(JobId(id)).await? {
                    None => true, // not found
                    Some(view) => view.job.routine.is_some_and(|routine| identity.reaches(&routine)),
                },
            }
        }
    };
    if reached { Ok(()) } else { Err(ApiError::out_of_reach(&identity.name)) }
}

/// Reads the body, so that a handler has it whole or is never called.
async fn take_body(request: &mut ServiceRequest) -> Result<(), ApiError> {
    let length = request.headers().get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok());
    if length
        .and_then(|digits| digits.parse().ok())
        .is_some_and(|length: u64| length > DOCUMENT_BYTES_MAX as u64)
    {
        return Err(ApiError::too_large());
    }
    let patience = request.app_data::<web::Data<Listener>>().map_or(Duration::ZERO, |one| one.read_timeout);
    let payload = request.take_payload();
    let body = if patience.is_zero() {
        read(payload).await
    } else {
        tokio::time::timeout(patience, read(payload)).await.unwrap_or_else(|_| Err(ApiError::too_slow()))
    }?;
    let hash = asked::hash(request, &body);
    request.extensions_mut().insert(hash);
    request.set_payload(Payload::Stream { payload: Box::pin(stream::once(async move { Ok(body) })) });
    Ok(())
}

async fn read(mut payload: Payload) -> Result<Bytes, ApiError> {
    let mut body = BytesMut::new();
    let mut place = None;
    while let Some(chunk) = payload.next().await {
        let chunk = chunk.map_err(|_| ApiError::payload("the body ended early"))?;
        if body.len() + chunk.len() > DOCUMENT_BYTES_MAX {
            return Err(ApiError::too_large());
        }
        if place.is_none() && body.len() + chunk.len() > SMALL_BODY {
            place = LARGE.acquire().await.ok();
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body.freeze())
}
