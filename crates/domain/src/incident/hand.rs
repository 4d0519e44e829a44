//! What people do to an incident besides taking and ending it: note, reassign, escalate, snooze, change its urgency. None of
//! it is ownership: the incident still resolves itself when its cause is over.

use super::machine::{Position, clear, next_position, page_from, start};
use super::{
    Acknowledged, Acknowledgement, Agent, AtLevel, Change, Context, Effect, Incident, LogDraft, LogKind, NotifyReason, Paging, Priority,
    Refused, State, Timer, Urgency,
};
use crate::{PersonId, Timestamp};

/// What somebody wants done by hand.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ByHand {
    /// Write something into the timeline; also once it is over.
    Note {
        /// What.
        text: String,
    },
    /// Give it to these people: they are paged, and what was acknowledged is so no longer. If they do not acknowledge in time,
    /// the policy goes on from where it was.
    Reassign {
        /// To whom; at least one.
        people: Vec<PersonId>,
    },
    /// Page the next level now, or the one that is named, counted from 0.
    Escalate {
        /// Which.
        level: Option<usize>,
    },
    /// Keep quiet until then, and page again if it is still open.
    Snooze {
        /// Until when.
        until: Timestamp,
    },
    /// Say how much it matters.
    SetPriority {
        /// How much; nothing takes it back.
        priority: Option<Priority>,
    },
    /// Give it another title.
    Retitle {
        /// The title.
        title: String,
    },
    /// Take in other incidents, which go on as this one.
    Absorb {
        /// Their numbers.
        numbers: Vec<i64>,
    },
    /// Make it louder or quieter.
    SetUrgency {
        /// How loud.
        urgency: Urgency,
    },
}

/// What follows from it.
///
/// # Errors
/// [`Refused`] where it changes nothing, with the reason.
pub(super) fn by_hand(incident: &Incident, by: &Agent, what: &ByHand, context: &Context, at: Timestamp) -> Result<Change, Refused> {
    match (what, &incident.state) {
        (ByHand::Note { text }, _) => Ok(note(incident, by, text, at)),
        (_, State::Resolved(_)) => Err(Refused::AlreadyResolved),
        (ByHand::Reassign { people }, state) => Ok(reassign(incident, by, people, paging_of(state), context, at)),
        (ByHand::Escalate { level }, state) => escalate(incident, by, *level, paging_of(state), context, at),
        (ByHand::Snooze { until }, state) => Ok(snooze(incident, by, *until, state, at)),
        (ByHand::SetUrgency { urgency }, state) if *urgency != incident.urgency => {
            Ok(set_urgency(incident, by, *urgency, state, context, at))
        }
        (ByHand::SetUrgency { .. }, _) => Err(Refused::SameUrgency),
        (ByHand::SetPriority { priority }, _) => {
            Ok(relabel(incident, by, LogKind::PriorityChanged { to: *priority }, at, |next| next.priority = *priority))
        }
        (ByHand::Retitle { title }, _) => {
            Ok(relabel(incident, by, LogKind::Retitled { to: title.clone() }, at, |next| next.title.clone_from(title)))
        }
        (ByHand::Absorb { numbers }, _) => Ok(relabel(incident, by, LogKind::Absorbed { numbers: numbers.clone() }, at, |_| ())),
    }
}

fn paging_of(state: &State) -> Option<&AtLevel> {
    match state {
        State::Triggered(Paging::Level(here)) => Some(here),
        State::Acknowledged(held) => match &held.paging {
            Paging::Level(here) => Some(here),
            Paging::Nobody { .. } => None,
        },
        State::Triggered(Paging::Nobody { .. }) | State::Resolved(_) => None,
    }
}

fn entry(at: Timestamp, by: &Agent, kind: LogKind) -> LogDraft {
    LogDraft { at, agent: by.clone(), kind }
}

