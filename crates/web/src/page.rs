//! How a page leaves: its headers, and what is said when there is none.

use std::fmt::Debug;
use std::io::Write;

use askama::Template;
use axum::Form;
use axum::body::{HttpBody, to_bytes};
use axum::extract::{FromRequest, Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use flate2::Compression;
use flate2::write::GzEncoder;
use http::header::{
    ACCEPT, ACCEPT_ENCODING, CACHE_CONTROL, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_SECURITY_POLICY, CONTENT_TYPE, REFERRER_POLICY,
    RETRY_AFTER, VARY, X_CONTENT_TYPE_OPTIONS,
};
use http::{HeaderMap, HeaderValue, StatusCode};
use serde::de::DeserializeOwned;

use crate::{Web, assets};

/// Nothing runs, nothing is framed, and forms go nowhere else.
const POLICY: HeaderValue = HeaderValue::from_static(
    "default-src 'none'; style-src 'self'; img-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
);

/// The app's pages run one script of ours, which asks nobody else.
const APP_POLICY: HeaderValue = HeaderValue::from_static(
    "default-src 'none'; style-src 'self'; img-src 'self'; script-src 'self'; connect-src 'self'; form-action 'self'; \
     base-uri 'none'; frame-ancestors 'none'",
);

/// What every page has in its head.
#[derive(Debug)]
pub(crate) struct Frame {
    /// The title of the window.
    pub(crate) title: String,
    /// Where the stylesheet is.
    pub(crate) style: &'static str,
}

impl Frame {
    pub(crate) fn new(title: impl Into<String>) -> Self {
        Self { title: title.into(), style: assets::style_path() }
    }
}

/// A page of the app.
pub(crate) fn app(status: StatusCode, view: &(impl Template + Debug)) -> Response {
    let mut response = private(status, view);
    response.headers_mut().insert(CONTENT_SECURITY_POLICY, APP_POLICY);
    response
}

/// Below this a packed page saves nothing that anybody notices.
const SMALLEST_PACKED: usize = 1_400;

/// The most that a page may be.
const LARGEST_PAGE: usize = 64 << 20;

/// Packs what is text, for those who can unpack it. A page carries no secret beside text that somebody else chose.
pub(crate) async fn pack(State(web): State<Web>, request: Request, next: Next) -> Response {
    let known = |value: &HeaderValue| value.to_str().is_ok_and(|known| known.contains("gzip"));
    let unpacks = request.headers().get(ACCEPT_ENCODING).is_some_and(known);
    let mut response = next.run(request).await;
    let is_text = |value: &HeaderValue| {
        value.to_str().is_ok_and(|kind| ["text/html", "text/css", "text/javascript"].iter().any(|text| kind.starts_with(text)))
    };
    let is_large = response.body().size_hint().exact().is_some_and(|size| size >= SMALLEST_PACKED as u64);
    if !is_large || !response.headers().get(CONTENT_TYPE).is_some_and(is_text) {
        return response;
    }
    response.headers_mut().insert(VARY, HeaderValue::from_static("accept-encoding"));
    if !unpacks {
        return response;
    }
    let (mut head, body) = response.into_parts();
    let Ok(plain) = to_bytes(body, LARGEST_PAGE).await else { return StatusCode::INTERNAL_SERVER_ERROR.into_response() };
    let kept = plain.clone();
    let packed = web.runtime.unblock(move || {
        let mut packer = GzEncoder::new(Vec::new(), Compression::fast());
        packer.write_all(&plain).and_then(|()| packer.finish())
    });
    match packed.await {
        Ok(Ok(packed)) => {
            head.headers.insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
            head.headers.remove(CONTENT_LENGTH);
            Response::from_parts(head, packed.into())
        }
        Ok(Err(_)) | Err(_) => Response::from_parts(head, kept.into()),
    }
}

/// What somebody sees who is not signed in, until their browser has gone on.
pub(crate) fn sign_in_first() -> Response {
    notice(StatusCode::UNAUTHORIZED, "Sign in first", "This page is for the people of this AllClear.")
}

/// A page of one sentence.
#[derive(Debug, Template)]
#[template(path = "notice.html")]
struct Notice<'a> {
    frame: Frame,
    heading: &'a str,
    text: &'a str,
}

/// Renders a page that concerns one reader: it is kept nowhere and tells no other site where they were. It tells our own: with
/// `no-referrer` browsers would not even say that a form comes from here.
pub(crate) fn private(status: StatusCode, view: &(impl Template + Debug)) -> Response {
    let Ok(html) = view.render() else {
        tracing::error!("a page cannot be rendered");
        return StatusCode::INTERNAL_SERVER_ERROR.into_response();
    };
    let mut response = (status, html).into_response();
    #[cfg(test)]
    response.extensions_mut().insert(crate::snapshots::Shown::of(view));
    let headers = response.headers_mut();
    for (name, value) in [
        (CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8")),
        (CONTENT_SECURITY_POLICY, POLICY),
        (REFERRER_POLICY, HeaderValue::from_static("same-origin")),
        (X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
        (CACHE_CONTROL, HeaderValue::from_static("no-store")),
    ] {
        headers.insert(name, value);
    }
    response
}

/// A form as it was sent. One that cannot be read is answered here: nobody goes on believing that it was kept.
pub(crate) struct Filled<T>(pub(crate) T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequest<S> for Filled<T> {
    type Rejection = Response;

    async fn from_request(request: Request, state: &S) -> Result<Self, Response> {
        match Form::from_request(request, state).await {
            Ok(Form(sent)) => Ok(Self(sent)),
            Err(rejection) => {
                let text =
                    "The form could not be read, or is too large. Go back and use one of the page's forms; a long test belongs in a file.";
                Err(notice(rejection.into_response().status(), "Nothing was changed", text))
            }
        }
    }
}

/// What answers where nothing is: people get a page, programs what they get from PagerDuty.
pub(crate) async fn nothing_there(headers: HeaderMap) -> Response {
    let is_a_reader = headers.get(ACCEPT).and_then(|kinds| kinds.to_str().ok()).is_some_and(|kinds| kinds.contains("text/html"));
    if is_a_reader {
        return notice(StatusCode::NOT_FOUND, "There is no such page here", "The address may be mistyped.");
    }
    (StatusCode::NOT_FOUND, axum::Json(serde_json::json!({ "error": { "message": "Not Found", "code": 2100 } }))).into_response()
}

pub(crate) fn notice(status: StatusCode, heading: &str, text: &str) -> Response {
    private(status, &Notice { frame: Frame::new(heading), heading, text })
}

/// The database did not answer.
pub(crate) fn away() -> Response {
    let mut response = notice(
        StatusCode::SERVICE_UNAVAILABLE,
        "Not now",
        "AllClear got no answer from its database. Open this page again in a moment: it says how things stand.",
    );
    response.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static("5"));
    response
}
