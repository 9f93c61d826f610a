//! One entry of the document: what a route does, takes and answers.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;
use utoipa::openapi::path::{HttpMethod, OperationBuilder, Parameter, PathItem};
use utoipa::openapi::request_body::RequestBodyBuilder;
use utoipa::openapi::security::SecurityRequirement;
use utoipa::openapi::{
    ArrayBuilder, Content, ContentBuilder, Header, ObjectBuilder, Ref, RefOr, Required, Response,
    ResponseBuilder, Schema,
};

use super::examples::Example;
use super::refusals::refusal_name;
use super::{collect, parameters};
use crate::api::access::{Need, ROUTES};
use crate::config::schema::SchemaPart;

type Schemas = BTreeMap<String, RefOr<Schema>>;

/// What a route does, takes and answers.
pub(super) struct Op {
    method: &'static str,
    path: &'static str,
    tag: &'static str,
    summary: String,
    about: Vec<String>,
    parameters: Vec<Parameter>,
    body: Option<(Ref, Value)>,
    answers: BTreeMap<u16, Response>,
    refuses: Vec<u16>,
    types: Vec<fn(&mut Schemas)>,
}

impl Op {
    /// A route, as `access::ROUTES` has it, and what it does in one sentence.
    pub(super) fn new(
        tag: &'static str,
        method: &'static str,
        path: &'static str,
        summary: impl Into<String>,
    ) -> Self {
        Self {
            method,
            path,
            tag,
            summary: summary.into(),
            about: Vec::new(),
            parameters: parameters::of_path(path),
            body: None,
            answers: BTreeMap::new(),
            refuses: Vec::new(),
            types: Vec::new(),
        }
    }

    /// What else is to know; several make paragraphs.
    pub(super) fn says(mut self, text: impl Into<String>) -> Self {
        self.about.push(text.into());
        self
    }

    /// ABS does not have it.
    pub(super) fn ours(self) -> Self {
        self.says("Holdfast's own: ABS has no such path.")
    }

    /// Parameters of the query, and headers.
    pub(super) fn takes(mut self, parameters: impl IntoIterator<Item = Parameter>) -> Self {
        self.parameters.extend(parameters);
        self
    }

    /// The body, with an example that can be sent as it is.
    pub(super) fn body(mut self, part: SchemaPart, example: Value) -> Self {
        self.body = Some((Ref::from_schema_name(part.component()), example));
        self
    }

    /// Answers with nothing but the status.
    pub(super) fn empty(self, status: u16, says: &str) -> Self {
        self.answer(status, says, None)
    }

    /// Answers with a text.
    pub(super) fn text(self, status: u16, says: &str, media_type: &'static str, example: &str) -> Self {
        let text = ObjectBuilder::new().schema_type(utoipa::openapi::schema::Type::String).build();
        let content = ContentBuilder::new().schema(Some(Schema::from(text))).example(Some(example.into()));
        self.answer(status, says, Some((media_type, content.build())))
    }

    /// Answers with bytes.
    pub(super) fn bytes(self, status: u16, says: &str, media_type: &'static str) -> Self {
        self.answer(status, says, Some((media_type, ContentBuilder::new().build())))
    }

    /// Answers with JSON of a type.
    pub(super) fn json<T: ToSchema + Example>(mut self, status: u16, says: &str) -> Self {
        self.types.push(collect::<T>);
        self.schema(status, says, Ref::from_schema_name(T::name()), &T::example())
    }

    /// Answers with a list of a type.
    pub(super) fn list<T: ToSchema + Example>(mut self, status: u16, says: &str) -> Self {
        self.types.push(collect::<T>);
        let list = ArrayBuilder::new().items(Ref::from_schema_name(T::name())).build();
        self.schema(status, says, Schema::from(list), &[T::example()])
    }

    /// Answers with values of a type, each by its name, as `name`.
    pub(super) fn map<T: ToSchema + Example>(mut self, status: u16, says: &str, name: &str) -> Self {
        self.types.push(collect::<T>);
        let map = ObjectBuilder::new().additional_properties(Some(Ref::from_schema_name(T::name()))).build();
        self.schema(status, says, Schema::from(map), &BTreeMap::from([(name, T::example())]))
    }

    /// Names a type in a schema of [`Op::schema`].
    pub(super) fn knows<T: ToSchema>(mut self) -> Self {
        self.types.push(collect::<T>);
        self
    }

