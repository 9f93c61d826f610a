//! Jobs of every kind: ours, beside what ABS has.

use actix_web::http::StatusCode;
use actix_web::{HttpRequest, web};

use super::access;
use super::endpoint::at;
use super::error::{Answer, ApiError};
use super::query::{self, Query};
use super::{job, respond, status};
use crate::app::App;
use crate::jobs::Asked;
use crate::model::JobKind;
use crate::store::{JobFilter, JobId};

/// The size of a page when `limit` does not say.
const LIMIT: i64 = 100;

/// The largest page.
const LIMIT_MAX: i64 = 1000;

const PARAMETERS: [&str; 8] = ["kind", "routine", "label", "status", "from", "to", "limit", "cursor"];

pub(super) fn routes(scope: &mut web::ServiceConfig) {
    scope
        .service(at("/v1/jobs").get(list).resource())
        .service(at("/v1/jobs/{id}").get(detail).resource())
        .service(at("/v1/jobs/{id}/cancel").post(cancel).resource())
        .service(at("/v1/jobs/{id}/retry").post(retry).resource());
}

async fn list(app: web::Data<App>, request: HttpRequest) -> Answer {
    let query = Query::of(&request)?.only(&PARAMETERS)?;
    let bounds = query.time_bounds()?;
    let wanted = query.text("status").map(status::jobs).transpose()?.unwrap_or_default();
    let kind = |word| {
        JobKind::parse(word)
            .ok_or_else(|| ApiError::parameter("kind", "should be backup, restore, retention or verify"))
    };
    let filter = JobFilter {
        kind: query.text("kind").map(kind).transpose()?,
        routines: access::limited_to(&request),
        label: query.text("label").map(str::to_owned),
        routine: query.text("routine").map(str::to_owned),
        status: wanted.statuses,
        exclude: wanted.exclude,
        from: bounds.from,
        to: bounds.before(),
        before: query.integer("cursor")?.map(JobId),
    };
    let page = app.jobs(&filter, query.limit(LIMIT, LIMIT_MAX)?).await?;
    respond::json(&job::Page::of(page))
}

async fn detail(app: web::Data<App>, id: web::Path<String>) -> Answer {
    let id = query::job_id(&id)?;
    let view = app.job(JobId(id)).await?.ok_or_else(|| ApiError::unknown_job(id))?;
    respond::json(&job::Detail::of(view))
}

/// 202 with `Location`, as a trigger; 409 for a job that cannot be tried again (rules.md 2.5).
async fn retry(app: web::Data<App>, request: HttpRequest, id: web::Path<String>) -> Answer {
    let id = query::job_id(&id)?;
    let strict = Query::of(&request)?.only(&["strict", "label"])?.flag("strict")?;
    let asked = Asked::of(&request)?;
    let row = match app.retry_job(JobId(id), asked).await {
        Err(error) if error.code() == "job-not-found" => return Err(ApiError::unknown_job(id)),
        row => row?,
    };
    respond::admitted(&app, &request, &row, strict)
}

/// 202, also for a job that has ended: then nothing happens.
async fn cancel(app: web::Data<App>, id: web::Path<String>) -> Answer {
    let id = query::job_id(&id)?;
    if app.job(JobId(id)).await?.is_none() {
        return Err(ApiError::unknown_job(id));
    }
    app.cancel_job(JobId(id)).await?;
    Ok(respond::empty(StatusCode::ACCEPTED))
}
