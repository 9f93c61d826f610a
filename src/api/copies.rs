//! Copies on demand (ours).

use actix_web::{HttpRequest, web};

use super::endpoint::at;
use super::error::{Answer, ApiError};
use super::query::Query;
use super::restores::{body, refused};
use super::{access, respond};
use crate::app::App;
use crate::config::{self, CopyOrder};
use crate::jobs::Asked;

pub(super) fn routes(scope: &mut web::ServiceConfig) {
    scope.service(at("/v1/backups/copy").post(copy).resource());
}

/// As a trigger of a backup answers; a disabled routine's backups are copied, too.
async fn copy(app: web::Data<App>, request: HttpRequest, payload: web::Payload) -> Answer {
    let query = Query::of(&request)?.only(&["strict", "label"])?;
    let strict = query.flag("strict")?;
    let body = body(payload).await?;
    let order: CopyOrder = config::from_json(&body, app.now()).map_err(|problems| refused(&problems))?;
    if let Some(caller) = access::caller(&request).filter(|caller| !caller.reaches(&order.routine)) {
        return Err(ApiError::out_of_reach(&caller.name));
    }
    let row = app.trigger_copy(&order, Asked::of(&request)?).await?;
    respond::admitted(&app, &request, &row, strict)
}
