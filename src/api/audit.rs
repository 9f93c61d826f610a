//! Who has changed what; ours.

use actix_web::{HttpRequest, web};
use serde::Serialize;

use super::endpoint::at;
use super::error::Answer;
use super::query::Query;
use super::respond;
use crate::app::App;
use crate::model::UnixMillis;
use crate::store::{AuditFilter, AuditRow};

/// The size of a page when `limit` does not say, and the largest.
const LIMITS: (i64, i64) = (100, 1000);

pub(super) fn routes(scope: &mut web::ServiceConfig) {
    scope.service(at("/v1/audit").get(list).resource());
}

/// `GET /v1/audit`.
#[derive(Serialize, utoipa::ToSchema)]
#[schema(as = AuditPage)]
pub(super) struct Page {
    /// The newest first.
    requests: Vec<Shown>,
    /// What to give as `cursor` for the next page; none: this is the last.
    next: Option<String>,
}

/// A request that was to change something.
#[derive(Serialize, utoipa::ToSchema)]
#[serde(rename_all = "kebab-case")]
#[schema(as = AuditedRequest)]
struct Shown {
    /// Counted up.
    id: i64,
    /// When it came, RFC 3339.
    at: String,
    /// The name of the caller; null without authentication.
    who: Option<String>,
    /// Its address.
    client: Option<String>,
    /// As in `X-Request-Id`.
    request_id: String,
    /// The method.
    method: String,
    /// With the query; at most 1,024 characters.
    path: String,
    /// Null: not answered, or the process ended before that was written.
    status: Option<u16>,
    /// The code of the refusal, if it is one.
    code: Option<String>,
    /// The job that it made.
    job: Option<i64>,
    /// When it was answered, RFC 3339.
    ended: Option<String>,
}

impl Page {
    /// One page.
    pub(super) fn of(rows: Vec<AuditRow>, next: Option<i64>) -> Self {
        Self { requests: rows.into_iter().map(Shown::of).collect(), next: next.map(|id| id.to_string()) }
    }
}

impl Shown {
    fn of(row: AuditRow) -> Self {
        Self {
            id: row.id,
            at: row.at.to_rfc3339(),
            who: row.request.who,
            client: row.request.client,
            request_id: row.request.request_id,
            method: row.request.method,
            path: row.request.path,
            status: row.status,
            code: row.code,
            job: row.job.map(|id| id.0),
            ended: row.ended.map(UnixMillis::to_rfc3339),
        }
    }
}

async fn list(app: web::Data<App>, request: HttpRequest) -> Answer {
    let query = Query::of(&request)?.only(&["who", "from", "to", "limit", "cursor"])?;
    let bounds = query.time_bounds()?;
    let filter = AuditFilter {
        who: query.text("who").map(str::to_owned),
        from: bounds.from,
        to: bounds.before(),
        before: query.integer("cursor")?,
    };
    let (rows, next) = app.audit(&filter, query.limit(LIMITS.0, LIMITS.1)?).await?;
    respond::json(&Page::of(rows, next))
}
