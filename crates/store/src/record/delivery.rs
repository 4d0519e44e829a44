//! The outbox. A delivery is written in the commit of what it tells of, and sent later by whoever claims it.
//!
//! A claim, the look at the incident and the attempt's intent are one commit. A claim has a lease and a fencing
//! number: whoever finishes it must still hold that number.

use std::collections::BTreeSet;

use allclear_domain::delivery::{About, Delivery, Status};
use allclear_domain::{ChannelId, DeliveryId, IncidentId, PersonId, Span, Timestamp};
use serde::{Deserialize, Serialize};

use crate::value::{Row, params, to_json};
use crate::{Lock, Signal, StoreError, Tx};

/// A delivery with how it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stored {
    /// The message's address and purpose.
    pub delivery: Delivery,
    /// The order in which deliveries were written.
    pub seq: i64,
    /// The class of what carries it: `sms`.
    pub provider: String,
    /// The channel that carried the last attempt; nothing before the first.
    pub carrier: Option<ChannelId>,
    /// How it stands.
    pub status: Status,
    /// Why it ended as it did, or is tried again.
    pub why: Option<String>,
    /// Raised by every claim.
    pub fence: i64,
    /// Until when the claim holds.
    pub lease_until: Option<Timestamp>,
    /// Whether an earlier attempt may have arrived.
    pub possible_repeat: bool,
    /// The attempt that carries it, alone or with others.
    pub bundle: Option<String>,
    /// The provider's reference.
    pub provider_id: Option<String>,
    /// When it was written.
    pub created_at: Timestamp,
    /// When it ended.
    pub finished_at: Option<Timestamp>,
}

/// The statement that finds whole deliveries, as [`from_row`] reads them.
macro_rules! deliveries {
    ($which:literal) => {
        concat!(
            "SELECT body, seq, provider, status, why, due_at, attempts, fence, lease_until, possible_repeat, bundle_id, provider_id, \
             created_at, finished_at, carrier_id FROM delivery ",
            $which
        )
    };
}

fn from_row(row: &Row) -> Result<Stored, StoreError> {
    let mut delivery: Delivery = row.json(0)?;
    delivery.due_at = row.time(5)?;
    delivery.attempts = u32::try_from(row.int(6)?).unwrap_or(u32::MAX);
    let word = row.text(3)?;
    let status = Status::from_word(word).ok_or_else(|| StoreError::Fault { context: format!("unknown status {word:?}"), source: None })?;
    Ok(Stored {
        delivery,
        seq: row.int(1)?,
        provider: row.text(2)?.to_owned(),
        status,
        why: row.text_or_null(4)?.map(str::to_owned),
        fence: row.int(7)?,
        lease_until: row.int_or_null(8)?.map(Timestamp),
        possible_repeat: row.int(9)? != 0,
        bundle: row.text_or_null(10)?.map(str::to_owned),
        provider_id: row.text_or_null(11)?.map(str::to_owned),
        created_at: row.time(12)?,
        finished_at: row.int_or_null(13)?.map(Timestamp),
        carrier: row.text_or_null(14)?.map(ChannelId::from),
    })
}

/// The lock under which a message about something is written and changed.
#[must_use]
pub fn lock_of(about: &About) -> Lock {
    match about {
        About::Incident(id) => Lock::Incident(id.clone()),
        About::Component(id) => Lock::Component(id.clone()),
        About::Person(id) => Lock::Person(id.clone()),
    }
}

/// Writes a delivery. Needs the lock of what it is about.
///
/// # Errors
/// Errors of the store.
pub fn insert_delivery(tx: &mut Tx<'_>, delivery: &Delivery, provider: &str) -> Result<(), StoreError> {
    tx.require(&lock_of(&delivery.about))?;
    let now = tx.now();
    tx.execute(
        "INSERT INTO delivery (id, seq, lane, incident_id, recipient, channel_id, provider, address, purpose, body, status, due_at, \
         attempts, fence, possible_repeat, created_at, target) \
         VALUES ($1, (SELECT COALESCE(max(seq), 0) + 1 FROM delivery WHERE incident_id = $3), $2, $3, $4, $5, $6, $7, $8, $9, 'pending', \
         $10, 0, 0, 0, $11, $12)",
        params![
            delivery.id.as_str(),
            delivery.lane(),
            delivery.about.key(),
            delivery.recipient.key(),
            delivery.channel.as_str(),
            provider,
            &delivery.address,
            delivery.purpose.word(),
            to_json(delivery)?,
            delivery.due_at,
            now,
            target(&delivery.channel, provider, &delivery.address),
        ],
    )?;
    tx.after_commit(Signal::Outbox);
    Ok(())
}

