//! The configuration, to read; and the order to read its file again.

use std::collections::BTreeMap;

use actix_web::http::StatusCode;
use actix_web::web;
use serde::Serialize;

use super::endpoint::at;
use super::error::{Answer, ApiError};
use super::respond;
use crate::app::App;

pub(super) fn routes(scope: &mut web::ServiceConfig) {
    scope
        .service(at("/v1/config").get(whole).resource())
        .service(at("/v1/config/apply").post(apply).resource())
        .service(at("/v1/config/clusters").get(clusters).resource())
        .service(at("/v1/config/policies").get(policies).resource())
        .service(at("/v1/config/routines").get(routines).resource())
        .service(at("/v1/config/storage").get(storages).resource())
        .service(at("/v1/config/clusters/{name}").get(cluster).resource())
        .service(at("/v1/config/policies/{name}").get(policy).resource())
        .service(at("/v1/config/routines/{name}").get(routine).resource())
        .service(at("/v1/config/storage/{name}").get(storage).resource());
}

async fn whole(app: web::Data<App>) -> Answer {
    respond::json(app.config().as_ref())
}

/// Reads the configuration's file again (abs.md 4.5).
async fn apply(app: web::Data<App>) -> Answer {
    app.reload().await.map_err(ApiError::reload)?;
    Ok(respond::empty(StatusCode::OK))
}

async fn clusters(app: web::Data<App>) -> Answer {
    respond::json(&app.config().aerospike_clusters)
}

async fn policies(app: web::Data<App>) -> Answer {
    respond::json(&app.config().backup_policies)
}

async fn routines(app: web::Data<App>) -> Answer {
    respond::json(&app.config().backup_routines)
}

async fn storages(app: web::Data<App>) -> Answer {
    respond::json(&app.config().storage)
}

async fn cluster(app: web::Data<App>, name: web::Path<String>) -> Answer {
    one("cluster", &name, &app.config().aerospike_clusters)
}

async fn policy(app: web::Data<App>, name: web::Path<String>) -> Answer {
    one("policy", &name, &app.config().backup_policies)
}

async fn routine(app: web::Data<App>, name: web::Path<String>) -> Answer {
    one("routine", &name, &app.config().backup_routines)
}

async fn storage(app: web::Data<App>, name: web::Path<String>) -> Answer {
    one("storage", &name, &app.config().storage)
}

fn one<T: Serialize>(kind: &str, name: &str, all: &BTreeMap<String, T>) -> Answer {
    all.get(name).map_or_else(|| Err(ApiError::unknown(kind, name)), respond::json)
}
