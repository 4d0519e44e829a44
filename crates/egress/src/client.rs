//! One HTTP exchange over a fresh connection, timed phase by phase and bounded in every direction.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use allclear_base::clock::Sleep;
use allclear_base::{Clock, clock};
use bytes::{Bytes, BytesMut};
use futures::future::{Either, select};
use http::header::{ACCEPT_ENCODING, AUTHORIZATION, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, COOKIE, HOST, LOCATION};
use http::{HeaderMap, HeaderValue, Method, StatusCode, Uri};
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;

use crate::connect::{Connect, Connected, Io, Target};
use crate::error::{Error, Phase};
use crate::{Guard, decode};

/// Redirects that are followed at most; browsers stop at 20, APIs have no use for that many.
const MOST_REDIRECTS: usize = 10;

/// The head of a response, in bytes.
const LARGEST_HEAD: usize = 64 * 1024;

/// Headers of a response.
const MOST_HEADERS: usize = 200;

/// A request.
#[derive(Debug, Clone)]
pub struct Request {
    /// The method.
    pub method: Method,
    /// The absolute address.
    pub url: String,
    /// Headers; `Host`, `Content-Length` and `Accept-Encoding` are added where they are missing.
    pub headers: HeaderMap,
    /// The body.
    pub body: Bytes,
    /// How long the whole exchange may take, redirects included.
    pub timeout: Duration,
    /// The largest body that is read, after decompression.
    pub largest_body: usize,
    /// Whether 3xx answers are followed.
    pub follow_redirects: bool,
}

/// Where an exchange's time went, in microseconds; with redirects, of the last exchange.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Timings {
    /// Resolving the name.
    pub dns_us: i64,
    /// Connecting.
    pub connect_us: i64,
    /// The TLS handshake.
    pub tls_us: i64,
    /// From the request to the response's head.
    pub wait_us: i64,
    /// Reading the body.
    pub transfer_us: i64,
}

/// A complete response.
#[derive(Debug, Clone)]
pub struct Response {
    /// The status.
    pub status: StatusCode,
    /// The headers.
    pub headers: HeaderMap,
    /// The body, decompressed.
    pub body: Bytes,
    /// Where the time went.
    pub timings: Timings,
    /// The address that answered.
    pub remote: Option<SocketAddr>,
    /// The address that the answer is of, after redirects.
    pub url: String,
}

/// An HTTP client. Cheap to clone.
#[derive(Clone)]
pub struct Client {
    connect: Arc<dyn Connect>,
    clock: Arc<dyn Clock>,
}

impl Client {
    /// A client over a way to connect.
    #[must_use]
    pub fn new(connect: Arc<dyn Connect>, clock: Arc<dyn Clock>) -> Self {
        Self { connect, clock }
    }

    /// Whether something accepts a connection at `host:port` within `timeout`.
    pub async fn reaches(&self, host: &str, port: u16, timeout: Duration) -> bool {
        let target = Target { host: host.to_owned(), port, tls: false };
        let deadline = self.deadline(timeout);
        let guard = Guard::with_private();
        matches!(clock::timeout_at(&*self.clock, deadline, self.connect.connect(&target, &guard)).await, Ok(Ok(_)))
    }

    /// A connection for another protocol than HTTP. The caller bounds what it does with it.
    ///
    /// # Errors
    /// [`Error`], by whose fault it is.
    pub async fn open(&self, target: &Target, guard: &Guard, timeout: Duration) -> Result<Box<dyn Io>, Error> {
        let after_ms = u64::try_from(timeout.as_millis()).unwrap_or(u64::MAX);
        let connecting = self.connect.connect(target, guard);
        let connected = clock::timeout_at(&*self.clock, self.deadline(timeout), connecting).await;
        connected.map_err(|_| Error::Timeout { phase: Phase::Connect, after_ms })?.map(|connected| connected.io)
    }

    /// Speaks TLS from here on with `host`, over a connection that began without it. `authority` holds certificates in PEM
    /// form that are trusted besides the system's.
    ///
    /// # Errors
    /// [`Error`], by whose fault it is.
    pub async fn start_tls(&self, io: Box<dyn Io>, host: &str, authority: Option<&str>) -> Result<Box<dyn Io>, Error> {
        self.connect.start_tls(io, host, authority).await
    }

    /// Runs `work` for at most `timeout`; nothing if it took longer.
    pub async fn within<T>(&self, timeout: Duration, work: impl Future<Output = T>) -> Option<T> {
        clock::timeout_at(&*self.clock, self.deadline(timeout), work).await.ok()
    }

    /// Whether this machine's resolver answers within `timeout`; nothing where the system names none.
    pub async fn resolver_answers(&self, timeout: Duration) -> Option<bool> {
        self.connect.resolver_answers(timeout).await
    }

    fn deadline(&self, timeout: Duration) -> i64 {
        self.clock.now_us().saturating_add(i64::try_from(timeout.as_micros()).unwrap_or(i64::MAX))
    }

