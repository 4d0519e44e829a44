//! The auditor: looks at what is on disk for work that stands still though nobody says so.

use allclear_base::Rng;
use allclear_domain::incident::{Agent, ResolveReason};
use allclear_domain::{Span, Timestamp};
use allclear_store::record::delivery as outbox;
use allclear_store::record::incident as incidents;
use allclear_store::record::{alert, timer};
use allclear_store::{Lane, Lock, Store, StoreError, Tx, Write};

use crate::apply::{apply, incident_subject};
use crate::incident::{Opening, ending, opening};
use crate::{Draw, OpsError};

/// What the operators' incident is known by.
const KEY: &str = "auditor";

/// How long a timer may be due: it fires within milliseconds, and a second later where a wake-up was lost.
const TIMER_PATIENCE: Span = Span::from_secs(60);

/// How long a message may be due: longer than a burst takes at one message a second and address, and than most outages of a
/// provider, behind whose first message others wait.
const MESSAGE_PATIENCE: Span = Span::from_mins(15);

/// How far our time may run ahead of the machine's before somebody should know.
const CLOCK_PATIENCE: Span = Span::from_mins(5);

/// How long a parked message is shown.
const PARKED_SHOWN: Span = Span::from_mins(60);

/// Open incidents that are looked at, newest first, of each status.
const MOST_INCIDENTS: u32 = 500;

/// Something that is not as it should be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// In a sentence.
    pub text: String,
    /// Whether AllClear itself is to blame, as far as it can know, and not a provider. Nobody is told less for that; who judges
    /// AllClear alone, as the simulation does, asks.
    pub is_ours: bool,
}

impl Finding {
    /// One that is ours.
    #[must_use]
    pub const fn ours(text: String) -> Self {
        Self { text, is_ours: true }
    }
}

/// Looks; one finding for each thing that is not as it should be. `wall` is what the machine's clock says.
///
/// # Errors
/// Errors of the store.
pub async fn look(store: &Store, wall: Timestamp) -> Result<Vec<Finding>, OpsError> {
    store.read("audit", move |tx| Ok::<_, OpsError>(look_within(tx, wall)?)).await
}

fn look_within(tx: &mut Tx<'_>, wall: Timestamp) -> Result<Vec<Finding>, StoreError> {
    let (now, mut findings) = (tx.now(), Vec::new());
    if let Some(due) = timer::next_due(tx)?.filter(|due| due.plus(TIMER_PATIENCE) < now) {
        findings.push(Finding::ours(format!("a timer has been due for {}", now.since(due))));
    }
    let (waiting, oldest) = outbox::backlog(tx)?;
    if let Some(due) = oldest.filter(|due| due.plus(MESSAGE_PATIENCE) < now) {
        let text = format!("the oldest of {waiting} waiting messages has been due for {}", now.since(due));
        findings.push(Finding { text, is_ours: false });
    }
    let parked = outbox::parked_since(tx, now.minus(PARKED_SHOWN))?;
    if parked > 0 {
        let text = format!("{parked} messages of the last hour were given up after their last attempt");
        findings.push(Finding { text, is_ours: false });
    }
    if now > wall.plus(CLOCK_PATIENCE) {
        findings.push(Finding::ours(format!("the machine's clock is {} behind", now.since(wall))));
    }
    for status in ["triggered", "acknowledged"] {
        for open in incidents::list_incidents(tx, Some(status), i64::MAX, MOST_INCIDENTS)? {
            let waits = !timer::timers_of(tx, &incident_subject(&open))?.is_empty();
            if !waits && alert::alerts_of(tx, &open.id)?.iter().all(|one| one.resolved_at.is_some()) {
                let text = format!("incident #{} is open and nothing will ever happen to it", open.number);
                findings.push(Finding::ours(text));
            }
        }
    }
    Ok(findings)
}

/// Tells the operators of findings that stayed, and that they are gone. Without an operators' service they stand in the log
/// and at `/readyz` alone.
///
/// # Errors
/// Errors of the store.
pub async fn report(store: &Store, rng: &dyn Rng, findings: &[String]) -> Result<(), OpsError> {
    let Some(service) = store.catalog().settings().operators else { return Ok(()) };
    let (draw, findings) = (Draw::new(rng), findings.to_vec());
    let known = store.read("audit", |tx| alert::open_alert(tx, KEY)).await?;
    if known.is_some() != findings.is_empty() {
        return Ok(());
    }
    let work = move |tx: &mut Tx<'_>| {
        tx.lock([Lock::Service(service.clone())])?;
        let ids = draw.ids();
        let pending = match (alert::open_alert(tx, KEY)?, findings.first()) {
            (Some(open), None) => {
                tx.lock([Lock::Incident(open.incident.clone())])?;
                alert::resolve_alert(tx, &open.id)?;
                ending(tx, &open.incident, Agent::System, ResolveReason::AlertsCleared)?
            }
            (None, Some(first)) => {
                let about = Opening {
                    service: service.clone(),
                    dedup_key: KEY.to_owned(),
                    test: None,
                    title: format!("AllClear's auditor: {first}"),
                    why: findings.join("; "),
                    agent: Agent::System,
                    run: None,
                    event: None,
                };
                opening(tx, &ids, about)
            }
            (Some(_), Some(_)) | (None, None) => None,
        };
        apply(tx, &ids, pending.into_iter().collect())?;
        Ok(())
    };
    store.write(Write::new("report findings", Lane::Act), work).await
}
