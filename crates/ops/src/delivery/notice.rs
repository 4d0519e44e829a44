//! Messages that do not tell of an incident: a test message, a warning that a number takes no texts any
//! more, and the answer to a button in Slack.

use allclear_base::Rng;
use allclear_domain::catalog::{Catalog, Kind};
use allclear_domain::delivery::{About, ChannelFinding, ContactMethod, Delivery, Means, Person, Purpose, Recipient, Status};
use allclear_domain::{ChannelId, DeliveryId, IncidentId, PersonId, Span, Timestamp};
use allclear_store::record::callback;
use allclear_store::record::channel_finding as finding;
use allclear_store::record::delivery as outbox;
use allclear_store::record::incident as incidents;
use allclear_store::{Lane, Lock, Store, StoreError, Tx, Write};

use super::mask_address;
use crate::draw::Ids;
use crate::{Actor, Draw, OpsError, Permission};

/// How long messages of this kind are kept. Messages about an incident are deleted with the incident.
const KEPT: Span = Span::from_mins(30 * 24 * 60);

/// A test message on its way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Notified {
    /// The message.
    pub id: DeliveryId,
    /// The name of the contact method.
    pub method: String,
}

/// How a message stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sent {
    /// The message.
    pub id: DeliveryId,
    /// What carries it: `sms`.
    pub class: String,
    /// The channel's name.
    pub channel: String,
    /// The address, as far as it is shown.
    pub address: String,
    /// How it stands.
    pub status: Status,
    /// Why it did not arrive, or is tried again.
    pub why: Option<String>,
    /// Attempts begun.
    pub attempts: u32,
}

/// Sends one real message to a person by each of their contact methods, or by the one that is named.
///
/// # Errors
/// [`OpsError::Invalid`] for an unknown person or method, or a person without any; [`OpsError::Forbidden`].
pub async fn notify_test(store: &Store, rng: &dyn Rng, actor: &Actor, who: &str, method: Option<&str>) -> Result<Vec<Notified>, OpsError> {
    actor.require(Permission::IncidentsWrite)?;
    let person = crate::wish::person_named(store, who)?;
    let (draw, method, by) = (Draw::new(rng), method.map(str::to_owned), actor.name().to_owned());
    let work = move |tx: &mut Tx<'_>| {
        let catalog = tx.catalog();
        let not_there = || OpsError::NotFound { what: "person", id: person.0.clone() };
        let found = catalog.person(&person).ok_or_else(not_there)?;
        let methods = chosen(found, method.as_deref())?;
        let words =
            format!("This is a test message to {}, asked for by {by}. Nothing is wrong, and nothing needs to be answered.", found.name);
        notify(tx, &draw.ids(), &person, &methods, &words)
    };
    store.write(Write::new("send test message", Lane::Act), work).await
}

/// The methods that a test message goes by.
fn chosen<'a>(person: &'a Person, method: Option<&str>) -> Result<Vec<&'a ContactMethod>, OpsError> {
    let methods: Vec<&ContactMethod> = person.contact_methods.iter().filter(|one| method.is_none_or(|name| one.name == name)).collect();
    if !methods.is_empty() {
        return Ok(methods);
    }
    let known: Vec<&str> = person.contact_methods.iter().map(|one| one.name.as_str()).collect();
    Err(OpsError::Invalid(match (method, known.is_empty()) {
        (_, true) => format!("{} has no contact method", person.name),
        (Some(name), false) => {
            format!("{} has no contact method {name:?}; there is {}", person.name, known.join(", "))
        }
        (None, false) => format!("{} has no contact method that could be tested", person.name),
    }))
}

/// Writes a message of these words by each method. Takes the person's lock.
fn notify(tx: &mut Tx<'_>, ids: &Ids, person: &PersonId, methods: &[&ContactMethod], words: &str) -> Result<Vec<Notified>, OpsError> {
    let (catalog, now, about) = (tx.catalog(), tx.now(), About::Person(person.clone()));
    tx.lock([Lock::Person(person.clone())])?;
    outbox::forget(tx, &about, now.minus(KEPT))?;
    let mut notified = Vec::with_capacity(methods.len());
    for method in methods {
        let Some(channel) = catalog.channel(&method.channel) else { continue };
        let to = Recipient::Person { person: person.clone() };
        let delivery = Delivery {
            by: method.by,
            ..message(ids, now, (about.clone(), to), (&method.channel, &method.address), Purpose::Notice, words)
        };
        outbox::insert_delivery(tx, &delivery, channel.account.class(method.by))?;
        notified.push(Notified { id: delivery.id, method: method.name.clone() });
    }
    Ok(notified)
}

