//! Heartbeats of things outside: a backup, a nightly job, another watcher calls an address of ours; where it stops, an
//! incident opens, and where it comes again, the incident ends.
//!
//! What could not be heard is not held against anybody: while AllClear was down, or could not keep a call, a heartbeat may
//! have come in vain, and the wait for the next one begins when AllClear could hear again.

use allclear_base::{Rng, crash};
use allclear_domain::catalog::{Catalog, Kind};
use allclear_domain::incident::{Agent, ResolveReason};
use allclear_domain::{HeartbeatId, ServiceId, Span, Timestamp};
use allclear_store::record::alert::{self, Alert};
use allclear_store::record::heartbeat::{self, Heartbeat};
use allclear_store::record::timer::{self, Timer};
use allclear_store::{Lane, Lock, Store, StoreError, Tx, Write};

use crate::apply::{Pending, apply};
use crate::draw::{Ids, SecretSeed};
use crate::event::locked;
use crate::incident::{Opening, ending, opening};
use crate::{Actor, Draw, OpsError, Permission};

/// The kind of the timer by which a heartbeat is missed.
const MISSED: &str = "missed";

/// How soon to look again while the service rests.
const LOOK_AGAIN: Span = Span::from_mins(1);

/// What a call says, as in Healthchecks' addresses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Said {
    /// It went well.
    Success,
    /// It began: the end must follow within the grace time.
    Start,
    /// It failed.
    Fail,
    /// Something worth a line; nothing follows from it.
    Log,
}

impl Said {
    /// The last part of the address: nothing, `start`, `fail`, `log`, or a program's exit status.
    #[must_use]
    pub fn from_path(part: Option<&str>) -> Option<Self> {
        match part {
            None => Some(Self::Success),
            Some("start") => Some(Self::Start),
            Some("fail") => Some(Self::Fail),
            Some("log") => Some(Self::Log),
            Some(status) => match status.parse::<u8>().ok()? {
                0 => Some(Self::Success),
                _ => Some(Self::Fail),
            },
        }
    }

    const fn word(self) -> &'static str {
        match self {
            Self::Success => "success",
            Self::Start => "start",
            Self::Fail => "fail",
            Self::Log => "log",
        }
    }
}

fn subject(id: &HeartbeatId) -> String {
    format!("heartbeat:{id}")
}

/// What a call may say besides; more is cut.
const LONGEST_WORDS: usize = 1_000;

/// Hears a call. Its key is what permits it; what it says in `body` stands with what it opens.
///
/// # Errors
/// [`OpsError::UnknownKey`]; errors of the store, when nothing was kept.
pub async fn ping(store: &Store, rng: &dyn Rng, key: &str, said: Said, body: &[u8]) -> Result<(), OpsError> {
    let (draw, key) = (Draw::new(rng), key.to_owned());
    let text = String::from_utf8_lossy(&body[..body.len().min(4 * LONGEST_WORDS)]).into_owned();
    let words: String = text.trim().chars().map(|c| if c.is_control() { ' ' } else { c }).take(LONGEST_WORDS).collect();
    let work = move |tx: &mut Tx<'_>| {
        let known = heartbeat::find_by_key(tx, &key)?.ok_or(OpsError::UnknownKey)?;
        Ok::<_, OpsError>(ping_within(tx, &draw.ids(), &known, said, &words)?)
    };
    store.write(Write::new("hear heartbeat", Lane::Events), work).await?;
    crash::point("heartbeat.after_commit");
    Ok(())
}

fn ping_within(tx: &mut Tx<'_>, ids: &Ids, known: &Heartbeat, said: Said, words: &str) -> Result<(), StoreError> {
    let (catalog, now) = (tx.catalog(), tx.now());
    let Some(wanted) = catalog.heartbeat(&known.id) else { return Ok(()) };
    tx.lock([Lock::Service(wanted.service.clone())])?;
    heartbeat::record_ping(tx, &known.id, said.word())?;
    match said {
        Said::Log => Ok(()),
        Said::Start => {
            let due_at = now.plus(wanted.grace);
            let sooner = timer::timers_of(tx, &subject(&known.id))?.into_iter().any(|timer| timer.due_at <= due_at);
            if sooner { Ok(()) } else { wait_until(tx, &known.id, due_at) }
        }
        Said::Success => {
            wait_until(tx, &known.id, wanted.due_after(now))?;
            let Some(open) = locked(tx, &subject(&known.id))? else { return Ok(()) };
            alert::resolve_alert(tx, &open.id)?;
            let by = Agent::Heartbeat { heartbeat: known.id.clone() };
            let ended = ending(tx, &open.incident, by, ResolveReason::HeartbeatBack)?;
            apply(tx, ids, ended.into_iter().collect()).map(|_| ())
        }
        Said::Fail => {
            wait_until(tx, &known.id, wanted.due_after(now))?;
            let why = if words.is_empty() { "it said that it failed".to_owned() } else { format!("it said that it failed: {words}") };
            let pending = trigger(tx, ids, &known.id, "it failed", why)?;
            apply(tx, ids, pending.into_iter().collect()).map(|_| ())
        }
    }
}

fn wait_until(tx: &mut Tx<'_>, id: &HeartbeatId, due_at: Timestamp) -> Result<(), StoreError> {
    timer::set_timer(tx, &Timer { subject: subject(id), kind: MISSED.into(), due_at, body: "null".into() })
}

