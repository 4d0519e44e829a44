//! Nobody takes all the room at the door: connections that one address holds are counted, and a body comes in its time.

use std::collections::HashMap;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use allclear_base::Runtime;
use bytes::Bytes;
use hyper::body::{Body, Frame, SizeHint};
use tower::BoxError;

/// Connections that one address may hold: a quarter of all, so that whoever takes as many as they can leaves room for events and
/// acknowledgements of others. Trusted proxies speak for many and are not counted.
const MOST_OF_ONE: usize = 1_024;

/// How long each part of a body may take: whoever has half a megabit a second can send the largest configuration, and whoever sends
/// a byte a second is given up.
const PART_TIMEOUT: Duration = Duration::from_secs(20);

/// A part of a body.
const PART: usize = 1 << 20;

/// How often it is said that somebody holds too many connections.
const SAID_EVERY_US: i64 = 60_000_000;

/// Who holds how many connections.
#[derive(Clone, Default)]
pub(crate) struct Crowd(Arc<Mutex<Held>>);

#[derive(Default)]
struct Held {
    of: HashMap<IpAddr, usize>,
    /// Until when nothing more is said of those who hold too many.
    quiet_until_us: i64,
}

/// A place in the crowd; given back when dropped.
pub(crate) struct Place {
    crowd: Crowd,
    of: IpAddr,
}

impl Crowd {
    /// A place for one more connection of this address; nothing where it holds too many.
    pub(crate) fn admit(&self, addr: IpAddr) -> Option<Place> {
        let of = whose(addr);
        let mut held = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let count = held.of.entry(of).or_insert(0);
        (*count < MOST_OF_ONE).then(|| {
            *count += 1;
            Place { crowd: self.clone(), of }
        })
    }
}

