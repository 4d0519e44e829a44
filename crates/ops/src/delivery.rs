//! The outbox as the dispatcher and the providers' callbacks see it: claim, settle, receipt.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use allclear_base::Rng;
use allclear_base::metrics::metrics;
use allclear_domain::catalog::Catalog;
use allclear_domain::delivery::{
    self, Brief, Delivery, Means, Message, Outcome, Purpose, Recipient, Settled, Status, Unwanted, Wanted, Way,
};
use allclear_domain::incident::{Agent, Incident, LogDraft, LogKind, Paging, State};
use allclear_domain::status::ComponentStatus;
use allclear_domain::{ChannelId, DeliveryId, IncidentId, PersonId, Span, Timestamp};
use allclear_store::record::delivery::{self as outbox, Destination, Linked, Stored};
use allclear_store::record::incident as incidents;
use allclear_store::record::{alert, component};
use allclear_store::{Lane, Lock, Store, StoreError, Tx, Write};

use crate::apply::unreachable_level;
use crate::draw::{Ids, SecretSeed, hash};
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
    /// The credential of the link that the message carries, if it carries one.
    pub link: Option<String>,
    /// The deliveries that it carries, with their fencing numbers.
    pub deliveries: Vec<(DeliveryId, i64)>,
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
    /// Destinations (channel and address) that may not be written to yet.
    pub busy: BTreeSet<(ChannelId, String)>,
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
        if *taken < ways.slots(capacity) && !ways.must_wait(&to.address, capacity) && open.len() < MOST_CLAIMED {
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
    tx.lock(candidates.iter().flat_map(|(_, due)| due).map(|stored| Lock::Incident(stored.delivery.incident.clone())))?;
    let mut left = capacity.slots.clone();
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
    fn must_wait(&self, address: &str, capacity: &Capacity) -> bool {
        let busy = |carrier: &Carrier| capacity.busy.contains(&(carrier.channel.clone(), address.to_owned()));
        busy(&self.first) && self.second.as_ref().is_none_or(busy)
    }

    fn choose(&self, stored: &Stored, incident: &Incident) -> &Carrier {
        let is_well = |carrier: &Carrier| !self.unwell.contains(carrier);
        let last = stored
            .carrier
            .as_ref()
            .and_then(|last| [Some(&self.first), self.second.as_ref()].into_iter().flatten().find(|one| one.channel == *last));
        delivery::carrier_of(&self.first, self.second.as_ref(), incident.number, last, is_well)
    }
}

/// The channel that stands in for another, if there is one.
fn second_of<'a>(catalog: &'a Catalog, channel: &ChannelId) -> Option<&'a ChannelId> {
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

/// Messages that go as one, by one carrier.
struct Bundle {
    carrier: Carrier,
    messages: Vec<(Stored, Incident)>,
}

/// The messages of one channel that are still wanted, as they go together, within what the carriers have `left`.
fn bundled(
    tx: &mut Tx<'_>,
    ways: &Ways,
    capacity: &Capacity,
    left: &mut BTreeMap<Carrier, usize>,
    due: Vec<Stored>,
) -> Result<Vec<Bundle>, OpsError> {
    let mut bundles: Vec<Bundle> = Vec::new();
    for stored in due {
        let delivery = &stored.delivery;
        let incident = incidents::load_incident(tx, &delivery.incident)?;
        let carrier = ways.choose(&stored, &incident);
        if capacity.busy.contains(&(carrier.channel.clone(), delivery.address.clone())) {
            continue;
        }
        if let Some(why) = unwanted(tx, delivery, &incident)? {
            outbox::cancel(tx, &delivery.id, why.words())?;
            continue;
        }
        if let Some(bundle) = bundles.iter_mut().find(|bundle| ways.bundles && bundle.carrier == *carrier && goes_with(bundle, delivery)) {
            bundle.messages.push((stored, incident));
            continue;
        }
        let left = left.entry(carrier.clone()).or_insert(capacity.idle);
        if *left > 0 {
            *left -= 1;
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
                && (&first.recipient, &first.channel, &first.address, first.purpose)
                    == (&delivery.recipient, &delivery.channel, &delivery.address, delivery.purpose)
        })
}

