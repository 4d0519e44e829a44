//! Sends what waits in the outbox: claim, call with no transaction open, settle.
//!
//! Each carrier (a channel, by one class of means) has its own send slots and its own breaker: a slow or broken one holds
//! nobody else up. What they can take is claimed for all of them in one commit. At most one message a second goes to one
//! destination, as Slack and Twilio allow; what waits meanwhile goes as one.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use allclear_base::crash;
use allclear_base::runtime::Switch;
use allclear_channels::Envelope;
use allclear_domain::delivery::{Breaker, Outcome};
use allclear_domain::{ChannelId, Timestamp};
use allclear_ops::delivery::{self, Capacity, Carrier, Claimed, Outgoing};

use crate::Parts;

/// Calls by one carrier at the same time.
const SLOTS: usize = 16;

/// The pace at which one destination is written to in the long run: the providers' own limit is about one a second.
const PACE_US: i64 = 1_000_000;

/// How much early a message may go that keeps that pace in the long run: what is due within a second should begin within it.
const EARLY_US: i64 = 300_000;

/// Destinations that were written to lately, with when the next message is due by the pace.
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
            let mut fleet =
                Fleet { parts: parts.clone(), senders: BTreeMap::new(), paces: Paces::default(), under_way: Arc::clone(&under_way) };
            let stop = stop.clone();
            async move { fleet.run(&stop).await }
        });
        dispatch
    }

    /// Whether no call is under way.
    pub(crate) fn is_idle(&self) -> bool {
        self.under_way.load(Ordering::SeqCst) == 0
    }
}

/// Every carrier that was used; as many as there are channels, twice.
struct Fleet {
    parts: Parts,
    senders: BTreeMap<Carrier, Sender>,
    paces: Paces,
    under_way: Arc<AtomicUsize>,
}

impl Fleet {
    async fn run(&mut self, stop: &Switch) {
        while !stop.is_turned() {
            let now = self.parts.pager.clock.now_us();
            let (capacity, again_at) = self.capacity(now);
            match delivery::claim(&self.parts.store, &*self.parts.pager.rng, capacity).await {
                Ok(Claimed { outgoing, next_due }) if outgoing.is_empty() => {
                    // What is due already waits for a slot, a lane or a pace; each of them wakes this loop.
                    let due = next_due.map_or(i64::MAX, |due| due.0);
                    let until = due.min(again_at).min(self.parts.look_anyway_at(now));
                    self.parts.store.wakes().outbox.wait_until(&*self.parts.pager.clock, until).await;
                }
                Ok(Claimed { outgoing, .. }) => {
                    crash::point("dispatch.after_claim");
                    self.senders.retain(|carrier, sender| {
                        let stays = sender.is_busy() || self.parts.store.catalog().channel(&carrier.channel).is_some();
                        if !stays {
                            self.parts.health.keeps_failing(&sender.name, false);
                        }
                        stays
                    });
                    for one in outgoing {
                        self.sender(&one.carrier).begin(one);
                    }
                }
                Err(error) => {
                    tracing::warn!(%error, "messages could not be claimed yet");
                    self.parts.pager.sleep(Duration::from_millis(200)).await;
                }
            }
        }
    }

    fn sender(&mut self, carrier: &Carrier) -> &Sender {
        let (parts, paces, under_way) = (&self.parts, &self.paces, &self.under_way);
        self.senders.entry(carrier.clone()).or_insert_with(|| Sender {
            parts: parts.clone(),
            name: name_of(parts, carrier),
            carrier: carrier.clone(),
            paces: Arc::clone(paces),
            breaker: Arc::default(),
            busy: Arc::default(),
            under_way: Arc::clone(under_way),
        })
    }

    /// What the carriers can take at `now`, and when that may be more though nobody wakes the loop.
    fn capacity(&self, now: i64) -> (Capacity, i64) {
        let (busy, mut again_at) = self.paced(now);
        let mut capacity = Capacity { idle: SLOTS, busy, ..Capacity::default() };
        for (carrier, sender) in &self.senders {
            let breaker = sender.breaker(|breaker| *breaker);
            let free = SLOTS.saturating_sub(sender.busy.load(Ordering::SeqCst));
            capacity.slots.insert(carrier.clone(), breaker.allows(free, Timestamp(now)));
            // One whose next try is due gets it: that is how it is found to be back.
            if let Some(at) = breaker.next_try().filter(|at| at.0 > now) {
                capacity.unwell.insert(carrier.clone());
                again_at = again_at.min(at.0);
            }
        }
        (capacity, again_at)
    }