fn message(
    ids: &Ids,
    now: Timestamp,
    (about, recipient): (About, Recipient),
    (channel, address): (&ChannelId, &str),
    purpose: Purpose,
    words: &str,
) -> Delivery {
    Delivery {
        id: DeliveryId(ids.uuid7(now)),
        about,
        recipient,
        channel: channel.clone(),
        address: address.to_owned(),
        by: Means::Text,
        purpose,
        why: None,
        position: None,
        thread: None,
        stood: None,
        told: None,
        ends: None,
        news: None,
        words: Some(words.to_owned()),
        due_at: now,
        attempts: 0,
    }
}

/// How messages stand that [`notify_test`] wrote; those that are not known are left out.
///
/// # Errors
/// [`OpsError::Forbidden`]; the database cannot be read.
pub async fn sent(store: &Store, actor: &Actor, ids: Vec<DeliveryId>) -> Result<Vec<Sent>, OpsError> {
    const MOST: usize = 100;
    actor.require(Permission::IncidentsRead)?;
    let work = move |tx: &mut Tx<'_>| {
        let catalog = tx.catalog();
        let mut all = Vec::with_capacity(ids.len().min(MOST));
        for id in ids.iter().take(MOST) {
            let Some(stored) = outbox::find_delivery(tx, id)? else { continue };
            if stored.delivery.purpose != Purpose::Notice {
                continue;
            }
            let carrier = stored.carrier.as_ref().unwrap_or(&stored.delivery.channel);
            all.push(Sent {
                id: id.clone(),
                class: stored.provider,
                channel: catalog.channel(carrier).map_or_else(|| carrier.0.clone(), |channel| channel.name.clone()),
                address: mask_address(&stored.delivery.address),
                status: stored.status,
                why: stored.why,
                attempts: stored.delivery.attempts,
            });
        }
        Ok::<_, OpsError>(all)
    };
    store.read("messages sent", work).await
}

/// Tells whoever pressed a button what came of it, or why nothing did, where only they see it.
///
/// # Errors
/// The database cannot be written.
pub async fn answer_press(
    store: &Store,
    rng: &dyn Rng,
    channel: &ChannelId,
    (incident, user): (&IncidentId, &str),
    response_url: &str,
    words: &str,
) -> Result<(), OpsError> {
    const MINUTE_US: i64 = 60_000_000;
    let (draw, channel, incident) = (Draw::new(rng), channel.clone(), incident.clone());
    let (user, response_url, words) = (user.to_owned(), response_url.to_owned(), words.to_owned());
    let write = Write::new("answer a button", Lane::Act).lock(Lock::Incident(incident.clone()));
    let work = move |tx: &mut Tx<'_>| {
        let catalog = tx.catalog();
        let Some(found) = catalog.channel(&channel) else { return Ok(()) };
        // Once for the same press, and for who keeps pressing once a minute with the same words.
        let said: String = words.chars().take(60).collect();
        let key = format!("{channel}:answered:{user}:{incident}:{said}:{}", tx.now().0 / MINUTE_US);
        if incidents::find_incident(tx, &incident)?.is_none() || !callback::first_time(tx, &key)? {
            return Ok(());
        }
        let to = (About::Incident(incident.clone()), Recipient::Presser { user: user.clone() });
        let reply = message(&draw.ids(), tx.now(), to, (&channel, &response_url), Purpose::Reply, &words);
        Ok::<_, OpsError>(outbox::insert_delivery(tx, &reply, found.account.class(Means::Text))?)
    };
    store.write(write, work).await
}

