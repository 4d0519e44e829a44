//! Claiming: which of the messages that are due go now, by which carrier, together with which others.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use allclear_base::Rng;
use allclear_domain::catalog::Catalog;
use allclear_domain::delivery::{self, About, Brief, ChannelFinding, Delivery, Means, Message, News, Purpose, Recipient, Unwanted, Wanted};
use allclear_domain::incident::{Incident, IncidentEvent, LogKind};
use allclear_domain::status::ComponentStatus;
use allclear_domain::{ChannelId, DeliveryId, Span, Timestamp};
use allclear_store::record::channel_finding as finding;
use allclear_store::record::component;
use allclear_store::record::delivery::{self as outbox, Destination, Linked, Stored};
use allclear_store::record::incident as incidents;
use allclear_store::{Lane, Store, StoreError, Tx, Write};

use super::{about, brief};
use crate::draw::{Ids, SecretSeed, hash};
use crate::view::Names;
use crate::{Draw, OpsError};

/// How long a claim holds: longer than any call to a provider may take.
pub const LEASE: Span = Span::from_secs(30);

/// Incidents that one message may carry; further ones go with the next.
const MOST_IN_ONE_MESSAGE: usize = 100;

/// The most messages that are claimed in one commit: a bound on how long an acknowledgement waits behind a flood.
const MOST_CLAIMED: usize = 200;

/// An attempt whose intent is on disk: this message is to be sent now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outgoing {
    /// The attempt; it stands in the callback's address and is the idempotency key.
    pub attempt: String,
    /// What carries it.
    pub carrier: Carrier,
    /// The address on that channel.
    pub address: String,
    /// By what means.
    pub by: Means,
    /// Whom it is for.
    pub recipient: Recipient,
    /// What it says.
    pub message: Message,
    /// The provider's reference of the message that this one changes or answers.
    pub root: Option<String>,
    /// When the first of its messages was written; it stays the same over all attempts.
    pub written_at: Timestamp,
    /// The credential of the link that the message carries, if it carries one.
    pub link: Option<String>,
    /// The deliveries that it carries, with their fencing numbers.
    pub deliveries: Vec<(DeliveryId, i64)>,
    /// What those tell of.
    pub about: Vec<About>,
    /// Why nothing is sent at all: the endpoint said before that it is gone.
    pub withheld: Option<String>,
}

/// What carries messages: a channel, by one class of means.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Carrier {
    /// The channel.
    pub channel: ChannelId,
    /// The class: `sms`.
    pub class: String,
}

/// What the carriers can take now. One that is not named is idle and well.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Capacity {
    /// How many messages a carrier can take that is not named in `slots`.
    pub idle: usize,
    /// How many messages each can take.
    pub slots: BTreeMap<Carrier, usize>,
    /// Those that keep failing.
    pub unwell: BTreeSet<Carrier>,
    /// How many messages may go now for each key that a carrier counts by, as far as that is fewer
    /// than its burst.
    pub paced: BTreeMap<(Carrier, String), usize>,
}

impl Capacity {
    /// How many messages a carrier may send to an address now.
    fn allowed(&self, catalog: &Catalog, carrier: &Carrier, address: &str) -> usize {
        let Some(channel) = catalog.channel(&carrier.channel) else { return usize::MAX };
        let pace = channel.account.pace(address);
        let left = self.paced.get(&(carrier.clone(), pace.key.to_owned()));
        left.copied().or(pace.burst).unwrap_or(usize::MAX)
    }
}

/// How long a provider may take to say that a message arrived, before its silence counts.
const RECEIPT_PATIENCE: Span = Span::from_mins(2);

/// How far back receipts are looked for: what was two hours ago says nothing about now.
const RECEIPTS_LOOKED_BACK: Span = Span::from_mins(60);

/// What was claimed.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Claimed {
    /// What is to be sent.
    pub outgoing: Vec<Outgoing>,
    /// When the first message is due that is not due yet.
    pub next_due: Option<Timestamp>,
}

/// Claims what is due, for every carrier as much as it can take; all in one commit, because one change mostly concerns
/// several carriers, and the second should not wait for the first one's sync. Where nothing can go, nothing is asked of the
/// writer.
///
/// # Errors
/// Errors of the store.
pub async fn claim(store: &Store, rng: &dyn Rng, capacity: Capacity) -> Result<Claimed, OpsError> {
    let capacity = Arc::new(capacity);
    let can = Arc::clone(&capacity);
    let (open, next_due) = store.look("look at the outbox", move |tx| open_destinations(tx, &can)).await?;
    if open.is_empty() {
        return Ok(Claimed { outgoing: vec![], next_due });
    }
    let (draw, seed) = (Draw::new(rng), SecretSeed::new(rng));
    let write = Write::new("claim deliveries", Lane::Act);
    let outgoing = store.write(write, move |tx| claim_within(tx, &draw.ids(), &seed, &capacity, &open)).await?;
    Ok(Claimed { outgoing, next_due })
}