    /// Sends a request and reads the whole response.
    ///
    /// # Errors
    /// [`Error`], by whose fault it is.
    pub async fn send(&self, request: Request, guard: &Guard) -> Result<Response, Error> {
        let mut deadline = self.clock.sleep_until(self.deadline(request.timeout));
        let mut request = request;
        let mut redirects = 0;
        loop {
            let response = self.exchange(&request, guard, &mut deadline).await?;
            let target = response.headers.get(LOCATION).filter(|_| request.follow_redirects && is_redirect(response.status));
            let Some(target) = target.and_then(|t| t.to_str().ok()) else { return Ok(response) };
            redirects += 1;
            if redirects > MOST_REDIRECTS {
                return Err(Error::TooManyRedirects(MOST_REDIRECTS));
            }
            request = redirected(request, target, response.status)?;
        }
    }

    async fn exchange(&self, request: &Request, guard: &Guard, deadline: &mut Sleep) -> Result<Response, Error> {
        let uri: Uri = request.url.parse().map_err(|_| bad_url(&request.url))?;
        let target = target_of(&uri)?;
        let after_ms = u64::try_from(request.timeout.as_millis()).unwrap_or(u64::MAX);
        let late = |phase| move |_| Error::Timeout { phase, after_ms };
        let connecting = self.connect.connect(&target, guard);
        let connected = clock::before(deadline, connecting).await.map_err(late(Phase::Connect))??;
        let Connected { io, remote, dns_us, connect_us, tls_us } = connected;
        let started = self.clock.now_us();
        let message = message_of(request, &uri)?;
        let handshake = http1::Builder::new().max_buf_size(LARGEST_HEAD).max_headers(MOST_HEADERS).handshake(TokioIo::new(io));
        let (mut sender, connection) = handshake.await.map_err(|e| broken(&e, false))?;
        let mut connection = std::pin::pin!(connection);
        let head = {
            let sending = std::pin::pin!(sender.send_request(message));
            let answered = std::pin::pin!(beside(sending, connection.as_mut()));
            clock::before(deadline, answered).await.map_err(late(Phase::Wait))?.map_err(|e| broken(&e, true))?
        };
        let waited = self.clock.now_us();
        let (parts, body) = head.into_parts();
        let body = {
            let reading = std::pin::pin!(read_body(body, request.largest_body));
            let read = std::pin::pin!(beside(reading, connection.as_mut()));
            clock::before(deadline, read).await.map_err(late(Phase::Transfer))??
        };
        let transferred = self.clock.now_us();
        let encoding = parts.headers.get(CONTENT_ENCODING).and_then(|v| v.to_str().ok()).unwrap_or("");
        let body = decode::decode(encoding, body, request.largest_body)?;
        let timings = Timings { dns_us, connect_us, tls_us, wait_us: waited - started, transfer_us: transferred - waited };
        Ok(Response { status: parts.status, headers: parts.headers, body, timings, remote, url: request.url.clone() })
    }
}

/// Runs `work` while the connection is driven beside it; the end of the connection does not end the work.
async fn beside<T>(work: impl Future<Output = T> + Unpin, connection: impl Future + Unpin) -> T {
    match select(work, connection).await {
        Either::Left((done, _)) => done,
        Either::Right((_, work)) => work.await,
    }
}

fn bad_url(url: &str) -> Error {
    let shown: String = url.chars().take(200).collect();
    Error::BadUrl(format!("{shown:?} is not an address; write http://host/path or https://host/path"))
}

fn target_of(uri: &Uri) -> Result<Target, Error> {
    let (tls, default_port) = match uri.scheme_str() {
        Some("https") => (true, 443),
        Some("http") => (false, 80),
        _ => return Err(bad_url(&uri.to_string())),
    };
    let host = uri.host().filter(|host| !host.is_empty()).ok_or_else(|| bad_url(&uri.to_string()))?;
    Ok(Target { host: host.to_owned(), port: uri.port_u16().unwrap_or(default_port), tls })
}

fn message_of(request: &Request, uri: &Uri) -> Result<http::Request<Full<Bytes>>, Error> {
    let path = uri.path_and_query().map_or("/", |p| p.as_str());
    let mut message = http::Request::new(Full::new(request.body.clone()));
    *message.method_mut() = request.method.clone();
    *message.uri_mut() = path.parse().map_err(|_| bad_url(&request.url))?;
    let headers = message.headers_mut();
    headers.clone_from(&request.headers);
    let authority = uri.authority().map_or("", |a| a.as_str());
    let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
    if !headers.contains_key(HOST) {
        headers.insert(HOST, HeaderValue::from_str(host).map_err(|_| bad_url(&request.url))?);
    }
    if !headers.contains_key(ACCEPT_ENCODING) {
        headers.insert(ACCEPT_ENCODING, HeaderValue::from_static("gzip, deflate"));
    }
    Ok(message)
}

