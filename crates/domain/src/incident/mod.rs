//! Incidents that engineers work on: a state machine that says what follows from each event, and why.
//!
//! ```text
//! triggered ── acknowledge ──► acknowledged ── time-out ──► triggered (paged again)
//!     └───────── resolve ─────────┴──► resolved (final; a new failure opens a new incident)
//! ```
//!
//! An open incident always has a next step: a timer, a page on its way, or the alert that resolves it. "Nobody to
//! notify" is a state of its own that alarms and looks again, never silence.

mod hand;
mod log;
mod machine;
#[cfg(test)]
mod tests;

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

pub use hand::{ByHand, give_to, take_at_once};
pub use log::{Agent, IncidentEvent, LogDraft, LogKind, NotifyReason, Via};
pub use machine::{acknowledge_by, open, transition};

use crate::escalation::{Level, Resolved};
use crate::{IncidentId, PersonId, RunId, ServiceId, Span, Timestamp};

/// How loud an incident is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, Default)]
#[serde(rename_all = "lowercase")]
pub enum Urgency {
    /// Notified by the low rules; never escalates.
    Low,
    /// Notified by the high rules; escalates until somebody acknowledges.
    #[default]
    High,
}

impl Urgency {
    /// The word for it.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Low => "low",
            Self::High => "high",
        }
    }
}

/// How much an incident matters next to others; it orders lists and changes nothing else.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Priority {
    /// Before everything else.
    P1,
    /// Next.
    P2,
    /// In the middle.
    P3,
    /// Later.
    P4,
    /// At the end.
    P5,
}

impl Priority {
    /// Every priority, the first first.
    pub const ALL: [Self; 5] = [Self::P1, Self::P2, Self::P3, Self::P4, Self::P5];

    /// Its name.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::P1 => "P1",
            Self::P2 => "P2",
            Self::P3 => "P3",
            Self::P4 => "P4",
            Self::P5 => "P5",
        }
    }

    /// The priority with this name, in capital letters or not.
    #[must_use]
    pub fn from_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|priority| priority.word().eq_ignore_ascii_case(word))
    }
}

/// An incident.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Incident {
    /// Its id.
    pub id: IncidentId,
    /// Its number, counted from 1.
    pub number: i64,
    /// The service that it belongs to.
    pub service: ServiceId,
    /// What is wrong, in one line.
    pub title: String,
    /// How loud it is.
    pub urgency: Urgency,
    /// How much it matters, if somebody said so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub priority: Option<Priority>,
    /// Since when.
    pub opened_at: Timestamp,
    /// How it stands.
    pub state: State,
    /// The policy as it was when the incident opened; later edits do not touch an open incident.
    pub levels: Vec<Level>,
    /// How many more passes through the policy.
    pub repeat: u32,
    /// The run that opened it.
    pub run: Option<RunId>,
    /// The dedup key of the alert that opened it: what other services know it by.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// Counts its changes, for compare-and-set.
    pub version: i64,
}

impl Incident {
    /// Whether somebody may still have to act.
    #[must_use]
    pub const fn is_open(&self) -> bool {
        !matches!(self.state, State::Resolved(_))
    }

    /// The kind of the timer that must stand for it as its state is; nothing where it waits for people or for its alert alone.
    #[must_use]
    pub fn awaited_timer(&self) -> Option<&'static str> {
        let timer = match &self.state {
            State::Triggered(Paging::Level(here)) => here.escalates_at.map(|_| Timer::Escalate { level: here.level, pass: here.pass }),
            State::Triggered(Paging::Nobody { .. }) => Some(Timer::LookAgain),
            State::Acknowledged(held) => held.times_out_at.map(|_| Timer::AcknowledgementTimeout),
            State::Resolved(_) => None,
        };
        timer.map(Timer::kind)
    }
}

/// How an incident stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "status", rename_all = "lowercase")]
pub enum State {
    /// Nobody has acknowledged it.
    Triggered(Paging),
    /// Somebody works on it.
    Acknowledged(Acknowledged),
    /// Over.
    Resolved(ResolvedState),
}

impl State {
    /// `PagerDuty`'s word for it.
    #[must_use]
    pub const fn word(&self) -> &'static str {
        match self {
            Self::Triggered(_) => "triggered",
            Self::Acknowledged(_) => "acknowledged",
            Self::Resolved(_) => "resolved",
        }
    }
}

/// Where an incident is in its policy.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "paging", rename_all = "snake_case")]
pub enum Paging {
    /// The people of one level were paged.
    Level(AtLevel),
    /// No level has anybody on call: the alarmed state.
    Nobody {
        /// When to look again; a schedule's gap may have ended.
        look_again_at: Timestamp,
    },
}