/// The destinations that something is due for and that a carrier can write to, those due first at the front; and when the first
/// message is due that is not due yet.
fn open_destinations(tx: &mut Tx<'_>, capacity: &Capacity) -> Result<(Vec<Destination>, Option<Timestamp>), OpsError> {
    let (now, catalog) = (tx.now(), tx.catalog());
    let waiting = outbox::destinations(tx, now, &shut(&catalog, capacity))?;
    let next_due = waiting.iter().filter_map(|to| to.next_due_at).min();
    let mut taken: BTreeMap<Carrier, usize> = BTreeMap::new();
    let mut open = Vec::new();
    for to in waiting.into_iter().filter(|to| to.due_at <= now) {
        let ways = Ways::of(&catalog, first_carrier(&to));
        let taken = taken.entry(ways.first.clone()).or_default();
        if *taken < ways.slots(capacity) && !ways.must_wait(&catalog, &to.address, capacity) && open.len() < MOST_CLAIMED {
            *taken += 1;
            open.push(to);
        }
    }
    Ok((open, next_due))
}

/// The carriers that nothing can go by now, not even by another in their place. Of what waits for them nobody need know: whoever
/// opens one wakes the dispatcher.
fn shut(catalog: &Catalog, capacity: &Capacity) -> BTreeSet<(ChannelId, String)> {
    let full = capacity.slots.iter().filter(|(_, slots)| **slots == 0).map(|(carrier, _)| carrier.clone());
    full.filter(|carrier| Ways::of(catalog, carrier.clone()).slots(capacity) == 0).map(|carrier| (carrier.channel, carrier.class)).collect()
}

fn claim_within(
    tx: &mut Tx<'_>,
    ids: &Ids,
    seed: &SecretSeed,
    capacity: &Capacity,
    open: &[Destination],
) -> Result<Vec<Outgoing>, OpsError> {
    let catalog = tx.catalog();
    let mut unwell: BTreeMap<Carrier, Vec<Carrier>> = BTreeMap::new();
    let mut taken: BTreeMap<Carrier, usize> = BTreeMap::new();
    let (mut candidates, mut claimed) = (Vec::new(), 0);
    for to in open {
        let mut ways = Ways::of(&catalog, first_carrier(to));
        if !unwell.contains_key(&ways.first) {
            unwell.insert(ways.first.clone(), ways.find_unwell(tx, capacity)?);
        }
        ways.unwell = unwell.get(&ways.first).cloned().unwrap_or_default();
        let taken = taken.entry(ways.first.clone()).or_default();
        let most = if ways.bundles { MOST_IN_ONE_MESSAGE } else { ways.slots(capacity).saturating_sub(*taken) };
        let due = outbox::claimable(tx, to, u32::try_from(most).unwrap_or(u32::MAX))?;
        *taken += 1;
        claimed += due.len();
        candidates.push((ways, due));
        if claimed >= MOST_CLAIMED {
            break;
        }
    }
    tx.lock(candidates.iter().flat_map(|(_, due)| due).map(|stored| outbox::lock_of(&stored.delivery.about)))?;
    let mut left = Left { slots: capacity.slots.clone(), begun: BTreeMap::new() };
    let mut outgoing = Vec::new();
    for (ways, due) in candidates {
        for bundle in bundled(tx, &ways, capacity, &mut left, due)? {
            outgoing.extend(begin_attempt(tx, seed, bundle, &ids.uuid7(tx.now()))?);
        }
    }
    Ok(outgoing)
}

fn first_carrier(to: &Destination) -> Carrier {
    Carrier { channel: to.channel.clone(), class: to.class.clone() }
}

/// The one or two carriers of a channel's messages, and which of them are not well.
#[derive(Clone)]
struct Ways {
    first: Carrier,
    second: Option<Carrier>,
    unwell: Vec<Carrier>,
    bundles: bool,
}

