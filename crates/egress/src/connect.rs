//! The one seam: a connection to a checked address, with TLS where asked for.

use std::future::Future;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use allclear_base::Clock;
use rustls::RootCertStore;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use crate::{Error, Guard, resolver};

/// A connection.
pub trait Io: AsyncRead + AsyncWrite + Send + Sync + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Sync + Unpin> Io for T {}

/// Where to connect.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// A name or an address.
    pub host: String,
    /// The port.
    pub port: u16,
    /// Whether TLS is spoken.
    pub tls: bool,
}

/// A connection with how long it took to get.
pub struct Connected {
    /// The connection.
    pub io: Box<dyn Io>,
    /// The address that answered.
    pub remote: Option<SocketAddr>,
    /// Resolving the name, in microseconds.
    pub dns_us: i64,
    /// Connecting, in microseconds.
    pub connect_us: i64,
    /// The TLS handshake, in microseconds.
    pub tls_us: i64,
}

/// Something on its way that may fail.
pub type Work<'a, T> = Pin<Box<dyn Future<Output = Result<T, Error>> + Send + 'a>>;

/// A way to connect.
pub trait Connect: Send + Sync + 'static {
    /// Connects to an address of the target that the guard permits.
    fn connect<'a>(&'a self, target: &'a Target, guard: &'a Guard) -> Work<'a, Connected>;

    /// Speaks TLS from here on with `host`, over a connection that began without it. `authority` holds certificates in PEM
    /// form that are trusted besides the system's.
    fn start_tls<'a>(&'a self, io: Box<dyn Io>, host: &'a str, authority: Option<&'a str>) -> Work<'a, Box<dyn Io>> {
        let _unused = (io, host, authority);
        Box::pin(std::future::ready(Err(Error::Tls("there is no TLS here".into()))))
    }

    /// Whether the resolver answers within `timeout`; nothing where there is none, as on pipes in memory.
    fn resolver_answers(&self, _timeout: Duration) -> Pin<Box<dyn Future<Output = Option<bool>> + Send + '_>> {
        Box::pin(std::future::ready(None))
    }
}

/// Real sockets.
pub struct TcpConnect {
    clock: Arc<dyn Clock>,
    roots: Arc<RootCertStore>,
    tls: TlsConnector,
}