/// Counts once more on the open alert, or opens an incident. Needs the service's lock.
fn trigger(tx: &mut Tx<'_>, ids: &Ids, id: &HeartbeatId, what: &str, why: String) -> Result<Option<Pending>, StoreError> {
    let catalog = tx.catalog();
    let Some(wanted) = catalog.heartbeat(id) else { return Ok(None) };
    if let Some(open) = locked(tx, &subject(id))? {
        alert::trigger_again(tx, &open.id, None)?;
        return Ok(None);
    }
    let about = Opening {
        service: wanted.service.clone(),
        dedup_key: subject(id),
        test: None,
        title: format!("{}: {what}", wanted.name),
        why,
        agent: Agent::Heartbeat { heartbeat: id.clone() },
        run: None,
        event: None,
    };
    let opened = opening(tx, ids, about);
    if opened.is_none() {
        wait_until(tx, id, tx.now().plus(LOOK_AGAIN))?;
    }
    Ok(opened)
}

/// A heartbeat's timer is due. `deaf_until` is when AllClear could last not hear.
pub(crate) fn fire(tx: &mut Tx<'_>, ids: &Ids, id: &HeartbeatId, timer: &Timer, deaf_until: Timestamp) -> Result<(), OpsError> {
    let (catalog, now) = (tx.catalog(), tx.now());
    let Some(wanted) = catalog.heartbeat(id) else { return Ok(timer::take_timer(tx, timer).map(|_| ())?) };
    tx.lock([Lock::Service(wanted.service.clone())])?;
    if !timer::take_timer(tx, timer)? {
        return Ok(());
    }
    let known = heartbeat::find_heartbeat(tx, id)?;
    let Some(last) = known.as_ref().and_then(|known| known.last_ping_at) else { return Ok(()) };
    let in_vain = (deaf_until > last).then(|| wanted.due_after(deaf_until));
    let paused = wanted.paused_until.filter(|until| now < *until).map(|until| wanted.due_after(until));
    if let Some(due_at) = in_vain.max(paused).filter(|due_at| now < *due_at) {
        return Ok(wait_until(tx, id, due_at)?);
    }
    // Each further one that does not come is one more trigger: what a person resolved meanwhile opens anew.
    wait_until(tx, id, now.plus(wanted.every))?;
    let why = format!("the last call came at {last}; one was due every {}, with {} of grace", wanted.every, wanted.grace);
    let pending = trigger(tx, ids, id, "no heartbeat", why)?;
    apply(tx, ids, pending.into_iter().collect())?;
    Ok(())
}

/// Gives new heartbeats a key, takes the keys of those that are gone, and waits anew where the wait changed. Within a change
/// of the configuration.
pub(crate) fn follow(tx: &mut Tx<'_>, seed: &SecretSeed, before: &Catalog, touched: &[HeartbeatId]) -> Result<(), StoreError> {
    let catalog = tx.catalog();
    for id in touched {
        let known = heartbeat::find_heartbeat(tx, id)?;
        match (catalog.heartbeat(id), known) {
            (Some(_), None) => heartbeat::insert_heartbeat(tx, id, &seed.uuid(&["heartbeat", id.as_str()]))?,
            (None, Some(_)) => {
                heartbeat::remove_heartbeat(tx, id)?;
                timer::clear_timer(tx, &subject(id), MISSED)?;
            }
            (Some(wanted), Some(known)) => {
                let same = before
                    .heartbeat(id)
                    .is_some_and(|old| (old.every, old.grace, old.paused_until) == (wanted.every, wanted.grace, wanted.paused_until));
                if let Some(last) = known.last_ping_at.filter(|_| !same) {
                    wait_until(tx, id, wanted.due_after(last))?;
                }
            }
            (None, None) => {}
        }
    }
    Ok(())
}

/// The open alerts of heartbeats that are gone, rest, or report to another service now.
pub(crate) fn withdrawn(tx: &mut Tx<'_>, touched: &[HeartbeatId]) -> Result<Vec<Alert>, StoreError> {
    let (catalog, now) = (tx.catalog(), tx.now());
    let mut gone = Vec::new();
    for id in touched {
        let stays = |open: &Alert| {
            catalog
                .heartbeat(id)
                .is_some_and(|wanted| wanted.service == open.service && wanted.paused_until.is_none_or(|until| until <= now))
        };
        gone.extend(alert::open_alert(tx, &subject(id))?.filter(|open| !stays(open)));
    }
    Ok(gone)
}

/// A heartbeat with all that is known of it.
#[derive(Debug, Clone)]
pub struct Known {
    /// Its name.
    pub name: String,
    /// The service that its incidents open on.
    pub service: ServiceId,
    /// Its key and its last call.
    pub heartbeat: Heartbeat,
}

/// Every heartbeat with its key, by name.
///
/// # Errors
/// [`OpsError::Forbidden`]; errors of the store.
pub async fn list(store: &Store, actor: &Actor) -> Result<Vec<Known>, OpsError> {
    const AT_ONCE: u32 = 500;
    actor.require(Permission::ConfigWrite)?;
    let catalog = store.catalog();
    let mut all = Vec::with_capacity(catalog.of_kind(Kind::Heartbeat).count());
    let mut after = String::new();
    loop {
        let from = after.clone();
        let some = store.read("list heartbeats", move |tx| heartbeat::list_heartbeats(tx, &from, AT_ONCE)).await?;
        let Some(last) = some.last() else { break };
        after = last.id.0.clone();
        all.extend(some.into_iter().filter_map(|heartbeat| {
            let wanted = catalog.heartbeat(&heartbeat.id)?;
            Some(Known { name: wanted.name.clone(), service: wanted.service.clone(), heartbeat })
        }));
    }
    all.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(all)
}
