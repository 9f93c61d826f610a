//! The cache of the catalog: what it knows, and reading storage into it (ours).

use actix_web::{HttpRequest, web};

use super::backups::known_routine;
use super::endpoint::at;
use super::error::Answer;
use super::query::Query;
use super::respond;
use crate::app::App;
use crate::app::catalog::Depth;

pub(super) fn routes(scope: &mut web::ServiceConfig) {
    scope
        .service(at("/v1/catalog").get(look).resource())
        .service(at("/v1/catalog/refresh").post(refresh).resource());
}

async fn look(app: web::Data<App>, request: HttpRequest) -> Answer {
    let names = named(&app, &request)?;
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    respond::json(&serde_json::json!({ "routines": app.catalog(&names).await? }))
}

/// Answers when storage was read, or was given up: a job would leave a row for what changes nothing, and who asks wants the
/// lists of after it.
async fn refresh(app: web::Data<App>, request: HttpRequest) -> Answer {
    let names = named(&app, &request)?;
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let read = app.refresh_catalog(&names, Some(Depth::Whole)).await?;
    respond::json(&serde_json::json!({ "routines": read }))
}

/// The routine of the request, or all.
fn named(app: &App, request: &HttpRequest) -> Result<Vec<String>, super::error::ApiError> {
    let query = Query::of(request)?.only(&["routine"])?;
    let Some(name) = query.text("routine") else {
        return Ok(app.config().backup_routines.keys().cloned().collect());
    };
    known_routine(app, name)?;
    Ok(vec![name.to_owned()])
}
