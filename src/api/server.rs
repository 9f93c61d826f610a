//! The HTTP listener: every path, and what all answers have in common.

use std::net::TcpListener;
use std::sync::Arc;
use std::time::Duration;

use actix_web::body::MessageBody;
use actix_web::dev::{Server, ServiceRequest, ServiceResponse};
use actix_web::http::KeepAlive;
use actix_web::middleware::{DefaultHeaders, Next, from_fn};
use actix_web::{App, HttpServer, http::header, web};

use super::error::{ApiError, wants_problem};
use super::{backups, catalog, config, endpoint, jobs, owners, restores, retention, system};
use crate::app::App as Holdfast;
use crate::error::{Error, Result};

/// Requests wait for SQLite and storage, not for a processor: two threads are plenty.
const WORKERS: usize = 2;

/// How long a stop waits for answers under way, in seconds.
const STOP_S: u64 = 5;

/// Where and how to listen.
#[derive(Debug)]
pub struct HttpOptions {
    /// Bound already.
    pub listener: TcpListener,
    /// The prefix of every path, as `/` or `/backup/`.
    pub context_path: String,
    /// How long a client may take to send a request's head, in ms; 0: for ever.
    pub head_timeout_ms: u64,
    /// How long an idle connection is kept, in ms.
    pub idle_timeout_ms: u64,
}

/// The server; it serves while it is polled, and ends when its handle stops it.
pub fn server(app: &Arc<Holdfast>, options: HttpOptions) -> Result<Server> {
    let app = web::Data::from(Arc::clone(app));
    let context_path = options.context_path.trim_end_matches('/').to_owned();
    let server = HttpServer::new(move || {
        App::new()
            .app_data(app.clone())
            .wrap(from_fn(as_problem))
            .wrap(
                DefaultHeaders::new().add((header::SERVER, concat!("holdfast/", env!("CARGO_PKG_VERSION")))),
            )
            .service(web::scope(&context_path).configure(routes))
            .default_service(web::to(endpoint::unlisted))
    })
    .workers(WORKERS)
    .disable_signals()
    .shutdown_timeout(STOP_S)
    .client_request_timeout(Duration::from_millis(options.head_timeout_ms))
    .keep_alive(KeepAlive::Timeout(Duration::from_millis(options.idle_timeout_ms)))
    .listen(options.listener)
    .map_err(|error| Error::permanent("http-listen", "serve HTTP").source(error))?;
    Ok(server.run())
}

fn routes(scope: &mut web::ServiceConfig) {
    system::routes(scope);
    config::routes(scope);
    backups::routes(scope);
    catalog::routes(scope);
    restores::routes(scope);
    jobs::routes(scope);
    owners::routes(scope);
    retention::routes(scope);
}

/// Gives an error as RFC 9457 where the request accepts it, and logs those that are ours.
async fn as_problem(
    request: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> Result<ServiceResponse<impl MessageBody>, actix_web::Error> {
    let answer = next.call(request).await?.map_into_boxed_body();
    let problem =
        answer.response().error().and_then(|error| error.as_error::<ApiError>()).and_then(|error| {
            if answer.status().is_server_error() {
                tracing::error!(path = answer.request().path(), %error, "request failed");
            }
            wants_problem(answer.request()).then(|| error.problem())
        });
    Ok(match problem {
        Some(problem) => answer.into_response(problem),
        None => answer,
    })
}
