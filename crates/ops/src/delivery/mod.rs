//! The outbox as the dispatcher and the providers' callbacks see it: claim, settle, receipt.

mod brief;
mod claim;
mod notice;

use std::collections::BTreeMap;

use allclear_base::Rng;
use allclear_base::metrics::metrics;
use allclear_domain::delivery::{
    self, About, Brief, ChannelFinding, Delivery, Means, Outcome, Purpose, Receipt, Recipient, Settled, Status, Way,
};
use allclear_domain::incident::{Agent, Incident, LogDraft, LogKind, Paging, State, Urgency};
use allclear_domain::{ChannelId, DeliveryId, IncidentId, PersonId, Span};
use allclear_store::record::channel_finding as finding;
use allclear_store::record::delivery::{self as outbox, Linked, Stored, TryAgain};
use allclear_store::record::incident as incidents;
use allclear_store::{Lane, Store, StoreError, Tx, Write};

pub(crate) use brief::brief;
pub(crate) use claim::with_news;
pub use claim::{Capacity, Carrier, Claimed, LEASE, Outgoing, claim};
pub use notice::{Notified, Sent, answer_press, findings, may_explain, notify_test, opted_in, opted_out, sent};

use crate::apply::{overtaken, unreachable_level};
use crate::draw::{Ids, hash};
use crate::{Draw, OpsError};

/// The incident that a message tells of, as it is now.
fn about(tx: &mut Tx<'_>, delivery: &Delivery) -> Result<Option<Incident>, StoreError> {
    delivery.about.incident().map(|id| incidents::load_incident(tx, id)).transpose()
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
    let locks: Vec<_> = outgoing.about.iter().map(outbox::lock_of).collect();
    let write = Write::new("settle attempt", Lane::Act).locks(locks);
    let word = outcome.word();
    let learnt = Learnt {
        carrier: outgoing.carrier.channel.clone(),
        address: outgoing.address.clone(),
        purpose: outgoing.message.purpose,
        by: outgoing.by,
    };
    let is_told = outgoing.withheld.is_none();
    let work = move |tx: &mut Tx<'_>| {
        if is_told {
            learn(tx, &learnt, &outcome)?;
        }
        settle_within(tx, &draw.ids(), &attempt, &deliveries, &outcome)
    };
    store.write(write, work).await?;
    let catalog = store.catalog();
    let channel = catalog.channel(&outgoing.carrier.channel).map_or("removed", |channel| channel.name.as_str());
    metrics().attempt(channel, &outgoing.carrier.class, word);
    Ok(())
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
        Outcome::Retry { why, .. } | Outcome::Deferred { why, .. } => format!("try again: {why}"),
        Outcome::RateLimited { why, .. } => format!("asked to wait: {why}"),
        Outcome::Permanent { why } => format!("failed: {why}"),
        Outcome::ChannelBroken { why } => format!("the channel does not work: {why}"),
        Outcome::Gone { why } => format!("the endpoint is gone: {why}"),
        Outcome::LocalFault { why } => format!("a fault of this machine: {why}"),
        Outcome::Unknown { why } => format!("unknown: {why}"),
    }
}

/// What an outcome says about the channel and the address: a finding, or the end of one. An answer to a
/// button used no credential of the channel; and only a text shows that a number takes texts.
fn learn(tx: &mut Tx<'_>, outgoing: &Learnt, outcome: &Outcome) -> Result<(), StoreError> {
    let Learnt { carrier, address, purpose, by } = outgoing;
    if *purpose == Purpose::Reply {
        return Ok(());
    }
    if matches!(outcome, Outcome::Accepted { .. }) {
        finding::clear_finding(tx, carrier, None)?;
        if *by == Means::Text {
            finding::clear_finding(tx, carrier, Some(address))?;
        }
        return Ok(());
    }
    // What a receiver of mail does not take now is its own affair.
    let is_for_programs = tx.catalog().channel(carrier).is_some_and(|channel| channel.account.is_for_programs());
    match (ChannelFinding::of(outcome), outcome.why()) {
        (Some(ChannelFinding::Refusing), _) if !is_for_programs => Ok(()),
        (Some(found), Some(why)) => finding::put_finding(tx, carrier, None, found, why),
        // Nobody sees what a program misses.
        (None, Some(why)) if is_for_programs && matches!(outcome, Outcome::Permanent { .. }) => {
            finding::put_finding(tx, carrier, None, ChannelFinding::Refusing, why)
        }
        _ => Ok(()),
    }
}