impl Crowd {
    /// Somebody holds too many: it is said, though not each time.
    pub(crate) fn refused(&self, addr: IpAddr, now_us: i64) {
        let mut held = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if now_us >= held.quiet_until_us {
            held.quiet_until_us = now_us.saturating_add(SAID_EVERY_US);
            tracing::warn!(peer = %addr, most = MOST_OF_ONE, "an address holds too many connections: is it a proxy that --trusted-proxy should name?");
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut held = self.crowd.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = held.of.get_mut(&self.of) {
            *count -= 1;
            if *count == 0 {
                held.of.remove(&self.of);
            }
        }
    }
}

/// A host has a whole /64 of IPv6 addresses.
fn whose(addr: IpAddr) -> IpAddr {
    match addr.to_canonical() {
        IpAddr::V6(addr) => IpAddr::V6((addr.to_bits() & (u128::MAX << 64)).into()),
        addr @ IpAddr::V4(_) => addr,
    }
}

/// A body that comes in its time, or is given up.
pub(crate) struct InTime<B> {
    body: B,
    /// Nothing for a body that is there already.
    late: Option<Pin<Box<dyn Future<Output = ()> + Send>>>,
    /// Bytes of the part that came last.
    came: usize,
    runtime: Runtime,
}

impl<B: Body> InTime<B> {
    pub(crate) fn new(body: B, runtime: &Runtime) -> Self {
        let late = (!body.is_end_stream()).then(|| part_of(runtime));
        Self { body, late, came: 0, runtime: runtime.clone() }
    }
}

fn part_of(runtime: &Runtime) -> Pin<Box<dyn Future<Output = ()> + Send>> {
    let runtime = runtime.clone();
    Box::pin(async move { runtime.sleep(PART_TIMEOUT).await })
}

impl<B: Body<Data = Bytes> + Unpin> Body for InTime<B>
where
    B::Error: Into<BoxError>,
{
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        if let Poll::Ready(frame) = Pin::new(&mut self.body).poll_frame(cx) {
            if let Some(Ok(bytes)) = frame.as_ref().map(|frame| frame.as_ref().map(|frame| frame.data_ref().map_or(0, Bytes::len))) {
                self.came += bytes;
            }
            if self.came >= PART {
                self.came = 0;
                self.late = Some(part_of(&self.runtime));
            }
            return Poll::Ready(frame.map(|frame| frame.map_err(Into::into)));
        }
        match self.late.as_mut().map(|late| late.as_mut().poll(cx)) {
            Some(Poll::Ready(())) => Poll::Ready(Some(Err("the body took too long".into()))),
            Some(Poll::Pending) | None => Poll::Pending,
        }
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use allclear_base::clock::VirtualClock;
    use allclear_base::runtime::TokioSpawn;
    use allclear_base::{OsRng, Runtime};
    use futures::StreamExt;
    use http_body_util::StreamBody;

    use super::*;

    #[test]
    fn a_body_that_does_not_come_is_given_up() {
        let clock = VirtualClock::at(0);
        let runtime = Runtime { clock: Arc::new(clock.clone()), rng: Arc::new(OsRng), spawner: Arc::new(TokioSpawn) };
        let nothing = futures::stream::pending::<Result<Frame<Bytes>, Infallible>>();
        let mut body = InTime::new(StreamBody::new(nothing), &runtime);
        let mut cx = Context::from_waker(std::task::Waker::noop());
        assert!(Pin::new(&mut body).poll_frame(&mut cx).is_pending());
        clock.advance_to(19_999_999);
        assert!(Pin::new(&mut body).poll_frame(&mut cx).is_pending());
        clock.advance_to(20_000_000);
        assert!(matches!(Pin::new(&mut body).poll_frame(&mut cx), Poll::Ready(Some(Err(_)))));
    }

    #[test]
    fn a_large_body_comes_by_a_slow_line() {
        let clock = VirtualClock::at(0);
        let runtime = Runtime { clock: Arc::new(clock.clone()), rng: Arc::new(OsRng), spawner: Arc::new(TokioSpawn) };
        let part = || Ok::<_, Infallible>(Frame::data(Bytes::from(vec![0; PART])));
        let parts = futures::stream::iter((0..8).map(move |_| part())).chain(futures::stream::pending());
        let mut body = InTime::new(StreamBody::new(parts), &runtime);
        let mut cx = Context::from_waker(std::task::Waker::noop());
        for n in 1..=8 {
            clock.advance_to(n * 15_000_000);
            assert!(matches!(Pin::new(&mut body).poll_frame(&mut cx), Poll::Ready(Some(Ok(_)))), "{n}");
        }
        assert!(Pin::new(&mut body).poll_frame(&mut cx).is_pending());
        clock.advance_to(9 * 15_000_000 + 5_000_000);
        assert!(matches!(Pin::new(&mut body).poll_frame(&mut cx), Poll::Ready(Some(Err(_)))));
    }

    #[test]
    fn one_address_leaves_room_for_the_others_and_gets_its_own_back() {
        let crowd = Crowd::default();
        let (one, other) = ("203.0.113.7".parse().expect("an address"), "203.0.113.8".parse().expect("an address"));
        let mut held: Vec<Place> = (0..MOST_OF_ONE).map(|_| crowd.admit(one).expect("a place")).collect();
        assert!(crowd.admit(one).is_none() && crowd.admit(other).is_some());
        held.pop();
        assert!(crowd.admit(one).is_some());
        held.clear();
        assert!(crowd.0.lock().expect("unpoisoned").of.is_empty());
    }

    #[test]
    fn a_host_is_counted_by_its_network_where_it_may_choose_its_address() {
        let crowd = Crowd::default();
        let of = |n: u16| format!("2001:db8::{n:x}").parse::<IpAddr>().expect("an address");
        let held: Vec<Option<Place>> = (0..1_024).map(|n| crowd.admit(of(n))).collect();
        assert!(held.iter().all(Option::is_some) && crowd.admit(of(2_000)).is_none());
        assert!(crowd.admit("::ffff:203.0.113.7".parse().expect("an address")).is_some());
    }
}
