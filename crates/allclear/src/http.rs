//! Listeners: bounded in connections, patient only so long with a head that does not come, and ended gently.

use std::sync::Arc;
use std::time::Duration;

use allclear_api::Front;
use allclear_base::Runtime;
use allclear_base::runtime::Switch;
use allclear_egress::Cidr;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream, UnixListener};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::crowd::{Crowd, Place};
use crate::peer::OfPeer;
use crate::tls::Certificate;

/// Connections at the same time; more wait in the system's queue.
const MOST_CONNECTIONS: usize = 4_096;

/// How long a request's head may take: a client that sends a byte a minute holds nothing for long.
const HEAD_TIMEOUT: Duration = Duration::from_secs(10);

/// The head of a request.
const LARGEST_HEAD: usize = 32 * 1024;

/// Where requests come in.
#[derive(Clone)]
pub(crate) struct Door {
    pub(crate) listener: Arc<TcpListener>,
    pub(crate) certificate: Option<Certificate>,
    /// Proxies that are believed when they say whom they ask for.
    pub(crate) proxies: Arc<[Cidr]>,
}

/// Serves until `stop` is turned, then lets each connection finish its request.
pub(crate) async fn serve_tcp(door: Door, front: Front, runtime: Runtime, stop: Switch) {
    let Door { listener, certificate, proxies } = door;
    let (permits, crowd) = (Arc::new(Semaphore::new(MOST_CONNECTIONS)), Crowd::default());
    loop {
        let accepted = std::pin::pin!(accept(&permits, listener.accept()));
        let stopped = std::pin::pin!(stop.turned());
        match futures::future::select(accepted, stopped).await {
            futures::future::Either::Left((Some((permit, (stream, peer))), _)) => {
                let front = OfPeer::new(front.clone(), Some(peer), &proxies, &runtime);
                let place = crowd.admit(peer.ip());
                if place.is_none() && !front.is_proxy() {
                    crowd.refused(peer.ip(), runtime.clock.now_us());
                    continue;
                }
                let permit = Permit { _permit: permit, _place: place.filter(|_| !front.is_proxy()) };
                // A small answer must not wait for a full packet.
                if let Err(error) = stream.set_nodelay(true) {
                    tracing::debug!(%error, "a connection without TCP_NODELAY");
                }
                match &certificate {
                    Some(certificate) => start_tls(stream, certificate, front, &runtime, &stop, permit),
                    None => start(stream, front, &runtime, &stop, permit),
                }
            }
            futures::future::Either::Left((None, _)) => runtime.sleep(Duration::from_millis(50)).await,
            futures::future::Either::Right(_) => return,
        }
    }
}

/// The same for a socket in the file system.
pub(crate) async fn serve_unix(listener: UnixListener, front: Front, runtime: Runtime, stop: Switch) {
    let nobody: Arc<[Cidr]> = Arc::new([]);
    let permits = Arc::new(Semaphore::new(MOST_CONNECTIONS));
    loop {
        let accepted = std::pin::pin!(accept(&permits, listener.accept()));
        let stopped = std::pin::pin!(stop.turned());
        match futures::future::select(accepted, stopped).await {
            futures::future::Either::Left((Some((permit, (stream, _))), _)) => {
                let permit = Permit { _permit: permit, _place: None };
                start(stream, OfPeer::new(front.clone(), None, &nobody, &runtime), &runtime, &stop, permit)
            }
            futures::future::Either::Left((None, _)) => runtime.sleep(Duration::from_millis(50)).await,
            futures::future::Either::Right(_) => return,
        }
    }
}

/// The same behind TLS. A client that does not finish its handshake holds its place for as long as one without a head.
fn start_tls(stream: TcpStream, certificate: &Certificate, front: OfPeer, runtime: &Runtime, stop: &Switch, permit: Permit) {
    let (acceptor, stop) = (certificate.acceptor(), stop.clone());
    let inner = runtime.clone();
    runtime.spawn(async move {
        let shaken = std::pin::pin!(acceptor.accept(stream));
        let late = std::pin::pin!(inner.sleep(HEAD_TIMEOUT));
        match futures::future::select(shaken, late).await {
            futures::future::Either::Left((Ok(stream), _)) => start(stream, front, &inner, &stop, permit),
            futures::future::Either::Left((Err(error), _)) => tracing::debug!(%error, "a TLS handshake failed"),
            futures::future::Either::Right(_) => tracing::debug!("a TLS handshake took too long"),
        }
    });
}

/// What a connection holds until it ends.
struct Permit {
    _permit: OwnedSemaphorePermit,
    _place: Option<Place>,
}

/// A connection with its place; nothing where the system could not give one (it may be out of descriptors).
async fn accept<T>(permits: &Arc<Semaphore>, accept: impl Future<Output = std::io::Result<T>>) -> Option<(OwnedSemaphorePermit, T)> {
    let permit = Arc::clone(permits).acquire_owned().await.ok()?;
    match accept.await {
        Ok(accepted) => Some((permit, accepted)),
        Err(error) => {
            tracing::warn!(%error, "a connection could not be accepted");
            None
        }
    }
}

fn start(io: impl AsyncRead + AsyncWrite + Unpin + Send + 'static, front: OfPeer, runtime: &Runtime, stop: &Switch, permit: Permit) {
    let (service, stop) = (TowerToHyperService::new(front), stop.clone());
    runtime.spawn(async move {
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(HEAD_TIMEOUT)
            .max_buf_size(LARGEST_HEAD)
            .serve_connection(TokioIo::new(io), service);
        let mut connection = std::pin::pin!(connection);
        let stopped = std::pin::pin!(stop.turned());
        let ended = match futures::future::select(connection.as_mut(), stopped).await {
            futures::future::Either::Left((ended, _)) => ended,
            futures::future::Either::Right(_) => {
                connection.as_mut().graceful_shutdown();
                connection.await
            }
        };
        if let Err(error) = ended {
            tracing::debug!(%error, "a connection broke");
        }
        drop(permit);
    });
}
