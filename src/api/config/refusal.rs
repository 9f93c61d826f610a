//! A refused change in ABS's words, by the release that is spoken (abs.md 1.1, 7.1, 7.2; rules.md 7.1).

use actix_web::http::StatusCode;

use crate::api::error::ApiError;
use crate::app::{ChangeRefusal, ReloadRefusal, ThingCause};
use crate::config::Problems;
use crate::model::status::AbsLevel;

/// One row of the table of what the releases answer.
struct Row {
    code: &'static str,
    /// Until 3.6.
    old: StatusCode,
    /// From 3.7 on.
    new: StatusCode,
}

const MISSING: Row = Row { code: "config-missing", old: StatusCode::BAD_REQUEST, new: StatusCode::NOT_FOUND };
const EXISTS: Row = Row { code: "config-exists", old: StatusCode::BAD_REQUEST, new: StatusCode::CONFLICT };
const IN_USE: Row = Row { code: "config-in-use", old: StatusCode::BAD_REQUEST, new: StatusCode::CONFLICT };
const INVALID: Row =
    Row { code: "config-refused", old: StatusCode::BAD_REQUEST, new: StatusCode::BAD_REQUEST };
const NOT_PERSISTED: Row = Row {
    code: "config-not-persisted",
    old: StatusCode::INTERNAL_SERVER_ERROR,
    new: StatusCode::SERVICE_UNAVAILABLE,
};

impl Row {
    fn answer(&self, level: AbsLevel, text: String) -> ApiError {
        let status = if level == AbsLevel::V3_7 { self.new } else { self.old };
        ApiError::new(status, self.code, text)
    }
}

/// The answer to a change that was not made.
pub fn answer(refusal: ChangeRefusal, level: AbsLevel) -> ApiError {
    match refusal {
        ChangeRefusal::Body(problems) => body(&problems, level),
        ChangeRefusal::Thing { what, thing, cause } => {
            let newest = level == AbsLevel::V3_7;
            let (row, cause) = match cause {
                ThingCause::Missing if newest => (MISSING, format!("{thing} not found")),
                ThingCause::Missing => (MISSING, "item not found".to_owned()),
                ThingCause::Exists if newest => (EXISTS, format!("{thing} already exists")),
                ThingCause::Exists => (EXISTS, "item already exists".to_owned()),
                ThingCause::InUse(user) => (IN_USE, format!("item is in use: it is used in {user}")),
                ThingCause::Invalid(problems) => (INVALID, first(&problems)),
            };
            let what = crate::api::error::printable(&what);
            row.answer(level, format!("invalid request: failed to update configuration: {what}: {cause}"))
        }
        ChangeRefusal::UnknownRoutine(name) => ApiError::unknown("routine", &name),
        ChangeRefusal::Static(change) => ApiError::request(change),
        ChangeRefusal::Stale => ApiError::new(
            StatusCode::PRECONDITION_FAILED,
            "config-changed",
            "the configuration has changed since it was read: If-Match names another state of it",
        ),
        ChangeRefusal::FileEdited(ReloadRefusal::Failed(error)) | ChangeRefusal::Failed(error) => {
            error.into()
        }
        ChangeRefusal::FileEdited(refusal) => ApiError::new(
            StatusCode::CONFLICT,
            "config-file-edited",
            format!(
                "the file of the configuration was edited and cannot be taken; correct it first: {}",
                refusal.to_string().lines().next().unwrap_or_default()
            ),
        ),
        ChangeRefusal::NotPersisted(error) => {
            tracing::error!(
                code = error.code(),
                reason = error.report(),
                "the configuration was not written"
            );
            NOT_PERSISTED.answer(level, format!("failed to write configuration: {}", error.report()))
        }
    }
}

/// Until 3.6 a body is checked while it is read, so whatever is wrong with it is of the JSON.
fn body(problems: &Problems, level: AbsLevel) -> ApiError {
    match level {
        AbsLevel::V3_7 => ApiError::request(first(problems)),
        _ => ApiError::payload(first(problems)),
    }
}

fn first(problems: &Problems) -> String {
    problems.first().map_or_else(|| "it cannot be used".to_owned(), crate::config::Problem::text)
}
