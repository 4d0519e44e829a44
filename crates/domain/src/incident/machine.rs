//! The state machine of incidents: `(incident, event) → change` or a refusal with its reason.

use super::hand;
use super::{
    Acknowledged, Acknowledgement, Agent, AtLevel, Change, Context, Effect, Event, Incident, LogDraft, LogKind, NotifyReason, Paging,
    Refused, ResolveReason, ResolvedState, State, Timer, Urgency,
};
use crate::{Span, Timestamp};

/// How often to look again for somebody on call. A gap in a schedule ends on a minute.
const LOOK_AGAIN_AFTER: Span = Span::from_mins(1);

/// Opens an incident: pages the first level that has somebody, or alarms. `draft` has every field but its state.
#[must_use]
pub fn open(draft: Incident, why: String, agent: Agent, context: &Context, at: Timestamp) -> Change {
    let triggered = LogDraft { at, agent, kind: LogKind::Triggered { why } };
    let mut change = Change { before: None, next: draft, log: vec![triggered], effects: vec![] };
    let paging = page_from(&mut change, context, Position { level: 0, pass: 0 }, NotifyReason::FirstPage, at);
    change.next.state = State::Triggered(paging);
    if let Some(after) = context.auto_resolve {
        change.effects.push(Effect::SetTimer { timer: Timer::AutoResolve, at: at.plus(after) });
    }
    change.effects.extend([Effect::Press, Effect::TellChannels]);
    change
}

/// What follows from `event`.
///
/// # Errors
/// [`Refused`] where the event changes nothing, with the reason.
pub fn transition(incident: &Incident, event: &Event, context: &Context, at: Timestamp) -> Result<Change, Refused> {
    if let Event::ByHand { by, what } = event {
        return hand::by_hand(incident, by, what, context, at);
    }
    match &incident.state {
        State::Triggered(paging) => from_triggered(incident, paging, event, context, at),
        State::Acknowledged(held) => from_acknowledged(incident, held, event, context, at),
        State::Resolved(_) => match event {
            Event::Acknowledge { .. } | Event::Resolve { .. } | Event::ByHand { .. } => Err(Refused::AlreadyResolved),
            Event::EscalationDue { .. }
            | Event::LevelUnreachable { .. }
            | Event::LookAgain
            | Event::AcknowledgementTimedOut
            | Event::Unacknowledge { .. }
            | Event::OpenTooLong => Err(Refused::Stale),
        },
    }
}

/// Who acknowledged last, if the incident is acknowledged.
#[must_use]
pub fn acknowledge_by(incident: &Incident) -> Option<&Acknowledgement> {
    match &incident.state {
        State::Acknowledged(held) => held.by.last(),
        State::Triggered(_) | State::Resolved(_) => None,
    }
}

fn from_triggered(incident: &Incident, paging: &Paging, event: &Event, context: &Context, at: Timestamp) -> Result<Change, Refused> {
    match event {
        Event::Acknowledge { by } => Ok(acknowledge(incident, paging.clone(), None, by, context, at)),
        Event::Resolve { by, why } => Ok(resolve(incident, by.clone(), why.clone(), at)),
        Event::OpenTooLong => open_too_long(incident, context, at),
        Event::EscalationDue { level, pass } => {
            let here = at_level(paging, *level, *pass)?;
            if here.escalates_at.is_none() {
                return Err(Refused::Stale);
            }
            Ok(escalate(incident, here, NotifyReason::Escalated, context, at))
        }
        Event::LevelUnreachable { level, pass } => {
            let here = at_level(paging, *level, *pass)?;
            // The same people again would be as little reached: the policy starts again when its time comes.
            let next = next_position(here, context, incident.repeat).filter(|next| next.pass == here.pass);
            match (here.escalates_at, next) {
                (Some(_), Some(_)) => Ok(escalate(incident, here, NotifyReason::LevelBeforeUnreachable, context, at)),
                (None, _) | (_, None) => Ok(nobody_reached(incident, at)),
            }
        }
        Event::LookAgain => match paging {
            Paging::Nobody { .. } => Ok(look_again(incident, context, at)),
            Paging::Level(_) => Err(Refused::Stale),
        },
        Event::AcknowledgementTimedOut | Event::Unacknowledge { .. } | Event::ByHand { .. } => Err(Refused::Stale),
    }
}

