//! The page that shows the API's description, and the description itself; nothing of it comes from the network.

use std::sync::Arc;

use actix_web::http::{StatusCode, header};
use actix_web::{HttpResponse, web};
use serde_json::json;

use super::endpoint::at;
use super::error::{Answer, ApiError};
use super::{openapi, respond};
use crate::app::App;
use crate::error::Error;

/// The description: the name that it has in ABS.
const DOCUMENT: &str = "doc.json";

/// The page runs its own scripts and asks this service, nobody else. Its styles and pictures are also made by its scripts.
const CONTENT_SECURITY: &str = "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; \
    connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

pub(super) fn routes(scope: &mut web::ServiceConfig) {
    scope
        .service(at("/api-docs").get(lead).resource())
        .service(at("/api-docs/").get(page).resource())
        .service(at("/api-docs/{file}").get(file).resource());
}

async fn lead(app: web::Data<App>) -> Answer {
    let mut answer = HttpResponse::build(StatusCode::MOVED_PERMANENTLY);
    Ok(answer.insert_header((header::LOCATION, format!("{}api-docs/", app.context_path()))).finish())
}

async fn page() -> Answer {
    asset("index.html")
}

async fn file(app: web::Data<App>, name: web::Path<String>) -> Answer {
    if *name != DOCUMENT {
        return asset(&name);
    }
    let mut document = openapi::document().clone();
    if let Some(url) = document.pointer_mut("/servers/0/url") {
        *url = json!(app.context_path());
    }
    respond::json(&document)
}

/// A file of the page, from the program itself.
fn asset(name: &str) -> Answer {
    let config = Arc::new(utoipa_swagger_ui::Config::from(DOCUMENT));
    let found = utoipa_swagger_ui::serve(name, config)
        .map_err(|error| Error::permanent("api-answer", format!("make the page: {error}")))?;
    let file = found.ok_or_else(|| ApiError::new(StatusCode::NOT_FOUND, "not-found", "no such file"))?;
    let content_type = match file.content_type.as_str() {
        "text/html" => "text/html; charset=utf-8".to_owned(),
        other => other.to_owned(),
    };
    Ok(HttpResponse::Ok()
        .insert_header((header::CONTENT_TYPE, content_type))
        .insert_header((header::CONTENT_SECURITY_POLICY, CONTENT_SECURITY))
        .body(file.bytes.into_owned()))
}
