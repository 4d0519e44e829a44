//! Writes decided changes: the one place where an incident, its pages, its timers and the components that follow
//! it change together.
//!
//! The order of the steps is the order of locks: incidents (held by the caller), components, pages.
//! 1. Components: what every change presses or releases, and the status that follows.
//! 2. Pages: public incidents, and the published documents of every page that shows a changed component.
//! 3. Incidents: numbers, rows, alerts, timelines, timers.
//! 4. Deliveries.

use std::collections::{BTreeMap, BTreeSet};

use allclear_domain::catalog::{Account, Channel, Kind, Room};
use allclear_domain::delivery::{self, About, Delivery, Means, Purpose, Recipient, Status, Unwanted};
use allclear_domain::incident::{Agent, Change, Effect, Incident, LogDraft, LogKind, NotifyReason, Paging, State, Via};
use allclear_domain::{ChannelId, ComponentId, DeliveryId, PersonId, Span};
use allclear_store::record::alert::{self, Alert};
use allclear_store::record::delivery::{self as outbox, Stored};
use allclear_store::record::incident as incidents;
use allclear_store::record::timer::{self, Timer};
use allclear_store::{StoreError, Tx};

use crate::delivery::{brief, with_news};
use crate::draw::Ids;
use crate::status;

/// A change on its way into the database.
pub(crate) struct Pending {
    pub(crate) change: Change,
    /// The alert that opens the incident; nothing for a change of one that is there.
    pub(crate) opened_by: Option<Alert>,
}

impl Pending {
    pub(crate) const fn changed(change: Change) -> Self {
        Self { change, opened_by: None }
    }
}

/// The timer by which the operators are told; the engine opens their incident.
pub(crate) const ALARM: &str = "alarm";

/// The timer by which the operators' incident ends when its cause is taken or over. Its body is the alert.
pub(crate) const CAUSE_OVER: &str = "cause_over";

/// What ties the operators' incident to the one that nobody answers for.
pub(crate) fn nobody_key(about: &Incident) -> String {
    format!("nobody:{}", about.id)
}

pub(crate) fn incident_subject(incident: &Incident) -> String {
    format!("incident:{}", incident.id)
}

/// Writes all changes. The caller holds every incident's lock.
pub(crate) fn apply(tx: &mut Tx<'_>, ids: &Ids, mut pending: Vec<Pending>) -> Result<Vec<Incident>, StoreError> {
    status::follow(tx, ids, &mut pending)?;
    number(tx, &mut pending)?;
    for item in &pending {
        write_incident(tx, ids, item)?;
    }
    for item in &pending {
        write_deliveries(tx, ids, &item.change)?;
    }
    Ok(pending.into_iter().map(|item| item.change.next).collect())
}

fn number(tx: &mut Tx<'_>, pending: &mut [Pending]) -> Result<(), StoreError> {
    let news: Vec<&mut Pending> = pending.iter_mut().filter(|item| item.opened_by.is_some()).collect();
    let numbers = incidents::next_numbers(tx, news.len())?;
    for (item, number) in news.into_iter().zip(numbers) {
        item.change.next.number = number;
    }
    Ok(())
}

fn write_incident(tx: &mut Tx<'_>, ids: &Ids, item: &Pending) -> Result<(), StoreError> {
    let Change { before: _, next, log, effects } = &item.change;
    match &item.opened_by {
        Some(opening) => {
            incidents::insert_incident(tx, next)?;
            alert::insert_alert(tx, opening)?;
        }
        None => incidents::update_incident(tx, next)?,
    }
    let log_ids: Vec<String> = log.iter().map(|_| ids.pagerduty_record(tx.now())).collect();
    match &item.opened_by {
        Some(_) => incidents::begin_log(tx, &next.id, &log_ids, log)?,
        None => incidents::append_log(tx, &next.id, &log_ids, log)?,
    }
    if !matches!(next.state, State::Triggered(_))
        && let Some(alarm) = alert::open_alert(tx, &nobody_key(next))?
    {
        let (subject, due_at) = (format!("incident:{}", alarm.incident), tx.now());
        timer::set_timer(tx, &Timer { subject, kind: CAUSE_OVER.into(), due_at, body: alarm.id.0 })?;
    }
    write_timers(tx, next, effects, item.opened_by.is_some())?;
    if effects.iter().any(|effect| matches!(effect, Effect::CloseAlerts)) {
        alert::resolve_alerts_of(tx, &next.id)?;
    }
    Ok(())
}