/// The people of one level were paged.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AtLevel {
    /// The level, counted from 0.
    pub level: usize,
    /// The pass through the policy, counted from 0.
    pub pass: u32,
    /// Who was paged.
    pub assigned: Vec<PersonId>,
    /// When the next level is due; nothing when there is none or the urgency is low.
    pub escalates_at: Option<Timestamp>,
}

/// Somebody works on it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Acknowledged {
    /// Who acknowledged, first to last.
    pub by: Vec<Acknowledgement>,
    /// When it is triggered again unless somebody resolves it or acknowledges anew.
    pub times_out_at: Option<Timestamp>,
    /// Where paging goes on then.
    pub paging: Paging,
}

/// One acknowledgement.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Acknowledgement {
    /// Who.
    pub by: Agent,
    /// When.
    pub at: Timestamp,
}

/// How it ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ResolvedState {
    /// When.
    pub at: Timestamp,
    /// By whom.
    pub by: Agent,
    /// Why.
    pub why: ResolveReason,
}

/// Why an incident ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ResolveReason {
    /// Every alert of it resolved: the tests pass again.
    AlertsCleared,
    /// The monitoring tool that opened it says that it is over.
    EventResolved,
    /// A person said so.
    ByHand,
    /// It was open for as long as its service allows.
    OpenTooLong,
    /// The test or heartbeat that opened it was deleted, paused or switched off.
    TestWithdrawn,
    /// The heartbeat that was missed is back.
    HeartbeatBack,
    /// It goes on as another incident.
    Merged {
        /// The other one.
        into: IncidentId,
        /// The other one's number.
        number: i64,
    },
}

impl ResolveReason {
    /// In words.
    #[must_use]
    pub fn words(&self) -> Cow<'static, str> {
        Cow::Borrowed(match self {
            Self::AlertsCleared => "the tests pass again",
            Self::EventResolved => "the monitoring tool says that it is over",
            Self::ByHand => "by hand",
            Self::OpenTooLong => "it was open for as long as the service allows",
            Self::TestWithdrawn => "what watched it was deleted, paused or switched off",
            Self::HeartbeatBack => "the heartbeat is back",
            Self::Merged { number, .. } => return Cow::Owned(format!("it goes on as #{number}")),
        })
    }
}

/// What happens to an incident.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// Somebody takes it.
    Acknowledge {
        /// Who.
        by: Agent,
    },
    /// Somebody or something ends it.
    Resolve {
        /// Who.
        by: Agent,
        /// Why.
        why: ResolveReason,
    },
    /// The wait for an acknowledgement of this level is over.
    EscalationDue {
        /// The level whose wait it was.
        level: usize,
        /// The pass that it was in.
        pass: u32,
    },
    /// No message can reach anybody of this level: the next level of the same pass is paged at once.
    LevelUnreachable {
        /// The level that cannot be reached.
        level: usize,
        /// The pass that it was in.
        pass: u32,
    },
    /// The time to look again for somebody on call.
    LookAgain,
    /// The acknowledgement is older than its service allows.
    AcknowledgementTimedOut,
    /// An acknowledgement was taken back in a service that this one is linked with.
    Unacknowledge {
        /// Who or what took it back.
        by: Agent,
    },
    /// It was open for as long as its service allows.
    OpenTooLong,
    /// Somebody does something to it besides taking or ending it.
    ByHand {
        /// Who.
        by: Agent,
        /// What.
        what: ByHand,
    },
}

/// What a decision depends on besides the incident.
#[derive(Debug, Clone)]
pub struct Context {
    /// The incident's levels with the people who are on call now.
    pub levels: Vec<Resolved>,
    /// How long an acknowledgement lasts.
    pub acknowledgement_timeout: Option<Span>,
    /// How long it may stay open.
    pub auto_resolve: Option<Span>,
    /// Whether a test of it still fails; such an incident never resolves itself by age.
    pub test_still_fails: bool,
}

/// A timer of an incident. At most one of each kind is set.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(tag = "timer", rename_all = "snake_case")]
pub enum Timer {
    /// The next level.
    Escalate {
        /// The level that was waited for.
        level: usize,
        /// The pass.
        pass: u32,
    },
    /// Look again for somebody on call.
    LookAgain,
    /// The acknowledgement ends.
    AcknowledgementTimeout,
    /// It was open long enough.
    AutoResolve,
}

