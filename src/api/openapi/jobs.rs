//! Jobs of every kind.

use super::operation::Op;
use super::parameters;
use crate::api::job;
use crate::model::JobKind;

pub(super) fn operations() -> Vec<Op> {
    let kinds: Vec<&str> = JobKind::ALL.iter().map(|kind| kind.as_str()).collect();
    let op = |method, path, summary: &str| Op::new("Jobs", method, path, summary).ours();
    vec![
        op("GET", "/v1/jobs", "Lists jobs of every kind, the newest first.")
            .takes([
                parameters::choice("kind", "Only jobs of this kind.", &kinds),
                parameters::word("routine", "Only jobs of this routine.", "daily"),
                parameters::word("label", "Only jobs that a client called this.", "before the upgrade"),
                parameters::word(
                    "status",
                    "A comma list of statuses, in any case; a leading `!` means all but these.",
                    "failed,skipped",
                ),
            ])
            .takes(parameters::bounds("time of asking"))
            .takes([parameters::limit(100), parameters::cursor("`next` of the page before.")])
            .json::<job::Page>(200, "One page.")
            .refuses(&[400]),
        op("GET", "/v1/jobs/{id}", "Gives everything that is known of a job.")
            .json::<job::Detail>(200, "The job.")
            .refuses(&[400, 404]),
        op("POST", "/v1/jobs/{id}/cancel", "Ends a job.")
            .empty(202, "Asked for; also when it has ended.")
            .refuses(&[400, 404]),
        op("POST", "/v1/jobs/{id}/retry", "Tries a job again that ended without success.")
            .takes([parameters::strict()])
            .takes(parameters::asked())
            .json::<job::Summary>(202, "The new job is admitted, or its row says why not. Empty, or the job where `Accept` names `application/json`.")
            .header(202, "Location", "Where the new job is.")
            .refuses(&[400, 404, 409, 422, 503]),
    ]
}
