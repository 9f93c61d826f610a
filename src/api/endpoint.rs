//! A path with its methods; every other method is 405 with `Allow` (abs.md 1.1).

use actix_web::http::Method;
use actix_web::{FromRequest, Handler, HttpResponse, Resource, guard, web};

use super::error::{Answer, ApiError};

/// One path and what it answers to.
pub struct Endpoint {
    resource: Resource,
    allow: Vec<&'static str>,
}

/// A path, with `{name}` for a segment.
pub fn at(path: &str) -> Endpoint {
    Endpoint { resource: web::resource(path), allow: Vec::new() }
}

impl Endpoint {
    /// Answers GET, and HEAD without the body (as Go's router does).
    #[must_use]
    pub fn get<F, Args>(mut self, handler: F) -> Self
    where
        F: Handler<Args, Output = Answer>,
        Args: FromRequest + 'static,
    {
        let read = guard::Any(guard::Get()).or(guard::Head());
        self.resource = self.resource.route(web::route().guard(read).to(handler));
        self.allow.extend(["GET", "HEAD"]);
        self
    }

    /// Answers POST.
    #[must_use]
    pub fn post<F, Args>(mut self, handler: F) -> Self
    where
        F: Handler<Args, Output = Answer>,
        Args: FromRequest + 'static,
    {
        self.resource = self.resource.route(web::post().to(handler));
        self.allow.push("POST");
        self
    }

    /// Answers PUT.
    #[must_use]
    pub fn put<F, Args>(mut self, handler: F) -> Self
    where
        F: Handler<Args, Output = Answer>,
        Args: FromRequest + 'static,
    {
        self.resource = self.resource.route(web::put().to(handler));
        self.allow.push("PUT");
        self
    }

    /// Answers DELETE.
    #[must_use]
    pub fn delete<F, Args>(mut self, handler: F) -> Self
    where
        F: Handler<Args, Output = Answer>,
        Args: FromRequest + 'static,
    {
        self.resource = self.resource.route(web::delete().to(handler));
        self.allow.push("DELETE");
        self
    }

    /// The resource, with 405 for all other methods.
    pub fn resource(self) -> Resource {
        let allow = self.allow.join(", ");
        self.resource.default_service(web::to(move || {
            let allow = allow.clone();
            async move { Err::<HttpResponse, _>(ApiError::method(allow)) }
        }))
    }
}

/// Every path that is not listed: 404 for GET, for other methods 405, since only `GET /` matches it in ABS.
pub async fn unlisted(method: Method) -> Answer {
    Err(match method {
        Method::GET | Method::HEAD => ApiError::no_such_path(),
        _ => ApiError::method("GET, HEAD".to_owned()),
    })
}
