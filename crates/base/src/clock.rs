//! Time as a value that is handed over: the machine's clock, or one that a simulation moves.
//!
//! Instants are microseconds since 1970 in UTC. [`SystemClock`] is the wall time at start plus monotonic
//! elapsed time, so that a step of the wall clock never moves AllClear's time backwards. Who runs a database follows
//! the wall clock by correcting it.

use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// A sleeping future; it may be polled from any thread.
pub type Sleep = Pin<Box<dyn Future<Output = ()> + Send>>;

/// A source of time and of timers.
pub trait Clock: Send + Sync + 'static {
    /// Microseconds since 1970, UTC. Never less than an earlier answer.
    fn now_us(&self) -> i64;
    /// Completes once [`Clock::now_us`] has reached `at_us`.
    fn sleep_until(&self, at_us: i64) -> Sleep;
}

/// Waits for a span of time on `clock`.
pub fn sleep(clock: &dyn Clock, span: Duration) -> Sleep {
    let span_us = i64::try_from(span.as_micros()).unwrap_or(i64::MAX);
    clock.sleep_until(clock.now_us().saturating_add(span_us))
}

/// The deadline passed before the work was done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the deadline passed")]
pub struct Elapsed;

/// Runs `work` until `deadline_us` at most. The work is dropped when the deadline passes first.
///
/// # Errors
/// [`Elapsed`] when the deadline passed first.
pub async fn timeout_at<F: Future>(clock: &dyn Clock, deadline_us: i64, work: F) -> Result<F::Output, Elapsed> {
    before(&mut clock.sleep_until(deadline_us), work).await
}

/// The same for several pieces of work with one deadline. Once it passed, it is not to be used again.
///
/// # Errors
/// [`Elapsed`] when the deadline passed first.
pub async fn before<F: Future>(deadline: &mut Sleep, work: F) -> Result<F::Output, Elapsed> {
    match futures::future::select(std::pin::pin!(work), deadline).await {
        futures::future::Either::Left((output, _)) => Ok(output),
        futures::future::Either::Right(((), _)) => Err(Elapsed),
    }
}

/// The machine's clock: wall time at construction plus monotonic elapsed time, plus what was corrected since. It never
/// goes back: one that is ahead is slowed down until the wall clock has caught up.
#[derive(Debug)]
pub struct SystemClock {
    anchor: Instant,
    anchor_us: i64,
    corrected_us: AtomicI64,
}

/// The part of the time that has passed by which a clock that is ahead is held back: an escalation of five minutes takes
/// fifteen seconds longer, an hour is made up for within a day.
const HELD_BACK: i64 = 20;

impl SystemClock {
    /// Anchors a clock at the present wall time.
    #[must_use]
    #[expect(clippy::disallowed_methods, reason = "this is the one place that reads the machine's clock")]
    pub fn start() -> Self {
        Self { anchor: Instant::now(), anchor_us: wall_us(SystemTime::now()), corrected_us: AtomicI64::new(0) }
    }

    /// How far the wall clock is ahead of this clock, in microseconds; negative where it is behind.
    #[must_use]
    #[expect(clippy::disallowed_methods, reason = "this is the one place that reads the machine's clock")]
    pub fn wall_ahead_us(&self) -> i64 {
        wall_us(SystemTime::now()).saturating_sub(self.now_us())
    }

    /// Moves the clock forward.
    pub fn advance(&self, by_us: i64) {
        self.corrected_us.fetch_add(by_us.max(0), Ordering::SeqCst);
    }

    /// Holds the clock back by at most `by_us` for the time that has passed since this was last done.
    pub fn hold_back(&self, by_us: i64, passed: Duration) {
        let most_us = i64::try_from(passed.as_micros()).unwrap_or(i64::MAX) / HELD_BACK;
        self.corrected_us.fetch_sub(by_us.clamp(0, most_us), Ordering::SeqCst);
    }
}

fn wall_us(at: SystemTime) -> i64 {
    at.duration_since(UNIX_EPOCH).map_or(0, |d| i64::try_from(d.as_micros()).unwrap_or(i64::MAX))
}

impl Clock for SystemClock {
    #[expect(clippy::disallowed_methods, reason = "this is the one place that reads the machine's clock")]
    fn now_us(&self) -> i64 {
        let elapsed = Instant::now().saturating_duration_since(self.anchor).as_micros();
        let elapsed_us = i64::try_from(elapsed).unwrap_or(i64::MAX);
        self.anchor_us.saturating_add(elapsed_us).saturating_add(self.corrected_us.load(Ordering::Relaxed))
    }