fn from_acknowledged(incident: &Incident, held: &Acknowledged, event: &Event, context: &Context, at: Timestamp) -> Result<Change, Refused> {
    match event {
        Event::Acknowledge { by } if held.by.iter().any(|earlier| same_agent(&earlier.by, by)) => Err(Refused::AlreadyAcknowledged),
        Event::Acknowledge { by } => Ok(acknowledge(incident, held.paging.clone(), Some(held), by, context, at)),
        Event::Resolve { by, why } => Ok(resolve(incident, by.clone(), why.clone(), at)),
        Event::OpenTooLong => open_too_long(incident, context, at),
        Event::AcknowledgementTimedOut => Ok(unacknowledge(incident, held, Agent::Timer, context, at)),
        Event::Unacknowledge { by } => {
            let mut change = unacknowledge(incident, held, by.clone(), context, at);
            change.effects.push(clear(Timer::AcknowledgementTimeout));
            Ok(change)
        }
        Event::EscalationDue { .. } | Event::LevelUnreachable { .. } | Event::LookAgain | Event::ByHand { .. } => Err(Refused::Stale),
    }
}

/// The same person is the same agent however they told us.
fn same_agent(a: &Agent, b: &Agent) -> bool {
    match (a, b) {
        (Agent::Person { person: a, .. }, Agent::Person { person: b, .. }) => a == b,
        _ => a == b,
    }
}

fn at_level(paging: &Paging, level: usize, pass: u32) -> Result<&AtLevel, Refused> {
    match paging {
        Paging::Level(here) if here.level == level && here.pass == pass => Ok(here),
        Paging::Level(_) | Paging::Nobody { .. } => Err(Refused::Stale),
    }
}

pub(super) fn start(incident: &Incident) -> Change {
    let mut next = incident.clone();
    next.version += 1;
    Change { before: Some(incident.state.clone()), next, log: vec![], effects: vec![] }
}

/// `held` is how it was acknowledged before, if it was: one more acknowledgement never shortens a snooze.
fn acknowledge(incident: &Incident, paging: Paging, held: Option<&Acknowledged>, who: &Agent, context: &Context, at: Timestamp) -> Change {
    let mut change = start(incident);
    let mut by = held.map_or_else(Vec::new, |held| held.by.clone());
    by.push(Acknowledgement { by: who.clone(), at });
    let anew = context.acknowledgement_timeout.map(|after| at.plus(after));
    let times_out_at = anew.max(held.and_then(|held| held.times_out_at));
    change.log.push(LogDraft { at, agent: who.clone(), kind: LogKind::Acknowledged });
    change.effects.extend([Effect::CancelPages, clear(Timer::Escalate { level: 0, pass: 0 }), clear(Timer::LookAgain)]);
    if let Some(at) = times_out_at {
        change.effects.push(Effect::SetTimer { timer: Timer::AcknowledgementTimeout, at });
    }
    change.effects.push(Effect::TellChannels);
    change.next.state = State::Acknowledged(Acknowledged { by, times_out_at, paging });
    change
}

pub(super) const fn clear(timer: Timer) -> Effect {
    Effect::ClearTimer { kind: timer.kind() }
}

fn resolve(incident: &Incident, by: Agent, why: ResolveReason, at: Timestamp) -> Change {
    let mut change = start(incident);
    // What was merged goes on elsewhere, and its alerts with it.
    let is_over = !matches!(why, ResolveReason::Merged { .. });
    change.log.push(LogDraft { at, agent: by.clone(), kind: LogKind::Resolved { why: why.clone() } });
    change.next.state = State::Resolved(ResolvedState { at, by, why });
    let timers = [Timer::Escalate { level: 0, pass: 0 }, Timer::LookAgain, Timer::AcknowledgementTimeout, Timer::AutoResolve];
    change.effects.push(Effect::CancelPages);
    change.effects.extend(timers.map(clear));
    change.effects.extend(is_over.then_some(Effect::CloseAlerts));
    change.effects.extend([Effect::Release, Effect::AllClear, Effect::TellChannels]);
    change
}

fn open_too_long(incident: &Incident, context: &Context, at: Timestamp) -> Result<Change, Refused> {
    if context.test_still_fails {
        return Err(Refused::StillFailing);
    }
    Ok(resolve(incident, Agent::Timer, ResolveReason::OpenTooLong, at))
}