/// What a change sets and clears, in its order. A new incident has no timers yet: all of its first ones are written at once.
fn write_timers(tx: &mut Tx<'_>, incident: &Incident, effects: &[Effect], is_new: bool) -> Result<(), StoreError> {
    let (subject, now) = (incident_subject(incident), tx.now());
    let set = |kind: &str, due_at, body| Timer { subject: subject.clone(), kind: kind.into(), due_at, body };
    let mut wanted: BTreeMap<String, Option<Timer>> = BTreeMap::new();
    for effect in effects {
        match effect {
            Effect::SetTimer { timer: which, at } => {
                let body = serde_json::to_string(which).map_err(|_| StoreError::Changed("a timer"))?;
                wanted.insert(which.kind().into(), Some(set(which.kind(), *at, body)));
            }
            Effect::ClearTimer { kind } => {
                wanted.insert((*kind).into(), None);
            }
            Effect::AlarmNobody => {
                wanted.insert(ALARM.into(), Some(set(ALARM, now, "null".into())));
            }
            Effect::Page { .. }
            | Effect::CancelPages
            | Effect::AllClear
            | Effect::TellChannels
            | Effect::Press
            | Effect::Release
            | Effect::CloseAlerts => {}
        }
    }
    if is_new {
        return timer::begin_timers(tx, &wanted.into_values().flatten().collect::<Vec<_>>());
    }
    wanted.iter().try_for_each(|(kind, timer)| match timer {
        Some(timer) => timer::set_timer(tx, timer),
        None => timer::clear_timer(tx, &subject, kind),
    })
}

fn write_deliveries(tx: &mut Tx<'_>, ids: &Ids, change: &Change) -> Result<(), StoreError> {
    let mut paged = Paged::default();
    let is_new = change.log.iter().any(|entry| matches!(entry.kind, LogKind::Triggered { .. }));
    for effect in &change.effects {
        match effect {
            Effect::CancelPages => {
                let why = match &change.next.state {
                    State::Triggered(_) => Unwanted::AnotherLevel,
                    State::Acknowledged(_) => Unwanted::Acknowledged,
                    State::Resolved(_) => Unwanted::Resolved,
                };
                outbox::cancel_pending(tx, &change.next.id, Purpose::Page.word(), why.words())?;
                hang_up(tx, ids, change)?;
            }
            Effect::Page { person, why } => page(tx, ids, &change.next, person, *why, &mut paged)?,
            Effect::AllClear => all_clear(tx, ids, &change.next)?,
            Effect::TellChannels => tell_rooms(tx, ids, change)?,
            Effect::AlarmNobody
            | Effect::SetTimer { .. }
            | Effect::ClearTimer { .. }
            | Effect::Press
            | Effect::Release
            | Effect::CloseAlerts => {}
        }
    }
    if change.effects.iter().any(|effect| matches!(effect, Effect::CancelPages | Effect::AllClear)) && !is_new {
        show_anew(tx, ids, &change.next)?;
    }
    if paged.people > 0 && paged.deliveries == 0 {
        escalate_at_once(tx, &change.next)?;
    }
    Ok(())
}

#[derive(Default)]
struct Paged {
    people: usize,
    deliveries: usize,
}

/// The level and pass that an incident's pages belong to.
fn position(incident: &Incident) -> Option<(usize, u32)> {
    match &incident.state {
        State::Triggered(Paging::Level(here)) => Some((here.level, here.pass)),
        State::Triggered(Paging::Nobody { .. }) | State::Acknowledged(_) | State::Resolved(_) => None,
    }
}