/// A page is looked at against the incident as it is now; an all-clear is wanted only where the page was seen.
fn unwanted(tx: &mut Tx<'_>, delivery: &Delivery, incident: &Incident) -> Result<Option<Unwanted>, StoreError> {
    if delivery.purpose == Purpose::AllClear {
        let sent = outbox::deliveries_of(tx, &incident.id)?;
        let seen = sent.iter().any(|other| {
            other.delivery.purpose == Purpose::Page
                && other.delivery.destination() == delivery.destination()
                && other.status.may_have_been_seen()
        });
        return Ok((!seen).then_some(Unwanted::Superseded));
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
    let about = match (&link, &first.delivery.recipient) {
        (Some(link), Recipient::Person { person }) => {
            Some(Linked { hash: hash(link), person: person.clone(), incidents: claimed.iter().map(|(_, i)| i.id.clone()).collect() })
        }
        _ => None,
    };
    outbox::insert_attempt(tx, attempt, about.as_ref())?;
    let root = root_of(tx, &first.delivery, &carrier, incident)?;
    let (address, recipient) = (first.delivery.address.clone(), first.delivery.recipient.clone());
    let by = first.delivery.by;
    let (purpose, possible_repeat) = (first.delivery.purpose, claimed.iter().any(|(stored, _)| stored.possible_repeat));
    let mut briefs = Vec::with_capacity(claimed.len());
    for (stored, incident) in &claimed {
        briefs.push(as_it_stood(&stored.delivery, brief(tx, incident)?));
    }
    let mirror = mirrored(tx, &first.delivery)?;
    let deliveries = claimed.into_iter().map(|(stored, _)| (stored.delivery.id, stored.fence + 1)).collect();
    let message = Message { purpose, incidents: briefs, mirror, possible_repeat };
    Ok(Some(Outgoing { attempt: attempt.to_owned(), carrier, address, by, recipient, message, root, link, deliveries }))
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
fn root_of(tx: &mut Tx<'_>, delivery: &Delivery, carrier: &Carrier, incident: &Incident) -> Result<Option<String>, StoreError> {
    if delivery.purpose == Purpose::Page {
        return Ok(None);
    }
    let lane = delivery.lane();
    let sent = outbox::deliveries_of(tx, &incident.id)?;
    let is_root = |s: &Stored| s.delivery.lane() == lane && s.provider_id.is_some() && s.carrier.as_ref() == Some(&carrier.channel);
    Ok(sent.into_iter().find(is_root).and_then(|s| s.provider_id))
}

/// What a message says of an incident.
pub(crate) fn brief(tx: &mut Tx<'_>, incident: &Incident) -> Result<Brief, StoreError> {
    let catalog = tx.catalog();
    let key = crate::apply::key_of(tx, incident)?.unwrap_or_default();
    let alerts = alert::alerts_of(tx, &incident.id)?;
    let detail = alerts.iter().find(|alert| alert.dedup_key == key).or(alerts.first()).map_or_else(String::new, |alert| alert.why.clone());
    let person = |id: &PersonId| catalog.person(id).map_or_else(|| id.0.clone(), |person| person.name.clone());
    let remark = match &incident.state {
        State::Triggered(Paging::Level(here)) => {
            format!("assigned to {}", here.assigned.iter().map(&person).collect::<Vec<_>>().join(", "))
        }
        State::Triggered(Paging::Nobody { .. }) => "nobody is on call".to_owned(),
        State::Acknowledged(held) => format!("acknowledged by {}", held.by.last().map_or(String::new(), |a| agent_name(&a.by, &person))),
        State::Resolved(end) => format!("resolved by {}: {}", agent_name(&end.by, &person), end.why.words()),
    };
    Ok(Brief {
        incident: incident.id.clone(),
        number: incident.number,
        key,
        title: incident.title.clone(),
        detail,
        service: catalog.service(&incident.service).map_or(String::new(), |service| service.name.clone()),
        urgency: incident.urgency,
        status: incident.state.word().to_owned(),
        remark,
        url: None,
    })
}

/// Who did something, in words.
pub(crate) fn agent_name(agent: &Agent, person: &dyn Fn(&PersonId) -> String) -> String {
    match agent {
        Agent::Person { person: id, via } => format!("{} {}", person(id), via.words()),
        Agent::Token { name } => name.clone(),
        Agent::Test { .. } => "the test".to_owned(),
        Agent::Heartbeat { .. } => "its heartbeat".to_owned(),
        Agent::Timer => "a timer".to_owned(),
        Agent::System => "AllClear".to_owned(),
        Agent::Configuration => "a change of the configuration".to_owned(),
        Agent::Integration { name, .. } | Agent::Linked { name, .. } => name.clone(),
    }
}

/// Writes down how an attempt ended, and what follows.
///
/// # Errors
/// Errors of the store.
pub async fn settle(store: &Store, rng: &dyn Rng, outgoing: &Outgoing, outcome: Outcome) -> Result<(), OpsError> {
    let (draw, attempt, deliveries) = (Draw::new(rng), outgoing.attempt.clone(), outgoing.deliveries.clone());
    let locks = outgoing.message.incidents.iter().map(|brief| Lock::Incident(brief.incident.clone()));
    let write = Write::new("settle attempt", Lane::Act).locks(locks);
    let word = outcome_word(&outcome);
    store.write(write, move |tx| settle_within(tx, &draw.ids(), &attempt, &deliveries, &outcome)).await?;
    let catalog = store.catalog();
    let channel = catalog.channel(&outgoing.carrier.channel).map_or("removed", |channel| channel.name.as_str());
    metrics().attempt(channel, &outgoing.carrier.class, word);
    Ok(())
}

/// An outcome in one word, for counting.
const fn outcome_word(outcome: &Outcome) -> &'static str {
    match outcome {
        Outcome::Accepted { .. } => "accepted",
        Outcome::Retry { .. } => "retry",
        Outcome::Permanent { .. } => "failed",
        Outcome::Unknown { .. } => "unknown",
    }
}

fn settle_within(tx: &mut Tx<'_>, ids: &Ids, attempt: &str, deliveries: &[(DeliveryId, i64)], outcome: &Outcome) -> Result<(), OpsError> {
    outbox::settle_attempt(tx, attempt, &outcome_words(outcome))?;
    for (id, fence) in deliveries {
        let Some(stored) = outbox::find_delivery(tx, id)? else { continue };
        if stored.status == Status::Claimed {
            settle_one(tx, ids, &stored, *fence, outcome.clone())?;
        }
    }
    Ok(())
}

fn outcome_words(outcome: &Outcome) -> String {
    match outcome {
        Outcome::Accepted { .. } => "accepted".to_owned(),
        Outcome::Retry { why, .. } => format!("try again: {why}"),
        Outcome::Permanent { why } => format!("failed: {why}"),
        Outcome::Unknown { why } => format!("unknown: {why}"),
    }
}

/// The outcome of the claim that `fence` names; one that somebody else has taken over since is left alone.
fn settle_one(tx: &mut Tx<'_>, ids: &Ids, stored: &Stored, fence: i64, outcome: Outcome) -> Result<(), OpsError> {
    let catalog = tx.catalog();
    let carrier = stored.carrier.as_ref().unwrap_or(&stored.delivery.channel);
    let way = Way {
        idempotent: catalog.channel(carrier).is_some_and(|channel| channel.account.is_idempotent()),
        has_second: second_of(&catalog, &stored.delivery.channel).is_some(),
    };
    let incident = incidents::load_incident(tx, &stored.delivery.incident)?;
    let provider_id = match &outcome {
        Outcome::Accepted { provider_id } => Some(provider_id.clone()),
        Outcome::Retry { .. } | Outcome::Permanent { .. } | Outcome::Unknown { .. } => None,
    };
    let id = &stored.delivery.id;
    match delivery::settle(&stored.delivery, incident.urgency, outcome, way, tx.now()) {
        Settled::Again { at, why, possible_repeat } => {
            outbox::put_back(tx, id, fence, at, &why, possible_repeat)?;
        }
        Settled::Finished { status, why } => {
            if !outbox::finish(tx, id, fence, status, why.as_deref(), provider_id.as_deref())? {
                return Ok(());
            }
            let outcome = why.map_or_else(|| status.word().to_owned(), |why| format!("{}: {why}", status.word()));
            note(tx, ids, stored, &outcome)?;
            if status.is_lost() {
                after_loss(tx, stored, &incident)?;
            }
        }
    }
    Ok(())
}

/// A line of the timeline: who was told how, and what came of it. Rooms' updates are not worth one.
fn note(tx: &mut Tx<'_>, ids: &Ids, stored: &Stored, outcome: &str) -> Result<(), StoreError> {
    let delivery = &stored.delivery;
    let went_well = outcome == Status::Accepted.word() || outcome == Status::Delivered.word();
    if matches!(delivery.purpose, Purpose::Note | Purpose::Trial)
        || (matches!(delivery.purpose, Purpose::State | Purpose::Mirror) && went_well)
    {
        return Ok(());
    }
    let person = match &delivery.recipient {
        Recipient::Person { person } => Some(person.clone()),
        Recipient::Room { .. } | Recipient::Mirror { .. } => None,
    };
    let outcome = match delivery.purpose {
        Purpose::AllClear => format!("all-clear {outcome}"),
        Purpose::Page | Purpose::State | Purpose::Note | Purpose::Mirror | Purpose::Trial => outcome.to_owned(),
    };
    let kind = LogKind::Notified { person, method: stored.provider.clone(), address: mask_address(&delivery.address), outcome };
    let now = tx.now();
    let draft = LogDraft { at: now, agent: Agent::System, kind };
    incidents::append_log(tx, &delivery.incident, &[ids.pagerduty_record(now)], &[draft])
}

/// Enough of an address to know which one it was.
pub(crate) fn mask_address(address: &str) -> String {
    let visible = address.chars().count().saturating_sub(4);
    let tail: String = address.chars().skip(visible).collect();
    if address.starts_with('+') { format!("+…{tail}") } else { address.to_owned() }
}

/// A page that will not arrive: the person's next method at once; if the whole level is lost, the next level.
fn after_loss(tx: &mut Tx<'_>, stored: &Stored, incident: &Incident) -> Result<(), StoreError> {
    let lost = &stored.delivery;
    let here = match &incident.state {
        State::Triggered(Paging::Level(here)) if lost.position == Some((here.level, here.pass)) => here.clone(),
        State::Triggered(_) | State::Acknowledged(_) | State::Resolved(_) => return Ok(()),
    };
    outbox::hurry(tx, &incident.id, &lost.recipient.key())?;
    let of_level = outbox::deliveries_of(tx, &incident.id)?;
    let is_for_them = |d: &Stored| matches!(&d.delivery.recipient, Recipient::Person { person } if here.assigned.contains(person));
    let meant = |d: &&Stored| d.delivery.position == lost.position && d.status != Status::Cancelled && is_for_them(d);
    let all_lost = of_level.iter().filter(meant).all(|d| d.delivery.id == lost.id || d.status.is_lost());
    if all_lost {
        unreachable_level(tx, incident, here.level, here.pass)?;
    }
    Ok(())
}

/// After a database was put back: what waits and is too old to be of use is not sent. A line for each.
///
/// # Errors
/// Errors of the store.
pub async fn retire_old(store: &Store) -> Result<Vec<String>, OpsError> {
    const TOO_OLD: Span = Span::from_mins(15);
    const MOST_AT_ONCE: u32 = 200;
    let mut retired = Vec::new();
    loop {
        let work = |tx: &mut Tx<'_>| {
            let before = tx.now().minus(TOO_OLD);
            let waiting = outbox::waiting_since(tx, before, MOST_AT_ONCE)?;
            tx.lock(waiting.iter().map(|stored| Lock::Incident(stored.delivery.incident.clone())))?;
            let mut lines = Vec::with_capacity(waiting.len());
            for stored in waiting {
                let delivery = &stored.delivery;
                if !outbox::cancel(tx, &delivery.id, "too old when the database was put back")? {
                    continue;
                }
                let incident = incidents::load_incident(tx, &delivery.incident)?;
                let (purpose, to) = (delivery.purpose.word().replace('_', "-"), mask_address(&delivery.address));
                lines.push(format!(
                    "{purpose} by {} to {to}, due {}: #{} {}",
                    stored.provider, delivery.due_at, incident.number, incident.title
                ));
            }
            Ok::<_, OpsError>(lines)
        };
        let lines = store.write(Write::new("retire old messages", Lane::Act), work).await?;
        if lines.is_empty() {
            return Ok(retired);
        }
        retired.extend(lines);
    }
}

