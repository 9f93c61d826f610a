//! Backups: the triggers, cancel, what runs now, and the lists (abs.md 1.2).

use std::collections::BTreeMap;

use actix_web::http::{StatusCode, header};
use actix_web::{HttpRequest, HttpResponse, web};

use super::access;
use super::endpoint::at;
use super::error::{Answer, ApiError};
use super::query::{Query, whole_number};
use super::{abs, job, respond, zip};
use crate::app::{App, BackupTrigger};
use crate::catalog::details::BackupDetails;
use crate::jobs::Asked;
use crate::model::{BackupType, UnixMillis};
use crate::retention::DeletionRequest;

/// A longer delay is a mistake of unit: ten years, in milliseconds.
const DELAY_MS_MAX: i64 = 10 * 365 * 86_400_000;

pub(super) fn routes(scope: &mut web::ServiceConfig) {
    scope
        .service(at("/v1/backups/full").get(all_fulls).resource())
        .service(at("/v1/backups/incremental").get(all_incrementals).resource())
        .service(at("/v1/backups/full/{name}").get(fulls).post(trigger_full).resource())
        .service(at("/v1/backups/incremental/{name}").get(incrementals).post(trigger_incremental).resource())
        .service(at("/v1/backups/full/{name}/{timestamp}").get(one_full).delete(delete_full).resource())
        .service(
            at("/v1/backups/incremental/{name}/{timestamp}")
                .get(one_incremental)
                .delete(delete_incremental)
                .resource(),
        )
        .service(at("/v1/backups/restore-points/{name}").get(restore_points).resource())
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
    let query = Query::of(&request)?.only(&["from", "to", "storage", "strict", "label"])?;
    let (bounds, strict) = (query.time_bounds()?, query.flag("strict")?);
    known_routine(&app, &name)?;
    let asked = Asked::of(&request)?;
    let row = app.trigger_verify(&name, query.text("storage"), bounds, asked).await?;
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
    let query = Query::of(request)?;
    let (bounds, refresh) = (query.time_bounds()?, query.flag("refresh")?);
    let config = app.config();
    let reach = access::caller(request);
    let names = config.backup_routines.keys().map(String::as_str);
    let names: Vec<&str> =
        names.filter(|name| reach.as_ref().is_none_or(|caller| caller.reaches(name))).collect();
    let cached = app.backups(&names, backup_type, bounds, refresh).await?;
    let shown: BTreeMap<&str, &[BackupDetails]> =
        cached.routines.iter().map(|(name, backups)| (name.as_str(), backups.as_ref())).collect();
    respond::body(&mut respond::cached(&cached), &shown)
}

async fn fulls(app: web::Data<App>, request: HttpRequest, name: web::Path<String>) -> Answer {
    list(&app, &request, &name, BackupType::Full).await
}

async fn incrementals(app: web::Data<App>, request: HttpRequest, name: web::Path<String>) -> Answer {
    list(&app, &request, &name, BackupType::Incremental).await
}

async fn list(app: &App, request: &HttpRequest, name: &str, backup_type: BackupType) -> Answer {
    let query = Query::of(request)?;
    let (bounds, refresh) = (query.time_bounds()?, query.flag("refresh")?);
    known_routine(app, name)?;
    let cached = app.backups(&[name], backup_type, bounds, refresh).await?;
    let backups = cached.routines.get(name).map(AsRef::as_ref).unwrap_or_default();
    respond::body(&mut respond::cached(&cached), &backups)
}

async fn one_full(app: web::Data<App>, path: web::Path<(String, String)>) -> Answer {
    one(&app, path, BackupType::Full).await
}

async fn one_incremental(app: web::Data<App>, path: web::Path<(String, String)>) -> Answer {
    one(&app, path, BackupType::Incremental).await
}

/// Ours: one backup with its files, its chain, and what needs it.
async fn one(app: &App, path: web::Path<(String, String)>, backup_type: BackupType) -> Answer {
    let (name, timestamp) = run_of(app, path)?;
    respond::json(&app.backup_view(&name, backup_type, timestamp).await?)
}

async fn delete_full(app: web::Data<App>, request: HttpRequest, path: web::Path<(String, String)>) -> Answer {
    delete(&app, &request, path, BackupType::Full).await
}

async fn delete_incremental(
    app: web::Data<App>,
    request: HttpRequest,
    path: web::Path<(String, String)>,
) -> Answer {
    delete(&app, &request, path, BackupType::Incremental).await
}

/// Ours: 202 with the job and its `Location`; 409 where something else needs the backup.
async fn delete(
    app: &App,
    request: &HttpRequest,
    path: web::Path<(String, String)>,
    backup_type: BackupType,
) -> Answer {
    let query = Query::of(request)?.only(&["cascade", "dry-run"])?;
    let (cascade, dry_run) = (query.flag("cascade")?, query.flag("dry-run")?);
    let (name, timestamp) = run_of(app, path)?;
    let asked = DeletionRequest { backup_type, timestamp, cascade };
    if dry_run {
        return respond::json(&app.deletion(&name, &asked).await?);
    }
    let requested_by = access::requested_by(request);
    let row = app.trigger_deletion(&name, &asked, requested_by).await?;
    let mut answer = HttpResponse::build(StatusCode::ACCEPTED);
    answer.insert_header((header::LOCATION, format!("{}v1/jobs/{}", app.context_path(), row.id)));
    respond::body(&mut answer, &job::Summary::of(row.head()))
}

/// Ours: the moments that one can restore to.
async fn restore_points(app: web::Data<App>, request: HttpRequest, name: web::Path<String>) -> Answer {
    let query = Query::of(&request)?.only(&["from", "to", "limit"])?;
    let (bounds, limit) = (query.time_bounds()?, query.limit(100, 1000)?);
    known_routine(&app, &name)?;
    respond::json(&app.restore_points(&name, bounds, limit as usize).await?)
}

/// The routine and the instant of a run's path.
fn run_of(app: &App, path: web::Path<(String, String)>) -> Result<(String, UnixMillis), ApiError> {
    let (name, timestamp) = path.into_inner();
    let timestamp = whole_number(&timestamp)
        .ok_or_else(|| ApiError::parameter("timestamp", "should be a positive integer"))?;
    known_routine(app, &name)?;
    Ok((name, UnixMillis(timestamp)))
}

/// A zip of what the nodes had said of their configuration beside the newest full by then (abs.md 1.2).
async fn configuration(app: web::Data<App>, path: web::Path<(String, String)>) -> Answer {
    let (name, timestamp) = path.into_inner();
    let timestamp = whole_number(&timestamp)
        .ok_or_else(|| ApiError::parameter("timestamp", "should be a positive integer"))?;
    known_routine(&app, &name)?;
    let files = app.cluster_configuration(&name, UnixMillis(timestamp)).await?;
    Ok(HttpResponse::Ok()
        .insert_header((header::CONTENT_TYPE, "application/zip"))
        .insert_header((header::CONTENT_DISPOSITION, "attachment; filename=\"archive.zip\""))
        .insert_header((header::X_CONTENT_TYPE_OPTIONS, "nosniff"))
        .body(zip::archive(&files)))
}

pub(super) fn known_routine(app: &App, name: &str) -> Result<(), ApiError> {
    if app.config().backup_routines.contains_key(name) {
        Ok(())
    } else {
        Err(ApiError::unknown("routine", name))
    }
}