fn page(
    tx: &mut Tx<'_>,
    ids: &Ids,
    incident: &Incident,
    person: &PersonId,
    why: NotifyReason,
    paged: &mut Paged,
) -> Result<(), StoreError> {
    let (now, catalog) = (tx.now(), tx.catalog());
    paged.people += 1;
    let Some(found) = catalog.person(person) else { return Ok(()) };
    for planned in delivery::plan_pages(found, incident.urgency, now) {
        let Some(channel) = catalog.channel(&planned.method.channel) else { continue };
        let delivery = Delivery {
            id: DeliveryId(ids.uuid7(now)),
            about: About::Incident(incident.id.clone()),
            recipient: Recipient::Person { person: person.clone() },
            channel: planned.method.channel.clone(),
            address: planned.method.address.clone(),
            by: planned.method.by,
            purpose: Purpose::Page,
            why: Some(why),
            position: position(incident),
            thread: None,
            stood: None,
            told: None,
            ends: None,
            news: None,
            words: None,
            due_at: planned.at,
            attempts: 0,
        };
        outbox::insert_delivery(tx, &delivery, channel.account.class(delivery.by))?;
        paged.deliveries += 1;
    }
    Ok(())
}

/// Nobody of the level has a contact method: the wait for an acknowledgement would be in vain.
fn escalate_at_once(tx: &mut Tx<'_>, incident: &Incident) -> Result<(), StoreError> {
    let Some((level, pass)) = position(incident) else { return Ok(()) };
    unreachable_level(tx, incident, level, pass)
}

/// Asks the engine to go on to the next level; a timer, because that is a change of its own.
pub(crate) fn unreachable_level(tx: &mut Tx<'_>, incident: &Incident, level: usize, pass: u32) -> Result<(), StoreError> {
    let body = serde_json::json!({ "level": level, "pass": pass }).to_string();
    let due_at = tx.now();
    timer::set_timer(tx, &Timer { subject: incident_subject(incident), kind: crate::timer::UNREACHABLE.into(), due_at, body })
}

/// Everyone whose page was sent, or may have been, hears that it is over where they heard of it; never as a call: nobody is
/// woken by good news.
fn all_clear(tx: &mut Tx<'_>, ids: &Ids, incident: &Incident) -> Result<(), StoreError> {
    let (now, catalog) = (tx.now(), tx.catalog());
    for sent in outbox::seen_pages_of(tx, &incident.id)? {
        let page = &sent.delivery;
        let Some(channel) = catalog.channel(&page.channel) else { continue };
        let clear = Delivery {
            id: DeliveryId(ids.uuid7(now)),
            by: Means::Text,
            purpose: Purpose::AllClear,
            why: None,
            position: None,
            thread: None,
            stood: None,
            told: None,
            ends: None,
            news: None,
            words: None,
            due_at: now,
            attempts: 0,
            ..page.clone()
        };
        outbox::insert_delivery(tx, &clear, channel.account.class(clear.by))?;
    }
    Ok(())
}

/// No call rings longer.
const RINGS_FOR: Span = Span::from_mins(2);

/// Calls that ring for an incident that somebody has, or that is over, stop ringing.
fn hang_up(tx: &mut Tx<'_>, ids: &Ids, change: &Change) -> Result<(), StoreError> {
    if !matches!(change.next.state, State::Triggered(_)) {
        let since = tx.now().minus(RINGS_FOR);
        for call in outbox::calls_since(tx, &change.next.id, since)? {
            let has_it_in_hand = |agent: &Agent| {
                matches!((agent, &call.delivery.recipient),
                (Agent::Person { person, via: Via::Call }, Recipient::Person { person: called }) if person == called)
            };
            if !change.log.iter().any(|entry| has_it_in_hand(&entry.agent)) {
                hang_up_one(tx, ids, &call)?;
            }
        }
    }
    Ok(())
}