/// At start no attempt can be under way: each that was is settled as unknown.
///
/// # Errors
/// Errors of the store.
pub async fn settle_orphans(store: &Store, rng: &dyn Rng, at_start: bool) -> Result<usize, OpsError> {
    const MOST_AT_ONCE: u32 = 200;
    if at_start {
        store.write(Write::new("end leases", Lane::Act), |tx| Ok::<_, OpsError>(outbox::end_leases(tx)?)).await?;
    }
    let draw = Draw::new(rng);
    let work = move |tx: &mut Tx<'_>| {
        let ids = draw.ids();
        let seen = outbox::expired(tx, MOST_AT_ONCE)?;
        tx.lock(seen.iter().map(|stored| Lock::Incident(stored.delivery.incident.clone())))?;
        // Some may have been settled before the locks were held.
        let mut found = outbox::expired(tx, MOST_AT_ONCE)?;
        found.retain(|stored| seen.iter().any(|before| before.delivery.id == stored.delivery.id));
        for stored in &found {
            let why = "AllClear stopped during the attempt".to_owned();
            if let Some(attempt) = &stored.bundle {
                outbox::settle_attempt(tx, attempt, &format!("unknown: {why}"))?;
            }
            settle_one(tx, &ids, stored, stored.fence, Outcome::Unknown { why })?;
        }
        Ok::<_, OpsError>(found.len())
    };
    store.write(Write::new("settle orphans", Lane::Act), work).await
}

