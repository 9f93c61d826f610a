//! The API's own description: OpenAPI 3.1, made of the types that are answered, of what the reader of documents asks for, and of
//! one entry for each route.
//!
//! A new route needs an entry beside those of its area (`config`, `backups`, …); the tests say which is missing. What a route
//! may always answer (no credentials, too many requests, a body that is too large) follows from its row in `access::ROUTES`.

mod backups;
mod config;
mod examples;
mod jobs;
mod operation;
mod parameters;
mod refusals;
mod restores;
mod system;
mod tidy;

use std::collections::BTreeMap;
use std::sync::LazyLock;

use serde_json::Value;
use utoipa::ToSchema;
use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa::openapi::tag::TagBuilder;
use utoipa::openapi::{
    ComponentsBuilder, InfoBuilder, LicenseBuilder, OpenApiBuilder, PathsBuilder, RefOr, Schema,
    ServerBuilder,
};

use super::error::Problem;
use crate::config::schema;
use crate::secrets::Secret;
use operation::Op;

/// The areas, in the order in which they are shown.
const TAGS: [(&str, &str); 7] = [
    ("System", "Whether the service lives, its release, its metrics, this description."),
    ("Configuration", "What is configured, changed at once and without a restart."),
    ("Backups", "Triggers, lists, one backup and its deletion, what can be restored."),
    ("Restores", "Restores by time or by path, and what became of them."),
    ("Jobs", "Every backup, restore, retention and verification, also one that was refused. Holdfast's own."),
    ("Storage", "What is in storage, whose it is, what stays and what goes. Holdfast's own."),
    ("Audit", "Who has changed what. Holdfast's own."),
];

const ABOUT: &str = "The paths, statuses and bodies of the Aerospike Backup Service (ABS), and Holdfast's own beside them.\n\n\
    Every GET answers HEAD too. A known path with another method is 405 with `Allow`. Errors are plain text, one line; with \
    `Accept: application/problem+json` they are RFC 9457. Instants in bodies are RFC 3339, in queries and paths milliseconds since \
    1970. Bodies are JSON whatever `Content-Type` says. Credentials are asked for where `service.auth` is configured. \
    `X-Request-Id` is in every answer. Statuses that depend on `service.compatibility` are all listed.";

/// The document; the same for every service of this version.
pub fn document() -> &'static Value {
    static DOCUMENT: LazyLock<Value> = LazyLock::new(|| with_documents(tidy::tidied(build())));
    &DOCUMENT
}

/// The document as a text, for people and for diffs.
pub fn document_text() -> String {
    format!("{:#}\n", document())
}

fn operations() -> Vec<Op> {
    [
        system::operations(),
        config::operations(),
        backups::operations(),
        restores::operations(),
        jobs::operations(),
    ]
    .into_iter()
    .flatten()
    .collect()
}

fn build() -> Value {
    let mut schemas: BTreeMap<String, RefOr<Schema>> = BTreeMap::new();
    collect::<Problem>(&mut schemas);
    collect::<Secret>(&mut schemas);
    let mut paths = PathsBuilder::new();
    for operation in operations() {
        operation.types(&mut schemas);
        let (path, item) = operation.item();
        paths = paths.path(path, item);
    }
    let components =
        ComponentsBuilder::new().schemas_from_iter(schemas).responses_from_iter(refusals::responses());
    let components = security_schemes()
        .into_iter()
        .fold(components, |components, (name, scheme)| components.security_scheme(name, scheme));
    let info = InfoBuilder::new()
        .title("Holdfast")
        .version(env!("CARGO_PKG_VERSION"))
        .description(Some(ABOUT))
        .license(Some(LicenseBuilder::new().name("Apache-2.0").identifier(Some("Apache-2.0")).build()));
    let tags = TAGS.map(|(name, about)| TagBuilder::new().name(name).description(Some(about)).build());
    let document = OpenApiBuilder::new()
        .info(info.build())
        .servers(Some([ServerBuilder::new().url("/").description(Some("This service.")).build()]))
        .paths(paths.build())
        .components(Some(components.build()))
        .tags(Some(tags))
        .build();
    // Nothing in it can fail to become JSON.
    serde_json::to_value(document).unwrap_or_default()
}

/// The configuration and the requests that are documents, as their reader knows them: no type of the answers is called as one.
fn with_documents(mut document: Value) -> Value {
    if let Some(schemas) = document.pointer_mut("/components/schemas").and_then(Value::as_object_mut) {
        for (name, schema) in schema::components("#/components/schemas/") {
            debug_assert!(!schemas.contains_key(name), "{name} is a type, too");
            schemas.insert(name.to_owned(), schema);
        }
    }
    document
}

/// The schema of a type and of all that it names.
fn collect<T: ToSchema>(schemas: &mut BTreeMap<String, RefOr<Schema>>) {
    let mut found = vec![(T::name().into_owned(), T::schema())];
    T::schemas(&mut found);
    schemas.extend(found);
}

fn security_schemes() -> [(&'static str, SecurityScheme); 3] {
    let bearer = HttpBuilder::new()
        .scheme(HttpAuthScheme::Bearer)
        .description(Some("A token of `service.auth.tokens`; `holdfast token` makes one."));
    let basic = HttpBuilder::new().scheme(HttpAuthScheme::Basic).description(Some(
        "The same for scrapers and browsers: the token's `name` as the user, the token as the password.",
    ));
    let about =
        "A client certificate whose subject is in `service.auth.certificates` (`service.https.client-auth`).";
    [
        ("bearer", SecurityScheme::Http(bearer.build())),
        ("basic", SecurityScheme::Http(basic.build())),
        (
            "certificate",
            SecurityScheme::MutualTls {
                description: Some(about.to_owned()),
                deprecated: None,
                extensions: None,
            },
        ),
    ]
}
