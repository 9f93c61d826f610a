//! The configuration.

use serde_json::{Value, json};
use utoipa::openapi::{ObjectBuilder, Ref, Schema};

use super::operation::Op;
use super::parameters;
use crate::api::config::{DryRun, Status};
use crate::config::EntityKind;
use crate::config::schema::SchemaPart;

/// Refusals of every change; 404, 409 and 503 instead of 400 and 500 from ABS 3.7 on.
const REFUSALS: &[u16] = &[400, 404, 409, 412, 503];

/// What is configured under one key.
struct Kind {
    /// The paths, of all and of one.
    paths: [&'static str; 2],
    one: &'static str,
    many: &'static str,
}

const KINDS: [Kind; 5] = [
    Kind { paths: ["/v1/config/clusters", "/v1/config/clusters/{name}"], one: "cluster", many: "clusters" },
    Kind {
        paths: ["/v1/config/policies", "/v1/config/policies/{name}"],
        one: "backup policy",
        many: "backup policies",
    },
    Kind { paths: ["/v1/config/routines", "/v1/config/routines/{name}"], one: "routine", many: "routines" },
    Kind { paths: ["/v1/config/storage", "/v1/config/storage/{name}"], one: "storage", many: "storages" },
    Kind {
        paths: ["/v1/config/secret-agents", "/v1/config/secret-agents/{name}"],
        one: "secret agent",
        many: "secret agents",
    },
];

pub(super) fn operations() -> Vec<Op> {
    let [clusters, policies, routines, storages, agents] = KINDS;
    [
        whole(),
        of(&clusters, EntityKind::Cluster, &cluster()),
        of(&policies, EntityKind::Policy, &policy()),
        of(&routines, EntityKind::Routine, &routine()),
        of(&storages, EntityKind::Storage, &storage()),
        of(&agents, EntityKind::SecretAgent, &agent()).into_iter().map(Op::ours).collect(),
    ]
    .into_iter()
    .flatten()
    .collect()
}

fn op(method: &'static str, path: &'static str, summary: impl Into<String>) -> Op {
    Op::new("Configuration", method, path, summary)
}

/// What a change answers, with `dry-run` too.
fn changed(op: Op, status: u16) -> Op {
    let dry = "With `dry-run=true`: what would change.";
    let done = "Done.";
    let op = op.takes(parameters::change()).json::<DryRun>(
        200,
        if status == 200 { "Done: empty. With `dry-run=true`: what would change." } else { dry },
    );
    let op = if status == 200 { op } else { op.empty(status, done) };
    op.header(status, "ETag", "The tag of the new state.")
        .header(status, "holdfast-config-rewritten", "The old file, where the new one has lost its comments.")
        .refuses(REFUSALS)
}

fn whole() -> Vec<Op> {
    let path = "/v1/config";
    vec![
        op("GET", path, "Gives the whole configuration.")
            .says("As it was given; secrets in clear as `[secret]`.")
            .schema(200, "The configuration.", Ref::from_schema_name(SchemaPart::Whole.component()))
            .header(200, "ETag", "The tag of this state, for `If-Match`."),
        changed(
            op("PUT", path, "Replaces the whole configuration.")
                .says("`service` must say the same as the file: a change there needs a restart.")
                .body(
                    SchemaPart::Whole,
                    json!({
                        "aerospike-clusters": {"prod": cluster()},
                        "storage": {"disk": storage()},
                        "backup-policies": {"keep-ten": policy()},
                        "backup-routines": {"daily": routine()},
                    }),
                ),
            200,
        ),
        op("POST", "/v1/config/apply", "Reads the configuration's file again, as SIGHUP does.")
            .empty(200, "It is in force."),
        op(
            "GET",
            "/v1/config/status",
            "Tells what is in force, and what became of the file that was last read.",
        )
        .ours()
        .json::<Status>(200, "The state."),
        changed(op("PUT", "/v1/config/routines/{name}/enable", "Lets a routine run by its schedule."), 204),
        changed(
            op("PUT", "/v1/config/routines/{name}/disable", "Keeps a routine from running.")
                .says("Ends its backups that are delayed, wait or run."),
            204,
        ),
    ]
}

fn of(kind: &Kind, entity: EntityKind, example: &Value) -> Vec<Op> {
    let Kind { paths: [all, one], one: name, many } = kind;
    let part = SchemaPart::One(entity);
    let schema = || Ref::from_schema_name(part.component());
    let map = ObjectBuilder::new().additional_properties(Some(schema())).build();
    vec![
        op("GET", all, format!("Gives all {many}, by name."))
            .schema(200, "By name; `{}` when there are none.", Schema::from(map))
            .header(200, "ETag", "The tag of this state, for `If-Match`."),
        op("GET", one, format!("Gives one {name}."))
            .schema(200, "As it was given; secrets in clear as `[secret]`.", schema())
            .header(200, "ETag", "The tag of this state, for `If-Match`.")
            .refuses(&[404]),
        changed(op("POST", one, format!("Adds a {name}.")).body(part, example.clone()), 201),
        changed(op("PUT", one, format!("Replaces the whole of a {name}.")).body(part, example.clone()), 200),
        changed(op("DELETE", one, format!("Takes a {name} away that nothing names.")), 204),
    ]
}

fn cluster() -> Value {
    json!({
        "seed-nodes": [{"host-name": "127.0.0.1", "port": 3000}],
        "credentials": {"user": "backup", "password": "secrets:passwords:backup", "secret-agent-name": "vault"},
    })
}

fn policy() -> Value {
    json!({"parallel": 4, "compression": {"mode": "ZSTD", "level": 3}, "retention": {"full": 10, "incremental": 2}})
}

fn routine() -> Value {
    json!({
        "source-cluster": "prod",
        "storage": "disk",
        "backup-policy": "keep-ten",
        "interval-cron": "@daily",
        "incr-interval-cron": "0 0 * * * ?",
        "namespaces": ["source-ns1"],
    })
}

fn storage() -> Value {
    json!({"local-storage": {"path": "/var/lib/holdfast/backups"}})
}

fn agent() -> Value {
    json!({"connection-type": "tcp", "address": "127.0.0.1", "port": 3005, "timeout": 1000})
}