impl TcpConnect {
    /// With the system's certificate authorities.
    #[must_use]
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        let mut roots = RootCertStore::empty();
        let found = rustls_native_certs::load_native_certs();
        let (_taken, _ignored) = roots.add_parsable_certificates(found.certs);
        let roots = Arc::new(roots);
        Self { clock, tls: connector(Arc::clone(&roots)), roots }
    }

    async fn secure(&self, io: Box<dyn Io>, host: &str, authority: Option<&str>) -> Result<Box<dyn Io>, Error> {
        let connector = match authority {
            None => self.tls.clone(),
            Some(pem) => {
                let mut roots = RootCertStore::clone(&self.roots);
                let certificates: Vec<_> = CertificateDer::pem_slice_iter(pem.as_bytes()).filter_map(Result::ok).collect();
                let (_taken, _ignored) = roots.add_parsable_certificates(certificates);
                connector(Arc::new(roots))
            }
        };
        let name = ServerName::try_from(host.trim_matches(['[', ']']).to_owned());
        let name = name.map_err(|_| Error::BadUrl(format!("{host:?} is not a name that a certificate can have")))?;
        Ok(Box::new(connector.connect(name, io).await.map_err(|e| Error::Tls(plain(&e)))?))
    }

    async fn resolve(&self, target: &Target) -> Result<Vec<SocketAddr>, Error> {
        if let Ok(addr) = target.host.trim_matches(['[', ']']).parse::<IpAddr>() {
            return Ok(vec![SocketAddr::new(addr, target.port)]);
        }
        let found = tokio::net::lookup_host((target.host.as_str(), target.port)).await;
        let found: Vec<SocketAddr> = found.map_err(|e| dns_error(&target.host, &e))?.collect();
        if found.is_empty() {
            return Err(Error::Dns { host: target.host.clone(), why: "it has no address".into() });
        }
        Ok(found)
    }

    #[expect(clippy::disallowed_methods, reason = "this is the one place that opens outbound sockets")]
    async fn open(&self, addresses: &[SocketAddr]) -> Result<(TcpStream, SocketAddr), Error> {
        let mut last = None;
        for addr in addresses {
            match TcpStream::connect(addr).await {
                Ok(stream) => return Ok((stream, *addr)),
                Err(error) if is_local(&error) => return Err(Error::Local(error.to_string())),
                Err(error) => {
                    let refused = error.kind() == std::io::ErrorKind::ConnectionRefused;
                    last = Some(Error::Connect { to: addr.to_string(), why: plain(&error), refused });
                }
            }
        }
        Err(last.unwrap_or_else(|| Error::BadUrl("there is no address to connect to".into())))
    }

    async fn establish(&self, target: &Target, guard: &Guard) -> Result<Connected, Error> {
        let started = self.clock.now_us();
        let addresses = self.resolve(target).await?;
        // One internal address among several is refused as a whole: a name must not smuggle it in.
        if let Some(internal) = addresses.iter().find(|addr| !guard.permits(addr.ip())) {
            return Err(Error::Blocked { host: target.host.clone(), addr: internal.ip() });
        }
        let resolved = self.clock.now_us();
        let (stream, remote) = self.open(&addresses).await?;
        stream.set_nodelay(true).map_err(|e| Error::Local(e.to_string()))?;
        let connected = self.clock.now_us();
        let mut done = Connected {
            io: Box::new(stream),
            remote: Some(remote),
            dns_us: resolved - started,
            connect_us: connected - resolved,
            tls_us: 0,
        };
        if target.tls {
            done.io = self.secure(done.io, &target.host, None).await?;
            done.tls_us = self.clock.now_us() - connected;
        }
        Ok(done)
    }
}

impl Connect for TcpConnect {
    fn connect<'a>(&'a self, target: &'a Target, guard: &'a Guard) -> Work<'a, Connected> {
        Box::pin(self.establish(target, guard))
    }

    fn start_tls<'a>(&'a self, io: Box<dyn Io>, host: &'a str, authority: Option<&'a str>) -> Work<'a, Box<dyn Io>> {
        Box::pin(self.secure(io, host, authority))
    }

    fn resolver_answers(&self, timeout: Duration) -> Pin<Box<dyn Future<Output = Option<bool>> + Send + '_>> {
        Box::pin(resolver::answers(&*self.clock, timeout))
    }
}

fn connector(roots: Arc<RootCertStore>) -> TlsConnector {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = rustls::ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    // The versions are compiled in, so that the only error of this builder cannot occur; an empty store fails every handshake.
    let config = builder.map(|b| b.with_root_certificates(roots).with_no_client_auth());
    let config =
        config.unwrap_or_else(|_| rustls::ClientConfig::builder().with_root_certificates(RootCertStore::empty()).with_no_client_auth());
    TlsConnector::from(Arc::new(config))
}

fn dns_error(host: &str, error: &std::io::Error) -> Error {
    if is_local(error) {
        return Error::Local(error.to_string());
    }
    let why = error.to_string().replace("failed to lookup address information: ", "");
    Error::Dns { host: host.to_owned(), why }
}

/// Errors that are positively this machine's: too many files (EMFILE, ENFILE), no memory (ENOMEM), no buffers
/// (ENOBUFS), no local port left (EADDRNOTAVAIL).
fn is_local(error: &std::io::Error) -> bool {
    matches!(error.raw_os_error(), Some(23 | 24 | 12 | 105 | 99))
}

/// The system's words without its number.
fn plain(error: &std::io::Error) -> String {
    let text = error.to_string();
    text.split(" (os error").next().unwrap_or(&text).to_lowercase()
}
