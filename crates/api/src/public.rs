//! The public pages, rendered once per change and served from memory: StatusPage's JSON, and what people read.

use std::collections::BTreeMap;
use std::io::Write;
use std::pin::Pin;
use std::sync::{Arc, PoisonError, RwLock};

use allclear_domain::status::published::{NOTHING, PublishedIncident, PublishedPage};
use allclear_domain::{PageId, Timestamp};
use axum::body::Body;
use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;
use http::header::{
    ACCEPT_ENCODING, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN, CACHE_CONTROL, CONTENT_ENCODING, CONTENT_SECURITY_POLICY,
    CONTENT_TYPE, ETAG, IF_NONE_MATCH, REFERRER_POLICY, VARY, X_CONTENT_TYPE_OPTIONS,
};
use http::{HeaderMap, HeaderValue, StatusCode};
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

/// Renders what people read of a page: the page, when, the address that it stands at, since when it cannot be read anew; and, where
/// it is not everything, the path of the one part that is asked for.
pub type Renderer = Arc<dyn Fn(&PublishedPage, Timestamp, &str, Option<Timestamp>, Option<&str>) -> Vec<Rendered> + Send + Sync>;

/// The pages, ready to be served. Cheap to clone.
#[derive(Clone)]
pub struct PublicPages {
    pages: Arc<RwLock<Pages>>,
    public_url: Arc<str>,
    renderer: Renderer,
    older: Option<Older>,
    packs: bool,
}

/// Finds public incidents of a page that are too old to be kept in memory; nothing where the database is away.
pub type Older = Arc<dyn Fn(PageId, Asked) -> Pin<Box<dyn Future<Output = Option<Vec<PublishedIncident>>> + Send>> + Send + Sync>;

/// Which of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Asked {
    /// This one.
    One(String),
    /// The next before this one, newest first, as many as a page keeps in memory.
    Before(String),
}

#[derive(Default)]
struct Pages {
    by_slug: BTreeMap<String, Arc<Page>>,
    by_host: BTreeMap<String, Arc<Page>>,
}

/// One page with all its parts.
pub(crate) struct Page {
    seq: i64,
    /// The day in the page's zone: bars and lists of days move on without a change. While something is out the minute too, for
    /// what lasts grows.
    day: String,
    /// Since when it can no longer be read; nothing where it can.
    away_since: Option<Timestamp>,
    rendered_at: Timestamp,
    document: PublishedPage,
    parts: BTreeMap<String, Part>,
}

/// What is asked for, ready to go.
struct Part {
    etag: HeaderValue,
    plain: Served,
    /// The same packed, where that is smaller.
    packed: Option<Served>,
}

struct Served {
    head: HeaderMap,
    body: Bytes,
}

/// The beginnings of the addresses of what may be too old to be kept in memory.
const INCIDENTS: &str = "incidents/";
const HISTORY_BEFORE: &str = "history/before/";

/// Whether what stands at an address may be too old to be kept in memory.
pub(crate) fn may_be_older(part: &str) -> bool {
    part.starts_with(INCIDENTS) || part.starts_with(HISTORY_BEFORE)
}

impl Page {
    /// The last part of its address on our own host.
    pub(crate) fn slug(&self) -> &str {
        &self.document.slug
    }

    /// Whether something stands at this address below the page's own.
    pub(crate) fn has(&self, path: &str) -> bool {
        let path = path.trim_end_matches('/');
        path != NOTHING && self.parts.contains_key(path)
    }
}

