//! Restores.

use serde_json::json;
use utoipa::openapi::{ObjectBuilder, Schema};

use super::operation::Op;
use super::parameters::{self, INSTANT};
use crate::api::abs::RestoreStatus;
use crate::config::schema::SchemaPart;
use crate::restore::RestorePreview;

pub(super) fn operations() -> Vec<Op> {
    let by_path = |path, summary| {
        let example = json!({
            "source-name": "disk",
            "destination-name": "prod",
            "backup-data-path": "daily/backup/1795253910017/data/source-ns1",
        });
        accepted(op("POST", path, summary)).body(SchemaPart::Restore, example)
    };
    vec![
        accepted(op("POST", "/v1/restore/timestamp", "Restores what a routine had saved by an instant."))
            .says("What is missing of source and destination is the routine's own.")
            .body(
                SchemaPart::RestoreTimestamp,
                json!({
                    "routine": "daily",
                    "time": INSTANT,
                    "policy": {"namespace": {"source": "source-ns1", "destination": "target-ns1"}},
                }),
            ),
        by_path("/v1/restore/full", "Restores one folder of a backup."),
        by_path("/v1/restore/incremental", "The same as `/v1/restore/full`."),
        op("GET", "/v1/restore/jobs", "Lists restores, the newest 1,000 at most.")
            .takes(parameters::bounds("time of asking"))
            .takes([
                parameters::word(
                    "status",
                    "A comma list of ABS's words (`running`, `success`, `failure`, `canceled`) or those of `/v1/jobs`, in any case; a leading `!` means all but these.",
                    "running,success",
                ),
                parameters::limit(1000),
                parameters::cursor("What the header `holdfast-next-cursor` said. Holdfast's own."),
            ])
            .map::<RestoreStatus>(200, "By the job's id.", &INSTANT.to_string())
            .header(200, "holdfast-next-cursor", "The next cursor, where the list was cut. Holdfast's own.")
            .refuses(&[400]),
        op("GET", "/v1/restore/status/{id}", "Tells what became of a restore.")
            .json::<RestoreStatus>(200, "The restore.")
            .refuses(&[400, 404]),
        op("POST", "/v1/restore/cancel/{id}", "Ends a restore; what was written stays.")
            .empty(202, "Asked for; also when it has ended.")
            .refuses(&[400, 404]),
    ]
}

fn op(method: &'static str, path: &'static str, summary: &str) -> Op {
    Op::new("Restores", method, path, summary)
}

fn accepted(op: Op) -> Op {
    let id = ObjectBuilder::new()
        .schema_type(utoipa::openapi::schema::Type::Integer)
        .description(Some("The job's id, a bare number."));
    op.says("A restore that is refused is 202 too: its status says why.")
        .json::<RestorePreview>(
            200,
            "With `dry-run: true`: what it would do. There is no job. Holdfast's own.",
        )
        .takes(parameters::asked())
        .schema(202, "The job's id.", Schema::from(id.build()), &INSTANT)
        .header(202, "Location", "Where the job is. Holdfast's own.")
        .refuses(&[400, 404, 409, 422, 503])
}