async fn read_body(mut body: hyper::body::Incoming, limit: usize) -> Result<Bytes, Error> {
    let mut read = BytesMut::new();
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|e| broken(&e, true))?;
        let Ok(data) = frame.into_data() else { continue };
        if read.len() + data.len() > limit {
            return Err(Error::TooLarge { limit });
        }
        read.extend_from_slice(&data);
    }
    Ok(read.freeze())
}

fn broken(error: &hyper::Error, sent: bool) -> Error {
    let mut why = error.to_string();
    if let Some(cause) = std::error::Error::source(error) {
        let cause = cause.to_string();
        why = format!("{why}: {}", cause.split(" (os error").next().unwrap_or(&cause).to_lowercase());
    }
    Error::BadAnswer { why, sent }
}

const fn is_redirect(status: StatusCode) -> bool {
    matches!(status.as_u16(), 301 | 302 | 303 | 307 | 308)
}

/// The next request. Credentials stay behind when the host changes; 301, 302 and 303 turn into GET, as in browsers.
fn redirected(request: Request, target: &str, status: StatusCode) -> Result<Request, Error> {
    let from: Uri = request.url.parse().map_err(|_| bad_url(&request.url))?;
    let url = absolute(&from, target)?;
    let to: Uri = url.parse().map_err(|_| bad_url(&url))?;
    let mut next = Request { url, ..request };
    if (from.scheme(), from.authority()) != (to.scheme(), to.authority()) {
        for name in [AUTHORIZATION, COOKIE, HOST] {
            next.headers.remove(name);
        }
    }
    let keeps_method = matches!(status.as_u16(), 307 | 308) || matches!(next.method, Method::GET | Method::HEAD);
    if !keeps_method {
        next.method = Method::GET;
        next.body = Bytes::new();
        for name in [CONTENT_TYPE, CONTENT_LENGTH] {
            next.headers.remove(name);
        }
    }
    Ok(next)
}

/// Resolves a `Location` against the address it came from.
fn absolute(from: &Uri, target: &str) -> Result<String, Error> {
    if target.starts_with("http://") || target.starts_with("https://") {
        return Ok(target.to_owned());
    }
    let (Some(scheme), Some(authority)) = (from.scheme_str(), from.authority()) else { return Err(bad_url(target)) };
    if let Some(rest) = target.strip_prefix("//") {
        return Ok(format!("{scheme}://{rest}"));
    }
    if target.starts_with('/') {
        return Ok(format!("{scheme}://{authority}{target}"));
    }
    let folder = from.path().rsplit_once('/').map_or("", |(folder, _)| folder);
    Ok(format!("{scheme}://{authority}{folder}/{target}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_location_is_resolved_against_its_origin() {
        let from: Uri = "https://a.example/x/y?z".parse().expect("an address");
        for (target, expected) in [
            ("https://b.example/", "https://b.example/"),
            ("//b.example/c", "https://b.example/c"),
            ("/c", "https://a.example/c"),
            ("c", "https://a.example/x/c"),
        ] {
            assert_eq!(absolute(&from, target).as_deref(), Ok(expected));
        }
    }

    proptest! {
        #[test]
        fn no_location_makes_the_reader_panic_or_leads_to_another_scheme(
            target in "(https?:)?/{0,3}\\PC{0,40}|[a-z]{1,10}:\\PC{0,20}", status in prop::sample::select(vec![301_u16, 302, 303, 307, 308])
        ) {
            let request = Request {
                method: Method::POST,
                url: "https://a.example/x/y?z".into(),
                headers: HeaderMap::new(),
                body: Bytes::new(),
                timeout: Duration::from_secs(1),
                largest_body: 10,
                follow_redirects: true,
            };
            let status = StatusCode::from_u16(status).expect("a status");
            if let Ok(next) = redirected(request, &target, status) {
                let uri: Uri = next.url.parse().expect("an address that was read before");
                prop_assert!(matches!(uri.scheme_str(), Some("http" | "https")), "{}", next.url);
                let _target = target_of(&uri);
            }
        }
    }

    #[test]
    fn a_redirect_to_another_host_leaves_credentials_behind() {
        let mut headers = HeaderMap::new();
        headers.insert(AUTHORIZATION, HeaderValue::from_static("Bearer x"));
        let request = Request {
            method: Method::POST,
            url: "https://a.example/".into(),
            headers,
            body: Bytes::from_static(b"{}"),
            timeout: Duration::from_secs(1),
            largest_body: 10,
            follow_redirects: true,
        };
        let same = redirected(request.clone(), "/b", StatusCode::TEMPORARY_REDIRECT).expect("a request");
        assert!(same.headers.contains_key(AUTHORIZATION) && same.method == Method::POST && !same.body.is_empty());
        let other = redirected(request, "https://b.example/", StatusCode::FOUND).expect("a request");
        assert!(!other.headers.contains_key(AUTHORIZATION) && other.method == Method::GET && other.body.is_empty());
    }
}
