//! What every request meets first: its id, the rate limit, and the headers that all answers have.

use actix_web::body::{BoxBody, MessageBody};
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::header::{HeaderMap, HeaderName, HeaderValue};
use actix_web::middleware::Next;
use actix_web::{HttpMessage, HttpRequest, web};
use tracing::Instrument;

use super::error::ApiError;
use super::listener::Listener;

/// The id of a request: the client's, or one of ours.
pub const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// What browsers are told: answers are data, not pages, and not to be kept. A page of ours may say otherwise.
const HEADERS: [(&str, &str); 5] = [
    ("x-content-type-options", "nosniff"),
    ("x-frame-options", "DENY"),
    ("referrer-policy", "no-referrer"),
    ("cache-control", "no-store"),
    ("content-security-policy", "default-src 'none'; frame-ancestors 'none'"),
];

/// For a year, for what came by TLS.
const STRICT_TRANSPORT: (&str, &str) = ("strict-transport-security", "max-age=31536000");

#[derive(Debug, Clone)]
struct RequestId(String);

/// The id of a request.
pub fn request_id(request: &HttpRequest) -> String {
    request.extensions().get::<RequestId>().map(|id| id.0.clone()).unwrap_or_default()
}

/// The outermost layer.
pub async fn trace(
    request: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> Result<ServiceResponse<BoxBody>, actix_web::Error> {
    let id = request
        .headers()
        .get(&REQUEST_ID)
        .and_then(|given| given.to_str().ok())
        .filter(|given| is_id(given))
        .map_or_else(|| format!("{:016x}", rand::random::<u64>()), str::to_owned);
    request.extensions_mut().insert(RequestId(id.clone()));
    let listener = request.app_data::<web::Data<Listener>>().cloned();
    let span = tracing::info_span!("request", id, method = %request.method());
    let client = request.peer_addr().map(|peer| peer.ip());
    let admitted = match (&listener, client) {
        (Some(listener), Some(client)) => listener.rates.admits(client),
        _ => true,
    };
    let answered = async {
        if !admitted {
            tracing::debug!(?client, "over the rate limit");
            return Ok(request.error_response(ApiError::too_many()));
        }
        next.call(request).await.map(ServiceResponse::map_into_boxed_body)
    };
    let mut answer = answered.instrument(span.clone()).await?;
    span.in_scope(|| {
        tracing::debug!(path = answer.request().path(), status = answer.status().as_u16(), "answered");
    });
    let secure = listener.is_some_and(|listener| listener.secure);
    let headers = answer.headers_mut();
    for (name, value) in HEADERS.into_iter().chain(secure.then_some(STRICT_TRANSPORT)) {
        default(headers, name, value);
    }
    if let Ok(value) = HeaderValue::from_str(&id) {
        headers.insert(REQUEST_ID, value);
    }
    Ok(answer)
}

fn default(headers: &mut HeaderMap, name: &'static str, value: &'static str) {
    let name = HeaderName::from_static(name);
    if !headers.contains_key(&name) {
        headers.insert(name, HeaderValue::from_static(value));
    }
}

/// What may stand in a line of the log.
fn is_id(text: &str) -> bool {
    (1..=64).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b))
}
