//! Who may do what: one table of every route, with the role that it needs and what a limit to routines means on it.
//!
//! It is asked at the resource itself (`door`), after actix has chosen it, so that no spelling of a path leads past it.
//! What the table does not have needs an admin.

mod identity;
mod subject;

use actix_web::http::Method;
use actix_web::{HttpMessage, HttpRequest};

pub use identity::{ClientCertificate, identify, token_hash};
pub use subject::subject;

use crate::config::Role;

/// Whom a route lets in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Need {
    /// Everybody, also without credentials.
    Nothing,
    /// Everybody if `service.auth.open-metrics` says so, else a viewer.
    Metrics,
    /// Whoever has this role or a higher one.
    Role(Role),
}

/// What a limit to routines means on a route.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reach {
    /// It tells nothing of routines.
    Any,
    /// The routine in the path must be among them.
    Routine,
    /// The routine of the job in the path must be among them.
    Job,
    /// The handler leaves out the others.
    List,
    /// The handler looks at the routine in the body.
    Body,
    /// It is about more than routines: closed.
    Whole,
}

/// One method of one path.
#[derive(Debug, Clone, Copy)]
pub struct Route {
    /// `GET` stands for HEAD too.
    pub method: &'static str,
    /// As the server knows it, below the context path.
    pub path: &'static str,
    /// Whom it lets in.
    pub need: Need,
    /// What a limit to routines means.
    pub reach: Reach,
}

const fn get(path: &'static str, need: Need, reach: Reach) -> Route {
    Route { method: "GET", path, need, reach }
}

const fn post(path: &'static str, need: Need, reach: Reach) -> Route {
    Route { method: "POST", path, need, reach }
}

const fn put(path: &'static str, need: Need, reach: Reach) -> Route {
    Route { method: "PUT", path, need, reach }
}

const fn delete(path: &'static str, need: Need, reach: Reach) -> Route {
    Route { method: "DELETE", path, need, reach }
}

const LOOK: Need = Need::Role(Role::Viewer);
const ACT: Need = Need::Role(Role::Operator);
const RULE: Need = Need::Role(Role::Admin);

