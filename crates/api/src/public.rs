//! The public status API, rendered once per change and served from memory.

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError, RwLock};

use allclear_domain::Timestamp;
use allclear_domain::status::published::PublishedPage;
use axum::body::Body;
use axum::extract::{Path, Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use http::header::{
    ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN, CACHE_CONTROL, CONTENT_TYPE, ETAG, HOST, IF_NONE_MATCH, REFERRER_POLICY,
    VARY, X_CONTENT_TYPE_OPTIONS,
};
use http::{HeaderMap, HeaderValue, StatusCode};
use sha2::{Digest, Sha256};

use crate::{App, render};

/// The pages, ready to be served. Cheap to clone.
#[derive(Clone)]
pub struct PublicPages {
    rendered: Arc<RwLock<Rendered>>,
    public_url: Arc<str>,
}

#[derive(Default)]
struct Rendered {
    by_slug: BTreeMap<String, Arc<Page>>,
    by_host: BTreeMap<String, Arc<Page>>,
}

struct Page {
    seq: i64,
    as_of: Timestamp,
    bodies: BTreeMap<&'static str, (Bytes, HeaderValue)>,
}

impl PublicPages {
    /// No pages yet. `public_url` is where AllClear is reached, without a slash at its end.
    #[must_use]
    pub fn new(public_url: &str) -> Self {
        Self { rendered: Arc::default(), public_url: public_url.trim_end_matches('/').into() }
    }

    /// Takes the published pages; only those that changed are rendered.
    pub fn replace(&self, pages: &[(i64, PublishedPage)]) {
        let mut next = Rendered::default();
        for (seq, page) in pages {
            let unchanged = self.current(&page.slug).filter(|old| old.seq == *seq);
            let rendered = unchanged.unwrap_or_else(|| Arc::new(self.render(*seq, page)));
            if let Some(host) = &page.host {
                next.by_host.insert(host.to_ascii_lowercase(), Arc::clone(&rendered));
            }
            next.by_slug.insert(page.slug.clone(), rendered);
        }
        *self.rendered.write().unwrap_or_else(PoisonError::into_inner) = next;
    }

    fn render(&self, seq: i64, page: &PublishedPage) -> Page {
        let mut bodies = BTreeMap::new();
        for (endpoint, body) in render::bodies(page, &self.public_url) {
            let bytes = Bytes::from(body.to_string());
            let hash: String = Sha256::digest(&bytes)[..16].iter().map(|byte| format!("{byte:02x}")).collect();
            let etag = HeaderValue::from_str(&format!("W/\"{hash}\"")).unwrap_or(HeaderValue::from_static("W/\"0\""));
            bodies.insert(endpoint, (bytes, etag));
        }
        Page { seq, as_of: page.updated_at, bodies }
    }

    fn current(&self, slug: &str) -> Option<Arc<Page>> {
        self.rendered.read().unwrap_or_else(PoisonError::into_inner).by_slug.get(slug).cloned()
    }

    fn of_host(&self, host: &str) -> Option<Arc<Page>> {
        let name = host.rsplit_once(':').map_or(host, |(name, _)| name).to_ascii_lowercase();
        self.rendered.read().unwrap_or_else(PoisonError::into_inner).by_host.get(&name).cloned()
    }
}

pub(crate) async fn by_slug(
    State(pages): State<PublicPages>,
    Path((slug, endpoint)): Path<(String, String)>,
    headers: HeaderMap,
) -> Response {
    answer(pages.current(&slug), &endpoint, &headers)
}

pub(crate) async fn by_host(State(pages): State<PublicPages>, Path(endpoint): Path<String>, headers: HeaderMap) -> Response {
    let host = headers.get(HOST).and_then(|value| value.to_str().ok()).unwrap_or_default();
    answer(pages.of_host(host), &endpoint, &headers)
}

/// A browser's question before a request from another site.
pub(crate) async fn preflight() -> Response {
    let headers = [(ACCESS_CONTROL_ALLOW_ORIGIN, "*"), (ACCESS_CONTROL_ALLOW_METHODS, "GET, HEAD, OPTIONS")];
    (StatusCode::NO_CONTENT, headers).into_response()
}

fn answer(page: Option<Arc<Page>>, endpoint: &str, request: &HeaderMap) -> Response {
    let Some((page, (body, etag))) = page.as_ref().and_then(|page| Some((page, page.bodies.get(endpoint)?))) else {
        return (StatusCode::NOT_FOUND, [(ACCESS_CONTROL_ALLOW_ORIGIN, "*")], "{\"error\":\"not found\"}").into_response();
    };
    let unchanged = request.get(IF_NONE_MATCH).is_some_and(|known| known == etag);
    let mut response = if unchanged { StatusCode::NOT_MODIFIED.into_response() } else { Body::from(body.clone()).into_response() };
    let headers = response.headers_mut();
    let fixed = [
        (CONTENT_TYPE, "application/json; charset=utf-8"),
        (ACCESS_CONTROL_ALLOW_ORIGIN, "*"),
        (CACHE_CONTROL, "max-age=10, public, s-maxage=10, stale-while-revalidate=20, stale-if-error=3600"),
        (VARY, "Accept,Accept-Encoding"),
        (REFERRER_POLICY, "strict-origin-when-cross-origin"),
        (X_CONTENT_TYPE_OPTIONS, "nosniff"),
    ];
    for (name, value) in fixed {
        headers.insert(name, HeaderValue::from_static(value));
    }
    headers.insert(ETAG, etag.clone());
    if let Ok(as_of) = HeaderValue::from_str(&page.as_of.to_rfc3339_millis()) {
        headers.insert("x-data-as-of", as_of);
    }
    response
}

/// A page's own host name answers public paths only.
pub(crate) async fn keep_hosts_apart(State(app): State<App>, request: Request, next: Next) -> Response {
    let host = request.headers().get(HOST).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let public = request.uri().path().starts_with("/api/v2/");
    if !public && !host.is_empty() && app.pages.of_host(host).is_some() {
        return StatusCode::NOT_FOUND.into_response();
    }
    next.run(request).await
}
