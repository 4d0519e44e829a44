//! Sends what waits in the outbox: claim, call with no transaction open, settle.
//!
//! Each provider has its own send slots and its own breaker: a slow or broken one holds nobody else up. What they can take
//! is claimed for all of them in one commit. At most one message a second goes to one destination, as Slack and Twilio
//! allow; what waits meanwhile goes as one.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use allclear_base::crash;
use allclear_base::runtime::Switch;
use allclear_channels::{Envelope, PROVIDERS, is_idempotent};
use allclear_domain::delivery::{Breaker, Outcome};
use allclear_domain::{ChannelId, Timestamp};
use allclear_ops::delivery::{self, Outgoing, Share};

use crate::Parts;

/// Calls to one provider at the same time.
const SLOTS: usize = 16;

/// The pace at which one destination is written to: the providers' own limit.
const PACE_US: i64 = 1_000_000;

/// Destinations that were written to within the last second.
type Paces = Arc<Mutex<BTreeMap<(ChannelId, String), i64>>>;

/// The dispatcher.
#[derive(Clone, Default)]
pub(crate) struct Dispatch {
    under_way: Arc<AtomicUsize>,
}

impl Dispatch {
    pub(crate) fn start(parts: &Parts, stop: &Switch) -> Self {
        let dispatch = Self::default();
        let (parts, stop, under_way) = (parts.clone(), stop.clone(), Arc::clone(&dispatch.under_way));
        parts.pager.clone().supervise("dispatch", Arc::clone(&parts.health), move || {
            let providers = PROVIDERS.iter().map(|name| Provider {
                parts: parts.clone(),
                name,
                paces: Paces::default(),
                breaker: Arc::default(),
                busy: Arc::default(),
                under_way: Arc::clone(&under_way),
            });
            let (parts, stop, providers) = (parts.clone(), stop.clone(), providers.collect::<Vec<_>>());
            async move { run(&parts, &providers, &stop).await }
        });
        dispatch
    }

    /// Whether no call is under way.
    pub(crate) fn is_idle(&self) -> bool {
        self.under_way.load(Ordering::SeqCst) == 0
    }
}

async fn run(parts: &Parts, providers: &[Provider], stop: &Switch) {
    while !stop.is_turned() {
        let now = parts.pager.clock.now_us();
        let (shares, again_at): (Vec<Share>, Vec<i64>) = providers.iter().map(|provider| provider.share(now)).unzip();
        let able = shares.iter().any(|share| share.slots > 0);
        let claimed = if able { delivery::claim(&parts.store, &*parts.pager.rng, shares).await } else { Ok(vec![]) };
        match claimed {
            Ok(outgoing) if outgoing.is_empty() => {
                let due = delivery::next_due(&parts.store, PROVIDERS).await.unwrap_or_default();
                // What is due already waits for a slot, a lane or a pace; each of them wakes this loop.
                let due = due.into_iter().flatten().map(|due| due.0).filter(|due| *due > now).min().unwrap_or(i64::MAX);
                let again_at = again_at.into_iter().min().unwrap_or(i64::MAX);
                let until = due.min(again_at).min(parts.look_anyway_at(now));
                parts.store.wakes().outbox.wait_until(&*parts.pager.clock, until).await;
            }
            Ok(outgoing) => {
                crash::point("dispatch.after_claim");
                for one in outgoing {
                    if let Some(provider) = providers.iter().find(|provider| provider.name == one.provider) {
                        provider.begin(one);
                    }
                }
            }
            Err(error) => {
                tracing::warn!(%error, "messages could not be claimed yet");
                parts.pager.sleep(Duration::from_millis(200)).await;
            }
        }
    }
}

#[derive(Clone)]
struct Provider {
    parts: Parts,
    name: &'static str,
    paces: Paces,
    breaker: Arc<Mutex<Breaker>>,
    busy: Arc<AtomicUsize>,
    under_way: Arc<AtomicUsize>,
}