impl Part {
    /// `head` is what all parts of the page say of themselves.
    fn new(path: &str, content_type: &'static str, body: Vec<u8>, head: &HeaderMap, packs: bool) -> Self {
        let hash: String = Sha256::digest(&body)[..16].iter().map(|byte| format!("{byte:02x}")).collect();
        let etag = HeaderValue::from_str(&format!("W/\"{hash}\"")).unwrap_or(HeaderValue::from_static("W/\"0\""));
        let mut head = head.clone();
        // Programs may read what is ten seconds old, as with StatusPage; people who load the page want to know now.
        let for_programs = path.starts_with("api/");
        let kept = if for_programs { MAY_BE_OLD } else { "no-cache, public, stale-if-error=3600" };
        head.insert(CACHE_CONTROL, HeaderValue::from_static(kept));
        head.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
        head.insert(ETAG, etag.clone());
        let packed = packs.then(|| pack(&body)).filter(|packed| !packed.is_empty() && packed.len() < body.len()).map(|packed| {
            let mut head = head.clone();
            head.insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
            Served { head, body: packed.into() }
        });
        Self { etag, plain: Served { head, body: body.into() }, packed }
    }

    /// The answer to a reader, who may have it already.
    fn answer(&self, request: &HeaderMap) -> Response {
        let unpacks = || request.get(ACCEPT_ENCODING).and_then(|value| value.to_str().ok()).is_some_and(|known| known.contains("gzip"));
        let (status, body, head) = if request.get(IF_NONE_MATCH).is_some_and(|known| *known == self.etag) {
            (StatusCode::NOT_MODIFIED, Body::empty(), &self.plain.head)
        } else {
            let ready = self.packed.as_ref().filter(|_| unpacks()).unwrap_or(&self.plain);
            (StatusCode::OK, Body::from(ready.body.clone()), &ready.head)
        };
        let mut response = Response::new(body);
        *response.status_mut() = status;
        head.clone_into(response.headers_mut());
        response
    }
}

/// Writing to memory cannot fail; were it to, the plain bytes serve.
fn pack(body: &[u8]) -> Vec<u8> {
    let mut packer = GzEncoder::new(Vec::new(), Compression::default());
    packer.write_all(body).and_then(|()| packer.finish()).unwrap_or_default()
}

/// What every part of a page says of itself.
fn head(page: &PublishedPage) -> HeaderMap {
    let mut head = HeaderMap::new();
    for (name, value) in [
        (ACCESS_CONTROL_ALLOW_ORIGIN, "*"),
        (VARY, "Accept,Accept-Encoding"),
        (REFERRER_POLICY, "strict-origin-when-cross-origin"),
        (X_CONTENT_TYPE_OPTIONS, "nosniff"),
    ] {
        head.insert(name, HeaderValue::from_static(value));
    }
    head.insert(CONTENT_SECURITY_POLICY, policy(page));
    if let Ok(as_of) = HeaderValue::from_str(&page.updated_at.to_rfc3339_millis()) {
        head.insert("x-data-as-of", as_of);
    }
    head
}

impl PublicPages {
    /// No pages yet. `public_url` is where AllClear is reached, without a slash at its end.
    #[must_use]
    pub fn new(public_url: &str, renderer: Renderer) -> Self {
        Self { pages: Arc::default(), public_url: public_url.trim_end_matches('/').into(), renderer, older: None, packs: true }
    }

    /// The same with JSON alone, unpacked: for whoever renders far more often than anybody reads.
    #[must_use]
    pub fn without_html(public_url: &str) -> Self {
        Self { packs: false, ..Self::new(public_url, Arc::new(|_, _, _, _, _| vec![])) }
    }

    /// The same, with a way to find incidents that are too old to be kept in memory.
    #[must_use]
    pub fn with_older(self, older: Older) -> Self {
        Self { older: Some(older), ..self }
    }

