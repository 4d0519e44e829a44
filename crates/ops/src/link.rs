//! What people do in a service that this one is linked with.

use allclear_base::{Rng, crash};
use allclear_domain::incident::{self, Agent, Incident};
use allclear_domain::{ChannelId, IncidentId, Span, Timestamp};
use allclear_store::record::incident as incidents;
use allclear_store::record::{alert, callback};
use allclear_store::{Lane, Lock, Store, StoreError, Tx, Write};

use crate::apply::{Pending, apply};
use crate::incident::{Act, decide};
use crate::{Draw, OpsError};

/// Something that was done there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Done {
    /// The channel that leads there.
    pub channel: ChannelId,
    /// What was done.
    pub act: Act,
    /// The key by which both sides know the incident.
    pub key: String,
    /// The incident, where the key names it.
    pub incident: Option<IncidentId>,
    /// Who did it, as they are called there.
    pub by: String,
    /// Whether that was a person.
    pub by_person: bool,
    /// When.
    pub at: Timestamp,
    /// What names the message that told us: one that comes again changes nothing.
    pub message: String,
}

/// How far the clocks of the two services may be apart, for what a person did there. What no person did may be the echo of an
/// end that we told of just before the next incident opened: it gets no grace.
const SKEW: Span = Span::from_mins(1);

/// How long before an incident opened something may have been done that still concerns it. None where an
/// earlier incident under the same key was open until then: that one was meant.
fn grace(tx: &mut Tx<'_>, done: &Done) -> Result<Span, StoreError> {
    let was_another = alert::ended_since(tx, &done.key, done.at.minus(SKEW))?;
    Ok(if done.by_person && !was_another { SKEW } else { Span::ZERO })
}

/// Does the same here; the incident if that changed it. What was done before the incident opened concerns an earlier one
/// under the same key: a webhook that comes again, or late, ends nothing new.
///
/// # Errors
/// Errors of the store, when nothing was changed.
pub async fn follow(store: &Store, rng: &dyn Rng, done: Done) -> Result<Option<Incident>, OpsError> {
    let draw = Draw::new(rng);
    let work = move |tx: &mut Tx<'_>| {
        if !callback::first_time(tx, &done.message)? {
            return Ok(None);
        }
        let id = match &done.incident {
            Some(id) => id.clone(),
            None => match alert::open_alert(tx, &done.key)? {
                Some(open) => open.incident,
                None => return Ok(None),
            },
        };
        tx.lock([Lock::Incident(id.clone())])?;
        // Meanwhile it may have been merged: whoever told us tells us again.
        if done.incident.is_none() && alert::open_alert(tx, &done.key)?.is_some_and(|open| open.incident != id) {
            return Err(StoreError::Busy { retry_after_s: 1 }.into());
        }
        let Some(found) = incidents::find_incident(tx, &id)? else { return Ok(None) };
        let catalog = tx.catalog();
        let linked = catalog.service(&found.service).is_some_and(|service| service.rooms.iter().any(|room| room.channel == done.channel));
        if !linked || done.at.plus(grace(tx, &done)?) < found.opened_at {
            return Ok(None);
        }
        // An acknowledgement that was taken back before the present one was made is an old one.
        if done.act == Act::Unacknowledge && incident::acknowledge_by(&found).is_some_and(|last| done.at < last.at) {
            return Ok(None);
        }
        let agent = Agent::Linked { channel: done.channel.clone(), name: done.by.clone() };
        match decide(tx, &agent, &id, &done.act) {
            Ok(change) => Ok(apply(tx, &draw.ids(), vec![Pending::changed(change)])?.into_iter().next()),
            Err(OpsError::Refused(_)) => Ok(None),
            Err(other) => Err(other),
        }
    };
    let followed = store.write(Write::new("follow a linked service", Lane::Act), work).await;
    crash::point("hook.after_commit");
    followed
}
