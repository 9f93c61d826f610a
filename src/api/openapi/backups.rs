//! Backups, and what is in storage.

use serde_json::json;
use utoipa::ToSchema;
use utoipa::openapi::{ArrayBuilder, ObjectBuilder, Ref, Schema};

use super::examples::Example as _;
use super::operation::Op;
use super::parameters::{self, flag, number};
use crate::api::job;
use crate::app::catalog::CatalogView;
use crate::app::{BackupView, RefreshedRoutine, RestorePoints, RoutineOwner};
use crate::backup::estimate::Estimate;
use crate::catalog::details::BackupDetails;
use crate::config::schema::SchemaPart;
use crate::retention::{DeletionPlan, View};

/// Ten years, in milliseconds.
const DELAY_MS_MAX: i64 = 10 * 365 * 86_400_000;

pub(super) fn operations() -> Vec<Op> {
    let mut all = vec![
        trigger("/v1/backups/schedule/{name}", "full").says("ABS's old name of the full trigger."),
        op("GET", "/v1/backups/restore-points/{name}", "Gives the moments that one can restore to.")
            .ours()
            .takes(parameters::bounds("moment"))
            .takes([parameters::limit(100)])
            .json::<RestorePoints>(200, "Of each namespace the newest windows.")
            .refuses(&[400, 404]),
        op("GET", "/v1/backups/estimate/{name}", "Tells how much a backup that began now would hold.")
            .ours()
            .says("Asks the cluster and reads a sample of it; nothing is written.")
            .takes([parameters::choice("type", "Which backup; default `full`.", &["full", "incremental"])])
            .json::<Estimate>(200, "The estimate.")
            .refuses(&[400, 404, 503]),
        made(op("POST", "/v1/backups/verify/{name}", "Has the backups of a routine read again."))
            .ours()
            .says("Every file of every committed backup: sizes, checksums, every record, the counts. Writes to no cluster.")
            .takes(parameters::bounds("start of a run"))
            .takes([parameters::word(
                "storage",
                "In this storage, the routine's own or that of a copy; absent: in all of them.",
                "vault",
            )])
            .takes([parameters::strict()]),
        made(op("POST", "/v1/backups/copy", "Copies backups of a routine to one of its other storages."))
            .ours()
            .says("What is there whole is not copied again; ancestors that are missing there go first.")
            .takes([parameters::strict()])
            .body(SchemaPart::CopyOrder, json!({"routine": "daily", "storage": "offsite"})),
        op("GET", "/v1/backups/currentBackup/{name}", "Tells what runs, ran last, comes next.")
            .json::<crate::api::abs::RoutineState>(200, "The state.")
            .refuses(&[404]),
        op("POST", "/v1/backups/cancel/{name}", "Ends the backups of a routine that are delayed, wait or run.")
            .empty(202, "Asked for; also when nothing runs.")
            .refuses(&[404]),
        op("GET", "/v1/retrieve/configuration/{name}/{timestamp}", "Gives what the nodes said of their configuration.")
            .bytes(200, "A zip of `aerospike_<i>.conf`, stored beside the newest full that began by then.", "application/zip")
            .refuses(&[400, 404]),
    ];
    all.extend(of_type(
        ["/v1/backups/full", "/v1/backups/full/{name}", "/v1/backups/full/{name}/{timestamp}"],
        "full",
    ));
    all.extend(of_type(
        [
            "/v1/backups/incremental",
            "/v1/backups/incremental/{name}",
            "/v1/backups/incremental/{name}/{timestamp}",
        ],
        "incremental",
    ));
    all.extend(storage());
    all
}

fn op(method: &'static str, path: &'static str, summary: impl Into<String>) -> Op {
    Op::new("Backups", method, path, summary)
}

fn trigger(path: &'static str, backup_type: &str) -> Op {
    made(op("POST", path, format!("Starts a backup: {backup_type}.")))
        .takes([number("delay", "How long to wait before, in ms, at most ten years.", DELAY_MS_MAX, 1000)])
        .takes([parameters::strict()])
}

/// What makes a job.
fn made(op: Op) -> Op {
    op.takes(parameters::asked())
        .json::<job::Summary>(202, "The job is admitted, or its row says why not. Empty, or the job where `Accept` names `application/json`.")
        .header(202, "Location", "Where the job is. Holdfast's own.")
        .refuses(&[400, 404, 409, 422, 503])
}