fn target(channel: &ChannelId, class: &str, address: &str) -> String {
    format!("{channel}|{class}|{address}")
}

/// Where messages wait to go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Destination {
    /// The channel.
    pub channel: ChannelId,
    /// The class of what carries it: `sms`.
    pub class: String,
    /// The address.
    pub address: String,
    /// When its first message is due; one that waits behind another in its lane counts as well.
    pub due_at: Timestamp,
    /// When its first message is due that is not due yet.
    pub next_due_at: Option<Timestamp>,
}

/// Where messages wait to go, those that are due first at the front, but for those of the channels and classes in `passed_over`.
/// However many wait for one destination, it is one step; what is passed over is none.
///
/// # Errors
/// Errors of the store.
pub fn destinations(
    tx: &mut Tx<'_>,
    after: Timestamp,
    passed_over: &BTreeSet<(ChannelId, String)>,
) -> Result<Vec<Destination>, StoreError> {
    /// What comes right behind '|'.
    const BEHIND: char = '}';
    /// Behind every channel's id.
    const END: &str = "~";
    let mut found = Vec::new();
    let mut from = String::new();
    let mut gaps: Vec<_> =
        passed_over.iter().map(|(channel, class)| (target(channel, class, ""), format!("{channel}|{class}{BEHIND}"))).collect();
    gaps.sort_unstable();
    gaps.push((END.to_owned(), String::new()));
    for (to, next) in gaps {
        found.append(&mut destinations_between(tx, after, (&from, &to))?);
        from = next;
    }
    found.sort_by_key(|destination| destination.due_at);
    Ok(found)
}

fn destinations_between(tx: &mut Tx<'_>, after: Timestamp, (from, to): (&str, &str)) -> Result<Vec<Destination>, StoreError> {
    let rows = tx.query(
        "WITH RECURSIVE d(target) AS ( \
           SELECT (SELECT min(target) FROM delivery WHERE status = 'pending' AND target > $2 AND target < $3) \
           UNION ALL \
           SELECT (SELECT min(e.target) FROM delivery e WHERE e.status = 'pending' AND e.target > d.target AND e.target < $3) \
           FROM d WHERE d.target IS NOT NULL) \
         SELECT d.target, \
           (SELECT min(e.due_at) FROM delivery e WHERE e.status = 'pending' AND e.target = d.target), \
           (SELECT min(e.due_at) FROM delivery e WHERE e.status = 'pending' AND e.target = d.target \
             AND e.due_at > $1) \
         FROM d WHERE d.target IS NOT NULL LIMIT 100000",
        params![after, from, to],
    )?;
    let mut found = Vec::with_capacity(rows.len());
    for row in &rows {
        let mut parts = row.text(0)?.splitn(3, '|');
        let (Some(channel), Some(class), Some(address)) = (parts.next(), parts.next(), parts.next()) else {
            return Err(StoreError::Fault { context: "a message without a destination".into(), source: None });
        };
        found.push(Destination {
            channel: channel.into(),
            class: class.to_owned(),
            address: address.to_owned(),
            due_at: row.time(1)?,
            next_due_at: row.int_or_null(2)?.map(Timestamp),
        });
    }
    Ok(found)
}

/// The due messages for a destination that are first in their lanes, oldest first.
///
/// # Errors
/// Errors of the store.
pub fn claimable(tx: &mut Tx<'_>, to: &Destination, most: u32) -> Result<Vec<Stored>, StoreError> {
    let now = tx.now();
    let rows = tx.query(
        "SELECT d.body, d.seq, d.provider, d.status, d.why, d.due_at, d.attempts, d.fence, d.lease_until, d.possible_repeat, d.bundle_id, \
         d.provider_id, d.created_at, d.finished_at, d.carrier_id FROM delivery d \
         WHERE d.target = $1 AND d.status = 'pending' AND d.due_at <= $2 AND NOT EXISTS ( \
           SELECT 1 FROM delivery e WHERE e.lane = d.lane AND e.status IN ('pending', 'claimed') \
             AND (e.status = 'claimed' OR e.created_at < d.created_at OR (e.created_at = d.created_at AND e.seq < d.seq))) \
         ORDER BY d.due_at, d.seq LIMIT $3",
        params![target(&to.channel, &to.class, &to.address), now, most],
    )?;
    rows.iter().map(from_row).collect()
}

