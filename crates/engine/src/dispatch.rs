//! Sends what waits in the outbox: claim, call with no transaction open, settle.
//!
//! Each carrier (a channel, by one class of means) has its own send slots and its own breaker: a slow or broken one holds
//! nobody else up. What they can take is claimed for all of them in one commit. Each provider is written to as fast as it
//! allows: about one message a second to a destination, after a short burst where it takes one; and a destination for
//! which it asked to wait waits. What waits meanwhile for a person goes as one.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use allclear_base::crash;
use allclear_base::runtime::Switch;
use allclear_channels::Envelope;
use allclear_domain::delivery::{Breaker, Outcome};
use allclear_domain::{Span, Timestamp};
use allclear_ops::delivery::{self, Capacity, Carrier, Claimed, Outgoing};

use crate::Parts;

/// Calls by one carrier at the same time.
const SLOTS: usize = 16;

/// The pace at which one destination is written to in the long run: the providers' own limit is about one a second.
const PACE_US: i64 = 1_000_000;

/// How much early a message may go that keeps that pace in the long run: what is due within a second should begin within it.
const EARLY_US: i64 = 300_000;

/// A carrier, and what its provider counts messages by: an address, or nothing for the whole account.
/// Texts do not make a call wait.
type PaceKey = (Carrier, String);

/// How fast the keys were written to lately, and which of them must wait. Bounded: an entry goes once it
/// says nothing any more.
#[derive(Default)]
struct Paces {
    /// When the next message would be due at one a second.
    due: BTreeMap<PaceKey, i64>,
    /// Until when the provider asked to wait.
    until: BTreeMap<PaceKey, i64>,
}

impl Paces {
    /// Counts a message: the next is due a pace after this one was, and after a burst soon enough for
    /// who waits then.
    fn count(&mut self, key: PaceKey, burst: usize, now: i64) {
        let longest_us = PACE_US.saturating_mul(i64::try_from(burst).unwrap_or(1) + 1);
        let due = self.due.entry(key).or_insert(now);
        *due = (now.max(*due) + PACE_US).min(now + longest_us);
    }

    fn pause(&mut self, key: PaceKey, until: i64) {
        let known = self.until.entry(key).or_insert(until);
        *known = until.max(*known);
    }