fn unacknowledge(incident: &Incident, held: &Acknowledged, by: Agent, context: &Context, at: Timestamp) -> Change {
    let mut change = start(incident);
    change.log.push(LogDraft { at, agent: by, kind: LogKind::Unacknowledged });
    let position = match &held.paging {
        Paging::Level(here) => Position { level: here.level, pass: here.pass },
        Paging::Nobody { .. } => Position { level: 0, pass: 0 },
    };
    let paging = page_from(&mut change, context, position, NotifyReason::AcknowledgementTimedOut, at);
    change.effects.push(Effect::TellChannels);
    change.next.state = State::Triggered(paging);
    change
}

fn look_again(incident: &Incident, context: &Context, at: Timestamp) -> Change {
    let mut change = start(incident);
    let paging = page_from(&mut change, context, Position { level: 0, pass: 0 }, NotifyReason::NowOnCall, at);
    // Finding nobody again is no news: the alarm stands already.
    if matches!(paging, Paging::Nobody { .. }) {
        change.log.clear();
        change.effects.retain(|effect| *effect != Effect::AlarmNobody);
    }
    change.next.state = State::Triggered(paging);
    change
}

fn escalate(incident: &Incident, here: &AtLevel, why: NotifyReason, context: &Context, at: Timestamp) -> Change {
    let mut change = start(incident);
    let next = next_position(here, context, incident.repeat);
    let (paging, told) = match next {
        Some(position) => {
            let why = if position.pass > here.pass { NotifyReason::Repeated } else { why };
            (page_from(&mut change, context, position, why, at), true)
        }
        None => {
            change.log.push(LogDraft { at, agent: Agent::Timer, kind: LogKind::Exhausted });
            change.effects.push(clear(Timer::Escalate { level: 0, pass: 0 }));
            change.effects.push(Effect::AlarmNobody);
            (Paging::Level(AtLevel { escalates_at: None, ..here.clone() }), false)
        }
    };
    if told {
        change.effects.push(Effect::TellChannels);
    }
    change.next.state = State::Triggered(paging);
    change
}

/// Nobody of the level can be reached and no other level follows now: the operators must know.
fn nobody_reached(incident: &Incident, at: Timestamp) -> Change {
    let mut change = start(incident);
    change.log.push(LogDraft { at, agent: Agent::System, kind: LogKind::NobodyToNotify });
    change.effects.push(Effect::AlarmNobody);
    change
}

#[derive(Debug, Clone, Copy)]
pub(super) struct Position {
    pub(super) level: usize,
    pub(super) pass: u32,
}

/// The next level with somebody on call, in this pass or the next; nothing when the policy is exhausted.
pub(super) fn next_position(here: &AtLevel, context: &Context, repeat: u32) -> Option<Position> {
    let has_somebody = |level: &usize| context.levels.get(*level).is_some_and(|l| !l.people.is_empty());
    let this_pass = (here.level + 1..context.levels.len()).find(has_somebody).map(|level| Position { level, pass: here.pass });
    let next_pass = || (0..context.levels.len()).find(has_somebody).map(|level| Position { level, pass: here.pass + 1 });
    this_pass.or_else(|| if here.pass < repeat { next_pass() } else { None })
}

/// Pages the level at `position`, or the next one that has somebody; alarms where none has.
pub(super) fn page_from(change: &mut Change, context: &Context, position: Position, why: NotifyReason, at: Timestamp) -> Paging {
    let count = context.levels.len();
    let found = (position.level..count).chain(0..position.level.min(count)).find(|level| !context.levels[*level].people.is_empty());
    let Some(level) = found else {
        change.log.push(LogDraft { at, agent: Agent::System, kind: LogKind::NobodyToNotify });
        let look_again_at = at.plus(LOOK_AGAIN_AFTER);
        change.effects.extend([Effect::AlarmNobody, Effect::SetTimer { timer: Timer::LookAgain, at: look_again_at }]);
        return Paging::Nobody { look_again_at };
    };
    let resolved = &context.levels[level];
    let pass = position.pass;
    change.log.push(LogDraft {
        at,
        agent: Agent::System,
        kind: LogKind::Assigned { people: resolved.people.clone(), level: level + 1, why },
    });
    change.effects.extend(resolved.people.iter().map(|person| Effect::Page { person: person.clone(), why }));
    let here = AtLevel { level, pass, assigned: resolved.people.clone(), escalates_at: None };
    let escalates = change.next.urgency == Urgency::High;
    let escalates_at = escalates.then(|| at.plus(resolved.escalate_after));
    if let Some(at) = escalates_at {
        change.effects.push(Effect::SetTimer { timer: Timer::Escalate { level, pass }, at });
    }
    Paging::Level(AtLevel { escalates_at, ..here })
}