    /// Answers with JSON of a schema that no type has, as `example`.
    pub(super) fn schema(
        self,
        status: u16,
        says: &str,
        schema: impl Into<RefOr<Schema>>,
        example: &(impl Serialize + ?Sized),
    ) -> Self {
        // None can fail to become JSON, and a test finds an answer without one.
        let content = ContentBuilder::new().schema(Some(schema)).example(serde_json::to_value(example).ok());
        self.answer(status, says, Some(("application/json", content.build())))
    }

    fn answer(mut self, status: u16, says: &str, content: Option<(&'static str, Content)>) -> Self {
        let mut response = ResponseBuilder::new().description(says);
        if let Some((media_type, content)) = content {
            response = response.content(media_type, content);
        }
        self.answers.insert(status, response.build());
        self
    }

    /// A header of an answer that was named before.
    pub(super) fn header(mut self, status: u16, name: &str, says: &str) -> Self {
        if let Some(response) = self.answers.get_mut(&status) {
            let text = ObjectBuilder::new().schema_type(utoipa::openapi::schema::Type::String).build();
            let mut header = Header::new(Schema::from(text));
            header.description = Some(says.to_owned());
            response.headers.insert(name.to_owned(), header.into());
        }
        self
    }

    /// The refusals that are its own; those of every route are added by themselves.
    pub(super) fn refuses(mut self, statuses: &[u16]) -> Self {
        self.refuses.extend(statuses);
        self
    }

    /// The types that it names.
    pub(super) fn types(&self, schemas: &mut Schemas) {
        for collect in &self.types {
            collect(schemas);
        }
    }

    /// Its path, and its entry there.
    pub(super) fn item(self) -> (&'static str, PathItem) {
        let need = ROUTES
            .iter()
            .find(|route| (route.method, route.path) == (self.method, self.path))
            .map(|route| route.need);
        let (who, always) = common(need, self.method);
        let mut about = self.about;
        about.extend(who);
        let mut operation = OperationBuilder::new()
            .tag(self.tag)
            .summary(Some(self.summary))
            .operation_id(Some(operation_id(self.method, self.path)))
            .parameters(Some(self.parameters));
        if !about.is_empty() {
            operation = operation.description(Some(about.join("\n\n")));
        }
        if need != Some(Need::Nothing) {
            for scheme in ["bearer", "basic", "certificate"] {
                operation = operation.security(SecurityRequirement::new::<_, [&str; 0], &str>(scheme, []));
            }
        }
        if let Some((schema, example)) = self.body {
            let content = ContentBuilder::new().schema(Some(schema)).example(Some(example));
            let body = RequestBodyBuilder::new()
                .content("application/json", content.build())
                .required(Some(Required::True));
            operation = operation.request_body(Some(body.build()));
        }
        for (status, response) in self.answers {
            operation = operation.response(status.to_string(), response);
        }
        for status in self.refuses.iter().chain(&always) {
            operation =
                operation.response(status.to_string(), Ref::from_response_name(refusal_name(*status)));
        }
        (self.path, PathItem::new(http_method(self.method), operation))
    }
}

/// Whom a route lets in, in words, and what it may refuse like all others.
fn common(need: Option<Need>, method: &str) -> (Option<String>, Vec<u16>) {
    let who = match need {
        None | Some(Need::Nothing) => None,
        Some(Need::Metrics) => {
            Some("Role: `viewer`, or nobody in particular with `service.auth.open-metrics`.".to_owned())
        }
        Some(Need::Role(role)) => Some(format!("Role: `{}`.", role.as_str())),
    };
    let mut always = vec![429];
    if need != Some(Need::Nothing) {
        always.extend([401, 403, 500]);
    }
    if method != "GET" {
        // The body is read whole before anything else.
        always.extend([400, 408, 413]);
    }
    (who, always)
}

fn http_method(method: &str) -> HttpMethod {
    match method {
        "POST" => HttpMethod::Post,
        "PUT" => HttpMethod::Put,
        "DELETE" => HttpMethod::Delete,
        _ => HttpMethod::Get,
    }
}

/// `getV1JobsId` of GET `/v1/jobs/{id}`.
fn operation_id(method: &str, path: &str) -> String {
    let words = path.split(|c: char| !c.is_ascii_alphanumeric()).filter(|word| !word.is_empty());
    let mut id = method.to_ascii_lowercase();
    for word in words {
        let (first, rest) = word.split_at(1);
        id.push_str(&first.to_ascii_uppercase());
        id.push_str(rest);
    }
    match path {
        "/" => id + "Root",
        // Beside the path without a slash.
        _ if path.ends_with('/') => id + "Page",
        _ => id,
    }
}
