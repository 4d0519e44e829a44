//! What stands before the routes: public pages are answered from memory before anything else looks at a request, and a page's own
//! host name answers what is public of that page, and nothing else.

use std::convert::Infallible;
use std::future::{Ready, ready};
use std::task::{Context, Poll};

use axum::body::HttpBody;
use axum::response::{IntoResponse, Response};
use axum::routing::future::RouteFuture;
use axum::{BoxError, Router};
use bytes::Bytes;
use futures::future::Either;
use http::header::{CONTENT_LENGTH, HOST};
use http::{HeaderMap, Method, Request, StatusCode, Uri};
use tower::Service;

use crate::PublicPages;
use crate::public::{Page, answer, may_be_older, preflight};

/// Everything that a listener answers. Cheap to clone.
#[derive(Clone)]
pub struct Front {
    pages: PublicPages,
    routes: Router,
}

impl Front {
    pub(crate) const fn new(pages: PublicPages, routes: Router) -> Self {
        Self { pages, routes }
    }

    /// The answer where a public page has it; everything else is a matter of the routes.
    fn at_once(&self, method: &Method, uri: &Uri, headers: &HeaderMap) -> Option<AtOnce> {
        let path = uri.path();
        // A request that names its host in its first line means that one.
        let host = uri.host().or_else(|| headers.get(HOST).and_then(|value| value.to_str().ok())).unwrap_or_default();
        if let Some(page) = self.pages.of_host(host) {
            let part = path.trim_start_matches('/');
            // The stylesheet is the same on every host.
            if path.starts_with("/assets/") {
                return None;
            }
            // What is not in memory is looked for where the page stands on our own host.
            if may_be_older(part) && !page.has(part) && (*method == Method::GET || *method == Method::HEAD) {
                return format!("/status/{}/{part}", page.slug()).parse().ok().map(AtOnce::AskAt);
            }
            return Some(AtOnce::Answer(of_page(&page, method, part, headers)));
        }
        let rest = path.strip_prefix("/status/").filter(|_| *method == Method::GET || *method == Method::HEAD)?;
        let (slug, part) = rest.split_once('/').unwrap_or((rest, ""));
        // What is written in another way, and what is not there, is for the routes.
        self.pages.current(slug).filter(|page| page.has(part)).map(|page| AtOnce::Answer(of_page(&page, method, part, headers)))
    }
}

/// What a public page makes of a request.
enum AtOnce {
    Answer(Response),
    /// The routes know more, at this address.
    AskAt(Uri),
}

fn of_page(page: &Page, method: &Method, part: &str, headers: &HeaderMap) -> Response {
    match *method {
        Method::GET => answer(Some(page), part, headers),
        Method::HEAD => {
            let mut response = answer(Some(page), part, headers);
            let body = std::mem::take(response.body_mut());
            if let Some(length) = body.size_hint().exact().filter(|_| response.status() != StatusCode::NOT_MODIFIED) {
                response.headers_mut().insert(CONTENT_LENGTH, length.into());
            }
            response
        }
        Method::OPTIONS => preflight(),
        _ => StatusCode::NOT_FOUND.into_response(),
    }
}

impl<B> Service<Request<B>> for Front
where
    B: HttpBody<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    type Response = Response;
    type Error = Infallible;
    type Future = Either<Ready<Result<Response, Infallible>>, RouteFuture<Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        match self.at_once(request.method(), request.uri(), request.headers()) {
            Some(AtOnce::Answer(response)) => Either::Left(ready(Ok(response))),
            Some(AtOnce::AskAt(uri)) => {
                let (mut parts, body) = request.into_parts();
                parts.uri = uri;
                Either::Right(self.routes.call(Request::from_parts(parts, body)))
            }
            None => Either::Right(self.routes.call(request)),
        }
    }
}