    #[expect(clippy::disallowed_methods, reason = "this is the one place that waits on the machine's clock")]
    fn sleep_until(&self, at_us: i64) -> Sleep {
        let wait_us = u64::try_from(at_us.saturating_sub(self.now_us())).unwrap_or(0);
        Box::pin(tokio::time::sleep(Duration::from_micros(wait_us)))
    }
}

/// A clock that stands still until it is moved. For tests and simulations.
#[derive(Debug, Clone)]
pub struct VirtualClock {
    inner: Arc<Mutex<VirtualTime>>,
}

#[derive(Debug)]
struct VirtualTime {
    now_us: i64,
    next_key: u64,
    sleepers: BTreeMap<(i64, u64), Waker>,
}

impl VirtualClock {
    /// A clock that shows `now_us`.
    #[must_use]
    pub fn at(now_us: i64) -> Self {
        Self { inner: Arc::new(Mutex::new(VirtualTime { now_us, next_key: 0, sleepers: BTreeMap::new() })) }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, VirtualTime> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The earliest instant that something sleeps for.
    #[must_use]
    pub fn next_wake_us(&self) -> Option<i64> {
        self.lock().sleepers.keys().next().map(|(at, _)| *at)
    }

    /// Moves the clock to `to_us` (never back) and wakes everything due by then.
    pub fn advance_to(&self, to_us: i64) {
        let due = {
            let mut time = self.lock();
            time.now_us = time.now_us.max(to_us);
            let first_later = (time.now_us.saturating_add(1), 0);
            let later = time.sleepers.split_off(&first_later);
            std::mem::replace(&mut time.sleepers, later)
        };
        for waker in due.into_values() {
            waker.wake();
        }
    }

    /// Moves the clock forward by `span`.
    pub fn advance(&self, span: Duration) {
        let to = self.now_us().saturating_add(i64::try_from(span.as_micros()).unwrap_or(i64::MAX));
        self.advance_to(to);
    }
}

impl Clock for VirtualClock {
    fn now_us(&self) -> i64 {
        self.lock().now_us
    }

    fn sleep_until(&self, at_us: i64) -> Sleep {
        Box::pin(VirtualSleep { clock: self.clone(), at_us, key: None })
    }
}

struct VirtualSleep {
    clock: VirtualClock,
    at_us: i64,
    key: Option<u64>,
}

impl Future for VirtualSleep {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let clock = self.clock.clone();
        let mut time = clock.lock();
        if time.now_us >= self.at_us {
            return Poll::Ready(());
        }
        let key = *self.key.get_or_insert_with(|| {
            time.next_key += 1;
            time.next_key
        });
        time.sleepers.insert((self.at_us, key), cx.waker().clone());
        Poll::Pending
    }
}

impl Drop for VirtualSleep {
    fn drop(&mut self) {
        if let Some(key) = self.key {
            let at_us = self.at_us;
            self.clock.lock().sleepers.remove(&(at_us, key));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_virtual_sleeper_wakes_when_the_clock_reaches_its_instant_and_not_before() {
        let clock = VirtualClock::at(1_000);
        let mut sleeper = clock.sleep_until(1_500);
        let mut cx = Context::from_waker(Waker::noop());
        assert!(sleeper.as_mut().poll(&mut cx).is_pending());
        clock.advance_to(1_499);
        assert!(sleeper.as_mut().poll(&mut cx).is_pending());
        clock.advance_to(1_500);
        assert!(sleeper.as_mut().poll(&mut cx).is_ready());
        assert_eq!(clock.next_wake_us(), None);
    }

    #[test]
    fn a_clock_that_is_ahead_is_held_back_and_never_goes_back() {
        let clock = SystemClock::start();
        clock.advance(3_600_000_000);
        let ahead = clock.now_us();
        assert!(clock.wall_ahead_us() < -3_599_000_000);
        clock.hold_back(3_600_000_000, Duration::from_secs(1));
        let held = ahead - clock.now_us();
        assert!((0..=1_000_000 / HELD_BACK).contains(&held), "{held}");
    }

    #[test]
    fn a_virtual_clock_never_moves_back() {
        let clock = VirtualClock::at(50);
        clock.advance_to(10);
        assert_eq!(clock.now_us(), 50);
    }
}
