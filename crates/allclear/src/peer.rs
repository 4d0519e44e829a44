//! Whose request it is: the peer of the connection, or whom a trusted proxy names.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::task::{Context, Poll};

use allclear_api::Front;
use allclear_base::Runtime;
use allclear_egress::Cidr;
use allclear_ops::route::Client;
use http::{HeaderMap, Request};
use hyper::body::Incoming;
use tower::Service;

use crate::crowd::InTime;

/// What answers one connection.
#[derive(Clone)]
pub(crate) struct OfPeer {
    front: Front,
    /// Nothing for a socket in the file system.
    peer: Option<IpAddr>,
    proxies: Arc<[Cidr]>,
    runtime: Runtime,
}

impl OfPeer {
    pub(crate) fn new(front: Front, peer: Option<SocketAddr>, proxies: &Arc<[Cidr]>, runtime: &Runtime) -> Self {
        let peer = peer.map(|peer| peer.ip().to_canonical());
        Self { front, peer, proxies: Arc::clone(proxies), runtime: runtime.clone() }
    }

    /// Whether the peer speaks for others.
    pub(crate) fn is_proxy(&self) -> bool {
        self.peer.is_some_and(|peer| self.proxies.iter().any(|range| range.contains(peer)))
    }
}

impl Service<Request<Incoming>> for OfPeer {
    type Response = <Front as Service<Request<InTime<Incoming>>>>::Response;
    type Error = <Front as Service<Request<InTime<Incoming>>>>::Error;
    type Future = <Front as Service<Request<InTime<Incoming>>>>::Future;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Service::<Request<InTime<Incoming>>>::poll_ready(&mut self.front, cx)
    }

    fn call(&mut self, mut request: Request<Incoming>) -> Self::Future {
        if let Some(peer) = self.peer {
            let client = client(peer, request.headers(), &self.proxies);
            request.extensions_mut().insert(Client(client));
        }
        let runtime = &self.runtime;
        self.front.call(request.map(|body| InTime::new(body, runtime)))
    }
}

/// The first address from the right that is not a trusted proxy's. What stands left of it anybody may have written.
fn client(peer: IpAddr, headers: &HeaderMap, proxies: &[Cidr]) -> IpAddr {
    let is_proxy = |addr: IpAddr| proxies.iter().any(|range| range.contains(addr));
    let lines = headers.get_all("x-forwarded-for").iter().rev().filter_map(|value| value.to_str().ok());
    let named = lines.flat_map(|line| line.rsplit(',')).map(|name| address(name.trim()));
    let mut client = peer;
    for name in named {
        match name.filter(|_| is_proxy(client)) {
            Some(before) => client = before,
            None => break,
        }
    }
    client
}

/// An address, which some proxies write with a port.
fn address(text: &str) -> Option<IpAddr> {
    let plain = text.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>().ok();
    plain.or_else(|| text.parse::<SocketAddr>().ok().map(|addr| addr.ip())).map(|addr| addr.to_canonical())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_is_whom_the_last_trusted_proxy_names_and_nobody_names_themselves() {
        let proxies: Vec<Cidr> = ["10.0.0.0/8", "fd00::/8"].iter().map(|text| text.parse().expect("a range")).collect();
        for (peer, forwarded, expected) in [
            ("203.0.113.7", &[][..], "203.0.113.7"),
            ("203.0.113.7", &["198.51.100.1"][..], "203.0.113.7"),
            ("10.0.0.1", &[][..], "10.0.0.1"),
            ("10.0.0.1", &["198.51.100.1"][..], "198.51.100.1"),
            ("10.0.0.1", &["192.0.2.66, 198.51.100.1"][..], "198.51.100.1"),
            ("10.0.0.1", &["192.0.2.66, 198.51.100.1, 10.9.9.9"][..], "198.51.100.1"),
            ("10.0.0.1", &["192.0.2.66", "198.51.100.1", "10.9.9.9"][..], "198.51.100.1"),
            ("10.0.0.1", &["198.51.100.1:5123"][..], "198.51.100.1"),
            ("fd00::1", &["[2001:db8::1]:443"][..], "2001:db8::1"),
            ("10.0.0.1", &["192.0.2.66, nonsense"][..], "10.0.0.1"),
            ("10.0.0.1", &["::ffff:198.51.100.1"][..], "198.51.100.1"),
        ] {
            let mut headers = HeaderMap::new();
            for line in forwarded {
                headers.append("x-forwarded-for", line.parse().expect("a header"));
            }
            let found = client(peer.parse().expect("an address"), &headers, &proxies);
            assert_eq!(found.to_string(), expected, "{peer} {forwarded:?}");
        }
    }
}
