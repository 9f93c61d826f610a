//! `/`, `/health`, `/ready`, `/version`, `/metrics`.

use actix_web::http::StatusCode;
use actix_web::{HttpResponse, web};
use serde::Serialize;

use super::endpoint::at;
use super::error::{Answer, ApiError};
use super::respond;
use crate::app::App;
use crate::model::status::AbsLevel;

pub(super) fn routes(scope: &mut web::ServiceConfig) {
    scope
        .service(at("").get(root).resource())
        .service(at("/").get(root).resource())
        .service(at("/version").get(version).resource())
        .service(at("/metrics").get(metrics).resource());
    // The Kubernetes operator of ABS puts `/v1` before every path (abs.md 1.2).
    for prefix in ["", "/v1"] {
        scope
            .service(at(&format!("{prefix}/health")).get(health).resource())
            .service(at(&format!("{prefix}/ready")).get(ready).resource());
    }
}

async fn root() -> Answer {
    Ok(respond::empty(StatusCode::OK))
}

/// The process is alive; asks nothing else.
async fn health() -> Answer {
    Ok(respond::text("Ok"))
}

/// The store is open and the schedule is loaded.
async fn ready(app: web::Data<App>) -> Answer {
    if app.is_ready().await {
        return Ok(respond::text("Ok"));
    }
    Err(ApiError::new(StatusCode::SERVICE_UNAVAILABLE, "not-ready", "not ready: starting or stopping"))
}

/// The release of ABS that is spoken; our own is in the `Server` header (rules.md 7.1).
#[derive(Serialize, utoipa::ToSchema)]
#[serde(rename_all = "kebab-case")]
pub(super) struct Version {
    /// The release of ABS that is spoken.
    #[serde(rename = "version")]
    level: &'static str,
    /// `unknown` unless it was built with one.
    build_time: &'static str,
    /// `unknown` unless it was built with one.
    commit: &'static str,
}

impl Version {
    /// This build's.
    pub(super) fn of(level: AbsLevel) -> Self {
        Self {
            level: match level {
                AbsLevel::V3_5 => "3.5.0",
                AbsLevel::V3_6 => "3.6.0",
                AbsLevel::V3_7 => "3.7.0",
            },
            build_time: option_env!("HOLDFAST_BUILD_TIME").unwrap_or("unknown"),
            commit: option_env!("HOLDFAST_COMMIT").unwrap_or("unknown"),
        }
    }
}

async fn version(app: web::Data<App>) -> Answer {
    respond::json(&Version::of(app.config().service().compatibility))
}

async fn metrics(app: web::Data<App>) -> Answer {
    let text = app.metrics_text().await?;
    Ok(HttpResponse::Ok().content_type("text/plain; version=0.0.4; charset=utf-8").body(text))
}