/// How the last messages stand that a carrier's provider accepted between two instants, newest first.
///
/// # Errors
/// Errors of the store.
pub fn accepted_between(
    tx: &mut Tx<'_>,
    carrier: &ChannelId,
    class: &str,
    (from, to): (Timestamp, Timestamp),
    most: u32,
) -> Result<Vec<Status>, StoreError> {
    let rows = tx.query(
        "SELECT status FROM delivery WHERE carrier_id = $1 AND provider = $2 AND finished_at >= $3 AND finished_at <= $4 \
         AND status IN ('accepted', 'delivered', 'undelivered') ORDER BY finished_at DESC LIMIT $5",
        params![carrier.as_str(), class, from, to, most],
    )?;
    Ok(rows.iter().filter_map(|row| row.text(0).ok().and_then(Status::from_word)).collect())
}

/// Claims a delivery for an attempt, if it is still as it was read. Needs the lock of what it is about.
///
/// # Errors
/// Errors of the store.
pub fn claim(tx: &mut Tx<'_>, stored: &Stored, carrier: &ChannelId, bundle: &str, lease_until: Timestamp) -> Result<bool, StoreError> {
    tx.require(&lock_of(&stored.delivery.about))?;
    let claimed = tx.execute(
        "UPDATE delivery SET status = 'claimed', fence = fence + 1, attempts = attempts + 1, lease_until = $3, bundle_id = $4, \
         carrier_id = $5 WHERE id = $1 AND fence = $2 AND status = 'pending'",
        params![stored.delivery.id.as_str(), stored.fence, lease_until, bundle, carrier.as_str()],
    )?;
    Ok(claimed == 1)
}

/// A link in a message: whose it is, and what it answers. It stays good when the message is sent again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Linked {
    /// The hash of its credential.
    pub hash: String,
    /// Whose it is.
    pub person: PersonId,
    /// What it answers.
    pub incidents: Vec<IncidentId>,
}

/// Records that an attempt begins. In the same commit as its claims. `link` is what its message carries, if it carries one.
///
/// # Errors
/// Errors of the store.
pub fn insert_attempt(tx: &mut Tx<'_>, bundle: &str, link: Option<&Linked>) -> Result<(), StoreError> {
    let now = tx.now();
    let (hash, about) = (link.map(|link| link.hash.as_str()), link.map(to_json).transpose()?);
    let insert = "INSERT INTO attempt (bundle_id, intent_at, link_hash, link) VALUES ($1, $2, $3, $4)";
    tx.execute(insert, params![bundle, now, hash, about])?;
    Ok(())
}

/// The link with this hash.
///
/// # Errors
/// Errors of the store.
pub fn find_link(tx: &mut Tx<'_>, hash: &str) -> Result<Option<Linked>, StoreError> {
    let row = tx.query_opt("SELECT link FROM attempt WHERE link_hash = $1", params![hash])?;
    row.map(|row| row.json(0)).transpose()
}

/// Records how an attempt ended.
///
/// # Errors
/// Errors of the store.
pub fn settle_attempt(tx: &mut Tx<'_>, bundle: &str, outcome: &str) -> Result<(), StoreError> {
    let now = tx.now();
    tx.execute(
        "UPDATE attempt SET settled_at = $2, outcome = $3 WHERE bundle_id = $1 AND settled_at IS NULL",
        params![bundle, now, outcome],
    )?;
    Ok(())
}

/// Ends a claimed delivery, if the claim is still ours. Needs the incident's lock.
///
/// # Errors
/// Errors of the store.
pub fn finish(
    tx: &mut Tx<'_>,
    id: &DeliveryId,
    fence: i64,
    status: Status,
    why: Option<&str>,
    provider_id: Option<&str>,
) -> Result<bool, StoreError> {
    let now = tx.now();
    let done = tx.execute(
        "UPDATE delivery SET status = $3, why = $4, provider_id = COALESCE($5, provider_id), lease_until = NULL, finished_at = $6 \
         WHERE id = $1 AND fence = $2 AND status = 'claimed'",
        params![id.as_str(), fence, status.word(), why, provider_id, now],
    )?;
    Ok(done == 1)
}