    /// How many messages may go for each key that is not at its full burst, and when that may be more.
    fn left(&mut self, now: i64, burst_of: impl Fn(&PaceKey) -> usize) -> (BTreeMap<PaceKey, usize>, i64) {
        self.due.retain(|_, due| *due > now);
        self.until.retain(|_, until| *until > now);
        let (mut left, mut again_at) = (BTreeMap::new(), i64::MAX);
        for (key, due) in &self.due {
            let ahead_us = (*due - now - EARLY_US).max(0);
            let used = usize::try_from(ahead_us.div_euclid(PACE_US) + i64::from(ahead_us % PACE_US > 0)).unwrap_or(usize::MAX);
            if used > 0 {
                left.insert(key.clone(), burst_of(key).saturating_sub(used));
                let until_one_more = ahead_us % PACE_US;
                again_at = again_at.min(now + if until_one_more > 0 { until_one_more } else { PACE_US });
            }
        }
        for (key, until) in &self.until {
            left.insert(key.clone(), 0);
            again_at = again_at.min(*until);
        }
        (left, again_at)
    }
}

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
                Fleet { parts: parts.clone(), senders: BTreeMap::new(), paces: Arc::default(), under_way: Arc::clone(&under_way) };
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
    paces: Arc<Mutex<Paces>>,
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
        let catalog = self.parts.store.catalog();
        let burst_of = |(carrier, key): &PaceKey| {
            let channel = catalog.channel(&carrier.channel);
            channel.and_then(|channel| channel.account.pace(key).burst).unwrap_or(usize::MAX)
        };
        let mut paces = self.paces.lock().unwrap_or_else(PoisonError::into_inner);
        let (paced, mut again_at) = paces.left(now, burst_of);
        drop(paces);
        let mut capacity = Capacity { idle: SLOTS, paced, ..Capacity::default() };
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
    paces: Arc<Mutex<Paces>>,
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

    /// What the provider counts messages to an address by, and its burst.
    fn pace_of(&self, address: &str) -> Option<(PaceKey, Option<usize>)> {
        let catalog = self.parts.store.catalog();
        let pace = catalog.channel(&self.carrier.channel)?.account.pace(address);
        Some(((self.carrier.clone(), pace.key.to_owned()), pace.burst))
    }

    /// Counts a message to a destination.
    fn written_to(&self, address: &str, now: i64) {
        if let Some((key, Some(burst))) = self.pace_of(address) {
            self.paces.lock().unwrap_or_else(PoisonError::into_inner).count(key, burst, now);
        }
    }

    /// Lets a destination wait where its provider asked for that.
    fn pause(&self, address: &str, outcome: &Outcome) {
        const AT_LEAST: Span = Span::from_secs(1);
        const AT_MOST: Span = Span::from_mins(10);
        let Outcome::RateLimited { after, .. } = outcome else { return };
        let Some((key, _)) = self.pace_of(address) else { return };
        let until = self.parts.pager.clock.now_us() + after.unwrap_or(AT_LEAST).clamp(AT_LEAST, AT_MOST).as_micros();
        self.paces.lock().unwrap_or_else(PoisonError::into_inner).pause(key, until);
    }

    async fn send(&self, outgoing: &Outgoing) {
        let catalog = self.parts.store.catalog();
        let outcome = match (catalog.channel(&self.carrier.channel), &outgoing.withheld) {
            (_, Some(why)) => Outcome::Gone { why: why.clone() },
            (Some(channel), None) => {
                let envelope = Envelope {
                    channel_id: &self.carrier.channel,
                    channel,
                    address: &outgoing.address,
                    by: outgoing.by,
                    attempt: &outgoing.attempt,
                    key: outgoing.deliveries.first().map_or("", |(id, _)| id.as_str()),
                    now: Timestamp(self.parts.pager.clock.now_us()),
                    written_at: outgoing.written_at,
                    link: outgoing.link.as_deref(),
                    message: &outgoing.message,
                    root: outgoing.root.as_deref(),
                };
                self.parts.channels.send(&envelope).await
            }
            (None, None) => Outcome::Permanent { why: "the channel was removed".into() },
        };
        crash::point("dispatch.after_send");
        if !matches!(outcome, Outcome::Accepted { .. }) {
            tracing::warn!(channel = %self.carrier.channel, class = self.carrier.class, attempt = outgoing.attempt, ?outcome, "a message was not accepted");
        }
        self.watch(&outcome);
        self.pause(&outgoing.address, &outcome);
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

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: i64 = 1_000_000;

    fn key() -> PaceKey {
        (Carrier { channel: "C".into(), class: "slack".into() }, "#incidents".to_owned())
    }

    /// How many may go at `now`.
    fn left(paces: &mut Paces, burst: usize, now: i64) -> usize {
        paces.left(now, |_| burst).0.get(&key()).copied().unwrap_or(burst)
    }

    #[test]
    fn a_burst_passes_and_then_one_a_second() {
        let mut paces = Paces::default();
        for sent in 0..4 {
            assert_eq!(left(&mut paces, 4, 0), 4 - sent);
            paces.count(key(), 4, 0);
        }
        assert_eq!(left(&mut paces, 4, 0), 0);
        assert_eq!(left(&mut paces, 4, SECOND / 2), 0);
        assert_eq!(left(&mut paces, 4, SECOND), 1);
        paces.count(key(), 4, SECOND);
        assert_eq!(left(&mut paces, 4, SECOND), 0);
        assert_eq!(left(&mut paces, 4, 10 * SECOND), 4);
    }

    #[test]
    fn the_next_message_is_looked_for_when_it_may_go() {
        let mut paces = Paces::default();
        (0..5).for_each(|_| paces.count(key(), 4, 0));
        let mut now = 0;
        for _ in 0..20 {
            let (left, again_at) = paces.left(now, |_| 4);
            if left.get(&key()).is_none_or(|left| *left > 0) {
                return;
            }
            assert!(again_at > now, "it would be looked for again and again");
            now = again_at;
        }
        panic!("nothing may ever go again");
    }

    #[test]
    fn who_asked_for_a_pause_is_left_alone_until_it_is_over() {
        let mut paces = Paces::default();
        paces.pause(key(), 30 * SECOND);
        paces.pause(key(), 5 * SECOND);
        assert_eq!(paces.left(29 * SECOND, |_| 4), (BTreeMap::from([(key(), 0)]), 30 * SECOND));
        assert_eq!(left(&mut paces, 4, 30 * SECOND), 4);
    }
}
