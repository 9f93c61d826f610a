//! Restores (abs.md 1.2).

use std::collections::BTreeMap;

use actix_web::http::{StatusCode, header};
use actix_web::{HttpRequest, HttpResponse, web};
use bytes::Bytes;

use super::access;
use super::endpoint::at;
use super::error::{Answer, ApiError};
use super::query::{self, Query};
use super::{abs, respond, status};
use crate::app::App;
use crate::config::{
    self, Problems, RestoreConfig, RestoreEnds, RestoreRequest, RestoreTimestampRequest, Role,
};
use crate::error::Error;
use crate::jobs::Asked;
use crate::model::JobKind;
use crate::store::{JobFilter, JobId};

/// More than this no answer shows (rules.md 7.3).
const SHOWN_MAX: i64 = 1000;

/// The cursor of the next page, where an answer was cut.
const NEXT_CURSOR: &str = "holdfast-next-cursor";

pub(super) fn routes(scope: &mut web::ServiceConfig) {
    scope
        .service(at("/v1/restore/full").post(by_path).resource())
        .service(at("/v1/restore/incremental").post(by_path).resource())
        .service(at("/v1/restore/timestamp").post(by_time).resource())
        .service(at("/v1/restore/jobs").get(list).resource())
        .service(at("/v1/restore/status/{id}").get(state).resource())
        .service(at("/v1/restore/cancel/{id}").post(cancel).resource());
}

async fn by_path(app: web::Data<App>, request: HttpRequest, payload: web::Payload) -> Answer {
    let body = body(payload).await?;
    let mut wanted: RestoreRequest =
        config::from_json(&body, app.now()).map_err(|problems| refused(&problems))?;
    check_inline(&app, &request, &wanted.ends)?;
    app.keep_secrets(&mut wanted.ends);
    let config = app.config().resolve_restore(&wanted).map_err(|problems| refused(&problems))?;
    start(&app, &request, config, wanted.safety.dry_run).await
}

async fn by_time(app: web::Data<App>, request: HttpRequest, payload: web::Payload) -> Answer {
    let body = body(payload).await?;
    let mut wanted: RestoreTimestampRequest =
        config::from_json(&body, app.now()).map_err(|problems| refused(&problems))?;
    check_reach(&app, &request, &wanted)?;
    check_inline(&app, &request, &wanted.ends)?;
    app.keep_secrets(&mut wanted.ends);
    let config = app.config().resolve_restore_timestamp(&wanted).map_err(|problems| refused(&problems))?;
    start(&app, &request, config, wanted.safety.dry_run).await
}

/// Who is limited to routines restores one of them from its storage to its own place: any other end may be another's. What
/// is saved first goes to its storage too.
fn check_reach(app: &App, request: &HttpRequest, wanted: &RestoreTimestampRequest) -> Result<(), ApiError> {
    let Some(caller) = access::caller(request).filter(|caller| caller.routines.is_some()) else {
        return Ok(());
    };
    let own_ends = wanted.ends == RestoreEnds::default() && wanted.policy.namespace.is_none();
    let config = app.config();
    let storage = config.backup_routines.get(&wanted.routine).map(|routine| &routine.storage);
    let own_backup = wanted.safety.backup.as_ref().is_none_or(|backup| Some(&backup.storage) == storage);
    if own_ends && own_backup && caller.reaches(&wanted.routine) {
        Ok(())
    } else {
        Err(ApiError::out_of_reach(&caller.name))
    }
}

/// Whose records go to which cluster is not for everybody to say, where there is somebody who can be told apart.
fn check_inline(app: &App, request: &HttpRequest, ends: &RestoreEnds) -> Result<(), ApiError> {
    if ends.destination.is_none() {
        return Ok(());
    }
    let (caller, allowed) = (access::caller(request), app.config().service().allow_inline_destinations);
    let is_allowed = allowed.unwrap_or_else(|| caller.as_ref().is_none_or(|one| one.role == Role::Admin));
    if is_allowed {
        return Ok(());
    }
    let (text, hint) = match allowed {
        Some(_) => (
            "no restore may name a destination inline: service.allow-inline-destinations is false".to_owned(),
            "Name a configured cluster with destination-name.",
        ),
        None => (
            format!("{} may not name a destination inline", caller.map(|one| one.name).unwrap_or_default()),
            "Name a configured cluster with destination-name; an admin, or all with \
             service.allow-inline-destinations, may name another.",
        ),
    };
    Err(Error::permanent("inline-destination-forbidden", text).hint(hint).into())
}