/// When and how a message is tried again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TryAgain<'a> {
    /// When.
    pub at: Timestamp,
    /// Why.
    pub why: &'a str,
    /// Whether the attempt that ended may have arrived.
    pub possible_repeat: bool,
    /// Whether that attempt counts against the bound.
    pub costs_a_try: bool,
    /// Whether it is overdue meanwhile. What is tried over days is not: it waits as it should.
    pub is_overdue_meanwhile: bool,
}

/// Puts a claimed delivery back for another attempt, if the claim is still ours.
///
/// # Errors
/// The database cannot be written.
pub fn put_back(tx: &mut Tx<'_>, id: &DeliveryId, fence: i64, again: &TryAgain<'_>) -> Result<bool, StoreError> {
    let done = tx.execute(
        "UPDATE delivery SET status = 'pending', \
         first_due_at = CASE WHEN $7 = 1 THEN COALESCE(first_due_at, due_at) ELSE NULL END, \
         due_at = $3, why = $4, lease_until = NULL, attempts = attempts - CASE WHEN $6 = 1 THEN 0 ELSE 1 END, \
         possible_repeat = CASE WHEN $5 = 1 THEN 1 ELSE possible_repeat END WHERE id = $1 AND fence = $2 AND status = 'claimed'",
        params![id.as_str(), fence, again.at, again.why, again.possible_repeat, again.costs_a_try, again.is_overdue_meanwhile],
    )?;
    tx.after_commit(Signal::Outbox);
    Ok(done == 1)
}

/// Makes a person's other messages for an incident due at once: the one before did not arrive.
///
/// # Errors
/// Errors of the store.
pub fn hurry(tx: &mut Tx<'_>, incident: &IncidentId, recipient: &str) -> Result<u64, StoreError> {
    tx.require(&Lock::Incident(incident.clone()))?;
    let now = tx.now();
    tx.after_commit(Signal::Outbox);
    tx.execute(
        "UPDATE delivery SET due_at = $3 WHERE incident_id = $1 AND recipient = $2 AND purpose = 'page' AND status = 'pending' \
         AND due_at > $3 AND attempts = 0",
        params![incident.as_str(), recipient, now],
    )
}

/// Moves the messages that are due later, and the leases of those under way.
///
/// # Errors
/// Errors of the store.
pub fn shift_deliveries(tx: &mut Tx<'_>, by: Span) -> Result<u64, StoreError> {
    let now = tx.now();
    tx.after_commit(Signal::Outbox);
    let leases = tx.execute("UPDATE delivery SET lease_until = lease_until + $1 WHERE status = 'claimed'", params![by.as_micros()])?;
    let waiting =
        tx.execute("UPDATE delivery SET due_at = due_at + $1 WHERE status = 'pending' AND due_at > $2", params![by.as_micros(), now])?;
    Ok(leases + waiting)
}

/// Cancels a delivery that was not begun.
///
/// # Errors
/// Errors of the store.
pub fn cancel(tx: &mut Tx<'_>, id: &DeliveryId, why: &str) -> Result<bool, StoreError> {
    let now = tx.now();
    let done = tx.execute(
        "UPDATE delivery SET status = 'cancelled', why = $2, finished_at = $3 WHERE id = $1 AND status = 'pending'",
        params![id.as_str(), why, now],
    )?;
    Ok(done == 1)
}

/// Cancels every message of one purpose for an incident that was not begun. Needs the incident's lock.
///
/// # Errors
/// Errors of the store.
pub fn cancel_pending(tx: &mut Tx<'_>, incident: &IncidentId, purpose: &str, why: &str) -> Result<u64, StoreError> {
    tx.require(&Lock::Incident(incident.clone()))?;
    let now = tx.now();
    tx.execute(
        "UPDATE delivery SET status = 'cancelled', why = $3, finished_at = $4 WHERE incident_id = $1 AND purpose = $2 AND status = 'pending'",
        params![incident.as_str(), purpose, why, now],
    )
}

/// Cancels what waits of one purpose for an incident at one destination. Needs the incident's lock.
///
/// # Errors
/// Errors of the store.
pub fn cancel_waiting(
    tx: &mut Tx<'_>,
    incident: &IncidentId,
    (channel, address): (&ChannelId, &str),
    purpose: &str,
    why: &str,
) -> Result<u64, StoreError> {
    tx.require(&Lock::Incident(incident.clone()))?;
    let now = tx.now();
    tx.execute(
        "UPDATE delivery SET status = 'cancelled', why = $5, finished_at = $6 WHERE incident_id = $1 AND channel_id = $2 AND address = $3 \
         AND purpose = $4 AND status = 'pending'",
        params![incident.as_str(), channel.as_str(), address, purpose, why, now],
    )
}

