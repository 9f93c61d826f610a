//! Every answer that is no success: the same for all routes, and each with one that is given.

use actix_web::http::StatusCode;
use utoipa::ToSchema;
use utoipa::openapi::{ContentBuilder, ObjectBuilder, Ref, Response, ResponseBuilder, Schema};

use crate::api::error::{ApiError, PROBLEM_JSON, Problem};
use crate::error::Error;

/// A refusal: its status, its name in the document, and what it says.
const REFUSALS: [(u16, &str, &str); 12] = [
    (400, "BadRequest", "The path, a parameter or the body cannot be used."),
    (401, "Unauthorized", "Nobody who is known."),
    (403, "Forbidden", "Somebody who is known and may not do this."),
    (404, "NotFound", "There is nothing of that name."),
    (408, "RequestTimeout", "The body did not come in time."),
    (409, "Conflict", "Not as things are now: what stands in its way is named."),
    (412, "PreconditionFailed", "`If-Match` names another state."),
    (413, "PayloadTooLarge", "The body is over 8 MiB."),
    (422, "UnprocessableEntity", "The `Idempotency-Key` was used for another request."),
    (429, "TooManyRequests", "More requests of one address than `rate` allows."),
    (
        500,
        "InternalServerError",
        "An error of the service, or of what it needs for the answer: storage, a cluster.",
    ),
    (503, "ServiceUnavailable", "Not now: the service starts, stops, or has no memory left. Ask again."),
];

/// One of each, as its own constructor makes it.
fn example(status: u16) -> ApiError {
    match status {
        400 => ApiError::parameter("from", "should be a positive integer"),
        401 => ApiError::unauthenticated("a bearer token or basic credentials are needed"),
        403 => ApiError::forbidden("ci is viewer: this needs operator"),
        404 => ApiError::unknown("routine", "daily"),
        408 => ApiError::too_slow(),
        409 => {
            Error::temporary("backup-in-use", "a job reads daily/backup/1795253891047/data/source-ns1").into()
        }
        412 => ApiError::new(
            StatusCode::PRECONDITION_FAILED,
            "config-changed",
            "the configuration has changed since it was read",
        ),
        413 => ApiError::too_large(),
        422 => {
            Error::permanent("idempotency-key-reused", "this Idempotency-Key was used for another request")
                .into()
        }
        429 => ApiError::too_many(),
        503 => Error::temporary("stopping", "the service stops").into(),
        _ => Error::temporary("storage-unavailable", "list daily: connection refused").into(),
    }
}

/// All of them, by name.
pub(super) fn responses() -> impl Iterator<Item = (&'static str, Response)> {
    REFUSALS.into_iter().map(|(status, name, about)| {
        let words = ObjectBuilder::new()
            .schema_type(utoipa::openapi::schema::Type::String)
            .description(Some("One line: what is wrong, in ABS's words where it has some."));
        let error = example(status);
        let plain = ContentBuilder::new()
            .schema(Some(Schema::from(words.build())))
            .example(Some(error.to_string().into()));
        let problem = ContentBuilder::new()
            .schema(Some(Ref::from_schema_name(Problem::name())))
            .example(serde_json::to_value(error.as_problem()).ok());
        let response = ResponseBuilder::new()
            .description(about)
            .content("text/plain; charset=utf-8", plain.build())
            .content(PROBLEM_JSON, problem.build());
        (name, response.build())
    })
}

/// The name of a refusal in the document.
pub(super) fn refusal_name(status: u16) -> &'static str {
    REFUSALS.iter().find(|(known, ..)| *known == status).map_or("InternalServerError", |(_, name, ..)| name)
}