/// A provider's status callback for an attempt: its messages arrived, or did not. Whether it was known.
///
/// # Errors
/// Errors of the store.
pub async fn receipt(store: &Store, rng: &dyn Rng, attempt: &str, arrived: bool, why: Option<String>) -> Result<bool, OpsError> {
    let (draw, attempt) = (Draw::new(rng), attempt.to_owned());
    let work = move |tx: &mut Tx<'_>| {
        let ids = draw.ids();
        let found = outbox::deliveries_of_bundle(tx, &attempt)?;
        tx.lock(found.iter().map(|stored| Lock::Incident(stored.delivery.incident.clone())))?;
        let status = if arrived { Status::Delivered } else { Status::Undelivered };
        if !found.is_empty() {
            // The provider has it, whatever became of its answer.
            outbox::settle_attempt(tx, &attempt, "accepted")?;
        }
        for stored in &found {
            if !outbox::receipt(tx, &stored.delivery.id, status, why.as_deref())? {
                continue;
            }
            if arrived {
                // It came before the outcome, which then has nothing left to say.
                if matches!(stored.status, Status::Claimed | Status::Pending) {
                    note(tx, &ids, stored, status.word())?;
                }
            } else {
                let incident = incidents::load_incident(tx, &stored.delivery.incident)?;
                note(tx, &ids, stored, &format!("undelivered: {}", why.as_deref().unwrap_or("no reason given")))?;
                after_loss(tx, stored, &incident)?;
            }
        }
        Ok::<_, OpsError>(!found.is_empty())
    };
    store.write(Write::new("take receipt", Lane::Act), work).await
}