fn note(incident: &Incident, by: &Agent, text: &str, at: Timestamp) -> Change {
    let mut change = start(incident);
    change.log.push(entry(at, by, LogKind::Noted { text: text.to_owned() }));
    change
}

/// What changes neither who has it nor who is told: a line in the timeline, and the incident as `change_it` leaves it.
fn relabel(incident: &Incident, by: &Agent, what: LogKind, at: Timestamp, change_it: impl FnOnce(&mut Incident)) -> Change {
    let mut change = start(incident);
    change_it(&mut change.next);
    change.log.push(entry(at, by, what));
    change.effects.push(Effect::TellChannels);
    change
}

/// What was on its way to others, or waited for others, is for them no longer.
fn taken_from_others(change: &mut Change) {
    change.effects.extend([
        Effect::CancelPages,
        clear(Timer::Escalate { level: 0, pass: 0 }),
        clear(Timer::LookAgain),
        clear(Timer::AcknowledgementTimeout),
    ]);
}

fn reassign(incident: &Incident, by: &Agent, people: &[PersonId], here: Option<&AtLevel>, context: &Context, at: Timestamp) -> Change {
    let mut change = start(incident);
    let (level, pass) = here.map_or((0, 0), |here| (here.level, here.pass));
    change.log.push(entry(at, by, LogKind::Reassigned { people: people.to_vec() }));
    taken_from_others(&mut change);
    let why = NotifyReason::Reassigned;
    change.effects.extend(people.iter().map(|person| Effect::Page { person: person.clone(), why }));
    let waits = context.levels.get(level).filter(|_| incident.urgency == Urgency::High);
    let escalates_at = waits.map(|level| at.plus(level.escalate_after));
    if let Some(at) = escalates_at {
        change.effects.push(Effect::SetTimer { timer: Timer::Escalate { level, pass }, at });
    }
    change.effects.push(Effect::TellChannels);
    change.next.state = State::Triggered(Paging::Level(AtLevel { level, pass, assigned: people.to_vec(), escalates_at }));
    change
}

/// An incident that was just opened, given to these people in place of the policy's first level.
#[must_use]
pub fn give_to(opened: Change, by: &Agent, people: &[PersonId], context: &Context, at: Timestamp) -> Change {
    let Change { before, next, mut log, mut effects } = opened;
    let given = reassign(&next, by, people, paging_of(&next.state), context, at);
    let is_for_the_policy = |effect: &Effect| {
        matches!(effect, Effect::Page { .. } | Effect::AlarmNobody | Effect::TellChannels)
            || matches!(effect, Effect::SetTimer { timer: Timer::Escalate { .. } | Timer::LookAgain, .. })
    };
    effects.retain(|effect| !is_for_the_policy(effect));
    log.retain(|entry| !matches!(entry.kind, LogKind::Assigned { .. } | LogKind::NobodyToNotify));
    log.extend(given.log);
    effects.extend(given.effects.into_iter().filter(|effect| !matches!(effect, Effect::CancelPages | Effect::ClearTimer { .. })));
    Change { before, next: Incident { version: next.version, ..given.next }, log, effects }
}

/// An incident that was just opened, taken by whoever opened it: nobody is paged.
#[must_use]
pub fn take_at_once(opened: Change, by: &Agent, at: Timestamp) -> Change {
    let Change { mut next, mut log, mut effects, before } = opened;
    let waits = |effect: &Effect| {
        matches!(effect, Effect::Page { .. } | Effect::AlarmNobody)
            || matches!(effect, Effect::SetTimer { timer: Timer::Escalate { .. } | Timer::LookAgain, .. })
    };
    effects.retain(|effect| !waits(effect));
    log.retain(|entry| !matches!(entry.kind, LogKind::Assigned { .. } | LogKind::NobodyToNotify));
    log.push(entry(at, by, LogKind::Acknowledged));
    let paging = match next.state {
        State::Triggered(paging) => paging,
        State::Acknowledged(_) | State::Resolved(_) => Paging::Nobody { look_again_at: at },
    };
    let by = vec![Acknowledgement { by: by.clone(), at }];
    next.state = State::Acknowledged(Acknowledged { by, times_out_at: None, paging });
    Change { before, next, log, effects }
}