/// Cancels what waits in a lane.
///
/// # Errors
/// Errors of the store.
pub fn cancel_lane(tx: &mut Tx<'_>, lane: &str, why: &str) -> Result<u64, StoreError> {
    let now = tx.now();
    tx.execute(
        "UPDATE delivery SET status = 'cancelled', why = $2, finished_at = $3 WHERE lane = $1 AND status IN ('pending', 'claimed') \
         AND status = 'pending'",
        params![lane, why, now],
    )
}

/// Forgets the messages about something, and their attempts, that ended before an instant. Needs its lock.
///
/// # Errors
/// Errors of the store.
pub fn forget(tx: &mut Tx<'_>, about: &About, before: Timestamp) -> Result<(), StoreError> {
    tx.require(&lock_of(about))?;
    let attempts = "DELETE FROM attempt WHERE bundle_id IN (SELECT bundle_id FROM delivery WHERE incident_id = $1 AND finished_at < $2)";
    tx.execute(attempts, params![about.key(), before])?;
    tx.execute("DELETE FROM delivery WHERE incident_id = $1 AND finished_at < $2", params![about.key(), before])?;
    Ok(())
}

/// A delivery by its id.
///
/// # Errors
/// Errors of the store.
pub fn find_delivery(tx: &mut Tx<'_>, id: &DeliveryId) -> Result<Option<Stored>, StoreError> {
    let row = tx.query_opt(deliveries!("WHERE id = $1"), params![id.as_str()])?;
    row.as_ref().map(from_row).transpose()
}

/// The last thousand deliveries of an incident, oldest first.
///
/// # Errors
/// Errors of the store.
pub fn deliveries_of(tx: &mut Tx<'_>, incident: &IncidentId) -> Result<Vec<Stored>, StoreError> {
    let rows = tx.query(deliveries!("WHERE incident_id = $1 ORDER BY seq DESC LIMIT 1000"), params![incident.as_str()])?;
    rows.iter().rev().map(from_row).collect()
}

/// The last thousand pages about an incident, oldest first.
///
/// # Errors
/// Errors of the store.
pub fn pages_of(tx: &mut Tx<'_>, incident: &IncidentId) -> Result<Vec<Stored>, StoreError> {
    let last = deliveries!("WHERE incident_id = $1 AND purpose = 'page' ORDER BY seq DESC LIMIT 1000");
    tx.query(last, params![incident.as_str()])?.iter().rev().map(from_row).collect()
}

/// The last twenty pages about an incident that providers of a class took, oldest first: whoever was paged lately. Whoever presses a button
/// of one before them is told that it changes nothing.
///
/// # Errors
/// Errors of the store.
pub fn last_pages_by(tx: &mut Tx<'_>, incident: &IncidentId, class: &str) -> Result<Vec<Stored>, StoreError> {
    let last =
        deliveries!("WHERE incident_id = $1 AND provider = $2 AND purpose = 'page' AND provider_id IS NOT NULL ORDER BY seq DESC LIMIT 20");
    tx.query(last, params![incident.as_str(), class])?.iter().rev().map(from_row).collect()
}

/// The attempt that a provider's reference stands for, among those about an incident.
///
/// # Errors
/// Errors of the store.
pub fn bundle_of(tx: &mut Tx<'_>, about: &About, reference: &str) -> Result<Option<String>, StoreError> {
    let row = tx.query_opt(
        "SELECT bundle_id FROM delivery WHERE incident_id = $1 AND provider_id = $2 AND bundle_id IS NOT NULL ORDER BY seq LIMIT 1",
        params![about.key(), reference],
    )?;
    row.map(|row| Ok(row.text(0)?.to_owned())).transpose()
}

/// The first page about an incident at each place where one may have been seen, oldest first. Bounded by whom a catalog can
/// name, not by how often they were told.
///
/// # Errors
/// Errors of the store.
pub fn seen_pages_of(tx: &mut Tx<'_>, incident: &IncidentId) -> Result<Vec<Stored>, StoreError> {
    let first = deliveries!(
        "WHERE incident_id = $1 AND seq IN ( \
           SELECT min(seq) FROM delivery WHERE incident_id = $1 AND purpose = 'page' \
             AND status IN ('claimed', 'accepted', 'delivered', 'unknown') GROUP BY recipient, channel_id, address) \
         ORDER BY seq LIMIT 100000"
    );
    tx.query(first, params![incident.as_str()])?.iter().map(from_row).collect()
}

