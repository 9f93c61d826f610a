//! System, audit, and this description.

use super::operation::Op;
use super::parameters;
use crate::api::{audit, system};

const PLAIN: &str = "text/plain; charset=utf-8";

pub(super) fn operations() -> Vec<Op> {
    let op = |path, summary: &str| Op::new("System", "GET", path, summary);
    let mut all = vec![
        op("/", "Answers, and nothing else.").empty(200, "The process lives."),
        op("/version", "Tells the release.")
            .says("The release of ABS that is spoken; Holdfast's own is in the `Server` header.")
            .json::<system::Version>(200, "The release."),
        op("/metrics", "Gives the metrics for Prometheus.").text(
            200,
            "Prometheus' text format.",
            "text/plain; version=0.0.4; charset=utf-8",
            "# TYPE aerospike_backup_service_job_queue_depth gauge\naerospike_backup_service_job_queue_depth 0\n",
        ),
        op("/api-docs", "Leads to the page that shows this description.").empty(301, "It is at `/api-docs/`.").header(
            301,
            "Location",
            "Where it is.",
        ),
        op("/api-docs/", "Shows this description as a page.")
            .says("Swagger UI, served without the network.")
            .text(200, "The page.", "text/html; charset=utf-8", "<!doctype html>"),
        op("/api-docs/{file}", "Gives a file of that page, or this description.")
            .says("`doc.json` is this description, with the context path as its server.")
            .bytes(200, "The file, by its own media type.", "*/*")
            .refuses(&[404]),
        Op::new("Audit", "GET", "/v1/audit", "Lists requests that change something, the newest first.")
            .ours()
            .takes([parameters::word("who", "Only requests of this caller.", "ci")])
            .takes(parameters::bounds("request"))
            .takes([parameters::limit(100), parameters::cursor("`next` of the page before.")])
            .json::<audit::Page>(200, "One page.")
            .refuses(&[400]),
    ];
    for (health, ready) in [("/health", "/ready"), ("/v1/health", "/v1/ready")] {
        all.push(op(health, "Says that the process lives.").text(
            200,
            "It lives; nothing else is asked.",
            PLAIN,
            "Ok",
        ));
        all.push(
            op(ready, "Says whether the service can work.")
                .text(200, "The store answers and the schedule is loaded.", PLAIN, "Ok")
                .refuses(&[503]),
        );
    }
    all
}
