//! The configuration: to read, to change, and the order to read its file again (abs.md 1.2, 4.5).

mod refusal;

use actix_web::http::{StatusCode, header};
use actix_web::{HttpRequest, HttpResponse, web};
use serde::Serialize;

use super::endpoint::{Endpoint, at};
use super::error::{Answer, ApiError};
use super::query::Query;
use super::{respond, restores};
use crate::app::{App, ChangeOptions, Changed, ConfigChange, ReloadSource};
use crate::config::{ConfigPart, EntityKind, FieldChange};

/// The file that has the comments which the new one has lost.
const REWRITTEN: &str = "holdfast-config-rewritten";

pub(super) fn routes(scope: &mut web::ServiceConfig) {
    scope
        .service(at("/v1/config").get(whole).put(replace).resource())
        .service(at("/v1/config/apply").post(apply).resource())
        .service(at("/v1/config/status").get(status).resource())
        .service(at("/v1/config/routines/{name}/enable").put(enable).resource())
        .service(at("/v1/config/routines/{name}/disable").put(disable).resource());
    for (all, one, kind) in [
        (at("/v1/config/clusters"), at("/v1/config/clusters/{name}"), EntityKind::Cluster),
        (at("/v1/config/policies"), at("/v1/config/policies/{name}"), EntityKind::Policy),
        (at("/v1/config/routines"), at("/v1/config/routines/{name}"), EntityKind::Routine),
        (at("/v1/config/storage"), at("/v1/config/storage/{name}"), EntityKind::Storage),
        (at("/v1/config/secret-agents"), at("/v1/config/secret-agents/{name}"), EntityKind::SecretAgent),
    ] {
        scope.service(section(all, kind).resource()).service(thing(one, kind).resource());
    }
}

fn section(endpoint: Endpoint, kind: EntityKind) -> Endpoint {
    endpoint.get(move |app: web::Data<App>| async move { shown(&app, &ConfigPart::All(kind)) })
}

fn thing(endpoint: Endpoint, kind: EntityKind) -> Endpoint {
    type Name = web::Path<String>;
    endpoint
        .get(move |app: web::Data<App>, name: Name| async move {
            shown(&app, &ConfigPart::One(kind, name.into_inner()))
        })
        .post(move |app: web::Data<App>, request: HttpRequest, name: Name, body: web::Payload| async move {
            let change = ConfigChange::Add(kind, name.into_inner(), restores::body(body).await?);
            changed(&app, &request, change, StatusCode::CREATED).await
        })
        .put(move |app: web::Data<App>, request: HttpRequest, name: Name, body: web::Payload| async move {
            let change = ConfigChange::Update(kind, name.into_inner(), restores::body(body).await?);
            changed(&app, &request, change, StatusCode::OK).await
        })
        .delete(move |app: web::Data<App>, request: HttpRequest, name: Name| async move {
            let change = ConfigChange::Delete(kind, name.into_inner());
            changed(&app, &request, change, StatusCode::NO_CONTENT).await
        })
}

async fn whole(app: web::Data<App>) -> Answer {
    shown(&app, &ConfigPart::Whole)
}

async fn replace(app: web::Data<App>, request: HttpRequest, body: web::Payload) -> Answer {
    let change = ConfigChange::Replace(restores::body(body).await?);
    changed(&app, &request, change, StatusCode::OK).await
}

async fn enable(app: web::Data<App>, request: HttpRequest, name: web::Path<String>) -> Answer {
    let change = ConfigChange::Disable(name.into_inner(), false);
    changed(&app, &request, change, StatusCode::NO_CONTENT).await
}

async fn disable(app: web::Data<App>, request: HttpRequest, name: web::Path<String>) -> Answer {
    let change = ConfigChange::Disable(name.into_inner(), true);
    changed(&app, &request, change, StatusCode::NO_CONTENT).await
}