/// The person and the incidents of the last message to an address, for a reply that names none.
///
/// # Errors
/// Errors of the store.
pub async fn last_message_to(store: &Store, channel: &ChannelId, address: &str) -> Result<Option<(PersonId, Vec<IncidentId>)>, OpsError> {
    let (channel, address) = (channel.clone(), address.to_owned());
    let work = move |tx: &mut Tx<'_>| match outbox::last_bundle_to(tx, &channel, &address)? {
        Some(bundle) => told_by(tx, &bundle),
        None => Ok(None),
    };
    Ok(store.read("last message", work).await?)
}

/// The person and the incidents of an attempt, for an answer that names it.
///
/// # Errors
/// Errors of the store.
pub async fn message_of(store: &Store, attempt: &str) -> Result<Option<(PersonId, Vec<IncidentId>)>, OpsError> {
    let attempt = attempt.to_owned();
    Ok(store.read("message of attempt", move |tx| told_by(tx, &attempt)).await?)
}

/// What a mail's link can answer: its person, and its incidents as they are now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answerable {
    /// Whose link it is.
    pub person: PersonId,
    /// Their name.
    pub name: String,
    /// What it is about.
    pub incidents: Vec<Brief>,
}

/// What a link can answer; nothing where it is not known, or its person is no longer there.
///
/// # Errors
/// Errors of the store.
pub async fn answerable(store: &Store, link: &str) -> Result<Option<Answerable>, OpsError> {
    let hash = hash(link);
    let work = move |tx: &mut Tx<'_>| {
        let Some(Linked { person, incidents: ids, .. }) = outbox::find_link(tx, &hash)? else { return Ok(None) };
        let Some(name) = tx.catalog().person(&person).map(|found| found.name.clone()) else { return Ok(None) };
        let mut about = Vec::with_capacity(ids.len());
        for id in ids {
            let incident = incidents::load_incident(tx, &id)?;
            about.push(brief(tx, &incident)?);
        }
        Ok::<_, OpsError>(Some(Answerable { person, name, incidents: about }))
    };
    store.read("answerable", work).await
}

fn told_by(tx: &mut Tx<'_>, bundle: &str) -> Result<Option<(PersonId, Vec<IncidentId>)>, StoreError> {
    let found = outbox::deliveries_of_bundle(tx, bundle)?;
    let person = found.iter().find_map(|stored| match &stored.delivery.recipient {
        Recipient::Person { person } => Some(person.clone()),
        Recipient::Room { .. } | Recipient::Mirror { .. } => None,
    });
    Ok(person.map(|person| (person, found.into_iter().map(|stored| stored.delivery.incident).collect())))
}

/// Counts messages by channel and status, for people.
#[must_use]
pub fn summary(stored: &[Stored]) -> BTreeMap<(String, &'static str), usize> {
    let mut counts = BTreeMap::new();
    for one in stored {
        *counts.entry((one.provider.clone(), one.status.word())).or_insert(0) += 1;
    }
    counts
}