impl Ways {
    /// As the configuration has them; nothing is known to be unwell yet.
    fn of(catalog: &Catalog, first: Carrier) -> Self {
        let second = second_of(catalog, &first.channel).map(|channel| Carrier { channel: channel.clone(), class: first.class.clone() });
        let bundles = catalog.channel(&first.channel).is_none_or(|channel| !channel.account.is_for_programs());
        Self { first, second, unwell: vec![], bundles }
    }

    /// Which of two carriers keeps failing, or no longer tells what arrives.
    fn find_unwell(&self, tx: &mut Tx<'_>, capacity: &Capacity) -> Result<Vec<Carrier>, StoreError> {
        let mut unwell = Vec::new();
        if let Some(second) = &self.second {
            for carrier in [&self.first, second] {
                if capacity.unwell.contains(carrier) || receipts_stopped(tx, carrier)? {
                    unwell.push(carrier.clone());
                }
            }
        }
        Ok(unwell)
    }

    fn slots(&self, capacity: &Capacity) -> usize {
        let of = |carrier| capacity.slots.get(carrier).copied().unwrap_or(capacity.idle);
        of(&self.first) + self.second.as_ref().map_or(0, of)
    }

    /// Whether no carrier may write to an address yet.
    fn must_wait(&self, catalog: &Catalog, address: &str, capacity: &Capacity) -> bool {
        let waits = |carrier: &Carrier| capacity.allowed(catalog, carrier, address) == 0;
        waits(&self.first) && self.second.as_ref().is_none_or(waits)
    }

    fn choose(&self, stored: &Stored, incident: Option<&Incident>) -> &Carrier {
        // Only who carried something can change it or end it; and what is for one pair of eyes, or is to
        // find out whether a channel works, goes by no other.
        if stored.delivery.ends.is_some() || is_for_its_channel_alone(stored.delivery.purpose) {
            return &self.first;
        }
        let is_well = |carrier: &Carrier| !self.unwell.contains(carrier);
        let last = stored
            .carrier
            .as_ref()
            .and_then(|last| [Some(&self.first), self.second.as_ref()].into_iter().flatten().find(|one| one.channel == *last));
        delivery::carrier_of(&self.first, self.second.as_ref(), incident.map_or(1, |incident| incident.number), last, is_well)
    }
}

/// The channel that stands in for another, if there is one.
pub(super) fn second_of<'a>(catalog: &'a Catalog, channel: &ChannelId) -> Option<&'a ChannelId> {
    let second = catalog.channel(channel)?.second.as_ref()?;
    catalog.channel(second).map(|_| second)
}

/// Whether a carrier takes messages and its provider no longer tells that they arrive.
fn receipts_stopped(tx: &mut Tx<'_>, carrier: &Carrier) -> Result<bool, StoreError> {
    const LOOKED_AT: u32 = 4;
    if tx.catalog().channel(&carrier.channel).is_none_or(|channel| !channel.account.sends_receipts()) {
        return Ok(false);
    }
    let (from, to) = (tx.now().minus(RECEIPTS_LOOKED_BACK), tx.now().minus(RECEIPT_PATIENCE));
    let last = outbox::accepted_between(tx, &carrier.channel, &carrier.class, (from, to), LOOKED_AT)?;
    Ok(delivery::receipts_stopped(&last))
}

/// What one claim has left of the carriers' capacity.
struct Left {
    /// How many messages each carrier can still take.
    slots: BTreeMap<Carrier, usize>,
    /// How many messages were begun for each key that a channel counts by.
    begun: BTreeMap<(Carrier, String), usize>,
}

impl Left {
    /// Takes room for one more message of a carrier to an address, if there is any.
    fn take(&mut self, catalog: &Catalog, capacity: &Capacity, carrier: &Carrier, address: &str) -> bool {
        let key = catalog.channel(&carrier.channel).map_or("", |channel| channel.account.pace(address).key);
        let begun = self.begun.entry((carrier.clone(), key.to_owned())).or_default();
        let slots = self.slots.entry(carrier.clone()).or_insert(capacity.idle);
        let has_room = *slots > 0 && *begun < capacity.allowed(catalog, carrier, address);
        if has_room {
            *slots -= 1;
            *begun += 1;
        }
        has_room
    }
}

/// Messages that go as one, by one carrier.
struct Bundle {
    carrier: Carrier,
    messages: Vec<(Stored, Option<Incident>)>,
}