/// The last messages to people that can be changed show how things stand: their buttons are of no use any more.
fn show_anew(tx: &mut Tx<'_>, ids: &Ids, incident: &Incident) -> Result<(), StoreError> {
    let catalog = tx.catalog();
    let classes: BTreeSet<&str> = catalog
        .of_kind(Kind::Channel)
        .filter_map(|resource| resource.document.as_channel())
        .filter(|channel| channel.account.can_update())
        .map(|channel| channel.account.class(Means::Text))
        .collect();
    for class in classes {
        for sent in outbox::last_pages_by(tx, &incident.id, class)? {
            show_one_anew(tx, ids, &sent)?;
        }
    }
    Ok(())
}

/// What was sent and is overtaken by now: a call stops ringing, a message that can be changed shows how things stand. Needs the
/// incident's lock.
pub(crate) fn overtaken(tx: &mut Tx<'_>, ids: &Ids, sent: &Stored) -> Result<(), StoreError> {
    hang_up_one(tx, ids, sent)?;
    show_one_anew(tx, ids, sent)
}

fn show_one_anew(tx: &mut Tx<'_>, ids: &Ids, sent: &Stored) -> Result<(), StoreError> {
    let (catalog, page) = (tx.catalog(), &sent.delivery);
    let (Some(carrier), Some(message)) = (&sent.carrier, &sent.provider_id) else { return Ok(()) };
    let Some(channel) = catalog.channel(carrier).filter(|channel| channel.account.can_update()) else { return Ok(()) };
    if page.purpose != Purpose::Page || !matches!(page.recipient, Recipient::Person { .. }) {
        return Ok(());
    }
    follow_up(tx, ids, page, Purpose::State, channel, (carrier, message))
}

/// A call that may ring now stops, unless another incident that it tells of still wants an answer. Needs the incident's lock.
fn hang_up_one(tx: &mut Tx<'_>, ids: &Ids, call: &Stored) -> Result<(), StoreError> {
    let (now, catalog, page) = (tx.now(), tx.catalog(), &call.delivery);
    let may_ring = call.status == Status::Accepted && call.finished_at.is_some_and(|at| at.plus(RINGS_FOR) > now);
    let (Some(carrier), Some(ends), Some(bundle)) = (&call.carrier, &call.provider_id, &call.bundle) else { return Ok(()) };
    if page.by != Means::Call || page.purpose != Purpose::Page || !may_ring {
        return Ok(());
    }
    for other in outbox::deliveries_of_bundle(tx, bundle)? {
        let Some(other) = other.delivery.about.incident() else { continue };
        if matches!(incidents::load_incident(tx, other)?.state, State::Triggered(_)) {
            return Ok(());
        }
    }
    let Some(channel) = catalog.channel(carrier) else { return Ok(()) };
    follow_up(tx, ids, page, Purpose::HangUp, channel, (carrier, ends))
}

/// Lets the carrier of a page do something to what it took, which `reference` names: once, whatever else asked for it.
fn follow_up(
    tx: &mut Tx<'_>,
    ids: &Ids,
    page: &Delivery,
    purpose: Purpose,
    channel: &Channel,
    (carrier, reference): (&ChannelId, &str),
) -> Result<(), StoreError> {
    let now = tx.now();
    let delivery = Delivery {
        id: DeliveryId(ids.uuid7(now)),
        channel: carrier.clone(),
        purpose,
        why: None,
        position: None,
        ends: Some(reference.to_owned()),
        due_at: now,
        attempts: 0,
        ..page.clone()
    };
    outbox::cancel_lane(tx, &delivery.lane(), Unwanted::Superseded.words())?;
    outbox::insert_delivery(tx, &delivery, channel.account.class(delivery.by))
}