    /// What is at `part`, where that is the address of an incident that is not kept in memory, or of a list of such.
    async fn older_part(&self, page: &Page, part: &str) -> Option<Part> {
        const LONGEST_ID: usize = 40;
        let plain = |id: &&str| id.len() <= LONGEST_ID && !id.is_empty() && id.bytes().all(|byte| byte.is_ascii_alphanumeric());
        let part = part.trim_end_matches('/');
        let (asked, path) = match part.strip_prefix(INCIDENTS).filter(plain) {
            Some(id) => (Asked::One(id.to_owned()), part),
            None => (Asked::Before(part.strip_prefix(HISTORY_BEFORE).filter(plain)?.to_owned()), "history"),
        };
        let incidents = self.older.as_ref()?(page.document.id.clone(), asked).await?;
        let document = PublishedPage { incidents, ..page.document.clone() };
        let rendered = (self.renderer)(&document, page.rendered_at, &self.base(&document), page.away_since, Some(path)).pop()?;
        Some(Part::new(path, rendered.content_type, rendered.body, &head(&document), self.packs))
    }

    /// The address that a page stands at.
    fn base(&self, page: &PublishedPage) -> String {
        match &page.host {
            Some(host) => format!("https://{host}"),
            None => format!("{}/status/{}", self.public_url, page.slug),
        }
    }

    /// Takes the published pages; only those that changed, or whose day is over, are rendered.
    pub fn replace(&self, pages: &[(i64, PublishedPage)], now: Timestamp) {
        self.show(pages.iter().map(|(seq, page)| (*seq, page)), now, None);
    }

    /// Keeps the pages as they are, and lets them say that they are of this instant and may be old.
    pub fn went_away(&self, since: Timestamp, now: Timestamp) {
        let known: Vec<Arc<Page>> = self.pages.read().unwrap_or_else(PoisonError::into_inner).by_slug.values().cloned().collect();
        self.show(known.iter().map(|page| (page.seq, &page.document)), now, Some(since));
    }

    fn show<'a>(&self, pages: impl Iterator<Item = (i64, &'a PublishedPage)>, now: Timestamp, away_since: Option<Timestamp>) {
        let mut next = Pages::default();
        for (seq, page) in pages {
            let day = day(page, now);
            let same = |old: &Arc<Page>| old.seq == seq && old.day == day && old.away_since == away_since;
            let unchanged = self.current(&page.slug).filter(same);
            let rendered = unchanged.unwrap_or_else(|| Arc::new(self.render(seq, day, page, now, away_since)));
            if let Some(host) = &page.host {
                next.by_host.insert(host.to_ascii_lowercase(), Arc::clone(&rendered));
            }
            next.by_slug.insert(page.slug.clone(), rendered);
        }
        *self.pages.write().unwrap_or_else(PoisonError::into_inner) = next;
    }

    fn render(&self, seq: i64, day: String, page: &PublishedPage, now: Timestamp, away_since: Option<Timestamp>) -> Page {
        let (mut parts, head) = (BTreeMap::new(), head(page));
        let mut add = |path: String, content_type, body| {
            let part = Part::new(&path, content_type, body, &head, self.packs);
            parts.insert(path, part);
        };
        for (endpoint, body) in render::bodies(page, &self.public_url) {
            add(format!("api/v2/{endpoint}"), "application/json; charset=utf-8", body.to_string().into_bytes());
        }
        for Rendered { path, content_type, body } in (self.renderer)(page, now, &self.base(page), away_since, None) {
            add(path, content_type, body);
        }
        Page { seq, day, away_since, rendered_at: now, document: page.clone(), parts }
    }

    pub(crate) fn current(&self, slug: &str) -> Option<Arc<Page>> {
        self.pages.read().unwrap_or_else(PoisonError::into_inner).by_slug.get(slug).cloned()
    }

    pub(crate) fn of_host(&self, host: &str) -> Option<Arc<Page>> {
        let pages = self.pages.read().unwrap_or_else(PoisonError::into_inner);
        if pages.by_host.is_empty() || host.is_empty() {
            return None;
        }
        let name = host.rsplit_once(':').map_or(host, |(name, _)| name);
        pages.by_host.get(&name.trim_end_matches('.').to_ascii_lowercase()).cloned()
    }
}