fn escalate(
    incident: &Incident,
    by: &Agent,
    level: Option<usize>,
    here: Option<&AtLevel>,
    context: &Context,
    at: Timestamp,
) -> Result<Change, Refused> {
    let position = match (level, here) {
        (Some(level), here) => {
            let has_somebody = context.levels.get(level).is_some_and(|level| !level.people.is_empty());
            has_somebody.then(|| Position { level, pass: here.map_or(0, |here| here.pass) })
        }
        (None, Some(here)) => next_position(here, context, incident.repeat),
        (None, None) => None,
    };
    let position = position.ok_or(Refused::NobodyThere)?;
    let mut change = start(incident);
    change.log.push(entry(at, by, LogKind::Escalated));
    taken_from_others(&mut change);
    let paging = page_from(&mut change, context, position, NotifyReason::EscalatedByHand, at);
    change.effects.push(Effect::TellChannels);
    change.next.state = State::Triggered(paging);
    Ok(change)
}

/// A snoozed incident is acknowledged by whoever snoozed it, until then.
fn snooze(incident: &Incident, by: &Agent, until: Timestamp, state: &State, at: Timestamp) -> Change {
    let mut change = start(incident);
    change.log.push(entry(at, by, LogKind::Snoozed { until }));
    let (mut acknowledged, paging) = match state {
        State::Acknowledged(held) => (held.by.clone(), held.paging.clone()),
        State::Triggered(paging) => (vec![], paging.clone()),
        State::Resolved(_) => (vec![], Paging::Nobody { look_again_at: at }),
    };
    if acknowledged.last().is_none_or(|last| last.by != *by) {
        acknowledged.push(Acknowledgement { by: by.clone(), at });
    }
    change.effects.extend([Effect::CancelPages, clear(Timer::Escalate { level: 0, pass: 0 }), clear(Timer::LookAgain)]);
    change.effects.extend([Effect::SetTimer { timer: Timer::AcknowledgementTimeout, at: until }, Effect::TellChannels]);
    change.next.state = State::Acknowledged(Acknowledged { by: acknowledged, times_out_at: Some(until), paging });
    change
}

/// Louder: whoever has it and has not acknowledged is told again, by the rules for what is loud, and waited for. Quieter:
/// nobody is waited for any more. Components follow the new urgency.
fn set_urgency(incident: &Incident, by: &Agent, urgency: Urgency, state: &State, context: &Context, at: Timestamp) -> Change {
    let mut change = start(incident);
    change.next.urgency = urgency;
    change.log.push(entry(at, by, LogKind::UrgencyChanged { to: urgency }));
    if let State::Triggered(Paging::Level(here)) = state {
        let (level, pass) = (here.level, here.pass);
        let waits = context.levels.get(level).filter(|_| urgency == Urgency::High);
        let escalates_at = waits.map(|level| at.plus(level.escalate_after));
        match escalates_at {
            Some(at) => change.effects.push(Effect::SetTimer { timer: Timer::Escalate { level, pass }, at }),
            None => change.effects.push(clear(Timer::Escalate { level, pass })),
        }
        // What still waits was planned by the rules for the other urgency.
        change.effects.push(Effect::CancelPages);
        if urgency == Urgency::High {
            let why = NotifyReason::Louder;
            change.effects.extend(here.assigned.iter().map(|person| Effect::Page { person: person.clone(), why }));
        }
        change.next.state = State::Triggered(Paging::Level(AtLevel { escalates_at, ..here.clone() }));
    }
    change.effects.extend([Effect::Press, Effect::TellChannels]);
    change
}
