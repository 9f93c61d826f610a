//! Whose a routine's folder in storage is, and taking it over (rules.md 5.5); ours.

use actix_web::{HttpRequest, web};

use super::endpoint::at;
use super::error::{Answer, ApiError};
use super::query::Query;
use super::respond;
use crate::app::App;

pub(super) fn routes(scope: &mut web::ServiceConfig) {
    scope
        .service(at("/v1/routines/{name}/owner").get(owner).resource())
        .service(at("/v1/routines/{name}/adopt").post(adopt).resource());
}

async fn owner(app: web::Data<App>, request: HttpRequest, name: web::Path<String>) -> Answer {
    known(&app, &name)?;
    respond::json(&app.routine_owner(&name, Query::of(&request)?.text("storage")).await?)
}

async fn adopt(app: web::Data<App>, request: HttpRequest, name: web::Path<String>) -> Answer {
    known(&app, &name)?;
    respond::json(&app.adopt(&name, Query::of(&request)?.text("storage")).await?)
}

fn known(app: &App, name: &str) -> Result<(), ApiError> {
    let known = app.config().backup_routines.contains_key(name);
    if known { Ok(()) } else { Err(ApiError::unknown("routine", name)) }
}
