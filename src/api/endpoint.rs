//! A path with its methods; every other method is 405 with `Allow` (abs.md 1.1).

use std::cell::RefCell;

use actix_web::dev::HttpServiceFactory;
use actix_web::http::Method;
use actix_web::middleware::from_fn;
use actix_web::{FromRequest, Handler, HttpRequest, HttpResponse, Resource, guard, web};

use super::access;
use super::door;
use super::error::{Answer, ApiError};
use crate::app::App;

/// One path and what it answers to.
pub struct Endpoint {
    path: String,
    resource: Resource,
    allow: Vec<&'static str>,
}

/// A path, with `{name}` for a segment.
pub fn at(path: &str) -> Endpoint {
    Endpoint { path: path.to_owned(), resource: web::resource(path), allow: Vec::new() }
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

    /// The resource behind the door, with 405 for all other methods.
    pub fn resource(self) -> impl HttpServiceFactory + use<> {
        SERVED.with_borrow_mut(|served| {
            if let Some(served) = served {
                let methods = self.allow.iter().filter(|method| **method != "HEAD");
                served.extend(methods.map(|method| (*method, self.path.clone())));
            }
        });
        let allow = self.allow.join(", ");
        let resource = self.resource.default_service(web::to(move || {
            let allow = allow.clone();
            async move { Err::<HttpResponse, _>(ApiError::method(allow)) }
        }));
        let door: std::rc::Rc<(String, Vec<&'static str>)> = std::rc::Rc::new((self.path, self.allow));
        resource.wrap(from_fn(move |request, next| {
            let door = std::rc::Rc::clone(&door);
            async move { door::guard(&door.0, &door.1, request, next).await }
        }))
    }
}

thread_local! {
    /// Filled while [`served`] asks for it.
    static SERVED: RefCell<Option<Vec<(&'static str, String)>>> = const { RefCell::new(None) };
}

/// The methods and paths of the resources that `build` makes.
pub fn served(build: impl FnOnce()) -> Vec<(&'static str, String)> {
    SERVED.set(Some(Vec::new()));
    build();
    SERVED.take().unwrap_or_default()
}

/// Every path that is not listed: 404 for GET, for other methods 405, since only `GET /` matches it in ABS.
/// With authentication only somebody who is known hears which paths there are.
pub async fn unlisted(app: web::Data<App>, request: HttpRequest, method: Method) -> Answer {
    let config = app.config();
    if let Some(auth) = config.service.as_ref().and_then(|service| service.auth.as_ref()) {
        access::identify(auth, &request)?;
    }
    Err(match method {
        Method::GET | Method::HEAD => ApiError::no_such_path(),
        _ => ApiError::method("GET, HEAD".to_owned()),
    })
}