fn of_type([all, of_one, run]: [&'static str; 3], backup_type: &'static str) -> Vec<Op> {
    let refresh = || flag("refresh", "Read storage first. Holdfast's own.");
    let aged = |op: Op| {
        op.header(200, "holdfast-as-of", "When storage was read, RFC 3339. Holdfast's own.").header(
            200,
            "holdfast-stale",
            "Why a later reading failed: a code. Holdfast's own.",
        )
    };
    let lists = ArrayBuilder::new().items(Ref::from_schema_name(BackupDetails::name())).build();
    let by_routine = ObjectBuilder::new().additional_properties(Some(Schema::from(lists))).build();
    vec![
        aged(
            op("GET", all, format!("Lists the {backup_type} backups of every routine."))
                .takes(parameters::bounds("start of a run"))
                .takes([refresh()])
                .schema(
                    200,
                    "Routine by routine, the oldest first.",
                    Schema::from(by_routine),
                    &json!({"daily": [BackupDetails::example()]}),
                )
                .knows::<BackupDetails>()
                .refuses(&[400]),
        ),
        aged(
            op("GET", of_one, format!("Lists the {backup_type} backups of a routine."))
                .takes(parameters::bounds("start of a run"))
                .takes([refresh()])
                .list::<BackupDetails>(200, "The oldest first; one for each namespace of a run.")
                .refuses(&[400, 404]),
        ),
        trigger(of_one, backup_type),
        op("GET", run, format!("Gives one {backup_type} backup: its files, its chain, what needs it."))
            .ours()
            .json::<BackupView>(200, "The backup.")
            .refuses(&[400, 404]),
        op("DELETE", run, format!("Deletes one {backup_type} backup."))
            .ours()
            .takes([
                flag("cascade", "Delete what needs it too; else that is 409."),
                flag("dry-run", "Delete nothing, and answer 200 with what would go."),
            ])
            .json::<DeletionPlan>(200, "With `dry-run=true`: what would go.")
            .json::<job::Summary>(202, "The job that deletes it.")
            .header(202, "Location", "Where the job is.")
            .refuses(&[400, 404, 409, 503]),
    ]
}

fn storage() -> Vec<Op> {
    let op = |method, path, summary: &str| Op::new("Storage", method, path, summary).ours();
    let routine = || parameters::word("routine", "Only this one.", "daily");
    let folder = || {
        let says = "In this storage, the routine's own or that of a copy; absent: in its own.";
        parameters::word("storage", says, "vault")
    };
    vec![
        op("GET", "/v1/catalog", "Tells what storage was last seen to hold.")
            .takes([routine()])
            .schema(
                200,
                "Routine by routine.",
                in_routines::<CatalogView>(),
                &json!({"routines": [CatalogView::example()]}),
            )
            .knows::<CatalogView>()
            .refuses(&[400, 404]),
        op("POST", "/v1/catalog/refresh", "Has storage read again, every document.")
            .says("Answers when it is done.")
            .takes([routine()])
            .schema(
                200,
                "The same, and whether storage answered everything.",
                in_routines::<RefreshedRoutine>(),
                &json!({"routines": [RefreshedRoutine::example()]}),
            )
            .knows::<RefreshedRoutine>()
            .refuses(&[400, 404]),
        op("GET", "/v1/retention/{routine}", "Tells what stays, what would go, and why.")
            .json::<View>(200, "Nothing is deleted.")
            .refuses(&[404]),
        op("POST", "/v1/retention/{routine}", "Deletes what the policy keeps no longer.")
            .takes([folder()])
            .takes(parameters::asked())
            .json::<job::Summary>(202, "The job.")
            .header(202, "Location", "Where the job is.")
            .refuses(&[400, 404, 409, 422, 503]),
        op("GET", "/v1/routines/{name}/owner", "Tells whose the routine's folder in storage is.")
            .takes([folder()])
            .json::<RoutineOwner>(200, "Whose it is.")
            .refuses(&[404]),
        op("POST", "/v1/routines/{name}/adopt", "Takes the routine's folder at once, whoever owns it.")
            .takes([folder()])
            .json::<RoutineOwner>(200, "Whose it was before.")
            .refuses(&[404, 409]),
    ]
}

/// An object with a list at `routines`.
fn in_routines<T: ToSchema>() -> Schema {
    let list = ArrayBuilder::new().items(Ref::from_schema_name(T::name()));
    Schema::from(ObjectBuilder::new().property("routines", list).required("routines").build())
}
