//! Retention: what it would do, and doing it now (ours).

use actix_web::http::{StatusCode, header};
use actix_web::{HttpRequest, HttpResponse, web};

use super::backups::known_routine;
use super::endpoint::at;
use super::error::Answer;
use super::query::Query;
use super::{job, respond};
use crate::app::App;
use crate::jobs::Asked;

pub(super) fn routes(scope: &mut web::ServiceConfig) {
    scope.service(at("/v1/retention/{routine}").get(look).post(trigger).resource());
}

async fn look(app: web::Data<App>, routine: web::Path<String>) -> Answer {
    known_routine(&app, &routine)?;
    respond::json(&app.retention(&routine).await?)
}

/// 202 with the job and its `Location`.
async fn trigger(app: web::Data<App>, request: HttpRequest, routine: web::Path<String>) -> Answer {
    known_routine(&app, &routine)?;
    let (query, asked) = (Query::of(&request)?, Asked::of(&request)?);
    let row = app.trigger_retention(&routine, query.text("storage"), asked).await?;
    let mut answer = HttpResponse::build(StatusCode::ACCEPTED);
    answer.insert_header((header::LOCATION, format!("{}v1/jobs/{}", app.context_path(), row.id)));
    respond::body(&mut answer, &job::Summary::of(row.head()))
}