/// Every route of the server.
pub const ROUTES: &[Route] = &[
    get("", Need::Nothing, Reach::Any),
    get("/", Need::Nothing, Reach::Any),
    get("/health", Need::Nothing, Reach::Any),
    get("/v1/health", Need::Nothing, Reach::Any),
    get("/ready", Need::Nothing, Reach::Any),
    get("/v1/ready", Need::Nothing, Reach::Any),
    get("/version", LOOK, Reach::Any),
    get("/metrics", Need::Metrics, Reach::Whole),
    get("/api-docs", LOOK, Reach::Any),
    get("/api-docs/", LOOK, Reach::Any),
    get("/api-docs/{file}", LOOK, Reach::Any),
    get("/v1/config", LOOK, Reach::Whole),
    put("/v1/config", RULE, Reach::Whole),
    post("/v1/config/apply", RULE, Reach::Whole),
    get("/v1/config/status", LOOK, Reach::Whole),
    get("/v1/config/clusters", LOOK, Reach::Whole),
    get("/v1/config/policies", LOOK, Reach::Whole),
    get("/v1/config/routines", LOOK, Reach::Whole),
    get("/v1/config/storage", LOOK, Reach::Whole),
    get("/v1/config/secret-agents", LOOK, Reach::Whole),
    get("/v1/config/clusters/{name}", LOOK, Reach::Whole),
    post("/v1/config/clusters/{name}", RULE, Reach::Whole),
    put("/v1/config/clusters/{name}", RULE, Reach::Whole),
    delete("/v1/config/clusters/{name}", RULE, Reach::Whole),
    get("/v1/config/policies/{name}", LOOK, Reach::Whole),
    post("/v1/config/policies/{name}", RULE, Reach::Whole),
    put("/v1/config/policies/{name}", RULE, Reach::Whole),
    delete("/v1/config/policies/{name}", RULE, Reach::Whole),
    get("/v1/config/routines/{name}", LOOK, Reach::Routine),
    post("/v1/config/routines/{name}", RULE, Reach::Whole),
    put("/v1/config/routines/{name}", RULE, Reach::Whole),
    delete("/v1/config/routines/{name}", RULE, Reach::Whole),
    put("/v1/config/routines/{name}/enable", RULE, Reach::Routine),
    put("/v1/config/routines/{name}/disable", RULE, Reach::Routine),
    get("/v1/config/storage/{name}", LOOK, Reach::Whole),
    post("/v1/config/storage/{name}", RULE, Reach::Whole),
    put("/v1/config/storage/{name}", RULE, Reach::Whole),
    delete("/v1/config/storage/{name}", RULE, Reach::Whole),
    get("/v1/config/secret-agents/{name}", LOOK, Reach::Whole),
    post("/v1/config/secret-agents/{name}", RULE, Reach::Whole),
    put("/v1/config/secret-agents/{name}", RULE, Reach::Whole),
    delete("/v1/config/secret-agents/{name}", RULE, Reach::Whole),
    get("/v1/catalog", LOOK, Reach::List),
    post("/v1/catalog/refresh", ACT, Reach::List),
    get("/v1/backups/full", LOOK, Reach::List),
    get("/v1/backups/incremental", LOOK, Reach::List),
    get("/v1/backups/full/{name}", LOOK, Reach::Routine),
    post("/v1/backups/full/{name}", ACT, Reach::Routine),
    get("/v1/backups/incremental/{name}", LOOK, Reach::Routine),
    post("/v1/backups/incremental/{name}", ACT, Reach::Routine),
    get("/v1/backups/full/{name}/{timestamp}", LOOK, Reach::Routine),
    delete("/v1/backups/full/{name}/{timestamp}", RULE, Reach::Routine),
    get("/v1/backups/incremental/{name}/{timestamp}", LOOK, Reach::Routine),
    delete("/v1/backups/incremental/{name}/{timestamp}", RULE, Reach::Routine),
    get("/v1/backups/restore-points/{name}", LOOK, Reach::Routine),
    post("/v1/backups/schedule/{name}", ACT, Reach::Routine),
    get("/v1/backups/estimate/{name}", LOOK, Reach::Routine),
    post("/v1/backups/verify/{name}", ACT, Reach::Routine),
    post("/v1/backups/copy", ACT, Reach::Body),
    get("/v1/backups/currentBackup/{name}", LOOK, Reach::Routine),
    post("/v1/backups/cancel/{name}", ACT, Reach::Routine),
    get("/v1/retrieve/configuration/{name}/{timestamp}", LOOK, Reach::Routine),
    post("/v1/restore/full", ACT, Reach::Whole),
    post("/v1/restore/incremental", ACT, Reach::Whole),
    post("/v1/restore/timestamp", ACT, Reach::Body),
    get("/v1/restore/jobs", LOOK, Reach::List),
    get("/v1/restore/status/{id}", LOOK, Reach::Job),
    post("/v1/restore/cancel/{id}", ACT, Reach::Job),
    get("/v1/jobs", LOOK, Reach::List),
    get("/v1/jobs/{id}", LOOK, Reach::Job),
    post("/v1/jobs/{id}/cancel", ACT, Reach::Job),
    post("/v1/jobs/{id}/retry", ACT, Reach::Job),
    get("/v1/retention/{routine}", LOOK, Reach::Routine),
    post("/v1/retention/{routine}", ACT, Reach::Routine),
    get("/v1/routines/{name}/owner", LOOK, Reach::Routine),
    post("/v1/routines/{name}/adopt", RULE, Reach::Routine),
    get("/v1/audit", RULE, Reach::Whole),
];

/// The row of a route; none: it is in no table, so only an admin gets there.
pub fn route(method: &Method, path: &str) -> Option<&'static Route> {
    let method = if method == Method::HEAD { "GET" } else { method.as_str() };
    ROUTES.iter().find(|route| route.path == path && route.method == method)
}

/// Somebody who was recognised.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// A token's name, or a certificate's subject.
    pub name: String,
    /// What it may do.
    pub role: Role,
    /// The only routines it has to do with; none: all.
    pub routines: Option<Vec<String>>,
}

impl Identity {
    /// Whether it has to do with a routine.
    pub fn reaches(&self, routine: &str) -> bool {
        self.routines.as_ref().is_none_or(|routines| routines.iter().any(|name| name == routine))
    }
}

/// Who sends a request; none: there is no authentication, or the route needs none.
pub fn caller(request: &HttpRequest) -> Option<Identity> {
    request.extensions().get::<Identity>().cloned()
}

/// The only routines that a request has to do with; none: all.
pub fn limited_to(request: &HttpRequest) -> Option<Vec<String>> {
    request.extensions().get::<Identity>().and_then(|identity| identity.routines.clone())
}

/// Who asks, for the row of a job: the name and the address, or the address alone.
pub fn requested_by(request: &HttpRequest) -> Option<String> {
    let address = request.peer_addr().map(|peer| peer.ip().to_string());
    match (request.extensions().get::<Identity>(), address) {
        (Some(identity), Some(address)) => Some(format!("{} ({address})", identity.name)),
        (Some(identity), None) => Some(identity.name.clone()),
        (None, address) => address,
    }
}