/// Reads the configuration's file again (abs.md 4.5).
async fn apply(app: web::Data<App>) -> Answer {
    app.reload().await.map_err(ApiError::reload)?;
    Ok(respond::empty(StatusCode::OK))
}

/// Ours: since when the configuration is in force, and what became of the last one that was read.
async fn status(app: web::Data<App>) -> Answer {
    let status = app.config_status();
    respond::json(&Status {
        file: status.file,
        etag: app.config_etag(&ConfigPart::Whole),
        in_force_since: status.in_force_since.to_rfc3339(),
        in_force_by: status.in_force_by,
        last_read: status.last_read.to_rfc3339(),
        last_read_taken: status.refused.is_empty(),
        problems: status.refused,
    })
}

/// `GET /v1/config/status`.
#[derive(Serialize, utoipa::ToSchema)]
#[serde(rename_all = "kebab-case")]
#[schema(as = ConfigStatus)]
pub(super) struct Status {
    /// The path of the file; null: there is none.
    pub(super) file: Option<String>,
    /// The tag of the whole.
    pub(super) etag: Option<String>,
    /// RFC 3339.
    pub(super) in_force_since: String,
    /// Who had it read.
    pub(super) in_force_by: ReloadSource,
    /// When the file was last read, RFC 3339.
    pub(super) last_read: String,
    /// Whether that is in force.
    pub(super) last_read_taken: bool,
    /// Of the last file that was refused.
    pub(super) problems: Vec<String>,
}

/// A part as it is, secrets as `[secret]`, with its tag.
fn shown(app: &App, part: &ConfigPart) -> Answer {
    let config = app.config();
    let Some(body) = config.part_json(part) else {
        return Err(match part {
            ConfigPart::One(kind, name) => ApiError::unknown(kind.word(), name),
            _ => ApiError::no_such_path(),
        });
    };
    let mut answer = HttpResponse::Ok();
    if let Some(tag) = app.config_etag(part) {
        answer.insert_header((header::ETAG, tag));
    }
    Ok(answer.insert_header((header::CONTENT_TYPE, "application/json")).body(body))
}

/// The change made, answered with `status` and the new tag; with `dry-run=true` what it would change, as 200.
async fn changed(app: &App, request: &HttpRequest, change: ConfigChange, status: StatusCode) -> Answer {
    let dry_run = Query::of(request)?.flag("dry-run")?;
    let options = ChangeOptions { if_match: if_match(request), dry_run };
    let level = app.config().service().compatibility;
    let changed =
        app.change_config(change, options).await.map_err(|refused| refusal::answer(refused, level))?;
    if dry_run {
        let Changed { fields, affected, old_file, .. } = changed;
        return respond::json(&DryRun { changes: fields, affected, file_rewritten: old_file.is_some() });
    }
    let mut answer = HttpResponse::build(status);
    if let Some(tag) = changed.etag {
        answer.insert_header((header::ETAG, tag));
    }
    if let Some(old) = changed.old_file {
        answer.insert_header((REWRITTEN, old));
    }
    Ok(answer.finish())
}

/// What a change would do.
#[derive(Serialize, utoipa::ToSchema)]
#[serde(rename_all = "kebab-case")]
pub(super) struct DryRun {
    /// Field by field.
    pub(super) changes: Vec<FieldChange>,
    /// Routines whose next job would run otherwise.
    pub(super) affected: Vec<String>,
    /// Whether the file would lose its comments.
    pub(super) file_rewritten: bool,
}

/// The tags of `If-Match` (RFC 9110 13.1.1); none if the header is not there. A weak one matches nothing.
fn if_match(request: &HttpRequest) -> Option<Vec<String>> {
    let mut given = request.headers().get_all(header::IF_MATCH).peekable();
    given.peek()?;
    let tags = given.filter_map(|value| value.to_str().ok()).flat_map(|value| value.split(','));
    Some(tags.map(|tag| tag.trim().to_owned()).collect())
}
