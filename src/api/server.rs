//! The listeners: every path, and what all answers have in common.

use std::any::Any;
use std::net::TcpListener;
use std::sync::Arc;
use std::time::Duration;

use actix_tls::accept::rustls_0_23::TlsStream;
use actix_web::body::MessageBody;
use actix_web::dev::{Extensions, Server, ServiceRequest, ServiceResponse};
use actix_web::http::KeepAlive;
use actix_web::middleware::{DefaultHeaders, Next, from_fn};
use actix_web::rt::net::TcpStream;
use actix_web::{App, HttpServer, http::header, web};
use rustls::ServerConfig;
use socket2::SockRef;

use super::access::{ClientCertificate, subject};
use super::error::{ApiError, wants_problem};
use super::listener::Listener;
use super::rate::Rates;
use super::{
    audit, backups, catalog, config, docs, endpoint, jobs, owners, restores, retention, system, trace,
};
use crate::app::App as Holdfast;
use crate::config::HttpConfig;
use crate::error::{Error, Result};

/// Requests wait for SQLite and storage, not for a processor: two threads are plenty.
const WORKERS: usize = 2;

/// Connections of one worker; more wait in the queue of the system.
const CONNECTIONS_MAX: usize = 4096;

/// How long a stop waits for answers under way, in seconds.
const STOP_S: u64 = 5;

/// Where and how to listen.
#[derive(Debug)]
pub struct HttpOptions {
    /// Bound already.
    pub listener: TcpListener,
    /// Paths, times and limits.
    pub config: HttpConfig,
    /// With TLS; none: in clear.
    pub tls: Option<ServerConfig>,
}

/// The server; it serves while it is polled, and ends when its handle stops it.
pub fn server(app: &Arc<Holdfast>, options: HttpOptions) -> Result<Server> {
    let app = web::Data::from(Arc::clone(app));
    let config = options.config;
    let context_path = config.context_path.trim_end_matches('/').to_owned();
    let listener = web::Data::new(Listener {
        rates: Rates::new(&config.rate),
        read_timeout: Duration::from_millis(config.read_timeout),
        secure: options.tls.is_some(),
    });
    let untaken = (config.write_timeout > 0).then(|| Duration::from_millis(config.write_timeout));
    let head_timeout = Duration::from_millis(config.timeout);
    let mut server = HttpServer::new(move || {
        App::new()
            .app_data(app.clone())
            .app_data(listener.clone())
            .wrap(from_fn(as_problem))
            .wrap(
                DefaultHeaders::new().add((header::SERVER, concat!("holdfast/", env!("CARGO_PKG_VERSION")))),
            )
            .wrap(from_fn(trace::trace))
            .service(web::scope(&context_path).configure(routes))
            .default_service(web::to(endpoint::unlisted))
    })
    .workers(WORKERS)
    .max_connections(CONNECTIONS_MAX)
    .disable_signals()
    .shutdown_timeout(STOP_S)
    .on_connect(move |connection, data| connected(connection, data, untaken))
    .client_request_timeout(head_timeout)
    .keep_alive(KeepAlive::Timeout(Duration::from_millis(config.idle_timeout)));
    if !head_timeout.is_zero() {
        server = server.tls_handshake_timeout(head_timeout);
    }
    let server = match options.tls {
        None => server.listen(options.listener),
        Some(tls) => server.listen_rustls_0_23(options.listener, tls),
    };
    let server = server.map_err(|error| Error::permanent("http-listen", "serve HTTP").source(error))?;
    Ok(server.run())
}

/// Every method and path that the server answers to, below the context path; GET stands for HEAD too.
pub fn served() -> Vec<(&'static str, String)> {
    endpoint::served(|| drop(web::scope("").configure(routes)))
}

fn routes(scope: &mut web::ServiceConfig) {
    system::routes(scope);
    docs::routes(scope);
    config::routes(scope);
    backups::routes(scope);
    super::copies::routes(scope);
    catalog::routes(scope);
    restores::routes(scope);
    jobs::routes(scope);
    owners::routes(scope);
    retention::routes(scope);
    audit::routes(scope);
}

/// Bounds how long an answer may stay untaken, and notes whose certificate the connection has.
fn connected(connection: &dyn Any, data: &mut Extensions, untaken: Option<Duration>) {
    let tls = connection.downcast_ref::<TlsStream<TcpStream>>();
    let socket = tls.map_or_else(|| connection.downcast_ref::<TcpStream>(), |tls| Some(tls.get_ref().0));
    if let Some(socket) = socket
        && let Err(error) = SockRef::from(socket).set_tcp_user_timeout(untaken)
    {
        tracing::debug!(%error, "no write timeout");
    }
    let certificate = tls.and_then(|tls| tls.get_ref().1.peer_certificates()).and_then(<[_]>::first);
    if let Some(name) = certificate.and_then(subject) {
        data.insert(ClientCertificate(name));
    }
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