/// Of an attempt, what its outcome may teach about.
struct Learnt {
    carrier: ChannelId,
    address: String,
    purpose: Purpose,
    by: Means,
}

/// The outcome of the claim that `fence` names; one that somebody else has taken over since is left alone.
fn settle_one(tx: &mut Tx<'_>, ids: &Ids, stored: &Stored, fence: i64, outcome: Outcome) -> Result<(), OpsError> {
    let catalog = tx.catalog();
    let carrier = stored.carrier.as_ref().unwrap_or(&stored.delivery.channel);
    let way = Way {
        idempotent: catalog.channel(carrier).is_some_and(|channel| channel.account.is_idempotent()),
        has_second: claim::second_of(&catalog, &stored.delivery.channel).is_some()
            && !claim::is_for_its_channel_alone(stored.delivery.purpose),
        over_days: catalog.channel(carrier).is_some_and(|channel| channel.account.is_tried_over_days()),
        waited: tx.now().since(stored.created_at),
    };
    let incident = about(tx, &stored.delivery)?;
    let provider_id = match &outcome {
        Outcome::Accepted { provider_id } => Some(provider_id.clone()),
        _ => None,
    };
    let id = &stored.delivery.id;
    let urgency = incident.as_ref().map_or(Urgency::Low, |incident| incident.urgency);
    match delivery::settle(&stored.delivery, urgency, outcome, way, tx.now()) {
        Settled::Again { at, why, possible_repeat, costs_a_try } => {
            let is_overdue_meanwhile = !way.over_days;
            let again = TryAgain { at, why: &why, possible_repeat, costs_a_try, is_overdue_meanwhile };
            outbox::put_back(tx, id, fence, &again)?;
        }
        Settled::Finished { status, why } => {
            if !outbox::finish(tx, id, fence, status, why.as_deref(), provider_id.as_deref())? {
                return Ok(());
            }
            // An endpoint that is back gets what waits for it now, and not after the pauses of its absence.
            if status == Status::Accepted && way.over_days {
                let sent = &stored.delivery;
                outbox::hurry_destination(tx, &sent.channel, &stored.provider, &sent.address)?;
            }
            let outcome = why.map_or_else(|| status.word().to_owned(), |why| format!("{}: {why}", status.word()));
            note(tx, ids, stored, &outcome)?;
            let Some(incident) = incident else { return Ok(()) };
            if status.is_lost() {
                after_loss(tx, stored, &incident)?;
            }
            // Somebody may have taken it while the page was on its way.
            if status == Status::Accepted
                && !matches!(incident.state, State::Triggered(_))
                && let Some(sent) = outbox::find_delivery(tx, id)?
            {
                overtaken(tx, ids, &sent)?;
            }
        }
    }
    Ok(())
}

/// A line of the timeline: who was told how, and what came of it. Rooms' updates are not worth one.
fn note(tx: &mut Tx<'_>, ids: &Ids, stored: &Stored, outcome: &str) -> Result<(), StoreError> {
    let delivery = &stored.delivery;
    let went_well = outcome == Status::Accepted.word() || outcome == Status::Delivered.word();
    if matches!(delivery.purpose, Purpose::Note | Purpose::HangUp | Purpose::Reply)
        || delivery.ends.is_some()
        || (matches!(delivery.purpose, Purpose::State | Purpose::Mirror) && went_well)
    {
        return Ok(());
    }
    let incident = match &delivery.about {
        About::Incident(incident) => incident,
        About::Component(id) => {
            tracing::warn!(component.id = %id, outcome, "another page could not be told how a component stands");
            return Ok(());
        }
        About::Person(id) => {
            tracing::info!(person.id = %id, method = stored.provider, outcome, "a person was told how they are reached");
            return Ok(());
        }
    };
    let person = match &delivery.recipient {
        Recipient::Person { person } => Some(person.clone()),
        Recipient::Room { .. } | Recipient::Mirror { .. } | Recipient::Presser { .. } => None,
    };
    let outcome = match delivery.purpose {
        Purpose::AllClear => format!("all-clear {outcome}"),
        _ => outcome.to_owned(),
    };
    let kind = LogKind::Notified { person, method: stored.provider.clone(), address: mask_address(&delivery.address), outcome };
    let now = tx.now();
    let draft = LogDraft { at: now, agent: Agent::System, kind };
    incidents::append_log(tx, incident, &[ids.pagerduty_record(now)], &[draft])
}