/// Whether a page about the same may have been seen where this delivery goes.
///
/// # Errors
/// Errors of the store.
pub fn page_was_seen(tx: &mut Tx<'_>, delivery: &Delivery) -> Result<bool, StoreError> {
    let row = tx.query_opt(
        "SELECT 1 FROM delivery WHERE incident_id = $1 AND purpose = 'page' AND recipient = $2 AND channel_id = $3 AND address = $4 \
         AND status IN ('claimed', 'accepted', 'delivered', 'unknown') LIMIT 1",
        params![delivery.about.key(), delivery.recipient.key(), delivery.channel.as_str(), &delivery.address],
    )?;
    Ok(row.is_some())
}

/// The calls about an incident that were taken on since an instant, oldest first.
///
/// # Errors
/// Errors of the store.
pub fn calls_since(tx: &mut Tx<'_>, incident: &IncidentId, since: Timestamp) -> Result<Vec<Stored>, StoreError> {
    let calls = deliveries!(
        "WHERE incident_id = $1 AND provider = 'voice' AND purpose = 'page' AND status = 'accepted' AND finished_at >= $2 \
         ORDER BY seq LIMIT 1000"
    );
    tx.query(calls, params![incident.as_str(), since])?.iter().map(from_row).collect()
}

/// The provider's reference of the first message that a carrier took to a delivery's lane; nothing where there is none.
///
/// # Errors
/// Errors of the store.
pub fn first_reference(tx: &mut Tx<'_>, delivery: &Delivery, carrier: &ChannelId) -> Result<Option<String>, StoreError> {
    let row = tx.query_opt(
        "SELECT provider_id FROM delivery WHERE incident_id = $1 AND lane = $2 AND carrier_id = $3 AND provider_id IS NOT NULL \
         ORDER BY seq LIMIT 1",
        params![delivery.about.key(), delivery.lane(), carrier.as_str()],
    )?;
    row.map(|row| Ok(row.text(0)?.to_owned())).transpose()
}

/// The deliveries that one attempt carries.
///
/// # Errors
/// Errors of the store.
pub fn deliveries_of_bundle(tx: &mut Tx<'_>, bundle: &str) -> Result<Vec<Stored>, StoreError> {
    let rows = tx.query(deliveries!("WHERE bundle_id = $1 ORDER BY seq LIMIT 1000"), params![bundle])?;
    rows.iter().map(from_row).collect()
}

/// Claims whose lease is over: their process stopped during the attempt.
///
/// # Errors
/// Errors of the store.
pub fn expired(tx: &mut Tx<'_>, most: u32) -> Result<Vec<Stored>, StoreError> {
    let now = tx.now();
    let rows = tx.query(deliveries!("WHERE status = 'claimed' AND lease_until <= $1 ORDER BY seq LIMIT $2"), params![now, most])?;
    rows.iter().map(from_row).collect()
}

/// Messages that wait and were due before `before`, oldest first.
///
/// # Errors
/// Errors of the store.
pub fn waiting_since(tx: &mut Tx<'_>, before: Timestamp, most: u32) -> Result<Vec<Stored>, StoreError> {
    let rows = tx.query(
        deliveries!(
            "WHERE status = 'pending' AND due_at < $1 \
         ORDER BY due_at, id LIMIT $2"
        ),
        params![before, most],
    )?;
    rows.iter().map(from_row).collect()
}

/// Ends every lease now: at start no claim can have an owner, because a database has one process.
///
/// # Errors
/// Errors of the store.
pub fn end_leases(tx: &mut Tx<'_>) -> Result<u64, StoreError> {
    let now = tx.now();
    tx.execute("UPDATE delivery SET lease_until = $1 WHERE status = 'claimed'", params![now])
}