    /// The destinations that must wait, and when the first of them may be written to again.
    fn paced(&self, now: i64) -> (BTreeSet<(ChannelId, String)>, i64) {
        let mut paces = self.paces.lock().unwrap_or_else(PoisonError::into_inner);
        paces.retain(|_, due| *due > now);
        let waiting: Vec<_> = paces.iter().filter(|(_, due)| **due - EARLY_US > now).collect();
        let next = waiting.iter().map(|(_, due)| **due - EARLY_US).min().unwrap_or(i64::MAX);
        (waiting.into_iter().map(|(destination, _)| destination.clone()).collect(), next)
    }
}

fn name_of(parts: &Parts, carrier: &Carrier) -> String {
    let catalog = parts.store.catalog();
    let channel = catalog.channel(&carrier.channel).map_or(carrier.channel.as_str(), |channel| channel.name.as_str());
    format!("{channel} ({})", carrier.class)
}

#[derive(Clone)]
struct Sender {
    parts: Parts,
    carrier: Carrier,
    /// What people call it: `Twilio (sms)`.
    name: String,
    paces: Paces,
    breaker: Arc<Mutex<Breaker>>,
    busy: Arc<AtomicUsize>,
    under_way: Arc<AtomicUsize>,
}

impl Sender {
    fn is_busy(&self) -> bool {
        self.busy.load(Ordering::SeqCst) > 0
    }

    /// Looks at the breaker or changes it.
    fn breaker<T>(&self, work: impl FnOnce(&mut Breaker) -> T) -> T {
        work(&mut self.breaker.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn begin(&self, outgoing: Outgoing) {
        let now = self.parts.pager.clock.now_us();
        self.breaker(|breaker| *breaker = breaker.begun(Timestamp(now)));
        self.written_to(&outgoing.address, now);
        self.busy.fetch_add(1, Ordering::SeqCst);
        self.under_way.fetch_add(1, Ordering::SeqCst);
        let sender = self.clone();
        self.parts.pager.spawn(async move {
            sender.send(&outgoing).await;
            sender.busy.fetch_sub(1, Ordering::SeqCst);
            sender.under_way.fetch_sub(1, Ordering::SeqCst);
            sender.parts.store.wakes().outbox.wake();
        });
    }

    /// Counts a message to a destination: the next is due a pace after this one was, and after a burst soon enough for who
    /// waits then. Programs take what their slots allow.
    fn written_to(&self, address: &str, now: i64) {
        const LONGEST_US: i64 = 2 * PACE_US;
        if self.parts.store.catalog().channel(&self.carrier.channel).is_some_and(|channel| channel.account.is_for_programs()) {
            return;
        }
        let mut paces = self.paces.lock().unwrap_or_else(PoisonError::into_inner);
        let due = paces.entry((self.carrier.channel.clone(), address.to_owned())).or_insert(now);
        *due = (now.max(*due) + PACE_US).min(now + LONGEST_US);
    }

    async fn send(&self, outgoing: &Outgoing) {
        let catalog = self.parts.store.catalog();
        let outcome = match catalog.channel(&self.carrier.channel) {
            Some(channel) => {
                let envelope = Envelope {
                    channel_id: &self.carrier.channel,
                    channel,
                    address: &outgoing.address,
                    by: outgoing.by,
                    attempt: &outgoing.attempt,
                    key: outgoing.deliveries.first().map_or("", |(id, _)| id.as_str()),
                    now: Timestamp(self.parts.pager.clock.now_us()),
                    link: outgoing.link.as_deref(),
                    message: &outgoing.message,
                    root: outgoing.root.as_deref(),
                };
                self.parts.channels.send(&envelope).await
            }
            None => Outcome::Permanent { why: "the channel was removed".into() },
        };
        crash::point("dispatch.after_send");
        if !matches!(outcome, Outcome::Accepted { .. }) {
            tracing::warn!(channel = %self.carrier.channel, class = self.carrier.class, attempt = outgoing.attempt, ?outcome, "a message was not accepted");
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
                self.parts.health.keeps_failing(&self.name, true);
                tracing::error!(channel = %self.carrier.channel, class = self.carrier.class, "the provider keeps failing; one message at a time finds out when it is back")
            }
            (Some(_), None) => {
                self.parts.health.keeps_failing(&self.name, false);
                tracing::info!(channel = %self.carrier.channel, class = self.carrier.class, "the provider works again")
            }
            (None, None) | (Some(_), Some(_)) => {}
        }
    }

    /// An outcome that cannot be written down is tried again until the lease is over; then it counts as unknown.
    async fn settle(&self, outgoing: &Outgoing, outcome: Outcome) {
        const TRIES: u32 = 8;
        for pause_ms in (0..TRIES).map(|n| 50 << n) {
            match delivery::settle(&self.parts.store, &*self.parts.pager.rng, outgoing, outcome.clone()).await {
                Ok(()) => return,
                Err(error) => tracing::warn!(attempt = outgoing.attempt, %error, "an outcome could not be written down yet"),
            }
            self.parts.pager.sleep(Duration::from_millis(pause_ms)).await;
        }
    }
}
