//! The configuration.

use serde::Serialize;
use serde_json::{Value, json};
use utoipa::openapi::{ObjectBuilder, Ref, Schema};

use super::operation::Op;
use super::parameters::{self, INSTANT};
use crate::api::config::{DryRun, Status};
use crate::config::schema::SchemaPart;
use crate::config::{
    Cluster, Config, EntityKind, FromJson, Policy, Routine, SecretAgent, Storage, from_json,
};
use crate::model::UnixMillis;

/// Refusals of every change; 404, 409 and 503 instead of 400 and 500 from ABS 3.7 on.
const REFUSALS: &[u16] = &[400, 404, 409, 412, 503];

/// What is configured under one key.
struct Kind {
    entity: EntityKind,
    /// The paths, of all and of one.
    paths: [&'static str; 2],
    one: &'static str,
    many: &'static str,
    /// One as somebody sends it, and as it is answered then.
    sent: fn() -> Value,
    answered: fn(&Value) -> Value,
}

const KINDS: [Kind; 5] = [
    Kind {
        entity: EntityKind::Cluster,
        paths: ["/v1/config/clusters", "/v1/config/clusters/{name}"],
        one: "cluster",
        many: "clusters",
        sent: cluster,
        answered: answered::<Cluster>,
    },
    Kind {
        entity: EntityKind::Policy,
        paths: ["/v1/config/policies", "/v1/config/policies/{name}"],
        one: "backup policy",
        many: "backup policies",
        sent: policy,
        answered: answered::<Policy>,
    },
    Kind {
        entity: EntityKind::Routine,
        paths: ["/v1/config/routines", "/v1/config/routines/{name}"],
        one: "routine",
        many: "routines",
        sent: routine,
        answered: answered::<Routine>,
    },
    Kind {
        entity: EntityKind::Storage,
        paths: ["/v1/config/storage", "/v1/config/storage/{name}"],
        one: "storage",
        many: "storages",
        sent: storage,
        answered: answered::<Storage>,
    },
    Kind {
        entity: EntityKind::SecretAgent,
        paths: ["/v1/config/secret-agents", "/v1/config/secret-agents/{name}"],
        one: "secret agent",
        many: "secret agents",
        sent: agent,
        answered: answered::<SecretAgent>,
    },
];

/// What the service makes of a document that it was sent.
fn answered<T: FromJson + Serialize>(sent: &Value) -> Value {
    let read: Option<T> = from_json(sent.to_string().as_bytes(), UnixMillis(INSTANT)).ok();
    // Each can be read: they are sent by a test.
    serde_json::to_value(read).unwrap_or_default()
}

pub(super) fn operations() -> Vec<Op> {
    let mut all = whole();
    for kind in &KINDS {
        let of_kind = of(kind);
        match kind.entity {
            EntityKind::SecretAgent => all.extend(of_kind.into_iter().map(Op::ours)),
            _ => all.extend(of_kind),
        }
    }
    all
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
    let sent = json!({
        "aerospike-clusters": {"prod": cluster()},
        "secret-agents": {"vault": agent()},
        "storage": {"disk": storage()},
        "backup-policies": {"keep-ten": policy()},
        "backup-routines": {"daily": routine()},
    });
    let read = Config::from_json(sent.to_string().as_bytes(), UnixMillis(INSTANT)).ok();
    vec![
        op("GET", path, "Gives the whole configuration.")
            .says("As it was given; secrets in clear as `[secret]`.")
            .schema(200, "The configuration.", Ref::from_schema_name(SchemaPart::Whole.component()), &read)
            .header(200, "ETag", "The tag of this state, for `If-Match`."),
        changed(
            op("PUT", path, "Replaces the whole configuration.")
                .says("`service` must say the same as the file: a change there needs a restart.")
                .body(SchemaPart::Whole, sent),
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

fn of(kind: &Kind) -> Vec<Op> {
    let Kind { paths: [all, one], one: name, many, .. } = kind;
    let (part, sent) = (SchemaPart::One(kind.entity), (kind.sent)());
    let schema = || Ref::from_schema_name(part.component());
    let map = ObjectBuilder::new().additional_properties(Some(schema())).build();
    let answered = (kind.answered)(&sent);
    let called = parameters::name_in(one);
    vec![
        op("GET", all, format!("Gives all {many}, by name."))
            .schema(200, "By name; `{}` when there are none.", Schema::from(map), &json!({called: answered}))
            .header(200, "ETag", "The tag of this state, for `If-Match`."),
        op("GET", one, format!("Gives one {name}."))
            .schema(200, "As it was given; secrets in clear as `[secret]`.", schema(), &answered)
            .header(200, "ETag", "The tag of this state, for `If-Match`.")
            .refuses(&[404]),
        changed(op("POST", one, format!("Adds a {name}.")).body(part, sent.clone()), 201),
        changed(op("PUT", one, format!("Replaces the whole of a {name}.")).body(part, sent.clone()), 200),
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
