//! The cache of the catalog: what it knows, and reading storage into it (ours).

use actix_web::{HttpRequest, web};

use super::access;
use super::backups::known_routine;
use super::endpoint::at;
use super::error::{Answer, ApiError};
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

/// The routine of the request, or all that the caller has to do with.
fn named(app: &App, request: &HttpRequest) -> Result<Vec<String>, ApiError> {
    let query = Query::of(request)?.only(&["routine"])?;
    let caller = access::caller(request);
    let reached = |name: &str| caller.as_ref().is_none_or(|caller| caller.reaches(name));
    let Some(name) = query.text("routine") else {
        let config = app.config();
        return Ok(config.backup_routines.keys().filter(|name| reached(name)).cloned().collect());
    };
    if let Some(caller) = caller.as_ref().filter(|caller| !caller.reaches(name)) {
        return Err(ApiError::forbidden(format!(
            "{} has nothing to do with routine \"{name}\"",
            caller.name
        )));
    }
    known_routine(app, name)?;
    Ok(vec![name.to_owned()])
}