impl Timer {
    /// The kind, of which at most one is set per incident.
    #[must_use]
    pub const fn kind(self) -> &'static str {
        match self {
            Self::Escalate { .. } => "escalate",
            Self::LookAgain => "look_again",
            Self::AcknowledgementTimeout => "acknowledgement_timeout",
            Self::AutoResolve => "auto_resolve",
        }
    }

    /// The event that it causes when it is due.
    #[must_use]
    pub const fn event(self) -> Event {
        match self {
            Self::Escalate { level, pass } => Event::EscalationDue { level, pass },
            Self::LookAgain => Event::LookAgain,
            Self::AcknowledgementTimeout => Event::AcknowledgementTimedOut,
            Self::AutoResolve => Event::OpenTooLong,
        }
    }
}

/// What follows from a change, named for intent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Effect {
    /// Notify a person by their rules.
    Page {
        /// Whom.
        person: PersonId,
        /// Why now.
        why: NotifyReason,
    },
    /// What was not sent yet need not be sent.
    CancelPages,
    /// Everyone who was paged, or may have been, hears that it is over.
    AllClear,
    /// The service's channels show the new state.
    TellChannels,
    /// Nobody can be notified: alarm the operators.
    AlarmNobody,
    /// Set a timer, in place of one of the same kind.
    SetTimer {
        /// Which.
        timer: Timer,
        /// When it is due.
        at: Timestamp,
    },
    /// Remove a timer by its kind.
    ClearTimer {
        /// The kind, as [`Timer::kind`] has it.
        kind: &'static str,
    },
    /// Components of the service's rules get the status that the rules give.
    Press,
    /// This incident no longer presses on any component.
    Release,
    /// Its open alerts are closed with it.
    CloseAlerts,
}

/// A decided change: the next state and everything that follows from it.
#[derive(Debug, Clone, PartialEq)]
pub struct Change {
    /// How it stood before; nothing for a new one.
    pub before: Option<State>,
    /// The incident afterwards.
    pub next: Incident,
    /// What its timeline says.
    pub log: Vec<LogDraft>,
    /// What follows.
    pub effects: Vec<Effect>,
}

impl Change {
    /// The line of the timeline that the change is named for.
    #[must_use]
    pub fn news(&self) -> Option<&LogKind> {
        let named = |entry: &&LogDraft| IncidentEvent::of(&entry.kind).is_some();
        let last = self.log.iter().filter(named).max_by_key(|entry| IncidentEvent::of(&entry.kind));
        last.map(|entry| &entry.kind)
    }

    /// Whether the incident stands otherwise than before: triggered, acknowledged or resolved.
    #[must_use]
    pub fn changes_status(&self) -> bool {
        self.before.as_ref().map(State::word) != Some(self.next.state.word())
    }

    /// Both as one change: what is decided in one commit has one version, and is told once.
    #[must_use]
    pub fn followed_by(mut self, later: Self) -> Self {
        self.log.extend(later.log);
        if later.effects.contains(&Effect::TellChannels) {
            self.effects.retain(|effect| *effect != Effect::TellChannels);
        }
        self.effects.extend(later.effects);
        // `before` stays that of the first change.
        Self { next: Incident { version: self.next.version, ..later.next }, ..self }
    }
}

/// An event that changes nothing, with its reason.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[serde(rename_all = "snake_case")]
pub enum Refused {
    /// It is over.
    #[error("the incident is already resolved")]
    AlreadyResolved,
    /// The same person has it already.
    #[error("the incident is already acknowledged by you")]
    AlreadyAcknowledged,
    /// A timer of an earlier state.
    #[error("the timer belongs to an earlier state")]
    Stale,
    /// Its test still fails.
    #[error("its test still fails")]
    StillFailing,
    /// It was merged already.
    #[error("the incident goes on as another one")]
    AlreadyMerged,
    /// It is that loud already.
    #[error("the incident has this urgency already")]
    SameUrgency,
    /// There is no further level with somebody on call.
    #[error("there is no such level with somebody on call")]
    NobodyThere,
}

impl Refused {
    const ALL: [Self; 7] = [
        Self::AlreadyResolved,
        Self::AlreadyAcknowledged,
        Self::Stale,
        Self::StillFailing,
        Self::AlreadyMerged,
        Self::SameUrgency,
        Self::NobodyThere,
    ];

    /// A word for an address.
    #[must_use]
    pub const fn word(&self) -> &'static str {
        match self {
            Self::AlreadyResolved => "resolved",
            Self::AlreadyAcknowledged => "acknowledged",
            Self::Stale => "stale",
            Self::StillFailing => "fails",
            Self::AlreadyMerged => "merged",
            Self::SameUrgency => "urgency",
            Self::NobodyThere => "nobody",
        }
    }

    /// The one with this word.
    #[must_use]
    pub fn from_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|one| one.word() == word)
    }
}
