//! Who asks, and whether a change really comes from one of our own pages.

use allclear_ops::session::{self, SignedIn};
use allclear_ops::{OpsError, Permission};
use axum::extract::{FromRequestParts, Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Redirect, Response};
use http::header::{COOKIE, HOST, ORIGIN, SET_COOKIE};
use http::request::Parts;
use http::{HeaderMap, HeaderValue, StatusCode};

use crate::{Web, page};

const COOKIE_NAME: &str = "allclear";

/// Somebody whom the guard let through.
#[derive(Clone)]
pub(crate) struct Viewer(pub(crate) SignedIn);

impl<S: Sync> FromRequestParts<S> for Viewer {
    type Rejection = Redirect;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Redirect> {
        // A page that names no permission has no viewer.
        parts.extensions.get::<Self>().cloned().ok_or_else(|| Redirect::to("/sign-in"))
    }
}

/// The session's value in a request.
pub(crate) fn session_in(headers: &HeaderMap) -> Option<String> {
    let cookies = headers.get_all(COOKIE).iter().filter_map(|value| value.to_str().ok()).flat_map(|text| text.split(';'));
    let ours = cookies.filter_map(|pair| pair.trim().split_once('=')).find(|(name, _)| *name == COOKIE_NAME);
    ours.map(|(_, value)| value.to_owned()).filter(|value| !value.is_empty() && value.len() <= 200)
}

/// The cookie that carries a session; an empty one ends it. No script can read it, and no other site's page sends it along
/// with a change.
pub(crate) fn cookie(web: &Web, value: &str) -> [(http::HeaderName, HeaderValue); 1] {
    let seconds = if value.is_empty() { 0 } else { session::SESSION.as_secs() };
    let secure = if web.secure { "; Secure" } else { "" };
    let text = format!("{COOKIE_NAME}={value}; Path=/; HttpOnly; SameSite=Lax; Max-Age={seconds}{secure}");
    [(SET_COOKIE, HeaderValue::from_str(&text).unwrap_or(HeaderValue::from_static("")))]
}

/// Whether a change comes from a page of ours: browsers say where a form stands. What says nothing is no browser, and has
/// nobody's cookie by accident.
fn is_own(headers: &HeaderMap) -> bool {
    let text = |name| headers.get(name).and_then(|value: &HeaderValue| value.to_str().ok());
    match (text(ORIGIN), text(HOST)) {
        (None, _) => headers.get("sec-fetch-site").is_none_or(|site| site == "same-origin" || site == "none"),
        (Some(origin), Some(host)) => origin.split_once("://").is_some_and(|(_, from)| from.eq_ignore_ascii_case(host)),
        (Some(_), None) => false,
    }
}

/// What stands before every page: a change comes from one of ours, or is none.
pub(crate) async fn from_here(request: Request, next: Next) -> Response {
    if request.method().is_safe() || is_own(request.headers()) {
        return next.run(request).await;
    }
    page::notice(StatusCode::FORBIDDEN, "This did not come from AllClear", "Open the page in AllClear and press the button there.")
}

/// What stands before a page of the app: who looks, and whether they may.
pub(crate) async fn guard(State((web, needed)): State<(Web, Permission)>, mut request: Request, next: Next) -> Response {
    let value = session_in(request.headers());
    let found = match &value {
        Some(value) => session::who(&web.store, value).await,
        None => Ok(None),
    };
    let who = match found {
        Ok(Some(who)) => who,
        Ok(None) => return to_sign_in(&request),
        Err(error) => return failed(&error),
    };
    if who.actor().require(needed).is_err() {
        let text = format!("You are signed in as {}, whose role does not permit this. An owner can change it.", who.name);
        return page::notice(StatusCode::FORBIDDEN, "You may not do this", &text);
    }
    request.extensions_mut().insert(Viewer(who));
    next.run(request).await
}

/// Whoever is not signed in comes back to the page that they wanted.
fn to_sign_in(request: &Request) -> Response {
    if !request.method().is_safe() {
        return (StatusCode::UNAUTHORIZED, Redirect::to("/sign-in")).into_response();
    }
    let path = request.uri().path();
    let query = if path == "/" {
        String::new()
    } else {
        format!("?to={}", percent_encoding::utf8_percent_encode(path, percent_encoding::NON_ALPHANUMERIC))
    };
    let mut response = page::sign_in_first();
    response.headers_mut().insert(
        "refresh",
        HeaderValue::from_str(&format!("0; url=/sign-in{query}")).unwrap_or(HeaderValue::from_static("0; url=/sign-in")),
    );
    response
}

pub(crate) fn failed(error: &OpsError) -> Response {
    match error {
        OpsError::NotFound { what, .. } => page::notice(
            StatusCode::NOT_FOUND,
            "There is no such thing here",
            &format!("No {what} has this address; it may be kept no longer."),
        ),
        OpsError::Forbidden(_) => page::notice(StatusCode::FORBIDDEN, "You may not do this", "An owner can give you another role."),
        OpsError::Refused(_) | OpsError::Invalid(_) | OpsError::WouldRemove(_) => {
            page::notice(StatusCode::UNPROCESSABLE_ENTITY, "Nothing was changed", &error.to_string())
        }
        OpsError::UnknownKey | OpsError::TooMany | OpsError::Store(_) => {
            tracing::error!(%error, "a page could not be answered");
            page::away()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        pairs.iter().map(|(name, value)| (http::HeaderName::from_static(name), HeaderValue::from_static(value))).collect()
    }

    #[test]
    fn a_change_from_another_sites_page_is_not_ours() {
        for (pairs, own) in [
            (&[("origin", "https://allclear.example"), ("host", "allclear.example")][..], true),
            (&[("origin", "https://ALLCLEAR.example:8443"), ("host", "allclear.example:8443")], true),
            (&[("origin", "https://evil.example"), ("host", "allclear.example")], false),
            (&[("origin", "null"), ("host", "allclear.example")], false),
            (&[("origin", "https://allclear.example.evil.example"), ("host", "allclear.example")], false),
            (&[("host", "allclear.example"), ("sec-fetch-site", "cross-site")], false),
            (&[("host", "allclear.example"), ("sec-fetch-site", "same-site")], false),
            (&[("host", "allclear.example")], true),
        ] {
            assert_eq!(is_own(&headers(pairs)), own, "{pairs:?}");
        }
    }

    #[test]
    fn the_session_is_found_among_other_cookies() {
        assert_eq!(session_in(&headers(&[("cookie", "a=1; allclear=abc; b=2")])).as_deref(), Some("abc"));
        assert_eq!(session_in(&headers(&[("cookie", "notallclear=abc")])), None);
        assert_eq!(session_in(&headers(&[("cookie", "allclear=")])), None);
    }
}
