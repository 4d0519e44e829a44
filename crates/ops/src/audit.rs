//! The auditor: looks at what is on disk for work that stands still though nobody says so.

use allclear_base::Rng;
use allclear_domain::incident::{Agent, Incident, ResolveReason};
use allclear_domain::{Span, Timestamp};
use allclear_store::record::delivery as outbox;
use allclear_store::record::incident as incidents;
use allclear_store::record::{alert, timer};
use allclear_store::{Lane, Lock, Store, StoreError, Tx, Write};

use crate::apply::apply;
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

/// Open incidents that are looked at in one read.
const AT_ONCE: u32 = 500;

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
    let mut findings = store.read("audit", move |tx| Ok::<_, OpsError>(look_within(tx, wall)?)).await?;
    let (mut stuck, mut first) = (0, None);
    for status in ["triggered", "acknowledged"] {
        let mut before = Some(i64::MAX);
        while let Some(below) = before {
            let found = store.read("audit incidents", move |tx| Ok::<_, OpsError>(stuck_below(tx, status, below)?)).await?;
            stuck += found.stuck.len();
            first = first.or(found.stuck.first().copied());
            before = found.go_on_below;
        }
    }
    if let Some(number) = first {
        let others = if stuck > 1 { format!("; so it is with {} more", stuck - 1) } else { String::new() };
        findings.push(Finding::ours(format!("incident #{number} is open and nothing will ever happen to it{others}")));
    }
    Ok(findings)
}

/// Open incidents, as far as one read looks.
struct Stuck {
    /// The numbers of those to which nothing will happen: a timer that their state asks for is not there, or they wait for an alert
    /// that is over.
    stuck: Vec<i64>,
    /// The number below which to go on; nothing where all were seen.
    go_on_below: Option<i64>,
}

fn stuck_below(tx: &mut Tx<'_>, status: &'static str, below: i64) -> Result<Stuck, StoreError> {
    let open = incidents::list_incidents(tx, Some(status), below, AT_ONCE)?;
    let (Some(newest), Some(oldest)) = (open.first(), open.last()) else { return Ok(Stuck { stuck: vec![], go_on_below: None }) };
    let numbers = (oldest.number, newest.number);
    let go_on_below = (open.len() == AT_ONCE as usize).then_some(oldest.number);
    let timers = timer::kinds_of_incidents(tx, status, numbers)?;
    let with_alert = alert::with_open_alerts(tx, status, numbers)?;
    let is_stuck = |one: &&Incident| {
        let kinds = timers.get(&one.id).map_or(&[][..], Vec::as_slice);
        match one.awaited_timer() {
            Some(kind) => !kinds.iter().any(|known| known == kind),
            None => kinds.is_empty() && !with_alert.contains(&one.id),
        }
    };
    Ok(Stuck { stuck: open.iter().filter(is_stuck).map(|one| one.number).collect(), go_on_below })
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