/// Enough of an address to know which one it was.
pub(crate) fn mask_address(address: &str) -> String {
    let visible = address.chars().count().saturating_sub(4);
    let tail: String = address.chars().skip(visible).collect();
    match address {
        number if number.starts_with('+') => format!("+…{tail}"),
        // Where somebody who pressed a button is told something: whoever has it can write there.
        url if url.starts_with("http") => "whoever pressed".to_owned(),
        other => other.to_owned(),
    }
}

/// A page that will not arrive: the person's next method at once; if the whole level is lost, the next level.
fn after_loss(tx: &mut Tx<'_>, stored: &Stored, incident: &Incident) -> Result<(), StoreError> {
    let lost = &stored.delivery;
    let here = match &incident.state {
        State::Triggered(Paging::Level(here)) if lost.position == Some((here.level, here.pass)) => here.clone(),
        State::Triggered(_) | State::Acknowledged(_) | State::Resolved(_) => return Ok(()),
    };
    outbox::hurry(tx, &incident.id, &lost.recipient.key())?;
    let of_level = outbox::pages_of(tx, &incident.id)?;
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
            tx.lock(waiting.iter().map(|stored| outbox::lock_of(&stored.delivery.about)))?;
            let mut lines = Vec::with_capacity(waiting.len());
            for stored in waiting {
                let delivery = &stored.delivery;
                if !outbox::cancel(tx, &delivery.id, "too old when the database was put back")? {
                    continue;
                }
                let what = about(tx, delivery)?.map_or_else(|| delivery.about.key(), |found| format!("#{} {}", found.number, found.title));
                let (purpose, to) = (delivery.purpose.word().replace('_', "-"), mask_address(&delivery.address));
                lines.push(format!("{purpose} by {} to {to}, due {}: {what}", stored.provider, delivery.due_at));
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
        tx.lock(seen.iter().map(|stored| outbox::lock_of(&stored.delivery.about)))?;
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
pub async fn receipt(store: &Store, rng: &dyn Rng, attempt: &str, receipt: Receipt) -> Result<bool, OpsError> {
    let (draw, attempt) = (Draw::new(rng), attempt.to_owned());
    let work = move |tx: &mut Tx<'_>| {
        let ids = draw.ids();
        let found = outbox::deliveries_of_bundle(tx, &attempt)?;
        tx.lock(found.iter().map(|stored| outbox::lock_of(&stored.delivery.about)))?;
        if !found.is_empty() {
            // The provider has it, whatever became of its answer.
            outbox::settle_attempt(tx, &attempt, "accepted")?;
        }
        for stored in &found {
            let (arrived, why) = receipt.arrived(stored.delivery.purpose);
            let status = if arrived { Status::Delivered } else { Status::Undelivered };
            if !outbox::receipt(tx, &stored.delivery.id, status, why.as_deref())? {
                continue;
            }
            if arrived {
                // It came before the outcome, which then has nothing left to say.
                if matches!(stored.status, Status::Claimed | Status::Pending) {
                    note(tx, &ids, stored, status.word())?;
                }
            } else {
                note(tx, &ids, stored, &format!("undelivered: {}", why.as_deref().unwrap_or("no reason given")))?;
                if let Some(incident) = about(tx, &stored.delivery)? {
                    after_loss(tx, stored, &incident)?;
                }
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
    /// Whether it is them who acknowledged whatever is acknowledged.
    pub is_theirs: bool,
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
        let mut is_theirs = true;
        for id in ids {
            let incident = incidents::load_incident(tx, &id)?;
            if let State::Acknowledged(held) = &incident.state {
                let last = held.by.last().map(|last| &last.by);
                is_theirs &= matches!(last, Some(Agent::Person { person: by, .. }) if *by == person);
            }
            about.push(brief(tx, &incident)?);
        }
        Ok::<_, OpsError>(Some(Answerable { person, name, incidents: about, is_theirs }))
    };
    store.read("answerable", work).await
}

fn told_by(tx: &mut Tx<'_>, bundle: &str) -> Result<Option<(PersonId, Vec<IncidentId>)>, StoreError> {
    let found = outbox::deliveries_of_bundle(tx, bundle)?;
    let person = found.iter().find_map(|stored| match &stored.delivery.recipient {
        Recipient::Person { person } => Some(person.clone()),
        Recipient::Room { .. } | Recipient::Mirror { .. } | Recipient::Presser { .. } => None,
    });
    Ok(person.map(|person| (person, found.iter().filter_map(|stored| stored.delivery.about.incident().cloned()).collect())))
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