/// 202 and the id as a bare number, also for a job that was refused: then it is `failed`, with the reason
/// (rules.md 2.1). Of a dry run 200 and the plan.
async fn start(app: &App, request: &HttpRequest, config: RestoreConfig, dry_run: bool) -> Answer {
    if dry_run {
        let mut preview = app.preview_restore(&config).await.map_err(ApiError::plan)?;
        if let Some(caller) = access::caller(request) {
            // Of other routines it is told that a job is in the way, and no more.
            for conflict in &mut preview.conflicts {
                conflict.routine.take_if(|routine| !caller.reaches(routine));
            }
        }
        return respond::json(&preview);
    }
    let asked = Asked::of(request)?;
    let row = app.trigger_restore(config, asked).await?;
    let mut answer = HttpResponse::build(StatusCode::ACCEPTED);
    answer.insert_header((header::LOCATION, format!("{}v1/jobs/{}", app.context_path(), row.id)));
    respond::body(&mut answer, &row.id.0)
}

async fn list(app: web::Data<App>, request: HttpRequest) -> Answer {
    let query = Query::of(&request)?;
    let bounds = query.time_bounds()?;
    let wanted = query.text("status").map(status::restores).transpose()?.unwrap_or_default();
    let filter = JobFilter {
        kind: Some(JobKind::Restore),
        routines: access::limited_to(&request),
        status: wanted.statuses,
        exclude: wanted.exclude,
        from: bounds.from,
        to: bounds.before(),
        before: query.integer("cursor")?.map(JobId),
        ..JobFilter::default()
    };
    let limit = query.limit(SHOWN_MAX, SHOWN_MAX)?;
    let (views, next) = app.job_views(&filter, limit).await?;
    let level = app.config().service().compatibility;
    let shown: BTreeMap<String, abs::RestoreStatus> =
        views.iter().map(|view| (view.job.id.to_string(), abs::RestoreStatus::of(view, level))).collect();
    let mut answer = HttpResponse::Ok();
    if let Some(next) = next {
        answer.insert_header((NEXT_CURSOR, next.to_string()));
    }
    respond::body(&mut answer, &shown)
}

async fn state(app: web::Data<App>, id: web::Path<String>) -> Answer {
    let id = query::job_id(&id)?;
    let view = app.job(JobId(id)).await?.filter(|view| view.job.kind == JobKind::Restore);
    let view = view.ok_or_else(|| ApiError::unknown_job(id))?;
    respond::json(&abs::RestoreStatus::of(&view, app.config().service().compatibility))
}

/// 202 also for a restore that has ended.
async fn cancel(app: web::Data<App>, id: web::Path<String>) -> Answer {
    let id = query::job_id(&id)?;
    let view = app.job(JobId(id)).await?.filter(|view| view.job.kind == JobKind::Restore);
    if view.is_none() {
        return Err(ApiError::unknown_job(id));
    }
    app.cancel_job(JobId(id)).await?;
    Ok(respond::empty(StatusCode::ACCEPTED))
}

/// The request's body, within ABS's limit (abs.md 1.1).
pub(super) async fn body(payload: web::Payload) -> Result<Bytes, ApiError> {
    match payload.to_bytes_limited(config::DOCUMENT_BYTES_MAX).await {
        Ok(Ok(body)) => Ok(body),
        Ok(Err(_)) => Err(ApiError::payload("the body ended early")),
        Err(_) => Err(ApiError::too_large()),
    }
}

/// What is wrong with a request, in ABS's words: the first problem, by whether it can be read at all.
pub(super) fn refused(problems: &Problems) -> ApiError {
    match problems.first() {
        Some(problem) if problem.kind == config::ProblemKind::Shape => ApiError::payload(problem.text()),
        Some(problem) => ApiError::request(problem.text()),
        None => ApiError::request("the request cannot be used"),
    }
}