/// The messages of one channel that are still wanted, as they go together, within what the carriers have `left`.
fn bundled(tx: &mut Tx<'_>, ways: &Ways, capacity: &Capacity, left: &mut Left, due: Vec<Stored>) -> Result<Vec<Bundle>, OpsError> {
    let catalog = tx.catalog();
    let mut bundles: Vec<Bundle> = Vec::new();
    for stored in due {
        let delivery = &stored.delivery;
        let incident = about(tx, delivery)?;
        let carrier = ways.choose(&stored, incident.as_ref());
        if capacity.allowed(&catalog, carrier, &delivery.address) == 0 {
            continue;
        }
        if let Some(incident) = &incident
            && let Some(why) = unwanted(tx, delivery, incident)?
        {
            outbox::cancel(tx, &delivery.id, why.words())?;
            continue;
        }
        if let Some(bundle) = bundles.iter_mut().find(|bundle| ways.bundles && bundle.carrier == *carrier && goes_with(bundle, delivery)) {
            bundle.messages.push((stored, incident));
            continue;
        }
        if left.take(&catalog, capacity, carrier, &delivery.address) {
            bundles.push(Bundle { carrier: carrier.clone(), messages: vec![(stored, incident)] });
        }
    }
    Ok(bundles)
}

/// Messages of one purpose for one person and method go as one. A room shows each incident by itself.
fn goes_with(bundle: &Bundle, delivery: &Delivery) -> bool {
    bundle.messages.len() < MOST_IN_ONE_MESSAGE
        && bundle.messages.first().is_some_and(|(first, _)| {
            let first = &first.delivery;
            matches!(delivery.recipient, Recipient::Person { .. })
                && delivery.ends.is_none()
                && delivery.words.is_none()
                && (&first.recipient, &first.channel, &first.address, first.purpose)
                    == (&delivery.recipient, &delivery.channel, &delivery.address, delivery.purpose)
        })
}

/// A page is looked at against the incident as it is now; an all-clear is wanted only where the page was seen.
fn unwanted(tx: &mut Tx<'_>, delivery: &Delivery, incident: &Incident) -> Result<Option<Unwanted>, StoreError> {
    if delivery.purpose == Purpose::AllClear {
        return Ok((!outbox::page_was_seen(tx, delivery)?).then_some(Unwanted::Superseded));
    }
    Ok(match delivery::wanted(delivery, incident) {
        Wanted::Yes => None,
        Wanted::No(why) => Some(why),
    })
}

fn begin_attempt(tx: &mut Tx<'_>, seed: &SecretSeed, bundle: Bundle, attempt: &str) -> Result<Option<Outgoing>, OpsError> {
    let Bundle { carrier, messages } = bundle;
    let lease_until = tx.now().plus(LEASE);
    let mut claimed = Vec::with_capacity(messages.len());
    for (stored, incident) in messages {
        if outbox::claim(tx, &stored, &carrier.channel, attempt, lease_until)? {
            claimed.push((stored, incident));
        }
    }
    let Some((first, incident)) = claimed.first() else { return Ok(None) };
    // Only a mail has neither keys nor buttons to answer with.
    let links = carrier.class == "email" && first.delivery.purpose == Purpose::Page;
    let link = links.then(|| seed.derive(&["link", attempt]));
    let linked = match (&link, &first.delivery.recipient) {
        (Some(link), Recipient::Person { person }) => Some(Linked {
            hash: hash(link),
            person: person.clone(),
            incidents: claimed.iter().filter_map(|(_, i)| Some(i.as_ref()?.id.clone())).collect(),
        }),
        _ => None,
    };
    outbox::insert_attempt(tx, attempt, linked.as_ref())?;
    let root = root_of(tx, &first.delivery, &carrier, incident.as_ref())?;
    let (address, recipient) = (first.delivery.address.clone(), first.delivery.recipient.clone());
    let (by, words) = (first.delivery.by, first.delivery.words.clone());
    let (purpose, possible_repeat) = (first.delivery.purpose, claimed.iter().any(|(stored, _)| stored.possible_repeat));
    let mut briefs = Vec::with_capacity(claimed.len());
    for (stored, incident) in &claimed {
        if let Some(incident) = incident {
            let brief = match &stored.delivery.told {
                Some(told) => (**told).clone(),
                None => {
                    let now = brief(tx, incident)?;
                    with_news(tx, stored.delivery.news.as_ref(), now)
                }
            };
            briefs.push(as_it_stood(&stored.delivery, brief));
        }
    }
    let (others, more) = others_of_the_message(tx, &first.delivery)?;
    briefs.extend(others);
    let mirror = mirrored(tx, &first.delivery)?;
    let about = claimed.iter().map(|(stored, _)| stored.delivery.about.clone()).collect();
    let written_at = first.created_at;
    let deliveries = claimed.into_iter().map(|(stored, _)| (stored.delivery.id, stored.fence + 1)).collect();
    let message = Message { purpose, incidents: briefs, mirror, more, words, possible_repeat };
    // A test message finds out whether the endpoint is back.
    let withheld = if purpose == Purpose::Notice { None } else { gone_since(tx, &carrier.channel)? };
    let attempt = attempt.to_owned();
    Ok(Some(Outgoing { attempt, carrier, address, by, recipient, message, root, written_at, link, deliveries, about, withheld }))
}