impl Provider {
    /// What it can take at `now`, and when that may be more though nobody wakes the loop.
    fn share(&self, now: i64) -> (Share, i64) {
        let (busy, next_pace) = self.paced(now);
        let breaker = self.breaker(|breaker| *breaker);
        let free = SLOTS.saturating_sub(self.busy.load(Ordering::SeqCst));
        let next_try = breaker.next_try().map(|at| at.0).filter(|at| *at > now).unwrap_or(i64::MAX);
        (Share { provider: self.name, slots: breaker.allows(free, Timestamp(now)), busy }, next_pace.min(next_try))
    }

    /// The destinations that must wait, and when the first of them may be written to again.
    fn paced(&self, now: i64) -> (BTreeSet<(ChannelId, String)>, i64) {
        let mut paces = self.paces.lock().unwrap_or_else(PoisonError::into_inner);
        paces.retain(|_, until| *until > now);
        let next = paces.values().copied().min().unwrap_or(i64::MAX);
        (paces.keys().cloned().collect(), next)
    }

    /// Looks at the breaker or changes it.
    fn breaker<T>(&self, work: impl FnOnce(&mut Breaker) -> T) -> T {
        work(&mut self.breaker.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn begin(&self, outgoing: Outgoing) {
        let now = self.parts.pager.clock.now_us();
        self.breaker(|breaker| *breaker = breaker.begun(Timestamp(now)));
        let until = now + PACE_US;
        self.paces.lock().unwrap_or_else(PoisonError::into_inner).insert((outgoing.channel.clone(), outgoing.address.clone()), until);
        self.busy.fetch_add(1, Ordering::SeqCst);
        self.under_way.fetch_add(1, Ordering::SeqCst);
        let provider = self.clone();
        self.parts.pager.spawn(async move {
            provider.send(&outgoing).await;
            provider.busy.fetch_sub(1, Ordering::SeqCst);
            provider.under_way.fetch_sub(1, Ordering::SeqCst);
            provider.parts.store.wakes().outbox.wake();
        });
    }

    async fn send(&self, outgoing: &Outgoing) {
        let catalog = self.parts.store.catalog();
        let outcome = match catalog.channel(&outgoing.channel) {
            Some(channel) => {
                let envelope = Envelope {
                    channel_id: &outgoing.channel,
                    channel,
                    address: &outgoing.address,
                    by: outgoing.by,
                    attempt: &outgoing.attempt,
                    message: &outgoing.message,
                    root: outgoing.root.as_deref(),
                };
                self.parts.channels.send(&envelope).await
            }
            None => Outcome::Permanent { why: "the channel was removed".into() },
        };
        crash::point("dispatch.after_send");
        if !matches!(outcome, Outcome::Accepted { .. }) {
            tracing::warn!(provider = self.name, attempt = outgoing.attempt, ?outcome, "a message was not accepted");
        }
        self.watch(&outcome);
        self.settle(outgoing, outcome).await;
        crash::point("dispatch.after_outcome");
    }

    /// Lets the breaker see an outcome, and says when it opens or closes.
    fn watch(&self, outcome: &Outcome) {
        let now = Timestamp(self.parts.pager.clock.now_us());
        let (before, after) = self.breaker(|breaker| {
            let before = std::mem::replace(breaker, breaker.ended(outcome, now));
            (before, *breaker)
        });
        match (before.next_try(), after.next_try()) {
            (None, Some(_)) => {
                tracing::error!(provider = self.name, "the provider keeps failing; one message at a time finds out when it is back")
            }
            (Some(_), None) => tracing::info!(provider = self.name, "the provider works again"),
            (None, None) | (Some(_), Some(_)) => {}
        }
    }

    /// An outcome that cannot be written down is tried again until the lease is over; then it counts as unknown.
    async fn settle(&self, outgoing: &Outgoing, outcome: Outcome) {
        const TRIES: u32 = 8;
        for pause_ms in (0..TRIES).map(|n| 50 << n) {
            let idempotent = is_idempotent(self.name);
            match delivery::settle(&self.parts.store, &*self.parts.pager.rng, outgoing, outcome.clone(), idempotent).await {
                Ok(()) => return,
                Err(error) => tracing::warn!(attempt = outgoing.attempt, %error, "an outcome could not be written down yet"),
            }
            self.parts.pager.sleep(Duration::from_millis(pause_ms)).await;
        }
    }
}