/// A number asked its carrier for silence: that is recorded, and whoever it belongs to is told by their
/// other methods. Repeating it changes nothing.
///
/// # Errors
/// The database cannot be written.
pub async fn opted_out(store: &Store, rng: &dyn Rng, channel: &ChannelId, address: &str) -> Result<(), OpsError> {
    let (draw, channel, address) = (Draw::new(rng), channel.clone(), address.to_owned());
    let work = move |tx: &mut Tx<'_>| {
        let catalog = tx.catalog();
        let people = people_at(&catalog, &channel, &address);
        tx.lock(people.iter().cloned().map(Lock::Person))?;
        // Of a number that is nobody's there is nothing to know.
        if people.is_empty() || finding::is_known(tx, &channel, &address)? {
            return Ok(());
        }
        let why = "somebody answered STOP from this number";
        finding::put_finding(tx, &channel, Some(&address), ChannelFinding::OptedOut, why)?;
        let shown = mask_address(&address);
        let words = format!(
            "Your number {shown} answered STOP: no text from AllClear reaches it any more. \
             Send START from it to be paged by text again."
        );
        let ids = draw.ids();
        for person in people {
            let Some(found) = catalog.person(&person) else { continue };
            let is_other = |method: &&ContactMethod| {
                (&method.channel, method.address.as_str(), method.by) != (&channel, address.as_str(), Means::Text)
            };
            // A telephone rings for it only where there is no quieter way.
            let (quiet, calls): (Vec<_>, Vec<_>) =
                found.contact_methods.iter().filter(is_other).partition(|method| method.by == Means::Text);
            notify(tx, &ids, &person, if quiet.is_empty() { &calls } else { &quiet }, &words)?;
        }
        Ok::<_, OpsError>(())
    };
    store.write(Write::new("take opt-out", Lane::Act), work).await
}

/// Whether a text that nobody understands may be answered: a long one once an hour and number, because a
/// telephone that answers every text by itself would go on for ever, and a short one five times.
///
/// # Errors
/// The database cannot be written.
pub async fn may_explain(store: &Store, channel: &ChannelId, address: &str, text: &str) -> Result<bool, OpsError> {
    const HOUR_US: i64 = 3_600_000_000;
    const LONGEST_TYPED: usize = 20;
    let most = if text.trim().chars().count() <= LONGEST_TYPED { 5 } else { 1 };
    let (channel, address) = (channel.clone(), address.to_owned());
    let work = move |tx: &mut Tx<'_>| {
        let hour = tx.now().0 / HOUR_US;
        for time in 0..most {
            if callback::first_time(tx, &format!("{channel}:explained:{address}:{hour}:{time}"))? {
                return Ok(true);
            }
        }
        Ok::<_, OpsError>(false)
    };
    store.write(Write::new("explain how to answer", Lane::Act), work).await
}

/// A number takes messages again.
///
/// # Errors
/// The database cannot be written.
pub async fn opted_in(store: &Store, channel: &ChannelId, address: &str) -> Result<(), OpsError> {
    let (channel, address) = (channel.clone(), address.to_owned());
    let work = move |tx: &mut Tx<'_>| Ok::<_, OpsError>(finding::clear_finding(tx, &channel, Some(&address)).map(|_| ())?);
    store.write(Write::new("take opt-in", Lane::Act), work).await
}

/// What is wrong with the channels, a sentence each, for operators.
///
/// # Errors
/// The database cannot be read.
pub async fn findings(store: &Store) -> Result<Vec<String>, OpsError> {
    const MOST_SHOWN: u32 = 50;
    let work = |tx: &mut Tx<'_>| {
        let catalog = tx.catalog();
        let found = finding::list_findings(tx, MOST_SHOWN)?;
        Ok::<_, StoreError>(found.iter().map(|found| sentence(&catalog, found)).collect())
    };
    Ok(store.read("channel findings", work).await?)
}

fn sentence(catalog: &Catalog, found: &finding::Found) -> String {
    let channel = catalog.channel(&found.channel).map_or(found.channel.as_str(), |channel| channel.name.as_str());
    let (since, why) = (found.since, &found.why);
    match found.finding {
        ChannelFinding::Gone => format!(
            "the endpoint of {channel} said that it is gone ({why}): nothing has been sent to it since {since}, \
             until the channel is changed, a test message is taken, or a day has passed"
        ),
        ChannelFinding::Broken => format!("{channel} has taken no messages since {since}: {why}"),
        ChannelFinding::Refusing => format!("{channel} has not taken what it was sent since {since}: {why}"),
        ChannelFinding::OptedOut => {
            let address = found.address.as_deref().map_or_else(String::new, mask_address);
            format!("{address} has taken no texts of {channel} since {since}: {why}")
        }
    }
}

/// The people whose contact method on a channel has this address.
fn people_at(catalog: &Catalog, channel: &ChannelId, address: &str) -> Vec<PersonId> {
    let has = |person: &Person| person.contact_methods.iter().any(|m| m.channel == *channel && m.address == address);
    let found = catalog.of_kind(Kind::Person).filter(|one| one.document.as_person().is_some_and(has));
    found.map(|one| PersonId(one.id.clone())).collect()
}