fn day(page: &PublishedPage, now: Timestamp) -> String {
    const MINUTE_US: i64 = 60_000_000;
    let lasts = page.components.iter().any(|component| component.outages.iter().any(|outage| outage.until.is_none()));
    let minute = if lasts { format!(" {}", now.0 / MINUTE_US) } else { String::new() };
    let day = match allclear_domain::oncall::zone(&page.time_zone) {
        Ok(zone) => now.to_jiff().to_zoned(zone).date().to_string(),
        Err(_) => now.to_rfc3339_seconds().chars().take(10).collect(),
    };
    day + &minute
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
    let page = pages.current(&slug);
    if let Some(page) = page.as_deref().filter(|page| !page.has(&part))
        && let Some(old) = pages.older_part(page, &part).await
    {
        return old.answer(&headers);
    }
    answer(page.as_deref(), &part, &headers)
}

/// A browser's question before a request from another site.
pub(crate) fn preflight() -> Response {
    let headers = [(ACCESS_CONTROL_ALLOW_ORIGIN, "*"), (ACCESS_CONTROL_ALLOW_METHODS, "GET, HEAD, OPTIONS")];
    (StatusCode::NO_CONTENT, headers).into_response()
}

const MAY_BE_OLD: &str = "max-age=10, public, s-maxage=10, stale-while-revalidate=20, stale-if-error=3600";

/// Nothing runs; pictures may come from where the page's owner says, and sites may frame it whom they name.
fn policy(page: &PublishedPage) -> HeaderValue {
    const FIXED: &str = "img-src 'self' https:; base-uri 'none'; form-action 'none'; frame-ancestors";
    const NOBODY: HeaderValue = HeaderValue::from_static(
        "default-src 'none'; style-src 'self'; img-src 'self' https:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    );
    let sites = &page.branding.frame_ancestors;
    // Its stylesheet stands on its own host, also where the page is looked at on ours.
    let host = page.host.as_ref().map_or_else(String::new, |host| format!(" https://{host}"));
    let framed_by = if sites.is_empty() { "'none'".to_owned() } else { sites.join(" ") };
    HeaderValue::from_str(&format!("default-src 'none'; style-src 'self'{host}; {FIXED} {framed_by}")).unwrap_or(NOBODY)
}

/// For programs below `api/`, for people elsewhere.
fn nothing_there(path: &str) -> Response {
    // No page is known by whose looks to say it.
    const FOR_PEOPLE: &str = "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\"><title>Not found</title>\
        <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\"><meta name=\"color-scheme\" content=\"light dark\"></head>\
        <body><main><h1>There is no such page here</h1><p>The address may be mistyped, or the page was taken down.</p></main></body></html>";
    let (kind, text) = match path.starts_with("api/") {
        true => ("application/json; charset=utf-8", "{\"error\":\"not found\"}"),
        false => ("text/html; charset=utf-8", FOR_PEOPLE),
    };
    let headers = [
        (ACCESS_CONTROL_ALLOW_ORIGIN, "*"),
        (CONTENT_TYPE, kind),
        (CONTENT_SECURITY_POLICY, "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"),
        (X_CONTENT_TYPE_OPTIONS, "nosniff"),
    ];
    (StatusCode::NOT_FOUND, headers, text).into_response()
}

/// The answer to a reader of `path` below a page's own address.
pub(crate) fn answer(page: Option<&Page>, path: &str, request: &HeaderMap) -> Response {
    let Some(page) = page else { return nothing_there(path) };
    let found = page.parts.get(path.trim_end_matches('/')).filter(|_| page.has(path));
    if let Some(part) = found {
        return part.answer(request);
    }
    let Some(part) = page.parts.get(NOTHING).filter(|_| !path.starts_with("api/")) else { return nothing_there(path) };
    // Nobody has that already.
    let mut request = request.clone();
    request.remove(IF_NONE_MATCH);
    let mut response = part.answer(&request);
    *response.status_mut() = StatusCode::NOT_FOUND;
    response
}
