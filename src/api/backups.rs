//! Backups: the triggers, cancel, what runs now, and the lists (abs.md 1.2).

use std::collections::BTreeMap;

use actix_web::http::StatusCode;
use actix_web::{HttpRequest, web};

use super::access;
use super::endpoint::at;
use super::error::{Answer, ApiError};
use super::query::{Query, whole_number};
use super::{abs, respond};
use crate::app::{App, BackupTrigger};
use crate::catalog::details::BackupDetails;
use crate::jobs::Asked;
use crate::model::BackupType;

/// A longer delay is a mistake of unit: ten years, in milliseconds.
const DELAY_MS_MAX: i64 = 10 * 365 * 86_400_000;

pub(super) fn routes(scope: &mut web::ServiceConfig) {
    scope
        .service(at("/v1/backups/full").get(all_fulls).resource())
        .service(at("/v1/backups/incremental").get(all_incrementals).resource())
        .service(at("/v1/backups/full/{name}").get(fulls).post(trigger_full).resource())
        .service(at("/v1/backups/incremental/{name}").get(incrementals).post(trigger_incremental).resource())
        // The old name of the full trigger.
        .service(at("/v1/backups/schedule/{name}").post(trigger_full).resource())
        .service(at("/v1/backups/estimate/{name}").get(estimate).resource())
        .service(at("/v1/backups/verify/{name}").post(verify).resource())
        .service(at("/v1/backups/currentBackup/{name}").get(current).resource())
        .service(at("/v1/backups/cancel/{name}").post(cancel).resource())
        .service(at("/v1/retrieve/configuration/{name}/{timestamp}").get(configuration).resource());
}

async fn trigger_full(app: web::Data<App>, request: HttpRequest, name: web::Path<String>) -> Answer {
    trigger(&app, &request, &name, BackupType::Full).await
}

async fn trigger_incremental(app: web::Data<App>, request: HttpRequest, name: web::Path<String>) -> Answer {
    trigger(&app, &request, &name, BackupType::Incremental).await
}

/// 202 with an empty body and `Location`; the job as JSON when it is asked for by name (rules.md 2.3).
async fn trigger(app: &App, request: &HttpRequest, name: &str, backup_type: BackupType) -> Answer {
    let query = Query::of(request)?;
    let delay_ms = query.integer("delay")?.unwrap_or(0);
    if delay_ms > DELAY_MS_MAX {
        return Err(ApiError::parameter("delay", format!("should be at most {DELAY_MS_MAX}")));
    }
    let strict = query.flag("strict")?;
    known_routine(app, name)?;
    let asked = Asked::of(request)?;
    let row =
        app.trigger_backup(BackupTrigger { routine: name.to_owned(), backup_type, delay_ms, asked }).await?;
    respond::admitted(app, request, &row, strict)
}

/// Ours: reads backups again; a disabled routine's, too.
async fn verify(app: web::Data<App>, request: HttpRequest, name: web::Path<String>) -> Answer {
    let query = Query::of(&request)?.only(&["from", "to", "strict", "label"])?;
    let (bounds, strict) = (query.time_bounds()?, query.flag("strict")?);
    known_routine(&app, &name)?;
    let asked = Asked::of(&request)?;
    let row = app.trigger_verify(&name, bounds, asked).await?;
    respond::admitted(&app, &request, &row, strict)
}

/// Ours: how much a backup would hold; a disabled routine's, too.
async fn estimate(app: web::Data<App>, request: HttpRequest, name: web::Path<String>) -> Answer {
    let query = Query::of(&request)?.only(&["type"])?;
    let backup_type = match query.text("type") {
        None | Some("full") => BackupType::Full,
        Some("incremental") => BackupType::Incremental,
        Some(_) => return Err(ApiError::parameter("type", "should be full or incremental")),
    };
    known_routine(&app, &name)?;
    respond::json(&app.estimate(&name, backup_type).await?)
}

/// 202 also when nothing runs (abs.md 1.2).
async fn cancel(app: web::Data<App>, name: web::Path<String>) -> Answer {
    known_routine(&app, &name)?;
    app.cancel_backups(&name).await?;
    Ok(respond::empty(StatusCode::ACCEPTED))
}

async fn current(app: web::Data<App>, name: web::Path<String>) -> Answer {
    known_routine(&app, &name)?;
    let state = app.routine_state(&name).await?;
    respond::json(&abs::RoutineState::of(&state, app.config().service().compatibility))
}

async fn all_fulls(app: web::Data<App>, request: HttpRequest) -> Answer {
    list_all(&app, &request, BackupType::Full).await
}

async fn all_incrementals(app: web::Data<App>, request: HttpRequest) -> Answer {
    list_all(&app, &request, BackupType::Incremental).await
}

async fn list_all(app: &App, request: &HttpRequest, backup_type: BackupType) -> Answer {
    let bounds = Query::of(request)?.time_bounds()?;
    let config = app.config();
    let mut all: BTreeMap<&str, Vec<BackupDetails>> = BTreeMap::new();
    let reach = access::caller(request);
    let names = config.backup_routines.keys();
    for name in names.filter(|name| reach.as_ref().is_none_or(|caller| caller.reaches(name))) {
        all.insert(name, app.backups(name, backup_type, bounds).await?);
    }
    respond::json(&all)
}

async fn fulls(app: web::Data<App>, request: HttpRequest, name: web::Path<String>) -> Answer {
    list(&app, &request, &name, BackupType::Full).await
}

async fn incrementals(app: web::Data<App>, request: HttpRequest, name: web::Path<String>) -> Answer {
    list(&app, &request, &name, BackupType::Incremental).await
}

async fn list(app: &App, request: &HttpRequest, name: &str, backup_type: BackupType) -> Answer {
    let bounds = Query::of(request)?.time_bounds()?;
    known_routine(app, name)?;
    respond::json(&app.backups(name, backup_type, bounds).await?)
}

/// ABS gives a zip of the cluster's configuration files; storing them is not built.
async fn configuration(app: web::Data<App>, path: web::Path<(String, String)>) -> Answer {
    let (name, timestamp) = path.into_inner();
    whole_number(&timestamp)
        .ok_or_else(|| ApiError::parameter("timestamp", "should be a positive integer"))?;
    known_routine(&app, &name)?;
    Err(ApiError::new(
        StatusCode::NOT_IMPLEMENTED,
        "not-built",
        "retrieving the cluster's configuration is not built yet",
    ))
}

pub(super) fn known_routine(app: &App, name: &str) -> Result<(), ApiError> {
    if app.config().backup_routines.contains_key(name) {
        Ok(())
    } else {
        Err(ApiError::unknown("routine", name))
    }
}