/// Whether a message must not go by the channel that stands in for its own.
pub(super) const fn is_for_its_channel_alone(purpose: Purpose) -> bool {
    matches!(purpose, Purpose::Reply | Purpose::Notice)
}

/// How long an endpoint that said that it is gone is left alone. Its address is a secret, mostly, and may
/// have been changed without a trace here.
const LEFT_ALONE: Span = Span::from_mins(24 * 60);

/// Why an endpoint is not written to: it said that it is gone, not long ago, and its channel is still as
/// it was then.
fn gone_since(tx: &mut Tx<'_>, carrier: &ChannelId) -> Result<Option<String>, StoreError> {
    let now = tx.now();
    let found = finding::finding_of_channel(tx, carrier)?;
    let gone = found.filter(|found| found.finding == ChannelFinding::Gone && found.since.plus(LEFT_ALONE) > now);
    Ok(gone.map(|gone| format!("nothing has been sent to it since {}: {}", gone.since, gone.why)))
}

/// What changed, in words, where the message tells of a change.
pub(crate) fn with_news(tx: &Tx<'_>, kind: Option<&LogKind>, brief: Brief) -> Brief {
    let event = kind.and_then(IncidentEvent::of);
    let news = kind.zip(event).map(|(kind, event)| {
        let words = Names::of_catalog(tx.catalog()).sentence(kind, &|at| at.to_string());
        News { event, words }
    });
    Brief { news, ..brief }
}

/// A message about several incidents shows the others as well when one of them changes it: as many as stand in one, and how many more.
fn others_of_the_message(tx: &mut Tx<'_>, delivery: &Delivery) -> Result<(Vec<Brief>, usize), StoreError> {
    const MOST_SHOWN: usize = 9;
    let (Purpose::State, Some(message)) = (delivery.purpose, &delivery.ends) else { return Ok((vec![], 0)) };
    let Some(bundle) = outbox::bundle_of(tx, &delivery.about, message)? else { return Ok((vec![], 0)) };
    let carried = outbox::deliveries_of_bundle(tx, &bundle)?;
    let others: Vec<_> =
        carried.iter().filter(|other| other.delivery.about != delivery.about).filter_map(|other| other.delivery.about.incident()).collect();
    let mut found = Vec::with_capacity(others.len().min(MOST_SHOWN));
    for id in others.iter().take(MOST_SHOWN) {
        let incident = incidents::load_incident(tx, id)?;
        found.push(brief(tx, &incident)?);
    }
    Ok((found, others.len().saturating_sub(MOST_SHOWN)))
}

/// A program hears of every change in its order; what is true now is the next message's to say.
fn as_it_stood(delivery: &Delivery, now: Brief) -> Brief {
    match &delivery.stood {
        Some(stood) if *stood != now.status => Brief { status: stood.clone(), remark: String::new(), ..now },
        Some(_) | None => now,
    }
}

/// The component's id on the other page, and its status as it is now.
fn mirrored(tx: &mut Tx<'_>, delivery: &Delivery) -> Result<Option<(String, ComponentStatus)>, StoreError> {
    let Recipient::Mirror { component: id } = &delivery.recipient else { return Ok(None) };
    let Some(mirror) = tx.catalog().component(id).and_then(|found| found.mirror.clone()) else { return Ok(None) };
    Ok(Some((mirror.component, component::component_state(tx, id)?.status)))
}

/// The provider's reference of the lane's first message by the same carrier; nothing where it is not known: then a fresh one
/// goes.
fn root_of(tx: &mut Tx<'_>, delivery: &Delivery, carrier: &Carrier, incident: Option<&Incident>) -> Result<Option<String>, StoreError> {
    if delivery.ends.is_some() {
        return Ok(delivery.ends.clone());
    }
    if incident.is_none() || delivery.purpose == Purpose::Page {
        return Ok(None);
    }
    outbox::first_reference(tx, delivery, &carrier.channel)
}
