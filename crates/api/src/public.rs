//! The public pages, rendered once per change and served from memory: StatusPage's JSON, and what people read.

use std::collections::BTreeMap;
use std::io::Write;
use std::sync::{Arc, PoisonError, RwLock};

use allclear_domain::Timestamp;
use allclear_domain::status::published::PublishedPage;
use axum::body::Body;
use axum::extract::{Path, Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;
use http::header::{
    ACCEPT_ENCODING, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN, CACHE_CONTROL, CONTENT_ENCODING, CONTENT_SECURITY_POLICY,
    CONTENT_TYPE, ETAG, HOST, IF_NONE_MATCH, REFERRER_POLICY, VARY, X_CONTENT_TYPE_OPTIONS,
};
use http::{HeaderMap, HeaderValue, Method, StatusCode};
use sha2::{Digest, Sha256};

use crate::render;

/// A part of a page, ready to be served.
#[derive(Debug, Clone)]
pub struct Rendered {
    /// Its address below the page's own: empty for the page itself.
    pub path: String,
    /// What it is.
    pub content_type: &'static str,
    /// The bytes.
    pub body: Vec<u8>,
}

/// Renders what people read of a page: the page, when, and the address that it stands at.
pub type Renderer = Arc<dyn Fn(&PublishedPage, Timestamp, &str) -> Vec<Rendered> + Send + Sync>;

/// The pages, ready to be served. Cheap to clone.
#[derive(Clone)]
pub struct PublicPages {
    pages: Arc<RwLock<Pages>>,
    public_url: Arc<str>,
    renderer: Renderer,
    packs: bool,
}

#[derive(Default)]
struct Pages {
    by_slug: BTreeMap<String, Arc<Page>>,
    by_host: BTreeMap<String, Arc<Page>>,
}

struct Page {
    seq: i64,
    /// The day in the page's zone: bars and lists of days move on without a change.
    day: String,
    as_of: Timestamp,
    policy: HeaderValue,
    parts: BTreeMap<String, Part>,
}

struct Part {
    content_type: HeaderValue,
    etag: HeaderValue,
    plain: Bytes,
    packed: Bytes,
}

impl Part {
    fn new(content_type: &'static str, body: Vec<u8>, packs: bool) -> Self {
        let hash: String = Sha256::digest(&body)[..16].iter().map(|byte| format!("{byte:02x}")).collect();
        let etag = HeaderValue::from_str(&format!("W/\"{hash}\"")).unwrap_or(HeaderValue::from_static("W/\"0\""));
        let pack = || {
            let mut packer = GzEncoder::new(Vec::new(), Compression::default());
            packer.write_all(&body).and_then(|()| packer.finish())
        };
        // Writing to memory cannot fail; were it to, the plain bytes serve.
        let packed = if packs { pack().unwrap_or_default() } else { vec![] };
        Self { content_type: HeaderValue::from_static(content_type), etag, plain: body.into(), packed: packed.into() }
    }
}

impl PublicPages {
    /// No pages yet. `public_url` is where AllClear is reached, without a slash at its end.
    #[must_use]
    pub fn new(public_url: &str, renderer: Renderer) -> Self {
        Self { pages: Arc::default(), public_url: public_url.trim_end_matches('/').into(), renderer, packs: true }
    }

    /// The same with JSON alone, unpacked: for whoever renders far more often than anybody reads.
    #[must_use]
    pub fn without_html(public_url: &str) -> Self {
        Self { packs: false, ..Self::new(public_url, Arc::new(|_, _, _| vec![])) }
    }

    /// Takes the published pages; only those that changed, or whose day is over, are rendered.
    pub fn replace(&self, pages: &[(i64, PublishedPage)], now: Timestamp) {
        let mut next = Pages::default();
        for (seq, page) in pages {
            let day = day(page, now);
            let unchanged = self.current(&page.slug).filter(|old| old.seq == *seq && old.day == day);
            let rendered = unchanged.unwrap_or_else(|| Arc::new(self.render(*seq, day, page, now)));
            if let Some(host) = &page.host {
                next.by_host.insert(host.to_ascii_lowercase(), Arc::clone(&rendered));
            }
            next.by_slug.insert(page.slug.clone(), rendered);
        }
        *self.pages.write().unwrap_or_else(PoisonError::into_inner) = next;
    }

    fn render(&self, seq: i64, day: String, page: &PublishedPage, now: Timestamp) -> Page {
        let mut parts = BTreeMap::new();
        for (endpoint, body) in render::bodies(page, &self.public_url) {
            parts.insert(
                format!("api/v2/{endpoint}"),
                Part::new("application/json; charset=utf-8", body.to_string().into_bytes(), self.packs),
            );
        }
        let base = match &page.host {
            Some(host) => format!("https://{host}"),
            None => format!("{}/status/{}", self.public_url, page.slug),
        };
        for Rendered { path, content_type, body } in (self.renderer)(page, now, &base) {
            parts.insert(path, Part::new(content_type, body, self.packs));
        }
        Page { seq, day, as_of: page.updated_at, policy: policy(page), parts }
    }

    fn current(&self, slug: &str) -> Option<Arc<Page>> {
        self.pages.read().unwrap_or_else(PoisonError::into_inner).by_slug.get(slug).cloned()
    }

    fn of_host(&self, host: &str) -> Option<Arc<Page>> {
        let name = host.rsplit_once(':').map_or(host, |(name, _)| name).to_ascii_lowercase();
        self.pages.read().unwrap_or_else(PoisonError::into_inner).by_host.get(&name).cloned()
    }
}

fn day(page: &PublishedPage, now: Timestamp) -> String {
    match allclear_domain::oncall::zone(&page.time_zone) {
        Ok(zone) => now.to_jiff().to_zoned(zone).date().to_string(),
        Err(_) => now.to_rfc3339_seconds().chars().take(10).collect(),
    }
}

/// `/status/{slug}`
pub(crate) async fn by_slug(State(pages): State<PublicPages>, Path(slug): Path<String>, headers: HeaderMap) -> Response {
    answer(pages.current(&slug).as_deref(), "", &headers)
}

/// `/status/{slug}/{*part}`
pub(crate) async fn part_by_slug(
    State(pages): State<PublicPages>,
    Path((slug, part)): Path<(String, String)>,
    headers: HeaderMap,
) -> Response {
    answer(pages.current(&slug).as_deref(), &part, &headers)
}

/// A browser's question before a request from another site.
pub(crate) async fn preflight() -> Response {
    let headers = [(ACCESS_CONTROL_ALLOW_ORIGIN, "*"), (ACCESS_CONTROL_ALLOW_METHODS, "GET, HEAD, OPTIONS")];
    (StatusCode::NO_CONTENT, headers).into_response()
}

const MAY_BE_OLD: &str = "max-age=10, public, s-maxage=10, stale-while-revalidate=20, stale-if-error=3600";

/// Nothing runs; pictures may come from where the page's owner says, and sites may frame it whom they name.
fn policy(page: &PublishedPage) -> HeaderValue {
    const FIXED: &str = "default-src 'none'; style-src 'self'; img-src 'self' https:; base-uri 'none'; form-action 'none'; frame-ancestors";
    const NOBODY: HeaderValue = HeaderValue::from_static(
        "default-src 'none'; style-src 'self'; img-src 'self' https:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    );
    let sites = &page.branding.frame_ancestors;
    if sites.is_empty() {
        return NOBODY;
    }
    HeaderValue::from_str(&format!("{FIXED} {}", sites.join(" "))).unwrap_or(NOBODY)
}

fn answer(page: Option<&Page>, path: &str, request: &HeaderMap) -> Response {
    let Some((page, part)) = page.and_then(|page| Some((page, page.parts.get(path.trim_end_matches('/'))?))) else {
        return (StatusCode::NOT_FOUND, [(ACCESS_CONTROL_ALLOW_ORIGIN, "*")], "{\"error\":\"not found\"}").into_response();
    };
    let unchanged = request.get(IF_NONE_MATCH).is_some_and(|known| *known == part.etag);
    let packs = request.get(ACCEPT_ENCODING).and_then(|value| value.to_str().ok()).is_some_and(|known| known.contains("gzip"));
    let packed = packs && !part.packed.is_empty() && part.packed.len() < part.plain.len();
    let mut response = match unchanged {
        true => StatusCode::NOT_MODIFIED.into_response(),
        false => Body::from(if packed { part.packed.clone() } else { part.plain.clone() }).into_response(),
    };
    let headers = response.headers_mut();
    let fixed = [
        (ACCESS_CONTROL_ALLOW_ORIGIN, "*"),
        (VARY, "Accept,Accept-Encoding"),
        (REFERRER_POLICY, "strict-origin-when-cross-origin"),
        (X_CONTENT_TYPE_OPTIONS, "nosniff"),
    ];
    for (name, value) in fixed {
        headers.insert(name, HeaderValue::from_static(value));
    }
    // Programs may read what is ten seconds old, as with StatusPage; people who load the page want to know now.
    let for_programs = path.starts_with("api/");
    headers
        .insert(CACHE_CONTROL, HeaderValue::from_static(if for_programs { MAY_BE_OLD } else { "no-cache, public, stale-if-error=3600" }));
    headers.insert(CONTENT_SECURITY_POLICY, page.policy.clone());
    headers.insert(CONTENT_TYPE, part.content_type.clone());
    headers.insert(ETAG, part.etag.clone());
    if packed && !unchanged {
        headers.insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    }
    if let Ok(as_of) = HeaderValue::from_str(&page.as_of.to_rfc3339_millis()) {
        headers.insert("x-data-as-of", as_of);
    }
    response
}

/// A page's own host name answers what is public of it, and nothing else.
pub(crate) async fn keep_hosts_apart(State(pages): State<PublicPages>, request: Request, next: Next) -> Response {
    let host = request.headers().get(HOST).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let Some(page) = pages.of_host(host).filter(|_| !host.is_empty()) else { return next.run(request).await };
    let path = request.uri().path();
    // The stylesheet is the same on every host.
    if path.starts_with("/assets/") {
        return next.run(request).await;
    }
    match *request.method() {
        Method::GET => answer(Some(&*page), path.trim_start_matches('/'), request.headers()),
        Method::HEAD => {
            let mut response = answer(Some(&*page), path.trim_start_matches('/'), request.headers());
            *response.body_mut() = Body::empty();
            response
        }
        Method::OPTIONS => preflight().await,
        _ => StatusCode::NOT_FOUND.into_response(),
    }
}