/// The service's rooms show the new state; what changed is a line under the message.
fn tell_rooms(tx: &mut Tx<'_>, ids: &Ids, change: &Change) -> Result<(), StoreError> {
    let (now, catalog) = (tx.now(), tx.catalog());
    let incident = &change.next;
    let Some(service) = catalog.service(&incident.service) else { return Ok(()) };
    let is_new = change.log.iter().any(|entry| matches!(entry.kind, LogKind::Triggered { .. }));
    let key = key_of(tx, incident)?;
    let is_for_programs = |room: &Room| catalog.channel(&room.channel).is_some_and(|one| one.account.is_for_programs());
    let told = match service.rooms.iter().any(is_for_programs) {
        true => {
            let now = brief(tx, incident)?;
            Some(Box::new(with_news(tx, change.news(), now)))
        }
        false => None,
    };
    for room in &service.rooms {
        let Some(channel) = catalog.channel(&room.channel) else { continue };
        if !channel.account.takes_incidents() || came_from(change, &room.channel) {
            continue;
        }
        // It knows an incident as triggered, acknowledged or resolved, and nothing between.
        if matches!(channel.account, Account::Pagerduty(_)) && !change.changes_status() {
            continue;
        }
        if channel.account.can_update() {
            outbox::cancel_waiting(tx, &incident.id, (&room.channel, &room.room), Purpose::State.word(), Unwanted::Superseded.words())?;
        }
        let purposes: &[Purpose] = match (is_new, channel.account.can_update()) {
            (true, _) => &[Purpose::State],
            (false, true) => &[Purpose::State, Purpose::Note],
            (false, false) => &[Purpose::Note],
        };
        for purpose in purposes {
            let delivery = Delivery {
                id: DeliveryId(ids.uuid7(now)),
                about: About::Incident(incident.id.clone()),
                recipient: Recipient::Room { service: incident.service.clone() },
                channel: room.channel.clone(),
                address: room.room.clone(),
                by: Means::Text,
                purpose: *purpose,
                why: None,
                position: None,
                thread: matches!(channel.account, Account::Pagerduty(_)).then(|| key.clone()).flatten(),
                stood: None,
                told: told.clone().filter(|_| channel.account.is_for_programs()),
                ends: None,
                news: change.news().cloned(),
                words: None,
                due_at: now,
                attempts: 0,
            };
            outbox::insert_delivery(tx, &delivery, channel.account.class(delivery.by))?;
        }
    }
    Ok(())
}

/// What other services know an incident by.
pub(crate) fn key_of(tx: &mut Tx<'_>, incident: &Incident) -> Result<Option<String>, StoreError> {
    match &incident.key {
        Some(key) => Ok(Some(key.clone())),
        // It was opened by a program that did not write its key down.
        None => Ok(alert::alerts_of(tx, &incident.id)?.into_iter().next().map(|alert| alert.dedup_key)),
    }
}

/// Whether a change was made in the service that a channel leads to: it knows already, and an echo would come back. An end is
/// told all the same: a trigger that was on its way when it ended there has opened it again, and to end what has ended is
/// nothing.
fn came_from(change: &Change, channel: &ChannelId) -> bool {
    change.next.is_open() && change.log.iter().any(|entry| matches!(&entry.agent, Agent::Linked { channel: from, .. } if from == channel))
}

/// Lets another page show what a component shows, if it has a mirror. Needs the lock of what it is about.
pub(crate) fn tell_mirror(tx: &mut Tx<'_>, ids: &Ids, about: About, id: &ComponentId) -> Result<(), StoreError> {
    let (now, catalog) = (tx.now(), tx.catalog());
    let Some(mirror) = catalog.component(id).and_then(|component| component.mirror.as_ref()) else { return Ok(()) };
    let Some(channel) = catalog.channel(&mirror.channel) else { return Ok(()) };
    let delivery = Delivery {
        id: DeliveryId(ids.uuid7(now)),
        about,
        recipient: Recipient::Mirror { component: id.clone() },
        channel: mirror.channel.clone(),
        address: mirror.component.clone(),
        by: Means::Text,
        purpose: Purpose::Mirror,
        why: None,
        position: None,
        thread: None,
        stood: None,
        told: None,
        ends: None,
        news: None,
        words: None,
        due_at: now,
        attempts: 0,
    };
    outbox::cancel_lane(tx, &delivery.lane(), Unwanted::Superseded.words())?;
    outbox::insert_delivery(tx, &delivery, channel.account.class(delivery.by))
}

/// An entry that AllClear itself makes.
pub(crate) const fn system_entry(at: allclear_domain::Timestamp, kind: LogKind) -> LogDraft {
    LogDraft { at, agent: Agent::System, kind }
}