/// The last attempt that reached an address, for a reply that names no message; nobody replies to a call by text.
///
/// # Errors
/// Errors of the store.
pub fn last_bundle_to(tx: &mut Tx<'_>, channel: &ChannelId, address: &str) -> Result<Option<String>, StoreError> {
    let row = tx.query_opt(
        "SELECT bundle_id FROM delivery WHERE carrier_id = $1 AND address = $2 AND bundle_id IS NOT NULL AND purpose = 'page' \
         AND provider <> 'voice' AND status IN ('claimed', 'accepted', 'delivered', 'unknown') ORDER BY finished_at DESC NULLS FIRST, seq DESC LIMIT 1",
        params![channel.as_str(), address],
    )?;
    row.map(|row| Ok(row.text(0)?.to_owned())).transpose()
}

/// Records a status callback: a message arrived or did not. It may come before the outcome of its attempt is written down,
/// which it then is; and what arrived need not go again. Whether it changed anything.
///
/// # Errors
/// Errors of the store.
pub fn receipt(tx: &mut Tx<'_>, id: &DeliveryId, status: Status, why: Option<&str>) -> Result<bool, StoreError> {
    let (now, arrived) = (tx.now(), status == Status::Delivered);
    let done = tx.execute(
        "UPDATE delivery SET status = $2, why = COALESCE($3, why), lease_until = NULL, finished_at = COALESCE(finished_at, $4) \
         WHERE id = $1 AND (status IN ('accepted', 'unknown', 'claimed') OR (status = 'pending' AND $5 = 1))",
        params![id.as_str(), status.word(), why, now, arrived],
    )?;
    Ok(done == 1)
}

/// How many deliveries wait, and since when the oldest has been due; a further attempt does not make one younger. What waits for
/// a program behind an earlier message of its lane is not due: that one may be tried over days, and the order is kept.
///
/// # Errors
/// The database cannot be read.
pub fn backlog(tx: &mut Tx<'_>) -> Result<(i64, Option<Timestamp>), StoreError> {
    let row = tx.query_opt(
        "SELECT count(*), min(CASE WHEN d.provider = 'webhook' AND EXISTS ( \
           SELECT 1 FROM delivery e WHERE e.lane = d.lane AND e.status IN ('pending', 'claimed') AND e.seq < d.seq) \
         THEN NULL ELSE d.due_at END) FROM delivery d WHERE d.status IN ('pending', 'claimed')",
        params![],
    )?;
    let (waiting, due) = row.map_or(Ok((0, None)), |row| Ok::<_, StoreError>((row.int(0)?, row.int_or_null(1)?)))?;
    let tried_again = "SELECT first_due_at FROM delivery WHERE first_due_at IS NOT NULL AND status IN ('pending', 'claimed') ORDER BY first_due_at LIMIT 1";
    let first = tx.query_opt(tried_again, params![])?.map(|row| row.int(0)).transpose()?;
    Ok((waiting, due.into_iter().chain(first).min().map(Timestamp)))
}

/// Makes everything due that waits to be tried again at a destination: something was taken there.
///
/// # Errors
/// The database cannot be written.
pub fn hurry_destination(tx: &mut Tx<'_>, channel: &ChannelId, class: &str, address: &str) -> Result<u64, StoreError> {
    let now = tx.now();
    tx.after_commit(Signal::Outbox);
    tx.execute(
        "UPDATE delivery SET due_at = $2 WHERE target = $1 AND status = 'pending' AND due_at > $2 AND attempts > 0",
        params![target(channel, class, address), now],
    )
}

/// How many deliveries were given up since an instant.
///
/// # Errors
/// Errors of the store.
pub fn parked_since(tx: &mut Tx<'_>, since: Timestamp) -> Result<i64, StoreError> {
    let row = tx.query_opt("SELECT count(*) FROM delivery WHERE status = 'parked' AND finished_at >= $1", params![since])?;
    row.map_or(Ok(0), |row| row.int(0))
}

/// An attempt with what it carried.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attempted {
    /// The attempt.
    pub bundle: String,
    /// When its intent was committed.
    pub intent_at: Timestamp,
    /// How it ended; nothing while it is under way.
    pub outcome: Option<String>,
}

/// An attempt by its id.
///
/// # Errors
/// Errors of the store.
pub fn find_attempt(tx: &mut Tx<'_>, bundle: &str) -> Result<Option<Attempted>, StoreError> {
    let row = tx.query_opt("SELECT bundle_id, intent_at, outcome FROM attempt WHERE bundle_id = $1", params![bundle])?;
    let read = |row: Row| {
        Ok(Attempted { bundle: row.text(0)?.to_owned(), intent_at: row.time(1)?, outcome: row.text_or_null(2)?.map(str::to_owned) })
    };
    row.map(read).transpose()
}
